//! CONNECT (§3.1).

use std::fmt;

use nom::Parser;
use nom::combinator::{cond, map_res};
use nom::number::complete::{be_u16, u8};

use super::fixed_header::remaining_length;
use super::primitive::{Parsed, binary, put_binary, put_packet, put_string, string, whole};
use super::{Carrier, EncodeError, Error, PacketType, Properties, QoS, Version};
use crate::topic::Name;

const CLIENT_ID: &str = "client identifier";
const WILL_TOPIC: &str = "will topic";
const WILL_MESSAGE: &str = "will message";
const USER_NAME: &str = "user name";
const PASSWORD: &str = "password";

const CARRIER: Carrier = Carrier::Packet(PacketType::Connect);

const CLEAN_SESSION: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_RETAIN: u8 = 0b0010_0000;
const HAS_PASSWORD: u8 = 0b0100_0000;
const HAS_USER_NAME: u8 = 0b1000_0000;

/// In the protocol level of 3.1 and 3.1.1: the client is a bridge. The standard does not know it; mosquitto made it up,
/// and no version has such a level.
const BRIDGE: u8 = 0b1000_0000;

/// A client's first packet. Its `Debug` hides the password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// What the connection speaks from here on.
    pub version: Version,
    /// Whether to begin without stored state and keep none [MQTT-3.1.2-6]. In 5.0, Clean Start: only whether to begin
    /// without, the session expiry interval says how long to keep it.
    pub clean_session: bool,
    /// The longest silence of the client, in seconds; 0 turns the check off.
    pub keep_alive: u16,
    /// Empty: the server is to make one up [MQTT-3.1.3-6].
    pub client_id: &'a str,
    /// What to publish when the connection ends otherwise than by DISCONNECT [MQTT-3.1.2-8].
    pub will: Option<Will<'a>>,
    /// Who the client says it is.
    pub user_name: Option<&'a str>,
    /// Before 5.0 only with a user name [MQTT-3.1.2-22].
    pub password: Option<&'a [u8]>,
    /// None before 5.0.
    pub properties: Properties<'a>,
}

/// A will message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// Where to.
    pub topic: Name<'a>,
    /// The application message, at most 65535 bytes.
    pub payload: &'a [u8],
    /// How to publish it.
    pub qos: QoS,
    /// Whether to keep it as the topic's retained message.
    pub retain: bool,
    /// None before 5.0.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let connect = whole(PacketType::Connect, body, connect)?;
        connect.check()?;
        Ok(connect)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let &Self { version, clean_session, keep_alive, client_id, will, user_name, password, properties } =
            self;
        self.check()?;
        let flags = ConnectFlags {
            clean_session,
            will: will.map(|will| (will.qos, will.retain)),
            user_name: user_name.is_some(),
            password: password.is_some(),
        };

        let mut body = Vec::new();
        let (name, level) = protocol(version);
        put_binary(&mut body, "protocol name", name)?;
        body.push(level);
        body.push(flags.byte());
        body.extend_from_slice(&keep_alive.to_be_bytes());
        properties.put(version, CARRIER, &mut body)?;
        // [MQTT-3.1.3-1]
        put_string(&mut body, CLIENT_ID, client_id)?;
        if let Some(will) = will {
            will.properties.put(version, Carrier::Will, &mut body)?;
            put_string(&mut body, WILL_TOPIC, will.topic.as_str())?;
            put_binary(&mut body, WILL_MESSAGE, will.payload)?;
        }
        if let Some(user_name) = user_name {
            put_string(&mut body, USER_NAME, user_name)?;
        }
        if let Some(password) = password {
            put_binary(&mut body, PASSWORD, password)?;
        }
        put_packet(out, PacketType::Connect, &body)
    }

    /// The rules on fields that go together.
    fn check(&self) -> Result<(), Error> {
        // [MQTT-3.1.2-22], until 5.0
        if self.password.is_some() && self.user_name.is_none() && self.version != Version::V5 {
            return Err(Error::PasswordWithoutUserName);
        }
        match self.version {
            Version::V31 if self.client_id.is_empty() => Err(Error::EmptyClientIdV31),
            // [MQTT-3.1.3-7]
            Version::V311 if self.client_id.is_empty() && !self.clean_session => Err(Error::EmptyClientId),
            _ => Ok(()),
        }
    }
}

