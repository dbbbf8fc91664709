//! Limits that are reached: counted each time, and told to the log once a client, or an address, and minute.
//!
//! What happens for each message takes no lock: it is noted in the batch, and told when that is over.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use compact_str::CompactString;
use log::warn;
use parking_lot::Mutex;

use super::peer::Shown;
use super::said::Said;
use super::{Batch, Client, ClientKey, Hub, Origin};
use crate::auth::Source;

/// Clients and limits that a batch notes; what else there is, is counted only.
const MOST_NOTED: usize = 1024;

macro_rules! limits {
    ($($name:ident $words:literal,)*) => {
        /// What makes the broker refuse, drop or close.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(super) enum Limit {
            $($name,)*
        }

        impl Limit {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// What the log says of it.
            fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

limits! {
    Connections "was not let in: there are as many connections as `max_connections` allows",
    ListenerConnections "was not let in: its listener has as many connections as its `max_connections` allows",
    ConnectionsPerAddress "was not let in: it has as many connections as `max_connections_per_address` allows",
    ConnectionRate "was not let in: it connects faster than `max_connections_per_address_per_second` allows",
    Memory "was not let in: memory is short, see `max_memory`",
    Proxy "was not let in",
    Accept "cannot accept a connection",
    // How the connection ended says it.
    Sessions "",
    Logins "",
    Unavailable "",
    PacketSize "",
    Silent "",
    Unread "",
    PublishRate "publishes faster than `max_publish_messages_per_second` or `max_publish_bytes_per_second` allows: it is \
                 read from no faster",
    Topic "published to a topic longer than `max_topic_bytes` or deeper than `max_topic_levels`: the message is refused",
    FilterTopic "subscribed to a topic filter longer than `max_topic_bytes` or deeper than `max_topic_levels`: refused",
    Filters "sent a SUBSCRIBE with more topic filters than `max_filters`: the others are refused",
    Subscriptions "has as many subscriptions as `max_subscriptions` allows: more are refused",
    TotalSubscriptions "was refused a subscription: there are as many in total as `max_total_subscriptions` allows",
    Acl "was refused a message or will that `acl_file` does not let it publish",
    AclFilter "was refused a subscription to what `acl_file` does not let it read",
    Queue "has a full queue: messages for it are dropped, see `max_queued_messages` and `max_queued_bytes`",
    Outbox "reads too slowly: QoS 0 messages for it are dropped, see `max_outbox_bytes`",
    Group "has no member with room: messages are dropped, see `max_queued_messages` and `max_outbox_bytes`",
    Retained "is full: messages are not retained, see `max_retained_messages` and `max_retained_bytes`",
}

/// Whom it concerns.
pub(super) enum Who<'a> {
    Client(&'a str),
    Origin(&'a Origin),
    /// Something of the broker.
    The(&'static str),
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client {}", Shown(id)),
            Self::Origin(origin) => origin.fmt(f),
            Self::The(what) => f.write_str(what),
        }
    }
}

/// How often each limit was reached, and what the log knows.
pub(super) struct Reached {
    counts: [AtomicU64; Limit::COUNT],
    said: Mutex<Said>,
    hashes: ahash::RandomState,
}

impl Default for Reached {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            said: Mutex::default(),
            hashes: ahash::RandomState::new(),
        }
    }
}

impl Reached {
    /// Once more; for a limit that no tally counts.
    pub(super) fn count(&self, limit: Limit) {
        self.count_times(limit, 1);
    }

    /// So many times more.
    pub(super) fn count_times(&self, limit: Limit, times: usize) {
        if let Some(count) = self.counts.get(limit as usize) {
            count.fetch_add(times as u64, Ordering::Relaxed);
        }
    }

    /// How often so far.
    pub(super) fn counted(&self, limit: Limit) -> u64 {
        self.counts.get(limit as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// It happened so many `times`. If the log is to be told: how many since it was told last.
    pub(super) fn happened(&self, limit: Limit, who: &Who<'_>, times: u64, now: Instant) -> Option<u64> {
        // Names of clients are as long as they like: the table keeps numbers.
        let what = match who {
            Who::Client(id) => self.hashes.hash_one((limit, 0, id)),
            Who::Origin(Origin::Tcp(address)) => self.hashes.hash_one((limit, 1, Source::from(address.ip()))),
            Who::Origin(Origin::Unix(path)) => self.hashes.hash_one((limit, 2, path)),
            Who::Origin(Origin::Bridge(name)) => self.hashes.hash_one((limit, 3, name)),
            Who::The(what) => self.hashes.hash_one((limit, 3, what)),
        };
        self.said.lock().happened(what, times, now)
    }

    /// The same, with a line in the log, and in it what it is about. No lock may be held: a log can be slow.
    pub(super) fn tell(&self, limit: Limit, who: &Who<'_>, what: Option<&str>, times: u64, now: Instant) {
        let Some(times) = self.happened(limit, who, times, now) else { return };
        match what {
            Some(what) => warn!("{who} {}: {}{}", limit.words(), Shown(what), Times(times)),
            None => warn!("{who} {}{}", limit.words(), Times(times)),
        }
    }
}

/// Behind what is said once for many times.
pub(super) struct Times(pub(super) u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            times => write!(f, " ({times} times since this was last told)"),
        }
    }
}

