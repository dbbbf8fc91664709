//! PUBACK, PUBREC, PUBREL, PUBCOMP (§3.4 to §3.7).

use super::primitive::put_packet_of;
use super::{Carrier, EncodeError, Error, PacketId, PacketType, Properties, Reason, Version};

/// An acknowledgement; which one, its place in [`Packet`](super::Packet) says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The identifier of the packet that it answers [MQTT-2.3.1-6].
    pub packet_id: PacketId,
    /// What became of it. 3.1 and 3.1.1 know success alone.
    pub reason: Reason,
    /// None before 5.0.
    pub properties: Properties<'a>,
}

/// Which acknowledgement to encode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum AckType {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

impl From<AckType> for PacketType {
    fn from(ack: AckType) -> Self {
        match ack {
            AckType::Puback => PacketType::Puback,
            AckType::Pubrec => PacketType::Pubrec,
            AckType::Pubrel => PacketType::Pubrel,
            AckType::Pubcomp => PacketType::Pubcomp,
        }
    }
}

/// Appends an acknowledgement of success, which has the same bytes in all versions.
pub fn encode_ack(out: &mut Vec<u8>, ack: AckType, packet_id: PacketId) {
    let [high, low] = packet_id.get().to_be_bytes();
    out.extend_from_slice(&[PacketType::from(ack).first_byte(), 2, high, low]);
}

/// Appends an acknowledgement of 5.0 with a reason code and nothing else.
pub fn encode_ack_reason(out: &mut Vec<u8>, ack: AckType, packet_id: PacketId, reason: Reason) {
    let [high, low] = packet_id.get().to_be_bytes();
    out.extend_from_slice(&[PacketType::from(ack).first_byte(), 3, high, low, reason as u8]);
}

impl<'a> Ack<'a> {
    /// An acknowledgement of success.
    pub const fn new(packet_id: PacketId) -> Self {
        Self { packet_id, reason: Reason::Success, properties: Properties::EMPTY }
    }

    #[inline]
    pub(super) fn decode(packet: PacketType, version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let (id, rest) = body.split_first_chunk().ok_or(Error::Truncated { packet })?;
        // [MQTT-2.3.1-1]
        let packet_id = PacketId::new(u16::from_be_bytes(*id)).ok_or(Error::ZeroPacketId { packet })?;
        let mut ack = Self::new(packet_id);
        if !rest.is_empty() {
            if version != Version::V5 {
                return Err(Error::TrailingBytes { packet, count: rest.len() });
            }
            (ack.reason, ack.properties) = decode_reason(packet, rest)?;
        }
        Ok(ack)
    }

    pub(super) fn encode(
        &self,
        ack: AckType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let packet = PacketType::from(ack);
        let mut reason = Vec::new();
        if version == Version::V5 {
            put_reason(packet, self.reason, self.properties, &mut reason)?;
        }
        put_packet_of(out, packet, &[&self.packet_id.get().to_be_bytes(), &reason])
    }
}

/// The last fields of a `packet`: reason code and properties, of which the end may be left out.
pub(super) fn decode_reason(packet: PacketType, body: &[u8]) -> Result<(Reason, Properties<'_>), Error> {
    let Some((&code, rest)) = body.split_first() else {
        return Ok((Reason::Success, Properties::EMPTY));
    };
    let reason = Reason::decode(packet, code)?;
    if rest.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    match Properties::split(Carrier::Packet(packet), rest)? {
        (properties, []) => Ok((reason, properties)),
        (_, rest) => Err(Error::TrailingBytes { packet, count: rest.len() }),
    }
}

