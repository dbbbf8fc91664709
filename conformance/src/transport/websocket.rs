//! WebSocket over TCP or TLS, with tungstenite.

use std::fmt;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tungstenite::client::ClientRequestBuilder;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeRole;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::{HeaderValue, Uri};
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::{Bytes, Error, HandshakeError, Message};

use super::{Transport, lock};

/// The subprotocol that a client offers [MQTT-6.0.0-3] and a broker selects [MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";

const PROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";

/// How many times as long as its next bytes a whole frame may take.
const PATIENCE: u32 = 4;

/// How WebSocket is spoken with one broker.
#[derive(Clone, Debug)]
pub struct WebSocket {
    uri: Uri,
}

impl WebSocket {
    /// With the broker at `ws://host:port/path` or `wss://…`; none if that is no URI.
    pub(crate) fn at(uri: &str) -> Option<Self> {
        Some(WebSocket { uri: uri.parse().ok()? })
    }

    /// The path asked for.
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(super) fn shake_hands(&self, below: Arc<dyn Transport>, deadline: Duration) -> io::Result<Framed> {
        below.set_read_timeout(Some(deadline))?;
        let request = ClientRequestBuilder::new(self.uri.clone()).with_sub_protocol(SUBPROTOCOL);
        let (socket, _) =
            tungstenite::client(request, Below::patient(&below, deadline)).map_err(no_handshake)?;
        Framed::over(below, socket, Role::Client)
    }
}

/// The other end of a connection: shakes hands with a client. `selects` is asked for the subprotocol if the client offers
/// `mqtt`.
///
/// # Errors
/// The client does not speak WebSocket, or not in time.
pub(crate) fn let_in(
    below: Arc<dyn Transport>,
    deadline: Duration,
    selects: impl FnOnce() -> Option<&'static str>,
) -> io::Result<Arc<dyn Transport>> {
    #[expect(clippy::result_large_err, reason = "tungstenite's callback")]
    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let offers = |value: &HeaderValue| {
            value.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL))
        };
        if request.headers().get_all(PROTOCOL_HEADER).iter().any(offers)
            && let Some(Ok(name)) = selects().map(HeaderValue::from_str)
        {
            response.headers_mut().insert(PROTOCOL_HEADER, name);
        }
        Ok(response)
    };
    below.set_read_timeout(Some(deadline))?;
    let socket = tungstenite::accept_hdr(Below::patient(&below, deadline), answer).map_err(no_handshake)?;
    Ok(Arc::new(Framed::over(below, socket, Role::Server)?))
}

fn no_handshake<R: HandshakeRole>(error: HandshakeError<R>) -> io::Error {
    let (kind, why) = match error {
        HandshakeError::Interrupted(_) => (io::ErrorKind::TimedOut, "no answer in time".to_owned()),
        HandshakeError::Failure(Error::Io(error)) => (error.kind(), error.to_string()),
        HandshakeError::Failure(Error::Http(answer)) => {
            let status = answer.status();
            (io::ErrorKind::ConnectionRefused, format!("HTTP {status} instead of 101: is it another path?"))
        }
        HandshakeError::Failure(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error))) => {
            let must = "the broker must select the subprotocol `mqtt` [MQTT-6.0.0-4]";
            (io::ErrorKind::InvalidData, format!("{must}: {error}"))
        }
        HandshakeError::Failure(error) => (io::ErrorKind::ConnectionAborted, error.to_string()),
    };
    io::Error::new(kind, format!("no WebSocket handshake: {why}"))
}

/// The bytes of the binary frames of a WebSocket connection.
///
/// Both directions have an end of tungstenite's of their own: a broker that waits until it is read from does not keep the
/// reading thread from doing so. What the reading end has to answer goes out whole between the frames of the other.
#[derive(Debug)]
pub(super) struct Framed {
    below: Arc<dyn Transport>,
    reading: Mutex<Reading>,
    /// Held for a whole write.
    writing: Mutex<tungstenite::WebSocket<Below>>,
    /// How long a read waits.
    timeout: Mutex<Option<Duration>>,
}

struct Reading {
    socket: tungstenite::WebSocket<Below>,
    /// What of the last message is not read yet.
    came: Bytes,
    /// The last text that came.
    refused: Option<Bytes>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("came", &self.came.len()).finish_non_exhaustive()
    }
}

