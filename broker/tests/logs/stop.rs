//! A stop: nobody new is let in, and clients may take what is left for them and acknowledge it, for a while.

use std::net::TcpStream;

use rustix::process::Signal;
use sol::codec::QoS::AtLeastOnce;
use sol::codec::{Ack, Connect, Delivery, Disconnect, Packet, PacketId, Reason, Version};

use crate::common::process::{Place, Sol};
use crate::common::{self, Client, Port, publish};

/// A broker with that grace, its client `reader` that has not acknowledged a message, and that message's identifier.
fn with_one_in_flight(port: u16, grace: &str, version: Version) -> (Sol, Client, PacketId) {
    let place = Place::new(&format!("ip_port {port}\nshutdown_grace {grace}\n"));
    let sol = place.start();
    let mut reader = Client::open(sol.address);
    reader.send(&[Packet::Connect(Connect { version, ..common::connect("reader") })]);
    assert!(matches!(reader.receive(), Packet::Connack(_)));
    reader.subscribe("t", AtLeastOnce);
    let mut writer = Client::connect(sol.address, "writer");
    writer.send(&[Packet::Publish(publish("t", b"", AtLeastOnce))]);
    writer.expect(Packet::Puback(Ack::new(PacketId::MIN)));
    let packet_id = match reader.receive() {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtLeastOnce(packet_id) => packet_id,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    writer.send(&[Packet::Disconnect(Disconnect::default())]);
    writer.expect_closed();
    (sol, reader, packet_id)
}

#[test]
fn it_waits_for_what_is_in_flight_and_lets_nobody_in() {
    // Nobody else listens there.
    let port = Port::new();
    let (sol, mut reader, packet_id) = with_one_in_flight(port.address().port(), "1h", Version::V311);
    let mut idle = Client::connect(sol.address, "idle");
    idle.ping();
    sol.signal(Signal::TERM);
    idle.expect_closed();
    assert!(TcpStream::connect(sol.address).is_err(), "somebody is let in");
    reader.ping();
    reader.send(&[Packet::Puback(Ack::new(packet_id))]);
    reader.expect_closed();
    let (code, log) = sol.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn who_acknowledges_too_late_is_told() {
    let (sol, mut reader, _) = with_one_in_flight(0, "0s", Version::V5);
    sol.signal(Signal::TERM);
    match reader.receive() {
        Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, Reason::ServerShuttingDown),
        other => panic!("{other:?}"),
    }
    reader.expect_closed();
    drop(reader);
    let (code, log) = sol.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("1 clients have not taken, or not acknowledged,"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut sol, mut reader, _) = with_one_in_flight(0, "1h", Version::V311);
    sol.signal(Signal::TERM);
    sol.line("waits for clients to take what is left for them (`shutdown_grace`)");
    sol.signal(Signal::TERM);
    reader.expect_closed();
    let (code, log) = sol.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("ends at once on Term"), "{log}");
}
