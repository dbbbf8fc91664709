//! MQTT over TLS: what goes through it. Who gets in is told by `handshake.rs`, what is served by `files.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod handshake;
mod identity;
mod pki;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use client::{VERSIONS, Version, broker, client, open};
use common::peers::has_mosquitto;
use common::{PATIENCE, Running, connect, encode, eventually, publish, running};
use pki::{Identity, Pki};
use sol::Limits;
use sol::codec::{Disconnect, Packet, QoS};
use sol::config::{Tls, TlsVersions};

type Peer<'a> = (SocketAddr, &'a Pki, Option<&'a Identity>);

fn mosquitto(program: &str, peer: Peer<'_>, arguments: &[&str]) -> Running {
    running(mosquitto_command(program, peer, arguments))
}

fn mosquitto_command(program: &str, (address, pki, identity): Peer<'_>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    command.arg("--cafile").arg(pki.cafile());
    if let Some(Identity { certfile, keyfile, .. }) = identity {
        command.arg("--cert").arg(certfile).arg("--key").arg(keyfile);
    }
    command.args(arguments).stdin(Stdio::piped());
    command
}

#[test]
fn mosquitto_gets_all_messages_once_and_in_order() {
    const MESSAGES: usize = 500;
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new("authority");
    let (server, identity) = (pki.server("server"), pki.client("client"));
    for (versions, version) in [(TlsVersions::V1_2, "tlsv1.2"), (TlsVersions::V1_3, "tlsv1.3")] {
        for identity in [None, Some(&identity)] {
            let require_certificate = identity.is_some();
            let tls = Tls { cafile: Some(pki.cafile()), require_certificate, versions, ..server.tls() };
            let broker = broker(tls, Limits::default());
            let peer = (broker.local_addr(), &pki, identity);
            for qos in ["0", "1", "2"] {
                let common = ["--tls-version", version, "-t", "t", "-q", qos];
                let count = MESSAGES.to_string();
                let subscriber = mosquitto("mosquitto_sub", peer, &[&common[..], &["-C", &count]].concat());
                eventually("subscribed", || broker.stats().subscriptions == 1);
                let lines: String = (0..MESSAGES).map(|n| format!("{n}\n")).collect();
                let publisher = mosquitto("mosquitto_pub", peer, &[&common[..], &["-l"]].concat());
                let published = publisher.input(lines.as_bytes());
                assert!(published.status.success(), "{published:?}");
                let received = subscriber.output();
                assert!(received.status.success(), "{received:?}");
                assert_eq!(String::from_utf8(received.stdout).unwrap(), lines, "{version}, QoS {qos}");
                eventually("gone", || broker.stats().subscriptions == 0);
            }
        }
    }
}

#[test]
fn mosquitto_is_refused_below_the_minimum_and_without_its_certificate() {
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new("authority");
    let foreign = Pki::new("foreign authority").client("foreign");
    let client = pki.client("client");
    let is_let_in = |versions, version: &str, identity| {
        let cafile = Some(pki.cafile());
        let tls = Tls { cafile, require_certificate: true, versions, ..pki.server("server").tls() };
        let broker = broker(tls, Limits::default());
        // Its own option sets the least version alone, and a careful OpenSSL would not even try an old one.
        let only = format!(
            "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n\
            MinProtocol = {version}\nMaxProtocol = {version}\nCipherString = DEFAULT@SECLEVEL=0\n"
        );
        std::fs::write(pki.path("openssl.cnf"), only).unwrap();
        let option = version.to_lowercase();
        let arguments = ["--tls-version", &option, "-t", "t", "-m", "x", "-q", "1"];
        let mut command =
            mosquitto_command("mosquitto_pub", (broker.local_addr(), &pki, identity), &arguments);
        command.env("OPENSSL_CONF", pki.path("openssl.cnf"));
        let output = running(command).output();
        let is_let_in = output.status.success();
        assert!(is_let_in || !output.stderr.is_empty(), "{output:?}");
        is_let_in
    };
    assert!(is_let_in(TlsVersions::V1_2AndV1_3, "TLSv1.3", Some(&client)));
    assert!(is_let_in(TlsVersions::V1_2AndV1_3, "TLSv1.2", Some(&client)));
    assert!(!is_let_in(TlsVersions::V1_2AndV1_3, "TLSv1.1", Some(&client)));
    assert!(!is_let_in(TlsVersions::V1_3, "TLSv1.2", Some(&client)));
    assert!(!is_let_in(TlsVersions::V1_2AndV1_3, "TLSv1.3", None));
    assert!(!is_let_in(TlsVersions::V1_2AndV1_3, "TLSv1.2", Some(&foreign)));
}

#[test]
fn large_messages_go_through_both_ways() {
    const BYTES: usize = 1 << 20;
    let pki = Pki::new("authority");
    let limits = Limits { max_packet_bytes: 2 * BYTES, ..Limits::default() };
    let broker = broker(pki.server("server").tls(), limits);
    let payload: Vec<u8> = (0..BYTES).map(|n| (n % 251).to_le_bytes()[0]).collect();
    for version in VERSIONS {
        let mut subscriber = open(broker.local_addr(), &pki.cafile(), version, None);
        subscriber.say_connect(connect("subscriber"), false);
        subscriber.subscribe("t", QoS::AtLeastOnce);
        let mut publisher = open(broker.local_addr(), &pki.cafile(), version, None);
        publisher.say_connect(connect("publisher"), false);
        for _ in 0..3 {
            publisher.publish("t", &payload);
            assert!(subscriber.message() == payload, "{version:?}");
        }
        publisher.send(&[Packet::Disconnect(Disconnect::default())]);
        subscriber.send(&[Packet::Disconnect(Disconnect::default())]);
        eventually("gone", || broker.stats().sessions == 0);
    }
}

