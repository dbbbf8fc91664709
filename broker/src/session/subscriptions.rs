//! What a client is subscribed to.

use std::collections::HashSet;

use super::hashing::Hashing;
use crate::topic::FilterBuf;

/// Topic filters, those of shared subscriptions as a whole. None take no memory.
#[derive(Default)]
pub struct Subscriptions(Option<Box<Filters>>);

#[derive(Default)]
struct Filters {
    set: HashSet<FilterBuf, Hashing>,
    bytes: usize,
}

impl Subscriptions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |filters| filters.set.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it is one of them.
    pub fn contains(&self, filter: &str) -> bool {
        self.0.as_ref().is_some_and(|filters| filters.set.contains(filter))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &FilterBuf> {
        self.0.iter().flat_map(|filters| &filters.set)
    }

    /// Adds one that takes so many bytes of memory, in all tables together. False if it is there already.
    pub fn insert(&mut self, filter: FilterBuf, bytes: usize) -> bool {
        let filters = self.0.get_or_insert_default();
        let is_new = filters.set.insert(filter);
        if is_new {
            filters.bytes += bytes;
        }
        is_new
    }

    /// Takes one away that took so many bytes. False if it is not there.
    pub fn remove(&mut self, filter: &str, bytes: usize) -> bool {
        let Some(filters) = &mut self.0 else { return false };
        let is_there = filters.set.remove(filter);
        if is_there {
            filters.bytes = filters.bytes.saturating_sub(bytes);
        }
        self.0.take_if(|filters| filters.set.is_empty());
        is_there
    }

    /// Memory they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |filters| filters.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Filter;

    #[test]
    fn the_last_one_takes_the_place_with_it() {
        let mut subscriptions = Subscriptions::default();
        let filter = || FilterBuf::from(Filter::new("a/+").unwrap());
        assert!(!subscriptions.contains("a/+") && !subscriptions.remove("a/+", 5));
        assert_eq!([subscriptions.insert(filter(), 5), subscriptions.insert(filter(), 5)], [true, false]);
        assert_eq!((subscriptions.len(), subscriptions.bytes(), subscriptions.contains("a/+")), (1, 5, true));
        assert!(subscriptions.iter().eq([&filter()]));
        assert!(subscriptions.remove("a/+", 5) && subscriptions.is_empty());
        assert_eq!(subscriptions.bytes(), 0);
    }
}
