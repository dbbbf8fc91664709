//! How connections are shared among the broker's threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use common::{Client, PATIENCE, encode, eventually, publish};
use sol::codec::{Packet, QoS};
use sol::{Broker, Config};

fn broker(threads: usize) -> Broker {
    let threads = NonZeroUsize::new(threads).unwrap();
    Broker::start(Config { threads, ..Config::on("127.0.0.1:0".parse().unwrap()) }).unwrap()
}

/// More than one thread can do: the others get some of it, and nobody misses or hears twice anything meanwhile.
#[test]
fn heavy_clients_are_spread_over_the_threads_and_lose_nothing() {
    const PAIRS: usize = 4;
    const BATCH: u32 = 200;
    let broker = broker(2);
    let address = broker.local_addr();
    let moved = AtomicBool::new(false);
    thread::scope(|scope| {
        for pair in 0..PAIRS {
            let moved = &moved;
            let topic = format!("t/{pair}");
            let mut subscriber = Client::subscribed(address, &format!("s{pair}"), &topic, QoS::AtMostOnce);
            scope.spawn(move || {
                let mut publisher = Client::connect(address, &format!("p{pair}"));
                let mut next = 0_u32;
                // One round more after the move: all must have got over it.
                let mut is_last = false;
                while !is_last {
                    is_last = moved.load(Ordering::Relaxed);
                    let numbers: Vec<_> = (next..next + BATCH).map(u32::to_be_bytes).collect();
                    let batch: Vec<_> = numbers
                        .iter()
                        .map(|number| Packet::Publish(publish(&topic, number, QoS::AtMostOnce)))
                        .collect();
                    publisher.send_bytes(&encode(&batch));
                    for number in &numbers {
                        assert_eq!(subscriber.message(), number);
                    }
                    next += BATCH;
                }
            });
        }
        let deadline = Instant::now() + PATIENCE;
        while broker.stats().connections_moved == 0 && Instant::now() < deadline {
            thread::yield_now();
        }
        moved.store(true, Ordering::Relaxed);
    });
    assert!(broker.stats().connections_moved > 0, "one thread did it all");
}

/// A connection that does nothing is served where it is.
#[test]
fn who_does_nothing_is_not_moved() {
    // On a machine that is busy a thread may seem to have much to do, for it waits for a processor.
    eventually("nobody is moved", || {
        let broker = broker(2);
        let connect = |n: i32| Client::connect(broker.local_addr(), &n.to_string());
        let mut clients: Vec<_> = (0..10).map(connect).collect();
        clients.iter_mut().for_each(Client::ping);
        broker.stats().connections_moved == 0
    });
}