/// Appends reason code and properties, as far as they say anything.
pub(super) fn put_reason(
    packet: PacketType,
    reason: Reason,
    properties: Properties<'_>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    reason.check(packet)?;
    if reason != Reason::Success || !properties.is_empty() {
        out.push(reason.into());
    }
    if !properties.is_empty() {
        properties.put(Version::V5, Carrier::Packet(packet), out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, error, error_in_5, id};
    use super::super::{Decoded, Packet, PropertiesBuf, Property, decode};
    use super::*;

    #[test]
    fn bytes_of_each() {
        let ack = Ack::new(id(0x1234));
        let packets = [
            (Packet::Puback(ack), 0x40),
            (Packet::Pubrec(ack), 0x50),
            (Packet::Pubrel(ack), 0x62),
            (Packet::Pubcomp(ack), 0x70),
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

    #[test]
    fn reason_and_properties_of_5_0() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ReasonString("r")).unwrap();
        let properties = properties.as_properties();
        let ack = Ack::new(id(0x1234));
        let failed = Ack { reason: Reason::QuotaExceeded, ..ack };
        for (packet, first) in [(Packet::Puback as fn(Ack<'static>) -> _, 0x40), (Packet::Pubrec, 0x50)] {
            assert_both_ways(Version::V5, &packet(ack), &[first, 2, 0x12, 0x34]);
            assert_both_ways(Version::V5, &packet(failed), &[first, 3, 0x12, 0x34, 0x97]);
        }
        let explained = Packet::Pubrec(Ack { properties, ..failed });
        assert_both_ways(Version::V5, &explained, b"\x50\x08\x12\x34\x97\x04\x1f\0\x01r");
        let explained = Packet::Puback(Ack { properties, ..ack });
        assert_both_ways(Version::V5, &explained, b"\x40\x08\x12\x34\x00\x04\x1f\0\x01r");
        let unknown = Ack { reason: Reason::PacketIdentifierNotFound, ..ack };
        assert_both_ways(Version::V5, &Packet::Pubrel(unknown), &[0x62, 3, 0x12, 0x34, 0x92]);
        assert_both_ways(Version::V5, &Packet::Pubcomp(unknown), &[0x70, 3, 0x12, 0x34, 0x92]);
    }

    #[test]
    fn what_says_nothing_can_be_left_out_or_not() {
        let ack = Packet::Puback(Ack::new(id(1)));
        for bytes in [&[0x40, 2, 0, 1][..], &[0x40, 3, 0, 1, 0], &[0x40, 4, 0, 1, 0, 0]] {
            let decoded = decode(bytes, Some(Version::V5), 100);
            assert_eq!(decoded, Ok(Decoded::Packet { packet: ack.clone(), length: bytes.len() }));
        }
        let packet = PacketType::Puback;
        assert_eq!(error_in_5(&[0x40, 5, 0, 1, 0, 0, 0]), Error::TrailingBytes { packet, count: 1 });
        assert_eq!(error_in_5(&[0x40, 4, 0, 1, 0, 1]), Error::Truncated { packet });
        assert_eq!(error_in_5(&[0x40, 3, 0, 1, 0x92]), Error::ReasonCode { packet, code: 0x92 });
        assert_eq!(error_in_5(&[0x40, 2, 0, 0]), Error::ZeroPacketId { packet });
        assert_eq!(error_in_5(&[0x40, 1, 0]), Error::Truncated { packet });
    }

    #[test]
    fn success_has_the_same_bytes_in_all_versions() {
        for (ack, packet) in [
            (AckType::Puback, Packet::Puback(Ack::new(id(7)))),
            (AckType::Pubrec, Packet::Pubrec(Ack::new(id(7)))),
            (AckType::Pubrel, Packet::Pubrel(Ack::new(id(7)))),
            (AckType::Pubcomp, Packet::Pubcomp(Ack::new(id(7)))),
        ] {
            let mut out = Vec::new();
            encode_ack(&mut out, ack, id(7));
            for version in [Version::V31, Version::V311, Version::V5] {
                assert_both_ways(version, &packet, &out);
            }
        }
    }

    #[test]
    fn reason_that_it_does_not_have() {
        let ack = Ack { reason: Reason::ServerBusy, ..Ack::new(id(1)) };
        let error = EncodeError::Forbidden(Error::ReasonCode { packet: PacketType::Puback, code: 0x89 });
        assert_eq!(Packet::Puback(ack).encode(Version::V5, &mut Vec::new()), Err(error));
        // Before 5.0 it is not said.
        let mut out = Vec::new();
        Packet::Puback(ack).encode(Version::V311, &mut out).unwrap();
        assert_eq!(out, [0x40, 2, 0, 1]);
    }
}
