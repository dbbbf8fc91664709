//! Bytes → fields, strictly: whatever the standard forbids comes out as a sentence that says what is wrong.

use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::{Kind, Packet};

/// The longest packet the kit accepts, in bytes: more than any scenario asks for.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// One whole frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame, first byte to last.
    pub bytes: Vec<u8>,
    /// What it says, or what is wrong with it.
    pub packet: Result<Packet, String>,
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Frames {
    received: Vec<u8>,
    lost: bool,
}

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.lost {
            self.received.extend(bytes);
        }
    }

    /// The bytes of a frame that is not complete.
    pub fn rest(&self) -> &[u8] {
        &self.received
    }

    /// Whether a length came that cannot be read, so that no more frames will come.
    pub fn is_lost(&self) -> bool {
        self.lost
    }
}

impl Iterator for Frames {
    type Item = Frame;

    /// The next whole frame. After a length that cannot be read there is no next frame: everything goes into one.
    fn next(&mut self) -> Option<Frame> {
        if self.lost {
            return None;
        }
        match whole_frame(&self.received) {
            Ok(None) => None,
            Ok(Some(length)) => {
                let rest = self.received.split_off(length);
                let bytes = std::mem::replace(&mut self.received, rest);
                let packet = decode(&bytes);
                Some(Frame { bytes, packet })
            }
            Err(reason) => {
                self.lost = true;
                Some(Frame { bytes: std::mem::take(&mut self.received), packet: Err(reason) })
            }
        }
    }
}

/// The length in bytes of the frame at the start, once it is all there.
fn whole_frame(received: &[u8]) -> Result<Option<usize>, String> {
    let mut length = 0;
    for (position, byte) in received.iter().skip(1).enumerate() {
        if position == 4 {
            return Err("the remaining length goes on after four bytes".into());
        }
        length |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            if position > 0 && *byte == 0 {
                return Err("the remaining length takes more bytes than it needs".into());
            }
            let frame = 2 + position + length;
            if frame > MAX_FRAME_BYTES {
                return Err(format!("a packet of {length} bytes"));
            }
            return Ok((received.len() >= frame).then_some(frame));
        }
    }
    Ok(None)
}

/// The packet in one whole frame, or a sentence that says what is wrong with it.
pub fn decode(frame: &[u8]) -> Result<Packet, String> {
    let (&first, rest) = frame.split_first().ok_or("an empty frame")?;
    let length_bytes = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = rest.get(length_bytes..).ok_or("a frame without its length")?;
    let kind = Kind::from_first_byte(first)
        .filter(|kind| *kind != Kind::Auth)
        .ok_or_else(|| format!("packet type {}, which 3.1.1 does not have", first >> 4))?;
    let flags = first & 0x0f;
    if kind != Kind::Publish && flags != kind.flags() {
        return Err(format!("{kind} with flags {flags:04b} where {:04b} is demanded", kind.flags()));
    }
    let named = |what: String| format!("{kind}: {what}");
    let (rest, packet) = match kind {
        Kind::Connect => connect(body),
        Kind::Connack => connack(body),
        Kind::Publish => publish(flags, body),
        Kind::Subscribe => subscribe(body),
        Kind::Unsubscribe => unsubscribe(body),
        Kind::Suback => suback(body),
        Kind::Pingreq | Kind::Pingresp | Kind::Disconnect | Kind::Auth => Ok((body, Packet::new(kind))),
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp | Kind::Unsuback => {
            id(body).map(|(rest, id)| (rest, Packet::new(kind).with("id", id)))
        }
    }
    .map_err(named)?;
    if !rest.is_empty() {
        return Err(named(format!("{} bytes too many", rest.len())));
    }
    Ok(packet)
}

/// What is left and what was read, or what is wrong.
type Read<'a, T> = Result<(&'a [u8], T), String>;

/// Runs a nom parser on a complete body: whatever it lacks is missing for good.
fn read<'a, T>(
    what: &str,
    body: &'a [u8],
    mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
) -> Read<'a, T> {
    parser.parse(body).map_err(|_| format!("it ends within the {what}"))
}

