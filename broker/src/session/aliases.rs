//! Topic aliases (§3.3.2.3.4 of 5.0): numbers that stand for topic names, for one connection and one direction each.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use crate::topic::{Name, NameBuf};

/// Bytes of topic names that a client may keep here by its aliases.
const MAX_RECEIVED_BYTES: usize = 1 << 20;
/// What an alias takes beside its topic name.
const ENTRY_BYTES: usize = 64;
/// Aliases given to one client: more are hardly ever in use at a time.
const MAX_SENT: u16 = 64;
/// An alias is a property of three bytes: a shorter name is not worth one. A longer one is, but takes memory.
const SENT_LENGTHS: std::ops::RangeInclusive<usize> = 8..=1024;

/// The aliases that a client made. They end with its connection [5.0 MQTT-3.3.2-7]. Most clients make none.
#[derive(Debug, Default)]
pub struct ReceivedAliases(Option<Box<Topics>>);

#[derive(Debug, Default)]
struct Topics {
    by_alias: BTreeMap<NonZeroU16, NameBuf>,
    bytes: usize,
}

/// The names take more memory than a client may use for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the topics of its topic aliases take more than {MAX_RECEIVED_BYTES} bytes")]
pub struct TooManyBytes;

impl ReceivedAliases {
    /// From now on `alias` stands for the topic.
    ///
    /// # Errors
    ///
    /// There is no room: it stands for what it did before.
    pub fn set(&mut self, alias: NonZeroU16, topic: Name<'_>) -> Result<(), TooManyBytes> {
        let Topics { by_alias, bytes: total } = &mut **self.0.get_or_insert_default();
        let known = by_alias.get(&alias).map(|known| known.as_name());
        if known == Some(topic) {
            return Ok(());
        }
        let bytes = *total - known.map_or(0, entry_bytes) + entry_bytes(topic);
        if bytes > MAX_RECEIVED_BYTES {
            return Err(TooManyBytes);
        }
        *total = bytes;
        by_alias.insert(alias, NameBuf::from(topic));
        Ok(())
    }

    /// Whether none was ever made.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What it stands for.
    pub fn topic(&self, alias: NonZeroU16) -> Option<Name<'_>> {
        self.0.as_ref()?.by_alias.get(&alias).map(NameBuf::as_name)
    }

    /// Memory they take, more or less.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |topics| topics.bytes)
    }
}

fn entry_bytes(topic: Name<'_>) -> usize {
    ENTRY_BYTES + topic.as_str().len()
}

/// The aliases given to a client. Each topic has one place in a table, by its hash, and each place one alias. A topic
/// that comes to its place twice in a row gets the alias, from another one if need be.
#[derive(Debug)]
pub(super) struct SentAliases {
    places: Box<[Place]>,
    hasher: ahash::RandomState,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Place {
    /// What the client knows the alias for.
    topic: Box<str>,
    /// The hash of the topic that was here last without having the alias.
    candidate: Option<u64>,
}

/// What is known of the alias for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// There is none.
    Without,
    /// The client knows it: it stands in for the topic.
    Known(NonZeroU16),
    /// It may be told to the client with the topic, and is then to be [set](SentAliases::set).
    Free(NonZeroU16),
}

impl SentAliases {
    /// Aliases up to `maximum`; none if there are none [5.0 MQTT-3.1.2-27].
    pub(super) fn up_to(maximum: u16) -> Option<Self> {
        let places = vec![Place::default(); maximum.min(MAX_SENT).into()].into_boxed_slice();
        let bytes = size_of_val(places.as_ref());
        (maximum > 0).then(|| Self { places, hasher: ahash::RandomState::new(), bytes })
    }

    /// The alias for a topic that is sent now.
    pub(super) fn find(&mut self, topic: Name<'_>) -> Alias {
        let topic = topic.as_str();
        if !SENT_LENGTHS.contains(&topic.len()) {
            return Alias::Without;
        }
        let hash = self.hasher.hash_one(topic);
        let Some((alias, place)) = self.place(hash) else { return Alias::Without };
        if *place.topic == *topic {
            Alias::Known(alias)
        } else if place.candidate == Some(hash) {
            Alias::Free(alias)
        } else {
            place.candidate = Some(hash);
            Alias::Without
        }
    }

    /// The client was told that its free alias is for the topic.
    pub(super) fn set(&mut self, topic: Name<'_>) {
        let hash = self.hasher.hash_one(topic.as_str());
        let Some((_, place)) = self.place(hash) else { return };
        let before = place.topic.len();
        *place = Place { topic: topic.as_str().into(), candidate: None };
        self.bytes = self.bytes - before + topic.as_str().len();
    }

    /// Memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// No alias is above the client's maximum [5.0 MQTT-3.1.2-26].
    fn place(&mut self, hash: u64) -> Option<(NonZeroU16, &mut Place)> {
        let at = hash.checked_rem(self.places.len() as u64)?;
        let alias = u16::try_from(at).ok().and_then(|at| NonZeroU16::new(at + 1))?;
        self.places.get_mut(usize::from(alias.get()) - 1).map(|place| (alias, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name<'_> {
        Name::new(text).unwrap()
    }

    #[test]
    fn an_alias_stands_for_the_topic_it_was_last_sent_with() {
        let (one, two) = (NonZeroU16::MIN, NonZeroU16::new(2).unwrap());
        let mut aliases = ReceivedAliases::default();
        assert_eq!(aliases.topic(one), None);
        for topic in ["a", "b", "b"] {
            aliases.set(one, name(topic)).unwrap();
            assert_eq!(aliases.topic(one), Some(name(topic)));
        }
        assert_eq!((aliases.topic(two), aliases.bytes()), (None, ENTRY_BYTES + 1));
    }

    #[test]
    fn the_topics_of_aliases_are_limited_in_bytes() {
        let longest = "x".repeat(65_535);
        let mut aliases = ReceivedAliases::default();
        let mut set = |number: u16| aliases.set(NonZeroU16::new(number).unwrap(), name(&longest));
        assert!((1..=15).all(|number| set(number).is_ok() && set(number).is_ok()));
        assert_eq!(set(16), Err(TooManyBytes));
        assert_eq!(aliases.bytes(), 15 * entry_bytes(name(&longest)));
    }

    #[test]
    fn a_topic_gets_an_alias_when_it_comes_again() {
        let mut aliases = SentAliases::up_to(1).unwrap();
        let (one, other) = (name("sensors/one"), name("sensors/other"));
        assert_eq!(aliases.find(one), Alias::Without);
        let Alias::Free(alias) = aliases.find(one) else { panic!("no alias") };
        assert_eq!(aliases.find(one), Alias::Free(alias), "the client was not told");
        aliases.set(one);
        assert_eq!([aliases.find(one), aliases.find(other)], [Alias::Known(alias), Alias::Without]);
        assert_eq!([aliases.find(one), aliases.find(other)], [Alias::Known(alias), Alias::Free(alias)]);
        let bytes = aliases.bytes();
        aliases.set(other);
        assert_eq!([aliases.find(one), aliases.find(other)], [Alias::Without, Alias::Known(alias)]);
        assert_eq!(aliases.bytes(), bytes + 2);
    }

    #[test]
    fn not_every_topic_is_worth_one_and_not_every_client_takes_one() {
        assert!(SentAliases::up_to(0).is_none());
        let mut aliases = SentAliases::up_to(u16::MAX).unwrap();
        let long = "x".repeat(1025);
        for topic in ["short", &long] {
            assert!((0..3).all(|_| aliases.find(name(topic)) == Alias::Without));
        }
    }
}
