//! Sockets, timers and threads: the only floor that has them.

mod balance;
mod connection;
mod listener;
mod poller;
mod reactor;
mod socket;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use thiserror::Error;

use crate::config::{Config, Endpoint, Listener};
use crate::hub::{Batch, Hub, Stats};
use listener::Acceptor;
use worker::Worker;

/// How often a stop looks whether the clients are gone.
const STOP_POLL: Duration = Duration::from_millis(5);

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// No address to listen on.
    #[error("no address to listen on: give at least one in `listeners`")]
    NoListener,
    /// The endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}: {source}")]
    Listen {
        /// The one asked for.
        endpoint: Endpoint,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// A broker that runs in this process, until it is stopped or dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let broker = sol::Broker::start(sol::Config::on("127.0.0.1:0".parse()?))?;
///
/// let mut client = TcpStream::connect(broker.local_addr())?;
/// client.write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03you")?; // CONNECT
/// let mut connack = [0; 4];
/// client.read_exact(&mut connack)?;
/// assert_eq!(connack, [0x20, 2, 0, 0]); // accepted
///
/// broker.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broker {
    hub: Arc<Hub>,
    addresses: Vec<SocketAddr>,
    workers: Vec<Worker>,
    acceptor: Option<Acceptor>,
}

impl Broker {
    /// Opens the listening sockets, starts the threads and returns: clients can connect from now on.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, or a thread that cannot be started; then nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for Listener { endpoint, backlog, .. } in config.listeners {
            let Endpoint::Tcp(address) = endpoint else { continue };
            let failed = |source| StartError::Listen { endpoint: endpoint.clone(), source };
            let socket = listener::bind(address, backlog.into()).map_err(failed)?;
            addresses.push(socket.get_ref().local_addr().map_err(failed)?);
            sockets.push(socket);
        }
        if sockets.is_empty() {
            return Err(StartError::NoListener);
        }
        let hub = Arc::new(Hub::new(config.limits));
        let mut broker = Self { hub, addresses, workers: Vec::new(), acceptor: None };
        for number in 0..config.threads.get() {
            let worker = Worker::start(number, Arc::clone(&broker.hub)).map_err(StartError::Thread)?;
            broker.workers.push(worker);
        }
        let intakes = broker.workers.iter().map(Worker::intake).collect();
        let acceptor =
            Acceptor::start(sockets, Arc::clone(&broker.hub), intakes).map_err(StartError::Thread)?;
        broker.acceptor = Some(acceptor);
        Ok(broker)
    }

    /// Where it listens, in the order of the configuration, with the ports taken for port 0.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        // `start` lets no broker be without one.
        self.addresses.first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The broker's counters.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// Stops accepting, sends the wills of the connected clients, writes what is left for them, and ends.
    ///
    /// Takes at most [`Limits::stop_timeout`](crate::Limits::stop_timeout) and a moment.
    pub fn stop(self) {}
}

impl Drop for Broker {
    fn drop(&mut self) {
        let joined = |end: thread::Result<()>| {
            if end.is_err() {
                warn!("a thread ended by a panic");
            }
        };
        if let Some(acceptor) = self.acceptor.take() {
            joined(acceptor.stop());
        }
        let mut batch = Batch::new();
        self.hub.stop(&mut batch);
        batch.wake();
        let deadline = Instant::now() + self.hub.limits().stop_timeout;
        while self.hub.linked() > 0 {
            if Instant::now() >= deadline {
                warn!("{} clients have not read what was left for them", self.hub.linked());
                break;
            }
            thread::sleep(STOP_POLL);
        }
        for worker in self.workers.drain(..) {
            joined(worker.stop());
        }
    }
}
