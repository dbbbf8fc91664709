//! Gets rid of what the log has too much.
//!
//! The oldest segment goes, after what is needed of it was copied to the end. When more than half of all bytes are not
//! needed, that pays.

use std::num::NonZeroU32;
use std::vec;

use super::fetching::FetchError;
use super::image::{Change, Changes, Image, slice};
use super::log::{Log, Place};
use super::record::{Record, SessionNumber};

/// So many segments may be there of which nothing is needed.
const SPARE_SEGMENTS: u64 = 4;

/// A segment is not worth keeping if no more than this part of it is needed.
const WORTH: u64 = 16;

/// States of sessions go together into a frame until they are so many bytes.
const STATES_BYTES: usize = 256 << 10;

/// The segment that is being copied, if one is.
#[derive(Default)]
pub(super) struct Cleaner {
    segment: Option<u32>,
    /// Where its next frame begins.
    from: u32,
    /// Sessions of which it may tell the state, once all frames are copied.
    sessions: Option<vec::IntoIter<SessionNumber>>,
    changes: Changes,
    ids: Vec<NonZeroU32>,
}

/// What is to be done next.
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// To be written. So many bytes were looked through for it; it is empty if nothing of them is needed.
    Copy { payload: Vec<u8>, looked_through: usize },
    /// The oldest segment is not needed once everything so far is on stable storage.
    Remove,
}

impl Cleaner {
    /// Whether there is something to do.
    pub(super) fn is_due(&self, image: &Image, log: &Log, segment_bytes: u32) -> bool {
        self.segment.is_some() || is_worthwhile(image, log, segment_bytes)
    }

    /// The next step. All that was written must have been applied.
    pub(super) fn step(
        &mut self,
        image: &mut Image,
        log: &Log,
        segment_bytes: u32,
    ) -> Result<Step, FetchError> {
        let oldest = log.oldest();
        if self.segment.is_none() && is_worthwhile(image, log, segment_bytes) {
            *self = Self { segment: oldest, ids: Vec::new(), ..Self::default() };
        }
        let Some(segment) = self.segment.filter(|segment| Some(*segment) == oldest) else {
            self.segment = None;
            return Ok(Step::Rest);
        };
        if image.ledger().needed(segment).0 == 0 {
            return Ok(Step::Remove);
        }
        if self.sessions.is_none() {
            if image.ledger().needs_messages(segment)
                && let Some((place, payload, next)) = log.frames_of(segment, self.from)?
            {
                self.changes.read(&payload)?;
                self.from = next;
                let copy = self.copy(image, place, &payload)?;
                return Ok(Step::Copy { payload: copy, looked_through: payload.len() });
            }
            self.sessions = Some(image.ledger_mut().take_sessions(segment).into_iter());
        }
        let payload = self.states(image, segment);
        if payload.is_empty() {
            let (things, _) = image.ledger().needed(segment);
            return Err(FetchError::Uncopied { segment, things });
        }
        Ok(Step::Copy { looked_through: payload.len(), payload })
    }

    /// The oldest segment is gone.
    pub(super) fn removed(&mut self, segment: u32, image: &mut Image) {
        image.ledger_mut().forget(segment);
        self.segment = None;
    }

    /// What is needed of a frame, as a frame.
    fn copy(&mut self, image: &Image, place: Place, payload: &[u8]) -> Result<Vec<u8>, FetchError> {
        let mut copy = Vec::new();
        // By index of the body.
        let mut is_copied = vec![false; self.changes.bodies.len()];
        let mut put_body = |index: u32, copy: &mut Vec<u8>| {
            let body = self.changes.body(index);
            if let (Some(body), Some(is_copied)) = (body, is_copied.get_mut(index as usize))
                && !*is_copied
            {
                *is_copied = true;
                copy.extend_from_slice(slice(payload, body.at, body.bytes));
            }
        };
        for change in &self.changes.records {
            match change {
                Change::Enqueue(enqueued) if image.needs(enqueued, place.segment) => {
                    put_body(enqueued.body, &mut copy);
                    let mut record = slice(payload, enqueued.at, enqueued.bytes);
                    let record = Record::decode(&mut record, &mut self.ids)?;
                    if let Record::Enqueue { session, position, body, manner, .. } = record {
                        let queue = image.session(session).map(|session| &session.queue);
                        let packet_id = queue.and_then(|queue| queue.packet_id(position));
                        Record::Enqueue { session, position, body, manner, packet_id }.encode(&mut copy);
                    }
                }
                Change::Retain { body: index, .. } => {
                    let number = self.changes.body(*index).map(|body| body.number);
                    if let Some(body) = number.filter(|body| image.needs_retained(*body, place.segment)) {
                        put_body(*index, &mut copy);
                        Record::Retain { body }.encode(&mut copy);
                    }
                }
                _ => {}
            }
        }
        Ok(copy)
    }

    /// States of some of the sessions that are told from this segment on.
    fn states(&mut self, image: &Image, segment: u32) -> Vec<u8> {
        let mut states = Vec::new();
        for number in self.sessions.iter_mut().flatten() {
            if let Some(session) = image.session(number).filter(|session| session.base() == segment) {
                session.encode(&mut states);
            }
            if states.len() >= STATES_BYTES {
                break;
            }
        }
        states
    }
}

fn is_worthwhile(image: &Image, log: &Log, segment_bytes: u32) -> bool {
    let Some(oldest) = log.oldest() else { return false };
    let (things, bytes) = image.ledger().needed(oldest);
    let enough = (image.ledger().bytes() * 2).saturating_add(SPARE_SEGMENTS * u64::from(segment_bytes));
    things == 0 || bytes < u64::from(segment_bytes) / WORTH || log.total_bytes() > enough
}
