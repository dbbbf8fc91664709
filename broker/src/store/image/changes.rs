//! What a frame says, in a form that can be looked through twice.

use std::mem;
use std::num::NonZeroU32;

use crate::codec::{PacketId, QoS};
use crate::store::coding::{RecordError, skim_body};
use crate::store::record::{
    BodyNumber, MannerRecord, MessageRecord, Position, Record, SessionNumber, SessionRecord,
};

/// The records of one frame. Kept and filled again, so that reading a frame allocates nothing.
#[derive(Default)]
pub(in crate::store) struct Changes {
    pub(in crate::store) bodies: Vec<Body>,
    pub(in crate::store) records: Vec<Change>,
    /// Records that named no body of the frame.
    pub(in crate::store) strays: usize,
    /// Messages that went out to clients, and were not taken back.
    sent: usize,
    taken_back: usize,
    ids: Vec<NonZeroU32>,
}

/// A message in a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Body {
    pub(in crate::store) number: BodyNumber,
    /// Where its record begins.
    pub(in crate::store) at: u32,
    /// Of its record.
    pub(in crate::store) bytes: u32,
    /// Of topic and payload.
    pub(in crate::store) content_bytes: u32,
    /// Records of the frame that mean it.
    pub(in crate::store) holders: u32,
}

impl Body {
    /// What each holder answers for, rounded up.
    pub(in crate::store) fn share(&self) -> u32 {
        self.bytes.div_ceil(self.holders.max(1))
    }
}

/// A record that was read, or is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Change {
    Enqueue(Enqueued),
    /// One that is not needed, though it has bytes yet.
    TakenBack(Gap),
    InFlight {
        session: SessionNumber,
        position: Position,
        packet_id: PacketId,
    },
    Dequeue {
        session: SessionNumber,
        position: Position,
    },
    Released {
        session: SessionNumber,
        position: Position,
        packet_id: PacketId,
    },
    Completed {
        session: SessionNumber,
        packet_id: PacketId,
    },
    Received {
        session: SessionNumber,
        packet_id: PacketId,
    },
    ReceivedEnd {
        session: SessionNumber,
        packet_id: PacketId,
    },
    /// The index of the body.
    Retain {
        body: u32,
        bytes: u32,
    },
    Unretain {
        body: BodyNumber,
    },
    SessionEnd {
        session: SessionNumber,
    },
    Reset {
        session: SessionNumber,
        next_position: Position,
    },
    /// One with text in it, which is rare: to be decoded once more.
    Text {
        session: SessionNumber,
        at: u32,
        bytes: u32,
    },
}

/// A message for a session in a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Enqueued {
    pub(in crate::store) session: SessionNumber,
    pub(in crate::store) position: Position,
    /// Where its record begins.
    pub(in crate::store) at: u32,
    /// Of its record.
    pub(in crate::store) bytes: u32,
    /// The index of the body.
    pub(in crate::store) body: u32,
    pub(in crate::store) packet_id: Option<PacketId>,
    pub(in crate::store) qos: QoS,
}

/// Bytes that are not to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Gap {
    /// Where they begin.
    pub(in crate::store) at: u32,
    pub(in crate::store) bytes: u32,
}

impl Changes {
    /// Forgets all of them.
    pub(in crate::store) fn clear(&mut self) {
        self.bodies.clear();
        self.records.clear();
        self.strays = 0;
        self.sent = 0;
        self.taken_back = 0;
    }

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// It is not one record behind the other.
    pub(in crate::store) fn read(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        self.clear();
        let mut rest = payload;
        while !rest.is_empty() {
            let at = offset(payload, rest);
            if let Some((number, content_bytes)) = skim_body(&mut rest)? {
                let bytes = offset(payload, rest) - at;
                self.add_body(number, content_bytes, at, bytes);
                continue;
            }
            let mut ids = mem::take(&mut self.ids);
            let decoded = Record::decode(&mut rest, &mut ids);
            let bytes = offset(payload, rest) - at;
            let added = decoded.map(|record| self.add(&record, at, bytes));
            self.ids = ids;
            added?;
        }
        Ok(())
    }

    /// Takes in a record, which begins at `at` and has so many bytes there.
    pub(in crate::store) fn add(&mut self, record: &Record<'_>, at: u32, bytes: u32) {
        let change = match *record {
            Record::Body { body: number, message: MessageRecord { topic, payload, .. } } => {
                return self.add_body(number, topic.len() + payload.len(), at, bytes);
            }
            Record::Enqueue { session, position, body, manner: MannerRecord { qos, .. }, packet_id } => {
                let Some(body) = self.hold(body) else { return };
                self.sent += usize::from(packet_id.is_some());
                Change::Enqueue(Enqueued { session, position, at, bytes, body, packet_id, qos })
            }
            Record::Retain { body } => {
                let Some(body) = self.hold(body) else { return };
                Change::Retain { body, bytes }
            }
            Record::InFlight { session, position, packet_id } => {
                Change::InFlight { session, position, packet_id }
            }
            Record::Dequeue { session, position } => Change::Dequeue { session, position },
            Record::Released { session, position, packet_id } => {
                Change::Released { session, position, packet_id }
            }
            Record::Completed { session, packet_id } => Change::Completed { session, packet_id },
            Record::Received { session, packet_id } => Change::Received { session, packet_id },
            Record::ReceivedEnd { session, packet_id } => Change::ReceivedEnd { session, packet_id },
            Record::Unretain { body } => Change::Unretain { body },
            Record::SessionEnd { session } => Change::SessionEnd { session },
            Record::Reset { session, next_position } => Change::Reset { session, next_position },
            Record::Session(SessionRecord { session, .. })
            | Record::Subscribe { session, .. }
            | Record::Unsubscribe { session, .. } => Change::Text { session, at, bytes },
        };
        self.records.push(change);
    }

