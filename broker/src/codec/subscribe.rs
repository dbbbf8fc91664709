//! SUBSCRIBE, UNSUBSCRIBE (§3.8, §3.10).

use nom::Parser;
use nom::combinator::{eof, map_res};
use nom::multi::many_till;
use nom::number::complete::u8;

use super::primitive::{Fault, packet_id, put_packet, put_string, string, whole};
use super::{Carrier, EncodeError, Error, PacketId, PacketType, Properties, QoS, Version};
use crate::topic::{Filter, SharedFilter};

const FILTER: &str = "topic filter";

const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING: u8 = 0b0011_0000;
const RESERVED: u8 = 0b1100_0000;

/// A request for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// What SUBACK repeats [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// None before 5.0.
    pub properties: Properties<'a>,
    filters: Vec<(Filter<'a>, SubscribeOptions)>,
}

/// How the messages of a subscription are wanted (§3.8.3.1). Before 5.0 there is the QoS alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscribeOptions {
    /// The highest QoS.
    pub qos: QoS,
    /// Not those that the client published itself [MQTT-3.8.3-3].
    pub no_local: bool,
    /// With RETAIN as it was published.
    pub retain_as_published: bool,
    /// Whether to send what is retained.
    pub retain_handling: RetainHandling,
}

/// Whether a subscription is to bring the retained messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RetainHandling {
    /// Yes.
    Send = 0,
    /// If there was no subscription to that filter before.
    SendIfNew = 1,
    /// No.
    DoNotSend = 2,
}

/// What a subscription of 3.1.1 is: no option set.
impl From<QoS> for SubscribeOptions {
    fn from(qos: QoS) -> Self {
        let retain_handling = RetainHandling::Send;
        Self { qos, no_local: false, retain_as_published: false, retain_handling }
    }
}

impl<'a> Subscribe<'a> {
    /// A request to encode; it must have a filter [MQTT-3.8.3-3].
    pub fn new<O: Into<SubscribeOptions>>(packet_id: PacketId, filters: Vec<(Filter<'a>, O)>) -> Self {
        let filters = filters.into_iter().map(|(filter, options)| (filter, options.into())).collect();
        Self { packet_id, properties: Properties::EMPTY, filters }
    }

    /// The filters in their order, each with how it is wanted; at least one.
    pub fn filters(&self) -> impl ExactSizeIterator<Item = (Filter<'a>, SubscribeOptions)> {
        self.filters.iter().copied()
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Subscribe;
        let properties = Properties::parser(version, Carrier::Packet(packet));
        let options = map_res(u8, |byte| SubscribeOptions::parse(version, byte));
        let filters = many_till((filter(packet), options), eof);
        let (packet_id, properties, (filters, _)) =
            whole(packet, body, (packet_id(packet), properties, filters))?;
        let subscribe = Self { packet_id, properties, filters };
        subscribe.check(version)?;
        Ok(subscribe)
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        self.properties.put(version, Carrier::Packet(PacketType::Subscribe), &mut body)?;
        for (filter, options) in self.filters() {
            put_string(&mut body, FILTER, filter.as_str())?;
            body.push(options.byte(version));
        }
        put_packet(out, PacketType::Subscribe, &body)
    }

    fn check(&self, version: Version) -> Result<(), Error> {
        let packet = PacketType::Subscribe;
        // [MQTT-3.8.3-3]
        if self.filters.is_empty() {
            return Err(Error::NoFilters { packet });
        }
        if version == Version::V5 {
            for (filter, options) in &self.filters {
                let is_shared = check_share(packet, *filter)?;
                // [MQTT-3.8.3-4]
                if is_shared && options.no_local {
                    return Err(Error::NoLocalShared);
                }
            }
        }
        Ok(())
    }
}

impl SubscribeOptions {
    fn parse(version: Version, byte: u8) -> Result<Self, Error> {
        // [MQTT-3.8.3-4], until 5.0
        if version != Version::V5 {
            return QoS::try_from(byte).map(Self::from).map_err(|_| Error::RequestedQos(byte));
        }
        // [MQTT-3.8.3-5]
        if byte & RESERVED != 0 {
            return Err(Error::ReservedSubscriptionOptions(byte));
        }
        Ok(Self {
            qos: QoS::try_from(byte & QOS).map_err(|_| Error::RequestedQos(byte))?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling: match (byte & RETAIN_HANDLING) >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(Error::RetainHandling3),
            },
        })
    }

