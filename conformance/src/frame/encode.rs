//! Fields → bytes. Writes what it is told, right or wrong.

use super::{Kind, Packet, Value};

/// The whole frame, after `tail`, `flags`, `length`, `length_bytes` and `cut` have bent it.
///
/// Fields that are not written have the default of `scenarios/README.md`; strings longer than a length prefix can
/// say are cut to 65,535 bytes.
pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut body = Vec::new();
    match packet.kind {
        Kind::Connect => connect(packet, &mut body),
        Kind::Connack => {
            body.push(byte(packet, "session_present"));
            body.push(byte(packet, "reason"));
        }
        Kind::Publish => publish(packet, &mut body),
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp | Kind::Unsuback => id(packet, &mut body),
        Kind::Subscribe => subscribe(packet, &mut body),
        Kind::Suback => {
            id(packet, &mut body);
            body.extend(packet.all("reason").map(to_byte));
        }
        Kind::Unsubscribe => {
            id(packet, &mut body);
            packet.all("topic").for_each(|topic| string(bytes_of(topic), &mut body));
        }
        Kind::Pingreq | Kind::Pingresp | Kind::Disconnect | Kind::Auth => {}
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

fn connect(packet: &Packet, body: &mut Vec<u8>) {
    let has = |name| packet.bytes(name).is_some();
    let will =
        packet.number("will_flag").unwrap_or(u64::from(has("will_topic") || has("will_payload"))) as u8;
    let username = packet.number("username_flag").unwrap_or(u64::from(has("username"))) as u8;
    let password = packet.number("password_flag").unwrap_or(u64::from(has("password"))) as u8;
    let clean = packet.number("clean").unwrap_or(1) as u8;

    string(packet.bytes("protocol").unwrap_or(b"MQTT"), body);
    body.push(packet.number("level").unwrap_or(4) as u8);
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
    string(packet.bytes("client_id").unwrap_or_default(), body);
    // A will has both fields; without its flag only what is written on purpose.
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

fn publish(packet: &Packet, body: &mut Vec<u8>) {
    string(packet.bytes("topic").unwrap_or_default(), body);
    if byte(packet, "qos") > 0 {
        id(packet, body);
    }
    body.extend(packet.bytes("payload").unwrap_or_default());
}

/// `topic` begins an entry; `qos` or `options` after it fill its second byte.
fn subscribe(packet: &Packet, body: &mut Vec<u8>) {
    id(packet, body);
    let mut entries: Vec<(&[u8], u8)> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, entries.last_mut()) {
            ("topic", _) => entries.push((bytes_of(value), 0)),
            ("qos" | "options", Some((_, options))) => *options = to_byte(value),
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

fn u16(number: u64, body: &mut Vec<u8>) {
    body.extend((number as u16).to_be_bytes());
}

fn string(bytes: &[u8], body: &mut Vec<u8>) {
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    u16(bytes.len() as u64, body);
    body.extend(bytes);
}

fn varint(mut length: u64, frame: &mut Vec<u8>) {
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

    fn publish() -> Packet {
        Packet::new(Kind::Publish).with("topic", "a").with("payload", "p")
    }

    #[test]
    fn defaults_make_a_good_frame() {
        assert_eq!(encode(&publish()), [0x30, 4, 0, 1, b'a', b'p']);
        assert_eq!(encode(&Packet::new(Kind::Pingreq)), [0xc0, 0]);
        assert_eq!(encode(&Packet::new(Kind::Pubrel).with("id", 258u64)), [0x62, 2, 1, 2]);
        let connect = Packet::new(Kind::Connect).with("client_id", "c");
        assert_eq!(encode(&connect), [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'c']);
    }

    #[test]
    fn can_say_what_no_client_would() {
        assert_eq!(encode(&publish().with("qos", 3u64).with("id", 0u64)), [0x36, 6, 0, 1, b'a', 0, 0, b'p']);
        assert_eq!(encode(&publish().with("flags", 15u64)), [0x3f, 4, 0, 1, b'a', b'p']);
        assert_eq!(encode(&publish().with("cut", 2u64)), [0x30, 4, 0, 1]);
        assert_eq!(encode(&publish().with("length", 200u64)), [0x30, 0xc8, 1, 0, 1, b'a', b'p']);
        let endless = Value::Bytes(vec![0x80, 0x80, 0x80, 0x80, 1]);
        assert_eq!(
            encode(&Packet::new(Kind::Pingreq).with("length_bytes", endless)),
            [0xc0, 0x80, 0x80, 0x80, 0x80, 1]
        );
        let none = Packet::new(Kind::Subscribe).with("id", 1u64);
        assert_eq!(encode(&none), [0x82, 2, 0, 1]);
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
        assert_eq!(encode(&packet), [&[0x82, 14], body.as_slice()].concat());
    }
}
