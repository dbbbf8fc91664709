//! Messages for clients that are away or slow, and the handshakes of QoS 1 and 2.

use sol::codec::{Ack, Connect, Packet, Property, QoS, SubscribeOptions};

use super::common;
use super::*;

#[test]
fn what_waits_is_delivered_in_order() {
    for end in ENDS {
        let mut broker = Durable::start();
        let mut client = new(broker.address(), "client");
        subscribe(&mut client, 5, "t/#", QoS::ExactlyOnce);
        client.leave();
        let mut guest = guest(broker.address());
        let qos = |n: usize| if n.is_multiple_of(3) { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        for n in 0..300 {
            publish(&mut guest, &format!("t/{}", n % 7), &n.to_string(), qos(n));
            if n == 150 {
                drop(guest);
                broker.restart(end);
                guest = super::guest(broker.address());
            }
        }
        drop(guest);
        broker.restart(end);
        let mut client = back(broker.address(), "client");
        let (mut received, mut finished) = (0, 0);
        while received < 300 || finished < 100 {
            let answer = match client.receive() {
                Packet::Pubrel(ack) => {
                    finished += 1;
                    Packet::Pubcomp(Ack::new(ack.packet_id))
                }
                Packet::Publish(publish) => {
                    let got = Got::of(&publish);
                    assert_eq!((got.payload, got.qos, got.dup), (received.to_string(), qos(received), false));
                    assert_eq!((got.topic, got.identifiers), (format!("t/{}", received % 7), vec![5]));
                    received += 1;
                    let ack = Ack::new(got.packet_id.unwrap());
                    if got.qos == QoS::AtLeastOnce { Packet::Puback(ack) } else { Packet::Pubrec(ack) }
                }
                other => panic!("{other:?}"),
            };
            client.send(&[answer]);
        }
        client.ping();
        settle(broker.address());
        drop(client);
        broker.restart(end);
        // Nothing is left.
        let mut client = back(broker.address(), "client");
        publish(&mut super::guest(broker.address()), "t/end", "end", QoS::AtLeastOnce);
        assert_eq!(take(&mut client).payload, "end");
    }
}

#[test]
fn what_waits_expires_by_the_clock_on_the_wall() {
    let mut broker = Durable::start();
    let mut client = new(broker.address(), "client");
    subscribe(&mut client, 0, "t", QoS::AtLeastOnce);
    client.leave();
    let mut guest = guest(broker.address());
    for (payload, seconds) in [("1", 1000), ("2", 1), ("3", 1000)] {
        let with = properties(&[Property::MessageExpiryInterval(seconds)]);
        let properties = with.as_properties();
        let publish = common::publish("t", payload.as_bytes(), QoS::AtLeastOnce);
        say(&mut guest, Publish { properties, ..publish });
    }
    let published_at = std::time::Instant::now();
    broker.end(End::Killed);
    common::eventually("a second has gone by", || published_at.elapsed().as_millis() > 1000);
    broker.start_again();
    let mut client = back(broker.address(), "client");
    for payload in ["1", "3"] {
        let got = take(&mut client);
        assert_eq!(got.payload, payload);
        assert!((900..1000).contains(&got.seconds_left.unwrap()), "{got:?}");
    }
}

#[test]
fn what_was_in_flight_comes_again_under_its_identifier() {
    for end in ENDS {
        // A stop would wait for it to be acknowledged.
        let mut broker = Durable::with("shutdown_grace 0s\n");
        let mut client = new(broker.address(), "client");
        subscribe(&mut client, 0, "t", QoS::ExactlyOnce);
        let mut guest = guest(broker.address());
        for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::AtLeastOnce)] {
            publish(&mut guest, "t", payload, qos);
        }
        let sent: Vec<_> = (0..3).map(|_| receive(&mut client)).collect();
        // The second is the client's own after PUBREC.
        let second = sent[1].packet_id.unwrap();
        client.send(&[Packet::Pubrec(Ack::new(second))]);
        client.expect(Packet::Pubrel(Ack::new(second)));
        for _ in 0..2 {
            broker.restart(end);
            client = back(broker.address(), "client");
            client.expect(Packet::Pubrel(Ack::new(second)));
            for n in [0, 2] {
                assert_eq!(receive(&mut client), Got { dup: true, ..sent[n].clone() }, "{end:?}");
            }
        }
        client.send(&[Packet::Pubcomp(Ack::new(second))]);
        for n in [0, 2] {
            client.send(&[Packet::Puback(Ack::new(sent[n].packet_id.unwrap()))]);
        }
        client.ping();
        // An acknowledgement has no answer: this one is stored behind it.
        publish(&mut super::guest(broker.address()), "t", "end", QoS::AtLeastOnce);
        assert_eq!(take(&mut client).payload, "end");
        publish(&mut super::guest(broker.address()), "t", "stored", QoS::AtLeastOnce);
        drop(client);
        broker.restart(end);
        let mut client = back(broker.address(), "client");
        assert_eq!(take(&mut client).payload, "stored");
    }
}

