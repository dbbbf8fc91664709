//! Which fields each packet has: the data behind the parser's messages and `scenarios/README.md`.

use super::Kind;
use crate::Version;

/// What may be written behind a field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number from 0 to this.
    Number(u64),
    /// A string or binary data.
    Bytes,
    /// A string made unique by a level in front.
    Topic,
    /// A string made unique by a prefix.
    ClientId,
}

/// One field of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As written in scenarios.
    pub name: &'static str,
    /// What it holds.
    pub of: Type,
    /// Whether a `client` actor can send it.
    pub client: bool,
    /// The first version of MQTT that has it.
    pub since: Version,
}

impl Field {
    /// Whether packets of `version` have the field.
    pub fn is_in(&self, version: Version) -> bool {
        self.since <= version
    }
}

const BIT: Type = Type::Number(1);
const U8: Type = Type::Number(u8::MAX as u64);
const U16: Type = Type::Number(u16::MAX as u64);
const U32: Type = Type::Number(u32::MAX as u64);
/// The largest remaining length: four bytes of seven bits.
pub const MAX_LENGTH: u64 = 268_435_455;
const VARINT: Type = Type::Number(MAX_LENGTH);

/// A field that every version has and only a `raw` actor can send.
const fn raw(name: &'static str, of: Type) -> Field {
    Field { name, of, client: false, since: Version::V3_1_1 }
}

/// A field that every version has and a `client` actor can send too.
const fn any(name: &'static str, of: Type) -> Field {
    Field { name, of, client: true, since: Version::V3_1_1 }
}

/// A field of 5.0 that a `client` actor can send too.
const fn v5(name: &'static str, of: Type) -> Field {
    Field { name, of, client: true, since: Version::V5_0 }
}

/// A field of 5.0 that only a `raw` actor can send.
const fn raw_v5(name: &'static str, of: Type) -> Field {
    Field { name, of, client: false, since: Version::V5_0 }
}

/// What every packet sent by a `raw` actor has beside its own fields: how the frame is bent.
pub const SHAPE: &[Field] = &[
    raw("flags", Type::Number(15)),
    raw("length", VARINT),
    raw("length_bytes", Type::Bytes),
    raw("tail", Type::Bytes),
    raw("cut", VARINT),
    raw("chunk", VARINT),
    raw("fragment", VARINT),
    raw("text", Type::Number(1)),
    raw_v5("property", Type::Bytes),
    raw_v5("property_length", VARINT),
    raw_v5("property_length_bytes", Type::Bytes),
];

/// The packet's own fields.
pub fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Connect => CONNECT,
        Kind::Connack => CONNACK,
        Kind::Publish => PUBLISH,
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => ACK,
        Kind::Subscribe => SUBSCRIBE,
        Kind::Suback => SUBACK,
        Kind::Unsubscribe => UNSUBSCRIBE,
        Kind::Unsuback => ACK,
        Kind::Pingreq | Kind::Pingresp => &[],
        Kind::Disconnect => DISCONNECT,
        Kind::Auth => AUTH,
    }
}

/// The packets a `client` actor can be told to send.
pub fn client_sends(kind: Kind) -> bool {
    matches!(kind, Kind::Connect | Kind::Publish | Kind::Subscribe | Kind::Unsubscribe | Kind::Disconnect)
}

const CONNECT: &[Field] = &[
    raw("protocol", Type::Bytes),
    raw("level", U8),
    any("clean", BIT),
    any("keep_alive", U16),
    any("client_id", Type::ClientId),
    any("will_topic", Type::Topic),
    any("will_payload", Type::Bytes),
    any("will_qos", Type::Number(3)),
    any("will_retain", BIT),
    any("username", Type::Bytes),
    any("password", Type::Bytes),
    raw("will_flag", BIT),
    raw("username_flag", BIT),
    raw("password_flag", BIT),
    raw("reserved", BIT),
    v5("session_expiry", U32),
    v5("receive_maximum", U16),
    v5("maximum_packet_size", U32),
    v5("topic_alias_maximum", U16),
    v5("request_response_information", U8),
    v5("request_problem_information", U8),
    v5("user_property", Type::Bytes),
    v5("authentication_method", Type::Bytes),
    v5("authentication_data", Type::Bytes),
    v5("will_delay", U32),
    v5("will_payload_format", U8),
    v5("will_message_expiry", U32),
    v5("will_content_type", Type::Bytes),
    v5("will_response_topic", Type::Topic),
    v5("will_correlation_data", Type::Bytes),
    v5("will_user_property", Type::Bytes),
    raw_v5("will_property", Type::Bytes),
    raw_v5("will_property_length", VARINT),
    raw_v5("will_property_length_bytes", Type::Bytes),
];

