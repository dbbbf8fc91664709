//! Who is connected, and who gets what.
//!
//! No socket, no thread, no async: bytes and `now` come in, bytes for each
//! client gather in its outbox, and wakers say whose. [`Hub::handle`] takes
//! what a connection read; [`Hub::collect`] and [`Hub::sleep`] give what it
//! must write; [`Hub::farewell`] says why it ends, and [`Hub::close`] ends it.
//! [`Hub::attend`] does what is due for clients that are away. One file per
//! kind of packet.
//!
//! # Locks
//!
//! Taken in this order, each left out at will, none held across an await; a turn of the journal, if there is one, before
//! all of them and once:
//!
//! 1. `sessions`: client identifier → client. CONNECT and the end of a session.
//! 2. `index`: topic filters → subscriptions, and the members of shared ones. Shared by all publishers for a
//!    batch each; exclusive for SUBSCRIBE, UNSUBSCRIBE and the end of a session.
//! 3. `retained`: exclusive for a PUBLISH with RETAIN, shared by SUBSCRIBE.
//! 4. `Client::session`: one client's session, briefly. Never two at a time.
//! 5. `schedule`: what is to be done for absent clients, and when.
//!
//! SUBSCRIBE queues the retained messages under the exclusive `index` lock,
//! and a publisher stores and delivers under the shared one. So no subscriber
//! sees an older retained message after a newer live one. Storing and
//! delivering is one step under `retained`, too: what is retained is what
//! every subscriber heard last.

mod access;
mod acknowledge;
mod addresses;
mod auth;
mod batch;
mod bridge;
mod connack;
mod connect;
mod counters;
mod delivery;
mod ending;
mod farewell;
mod inspection;
mod latency;
mod limits;
mod load;
#[cfg(test)]
mod locks;
mod login;
mod memory;
mod output;
mod pace;
mod peer;
mod publish;
mod reached;
mod recording;
mod restore;
mod retained;
mod routes;
mod said;
mod schedule;
mod sending;
mod share;
mod stats;
mod stored;
mod subscribe;
mod subscriptions;
mod topics;
mod trace;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use compact_str::CompactString;
use parking_lot::{Mutex, MutexGuard, RwLock};

pub use batch::Batch;
pub use ending::Ending;
pub use farewell::Redirect;
pub use inspection::*;
pub use latency::Latencies;
pub use limits::Limits;
pub use memory::Stage;
pub use output::Sleep;
pub use peer::Peer;
pub use restore::Restored;
pub use stats::{Stats, StoreStats};
#[cfg(test)]
pub(crate) use topics::names as statistics;
pub use trace::{MOST_TRACED, TRACE, TooManyTraced};

pub use crate::session::Origin;

use crate::auth::{Delays, Entrance, Verification};
use crate::codec::{AckType, Decoded, Packet, decode_after, encode_pingresp};
use crate::session::{ReceivedAliases, Session, Tally};
use crate::store::{Journal, Record, Status, Turn};
use access::Restriction;
use addresses::Addresses;
use counters::Counters;
use delivery::Delivery;
use latency::Latency;
use memory::Memory;
use peer::{Connected, Rare, Standing};
use publish::Run;
use reached::{Limit, Reached};
use retained::RetainedStore;
use schedule::Schedule;
use subscriptions::SubscriptionIndex;
use topics::Topics;
use trace::Traces;

/// The target of the lines of the log that tell of connections, with facts beside them for forms of it that machines read.
pub const CONNECTIONS: &str = "sol::connections";

