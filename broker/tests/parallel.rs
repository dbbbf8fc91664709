//! Many clients at once, on several threads of the broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Client, connect, encode, eventually, publish, subscribe};
use sol::codec::{Ack, Connack, Connect, Delivery, Packet, PacketId, Publish, QoS, Reason, Unsubscribe};
use sol::topic::Filter;
use sol::{Broker, Config};

/// With more threads than cores, so that they interrupt each other.
fn broker() -> Broker {
    Broker::start(Config {
        threads: NonZeroUsize::new(4).unwrap(),
        spread: true,
        ..Config::on("127.0.0.1:0".parse().unwrap())
    })
    .unwrap()
}

/// A payload of two numbers.
fn payload(publisher: u32, number: u32) -> [u8; 8] {
    let [a, b, c, d] = publisher.to_be_bytes();
    let [e, f, g, h] = number.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

fn numbers(payload: &[u8]) -> (usize, u32) {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    (number(&payload[..4]) as usize, number(&payload[4..]))
}

/// Says that it is over also if the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// [MQTT-4.6.0-6]
#[test]
fn each_publisher_keeps_its_order() {
    const PUBLISHERS: u32 = 4;
    const MESSAGES: u32 = 500;
    let broker = broker();
    let subscribers = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtLeastOnce]
        .map(|qos| (qos, Client::subscribed(broker.local_addr(), "", "t/#", qos)));
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let address = broker.local_addr();
            scope.spawn(move || {
                let mut client = Client::connect(address, "");
                let topic = format!("t/{publisher}");
                for number in 0..MESSAGES {
                    let payload = payload(publisher, number);
                    client.send(&[Packet::Publish(publish(&topic, &payload, QoS::AtLeastOnce))]);
                }
                for _ in 0..MESSAGES {
                    client.expect(Packet::Puback(Ack::new(PacketId::MIN)));
                }
            });
        }
        for (qos, mut client) in subscribers {
            scope.spawn(move || {
                let mut next = [0; PUBLISHERS as usize];
                for _ in 0..PUBLISHERS * MESSAGES {
                    let (publisher, number) = numbers(&client.message());
                    assert_eq!(number, next[publisher], "of publisher {publisher} at QoS {qos}");
                    next[publisher] += 1;
                }
            });
        }
    });
}

/// Who subscribes in the middle of a stream gets the retained message and then what follows it: nothing twice, nothing
/// in the wrong order, nothing left out.
#[test]
fn the_retained_message_joins_the_live_ones() {
    let broker = broker();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Client::connect(broker.local_addr(), "publisher");
            for number in 0_u32.. {
                let payload = payload(0, number);
                let message = publish("t", &payload, QoS::AtMostOnce);
                publisher.send(&[Packet::Publish(Publish { retain: true, ..message })]);
                // In batches of several messages, with the subscriptions between them.
                if number % 8 == 0 {
                    publisher.ping();
                }
                if enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _over = Over(&enough);
        let mut subscriber = Client::connect(broker.local_addr(), "subscriber");
        for _ in 0..200 {
            subscriber.subscribe("t", QoS::AtMostOnce);
            let mut last = None;
            for _ in 0..10 {
                let (_, number) = numbers(&subscriber.message());
                assert!(last.is_none_or(|last| number == last + 1), "{number} behind {last:?}");
                last = Some(number);
            }
            let filters = vec![Filter::new("t").unwrap()];
            subscriber.send(&[Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters))]);
            while !matches!(subscriber.receive(), Packet::Unsuback(_)) {}
        }
    });
}

/// Reads and acknowledges messages until the answer to a PINGREQ, or the end of the connection.
fn read_a_while(client: &mut Client) -> Vec<u32> {
    let mut got = Vec::new();
    // The broker may have closed the connection meanwhile.
    _ = client.try_send_bytes(&encode(&[Packet::Pingreq]));
    while let Some(packet) = client.receive_or_end() {
        let publish = match packet {
            Packet::Publish(publish) => publish,
            Packet::Suback(_) => continue,
            _ => break,
        };
        got.push(numbers(publish.payload).1);
        let Delivery::AtLeastOnce(packet_id) = publish.delivery else { panic!("{publish:?}") };
        _ = client.try_send_bytes(&encode(&[Packet::Puback(Ack::new(packet_id))]));
    }
    got
}

/// Reads and acknowledges all there is.
fn read_all(client: &mut Client) -> Vec<u32> {
    let mut got = Vec::new();
    loop {
        let before = got.len();
        // Twice: what acknowledgements let go comes behind the answer to a PINGREQ right behind them.
        got.extend(read_a_while(client));
        got.extend(read_a_while(client));
        if got.len() == before {
            return got;
        }
    }
}

