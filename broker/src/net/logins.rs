//! Threads for verifying passwords, beside those that serve the connections, and behind them: a flood of logins can take
//! what time of the processors is left over, and no more. Where nothing is left over, a thread that is only less urgent
//! takes over, so that logins go on.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::error;
use smol::channel;
use smol::lock::{Semaphore, SemaphoreGuardArc};

use super::give_way;
use crate::auth::{Verdict, Verification};
use crate::hub::Limits;

/// After so long without a step of theirs somebody helps the threads.
const PATIENCE: Duration = Duration::from_millis(500);

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
    fn verify(self) {
        // Unless nobody waits for it any more.
        if !self.verdict.is_closed() {
            _ = self.verdict.try_send(self.verification.run());
        }
    }
}

/// Threads that begin when they are needed, and stay.
struct Threads {
    max: usize,
    started: AtomicUsize,
    logins: channel::Receiver<Login>,
    alarms: channel::Receiver<()>,
    start: Instant,
    /// When one of them last began or finished a login, in milliseconds since `start`.
    last_step: AtomicU64,
}

impl Threads {
    fn new(max: usize, logins: channel::Receiver<Login>, alarms: channel::Receiver<()>) -> Self {
        let (started, last_step) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { max, started, logins, alarms, start: Instant::now(), last_step }
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
            self.step();
            login.verify();
            self.step();
        }
    }

    /// Does what the others do not come to.
    fn help(&self) {
        give_way::to_most();
        while self.alarms.recv_blocking().is_ok() {
            while !self.logins.is_empty() {
                thread::sleep(PATIENCE);
                while self.is_stuck()
                    && let Ok(login) = self.logins.try_recv()
                {
                    login.verify();
                }
            }
        }
    }

    fn step(&self) {
        self.last_step.store(self.now(), Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let patience = PATIENCE.as_millis() as u64;
        self.now().saturating_sub(self.last_step.load(Ordering::Relaxed)) >= patience
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

    /// As if the system never let the threads run.
    #[test]
    fn a_login_that_nobody_comes_to_is_helped() {
        let (waiting, logins) = channel::unbounded();
        let (alarm, alarms) = channel::bounded(1);
        let threads = Arc::new(Threads::new(1, logins, alarms));
        threads.start("late", Threads::help).unwrap();
        let places = Arc::new(Semaphore::new(1));
        let (verdict, verdicts) = channel::bounded(1);
        let place = places.try_acquire_arc().unwrap();
        let table = Table::parse(&Path::new("passwd").into(), b"").unwrap();
        let verification = Verification::new(table.into(), "nobody", b"");
        waiting.try_send(Login { verification, verdict, _place: place }).unwrap();
        alarm.try_send(()).unwrap();
        assert!(matches!(verdicts.recv_blocking(), Ok(Verdict::UnknownUser)));
        drop((waiting, alarm));
    }
}
