//! What happens at each limit, that it is counted, and that the log tells of it once and not each time.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use common::process::{Place, Sol};
use common::{Client, broker, connect, encode, eventually, publish};
use rustix::process::Signal;
use sol::codec::{
    Ack, Connack, Connect, Delivery, Disconnect, Packet, PacketId, Properties, Publish, QoS, Reason,
    Subscribe, SubscribeCode, Version, Will,
};
use sol::topic::{Filter, Name};
use sol::{Limits, Stats};

/// More than a log could tell of each.
const FLOOD: usize = 3_000;

/// `sol` with a configuration, and what it tells.
struct Process {
    sol: Sol,
    started: Instant,
    _place: Place,
}

impl Process {
    fn start(config: &str) -> Self {
        let place = Place::new(&format!("ip_port 0\nthreads 2\nstats_publish_interval 1s\n{config}"));
        Self { sol: place.start(), started: Instant::now(), _place: place }
    }

    fn address(&self) -> SocketAddr {
        self.sol.address
    }

    /// Waits until a topic below `$SYS/broker/` has a value of at least that.
    fn counts(&self, topic: &str, least: usize) {
        let mut client = None;
        eventually("who asks is let in", || {
            client = let_in(self.address(), "watch");
            client.is_some()
        });
        let mut client = client.unwrap();
        client.subscribe(&format!("$SYS/broker/{topic}"), QoS::AtMostOnce);
        loop {
            let value = String::from_utf8(client.message()).unwrap();
            if value.parse::<usize>().unwrap() >= least {
                return;
            }
        }
    }

    /// Its log has these words once; on a machine so slow that a minute passes, once a minute.
    fn told_once(mut self, words: &str) {
        self.sol.line(words);
        self.sol.signal(Signal::TERM);
        let (code, log) = self.sol.end();
        assert_eq!(code, Some(0));
        let minutes = usize::try_from(self.started.elapsed().as_secs() / 60).unwrap();
        assert!((1..=1 + minutes).contains(&log.matches(words).count()), "{log}");
        assert!(log.lines().count() < 20 + minutes, "{log}");
    }
}

/// A client, if it is let in: the broker may close the connection before or after it says something.
fn let_in(address: SocketAddr, id: &str) -> Option<Client> {
    let mut client = Client::open(address);
    client.try_send_bytes(&encode(&[Packet::Connect(connect(id))])).ok()?;
    client.receive_or_end()?;
    Some(client)
}

/// The session of a client that is away and wants `t` at QoS 1.
fn absent(address: SocketAddr, id: &str) {
    let mut client = Client::connect_as(address, Connect { clean_session: false, ..connect(id) }, false);
    client.subscribe("t", QoS::AtLeastOnce);
    client.send(&[Packet::Disconnect(Disconnect::default())]);
    client.expect_closed();
}

fn publish_as<'a>(topic: &'a str, qos: QoS) -> Packet<'a> {
    Packet::Publish(publish(topic, b"x", qos))
}

#[test]
fn refused_connections_are_counted_and_told_once() {
    let process = Process::start("max_connections 2\n");
    let first = Client::connect(process.address(), "first");
    let second = Client::connect(process.address(), "second");
    for _ in 0..FLOOD {
        Client::open(process.address()).expect_closed();
    }
    drop((first, second));
    process.counts("connections/dropped/total", FLOOD);
    process.told_once("there are as many connections as `max_connections` allows");
}

#[test]
fn connections_made_too_fast_are_counted_and_told_once() {
    let process = Process::start("max_connections_per_address_per_second 2\n");
    let mut are_in = 0;
    for n in 0..FLOOD {
        are_in += usize::from(let_in(process.address(), &n.to_string()).is_some());
    }
    assert!((20..FLOOD).contains(&are_in), "{are_in}");
    process.counts("connections/dropped/rate", FLOOD - are_in);
    process.told_once("it connects faster than `max_connections_per_address_per_second` allows");
}

#[test]
fn what_an_absent_client_misses_is_told_once() {
    let process = Process::start("max_queued_messages 5\n");
    absent(process.address(), "away");
    let mut publisher = Client::connect(process.address(), "publisher");
    for _ in 0..FLOOD {
        publisher.send(&[publish_as("t", QoS::AtLeastOnce)]);
        publisher.receive();
    }
    process.counts("publish/messages/dropped/queue", FLOOD - 5);
    process.told_once("client \"away\" has a full queue");
}

