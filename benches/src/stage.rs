//! The hub without sockets: its clients hand it what a read would have brought, and take what waits for them. Whoever is on
//! one stage is on one thread, and no time passes.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::hint::black_box;
use std::io::IoSlice;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use sol::auth::Entrance;
use sol::codec::{
    AckType, Connect, Delivery, Packet, PacketId, PacketType, Properties, Publish, QoS, Subscribe,
    Unsubscribe, Version, Will, encode_ack,
};
use sol::hub::{Batch, Ending, Hub, Limits, Peer, Sleep};
use sol::session::Outbox;
use sol::topic::{Filter, Name};

use crate::frames::{Frame, walk};

/// A hub, and what a thread lends it.
pub struct Stage {
    hub: Arc<Hub>,
    batch: Batch,
    now: Instant,
}

/// One connection, with what its task would hold.
pub struct Client {
    version: Version,
    peer: Peer,
    unsent: Outbox,
    acknowledgements: Vec<u8>,
}

impl Stage {
    /// With a hub of its own.
    pub fn new() -> Self {
        Self::with(Arc::new(Hub::new(Limits::default())))
    }

    /// With the same hub, for another thread.
    pub fn beside(&self) -> Self {
        Self::with(Arc::clone(&self.hub))
    }

    fn with(hub: Arc<Hub>) -> Self {
        let now = Instant::now();
        Self { hub, batch: Batch::new(now), now }
    }

    /// Connects a client. It has a clean session if its identifier is empty.
    pub fn connect(&mut self, version: Version, client_id: &str, entrance: &Arc<Entrance>) -> Client {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = self.hub.accept(address, Arc::clone(entrance), self.now).unwrap();
        let mut client = Client { version, peer, unsent: Outbox::default(), acknowledgements: Vec::new() };
        let connect = Packet::Connect(Connect {
            version,
            clean_session: client_id.is_empty(),
            keep_alive: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        });
        client.send(self, &encoded(&connect, version));
        client
    }

    /// The client is gone without a word.
    pub fn close(&mut self, client: Client) {
        self.hub.close(client.peer, &Ending::Closed, self.now, &mut self.batch);
        self.batch.wake();
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Hands the hub what a read would have brought.
    pub fn send(&mut self, stage: &mut Stage, mut bytes: &[u8]) {
        let Stage { hub, batch, now } = stage;
        while !bytes.is_empty() {
            let handled = hub.handle(&mut self.peer, bytes, *now, batch);
            assert!(handled.consumed > 0, "{:?}", handled.next);
            bytes = bytes.get(handled.consumed..).unwrap();
            batch.wake();
            hub.collect(&self.peer, &mut self.unsent, batch).unwrap();
        }
    }

    /// Subscribes.
    pub fn subscribe(&mut self, stage: &mut Stage, filter: &str, qos: QoS) {
        let filters = vec![(Filter::new(filter).unwrap(), qos)];
        let packet = Packet::Subscribe(Subscribe::new(PacketId::MIN, filters));
        self.send(stage, &encoded(&packet, self.version));
        assert_eq!(self.count(stage, PacketType::Suback), 1);
    }

    /// Unsubscribes.
    pub fn unsubscribe(&mut self, stage: &mut Stage, filter: &str) {
        let filters = vec![Filter::new(filter).unwrap()];
        let packet = Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters));
        self.send(stage, &encoded(&packet, self.version));
        assert_eq!(self.count(stage, PacketType::Unsuback), 1);
    }

    /// Takes what waits for the client: how many packets, all of which must be of that type.
    pub fn count(&mut self, stage: &mut Stage, expected: PacketType) -> u16 {
        let mut count = 0;
        self.take(stage, |frame, _| {
            assert!(frame.is(expected), "{}", frame.unexpected());
            count += 1;
        });
        count
    }

    /// Takes messages and acknowledges them until no more come: how many. If the client has just come back to them, they
    /// stand behind its CONNACK.
    pub fn receive(&mut self, stage: &mut Stage, qos: QoS) -> u16 {
        let mut received = 0;
        loop {
            self.take(stage, |frame, acknowledgements| {
                if frame.is(PacketType::Connack) {
                    return;
                }
                if frame.is(PacketType::Pubrel) {
                    encode_ack(acknowledgements, AckType::Pubcomp, frame.packet_id().unwrap());
                    return;
                }
                assert!(frame.is_publish_at(qos), "{}", frame.unexpected());
                received += 1;
                match qos {
                    QoS::AtMostOnce => _ = black_box(frame),
                    QoS::AtLeastOnce => {
                        encode_ack(acknowledgements, AckType::Puback, frame.packet_id().unwrap())
                    }
                    QoS::ExactlyOnce => {
                        encode_ack(acknowledgements, AckType::Pubrec, frame.packet_id().unwrap())
                    }
                }
            });
            if self.acknowledgements.is_empty() {
                return received;
            }
            let mut acknowledgements = mem::take(&mut self.acknowledgements);
            self.send(stage, &acknowledgements);
            acknowledgements.clear();
            self.acknowledgements = acknowledgements;
        }
    }

    fn take(&mut self, stage: &mut Stage, mut each: impl FnMut(Frame<'_>, &mut Vec<u8>)) {
        let Stage { hub, batch, .. } = stage;
        loop {
            while !self.unsent.is_empty() {
                let mut room = [IoSlice::new(&[]); 32];
                let mut taken = 0;
                for slice in self.unsent.slices(&mut room) {
                    let walked = walk(slice, |frame| {
                        each(frame, &mut self.acknowledgements);
                        Ok(())
                    });
                    assert_eq!(walked.unwrap(), slice.len(), "a small packet stands in one piece");
                    taken += slice.len();
                }
                self.unsent.advance(taken);
            }
            if hub.sleep(&self.peer, &mut self.unsent, 0, Waker::noop(), batch).unwrap() == Sleep::Asleep {
                return;
            }
        }
    }
}

