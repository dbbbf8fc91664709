//! One client's session alone: messages to it until it has acknowledged them, messages that wait for it, and identifiers of
//! those from it.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use sol::codec::{PacketId, QoS, Version};
use sol::session::{Content, Inbound, Manner, Outbound, OutboundLimits, Outbox, Outcome, Received, Terms};
use sol::topic::Name;

// Its allocator.
use benches as _;

/// Messages at a time: a window.
const WINDOW: u16 = 100;
/// Messages that wait.
const QUEUED: usize = 10_000;
const LIMITS: OutboundLimits = OutboundLimits {
    in_flight_messages: WINDOW,
    in_flight_bytes: usize::MAX,
    queued_messages: usize::MAX,
    queued_bytes: usize::MAX,
    stored_messages: 0,
    stored_bytes: 0,
    outbox_bytes: usize::MAX,
};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    window(&mut criterion);
    queue(&mut criterion);
    inbound(&mut criterion);
    criterion.final_summary();
}

/// A window of messages, and all that the client answers. Identifiers go round, as in a session that lasts.
fn window(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    for (size, payload) in [("64 B", vec![b'x'; 64]), ("16 KiB", vec![b'x'; 16 << 10])] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (mut outbound, mut outbox) = (Outbound::default(), outbox());
            let now = Instant::now();
            let mut next = 0;
            group.throughput(Throughput::Elements(WINDOW.into()));
            group.bench_function(BenchmarkId::new("deliver", format!("QoS {qos} {size}")), |bencher| {
                bencher.iter(|| {
                    for _ in 0..WINDOW {
                        let sent = deliver(&mut outbound, Some(&mut outbox), black_box(&payload), qos, now);
                        assert!(matches!(sent, Outcome::Sent(_)));
                    }
                    black_box(outbox.bytes());
                    outbox.clear();
                    for _ in 0..WINDOW {
                        acknowledge(&mut outbound, qos, &mut next);
                    }
                    assert_eq!(outbound.in_flight(), 0);
                });
            });
        }
    }
}

/// Messages for a client that is away, which it gets when it is back.
fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let payload = [b'x'; 64];
    group.throughput(Throughput::Elements(QUEUED as u64));
    group.bench_function("queue, resume and deliver/QoS 1", |bencher| {
        bencher.iter(|| {
            let now = Instant::now();
            let (mut outbound, mut outbox) = (Outbound::default(), outbox());
            for _ in 0..QUEUED {
                let queued = deliver(&mut outbound, None, &payload, QoS::AtLeastOnce, now);
                assert_eq!(queued, Outcome::Queued);
            }
            outbound.resume(&mut outbox, now);
            let mut next = 0;
            while outbound.queued() + outbound.in_flight() > 0 {
                outbound.poll_queue(&mut outbox, &LIMITS, now);
                outbox.clear();
                while outbound.in_flight() > 0 {
                    acknowledge(&mut outbound, QoS::AtLeastOnce, &mut next);
                }
            }
            assert_eq!(usize::from(next), QUEUED);
        });
    });
}

/// QoS 2 messages from the client: each is new, and its identifier is free again.
fn inbound(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let mut inbound = Inbound::default();
    let ids: Vec<_> = (1..=WINDOW).filter_map(PacketId::new).collect();
    group.throughput(Throughput::Elements(WINDOW.into()));
    group.bench_function("receive and release/QoS 2", |bencher| {
        bencher.iter(|| {
            for id in &ids {
                assert_eq!(inbound.receive(black_box(*id), WINDOW), Received::New);
            }
            for id in &ids {
                assert!(inbound.release(black_box(*id)));
            }
        });
    });
}

fn outbox() -> Outbox {
    Outbox::new(&Terms::of(Version::V311))
}

fn deliver(
    outbound: &mut Outbound,
    outbox: Option<&mut Outbox>,
    payload: &[u8],
    qos: QoS,
    now: Instant,
) -> Outcome {
    let topic = Name::new("site4/line2/device17/temperature").unwrap();
    outbound.deliver(&Content::new(topic, payload, qos), &Manner::at(qos), outbox, &LIMITS, now)
}

/// The client has the message after the `last` one: identifiers are given in order.
fn acknowledge(outbound: &mut Outbound, qos: QoS, last: &mut u16) {
    if qos == QoS::AtMostOnce {
        return;
    }
    *last = last.checked_add(1).unwrap_or(1);
    let id = PacketId::new(*last).unwrap();
    assert!(match qos {
        QoS::ExactlyOnce => outbound.handle_pubrec(id) && outbound.handle_pubcomp(id),
        _ => outbound.handle_puback(id),
    });
}
