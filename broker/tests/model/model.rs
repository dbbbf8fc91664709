//! What the standard says a broker does: lists, looked through from the front.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sol::Limits;
use sol::codec::{
    Ack, Connack, Packet, PacketId, Properties, Publish, QoS, Reason, Suback, SubscribeCode, Unsuback,
};

use crate::action::Who;

/// An application message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

pub(crate) struct Model {
    limits: Limits,
    pub(crate) sessions: BTreeMap<Who, Session>,
    /// By the levels of the topic.
    pub(crate) retained: BTreeMap<Vec<&'static str>, Message>,
    pub(crate) dropped_queue_full: u64,
    pub(crate) dropped_retained_full: u64,
}

pub(crate) struct Session {
    clean: bool,
    pub(crate) subscriptions: BTreeMap<&'static str, QoS>,
    /// QoS 2 messages of the client's before PUBREL.
    received: BTreeSet<PacketId>,
    /// What the client has not acknowledged, or at QoS 0 not read.
    pub(crate) owed: Vec<Owed>,
    /// PUBREL sent or due.
    pub(crate) released: Vec<PacketId>,
    pub(crate) link: Option<Link>,
}

pub(crate) struct Link {
    pub(crate) will: Option<Message>,
    /// Due to the client, in this order: all packets but PUBLISH.
    pub(crate) answers: VecDeque<Packet<'static>>,
    keep_alive: u16,
    last_packet: Instant,
}

