//! Clients and abusers stand for other machines. On the broker's processors they would wait for each other and for the
//! broker, and the broker for them, as they would not there.

use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Those processors that the broker has, and those of everybody else.
pub(crate) struct Machines {
    broker: CpuSet,
    others: CpuSet,
}

impl Machines {
    /// Half of what this thread may use for each; none if that is one.
    pub(crate) fn new() -> Option<Self> {
        let all = sched_getaffinity(None).unwrap();
        let mut mine = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let [mut broker, mut others] = [CpuSet::new(), CpuSet::new()];
        let half = usize::try_from(all.count()).unwrap() / 2;
        mine.by_ref().take(half).for_each(|cpu| broker.set(cpu));
        mine.for_each(|cpu| others.set(cpu));
        (half > 0).then_some(Self { broker, others })
    }

    /// How many processors the broker has.
    pub(crate) fn broker_threads(&self) -> u32 {
        self.broker.count()
    }

    /// What the calling thread starts from now on runs on the broker's.
    pub(crate) fn on_the_brokers(&self) {
        sched_setaffinity(None, &self.broker).unwrap();
    }

    /// What the calling thread starts from now on, and the thread itself, runs on the others.
    pub(crate) fn on_the_others(&self) {
        sched_setaffinity(None, &self.others).unwrap();
    }
}

/// The calling thread runs only while no other wants to: not even a niceness of 19 gives way at once.
pub(crate) fn last() {
    assert!(chrt(&["--idle", "--pid", "0"]), "util-linux has chrt");
}

/// The calling thread runs as soon as it has something to do. Says whether this system lets it: root may.
pub(crate) fn first() -> bool {
    chrt(&["--fifo", "--pid", "1"])
}

fn chrt(options: &[&str]) -> bool {
    let thread = rustix::thread::gettid().to_string();
    Command::new("chrt").args(options).arg(thread).output().unwrap().status.success()
}
