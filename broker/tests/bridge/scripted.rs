//! Another broker that does what brokers may do, and seldom do.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;

use sol::codec::{
    Ack, Connack, Delivery, Disconnect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, Reason,
    Suback, SubscribeCode, Version,
};
use sol::config::Direction::{In, Out};
use sol::config::{Bridge, BridgeTopic};
use sol::{Broker, Config, Limits};

use crate::brokers::{bridge, bridging, topic};
use crate::common::{Client, PATIENCE, publish};
use crate::messages::publish_to_end;

/// A broker that a test speaks for.
struct Script {
    listener: TcpListener,
}

impl Script {
    fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A bridge to it that does not tell of itself, and says nothing of its own.
    fn bridge(&self, topics: Vec<BridgeTopic>) -> Bridge {
        Bridge { notifications: None, tells: false, ..bridge("b", self.address(), topics) }
    }

    /// The next connection, of which nothing is read.
    fn accept(&self) -> Client {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client::over(stream)
    }

    /// The next connection, up to CONNACK.
    fn greet(&self, version: Version, session_present: bool, properties: &[Property<'_>]) -> Client {
        let mut bridge = self.accept();
        bridge.version = version;
        assert!(matches!(bridge.receive(), Packet::Connect(_)));
        let mut all = PropertiesBuf::new();
        properties.iter().for_each(|property| all.push(*property).unwrap());
        let connack =
            Connack { properties: all.as_properties(), ..Connack::new(session_present, Reason::Success) };
        bridge.send(&[Packet::Connack(connack)]);
        bridge
    }
}

/// The byte behind the protocol's name in a CONNECT.
fn level(stream: &mut TcpStream) -> u8 {
    let mut bytes = [0; 9];
    std::io::Read::read_exact(stream, &mut bytes).unwrap();
    assert_eq!(&bytes[2..8], b"\0\x04MQTT");
    bytes[8]
}

#[test]
fn a_broker_that_does_not_know_of_bridges_is_asked_again_without() {
    let script = Script::new();
    let settings = Bridge { tells: true, ..script.bridge(vec![topic("t", In, QoS::AtLeastOnce)]) };
    let _here = bridging(vec![settings]);
    let mut first = script.accept();
    assert_eq!(level(&mut first.stream), 0x84);
    first.send(&[Packet::Connack(Connack::new(false, Reason::UnsupportedProtocolVersion))]);
    let mut second = script.accept();
    assert_eq!(level(&mut second.stream), 0x04);
    // Closed without an answer: it may only have been down.
    drop((first, second));
    let mut third = script.accept();
    assert_eq!(level(&mut third.stream), 0x84);
    drop(third);
    let mut fourth = script.accept();
    assert_eq!(level(&mut fourth.stream), 0x04);
}

#[test]
fn a_broker_of_5_0_gets_no_more_than_it_takes() {
    let script = Script::new();
    let mut settings = script.bridge(vec![topic("t/#", Out, QoS::ExactlyOnce)]);
    settings.version = Version::V5;
    let here = bridging(vec![settings]);
    let mut there = script.greet(
        Version::V5,
        false,
        &[
            Property::MaximumQos(QoS::AtLeastOnce),
            Property::ReceiveMaximum(2.try_into().unwrap()),
            Property::MaximumPacketSize(NonZeroU32::new(100).unwrap()),
            Property::RetainAvailable(false),
        ],
    );
    let mut near = Client::connect(here.local_addr(), "near");
    // What is retained before the bridge has looked would come once more.
    publish_to_end(&mut near, publish("t/0", b"0", QoS::AtLeastOnce));
    assert_eq!(there.message(), b"0");
    let large = [0; 200];
    for (topic, payload) in [("t/1", &b"1"[..]), ("t/large", &large), ("t/2", b"2"), ("t/3", b"3")] {
        publish_to_end(&mut near, Publish { retain: true, ..publish(topic, payload, QoS::ExactlyOnce) });
    }
    let mut ids = Vec::new();
    for expected in [b"1", b"2"] {
        let Packet::Publish(publish) = there.receive() else { panic!() };
        assert_eq!((publish.payload, publish.retain), (&expected[..], false));
        let Delivery::AtLeastOnce(id) = publish.delivery else { panic!("{:?}", publish.delivery) };
        ids.push(id);
    }
    // Two are unacknowledged, so the third has to wait.
    there.send(&[Packet::Puback(Ack::new(ids[1]))]);
    let Packet::Publish(last) = there.receive() else { panic!() };
    assert_eq!(last.payload, b"3");
    let Delivery::AtLeastOnce(third) = last.delivery else { panic!() };
    there.send(&[Packet::Puback(Ack::new(third)), Packet::Puback(Ack::new(ids[0]))]);
    crate::common::eventually("all are done", || here.stats().in_flight == 0 && here.stats().queued == 0);
    // With a word of why it goes, and again.
    there.send(&[Packet::Disconnect(Disconnect::new(Reason::ServerShuttingDown))]);
    let mut again = script.greet(Version::V5, true, &[Property::MaximumQos(QoS::AtMostOnce)]);
    publish_to_end(&mut near, publish("t/4", b"4", QoS::ExactlyOnce));
    loop {
        let Packet::Publish(publish) = again.receive() else { panic!() };
        assert_eq!(publish.delivery, Delivery::AtMostOnce);
        // Before it or behind it comes what is retained.
        if publish.payload == b"4" {
            break;
        }
    }
    crate::common::eventually("that is done", || here.stats().in_flight == 0);
}

#[test]
fn what_cannot_come_in_is_acknowledged_and_does_not_come_again() {
    let script = Script::new();
    let limits = Limits { max_packet_bytes: 2048, max_topic_bytes: 50, ..Limits::default() };
    let settings = script.bridge(vec![topic("t/#", In, QoS::ExactlyOnce)]);
    let here = Broker::start(Config { limits, ..crate::brokers::config(vec![settings]) }).unwrap();
    let mut there = script.greet(Version::V311, false, &[]);
    let Packet::Subscribe(subscribe) = there.receive() else { panic!() };
    let id = subscribe.packet_id;
    there.send(&[Packet::Suback(Suback::new(id, &[SubscribeCode::Granted(QoS::ExactlyOnce)]))]);
    let mut near = Client::subscribed(here.local_addr(), "near", "#", QoS::AtMostOnce);
    let of = |id| PacketId::new(id).unwrap();
    let large = vec![0; 300_000];
    let deep = format!("t/{}", "x".repeat(60));
    let packets = [
        Publish { delivery: Delivery::AtLeastOnce(of(1)), ..publish("t/large", &large, QoS::AtLeastOnce) },
        Publish { delivery: Delivery::ExactlyOnce(of(2)), ..publish("t/large", &large, QoS::ExactlyOnce) },
        publish("t/large", &large, QoS::AtMostOnce),
        Publish { delivery: Delivery::AtLeastOnce(of(3)), ..publish(&deep, b"x", QoS::AtLeastOnce) },
        Publish { delivery: Delivery::AtLeastOnce(of(4)), ..publish("unasked", b"x", QoS::AtLeastOnce) },
        publish("t/end", b"end", QoS::AtMostOnce),
    ];
    for packet in packets {
        there.send(&[Packet::Publish(packet)]);
    }
    there.expect(Packet::Puback(Ack::new(of(1))));
    there.expect(Packet::Pubrec(Ack::new(of(2))));
    there.send(&[Packet::Pubrel(Ack::new(of(2)))]);
    there.expect(Packet::Puback(Ack::new(of(3))));
    there.expect(Packet::Puback(Ack::new(of(4))));
    there.expect(Packet::Pubcomp(Ack::new(of(2))));
    assert_eq!(near.message(), b"end");
}

#[test]
fn a_silent_broker_is_asked_whether_it_is_there_and_left() {
    let script = Script::new();
    // Half of it is the time for an answer, and for a test on a machine that is busy.
    let settings = Bridge { keep_alive: 4, ..script.bridge(vec![topic("t", Out, QoS::AtLeastOnce)]) };
    let here = bridging(vec![settings]);
    let mut there = script.greet(Version::V311, false, &[]);
    there.expect(Packet::Pingreq);
    there.send(&[Packet::Pingresp]);
    there.expect(Packet::Pingreq);
    // No answer.
    there.expect_closed();
    let mut again = script.greet(Version::V311, true, &[]);
    let mut near = Client::connect(here.local_addr(), "near");
    publish_to_end(&mut near, publish("t", b"x", QoS::AtLeastOnce));
    assert_eq!(again.message(), b"x");
}

/// The identifiers of messages are the same on both sides, and what is repeated is told as repeated.
#[test]
fn what_was_not_acknowledged_comes_again_under_its_identifier() {
    let script = Script::new();
    let here = bridging(vec![script.bridge(vec![topic("t", Out, QoS::ExactlyOnce)])]);
    let mut there = script.greet(Version::V311, false, &[]);
    let mut near = Client::connect(here.local_addr(), "near");
    publish_to_end(&mut near, publish("t", b"one", QoS::AtLeastOnce));
    publish_to_end(&mut near, publish("t", b"two", QoS::ExactlyOnce));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let Packet::Publish(publish) = there.receive() else { panic!() };
        assert!(!publish.dup);
        ids.push(publish.delivery.packet_id().unwrap());
    }
    there.send(&[Packet::Pubrec(Ack::new(ids[1]))]);
    there.expect(Packet::Pubrel(Ack::new(ids[1])));
    drop(there);
    let mut there = script.greet(Version::V311, true, &[]);
    there.expect(Packet::Pubrel(Ack::new(ids[1])));
    let Packet::Publish(publish) = there.receive() else { panic!() };
    assert_eq!(
        (publish.dup, publish.payload, publish.delivery),
        (true, &b"one"[..], Delivery::AtLeastOnce(ids[0]))
    );
}