    fn byte(self, version: Version) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let qos = u8::from(self.qos);
        if version != Version::V5 {
            return qos;
        }
        qos | flag(self.no_local, NO_LOCAL)
            | flag(self.retain_as_published, RETAIN_AS_PUBLISHED)
            | (self.retain_handling as u8) << 4
    }
}

/// The end of requests for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK repeats [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// None before 5.0.
    pub properties: Properties<'a>,
    filters: Vec<Filter<'a>>,
}

impl<'a> Unsubscribe<'a> {
    /// A request to encode; it must have a filter [MQTT-3.10.3-2].
    pub fn new(packet_id: PacketId, filters: Vec<Filter<'a>>) -> Self {
        Self { packet_id, properties: Properties::EMPTY, filters }
    }

    /// The filters in their order; at least one.
    pub fn filters(&self) -> impl ExactSizeIterator<Item = Filter<'a>> {
        self.filters.iter().copied()
    }

    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, Error> {
        let packet = PacketType::Unsubscribe;
        let properties = Properties::parser(version, Carrier::Packet(packet));
        let filters = many_till(filter(packet), eof);
        let (packet_id, properties, (filters, _)) =
            whole(packet, body, (packet_id(packet), properties, filters))?;
        let unsubscribe = Self { packet_id, properties, filters };
        unsubscribe.check(version)?;
        Ok(unsubscribe)
    }

    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        let mut body = self.packet_id.get().to_be_bytes().to_vec();
        self.properties.put(version, Carrier::Packet(PacketType::Unsubscribe), &mut body)?;
        for filter in self.filters() {
            put_string(&mut body, FILTER, filter.as_str())?;
        }
        put_packet(out, PacketType::Unsubscribe, &body)
    }

    fn check(&self, version: Version) -> Result<(), Error> {
        let packet = PacketType::Unsubscribe;
        // [MQTT-3.10.3-2]
        if self.filters.is_empty() {
            return Err(Error::NoFilters { packet });
        }
        if version == Version::V5 {
            self.filters.iter().try_for_each(|filter| check_share(packet, *filter).map(drop))?;
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

/// Whether it is the filter of a shared subscription.
fn check_share(packet: PacketType, filter: Filter<'_>) -> Result<bool, Error> {
    let shared = SharedFilter::parse(filter).map_err(|error| Error::Share { packet, error })?;
    Ok(shared.is_some())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::tests::{assert_both_ways, encoded, error, error_in_5, filter, frame, id};
    use super::super::{Packet, PropertiesBuf, Property, Suback, decode};
    use super::*;

    #[test]
    fn bytes_of_each() {
        let filters = vec![(filter("a/+"), QoS::AtMostOnce), (filter("#"), QoS::ExactlyOnce)];
        let subscribe = Packet::Subscribe(Subscribe::new(id(10), filters));
        assert_both_ways(Version::V311, &subscribe, b"\x82\x0c\0\x0a\0\x03a/+\0\0\x01#\x02");

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
            Packet::Subscribe(Subscribe::new(id(1), Vec::<(_, QoS)>::new())),
            Packet::Unsubscribe(Unsubscribe::new(id(1), Vec::new())),
            Packet::Suback(Suback::new(id(1), &[])),
        ];
        for packet in empty {
            let error = packet.encode(Version::V311, &mut out);
            assert!(matches!(error, Err(EncodeError::Forbidden(_))), "{packet:?}");
        }
        assert!(out.is_empty());
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

    #[test]
    fn bytes_of_5_0() {
        let options = SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        let filters = vec![
            (filter("a"), options),
            (filter("$share/g/b"), SubscribeOptions { no_local: false, ..options }),
            (filter("c"), QoS::AtLeastOnce.into()),
        ];
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SubscriptionIdentifier(NonZeroU32::new(200).unwrap())).unwrap();
        let properties = properties.as_properties();
        let subscribe = Packet::Subscribe(Subscribe { properties, ..Subscribe::new(id(1), filters) });
        let bytes = b"\x82\x1b\0\x01\x03\x0b\xc8\x01\0\x01a\x2e\0\x0a$share/g/b\x2a\0\x01c\x01";
        assert_both_ways(Version::V5, &subscribe, bytes);
        // Before 5.0 there is the QoS alone.
        let bytes = b"\x82\x17\0\x01\0\x01a\x02\0\x0a$share/g/b\x02\0\x01c\x01";
        assert_eq!(encoded(Version::V311, &subscribe), bytes);

        let unsubscribe =
            Packet::Unsubscribe(Unsubscribe::new(id(1), vec![filter("a"), filter("$share/g/b")]));
        assert_both_ways(Version::V5, &unsubscribe, b"\xa2\x12\0\x01\0\0\x01a\0\x0a$share/g/b");
    }

    #[test]
    fn subscription_options() {
        for byte in 0..=255 {
            let bytes = frame(0x82, &[0, 1, 0, 0, 1, b'a', byte]);
            let expected = if byte & 0xc0 != 0 {
                Some(Error::ReservedSubscriptionOptions(byte))
            } else if byte & 3 == 3 {
                Some(Error::RequestedQos(byte))
            } else if byte & 0x30 == 0x30 {
                Some(Error::RetainHandling3)
            } else {
                None
            };
            match decode(&bytes, Some(Version::V5), 100) {
                Ok(_) => {
                    assert_eq!(SubscribeOptions::parse(Version::V5, byte).unwrap().byte(Version::V5), byte)
                }
                Err(error) => assert_eq!(Some(error), expected, "{byte:#04x}"),
            }
            assert_eq!(decode(&bytes, Some(Version::V5), 100).err(), expected, "{byte:#04x}");
        }
    }

    #[test]
    fn shared_subscriptions() {
        let subscribe = |filter: &str, options| {
            frame(0x82, &[&[0, 1, 0, 0, filter.len() as u8], filter.as_bytes(), &[options]].concat())
        };
        let unsubscribe =
            |filter: &str| frame(0xa2, &[&[0, 1, 0, 0, filter.len() as u8], filter.as_bytes()].concat());
        for good in [
            "$share/g/a",
            "$share/g/#",
            "$share/g/+/a",
            "$share/g//",
            "$share/$/$SYS/#",
            "$share",
            "$shared/+",
        ] {
            assert!(decode(&subscribe(good, 0), Some(Version::V5), 100).is_ok(), "{good}");
            assert!(decode(&unsubscribe(good), Some(Version::V5), 100).is_ok(), "{good}");
        }
        for bad in ["$share/", "$share//a", "$share//", "$share/g", "$share/g/", "$share/+/a", "$share/#"] {
            let error = SharedFilter::parse(filter(bad)).unwrap_err();
            let expected = Error::Share { packet: PacketType::Subscribe, error };
            assert_eq!(error_in_5(&subscribe(bad, 0)), expected);
            let expected = Error::Share { packet: PacketType::Unsubscribe, error };
            assert_eq!(error_in_5(&unsubscribe(bad)), expected);
        }
        assert_eq!(error_in_5(&subscribe("$share/g/a", NO_LOCAL)), Error::NoLocalShared);
        // The codec of 3.1.1 knows nothing of them.
        let bytes = frame(0x82, b"\0\x01\0\x07$share/\0");
        assert!(decode(&bytes, Some(Version::V311), 100).is_ok());
    }

    #[test]
    fn rules_of_5_0() {
        for (packet, first) in [(PacketType::Subscribe, 0x82), (PacketType::Unsubscribe, 0xa2)] {
            assert_eq!(error_in_5(&frame(first, &[0, 1, 0])), Error::NoFilters { packet });
            assert_eq!(error_in_5(&frame(first, &[0, 1])), Error::Truncated { packet });
            assert_eq!(error_in_5(&frame(first, &[0, 0, 0, 0, 1, b'a', 0])), Error::ZeroPacketId { packet });
            let dup = first | 0b1000;
            assert_eq!(error_in_5(&[dup, 0]), Error::Flags { packet, flags: 0b1010 });
        }
        let identifier_0 = frame(0x82, &[0, 1, 2, 0x0b, 0, 0, 1, b'a', 0]);
        assert_eq!(
            error_in_5(&identifier_0),
            Error::PropertyValue { name: "subscription identifier", value: 0 }
        );
    }
}
