//! The store as a whole, beside a model that keeps everything in memory.

mod handover;
mod measured;
mod model;
mod player;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::files::simulated::{Disk, Failure, SyncKind};
use super::{Journal, Options, Receipt, Record, SyncPolicy};
use player::{Action, Player, options};

fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec((0..40_u8, any::<u16>(), any::<u16>()), 1..most)
}

fn policies() -> impl Strategy<Value = SyncPolicy> {
    prop_oneof![
        3 => Just(SyncPolicy::Always),
        1 => Just(SyncPolicy::Os),
        1 => Just(SyncPolicy::Interval(Duration::ZERO)),
    ]
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_recorded(
        actions in actions(300),
        sync in policies(),
        segment_bytes in prop_oneof![Just(300), Just(2000), Just(1_u32 << 20)],
    ) {
        let disk = Disk::new(0);
        let mut player = Player::new(disk, Options { sync, ..options(segment_bytes) });
        for action in actions {
            player.play(action);
            if action.0 == 0 {
                player.reopen();
            }
            if player.is_between_groups() {
                player.check_fetches(action.1);
            }
        }
        player.commit();
        player.check_fetches(7);
        player.reopen();
    }

    #[test]
    fn nothing_that_was_acknowledged_is_lost_in_a_power_cut(actions in actions(200), sync in policies(), seed: u64) {
        power_cuts(actions, sync, seed, None)?;
    }
}

/// Plays on a disk that fails now and then, and fails it for good at times.
fn power_cuts(
    actions: Vec<Action>,
    sync: SyncPolicy,
    seed: u64,
    ignored: Option<SyncKind>,
) -> Result<(), TestCaseError> {
    let disk = Disk::new(seed);
    if let Some(kind) = ignored {
        disk.ignore(kind);
    }
    let mut player = Player::new(disk, Options { sync, ..options(500) });
    for (step, action) in actions.into_iter().enumerate() {
        let (kind, a, b) = action;
        let seed = seed.wrapping_add(step as u64);
        match kind {
            0 => player.cut_power(seed).map_err(TestCaseError::fail)?,
            1 => {
                let failure = [Failure::Full, Failure::ReadOnly, Failure::Broken][usize::from(a) % 3];
                let first = player.disk.operations() + u64::from(a) / 3 % 8;
                player.disk.fail(failure, first, u64::from(b) % 16);
            }
            2 => player.disk.heal(),
            _ => player.play(action),
        }
        player.check_prefixes();
    }
    player.cut_power(seed).map_err(TestCaseError::fail)
}

/// Whether any of many games notices that such syncs do nothing.
fn is_missed(kind: SyncKind) -> bool {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    });
    runner
        .run(&(actions(200), any::<u64>()), |(actions, seed)| {
            power_cuts(actions, SyncPolicy::Always, seed, Some(kind))
        })
        .is_err()
}

#[test]
fn every_sync_is_missed_when_it_does_nothing() {
    for kind in [SyncKind::Header, SyncKind::Data, SyncKind::Created, SyncKind::Removed] {
        assert!(is_missed(kind), "{kind:?}");
    }
}

#[test]
fn it_grows_no_larger_than_what_is_needed_asks_for() {
    const SEGMENT: u64 = 4096;
    for sync in [SyncPolicy::Always, SyncPolicy::Os] {
        let mut player = Player::new(Disk::new(0), Options { sync, ..options(SEGMENT as u32) });
        let (idle, busy) = (player.begin(0), player.begin(1));
        for _ in 0..200 {
            player.publish(&[idle], 400, false);
        }
        player.commit();
        let needed = player.writer.status().needed_bytes();
        assert!((200 * 400..200 * 600).contains(&needed), "{needed}");
        let most = needed * 5 / 2 + 6 * SEGMENT;
        let mut peak = 0;
        for _ in 0..2000 {
            player.publish(&[busy], 300, true);
            player.commit();
            player.acknowledge_first(busy);
            player.commit();
            peak = peak.max(player.writer.status().total_bytes());
        }
        assert!(peak <= most, "{peak} of {most} bytes, of which {needed} are needed");
        assert!(player.writer.status().cleaned_bytes() > 0);
        player.check_fetches(1);
        while player.acknowledge_first(idle) {}
        player.idle();
        assert!(player.writer.status().segments() <= 2, "{:?}", player.writer.status());
        player.reopen();
    }
}

