//! What a client may not publish, and what it is told.

use super::*;

const BOTH: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn what_is_not_available_ends_the_connection() {
    let limits = Limits { max_qos: QoS::AtLeastOnce, retain_available: false, ..Limits::default() };
    let mut world = World::new(limits);
    let too_high = publish("t", b"x", QoS::ExactlyOnce);
    let retained = Publish { retain: true, ..publish("t", b"x", QoS::AtMostOnce) };
    for (sent, reason) in [(too_high, Reason::QosNotSupported), (retained, Reason::RetainNotSupported)] {
        let publisher = world.connect("publisher", &[]);
        assert_eq!(world.send_last(publisher, &[Packet::Publish(sent)]), reason);
        let mut old = world.connect_3("old");
        world.send(&mut old, &[Packet::Publish(sent)]);
    }
    assert_eq!(world.hub.stats().retained, 0);
}

#[test]
fn a_message_for_nobody_is_told_to_be() {
    let mut world = World::new(Limits::default());
    let [mut publisher, mut old] = [world.connect("publisher", &[]), world.connect_3("old")];
    for qos in BOTH {
        for client in [&mut publisher, &mut old] {
            world.send(client, &[Packet::Publish(publish("t", b"x", qos))]);
        }
        assert_eq!(world.reasons(&mut publisher), [(Reason::NoMatchingSubscribers, None)]);
        assert_eq!(world.reasons(&mut old), [(Reason::Success, None)]);
    }
    world.send(&mut publisher, &[Packet::Pubrel(ack(PacketId::MIN))]);
    world.reasons(&mut publisher);
    // An absent one is somebody.
    let mut client = world.connect("client", &[]);
    world.subscribe(&mut client, "t", QoS::AtMostOnce);
    world.leave(client);
    for qos in BOTH {
        world.send(&mut publisher, &[Packet::Publish(publish("t", b"x", qos))]);
        assert_eq!(world.reasons(&mut publisher), [(Reason::Success, None)]);
    }
}

#[test]
fn the_broker_s_own_topics_are_refused_in_words_that_the_client_takes() {
    let mut world = World::new(Limits::default());
    let quiet = Property::RequestProblemInformation(false);
    let small = Property::MaximumPacketSize(40.try_into().unwrap());
    for (list, is_told) in [(&[][..], true), (&[quiet], false), (&[small], false)] {
        let mut publisher = world.connect("publisher", list);
        for topic in ["$SYS/x", "$SOL"] {
            for qos in BOTH {
                world.send(&mut publisher, &[Packet::Publish(publish(topic, b"x", qos))]);
                let [(reason, words)] = &world.reasons(&mut publisher)[..] else { panic!("one answer") };
                assert_eq!((*reason, words.is_some()), (Reason::NotAuthorized, is_told), "{words:?}");
            }
            world.send(&mut publisher, &[Packet::Publish(publish(topic, b"x", QoS::AtMostOnce))]);
        }
        // The identifier is free for another message.
        world.send(&mut publisher, &[Packet::Publish(publish("t", b"x", QoS::ExactlyOnce))]);
        assert_eq!(world.reasons(&mut publisher), [(Reason::NoMatchingSubscribers, None)]);
        world.send(&mut publisher, &[Packet::Pubrel(ack(PacketId::MIN))]);
        assert_eq!(world.reasons(&mut publisher), [(Reason::Success, None)]);
    }
    let mut old = world.connect_3("old");
    world.send(&mut old, &[Packet::Publish(publish("$SYS/x", b"x", QoS::AtLeastOnce))]);
    assert_eq!(world.reasons(&mut old), [(Reason::Success, None)]);
}

#[test]
fn a_payload_is_what_it_is_said_to_be_where_that_is_checked() {
    let [utf8, bytes] = [true, false].map(|is_utf8| properties(&[Property::PayloadFormatIndicator(is_utf8)]));
    for check in [true, false] {
        let mut world = World::new(Limits { check_payload_format: check, ..Limits::default() });
        let mut publisher = world.connect("publisher", &[]);
        for (payload, qos, is_utf8) in [
            (&b"\xff"[..], BOTH[0], true),
            (b"\xff", BOTH[1], true),
            (b"\xff", BOTH[0], false),
            (b"x", BOTH[0], true),
        ] {
            let properties = if is_utf8 { &utf8 } else { &bytes };
            let publish = Publish { properties: properties.as_properties(), ..publish("t", payload, qos) };
            world.send(&mut publisher, &[Packet::Publish(publish)]);
            let [(reason, words)] = &world.reasons(&mut publisher)[..] else { panic!("one answer") };
            let is_refused = check && is_utf8 && payload == b"\xff";
            let expected =
                if is_refused { Reason::PayloadFormatInvalid } else { Reason::NoMatchingSubscribers };
            assert_eq!((*reason, words.is_some()), (expected, is_refused));
        }
        let publish = publish("t", b"\xff", QoS::AtMostOnce);
        let packet = [Packet::Publish(Publish { properties: utf8.as_properties(), ..publish })];
        if check {
            assert_eq!(world.send_last(publisher, &packet), Reason::PayloadFormatInvalid);
        } else {
            world.send(&mut publisher, &packet);
        }
    }
}

#[test]
fn a_will_is_checked_like_a_message() {
    let mut world = World::new(Limits { check_payload_format: true, ..Limits::default() });
    let utf8 = properties(&[Property::PayloadFormatIndicator(true)]);
    let topic = Name::new("t").unwrap();
    let will = |payload| Will {
        topic,
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        properties: utf8.as_properties(),
    };
    world.connect_with("fine", &[], Some(will("grün".as_bytes())));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let mut peer = world.hub.accept(address, Entrance::open(), world.now).unwrap();
    let mut bytes = Vec::new();
    Packet::Connect(connect(Version::V5, "wrong", Some(will(b"\xff"))))
        .encode(Version::V5, &mut bytes)
        .unwrap();
    let handled = world.hub.handle(&mut peer, &bytes, world.now, &mut world.batch);
    let Next::End(Ending::Refused { code, .. }) = handled.next else { panic!("{handled:?}") };
    assert_eq!(code, Reason::PayloadFormatInvalid);
}
