//! What a client is sent: the sender's half of QoS 1 and QoS 2, and the queue before it.
//!
//! ```text
//!            window open              PUBACK (QoS 1)
//!   queued ──────────────▶ published ─────────────────▶ identifier free
//!                              │
//!                              │ PUBREC (QoS 2): PUBREL       PUBCOMP
//!                              └────────────────▶ released ────────────▶ identifier free
//! ```
//!
//! On return to the session everything in flight is sent again under its
//! identifier, PUBREL or PUBLISH with DUP [MQTT-4.4.0-1]; at no other time.
//! PUBLISHes beyond the client's Receive Maximum wait for acknowledgements
//! [5.0 MQTT-3.3.4-9], and what is new waits behind them.
//!
//! A message that expires in the queue is dropped [5.0 MQTT-3.3.2-5]. One that
//! is in flight is not: its delivery has begun, and is finished [5.0
//! MQTT-4.3.3-7], even over another connection.

mod handover;
mod queue;
mod stored;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::time::Instant;

pub use handover::Handed;
use queue::{Kept, Queue};
pub use stored::{Loaded, Wanted};
use stored::{Owed, Stored};

use super::identifiers::Identifiers;
use super::log::SessionLog;
use super::manner::Manner;
use super::message::Content;
use super::outbox::Outbox;
use super::tally::{Freed, Tally, signed};
use crate::codec::{AckType, Delivery, PacketId, QoS, encode_ack};
use crate::store::{Position, Record};
use crate::topic::Name;

/// Limits on what one session may hold for its client.
#[derive(Clone, Copy, Debug)]
pub struct OutboundLimits {
    /// QoS 1 and 2 messages in flight at a time.
    pub in_flight_messages: u16,
    /// Bytes of those messages; the first is sent in any case.
    pub in_flight_bytes: usize,
    /// Messages that wait for the client or for room in the window.
    pub queued_messages: usize,
    /// Bytes of those messages.
    pub queued_bytes: usize,
    /// Messages that wait for a client whose session survives the broker: they take room in the store, not in memory.
    pub stored_messages: usize,
    /// Bytes of those messages.
    pub stored_bytes: usize,
    /// Encoded packets that wait for the client to read. Beyond it QoS 0 is dropped and the rest queued.
    pub outbox_bytes: usize,
}

/// What became of a message handed to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the outbox, as a packet of so many bytes.
    Sent(usize),
    /// It waits for the client's return, for an acknowledgement or for room.
    Queued,
    /// A limit was reached, or the client is away and the message QoS 0.
    Dropped,
    /// The packet would be larger than the client takes: for this client it is as if it were delivered
    /// [5.0 MQTT-3.1.2-25].
    TooLarge,
}

/// Messages for one client, in order.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Of a session that survives the broker.
    pub(super) log: Option<SessionLog>,
    identifiers: Identifiers,
    /// PUBLISH sent, in sending order: redelivery keeps it [MQTT-4.6.0-1].
    published: VecDeque<InFlight>,
    published_bytes: usize,
    published_note_bytes: usize,
    /// How many of them, the last ones, were sent over an earlier connection and not yet again.
    to_repeat: usize,
    /// PUBREL sent, in the order of the PUBRECs [MQTT-4.6.0-4].
    released: VecDeque<PacketId>,
    queue: Queue,
    /// What waits behind the queue, of a session that survives the broker.
    stored: Stored,
    /// The group of the last change that the next life must know, so that QoS 2 is exactly once.
    relied_on: u64,
    freed: Freed,
    /// What was sent from the queue or again, and what was given up instead, since the last [`Outbound::settle`].
    sent_messages: i64,
    /// Of these, and of the bytes of their payloads, those at QoS 0, 1 and 2.
    sent: [(i64, i64); 3],
    expired: i64,
    too_large: i64,
    told: Told,
}

/// What the tallies know of it.
#[derive(Debug, Default)]
struct Told {
    in_flight: usize,
    queued: usize,
    queued_bytes: usize,
}

/// What an entry in flight takes beside its message: the table grows by doubling.
pub(super) const IN_FLIGHT_BYTES: usize = 2 * size_of::<InFlight>();

#[derive(Debug)]
struct InFlight {
    packet_id: PacketId,
    qos: QoS,
    position: Position,
    owed: Owed,
    /// None while it is in the store alone.
    kept: Option<Kept>,
}

impl Outbound {
    /// Where its changes are written down, if it survives the broker.
    pub fn log(&self) -> Option<&SessionLog> {
        self.log.as_ref()
    }

