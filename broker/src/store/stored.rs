//! What is read back.

use std::any::Any;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::record::{BodyNumber, MessageRecord, Position, SessionNumber, SubscriptionRecord};
use crate::codec::{PacketId, QoS};

/// All that survived, but for the messages that wait for clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// In no order.
    pub sessions: Vec<RecoveredSession>,
    /// Retained messages with their names.
    pub retained: Vec<(BodyNumber, StoredMessage)>,
    /// The highest number in use, of sessions and bodies.
    pub numbers: u64,
}

/// A session as it was when the broker ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Its number.
    pub number: SessionNumber,
    /// Whose it is.
    pub client_id: String,
    /// See [`SessionRecord`](super::SessionRecord).
    pub expiry_seconds: u32,
    /// Since when its client is away, in ms since 1970; none if it was there to the end.
    pub absent_since: Option<u64>,
    /// What is published if the client does not come back in time.
    pub will: Option<StoredWill>,
    /// By their whole filters.
    pub subscriptions: Vec<(String, SubscriptionRecord)>,
    /// Messages in flight, by position.
    pub in_flight: Vec<(Position, PacketId, QoS)>,
    /// Identifiers between PUBREC and PUBCOMP, in the order of the PUBRECs.
    pub released: Vec<PacketId>,
    /// Identifiers of QoS 2 messages from the client, between PUBLISH and PUBREL.
    pub received: Vec<PacketId>,
    /// Messages that wait to be sent.
    pub queued_messages: usize,
    /// Bytes of their topics and payloads.
    pub queued_bytes: usize,
    /// The position for the next message: higher than all so far.
    pub next_position: Position,
}

/// A will that was stored.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// What to publish.
    pub message: StoredMessage,
    /// Whether to retain it.
    pub retain: bool,
    /// Its delay after the end of the connection.
    pub delay_seconds: u32,
}

/// A message that was stored: see [`MessageRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredMessage {
    pub topic: String,
    pub payload: Box<[u8]>,
    pub qos: QoS,
    pub properties: Box<[u8]>,
    pub expiry: Option<(u32, u64)>,
}

impl From<MessageRecord<'_>> for StoredMessage {
    fn from(record: MessageRecord<'_>) -> Self {
        Self {
            topic: record.topic.into(),
            payload: record.payload.into(),
            qos: record.qos,
            properties: record.properties.into(),
            expiry: record.expiry,
        }
    }
}

/// A message for a client that was stored, as a [`Fetch`] gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// Where it stands among those of its session.
    pub position: Position,
    /// It is in flight.
    pub packet_id: Option<PacketId>,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// RETAIN as the client gets it.
    pub retain: bool,
    /// It is sent because the client subscribed.
    pub replayed: bool,
    /// Identifiers of the subscriptions that match.
    pub subscription_ids: Box<[NonZeroU32]>,
    /// The whole filter of the shared subscription it came by.
    pub share: Option<String>,
    /// What is to be sent.
    pub message: StoredMessage,
}

/// Asks for messages of a session that are only in the store.
pub struct Fetch {
    /// Whose.
    pub session: SessionNumber,
    /// From which position on; those in flight too.
    pub from: Position,
    /// At most so many.
    pub max_messages: usize,
    /// And no more once so many bytes of payload and topic are together.
    pub max_bytes: usize,
    /// Comes back with the answer.
    pub asker: Arc<dyn Any + Send + Sync>,
}

/// What a [`Fetch`] found.
#[derive(Debug, Default)]
pub struct Fetched {
    /// By position.
    pub deliveries: Vec<StoredDelivery>,
    /// The position from which on to ask next; none if there is nothing behind.
    pub next: Option<Position>,
}
