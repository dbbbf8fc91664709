//! What abuse costs a pair of clients that goes on as before: its latency when all is quiet and meanwhile.
//!
//! `cargo test` runs a hundredth of it and asserts no time. All of it, on a machine with nothing else to do, takes five
//! minutes. Quiet and abuse take turns, since a machine is not always equally fast, and the median p99 of each abuse must
//! stay within twice that of the quiet times:
//!
//! ```text
//! SOL_FLOODS=full cargo test --release -p sol --test abuse -- --nocapture
//! ```
//!
//! In full the broker has half of the processors for itself. Whoever abuses runs only while the pair does not want to
//! (`chrt --idle`), and the pair as soon as it has something to do (`chrt --fifo`, which takes root), as on machines of their
//! own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod abuser;
mod broker;
#[path = "../common/mod.rs"]
mod common;
mod figures;
mod pair;
mod priority;

use std::thread;
use std::time::{Duration, Instant};

use abuser::{Abuse, Flood, Logins, Silent};
use broker::Broker;
use common::{Client, PATIENCE, connect, eventually};
use figures::{Figures, Latency};
use priority::Machines;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sol::codec::{Connect, Packet, Reason};

/// How much of everything.
struct Size {
    is_full: bool,
    /// Of the pair, a second.
    messages: u32,
    rounds: usize,
    /// Of each turn.
    time: Duration,
    logins_per_second: u32,
    silent: usize,
    /// What the abuser who publishes may a second.
    rate: u32,
}

impl Size {
    fn asked_for() -> Self {
        match std::env::var("SOL_FLOODS").is_ok_and(|size| size == "full") {
            true => Self {
                is_full: true,
                messages: 1_000,
                rounds: 5,
                // More than a connection may be silent.
                time: Duration::from_secs(12),
                logins_per_second: 10_000,
                silent: 10_000,
                rate: 1_000,
            },
            false => Self {
                is_full: false,
                messages: 500,
                rounds: 1,
                time: Duration::from_millis(500),
                logins_per_second: 100,
                silent: 100,
                rate: 1_000,
            },
        }
    }
}

#[test]
fn a_pair_of_clients_does_not_notice() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let size = Size::asked_for();
    // Without it the figures are those of the machine.
    assert!(!size.is_full || thread::spawn(priority::first).join().unwrap(), "root alone may run it in full");
    let machines = Machines::new().filter(|_| size.is_full);
    machines.iter().for_each(Machines::on_the_brokers);
    let broker = Broker::start(size.rate, machines.as_ref().map_or(2, Machines::broker_threads));
    machines.iter().for_each(Machines::on_the_others);
    let logins = Logins::new(broker.with_passwords, size.logins_per_second);
    let silent = Silent::new(broker.quiet, size.silent);
    let flood = Flood::new(broker.with_rate);
    let abuses: [(&str, &dyn Abuse); 3] =
        [("wrong logins", &logins), ("silent connections", &silent), ("a flood at a rate", &flood)];

    // It warms up.
    pair::measure(broker.quiet, size.messages, size.time);
    let before = broker.taken();
    let mut quiet = Figures::new("quiet");
    let mut meanwhile = abuses.map(|(what, _)| Figures::new(what));
    for _ in 0..size.rounds {
        quiet.add(pair::measure(broker.quiet, size.messages, size.time), "");
        for ((_, abuse), figures) in abuses.iter().zip(&mut meanwhile) {
            figures.add(beside(*abuse, &broker, &size), &abuse.done());
        }
    }
    println!("medians:");
    meanwhile.iter().for_each(|figures| figures.tell(&quiet));

    // The pair's are counted too.
    let pairs = 4 * size.rounds as u64 * u64::from(pair::messages(size.messages, size.time));
    let taken = broker.taken() - before - pairs;
    println!("the flood: {taken} messages taken");
    assert!(taken > 0);
    // They are verified, and refused.
    let mut wrong = Client::open(broker.with_passwords);
    wrong.send(&[Packet::Connect(Connect { password: Some(b"wrong"), ..user() })]);
    assert!(matches!(wrong.receive(), Packet::Connack(connack) if connack.reason != Reason::Success));
    // Nobody was locked out by it.
    let mut right = Client::open(broker.with_passwords);
    eventually("a right login is let in", || {
        right = Client::open(broker.with_passwords);
        right.send(&[Packet::Connect(user())]);
        matches!(right.receive_or_end(), Some(Packet::Connack(connack)) if connack.reason == Reason::Success)
    });
    right.ping();
    broker.ends_well();
    if size.is_full {
        let bound = 2 * quiet.p99();
        for figures in &meanwhile {
            assert!(figures.p99() <= bound, "{:?} is more than {bound:?}", figures.p99());
        }
    }
}

fn user() -> Connect<'static> {
    Connect { user_name: Some("user"), password: Some(b"right"), ..connect("user") }
}

/// The pair's latency while this goes on.
fn beside(abuse: &dyn Abuse, broker: &Broker, size: &Size) -> Latency {
    thread::scope(|scope| {
        // Ended even if the pair fails.
        let _until = abuser::Until(abuse);
        abuse.begin(scope);
        // Abusers run when nobody else does, which on a machine that is busy is seldom.
        let deadline = Instant::now() + 5 * PATIENCE;
        while !abuse.is_at_height() {
            assert!(Instant::now() < deadline, "the abuse never is at its height");
            thread::sleep(Duration::from_millis(1));
        }
        pair::measure(broker.quiet, size.messages, size.time)
    })
}
