//! Where a client is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The UNIX socket at this path, which does not say who is at the other end.
    Unix(Arc<Path>),
    /// The bridge of that name, in this process.
    Bridge(Arc<str>),
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Bridge(name) => write!(f, "bridge {name}"),
        }
    }
}
