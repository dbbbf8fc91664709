//! The connection to mosquitto cut under a steady flow both ways, with the queue of this side on disk.

use std::thread;
use std::time::{Duration, Instant};

use sol::codec::{Delivery, Packet, PacketId, Publish, QoS};
use sol::config::Direction::Both;
use sol::config::Persistence;
use sol::{Broker, Config};

use crate::brokers::{Mosquitto, bridge, config, connected, has_mosquitto_broker, topic};
use crate::common::{Client, PATIENCE, eventually, publish};
use crate::cut::{check, numbers, subscribed};
use crate::messages::publish_to_end;
use crate::proxy::Proxy;

/// Messages that a publisher sends at a time, and how often.
const BATCH: usize = 10;
const PERIOD: Duration = Duration::from_millis(10);

struct Plan {
    before: Duration,
    cut: Duration,
    after: Duration,
}

impl Plan {
    fn of_environment() -> Self {
        let is_full = std::env::var("SOL_FLOODS").is_ok_and(|floods| floods == "full");
        let (around, cut) = if is_full { (5000, 60_000) } else { (300, 1000) };
        let [before, cut, after] = [around, cut, around].map(Duration::from_millis);
        Self { before, cut, after }
    }

    fn messages(&self) -> usize {
        let periods = (self.before + self.cut + self.after).as_millis() / PERIOD.as_millis();
        usize::try_from(periods).unwrap() * BATCH
    }
}

/// Publishes numbers at QoS 1, 1,000 a second whenever they are acknowledged, and a last message. Gives how long that took.
fn flow(mut client: Client, topic: &str, messages: usize) -> Duration {
    let began = Instant::now();
    let mut acknowledged = Client::over(client.stream.try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..messages {
                assert!(matches!(acknowledged.receive(), Packet::Puback(_)));
            }
        });
        let mut ids = (1..=u16::MAX).filter_map(PacketId::new).cycle();
        let numbers: Vec<_> = (0..messages).map(|number| number.to_string()).collect();
        for (batch, period) in numbers.chunks(BATCH).zip(1..) {
            let packets = batch.iter().map(|number| {
                let delivery = Delivery::AtLeastOnce(ids.next().unwrap());
                let message = publish(topic, number.as_bytes(), QoS::AtLeastOnce);
                Packet::Publish(Publish { delivery, ..message })
            });
            client.send(&packets.collect::<Vec<_>>());
            thread::sleep((began + PERIOD * period).saturating_duration_since(Instant::now()));
        }
    });
    let took = began.elapsed();
    publish_to_end(&mut client, publish(topic, b"last", QoS::AtLeastOnce));
    took
}

#[test]
fn nothing_is_lost_while_the_connection_is_cut() {
    if !has_mosquitto_broker() {
        return;
    }
    let plan = Plan::of_environment();
    let messages = plan.messages();
    let mosquitto = Mosquitto::start("allow_anonymous true\nmax_queued_bytes 0");
    let there = mosquitto.address;
    let proxy = Proxy::to(there);
    let directory = tempfile::tempdir().unwrap();
    let bridges = vec![bridge("flood", proxy.address(), vec![topic("flood/#", Both, QoS::AtLeastOnce)])];
    let persistence = Some(Persistence::at(directory.path().join("store")));
    let broker = Broker::start(Config { persistence, ..config(bridges) }).unwrap();
    let here = broker.local_addr();
    connected(there, "flood");
    let mut far = subscribed(there, "far", "flood/out", QoS::AtLeastOnce);
    let mut near = subscribed(here, "near", "flood/in", QoS::AtLeastOnce);
    for subscriber in [&far, &near] {
        // Nothing comes during the cut.
        subscriber.stream.set_read_timeout(Some(plan.cut + PATIENCE)).unwrap();
    }
    let began = Instant::now();
    let (out, inward, waiting, caught_up, took) = thread::scope(|scope| {
        let out = scope.spawn(|| numbers(&mut far));
        let inward = scope.spawn(|| numbers(&mut near));
        let publishers = [
            scope.spawn(|| flow(Client::connect(here, "out"), "flood/out", messages)),
            scope.spawn(|| flow(Client::connect(there, "in"), "flood/in", messages)),
        ];
        thread::sleep(plan.before);
        proxy.cut();
        eventually("messages wait", || broker.stats().queued > 0);
        thread::sleep(plan.cut.saturating_sub(began.elapsed().saturating_sub(plan.before)));
        let waiting = broker.stats().queued;
        proxy.mend();
        let mended = Instant::now();
        eventually("the queue is empty", || broker.stats().queued == 0);
        let caught_up = mended.elapsed();
        let took = publishers.map(|publisher| publisher.join().unwrap());
        (out.join().unwrap(), inward.join().unwrap(), waiting, caught_up, took)
    });
    let again =
        |numbers: &std::collections::BTreeMap<usize, usize>| numbers.values().sum::<usize>() - numbers.len();
    let rate = |took: Duration| messages as f64 / took.as_secs_f64();
    println!(
        "{messages} messages each way, {:.0} and {:.0} a second, cut for {:.1} s: {waiting} waited here and were gone \
         {:.2} s after the cut; lost out {}, in {}; came again out {}, in {}",
        rate(took[0]),
        rate(took[1]),
        plan.cut.as_secs_f64(),
        caught_up.as_secs_f64(),
        messages - out.len(),
        messages - inward.len(),
        again(&out),
        again(&inward),
    );
    check(&out, QoS::AtLeastOnce, messages, "out");
    check(&inward, QoS::AtLeastOnce, messages, "in");
}
