//! Listening sockets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::RwLock;
use smol::channel;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::StartError;
use super::reactor::{Registered, Way};
use super::tls::Acceptor;
use super::unix::{self, SocketFile};
use crate::auth::{Access, Entrance};
use crate::config::{Endpoint, Listener, Proxy, WebSocket};
use crate::hub::Origin;

/// How often the other end of a silent connection is asked whether it is there, until it is given up.
const PROBES: u32 = 4;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// What Linux takes as the time before the first question.
const SILENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
/// Whether a connection has the options that the listening socket had when it came.
const INHERITS: bool = cfg!(target_os = "linux");

/// A socket that clients connect to. It may go from thread to thread.
pub(super) struct Listening {
    /// Before the socket: as long as that is open, the system gives no other file the same identity.
    _file: Option<SocketFile>,
    socket: Registered,
    /// The path of a UNIX socket.
    path: Option<Arc<Path>>,
    desk: Arc<Desk>,
    /// The keep alive of TCP that it has been set to, if it has.
    keep_alive: Option<Option<Duration>>,
    /// Whether that is so with all connections that are accepted from now on.
    is_inherited: bool,
    closing: channel::Receiver<Infallible>,
    /// Behind the socket, so that it is closed when this is dropped.
    _closed: channel::Sender<Infallible>,
}

/// Where the socket of a listener comes from.
pub(super) enum Source {
    New,
    /// New, on the port of a socket that is open still, and lets it have that ([`Handle::share_port`]).
    Beside,
    /// It is open already.
    Inherited(Socket),
}

/// The socket of a [`Listening`], for who changes and closes it from elsewhere.
#[derive(Clone)]
pub(super) struct Handle {
    /// Another descriptor of it.
    socket: Arc<Socket>,
    closing: channel::Sender<Infallible>,
    closed: channel::Receiver<Infallible>,
}

impl Handle {
    /// So many connections wait to be accepted from now on.
    pub(super) fn set_backlog(&self, backlog: u16) -> io::Result<()> {
        self.socket.listen(backlog.into())
    }

    /// Whether a socket that takes its place may be opened on the same port: on another address, and where the system can do
    /// so once the port is taken.
    pub(super) fn share_port(&self, shares: bool) -> io::Result<()> {
        share_port(&self.socket, shares)
    }

    /// Closes it, and returns when the thread that it was on has done so. It must be on one.
    pub(super) fn close(self) {
        self.closing.close();
        _ = self.closed.recv_blocking();
    }
}

/// What becomes of the connections of a listener: it may change while the socket stays.
pub(super) struct Desk {
    entrance: Arc<Entrance>,
    manner: RwLock<Arc<Manner>>,
}

/// What is spoken with a listener's clients beneath MQTT.
pub(super) struct Manner {
    pub(super) tls: Option<Acceptor>,
    pub(super) websocket: Option<Arc<WebSocket>>,
    /// Whether their connections begin with the PROXY protocol, and who may speak it.
    pub(super) proxy: Option<Proxy>,
}

impl Desk {
    /// How the hub knows it.
    pub(super) fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Where it is, as it is told.
    pub(super) fn name(&self) -> String {
        self.entrance.name.as_deref().cloned().unwrap_or_default()
    }

    pub(super) fn manner(&self) -> Arc<Manner> {
        Arc::clone(&self.manner.read())
    }

    /// For connections from now on.
    pub(super) fn change(&self, access: Access, manner: Manner) {
        *self.manner.write() = Arc::new(manner);
        self.entrance.change(access);
    }
}