#[derive(Debug)]
pub(crate) struct Owed {
    message: Message,
    /// On its way; otherwise it waits in the queue.
    pub(crate) sent: bool,
    /// It was on its way over an earlier connection.
    dup: bool,
    /// Known once the client has read it.
    id: Option<PacketId>,
    /// Read by the client over this connection.
    pub(crate) arrived: bool,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            dropped_queue_full: 0,
            dropped_retained_full: 0,
        }
    }

    pub(crate) fn is_connected(&self, who: Who) -> bool {
        self.sessions.get(&who).is_some_and(|session| session.link.is_some())
    }

    pub(crate) fn session(&mut self, who: Who) -> &mut Session {
        self.sessions.get_mut(&who).expect("there is a session")
    }

    pub(crate) fn link(&mut self, who: Who) -> &mut Link {
        self.session(who).link.as_mut().expect("connected")
    }

    fn answer(&mut self, who: Who, packet: Packet<'static>) {
        self.link(who).answers.push_back(packet);
    }

    /// False: refused, with code 3.
    pub(crate) fn connect(
        &mut self,
        who: Who,
        clean: bool,
        keep_alive: u16,
        will: Option<Message>,
        now: Instant,
    ) -> bool {
        if self.is_connected(who) {
            self.end(who, false); // [MQTT-3.1.4-2]
        }
        let session_present = !clean && self.sessions.get(&who).is_some_and(|session| !session.clean);
        if !session_present {
            if !self.sessions.contains_key(&who) && self.sessions.len() >= self.limits.max_sessions {
                return false;
            }
            self.sessions.insert(who, Session::new(clean)); // [MQTT-3.1.2-6]
        }
        let session = self.session(who);
        let code = Reason::Success;
        let mut answers = VecDeque::from([Packet::Connack(Connack::new(session_present, code))]);
        // [MQTT-4.4.0-1]
        answers.extend(session.released.iter().map(|id| Packet::Pubrel(Ack::new(*id))));
        session.link = Some(Link { will, answers, keep_alive, last_packet: now });
        true
    }

    /// The connection ends, by DISCONNECT or otherwise.
    pub(crate) fn end(&mut self, who: Who, disconnect: bool) {
        let session = self.session(who);
        let link = session.link.take().expect("connected");
        session.owed.retain(|owed| owed.message.qos != QoS::AtMostOnce);
        for owed in &mut session.owed {
            owed.dup = owed.sent;
            owed.arrived = false;
        }
        if session.clean {
            self.sessions.remove(&who);
        }
        // [MQTT-3.1.2-8] [MQTT-3.14.4-3]
        if !disconnect && let Some(will) = link.will {
            self.publish(&will);
        }
    }

    /// When the client's silence is too long [MQTT-3.1.2-24].
    pub(crate) fn deadline(&mut self, who: Who) -> Option<Instant> {
        let Link { keep_alive, last_packet, .. } = self.link(who);
        (*keep_alive > 0).then(|| *last_packet + Duration::from_secs((*keep_alive).into()) * 3 / 2)
    }

    pub(crate) fn spoke(&mut self, who: Who, now: Instant) {
        self.link(who).last_packet = now;
    }

    pub(crate) fn subscribe(&mut self, who: Who, packet_id: PacketId, filters: &[(&'static str, QoS)]) {
        let mut codes = Vec::new();
        for (filter, qos) in filters {
            let (most, deepest) = (self.limits.max_subscriptions, self.limits.max_filter_levels);
            let subscriptions = &mut self.session(who).subscriptions;
            let is_refused = (!subscriptions.contains_key(filter) && subscriptions.len() >= most)
                || filter.split('/').count() > deepest;
            if is_refused {
                codes.push(SubscribeCode::Refused(Reason::Unspecified));
                continue;
            }
            subscriptions.insert(filter, *qos); // [MQTT-3.8.4-3]
            codes.push(SubscribeCode::Granted(*qos));
            // [MQTT-3.3.1-6]
            let matching = self.retained.values().filter(|message| matches(filter, message.topic));
            for message in matching.cloned().collect::<Vec<_>>() {
                if !self.owe(who, &message, message.qos.min(*qos), true) {
                    break;
                }
            }
        }
        self.answer(
            who,
            Packet::Suback(Suback { packet_id, codes: Cow::Owned(codes), properties: Properties::EMPTY }),
        );
    }

    pub(crate) fn unsubscribe(&mut self, who: Who, packet_id: PacketId, filters: &[&'static str]) {
        for filter in filters {
            self.session(who).subscriptions.remove(filter);
        }
        self.answer(who, Packet::Unsuback(Unsuback::new(packet_id, &[]))); // [MQTT-3.10.4-5]
    }

    /// A client's PUBLISH came.
    pub(crate) fn receive(&mut self, who: Who, packet_id: PacketId, message: &Message) {
        let is_new = match message.qos {
            // A second time before PUBREL it is not forwarded [MQTT-4.3.3-2].
            QoS::ExactlyOnce => self.session(who).received.insert(packet_id),
            // Always [MQTT-4.3.2-2].
            _ => true,
        };
        match message.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answer(who, Packet::Puback(Ack::new(packet_id))),
            QoS::ExactlyOnce => self.answer(who, Packet::Pubrec(Ack::new(packet_id))),
        }
        if is_new {
            self.publish(message);
        }
    }

    fn publish(&mut self, message: &Message) {
        // The broker's own: acknowledged and nothing else.
        if message.topic.starts_with("$SYS/") {
            return;
        }
        if message.retain {
            self.retain(message);
        }
        for who in self.sessions.keys().copied().collect::<Vec<_>>() {
            let subscriptions = self.session(who).subscriptions.iter();
            let granted =
                subscriptions.filter(|(filter, _)| matches(filter, message.topic)).map(|(_, qos)| *qos);
            // [MQTT-3.3.5-1] [MQTT-3.8.4-6] [MQTT-3.3.1-9]
            if let Some(highest) = granted.max() {
                self.owe(who, message, message.qos.min(highest), false);
            }
        }
    }

    fn retain(&mut self, message: &Message) {
        let name: Vec<_> = message.topic.split('/').collect();
        if message.payload.is_empty() {
            self.retained.remove(&name); // [MQTT-3.3.1-10] [MQTT-3.3.1-11]
        } else if self.retained.contains_key(&name) || self.retained.len() < self.limits.max_retained_messages
        {
            self.retained.insert(name, message.clone()); // [MQTT-3.3.1-5]
        } else {
            self.dropped_retained_full += 1;
        }
    }

    /// False if there is no room for it.
    fn owe(&mut self, who: Who, message: &Message, qos: QoS, retain: bool) -> bool {
        let (window, queue) = (self.limits.max_in_flight_messages, self.limits.max_queued_messages);
        let session = self.session(who);
        let message = Message { qos, retain, ..message.clone() };
        let waiting = session.owed.iter().filter(|owed| !owed.sent).count();
        let sent = match qos {
            QoS::AtMostOnce if session.link.is_none() => return true,
            QoS::AtMostOnce => true,
            _ => session.link.is_some() && waiting == 0 && session.in_flight() < usize::from(window),
        };
        let has_room = sent || waiting < queue;
        if has_room {
            session.owed.push(Owed { message, sent, dup: false, id: None, arrived: false });
        } else {
            self.dropped_queue_full += 1;
        }
        has_room
    }

    /// The client's batch is handled: what waited goes as far as the window allows.
    pub(crate) fn refill(&mut self, who: Who) {
        let window = usize::from(self.limits.max_in_flight_messages);
        let session = self.session(who);
        while session.in_flight() < window
            && let Some(next) = session.owed.iter_mut().find(|owed| !owed.sent)
        {
            next.sent = true;
        }
    }

    /// A client's acknowledgement came.
    pub(crate) fn acknowledged(&mut self, who: Who, packet: &Packet<'_>) {
        let Session { owed, released, received, .. } = self.session(who);
        match packet {
            Packet::Puback(ack) => {
                owed.retain(|owed| owed.message.qos != QoS::AtLeastOnce || owed.id != Some(ack.packet_id));
            }
            Packet::Pubrec(ack) => {
                let before = owed.len();
                owed.retain(|owed| owed.message.qos != QoS::ExactlyOnce || owed.id != Some(ack.packet_id));
                if owed.len() < before {
                    released.push(ack.packet_id);
                }
                self.answer(who, Packet::Pubrel(Ack::new(ack.packet_id)));
            }
            Packet::Pubcomp(ack) => released.retain(|id| *id != ack.packet_id),
            Packet::Pubrel(ack) => {
                received.remove(&ack.packet_id);
                self.answer(who, Packet::Pubcomp(Ack::new(ack.packet_id)));
            }
            other => panic!("{other:?} acknowledges nothing"),
        }
    }

    /// The client read a packet: it must be due.
    pub(crate) fn arrived(&mut self, who: Who, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => self.session(who).message_arrived(publish),
            other => assert_eq!(Some(other), self.link(who).answers.pop_front().as_ref(), "to client {who}"),
        }
    }
}

