//! The seam between connections and what carries their bytes.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::task::{Context, Poll, ready};

use async_io::Async;

/// A two-way byte stream that is tried first and waited for only when it blocks.
pub(super) trait Socket: Unpin {
    /// Reads what is there; 0 is the end.
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes what goes without waiting.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Says that nothing more will be written.
    fn shut_down(&mut self) -> io::Result<()>;
}

/// MQTT over plain TCP.
pub(super) struct Tcp {
    stream: Async<TcpStream>,
    /// The last read emptied the receive buffer, so that another would only say so.
    drained: bool,
}

impl Tcp {
    pub(super) fn new(stream: Async<TcpStream>) -> Self {
        Self { stream, drained: true }
    }
}

impl Socket for Tcp {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.drained {
            ready!(self.stream.poll_readable(cx))?;
            self.drained = false;
        }
        loop {
            match self.stream.get_ref().read(buffer) {
                Ok(n) => {
                    self.drained = n < buffer.len();
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_readable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let written = match slices {
                [one] => self.stream.get_ref().write(one),
                _ => self.stream.get_ref().write_vectored(slices),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }
}
