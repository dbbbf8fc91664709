//! What the standard says a broker does: lists, looked through from the front.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sol::Limits;
use sol::codec::{
    Ack, Connack, Packet, PacketId, Properties, PropertiesBuf, Property, Publish, QoS, Reason, Suback,
    SubscribeCode, Unsuback, Version,
};

use crate::action::{Terms, Who};

/// An application message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// As the client sends them.
    pub(crate) properties: PropertiesBuf,
    /// Those of them that go on unaltered.
    pub(crate) forwarded: PropertiesBuf,
    /// The message expiry interval, in seconds.
    pub(crate) expiry: Option<u32>,
    /// When it was published.
    since: Option<Instant>,
}

impl Message {
    pub(crate) fn new(topic: &'static str, payload: Vec<u8>, qos: QoS, retain: bool) -> Self {
        let none = PropertiesBuf::new;
        Self { topic, payload, qos, retain, properties: none(), forwarded: none(), expiry: None, since: None }
    }

    fn is_expired(&self, now: Instant) -> bool {
        let end =
            self.since.zip(self.expiry).map(|(since, seconds)| since + Duration::from_secs(seconds.into()));
        end.is_some_and(|end| end <= now)
    }

    /// Those that a client of 5.0 gets with it.
    fn properties(&self, now: Instant) -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        if let (Some(since), Some(seconds)) = (self.since, self.expiry) {
            let waited = u32::try_from((now - since).as_secs()).unwrap();
            // [5.0 MQTT-3.3.2-6]
            properties.push(Property::MessageExpiryInterval(seconds.saturating_sub(waited))).unwrap();
        }
        for property in self.forwarded.as_properties().iter() {
            properties.push(property).unwrap();
        }
        properties
    }
}

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) now: Instant,
    limits: Limits,
    /// Sessions so far.
    begun: usize,
    pub(crate) sessions: BTreeMap<Who, Session>,
    /// By the levels of the topic.
    pub(crate) retained: BTreeMap<Vec<&'static str>, Message>,
    pub(crate) dropped_queue_full: u64,
    pub(crate) dropped_retained_full: u64,
}

#[derive(Clone)]
pub(crate) struct Session {
    /// Which it was of all that began.
    number: usize,
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

#[derive(Clone)]
pub(crate) struct Link {
    terms: Terms,
    pub(crate) will: Option<Message>,
    /// Due to the client, in this order: all packets but PUBLISH.
    pub(crate) answers: VecDeque<Packet<'static>>,
    keep_alive: u16,
    last_packet: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Owed {
    message: Message,
    /// On its way over this connection.
    pub(crate) sent: bool,
    /// It was on its way over an earlier connection; what neither is nor was waits in the queue.
    dup: bool,
    /// When it was put on its way last.
    sent_at: Instant,
    /// Known once the client has read it.
    id: Option<PacketId>,
    /// Read by the client over this connection.
    pub(crate) arrived: bool,
}

impl Model {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            now,
            limits,
            begun: 0,
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

    fn is_v5(&mut self, who: Who) -> bool {
        self.link(who).terms.version == Version::V5
    }

    /// The reason code of an answer; before 5.0 there is only success.
    fn reason(&mut self, who: Who, reason: Reason) -> Reason {
        if self.is_v5(who) { reason } else { Reason::Success }
    }

    fn answer(&mut self, who: Who, packet: Packet<'static>) {
        self.link(who).answers.push_back(packet);
    }

    /// False: refused, with code 3.
    pub(crate) fn connect(
        &mut self,
        who: Who,
        terms: Terms,
        clean: bool,
        keep_alive: u16,
        will: Option<Message>,
    ) -> bool {
        let now = self.now;
        if self.is_connected(who) {
            self.end(who, false); // [MQTT-3.1.4-2]
        }
        let session_present = !clean && self.sessions.get(&who).is_some_and(|session| !session.clean);
        if !session_present {
            if !self.sessions.contains_key(&who) && self.sessions.len() >= self.limits.max_sessions {
                return false;
            }
            self.begun += 1;
            self.sessions.insert(who, Session::new(self.begun, clean)); // [MQTT-3.1.2-6]
        }
        let session = self.session(who);
        let code = Reason::Success;
        let mut answers = VecDeque::from([Packet::Connack(Connack::new(session_present, code))]);
        // [MQTT-4.4.0-1]
        answers.extend(session.released.iter().map(|id| Packet::Pubrel(Ack::new(*id))));
        // To the broker's own topics nobody leaves a will.
        let will = will.filter(|will| !will.topic.starts_with("$SYS/"));
        session.link = Some(Link { terms, will, answers, keep_alive, last_packet: now });
        true
    }