impl Session {
    fn new(clean: bool) -> Self {
        Self {
            clean,
            subscriptions: BTreeMap::new(),
            received: BTreeSet::new(),
            owed: Vec::new(),
            released: Vec::new(),
            link: None,
        }
    }

    fn in_flight(&self) -> usize {
        let sent = self.owed.iter().filter(|owed| owed.sent && owed.message.qos != QoS::AtMostOnce);
        sent.count() + self.released.len()
    }

    /// It must be the next of its topic and QoS [MQTT-4.6.0-6].
    fn message_arrived(&mut self, publish: &Publish<'_>) {
        let id = publish.delivery.packet_id();
        let is_used = self.released.iter().any(|used| Some(*used) == id)
            || self.owed.iter().any(|owed| owed.arrived && owed.id.is_some() && owed.id == id);
        assert!(!is_used, "{publish:?}: the packet identifier is in use");

        let (topic, qos) = (publish.topic.unwrap().as_str(), publish.delivery.qos());
        let next = self
            .owed
            .iter()
            .position(|owed| !owed.arrived && owed.message.topic == topic && owed.message.qos == qos);
        let next = next.unwrap_or_else(|| panic!("{publish:?} is not owed, but {:#?}", self.owed));
        let owed = &mut self.owed[next];
        assert_eq!(publish.payload, owed.message.payload, "{publish:?} is not the next, but {owed:?}");
        assert_eq!(publish.retain, owed.message.retain, "RETAIN of {publish:?}");
        assert_eq!(publish.dup, owed.dup, "DUP of {publish:?}");
        assert!(owed.sent, "{publish:?} is beyond the window");
        assert!(owed.id.is_none() || owed.id == id, "{publish:?} came as {:?} before", owed.id);
        owed.id = id;
        owed.arrived = true;
        if qos == QoS::AtMostOnce {
            self.owed.remove(next);
        }
    }
}

/// Section 4.7, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    fn levels(mut filter: std::str::Split<'_, char>, mut topic: std::str::Split<'_, char>) -> bool {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => true,
            (Some(level), Some(name)) => (level == "+" || level == name) && levels(filter, topic),
            _ => false,
        }
    }
    // [MQTT-4.7.2-1]
    let is_hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
    !is_hidden && levels(filter.split('/'), topic.split('/'))
}
