//! What systemd is told, if it started the process (`NOTIFY_SOCKET`, sd_notify(3)).

use std::time::Duration;

use log::warn;
use sd_notify::NotifyState;

/// Clients can connect.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// What can be read again is read again. [`ready`] comes behind it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!("cannot tell systemd of a reload: {error}"),
    }
}

/// The broker stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often to say [`alive`], if anybody wants to hear it: twice as often as is asked for.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2).filter(|interval| *interval > Duration::ZERO)
}

/// The broker still works.
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("cannot tell systemd {state:?}: {error}");
    }
}
