//! [`Limits::max_memory_bytes`]: what is accounted for, and what happens when it becomes short.
//!
//! The account is kept in bytes by whoever changes something ([`Tally::memory`](crate::session::Tally::memory)):
//! messages that are kept, each once; what waits for clients to read; parts of packets; what each connection, session,
//! subscription and table entry takes; what waits to be written to the store. It leaves out the program itself and what the allocator loses, so its budget is
//! smaller than the limit: three quarters of what is left when [`BASE_BYTES`] are taken off.
//!
//! | from | stage | what is done |
//! |---|---|---|
//! | 80 % of the budget | [`Reclaim`](Stage::Reclaim) | Nothing new is retained. A session that holds more than its fair share gets nothing more until its client takes it. |
//! | 90 % | [`Refuse`](Stage::Refuse) | New sessions (CONNACK code 3) and new subscriptions are refused; absent clients get nothing more, unless it goes to the store, the others a quarter of their share. Clients that hold more lose QoS 0 messages, the oldest first; then absent ones lose the newest of their messages, but none that the store has, and wills that wait, and connected ones that have taken nothing for some seconds are disconnected, those that hold most first. A connection that keeps a large part of a packet ends. |
//! | 100 % | [`Cut`](Stage::Cut) | New connections are closed at once. The connected clients that hold most are disconnected, stuck or not. |
//!
//! A fair share is half the budget divided among all sessions, and at most a sixteenth of it. A stage is left when a
//! twentieth of the budget is free below it. Whoever holds little is served throughout. Every message dropped is
//! counted. A stage is logged when it is worse than what was logged last, and when it has been better for ten seconds.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use log::{info, warn};
use parking_lot::Mutex;

use super::connect::release_will;
use super::{Batch, Hub, Limits};
use crate::session::OutboundLimits;

/// What the program takes before anybody connects, and what the allocator keeps for each thread.
const BASE_BYTES: usize = 24 << 20;
/// What a connection takes in this process: its task, its buffers' headers, its places in tables.
const CONNECTION_BYTES: usize = 512;
/// What a retained message takes beside itself: its place in the store.
const RETAINED_BYTES: usize = 128;
/// A connection may hold this much of a packet at any time.
const PARTIAL_BYTES: usize = 16 << 10;
/// Who holds much and has not taken anything in more looks than this, one a second, is stuck.
const STUCK_LOOKS: u8 = 2;
/// Looks, one a second, at a better stage before the log tells of it.
const BETTER_LOOKS: u32 = 10;
/// Changes of the account after which a thread looks at the sum.
pub(super) const LOOK_BYTES: u64 = 128 << 10;

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is not.
    #[default]
    Ample,
    /// Nobody gets more than a fair share.
    Reclaim,
    /// New work is refused, and old work given up.
    Refuse,
    /// Clients are disconnected.
    Cut,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Ample, Self::Reclaim, Self::Refuse, Self::Cut];

    /// Where it begins, in percent of the budget.
    fn percent(self) -> usize {
        match self {
            Self::Ample => 0,
            Self::Reclaim => 80,
            Self::Refuse => 90,
            Self::Cut => 100,
        }
    }

    fn from_u8(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }
}

/// As the log and the statistics call it.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ample => "ample",
            Self::Reclaim => "reclaim",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
        })
    }
}

/// The budget, and how much of it is used.
pub(super) struct Memory {
    budget: AtomicUsize,
    stage: AtomicU8,
    /// The worst stage since the log was last told.
    worst: AtomicU8,
    told: Mutex<Told>,
    /// A session's fair share.
    share: AtomicUsize,
    peak: AtomicUsize,
    /// The next relief is due when so much is used.
    relief_at: AtomicUsize,
    relieving: Mutex<()>,
}

/// What the log was told last.
#[derive(Default)]
struct Told {
    stage: Stage,
    /// For how many looks it has been better than that.
    better: u32,
}

