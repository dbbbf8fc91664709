//! An application message, borrowed while it passes through and shared once somebody must keep it.

mod record;

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tally::{Freed, Tally};
use crate::codec::{Properties, PropertiesBuf, Property, QoS};
use crate::store::{BodyNumber, Receipt};
use crate::topic::{Name, NameBuf};

/// An application message that outlives the packet it came in: in flight, queued or retained.
#[derive(Debug)]
pub struct Message {
    topic: NameBuf,
    payload: Box<[u8]>,
    qos: QoS,
    extra: Option<Arc<Extra>>,
}

/// What few messages have.
#[derive(Debug)]
struct Extra {
    /// The properties that go on unaltered.
    forwarded: PropertiesBuf,
    lifetime: Option<Lifetime>,
}

impl Extra {
    fn of(properties: Properties<'_>, since: Option<Instant>) -> Option<Arc<Self>> {
        if properties.is_empty() {
            return None;
        }
        let mut forwarded = PropertiesBuf::new();
        properties.forwarded(&mut forwarded);
        let lifetime = properties.iter().find_map(|property| match property {
            Property::MessageExpiryInterval(seconds) => Some(Lifetime { seconds, since }),
            _ => None,
        });
        (lifetime.is_some() || !forwarded.is_empty()).then(|| Arc::new(Self { forwarded, lifetime }))
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.forwarded.as_properties().as_bytes().len()
    }
}

/// How long a message is of use.
#[derive(Clone, Copy, Debug)]
struct Lifetime {
    /// The Message Expiry Interval it came with.
    seconds: u32,
    /// When it was published: a will will be.
    since: Option<Instant>,
}

impl Lifetime {
    fn end(self) -> Option<Instant> {
        self.since?.checked_add(Duration::from_secs(self.seconds.into()))
    }

    /// The interval less the whole seconds that the message waited [5.0 MQTT-3.3.2-6].
    fn seconds_left(self, now: Instant) -> u32 {
        let waited = self.since.map_or(0, |since| now.saturating_duration_since(since).as_secs());
        self.seconds.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX))
    }
}

impl Message {
    /// A copy of what a packet carried; `qos` is the one it was published at.
    #[inline]
    pub fn new(topic: Name<'_>, payload: &[u8], qos: QoS) -> Self {
        Self { topic: NameBuf::from(topic), payload: payload.into(), qos, extra: None }
    }

    /// A will, to be published [later](Content::published); `properties` are the will's.
    pub fn will(topic: Name<'_>, payload: &[u8], qos: QoS, properties: Properties<'_>) -> Self {
        Self { extra: Extra::of(properties, None), ..Self::new(topic, payload, qos) }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> Name<'_> {
        self.topic.as_name()
    }

    /// The application's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The QoS it was published at.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// A copy of its properties that go on unaltered.
    pub fn properties(&self) -> PropertiesBuf {
        self.extra.as_ref().map_or_else(PropertiesBuf::new, |extra| extra.forwarded.clone())
    }

    /// Its properties that go on unaltered.
    pub(super) fn forwarded(&self) -> Properties<'_> {
        self.extra.as_ref().map_or(Properties::EMPTY, |extra| extra.forwarded.as_properties())
    }

    /// When it expires; none is never.
    pub fn expires_at(&self) -> Option<Instant> {
        self.extra.as_ref()?.lifetime?.end()
    }

    /// Whether it must not be sent any more, unless its delivery has begun [5.0 MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Memory it takes, in bytes: what the limits on queues and retained messages count.
    pub fn bytes(&self) -> usize {
        message_bytes(self.topic(), &self.payload, self.extra.as_ref())
    }
}

/// Gives back a message that was kept.
pub fn release(message: Arc<Message>, tally: &mut Tally) {
    let mut freed = Freed::default();
    freed.release(message);
    freed.settle(tally);
}

fn message_bytes(topic: Name<'_>, payload: &[u8], extra: Option<&Arc<Extra>>) -> usize {
    let extra = extra.map_or(0, |extra| extra.bytes());
    size_of::<Message>() + topic.as_str().len() + payload.len() + extra
}

