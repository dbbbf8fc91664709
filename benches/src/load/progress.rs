//! How far a run has come, and what may go out next: what its tasks tell each other, all on one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::Duration;

use smol::Timer;

use super::AHEAD;

#[derive(Debug)]
pub(super) struct Progress {
    /// To publish.
    pub(super) messages: u64,
    /// Deliveries of each message.
    receivers: u64,
    /// Messages that may be sent and not completed.
    window: u64,
    counts: Cell<Counts>,
    sender: RefCell<Option<Waker>>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// PUBLISHes sent.
    pub(super) sent: u64,
    /// PUBRECs that have come.
    pub(super) recorded: u64,
    /// PUBRELs sent.
    pub(super) released: u64,
    /// Messages with which the publisher is done: sent at QoS 0, fully acknowledged at QoS 1 and 2.
    pub(super) completed: u64,
    /// Messages that have come to subscribers.
    pub(super) delivered: u64,
}

/// What the publisher does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send so many PUBRELs.
    Release(u64),
    /// Send so many PUBLISHes.
    Publish(u64),
    /// All are sent and acknowledged.
    Done,
}

impl Progress {
    pub(super) fn new(messages: u64, receivers: u64, window: u64) -> Self {
        Self { messages, receivers, window, counts: Cell::default(), sender: RefCell::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Counts on, and lets the publisher look at it.
    pub(super) fn add(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    /// Waits until there is something to do for the publisher, the only one who may ask.
    pub(super) async fn next(&self) -> Next {
        poll_fn(|cx| match self.try_next() {
            Some(next) => Poll::Ready(next),
            None => {
                self.sender.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    fn try_next(&self) -> Option<Next> {
        let Counts { sent, recorded, released, completed, delivered } = self.counts();
        let in_flight = sent - completed;
        let owed = sent * self.receivers - delivered;
        if recorded > released {
            Some(Next::Release(recorded - released))
        } else if completed == self.messages {
            Some(Next::Done)
        } else if sent < self.messages && in_flight <= self.window / 2 && owed <= AHEAD / 2 {
            let room = (self.window - in_flight).min((AHEAD - owed) / self.receivers);
            Some(Next::Publish(room.min(self.messages - sent)))
        } else {
            None
        }
    }

    /// Ends when nothing has happened for so long.
    pub(super) async fn stalled<T>(&self, timeout: Duration) -> io::Result<T> {
        loop {
            let before = self.counts();
            Timer::after(timeout).await;
            if self.counts() == before {
                let (messages, due) = (self.messages, self.messages * self.receivers);
                let what = format!(
                    "nothing came for {timeout:?}, of {messages} messages and {due} deliveries: {before:?}"
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use smol::block_on;

    use super::*;

    fn next(messages: u64, receivers: u64, counts: Counts) -> Option<Next> {
        let progress = Progress::new(messages, receivers, 100);
        progress.add(|now| *now = counts);
        progress.try_next()
    }

    #[test]
    fn the_publisher_keeps_its_limits() {
        let counts = Counts { sent: 60, completed: 9, delivered: 60, ..Counts::default() };
        assert_eq!(next(1000, 1, counts), None);
        assert_eq!(next(1000, 1, Counts { completed: 10, ..counts }), Some(Next::Publish(50)));
        assert_eq!(next(70, 1, Counts { completed: 10, ..counts }), Some(Next::Publish(10)));

        let counts = Counts { sent: 200, completed: 200, delivered: 100 * 100 - 1, ..Counts::default() };
        assert_eq!(next(1000, 100, counts), None);
        assert_eq!(next(1000, 100, Counts { delivered: 100 * 150, ..counts }), Some(Next::Publish(100)));
        assert_eq!(next(200, 100, counts), Some(Next::Done));
        assert_eq!(next(200, 100, Counts { recorded: 3, released: 1, ..counts }), Some(Next::Release(2)));
    }

    #[test]
    fn a_message_lost_is_an_error() {
        let progress = Progress::new(5, 2, 100);
        progress.add(|counts| counts.delivered = 9);
        let error = block_on(progress.stalled::<()>(Duration::from_millis(1))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("10 deliveries"), "{error}");
    }
}
