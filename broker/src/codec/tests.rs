//! The codec as a whole, on packets and bytes of all sorts; and what the tests of each packet share.

mod properties;

use std::num::NonZeroU32;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::topic::{Filter, Name};

/// Asserts that `packet` and `bytes` are each other's encoding.
pub(super) fn assert_both_ways(version: Version, packet: &Packet<'_>, bytes: &[u8]) {
    assert_eq!(encoded(version, packet), bytes);
    let decoded = decode(bytes, Some(version), MAX_PACKET_BYTES);
    assert_eq!(decoded, Ok(Decoded::Packet { packet: packet.clone(), length: bytes.len() }));
}

pub(super) fn encoded(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out).unwrap();
    out
}

/// What decoding `bytes` as 3.1.1 complains about.
pub(super) fn error(bytes: &[u8]) -> Error {
    decode(bytes, None, MAX_PACKET_BYTES).unwrap_err()
}

/// What decoding `bytes` as 5.0 complains about.
pub(super) fn error_in_5(bytes: &[u8]) -> Error {
    decode(bytes, Some(Version::V5), MAX_PACKET_BYTES).unwrap_err()
}

/// A packet of `first` byte and `body`.
pub(super) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    fixed_header::put_remaining_length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(super) fn name(name: &str) -> Name<'_> {
    Name::new(name).unwrap()
}

pub(super) fn filter(filter: &str) -> Filter<'_> {
    Filter::new(filter).unwrap()
}

#[test]
fn limit_counts_the_whole_packet_and_needs_only_its_fixed_header() {
    let packet = frame(0x30, &[0, 1, b'a', 1, 2, 3]);
    let Ok(Decoded::Packet { length: 8, .. }) = decode(&packet, None, 8) else {
        panic!("a packet of just the limit is refused");
    };
    let too_large = Error::PacketTooLarge { length: 8, limit: 7 };
    assert_eq!(decode(&packet[..2], None, 7), Err(too_large.clone()));
    assert_eq!(too_large.to_string(), "packet of 8 bytes, the limit is 7");
    let most = decode(&[0x30, 0xff, 0xff, 0xff, 0x7f], None, MAX_PACKET_BYTES);
    assert_eq!(most, Ok(Decoded::Incomplete { needed: MAX_REMAINING_LENGTH }));
}

#[test]
fn only_three_errors_are_answered_by_connack() {
    assert_eq!(Error::ProtocolLevel(5).refusal(), Some(Reason::UnsupportedProtocolVersion));
    assert_eq!(Error::EmptyClientId.refusal(), Some(Reason::ClientIdentifierNotValid));
    assert_eq!(Error::EmptyClientIdV31.refusal(), Some(Reason::ClientIdentifierNotValid));
    assert_eq!(Error::ProtocolName.refusal(), None);
    assert_eq!(Error::PasswordWithoutUserName.refusal(), None);
}

#[test]
fn errors_have_the_reason_that_the_standard_gives() {
    let packet = PacketType::Publish;
    let carrier = Carrier::Packet(packet);
    let name = "topic alias maximum";
    for (error, reason) in [
        (Error::ReservedPacketType(0), Reason::MalformedPacket),
        (Error::RemainingLength, Reason::MalformedPacket),
        (Error::Utf8 { field: "client identifier" }, Reason::MalformedPacket),
        (Error::PublishQos3, Reason::MalformedPacket),
        (Error::UnknownProperty { carrier, id: 0 }, Reason::MalformedPacket),
        (Error::MisplacedProperty { carrier, name }, Reason::MalformedPacket),
        (Error::ReservedSubscriptionOptions(0x40), Reason::MalformedPacket),
        (Error::RepeatedProperty { carrier, name }, Reason::ProtocolError),
        (Error::PropertyValue { name, value: 2 }, Reason::ProtocolError),
        (Error::PropertyValue { name: "topic alias", value: 0 }, Reason::TopicAliasInvalid),
        (Error::NoTopic, Reason::ProtocolError),
        (Error::RetainHandling3, Reason::ProtocolError),
        (Error::RequestedQos(3), Reason::ProtocolError),
        (Error::NoLocalShared, Reason::ProtocolError),
        (Error::NoFilters { packet }, Reason::ProtocolError),
        (Error::PacketTooLarge { length: 2, limit: 1 }, Reason::PacketTooLarge),
        (Error::ProtocolLevel(6), Reason::UnsupportedProtocolVersion),
        (Error::ProtocolName, Reason::UnsupportedProtocolVersion),
    ] {
        assert_eq!(error.reason(), reason, "{error}");
    }
}

