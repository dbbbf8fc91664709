//! Server-sent events.

use serde_json::Value;
use sol::codec::{Packet, QoS};
use sol::{Broker, Limits};

use crate::broker;
use crate::client::{Events, get, get_json, post};
use crate::common::{Client, eventually, publish};

fn says(topic: &str, payload: &str, retain: bool) -> (String, String, bool) {
    (topic.to_owned(), payload.to_owned(), retain)
}

#[test]
fn messages_are_told_as_a_subscriber_gets_them() {
    let broker = broker(Limits::default());
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let retained = serde_json::json!({"topic": "a/last", "payload": "value", "retain": true});
    assert_eq!(post(&broker, "/api/v1/publish", &retained).status, 200);
    let mut events = Events::open(&broker, "/api/v1/messages?filter=a/%23&filter=b");
    assert_eq!(events.message(), says("a/last", "value", true));
    for (topic, payload) in [("a/b", "one\ntwo"), ("b", "\"ü\""), ("c", "not for it"), ("a", "last")] {
        publisher.publish(topic, payload.as_bytes());
    }
    assert_eq!(events.message(), says("a/b", "one\ntwo", false));
    assert_eq!(events.message(), says("b", "\"ü\"", false));
    assert_eq!(events.message(), says("a", "last", false));
    publisher.publish("b", &[0xFF]);
    let (_, data) = events.next().unwrap();
    assert_eq!((&data["payload_base64"], &data["qos"]), (&"/w==".into(), &0.into()));
    assert!(data["time"].as_str().unwrap().ends_with('Z'));
    publisher.publish("b", &vec![b'x'; 100_000]);
    let (_, data) = events.next().unwrap();
    assert_eq!((&data["bytes"], &data["truncated"]), (&100_000.into(), &true.into()));
    assert_eq!(data["payload"].as_str().unwrap().len(), 64 << 10);
}

#[test]
fn a_stream_that_is_closed_leaves_nothing() {
    let broker = broker(Limits::default());
    let before = broker.stats();
    let events = Events::open(&broker, "/api/v1/messages?filter=%23");
    assert_eq!(get_json(&broker, "/api/v1/clients")["total"], 1);
    drop(events);
    eventually("its session is over", || broker.stats().sessions == 0);
    eventually("its connection is", || broker.stats().connections == 0);
    eventually("its memory is given back", || broker.stats().memory_used == before.memory_used);
    for query in ["", "?filter=a%23", "?filter=$share/g/a", "?topic=a"] {
        assert_eq!(get(&broker, &format!("/api/v1/messages{query}")).status, 400, "{query}");
    }
}

/// Publishes at QoS 0 until the stream's client has lost something. Gives how many.
fn flood(broker: &Broker) -> u64 {
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let payload = vec![b'x'; 10_000];
    let mut published = 0;
    eventually("something is dropped", || {
        for _ in 0..100 {
            publisher.send(&[Packet::Publish(publish("flood", &payload, QoS::AtMostOnce))]);
        }
        publisher.ping();
        published += 100;
        broker.stats().dropped_outbox_full > 500
    });
    published
}

#[test]
fn a_slow_reader_loses_messages_and_is_told_how_many() {
    let broker = broker(Limits { max_outbox_bytes: 256 << 10, ..Limits::default() });
    let mut events = Events::open(&broker, "/api/v1/messages?filter=flood");
    let published = flood(&broker);
    let used = broker.stats().memory_used;
    assert!(used < 8 << 20, "what it does not read is bounded: {used}");
    let (mut got, mut dropped) = (0, 0);
    while got + dropped < published {
        match events.next().expect("more") {
            (name, data) if name == "dropped" => dropped += data["messages"].as_u64().unwrap(),
            (name, data) => {
                assert_eq!((name.as_str(), &data["bytes"]), ("message", &10_000.into()));
                got += 1;
            }
        }
    }
    assert_eq!(got + dropped, published);
    assert_eq!(dropped, broker.stats().dropped_outbox_full);
    // Others were not held up, and it goes on.
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    publisher.publish("flood", b"on");
    assert_eq!(events.message(), says("flood", "on", false));
}

#[test]
fn figures_come_each_second() {
    let broker = broker(Limits::default());
    let mut events = Events::open(&broker, "/api/v1/events");
    let (name, first) = events.next().unwrap();
    assert_eq!((name.as_str(), &first["stats"]["connects"]), ("message", &0.into()));
    let _client = Client::connect(broker.local_addr(), "client");
    // One that was told meanwhile may not know of it.
    let mut second = events.next().unwrap().1;
    while second["stats"]["connects"] == 0 {
        second = events.next().unwrap().1;
    }
    assert_eq!(second["stats"]["connects"], 1);
    assert!(second["time"].as_str() > first["time"].as_str());
    assert_eq!((&second["latency_us"], &second["store"]), (&Value::Null, &Value::Null));
    assert_eq!(second["resident_bytes"].is_u64(), cfg!(target_os = "linux"));
}

#[test]
fn the_way_through_the_broker_is_measured() {
    let broker = broker(Limits::default());
    let mut subscriber = Client::subscribed(broker.local_addr(), "subscriber", "t", QoS::AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let mut events = Events::open(&broker, "/api/v1/events");
    let mut latency = events.next().unwrap().1["latency_us"].clone();
    while latency.is_null() {
        publisher.publish("t", b"x");
        subscriber.message();
        latency = events.next().unwrap().1["latency_us"].clone();
    }
    let figure = |name: &str| latency[name].as_u64().unwrap();
    assert!(figure("samples") >= 1 && figure("p50") >= 1 && figure("p99") >= figure("p50"), "{latency}");
}

#[test]
fn streams_end_with_the_broker() {
    let broker = broker(Limits::default());
    let mut messages = Events::open(&broker, "/api/v1/messages?filter=%23");
    let mut figures = Events::open(&broker, "/api/v1/events");
    broker.stop();
    let (name, data) = messages.next().unwrap();
    assert_eq!((name.as_str(), &data["error"]), ("end", &"the broker stops".into()));
    assert!(messages.next().is_none());
    while figures.next().is_some() {}
}
