//! What `store::sync` gives, with the scheduler of shuttle underneath. Nothing here ever times out, so
//! that whoever was to be woken and is not, is found: it sleeps for ever.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub(super) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(super) use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

/// What is wrong with the locks, to show that it is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Whoever waits for a condition is not told.
    Silent,
    /// Exclusive locks exclude nobody.
    Open,
}

thread_local! {
    /// All threads of a schedule run on that of the test.
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

/// Makes it so for this test.
pub(super) fn set_fault(fault: Fault) {
    FAULT.set(fault);
}

#[derive(Default)]
pub(super) struct Mutex<T>(shuttle::sync::Mutex<T>);

/// Empty only while it waits for a condition.
pub(super) struct MutexGuard<'m, T>(Option<shuttle::sync::MutexGuard<'m, T>>);

impl<T> Mutex<T> {
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().unwrap()))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().unwrap()
    }
}

pub(super) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(super) fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub(super) fn notify_one(&self) {
        if FAULT.get() != Fault::Silent {
            self.0.notify_one();
        }
    }

    /// Until it is told, unless it is not to wait at all.
    pub(super) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, longest: Duration) {
        if !longest.is_zero() {
            guard.0 = guard.0.take().map(|guard| self.0.wait(guard).unwrap());
        }
    }
}

#[derive(Default)]
pub(super) struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap()
    }

    pub(super) fn write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        (FAULT.get() != Fault::Open).then(|| self.0.write().unwrap())
    }
}
