//! What carries the bytes of a connection: TCP, a UNIX socket, TLS over TCP, WebSocket over TCP or TLS. Another way to a
//! broker joins here.

mod tls;
mod websocket;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

pub use tls::{Tls, TlsError, Trust};
pub use websocket::WebSocket;
pub(crate) use websocket::let_in;

/// Where a broker listens, and what is spoken there below MQTT.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Plain TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, Tls),
    /// A UNIX socket.
    Unix(PathBuf),
    /// WebSocket over one of the others.
    WebSocket(Box<Endpoint>, WebSocket),
}

impl Endpoint {
    /// Connects. Neither this nor any later write takes longer than `deadline` without getting on.
    ///
    /// # Errors
    /// Nobody answers, or not in TLS or WebSocket, or with a certificate that is not trusted. With
    /// [`io::ErrorKind::InvalidData`] the broker answers what it must not.
    pub fn connect(&self, deadline: Duration) -> io::Result<Arc<dyn Transport>> {
        let plain = |domain, address: &SockAddr| {
            let socket = Socket::new(domain, Type::STREAM, None)?;
            socket.connect_timeout(address, deadline)?;
            socket.set_write_timeout(Some(deadline))?;
            Ok::<_, io::Error>(Plain { socket, sending: Mutex::default() })
        };
        let tcp = |address: SocketAddr| {
            let plain = plain(Domain::for_address(address), &address.into())?;
            plain.socket.set_tcp_nodelay(true)?;
            Ok::<_, io::Error>(plain)
        };
        Ok(match self {
            Endpoint::Tcp(address) => Arc::new(tcp(*address)?),
            Endpoint::Tls(address, tls) => Arc::new(tls.shake_hands(tcp(*address)?, deadline)?),
            Endpoint::Unix(path) => Arc::new(plain(Domain::UNIX, &SockAddr::unix(path)?)?),
            Endpoint::WebSocket(below, websocket) => {
                Arc::new(websocket.shake_hands(below.connect(deadline)?, deadline)?)
            }
        })
    }
}

impl Endpoint {
    /// The port, where there is such a thing.
    pub fn port(&self) -> Option<u16> {
        match self {
            Endpoint::Tcp(address) | Endpoint::Tls(address, _) => Some(address.port()),
            Endpoint::Unix(_) => None,
            Endpoint::WebSocket(below, _) => below.port(),
        }
    }

    /// The same at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let mut endpoint = self.clone();
        match &mut endpoint {
            Endpoint::Tcp(address) | Endpoint::Tls(address, _) => address.set_port(port),
            Endpoint::Unix(_) => {}
            Endpoint::WebSocket(below, _) => **below = below.with_port(port),
        }
        endpoint
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Endpoint::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Tls(address, _) => write!(f, "{address} (TLS)"),
            Endpoint::Unix(path) => path.display().fmt(f),
            Endpoint::WebSocket(below, websocket) => write!(f, "{below} (WebSocket, {})", websocket.path()),
        }
    }
}

/// An open connection. One thread reads while others write.
pub trait Transport: fmt::Debug + Send + Sync {
    /// The next bytes; none is the end.
    ///
    /// # Errors
    /// The connection breaks, or [`Transport::set_read_timeout`] has been reached. [`io::ErrorKind::InvalidData`] is what
    /// the broker must not send there.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends all of these, and nothing of another thread's among them.
    ///
    /// # Errors
    /// The connection is closed, or takes nothing more in time.
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;

    /// Sends all of these as text, which is wrong where it can be done.
    ///
    /// # Errors
    /// As [`Transport::write_all`], or nothing tells text from other bytes here.
    fn write_text(&self, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only WebSocket knows text"))
    }

    /// Sends all of these as one message, in fragments of at most so many bytes.
    ///
    /// # Errors
    /// As [`Transport::write_all`], or there are no messages here.
    fn write_fragments(&self, _: &[u8], _: usize) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only WebSocket has messages in fragments"))
    }

    /// Whether a message in fragments came since this was asked last.
    fn saw_fragments(&self) -> bool {
        false
    }

    /// The text that [`Transport::read`] has refused last, for whoever wants it all the same. It gives it once.
    fn refused_text(&self) -> Option<Vec<u8>> {
        None
    }

    /// How long a read waits; none is without end.
    ///
    /// # Errors
    /// A time of 0.
    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()>;

    /// Says that no more bytes come from here. What the other side has to say can still be read.
    ///
    /// # Errors
    /// The connection is closed already.
    fn finish(&self) -> io::Result<()>;

    /// Ends the connection both ways, and with it a read that waits.
    fn close(&self);
}

/// The other end of a connection: the client's.
///
/// # Errors
/// It is closed already.
pub(crate) fn accepted(stream: TcpStream) -> io::Result<Arc<dyn Transport>> {
    stream.set_nodelay(true)?;
    Ok(Arc::new(Plain { socket: stream.into(), sending: Mutex::default() }))
}

/// Bytes as they stand.
#[derive(Debug)]
struct Plain {
    socket: Socket,
    /// Held for a whole write.
    sending: Mutex<()>,
}

impl Transport for Plain {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let _sending = lock(&self.sending);
        (&self.socket).write_all(bytes)
    }

    fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(time)
    }

    fn finish(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
