//! Threads for verifying passwords, beside those that serve the connections, and behind them: a flood of logins can take
//! what time of the processors is left over, and no more.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use smol::lock::Semaphore;
use smol::unblock;

use crate::auth::{Verdict, Verification};
use crate::hub::Limits;

/// What the calling thread does, one of those of [`unblock`], is less urgent than what others do.
#[cfg(target_os = "linux")]
fn give_way() {
    use std::cell::Cell;

    const NICENESS: i32 = 10;
    thread_local! {
        static GIVES_WAY: Cell<bool> = const { Cell::new(false) };
    }
    if !GIVES_WAY.replace(true) {
        // Linux has a niceness for each thread. It may always be raised.
        _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

/// Elsewhere it would be that of the whole process.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// How many logins may be at work and wait.
pub(super) struct Logins {
    places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

impl Logins {
    pub(super) fn new(limits: &Limits) -> Self {
        let threads = limits.max_login_threads.get();
        Self {
            places: Arc::new(Semaphore::new(threads.saturating_add(limits.max_waiting_logins))),
            threads: Arc::new(Semaphore::new(threads)),
        }
    }

    /// Waits for a thread and lets it work. Dropping the future gives the place back; work that is begun is done.
    pub(super) fn verify(&self, verification: Verification) -> Pin<Box<dyn Future<Output = Verdict>>> {
        let Some(place) = self.places.try_acquire_arc() else {
            return Box::pin(ready(Verdict::NotVerified));
        };
        let threads = Arc::clone(&self.threads);
        Box::pin(async move {
            let thread = threads.acquire_arc().await;
            let work = move || {
                give_way();
                let verdict = verification.run();
                drop(thread);
                verdict
            };
            let verdict = unblock(work).await;
            drop(place);
            verdict
        })
    }
}
