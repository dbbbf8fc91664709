//! What a client of 5.0 is sent, against naive models of the client.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::codec::{
    Decoded, Delivery, Packet, PacketId, Properties, PropertiesBuf, Property, Publish, QoS, Version, decode,
};
use crate::topic::Name;

const LIMITS: OutboundLimits = OutboundLimits {
    in_flight_messages: 4,
    in_flight_bytes: 1 << 20,
    queued_messages: 6,
    queued_bytes: 1 << 20,
    stored_messages: usize::MAX,
    stored_bytes: usize::MAX,
    outbox_bytes: 1 << 20,
};

fn terms(receive_maximum: u16) -> Terms {
    Terms { receive_maximum, ..Terms::of(Version::V5) }
}

fn properties(list: &[Property<'_>]) -> PropertiesBuf {
    let mut buf = PropertiesBuf::new();
    list.iter().for_each(|property| buf.push(*property).unwrap());
    buf
}

fn content<'a>(topic: &'a str, payload: &'a [u8], qos: QoS) -> Content<'a> {
    Content::new(Name::new(topic).unwrap(), payload, qos)
}

/// Takes all bytes out of the outbox.
fn drain(outbox: &mut Outbox) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !outbox.is_empty() {
        let mut room = [std::io::IoSlice::new(&[]); 8];
        let before = bytes.len();
        outbox.slices(&mut room).iter().for_each(|slice| bytes.extend_from_slice(slice));
        outbox.advance(bytes.len() - before);
    }
    bytes
}

fn packets(mut bytes: &[u8]) -> Vec<Packet<'_>> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        match decode(bytes, Some(Version::V5), usize::MAX) {
            Ok(Decoded::Packet { packet, length }) => {
                packets.push(packet);
                bytes = &bytes[length..];
            }
            other => panic!("{other:?} from {bytes:?}"),
        }
    }
    packets
}

fn expiry(publish: &Publish<'_>) -> Option<u32> {
    publish.properties.iter().find_map(|property| match property {
        Property::MessageExpiryInterval(seconds) => Some(seconds),
        _ => None,
    })
}

fn alias(publish: &Publish<'_>) -> Option<NonZeroU16> {
    publish.properties.iter().find_map(|property| match property {
        Property::TopicAlias(alias) => Some(alias),
        _ => None,
    })
}

#[test]
fn properties_go_on_in_their_order_with_what_is_added() {
    let sent = properties(&[
        Property::UserProperty("b", "2"),
        Property::TopicAlias(NonZeroU16::MIN),
        Property::ContentType("text"),
        Property::MessageExpiryInterval(10),
        Property::UserProperty("a", "1"),
        Property::PayloadFormatIndicator(true),
        Property::UserProperty("b", "2"),
    ]);
    let start = Instant::now();
    let note = Note { subscription_ids: [7, 300].map(|id| NonZeroU32::new(id).unwrap()).into(), share: None };
    let manner = Manner { note: Some(Arc::new(note)), ..Manner::at(QoS::AtLeastOnce) };
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::new(&terms(1)));
    for _ in 0..2 {
        let content = content("t", b"x", QoS::AtLeastOnce).with(sent.as_properties(), start);
        outbound.deliver(&content, &manner, Some(&mut outbox), &LIMITS, start);
    }
    let expected = |seconds| {
        properties(&[
            Property::MessageExpiryInterval(seconds),
            Property::SubscriptionIdentifier(NonZeroU32::new(7).unwrap()),
            Property::SubscriptionIdentifier(NonZeroU32::new(300).unwrap()),
            Property::UserProperty("b", "2"),
            Property::ContentType("text"),
            Property::UserProperty("a", "1"),
            Property::PayloadFormatIndicator(true),
            Property::UserProperty("b", "2"),
        ])
    };
    for (id, seconds, waited) in [(1, 10, 0), (2, 8, 2999)] {
        outbound.poll_queue(&mut outbox, &LIMITS, start + Duration::from_millis(waited));
        let bytes = drain(&mut outbox);
        let [Packet::Publish(publish)] = packets(&bytes)[..] else { panic!("one at a time") };
        assert_eq!(publish.properties, expected(seconds).as_properties());
        assert!(outbound.handle_puback(PacketId::new(id).unwrap()));
    }
    // To a client of 3.1.1 none of them goes.
    let mut plain = Outbox::default();
    let content = content("t", b"x", QoS::AtMostOnce).with(sent.as_properties(), start);
    outbound.deliver(&content, &Manner::at(QoS::AtMostOnce), Some(&mut plain), &LIMITS, start);
    assert_eq!(drain(&mut plain), b"\x30\x04\0\x01tx");
}

