//! The store, and the thread that writes it.

use std::any::Any;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{info, warn};

use super::{StartError, StoreError};
use crate::config::Persistence;
use crate::hub::{Batch, Hub};
use crate::store::files::Directory;
use crate::store::{self, Fetched, Journal, Options, Recovered, SessionNumber, Sink, Status, Writer};

/// How long the thread sleeps when there is nothing to write.
const IDLE: Duration = Duration::from_secs(60);

/// A store that is this broker's, and what survived in it.
pub(super) struct Store {
    directory: PathBuf,
    journal: Arc<Journal>,
    writer: Writer,
    recovered: Recovered,
}

impl Store {
    /// Takes the directory and reads what is in it.
    pub(super) fn open(settings: &Persistence) -> Result<Self, StartError> {
        let directory = settings.directory.clone();
        let failed = |source: StoreError| StartError::Store { directory: directory.clone(), source };
        let files = Directory::open(&directory).map_err(|error| failed(error.into()))?;
        let options = Options {
            sync: settings.sync,
            max_backlog_bytes: settings.max_backlog_bytes,
            ..Options::default()
        };
        let (journal, writer, recovered, report) =
            store::open(Arc::new(files), options).map_err(|error| failed(error.into()))?;
        for cut in report.cuts {
            warn!("{}: {cut}", directory.display());
        }
        if report.strays > 0 {
            warn!("{}: {} records mean nothing, and are left out", directory.display(), report.strays);
        }
        Ok(Self { directory, journal, writer, recovered })
    }

    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    pub(super) fn status(&self) -> &Arc<Status> {
        self.writer.status()
    }

    /// Gives the hub what survived, and starts the thread.
    pub(super) fn serve(self, hub: &Arc<Hub>) -> io::Result<Keeper> {
        let Self { directory, journal, mut writer, recovered } = self;
        let began = Instant::now();
        let mut batch = Batch::new(began);
        let restored = hub.restore(recovered, began, &mut batch);
        batch.wake();
        info!(
            "{}: {} sessions with {} subscriptions, and {} retained messages are back, after {:.3} s",
            directory.display(),
            restored.sessions,
            restored.subscriptions,
            restored.retained,
            began.elapsed().as_secs_f64()
        );
        if restored.retained_dropped > 0 {
            info!("{} retained messages have expired or find no room any more", restored.retained_dropped);
        }
        if restored.invalid > 0 {
            warn!("{} entries are not what the standard allows, and are removed", restored.invalid);
        }
        let mut hub = Answers { hub: Arc::clone(hub), batch };
        let thread = thread::Builder::new()
            .name("sol-store".to_owned())
            .spawn(move || while writer.turn(IDLE, &mut hub) {})?;
        Ok(Keeper { journal, thread })
    }
}

/// The thread that writes what must survive.
pub(super) struct Keeper {
    journal: Arc<Journal>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Writes what is left, on stable storage, and gives the directory back. Nothing may be recorded any more.
    pub(super) fn stop(self) -> thread::Result<()> {
        self.journal.finish();
        self.thread.join()
    }
}

/// Takes what was fetched to the sessions that wait for it.
struct Answers {
    hub: Arc<Hub>,
    batch: Batch,
}

impl Sink for Answers {
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, _: SessionNumber, fetched: Fetched) {
        self.hub.fetched(&*asker, fetched, self.batch.at(Instant::now()));
        self.batch.wake();
    }
}
