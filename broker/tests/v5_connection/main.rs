//! Connections of MQTT 5.0: how they begin, how they end, and what outlives them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod connack;
mod endings;
mod model;
mod sessions;
mod wills;

use common::Client;
use common::v5::{connect, opened, properties};
use sol::codec::{Disconnect, Packet, Properties, Property, Reason};
use sol::{Broker, Config, Limits};

/// A broker whose statistics are not among the messages that it stores.
fn broker(limits: Limits) -> Broker {
    let config = Config { limits, stats_interval: None, ..Config::on("127.0.0.1:0".parse().unwrap()) };
    Broker::start(config).unwrap()
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
