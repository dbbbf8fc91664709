//! Which connections a busy thread gives to an idle one.
//!
//! Connections are dealt out by number when they come, but some work much
//! harder than others, and that shows only later. So each thread looks back
//! once a period: if it was busy and another was not, it gives away
//! connections worth half the difference, and the next periods show whether
//! that was enough. A connection that is the whole of its thread's work stays:
//! the others there are given away instead, and it disturbs nobody.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;

/// How far a thread looks back.
const PERIOD: Duration = Duration::from_millis(100);
/// Thousandths of a period: a thread that is awake for longer has reason to give.
const BUSY: u32 = 850;
/// And if another is awake for so much less.
const GAP: u32 = 300;
/// Periods to wait after giving, until both threads' figures show what it did.
const SETTLING: u32 = 2;

/// How busy each thread was in its latest period, in thousandths.
#[derive(Clone)]
pub(super) struct Board(Arc<[AtomicU32]>);

impl Board {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| AtomicU32::new(0)).collect())
    }

    fn post(&self, thread: usize, busy: u32) {
        if let Some(posted) = self.0.get(thread) {
            posted.store(busy, Ordering::Relaxed);
        }
    }

    /// The thread that is awake least, and how much it is.
    fn idlest(&self) -> Option<(usize, u32)> {
        let busy = self.0.iter().map(|posted| posted.load(Ordering::Relaxed));
        busy.enumerate().min_by_key(|(_, busy)| *busy)
    }
}

/// A thread's view: its connections, and what each of them cost in this period.
pub(super) struct Balance {
    thread: usize,
    board: Board,
    seats: RefCell<Slab<Rc<Seat>>>,
    began: Cell<Instant>,
    slept: Cell<Duration>,
    settling: Cell<u32>,
}

/// A connection's place on its thread.
#[derive(Default)]
pub(super) struct Seat {
    cost: Cell<u64>,
    moves_to: Cell<Option<usize>>,
}

impl Seat {
    /// The connection was served: `bytes` were read or written for it.
    pub(super) fn served(&self, bytes: usize) {
        // A call costs about as much as moving this many bytes.
        const CALL: u64 = 4096;
        self.cost.set(self.cost.get() + CALL + bytes as u64);
    }

    /// The thread it is to move to.
    pub(super) fn moves_to(&self) -> Option<usize> {
        self.moves_to.get()
    }
}

impl Balance {
    pub(super) fn new(thread: usize, board: Board) -> Self {
        Self {
            thread,
            board,
            seats: RefCell::default(),
            began: Cell::new(Instant::now()),
            slept: Cell::new(Duration::ZERO),
            settling: Cell::new(0),
        }
    }

    /// A seat for a connection, and its number for [`Self::leave`].
    pub(super) fn sit(&self) -> (usize, Rc<Seat>) {
        let seat = Rc::<Seat>::default();
        (self.seats.borrow_mut().insert(Rc::clone(&seat)), seat)
    }

    /// The connection is here no more.
    pub(super) fn leave(&self, number: usize) {
        self.seats.borrow_mut().try_remove(number);
    }

    /// The thread slept from `asleep` to `now`. At the end of a period, tells connections to move.
    pub(super) fn woke(&self, asleep: Instant, now: Instant) {
        self.slept.set(self.slept.get() + now.saturating_duration_since(asleep));
        let period = now.saturating_duration_since(self.began.get());
        if period < PERIOD {
            return;
        }
        let busy = 1000 - thousandths(self.slept.get(), period);
        self.began.set(now);
        self.slept.set(Duration::ZERO);
        self.board.post(self.thread, busy);
        if self.settling.get() > 0 {
            self.settling.set(self.settling.get() - 1);
        } else if busy >= BUSY
            && let Some((other, its)) = self.board.idlest()
            && its + GAP <= busy
            && self.give(other, busy - its, busy)
        {
            self.settling.set(SETTLING);
        }
        self.seats.borrow().iter().for_each(|(_, seat)| seat.cost.set(0));
    }

    /// Tells connections worth half the difference to move, the costliest first.
    fn give(&self, other: usize, difference: u32, busy: u32) -> bool {
        let seats = self.seats.borrow();
        let mut seats: Vec<_> =
            seats.iter().map(|(_, seat)| seat).filter(|seat| seat.cost.get() > 0).collect();
        seats.sort_by_key(|seat| std::cmp::Reverse(seat.cost.get()));
        let total: u64 = seats.iter().map(|seat| seat.cost.get()).sum();
        let mut worth = total.saturating_mul(difference.into()) / u64::from(busy) / 2;
        let mut given = false;
        for seat in seats {
            if let Some(rest) = worth.checked_sub(seat.cost.get()) {
                worth = rest;
                seat.moves_to.set(Some(other));
                given = true;
            }
        }
        given
    }
}

fn thousandths(part: Duration, whole: Duration) -> u32 {
    let share = part.as_nanos() * 1000 / whole.as_nanos().max(1);
    u32::try_from(share).unwrap_or(u32::MAX).min(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two threads; the first was awake for the whole period, with connections of these costs. Who moves?
    fn who_moves(costs: &[usize], other_busy: u32) -> Vec<bool> {
        let board = Board::new(2);
        board.post(1, other_busy);
        let balance = Balance::new(0, board);
        let seats: Vec<_> = costs.iter().map(|_| balance.sit().1).collect();
        for (seat, cost) in seats.iter().zip(costs) {
            seat.cost.set(*cost as u64 * 1_000_000);
        }
        let end = balance.began.get() + PERIOD;
        balance.woke(end, end);
        seats.iter().map(|seat| seat.moves_to() == Some(1)).collect()
    }

    #[test]
    fn half_of_the_difference_moves() {
        assert_eq!(who_moves(&[1, 1, 1, 1], 0), [true, true, false, false]);
        assert_eq!(who_moves(&[1, 1, 1, 1], 500), [true, false, false, false]);
    }

    #[test]
    fn a_connection_that_is_most_of_the_work_stays_and_the_others_go() {
        assert_eq!(who_moves(&[1, 90, 1], 0), [true, false, true]);
        assert_eq!(who_moves(&[90], 0), [false]);
    }

    #[test]
    fn nobody_moves_between_threads_that_are_about_as_busy() {
        assert_eq!(who_moves(&[1, 1, 1, 1], 800), [false; 4]);
    }

    #[test]
    fn nobody_moves_from_a_thread_that_has_time() {
        let balance = Balance::new(0, Board::new(2));
        let (_, seat) = balance.sit();
        seat.served(1 << 20);
        let began = balance.began.get();
        balance.woke(began, began + PERIOD / 2);
        balance.woke(began + PERIOD, began + PERIOD);
        assert_eq!(balance.board.idlest(), Some((1, 0)));
        assert_eq!(seat.moves_to(), None);
        assert_eq!(seat.cost.get(), 0, "the next period begins anew");
    }

    #[test]
    fn after_giving_a_thread_waits_for_its_effect() {
        let balance = Balance::new(0, Board::new(2));
        let seats = [(); 4].map(|()| balance.sit().1);
        for period in 1..=SETTLING + 2 {
            seats.iter().for_each(|seat| seat.served(1 << 20));
            let end = balance.began.get() + PERIOD;
            balance.woke(end, end);
            let told = seats.iter().filter(|seat| seat.moves_to.take().is_some()).count();
            assert_eq!(told, if (period - 1) % (SETTLING + 1) == 0 { 2 } else { 0 }, "period {period}");
        }
    }
}
