//! SUBACK, UNSUBACK (§3.9, §3.11).

use std::borrow::Cow;

use nom::combinator::{eof, map_res};
use nom::multi::many_till;
use nom::number::complete::u8;

use super::primitive::{packet_id, put_packet, put_packet_of, whole};
use super::{Carrier, EncodeError, Error, PacketId, PacketType, Properties, QoS, Reason, Version};

/// The answer to SUBSCRIBE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suback<'a> {
    /// That of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// None before 5.0.
    pub properties: Properties<'a>,
    /// One for each filter [MQTT-3.8.4-5], in their order [MQTT-3.9.3-1].
    pub codes: Cow<'a, [SubscribeCode]>,
}

/// What became of one filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscribeCode {
    /// Subscribed, with messages at most at this QoS.
    Granted(QoS),
    /// Not subscribed. 3.1.1 does not say why, and MQTT 3.1 has no such code; its clients read it as QoS 0.
    Refused(Reason),
}

impl<'a> Suback<'a> {
    /// A SUBACK without properties.
    pub const fn new(packet_id: PacketId, codes: &'a [SubscribeCode]) -> Self {
        Self { packet_id, properties: Properties::EMPTY, codes: Cow::Borrowed(codes) }
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Suback;
        let properties = Properties::parser(version, Carrier::Packet(packet));
        let codes = many_till(map_res(u8, |byte| SubscribeCode::parse(version, byte)), eof);
        let (packet_id, properties, (codes, _)) =
            whole(packet, body, (packet_id(packet), properties, codes))?;
        let suback = Self { packet_id, properties, codes: Cow::Owned(codes) };
        suback.check()?;
        Ok(suback)
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        self.properties.put(version, Carrier::Packet(PacketType::Suback), &mut body)?;
        for code in self.codes.iter() {
            body.push(code.byte(version)?);
        }
        put_packet(out, PacketType::Suback, &body)
    }

    // [MQTT-3.8.4-5]
    fn check(&self) -> Result<(), Error> {
        if self.codes.is_empty() {
            return Err(Error::NoSubackCodes);
        }
        Ok(())
    }
}

impl SubscribeCode {
    // [MQTT-3.9.3-2]
    fn parse(version: Version, byte: u8) -> Result<Self, Error> {
        match QoS::try_from(byte) {
            Ok(qos) => Ok(SubscribeCode::Granted(qos)),
            Err(_) if version == Version::V5 => {
                Reason::decode(PacketType::Suback, byte).map(SubscribeCode::Refused)
            }
            Err(_) if byte == FAILURE => Ok(SubscribeCode::Refused(Reason::Unspecified)),
            Err(_) => Err(Error::SubackCode(byte)),
        }
    }

    fn byte(self, version: Version) -> Result<u8, Error> {
        match self {
            SubscribeCode::Granted(qos) => Ok(qos.into()),
            SubscribeCode::Refused(_) if version != Version::V5 => Ok(FAILURE),
            SubscribeCode::Refused(reason) if reason.is_error() => {
                reason.check(PacketType::Suback)?;
                Ok(reason.into())
            }
            SubscribeCode::Refused(reason) => {
                Err(Error::ReasonCode { packet: PacketType::Suback, code: reason.into() })
            }
        }
    }
}

/// The one code of 3.1.1 for what is not subscribed.
const FAILURE: u8 = 0x80;

/// The answer to UNSUBSCRIBE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsuback<'a> {
    /// That of the UNSUBSCRIBE [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// None before 5.0.
    pub properties: Properties<'a>,
    /// One for each filter, in their order [MQTT-3.11.3-1]. None before 5.0.
    pub codes: Cow<'a, [Reason]>,
}

impl<'a> Unsuback<'a> {
    /// An UNSUBACK without properties.
    pub const fn new(packet_id: PacketId, codes: &'a [Reason]) -> Self {
        Self { packet_id, properties: Properties::EMPTY, codes: Cow::Borrowed(codes) }
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Unsuback;
        if version != Version::V5 {
            return Ok(Self::new(whole(packet, body, packet_id(packet))?, &[]));
        }
        let properties = Properties::parser(version, Carrier::Packet(packet));
        let codes = many_till(map_res(u8, |byte| Reason::decode(packet, byte)), eof);
        let (packet_id, properties, (codes, _)) =
            whole(packet, body, (packet_id(packet), properties, codes))?;
        if codes.is_empty() {
            return Err(Error::NoUnsubackCodes);
        }
        Ok(Self { packet_id, properties, codes: Cow::Owned(codes) })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let packet = PacketType::Unsuback;
        let mut body = Vec::new();
        if version == Version::V5 {
            if self.codes.is_empty() {
                return Err(Error::NoUnsubackCodes.into());
            }
            self.properties.put(version, Carrier::Packet(packet), &mut body)?;
            for reason in self.codes.iter() {
                reason.check(packet)?;
                body.push((*reason).into());
            }
        }
        put_packet_of(out, packet, &[&self.packet_id.get().to_be_bytes(), &body])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, encoded, error, error_in_5, id};
    use super::super::{Packet, PropertiesBuf, Property};
    use super::*;

