//! What a peer did wrong, and the statement it broke.

use super::{Carrier, PacketType, Reason};
use crate::topic::{FilterError, NameError, ShareError};

/// A packet that breaks the standard. The connection it came on must end [MQTT-4.8.0-1; 5.0: MQTT-4.13.1-1].
///
/// Where 3.1.1 and 5.0 number a statement differently, both numbers stand there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    // The fixed header
    #[error("packet type {0}, which is reserved (section 2.2.1)")]
    ReservedPacketType(u8),
    #[error(
        "{packet} with fixed header flags {flags:#06b}, must be {:#06b} [{}]",
        .packet.flags(),
        .packet.flags_statement()
    )]
    Flags { packet: PacketType, flags: u8 },
    #[error("remaining length of more than four bytes (section 2.2.3)")]
    RemainingLength,
    #[error("{field} of more than four bytes (section 1.5.5)")]
    VariableByteInteger { field: &'static str },
    #[error("{field} in more bytes than it needs [MQTT-1.5.5-1]")]
    NotMinimal { field: &'static str },
    #[error("packet of {length} bytes, the limit is {limit}")]
    PacketTooLarge { length: usize, limit: usize },

    // Any packet
    #[error("{packet} ends inside a field (section 2.2.3)")]
    Truncated { packet: PacketType },
    #[error("{packet} with {count} bytes behind its last field (section 2.2.3)")]
    TrailingBytes { packet: PacketType, count: usize },
    #[error("{packet} with packet identifier 0 [MQTT-2.3.1-1; 5.0: MQTT-2.2.1-3]")]
    ZeroPacketId { packet: PacketType },
    #[error("{field} that is not UTF-8 [MQTT-1.5.3-1; 5.0: MQTT-1.5.4-1]")]
    Utf8 { field: &'static str },
    #[error("{field} with U+0000 [MQTT-1.5.3-2; 5.0: MQTT-1.5.4-2]")]
    Null { field: &'static str },
    #[error("{packet}: {error}")]
    Name { packet: PacketType, error: NameError },
    #[error("{packet}: {error}")]
    Filter { packet: PacketType, error: FilterError },
    #[error(
        "{packet} without a topic filter [{}]",
        if *.packet == PacketType::Subscribe { "MQTT-3.8.3-3; 5.0: MQTT-3.8.3-2" } else { "MQTT-3.10.3-2" }
    )]
    NoFilters { packet: PacketType },

    #[error("{packet} with reason code {code:#04x}, which it does not have (section 2.4)")]
    ReasonCode { packet: PacketType, code: u8 },

    // Properties
    #[error("{carrier} with property {id:#04x}, which does not exist (section 2.2.2.2)")]
    UnknownProperty { carrier: Carrier, id: usize },
    #[error("{carrier} with the property {name}, which it does not have (section 2.2.2.2)")]
    MisplacedProperty { carrier: Carrier, name: &'static str },
    #[error("{carrier} with the property {name} more than once (section 2.2.2.2)")]
    RepeatedProperty { carrier: Carrier, name: &'static str },
    #[error("{carrier} with the property {name} running past the property length (section 2.2.2.1)")]
    TruncatedProperty { carrier: Carrier, name: &'static str },
    #[error("{name} {value}, which is out of its range (section 2.2.2.2)")]
    PropertyValue { name: &'static str, value: u32 },
    #[error("response topic: {0}")]
    ResponseTopic(NameError),
    #[error("{carrier} with authentication data but no authentication method (section 3.1.2.11.10)")]
    AuthenticationDataAlone { carrier: Carrier },

    // CONNECT
    #[error("CONNECT with neither MQTT nor MQIsdp as protocol name [MQTT-3.1.2-1]")]
    ProtocolName,
    #[error("CONNECT with unsupported protocol level {0} [MQTT-3.1.2-2]")]
    ProtocolLevel(u8),
    #[error("CONNECT with the reserved connect flag set [MQTT-3.1.2-3]")]
    ReservedConnectFlag,
    #[error("CONNECT with will QoS {0} but no will [MQTT-3.1.2-13; 5.0: MQTT-3.1.2-11]")]
    WillQosWithoutWill(u8),
    #[error("CONNECT with will QoS 3 [MQTT-3.1.2-14; 5.0: MQTT-3.1.2-12]")]
    WillQos3,
    #[error("CONNECT with will retain but no will [MQTT-3.1.2-15; 5.0: MQTT-3.1.2-13]")]
    WillRetainWithoutWill,
    #[error("CONNECT with a password but no user name [MQTT-3.1.2-22]")]
    PasswordWithoutUserName,
    #[error("CONNECT with an empty client identifier and clean session 0 [MQTT-3.1.3-8]")]
    EmptyClientId,
    #[error("CONNECT with an empty client identifier, which MQTT 3.1 does not have")]
    EmptyClientIdV31,

    // CONNACK
    #[error(
        "CONNACK with acknowledge flags {0:#010b}, of which bits 7 to 1 are 0 (section 3.2.2.1) [5.0: MQTT-3.2.2-1]"
    )]
    ConnackFlags(u8),
    #[error("CONNACK with return code {0}, which is reserved (section 3.2.2.3)")]
    ReturnCode(u8),
    #[error("CONNACK that refuses, yet with session present 1 [MQTT-3.2.2-4; 5.0: MQTT-3.2.2-6]")]
    SessionPresentInRefusal,

    // PUBLISH
    #[error("PUBLISH with QoS 3 [MQTT-3.3.1-4]")]
    PublishQos3,
    #[error("PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2]")]
    DupAtQos0,
    #[error("PUBLISH with neither topic name nor topic alias (section 3.3.2.1)")]
    NoTopic,

    // SUBSCRIBE, SUBACK
    #[error("SUBSCRIBE with requested QoS byte {0:#04x} [MQTT-3.8.3-4; 5.0: section 3.8.3.1]")]
    RequestedQos(u8),
    #[error("SUBSCRIBE with reserved bits in the subscription options {0:#04x} [MQTT-3.8.3-5]")]
    ReservedSubscriptionOptions(u8),
    #[error("SUBSCRIBE with retain handling 3 (section 3.8.3.1)")]
    RetainHandling3,
    #[error("SUBSCRIBE with No Local for a shared subscription [MQTT-3.8.3-4]")]
    NoLocalShared,
    #[error("{packet}: {error}")]
    Share { packet: PacketType, error: ShareError },
    #[error("SUBACK without a return code [MQTT-3.8.4-5; 5.0: MQTT-3.8.4-6]")]
    NoSubackCodes,
    #[error("SUBACK with return code {0:#04x} [MQTT-3.9.3-2]")]
    SubackCode(u8),
    #[error("UNSUBACK without a reason code [MQTT-3.11.3-1]")]
    NoUnsubackCodes,

    // AUTH
    #[error("AUTH without an authentication method (section 3.15.2.2.2)")]
    AuthWithoutMethod,
}

impl Error {
    /// The code of the CONNACK that 3.1 and 3.1.1 have for it before the connection ends; mostly none [MQTT-3.1.4-1].
    /// In 5.0 there is [`Error::reason`] for each.
    pub fn refusal(&self) -> Option<Reason> {
        match self {
            Error::ProtocolLevel(_) => Some(Reason::UnsupportedProtocolVersion),
            Error::EmptyClientId | Error::EmptyClientIdV31 => Some(Reason::ClientIdentifierNotValid),
            _ => None,
        }
    }

    /// The reason code that 5.0 has for it: in CONNACK if it is in the first packet, else in DISCONNECT, which has
    /// neither 0x84 nor 0x85; there a CONNECT is a protocol error to begin with [MQTT-3.1.0-2].
    ///
    /// An ill-formed name or filter is a malformed packet: 0x90 and 0x8F are for those that are "correctly formed, but
    /// not accepted" (§3.14.2.1).
    pub fn reason(&self) -> Reason {
        match self {
            Error::ProtocolName | Error::ProtocolLevel(_) => Reason::UnsupportedProtocolVersion,
            Error::EmptyClientId | Error::EmptyClientIdV31 => Reason::ClientIdentifierNotValid,
            Error::PacketTooLarge { .. } => Reason::PacketTooLarge,
            // Too high is what the standard has the code for (§3.14.2.1); 0 is no better.
            Error::PropertyValue { name: "topic alias", .. } => Reason::TopicAliasInvalid,
            Error::ZeroPacketId { .. }
            | Error::ReasonCode { .. }
            | Error::RepeatedProperty { .. }
            | Error::PropertyValue { .. }
            | Error::AuthenticationDataAlone { .. }
            | Error::NoFilters { .. }
            | Error::NoTopic
            | Error::RequestedQos(_)
            | Error::RetainHandling3
            | Error::NoLocalShared
            | Error::SessionPresentInRefusal
            | Error::NoSubackCodes
            | Error::NoUnsubackCodes
            | Error::AuthWithoutMethod => Reason::ProtocolError,
            _ => Reason::MalformedPacket,
        }
    }
}

/// Why a packet cannot be encoded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field is longer than its two-byte length can say.
    #[error("{field} of {length} bytes, at most 65535 fit")]
    FieldTooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// What follows the fixed header is longer than the remaining length can say.
    #[error("{packet} of {remaining_length} bytes behind its fixed header, at most 268435455 fit")]
    PacketTooLarge {
        /// The packet.
        packet: PacketType,
        /// Its remaining length in bytes.
        remaining_length: usize,
    },
    /// The receiver would have to close the connection.
    #[error("forbidden: {0}")]
    Forbidden(#[from] Error),
}