#[test]
fn a_message_too_large_for_the_client_is_forgotten() {
    let (mut outbound, now) = (Outbound::default(), Instant::now());
    fn deliver(
        outbound: &mut Outbound,
        payload: &[u8],
        outbox: Option<&mut Outbox>,
        now: Instant,
    ) -> Outcome {
        let content = content("t", payload, QoS::AtLeastOnce);
        outbound.deliver(&content, &Manner::at(QoS::AtLeastOnce), outbox, &LIMITS, now)
    }
    let mut wide = Outbox::new(&terms(10));
    deliver(&mut outbound, &[0; 50], Some(&mut wide), now);
    deliver(&mut outbound, b"small", Some(&mut wide), now);
    outbound.suspend();
    deliver(&mut outbound, &[0; 50], None, now);
    deliver(&mut outbound, b"queued", None, now);
    let mut narrow = Outbox::new(&Terms { max_packet_bytes: 20, ..terms(10) });
    outbound.resume(&mut narrow, now);
    outbound.poll_queue(&mut narrow, &LIMITS, now);
    assert_eq!(deliver(&mut outbound, &[0; 50], Some(&mut narrow), now), Outcome::TooLarge);
    // Fixed header, topic, packet identifier, property length: 2 + 3 + 2 + 1.
    assert_eq!(deliver(&mut outbound, &[0; 13], Some(&mut narrow), now), Outcome::TooLarge);
    assert_eq!(deliver(&mut outbound, &[1; 12], Some(&mut narrow), now), Outcome::Sent(20));
    let bytes = drain(&mut narrow);
    let payloads = packets(&bytes).into_iter().map(|packet| match packet {
        Packet::Publish(publish) => (publish.payload.to_vec(), publish.dup),
        other => panic!("{other:?}"),
    });
    let expected = [(b"small".to_vec(), true), (b"queued".to_vec(), false), (vec![1; 12], false)];
    assert_eq!(payloads.collect::<Vec<_>>(), expected);
    assert_eq!((outbound.in_flight(), outbound.queued()), (3, 0));
    let mut tally = Tally::default();
    outbound.settle(&mut tally);
    assert_eq!(tally.dropped_too_large, 2, "those that the outcome does not tell of");
}

#[test]
fn a_new_message_does_not_overtake_one_that_is_to_be_sent_again() {
    let (mut outbound, now) = (Outbound::default(), Instant::now());
    let deliver = |outbound: &mut Outbound, outbox: &mut Outbox| {
        let content = content("t", b"x", QoS::AtLeastOnce);
        outbound.deliver(&content, &Manner::at(QoS::AtLeastOnce), Some(outbox), &LIMITS, now)
    };
    let mut outbox = Outbox::new(&terms(9));
    (0..3).for_each(|_| _ = deliver(&mut outbound, &mut outbox));
    let mut outbox = Outbox::new(&terms(2));
    outbound.resume(&mut outbox, now);
    // The window is open, and the connection's task has not looked yet.
    assert!((1..=2).all(|id| outbound.handle_puback(PacketId::new(id).unwrap())));
    assert_eq!(deliver(&mut outbound, &mut outbox), Outcome::Queued);
    outbound.poll_queue(&mut outbox, &LIMITS, now);
    let bytes = drain(&mut outbox);
    let ids = packets(&bytes).into_iter().map(|packet| match packet {
        Packet::Publish(publish) => publish.delivery.packet_id().map(PacketId::get),
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3, 4].map(Some));
}