    /// The connection ends, by DISCONNECT or otherwise.
    pub(crate) fn end(&mut self, who: Who, disconnect: bool) {
        // [MQTT-3.1.2-8] [MQTT-3.14.4-3]
        if let Some(will) = self.leave(who).filter(|_| !disconnect) {
            self.publish(&will, false);
        }
    }

    /// The broker is gone and comes back: all wills go out then, to sessions that have no connection.
    pub(crate) fn lose_connections(&mut self) {
        let now = self.now;
        self.retained.retain(|_, message| !message.is_expired(now));
        (self.dropped_queue_full, self.dropped_retained_full) = (0, 0);
        let connected = self.sessions.iter().filter(|(_, session)| session.link.is_some());
        let mut connected: Vec<_> = connected.map(|(who, session)| (session.number, *who)).collect();
        connected.sort_unstable();
        let wills: Vec<_> = connected.into_iter().filter_map(|(_, who)| self.leave(who)).collect();
        for will in wills {
            self.publish(&will, false);
        }
    }

    /// The connection ends. Gives its will.
    fn leave(&mut self, who: Who) -> Option<Message> {
        let session = self.session(who);
        let link = session.link.take().expect("connected");
        session.owed.retain(|owed| owed.message.qos != QoS::AtMostOnce);
        for owed in &mut session.owed {
            owed.dup |= owed.sent;
            owed.sent = false;
            owed.arrived = false;
        }
        if session.clean {
            self.sessions.remove(&who);
        }
        link.will
    }

    /// When the client's silence is too long [MQTT-3.1.2-24].
    pub(crate) fn deadline(&mut self, who: Who) -> Option<Instant> {
        let Link { keep_alive, last_packet, .. } = self.link(who);
        (*keep_alive > 0).then(|| *last_packet + Duration::from_secs((*keep_alive).into()) * 3 / 2)
    }

    pub(crate) fn spoke(&mut self, who: Who) {
        let now = self.now;
        self.link(who).last_packet = now;
    }

