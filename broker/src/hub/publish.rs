//! PUBLISH, wills and retained messages: from one sender into the sessions of all that want it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::RwLockWriteGuard;

use super::memory::DeliveryLimits;
use super::peer::Connected;
use super::share::Reach;
use super::subscriptions::SubscriptionIndex;
use super::{Batch, Client, ClientKey, Ending, Hub, Stage};
use crate::codec::{AckType, Delivery, PacketId, Properties, Property, Publish, QoS, Reason, Version};
use crate::session::{
    Content, Manner, Message, OutboundLimits, Outcome, Received, ReceivedAliases, Session, Tally, Will,
    release,
};
use crate::topic::{Name, Retained};

/// What queueing or dropping a message counts for when a batch is cut: others wait for the index meanwhile.
const QUEUED_BYTES: usize = 64;
/// And looking whether a member of a shared subscription can take it.
const LOOK_BYTES: usize = 16;

/// A full store is looked through for messages that have expired, at most so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// One that is not full, so long after a message may have expired: looking holds up everybody who publishes with RETAIN.
const SWEEP_DELAY: Duration = Duration::from_secs(60);

/// Retained messages and the memory they take.
#[derive(Default)]
pub(super) struct RetainedStore {
    pub(super) messages: Retained<Arc<Message>>,
    /// Messages and bytes of the clients: the broker's own are not counted, and always find room.
    pub(super) count: usize,
    pub(super) bytes: usize,
    /// No message expires before.
    next_expiry: Option<Instant>,
}

/// What the deliveries of one message have in common.
pub(super) struct Sending<'s, 'c> {
    pub(super) content: &'s Content<'c>,
    pub(super) limits: &'s DeliveryLimits,
    stage: Stage,
    now: Instant,
    wakers: &'s mut Vec<Waker>,
    bytes: &'s mut usize,
    tally: &'s mut Tally,
}

/// Why a client did not get a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    NoRoom,
    TooLarge,
}

impl Sending<'_, '_> {
    /// Gives the message to a client, connected or not, or counts that it could not.
    #[inline]
    fn deliver(&mut self, client: &Client, manner: &Manner) {
        let mut session = client.session.lock();
        let limits = if session.link.is_some() { &self.limits.here } else { &self.limits.away };
        if let Err(unsent) = self.try_deliver(&mut session, manner, limits) {
            self.give_up(unsent, session.link.is_some(), manner.qos);
        }
    }

    /// Gives the message to a client, within the limits. On an error nothing has happened.
    #[inline]
    pub(super) fn try_deliver(
        &mut self,
        session: &mut Session,
        manner: &Manner,
        limits: &OutboundLimits,
    ) -> Result<(), Unsent> {
        let content = self.content;
        match session.deliver(content, manner, limits, self.now) {
            Outcome::Sent(len) => {
                *self.bytes += len;
                count_sent(content.payload(), self.tally);
                if manner.qos == QoS::AtMostOnce && !content.is_shared() {
                    session.settle_sent(len, self.tally);
                } else {
                    session.settle(self.tally);
                }
                self.wakers.extend(session.link.as_mut().and_then(|link| link.wake_for_output()));
                Ok(())
            }
            Outcome::Queued => {
                *self.bytes += QUEUED_BYTES;
                session.settle(self.tally);
                Ok(())
            }
            Outcome::TooLarge => {
                *self.bytes += QUEUED_BYTES;
                Err(Unsent::TooLarge)
            }
            Outcome::Dropped => {
                *self.bytes += QUEUED_BYTES;
                Err(Unsent::NoRoom)
            }
        }
    }

    /// Looking at a client takes time too.
    pub(super) fn count_look(&mut self) {
        *self.bytes += LOOK_BYTES;
    }

    /// Counts a delivery that did not come about.
    pub(super) fn give_up(&mut self, unsent: Unsent, connected: bool, qos: QoS) {
        match unsent {
            Unsent::NoRoom => count_dropped(connected, qos, self.stage, self.tally),
            Unsent::TooLarge => self.tally.dropped_too_large += 1,
        }
    }
}

