//! A publisher and a subscriber that mind their own business.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use sol::codec::{Packet, QoS};

use crate::common::{Client, publish};
use crate::figures::Latency;
use crate::priority;

/// How many these are.
pub(crate) fn messages(per_second: u32, time: Duration) -> u32 {
    (f64::from(per_second) * time.as_secs_f64()) as u32
}

/// So many messages a second for so long, all of which come, in order.
pub(crate) fn measure(broker: SocketAddr, messages_per_second: u32, time: Duration) -> Latency {
    let mut subscriber = Client::subscribed(broker, "pair/subscriber", "pair", QoS::AtMostOnce);
    let mut publisher = Client::connect(broker, "pair/publisher");
    let messages = messages(messages_per_second, time);
    let start = Instant::now();
    let since = |start: Instant| u64::try_from(start.elapsed().as_nanos()).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            priority::first();
            for n in 0..messages {
                let due = start + Duration::from_secs(1) * n / messages_per_second;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let mut payload = [0; 12];
                payload[..4].copy_from_slice(&n.to_be_bytes());
                payload[4..].copy_from_slice(&since(start).to_be_bytes());
                publisher.send(&[Packet::Publish(publish("pair", &payload, QoS::AtMostOnce))]);
            }
        });
        let received = scope.spawn(move || {
            priority::first();
            let latencies = (0..messages).map(|n| {
                let payload = subscriber.message();
                let came = since(start);
                let (number, sent) = payload.split_first_chunk::<4>().unwrap();
                assert_eq!(u32::from_be_bytes(*number), n);
                Duration::from_nanos(came - u64::from_be_bytes(sent.try_into().unwrap()))
            });
            latencies.collect::<Vec<_>>()
        });
        Latency::from(received.join().unwrap())
    })
}
