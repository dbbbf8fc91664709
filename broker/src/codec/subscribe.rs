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