/// The version that the first packet asks for, if it is a CONNECT of one that there is, and begins like one: in which to
/// answer what cannot be decoded.
pub fn connect_version(bytes: &[u8]) -> Option<Version> {
    let (&first, rest) = bytes.split_first()?;
    if first >> 4 != PacketType::Connect as u8 {
        return None;
    }
    let (_, body) = remaining_length(rest).ok()??;
    map_res((binary, u8), |(name, level)| version(name, level)).parse(body).ok().map(|(_, version)| version)
}

/// Whether the first packet is a CONNECT of 3.1 or 3.1.1 whose protocol level says that the client is a bridge.
pub fn is_of_bridge(bytes: &[u8]) -> bool {
    let is_older = matches!(connect_version(bytes), Some(Version::V31 | Version::V311));
    is_older && protocol_level(bytes).and_then(|at| bytes.get(at)).is_some_and(|level| level & BRIDGE != 0)
}

/// Says so in an encoded CONNECT of 3.1 or 3.1.1.
pub fn tell_of_bridge(connect: &mut [u8]) {
    if let Some(level) = protocol_level(connect).and_then(|at| connect.get_mut(at)) {
        *level |= BRIDGE;
    }
}

/// Where the protocol level stands in a CONNECT.
fn protocol_level(bytes: &[u8]) -> Option<usize> {
    let (_, rest) = bytes.split_first()?;
    let (_, body) = remaining_length(rest).ok()??;
    let name_len = u16::from_be_bytes(*body.first_chunk()?);
    Some(bytes.len() - body.len() + 2 + usize::from(name_len))
}

fn connect(input: &[u8]) -> Parsed<'_, Connect<'_>> {
    let (input, version) = map_res((binary, u8), |(name, level)| version(name, level)).parse(input)?;
    let (input, flags) = map_res(u8, ConnectFlags::parse).parse(input)?;
    let (input, keep_alive) = be_u16(input)?;
    let (input, properties) = Properties::parser(version, CARRIER).parse(input)?;
    // [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4]
    let (input, client_id) = string(CLIENT_ID).parse(input)?;
    // [MQTT-3.1.2-9] [MQTT-3.1.2-11]
    let (input, will) = match flags.will {
        Some((qos, retain)) => {
            let (input, properties) = Properties::parser(version, Carrier::Will).parse(input)?;
            let (input, (topic, payload)) = (map_res(binary, will_topic), binary).parse(input)?;
            (input, Some(Will { topic, payload, qos, retain, properties }))
        }
        None => (input, None),
    };
    // [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.3-11]
    let (input, user_name) = cond(flags.user_name, string(USER_NAME)).parse(input)?;
    // [MQTT-3.1.2-20] [MQTT-3.1.2-21]
    let (input, password) = cond(flags.password, binary).parse(input)?;
    let clean_session = flags.clean_session;
    let connect =
        Connect { version, clean_session, keep_alive, client_id, will, user_name, password, properties };
    Ok((input, connect))
}

fn protocol(version: Version) -> (&'static [u8], u8) {
    match version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    }
}

fn version(name: &[u8], level: u8) -> Result<Version, Error> {
    match (name, level) {
        (b"MQIsdp", 3 | 0x83) => Ok(Version::V31),
        (b"MQTT", 4 | 0x84) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        // [MQTT-3.1.2-2]
        (b"MQIsdp" | b"MQTT", _) => Err(Error::ProtocolLevel(level)),
        // [MQTT-3.1.2-1]
        _ => Err(Error::ProtocolName),
    }
}

// [MQTT-3.1.3-10]
fn will_topic(topic: &[u8]) -> Result<Name<'_>, Error> {
    Name::from_bytes(topic).map_err(|error| Error::Name { packet: PacketType::Connect, error })
}

/// The connect flags (§3.1.2.3) of fields that may be there.
struct ConnectFlags {
    clean_session: bool,
    will: Option<(QoS, bool)>,
    user_name: bool,
    password: bool,
}

