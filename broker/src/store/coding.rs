//! Records as bytes: a tag, then integers of variable length (as in §1.5.5, of up to 64 bits) and what they count.

use std::num::{NonZeroU16, NonZeroU32};
use std::str;

use super::record::{
    BodyNumber, MannerRecord, MessageRecord, Record, SessionRecord, SubscriptionRecord, WillRecord,
};
use crate::codec::{PacketId, QoS};
use crate::topic::{Filter, FilterError, Name, NameError};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end too early.
    #[error("the record ends too early")]
    Truncated,
    /// No record begins like this.
    #[error("there is no kind of record {0}")]
    Kind(u8),
    /// An integer does not fit where it stands.
    #[error("an integer is too big or, where it must not be, 0")]
    Integer,
    /// Flags that are none.
    #[error("the flags {0:#010b} mean nothing")]
    Flags(u8),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A topic name is none.
    #[error("a topic name is none: {0}")]
    Name(#[from] NameError),
    /// A topic filter is none.
    #[error("a topic filter is none: {0}")]
    Filter(#[from] FilterError),
}

mod kind {
    pub(super) const SESSION: u8 = 1;
    pub(super) const SESSION_END: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
    pub(super) const UNSUBSCRIBE: u8 = 4;
    pub(super) const BODY: u8 = 5;
    pub(super) const ENQUEUE: u8 = 6;
    pub(super) const IN_FLIGHT: u8 = 7;
    pub(super) const DEQUEUE: u8 = 8;
    pub(super) const RELEASED: u8 = 9;
    pub(super) const COMPLETED: u8 = 10;
    pub(super) const RECEIVED: u8 = 11;
    pub(super) const RECEIVED_END: u8 = 12;
    pub(super) const RETAIN: u8 = 13;
    pub(super) const UNRETAIN: u8 = 14;
    pub(super) const RESET: u8 = 15;
}

/// More were never given.
const MAX_NUMBER: u64 = u64::MAX >> 1;

/// The two lowest bits of all flags.
const QOS: u8 = 0b11;

mod message {
    pub(super) const PROPERTIES: u8 = 1 << 2;
    pub(super) const EXPIRY: u8 = 1 << 3;
    pub(super) const ALL: u8 = super::QOS | PROPERTIES | EXPIRY;
}

mod manner {
    pub(super) const RETAIN: u8 = 1 << 2;
    pub(super) const REPLAYED: u8 = 1 << 3;
    pub(super) const SUBSCRIPTION_IDS: u8 = 1 << 4;
    pub(super) const SHARE: u8 = 1 << 5;
    pub(super) const PACKET_ID: u8 = 1 << 6;
    pub(super) const ALL: u8 = super::QOS | RETAIN | REPLAYED | SUBSCRIPTION_IDS | SHARE | PACKET_ID;
}

mod subscription {
    pub(super) const NO_LOCAL: u8 = 1 << 2;
    pub(super) const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
    pub(super) const IDENTIFIER: u8 = 1 << 4;
    pub(super) const ALL: u8 = super::QOS | NO_LOCAL | RETAIN_AS_PUBLISHED | IDENTIFIER;
}

mod session {
    pub(super) const ABSENT: u8 = 1 << 2;
    pub(super) const WILL: u8 = 1 << 3;
    pub(super) const WILL_RETAIN: u8 = 1 << 4;
    pub(super) const ALL: u8 = ABSENT | WILL | WILL_RETAIN;
}

impl<'r> Record<'r> {
    /// Appends the record to `out`, as [`Record::decode`] reads it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Session(ref record) => record.encode(out),
            Self::SessionEnd { session } => put(out, kind::SESSION_END, &[session]),
            Self::Subscribe { session, filter, subscription } => {
                put(out, kind::SUBSCRIBE, &[session]);
                subscription.encode(out);
                put_bytes(out, filter.as_bytes());
            }
            Self::Unsubscribe { session, filter } => {
                put(out, kind::UNSUBSCRIBE, &[session]);
                put_bytes(out, filter.as_bytes());
            }
            Self::Body { body, ref message } => {
                put(out, kind::BODY, &[body]);
                message.encode(out);
            }
            Self::Enqueue { session, position, body, ref manner, packet_id } => {
                put(out, kind::ENQUEUE, &[session, position, body]);
                manner.encode(packet_id, out);
            }
            Self::InFlight { session, position, packet_id } => {
                put(out, kind::IN_FLIGHT, &[session, position]);
                put_packet_id(out, packet_id);
            }
            Self::Dequeue { session, position } => put(out, kind::DEQUEUE, &[session, position]),
            Self::Released { session, position, packet_id } => {
                put(out, kind::RELEASED, &[session, position]);
                put_packet_id(out, packet_id);
            }
            Self::Completed { session, packet_id } => {
                put(out, kind::COMPLETED, &[session]);
                put_packet_id(out, packet_id);
            }
            Self::Received { session, packet_id } => {
                put(out, kind::RECEIVED, &[session]);
                put_packet_id(out, packet_id);
            }
            Self::ReceivedEnd { session, packet_id } => {
                put(out, kind::RECEIVED_END, &[session]);
                put_packet_id(out, packet_id);
            }
            Self::Retain { body } => put(out, kind::RETAIN, &[body]),
            Self::Unretain { body } => put(out, kind::UNRETAIN, &[body]),
            Self::Reset { session, next_position } => put(out, kind::RESET, &[session, next_position]),
        }
    }

    /// The record that `rest` begins with, which is taken off. `ids` is where its subscription identifiers go.
    ///
    /// # Errors
    ///
    /// It does not begin with one. What `rest` is then means nothing.
    pub(super) fn decode<'b: 'r>(
        rest: &mut &'b [u8],
        ids: &'r mut Vec<NonZeroU32>,
    ) -> Result<Self, RecordError> {
        let kind = take_byte(rest)?;
        // Every kind has a number first, and most of them that of a session.
        let session = take_number(rest)?;
        let body = session;
        Ok(match kind {
            kind::SESSION => Self::Session(SessionRecord::decode(session, rest)?),
            kind::SESSION_END => Self::SessionEnd { session },
            kind::SUBSCRIBE => {
                let subscription = SubscriptionRecord::decode(rest)?;
                Self::Subscribe { session, filter: take_filter(rest)?, subscription }
            }
            kind::UNSUBSCRIBE => Self::Unsubscribe { session, filter: take_filter(rest)? },
            kind::BODY => Self::Body { body, message: MessageRecord::decode(rest)? },
            kind::ENQUEUE => {
                let (position, body) = (take_number(rest)?, take_number(rest)?);
                let (manner, packet_id) = MannerRecord::decode(rest, ids)?;
                Self::Enqueue { session, position, body, manner, packet_id }
            }
            kind::IN_FLIGHT => {
                Self::InFlight { session, position: take_number(rest)?, packet_id: take_packet_id(rest)? }
            }
            kind::DEQUEUE => Self::Dequeue { session, position: take_number(rest)? },
            kind::RELEASED => {
                Self::Released { session, position: take_number(rest)?, packet_id: take_packet_id(rest)? }
            }
            kind::COMPLETED => Self::Completed { session, packet_id: take_packet_id(rest)? },
            kind::RECEIVED => Self::Received { session, packet_id: take_packet_id(rest)? },
            kind::RECEIVED_END => Self::ReceivedEnd { session, packet_id: take_packet_id(rest)? },
            kind::RETAIN => Self::Retain { body },
            kind::UNRETAIN => Self::Unretain { body },
            kind::RESET => Self::Reset { session, next_position: take_number(rest)? },
            unknown => return Err(RecordError::Kind(unknown)),
        })
    }
}

