//! The table of properties (§2.2.2.2): what the standard says of each is one row of it.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::fixed_header::PacketType;
use super::fixed_header::sets::*;
use super::format::*;
use super::primitive::{Fault, Parsed};
use super::{EncodeError, QoS};
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

            /// The values behind the identifier `id`.
            pub(super) fn take(id: u8, input: &'a [u8]) -> Parsed<'a, Property<'a>> {
                match id {
                    $($id => {
                        $(let (input, $field) = $format::take($name, input)?;)+
                        Ok((input, Property::$property($($field),+)))
                    })+
                    // A table of rules has told the others apart before.
                    _ => Err(nom::Err::Error(Fault::Truncated)),
                }
            }

            pub(super) fn put_values(self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Property::$property($($field),+) => {
                        $($format::put($name, out, $field)?;)+
                    })+
                }
                Ok(())
            }
        }

        /// The rules for an identifier.
        pub(super) fn rule(id: u8) -> Option<Rule> {
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

/// What the table says of a property.
pub(super) struct Rule {
    pub(super) name: &'static str,
    /// The packets that may carry it, and those that may carry it often.
    pub(super) carriers: u16,
    pub(super) many: u16,
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
    pub(super) fn bit(self) -> u16 {
        match self {
            Carrier::Packet(packet) => packet.bit(),
            Carrier::Will => WILL,
        }
    }

    pub(super) fn packet(self) -> PacketType {
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
