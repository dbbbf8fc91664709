//! Accepting connections, and letting them in.
//!
//! Whoever serves connections accepts them, so that none wakes a thread only to go to another: a listener is on one of the
//! workers, and goes to another that has more room.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{Level, debug, log_enabled};
use smol::future::or;
use smol::lock::Semaphore;
use smol::{LocalExecutor, Timer, channel};
use socket2::Socket;

use super::housekeeping;
use super::listener::{Desk, Listening, Manner};
use super::proxy::{self, Refusal};
use super::worker::{ARRIVALS, Accepted, Arrival, Place, Post, Team};
use crate::hub::{CONNECTIONS, Hub, Origin, Peer};

/// How long to wait for descriptors to come free when there are none.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// When those that are connected have much to do, one more connection may come for so much of a turn as they took.
const SHARE: Duration = Duration::from_micros(50);

/// Connections of which the header of the PROXY protocol is awaited at a time.
const MAX_AWAITED: usize = 1024;

/// Accepts connections on this thread, until the listener is closed or goes to another thread.
pub(super) async fn accept(mut listening: Listening, place: Place) {
    let closing = listening.closing();
    let closed = async {
        _ = closing.recv().await;
        None
    };
    if let Some(thread) = or(closed, accept_here(&mut listening, &place)).await {
        listening.leave();
        place.post.team.send(thread, Arrival::Listening(listening.into()));
    }
}

/// Gives the thread that is to go on.
async fn accept_here(listening: &mut Listening, place: &Place) -> Option<usize> {
    let Post { reactor, team, .. } = &*place.post;
    let mut ready = listening.join();
    loop {
        if let Err(error) = ready {
            team.hub.cannot_accept(&error, Instant::now());
            Timer::after(EXHAUSTED_PAUSE).await;
        }
        ready = match poll_fn(|cx| listening.poll_ready(cx)).await {
            Ok(()) => match reactor.balance().accepts_instead(reactor.now()) {
                Some(thread) => return Some(thread),
                None => accept_some(listening, place).await,
            },
            Err(error) => Err(error),
        };
    }
}

/// Accepts as many as may come before the thread looks at its other sockets again.
async fn accept_some(listening: &mut Listening, place: &Place) -> io::Result<()> {
    let Post { reactor, team, .. } = &*place.post;
    let limits = team.hub.limits();
    let others = reactor.now().elapsed().as_micros() / SHARE.as_micros();
    for _ in 0..ARRIVALS.saturating_add(usize::try_from(others).unwrap_or(usize::MAX)) {
        let Some((socket, origin)) = listening.accept()? else { return Ok(()) };
        let Some(origin) = origin else { continue };
        if let Err(error) = listening.prepare(&socket, limits.tcp_keep_alive) {
            debug!("{origin}: {error}");
            continue;
        }
        let desk = listening.desk();
        let now = reactor.now();
        let manner = desk.manner();
        if manner.proxy.is_none() {
            let Some(accepted) = admit((desk, &manner), socket, origin, &team.hub, now) else { continue };
            match reactor.balance().serves_instead(now) {
                Some(thread) => team.send(thread, Arrival::New(accepted.into())),
                None => place.serve(accepted),
            }
        } else if let Origin::Tcp(address) = origin
            && manner.proxy.as_ref().is_some_and(|proxy| !proxy.trusts(address.ip()))
        {
            team.hub.refuse_proxy(&origin, "it is in no network of `proxy_trusted`", now);
        } else {
            let desk = Arc::clone(desk);
            _ = team.proxied.send(Proxied { desk, socket, origin }).await;
        }
    }
    reactor.turn().await;
    Ok(())
}

/// The thread that hears from proxies whom they speak for, and keeps house.
pub(super) struct Greeter {
    /// Closing it ends the thread.
    open: channel::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Greeter {
    pub(super) fn start(
        arrivals: channel::Receiver<Proxied>,
        team: Arc<Team>,
        stats_interval: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (open, stopped) = channel::bounded(1);
        let thread = thread::Builder::new().name("sol-house".to_owned()).spawn(move || {
            let executor = LocalExecutor::new();
            executor.spawn(housekeeping::keep(&team.hub, &stats_interval)).detach();
            let until_stopped = async { _ = stopped.recv().await };
            smol::block_on(executor.run(or(until_stopped, greet_all(&arrivals, &executor, &team))));
        })?;
        Ok(Self { open, thread })
    }

    pub(super) fn stop(self) -> thread::Result<()> {
        drop(self.open);
        self.thread.join()
    }
}

/// A connection from a proxy.
pub(super) struct Proxied {
    desk: Arc<Desk>,
    socket: Socket,
    origin: Origin,
}

/// Hears from each proxy whom it speaks for, for ever.
async fn greet_all<'l>(arrivals: &channel::Receiver<Proxied>, executor: &LocalExecutor<'l>, team: &'l Team) {
    let hub = &*team.hub;
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
                    let origin = client.map_or(origin, Origin::Tcp);
                    let manner = desk.manner();
                    if let Some(accepted) = admit((&desk, &manner), socket, origin, hub, Instant::now()) {
                        team.serve(accepted);
                    }
                }
                Err(Refusal::Ended) => debug!("{origin}: it ended before the header of the PROXY protocol"),
                Err(Refusal::Wrong(why)) => hub.refuse_proxy(&origin, why, Instant::now()),
            }
            drop(place);
        };
        executor.spawn(greeting).detach();
    }
}

/// None if it is not let in.
fn admit(
    (desk, manner): (&Desk, &Manner),
    socket: Socket,
    origin: Origin,
    hub: &Hub,
    now: Instant,
) -> Option<Accepted> {
    let peer = hub.accept(origin, Arc::clone(desk.entrance()), now)?;
    tell(&socket, &peer);
    Some(Accepted { socket, peer, tls: manner.tls.clone(), websocket: manner.websocket.clone() })
}

fn tell(socket: &Socket, peer: &Peer) {
    if !log_enabled!(target: CONNECTIONS, Level::Debug) {
        return;
    }
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    let port = local.map_or(0, |address| address.port());
    debug!(target: CONNECTIONS, event = "accepted", address:% = peer, port; "{peer} comes to port {port}");
}