impl Listening {
    /// Opens a listener's socket, or takes one. Gives also where it is: with the port taken for port 0.
    pub(super) fn open(
        listener: &Listener,
        source: Source,
        access: Access,
        manner: Manner,
    ) -> Result<(Self, Handle, Endpoint), StartError> {
        let Listener { endpoint, backlog, .. } = listener;
        let shares_port = matches!(source, Source::Beside);
        let inherited = if let Source::Inherited(socket) = source { Some(socket) } else { None };
        let open = move || -> io::Result<_> {
            let backlog = i32::from(*backlog);
            let (socket, file, endpoint) = match endpoint {
                Endpoint::Tcp(address) => {
                    let socket =
                        inherited.map_or_else(|| listen(*address, true, shares_port, backlog), Ok)?;
                    let address = socket.local_addr()?.as_socket().unwrap_or(*address);
                    (socket, None, Endpoint::Tcp(address))
                }
                Endpoint::Any(port) => {
                    let socket =
                        inherited.map_or_else(|| listen_everywhere(*port, shares_port, backlog), Ok)?;
                    let port = socket.local_addr()?.as_socket().map_or(*port, |address| address.port());
                    (socket, None, Endpoint::Any(port))
                }
                Endpoint::Unix { path, mode } => match inherited {
                    // Its file is whoever's who opened it.
                    Some(socket) => (socket, None, endpoint.clone()),
                    None => {
                        let (socket, file) = unix::listen(path, *mode, backlog)?;
                        (socket, Some(file), endpoint.clone())
                    }
                },
            };
            let path = match &endpoint {
                Endpoint::Unix { path, .. } => Some(path.as_path().into()),
                Endpoint::Tcp(_) | Endpoint::Any(_) => None,
            };
            let entrance = Entrance::new(endpoint.to_string(), access);
            let desk = Arc::new(Desk { entrance, manner: RwLock::new(Arc::new(manner)) });
            socket.set_nonblocking(true)?;
            if shares_port {
                share_port(&socket, false)?;
            }
            let ((close, closing), (done, closed)) = (channel::bounded(1), channel::bounded(1));
            let handle = Handle { socket: Arc::new(socket.try_clone()?), closing: close, closed };
            let listening = Self {
                _file: file,
                socket: Registered::apart(socket),
                path,
                desk,
                keep_alive: None,
                is_inherited: false,
                closing,
                _closed: done,
            };
            Ok((listening, handle, endpoint))
        };
        open().map_err(|source| StartError::Listen { endpoint: endpoint.clone(), source })
    }

    /// Joins this thread.
    pub(super) fn join(&mut self) -> io::Result<()> {
        self.socket.join()
    }

    /// Leaves this thread.
    pub(super) fn leave(&mut self) {
        self.socket.leave();
    }

    /// Gives nothing, and ends when the socket is to be closed.
    pub(super) fn closing(&self) -> channel::Receiver<Infallible> {
        self.closing.clone()
    }

    /// Ready when a connection may be there.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(cx, Way::Read)
    }

    /// Accepts the next connection, if there is one: where it comes from, and its socket, which does not block.
    pub(super) fn accept(&mut self) -> io::Result<Option<(Socket, Option<Origin>)>> {
        loop {
            match accept(self.socket.socket()) {
                Ok((socket, address)) => return Ok(Some((socket, self.origin(address)))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.exhausted(Way::Read);
                    self.is_inherited = INHERITS && self.keep_alive.is_some();
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the options of a socket that was accepted here.
    pub(super) fn prepare(&mut self, socket: &Socket, keep_alive: Option<Duration>) -> io::Result<()> {
        if self.path.is_some() {
            return Ok(());
        }
        // Once for all to come; those that wait already may not have it.
        if INHERITS && self.keep_alive != Some(keep_alive) {
            self.is_inherited = false;
            set_options(self.socket.socket(), keep_alive)?;
            self.keep_alive = Some(keep_alive);
        }
        if self.is_inherited { Ok(()) } else { set_options(socket, keep_alive) }
    }

    /// Where a connection accepted here comes from.
    fn origin(&self, address: Option<SocketAddr>) -> Option<Origin> {
        match &self.path {
            Some(path) => Some(Origin::Unix(Arc::clone(path))),
            None => address.map(|mut address| {
                // IPv4 over a socket for both.
                address.set_ip(address.ip().to_canonical());
                Origin::Tcp(address)
            }),
        }
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The handle has the socket, too, so that closing this descriptor of it says nothing.
        self.leave();
    }
}

#[cfg(target_os = "linux")]
fn accept(socket: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let (accepted, address) = acceptfrom_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    Ok((accepted.into(), address.and_then(|address| address.try_into().ok())))
}

#[cfg(not(target_os = "linux"))]
fn accept(socket: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (accepted, address) = socket.accept()?;
    accepted.set_nonblocking(true)?;
    Ok((accepted, address.as_socket()))
}

fn set_options(socket: &Socket, keep_alive: Option<Duration>) -> io::Result<()> {
    // Batches are as large as they can be already; what is small should not wait.
    socket.set_tcp_nodelay(true)?;
    let Some(silence) = keep_alive else { return socket.set_keepalive(false) };
    let silence = silence.clamp(*SILENCE.start(), *SILENCE.end());
    let probes = TcpKeepalive::new().with_time(silence).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)
}

/// Listens on a TCP port of all addresses: by one socket for IPv6 and IPv4, or where the system has no such thing, for
/// IPv4.
fn listen_everywhere(port: u16, shares_port: bool, backlog: i32) -> io::Result<Socket> {
    match listen((Ipv6Addr::UNSPECIFIED, port).into(), false, shares_port, backlog) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen((Ipv4Addr::UNSPECIFIED, port).into(), true, shares_port, backlog)
        }
        listening => listening,
    }
}

