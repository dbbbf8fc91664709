//! What the broker is told at its start, by a program ([`Config`]) or by a file ([`Settings`]).
//!
//! A file is lines of `key value`. [`KEYS`] is the table that it is read by.

#[cfg(test)]
mod bounds;
mod bridge;
mod bridges;
mod http;
mod import;
mod include;
mod keys;
mod line;
mod listener;
mod log_lines;
mod mosquitto;
mod parse;
mod persistence;
mod problem;
#[cfg(test)]
mod reference;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

pub use crate::auth::PublishRate;
pub use crate::hub::{Limits, Redirect};
pub use crate::store::SyncPolicy;
pub use bridge::{
    Bridge, BridgeStart, BridgeTls, BridgeTopic, Direction, Notifications, RemoteAddress, Secret,
};
pub use http::Http;
pub use import::Import;
pub use keys::{KEYS, Key, Scope, key};
pub use listener::{CertificateName, Endpoint, Identifiers, Listener, Proxy, Tls, TlsVersions, WebSocket};
pub use log_lines::{LogFormat, LogLines};
pub use mosquitto::{Fate, ForeignOption, MOSQUITTO};
pub use parse::Overrides;
pub use persistence::Persistence;
pub use problem::Problem;
pub use settings::{Console, Process, Settings};
pub use value::Kind;

/// The port registered for MQTT without TLS.
pub const DEFAULT_PORT: u16 = 1883;

/// How a broker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen, and for whom.
    pub listeners: Vec<Listener>,
    /// Threads that serve the connections.
    pub threads: NonZeroUsize,
    /// Deal connections out to all threads in turn from the start, not to as few as can do the work. Costs more time of
    /// the processors and is for tests that want threads to meet.
    pub spread: bool,
    /// How often the broker publishes its statistics; none is never.
    pub stats_interval: Option<Duration>,
    /// How much of everything is allowed.
    pub limits: Limits,
    /// What survives the broker; none is nothing.
    pub persistence: Option<Persistence>,
    /// What clients of 5.0 get that ask for Response Information.
    pub response_information: Option<String>,
    /// Where clients of 5.0 are sent when the broker stops.
    pub redirect: Option<Redirect>,
    /// Where it tells of itself by HTTP.
    pub http: Http,
    /// Other brokers that messages are exchanged with.
    pub bridges: Vec<Bridge>,
}

impl Config {
    /// Plain MQTT at one address, for everybody who reaches it. Port 0 takes a free one.
    pub fn on(address: SocketAddr) -> Self {
        Self { listeners: vec![address.into()], ..Self::default() }
    }
}

impl Default for Config {
    /// Port 1883, for this machine alone, with a thread a core.
    fn default() -> Self {
        Self {
            listeners: vec![Listener::default()],
            threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
            spread: false,
            stats_interval: Some(Duration::from_secs(10)),
            limits: Limits::default(),
            persistence: None,
            response_information: None,
            redirect: None,
            http: Http::default(),
            bridges: Vec::new(),
        }
    }
}