impl Framed {
    fn over(
        below: Arc<dyn Transport>,
        socket: tungstenite::WebSocket<Below>,
        role: Role,
    ) -> io::Result<Self> {
        let end = Below { transport: below.clone(), until: None, seams: Seams::default() };
        let writing = Mutex::new(tungstenite::WebSocket::from_raw_socket(end, role, None));
        let mut socket = socket;
        socket.get_mut().seams = Seams { are_sought: true, ..Seams::default() };
        let reading = Mutex::new(Reading { socket, came: Bytes::new(), refused: None });
        let framed = Framed { below, reading, writing, timeout: Mutex::default() };
        framed.set_read_timeout(None)?;
        Ok(framed)
    }

    fn send(&self, message: Message) -> io::Result<()> {
        lock(&self.writing).send(message).map_err(broken)
    }
}

impl Transport for Framed {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Reading { socket, came, refused } = &mut *lock(&self.reading);
        socket.get_mut().until = lock(&self.timeout).map(|time| Instant::now() + time * PATIENCE);
        while came.is_empty() {
            match socket.read() {
                Ok(Message::Binary(bytes)) => *came = bytes,
                Ok(Message::Text(text)) => {
                    *refused = Some(text.into());
                    return Err(invalid(
                        "it sends a text frame, and only binary ones carry MQTT [MQTT-6.0.0-1]",
                    ));
                }
                // Nothing can follow, and who closes below is WebSocket's business.
                Ok(Message::Close(_)) => {
                    let _ = socket.flush();
                    return Ok(0);
                }
                Ok(_) => {}
                // Many brokers end a connection without saying so in WebSocket.
                Err(
                    Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => return Ok(0),
                Err(error) => return Err(broken(error)),
            }
        }
        let piece = came.split_to(came.len().min(buffer.len()));
        buffer.iter_mut().zip(&piece).for_each(|(to, from)| *to = *from);
        Ok(piece.len())
    }

    /// One binary frame.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.send(Message::binary(bytes.to_vec()))
    }

    /// One text frame. What is no UTF-8 cannot go into one.
    fn write_text(&self, bytes: &[u8]) -> io::Result<()> {
        let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
        self.send(Message::text(text))
    }

    fn write_fragments(&self, bytes: &[u8], most: usize) -> io::Result<()> {
        let mut pieces = bytes.chunks(most.max(1)).peekable();
        let mut kind = Data::Binary;
        let writing = &mut *lock(&self.writing);
        while let Some(piece) = pieces.next() {
            let frame = Frame::message(piece.to_vec(), OpCode::Data(kind), pieces.peek().is_none());
            writing.send(Message::Frame(frame)).map_err(broken)?;
            kind = Data::Continue;
        }
        Ok(())
    }

    fn saw_fragments(&self) -> bool {
        std::mem::take(&mut lock(&self.reading).socket.get_mut().seams.seen)
    }

    fn refused_text(&self) -> Option<Vec<u8>> {
        lock(&self.reading).refused.take().map(Vec::from)
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        *lock(&self.timeout) = time;
        self.below.set_read_timeout(time)
    }

    /// Below, without WebSocket's goodbye: it is the network that goes away.
    fn finish(&self) -> io::Result<()> {
        self.below.finish()
    }

    fn close(&self) {
        self.below.close();
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => invalid(error.to_string()),
    }
}

/// The connection below, as tungstenite wants it.
#[derive(Debug)]
struct Below {
    transport: Arc<dyn Transport>,
    /// When what is being read is given up: tungstenite reads on until a frame is whole.
    until: Option<Instant>,
    seams: Seams,
}

impl Below {
    /// For a handshake.
    fn patient(transport: &Arc<dyn Transport>, deadline: Duration) -> Self {
        let until = Some(Instant::now() + deadline * PATIENCE);
        Below { transport: transport.clone(), until, seams: Seams::default() }
    }
}

/// Finds frames that continue a message, which tungstenite tells nobody of.
#[derive(Debug, Default)]
struct Seams {
    /// There are none in a handshake.
    are_sought: bool,
    /// What came of a header.
    header: Vec<u8>,
    /// What is still to come of a payload.
    left: u64,
    seen: bool,
}

impl Seams {
    fn see(&mut self, mut bytes: &[u8]) {
        while self.are_sought {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.left -= skipped as u64;
            let Some((first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.header.push(*first);
            match FrameHeader::parse(&mut Cursor::new(&self.header)) {
                Ok(None) => continue,
                Ok(Some((header, length))) => {
                    self.left = length;
                    self.seen |= header.opcode == OpCode::Data(Data::Continue);
                }
                // tungstenite will say so.
                Err(_) => self.are_sought = false,
            }
            self.header.clear();
        }
    }
}

impl Read for Below {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.transport.read(buffer)?;
        self.seams.see(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

impl Write for Below {
    /// All of it, so that frames stay whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transport.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
