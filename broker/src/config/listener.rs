//! A place to listen, and the rules that hold there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{DEFAULT_PORT, PublishRate};
pub use crate::auth::Identifiers;

/// A place to listen, and who is let in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub endpoint: Endpoint,
    /// Connections the system holds until they are accepted.
    pub backlog: u16,
    /// Connections at a time; none is as many as the broker has.
    pub max_connections: Option<NonZeroUsize>,
    /// How fast a client may publish.
    pub publish_rate: PublishRate,
    /// Whose connections begin with the PROXY protocol; none is that nobody's do.
    pub proxy: Option<Proxy>,
    /// MQTT over TLS, and how; none is plain MQTT.
    pub tls: Option<Tls>,
    /// MQTT over WebSocket, and for whom; none is MQTT without it.
    pub websocket: Option<WebSocket>,
    /// Whether clients without a user name are let in.
    pub allow_anonymous: bool,
    /// What becomes of clients that send no client identifier.
    pub identifiers: Identifiers,
    /// Users and their passwords' hashes. Without it nobody's password is looked at.
    pub password_file: Option<PathBuf>,
    /// What they may write and read. Without it, all topics.
    pub acl_file: Option<PathBuf>,
    /// Where in a client's certificate its user name stands; none takes the one in CONNECT, with its password. It needs
    /// TLS that requires a certificate.
    pub user_from_certificate: Option<CertificateName>,
    /// Whether the user name takes the place of the client identifier.
    pub user_as_client_id: bool,
    /// What client identifiers begin with; none at all is anything.
    pub client_id_prefixes: Vec<String>,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The first common name (CN) of the subject.
    CommonName,
    /// The whole subject, as RFC 4514 writes it.
    Subject,
}

impl Default for Listener {
    /// Port 1883, for this machine alone, open to everybody.
    fn default() -> Self {
        Self {
            endpoint: Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))),
            backlog: 128,
            max_connections: None,
            publish_rate: PublishRate::default(),
            proxy: None,
            tls: None,
            websocket: None,
            allow_anonymous: true,
            identifiers: Identifiers::default(),
            password_file: None,
            acl_file: None,
            user_from_certificate: None,
            user_as_client_id: false,
            client_id_prefixes: Vec::new(),
        }
    }
}

impl From<SocketAddr> for Listener {
    fn from(address: SocketAddr) -> Self {
        Self { endpoint: Endpoint::Tcp(address), ..Self::default() }
    }
}

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// This TCP port of all addresses of this machine, IPv4 and IPv6. 0 takes a free one.
    Any(u16),
    /// A UNIX socket.
    Unix {
        /// Where it lies in the file system.
        path: PathBuf,
        /// Its permissions, as for chmod; none leaves them to the umask.
        mode: Option<u32>,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Any(port) => write!(f, "*:{port}"),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// Who may say in the PROXY protocol, version 1 or 2, whom a connection is for. All connections must begin with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Networks whose word is taken; further connections by TCP are closed. On a UNIX socket everybody's is.
    pub trusted: Vec<IpNet>,
}

impl Proxy {
    /// Whether a proxy at that address is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Whose WebSocket handshakes are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSocket {
    /// The path that must be asked for; none is any.
    pub path: Option<String>,
    /// Where a browser's page may come from; none at all is from anywhere.
    pub origins: Vec<String>,
}

/// How TLS is spoken. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate and those between it and the authority.
    pub certfile: PathBuf,
    /// Its private key.
    pub keyfile: PathBuf,
    /// The authorities that sign clients' certificates.
    pub cafile: Option<PathBuf>,
    /// Whether a client must show a certificate signed by one of them.
    pub require_certificate: bool,
    /// The versions spoken.
    pub versions: TlsVersions,
}

/// Versions of TLS. The older ones are not safe, and nobody implements them safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 alone.
    V1_2,
    /// TLS 1.3 alone.
    V1_3,
    /// Both.
    V1_2AndV1_3,
}