#[test]
fn what_is_not_retained_is_told_once() {
    let process = Process::start("max_retained_messages 1\n");
    let mut publisher = Client::connect(process.address(), "publisher");
    for n in 0..FLOOD {
        let topic = n.to_string();
        publisher
            .send(&[Packet::Publish(Publish { retain: true, ..publish(&topic, b"x", QoS::AtLeastOnce) })]);
        publisher.receive();
    }
    process.counts("retained messages/dropped/store", FLOOD - 1);
    process.told_once("the store of retained messages is full");
}

#[test]
fn a_client_that_is_refused_again_and_again_is_told_of_once() {
    let process = Process::start("max_sessions 1\n");
    absent(process.address(), "only");
    for _ in 0..FLOOD {
        let mut client = Client::open(process.address());
        client.send(&[Packet::Connect(connect("other"))]);
        client.expect(Packet::Connack(Connack::new(false, Reason::ServerUnavailable)));
        client.expect_closed();
    }
    process.told_once("there are as many sessions as the limit allows");
}

#[test]
fn a_client_that_publishes_what_it_may_not_is_told_of_once() {
    let process = Process::start("max_topic_levels 8\n");
    for _ in 0..FLOOD {
        let mut client = Client::connect(process.address(), "deep");
        client.send(&[publish_as("1/2/3/4/5/6/7/8/9", QoS::AtLeastOnce)]);
        client.expect_closed();
    }
    let mut newer = v5(process.address(), "newer");
    for _ in 0..FLOOD {
        newer.send(&[publish_as("1/2/3/4/5/6/7/8/9", QoS::AtLeastOnce)]);
        newer.receive();
    }
    process.counts("publish/messages/dropped/topic", 2 * FLOOD);
    process.told_once("client \"deep\" at ");
}

#[test]
fn an_address_has_so_many_connections() {
    let limits = Limits { max_connections_per_address: NonZeroUsize::new(2), ..Limits::default() };
    let broker = broker(limits);
    let mut first = Client::connect(broker.local_addr(), "first");
    let second = Client::connect(broker.local_addr(), "second");
    Client::open(broker.local_addr()).expect_closed();
    assert_eq!(broker.stats().refused_address_full, 1);
    assert_eq!(broker.stats().connections, 2);
    first.ping();
    second.leave();
    Client::connect(broker.local_addr(), "third").ping();
}

#[test]
fn an_address_connects_so_fast() {
    let rate = NonZeroU32::new(1);
    let broker = broker(Limits { max_connections_per_address_per_second: rate, ..Limits::default() });
    let _let_in: Vec<_> = (0..10).map(|n| Client::connect(broker.local_addr(), &n.to_string())).collect();
    eventually("one is too many", || {
        drop(std::net::TcpStream::connect(broker.local_addr()));
        broker.stats().refused_address_rate > 0
    });
}

#[test]
fn subscriptions_have_a_limit_in_total() {
    let broker = broker(Limits { max_total_subscriptions: 2, ..Limits::default() });
    let mut first = Client::subscribed(broker.local_addr(), "first", "a", QoS::AtMostOnce);
    let mut second = Client::connect(broker.local_addr(), "second");
    let filters = ["b", "$share/g/c", "b"].map(|filter| (Filter::new(filter).unwrap(), QoS::AtMostOnce));
    second.send(&[Packet::Subscribe(Subscribe::new(PacketId::MIN, filters.into()))]);
    match second.receive() {
        Packet::Suback(suback) => {
            let granted = SubscribeCode::Granted(QoS::AtMostOnce);
            let refused = SubscribeCode::Refused(Reason::Unspecified);
            assert_eq!(*suback.codes, [granted, refused, granted], "what is there may be replaced");
        }
        other => panic!("{other:?}"),
    }
    first.ping();
    assert_eq!(broker.stats().refused_total_subscriptions_full, 1);
}

/// A client of 5.0.
fn v5(address: SocketAddr, id: &str) -> Client {
    let mut client = Client::open(address);
    client.send(&[Packet::Connect(Connect { version: Version::V5, ..connect(id) })]);
    match client.receive() {
        Packet::Connack(connack) => assert_eq!(connack.reason, Reason::Success),
        other => panic!("{other:?}"),
    }
    client
}

