//! What of the log is still needed, and where it stands.
//!
//! The same [`Image::apply`] makes it at the start, out of all frames, and keeps it, with each that was written. Applying
//! frames once more from an earlier one on, up to the last, leads to the same.
//!
//! What it may forget rests on this: only the oldest segment is ever removed, after what it had that is needed was
//! written anew. So whatever says that something ended stands behind all that says that it began; and where what began
//! is gone, its end means nothing.

mod changes;
mod ledger;
mod queue;
mod recovery;
mod session;

use std::collections::HashMap;
use std::num::NonZeroU32;

use ahash::RandomState;

pub(super) use changes::{Body, Change, Changes, Enqueued, Gap, length, slice};
pub(super) use ledger::Ledger;
use queue::Run;
use session::Session;

use self::queue::Queued;
use super::log::Place;
use super::record::{BodyNumber, Record, SessionNumber};
use super::stored::StoredMessage;

/// See the module.
#[derive(Default)]
pub(super) struct Image {
    sessions: HashMap<SessionNumber, Box<Session>, RandomState>,
    retained: HashMap<BodyNumber, Kept, RandomState>,
    ledger: Ledger,
    /// The highest number that was ever seen.
    numbers: u64,
    /// While the log is read.
    recovery: Option<Recovery>,
    ids: Vec<NonZeroU32>,
}

/// What is remembered only until all of the log is read.
#[derive(Default)]
struct Recovery {
    retained: HashMap<BodyNumber, StoredMessage, RandomState>,
    strays: usize,
}

/// Where a retained message is.
struct Kept {
    segment: u32,
    bytes: u32,
}

impl Image {
    /// One that is to be made out of what is in the log.
    pub(super) fn recovering() -> Self {
        Self { recovery: Some(Recovery::default()), ..Self::default() }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    pub(super) fn session(&self, number: SessionNumber) -> Option<&Session> {
        self.sessions.get(&number).map(|session| &**session)
    }

    /// Whether a message for a session is needed of this segment.
    pub(super) fn needs(&self, enqueued: &Enqueued, segment: u32) -> bool {
        self.session(enqueued.session)
            .and_then(|session| session.queue.run_of(enqueued.position))
            .is_some_and(|run| run.segment == segment)
    }

    /// Whether a retained message is needed of this segment.
    pub(super) fn needs_retained(&self, body: BodyNumber, segment: u32) -> bool {
        self.retained.get(&body).is_some_and(|kept| kept.segment == segment)
    }

    /// Takes over what a frame says: its `payload`, of which `changes` were read.
    pub(super) fn apply(&mut self, place: Place, payload: &[u8], changes: &Changes) {
        if let Some(recovery) = &mut self.recovery {
            recovery.strays += changes.strays;
        }
        for body in &changes.bodies {
            self.numbers = self.numbers.max(body.number);
        }
        for change in &changes.records {
            self.change(place, payload, changes, *change);
        }
    }

    fn change(&mut self, place: Place, payload: &[u8], changes: &Changes, change: Change) {
        match change {
            Change::Enqueue(enqueued) => {
                let Some(body) = changes.body(enqueued.body) else { return };
                let Some((session, ledger)) = self.known(enqueued.session, place) else { return };
                let queued = Queued {
                    position: enqueued.position,
                    place,
                    bytes: enqueued.bytes.saturating_add(body.share()),
                    content_bytes: body.content_bytes,
                    in_flight: enqueued.packet_id.map(|packet_id| (packet_id, enqueued.qos)),
                };
                session.queue.enqueue(&queued, ledger);
                session.next_position = session.next_position.max(enqueued.position + 1);
            }
            // It was not written.
            Change::TakenBack(_) => {}
            Change::InFlight { session, position, packet_id } => {
                if let Some((session, _)) = self.known(session, place) {
                    session.queue.send(position, packet_id);
                }
            }
            Change::Dequeue { session, position } => {
                if let Some((session, ledger)) = self.known(session, place) {
                    session.queue.remove(position, ledger);
                }
            }
            Change::Released { session, position, packet_id } => {
                if let Some((session, ledger)) = self.known(session, place) {
                    session.queue.remove(position, ledger);
                    session.release(packet_id);
                }
            }
            Change::Completed { session, packet_id } => {
                if let Some((session, _)) = self.known(session, place) {
                    session.complete(packet_id);
                }
            }
            Change::Received { session, packet_id } => {
                if let Some((session, _)) = self.known(session, place) {
                    session.receive(packet_id);
                }
            }
            Change::ReceivedEnd { session, packet_id } => {
                if let Some((session, _)) = self.known(session, place) {
                    session.end_received(packet_id);
                }
            }
            Change::Retain { body, bytes } => {
                if let Some(body) = changes.body(body) {
                    self.retain(place, payload, body, bytes);
                }
            }
            Change::Unretain { body } => {
                self.numbers = self.numbers.max(body);
                if let Some(kept) = self.retained.remove(&body) {
                    self.ledger.subtract(kept.segment, kept.bytes);
                }
                if let Some(recovery) = &mut self.recovery {
                    recovery.retained.remove(&body);
                }
            }
            Change::SessionEnd { session } => {
                self.numbers = self.numbers.max(session);
                if let Some(session) = self.sessions.remove(&session) {
                    session.end(&mut self.ledger);
                }
            }
            Change::Reset { session, next_position } => {
                if let Some((session, ledger)) = self.known(session, place) {
                    session.reset(next_position, place.segment, ledger);
                }
            }
            Change::Text { session, at, bytes } => self.text(place, session, slice(payload, at, bytes)),
        }
    }

    fn retain(&mut self, place: Place, payload: &[u8], body: &Body, bytes: u32) {
        let kept = Kept { segment: place.segment, bytes: bytes.saturating_add(body.share()) };
        self.ledger.add(kept.segment, kept.bytes);
        if let Some(before) = self.retained.insert(body.number, kept) {
            self.ledger.subtract(before.segment, before.bytes);
        }
        if let Some(recovery) = &mut self.recovery
            && let Ok(Record::Body { message, .. }) =
                Record::decode(&mut slice(payload, body.at, body.bytes), &mut self.ids)
        {
            recovery.retained.insert(body.number, message.into());
        }
    }

    /// Takes over a record with text in it.
    fn text(&mut self, place: Place, number: SessionNumber, encoded: &[u8]) {
        let mut ids = Vec::new();
        let Ok(record) = Record::decode(&mut &*encoded, &mut ids) else { return };
        if matches!(record, Record::Session(_)) {
            self.begin(number, place);
        }
        let Some((session, ledger)) = self.known(number, place) else { return };
        match record {
            Record::Session(_) => session.set_head(encoded, ledger),
            Record::Subscribe { filter, subscription, .. } => session.subscribe(filter, subscription, ledger),
            Record::Unsubscribe { filter, .. } => session.unsubscribe(filter, ledger),
            _ => {}
        }
    }

    /// The session, if it is known. While the log is read, whatever is said of a session makes it known: it may have
    /// begun in a segment that is gone, and then its state is told later.
    fn known(&mut self, number: SessionNumber, place: Place) -> Option<(&mut Session, &mut Ledger)> {
        if self.recovery.is_some() {
            self.begin(number, place);
        }
        let session = self.sessions.get_mut(&number)?;
        Some((session, &mut self.ledger))
    }

    fn begin(&mut self, number: SessionNumber, place: Place) {
        self.numbers = self.numbers.max(number);
        self.sessions
            .entry(number)
            .or_insert_with(|| Box::new(Session::new(number, place.segment, &mut self.ledger)));
    }
}
