//! The server's DISCONNECT.

use std::io::Read;
use std::num::NonZeroU32;
use std::thread;

use sol::codec::{AckType, Decoded, Packet, PacketId, Property, Reason, Version, decode, encode_ack};
use sol::{Broker, Config, Limits, Redirect};

use super::common::{Client, eventually};
use super::{broker, connect, disconnect, expect_disconnect, opened};

const CONNECT: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c";

fn packet_size(bytes: u32) -> Property<'static> {
    Property::MaximumPacketSize(NonZeroU32::new(bytes).unwrap())
}

/// Bytes that a connected client must not send, and what it is told.
fn violations() -> [(Vec<u8>, Reason); 6] {
    let mut suback = Vec::new();
    encode_ack(&mut suback, AckType::Pubrel, PacketId::MIN);
    suback[0] = 0x60;
    [
        (CONNECT.to_vec(), Reason::ProtocolError),
        // A broken one has a code that only CONNACK has.
        (b"\x10\x0c\0\x04MQTX\x05\x02\0\0\0\0\0".to_vec(), Reason::ProtocolError),
        (b"\xd0\0".to_vec(), Reason::ProtocolError),
        (b"\xc1\0".to_vec(), Reason::MalformedPacket),
        (suback, Reason::MalformedPacket),
        (b"\x30\x80\x80\x80\x01".to_vec(), Reason::PacketTooLarge),
    ]
}

#[test]
fn a_violation_is_told_and_can_be_read_whatever_follows() {
    let broker = broker(Limits::default());
    for (bytes, reason) in violations() {
        for behind in [0, 100_000] {
            let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
            let mut bytes = bytes.clone();
            bytes.resize(bytes.len() + behind, 0x55);
            client.send_bytes(&bytes);
            match client.receive() {
                Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, reason, "{bytes:02x?}"),
                other => panic!("{other:?} for DISCONNECT"),
            }
            // An end, not a reset: that could have overtaken the DISCONNECT.
            assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
        }
    }
}

#[test]
fn what_was_answered_before_comes_first() {
    let broker = broker(Limits::default());
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
    client.send_bytes(b"\xc0\0\xc0\0\xd0\0\xc0\0");
    for _ in 0..2 {
        client.expect(Packet::Pingresp);
    }
    let text = expect_disconnect(&mut client, Reason::ProtocolError).unwrap();
    assert!(text.starts_with("PINGRESP, which only servers send"), "{text}");
    // CONNACK too.
    let mut client = Client::open(broker.local_addr());
    client.version = sol::codec::Version::V5;
    client.send_bytes(&[CONNECT, b"\xd0\0"].concat());
    assert!(matches!(client.receive(), Packet::Connack(_)));
    expect_disconnect(&mut client, Reason::ProtocolError);
}

#[test]
fn the_reason_string_is_left_out_where_it_is_not_wanted_or_has_no_room() {
    let broker = broker(Limits { max_packet_bytes: usize::MAX, max_topic_alias: 0, ..Limits::default() });
    // CONNACK takes 5 bytes, a DISCONNECT without a reason string 4.
    for (asked, is_told) in [
        (Property::RequestProblemInformation(true), true),
        (Property::RequestProblemInformation(false), false),
        (packet_size(200), true),
        (packet_size(20), false),
        (packet_size(5), false),
    ] {
        let (mut client, _) = opened(broker.local_addr(), connect("c"), &[asked]);
        client.send_bytes(b"\xd0\0");
        let text = expect_disconnect(&mut client, Reason::ProtocolError);
        assert_eq!(text.is_some(), is_told, "{asked:?} {text:?}");
    }
}

#[test]
fn who_is_taken_over_is_told() {
    let broker = broker(Limits::default());
    let (mut old, _) = opened(broker.local_addr(), connect("c"), &[]);
    let (mut new, _) = opened(broker.local_addr(), connect("c"), &[]);
    expect_disconnect(&mut old, Reason::SessionTakenOver);
    // By a client of another version, and one of 3.1.1 is told nothing.
    let mut third = Client::connect(broker.local_addr(), "c");
    expect_disconnect(&mut new, Reason::SessionTakenOver);
    let (mut fourth, _) = opened(broker.local_addr(), connect("c"), &[]);
    third.expect_closed();
    fourth.ping();
}