/// What a batch has to tell. Empty nearly always.
#[derive(Default)]
pub(super) struct Noted(HashMap<(ClientKey, Limit), Note, ahash::RandomState>);

struct Note {
    id: CompactString,
    times: u64,
    /// What it was about the first time.
    what: Option<Box<str>>,
}

impl Noted {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn note(&mut self, client: &Client, limit: Limit) {
        self.note_as(client.key, limit, None, || client.id.clone());
    }

    /// With the topic name or filter that it is about.
    fn note_topic(&mut self, client: &Client, limit: Limit, topic: &str) {
        self.note_as(client.key, limit, Some(topic), || client.id.clone());
    }

    /// No member of a shared subscription has room.
    pub(super) fn note_group(&mut self) {
        // No client has this key.
        self.note_as(0, Limit::Group, None, CompactString::default);
    }

    fn note_as(
        &mut self,
        key: ClientKey,
        limit: Limit,
        what: Option<&str>,
        id: impl FnOnce() -> CompactString,
    ) {
        if let Some(note) = self.0.get_mut(&(key, limit)) {
            note.times += 1;
        } else if self.0.len() < MOST_NOTED {
            self.0.insert((key, limit), Note { id: id(), times: 1, what: what.map(Into::into) });
        }
    }
}

impl Hub {
    /// Counts that a client is refused something, and notes it for the log.
    pub(super) fn refused(&self, client: &Client, limit: Limit, batch: &mut Batch) {
        self.reached.count(limit);
        batch.noted.note(client, limit);
    }

    /// Counts that a client is refused a topic name or filter, and notes it for the log.
    pub(super) fn refused_topic(&self, client: &Client, limit: Limit, topic: &str, batch: &mut Batch) {
        self.reached.count(limit);
        batch.noted.note_topic(client, limit, topic);
    }

    /// Counts that a connection is not let in, and tells the log.
    pub(super) fn turned_away(&self, origin: &Origin, limit: Limit, now: Instant) {
        self.reached.count(limit);
        self.reached.tell(limit, &Who::Origin(origin), None, 1, now);
    }

    /// A connection to a listener that speaks the PROXY protocol is not let in: counts it, and tells the log why.
    pub fn refuse_proxy(&self, origin: &Origin, why: &str, now: Instant) {
        self.reached.count(Limit::Proxy);
        if let Some(times) = self.reached.happened(Limit::Proxy, &Who::Origin(origin), 1, now) {
            warn!("{origin} {}: {why}{}", Limit::Proxy.words(), Times(times));
        }
    }

    /// The system gives no more connections, for this reason: tells the log.
    pub fn cannot_accept(&self, error: &std::io::Error, now: Instant) {
        let who = Who::The("a listener");
        if let Some(times) = self.reached.happened(Limit::Accept, &who, 1, now) {
            warn!("{who} {}: {error}{}", Limit::Accept.words(), Times(times));
        }
    }

    /// Tells the log what a batch noted. No lock may be held: a log can be slow.
    pub(super) fn tell_noted(&self, batch: &mut Batch) {
        self.tell_traced(batch);
        let not_retained = u64::try_from(batch.tally.dropped_retained_full).unwrap_or(0);
        if not_retained > 0 {
            self.reached.tell(
                Limit::Retained,
                &Who::The("the store of retained messages"),
                None,
                not_retained,
                batch.now,
            );
        }
        for ((_, limit), Note { id, times, what }) in batch.noted.0.drain() {
            let who =
                if limit == Limit::Group { Who::The("a shared subscription") } else { Who::Client(&id) };
            self.reached.tell(limit, &who, what.as_deref(), times, batch.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(port: u16) -> Origin {
        Origin::Tcp(std::net::SocketAddr::from(([10, 0, 0, 1], port)))
    }

    #[test]
    fn the_same_client_or_address_is_told_of_once_for_each_limit() {
        let (reached, now) = (Reached::default(), Instant::now());
        let happened = |limit, who: Who<'_>| reached.happened(limit, &who, 1, now).is_some();
        for (limit, who, is_told) in [
            (Limit::Queue, Who::Client("one"), true),
            (Limit::Queue, Who::Client("one"), false),
            (Limit::Outbox, Who::Client("one"), true),
            (Limit::Queue, Who::Client("other"), true),
            (Limit::Connections, Who::Origin(&origin(1)), true),
            (Limit::Connections, Who::Origin(&origin(2)), false),
            (Limit::Retained, Who::The("store"), true),
            (Limit::Retained, Who::The("store"), false),
        ] {
            assert_eq!(happened(limit, who), is_told, "{limit:?}");
        }
    }

    #[test]
    fn a_batch_notes_each_client_once_and_not_without_end() {
        let (hub, mut batch) = (Hub::new(super::super::Limits::default()), Batch::new(Instant::now()));
        for _ in 0..3 {
            for key in 1..=2 * MOST_NOTED as u64 {
                hub.refused(&super::super::subscriptions::tests::client(key), Limit::Filters, &mut batch);
            }
        }
        assert_eq!(batch.noted.0.len(), MOST_NOTED);
        assert_eq!(hub.stats().refused_filters_full, 6 * MOST_NOTED as u64);
        hub.absorb(&mut batch);
        assert!(!batch.has_something_to_tell());
        let times = hub.reached.happened(Limit::Filters, &Who::Client("1"), 1, Instant::now());
        assert_eq!(times, None, "it was told");
    }
}
