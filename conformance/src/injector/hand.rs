//! What a fault sees and can do: events, connections, and what is known of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Sender;
use std::time::Instant;

use super::topic;
use crate::Version;
use crate::actor::Plain;
use crate::frame::decode::{Frame, connect_version};
use crate::frame::{Kind, Packet, Value, encode::encode};
use crate::target::{Credentials, Target};

/// Something happens on one connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame from the client.
    Up(Frame),
    /// A frame from the broker.
    Down(Frame),
    /// Something was read from the client, over WebSocket a frame of its own: its frames follow.
    Segment,
    /// What was read from the client ended within a packet.
    Torn,
    /// A message of WebSocket's in several frames is among what was read from the client.
    Fragments,
    /// A WebSocket client offers `mqtt`, and this subprotocol is selected.
    Selects(&'static str),
    /// A text frame of WebSocket's from the client.
    Text(Vec<u8>),
    /// The client sends no more.
    ClientEnd,
    /// The broker sends no more.
    BrokerEnd,
    /// Time goes by.
    Tick,
}

/// What a writing thread is told.
#[derive(Debug)]
pub(super) enum Out {
    Bytes(Vec<u8>),
    /// As a text frame, where there are such.
    Text(Vec<u8>),
    /// No more is written.
    End,
}

/// One connection, as seen from between its ends.
#[derive(Debug)]
pub(super) struct Link {
    to_client: Sender<Out>,
    to_broker: Sender<Out>,
    client_ended: bool,
    broker_ended: bool,
    /// The version that its CONNECT asks for.
    pub(super) version: Version,
    /// The first CONNECT.
    pub(super) connect: Option<Packet>,
    /// Whether CONNACK with code 0 came, and whether it told of a session.
    pub(super) accepted: Option<bool>,
    /// That CONNACK: what the broker says of itself.
    pub(super) connack: Option<Packet>,
    /// How many frames came from the client.
    pub(super) sent: u64,
    /// How many frames came from the broker.
    pub(super) came: u64,
    /// Whether the client said DISCONNECT.
    pub(super) goodbye: bool,
    /// The filters subscribed to on this connection, and the QoS asked for.
    pub(super) filters: Filters,
    /// When the client last sent something.
    pub(super) heard: Instant,
    /// What a fault holds back.
    pub(super) held: VecDeque<Packet>,
}

impl Link {
    pub(super) fn new(to_client: Sender<Out>, to_broker: Sender<Out>) -> Self {
        Link {
            to_client,
            to_broker,
            client_ended: false,
            broker_ended: false,
            version: Version::V3_1_1,
            connect: None,
            accepted: None,
            connack: None,
            sent: 0,
            came: 0,
            goodbye: false,
            filters: Vec::new(),
            heard: Instant::now(),
            held: VecDeque::new(),
        }
    }

    /// Whether both ends have ended.
    pub(super) fn is_over(&self) -> bool {
        self.client_ended && self.broker_ended
    }

    /// Takes note of what happens.
    pub(super) fn see(&mut self, event: &Event) {
        match event {
            Event::Up(frame) => {
                self.sent += 1;
                self.version = connect_version(&frame.bytes).unwrap_or(self.version);
                self.heard = Instant::now();
                if let Ok(packet) = &frame.packet {
                    self.see_sent(packet);
                }
            }
            Event::Down(frame) => {
                self.came += 1;
                if let Ok(packet) = &frame.packet
                    && packet.kind == Kind::Connack
                    && packet.number("reason") == Some(0)
                {
                    self.accepted = Some(packet.number("session_present") == Some(1));
                    self.connack = Some(packet.clone());
                }
            }
            Event::ClientEnd => self.client_ended = true,
            Event::BrokerEnd => self.broker_ended = true,
            Event::Segment
            | Event::Torn
            | Event::Fragments
            | Event::Selects(_)
            | Event::Text(_)
            | Event::Tick => {}
        }
    }

    fn see_sent(&mut self, packet: &Packet) {
        match packet.kind {
            Kind::Connect if self.connect.is_none() => self.connect = Some(packet.clone()),
            Kind::Subscribe => {
                for (filter, qos) in filters(packet) {
                    self.filters.retain(|(old, _)| *old != filter);
                    self.filters.push((filter, qos));
                }
            }
            Kind::Unsubscribe => {
                let gone: Vec<_> = packet.all("topic").collect();
                self.filters.retain(|(old, _)| !gone.contains(&&Value::Bytes(old.clone())));
            }
            Kind::Disconnect => self.goodbye = true,
            _ => {}
        }
    }

    /// The client identifier, once CONNECT came.
    pub(super) fn client_id(&self) -> Vec<u8> {
        self.connect.as_ref().and_then(|connect| connect.bytes("client_id")).unwrap_or_default().to_vec()
    }

    /// Whether the client asked for a new session: CleanSession 1, Clean Start 1.
    pub(super) fn starts_clean(&self) -> bool {
        self.connect.as_ref().is_none_or(|connect| connect.number("clean") == Some(1))
    }