/// The limits on a delivery, for a client that is connected and for one that is not, and how short memory is for them to be
/// so.
#[derive(Clone, Copy)]
pub(super) struct DeliveryLimits {
    pub(super) stage: Stage,
    pub(super) here: OutboundLimits,
    pub(super) away: OutboundLimits,
}

/// Of [`Limits::max_memory_bytes`], what the account may come to.
pub(super) fn budget(max_memory_bytes: usize) -> usize {
    (max_memory_bytes.saturating_sub(BASE_BYTES) / 4 * 3).max(max_memory_bytes / 4)
}

impl Memory {
    pub(super) fn new(limits: &Limits) -> Self {
        let budget = budget(limits.max_memory_bytes);
        Self {
            budget: AtomicUsize::new(budget),
            stage: AtomicU8::default(),
            worst: AtomicU8::default(),
            told: Mutex::default(),
            share: AtomicUsize::new(budget / 16),
            peak: AtomicUsize::default(),
            relief_at: AtomicUsize::new(percent(budget, Stage::Refuse.percent())),
            relieving: Mutex::default(),
        }
    }

    pub(super) fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    /// The budget is another from now on: the next look at memory acts by it.
    pub(super) fn resize(&self, limits: &Limits) {
        let budget = budget(limits.max_memory_bytes);
        if self.budget.swap(budget, Ordering::Relaxed) != budget {
            self.share.store(budget / 16, Ordering::Relaxed);
            self.relief_at.store(percent(budget, Stage::Refuse.percent()), Ordering::Relaxed);
        }
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Relaxed))
    }

    /// The account stands at `used`: says how short memory is.
    fn update(&self, used: usize, sessions: usize) -> Stage {
        self.peak.fetch_max(used, Ordering::Relaxed);
        let before = self.stage();
        let reached = |stage: &Stage| {
            let margin = if *stage <= before { 5 } else { 0 };
            used >= percent(self.budget(), stage.percent().saturating_sub(margin))
        };
        let stage = Stage::ALL.into_iter().rev().find(reached).unwrap_or_default();
        if stage > Stage::Ample {
            let share = (self.budget() / 2 / sessions.max(1)).min(self.budget() / 16);
            self.share.store(share, Ordering::Relaxed);
        }
        if stage < Stage::Refuse {
            self.relief_at.store(percent(self.budget(), Stage::Refuse.percent()), Ordering::Relaxed);
        }
        if stage != before {
            self.stage.store(stage as u8, Ordering::Relaxed);
            self.worst.fetch_max(stage as u8, Ordering::Relaxed);
        }
        stage
    }

    /// The limits while memory is short.
    fn tightened(&self, stage: Stage, limits: OutboundLimits) -> DeliveryLimits {
        let share = self.share.load(Ordering::Relaxed);
        let (here, away) = match stage {
            Stage::Ample => (usize::MAX, usize::MAX),
            Stage::Reclaim => (share, share),
            Stage::Refuse => (share / 4, 0),
            Stage::Cut => (share / 16, 0),
        };
        let within = |bytes: usize| OutboundLimits {
            queued_bytes: limits.queued_bytes.min(bytes),
            // An empty outbox and an empty window take a message in any case.
            outbox_bytes: limits.outbox_bytes.min(bytes.max(1)),
            in_flight_bytes: limits.in_flight_bytes.min((bytes / 2).max(1)),
            ..limits
        };
        DeliveryLimits { stage, here: within(here), away: within(away) }
    }

    /// Logs a stage that is worse than what was logged last; and one that is better, once it has been so for a while.
    fn tell(&self, used: usize, dropped: i64) {
        let mut told = self.told.lock();
        let now = self.stage();
        let worst = Stage::from_u8(self.worst.swap(now as u8, Ordering::Relaxed)).max(now);
        let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let (used, budget) = (mebibytes(used), mebibytes(self.budget()));
        told.better = if worst < told.stage { told.better + 1 } else { 0 };
        if worst > told.stage {
            warn!(
                "memory is short, stage {worst}: {used:.1} of {budget:.1} MiB, {dropped} messages dropped for it so \
                 far; see `max_memory` and $SYS/broker/memory/#"
            );
        } else if told.better >= BETTER_LOOKS {
            info!(
                "memory is less short, stage {worst}: {used:.1} of {budget:.1} MiB, {dropped} messages dropped for it \
                 so far"
            );
        } else {
            return;
        }
        *told = Told { stage: worst, better: 0 };
    }
}

