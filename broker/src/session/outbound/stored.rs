//! What a session that survives the broker has in the store alone.
//!
//! While its client is away a session keeps no message in memory; while it is
//! here, a window of its queue. The rest is asked for in pieces, each when the
//! one before is nearly used up.

use std::sync::Arc;
use std::time::Instant;

use super::queue::Kept;
use super::{InFlight, Outbound, OutboundLimits};
use crate::codec::{PacketId, QoS};
use crate::session::identifiers::Identifiers;
use crate::session::log::SessionLog;
use crate::session::tally::Tally;
use crate::session::{Content, Manner, Message, Outbox, Outcome};
use crate::store::{Draft, MannerRecord, Position, Receipt, Record};

/// Messages that a client which is here has in memory, of those that wait.
const WINDOW_MESSAGES: usize = 1024;
/// Bytes of them.
const WINDOW_BYTES: usize = 512 << 10;
/// With fewer in memory, more are asked for,
const LOW_MESSAGES: usize = 256;
/// unless they are so many bytes.
const LOW_BYTES: usize = WINDOW_BYTES - PIECE_BYTES;
/// At most so many messages are asked for at a time.
pub(super) const PIECE_MESSAGES: usize = 512;
/// And so many bytes.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// The part of the queue that is in the store alone, behind the part that is in memory.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Everything before is in memory, or gone.
    from: Position,
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// The position of the next message.
    next: Position,
    /// Some came by shared subscriptions, in this life of the broker.
    has_shared: bool,
    /// Messages in flight whose content is in the store alone.
    pub(super) unloaded: usize,
    /// Which question awaits its answer.
    asked: Option<u64>,
    /// Questions so far.
    questions: u64,
    /// How much was stored by then.
    asked_at: Position,
}

/// What says that a message which went out is owed to the client.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// In the store, as long as it can be taken back.
    draft: Draft,
    /// To the publisher who waits.
    receipt: Option<Arc<Receipt>>,
}

/// A part of a session's messages to be fetched from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// From there on.
    pub from: Position,
    /// To be given back with the answer.
    pub question: u64,
    /// At most so many messages.
    pub max_messages: usize,
    /// And so many bytes.
    pub max_bytes: usize,
}

/// A message that came from the store.
#[derive(Debug)]
pub struct Loaded {
    /// Where it stands.
    pub position: Position,
    /// It is in flight.
    pub packet_id: Option<PacketId>,
    /// What it is.
    pub message: Message,
    /// How it is to go to the client.
    pub manner: Manner,
}

impl Outbound {
    /// One that survived the broker.
    pub fn restored(
        log: SessionLog,
        in_flight: &[(Position, PacketId, QoS)],
        released: Vec<PacketId>,
        queued: (usize, usize),
        next_position: Position,
    ) -> Self {
        let published = in_flight.iter().map(|(position, packet_id, qos)| InFlight {
            packet_id: *packet_id,
            qos: *qos,
            position: *position,
            owed: Owed::default(),
            kept: None,
        });
        let (messages, bytes) = queued;
        Self {
            log: Some(log),
            identifiers: Identifiers::in_use(),
            published: published.collect(),
            released: released.into(),
            stored: Stored {
                messages,
                bytes,
                next: next_position,
                unloaded: in_flight.len(),
                ..Stored::default()
            },
            ..Self::default()
        }
    }

    /// A message at QoS 1 or 2 goes out. Gives where it stands in the store, if it is there, and what says so.
    #[inline]
    pub(super) fn record_sent(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        packet_id: PacketId,
    ) -> (Position, Owed) {
        if self.log.is_none() {
            return (0, Owed::default());
        }
        let receipt = content.owe();
        let (position, draft) = self.enqueue_record(content, manner, Some(packet_id));
        self.stored.is_in_memory(position);
        (position, Owed { draft, receipt })
    }

    /// Takes a message at QoS 1 or 2 that waits for a client whose session survives the broker.
    pub(super) fn store(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        is_here: bool,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        let bytes = content.bytes() + manner.note_bytes();
        if !self.has_room(bytes, limits) {
            self.forget_expired(now);
            if !self.has_room(bytes, limits) {
                return Outcome::Dropped;
            }
        }
        content.pin();
        let (position, _) = self.enqueue_record(content, manner, None);
        if is_here
            && self.stored.messages == 0
            && self.queue.len() < WINDOW_MESSAGES
            && self.queue.bytes() < WINDOW_BYTES
        {
            self.stored.is_in_memory(position);
            self.queue.push_back(Kept::of(content, manner, position));
        } else {
            self.stored.push(position, content.bytes());
        }
        Outcome::Queued
    }