/// Messages, from PUBLISH to what ends them.
pub struct Messages {
    qos: QoS,
    count: u16,
    publishes: Vec<u8>,
    /// What releases them at QoS 2.
    pubrels: Vec<u8>,
}

impl Messages {
    /// So many, of 64 bytes each, to the given topics in turn.
    pub fn new(version: Version, qos: QoS, count: u16, topics: &[String]) -> Self {
        let (mut publishes, mut pubrels) = (Vec::new(), Vec::new());
        for (id, topic) in (1..=count).filter_map(PacketId::new).zip(topics.iter().cycle()) {
            publishes.extend(encoded(&publish(topic, qos, id), version));
            encode_ack(&mut pubrels, AckType::Pubrel, id);
        }
        Self { qos, count, publishes, pubrels }
    }

    /// The client publishes them, until all are acknowledged.
    pub fn send(&self, publisher: &mut Client, stage: &mut Stage) {
        publisher.send(stage, &self.publishes);
        let answer = match self.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketType::Puback,
            QoS::ExactlyOnce => PacketType::Pubrec,
        };
        assert_eq!(publisher.count(stage, answer), self.count);
        if self.qos == QoS::ExactlyOnce {
            publisher.send(stage, &self.pubrels);
            assert_eq!(publisher.count(stage, PacketType::Pubcomp), self.count);
        }
    }
}

/// One publisher and its subscribers.
pub struct Fan {
    stage: Stage,
    publisher: Client,
    messages: Messages,
    subscribers: Vec<Client>,
}

/// What a [`Fan`] is like.
#[derive(Clone)]
pub struct Shape {
    /// Of the publisher, and of all subscribers.
    pub version: Version,
    /// Of the messages and of the subscriptions.
    pub qos: QoS,
    /// How many subscribe to all topics.
    pub subscribers: u16,
    /// In a run.
    pub messages: u16,
    /// The messages go to so many in turn.
    pub topics: u16,
    /// What they begin with.
    pub root: &'static str,
    /// Of the publisher.
    pub entrance: Arc<Entrance>,
}

impl Default for Shape {
    /// 500 messages at QoS 0 by 3.1.1, to one topic and one subscriber.
    fn default() -> Self {
        let entrance = Entrance::open();
        let (version, qos) = (Version::V311, QoS::AtMostOnce);
        Self { version, qos, subscribers: 1, messages: 500, topics: 1, root: "benches/hub", entrance }
    }
}

impl Fan {
    /// Everybody is connected and subscribed.
    pub fn new(mut stage: Stage, shape: &Shape) -> Self {
        let Shape { version, qos, root, .. } = *shape;
        let everything = Entrance::open();
        let connect = |stage: &mut Stage, entrance| {
            let mut client = stage.connect(version, "", entrance);
            assert_eq!(client.count(stage, PacketType::Connack), 1);
            client
        };
        let subscribers = (0..shape.subscribers).map(|_| {
            let mut client = connect(&mut stage, &everything);
            client.subscribe(&mut stage, &format!("{root}/+"), qos);
            client
        });
        let subscribers = subscribers.collect();
        let publisher = connect(&mut stage, &shape.entrance);
        let topics: Vec<_> = (0..shape.topics).map(|topic| format!("{root}/{topic}")).collect();
        Self { stage, publisher, messages: Messages::new(version, qos, shape.messages, &topics), subscribers }
    }

    /// Publishes all messages and carries on until everything is acknowledged.
    pub fn run(&mut self) {
        let Self { stage, publisher, messages, subscribers } = self;
        messages.send(publisher, stage);
        for subscriber in subscribers {
            assert_eq!(subscriber.receive(stage, messages.qos), messages.count);
        }
    }

    /// Something else is subscribed to and is not any more: what was remembered of topics is forgotten.
    pub fn forget(&mut self) {
        self.publisher.subscribe(&mut self.stage, "benches/other", QoS::AtMostOnce);
        self.publisher.unsubscribe(&mut self.stage, "benches/other");
    }
}

/// 64 bytes to that topic.
pub fn publish(topic: &str, qos: QoS, id: PacketId) -> Packet<'_> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    Packet::Publish(Publish::new(Name::new(topic).unwrap(), delivery, &[b'x'; 64]))
}

/// A CONNECT packet with all that it may have.
pub fn connect() -> Packet<'static> {
    Packet::Connect(Connect {
        version: Version::V311,
        clean_session: false,
        keep_alive: 60,
        client_id: "device17",
        will: Some(Will {
            topic: Name::new("site4/line2/device17/state").unwrap(),
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        }),
        user_name: Some("device"),
        password: Some(b"correct horse battery staple"),
        properties: Properties::EMPTY,
    })
}

/// A SUBSCRIBE packet with three topic filters.
pub fn subscribe() -> Packet<'static> {
    let filters = ["site4/line2/device17/commands", "site4/line2/+/state", "site4/alarms/#"];
    let filters = filters.map(|filter| (Filter::new(filter).unwrap(), QoS::AtLeastOnce));
    Packet::Subscribe(Subscribe::new(PacketId::MIN, filters.to_vec()))
}

/// The bytes of a packet.
pub fn encoded(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}
