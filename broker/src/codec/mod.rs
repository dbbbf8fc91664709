//! Bytes ↔ packets: one codec for all versions of MQTT.
//!
//! [`decode`] takes the first packet off a buffer and borrows from it; [`Packet::encode`] appends to one.
//! Each packet stands in one file, both ways, with the id of a statement of the standard above the check
//! that keeps it. What the codec lets through is well-formed; whether it may come *now* is the hub's
//! question.

mod ack;
mod connack;
mod connect;
mod control;
mod error;
mod fixed_header;
mod format;
mod primitive;
mod properties;
mod property;
mod publish;
mod reason;
mod suback;
mod subscribe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU16;

pub use ack::{Ack, AckType, encode_ack, encode_ack_reason};
pub use connack::Connack;
pub use connect::{Connect, Will, connect_version, is_of_bridge, tell_of_bridge};
pub use control::{Auth, Disconnect, encode_pingreq, encode_pingresp};
pub use error::{EncodeError, Error};
pub use fixed_header::PacketType;
pub use primitive::{MAX_PACKET_BYTES, MAX_REMAINING_LENGTH};
pub use properties::{Properties, PropertiesBuf, PublishProperties};
pub use property::{Carrier, Property};
pub use publish::{Delivery, Publish, encode_publish, encode_publish_header, encoded_publish_len};
pub use reason::{Reason, UnknownReason};
pub use suback::{Suback, SubscribeCode, Unsuback};
pub use subscribe::{RetainHandling, Subscribe, SubscribeOptions, Unsubscribe};

use crate::topic::Name;
use fixed_header::{FirstByte, remaining_length, remaining_length_len};

/// A version of MQTT. Its `Display` is the number the standard goes by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

/// Quality of service (§4.3). Its `Display` and its `u8` are its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QoS {
    /// Not acknowledged.
    AtMostOnce = 0,
    /// PUBLISH, PUBACK.
    AtLeastOnce = 1,
    /// PUBLISH, PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce = 2,
}

/// A number that is none of [`QoS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("QoS {0} does not exist")]
pub struct UnknownQoS(pub u8);

/// A packet identifier, which is never 0 [MQTT-2.3.1-1].
pub type PacketId = NonZeroU16;

/// A control packet, well-formed by construction of [`decode`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    Puback(Ack<'a>),
    Pubrec(Ack<'a>),
    Pubrel(Ack<'a>),
    Pubcomp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Unsuback<'a>),
    Pingreq,
    Pingresp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// What the first bytes of a buffer are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet {
        /// The packet, borrowing from the input.
        packet: Packet<'a>,
        /// How many bytes of the input it took.
        length: usize,
    },
    /// The beginning of a packet.
    Incomplete {
        /// At least so many more bytes are needed, and never more than the packet still has: at least 1.
        needed: usize,
    },
}

/// Decodes the first packet of `bytes`.
///
/// `version` is that of the connection's CONNECT; `None`, before CONNECT, decodes as 3.1.1. A CONNECT goes by its own.
/// A packet of more than `max_packet_bytes`, fixed header included, is refused as soon as its fixed header is there; one
/// with a wrong first byte, as soon as that is.
pub fn decode(bytes: &[u8], version: Option<Version>, max_packet_bytes: usize) -> Result<Decoded<'_>, Error> {
    decode_after(None, bytes, version, max_packet_bytes)
}

/// The same, behind a PUBLISH to this `topic`: one that comes again is not checked again.
#[inline]
pub fn decode_after<'a>(
    topic: Option<Name<'a>>,
    bytes: &'a [u8],
    version: Option<Version>,
    max_packet_bytes: usize,
) -> Result<Decoded<'a>, Error> {
    // Above QoS 0 most packets are these four bytes, in all versions. Written where it goes, it is not moved.
    if let [first @ (0x40 | 0x50 | 0x62 | 0x70), 2, high, low, ..] = *bytes
        && let Some(packet_id) = PacketId::new(u16::from_be_bytes([high, low]))
        && max_packet_bytes >= 4
    {
        let ack = Ack::new(packet_id);
        let packet = match first {
            0x40 => Packet::Puback(ack),
            0x50 => Packet::Pubrec(ack),
            0x62 => Packet::Pubrel(ack),
            _ => Packet::Pubcomp(ack),
        };
        return Ok(Decoded::Packet { packet, length: 4 });
    }
    decode_any(topic, bytes, version, max_packet_bytes)
}

