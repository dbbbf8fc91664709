//! What survives the broker: `sol` as a process of its own, stopped or killed, and started again on the same directory.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod directory;
mod messages;
mod retained;
mod sessions;
mod wills;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use common::Client;
use common::process::{Place, Sol};
use common::v5::{connect, opened, properties};
use rustix::process::Signal;
use sol::codec::{
    Ack, Connect, Delivery, Packet, PacketId, Property, Publish, QoS, Subscribe, SubscribeCode,
    SubscribeOptions,
};
use sol::topic::Filter;

const LONG: Property<'_> = Property::SessionExpiryInterval(1000);

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
}

const ENDS: [End; 2] = [End::Stopped, End::Killed];

/// A broker that is there again after its end.
struct Durable {
    place: Place,
    sol: Option<Sol>,
}

impl Durable {
    fn start() -> Self {
        Self::with("")
    }

    /// With more lines in its configuration.
    fn with(lines: &str) -> Self {
        let place = Place::new(&format!(
            "ip_port 0\nstats_publish_interval 0\npersistence true\npersistence_location $D/store\n{lines}"
        ));
        let sol = Some(place.start());
        Self { place, sol }
    }

    fn address(&self) -> SocketAddr {
        self.sol.as_ref().unwrap().address
    }

    /// Ends it, and leaves it so. Gives its log.
    fn end(&mut self, end: End) -> String {
        let sol = self.sol.take().unwrap();
        sol.signal(if end == End::Stopped { Signal::TERM } else { Signal::KILL });
        let (code, log) = sol.end();
        assert_eq!(code, (end == End::Stopped).then_some(0), "{log}");
        log
    }

    fn start_again(&mut self) {
        self.sol = Some(self.place.start());
    }

    fn restart(&mut self, end: End) {
        self.end(end);
        self.start_again();
    }
}

/// A client whose session stays and must be new.
fn new(address: SocketAddr, client_id: &str) -> Client {
    let (client, is_present) = opened(address, connect(client_id), &[LONG]);
    assert!(!is_present, "{client_id}");
    client
}

/// A client whose session must be there.
fn back(address: SocketAddr, client_id: &str) -> Client {
    let (client, is_present) = opened(address, connect(client_id), &[LONG]);
    assert!(is_present, "{client_id}");
    client
}

/// A client that leaves nothing behind.
fn guest(address: SocketAddr) -> Client {
    opened(address, Connect { clean_session: true, ..connect("guest") }, &[]).0
}

/// Subscribes, maybe with an identifier.
fn subscribe(client: &mut Client, identifier: u32, filter: &str, options: impl Into<SubscribeOptions>) {
    let options = options.into();
    let identifier = NonZeroU32::new(identifier).map(Property::SubscriptionIdentifier);
    let with = properties(identifier.as_slice());
    let mut subscribe = Subscribe::new(PacketId::MIN, vec![(Filter::new(filter).unwrap(), options)]);
    subscribe.properties = with.as_properties();
    client.send(&[Packet::Subscribe(subscribe)]);
    match client.receive() {
        Packet::Suback(suback) => assert_eq!(*suback.codes, [SubscribeCode::Granted(options.qos)]),
        other => panic!("{other:?} for SUBACK"),
    }
}

/// Publishes, and waits until the broker has done with it.
fn publish(client: &mut Client, topic: &str, payload: &str, qos: QoS) {
    say(client, common::publish(topic, payload.as_bytes(), qos));
}

/// The same, retained.
fn retain(client: &mut Client, topic: &str, payload: &str, all: &[Property<'_>]) {
    let with = properties(all);
    let properties = with.as_properties();
    let publish = common::publish(topic, payload.as_bytes(), QoS::AtLeastOnce);
    say(client, Publish { retain: true, properties, ..publish });
}

/// Waits until everything is stored that the broker did so far.
fn settle(address: SocketAddr) {
    retain(&mut guest(address), "settled", "x", &[]);
}

fn say(client: &mut Client, publish: Publish<'_>) {
    let qos = publish.delivery.qos();
    client.send(&[Packet::Publish(publish)]);
    match qos {
        QoS::AtMostOnce => client.ping(),
        QoS::AtLeastOnce => match client.receive() {
            Packet::Puback(_) => {}
            other => panic!("{other:?} for PUBACK"),
        },
        QoS::ExactlyOnce => {
            assert!(matches!(client.receive(), Packet::Pubrec(_)));
            client.send(&[Packet::Pubrel(Ack::new(PacketId::MIN))]);
            assert!(matches!(client.receive(), Packet::Pubcomp(_)));
        }
    }
}

/// A PUBLISH as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    topic: String,
    payload: String,
    qos: QoS,
    retain: bool,
    dup: bool,
    packet_id: Option<PacketId>,
    identifiers: Vec<u32>,
    /// What is left of its Message Expiry Interval.
    seconds_left: Option<u32>,
}

impl Got {
    fn of(publish: &Publish<'_>) -> Self {
        let mut got = Self {
            topic: publish.topic.unwrap().as_str().to_owned(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.delivery.packet_id(),
            identifiers: Vec::new(),
            seconds_left: None,
        };
        for property in publish.properties.iter() {
            match property {
                Property::SubscriptionIdentifier(identifier) => got.identifiers.push(identifier.get()),
                Property::MessageExpiryInterval(seconds) => got.seconds_left = Some(seconds),
                _ => {}
            }
        }
        got
    }
}

/// The next packet is a PUBLISH. It is not acknowledged.
fn receive(client: &mut Client) -> Got {
    match client.receive() {
        Packet::Publish(publish) => Got::of(&publish),
        other => panic!("{other:?} for PUBLISH"),
    }
}

/// The same, acknowledged to its end.
fn take(client: &mut Client) -> Got {
    let got = receive(client);
    let Some(packet_id) = got.packet_id else { return got };
    if got.qos == QoS::AtLeastOnce {
        client.send(&[Packet::Puback(Ack::new(packet_id))]);
    } else {
        client.send(&[Packet::Pubrec(Ack::new(packet_id))]);
        client.expect(Packet::Pubrel(Ack::new(packet_id)));
        client.send(&[Packet::Pubcomp(Ack::new(packet_id))]);
    }
    got
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn exactly_once(topic: &str, payload: &'static [u8], number: u16) -> Packet<'static> {
    let topic = sol::topic::Name::new(Box::leak(topic.to_owned().into_boxed_str())).unwrap();
    Packet::Publish(Publish::new(topic, Delivery::ExactlyOnce(id(number)), payload))
}