    /// Messages in flight: sent and not finally acknowledged.
    pub fn in_flight(&self) -> usize {
        self.published.len() + self.released.len()
    }

    /// Messages that wait to be sent.
    pub fn queued(&self) -> usize {
        self.queue.len() + self.stored.messages
    }

    /// Bytes of the messages that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes() + self.stored.bytes
    }

    /// Bytes of all its messages, and what they take beside.
    pub(super) fn held_bytes(&self) -> usize {
        self.queue.bytes() + self.published_bytes + self.own_bytes()
    }

    /// Memory it takes beside the messages it shares.
    pub(super) fn own_bytes(&self) -> usize {
        self.in_flight() * IN_FLIGHT_BYTES + self.published_note_bytes + self.queue.own_bytes()
    }

    /// With these identifiers next.
    pub(super) fn with(identifiers: Identifiers) -> Self {
        Self { identifiers, ..Self::default() }
    }

    pub(super) fn identifiers(&self) -> Identifiers {
        self.identifiers
    }

    fn is_empty(&self) -> bool {
        self.published.is_empty() && self.released.is_empty() && self.queue.len() == 0
    }

    /// Whether it is as new, but for its identifiers.
    pub(super) fn is_blank(&self) -> bool {
        self.log.is_none()
            && self.is_empty()
            && self.freed.is_empty()
            && self.sent_messages + self.expired + self.too_large == 0
    }

    /// Whether it has room for more than is in it, which is nothing.
    pub(super) fn has_spare(&self) -> bool {
        self.is_empty() && (self.log.is_none() || self.published.capacity() + self.released.capacity() > 0)
    }

    /// A client at rest keeps no table.
    pub(super) fn let_go_of_room(&mut self) {
        self.published.shrink_to_fit();
        self.released.shrink_to_fit();
        self.queue.let_go_of_room();
    }

    /// Counts what was sent on its own account, and takes messages that nobody needs any more off the tally.
    pub(super) fn settle(&mut self, tally: &mut Tally) {
        self.freed.settle(tally);
        let now =
            Told { in_flight: self.in_flight(), queued: self.queued(), queued_bytes: self.queued_bytes() };
        let before = std::mem::replace(&mut self.told, now);
        let now = &self.told;
        tally.in_flight += signed(now.in_flight) - signed(before.in_flight);
        tally.queued_messages += signed(now.queued) - signed(before.queued);
        tally.queued_bytes += signed(now.queued_bytes) - signed(before.queued_bytes);
        if self.sent_messages == 0 && self.expired == 0 && self.too_large == 0 {
            return;
        }
        let sent = std::mem::take(&mut self.sent_messages);
        let [(_, bytes_0), (messages_1, bytes_1), (messages_2, bytes_2)] = std::mem::take(&mut self.sent);
        tally.messages_sent += sent;
        tally.publish_sent += sent;
        tally.publish_sent_1 += messages_1;
        tally.publish_sent_2 += messages_2;
        tally.publish_bytes_sent += bytes_0 + bytes_1 + bytes_2;
        tally.publish_bytes_sent_1 += bytes_1;
        tally.publish_bytes_sent_2 += bytes_2;
        tally.expired_messages += std::mem::take(&mut self.expired);
        tally.dropped_too_large += std::mem::take(&mut self.too_large);
    }

    #[inline]
    pub(super) fn settle_in_flight(&mut self, tally: &mut Tally) {
        self.told.in_flight += 1;
        tally.in_flight += 1;
    }

    /// Takes a message for the client: into `outbox` if the
    /// client is here and there is room, otherwise into the queue.
    pub fn deliver(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        outbox: Option<&mut Outbox>,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        let is_here = outbox.is_some();
        let outbox = outbox.filter(|outbox| outbox.bytes() < limits.outbox_bytes);
        if manner.qos == QoS::AtMostOnce {
            return self.deliver_at_most_once(content, manner, outbox, limits, now);
        }
        if let Some(outbox) = outbox
            && self.queued() == 0
            && self.to_repeat == 0
            && let Some(packet_id) = self.open_slot(outbox, limits)
        {
            self.hold(outbox, manner.qos);
            let delivery = delivery(manner.qos, packet_id);
            let Some(bytes) = outbox.publish(false, delivery, manner, content, now) else {
                return Outcome::TooLarge;
            };
            let (position, owed) = self.record_sent(content, manner, packet_id);
            let kept = Some(Kept::of(content, manner, position));
            self.push_published(InFlight { packet_id, qos: manner.qos, position, owed, kept });
            return Outcome::Sent(bytes);
        }
        if self.log.is_some() {
            return self.store(content, manner, is_here, limits, now);
        }
        self.enqueue(content, manner, limits, now)
    }

    /// A live QoS 0 message waits only behind a retained one that may be an older value of its topic.
    fn deliver_at_most_once(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        outbox: Option<&mut Outbox>,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        if self.queue.has_at_most_once() {
            return self.enqueue(content, manner, limits, now);
        }
        match Self::pass(content, manner, outbox, now) {
            Some(outcome) => outcome,
            None => self.enqueue(content, manner, limits, now),
        }
    }

    /// A message at QoS 0 before which nothing waits; none if it is to wait itself.
    #[inline(always)]
    pub(super) fn pass(
        content: &Content<'_>,
        manner: &Manner,
        outbox: Option<&mut Outbox>,
        now: Instant,
    ) -> Option<Outcome> {
        match outbox {
            Some(outbox) => {
                let bytes = outbox.publish(false, Delivery::AtMostOnce, manner, content, now);
                Some(bytes.map_or(Outcome::TooLarge, Outcome::Sent))
            }
            None => (!manner.replayed).then_some(Outcome::Dropped),
        }
    }

    fn enqueue(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        let bytes = content.bytes() + manner.note_bytes();
        if !self.queue.has_room(bytes, limits) {
            self.forget_expired(now);
            if !self.queue.has_room(bytes, limits) {
                return Outcome::Dropped;
            }
        }
        self.queue.push_back(Kept::of(content, manner, 0));
        Outcome::Queued
    }

    /// Moves queued messages into the outbox as far as window and room allow.
    pub fn poll_queue(&mut self, outbox: &mut Outbox, limits: &OutboundLimits, now: Instant) {
        self.repeat(outbox, now);
        if self.to_repeat > 0 {
            return;
        }
        while outbox.bytes() < limits.outbox_bytes
            && let Some(next) = self.queue.front()
        {
            let qos = next.manner.qos;
            let delivery = if next.message.is_expired(now) {
                None
            } else if qos == QoS::AtMostOnce {
                Some(Delivery::AtMostOnce)
            } else if let Some(packet_id) = self.open_slot(outbox, limits) {
                Some(delivery(qos, packet_id))
            } else {
                return;
            };
            let Some(Kept { message, manner, position }) = self.queue.pop_front() else { return };
            let Some(delivery) = delivery else {
                self.expired += 1;
                self.freed.release(message);
                if qos != QoS::AtMostOnce {
                    self.dequeue_record(position);
                }
                continue;
            };
            self.hold(outbox, qos);
            let is_sent = outbox.publish(false, delivery, &manner, &Content::shared(&message), now).is_some();
            self.count_sent(qos, message.payload().len(), is_sent);
            match delivery.packet_id() {
                Some(packet_id) if is_sent => {
                    if let Some(log) = &self.log {
                        log.record(|session| Record::InFlight { session, position, packet_id });
                    }
                    let kept = Some(Kept { message, manner, position });
                    self.push_published(InFlight { packet_id, qos, position, owed: Owed::default(), kept });
                }
                _ => {
                    self.freed.release(message);
                    if delivery != Delivery::AtMostOnce {
                        self.dequeue_record(position);
                    }
                }
            }
        }
        self.queue.let_go_of_room();
    }

    /// Sends again what was in flight over an earlier connection, in its order, as far as the client takes it.
    fn repeat(&mut self, outbox: &mut Outbox, now: Instant) {
        while self.to_repeat > 0 && self.in_flight() - self.to_repeat < usize::from(outbox.receive_maximum())
        {
            let at = self.published.len() - self.to_repeat;
            // What is still in the store is asked for.
            let Some(InFlight { packet_id, kept: Some(kept), .. }) = self.published.get(at) else { return };
            self.to_repeat -= 1;
            let Kept { message, manner, .. } = kept;
            let qos = manner.qos;
            let delivery = delivery(qos, *packet_id);
            let payload_len = message.payload().len();
            let is_sent = outbox.publish(true, delivery, manner, &Content::shared(message), now).is_some();
            self.count_sent(qos, payload_len, is_sent);
            if !is_sent {
                // This connection takes less than the one before.
                if let Some((position, owed)) = self.remove_published(at) {
                    self.done_record(position, owed);
                }
            }
        }
    }

    fn count_sent(&mut self, qos: QoS, payload_len: usize, is_sent: bool) {
        if is_sent {
            self.sent_messages += 1;
            let [zero, one, two] = &mut self.sent;
            let (messages, bytes) = match qos {
                QoS::AtMostOnce => zero,
                QoS::AtLeastOnce => one,
                QoS::ExactlyOnce => two,
            };
            *messages += 1;
            *bytes += signed(payload_len);
        } else {
            self.too_large += 1;
        }
    }

    /// PUBACK: the QoS 1 message is delivered. False if there is none of that identifier.
    #[inline]
    pub fn handle_puback(&mut self, packet_id: PacketId) -> bool {
        self.finish_published(packet_id, QoS::AtLeastOnce)
    }

    /// PUBREC: the client owns the QoS 2 message. To be answered by PUBREL in
    /// every case: a repeat needs it again, and for an identifier unknown here
    /// it lets the client finish. False if there is none of that identifier.
    #[inline]
    pub fn handle_pubrec(&mut self, packet_id: PacketId) -> bool {
        let published = self.take_published(packet_id, QoS::ExactlyOnce);
        if let Some((position, _)) = published {
            self.release_identifier(position, packet_id);
        }
        published.is_some() || self.released.contains(&packet_id)
    }

    /// PUBREC with an error: the client does not want the QoS 2 message, which is the end of it
    /// [5.0 MQTT-4.4.0-2]. False if there is none of that identifier.
    pub fn handle_refusal(&mut self, packet_id: PacketId) -> bool {
        self.finish_published(packet_id, QoS::ExactlyOnce)
    }

    /// PUBCOMP: the QoS 2 handshake is over. False if there is none of that identifier.
    #[inline]
    pub fn handle_pubcomp(&mut self, packet_id: PacketId) -> bool {
        if self.released.front() == Some(&packet_id) {
            self.released.pop_front();
        } else {
            let Some(at) = self.released.iter().position(|id| *id == packet_id) else { return false };
            self.released.remove(at);
        }
        if let Some(log) = &self.log {
            log.record(|session| Record::Completed { session, packet_id });
        }
        true
    }

    /// The client went away: what was for the connection alone is forgotten.
    pub fn suspend(&mut self) {
        self.shed();
        self.unload();
    }

    /// Drops the QoS 0 messages in the queue. Gives how many.
    pub(super) fn shed(&mut self) -> usize {
        if !self.queue.has_at_most_once() {
            return 0;
        }
        let dropped = self.queue.take_if(|queued| queued.manner.qos == QoS::AtMostOnce);
        self.release_all(dropped)
    }

    /// Drops the messages in the queue that have expired.
    pub(super) fn forget_expired(&mut self, now: Instant) {
        let expired = self.queue.take_expired(now);
        self.expired += signed(self.release_all(expired));
    }

    fn release_all(&mut self, dropped: VecDeque<Kept>) -> usize {
        let count = dropped.len();
        for Kept { message, manner, position } in dropped {
            self.freed.release(message);
            if manner.qos != QoS::AtMostOnce {
                self.dequeue_record(position);
            }
        }
        count
    }

    /// Drops the newest messages, first of the queue and then of those in flight, until no more than `keep` bytes are
    /// held. Gives how many. What the store has is not dropped: while its client is away it takes no memory.
    pub(super) fn trim(&mut self, keep: usize) -> usize {
        if self.log.is_some() { 0 } else { self.cut(keep) }
    }

    fn cut(&mut self, keep: usize) -> usize {
        let mut dropped = 0;
        while self.held_bytes() > keep {
            let Some(kept) = self.queue.pop_back().or_else(|| self.pop_published()) else { break };
            self.freed.release(kept.message);
            dropped += 1;
        }
        self.queue.shrink_to_fit();
        dropped
    }

    /// The session is over: lets go of everything.
    pub(super) fn clear(&mut self) {
        self.released.clear();
        self.cut(0);
        while let Some(sent) = self.published.pop_front() {
            if let Some(kept) = sent.kept {
                self.freed.release(kept.message);
            }
        }
        self.stored = Stored::default();
    }

    /// The client is back: sends again what is in flight [MQTT-4.4.0-1]; beyond its Receive Maximum, in
    /// [`Outbound::poll_queue`].
    pub fn resume(&mut self, outbox: &mut Outbox, now: Instant) {
        self.begin_again(outbox);
        self.repeat(outbox, now);
    }

    /// The same for a client that may not read all that it was to have. Gives how many messages were dropped.
    pub fn resume_readable(
        &mut self,
        outbox: &mut Outbox,
        may_read: impl Fn(Name<'_>) -> bool,
        now: Instant,
    ) -> usize {
        self.begin_again(outbox);
        let dropped = self.forget_unreadable(outbox, may_read);
        self.repeat(outbox, now);
        dropped
    }

    fn begin_again(&mut self, outbox: &mut Outbox) {
        self.stored.forget_question();
        // What is in flight, or released, only since the store cannot be written may not be there for the next life.
        outbox.hold(self.relied_on);
        for packet_id in &self.released {
            encode_ack(outbox.packets(), AckType::Pubrel, *packet_id);
        }
        self.to_repeat = self.published.len();
    }

    /// Drops the messages in memory that the client may not read any more and that were not sent over this connection.
    /// Gives how many. An identifier of QoS 2 ends by PUBREL all the same: the client may know it from before, and would
    /// take the next message under it for the same.
    pub fn forget_unreadable(&mut self, outbox: &mut Outbox, may_read: impl Fn(Name<'_>) -> bool) -> usize {
        let waiting = self.queue.take_if(|kept| !may_read(kept.message.topic()));
        let mut dropped = self.release_all(waiting);
        let mut at = self.published.len() - self.to_repeat;
        while let Some(sent) = self.published.get(at) {
            if sent.kept.as_ref().is_none_or(|kept| may_read(kept.message.topic())) {
                at += 1;
                continue;
            }
            let (packet_id, qos, position) = (sent.packet_id, sent.qos, sent.position);
            self.remove_published(at);
            self.to_repeat -= 1;
            dropped += 1;
            if qos == QoS::ExactlyOnce {
                self.release_identifier(position, packet_id);
                outbox.hold(self.relied_on);
                encode_ack(outbox.packets(), AckType::Pubrel, packet_id);
            } else {
                self.dequeue_record(position);
            }
        }
        dropped
    }

    /// PUBREL is next for the QoS 2 message.
    fn release_identifier(&mut self, position: Position, packet_id: PacketId) {
        self.released.push_back(packet_id);
        if let Some(log) = &self.log {
            log.record(|session| Record::Released { session, position, packet_id });
            self.relied_on = log.journal().group();
        }
    }

    #[inline]
    fn push_published(&mut self, sent: InFlight) {
        if let Some(kept) = &sent.kept {
            self.published_bytes += kept.message.bytes();
            self.published_note_bytes += kept.manner.note_bytes();
        }
        self.published.push_back(sent);
    }

    fn pop_published(&mut self) -> Option<Kept> {
        let InFlight { kept, .. } = self.published.pop_back()?;
        let kept = kept?;
        self.to_repeat = self.to_repeat.saturating_sub(1);
        self.count_off(&kept);
        Some(kept)
    }

    /// It is in flight no longer.
    fn count_off(&mut self, kept: &Kept) {
        self.published_bytes = self.published_bytes.saturating_sub(kept.message.bytes());
        self.published_note_bytes = self.published_note_bytes.saturating_sub(kept.manner.note_bytes());
    }

    /// Acknowledgements come in the order of the messages, so the first one is nearly always it.
    fn take_published(&mut self, packet_id: PacketId, qos: QoS) -> Option<(Position, Owed)> {
        let is_it = |sent: &InFlight| sent.packet_id == packet_id && sent.qos == qos;
        let at = if self.published.front().is_some_and(is_it) {
            0
        } else {
            self.published.iter().position(is_it)?
        };
        // Known to the client from before, it seems.
        self.to_repeat -= usize::from(at >= self.published.len() - self.to_repeat);
        self.remove_published(at)
    }

    /// The message is delivered, or refused.
    fn finish_published(&mut self, packet_id: PacketId, qos: QoS) -> bool {
        let Some((position, owed)) = self.take_published(packet_id, qos) else { return false };
        self.done_record(position, owed);
        true
    }

    fn remove_published(&mut self, at: usize) -> Option<(Position, Owed)> {
        let sent = if at == 0 { self.published.pop_front() } else { self.published.remove(at) };
        let InFlight { kept, position, owed, .. } = sent?;
        match kept {
            Some(kept) => {
                self.count_off(&kept);
                self.freed.release(kept.message);
            }
            None => self.stored.unloaded -= 1,
        }
        Some((position, owed))
    }

    #[inline]
    fn open_slot(&mut self, outbox: &Outbox, limits: &OutboundLimits) -> Option<PacketId> {
        // [5.0 MQTT-4.9.0-1] [5.0 MQTT-4.9.0-2]
        if self.in_flight() >= usize::from(limits.in_flight_messages.min(outbox.receive_maximum()))
            || self.published_bytes + self.published_note_bytes >= limits.in_flight_bytes
        {
            return None;
        }
        let used = self.published.iter().map(|sent| sent.packet_id).chain(self.released.iter().copied());
        self.identifiers.allocate(used)
    }
}

fn delivery(qos: QoS, packet_id: PacketId) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
    }
}
