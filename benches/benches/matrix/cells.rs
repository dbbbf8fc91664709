//! What is measured: who publishes what to whom, and what is asked of it.

use std::io;
use std::thread;
use std::time::Duration;

use benches::load::{Clients, Load, Naps, Pattern, Plan};
use benches::options::Effort;
use benches::peers::{Peer, Setting};
use sol::codec::QoS;

/// Before anything counts: connections grow their buffers and windows, threads take their work.
const WARM_UP: Duration = Duration::from_millis(150);
/// After connecting, until the broker's memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

/// A kind of load.
pub(crate) struct Cell {
    pub(crate) name: String,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    /// As many messages as go.
    Flow(Plan),
    /// The same without naps: each client waits for every answer, so that there is nothing to gather.
    Lockstep(Plan),
    /// So many messages a second.
    Latency(Plan, u32),
    /// So many clients that connect, and stay.
    Connect(usize),
}

/// A number of a run, and what its direction means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    MessagesASecond,
    MedianLatency,
    HighLatency,
    ConnectionsASecond,
    MemoryOfAConnection,
}

/// One measure of one run; with the CPU time, in µs, that each message or connection took of the broker.
pub(crate) struct Value {
    pub(crate) measure: Measure,
    pub(crate) value: f64,
    pub(crate) cpu: Option<f64>,
}

impl Measure {
    /// What stands behind the cell's name.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::MessagesASecond => "messages/s",
            Self::MedianLatency => "median, µs",
            Self::HighLatency => "p99, µs",
            Self::ConnectionsASecond => "connections/s",
            Self::MemoryOfAConnection => "bytes per idle connection",
        }
    }

    /// How many times as good as the other's `ours` is.
    pub(crate) fn ratio(self, ours: f64, other: f64) -> f64 {
        match self {
            Self::MessagesASecond | Self::ConnectionsASecond => ours / other,
            Self::MedianLatency | Self::HighLatency | Self::MemoryOfAConnection => other / ours,
        }
    }
}

/// All of them, in the order of the table.
pub(crate) fn all(effort: Effort) -> Vec<Cell> {
    use Pattern::{FanIn, FanOut, Pairs};
    let mut cells = Vec::new();
    let mut add = |name: String, work| cells.push(Cell { name: format!("loopback/{name}"), work });
    for pairs in [1, 10] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let plan = Plan::new(Pairs, pairs, pairs, qos);
            add(format!("p2p {pairs}→{pairs}/QoS {qos}"), Work::Flow(plan));
        }
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        add(format!("fan-out 1→100/QoS {qos}"), Work::Flow(Plan::new(FanOut, 1, 100, qos)));
    }
    add("fan-in 100→1/QoS 0".to_owned(), Work::Flow(Plan::new(FanIn, 100, 1, QoS::AtMostOnce)));
    let ten = Plan::new(Pairs, 10, 10, QoS::AtMostOnce);
    add("1,000 wildcard filters/QoS 0".to_owned(), Work::Flow(Plan { idle_filters: 1_000, ..ten }));
    let large = Plan { payload: 16 << 10, ..Plan::new(Pairs, 1, 1, QoS::AtMostOnce) };
    add("16 KiB 1→1/QoS 0".to_owned(), Work::Flow(large));
    let paced = Plan::new(Pairs, 10, 10, QoS::AtLeastOnce);
    add("latency 2,000 a second/QoS 1".to_owned(), Work::Latency(paced, 2_000));
    let clients = if effort == Effort::Trial { 100 } else { 5_000 };
    add(format!("connect {clients}"), Work::Connect(clients));
    let crowd = if effort == Effort::Trial { 50 } else { 1_000 };
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let plan = Plan { payload: 1_000, window: 1, ..Plan::new(Pairs, crowd, 0, qos) };
        add(format!("{crowd} clients, window 1, 1 kB/QoS {qos}"), Work::Lockstep(plan));
    }
    cells
}

impl Cell {
    /// Loads a broker that was just started.
    pub(crate) fn run(
        &self,
        peer: &Peer,
        setting: &Setting,
        time: Duration,
        naps: Naps,
    ) -> io::Result<Vec<Value>> {
        match self.work {
            Work::Flow(plan) => flow(peer, setting, plan, time, naps),
            Work::Lockstep(plan) => flow(peer, setting, plan, time, Naps::None),
            Work::Latency(plan, rate) => latency(peer, setting, plan, rate, time),
            Work::Connect(count) => connect(peer, setting, count),
        }
    }
}

fn flow(peer: &Peer, setting: &Setting, plan: Plan, time: Duration, naps: Naps) -> io::Result<Vec<Value>> {
    let mut load = Load::open(peer.address(), &setting.terms, plan)?;
    load.run(WARM_UP, naps)?;
    let used = peer.meter();
    let run = load.run(time, naps)?;
    let value = run.messages as f64 / run.elapsed.as_secs_f64();
    Ok(vec![Value { measure: Measure::MessagesASecond, value, cpu: used.each(run.messages) }])
}

fn latency(peer: &Peer, setting: &Setting, plan: Plan, rate: u32, time: Duration) -> io::Result<Vec<Value>> {
    let mut load = Load::open(peer.address(), &setting.terms, plan)?;
    let used = peer.meter();
    let latencies = load.run_at_rate(rate, WARM_UP, time)?;
    let cpu = used.each((f64::from(rate) * (WARM_UP + time).as_secs_f64()) as u64);
    let value = |measure, share| {
        let value = latencies.quantile(share).unwrap_or_default().as_secs_f64() * 1e6;
        Value { measure, value, cpu }
    };
    Ok(vec![value(Measure::HighLatency, 0.99), value(Measure::MedianLatency, 0.5)])
}

fn connect(peer: &Peer, setting: &Setting, count: usize) -> io::Result<Vec<Value>> {
    let mut clients = Clients::new(peer.address(), setting.terms.clone())?;
    let (used, memory) = (peer.meter(), peer.memory());
    let elapsed = clients.connect(count)?;
    let value = count as f64 / elapsed.as_secs_f64();
    let mut values =
        vec![Value { measure: Measure::ConnectionsASecond, value, cpu: used.each(count as u64) }];
    thread::sleep(SETTLE);
    if let (Some(before), Some(after)) = (memory, peer.memory()) {
        let value = after.saturating_sub(before) as f64 / count as f64;
        values.push(Value { measure: Measure::MemoryOfAConnection, value, cpu: None });
    }
    Ok(values)
}
