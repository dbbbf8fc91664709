//! The broker's counters. Whoever counts does so in a [`Tally`] of its own, and adds it once a batch to a place that few
//! others write to; whoever asks adds up the places. So counting is a plain addition, and makes no thread wait.

use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_utils::CachePadded;

use crate::session::Tally;

/// Places to count in: more threads than that share some.
const PLACES: usize = 32;

/// Sums of all tallies.
pub(super) struct Counters {
    places: [CachePadded<Place>; PLACES],
}

type Place = [AtomicI64; Tally::FIGURES];

impl Default for Counters {
    fn default() -> Self {
        let zeros = || CachePadded::new(std::array::from_fn(|_| AtomicI64::new(0)));
        Self { places: std::array::from_fn(|_| zeros()) }
    }
}

impl Counters {
    /// Adds a tally and empties it.
    pub(super) fn add(&self, number: usize, tally: &mut Tally) {
        let Some(place) = self.places.get(number % PLACES) else { return };
        for (figure, sum) in tally.figures().into_iter().zip(place.iter()) {
            if *figure != 0 {
                sum.fetch_add(std::mem::take(figure), Ordering::Relaxed);
            }
        }
    }

    /// The sums. What is being added meanwhile may be in them or not.
    pub(super) fn sum(&self) -> Tally {
        let mut tally = Tally::default();
        for place in &self.places {
            for (figure, sum) in tally.figures().into_iter().zip(place.iter()) {
                *figure += sum.load(Ordering::Relaxed);
            }
        }
        tally
    }

    /// The sum of the first figure alone, [`Tally::memory`].
    pub(super) fn memory(&self) -> i64 {
        self.places.iter().filter_map(|place| place.first()).map(|sum| sum.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_threads_counted_is_in_the_sum() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for number in 0..2 * PLACES {
                let counters = &counters;
                scope.spawn(move || {
                    for _ in 0..100 {
                        let mut tally = Tally { memory: 3, cut_connections: 1, ..Tally::default() };
                        counters.add(number, &mut tally);
                        assert_eq!(tally, Tally::default());
                        counters.add(number + 1, &mut Tally { memory: -1, ..tally });
                    }
                });
            }
        });
        let times = 100 * 2 * PLACES as i64;
        assert_eq!(counters.sum(), Tally { memory: 2 * times, cut_connections: times, ..Tally::default() });
        assert_eq!(counters.memory(), 2 * times);
    }
}
