//! What systemd is told, if it started the process (`NOTIFY_SOCKET`, sd_notify(3)), and the sockets that it opened
//! before (`LISTEN_FDS`, sd_listen_fds(3)).

use std::io;
use std::time::Duration;

use listenfd::ListenFd;
use log::warn;
use sd_notify::NotifyState;
use sol::Inherited;

/// The sockets to listen on that systemd opened. Nothing else in this process may take them.
///
/// # Errors
///
/// One that is neither of TCP nor a UNIX socket for streams.
pub(crate) fn sockets() -> io::Result<Inherited> {
    let (mut handed, mut inherited) = (ListenFd::from_env(), Inherited::default());
    for number in 0..handed.len() {
        if let Ok(Some(socket)) = handed.take_unix_listener(number) {
            inherited.push_unix(socket)?;
        } else if let Some(socket) = handed.take_tcp_listener(number)? {
            inherited.push_tcp(socket)?;
        }
    }
    Ok(inherited)
}

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