    fn has_room(&self, bytes: usize, limits: &OutboundLimits) -> bool {
        self.queued() < limits.stored_messages
            && self.queued_bytes().saturating_add(bytes) <= limits.stored_bytes
    }

    /// Exactly once, whatever comes: a QoS 2 message leaves when its identifier is safe.
    pub(super) fn hold(&mut self, outbox: &mut Outbox, qos: QoS) {
        if let Some(log) = &self.log
            && qos == QoS::ExactlyOnce
        {
            self.relied_on = log.journal().group();
            outbox.hold(self.relied_on);
        }
    }

    fn enqueue_record(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        packet_id: Option<PacketId>,
    ) -> (Position, Draft) {
        let position = self.stored.next;
        self.stored.next += 1;
        let note = manner.note.as_deref();
        self.stored.has_shared |= note.is_some_and(|note| note.share.is_some());
        let mut draft = Draft::default();
        if let Some(log) = &self.log {
            let session = log.number();
            let manner = MannerRecord {
                qos: manner.qos,
                retain: manner.retain,
                replayed: manner.replayed,
                subscription_ids: note.map_or(&[], |note| &note.subscription_ids),
                share: note
                    .and_then(|note| note.share.as_ref())
                    .map(|share| share.filter.as_filter().as_str()),
            };
            let enqueue = |body| Record::Enqueue { session, position, body, manner, packet_id };
            (_, draft) = content.record_use(log.journal(), enqueue);
        }
        (position, draft)
    }

    /// The client has the message that went out to it, or gave it back.
    pub(super) fn done_record(&self, position: Position, owed: Owed) {
        let Some(log) = &self.log else { return };
        if !log.journal().take_back(owed.draft) {
            self.dequeue_record(position);
        }
        if let Some(receipt) = owed.receipt {
            receipt.settle();
        }
    }

    /// The client is not owed it any more.
    pub(super) fn dequeue_record(&self, position: Position) {
        if let Some(log) = &self.log {
            log.record(|session| Record::Dequeue { session, position });
        }
    }

    /// The client is away: what is in the store leaves memory.
    pub(super) fn unload(&mut self) {
        if self.log.is_none() {
            return;
        }
        self.unload_queue();
        for sent in &mut self.published {
            let Some(kept) = sent.kept.take() else { continue };
            self.stored.unloaded += 1;
            self.published_bytes = self.published_bytes.saturating_sub(kept.message.bytes());
            self.published_note_bytes = self.published_note_bytes.saturating_sub(kept.manner.note_bytes());
            self.freed.release(kept.message);
        }
        self.stored.asked = None;
    }

    /// What waits at QoS 1 and 2 leaves memory.
    fn unload_queue(&mut self) {
        let waiting = self.queue.take_if(|kept| kept.manner.qos != QoS::AtMostOnce);
        if let Some(first) = waiting.front() {
            self.stored.from = first.position;
            self.stored.asked = None;
        }
        for kept in waiting {
            self.stored.messages += 1;
            self.stored.bytes += kept.message.bytes();
            self.freed.release(kept.message);
        }
        self.queue.let_go_of_room();
    }

    /// Asks for all that waits, for somebody else. Gives the number of the question: it is void when the client is back,
    /// or when there is another.
    pub fn ask_for_all(&mut self) -> u64 {
        self.stored.ask()
    }

    /// Whether the answer to that question is still wanted.
    pub fn is_asked(&self, question: u64) -> bool {
        self.stored.asked == Some(question)
    }

    /// Whether messages came by shared subscriptions, which may have ended since.
    pub fn has_stored_shared(&self) -> bool {
        self.stored.has_shared
    }

    /// Whether messages, in flight or not, are in the store alone.
    pub fn is_in_store(&self) -> bool {
        self.stored.messages + self.stored.unloaded > 0
    }

    /// A message that is in the store alone goes to somebody else.
    pub fn give_away(&mut self, position: Position, message: &Message) {
        self.stored.messages = self.stored.messages.saturating_sub(1);
        self.stored.bytes = self.stored.bytes.saturating_sub(message.bytes());
        self.dequeue_record(position);
    }

