//! What the broker counts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::reached::Limit;
use super::{Hub, Stage};
use serde::{Serialize, Serializer};

use crate::store::Status;

/// A reading of the broker's counters. Those of events begin at 0 with the broker; those of bytes and messages that are
/// somewhere are how much it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Open network connections.
    pub connections: usize,
    /// Connections that went from one thread to another, so that no thread had to wait while others slept.
    pub connections_moved: u64,
    /// Network connections opened so far.
    pub sockets: u64,
    /// CONNECT packets accepted so far.
    pub connects: u64,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Clients that are connected.
    pub clients_connected: usize,
    /// The most that were connected at a time.
    pub clients_maximum: usize,
    /// Sessions whose client is away.
    pub clients_disconnected: usize,
    /// Sessions that ended because their client stayed away for too long.
    pub clients_expired: u64,
    /// Subscriptions of all sessions, without shared ones.
    pub subscriptions: usize,
    /// Shared subscriptions of all sessions: each member of each counts.
    pub shared_subscriptions: usize,
    /// Retained messages; the broker's own are not counted, here and below.
    pub retained: usize,
    /// Memory they take, in bytes.
    pub retained_bytes: usize,
    /// Packets of any type received.
    pub messages_received: u64,
    /// Packets of any type put on their way to a client.
    pub messages_sent: u64,
    /// PUBLISH packets received.
    pub publish_received: u64,
    /// PUBLISH packets put on their way to a client.
    pub publish_sent: u64,
    /// Bytes of payload in the PUBLISH packets received.
    pub publish_bytes_received: u64,
    /// Bytes of payload in the PUBLISH packets sent.
    pub publish_bytes_sent: u64,
    /// PUBLISH packets received, at QoS 0, 1 and 2.
    pub publish_received_by_qos: [u64; 3],
    /// PUBLISH packets put on their way to a client, at QoS 0, 1 and 2.
    pub publish_sent_by_qos: [u64; 3],
    /// Bytes of payload in the PUBLISH packets received, at QoS 0, 1 and 2.
    pub publish_bytes_received_by_qos: [u64; 3],
    /// Bytes of payload in the PUBLISH packets sent, at QoS 0, 1 and 2.
    pub publish_bytes_sent_by_qos: [u64; 3],
    /// Bytes read from network connections.
    pub bytes_received: u64,
    /// Bytes written to network connections.
    pub bytes_sent: u64,
    /// QoS 1 and 2 deliveries that are not finally acknowledged.
    pub in_flight: usize,
    /// Deliveries that wait for their client or its acknowledgements.
    pub queued: usize,
    /// Bytes of them; a message that waits for two clients counts twice.
    pub queued_bytes: usize,
    /// Messages that are retained, queued, in flight or a will, each once; here the broker's own are counted.
    pub stored: usize,
    /// Memory they take, in bytes.
    pub stored_bytes: usize,
    /// QoS 1 and 2 messages dropped because the client's queue was full.
    pub dropped_queue_full: u64,
    /// QoS 0 messages dropped because the client does not read fast enough.
    pub dropped_outbox_full: u64,
    /// Messages dropped because the packet would be larger than the client takes.
    pub dropped_too_large: u64,
    /// Deliveries dropped, and retained messages removed, because the message had expired.
    pub messages_expired: u64,
    /// Messages dropped because memory was short.
    pub dropped_memory_full: u64,
    /// Messages not retained because the store of retained messages was full.
    pub dropped_retained_full: u64,
    /// Messages not retained because memory was short.
    pub dropped_retained_memory_full: u64,
    /// Connections and sessions refused because memory was short.
    pub refused_connections: u64,
    /// Subscriptions refused because memory was short.
    pub refused_subscriptions: u64,
    /// Connections ended because memory was short.
    pub cut_connections: u64,
    /// Connections closed at once because there were too many.
    pub refused_connections_full: u64,
    /// Connections closed at once because their listener had too many.
    pub refused_listener_full: u64,
    /// Connections closed at once because their address had too many.
    pub refused_address_full: u64,
    /// Connections closed at once because their address made them too fast.
    pub refused_address_rate: u64,
    /// Connections closed because they were not from a trusted proxy, or did not begin with the PROXY protocol.
    pub refused_proxy: u64,
    /// How often a client was not read from for a while because it published too fast.
    pub publish_held: u64,
    /// CONNECT packets refused because there were too many sessions.
    pub refused_sessions_full: u64,
    /// CONNECT packets refused because too many logins waited.
    pub refused_logins_full: u64,
    /// Connections ended because of a packet that was too large, for the broker or for its client.
    pub ended_packet_too_large: u64,
    /// Connections ended because no CONNECT came in time.
    pub ended_silent: u64,
    /// Connections ended because the client read nothing for too long.
    pub ended_unread: u64,
    /// Messages and wills refused because their topic was too long or too deep.
    pub refused_topics: u64,
    /// Messages and wills refused because the ACL file does not let the client publish them, and those dropped because the
    /// client they waited for may not read them any more.
    pub refused_acl: u64,
    /// Subscriptions refused because the ACL file does not let the client read what they could bring.
    pub refused_subscriptions_acl: u64,
    /// Subscriptions refused because the client had too many.
    pub refused_subscriptions_full: u64,
    /// Subscriptions refused because there were too many in total.
    pub refused_total_subscriptions_full: u64,
    /// Subscriptions refused because there were too many in one SUBSCRIBE.
    pub refused_filters_full: u64,
    /// Subscriptions refused because their topic filter was too long or too deep.
    pub refused_filter_topics: u64,
    /// Memory accounted for, in bytes: see [`Limits::max_memory_bytes`](super::Limits::max_memory_bytes).
    pub memory_used: usize,
    /// The most it was.
    pub memory_maximum: usize,
    /// What it may come to: less than the limit, which is for the whole process.
    pub memory_budget: usize,
    /// How short it is.
    #[serde(serialize_with = "in_words")]
    pub memory_stage: Stage,
    /// What survives the broker; none if nothing does.
    #[serde(skip)]
    pub store: Option<StoreStats>,
}

