//! What the broker tells about itself on `$SOL/broker/…` and `$SYS/broker/…`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Port, connect, eventually, publish, running};
use sol::codec::{Connect, Disconnect, Packet, QoS};
use sol::{Broker, Config, Limits, Stats};

/// The original Sol's.
const SOL: [&str; 11] = [
    "clients",
    "clients/connected",
    "clients/disconnected",
    "messages",
    "messages/sent",
    "messages/received",
    "bytes/sent",
    "bytes/received",
    "uptime",
    "uptime/sol",
    "memory/used",
];

fn publishing(stats_interval: Option<Duration>, limits: Limits) -> Broker {
    let address = "127.0.0.1:0".parse().unwrap();
    Broker::start(Config { stats_interval, limits, ..Config::on(address) }).unwrap()
}

fn often() -> Broker {
    publishing(Some(Duration::from_millis(20)), Limits::default())
}

/// A message as it came: topic, payload, RETAIN.
fn receive(client: &mut Client) -> (String, String, bool) {
    let Packet::Publish(publish) = client.receive() else { panic!("no PUBLISH") };
    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
    (publish.topic.unwrap().to_string(), payload, publish.retain)
}

/// The retained value of a topic, by an exact subscription.
fn retained(address: SocketAddr, topic: &str) -> String {
    let mut client = Client::subscribed(address, "", topic, QoS::AtMostOnce);
    let (name, value, retain) = receive(&mut client);
    assert_eq!((name.as_str(), retain), (topic, true));
    value
}

/// All that is retained below a filter.
fn all_retained(address: SocketAddr, filter: &str) -> BTreeMap<String, String> {
    let mut client = Client::subscribed(address, "", filter, QoS::AtMostOnce);
    let mut all = BTreeMap::new();
    client.send(&[Packet::Pingreq]);
    loop {
        match client.receive() {
            Packet::Publish(publish) if publish.retain => {
                let value = String::from_utf8(publish.payload.to_vec()).unwrap();
                all.insert(publish.topic.unwrap().to_string(), value);
            }
            Packet::Publish(_) => {}
            Packet::Pingresp => return all,
            other => panic!("{other:?}"),
        }
    }
}

/// Hears a topic until it has the value.
fn becomes(address: SocketAddr, topic: &str, expected: &str) {
    let mut client = Client::subscribed(address, "", topic, QoS::AtMostOnce);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, value, _) = receive(&mut client);
        if value == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{topic} is {value}, not {expected}");
    }
}

#[test]
fn each_of_the_originals_topics_is_retained_from_the_start() {
    // Published once, at the start, and not again while the test runs.
    let broker = publishing(Some(Duration::from_secs(3600)), Limits::default());
    eventually("something is published", || !all_retained(broker.local_addr(), "$SOL/#").is_empty());
    for name in SOL {
        let value = retained(broker.local_addr(), &format!("$SOL/broker/{name}"));
        assert!(value.parse::<u64>().is_ok(), "{name}: {value:?}");
    }
    let all: BTreeSet<_> = all_retained(broker.local_addr(), "$SOL/#").into_keys().collect();
    assert_eq!(all, SOL.iter().map(|name| format!("$SOL/broker/{name}")).collect());
}

#[test]
fn clients_come_and_go() {
    let broker = often();
    let address = broker.local_addr();
    let _here = Client::connect(address, "here");
    for id in ["away-1", "away-2"] {
        let persistent = Connect { clean_session: false, ..connect(id) };
        let mut client = Client::connect_as(address, persistent, false);
        client.send(&[Packet::Disconnect(Disconnect::default())]);
        client.expect_closed();
    }
    // One more is connected: the one that asks.
    for tree in ["$SOL", "$SYS"] {
        becomes(address, &format!("{tree}/broker/clients/connected"), "2");
        becomes(address, &format!("{tree}/broker/clients/disconnected"), "2");
    }
    becomes(address, "$SOL/broker/clients", "4");
    becomes(address, "$SYS/broker/clients/total", "4");
    becomes(address, "$SYS/broker/clients/inactive", "2");
    let topic = "$SYS/broker/clients/maximum";
    let mut last = Client::subscribed(address, "", topic, QoS::AtMostOnce);
    // Nobody comes any more.
    let maximum = broker.stats().clients_maximum;
    assert!(maximum >= 2);
    while receive(&mut last).1 != maximum.to_string() {}
}

