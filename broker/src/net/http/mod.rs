//! What the broker tells an operator, and does for one, by HTTP: hyper on a thread of its own, which no client of MQTT
//! waits for.
//!
//! | | |
//! |---|---|
//! | `answer.rs` | what goes out |
//! | `body.rs` | what came in |
//! | `connection.rs` | one connection, and its limits |
//! | `doorkeeper.rs` | who is let in, and what browsers must not be made to do |
//! | `route.rs` | which path is what, and how it may be asked |
//! | `query.rs` | what stands behind a path |
//! | `state.rs` | what there is to tell of |
//! | `metrics.rs` | `/metrics` |
//! | `health.rs` | `/healthz`, `/readyz` |
//! | `api/` | `/api/v1/…`, but for |
//! | `stream/` | what is told as it happens |
//! | `page/` | what a browser shows of all this |

mod answer;
mod api;
mod body;
mod connection;
mod doorkeeper;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod health;
mod metrics;
mod page;
mod query;
mod route;
mod state;
mod stream;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_io::Async;
use log::error;
use parking_lot::RwLock;
use smol::future::FutureExt;
use smol::{LocalExecutor, Timer, channel};

use super::StartError;
use super::inherited::Inherited;
use super::listener::listen;
use super::tls::{self, Acceptor};
use crate::config::{Endpoint, Http};
use crate::hub::Hub;
use connection::Places;
use doorkeeper::Doorkeeper;
pub use doorkeeper::check;
pub(super) use state::Facts;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 64;
/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Sockets that are open, and who is let in by them.
pub(super) struct Open {
    sockets: Vec<Async<TcpListener>>,
    addresses: Vec<SocketAddr>,
    guard: Arc<Guard>,
}

/// Who is let in, and how it is spoken with them.
pub(super) struct Door {
    doorkeeper: Arc<Doorkeeper>,
    tls: Option<Acceptor>,
}

/// The door as it is now.
pub(super) struct Guard(RwLock<Arc<Door>>);

impl Door {
    /// Reads the files.
    pub(super) fn new(settings: &Http) -> Result<Self, StartError> {
        if let Some(address) = settings.unguarded() {
            return Err(StartError::HttpUnguarded(address));
        }
        let doorkeeper = Arc::new(Doorkeeper::new(settings)?);
        let first = settings.addresses.first().copied();
        let endpoint = first.map_or(Endpoint::Any(0), Endpoint::Tcp);
        let tls = settings.tls.as_ref().map(|tls| tls::acceptor(&endpoint, tls, None));
        Ok(Self { doorkeeper, tls: tls.transpose()? })
    }
}

impl Guard {
    /// For requests, and connections, from now on.
    pub(super) fn change(&self, door: Door) {
        *self.0.write() = Arc::new(door);
    }
}

impl Open {
    /// Reads the files and opens the sockets, but for those that are open already; none if there is no HTTP.
    pub(super) fn new(settings: &Http, inherited: &mut Inherited) -> Result<Option<Self>, StartError> {
        if settings.addresses.is_empty() {
            return Ok(None);
        }
        let guard = Arc::new(Guard(RwLock::new(Arc::new(Door::new(settings)?))));
        let (mut sockets, mut addresses) = (Vec::new(), Vec::new());
        for address in &settings.addresses {
            let (socket, address) = open(*address, inherited)
                .map_err(|source| StartError::Listen { endpoint: Endpoint::Tcp(*address), source })?;
            sockets.push(socket);
            addresses.push(address);
        }
        Ok(Some(Self { sockets, addresses, guard }))
    }

    /// Where they are, with the ports taken for port 0.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What may change.
    pub(super) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }
}

fn open(address: SocketAddr, inherited: &mut Inherited) -> io::Result<(Async<TcpListener>, SocketAddr)> {
    let socket = match inherited.take(&Endpoint::Tcp(address)) {
        Some(socket) => socket,
        None => listen(address, true, false, BACKLOG)?,
    };
    let socket = TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok((Async::new(socket)?, address))
}

/// The thread that answers.
pub(super) struct Server {
    /// Closing it ends the thread.
    running: channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(super) fn start(open: Open, hub: Arc<Hub>, facts: Facts) -> io::Result<Self> {
        let (running, stopped) = channel::bounded::<()>(1);
        let thread = thread::Builder::new().name("sol-http".to_owned()).spawn(move || {
            let state = Rc::new(state::State::new(hub, facts, open.guard));
            let executor = LocalExecutor::new();
            let (arriving, arrived) = channel::bounded(1);
            for socket in open.sockets {
                executor.spawn(accept(socket, arriving.clone(), Rc::clone(&state))).detach();
            }
            let (places, farewells) = (Places::default(), Places::default());
            let serve = async {
                while let Ok((stream, address)) = arrived.recv().await {
                    admit(stream, address, &state, &executor, (&places, &farewells));
                }
            };
            smol::block_on(executor.run(serve.or(async { _ = stopped.recv().await })));
        })?;
        Ok(Self { running, thread })
    }

    /// Closes all connections.
    pub(super) fn stop(self) -> thread::Result<()> {
        drop(self.running);
        self.thread.join()
    }
}

/// Accepts connections for ever.
async fn accept(
    socket: Async<TcpListener>,
    arriving: channel::Sender<(Async<TcpStream>, SocketAddr)>,
    state: Rc<state::State>,
) {
    loop {
        match socket.accept().await {
            Ok(arrival) => _ = arriving.send(arrival).await,
            Err(error) => {
                state.hub.cannot_accept(&error, Instant::now());
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn admit(
    stream: Async<TcpStream>,
    address: SocketAddr,
    state: &Rc<state::State>,
    executor: &LocalExecutor<'static>,
    (places, farewells): (&Places, &Places),
) {
    let Some(place) = places.take() else {
        // Where there is no place for saying so either, it is closed.
        if let Some(place) = farewells.take() {
            let farewell = async move {
                connection::turn_away(stream).await;
                drop(place);
            };
            executor.spawn(farewell).detach();
        }
        return;
    };
    let acceptor = state.guard.0.read().tls.clone();
    let state = Rc::clone(state);
    let served = async move {
        let serving = AssertUnwindSafe(connection::serve(stream, address, acceptor, Rc::clone(&state)));
        // A panic is the end of this connection, not of the thread and the others on it.
        if serving.catch_unwind().await.is_err() {
            error!("HTTP from {address}: the broker panicked while answering: this is a bug in the broker");
            state.recover();
        }
        drop(place);
    };
    executor.spawn(served).detach();
}
