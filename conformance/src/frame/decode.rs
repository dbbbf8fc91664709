//! Bytes → fields, strictly: whatever the standard forbids comes out as a sentence that says what is wrong.

use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16};
use nom::{IResult, Parser};

use super::property::{self, Place};
use super::{Kind, Packet, Side, reason};
use crate::Version;

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
#[derive(Debug)]
pub struct Frames {
    side: Side,
    version: Version,
    received: Vec<u8>,
    lost: bool,
}

impl Frames {
    /// Of what `side` sends on a connection of this version. A CONNECT among it says the version itself.
    pub fn of(side: Side, version: Version) -> Self {
        Frames { side, version, received: Vec::new(), lost: false }
    }

    /// What is spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// From now on it is this version.
    pub fn speak(&mut self, version: Version) {
        self.version = version;
    }

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
                self.version = connect_version(&bytes).unwrap_or(self.version);
                let packet = decode(&bytes, self.version, self.side);
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

/// The version that this frame asks for, if it is a CONNECT of one that the kit knows, good or bad.
pub fn connect_version(frame: &[u8]) -> Option<Version> {
    let (&first, rest) = frame.split_first()?;
    let length_bytes = rest.iter().take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let (level, protocol) = binary("protocol name", rest.get(length_bytes..)?).ok()?;
    let is_connect = first >> 4 == Kind::Connect as u8 && protocol == b"MQTT";
    match level.first() {
        Some(4) if is_connect => Some(Version::V3_1_1),
        Some(5) if is_connect => Some(Version::V5_0),
        _ => None,
    }
}

/// The packet in one whole frame of this version, sent by `side`, or a sentence that says what is wrong with it.
pub fn decode(frame: &[u8], version: Version, side: Side) -> Result<Packet, String> {
    let (&first, rest) = frame.split_first().ok_or("an empty frame")?;
    let length_bytes = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = rest.get(length_bytes..).ok_or("a frame without its length")?;
    let kind = Kind::from_first_byte(first)
        .filter(|kind| *kind != Kind::Auth || version >= Version::V5_0)
        .ok_or_else(|| format!("packet type {}, which {version} does not have", first >> 4))?;
    let flags = first & 0x0f;
    if kind != Kind::Publish && flags != kind.flags() {
        return Err(format!("{kind} with flags {flags:04b} where {:04b} is demanded", kind.flags()));
    }
    let named = |what: String| format!("{kind}: {what}");
    let form = Form { kind, version, side };
    let (rest, packet) = match kind {
        Kind::Connect => form.connect(body),
        Kind::Connack => form.connack(body),
        Kind::Publish => form.publish(flags, body),
        Kind::Subscribe => form.subscribe(body),
        Kind::Unsubscribe => form.unsubscribe(body),
        Kind::Suback => form.codes(body),
        Kind::Unsuback if version >= Version::V5_0 => form.codes(body),
        Kind::Pingreq | Kind::Pingresp => Ok((body, Packet::new(kind))),
        Kind::Disconnect | Kind::Auth => form.reason(Packet::new(kind), body),
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp | Kind::Unsuback => {
            id(body).and_then(|(rest, id)| form.reason(Packet::new(kind).with("id", id), rest))
        }
    }
    .map_err(named)?;
    if !rest.is_empty() {
        return Err(named(format!("{} bytes too many", rest.len())));
    }
    Ok(packet)
}

/// What is left and what was read, or what is wrong.
pub(super) type Read<'a, T> = Result<(&'a [u8], T), String>;

/// Runs a nom parser on a complete body: whatever it lacks is missing for good.
pub(super) fn read<'a, T>(
    what: &str,
    body: &'a [u8],
    mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
) -> Read<'a, T> {
    parser.parse(body).map_err(|_| format!("it ends within the {what}"))
}

pub(super) fn number8<'a>(what: &str, body: &'a [u8]) -> Read<'a, u64> {
    read(what, body, be_u8.map(u64::from))
}

fn id(body: &[u8]) -> Read<'_, u64> {
    match read("packet identifier", body, be_u16.map(u64::from))? {
        (_, 0) => Err("the packet identifier is 0".into()),
        found => Ok(found),
    }
}

