//! Asks the broker, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ctl::Sort;
use crate::ctl::answers::{Clients, Status, Tick};
use crate::ctl::api::{Api, Failure};

/// Before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// More than fit on a screen.
const CLIENTS: usize = 200;

/// What is known at a time.
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) tick: Tick,
    pub(super) clients: Clients,
}

pub(super) enum News {
    Snapshot(Box<Snapshot>),
    /// The broker cannot be asked; it is tried again.
    Lost(String),
}

pub(super) struct Feed {
    sort: Arc<Mutex<Sort>>,
    news: Receiver<News>,
}

impl Feed {
    pub(super) fn start(api: Api, sort: Sort) -> Result<Self, Failure> {
        let sort = Arc::new(Mutex::new(sort));
        let (sender, news) = sync_channel(1);
        let wanted = Arc::clone(&sort);
        let thread = thread::Builder::new().name("sol-ctl-feed".to_owned()).spawn(move || {
            while let Err(failure) = follow(&api, &wanted, &sender) {
                if sender.send(News::Lost(failure.to_string())).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
        });
        thread.map_err(|error| Failure::Other(format!("no thread: {error}")))?;
        Ok(Self { sort, news })
    }

    /// What to put first from now on.
    pub(super) fn sort(&self, sort: Sort) {
        *self.sort.lock() = sort;
    }

    /// What came, without waiting.
    pub(super) fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }
}

/// Tells each second what there is, as long as anybody listens.
fn follow(api: &Api, sort: &Mutex<Sort>, sender: &SyncSender<News>) -> Result<(), Failure> {
    let mut events = api.events("/api/v1/events")?;
    while let Some(event) = events.next()? {
        let tick = api.understand(event.data)?;
        let sort = sort.lock().name();
        let clients = api.get(&format!("/api/v1/clients?limit={CLIENTS}&sort={sort}"))?;
        let snapshot = Snapshot {
            at: Instant::now(),
            status: api.understand(api.get("/api/v1/status")?)?,
            tick,
            clients: api.understand(clients)?,
        };
        if sender.send(News::Snapshot(Box::new(snapshot))).is_err() {
            return Ok(());
        }
    }
    Err(Failure::Other("the broker has closed the stream".to_owned()))
}