#[test]
fn a_retained_message_goes_along_with_the_log() {
    let mut player = Player::new(Disk::new(0), options(1000));
    let busy = player.begin(0);
    player.retain(3, 100);
    for _ in 0..500 {
        player.publish(&[busy], 50, false);
        player.commit();
        player.acknowledge_first(busy);
    }
    player.idle();
    assert!(player.writer.status().segments() <= 6, "{:?}", player.writer.status());
    player.reopen();
}

#[test]
fn a_long_queue_comes_in_order_and_in_pieces() {
    let mut player = Player::new(Disk::new(0), options(1 << 20));
    player.keeps_groups = false;
    let (one, two) = (player.begin(0), player.begin(1));
    for round in 0..400 {
        for _ in 0..150 {
            let to = [one, two];
            player.publish(if round % 3 == 0 { &to[..1] } else { &to }, 20, false);
        }
        player.commit();
    }
    for session in [one, two] {
        player.check_fetch(session, 137, usize::MAX);
        player.check_fetch(session, usize::MAX, 3000);
    }
    player.reopen();
    player.check_fetch(one, 1000, 1 << 20);
}

#[test]
fn a_message_that_is_handed_to_another_session_is_never_without_one() {
    let disk = Disk::new(0);
    let mut player = Player::new(disk, Options { sync: SyncPolicy::Os, ..options(200) });
    let (one, two) = (player.begin(0), player.begin(1));
    player.reopen();
    for round in 0..100 {
        player.publish(&[one], 50, false);
        player.commit();
        player.hand(one, two);
        player.commit();
        player.cut_power(round).unwrap();
    }
}

#[test]
fn what_a_failed_sync_lost_is_taken_from_where_it_was_written_again() {
    let mut player = Player::new(Disk::new(0), Options { sync: SyncPolicy::Os, ..options(1000) });
    let session = player.begin(0);
    player.reopen();
    player.publish(&[session], 400, false);
    player.commit();
    player.disk.fail(Failure::Broken, player.disk.operations(), 6);
    for _ in 0..3 {
        player.publish(&[session], 10, false);
        player.commit();
    }
    assert!(player.journal.is_failing());
    player.disk.heal();
    player.idle();
    // So nothing holds the file that failed.
    assert_eq!(player.writer.status().segments(), 1);
    player.check_fetches(3);
}

#[test]
fn a_fetch_of_an_unknown_session_gets_nothing() {
    let mut player = Player::new(Disk::new(0), options(1000));
    let fetched = player.fetch(77, 0, 10, 10).unwrap();
    assert!(fetched.deliveries.is_empty() && fetched.next.is_none());
}

#[test]
fn a_fetch_waits_for_what_cannot_be_written_yet() {
    let mut player = Player::new(Disk::new(0), options(1 << 20));
    let session = player.begin(0);
    player.publish(&[session], 10, false);
    player.publish(&[session], 10, false);
    player.commit();
    player.disk.fail(Failure::Full, 0, u64::MAX);
    player.publish(&[session], 10, false);
    player.acknowledge_first(session);
    player.commit();
    assert!(player.journal.is_failing());
    assert!(player.writer.status().failing().is_some());
    // The first is gone, the last is not there yet, the other is.
    let fetched = player.fetch(session, 0, 10, 1000).unwrap();
    assert_eq!(fetched.deliveries.iter().map(|delivery| delivery.position).collect::<Vec<_>>(), [1]);
    assert_eq!(fetched.next, Some(2));
    assert!(player.fetch(session, 2, 10, 1000).is_none());
    player.disk.heal();
    player.commit();
    assert!(!player.journal.is_failing());
    let (_, held) = player.answers.pop().unwrap();
    assert_eq!(held.deliveries.iter().map(|delivery| delivery.position).collect::<Vec<_>>(), [2]);
    assert_eq!(held.next, None);
}

