//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use async_io::Async;
use parking_lot::RwLock;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::StartError;
use super::tls::Acceptor;
use super::unix::{self, SocketFile};
use crate::auth::{Access, Entrance};
use crate::config::{Endpoint, Listener, Proxy, WebSocket};
use crate::hub::Origin;

/// A socket that clients connect to.
pub(super) struct Listening {
    /// Before the socket: as long as that is open, the system gives no other file the same identity.
    _file: Option<SocketFile>,
    socket: Arc<Async<Socket>>,
    /// The path of a UNIX socket.
    path: Option<Arc<Path>>,
    desk: Arc<Desk>,
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
        self.entrance.name.as_deref().unwrap_or_default().to_owned()
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
    /// Opens a listener's socket, or takes one that is open already. Gives also where it is: with the port taken for
    /// port 0.
    pub(super) fn open(
        listener: &Listener,
        inherited: Option<Socket>,
        access: Access,
        manner: Manner,
    ) -> Result<(Self, Endpoint), StartError> {
        let Listener { endpoint, backlog, .. } = listener;
        let open = move || -> io::Result<_> {
            let backlog = i32::from(*backlog);
            let (socket, file, endpoint) = match endpoint {
                Endpoint::Tcp(address) => {
                    let socket = inherited.map_or_else(|| listen(*address, true, backlog), Ok)?;
                    let address = socket.local_addr()?.as_socket().unwrap_or(*address);
                    (socket, None, Endpoint::Tcp(address))
                }
                Endpoint::Any(port) => {
                    let socket = inherited.map_or_else(|| listen_everywhere(*port, backlog), Ok)?;
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
            let socket = Arc::new(Async::new(socket)?);
            Ok((Self { _file: file, socket, path, desk }, endpoint))
        };
        open().map_err(|source| StartError::Listen { endpoint: endpoint.clone(), source })
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<(Socket, SockAddr)> {
        self.socket.read_with(Socket::accept).await
    }

    /// Where a connection accepted here comes from.
    pub(super) fn origin(&self, address: &SockAddr) -> Option<Origin> {
        match &self.path {
            Some(path) => Some(Origin::Unix(Arc::clone(path))),
            None => address.as_socket().map(|mut address| {
                // IPv4 over a socket for both.
                address.set_ip(address.ip().to_canonical());
                Origin::Tcp(address)
            }),
        }
    }

    pub(super) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(super) fn socket(&self) -> &Arc<Async<Socket>> {
        &self.socket
    }
}

/// Listens on a TCP port of all addresses: by one socket for IPv6 and IPv4, or where the system has no such thing, for
/// IPv4.
fn listen_everywhere(port: u16, backlog: i32) -> io::Result<Socket> {
    match listen((Ipv6Addr::UNSPECIFIED, port).into(), false, backlog) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen((Ipv4Addr::UNSPECIFIED, port).into(), true, backlog)
        }
        listening => listening,
    }
}

/// Listens on a TCP address; one of IPv6 maybe for IPv4, too.
pub(super) fn listen(address: SocketAddr, is_alone: bool, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As mosquitto does: a restart must not wait for the old connections' last packets.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(is_alone)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}