#[test]
fn a_message_that_came_is_not_taken_twice() {
    for end in ENDS {
        let mut broker = Durable::start();
        let mut reader = new(broker.address(), "reader");
        subscribe(&mut reader, 0, "t", QoS::ExactlyOnce);
        drop(reader);
        let mut client = new(broker.address(), "client");
        client.send(&[exactly_once("t", b"once", 7)]);
        assert!(matches!(client.receive(), Packet::Pubrec(_)));
        broker.restart(end);
        let mut client = back(broker.address(), "client");
        client.send(&[exactly_once("t", b"once", 7)]);
        assert!(matches!(client.receive(), Packet::Pubrec(_)));
        client.send(&[Packet::Pubrel(Ack::new(id(7)))]);
        assert!(matches!(client.receive(), Packet::Pubcomp(_)));
        broker.restart(end);
        // The identifier is free: this is another message.
        let mut client = back(broker.address(), "client");
        client.send(&[exactly_once("t", b"other", 7)]);
        assert!(matches!(client.receive(), Packet::Pubrec(_)));
        let mut reader = back(broker.address(), "reader");
        assert_eq!(
            [receive(&mut reader).payload, receive(&mut reader).payload],
            ["once", "other"],
            "{end:?}"
        );
    }
}

#[test]
fn what_came_by_a_shared_subscription_goes_to_another_member_when_the_session_ends() {
    let mut broker = Durable::start();
    let mut leaver = new(broker.address(), "leaver");
    subscribe(&mut leaver, 0, "$share/g/t", QoS::AtLeastOnce);
    drop(leaver);
    publish(&mut guest(broker.address()), "t", "handed on", QoS::AtLeastOnce);
    broker.restart(End::Killed);
    let mut member = new(broker.address(), "member");
    subscribe(&mut member, 0, "$share/g/t", QoS::AtLeastOnce);
    drop(opened(broker.address(), Connect { clean_session: true, ..connect("leaver") }, &[]));
    assert_eq!(take(&mut member).payload, "handed on");
}

#[test]
fn as_much_waits_as_may() {
    let mut broker = Durable::with("max_stored_messages 3\n");
    let mut client = new(broker.address(), "client");
    subscribe(&mut client, 0, "t", SubscribeOptions::from(QoS::AtLeastOnce));
    client.leave();
    for n in 0..5 {
        if n == 2 {
            broker.restart(End::Killed);
        }
        publish(&mut guest(broker.address()), "t", &n.to_string(), QoS::AtLeastOnce);
    }
    let mut client = back(broker.address(), "client");
    assert_eq!([0, 1, 2].map(|_| take(&mut client).payload), ["0", "1", "2"]);
    publish(&mut guest(broker.address()), "t", "end", QoS::AtLeastOnce);
    assert_eq!(take(&mut client).payload, "end");
}
