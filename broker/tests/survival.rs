//! What crashed the original Sol, or what it got wrong: each done to a process of its own, which must answer as the
//! standard says, serve whoever comes next, and stop in order.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::process::Sol;
use common::{Client, connect, publish, subscribe};
use rustix::process::Signal;
use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, Properties, Publish, QoS, Unsuback, Unsubscribe,
    Will,
};
use sol::topic::{Filter, Name};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const ALL_QOS: [QoS; 3] = [AtMostOnce, AtLeastOnce, ExactlyOnce];

/// The conversation takes place; what it gives stays connected until the process has ended.
fn sol_survives<T>(conversation: impl FnOnce(SocketAddr) -> T) {
    let sol = Sol::start();
    let _connected = conversation(sol.address);

    let mut stranger = Client::subscribed(sol.address, "stranger", "is it/+", AtLeastOnce);
    stranger.send(&[Packet::Publish(publish("is it/alive", b"it is", AtLeastOnce))]);
    let (mut heard, mut acknowledged) = (false, false);
    while !(heard && acknowledged) {
        match stranger.receive() {
            Packet::Publish(message) => heard = message.payload == b"it is",
            packet => acknowledged = packet == Packet::Puback(ack(1)),
        }
    }

    sol.signal(Signal::TERM);
    stranger.expect_closed();
    let (code, log) = sol.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.ends_with("stopped\n") && !log.contains("panic"), "{log}");
}

fn ack(packet_id: u16) -> Ack<'static> {
    Ack::new(PacketId::new(packet_id).unwrap())
}

fn filter(text: &str) -> Filter<'_> {
    Filter::new(text).unwrap()
}

/// What a PUBLISH says: topic, payload, RETAIN.
type Message = (String, Vec<u8>, bool);

impl Client {
    /// The next packet is a PUBLISH of QoS 0.
    fn hear(&mut self) -> Message {
        let Packet::Publish(message) = self.receive() else { panic!("no PUBLISH") };
        assert_eq!(message.delivery, Delivery::AtMostOnce);
        (message.topic.unwrap().as_str().to_owned(), message.payload.to_vec(), message.retain)
    }

    fn retain(&mut self, topic: &str, payload: &[u8]) {
        let message = Publish { retain: true, ..publish(topic, payload, AtMostOnce) };
        self.send(&[Packet::Publish(message), Packet::Pingreq]);
        self.expect(Packet::Pingresp);
    }

