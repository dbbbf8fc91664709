//! Fields → bytes. Writes what it is told, right or wrong.

use super::property::{self, Place};
use super::{Kind, Packet, Value};
use crate::Version;

/// The whole frame of this version, after `tail`, `flags`, `length`, `length_bytes` and `cut` have bent it.
///
/// Fields that are not written have the default of `scenarios/README.md`; strings longer than a length prefix can
/// say are cut to 65,535 bytes.
pub fn encode(packet: &Packet, version: Version) -> Vec<u8> {
    let mut body = Vec::new();
    match packet.kind {
        Kind::Connect => connect(packet, version, &mut body),
        Kind::Connack => {
            body.push(byte(packet, "session_present"));
            body.push(byte(packet, "reason"));
            properties(packet, version, &mut body);
        }
        Kind::Publish => publish(packet, version, &mut body),
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => {
            id(packet, &mut body);
            reason(packet, version, &mut body);
        }
        Kind::Subscribe => subscribe(packet, version, &mut body),
        Kind::Suback => {
            id(packet, &mut body);
            properties(packet, version, &mut body);
            body.extend(packet.all("reason").map(to_byte));
        }
        Kind::Unsubscribe => {
            id(packet, &mut body);
            properties(packet, version, &mut body);
            packet.all("topic").for_each(|topic| string(bytes_of(topic), &mut body));
        }
        Kind::Unsuback => {
            id(packet, &mut body);
            properties(packet, version, &mut body);
            if version >= Version::V5_0 {
                body.extend(packet.all("reason").map(to_byte));
            }
        }
        Kind::Disconnect | Kind::Auth => reason(packet, version, &mut body),
        Kind::Pingreq | Kind::Pingresp => {}
    }
    body.extend(packet.bytes("tail").unwrap_or_default());

    let flags = packet.number("flags").map_or_else(|| flags(packet), |flags| flags as u8 & 0x0f);
    let mut frame = vec![(packet.kind as u8) << 4 | flags];
    match (packet.bytes("length_bytes"), packet.number("length")) {
        (Some(bytes), _) => frame.extend(bytes),
        (None, Some(length)) => varint(length, &mut frame),
        (None, None) => varint(body.len() as u64, &mut frame),
    }
    frame.append(&mut body);
    let cut = packet.number("cut").unwrap_or(0) as usize;
    frame.truncate(frame.len().saturating_sub(cut));
    frame
}

fn flags(packet: &Packet) -> u8 {
    match packet.kind {
        Kind::Publish => byte(packet, "dup") << 3 | (byte(packet, "qos") & 3) << 1 | byte(packet, "retain"),
        kind => kind.flags(),
    }
}

/// The packet's properties with their length, in versions that have some.
fn properties(packet: &Packet, version: Version, body: &mut Vec<u8>) {
    if version >= Version::V5_0 {
        property::encode(packet, Place::Packet, body);
    }
}

/// A reason code and properties, of which what is not written is left out at the end.
fn reason(packet: &Packet, version: Version, body: &mut Vec<u8>) {
    let listed = property::is_written(packet, Place::Packet);
    if version >= Version::V5_0 && (listed || packet.number("reason").is_some()) {
        body.push(byte(packet, "reason"));
        if listed {
            properties(packet, version, body);
        }
    }
}

