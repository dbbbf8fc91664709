//! What CONNACK says.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use sol::codec::{Connect, Packet, Property, QoS, Reason, Version, Will};
use sol::topic::Name;
use sol::{Broker, Config, Limits};

use super::common::{Client, connect as connect_3};
use super::{broker, connect, expect_disconnect, properties, reason_string};

/// Everything that can be said is said.
fn limited() -> Limits {
    Limits {
        max_session_expiry: Some(Duration::from_secs(60)),
        max_keep_alive: NonZeroU16::new(30),
        max_qos: QoS::AtLeastOnce,
        retain_available: false,
        max_topic_alias: 3,
        max_received_messages: 20,
        max_packet_bytes: 1000,
        wildcard_available: false,
        shared_available: false,
        subscription_ids_available: false,
        ..Limits::default()
    }
}

fn packet_size(bytes: u32) -> Property<'static> {
    Property::MaximumPacketSize(NonZeroU32::new(bytes).unwrap())
}

/// What comes for a CONNECT with these properties: the reason code, the number of bytes, and the properties, which are
/// compared as written.
fn answer(broker: &Broker, connect: Connect<'_>, all: &[Property<'_>]) -> (Client, Reason, usize, String) {
    let mut client = Client::open(broker.local_addr());
    let with = properties(all);
    client.send(&[Packet::Connect(Connect { properties: with.as_properties(), ..connect })]);
    let packet = client.receive();
    let mut bytes = Vec::new();
    packet.encode(Version::V5, &mut bytes).unwrap();
    let Packet::Connack(connack) = packet else { panic!("{packet:?} for CONNACK") };
    let (reason, said) = (connack.reason, format!("{:?}", connack.properties.iter().collect::<Vec<_>>()));
    (client, reason, bytes.len(), said)
}

fn said(broker: &Broker, connect: Connect<'_>, all: &[Property<'_>]) -> String {
    let (_, reason, _, said) = answer(broker, connect, all);
    assert_eq!(reason, Reason::Success);
    said
}

#[test]
fn only_what_is_no_default_is_said() {
    let plain = broker(Limits::default());
    let usual = [packet_size(512 << 10), Property::TopicAliasMaximum(10)];
    assert_eq!(said(&plain, connect("c"), &[]), format!("{usual:?}"));
    let unlimited = Limits { max_packet_bytes: usize::MAX, max_topic_alias: 0, ..Limits::default() };
    assert_eq!(said(&broker(unlimited), connect("c"), &[]), "[]");
}

#[test]
fn everything_that_differs_is_said() {
    let broker = broker(limited());
    let all = [
        Property::SessionExpiryInterval(60),
        Property::ReceiveMaximum(NonZeroU16::new(20).unwrap()),
        Property::MaximumQos(QoS::AtLeastOnce),
        Property::RetainAvailable(false),
        packet_size(1000),
        Property::TopicAliasMaximum(3),
        Property::WildcardSubscriptionAvailable(false),
        Property::SubscriptionIdentifiersAvailable(false),
        Property::SharedSubscriptionAvailable(false),
        Property::ServerKeepAlive(30),
    ];
    for (keep_alive, expiry) in [(0, 61), (31, u32::MAX), (u16::MAX, 61)] {
        let connect = Connect { keep_alive, ..connect("c") };
        let asked = [Property::SessionExpiryInterval(expiry)];
        assert_eq!(said(&broker, connect, &asked), format!("{all:?}"), "{keep_alive}");
    }
    // What the client asks for, and may have.
    for (keep_alive, expiry) in [(1, 0), (30, 60)] {
        let connect = Connect { keep_alive, ..connect("c") };
        let said = said(&broker, connect, &[Property::SessionExpiryInterval(expiry)]);
        assert_eq!(said, format!("{:?}", &all[1..9]));
    }
    // There is no way to tell a client of 3.1.1 anything.
    Client::connect_as(broker.local_addr(), connect_3("3.1.1"), false).ping();
}

#[test]
fn the_keep_alive_that_is_told_is_enforced() {
    let broker = broker(Limits { max_keep_alive: NonZeroU16::new(1), ..Limits::default() });
    let (mut client, _, _, said) = answer(&broker, connect("c"), &[]);
    assert!(said.contains("ServerKeepAlive(1)"), "{said}");
    let text = expect_disconnect(&mut client, Reason::KeepAliveTimeout).unwrap();
    assert!(text.contains("keep alive of 1 s"), "{text}");
}

#[test]
fn a_client_without_identifier_is_told_the_one_it_got() {
    let broker = broker(Limits::default());
    for is_clean in [true, false] {
        let unnamed = Connect { clean_session: is_clean, ..connect("") };
        let (client, _, _, said) = answer(&broker, unnamed, &[Property::SessionExpiryInterval(1000)]);
        let (_, rest) = said.split_once("AssignedClientIdentifier(\"").unwrap();
        let (assigned, _) = rest.split_once('"').unwrap();
        drop(client);
        // It names the session.
        let (mut client, is_present) = super::opened(broker.local_addr(), connect(assigned), &[]);
        assert!(is_present);
        client.ping();
    }
}

