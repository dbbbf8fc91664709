//! Properties in a packet: checked bytes, read again by whoever asks; and where those of a packet to send are put together.
//!
//! The property length is written like a remaining length.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use nom::Parser;

use super::fixed_header::{put_remaining_length, remaining_length_len};
use super::primitive::{Fault, variable_byte_integer};
use super::property::{Carrier, Property, Rule, rule};
use super::{EncodeError, Error, PacketType, Version};

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
                if out.0.is_empty() {
                    // No spare room: messages are kept with it.
                    out.0.reserve_exact(self.0.len());
                }
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
    #[inline]
    pub(super) fn split(carrier: Carrier, input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        match input {
            // Most packets have none.
            [0, rest @ ..] => Ok((Self::EMPTY, rest)),
            _ => Self::split_some(carrier, input),
        }
    }

    fn split_some(carrier: Carrier, input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let truncated = || Error::Truncated { packet: carrier.packet() };
        let (input, length) = variable_byte_integer("property length", input)?.ok_or_else(truncated)?;
        let (bytes, rest) = input.split_at_checked(length).ok_or_else(truncated)?;
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
            let truncated = || Error::Truncated { packet: carrier.packet() };
            let (input, id) = variable_byte_integer("property identifier", rest)?.ok_or_else(truncated)?;
            let unknown = || Error::UnknownProperty { carrier, id };
            let id = u8::try_from(id).map_err(|_| unknown())?;
            let Rule { name, carriers, many } = rule(id).ok_or_else(unknown)?;
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
        put_remaining_length(out, self.0.len());
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

/// Hides authentication data: they may be a password.
impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for property in self.iter() {
            match property {
                Property::AuthenticationData(_) => list.entry(&format_args!("AuthenticationData(hidden)")),
                property => list.entry(&property),
            };
        }
        list.finish()
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

    /// Those that [`Properties::forwarded`] once gave, from their bytes; none if they are broken.
    pub fn of_forwarded(bytes: &[u8]) -> Option<Self> {
        let properties = Properties(bytes);
        properties.check(Carrier::Packet(PacketType::Publish)).ok()?;
        Some(properties.into())
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

    /// Appends the property length and the properties but for those that are forwarded, which must follow.
    pub(super) fn put_own(&self, out: &mut Vec<u8>) {
        put_remaining_length(out, self.values_len());
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
    }
}
