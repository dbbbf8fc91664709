//! What the broker is told at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

pub use crate::hub::Limits;

/// The port registered for MQTT without TLS.
pub const DEFAULT_PORT: u16 = 1883;

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen for MQTT over TCP. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve the connections.
    pub threads: NonZeroUsize,
    /// Connections the system holds until they are accepted.
    pub tcp_backlog: u16,
    /// How much of everything is allowed.
    pub limits: Limits,
}

impl Default for Config {
    /// Port 1883, for this machine alone, with a thread a core.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT))],
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            tcp_backlog: 1024,
            limits: Limits::default(),
        }
    }
}
