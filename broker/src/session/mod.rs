//! One client's state: what it has received, what it is owed, where it is connected.
//!
//! No socket, no lock, no clock: the hub locks a session and calls it.

mod absence;
mod aliases;
mod hashing;
mod identifiers;
mod inbound;
mod log;
mod manner;
mod message;
mod moment;
mod origin;
mod outbound;
mod outbox;
mod outgoing;
mod subscriptions;
mod tally;
mod terms;
#[cfg(test)]
mod v5_tests;
mod visit;
mod will;

use std::task::Waker;
use std::time::Instant;

pub use absence::{Absence, Expiry};
pub use aliases::ReceivedAliases;
pub use hashing::Hashing;
pub use inbound::{Inbound, Received};
pub use log::SessionLog;
pub use manner::{Manner, Note, Share, ShareKey};
pub use message::{Content, Message, release};
pub use moment::Moment;
pub use origin::Origin;
use outbound::IN_FLIGHT_BYTES;
pub use outbound::{Handed, Loaded, Outbound, OutboundLimits, Outcome, Wanted};
pub use outbox::{Barrier, Outbox};
pub use outgoing::Outgoing;
pub use subscriptions::Subscriptions;
pub use tally::Tally;
pub use terms::Terms;
pub use visit::{Traffic, Visit};
pub use will::Will;

use crate::codec::QoS;
use crate::store::RecoveredSession;
use crate::topic::SharedFilter;

/// Tells one network connection from every other, over the broker's whole life.
pub type ConnectionId = u64;

/// A session in the standard's sense (section 4.1), connected or waiting for its client's return.
#[derive(Default)]
pub struct Session {
    /// The receiver's half of QoS 2.
    pub inbound: Inbound,
    /// In flight and queued messages.
    pub outbound: Outgoing,
    /// What its client gets messages of.
    pub subscriptions: Subscriptions,
    /// Memory that the rights of its client take, in bytes.
    rights_bytes: u32,
    /// Its client identifier, and what is known of its connection: a few strings of 65,535 bytes at the most.
    named_bytes: u32,
    /// Its connection, or its last one in this life of the broker.
    pub visit: Option<triomphe::Arc<Visit>>,
    /// The connection that serves the session now.
    pub link: Option<Link>,
    /// How long it outlives its connection.
    pub expiry: Expiry,
    /// What awaits it while there is no connection.
    pub absence: Absence,
    /// The store knows of it: it survives the broker, or leaves a will that does.
    pub is_recorded: bool,
    /// The group of the last change to itself or to its subscriptions that its client may rely on once it is answered.
    pub promised: u64,
    /// Memory it takes that the tallies know of, in bytes.
    accounted: usize,
    /// PUBLISH packets put on their way over the present connection, or the last one.
    sent: u64,
    /// Messages for it that were dropped, in its whole life.
    dropped: u64,
}

/// Bytes that are never near as many.
fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What a session takes to begin with, its places in the tables included.
const SESSION_BYTES: usize = 1024;

/// A session's end of its network connection.
pub struct Link {
    /// Which connection it is. Packets of any other have no business here.
    pub connection: ConnectionId,
    /// Packets for the client.
    pub outbox: Outbox,
    /// Published if the connection ends otherwise than by DISCONNECT. Most have none.
    pub will: Option<Box<Will>>,
    /// The broker asks the connection to end once the outbox is written.
    pub ending: bool,
    /// The broker asks the connection to end at once: memory is short.
    pub cut: bool,
    /// An operator asks the connection to end at once.
    pub dismissed: bool,
    /// In how many looks at memory in a row the client was found to hold much, without having taken anything since.
    pub stale_looks: u8,
    /// Bytes that the connection itself held when it last went to sleep: unwritten, of a packet that is not whole, or of
    /// topics that its client made aliases for.
    pub held_bytes: usize,
    /// The connection's task.
    waker: Option<Waker>,
    /// The task sleeps and wants to hear of new packets. While it waits for
    /// the client to read, it does not.
    listening: bool,
}

impl Link {
    /// A link with nothing to send yet.
    pub fn new(connection: ConnectionId, terms: Terms, will: Option<Will>) -> Self {
        Self {
            connection,
            outbox: Outbox::new(&terms),
            will: will.map(Box::new),
            ending: false,
            cut: false,
            dismissed: false,
            stale_looks: 0,
            held_bytes: 0,
            waker: None,
            listening: false,
        }
    }

