//! What there is to tell of.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::RwLock;

use super::{Doorkeeper, Guard};
use crate::hub::{Batch, Hub, Stats};
use crate::net::asking::Asking;
use crate::net::listener::Desk;
use crate::net::worker::Team;
use crate::store::Status;

/// What the broker knows of itself beside what the hub does.
#[derive(Clone)]
pub(in crate::net) struct Facts {
    pub(in crate::net) started: (Instant, SystemTime),
    pub(in crate::net) threads: usize,
    pub(in crate::net) places: Arc<RwLock<Vec<Arc<Desk>>>>,
    pub(in crate::net) asking: Arc<Asking>,
    pub(in crate::net) team: Arc<Team>,
    pub(in crate::net) store: Option<Arc<Status>>,
    /// Clients are served.
    pub(in crate::net) is_ready: Arc<AtomicBool>,
}

/// What all answers are made from.
pub(super) struct State {
    pub(super) hub: Arc<Hub>,
    pub(super) facts: Facts,
    pub(super) guard: Arc<Guard>,
    batch: RefCell<Batch>,
}

impl State {
    pub(super) fn new(hub: Arc<Hub>, facts: Facts, guard: Arc<Guard>) -> Self {
        Self { hub, facts, guard, batch: RefCell::new(Batch::new(Instant::now())) }
    }

    /// Who is let in.
    pub(super) fn doorkeeper(&self) -> Arc<Doorkeeper> {
        Arc::clone(&self.guard.0.read().doorkeeper)
    }

    /// The broker's counters.
    pub(super) fn stats(&self) -> Stats {
        Stats { connections_moved: self.facts.team.moved(), ..self.hub.stats() }
    }

    /// Does something in the hub, and wakes whoever was given something.
    pub(super) fn with_batch<T>(&self, work: impl FnOnce(&Hub, &mut Batch) -> T) -> T {
        let mut batch = self.batch.borrow_mut();
        let done = work(&self.hub, &mut batch);
        batch.wake();
        done
    }

    /// After a panic: what others were given reaches them.
    pub(super) fn recover(&self) {
        self.batch.borrow_mut().recover();
    }

    /// Seconds since the broker started.
    pub(super) fn uptime(&self) -> f64 {
        self.facts.started.0.elapsed().as_secs_f64()
    }

    /// Why clients are not served, if so.
    pub(super) fn unready(&self) -> Option<String> {
        if !self.facts.is_ready.load(Ordering::Acquire) {
            return Some("the broker is starting: it reads what it stored".to_owned());
        }
        if self.hub.is_stopping() {
            return Some("the broker is stopping".to_owned());
        }
        let failing = self.facts.store.as_ref()?.failing()?;
        Some(format!(
            "the store has not been written for {} s: {}; see its disk (`persistence_location`)",
            failing.since.elapsed().as_secs(),
            failing.error
        ))
    }
}

/// When something was, in the form of RFC 3339.
pub(super) fn date(at: Instant) -> String {
    let now = SystemTime::now();
    rfc3339(now.checked_sub(at.elapsed()).unwrap_or(now))
}

pub(super) fn rfc3339(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}