fn number8<'a>(what: &str, body: &'a [u8]) -> Read<'a, u64> {
    read(what, body, be_u8.map(u64::from))
}

fn id(body: &[u8]) -> Read<'_, u64> {
    match read("packet identifier", body, be_u16.map(u64::from))? {
        (_, 0) => Err("the packet identifier is 0".into()),
        found => Ok(found),
    }
}

fn binary<'a>(what: &str, body: &'a [u8]) -> Read<'a, Vec<u8>> {
    fn prefixed(body: &[u8]) -> IResult<&[u8], &[u8]> {
        let (body, length) = be_u16(body)?;
        take(length)(body)
    }
    read(what, body, prefixed.map(<[u8]>::to_vec))
}

fn text<'a>(what: &str, body: &'a [u8]) -> Read<'a, Vec<u8>> {
    let (rest, bytes) = binary(what, body)?;
    match std::str::from_utf8(&bytes) {
        Err(_) => Err(format!("the {what} is not UTF-8")),
        Ok(text) if text.contains('\0') => Err(format!("the {what} contains U+0000")),
        Ok(_) => Ok((rest, bytes)),
    }
}

fn connack(body: &[u8]) -> Read<'_, Packet> {
    let (body, flags) = number8("acknowledge flags", body)?;
    let (body, reason) = number8("return code", body)?;
    if flags > 1 {
        return Err(format!("acknowledge flags {flags:#04x}, of which only bit 0 is defined"));
    }
    if reason > 5 {
        return Err(format!("return code {reason}, which is reserved"));
    }
    Ok((body, Packet::new(Kind::Connack).with("session_present", flags).with("reason", reason)))
}

fn publish(flags: u8, body: &[u8]) -> Read<'_, Packet> {
    let (dup, qos, retain) = (flags >> 3, flags >> 1 & 3, flags & 1);
    if qos == 3 {
        return Err("QoS 3".into());
    }
    if qos == 0 && dup == 1 {
        return Err("DUP 1 with QoS 0".into());
    }
    let (body, topic) = text("topic name", body)?;
    if topic.is_empty() {
        return Err("an empty topic name".into());
    }
    if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err("a wildcard in the topic name".into());
    }
    let mut packet = Packet::new(Kind::Publish)
        .with("dup", u64::from(dup))
        .with("qos", u64::from(qos))
        .with("retain", u64::from(retain))
        .with("topic", topic);
    let payload = if qos > 0 {
        let (payload, id) = id(body)?;
        packet = packet.with("id", id);
        payload
    } else {
        body
    };
    Ok((&[], packet.with("payload", payload.to_vec())))
}

fn suback(body: &[u8]) -> Read<'_, Packet> {
    let (reasons, id) = id(body)?;
    let mut packet = Packet::new(Kind::Suback).with("id", id);
    if reasons.is_empty() {
        return Err("no return code".into());
    }
    for reason in reasons {
        if !matches!(reason, 0..=2 | 0x80) {
            return Err(format!("return code {reason:#04x}, which is reserved"));
        }
        packet = packet.with("reason", u64::from(*reason));
    }
    Ok((&[], packet))
}

fn subscribe(body: &[u8]) -> Read<'_, Packet> {
    let (mut body, id) = id(body)?;
    let mut packet = Packet::new(Kind::Subscribe).with("id", id);
    while !body.is_empty() {
        let (rest, topic) = text("topic filter", body)?;
        let (rest, qos) = number8("requested QoS", rest)?;
        packet = packet.with("topic", topic).with("qos", qos);
        body = rest;
    }
    Ok((body, packet))
}

fn unsubscribe(body: &[u8]) -> Read<'_, Packet> {
    let (mut body, id) = id(body)?;
    let mut packet = Packet::new(Kind::Unsubscribe).with("id", id);
    while !body.is_empty() {
        let (rest, topic) = text("topic filter", body)?;
        packet = packet.with("topic", topic);
        body = rest;
    }
    Ok((body, packet))
}

