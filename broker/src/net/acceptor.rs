//! Accepting connections.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::debug;
use smol::{LocalExecutor, Timer, channel};
use socket2::{SockAddr, Socket, TcpKeepalive};

use super::housekeeping;
use super::listener::Listening;
use super::worker::{Accepted, Team};
use crate::hub::{Hub, Limits, Origin};

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How often the other end of a silent connection is asked whether it is there, until it is given up.
const PROBES: u32 = 4;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// What Linux takes as the time before the first question.
const SILENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

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
        team: Arc<Team>,
        stats_interval: Option<Duration>,
    ) -> io::Result<Self> {
        let (running, stopped) = channel::bounded::<()>(1);
        let thread = thread::Builder::new().name("sol-accept".to_owned()).spawn(move || {
            let executor = LocalExecutor::new();
            for listener in &listeners {
                executor.spawn(accept(listener, &hub, &team)).detach();
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

/// Accepts connections for ever.
async fn accept(listener: &Listening, hub: &Hub, team: &Team) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => admit(listener, socket, &address, hub, team),
            Err(error) => {
                hub.cannot_accept(&error, Instant::now());
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn admit(listener: &Listening, socket: Socket, address: &SockAddr, hub: &Hub, team: &Team) {
    let Some(origin) = listener.origin(address) else { return };
    if let Err(error) = prepare(&socket, &origin, hub.limits()) {
        debug!("{origin}: {error}");
        return;
    }
    let Some(peer) = hub.accept(origin, listener.access(), Instant::now()) else { return };
    let peer = peer.by(listener.entrance());
    team.serve(Accepted { socket, peer, tls: listener.tls(), websocket: listener.websocket() });
}

fn prepare(socket: &Socket, origin: &Origin, limits: &Limits) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match origin {
        Origin::Tcp(_) => {
            // Batches are as large as they can be already; what is small should not wait.
            socket.set_tcp_nodelay(true)?;
            let Some(silence) = limits.tcp_keep_alive else { return Ok(()) };
            let silence = silence.clamp(*SILENCE.start(), *SILENCE.end());
            let probes =
                TcpKeepalive::new().with_time(silence).with_interval(PROBE_INTERVAL).with_retries(PROBES);
            socket.set_tcp_keepalive(&probes)
        }
        Origin::Unix(_) => Ok(()),
    }
}