fn percent(budget: usize, percent: usize) -> usize {
    budget / 100 * percent
}

impl Hub {
    /// Bytes that the account says are used.
    pub(super) fn memory_used(&self) -> usize {
        let counted = usize::try_from(self.counters.memory()).unwrap_or(0);
        counted
            + self.connections.load(Ordering::Relaxed) * CONNECTION_BYTES
            + self.retained_count.load(Ordering::Relaxed) * RETAINED_BYTES
            + self.journal.as_ref().map_or(0, |journal| journal.backlog_bytes())
    }

    /// How short memory is.
    pub fn memory_stage(&self) -> Stage {
        self.memory.stage()
    }

    /// The limits on deliveries as they are now.
    pub(super) fn delivery_limits(&self) -> DeliveryLimits {
        let ample = self.delivery.limits();
        match self.memory.stage() {
            Stage::Ample => ample,
            stage => self.memory.tightened(stage, ample.here),
        }
    }

    /// Whether a connection may keep so many bytes of a packet until the rest comes.
    pub fn may_hold(&self, bytes: usize) -> bool {
        bytes <= PARTIAL_BYTES || self.memory.stage() < Stage::Refuse
    }

    /// Adds what was counted in a batch to the counters, and sees to it that memory suffices. No lock may be held,
    /// and no turn.
    pub fn absorb(&self, batch: &mut Batch) {
        batch.memory_changes += batch.tally.memory.unsigned_abs();
        if batch.has_something_to_tell() {
            self.tell_noted(batch);
        }
        self.counters.add(batch.number, &mut batch.tally);
        if batch.memory_changes >= LOOK_BYTES {
            self.look_at_memory(batch);
        }
    }

    fn look_at_memory(&self, batch: &mut Batch) {
        batch.memory_changes = 0;
        let used = self.memory_used();
        let stage = self.memory.update(used, self.session_count.load(Ordering::Relaxed));
        if stage >= Stage::Refuse && used >= self.memory.relief_at.load(Ordering::Relaxed) {
            let _turn = self.turn();
            let Some(_relieving) = self.memory.relieving.try_lock() else { return };
            self.relieve(false, batch);
            // Not again for every little more.
            let next = self.memory_used() + self.memory.budget() / 64;
            self.memory.relief_at.store(next, Ordering::Relaxed);
        }
    }

    /// Gives back what nobody has asked for, looks at memory even if little has changed, and logs how it is. To be called once a second.
    pub fn watch_memory(&self, batch: &mut Batch) {
        self.sweep_retained(batch);
        self.look_at_memory(batch);
        if self.memory.stage() >= Stage::Refuse {
            let _turn = self.turn();
            let _relieving = self.memory.relieving.lock();
            self.relieve(true, batch);
        }
        self.memory.tell(self.memory_used(), self.counters.sum().dropped_memory_full);
    }

