//! What the broker takes from its configuration, at the start and again while it runs: everything is read and opened first,
//! and only then does any of it hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::info;

use super::listener::{Desk, Handle, Listening, Manner, Source};
use super::prepared::{Prepared, prepare};
use super::{Broker, Inherited, ReloadError, StartError, http, unix};
use crate::auth::Access;
use crate::config::{Config, Endpoint, Listener};
use crate::hub::Batch;

/// What listeners stand on now.
pub(super) struct Standing {
    pub(super) config: Config,
    /// In the order of the configuration.
    pub(super) open: Vec<Opened>,
}

/// A listener that is open.
#[derive(Clone)]
pub(super) struct Opened {
    /// As the configuration has it; port 0 for any.
    asked: Endpoint,
    pub(super) endpoint: Endpoint,
    pub(super) desk: Arc<Desk>,
    pub(super) handle: Handle,
}

impl Standing {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The first that cannot be; then none is.
    pub(super) fn open(
        config: Config,
        prepared: Prepared,
        inherited: &mut Inherited,
    ) -> Result<(Self, Vec<Listening>), StartError> {
        let (mut open, mut listening) = (Vec::new(), Vec::new());
        for (listener, (access, manner)) in config.listeners.iter().zip(prepared) {
            let source = inherited.take(&listener.endpoint).map_or(Source::New, Source::Inherited);
            let (socket, opened) = open_one(listener, source, access, manner)?;
            listening.push(socket);
            open.push(opened);
        }
        if open.is_empty() {
            return Err(StartError::NoListener);
        }
        Ok((Self { config, open }, listening))
    }

    /// How the HTTP side tells of the listeners.
    pub(super) fn places(&self) -> Vec<Arc<Desk>> {
        self.open.iter().map(|opened| Arc::clone(&opened.desk)).collect()
    }
}

fn open_one(
    listener: &Listener,
    source: Source,
    access: Access,
    manner: Manner,
) -> Result<(Listening, Opened), StartError> {
    let (listening, handle, endpoint) = Listening::open(listener, source, access, manner)?;
    let desk = Arc::clone(listening.desk());
    Ok((listening, Opened { asked: listener.endpoint.clone(), endpoint, desk, handle }))
}

/// Whether both are one socket.
fn are_same(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix { path, .. }, Endpoint::Unix { path: other, .. }) => path == other,
        _ => one == other,
    }
}

impl Opened {
    /// Sets what the socket has of the listener.
    fn adjust(&mut self, listener: &Listener) -> Result<(), StartError> {
        let Listener { endpoint, backlog, .. } = listener;
        let adjust = || {
            if let Endpoint::Unix { path, mode: Some(mode) } = endpoint
                && self.asked != *endpoint
            {
                unix::set_mode(path, *mode)?;
            }
            // Once more: with the backlog that holds now.
            self.handle.set_backlog(*backlog)
        };
        adjust().map_err(|source| StartError::Listen { endpoint: endpoint.clone(), source })?;
        self.asked = endpoint.clone();
        Ok(())
    }
}

impl Broker {
    /// Reads all files that its configuration names again, and takes over what they say: as [`Self::change`] does with a
    /// configuration that is the same.
    ///
    /// # Errors
    ///
    /// As of [`Self::change`].
    pub fn reload(&self) -> Result<(), ReloadError> {
        let config = self.standing.lock().config.clone();
        self.change(config)
    }

