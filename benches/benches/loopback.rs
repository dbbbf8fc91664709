//! Brokers in processes of their own, over loopback: messages a second, and what one costs the broker in CPU time.

#![expect(clippy::expect_used, reason = "a bench that goes wrong stops")]

use std::path::Path;
use std::time::Duration;

use benches::cpu::Costs;
use benches::load::Load;
use benches::peers::{Broker, Peer};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use sol::codec::QoS;

/// Deliveries in an iteration. criterion asks for many iterations at a time, which are one unbroken run.
const DELIVERIES: u64 = 1_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let brokers = Broker::all_found(Path::new(env!("CARGO_BIN_EXE_serve")));
    let mut group = criterion.benchmark_group("loopback");
    group.throughput(Throughput::Elements(DELIVERIES));
    for subscribers in [1, 100] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let cell = Cell { subscribers, qos };
            // One broker right after the other, so that what else the machine does meets both.
            let costs: Vec<_> = brokers.iter().map(|broker| cell.measure(&mut group, broker)).collect();
            cell.print(&brokers, &costs);
        }
    }
    group.finish();
    criterion.final_summary();
}

/// One publisher, so many subscribers, one QoS.
struct Cell {
    subscribers: usize,
    qos: QoS,
}

impl Cell {
    fn label(&self) -> String {
        format!("1→{}/QoS {}", self.subscribers, self.qos)
    }

    /// Gives what a delivery cost the broker; `None` if criterion was told not to measure this.
    fn measure(&self, group: &mut BenchmarkGroup<'_, WallTime>, broker: &Broker) -> Option<Costs> {
        let mut costs = Costs::default();
        let mut running = None;
        group.bench_function(BenchmarkId::new(self.label(), broker.name()), |bencher| {
            let (peer, load) = running.get_or_insert_with(|| self.start(broker));
            bencher.iter_custom(|iterations| {
                let deliveries = iterations * DELIVERIES;
                let before = peer.cpu_time();
                let elapsed = load.run(deliveries / self.subscribers as u64).expect("every message arrives");
                if let (Some(before), Some(after)) = (before, peer.cpu_time()) {
                    costs.add(after.saturating_sub(before), deliveries);
                }
                elapsed
            });
        });
        running.map(|_| costs)
    }

    fn start(&self, broker: &Broker) -> (Peer, Load) {
        let peer = broker.start().expect("the broker starts");
        let load =
            Load::open(peer.address(), self.subscribers, self.qos).expect("clients connect and subscribe");
        (peer, load)
    }

    /// `loopback/1→1/QoS 1: sol 1.00 µs CPU/msg, mosquitto 2.0.11 10.0 µs CPU/msg, which is 1 : 10.0`
    fn print(&self, brokers: &[Broker], costs: &[Option<Costs>]) {
        let measured =
            brokers.iter().zip(costs).filter_map(|(broker, costs)| Some((broker, costs.as_ref()?)));
        let medians: Vec<_> = measured.map(|(broker, costs)| (broker.label(), costs.median())).collect();
        let mut parts: Vec<_> =
            medians.iter().map(|(label, median)| format!("{label} {}", cost(*median))).collect();
        if let [(_, Some(sol)), (_, Some(other))] = medians.as_slice() {
            parts.push(format!("which is 1 : {}", three_digits(other / sol)));
        }
        if !parts.is_empty() {
            println!("loopback/{}: {}\n", self.label(), parts.join(", "));
        }
    }
}

fn cost(median: Option<f64>) -> String {
    median.map_or_else(
        || "CPU time not available".to_owned(),
        |cost| format!("{} µs CPU/msg", three_digits(cost)),
    )
}

/// Three significant digits, as far as they stand behind the point.
fn three_digits(number: f64) -> String {
    let decimals = match number {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}
