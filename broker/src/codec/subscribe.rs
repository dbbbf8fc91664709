//! SUBSCRIBE, SUBACK, UNSUBSCRIBE (§3.8 to §3.10).

use std::borrow::Cow;

use nom::Parser;
use nom::combinator::{eof, map_res};
use nom::multi::many_till;
use nom::number::complete::u8;

use super::primitive::{Fault, packet_id, put_packet, put_string, string, whole};
use super::{EncodeError, Error, PacketId, PacketType, QoS};
use crate::topic::Filter;

const FILTER: &str = "topic filter";

/// A request for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// What SUBACK repeats [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    filters: Vec<(Filter<'a>, QoS)>,
}

impl<'a> Subscribe<'a> {
    /// A request to encode; it must have a filter [MQTT-3.8.3-3].
    pub fn new(packet_id: PacketId, filters: Vec<(Filter<'a>, QoS)>) -> Self {
        Self { packet_id, filters }
    }

    /// The filters in their order, each with the highest QoS it is wanted at; at least one.
    pub fn filters(&self) -> impl ExactSizeIterator<Item = (Filter<'a>, QoS)> {
        self.filters.iter().copied()
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Subscribe;
        let filters = many_till((filter(packet), requested_qos()), eof);
        let (packet_id, (filters, _)) = whole(packet, body, (packet_id(packet), filters))?;
        let subscribe = Self { packet_id, filters };
        subscribe.check()?;
        Ok(subscribe)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        for (filter, qos) in self.filters() {
            put_string(&mut body, FILTER, filter.as_str())?;
            body.push(qos.into());
        }
        put_packet(out, PacketType::Subscribe, &body)
    }

    // [MQTT-3.8.3-3]
    fn check(&self) -> Result<(), Error> {
        if self.filters.is_empty() {
            return Err(Error::NoFilters { packet: PacketType::Subscribe });
        }
        Ok(())
    }
}

/// The answer to SUBSCRIBE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Suback<'a> {
    /// That of the SUBSCRIBE [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// One for each filter [MQTT-3.8.4-5], in their order [MQTT-3.9.3-1].
    pub codes: Cow<'a, [SubscribeCode]>,
}

/// What became of one filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscribeCode {
    /// Subscribed, with messages at most at this QoS.
    Granted(QoS),
    /// Not subscribed. MQTT 3.1 has no such code; its clients read it as QoS 0.
    Failure,
}

impl Suback<'_> {
    pub(super) fn decode(body: &[u8]) -> Result<Self, Error> {
        let packet = PacketType::Suback;
        let codes = many_till(map_res(u8, SubscribeCode::parse), eof);
        let (packet_id, (codes, _)) = whole(packet, body, (packet_id(packet), codes))?;
        let suback = Self { packet_id, codes: Cow::Owned(codes) };
        suback.check()?;
        Ok(suback)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        body.extend(self.codes.iter().map(|code| code.byte()));
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
    fn parse(byte: u8) -> Result<Self, Error> {
        match QoS::try_from(byte) {
            Ok(qos) => Ok(SubscribeCode::Granted(qos)),
            Err(_) if byte == 0x80 => Ok(SubscribeCode::Failure),
            Err(_) => Err(Error::SubackCode(byte)),
        }
    }

    fn byte(self) -> u8 {
        match self {
            SubscribeCode::Granted(qos) => qos.into(),
            SubscribeCode::Failure => 0x80,
        }
    }
}

/// The end of requests for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK repeats [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    filters: Vec<Filter<'a>>,
}

impl<'a> Unsubscribe<'a> {
    /// A request to encode; it must have a filter [MQTT-3.10.3-2].
    pub fn new(packet_id: PacketId, filters: Vec<Filter<'a>>) -> Self {
        Self { packet_id, filters }
    }

    /// The filters in their order; at least one.
    pub fn filters(&self) -> impl ExactSizeIterator<Item = Filter<'a>> {
        self.filters.iter().copied()
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Unsubscribe;
        let filters = many_till(filter(packet), eof);
        let (packet_id, (filters, _)) = whole(packet, body, (packet_id(packet), filters))?;
        let unsubscribe = Self { packet_id, filters };
        unsubscribe.check()?;
        Ok(unsubscribe)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        for filter in self.filters() {
            put_string(&mut body, FILTER, filter.as_str())?;
        }
        put_packet(out, PacketType::Unsubscribe, &body)
    }

    // [MQTT-3.10.3-2]
    fn check(&self) -> Result<(), Error> {
        if self.filters.is_empty() {
            return Err(Error::NoFilters { packet: PacketType::Unsubscribe });
        }
        Ok(())
    }
}

// [MQTT-3.8.3-1] [MQTT-3.10.3-1]
fn filter<'a>(packet: PacketType) -> impl Parser<&'a [u8], Output = Filter<'a>, Error = Fault> {
    map_res(string(FILTER), move |filter| {
        Filter::new(filter).map_err(|error| Error::Filter { packet, error })
    })
}

