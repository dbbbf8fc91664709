use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
    ops::{Bound, ControlFlow},
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

    /// Calls `visitor` with every message whose name matches `filter`, in the order of the names' levels, until it
    /// breaks off. Returns the number of names looked at, which is what the visit costs.
    ///
    /// Goes from match to match; where keys in between cannot match, it seeks the next one that can.
    pub fn visit<'s>(
        &'s self,
        filter: Filter<'_>,
        mut visitor: impl FnMut(&'s M) -> ControlFlow<()>,
    ) -> usize {
        if filter.has_wildcard() {
            return self.scan(&key(filter.as_str()), visitor);
        }
        if let Some(message) = self.messages.get(key(filter.as_str()).as_str()) {
            _ = visitor(message);
        }
        1
    }

    /// Calls `visitor` as [`Retained::visit`] does, with names behind `after` alone, until it breaks off or so many names
    /// were looked at. Returns the last name looked at, to go on behind it; none if all were.
    pub fn visit_behind<'s>(
        &'s self,
        filter: Filter<'_>,
        after: Option<Name<'_>>,
        most: usize,
        mut visitor: impl FnMut(&'s M) -> ControlFlow<()>,
    ) -> Option<String> {
        let filter_key = key(filter.as_str());
        let literal_levels = filter_key.split(['+', '#']).next().unwrap_or_default();
        let mut target = String::from(literal_levels.strip_suffix(SEPARATOR).unwrap_or(literal_levels));
        let after = after.map(|name| key(name.as_str()));
        let mut keys = match &after {
            Some(after) if *after >= target => {
                self.messages.range::<str, _>((Bound::Excluded(after.as_str()), Bound::Unbounded))
            }
            _ => self.keys_from(&target),
        };
        let mut looked_at = 0;
        while let Some((key, message)) = keys.next() {
            looked_at += 1;
            let is_last = match step(&filter_key, key, &mut target) {
                Step::Match => visitor(message).is_break(),
                Step::Next => false,
                Step::Seek => {
                    keys = self.keys_from(&target);
                    false
                }
                Step::End => return None,
            };
            if is_last || looked_at >= most {
                return Some(key.replace(SEPARATOR, "/"));
            }
        }
        None
    }

    /// All messages, in the order of the names' levels.
    pub fn iter(&self) -> impl Iterator<Item = &M> {
        self.messages.values()
    }

    /// The number of retained messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Is no message retained?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Returns the number of keys it looked at.
    fn scan<'s>(&'s self, filter_key: &str, mut visitor: impl FnMut(&'s M) -> ControlFlow<()>) -> usize {
        let literal_levels = filter_key.split(['+', '#']).next().unwrap_or_default();
        let mut target = String::from(literal_levels.strip_suffix(SEPARATOR).unwrap_or(literal_levels));
        let mut keys = self.keys_from(&target);
        let mut looked_at = 0;
        while let Some((key, message)) = keys.next() {
            looked_at += 1;
            match step(filter_key, key, &mut target) {
                Step::Match if visitor(message).is_break() => break,
                Step::Match | Step::Next => {}
                Step::Seek => keys = self.keys_from(&target),
                Step::End => break,
            }
        }
        looked_at
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::{super::strategies, *};

    fn name(text: &str) -> Name<'_> {
        Name::new(text).unwrap()
    }

    fn matching<M: Copy>(retained: &Retained<M>, filter: &str) -> Vec<M> {
        let mut found = Vec::new();
        retained.visit(Filter::new(filter).unwrap(), |message| {
            found.push(*message);
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn one_message_for_each_name() {
        let mut retained = Retained::new();
        assert_eq!(retained.set(name("a/b"), 1), None);
        assert_eq!(retained.set(name("a/b"), 2), Some(1));
        assert_eq!(retained.set(name("a/b/"), 3), None);
        assert_eq!((retained.get(name("a/b")), retained.len()), (Some(&2), 2));
        assert_eq!(retained.remove(name("a/b")), Some(2));
        assert_eq!(retained.remove(name("a/b")), None);
        assert_eq!(retained.get(name("a/b/")), Some(&3));
        retained.remove(name("a/b/"));
        assert!(retained.is_empty());
    }

    #[test]
    fn wildcards_find_what_they_match() {
        let mut retained = Retained::new();
        for text in ["a", "a/", "a/b", "a/b/c", "a!", "a!/b", "a\u{1}", "b/b", "/b", "$SYS/b", "a/$b"] {
            retained.set(name(text), text);
        }
        assert_eq!(matching(&retained, "a/#"), ["a", "a/", "a/$b", "a/b", "a/b/c"]);
        assert_eq!(matching(&retained, "a/+"), ["a/", "a/$b", "a/b"]);
        assert_eq!(matching(&retained, "+/b"), ["/b", "a/b", "a!/b", "b/b"]);
        assert_eq!(matching(&retained, "+"), ["a", "a\u{1}", "a!"]);
        assert_eq!(matching(&retained, "+/b/#"), ["/b", "a/b", "a/b/c", "a!/b", "b/b"]);
        assert_eq!(matching(&retained, "$SYS/+"), ["$SYS/b"]);
        assert_eq!(matching(&retained, "#").len(), 10);
        assert_eq!(matching(&retained, "a/b"), ["a/b"]);
        assert_eq!(matching(&retained, "b"), [""; 0]);
    }

    #[test]
    fn what_cannot_match_is_skipped() {
        let mut retained = Retained::new();
        for parent in ["a", "x/1", "x/2", "x/3", "y", "$SYS"] {
            for leaf in 0..100 {
                retained.set(name(&format!("{parent}/{leaf:02}/z")), ());
            }
        }
        let looked_at = |filter, then| retained.visit(Filter::new(filter).unwrap(), |()| then);
        let keys_looked_at = |filter| looked_at(filter, ControlFlow::Continue(()));
        assert_eq!(matching(&retained, "x/+/50/z").len(), 3);
        // The first key of each x/n, the match in it, the key behind that; and the first key behind them all.
        assert_eq!(keys_looked_at("x/+/50/z"), 3 * 3 + 1);
        assert_eq!(keys_looked_at("x/2/#"), 100 + 1);
        // The first key of each first level: $SYS, a, x, y.
        assert_eq!(keys_looked_at("+"), 4);
        assert_eq!(keys_looked_at("x/2/50/z"), 1);
        assert_eq!(looked_at("#", ControlFlow::Break(())), 1 + 1);
    }

    #[test]
    fn the_deepest_names_and_filters_fit_the_stack() {
        let slashes = "/".repeat(65_535);
        let mut retained = Retained::new();
        retained.set(name(&slashes[1..]), 65_535);
        retained.set(name(&slashes), 65_536);
        assert_eq!(matching(&retained, &slashes), [65_536]);
        assert_eq!(matching(&retained, &format!("{}+", &slashes[1..])), [65_535]);
        assert_eq!(matching(&retained, &format!("{}#", &slashes[1..])), [65_535, 65_536]);
        assert_eq!(matching(&retained, &format!("{}#", "+/".repeat(32_767))), [65_535, 65_536]);
    }

    proptest! {
        #[test]
        fn agrees_with_filters_one_by_one(
            changes in vec((strategies::name(), any::<bool>()), 0..80),
            filters in vec(strategies::filter(), 1..20),
        ) {
            let (mut retained, mut model) = (Retained::new(), HashMap::new());
            for (id, (text, set)) in changes.iter().enumerate() {
                if *set {
                    prop_assert_eq!(retained.set(name(text), id), model.insert(text, id));
                } else {
                    prop_assert_eq!(retained.remove(name(text)), model.remove(text));
                }
                prop_assert_eq!(retained.get(name(text)), model.get(text));
                prop_assert_eq!(retained.len(), model.len());
            }
            for (text, most) in filters.iter().zip(1..) {
                let filter = Filter::new(text).unwrap();
                let (mut pages, mut after) = (Vec::new(), None::<String>);
                loop {
                    let behind = after.as_deref().map(name);
                    after = retained.visit_behind(filter, behind, most, |id| {
                        pages.push(*id);
                        if id % 3 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    if after.is_none() {
                        break;
                    }
                }
                prop_assert_eq!(pages, matching(&retained, text), "{} by {}", text, most);
            }
            for text in &filters {
                let filter = Filter::new(text).unwrap();
                let mut expected: Vec<usize> =
                    model.iter().filter(|(text, _)| filter.matches(name(text))).map(|(_, id)| *id).collect();
                expected.sort_unstable();
                let mut found = matching(&retained, text);
                found.sort_unstable();
                prop_assert_eq!(found, expected, "{}", text);
            }
        }
    }
}
