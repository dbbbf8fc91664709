//! What frames may be, and what not.

use sol::Limits;
use sol::codec::{Disconnect, Packet, Properties, QoS, Will};
use sol::topic::Name;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{CloseCode, Data};
use tungstenite::{Bytes, Message};

use crate::client::{broker, client, open};
use crate::common::{connect, encode, eventually, publish, subscribe};

fn packets() -> Vec<u8> {
    encode(&[
        Packet::Connect(connect("c")),
        subscribe("t", QoS::AtMostOnce),
        Packet::Publish(publish("t", b"payload", QoS::AtLeastOnce)),
        Packet::Pingreq,
    ])
}

/// [MQTT-6.0.0-2].
#[test]
fn packets_lie_in_frames_as_they_like() {
    let broker = broker(Limits::default());
    let packets = packets();
    for size in [1, 2, 3, 7, packets.len()] {
        for is_fragmented in [false, true] {
            let mut client = open(broker.local_addr());
            let count = packets.len().div_ceil(size);
            for (n, piece) in packets.chunks(size).enumerate() {
                let kind = if is_fragmented && n > 0 { Data::Continue } else { Data::Binary };
                client.stream.part(kind, !is_fragmented || n + 1 == count, piece);
                client.stream.send(Message::Ping(Bytes::from_static(b"between")));
            }
            client.stream.part(Data::Binary, true, b"");
            for expected in ["Connack", "Suback", "Publish", "Puback", "Pingresp"] {
                let packet = format!("{:?}", client.receive());
                assert!(packet.starts_with(expected), "{packet} for {expected}, {size} bytes a frame");
            }
            client.send(&[Packet::Disconnect(Disconnect::default())]);
            client.expect_closed();
        }
    }
}

/// [MQTT-6.0.0-1].
#[test]
fn a_text_frame_is_the_end_and_the_will_goes_out() {
    let broker = broker(Limits::default());
    let mut heir = client(broker.local_addr(), "heir");
    heir.subscribe("will", QoS::AtMostOnce);
    for is_connected in [true, false] {
        let mut wrong = open(broker.local_addr());
        if is_connected {
            let mut willing = connect("willing");
            willing.will = Some(Will {
                topic: Name::new("will").unwrap(),
                payload: b"left",
                qos: QoS::AtMostOnce,
                retain: false,
                properties: Properties::EMPTY,
            });
            wrong.say_connect(willing, false);
        }
        wrong.stream.send(Message::text("text"));
        wrong.expect_closed();
        assert_eq!(wrong.stream.closed, Some(1003));
    }
    assert_eq!(heir.message(), b"left");
    heir.ping();
}

#[test]
fn what_came_before_a_wrong_frame_is_answered() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr());
    client.send_bytes(&packets());
    client.stream.send(Message::text("text"));
    for _ in 0..5 {
        client.receive();
    }
    client.expect_closed();
    assert_eq!(client.stream.closed, Some(1003));
}

#[test]
fn what_websocket_forbids_is_the_end() {
    let broker = broker(Limits::default());
    for wrong in [
        &b"\x82\x02\xc0\x00"[..],
        b"\xc2\x80\0\0\0\0",
        b"\x80\x80\0\0\0\0",
        b"\x83\x80\0\0\0\0",
        b"\x09\x80\0\0\0\0",
        b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    ] {
        let mut client = client(broker.local_addr(), "c");
        client.stream.raw(wrong);
        client.expect_closed();
        assert_eq!(client.stream.closed, Some(1002), "{wrong:x?}");
    }
}

/// The limit is that of packets, whatever frames they come in.
#[test]
fn no_frame_is_too_large_but_a_packet_may_be() {
    let broker = broker(Limits { max_packet_bytes: 1000, ..Limits::default() });
    let mut client = open(broker.local_addr());
    client.stream.raw(b"\x82\xff\0\0\x10\0\0\0\0\0\0\0\0\0");
    client.stream.raw(&packets());
    for _ in 0..5 {
        client.receive();
    }
    let held = broker.stats().memory_used;
    assert!(held < 1 << 20, "{held} bytes");
    // Long before it is whole, and with nothing left over.
    client.stream.raw(&encode(&[Packet::Publish(publish("t", &[0; 2000], QoS::AtMostOnce))])[..100]);
    client.expect_closed();
    eventually("gone", || broker.stats().connections == 0);
}

#[test]
fn pings_are_answered_at_any_time() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr());
    client.stream.send(Message::Ping(Bytes::from_static(b"before CONNECT")));
    client.say_connect(connect("c"), false);
    assert_eq!(client.stream.pong.take().as_deref(), Some(&b"before CONNECT"[..]));
    for payload in [&b""[..], &[7; 125]] {
        client.stream.send(Message::Ping(Bytes::copy_from_slice(payload)));
        client.ping();
        assert_eq!(client.stream.pong.take().as_deref(), Some(payload));
    }
}

#[test]
fn a_close_is_answered() {
    let broker = broker(Limits::default());
    for (code, reason) in [(CloseCode::Normal, ""), (CloseCode::Away, "the page is left")] {
        let mut client = open(broker.local_addr());
        client.send_bytes(&packets());
        client.stream.send(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
        // What came before is still answered.
        for _ in 0..5 {
            client.receive();
        }
        client.expect_closed();
        assert_eq!(client.stream.closed, Some(code.into()));
    }
    eventually("gone", || broker.stats().connections == 0);
}
