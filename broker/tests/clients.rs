//! Clients that others wrote: mosquitto's, paho, rumqttc.
//!
//! A test whose program is not installed is skipped, see `common/peers.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::Command;
use std::thread;

use common::peers::{has_mosquitto, has_paho, mosquitto, stdout};
use common::{PATIENCE, broker, eventually, running};
use rumqttc::{Event, Incoming, MqttOptions};
use sol::{Broker, Config, Limits};

const MESSAGES: usize = 1000;

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{n}\n")).collect()
}

// mosquitto

/// Publishes each line as a message.
fn mosquitto_pub_lines(broker: &Broker, qos: &str, lines: &str) {
    let publisher = mosquitto("mosquitto_pub", broker.local_addr(), &["-t", "t", "-q", qos, "-l"]);
    let output = publisher.input(lines.as_bytes());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn mosquitto_gets_all_messages_once_and_in_order() {
    if !has_mosquitto() {
        return;
    }
    for qos in ["0", "1", "2"] {
        let broker = broker(Limits::default());
        let count = (MESSAGES + 1).to_string();
        let subscriber = mosquitto(
            "mosquitto_sub",
            broker.local_addr(),
            &["-t", "t", "-q", qos, "-C", &count, "-F", "%q %r %p"],
        );
        eventually("subscribed", || broker.stats().subscriptions == 1);
        mosquitto_pub_lines(&broker, qos, &(lines(MESSAGES) + "end\n"));
        let expected =
            (lines(MESSAGES) + "end\n").lines().map(|line| format!("{qos} 0 {line}\n")).collect::<String>();
        assert_eq!(stdout(subscriber), expected, "QoS {qos}");
    }
}

#[test]
fn mosquitto_gets_the_retained_message() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    for message in ["old", "kept"] {
        stdout(mosquitto("mosquitto_pub", address, &["-t", "t/x", "-q", "1", "-r", "-m", message]));
    }
    let subscriber = mosquitto("mosquitto_sub", address, &["-t", "t/#", "-C", "1", "-F", "%t %r %p"]);
    assert_eq!(stdout(subscriber), "t/x 1 kept\n");
    stdout(mosquitto("mosquitto_pub", address, &["-t", "t/x", "-q", "1", "-r", "-n"]));
    assert_eq!(broker.stats().retained, 0);
}

#[test]
fn mosquitto_killed_leaves_its_will() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let heir = mosquitto("mosquitto_sub", address, &["-t", "will", "-q", "1", "-C", "1", "-F", "%q %p"]);
    eventually("the heir is subscribed", || broker.stats().subscriptions == 1);
    let will = ["--will-topic", "will", "--will-payload", "left", "--will-qos", "1"];
    // One that ends properly first: its will is not sent.
    stdout(mosquitto("mosquitto_sub", address, &[&["-t", "x", "-E"], &will[..]].concat()));
    eventually("it is gone", || broker.stats().subscriptions == 1);
    let killed = mosquitto("mosquitto_sub", address, &[&["-t", "x"], &will[..]].concat());
    eventually("the other is subscribed", || broker.stats().subscriptions == 2);
    killed.kill();
    assert_eq!(stdout(heir), "1 left\n");
}

#[test]
fn mosquitto_comes_back_to_its_session() {
    if !has_mosquitto() {
        return;
    }
    for qos in ["1", "2"] {
        let broker = broker(Limits::default());
        let subscribe = ["-i", "back", "-c", "-t", "t", "-q", qos];
        stdout(mosquitto("mosquitto_sub", broker.local_addr(), &[&subscribe[..], &["-E"]].concat()));
        mosquitto_pub_lines(&broker, qos, &lines(MESSAGES));
        let count = MESSAGES.to_string();
        let back =
            mosquitto("mosquitto_sub", broker.local_addr(), &[&subscribe[..], &["-C", &count]].concat());
        assert_eq!(stdout(back), lines(MESSAGES), "QoS {qos}");
    }
}

// paho