fn connect(packet: &Packet, version: Version, body: &mut Vec<u8>) {
    let has = |name| packet.bytes(name).is_some();
    let will =
        packet.number("will_flag").unwrap_or(u64::from(has("will_topic") || has("will_payload"))) as u8;
    let username = packet.number("username_flag").unwrap_or(u64::from(has("username"))) as u8;
    let password = packet.number("password_flag").unwrap_or(u64::from(has("password"))) as u8;
    let clean = packet.number("clean").unwrap_or(1) as u8;

    string(packet.bytes("protocol").unwrap_or(b"MQTT"), body);
    let level = if version >= Version::V5_0 { 5 } else { 4 };
    body.push(packet.number("level").unwrap_or(level) as u8);
    body.push(
        username << 7
            | password << 6
            | byte(packet, "will_retain") << 5
            | (byte(packet, "will_qos") & 3) << 3
            | will << 2
            | clean << 1
            | byte(packet, "reserved"),
    );
    u16(packet.number("keep_alive").unwrap_or(60), body);
    properties(packet, version, body);
    string(packet.bytes("client_id").unwrap_or_default(), body);
    // A will has all its fields; without its flag only what is written on purpose.
    let has_some = will == 1 || has("will_topic") || property::is_written(packet, Place::Will);
    if version >= Version::V5_0 && has_some {
        property::encode(packet, Place::Will, body);
    }
    if will == 1 || has("will_topic") {
        string(packet.bytes("will_topic").unwrap_or_default(), body);
    }
    if will == 1 || has("will_payload") {
        string(packet.bytes("will_payload").unwrap_or_default(), body);
    }
    for name in ["username", "password"] {
        if let Some(value) = packet.bytes(name) {
            string(value, body);
        }
    }
}

fn publish(packet: &Packet, version: Version, body: &mut Vec<u8>) {
    string(packet.bytes("topic").unwrap_or_default(), body);
    if byte(packet, "qos") > 0 {
        id(packet, body);
    }
    properties(packet, version, body);
    body.extend(packet.bytes("payload").unwrap_or_default());
}

/// `topic` begins an entry; `options`, or `qos` and its like, after it fill its second byte.
fn subscribe(packet: &Packet, version: Version, body: &mut Vec<u8>) {
    id(packet, body);
    properties(packet, version, body);
    let mut entries: Vec<(&[u8], u8)> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, entries.last_mut()) {
            ("topic", _) => entries.push((bytes_of(value), 0)),
            ("options", Some((_, options))) => *options = to_byte(value),
            ("qos", Some((_, options))) => *options |= to_byte(value),
            ("no_local", Some((_, options))) => *options |= to_byte(value) << 2,
            ("retain_as_published", Some((_, options))) => *options |= to_byte(value) << 3,
            ("retain_handling", Some((_, options))) => *options |= to_byte(value) << 4,
            _ => {}
        }
    }
    for (topic, options) in entries {
        string(topic, body);
        body.push(options);
    }
}

fn id(packet: &Packet, body: &mut Vec<u8>) {
    u16(packet.number("id").unwrap_or(0), body);
}

fn byte(packet: &Packet, name: &str) -> u8 {
    packet.number(name).unwrap_or(0) as u8
}

fn to_byte(value: &Value) -> u8 {
    match value {
        Value::Number(number) => *number as u8,
        Value::Bytes(_) => 0,
    }
}

fn bytes_of(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Number(_) => &[],
    }
}

pub(super) fn u16(number: u64, body: &mut Vec<u8>) {
    body.extend((number as u16).to_be_bytes());
}

pub(super) fn string(bytes: &[u8], body: &mut Vec<u8>) {
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    u16(bytes.len() as u64, body);
    body.extend(bytes);
}

