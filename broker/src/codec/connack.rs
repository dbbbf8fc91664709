//! CONNACK (§3.2).

use nom::combinator::map_res;
use nom::number::complete::u8;

use super::primitive::whole;
use super::{Error, PacketType, Version};

/// The server's first packet [MQTT-3.2.0-1].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connack {
    /// Whether the server goes on with stored state [MQTT-3.2.2-2]. 3.1 does not have it.
    pub session_present: bool,
    /// What becomes of the connection.
    pub code: ConnectCode,
}

/// A connect return code (§3.2.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the names of the standard")]
pub enum ConnectCode {
    Accepted = 0,
    UnacceptableProtocolVersion = 1,
    IdentifierRejected = 2,
    ServerUnavailable = 3,
    BadUserNameOrPassword = 4,
    NotAuthorized = 5,
}

impl Connack {
    pub(super) fn decode(body: &[u8]) -> Result<Self, Error> {
        let fields = (map_res(u8, session_present), map_res(u8, ConnectCode::parse));
        let (session_present, code) = whole(PacketType::Connack, body, fields)?;
        // [MQTT-3.2.2-4]
        if session_present && code != ConnectCode::Accepted {
            return Err(Error::SessionPresentInRefusal);
        }
        Ok(Self { session_present, code })
    }

    /// Appends the packet. Session present is 0 in a refusal [MQTT-3.2.2-4], and in MQTT 3.1.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let session_present =
            self.session_present && self.code == ConnectCode::Accepted && version != Version::V31;
        let first = PacketType::Connack.first_byte();
        out.extend_from_slice(&[first, 2, session_present.into(), self.code as u8]);
    }
}

fn session_present(flags: u8) -> Result<bool, Error> {
    match flags {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Error::ConnackFlags(flags)),
    }
}

impl ConnectCode {
    fn parse(byte: u8) -> Result<Self, Error> {
        Ok(match byte {
            0 => ConnectCode::Accepted,
            1 => ConnectCode::UnacceptableProtocolVersion,
            2 => ConnectCode::IdentifierRejected,
            3 => ConnectCode::ServerUnavailable,
            4 => ConnectCode::BadUserNameOrPassword,
            5 => ConnectCode::NotAuthorized,
            _ => return Err(Error::ConnackCode(byte)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Packet;
    use super::super::tests::{assert_both_ways, encoded, error};
    use super::*;

    #[test]
    fn bytes_of_each_code() {
        for byte in 0..=5 {
            let code = ConnectCode::parse(byte).unwrap();
            let connack = Packet::Connack(Connack { session_present: false, code });
            assert_both_ways(Version::V31, &connack, &[0x20, 2, 0, byte]);
            assert_both_ways(Version::V311, &connack, &[0x20, 2, 0, byte]);
        }
        let resumed = Packet::Connack(Connack { session_present: true, code: ConnectCode::Accepted });
        assert_both_ways(Version::V311, &resumed, &[0x20, 2, 1, 0]);
    }

    #[test]
    fn session_present_is_for_accepted_connections_of_3_1_1() {
        let resumed = Packet::Connack(Connack { session_present: true, code: ConnectCode::Accepted });
        assert_eq!(encoded(Version::V31, &resumed), [0x20, 2, 0, 0]);
        let refused =
            Packet::Connack(Connack { session_present: true, code: ConnectCode::ServerUnavailable });
        assert_eq!(encoded(Version::V311, &refused), [0x20, 2, 0, 3]);
        assert_eq!(error(&[0x20, 2, 1, 3]), Error::SessionPresentInRefusal);
    }

    #[test]
    fn reserved_values() {
        for byte in 2..=255 {
            assert_eq!(error(&[0x20, 2, byte, 0]), Error::ConnackFlags(byte));
        }
        for byte in 6..=255 {
            assert_eq!(error(&[0x20, 2, 0, byte]), Error::ConnackCode(byte));
        }
    }

    #[test]
    fn body_is_two_bytes() {
        let packet = PacketType::Connack;
        assert_eq!(error(&[0x20, 1, 0]), Error::Truncated { packet });
        assert_eq!(error(&[0x20, 3, 0, 0, 0]), Error::TrailingBytes { packet, count: 1 });
    }
}