pub(super) fn binary<'a>(what: &str, body: &'a [u8]) -> Read<'a, Vec<u8>> {
    fn prefixed(body: &[u8]) -> IResult<&[u8], &[u8]> {
        let (body, length) = be_u16(body)?;
        take(length)(body)
    }
    read(what, body, prefixed.map(<[u8]>::to_vec))
}

pub(super) fn text<'a>(what: &str, body: &'a [u8]) -> Read<'a, Vec<u8>> {
    let (rest, bytes) = binary(what, body)?;
    match std::str::from_utf8(&bytes) {
        Err(_) => Err(format!("the {what} is not UTF-8")),
        Ok(text) if text.contains('\0') => Err(format!("the {what} contains U+0000")),
        Ok(_) => Ok((rest, bytes)),
    }
}

/// A name and a value, as `name=value`.
pub(super) fn pair<'a>(what: &str, body: &'a [u8]) -> Read<'a, Vec<u8>> {
    let (body, name) = text(what, body)?;
    let (body, value) = text(what, body)?;
    Ok((body, [name, b"=".to_vec(), value].concat()))
}

/// A variable byte integer. [MQTT-1.5.5-1]
pub(super) fn varint<'a>(what: &str, body: &'a [u8]) -> Read<'a, u64> {
    let mut number = 0;
    for (position, byte) in body.iter().enumerate() {
        if position == 4 {
            return Err(format!("the {what} goes on after four bytes"));
        }
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            if position > 0 && *byte == 0 {
                return Err(format!("the {what} takes more bytes than it needs"));
            }
            return Ok((body.get(position + 1..).unwrap_or_default(), number));
        }
    }
    Err(format!("it ends within the {what}"))
}

/// How the body of a packet is to be read.
#[derive(Clone, Copy)]
struct Form {
    kind: Kind,
    version: Version,
    side: Side,
}

impl Form {
    fn is_5_0(self) -> bool {
        self.version >= Version::V5_0
    }

