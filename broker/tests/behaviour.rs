//! What a broker does on its sockets: timeouts, limits, bytes in any portions, its stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Port, broker, connect, encode, eventually, publish, subscribe};
use sol::codec::{
    Ack, Connack, Connect, Disconnect, Packet, PacketId, Properties, Publish, QoS, Reason, Suback, Subscribe,
    SubscribeCode, Version, Will,
};
use sol::config::{Endpoint, Listener};
use sol::topic::{Filter, Name};
use sol::{Broker, Config, Limits, StartError};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const ID: Ack = Ack::new(PacketId::MIN);

fn refused(code: Reason) -> Packet<'static> {
    Packet::Connack(Connack::new(false, code))
}

/// A broker that does one thing after the other.
fn single_threaded() -> Broker {
    Broker::start(Config { threads: NonZeroUsize::MIN, ..Config::on("127.0.0.1:0".parse().unwrap()) })
        .unwrap()
}

// Timeouts

#[test]
fn silence_ends_the_connection_after_one_and_a_half_keep_alives() {
    let broker = broker(Limits::default());
    // Before the time runs.
    let mut heir = Client::subscribed(broker.local_addr(), "heir", "will", AtMostOnce);
    let before = Instant::now();
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: b"silent",
        qos: AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let silent = Connect { keep_alive: 1, will: Some(will), ..connect("silent") };
    let mut silent = Client::connect_as(broker.local_addr(), silent, false);
    silent.expect_closed();
    assert!(before.elapsed() >= Duration::from_millis(1500), "after {:?}", before.elapsed());
    assert_eq!(heir.message(), b"silent");
}

#[test]
fn a_connection_without_connect_is_closed() {
    let connect_timeout = Duration::from_millis(100);
    let broker = broker(Limits { connect_timeout, ..Limits::default() });
    let before = Instant::now();
    let mut mute = Client::open(broker.local_addr());
    let mut half = Client::open(broker.local_addr());
    half.send_bytes(b"\x10\x0f\0\x04MQTT");
    mute.expect_closed();
    half.expect_closed();
    assert!(before.elapsed() >= connect_timeout);
    eventually("both are gone", || broker.stats().connections == 0);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let write_timeout = Duration::from_millis(100);
    let broker = broker(Limits { write_timeout, ..Limits::default() });
    let _stuck = Client::subscribed(broker.local_addr(), "stuck", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let deadline = Instant::now() + PATIENCE;
    while broker.stats().connections == 2 {
        assert!(Instant::now() < deadline, "the stuck client stays");
        publisher.publish("t", &[0; 100_000]);
    }
    publisher.ping();
}

// Portions

/// A conversation of all kinds of packets, and what it is answered with.
fn conversation() -> (Vec<u8>, Vec<Packet<'static>>) {
    let packets = [
        Packet::Connect(connect("talker")),
        subscribe("other", AtMostOnce),
        Packet::Publish(publish("t", b"once", ExactlyOnce)),
        Packet::Publish(publish("t", &[b'x'; 200], QoS::AtLeastOnce)),
        Packet::Pubrel(ID),
        Packet::Pingreq,
        Packet::Publish(publish("t", b"last", AtMostOnce)),
        Packet::Disconnect(Disconnect::default()),
    ];
    let codes = vec![SubscribeCode::Granted(AtMostOnce)].into();
    let answers = vec![
        Packet::Connack(Connack::new(false, Reason::Success)),
        Packet::Suback(Suback { packet_id: ID.packet_id, codes, properties: Properties::EMPTY }),
        Packet::Pubrec(ID),
        Packet::Puback(ID),
        Packet::Pubcomp(ID),
        Packet::Pingresp,
    ];
    (encode(&packets), answers)
}

/// Bytes of its CONNECT.
fn connect_len() -> usize {
    encode(&[Packet::Connect(connect("talker"))]).len()
}

#[test]
fn packets_may_be_cut_anywhere() {
    let broker = single_threaded();
    let mut subscriber = Client::subscribed(broker.local_addr(), "subscriber", "t", AtMostOnce);
    let mut pacemaker = Client::connect(broker.local_addr(), "pacemaker");
    let (bytes, answers) = conversation();
    let mut converse = |portions: &[&[u8]]| {
        let mut talker = Client::open(broker.local_addr());
        for portion in portions {
            talker.send_bytes(portion);
            // Lets the broker's one thread read the portion by itself.
            pacemaker.ping();
        }
        for answer in &answers {
            talker.expect(answer.clone());
        }
        talker.expect_closed();
        let messages = [(); 3].map(|()| subscriber.message());
        assert_eq!(messages, [&b"once"[..], &[b'x'; 200], b"last"]);
    };
    for cut in 1..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        converse(&[first, second]);
    }
    converse(&bytes.chunks(1).collect::<Vec<_>>());
    converse(&[&bytes]);
}

