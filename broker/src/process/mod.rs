//! The process around the broker: its command line, its log, its signals, its place in the system.

mod arguments;
mod configuration;
mod failure;
mod log;
#[cfg(not(unix))]
mod other;
mod running;
#[cfg(unix)]
mod unix;

use std::fs::File;
use std::path::Path;

use ::log::{info, warn};
use async_signal::Signals;
use sol::config::{Endpoint, Persistence, Settings, SyncPolicy};
use sol::{Broker, Config, Inherited};

pub(crate) use arguments::{Arguments, Command};
pub(crate) use configuration::Source;
pub(crate) use failure::Failure;
use log::Log;
#[cfg(not(unix))]
use other as system;
use running::Running;
use system::{Identity, PidFile, service};
pub(crate) use system::{Starter, raise_open_files};
#[cfg(unix)]
use unix as system;

/// Runs a broker until a signal stops it.
///
/// What only root may do comes first, then the process becomes the user it is told to. Whoever started it is told
/// last, when clients can connect.
pub(crate) fn run(source: &Source<'_>, settings: Settings, starter: &mut Starter) -> Result<(), Failure> {
    // Before there are threads: it takes them out of the environment.
    let inherited =
        service::sockets().map_err(|error| Failure::run("cannot take the sockets of systemd", error))?;
    let is_background = source.arguments.daemon;
    let log = Log::start(&settings.process, !is_background)?;
    // Whoever starts it looks at standard error.
    let is_unseen = is_background || settings.process.console.is_some_and(|console| !console.stderr);
    let (mut broker, mut signals, _pid_file) =
        start(&settings, inherited).map_err(|failure| failure.log(is_unseen))?;
    settings.warnings().iter().for_each(|warning| warn!("{warning}"));
    if is_background && settings.process.log_path.is_none() && settings.process.console.is_none() {
        eprintln!("sol: nothing is logged in the background without `log_path`");
    }
    starter.ready();
    service::ready();
    let running = Running { broker: &broker, log: &log, source, settings };
    let ended = smol::block_on(running.until_stopped(&mut signals)).and_then(|()| {
        service::stopping();
        broker.begin_stop();
        smol::block_on(running::has_drained(&broker, &mut signals))
    });
    match ended {
        Ok(true) => broker.stop(),
        _ => broker.stop_at_once(),
    }
    info!("stopped");
    match ended {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::run("cannot wait for signals", error).log(is_unseen)),
    }
}

/// Opens everything, then gives up the rights to do so.
fn start(settings: &Settings, inherited: Inherited) -> Result<(Broker, Signals, Option<PidFile>), Failure> {
    raise_open_files();
    // Before there is anything to stop.
    let signals =
        Signals::new(system::SIGNALS).map_err(|error| Failure::run("cannot take signals", error))?;
    let pid_file =
        settings.process.pid_file.as_deref().map(PidFile::create).transpose().map_err(Failure::Run)?;
    let broker = Broker::start_on(settings.broker.clone(), inherited)
        .map_err(|error| Failure::Run(error.to_string()))?;
    announce(&broker, &settings.broker);
    match Identity::find(&settings.process).map_err(|(_, what)| Failure::Run(what))? {
        Some(identity) if identity.is_within_reach() => become_user(&identity, settings)?,
        // As in mosquitto, whose files say `user` whoever starts it.
        Some(identity) => {
            warn!("`user` has no effect: only root can become {identity}, and this process is not root's");
        }
        None => {}
    }
    Ok((broker, signals, pid_file))
}

fn become_user(identity: &Identity, settings: &Settings) -> Result<(), Failure> {
    if let Some(log) = &settings.process.log_path
        && let Err(error) = identity.own(log)
    {
        warn!("cannot give {} to {identity}, so it cannot be opened anew: {error}", log.display());
    }
    if let Some(persistence) = &settings.broker.persistence {
        own_store(identity, &persistence.directory)?;
    }
    identity.assume().map_err(Failure::Run)?;
    info!("runs as {identity}");
    for (key, path) in settings.files() {
        if let Err(error) = File::open(path) {
            warn!("{identity} cannot read {} again (`{key}`): {error}", path.display());
        }
    }
    Ok(())
}

/// The writer goes on in the directory as that user.
fn own_store(identity: &Identity, directory: &Path) -> Result<(), Failure> {
    identity.own_directory(directory).map_err(|error| {
        let what = format!("cannot give {} to {identity} (`persistence_location`)", directory.display());
        Failure::run(&what, error)
    })
}

/// A line for each listener: where, for whom, and how it is served.
fn announce(broker: &Broker, config: &Config) {
    for (endpoint, listener) in broker.endpoints().iter().zip(&config.listeners) {
        let reach = match endpoint {
            Endpoint::Tcp(address) if address.ip().is_loopback() => "only this machine can reach it",
            Endpoint::Tcp(_) if listener.allow_anonymous => "anyone who can reach this address can connect",
            Endpoint::Any(_) if listener.allow_anonymous => "anyone who can reach this machine can connect",
            Endpoint::Tcp(_) => "users who can reach this address can connect",
            Endpoint::Any(_) => "users who can reach this machine can connect",
            Endpoint::Unix { .. } => "its permissions say who can connect",
        };
        info!(
            "sol {} listens on {endpoint} with {} threads over {}, {}, {}: {reach}",
            env!("CARGO_PKG_VERSION"),
            config.threads,
            broker.back_end(),
            match (&listener.websocket, &listener.tls) {
                (None, None) => "no TLS",
                (None, Some(_)) => "TLS",
                (Some(_), None) => "WebSocket, no TLS",
                (Some(_), Some(_)) => "WebSocket, TLS",
            },
            if listener.allow_anonymous { "no password needed" } else { "passwords needed" },
        );
    }
    for address in broker.http_addrs() {
        info!(
            "sol tells of itself on {}://{address}, {}",
            if config.http.tls.is_some() { "https" } else { "http" },
            if config.http.is_open() {
                "to whoever is on this machine"
            } else {
                "to whoever it is told to let in"
            },
        );
    }
    match &config.persistence {
        Some(Persistence { directory, sync, .. }) => info!(
            "durable: sessions, their messages and retained messages are stored in {}, {}",
            directory.display(),
            match sync {
                SyncPolicy::Always => "on stable storage before they are acknowledged".to_owned(),
                SyncPolicy::Interval(time) => {
                    format!("on stable storage every {} s, which a power cut may lose", time.as_secs())
                }
                SyncPolicy::Os =>
                    "on stable storage when the system decides, which a power cut may lose".to_owned(),
            }
        ),
        None => info!("in memory: nothing survives a restart (`persistence false`)"),
    }
}