    /// From now on it runs by that configuration; the files that it names are read, whether it is another or not.
    ///
    /// Listeners are told apart by where they are. The clients of one that is gone are told so in 5.0 (0x8B), and
    /// disconnected; all others stay connected. Who connects from now on meets all that is new. Who is connected does so for
    /// the ACL files, the publish rates and the limits on deliveries, subscriptions and memory; what CONNACK told it holds as
    /// long as its connection.
    ///
    /// `threads`, `spread`, `persistence`, bridges, the addresses of HTTP, and of the limits those of logins stay as they are.
    ///
    /// # Errors
    ///
    /// All that cannot be read, used or opened. Then nothing changes at all.
    pub fn change(&self, mut config: Config) -> Result<(), ReloadError> {
        let mut standing = self.standing.lock();
        let Config { threads, spread, persistence, bridges, http, .. } = &standing.config;
        (config.threads, config.spread) = (*threads, *spread);
        config.persistence.clone_from(persistence);
        config.bridges.clone_from(bridges);
        config.http.addresses.clone_from(&http.addresses);

        let mut errors = Vec::new();
        let prepared = prepare(&config.listeners).map_err(|wrong| errors.extend(wrong)).ok();
        let door = self.http_guard.as_ref().map(|_| http::Door::new(&config.http)).transpose();
        let door = door.map_err(|wrong| errors.push(wrong)).ok();
        let (Some(prepared), Some(door)) = (prepared, door) else { return Err(ReloadError(errors)) };
        let Plan { changes, closed } = Plan::new(&standing.open, &config.listeners, prepared)?;

        // Nothing can fail from here on.
        self.hub.change_limits(config.limits.clone());
        self.hub.change_response_information(config.response_information.clone());
        self.hub.redirect(config.redirect.clone());
        self.stats_interval.store(millis(config.stats_interval), Ordering::Relaxed);
        if let Some((guard, door)) = self.http_guard.as_ref().zip(door) {
            guard.change(door);
        }
        standing.open.clear();
        let mut batch = Batch::new(Instant::now());
        for opened in closed {
            info!("listens on {} no more", opened.endpoint);
            self.close(opened, &mut batch);
        }
        for change in changes {
            standing.open.push(match change {
                Change::Keep(opened, access, manner) => {
                    opened.desk.change(access, manner);
                    opened
                }
                Change::Open(opened, listening) => {
                    info!("listens on {}, too", opened.endpoint);
                    self.team.listen(listening);
                    opened
                }
            });
        }
        *self.places.write() = standing.places();
        let entrances = standing.open.iter().map(|opened| Arc::clone(opened.desk.entrance()));
        self.hub.renew_rights(&entrances.collect::<Vec<_>>(), &mut batch);
        batch.wake();
        standing.config = config;
        Ok(())
    }

    fn close(&self, opened: Opened, batch: &mut Batch) {
        // The address is free when a reload says that it is done.
        opened.handle.close();
        self.hub.close_entrance(opened.desk.entrance(), batch);
    }
}

/// What becomes of the listeners.
struct Plan {
    /// In the order of the new configuration.
    changes: Vec<Change>,
    /// Those that are in it no more.
    closed: Vec<Opened>,
}

enum Change {
    Keep(Opened, Access, Manner),
    Open(Opened, Listening),
}

impl Plan {
    /// Opens what is new, and only then adjusts what is there.
    fn new(open: &[Opened], listeners: &[Listener], prepared: Prepared) -> Result<Self, ReloadError> {
        let mut closed = open.to_vec();
        let kept = listeners.iter().map(|listener| {
            let place = closed.iter().position(|opened| are_same(&opened.asked, &listener.endpoint));
            place.map(|place| closed.remove(place))
        });
        let kept: Vec<_> = kept.collect();
        let (mut changes, mut errors) = (Vec::new(), Vec::new());
        for ((listener, kept), (access, manner)) in listeners.iter().zip(kept).zip(prepared) {
            match kept {
                Some(opened) => changes.push(Change::Keep(opened, access, manner)),
                None => match open_in_place(listener, &closed, access, manner) {
                    Ok((listening, opened)) => changes.push(Change::Open(opened, listening)),
                    Err(error) => errors.push(error),
                },
            }
        }
        if listeners.is_empty() {
            errors.push(StartError::NoListener);
        }
        for (change, listener) in changes.iter_mut().zip(listeners) {
            if let Change::Keep(opened, ..) = change
                && errors.is_empty()
            {
                errors.extend(opened.adjust(listener).err());
            }
        }
        if errors.is_empty() { Ok(Self { changes, closed }) } else { Err(ReloadError(errors)) }
    }
}

/// Opens a listener, be it on the port of one that is closed once nothing can fail any more.
fn open_in_place(
    listener: &Listener,
    closed: &[Opened],
    access: Access,
    manner: Manner,
) -> Result<(Listening, Opened), StartError> {
    let port = port(&listener.endpoint);
    let there: Vec<_> =
        closed.iter().filter(|opened| port.is_some() && self::port(&opened.endpoint) == port).collect();
    if there.is_empty() {
        return open_one(listener, Source::New, access, manner);
    }
    let share = |shares| there.iter().try_for_each(|opened| opened.handle.share_port(shares));
    let failed = |source| StartError::Listen { endpoint: listener.endpoint.clone(), source };
    share(true).map_err(failed)?;
    let opened = open_one(listener, Source::Beside, access, manner);
    share(false).map_err(failed)?;
    opened
}

/// That of TCP which is not any.
fn port(endpoint: &Endpoint) -> Option<u16> {
    match endpoint {
        Endpoint::Tcp(address) => Some(address.port()),
        Endpoint::Any(port) => Some(*port),
        Endpoint::Unix { .. } => None,
    }
    .filter(|port| *port != 0)
}

/// As the housekeeping has it: 0 is never.
pub(super) fn millis(interval: Option<Duration>) -> u64 {
    interval.map_or(0, |interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1))
}
