//! The hub without sockets: a read's worth of messages from one publisher to its subscribers, and all acknowledgements
//! back; on one thread, and on two at once that have nothing in common but the hub.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use benches::stage::{Fan, Shape, Stage};
use criterion::{BenchmarkId, Criterion, Throughput};
use sol::codec::QoS;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("hub");
    for subscribers in [1, 100] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let shape = Shape { qos, subscribers, ..Shape::default() };
            let mut fan = None;
            group.throughput(Throughput::Elements(u64::from(shape.messages) * u64::from(subscribers)));
            let id = BenchmarkId::new(format!("1→{subscribers}"), format!("QoS {qos}"));
            group.bench_function(id, |bencher| {
                let fan = fan.get_or_insert_with(|| Fan::new(Stage::new(), &shape));
                bencher.iter(|| fan.run());
            });
        }
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let shapes = ["benches/hub/a", "benches/hub/b"].map(|root| Shape { qos, root, ..Shape::default() });
        let mut fans = None;
        group.throughput(Throughput::Elements(shapes.iter().map(|shape| u64::from(shape.messages)).sum()));
        let id = BenchmarkId::new("1→1 on each of 2 threads", format!("QoS {qos}"));
        group.bench_function(id, |bencher| {
            let fans = fans.get_or_insert_with(|| {
                let stage = Stage::new();
                shapes.each_ref().map(|shape| Fan::new(stage.beside(), shape))
            });
            bencher.iter_custom(|iterations| at_once(fans, iterations));
        });
    }
    group.finish();
    criterion.final_summary();
}

/// Each of them so often, all at the same time: how long until the last one has done.
fn at_once(fans: &mut [Fan], iterations: u64) -> Duration {
    let start = Barrier::new(fans.len());
    let run = |fan: &mut Fan| {
        start.wait();
        let start = Instant::now();
        (0..iterations).for_each(|_| fan.run());
        start.elapsed()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = fans.iter_mut().map(|fan| scope.spawn(|| run(fan))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap_or_default()
    })
}
