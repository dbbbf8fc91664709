//! An application message, borrowed while it passes through and shared once somebody must keep it.

mod record;

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use triomphe::ThinArc;

use super::outbox::{SHARED_BYTES, has_shared_part};
use super::tally::{Freed, Tally};
use crate::codec::{Properties, PropertiesBuf, Property, Publish, QoS, Version};
use crate::store::{BodyNumber, Receipt};
use crate::topic::Name;

/// Topic and payload of up to so many bytes together are one piece of memory with all else. More is not worth putting
/// together first.
const SMALL_BYTES: usize = 2048;

/// An application message that outlives the packet it came in: in flight, queued or retained. Its clones share it.
#[derive(Clone, Debug)]
pub struct Message(ThinArc<Head, u8>);

/// What stands before the topic, and the payload if they are small.
#[derive(Debug)]
struct Head {
    rare: Option<Box<Rare>>,
    /// See [`Message::bytes`].
    bytes: u32,
    topic_len: u16,
    /// Bytes behind it all that mean nothing.
    padding: u8,
    qos: QoS,
}

/// What a message takes beside its topic and payload: the count of its holders, the head, and how long the rest is.
const HEAD_BYTES: usize = size_of::<Head>() + 2 * size_of::<usize>();

/// What few messages have.
#[derive(Debug)]
struct Rare {
    extra: Option<Arc<Extra>>,
    large_payload: Option<Box<[u8]>>,
}

/// What its properties say.
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
        size_of::<Self>() + 2 * size_of::<usize>() + self.forwarded.as_properties().as_bytes().len()
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
    pub fn new(topic: Name<'_>, payload: &[u8], qos: QoS) -> Self {
        Self::with(topic.as_str().as_bytes(), payload, qos, None)
    }

    /// A will, to be published [later](Content::published); `properties` are the will's.
    pub fn will(topic: Name<'_>, payload: &[u8], qos: QoS, properties: Properties<'_>) -> Self {
        Self::with(topic.as_str().as_bytes(), payload, qos, Extra::of(properties, None))
    }

    fn with(topic: &[u8], payload: &[u8], qos: QoS, extra: Option<Arc<Extra>>) -> Self {
        let is_small = is_small(topic.len(), payload.len());
        let bytes = message_bytes(topic.len(), payload.len(), extra.as_ref());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let large_payload = (!is_small).then(|| payload.into());
        let rare = (!is_small || extra.is_some()).then(|| Box::new(Rare { extra, large_payload }));
        // A `Name` is never longer than its length can say.
        let mut head = Head { rare, bytes, topic_len: topic.len() as u16, padding: 0, qos };
        if !is_small {
            return Self(ThinArc::from_header_and_slice(head, topic));
        }
        SCRATCH.with_borrow_mut(|together| {
            together.clear();
            together.extend_from_slice(topic);
            together.extend_from_slice(payload);
            // mimalloc's blocks are multiples of 16. It has one at once only where 7 bytes more had room, too.
            head.padding = match together.len() % 16 {
                1..=8 => 0,
                behind => (17 - behind as u8) % 16,
            };
            together.resize(together.len() + usize::from(head.padding), 0);
            Self(ThinArc::from_header_and_slice(head, together))
        })
    }

    /// The topic it was published to. Whoever asks for it pays for a look at all of its bytes.
    pub fn topic(&self) -> Name<'_> {
        checked_before(self.topic_bytes())
    }

    fn topic_bytes(&self) -> &[u8] {
        self.parts().0
    }

    /// The application's bytes.
    pub fn payload(&self) -> &[u8] {
        self.parts().1
    }

    /// Topic and payload.
    #[inline]
    fn parts(&self) -> (&[u8], &[u8]) {
        let head = self.head();
        let (topic, small) = self.0.slice.split_at_checked(head.topic_len.into()).unwrap_or_default();
        let large = head.rare.as_ref().and_then(|rare| rare.large_payload.as_deref());
        let small_len = small.len().saturating_sub(head.padding.into());
        (topic, large.or(small.get(..small_len)).unwrap_or_default())
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn extra(&self) -> Option<&Arc<Extra>> {
        self.head().rare.as_ref()?.extra.as_ref()
    }

    /// The QoS it was published at.
    pub fn qos(&self) -> QoS {
        self.head().qos
    }

    /// A copy of its properties that go on unaltered.
    pub fn properties(&self) -> PropertiesBuf {
        self.extra().map_or_else(PropertiesBuf::new, |extra| extra.forwarded.clone())
    }

    /// Its properties that go on unaltered.
    pub(super) fn forwarded(&self) -> Properties<'_> {
        self.extra().map_or(Properties::EMPTY, |extra| extra.forwarded.as_properties())
    }

    /// When it expires; none is never.
    pub fn expires_at(&self) -> Option<Instant> {
        self.extra()?.lifetime?.end()
    }

    /// Whether it must not be sent any more, unless its delivery has begun [5.0 MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Whether they are one, shared.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ptr() == other.0.ptr()
    }

    /// Memory it takes, in bytes: what the limits on queues and retained messages count.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.head().bytes as usize
    }

    /// Lets go of it. Gives its bytes, and whether nobody else holds it.
    #[inline]
    pub(super) fn let_go(self) -> (usize, bool) {
        let bytes = self.bytes();
        IS_GONE.set(false);
        drop(self);
        (bytes, IS_GONE.get())
    }
}

