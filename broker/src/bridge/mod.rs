//! Bridges: this broker as the client of another, to which it hands messages on, and from which it takes them.
//!
//! A bridge is a client at both ends and keeps nothing itself (`relay.rs` says how). Its session here (`local.rs`) is one of
//! the hub's, which keeps what goes out while there is no connection, in the store if there is one. It is opened when the
//! other broker has answered CONNECT (`remote.rs`) and closed when that connection is lost. All bridges run on one thread.

mod local;
mod relay;
mod remote;
mod routes;
mod wire;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use smol::{LocalExecutor, Timer, channel};

use crate::codec::{PacketId, QoS, RetainHandling, Version};
use crate::config::{self, BridgeStart};
use crate::hub::{Batch, Hub};
use crate::net::tls::{Client, TlsError};
use crate::topic::Name;
use local::Local;
use relay::{End, Relay};
use remote::{Failure, Remote, state};
use routes::Routes;
use wire::Wire;

/// How often a lazy bridge looks whether enough waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A connection that lasted so long was a good one: the next attempt waits no longer than the first.
const GOOD: Duration = Duration::from_secs(10);

/// One bridge, as it is configured, with what it needs to run.
pub(crate) struct Bridge {
    settings: config::Bridge,
    hub: Arc<Hub>,
    tls: Option<Client>,
    routes: Routes,
    local_client_id: String,
    remote_client_id: String,
    state_topic: Option<String>,
}

/// What a bridge remembers from one connection to the next.
struct Memory {
    /// The session here is older than this broker's life.
    was_here: bool,
    /// No connection so far.
    is_first: bool,
    /// The other broker has acknowledged every SUBSCRIBE and UNSUBSCRIBE, in this life and for the session that it has.
    is_settled: bool,
    /// The session here was lost, and the other broker's may know packet identifiers from it: those that are certain to
    /// mean nothing there any more. None where the other broker's is as new.
    released: Option<HashSet<PacketId>>,
    /// Whether to tell the other broker that this is a bridge.
    tells: bool,
    /// The address to begin with.
    address: usize,
    failures: u32,
    /// What was told last, so that it is not told again and again.
    told: String,
}

impl Bridge {
    pub(crate) fn new(settings: config::Bridge, hub: Arc<Hub>, tls: Option<Client>) -> Self {
        let remote_client_id =
            settings.remote_client_id.clone().unwrap_or_else(|| format!("{}.{}", host_name(), settings.name));
        let state_topic = settings.notifications.as_ref().map(|notifications| {
            let default = || format!("$SYS/broker/connection/{remote_client_id}/state");
            notifications.topic.clone().unwrap_or_else(default)
        });
        Self {
            routes: Routes::new(&settings.topics),
            local_client_id: settings.local_client_id(),
            remote_client_id,
            state_topic,
            settings,
            hub,
            tls,
        }
    }

    /// The highest QoS to ask for: what a client may publish at here.
    fn max_qos(&self) -> QoS {
        self.hub.limits().max_qos
    }

    /// Bytes of the largest packet, as its own settings say.
    fn own_packet_bytes(&self) -> usize {
        self.settings.max_packet_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// The largest packet that is taken from the other broker.
    fn max_received_bytes(&self) -> usize {
        self.own_packet_bytes().min(self.hub.limits().max_packet_bytes)
    }

    /// Where it is told on the other broker whether the bridge is there.
    fn remote_state_topic(&self) -> Option<Name<'_>> {
        let is_told = self.settings.notifications.as_ref().is_some_and(|it| !it.is_local);
        self.state_topic().filter(|_| is_told)
    }