impl Hub {
    pub(super) fn handle_publish(
        &self,
        connected: &Connected,
        aliases: &mut ReceivedAliases,
        publish: &Publish<'_>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        batch.tally.publish_received += 1;
        batch.tally.publish_bytes_received += i64::try_from(publish.payload.len()).unwrap_or(0);
        let (topic, refusal) = match publish.topic {
            Some(topic) if connected.version != Version::V5 => (topic, None),
            _ => {
                let topic = self.topic(aliases, publish, &mut batch.tally)?;
                (topic, self.refusal(topic, publish)?)
            }
        };
        let is_new = match publish.delivery {
            Delivery::ExactlyOnce(packet_id) => {
                self.receive_exactly_once(connected, packet_id, refusal.is_none(), &mut batch.tally)?
            }
            _ => true,
        };
        let reason = match refusal {
            Some(refusal) if is_new => refusal,
            // Clients may not write to the broker's own topics. The standard lets a server acknowledge
            // what it does not deliver [MQTT-3.3.5-2].
            _ if !is_new || is_the_brokers(topic) => Reason::Success,
            _ => {
                let content = Content::new(topic, publish.payload, publish.delivery.qos())
                    .with(publish.properties, batch.now);
                let retain = publish.retain && self.limits.retain_available;
                match self.publish(content, retain, Some(connected.client.key), index, batch) {
                    false if connected.version == Version::V5 => Reason::NoMatchingSubscribers,
                    _ => Reason::Success,
                }
            }
        };
        let (ack, packet_id) = match publish.delivery {
            Delivery::AtMostOnce => return Ok(()),
            Delivery::AtLeastOnce(packet_id) => (AckType::Puback, packet_id),
            Delivery::ExactlyOnce(packet_id) => (AckType::Pubrec, packet_id),
        };
        if !reason.is_error() {
            batch.acknowledge(ack, packet_id, reason);
            return Ok(());
        }
        let words = match reason {
            Reason::NotAuthorized => "only the broker publishes to $SYS and $SOL",
            _ => "the payload is not UTF-8, which its format indicator says it is",
        };
        batch.refuse(ack, packet_id, reason, words, &connected.terms);
        Ok(())
    }

    /// A QoS 2 PUBLISH came. Says whether its message is new.
    fn receive_exactly_once(
        &self,
        connected: &Connected,
        packet_id: PacketId,
        is_accepted: bool,
        tally: &mut Tally,
    ) -> Result<bool, Ending> {
        let mut session = connected.client.session.lock();
        session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
        let maximum = match connected.version {
            Version::V5 => self.limits.max_received_messages,
            Version::V31 | Version::V311 => u16::MAX,
        };
        let received = session.inbound.receive(packet_id, maximum);
        if received == Received::New && !is_accepted {
            // After a PUBREC with an error the identifier is free [5.0 MQTT-4.3.3-9].
            session.inbound.release(packet_id);
        }
        session.settle(tally);
        match received {
            Received::New => Ok(true),
            Received::Again => Ok(false),
            Received::TooMany => {
                let what = "more QoS 2 messages before PUBREL than Receive Maximum allows [MQTT-3.3.4-7]";
                Err(violation(Reason::ReceiveMaximumExceeded, what))
            }
        }
    }

