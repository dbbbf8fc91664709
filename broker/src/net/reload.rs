//! What the broker takes from its configuration, at the start and again while it runs: everything is read and opened first,
//! and only then does any of it hold.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_io::Async;
use log::{info, warn};
use smol::channel;
use socket2::Socket;

use super::listener::{Desk, Listening, Manner};
use super::tls::Terms;
use super::{Broker, Inherited, ReloadError, StartError, http, unix};
use crate::auth::acl::{self, Acls};
use crate::auth::{Access, Passwords};
use crate::config::{Config, Endpoint, Listener};
use crate::hub::Batch;

/// What listeners stand on now.
pub(super) struct Standing {
    pub(super) config: Config,
    /// In the order of the configuration.
    pub(super) open: Vec<Opened>,
    /// Each file once.
    acls: Vec<Arc<Acls>>,
}

/// A listener that is open.
pub(super) struct Opened {
    /// As the configuration has it; port 0 for any.
    asked: Endpoint,
    pub(super) endpoint: Endpoint,
    pub(super) desk: Arc<Desk>,
    socket: Arc<Async<Socket>>,
}

/// What a configuration's listeners ask and speak, by files that were read.
pub(super) struct Prepared {
    /// For each of them.
    listeners: Vec<(Access, Manner)>,
    acls: Vec<Arc<Acls>>,
    /// What those files say now that were known before.
    tables: Vec<(Arc<Acls>, acl::Table)>,
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
        for (listener, (access, manner)) in config.listeners.iter().zip(prepared.listeners) {
            let (socket, opened) = open_one(listener, inherited.take(&listener.endpoint), access, manner)?;
            listening.push(socket);
            open.push(opened);
        }
        if open.is_empty() {
            return Err(StartError::NoListener);
        }
        Ok((Self { config, open, acls: prepared.acls }, listening))
    }

    /// How the HTTP side tells of the listeners.
    pub(super) fn places(&self) -> Vec<Arc<Desk>> {
        self.open.iter().map(|opened| Arc::clone(&opened.desk)).collect()
    }
}

fn open_one(
    listener: &Listener,
    inherited: Option<Socket>,
    access: Access,
    manner: Manner,
) -> Result<(Listening, Opened), StartError> {
    let (listening, endpoint) = Listening::open(listener, inherited, access, manner)?;
    let (desk, socket) = (Arc::clone(listening.desk()), Arc::clone(listening.socket()));
    Ok((listening, Opened { asked: listener.endpoint.clone(), endpoint, desk, socket }))
}