#[test]
fn nothing_is_said_before_connack_or_behind_the_client_s_disconnect() {
    let broker = broker(Limits::default());
    let mut client = Client::open(broker.local_addr());
    client.send_bytes(b"\xd0\0");
    client.expect_closed();
    for reason in [Reason::Success, Reason::DisconnectWithWill, Reason::PacketTooLarge] {
        let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
        disconnect(&mut client, reason, &[]);
        client.expect_closed();
    }
}

#[test]
fn who_reads_late_is_told_behind_everything_else() {
    let broker = broker(Limits { max_packet_bytes: usize::MAX, ..Limits::default() });
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
    // More than any socket holds: it is in the middle of its answers when the violation comes.
    let pings = vec![[0xc0, 0]; 1 << 20];
    let writer = thread::spawn({
        let stream = client.stream.try_clone().unwrap();
        move || {
            let mut client = Client::over(stream);
            client.send_bytes(&pings.concat());
            client.send_bytes(b"\xd0\0");
        }
    });
    // Read first, and looked at then: the broker waits no longer than it must.
    let mut bytes = Vec::new();
    client.stream.read_to_end(&mut bytes).unwrap();
    writer.join().unwrap();
    let answers = bytes.chunks(2).take_while(|answer| *answer == [0xd0, 0]).count();
    assert!(answers > 0);
    match decode(&bytes[2 * answers..], Some(Version::V5), usize::MAX) {
        Ok(Decoded::Packet { packet: Packet::Disconnect(disconnect), length }) => {
            assert_eq!((disconnect.reason, 2 * answers + length), (Reason::ProtocolError, bytes.len()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stop_says_where_to_go() {
    let to = |is_permanent| Some(Redirect { reference: "other:1883".to_owned(), is_permanent });
    for (redirect, reason) in [
        (None, Reason::ServerShuttingDown),
        (to(false), Reason::UseAnotherServer),
        (to(true), Reason::ServerMoved),
    ] {
        let config = Config { redirect: redirect.clone(), ..Config::on("127.0.0.1:0".parse().unwrap()) };
        let broker = Broker::start(config).unwrap();
        let mut old = Client::connect(broker.local_addr(), "old");
        let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
        let (mut small, _) = opened(broker.local_addr(), connect("small"), &[packet_size(16)]);
        // Unread bytes do not keep it from being read.
        client.send_bytes(b"\xc0");
        let stop = thread::spawn(move || broker.stop());
        for (client, has_room) in [(&mut client, true), (&mut small, false)] {
            match client.receive() {
                Packet::Disconnect(disconnect) => {
                    assert_eq!(disconnect.reason, reason);
                    let server = disconnect.properties.iter().find_map(|property| match property {
                        Property::ServerReference(server) => Some(server.to_owned()),
                        _ => None,
                    });
                    assert_eq!(server, redirect.as_ref().map(|to| to.reference.clone()).filter(|_| has_room));
                }
                other => panic!("{other:?} for DISCONNECT"),
            }
            client.expect_closed();
        }
        old.expect_closed();
        drop((old, client, small));
        stop.join().unwrap();
    }
}

#[test]
fn the_reference_can_be_changed_while_it_runs() {
    let broker = broker(Limits::default());
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
    broker.redirect(Some(Redirect { reference: "other".to_owned(), is_permanent: false }));
    let stop = thread::spawn(move || broker.stop());
    expect_disconnect(&mut client, Reason::UseAnotherServer);
    drop(client);
    stop.join().unwrap();
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_what_its_end_brings() {
    let broker = broker(Limits::default());
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[Property::SessionExpiryInterval(0)]);
    client.send_bytes(b"\xd0\0");
    eventually("the session is over", || broker.stats().sessions == 0);
    Client::connect(broker.local_addr(), "other").ping();
    expect_disconnect(&mut client, Reason::ProtocolError);
}