#[test]
fn errors_name_the_rule() {
    assert_eq!(
        error(&[0x80, 0]).to_string(),
        "SUBSCRIBE with fixed header flags 0b0000, must be 0b0010 [MQTT-3.8.1-1]"
    );
    let no_filters = Error::NoFilters { packet: PacketType::Unsubscribe };
    assert_eq!(no_filters.to_string(), "UNSUBSCRIBE without a topic filter [MQTT-3.10.3-2]");
}

#[test]
fn failed_encoding_appends_nothing() {
    let long = "x".repeat(65_536);
    let connect = Packet::Connect(Connect {
        version: Version::V311,
        clean_session: true,
        keep_alive: 0,
        client_id: &long,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    });
    let mut out = vec![7];
    let error = EncodeError::FieldTooLong { field: "client identifier", length: 65_536 };
    assert_eq!(connect.encode(Version::V311, &mut out), Err(error));
    assert_eq!(out, [7]);
}

#[test]
fn numbers_of_qos_and_version() {
    for number in 0..=2 {
        let qos = QoS::try_from(number).unwrap();
        assert_eq!((u8::from(qos), qos.to_string()), (number, number.to_string()));
    }
    assert_eq!(QoS::try_from(3), Err(UnknownQoS(3)));
    assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
    let versions = [Version::V31, Version::V311, Version::V5].map(|version| version.to_string());
    assert_eq!(versions, ["3.1", "3.1.1", "5.0"]);
}

proptest! {
    #[test]
    fn what_was_encoded_decodes((version, packet) in packet_of_a_version(), behind in vec(any::<u8>(), 0..4)) {
        let mut bytes = encoded(version, &packet);
        let length = bytes.len();
        bytes.extend(behind);
        prop_assert_eq!(decode(&bytes, Some(version), length), Ok(Decoded::Packet { packet, length }));
    }

    #[test]
    fn every_beginning_of_a_packet_is_incomplete((version, packet) in packet_of_a_version()) {
        let bytes = encoded(version, &packet);
        for cut in 0..bytes.len() {
            let decoded = decode(&bytes[..cut], Some(version), bytes.len());
            prop_assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{:?}", decoded);
            check_any(&bytes[..cut])?;
        }
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..64)) {
        check_any(&bytes)?;
    }

    #[test]
    fn any_body(first in any::<u8>(), body in vec(prop_oneof![Just(0), 0..8u8, any::<u8>()], 0..64)) {
        check_any(&frame(first, &body))?;
    }

    #[test]
    fn damaged_packets((version, packet) in packet_of_a_version(), damages in vec(damage(), 1..4)) {
        let mut bytes = encoded(version, &packet);
        for damage in damages {
            damage.apply(&mut bytes);
        }
        check_any(&bytes)?;
    }

    #[test]
    fn cuts_of_a_stream_mean_nothing(
        version in version(),
        packets in vec(packet(), 1..8),
        cuts in vec(any::<Index>(), 0..16),
    ) {
        let packets: Vec<_> = packets.into_iter().map(|packet| as_of(version, packet)).collect();
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encoded(version, packet)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();

        let mut expected = packets.iter();
        let mut start = 0;
        for cut in cuts {
            let next = |start| decode(&stream[start..cut], Some(version), stream.len()).unwrap();
            while let Decoded::Packet { packet, length } = next(start) {
                prop_assert_eq!(Some(&packet), expected.next());
                start += length;
            }
        }
        prop_assert_eq!(start, stream.len());
        prop_assert_eq!(expected.next(), None);
    }
}

