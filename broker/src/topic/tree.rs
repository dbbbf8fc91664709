use std::{hash::Hash, mem};

use smallvec::SmallVec;

use super::{Filter, Name, first_level, small_map::SmallMap};

/// The filters with wildcards: a tree with one node for each beginning of a filter, up to a whole level.
///
/// ```text
/// sport/+/score  and  sport/#     root ─sport→ ○ ─+→ ○ ─score→ ○ here
///                                              below
/// ```
pub(super) struct Tree<K, V> {
    root: Node<K, V>,
}

struct Node<K, V> {
    /// The next level, where the filter spells it out.
    children: SmallMap<Box<str>, Box<Node<K, V>>>,
    /// The next level is `+`.
    plus: Option<Box<Node<K, V>>>,
    /// Subscribers to the filter that ends here.
    here: SmallMap<K, V>,
    /// Subscribers to the filter that goes on with `#`.
    below: SmallMap<K, V>,
}

impl<K: Copy + Eq + Hash, V> Tree<K, V> {
    /// Returns the value that was replaced.
    pub(super) fn insert(&mut self, filter: Filter<'_>, key: K, value: V) -> Option<V> {
        let mut node = &mut self.root;
        for level in filter.levels() {
            node = match level {
                "#" => return node.below.insert(key, value),
                "+" => node.plus.get_or_insert_default(),
                _ => node.children.get_or_insert_default(level.into()),
            };
        }
        node.here.insert(key, value)
    }

    pub(super) fn get(&self, filter: Filter<'_>, key: K) -> Option<&V> {
        let mut node = &self.root;
        for level in filter.levels() {
            if level == "#" {
                return node.below.get(&key);
            }
            node = node.next(level)?;
        }
        node.here.get(&key)
    }

    pub(super) fn remove(&mut self, filter: Filter<'_>, key: K) -> Option<V> {
        let removed = self.subscribers_mut(filter)?.remove(&key)?;
        self.prune(filter);
        Some(removed)
    }

    /// Calls `visitor` with every subscription whose filter matches. Goes to matching nodes only.
    pub(super) fn visit<'s>(&'s self, name: Name<'_>, mut visitor: impl FnMut(K, &'s V)) {
        if self.root.is_empty() {
            return;
        }
        // Nodes that match the beginning of the name, each with the rest of the name if there is any: the next one, and
        // those where the way forked.
        let mut next = Some((&self.root, Some(name.as_str())));
        let mut forks = SmallVec::<[_; 8]>::new();
        // Wildcards that begin a filter, those of the root, do not match reserved names [MQTT-4.7.2-1].
        let mut skip_wildcards = name.is_reserved();
        while let Some((node, rest)) = next.or_else(|| forks.pop()) {
            next = None;
            let skip_wildcards = mem::take(&mut skip_wildcards);
            if !skip_wildcards {
                node.below.for_each(|key, value| visitor(*key, value));
            }
            let Some(rest) = rest else {
                node.here.for_each(|key, value| visitor(*key, value));
                continue;
            };
            let (level, rest) = first_level(rest);
            next = node.children.get(level).map(|child| (child.as_ref(), rest));
            if let Some(plus) = node.plus.as_deref().filter(|_| !skip_wildcards) {
                match next {
                    Some(_) => forks.push((plus, rest)),
                    None => next = Some((plus, rest)),
                }
            }
        }
    }

    fn subscribers_mut(&mut self, filter: Filter<'_>) -> Option<&mut SmallMap<K, V>> {
        let mut node = &mut self.root;
        for level in filter.levels() {
            if level == "#" {
                return Some(&mut node.below);
            }
            node = node.next_mut(level)?;
        }
        Some(&mut node.here)
    }

    /// Cuts off the end of the filter's path that leads to no subscriber any more.
    fn prune(&mut self, filter: Filter<'_>) {
        // How many levels lead to the last node that stays without this path.
        let mut kept_levels = 0;
        let mut node = &self.root;
        for (depth, level) in filter.levels().enumerate() {
            if node.has_subscribers() || node.branches() > 1 {
                kept_levels = depth;
            }
            let Some(next) = node.next(level) else { break };
            node = next;
        }
        if !node.is_empty() {
            return;
        }
        let mut node = &mut self.root;
        let mut levels = filter.levels();
        for level in levels.by_ref().take(kept_levels) {
            let Some(next) = node.next_mut(level) else { return };
            node = next;
        }
        match levels.next() {
            Some("+") => node.plus = None,
            Some(level) => drop(node.children.remove(level)),
            None => {}
        }
    }
}

impl<K, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        !self.has_subscribers() && self.branches() == 0
    }

    fn has_subscribers(&self) -> bool {
        !self.here.is_empty() || !self.below.is_empty()
    }

    fn branches(&self) -> usize {
        self.children.len() + usize::from(self.plus.is_some())
    }

    fn next(&self, level: &str) -> Option<&Self> {
        match level {
            "+" => self.plus.as_deref(),
            _ => self.children.get(level).map(Box::as_ref),
        }
    }

    fn next_mut(&mut self, level: &str) -> Option<&mut Self> {
        match level {
            "+" => self.plus.as_deref_mut(),
            _ => self.children.get_mut(level).map(Box::as_mut),
        }
    }

    fn take_branches(&mut self, nodes: &mut Vec<Box<Self>>) {
        nodes.extend(self.plus.take());
        self.children.drain_into(nodes);
    }
}

/// Nodes contain nodes, as deep as the deepest filter: dropping them one inside the other would overflow the stack.
impl<K, V> Drop for Node<K, V> {
    fn drop(&mut self) {
        let mut nodes = Vec::new();
        self.take_branches(&mut nodes);
        while let Some(mut node) = nodes.pop() {
            node.take_branches(&mut nodes);
        }
    }
}

impl<K, V> Default for Tree<K, V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self {
            children: SmallMap::default(),
            plus: None,
            here: SmallMap::default(),
            below: SmallMap::default(),
        }
    }
}

#[cfg(test)]
impl<K, V> Tree<K, V> {
    /// The number of nodes below the root.
    pub(super) fn nodes(&self) -> usize {
        let mut open = vec![&self.root];
        let mut count = 0;
        while let Some(node) = open.pop() {
            count += node.branches();
            open.extend(node.plus.as_deref());
            node.children.for_each(|_, child| open.push(child));
        }
        count
    }
}
