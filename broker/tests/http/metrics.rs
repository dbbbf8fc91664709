//! `/metrics`, as a library reads it, and beside what the clients counted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::rc::Rc;

use prometheus_parse::{Scrape, Value};
use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, Property, Publish, QoS, Reason, Version,
};
use sol::config::{Config, Http, Persistence};
use sol::topic::Name;
use sol::{Broker, Limits};

use crate::broker;
use crate::client::{ask, get_json};
use crate::common::peers::has;
use crate::common::v5;
use crate::common::{Client, connect, eventually, publish};

const OPEN_METRICS: &str = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

/// Samples by name and labels: `name{label=value,…}`.
type Samples = BTreeMap<String, f64>;

fn text(broker: &Broker, headers: &[&str]) -> (String, String) {
    let answer = ask(broker.http_addrs()[0], "GET", "/metrics", headers, b"");
    assert_eq!(answer.status, 200);
    (answer.header("content-type").unwrap().to_owned(), answer.text().to_owned())
}

fn samples(text: &str) -> Samples {
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut samples = Samples::new();
    for sample in scrape.samples {
        let mut labels: Vec<_> =
            sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.sort();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let value = match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            Value::Histogram(places) => {
                for place in &places {
                    samples.insert(format!("{}{{le={}}}", sample.metric, place.less_than), place.count);
                }
                continue;
            }
            Value::Summary(_) => panic!("{} is a summary", sample.metric),
        };
        let twice = samples.insert(format!("{}{labels}", sample.metric), value);
        assert_eq!(twice, None, "{}{labels} stands there twice", sample.metric);
    }
    samples
}

fn read(broker: &Broker) -> Samples {
    samples(&text(broker, &[]).1)
}

/// The sum over all labels of a family.
fn sum(samples: &Samples, family: &str) -> f64 {
    let of = samples.iter().filter(|(name, _)| name.split('{').next() == Some(family));
    of.map(|(_, value)| value).sum()
}

fn lasting() -> (Broker, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        persistence: Some(Persistence::at(directory.path())),
        http: Http::on(address),
        stats_interval: None,
        ..Config::on(address)
    };
    (Broker::start(config).unwrap(), directory)
}

