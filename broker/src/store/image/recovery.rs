//! What the broker begins with.

use std::collections::HashMap;

use ahash::RandomState;

use super::{Changes, Image, Run, Session};
use crate::codec::QoS;
use crate::store::coding::RecordError;
use crate::store::fetching::FetchError;
use crate::store::log::Log;
use crate::store::record::{Position, Record, SessionNumber};
use crate::store::stored::{Recovered, RecoveredSession, StoredMessage, StoredWill};

/// What is not known of a session's messages until they are read once more.
#[derive(Default)]
struct Unread {
    /// QoS of those in flight.
    in_flight: HashMap<Position, QoS>,
    /// Bytes of those in the runs that were looked through, but for those in flight.
    bytes: usize,
}

/// Frames of a segment: where the first and the last begin.
type Stretch = (u32, u32, u32);

impl Image {
    /// All of the log was applied: gives what it comes to, and how many records meant nothing. Reads those frames again of
    /// which a part is needed.
    pub(in crate::store) fn recovered(&mut self, log: &Log) -> Result<(Recovered, usize), FetchError> {
        let recovery = self.recovery.take().unwrap_or_default();
        // Whatever came after a session's end.
        let headless = self.sessions.extract_if(|_, session| session.head.is_empty()).collect::<Vec<_>>();
        let strays = recovery.strays + headless.len();
        headless.into_iter().for_each(|(_, session)| session.end(&mut self.ledger));
        let mut unread = self.read_again(log)?;
        let mut recovered = Recovered { numbers: self.numbers, ..Recovered::default() };
        for (number, session) in &self.sessions {
            let unread = unread.remove(number).unwrap_or_default();
            recovered.sessions.push(session.recovered(*number, &unread)?);
        }
        let retained: HashMap<_, StoredMessage, _> = recovery.retained;
        recovered.retained = retained.into_iter().collect();
        Ok((recovered, strays))
    }

    fn read_again(&self, log: &Log) -> Result<HashMap<SessionNumber, Unread, RandomState>, FetchError> {
        let mut stretches = self.sessions.values().flat_map(|session| session.unread()).collect::<Vec<_>>();
        stretches.sort_unstable();
        let mut unread = HashMap::<_, Unread, _>::default();
        let mut changes = Changes::default();
        // Where those that were read end.
        let mut behind = (0, 0);
        for (segment, first, last) in stretches {
            let mut offset = if behind.0 == segment { first.max(behind.1) } else { first };
            while offset <= last {
                let found = log.frames_of(segment, offset)?;
                let (_, payload, next) = found.ok_or(FetchError::Gone { segment, offset })?;
                changes.read(&payload)?;
                for (enqueued, body) in changes.enqueued() {
                    let Some(session) = self.sessions.get(&enqueued.session) else { continue };
                    let run = session.queue.run_of(enqueued.position);
                    if !run.is_some_and(|run| run.segment == segment && session.is_unread(run)) {
                        continue;
                    }
                    let unread = unread.entry(enqueued.session).or_default();
                    match session.queue.packet_id(enqueued.position) {
                        Some(_) => _ = unread.in_flight.insert(enqueued.position, enqueued.qos),
                        None => unread.bytes += body.content_bytes as usize,
                    }
                }
                offset = next;
            }
            behind = (segment, offset);
        }
        Ok(unread)
    }
}

impl Session {
    /// Whether a run must be read to know what is in it.
    fn is_unread(&self, run: &Run) -> bool {
        run.content_bytes().is_none() || self.queue.has_in_flight(run)
    }

    fn unread(&self) -> impl Iterator<Item = Stretch> {
        let runs = self.queue.runs().filter(|run| self.is_unread(run));
        runs.map(|run| (run.segment, run.offset, run.last_offset))
    }

    fn recovered(&self, number: SessionNumber, unread: &Unread) -> Result<RecoveredSession, FetchError> {
        let mut ids = Vec::new();
        let Record::Session(head) = Record::decode(&mut &*self.head, &mut ids)? else {
            return Err(FetchError::Content(RecordError::Truncated));
        };
        let in_flight = self.queue.in_flight().map(|sent| {
            let qos = sent.qos.or_else(|| unread.in_flight.get(&sent.position).copied());
            // One of the two has it.
            (sent.position, sent.packet_id, qos.unwrap_or(QoS::AtLeastOnce))
        });
        let in_flight = in_flight.collect::<Vec<_>>();
        let known = self.queue.runs().filter(|run| !self.is_unread(run));
        let known_bytes = known.filter_map(Run::content_bytes).map(|bytes| bytes as usize).sum::<usize>();
        Ok(RecoveredSession {
            number,
            client_id: head.client_id.to_owned(),
            expiry_seconds: head.expiry_seconds,
            absent_since: head.absent_since,
            will: head.will.map(|will| StoredWill {
                message: will.message.into(),
                retain: will.retain,
                delay_seconds: will.delay_seconds,
            }),
            subscriptions: self
                .subscriptions
                .iter()
                .map(|(filter, subscription)| (filter.to_string(), *subscription))
                .collect(),
            queued_messages: self.queue.len() - in_flight.len(),
            queued_bytes: known_bytes + unread.bytes,
            in_flight,
            released: self.released.clone(),
            received: self.received.clone(),
            next_position: self.next_position,
        })
    }
}
