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

    /// What the subscription of `key` to the very same filter says.
    pub fn get(&self, filter: Filter<'_>, key: K) -> Option<&V> {
        if filter.has_wildcard() {
            self.wildcard.get(filter, key)
        } else {
            self.exact.get(filter.as_str())?.get(&key)
        }
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

    /// Makes every answer that was kept stale: it depended on more than the index.
    pub fn outdate(&mut self) {
        self.generation += 1;
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::{super::strategies, *};

    fn filter(text: &str) -> Filter<'_> {
        Filter::new(text).unwrap()
    }

    /// Keys and values of the subscriptions that match, sorted.
    fn matching(index: &Index<u32, u32>, name: &str) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        index.visit(Name::new(name).unwrap(), |key, value| found.push((key, *value)));
        found.sort_unstable();
        found
    }

    #[test]
    fn the_same_filter_again_replaces() {
        for text in ["a/b", "a/+", "a/#"] {
            let mut index = Index::new();
            assert_eq!(index.insert(filter(text), 1, 10), None);
            assert_eq!(index.insert(filter(text), 1, 20), Some(10));
            assert_eq!(index.len(), 1);
            assert_eq!(matching(&index, "a/b"), [(1, 20)]);
        }
    }

    #[test]
    fn every_matching_filter_is_visited() {
        let mut index = Index::new();
        for (value, text) in (0..).zip(["#", "+/b", "a/#", "a/+", "a/b", "a/b/#", "a/b/+", "+", "b/#"]) {
            index.insert(filter(text), 7, value);
        }
        assert_eq!(matching(&index, "a/b"), [(7, 0), (7, 1), (7, 2), (7, 3), (7, 4), (7, 5)]);
    }

    #[test]
    fn wildcards_do_not_reach_reserved_names() {
        let mut index = Index::new();
        for (key, text) in (0..).zip(["#", "+", "+/a", "+/#", "$SYS/#", "$SYS/+", "$SYS/a"]) {
            index.insert(filter(text), key, 0);
        }
        assert_eq!(matching(&index, "$SYS/a"), [(4, 0), (5, 0), (6, 0)]);
        assert_eq!(matching(&index, "$SYS"), [(4, 0)]);
    }

    #[test]
    fn filters_are_removed_literally() {
        let mut index = Index::new();
        index.insert(filter("a/+"), 1, 0);
        for other in ["a/b", "a/#", "+/+", "a/+/", "a", "#"] {
            assert_eq!(index.remove(filter(other), 1), None, "{other}");
        }
        assert_eq!(index.remove(filter("a/+"), 2), None);
        assert_eq!(index.remove(filter("a/+"), 1), Some(0));
        assert!(index.is_empty());
    }

    #[test]
    fn generation_tells_changes_from_attempts() {
        let mut index = Index::new();
        let mut last = index.generation();
        let mut changed =
            |index: &Index<u32, u32>| std::mem::replace(&mut last, index.generation()) != index.generation();
        for text in ["a", "+"] {
            index.insert(filter(text), 1, 0);
            assert!(changed(&index));
            index.insert(filter(text), 1, 1);
            assert!(changed(&index), "what the subscription says changed");
            index.remove(filter(text), 2);
            assert!(!changed(&index));
            index.remove(filter(text), 1);
            assert!(changed(&index));
        }
    }

    #[test]
    fn many_subscribers_to_one_filter() {
        for text in ["a/b", "a/+", "#"] {
            let mut index = Index::new();
            for key in 0..1000 {
                index.insert(filter(text), key, key);
            }
            for key in (0..1000).filter(|key| key % 100 != 0) {
                assert_eq!(index.remove(filter(text), key), Some(key));
            }
            assert_eq!(matching(&index, "a/b").len(), 10);
        }
    }

    #[test]
    fn the_deepest_filters_fit_the_stack() {
        let (slashes, pluses) = ("/".repeat(65_535), format!("{}#", "+/".repeat(32_767)));
        let (deep, wide) = (format!("{}#", "/".repeat(65_534)), format!("{}+", "/".repeat(65_534)));
        let mut index = Index::new();
        for (key, text) in (0..).zip([&slashes, &pluses, &deep, &wide]) {
            index.insert(filter(text), key, 0);
        }
        assert_eq!(index.wildcard.nodes(), 32_767 + 65_535);
        assert_eq!(matching(&index, &slashes), [(0, 0), (1, 0), (2, 0)]);
        assert_eq!(matching(&index, &slashes[1..]), [(1, 0), (2, 0), (3, 0)]);
        // Two are pruned, two are dropped with the index.
        assert_eq!(index.remove(filter(&wide), 3), Some(0));
        assert_eq!(index.remove(filter(&deep), 2), Some(0));
        assert_eq!(index.wildcard.nodes(), 32_767);
        drop(index);
    }

    #[derive(Clone, Debug)]
    enum Change {
        Insert(String, u32, u32),
        Remove(String, u32),
        RemoveNth(usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (strategies::filter(), 0..4_u32, any::<u32>()).prop_map(|(f, key, value)| Change::Insert(f, key, value)),
            1 => (strategies::filter(), 0..4_u32).prop_map(|(f, key)| Change::Remove(f, key)),
            2 => any::<usize>().prop_map(Change::RemoveNth),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_filters_one_by_one(
            changes in vec(change(), 0..80),
            names in vec(strategies::name(), 1..20),
        ) {
            let mut index = Index::new();
            let mut model = HashMap::<(String, u32), u32>::new();
            for change in changes {
                let before = index.generation();
                let changed = match change {
                    Change::Insert(text, key, value) => {
                        prop_assert_eq!(index.insert(filter(&text), key, value), model.insert((text, key), value));
                        true
                    }
                    Change::Remove(text, key) => {
                        let removed = index.remove(filter(&text), key);
                        prop_assert_eq!(removed, model.remove(&(text, key)));
                        removed.is_some()
                    }
                    Change::RemoveNth(n) => {
                        let nth = model.keys().cycle().nth(n % model.len().max(1)).cloned();
                        if let Some((text, key)) = &nth {
                            let removed = index.remove(filter(text), *key);
                            prop_assert_eq!(removed, model.remove(&(text.clone(), *key)));
                        }
                        nth.is_some()
                    }
                };
                prop_assert_eq!(index.generation() != before, changed);
                prop_assert_eq!(index.len(), model.len());
            }

            for text in &names {
                let name = Name::new(text).unwrap();
                let mut expected: Vec<(u32, u32)> = model
                    .iter()
                    .filter(|((text, _), _)| filter(text).matches(name))
                    .map(|((_, key), value)| (*key, *value))
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(matching(&index, text), expected, "{}", text);
            }

            for ((text, key), value) in model {
                prop_assert_eq!(index.remove(filter(&text), key), Some(value));
            }
            prop_assert!(index.is_empty());
            prop_assert_eq!((index.exact.len(), index.wildcard.nodes()), (0, 0));
        }
    }
}
