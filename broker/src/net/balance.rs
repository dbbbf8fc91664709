//! Which thread serves which connection.
//!
//! As few threads as the work needs: on a thread that has much to do, one call
//! brings many packets, and one switch of threads serves many connections,
//! while two that have little to do wake each other for every packet. So new
//! connections go to the first thread that has time. Each thread looks back
//! once a period. If it was never idle and another was, it gives away
//! connections worth half the difference. A connection that is nearly all of
//! its thread's work stays, and the others there go, so that it disturbs
//! nobody. Once an earlier thread can do all of a thread's work beside its
//! own, it gets it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use slab::Slab;

/// How far a thread looks back.
const PERIOD: Duration = Duration::from_millis(25);
/// Periods after which a thread that posted nothing has slept.
const SILENT: u64 = 4;
/// Periods to wait after giving, until both threads' figures show what it did.
const SETTLING: u32 = 2;

/// A share of a period, in thousandths.
type Share = u64;
/// A thread that is awake for longer is short of time.
const BUSY: Share = 970;
/// It gives to one that is awake for so much less.
const GAP: Share = 300;
/// A thread that is awake for less has time for new connections.
const ROOM: Share = 700;
/// A thread that is awake for less gives all to an earlier one ...
const LITTLE: Share = 200;
/// ... if both together are then awake for no more than this.
const TOGETHER: Share = 500;

/// How busy each thread was in its latest period.
#[derive(Clone)]
pub(super) struct Board {
    since: Instant,
    /// Connections that were dealt out, if they are dealt out to all threads in turn.
    dealt: Option<Arc<AtomicUsize>>,
    /// Number of the period, then the share it was awake.
    posts: Arc<[AtomicU64]>,
}

impl Board {
    pub(super) fn new(threads: usize, spread: bool) -> Self {
        let posts = (0..threads).map(|_| AtomicU64::new(0)).collect();
        Self { since: Instant::now(), dealt: spread.then(Arc::default), posts }
    }

    /// The thread for a new connection: the first that has room, or else the one that is least busy.
    pub(super) fn place(&self, now: Instant) -> usize {
        if let Some(dealt) = &self.dealt {
            return dealt.fetch_add(1, Ordering::Relaxed) % self.posts.len().max(1);
        }
        let with_room = self.shares(now).find(|(_, busy)| *busy < ROOM);
        with_room.or_else(|| self.idlest(now)).map_or(0, |(thread, _)| thread)
    }

    fn post(&self, thread: usize, busy: Share, now: Instant) {
        if let Some(post) = self.posts.get(thread) {
            post.store(self.period(now) << 16 | busy, Ordering::Relaxed);
        }
    }

    fn shares(&self, now: Instant) -> impl Iterator<Item = (usize, Share)> {
        let period = self.period(now);
        let share =
            move |post: u64| if post >> 16 < period.saturating_sub(SILENT) { 0 } else { post & 0xffff };
        self.posts.iter().map(move |post| share(post.load(Ordering::Relaxed))).enumerate()
    }

    fn idlest(&self, now: Instant) -> Option<(usize, Share)> {
        self.shares(now).min_by_key(|(_, busy)| *busy)
    }

    fn period(&self, now: Instant) -> u64 {
        let periods = now.saturating_duration_since(self.since).as_nanos() / PERIOD.as_nanos();
        u64::try_from(periods).unwrap_or(u64::MAX)
    }
}

/// A thread's view: its connections, and what each of them cost in this period.
pub(super) struct Balance {
    thread: usize,
    board: Board,
    seats: RefCell<Slab<Cost>>,
    began: Cell<Instant>,
    slept: Cell<Duration>,
    settling: Cell<u32>,
    /// Its number.
    period: Cell<u32>,
}

/// What a connection cost its thread in a period, and where it is to go.
#[derive(Default)]
struct Cost {
    bytes: u64,
    /// The latest in which it cost anything.
    period: u32,
    moves_to: Option<u16>,
}

impl Cost {
    /// In that period.
    fn bytes(&self, period: u32) -> u64 {
        if self.period == period { self.bytes } else { 0 }
    }
}

/// A connection's place on its thread: to be [given back](Balance::leave).
pub(super) struct Seat(u32);

