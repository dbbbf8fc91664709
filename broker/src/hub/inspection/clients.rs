//! Clients: a page of them, one in detail, and its end.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;

use super::subscriptions::SubscriptionView;
use super::{MAX_PAGE, shown};
use crate::codec::QoS;
use crate::hub::{Batch, Client, Hub, Peer};
use crate::session::{Expiry, Session, Visit};

/// Which clients are asked for.
#[derive(Clone, Debug, Default)]
pub struct ClientQuery {
    /// At most so many, and never more than [`MAX_PAGE`].
    pub limit: usize,
    /// By client identifier: those behind this one.
    pub after: Option<String>,
    /// Those with this text in their client identifier, user name or address.
    pub text: Option<String>,
    /// Those that are connected, or those that are away.
    pub connected: Option<bool>,
    /// In which order.
    pub sort: Sort,
}

/// In which order clients come. All but the first give those with the highest figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By client identifier.
    #[default]
    Id,
    /// By messages that wait for them.
    Queued,
    /// By messages that were dropped.
    Dropped,
    /// By messages in flight.
    InFlight,
    /// By bytes written to them.
    BytesSent,
    /// By bytes read from them.
    BytesReceived,
    /// By PUBLISH packets sent.
    MessagesSent,
    /// By PUBLISH packets received.
    MessagesReceived,
    /// Those that came or went last.
    Since,
}

/// A page of clients.
#[derive(Clone, Debug, Default)]
pub struct ClientPage {
    /// Those of the page.
    pub clients: Vec<ClientView>,
    /// There are more behind the last one.
    pub has_more: bool,
    /// How many there are on all pages.
    pub total: usize,
}

/// A client as it is now.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// Its client identifier.
    pub id: CompactString,
    /// Whether it is connected.
    pub is_connected: bool,
    /// Its connection, or the last one; none if there was none in this life of the broker.
    pub visit: Option<triomphe::Arc<Visit>>,
    /// Since when it is connected, or away.
    pub since: Option<Instant>,
    /// How long its session outlives its connection.
    pub expiry: Expiry,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages that are not finally acknowledged.
    pub in_flight: usize,
    /// Messages that wait.
    pub queued: usize,
    /// Bytes of them.
    pub queued_bytes: usize,
    /// Bytes that wait for it to read.
    pub outbox_bytes: usize,
    /// Messages for it that were dropped.
    pub dropped: u64,
    /// PUBLISH packets put on their way to it.
    pub messages_sent: u64,
    /// Whether the log is told of its packets.
    pub is_traced: bool,
}

/// A client, its subscriptions and its will.
#[derive(Clone, Debug)]
pub struct ClientDetails {
    /// The client.
    pub client: ClientView,
    /// The first [`MAX_PAGE`] of its subscriptions.
    pub subscriptions: Vec<SubscriptionView>,
    /// What is published if its connection breaks, or once its delay is over.
    pub will: Option<WillView>,
}

/// A will.
#[derive(Clone, Debug)]
pub struct WillView {
    /// Where to.
    pub topic: String,
    /// What, or the begin of it.
    pub payload: Vec<u8>,
    /// Bytes of all of it.
    pub bytes: usize,
    /// At which QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// How long to wait for the client's return before.
    pub delay_seconds: u32,
}

/// What became of a client that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dismissed {
    /// Its connection was told to end.
    pub was_connected: bool,
    /// Its session ends, too.
    pub session_ends: bool,
}

impl ClientView {
    fn of(client: &Client, session: &Session) -> Self {
        Self {
            id: client.id.clone(),
            is_connected: session.link.is_some(),
            visit: session.visit.clone(),
            since: since(session),
            expiry: session.expiry,
            subscriptions: session.subscriptions.len(),
            in_flight: session.outbound.in_flight(),
            queued: session.outbound.queued(),
            queued_bytes: session.outbound.queued_bytes(),
            outbox_bytes: session.link.as_ref().map_or(0, |link| link.outbox.bytes()),
            dropped: session.dropped(),
            messages_sent: session.sent(),
            is_traced: client.is_traced(),
        }
    }
}

impl ClientQuery {
    fn takes(&self, client: &Client, session: &Session) -> bool {
        self.connected.is_none_or(|connected| connected == session.link.is_some())
            && self.text.as_deref().is_none_or(|text| has_text(client, session, text))
    }

    /// Whether a session must be looked at to know whether it is wanted.
    fn is_selective(&self) -> bool {
        self.connected.is_some() || self.text.is_some()
    }
}

fn has_text(client: &Client, session: &Session, text: &str) -> bool {
    let visit = session.visit.as_deref();
    client.id.contains(text)
        || visit.is_some_and(|visit| {
            visit.origin.to_string().contains(text) || visit.user().is_some_and(|user| user.contains(text))
        })
}

/// Since when a client is connected, or away.
fn since(session: &Session) -> Option<Instant> {
    let visit = session.visit.as_deref().filter(|_| session.link.is_some());
    visit.map(|visit| visit.since.into()).or(session.absence.since())
}

