//! The table of properties, against one taken from the standard on its own (§2.2.2.2).

use std::num::NonZeroU32;

use super::*;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Flag,
    Two,
    TwoNot0,
    Four,
    FourNot0,
    Variable,
    Text,
    Topic,
    Binary,
    Pair,
}

const WITH_REASON: &str = "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH";
const ALL: &str = "CONNECT CONNACK PUBLISH will PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK \
                   DISCONNECT AUTH";

/// Table 2-4: identifier, type, and where it may be.
const TABLE: [(u8, Kind, &str); 27] = [
    (0x01, Kind::Flag, "PUBLISH will"),
    (0x02, Kind::Four, "PUBLISH will"),
    (0x03, Kind::Text, "PUBLISH will"),
    (0x08, Kind::Topic, "PUBLISH will"),
    (0x09, Kind::Binary, "PUBLISH will"),
    (0x0b, Kind::Variable, "PUBLISH SUBSCRIBE"),
    (0x11, Kind::Four, "CONNECT CONNACK DISCONNECT"),
    (0x12, Kind::Text, "CONNACK"),
    (0x13, Kind::Two, "CONNACK"),
    (0x15, Kind::Text, "CONNECT CONNACK AUTH"),
    (0x16, Kind::Binary, "CONNECT CONNACK AUTH"),
    (0x17, Kind::Flag, "CONNECT"),
    (0x18, Kind::Four, "will"),
    (0x19, Kind::Flag, "CONNECT"),
    (0x1a, Kind::Text, "CONNACK"),
    (0x1c, Kind::Text, "CONNACK DISCONNECT"),
    (0x1f, Kind::Text, WITH_REASON),
    (0x21, Kind::TwoNot0, "CONNECT CONNACK"),
    (0x22, Kind::Two, "CONNECT CONNACK"),
    (0x23, Kind::TwoNot0, "PUBLISH"),
    (0x24, Kind::Flag, "CONNACK"),
    (0x25, Kind::Flag, "CONNACK"),
    (0x26, Kind::Pair, ALL),
    (0x27, Kind::FourNot0, "CONNECT CONNACK"),
    (0x28, Kind::Flag, "CONNACK"),
    (0x29, Kind::Flag, "CONNACK"),
    (0x2a, Kind::Flag, "CONNACK"),
];

const METHOD: &[u8] = &[0x15, 0, 1, b'm'];

fn row(id: u8) -> Option<(Kind, &'static str)> {
    TABLE.iter().find(|row| row.0 == id).map(|&(_, kind, carriers)| (kind, carriers))
}

fn may_have(carriers: &str, carrier: Carrier) -> bool {
    carriers.split_whitespace().any(|name| name == carrier.to_string())
}

fn may_repeat(id: u8, carrier: Carrier) -> bool {
    id == 0x26 || (id == 0x0b && carrier == Carrier::Packet(PacketType::Publish))
}

/// What is wrong with a list of properties.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Wrong {
    Unknown,
    Misplaced,
    Repeated,
    Value,
    Utf8,
    Null,
    NotMinimal,
    TooLong,
    Topic,
    DataAlone,
    NoMethod,
    Truncated,
}

fn wrong(error: &Error) -> Wrong {
    match error {
        Error::UnknownProperty { .. } => Wrong::Unknown,
        Error::MisplacedProperty { .. } => Wrong::Misplaced,
        Error::RepeatedProperty { .. } => Wrong::Repeated,
        Error::PropertyValue { .. } => Wrong::Value,
        Error::Utf8 { .. } => Wrong::Utf8,
        Error::Null { .. } => Wrong::Null,
        Error::NotMinimal { .. } => Wrong::NotMinimal,
        Error::VariableByteInteger { .. } => Wrong::TooLong,
        Error::ResponseTopic(_) => Wrong::Topic,
        Error::AuthenticationDataAlone { .. } => Wrong::DataAlone,
        Error::AuthWithoutMethod => Wrong::NoMethod,
        Error::TruncatedProperty { .. } | Error::Truncated { .. } => Wrong::Truncated,
        other => panic!("{other:?} is no error of properties"),
    }
}

