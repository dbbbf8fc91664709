//! PUBLISH (§3.3), written by hand: nearly all that a broker reads and writes is this packet.

use super::fixed_header::{put_remaining_length, remaining_length_len};
use super::primitive::check_remaining_length;
use super::{
    Carrier, EncodeError, Error, PacketId, PacketType, Properties, Property, PublishProperties, QoS, Version,
};
use crate::topic::Name;

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

/// A message on its way, from a client or to one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Whether this may be a repeat; never at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// The QoS with what belongs to it.
    pub delivery: Delivery,
    /// To a server: keep this message. From a server: this was kept.
    pub retain: bool,
    /// Where to; `None` in 5.0 alone, where a topic alias says it.
    pub topic: Option<Name<'a>>,
    /// None before 5.0.
    pub properties: Properties<'a>,
    /// The application message.
    pub payload: &'a [u8],
}

/// A QoS, and the packet identifier where it has one [MQTT-2.3.1-1] [MQTT-2.3.1-5].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1, answered by PUBACK.
    AtLeastOnce(PacketId),
    /// QoS 2, answered by PUBREC.
    ExactlyOnce(PacketId),
}

impl Delivery {
    /// The QoS.
    pub fn qos(self) -> QoS {
        match self {
            Delivery::AtMostOnce => QoS::AtMostOnce,
            Delivery::AtLeastOnce(_) => QoS::AtLeastOnce,
            Delivery::ExactlyOnce(_) => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier; `None` at QoS 0.
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) | Delivery::ExactlyOnce(id) => Some(id),
        }
    }
}

/// Appends a PUBLISH: without `properties` one of 3.1 and 3.1.1, with them one of 5.0. At QoS 0 `dup` is ignored
/// [MQTT-3.3.1-2]. The `topic` is a [`Name`]'s bytes; without any there must be a topic alias.
///
/// The packet must fit: [`encoded_publish_len`] of it is at most
/// [`MAX_PACKET_BYTES`](super::MAX_PACKET_BYTES). A message that came in a packet does, and so does a will.
#[inline]
pub fn encode_publish(
    out: &mut Vec<u8>,
    dup: bool,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    properties: Option<&PublishProperties<'_>>,
    payload: &[u8],
) {
    out.reserve(encoded_publish_len(delivery.qos(), topic.len(), properties, payload.len()));
    encode_publish_header(out, dup, delivery, retain, topic, properties, payload.len());
    if let Some(PublishProperties { forwarded, .. }) = properties {
        out.extend_from_slice(forwarded.as_bytes());
    }
    out.extend_from_slice(payload);
}

/// Appends a PUBLISH but for the properties that are forwarded and the payload, which must follow in this order: where they
/// are shared, they are written from where they are.
///
/// See [`encode_publish`] for what must hold.
#[inline]
pub fn encode_publish_header(
    out: &mut Vec<u8>,
    dup: bool,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    properties: Option<&PublishProperties<'_>>,
    payload_len: usize,
) {
    let properties_len = properties.map_or(0, PublishProperties::encoded_len);
    put_head(out, dup, delivery, retain, topic, properties_len, payload_len);
    if let Some(properties) = properties {
        properties.put_own(out);
    }
}

/// Appends a PUBLISH up to its properties.
#[inline]
fn put_head(
    out: &mut Vec<u8>,
    dup: bool,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    properties_len: usize,
    payload_len: usize,
) {
    let dup = dup && delivery != Delivery::AtMostOnce;
    let flags = u8::from(dup) << 3 | u8::from(delivery.qos()) << 1 | u8::from(retain);
    out.push(PacketType::Publish.first_byte() | flags);
    put_remaining_length(out, remaining_length(delivery.qos(), topic.len(), properties_len, payload_len));
    // A `Name` is never longer than its length can say.
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic);
    if let Some(id) = delivery.packet_id() {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
}

/// How many bytes a PUBLISH takes, fixed header included.
#[inline]
pub fn encoded_publish_len(
    qos: QoS,
    topic_len: usize,
    properties: Option<&PublishProperties<'_>>,
    payload_len: usize,
) -> usize {
    let properties_len = properties.map_or(0, PublishProperties::encoded_len);
    let remaining = remaining_length(qos, topic_len, properties_len, payload_len);
    remaining.saturating_add(1 + remaining_length_len(remaining))
}