    /// What 3.1.1 and 5.0 call a code.
    fn code_name(self) -> &'static str {
        if self.is_5_0() { "reason code" } else { "return code" }
    }

    /// A code that this packet may have.
    fn code(self, body: &[u8]) -> Read<'_, u64> {
        let (body, code) = read(self.code_name(), body, be_u8)?;
        if reason::is_listed(self.kind, self.version, self.side, code) {
            return Ok((body, code.into()));
        }
        let name = self.code_name();
        Err(match self.version {
            Version::V3_1_1 if self.kind == Kind::Connack => format!("{name} {code}, which is reserved"),
            Version::V3_1_1 => format!("{name} {code:#04x}, which is reserved"),
            Version::V5_0 => format!("{name} {code:#04x}, which it must not have"),
        })
    }

    /// The packet with its properties, where the version has some.
    fn properties<'a>(self, packet: Packet, body: &'a [u8]) -> Read<'a, Packet> {
        self.listed(packet, Place::Packet, body)
    }

    fn listed<'a>(self, mut packet: Packet, place: Place, body: &'a [u8]) -> Read<'a, Packet> {
        if !self.is_5_0() {
            return Ok((body, packet));
        }
        let (body, list) = property::decode(self.kind, place, self.side, body)?;
        packet.fields.extend(list.fields);
        Ok((body, packet))
    }

    /// The packet with a code, 0 if it is left out, and properties, if they are not.
    fn reason<'a>(self, packet: Packet, body: &'a [u8]) -> Read<'a, Packet> {
        if !self.is_5_0() {
            return Ok((body, packet));
        }
        let (body, code) = if body.is_empty() { (body, 0) } else { self.code(body)? };
        let packet = packet.with("reason", code);
        if body.is_empty() { Ok((body, packet)) } else { self.properties(packet, body) }
    }

    fn connack(self, body: &[u8]) -> Read<'_, Packet> {
        // How a broker answers whom it takes for a client of an unknown version: as one of 3.1.1.
        if self.is_5_0() && body == [0, 1] {
            let packet = Packet::new(self.kind).with("session_present", 0u64).with("reason", 1u64);
            return Ok((&[], packet));
        }
        let (body, flags) = number8("acknowledge flags", body)?;
        let (body, code) = self.code(body)?;
        // [MQTT-3.2.2-1]
        if flags > 1 {
            return Err(format!("acknowledge flags {flags:#04x}, of which only bit 0 is defined"));
        }
        // [MQTT-3.2.2-6]
        if self.is_5_0() && flags == 1 && code != 0 {
            return Err(format!("session present with reason code {code:#04x}"));
        }
        let packet = Packet::new(self.kind).with("session_present", flags).with("reason", code);
        self.properties(packet, body)
    }

    fn publish(self, flags: u8, body: &[u8]) -> Read<'_, Packet> {
        let (dup, qos, retain) = (flags >> 3, flags >> 1 & 3, flags & 1);
        if qos == 3 {
            return Err("QoS 3".into());
        }
        if qos == 0 && dup == 1 {
            return Err("DUP 1 with QoS 0".into());
        }
        let (mut body, topic) = text("topic name", body)?;
        let is_empty = topic.is_empty();
        if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) {
            return Err("a wildcard in the topic name".into());
        }
        let mut packet = Packet::new(Kind::Publish)
            .with("dup", u64::from(dup))
            .with("qos", u64::from(qos))
            .with("retain", u64::from(retain))
            .with("topic", topic);
        if qos > 0 {
            let (rest, id) = id(body)?;
            packet = packet.with("id", id);
            body = rest;
        }
        let (payload, packet) = self.properties(packet, body)?;
        // An alias may stand for it.
        if is_empty && packet.number("topic_alias").is_none() {
            return Err("an empty topic name".into());
        }
        Ok((&[], packet.with("payload", payload.to_vec())))
    }

    /// An identifier, and one or more codes: SUBACK, and UNSUBACK of 5.0.
    fn codes(self, body: &[u8]) -> Read<'_, Packet> {
        let (body, id) = id(body)?;
        let (mut codes, mut packet) = self.properties(Packet::new(self.kind).with("id", id), body)?;
        if codes.is_empty() {
            return Err(format!("no {}", self.code_name()));
        }
        while !codes.is_empty() {
            let (rest, code) = self.code(codes)?;
            packet = packet.with("reason", code);
            codes = rest;
        }
        Ok((codes, packet))
    }

    fn subscribe(self, body: &[u8]) -> Read<'_, Packet> {
        let (body, id) = id(body)?;
        let (mut body, mut packet) = self.properties(Packet::new(self.kind).with("id", id), body)?;
        while !body.is_empty() {
            let (rest, topic) = text("topic filter", body)?;
            packet = packet.with("topic", topic);
            let (rest, options) = number8(if self.is_5_0() { "options" } else { "requested QoS" }, rest)?;
            packet = if !self.is_5_0() {
                packet.with("qos", options)
            } else if options & 0xc0 != 0 || options & 3 == 3 || options >> 4 & 3 == 3 {
                packet.with("options", options)
            } else {
                let bits = [("no_local", options >> 2 & 1), ("retain_as_published", options >> 3 & 1)];
                let others = bits.into_iter().chain([("retain_handling", options >> 4 & 3)]);
                others
                    .filter(|(_, value)| *value > 0)
                    .fold(packet.with("qos", options & 3), |packet, (name, value)| packet.with(name, value))
            };
            body = rest;
        }
        Ok((body, packet))
    }

    fn unsubscribe(self, body: &[u8]) -> Read<'_, Packet> {
        let (body, id) = id(body)?;
        let (mut body, mut packet) = self.properties(Packet::new(self.kind).with("id", id), body)?;
        while !body.is_empty() {
            let (rest, topic) = text("topic filter", body)?;
            packet = packet.with("topic", topic);
            body = rest;
        }
        Ok((body, packet))
    }

    fn connect(self, body: &[u8]) -> Read<'_, Packet> {
        let (body, protocol) = text("protocol name", body)?;
        let (body, level) = number8("protocol level", body)?;
        let (body, flags) = number8("connect flags", body)?;
        let (body, keep_alive) = read("keep alive", body, be_u16.map(u64::from))?;
        let mut packet = Packet::new(Kind::Connect);
        if protocol != b"MQTT" || level != if self.is_5_0() { 5 } else { 4 } {
            packet = packet.with("protocol", protocol).with("level", level);
        }
        packet = packet.with("clean", flags >> 1 & 1).with("keep_alive", keep_alive);
        let (body, packet) = self.properties(packet, body)?;
        let (mut body, client_id) = text("client identifier", body)?;
        let mut packet = packet.with("client_id", client_id);
        if flags & 0x04 != 0 {
            (body, packet) = self.listed(packet, Place::Will, body)?;
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
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode;
    use super::*;

    const V: Version = Version::V3_1_1;

    fn says(bytes: &[u8]) -> String {
        decode(bytes, V, Side::Broker).expect_err("must be refused")
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
        let stream = [encode(&first, V), encode(&second, V)].concat();
        for at in 0..stream.len() {
            let mut frames = Frames::of(Side::Broker, V);
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
        let mut frames = Frames::of(Side::Broker, V);
        frames.push(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
        assert_eq!(
            frames.next().map(|frame| frame.packet),
            Some(Err("the remaining length goes on after four bytes".into()))
        );
        frames.push(&[0xd0, 0]);
        assert_eq!(frames.next(), None);
    }

    /// Every packet of 5.0, with all that it may have.
    fn all_of_5_0() -> Vec<(Side, Packet)> {
        let every = |packet: Packet, side: Side| {
            let fields = super::super::table::fields(packet.kind).iter();
            let of_5_0 = fields.filter(|field| field.since == Version::V5_0 && field.name != "reason");
            of_5_0
                .filter(|field| !field.name.contains("property_length") && !field.name.ends_with("_property"))
                .filter(|field| side.may_send(packet.kind, field.name))
                .fold(packet.clone(), |packet, field| match field.of {
                    super::super::table::Type::Number(_) => packet.with(field.name, 1u64),
                    _ => packet.with(field.name, "x"),
                })
                .with("user_property", "a=1")
                .with("user_property", "a=2")
        };
        let ack = |kind| Packet::new(kind).with("id", 7u64).with("reason", 0u64);
        let message = |side| {
            let head = ["dup", "qos", "retain"].into_iter();
            let head = head.fold(Packet::new(Kind::Publish), |packet, name| packet.with(name, 1u64));
            let whole = every(head.with("topic", "t").with("id", 1u64), side);
            (side, whole.with("payload", "p"))
        };
        let sub = every(Packet::new(Kind::Subscribe).with("id", 1u64), Side::Client)
            .only_own(&["no_local", "retain_as_published", "retain_handling"])
            .with("topic", "a/#")
            .with("qos", 2u64)
            .with("no_local", 1u64)
            .with("retain_handling", 2u64)
            .with("topic", "b")
            .with("qos", 0u64);
        let codes = |kind, codes: [u64; 2]| {
            let packet = every(Packet::new(kind).with("id", 1u64), Side::Broker);
            (Side::Broker, codes.into_iter().fold(packet, |packet, code| packet.with("reason", code)))
        };
        let connack = Packet::new(Kind::Connack).with("session_present", 1u64).with("reason", 0u64);
        let mut all = vec![
            (Side::Broker, every(connack, Side::Broker)),
            message(Side::Broker),
            message(Side::Client),
            (Side::Client, sub),
            codes(Kind::Suback, [1, 0x87]),
            codes(Kind::Unsuback, [0, 0x11]),
            (Side::Broker, ack(Kind::Puback)),
            (Side::Broker, Packet::new(Kind::Disconnect).with("reason", 0u64)),
        ];
        for side in [Side::Client, Side::Broker] {
            for kind in [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp] {
                all.push((side, every(ack(kind), side)));
            }
            all.push((side, every(Packet::new(Kind::Disconnect).with("reason", 0x81u64), side)));
            all.push((side, every(Packet::new(Kind::Auth).with("reason", 0x18u64), side)));
        }
        all
    }

    impl Packet {
        /// Without these fields.
        fn only_own(mut self, others: &[&str]) -> Self {
            self.fields.retain(|(name, _)| !others.contains(name));
            self
        }
    }

    #[test]
    fn reads_back_everything_of_5_0() {
        for (side, packet) in all_of_5_0() {
            assert_eq!(decode(&encode(&packet, Version::V5_0), Version::V5_0, side), Ok(packet));
        }
    }

    #[test]
    fn reads_a_whole_connect_of_5_0() {
        let connect = Packet::new(Kind::Connect)
            .with("clean", 0u64)
            .with("keep_alive", 9u64)
            .with("session_expiry", 0xffff_ffffu64)
            .with("client_id", "c")
            .with("will_delay", 3u64)
            .with("will_payload_format", 1u64)
            .with("will_user_property", "a==b")
            .with("will_topic", "t")
            .with("will_payload", "p")
            .with("will_qos", 1u64)
            .with("will_retain", 0u64)
            .with("username", "u")
            .with("password", "p");
        let bytes = encode(&connect, Version::V5_0);
        assert_eq!(connect_version(&bytes), Some(Version::V5_0));
        assert_eq!(decode(&bytes, Version::V5_0, Side::Client), Ok(connect));
    }

    #[test]
    fn says_what_is_wrong_in_5_0() {
        let says = |packet: Packet| {
            let bytes = encode(&packet, Version::V5_0);
            decode(&bytes, Version::V5_0, Side::Broker).expect_err("must be refused")
        };
        let connack = || Packet::new(Kind::Connack);
        let raw = |bytes: &[u8]| connack().with("property", bytes.to_vec());
        assert_eq!(says(raw(&[0x21, 0, 0])), "CONNACK: receive_maximum 0");
        assert_eq!(says(raw(&[0x24, 2])), "CONNACK: maximum_qos 2, which is neither 0 nor 1");
        assert_eq!(says(raw(&[0x25, 1, 0x25, 1])), "CONNACK: retain_available twice");
        assert_eq!(says(raw(&[0x01, 1])), "CONNACK: payload_format, which it must not have");
        assert_eq!(says(raw(&[0x7f])), "CONNACK: property 0x7f, which there is not");
        assert_eq!(says(raw(&[0x26, 0, 1, b'a'])), "CONNACK: it ends within the user_property");
        assert_eq!(says(raw(&[0x1f, 0, 1, 0xff])), "CONNACK: the reason_string is not UTF-8");
        let long = connack().with("property_length_bytes", vec![0x80, 0]);
        assert_eq!(
            decode(&[0x20, 2, 0, 1], Version::V5_0, Side::Broker).map(|packet| packet.number("reason")),
            Ok(Some(1))
        );
        assert_eq!(says(long), "CONNACK: the length of the properties takes more bytes than it needs");
        assert_eq!(says(connack().with("property_length", 3u64)), "CONNACK: it ends within the properties");
        assert_eq!(
            says(connack().with("reason", 0x91u64)),
            "CONNACK: reason code 0x91, which it must not have"
        );
        let session = connack().with("session_present", 1u64).with("reason", 0x87u64);
        assert_eq!(says(session), "CONNACK: session present with reason code 0x87");
        assert_eq!(
            says(connack().with("authentication_data", "x")),
            "CONNACK: authentication_data without authentication_method"
        );
        let publish = || Packet::new(Kind::Publish).with("topic", "a");
        assert_eq!(says(publish().with("topic_alias", 0u64)), "PUBLISH: topic_alias 0");
        assert_eq!(says(publish().with("response_topic", "a/+")), "PUBLISH: a wildcard in response_topic");
        let disconnect = Packet::new(Kind::Disconnect);
        let expiry = disconnect.clone().with("session_expiry", 1u64);
        assert_eq!(says(expiry), "DISCONNECT: session_expiry, which it must not have");
        assert_eq!(
            says(disconnect.with("reason", 4u64)),
            "DISCONNECT: reason code 0x04, which it must not have"
        );
        assert_eq!(says(Packet::new(Kind::Unsuback).with("id", 1u64)), "UNSUBACK: no reason code");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            for (version, side) in [(V, Side::Broker), (Version::V5_0, Side::Broker), (Version::V5_0, Side::Client)] {
                let _ = decode(&bytes, version, side);
            }
            let mut frames = Frames::of(Side::Broker, V);
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
            proptest::prop_assert_eq!(decode(&encode(&packet, V), V, Side::Broker), Ok(packet));
        }
    }
}
