//! Connections of MQTT 5.0: how they begin, how they end, and what outlives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod connack;
mod endings;
mod model;
mod sessions;
mod wills;

use std::net::SocketAddr;

use common::Client;
use sol::codec::{Connect, Disconnect, Packet, Properties, PropertiesBuf, Property, Reason, Version};
use sol::{Broker, Config, Limits};

/// A broker whose statistics are not among the messages that it stores.
fn broker(limits: Limits) -> Broker {
    let config = Config { limits, stats_interval: None, ..Config::on("127.0.0.1:0".parse().unwrap()) };
    Broker::start(config).unwrap()
}

/// A CONNECT of 5.0 with Clean Start 0 and nothing else, to be changed.
fn connect(client_id: &str) -> Connect<'_> {
    Connect { version: Version::V5, clean_session: false, ..common::connect(client_id) }
}

fn properties(all: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    all.iter().for_each(|property| properties.push(*property).unwrap());
    properties
}

/// Connected with these properties. Says whether the session was there.
fn opened(address: SocketAddr, connect: Connect<'_>, all: &[Property<'_>]) -> (Client, bool) {
    let mut client = Client::open(address);
    let with = properties(all);
    client.send(&[Packet::Connect(Connect { properties: with.as_properties(), ..connect })]);
    let is_present = match client.receive() {
        Packet::Connack(connack) if connack.reason == Reason::Success => connack.session_present,
        other => panic!("{other:?} for CONNACK"),
    };
    (client, is_present)
}

fn disconnect(client: &mut Client, reason: Reason, all: &[Property<'_>]) {
    let with = properties(all);
    client.send(&[Packet::Disconnect(Disconnect { reason, properties: with.as_properties() })]);
}

/// The server says why, and closes. Gives the reason string.
fn expect_disconnect(client: &mut Client, reason: Reason) -> Option<String> {
    let text = match client.receive() {
        Packet::Disconnect(disconnect) => {
            assert_eq!(disconnect.reason, reason, "{disconnect:?}");
            reason_string(disconnect.properties)
        }
        other => panic!("{other:?} for DISCONNECT"),
    };
    client.expect_closed();
    text
}

fn reason_string(properties: Properties<'_>) -> Option<String> {
    properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(text.to_owned()),
        _ => None,
    })
}