pub(super) fn varint(mut length: u64, frame: &mut Vec<u8>) {
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            frame.push(low);
            return;
        }
        frame.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: Version = Version::V3_1_1;

    fn publish() -> Packet {
        Packet::new(Kind::Publish).with("topic", "a").with("payload", "p")
    }

    #[test]
    fn defaults_make_a_good_frame() {
        assert_eq!(encode(&publish(), V), [0x30, 4, 0, 1, b'a', b'p']);
        assert_eq!(encode(&Packet::new(Kind::Pingreq), V), [0xc0, 0]);
        assert_eq!(encode(&Packet::new(Kind::Pubrel).with("id", 258u64), V), [0x62, 2, 1, 2]);
        let connect = Packet::new(Kind::Connect).with("client_id", "c");
        assert_eq!(encode(&connect, V), [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'c']);
    }

    #[test]
    fn can_say_what_no_client_would() {
        assert_eq!(
            encode(&publish().with("qos", 3u64).with("id", 0u64), V),
            [0x36, 6, 0, 1, b'a', 0, 0, b'p']
        );
        assert_eq!(encode(&publish().with("flags", 15u64), V), [0x3f, 4, 0, 1, b'a', b'p']);
        assert_eq!(encode(&publish().with("cut", 2u64), V), [0x30, 4, 0, 1]);
        assert_eq!(encode(&publish().with("length", 200u64), V), [0x30, 0xc8, 1, 0, 1, b'a', b'p']);
        let endless = Value::Bytes(vec![0x80, 0x80, 0x80, 0x80, 1]);
        assert_eq!(
            encode(&Packet::new(Kind::Pingreq).with("length_bytes", endless), V),
            [0xc0, 0x80, 0x80, 0x80, 0x80, 1]
        );
        let none = Packet::new(Kind::Subscribe).with("id", 1u64);
        assert_eq!(encode(&none, V), [0x82, 2, 0, 1]);
    }

    #[test]
    fn subscribe_keeps_each_filter_with_its_options() {
        let packet = Packet::new(Kind::Subscribe)
            .with("id", 1u64)
            .with("topic", "a")
            .with("qos", 2u64)
            .with("topic", "b")
            .with("topic", "c")
            .with("options", 0xffu64);
        let body = [0, 1, 0, 1, b'a', 2, 0, 1, b'b', 0, 0, 1, b'c', 0xff];
        assert_eq!(encode(&packet, V), [&[0x82, 14], body.as_slice()].concat());
    }

    #[test]
    fn properties_are_written_as_told() {
        const V5: Version = Version::V5_0;
        let connack = || Packet::new(Kind::Connack);
        assert_eq!(encode(&connack(), V5), [0x20, 3, 0, 0, 0]);
        let twice = connack().with("server_keep_alive", 1u64).with("server_keep_alive", 2u64);
        assert_eq!(encode(&twice, V5), [0x20, 9, 0, 0, 6, 0x13, 0, 1, 0x13, 0, 2]);
        let raw = connack().with("property", vec![0x13, 0]).with("property_length", 7u64);
        assert_eq!(encode(&raw, V5), [0x20, 5, 0, 0, 7, 0x13, 0]);
        let none = connack().with("property_length_bytes", Vec::new());
        assert_eq!(encode(&none, V5), [0x20, 2, 0, 0]);
        let puback = || Packet::new(Kind::Puback).with("id", 1u64);
        assert_eq!(encode(&puback(), V5), [0x40, 2, 0, 1]);
        assert_eq!(encode(&puback().with("reason", 0u64), V5), [0x40, 3, 0, 1, 0]);
        assert_eq!(encode(&puback().with("property_length", 0u64), V5), [0x40, 4, 0, 1, 0, 0]);
        let pair = puback().with("user_property", "a=b=c");
        assert_eq!(encode(&pair, V5), [0x40, 13, 0, 1, 0, 9, 0x26, 0, 1, b'a', 0, 3, b'b', b'=', b'c']);
        assert_eq!(encode(&pair, V), [0x40, 2, 0, 1]);
        let will = Packet::new(Kind::Connect).with("client_id", "").with("will_topic", "t");
        let will = will.with("will_delay", 1u64).with("session_expiry", 2u64);
        let head = [0x10, 31, 0, 4, b'M', b'Q', b'T', b'T', 5, 6, 0, 60, 5, 0x11, 0, 0, 0, 2, 0, 0];
        let rest = [5, 0x18, 0, 0, 0, 1, 0, 1, b't', 0, 0];
        assert_eq!(encode(&will, V5)[2..], [head.as_slice(), &rest].concat()[2..]);
    }
}
