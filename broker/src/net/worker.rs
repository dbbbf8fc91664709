//! A thread, and the connections it serves from their first byte to their last.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::error;
use smol::future::Future;
use smol::{LocalExecutor, channel};
use socket2::Socket;

use super::connection;
use super::logins::Logins;
use super::poller::Poller;
use super::reactor::{Reactor, Registered};
use super::socket::Plain;
use super::tls::{self, Secure};
use crate::hub::{Ending, Hub, Peer};

/// A connection that was let in.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    /// None for plain MQTT.
    pub(super) tls: Option<tls::Acceptor>,
}

/// A thread that serves connections until it is stopped.
pub(super) struct Worker {
    intake: Intake,
    thread: JoinHandle<()>,
}

/// The way to a worker.
#[derive(Clone)]
pub(super) struct Intake {
    /// Never longer than the number of connections that the hub lets in.
    accepted: channel::Sender<Accepted>,
    connections: Arc<AtomicUsize>,
}

impl Intake {
    /// How many connections the worker serves.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Gives it one more. One that has failed, and said so, gives it back.
    pub(super) fn serve(&self, accepted: Accepted) -> Option<Peer> {
        if let Err(refused) = self.accepted.try_send(accepted) {
            return Some(refused.into_inner().peer);
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Worker {
    pub(super) fn start(number: usize, hub: Arc<Hub>, logins: Arc<Logins>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let (sender, accepted) = channel::unbounded();
        let connections = Arc::new(AtomicUsize::new(0));
        let intake = Intake { accepted: sender, connections: Arc::clone(&connections) };
        let thread = thread::Builder::new().name(format!("sol-{number}")).spawn(move || {
            let reactor = Rc::new(Reactor::new(Arc::clone(&poller)));
            let executor = LocalExecutor::new();
            let serve_all = executor.run(serve_all(accepted, &executor, &reactor, hub, logins, connections));
            if let Err(error) = drive(serve_all, &reactor, poller) {
                error!("cannot wait for sockets any more: {error}");
            }
        })?;
        Ok(Self { intake, thread })
    }

    pub(super) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Ends it, and the connections it still has.
    pub(super) fn stop(self) -> thread::Result<()> {
        self.intake.accepted.close();
        self.thread.join()
    }
}

async fn serve_all(
    accepted: channel::Receiver<Accepted>,
    executor: &LocalExecutor<'_>,
    reactor: &Rc<Reactor>,
    hub: Arc<Hub>,
    logins: Arc<Logins>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok(Accepted { socket, peer, tls }) = accepted.recv().await {
        let plain = match Registered::new(Rc::clone(reactor), socket) {
            Ok(registered) => Plain::new(registered),
            Err(error) => {
                connection::close(peer, &Ending::Network(error.kind()), &hub);
                connections.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
        };
        let (reactor, hub, connections) = (Rc::clone(reactor), Arc::clone(&hub), Arc::clone(&connections));
        let logins = Arc::clone(&logins);
        // Two kinds of task, so that what TLS keeps takes no room in the other.
        match tls {
            None => executor.spawn(serve(plain, peer, hub, logins, reactor, connections)).detach(),
            Some(acceptor) => {
                let secure = Secure::new(&acceptor, plain);
                executor.spawn(serve(secure, peer, hub, logins, reactor, connections)).detach();
            }
        }
    }
}

async fn serve(
    socket: impl super::socket::Socket,
    peer: Peer,
    hub: Arc<Hub>,
    logins: Arc<Logins>,
    reactor: Rc<Reactor>,
    connections: Arc<AtomicUsize>,
) {
    connection::serve(socket, peer, &hub, &logins, reactor).await;
    connections.fetch_sub(1, Ordering::Relaxed);
}

/// Runs a future to its end, the thread's sockets and timers beside it.
fn drive(future: impl Future<Output = ()>, reactor: &Reactor, poller: Arc<Poller>) -> io::Result<()> {
    let alarm = Arc::new(Alarm { poller, rung: AtomicBool::new(false), asleep: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        alarm.rung.store(false, Ordering::SeqCst);
        if let Poll::Ready(()) = future.as_mut().poll(&mut cx) {
            return Ok(());
        }
        // First `asleep`, then a look at `rung`: whoever rings later sees that it must notify.
        alarm.asleep.store(true, Ordering::SeqCst);
        let limit = alarm.rung.load(Ordering::SeqCst).then_some(Duration::ZERO);
        let waited = reactor.wait(limit);
        alarm.asleep.store(false, Ordering::SeqCst);
        waited?;
        reactor.dispatch();
    }
}

/// Wakes the thread, with a system call only if it sleeps.
struct Alarm {
    poller: Arc<Poller>,
    rung: AtomicBool,
    asleep: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            self.poller.notify();
        }
    }
}