impl Seat {
    fn number(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
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
            period: Cell::new(0),
        }
    }

    /// The other thread that is to accept connections, and to serve them, instead of this one.
    pub(super) fn accepts_instead(&self, now: Instant) -> Option<usize> {
        self.other(self.board.dealt.is_none(), now)
    }

    /// The other thread that is to serve a connection which this one accepted.
    pub(super) fn serves_instead(&self, now: Instant) -> Option<usize> {
        self.other(self.board.dealt.is_some(), now)
    }

    fn other(&self, is_asked: bool, now: Instant) -> Option<usize> {
        is_asked.then(|| self.board.place(now)).filter(|thread| *thread != self.thread)
    }

    /// A place for a connection. There are fewer connections than numbers.
    pub(super) fn sit(&self) -> Seat {
        Seat(u32::try_from(self.seats.borrow_mut().insert(Cost::default())).unwrap_or(u32::MAX))
    }

    /// The connection is over, or goes to another thread.
    pub(super) fn leave(&self, seat: Seat) {
        self.seats.borrow_mut().try_remove(seat.number());
    }

    /// A system call moved so many bytes for the connection.
    pub(super) fn served(&self, seat: &Seat, bytes: usize) {
        // The call itself costs about as much as these do.
        const CALL_BYTES: u64 = 4096;
        if let Some(cost) = self.seats.borrow_mut().get_mut(seat.number()) {
            let period = self.period.get();
            cost.bytes = cost.bytes(period) + CALL_BYTES + bytes as u64;
            cost.period = period;
        }
    }

    /// The thread that is to serve the connection from now on.
    pub(super) fn moves_to(&self, seat: &Seat) -> Option<usize> {
        self.seats.borrow().get(seat.number()).and_then(|cost| cost.moves_to).map(usize::from)
    }

    /// The thread slept from `asleep` until `now`. At the end of a period, tells connections to move.
    pub(super) fn woke(&self, asleep: Instant, now: Instant) {
        self.slept.set(self.slept.get() + now.saturating_duration_since(asleep));
        let period = now.saturating_duration_since(self.began.get());
        if period < PERIOD {
            return;
        }
        let busy = 1000_u64.saturating_sub(thousandths(self.slept.get(), period));
        self.began.set(now);
        self.slept.set(Duration::ZERO);
        self.board.post(self.thread, busy, now);
        if self.settling.get() > 0 {
            self.settling.set(self.settling.get() - 1);
        } else if self.give(busy, now) {
            self.settling.set(SETTLING);
        }
        // Nothing is done for each connection, most of which may be idle.
        self.period.set(self.period.get().wrapping_add(1));
    }

    fn give(&self, busy: Share, now: Instant) -> bool {
        if busy >= BUSY
            && let Some((idle, its)) = self.board.idlest(now)
            && its + GAP <= busy
        {
            return self.give_worth(busy - its, 2 * busy, idle);
        }
        let has_room = |its: Share| its > 0 && its + busy <= TOGETHER;
        if busy < LITTLE
            && self.board.dealt.is_none()
            && let Some((earlier, _)) =
                self.board.shares(now).take(self.thread).find(|(_, its)| has_room(*its))
        {
            return self.give_worth(1, 1, earlier);
        }
        false
    }

    /// Tells connections worth that fraction of the thread's work to move, the costliest first.
    fn give_worth(&self, numerator: u64, denominator: u64, to: usize) -> bool {
        let mut seats = self.seats.borrow_mut();
        let period = self.period.get();
        let mut costs: Vec<_> =
            seats.iter_mut().map(|(_, cost)| cost).filter(|cost| cost.bytes(period) > 0).collect();
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.bytes(period)));
        let total: u64 = costs.iter().map(|cost| cost.bytes(period)).sum();
        let mut worth = total.saturating_mul(numerator) / denominator;
        let mut given = false;
        for cost in costs {
            if let Some(rest) = worth.checked_sub(cost.bytes(period)) {
                worth = rest;
                cost.moves_to = u16::try_from(to).ok();
                given = true;
            }
        }
        given
    }
}