#[test]
fn a_topic_too_deep_or_too_long_is_refused_where_it_can_be_and_never_acknowledged() {
    let broker = broker(Limits { max_topic_bytes: 10, max_topic_levels: 3, ..Limits::default() });
    let address = broker.local_addr();
    let mut subscriber = Client::subscribed(address, "subscriber", "#", QoS::AtMostOnce);
    let mut refused = 0;
    for topic in ["a/b/c/d", "12345678901"] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            // 3.1.1 has no word for it.
            let mut older = Client::connect(address, "older");
            older.send(&[publish_as(topic, qos)]);
            older.expect_closed();

            let mut newer = v5(address, "newer");
            newer.send(&[publish_as(topic, qos)]);
            let reason = match newer.receive() {
                Packet::Puback(Ack { reason, .. }) if qos == QoS::AtLeastOnce => reason,
                Packet::Pubrec(Ack { reason, .. }) if qos == QoS::ExactlyOnce => reason,
                Packet::Disconnect(Disconnect { reason, .. }) if qos == QoS::AtMostOnce => reason,
                other => panic!("{other:?}"),
            };
            assert_eq!(reason, Reason::TopicNameInvalid);
            if qos > QoS::AtMostOnce {
                newer.publish("a/b/c", b"goes on");
                assert_eq!(subscriber.message(), b"goes on");
            }
            refused += 2;
        }
        let will = Will {
            topic: Name::new(topic).unwrap(),
            payload: b"",
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        for (version, reason) in
            [(Version::V311, Reason::ServerUnavailable), (Version::V5, Reason::TopicNameInvalid)]
        {
            let mut client = Client::open(address);
            client.send(&[Packet::Connect(Connect { version, will: Some(will), ..connect("will") })]);
            match client.receive() {
                Packet::Connack(connack) => assert_eq!(connack.reason, reason),
                other => panic!("{other:?}"),
            }
            client.expect_closed();
            refused += 1;
        }
    }
    subscriber.ping();
    eventually("all is counted", || broker.stats().refused_topics == refused);

    let filters = ["a/b/c", "a/b/c/#", "$share/group/a/b/c"]
        .map(|filter| (Filter::new(filter).unwrap(), QoS::AtMostOnce));
    subscriber.send(&[Packet::Subscribe(Subscribe::new(PacketId::MIN, filters.into()))]);
    match subscriber.receive() {
        Packet::Suback(suback) => {
            let granted = SubscribeCode::Granted(QoS::AtMostOnce);
            assert_eq!(*suback.codes, [granted, SubscribeCode::Refused(Reason::Unspecified), granted]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(broker.stats().refused_filter_topics, 1);
}

#[test]
fn each_limit_has_a_count_of_its_own() {
    let limits = Limits {
        max_sessions: 1,
        max_subscriptions: 2,
        max_filters: 3,
        max_packet_bytes: 100,
        connect_timeout: Duration::from_millis(1),
        ..Limits::default()
    };
    let broker = broker(Limits { connect_timeout: Limits::default().connect_timeout, ..limits.clone() });
    let mut client = Client::connect(broker.local_addr(), "client");
    let mut other = Client::open(broker.local_addr());
    other.send(&[Packet::Connect(connect("other"))]);
    other.expect(Packet::Connack(Connack::new(false, Reason::ServerUnavailable)));
    let filters = ["a", "b", "c", "d", "e"].map(|filter| (Filter::new(filter).unwrap(), QoS::AtMostOnce));
    client.send(&[Packet::Subscribe(Subscribe::new(PacketId::MIN, filters.into()))]);
    client.receive();
    client.send(&[Packet::Publish(Publish::new(Name::new("x").unwrap(), Delivery::AtMostOnce, &[0; 200]))]);
    client.expect_closed();
    let counted = |stats: Stats| {
        [
            stats.refused_sessions_full,
            stats.refused_subscriptions_full,
            stats.refused_filters_full,
            stats.ended_packet_too_large,
        ]
    };
    eventually("all is counted", || counted(broker.stats()) == [1, 1, 2, 1]);

    let hasty = common::broker(limits);
    Client::open(hasty.local_addr()).expect_closed();
    eventually("it is counted", || hasty.stats().ended_silent == 1);
}