/// Values of a kind: first a good one, and what is wrong with the others.
fn values(kind: Kind) -> Vec<(&'static [u8], Option<Wrong>)> {
    use Wrong::*;
    match kind {
        Kind::Flag => vec![(&[1], None), (&[0], None), (&[2], Some(Value)), (&[255], Some(Value))],
        Kind::Two => vec![(&[0, 5], None), (&[0, 0], None), (&[255, 255], None)],
        Kind::TwoNot0 => vec![(&[0, 5], None), (&[255, 255], None), (&[0, 0], Some(Value))],
        Kind::Four => vec![(&[0, 0, 1, 0], None), (&[0; 4], None), (&[255; 4], None)],
        Kind::FourNot0 => vec![(&[0, 0, 1, 0], None), (&[255; 4], None), (&[0; 4], Some(Value))],
        Kind::Variable => vec![
            (&[0x80, 0x01], None),
            (&[1], None),
            (&[0xff, 0xff, 0xff, 0x7f], None),
            (&[0], Some(Value)),
            (&[0x81, 0x00], Some(NotMinimal)),
            (&[0xff, 0xff, 0xff, 0xff], Some(TooLong)),
        ],
        Kind::Text => vec![
            (&[0, 1, b't'], None),
            (&[0, 0], None),
            (&[0, 3, 0xef, 0xbb, 0xbf], None),
            (&[0, 1, 0xff], Some(Utf8)),
            (&[0, 3, 0xed, 0xa0, 0x80], Some(Utf8)),
            (&[0, 2, b'a', 0], Some(Null)),
        ],
        Kind::Topic => vec![
            (&[0, 3, b'r', b'/', b't'], None),
            (&[0, 0], Some(Topic)),
            (&[0, 1, b'+'], Some(Topic)),
            (&[0, 3, b'a', b'/', b'#'], Some(Topic)),
            (&[0, 1, 0xff], Some(Topic)),
            (&[0, 1, 0], Some(Topic)),
        ],
        Kind::Binary => vec![(&[0, 2, 0, 255], None), (&[0, 0], None)],
        Kind::Pair => vec![
            (&[0, 1, b'n', 0, 1, b'v'], None),
            (&[0, 0, 0, 0], None),
            (&[0, 1, 0xff, 0, 0], Some(Utf8)),
            (&[0, 0, 0, 1, 0xff], Some(Utf8)),
            (&[0, 1, 0, 0, 0], Some(Null)),
            (&[0, 0, 0, 1, 0], Some(Null)),
        ],
    }
}

fn carriers() -> impl Iterator<Item = Carrier> {
    let packets = (1..=15).map(|number| PacketType::parse(number, Version::V5).unwrap());
    let with_properties =
        packets.filter(|packet| !matches!(packet, PacketType::Pingreq | PacketType::Pingresp));
    with_properties.map(Carrier::Packet).chain([Carrier::Will])
}

/// A packet that is good but for, maybe, these properties behind this property length.
fn packet_with(carrier: Carrier, length: &[u8], properties: &[u8]) -> Vec<u8> {
    let properties = [length, properties].concat();
    let Carrier::Packet(packet) = carrier else {
        let parts = [&b"\0\x04MQTT\x05\x06\0\0\0\0\0"[..], &properties, b"\0\x01w\0\0"];
        return frame(0x10, &parts.concat());
    };
    let (before, behind): (&[u8], &[u8]) = match packet {
        PacketType::Connect => (b"\0\x04MQTT\x05\x02\0\0", b"\0\0"),
        PacketType::Connack => (b"\0\0", b""),
        PacketType::Publish => (b"\0\x01t", b""),
        PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
            (b"\0\x01\0", b"")
        }
        PacketType::Subscribe => (b"\0\x01", b"\0\x01f\0"),
        PacketType::Unsubscribe => (b"\0\x01", b"\0\x01f"),
        PacketType::Suback | PacketType::Unsuback => (b"\0\x01", b"\0"),
        PacketType::Disconnect => (b"\0", b""),
        PacketType::Auth => (b"\x18", b""),
        PacketType::Pingreq | PacketType::Pingresp => unreachable!("they have no properties"),
    };
    frame(packet.first_byte(), &[before, &properties, behind].concat())
}