#[test]
fn large_packets_come_in_portions_of_any_size() {
    let broker = broker(Limits::default());
    let mut subscriber = Client::subscribed(broker.local_addr(), "subscriber", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    for payload_len in [8 << 10, (32 << 10) - 6, 32 << 10, (64 << 10) - 6, 64 << 10, 300_000] {
        let payload: Vec<u8> = (0..payload_len).map(|n| (n % 251) as u8).collect();
        // With small packets before and behind, in the same reads.
        let large = encode(&[
            Packet::Publish(publish("t", b"before", AtMostOnce)),
            Packet::Publish(publish("t", &payload, AtMostOnce)),
            Packet::Publish(publish("t", b"behind", AtMostOnce)),
        ]);
        for portion in [1_000, 30_000, 40_000, 70_000, large.len()] {
            for portion in large.chunks(portion) {
                publisher.send_bytes(portion);
            }
            let messages = [(); 3].map(|()| subscriber.message());
            assert_eq!(messages, [b"before".to_vec(), payload.clone(), b"behind".to_vec()]);
        }
    }
}

#[test]
fn many_packets_may_come_at_once() {
    const MESSAGES: u32 = 10_000;
    let broker = broker(Limits::default());
    let mut subscriber = Client::subscribed(broker.local_addr(), "subscriber", "#", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let mut bytes = Vec::new();
    for n in 0..MESSAGES {
        bytes.extend(encode(&[Packet::Publish(publish("t", &n.to_be_bytes(), AtMostOnce)), Packet::Pingreq]));
    }
    publisher.send_bytes(&bytes);
    for n in 0..MESSAGES {
        assert_eq!(subscriber.message(), n.to_be_bytes());
        publisher.expect(Packet::Pingresp);
    }
}

#[test]
fn a_malformed_packet_ends_its_connection_alone() {
    let broker = broker(Limits::default());
    let mut other = Client::connect(broker.local_addr(), "other");
    for bytes in
        [&b"\x00\0"[..], b"\x36\0", b"\xc0\x01\0", b"\x82\x02\0\0", b"\xff\xff\xff\xff\xff", b"\x20\x02\0\0"]
    {
        let mut malformed = Client::connect(broker.local_addr(), "malformed");
        // What came before it still counts.
        malformed.send_bytes(&[b"\xc0\0", bytes].concat());
        malformed.expect(Packet::Pingresp);
        malformed.expect_closed();
    }
    other.ping();
}

// Limits

#[test]
fn a_packet_beyond_the_limit_closes_and_one_at_the_limit_does_not() {
    let max_packet_bytes = 1000;
    let broker = broker(Limits { max_packet_bytes, ..Limits::default() });
    let mut other = Client::connect(broker.local_addr(), "other");
    let mut client = Client::subscribed(broker.local_addr(), "client", "t", AtMostOnce);
    let header = encode(&[Packet::Publish(publish("t", &[0; 900], AtMostOnce))]).len() - 900;
    client.send(&[Packet::Publish(publish("t", &vec![1; max_packet_bytes - header], AtMostOnce))]);
    assert_eq!(client.message().len(), max_packet_bytes - header);
    // The fixed header says enough.
    let over = encode(&[Packet::Publish(publish("t", &vec![2; max_packet_bytes - header + 1], AtMostOnce))]);
    client.send_bytes(&over[..3]);
    client.expect_closed();
    other.ping();
}

#[test]
fn connections_beyond_the_limit_are_closed_until_there_is_room() {
    let broker = broker(Limits { max_connections: 2, ..Limits::default() });
    let mut first = Client::connect(broker.local_addr(), "first");
    let second = Client::connect(broker.local_addr(), "second");
    Client::open(broker.local_addr()).expect_closed();
    first.ping();
    drop(second);
    eventually("the second is gone", || broker.stats().connections == 1);
    Client::connect(broker.local_addr(), "third").ping();
}

#[test]
fn sessions_beyond_the_limit_are_refused() {
    let broker = broker(Limits { max_sessions: 1, ..Limits::default() });
    let persistent = Connect { clean_session: false, ..connect("first") };
    let mut first = Client::connect_as(broker.local_addr(), persistent, false);
    first.send(&[Packet::Disconnect(Disconnect::default())]);
    first.expect_closed();
    let mut second = Client::open(broker.local_addr());
    second.send(&[Packet::Connect(connect("second"))]);
    second.expect(refused(Reason::ServerUnavailable));
    second.expect_closed();
    // The one who has a session gets in.
    Client::connect_as(broker.local_addr(), persistent, true).ping();
}

#[test]
fn what_a_slow_reader_misses_is_counted_and_others_miss_nothing() {
    let broker = broker(Limits { max_outbox_bytes: 64 << 10, ..Limits::default() });
    let mut slow = Client::subscribed(broker.local_addr(), "slow", "t", AtMostOnce);
    let mut quick = Client::subscribed(broker.local_addr(), "quick", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let mut published = 0_u32;
    let deadline = Instant::now() + PATIENCE;
    while broker.stats().dropped_outbox_full < 3 {
        assert!(Instant::now() < deadline, "nothing is dropped");
        let payload = published.to_be_bytes().repeat(10_000);
        publisher.send(&[Packet::Publish(publish("t", &payload, AtMostOnce))]);
        assert_eq!(quick.message(), payload);
        published += 1;
    }
    // The slow one wakes up: what is left comes in order, then everything.
    let mut last = None;
    while last != Some(u32::MAX) {
        if last.is_some() {
            publisher.publish("t", &u32::MAX.to_be_bytes());
        }
        let number = slow.message()[..4].try_into().map(u32::from_be_bytes).unwrap();
        assert!(last < Some(number) || number == u32::MAX, "{number} behind {last:?}");
        last = Some(number);
    }
    assert_eq!(broker.stats().connections, 3);
}

#[test]
fn qos_1_for_a_slow_reader_waits_and_is_not_lost() {
    const MESSAGES: u32 = 300;
    let broker = broker(Limits { max_outbox_bytes: 10_000, ..Limits::default() });
    let mut slow = Client::subscribed(broker.local_addr(), "slow", "t", QoS::AtLeastOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    for n in 0..MESSAGES {
        let payload = n.to_be_bytes().repeat(5_000);
        publisher.send(&[Packet::Publish(publish("t", &payload, QoS::AtLeastOnce))]);
        publisher.expect(Packet::Puback(ID));
    }
    for n in 0..MESSAGES {
        assert_eq!(slow.message()[..4], n.to_be_bytes());
    }
    assert_eq!(broker.stats().dropped_queue_full, 0);
}

#[test]
fn a_slow_reader_that_catches_up_in_time_stays() {
    // Long enough for it on a machine that is busy.
    let write_timeout = Duration::from_secs(5);
    let connect_timeout = write_timeout + Duration::from_millis(500);
    let broker =
        broker(Limits { write_timeout, connect_timeout, max_outbox_bytes: 1 << 20, ..Limits::default() });
    let mut slow = Client::subscribed(broker.local_addr(), "slow", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let deadline = Instant::now() + PATIENCE;
    while broker.stats().dropped_outbox_full == 0 {
        assert!(Instant::now() < deadline, "nothing is dropped");
        publisher.publish("t", &[0; 100_000]);
    }
    slow.send(&[Packet::Pingreq]);
    while slow.receive() != Packet::Pingresp {}
    // The broker's own clock: this ends when a client that had not caught up would be gone.
    Client::open(broker.local_addr()).expect_closed();
    slow.ping();
}

#[test]
fn retained_messages_are_limited_in_bytes() {
    let broker = broker(Limits { max_retained_bytes: 1000, ..Limits::default() });
    let mut client = Client::subscribed(broker.local_addr(), "client", "t/#", AtMostOnce);
    let mut retain = |topic, payload: &[u8]| {
        let message = publish(topic, payload, AtMostOnce);
        client.send(&[Packet::Publish(Publish { retain: true, ..message })]);
        assert_eq!(client.message(), payload);
        (broker.stats().retained, broker.stats().dropped_retained_full)
    };
    assert_eq!(retain("t/large", &[1; 1000]), (0, 1));
    assert_eq!(retain("t/small", &[2; 500]), (1, 1));
    assert_eq!(retain("t/other", &[3; 500]), (1, 2));
    // A replaced message makes room for the one that replaces it, a deleted one for any.
    assert_eq!(retain("t/small", &[4; 600]), (1, 2));
    assert_eq!(retain("t/small", b""), (0, 2));
    assert_eq!(retain("t/other", &[5; 500]), (1, 2));
}

/// All others wait for a SUBSCRIBE, so it must not be made to last.
#[test]
fn what_a_subscribe_may_cost_is_limited() {
    let broker =
        broker(Limits { max_filters: 3, max_queued_messages: 1, max_outbox_bytes: 1, ..Limits::default() });
    let mut client = Client::connect(broker.local_addr(), "client");
    for topic in ["t/1", "t/2", "t/3", "t/4"] {
        let message = publish(topic, b"retained", AtMostOnce);
        client.send(&[Packet::Publish(Publish { retain: true, ..message })]);
    }
    let filters = ["t/#", "t/+", "#", "+/1"].map(|filter| (Filter::new(filter).unwrap(), AtMostOnce));
    client.send(&[Packet::Subscribe(Subscribe::new(ID.packet_id, filters.into()))]);
    let granted = SubscribeCode::Granted(AtMostOnce);
    let codes = vec![granted, granted, granted, SubscribeCode::Refused(Reason::Unspecified)].into();
    client.expect(Packet::Suback(Suback { packet_id: ID.packet_id, codes, properties: Properties::EMPTY }));
    assert_eq!(client.message(), b"retained");
    client.ping();
    // For each filter one more was looked at, which found no room.
    assert_eq!(broker.stats().dropped_outbox_full, 3);
}

// CONNECT

#[test]
fn a_refusal_can_be_read_whatever_follows_the_connect() {
    let broker = broker(Limits::default());
    for behind in [0, 1, 100_000] {
        let mut client = Client::open(broker.local_addr());
        let mut bytes = b"\x10\x0e\0\x04MQTT\x06\x02\0\0\0\x02id".to_vec();
        bytes.resize(bytes.len() + behind, 0x55);
        client.send_bytes(&bytes);
        client.expect(refused(Reason::UnsupportedProtocolVersion));
        // An end, not a reset: that could have overtaken the CONNACK.
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn clients_without_identifier_get_one_each() {
    let broker = broker(Limits::default());
    let mut clients = [(); 3].map(|()| Client::subscribed(broker.local_addr(), "", "t", AtMostOnce));
    assert_eq!(broker.stats().sessions, 3);
    Client::connect(broker.local_addr(), "").publish("t", b"to all");
    for client in &mut clients {
        assert_eq!(client.message(), b"to all");
    }
    drop(clients);
    eventually("their sessions end", || broker.stats().sessions == 0);
}

#[test]
fn an_empty_identifier_is_for_clean_sessions_of_3_1_1() {
    let broker = broker(Limits::default());
    // Neither is possible with the codec, which keeps the rule.
    for bytes in [&b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0"[..], b"\x10\x0e\0\x06MQIsdp\x03\x02\0\0\0\0"] {
        let mut client = Client::open(broker.local_addr());
        client.send_bytes(bytes);
        client.expect(refused(Reason::ClientIdentifierNotValid));
        client.expect_closed();
    }
    Client::connect_as(broker.local_addr(), Connect { version: Version::V31, ..connect("3.1") }, false)
        .ping();
}

#[test]
fn the_newer_connection_takes_the_identifier_over() {
    let broker = broker(Limits::default());
    let mut older = Client::connect(broker.local_addr(), "same");
    let mut newer = Client::connect(broker.local_addr(), "same");
    older.expect_closed();
    newer.ping();
    eventually("the older is gone", || broker.stats().connections == 1);
    assert_eq!(broker.stats().sessions, 1);
}

// Topics

#[test]
fn nobody_writes_to_the_brokers_topics() {
    let silent = Config { stats_interval: None, ..Config::on("127.0.0.1:0".parse().unwrap()) };
    let broker = Broker::start(silent).unwrap();
    let mut client = Client::connect(broker.local_addr(), "client");
    for filter in ["$SYS/#", "$SOL/#", "$SYS", "$SYSTEM", "#"] {
        client.subscribe(filter, ExactlyOnce);
    }
    for topic in ["$SYS/broker", "$SOL/broker", "$SYS"] {
        for retain in [false, true] {
            let [one, two] = [QoS::AtLeastOnce, ExactlyOnce].map(|qos| publish(topic, b"forged", qos));
            client.send(&[one, two].map(|publish| Packet::Publish(Publish { retain, ..publish })));
            client.expect(Packet::Puback(ID));
            client.expect(Packet::Pubrec(ID));
            client.send(&[Packet::Pubrel(ID)]);
            client.expect(Packet::Pubcomp(ID));
        }
    }
    assert_eq!(broker.stats().retained, 0);
    client.send(&[Packet::Publish(publish("$SYSTEM", b"no broker's", AtMostOnce))]);
    assert_eq!(client.message(), b"no broker's");
}

// Start and stop

#[test]
fn a_stop_sends_wills_and_writes_what_is_left() {
    const MESSAGES: u32 = 100;
    let broker = broker(Limits { stop_timeout: PATIENCE, ..Limits::default() });
    let mut reader = Client::subscribed(broker.local_addr(), "reader", "#", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: b"will",
        qos: AtMostOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    let _mourned =
        Client::connect_as(broker.local_addr(), Connect { will: Some(will), ..connect("mourned") }, false);
    for n in 0..MESSAGES {
        publisher.publish("t", &n.to_be_bytes().repeat(25_000));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| broker.stop());
        for n in 0..MESSAGES {
            assert_eq!(reader.message()[..4], n.to_be_bytes());
        }
        assert_eq!(reader.message(), b"will");
        reader.expect_closed();
        publisher.expect_closed();
    });
}

#[test]
fn a_stop_waits_for_a_client_that_does_not_read_only_so_long() {
    let broker = broker(Limits { stop_timeout: Duration::from_millis(100), ..Limits::default() });
    let _stuck = Client::subscribed(broker.local_addr(), "stuck", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    let deadline = Instant::now() + PATIENCE;
    while broker.stats().dropped_outbox_full == 0 {
        assert!(Instant::now() < deadline, "nothing is dropped");
        publisher.publish("t", &[0; 500_000]);
    }
    broker.stop();
    publisher.expect_closed();
}

/// Many times: what is left open depends on which thread is quicker.
#[test]
fn a_stop_leaves_nothing_open() {
    // Nobody else listens there.
    let port = Port::new();
    let address = port.address();
    for _ in 0..100 {
        let broker = Broker::start(Config::on(address)).unwrap();
        let mut stranger = Client::open(address);
        eventually("it is let in", || broker.stats().connections == 1);
        broker.stop();
        stranger.expect_closed();
        let after = TcpStream::connect(address);
        assert!(after.is_err(), "still listening: {after:?}");
    }
}

#[test]
fn a_broker_that_is_dropped_stops() {
    let port = Port::new();
    let broker = Broker::start(Config::on(port.address())).unwrap();
    Client::connect(port.address(), "client").ping();
    drop(broker);
    assert!(TcpStream::connect(port.address()).is_err());
}

#[test]
fn two_brokers_in_a_process_know_nothing_of_each_other() {
    let brokers = [(); 2].map(|()| broker(Limits::default()));
    let [one, other] = brokers.each_ref().map(Broker::local_addr);
    let mut subscriber = Client::subscribed(one, "same", "t", AtMostOnce);
    Client::connect(other, "same").publish("t", b"over there");
    subscriber.ping();
    assert_eq!(brokers.each_ref().map(|broker| broker.stats().subscriptions), [1, 0]);
}

#[test]
fn a_broker_needs_an_address_that_is_free() {
    let taken = broker(Limits::default());
    let listen = |listeners| Broker::start(Config { listeners, ..Config::default() }).map(|_| ());
    let at = |address: SocketAddr| Listener::from(address);
    let error = listen(vec![at("127.0.0.1:0".parse().unwrap()), at(taken.local_addr())]).unwrap_err();
    let taken = Endpoint::Tcp(taken.local_addr());
    assert!(matches!(&error, StartError::Listen { endpoint, .. } if *endpoint == taken), "{error}");
    assert!(matches!(listen(vec![]), Err(StartError::NoListener)));
}

#[test]
fn a_broker_listens_on_several_addresses() {
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let broker =
        Broker::start(Config { listeners: vec![free.into(), free.into()], ..Config::default() }).unwrap();
    let [one, other] = *broker.local_addrs() else { panic!("{:?}", broker.local_addrs()) };
    let mut subscriber = Client::subscribed(one, "subscriber", "t", AtMostOnce);
    Client::connect(other, "publisher").publish("t", b"across");
    assert_eq!(subscriber.message(), b"across");
}

/// A client that says nothing more may still read. Its end may come together with its last packet, while the broker is
/// busy.
#[test]
fn a_client_that_closes_its_half_still_gets_the_answers() {
    const PINGS: usize = 10_000;
    let broker = single_threaded();
    let mut busy = Client::connect(broker.local_addr(), "busy");
    let (bytes, answers) = conversation();
    for _ in 0..50 {
        let mut client = Client::connect(broker.local_addr(), "");
        busy.send_bytes(&encode(&[Packet::Pingreq]).repeat(PINGS));
        // Without its CONNECT and DISCONNECT.
        client.send_bytes(&bytes[connect_len()..bytes.len() - 2]);
        client.stream.shutdown(Shutdown::Write).unwrap();
        for answer in &answers[1..] {
            client.expect(answer.clone());
        }
        client.expect_closed();
        for _ in 0..PINGS {
            busy.expect(Packet::Pingresp);
        }
    }
}

#[test]
fn a_message_is_there_before_its_publisher_is_told_that_it_came() {
    let broker = single_threaded();
    let mut receiver = Client::subscribed(broker.local_addr(), "receiver", "t", AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    for n in 0..100_u8 {
        publisher.send(&[Packet::Publish(publish("t", &[n], AtLeastOnce))]);
        publisher.expect(Packet::Puback(ID));
        receiver.stream.set_nonblocking(true).unwrap();
        receiver.stream.peek(&mut [0]).expect("the message");
        receiver.stream.set_nonblocking(false).unwrap();
        assert_eq!(receiver.message(), [n]);
    }
}
