//! PINGREQ, PINGRESP, DISCONNECT (§3.12 to §3.14): packets of a fixed header alone.

use super::{Error, Packet, PacketType};

/// Appends PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    encode_empty(PacketType::Pingreq, out);
}

/// Appends PINGRESP, the answer to PINGREQ [MQTT-3.12.4-1].
pub fn encode_pingresp(out: &mut Vec<u8>) {
    encode_empty(PacketType::Pingresp, out);
}

/// Appends DISCONNECT.
pub fn encode_disconnect(out: &mut Vec<u8>) {
    encode_empty(PacketType::Disconnect, out);
}

fn encode_empty(packet: PacketType, out: &mut Vec<u8>) {
    out.extend_from_slice(&[packet.first_byte(), 0]);
}

/// Gives `decoded` if there is no body.
pub(super) fn decode_empty<'a>(
    packet: PacketType,
    body: &[u8],
    decoded: Packet<'a>,
) -> Result<Packet<'a>, Error> {
    match body.len() {
        0 => Ok(decoded),
        count => Err(Error::TrailingBytes { packet, count }),
    }
}