thread_local! {
    /// Where topic and payload are put together: of [`SMALL_BYTES`], and some.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// A message has ended. Of those who let go of it at a time, only its destructor knows who was last.
    static IS_GONE: Cell<bool> = const { Cell::new(false) };
}

impl Drop for Head {
    fn drop(&mut self) {
        IS_GONE.set(true);
    }
}

/// Gives back a message that was kept.
pub fn release(message: Message, tally: &mut Tally) {
    let mut freed = Freed::default();
    freed.release(message);
    freed.settle(tally);
}

fn is_small(topic_len: usize, payload_len: usize) -> bool {
    topic_len.saturating_add(payload_len) <= SMALL_BYTES
}

#[inline]
fn message_bytes(topic_len: usize, payload_len: usize, extra: Option<&Arc<Extra>>) -> usize {
    let rare = match extra {
        None if is_small(topic_len, payload_len) => 0,
        extra => size_of::<Rare>() + extra.map_or(0, |extra| extra.bytes()),
    };
    HEAD_BYTES + topic_len + payload_len + rare
}

/// The name that these bytes were made of.
fn checked_before(name: &[u8]) -> Name<'_> {
    match Name::from_bytes(name) {
        Ok(name) => name,
        Err(error) => unreachable!("it was a topic name: {error}"),
    }
}

