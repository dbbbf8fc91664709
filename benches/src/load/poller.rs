//! Which connections have something to do: epoll, edge-triggered, so that each is registered once.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Events taken at a time.
const EVENTS: usize = 1024;
/// epoll counts whole milliseconds. A wait that may be so short is made in nanoseconds, by one more system call.
const SHORT: Duration = Duration::from_millis(50);

pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    pub(super) fn add(&self, socket: &TcpStream, key: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), flags)?)
    }

    /// Waits until something is ready, or for so long. Gives how many are: see [`Self::key`].
    pub(super) fn wait(&mut self, longest: Duration) -> io::Result<usize> {
        let mut milliseconds = longest.as_millis();
        if !longest.is_zero() && longest < SHORT {
            let nanoseconds = i64::from(longest.subsec_nanos());
            let timeout = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
            match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => return Ok(0),
                ready => ready?,
            };
            milliseconds = 0;
        }
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        let timeout = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Err(Errno::INTR) => Ok(0),
            ready => Ok(ready?),
        }
    }

    /// The key of one of those that were ready.
    pub(super) fn key(&self, ready: usize) -> Option<usize> {
        self.events.get(ready).and_then(|event| usize::try_from(event.data.u64()).ok())
    }
}
