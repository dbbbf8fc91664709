//! A broker that runs, and the signals it is told things by.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use async_signal::{Signal, Signals};
use log::{error, info, warn};
use smol::Timer;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use sol::config::{Problem, Settings};
use sol::{Broker, Changes, ReloadError, ReloadRequest, Reloaded, Stats};

use super::Source;
use super::log::Log;
use super::system::service;

/// How often to look whether all clients are gone.
const DRAIN_POLL: Duration = Duration::from_millis(20);

pub(super) struct Running<'a> {
    pub(super) broker: &'a Broker,
    pub(super) log: &'a Log,
    pub(super) source: &'a Source<'a>,
    /// Those in force.
    pub(super) settings: Settings,
}

enum Event {
    Signal(Signal),
    Watchdog,
    Asked(ReloadRequest),
}

impl Running<'_> {
    /// Follows the signals, up to the one that stops it.
    pub(super) async fn until_stopped(mut self, signals: &mut Signals) -> io::Result<()> {
        let mut watchdog = service::watchdog().map_or_else(Timer::never, Timer::interval);
        loop {
            let signal = async { signals.next().await.transpose().map(|signal| signal.map(Event::Signal)) };
            let due = async {
                watchdog.next().await;
                Ok(Some(Event::Watchdog))
            };
            let asked = async { Ok(self.broker.reload_request().await.map(Event::Asked)) };
            match signal.or(due).or(asked).await? {
                Some(Event::Signal(Signal::Hup)) => _ = self.reload(),
                Some(Event::Asked(request)) => {
                    info!("reads the configuration again, as was asked for by HTTP");
                    request.answer(self.reload());
                }
                Some(Event::Signal(Signal::Usr1)) => self.log.reopen(),
                Some(Event::Signal(Signal::Usr2)) => self.summarise(),
                Some(Event::Signal(signal)) => {
                    info!("stops on {signal:?}");
                    return Ok(());
                }
                Some(Event::Watchdog) => {
                    // Takes the broker's locks: one that hangs is not reported as alive.
                    _ = self.broker.stats();
                    service::alive();
                }
                None => return Ok(()),
            }
        }
    }

    /// Takes over what the configuration says now, all of it or nothing.
    fn reload(&mut self) -> Reloaded {
        service::reloading();
        self.log.reopen();
        let reloaded = self.try_reload();
        if let Err(problems) = &reloaded {
            problems.iter().for_each(|problem| error!("{problem}"));
            error!("the configuration is not read again: what was read before stays in force");
        }
        service::ready();
        reloaded
    }

    fn try_reload(&mut self) -> Reloaded {
        let lines = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut settings = self.source.read_and_check().map_err(lines)?;
        settings.warnings().iter().for_each(|warning| warn!("{warning}"));
        let needs_restart = self.settings.keep_fixed(&mut settings);
        let changed = self.settings.changed(&settings);
        let log = Log::prepare(&settings.process).map_err(|error| vec![error])?;
        self.broker.change(settings.broker.clone()).map_err(|ReloadError(errors)| {
            errors
                .iter()
                .flat_map(|error| error.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        })?;
        self.log.change(&self.settings.process, &settings.process, log);
        self.settings = settings;
        for key in &needs_restart {
            warn!("`{key}` has changed: that takes a restart");
        }
        let names = |keys: BTreeSet<&'static str>| keys.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (changed, needs_restart) = (names(changed), names(needs_restart));
        if !changed.is_empty() {
            info!("changed: {}", changed.join(", "));
        }
        info!("read the configuration again, and its files");
        Ok(Changes { changed, needs_restart })
    }

    fn summarise(&self) {
        let Stats {
            connections,
            sessions,
            subscriptions,
            shared_subscriptions,
            retained,
            dropped_queue_full,
            dropped_outbox_full,
            dropped_retained_full,
            ..
        } = self.broker.stats();
        let subscriptions = subscriptions + shared_subscriptions;
        info!(
            "state: {connections} connections, {sessions} sessions, {subscriptions} subscriptions, {retained} retained; \
             dropped: {dropped_queue_full} for full queues, {dropped_outbox_full} for slow readers, \
             {dropped_retained_full} not retained"
        );
    }
}

/// Waits until a stop of the broker that has begun waits for no client any more. False if a signal says that it is to end
/// at once.
pub(super) async fn has_drained(broker: &Broker, signals: &mut Signals) -> io::Result<bool> {
    let mut poll = Timer::interval(DRAIN_POLL);
    let (is_watched, mut is_told) = (service::watchdog().is_some(), false);
    while !broker.has_stopped() {
        let signal = async { signals.next().await.transpose() };
        let due = async {
            poll.next().await;
            Ok(None)
        };
        match signal.or(due).await? {
            Some(signal @ (Signal::Int | Signal::Term)) => {
                info!("ends at once on {signal:?}");
                return Ok(false);
            }
            _ if is_watched => service::alive(),
            _ => {}
        }
        if !std::mem::replace(&mut is_told, true) && !broker.has_stopped() {
            info!(
                "waits for clients to take what is left for them (`shutdown_grace`); a second signal ends it at once"
            );
        }
    }
    Ok(true)
}