#[test]
fn expired_messages_make_room_in_a_full_queue() {
    let (mut outbound, start) = (Outbound::default(), Instant::now());
    let expires = properties(&[Property::MessageExpiryInterval(5)]);
    let mut deliver = |payload: &[u8], properties: Properties<'_>, now| {
        let content = content("t", payload, QoS::AtLeastOnce).with(properties, now);
        outbound.deliver(&content, &Manner::at(QoS::AtLeastOnce), None, &LIMITS, now)
    };
    let soon = start + Duration::from_secs(4);
    for number in 0..LIMITS.queued_messages {
        let properties = if number % 2 == 0 { expires.as_properties() } else { Properties::EMPTY };
        assert_eq!(deliver(b"old", properties, start), Outcome::Queued);
    }
    assert_eq!(deliver(b"none", Properties::EMPTY, soon), Outcome::Dropped);
    let later = start + Duration::from_secs(5);
    for _ in 0..LIMITS.queued_messages.div_ceil(2) {
        assert_eq!(deliver(b"new", Properties::EMPTY, later), Outcome::Queued);
    }
    assert_eq!(deliver(b"none", Properties::EMPTY, later), Outcome::Dropped);
    let mut tally = Tally::default();
    outbound.settle(&mut tally);
    assert_eq!(tally.expired_messages, 3);
}

/// What may happen to a session.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver(QoS, Option<u32>),
    /// PUBACK, or PUBREC and PUBCOMP, for one of those that the client has.
    Acknowledge(usize),
    /// The same for one that came over an earlier connection, before it comes again.
    AcknowledgeEarly,
    /// An error for one.
    Refuse(usize),
    /// The connection breaks.
    Leave,
    /// The client is back with that Receive Maximum.
    Return(u16),
    PassMillis(u64),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let qos = select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..]);
    prop_oneof![
        6 => (qos, proptest::option::of(0..4_u32)).prop_map(|(qos, expiry)| Deliver(qos, expiry)),
        4 => any::<usize>().prop_map(Acknowledge),
        1 => Just(AcknowledgeEarly),
        1 => any::<usize>().prop_map(Refuse),
        1 => Just(Leave),
        2 => (1..4_u16).prop_map(Return),
        2 => (0..2000_u64).prop_map(PassMillis),
    ]
}

/// A client, and what the broker owes it.
struct Client {
    outbound: Outbound,
    outbox: Option<Outbox>,
    receive_maximum: usize,
    now: Instant,
    /// QoS 1 and 2 messages by their number, in order: until they are acknowledged or expire.
    owed: BTreeMap<u32, Owed>,
    /// Identifiers of the messages that the client got over this connection, in order.
    has: VecDeque<(PacketId, u32)>,
    delivered: u32,
    counted: Tally,
}

#[derive(Debug)]
struct Owed {
    qos: QoS,
    since: Instant,
    expiry: Option<u32>,
    /// Its delivery has begun.
    id: Option<PacketId>,
}

impl Owed {
    fn is_expired(&self, now: Instant) -> bool {
        self.expiry.is_some_and(|seconds| now >= self.since + Duration::from_secs(seconds.into()))
    }
}

