//! Sockets, timers and threads: the only floor that has them.

mod acceptor;
mod asking;
mod balance;
mod connection;
mod descriptors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod give_way;
mod housekeeping;
mod http;
mod inherited;
mod listener;
mod logins;
mod persistence;
mod poller;
mod prepared;
mod proxy;
mod reactor;
mod received;
mod reload;
mod socket;
pub(crate) mod tls;
mod unix;
mod websocket;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use parking_lot::{Mutex, RwLock};
use smol::channel;
use thiserror::Error;

use crate::auth::{self, acl};
use crate::bridge::{self, Bridge, Bridges};
use crate::config::{Config, Endpoint};
use crate::hub::{Batch, Hub, Redirect, Stats};
use crate::store::OpenError;
use crate::store::files::DirectoryError;
use acceptor::Greeter;
use asking::Asking;
pub use asking::{Changes, ReloadRequest, Reloaded};
use housekeeping::resident_bytes;
pub use http::check as check_http;
pub use inherited::Inherited;
use listener::Desk;
use persistence::{Keeper, Store};
use prepared::prepare;
use reload::{Standing, millis};
pub use tls::{TlsError, check_bridge_tls, check_tls};
use worker::{Team, Worker};

/// Descriptors that are no connections, more or less.
const OTHER_DESCRIPTORS: usize = 64;
/// How often a stop looks whether the clients are gone.
const STOP_POLL: Duration = Duration::from_millis(5);
/// How long clients get to read that it is over, after they had their time.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// TLS cannot be spoken at the endpoint.
    #[error("cannot speak TLS on {endpoint}: {}", list(errors))]
    Tls {
        /// The one asked for.
        endpoint: Endpoint,
        /// Everything that is wrong with its files.
        errors: Vec<TlsError>,
    },
    /// TLS cannot be spoken with another broker.
    #[error("cannot speak TLS over the bridge {bridge}: {}", list(errors))]
    BridgeTls {
        /// Its name.
        bridge: String,
        /// Everything that is wrong with its files.
        errors: Vec<TlsError>,
    },
    /// A socket was inherited that no listener is for.
    #[error(
        "a socket that listens on {0} was handed over at the start, and no listener is for it: add one, or take it out \
         of the socket unit"
    )]
    NobodysSocket(Endpoint),
    /// A password file cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Passwords(Vec<auth::Error>),
    /// An ACL file cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Acls(Vec<acl::Error>),
    /// A listener lets nobody in.
    #[error("{0} lets nobody in: `allow_anonymous false` needs a `password_file`")]
    NobodyAllowed(Endpoint),
    /// Whoever reaches the address would be let in by HTTP.
    #[error(
        "HTTP on {0} lets everybody in who reaches it: give a token or passwords, or listen on 127.0.0.1 alone"
    )]
    HttpUnguarded(SocketAddr),
    /// The file with the token for HTTP cannot be used.
    #[error("{0}")]
    HttpToken(String),
    /// A listener takes user names from certificates and does not ask for any.
    #[error("{0} lets nobody in: user names from certificates need TLS with `require_certificate`")]
    NoCertificates(Endpoint),
    /// What is to survive the broker cannot be stored.
    #[error("cannot store sessions and messages in {}: {source}", directory.display())]
    Store {
        /// The directory asked for.
        directory: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Its directory cannot be had.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What is in it cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Why [`Broker::reload`] and [`Broker::change`] changed nothing.
#[derive(Debug, Error)]
#[error("not reloaded, what was loaded before stays in use: {}", list(.0))]
pub struct ReloadError(pub Vec<StartError>);

fn list(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
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
    /// What it runs by.
    standing: Mutex<Standing>,
    /// The listeners, for the HTTP side.
    places: Arc<RwLock<Vec<Arc<Desk>>>>,
    /// Milliseconds; 0 is never.
    stats_interval: Arc<AtomicU64>,
    asking: Arc<Asking>,
    team: Arc<Team>,
    workers: Vec<Worker>,
    store: Option<Keeper>,
    greeter: Option<Greeter>,
    http: Option<http::Server>,
    http_addresses: Vec<SocketAddr>,
    http_guard: Option<Arc<http::Guard>>,
    bridges: Option<Bridges>,
    /// When a stop that has begun waits for clients no longer.
    stops_at: Option<Instant>,
}

impl Broker {
    /// Opens the listening sockets, starts the threads and returns: clients can connect from now on.
    ///
    /// # Errors
    ///
    /// A certificate, key, password or ACL file or a store that cannot be used, an endpoint that cannot be listened on, or a thread that cannot be
    /// started; then nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_on(config, Inherited::default())
    }

    /// As [`Broker::start`], but listens on the sockets that are open already where a listener is for one.
    ///
    /// # Errors
    ///
    /// As there; and a socket that no listener is for.
    pub fn start_on(config: Config, mut inherited: Inherited) -> Result<Self, StartError> {
        // Files first: nobody should be able to connect to a broker that will not start.
        let first = |errors: Vec<_>| errors.into_iter().next().unwrap_or(StartError::NoListener);
        let prepared = prepare(&config.listeners).map_err(first)?;
        let http = http::Open::new(&config.http, &mut inherited)?;
        let mut bridges = Vec::new();
        for bridge in config.bridges.iter().cloned() {
            let errors = |errors| StartError::BridgeTls { bridge: bridge.name.clone(), errors };
            let tls = bridge::read_tls(&bridge).map_err(errors)?;
            bridges.push((bridge, tls));
        }
        let store = config.persistence.as_ref().map(Store::open).transpose()?;
        let (standing, listening) = Standing::open(config.clone(), prepared, &mut inherited)?;
        if let Some(endpoint) = inherited.left() {
            return Err(StartError::NobodysSocket(endpoint));
        }
        // Before there are threads.
        descriptors::make_room(config.limits.max_connections.saturating_add(OTHER_DESCRIPTORS));
        let mut hub = Hub::new(config.limits)
            .with_response_information(config.response_information)
            .with_bridges(bridges.iter().map(|(bridge, _)| bridge.local_client_id()));
        if let Some(store) = &store {
            hub = hub.with_journal(Arc::clone(store.journal())).with_store_status(Arc::clone(store.status()));
        }
        hub.redirect(config.redirect);
        let hub = Arc::new(hub);
        let places = Arc::new(RwLock::new(standing.places()));
        let (proxied, greeted) = channel::bounded(1);
        let (team, arrivals) = Team::new(config.threads.get(), config.spread, Arc::clone(&hub), proxied);
        let mut broker = Self {
            hub,
            standing: Mutex::new(standing),
            places: Arc::clone(&places),
            stats_interval: Arc::new(millis(config.stats_interval).into()),
            asking: Arc::new(Asking::new()),
            team: Arc::clone(&team),
            workers: Vec::new(),
            store: None,
            greeter: None,
            http: None,
            http_addresses: Vec::new(),
            http_guard: None,
            bridges: None,
            stops_at: None,
        };
        let is_ready = Arc::new(AtomicBool::new(false));
        if let Some(open) = http {
            broker.http_addresses = open.addresses().to_vec();
            broker.http_guard = Some(Arc::clone(open.guard()));
            let facts = http::Facts {
                started: (Instant::now(), SystemTime::now()),
                threads: config.threads.get(),
                places,
                asking: Arc::clone(&broker.asking),
                team: Arc::clone(&team),
                store: store.as_ref().map(|store| Arc::clone(store.status())),
                is_ready: Arc::clone(&is_ready),
            };
            let server = http::Server::start(open, Arc::clone(&broker.hub), facts);
            broker.http = Some(server.map_err(StartError::Thread)?);
        }
        if let Some(store) = store {
            broker.store = Some(store.serve(&broker.hub).map_err(StartError::Thread)?);
        }
        for (number, arrivals) in arrivals.into_iter().enumerate() {
            let worker = Worker::start(number, arrivals, Arc::clone(&team)).map_err(StartError::Thread)?;
            broker.workers.push(worker);
        }
        let interval = Arc::clone(&broker.stats_interval);
        let greeter = Greeter::start(greeted, Arc::clone(&team), interval).map_err(StartError::Thread)?;
        broker.greeter = Some(greeter);
        listening.into_iter().for_each(|listening| team.listen(listening));
        if !bridges.is_empty() {
            let bridges =
                bridges.into_iter().map(|(bridge, tls)| Bridge::new(bridge, Arc::clone(&broker.hub), tls));
            broker.bridges = Some(Bridges::start(bridges.collect()).map_err(StartError::Thread)?);
        }
        is_ready.store(true, Ordering::Release);
        Ok(broker)
    }

    /// Where it listens, in the order of the configuration, with the ports taken for port 0.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.standing.lock().open.iter().map(|opened| opened.endpoint.clone()).collect()
    }

    /// Its TCP addresses among them; 0.0.0.0 for all of this machine.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.endpoints().iter().filter_map(tcp).collect()
    }

    /// The first TCP address it listens on; port 0 if there is none.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs().first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Where it speaks HTTP, in the order of the configuration, with the ports taken for port 0.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    /// The system's interface by which it waits for sockets, as its log names it: `epoll`, `kqueue`, `event ports`,
    /// `IOCP` or `poll`.
    pub fn back_end(&self) -> &'static str {
        poller::INTERFACE
    }

    /// Waits until somebody asks by HTTP for a reload, which is for whoever runs the broker to do. Until this is called for
    /// the first time, who asks is told that nobody does.
    pub async fn reload_request(&self) -> Option<ReloadRequest> {
        self.asking.next().await
    }

    /// From now on, where clients of 5.0 are sent when the broker stops.
    pub fn redirect(&self, redirect: Option<Redirect>) {
        self.hub.redirect(redirect);
    }

    /// The broker's counters.
    pub fn stats(&self) -> Stats {
        Stats { connections_moved: self.team.moved(), ..self.hub.stats() }
    }

    /// Stops accepting, sends the wills of the connected clients, and has each go that has taken and acknowledged what is
    /// left for it. Returns at once: [`Broker::stop`] waits for that.
    pub fn begin_stop(&mut self) {
        if self.stops_at.is_some() {
            return;
        }
        self.stops_at = Some(Instant::now() + self.hub.limits().stop_timeout);
        let open = std::mem::take(&mut self.standing.get_mut().open);
        // Without one the workers have no listeners.
        if let Some(greeter) = self.greeter.take() {
            open.into_iter().for_each(|opened| opened.handle.close());
            joined(greeter.stop());
        }
        let mut batch = Batch::new(Instant::now());
        self.hub.stop(&mut batch);
        self.hub.absorb(&mut batch);
        batch.wake();
    }

    /// Whether a stop that has begun waits for nobody any more: all clients are gone, or their time is over.
    pub fn has_stopped(&self) -> bool {
        self.stops_at.is_some_and(|at| self.hub.linked() == 0 || at <= Instant::now())
    }

    /// Stops accepting, sends the wills of the connected clients, writes what is left for them and waits for them to
    /// acknowledge it, and ends. What survives is on stable storage then.
    ///
    /// Takes at most [`Limits::stop_timeout`](crate::Limits::stop_timeout), less what has passed since
    /// [`Broker::begin_stop`], and a moment.
    pub fn stop(self) {}

    /// The same, but waits for no client.
    pub fn stop_at_once(mut self) {
        self.begin_stop();
        self.stops_at = Some(Instant::now());
    }
}

