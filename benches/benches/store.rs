//! The store alone: messages for a session recorded, written, and taken out again, until all of it is safe; and opening
//! a store that holds many.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::any::Any;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use sol::codec::QoS;
use sol::store::files::Directory;
use sol::store::{
    Fetched, Journal, MannerRecord, MessageRecord, Options, Record, SessionNumber, SessionRecord, Sink,
    SyncPolicy, open,
};
use tempfile::TempDir;

// Its allocator.
use benches as _;

/// Messages that a store holds when it is opened.
const HELD: u64 = 100_000;
/// Messages recorded in one turn while it is filled.
const FILLED: u64 = 1_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("store");
    for (sync, policy) in [("sync always", SyncPolicy::Always), ("sync by the system", SyncPolicy::Os)] {
        for messages in [1, 100, 2_000] {
            let mut stage = None;
            group.throughput(Throughput::Elements(messages));
            group.bench_function(BenchmarkId::new(sync, format!("{messages} in a group")), |bencher| {
                let stage = stage.get_or_insert_with(|| {
                    let directory = tempfile::tempdir().unwrap();
                    (Store::open(directory.path(), policy).0.begin(), directory)
                });
                bencher.iter(|| {
                    let first = stage.0.enqueue(messages);
                    stage.0.dequeue(first, messages);
                });
            });
        }
    }
    let mut filled: Option<TempDir> = None;
    group.throughput(Throughput::Elements(HELD));
    group.bench_function(format!("open/{HELD} messages"), |bencher| {
        let directory = filled.get_or_insert_with(|| {
            let directory = tempfile::tempdir().unwrap();
            let mut store = Store::open(directory.path(), SyncPolicy::Os).0.begin();
            (0..HELD / FILLED).for_each(|_| _ = store.enqueue(FILLED));
            directory
        });
        bencher.iter_custom(|iterations| {
            let open = || {
                let start = Instant::now();
                let (_store, held) = Store::open(directory.path(), SyncPolicy::Os);
                let elapsed = start.elapsed();
                assert_eq!(held, HELD as usize);
                elapsed
            };
            (0..iterations).map(|_| open()).sum()
        });
    });
    group.finish();
    criterion.final_summary();
}

/// A store with one session, and its writer at work.
struct Store {
    journal: Arc<Journal>,
    writer: Option<JoinHandle<()>>,
    session: SessionNumber,
    position: u64,
}

impl Store {
    /// And how many messages were in it.
    fn open(path: &Path, sync: SyncPolicy) -> (Self, usize) {
        let files = Arc::new(Directory::open(path).unwrap());
        let options = Options { sync, ..Options::default() };
        let (journal, mut writer, recovered, _) = open(files, options).unwrap();
        let held = recovered.sessions.iter().map(|session| session.queued_messages).sum();
        let writer = thread::spawn(move || while writer.turn(Duration::from_secs(1), &mut Nobody) {});
        let session = journal.next_number();
        (Self { journal, writer: Some(writer), session, position: 0 }, held)
    }

    /// Its session begins.
    fn begin(mut self) -> Self {
        let session = self.session;
        self.turn(|journal| {
            journal.record(&Record::Session(SessionRecord {
                session,
                client_id: "bench",
                expiry_seconds: u32::MAX,
                absent_since: None,
                will: None,
            }));
        });
        self
    }

    /// Records so many messages that wait; gives the first one's position.
    fn enqueue(&mut self, messages: u64) -> u64 {
        let (session, first) = (self.session, self.position + 1);
        self.position += messages;
        self.turn(|journal| {
            for position in first..first + messages {
                let message = MessageRecord {
                    topic: "site4/line2/device17/temperature",
                    payload: &[b'x'; 64],
                    qos: QoS::AtLeastOnce,
                    properties: &[],
                    expiry: None,
                };
                let manner = MannerRecord {
                    qos: QoS::AtLeastOnce,
                    retain: false,
                    replayed: false,
                    subscription_ids: &[],
                    share: None,
                };
                journal.record_message(message, |body| Record::Enqueue {
                    session,
                    position,
                    body,
                    manner,
                    packet_id: None,
                });
            }
        });
        first
    }

    fn dequeue(&mut self, first: u64, messages: u64) {
        let session = self.session;
        self.turn(|journal| {
            for position in first..first + messages {
                journal.record(&Record::Dequeue { session, position });
            }
        });
    }

    /// Waits until what was recorded is persisted.
    fn turn(&mut self, record: impl FnOnce(&Journal)) {
        let (woken, wake) = mpsc::channel();
        let group = {
            let turn = self.journal.turn();
            record(&self.journal);
            turn.group()
        };
        self.journal.wake_after(group, None, &Waker::from(Arc::new(Channel(woken))));
        wake.recv().unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.journal.finish();
        self.writer.take().map(JoinHandle::join);
    }
}

struct Channel(mpsc::Sender<()>);

impl Wake for Channel {
    fn wake(self: Arc<Self>) {
        // Nobody waits any more only where the bench has failed.
        _ = self.0.send(());
    }
}

/// Who asks for nothing gets nothing.
struct Nobody;

impl Sink for Nobody {
    fn fetched(&mut self, _: Arc<dyn Any + Send + Sync>, _: SessionNumber, _: Fetched) {}
}