    /// The network breaks down: a reset, and no end before it.
    fn die(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

// CONNECT

#[test]
fn a_connect_of_5_0_behind_one_of_3_1_1_ends_the_connection() {
    sol_survives(|address| {
        let mut watcher = Client::subscribed(address, "watcher", "#", AtMostOnce);
        let mut client = Client::connect(address, "client");
        client.send_bytes(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0");
        client.expect_closed();
        watcher.ping();
    });
}

#[test]
fn nothing_counts_before_connect() {
    sol_survives(|address| {
        let mut watcher = Client::subscribed(address, "watcher", "#", AtMostOnce);
        let unsubscribe = Unsubscribe::new(PacketId::MIN, vec![filter("t")]);
        for packet in [
            subscribe("t", AtMostOnce),
            Packet::Unsubscribe(unsubscribe),
            Packet::Publish(publish("t", b"x", AtMostOnce)),
            Packet::Publish(publish("t", b"x", AtLeastOnce)),
            Packet::Publish(publish("t", b"x", ExactlyOnce)),
            Packet::Puback(ack(1)),
            Packet::Pubrec(ack(1)),
            Packet::Pubrel(ack(1)),
            Packet::Pubcomp(ack(1)),
            Packet::Pingreq,
            Packet::Disconnect(Disconnect::default()),
        ] {
            let mut client = Client::open(address);
            client.send(&[packet, Packet::Connect(connect("late"))]);
            client.expect_closed();
        }
        watcher.ping();
    });
}

#[test]
fn an_identifier_is_taken_over_time_and_again() {
    sol_survives(|address| {
        let mut watcher = Client::subscribed(address, "watcher", "will", AtMostOnce);
        let mut former: Option<(Client, [u8; 1])> = None;
        // From each kind of session to each.
        let kinds = [true, true, false, false];
        for n in 0..40 {
            let clean_session = kinds[n % kinds.len()];
            let session_present = !clean_session && n > 0 && !kinds[(n - 1) % kinds.len()];
            let mark = [u8::try_from(n).unwrap()];
            let will = Will {
                topic: Name::new("will").unwrap(),
                payload: &mark,
                qos: AtMostOnce,
                retain: false,
                properties: Properties::EMPTY,
            };
            let connect = Connect { clean_session, will: Some(will), ..connect("contested") };
            let mut newer = Client::connect_as(address, connect, session_present);
            if let Some((mut older, mark)) = former.take() {
                older.expect_closed();
                assert_eq!(watcher.message(), mark);
            }
            newer.subscribe("t", AtMostOnce);
            watcher.publish("t", &mark);
            assert_eq!(newer.message(), mark);
            former = Some((newer, mark));
        }
        (watcher, former)
    });
}

#[test]
fn a_client_that_dies_leaves_its_will() {
    sol_survives(|address| {
        let mut heir = Client::subscribed(address, "heir", "will/+", AtMostOnce);
        let will = |topic, qos, retain| Connect {
            will: Some(Will {
                topic: Name::new(topic).unwrap(),
                payload: b"gone",
                qos,
                retain,
                properties: Properties::EMPTY,
            }),
            ..connect("mortal")
        };
        let gone = |topic: &str, retain| (topic.to_owned(), b"gone".to_vec(), retain);
        for qos in ALL_QOS {
            Client::connect_as(address, will("will/now", qos, false), false).die();
            assert_eq!(heir.hear(), gone("will/now", false));
        }
        // Within a packet, while it hears its own will, and for those who come later.
        let mut mortal = Client::connect_as(address, will("will/kept", AtMostOnce, true), false);
        mortal.subscribe("will/#", AtMostOnce);
        mortal.send_bytes(b"\x30\x7f\0\x01t");
        mortal.die();
        assert_eq!(heir.hear(), gone("will/kept", false));
        heir.subscribe("will/kept", AtMostOnce);
        assert_eq!(heir.hear(), gone("will/kept", true));
        // Two that would mourn each other.
        let one = Connect { client_id: "one", ..will("will/one", AtMostOnce, false) };
        let two = Connect { client_id: "two", ..will("will/two", AtMostOnce, false) };
        let mut one = Client::connect_as(address, one, false);
        let mut two = Client::connect_as(address, two, false);
        one.subscribe("will/two", AtMostOnce);
        two.subscribe("will/one", AtMostOnce);
        one.die();
        two.die();
        let both = BTreeSet::from([heir.hear(), heir.hear()]);
        assert_eq!(both, BTreeSet::from(["will/one", "will/two"].map(|topic| gone(topic, false))));
        heir
    });
}

// Packets

#[test]
fn unsubscribe_ends_what_it_names() {
    sol_survives(|address| {
        let mut client = Client::subscribed(address, "client", "a/b", AtMostOnce);
        client.subscribe("a/+", AtLeastOnce);
        client.subscribe("#", ExactlyOnce);
        let mut other = Client::subscribed(address, "other", "a/+", AtMostOnce);
        let mut publisher = Client::connect(address, "publisher");
        let unsubscribe = |client: &mut Client, filters: &[&str]| {
            let filters = filters.iter().copied().map(filter).collect();
            client.send(&[Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters))]);
            client.expect(Packet::Unsuback(Unsuback::new(ack(1).packet_id, &[])));
        };
        unsubscribe(&mut client, &["a/b", "a/#", "never"]);
        publisher.publish("a/b", b"still");
        assert_eq!(other.message(), b"still");
        assert_eq!(client.message(), b"still");
        unsubscribe(&mut client, &["a/+", "#"]);
        unsubscribe(&mut client, &["a/+", "#"]);
        publisher.publish("a/b", b"no more");
        assert_eq!(other.message(), b"no more");
        client.ping();
        client.subscribe("a/b", AtMostOnce);
        publisher.publish("a/b", b"again");
        assert_eq!(other.message(), b"again");
        assert_eq!(client.message(), b"again");
        (client, other, publisher)
    });
}

#[test]
fn acknowledgements_of_unknown_identifiers_change_nothing() {
    sol_survives(|address| {
        let persistent = Connect { clean_session: false, ..connect("client") };
        let mut client = Client::connect_as(address, persistent, false);
        client.subscribe("t", ExactlyOnce);
        let unknown = |client: &mut Client, packet_id| {
            client.send(&[Packet::Puback(ack(packet_id)), Packet::Pubcomp(ack(packet_id))]);
            // Answered, so that a client that knows more can finish.
            client.send(&[Packet::Pubrec(ack(packet_id)), Packet::Pubrel(ack(packet_id))]);
            client.expect(Packet::Pubrel(ack(packet_id)));
            client.expect(Packet::Pubcomp(ack(packet_id)));
            client.ping();
        };
        for packet_id in [1, 2, 7, u16::MAX] {
            unknown(&mut client, packet_id);
        }
        // Two in flight, and answered with each other's acknowledgements: both stay.
        let mut publisher = Client::connect(address, "publisher");
        let mut in_flight = Vec::new();
        for qos in [AtLeastOnce, ExactlyOnce] {
            publisher.send(&[Packet::Publish(publish("t", b"in flight", qos))]);
            let Packet::Publish(message) = client.receive() else { panic!("no PUBLISH") };
            in_flight.push(message.delivery);
        }
        let [one, two] = [0, 1].map(|n: usize| Ack::new(in_flight[n].packet_id().unwrap()));
        client.send(&[Packet::Pubcomp(one), Packet::Puback(two), Packet::Pubcomp(two), Packet::Pingreq]);
        client.expect(Packet::Pingresp);
        unknown(&mut client, 7);
        client.die();
        let mut client = Client::connect_as(address, persistent, true);
        for delivery in in_flight {
            client.expect(Packet::Publish(Publish {
                dup: true,
                delivery,
                ..publish("t", b"in flight", AtMostOnce)
            }));
        }
        // Identifier 0 is none.
        for packet_type in [0x40, 0x50, 0x62, 0x70] {
            let mut client = Client::connect(address, "zero");
            client.send_bytes(&[packet_type, 2, 0, 0]);
            client.expect_closed();
        }
        (client, publisher)
    });
}

#[test]
fn qos_3_closes() {
    sol_survives(|address| {
        let mut watcher = Client::subscribed(address, "watcher", "#", AtMostOnce);
        for bytes in [
            &b"\x36\x06\0\x01t\0\x01x"[..],
            b"\x3f\x06\0\x01t\0\x01x",
            b"\x82\x06\0\x01\0\x01t\x03",
            b"\x82\x0a\0\x01\0\x01t\0\0\x01u\x03",
        ] {
            let mut client = Client::connect(address, "client");
            client.send_bytes(bytes);
            client.expect_closed();
        }
        let mut client = Client::open(address);
        client.send_bytes(b"\x10\x13\0\x04MQTT\x04\x1e\0\0\0\x01c\0\x01w\0\x01m");
        client.expect_closed();
        watcher.ping();
    });
}

#[test]
fn what_is_no_filter_closes() {
    let bad = [
        &b"a#b"[..],
        b"a#",
        b"#a",
        b"a/#b",
        b"a/#/b",
        b"#/",
        b"##",
        b"a+b",
        b"a+",
        b"+a/b",
        b"a/b+/c",
        b"++",
        b"+#",
        b"",
        b"a\0b",
        b"\xff",
    ];
    sol_survives(|address| {
        let persistent = Connect { clean_session: false, ..connect("client") };
        let mut session_present = false;
        for bad in bad {
            let bad = [&[0, u8::try_from(bad.len()).unwrap()], bad].concat();
            let subscribe = [&b"\0\x01"[..], &bad, b"\0"].concat();
            let behind_a_good_one = [&b"\0\x01\0\x04good\0"[..], &bad, b"\0"].concat();
            let unsubscribe = [&b"\0\x01"[..], &bad].concat();
            for (first, body) in [(0x82, subscribe), (0x82, behind_a_good_one), (0xa2, unsubscribe)] {
                let mut client = Client::connect_as(address, persistent, session_present);
                session_present = true;
                client.send_bytes(&[&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat());
                client.expect_closed();
            }
        }
        // None of the good ones was taken either.
        let mut client = Client::connect_as(address, persistent, true);
        Client::connect(address, "publisher").publish("good", b"x");
        client.ping();
        client
    });
}

// Messages

/// Filters, and which of [`TOPICS`] they match.
const MATCHES: [(&str, &[&str]); 8] = [
    ("#", &["a", "a/", "a/b", "a/b/c", "x/b"]),
    ("+", &["a"]),
    ("a/#", &["a", "a/", "a/b", "a/b/c"]),
    ("a/+", &["a/", "a/b"]),
    ("+/b", &["a/b", "x/b"]),
    ("a/+/c", &["a/b/c"]),
    ("+/+/+", &["a/b/c"]),
    ("$x/#", &["$x/b"]),
];

const TOPICS: [&str; 6] = ["$x/b", "a", "a/", "a/b", "a/b/c", "x/b"];

#[test]
fn wildcards_hear_of_topics_that_are_new() {
    sol_survives(|address| {
        let mut clients = MATCHES.map(|(filter, _)| Client::subscribed(address, filter, filter, AtMostOnce));
        let mut publisher = Client::connect(address, "publisher");
        for topic in TOPICS {
            publisher.publish(topic, b"new");
        }
        for (client, (_, topics)) in clients.iter_mut().zip(MATCHES) {
            for topic in topics {
                assert_eq!(client.hear(), (topic.to_string(), b"new".to_vec(), false));
            }
            client.ping();
        }
        clients
    });
}

#[test]
fn wildcards_get_what_is_retained() {
    sol_survives(|address| {
        let mut publisher = Client::connect(address, "publisher");
        for topic in TOPICS {
            publisher.retain(topic, b"kept");
        }
        MATCHES.map(|(filter, topics)| {
            let mut client = Client::subscribed(address, filter, filter, AtMostOnce);
            // In any order.
            let retained: BTreeSet<_> = topics.iter().map(|_| client.hear()).collect();
            let expected = topics.iter().map(|topic| (topic.to_string(), b"kept".to_vec(), true));
            assert_eq!(retained, expected.collect());
            client.ping();
            client
        })
    });
}

#[test]
fn what_is_retained_can_be_cleared() {
    sol_survives(|address| {
        let mut publisher = Client::connect(address, "publisher");
        let mut watcher = Client::subscribed(address, "watcher", "#", AtMostOnce);
        let mut retain = |topic: &str, payload: &[u8]| {
            publisher.retain(topic, payload);
            assert_eq!(watcher.hear(), (topic.to_owned(), payload.to_vec(), false));
        };
        for topic in ["a", "a/b", "a/b/c"] {
            retain(topic, b"kept");
        }
        // The one in the middle, again, one that never was, and one that is set again.
        for topic in ["a/b", "a/b", "a/b/x", "a"] {
            retain(topic, b"");
        }
        retain("a", b"once more");
        for (filter, left) in
            [("#", &[("a", "once more"), ("a/b/c", "kept")][..]), ("a/b", &[]), ("a/+", &[])]
        {
            let mut client = Client::subscribed(address, "late", filter, AtMostOnce);
            let retained: BTreeSet<_> = left.iter().map(|_| client.hear()).collect();
            let expected = left.iter().map(|(topic, payload)| (topic.to_string(), (*payload).into(), true));
            assert_eq!(retained, expected.collect());
            client.ping();
        }
    });
}

#[test]
fn it_stops_after_retained_deliveries() {
    sol_survives(|address| {
        let mut publisher = Client::connect(address, "publisher");
        let retain = |client: &mut Client, topic, payload, qos| {
            let message = Publish { retain: true, ..publish(topic, payload, qos) };
            client.send(&[Packet::Publish(message)]);
            match qos {
                AtMostOnce => client.ping(),
                AtLeastOnce => client.expect(Packet::Puback(ack(1))),
                // Stays unreleased.
                ExactlyOnce => client.expect(Packet::Pubrec(ack(1))),
            }
        };
        for (topic, qos) in ["kept/0", "kept/1", "kept/2"].into_iter().zip(ALL_QOS) {
            retain(&mut publisher, topic, &b"kept"[..], qos);
        }
        let persistent = Connect { clean_session: false, ..connect("absent") };
        let mut readers = vec![Client::connect_as(address, persistent, false)];
        readers.extend(["one", "two", "three"].map(|id| Client::connect(address, id)));
        for (reader, qos) in readers.iter_mut().zip([ExactlyOnce, AtMostOnce, AtLeastOnce, ExactlyOnce]) {
            reader.subscribe("kept/#", qos);
            // Never acknowledged.
            for _ in ALL_QOS {
                let Packet::Publish(message) = reader.receive() else { panic!("no PUBLISH") };
                assert!(message.retain && message.payload == b"kept");
            }
        }
        readers.remove(0).die();
        // Replaced and cleared while the older ones are in flight.
        retain(&mut publisher, "kept/1", b"newer", AtLeastOnce);
        retain(&mut publisher, "kept/0", b"", AtMostOnce);
        (publisher, readers)
    });
}

#[test]
fn offline_messages_come_in_order() {
    /// More than are in flight at a time.
    const MESSAGES: u16 = 300;
    sol_survives(|address| {
        let persistent = Connect { clean_session: false, ..connect("absent") };
        let mut absent = Client::connect_as(address, persistent, false);
        absent.subscribe("t", ExactlyOnce);
        absent.send(&[Packet::Disconnect(Disconnect::default())]);
        absent.expect_closed();
        let mut publisher = Client::connect(address, "publisher");
        for n in 0..MESSAGES {
            let qos = if n % 3 == 0 { AtLeastOnce } else { ExactlyOnce };
            publisher.send(&[Packet::Publish(publish("t", &n.to_be_bytes(), qos))]);
            if qos == AtLeastOnce {
                publisher.expect(Packet::Puback(ack(1)));
            } else {
                publisher.expect(Packet::Pubrec(ack(1)));
                publisher.send(&[Packet::Pubrel(ack(1))]);
                publisher.expect(Packet::Pubcomp(ack(1)));
            }
        }

        let mut back = Client::connect_as(address, persistent, true);
        let (mut next, mut unfinished) = (0, 0);
        while next < MESSAGES || unfinished > 0 {
            let answer = match back.receive() {
                Packet::Publish(Publish { dup: false, delivery, payload, .. }) => {
                    assert_eq!(payload, next.to_be_bytes());
                    next += 1;
                    let packet_id = delivery.packet_id().unwrap();
                    if delivery.qos() == AtLeastOnce {
                        Packet::Puback(Ack::new(packet_id))
                    } else {
                        unfinished += 1;
                        Packet::Pubrec(Ack::new(packet_id))
                    }
                }
                Packet::Pubrel(ack) => {
                    unfinished -= 1;
                    Packet::Pubcomp(Ack::new(ack.packet_id))
                }
                other => panic!("{other:?}"),
            };
            back.send(&[answer]);
        }
        back.ping();
        back.die();
        let mut again = Client::connect_as(address, persistent, true);
        again.ping();
        again
    });
}

#[test]
fn a_subscriber_that_stops_reading_holds_up_nobody() {
    /// Of 100,000 bytes: more than the system takes for a client.
    const MESSAGES: u32 = 300;
    sol_survives(|address| {
        let persistent = |client_id| Connect { clean_session: false, ..connect(client_id) };
        let mut at_most_once = Client::subscribed(address, "at most once", "t", AtMostOnce);
        let mut at_least_once = Client::connect_as(address, persistent("at least once"), false);
        at_least_once.subscribe("t", AtLeastOnce);
        let mut given_up = Client::connect_as(address, persistent("given up"), false);
        given_up.subscribe("t", AtLeastOnce);

        let mut reader = Client::subscribed(address, "reader", "t", AtMostOnce);
        let mut publisher = Client::connect(address, "publisher");
        for n in 0..MESSAGES {
            let payload = n.to_be_bytes().repeat(25_000);
            publisher.send(&[Packet::Publish(publish("t", &payload, AtLeastOnce))]);
            publisher.expect(Packet::Puback(ack(1)));
            assert_eq!(reader.message(), payload);
        }

        // One reads on, and gets what there was room for. The others get everything, one of them on a new connection.
        at_most_once.send(&[Packet::Pingreq]);
        let mut last = None;
        while let Packet::Publish(message) = at_most_once.receive() {
            let number = message.payload[..4].try_into().map(u32::from_be_bytes).unwrap();
            assert!(last < Some(number), "{number} behind {last:?}");
            last = Some(number);
        }
        let mut newer = Client::connect_as(address, persistent("given up"), true);
        for n in 0..MESSAGES {
            assert_eq!(at_least_once.message()[..4], n.to_be_bytes());
            assert_eq!(newer.message()[..4], n.to_be_bytes());
        }
        (at_most_once, at_least_once, given_up, newer)
    });
}
