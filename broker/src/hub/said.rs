//! What the log was told lately, so that a flood is a line a minute and not a line a message.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The same is said at most so often.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);
/// Things that are kept apart; what finds no room counts as one.
const MOST: usize = 1024;
/// A full table is looked through for what is old at most so often.
const CLEAN_INTERVAL: Duration = Duration::from_secs(1);

/// What was said, by a number that stands for it.
#[derive(Debug, Default)]
pub(super) struct Said {
    lately: HashMap<u64, Line, ahash::RandomState>,
    others: Option<Line>,
    cleaned: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    at: Instant,
    /// What has happened since and was not said.
    unsaid: u64,
}

impl Said {
    /// It happened so many `times`. If it is to be said now: how many times since it was said last.
    pub(super) fn happened(&mut self, what: u64, times: u64, now: Instant) -> Option<u64> {
        let is_known = self.lately.contains_key(&what);
        if !is_known && self.lately.len() >= MOST {
            self.clean(now);
        }
        let has_room = is_known || self.lately.len() < MOST;
        let known = if has_room { self.lately.get(&what).copied() } else { self.others };
        let times = known.map_or(0, |line| line.unsaid).saturating_add(times);
        let silent = known.filter(|line| now.saturating_duration_since(line.at) < INTERVAL);
        let line = match silent {
            Some(line) => Line { unsaid: times, ..line },
            None => Line { at: now, unsaid: 0 },
        };
        if has_room {
            self.lately.insert(what, line);
        } else {
            self.others = Some(line);
        }
        silent.is_none().then_some(times)
    }

    fn clean(&mut self, now: Instant) {
        if self.cleaned.is_none_or(|at| now.saturating_duration_since(at) >= CLEAN_INTERVAL) {
            self.lately.retain(|_, line| now.saturating_duration_since(line.at) < INTERVAL);
            self.cleaned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_in_a_minute_are_one_line() {
        let (mut said, start) = (Said::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let told: Vec<_> = (0..150_000)
            .filter_map(|millis| said.happened(1, 1, at(millis)).map(|times| (millis, times)))
            .collect();
        assert_eq!(told, [(0, 1), (60_000, 60_000), (120_000, 60_000)]);
        assert_eq!(said.happened(2, 7, at(150_000)), Some(7), "another is another");
    }

    #[test]
    fn what_finds_no_room_counts_as_one() {
        let (mut said, start) = (Said::default(), Instant::now());
        let told = |said: &mut Said, many: u64, now| {
            (0..many).filter(|what| said.happened(*what, 1, now).is_some()).count()
        };
        let many = 10 * MOST as u64;
        assert_eq!(told(&mut said, many, start), MOST + 1);
        assert_eq!(told(&mut said, many, start + INTERVAL / 2), 0);
        assert_eq!(told(&mut said, many, start + INTERVAL), MOST + 1);
        assert_eq!(said.lately.len(), MOST);
    }

    #[test]
    fn what_is_old_makes_room() {
        let (mut said, start) = (Said::default(), Instant::now());
        for what in 0..MOST as u64 {
            said.happened(what, 1, start);
        }
        assert_eq!(said.happened(u64::MAX, 1, start + INTERVAL), Some(1));
        assert_eq!(said.lately.len(), 1);
    }
}