// [MQTT-3.8.3-4]
fn requested_qos<'a>() -> impl Parser<&'a [u8], Output = QoS, Error = Fault> {
    map_res(u8, |byte| QoS::try_from(byte).map_err(|_| Error::RequestedQos(byte)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_both_ways, error, filter, frame, id};
    use super::super::{Packet, Version, decode};
    use super::*;

    #[test]
    fn bytes_of_each() {
        let filters = vec![(filter("a/+"), QoS::AtMostOnce), (filter("#"), QoS::ExactlyOnce)];
        let subscribe = Packet::Subscribe(Subscribe::new(id(10), filters));
        assert_both_ways(Version::V311, &subscribe, b"\x82\x0c\0\x0a\0\x03a/+\0\0\x01#\x02");

        let codes = [
            SubscribeCode::Granted(QoS::AtMostOnce),
            SubscribeCode::Granted(QoS::AtLeastOnce),
            SubscribeCode::Granted(QoS::ExactlyOnce),
            SubscribeCode::Failure,
        ];
        let suback = Packet::Suback(Suback { packet_id: id(10), codes: Cow::Borrowed(&codes) });
        assert_both_ways(Version::V311, &suback, b"\x90\x06\0\x0a\0\x01\x02\x80");

        let filters = vec![filter("a/+"), filter("#")];
        let unsubscribe = Packet::Unsubscribe(Unsubscribe::new(id(10), filters));
        assert_both_ways(Version::V311, &unsubscribe, b"\xa2\x0a\0\x0a\0\x03a/+\0\x01#");
    }

    #[test]
    fn something_is_asked_for() {
        assert_eq!(error(b"\x82\x02\0\x01"), Error::NoFilters { packet: PacketType::Subscribe });
        assert_eq!(error(b"\xa2\x02\0\x01"), Error::NoFilters { packet: PacketType::Unsubscribe });
        assert_eq!(error(b"\x90\x02\0\x01"), Error::NoSubackCodes);

        let mut out = Vec::new();
        let empty = [
            Packet::Subscribe(Subscribe::new(id(1), Vec::new())),
            Packet::Unsubscribe(Unsubscribe::new(id(1), Vec::new())),
            Packet::Suback(Suback { packet_id: id(1), codes: Cow::Borrowed(&[]) }),
        ];
        for packet in empty {
            let error = packet.encode(Version::V311, &mut out);
            assert!(matches!(error, Err(EncodeError::Forbidden(_))), "{packet:?}");
        }
        assert_eq!(out, []);
    }

    #[test]
    fn packet_identifier_is_not_0() {
        for (packet, bytes) in [
            (PacketType::Subscribe, &b"\x82\x06\0\0\0\x01a\0"[..]),
            (PacketType::Suback, b"\x90\x03\0\0\0"),
            (PacketType::Unsubscribe, b"\xa2\x05\0\0\0\x01a"),
        ] {
            assert_eq!(error(bytes), Error::ZeroPacketId { packet });
        }
    }

    #[test]
    fn requested_qos_is_0_to_2() {
        for byte in 3..=255 {
            let bytes = frame(0x82, &[0, 1, 0, 1, b'a', 1, 0, 1, b'b', byte]);
            assert_eq!(error(&bytes), Error::RequestedQos(byte));
        }
    }

    #[test]
    fn suback_codes_are_four() {
        for byte in (3..=255).filter(|&byte| byte != 0x80) {
            assert_eq!(error(&[0x90, 4, 0, 1, 0, byte]), Error::SubackCode(byte));
        }
    }

    #[test]
    fn filters_are_valid() {
        for bad in ["", "a/#/b", "a#", "a+", "+a/b"] {
            let error_of_filter = Filter::new(bad).unwrap_err();
            let field = [&[0, bad.len() as u8], bad.as_bytes()].concat();
            let subscribe = frame(0x82, &[&[0, 1][..], &field, &[0]].concat());
            let expected = Error::Filter { packet: PacketType::Subscribe, error: error_of_filter };
            assert_eq!(error(&subscribe), expected);
            let unsubscribe = frame(0xa2, &[&[0, 1][..], &field].concat());
            let expected = Error::Filter { packet: PacketType::Unsubscribe, error: error_of_filter };
            assert_eq!(error(&unsubscribe), expected);
        }
        assert_eq!(error(b"\x82\x06\0\x01\0\x01\xff\0"), Error::Utf8 { field: FILTER });
        assert_eq!(error(b"\xa2\x05\0\x01\0\x01\xff"), Error::Utf8 { field: FILTER });
        assert_eq!(error(b"\x82\x06\0\x01\0\x01\0\0"), Error::Null { field: FILTER });
    }

    #[test]
    fn fields_that_run_past_the_end() {
        for body in [&b""[..], b"\0", b"\0\x01\0", b"\0\x01\0\x02a", b"\0\x01\0\x01a", b"\0\x01\0\x01a\0\0"] {
            assert_eq!(error(&frame(0x82, body)), Error::Truncated { packet: PacketType::Subscribe });
        }
        for body in [&b""[..], b"\0", b"\0\x01\0", b"\0\x01\0\x02a", b"\0\x01\0\x01a\0"] {
            assert_eq!(error(&frame(0xa2, body)), Error::Truncated { packet: PacketType::Unsubscribe });
        }
        assert_eq!(error(&frame(0x90, b"\0")), Error::Truncated { packet: PacketType::Suback });
    }

    #[test]
    fn requests_of_3_1_may_have_dup() {
        for bytes in [&b"\x8a\x06\0\x01\0\x01a\0"[..], b"\xaa\x05\0\x01\0\x01a"] {
            assert!(decode(bytes, Some(Version::V31), 100).is_ok());
            assert!(matches!(error(bytes), Error::Flags { flags: 0b1010, .. }));
        }
    }
}