impl ConnectFlags {
    fn parse(byte: u8) -> Result<Self, Error> {
        // [MQTT-3.1.2-3]
        if byte & 1 != 0 {
            return Err(Error::ReservedConnectFlag);
        }
        let qos = (byte >> 3) & 0b11;
        let retain = byte & WILL_RETAIN != 0;
        let will = if byte & WILL != 0 {
            // [MQTT-3.1.2-14]
            Some((QoS::try_from(qos).map_err(|_| Error::WillQos3)?, retain))
        } else if qos != 0 {
            // [MQTT-3.1.2-13]
            return Err(Error::WillQosWithoutWill(qos));
        } else if retain {
            // [MQTT-3.1.2-15]
            return Err(Error::WillRetainWithoutWill);
        } else {
            None
        };
        Ok(Self {
            clean_session: byte & CLEAN_SESSION != 0,
            will,
            user_name: byte & HAS_USER_NAME != 0,
            password: byte & HAS_PASSWORD != 0,
        })
    }

    fn byte(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let (will, qos, retain) = match self.will {
            Some((qos, retain)) => (true, qos.into(), retain),
            None => (false, 0, false),
        };
        flag(self.clean_session, CLEAN_SESSION)
            | flag(will, WILL)
            | qos << 3
            | flag(retain, WILL_RETAIN)
            | flag(self.user_name, HAS_USER_NAME)
            | flag(self.password, HAS_PASSWORD)
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(|_| "hidden"))
            .field("properties", &self.properties)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, error, frame, name};
    use super::super::{Decoded, Packet, PropertiesBuf, Property, decode};
    use super::*;

    const PACKET: PacketType = PacketType::Connect;

    #[test]
    fn a_bridge_says_so_in_the_protocol_level_of_3_x() {
        for version in [Version::V31, Version::V311] {
            let mut bytes = Vec::new();
            Packet::Connect(plain(version)).encode(version, &mut bytes).unwrap();
            assert!(!is_of_bridge(&bytes));
            let before = bytes.clone();
            tell_of_bridge(&mut bytes);
            assert!(is_of_bridge(&bytes) && bytes != before);
            let Ok(Decoded::Packet { packet, .. }) = decode(&bytes, None, usize::MAX) else { panic!() };
            assert_eq!(packet, Packet::Connect(plain(version)));
        }
        let mut bytes = Vec::new();
        Packet::Connect(plain(Version::V5)).encode(Version::V5, &mut bytes).unwrap();
        tell_of_bridge(&mut bytes);
        assert_eq!(decode(&bytes, None, usize::MAX), Err(Error::ProtocolLevel(0x85)));
        for bytes in [&b""[..], b"\x10", b"\x10\x02\x00", b"\xff\xff\xff\xff\xff"] {
            assert!(!is_of_bridge(bytes));
        }
    }

    fn plain(version: Version) -> Connect<'static> {
        Connect {
            version,
            clean_session: true,
            keep_alive: 60,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        }
    }

    /// A CONNECT of 3.1.1 with `flags` and what follows the keep-alive.
    fn with(flags: u8, payload: &[u8]) -> Vec<u8> {
        frame(0x10, &[&b"\0\x04MQTT\x04"[..], &[flags, 0, 60], payload].concat())
    }

    #[test]
    fn bytes_of_each_version() {
        let connect = Packet::Connect(plain(Version::V311));
        assert_both_ways(Version::V311, &connect, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c");
        let connect = Packet::Connect(plain(Version::V31));
        assert_both_ways(Version::V31, &connect, b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c");
    }

    #[test]
    fn bytes_with_everything() {
        let will = Will {
            topic: name("w/t"),
            payload: b"gone",
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
        let connect = Packet::Connect(Connect {
            clean_session: false,
            keep_alive: 0x0102,
            will: Some(will),
            user_name: Some("user"),
            password: Some(b"\0\xff"),
            ..plain(Version::V311)
        });
        let bytes = b"\x10\x22\0\x04MQTT\x04\xf4\x01\x02\0\x01c\0\x03w/t\0\x04gone\0\x04user\0\x02\0\xff";
        assert_both_ways(Version::V311, &connect, bytes);
    }

    #[test]
    fn bytes_with_empty_fields() {
        let will = Will {
            topic: name("w"),
            payload: b"",
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        let connect = Packet::Connect(Connect {
            client_id: "",
            will: Some(will),
            user_name: Some(""),
            password: Some(b""),
            ..plain(Version::V311)
        });
        let bytes = b"\x10\x15\0\x04MQTT\x04\xc6\0\x3c\0\0\0\x01w\0\0\0\0\0\0";
        assert_both_ways(Version::V311, &connect, bytes);
    }

    #[test]
    fn protocol_name_and_level() {
        let connect = |name: &[u8], level| {
            frame(0x10, &[&[0, name.len() as u8], name, &[level, 2, 0, 60, 0, 1, b'c']].concat())
        };
        for level in (0..=255).filter(|level| ![4, 4 | BRIDGE, 5].contains(level)) {
            assert_eq!(error(&connect(b"MQTT", level)), Error::ProtocolLevel(level));
        }
        for level in (0..=255).filter(|level| ![3, 3 | BRIDGE].contains(level)) {
            assert_eq!(error(&connect(b"MQIsdp", level)), Error::ProtocolLevel(level));
        }
        for name in [&b""[..], b"mqtt", b"MQT", b"MQTTT", b"MQIsdq", b"\xff\xff"] {
            assert_eq!(error(&connect(name, 4)), Error::ProtocolName);
        }
        let later_version = frame(0x10, b"\0\x04MQTT\x06and what only it can read");
        assert_eq!(error(&later_version), Error::ProtocolLevel(6));
    }

    #[test]
    fn a_broken_connect_tells_its_version() {
        for bytes in
            [&b"\x10\x07\0\x04MQTT\x05"[..], b"\x1f\xff\x7f\0\x04MQTT\x05\xff", b"\x10\x00\0\x04MQTT\x05"]
        {
            assert_eq!(connect_version(bytes), Some(Version::V5), "{bytes:?}");
        }
        for bytes in [
            &b""[..],
            b"\x10",
            b"\x10\x07\0\x04MQTT",
            b"\x10\x07\0\x04MQTT\x04",
            b"\x10\x07\0\x04MQTT\x06",
            b"\x20\x07\0\x04MQTT\x05",
            b"\x10\xff\xff\xff\xff\0\x04MQTT\x05",
            b"\x10\x09\0\x06MQIsdp\x05",
        ] {
            assert_ne!(connect_version(bytes), Some(Version::V5), "{bytes:?}");
        }
    }

    #[test]
    fn connect_flags() {
        assert_eq!(error(&with(0x03, b"\0\x01c")), Error::ReservedConnectFlag);
        assert_eq!(error(&with(0x0a, b"\0\x01c")), Error::WillQosWithoutWill(1));
        assert_eq!(error(&with(0x1a, b"\0\x01c")), Error::WillQosWithoutWill(3));
        assert_eq!(error(&with(0x22, b"\0\x01c")), Error::WillRetainWithoutWill);
        assert_eq!(error(&with(0x1e, b"\0\x01c\0\x01w\0\0")), Error::WillQos3);
        assert_eq!(error(&with(0x42, b"\0\x01c\0\x01p")), Error::PasswordWithoutUserName);
    }

    #[test]
    fn empty_client_identifier_needs_clean_session() {
        assert_eq!(error(&with(0x00, b"\0\0")), Error::EmptyClientId);
        assert!(decode(&with(0x02, b"\0\0"), None, 100).is_ok());
        assert_eq!(error(b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c\0\0"), Error::EmptyClientIdV31);
        let broken_besides = with(0x00, b"\0\0more");
        assert_eq!(error(&broken_besides), Error::TrailingBytes { packet: PACKET, count: 4 });
    }

    #[test]
    fn long_client_identifiers_are_taken() {
        let client_id = "x".repeat(65_535);
        for version in [Version::V31, Version::V311] {
            let connect = Packet::Connect(Connect { client_id: &client_id, ..plain(version) });
            let mut out = Vec::new();
            connect.encode(version, &mut out).unwrap();
            assert_both_ways(version, &connect, &out);
        }
    }

    #[test]
    fn fields_are_as_the_flags_say() {
        let truncated = Error::Truncated { packet: PACKET };
        let one_more = Error::TrailingBytes { packet: PACKET, count: 3 };
        // No client identifier; one field missing, one field too many for each flag.
        assert_eq!(error(&with(0x02, b"")), truncated);
        assert_eq!(error(&with(0x02, b"\0\x01c\0\x01x")), one_more);
        assert_eq!(error(&with(0x06, b"\0\x01c\0\x01w")), truncated);
        assert_eq!(error(&with(0x06, b"\0\x01c\0\x01w\0\x01m\0\x01x")), one_more);
        assert_eq!(error(&with(0x82, b"\0\x01c")), truncated);
        assert_eq!(error(&with(0x82, b"\0\x01c\0\x01u\0\x01x")), one_more);
        assert_eq!(error(&with(0xc2, b"\0\x01c\0\x01u")), truncated);
        assert_eq!(error(&with(0xc2, b"\0\x01c\0\x01u\0\x01p\0\x01x")), one_more);
        // Every earlier end.
        for end in 0..10 {
            assert_eq!(error(&frame(0x10, &b"\0\x04MQTT\x04\x02\0\x3c"[..end])), truncated);
        }
    }

    #[test]
    fn strings_are_valid() {
        assert_eq!(error(&with(0x02, b"\0\x01\xff")), Error::Utf8 { field: CLIENT_ID });
        assert_eq!(error(&with(0x02, b"\0\x01\0")), Error::Null { field: CLIENT_ID });
        assert_eq!(error(&with(0x82, b"\0\x01c\0\x01\xff")), Error::Utf8 { field: USER_NAME });
        assert_eq!(error(&with(0x82, b"\0\x01c\0\x01\0")), Error::Null { field: USER_NAME });
        for topic in [&b""[..], b"+", b"a/#", b"\0", b"\xff"] {
            let payload = [&b"\0\x01c"[..], &[0, topic.len() as u8], topic, b"\0\x01m"].concat();
            let name_error = Name::from_bytes(topic).unwrap_err();
            assert_eq!(error(&with(0x06, &payload)), Error::Name { packet: PACKET, error: name_error });
        }
    }

    #[test]
    fn what_cannot_be_encoded() {
        let encode = |connect: Connect<'_>| connect.encode(&mut Vec::new()).unwrap_err();
        let long = "x".repeat(65_536);
        let too_long = |field| EncodeError::FieldTooLong { field, length: 65_536 };
        let plain = plain(Version::V311);
        let will = Will {
            topic: name("w"),
            payload: long.as_bytes(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        assert_eq!(encode(Connect { client_id: &long, ..plain }), too_long(CLIENT_ID));
        assert_eq!(encode(Connect { will: Some(will), ..plain }), too_long(WILL_MESSAGE));
        let user = Connect { user_name: Some("u"), ..plain };
        assert_eq!(encode(Connect { user_name: Some(&long), ..plain }), too_long(USER_NAME));
        assert_eq!(encode(Connect { password: Some(long.as_bytes()), ..user }), too_long(PASSWORD));
        let forbidden = |error| EncodeError::Forbidden(error);
        let nul = Connect { client_id: "\0", ..plain };
        assert_eq!(encode(nul), forbidden(Error::Null { field: CLIENT_ID }));
        let password = Connect { password: Some(b"p"), ..plain };
        assert_eq!(encode(password), forbidden(Error::PasswordWithoutUserName));
        let nobody = Connect { client_id: "", clean_session: false, ..plain };
        assert_eq!(encode(nobody), forbidden(Error::EmptyClientId));
    }

    #[test]
    fn debug_hides_the_password() {
        let connect = Connect { user_name: Some("u"), password: Some(b"secret"), ..plain(Version::V311) };
        let debug = format!("{connect:?}");
        assert!(debug.contains("password: Some(\"hidden\")"), "{debug}");
    }

    /// A CONNECT of 5.0 with `flags` and what follows the keep-alive.
    fn with_5(flags: u8, rest: &[u8]) -> Vec<u8> {
        frame(0x10, &[&b"\0\x04MQTT\x05"[..], &[flags, 0, 60], rest].concat())
    }

    #[test]
    fn bytes_of_5_0() {
        let connect = plain(Version::V5);
        assert_both_ways(
            Version::V5,
            &Packet::Connect(connect),
            b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01c",
        );
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        let mut of_will = PropertiesBuf::new();
        of_will.push(Property::WillDelayInterval(1)).unwrap();
        let connect = Connect {
            will: Some(Will {
                topic: name("w"),
                payload: b"m",
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: of_will.as_properties(),
            }),
            properties: properties.as_properties(),
            ..connect
        };
        let bytes = b"\x10\x1f\0\x04MQTT\x05\x0e\0\x3c\x05\x11\xff\xff\xff\xff\0\x01c\x05\x18\0\0\0\x01\0\x01w\0\x01m";
        assert_both_ways(Version::V5, &Packet::Connect(connect), bytes);
    }

    #[test]
    fn it_goes_by_its_own_version() {
        for version in [Version::V31, Version::V311, Version::V5] {
            let packet = Packet::Connect(plain(version));
            let mut bytes = Vec::new();
            packet.encode(Version::V31, &mut bytes).unwrap();
            for of_connection in [None, Some(Version::V31), Some(Version::V311), Some(Version::V5)] {
                let decoded = decode(&bytes, of_connection, 100);
                assert_eq!(decoded, Ok(Decoded::Packet { packet: packet.clone(), length: bytes.len() }));
            }
            assert_eq!(connect_version(&bytes), Some(version));
        }
        assert_eq!(connect_version(&with_5(0x03, b"")), Some(Version::V5));
        let cut = [&b""[..], b"\x10", b"\x10\x80", b"\x10\x0e\0\x04MQTT", b"\x20\x0e\0\x04MQTT\x05"];
        let other = [
            &b"\x10\x07\0\x04MQTT\x06"[..],
            b"\x10\x07\0\x04MQTX\x05",
            b"\x10\xff\xff\xff\xff\0\x04MQTT\x05",
        ];
        for bytes in cut.into_iter().chain(other) {
            assert_eq!(connect_version(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_5_0_allows() {
        let ok = |bytes: &[u8]| decode(bytes, None, 100).is_ok();
        assert!(ok(&with_5(0x42, b"\0\0\x01c\0\x01p")), "a password without a user name");
        assert!(ok(&with_5(0x00, b"\0\0\0")), "no identifier and clean start 0");
        let password =
            Connect { password: Some(b"p"), client_id: "", clean_session: false, ..plain(Version::V5) };
        assert!(Packet::Connect(password).encode(Version::V5, &mut Vec::new()).is_ok());
    }

    #[test]
    fn rules_of_5_0() {
        assert_eq!(error(&with_5(0x03, b"\0\0\0")), Error::ReservedConnectFlag);
        assert_eq!(error(&with_5(0x1e, b"\0\0\0")), Error::WillQos3);
        assert_eq!(error(&with_5(0x02, b"")), Error::Truncated { packet: PACKET });
        assert_eq!(error(&with_5(0x02, b"\0")), Error::Truncated { packet: PACKET });
        assert_eq!(error(&with_5(0x06, b"\0\0\0\0\0\x01w\0")), Error::Truncated { packet: PACKET });
        assert_eq!(error(&with_5(0x02, b"\0\0\0x")), Error::TrailingBytes { packet: PACKET, count: 1 });
        let not_minimal = b"\x10\x8d\0\0\x04MQTT\x05\x02\0\x3c\0\0\0";
        assert_eq!(error(not_minimal), Error::NotMinimal { field: "remaining length" });
        let mut of_3_1_1 = b"\x10\x8c\0\0\x04MQTT\x04\x02\0\x3c\0\0".to_vec();
        assert!(decode(&of_3_1_1, None, 100).is_ok());
        of_3_1_1[9] = 5;
        assert_eq!(error(&of_3_1_1), Error::NotMinimal { field: "remaining length" });
    }
}
