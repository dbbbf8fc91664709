//! Clients of MQTT 5.0.

use std::net::SocketAddr;

use sol::codec::{Connect, Packet, PropertiesBuf, Property, Reason, Version};

use super::Client;

/// A CONNECT of 5.0 with Clean Start 0 and nothing else, to be changed.
pub(crate) fn connect(client_id: &str) -> Connect<'_> {
    Connect { version: Version::V5, clean_session: false, ..super::connect(client_id) }
}

pub(crate) fn properties(all: &[Property<'_>]) -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    all.iter().for_each(|property| properties.push(*property).unwrap());
    properties
}

/// Connected with these properties. Says whether the session was there.
pub(crate) fn opened(address: SocketAddr, connect: Connect<'_>, all: &[Property<'_>]) -> (Client, bool) {
    let mut client = Client::open(address);
    let with = properties(all);
    client.send(&[Packet::Connect(Connect { properties: with.as_properties(), ..connect })]);
    let is_present = match client.receive() {
        Packet::Connack(connack) if connack.reason == Reason::Success => connack.session_present,
        other => panic!("{other:?} for CONNACK"),
    };
    (client, is_present)
}
