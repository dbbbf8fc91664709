//! One client's connection: packets in, bytes out.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls_client::ClientConfig;

use super::socket::Socket;
use crate::frames::{Frame, walk};

#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    /// The beginning of a packet that has not come whole.
    carried: Vec<u8>,
    /// What is to be written, and how much of it was.
    out: Vec<u8>,
    written: usize,
}

impl Link {
    pub(super) fn open(broker: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let socket = Socket::open(broker, tls)?;
        Ok(Self { socket, carried: Vec::new(), out: Vec::new(), written: 0 })
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        self.socket.tcp()
    }

    /// Where to put packets that the next [`Self::flush`] writes.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether the socket would not take all.
    pub(super) fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes as much as the socket takes. To be called again when it takes more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        loop {
            let rest = self.out.get(self.written..).unwrap_or_default();
            let written = self.socket.write(rest)?;
            self.written += written;
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                return Ok(());
            }
            if written == 0 {
                return Ok(());
            }
        }
    }

    /// Reads all there is, and calls `each` with every packet that is whole, and with where answers go.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut each: impl FnMut(Frame<'_>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let too_long = || io::Error::other("a packet longer than the client's buffer");
        loop {
            let carried = self.carried.len();
            buffer.get_mut(..carried).ok_or_else(too_long)?.copy_from_slice(&self.carried);
            let room = buffer.get_mut(carried..).filter(|room| !room.is_empty()).ok_or_else(too_long)?;
            let room_bytes = room.len();
            let Some(read) = self.socket.read(room)? else { return Ok(()) };
            let filled = buffer.get(..carried + read).unwrap_or_default();
            let walked = walk(filled, |frame| each(frame, &mut self.out))?;
            self.carried.clear();
            self.carried.extend_from_slice(filled.get(walked..).unwrap_or_default());
            if self.socket.is_drained_by(read, room_bytes) {
                return Ok(());
            }
        }
    }
}