/// A reading of the store's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// It cannot be written at the moment.
    pub is_failing: bool,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes in them that are still needed, more or less.
    pub needed_bytes: u64,
    /// Its files.
    pub segments: u64,
    /// Bytes written so far.
    pub written_bytes: u64,
    /// Bytes of these that were copied, so that a file could be removed.
    pub copied_bytes: u64,
    /// How often it waited for stable storage so far.
    pub syncs: u64,
    /// How long on average; as a number it is in seconds, here and below.
    #[serde(serialize_with = "in_seconds")]
    pub mean_sync: Duration,
    /// How long at most.
    #[serde(serialize_with = "in_seconds")]
    pub longest_sync: Duration,
    /// Attempts to write that failed so far.
    pub write_errors: u64,
    /// Attempts to read that failed so far.
    pub read_errors: u64,
}

fn in_words<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(stage)
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl From<&Status> for StoreStats {
    fn from(status: &Status) -> Self {
        let syncs = status.syncs();
        let mean_us = status.sync_time().as_micros().checked_div(syncs.into()).unwrap_or(0);
        Self {
            is_failing: status.failing().is_some(),
            bytes: status.total_bytes(),
            needed_bytes: status.needed_bytes(),
            segments: status.segments(),
            written_bytes: status.bytes(),
            copied_bytes: status.cleaned_bytes(),
            syncs,
            mean_sync: Duration::from_micros(u64::try_from(mean_us).unwrap_or(u64::MAX)),
            longest_sync: status.longest_sync(),
            write_errors: status.write_errors(),
            read_errors: status.read_errors(),
        }
    }
}

impl Stats {
    /// Messages that did not reach a client: all but those that were not retained, or expired.
    pub fn dropped(&self) -> u64 {
        self.dropped_queue_full
            + self.dropped_outbox_full
            + self.dropped_too_large
            + self.dropped_memory_full
            + self.refused_topics
            + self.refused_acl
    }
}

