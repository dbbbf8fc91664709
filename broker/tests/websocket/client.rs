//! A blocking client of tungstenite's, and a broker for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use sol::config::{Listener, WebSocket};
use sol::{Broker, Config, Limits};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Error, Message};

use crate::common::{Client, connect};

pub(crate) const ANY: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0));

/// The path `/mqtt`, from anywhere.
pub(crate) fn terms() -> WebSocket {
    WebSocket { path: Some("/mqtt".to_owned()), ..WebSocket::default() }
}

pub(crate) fn listener(terms: WebSocket) -> Listener {
    Listener { websocket: Some(terms), ..Listener::from(ANY) }
}

pub(crate) fn broker(limits: Limits) -> Broker {
    Broker::start(Config { listeners: vec![listener(terms())], limits, ..Config::default() }).unwrap()
}

/// The bytes of binary frames: a write is a frame.
pub(crate) struct Frames<S> {
    pub(crate) socket: tungstenite::WebSocket<S>,
    came: Bytes,
    /// How many binary frames came.
    pub(crate) frames: usize,
    /// What a pong brought back last.
    pub(crate) pong: Option<Bytes>,
    /// The code of the broker's close frame.
    pub(crate) closed: Option<u16>,
}

impl<S: Read + Write> Frames<S> {
    pub(crate) fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// A frame, which is a message, the first or the next of one.
    pub(crate) fn part(&mut self, kind: Data, is_last: bool, payload: &[u8]) {
        let frame = Frame::message(payload.to_vec(), OpCode::Data(kind), is_last);
        self.send(Message::Frame(frame));
    }

    /// Bytes that need be no frames.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).unwrap();
    }
}

impl<S: Read + Write> Read for Frames<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.came.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => {
                    self.frames += 1;
                    self.came = bytes;
                }
                Ok(Message::Pong(bytes)) => self.pong = Some(bytes),
                Ok(Message::Close(close)) => self.closed = close.map(|CloseFrame { code, .. }| code.into()),
                Ok(other) => panic!("{other:?} from the broker"),
                Err(Error::ConnectionClosed) => return Ok(0),
                Err(Error::Io(error)) => return Err(error),
                // Without a close frame, or a TLS connection without its own.
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        let piece = self.came.split_to(self.came.len().min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

impl<S: Read + Write> Write for Frames<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(Message::binary(bytes.to_vec())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shakes hands over a stream, offering `mqtt`.
pub(crate) fn over<S: Read + Write>(stream: S, url: &str) -> Client<Frames<S>> {
    let request = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol("mqtt");
    let Ok((socket, response)) = tungstenite::client(request, stream) else { panic!("no handshake") };
    assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
    Client::over(Frames { socket, came: Bytes::new(), frames: 0, pong: None, closed: None })
}

/// After the handshake.
pub(crate) fn open(address: SocketAddr) -> Client<Frames<TcpStream>> {
    over(tcp(address), &format!("ws://{address}/mqtt"))
}

/// Connected, with a clean session.
pub(crate) fn client(address: SocketAddr, client_id: &str) -> Client<Frames<TcpStream>> {
    let mut client = open(address);
    client.say_connect(connect(client_id), false);
    client
}

/// A stream with the usual patience.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    Client::<TcpStream>::open(address).stream
}

/// All that comes until the end, which must be no reset.
pub(crate) fn all(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// There is nobody who shakes hands.
pub(crate) fn refused(address: SocketAddr) {
    let request = ClientRequestBuilder::new(format!("ws://{address}/mqtt").parse().unwrap());
    assert!(tungstenite::client(request, tcp(address)).is_err());
}
