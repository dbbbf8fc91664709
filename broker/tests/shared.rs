//! Shared subscriptions against what §4.8.2 of MQTT 5.0 promises: random clients join, leave, lose their connections and
//! come back, and of every message one of them gets one copy.
//!
//! No sockets: everybody reads at once. One member of each group never leaves, though it may be away, so that no message
//! is lost for want of members.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "common/outbox.rs"]
mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use outbox::{drain, packets_in};
use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sol::Limits;
use sol::auth::Entrance;
use sol::codec::{
    Ack, Connect, Delivery, Packet, PacketId, Properties, Publish, QoS, Subscribe, Unsubscribe, Version,
};
use sol::hub::{Batch, Ending, Hub, Peer};
use sol::session::Outbox;
use sol::topic::{Filter, Name};

const VERSION: Version = Version::V311;
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// The first one stays.
const MEMBERS: [&str; 4] = ["ann", "ben", "cat", "dan"];
const TOPICS: [&str; 2] = ["a", "b/c"];
const FILTERS: [&str; 2] = ["$share/g/a", "$share/g/b/+"];

#[derive(Clone, Debug)]
enum Action {
    Connect { who: usize, clean: bool },
    Break(usize),
    Subscribe(usize, usize, QoS),
    Unsubscribe(usize, usize),
    Publish(usize, QoS),
    Acknowledge(usize, bool),
}

fn action() -> impl Strategy<Value = Action> {
    let who = || 0..MEMBERS.len();
    let which = || 0..TOPICS.len();
    prop_oneof![
        4 => (who(), weighted(0.3)).prop_map(|(who, clean)| Action::Connect { who, clean }),
        3 => who().prop_map(Action::Break),
        4 => (who(), which(), select(&QOS[..])).prop_map(|(who, which, qos)| Action::Subscribe(who, which, qos)),
        1 => (who(), which()).prop_map(|(who, which)| Action::Unsubscribe(who, which)),
        12 => (which(), select(&QOS[..])).prop_map(|(which, qos)| Action::Publish(which, qos)),
        3 => (who(), any::<bool>()).prop_map(|(who, on)| Action::Acknowledge(who, on)),
    ]
}

proptest! {
    #[test]
    fn every_message_goes_to_one_member(actions in vec(action(), 1..80)) {
        let world = World::new(Limits { max_in_flight_messages: 3, ..Limits::default() }).play(actions);
        prop_assert_eq!(world.hub.stats().dropped(), 0);
        prop_assert_eq!(world.missing(), 0);
    }

    #[test]
    fn where_nobody_has_room_each_message_is_counted_once(actions in vec(action(), 1..80)) {
        let limits = Limits { max_in_flight_messages: 2, max_queued_messages: 2, ..Limits::default() };
        let world = World::new(limits).play(actions);
        prop_assert_eq!(world.hub.stats().dropped_queue_full, world.missing());
    }
}

struct World {
    hub: Hub,
    batch: Batch,
    now: Instant,
    publisher: Peer,
    clients: [Client; MEMBERS.len()],
    /// Sessions so far.
    sessions: u32,
    ended: BTreeSet<u32>,
    messages: Vec<Message>,
    /// Whenever a member goes away, what it had may come late to the others.
    period: u32,
}

#[derive(Default)]
struct Client {
    peer: Option<Peer>,
    unsent: Outbox,
    session: Option<Session>,
    acknowledges: bool,
    held_back: Vec<(Packet<'static>, usize)>,
}

struct Session {
    number: u32,
    clean: bool,
    subscriptions: BTreeMap<usize, QoS>,
    /// The last message that came in the period of its publication.
    last: usize,
}

struct Message {
    which: usize,
    qos: QoS,
    period: u32,
    /// A member was connected when it was published.
    is_anybody_here: bool,
    receipts: Vec<Receipt>,
}

#[derive(Debug)]
struct Receipt {
    session: u32,
    qos: QoS,
    acknowledged: bool,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (hub, now) = (Hub::new(limits), Instant::now());
        let publisher = accept(&hub, now);
        let mut world = Self {
            hub,
            batch: Batch::new(now),
            now,
            publisher,
            clients: Default::default(),
            sessions: 0,
            ended: BTreeSet::new(),
            messages: Vec::new(),
            period: 0,
        };
        let bytes = encode(&connect("publisher", true));
        world.hub.handle(&mut world.publisher, &bytes, now, &mut world.batch);
        world.connect(0, false);
        for which in 0..FILTERS.len() {
            world.subscribe(0, which, QoS::ExactlyOnce);
        }
        world
    }

