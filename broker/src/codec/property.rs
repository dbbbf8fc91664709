//! Properties (§2.2.2): what a packet of 5.0 says beyond its fields.
//!
//! [`Properties`] are checked bytes of a packet, read again by whoever asks; [`PropertiesBuf`] is where those of a
//! packet to send are put together. What the standard says of each property is one row of the table below.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use nom::Parser;
use nom::combinator::map_res;
use nom::number::complete::{be_u16, be_u32, u8};

use super::fixed_header::sets::*;
use super::fixed_header::{PacketType, put_remaining_length, remaining_length_len};
use super::primitive::{
    Fault, MAX_REMAINING_LENGTH, Parsed, binary, put_binary, put_string, string, variable_byte_integer,
};
use super::{EncodeError, Error, QoS, Version};
use crate::topic::Name;

/// One row a property: identifier, name, its values with the format of each, the packets that may carry it, and those
/// that may carry it more than once.
macro_rules! properties {
    ($(
        $(#[$doc:meta])*
        $id:literal $name:literal $property:ident($($format:ident $field:ident: $type:ty),+)
        in $carriers:expr $(, many in $many:expr)?;
    )+) => {
        /// A property (§2.2.2.2).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Property<'a> {
            $($(#[$doc])* $property($($type),+),)+
        }

        impl<'a> Property<'a> {
            /// The identifier of §2.2.2.2.
            pub fn id(&self) -> u8 {
                match self {
                    $(Property::$property(..) => $id,)+
                }
            }

            /// The name in the standard, in lower case.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Property::$property(..) => $name,)+
                }
            }

            /// The values behind the identifier `id`.
            fn take(id: u8, input: &'a [u8]) -> Parsed<'a, Property<'a>> {
                match id {
                    $($id => {
                        $(let (input, $field) = $format::take($name, input)?;)+
                        Ok((input, Property::$property($($field),+)))
                    })+
                    // A table of rules has told the others apart before.
                    _ => Err(nom::Err::Error(Fault::Truncated)),
                }
            }

            fn put_values(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Property::$property($($field),+) => {
                        $($format::put($name, out, $field)?;)+
                    })+
                }
                Ok(())
            }
        }

        /// The rules for an identifier.
        fn rule(id: u8) -> Option<Rule> {
            Some(match id {
                $($id => Rule { name: $name, carriers: $carriers, many: 0 $(| $many)? },)+
                _ => return None,
            })
        }
    };
}

