use std::{borrow::Borrow, collections::HashMap, hash::Hash, mem};

use ahash::RandomState;

/// A map that mostly holds one entry: that one needs no table, yet many are still found in O(1).
pub(super) enum SmallMap<K, V> {
    Small(Option<(K, V)>),
    Many(Box<Table<K, V>>),
}

impl<K, V> SmallMap<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(entry) => usize::from(entry.is_some()),
            Self::Many(table) => table.len(),
        }
    }

    pub(super) fn for_each<'s>(&'s self, mut visitor: impl FnMut(&'s K, &'s V)) {
        match self {
            Self::Small(entry) => entry.iter().for_each(|(key, value)| visitor(key, value)),
            Self::Many(table) => table.map.iter().for_each(|(key, value)| visitor(key, value)),
        }
    }

    /// Moves all values out.
    pub(super) fn drain_into(&mut self, values: &mut Vec<V>) {
        match mem::take(self) {
            Self::Small(entry) => values.extend(entry.map(|(_, value)| value)),
            Self::Many(table) => values.extend(table.map.into_values()),
        }
    }
}

impl<K: Eq + Hash, V> SmallMap<K, V> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Small(entry) => entry.as_ref().filter(|(k, _)| k.borrow() == key).map(|(_, value)| value),
            Self::Many(table) => table.get(key),
        }
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Small(entry) => {
                entry.as_mut().filter(|(k, _)| (*k).borrow() == key).map(|(_, value)| value)
            }
            Self::Many(table) => table.get_mut(key),
        }
    }

    pub(super) fn get_or_insert_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.make_room_for(&key);
        match self {
            Self::Small(entry) => &mut entry.get_or_insert_with(|| (key, V::default())).1,
            Self::Many(table) => table.get_or_insert_default(key),
        }
    }

    /// Returns the value that was replaced.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room_for(&key);
        match self {
            Self::Small(entry) => entry.replace((key, value)).map(|(_, replaced)| replaced),
            Self::Many(table) => table.insert(key, value),
        }
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Small(entry) => entry.take_if(|(k, _)| (*k).borrow() == key).map(|(_, value)| value),
            Self::Many(table) => {
                let removed = table.remove(key);
                if table.len() <= 1 {
                    *self = Self::Small(mem::take(&mut table.map).into_iter().next());
                }
                removed
            }
        }
    }

    /// Becomes a table if the one entry there is has another key.
    fn make_room_for(&mut self, key: &K) {
        if let Self::Small(entry) = self
            && let Some((first_key, first_value)) = entry.take_if(|(k, _)| k != key)
        {
            let mut table = Table::default();
            table.insert(first_key, first_value);
            *self = Self::Many(Box::new(table));
        }
    }
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Small(None)
    }
}

/// A hash map that gives memory back as it empties. Its keys are chosen by clients, so the hash has a random key.
pub(super) struct Table<K, V> {
    map: HashMap<K, V, RandomState>,
    /// The most entries since the map last shrank: what it has memory for. (`HashMap::capacity` does not tell:
    /// it leaves out the places of removed entries.)
    peak: usize,
}

impl<K, V> Table<K, V> {
    /// Smaller maps are not worth shrinking.
    const SHRINK_FROM: usize = 32;

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    pub(super) fn get_or_insert_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        // One too many if the key is there already, which only makes the map shrink a little earlier.
        self.peak = self.peak.max(self.map.len() + 1);
        self.map.entry(key).or_default()
    }

    /// Returns the value that was replaced.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let replaced = self.map.insert(key, value);
        self.peak = self.peak.max(self.map.len());
        replaced
    }

    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.map.remove(key);
        // A quarter full: shrinking to half full costs O(1) per removal in the long run.
        if self.peak >= Self::SHRINK_FROM && self.map.len() <= self.peak / 4 {
            self.peak = self.map.len() * 2;
            self.map.shrink_to(self.peak);
        }
        removed
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { map: HashMap::default(), peak: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map(changes in vec((0..4_u8, proptest::option::of(any::<u8>())), 0..40)) {
            let (mut map, mut model) = (SmallMap::default(), HashMap::new());
            for (key, change) in changes {
                match change {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                let mut seen = HashMap::new();
                map.for_each(|key, value| assert_eq!(seen.insert(*key, *value), None));
                prop_assert_eq!(&seen, &model);
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
            }
        }
    }

    #[test]
    fn one_entry_needs_no_table() {
        let mut map = SmallMap::default();
        map.insert(1, 'a');
        map.insert(2, 'b');
        assert!(matches!(map, SmallMap::Many(_)));
        map.remove(&1);
        assert!(matches!(map, SmallMap::Small(Some((2, 'b')))));
    }

    #[test]
    fn default_is_inserted_once() {
        let mut map = SmallMap::default();
        for key in [1, 2, 1, 2, 2] {
            *map.get_or_insert_default(key) += 1;
        }
        assert_eq!((map.get(&1), map.get(&2)), (Some(&2), Some(&3)));
    }

    #[test]
    fn memory_follows_the_entries() {
        let mut table = Table::default();
        for key in 0..10_000 {
            *table.get_or_insert_default(key) = key;
        }
        for key in 100..10_000 {
            assert_eq!(table.remove(&key), Some(key));
        }
        assert!(table.map.capacity() < 1_000, "{}", table.map.capacity());
        assert!((0..100).all(|key| table.get(&key) == Some(&key)));
    }
}