const CONNACK: &[Field] = &[
    raw("session_present", BIT),
    raw("reason", U8),
    v5("session_expiry", U32),
    v5("receive_maximum", U16),
    v5("maximum_qos", U8),
    v5("retain_available", U8),
    v5("maximum_packet_size", U32),
    v5("assigned_client_id", Type::ClientId),
    v5("topic_alias_maximum", U16),
    v5("reason_string", Type::Bytes),
    v5("user_property", Type::Bytes),
    v5("wildcard_available", U8),
    v5("subscription_id_available", U8),
    v5("shared_available", U8),
    v5("server_keep_alive", U16),
    v5("response_information", Type::Bytes),
    v5("server_reference", Type::Bytes),
    v5("authentication_method", Type::Bytes),
    v5("authentication_data", Type::Bytes),
];

const PUBLISH: &[Field] = &[
    raw("dup", BIT),
    any("qos", Type::Number(3)),
    any("retain", BIT),
    any("topic", Type::Topic),
    raw("id", U16),
    any("payload", Type::Bytes),
    v5("payload_format", U8),
    v5("message_expiry", U32),
    v5("topic_alias", U16),
    v5("response_topic", Type::Topic),
    v5("correlation_data", Type::Bytes),
    v5("user_property", Type::Bytes),
    raw_v5("subscription_id", VARINT),
    v5("content_type", Type::Bytes),
];

const ACK: &[Field] =
    &[raw("id", U16), v5("reason", U8), v5("reason_string", Type::Bytes), v5("user_property", Type::Bytes)];

const SUBSCRIBE: &[Field] = &[
    raw("id", U16),
    any("topic", Type::Topic),
    any("qos", Type::Number(3)),
    raw("options", U8),
    v5("no_local", BIT),
    v5("retain_as_published", BIT),
    v5("retain_handling", Type::Number(3)),
    v5("subscription_id", VARINT),
    v5("user_property", Type::Bytes),
];

const SUBACK: &[Field] =
    &[raw("id", U16), raw("reason", U8), v5("reason_string", Type::Bytes), v5("user_property", Type::Bytes)];

const UNSUBSCRIBE: &[Field] = &[raw("id", U16), any("topic", Type::Topic), v5("user_property", Type::Bytes)];

const DISCONNECT: &[Field] = &[
    raw_v5("reason", U8),
    raw_v5("session_expiry", U32),
    raw_v5("reason_string", Type::Bytes),
    raw_v5("user_property", Type::Bytes),
    raw_v5("server_reference", Type::Bytes),
];

const AUTH: &[Field] = &[
    v5("reason", U8),
    v5("authentication_method", Type::Bytes),
    v5("authentication_data", Type::Bytes),
    v5("reason_string", Type::Bytes),
    v5("user_property", Type::Bytes),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference page and the tables say the same.
    #[test]
    fn every_field_is_on_the_reference_page() {
        let page = include_str!("../../../scenarios/README.md");
        for kind in Kind::ALL {
            assert!(page.contains(kind.name()), "{kind} is missing");
            for field in fields(kind).iter().chain(SHAPE) {
                let plain = field.name.strip_prefix("will_").filter(|_| field.since == Version::V5_0);
                let known = |name: &str| page.contains(&format!("`{name}`"));
                assert!(known(field.name) || plain.is_some_and(known), "{kind} {} is missing", field.name);
            }
        }
    }
}
