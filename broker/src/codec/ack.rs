//! PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK (§3.4 to §3.7, §3.11): packets of a packet identifier alone.

use super::primitive::{packet_id, whole};
use super::{Error, PacketId, PacketType};

/// An acknowledgement; which one, its place in [`Packet`](super::Packet) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The identifier of the packet that it answers [MQTT-2.3.1-6] [MQTT-2.3.1-7].
    pub packet_id: PacketId,
}

/// Which acknowledgement to encode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum AckType {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Unsuback,
}

/// Appends an acknowledgement.
pub fn encode_ack(out: &mut Vec<u8>, ack: AckType, packet_id: PacketId) {
    let packet = match ack {
        AckType::Puback => PacketType::Puback,
        AckType::Pubrec => PacketType::Pubrec,
        AckType::Pubrel => PacketType::Pubrel,
        AckType::Pubcomp => PacketType::Pubcomp,
        AckType::Unsuback => PacketType::Unsuback,
    };
    let [high, low] = packet_id.get().to_be_bytes();
    out.extend_from_slice(&[packet.first_byte(), 2, high, low]);
}

impl Ack {
    pub(super) fn decode(packet: PacketType, body: &[u8]) -> Result<Self, Error> {
        Ok(Self { packet_id: whole(packet, body, packet_id(packet))? })
    }
}
