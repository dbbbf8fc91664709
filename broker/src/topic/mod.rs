//! Topic names and topic filters (section 4.7): what is valid, what matches, and the two tables that answer
//! "who subscribed to this name" ([`Index`]) and "which retained messages match this filter" ([`Retained`]).
//!
//! A [`Name`] or [`Filter`] is checked once, where it comes in, and valid ever after. Levels are compared byte
//! for byte: nothing is normalised [MQTT-4.7.3-4], and an empty level is a level. Statement identifiers on this
//! floor are those of MQTT 3.1.1; the rules of 5.0 are the same. [`SharedFilter`] tells the filters of shared
//! subscriptions, which 5.0 adds, from others.
//!
//! Filters may have 65,536 levels, so nothing here recurses over levels.

use std::iter;

mod filter;
mod index;
mod name;
mod retained;
mod share;
mod small_map;
#[cfg(test)]
mod strategies;
mod tree;

pub use filter::{Filter, FilterBuf, FilterError};
pub use index::Index;
pub use name::{Name, NameBuf, NameError};
pub use retained::Retained;
pub use share::{ShareError, SharedFilter};

/// The longest topic name or filter, in bytes of UTF-8: its length field has 16 bits [MQTT-4.7.3-3].
pub const MAX_BYTES: usize = u16::MAX as usize;

/// The first level of a name or filter, and the others if there are any.
fn first_level(levels: &str) -> (&str, Option<&str>) {
    // For the few bytes that a level has, this takes a quarter of what searching a text does.
    match levels.bytes().position(|byte| byte == b'/') {
        Some(end) => (levels.get(..end).unwrap_or_default(), levels.get(end + 1..)),
        None => (levels, None),
    }
}

/// All levels, of which there is at least one.
fn levels(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let (level, others) = first_level(rest?);
        rest = others;
        Some(level)
    })
}
