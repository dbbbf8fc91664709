//! How long a refusal is held back, so that guessing passwords is slow.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How refusals are delayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DelayLimits {
    /// The delay of an address's second failed login. Each further one doubles it; the first is not delayed.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// An address is forgotten when no login from it has failed for so long.
    pub memory: Duration,
    /// Addresses remembered; further ones count as one.
    pub addresses: usize,
}

/// Who is delayed: those who can have another address at will count as one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The upper half of an IPv6 address: a customer is given all of the lower one.
    V6([u8; 8]),
    /// This machine, by a UNIX socket.
    Local,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = Ipv6Addr::octets(&address);
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The logins that failed lately, by where they came from.
#[derive(Debug)]
pub struct Delays {
    limits: DelayLimits,
    failures: HashMap<Source, Failures, ahash::RandomState>,
    /// Of the sources that found no room.
    others: Option<Failures>,
    /// Not before it is looked again whom to forget.
    cleaning: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Delays {
    /// Nobody has failed yet.
    pub fn new(limits: DelayLimits) -> Self {
        Self { limits, failures: HashMap::default(), others: None, cleaning: None }
    }

    /// A login failed. Gives how long to hold back the refusal.
    pub fn failed(&mut self, source: Source, now: Instant) -> Duration {
        let memory = self.limits.memory;
        let is_remembered = |failures: &Failures| now.saturating_duration_since(failures.last) < memory;
        if !self.failures.contains_key(&source) && self.failures.len() >= self.limits.addresses {
            self.clean(now);
        }
        let has_room = self.failures.contains_key(&source) || self.failures.len() < self.limits.addresses;
        let known = if has_room { self.failures.get(&source).copied() } else { self.others };
        let count = known.filter(is_remembered).map_or(1, |failures| failures.count.saturating_add(1));
        let failures = Failures { count, last: now };
        if has_room {
            self.failures.insert(source, failures);
        } else {
            self.others = Some(failures);
        }
        let Some(doublings) = count.checked_sub(2) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.limits.first.saturating_mul(factor).min(self.limits.longest)
    }

    /// Forgets what is old. Looking through all of them is not worth it for each failure.
    fn clean(&mut self, now: Instant) {
        let memory = self.limits.memory;
        if self.cleaning.is_none_or(|at| now >= at) {
            self.failures.retain(|_, failures| now.saturating_duration_since(failures.last) < memory);
            self.cleaning = now.checked_add(memory / 16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DelayLimits = DelayLimits {
        first: Duration::from_millis(100),
        longest: Duration::from_millis(1000),
        memory: Duration::from_secs(16),
        addresses: 2,
    };

    fn source(address: &str) -> Source {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        let (mut delays, now) = (Delays::new(LIMITS), Instant::now());
        let expected = [0, 100, 200, 400, 800, 1000, 1000];
        for delay in expected {
            assert_eq!(delays.failed(Source::Local, now), Duration::from_millis(delay));
        }
        for _ in 0..100 {
            assert_eq!(delays.failed(Source::Local, now), LIMITS.longest);
        }
        assert_eq!(delays.failed(source("127.0.0.1"), now), Duration::ZERO);
    }

    #[test]
    fn it_is_forgotten_after_a_while() {
        let (mut delays, now) = (Delays::new(LIMITS), Instant::now());
        delays.failed(Source::Local, now);
        let later = now + LIMITS.memory - Duration::from_millis(1);
        assert_eq!(delays.failed(Source::Local, later), LIMITS.first);
        assert_eq!(delays.failed(Source::Local, later + LIMITS.memory), Duration::ZERO);
    }

    #[test]
    fn addresses_that_one_has_at_will_count_as_one() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }

    #[test]
    fn addresses_without_room_count_as_one() {
        let (mut delays, now) = (Delays::new(LIMITS), Instant::now());
        let failed = |delays: &mut Delays, address, now| delays.failed(source(address), now);
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(failed(&mut delays, address, now), Duration::ZERO);
        }
        assert_eq!(failed(&mut delays, "10.0.0.4", now), LIMITS.first);
        assert_eq!(failed(&mut delays, "10.0.0.2", now), LIMITS.first);
        assert_eq!(delays.failures.len(), LIMITS.addresses);
        // There is room again when the first are forgotten.
        let later = now + LIMITS.memory;
        assert_eq!(failed(&mut delays, "10.0.0.5", later), Duration::ZERO);
        assert_eq!(delays.failures.len(), 1);
    }
}