/// A message on its way to any number of sessions.
///
/// A QoS 0 delivery copies straight from the publisher's packet. The first
/// session that must remember the message makes it a shared [`Message`]; the
/// others take a reference.
pub struct Content<'a> {
    source: Source<'a>,
    payload: &'a [u8],
    qos: QoS,
    /// See [`Content::packet`]; and whether it is of 5.0.
    packet: Option<(&'a [u8], bool)>,
    /// Of what came in a packet.
    extra: Option<Arc<Extra>>,
    /// What was copied out of the packet.
    copy: OnceCell<Message>,
    /// Its name in the store, once it was written down; 0 before.
    body: Cell<BodyNumber>,
    /// Counts the clients that are to acknowledge it.
    receipt: OnceCell<Arc<Receipt>>,
    /// Somebody needs it who will not acknowledge it soon.
    must_be_stored: Cell<bool>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// To this topic.
    Packet(Name<'a>),
    /// It was shared before it came here, and is counted already.
    Shared(&'a Message),
}

impl<'a> Content<'a> {
    /// What a PUBLISH packet carries beside its properties.
    #[inline]
    pub fn new(topic: Name<'a>, payload: &'a [u8], qos: QoS) -> Self {
        Self::of(Source::Packet(topic), payload, qos)
    }

    #[inline]
    fn of(source: Source<'a>, payload: &'a [u8], qos: QoS) -> Self {
        Self {
            source,
            payload,
            qos,
            packet: None,
            extra: None,
            copy: OnceCell::new(),
            body: Cell::new(0),
            receipt: OnceCell::new(),
            must_be_stored: Cell::new(false),
        }
    }

    /// The batch it came in has a receipt so far.
    pub fn set_receipt(&mut self, receipt: Arc<Receipt>) {
        self.receipt = OnceCell::from(receipt);
    }

    /// What came in that `packet` of a client, `now`. It goes on as it came to whoever is to get the very same.
    #[inline]
    pub fn received(
        topic: Name<'a>,
        publish: &Publish<'a>,
        (packet, version): (&'a [u8], Version),
        now: Instant,
    ) -> Self {
        let is_as_sent = packet.len() < SHARED_BYTES && publish.is_as_sent(packet, version);
        let extra =
            if publish.properties.is_empty() { None } else { Extra::of(publish.properties, Some(now)) };
        Self {
            packet: is_as_sent.then_some((packet, version == Version::V5)),
            extra,
            ..Self::new(topic, publish.payload, publish.delivery.qos())
        }
    }

    /// With the properties that the packet had when it came, at `now`.
    #[inline]
    pub fn with(mut self, properties: Properties<'_>, now: Instant) -> Self {
        if !properties.is_empty() {
            self.extra = Extra::of(properties, Some(now));
        }
        self
    }

    /// The packet that it came in, if that is what an outbox would put together at QoS 0 with RETAIN 0 and no properties,
    /// for clients of 5.0 or for the others.
    #[inline]
    pub(super) fn packet(&self, is_v5: bool) -> Option<&'a [u8]> {
        self.packet.filter(|(_, is)| *is == is_v5).map(|(packet, _)| packet)
    }

    /// A will that is published `now`: from now on it may expire.
    pub fn published(message: &'a Message, now: Instant) -> Self {
        let Some(Extra { forwarded, lifetime: Some(lifetime) }) = message.extra().map(Arc::as_ref) else {
            return Self::shared(message);
        };
        let lifetime = Some(Lifetime { since: Some(now), ..*lifetime });
        let extra = Some(Arc::new(Extra { forwarded: forwarded.clone(), lifetime }));
        Self { extra, ..Self::new(message.topic(), message.payload(), message.qos()) }
    }

    /// A message that is shared already.
    pub fn shared(message: &'a Message) -> Self {
        Self::of(Source::Shared(message), message.payload(), message.qos())
    }

    /// The topic it was published to.
    pub fn topic(&self) -> Name<'a> {
        match self.source {
            Source::Packet(topic) => topic,
            Source::Shared(message) => message.topic(),
        }
    }

    /// The topic for whoever only copies it.
    pub fn topic_bytes(&self) -> &'a [u8] {
        match self.source {
            Source::Packet(topic) => topic.as_str().as_bytes(),
            Source::Shared(message) => message.topic_bytes(),
        }
    }

    /// The application's bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its properties that go on unaltered and in their order [5.0 MQTT-3.3.2-4] [5.0 MQTT-3.3.2-15] to [5.0
    /// MQTT-3.3.2-18] [5.0 MQTT-3.3.2-20].
    pub fn forwarded(&self) -> Properties<'_> {
        self.extra().map_or(Properties::EMPTY, |extra| extra.forwarded.as_properties())
    }

    fn extra(&self) -> Option<&Arc<Extra>> {
        match self.source {
            Source::Packet(_) => self.extra.as_ref(),
            Source::Shared(message) => message.extra(),
        }
    }

    /// The QoS it was published at; a delivery may be at a lower one [MQTT-3.8.4-6].
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// When it expires; none is never.
    pub fn expires_at(&self) -> Option<Instant> {
        self.extra()?.lifetime?.end()
    }

    /// What is left of its Message Expiry Interval, in seconds; none if it never expires.
    pub fn seconds_left(&self, now: Instant) -> Option<u32> {
        Some(self.extra()?.lifetime?.seconds_left(now))
    }

    /// What [`Message::bytes`] says of it, once it is kept.
    pub fn bytes(&self) -> usize {
        message_bytes(self.topic_bytes().len(), self.payload.len(), self.extra())
    }

    /// The message for keeping, copied out of the packet at the first call.
    pub fn to_message(&self) -> Message {
        match self.source {
            Source::Packet(topic) => self.copy.get_or_init(|| {
                Message::with(topic.as_str().as_bytes(), self.payload, self.qos, self.extra.clone())
            }),
            Source::Shared(message) => message,
        }
        .clone()
    }

    /// Whether a part of its packets is not copied into outboxes.
    #[inline]
    pub fn has_shared_part(&self) -> bool {
        has_shared_part(self.payload, self.forwarded())
    }

    /// Whether somebody keeps it, or did.
    pub fn is_shared(&self) -> bool {
        matches!(self.source, Source::Shared(_)) || self.copy.get().is_some()
    }

    /// All have it: counts the message if it was made here and somebody keeps it. Gives the receipt of its batch.
    #[inline]
    pub fn settle(&mut self, tally: &mut Tally) -> Option<Arc<Receipt>> {
        if let Some((bytes, false)) = self.copy.take().map(Message::let_go) {
            tally.keep(bytes);
        }
        self.receipt.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_and_payload_come_back_whatever_their_lengths() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::UserProperty("k", "v")).unwrap();
        let long = "t/".repeat(SMALL_BYTES);
        let topics = (1..40).chain([SMALL_BYTES, SMALL_BYTES + 1]).filter_map(|n| long.get(..n));
        for topic in topics.map(|topic| Name::new(topic).unwrap()) {
            for payload in [0, 1, 7, 8, 9, 64, SMALL_BYTES - 20, SMALL_BYTES, 100_000].map(|n| vec![b'x'; n])
            {
                let will = Message::will(topic, &payload, QoS::AtMostOnce, properties.as_properties());
                for message in [Message::new(topic, &payload, QoS::ExactlyOnce), will] {
                    assert_eq!((message.topic(), message.payload()), (topic, payload.as_slice()));
                    assert!(message.bytes() > topic.as_str().len() + payload.len());
                    let content = Content::shared(&message);
                    assert!(content.to_message().is(&message) && content.bytes() == message.bytes());
                }
            }
        }
    }

    #[test]
    fn a_message_is_one_piece_of_memory_that_its_bytes_account_for() {
        assert_eq!((size_of::<Message>(), size_of::<Head>()), (size_of::<usize>(), 16));
        let message = Message::new(Name::new("t").unwrap(), &[0; 64], QoS::AtLeastOnce);
        assert!(message.head().rare.is_none());
        assert_eq!(message.bytes(), size_of::<usize>() * 2 + 16 + 65);
    }

    #[test]
    fn of_holders_on_many_threads_one_is_the_last() {
        for _ in 0..200 {
            let message = Message::new(Name::new("t").unwrap(), b"x", QoS::AtLeastOnce);
            let holders: Vec<_> = (0..4).map(|_| message.clone()).collect();
            drop(message);
            let last: usize = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    holders.into_iter().map(|holder| scope.spawn(|| holder.let_go().1)).collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert_eq!(last, 1);
        }
    }
}
