//! Whoever asks for a reload from within, by HTTP, and whoever does it: the process, which alone knows its configuration
//! file.

use std::sync::atomic::{AtomicBool, Ordering};

use smol::channel;

/// What a reload changed, or everything that kept it from changing anything.
pub type Reloaded = Result<Changes, Vec<String>>;

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The keys whose values are others now.
    pub changed: Vec<String>,
    /// The keys whose values are others in the file, and come into force when the broker is started again.
    pub needs_restart: Vec<String>,
}

/// A reload that was asked for.
#[derive(Debug)]
pub struct ReloadRequest {
    answer: channel::Sender<Reloaded>,
}

impl ReloadRequest {
    /// Says what came of it.
    pub fn answer(self, reloaded: Reloaded) {
        // Whoever asked may not be there any more.
        _ = self.answer.try_send(reloaded);
    }
}

/// Between the two.
pub(super) struct Asking {
    requests: (channel::Sender<ReloadRequest>, channel::Receiver<ReloadRequest>),
    is_followed: AtomicBool,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self { requests: channel::bounded(1), is_followed: AtomicBool::new(false) }
    }

    /// Waits until somebody asks.
    pub(super) async fn next(&self) -> Option<ReloadRequest> {
        self.is_followed.store(true, Ordering::Release);
        self.requests.1.recv().await.ok()
    }

    /// Asks; none if nobody would do it.
    pub(super) async fn ask(&self) -> Option<Reloaded> {
        if !self.is_followed.load(Ordering::Acquire) {
            return None;
        }
        let (answer, answered) = channel::bounded(1);
        self.requests.0.send(ReloadRequest { answer }).await.ok()?;
        answered.recv().await.ok()
    }
}
