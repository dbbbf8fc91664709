//! A broker that runs, and the signals it is told things by.

use std::io;
use std::time::Duration;

use async_signal::{Signal, Signals};
use log::{error, info, warn};
use smol::Timer;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use sol::config::Settings;
use sol::{Broker, Stats};

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
            match signal.or(due).await? {
                Some(Event::Signal(Signal::Hup)) => self.reload(),
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

    /// Reads again what can be changed in a broker that runs.
    fn reload(&mut self) {
        service::reloading();
        self.log.reopen();
        match self.source.read() {
            Ok(settings) => {
                settings.warnings().iter().for_each(|warning| warn!("{warning}"));
                self.take(&settings);
            }
            Err(problems) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                error!("the configuration is not read again: what was read before stays in force");
            }
        }
        match self.broker.reload() {
            Ok(()) => info!("read the listeners' files again"),
            Err(error) => error!("{error}"),
        }
        service::ready();
    }

    fn take(&mut self, settings: &Settings) {
        let mut changed = self.settings.changed(settings);
        if changed.remove("log_level") {
            self.settings.process.log_level = settings.process.log_level;
        }
        let keys = ["log_format", "log_timestamp", "log_timestamp_format", "connection_messages"];
        if keys.map(|key| changed.remove(key)).contains(&true) {
            self.settings.process.log_lines.clone_from(&settings.process.log_lines);
        }
        self.log.set(&self.settings.process);
        // Both at once: one is nothing without the other.
        if changed.remove("server_reference") | changed.remove("server_moved") {
            self.broker.redirect(settings.broker.redirect.clone());
            self.settings.broker.redirect.clone_from(&settings.broker.redirect);
        }
        for key in changed {
            warn!("`{key}` has changed: that takes a restart");
        }
        info!("read the configuration again");
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
