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

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::super::tests::{assert_both_ways, error};
    use super::*;

    #[test]
    fn bytes_of_each() {
        for (packet, first) in [(Packet::Pingreq, 0xc0), (Packet::Pingresp, 0xd0), (Packet::Disconnect, 0xe0)]
        {
            assert_both_ways(Version::V311, &packet, &[first, 0]);
        }
    }

    #[test]
    fn no_body() {
        for (packet, first) in
            [(PacketType::Pingreq, 0xc0), (PacketType::Pingresp, 0xd0), (PacketType::Disconnect, 0xe0)]
        {
            assert_eq!(error(&[first, 2, 0, 0]), Error::TrailingBytes { packet, count: 2 });
        }
    }
}
