//! A store on a disk in memory, and its writer, which gets its turn when all others have had theirs.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use sol::hub::{Batch, Hub};
use sol::store::files::simulated::Disk;
use sol::store::{Clock, Fetched, Journal, Options, Recovered, SessionNumber, Sink, Writer, open_at};

pub(crate) struct Store {
    clock: Clock,
    disk: Disk,
    writer: Option<Writer>,
}

#[derive(Default)]
struct Answers(Vec<(Arc<dyn Any + Send + Sync>, Fetched)>);

impl Sink for Answers {
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, _: SessionNumber, fetched: Fetched) {
        self.0.push((asker, fetched));
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::now(), disk: Disk::new(0), writer: None }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// What is on the disk.
    pub(crate) fn open(&mut self) -> (Arc<Journal>, Recovered) {
        // Small, so that what is still needed is copied again and again.
        let options = Options { segment_bytes: 2048, ..Options::default() };
        let opened = open_at(self.clock, Arc::new(self.disk.clone()), options);
        let (journal, writer, recovered, report) = opened.unwrap();
        assert_eq!(report.strays, 0);
        self.writer = Some(writer);
        (journal, recovered)
    }

    /// The disk is as a power cut left it.
    pub(crate) fn cut_power(&mut self, seed: u64) {
        self.writer = None;
        self.disk = self.disk.after_power_cut(seed);
    }

    /// Writes what there is. Says whether somebody got what he asked for.
    pub(crate) fn turn(&mut self, hub: &Hub, batch: &mut Batch) -> bool {
        let mut answers = Answers::default();
        self.writer.as_mut().unwrap().turn(Duration::ZERO, &mut answers);
        let has_answers = !answers.0.is_empty();
        for (asker, fetched) in answers.0 {
            hub.fetched(asker.as_ref(), fetched, batch);
            batch.wake();
        }
        has_answers
    }
}
