//! The fixed header (§2.2): packet type, flags, remaining length.

use std::fmt;

use super::primitive::MAX_REMAINING_LENGTH;
use super::publish::check_flags;
use super::{Error, Version};

/// The type of a control packet (§2.2.1). Its `Display` is its name in the standard, such as `SUBSCRIBE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    /// In 5.0 alone.
    Auth = 15,
}

/// Sets of packets, a bit each, for the tables of properties and reason codes.
pub(super) mod sets {
    use super::PacketType;

    /// The will has properties of its own.
    pub(crate) const WILL: u16 = 1;
    pub(crate) const CONNECT: u16 = PacketType::Connect.bit();
    pub(crate) const CONNACK: u16 = PacketType::Connack.bit();
    pub(crate) const PUBLISH: u16 = PacketType::Publish.bit();
    pub(crate) const PUBACK: u16 = PacketType::Puback.bit();
    pub(crate) const PUBREC: u16 = PacketType::Pubrec.bit();
    pub(crate) const PUBREL: u16 = PacketType::Pubrel.bit();
    pub(crate) const PUBCOMP: u16 = PacketType::Pubcomp.bit();
    pub(crate) const SUBSCRIBE: u16 = PacketType::Subscribe.bit();
    pub(crate) const SUBACK: u16 = PacketType::Suback.bit();
    pub(crate) const UNSUBACK: u16 = PacketType::Unsuback.bit();
    pub(crate) const DISCONNECT: u16 = PacketType::Disconnect.bit();
    pub(crate) const AUTH: u16 = PacketType::Auth.bit();
    pub(crate) const ALL: u16 = u16::MAX;
}

/// The first byte of a packet, its flags checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstByte {
    pub(super) packet_type: PacketType,
    /// The low four bits.
    pub(super) flags: u8,
}

impl FirstByte {
    pub(super) fn parse(byte: u8, version: Version) -> Result<Self, Error> {
        let packet_type = PacketType::parse(byte >> 4, version)?;
        let flags = byte & 0x0f;
        if packet_type == PacketType::Publish {
            check_flags(flags)?;
        // [MQTT-2.2.2-2]
        } else if flags & !packet_type.ignored_flags(version) != packet_type.flags() {
            return Err(Error::Flags { packet: packet_type, flags });
        }
        Ok(Self { packet_type, flags })
    }
}

impl PacketType {
    /// Its place in a set of packets.
    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }

    pub(super) fn parse(number: u8, version: Version) -> Result<Self, Error> {
        Ok(match number {
            1 => PacketType::Connect,
            2 => PacketType::Connack,
            3 => PacketType::Publish,
            4 => PacketType::Puback,
            5 => PacketType::Pubrec,
            6 => PacketType::Pubrel,
            7 => PacketType::Pubcomp,
            8 => PacketType::Subscribe,
            9 => PacketType::Suback,
            10 => PacketType::Unsubscribe,
            11 => PacketType::Unsuback,
            12 => PacketType::Pingreq,
            13 => PacketType::Pingresp,
            14 => PacketType::Disconnect,
            15 if version == Version::V5 => PacketType::Auth,
            _ => return Err(Error::ReservedPacketType(number)),
        })
    }

    /// The flags of §2.2.2's table; those of PUBLISH vary and are 0 here.
    pub(super) fn flags(self) -> u8 {
        match self {
            PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// MQTT 3.1 has a DUP flag in these packets too.
    fn ignored_flags(self, version: Version) -> u8 {
        match (version, self) {
            (Version::V31, PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe) => 0b1000,
            _ => 0,
        }
    }

    /// The statement that fixes the flags.
    pub(super) fn flags_statement(self) -> &'static str {
        match self {
            PacketType::Pubrel => "MQTT-3.6.1-1",
            PacketType::Subscribe => "MQTT-3.8.1-1",
            PacketType::Unsubscribe => "MQTT-3.10.1-1",
            PacketType::Disconnect => "MQTT-3.14.1-1",
            PacketType::Auth => "MQTT-3.15.1-1",
            _ => "MQTT-2.2.2-2; 5.0: MQTT-2.1.3-1",
        }
    }

    /// The first byte of a packet of this type; for PUBLISH, with all flags 0.
    pub(super) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }
}

/// Takes the remaining length (§2.2.3) off `bytes`; `None` if it does not end there.
///
/// An encoding longer than it must be is accepted: 3.1.1 does not forbid it.
pub(super) fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Error> {
    let mut length = 0;
    let mut rest = bytes;
    for shift in [0, 7, 14, 21] {
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(None);
        };
        rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((length, rest)));
        }
    }
    Err(Error::RemainingLength)
}