    /// The topic of a PUBLISH of 5.0, by its topic alias if need be.
    fn topic<'a>(
        &self,
        aliases: &'a mut ReceivedAliases,
        publish: &Publish<'a>,
        tally: &mut Tally,
    ) -> Result<Name<'a>, Ending> {
        let mut alias = None;
        for property in publish.properties.iter() {
            match property {
                Property::TopicAlias(number) => alias = Some(number),
                Property::SubscriptionIdentifier(_) => {
                    let what = "a subscription identifier in PUBLISH, which only servers send [MQTT-3.3.4-6]";
                    return Err(violation(Reason::ProtocolError, what));
                }
                _ => {}
            }
        }
        let unknown =
            || violation(Reason::ProtocolError, "PUBLISH without a topic name or a known topic alias");
        let Some(alias) = alias else { return publish.topic.ok_or_else(unknown) };
        if alias.get() > self.limits.max_topic_alias {
            let what = "a topic alias above Topic Alias Maximum [MQTT-3.3.2-9]";
            return Err(violation(Reason::TopicAliasInvalid, what));
        }
        if let Some(topic) = publish.topic {
            let before = aliases.bytes();
            let set = aliases.set(alias, topic);
            tally.charge(before, aliases.bytes());
            set.map_err(|error| violation(Reason::QuotaExceeded, error.to_string()))?;
            return Ok(topic);
        }
        aliases.topic(alias).ok_or_else(unknown)
    }

    /// Why a client of 5.0 may not publish this, if so. The others are not told.
    fn refusal(&self, topic: Name<'_>, publish: &Publish<'_>) -> Result<Option<Reason>, Ending> {
        let qos = publish.delivery.qos();
        if qos > self.limits.max_qos {
            let what = format!("PUBLISH at QoS {qos}, above Maximum QoS [MQTT-3.2.2-11]");
            return Err(violation(Reason::QosNotSupported, what));
        }
        if publish.retain && !self.limits.retain_available {
            return Err(violation(
                Reason::RetainNotSupported,
                "PUBLISH with RETAIN, which is not available [MQTT-3.2.2-14]",
            ));
        }
        if is_the_brokers(topic) {
            return Ok(Some(Reason::NotAuthorized));
        }
        if self.limits.check_payload_format && !is_as_said(publish.payload, publish.properties) {
            return match qos {
                QoS::AtMostOnce => {
                    let what = "PUBLISH whose payload is not UTF-8, which its format indicator says it is";
                    Err(violation(Reason::PayloadFormatInvalid, what))
                }
                _ => Ok(Some(Reason::PayloadFormatInvalid)),
            };
        }
        Ok(None)
    }

    /// Publishes the will of a connection that ended without DISCONNECT [MQTT-3.1.2-8].
    pub(super) fn publish_will(&self, will: Option<Will>, from: ClientKey, batch: &mut Batch) {
        let Some(Will { message, retain, .. }) = will else { return };
        if !is_the_brokers(message.topic()) {
            let content = Content::published(&message, batch.now);
            self.publish(content, retain, Some(from), &self.index.read(), batch);
        }
        release(message, &mut batch.tally);
    }

    /// Stores the message if it is to be retained, and puts it into every session with a matching subscription
    /// [MQTT-4.5.0-1], and of each matching shared one into one. `from` is the client that sent it. False if there is
    /// none.
    ///
    /// The retained messages stay locked until all have theirs: of two publishers of a topic, the one whose message is
    /// retained is the one that every subscriber hears last.
    pub(super) fn publish(
        &self,
        content: Content<'_>,
        retain: bool,
        from: Option<ClientKey>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> bool {
        let _retained = retain.then(|| self.retain(&content, batch.now, &mut batch.tally));
        let Batch { routes, wakers, bytes, tally, now, .. } = batch;
        let found = routes.find(index, content.topic(), tally);
        let limits = self.delivery_limits();
        let mut sending = self.sending(&content, &limits, wakers, bytes, tally, *now);
        let mut is_for_somebody = !found.plain.is_empty() || !found.shared.is_empty();
        for route in &found.plain {
            // The lower of published and granted QoS [MQTT-3.8.4-6].
            sending.deliver(&route.client, &Manner::at(content.qos().min(route.qos)));
        }
        for route in &found.special {
            if let Some(manner) = route.manner(content.qos(), retain, from) {
                is_for_somebody = true;
                sending.deliver(&route.client, &manner);
            }
        }
        for group in found.shared.iter().filter_map(|key| index.group(*key)) {
            if let Err(missed) = group.deliver(&mut sending, retain, Reach::All) {
                missed.count(&mut sending);
            }
        }
        if content.is_shared() {
            *bytes += content.payload().len();
        }
        content.settle(tally);
        is_for_somebody
    }

    /// For the deliveries of one message.
    pub(super) fn sending<'s, 'c>(
        &self,
        content: &'s Content<'c>,
        limits: &'s DeliveryLimits,
        wakers: &'s mut Vec<Waker>,
        bytes: &'s mut usize,
        tally: &'s mut Tally,
        now: Instant,
    ) -> Sending<'s, 'c> {
        Sending { content, limits, stage: self.memory.stage(), now, wakers, bytes, tally }
    }

    fn retain(
        &self,
        content: &Content<'_>,
        now: Instant,
        tally: &mut Tally,
    ) -> RwLockWriteGuard<'_, RetainedStore> {
        let is_clients = !is_the_brokers(content.topic());
        let mut store = self.retained.write();
        // Gone in any case: replaced, deleted by an empty payload [MQTT-3.3.1-10] [MQTT-3.3.1-11], or no longer the last.
        self.unretain(&mut store, content.topic(), tally);
        if content.payload().is_empty() {
            return store;
        }
        if is_clients {
            if !self.has_room(&store, content.bytes()) || self.memory.stage() > Stage::Ample {
                self.forget_expired(&mut store, now, tally);
            }
            if !self.has_room(&store, content.bytes()) {
                tally.dropped_retained_full += 1;
                return store;
            }
            if self.memory.stage() > Stage::Ample {
                tally.dropped_retained_memory_full += 1;
                return store;
            }
            store.bytes += content.bytes();
            store.count += 1;
            self.retained_count.store(store.count, Ordering::Relaxed);
        }
        store.next_expiry = store.next_expiry.into_iter().chain(content.expires_at()).min();
        store.messages.set(content.topic(), content.to_message());
        store
    }

    fn has_room(&self, store: &RetainedStore, bytes: usize) -> bool {
        store.bytes.saturating_add(bytes) <= self.limits.max_retained_bytes
            && store.count < self.limits.max_retained_messages
    }

    /// Removes the message retained for a topic.
    fn unretain(&self, store: &mut RetainedStore, topic: Name<'_>, tally: &mut Tally) {
        let Some(old) = store.messages.remove(topic) else { return };
        if !is_the_brokers(topic) {
            store.bytes = store.bytes.saturating_sub(old.bytes());
            store.count = store.count.saturating_sub(1);
            self.retained_count.store(store.count, Ordering::Relaxed);
        }
        release(old, tally);
    }

    /// Removes retained messages that were found expired [5.0 MQTT-3.3.2-5], unless a newer one stands in their place.
    pub(super) fn forget_retained(&self, expired: Vec<Arc<Message>>, tally: &mut Tally) {
        if expired.is_empty() {
            return;
        }
        let mut store = self.retained.write();
        for message in expired {
            let topic = message.topic();
            if store.messages.get(topic).is_some_and(|retained| Arc::ptr_eq(retained, &message)) {
                self.unretain(&mut store, topic, tally);
                tally.expired_messages += 1;
            }
            release(message, tally);
        }
    }

    /// Removes retained messages that have expired and that nobody has found.
    pub(super) fn sweep_retained(&self, batch: &mut Batch) {
        let Batch { now, tally, .. } = batch;
        let is_due = |store: &RetainedStore| store.next_expiry.is_some_and(|at| at + SWEEP_DELAY <= *now);
        if is_due(&self.retained.read()) {
            self.forget_expired(&mut self.retained.write(), *now, tally);
            self.absorb(batch);
        }
    }

    /// Removes all retained messages that have expired. It looks at each message, if any may have.
    fn forget_expired(&self, store: &mut RetainedStore, now: Instant, tally: &mut Tally) {
        if store.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        let expired: Vec<_> =
            store.messages.iter().filter(|message| message.is_expired(now)).cloned().collect();
        for message in expired {
            self.unretain(store, message.topic(), tally);
            tally.expired_messages += 1;
            release(message, tally);
        }
        let next = store.messages.iter().filter_map(|message| message.expires_at()).min();
        store.next_expiry = next.map(|at| at.max(now + LOOK_INTERVAL));
    }
}