impl Client {
    /// After some steps the connection's task looks at the queue.
    fn act(&mut self, step: Step, looks: bool) {
        match step {
            Step::Deliver(qos, expiry) => self.deliver(qos, expiry),
            Step::Acknowledge(at) if !self.has.is_empty() => {
                let (id, number) = self.has.remove(at % self.has.len()).unwrap();
                self.acknowledge(id, number);
            }
            Step::AcknowledgeEarly if self.outbox.is_some() => {
                let mut begun = self.owed.iter().filter_map(|(number, owed)| Some((owed.id?, *number)));
                if let Some((id, number)) = begun.rfind(|known| !self.has.contains(known)) {
                    self.acknowledge(id, number);
                }
            }
            Step::Refuse(at) if !self.has.is_empty() => {
                let (id, number) = self.has.remove(at % self.has.len()).unwrap();
                let was_in_flight = match self.owed.remove(&number).unwrap().qos {
                    QoS::ExactlyOnce => self.outbound.handle_refusal(id),
                    _ => self.outbound.handle_puback(id),
                };
                assert!(was_in_flight);
            }
            Step::Leave => {
                self.outbox = None;
                self.outbound.suspend();
                self.has.clear();
            }
            Step::Return(receive_maximum) if self.outbox.is_none() => {
                let mut outbox = Outbox::new(&terms(receive_maximum));
                self.outbound.resume(&mut outbox, self.now);
                self.receive_maximum = receive_maximum.into();
                self.outbox = Some(outbox);
            }
            Step::PassMillis(millis) => self.now += Duration::from_millis(millis),
            _ => {}
        }
        if let Some(mut outbox) = self.outbox.take() {
            if looks {
                self.outbound.poll_queue(&mut outbox, &LIMITS, self.now);
            }
            self.read(&drain(&mut outbox));
            self.outbox = Some(outbox);
        }
        self.outbound.settle(&mut self.counted);
    }

    fn acknowledge(&mut self, id: PacketId, number: u32) {
        match self.owed.remove(&number).unwrap().qos {
            QoS::ExactlyOnce => {
                assert!(self.outbound.handle_pubrec(id) && self.outbound.handle_pubcomp(id));
            }
            _ => assert!(self.outbound.handle_puback(id)),
        }
    }

    fn deliver(&mut self, qos: QoS, expiry: Option<u32>) {
        self.delivered += 1;
        let number = self.delivered;
        let list = expiry.map(Property::MessageExpiryInterval);
        let properties = properties(list.as_slice());
        let payload = number.to_be_bytes();
        let mut content = content("t", &payload, qos).with(properties.as_properties(), self.now);
        let outcome =
            self.outbound.deliver(&content, &Manner::at(qos), self.outbox.as_mut(), &LIMITS, self.now);
        if qos > QoS::AtMostOnce && outcome != Outcome::Dropped {
            self.owed.insert(number, Owed { qos, since: self.now, expiry, id: None });
        }
        content.settle(&mut self.counted);
    }

    fn read(&mut self, bytes: &[u8]) {
        for packet in packets(bytes) {
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
            let Some(id) = publish.delivery.packet_id() else { continue };
            assert!(self.has.len() < self.receive_maximum, "{publish:?} exceeds Receive Maximum");
            // In order: nothing that is owed and was not sent over this connection stands before it.
            let now = self.now;
            let skipped = self.owed.range(..number).find(|(number, owed)| {
                let is_here = self.has.iter().any(|(_, has)| has == *number);
                !is_here
                    && (owed.id.is_some() || !owed.is_expired(now))
                    && self.has.back().is_none_or(|(_, last)| *number > last)
            });
            assert!(skipped.is_none(), "{skipped:?} before {publish:?}");
            let owed = self.owed.get_mut(&number).unwrap_or_else(|| panic!("{publish:?} is not owed"));
            assert_eq!((publish.delivery.qos(), publish.dup), (owed.qos, owed.id.is_some()));
            assert!(owed.id.is_none_or(|known| known == id));
            let waited = u32::try_from((now - owed.since).as_secs()).unwrap();
            assert_eq!(expiry(&publish), owed.expiry.map(|seconds| seconds.saturating_sub(waited)));
            // An interval of 0 is over at once, and so is what may take it.
            assert!(
                owed.id.is_some() || !owed.is_expired(now) || owed.since == now,
                "{publish:?} has expired"
            );
            owed.id = Some(id);
            self.has.push_back((id, number));
        }
    }

