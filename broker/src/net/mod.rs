//! Sockets, timers and threads: the only floor that has them.

mod connection;
mod listener;
mod logins;
mod poller;
mod reactor;
mod socket;
mod worker;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use thiserror::Error;

use crate::auth::{self, Access, Passwords};
use crate::config::{Config, Endpoint, Listener};
use crate::hub::{Batch, Hub, Stats};
use listener::Acceptor;
use logins::Logins;
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
    /// A password file cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Passwords(Vec<auth::Error>),
    /// A listener lets nobody in.
    #[error("{0} lets nobody in: `allow_anonymous false` needs a `password_file`")]
    NobodyAllowed(Endpoint),
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
    /// Each file once.
    passwords: Vec<Arc<Passwords>>,
    workers: Vec<Worker>,
    acceptor: Option<Acceptor>,
}

impl Broker {
    /// Opens the listening sockets, starts the threads and returns: clients can connect from now on.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on, a password file that cannot be used, or a thread that cannot be started; then nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        let mut passwords = Vec::new();
        for Listener { endpoint, backlog, allow_anonymous, password_file, .. } in config.listeners {
            if !allow_anonymous && password_file.is_none() {
                return Err(StartError::NobodyAllowed(endpoint));
            }
            let file = password_file.map(|path| load(&path, &mut passwords)).transpose();
            let access = Access { allow_anonymous, passwords: file.map_err(StartError::Passwords)? };
            let Endpoint::Tcp(address) = endpoint else { continue };
            let failed = |source| StartError::Listen { endpoint: endpoint.clone(), source };
            let socket = listener::bind(address, backlog.into()).map_err(failed)?;
            addresses.push(socket.get_ref().local_addr().map_err(failed)?);
            sockets.push((socket, Arc::new(access)));
        }
        if sockets.is_empty() {
            return Err(StartError::NoListener);
        }
        let hub = Arc::new(Hub::new(config.limits));
        let logins = Arc::new(Logins::new(hub.limits()));
        let mut broker = Self { hub, addresses, passwords, workers: Vec::new(), acceptor: None };
        for number in 0..config.threads.get() {
            let worker = Worker::start(number, Arc::clone(&broker.hub), Arc::clone(&logins))
                .map_err(StartError::Thread)?;
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

    /// Reads the password files again. Who logs in from now on is checked against what they say now; who is connected
    /// stays.
    ///
    /// # Errors
    ///
    /// All that is wrong with the files. One that has errors goes on as it was.
    pub fn reload(&self) -> Result<(), Vec<auth::Error>> {
        let errors: Vec<_> = self.passwords.iter().filter_map(|file| file.reload().err()).flatten().collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Stops accepting, sends the wills of the connected clients, writes what is left for them, and ends.
    ///
    /// Takes at most [`Limits::stop_timeout`](crate::Limits::stop_timeout) and a moment.
    pub fn stop(self) {}
}

/// The password file at the path, which several listeners may share.
fn load(path: &Path, passwords: &mut Vec<Arc<Passwords>>) -> Result<Arc<Passwords>, Vec<auth::Error>> {
    if let Some(known) = passwords.iter().find(|known| known.path() == path) {
        return Ok(Arc::clone(known));
    }
    let loaded = Arc::new(Passwords::load(path)?);
    passwords.push(Arc::clone(&loaded));
    Ok(loaded)
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
