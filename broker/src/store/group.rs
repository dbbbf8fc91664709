//! What was recorded together.

use super::image::{Changes, Gap, length, slice};
use super::record::Record;

/// What is written, and survives, as one.
#[derive(Default)]
pub(super) struct Group {
    /// Its records, encoded.
    pub(super) payload: Vec<u8>,
    /// What they say, so that the writer need not read them again.
    pub(super) changes: Changes,
}

/// Names a record that may be taken back as long as its group is not being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its group; the default is none.
    pub(super) group: u64,
    pub(super) index: u32,
}

impl Group {
    /// Gives where it stands among its changes.
    pub(super) fn add(&mut self, record: &Record<'_>) -> u32 {
        let (at, index) = (self.payload.len(), self.changes.records.len());
        record.encode(&mut self.payload);
        self.changes.add(record, length(at), length(self.payload.len() - at));
        length(index)
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.changes.memory()
    }

    /// Nothing is in it, but room.
    pub(super) fn clear(&mut self) {
        self.payload.clear();
        self.changes.clear();
    }

    /// Leaves out what was taken back, and the messages that nothing else means.
    pub(super) fn strip(&mut self) {
        let gaps = self.changes.strip();
        let Some(first) = gaps.first() else { return };
        let mut kept = Vec::with_capacity(self.payload.len());
        kept.extend_from_slice(slice(&self.payload, 0, first.at));
        let ends = gaps.iter().skip(1).map(|gap| gap.at).chain([length(self.payload.len())]);
        for (Gap { at, bytes }, end) in gaps.iter().zip(ends) {
            let from = at.saturating_add(*bytes);
            kept.extend_from_slice(slice(&self.payload, from, end.saturating_sub(from)));
        }
        self.payload = kept;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::{PacketId, QoS};
    use crate::store::record::{MannerRecord, MessageRecord};

    const MANNER: MannerRecord<'_> = MannerRecord {
        qos: QoS::AtLeastOnce,
        retain: false,
        replayed: false,
        subscription_ids: &[],
        share: None,
    };

    /// A message for so many sessions, which of them take it back, and whether it is retained.
    type Published = (Vec<bool>, bool);

    /// Records them; the messages that are taken back only where `all` says so.
    fn record(published: &[Published], all: bool) -> (Group, Vec<u32>) {
        let (mut group, mut drafts) = (Group::default(), Vec::new());
        for (number, (sessions, is_retained)) in (1..).zip(published) {
            let topic = "t".repeat(number as usize);
            let message = MessageRecord {
                topic: &topic,
                payload: b"payload",
                qos: QoS::AtLeastOnce,
                properties: &[],
                expiry: None,
            };
            let is_meant = all || *is_retained || sessions.iter().any(|is_taken_back| !is_taken_back);
            if is_meant {
                group.add(&Record::Body { body: number, message });
            }
            for (session, is_taken_back) in (1..).zip(sessions) {
                if *is_taken_back && !all {
                    continue;
                }
                let packet_id = Some(PacketId::MIN);
                let index = group.add(&Record::Enqueue {
                    session,
                    position: number,
                    body: number,
                    manner: MANNER,
                    packet_id,
                });
                drafts.extend(is_taken_back.then_some(index));
            }
            if *is_retained {
                group.add(&Record::Retain { body: number });
            }
            group.add(&Record::Dequeue { session: 1, position: 0 });
            group.add(&Record::Unsubscribe { session: 2, filter: "f" });
        }
        (group, drafts)
    }

    proptest! {
        #[test]
        fn what_was_taken_back_was_never_there(
            published in prop::collection::vec((prop::collection::vec(any::<bool>(), 0..4), any::<bool>()), 0..12),
        ) {
            let (mut group, drafts) = record(&published, true);
            for index in &drafts {
                prop_assert!(group.changes.take_back(*index));
                prop_assert!(!group.changes.take_back(*index), "once is enough");
            }
            group.strip();
            let (expected, _) = record(&published, false);
            // A message that nobody ever meant is not missed.
            let is_meant = |(sessions, is_retained): &Published| *is_retained || !sessions.is_empty();
            if published.iter().all(is_meant) || !drafts.is_empty() {
                prop_assert!(group.changes.is_same(&expected.changes));
                prop_assert_eq!(group.payload, expected.payload);
            }
        }
    }
}
