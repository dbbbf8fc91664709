//! Subscribers that are away while all is published, and come back for it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, Properties, PropertiesBuf, Property, QoS, Version,
};

use crate::common::{self, Client};
use crate::publisher::Key;

const ABSENT: [(&str, Version, QoS); 2] = [
    ("absent at QoS 1", Version::V311, QoS::AtLeastOnce),
    ("absent at QoS 2", Version::V5, QoS::ExactlyOnce),
];

/// A CONNECT for a session that stays.
pub(crate) fn connect(client_id: &str, version: Version) -> Connect<'_> {
    Connect { version, clean_session: false, ..common::connect(client_id) }
}

pub(crate) struct Absent {
    client_id: &'static str,
    version: Version,
}

impl Absent {
    /// They subscribe, and leave.
    pub(crate) fn subscribe_all(address: SocketAddr) -> Vec<Self> {
        let subscribe = |(client_id, version, qos)| {
            let absent = Self { client_id, version };
            let mut client = absent.connect(address, false);
            client.subscribe("q/#", qos);
            client.send(&[Packet::Disconnect(Disconnect::default())]);
            client.expect_closed();
            absent
        };
        ABSENT.map(subscribe).into()
    }

    fn connect(&self, address: SocketAddr, is_back: bool) -> Client {
        let mut properties = PropertiesBuf::new();
        if self.version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        }
        let properties: Properties<'_> = properties.as_properties();
        let mut client = Client::open(address);
        client.send(&[Packet::Connect(Connect { properties, ..connect(self.client_id, self.version) })]);
        let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
        assert_eq!((connack.session_present, connack.reason.is_error()), (is_back, false));
        client
    }

    /// Gets all that was acknowledged, of each publisher in order, and nothing twice.
    pub(crate) fn come_back(&mut self, address: SocketAddr, acknowledged: &BTreeSet<Key>) {
        let mut client = self.connect(address, true);
        let (mut received, mut last) = (BTreeSet::new(), [0; 256]);
        let mut unreleased = 0;
        while unreleased > 0 || !acknowledged.is_subset(&received) {
            let answer = match client.receive() {
                Packet::Publish(publish) => {
                    let (number, _) = publish.payload.split_first_chunk().unwrap();
                    let publisher: u8 = publish.topic.unwrap().as_str()[2..].parse().unwrap();
                    let number = u32::from_be_bytes(*number);
                    assert!(received.insert((publisher, number)), "{} got {number} again", self.client_id);
                    let before = std::mem::replace(&mut last[usize::from(publisher)], number);
                    assert!(before < number, "{} got {number} behind {before}", self.client_id);
                    match publish.delivery {
                        Delivery::AtMostOnce => panic!("{publish:?}"),
                        Delivery::AtLeastOnce(packet_id) => Packet::Puback(Ack::new(packet_id)),
                        Delivery::ExactlyOnce(packet_id) => {
                            unreleased += 1;
                            Packet::Pubrec(Ack::new(packet_id))
                        }
                    }
                }
                Packet::Pubrel(ack) => {
                    unreleased -= 1;
                    Packet::Pubcomp(Ack::new(ack.packet_id))
                }
                other => panic!("{other:?}"),
            };
            client.send(&[answer]);
        }
        client.send(&[Packet::Disconnect(Disconnect::default())]);
        client.expect_closed();
    }
}
