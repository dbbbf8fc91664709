//! The properties of 5.0: their numbers and forms, and lists of them as bytes. Which packet may have which, [`table`] says.

use super::decode::{Read, binary, number8, pair, read, text, varint as read_varint};
use super::encode::{string, u16, varint};
use super::{Kind, Packet, Side, Value, table};

/// How the value of a property is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// 0 or 1.
    Bit,
    /// Two bytes.
    U16,
    /// Two bytes that are not all 0.
    Positive16,
    /// Four bytes.
    U32,
    /// Four bytes that are not all 0.
    Positive32,
    /// A variable byte integer that is not 0.
    Varint,
    /// UTF-8.
    Text,
    /// UTF-8 without wildcards.
    TopicName,
    /// Any bytes.
    Binary,
    /// A name and a value, in a field as `name=value`.
    Pair,
}

/// Number, name of the field, form. In a will the name has `will_` before it.
const PROPERTIES: [(u8, &str, Form); 27] = [
    (0x01, "payload_format", Form::Bit),
    (0x02, "message_expiry", Form::U32),
    (0x03, "content_type", Form::Text),
    (0x08, "response_topic", Form::TopicName),
    (0x09, "correlation_data", Form::Binary),
    (0x0b, "subscription_id", Form::Varint),
    (0x11, "session_expiry", Form::U32),
    (0x12, "assigned_client_id", Form::Text),
    (0x13, "server_keep_alive", Form::U16),
    (0x15, "authentication_method", Form::Text),
    (0x16, "authentication_data", Form::Binary),
    (0x17, "request_problem_information", Form::Bit),
    (0x18, "will_delay", Form::U32),
    (0x19, "request_response_information", Form::Bit),
    (0x1a, "response_information", Form::Text),
    (0x1c, "server_reference", Form::Text),
    (0x1f, "reason_string", Form::Text),
    (0x21, "receive_maximum", Form::Positive16),
    (0x22, "topic_alias_maximum", Form::U16),
    (0x23, "topic_alias", Form::Positive16),
    (0x24, "maximum_qos", Form::Bit),
    (0x25, "retain_available", Form::Bit),
    (0x26, "user_property", Form::Pair),
    (0x27, "maximum_packet_size", Form::Positive32),
    (0x28, "wildcard_available", Form::Bit),
    (0x29, "subscription_id_available", Form::Bit),
    (0x2a, "shared_available", Form::Bit),
];

/// Whose properties a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The packet's.
    Packet,
    /// The will's, in CONNECT.
    Will,
}

impl Place {
    /// The fields that bend the list: bytes added to it, its length, the bytes of its length.
    fn shape(self) -> [&'static str; 3] {
        match self {
            Place::Packet => ["property", "property_length", "property_length_bytes"],
            Place::Will => ["will_property", "will_property_length", "will_property_length_bytes"],
        }
    }

    /// The name that a field of this place has among [`PROPERTIES`].
    fn plain(self, field: &str) -> Option<&str> {
        match (self, field) {
            (Place::Packet, "will_delay") => None,
            (Place::Packet, _) | (Place::Will, "will_delay") => Some(field),
            (Place::Will, _) => field.strip_prefix("will_"),
        }
    }
}

/// Whether a list is written on purpose, be it empty.
pub(super) fn is_written(packet: &Packet, place: Place) -> bool {
    packet.fields.iter().any(|(name, _)| place.shape().contains(name) || form(name, place).is_some())
}

/// Number and form of the property in this field.
fn form(field: &str, place: Place) -> Option<(u8, Form)> {
    let plain = place.plain(field)?;
    PROPERTIES.iter().find(|(_, name, _)| *name == plain).map(|(number, _, form)| (*number, *form))
}

/// Adds the list with its length: each property as often as it is written, in that order.
pub(super) fn encode(packet: &Packet, place: Place, body: &mut Vec<u8>) {
    let [bytes, length, length_bytes] = place.shape();
    let mut list = Vec::new();
    for (name, value) in &packet.fields {
        match (value, form(name, place)) {
            (Value::Bytes(raw), _) if *name == bytes => list.extend(raw),
            (value, Some((number, form))) => {
                list.push(number);
                write(value, form, &mut list);
            }
            _ => {}
        }
    }
    match (packet.bytes(length_bytes), packet.number(length)) {
        (Some(bytes), _) => body.extend(bytes),
        (None, Some(length)) => varint(length, body),
        (None, None) => varint(list.len() as u64, body),
    }
    body.append(&mut list);
}