/// The figure that clients are sorted by.
fn figure(sort: Sort, session: &Session, origin: Instant) -> u64 {
    let traffic = || session.visit.as_deref().map(|visit| &visit.traffic);
    match sort {
        Sort::Id => 0,
        Sort::Queued => session.outbound.queued() as u64,
        Sort::Dropped => session.dropped(),
        Sort::InFlight => session.outbound.in_flight() as u64,
        Sort::BytesSent => traffic().map_or(0, |traffic| traffic.bytes_sent()),
        Sort::BytesReceived => traffic().map_or(0, |traffic| traffic.bytes_received()),
        Sort::MessagesSent => session.sent(),
        Sort::MessagesReceived => traffic().map_or(0, |traffic| traffic.publish_received()),
        Sort::Since => {
            // The later, the fewer microseconds ago.
            let ago =
                since(session).map_or(u128::MAX, |since| origin.saturating_duration_since(since).as_micros());
            u64::MAX - u64::try_from(ago).unwrap_or(u64::MAX)
        }
    }
}

impl Hub {
    /// A page of clients.
    pub fn clients(&self, query: &ClientQuery, now: Instant) -> ClientPage {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let mut found = self.all_clients();
        if query.is_selective() {
            found.retain(|client| query.takes(client, &client.session.lock()));
        }
        let total = found.len();
        if query.sort != Sort::Id {
            let keyed = found.into_iter().map(|client| {
                let figure = figure(query.sort, &client.session.lock(), now);
                (Reverse(figure), client)
            });
            let mut keyed: Vec<_> = keyed.collect();
            let by_figure = |(a, one): &(Reverse<u64>, Arc<Client>),
                             (b, other): &(Reverse<u64>, Arc<Client>)| {
                a.cmp(b).then_with(|| one.id.cmp(&other.id))
            };
            keep_first(&mut keyed, limit, by_figure);
            return ClientPage {
                clients: view(keyed.iter().map(|(_, client)| client)),
                has_more: false,
                total,
            };
        }
        if let Some(after) = &query.after {
            found.retain(|client| *client.id > **after);
        }
        let has_more = found.len() > limit;
        keep_first(&mut found, limit, |one, other| one.id.cmp(&other.id));
        ClientPage { clients: view(found.iter()), has_more, total }
    }

    /// One client.
    pub fn client(&self, id: &str) -> Option<ClientDetails> {
        let client = self.sessions.lock().get(id).cloned()?;
        let (view, will) = {
            let session = client.session.lock();
            let will = session.will().map(|will| WillView {
                topic: will.message.topic().to_string(),
                payload: shown(will.message.payload()),
                bytes: will.message.payload().len(),
                qos: will.message.qos(),
                retain: will.retain,
                delay_seconds: will.delay_seconds,
            });
            (ClientView::of(&client, &session), will)
        };
        let subscriptions = self.subscriptions_of(&client, None, MAX_PAGE, |_| true);
        Some(ClientDetails { client: view, subscriptions, will })
    }

    /// Disconnects a client, and ends its session if that is asked for. None if there is no such client.
    ///
    /// Its will goes out, as after any end that is not its own.
    pub fn dismiss(
        &self,
        id: &str,
        ends_session: bool,
        now: Instant,
        batch: &mut Batch,
    ) -> Option<Dismissed> {
        let turn = self.turn();
        batch.at(now).in_turn(turn.as_ref());
        let dismissed = self.try_dismiss(id, ends_session, batch);
        batch.end_turn();
        drop(turn);
        self.absorb(batch);
        dismissed
    }

    fn try_dismiss(&self, id: &str, ends_session: bool, batch: &mut Batch) -> Option<Dismissed> {
        let mut sessions = self.sessions.lock();
        let client = sessions.get(id).cloned()?;
        let mut session = client.session.lock();
        let was_connected = session.link.is_some();
        let dismissed = Dismissed { was_connected, session_ends: ends_session };
        if was_connected {
            if ends_session {
                session.expiry = Expiry::AT_ONCE;
                self.record_session(&client, &session);
            }
            if let Some(link) = &mut session.link {
                link.dismissed = true;
                batch.touched(link.wake());
            }
            let session_ends = session.expiry == Expiry::AT_ONCE;
            return Some(Dismissed { session_ends, ..dismissed });
        }
        if ends_session {
            self.forget(&mut sessions, &client);
            drop(sessions);
            let will = self.end_absence(&client, &mut session, batch);
            drop(session);
            self.end_session(&client, batch);
            self.publish_will(will, &client, batch);
        }
        Some(dismissed)
    }

    /// Messages for a connection's client that were dropped.
    pub fn dropped_for(&self, peer: &Peer) -> u64 {
        peer.connected().map_or(0, |connected| connected.client.session.lock().dropped())
    }

    /// All of them as they are at one time, for whoever looks at them one by one.
    pub(in crate::hub) fn all_clients(&self) -> Vec<Arc<Client>> {
        self.sessions.lock().values().cloned().collect()
    }
}

/// The first of them in their order.
pub(super) fn keep_first<T>(
    all: &mut Vec<T>,
    limit: usize,
    mut order: impl FnMut(&T, &T) -> std::cmp::Ordering,
) {
    if all.len() > limit {
        all.select_nth_unstable_by(limit, &mut order);
        all.truncate(limit);
    }
    all.sort_unstable_by(order);
}

fn view<'c>(clients: impl Iterator<Item = &'c Arc<Client>>) -> Vec<ClientView> {
    clients.map(|client| ClientView::of(client, &client.session.lock())).collect()
}
