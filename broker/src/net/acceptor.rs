//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, warn};
use smol::{LocalExecutor, Timer, channel};
use socket2::{SockAddr, Socket};

use super::listener::Listening;
use super::worker::{Accepted, Intake};
use super::{connection, housekeeping};
use crate::hub::{Ending, Hub, Origin};

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The thread that accepts connections for the workers.
pub(super) struct Acceptor {
    /// Closing it ends the thread.
    running: channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    pub(super) fn start(
        listeners: Vec<Listening>,
        hub: Arc<Hub>,
        workers: Vec<Intake>,
        stats_interval: Option<Duration>,
    ) -> io::Result<Self> {
        let (running, stopped) = channel::bounded::<()>(1);
        let thread = thread::Builder::new().name("sol-accept".to_owned()).spawn(move || {
            let executor = LocalExecutor::new();
            for listener in &listeners {
                executor.spawn(accept(listener, &hub, &workers)).detach();
            }
            executor.spawn(housekeeping::keep(&hub, stats_interval)).detach();
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
async fn accept(listener: &Listening, hub: &Hub, workers: &[Intake]) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => admit(listener, socket, &address, hub, workers),
            Err(error) => {
                warn!("cannot accept a connection: {error}");
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn admit(listener: &Listening, socket: Socket, address: &SockAddr, hub: &Hub, workers: &[Intake]) {
    let Some(origin) = listener.origin(address) else { return };
    if let Err(error) = prepare(&socket, &origin) {
        debug!("{origin}: {error}");
        return;
    }
    let Some(peer) = hub.accept(origin.clone(), listener.access(), Instant::now()) else {
        warn!(
            "{origin} was not let in: the broker stops, is short of memory, or has as many connections as its limit \
             allows"
        );
        return;
    };
    let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) else { return };
    if let Some(peer) = worker.serve(Accepted { socket, peer, tls: listener.tls() }) {
        connection::close(peer, &Ending::Stopping, hub);
    }
}

fn prepare(socket: &Socket, origin: &Origin) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match origin {
        // Batches are as large as they can be already; what is small should not wait.
        Origin::Tcp(_) => socket.set_tcp_nodelay(true),
        Origin::Unix(_) => Ok(()),
    }
}
