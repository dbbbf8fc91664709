//! MQTT over WebSocket: what goes through it. Who gets in is told by `handshake.rs`, what frames may be by `frames.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[cfg(unix)]
mod browser;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod frames;
mod handshake;
#[path = "../tls/pki.rs"]
#[allow(dead_code)]
mod pki;
#[cfg(unix)]
mod process;

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use client::{Frames, broker, client, open, over, refused, terms};
use common::{Client, PATIENCE, connect, eventually, publish};
use pki::{Identity, Pki};
use rustls::{Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sol::codec::{Connect, Packet, Property, QoS, Reason, Version};
use sol::config::{self, CertificateName, Endpoint, Listener};
use sol::{Broker, Config, Limits};

type Tls = StreamOwned<ClientConnection, TcpStream>;

#[test]
fn messages_of_any_size_go_through_both_ways() {
    let limits = Limits { max_packet_bytes: 2 << 20, ..Limits::default() };
    let broker = broker(limits);
    let mut subscriber = client(broker.local_addr(), "subscriber");
    subscriber.subscribe("t", QoS::ExactlyOnce);
    let mut publisher = client(broker.local_addr(), "publisher");
    // What the lengths of frames, and of packets in them, have as borders.
    for length in [0, 1, 125, 126, 127, 65_529, 65_530, 65_531, 65_536, 1 << 20] {
        let payload: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            publisher.send(&[Packet::Publish(publish("t", &payload, qos))]);
            if qos == QoS::AtLeastOnce {
                assert!(matches!(publisher.receive(), Packet::Puback(_)));
            }
            assert!(subscriber.message() == payload, "{length} bytes");
        }
    }
}

/// A connection over TLS, with a certificate or without.
fn secure(broker: &Broker, pki: &Pki, identity: Option<&Identity>) -> Client<Frames<Tls>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(pki.cafile()).unwrap();
    roots.add(&Certificate(authority.to_vec())).unwrap();
    let config = ClientConfig::builder().with_safe_defaults().with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { der, key, .. }) => {
            config.with_client_auth_cert(vec![Certificate(der.clone())], PrivateKey(key.clone())).unwrap()
        }
    };
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    over(StreamOwned::new(tls, client::tcp(broker.local_addr())), "wss://localhost/mqtt")
}

#[test]
fn a_certificate_says_here_too_who_the_client_is() {
    let pki = Pki::new("authority");
    let tls =
        config::Tls { cafile: Some(pki.cafile()), require_certificate: true, ..pki.server("server").tls() };
    let listener = Listener {
        tls: Some(tls),
        user_from_certificate: Some(CertificateName::CommonName),
        user_as_client_id: true,
        ..client::listener(terms())
    };
    let broker = Broker::start(Config { listeners: vec![listener], ..Config::default() }).unwrap();
    let mut anna = secure(&broker, &pki, Some(&pki.client("anna")));
    anna.send(&[Packet::Connect(Connect { version: Version::V5, ..connect("") })]);
    let Packet::Connack(connack) = anna.receive() else { panic!("no CONNACK") };
    let assigned = Property::AssignedClientIdentifier("anna");
    assert!(connack.properties.iter().any(|property| property == assigned), "{connack:?}");
}

#[test]
fn it_goes_over_tls() {
    let pki = Pki::new("authority");
    let identity = pki.server("server");
    let listener = Listener { tls: Some(identity.tls()), ..client::listener(terms()) };
    let broker = Broker::start(Config { listeners: vec![listener], ..Config::default() }).unwrap();
    let open = || secure(&broker, &pki, None);
    let mut subscriber = open();
    subscriber.say_connect(connect("subscriber"), false);
    subscriber.subscribe("t", QoS::AtMostOnce);
    let mut publisher = open();
    publisher.say_connect(connect("publisher"), false);
    for length in [1, 100_000] {
        publisher.publish("t", &vec![7; length]);
        assert_eq!(subscriber.message(), vec![7; length]);
    }
    broker.stop();
    subscriber.expect_closed();
    assert_eq!(subscriber.stream.closed, Some(1000));
}

#[cfg(unix)]
#[test]
fn it_goes_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let endpoint = Endpoint::Unix { path: path.clone(), mode: None };
    let listener = Listener { endpoint, ..client::listener(terms()) };
    let broker = Broker::start(Config { listeners: vec![listener], ..Config::default() }).unwrap();
    let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = over(stream, "ws://localhost/mqtt");
    client.say_connect(connect("c"), false);
    client.ping();
    assert_eq!(broker.stats().connections, 1);
}