fn remaining_length(qos: QoS, topic_len: usize, properties_len: usize, payload_len: usize) -> usize {
    let packet_id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
    (2 + topic_len + packet_id_len).saturating_add(properties_len).saturating_add(payload_len)
}

fn topic_bytes<'a>(topic: Option<Name<'a>>) -> &'a [u8] {
    topic.map_or(&[], |topic| topic.as_str().as_bytes())
}

/// Checks the flags of a PUBLISH, which can be done before the rest is there.
pub(super) fn check_flags(flags: u8) -> Result<(), Error> {
    match (flags & 0b0110) >> 1 {
        // [MQTT-3.3.1-2]
        0 if flags & DUP != 0 => Err(Error::DupAtQos0),
        // [MQTT-3.3.1-4]
        3 => Err(Error::PublishQos3),
        _ => Ok(()),
    }
}

impl<'a> Publish<'a> {
    /// A PUBLISH without properties, and with DUP and RETAIN 0.
    pub const fn new(topic: Name<'a>, delivery: Delivery, payload: &'a [u8]) -> Self {
        let (topic, properties) = (Some(topic), Properties::EMPTY);
        Self { dup: false, delivery, retain: false, topic, properties, payload }
    }

    /// Whether the `packet`, which it was decoded from, is what [`encode_publish`] makes of its topic and payload at QoS 0
    /// with RETAIN 0 and no properties: then it can go on as it came.
    #[inline]
    pub fn is_as_sent(&self, packet: &[u8], version: Version) -> bool {
        let Some(topic) = self.topic else { return false };
        let properties_len = usize::from(version == Version::V5);
        let (topic_len, payload_len) = (topic.as_str().len(), self.payload.len());
        let remaining = remaining_length(QoS::AtMostOnce, topic_len, properties_len, payload_len);
        packet.first() == Some(&PacketType::Publish.first_byte())
            && self.properties.is_empty()
            // In 3.1.1 a remaining length may have more bytes than it needs.
            && packet.len() == 1 + remaining_length_len(remaining) + remaining
    }

    /// Decodes a body behind `flags` that [`check_flags`] let through. `known` is a topic that may come again.
    // Inlined, it writes the packet where it goes: a third fewer instructions for a small PUBLISH.
    #[inline(always)]
    pub(super) fn decode(
        known: Option<Name<'a>>,
        flags: u8,
        version: Version,
        body: &'a [u8],
    ) -> Result<Self, Error> {
        const TRUNCATED: Error = Error::Truncated { packet: PacketType::Publish };

        let (topic_len, body) = body.split_first_chunk().ok_or(TRUNCATED)?;
        let topic_len = usize::from(u16::from_be_bytes(*topic_len));
        let (topic, body) = body.split_at_checked(topic_len).ok_or(TRUNCATED)?;
        let topic = if version == Version::V5 && topic.is_empty() {
            None
        } else {
            // [MQTT-3.3.2-1] [MQTT-3.3.2-2], unless that was checked before.
            match known.filter(|known| known.as_str().as_bytes() == topic) {
                Some(known) => Some(known),
                None => Some(
                    Name::from_bytes(topic)
                        .map_err(|error| Error::Name { packet: PacketType::Publish, error })?,
                ),
            }
        };
        let packet_id = || {
            let (id, payload) = body.split_first_chunk().ok_or(TRUNCATED)?;
            // [MQTT-2.3.1-1]
            let id = PacketId::new(u16::from_be_bytes(*id))
                .ok_or(Error::ZeroPacketId { packet: PacketType::Publish })?;
            Ok((id, payload))
        };
        let (delivery, payload) = match (flags & 0b0110) >> 1 {
            // [MQTT-2.3.1-5]
            0 => (Delivery::AtMostOnce, body),
            1 => packet_id().map(|(id, payload)| (Delivery::AtLeastOnce(id), payload))?,
            2 => packet_id().map(|(id, payload)| (Delivery::ExactlyOnce(id), payload))?,
            _ => return Err(Error::PublishQos3),
        };
        let (properties, payload) = match version {
            Version::V5 => decode_properties(topic.is_some(), payload)?,
            Version::V31 | Version::V311 => (Properties::EMPTY, payload),
        };
        Ok(Self { dup: flags & DUP != 0, delivery, retain: flags & RETAIN != 0, topic, properties, payload })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let &Self { dup, delivery, retain, topic, properties, payload } = self;
        if dup && delivery == Delivery::AtMostOnce {
            return Err(Error::DupAtQos0.into());
        }
        let mut encoded = Vec::new();
        properties.put(version, CARRIER, &mut encoded)?;
        if topic.is_none() && (version != Version::V5 || !has_alias(properties)) {
            return Err(Error::NoTopic.into());
        }
        let topic = topic_bytes(topic);
        let remaining = remaining_length(delivery.qos(), topic.len(), encoded.len(), payload.len());
        check_remaining_length(PacketType::Publish, remaining)?;
        put_head(out, dup, delivery, retain, topic, encoded.len(), payload.len());
        out.extend_from_slice(&encoded);
        out.extend_from_slice(payload);
        Ok(())
    }
}

