//! What is handed over between connections, the journal and the writer, in thousands of orders of their steps.
//!
//! The journal and the writer stand here once more, over the locks of shuttle. What fails tells its seed: with
//! `SHUTTLE_RANDOM_SEED` it is played again.

#[path = "../../journal.rs"]
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
mod journal;
mod sync;
#[path = "../../writer.rs"]
#[allow(clippy::duplicate_mod, dead_code, unreachable_pub)]
mod writer;

use std::any::Any;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, Runner, rand, thread};

use crate::codec::{PacketId, QoS};
use crate::store;
use crate::store::files::simulated::{Disk, Failure};
// Both look here for what they use.
use crate::store::{cleaning, fetching, group, image, log, receipt, record, status, stored};
use group::{Draft, Group};
use image::{Change, Image};
use journal::{Clock, Journal};
use log::{Log, LogOptions};
use record::{MannerRecord, MessageRecord, Position, Record, SessionNumber, SessionRecord};
use stored::{Fetch, Fetched};
use sync::{Fault, set_fault};
use writer::{Options, Sink, Writer};

/// So many orders of each kind.
const SCHEDULES: usize = 1500;

/// In each of which so many connections do this so often.
const CONNECTIONS: u64 = 3;
const ROUNDS: u64 = 2;

/// The session to which all of them send; each has one of its own too, which is its number.
const SHARED: SessionNumber = CONNECTIONS;

/// That to which the writer's thread sends, when it brings an answer.
const WRITERS: SessionNumber = SHARED + 1;

const WHOLE_TURNS: &str = "a turn is in one group";

/// As if for ever, since nothing times out.
const LONGEST: Duration = Duration::from_secs(60);

/// Plays it in orders that are random, and in such as a preemption or two make.
fn check(play: impl Fn() + Send + Sync + 'static) {
    let play = Arc::new(play);
    let schedulers: [Box<dyn Scheduler + Send>; 2] =
        [Box::new(RandomScheduler::new(SCHEDULES)), Box::new(PctScheduler::new(3, SCHEDULES))];
    for scheduler in schedulers {
        let mut config = Config::new();
        // The writer needs more than shuttle thinks.
        config.stack_size = 512 << 10;
        let play = Arc::clone(&play);
        Runner::new(scheduler, config).run(move || play());
    }
}

/// Positions that were found, and from which on to ask next.
type Found = (Vec<Position>, Option<Position>);

/// Rings once.
struct Bell {
    journal: Arc<Journal>,
    /// Which must be persisted when it rings.
    group: u64,
    /// With what was found, if it is the answer to a question.
    rung: Mutex<Option<Found>>,
    rings: Condvar,
}

impl Bell {
    fn new(journal: &Arc<Journal>, group: u64) -> Arc<Self> {
        let (rung, rings) = (Mutex::default(), Condvar::new());
        Arc::new(Self { journal: Arc::clone(journal), group, rung, rings })
    }

    fn ring(&self, found: Found) {
        assert!(self.journal.persisted() >= self.group, "woken too early");
        let before = self.rung.lock().unwrap().replace(found);
        assert!(before.is_none(), "woken twice");
        self.rings.notify_one();
    }

    fn wait(&self) -> Found {
        let mut rung = self.rung.lock().unwrap();
        loop {
            if let Some(found) = &*rung {
                return found.clone();
            }
            rung = self.rings.wait(rung).unwrap();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring(Found::default());
    }
}

/// What was recorded in one turn.
struct Said {
    group: u64,
    entries: [(SessionNumber, Position); 2],
}

/// The connections' side.
struct Connections {
    journal: Arc<Journal>,
    /// The position of the last message, by session.
    sessions: Vec<Mutex<Position>>,
    said: Mutex<Vec<Said>>,
    /// What was taken back; none, if nothing is to be.
    taken_back: Option<Mutex<Vec<(SessionNumber, Position)>>>,
}

impl Connections {
    fn new(journal: &Arc<Journal>, takes_back: bool) -> Arc<Self> {
        let journal = Arc::clone(journal);
        let this = Self {
            journal,
            sessions: (0..=WRITERS).map(|_| Mutex::default()).collect(),
            said: Mutex::default(),
            taken_back: takes_back.then(Mutex::default),
        };
        Arc::new(this)
    }

    /// Sessions begin.
    fn begin(&self) {
        let _turn = self.journal.turn();
        for session in 0..=WRITERS {
            self.journal.record(&Record::Session(SessionRecord {
                session,
                client_id: &session.to_string(),
                expiry_seconds: u32::MAX,
                absent_since: None,
                will: None,
            }));
        }
    }

