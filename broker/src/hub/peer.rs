//! A network connection as the hub sees it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::Writer;
use super::auth::Authentication;
use super::login::Login;
use super::pace::Pace;
use super::{Client, Ending, Limits};
use crate::auth::{Access, Entrance};
use crate::codec::Connect;
use crate::session::{ConnectionId, Moment, Origin, ReceivedAliases, Terms, Traffic, Visit};

/// Characters of a client identifier that the log shows: it may have 65,535 bytes, and each violation is a line.
const SHOWN_CHARS: usize = 64;

/// A client that has sent nothing for so long rests.
const REST: Duration = Duration::from_secs(10);

/// One network connection: a stranger until its CONNECT is accepted, then one client's.
pub struct Peer {
    /// Where it comes from, and what it says of itself; shared from the time on at which it has a session.
    pub(super) visit: triomphe::Arc<Visit>,
    /// What its entrance asked when it was looked at last; the writer and the pace are by that.
    pub(super) access: Arc<Access>,
    pub(super) standing: Standing,
    /// When the last whole packet came, or the connection.
    pub(super) last_packet: Moment,
    /// What most connections have not, but for the time before their CONNECT at the most.
    pub(super) rare: Option<Box<Rare>>,
    /// The listener it came by.
    pub(super) entrance: Arc<Entrance>,
}

/// What a connection is to the hub.
pub(super) enum Standing {
    /// Its CONNECT is not accepted yet. With the limits as they were when it came: what CONNACK tells of them holds as long as
    /// the connection.
    Stranger(Arc<Limits>),
    Client(Connected),
}

#[derive(Default)]
pub(super) struct Rare {
    login: Login,
    /// Who its certificate says that it is.
    certified: Option<Box<str>>,
    /// None without a method in CONNECT.
    authentication: Option<Box<Authentication>>,
    /// None where it may publish as fast as it can.
    pace: Option<Box<Pace>>,
    /// What its client may publish; none is anything.
    pub(super) writer: Option<Box<Writer>>,
    /// The topic aliases that its client made.
    pub(super) aliases: ReceivedAliases,
}

impl Rare {
    pub(super) fn authentication(rare: &mut Option<Box<Self>>) -> Option<&mut Authentication> {
        rare.as_mut()?.authentication.as_deref_mut()
    }

    /// The one there is, or a new one.
    pub(super) fn authentication_or(
        rare: &mut Option<Box<Self>>,
        new: impl FnOnce() -> Box<Authentication>,
    ) -> &mut Authentication {
        rare.get_or_insert_default().authentication.get_or_insert_with(new)
    }

    /// A PUBLISH of so many bytes came: takes it, or says when to come again.
    #[inline]
    pub(super) fn take_publish(
        rare: &mut Option<Box<Self>>,
        bytes: usize,
        now: Instant,
    ) -> Result<(), Instant> {
        match rare {
            Some(rare) => rare.pace.as_mut().map_or(Ok(()), |pace| pace.take(bytes, now)),
            None => Ok(()),
        }
    }
}

pub(super) struct Connected {
    pub(super) client: Arc<Client>,
    pub(super) connection: ConnectionId,
    pub(super) terms: Terms,
    /// Those of the connection.
    pub(super) limits: Arc<Limits>,
    /// CONNACK was handed over for writing. It is the first in the outbox, which is lost when the session is
    /// taken over before.
    pub(super) is_greeted: Cell<bool>,
    /// It is another broker's bridge, and said so as mosquitto's do.
    pub(super) is_bridge: bool,
    /// Its session had memory to give back when its task last went to sleep.
    pub(super) has_spare: Cell<bool>,
}

impl Peer {
    pub(super) fn new(origin: Origin, entrance: &Arc<Entrance>, now: Instant, limits: Arc<Limits>) -> Self {
        let access = entrance.access();
        let pace = Pace::new(access.publish_rate, now);
        let rare = pace.map(|pace| Box::new(Rare { pace: Some(pace), ..Rare::default() }));
        Self {
            visit: triomphe::Arc::new(Visit::new(origin, entrance.name.clone(), now)),
            access,
            standing: Standing::Stranger(limits),
            last_packet: now.into(),
            rare,
            entrance: Arc::clone(entrance),
        }
    }

    /// The client, once its CONNECT was accepted.
    #[inline]
    pub(super) fn connected(&self) -> Option<&Connected> {
        match &self.standing {
            Standing::Stranger(_) => None,
            Standing::Client(connected) => Some(connected),
        }
    }