#[test]
fn messages_and_bytes_are_counted_right() {
    let broker = publishing(None, Limits::default());
    let address = broker.local_addr();
    let mut subscriber = Client::subscribed(address, "s", "t", QoS::AtLeastOnce);
    let mut publisher = Client::connect(address, "p");
    for _ in 0..10 {
        publisher.send(&[Packet::Publish(publish("t", b"payload", QoS::AtLeastOnce))]);
        publisher.receive();
        subscriber.message();
    }
    publisher.ping();
    subscriber.ping();
    // CONNECT: 2 + 12 + 1; SUBSCRIBE: 2 + 2 + 4; PUBLISH: 2 + 3 + 2 + 7; acknowledgements and CONNACK: 4; SUBACK: 5.
    let received = 2 * 15 + 8 + 10 * 14 + 10 * 4 + 2 * 2;
    let sent = 2 * 4 + 5 + 10 * 14 + 10 * 4 + 2 * 2;
    let counted = |stats: Stats| {
        [
            [stats.messages_received, 2 + 1 + 10 + 10 + 2],
            [stats.messages_sent, 2 + 1 + 10 + 10 + 2],
            [stats.publish_received, 10],
            [stats.publish_sent, 10],
            [stats.publish_bytes_received, 70],
            [stats.publish_bytes_sent, 70],
            [stats.bytes_received, received],
            [stats.bytes_sent, sent],
            [stats.in_flight as u64 + stats.queued as u64 + stats.stored as u64, 0],
            [stats.connects, 2],
            [stats.sockets, 2],
            [stats.dropped(), 0],
        ]
    };
    eventually("all is counted", || {
        counted(broker.stats()).iter().all(|[value, expected]| value == expected)
    });
    publisher.send(&[Packet::Disconnect(Disconnect::default())]);
    subscriber.send(&[Packet::Disconnect(Disconnect::default())]);
    eventually("both are gone", || broker.stats().sessions == 0);
    eventually("nothing is accounted for any more", || {
        let used = broker.stats().memory_used;
        // But for what each thread remembers of the topic's way.
        used < 4096
    });
}

#[test]
fn what_waits_is_counted_and_what_is_dropped() {
    let limits = Limits { max_queued_messages: 5, max_retained_messages: 1, ..Limits::default() };
    let broker = publishing(Some(Duration::from_millis(20)), limits);
    let address = broker.local_addr();
    let persistent = Connect { clean_session: false, ..connect("away") };
    let mut away = Client::connect_as(address, persistent, false);
    away.subscribe("t", QoS::AtLeastOnce);
    away.send(&[Packet::Disconnect(Disconnect::default())]);
    away.expect_closed();
    eventually("it is away", || broker.stats().connections == 0);
    let mut publisher = Client::connect(address, "p");
    for _ in 0..8 {
        publisher.send(&[Packet::Publish(publish("t", b"x", QoS::AtLeastOnce))]);
        publisher.receive();
    }
    for topic in ["r/1", "r/2"] {
        let retained = publish(topic, b"kept", QoS::AtMostOnce);
        publisher.send(&[Packet::Publish(sol::codec::Publish { retain: true, ..retained })]);
    }
    publisher.ping();
    for (topic, value) in [
        ("publish/messages/dropped", "3"),
        ("publish/messages/dropped/queue", "3"),
        ("publish/messages/dropped/outbox", "0"),
        ("queue/messages/count", "5"),
        ("retained messages/count", "1"),
        ("retained messages/dropped/store", "1"),
        ("messages/inflight", "0"),
        ("memory/state", "ample"),
    ] {
        becomes(address, &format!("$SYS/broker/{topic}"), value);
    }
    let stats = broker.stats();
    assert_eq!((stats.queued, stats.dropped_queue_full, stats.retained), (5, 3, 1));
    let queued = stats.queued_bytes.to_string();
    becomes(address, "$SYS/broker/queue/messages/bytes", &queued);
}

#[test]
fn only_what_has_changed_is_published_again() {
    let broker = often();
    let version = (String::from("$SYS/broker/version"), format!("sol version {}", env!("CARGO_PKG_VERSION")));
    // The first publication may come after the first client.
    becomes(broker.local_addr(), &version.0, &version.1);
    let mut client = Client::connect(broker.local_addr(), "client");
    client.subscribe("$SYS/broker/version", QoS::AtMostOnce);
    let (topic, value, retain) = receive(&mut client);
    assert_eq!(((topic, value), retain), (version, true));
    // Several publications later there was no second version.
    client.subscribe("$SYS/broker/bytes/sent", QoS::AtMostOnce);
    for _ in 0..5 {
        assert_eq!(receive(&mut client).0, "$SYS/broker/bytes/sent");
    }
}