/// The heart of the broker. See the module's documentation.
pub struct Hub {
    /// Its lock is taken beside any other, and briefly.
    limits: RwLock<Arc<Limits>>,
    /// Those on deliveries while memory is ample.
    delivery: Delivery,
    sessions: Mutex<Sessions>,
    index: RwLock<SubscriptionIndex>,
    retained: RwLock<RetainedStore>,
    /// Numbers given to clients and connections so far.
    numbers: AtomicU64,
    connections: AtomicUsize,
    /// Connections that have a session.
    linked: AtomicUsize,
    /// The most there ever were.
    linked_max: AtomicUsize,
    session_count: AtomicUsize,
    retained_count: AtomicUsize,
    stopping: AtomicBool,
    /// A stop has waited long enough.
    hurries: AtomicBool,
    counters: Counters,
    reached: Reached,
    latency: Latency,
    traces: Traces,
    /// Locked beside no other.
    addresses: Mutex<Addresses>,
    memory: Memory,
    /// The broker's own topics, as last published.
    topics: Mutex<Topics>,
    schedule: Mutex<Schedule>,
    /// Where clients are sent when the broker stops.
    redirect: Mutex<Option<Redirect>>,
    response_information: RwLock<Option<String>>,
    /// Logins that failed lately. Locked beside no other.
    delays: Mutex<Delays>,
    /// What must survive is written there, if anything does.
    journal: Option<Arc<Journal>>,
    /// How the store is, for the statistics.
    store_status: Option<Arc<Status>>,
    /// Client identifiers that bridges have here, and nobody else.
    bridges: Box<[String]>,
}

/// By client identifier.
#[derive(Default)]
struct Sessions(HashSet<ById, ahash::RandomState>);

