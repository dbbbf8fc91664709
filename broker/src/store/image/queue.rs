//! Where the messages for a session are.

use std::collections::{BTreeSet, VecDeque};

use super::ledger::Ledger;
use crate::codec::{PacketId, QoS};
use crate::store::log::Place;
use crate::store::record::Position;

/// A run goes on in later frames of the same segment as long as they begin within so many bytes: so much is read at most
/// to find one message, and a run costs memory for no less unless messages for others are between.
const RUN_BYTES: u32 = 64 << 10;

/// The messages for a session that are neither acknowledged nor given up, in their order.
#[derive(Default)]
pub(in crate::store) struct Queue {
    runs: VecDeque<Run>,
    /// Positions inside runs that are not needed any more; never the first or last of a run.
    holes: BTreeSet<Position>,
    /// By position.
    in_flight: VecDeque<InFlight>,
}

/// Messages of successive positions in one stretch of a segment, which has no others of these positions.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Run {
    pub(in crate::store) first: Position,
    /// How many positions.
    span: u32,
    /// How many of them are needed: the first and the last, at least.
    live: u32,
    /// What of the segment's bytes they answer for.
    bytes: u32,
    /// Bytes of topics and payloads; not known once some went.
    content_bytes: Option<NonMax>,
    pub(in crate::store) segment: u32,
    /// Where its first frame begins.
    pub(in crate::store) offset: u32,
    /// Where its last frame begins.
    pub(in crate::store) last_offset: u32,
}

/// A number below `u32::MAX`, so that it can be left out at no cost.
#[derive(Clone, Copy, Debug)]
struct NonMax(std::num::NonZeroU32);

impl NonMax {
    fn new(number: u32) -> Option<Self> {
        std::num::NonZeroU32::new(!number).map(Self)
    }

    fn get(self) -> u32 {
        !self.0.get()
    }
}

/// A message that is in flight.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct InFlight {
    pub(in crate::store) position: Position,
    pub(in crate::store) packet_id: PacketId,
    /// Not known if it was queued before: it stands with the message.
    pub(in crate::store) qos: Option<QoS>,
}

/// A message as the queue takes it.
#[derive(Clone, Copy)]
pub(super) struct Queued {
    pub(super) position: Position,
    pub(super) place: Place,
    /// What of the frame it answers for.
    pub(super) bytes: u32,
    /// Of topic and payload.
    pub(super) content_bytes: u32,
    pub(super) in_flight: Option<(PacketId, QoS)>,
}

impl Run {
    fn new(queued: &Queued) -> Self {
        let Place { segment, offset, .. } = queued.place;
        Self {
            first: queued.position,
            span: 1,
            live: 1,
            bytes: queued.bytes,
            content_bytes: NonMax::new(queued.content_bytes),
            segment,
            offset,
            last_offset: offset,
        }
    }

    /// The position behind it.
    pub(in crate::store) fn end(&self) -> Position {
        self.first + Position::from(self.span)
    }

    /// Bytes of the topics and payloads of all that are needed.
    pub(super) fn content_bytes(&self) -> Option<u32> {
        self.content_bytes.map(NonMax::get)
    }

    /// Takes a message at its end, if it can.
    fn extend(&mut self, queued: &Queued) -> bool {
        let Place { segment, offset, .. } = queued.place;
        let is_near = offset == self.last_offset
            || offset > self.last_offset && offset.saturating_sub(self.offset) <= RUN_BYTES;
        if self.end() != queued.position || self.segment != segment || !is_near {
            return false;
        }
        let (Some(span), Some(bytes)) = (self.span.checked_add(1), self.bytes.checked_add(queued.bytes))
        else {
            return false;
        };
        self.span = span;
        self.live += 1;
        self.bytes = bytes;
        self.content_bytes = self
            .content_bytes()
            .and_then(|content_bytes| content_bytes.checked_add(queued.content_bytes))
            .and_then(NonMax::new);
        self.last_offset = offset;
        true
    }

    /// One message less. Gives what it answered for: the mean.
    fn shrink(&mut self) -> u32 {
        let bytes = self.bytes / self.live.max(1);
        self.live = self.live.saturating_sub(1);
        self.bytes -= bytes;
        self.content_bytes = None;
        bytes
    }
}

impl Queue {
    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(|run| run.live as usize).sum()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    pub(super) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    /// Takes a message, or learns that it was written anew elsewhere.
    pub(super) fn enqueue(&mut self, queued: &Queued, ledger: &mut Ledger) {
        let back = self.runs.back_mut();
        if back.as_ref().is_some_and(|back| queued.position < back.end()) {
            self.replace(queued, ledger);
        } else if !back.is_some_and(|back| back.extend(queued)) {
            self.runs.push_back(Run::new(queued));
        }
        ledger.add(queued.place.segment, queued.bytes);
        if let Some((packet_id, qos)) = queued.in_flight {
            self.set_in_flight(InFlight { position: queued.position, packet_id, qos: Some(qos) });
        }
    }

    /// Takes a message that does not come last.
    fn replace(&mut self, queued: &Queued, ledger: &mut Ledger) {
        let position = queued.position;
        self.remove(position, ledger);
        let mut index = self.runs.partition_point(|run| run.end() <= position);
        if self.runs.get(index).is_some_and(|run| run.first < position) {
            self.split(index, position);
            index += 1;
        }
        let before = index.checked_sub(1).and_then(|index| self.runs.get_mut(index));
        if !before.is_some_and(|run| run.extend(queued)) {
            self.runs.insert(index, Run::new(queued));
        }
    }