/// A thread that was stopped.
fn joined(end: thread::Result<()>) {
    if end.is_err() {
        warn!("a thread ended by a panic");
    }
}

fn tcp(endpoint: &Endpoint) -> Option<SocketAddr> {
    match endpoint {
        Endpoint::Tcp(address) => Some(*address),
        Endpoint::Any(port) => Some((Ipv4Addr::UNSPECIFIED, *port).into()),
        Endpoint::Unix { .. } => None,
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.begin_stop();
        while !self.has_stopped() {
            thread::sleep(STOP_POLL);
        }
        let left = self.hub.linked();
        if left > 0 {
            warn!("{left} clients have not taken, or not acknowledged, what was left for them");
            // Those that only acknowledge too late are told.
            let mut batch = Batch::new(Instant::now());
            self.hub.hurry(&mut batch);
            batch.wake();
            self.stops_at = Some(Instant::now() + LAST_WORDS);
            while !self.has_stopped() {
                thread::sleep(STOP_POLL);
            }
        }
        if let Some(bridges) = self.bridges.take() {
            joined(bridges.stop());
        }
        for worker in self.workers.drain(..) {
            joined(worker.stop());
        }
        // Last, when nothing more can change.
        if let Some(store) = self.store.take() {
            joined(store.stop());
        }
        if let Some(http) = self.http.take() {
            joined(http.stop());
        }
    }
}