#[test]
fn names_and_units_are_as_prometheus_wants_them() {
    let (broker, _directory) = lasting();
    let _client = Client::connect(broker.local_addr(), "client");
    let (kind, text) = text(&broker, &[]);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let mut kinds = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(kinds.insert(name, kind), None, "{name} has two types");
        assert!(name.starts_with("sol_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert_eq!(kinds["sol_store_sync_duration_seconds"], "histogram");
    let samples = samples(&text);
    assert_eq!(samples["sol_sessions{state=connected}"], 1.0);
    assert_eq!(samples[&format!("sol_listener_connections{{listener={}}}", broker.local_addr())], 1.0);
    assert_eq!(samples[concat!("sol_build_info{version=", env!("CARGO_PKG_VERSION"), "}")], 1.0);
}

#[test]
fn open_metrics_is_spoken_to_whoever_asks_for_it() {
    let (broker, _directory) = lasting();
    let (kind, text) = text(&broker, &[OPEN_METRICS]);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
    // The strictest reader there is.
    let parse = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
                 print(len(list(parse(sys.stdin.read()))))";
    let python = || {
        let mut command = Command::new("python3");
        command.args(["-c", parse]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let import =
        Command::new("python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has("Python's prometheus_client", import.is_ok_and(|status| status.success())) {
        return;
    }
    let output = crate::common::running(python()).input(text.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_time_that_the_store_waits_is_a_histogram() {
    let (broker, _directory) = lasting();
    let persistent = Connect { clean_session: false, ..connect("persistent") };
    let mut client = Client::connect_as(broker.local_addr(), persistent, false);
    client.subscribe("t", QoS::AtLeastOnce);
    let samples = read(&broker);
    let places: Vec<f64> = samples
        .iter()
        .filter(|(name, _)| name.starts_with("sol_store_sync_duration_seconds{"))
        .map(|(_, count)| *count)
        .collect();
    assert!(places.len() >= 10, "{samples:?}");
    assert!(text(&broker, &[]).1.contains("sol_store_sync_duration_seconds_bucket{le=\"+Inf\"}"));
    let syncs = samples["sol_store_sync_duration_seconds_count"];
    assert!(syncs >= 1.0);
    assert_eq!(places.iter().copied().fold(0.0, f64::max), syncs, "the last place has all");
    assert_eq!(samples["sol_store_failing"], 0.0);
    assert!(samples["sol_store_written_bytes_total"] > 0.0);
}

/// A connection whose bytes are counted by its client.
struct Counted {
    stream: TcpStream,
    read: Rc<Cell<u64>>,
    written: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.read.set(self.read.get() + n as u64);
        Ok(n)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.stream.write(bytes)?;
        self.written.set(self.written.get() + n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Bytes = Rc<Cell<u64>>;

fn counted(broker: &Broker, id: &str) -> (Client<Counted>, Bytes, Bytes) {
    let stream = Client::open(broker.local_addr()).stream;
    let (read, written) = (Bytes::default(), Bytes::default());
    let mut client = Client::over(Counted { stream, read: Rc::clone(&read), written: Rc::clone(&written) });
    client.say_connect(connect(id), false);
    (client, read, written)
}

/// Must-show 3: what the clients counted is what the broker tells.
#[test]
fn figures_agree_with_the_clients_own_counts() {
    const EACH: u64 = 200;
    let broker = broker(Limits::default());
    let (mut subscriber, sub_read, sub_written) = counted(&broker, "subscriber");
    subscriber.subscribe("t/#", QoS::ExactlyOnce);
    let (mut publisher, pub_read, pub_written) = counted(&broker, "publisher");
    let mut payload_bytes = [0_u64; 3];
    for n in 0..EACH {
        for (level, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
            let payload = vec![b'x'; (n as usize + level) % 50];
            payload_bytes[level] += payload.len() as u64;
            publisher.send(&[Packet::Publish(publish(&format!("t/{n}"), &payload, qos))]);
            match qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => publisher.expect(Packet::Puback(Ack::new(PacketId::MIN))),
                QoS::ExactlyOnce => {
                    publisher.expect(Packet::Pubrec(Ack::new(PacketId::MIN)));
                    publisher.send(&[Packet::Pubrel(Ack::new(PacketId::MIN))]);
                    publisher.expect(Packet::Pubcomp(Ack::new(PacketId::MIN)));
                }
            }
        }
    }
    let mut got = [(0_u64, 0_u64); 3];
    let mut open = 3 * EACH + EACH;
    // Each PUBLISH, and a PUBREL for each at QoS 2.
    while open > 0 {
        let answer = match subscriber.receive() {
            Packet::Publish(publish) => {
                let (messages, bytes) = &mut got[usize::from(u8::from(publish.delivery.qos()))];
                *messages += 1;
                *bytes += publish.payload.len() as u64;
                match publish.delivery {
                    Delivery::AtMostOnce => None,
                    Delivery::AtLeastOnce(id) => Some(Packet::Puback(Ack::new(id))),
                    Delivery::ExactlyOnce(id) => Some(Packet::Pubrec(Ack::new(id))),
                }
            }
            Packet::Pubrel(ack) => Some(Packet::Pubcomp(Ack::new(ack.packet_id))),
            other => panic!("{other:?}"),
        };
        open -= 1;
        subscriber.send(&Vec::from_iter(answer));
    }
    subscriber.ping();
    publisher.ping();

    // What a thread writes is counted when its batch is over.
    let expected = |samples: &Samples| {
        let network = |direction: &str| samples[&format!("sol_network_bytes_total{{direction={direction}}}")];
        network("received") == (sub_written.get() + pub_written.get()) as f64
            && network("sent") == (sub_read.get() + pub_read.get()) as f64
    };
    eventually("the bytes agree", || expected(&read(&broker)));
    let samples = read(&broker);
    for level in 0..3 {
        let of = |family: &str, direction: &str| {
            samples[&format!("{family}{{direction={direction},qos={level}}}")] as u64
        };
        assert_eq!(of("sol_messages_total", "received"), EACH, "QoS {level}");
        assert_eq!(of("sol_messages_total", "sent"), got[level].0, "QoS {level}");
        assert_eq!(got[level].0, EACH);
        assert_eq!(of("sol_payload_bytes_total", "received"), payload_bytes[level], "QoS {level}");
        assert_eq!(of("sol_payload_bytes_total", "sent"), got[level].1, "QoS {level}");
    }
    assert_eq!(sum(&samples, "sol_messages_dropped_total"), 0.0);
    assert_eq!(samples["sol_connects_total"], 2.0);
    assert_eq!(samples["sol_messages_in_flight"], 0.0);

    // And so for each client.
    for (id, read, written, messages_received, messages_sent) in [
        ("subscriber", &sub_read, &sub_written, 0, 3 * EACH),
        ("publisher", &pub_read, &pub_written, 3 * EACH, 0),
    ] {
        let client = get_json(&broker, &format!("/api/v1/clients/{id}"));
        assert_eq!(client["bytes_received"], written.get(), "{id}");
        assert_eq!(client["bytes_sent"], read.get(), "{id}");
        assert_eq!(client["messages_received"], messages_received, "{id}");
        assert_eq!(client["messages_sent"], messages_sent, "{id}");
        assert_eq!((&client["dropped"], &client["in_flight"]), (&0.into(), &0.into()), "{id}");
    }
}

/// Must-show 3: each message that a flood lost stands under the reason that it was lost for.
#[test]
fn every_drop_of_a_flood_is_under_its_reason() {
    const FLOOD: u64 = 2000;
    const PAYLOAD: usize = 4000;
    let limits = Limits {
        max_queued_messages: 10,
        max_in_flight_messages: 5,
        max_outbox_bytes: 64 << 10,
        max_topic_levels: 3,
        ..Limits::default()
    };
    let broker = broker(limits);
    let address = broker.local_addr();
    // One is away, one reads nothing at first, and one takes only small packets.
    let away = Connect { clean_session: false, ..connect("away") };
    let mut client = Client::connect_as(address, away, false);
    client.subscribe("flood", QoS::AtLeastOnce);
    client.send(&[Packet::Disconnect(Disconnect::default())]);
    client.expect_closed();
    let mut slow = Client::subscribed(address, "slow", "flood", QoS::AtMostOnce);
    let small = [Property::MaximumPacketSize(100.try_into().unwrap())];
    let (mut small, _) = v5::opened(address, v5::connect("small"), &small);
    small.subscribe("flood", QoS::AtMostOnce);

    let mut publisher = Client::connect_as(address, connect("publisher"), false);
    let payload = vec![b'x'; PAYLOAD];
    for _ in 0..FLOOD {
        publisher.send(&[Packet::Publish(publish("flood", &payload, QoS::AtLeastOnce))]);
        publisher.expect(Packet::Puback(Ack::new(PacketId::MIN)));
    }
    // Of 5.0, so that it can be told.
    let (mut deep, _) = v5::opened(address, v5::connect("deep"), &[]);
    let topic = Name::new("a/b/c/d").unwrap();
    for _ in 0..7 {
        let delivery = Delivery::AtLeastOnce(PacketId::MIN);
        deep.send(&[Packet::Publish(Publish::new(topic, delivery, b""))]);
        let Packet::Puback(ack) = deep.receive() else { panic!("no PUBACK") };
        assert_eq!(ack.reason, Reason::TopicNameInvalid);
    }

    let mut received = 0;
    slow.send(&[Packet::Pingreq]);
    while let Packet::Publish(publish) = slow.receive() {
        assert_eq!(publish.payload.len(), PAYLOAD);
        received += 1;
    }
    let samples = read(&broker);
    let dropped = |reason: &str| samples[&format!("sol_messages_dropped_total{{reason={reason}}}")] as u64;
    assert_eq!(dropped("queue"), FLOOD - 10);
    assert!(received < FLOOD, "the flood was no flood");
    assert_eq!(dropped("outbox"), FLOOD - received);
    assert_eq!(dropped("size"), FLOOD);
    assert_eq!(dropped("topic"), 7);
    assert_eq!(dropped("memory"), 0);
    // No figure without its reason.
    let stats = broker.stats();
    assert_eq!(sum(&samples, "sol_messages_dropped_total") as u64, stats.dropped());
    // The clients' own figures are the same ones.
    for (id, reason) in [("away", "queue"), ("slow", "outbox"), ("small", "size")] {
        assert_eq!(get_json(&broker, &format!("/api/v1/clients/{id}"))["dropped"], dropped(reason), "{id}");
    }
    let worst = get_json(&broker, "/api/v1/clients?sort=dropped&limit=1");
    assert_eq!(worst["clients"][0]["id"], "small");
}

#[test]
fn what_was_refused_is_under_its_reason() {
    let limits =
        Limits { max_sessions: 2, max_subscriptions: 1, max_packet_bytes: 1000, ..Limits::default() };
    let broker = broker(limits);
    let address = broker.local_addr();
    let mut one = Client::subscribed(address, "one", "a", QoS::AtMostOnce);
    let _two = Client::connect(address, "two");
    let mut three = Client::open(address);
    three.send(&[Packet::Connect(Connect { version: Version::V311, ..connect("three") })]);
    while three.receive_or_end().is_some() {}
    one.send(&[crate::common::subscribe("b", QoS::AtMostOnce)]);
    assert!(matches!(one.receive(), Packet::Suback(_)));
    one.send(&[Packet::Publish(publish("a", &[0; 1000], QoS::AtMostOnce))]);
    one.expect_closed();
    eventually("all is counted", || {
        let samples = read(&broker);
        samples["sol_connections_refused_total{reason=sessions}"] == 1.0
            && samples["sol_subscriptions_refused_total{reason=client}"] == 1.0
            && samples["sol_connections_ended_total{reason=packet_size}"] == 1.0
    });
}