fn write(value: &Value, form: Form, list: &mut Vec<u8>) {
    match (value, form) {
        (Value::Number(number), Form::Bit) => list.push(*number as u8),
        (Value::Number(number), Form::U16 | Form::Positive16) => u16(*number, list),
        (Value::Number(number), Form::Varint) => varint(*number, list),
        (Value::Number(number), _) => list.extend((*number as u32).to_be_bytes()),
        (Value::Bytes(bytes), Form::Pair) => {
            let at = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
            string(bytes.get(..at).unwrap_or_default(), list);
            string(bytes.get(at + 1..).unwrap_or_default(), list);
        }
        (Value::Bytes(bytes), _) => string(bytes, list),
    }
}

/// Reads the list of this packet, which `side` has sent.
pub(super) fn decode(kind: Kind, place: Place, side: Side, body: &[u8]) -> Read<'_, Packet> {
    let (body, length) = read_varint("length of the properties", body)?;
    let (rest, mut list) = read("properties", body, nom::bytes::complete::take(length))?;
    let mut packet = Packet::new(kind);
    while !list.is_empty() {
        let (behind, number) = read_varint("number of a property", list)?;
        let known = PROPERTIES.iter().find(|(known, ..)| u64::from(*known) == number);
        let (_, plain, form) = known.ok_or_else(|| format!("property {number:#04x}, which there is not"))?;
        let field = table::fields(kind).iter().find(|field| place.plain(field.name) == Some(plain));
        let name = field.map(|field| field.name).filter(|name| side.may_send(kind, name));
        let name = name.ok_or_else(|| format!("{plain}, which it must not have"))?;
        // [MQTT-3.3.4-4]
        let repeats = *form == Form::Pair || (kind, *plain) == (Kind::Publish, "subscription_id");
        if !repeats && packet.all(name).next().is_some() {
            return Err(format!("{name} twice"));
        }
        let (behind, value) = value(name, *form, behind)?;
        packet.fields.push((name, value));
        list = behind;
    }
    if packet.bytes("authentication_data").is_some() && packet.bytes("authentication_method").is_none() {
        return Err("authentication_data without authentication_method".into());
    }
    Ok((rest, packet))
}

/// The value of one property, within its range.
fn value<'a>(name: &str, form: Form, body: &'a [u8]) -> Read<'a, Value> {
    use nom::Parser;
    use nom::number::complete::{be_u16, be_u32};
    let number = |(rest, number)| (rest, Value::Number(number));
    let (rest, found) = match form {
        Form::Bit => number(number8(name, body)?),
        Form::U16 | Form::Positive16 => number(read(name, body, be_u16.map(u64::from))?),
        Form::U32 | Form::Positive32 => number(read(name, body, be_u32.map(u64::from))?),
        Form::Varint => number(read_varint(name, body)?),
        Form::Binary => binary(name, body).map(|(rest, bytes)| (rest, Value::Bytes(bytes)))?,
        // [MQTT-1.5.7-1]
        Form::Pair => pair(name, body).map(|(rest, bytes)| (rest, Value::Bytes(bytes)))?,
        Form::Text | Form::TopicName => text(name, body).map(|(rest, bytes)| (rest, Value::Bytes(bytes)))?,
    };
    match (&found, form) {
        (Value::Number(2..), Form::Bit) => Err(format!("{name} {found}, which is neither 0 nor 1")),
        // [MQTT-3.3.2-8]
        (Value::Number(0), Form::Positive16 | Form::Positive32 | Form::Varint) => Err(format!("{name} 0")),
        // [MQTT-3.3.2-14]
        (Value::Bytes(topic), Form::TopicName) if topic.iter().any(|byte| matches!(byte, b'+' | b'#')) => {
            Err(format!("a wildcard in {name}"))
        }
        _ => Ok((rest, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field of 5.0 that is a property of the standard is in the table of numbers, and the reverse.
    #[test]
    fn every_property_is_a_field_of_some_packet() {
        let places = [Place::Packet, Place::Will];
        for (number, name, _) in PROPERTIES {
            let has = |kind: Kind| {
                let mut fields = table::fields(kind).iter();
                fields.any(|field| places.iter().any(|place| place.plain(field.name) == Some(name)))
            };
            assert!(Kind::ALL.into_iter().any(has), "{number:#04x} {name}");
        }
        let numbers: Vec<u8> = PROPERTIES.iter().map(|(number, ..)| *number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
    }
}
