//! Threads for verifying passwords, beside those that serve the connections, and behind them: a flood of logins can take
//! what time of the processors is left over, and no more. Where nothing is left over, a thread that is only less urgent
//! does what they do not come to, or not to the end of, so that logins go on.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use log::error;
use smol::channel;
use smol::lock::{Semaphore, SemaphoreGuardArc};

use super::give_way;
use crate::auth::{Verdict, Verification};
use crate::hub::Limits;

/// After so long somebody helps the threads.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many logins may be at work and wait.
pub(super) struct Logins {
    places: Arc<Semaphore>,
    waiting: channel::Sender<Login>,
    /// That somebody waits.
    alarm: channel::Sender<()>,
    threads: Arc<Threads>,
}

struct Login {
    verification: Verification,
    verdict: channel::Sender<Verdict>,
    _place: SemaphoreGuardArc,
}

impl Logins {
    pub(super) fn new(limits: &Limits) -> Self {
        let max = limits.max_login_threads.get();
        let places = max.saturating_add(limits.max_waiting_logins);
        // There are never more in it than places.
        let (waiting, logins) = channel::unbounded();
        let (alarm, alarms) = channel::bounded(1);
        let threads = Arc::new(Threads::new(max, logins, alarms));
        Self { places: Arc::new(Semaphore::new(places)), waiting, alarm, threads }
    }

    /// Waits for a thread and lets it work. Once the future is dropped, the next thread that is free gives the place back;
    /// work that is begun is done.
    pub(super) fn verify(&self, verification: Verification) -> Pin<Box<dyn Future<Output = Verdict>>> {
        let Some(place) = self.places.try_acquire_arc() else {
            return Box::pin(ready(Verdict::NotVerified));
        };
        let (sender, verdict) = channel::bounded(1);
        let login = Login { verification, verdict: sender, _place: place };
        if self.waiting.try_send(login).is_ok() {
            self.threads.start_one_more();
            _ = self.alarm.try_send(());
        }
        Box::pin(async move { verdict.recv().await.unwrap_or(Verdict::NotVerified) })
    }
}

impl Login {
    fn verify(&self) {
        if !self.is_done() {
            _ = self.verdict.try_send(self.verification.run());
        }
    }

    /// It has its verdict, or nobody waits for that any more.
    fn is_done(&self) -> bool {
        self.verdict.is_full() || self.verdict.is_closed()
    }
}

/// What a thread is at, and since when.
type Begun = (Arc<Login>, Instant);

/// Threads that begin when they are needed, and stay.
struct Threads {
    max: usize,
    started: AtomicUsize,
    logins: channel::Receiver<Login>,
    alarms: channel::Receiver<()>,
    begun: Mutex<Vec<Begun>>,
    start: Instant,
    /// When one of them last began or finished a login, in milliseconds since `start`.
    last_step: AtomicU64,
}

impl Threads {
    fn new(max: usize, logins: channel::Receiver<Login>, alarms: channel::Receiver<()>) -> Self {
        let (started, begun, last_step) = Default::default();
        Self { max, started, logins, alarms, begun, start: Instant::now(), last_step }
    }