/// What holds for any bytes: no panic, a needed length that is exact where the remaining length is known and 1
/// where it is not, a packet within the bytes, and packets that mean the same when encoded again.
fn check_any(bytes: &[u8]) -> Result<(), TestCaseError> {
    for version in [Version::V31, Version::V311, Version::V5] {
        match decode(bytes, Some(version), MAX_PACKET_BYTES) {
            Ok(Decoded::Incomplete { needed }) => {
                let needed_by_length = length_by_its_header(bytes).map_or(1, |length| length - bytes.len());
                prop_assert_eq!(needed, needed_by_length);
                prop_assert!(needed >= 1);
            }
            Ok(Decoded::Packet { packet, length }) => {
                prop_assert_eq!(Some(length), length_by_its_header(bytes));
                prop_assert!(length <= bytes.len());
                let packet = as_of(version, packet);
                let again = encoded(version, &packet);
                let length = again.len();
                prop_assert_eq!(
                    decode(&again, Some(version), length),
                    Ok(Decoded::Packet { packet, length })
                );
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                let reason = error.reason();
                let is_connect = bytes.first().is_some_and(|first| first >> 4 == 1);
                let answer = if is_connect { PacketType::Connack } else { PacketType::Disconnect };
                prop_assert!(reason.is_error() && reason.may_stand_in(answer), "{}: {}", error, reason);
            }
        }
    }
    Ok(())
}

/// The length of the first packet as §2.2.3 computes it, if its fixed header is all there.
fn length_by_its_header(bytes: &[u8]) -> Option<usize> {
    let header = 2 + bytes.iter().skip(1).take_while(|&&byte| byte >= 128).count();
    let digits = bytes.get(1..header)?;
    Some(header + digits.iter().rev().fold(0, |length, digit| length * 128 + usize::from(digit % 128)))
}

/// `packet` without what `version` cannot say.
fn as_of(version: Version, packet: Packet<'_>) -> Packet<'_> {
    if version == Version::V5 {
        return packet;
    }
    match packet {
        Packet::Connack(Connack { session_present, reason, .. }) => Packet::Connack(Connack::new(
            session_present && version != Version::V31,
            Reason::of_return_code(reason.return_code()).unwrap(),
        )),
        Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic.or(Name::new("t").ok()),
            properties: Properties::EMPTY,
            ..publish
        }),
        Packet::Puback(ack) => Packet::Puback(Ack::new(ack.packet_id)),
        Packet::Pubrec(ack) => Packet::Pubrec(Ack::new(ack.packet_id)),
        Packet::Pubrel(ack) => Packet::Pubrel(Ack::new(ack.packet_id)),
        Packet::Pubcomp(ack) => Packet::Pubcomp(Ack::new(ack.packet_id)),
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters().map(|(filter, options)| (filter, options.qos));
            Packet::Subscribe(Subscribe::new(subscribe.packet_id, filters.collect()))
        }
        Packet::Suback(suback) => {
            let codes = suback.codes.iter().map(|code| match code {
                SubscribeCode::Granted(_) => *code,
                SubscribeCode::Refused(_) => SubscribeCode::Refused(Reason::Unspecified),
            });
            Packet::Suback(Suback { codes: codes.collect(), ..Suback::new(suback.packet_id, &[]) })
        }
        Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe(Unsubscribe::new(unsubscribe.packet_id, unsubscribe.filters().collect()))
        }
        Packet::Unsuback(unsuback) => Packet::Unsuback(Unsuback::new(unsuback.packet_id, &[])),
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::default()),
        Packet::Auth(_) => Packet::Pingreq,
        packet => packet,
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Damage::Set(at, byte) => *at.get_mut(bytes.as_mut_slice()) = byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), byte),
            Damage::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Damage::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Truncate),
    ]
}

fn packet_of_a_version() -> impl Strategy<Value = (Version, Packet<'static>)> {
    (version(), packet()).prop_map(|(version, packet)| (version, as_of(version, packet)))
}

