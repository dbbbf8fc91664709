//! The locks of what is handed over between threads. A test puts others in their place, which try the orders that could be.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

pub(super) use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