properties! {
    /// Whether the payload is UTF-8, rather than unspecified bytes.
    0x01 "payload format indicator" PayloadFormatIndicator(flag is_utf8: bool) in PUBLISH | WILL;
    /// How long the message is of use, in seconds.
    0x02 "message expiry interval" MessageExpiryInterval(four_bytes seconds: u32) in PUBLISH | WILL;
    /// What the payload is, in words that publisher and subscriber agree on.
    0x03 "content type" ContentType(text content_type: &'a str) in PUBLISH | WILL;
    /// Where an answer is to be published.
    0x08 "response topic" ResponseTopic(topic_name topic: Name<'a>) in PUBLISH | WILL;
    /// What tells the request that an answer is for.
    0x09 "correlation data" CorrelationData(bytes data: &'a [u8]) in PUBLISH | WILL;
    /// The number of a subscription, at most 268435455.
    0x0b "subscription identifier" SubscriptionIdentifier(variable id: NonZeroU32)
        in PUBLISH | SUBSCRIBE, many in PUBLISH;
    /// How long the session outlives its connection, in seconds; `u32::MAX`: for ever.
    0x11 "session expiry interval" SessionExpiryInterval(four_bytes seconds: u32) in CONNECT | CONNACK | DISCONNECT;
    /// The client identifier that the server made up.
    0x12 "assigned client identifier" AssignedClientIdentifier(text client_id: &'a str) in CONNACK;
    /// The keep alive that the server uses instead of the client's, in seconds.
    0x13 "server keep alive" ServerKeepAlive(two_bytes seconds: u16) in CONNACK;
    /// The name of the method of enhanced authentication.
    0x15 "authentication method" AuthenticationMethod(text method: &'a str) in CONNECT | CONNACK | AUTH;
    /// A message of that method.
    0x16 "authentication data" AuthenticationData(bytes data: &'a [u8]) in CONNECT | CONNACK | AUTH;
    /// Whether reason strings and user properties may come with failures.
    0x17 "request problem information" RequestProblemInformation(flag is_wanted: bool) in CONNECT;
    /// How long to hold the will back, in seconds.
    0x18 "will delay interval" WillDelayInterval(four_bytes seconds: u32) in WILL;
    /// Whether CONNACK is to have response information.
    0x19 "request response information" RequestResponseInformation(flag is_wanted: bool) in CONNECT;
    /// What response topics begin with.
    0x1a "response information" ResponseInformation(text information: &'a str) in CONNACK;
    /// Which server to use instead.
    0x1c "server reference" ServerReference(text server: &'a str) in CONNACK | DISCONNECT;
    /// The reason in words, for diagnostics.
    0x1f "reason string" ReasonString(text reason: &'a str)
        in CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    /// How many PUBLISHes of QoS 1 and 2 may be unanswered at a time.
    0x21 "receive maximum" ReceiveMaximum(two_bytes_not_0 maximum: NonZeroU16) in CONNECT | CONNACK;
    /// The highest topic alias that is accepted.
    0x22 "topic alias maximum" TopicAliasMaximum(two_bytes maximum: u16) in CONNECT | CONNACK;
    /// The number that stands for the topic name from here on.
    0x23 "topic alias" TopicAlias(two_bytes_not_0 alias: NonZeroU16) in PUBLISH;
    /// The highest QoS that the server supports: 0 or 1.
    0x24 "maximum QoS" MaximumQos(qos_0_or_1 qos: QoS) in CONNACK;
    /// Whether the server retains messages.
    0x25 "retain available" RetainAvailable(flag is_available: bool) in CONNACK;
    /// A name and a value whose meaning is not the standard's.
    0x26 "user property" UserProperty(text name: &'a str, text value: &'a str) in ALL, many in ALL;
    /// The largest packet that is accepted, in bytes.
    0x27 "maximum packet size" MaximumPacketSize(four_bytes_not_0 bytes: NonZeroU32) in CONNECT | CONNACK;
    /// Whether the server has subscriptions with wildcards.
    0x28 "wildcard subscription available" WildcardSubscriptionAvailable(flag is_available: bool) in CONNACK;
    /// Whether the server has subscription identifiers.
    0x29 "subscription identifiers available" SubscriptionIdentifiersAvailable(flag is_available: bool) in CONNACK;
    /// Whether the server has shared subscriptions.
    0x2a "shared subscription available" SharedSubscriptionAvailable(flag is_available: bool) in CONNACK;
}

struct Rule {
    name: &'static str,
    /// The packets that may carry it, and those that may carry it often.
    carriers: u16,
    many: u16,
}

/// What carries properties. Its `Display` is the packet's name, or `will`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Carrier {
    /// A packet, behind its fields.
    Packet(PacketType),
    /// The will in a CONNECT.
    Will,
}

impl Carrier {
    fn bit(self) -> u16 {
        match self {
            Carrier::Packet(packet) => packet.bit(),
            Carrier::Will => WILL,
        }
    }

    fn packet(self) -> PacketType {
        match self {
            Carrier::Packet(packet) => packet,
            Carrier::Will => PacketType::Connect,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carrier::Packet(packet) => packet.fmt(f),
            Carrier::Will => f.write_str("will"),
        }
    }
}

/// The properties of a packet, or of a will, valid for it. None for 3.1 and 3.1.1.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// No property.
    pub const EMPTY: Properties<'static> = Properties(&[]);

    /// The properties in their order.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        self.parts().map(|(property, _)| property)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their bytes, without the property length.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Appends those of a PUBLISH or a will that go on unaltered, in their order: payload format indicator
    /// [MQTT-3.3.2-4], content type [MQTT-3.3.2-20], response topic [MQTT-3.3.2-15], correlation data
    /// [MQTT-3.3.2-16], user properties [MQTT-3.3.2-17] [MQTT-3.3.2-18].
    pub fn forwarded(&self, out: &mut PropertiesBuf) {
        for (property, bytes) in self.parts() {
            if matches!(
                property,
                Property::PayloadFormatIndicator(_)
                    | Property::ContentType(_)
                    | Property::ResponseTopic(_)
                    | Property::CorrelationData(_)
                    | Property::UserProperty(..)
            ) {
                out.0.extend_from_slice(bytes);
            }
        }
    }

    /// Each property with its bytes.
    fn parts(&self) -> impl Iterator<Item = (Property<'a>, &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&id, input) = rest.split_first()?;
            let (behind, property) = Property::take(id, input).ok()?;
            let bytes = rest.get(..rest.len() - behind.len())?;
            rest = behind;
            Some((property, bytes))
        })
    }

    /// Takes the property length and the properties off `input`, and gives what is behind them.
    pub(super) fn split(carrier: Carrier, input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let truncated = Error::Truncated { packet: carrier.packet() };
        let (input, length) = variable_byte_integer("property length", input)?.ok_or(truncated.clone())?;
        let (bytes, rest) = input.split_at_checked(length).ok_or(truncated)?;
        let properties = Self(bytes);
        properties.check(carrier)?;
        Ok((properties, rest))
    }

    /// The properties of a `version`, of which only 5.0 has any.
    pub(super) fn parser(
        version: Version,
        carrier: Carrier,
    ) -> impl Parser<&'a [u8], Output = Self, Error = Fault> {
        move |input: &'a [u8]| {
            if version != Version::V5 {
                return Ok((input, Properties::EMPTY));
            }
            let split = Self::split(carrier, input);
            let (properties, rest) = split.map_err(|error| nom::Err::Failure(Fault::Broken(error)))?;
            Ok((rest, properties))
        }
    }

    /// The rules of the table, and of properties that go together.
    pub(super) fn check(&self, carrier: Carrier) -> Result<(), Error> {
        let mut seen = Seen(0);
        let mut rest = self.0;
        while !rest.is_empty() {
            let truncated = Error::Truncated { packet: carrier.packet() };
            let (input, id) = variable_byte_integer("property identifier", rest)?.ok_or(truncated)?;
            let unknown = Error::UnknownProperty { carrier, id };
            let id = u8::try_from(id).map_err(|_| unknown.clone())?;
            let Rule { name, carriers, many } = rule(id).ok_or(unknown)?;
            if carriers & carrier.bit() == 0 {
                return Err(Error::MisplacedProperty { carrier, name });
            }
            if seen.has(id) && many & carrier.bit() == 0 {
                return Err(Error::RepeatedProperty { carrier, name });
            }
            seen.add(id);
            rest = match Property::take(id, input) {
                Ok((behind, _)) => behind,
                Err(nom::Err::Error(Fault::Broken(error)) | nom::Err::Failure(Fault::Broken(error))) => {
                    return Err(error);
                }
                Err(_) => return Err(Error::TruncatedProperty { carrier, name }),
            };
        }
        if seen.has(AUTHENTICATION_DATA) && !seen.has(AUTHENTICATION_METHOD) {
            return Err(Error::AuthenticationDataAlone { carrier });
        }
        Ok(())
    }

    /// Appends the property length and the properties; before 5.0, nothing.
    pub(super) fn put(
        &self,
        version: Version,
        carrier: Carrier,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if version != Version::V5 {
            return Ok(());
        }
        self.check(carrier)?;
        put_length(self.0.len(), out);
        out.extend_from_slice(self.0);
        Ok(())
    }
}

const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;

/// The identifiers seen so far; all are below 64.
struct Seen(u64);

impl Seen {
    fn has(&self, id: u8) -> bool {
        self.0 & (1 << id) != 0
    }

    fn add(&mut self, id: u8) {
        self.0 |= 1 << id;
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Properties of a packet to send.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// No property.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one behind the others; on an error, nothing. Whether a packet may carry it is checked when that is encoded.
    ///
    /// # Errors
    ///
    /// A value does not fit: a string of more than 65535 bytes or with U+0000, QoS 2 as maximum, a subscription
    /// identifier above 268435455.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        let length = self.0.len();
        self.0.push(property.id());
        property.put_values(&mut self.0).inspect_err(|_| self.0.truncate(length))
    }

    /// The properties so far.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties(&self.0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all off, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl From<Properties<'_>> for PropertiesBuf {
    fn from(properties: Properties<'_>) -> Self {
        Self(properties.0.to_vec())
    }
}

impl fmt::Debug for PropertiesBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_properties().fmt(f)
    }
}

/// What a PUBLISH of 5.0 says beyond its fields, when the server sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PublishProperties<'a> {
    /// The number that stands for the topic, from here on if there is a topic, from before if there is none.
    pub topic_alias: Option<NonZeroU16>,
    /// What is left of the message expiry interval, in seconds [MQTT-3.3.2-6].
    pub message_expiry_seconds: Option<u32>,
    /// Those of the subscriptions that it is for [MQTT-3.3.4-3] [MQTT-3.3.4-4], each at most 268435455.
    pub subscription_ids: &'a [NonZeroU32],
    /// What [`Properties::forwarded`] gave of the message.
    pub forwarded: Properties<'a>,
}

