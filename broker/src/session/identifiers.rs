//! Packet identifiers for what the server sends [MQTT-2.3.1-4].

use crate::codec::PacketId;

/// Hands out identifiers in turn, passing over those still in use.
///
/// The next `runway` identifiers from `next` on are known to be free, so that
/// the ones in use are looked through only once for each stretch between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identifiers {
    next: PacketId,
    runway: u16,
}

impl Default for Identifiers {
    fn default() -> Self {
        Self { next: PacketId::MIN, runway: u16::MAX }
    }
}

impl Identifiers {
    /// With some in use already.
    pub(super) fn in_use() -> Self {
        Self { runway: 0, ..Self::default() }
    }

    /// An identifier that is not in `used`; none if all 65,535 are.
    pub(super) fn allocate(&mut self, used: impl Iterator<Item = PacketId> + Clone) -> Option<PacketId> {
        if self.runway == 0 {
            self.find_runway(used)?;
        }
        let allocated = self.next;
        self.runway -= 1;
        self.next = following(allocated);
        Some(allocated)
    }

    fn find_runway(&mut self, used: impl Iterator<Item = PacketId> + Clone) -> Option<()> {
        if used.clone().count() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            // Distance to the nearest one in use; with none in use, all are free.
            self.runway = used.clone().map(|id| distance(self.next, id)).min().unwrap_or(u16::MAX);
            if self.runway > 0 {
                return Some(());
            }
            self.next = following(self.next);
        }
    }
}

/// The identifier after this one; 1 follows 65,535, for 0 is none [MQTT-2.3.1-1].
fn following(id: PacketId) -> PacketId {
    id.checked_add(1).unwrap_or(PacketId::MIN)
}

/// Steps from `from` forward to `to`.
fn distance(from: PacketId, to: PacketId) -> u16 {
    if to >= from { to.get() - from.get() } else { u16::MAX - from.get() + to.get() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_identifiers_are_used_and_none_twice() {
        let mut ids = Identifiers::default();
        let mut used = BTreeSet::new();
        for _ in 0..u16::MAX {
            let id = ids.allocate(std::iter::empty()).unwrap();
            assert!(used.insert(id));
        }
        assert_eq!(ids.allocate(std::iter::empty()), Some(PacketId::MIN));
    }

    #[test]
    fn none_is_left_when_all_are_in_use() {
        let mut ids = Identifiers::default();
        let all: Vec<_> = (1..=u16::MAX).filter_map(PacketId::new).collect();
        ids.runway = 0;
        assert_eq!(ids.allocate(all.iter().copied()), None);
    }

    proptest! {
        #[test]
        fn never_one_in_use(mut stuck in proptest::collection::btree_set(1..200u16, 0..150), start in 1..300u16) {
            let mut ids = Identifiers { next: PacketId::new(start).unwrap(), runway: 0 };
            for _ in 0..500 {
                let used = stuck.iter().copied().filter_map(PacketId::new);
                let id = ids.allocate(used).unwrap();
                prop_assert!(stuck.insert(id.get()));
                if stuck.len() > 160 {
                    let oldest = *stuck.iter().find(|s| **s != id.get()).unwrap();
                    stuck.remove(&oldest);
                }
            }
        }
    }
}