#[test]
fn without_an_interval_nothing_is_published() {
    let broker = publishing(None, Limits::default());
    let mut client = Client::subscribed(broker.local_addr(), "client", "$SYS/#", QoS::AtMostOnce);
    client.subscribe("$SOL/#", QoS::AtMostOnce);
    client.ping();
    assert_eq!(broker.stats().stored, 0);
}

#[test]
fn clients_and_wildcards_do_not_reach_the_brokers_trees() {
    let broker = often();
    let mut client = Client::subscribed(broker.local_addr(), "client", "#", QoS::AtMostOnce);
    client.subscribe("+/broker/#", QoS::AtMostOnce);
    for topic in ["$SOL/broker/clients", "$SYS/broker/version", "$SYS/mine"] {
        let forged = publish(topic, b"forged", QoS::AtMostOnce);
        client.send(&[Packet::Publish(sol::codec::Publish { retain: true, ..forged })]);
    }
    client.ping();
    let all = all_retained(broker.local_addr(), "$SYS/#");
    assert!(!all.contains_key("$SYS/mine") && all.values().all(|value| value != "forged"), "{all:?}");
    assert_ne!(retained(broker.local_addr(), "$SOL/broker/clients"), "forged");
    client.ping();
}

#[test]
fn a_full_store_has_room_for_the_brokers_own() {
    let limits = Limits { max_retained_messages: 0, max_retained_bytes: 0, ..Limits::default() };
    let broker = publishing(Some(Duration::from_millis(20)), limits);
    eventually("it is retained", || all_retained(broker.local_addr(), "$SOL/#").len() == SOL.len());
    assert_eq!((broker.stats().retained, broker.stats().dropped_retained_full), (0, 0));
}

/// Whether to go on with a test that needs a program.
fn has(name: &str, is_installed: bool) -> bool {
    if !is_installed {
        let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
        assert!(!is_required, "{name} is not installed");
        // Not by `eprintln!`, which is shown of failed tests only.
        std::io::stderr().write_all(format!("SKIPPED: {name} is not installed\n").as_bytes()).unwrap();
    }
    is_installed
}

fn mosquitto(configuration: &str) -> Option<Command> {
    // Where Debian has it, if not where the shell looks.
    let is_there = |program: &&str| {
        let mut command = Command::new(program);
        command.arg("-h").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let program = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find(is_there)?;
    let mut command = Command::new(program);
    command.args(["-c", configuration]);
    Some(command)
}

#[test]
fn all_topics_of_mosquitto_are_there() {
    let port = Port::new();
    let free = port.address();
    let configuration = std::env::temp_dir().join(format!("sol-statistics-{}.conf", std::process::id()));
    let text = format!("listener {} 127.0.0.1\nallow_anonymous true\nsys_interval 1\n", free.port());
    std::fs::write(&configuration, text).unwrap();
    let command = mosquitto(configuration.to_str().unwrap());
    if !has("mosquitto", command.is_some()) {
        return;
    }
    let mosquitto = running(command.unwrap());
    eventually("mosquitto listens", || match std::net::TcpStream::connect(free) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => false,
        other => other.is_ok(),
    });
    eventually("mosquitto publishes", || {
        all_retained(free, "$SYS/#").contains_key("$SYS/broker/load/connections/15min")
    });
    let theirs = all_retained(free, "$SYS/#");
    mosquitto.kill();
    std::fs::remove_file(configuration).unwrap();

    let broker = often();
    eventually("it publishes", || !all_retained(broker.local_addr(), "$SYS/#").is_empty());
    let ours = all_retained(broker.local_addr(), "$SYS/#");
    let missing: Vec<_> = theirs.keys().filter(|topic| !ours.contains_key(*topic)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let is_number = |value: &String| value.parse::<f64>().is_ok();
    for (topic, value) in &theirs {
        assert_eq!(is_number(value), is_number(&ours[topic]), "{topic}: {value} and {}", ours[topic]);
    }
    assert!(ours["$SYS/broker/uptime"].ends_with(" seconds"), "{ours:?}");
}
