//! Large reads, taken apart into packets.

use std::io;
use std::net::TcpStream;

use smol::Async;
use smol::io::AsyncReadExt;

use crate::frames::{Frame, walk};

const READ_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Reader {
    buffer: Box<[u8]>,
    /// How many bytes at the beginning of the buffer are part of a packet.
    carried: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES].into(), carried: 0 }
    }

    /// Reads once, and calls `each` with every packet that is whole now.
    pub(super) async fn read(
        &mut self,
        mut stream: &Async<TcpStream>,
        each: impl FnMut(Frame<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let free = self.buffer.get_mut(self.carried..).unwrap_or_default();
        let read = stream.read(free).await?;
        if read == 0 {
            // Of the broker, or of the buffer: no packet of a load is as long as that.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let filled = self.carried + read;
        let walked = walk(self.buffer.get(..filled).unwrap_or_default(), each)?;
        self.buffer.copy_within(walked..filled, 0);
        self.carried = filled - walked;
        Ok(())
    }
}
