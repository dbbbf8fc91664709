//! The codec as a whole, on packets and bytes of all sorts; and what the tests of each packet share.

mod properties;

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
    assert_eq!((Version::V31.to_string(), Version::V311.to_string()), ("3.1".into(), "3.1.1".into()));
}

proptest! {
    #[test]
    fn what_was_encoded_decodes(version in version(), packet in packet(), behind in vec(any::<u8>(), 0..4)) {
        let packet = as_of(version, packet);
        let mut bytes = encoded(version, &packet);
        let length = bytes.len();
        bytes.extend(behind);
        prop_assert_eq!(decode(&bytes, Some(version), length), Ok(Decoded::Packet { packet, length }));
    }

    #[test]
    fn every_beginning_of_a_packet_is_incomplete(packet in packet()) {
        let bytes = encoded(Version::V311, &packet);
        for cut in 0..bytes.len() {
            let decoded = decode(&bytes[..cut], None, bytes.len());
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
    fn damaged_packets(packet in packet(), damages in vec(damage(), 1..4)) {
        let mut bytes = encoded(Version::V311, &packet);
        for damage in damages {
            damage.apply(&mut bytes);
        }
        check_any(&bytes)?;
    }

    #[test]
    fn cuts_of_a_stream_mean_nothing(packets in vec(packet(), 1..8), cuts in vec(any::<Index>(), 0..16)) {
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encoded(Version::V311, packet)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();

        let mut expected = packets.iter();
        let mut start = 0;
        for cut in cuts {
            let next = |start| decode(&stream[start..cut], None, stream.len()).unwrap();
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
    for version in [Version::V31, Version::V311] {
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
            Err(error) => prop_assert!(!error.to_string().is_empty()),
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
    match packet {
        Packet::Connack(connack) if version == Version::V31 => {
            Packet::Connack(Connack { session_present: false, ..connack })
        }
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

fn packet() -> impl Strategy<Value = Packet<'static>> {
    prop_oneof![
        connect().prop_map(Packet::Connect),
        connack().prop_map(Packet::Connack),
        publish().prop_map(Packet::Publish),
        ack().prop_map(Packet::Puback),
        ack().prop_map(Packet::Pubrec),
        ack().prop_map(Packet::Pubrel),
        ack().prop_map(Packet::Pubcomp),
        (packet_id(), vec((any_filter(), qos()), 1..5))
            .prop_map(|(id, filters)| Packet::Subscribe(Subscribe::new(id, filters))),
        (packet_id(), vec(subscribe_code(), 1..5)).prop_map(|(packet_id, codes)| Packet::Suback(Suback {
            codes: codes.into(),
            ..Suback::new(packet_id, &[])
        })),
        (packet_id(), vec(any_filter(), 1..5))
            .prop_map(|(id, filters)| Packet::Unsubscribe(Unsubscribe::new(id, filters))),
        packet_id().prop_map(|id| Packet::Unsuback(Unsuback::new(id, &[]))),
        Just(Packet::Pingreq),
        Just(Packet::Pingresp),
        Just(Packet::Disconnect(Disconnect::default())),
    ]
}

fn connect() -> impl Strategy<Value = Connect<'static>> {
    let will = (any_name(), bytes(), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| Will {
        topic,
        payload,
        qos,
        retain,
        properties: Properties::EMPTY,
    });
    let login = (string("[^\0]{0,40}"), proptest::option::of(bytes()));
    (
        (version(), any::<bool>(), any::<u16>()),
        string("[^\0]{1,40}"),
        proptest::option::of(will),
        proptest::option::of(login),
        any::<bool>(),
    )
        .prop_map(|((version, clean_session, keep_alive), client_id, will, login, named)| Connect {
            version,
            clean_session,
            keep_alive,
            client_id: if version == Version::V311 && clean_session && !named { "" } else { client_id },
            will,
            user_name: login.map(|(user_name, _)| user_name),
            password: login.and_then(|(_, password)| password),
            properties: Properties::EMPTY,
        })
}

fn connack() -> impl Strategy<Value = Connack<'static>> {
    let code = prop_oneof![
        Just(Reason::UnsupportedProtocolVersion),
        Just(Reason::ClientIdentifierNotValid),
        Just(Reason::ServerUnavailable),
        Just(Reason::BadUserNameOrPassword),
        Just(Reason::NotAuthorized),
    ];
    prop_oneof![
        any::<bool>().prop_map(|session_present| Connack::new(session_present, Reason::Success)),
        code.prop_map(|code| Connack::new(false, code)),
    ]
}

fn publish() -> impl Strategy<Value = Publish<'static>> {
    let delivery = prop_oneof![
        Just((false, Delivery::AtMostOnce)),
        (any::<bool>(), packet_id()).prop_map(|(dup, id)| (dup, Delivery::AtLeastOnce(id))),
        (any::<bool>(), packet_id()).prop_map(|(dup, id)| (dup, Delivery::ExactlyOnce(id))),
    ];
    (delivery, any::<bool>(), any_name(), bytes()).prop_map(|((dup, delivery), retain, topic, payload)| {
        Publish { dup, retain, ..Publish::new(topic, delivery, payload) }
    })
}

fn ack() -> impl Strategy<Value = Ack<'static>> {
    packet_id().prop_map(Ack::new)
}

fn subscribe_code() -> impl Strategy<Value = SubscribeCode> {
    prop_oneof![qos().prop_map(SubscribeCode::Granted), Just(SubscribeCode::Refused(Reason::Unspecified))]
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311)]
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
