//! `/api/v1/clients`.

use std::num::NonZeroU32;
use std::time::Instant;

use hyper::StatusCode;
use serde::Serialize;

use super::payload::Payload;
use crate::codec::Version;
use crate::hub::{ClientPage, ClientQuery, ClientView, Sort, SubscriptionView, WillView};
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::query::Query;
use crate::net::http::state::{State, date};
use crate::session::Expiry;

#[derive(Serialize)]
struct Page {
    clients: Vec<Client>,
    /// What to ask for behind the last one; none if that was all.
    next: Option<String>,
    total: usize,
}

/// A client as JSON has it. What is known of its connection is null where it had none in this life of the broker.
#[derive(Serialize)]
struct Client {
    id: String,
    connected: bool,
    address: Option<String>,
    listener: Option<String>,
    user: Option<String>,
    protocol: Option<&'static str>,
    keep_alive_seconds: Option<u16>,
    clean_session: Option<bool>,
    /// Null is for ever.
    session_expiry_seconds: Option<u32>,
    since: Option<String>,
    subscriptions: usize,
    in_flight: usize,
    queued: usize,
    queued_bytes: usize,
    outbox_bytes: usize,
    dropped: u64,
    bytes_received: u64,
    bytes_sent: u64,
    messages_received: u64,
    messages_sent: u64,
    traced: bool,
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    client: Client,
    subscription_list: Vec<Subscription>,
    will: Option<Will>,
}

/// A subscription as JSON has it.
#[derive(Serialize)]
pub(super) struct Subscription {
    filter: String,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    identifier: Option<NonZeroU32>,
}

#[derive(Serialize)]
struct Will {
    topic: String,
    #[serde(flatten)]
    payload: Payload,
    bytes: usize,
    qos: u8,
    retain: bool,
    delay_seconds: u32,
}

#[derive(Serialize)]
struct Traced {
    traced: bool,
    /// Whether the broker knows the client now: one that it does not is traced when it comes.
    known: bool,
}

#[derive(Serialize)]
struct Dismissed {
    disconnected: bool,
    session_ended: bool,
}

impl From<ClientView> for Client {
    fn from(view: ClientView) -> Self {
        let visit = view.visit.as_deref();
        let traffic = visit.map(|visit| &visit.traffic);
        Self {
            id: view.id.to_string(),
            connected: view.is_connected,
            address: visit.map(|visit| visit.origin.to_string()),
            listener: visit.and_then(|visit| visit.listener.as_deref()).cloned(),
            user: visit.and_then(|visit| visit.user()).map(str::to_owned),
            protocol: visit.map(|visit| match visit.version {
                Version::V31 => "3.1",
                Version::V311 => "3.1.1",
                Version::V5 => "5.0",
            }),
            keep_alive_seconds: visit.map(|visit| visit.keep_alive),
            clean_session: visit.map(|visit| visit.is_clean),
            session_expiry_seconds: (view.expiry != Expiry::NEVER).then(|| view.expiry.seconds()),
            since: view.since.map(date),
            subscriptions: view.subscriptions,
            in_flight: view.in_flight,
            queued: view.queued,
            queued_bytes: view.queued_bytes,
            outbox_bytes: view.outbox_bytes,
            dropped: view.dropped,
            bytes_received: traffic.map_or(0, |traffic| traffic.bytes_received()),
            bytes_sent: traffic.map_or(0, |traffic| traffic.bytes_sent()),
            messages_received: traffic.map_or(0, |traffic| traffic.publish_received()),
            messages_sent: view.messages_sent,
            traced: view.is_traced,
        }
    }
}

impl From<SubscriptionView> for Subscription {
    fn from(view: SubscriptionView) -> Self {
        Self {
            filter: view.filter.to_string(),
            qos: view.qos.into(),
            no_local: view.no_local,
            retain_as_published: view.retain_as_published,
            identifier: view.identifier,
        }
    }
}

impl From<WillView> for Will {
    fn from(WillView { topic, payload, bytes, qos, retain, delay_seconds }: WillView) -> Self {
        let payload = Payload::new(payload, bytes);
        Self { topic, payload, bytes, qos: qos.into(), retain, delay_seconds }
    }
}

/// A page of clients.
pub(in crate::net::http) fn clients(state: &State, query: Option<&str>) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["limit", "after", "match", "sort", "state"])?;
    let connected = match query.text("state") {
        None => None,
        Some("connected") => Some(true),
        Some("away") => Some(false),
        Some(other) => {
            return Err(Refusal::bad(format!("`state` cannot be `{other}`: give connected or away")));
        }
    };
    let query = ClientQuery {
        limit: super::limit(&query)?,
        after: query.text("after").map(str::to_owned),
        text: query.text("match").map(str::to_owned),
        connected,
        sort: sort(query.text("sort").unwrap_or("id"))?,
    };
    let ClientPage { clients, has_more, total } = state.hub.clients(&query, Instant::now());
    let next = clients.last().filter(|_| has_more).map(|last| last.id.to_string());
    Ok(json(&Page { clients: clients.into_iter().map(Client::from).collect(), next, total }))
}

fn sort(name: &str) -> Result<Sort, Refusal> {
    const SORTS: [(&str, Sort); 9] = [
        ("id", Sort::Id),
        ("queued", Sort::Queued),
        ("dropped", Sort::Dropped),
        ("in_flight", Sort::InFlight),
        ("bytes_sent", Sort::BytesSent),
        ("bytes_received", Sort::BytesReceived),
        ("messages_sent", Sort::MessagesSent),
        ("messages_received", Sort::MessagesReceived),
        ("since", Sort::Since),
    ];
    SORTS.iter().find(|(known, _)| *known == name).map(|(_, sort)| *sort).ok_or_else(|| {
        let known = SORTS.map(|(name, _)| name).join(", ");
        Refusal::bad(format!("`sort` cannot be `{name}`: give one of {known}"))
    })
}

/// One client.
pub(in crate::net::http) fn client(state: &State, id: &str) -> Result<Answer, Refusal> {
    let details = state.hub.client(id).ok_or_else(|| unknown(id))?;
    Ok(json(&Details {
        client: details.client.into(),
        subscription_list: details.subscriptions.into_iter().map(Subscription::from).collect(),
        will: details.will.map(Will::from),
    }))
}

/// Disconnects a client, and may end its session.
pub(in crate::net::http) fn dismiss(state: &State, id: &str, query: Option<&str>) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["session"])?;
    let ends_session = query.value("session", "true or false")?.unwrap_or(false);
    let dismissed = state.with_batch(|hub, batch| hub.dismiss(id, ends_session, Instant::now(), batch));
    let dismissed = dismissed.ok_or_else(|| unknown(id))?;
    Ok(json(&Dismissed { disconnected: dismissed.was_connected, session_ended: dismissed.session_ends }))
}

/// Tells the log of each packet of a client from now on.
pub(in crate::net::http) fn trace(state: &State, id: &str) -> Result<Answer, Refusal> {
    let known = state.hub.trace(id);
    let known = known.map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
    Ok(json(&Traced { traced: true, known }))
}

/// No longer.
pub(in crate::net::http) fn end_trace(state: &State, id: &str) -> Result<Answer, Refusal> {
    let (was_traced, known) = state.hub.end_trace(id);
    if was_traced || known {
        return Ok(json(&Traced { traced: false, known }));
    }
    Err(unknown(id))
}

fn unknown(id: &str) -> Refusal {
    let what = format!("there is no client {id:?}: /api/v1/clients lists them");
    Refusal::new(StatusCode::NOT_FOUND, what)
}
