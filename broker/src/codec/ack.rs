//! PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK (§3.4 to §3.7, §3.11): packets of a packet identifier alone.

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
        match body {
            // [MQTT-2.3.1-1]
            [high, low] => PacketId::new(u16::from_be_bytes([*high, *low]))
                .map(|packet_id| Self { packet_id })
                .ok_or(Error::ZeroPacketId { packet }),
            [_, _, rest @ ..] => Err(Error::TrailingBytes { packet, count: rest.len() }),
            _ => Err(Error::Truncated { packet }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, error, id};
    use super::super::{Packet, Version, decode};
    use super::*;

    #[test]
    fn bytes_of_each() {
        let ack = Ack { packet_id: id(0x1234) };
        let packets = [
            (Packet::Puback(ack), 0x40),
            (Packet::Pubrec(ack), 0x50),
            (Packet::Pubrel(ack), 0x62),
            (Packet::Pubcomp(ack), 0x70),
            (Packet::Unsuback(ack), 0xb0),
        ];
        for (packet, first) in packets {
            assert_both_ways(Version::V31, &packet, &[first, 2, 0x12, 0x34]);
            assert_both_ways(Version::V311, &packet, &[first, 2, 0x12, 0x34]);
        }
    }

    #[test]
    fn body_is_one_identifier() {
        let packets = [
            (PacketType::Puback, 0x40),
            (PacketType::Pubrec, 0x50),
            (PacketType::Pubrel, 0x62),
            (PacketType::Pubcomp, 0x70),
            (PacketType::Unsuback, 0xb0),
        ];
        for (packet, first) in packets {
            assert_eq!(error(&[first, 2, 0, 0]), Error::ZeroPacketId { packet });
            assert_eq!(error(&[first, 0]), Error::Truncated { packet });
            assert_eq!(error(&[first, 1, 1]), Error::Truncated { packet });
            assert_eq!(error(&[first, 3, 0, 1, 0]), Error::TrailingBytes { packet, count: 1 });
        }
    }

    #[test]
    fn pubrel_of_3_1_may_have_dup() {
        let flags = Error::Flags { packet: PacketType::Pubrel, flags: 0b1010 };
        assert_eq!(error(&[0x6a, 2, 0, 1]), flags);
        assert!(decode(&[0x6a, 2, 0, 1], Some(Version::V31), 4).is_ok());
    }
}