/// Passes over the [`Record::Body`] that `rest` begins with, if it does: its number, and the bytes of topic and payload.
/// What they are is looked at when somebody wants it.
///
/// # Errors
///
/// It is cut short, or what a number says cannot be.
pub(super) fn skim_body(rest: &mut &[u8]) -> Result<Option<(BodyNumber, usize)>, RecordError> {
    if rest.first() != Some(&kind::BODY) {
        return Ok(None);
    }
    take_byte(rest)?;
    let body = take_number(rest)?;
    let flags = take_flags(rest, message::ALL)?;
    let bytes = take_bytes(rest)?.len() + take_bytes(rest)?.len();
    if flags & message::PROPERTIES != 0 {
        take_bytes(rest)?;
    }
    if flags & message::EXPIRY != 0 {
        take_u32(rest)?;
        take_integer(rest)?;
    }
    Ok(Some((body, bytes)))
}

impl<'r> SessionRecord<'r> {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, kind::SESSION, &[self.session]);
        let will = match &self.will {
            None => 0,
            Some(will) => session::WILL | if will.retain { session::WILL_RETAIN } else { 0 },
        };
        out.push(will | if self.absent_since.is_some() { session::ABSENT } else { 0 });
        put_bytes(out, self.client_id.as_bytes());
        put_integer(out, self.expiry_seconds.into());
        if let Some(since) = self.absent_since {
            put_integer(out, since);
        }
        if let Some(will) = &self.will {
            put_integer(out, will.delay_seconds.into());
            will.message.encode(out);
        }
    }

    fn decode(session: u64, rest: &mut &'r [u8]) -> Result<Self, RecordError> {
        let flags = take_flags(rest, session::ALL)?;
        let client_id = take_string(rest)?;
        let expiry_seconds = take_u32(rest)?;
        let absent_since = if flags & session::ABSENT != 0 { Some(take_integer(rest)?) } else { None };
        let will = if flags & session::WILL != 0 {
            let delay_seconds = take_u32(rest)?;
            let retain = flags & session::WILL_RETAIN != 0;
            Some(WillRecord { message: MessageRecord::decode(rest)?, retain, delay_seconds })
        } else {
            None
        };
        Ok(Self { session, client_id, expiry_seconds, absent_since, will })
    }
}

