//! Packet identifiers: those for what the server sends [MQTT-2.3.1-4], and sets of them.

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

/// A set of identifiers. Those in use at a time mostly lie close together, so it keeps a word for each 64 that has any: no
/// hash, and seldom more than two words to look at.
#[derive(Debug, Default)]
pub(super) struct IdentifierSet {
    /// By number.
    words: Vec<Word>,
    len: usize,
}

/// The identifiers from 64 times its number on, a bit each; never without any.
#[derive(Debug)]
struct Word {
    number: u16,
    bits: u64,
}

/// An empty set keeps room for so many words.
const KEPT_WORDS: usize = 4;

impl IdentifierSet {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is in the set.
    pub(super) fn contains(&self, id: PacketId) -> bool {
        let (number, bit) = place(id);
        self.find(number).is_ok_and(|at| self.words.get(at).is_some_and(|word| word.bits & bit != 0))
    }

    /// Puts it in. False if it was there.
    pub(super) fn insert(&mut self, id: PacketId) -> bool {
        let (number, bits) = place(id);
        let is_new = match self.find(number) {
            Ok(at) => self.words.get_mut(at).is_some_and(|word| {
                let before = word.bits;
                word.bits |= bits;
                word.bits != before
            }),
            Err(at) => {
                self.words.insert(at, Word { number, bits });
                true
            }
        };
        self.len += usize::from(is_new);
        is_new
    }

    /// Takes it out. False if it was not there.
    pub(super) fn remove(&mut self, id: PacketId) -> bool {
        let (number, bit) = place(id);
        let Ok(at) = self.find(number) else { return false };
        let Some(word) = self.words.get_mut(at).filter(|word| word.bits & bit != 0) else { return false };
        word.bits &= !bit;
        if word.bits == 0 {
            self.words.remove(at);
        }
        self.len -= 1;
        if self.len == 0 && self.words.capacity() > KEPT_WORDS {
            self.words = Vec::new();
        }
        true
    }

    /// All of them, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.words.iter().flat_map(|word| {
            let bits = (0..64).filter(|bit| word.bits & 1 << bit != 0);
            bits.filter_map(|bit| PacketId::new(word.number * 64 + bit))
        })
    }

    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<Word>()
    }

    /// Where the word stands, or would.
    fn find(&self, number: u16) -> Result<usize, usize> {
        self.words.binary_search_by_key(&number, |word| word.number)
    }
}

impl FromIterator<PacketId> for IdentifierSet {
    fn from_iter<I: IntoIterator<Item = PacketId>>(ids: I) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

/// The number of an identifier's word, and its bit there.
fn place(id: PacketId) -> (u16, u64) {
    (id.get() / 64, 1 << (id.get() % 64))
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
        fn a_set_is_as_the_one_of_the_library(changes in proptest::collection::vec((0..3u8, 1..=u16::MAX), 0..300)) {
            let (mut set, mut model) = (IdentifierSet::default(), BTreeSet::new());
            for (kind, number) in changes {
                // Most of them close together.
                let id = PacketId::new(if number % 8 == 0 { number } else { number % 200 + 1 }).unwrap();
                if kind < 2 {
                    prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    prop_assert_eq!(set.remove(id), model.remove(&id));
                }
                prop_assert_eq!((set.contains(id), set.len()), (model.contains(&id), model.len()));
                prop_assert!(set.iter().eq(model.iter().copied()));
            }
            let copy: IdentifierSet = set.iter().collect();
            prop_assert_eq!(copy.len(), model.len());
            for id in model {
                prop_assert!(set.remove(id));
            }
            prop_assert!(set.bytes() <= KEPT_WORDS * size_of::<Word>());
        }

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
