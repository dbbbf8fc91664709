//! Linux: epoll, edge-triggered.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use socket2::Socket;

use super::{EVENTS, Ready};

/// The key of the descriptor that ends a wait.
const NOTIFICATION: u64 = u64::MAX;

/// An epoll instance, and a descriptor to end its wait from another thread.
pub(in crate::net) struct Poller {
    epoll: OwnedFd,
    notification: OwnedFd,
}

impl Poller {
    pub(in crate::net) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let notification = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        // Edge-triggered, so that it is never read: each write is an edge.
        epoll::add(&epoll, &notification, EventData::new_u64(NOTIFICATION), EventFlags::IN | EventFlags::ET)?;
        Ok(Self { epoll, notification })
    }

    /// Reports each change of the socket's readiness under `key`, until [`Self::delete`].
    pub(in crate::net) fn add(&self, socket: &Socket, key: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), flags)?)
    }

    /// Nothing to do: an edge is reported whenever it comes.
    pub(in crate::net) fn rearm(&self, _: &Socket, _: usize, _read: bool, _write: bool) -> io::Result<()> {
        Ok(())
    }

    /// Reports the socket no more.
    pub(in crate::net) fn delete(&self, socket: &Socket) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Reports a socket no more that is closed next: that says it to the system, too, as long as no other descriptor is of
    /// the same socket.
    pub(in crate::net) fn close(&self, _: &Socket) {}

    /// Waits until a socket is ready, a notification comes or the time is over; adds the sockets to `ready`.
    pub(in crate::net) fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        // Whole milliseconds, rounded up: never early, and the older system call suffices.
        let timeout = timeout.map(|timeout| {
            let ms = i64::try_from(timeout.as_nanos().div_ceil(1_000_000))
                .unwrap_or(i64::MAX)
                .min(i32::MAX.into());
            Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }
        });
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        ready.extend(events.iter().filter(|event| event.data.u64() != NOTIFICATION).map(|event| Ready {
            key: usize::try_from(event.data.u64()).unwrap_or(usize::MAX),
            readable: { event.flags }.intersects(EventFlags::IN | ended),
            writable: { event.flags }.intersects(EventFlags::OUT | ended),
            ended: { event.flags }.intersects(ended),
        }));
        Ok(())
    }

    /// Ends the wait that is on, or the next one.
    pub(in crate::net) fn notify(&self) {
        // Fails only when the counter is full of notifications that are there already.
        _ = rustix::io::write(&self.notification, &1u64.to_ne_bytes());
    }
}
