use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use super::{Filter, Name};

/// Topic names → retained messages.
///
/// One sorted map. Its keys are the names with U+0000, which no name contains and which sorts before everything
/// else, in place of each `/`. So the keys sort level by level: a name comes right before the names below it, and
/// these stand together. Without that, `a!` would come between `a` and `a/b`.
pub struct Retained<M> {
    messages: BTreeMap<Box<str>, M>,
}

const SEPARATOR: char = '\0';
const AFTER_SEPARATOR: &str = "\u{1}";

impl<M> Retained<M> {
    /// No messages.
    pub fn new() -> Self {
        Self { messages: BTreeMap::new() }
    }

    /// Retains `message`. Returns the one it replaces.
    pub fn set(&mut self, name: Name<'_>, message: M) -> Option<M> {
        self.messages.insert(key(name.as_str()).into(), message)
    }

    /// Removes the message retained for exactly this name, and returns it.
    pub fn remove(&mut self, name: Name<'_>) -> Option<M> {
        self.messages.remove(key(name.as_str()).as_str())
    }

    /// The message retained for exactly this name.
    pub fn get(&self, name: Name<'_>) -> Option<&M> {
        self.messages.get(key(name.as_str()).as_str())
    }

    /// Calls `visitor` with every message whose name matches `filter`, in the order of the names' levels.
    ///
    /// Goes from match to match; where keys in between cannot match, it seeks the next one that can.
    pub fn visit<'s>(&'s self, filter: Filter<'_>, mut visitor: impl FnMut(&'s M)) {
        let filter_key = key(filter.as_str());
        if !filter.has_wildcard() {
            self.messages.get(filter_key.as_str()).into_iter().for_each(visitor);
            return;
        }
        let literal_levels = filter_key.split(['+', '#']).next().unwrap_or_default();
        let mut target = String::from(literal_levels.strip_suffix(SEPARATOR).unwrap_or(literal_levels));
        let mut keys = self.keys_from(&target);
        while let Some((key, message)) = keys.next() {
            match step(&filter_key, key, &mut target) {
                Step::Match => visitor(message),
                Step::Next => {}
                Step::Seek => keys = self.keys_from(&target),
                Step::End => return,
            }
        }
    }

    /// The number of retained messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Is no message retained?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn keys_from(&self, start: &str) -> btree_map::Range<'_, Box<str>, M> {
        self.messages.range::<str, _>((Bound::Included(start), Bound::Unbounded))
    }
}

impl<M> Default for Retained<M> {
    fn default() -> Self {
        Self::new()
    }
}

fn key(levels: &str) -> String {
    levels.replace('/', "\0")
}

/// What a key tells about the place of the next match.
enum Step {
    /// It is this key.
    Match,
    /// It is behind this key.
    Next,
    /// It is not before the `target`, which is behind this key.
    Seek,
    /// There is none.
    End,
}

/// Compares a key with a filter (in the form of a key, too), level by level.
fn step(filter: &str, key: &str, target: &mut String) -> Step {
    if key.starts_with('$') && filter.starts_with(['+', '#']) {
        // Behind all reserved names [MQTT-4.7.2-1].
        return seek(target, "", "%");
    }
    let mut key_levels = key.split(SEPARATOR);
    let mut start = 0;
    // The key up to the end of the last level that stands for a `+`.
    let mut plus_end = None;
    for level in filter.split(SEPARATOR) {
        if level == "#" {
            return Step::Match;
        }
        let Some(key_level) = key_levels.next() else { return Step::Next };
        let end = start + key_level.len();
        if level == "+" {
            plus_end = Some(end);
        } else {
            match key_level.cmp(level) {
                Ordering::Less => return seek(target, beginning(key, start), level),
                Ordering::Equal => {}
                Ordering::Greater => return seek_past(target, key, plus_end),
            }
        }
        start = end + SEPARATOR.len_utf8();
    }
    match key_levels.next() {
        None => Step::Match,
        Some(_) => seek_past(target, key, plus_end),
    }
}

/// Goes on with the next value of the last `+`: behind everything below its present one.
fn seek_past(target: &mut String, key: &str, plus_end: Option<usize>) -> Step {
    match plus_end {
        Some(end) => seek(target, beginning(key, end), AFTER_SEPARATOR),
        None => Step::End,
    }
}

fn seek(target: &mut String, beginning: &str, then: &str) -> Step {
    target.clear();
    target.push_str(beginning);
    target.push_str(then);
    Step::Seek
}

/// The first `end` bytes of the key, where `end` is the start or the end of a level.
fn beginning(key: &str, end: usize) -> &str {
    key.split_at_checked(end).map_or(key, |(beginning, _)| beginning)
}