    #[test]
    fn bytes_of_each() {
        let codes = [
            SubscribeCode::Granted(QoS::AtMostOnce),
            SubscribeCode::Granted(QoS::AtLeastOnce),
            SubscribeCode::Granted(QoS::ExactlyOnce),
            SubscribeCode::Refused(Reason::Unspecified),
        ];
        let suback = Packet::Suback(Suback::new(id(10), &codes));
        assert_both_ways(Version::V311, &suback, b"\x90\x06\0\x0a\0\x01\x02\x80");
        let unsuback = Packet::Unsuback(Unsuback::new(id(0x1234), &[]));
        assert_both_ways(Version::V31, &unsuback, b"\xb0\x02\x12\x34");
        assert_both_ways(Version::V311, &unsuback, b"\xb0\x02\x12\x34");
    }

    #[test]
    fn suback_codes_are_four() {
        for byte in (3..=255).filter(|&byte| byte != 0x80) {
            assert_eq!(error(&[0x90, 4, 0, 1, 0, byte]), Error::SubackCode(byte));
        }
    }

    #[test]
    fn unsuback_of_3_1_1_is_one_identifier() {
        let packet = PacketType::Unsuback;
        assert_eq!(error(&[0xb0, 2, 0, 0]), Error::ZeroPacketId { packet });
        assert_eq!(error(&[0xb0, 1, 1]), Error::Truncated { packet });
        assert_eq!(error(&[0xb0, 3, 0, 1, 0]), Error::TrailingBytes { packet, count: 1 });
    }

    #[test]
    fn bytes_of_5_0() {
        let codes = [
            SubscribeCode::Granted(QoS::ExactlyOnce),
            SubscribeCode::Refused(Reason::QuotaExceeded),
            SubscribeCode::Refused(Reason::WildcardSubscriptionsNotSupported),
        ];
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ReasonString("r")).unwrap();
        let properties = properties.as_properties();
        let suback = Packet::Suback(Suback { properties, ..Suback::new(id(10), &codes) });
        assert_both_ways(Version::V5, &suback, b"\x90\x0a\0\x0a\x04\x1f\0\x01r\x02\x97\xa2");
        assert_eq!(encoded(Version::V311, &suback), b"\x90\x05\0\x0a\x02\x80\x80");
        let unsuback = Unsuback::new(id(10), &[Reason::Success, Reason::NoSubscriptionExisted]);
        assert_both_ways(Version::V5, &Packet::Unsuback(unsuback.clone()), b"\xb0\x05\0\x0a\0\x00\x11");
        assert_eq!(encoded(Version::V311, &Packet::Unsuback(unsuback)), b"\xb0\x02\0\x0a");
    }

    #[test]
    fn codes_of_5_0() {
        let suback = PacketType::Suback;
        let unsuback = PacketType::Unsuback;
        assert_eq!(error_in_5(&[0x90, 4, 0, 1, 0, 0x11]), Error::ReasonCode { packet: suback, code: 0x11 });
        assert_eq!(error_in_5(&[0xb0, 4, 0, 1, 0, 0x97]), Error::ReasonCode { packet: unsuback, code: 0x97 });
        assert_eq!(error_in_5(&[0x90, 3, 0, 1, 0]), Error::NoSubackCodes);
        assert_eq!(error_in_5(&[0xb0, 3, 0, 1, 0]), Error::NoUnsubackCodes);
        assert_eq!(error_in_5(&[0xb0, 2, 0, 1]), Error::Truncated { packet: unsuback });
        let encode = |packet: Packet<'_>| packet.encode(Version::V5, &mut Vec::new()).unwrap_err();
        let forbidden = |packet, code| EncodeError::Forbidden(Error::ReasonCode { packet, code });
        for reason in [Reason::GrantedQos1, Reason::ServerBusy] {
            let codes = [SubscribeCode::Refused(reason)];
            assert_eq!(encode(Packet::Suback(Suback::new(id(1), &codes))), forbidden(suback, reason.into()));
            let codes = [reason];
            assert_eq!(
                encode(Packet::Unsuback(Unsuback::new(id(1), &codes))),
                forbidden(unsuback, reason.into())
            );
        }
        let nothing = Packet::Unsuback(Unsuback::new(id(1), &[]));
        assert_eq!(encode(nothing), EncodeError::Forbidden(Error::NoUnsubackCodes));
    }
}