#[test]
fn response_information_is_for_those_who_ask() {
    let config = Config {
        response_information: Some("replies/".to_owned()),
        ..Config::on("127.0.0.1:0".parse().unwrap())
    };
    let broker = Broker::start(config).unwrap();
    for (asked, is_told) in [(None, false), (Some(false), false), (Some(true), true)] {
        let asked = asked.map(Property::RequestResponseInformation);
        let said = said(&broker, connect("c"), asked.as_slice());
        assert_eq!(said.contains("ResponseInformation(\"replies/\")"), is_told, "{asked:?} {said}");
    }
    // It is left out for want of room, and the rest is not.
    let (_, reason, length, _) = answer(&broker, connect("c"), &[]);
    let asked = [Property::RequestResponseInformation(true), packet_size(u32::try_from(length).unwrap())];
    assert_eq!(reason, Reason::Success);
    assert!(!said(&broker, connect("c"), &asked).contains("replies"));
}

#[test]
fn a_connack_that_is_too_large_is_not_sent() {
    let broker = broker(limited());
    let (_, _, length, _) = answer(&broker, connect("c"), &[]);
    let length = u32::try_from(length).unwrap();
    assert_eq!(answer(&broker, connect("c"), &[packet_size(length)]).1, Reason::Success);
    for room in [length - 1, 5] {
        let (mut client, reason, bytes, said) = answer(&broker, connect("c"), &[packet_size(room)]);
        assert_eq!((reason, said.as_str()), (Reason::PacketTooLarge, "[]"));
        assert!(bytes <= room as usize);
        client.expect_closed();
    }
    let mut client = Client::open(broker.local_addr());
    let small = properties(&[packet_size(4)]);
    client.send(&[Packet::Connect(Connect { properties: small.as_properties(), ..connect("c") })]);
    client.expect_closed();
}

#[test]
fn a_will_that_cannot_be_sent_is_refused() {
    let broker = broker(limited());
    let will = |qos, retain| Will {
        topic: Name::new("will").unwrap(),
        payload: b"",
        qos,
        retain,
        properties: sol::codec::Properties::EMPTY,
    };
    for (will, expected) in [
        (will(QoS::AtLeastOnce, false), Reason::Success),
        (will(QoS::ExactlyOnce, false), Reason::QosNotSupported),
        (will(QoS::AtMostOnce, true), Reason::RetainNotSupported),
    ] {
        let connect = Connect { will: Some(will), ..connect("c") };
        assert_eq!(answer(&broker, connect, &[]).1, expected);
        // One of 3.1.1 cannot know, and is let in.
        Client::connect_as(broker.local_addr(), Connect { will: Some(will), ..connect_3("old") }, false);
    }
}

#[test]
fn a_refusal_says_why_as_far_as_the_client_wants_to_know() {
    let broker = broker(Limits { max_sessions: 0, ..Limits::default() });
    let (mut client, reason, full, _) = answer(&broker, connect("c"), &[]);
    assert_eq!(reason, Reason::QuotaExceeded);
    client.expect_closed();
    let too_small = packet_size(u32::try_from(full).unwrap() - 1);
    for asked in [Property::RequestProblemInformation(false), too_small] {
        let (mut client, reason, bytes, said) = answer(&broker, connect("c"), &[asked]);
        assert_eq!((reason, bytes, said.as_str()), (Reason::QuotaExceeded, 5, "[]"));
        client.expect_closed();
    }
}

#[test]
fn a_broken_connect_of_5_0_is_answered_with_its_code() {
    let broker = broker(Limits { max_packet_bytes: 100, ..Limits::default() });
    let connect = |flags: u8, rest: &[u8]| {
        let length = u8::try_from(10 + rest.len()).unwrap();
        [&[0x10, length][..], b"\0\x04MQTT\x05", &[flags, 0, 0], rest].concat()
    };
    let large = connect(2, &[&b"\0\0\x70"[..], &[b'x'; 0x70]].concat());
    for (bytes, reason) in [
        (connect(3, b"\0\0\x01c"), Reason::MalformedPacket),
        (connect(2, b"\0\0\x02c"), Reason::MalformedPacket),
        // Twice the same property; one that CONNECT does not have; a Receive Maximum of 0.
        (connect(2, b"\x0a\x11\0\0\0\x01\x11\0\0\0\x01\0\x01c"), Reason::ProtocolError),
        (connect(2, b"\x02\x24\x01\0\x01c"), Reason::MalformedPacket),
        (connect(2, b"\x03\x21\0\0\0\x01c"), Reason::ProtocolError),
        (connect(6, b"\0\0\x01c\0\0\x01#\0\0"), Reason::MalformedPacket),
        (large, Reason::PacketTooLarge),
    ] {
        let mut client = Client::open(broker.local_addr());
        client.version = Version::V5;
        client.send_bytes(&bytes);
        match client.receive() {
            Packet::Connack(connack) => {
                assert_eq!((connack.reason, connack.session_present), (reason, false), "{bytes:02x?}");
                assert_eq!(reason_string(connack.properties), None);
            }
            other => panic!("{other:?} for CONNACK"),
        }
        client.expect_closed();
    }
}