#[test]
fn a_store_opens_on_a_full_disk_and_goes_on_when_there_is_room() {
    let mut player = Player::new(Disk::new(0), options(1 << 20));
    let session = player.begin(0);
    for bytes in [10, 20, 30] {
        player.publish(&[session], bytes, true);
        player.commit();
    }
    for _ in 0..2 {
        player.reopen_on_full_disk();
        player.check_fetches(3);
        player.commit();
        assert!(player.journal.is_failing());
        player.check_fetches(3);
    }
    player.publish(&[session], 40, false);
    player.acknowledge_first(session);
    player.commit();
    let persisted = player.journal.persisted();
    player.disk.heal();
    player.commit();
    assert!(!player.journal.is_failing() && player.journal.persisted() > persisted);
    player.idle();
    player.check_fetches(3);
    assert_eq!(player.writer.status().segments(), 1, "nothing holds the ones before");
    player.reopen();
    player.check_fetches(3);
    for seed in 0..20 {
        player.cut_power(seed).unwrap();
    }
}

#[test]
fn at_the_end_all_is_written() {
    let mut player = Player::new(Disk::new(0), Options { sync: SyncPolicy::Os, ..options(1 << 20) });
    let session = player.begin(0);
    player.publish(&[session], 10, false);
    player.journal.finish();
    assert!(!player.turn());
    player.cut_power(1).unwrap();
    assert_eq!(player.model.sessions[&session].entries.len(), 1);
}

#[test]
fn what_cannot_be_meant_is_passed_over() {
    let mut player = Player::new(Disk::new(0), options(1 << 20));
    let session = player.begin(0);
    let journal = Arc::clone(&player.journal);
    for record in [
        Record::Dequeue { session, position: 9 },
        Record::Dequeue { session: 99, position: 9 },
        Record::Retain { body: 9 },
        Record::SessionEnd { session: 99 },
        Record::Unretain { body: 3 },
    ] {
        journal.record(&record);
    }
    player.commit();
    assert_eq!(player.reopen().strays, 1);
}

struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_waits_again_and_again_takes_no_more_room() {
    let journal = Journal::new(0, 0);
    let wakers = [1, 2].map(|_| Arc::new(Counted(AtomicUsize::new(0))));
    for _ in 0..1000 {
        for counted in &wakers {
            journal.wake_after(1, None, &Waker::from(Arc::clone(counted)));
            journal.wake_after(2, None, &Waker::from(Arc::clone(counted)));
        }
    }
    let waiting = |counted| Arc::strong_count(counted) - 1;
    assert!(wakers.iter().all(|counted| waiting(counted) < 20));
    for group in [1, 2] {
        journal.tell_persisted(group, 0);
        assert!(wakers.iter().all(|counted| counted.0.swap(0, Ordering::Relaxed) > 0));
    }
    assert!(wakers.iter().all(|counted| waiting(counted) == 0));
}

#[test]
fn whoever_waits_for_a_receipt_is_woken_by_it_or_by_the_group_and_once() {
    let journal = Journal::new(0, 0);
    let counted = [1, 2].map(|_| Arc::new(Counted(AtomicUsize::new(0))));
    let receipts = [1, 2].map(|_| Receipt::new());
    for (counted, receipt) in counted.iter().zip(&receipts) {
        journal.wake_after(1, Some(receipt), &Waker::from(Arc::clone(counted)));
    }
    let wakes = || [0, 1].map(|at: usize| counted[at].0.load(Ordering::Relaxed));
    receipts[0].settle();
    assert_eq!(wakes(), [1, 0]);
    journal.tell_persisted(1, 0);
    assert_eq!(wakes(), [1, 1]);
    journal.wake_after(2, Some(&receipts[0]), &Waker::from(Arc::clone(&counted[0])));
    assert_eq!(wakes(), [2, 1], "it is settled");
}