    fn play(mut self, actions: Vec<Action>) -> Self {
        for action in actions {
            match action {
                // The anchor's session does not end.
                Action::Connect { who, clean } => self.connect(who, clean && who > 0),
                Action::Break(who) if self.is_connected(who) => self.close(who, &Ending::Closed),
                Action::Subscribe(who, which, qos) if self.is_connected(who) => {
                    self.subscribe(who, which, if who == 0 { QoS::ExactlyOnce } else { qos });
                }
                Action::Unsubscribe(who, which) if self.is_connected(who) && who > 0 => {
                    self.session(who).subscriptions.remove(&which);
                    let filters = vec![Filter::new(FILTERS[which]).unwrap()];
                    self.send(who, &Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters)));
                }
                Action::Publish(which, qos) => self.publish(which, qos),
                Action::Acknowledge(who, on) => self.clients[who].acknowledges = on,
                _ => {}
            }
            self.run();
            self.check_stats();
        }
        for who in 0..MEMBERS.len() {
            if !self.is_connected(who) && self.clients[who].session.is_some() {
                self.connect(who, false);
            }
            self.clients[who].acknowledges = true;
        }
        self.run();
        let stats = self.hub.stats();
        assert_eq!((stats.in_flight, stats.queued, stats.queued_bytes, stats.stored), (0, 0, 0, 0));
        self.check();
        self
    }

    fn is_connected(&self, who: usize) -> bool {
        self.clients[who].peer.is_some()
    }

    fn session(&mut self, who: usize) -> &mut Session {
        self.clients[who].session.as_mut().unwrap()
    }

    fn connect(&mut self, who: usize, clean: bool) {
        let older = self.clients[who].peer.take();
        let client = &mut self.clients[who];
        (client.unsent, client.held_back) = (Outbox::default(), Vec::new());
        if client.session.as_ref().is_none_or(|session| session.clean || clean) {
            self.sessions += 1;
            let session = Session { number: self.sessions, clean, subscriptions: BTreeMap::new(), last: 0 };
            if let Some(replaced) = client.session.replace(session) {
                self.ended.insert(replaced.number);
                self.period += 1;
            }
        }
        self.clients[who].peer = Some(accept(&self.hub, self.now));
        self.send(who, &connect(MEMBERS[who], clean));
        if let Some(older) = older {
            self.hub.close(older, &Ending::TakenOver, self.now, &mut self.batch);
        }
    }

    fn close(&mut self, who: usize, ending: &Ending) {
        self.period += 1;
        let client = &mut self.clients[who];
        let peer = client.peer.take().unwrap();
        client.held_back.clear();
        if let Some(session) = client.session.take_if(|session| session.clean) {
            self.ended.insert(session.number);
        }
        self.hub.close(peer, ending, self.now, &mut self.batch);
    }

    fn subscribe(&mut self, who: usize, which: usize, qos: QoS) {
        self.session(who).subscriptions.insert(which, qos);
        let filters = vec![(Filter::new(FILTERS[which]).unwrap(), qos)];
        self.send(who, &Packet::Subscribe(Subscribe::new(PacketId::MIN, filters)));
    }

    fn publish(&mut self, which: usize, qos: QoS) {
        let is_anybody_here = self.clients.iter().any(|client| {
            let session = client.session.as_ref();
            client.peer.is_some() && session.unwrap().subscriptions.contains_key(&which)
        });
        let payload = self.messages.len().to_string();
        let period = self.period;
        self.messages.push(Message { which, qos, period, is_anybody_here, receipts: Vec::new() });
        let topic = Name::new(TOPICS[which]).unwrap();
        let id = PacketId::MIN;
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
            QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
        };
        let publish = Publish {
            dup: false,
            delivery,
            retain: false,
            topic: Some(topic),
            properties: Properties::EMPTY,
            payload: payload.as_bytes(),
        };
        let mut bytes = encode(&Packet::Publish(publish));
        bytes.extend(encode(&Packet::Pubrel(Ack::new(id))));
        self.hub.handle(&mut self.publisher, &bytes, self.now, &mut self.batch);
        self.hub.collect(&self.publisher, &mut Outbox::default(), &mut self.batch).unwrap();
    }

    fn send(&mut self, who: usize, packet: &Packet<'_>) {
        let bytes = encode(packet);
        let Client { peer: Some(peer), unsent, .. } = &mut self.clients[who] else { panic!("away") };
        let handled = self.hub.handle(peer, &bytes, self.now, &mut self.batch);
        assert_eq!(handled.consumed, bytes.len(), "{handled:?} for {packet:?}");
        self.hub.collect(peer, unsent, &mut self.batch).unwrap();
    }

    /// Everybody reads, and acknowledges what it wants, until nothing is left to do.
    fn run(&mut self) {
        let mut is_busy = true;
        while std::mem::take(&mut is_busy) {
            for who in 0..MEMBERS.len() {
                let Client { peer: Some(peer), unsent, .. } = &mut self.clients[who] else { continue };
                self.hub.collect(peer, unsent, &mut self.batch).unwrap();
                let bytes = drain(unsent);
                is_busy |= !bytes.is_empty();
                self.read(who, &bytes);
                if self.clients[who].acknowledges {
                    for (packet, message) in std::mem::take(&mut self.clients[who].held_back) {
                        is_busy = true;
                        let number = self.session(who).number;
                        let receipts = &mut self.messages[message].receipts;
                        receipts
                            .iter_mut()
                            .filter(|r| r.session == number)
                            .for_each(|r| r.acknowledged = true);
                        self.send(who, &packet);
                    }
                }
            }
            self.batch.wake();
        }
    }

    fn read(&mut self, who: usize, bytes: &[u8]) {
        for packet in packets_in(bytes, VERSION) {
            match packet {
                Packet::Publish(publish) => self.receive(who, &publish),
                Packet::Pubrel(ack) => self.send(who, &Packet::Pubcomp(Ack::new(ack.packet_id))),
                _ => {}
            }
        }
    }

    fn receive(&mut self, who: usize, publish: &Publish<'_>) {
        let at: usize = str::from_utf8(publish.payload).unwrap().parse().unwrap();
        let qos = publish.delivery.qos();
        let session = self.clients[who].session.as_mut().unwrap();
        let message = &mut self.messages[at];
        if publish.dup {
            assert!(message.receipts.iter().any(|receipt| receipt.session == session.number));
        } else {
            // At QoS 0 a message does not wait for those that are queued.
            if message.period == self.period && qos > QoS::AtMostOnce {
                assert!(session.last <= at, "{at} after {}", session.last);
                session.last = at;
            }
            message.receipts.push(Receipt { session: session.number, qos, acknowledged: false });
        }
        if let Some(packet_id) = publish.delivery.packet_id() {
            let ack = Ack::new(packet_id);
            let packet = if qos == QoS::AtLeastOnce { Packet::Puback(ack) } else { Packet::Pubrec(ack) };
            self.clients[who].held_back.push((packet, at));
        }
    }

    fn check_stats(&self) {
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        let subscriptions: usize = sessions.map(|session| session.subscriptions.len()).sum();
        let stats = self.hub.stats();
        assert_eq!((stats.shared_subscriptions, stats.subscriptions), (subscriptions, 0));
    }

    /// A session that has ended did not acknowledge it at QoS 1.
    fn is_void(&self, receipt: &Receipt) -> bool {
        receipt.qos == QoS::AtLeastOnce && !receipt.acknowledged && self.ended.contains(&receipt.session)
    }

    /// To nobody a second time, unless the first is void.
    fn check(&self) {
        for (number, message) in self.messages.iter().enumerate() {
            let receipts = &message.receipts;
            let valid = receipts.iter().position(|receipt| !self.is_void(receipt));
            assert!(valid.is_none_or(|at| at + 1 == receipts.len()), "message {number}: {receipts:?}");
            assert!(
                receipts.iter().all(|receipt| receipt.qos <= message.qos),
                "message {number}: {receipts:?}"
            );
            if message.qos == QoS::AtMostOnce && message.is_anybody_here {
                assert_eq!(receipts.len(), 1, "message {number} to {}", TOPICS[message.which]);
            }
        }
    }

    /// Messages above QoS 0 that nobody got.
    fn missing(&self) -> u64 {
        let missing = |message: &&Message| {
            message.qos > QoS::AtMostOnce && message.receipts.iter().all(|receipt| self.is_void(receipt))
        };
        self.messages.iter().filter(missing).count() as u64
    }
}

fn accept(hub: &Hub, now: Instant) -> Peer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    hub.accept(address, Entrance::open(), now).unwrap()
}

fn connect(client_id: &str, clean_session: bool) -> Packet<'_> {
    Packet::Connect(Connect {
        version: VERSION,
        clean_session,
        keep_alive: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    })
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(VERSION, &mut bytes).unwrap();
    bytes
}
