//! What is written down, one change at a time.

use std::num::NonZeroU32;

use crate::codec::{PacketId, QoS};

/// Tells one session from every other, over the life of the store.
pub type SessionNumber = u64;

/// Where a message stands among those for one session: later ones have higher positions.
pub type Position = u64;

/// Tells one written message from every other, over the life of the store.
pub type BodyNumber = u64;

/// One change to what survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A session began, or its connection did or ended. Replaces what was said before, but for its subscriptions and
    /// messages.
    Session(SessionRecord<'a>),
    /// A session is over, with all that belongs to it.
    SessionEnd {
        /// Which.
        session: SessionNumber,
    },
    /// Replaces the subscription to the very same filter [MQTT-3.8.4-3].
    Subscribe {
        /// Whose.
        session: SessionNumber,
        /// The whole filter, with `$share/` if it is of a shared subscription.
        filter: &'a str,
        /// What the client wants with it.
        subscription: SubscriptionRecord,
    },
    /// A subscription ended.
    Unsubscribe {
        /// Whose.
        session: SessionNumber,
        /// The whole filter.
        filter: &'a str,
    },
    /// A message, for the [`Record::Enqueue`] and [`Record::Retain`] of the same group that name it.
    Body {
        /// Its name there.
        body: BodyNumber,
        /// What it is.
        message: MessageRecord<'a>,
    },
    /// A message for a client, behind those it had.
    Enqueue {
        /// Whose.
        session: SessionNumber,
        /// Higher than all before.
        position: Position,
        /// Which message: its [`Record::Body`] stands in the same group, before.
        body: BodyNumber,
        /// How it is to go to the client.
        manner: MannerRecord<'a>,
        /// It is in flight already.
        packet_id: Option<PacketId>,
    },
    /// A message that was queued goes out.
    InFlight {
        /// Whose.
        session: SessionNumber,
        /// Which.
        position: Position,
        /// Its identifier.
        packet_id: PacketId,
    },
    /// A message is acknowledged, or given up: the client is not owed it any more.
    Dequeue {
        /// Whose.
        session: SessionNumber,
        /// Which.
        position: Position,
    },
    /// PUBREC came: the client has the message, and its identifier is in use until PUBCOMP.
    Released {
        /// Whose.
        session: SessionNumber,
        /// Which.
        position: Position,
        /// Its identifier.
        packet_id: PacketId,
    },
    /// PUBCOMP came.
    Completed {
        /// Whose.
        session: SessionNumber,
        /// Free from now on.
        packet_id: PacketId,
    },
    /// A QoS 2 message came from the client, and went on.
    Received {
        /// Whose.
        session: SessionNumber,
        /// In use until PUBREL.
        packet_id: PacketId,
    },
    /// PUBREL came.
    ReceivedEnd {
        /// Whose.
        session: SessionNumber,
        /// Free from now on.
        packet_id: PacketId,
    },
    /// A message is retained for its topic. What was retained before has its own [`Record::Unretain`].
    Retain {
        /// Which message: its [`Record::Body`] stands in the same group, before.
        body: BodyNumber,
    },
    /// A message is retained no longer.
    Unretain {
        /// Which.
        body: BodyNumber,
    },
    /// The store's own: the session has no subscriptions and identifiers but those that are told next. What it was
    /// told earlier is so old that its bytes are given up.
    Reset {
        /// Whose.
        session: SessionNumber,
        /// Higher than all positions so far.
        next_position: Position,
    },
}

/// A session, but for its subscriptions and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord<'a> {
    /// Its number.
    pub session: SessionNumber,
    /// Whose it is.
    pub client_id: &'a str,
    /// How long it outlives its connection, as a packet says it: 0xFFFFFFFF is for ever. At 0 it has nothing but a will.
    pub expiry_seconds: u32,
    /// Since when its client is away, in ms since 1970; none while it is here.
    pub absent_since: Option<u64>,
    /// What is published if the client does not come back in time.
    pub will: Option<WillRecord<'a>>,
}

/// A will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WillRecord<'a> {
    /// What to publish. It begins to expire when it is published.
    pub message: MessageRecord<'a>,
    /// Whether to retain it.
    pub retain: bool,
    /// Its delay after the end of the connection.
    pub delay_seconds: u32,
}

/// An application message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    /// A valid topic name.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The QoS it was published at.
    pub qos: QoS,
    /// Encoded properties that go on unaltered, without their length.
    pub properties: &'a [u8],
    /// Message Expiry Interval, and when the message was published, in ms since 1970 (0 in a will).
    pub expiry: Option<(u32, u64)>,
}

/// How a message goes to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MannerRecord<'a> {
    /// The QoS of the delivery: 1 or 2.
    pub qos: QoS,
    /// RETAIN as the client gets it.
    pub retain: bool,
    /// It is sent because the client subscribed.
    pub replayed: bool,
    /// Identifiers of the subscriptions that match.
    pub subscription_ids: &'a [NonZeroU32],
    /// The whole filter of the shared subscription it came by.
    pub share: Option<&'a str>,
}

/// What a client wants with a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    /// The highest for deliveries.
    pub qos: QoS,
    /// Not for messages of its own.
    pub no_local: bool,
    /// RETAIN as it was published.
    pub retain_as_published: bool,
    /// What deliveries carry.
    pub identifier: Option<NonZeroU32>,
}