impl Prepared {
    /// Reads the files for the first time.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub(super) fn at_start(config: &Config) -> Result<Self, StartError> {
        Self::new(&config.listeners, &[])
            .map_err(|errors| errors.into_iter().next().unwrap_or(StartError::NoListener))
    }

    /// Reads the files. Of ACL files, those that are `known` stay what rights were worked out from.
    fn new(listeners: &[Listener], known: &[Arc<Acls>]) -> Result<Self, Vec<StartError>> {
        let (mut errors, mut prepared) =
            (Vec::new(), Self { listeners: Vec::new(), acls: Vec::new(), tables: Vec::new() });
        let mut passwords = Vec::new();
        for listener in listeners {
            let access = prepared.access(listener, known, &mut passwords);
            let manner = Manner::new(listener);
            match (access, manner) {
                (Ok(access), Ok(manner)) => prepared.listeners.push((access, manner)),
                (access, manner) => errors.extend(access.err().into_iter().chain(manner.err())),
            }
        }
        if errors.is_empty() { Ok(prepared) } else { Err(errors) }
    }

    /// Whom a listener lets in, and what they may do. Several may share a file.
    fn access(
        &mut self,
        listener: &Listener,
        known: &[Arc<Acls>],
        passwords: &mut Vec<Arc<Passwords>>,
    ) -> Result<Access, StartError> {
        let Listener { endpoint, allow_anonymous, password_file, acl_file, user_from_certificate, .. } =
            listener;
        let user_from_certificate = user_from_certificate.is_some();
        if user_from_certificate && !listener.tls.as_ref().is_some_and(|tls| tls.require_certificate) {
            return Err(StartError::NoCertificates(endpoint.clone()));
        }
        if password_file.is_none() && !allow_anonymous && !user_from_certificate {
            return Err(StartError::NobodyAllowed(endpoint.clone()));
        }
        let passwords = password_file.as_deref().map(|path| {
            let load = |path: &Path| Passwords::load(path).map(Arc::new).map_err(StartError::Passwords);
            once(passwords, path, |file| file.path(), load)
        });
        let (tables, mut names_users) = (&mut self.tables, false);
        let acls = acl_file.as_deref().map(|path| {
            once(
                &mut self.acls,
                path,
                |file| file.path(),
                |path| {
                    let table = acl::Table::load(path).map_err(StartError::Acls)?;
                    names_users = table.names_users();
                    let Some(before) = known.iter().find(|file| file.path() == path) else {
                        return Ok(Arc::new(Acls::new(path, table)));
                    };
                    tables.push((Arc::clone(before), table));
                    Ok(Arc::clone(before))
                },
            )
        });
        let (passwords, acls) = (passwords.transpose()?, acls.transpose()?);
        if passwords.is_none() && !user_from_certificate && names_users {
            warn!(
                "{endpoint}: `acl_file` has lines for users, who without `password_file` are whoever says so"
            );
        }
        Ok(Access {
            allow_anonymous: *allow_anonymous,
            passwords,
            acls,
            user_from_certificate,
            user_as_client_id: listener.user_as_client_id,
            client_id_prefixes: listener.client_id_prefixes.clone(),
            identifiers: listener.identifiers.clone(),
            max_connections: listener.max_connections,
            publish_rate: listener.publish_rate,
        })
    }
}

/// What a file holds: known from before, or read now.
fn once<T>(
    known: &mut Vec<Arc<T>>,
    path: &Path,
    path_of: impl Fn(&T) -> &Path,
    load: impl FnOnce(&Path) -> Result<Arc<T>, StartError>,
) -> Result<Arc<T>, StartError> {
    if let Some(file) = known.iter().find(|file| path_of(file) == path) {
        return Ok(Arc::clone(file));
    }
    let file = load(path)?;
    known.push(Arc::clone(&file));
    Ok(file)
}

impl Manner {
    fn new(listener: &Listener) -> Result<Self, StartError> {
        let user_from = listener.user_from_certificate;
        let terms = |tls| Terms::new(&listener.endpoint, tls, user_from);
        Ok(Self {
            tls: listener.tls.as_ref().map(terms).transpose()?,
            websocket: listener.websocket.clone().map(Arc::new),
            proxy: listener.proxy.clone(),
        })
    }
}