    /// Starts a thread if somebody waits and there may be one more.
    fn start_one_more(self: &Arc<Self>) {
        if self.logins.is_empty() {
            return;
        }
        let one_more = |started: usize| (started < self.max).then_some(started + 1);
        let Ok(started) = self.started.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) else {
            return;
        };
        if let Err(error) = self.start(&started.to_string(), Self::work) {
            error!("no thread for verifying passwords: {error}");
            if self.started.fetch_sub(1, Ordering::AcqRel) == 1 {
                // Nobody would come to it.
                _ = self.logins.try_recv();
            }
        } else if started == 0
            && let Err(error) = self.start("late", Self::help)
        {
            error!("no second thread for verifying passwords: {error}");
        }
    }

    fn start(self: &Arc<Self>, name: &str, run: fn(&Self)) -> io::Result<()> {
        let threads = Arc::clone(self);
        thread::Builder::new().name(format!("sol-login-{name}")).spawn(move || run(&threads))?;
        Ok(())
    }

    fn work(&self) {
        give_way::to_all();
        while let Ok(login) = self.logins.recv_blocking() {
            let login = Arc::new(login);
            self.step();
            self.begun().push((Arc::clone(&login), Instant::now()));
            login.verify();
            self.begun().retain(|(begun, _)| !Arc::ptr_eq(begun, &login));
            self.step();
        }
    }

    /// Does what the others do not come to, or not to the end of.
    fn help(&self) {
        give_way::to_most();
        while self.alarms.recv_blocking().is_ok() {
            while self.is_at_work() {
                thread::sleep(PATIENCE);
                while let Some(login) = self.stuck() {
                    login.verify();
                }
            }
        }
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for who helps. None if one of the others has it: it may well be stuck just there.
    fn try_begun(&self) -> Option<MutexGuard<'_, Vec<Begun>>> {
        match self.begun.try_lock() {
            Ok(begun) => Some(begun),
            Err(TryLockError::Poisoned(begun)) => Some(begun.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether anybody waits for a verdict.
    fn is_at_work(&self) -> bool {
        !self.logins.is_empty()
            || self.try_begun().is_none_or(|begun| begun.iter().any(|(login, _)| !login.is_done()))
    }

    /// A login that was begun and is not done, or one that nobody comes to.
    fn stuck(&self) -> Option<Arc<Login>> {
        let is_stuck = |(login, since): &&Begun| !login.is_done() && since.elapsed() >= PATIENCE;
        if let Some((login, _)) = self.try_begun().as_deref().and_then(|begun| begun.iter().find(is_stuck)) {
            return Some(Arc::clone(login));
        }
        let patience = PATIENCE.as_millis() as u64;
        let is_stuck = self.now().saturating_sub(self.last_step.load(Ordering::Relaxed)) >= patience;
        is_stuck.then(|| self.logins.try_recv().ok()).flatten().map(Arc::new)
    }

    fn step(&self) {
        self.last_step.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::Table;

    /// Of threads that the system never lets run: what waits for them or was begun by them, who waits for it, and what
    /// rings for help.
    fn stuck(has_begun: bool) -> (Arc<Threads>, channel::Receiver<Verdict>, channel::Sender<()>) {
        let (waiting, logins) = channel::unbounded();
        let (alarm, alarms) = channel::bounded(1);
        let threads = Arc::new(Threads::new(1, logins, alarms));
        let (verdict, verdicts) = channel::bounded(1);
        let place = Arc::new(Semaphore::new(1)).try_acquire_arc().unwrap();
        let table = Table::parse(&Path::new("passwd").into(), b"").unwrap();
        let verification = Verification::new(table.into(), "nobody", b"");
        let login = Login { verification, verdict, _place: place };
        if has_begun {
            threads.begun().push((login.into(), Instant::now()));
        } else {
            waiting.try_send(login).unwrap();
        }
        (threads, verdicts, alarm)
    }

    #[test]
    fn a_login_that_nobody_comes_to_or_ends_is_helped() {
        for has_begun in [false, true] {
            let (threads, verdicts, alarm) = stuck(has_begun);
            assert!(threads.is_at_work());
            threads.start("late", Threads::help).unwrap();
            alarm.try_send(()).unwrap();
            assert!(matches!(verdicts.recv_blocking(), Ok(Verdict::UnknownUser)));
            drop(verdicts);
            assert!(!threads.is_at_work());
        }
    }

    #[test]
    fn who_has_a_verdict_or_went_is_not_helped() {
        let (threads, verdicts, _alarm) = stuck(true);
        thread::sleep(PATIENCE);
        let login = threads.stuck().unwrap();
        login.verify();
        assert!(threads.stuck().is_none());
        assert!(verdicts.try_recv().is_ok());
        drop(verdicts);
        assert!(threads.stuck().is_none() && !threads.is_at_work());
    }
}