    /// The client comes back, and acknowledges until nothing comes any more.
    fn finish(&mut self) {
        self.act(Step::Return(2), true);
        while !self.has.is_empty() {
            self.act(Step::Acknowledge(0), true);
        }
        let now = self.now;
        self.owed.retain(|_, owed| owed.id.is_some() || !owed.is_expired(now));
        assert!(self.owed.is_empty(), "never came: {:?}", self.owed);
        self.outbound.settle(&mut self.counted);
        assert_eq!(
            (self.outbound.in_flight(), self.outbound.queued(), self.outbound.queued_bytes()),
            (0, 0, 0)
        );
        assert_eq!((self.counted.kept_messages, self.counted.kept_bytes, self.counted.memory), (0, 0, 0));
    }
}

/// A message on one of a few topics, and what is done before it.
#[derive(Clone, Copy, Debug)]
struct Sending {
    topic: usize,
    qos: QoS,
    payload_len: usize,
    sheds: bool,
    drains: bool,
}

fn sending() -> impl Strategy<Value = Sending> {
    let qos = select(&[QoS::AtMostOnce, QoS::AtMostOnce, QoS::AtLeastOnce][..]);
    let payload_len = select(&[1, 1, 30, 9000][..]);
    (0..TOPICS.len(), qos, payload_len, proptest::bool::weighted(0.2), proptest::bool::weighted(0.2))
        .prop_map(|(topic, qos, payload_len, sheds, drains)| Sending {
            topic,
            qos,
            payload_len,
            sheds,
            drains,
        })
}

const TOPICS: [&str; 5] =
    ["short", "a topic of some length", "another topic", "one more topic", "sensors/7/temperature"];

/// Reads, as a client with topic aliases does. Each payload's first byte is the number of its topic.
fn follow(bytes: &[u8], known: &mut BTreeMap<NonZeroU16, String>, maximum: u16) -> usize {
    let packets = packets(bytes);
    for packet in &packets {
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        let alias = alias(publish);
        assert!(alias.is_none_or(|alias| alias.get() <= maximum), "{publish:?}");
        let topic = match (publish.topic, alias) {
            (Some(topic), None) => topic.to_string(),
            (Some(topic), Some(alias)) => {
                known.insert(alias, topic.to_string());
                topic.to_string()
            }
            (None, Some(alias)) => known.get(&alias).expect("an alias that the client was told").clone(),
            (None, None) => panic!("{publish:?}"),
        };
        assert_eq!(topic, TOPICS[usize::from(publish.payload[0])]);
    }
    packets.len()
}

proptest! {
    #[test]
    fn a_client_gets_what_it_is_owed_within_its_receive_maximum(steps in vec((step(), any::<bool>()), 1..80)) {
        let mut client = Client {
            outbound: Outbound::default(),
            outbox: None,
            receive_maximum: 0,
            now: Instant::now(),
            owed: BTreeMap::new(),
            has: VecDeque::new(),
            delivered: 0,
            counted: Tally::default(),
        };
        steps.into_iter().for_each(|(step, looks)| client.act(step, looks));
        client.finish();
    }

    #[test]
    fn a_client_can_tell_every_topic_by_its_alias(sendings in vec(sending(), 1..100), maximum in 0..4_u16) {
        let mut outbox = Outbox::new(&Terms { topic_alias_maximum: maximum, ..terms(10) });
        let (mut known, mut sent, mut read) = (BTreeMap::new(), 0, 0);
        for Sending { topic, qos, payload_len, sheds, drains } in sendings {
            if sheds {
                sent -= outbox.shed(100);
            }
            if drains {
                read += follow(&drain(&mut outbox), &mut known, maximum);
            }
            let payload = vec![topic as u8; payload_len];
            let content = content(TOPICS[topic], &payload, qos);
            let delivery = match qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                _ => Delivery::AtLeastOnce(PacketId::MIN),
            };
            let before = outbox.bytes();
            let bytes = outbox.publish(false, delivery, &Manner::at(qos), &content, Instant::now());
            prop_assert_eq!(bytes, Some(outbox.bytes() - before));
            sent += 1;
        }
        read += follow(&drain(&mut outbox), &mut known, maximum);
        prop_assert_eq!(read, sent);
    }
}

