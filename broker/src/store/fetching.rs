//! Messages out of the log.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;

use ahash::RandomState;

use super::image::{Change, Changes, Image, slice};
use super::log::{Defect, Log, OpenError, ReadError};
use super::record::{Position, Record, SessionNumber};
use super::stored::{Fetch, Fetched, StoredDelivery};
use crate::codec::PacketId;

/// Frames are kept for the next who asks for what is in them, up to so many bytes.
const KEPT_BYTES: usize = 8 << 20;

/// Frames that were read lately.
#[derive(Default)]
pub(super) struct Frames {
    kept: HashMap<(u32, u32), IndexedFrame, RandomState>,
    /// The latest is the last.
    order: VecDeque<(u32, u32)>,
    kept_bytes: usize,
    changes: Changes,
    ids: Vec<NonZeroU32>,
}

/// A frame, and where in it the messages of each session are.
struct IndexedFrame {
    /// Its segment, and where it begins.
    place: (u32, u32),
    /// Where the next one begins.
    next: u32,
    payload: Vec<u8>,
    /// By session and position.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    session: SessionNumber,
    position: Position,
    /// Its record, and that of its body.
    enqueued: (u32, u32),
    body: (u32, u32),
}

/// Why messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Content(#[from] super::coding::RecordError),
    #[error("no frame is in segment {segment} at byte {offset}")]
    Gone { segment: u32, offset: u32 },
    #[error("segment {segment} has {things} things that are needed and were not found: it stays")]
    Uncopied { segment: u32, things: u64 },
    #[error("the message {position} of session {session} is not in segment {segment}, from byte {offset} on")]
    Missing { session: SessionNumber, position: Position, segment: u32, offset: u32 },
}

impl FetchError {
    /// What it means to whoever opens the log.
    pub(super) fn into_open_error(self) -> OpenError {
        match self {
            Self::Read(ReadError::Io { file, action, source }) => OpenError::Io { file, action, source },
            Self::Read(ReadError::Corrupt(defect)) => OpenError::Corrupt(defect),
            error => OpenError::Corrupt(Defect { file: String::new(), offset: 0, what: error.to_string() }),
        }
    }
}

/// What was recorded of some sessions and could not be written yet.
#[derive(Default)]
pub(super) struct Unapplied {
    /// By session, what is no more.
    gone: HashSet<(SessionNumber, Position)>,
    in_flight: HashMap<(SessionNumber, Position), PacketId>,
    /// The first that cannot be read yet.
    first_queued: HashMap<SessionNumber, Position>,
    ended: HashSet<SessionNumber>,
}

impl Unapplied {
    /// Out of the frames, which are in order, what matters to these sessions.
    pub(super) fn new<'p>(
        frames: impl Iterator<Item = &'p [u8]>,
        sessions: &HashSet<SessionNumber>,
        changes: &mut Changes,
    ) -> Self {
        let mut unapplied = Self::default();
        for payload in frames {
            // What was recorded is well-formed.
            _ = changes.read(payload);
            for change in &changes.records {
                unapplied.add(*change, sessions);
            }
        }
        unapplied
    }

    fn add(&mut self, change: Change, sessions: &HashSet<SessionNumber>) {
        match change {
            Change::Enqueue(enqueued) if sessions.contains(&enqueued.session) => {
                self.first_queued.entry(enqueued.session).or_insert(enqueued.position);
            }
            Change::InFlight { session, position, packet_id } if sessions.contains(&session) => {
                self.in_flight.insert((session, position), packet_id);
            }
            Change::Dequeue { session, position } | Change::Released { session, position, .. }
                if sessions.contains(&session) =>
            {
                self.gone.insert((session, position));
            }
            Change::SessionEnd { session } if sessions.contains(&session) => {
                self.ended.insert(session);
            }
            _ => {}
        }
    }
}

impl Frames {
    /// What is asked for, as far as it can be read; with an error if it cannot.
    pub(super) fn fetch(
        &mut self,
        fetch: &Fetch,
        image: &Image,
        log: &Log,
        unapplied: &Unapplied,
    ) -> (Fetched, Option<FetchError>) {
        let mut fetched = Fetched::default();
        if unapplied.ended.contains(&fetch.session) {
            return (fetched, None);
        }
        let error = self.fill(&mut fetched, fetch, image, log, unapplied).err();
        if error.is_none()
            && fetched.next.is_none()
            && let Some(first) = unapplied.first_queued.get(&fetch.session)
        {
            fetched.next = Some(fetch.from.max(*first));
        }
        (fetched, error)
    }