fn connect(body: &[u8]) -> Read<'_, Packet> {
    let (body, protocol) = text("protocol name", body)?;
    let (body, level) = number8("protocol level", body)?;
    let (body, flags) = number8("connect flags", body)?;
    let (body, keep_alive) = read("keep alive", body, be_u16.map(u64::from))?;
    let (mut body, client_id) = text("client identifier", body)?;
    let mut packet = Packet::new(Kind::Connect);
    if protocol != b"MQTT" || level != 4 {
        packet = packet.with("protocol", protocol).with("level", level);
    }
    packet = packet.with("clean", flags >> 1 & 1).with("keep_alive", keep_alive).with("client_id", client_id);
    if flags & 0x04 != 0 {
        let (rest, topic) = text("will topic", body)?;
        let (rest, payload) = binary("will message", rest)?;
        body = rest;
        packet = packet
            .with("will_topic", topic)
            .with("will_payload", payload)
            .with("will_qos", flags >> 3 & 3)
            .with("will_retain", flags >> 5 & 1);
    }
    if flags & 0x80 != 0 {
        let (rest, username) = text("user name", body)?;
        body = rest;
        packet = packet.with("username", username);
    }
    if flags & 0x40 != 0 {
        let (rest, password) = binary("password", body)?;
        body = rest;
        packet = packet.with("password", password);
    }
    Ok((body, packet))
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode;
    use super::*;

    fn says(bytes: &[u8]) -> String {
        decode(bytes).expect_err("must be refused")
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(says(&[0xd1, 0]), "PINGRESP with flags 0001 where 0000 is demanded");
        assert_eq!(says(&[0x20, 2, 2, 0]), "CONNACK: acknowledge flags 0x02, of which only bit 0 is defined");
        assert_eq!(says(&[0x40, 1, 0]), "PUBACK: it ends within the packet identifier");
        assert_eq!(says(&[0x40, 3, 0, 1, 0]), "PUBACK: 1 bytes too many");
        assert_eq!(says(&[0x36, 5, 0, 1, b'a', 0, 1]), "PUBLISH: QoS 3");
        assert_eq!(says(&[0x38, 3, 0, 1, b'a']), "PUBLISH: DUP 1 with QoS 0");
        assert_eq!(says(&[0x30, 3, 0, 1, 0xff]), "PUBLISH: the topic name is not UTF-8");
        assert_eq!(says(&[0x90, 3, 0, 1, 3]), "SUBACK: return code 0x03, which is reserved");
        assert_eq!(says(&[0xf0, 0]), "packet type 15, which 3.1.1 does not have");
    }

    #[test]
    fn cuts_a_stream_wherever_it_is_split() {
        let first = Packet::new(Kind::Puback).with("id", 7u64);
        let second = Packet::new(Kind::Publish)
            .with("dup", 0u64)
            .with("qos", 0u64)
            .with("retain", 1u64)
            .with("topic", "a/b")
            .with("payload", super::super::pattern(300));
        let stream = [encode(&first), encode(&second)].concat();
        for at in 0..stream.len() {
            let mut frames = Frames::default();
            let mut came = Vec::new();
            for part in [&stream[..at], &stream[at..]] {
                frames.push(part);
                came.extend(frames.by_ref().map(|frame| frame.packet));
            }
            assert_eq!(came, [Ok(first.clone()), Ok(second.clone())], "split at {at}");
            assert!(frames.rest().is_empty());
        }
    }

    #[test]
    fn an_endless_length_ends_the_stream() {
        let mut frames = Frames::default();
        frames.push(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert_eq!(
            frames.next().map(|frame| frame.packet),
            Some(Err("the remaining length goes on after four bytes".into()))
        );
        frames.push(&[0xd0, 0]);
        assert_eq!(frames.next(), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let mut frames = Frames::default();
            frames.push(&bytes);
            frames.count();
        }

        #[test]
        fn reads_back_what_was_written(
            dup in 0u64..2, qos in 1u64..3, retain in 0u64..2, id in 1u64..65536,
            topic in "[a-z/]{1,20}", payload: Vec<u8>
        ) {
            let packet = Packet::new(Kind::Publish)
                .with("dup", dup).with("qos", qos).with("retain", retain)
                .with("topic", topic.as_str()).with("id", id).with("payload", payload);
            proptest::prop_assert_eq!(decode(&encode(&packet)), Ok(packet));
        }
    }
}