/// The client did what 5.0 forbids, and has a reason code for.
fn violation(reason: Reason, what: impl Into<Cow<'static, str>>) -> Ending {
    Ending::Violation { reason, what: what.into() }
}

/// A PUBLISH is on its way to a client.
pub(super) fn count_sent(payload: &[u8], tally: &mut Tally) {
    tally.messages_sent += 1;
    tally.publish_sent += 1;
    tally.publish_bytes_sent += i64::try_from(payload.len()).unwrap_or(0);
}

/// A session did not take a delivery. At QoS 0 an absent client is not owed it, so that is no loss.
pub(super) fn count_dropped(connected: bool, qos: QoS, stage: Stage, tally: &mut Tally) {
    match (qos, connected) {
        (QoS::AtMostOnce, false) => {}
        _ if stage > Stage::Ample => tally.dropped_memory_full += 1,
        (QoS::AtMostOnce, true) => tally.dropped_outbox_full += 1,
        _ => tally.dropped_queue_full += 1,
    }
}

/// Whether a payload is UTF-8 if its Payload Format Indicator says so.
pub(super) fn is_as_said(payload: &[u8], properties: Properties<'_>) -> bool {
    properties.iter().all(|property| property != Property::PayloadFormatIndicator(true))
        || str::from_utf8(payload).is_ok()
}