/// A client that is found by its identifier, which it has itself: beside it, a table would have it twice.
struct ById(Arc<Client>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Sessions {
    fn get(&self, id: &str) -> Option<&Arc<Client>> {
        self.0.get(id).map(|ById(client)| client)
    }

    /// In place of another one with its identifier.
    fn insert(&mut self, client: Arc<Client>) {
        self.0.replace(ById(client));
    }

    fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    fn values(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.0.iter().map(|ById(client)| client)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Tells one session from every other, over the broker's whole life.
type ClientKey = u64;

/// A client identifier and its session.
struct Client {
    /// In place as most are, with up to 24 bytes.
    id: CompactString,
    key: ClientKey,
    /// Changed and looked at beside all locks.
    is_traced: AtomicBool,
    session: Mutex<Session>,
    restriction: Restriction,
}

impl Client {
    fn new(id: CompactString, key: ClientKey, session: Session) -> Self {
        let (is_traced, restriction) = (AtomicBool::new(false), Restriction::default());
        Self { id, key, is_traced, session: Mutex::new(session), restriction }
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// How far a batch got.
#[derive(Debug)]
pub struct Handled {
    /// Bytes of whole packets handled.
    pub consumed: usize,
    /// What to do next.
    pub next: Next,
}

/// What a connection does after a batch.
#[derive(Debug)]
pub enum Next {
    /// Read on: the next packet needs at least this many bytes more.
    Read(usize),
    /// Let others write before the rest is handled.
    Yield,
    /// Do this work elsewhere, give its verdict to [`Peer::verified`], and handle the same bytes again. Until then read
    /// nothing.
    Verify(Verification),
    /// Handle what is left of the bytes at that time. Until then read nothing; a client that is let in is written to all the
    /// same, and its keep alive does not run.
    Hold(Instant),
    /// End the connection, after writing what [`Hub::collect`] gives.
    End(Ending),
}

/// The lock a batch holds from one packet to the next, for runs of packets of one kind.
enum Held<'h> {
    Nothing,
    /// PUBLISH after PUBLISH.
    Run(Run<'h>),
    /// Acknowledgement after acknowledgement.
    Own(MutexGuard<'h, Session>),
}

impl Hub {
    /// A hub with no sessions and nothing retained.
    pub fn new(limits: Limits) -> Self {
        let limits = limits.within_memory();
        Self {
            delivery: Delivery::new(limits.outbound()),
            memory: Memory::new(&limits),
            delays: Mutex::new(Delays::new(limits.login_delay)),
            retained: RwLock::new(RetainedStore::within(&limits)),
            limits: RwLock::new(Arc::new(limits)),
            sessions: Mutex::default(),
            index: RwLock::default(),
            numbers: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            linked: AtomicUsize::new(0),
            linked_max: AtomicUsize::new(0),
            session_count: AtomicUsize::new(0),
            retained_count: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            hurries: AtomicBool::new(false),
            counters: Counters::default(),
            reached: Reached::default(),
            latency: Latency::new(),
            traces: Traces::default(),
            addresses: Mutex::default(),
            topics: Mutex::default(),
            schedule: Mutex::default(),
            redirect: Mutex::default(),
            response_information: RwLock::default(),
            journal: None,
            store_status: None,
            bridges: Box::default(),
        }
    }

    /// With what clients get that ask for Response Information.
    pub fn with_response_information(self, response_information: Option<String>) -> Self {
        Self { response_information: RwLock::new(response_information), ..self }
    }

    /// With a journal, so that what must survive the broker does.
    pub fn with_journal(self, journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// With what tells how the store is.
    pub fn with_store_status(self, status: Arc<Status>) -> Self {
        Self { store_status: Some(status), ..self }
    }

    /// With bridges that have these client identifiers.
    pub fn with_bridges(self, client_ids: impl IntoIterator<Item = String>) -> Self {
        Self { bridges: client_ids.into_iter().collect(), ..self }
    }

    /// For the time of a batch: what is recorded meanwhile survives together. To be taken before all locks.
    fn turn(&self) -> Option<Turn<'_>> {
        self.journal.as_deref().map(Journal::turn)
    }

    /// From now on, where clients of 5.0 are sent when the broker stops.
    pub fn redirect(&self, redirect: Option<Redirect>) {
        *self.redirect.lock() = redirect;
    }

    /// The limits it keeps.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read())
    }

    /// [`Limits::max_outbox_bytes`], for who asks often.
    pub fn max_outbox_bytes(&self) -> usize {
        self.delivery.outbox_bytes()
    }

    /// From now on it keeps these. What is there already stays, and so does what connections were told in CONNACK; those of
    /// logins stay as they were at the start.
    pub fn change_limits(&self, limits: Limits) {
        let limits = limits.within_memory();
        self.delivery.set(limits.outbound());
        self.memory.resize(&limits);
        self.retained.write().keep_within(&limits);
        *self.limits.write() = Arc::new(limits);
    }

    /// From now on, what clients get that ask for Response Information.
    pub fn change_response_information(&self, response_information: Option<String>) {
        *self.response_information.write() = response_information;
    }

    /// A network connection came in by that `entrance`; none if there are too many, here or of its address,
    /// if memory is too short or the broker stops. What is not let in is counted, and the log told once an address and
    /// minute.
    pub fn accept(&self, origin: impl Into<Origin>, entrance: Arc<Entrance>, now: Instant) -> Option<Peer> {
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        let origin = origin.into();
        if let Err(limit) = self.let_in(&origin, &entrance, now) {
            self.turned_away(&origin, limit, now);
            return None;
        }
        self.counters.add(0, &mut Tally { sockets: 1, ..Tally::default() });
        Some(Peer::new(origin, &entrance, now, self.limits()))
    }

    fn let_in(&self, origin: &Origin, entrance: &Entrance, now: Instant) -> Result<(), Limit> {
        if self.memory.stage() == Stage::Cut {
            self.counters.add(0, &mut Tally { refused_connections: 1, ..Tally::default() });
            return Err(Limit::Memory);
        }
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.limits.read().max_connections {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Limit::Connections);
        }
        let entered = match entrance.enter() {
            false => Err(Limit::ListenerConnections),
            true => self.enter(origin, now).inspect_err(|_| entrance.leave()),
        };
        entered.inspect_err(|_| _ = self.connections.fetch_sub(1, Ordering::Relaxed))
    }

    /// Handles the whole packets in `bytes`.
    pub fn handle(&self, peer: &mut Peer, bytes: &[u8], now: Instant, batch: &mut Batch) -> Handled {
        let turn = self.turn();
        batch.at(now).in_turn(turn.as_ref());
        batch.await_nothing();
        let mut consumed = 0;
        if !peer.entrance.asks(&peer.access)
            && let Err(ending) = self.renew(peer, now, batch)
        {
            return Handled { consumed, next: Next::End(ending) };
        }
        if !peer.is_connected() {
            match self.handle_first(peer, bytes, now, batch) {
                Ok(length) => consumed = length,
                Err(next) => return Handled { consumed, next },
            }
        }
        let Peer { standing, rare, access, .. } = peer;
        let Standing::Client(connected) = standing else {
            return Handled { consumed, next: Next::End(Ending::Closed) };
        };
        let published = batch.tally.publish_received;
        batch.measured = self.latency.due(now);
        let is_traced = connected.client.is_traced();
        let mut held = Held::Nothing;
        let mut topic = None;
        let mut first_aliases = ReceivedAliases::default();
        let next = loop {
            if batch.is_full() {
                break Next::Yield;
            }
            let rest = bytes.get(consumed..).unwrap_or_default();
            match decode_after(topic, rest, Some(connected.terms.version), connected.limits.max_packet_bytes)
            {
                // Not moved out: it is large, and nearly all of it is empty.
                Ok(Decoded::Packet { ref packet, length }) => {
                    if let Packet::Publish(_) = packet
                        && let Err(until) = Rare::take_publish(rare, length, now)
                    {
                        self.refused(&connected.client, Limit::PublishRate, batch);
                        break Next::Hold(until);
                    }
                    consumed += length;
                    batch.tally.messages_received += 1;
                    if is_traced {
                        batch.trace(&connected.client, true, packet);
                    }
                    let handled = match packet {
                        Packet::Publish(publish) => {
                            topic = publish.topic;
                            let by = match rare {
                                Some(rare) => (&mut rare.aliases, rare.writer.as_deref_mut()),
                                None => (&mut first_aliases, None),
                            };
                            let received = (publish, rest.get(..length).unwrap_or_default());
                            let run = held.run(self, &mut batch.tally);
                            self.handle_publish(connected, by, received, run, batch)
                        }
                        Packet::Auth(auth) => {
                            held.let_go(&mut batch.tally);
                            let authentication = Rare::authentication(rare);
                            self.handle_auth(authentication, access, &connected.terms, auth, batch)
                        }
                        _ => self.handle_packet(connected, packet, &mut held, batch),
                    };
                    if let Err(ending) = handled {
                        break Next::End(ending);
                    }
                }
                Ok(Decoded::Incomplete { needed }) => break Next::Read(needed),
                Err(error) => break Next::End(error.into()),
            }
        };
        held.let_go(&mut batch.tally);
        drop(held);
        batch.measured = None;
        if !first_aliases.is_empty() {
            rare.get_or_insert_default().aliases = first_aliases;
        }
        if consumed > 0 {
            peer.last_packet = now.into();
            peer.traffic().published(batch.tally.publish_received - published);
        }
        Handled { consumed, next }
    }

    /// Handles what is neither PUBLISH nor AUTH.
    fn handle_packet<'h>(
        &'h self,
        connected: &'h Connected,
        packet: &Packet<'_>,
        held: &mut Held<'h>,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        match packet {
            // An acknowledgement of an identifier that is not in flight changes nothing: it may answer a packet from
            // before the client lost its state. One with an error ends the delivery, too [5.0 MQTT-4.4.0-2].
            Packet::Puback(ack) => {
                let session = held.own(connected, &mut batch.tally)?;
                session.outbound.handle_puback(ack.packet_id);
                session.progress();
            }
            Packet::Pubrec(ack) => {
                let session = held.own(connected, &mut batch.tally)?;
                if ack.reason.is_error() {
                    session.outbound.handle_refusal(ack.packet_id);
                } else {
                    // [5.0 MQTT-4.3.3-4]
                    let is_known = session.outbound.handle_pubrec(ack.packet_id);
                    if session.log().is_some() {
                        batch.await_group();
                    }
                    batch.answer(AckType::Pubrel, ack.packet_id, is_known, connected.terms.version);
                }
                session.progress();
            }
            Packet::Pubcomp(ack) => {
                let session = held.own(connected, &mut batch.tally)?;
                session.outbound.handle_pubcomp(ack.packet_id);
                session.progress();
            }
            // Answered for an unknown identifier too, so that the client can finish.
            Packet::Pubrel(ack) => {
                let session = held.own(connected, &mut batch.tally)?;
                let is_known = session.inbound.release(ack.packet_id);
                if let Some(log) = session.log() {
                    if is_known {
                        log.record(|session| Record::ReceivedEnd { session, packet_id: ack.packet_id });
                    }
                    // The client may use the identifier for another message from then on.
                    batch.await_group();
                }
                batch.answer(AckType::Pubcomp, ack.packet_id, is_known, connected.terms.version);
            }
            Packet::Subscribe(subscribe) => {
                held.let_go(&mut batch.tally);
                return self.handle_subscribe(connected, subscribe, batch);
            }
            Packet::Unsubscribe(unsubscribe) => {
                held.let_go(&mut batch.tally);
                return self.handle_unsubscribe(connected, unsubscribe, batch);
            }
            Packet::Pingreq => {
                // It waits for nothing that others wait for.
                let replies = if batch.group == 0 { &mut batch.replies } else { &mut batch.free_replies };
                encode_pingresp(replies);
                batch.tally.messages_sent += 1;
            }
            Packet::Disconnect(disconnect) => {
                held.let_go(&mut batch.tally);
                return Err(self.handle_disconnect(connected, disconnect));
            }
            Packet::Connect(_) => return Err(Ending::SecondConnect),
            // PUBLISH and AUTH do not come here.
            _ => return Err(Ending::ServerPacket(packet.packet_type())),
        }
        Ok(())
    }

    /// Whether it lets nobody in any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How many connections have, or had until they were taken over, a session.
    pub fn linked(&self) -> usize {
        self.linked.load(Ordering::Acquire)
    }

    fn next_number(&self) -> u64 {
        match &self.journal {
            // So that no number means another session in the next life of the broker.
            Some(journal) => journal.next_number(),
            None => self.numbers.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl<'h> Held<'h> {
    /// What PUBLISH after PUBLISH goes by.
    fn run(&mut self, hub: &'h Hub, tally: &mut Tally) -> &Run<'h> {
        if !matches!(self, Held::Run(_)) {
            // First let go of the other lock: the order of locks.
            self.let_go(tally);
            *self = Held::Run(hub.run());
        }
        match self {
            Held::Run(run) => run,
            _ => unreachable!("just taken"),
        }
    }

    /// The sender's own session, if the connection still has it.
    fn own(&mut self, connected: &'h Connected, tally: &mut Tally) -> Result<&mut Session, Ending> {
        if !matches!(self, Held::Own(_)) {
            self.let_go(tally);
            let mut session = connected.client.session.lock();
            session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
            *self = Held::Own(session);
        }
        match self {
            Held::Own(session) => Ok(session),
            _ => unreachable!("just taken"),
        }
    }

    /// What a run of packets did to the session is counted once.
    fn let_go(&mut self, tally: &mut Tally) {
        if let Held::Own(session) = self {
            session.settle(tally);
        }
        *self = Held::Nothing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Visit;

    /// What the counts of an [`Arc`] take.
    const ARC_BYTES: usize = 16;

    #[test]
    fn a_client_takes_little_memory() {
        // Sizes of the allocator's; the next are 320 and 112.
        assert!(size_of::<Client>() + ARC_BYTES <= 256, "{}", size_of::<Client>());
        // Its Arc has no count of weak ones.
        assert!(size_of::<Visit>() + ARC_BYTES / 2 <= 96, "{}", size_of::<Visit>());
    }
}