    fn add_body(&mut self, number: BodyNumber, content_bytes: usize, at: u32, bytes: u32) {
        self.bodies.push(Body { number, at, bytes, content_bytes: length(content_bytes), holders: 0 });
    }

    /// Counts one more holder of a body, and gives the body's index. Most mean the last one.
    fn hold(&mut self, number: BodyNumber) -> Option<u32> {
        let index = self.bodies.iter().rposition(|body| body.number == number);
        let body = index.and_then(|index| self.bodies.get_mut(index));
        match body {
            Some(body) => body.holders += 1,
            None => self.strays += 1,
        }
        u32::try_from(index?).ok()
    }

    /// Messages that went out and may be taken back yet.
    pub(in crate::store) fn sent(&self) -> usize {
        self.sent
    }

    /// The message for a session with this index is not needed any more. Gives whether it is one.
    pub(in crate::store) fn take_back(&mut self, index: u32) -> bool {
        let Some(change) = self.records.get_mut(index as usize) else { return false };
        let Change::Enqueue(Enqueued { at, bytes, body, packet_id, .. }) = *change else { return false };
        *change = Change::TakenBack(Gap { at, bytes });
        if let Some(body) = self.bodies.get_mut(body as usize) {
            body.holders = body.holders.saturating_sub(1);
        }
        self.sent -= usize::from(packet_id.is_some());
        self.taken_back += 1;
        true
    }

    /// Leaves out what was taken back and the bodies that nothing holds, and gives where they stood.
    pub(in crate::store) fn strip(&mut self) -> Vec<Gap> {
        if self.taken_back == 0 {
            return Vec::new();
        }
        let bodies = self.bodies.iter().filter(|body| body.holders == 0);
        let bodies = bodies.map(|Body { at, bytes, .. }| Gap { at: *at, bytes: *bytes });
        let records = self.records.iter().filter_map(|change| match change {
            Change::TakenBack(gap) => Some(*gap),
            _ => None,
        });
        let mut gaps: Vec<Gap> = bodies.chain(records).collect();
        // Two sorted parts, which this merges.
        gaps.sort();
        let mut moved = Moved { gaps: &gaps, bytes: 0 };
        let mut indexes = Vec::with_capacity(self.bodies.len());
        let mut kept = 0;
        self.bodies.retain_mut(|body| {
            indexes.push(kept);
            body.at = moved.to(body.at);
            kept += u32::from(body.holders > 0);
            body.holders > 0
        });
        let index = |body: &mut u32| *body = indexes.get(*body as usize).copied().unwrap_or(u32::MAX);
        let mut moved = Moved { gaps: &gaps, bytes: 0 };
        self.records.retain_mut(|change| {
            match change {
                Change::TakenBack(_) => return false,
                Change::Enqueue(Enqueued { at, body, .. }) => {
                    *at = moved.to(*at);
                    index(body);
                }
                Change::Text { at, .. } => *at = moved.to(*at),
                Change::Retain { body, .. } => index(body),
                _ => {}
            }
            true
        });
        self.taken_back = 0;
        gaps
    }

    /// Whether both say the same.
    pub(in crate::store) fn is_same(&self, other: &Self) -> bool {
        (&self.bodies, &self.records, self.strays) == (&other.bodies, &other.records, other.strays)
    }

    /// Bytes of memory in use.
    pub(in crate::store) fn memory(&self) -> usize {
        size_of_val(self.bodies.as_slice()) + size_of_val(self.records.as_slice())
    }

    /// The messages for sessions.
    pub(in crate::store) fn enqueued(&self) -> impl Iterator<Item = (&Enqueued, &Body)> {
        self.records.iter().filter_map(|change| match change {
            Change::Enqueue(enqueued) => Some((enqueued, self.body(enqueued.body)?)),
            _ => None,
        })
    }

    pub(in crate::store) fn body(&self, index: u32) -> Option<&Body> {
        self.bodies.get(index as usize)
    }
}

/// Where bytes are once the gaps before them are closed, asked for in order.
struct Moved<'g> {
    gaps: &'g [Gap],
    /// Of the gaps before.
    bytes: u32,
}

impl Moved<'_> {
    fn to(&mut self, at: u32) -> u32 {
        while let Some((gap, rest)) = self.gaps.split_first()
            && gap.at < at
        {
            self.bytes = self.bytes.saturating_add(gap.bytes);
            self.gaps = rest;
        }
        at.saturating_sub(self.bytes)
    }
}

/// Where in `payload` its end `rest` begins.
fn offset(payload: &[u8], rest: &[u8]) -> u32 {
    length(payload.len() - rest.len())
}

/// A frame has less than 4 GiB.
pub(in crate::store) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The bytes of a record.
pub(in crate::store) fn slice(payload: &[u8], at: u32, bytes: u32) -> &[u8] {
    payload.get(at as usize..(at as usize).saturating_add(bytes as usize)).unwrap_or_default()
}