    /// As they were when it came.
    pub(super) fn limits(&self) -> &Arc<Limits> {
        match &self.standing {
            Standing::Stranger(limits) | Standing::Client(Connected { limits, .. }) => limits,
        }
    }

    /// Where to count what the network floor reads and writes.
    pub fn traffic(&self) -> &Traffic {
        &self.visit.traffic
    }

    /// Where it comes from.
    pub(super) fn origin(&self) -> &Origin {
        &self.visit.origin
    }

    pub(super) fn login(&self) -> &Login {
        self.rare.as_ref().map_or(&Login::Unverified, |rare| &rare.login)
    }

    pub(super) fn set_login(&mut self, login: Login) {
        self.rare.get_or_insert_default().login = login;
    }

    pub(super) fn authentication(&self) -> Option<&Authentication> {
        self.rare.as_ref()?.authentication.as_deref()
    }

    pub(super) fn set_pace(&mut self, pace: Option<Box<Pace>>) {
        if pace.is_some() || self.is_paced() {
            self.rare.get_or_insert_default().pace = pace;
        }
    }

    /// Its CONNECT was accepted: nobody asks any more how it logged in.
    pub(super) fn is_let_in(&mut self) {
        self.rare
            .take_if(|rare| rare.authentication.is_none() && rare.pace.is_none() && rare.writer.is_none());
    }

    /// By its certificate it is that user.
    pub fn is_user(&mut self, user: Box<str>) {
        self.rare.get_or_insert_default().certified = Some(user);
    }

    /// Memory that the topic aliases of its client take, in bytes.
    pub(super) fn aliases_bytes(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.aliases.bytes())
    }

    /// Its client may publish only that much from now on; none is anything.
    pub(super) fn set_writer(&mut self, writer: Option<Box<Writer>>) {
        if writer.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().writer = writer;
        }
    }

    /// Who its client is, as far as it said or showed that.
    pub(super) fn user<'a>(&'a self, connect: &Connect<'a>) -> Option<&'a str> {
        if self.access.user_from_certificate {
            return self.rare.as_ref()?.certified.as_deref();
        }
        connect.user_name.or_else(|| self.rare.as_ref()?.authentication.as_ref()?.user())
    }

    /// Whether its CONNECT was accepted.
    pub fn is_connected(&self) -> bool {
        self.connected().is_some()
    }

    /// Whether there is a limit to how fast it may publish.
    pub fn is_paced(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.pace.is_some())
    }

    /// When the peer's silence ends the connection, unless a packet comes before: after one and a half times
    /// the keep alive [MQTT-3.1.2-24], or without a CONNECT in time.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = match (&self.standing, self.visit.keep_alive) {
            (Standing::Stranger(limits), _) => limits.connect_timeout,
            (Standing::Client(_), 0) => return None,
            (Standing::Client(_), keep_alive) => Duration::from_millis(1500) * u32::from(keep_alive),
        };
        Instant::from(self.last_packet).checked_add(patience)
    }

    /// When [`Hub::rest`](super::Hub::rest) is worth a call, unless a packet comes before.
    pub fn rests_at(&self) -> Option<Instant> {
        let connected = self.connected()?;
        if connected.has_spare.get() { Instant::from(self.last_packet).checked_add(REST) } else { None }
    }

    /// Why the connection ends that somebody ended.
    pub(super) fn dismissal(&self) -> Ending {
        if self.entrance.is_closed() { Ending::ListenerRemoved } else { Ending::Dismissed }
    }

    /// Why the connection ends at its deadline.
    pub fn timeout(&self) -> Ending {
        match &self.standing {
            Standing::Stranger(_) => Ending::ConnectTimeout,
            Standing::Client(_) => Ending::KeepAliveTimeout(self.visit.keep_alive),
        }
    }
}

/// Names the peer in the log: the client identifier if there is one, and the address.
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.connected() {
            Some(connected) => write!(f, "client {} at {}", Shown(connected.client.id()), self.origin()),
            None => self.origin().fmt(f),
        }
    }
}

/// A client identifier in the log: quoted, its control characters escaped, and cut where a line has no room for it.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_identifier_is_shown_on_one_line_that_ends() {
        assert_eq!(Shown("a\"b\n").to_string(), r#""a\"b\n""#);
        let long = "ä".repeat(SHOWN_CHARS);
        assert_eq!(Shown(&long).to_string(), format!("{long:?}"));
        assert_eq!(Shown(&format!("{long}ä")).to_string(), format!("{long:?}…"));
    }
}
