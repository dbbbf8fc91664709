//! Names and filters for property tests: few levels out of few, so that they meet often.

use proptest::{collection::vec, prelude::*, sample::select};

/// Levels that meet each other, sort close to the separator, or look special.
const LEVELS: [&str; 10] = ["", "a", "b", "a!", "a\u{1}", "$", "$a", "%", "é", "日本"];

pub(super) fn name() -> impl Strategy<Value = String> {
    vec(level(), 1..5).prop_map(|levels| levels.join("/")).prop_map(not_empty)
}

pub(super) fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => level(), 1 => Just("+")];
    (vec(level, 0..5), any::<bool>())
        .prop_map(|(levels, multi)| {
            levels.into_iter().chain(multi.then_some("#")).collect::<Vec<_>>().join("/")
        })
        .prop_map(not_empty)
}

fn level() -> impl Strategy<Value = &'static str> {
    select(LEVELS.as_slice())
}

fn not_empty(text: String) -> String {
    if text.is_empty() { "/".into() } else { text }
}