    pub(crate) fn subscribe(&mut self, who: Who, packet_id: PacketId, filters: &[(&'static str, QoS)]) {
        let mut codes = Vec::new();
        let refusal = if self.is_v5(who) { Reason::QuotaExceeded } else { Reason::Unspecified };
        for (filter, qos) in filters {
            let (most, deepest) = (self.limits.max_subscriptions, self.limits.max_topic_levels);
            let subscriptions = &mut self.session(who).subscriptions;
            let is_refused = (!subscriptions.contains_key(filter) && subscriptions.len() >= most)
                || filter.split('/').count() > deepest;
            if is_refused {
                codes.push(SubscribeCode::Refused(refusal));
                continue;
            }
            subscriptions.insert(filter, *qos); // [MQTT-3.8.4-3]
            codes.push(SubscribeCode::Granted(*qos));
            // [5.0 MQTT-3.3.2-5]
            let now = self.now;
            self.retained.retain(|_, message| !matches(filter, message.topic) || !message.is_expired(now));
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
        let mut codes = Vec::new();
        for filter in filters {
            let was_there = self.session(who).subscriptions.remove(filter).is_some();
            codes.push(if was_there { Reason::Success } else { Reason::NoSubscriptionExisted });
        }
        if !self.is_v5(who) {
            codes.clear();
        }
        // [MQTT-3.10.4-5]
        let codes = Cow::Owned(codes);
        self.answer(who, Packet::Unsuback(Unsuback { codes, ..Unsuback::new(packet_id, &[]) }));
    }

    /// A client's PUBLISH came.
    pub(crate) fn receive(&mut self, who: Who, packet_id: PacketId, message: &Message) {
        let is_new = match message.qos {
            // A second time before PUBREL it is not forwarded [MQTT-4.3.3-2].
            QoS::ExactlyOnce => self.session(who).received.insert(packet_id),
            // Always [MQTT-4.3.2-2].
            _ => true,
        };
        let is_v5 = self.is_v5(who);
        let reason = if is_new { self.publish(message, is_v5) } else { Reason::Success };
        if reason.is_error() && message.qos == QoS::ExactlyOnce {
            self.session(who).received.remove(&packet_id); // [5.0 MQTT-4.3.3-9]
        }
        let ack = Ack { reason: self.reason(who, reason), ..Ack::new(packet_id) };
        match message.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answer(who, Packet::Puback(ack)),
            QoS::ExactlyOnce => self.answer(who, Packet::Pubrec(ack)),
        }
    }

    /// Gives the reason code that a client of 5.0 is answered with.
    fn publish(&mut self, message: &Message, is_v5: bool) -> Reason {
        // The broker's own: before 5.0, acknowledged and nothing else.
        if message.topic.starts_with("$SYS/") {
            return if is_v5 { Reason::NotAuthorized } else { Reason::Success };
        }
        let message = &Message { since: Some(self.now), ..message.clone() };
        let mut reason = Reason::NoMatchingSubscribers;
        if message.retain {
            self.retain(message);
        }
        for who in self.sessions.keys().copied().collect::<Vec<_>>() {
            let subscriptions = self.session(who).subscriptions.iter();
            let granted =
                subscriptions.filter(|(filter, _)| matches(filter, message.topic)).map(|(_, qos)| *qos);
            // [MQTT-3.3.5-1] [MQTT-3.8.4-6] [MQTT-3.3.1-9]
            if let Some(highest) = granted.max() {
                reason = Reason::Success;
                self.owe(who, message, message.qos.min(highest), false);
            }
        }
        reason
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
        let now = self.now;
        let session = self.session(who);
        let message = Message { qos, retain, ..message.clone() };
        let waiting = session.owed.iter().filter(|owed| !owed.sent && !owed.dup).count();
        let sent = match qos {
            QoS::AtMostOnce if session.link.is_none() => return true,
            QoS::AtMostOnce => true,
            _ => waiting == 0 && session.to_repeat() == 0 && session.in_flight() < session.window(window),
        };
        let has_room = sent || waiting < queue;
        if has_room {
            session.owed.push(Owed { message, sent, dup: false, sent_at: now, id: None, arrived: false });
        } else {
            self.dropped_queue_full += 1;
        }
        has_room
    }

    /// The client's batch is handled: what waited goes as far as the window allows.
    pub(crate) fn refill(&mut self, who: Who) {
        let (now, limit) = (self.now, self.limits.max_in_flight_messages);
        let session = self.session(who);
        // [5.0 MQTT-3.3.4-9]
        while session.in_flight() - session.to_repeat() < session.window(u16::MAX)
            && let Some(next) = session.owed.iter_mut().find(|owed| owed.dup && !owed.sent)
        {
            (next.sent, next.sent_at) = (true, now);
        }
        while session.to_repeat() == 0
            && let Some(next) = session.owed.iter().position(|owed| !owed.sent)
        {
            // [5.0 MQTT-3.3.2-5]
            if session.owed[next].message.is_expired(now) {
                session.owed.remove(next);
            } else if session.in_flight() < session.window(limit) {
                (session.owed[next].sent, session.owed[next].sent_at) = (true, now);
            } else {
                break;
            }
        }
    }

    /// A client's acknowledgement came.
    pub(crate) fn acknowledged(&mut self, who: Who, packet: &Packet<'_>) {
        let is_v5 = self.is_v5(who);
        let reason = |is_known| match is_known {
            false if is_v5 => Reason::PacketIdentifierNotFound,
            _ => Reason::Success,
        };
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
                let reason = reason(released.contains(&ack.packet_id));
                self.answer(who, Packet::Pubrel(Ack { reason, ..Ack::new(ack.packet_id) }));
            }
            Packet::Pubcomp(ack) => released.retain(|id| *id != ack.packet_id),
            Packet::Pubrel(ack) => {
                let reason = reason(received.remove(&ack.packet_id));
                self.answer(who, Packet::Pubcomp(Ack { reason, ..Ack::new(ack.packet_id) }));
            }
            other => panic!("{other:?} acknowledges nothing"),
        }
    }

