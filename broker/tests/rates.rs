//! How fast a client publishes, how many connections a listener has, and for whom a proxy speaks.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use common::process::{Place, listens_on};
use common::{Client, PATIENCE, broker, connect, eventually, publish};
use rustix::process::Signal;
use sol::codec::{Connect, Packet, PacketId, QoS, Reason};
use sol::config::{Endpoint, Listener, Proxy, PublishRate};
use sol::{Broker, Config, Limits};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn on(listeners: Vec<Listener>) -> Broker {
    Broker::start(Config { listeners, ..Config::default() }).unwrap()
}

/// Two listeners: where clients may publish so fast, and where as fast as they can.
fn limited(messages_per_second: u32, bytes_per_second: u64) -> Broker {
    let publish_rate = PublishRate {
        messages_per_second: NonZeroU32::new(messages_per_second),
        bytes_per_second: NonZeroU64::new(bytes_per_second),
    };
    on(vec![Listener { publish_rate, ..ANY.into() }, ANY.into()])
}

fn flood(messages: u16, payload_bytes: usize, qos: QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..messages {
        let mut payload = n.to_be_bytes().to_vec();
        payload.resize(payload_bytes, 0);
        let mut publish = publish("t", &payload, qos);
        if let sol::codec::Delivery::AtLeastOnce(packet_id) = &mut publish.delivery {
            *packet_id = PacketId::new(n + 1).unwrap();
        }
        Packet::Publish(publish).encode(common::VERSION, &mut bytes).unwrap();
    }
    bytes
}

fn all_come(messages: u16, subscriber: &mut Client) {
    for n in 0..messages {
        assert_eq!(subscriber.message()[..2], n.to_be_bytes());
    }
    subscriber.ping();
}

#[test]
fn who_publishes_too_fast_is_held_and_loses_nothing() {
    for (rates, payload) in [((2_000, 0), 10), ((0, 400_000), 200)] {
        let broker = limited(rates.0, rates.1);
        let mut subscriber = Client::subscribed(broker.local_addrs()[1], "subscriber", "t", QoS::AtMostOnce);
        let mut publisher = Client::connect(broker.local_addr(), "publisher");
        let deadline = Instant::now() + PATIENCE;
        // A broker that has to wait for a processor may not have been fast enough to find it too fast.
        while broker.stats().publish_held == 0 {
            assert!(Instant::now() < deadline, "it is never held");
            publisher.send_bytes(&flood(3_000, payload, QoS::AtMostOnce));
            all_come(3_000, &mut subscriber);
        }
        publisher.ping();
    }
}

#[test]
fn acknowledgements_come_when_it_may_go_on() {
    let broker = limited(500, 0);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    publisher.send_bytes(&flood(400, 10, QoS::AtLeastOnce));
    for n in 1..=400 {
        let Packet::Puback(ack) = publisher.receive() else { panic!("no PUBACK") };
        assert_eq!(ack.packet_id.get(), n);
    }
}

#[test]
fn who_is_held_still_gets_its_messages_and_outlives_its_keep_alive() {
    let broker = limited(1, 0);
    let mut held =
        Client::connect_as(broker.local_addr(), Connect { keep_alive: 3, ..connect("held") }, false);
    held.subscribe("for/it", QoS::AtMostOnce);
    // The last is due after more than one and a half times the keep alive.
    held.send_bytes(&flood(7, 10, QoS::AtMostOnce));
    let mut subscriber = Client::connect(broker.local_addrs()[1], "subscriber");
    eventually("it is held", || broker.stats().publish_held > 0);
    subscriber.publish("for/it", b"meanwhile");
    assert_eq!(held.message(), b"meanwhile");
    eventually("all are taken", || broker.stats().publish_received == 8);
    held.ping();
}

#[test]
fn a_packet_of_more_than_a_second_s_worth_comes_through() {
    let broker = limited(0, 50_000);
    let mut subscriber = Client::subscribed(broker.local_addrs()[1], "subscriber", "t", QoS::AtMostOnce);
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    publisher.send_bytes(&flood(2, 100_000, QoS::AtMostOnce));
    assert_eq!(subscriber.message().len(), 100_000);
    assert_eq!(subscriber.message().len(), 100_000);
}

#[test]
fn a_held_client_that_is_taken_over_goes() {
    let broker = limited(1, 0);
    let mut held = Client::connect(broker.local_addr(), "client");
    held.send_bytes(&flood(1_000, 10, QoS::AtMostOnce));
    eventually("it is held", || broker.stats().publish_held > 0);
    let mut taker = Client::connect(broker.local_addr(), "client");
    taker.ping();
    held.expect_closed();
    eventually("one is left", || broker.stats().connections == 1);
}

#[test]
fn a_listener_has_so_many_connections_of_its_own() {
    let few = Listener { max_connections: NonZeroUsize::new(1), ..ANY.into() };
    let broker = on(vec![few, ANY.into()]);
    let first = Client::connect(broker.local_addr(), "first");
    Client::open(broker.local_addr()).expect_closed();
    assert_eq!(broker.stats().refused_listener_full, 1);
    Client::connect(broker.local_addrs()[1], "other").ping();
    first.leave();
    Client::connect(broker.local_addr(), "second").ping();
}

#[test]
fn who_is_refused_for_another_reason_takes_no_place_of_the_listener() {
    let listener = Listener { max_connections: NonZeroUsize::new(2), ..ANY.into() };
    let limits = Limits { max_connections_per_address: NonZeroUsize::new(1), ..Limits::default() };
    let broker = Broker::start(Config { limits, listeners: vec![listener], ..Config::default() }).unwrap();
    let first = Client::connect(broker.local_addr(), "first");
    for _ in 0..3 {
        Client::open(broker.local_addr()).expect_closed();
    }
    assert_eq!(broker.stats().refused_address_full, 3);
    first.leave();
    Client::connect(broker.local_addr(), "second").ping();
}

