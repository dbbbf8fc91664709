//! Messages of MQTT 5.0: the hub and its clients, packet by packet, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod aliases;
mod content;
mod expiry;
mod flow;
#[path = "../common/outbox.rs"]
mod outbox;
mod refusals;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use outbox::{drain, packets_in};
use sol::Limits;
use sol::auth::Entrance;
use sol::codec::{
    Ack, Connect, Delivery, Packet, PacketId, Properties, PropertiesBuf, Property, Publish, QoS, Reason,
    Subscribe, Version, Will,
};
use sol::hub::{Batch, Ending, Hub, Next, Peer};
use sol::session::Outbox;
use sol::topic::{Filter, Name};

struct World {
    hub: Hub,
    batch: Batch,
    now: Instant,
}

struct Client {
    peer: Peer,
    unsent: Outbox,
    version: Version,
}

/// A PUBLISH as a client got it.
#[derive(Debug, PartialEq)]
struct Got {
    topic: Option<String>,
    payload: Vec<u8>,
    id: Option<PacketId>,
    dup: bool,
    retain: bool,
    properties: PropertiesBuf,
}

impl World {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self { hub: Hub::new(limits), batch: Batch::new(now), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// A client of 5.0 whose session outlives the connection.
    fn connect(&mut self, id: &str, with: &[Property<'_>]) -> Client {
        self.connect_with(id, with, None)
    }

    fn connect_with(&mut self, id: &str, with: &[Property<'_>], will: Option<Will<'_>>) -> Client {
        let mut with = properties(with);
        with.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        self.open(Connect { properties: with.as_properties(), ..connect(Version::V5, id, will) })
    }

    fn connect_3(&mut self, id: &str) -> Client {
        self.open(connect(Version::V311, id, None))
    }

    fn open(&mut self, connect: Connect<'_>) -> Client {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = self.hub.accept(address, Entrance::open(), self.now).expect("there is room");
        let mut client = Client { peer, unsent: Outbox::default(), version: connect.version };
        self.send(&mut client, &[Packet::Connect(connect)]);
        assert!(client.peer.is_connected());
        client
    }

    /// The client's connection breaks.
    fn leave(&mut self, client: Client) {
        self.hub.close(client.peer, &Ending::Closed, self.now, &mut self.batch);
    }

    fn subscribe(&mut self, client: &mut Client, filter: &str, qos: QoS) {
        let subscribe = Subscribe::new(PacketId::MAX, vec![(Filter::new(filter).unwrap(), qos)]);
        self.send(client, &[Packet::Subscribe(subscribe)]);
    }

    /// All of it is handled, and the connection goes on.
    fn send(&mut self, client: &mut Client, packets: &[Packet<'_>]) {
        let next = self.handle(client, packets);
        assert!(matches!(next, Next::Read(_)), "{next:?}");
        self.hub.collect(&client.peer, &mut client.unsent, &mut self.batch).unwrap();
    }

    fn handle(&mut self, client: &mut Client, packets: &[Packet<'_>]) -> Next {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(client.version, &mut bytes).unwrap());
        self.hub.handle(&mut client.peer, &bytes, self.now, &mut self.batch).next
    }

    /// The packets make the broker end the connection. Gives the reason of its DISCONNECT.
    fn send_last(&mut self, mut client: Client, packets: &[Packet<'_>]) -> Reason {
        let Next::End(ending) = self.handle(&mut client, packets) else { panic!("it goes on") };
        assert!(ending.is_violation(), "{ending:?}");
        self.hub.collect(&client.peer, &mut client.unsent, &mut self.batch).unwrap();
        assert!(self.hub.farewell(&client.peer, &ending, &mut client.unsent, &mut self.batch));
        let bytes = drain(&mut client.unsent);
        let reason = match packets_in(&bytes, Version::V5).pop() {
            Some(Packet::Disconnect(disconnect)) => disconnect.reason,
            other => panic!("{other:?}"),
        };
        self.hub.close(client.peer, &ending, self.now, &mut self.batch);
        reason
    }

    /// All that the client gets now.
    fn read<T>(&mut self, client: &mut Client, look: impl Fn(&Packet<'_>) -> Option<T>) -> Vec<T> {
        self.batch.at(self.now);
        let mut bytes = drain(&mut client.unsent);
        self.hub.collect(&client.peer, &mut client.unsent, &mut self.batch).unwrap();
        bytes.extend(drain(&mut client.unsent));
        packets_in(&bytes, client.version).iter().filter_map(look).collect()
    }

    /// The PUBLISH packets that the client gets now.
    fn got(&mut self, client: &mut Client) -> Vec<Got> {
        self.read(client, |packet| match packet {
            Packet::Publish(publish) => Some(Got {
                topic: publish.topic.map(|topic| topic.to_string()),
                payload: publish.payload.to_vec(),
                id: publish.delivery.packet_id(),
                dup: publish.dup,
                retain: publish.retain,
                properties: publish.properties.into(),
            }),
            _ => None,
        })
    }

    fn payloads(&mut self, client: &mut Client) -> Vec<Vec<u8>> {
        self.got(client).into_iter().map(|got| got.payload).collect()
    }

    /// The reasons of the acknowledgements that the client gets now, with their reason strings.
    fn reasons(&mut self, client: &mut Client) -> Vec<(Reason, Option<String>)> {
        self.read(client, |packet| match packet {
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
                let words = ack.properties.iter().find_map(|property| match property {
                    Property::ReasonString(words) => Some(words.to_owned()),
                    _ => None,
                });
                Some((ack.reason, words))
            }
            _ => None,
        })
    }
}

fn connect<'a>(version: Version, client_id: &'a str, will: Option<Will<'a>>) -> Connect<'a> {
    Connect {
        version,
        clean_session: false,
        keep_alive: 0,
        client_id,
        will,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut buf = PropertiesBuf::new();
    list.iter().for_each(|property| buf.push(*property).unwrap());
    buf
}

fn topic_alias(alias: u16) -> Property<'static> {
    Property::TopicAlias(NonZeroU16::new(alias).unwrap())
}

/// A PUBLISH with packet identifier 1 where it has one.
fn publish<'a>(topic: &'a str, payload: &'a [u8], qos: QoS) -> Publish<'a> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(PacketId::MIN),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MIN),
    };
    let topic = Name::new(topic).ok();
    Publish { dup: false, delivery, retain: false, topic, properties: Properties::EMPTY, payload }
}

fn ack(packet_id: PacketId) -> Ack<'static> {
    Ack::new(packet_id)
}
