//! Accepting connections.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{Level, debug, log_enabled};
use smol::future::or;
use smol::lock::Semaphore;
use smol::{LocalExecutor, Timer, channel};
use socket2::{Socket, TcpKeepalive};

use super::housekeeping;
use super::listener::{Desk, Listening};
use super::proxy::{self, Refusal};
use super::worker::{Accepted, Team};
use crate::hub::{CONNECTIONS, Hub, Limits, Origin, Peer};

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How often the other end of a silent connection is asked whether it is there, until it is given up.
const PROBES: u32 = 4;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// What Linux takes as the time before the first question.
const SILENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);

/// Connections of which the header of the PROXY protocol is awaited at a time.
const MAX_AWAITED: usize = 1024;

/// The thread that accepts connections for the workers.
pub(super) struct Acceptor {
    /// Closing it ends the thread.
    orders: channel::Sender<Order>,
    thread: JoinHandle<()>,
}

/// What the thread is to do beside.
enum Order {
    /// Accept connections there, too.
    Open(Listening),
    /// Close that listener's socket, and then let go of the sender.
    Close(Arc<Desk>, channel::Sender<()>),
}

impl Acceptor {
    pub(super) fn start(
        listeners: Vec<Listening>,
        hub: Arc<Hub>,
        team: Arc<Team>,
        stats_interval: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (orders, ordered) = channel::unbounded();
        let thread = thread::Builder::new().name("sol-accept".to_owned()).spawn(move || {
            let (proxied, arrivals) = channel::bounded(1);
            let executor = LocalExecutor::new();
            executor.spawn(housekeeping::keep(&hub, &stats_interval)).detach();
            let until_stopped = async {
                let open = |listening: Listening| {
                    let desk = Arc::clone(listening.desk());
                    (desk, executor.spawn(accept(listening, &hub, &team, proxied.clone())))
                };
                let mut accepting: Vec<_> = listeners.into_iter().map(open).collect();
                while let Ok(order) = ordered.recv().await {
                    match order {
                        Order::Open(listening) => accepting.push(open(listening)),
                        Order::Close(closing, _done) => {
                            let place = accepting.iter().position(|(desk, _)| Arc::ptr_eq(desk, &closing));
                            if let Some((_, task)) = place.map(|place| accepting.swap_remove(place)) {
                                task.cancel().await;
                            }
                        }
                    }
                }
            };
            let greet_all = greet_all(&arrivals, &executor, &hub, &team);
            smol::block_on(executor.run(or(until_stopped, greet_all)));
        })?;
        Ok(Self { orders, thread })
    }

    /// Accepts connections there, too.
    pub(super) fn open(&self, listening: Listening) {
        // Fails only where the thread has ended, and the socket is closed then.
        _ = self.orders.try_send(Order::Open(listening));
    }

    /// Closes that listener's socket, and then lets go of the sender.
    pub(super) fn close(&self, desk: Arc<Desk>, done: channel::Sender<()>) {
        _ = self.orders.try_send(Order::Close(desk, done));
    }

    /// Closes the listening sockets.
    pub(super) fn stop(self) -> thread::Result<()> {
        drop(self.orders);
        self.thread.join()
    }
}

/// Accepts connections for ever.
async fn accept(listener: Listening, hub: &Hub, team: &Team, proxied: channel::Sender<Proxied>) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let Some(origin) = listener.origin(&address) else { continue };
                let manner = listener.desk().manner();
                if let Err(error) = prepare(&socket, &origin, &hub.limits()) {
                    debug!("{origin}: {error}");
                } else if manner.proxy.is_none() {
                    admit(listener.desk(), socket, origin, hub, team);
                } else if let Origin::Tcp(address) = origin
                    && manner.proxy.as_ref().is_some_and(|proxy| !proxy.trusts(address.ip()))
                {
                    hub.refuse_proxy(&origin, "it is in no network of `proxy_trusted`", Instant::now());
                } else {
                    let desk = Arc::clone(listener.desk());
                    _ = proxied.send(Proxied { desk, socket, origin }).await;
                }
            }
            Err(error) => {
                hub.cannot_accept(&error, Instant::now());
                Timer::after(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// A connection from a proxy.
struct Proxied {
    desk: Arc<Desk>,
    socket: Socket,
    origin: Origin,
}

/// Hears from each proxy whom it speaks for, for ever.
async fn greet_all<'l>(
    arrivals: &channel::Receiver<Proxied>,
    executor: &LocalExecutor<'l>,
    hub: &'l Hub,
    team: &'l Team,
) {
    let places = Arc::new(Semaphore::new(MAX_AWAITED));
    while let Ok(Proxied { desk, socket, origin }) = arrivals.recv().await {
        let Some(place) = places.try_acquire_arc() else {
            let why = "as many connections wait for the header of the PROXY protocol as are allowed";
            hub.refuse_proxy(&origin, why, Instant::now());
            continue;
        };
        let greeting = async move {
            match proxy::receive(socket, hub.limits().connect_timeout).await {
                Ok((socket, client)) => {
                    admit(&desk, socket, client.map_or(origin, Origin::Tcp), hub, team);
                }
                Err(Refusal::Ended) => debug!("{origin}: it ended before the header of the PROXY protocol"),
                Err(Refusal::Wrong(why)) => hub.refuse_proxy(&origin, why, Instant::now()),
            }
            drop(place);
        };
        executor.spawn(greeting).detach();
    }
}

fn admit(desk: &Desk, socket: Socket, origin: Origin, hub: &Hub, team: &Team) {
    let Some(peer) = hub.accept(origin, Arc::clone(desk.entrance()), Instant::now()) else { return };
    tell(&socket, &peer);
    let manner = desk.manner();
    team.serve(Accepted { socket, peer, tls: manner.tls.clone(), websocket: manner.websocket.clone() });
}

fn tell(socket: &Socket, peer: &Peer) {
    if !log_enabled!(target: CONNECTIONS, Level::Debug) {
        return;
    }
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    let port = local.map_or(0, |address| address.port());
    debug!(target: CONNECTIONS, event = "accepted", address:% = peer, port; "{peer} comes to port {port}");
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
        Origin::Unix(_) | Origin::Bridge(_) => Ok(()),
    }
}