/// A broker that does one thing after the other: whoever left before somebody came has left.
fn single_threaded() -> Broker {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Broker::start(Config { threads: NonZeroUsize::MIN, ..Config::on(address) }).unwrap()
}

/// Runs a test in `paho.py`.
fn paho(arguments: &[&str]) {
    if !has_paho() {
        return;
    }
    let broker = single_threaded();
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("paho.py"), &broker.local_addr().port().to_string()]).args(arguments);
    let output = running(command).output();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn paho_gets_all_messages_once_and_in_order() {
    for qos in ["0", "1", "2"] {
        paho(&["exchange", qos, &MESSAGES.to_string()]);
    }
}

#[test]
fn paho_gets_the_retained_message() {
    paho(&["retained"]);
}

#[test]
fn paho_breaking_down_leaves_its_will() {
    paho(&["will"]);
}

#[test]
fn paho_comes_back_to_its_session() {
    paho(&["session"]);
}

// rumqttc

fn rumqttc_client(broker: &Broker, id: &str, clean: bool) -> (rumqttc::Client, rumqttc::Connection) {
    let address = broker.local_addr();
    let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
    options.set_clean_session(clean);
    rumqttc::Client::new(options, 100)
}

/// The next packet from the broker.
fn incoming(connection: &mut rumqttc::Connection) -> Incoming {
    loop {
        if let Event::Incoming(packet) = connection.recv_timeout(PATIENCE).unwrap().unwrap() {
            return packet;
        }
    }
}

/// Polls until the client has disconnected.
fn poll_to_the_end(connection: &mut rumqttc::Connection) {
    while connection.recv_timeout(PATIENCE).unwrap().is_ok() {}
}

fn publish_numbers(broker: &Broker, qos: rumqttc::QoS) {
    let (client, mut connection) = rumqttc_client(broker, "publisher", true);
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..MESSAGES {
                client.publish("t", qos, false, n.to_string()).unwrap();
            }
            // Behind the acknowledgements of all messages.
            client.subscribe("marker", qos).unwrap();
            client.publish("marker", qos, false, "").unwrap();
        });
        while !matches!(incoming(&mut connection), Incoming::Publish(marker) if marker.topic == "marker") {}
    });
}

fn expect_numbers(connection: &mut rumqttc::Connection, qos: rumqttc::QoS) {
    for n in 0..MESSAGES {
        let publish = loop {
            match incoming(connection) {
                Incoming::Publish(publish) => break publish,
                Incoming::PubRel(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((&publish.payload[..], publish.qos, publish.dup), (n.to_string().as_bytes(), qos, false));
    }
}

const QOS: [rumqttc::QoS; 3] =
    [rumqttc::QoS::AtMostOnce, rumqttc::QoS::AtLeastOnce, rumqttc::QoS::ExactlyOnce];

#[test]
fn rumqttc_gets_all_messages_once_and_in_order() {
    for qos in QOS {
        let broker = broker(Limits::default());
        let (client, mut subscriber) = rumqttc_client(&broker, "subscriber", true);
        client.subscribe("t", qos).unwrap();
        while !matches!(incoming(&mut subscriber), Incoming::SubAck(_)) {}
        thread::scope(|scope| {
            scope.spawn(|| publish_numbers(&broker, qos));
            expect_numbers(&mut subscriber, qos);
        });
    }
}

#[test]
fn rumqttc_comes_back_to_its_session() {
    for qos in &QOS[1..] {
        let broker = single_threaded();
        let (client, mut subscriber) = rumqttc_client(&broker, "back", false);
        client.subscribe("t", *qos).unwrap();
        while !matches!(incoming(&mut subscriber), Incoming::SubAck(_)) {}
        client.disconnect().unwrap();
        poll_to_the_end(&mut subscriber);
        drop(subscriber);
        eventually("it is away", || broker.stats().connections == 0);
        publish_numbers(&broker, *qos);
        let (_client, mut subscriber) = rumqttc_client(&broker, "back", false);
        assert!(matches!(incoming(&mut subscriber), Incoming::ConnAck(connack) if connack.session_present));
        expect_numbers(&mut subscriber, *qos);
    }
}