/// An identifier that it used before it lost its session is a new message's.
#[test]
fn a_new_session_there_begins_with_free_identifiers() {
    let script = Script::new();
    let here = bridging(vec![script.bridge(vec![topic("t", In, QoS::ExactlyOnce)])]);
    let mut near = Client::subscribed(here.local_addr(), "near", "t", QoS::AtMostOnce);
    for payload in [b"one", b"two"] {
        let mut there = script.greet(Version::V311, false, &[]);
        assert!(matches!(there.receive(), Packet::Subscribe(_)));
        there.send(&[Packet::Publish(publish("t", payload, QoS::ExactlyOnce))]);
        there.expect(Packet::Pubrec(Ack::new(PacketId::MIN)));
        assert_eq!(near.message(), payload);
    }
    // In the old session it is the same message.
    let mut there = script.greet(Version::V311, true, &[]);
    assert!(matches!(there.receive(), Packet::Subscribe(_)));
    there.send(&[Packet::Publish(Publish { dup: true, ..publish("t", b"two", QoS::ExactlyOnce) })]);
    there.expect(Packet::Pubrec(Ack::new(PacketId::MIN)));
    there.send(&[Packet::Pubrel(Ack::new(PacketId::MIN))]);
    there.expect(Packet::Pubcomp(Ack::new(PacketId::MIN)));
    there.send(&[Packet::Publish(publish("t", b"three", QoS::ExactlyOnce))]);
    assert_eq!(near.message(), b"three");
}