fn thousandths(part: Duration, whole: Duration) -> Share {
    u64::try_from(part.as_nanos() * 1000 / whole.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread of two, and the other one's share.
    fn thread(number: usize, other_busy: Share) -> Balance {
        let board = Board::new(2, false);
        board.post(1 - number, other_busy, board.since);
        Balance::new(number, board)
    }

    fn seats(balance: &Balance, costs: &[u64]) -> Vec<Seat> {
        let seat = |cost: &u64| {
            let seat = balance.sit();
            balance.seats.borrow_mut()[seat.number()].bytes = *cost;
            seat
        };
        costs.iter().map(seat).collect()
    }

    /// A period passes in which the thread is awake for this share.
    fn pass(balance: &Balance, busy: Share) {
        let (began, end) = (balance.began.get(), balance.began.get() + PERIOD);
        balance.woke(end - (PERIOD * 1000 - PERIOD * u32::try_from(busy).unwrap()) / 1000, end);
        assert!(balance.began.get() > began);
    }

    /// Which of the connections with these costs leave a thread, when it and the other one are so busy?
    fn leave(number: usize, busy: Share, other_busy: Share, costs: &[u64]) -> Vec<bool> {
        let balance = thread(number, other_busy);
        let seats = seats(&balance, costs);
        pass(&balance, busy);
        seats.iter().map(|seat| balance.moves_to(seat) == Some(1 - number)).collect()
    }

    #[test]
    fn half_of_the_difference_leaves_a_busy_thread() {
        assert_eq!(leave(0, 1000, 0, &[8, 8, 8, 8]), [true, true, false, false]);
        assert_eq!(leave(1, 1000, 500, &[8, 8, 8, 8]), [true, false, false, false]);
    }

    #[test]
    fn a_connection_that_is_most_of_the_work_stays_and_the_others_go() {
        assert_eq!(leave(0, 1000, 0, &[8, 900, 8]), [true, false, true]);
        assert_eq!(leave(0, 1000, 0, &[900]), [false]);
    }

    #[test]
    fn nobody_leaves_for_a_thread_that_is_about_as_busy() {
        assert_eq!(leave(0, 1000, 800, &[8, 8, 8, 8]), [false; 4]);
    }

    #[test]
    fn nobody_leaves_a_thread_that_has_time() {
        assert_eq!(leave(0, 900, 0, &[8, 8]), [false; 2]);
        assert_eq!(leave(0, 100, 100, &[8, 8]), [false; 2], "the first thread is the last to be idle");
        assert_eq!(leave(1, 300, 100, &[8, 8]), [false; 2]);
    }

    #[test]
    fn all_that_do_something_leave_for_an_earlier_thread_that_has_time() {
        assert_eq!(leave(1, 100, 300, &[8, 0, 8]), [true, false, true]);
        assert_eq!(leave(1, 100, 450, &[8, 0, 8]), [false; 3]);
        assert_eq!(leave(1, 100, 0, &[8, 0, 8]), [false; 3], "one sleeping thread is as good as another");
    }

    #[test]
    fn after_giving_a_thread_waits_for_its_effect() {
        let balance = thread(0, 0);
        let seats = seats(&balance, &[0; 4]);
        for period in 0..2 * (SETTLING + 1) {
            seats.iter().for_each(|seat| balance.served(seat, 1 << 20));
            pass(&balance, 1000);
            let mut places = balance.seats.borrow_mut();
            let told = places.iter_mut().filter_map(|(_, cost)| cost.moves_to.take()).count();
            assert_eq!(told, if period % (SETTLING + 1) == 0 { 2 } else { 0 }, "period {period}");
        }
    }

    #[test]
    fn new_connections_go_to_the_first_thread_with_room() {
        let board = Board::new(3, false);
        let now = board.since;
        assert_eq!(board.place(now), 0);
        board.post(0, 900, now);
        assert_eq!(board.place(now), 1);
        board.post(1, 800, now);
        board.post(2, 850, now);
        assert_eq!(board.place(now), 1, "none has room, this one is least busy");
        assert_eq!(board.place(now + PERIOD * 6), 0, "a thread that posts nothing sleeps");
    }

    #[test]
    fn who_accepts_is_a_thread_with_room_and_serves_it_there() {
        let balance = thread(0, 100);
        let now = balance.board.since;
        assert_eq!(balance.accepts_instead(now), None);
        balance.board.post(0, 900, now);
        assert_eq!((balance.accepts_instead(now), balance.serves_instead(now)), (Some(1), None));
    }

    #[test]
    fn who_deals_out_in_turn_goes_on_accepting() {
        let balance = Balance::new(0, Board::new(2, true));
        let now = balance.board.since;
        balance.board.post(0, 900, now);
        assert_eq!(balance.accepts_instead(now), None);
        assert_eq!([(); 3].map(|()| balance.serves_instead(now)), [None, Some(1), None]);
    }

    #[test]
    fn connections_may_be_dealt_out_in_turn() {
        let board = Board::new(2, true);
        assert_eq!([(); 3].map(|()| board.place(board.since)), [0, 1, 0]);
    }

    #[test]
    fn who_leaves_costs_nothing_any_more() {
        let balance = thread(0, 0);
        seats(&balance, &[8, 8]).into_iter().for_each(|seat| balance.leave(seat));
        assert!(balance.seats.borrow().is_empty());
    }
}