    fn state_topic(&self) -> Option<Name<'_>> {
        self.state_topic.as_deref().and_then(|topic| Name::new(topic).ok())
    }

    /// Tells here whether the bridge is there.
    fn announce(&self, is_connected: bool) {
        if let Some(topic) = self.state_topic() {
            let mut batch = Batch::new(Instant::now());
            self.hub.announce(topic, state(is_connected), &mut batch);
        }
    }

    /// Connects, and connects again, as the configuration has it.
    async fn keep(self: &Arc<Self>) {
        let mut memory = Memory {
            was_here: false,
            is_first: true,
            is_settled: false,
            released: None,
            tells: self.settings.tells && self.settings.version != Version::V5,
            address: 0,
            failures: 0,
            told: String::new(),
        };
        self.announce(false);
        if !self.settings.local_clean_session {
            memory.was_here = self.prepare().await;
        }
        memory.released = (!memory.was_here).then(HashSet::new);
        loop {
            if let BridgeStart::Lazy { threshold, .. } = self.settings.start {
                let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
                while self.hub.waiting(&self.local_client_id) < threshold {
                    Timer::after(LOOK_INTERVAL).await;
                }
            }
            let began = Instant::now();
            match self.connect(&mut memory).await {
                Ok(End::Stopping) => return,
                Ok(end) => {
                    self.announce(false);
                    let why = match end {
                        End::Lost(why) => why,
                        _ => "nothing has gone over it for the idle time".to_owned(),
                    };
                    if began.elapsed() >= GOOD {
                        memory.failures = 0;
                        memory.told.clear();
                    }
                    self.tell(&mut memory, format!("disconnected: {why}"));
                    if self.settings.start == BridgeStart::Once {
                        return;
                    }
                }
                Err(Failure::Level(what)) => {
                    debug!("bridge {}: {what}; again as an ordinary client", self.settings.name);
                    memory.tells = false;
                    continue;
                }
                Err(Failure::Other(what)) => {
                    // Another attempt may tell again: what closed without a word may only have been down.
                    memory.tells = self.settings.tells && self.settings.version != Version::V5;
                    self.tell(&mut memory, format!("cannot connect: {what}"));
                }
            }
            Timer::after(self.pause(&mut memory)).await;
        }
    }

    fn tell(&self, memory: &mut Memory, what: String) {
        if memory.told == what {
            debug!("bridge {}: {what}", self.settings.name);
        } else {
            warn!("bridge {}: {what}", self.settings.name);
            memory.told = what;
        }
    }

    /// How long to wait for the next attempt: with each that failed twice as long, and a little at random, so that many
    /// bridges do not come at once when a broker is back.
    fn pause(&self, memory: &mut Memory) -> Duration {
        let (first, longest) = self.settings.restart;
        let pause = first.saturating_mul(1 << memory.failures.min(16)).min(longest);
        memory.failures += 1;
        let mut random = [0; 1];
        // Without randomness they come at once.
        _ = getrandom::fill(&mut random);
        pause * 3 / 4 + pause / 4 * u32::from(random[0]) / 255
    }

    /// Sees to it that there is a session here, so that messages are kept before the first connection. Says whether there
    /// was one.
    async fn prepare(self: &Arc<Self>) -> bool {
        loop {
            match Local::open(self, u16::MAX, |_| RetainHandling::DoNotSend) {
                Ok(mut local) => {
                    let was_here = std::future::poll_fn(|cx| {
                        // CONNACK may have to wait for the store.
                        let sleep = local.sleep(cx.waker());
                        match (local.session_present(), sleep) {
                            (Some(present), _) => std::task::Poll::Ready(present),
                            (None, Err(_)) => std::task::Poll::Ready(false),
                            (None, Ok(_)) => std::task::Poll::Pending,
                        }
                    });
                    let was_here = was_here.await;
                    local.close();
                    return was_here;
                }
                Err(error) => {
                    warn!("bridge {}: no session here: {error}", self.settings.name);
                    Timer::after(self.settings.restart.1).await;
                }
            }
        }
    }

    /// One connection, from its begin to its end.
    async fn connect(self: &Arc<Self>, memory: &mut Memory) -> Result<End, Failure> {
        let first = if self.settings.round_robin { memory.address } else { 0 };
        memory.address = (first + 1) % self.settings.addresses.len().max(1);
        let (wire, address) = Wire::connect(self, first).await.map_err(Failure::Other)?;
        let remote = Remote::greet(self, wire, memory.tells).await?;
        // Where both sides may change what is retained, what is here may be older than there by now. Sessions that go on on
        // both sides have what was published meanwhile in their queues.
        let goes_on = remote.session_present
            && !self.settings.local_clean_session
            && (memory.was_here || !memory.is_first);
        let retained = |comes_in: bool| {
            if comes_in && goes_on { RetainHandling::DoNotSend } else { RetainHandling::Send }
        };
        let local = Local::open(self, remote.receive_maximum, retained).map_err(Failure::Other)?;
        memory.is_first = false;
        info!(
            "bridge {}: connected to {address} as {:?}{}",
            self.settings.name,
            self.remote_client_id,
            if remote.session_present { ", to the session that is there" } else { "" }
        );
        memory.told.clear();
        self.announce(true);
        Ok(Relay::start(self, memory, local, remote).run().await)
    }
}

/// What other brokers know this machine by.
fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok();
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "sol".to_owned())
}

/// The thread that all bridges run on.
pub(crate) struct Bridges {
    /// Closing it ends the thread.
    running: channel::Sender<()>,
    thread: JoinHandle<()>,
}

impl Bridges {
    pub(crate) fn start(bridges: Vec<Bridge>) -> io::Result<Self> {
        let (running, stopped) = channel::bounded::<()>(1);
        let bridges: Vec<_> = bridges.into_iter().map(Arc::new).collect();
        let thread = thread::Builder::new().name("sol-bridge".to_owned()).spawn(move || {
            let executor = LocalExecutor::new();
            for bridge in &bridges {
                executor.spawn(bridge.keep()).detach();
            }
            smol::block_on(executor.run(async { _ = stopped.recv().await }));
        })?;
        Ok(Self { running, thread })
    }

    /// Ends it, and what connections there still are.
    pub(crate) fn stop(self) -> thread::Result<()> {
        drop(self.running);
        self.thread.join()
    }
}

/// Reads the files that a bridge's TLS is made of.
///
/// # Errors
///
/// Everything that is wrong with any.
pub(crate) fn read_tls(settings: &config::Bridge) -> Result<Option<Client>, Vec<TlsError>> {
    settings.tls.as_ref().map(Client::read).transpose()
}