/// The trees that the broker alone publishes to.
fn is_the_brokers(topic: Name<'_>) -> bool {
    topic.is_reserved() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$SOL"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use super::*;
    use crate::auth::Access;
    use crate::codec::{Connect, Packet, PacketId, Properties, Subscribe, Version};
    use crate::hub::{Limits, Next, Peer};
    use crate::topic::Filter;

    fn connected(hub: &Hub, client_id: &str, batch: &mut Batch) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut peer = hub.accept(address, Arc::new(Access::open()), Instant::now()).unwrap();
        let connect = Connect {
            version: Version::V311,
            clean_session: false,
            keep_alive: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        handle(hub, &mut peer, &[Packet::Connect(connect)], batch);
        peer
    }

    fn handle(hub: &Hub, peer: &mut Peer, packets: &[Packet<'_>], batch: &mut Batch) -> (Next, bool) {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(Version::V311, &mut bytes).unwrap());
        let handled = hub.handle(peer, &bytes, Instant::now(), batch);
        (handled.next, handled.consumed == bytes.len())
    }

    #[test]
    fn messages_that_nobody_can_take_cut_a_batch_too() {
        let hub = Hub::new(Limits { max_queued_messages: 0, ..Limits::default() });
        let mut batch = Batch::new(Instant::now());
        let mut absent = connected(&hub, "absent", &mut batch);
        let subscribe = Subscribe::new(PacketId::MIN, vec![(Filter::new("t").unwrap(), QoS::AtLeastOnce)]);
        handle(&hub, &mut absent, &[Packet::Subscribe(subscribe)], &mut batch);
        hub.close(absent, &Ending::Closed, Instant::now(), &mut batch);
        batch.wake();
        let mut publisher = connected(&hub, "publisher", &mut batch);
        batch.wake();
        let delivery = Delivery::AtLeastOnce(PacketId::MIN);
        let publish = Publish::new(Name::new("t").unwrap(), delivery, b"");
        let flood = vec![Packet::Publish(publish); super::super::batch::FULL_BYTES / QUEUED_BYTES + 1];
        let (next, is_all) = handle(&hub, &mut publisher, &flood, &mut batch);
        assert!(matches!(next, Next::Yield) && !is_all, "{next:?}");
    }
}