    /// The client read a packet: it must be due.
    pub(crate) fn arrived(&mut self, who: Who, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => self.session(who).message_arrived(publish),
            // It waits for nothing, and may overtake what does.
            Packet::Pingresp => {
                let answers = &mut self.link(who).answers;
                let due = answers.iter().position(|answer| *answer == Packet::Pingresp);
                answers.remove(due.unwrap_or_else(|| panic!("no PINGRESP is due to client {who}")));
            }
            other => assert_eq!(Some(bare(other)), self.link(who).answers.pop_front(), "to client {who}"),
        }
    }
}

impl Session {
    fn new(number: usize, clean: bool) -> Self {
        Self {
            number,
            clean,
            subscriptions: BTreeMap::new(),
            received: BTreeSet::new(),
            owed: Vec::new(),
            released: Vec::new(),
            link: None,
        }
    }

    fn in_flight(&self) -> usize {
        let begun = |owed: &&Owed| (owed.sent || owed.dup) && owed.message.qos != QoS::AtMostOnce;
        self.owed.iter().filter(begun).count() + self.released.len()
    }

    /// What was in flight over an earlier connection and is not yet over this one.
    fn to_repeat(&self) -> usize {
        self.owed.iter().filter(|owed| owed.dup && !owed.sent).count()
    }

    /// How many may be in flight, within the limit.
    fn window(&self, limit: u16) -> usize {
        self.link.as_ref().map_or(0, |link| match link.terms.version {
            Version::V5 => link.terms.receive_maximum.min(limit).into(),
            _ => limit.into(),
        })
    }

    /// It must be the next of its topic and QoS [MQTT-4.6.0-6].
    fn message_arrived(&mut self, publish: &Publish<'_>) {
        let id = publish.delivery.packet_id();
        let is_used = self.released.iter().any(|used| Some(*used) == id)
            || self.owed.iter().any(|owed| owed.arrived && owed.id.is_some() && owed.id == id);
        assert!(!is_used, "{publish:?}: the packet identifier is in use");

        let is_v5 = self.link.as_ref().is_some_and(|link| link.terms.version == Version::V5);
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
        let properties = if is_v5 { owed.message.properties(owed.sent_at) } else { PropertiesBuf::new() };
        assert_eq!(publish.properties, properties.as_properties(), "{publish:?}");
        assert!(owed.sent, "{publish:?} is beyond the window");
        assert!(owed.id.is_none() || owed.id == id, "{publish:?} came as {:?} before", owed.id);
        owed.id = id;
        owed.arrived = true;
        if qos == QoS::AtMostOnce {
            self.owed.remove(next);
        }
    }
}

/// The packet without its properties, which are not the standard's to say.
fn bare(packet: &Packet<'_>) -> Packet<'static> {
    let ack = |ack: &Ack<'_>| Ack { reason: ack.reason, ..Ack::new(ack.packet_id) };
    match packet {
        Packet::Connack(connack) => Packet::Connack(Connack::new(connack.session_present, connack.reason)),
        Packet::Puback(fields) => Packet::Puback(ack(fields)),
        Packet::Pubrec(fields) => Packet::Pubrec(ack(fields)),
        Packet::Pubrel(fields) => Packet::Pubrel(ack(fields)),
        Packet::Pubcomp(fields) => Packet::Pubcomp(ack(fields)),
        Packet::Suback(suback) => Packet::Suback(Suback {
            packet_id: suback.packet_id,
            codes: Cow::Owned(suback.codes.to_vec()),
            properties: Properties::EMPTY,
        }),
        Packet::Unsuback(unsuback) => Packet::Unsuback(Unsuback {
            codes: Cow::Owned(unsuback.codes.to_vec()),
            ..Unsuback::new(unsuback.packet_id, &[])
        }),
        other => panic!("{other:?}"),
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