fn decode_any<'a>(
    topic: Option<Name<'a>>,
    bytes: &'a [u8],
    version: Option<Version>,
    max_packet_bytes: usize,
) -> Result<Decoded<'a>, Error> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Decoded::Incomplete { needed: 1 });
    };
    let version = version.unwrap_or(Version::V311);
    let first = FirstByte::parse(first, version)?;
    let Some((remaining, rest)) = remaining_length(rest)? else {
        return Ok(Decoded::Incomplete { needed: 1 });
    };
    let header_len = bytes.len() - rest.len();
    let length = header_len + remaining;
    if length > max_packet_bytes {
        return Err(Error::PacketTooLarge { length, limit: max_packet_bytes });
    }
    match rest.get(..remaining) {
        Some(body) => {
            let version_of_length = match first.packet_type {
                PacketType::Connect => connect_version(bytes).unwrap_or(version),
                _ => version,
            };
            // [MQTT-1.5.5-1], which 3.1.1 does not have
            if version_of_length == Version::V5 && header_len != 1 + remaining_length_len(remaining) {
                return Err(Error::NotMinimal { field: "remaining length" });
            }
            // Not by way of `decode_body`, so that it is written where it goes.
            if first.packet_type == PacketType::Publish {
                let packet = Packet::Publish(Publish::decode(topic, first.flags, version, body)?);
                return Ok(Decoded::Packet { packet, length });
            }
            Ok(Decoded::Packet { packet: decode_body(first, version, body)?, length })
        }
        None => Ok(Decoded::Incomplete { needed: remaining - rest.len() }),
    }
}

fn decode_body(first: FirstByte, version: Version, body: &[u8]) -> Result<Packet<'_>, Error> {
    let packet_type = first.packet_type;
    Ok(match packet_type {
        PacketType::Publish => Packet::Publish(Publish::decode(None, first.flags, version, body)?),
        PacketType::Connect => Packet::Connect(Connect::decode(body)?),
        PacketType::Connack => Packet::Connack(Connack::decode(version, body)?),
        PacketType::Puback => Packet::Puback(Ack::decode(packet_type, version, body)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::decode(packet_type, version, body)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::decode(packet_type, version, body)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(packet_type, version, body)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(version, body)?),
        PacketType::Suback => Packet::Suback(Suback::decode(version, body)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(version, body)?),
        PacketType::Unsuback => Packet::Unsuback(Unsuback::decode(version, body)?),
        PacketType::Pingreq => control::decode_empty(packet_type, body, Packet::Pingreq)?,
        PacketType::Pingresp => control::decode_empty(packet_type, body, Packet::Pingresp)?,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(version, body)?),
        PacketType::Auth => Packet::Auth(Auth::decode(body)?),
    })
}

impl Packet<'_> {
    /// Which of the fifteen it is.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::Connack(_) => PacketType::Connack,
            Packet::Publish(_) => PacketType::Publish,
            Packet::Puback(_) => PacketType::Puback,
            Packet::Pubrec(_) => PacketType::Pubrec,
            Packet::Pubrel(_) => PacketType::Pubrel,
            Packet::Pubcomp(_) => PacketType::Pubcomp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::Suback(_) => PacketType::Suback,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::Unsuback(_) => PacketType::Unsuback,
            Packet::Pingreq => PacketType::Pingreq,
            Packet::Pingresp => PacketType::Pingresp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the packet's bytes to `out`; on an error, nothing. A CONNECT goes by its own version.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Packet::Connect(connect) => connect.encode(out)?,
            Packet::Connack(connack) => connack.encode(version, out)?,
            Packet::Publish(publish) => publish.encode(version, out)?,
            Packet::Puback(ack) => ack.encode(AckType::Puback, version, out)?,
            Packet::Pubrec(ack) => ack.encode(AckType::Pubrec, version, out)?,
            Packet::Pubrel(ack) => ack.encode(AckType::Pubrel, version, out)?,
            Packet::Pubcomp(ack) => ack.encode(AckType::Pubcomp, version, out)?,
            Packet::Subscribe(subscribe) => subscribe.encode(version, out)?,
            Packet::Suback(suback) => suback.encode(version, out)?,
            Packet::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out)?,
            Packet::Unsuback(unsuback) => unsuback.encode(version, out)?,
            Packet::Pingreq => encode_pingreq(out),
            Packet::Pingresp => encode_pingresp(out),
            Packet::Disconnect(disconnect) => disconnect.encode(version, out)?,
            Packet::Auth(auth) => auth.encode(version, out)?,
        }
        Ok(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        })
    }
}

impl TryFrom<u8> for QoS {
    type Error = UnknownQoS;

    fn try_from(number: u8) -> Result<Self, UnknownQoS> {
        match number {
            0 => Ok(QoS::AtMostOnce),
            1 => Ok(QoS::AtLeastOnce),
            2 => Ok(QoS::ExactlyOnce),
            _ => Err(UnknownQoS(number)),
        }
    }
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> u8 {
        qos as u8
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u8::from(*self).fmt(f)
    }
}