    /// Whether the client asked for a session that outlives the connection.
    pub(super) fn is_kept(&self) -> bool {
        self.connect.as_ref().is_some_and(|connect| match self.version {
            Version::V3_1_1 => connect.number("clean") == Some(0),
            Version::V5_0 => connect.number("session_expiry").is_some_and(|time| time > 0),
        })
    }

    /// Whether one of its filters matches.
    pub(super) fn wants(&self, name: &[u8]) -> bool {
        self.filters.iter().any(|(filter, _)| topic::matches(filter, name))
    }

    /// Whether its client has come back to a session and not said anything yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.accepted == Some(true) && self.sent <= 1
    }

    fn write(&self, up: bool, out: Out) {
        // Nobody is there any more: like writing to a connection that has ended.
        let _ = if up { self.to_broker.send(out) } else { self.to_client.send(out) };
    }
}

/// Filters, each with the QoS asked for.
pub(super) type Filters = Vec<(Vec<u8>, u64)>;

/// The filters of a SUBSCRIBE, each with the QoS asked for.
pub(super) fn filters(subscribe: &Packet) -> Filters {
    let mut filters = Vec::new();
    for (name, value) in &subscribe.fields {
        match (*name, value, filters.last_mut()) {
            ("topic", Value::Bytes(filter), _) => filters.push((filter.clone(), 0)),
            ("qos", Value::Number(number), Some((_, qos))) => *qos = *number,
            _ => {}
        }
    }
    filters
}

/// What is known across connections.
#[derive(Debug)]
pub(super) struct World {
    broker: Target,
    /// The version last asked for: what to speak to the broker.
    version: Version,
    /// How often the broker had been restarted before.
    restarted: u64,
    /// How often the fault did something.
    pub(super) acted: u64,
    /// What the fault wants to remember.
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
    left: Left,
}

/// What clients may have left in the broker.
#[derive(Debug, Default)]
pub(super) struct Left {
    sessions: BTreeSet<Vec<u8>>,
    retained: BTreeSet<Vec<u8>>,
}

impl World {
    pub(super) fn new(broker: Target) -> Self {
        World {
            restarted: broker.restarted(),
            broker,
            version: Version::V3_1_1,
            acted: 0,
            notes: BTreeMap::new(),
            left: Left::default(),
        }
    }

    /// What there is to clear away, which is then forgotten, and the version to do it in.
    pub(super) fn take_left(&mut self) -> (Left, Version) {
        (std::mem::take(&mut self.left), self.version)
    }

    /// Remembers what has to be cleared away.
    pub(super) fn see(&mut self, link: &Link, event: &Event) {
        let Event::Up(Frame { packet: Ok(packet), bytes }) = event else { return };
        self.version = connect_version(bytes).unwrap_or(self.version);
        let text = |name| packet.bytes(name).unwrap_or_default().to_vec();
        let id = link.client_id();
        match packet.kind {
            Kind::Connect if !text("client_id").is_empty() => {
                self.left.sessions.insert(text("client_id"));
                self.left.retained.insert(text("will_topic"));
            }
            // Also without RETAIN: a fault may add it.
            Kind::Publish if !id.is_empty() => {
                self.left.retained.insert(text("topic"));
            }
            _ => {}
        }
    }
}

impl Left {
    /// Ends every session and wipes every retained message, as far as the broker lets it.
    pub(super) fn clear(self, broker: &Target, version: Version) {
        for id in self.sessions {
            if let Ok(mut plain) = Plain::connect(broker, version, &id) {
                let _ = plain.send(&Packet::new(Kind::Disconnect));
            }
        }
        let names = self.retained.into_iter().filter(|name| topic::is_name(name));
        let Ok(mut plain) = Plain::connect(broker, version, b"") else { return };
        for name in names {
            let wipe = Packet::new(Kind::Publish).with("retain", 1u64).with("topic", name);
            let _ = plain.send(&wipe);
        }
        // A round trip, so that they are gone when this returns.
        let _ = plain.send(&Packet::new(Kind::Pingreq)).and_then(|()| plain.receive());
        let _ = plain.send(&Packet::new(Kind::Disconnect));
    }
}

/// What a fault works with while it deals with one event.
pub(super) struct Hand<'a> {
    pub(super) me: u64,
    pub(super) links: &'a mut BTreeMap<u64, Link>,
    pub(super) world: &'a mut World,
}