/// Whether both are one socket.
fn are_same(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix { path, .. }, Endpoint::Unix { path: other, .. }) => path == other,
        _ => one == other,
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
        if config.listeners.is_empty() {
            errors.push(StartError::NoListener);
        }
        let prepared = Prepared::new(&config.listeners, &standing.acls);
        let prepared = prepared.map_err(|wrong| errors.extend(wrong)).ok();
        let door = self.http_guard.as_ref().map(|guard| (guard, http::Door::new(&config.http)));
        let door = door.and_then(|(guard, door)| match door {
            Ok(door) => Some((guard, door)),
            Err(error) => {
                errors.push(error);
                None
            }
        });
        let (Some(prepared), true) = (prepared, errors.is_empty()) else { return Err(ReloadError(errors)) };

        // By its place in the configuration: one that is open already, or is now.
        let mut before: Vec<_> = std::mem::take(&mut standing.open).into_iter().map(Some).collect();
        let mut planned = Vec::new();
        for (listener, (access, manner)) in config.listeners.iter().zip(prepared.listeners) {
            let is_this = |opened: &&mut Option<Opened>| {
                opened.as_ref().is_some_and(|opened| are_same(&opened.asked, &listener.endpoint))
            };
            match before.iter_mut().find(is_this) {
                Some(place) => planned.push(Plan::Keep(place.take(), access, manner)),
                None => match open_one(listener, None, access, manner) {
                    Ok((listening, opened)) => planned.push(Plan::Open(listening, opened)),
                    Err(error) => errors.push(error),
                },
            }
        }
        for (plan, listener) in planned.iter().zip(&config.listeners) {
            if let Plan::Keep(Some(opened), ..) = plan
                && errors.is_empty()
                && let Err(source) = adjust(opened, listener)
            {
                errors.push(StartError::Listen { endpoint: listener.endpoint.clone(), source });
            }
        }
        if !errors.is_empty() {
            // Those in their old order, as they were.
            let kept = planned.into_iter().filter_map(|plan| match plan {
                Plan::Keep(opened, ..) => opened,
                Plan::Open(..) => None,
            });
            let mut all: Vec<_> = kept.chain(before.into_iter().flatten()).collect();
            let order = |opened: &Opened| {
                let listeners = &standing.config.listeners;
                listeners.iter().position(|listener| are_same(&listener.endpoint, &opened.asked))
            };
            all.sort_by_key(order);
            standing.open = all;
            return Err(ReloadError(errors));
        }

        // Nothing can fail from here on.
        for (acls, table) in prepared.tables {
            acls.replace(table);
        }
        let had_acls = !standing.acls.is_empty();
        standing.acls = prepared.acls;
        self.hub.change_limits(config.limits.clone());
        self.hub.change_response_information(config.response_information.clone());
        self.hub.redirect(config.redirect.clone());
        self.stats_interval.store(millis(config.stats_interval), Ordering::Relaxed);
        if let Some((guard, door)) = door {
            guard.change(door);
        }
        let mut batch = Batch::new(Instant::now());
        for opened in before.into_iter().flatten() {
            info!("listens on {} no more", opened.endpoint);
            self.close(opened, &mut batch);
        }
        for (plan, listener) in planned.into_iter().zip(&config.listeners) {
            match plan {
                Plan::Keep(Some(mut opened), access, manner) => {
                    opened.asked = listener.endpoint.clone();
                    opened.desk.change(access, manner);
                    standing.open.push(opened);
                }
                Plan::Keep(None, ..) => {}
                Plan::Open(listening, opened) => {
                    info!("listens on {}, too", opened.endpoint);
                    if let Some(acceptor) = &self.acceptor {
                        acceptor.open(listening);
                    }
                    standing.open.push(opened);
                }
            }
        }
        *self.places.write() = standing.places();
        if had_acls || !standing.acls.is_empty() {
            let entrances = standing.open.iter().map(|opened| Arc::clone(opened.desk.entrance()));
            self.hub.renew_rights(&entrances.collect::<Vec<_>>(), &mut batch);
        }
        batch.wake();
        standing.config = config;
        Ok(())
    }

    fn close(&self, opened: Opened, batch: &mut Batch) {
        let (done, closed) = channel::bounded(1);
        if let Some(acceptor) = &self.acceptor {
            acceptor.close(Arc::clone(&opened.desk), done);
            // It is closed once the sender is gone: the address is free when a reload says that it is done.
            _ = closed.recv_blocking();
        }
        self.hub.close_entrance(opened.desk.entrance(), batch);
    }
}

/// What becomes of a listener of the new configuration.
enum Plan {
    /// It was there before; none if two are the same.
    Keep(Option<Opened>, Access, Manner),
    Open(Listening, Opened),
}

/// Sets what a socket that is open has of its listener.
fn adjust(opened: &Opened, listener: &Listener) -> std::io::Result<()> {
    if let Endpoint::Unix { path, mode: Some(mode) } = &listener.endpoint
        && opened.asked != listener.endpoint
    {
        unix::set_mode(path, *mode)?;
    }
    // Once more: with the backlog that holds now.
    opened.socket.get_ref().listen(listener.backlog.into())
}

/// As the housekeeping has it: 0 is never.
pub(super) fn millis(interval: Option<Duration>) -> u64 {
    interval.map_or(0, |interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1))
}