fn carried<'a>(carrier: Carrier, packet: &Packet<'a>) -> Properties<'a> {
    match packet {
        Packet::Connect(connect) if carrier == Carrier::Will => connect.will.unwrap().properties,
        Packet::Connect(connect) => connect.properties,
        Packet::Connack(connack) => connack.properties,
        Packet::Publish(publish) => publish.properties,
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.properties
        }
        Packet::Subscribe(subscribe) => subscribe.properties,
        Packet::Suback(suback) => suback.properties,
        Packet::Unsubscribe(unsubscribe) => unsubscribe.properties,
        Packet::Unsuback(unsuback) => unsuback.properties,
        Packet::Disconnect(disconnect) => disconnect.properties,
        Packet::Auth(auth) => auth.properties,
        Packet::Pingreq | Packet::Pingresp => unreachable!("they have no properties"),
    }
}

/// Decodes a packet with these properties, and gives them when they are right. Then the packet encodes to the same.
fn check(carrier: Carrier, properties: &[u8]) -> Result<Vec<u8>, Wrong> {
    let mut length = Vec::new();
    fixed_header::put_remaining_length(&mut length, properties.len());
    let bytes = packet_with(carrier, &length, properties);
    match decode(&bytes, Some(Version::V5), MAX_PACKET_BYTES) {
        Ok(Decoded::Packet { packet, length }) => {
            assert_eq!(length, bytes.len());
            let carried = carried(carrier, &packet);
            assert_eq!(carried.as_bytes(), properties);
            let again = encoded(Version::V5, &packet);
            assert_eq!(
                decode(&again, Some(Version::V5), length),
                Ok(Decoded::Packet { packet, length: again.len() })
            );
            let mut buffer = PropertiesBuf::new();
            carried.iter().for_each(|property| buffer.push(property).unwrap());
            Ok(buffer.as_properties().as_bytes().to_vec())
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(wrong(&error)),
    }
}

/// What must be there besides, so that nothing else is wrong.
fn besides(carrier: Carrier, id: u8) -> &'static [u8] {
    let is_needed = carrier == Carrier::Packet(PacketType::Auth) || id == 0x16;
    if is_needed && id != 0x15 && row(0x15).is_some_and(|row| may_have(row.1, carrier)) {
        METHOD
    } else {
        &[]
    }
}

#[test]
fn each_property_in_each_packet() {
    for carrier in carriers() {
        for id in 0..=255 {
            let (value, expected) = match row(id) {
                Some((kind, carriers)) if may_have(carriers, carrier) => (values(kind)[0].0, Ok(())),
                Some((kind, _)) => (values(kind)[0].0, Err(Wrong::Misplaced)),
                None => (&[0; 4][..], Err(Wrong::Unknown)),
            };
            let mut properties = besides(carrier, id).to_vec();
            fixed_header::put_remaining_length(&mut properties, id.into());
            properties.extend(value);
            let checked = check(carrier, &properties);
            assert_eq!(checked, expected.map(|()| properties), "{id:#04x} in {carrier}");
        }
    }
}

#[test]
fn each_property_twice() {
    for carrier in carriers() {
        for (id, kind, _) in TABLE.into_iter().filter(|row| may_have(row.2, carrier)) {
            let one = [&[id], values(kind)[0].0].concat();
            let properties = [besides(carrier, id), &one, &one].concat();
            let expected =
                if may_repeat(id, carrier) { Ok(properties.clone()) } else { Err(Wrong::Repeated) };
            assert_eq!(check(carrier, &properties), expected, "{id:#04x} in {carrier}");
        }
    }
}