    fn fill(
        &mut self,
        fetched: &mut Fetched,
        fetch: &Fetch,
        image: &Image,
        log: &Log,
        unapplied: &Unapplied,
    ) -> Result<(), FetchError> {
        let number = fetch.session;
        let Some(session) = image.session(number) else { return Ok(()) };
        let is_full = |fetched: &Fetched, bytes| {
            let messages = fetched.deliveries.len();
            messages > 0 && (messages >= fetch.max_messages || bytes >= fetch.max_bytes)
        };
        let queue = &session.queue;
        let mut from = fetch.from;
        let mut bytes = 0;
        while let Some((first, run)) = queue.next(from) {
            fetched.next = Some(first);
            if is_full(fetched, bytes) {
                return Ok(());
            }
            let (end, mut offset) = (run.end(), run.offset);
            let mut expected = Some(first);
            while offset <= run.last_offset && expected.is_some() {
                let (frame, ids) = self.frame(log, run.segment, offset)?;
                offset = frame.next;
                for entry in frame.of(number, from, end) {
                    let position = entry.position;
                    if queue.next(position).is_none_or(|(next, _)| next != position) {
                        continue;
                    }
                    if expected != Some(position) {
                        break;
                    }
                    expected = queue.next(position + 1).map(|(next, _)| next).filter(|next| *next < end);
                    from = position + 1;
                    if unapplied.gone.contains(&(number, position)) {
                        continue;
                    }
                    if is_full(fetched, bytes) {
                        fetched.next = Some(position);
                        return Ok(());
                    }
                    let sent = unapplied.in_flight.get(&(number, position)).copied();
                    let packet_id = sent.or_else(|| queue.packet_id(position));
                    let delivery = frame.delivery(&entry, packet_id, ids)?;
                    bytes += delivery.message.topic.len() + delivery.message.payload.len();
                    fetched.deliveries.push(delivery);
                    fetched.next = expected;
                }
            }
            if let Some(position) = expected {
                fetched.next = Some(position);
                let (segment, offset) = (run.segment, run.offset);
                return Err(FetchError::Missing { session: number, position, segment, offset });
            }
            from = end;
        }
        fetched.next = None;
        Ok(())
    }

    /// A frame, read if need be.
    fn frame(
        &mut self,
        log: &Log,
        segment: u32,
        offset: u32,
    ) -> Result<(&IndexedFrame, &mut Vec<NonZeroU32>), FetchError> {
        let key = (segment, offset);
        if !self.kept.contains_key(&key) {
            let frame = self.read(log, segment, offset)?;
            while self.kept_bytes > KEPT_BYTES
                && let Some(oldest) = self.order.pop_front()
            {
                self.kept_bytes -= self.kept.remove(&oldest).map_or(0, |frame| frame.bytes());
            }
            self.kept_bytes += frame.bytes();
            self.kept.insert(key, frame);
            self.order.push_back(key);
        }
        let frame = self.kept.get(&key).ok_or(FetchError::Gone { segment, offset })?;
        Ok((frame, &mut self.ids))
    }

    fn read(&mut self, log: &Log, segment: u32, offset: u32) -> Result<IndexedFrame, FetchError> {
        let found = log.frames_of(segment, offset)?;
        let (_, payload, next) = found.ok_or(FetchError::Gone { segment, offset })?;
        self.changes.read(&payload)?;
        let mut entries = self
            .changes
            .enqueued()
            .map(|(enqueued, body)| Entry {
                session: enqueued.session,
                position: enqueued.position,
                enqueued: (enqueued.at, enqueued.bytes),
                body: (body.at, body.bytes),
            })
            .collect::<Vec<_>>();
        entries.sort_by_key(|entry| (entry.session, entry.position));
        Ok(IndexedFrame { place: (segment, offset), next, payload, entries })
    }
}

impl IndexedFrame {
    /// What it takes.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The messages of a session at positions from `from` on, up to before `end`.
    fn of(&self, session: SessionNumber, from: Position, end: Position) -> impl Iterator<Item = Entry> {
        let first = self.entries.partition_point(|entry| (entry.session, entry.position) < (session, from));
        self.entries
            .iter()
            .skip(first)
            .take_while(move |entry| entry.session == session && entry.position < end)
            .copied()
    }

    fn delivery(
        &self,
        entry: &Entry,
        packet_id: Option<PacketId>,
        ids: &mut Vec<NonZeroU32>,
    ) -> Result<StoredDelivery, FetchError> {
        let mut body = slice(&self.payload, entry.body.0, entry.body.1);
        let Record::Body { message, .. } = Record::decode(&mut body, ids)? else {
            return Err(self.missing(entry));
        };
        let message = message.into();
        let mut enqueued = slice(&self.payload, entry.enqueued.0, entry.enqueued.1);
        let Record::Enqueue { position, manner, .. } = Record::decode(&mut enqueued, ids)? else {
            return Err(self.missing(entry));
        };
        Ok(StoredDelivery {
            position,
            packet_id,
            qos: manner.qos,
            retain: manner.retain,
            replayed: manner.replayed,
            subscription_ids: manner.subscription_ids.into(),
            share: manner.share.map(str::to_owned),
            message,
        })
    }

    fn missing(&self, entry: &Entry) -> FetchError {
        let ((session, position), (segment, offset)) = ((entry.session, entry.position), self.place);
        FetchError::Missing { session, position, segment, offset }
    }
}