/// What does not go at once counts as not written.
#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let broker = broker(Limits { write_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut stuck = client(broker.local_addr(), "stuck");
    stuck.subscribe("t", QoS::AtMostOnce);
    let mut publisher = client(broker.local_addr(), "publisher");
    let payload = vec![0; 100_000];
    while broker.stats().connections > 1 {
        publisher.publish("t", &payload);
    }
    publisher.ping();
}

/// More than the socket takes, for one who reads late: what is in the middle of a frame follows, also when the broker
/// stops meanwhile.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const MESSAGES: u8 = 100;
    let broker = broker(Limits { stop_timeout: PATIENCE, ..Limits::default() });
    let mut late = client(broker.local_addr(), "late");
    late.subscribe("t", QoS::AtMostOnce);
    let mut publisher = client(broker.local_addr(), "publisher");
    for n in 0..MESSAGES {
        publisher.publish("t", &vec![n; 100_000]);
    }
    thread::scope(|scope| {
        scope.spawn(|| broker.stop());
        publisher.expect_closed();
        for n in 0..MESSAGES {
            assert_eq!(late.message(), vec![n; 100_000]);
        }
        late.expect_closed();
    });
    assert_eq!(late.stream.closed, Some(1000));
}

#[test]
fn what_is_written_at_once_is_one_frame() {
    const MESSAGES: usize = 1000;
    let broker = broker(Limits::default());
    let mut subscriber = client(broker.local_addr(), "subscriber");
    subscriber.subscribe("t", QoS::AtMostOnce);
    let before = subscriber.stream.frames;
    let mut publisher = client(broker.local_addr(), "publisher");
    let packets = vec![Packet::Publish(publish("t", b"payload", QoS::AtMostOnce)); MESSAGES];
    publisher.send(&packets);
    for _ in 0..MESSAGES {
        assert_eq!(subscriber.message(), b"payload");
    }
    let frames = subscriber.stream.frames - before;
    assert!(frames < MESSAGES / 4, "{frames} frames for {MESSAGES} messages");
}

#[test]
fn the_end_is_said() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let mut leaving = client(address, "leaving");
    leaving.send(&[Packet::Disconnect(sol::codec::Disconnect::default())]);
    leaving.expect_closed();
    assert_eq!(leaving.stream.closed, Some(1000));
    let mut wrong = client(address, "wrong");
    wrong.send(&[Packet::Connect(connect("wrong"))]);
    wrong.expect_closed();
    assert_eq!(wrong.stream.closed, Some(1000));
    // A client of 5.0 is told more.
    let mut told = open(address);
    told.send(&[Packet::Connect(Connect { version: Version::V5, ..connect("told") })]);
    assert!(matches!(told.receive(), Packet::Connack(_)));
    broker.stop();
    match told.receive() {
        Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, Reason::ServerShuttingDown),
        other => panic!("{other:?} for DISCONNECT"),
    }
    told.expect_closed();
    assert_eq!(told.stream.closed, Some(1000));
}

#[test]
fn a_client_can_read_why_connect_is_refused() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr());
    // Without a name, and with a session.
    client.send_bytes(b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0");
    match client.receive() {
        Packet::Connack(connack) => assert_eq!(connack.reason, Reason::ClientIdentifierNotValid),
        other => panic!("{other:?} for CONNACK"),
    }
    client.expect_closed();
    assert_eq!(client.stream.closed, Some(1000));
}

/// Both kinds of listener lead to one broker.
#[test]
fn clients_of_every_carrier_meet() {
    let listeners = vec![client::listener(terms()), Listener::from(client::ANY)];
    let broker = Broker::start(Config { listeners, ..Config::default() }).unwrap();
    let [websocket, plain] = *broker.local_addrs() else { panic!("two") };
    let mut framed = client(websocket, "framed");
    framed.subscribe("to/framed", QoS::AtMostOnce);
    let mut bare = common::Client::<TcpStream>::subscribed(plain, "bare", "to/bare", QoS::AtMostOnce);
    framed.publish("to/bare", b"from framed");
    assert_eq!(bare.message(), b"from framed");
    bare.publish("to/framed", b"from bare");
    assert_eq!(framed.message(), b"from bare");
    // Who takes one for the other is not left without an answer.
    let mut lost = common::Client::<TcpStream>::open(websocket);
    lost.send(&[Packet::Connect(connect("lost"))]);
    assert!(client::all(&mut lost.stream).starts_with("HTTP/1.1 400 "));
    refused(plain);
    eventually("gone", || broker.stats().connections == 2);
}