/// Appends a remaining length, at most [`MAX_REMAINING_LENGTH`].
pub(super) fn put_remaining_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length.min(MAX_REMAINING_LENGTH);
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes [`put_remaining_length`] appends.
pub(super) fn remaining_length_len(length: usize) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PacketType::Connect => "CONNECT",
            PacketType::Connack => "CONNACK",
            PacketType::Publish => "PUBLISH",
            PacketType::Puback => "PUBACK",
            PacketType::Pubrec => "PUBREC",
            PacketType::Pubrel => "PUBREL",
            PacketType::Pubcomp => "PUBCOMP",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::Suback => "SUBACK",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::Unsuback => "UNSUBACK",
            PacketType::Pingreq => "PINGREQ",
            PacketType::Pingresp => "PINGRESP",
            PacketType::Disconnect => "DISCONNECT",
            PacketType::Auth => "AUTH",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, error_in_5};
    use super::super::{MAX_PACKET_BYTES, decode};
    use super::*;

    #[test]
    fn flags_of_every_packet_but_publish_are_fixed() {
        for byte in 0x10..0xf0 {
            let packet_type = PacketType::parse(byte >> 4, Version::V5).unwrap();
            let flags = byte & 0x0f;
            let expected = match byte >> 4 {
                3 => continue,
                6 | 8 | 10 => 0b0010,
                _ => 0,
            };
            let is_accepted = FirstByte::parse(byte, Version::V311).is_ok();
            assert_eq!(is_accepted, flags == expected, "{packet_type} {flags:04b}");
            let has_dup = expected != 0 && flags == 0b1010;
            let is_accepted = FirstByte::parse(byte, Version::V31).is_ok();
            assert_eq!(is_accepted, flags == expected || has_dup, "{packet_type} {flags:04b} in 3.1");
        }
    }

    #[test]
    fn first_byte_is_refused_before_the_rest_is_there() {
        assert_eq!(error(&[0x00]), Error::ReservedPacketType(0));
        assert_eq!(error(&[0xff]), Error::ReservedPacketType(15));
        assert_eq!(error(&[0xe1]), Error::Flags { packet: PacketType::Disconnect, flags: 1 });
        assert_eq!(error(&[0x36]), Error::PublishQos3);
        assert_eq!(error(&[0x38]), Error::DupAtQos0);
    }

    #[test]
    fn remaining_lengths_at_their_borders() {
        let borders: [(usize, &[u8]); 9] = [
            (0, &[0x00]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xff, 0xff, 0x7f]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
            // Longer than need be.
            (0, &[0x80, 0x80, 0x80, 0x00]),
        ];
        for (index, (length, bytes)) in borders.into_iter().enumerate() {
            assert_eq!(remaining_length(bytes), Ok(Some((length, &[][..]))));
            if index < 8 {
                let mut out = Vec::new();
                put_remaining_length(&mut out, length);
                assert_eq!(out, bytes);
                assert_eq!(remaining_length_len(length), bytes.len());
            }
            for cut in 0..bytes.len() {
                assert_eq!(remaining_length(&bytes[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn remaining_length_ends_with_its_fourth_byte() {
        assert_eq!(error(&[0x30, 0x80, 0x80, 0x80, 0x80]), Error::RemainingLength);
        assert_eq!(error(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]), Error::RemainingLength);
        assert!(decode(&[0x30, 0xff, 0xff, 0xff], None, MAX_PACKET_BYTES).is_ok());
    }

    #[test]
    fn flags_of_5_0_are_those_of_3_1_1() {
        for byte in 0x10..0xf0 {
            assert_eq!(
                FirstByte::parse(byte, Version::V5).is_ok(),
                FirstByte::parse(byte, Version::V311).is_ok()
            );
        }
        assert_eq!(error_in_5(&[0x00]), Error::ReservedPacketType(0));
    }

    #[test]
    fn remaining_length_of_5_0_is_as_short_as_can_be() {
        for bytes in [&[0xc0, 0x80, 0x00][..], &[0xd0, 0x80, 0x80, 0x00], &[0x40, 0x82, 0x00, 0, 1]] {
            assert!(decode(bytes, Some(Version::V311), 100).is_ok());
            assert_eq!(error_in_5(bytes), Error::NotMinimal { field: "remaining length" });
        }
    }
}
