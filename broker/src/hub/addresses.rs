//! How many connections each address has, and how fast it makes new ones.
//!
//! An address of IPv6 is its upper half ([`Source`]). The table of rates is bounded; that of open connections has no more
//! entries than there are connections.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::reached::Limit;
use super::{Hub, Limits, Origin};
use crate::auth::Source;

/// After a rest, so many seconds' worth of connections may come at once.
const BURST_SECONDS: u32 = 10;
/// Addresses whose rates are kept apart; further ones count as one.
const MOST: usize = 10_000;
/// A full table is looked through for addresses at rest at most so often.
const CLEAN_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Addresses {
    open: HashMap<Source, usize, ahash::RandomState>,
    rates: Rates,
}

/// Token buckets, each as the time at which it is full again.
#[derive(Debug, Default)]
struct Rates {
    full_at: HashMap<Source, Instant, ahash::RandomState>,
    others: Option<Instant>,
    cleaned: Option<Instant>,
}

impl Addresses {
    fn enter(&mut self, source: Source, limits: &Limits, now: Instant) -> Result<(), Limit> {
        let most = limits.max_connections_per_address;
        if most.is_some_and(|most| self.open.get(&source).is_some_and(|open| *open >= most.get())) {
            return Err(Limit::ConnectionsPerAddress);
        }
        let rate = limits.max_connections_per_address_per_second;
        if rate.is_some_and(|rate| !self.rates.take(source, rate, now)) {
            return Err(Limit::ConnectionRate);
        }
        // Without a limit, too: there may be one later.
        *self.open.entry(source).or_default() += 1;
        Ok(())
    }

    fn leave(&mut self, source: Source) {
        if let Some(open) = self.open.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&source);
            }
        }
    }
}

impl Rates {
    /// Whether the address may have one more connection now.
    fn take(&mut self, source: Source, rate: NonZeroU32, now: Instant) -> bool {
        let is_known = self.full_at.contains_key(&source);
        if !is_known && self.full_at.len() >= MOST {
            self.clean(now);
        }
        let has_room = is_known || self.full_at.len() < MOST;
        let known = if has_room { self.full_at.get(&source).copied() } else { self.others };
        let full_at = known.unwrap_or(now).max(now) + Duration::from_secs(1) / rate.get();
        if full_at.saturating_duration_since(now) > Duration::from_secs(BURST_SECONDS.into()) {
            return false;
        }
        if has_room {
            self.full_at.insert(source, full_at);
        } else {
            self.others = Some(full_at);
        }
        true
    }

    fn clean(&mut self, now: Instant) {
        if self.cleaned.is_none_or(|at| now.saturating_duration_since(at) >= CLEAN_INTERVAL) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.cleaned = Some(now);
        }
    }
}

impl Hub {
    /// A connection comes in: whether its address may have it.
    pub(super) fn enter(&self, origin: &Origin, now: Instant) -> Result<(), Limit> {
        match limited(origin) {
            Some(source) => self.addresses.lock().enter(source, &self.limits.read(), now),
            None => Ok(()),
        }
    }

    /// A connection that came in is over.
    pub(super) fn leave(&self, origin: &Origin) {
        if let Some(source) = limited(origin) {
            self.addresses.lock().leave(source);
        }
    }
}

/// The address, if there may be limits for it. A UNIX socket has its permissions, and a bridge is our own.
fn limited(origin: &Origin) -> Option<Source> {
    match origin {
        Origin::Tcp(address) => Some(address.ip().into()),
        Origin::Unix(_) | Origin::Bridge(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroUsize;

    use super::*;

    fn source(address: &str) -> Source {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let limits = Limits { max_connections_per_address: NonZeroUsize::new(2), ..Limits::default() };
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let (one, other) = (source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(addresses.enter(one, &limits, now), Ok(()));
        assert_eq!(addresses.enter(source("2001:db8::2"), &limits, now), Ok(()));
        assert_eq!(addresses.enter(one, &limits, now), Err(Limit::ConnectionsPerAddress));
        assert_eq!(addresses.enter(other, &limits, now), Ok(()));
        addresses.leave(one);
        assert_eq!(addresses.enter(one, &limits, now), Ok(()));
        [one, one, other].into_iter().for_each(|source| addresses.leave(source));
        assert!(addresses.open.is_empty());
    }

    #[test]
    fn after_a_burst_they_come_at_the_rate() {
        let rate = NonZeroU32::new(4);
        let limits = Limits { max_connections_per_address_per_second: rate, ..Limits::default() };
        let (mut addresses, start) = (Addresses::default(), Instant::now());
        let mut let_in = |second: u64, address: &str| {
            let now = start + Duration::from_secs(second);
            (0..1000).filter(|_| addresses.enter(source(address), &limits, now) == Ok(())).count()
        };
        assert_eq!([let_in(0, "10.0.0.1"), let_in(0, "10.0.0.2")], [40, 40]);
        assert_eq!([let_in(0, "10.0.0.1"), let_in(1, "10.0.0.1"), let_in(3, "10.0.0.1")], [0, 4, 8]);
        assert_eq!(let_in(1000, "10.0.0.1"), 40);
    }

    #[test]
    fn the_table_has_an_end_and_those_at_rest_make_room() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let address = |n: usize| Source::V4(u32::try_from(n).unwrap().to_be_bytes());
        let one = NonZeroU32::MIN;
        let let_in = (0..2 * MOST).filter(|n| rates.take(address(*n), one, start)).count();
        assert_eq!(let_in, MOST + BURST_SECONDS as usize, "who finds no room shares a bucket");
        assert_eq!(rates.full_at.len(), MOST);
        assert!(rates.take(address(2 * MOST), one, start + Duration::from_secs(1)));
        assert_eq!(rates.full_at.len(), 1);
    }
}
