//! Accepting connections.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_io::Async;
use log::{debug, warn};
use smol::{LocalExecutor, Timer, channel};
use socket2::{Domain, Protocol, Type};

use super::connection;
use super::worker::{Accepted, Intake};
use crate::auth::Access;
use crate::hub::{Ending, Hub};

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket.
pub(super) fn bind(address: SocketAddr, backlog: i32) -> io::Result<Async<TcpListener>> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As mosquitto does: a restart must not wait for the old connections' last packets.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Async::new(socket.into())
}

/// The thread that accepts connections for the workers.
pub(super) struct Acceptor {
    /// Closing it ends the thread.
    running: channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    pub(super) fn start(
        listeners: Vec<(Async<TcpListener>, Arc<Access>)>,
        hub: Arc<Hub>,
        workers: Vec<Intake>,
    ) -> io::Result<Self> {
        let (running, stopped) = channel::bounded::<()>(1);
        let thread = thread::Builder::new().name("sol-accept".to_owned()).spawn(move || {
            let executor = LocalExecutor::new();
            for (listener, access) in &listeners {
                executor.spawn(accept(listener, access, &hub, &workers)).detach();
            }
            smol::block_on(executor.run(async { _ = stopped.recv().await }));
        })?;
        Ok(Self { running, thread })
    }

    /// Closes the listening sockets.
    pub(super) fn stop(self) -> thread::Result<()> {
        drop(self.running);
        self.thread.join()
    }
}

/// Accepts connections for ever, each for the worker that has the fewest.
async fn accept(listener: &Async<TcpListener>, access: &Arc<Access>, hub: &Hub, workers: &[Intake]) {
    loop {
        match listener.read_with(TcpListener::accept).await {
            Ok((stream, address)) => admit(stream, address, Arc::clone(access), hub, workers),
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn admit(stream: TcpStream, address: SocketAddr, access: Arc<Access>, hub: &Hub, workers: &[Intake]) {
    // Batches are as large as they can be already; what is small should not wait.
    if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
        debug!("{address}: {error}");
        return;
    }
    match hub.accept(address, access, Instant::now()) {
        Some(peer) => {
            let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) else { return };
            if let Some(peer) = worker.serve(Accepted { stream, address, peer }) {
                connection::close(peer, &Ending::Stopping, hub);
            }
        }
        None => warn!(
            "{address} was not let in: the broker stops, or has as many connections as its limit allows"
        ),
    }
}