impl PublishProperties<'_> {
    /// How many bytes they take, property length included.
    pub(super) fn encoded_len(&self) -> usize {
        let length = self.values_len();
        remaining_length_len(length).saturating_add(length)
    }

    fn values_len(&self) -> usize {
        let ids =
            self.subscription_ids.iter().map(|id| 1 + remaining_length_len(id.get() as usize)).sum::<usize>();
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.message_expiry_seconds.is_some() { 5 } else { 0 };
        ids.saturating_add(alias + expiry).saturating_add(self.forwarded.0.len())
    }

    /// Appends the property length and the properties.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_length(self.values_len(), out);
        if let Some(alias) = self.topic_alias {
            let [high, low] = alias.get().to_be_bytes();
            out.extend_from_slice(&[0x23, high, low]);
        }
        if let Some(seconds) = self.message_expiry_seconds {
            out.push(0x02);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        for id in self.subscription_ids {
            out.push(0x0b);
            put_remaining_length(out, id.get() as usize);
        }
        out.extend_from_slice(self.forwarded.0);
    }
}

/// The property length is written like a remaining length.
fn put_length(length: usize, out: &mut Vec<u8>) {
    put_remaining_length(out, length);
}

// The formats (§1.5): how a value is read and written.

mod flag {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, bool> {
        let flag = |byte| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::PropertyValue { name, value: byte.into() }),
        };
        map_res(u8, flag).parse(input)
    }

    pub(super) fn put(_: &'static str, out: &mut Vec<u8>, value: bool) -> Result<(), EncodeError> {
        out.push(value.into());
        Ok(())
    }
}