    /// Makes room, in the order of the module's table. Once a second it also finds out who is stuck.
    fn relieve(&self, finds_stuck: bool, batch: &mut Batch) {
        let budget = self.memory.budget();
        let enough = percent(budget, Stage::Refuse.percent() - 5);
        let share = self.memory.share.load(Ordering::Relaxed);
        let clients = self.all_clients();
        let (mut here, mut away) = (Vec::new(), Vec::new());
        for client in &clients {
            let mut session = client.session.lock();
            if session.held_bytes() <= share / 4 {
                continue;
            }
            session.forget_expired(batch.now);
            let dropped = session.shed(share / 4);
            session.settle(&mut batch.tally);
            batch.count_dropped(dropped);
            let held = session.held_bytes();
            match &mut session.link {
                Some(link) => {
                    link.stale_looks = link.stale_looks.saturating_add(u8::from(finds_stuck));
                    here.push((held, link.stale_looks > STUCK_LOOKS && held > share / 2, client));
                }
                None => away.push((held, client)),
            }
        }
        let mut used = self.used_after(batch);
        away.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        for (_, client) in away.into_iter().take_while(|(held, _)| *held > share) {
            if used < enough {
                return;
            }
            let mut session = client.session.lock();
            if session.link.is_none() {
                let before = session.absence.due();
                let will = session.absence.take_large_will(share);
                self.schedule(client, before, &session, batch);
                if will.is_some() {
                    self.record_session(client, &session);
                }
                let dropped = session.trim(share) + usize::from(will.is_some());
                session.settle(&mut batch.tally);
                drop(session);
                release_will(will, batch);
                batch.count_dropped(dropped);
                used = self.used_after(batch);
            }
        }
        here.sort_unstable_by_key(|(held, is_stuck, _)| std::cmp::Reverse((*is_stuck, *held)));
        for (held, is_stuck, client) in here {
            if used < if is_stuck { enough } else { budget } {
                break;
            }
            if let Some(link) = &mut client.session.lock().link
                && !link.cut
            {
                link.cut = true;
                batch.wakers.extend(link.wake());
                batch.tally.cut_connections += 1;
                used = used.saturating_sub(held);
            }
        }
        self.counters.add(batch.number, &mut batch.tally);
    }

    fn used_after(&self, batch: &mut Batch) -> usize {
        self.counters.add(batch.number, &mut batch.tally);
        self.memory_used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn memory() -> Memory {
        let memory = Memory::new(&Limits { max_memory_bytes: BASE_BYTES + 400 * MIB, ..Limits::default() });
        assert_eq!(memory.budget(), 300 * MIB);
        memory
    }

    #[test]
    fn a_stage_is_left_later_than_it_is_entered() {
        let memory = memory();
        let stages = [(239, Stage::Ample), (241, Stage::Reclaim), (239, Stage::Reclaim), (224, Stage::Ample)];
        for (used, stage) in stages {
            assert_eq!(memory.update(used * MIB, 1), stage, "{used}");
        }
        let stages = [(301, Stage::Cut), (286, Stage::Cut), (284, Stage::Refuse), (250, Stage::Reclaim)];
        for (used, stage) in stages {
            assert_eq!(memory.update(used * MIB, 1), stage, "{used}");
        }
        assert_eq!(memory.peak(), 301 * MIB);
    }

    #[test]
    fn the_share_shrinks_with_the_stage_and_the_sessions() {
        let memory = memory();
        let limits = Limits::default().outbound();
        memory.update(250 * MIB, 30);
        let reclaim = memory.tightened(Stage::Reclaim, limits);
        assert_eq!((reclaim.here.queued_bytes, reclaim.away.queued_bytes), (5 * MIB, 5 * MIB));
        let refuse = memory.tightened(Stage::Refuse, limits);
        assert_eq!((refuse.here.queued_bytes, refuse.away.queued_bytes), (5 * MIB / 4, 0));
        assert_eq!(refuse.here.outbox_bytes, 5 * MIB / 4);
        memory.update(250 * MIB, 1_000_000_000);
        let cut = memory.tightened(Stage::Cut, limits);
        assert_eq!(cut.here.outbox_bytes, 1, "an empty outbox takes a message in any case");
    }

    #[test]
    fn small_limits_leave_something() {
        for max_memory_bytes in [0, 1, MIB, 16 * MIB, 64 * MIB, usize::MAX] {
            assert!(budget(max_memory_bytes) <= max_memory_bytes);
            assert!(budget(max_memory_bytes) >= max_memory_bytes / 4);
        }
    }
}
