//! PINGREQ, PINGRESP, DISCONNECT, AUTH (§3.12 to §3.15): packets that were a fixed header alone before 5.0, or not there.

use super::ack::{decode_reason, put_reason};
use super::primitive::put_packet;
use super::{Carrier, EncodeError, Error, Packet, PacketType, Properties, Property, Reason, Version};

/// The last packet. Before 5.0 only clients send it, and it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Disconnect<'a> {
    /// Why; `Success` is a normal disconnection.
    pub reason: Reason,
    /// None before 5.0.
    pub properties: Properties<'a>,
}

/// A step of enhanced authentication (§4.12), in 5.0 alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Auth<'a> {
    /// What is to come.
    pub reason: Reason,
    /// With the authentication method, unless there is neither reason nor property.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, properties: Properties::EMPTY }
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Disconnect;
        if version != Version::V5 && !body.is_empty() {
            return Err(Error::TrailingBytes { packet, count: body.len() });
        }
        let (reason, properties) = decode_reason(packet, body)?;
        Ok(Self { reason, properties })
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut body = Vec::new();
        if version == Version::V5 {
            put_reason(PacketType::Disconnect, self.reason, self.properties, &mut body)?;
        }
        put_packet(out, PacketType::Disconnect, &body)
    }
}

impl<'a> Auth<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Auth;
        // Only both can be left out.
        if body.len() == 1 {
            return Err(Error::Truncated { packet });
        }
        let (reason, properties) = decode_reason(packet, body)?;
        let auth = Self { reason, properties };
        // Nothing at all is success, as §3.15.2.1 has it.
        if !body.is_empty() {
            auth.check_method()?;
        }
        Ok(auth)
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version != Version::V5 {
            return Err(Error::ReservedPacketType(PacketType::Auth as u8).into());
        }
        let mut body = Vec::new();
        self.reason.check(PacketType::Auth)?;
        if *self != Self::default() {
            self.check_method()?;
            body.push(self.reason.into());
            self.properties.put(version, Carrier::Packet(PacketType::Auth), &mut body)?;
        }
        put_packet(out, PacketType::Auth, &body)
    }

    fn check_method(&self) -> Result<(), Error> {
        if self.properties.iter().any(|property| matches!(property, Property::AuthenticationMethod(_))) {
            Ok(())
        } else {
            Err(Error::AuthWithoutMethod)
        }
    }
}

/// Appends PINGREQ.
pub fn encode_pingreq(out: &mut Vec<u8>) {
    encode_empty(PacketType::Pingreq, out);
}

/// Appends PINGRESP, the answer to PINGREQ [MQTT-3.12.4-1].
pub fn encode_pingresp(out: &mut Vec<u8>) {
    encode_empty(PacketType::Pingresp, out);
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
    use super::super::tests::{assert_both_ways, encoded, error, error_in_5};
    use super::super::{Decoded, PropertiesBuf, Version, decode};
    use super::*;

    #[test]
    fn bytes_of_each() {
        for (packet, first) in [
            (Packet::Pingreq, 0xc0),
            (Packet::Pingresp, 0xd0),
            (Packet::Disconnect(Disconnect::default()), 0xe0),
        ] {
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

    #[test]
    fn disconnect_of_5_0() {
        let disconnect = |reason| Packet::Disconnect(Disconnect::new(reason));
        assert_both_ways(Version::V5, &disconnect(Reason::Success), &[0xe0, 0]);
        assert_both_ways(Version::V5, &disconnect(Reason::SessionTakenOver), &[0xe0, 1, 0x8e]);
        assert_eq!(encoded(Version::V311, &disconnect(Reason::SessionTakenOver)), [0xe0, 0]);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SessionExpiryInterval(5)).unwrap();
        let properties = properties.as_properties();
        let with_will = Disconnect { reason: Reason::DisconnectWithWill, properties };
        assert_both_ways(Version::V5, &Packet::Disconnect(with_will), &[0xe0, 7, 4, 5, 0x11, 0, 0, 0, 5]);
        let longer = decode(&[0xe0, 2, 0, 0], Some(Version::V5), 4);
        assert_eq!(longer, Ok(Decoded::Packet { packet: disconnect(Reason::Success), length: 4 }));
        let packet = PacketType::Disconnect;
        assert_eq!(error_in_5(&[0xe0, 2, 0, 1]), Error::Truncated { packet });
        assert_eq!(error_in_5(&[0xe0, 3, 0, 0, 0]), Error::TrailingBytes { packet, count: 1 });
        assert_eq!(error_in_5(&[0xe0, 1, 1]), Error::ReasonCode { packet, code: 1 });
        assert_eq!(error_in_5(&[0xe1, 0]), Error::Flags { packet, flags: 1 });
    }

    #[test]
    fn auth() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::AuthenticationMethod("m")).unwrap();
        properties.push(Property::AuthenticationData(b"d")).unwrap();
        let properties = properties.as_properties();
        let go_on = Packet::Auth(Auth { reason: Reason::ContinueAuthentication, properties });
        assert_both_ways(Version::V5, &go_on, b"\xf0\x0a\x18\x08\x15\0\x01m\x16\0\x01d");
        let done = Packet::Auth(Auth { reason: Reason::Success, properties });
        assert_both_ways(Version::V5, &done, b"\xf0\x0a\x00\x08\x15\0\x01m\x16\0\x01d");
        assert_both_ways(Version::V5, &Packet::Auth(Auth::default()), &[0xf0, 0]);

        let packet = PacketType::Auth;
        assert_eq!(error_in_5(&[0xf0, 1, 0x18]), Error::Truncated { packet });
        assert_eq!(error_in_5(&[0xf0, 2, 0x18, 0]), Error::AuthWithoutMethod);
        assert_eq!(error_in_5(&[0xf0, 2, 0x80, 0]), Error::ReasonCode { packet, code: 0x80 });
        assert_eq!(error_in_5(&[0xf2, 0]), Error::Flags { packet, flags: 2 });
        let mut out = Vec::new();
        let without_method = Auth { reason: Reason::ReAuthenticate, properties: Properties::EMPTY };
        let error = Packet::Auth(without_method).encode(Version::V5, &mut out);
        assert_eq!(error, Err(EncodeError::Forbidden(Error::AuthWithoutMethod)));
        let error = go_on.encode(Version::V311, &mut out);
        assert_eq!(error, Err(EncodeError::Forbidden(Error::ReservedPacketType(15))));
        assert!(out.is_empty());
        for version in [None, Some(Version::V31), Some(Version::V311)] {
            assert_eq!(decode(&[0xf0, 0], version, 100), Err(Error::ReservedPacketType(15)));
        }
    }
}