#[test]
fn each_value_of_each_property() {
    for carrier in carriers() {
        for (id, kind, _) in TABLE.into_iter().filter(|row| may_have(row.2, carrier)) {
            for (value, wrong) in values(kind) {
                let properties = [besides(carrier, id), &[id], value].concat();
                let expected = wrong.map_or(Ok(properties.clone()), Err);
                assert_eq!(check(carrier, &properties), expected, "{id:#04x} {value:?} in {carrier}");
            }
        }
    }
}

#[test]
fn each_property_cut_short() {
    for carrier in carriers() {
        for (id, kind, _) in TABLE.into_iter().filter(|row| may_have(row.2, carrier)) {
            let whole = [&[id], values(kind)[0].0].concat();
            for cut in 1..whole.len() {
                let properties = [besides(carrier, id), &whole[..cut]].concat();
                assert_eq!(check(carrier, &properties), Err(Wrong::Truncated), "{id:#04x} in {carrier}");
            }
        }
        assert_eq!(check(carrier, &[0x80]), Err(Wrong::Truncated), "half an identifier");
        assert_eq!(check(carrier, &[0xa6, 0x00]), Err(Wrong::NotMinimal));
        assert_eq!(check(carrier, &[0xff; 4]), Err(Wrong::TooLong));
    }
}

#[test]
fn property_length() {
    for carrier in carriers() {
        let error = |length: &[u8], properties: &[u8]| {
            let bytes = packet_with(carrier, length, properties);
            wrong(&decode(&bytes, Some(Version::V5), MAX_PACKET_BYTES).unwrap_err())
        };
        let user = b"\x26\0\x01n\0\x01v";
        assert_eq!(error(&[0x87, 0x00], user), Wrong::NotMinimal, "{carrier}");
        assert_eq!(error(&[0x80, 0x00], b""), Wrong::NotMinimal, "{carrier}");
        assert_eq!(error(&[0x80, 0x80, 0x80, 0x80], b""), Wrong::TooLong, "{carrier}");
        assert_eq!(error(&[0xff, 0x7f], user), Wrong::Truncated, "{carrier}");
    }
}

#[test]
fn authentication_data_needs_its_method() {
    for packet in [PacketType::Connect, PacketType::Connack, PacketType::Auth].map(Carrier::Packet) {
        assert_eq!(check(packet, &[0x16, 0, 1, 7]), Err(Wrong::DataAlone));
        let before_its_method = [&[0x16, 0, 1, 7], METHOD].concat();
        assert_eq!(check(packet, &before_its_method), Ok(before_its_method));
    }
    assert_eq!(check(Carrier::Packet(PacketType::Auth), &[]), Err(Wrong::NoMethod));
}

#[test]
fn what_does_not_fit_is_not_pushed() {
    let long = "x".repeat(65_536);
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ReasonString("first")).unwrap();
    let before = properties.clone();
    let too_long = |field| EncodeError::FieldTooLong { field, length: 65_536 };
    let value = |name, value| EncodeError::Forbidden(Error::PropertyValue { name, value });
    let above = NonZeroU32::new(268_435_456).unwrap();
    for (property, error) in [
        (Property::ReasonString(&long), too_long("reason string")),
        (Property::UserProperty("name", &long), too_long("user property")),
        (Property::CorrelationData(long.as_bytes()), too_long("correlation data")),
        (Property::ContentType("\0"), EncodeError::Forbidden(Error::Null { field: "content type" })),
        (Property::MaximumQos(QoS::ExactlyOnce), value("maximum QoS", 2)),
        (Property::SubscriptionIdentifier(above), value("subscription identifier", 268_435_456)),
    ] {
        assert_eq!(properties.push(property), Err(error));
        assert_eq!(properties, before);
    }
    properties.push(Property::AuthenticationData(b"secret")).unwrap();
    assert_eq!(format!("{properties:?}"), "[ReasonString(\"first\"), AuthenticationData(hidden)]");
    properties.clear();
    assert!(properties.is_empty() && properties.as_properties().is_empty());
}

