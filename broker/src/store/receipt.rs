//! What makes an acknowledgement true before the disk does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// Counts the messages of one batch that clients have yet to acknowledge. Once all did, nobody needs them any more, and
/// their publisher need not wait for the store.
#[derive(Debug)]
pub struct Receipt {
    /// Those, and one more until the batch is complete.
    owed: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Receipt {
    /// That of a batch that begins.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { owed: AtomicUsize::new(1), waiting: Mutex::default() })
    }

    /// A client is owed one more message.
    pub fn owe(&self) {
        self.owed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client acknowledged one, or the batch is complete.
    pub fn settle(&self) {
        if self.owed.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(waker) = self.waiting.lock().take()
        {
            waker.wake();
        }
    }

    /// Whether nothing is owed any more.
    pub fn is_settled(&self) -> bool {
        self.owed.load(Ordering::Acquire) == 0
    }

    /// Wakes when nothing is owed any more: at once if it is so.
    pub fn wake_after(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        // Whoever settles it now waits for the lock.
        if self.is_settled() {
            waker.wake_by_ref();
        } else if !waiting.as_ref().is_some_and(|before| before.will_wake(waker)) {
            *waiting = Some(waker.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_settled_once_the_batch_is_complete_and_all_is_acknowledged() {
        let receipt = Receipt::new();
        receipt.owe();
        receipt.owe();
        receipt.settle();
        receipt.settle();
        assert!(!receipt.is_settled(), "the batch may go on");
        receipt.settle();
        assert!(receipt.is_settled());
    }
}
