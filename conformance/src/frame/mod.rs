//! The kit's own view of an MQTT packet, of 3.1.1 and 5.0: a kind and a list of named fields.
//!
//! Nothing here knows which combinations make sense. A broker's types rule out QoS 3, wrong flags and half a packet;
//! the kit has to be able to say them all. [`table`] lists which fields there are, [`encode`] writes what it is told,
//! [`decode`] accepts only what the standard allows and otherwise says what is wrong.

pub mod decode;
pub mod encode;
mod property;
mod reason;
pub mod table;

use std::fmt;

/// The control packet types of MQTT, with their number in the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Client to broker: the first packet on a connection.
    Connect = 1,
    /// Broker to client: the answer to CONNECT.
    Connack = 2,
    /// Both ways: a message.
    Publish = 3,
    /// Both ways: the answer to PUBLISH with QoS 1.
    Puback = 4,
    /// Both ways: the first answer to PUBLISH with QoS 2.
    Pubrec = 5,
    /// Both ways: the answer to PUBREC.
    Pubrel = 6,
    /// Both ways: the answer to PUBREL.
    Pubcomp = 7,
    /// Client to broker.
    Subscribe = 8,
    /// Broker to client.
    Suback = 9,
    /// Client to broker.
    Unsubscribe = 10,
    /// Broker to client.
    Unsuback = 11,
    /// Client to broker.
    Pingreq = 12,
    /// Broker to client.
    Pingresp = 13,
    /// Client to broker; in 5.0 both ways.
    Disconnect = 14,
    /// 5.0 only, both ways.
    Auth = 15,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 15] = [
        Kind::Connect,
        Kind::Connack,
        Kind::Publish,
        Kind::Puback,
        Kind::Pubrec,
        Kind::Pubrel,
        Kind::Pubcomp,
        Kind::Subscribe,
        Kind::Suback,
        Kind::Unsubscribe,
        Kind::Unsuback,
        Kind::Pingreq,
        Kind::Pingresp,
        Kind::Disconnect,
        Kind::Auth,
    ];

    /// The name as the standard writes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Connect => "CONNECT",
            Kind::Connack => "CONNACK",
            Kind::Publish => "PUBLISH",
            Kind::Puback => "PUBACK",
            Kind::Pubrec => "PUBREC",
            Kind::Pubrel => "PUBREL",
            Kind::Pubcomp => "PUBCOMP",
            Kind::Subscribe => "SUBSCRIBE",
            Kind::Suback => "SUBACK",
            Kind::Unsubscribe => "UNSUBSCRIBE",
            Kind::Unsuback => "UNSUBACK",
            Kind::Pingreq => "PINGREQ",
            Kind::Pingresp => "PINGRESP",
            Kind::Disconnect => "DISCONNECT",
            Kind::Auth => "AUTH",
        }
    }

    /// The kind with this name, in capitals.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind with this number in the high four bits of `first_byte`, if 3.1.1 or 5.0 has one.
    pub fn from_first_byte(first_byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == first_byte >> 4)
    }

    /// The low four bits of the first byte that the standard demands; PUBLISH has its own. [MQTT-2.2.2-1]
    pub fn flags(self) -> u8 {
        match self {
            Kind::Pubrel | Kind::Subscribe | Kind::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who sends a packet. Both may send most kinds, but not with the same fields and codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The broker.
    Broker,
}

impl Side {
    /// Whether this side may send this field of the packet at all.
    fn may_send(self, kind: Kind, field: &str) -> bool {
        match (self, kind, field) {
            // [MQTT-3.3.4-6]
            (Side::Client, Kind::Publish, "subscription_id")
            | (Side::Client, Kind::Disconnect, "server_reference")
            // [MQTT-3.14.2-2]
            | (Side::Broker, Kind::Disconnect, "session_expiry") => false,
            _ => true,
        }
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A bit, a number, an identifier, a code.
    Number(u64),
    /// A string or binary data, without its length prefix.
    Bytes(Vec<u8>),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Bytes(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Bytes(bytes)
    }
}

/// How many bytes of a long value are shown.
const SHOWN_BYTES: usize = 48;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Bytes(bytes) if bytes.len() > SHOWN_BYTES && *bytes == pattern(bytes.len()) => {
                write!(f, "bytes({})", bytes.len())
            }
            Value::Bytes(bytes) => {
                write!(f, "\"{}\"", escape(bytes.get(..SHOWN_BYTES).unwrap_or(bytes)))?;
                if bytes.len() > SHOWN_BYTES {
                    write!(f, "… ({} bytes)", bytes.len())?;
                }
                Ok(())
            }
        }
    }
}

/// Text in the escapes of the scenario language.
fn escape(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => shown.extend(['\\', c]),
                '\n' => shown.push_str("\\n"),
                '\0' => shown.push_str("\\0"),
                c if c.is_control() || c == '\u{feff}' => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// `bytes(length)` of the scenario language: printable, and different wherever a piece is lost or doubled.
pub fn pattern(length: usize) -> Vec<u8> {
    // 61 is prime, so the pattern does not line up with any power-of-two buffer.
    (0..length)
        .map(|i| b'A'.wrapping_add((i % 61) as u8))
        .map(|b| if b == b'\\' { b'~' } else { b })
        .collect()
}

/// A packet as a kind and its fields, in the order of the wire. A field may stand several times (filters, codes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub fields: Vec<(&'static str, Value)>,
}

impl Packet {
    /// A packet that says nothing yet.
    pub fn new(kind: Kind) -> Self {
        Packet { kind, fields: Vec::new() }
    }

    /// The same packet with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// All values of the field, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.fields.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The field's first value, if it is there and a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.all(name).find_map(|value| match value {
            Value::Number(number) => Some(*number),
            Value::Bytes(_) => None,
        })
    }

    /// The field's first value, if it is there and bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find_map(|(field, value)| match value {
            Value::Bytes(bytes) if *field == name => Some(bytes.as_slice()),
            _ => None,
        })
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.fields.iter().try_for_each(|(name, value)| match value {
            Value::Bytes(bytes) if is_hex(name) => {
                let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(f, " {name}=x\"{}\"", hex.join(" "))
            }
            _ => write!(f, " {name}={}", shown(name, value)),
        })
    }
}

/// The field's value as it is usually written: codes and bits from 0x80 in hexadecimal.
pub fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number @ 0x80..) if matches!(name, "reason" | "options") => format!("{number:#x}"),
        other => other.to_string(),
    }
}

/// Whether the field is bytes of a bent frame rather than text.
fn is_hex(name: &str) -> bool {
    matches!(
        name,
        "length_bytes"
            | "tail"
            | "property"
            | "property_length_bytes"
            | "will_property"
            | "will_property_length_bytes"
    )
}
