//! The seam between connections and what carries their bytes.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use super::reactor::{Registered, Until, Way};

/// A two-way byte stream, of one thread at a time.
pub(super) trait Socket: Send + Unpin + 'static {
    /// Reads what is there; 0 is the end.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes what goes without waiting. If that is nothing, the next call begins with the same bytes.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Ready at the one time that the task waits for; it may change from call to call.
    fn poll_time(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<()>;

    /// Says that nothing more will be written.
    fn shut_down(&mut self) -> io::Result<()>;

    /// Memory it takes beside that of every connection, in bytes, more or less.
    fn extra_bytes(&self) -> usize {
        0
    }

    /// Who the other end is, as far as it has shown that by now; told once.
    fn take_user(&mut self) -> Option<Box<str>> {
        None
    }

    /// Says what the protocol says before the socket is closed.
    fn say_goodbye(&mut self) {}

    /// Whether the other end answers that, so that closing over its answer would reset the connection.
    fn is_answered(&self) -> bool {
        false
    }

    /// Leaves this thread, for [`Self::join`] on another.
    fn leave(&mut self);

    /// Joins this thread.
    fn join(&mut self) -> io::Result<()>;
}

/// MQTT over a plain socket, TCP or UNIX.
pub(super) struct Plain {
    registered: Registered,
}

impl Plain {
    pub(super) fn new(registered: Registered) -> Self {
        Self { registered }
    }

    pub(super) fn recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.poll_call(cx, Way::Read, || self.registered.socket().read(buffer)))?;
        if n < buffer.len() {
            self.registered.drained();
        }
        Poll::Ready(Ok(n))
    }

    pub(super) fn send(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Way::Write, || match slices {
            [one] => self.registered.socket().write(one),
            _ => self.registered.socket().write_vectored(slices),
        })
    }

    pub(super) fn until(&self, cx: &mut Context<'_>, until: Until) -> Poll<()> {
        self.registered.poll_time(cx, until)
    }

    pub(super) fn close_writing(&self) -> io::Result<()> {
        self.registered.socket().shutdown(Shutdown::Write)
    }

    /// Calls until it does something or the socket must be waited for.
    fn poll_call(
        &self,
        cx: &mut Context<'_>,
        way: Way,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.registered.poll_ready(cx, way))?;
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.registered.exhausted(way),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Socket for Plain {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.recv(cx, buffer)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.send(cx, slices)
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<()> {
        self.until(cx, until)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.close_writing()
    }

    fn leave(&mut self) {
        self.registered.leave();
    }

    fn join(&mut self) -> io::Result<()> {
        self.registered.join()
    }
}