    /// The task goes to sleep until [`Link::wake_for_output`] or [`Link::wake`].
    pub fn sleep(&mut self, waker: &Waker, listening: bool) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
        self.listening = listening;
    }

    /// The waker to call because packets were put into the outbox, unless the task is awake or called already.
    #[inline]
    pub fn wake_for_output(&mut self) -> Option<Waker> {
        if self.listening {
            self.listening = false;
            self.waker.clone()
        } else {
            None
        }
    }

    /// The waker to call because the connection must end.
    pub fn wake(&mut self) -> Option<Waker> {
        self.listening = false;
        self.waker.take()
    }
}

impl Session {
    /// The one that begins with a client's connection.
    pub fn of_client(client_id: &str, expiry: Expiry, link: Link) -> Self {
        Self { named_bytes: small(client_id.len()), expiry, link: Some(link), ..Self::default() }
    }

    /// This is its connection from now on.
    pub fn visited(&mut self, client_id: &str, visit: triomphe::Arc<Visit>) {
        self.named_bytes = small(client_id.len() + visit.bytes());
        self.visit = Some(visit);
        self.sent = 0;
    }

    /// The rights of its client take so many bytes of memory from now on.
    pub fn set_rights_bytes(&mut self, bytes: usize) {
        self.rights_bytes = small(bytes);
    }

    /// One of an earlier life of the broker, without its subscriptions and its will.
    pub fn restored(recovered: &RecoveredSession, log: Option<SessionLog>) -> Self {
        let outbound = log.map(|log| {
            Outbound::restored(
                log,
                &recovered.in_flight,
                recovered.released.clone(),
                (recovered.queued_messages, recovered.queued_bytes),
                recovered.next_position,
            )
        });
        Self {
            inbound: Inbound::restored(&recovered.received),
            outbound: outbound.map(Outgoing::from).unwrap_or_default(),
            named_bytes: small(recovered.client_id.len()),
            expiry: Expiry::from_seconds(recovered.expiry_seconds),
            is_recorded: true,
            ..Self::default()
        }
    }

    /// Where its changes are written down, if it survives the broker.
    pub fn log(&self) -> Option<&SessionLog> {
        self.outbound.log()
    }

    /// From now on, changes are written down there.
    pub fn set_log(&mut self, log: SessionLog) {
        self.outbound.log = Some(log);
        self.promise();
    }

    /// Something changed, in this turn, that the client may rely on once it is answered.
    pub fn promise(&mut self) {
        if let Some(log) = self.log() {
            self.promised = log.journal().group();
        }
    }

    /// Whether messages may have come by shared subscriptions.
    pub fn may_have_shared(&self) -> bool {
        self.outbound.has_stored_shared()
            || self
                .subscriptions
                .iter()
                .any(|filter| matches!(SharedFilter::parse(filter.as_filter()), Ok(Some(_))))
    }