    /// Lets all of them do what they do, and ends.
    fn play(self: &Arc<Self>) {
        let threads = (0..CONNECTIONS).map(|number| {
            let this = Arc::clone(self);
            thread::spawn(move || (0..ROUNDS).for_each(|round| this.act(number, round)))
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.journal.finish();
    }

    fn act(&self, number: u64, round: u64) {
        match number {
            // Whoever sends at QoS 1 waits before the answer leaves.
            0 => {
                let group = self.send(number);
                self.wait(group);
            }
            // What is answered changes nothing.
            1 => {
                let group = self.journal.turn().group();
                self.wait(group);
                if round > 0 {
                    self.send(number);
                }
            }
            _ => {
                self.send(number);
                self.fetch(number);
            }
        }
    }

    /// Puts a message into two queues, and may take it back out of the first. Gives the group.
    fn send(&self, number: u64) -> u64 {
        let turn = self.journal.turn();
        let group = turn.group();
        let message =
            MessageRecord { topic: "a", payload: b"b", qos: QoS::AtLeastOnce, properties: &[], expiry: None };
        let (mut body, mut draft) = (None, Draft::default());
        let entries = [number, SHARED].map(|session| {
            let mut last = self.sessions[usize::try_from(session).unwrap()].lock().unwrap();
            *last += 1;
            let manner = MannerRecord {
                qos: QoS::AtLeastOnce,
                retain: false,
                replayed: false,
                subscription_ids: &[],
                share: None,
            };
            let packet_id = Some(PacketId::MIN);
            let enqueue = |body| Record::Enqueue { session, position: *last, body, manner, packet_id };
            match body {
                None => {
                    let recorded = self.journal.record_message(message, enqueue);
                    body = Some(recorded.0);
                    draft = recorded.1;
                }
                Some(body) => _ = self.journal.record(&enqueue(body)),
            }
            (session, *last)
        });
        drop(turn);
        if let Some(taken_back) = self.taken_back.as_ref().filter(|_| number == 0) {
            let _turn = self.journal.turn();
            if self.journal.take_back(draft) {
                taken_back.lock().unwrap().push(entries[0]);
            }
        }
        self.said.lock().unwrap().push(Said { group, entries });
        group
    }

    /// As a connection does before it sleeps.
    fn wait(&self, group: u64) {
        let bell = Bell::new(&self.journal, group);
        let turn = self.journal.turn();
        self.journal.wake_after(group, None, &Waker::from(Arc::clone(&bell)));
        drop(turn);
        bell.wait();
    }

    /// Asks for all that waits for the session, which is what it was sent.
    fn fetch(&self, session: SessionNumber) {
        let mut all = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let turn = self.journal.turn();
            let bell = Bell::new(&self.journal, 0);
            let (max_messages, max_bytes) = (usize::MAX, usize::MAX);
            let asker = Arc::clone(&bell) as _;
            self.journal.fetch(Fetch { session, from, max_messages, max_bytes, asker });
            drop(turn);
            let found = bell.wait();
            all.extend(found.0);
            next = found.1;
        }
        assert!(all.into_iter().eq(1..=self.last(session)));
    }

    /// Brings an answer, and has something to record itself.
    fn answer(&self, asker: Arc<dyn Any + Send + Sync>, found: Found) {
        self.send(WRITERS);
        asker.downcast::<Bell>().unwrap().ring(found);
    }

    fn last(&self, session: SessionNumber) -> Position {
        *self.sessions[usize::try_from(session).unwrap()].lock().unwrap()
    }

    /// Nothing is left to be taken.
    fn check_over(&self) {
        assert!(!self.journal.is_behind(), "bytes were not counted off");
        let rest = self.journal.close(Group::default());
        assert!(self.journal.take().payload.is_empty() && rest.fetches.is_empty() && rest.is_over);
    }
}

/// Is behind as soon as it has a byte.
fn journal() -> Arc<Journal> {
    Arc::new(Journal::at(Clock::now(), WRITERS, 0))
}

type Entries = Vec<(SessionNumber, Position)>;

/// The journal alone.
fn play_groups() {
    let journal = journal();
    let connections = Connections::new(&journal, true);
    let keeper = Arc::clone(&connections);
    let writer = thread::spawn(move || keep_groups(&keeper));
    connections.play();
    let groups = writer.join().unwrap();
    connections.check_over();
    let taken_back = connections.taken_back.as_ref().unwrap().lock().unwrap();
    for Said { group, entries } in &*connections.said.lock().unwrap() {
        let group = &groups[usize::try_from(*group).unwrap() - 1];
        let is_there = |entry| group.contains(entry) || taken_back.contains(entry);
        assert!(entries.iter().all(is_there), "{WHOLE_TURNS}");
    }
    for session in 0..=WRITERS {
        let positions = groups.iter().flatten().filter(|entry| entry.0 == session).map(|entry| entry.1);
        let all = (1..=connections.last(session)).filter(|at| !taken_back.contains(&(session, *at)));
        assert!(positions.eq(all), "all is there once and in order, but for what was taken back");
    }
}

/// Takes what there is until that is all, by group.
fn keep_groups(connections: &Connections) -> Vec<Entries> {
    let journal = &connections.journal;
    let mut groups = Vec::<Entries>::new();
    let (mut bytes, mut fetches, mut is_late) = (0, Vec::new(), false);
    loop {
        journal.wait(if is_late { Duration::ZERO } else { LONGEST });
        let work = journal.close(Group::default());
        let mut group = journal.take();
        bytes += group.bytes();
        group.strip();
        assert_eq!(work.number, groups.len() as u64 + 1, "groups have no gaps");
        let changes = &group.changes;
        assert_eq!(changes.strays, 0, "{WHOLE_TURNS}");
        groups.push(changes.records.iter().filter_map(entry).collect());
        fetches.extend(work.fetches);
        // As if it could not be written at once.
        is_late = !is_late && !work.is_over && rand::thread_rng().gen_bool(0.3);
        if !is_late {
            journal.tell_persisted(work.number, mem::take(&mut bytes));
            for Fetch { asker, session, .. } in fetches.drain(..) {
                let entries = groups.iter().flatten();
                let found = entries.filter(|entry| entry.0 == session).map(|entry| entry.1);
                connections.answer(asker, (found.collect(), None));
            }
        }
        if work.is_over {
            return groups;
        }
    }
}

fn entry(change: &Change) -> Option<(SessionNumber, Position)> {
    match change {
        Change::Enqueue(enqueued) => Some((enqueued.session, enqueued.position)),
        _ => None,
    }
}

fn positions(fetched: &Fetched) -> Vec<Position> {
    fetched.deliveries.iter().map(|delivery| delivery.position).collect()
}

impl Sink for Arc<Connections> {
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, _: SessionNumber, fetched: Fetched) {
        self.answer(asker, (positions(&fetched), fetched.next));
    }
}

/// With the writer, on a disk that fails for a while.
fn play_store() {
    let disk = Disk::new(0);
    let options = Options { segment_bytes: 500, retry: Duration::ZERO, ..Options::default() };
    let files = Arc::new(disk.clone());
    let (log, _) =
        Log::open(files, LogOptions { segment_bytes: options.segment_bytes }, &mut |_, _| Ok(())).unwrap();
    let mut image = Image::recovering();
    image.recovered(&log).unwrap();
    let journal = journal();
    let mut writer = Writer::new(Arc::clone(&journal), log, image, options);
    let connections = Connections::new(&journal, false);
    connections.begin();
    let first = disk.operations() + rand::thread_rng().gen_range(0..16);
    disk.fail(Failure::Full, first, rand::thread_rng().gen_range(0..3));
    let mut sink = Arc::clone(&connections);
    let writer = thread::spawn(move || while writer.turn(LONGEST, &mut sink) {});
    connections.play();
    writer.join().unwrap();
    connections.check_over();
    let survived = survived(disk.after_power_cut(0));
    assert!(
        (0..=WRITERS).all(|session| survived[&session].iter().copied().eq(1..=connections.last(session)))
    );
}

/// What the next life finds, by session.
fn survived(disk: Disk) -> HashMap<SessionNumber, Vec<Position>> {
    let (journal, mut writer, recovered, _) = store::open(Arc::new(disk), store::Options::default()).unwrap();
    for session in &recovered.sessions {
        let (session, max_messages, max_bytes) = (session.number, usize::MAX, usize::MAX);
        journal.fetch(Fetch { session, from: 0, max_messages, max_bytes, asker: Arc::new(()) });
    }
    let mut survived = Survived::default();
    writer.turn(Duration::ZERO, &mut survived);
    survived.0
}

#[derive(Default)]
struct Survived(HashMap<SessionNumber, Vec<Position>>);

impl store::Sink for Survived {
    fn fetched(&mut self, _: Arc<dyn Any + Send + Sync>, session: SessionNumber, fetched: Fetched) {
        self.0.insert(session, positions(&fetched));
    }
}

#[test]
fn groups_are_handed_over_in_any_order_of_steps() {
    check(play_groups);
}

#[test]
fn the_writer_serves_in_any_order_of_steps() {
    check(play_store);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_writer_that_is_not_told_is_noticed() {
    set_fault(Fault::Silent);
    check(play_groups);
}

#[test]
#[should_panic(expected = "a turn is in one group")]
fn a_group_that_is_taken_amid_a_turn_is_noticed() {
    set_fault(Fault::Open);
    check(play_groups);
}
