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
mod primitive;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU16;

pub use ack::{Ack, AckType, encode_ack};
pub use connack::{Connack, ConnectCode};
pub use connect::{Connect, Will};
pub use control::{encode_disconnect, encode_pingreq, encode_pingresp};
pub use error::{EncodeError, Error};
pub use fixed_header::PacketType;
pub use primitive::{MAX_PACKET_BYTES, MAX_REMAINING_LENGTH};
pub use publish::{Delivery, Publish, encode_publish, encode_publish_header, encoded_publish_len};
pub use subscribe::{Suback, Subscribe, SubscribeCode, Unsubscribe};

use fixed_header::{FirstByte, remaining_length};

/// A version of MQTT. Its `Display` is the number the standard goes by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
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
    Connack(Connack),
    Publish(Publish<'a>),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Subscribe(Subscribe<'a>),
    Suback(Suback<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Unsuback(Ack),
    Pingreq,
    Pingresp,
    Disconnect,
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
/// `version` is that of the connection's CONNECT; `None`, before CONNECT, decodes as 3.1.1. A packet of more
/// than `max_packet_bytes`, fixed header included, is refused as soon as its fixed header is there; one with
/// a wrong first byte, as soon as that is.
pub fn decode(bytes: &[u8], version: Option<Version>, max_packet_bytes: usize) -> Result<Decoded<'_>, Error> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Decoded::Incomplete { needed: 1 });
    };
    let first = FirstByte::parse(first, version.unwrap_or(Version::V311))?;
    let Some((remaining, rest)) = remaining_length(rest)? else {
        return Ok(Decoded::Incomplete { needed: 1 });
    };
    let length = bytes.len() - rest.len() + remaining;
    if length > max_packet_bytes {
        return Err(Error::PacketTooLarge { length, limit: max_packet_bytes });
    }
    match rest.get(..remaining) {
        Some(body) => Ok(Decoded::Packet { packet: decode_body(first, body)?, length }),
        None => Ok(Decoded::Incomplete { needed: remaining - rest.len() }),
    }
}

fn decode_body(first: FirstByte, body: &[u8]) -> Result<Packet<'_>, Error> {
    let packet_type = first.packet_type;
    Ok(match packet_type {
        PacketType::Publish => Packet::Publish(Publish::decode(first.flags, body)?),
        PacketType::Connect => Packet::Connect(Connect::decode(body)?),
        PacketType::Connack => Packet::Connack(Connack::decode(body)?),
        PacketType::Puback => Packet::Puback(Ack::decode(packet_type, body)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::decode(packet_type, body)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::decode(packet_type, body)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(packet_type, body)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(body)?),
        PacketType::Suback => Packet::Suback(Suback::decode(body)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(body)?),
        PacketType::Unsuback => Packet::Unsuback(Ack::decode(packet_type, body)?),
        PacketType::Pingreq => control::decode_empty(packet_type, body, Packet::Pingreq)?,
        PacketType::Pingresp => control::decode_empty(packet_type, body, Packet::Pingresp)?,
        PacketType::Disconnect => control::decode_empty(packet_type, body, Packet::Disconnect)?,
    })
}

impl Packet<'_> {
    /// Which of the fourteen it is.
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
            Packet::Disconnect => PacketType::Disconnect,
        }
    }

    /// Appends the packet's bytes to `out`; on an error, nothing. A CONNECT goes by its own version.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Packet::Connect(connect) => connect.encode(out)?,
            Packet::Connack(connack) => connack.encode(version, out),
            Packet::Publish(publish) => publish.encode(out)?,
            Packet::Puback(ack) => encode_ack(out, AckType::Puback, ack.packet_id),
            Packet::Pubrec(ack) => encode_ack(out, AckType::Pubrec, ack.packet_id),
            Packet::Pubrel(ack) => encode_ack(out, AckType::Pubrel, ack.packet_id),
            Packet::Pubcomp(ack) => encode_ack(out, AckType::Pubcomp, ack.packet_id),
            Packet::Subscribe(subscribe) => subscribe.encode(out)?,
            Packet::Suback(suback) => suback.encode(out)?,
            Packet::Unsubscribe(unsubscribe) => unsubscribe.encode(out)?,
            Packet::Unsuback(ack) => encode_ack(out, AckType::Unsuback, ack.packet_id),
            Packet::Pingreq => encode_pingreq(out),
            Packet::Pingresp => encode_pingresp(out),
            Packet::Disconnect => encode_disconnect(out),
        }
        Ok(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
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