/// Publishes so many numbers to `t`, each when the one before is acknowledged, and says when that is over.
fn publish_in_turn(address: SocketAddr, messages: u32, all_published: &AtomicBool) {
    let _over = Over(all_published);
    let mut publisher = Client::connect(address, "publisher");
    for number in 0..messages {
        publisher.send(&[Packet::Publish(publish("t", &payload(0, number), QoS::AtLeastOnce))]);
        publisher.expect(Packet::Puback(Ack::new(PacketId::MIN)));
    }
}

/// The connections of one client identifier fight for its session, in the middle of a stream.
#[test]
fn a_session_that_is_taken_over_again_and_again_loses_nothing() {
    const MESSAGES: u32 = 1000;
    let broker = broker();
    let address = broker.local_addr();
    let same = Connect { clean_session: false, ..connect("same") };
    Client::connect_as(address, same, false).subscribe("t", QoS::AtLeastOnce);
    let all_published = AtomicBool::new(false);

    let mut got: Vec<u32> = thread::scope(|scope| {
        scope.spawn(|| publish_in_turn(address, MESSAGES, &all_published));
        let rivals = [(); 3].map(|()| {
            scope.spawn(|| {
                let mut got = Vec::new();
                while !all_published.load(Ordering::Relaxed) {
                    let mut client = Client::open(address);
                    client.send(&[Packet::Connect(same)]);
                    let connack = Connack::new(true, Reason::Success);
                    if let Some(packet) = client.receive_or_end() {
                        assert_eq!(packet, Packet::Connack(connack));
                        let part = read_a_while(&mut client);
                        assert!(part.is_sorted(), "{part:?}");
                        got.extend(part);
                    }
                }
                got
            })
        });
        rivals.into_iter().flat_map(|rival| rival.join().unwrap()).collect()
    });
    let mut last = Client::connect_as(address, same, true);
    got.extend(read_all(&mut last));
    got.sort_unstable();
    got.dedup();
    assert!(got.iter().copied().eq(0..MESSAGES), "{} of {MESSAGES}", got.len());
    drop(last);
    eventually("all are gone", || broker.stats().connections == 0);
    assert_eq!((broker.stats().sessions, broker.stats().subscriptions), (1, 1));
}

/// Members of a shared subscription lose their connections or end their sessions, in the middle of a stream.
#[test]
fn a_shared_subscription_loses_nothing_while_members_come_and_go() {
    const MESSAGES: u32 = 1000;
    let broker = broker();
    let address = broker.local_addr();
    let member = |client_id, clean_session| Connect { clean_session, ..connect(client_id) };
    let subscribe = subscribe("$share/g/t", QoS::AtLeastOnce);
    // One stays a member throughout, though its connection does not.
    Client::connect_as(address, member("a", false), false).subscribe("$share/g/t", QoS::AtLeastOnce);
    let all_published = AtomicBool::new(false);

    let mut got: Vec<u32> = thread::scope(|scope| {
        scope.spawn(|| publish_in_turn(address, MESSAGES, &all_published));
        let members = [("a", false), ("b", false), ("c", true), ("d", true)].map(|(client_id, clean)| {
            let (subscribe, all_published) = (&subscribe, &all_published);
            scope.spawn(move || {
                let mut got = Vec::new();
                while !all_published.load(Ordering::Relaxed) {
                    let mut client = Client::open(address);
                    client.send(&[Packet::Connect(member(client_id, clean)), subscribe.clone()]);
                    assert!(matches!(client.receive(), Packet::Connack(_)));
                    for _ in 0..4 {
                        got.extend(read_a_while(&mut client));
                    }
                }
                got
            })
        });
        members.into_iter().flat_map(|member| member.join().unwrap()).collect()
    });
    eventually("all are gone", || broker.stats().connections == 0);
    let mut last = ["a", "b"].map(|client_id| Client::connect_as(address, member(client_id, false), true));
    // A connection is not counted any more when its session still hands on what it has.
    eventually("all have come", || {
        last.iter_mut().for_each(|client| got.extend(read_all(client)));
        got.sort_unstable();
        got.dedup();
        got.len() as u32 == MESSAGES
    });
    assert!(got.iter().copied().eq(0..MESSAGES));
    eventually("nothing is left", || {
        let stats = broker.stats();
        (stats.in_flight, stats.queued, stats.shared_subscriptions) == (0, 0, 2)
    });
    assert_eq!(broker.stats().dropped(), 0);
}