/// A packet as 5.0 can say it.
fn packet() -> impl Strategy<Value = Packet<'static>> {
    prop_oneof![
        connect().prop_map(Packet::Connect),
        (any::<bool>(), reason(PacketType::Connack), properties(PacketType::Connack)).prop_map(
            |(session_present, reason, properties)| {
                let session_present = session_present && reason == Reason::Success;
                Packet::Connack(Connack { session_present, reason, properties })
            }
        ),
        publish().prop_map(Packet::Publish),
        ack(PacketType::Puback).prop_map(Packet::Puback),
        ack(PacketType::Pubrec).prop_map(Packet::Pubrec),
        ack(PacketType::Pubrel).prop_map(Packet::Pubrel),
        ack(PacketType::Pubcomp).prop_map(Packet::Pubcomp),
        (packet_id(), vec((any_filter(), subscribe_options()), 1..5), properties(PacketType::Subscribe))
            .prop_map(|(id, filters, properties)| {
                let mut subscribe = Subscribe::new(id, filters);
                subscribe.properties = properties;
                Packet::Subscribe(subscribe)
            }),
        (packet_id(), vec(subscribe_code(), 1..5), properties(PacketType::Suback)).prop_map(
            |(packet_id, codes, properties)| {
                Packet::Suback(Suback { packet_id, properties, codes: codes.into() })
            }
        ),
        (packet_id(), vec(any_filter(), 1..5), properties(PacketType::Unsubscribe)).prop_map(
            |(id, filters, properties)| {
                let mut unsubscribe = Unsubscribe::new(id, filters);
                unsubscribe.properties = properties;
                Packet::Unsubscribe(unsubscribe)
            }
        ),
        (packet_id(), vec(reason(PacketType::Unsuback), 1..5), properties(PacketType::Unsuback)).prop_map(
            |(packet_id, codes, properties)| {
                Packet::Unsuback(Unsuback { packet_id, properties, codes: codes.into() })
            }
        ),
        Just(Packet::Pingreq),
        Just(Packet::Pingresp),
        (reason(PacketType::Disconnect), properties(PacketType::Disconnect))
            .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties })),
        (reason(PacketType::Auth), properties(PacketType::Auth))
            .prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties })),
    ]
}

fn connect() -> impl Strategy<Value = Connect<'static>> {
    let will = (any_name(), bytes(), qos(), any::<bool>(), properties_of(Carrier::Will)).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    );
    let user_name = proptest::option::of(string("[^\0]{0,40}"));
    (
        (version(), any::<bool>(), any::<u16>()),
        string("[^\0]{1,40}"),
        proptest::option::of(will),
        (user_name, proptest::option::of(bytes())),
        any::<bool>(),
        properties(PacketType::Connect),
    )
        .prop_map(|((version, clean_session, keep_alive), client_id, will, login, named, properties)| {
            let of_5_0 = |properties| if version == Version::V5 { properties } else { Properties::EMPTY };
            let may_be_nameless = version == Version::V5 || version == Version::V311 && clean_session;
            let (user_name, password) = login;
            Connect {
                version,
                clean_session,
                keep_alive,
                client_id: if may_be_nameless && !named { "" } else { client_id },
                will: will.map(|will| Will { properties: of_5_0(will.properties), ..will }),
                user_name,
                password: password.filter(|_| user_name.is_some() || version == Version::V5),
                properties: of_5_0(properties),
            }
        })
}

fn publish() -> impl Strategy<Value = Publish<'static>> {
    let delivery = prop_oneof![
        Just((false, Delivery::AtMostOnce)),
        (any::<bool>(), packet_id()).prop_map(|(dup, id)| (dup, Delivery::AtLeastOnce(id))),
        (any::<bool>(), packet_id()).prop_map(|(dup, id)| (dup, Delivery::ExactlyOnce(id))),
    ];
    (delivery, any::<(bool, bool)>(), any_name(), properties(PacketType::Publish), bytes()).prop_map(
        |((dup, delivery), (retain, by_alias), topic, properties, payload)| {
            let has_alias = properties.iter().any(|property| matches!(property, Property::TopicAlias(_)));
            let topic = Some(topic).filter(|_| !(by_alias && has_alias));
            Publish { dup, delivery, retain, topic, properties, payload }
        },
    )
}

fn ack(packet: PacketType) -> impl Strategy<Value = Ack<'static>> {
    (packet_id(), reason(packet), properties(packet)).prop_map(|(packet_id, reason, properties)| Ack {
        packet_id,
        reason,
        properties,
    })
}

fn reason(packet: PacketType) -> impl Strategy<Value = Reason> {
    let all = (0..=255).filter_map(|code| Reason::decode(packet, code).ok());
    proptest::sample::select(all.collect::<Vec<_>>())
}