/// A message on its way to any number of sessions.
///
/// A QoS 0 delivery copies straight from the publisher's packet. The first
/// session that must remember the message makes it a shared [`Message`]; the
/// others take a reference.
pub struct Content<'a> {
    topic: Name<'a>,
    payload: &'a [u8],
    qos: QoS,
    extra: Option<Arc<Extra>>,
    shared: OnceCell<Arc<Message>>,
    /// It was shared before it came here, and is counted already.
    is_known: bool,
    /// Its name in the store, once it was written down; 0 before.
    body: Cell<BodyNumber>,
    /// Counts the clients that are to acknowledge it.
    receipt: OnceCell<Arc<Receipt>>,
    /// Somebody needs it who will not acknowledge it soon.
    must_be_stored: Cell<bool>,
}

impl<'a> Content<'a> {
    /// What a PUBLISH packet carries beside its properties.
    pub fn new(topic: Name<'a>, payload: &'a [u8], qos: QoS) -> Self {
        Self {
            topic,
            payload,
            qos,
            extra: None,
            shared: OnceCell::new(),
            is_known: false,
            body: Cell::new(0),
            receipt: OnceCell::new(),
            must_be_stored: Cell::new(false),
        }
    }

    /// The batch it came in has a receipt so far.
    pub fn set_receipt(&mut self, receipt: Arc<Receipt>) {
        self.receipt = OnceCell::from(receipt);
    }

    /// With the properties that the packet had when it came, at `now`.
    #[inline]
    pub fn with(mut self, properties: Properties<'_>, now: Instant) -> Self {
        if !properties.is_empty() {
            self.extra = Extra::of(properties, Some(now));
        }
        self
    }

    /// A will that is published `now`: from now on it may expire.
    pub fn published(message: &'a Arc<Message>, now: Instant) -> Self {
        let Some(Extra { forwarded, lifetime: Some(lifetime) }) = message.extra.as_deref() else {
            return Self::shared(message);
        };
        let lifetime = Some(Lifetime { since: Some(now), ..*lifetime });
        let extra = Some(Arc::new(Extra { forwarded: forwarded.clone(), lifetime }));
        Self { extra, ..Self::new(message.topic(), message.payload(), message.qos) }
    }

    /// A message that is shared already.
    pub fn shared(message: &'a Arc<Message>) -> Self {
        Self {
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos,
            extra: message.extra.clone(),
            shared: OnceCell::from(Arc::clone(message)),
            is_known: true,
            body: Cell::new(0),
            receipt: OnceCell::new(),
            must_be_stored: Cell::new(false),
        }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> Name<'a> {
        self.topic
    }

    /// The application's bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its properties that go on unaltered and in their order [5.0 MQTT-3.3.2-4] [5.0 MQTT-3.3.2-15] to [5.0
    /// MQTT-3.3.2-18] [5.0 MQTT-3.3.2-20].
    pub fn forwarded(&self) -> Properties<'_> {
        self.extra.as_ref().map_or(Properties::EMPTY, |extra| extra.forwarded.as_properties())
    }

    /// The QoS it was published at; a delivery may be at a lower one [MQTT-3.8.4-6].
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// When it expires; none is never.
    pub fn expires_at(&self) -> Option<Instant> {
        self.extra.as_ref()?.lifetime?.end()
    }

    /// What is left of its Message Expiry Interval, in seconds; none if it never expires.
    pub fn seconds_left(&self, now: Instant) -> Option<u32> {
        Some(self.extra.as_ref()?.lifetime?.seconds_left(now))
    }

    /// What [`Message::bytes`] says of it, once it is kept.
    pub fn bytes(&self) -> usize {
        message_bytes(self.topic, self.payload, self.extra.as_ref())
    }

    /// The message for keeping, copied out of the packet at the first call.
    pub fn to_message(&self) -> Arc<Message> {
        Arc::clone(self.shared.get_or_init(|| {
            let extra = self.extra.clone();
            Arc::new(Message { extra, ..Message::new(self.topic, self.payload, self.qos) })
        }))
    }

    /// Whether somebody keeps it, or did.
    pub fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Counts the message if it was made here and somebody keeps it. Gives the receipt of its batch.
    pub fn settle(self, tally: &mut Tally) -> Option<Arc<Receipt>> {
        if !self.is_known
            && let Some(message) = self.shared.into_inner()
        {
            tally.keep(&message);
            release(message, tally);
        }
        self.receipt.into_inner()
    }
}