mod qos_0_or_1 {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, QoS> {
        let (input, is_1) = flag::take(name, input)?;
        Ok((input, if is_1 { QoS::AtLeastOnce } else { QoS::AtMostOnce }))
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: QoS) -> Result<(), EncodeError> {
        if value == QoS::ExactlyOnce {
            return Err(Error::PropertyValue { name, value: 2 }.into());
        }
        out.push(value.into());
        Ok(())
    }
}

mod two_bytes {
    use super::*;

    pub(super) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, u16> {
        be_u16(input)
    }

    pub(super) fn put(_: &'static str, out: &mut Vec<u8>, value: u16) -> Result<(), EncodeError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
}

mod two_bytes_not_0 {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU16> {
        map_res(be_u16, |value| NonZeroU16::new(value).ok_or(Error::PropertyValue { name, value: 0 }))
            .parse(input)
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU16) -> Result<(), EncodeError> {
        two_bytes::put(name, out, value.get())
    }
}

mod four_bytes {
    use super::*;

    pub(super) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, u32> {
        be_u32(input)
    }

    pub(super) fn put(_: &'static str, out: &mut Vec<u8>, value: u32) -> Result<(), EncodeError> {
        out.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }
}

mod four_bytes_not_0 {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU32> {
        map_res(be_u32, |value| NonZeroU32::new(value).ok_or(Error::PropertyValue { name, value: 0 }))
            .parse(input)
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU32) -> Result<(), EncodeError> {
        four_bytes::put(name, out, value.get())
    }
}

mod variable {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, NonZeroU32> {
        let broken = |error| nom::Err::Failure(Fault::Broken(error));
        let (input, value) =
            variable_byte_integer(name, input).map_err(broken)?.ok_or(nom::Err::Error(Fault::Truncated))?;
        let value = u32::try_from(value).ok().and_then(NonZeroU32::new);
        Ok((input, value.ok_or(broken(Error::PropertyValue { name, value: 0 }))?))
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: NonZeroU32) -> Result<(), EncodeError> {
        match usize::try_from(value.get()) {
            Ok(length) if length <= MAX_REMAINING_LENGTH => put_remaining_length(out, length),
            _ => return Err(Error::PropertyValue { name, value: value.get() }.into()),
        }
        Ok(())
    }
}

mod text {
    use super::*;

    pub(super) fn take<'a>(name: &'static str, input: &'a [u8]) -> Parsed<'a, &'a str> {
        string(name).parse(input)
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: &str) -> Result<(), EncodeError> {
        put_string(out, name, value)
    }
}

mod bytes {
    use super::*;

    pub(super) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, &'a [u8]> {
        binary(input)
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: &[u8]) -> Result<(), EncodeError> {
        put_binary(out, name, value)
    }
}

mod topic_name {
    use super::*;

    // [MQTT-3.3.2-13] [MQTT-3.3.2-14]
    pub(super) fn take<'a>(_: &'static str, input: &'a [u8]) -> Parsed<'a, Name<'a>> {
        map_res(binary, |topic| Name::from_bytes(topic).map_err(Error::ResponseTopic)).parse(input)
    }

    pub(super) fn put(name: &'static str, out: &mut Vec<u8>, value: Name<'_>) -> Result<(), EncodeError> {
        put_binary(out, name, value.as_str().as_bytes())
    }
}