impl<'r> MessageRecord<'r> {
    fn encode(&self, out: &mut Vec<u8>) {
        let properties = if self.properties.is_empty() { 0 } else { message::PROPERTIES };
        let expiry = if self.expiry.is_some() { message::EXPIRY } else { 0 };
        out.push(self.qos as u8 | properties | expiry);
        put_bytes(out, self.topic.as_bytes());
        put_bytes(out, self.payload);
        if !self.properties.is_empty() {
            put_bytes(out, self.properties);
        }
        if let Some((seconds, published)) = self.expiry {
            put_integer(out, seconds.into());
            put_integer(out, published);
        }
    }

    fn decode(rest: &mut &'r [u8]) -> Result<Self, RecordError> {
        let flags = take_flags(rest, message::ALL)?;
        let topic = Name::new(take_string(rest)?)?.as_str();
        let payload = take_bytes(rest)?;
        let properties = if flags & message::PROPERTIES != 0 { take_bytes(rest)? } else { &[] };
        let expiry =
            if flags & message::EXPIRY != 0 { Some((take_u32(rest)?, take_integer(rest)?)) } else { None };
        Ok(Self { topic, payload, qos: qos(flags)?, properties, expiry })
    }
}

impl<'r> MannerRecord<'r> {
    fn encode(&self, packet_id: Option<PacketId>, out: &mut Vec<u8>) {
        let mut flags = self.qos as u8;
        for (is_set, flag) in [
            (self.retain, manner::RETAIN),
            (self.replayed, manner::REPLAYED),
            (!self.subscription_ids.is_empty(), manner::SUBSCRIPTION_IDS),
            (self.share.is_some(), manner::SHARE),
            (packet_id.is_some(), manner::PACKET_ID),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        out.push(flags);
        if let Some(packet_id) = packet_id {
            put_packet_id(out, packet_id);
        }
        if !self.subscription_ids.is_empty() {
            put_integer(out, self.subscription_ids.len() as u64);
            self.subscription_ids.iter().for_each(|id| put_integer(out, id.get().into()));
        }
        if let Some(share) = self.share {
            put_bytes(out, share.as_bytes());
        }
    }

    fn decode<'b: 'r>(
        rest: &mut &'b [u8],
        ids: &'r mut Vec<NonZeroU32>,
    ) -> Result<(Self, Option<PacketId>), RecordError> {
        let flags = take_flags(rest, manner::ALL)?;
        let packet_id = if flags & manner::PACKET_ID != 0 { Some(take_packet_id(rest)?) } else { None };
        ids.clear();
        if flags & manner::SUBSCRIPTION_IDS != 0 {
            for _ in 0..take_integer(rest)? {
                ids.push(NonZeroU32::new(take_u32(rest)?).ok_or(RecordError::Integer)?);
            }
        }
        let share = if flags & manner::SHARE != 0 { Some(take_filter(rest)?) } else { None };
        let manner = Self {
            qos: qos(flags)?,
            retain: flags & manner::RETAIN != 0,
            replayed: flags & manner::REPLAYED != 0,
            subscription_ids: ids,
            share,
        };
        Ok((manner, packet_id))
    }
}

impl SubscriptionRecord {
    fn encode(self, out: &mut Vec<u8>) {
        let mut flags = self.qos as u8;
        for (is_set, flag) in [
            (self.no_local, subscription::NO_LOCAL),
            (self.retain_as_published, subscription::RETAIN_AS_PUBLISHED),
            (self.identifier.is_some(), subscription::IDENTIFIER),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        out.push(flags);
        if let Some(identifier) = self.identifier {
            put_integer(out, identifier.get().into());
        }
    }

    fn decode(rest: &mut &[u8]) -> Result<Self, RecordError> {
        let flags = take_flags(rest, subscription::ALL)?;
        let identifier = if flags & subscription::IDENTIFIER != 0 {
            Some(NonZeroU32::new(take_u32(rest)?).ok_or(RecordError::Integer)?)
        } else {
            None
        };
        Ok(Self {
            qos: qos(flags)?,
            no_local: flags & subscription::NO_LOCAL != 0,
            retain_as_published: flags & subscription::RETAIN_AS_PUBLISHED != 0,
            identifier,
        })
    }
}

fn qos(flags: u8) -> Result<QoS, RecordError> {
    QoS::try_from(flags & QOS).map_err(|_| RecordError::Flags(flags))
}

fn put(out: &mut Vec<u8>, kind: u8, integers: &[u64]) {
    out.push(kind);
    integers.iter().for_each(|integer| put_integer(out, *integer));
}

fn put_integer(out: &mut Vec<u8>, mut integer: u64) {
    while integer > 0x7F {
        out.push((integer & 0x7F) as u8 | 0x80);
        integer >>= 7;
    }
    out.push((integer & 0x7F) as u8);
}

fn put_packet_id(out: &mut Vec<u8>, packet_id: PacketId) {
    out.extend_from_slice(&packet_id.get().to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_integer(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, RecordError> {
    let (byte, behind) = rest.split_first().ok_or(RecordError::Truncated)?;
    *rest = behind;
    Ok(*byte)
}

fn take_flags(rest: &mut &[u8], known: u8) -> Result<u8, RecordError> {
    match take_byte(rest)? {
        flags if flags & !known == 0 => Ok(flags),
        flags => Err(RecordError::Flags(flags)),
    }
}

fn take_integer(rest: &mut &[u8]) -> Result<u64, RecordError> {
    let mut integer = 0;
    let mut shift = 0;
    loop {
        let byte = take_byte(rest)?;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has one bit left.
        if shift == 63 && byte > 1 {
            return Err(RecordError::Integer);
        }
        integer |= bits << shift;
        if byte < 0x80 {
            return Ok(integer);
        }
        shift += 7;
    }
}

/// A number or position: one can always be added.
fn take_number(rest: &mut &[u8]) -> Result<u64, RecordError> {
    match take_integer(rest)? {
        number if number <= MAX_NUMBER => Ok(number),
        _ => Err(RecordError::Integer),
    }
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, RecordError> {
    u32::try_from(take_integer(rest)?).map_err(|_| RecordError::Integer)
}

fn take_packet_id(rest: &mut &[u8]) -> Result<PacketId, RecordError> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(RecordError::Truncated)?;
    *rest = behind;
    NonZeroU16::new(u16::from_le_bytes(*bytes)).ok_or(RecordError::Integer)
}

fn take_bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], RecordError> {
    let length = usize::try_from(take_integer(rest)?).map_err(|_| RecordError::Truncated)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
    *rest = behind;
    Ok(bytes)
}

fn take_string<'b>(rest: &mut &'b [u8]) -> Result<&'b str, RecordError> {
    str::from_utf8(take_bytes(rest)?).map_err(|_| RecordError::Utf8)
}

fn take_filter<'b>(rest: &mut &'b [u8]) -> Result<&'b str, RecordError> {
    Ok(Filter::new(take_string(rest)?)?.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    fn assert_comes_back(record: &Record<'_>) {
        let bytes = encoded(record);
        let mut rest = bytes.as_slice();
        assert_eq!(Record::decode(&mut rest, &mut Vec::new()).as_ref(), Ok(record));
        assert!(rest.is_empty());
        for end in 0..bytes.len() {
            let mut ids = Vec::new();
            let cut = Record::decode(&mut &bytes[..end], &mut ids);
            assert!(cut.is_err(), "{record:?} cut to {end} bytes: {cut:?}");
        }
    }

    fn qos() -> impl Strategy<Value = QoS> {
        prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
    }

    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..most)
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..300_u64, 0..=MAX_NUMBER]
    }

    type Message = (String, Vec<u8>, QoS, Vec<u8>, Option<(u32, u64)>);

    fn message() -> impl Strategy<Value = Message> {
        ("[a-zé/]{1,30}", bytes(300), qos(), bytes(9), any::<Option<(u32, u64)>>())
    }

    fn message_of(message: &Message) -> MessageRecord<'_> {
        let (topic, payload, qos, properties, expiry) = message;
        MessageRecord { topic, payload, qos: *qos, properties, expiry: *expiry }
    }

    proptest! {
        #[test]
        fn records_come_back(
            session in number(),
            position in number(),
            packet_id: NonZeroU16,
            flags: [bool; 3],
            qos in qos(),
            ids: Vec<NonZeroU32>,
            message in message(),
            (client_id, expiry_seconds, absent_since) in any::<(String, u32, Option<u64>)>(),
        ) {
            let body = position;
            let message = message_of(&message);
            let share = flags[2].then_some("$share/a/b/+");
            let manner =
                MannerRecord { qos, retain: flags[0], replayed: flags[1], subscription_ids: &ids, share };
            let identifier = ids.first().copied();
            let subscription = SubscriptionRecord {
                qos,
                no_local: flags[0],
                retain_as_published: flags[1],
                identifier,
            };
            let will = WillRecord { message, retain: flags[0], delay_seconds: expiry_seconds };
            let head = SessionRecord {
                session,
                client_id: &client_id,
                expiry_seconds,
                absent_since,
                will: flags[1].then_some(will),
            };
            for record in [
                Record::Session(head),
                Record::SessionEnd { session },
                Record::Subscribe { session, filter: "a/#", subscription },
                Record::Unsubscribe { session, filter: "+" },
                Record::Body { body, message },
                Record::Enqueue { session, position, body, manner, packet_id: flags[0].then_some(packet_id) },
                Record::InFlight { session, position, packet_id },
                Record::Dequeue { session, position },
                Record::Released { session, position, packet_id },
                Record::Completed { session, packet_id },
                Record::Received { session, packet_id },
                Record::ReceivedEnd { session, packet_id },
                Record::Retain { body },
                Record::Unretain { body },
                Record::Reset { session, next_position: position },
            ] {
                assert_comes_back(&record);
            }
        }

        #[test]
        fn anything_is_a_record_or_an_error(bytes in bytes(100)) {
            let mut rest = bytes.as_slice();
            let mut ids = Vec::new();
            while !rest.is_empty() {
                if Record::decode(&mut rest, &mut ids).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let decode =
            |bytes: &[u8]| Record::decode(&mut &*bytes, &mut Vec::new()).map(|record| format!("{record:?}"));
        assert_eq!(decode(&[99, 0]), Err(RecordError::Kind(99)));
        assert_eq!(decode(&[kind::DEQUEUE, 1]), Err(RecordError::Truncated));
        assert_eq!(decode(&[kind::COMPLETED, 1, 0, 0]), Err(RecordError::Integer));
        assert_eq!(decode(&[[kind::RETAIN].as_slice(), &[0xFF; 10]].concat()), Err(RecordError::Integer));
        assert_eq!(decode(&[kind::UNSUBSCRIBE, 1, 1, 0xFF]), Err(RecordError::Utf8));
        assert_eq!(decode(&[kind::UNSUBSCRIBE, 1, 0]), Err(RecordError::Filter(FilterError::Empty)));
        assert_eq!(decode(&[kind::BODY, 1, 0, 0, 0]), Err(RecordError::Name(NameError::Empty)));
        assert_eq!(decode(&[kind::BODY, 1, 0x80]), Err(RecordError::Flags(0x80)));
        assert_eq!(decode(&[kind::SUBSCRIBE, 1, 3, 1, b'a']), Err(RecordError::Flags(3)));
        // A length that nothing can have.
        let long = [kind::UNSUBSCRIBE, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(decode(&long), Err(RecordError::Truncated));
    }
}
