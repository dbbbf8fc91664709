use std::hash::Hash;

use super::{
    Filter, FilterBuf, Name,
    small_map::{SmallMap, Table},
    tree::Tree,
};

/// Topic filters → subscribers. `K` identifies a subscriber; `V` is what its subscription says.
///
/// A filter without wildcards matches one name only, so those wait in a hash map under their whole text, and
/// finding them costs one look-up however many there are. The others form a tree of levels.
pub struct Index<K, V> {
    exact: Table<FilterBuf, SmallMap<K, V>>,
    wildcard: Tree<K, V>,
    len: usize,
    generation: u64,
}

impl<K: Copy + Eq + Hash, V> Index<K, V> {
    /// An index without subscriptions.
    pub fn new() -> Self {
        Self { exact: Table::default(), wildcard: Tree::default(), len: 0, generation: 0 }
    }

    /// Subscribes `key` to `filter`. Returns what its subscription to the very same filter said, which is
    /// replaced [MQTT-3.8.4-3].
    pub fn insert(&mut self, filter: Filter<'_>, key: K, value: V) -> Option<V> {
        let replaced = if filter.has_wildcard() {
            self.wildcard.insert(filter, key, value)
        } else {
            self.exact.get_or_insert_default(filter.into()).insert(key, value)
        };
        self.generation += 1;
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Ends the subscription of `key` to the very same filter [MQTT-3.10.4-1], and returns what it said.
    pub fn remove(&mut self, filter: Filter<'_>, key: K) -> Option<V> {
        let removed = if filter.has_wildcard() {
            self.wildcard.remove(filter, key)
        } else {
            self.remove_exact(filter, key)
        };
        if removed.is_some() {
            self.generation += 1;
            self.len -= 1;
        }
        removed
    }

    /// Calls `visitor` with every subscription whose filter matches `name`, in any order. A subscriber with
    /// several such filters comes several times.
    pub fn visit<'s>(&'s self, name: Name<'_>, mut visitor: impl FnMut(K, &'s V)) {
        if let Some(subscribers) = self.exact.get(name.as_str()) {
            subscribers.for_each(|key, value| visitor(*key, value));
        }
        self.wildcard.visit(name, visitor);
    }

    /// The number of subscriptions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Is there no subscription?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Changes with every change of the index: an answer kept from an earlier generation may be stale.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn remove_exact(&mut self, filter: Filter<'_>, key: K) -> Option<V> {
        let subscribers = self.exact.get_mut(filter.as_str())?;
        let removed = subscribers.remove(&key)?;
        if subscribers.is_empty() {
            self.exact.remove(filter.as_str());
        }
        Some(removed)
    }
}

impl<K: Copy + Eq + Hash, V> Default for Index<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