impl Hub {
    /// The counters as they stand. What a thread counts comes to them at the end of its batch.
    pub fn stats(&self) -> Stats {
        let tally = self.counters.sum();
        // A sum taken while threads add to it can be less than nothing for a moment.
        let count = |figure: i64| u64::try_from(figure).unwrap_or(0);
        // What is not above QoS 0 is at it.
        let by_qos = |all: i64, one: i64, two: i64| [all - one - two, one, two].map(count);
        let quantity = |figure: i64| usize::try_from(figure).unwrap_or(0);
        let sessions = self.sessions.lock().len();
        let clients_connected = self.linked.load(Ordering::Acquire).min(sessions);
        let (retained, retained_bytes) = {
            let store = self.retained.read();
            (store.count, store.bytes)
        };
        let (subscriptions, shared_subscriptions) = {
            let index = self.index.read();
            (index.len(), index.shared_len())
        };
        let memory_used = self.memory_used();
        let reached = |limit| self.reached.counted(limit);
        Stats {
            connections: self.connections.load(Ordering::Acquire),
            // Only who has threads knows.
            connections_moved: 0,
            sockets: count(tally.sockets),
            connects: count(tally.connects),
            sessions,
            clients_connected,
            clients_maximum: self.linked_max.load(Ordering::Relaxed),
            clients_disconnected: sessions - clients_connected,
            clients_expired: count(tally.expired),
            subscriptions,
            shared_subscriptions,
            retained,
            retained_bytes,
            messages_received: count(tally.messages_received),
            messages_sent: count(tally.messages_sent),
            publish_received: count(tally.publish_received),
            publish_sent: count(tally.publish_sent),
            publish_bytes_received: count(tally.publish_bytes_received),
            publish_bytes_sent: count(tally.publish_bytes_sent),
            publish_received_by_qos: by_qos(
                tally.publish_received,
                tally.publish_received_1,
                tally.publish_received_2,
            ),
            publish_sent_by_qos: by_qos(tally.publish_sent, tally.publish_sent_1, tally.publish_sent_2),
            publish_bytes_received_by_qos: by_qos(
                tally.publish_bytes_received,
                tally.publish_bytes_received_1,
                tally.publish_bytes_received_2,
            ),
            publish_bytes_sent_by_qos: by_qos(
                tally.publish_bytes_sent,
                tally.publish_bytes_sent_1,
                tally.publish_bytes_sent_2,
            ),
            bytes_received: count(tally.bytes_received),
            bytes_sent: count(tally.bytes_sent),
            in_flight: quantity(tally.in_flight),
            queued: quantity(tally.queued_messages),
            queued_bytes: quantity(tally.queued_bytes),
            stored: quantity(tally.kept_messages),
            stored_bytes: quantity(tally.kept_bytes),
            dropped_queue_full: count(tally.dropped_queue_full),
            dropped_outbox_full: count(tally.dropped_outbox_full),
            dropped_too_large: count(tally.dropped_too_large),
            messages_expired: count(tally.expired_messages),
            dropped_memory_full: count(tally.dropped_memory_full),
            dropped_retained_full: count(tally.dropped_retained_full),
            dropped_retained_memory_full: count(tally.dropped_retained_memory_full),
            refused_connections: count(tally.refused_connections),
            refused_subscriptions: count(tally.refused_subscriptions),
            cut_connections: count(tally.cut_connections),
            refused_connections_full: reached(Limit::Connections),
            refused_listener_full: reached(Limit::ListenerConnections),
            refused_address_full: reached(Limit::ConnectionsPerAddress),
            refused_address_rate: reached(Limit::ConnectionRate),
            refused_proxy: reached(Limit::Proxy),
            publish_held: reached(Limit::PublishRate),
            refused_sessions_full: reached(Limit::Sessions),
            refused_logins_full: reached(Limit::Logins),
            ended_packet_too_large: reached(Limit::PacketSize),
            ended_silent: reached(Limit::Silent),
            ended_unread: reached(Limit::Unread),
            refused_topics: reached(Limit::Topic),
            refused_acl: reached(Limit::Acl),
            refused_subscriptions_acl: reached(Limit::AclFilter),
            refused_subscriptions_full: reached(Limit::Subscriptions),
            refused_total_subscriptions_full: reached(Limit::TotalSubscriptions),
            refused_filters_full: reached(Limit::Filters),
            refused_filter_topics: reached(Limit::FilterTopic),
            memory_used,
            memory_maximum: self.memory.peak().max(memory_used),
            memory_budget: self.memory.budget(),
            memory_stage: self.memory.stage(),
            store: self.store_status.as_deref().map(StoreStats::from),
        }
    }
}
