//! The hub, its clients, and the network connections between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use sol::auth::Entrance;
use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, Reason,
    Subscribe, Unsubscribe, Version, Will,
};
use sol::hub::{Batch, Ending, Handled, Hub, Next, Peer, Sleep};
use sol::session::Outbox;
use sol::topic::{Filter, Name};
use sol::{Limits, Stats};

use crate::action::{Action, CLIENTS, Sent, Terms, Who};
use crate::model::{Message, Model};
use crate::outbox::{drain, packets_in};
use crate::store::Store;

/// An identifier that no message in these tests gets to.
const STRAY: PacketId = PacketId::new(60_000).unwrap();

pub(crate) struct World {
    hub: Hub,
    limits: Limits,
    store: Option<Store>,
    model: Model,
    now: Instant,
    batch: Batch,
    clients: [Client; CLIENTS.len()],
    connections: [Option<Connection>; CLIENTS.len()],
    /// Messages so far: each has its number as payload.
    messages: u32,
    /// Whether messages of clients of 5.0 expire.
    expires: bool,
}

/// What a client remembers from one connection to the next.
#[derive(Default)]
struct Client {
    at_least_once: Option<(PacketId, Message)>,
    unreleased: VecDeque<(PacketId, Message)>,
}

struct Connection {
    version: Version,
    peer: Peer,
    unsent: Outbox,
    woken: Arc<Woken>,
    asleep: bool,
    reads: bool,
    acknowledges: bool,
    /// Acknowledgements the client has not sent.
    held_back: Vec<Packet<'static>>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new(limits: Limits, expires: bool, mut store: Option<Store>) -> Self {
        // Times are stored in whole milliseconds.
        let now = store.as_ref().map_or_else(Instant::now, |store| store.clock().instant);
        let mut batch = Batch::new(now);
        Self {
            hub: hub(&limits, &mut store, &mut batch),
            limits: limits.clone(),
            store,
            model: Model::new(limits, now),
            now,
            batch,
            clients: Default::default(),
            connections: Default::default(),
            messages: 0,
            expires,
        }
    }

    pub(crate) fn play(mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
            self.run();
            self.check_stats();
        }
        self.finish();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { who, terms, clean, keep_alive, will, acknowledges } => {
                let will = will.map(|will| self.message(will, terms.version));
                self.connect(who, terms, clean, keep_alive, will);
                if let Some(connection) = &mut self.connections[who] {
                    connection.acknowledges = acknowledges;
                }
            }
            Action::Break(who) if self.is_connected(who) => self.close(who, &Ending::Closed),
            Action::Disconnect(who) if self.is_connected(who) => {
                let handled = self.handle(who, &[Packet::Disconnect(Disconnect::default())]);
                assert!(matches!(handled.next, Next::End(Ending::Disconnect)), "{handled:?}");
                self.close(who, &Ending::Disconnect);
            }
            Action::Subscribe(who, filters) if self.is_connected(who) => {
                let id = self.identifier(who);
                self.model.subscribe(who, id, &filters);
                let filters = filters.into_iter().map(|(text, qos)| (Filter::new(text).unwrap(), qos));
                self.send(who, &[Packet::Subscribe(Subscribe::new(id, filters.collect()))]);
            }
            Action::Unsubscribe(who, filters) if self.is_connected(who) => {
                let id = self.identifier(who);
                self.model.unsubscribe(who, id, &filters);
                let filters = filters.into_iter().map(|text| Filter::new(text).unwrap());
                self.send(who, &[Packet::Unsubscribe(Unsubscribe::new(id, filters.collect()))]);
            }
            Action::Publish(who, messages) if self.is_connected(who) => self.publish(who, &messages),
            Action::Repeat(who, qos) if self.is_connected(who) => self.repeat(who, qos),
            Action::Release(who) if self.is_connected(who) => {
                if let Some((packet_id, _)) = self.clients[who].unreleased.pop_front() {
                    self.acknowledge(who, &[Packet::Pubrel(Ack::new(packet_id))]);
                }
            }
            Action::Stray(who) if self.is_connected(who) => {
                let ack = Ack::new(STRAY);
                let packets =
                    [Packet::Puback(ack), Packet::Pubrec(ack), Packet::Pubcomp(ack), Packet::Pubrel(ack)];
                self.acknowledge(who, &packets);
            }
            Action::Ping(who) if self.is_connected(who) => {
                self.model.link(who).answers.push_back(Packet::Pingresp);
                self.send(who, &[Packet::Pingreq]);
            }
            Action::Read(who, on) if self.is_connected(who) => {
                let connection = self.connection(who);
                connection.reads = on;
                connection.asleep &= !on;
            }
            Action::Acknowledge(who, on) if self.is_connected(who) => {
                let connection = self.connection(who);
                connection.acknowledges = on;
                connection.asleep &= !on;
            }
            Action::AcknowledgeSome(who, count) if self.is_connected(who) => {
                let held_back = &mut self.connection(who).held_back;
                let packets: Vec<_> = held_back.drain(..count.min(held_back.len())).collect();
                if !packets.is_empty() {
                    self.acknowledge(who, &packets);
                }
            }
            Action::PassMillis(millis) => self.pass(Duration::from_millis(millis)),
            Action::PowerCut(seed) => self.cut_power(seed),
            Action::PowerCutAfter(who, messages, seed) if self.is_connected(who) => {
                // Nobody can tell that the broker was there.
                let before = self.model.clone();
                self.publish(who, &messages);
                self.model = before;
                self.cut_power(seed);
            }
            _ => {}
        }
    }

    /// All is lost that is not on the disk, and all connections.
    fn cut_power(&mut self, seed: u64) {
        self.connections = Default::default();
        self.model.lose_connections();
        if let Some(store) = &mut self.store {
            store.cut_power(seed);
        }
        self.batch = Batch::new(self.now);
        self.hub = hub(&self.limits, &mut self.store, &mut self.batch);
    }

    fn is_connected(&self, who: Who) -> bool {
        self.connections[who].is_some()
    }

    fn connection(&mut self, who: Who) -> &mut Connection {
        self.connections[who].as_mut().expect("connected")
    }

    /// The lowest one free, so that most are used again and again.
    fn identifier(&self, who: Who) -> PacketId {
        let unreleased = &self.clients[who].unreleased;
        let is_free = |id: &PacketId| unreleased.iter().all(|(used, _)| used != id);
        (1..).filter_map(PacketId::new).find(is_free).unwrap()
    }

    fn message(&mut self, sent: Sent, version: Version) -> Message {
        self.messages += 1;
        let number = self.messages.to_string();
        let payload = if sent.empty { Vec::new() } else { number.clone().into_bytes() };
        let mut message = Message::new(sent.topic, payload, sent.qos, sent.retain);
        if version == Version::V5 {
            let labels = [Property::UserProperty("number", &number), Property::ContentType("a number")];
            for label in labels.into_iter().filter(|_| sent.labels) {
                message.properties.push(label).unwrap();
                message.forwarded.push(label).unwrap();
            }
            message.expiry = sent.expiry.filter(|_| self.expires);
            let expiry = message.expiry.map(Property::MessageExpiryInterval);
            expiry.iter().for_each(|expiry| message.properties.push(*expiry).unwrap());
        }
        message
    }

    fn connect(&mut self, who: Who, terms: Terms, clean: bool, keep_alive: u16, will: Option<Message>) {
        let older = self.connections[who].take();
        let accepted = self.model.connect(who, terms, clean, keep_alive, will.clone());
        let peer = self.hub.accept(address(), Entrance::open(), self.now).expect("there is room");
        self.connections[who] = Some(Connection {
            version: terms.version,
            peer,
            unsent: Outbox::default(),
            woken: Arc::default(),
            asleep: false,
            reads: true,
            acknowledges: true,
            held_back: Vec::new(),
        });
        let mut properties = PropertiesBuf::new();
        if terms.version == Version::V5 {
            let receive_maximum = NonZeroU16::new(terms.receive_maximum).unwrap();
            properties.push(Property::ReceiveMaximum(receive_maximum)).unwrap();
            properties.push(Property::SessionExpiryInterval(if clean { 0 } else { u32::MAX })).unwrap();
        }
        let connect = Packet::Connect(Connect {
            version: terms.version,
            clean_session: clean,
            keep_alive,
            client_id: CLIENTS[who],
            will: will.as_ref().map(|will| Will {
                topic: Name::new(will.topic).unwrap(),
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
            }),
            user_name: None,
            password: None,
            properties: properties.as_properties(),
        });
        if accepted {
            self.send(who, &[connect]);
        } else {
            self.expect_refusal(who, &connect);
        }
        if let Some(older) = older {
            self.expect_taken_over(older);
        }
    }

    fn expect_refusal(&mut self, who: Who, connect: &Packet<'_>) {
        let handled = self.handle(who, std::slice::from_ref(connect));
        let Next::End(ending @ Ending::Refused { .. }) = handled.next else { panic!("{handled:?}") };
        let mut connection = self.connections[who].take().unwrap();
        self.hub.collect(&connection.peer, &mut connection.unsent, &mut self.batch).unwrap();
        let expected = match connection.version {
            Version::V5 => Reason::QuotaExceeded,
            _ => Reason::ServerUnavailable,
        };
        let bytes = drain(&mut connection.unsent);
        let [Packet::Connack(refusal)] = packets_in(&bytes, connection.version)[..] else {
            panic!("{bytes:?}")
        };
        assert_eq!(refusal.reason, expected);
        self.hub.close(connection.peer, &ending, self.now, &mut self.batch);
        self.batch.wake();
    }

    /// The older connection is told, and has no more say in the session [MQTT-3.1.4-2].
    fn expect_taken_over(&mut self, mut older: Connection) {
        assert!(!older.asleep || older.woken.0.load(Ordering::Relaxed), "the older connection sleeps on");
        let mut bytes = Vec::new();
        let filters = vec![(Filter::new("#").unwrap(), QoS::ExactlyOnce)];
        Packet::Subscribe(Subscribe::new(STRAY, filters)).encode(older.version, &mut bytes).unwrap();
        let handled = self.hub.handle(&mut older.peer, &bytes, self.now, &mut self.batch);
        assert!(matches!(handled.next, Next::End(Ending::TakenOver)), "{handled:?}");
        let collected = self.hub.collect(&older.peer, &mut older.unsent, &mut self.batch);
        assert_eq!(collected, Err(Ending::TakenOver));
        let slept = self.hub.sleep(&older.peer, &mut older.unsent, 0, Waker::noop(), &mut self.batch);
        assert_eq!(slept, Err(Ending::TakenOver));
        self.hub.close(older.peer, &Ending::TakenOver, self.now, &mut self.batch);
        self.batch.wake();
    }

    fn close(&mut self, who: Who, ending: &Ending) {
        let connection = self.connections[who].take().unwrap();
        self.model.end(who, *ending == Ending::Disconnect);
        self.hub.close(connection.peer, ending, self.now, &mut self.batch);
        self.batch.wake();
    }

    fn publish(&mut self, who: Who, messages: &[Sent]) {
        let mut packets = std::mem::take(&mut self.connection(who).held_back);
        for packet in &packets {
            self.model.acknowledged(who, packet);
        }
        let mut sent = Vec::new();
        for message in messages {
            let version = self.connection(who).version;
            let message = self.message(*message, version);
            let id = self.identifier(who);
            self.model.receive(who, id, &message);
            match message.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => self.clients[who].at_least_once = Some((id, message.clone())),
                QoS::ExactlyOnce => self.clients[who].unreleased.push_back((id, message.clone())),
            }
            sent.push((id, message));
        }
        packets.extend(sent.iter().map(|(id, message)| publish(*id, message, false)));
        self.send(who, &packets);
    }

    fn repeat(&mut self, who: Who, qos: QoS) {
        let client = &self.clients[who];
        let sent = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => client.at_least_once.clone(),
            QoS::ExactlyOnce => client.unreleased.front().cloned(),
        };
        if let Some((id, message)) = sent {
            let message = match self.connection(who).version {
                Version::V5 => message,
                _ => Message::new(message.topic, message.payload, message.qos, message.retain),
            };
            self.model.receive(who, id, &message);
            self.send(who, &[publish(id, &message, true)]);
        }
    }

    fn acknowledge(&mut self, who: Who, packets: &[Packet<'_>]) {
        for packet in packets {
            self.model.acknowledged(who, packet);
        }
        self.send(who, packets);
    }

    /// The connection reads a batch; all of it is to be handled.
    fn send(&mut self, who: Who, packets: &[Packet<'_>]) {
        self.model.spoke(who);
        let handled = self.handle(who, packets);
        assert!(matches!(handled.next, Next::Read(1)), "{handled:?}");
        let connection = self.connections[who].as_mut().unwrap();
        self.hub.collect(&connection.peer, &mut connection.unsent, &mut self.batch).unwrap();
        self.model.refill(who);
        connection.asleep = false;
    }

    fn handle(&mut self, who: Who, packets: &[Packet<'_>]) -> Handled {
        let mut bytes = Vec::new();
        let connection = self.connections[who].as_mut().unwrap();
        for packet in packets {
            packet.encode(connection.version, &mut bytes).unwrap();
        }
        let handled = self.hub.handle(&mut connection.peer, &bytes, self.now, &mut self.batch);
        self.batch.wake();
        assert!(handled.consumed == bytes.len() || matches!(handled.next, Next::End(Ending::Refused { .. })));
        handled
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.batch.at(self.now);
        self.model.now = self.now;
        for who in 0..CLIENTS.len() {
            let Some(connection) = &self.connections[who] else { continue };
            let deadline = connection.peer.deadline();
            assert_eq!(deadline, self.model.deadline(who));
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                let ending = connection.peer.timeout();
                assert!(matches!(ending, Ending::KeepAliveTimeout(1 | 2)), "{ending}");
                self.close(who, &ending);
            }
        }
    }

    /// Runs the connections' tasks until all of them sleep.
    fn run(&mut self) {
        let mut idle_turns = 0;
        while idle_turns < 2 {
            while let Some(who) = (0..CLIENTS.len()).find(|who| self.is_runnable(*who)) {
                self.run_one(who);
                idle_turns = 0;
            }
            let store = self.store.as_mut();
            let is_idle = store.is_none_or(|store| !store.turn(&self.hub, &mut self.batch));
            idle_turns = if is_idle { idle_turns + 1 } else { 0 };
        }
        for who in 0..CLIENTS.len() {
            if self.connections[who].as_ref().is_some_and(|connection| connection.reads) {
                let session = self.model.session(who);
                let missing: Vec<_> = session.owed.iter().filter(|owed| owed.sent && !owed.arrived).collect();
                assert!(missing.is_empty(), "client {who} waits for {missing:?}");
                let answers = &self.model.link(who).answers;
                assert!(answers.is_empty(), "client {who} waits for {answers:?}");
            }
        }
    }

    fn is_runnable(&self, who: Who) -> bool {
        let connection = self.connections[who].as_ref();
        connection.is_some_and(|connection| !connection.asleep || connection.woken.0.load(Ordering::Relaxed))
    }

    fn run_one(&mut self, who: Who) {
        let connection = self.connections[who].as_mut().unwrap();
        connection.woken.0.store(false, Ordering::Relaxed);
        if connection.reads {
            for packet in packets_in(&drain(&mut connection.unsent), connection.version) {
                self.model.arrived(who, &packet);
                connection.held_back.extend(acknowledgement(&packet));
            }
        }
        if connection.acknowledges && !connection.held_back.is_empty() {
            let packets = std::mem::take(&mut connection.held_back);
            return self.acknowledge(who, &packets);
        }
        let waker = Waker::from(Arc::clone(&connection.woken));
        let slept =
            self.hub.sleep(&connection.peer, &mut connection.unsent, 0, &waker, &mut self.batch).unwrap();
        connection.asleep = slept == Sleep::Asleep;
    }

    fn check_stats(&self) {
        let stats = self.hub.stats();
        let expected = Stats {
            connections: self.connections.iter().flatten().count(),
            connections_moved: 0,
            sessions: self.model.sessions.len(),
            subscriptions: self.model.sessions.values().map(|session| session.subscriptions.len()).sum(),
            retained: self.model.retained.len(),
            dropped_queue_full: self.model.dropped_queue_full,
            dropped_outbox_full: 0,
            dropped_retained_full: self.model.dropped_retained_full,
            ..stats
        };
        assert_eq!(stats, expected);
        assert_eq!(self.hub.linked(), expected.connections);
    }

    /// Everybody comes back, reads and acknowledges: then nobody is owed anything.
    fn finish(mut self) {
        for who in self.model.sessions.keys().copied().collect::<Vec<_>>() {
            if !self.is_connected(who) {
                let terms = Terms { version: Version::V5, receive_maximum: 1 };
                self.connect(who, terms, false, 0, None);
            }
            for action in [Action::Read(who, true), Action::Acknowledge(who, true)] {
                self.act(action);
            }
        }
        self.run();
        self.check_stats();
        let stats = self.hub.stats();
        assert_eq!((stats.in_flight, stats.queued, stats.queued_bytes), (0, 0, 0));
        let links = self.model.sessions.values().filter_map(|session| session.link.as_ref());
        let wills = links.filter(|link| link.will.is_some()).count();
        assert_eq!(stats.stored, self.model.retained.len() + wills, "messages kept for nobody");
        for (who, session) in &self.model.sessions {
            assert!(session.owed.is_empty(), "client {who} waits for {:?}", session.owed);
            assert!(session.released.is_empty(), "client {who} waits for PUBREL of {:?}", session.released);
        }
    }
}

/// One with what is on the disk.
fn hub(limits: &Limits, store: &mut Option<Store>, batch: &mut Batch) -> Hub {
    let hub = Hub::new(limits.clone());
    let Some(store) = store else { return hub };
    let (journal, recovered) = store.open();
    let hub = hub.with_journal(journal);
    let now = batch.now();
    let restored = hub.restore(recovered, now, batch);
    assert_eq!(restored.invalid, 0);
    batch.wake();
    hub
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

fn publish(id: PacketId, message: &Message, dup: bool) -> Packet<'_> {
    let delivery = match message.qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    let topic = Name::new(message.topic).unwrap();
    Packet::Publish(Publish {
        dup,
        retain: message.retain,
        properties: message.properties.as_properties(),
        ..Publish::new(topic, delivery, &message.payload)
    })
}

/// What a client answers to a packet of the broker's.
fn acknowledgement(packet: &Packet<'_>) -> Option<Packet<'static>> {
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(packet_id) => Some(Packet::Puback(Ack::new(packet_id))),
            Delivery::ExactlyOnce(packet_id) => Some(Packet::Pubrec(Ack::new(packet_id))),
        },
        Packet::Pubrel(ack) => Some(Packet::Pubcomp(Ack::new(ack.packet_id))),
        _ => None,
    }
}
