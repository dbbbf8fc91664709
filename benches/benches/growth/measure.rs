//! One point of each curve, against a broker that was just started.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use benches::load::{Clients, Load, Naps, Pattern, Plan, Terms};
use benches::peers::Peer;
use sol::codec::QoS;

/// Before a message counts.
const WARM_UP: Duration = Duration::from_millis(150);
/// After connections or subscriptions, until memory and idleness are looked at.
const SETTLE: Duration = Duration::from_millis(500);
/// Messages a second of the live pair whose latency is measured.
const RATE: u32 = 1_000;
/// Subscriptions of one client.
const PER_CLIENT: usize = 50_000;
/// Retained messages that are asked for one by one.
const ASKED: usize = 200;

/// Numbers of a point, each with what it is.
pub(crate) type Numbers = Vec<(&'static str, Option<f64>)>;

/// Of two threads, as many pairs as keep both at work.
const PAIRS: usize = 10;

/// Idle connections, with one live pair among them.
pub(crate) fn connections(peer: &Peer, count: usize, time: Duration) -> io::Result<Numbers> {
    let mut clients = clients(peer)?;
    let memory = peer.memory();
    clients.connect(count)?;
    thread::sleep(SETTLE);
    let bytes = each(memory, peer.memory(), count);
    let idle = peer.meter();
    thread::sleep(time);
    // In ms, so µs each, of a second.
    let idle = idle.each(1_000).map(|used| used / time.as_secs_f64());
    let mut load = Load::among(clients, Plan::new(Pattern::Pairs, 1, 1, QoS::AtLeastOnce))?;
    let cpu = cost(peer, &mut load, time)?;
    let latencies = load.run_at_rate(RATE, WARM_UP, time)?;
    let quantile = |share| latencies.quantile(share).map(|latency| latency.as_secs_f64() * 1e6);
    Ok(vec![
        ("µs CPU/message", cpu),
        ("µs median latency", quantile(0.5)),
        ("µs p99 latency", quantile(0.99)),
        ("bytes/connection", bytes),
        ("ms CPU/s idle", idle),
    ])
}

/// Subscriptions of five levels, a third each exact, with a `+` and with a `#`, of which none is the live pair's.
pub(crate) fn subscriptions(peer: &Peer, count: usize, time: Duration) -> io::Result<Numbers> {
    let filters: Vec<_> = (0..count).map(filter).collect();
    let mut clients = clients(peer)?;
    let holders = count.div_ceil(PER_CLIENT);
    clients.connect(holders)?;
    let memory = peer.memory();
    let start = Instant::now();
    for (client, filters) in filters.chunks(PER_CLIENT).enumerate() {
        clients.subscribe(client, filters, QoS::AtMostOnce)?;
    }
    let subscribing = start.elapsed();
    thread::sleep(SETTLE);
    let bytes = each(memory, peer.memory(), count);
    let mut load = Load::among(clients, Plan::new(Pattern::Pairs, 1, 1, QoS::AtMostOnce))?;
    let cpu = cost(peer, &mut load, time)?;
    let mut clients = load.into_clients();
    let start = Instant::now();
    for (client, filters) in filters.chunks(PER_CLIENT).enumerate() {
        clients.unsubscribe(client, filters)?;
    }
    Ok(vec![
        ("µs CPU/message", cpu),
        ("µs/subscribe", Some(micros(subscribing, count))),
        ("µs/unsubscribe", Some(micros(start.elapsed(), count))),
        ("bytes/subscription", bytes),
    ])
}

/// Topics that one publisher goes through.
pub(crate) fn topics(peer: &Peer, count: usize, time: Duration) -> io::Result<Numbers> {
    let plan = Plan { topics: count, ..Plan::new(Pattern::FanIn, 1, 1, QoS::AtMostOnce) };
    let mut load = Load::open(peer.address(), &Terms::default(), plan)?;
    Ok(vec![("µs CPU/message", cost(peer, &mut load, time)?)])
}

/// Retained messages of five levels, of which some are asked for by name.
pub(crate) fn retained(peer: &Peer, count: usize, time: Duration) -> io::Result<Numbers> {
    let mut clients = clients(peer)?;
    clients.connect(2)?;
    let memory = peer.memory();
    let retaining = clients.retain(0, count, name)?;
    thread::sleep(SETTLE);
    let bytes = each(memory, peer.memory(), count);
    let asked = ASKED.min(count);
    let start = Instant::now();
    for number in 0..asked {
        clients.subscribe_retained(1, &name(number * (count / asked)))?;
    }
    let asking = start.elapsed();
    let mut load = Load::among(clients, Plan::new(Pattern::Pairs, 1, 1, QoS::AtMostOnce))?;
    Ok(vec![
        ("µs CPU/message", cost(peer, &mut load, time)?),
        ("µs/retained PUBLISH", Some(micros(retaining, count))),
        ("µs/SUBSCRIBE and its message", Some(micros(asking, asked))),
        ("bytes/retained message", bytes),
    ])
}

/// Subscribers of one topic.
pub(crate) fn fan_out(peer: &Peer, count: usize, time: Duration) -> io::Result<Numbers> {
    let plan = Plan::new(Pattern::FanOut, 1, count, QoS::AtMostOnce);
    let mut load = Load::open(peer.address(), &Terms::default(), plan)?;
    Ok(vec![("µs CPU/delivery", cost(peer, &mut load, time)?)])
}

/// Independent pairs, on as many threads as the broker was told.
pub(crate) fn threads(peer: &Peer, _: usize, time: Duration) -> io::Result<Numbers> {
    let mut numbers = Vec::new();
    for (qos, rate, cost) in [
        (QoS::AtMostOnce, "messages/s at QoS 0", "µs CPU/message at QoS 0"),
        (QoS::AtLeastOnce, "messages/s at QoS 1", "µs CPU/message at QoS 1"),
    ] {
        let plan = Plan::new(Pattern::Pairs, PAIRS, PAIRS, qos);
        let mut load = Load::open(peer.address(), &Terms::default(), plan)?;
        load.run(WARM_UP, Naps::Auto)?;
        let used = peer.meter();
        let run = load.run(time, Naps::Auto)?;
        numbers.push((rate, Some(run.messages as f64 / run.elapsed.as_secs_f64())));
        numbers.push((cost, used.each(run.messages)));
    }
    Ok(numbers)
}

fn clients(peer: &Peer) -> io::Result<Clients> {
    Clients::new(peer.address(), Terms::default())
}

/// The CPU time of a message, in µs.
fn cost(peer: &Peer, load: &mut Load, time: Duration) -> io::Result<Option<f64>> {
    load.run(WARM_UP, Naps::Auto)?;
    let used = peer.meter();
    let run = load.run(time, Naps::Auto)?;
    Ok(used.each(run.messages))
}

fn each(before: Option<u64>, after: Option<u64>, count: usize) -> Option<f64> {
    Some(after?.saturating_sub(before?) as f64 / count as f64)
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// Ten regions of ten sites of a hundred lines, and devices in turn on each of them.
fn levels(device: usize) -> [String; 3] {
    [
        format!("region{}", device % 10),
        format!("site{}", device / 10 % 10),
        format!("line{}", device / 100 % 100),
    ]
}

fn name(device: usize) -> String {
    let [region, site, line] = levels(device);
    format!("{region}/{site}/{line}/device{device}/temperature")
}

fn filter(device: usize) -> String {
    let [region, site, line] = levels(device);
    match device % 3 {
        0 => name(device),
        1 => format!("{region}/{site}/+/device{device}/temperature"),
        _ => format!("{region}/{site}/{line}/device{device}/#"),
    }
}
