//! What waits for clients waits on the disk: memory stays small whatever is queued, and all of it comes, in order.
//!
//! `cargo test` runs a tenth of each or less. All of it, with figures that mean something:
//!
//! ```text
//! SOL_FLOODS=full cargo test --release -p sol --test memory_floods -- --nocapture
//! ```
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod broker;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod figures;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use client::{Durable, publish};
use common::Client;
use figures::{MIB, Row, begin};
use sol::codec::{Packet, QoS};

/// Of each message.
const PAYLOAD_BYTES: usize = 1000;

/// A broker that has nothing to do takes about 10 MiB; the rest is what is on its way to the disk and back.
const BOUND_BYTES: usize = 96 * MIB;

/// More than a session takes, with its subscriptions and where its messages are.
const SESSION_BYTES: usize = 4000;

#[test]
fn a_client_that_is_absent() {
    let run = begin("absent client");
    let messages = run.sized(100_000, 1_000_000);
    let broker = Broker::start();
    let absent = Durable::new("absent", "absent/#");
    absent.subscribe(broker.address());

    let began = Instant::now();
    publish(broker.address(), "publisher", messages, PAYLOAD_BYTES, |_| "absent/t".into(), false);
    let queued = Row::new("queued", messages, began.elapsed(), &broker);
    assert!(queued.disk_bytes > messages * PAYLOAD_BYTES, "{} bytes are on the disk", queued.disk_bytes);
    run.add(&queued, BOUND_BYTES);

    broker.forget_peak();
    let began = Instant::now();
    absent.take(broker.address(), 0..messages);
    run.add(&Row::new("drained", messages, began.elapsed(), &broker), BOUND_BYTES);

    common::eventually("the disk is free again", || broker.disk_bytes() < queued.disk_bytes / 2);
    run.add(&Row::new("afterwards", 0, Duration::ZERO, &broker), BOUND_BYTES);
}

#[test]
fn stuck_and_slow_subscribers() {
    const EACH: usize = 10;
    let run = begin("stuck and slow");
    let messages = run.sized(5_000, 100_000);
    let broker = Broker::start();
    let address = broker.address();
    let stuck: Vec<_> = (0..EACH).map(|n| Durable::new(&format!("stuck {n}"), "flow")).collect();
    let slow: Vec<_> = (0..EACH).map(|n| Durable::new(&format!("slow {n}"), "flow")).collect();
    let never_read: Vec<_> = stuck.iter().map(|stuck| stuck.connect_and_subscribe(address)).collect();
    let readers: Vec<_> = slow.iter().map(|slow| slow.connect_and_subscribe(address)).collect();
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        for mut client in readers {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut number = 0;
                while number < messages {
                    client::take_next(&mut client, number);
                    number += 1;
                    if !is_over.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
        publish(address, "publisher", messages, PAYLOAD_BYTES, |_| "flow".into(), false);
        run.add(&Row::new("published to 10 stuck, 10 slow", messages, began.elapsed(), &broker), BOUND_BYTES);
        is_over.store(true, Ordering::Relaxed);
    });
    drop(never_read);
    stuck.iter().for_each(|stuck| stuck.take(address, 0..messages));
    run.add(&Row::new("drained", 2 * EACH * messages, began.elapsed(), &broker), BOUND_BYTES);
}

#[test]
fn retained_messages_for_whoever_asks_for_all() {
    const SUBSCRIBERS: usize = 10;
    let run = begin("retained");
    let messages = run.sized(10_000, 100_000);
    let broker = Broker::start();
    let address = broker.address();
    let began = Instant::now();
    publish(address, "publisher", messages, PAYLOAD_BYTES, |n| format!("r/{}/{n}", n / 100), true);
    let bound = BOUND_BYTES + messages * 2 * PAYLOAD_BYTES;
    run.add(&Row::new("retained", messages, began.elapsed(), &broker), bound);

    let began = Instant::now();
    thread::scope(|scope| {
        for n in 0..SUBSCRIBERS {
            scope.spawn(move || {
                let mut client = Client::subscribed(address, &format!("all {n}"), "r/#", QoS::AtLeastOnce);
                (0..messages).for_each(|_| _ = client.message());
            });
        }
    });
    run.add(&Row::new("replayed to 10", SUBSCRIBERS * messages, began.elapsed(), &broker), bound);
}

#[test]
fn many_sessions_with_a_queue_each() {
    const EACH: usize = 10;
    let run = begin("sessions");
    let sessions = run.sized(1_000, 10_000);
    let bound = BOUND_BYTES + sessions * SESSION_BYTES;
    let broker = Broker::start();
    let address = broker.address();
    let own: Vec<_> =
        (0..sessions).map(|n| Durable::new(&format!("session {n}"), &format!("own/{n}"))).collect();
    let began = Instant::now();
    client::at_once(sessions, |n| {
        let mut client = own[n].connect_and_subscribe(address);
        client.subscribe("common", QoS::AtLeastOnce);
        client::leave(client);
    });
    run.add(&Row::new("sessions", sessions, began.elapsed(), &broker), bound);

    let began = Instant::now();
    let each = |n| format!("own/{}", n % sessions);
    publish(address, "publisher", EACH * sessions, PAYLOAD_BYTES, each, false);
    run.add(&Row::new("one queue each", EACH * sessions, began.elapsed(), &broker), bound);

    let (began, before) = (Instant::now(), broker.disk_bytes());
    publish(address, "publisher", EACH, 100 * PAYLOAD_BYTES, |_| "common".into(), false);
    let common = Row::new("and 10 x 100 kB for all", EACH, began.elapsed(), &broker);
    // Written once: not for each.
    assert!(common.disk_bytes - before < EACH * (150 * PAYLOAD_BYTES + 100 * sessions), "{common:?}");
    run.add(&common, bound);

    let began = Instant::now();
    for (n, session) in own.iter().enumerate().step_by(sessions / 100) {
        session.take(address, (0..EACH).map(|round| round * sessions + n).chain(0..EACH));
    }
    run.add(&Row::new("100 of them drained", 200 * EACH, began.elapsed(), &broker), bound);
}

/// From the start of the process to the first CONNACK. At full size there are a million retained messages and a hundred
/// thousand sessions.
#[test]
fn the_start_with_all_of_it() {
    let run = begin("restart");
    let (retained, sessions) = run.sized((10_000, 1_000), (1_000_000, 100_000));
    let broker = Broker::start();
    let address = broker.address();
    publish(address, "publisher", retained, 100, |n| format!("r/{}/{n}", n / 100), true);
    client::at_once(sessions, |n| {
        Durable::new(&format!("session {n}"), &format!("own/{n}")).subscribe(address);
    });
    let began = Instant::now();
    let broker = broker.kill_and_start_again();
    let last = Durable::new(&format!("session {}", sessions - 1), &format!("own/{}", sessions - 1));
    let client = last.connect(broker.address(), true);
    let row = Row::new("serves again", retained + sessions, began.elapsed(), &broker);
    run.add(&row, BOUND_BYTES + retained * 1000 + sessions * SESSION_BYTES);
    client::leave(client);
    let topic = format!("r/{}/{}", (retained - 1) / 100, retained - 1);
    let mut client = Client::subscribed(broker.address(), "", &topic, QoS::AtMostOnce);
    let Packet::Publish(publish) = client.receive() else { panic!("nothing is retained") };
    assert!(publish.retain);
}
