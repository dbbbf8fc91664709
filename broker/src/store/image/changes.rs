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

impl Changes {
    /// Forgets all of them.
    pub(in crate::store) fn clear(&mut self) {
        self.bodies.clear();
        self.records.clear();
        self.strays = 0;
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