/// A client whose connection begins with these bytes.
fn by_proxy(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::open(address);
    client.send_bytes(header);
    client
}

fn proxied(networks: &[&str]) -> Listener {
    let trusted = networks.iter().map(|network| network.parse().unwrap()).collect();
    Listener { proxy: Some(Proxy { trusted }), ..ANY.into() }
}

const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x07\x0a\0\0\x01\x12\x34\x07\x5b";

#[test]
fn the_address_that_a_proxy_tells_is_the_client_s() {
    let limits = Limits { max_connections_per_address: NonZeroUsize::new(1), ..Limits::default() };
    let listeners = vec![proxied(&["127.0.0.0/8"])];
    let broker = Broker::start(Config { limits, listeners, ..Config::default() }).unwrap();
    let address = broker.local_addr();
    let mut one = by_proxy(address, b"PROXY TCP4 10.0.0.1 10.0.0.9 4000 1883\r\n");
    one.say_connect(connect("one"), false);
    let mut other = by_proxy(address, b"PROXY TCP6 2001:db8::1 ::1 4000 1883\r\n");
    other.say_connect(connect("other"), false);
    let mut binary = by_proxy(address, VERSION_2);
    binary.say_connect(connect("binary"), false);
    by_proxy(address, b"PROXY TCP4 10.0.0.7 10.0.0.9 4001 1883\r\n").expect_closed();
    assert_eq!(broker.stats().refused_address_full, 1, "10.0.0.7 has one already");
    [one, other, binary].iter_mut().for_each(Client::ping);
}

#[test]
fn a_header_comes_in_any_pieces_and_with_what_is_behind_it() {
    let broker = on(vec![proxied(&["127.0.0.1/32"])]);
    for header in [b"PROXY TCP4 10.0.0.1 10.0.0.9 4000 1883\r\n", VERSION_2] {
        let mut client = Client::open(broker.local_addr());
        for byte in header {
            client.send_bytes(&[*byte]);
        }
        client.say_connect(connect(""), false);
        let whole = [header, &common::encode(&[Packet::Connect(connect("")), Packet::Pingreq])].concat();
        let mut client = by_proxy(broker.local_addr(), &whole);
        assert!(matches!(client.receive(), Packet::Connack(connack) if connack.reason == Reason::Success));
        client.expect(Packet::Pingresp);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_keeps_its_address() {
    let broker = on(vec![proxied(&["127.0.0.1/32"])]);
    for header in [b"PROXY UNKNOWN\r\n".as_slice(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        by_proxy(broker.local_addr(), header).say_connect(connect(""), false);
    }
}

#[test]
fn who_is_not_trusted_or_says_nothing_right_is_closed_and_counted() {
    let limits = Limits { connect_timeout: PATIENCE, ..Limits::default() };
    let listeners = vec![proxied(&["10.0.0.0/8", "::1/128"]), proxied(&["127.0.0.1/32"])];
    let broker = Broker::start(Config { limits, listeners, ..Config::default() }).unwrap();
    let [far, near] = *broker.local_addrs() else { panic!() };
    let mut client = Client::open(far);
    // It may be closed before.
    _ = client.try_send_bytes(VERSION_2);
    client.expect_closed();
    by_proxy(near, b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0\0").expect_closed();
    by_proxy(near, b"PROXY TCP4 10.0.0.1 10.0.0.9 4000\r\n   ").expect_closed();
    eventually("all are counted", || broker.stats().refused_proxy == 3);
    assert_eq!(broker.stats().sockets, 0);

    let hasty = Limits { connect_timeout: std::time::Duration::from_millis(1), ..Limits::default() };
    let listeners = vec![proxied(&["127.0.0.1/32"])];
    let broker = Broker::start(Config { limits: hasty, listeners, ..Config::default() }).unwrap();
    by_proxy(broker.local_addr(), b"PROXY ").expect_closed();
    eventually("it is counted", || broker.stats().refused_proxy == 1);
}

#[test]
fn a_proxy_speaks_on_a_unix_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sol.sock");
    let endpoint = Endpoint::Unix { path: path.clone(), mode: None };
    let _broker = on(vec![Listener { endpoint, ..proxied(&[]) }]);
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(VERSION_2).unwrap();
    Client::over(stream).say_connect(connect("client"), false);
}

#[test]
fn the_log_names_the_client_and_not_the_proxy() {
    let place = Place::new(
        "log_level DEBUG\nallow_anonymous true\nlistener 0 127.0.0.1\nproxy_protocol true\nproxy_trusted 127.0.0.1\n",
    );
    let mut sol = place.start();
    let mut client = by_proxy(listens_on(&sol.greeting), VERSION_2);
    client.say_connect(connect("told"), false);
    sol.line("10.0.0.7:4660 connected as \"told\"");
    sol.signal(Signal::TERM);
    assert_eq!(sol.end().0, Some(0));
}

#[test]
fn the_plain_listener_has_no_limit_of_its_own() {
    let broker = broker(Limits::default());
    let mut publisher = Client::connect(broker.local_addr(), "publisher");
    publisher.send_bytes(&flood(3_000, 10, QoS::AtMostOnce));
    publisher.ping();
    assert_eq!((broker.stats().publish_received, broker.stats().publish_held), (3_000, 0));
}
