//! CONNACK (§3.2).

use nom::combinator::map_res;
use nom::number::complete::u8;

use super::primitive::{put_packet_of, whole};
use super::{Carrier, EncodeError, Error, PacketType, Properties, Reason, Version};

const PACKET: PacketType = PacketType::Connack;

/// The server's first packet [MQTT-3.2.0-1].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connack<'a> {
    /// Whether the server goes on with stored state [MQTT-3.2.2-2]. 3.1 does not have it.
    pub session_present: bool,
    /// What becomes of the connection. 3.1 and 3.1.1 have a return code for it, see [`Reason::return_code`].
    pub reason: Reason,
    /// None before 5.0.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    /// A CONNACK without properties.
    pub const fn new(session_present: bool, reason: Reason) -> Self {
        Self { session_present, reason, properties: Properties::EMPTY }
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let session_present = map_res(u8, |flags| match version {
            // Reserved, and not used.
            Version::V31 => Ok(false),
            Version::V311 | Version::V5 => session_present(flags),
        });
        let reason = map_res(u8, |code| match version {
            Version::V5 => Reason::decode(PACKET, code),
            Version::V31 | Version::V311 => Reason::of_return_code(code),
        });
        let properties = Properties::parser(version, Carrier::Packet(PACKET));
        let (session_present, reason, properties) =
            whole(PACKET, body, (session_present, reason, properties))?;
        // [MQTT-3.2.2-4]
        if session_present && reason != Reason::Success {
            return Err(Error::SessionPresentInRefusal);
        }
        Ok(Self { session_present, reason, properties })
    }

    /// Appends the packet. Session present is 0 in a refusal [MQTT-3.2.2-4], and in MQTT 3.1.
    ///
    /// # Errors
    ///
    /// CONNACK may not carry the reason or a property.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let session_present =
            self.session_present && self.reason == Reason::Success && version != Version::V31;
        let code = match version {
            Version::V5 => {
                self.reason.check(PACKET)?;
                self.reason.into()
            }
            Version::V31 | Version::V311 => self.reason.return_code(),
        };
        let mut properties = Vec::new();
        self.properties.put(version, Carrier::Packet(PACKET), &mut properties)?;
        put_packet_of(out, PACKET, &[&[session_present.into(), code], &properties])
    }
}

fn session_present(flags: u8) -> Result<bool, Error> {
    match flags {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::ConnackFlags(flags)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, encoded, error, error_in_5};
    use super::super::{Decoded, MAX_PACKET_BYTES, Packet, PropertiesBuf, Property, decode};
    use super::*;

    #[test]
    fn bytes_of_each_code() {
        for byte in 0..=5 {
            let reason = Reason::of_return_code(byte).unwrap();
            let connack = Packet::Connack(Connack::new(false, reason));
            assert_both_ways(Version::V31, &connack, &[0x20, 2, 0, byte]);
            assert_both_ways(Version::V311, &connack, &[0x20, 2, 0, byte]);
        }
        let resumed = Packet::Connack(Connack::new(true, Reason::Success));
        assert_both_ways(Version::V311, &resumed, &[0x20, 2, 1, 0]);
    }

    #[test]
    fn session_present_is_for_accepted_connections_of_3_1_1() {
        let resumed = Packet::Connack(Connack::new(true, Reason::Success));
        assert_eq!(encoded(Version::V31, &resumed), [0x20, 2, 0, 0]);
        let accepted = Packet::Connack(Connack::new(false, Reason::Success));
        let decoded = decode(&[0x20, 2, 1, 0], Some(Version::V31), MAX_PACKET_BYTES);
        assert_eq!(decoded, Ok(Decoded::Packet { packet: accepted, length: 4 }));
        let refused = Packet::Connack(Connack::new(true, Reason::ServerUnavailable));
        assert_eq!(encoded(Version::V311, &refused), [0x20, 2, 0, 3]);
        assert_eq!(error(&[0x20, 2, 1, 3]), Error::SessionPresentInRefusal);
    }

    #[test]
    fn reserved_values() {
        for byte in 2..=255 {
            assert_eq!(error(&[0x20, 2, byte, 0]), Error::ConnackFlags(byte));
        }
        for byte in 6..=255 {
            assert_eq!(error(&[0x20, 2, 0, byte]), Error::ReturnCode(byte));
        }
    }

    #[test]
    fn body_is_two_bytes() {
        let packet = PacketType::Connack;
        assert_eq!(error(&[0x20, 1, 0]), Error::Truncated { packet });
        assert_eq!(error(&[0x20, 3, 0, 0, 0]), Error::TrailingBytes { packet, count: 1 });
    }

    #[test]
    fn bytes_of_5_0() {
        let accepted = Connack::new(true, Reason::Success);
        assert_both_ways(Version::V5, &Packet::Connack(accepted), &[0x20, 3, 1, 0, 0]);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AssignedClientIdentifier("id")).unwrap();
        properties.push(Property::ServerKeepAlive(60)).unwrap();
        let properties = properties.as_properties();
        let assigned = Packet::Connack(Connack { session_present: false, properties, ..accepted });
        assert_both_ways(Version::V5, &assigned, b"\x20\x0b\0\0\x08\x12\0\x02id\x13\0\x3c");
        assert_eq!(encoded(Version::V311, &assigned), [0x20, 2, 0, 0]);
        let banned = Packet::Connack(Connack::new(true, Reason::Banned));
        assert_eq!(encoded(Version::V5, &banned), [0x20, 3, 0, 0x8a, 0]);
        assert_eq!(encoded(Version::V311, &banned), [0x20, 2, 0, 5]);
    }

    #[test]
    fn rules_of_5_0() {
        let packet = PacketType::Connack;
        assert_eq!(error_in_5(&[0x20, 2, 0, 0]), Error::Truncated { packet });
        assert_eq!(error_in_5(&[0x20, 4, 0, 0, 0, 0]), Error::TrailingBytes { packet, count: 1 });
        assert_eq!(error_in_5(&[0x20, 3, 1, 0x87, 0]), Error::SessionPresentInRefusal);
        assert_eq!(error_in_5(&[0x20, 3, 2, 0, 0]), Error::ConnackFlags(2));
        assert_eq!(error_in_5(&[0x20, 3, 0, 5, 0]), Error::ReasonCode { packet, code: 5 });
        let error = Packet::Connack(Connack::new(false, Reason::KeepAliveTimeout))
            .encode(Version::V5, &mut Vec::new());
        assert_eq!(error, Err(EncodeError::Forbidden(Error::ReasonCode { packet, code: 0x8d })));
    }
}