#[test]
fn what_a_packet_may_not_carry_is_not_encoded() {
    let mut properties = PropertiesBuf::new();
    properties.push(Property::TopicAliasMaximum(1)).unwrap();
    let disconnect = Disconnect { reason: Reason::Success, properties: properties.as_properties() };
    let mut out = vec![7];
    let error = Packet::Disconnect(disconnect).encode(Version::V5, &mut out);
    assert!(matches!(error, Err(EncodeError::Forbidden(Error::MisplacedProperty { .. }))), "{error:?}");
    assert_eq!(out, [7]);
    // Before 5.0 there are none, and what is there is not said.
    assert_eq!(encoded(Version::V311, &Packet::Disconnect(disconnect)), [0xe0, 0]);
}

#[test]
fn what_goes_on_unaltered_keeps_its_order() {
    let bytes = b"\x26\0\x01b\0\0\x02\0\0\0\x09\x08\0\x01r\x23\0\x01\x26\0\x01a\0\x01v\x0b\x05\x09\0\x01c\x01\x01\x03\0\x01t";
    let publish = [&b"\x30\0\0\x01t"[..], &[bytes.len() as u8], bytes].concat();
    let publish = frame(0x30, &publish[2..]);
    let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) =
        decode(&publish, Some(Version::V5), 100)
    else {
        panic!("no PUBLISH");
    };
    let mut forwarded = PropertiesBuf::new();
    publish.properties.forwarded(&mut forwarded);
    let properties: Vec<_> = forwarded.as_properties().iter().collect();
    let expected = [
        Property::UserProperty("b", ""),
        Property::ResponseTopic(name("r")),
        Property::UserProperty("a", "v"),
        Property::CorrelationData(b"c"),
        Property::PayloadFormatIndicator(true),
        Property::ContentType("t"),
    ];
    assert_eq!(properties, expected);
}

proptest! {
    /// Good and bad properties in any order: the first that is wrong decides.
    #[test]
    fn lists(carrier in any::<Index>(), items in vec((id_of_item(), any::<Index>()), 0..8)) {
        let carriers: Vec<_> = carriers().collect();
        let carrier = *carrier.get(&carriers);
        let (mut properties, mut seen, mut expected) = (Vec::new(), Vec::new(), None);
        for (id, value) in items {
            properties.push(id);
            let verdict = match row(id) {
                None => Some(Wrong::Unknown),
                Some((kind, carriers)) => {
                    let values = values(kind);
                    // Mostly the good one.
                    let (value, wrong) = *values.get(value.index(values.len() * 4)).unwrap_or(&values[0]);
                    properties.extend(value);
                    if !may_have(carriers, carrier) {
                        Some(Wrong::Misplaced)
                    } else if seen.contains(&id) && !may_repeat(id, carrier) {
                        Some(Wrong::Repeated)
                    } else {
                        wrong
                    }
                }
            };
            seen.push(id);
            expected = expected.or(verdict);
        }
        let has_method = seen.contains(&0x15);
        if seen.contains(&0x16) && !has_method {
            expected = expected.or(Some(Wrong::DataAlone));
        }
        if carrier == Carrier::Packet(PacketType::Auth) && !has_method {
            expected = expected.or(Some(Wrong::NoMethod));
        }
        prop_assert_eq!(check(carrier, &properties), expected.map_or(Ok(properties), Err));
    }

    #[test]
    fn any_bytes_as_properties(carrier in any::<Index>(), bytes in vec(prop_oneof![0..0x30u8, any::<u8>()], 0..64)) {
        let carriers: Vec<_> = carriers().collect();
        _ = check(*carrier.get(&carriers), &bytes);
    }
}

/// Of a property, nearly always.
fn id_of_item() -> impl Strategy<Value = u8> {
    prop_oneof![
        50 => any::<Index>().prop_map(|index| index.get(&TABLE).0),
        1 => 0..0x80u8,
    ]
}
