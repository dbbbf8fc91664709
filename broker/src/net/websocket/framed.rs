//! MQTT over WebSocket, over whatever carries that.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tungstenite::protocol::frame::coding::CloseCode;

use super::decoder::{Decoded, Decoder};
use super::encoder::Encoder;
use super::failure::Failure;
use super::handshake::{self, Refusal};
use crate::config;
use crate::net::reactor::Until;
use crate::net::socket::Socket;

/// Reads in a turn: a client that sends nothing but empty frames and pings must not keep the thread.
const READS: usize = 4;
/// What the state of a connection takes, more or less.
const STATE_BYTES: usize = 512;

/// A WebSocket connection. The handshake is part of the first read, so that the deadline for CONNECT holds for both.
pub(in crate::net) struct Framed<S> {
    pub(super) socket: S,
    state: State,
    encoder: Encoder,
    /// To be told when what came before is read.
    end: Option<Result<(), Failure>>,
}

enum State {
    Handshake {
        terms: Arc<config::WebSocket>,
        /// What came of it.
        request: Vec<u8>,
    },
    Open(Decoder),
    /// Nothing is understood any more; what still comes is given as it is, to be thrown away. What the close frame is to
    /// say, if there were frames.
    Over(Option<CloseCode>),
}

impl<S: Socket> Framed<S> {
    pub(in crate::net) fn new(terms: Arc<config::WebSocket>, socket: S) -> Self {
        let state = State::Handshake { terms, request: Vec::new() };
        Self { socket, state, encoder: Encoder::default(), end: None }
    }

    /// What the bytes are: how many of MQTT lie in front now.
    fn receive(&mut self, buffer: &mut [u8], n: usize) -> usize {
        let n = match &mut self.state {
            State::Handshake { terms, request } => {
                let room = handshake::MAX_BYTES.saturating_sub(request.len());
                let before = request.len();
                request.extend_from_slice(buffer.get(..n.min(room)).unwrap_or_default());
                match handshake::answer(request, terms) {
                    Ok(None) if n >= room => return self.refuse(Refusal::TOO_LONG),
                    Ok(None) => return 0,
                    Ok(Some((length, response))) => {
                        self.encoder.answer(&response);
                        self.state = State::Open(Decoder::default());
                        let behind = length.saturating_sub(before)..n;
                        let rest = behind.len();
                        buffer.copy_within(behind, 0);
                        rest
                    }
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            _ => n,
        };
        let State::Open(decoder) = &mut self.state else { return n };
        let Decoded { payload, ping, end } = decoder.decode(buffer.get_mut(..n).unwrap_or_default());
        if let Some(ping) = ping {
            self.encoder.pong(ping);
        }
        match end {
            None => {}
            Some(Ok(code)) => {
                self.state = State::Over(Some(code));
                self.end = Some(Ok(()));
            }
            Some(Err(failure)) => {
                self.state = State::Over(failure.code);
                self.end = Some(Err(failure));
            }
        }
        payload
    }

    fn refuse(&mut self, refusal: Refusal) -> usize {
        self.encoder.answer(&refusal.response());
        self.state = State::Over(None);
        self.end = Some(Err(refusal.into()));
        0
    }

    /// Says that it is over, as far as that goes without waiting.
    fn close(&mut self) {
        match &self.state {
            State::Handshake { .. } | State::Over(None) => {}
            State::Open(_) => self.encoder.close(CloseCode::Normal),
            State::Over(Some(code)) => self.encoder.close(*code),
        }
        _ = self.encoder.poll_control(&mut self.socket, &mut Context::from_waker(Waker::noop()));
    }
}

impl<S: Socket> Socket for Framed<S> {
    fn extra_bytes(&self) -> usize {
        let request = match &self.state {
            State::Handshake { request, .. } => request.capacity(),
            _ => 0,
        };
        self.socket.extra_bytes() + STATE_BYTES + self.encoder.bytes() + request
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        for _ in 0..READS {
            if let Poll::Ready(Err(error)) = self.encoder.poll_control(&mut self.socket, cx) {
                return Poll::Ready(Err(error));
            }
            match self.end.take() {
                Some(Ok(())) => return Poll::Ready(Ok(0)),
                Some(Err(failure)) => return Poll::Ready(Err(failure.into())),
                None => {}
            }
            let n = ready!(self.socket.poll_recv(cx, buffer))?;
            if n == 0 {
                return Poll::Ready(Ok(0));
            }
            let payload = self.receive(buffer, n);
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.state {
            // Nobody is answered before the handshake, nor after it failed.
            State::Handshake { .. } | State::Over(None) => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
            _ => self.encoder.poll_data(&mut self.socket, cx, slices),
        }
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<()> {
        self.socket.poll_time(cx, until)
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.close();
        self.socket.shut_down()
    }

    fn take_user(&mut self) -> Option<Box<str>> {
        self.socket.take_user()
    }

    fn say_goodbye(&mut self) {
        self.close();
        self.socket.say_goodbye();
    }

    fn is_answered(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Over(Some(_)))
    }

    fn leave(&mut self) {
        self.socket.leave();
    }

    fn join(&mut self) -> io::Result<()> {
        self.socket.join()
    }
}