/// Each topic has a note of its own, and many subscriptions may match it.
#[test]
fn subscription_identifiers_that_wait_with_a_message_are_accounted_for() {
    let subscription_ids: Box<[_]> = (1..=10_000).filter_map(NonZeroU32::new).collect();
    let bytes = size_of_val(subscription_ids.as_ref());
    let note = Some(Arc::new(Note { subscription_ids, share: None }));
    let manner = Manner { note, ..Manner::at(QoS::AtLeastOnce) };
    let (mut session, mut tally) = (Session::default(), Tally::default());
    let limits = OutboundLimits { queued_bytes: 5 * bytes, queued_messages: 1000, ..LIMITS };
    let mut deliver = |session: &mut Session| {
        let content = content("t", b"x", QoS::AtLeastOnce);
        let outcome = session.deliver(&content, &manner, &limits, Instant::now());
        session.settle(&mut tally);
        (outcome, usize::try_from(tally.memory).unwrap())
    };
    let outcomes: Vec<_> = (0..5).map(|_| deliver(&mut session)).collect();
    assert_eq!(outcomes[3].0, Outcome::Queued);
    assert!(outcomes[3].1 > 4 * bytes, "{outcomes:?}");
    assert_eq!(outcomes[4].0, Outcome::Dropped);

    session.link = Some(Link::new(1, terms(9), None));
    let Session { outbound, link, .. } = &mut session;
    outbound.poll_queue(&mut link.as_mut().unwrap().outbox, &limits, Instant::now());
    assert_eq!((outbound.in_flight(), outbound.queued()), (4, 0));
    assert!(outbound.own_bytes() > 4 * bytes && outbound.held_bytes() > 4 * bytes);
    for id in 1..=4 {
        assert!(outbound.handle_puback(PacketId::new(id).unwrap()));
    }
    assert_eq!((outbound.own_bytes(), outbound.held_bytes()), (0, 0));
}

#[test]
fn large_user_properties_are_shared_as_large_payloads_are() {
    let text = "x".repeat(60_000);
    let large = properties(&[Property::UserProperty("name", &text), Property::UserProperty("other", &text)]);
    let small = properties(&[Property::ContentType("text")]);
    let (alone, with_payload) = (vec![7; 20_000], b"x");
    for (list, payload) in [(&large, &with_payload[..]), (&large, b""), (&large, &alone), (&small, &alone)] {
        let message = content("t", payload, QoS::AtMostOnce).with(list.as_properties(), Instant::now());
        let (mut outbox, mut one, mut other) = (Outbox::new(&terms(9)), Vec::new(), Outbox::new(&terms(9)));
        let publish = |outbox: &mut Outbox, qos, delivery| {
            outbox.publish(false, delivery, &Manner::at(qos), &message, Instant::now()).unwrap();
        };
        let at_least_once = Delivery::AtLeastOnce(PacketId::MIN);
        publish(&mut other, QoS::AtLeastOnce, at_least_once);
        one.extend(drain(&mut other));
        publish(&mut outbox, QoS::AtMostOnce, Delivery::AtMostOnce);
        publish(&mut outbox, QoS::AtLeastOnce, at_least_once);
        assert!(outbox.own_bytes() < 1000, "{}", outbox.own_bytes());

        assert_eq!(outbox.shed(one.len()), 1);
        assert_eq!(outbox.bytes(), one.len());
        let bytes = drain(&mut outbox);
        assert_eq!(bytes, one);
        let [Packet::Publish(publish)] = packets(&bytes)[..] else { panic!("not one PUBLISH") };
        assert_eq!((publish.properties, publish.payload), (list.as_properties(), payload));
    }
}
