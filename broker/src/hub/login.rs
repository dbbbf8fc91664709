//! Whether a CONNECT is let in.
//!
//! ```text
//!                      ┌─ no user name, or nothing to check it against ─▶ let in, or refused
//! CONNECT ─▶ Unverified┤
//!                      └─ Next::Verify ─▶ Verified ─▶ let in
//!                                            └──────▶ Refused ─▶ Next::Hold ─▶ CONNACK 4, the end
//! ```
//!
//! After `Verify` and `Hold` nothing is consumed: the connection gives the same bytes again, and nothing behind the
//! CONNECT is looked at before it is let in [MQTT-3.1.4-5].
//!
//! The standard (§3.2.2.3) has two codes, and does not say which a wrong password gets: 4 is for a "bad user name or
//! password", and so is a wrong one here; 5, "not authorized", is for a client that does not say who it is.
//! mosquitto answers 5 to both.
//!
//! A CONNECT with an authentication method goes the way of `auth.rs`, to the same end.

use std::sync::Arc;
use std::time::Instant;

use super::reached::Limit;
use super::{Batch, Hub, Next, Origin, Peer};
use crate::auth::{Source, Verdict, Verification};
use crate::codec::{Connect, Reason};
use crate::session::Terms;

/// How far a login is.
#[derive(Debug, Default)]
pub(super) enum Login {
    #[default]
    Unverified,
    Verified(Verdict),
    /// To be told at that time.
    Refused(Instant, Refusal),
}

#[derive(Debug)]
pub(super) struct Refusal {
    code: Reason,
    why: &'static str,
}

/// Most characters of a name in a log line.
const MAX_LOGGED_CHARS: usize = 100;

impl Peer {
    /// What came of the [`Verification`] that [`Next::Verify`] gave. The same bytes are to be handled again.
    pub fn verified(&mut self, verdict: Verdict) {
        self.set_login(Login::Verified(verdict));
    }
}

impl Hub {
    /// Lets a CONNECT in, or says what to do instead.
    pub(super) fn admit(
        &self,
        peer: &mut Peer,
        connect: &Connect<'_>,
        terms: &Terms,
        now: Instant,
        batch: &mut Batch,
    ) -> Result<(), Next> {
        let refusal = match peer.login() {
            Login::Refused(until, refusal) => {
                return Err(self.tell_at(*until, refusal, (connect, terms), now, batch));
            }
            Login::Verified(Verdict::Granted) => return Ok(()),
            Login::Verified(Verdict::NotVerified) => {
                let why = "as many logins wait as the limit allows";
                let refusal = Refusal { code: Reason::ServerUnavailable, why };
                self.reached.count(Limit::Logins);
                return Err(self.tell(&refusal, connect, terms, batch));
            }
            Login::Verified(Verdict::UnknownUser) => bad("there is no such user"),
            Login::Verified(Verdict::WrongPassword) => bad("wrong password"),
            Login::Unverified if peer.access.user_from_certificate => match peer.user(connect) {
                Some(_) => return Ok(()),
                None => bad("its certificate has no name that could be the user's"),
            },
            Login::Unverified => match (&peer.access.passwords, connect.user_name, connect.password) {
                (Some(table), Some(user), Some(password)) => {
                    let verification = Verification::new(Arc::clone(table), user, password);
                    return Err(Next::Verify(verification));
                }
                (Some(_), Some(_), None) => bad("no password"),
                _ if peer.access.allow_anonymous => return Ok(()),
                _ => Refusal { code: Reason::NotAuthorized, why: "anonymous clients are not let in" },
            },
        };
        Err(self.refuse_login(peer, refusal, (connect, terms), now, batch))
    }

    /// A login failed: refuses it, now or later.
    pub(super) fn refuse_login(
        &self,
        peer: &mut Peer,
        refusal: Refusal,
        (connect, terms): (&Connect<'_>, &Terms),
        now: Instant,
        batch: &mut Batch,
    ) -> Next {
        let source = match peer.origin() {
            Origin::Tcp(address) => address.ip().into(),
            Origin::Unix(_) | Origin::Bridge(_) => Source::Local,
        };
        let delay = self.delays.lock().failed(source, now);
        if delay.is_zero() {
            return self.tell(&refusal, connect, terms, batch);
        }
        // Told within the time for CONNECT, so that it is told at all.
        let until = now.checked_add(delay).into_iter().chain(peer.deadline()).min().unwrap_or(now);
        peer.set_login(Login::Refused(until, refusal));
        Next::Hold(until)
    }

    /// Tells a refusal when it is time.
    pub(super) fn tell_at(
        &self,
        until: Instant,
        refusal: &Refusal,
        (connect, terms): (&Connect<'_>, &Terms),
        now: Instant,
        batch: &mut Batch,
    ) -> Next {
        if now < until { Next::Hold(until) } else { self.tell(refusal, connect, terms, batch) }
    }

    /// The client is told the code alone: why a login failed is for the log.
    fn tell(&self, refusal: &Refusal, connect: &Connect<'_>, terms: &Terms, batch: &mut Batch) -> Next {
        let short = |name: &str| name.chars().take(MAX_LOGGED_CHARS).collect::<String>();
        // With control characters escaped: a name must not write lines of its own into the log.
        let client = short(connect.client_id);
        let reason = match connect.user_name {
            Some(user) => format!("{}, client {client:?}, user {:?}", refusal.why, short(user)),
            None => format!("{}, client {client:?}", refusal.why),
        };
        Next::End(self.refuse(terms, (refusal.code, reason), None, batch))
    }
}

pub(super) fn bad(why: &'static str) -> Refusal {
    Refusal { code: Reason::BadUserNameOrPassword, why }
}