    /// The link, if it still is the given connection's: another one may have taken the session over.
    pub fn link_of(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.connection == connection)
    }

    /// Hands a message to the client, now or later.
    #[inline(always)]
    pub fn deliver(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        let outbox = self.link.as_mut().map(|link| &mut link.outbox);
        let outcome = self.outbound.deliver(content, manner, outbox, limits, now);
        match outcome {
            Outcome::Sent(_) => self.sent += 1,
            Outcome::Queued => {}
            // An absent client is not owed a QoS 0 message.
            Outcome::Dropped if manner.qos == QoS::AtMostOnce && self.link.is_none() => {}
            Outcome::Dropped | Outcome::TooLarge => self.dropped += 1,
        }
        outcome
    }

    /// PUBLISH packets put on their way over the present connection, or the last one.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages for it that were dropped since it began, in this life of the broker.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Ends the connection's hold on the session; what must survive it stays.
    pub fn unlink(&mut self, tally: &mut Tally) -> Option<Link> {
        self.inbound.suspend();
        self.outbound.suspend();
        if let Some(link) = &mut self.link {
            link.outbox.clear();
            link.outbox.settle(tally);
        }
        let link = self.link.take();
        self.settle(tally);
        self.rest();
        link
    }

    /// The connection that ended at `now` left that will. Gives it back if it goes out at once. To be called after
    /// [`Session::unlink`].
    pub fn leave(&mut self, will: Option<Will>, now: Instant) -> Option<Will> {
        self.absence.begin(self.expiry, will, now)
    }

    /// Its connection ended at `since`, with the broker's earlier life, and left that will, which waits whatever its delay.
    pub fn begin_restored_absence(&mut self, will: Option<Will>, since: Instant) {
        self.absence = Absence::restored(self.expiry, will, since);
    }

    /// The will of its connection, or the one that waits.
    pub fn will(&self) -> Option<&Will> {
        self.link.as_ref().and_then(|link| link.will.as_deref()).or_else(|| self.absence.will())
    }

    /// The client returned, or the session ends: gives the will that waited.
    pub fn end_absence(&mut self) -> Option<Will> {
        self.absence.end()
    }

    /// Whether it has ended, though somebody may still find it.
    pub fn is_over(&self, now: Instant) -> bool {
        self.link.is_none() && (self.expiry == Expiry::AT_ONCE || self.absence.is_over(now))
    }

    /// Tells the tally what has changed since the last call. To be called before the session's lock is let go.
    pub fn settle(&mut self, tally: &mut Tally) {
        let (sent, too_large) = (tally.publish_sent, tally.dropped_too_large);
        self.outbound.settle(tally);
        self.sent = self.sent.wrapping_add_signed(tally.publish_sent - sent);
        self.dropped = self.dropped.wrapping_add_signed(tally.dropped_too_large - too_large);
        let outbox = self.link.as_mut().map_or(0, |link| link.outbox.settle(tally));
        let bytes = SESSION_BYTES
            + self.subscriptions.bytes()
            + usize::try_from(self.named_bytes.saturating_add(self.rights_bytes)).unwrap_or(usize::MAX)
            + self.inbound.bytes()
            + self.outbound.own_bytes()
            + outbox;
        self.accounted = tally.charge(self.accounted, bytes);
    }

    /// The session is over, and out of all tables: takes off the tally what it holds.
    pub fn end(&mut self, tally: &mut Tally) {
        self.outbound.clear();
        self.outbound.settle(tally);
        self.accounted = tally.charge(self.accounted, 0);
    }

    /// A delivery went into the outbox as so many bytes, none of them shared. Does the part of [`Session::settle`] that
    /// this needs.
    #[inline]
    pub fn settle_sent(&mut self, bytes: usize, manner: &Manner, tally: &mut Tally) {
        let mut own_bytes = bytes;
        if manner.qos != QoS::AtMostOnce {
            own_bytes += IN_FLIGHT_BYTES + manner.note_bytes();
            self.outbound.settle_in_flight(tally);
        }
        self.accounted += own_bytes;
        tally.memory += tally::signed(own_bytes);
    }

    /// Bytes it keeps for its client that others would be glad of; shared ones count whole.
    pub fn held_bytes(&self) -> usize {
        let link = self.link.as_ref().map_or(0, |link| {
            link.outbox.bytes() + link.held_bytes + link.will.as_ref().map_or(0, |will| will.bytes())
        });
        self.outbound.held_bytes() + self.inbound.bytes() + self.absence.held_bytes() + link
    }

    /// The client took something: it read, or acknowledged.
    pub fn progress(&mut self) {
        if let Some(link) = &mut self.link {
            link.stale_looks = 0;
        }
    }

    /// Whether [`Session::rest`] gave memory back.
    pub fn has_spare(&self) -> bool {
        self.inbound.has_spare() || self.outbound.has_spare()
    }

    /// Gives back memory that nothing is in: while messages come and go, it is kept for the next.
    pub fn rest(&mut self) {
        self.inbound.rest();
        self.outbound.rest();
    }

    /// Drops queued messages that have expired.
    pub fn forget_expired(&mut self, now: Instant) {
        self.outbound.forget_expired(now);
    }

    /// Drops QoS 0 messages, the oldest first, until no more than `keep` bytes wait in the outbox. Gives how many.
    pub fn shed(&mut self, keep: usize) -> usize {
        let link = self.link.as_mut().filter(|link| link.outbox.bytes() > keep);
        let from_outbox = link.map_or(0, |link| link.outbox.shed(keep));
        let from_queue = if self.outbound.queued_bytes() > keep { self.outbound.shed() } else { 0 };
        self.dropped += (from_outbox + from_queue) as u64;
        from_outbox + from_queue
    }

    /// Drops the newest messages until no more than `keep` bytes are queued or in flight. Gives how many. For a client
    /// that is away: one that is here may still acknowledge them.
    pub fn trim(&mut self, keep: usize) -> usize {
        let dropped = self.outbound.trim(keep);
        self.dropped += dropped as u64;
        dropped
    }
}
