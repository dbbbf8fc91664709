//! kqueue, event ports, IOCP, by way of `polling`.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use parking_lot::Mutex;
use polling::{Event, Events, PollMode};
use socket2::Socket;

use super::{EVENTS, Ready};

/// A poller of whatever kind the system has.
pub(in crate::net) struct Poller {
    poller: polling::Poller,
    /// Where the system writes; one thread waits, so the lock is never waited for.
    events: Mutex<Events>,
    mode: PollMode,
}

impl Poller {
    pub(in crate::net) fn new() -> io::Result<Self> {
        let poller = polling::Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        let events =
            Mutex::new(Events::with_capacity(NonZeroUsize::new(EVENTS).unwrap_or(NonZeroUsize::MIN)));
        Ok(Self { poller, events, mode })
    }

    /// Reports changes of the socket's readiness under `key`, until [`Self::delete`].
    pub(in crate::net) fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        // SAFETY: who adds a socket deletes it before it is closed (`Registered` in `reactor.rs`).
        #[expect(
            unsafe_code,
            reason = "polling asks for the promise that the socket is deleted before it closes"
        )]
        unsafe {
            self.poller.add_with_mode(socket, Event::all(key), self.mode)
        }
    }

    /// Asks for the next report where each asks for one.
    pub(in crate::net) fn rearm(
        &self,
        socket: &Socket,
        key: usize,
        read: bool,
        write: bool,
    ) -> io::Result<()> {
        if self.mode == PollMode::Edge {
            return Ok(());
        }
        self.poller.modify_with_mode(socket, Event::new(key, read, write), self.mode)
    }

    /// Reports the socket no more.
    pub(in crate::net) fn delete(&self, socket: &Socket) -> io::Result<()> {
        self.poller.delete(socket)
    }

    /// Reports a socket no more that is closed next.
    pub(in crate::net) fn close(&self, socket: &Socket) {
        // Fails for one that was never added.
        _ = self.poller.delete(socket);
    }

    /// Waits until a socket is ready, a notification comes or the time is over; adds the sockets to `ready`.
    pub(in crate::net) fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = self.events.lock();
        events.clear();
        match self.poller.wait(&mut events, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        ready.extend(events.iter().map(|event| Ready {
            key: event.key,
            readable: event.readable,
            writable: event.writable,
            // Not every system says.
            ended: event.readable,
        }));
        Ok(())
    }

    /// Ends the wait that is on, or the next one.
    pub(in crate::net) fn notify(&self) {
        // Fails only when the system has no room for a notification, and then there is one.
        _ = self.poller.notify();
    }
}