const CARRIER: Carrier = Carrier::Packet(PacketType::Publish);

#[inline]
fn decode_properties(has_topic: bool, body: &[u8]) -> Result<(Properties<'_>, &[u8]), Error> {
    let (properties, payload) = Properties::split(CARRIER, body)?;
    if !has_topic && !has_alias(properties) {
        return Err(Error::NoTopic);
    }
    Ok((properties, payload))
}

fn has_alias(properties: Properties<'_>) -> bool {
    properties.iter().any(|property| matches!(property, Property::TopicAlias(_)))
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use super::super::tests::{assert_both_ways, encoded, error, error_in_5, frame, id, name};
    use super::super::{Decoded, MAX_REMAINING_LENGTH, Packet, PropertiesBuf, decode, decode_after};
    use super::*;

    const PACKET: PacketType = PacketType::Publish;

    fn publish(dup: bool, delivery: Delivery, retain: bool) -> Packet<'static> {
        Packet::Publish(Publish {
            dup,
            delivery,
            retain,
            topic: Some(name("a/b")),
            properties: Properties::EMPTY,
            payload: b"hi",
        })
    }

    #[test]
    fn bytes_at_each_qos() {
        let at_most_once = publish(false, Delivery::AtMostOnce, false);
        assert_both_ways(Version::V311, &at_most_once, b"\x30\x07\0\x03a/bhi");
        let at_least_once = publish(true, Delivery::AtLeastOnce(id(0x0102)), false);
        assert_both_ways(Version::V311, &at_least_once, b"\x3a\x09\0\x03a/b\x01\x02hi");
        let exactly_once = publish(false, Delivery::ExactlyOnce(id(0xffff)), true);
        assert_both_ways(Version::V31, &exactly_once, b"\x35\x09\0\x03a/b\xff\xffhi");
    }

    #[test]
    fn empty_payload() {
        let publish = |delivery| {
            Packet::Publish(Publish {
                dup: false,
                delivery,
                retain: true,
                topic: Some(name("a")),
                properties: Properties::EMPTY,
                payload: b"",
            })
        };
        assert_both_ways(Version::V311, &publish(Delivery::AtMostOnce), b"\x31\x03\0\x01a");
        assert_both_ways(Version::V311, &publish(Delivery::AtLeastOnce(id(1))), b"\x33\x05\0\x01a\0\x01");
    }

    #[test]
    fn flags() {
        for flags in [0b0110, 0b0111, 0b1110, 0b1111] {
            assert_eq!(error(&frame(0x30 | flags, b"\0\x01a\0\x01")), Error::PublishQos3);
        }
        for flags in [0b1000, 0b1001] {
            assert_eq!(error(&frame(0x30 | flags, b"\0\x01a")), Error::DupAtQos0);
        }
    }

    #[test]
    fn topic_name() {
        for topic in [&b""[..], b"a/+", b"#", b"a\0", b"\xff", b"\xed\xa0\x80"] {
            let body = [&[0, topic.len() as u8], topic, b"payload"].concat();
            let name_error = Name::from_bytes(topic).unwrap_err();
            assert_eq!(error(&frame(0x30, &body)), Error::Name { packet: PACKET, error: name_error });
        }
        let longest = "x".repeat(65_535);
        let topic = name(&longest);
        let packet = Packet::Publish(Publish::new(topic, Delivery::AtMostOnce, b""));
        let bytes = encoded(Version::V311, &packet);
        assert_both_ways(Version::V311, &packet, &bytes);
    }

    #[test]
    fn a_topic_behind_another_is_checked_unless_it_is_the_same() {
        let known = Some(name("a/b"));
        let after = |bytes: &'static [u8]| decode_after(known, bytes, None, 100);
        assert_eq!(after(b"\x30\x07\0\x03a/bhi"), decode(b"\x30\x07\0\x03a/bhi", None, 100));
        assert_eq!(after(b"\x30\x07\0\x03a/chi"), decode(b"\x30\x07\0\x03a/chi", None, 100));
        assert!(matches!(after(b"\x30\x05\0\x03a/#"), Err(Error::Name { .. })));
        assert!(after(b"\x30\x04\0\x02a/").is_ok(), "a beginning of it is another");
    }

    #[test]
    fn some_go_on_as_they_came() {
        let is_as_sent = |version, bytes: &[u8]| match decode(bytes, Some(version), 100) {
            Ok(Decoded::Packet { packet: Packet::Publish(publish), length: _ }) => {
                publish.is_as_sent(bytes, version)
            }
            other => panic!("{other:?}"),
        };
        assert!(is_as_sent(Version::V311, b"\x30\x05\0\x01ahi"));
        assert!(is_as_sent(Version::V5, b"\x30\x06\0\x01a\0hi"));
        for with_more in [&b"\x31\x05\0\x01ahi"[..], b"\x32\x07\0\x01a\0\x09hi", b"\x30\x85\0\0\x01ahi"] {
            assert!(!is_as_sent(Version::V31, with_more), "{with_more:?}");
        }
        assert!(!is_as_sent(Version::V5, b"\x30\x08\0\x01a\x02\x01\0hi"), "a property");
        assert!(!is_as_sent(Version::V5, b"\x30\x08\0\0\x03\x23\0\x01hi"), "an alias");
    }

    #[test]
    fn fields_that_run_past_the_end() {
        for body in [&b""[..], b"\0", b"\0\x02a"] {
            assert_eq!(error(&frame(0x30, body)), Error::Truncated { packet: PACKET });
        }
        for body in [&b"\0\x01a"[..], b"\0\x01a\x01"] {
            assert_eq!(error(&frame(0x32, body)), Error::Truncated { packet: PACKET });
            assert_eq!(error(&frame(0x34, body)), Error::Truncated { packet: PACKET });
        }
    }

    #[test]
    fn packet_identifier_is_not_0() {
        assert_eq!(error(&frame(0x32, b"\0\x01a\0\0")), Error::ZeroPacketId { packet: PACKET });
        assert_eq!(error(&frame(0x34, b"\0\x01a\0\0")), Error::ZeroPacketId { packet: PACKET });
        let no_identifier = decode(b"\x30\x05\0\x01a\0\0", None, 100);
        assert!(no_identifier.is_ok(), "at QoS 0, what follows the topic is payload");
    }

    #[test]
    fn length_is_told_beforehand() {
        for (delivery, overhead) in [(Delivery::AtMostOnce, 3), (Delivery::AtLeastOnce(id(7)), 5)] {
            for remaining in [overhead, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
                let payload = vec![b'p'; remaining - overhead];
                let mut out = Vec::new();
                encode_publish(&mut out, false, delivery, false, b"a", None, &payload);
                assert_eq!(out.len(), encoded_publish_len(delivery.qos(), 1, None, payload.len()));
                let mut parts = Vec::new();
                encode_publish_header(&mut parts, false, delivery, false, b"a", None, payload.len());
                parts.extend_from_slice(&payload);
                assert_eq!(parts, out);
            }
        }
    }

    #[test]
    fn no_dup_at_qos_0() {
        let mut out = Vec::new();
        encode_publish(&mut out, true, Delivery::AtMostOnce, false, b"a", None, b"");
        assert_eq!(out, b"\x30\x03\0\x01a");
        let error = publish(true, Delivery::AtMostOnce, false).encode(Version::V311, &mut out);
        assert_eq!(error, Err(EncodeError::Forbidden(Error::DupAtQos0)));
    }

    #[test]
    fn payload_that_no_packet_holds() {
        let payload = vec![0; MAX_REMAINING_LENGTH - 2];
        let packet = Packet::Publish(Publish::new(name("a"), Delivery::AtMostOnce, &payload));
        let too_large =
            EncodeError::PacketTooLarge { packet: PACKET, remaining_length: MAX_REMAINING_LENGTH + 1 };
        assert_eq!(packet.encode(Version::V311, &mut Vec::new()), Err(too_large));
        assert_eq!(encoded_publish_len(QoS::AtMostOnce, 1, None, usize::MAX), usize::MAX);
    }

    #[test]
    fn bytes_of_5_0() {
        let publish = Publish::new(name("a"), Delivery::AtMostOnce, b"hi");
        assert_both_ways(Version::V5, &Packet::Publish(publish), b"\x30\x06\0\x01a\0hi");
        let mut properties = PropertiesBuf::new();
        properties.push(Property::TopicAlias(NonZeroU16::MIN)).unwrap();
        let publish = Publish {
            delivery: Delivery::AtLeastOnce(id(9)),
            properties: properties.as_properties(),
            ..publish
        };
        assert_both_ways(Version::V5, &Packet::Publish(publish), b"\x32\x0b\0\x01a\0\x09\x03\x23\0\x01hi");
        let by_alias = Packet::Publish(Publish { topic: None, ..publish });
        assert_both_ways(Version::V5, &by_alias, b"\x32\x0a\0\0\0\x09\x03\x23\0\x01hi");
        let error = by_alias.encode(Version::V311, &mut Vec::new());
        assert_eq!(error, Err(EncodeError::Forbidden(Error::NoTopic)));
    }

    #[test]
    fn topic_or_alias() {
        assert_eq!(error_in_5(b"\x30\x05\0\0\0hi"), Error::NoTopic);
        assert_eq!(error_in_5(b"\x30\x06\0\0\x02\x01\x01x"), Error::NoTopic);
        let alias_0 = Error::PropertyValue { name: "topic alias", value: 0 };
        assert_eq!(error_in_5(b"\x30\x06\0\0\x03\x23\0\0"), alias_0);
        let publish = Publish { topic: None, ..Publish::new(name("a"), Delivery::AtMostOnce, b"") };
        let error = Packet::Publish(publish).encode(Version::V5, &mut Vec::new());
        assert_eq!(error, Err(EncodeError::Forbidden(Error::NoTopic)));
        // A wildcard is refused before what is behind it is looked at.
        assert!(matches!(error_in_5(b"\x30\x03\0\x01#"), Error::Name { .. }));
        assert_eq!(error_in_5(b"\x30\x03\0\x01a"), Error::Truncated { packet: PACKET });
        assert_eq!(error_in_5(b"\x32\x04\0\x01a\0"), Error::Truncated { packet: PACKET });
        assert_eq!(error_in_5(b"\x32\x06\0\x01a\0\0\0"), Error::ZeroPacketId { packet: PACKET });
    }

    #[test]
    fn properties_of_the_server() {
        let mut forwarded = PropertiesBuf::new();
        forwarded.push(Property::UserProperty("n", "v")).unwrap();
        let ids = [1, 127, 128, 268_435_455].map(|id| NonZeroU32::new(id).unwrap());
        let all = PublishProperties {
            topic_alias: NonZeroU16::new(5),
            message_expiry_seconds: Some(0),
            subscription_ids: &ids,
            forwarded: forwarded.as_properties(),
        };
        for properties in [PublishProperties::default(), all] {
            for delivery in [Delivery::AtMostOnce, Delivery::ExactlyOnce(id(3))] {
                let mut out = Vec::new();
                encode_publish(&mut out, false, delivery, true, b"a", Some(&properties), b"pay");
                assert_eq!(out.len(), encoded_publish_len(delivery.qos(), 1, Some(&properties), 3));
                let decoded = decode(&out, Some(Version::V5), out.len());
                let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decoded else {
                    panic!("{decoded:?}");
                };
                let mut expected = PropertiesBuf::new();
                if let Some(alias) = properties.topic_alias {
                    expected.push(Property::TopicAlias(alias)).unwrap();
                }
                if let Some(seconds) = properties.message_expiry_seconds {
                    expected.push(Property::MessageExpiryInterval(seconds)).unwrap();
                }
                for id in properties.subscription_ids {
                    expected.push(Property::SubscriptionIdentifier(*id)).unwrap();
                }
                properties.forwarded.iter().for_each(|property| expected.push(property).unwrap());
                let properties = expected.as_properties();
                let publish_again =
                    Publish { retain: true, properties, ..Publish::new(name("a"), delivery, b"pay") };
                assert_eq!(publish, publish_again);
            }
        }
    }

    #[test]
    fn it_stays_small() {
        assert!(size_of::<Publish<'_>>() <= 56);
    }
}