    /// What is to be fetched from the store next, unless that is asked for already.
    pub fn wanted(&mut self) -> Option<Wanted> {
        let stored = &mut self.stored;
        if stored.asked.is_some() || self.log.is_none() {
            return None;
        }
        let from = if stored.unloaded > 0 {
            let unloaded = self.published.iter().filter(|sent| sent.kept.is_none());
            unloaded.map(|sent| sent.position).min()?
        } else if stored.messages > 0 && self.queue.len() < LOW_MESSAGES && self.queue.bytes() < LOW_BYTES {
            stored.from
        } else {
            return None;
        };
        let question = stored.ask();
        Some(Wanted { from, question, max_messages: PIECE_MESSAGES, max_bytes: PIECE_BYTES })
    }

    /// Takes the answer to a question: what is still asked for. `next` is where the store goes on, if it does.
    pub fn load(
        &mut self,
        question: u64,
        loaded: Vec<Loaded>,
        next: Option<Position>,
        now: Instant,
        tally: &mut Tally,
    ) {
        if !self.is_asked(question) {
            return;
        }
        self.stored.asked = None;
        let last = loaded.last().map(|loaded| loaded.position);
        for loaded in loaded {
            self.load_one(loaded, now, tally);
        }
        let read_to = next.or(last.map(|last| last + 1));
        self.stored.from = self.stored.from.max(read_to.unwrap_or(0));
        if next.is_none() && self.stored.asked_at == self.stored.next {
            // There is no more, whatever was counted.
            self.stored.messages = 0;
            self.stored.bytes = 0;
            self.give_up_unloaded(last);
        }
    }

    fn load_one(&mut self, loaded: Loaded, now: Instant, tally: &mut Tally) {
        let Loaded { position, packet_id, message, manner } = loaded;
        let kept = Kept { message, manner, position };
        if packet_id.is_some() {
            let sent = self.published.iter_mut().find(|sent| sent.position == position);
            if let Some(sent) = sent.filter(|sent| sent.kept.is_none()) {
                tally.keep(kept.message.bytes());
                self.published_bytes += kept.message.bytes();
                self.published_note_bytes += kept.manner.note_bytes();
                sent.kept = Some(kept);
                self.stored.unloaded -= 1;
            }
            return;
        }
        if position < self.stored.from {
            return;
        }
        self.stored.messages = self.stored.messages.saturating_sub(1);
        self.stored.bytes = if self.stored.messages == 0 {
            0
        } else {
            self.stored.bytes.saturating_sub(kept.message.bytes())
        };
        if kept.message.is_expired(now) {
            self.expired += 1;
            self.dequeue_record(position);
        } else {
            tally.keep(kept.message.bytes());
            self.queue.push_back(kept);
        }
    }

    /// The store has nothing more of what is in flight: nobody is to wait for it.
    fn give_up_unloaded(&mut self, last: Option<Position>) {
        if self.stored.unloaded == 0 {
            return;
        }
        let is_lost = |sent: &InFlight| sent.kept.is_none() && last.is_none_or(|last| sent.position <= last);
        let before = self.published.len();
        self.published.retain(|sent| !is_lost(sent));
        let lost = before - self.published.len();
        self.stored.unloaded -= lost;
        // Those that were sent again are in memory.
        self.to_repeat = self.to_repeat.saturating_sub(lost);
        if lost > 0 {
            log::error!("{lost} messages in flight are not in the store, although they should be");
        }
    }
}

impl Stored {
    fn ask(&mut self) -> u64 {
        self.questions += 1;
        self.asked = Some(self.questions);
        self.asked_at = self.next;
        self.questions
    }

    /// Its answer is of no use any more.
    pub(super) fn forget_question(&mut self) {
        self.asked = None;
    }

    /// That message, and so all before it: an answer that is under way may have it, too.
    fn is_in_memory(&mut self, position: Position) {
        self.from = position + 1;
    }

    fn push(&mut self, position: Position, bytes: usize) {
        if self.messages == 0 {
            self.from = position;
        }
        self.messages += 1;
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Journal;
    use crate::topic::Name;

    #[test]
    fn few_large_messages_are_enough() {
        let log = SessionLog::new(Arc::new(Journal::new(0, 1 << 20)), 1);
        let message = Message::new(Name::new("t").unwrap(), &[0; LOW_BYTES], QoS::AtLeastOnce);
        let queued = (10, 10 * message.bytes());
        let mut outbound = Outbound::restored(log, &[], Vec::new(), queued, 10);
        let Wanted { from, question, .. } = outbound.wanted().unwrap();
        let manner = Manner::at(QoS::AtLeastOnce);
        let loaded = Loaded { position: from, packet_id: None, message, manner };
        outbound.load(question, vec![loaded], Some(from + 1), Instant::now(), &mut Tally::default());
        assert_eq!((outbound.queued(), outbound.wanted()), (10, None));
    }
}