fn subscribe_code() -> impl Strategy<Value = SubscribeCode> {
    reason(PacketType::Suback).prop_map(|reason| match QoS::try_from(u8::from(reason)) {
        Ok(qos) => SubscribeCode::Granted(qos),
        Err(_) => SubscribeCode::Refused(reason),
    })
}

fn subscribe_options() -> impl Strategy<Value = SubscribeOptions> {
    let retain_handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (qos(), any::<(bool, bool)>(), retain_handling).prop_map(
        |(qos, (no_local, retain_as_published), retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![1 => Just(Version::V31), 1 => Just(Version::V311), 2 => Just(Version::V5)]
}

fn properties(packet: PacketType) -> impl Strategy<Value = Properties<'static>> {
    properties_of(Carrier::Packet(packet))
}

/// As many of some properties as may stand together.
fn properties_of(carrier: Carrier) -> impl Strategy<Value = Properties<'static>> {
    vec(property(), 0..12).prop_map(move |properties| {
        let mut fit = PropertiesBuf::new();
        if carrier == Carrier::Packet(PacketType::Auth) {
            fit.push(Property::AuthenticationMethod("method")).unwrap();
        }
        for property in properties {
            let mut more = fit.clone();
            more.push(property).unwrap();
            if more.as_properties().check(carrier).is_ok() {
                fit = more;
            }
        }
        Box::leak(Box::new(fit)).as_properties()
    })
}

fn property() -> impl Strategy<Value = Property<'static>> {
    let id = (1..=268_435_455_u32).prop_map(|id| NonZeroU32::new(id).unwrap());
    let text = || string("[^\0]{0,20}");
    prop_oneof![
        any::<bool>().prop_map(Property::PayloadFormatIndicator),
        any::<u32>().prop_map(Property::MessageExpiryInterval),
        text().prop_map(Property::ContentType),
        any_name().prop_map(Property::ResponseTopic),
        bytes().prop_map(Property::CorrelationData),
        id.prop_map(Property::SubscriptionIdentifier),
        any::<u32>().prop_map(Property::SessionExpiryInterval),
        text().prop_map(Property::AssignedClientIdentifier),
        any::<u16>().prop_map(Property::ServerKeepAlive),
        text().prop_map(Property::AuthenticationMethod),
        bytes().prop_map(Property::AuthenticationData),
        any::<bool>().prop_map(Property::RequestProblemInformation),
        any::<u32>().prop_map(Property::WillDelayInterval),
        any::<bool>().prop_map(Property::RequestResponseInformation),
        text().prop_map(Property::ResponseInformation),
        text().prop_map(Property::ServerReference),
        text().prop_map(Property::ReasonString),
        any::<NonZeroU16>().prop_map(Property::ReceiveMaximum),
        any::<u16>().prop_map(Property::TopicAliasMaximum),
        any::<NonZeroU16>().prop_map(Property::TopicAlias),
        prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)].prop_map(Property::MaximumQos),
        any::<bool>().prop_map(Property::RetainAvailable),
        (text(), text()).prop_map(|(name, value)| Property::UserProperty(name, value)),
        any::<NonZeroU32>().prop_map(Property::MaximumPacketSize),
        any::<bool>().prop_map(Property::WildcardSubscriptionAvailable),
        any::<bool>().prop_map(Property::SubscriptionIdentifiersAvailable),
        any::<bool>().prop_map(Property::SharedSubscriptionAvailable),
    ]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(id)
}

// Packets borrow, and strategies own nothing to borrow from: what follows is leaked.

fn any_name() -> impl Strategy<Value = Name<'static>> {
    "[^+#\0]{1,60}".prop_map(|topic| name(topic.leak()))
}

fn any_filter() -> impl Strategy<Value = Filter<'static>> {
    let level = prop_oneof![Just("+".to_owned()), "[^+#/\0]{1,12}"];
    (vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, all_below)| {
        if all_below {
            levels.push("#".to_owned());
        }
        filter(levels.join("/").leak())
    })
}

fn string(pattern: &'static str) -> impl Strategy<Value = &'static str> {
    pattern.prop_map(|string| &*string.leak())
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..200).prop_map(|bytes| &*bytes.leak())
}