#[test]
fn many_small_messages_go_through_in_order() {
    const MESSAGES: u32 = 50_000;
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    for version in VERSIONS {
        let mut subscriber = open(broker.local_addr(), &pki.cafile(), version, None);
        subscriber.say_connect(connect("subscriber"), false);
        subscriber.subscribe("t", QoS::AtMostOnce);
        let mut publisher = client(broker.local_addr(), &pki.cafile(), "publisher");
        thread::scope(|scope| {
            scope.spawn(|| {
                let payloads: Vec<_> = (0..MESSAGES).map(u32::to_be_bytes).collect();
                for payloads in payloads.chunks(100) {
                    let packets: Vec<_> = payloads
                        .iter()
                        .map(|it| Packet::Publish(publish("t", it, QoS::AtMostOnce)))
                        .collect();
                    publisher.send(&packets);
                }
                publisher.ping();
            });
            for n in 0..MESSAGES {
                assert_eq!(subscriber.message(), n.to_be_bytes(), "{version:?}");
            }
        });
    }
}

/// What TLS holds back counts as not written.
#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let pki = Pki::new("authority");
    let limits = Limits { write_timeout: Duration::from_millis(200), ..Limits::default() };
    let broker = broker(pki.server("server").tls(), limits);
    let mut stuck = client(broker.local_addr(), &pki.cafile(), "stuck");
    stuck.subscribe("t", QoS::AtMostOnce);
    let mut publisher = client(broker.local_addr(), &pki.cafile(), "publisher");
    let payload = vec![0; 100_000];
    while broker.stats().connections > 1 {
        publisher.publish("t", &payload);
    }
    publisher.ping();
}

/// More than the socket takes, for one who reads late: what TLS could not write at once follows, also when the broker
/// stops meanwhile.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const MESSAGES: usize = 100;
    let pki = Pki::new("authority");
    let limits = Limits { stop_timeout: PATIENCE, ..Limits::default() };
    let broker = broker(pki.server("server").tls(), limits);
    let mut late = client(broker.local_addr(), &pki.cafile(), "late");
    late.subscribe("t", QoS::AtMostOnce);
    let mut publisher = client(broker.local_addr(), &pki.cafile(), "publisher");
    for n in 0..MESSAGES {
        publisher.publish("t", &vec![n.to_le_bytes()[0]; 100_000]);
    }
    thread::scope(|scope| {
        scope.spawn(|| broker.stop());
        publisher.expect_closed();
        for n in 0..MESSAGES {
            assert_eq!(late.message(), vec![n.to_le_bytes()[0]; 100_000]);
        }
        late.expect_closed();
    });
}

#[test]
fn the_end_is_said() {
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    for version in VERSIONS {
        let mut leaving = open(broker.local_addr(), &pki.cafile(), version, None);
        leaving.say_connect(connect("leaving"), false);
        leaving.send(&[Packet::Disconnect(Disconnect::default())]);
        // Without close_notify this would be an error.
        assert_eq!(leaving.stream.read(&mut [0; 8]).unwrap(), 0);
    }
    let mut staying = client(broker.local_addr(), &pki.cafile(), "staying");
    staying.ping();
    broker.stop();
    assert_eq!(staying.stream.read(&mut [0; 8]).unwrap(), 0);
}

/// A client may end TLS and still be owed answers.
#[test]
fn what_came_before_the_end_is_answered() {
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    let mut leaving = open(broker.local_addr(), &pki.cafile(), Version::V1_3, None);
    leaving.stream.flush().unwrap();
    let packets = [Packet::Connect(connect("leaving")), Packet::Pingreq, Packet::Pingreq];
    leaving.stream.conn.writer().write_all(&encode(&packets)).unwrap();
    leaving.stream.conn.send_close_notify();
    leaving.stream.conn.complete_io(&mut leaving.stream.sock).unwrap();
    let mut answers = Vec::new();
    leaving.stream.read_to_end(&mut answers).unwrap();
    assert_eq!(answers, [0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0]);
}

#[test]
fn a_client_of_5_0_can_read_why_it_must_go() {
    let pki = Pki::new("authority");
    let broker = broker(pki.server("server").tls(), Limits::default());
    let mut client = open(broker.local_addr(), &pki.cafile(), Version::V1_3, None);
    let connect = sol::codec::Connect { version: sol::codec::Version::V5, ..connect("c") };
    client.send(&[Packet::Connect(connect)]);
    assert!(matches!(client.receive(), Packet::Connack(_)));
    // With more behind it than is read at once.
    client.send_bytes(&[&b"\xd0\0"[..], &[0x55; 100_000]].concat());
    match client.receive() {
        Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, sol::codec::Reason::ProtocolError),
        other => panic!("{other:?} for DISCONNECT"),
    }
    client.expect_closed();
}