    /// Cuts a run in two around a hole.
    fn split(&mut self, index: usize, hole: Position) {
        let Some(whole) = self.runs.get(index).copied() else { return };
        self.holes.remove(&hole);
        // Neither begins or ends with a hole.
        let mut left_end = hole;
        while left_end > whole.first && self.holes.remove(&(left_end - 1)) {
            left_end -= 1;
        }
        let mut right_first = hole + 1;
        while self.holes.remove(&right_first) {
            right_first += 1;
        }
        let part = |first: Position, end: Position| {
            let span = u32::try_from(end - first).unwrap_or(whole.span);
            let holes = u32::try_from(self.holes.range(first..end).count()).unwrap_or(span);
            Run { first, span, live: span.saturating_sub(holes), content_bytes: None, ..whole }
        };
        let (mut left, mut right) = (part(whole.first, left_end), part(right_first, whole.end()));
        let mean = u64::from(whole.bytes) / u64::from(whole.live.max(1));
        left.bytes = u32::try_from(mean * u64::from(left.live)).unwrap_or(whole.bytes).min(whole.bytes);
        right.bytes = whole.bytes - left.bytes;
        if let Some(run) = self.runs.get_mut(index) {
            *run = left;
        }
        self.runs.insert(index + 1, right);
    }

    /// A message is not needed any more. Gives whether it was.
    pub(super) fn remove(&mut self, position: Position, ledger: &mut Ledger) -> bool {
        let Some(index) = self.find(position) else { return false };
        self.take_in_flight(position);
        let Some(run) = self.runs.get_mut(index) else { return false };
        ledger.subtract(run.segment, run.shrink());
        if run.live == 0 {
            self.runs.remove(index);
            if self.runs.is_empty() && self.runs.capacity() > 64 {
                self.runs = VecDeque::new();
            }
        } else if position == run.first {
            run.first += 1;
            run.span -= 1;
            while self.holes.remove(&run.first) {
                run.first += 1;
                run.span -= 1;
            }
        } else if position == run.end() - 1 {
            run.span -= 1;
            while self.holes.remove(&(run.end() - 1)) {
                run.span -= 1;
            }
        } else {
            self.holes.insert(position);
        }
        true
    }

    /// All are not.
    pub(super) fn clear(&mut self, ledger: &mut Ledger) {
        self.runs.drain(..).for_each(|run| ledger.subtract_many(run.segment, run.live, run.bytes));
        *self = Self::default();
    }

    /// A message is in flight, if it is there.
    pub(super) fn send(&mut self, position: Position, packet_id: PacketId) {
        if self.find(position).is_some() {
            self.set_in_flight(InFlight { position, packet_id, qos: None });
        }
    }

    /// The run that a message is in.
    fn find(&self, position: Position) -> Option<usize> {
        let index = match self.runs.front() {
            Some(front) if position < front.end() => 0,
            _ => self.runs.partition_point(|run| run.end() <= position),
        };
        let is_there = self.runs.get(index)?.first <= position && !self.holes.contains(&position);
        is_there.then_some(index)
    }

    /// The run that a message is in.
    pub(in crate::store) fn run_of(&self, position: Position) -> Option<&Run> {
        self.runs.get(self.find(position)?)
    }

    /// The first message from a position on, and its run.
    pub(in crate::store) fn next(&self, from: Position) -> Option<(Position, &Run)> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end() <= from))?;
        let mut position = from.max(run.first);
        // The last one is none.
        while self.holes.contains(&position) {
            position += 1;
        }
        Some((position, run))
    }

    /// Under which identifier a message is in flight.
    pub(in crate::store) fn packet_id(&self, position: Position) -> Option<PacketId> {
        self.find_in_flight(position)
            .ok()
            .and_then(|index| self.in_flight.get(index))
            .map(|sent| sent.packet_id)
    }

    /// Whether one of a run is in flight.
    pub(super) fn has_in_flight(&self, run: &Run) -> bool {
        let index = self.in_flight.partition_point(|sent| sent.position < run.first);
        self.in_flight.get(index).is_some_and(|sent| sent.position < run.end())
    }

    fn set_in_flight(&mut self, sent: InFlight) {
        match self.find_in_flight(sent.position) {
            Ok(index) => {
                if let Some(known) = self.in_flight.get_mut(index) {
                    *known = InFlight { qos: sent.qos.or(known.qos), ..sent };
                }
            }
            Err(index) => self.in_flight.insert(index, sent),
        }
    }

    fn take_in_flight(&mut self, position: Position) {
        if self.in_flight.is_empty() {
            return;
        }
        if let Ok(index) = self.find_in_flight(position) {
            self.in_flight.remove(index);
        }
    }

    /// Most are looked for at one end.
    fn find_in_flight(&self, position: Position) -> Result<usize, usize> {
        match (self.in_flight.front(), self.in_flight.back()) {
            (Some(front), _) if front.position == position => Ok(0),
            (_, Some(back)) if back.position < position => Err(self.in_flight.len()),
            _ => self.in_flight.binary_search_by_key(&position, |sent| sent.position),
        }
    }
}