/// Listens on a TCP address; one of IPv6 maybe for IPv4, too.
pub(super) fn listen(
    address: SocketAddr,
    is_alone: bool,
    shares_port: bool,
    backlog: i32,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As mosquitto does: a restart must not wait for the old connections' last packets.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(is_alone)?;
    }
    if shares_port {
        share_port(&socket, true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Linux asks both sockets when the second is opened; others ask the first when it is, and it does not know yet.
#[cfg(target_os = "linux")]
fn share_port(socket: &Socket, shares: bool) -> io::Result<()> {
    socket.set_reuse_port(shares)
}

#[cfg(not(target_os = "linux"))]
fn share_port(_: &Socket, _: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::config::Config;

    const SILENCE: Option<Duration> = Some(Duration::from_secs(77));

    /// Connects, and gives the accepted socket.
    fn come(listening: &mut Listening, at: SocketAddr) -> Socket {
        let near = TcpStream::connect(at).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((socket, origin)) = listening.accept().unwrap() {
                assert_eq!(origin, Some(near.local_addr().unwrap().into()));
                assert!(socket.nonblocking().unwrap());
                return socket;
            }
            assert!(Instant::now() < deadline, "nobody came");
            thread::yield_now();
        }
    }

    fn has_options(socket: &Socket) -> bool {
        let has = (socket.tcp_nodelay().unwrap(), socket.keepalive().unwrap());
        assert_eq!(has.0, has.1);
        has.0 && socket.tcp_keepalive_time().unwrap() == SILENCE.unwrap()
    }

    #[test]
    fn connections_have_their_options_whether_they_came_before_these_were_set_or_after() {
        let config = Config::on("127.0.0.1:0".parse().unwrap());
        let manner = Manner { tls: None, websocket: None, proxy: None };
        let opened = Listening::open(&config.listeners[0], Source::New, Access::open(), manner);
        let (mut listening, _handle, Endpoint::Tcp(at)) = opened.unwrap() else { panic!("not TCP") };
        let first = come(&mut listening, at);
        assert!(!has_options(&first));
        listening.prepare(&first, SILENCE).unwrap();
        assert!(has_options(&first));
        assert!(listening.accept().unwrap().is_none());
        let second = come(&mut listening, at);
        assert_eq!(has_options(&second), INHERITS);
        listening.prepare(&second, SILENCE).unwrap();
        assert!(has_options(&second));
        listening.prepare(&second, None).unwrap();
        assert!(second.tcp_nodelay().unwrap() && !second.keepalive().unwrap());
    }

    #[test]
    fn who_closes_a_listener_waits_for_its_thread() {
        let config = Config::on("127.0.0.1:0".parse().unwrap());
        let manner = Manner { tls: None, websocket: None, proxy: None };
        let (listening, handle, _) =
            Listening::open(&config.listeners[0], Source::New, Access::open(), manner).unwrap();
        let thread = thread::spawn(move || {
            let closing = listening.closing();
            assert!(closing.recv_blocking().is_err());
            drop(listening);
        });
        handle.close();
        thread.join().unwrap();
    }
}