impl Hand<'_> {
    /// What a wire would do.
    pub(super) fn pass(&mut self, event: Event) {
        match event {
            Event::Up(frame) => self.write(true, Out::Bytes(frame.bytes)),
            Event::Down(frame) => self.write(false, Out::Bytes(frame.bytes)),
            Event::ClientEnd => self.write(true, Out::End),
            Event::BrokerEnd => self.write(false, Out::End),
            // [MQTT-6.0.0-1]
            Event::Text(_) => {
                self.write(true, Out::End);
                self.write(false, Out::End);
            }
            Event::Segment | Event::Torn | Event::Fragments | Event::Selects(_) | Event::Tick => {}
        }
    }

    /// Passes a packet on unchanged: the fault has done nothing by it.
    pub(super) fn on(&mut self, up: bool, packet: &Packet) {
        self.write(up, Out::Bytes(encode(packet, self.version())));
    }

    /// What is spoken on this connection.
    pub(super) fn version(&self) -> Version {
        self.links.get(&self.me).map_or(self.world.version, |link| link.version)
    }

    /// What 3.1.1 and 5.0 have different codes for.
    pub(super) fn code(&self, of_3_1_1: u64, of_5_0: u64) -> u64 {
        if self.version() >= Version::V5_0 { of_5_0 } else { of_3_1_1 }
    }

    fn write(&mut self, up: bool, out: Out) {
        if let Some(link) = self.links.get(&self.me) {
            link.write(up, out);
        }
    }

    /// Counts that the fault has done something.
    pub(super) fn act(&mut self) {
        self.world.acted += 1;
    }

    /// The connection. (There always is one: the empty one is for the compiler.)
    pub(super) fn link<T: Default>(&self, look: impl FnOnce(&Link) -> T) -> T {
        self.links.get(&self.me).map(look).unwrap_or_default()
    }

    /// The connection, to be changed.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(&self.me) {
            change(link);
        }
    }

    /// Sends the client a packet of the fault's own.
    pub(super) fn tell_client(&mut self, packet: &Packet) {
        self.tell_client_bytes(encode(packet, self.version()));
    }

    /// Sends the client bytes of the fault's own.
    pub(super) fn tell_client_bytes(&mut self, bytes: Vec<u8>) {
        self.act();
        self.write(false, Out::Bytes(bytes));
    }

    /// Sends the client bytes of the fault's own in a text frame.
    pub(super) fn tell_client_text(&mut self, text: Vec<u8>) {
        self.act();
        self.write(false, Out::Text(text));
    }

    /// Sends the broker a packet of the fault's own.
    pub(super) fn tell_broker(&mut self, packet: &Packet) {
        self.act();
        self.on(true, packet);
    }

    /// Ends the connection to the client.
    pub(super) fn close_client(&mut self) {
        self.act();
        self.write(false, Out::End);
    }

    /// Ends the connection to the broker.
    pub(super) fn close_broker(&mut self) {
        self.act();
        self.write(true, Out::End);
    }

    /// Ends it on both sides.
    pub(super) fn close(&mut self) {
        self.close_client();
        self.close_broker();
    }

    /// The other connections that are open.
    pub(super) fn others(&self) -> Vec<u64> {
        let me = self.me;
        self.links
            .iter()
            .filter(|(number, link)| **number != me && !link.client_ended)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Does something on another connection.
    pub(super) fn as_if<T>(&mut self, other: u64, act: impl FnOnce(&mut Hand<'_>) -> T) -> T {
        let mut hand = Hand { me: other, links: &mut *self.links, world: &mut *self.world };
        act(&mut hand)
    }

    /// Sends to every connection, this one too, that fulfils the condition.
    pub(super) fn spread(&mut self, to: impl Fn(&Link) -> bool, packet: &Packet) {
        let numbers: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.accepted.is_some() && !link.client_ended && to(link))
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.as_if(number, |hand| hand.tell_client(packet));
        }
    }

    /// Whether the broker was killed and started again in the meantime.
    pub(super) fn is_after_a_restart(&self) -> bool {
        self.world.broker.restarted() > self.world.restarted
    }

    /// As whom clients are let in.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.world.broker.credentials.as_ref()
    }

    /// Remembers a value under a name, for all connections.
    pub(super) fn note(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.world.notes.insert(name.as_ref().to_vec(), value.as_ref().to_vec());
    }

    /// What is remembered.
    pub(super) fn noted(&self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.world.notes.get(name.as_ref()).cloned()
    }

    /// Forgets.
    pub(super) fn forget(&mut self, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.world.notes.remove(name.as_ref())
    }

    /// Counts under a name, from 1.
    pub(super) fn count(&mut self, name: impl AsRef<[u8]>) -> u64 {
        let name = name.as_ref();
        let before = self.noted(name).and_then(|digits| String::from_utf8(digits).ok()?.parse().ok());
        let count = before.unwrap_or(0) + 1;
        self.note(name, count.to_string());
        count
    }

    /// Publishes as a client that nobody knows, and waits until the broker has taken it over.
    pub(super) fn publish(&mut self, packet: &Packet) {
        self.act();
        let Ok(mut plain) = Plain::connect(&self.world.broker, self.world.version, b"") else { return };
        let _ = plain.send(packet);
        let _ = plain.send(&Packet::new(Kind::Pingreq)).and_then(|()| plain.receive());
        let _ = plain.send(&Packet::new(Kind::Disconnect));
    }

    /// Ends the session of this client at the broker.
    pub(super) fn end_session(&mut self, client_id: &[u8]) {
        self.act();
        if let Ok(mut plain) = Plain::connect(&self.world.broker, self.world.version, client_id) {
            let _ = plain.send(&Packet::new(Kind::Disconnect));
        }
    }
}
