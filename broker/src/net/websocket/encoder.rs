//! Frames to a client.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::net::socket::Socket;

/// The most that one frame carries: what a length of two bytes can say.
const FRAME_BYTES: usize = u16::MAX as usize;
/// An idle client keeps no larger buffer. Headers of data frames are shorter.
const IDLE_BYTES: usize = 16;
/// At most this many pieces go into one vectored write, the header among them.
const SLICES: usize = 33;

/// Writes binary frames around the bytes of MQTT, and the rest between them. A frame has as many bytes as there are to be
/// written when it begins, whatever packets they belong to [MQTT-6.0.0-2].
#[derive(Default)]
pub(super) struct Encoder {
    /// To be written before anything else: the header of a data frame, whole control frames, an answer in HTTP.
    head: Vec<u8>,
    /// Bytes of `head` that the socket has.
    written: usize,
    /// Bytes that the data frame still has to get.
    body: usize,
    /// What the last ping wants to have back. Those before need no answer.
    pong: Option<Vec<u8>>,
    is_closed: bool,
}

impl Encoder {
    /// Memory it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.head.capacity() + self.pong.as_ref().map_or(0, Vec::capacity)
    }

    /// What goes out before there are frames.
    pub(super) fn answer(&mut self, response: &[u8]) {
        self.head.extend_from_slice(response);
    }

    pub(super) fn pong(&mut self, payload: Vec<u8>) {
        self.pong = Some(payload);
    }

    /// Nothing follows this. There is none within a data frame.
    pub(super) fn close(&mut self, code: CloseCode) {
        if self.body == 0 && !std::mem::replace(&mut self.is_closed, true) {
            self.control(Control::Close, &u16::from(code).to_be_bytes());
        }
    }

    fn control(&mut self, kind: Control, payload: &[u8]) {
        self.header(OpCode::Control(kind), payload.len());
        self.head.extend_from_slice(payload);
    }

    fn header(&mut self, opcode: OpCode, length: usize) {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        // A vector takes everything.
        _ = header.format(u64::try_from(length).unwrap_or(u64::MAX), &mut self.head);
    }

    /// Writes what is no data. Ready when there is no more of it, or it must wait for a data frame's end.
    pub(super) fn poll_control(
        &mut self,
        socket: &mut impl Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.body == 0 {
            if self.head.is_empty() {
                match self.pong.take().filter(|_| !self.is_closed) {
                    Some(payload) => self.control(Control::Pong, &payload),
                    None => break,
                }
            }
            let rest = IoSlice::new(self.head.get(self.written..).unwrap_or_default());
            match ready!(socket.poll_send(cx, &[rest]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => _ = self.advance(n),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As [`Socket::poll_send`]: only bytes of MQTT are counted.
    pub(super) fn poll_data(
        &mut self,
        socket: &mut impl Socket,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.body == 0 {
            ready!(self.poll_control(socket, cx))?;
            if self.is_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.body = slices.iter().map(|slice| slice.len()).sum::<usize>().min(FRAME_BYTES);
            self.header(OpCode::Data(Data::Binary), self.body);
        }
        loop {
            let mut pieces = [IoSlice::new(&[]); SLICES];
            let n = ready!(socket.poll_send(cx, self.pieces(slices, &mut pieces)))?;
            if n == 0 {
                return Poll::Ready(Ok(0));
            }
            let of_data = self.advance(n);
            if of_data > 0 {
                return Poll::Ready(Ok(of_data));
            }
        }
    }

    /// The next bytes of the data frame.
    fn pieces<'s, 'b>(&'s self, slices: &'s [IoSlice<'_>], room: &'b mut [IoSlice<'s>]) -> &'b [IoSlice<'s>] {
        let mut left = self.body;
        let data = slices.iter().map(|slice| {
            let piece = slice.get(..left).unwrap_or(slice);
            left -= piece.len();
            piece
        });
        let head = self.head.get(self.written..).unwrap_or_default();
        let pieces = std::iter::once(head).chain(data).filter(|piece| !piece.is_empty());
        let count = room.iter_mut().zip(pieces).map(|(place, piece)| *place = IoSlice::new(piece)).count();
        room.get(..count).unwrap_or_default()
    }

    /// The socket has so many bytes more. Gives how many of them are of MQTT.
    fn advance(&mut self, n: usize) -> usize {
        let of_head = n.min(self.head.len() - self.written);
        self.written += of_head;
        if self.written == self.head.len() {
            self.written = 0;
            self.head.clear();
            self.head.shrink_to(IDLE_BYTES);
        }
        let of_data = (n - of_head).min(self.body);
        self.body -= of_data;
        of_data
    }
}
