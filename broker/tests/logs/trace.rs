//! The packets of one client in the log, switched on and off by HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::Value;
use sol::codec::QoS::{AtLeastOnce, AtMostOnce};
use sol::codec::{Ack, Connect, Disconnect, Packet, PacketId, Reason, Version};

use crate::common::process::{Place, Sol};
use crate::common::{Client, PATIENCE, connect, publish};

/// A broker with these lines, and where it speaks HTTP.
fn start(config: &str) -> (Sol, SocketAddr) {
    let place = Place::new(&format!("ip_port 0\nhttp_listener 127.0.0.1:0\nlog_timestamp false\n{config}"));
    let mut sol = place.start();
    let line = sol.line("http://");
    let (_, behind) = line.split_once("http://").unwrap();
    let address = behind.split([',', '"']).next().unwrap().parse().unwrap();
    (sol, address)
}

/// The status and the answer.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-sol: 1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Connects, subscribes, publishes a message to itself and acknowledges it, and goes.
fn play(sol: &Sol, client_id: &str, version: Version) {
    let mut client = Client::open(sol.address);
    client.send(&[Packet::Connect(Connect { version, user_name: Some("anna"), ..connect(client_id) })]);
    assert!(matches!(client.receive(), Packet::Connack(_)));
    client.subscribe("a/#", AtLeastOnce);
    client.send(&[Packet::Publish(publish("a/b", &[0; 10_000], AtLeastOnce))]);
    for _ in 0..2 {
        match client.receive() {
            Packet::Puback(ack) => assert_eq!(ack.packet_id, PacketId::MIN),
            Packet::Publish(_) => {}
            other => panic!("{other:?}"),
        }
    }
    client.send(&[Packet::Puback(Ack::new(PacketId::MIN))]);
    client.ping();
    client.send(&[Packet::Disconnect(Disconnect::new(Reason::Success))]);
    client.expect_closed();
}

#[test]
fn each_packet_of_a_traced_client_is_a_line_and_of_no_other() {
    let (mut sol, http) = start("");
    let path = "/api/v1/clients/one%2Fa/trace";
    let (status, answer) = ask(http, "PUT", path);
    assert_eq!((status, &answer["traced"], &answer["known"]), (200, &true.into(), &false.into()));
    play(&sol, "other", Version::V311);
    play(&sol, "one/a", Version::V311);
    let mut told = Vec::new();
    while told.len() < 11 {
        told.push(sol.line("TRACE"));
    }
    let expected = [
        "sent CONNECT (p2, c1, k0, u'anna')",
        "is sent CONNACK (0, 0)",
        "sent SUBSCRIBE (m1, 'a/#' q1)",
        "is sent SUBACK (m1, 1)",
        "sent PUBLISH (d0, q1, r0, m1, 'a/b', ... (10000 bytes))",
        "is sent PUBLISH (d0, q1, r0, m1, 'a/b', ... (10000 bytes))",
        "is sent PUBACK (m1, rc0)",
        "sent PUBACK (Mid: 1, RC:0)",
        "sent PINGREQ",
        "is sent PINGRESP",
        "sent DISCONNECT (rc0)",
    ];
    let lines: Vec<_> = expected.iter().map(|what| format!("TRACE client \"one/a\" {what}")).collect();
    assert_eq!(told, lines);

    // What is not known any more may be traced no longer, too, and only then is there nothing.
    assert_eq!(ask(http, "DELETE", path).0, 200);
    assert_eq!(ask(http, "DELETE", path).0, 404);
    assert_eq!(ask(http, "GET", path).0, 405);
    play(&sol, "one/a", Version::V311);
    sol.signal(Signal::TERM);
    let (_, log) = sol.end();
    assert_eq!(log.lines().filter(|line| line.starts_with("TRACE")).count(), expected.len(), "{log}");
}

/// The client hears itself, and has an answer.
fn hear(client: &mut Client) {
    client.send(&[Packet::Publish(publish("t", b"hello", AtMostOnce)), Packet::Pingreq]);
    assert_eq!(client.message(), b"hello");
    client.expect(Packet::Pingresp);
}

#[test]
fn a_client_that_is_connected_is_traced_from_now_on() {
    let (mut sol, http) = start("log_format mosquitto\nconnection_messages false\n");
    let mut client = Client::subscribed(sol.address, "one", "t", AtMostOnce);
    let (status, answer) = ask(http, "PUT", "/api/v1/clients/one/trace");
    assert_eq!((status, &answer["known"]), (200, &true.into()));
    assert_eq!(ask(http, "GET", "/api/v1/clients/one").1["traced"], true);
    hear(&mut client);
    let said = "PUBLISH from one (d0, q0, r0, m0, 't', ... (5 bytes))";
    assert_eq!(sol.line("PUBLISH from"), format!("Received {said}"));
    assert_eq!(sol.line("PUBLISH to"), format!("Sending {}", said.replace("from", "to")));
    assert_eq!(sol.line("PINGRESP"), "Sending PINGRESP to one");
    assert_eq!(ask(http, "DELETE", "/api/v1/clients/one/trace").0, 200);
    assert_eq!(ask(http, "GET", "/api/v1/clients/one").1["traced"], false);
    hear(&mut client);
    sol.signal(Signal::TERM);
    let (_, log) = sol.end();
    assert_eq!(log.lines().filter(|line| line.contains("PUBLISH")).count(), 2, "{log}");
}

#[test]
fn a_client_of_5_0_is_told_why_it_must_go_and_so_is_the_log() {
    let (mut sol, http) = start("log_format json\n");
    assert_eq!(ask(http, "PUT", "/api/v1/clients/one/trace").0, 200);
    let mut client = Client::open(sol.address);
    client.send(&[Packet::Connect(Connect { version: Version::V5, ..connect("one") })]);
    assert!(matches!(client.receive(), Packet::Connack(_)));
    assert_eq!(ask(http, "DELETE", "/api/v1/clients/one").0, 200);
    assert!(matches!(client.receive(), Packet::Disconnect(_)));
    let line: Value = serde_json::from_str(&sol.line("\"DISCONNECT\"")).unwrap();
    for (key, value) in [
        ("level", "TRACE"),
        ("event", "packet"),
        ("client", "one"),
        ("direction", "sent"),
        ("packet", "DISCONNECT"),
        ("details", "rc152"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
}
