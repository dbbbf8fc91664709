//! Subscriptions of MQTT 5.0: options, identifiers, codes, and those that clients share, over sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod codes;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod options;
#[path = "../common/outbox.rs"]
mod outbox;
mod shared;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use common::Client;
use common::v5::properties;
use sol::codec::{
    Ack, Connect, Packet, PacketId, Property, Publish, QoS, Reason, RetainHandling, Subscribe, SubscribeCode,
    SubscribeOptions, Unsubscribe, Version,
};
use sol::topic::Filter;
use sol::{Broker, Config, Limits};

/// A broker whose statistics are not among its messages.
fn broker(limits: Limits) -> Broker {
    let config = Config { limits, stats_interval: None, ..Config::on("127.0.0.1:0".parse().unwrap()) };
    Broker::start(config).unwrap()
}

/// A client of 5.0 whose session ends with its connection.
fn open(address: SocketAddr, client_id: &str) -> Client {
    open_with(address, client_id, true, &[])
}

/// A client of 5.0 whose session stays.
fn stay(address: SocketAddr, client_id: &str) -> Client {
    open_with(address, client_id, false, &[Property::SessionExpiryInterval(u32::MAX)])
}

fn open_with(address: SocketAddr, client_id: &str, clean_session: bool, all: &[Property<'_>]) -> Client {
    let with = properties(all);
    let properties = with.as_properties();
    let mut client = Client::open(address);
    let connect = Connect { version: Version::V5, clean_session, properties, ..common::connect(client_id) };
    client.send(&[Packet::Connect(connect)]);
    assert!(matches!(client.receive(), Packet::Connack(connack) if connack.reason == Reason::Success));
    client
}

/// A subscription with nothing but a QoS, to be changed.
fn at(qos: QoS) -> SubscribeOptions {
    qos.into()
}

/// Subscribes, maybe with an identifier. Gives the codes.
fn subscribe(
    client: &mut Client,
    identifier: u32,
    filters: &[(&str, SubscribeOptions)],
) -> Vec<SubscribeCode> {
    let identifier = NonZeroU32::new(identifier).map(Property::SubscriptionIdentifier);
    let with = properties(identifier.as_slice());
    let filters = filters.iter().map(|(filter, options)| (Filter::new(filter).unwrap(), *options)).collect();
    let mut subscribe = Subscribe::new(PacketId::MIN, filters);
    subscribe.properties = with.as_properties();
    client.send(&[Packet::Subscribe(subscribe)]);
    match client.receive() {
        Packet::Suback(suback) => suback.codes.to_vec(),
        other => panic!("{other:?} for SUBACK"),
    }
}

/// Ends subscriptions. Gives the codes.
fn unsubscribe(client: &mut Client, filters: &[&str]) -> Vec<Reason> {
    let filters = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
    client.send(&[Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters))]);
    match client.receive() {
        Packet::Unsuback(unsuback) => unsuback.codes.to_vec(),
        other => panic!("{other:?} for UNSUBACK"),
    }
}

/// Publishes, and waits until the broker has done with it.
fn publish(client: &mut Client, topic: &str, payload: &str, qos: QoS, retain: bool) {
    let publish = Publish { retain, ..common::publish(topic, payload.as_bytes(), qos) };
    client.send(&[Packet::Publish(publish)]);
    match qos {
        QoS::AtMostOnce => client.ping(),
        QoS::AtLeastOnce => assert!(matches!(client.receive(), Packet::Puback(_))),
        QoS::ExactlyOnce => {
            assert!(matches!(client.receive(), Packet::Pubrec(_)));
            client.send(&[Packet::Pubrel(Ack::new(PacketId::MIN))]);
            assert!(matches!(client.receive(), Packet::Pubcomp(_)));
        }
    }
}

/// Publishes, for a client that may get messages itself before the broker's answer.
fn say(client: &mut Client, topic: &str, payload: &str, qos: QoS, retain: bool) {
    client.send(&[Packet::Publish(Publish { retain, ..common::publish(topic, payload.as_bytes(), qos) })]);
}

/// A PUBLISH as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    payload: String,
    qos: QoS,
    retain: bool,
    dup: bool,
    identifiers: Vec<u32>,
    packet_id: Option<PacketId>,
}

/// All messages that there are for the client. None is acknowledged.
fn all(client: &mut Client) -> Vec<Got> {
    client.send(&[Packet::Pingreq]);
    let mut all = Vec::new();
    loop {
        match client.receive() {
            Packet::Pingresp => return all,
            Packet::Publish(publish) => all.push(got(&publish)),
            // For what it published without waiting.
            Packet::Puback(_) => {}
            other => panic!("{other:?} for PUBLISH"),
        }
    }
}

/// The next message. It is not acknowledged.
fn next(client: &mut Client) -> Got {
    match client.receive() {
        Packet::Publish(publish) => got(&publish),
        other => panic!("{other:?} for PUBLISH"),
    }
}

fn got(publish: &Publish<'_>) -> Got {
    let identifiers = publish.properties.iter().filter_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier.get()),
        _ => None,
    });
    Got {
        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        qos: publish.delivery.qos(),
        retain: publish.retain,
        dup: publish.dup,
        identifiers: identifiers.collect(),
        packet_id: publish.delivery.packet_id(),
    }
}

fn payloads(client: &mut Client) -> Vec<String> {
    all(client).into_iter().map(|got| got.payload).collect()
}

const GRANTED: [SubscribeCode; 3] = [
    SubscribeCode::Granted(QoS::AtMostOnce),
    SubscribeCode::Granted(QoS::AtLeastOnce),
    SubscribeCode::Granted(QoS::ExactlyOnce),
];
