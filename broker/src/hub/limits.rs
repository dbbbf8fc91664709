//! How much of everything the broker takes.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::thread::available_parallelism;
use std::time::Duration;

use super::memory;
use crate::auth::DelayLimits;
use crate::codec::{MAX_PACKET_BYTES, QoS};
use crate::session::OutboundLimits;
use crate::topic::MAX_BYTES as MAX_TOPIC_BYTES;

/// Limits, each with its unit in its name. Nothing a client sends grows anything beyond them.
///
/// What is in flight, queued or in an outbox has no limit in total but `max_memory_bytes`, which then takes from those that
/// hold most; a number would refuse whoever comes last.
///
/// Where `max_memory_bytes` is small, those of outboxes, queues and retained messages are, too: a sixteenth, a half and a
/// half of what it leaves for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet accepted, fixed header included. A larger one ends the connection.
    pub max_packet_bytes: usize,
    /// Connections at a time; further ones are closed at once.
    pub max_connections: usize,
    /// Connections at a time from one address, or from one /64 of IPv6; further ones are closed at once. None is any; UNIX
    /// sockets have no limit of their own.
    pub max_connections_per_address: Option<NonZeroUsize>,
    /// New connections a second from one address, or from one /64 of IPv6; further ones are closed at once. After a rest,
    /// 10 s' worth may come at once. None is any; UNIX sockets have no limit of their own.
    pub max_connections_per_address_per_second: Option<NonZeroU32>,
    /// Sessions, connected or not; further clients get CONNACK code 3.
    pub max_sessions: usize,
    /// Subscriptions of one client; further ones are answered with failure in SUBACK.
    pub max_subscriptions: usize,
    /// Subscriptions of all sessions, shared ones counted for each member; further ones are answered with failure in
    /// SUBACK.
    pub max_total_subscriptions: usize,
    /// Topic filters of one SUBSCRIBE, which others wait for; further ones are answered with failure in SUBACK.
    pub max_filters: usize,
    /// Bytes of a topic name or filter. A longer filter is answered with failure in SUBACK. A client of 5.0 that publishes
    /// to a longer name gets reason code 0x90 in PUBACK or PUBREC, and at QoS 0 is disconnected with it; one of 3.1 or
    /// 3.1.1 cannot be told, and is disconnected. With a will for such a topic CONNECT is refused: 0x90, or code 3.
    pub max_topic_bytes: usize,
    /// Levels of a topic name or filter; what is deeper goes the way of what is longer.
    pub max_topic_levels: usize,
    /// QoS 1 and 2 messages in flight to one client; further ones are queued.
    pub max_in_flight_messages: u16,
    /// Bytes of them, but for one that is larger alone; and `max_outbox_bytes` at most.
    pub max_in_flight_bytes: usize,
    /// Messages queued for one client; further ones are dropped.
    pub max_queued_messages: usize,
    /// Bytes of messages queued for one client; further ones are dropped.
    pub max_queued_bytes: usize,
    /// Messages that wait in the store for one client whose session survives the broker; further ones are dropped.
    pub max_stored_messages: usize,
    /// Bytes of them.
    pub max_stored_bytes: usize,
    /// Bytes that wait for one client to read them; and bytes of messages in
    /// flight to it. Beyond it QoS 0 messages
    /// are dropped and others queued; at twice as much, no more is read from
    /// the client.
    pub max_outbox_bytes: usize,
    /// Retained messages; further ones are delivered and not stored.
    pub max_retained_messages: usize,
    /// Bytes of retained messages; further ones are delivered and not stored.
    pub max_retained_bytes: usize,
    /// Memory of the whole process: what happens near it is told in `hub/memory.rs`. 16 MiB are the least that make sense.
    pub max_memory_bytes: usize,
    /// A TCP connection without traffic for so long is asked by the system whether its other end is still there;
    /// none is never. Whole seconds, from 1 to 32767.
    pub tcp_keep_alive: Option<Duration>,
    /// How long a session of 3.1 or 3.1.1 with clean session 0 outlives its connection; none is for ever. Whole seconds.
    pub persistent_client_expiration: Option<Duration>,
    /// The longest session expiry interval that a client of 5.0 gets; none is any. Whole seconds, at least 1.
    pub max_session_expiry: Option<Duration>,
    /// The longest keep alive that a client of 5.0 gets, in seconds; none is any, and off.
    pub max_keep_alive: Option<NonZeroU16>,
    /// The highest QoS that clients of 5.0 may publish at: Maximum QoS. Those of 3.1 and 3.1.1 have no way to know it, and
    /// are not held to it.
    pub max_qos: QoS,
    /// Whether clients may publish with RETAIN: Retain Available. Those of 3.1 and 3.1.1 publish as if without it.
    pub retain_available: bool,
    /// The highest topic alias that a client of 5.0 may use, and so how many are kept for it: Topic Alias Maximum.
    pub max_topic_alias: u16,
    /// QoS 1 and 2 messages of one client that are not yet acknowledged to their end: Receive Maximum. At least 1. Those
    /// of 3.1 and 3.1.1 have no way to know it, and are not held to it.
    pub max_received_messages: u16,
    /// Whether a payload that a client of 5.0 says is UTF-8 is checked, and refused if it is not: Payload Format Indicator.
    pub check_payload_format: bool,
    /// Whether topic filters may have wildcards: Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Whether subscriptions may be shared: Shared Subscription Available.
    pub shared_available: bool,
    /// Whether subscriptions may have identifiers: Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// From accepting a connection to its CONNECT.
    pub connect_timeout: Duration,
    /// Passwords verified at a time, each on a thread beside those that serve the connections.
    pub max_login_threads: NonZeroUsize,
    /// Logins that wait for one of these threads; further clients get CONNACK code 3.
    pub max_waiting_logins: usize,
    /// How long the refusal of a failed login is held back.
    pub login_delay: DelayLimits,
    /// A client that reads nothing for so long, although something waits for it, is disconnected.
    pub write_timeout: Duration,
    /// How long a stop waits for clients to read what is left, and to acknowledge what is in flight.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_packet_bytes: 512 << 10,
            max_connections: 100_000,
            max_connections_per_address: None,
            max_connections_per_address_per_second: None,
            max_sessions: 1_000_000,
            max_subscriptions: 100_000,
            max_total_subscriptions: 10_000_000,
            max_filters: 1_000,
            max_topic_bytes: MAX_TOPIC_BYTES,
            max_topic_levels: 256,
            max_in_flight_messages: 100,
            max_in_flight_bytes: usize::MAX,
            max_queued_messages: 100_000,
            max_queued_bytes: 64 << 20,
            max_stored_messages: 1_000_000,
            max_stored_bytes: 1 << 30,
            max_outbox_bytes: 16 << 20,
            max_retained_messages: 1_000_000,
            max_retained_bytes: 1 << 30,
            max_memory_bytes: 2 << 30,
            tcp_keep_alive: Some(Duration::from_secs(60)),
            persistent_client_expiration: None,
            max_session_expiry: None,
            max_keep_alive: None,
            max_qos: QoS::ExactlyOnce,
            retain_available: true,
            max_topic_alias: 10,
            max_received_messages: u16::MAX,
            check_payload_format: false,
            wildcard_available: true,
            shared_available: true,
            subscription_ids_available: true,
            connect_timeout: Duration::from_secs(10),
            // The other half is left for those who are logged in.
            max_login_threads: available_parallelism()
                .ok()
                .and_then(|threads| NonZeroUsize::new(threads.get() / 2))
                .unwrap_or(NonZeroUsize::MIN),
            max_waiting_logins: 4096,
            login_delay: DelayLimits {
                first: Duration::from_millis(100),
                longest: Duration::from_secs(4),
                memory: Duration::from_secs(15 * 60),
                addresses: 10_000,
            },
            write_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// None of them lets one client, or the store, take all memory.
    pub(super) fn within_memory(mut self) -> Self {
        let budget = memory::budget(self.max_memory_bytes);
        self.max_outbox_bytes = self.max_outbox_bytes.min(budget / 16);
        self.max_queued_bytes = self.max_queued_bytes.min(budget / 2);
        self.max_retained_bytes = self.max_retained_bytes.min(budget / 2);
        self
    }

    /// Whether a topic name or filter is short and shallow enough.
    #[inline]
    pub(crate) fn allow_topic(&self, topic: &str) -> bool {
        // So few bytes cannot have more levels.
        topic.len() <= self.max_topic_bytes
            && (topic.len() < self.max_topic_levels || topic.split('/').nth(self.max_topic_levels).is_none())
    }

    /// As CONNACK says it, where it says it.
    pub(crate) fn receive_maximum(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.max_received_messages.max(1)).filter(|most| *most < NonZeroU16::MAX)
    }

    /// As CONNACK says it, where it says it.
    pub(super) fn maximum_packet_size(&self) -> Option<NonZeroU32> {
        let bytes = Some(self.max_packet_bytes).filter(|bytes| *bytes < MAX_PACKET_BYTES)?;
        NonZeroU32::new(u32::try_from(bytes).ok()?)
    }

    pub(super) fn outbound(&self) -> OutboundLimits {
        OutboundLimits {
            in_flight_messages: self.max_in_flight_messages,
            in_flight_bytes: self.max_in_flight_bytes.min(self.max_outbox_bytes),
            queued_messages: self.max_queued_messages,
            queued_bytes: self.max_queued_bytes,
            stored_messages: self.max_stored_messages,
            stored_bytes: self.max_stored_bytes,
            outbox_bytes: self.max_outbox_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_has_so_many_bytes_and_levels() {
        let limits = Limits { max_topic_bytes: 8, max_topic_levels: 3, ..Limits::default() };
        for (topic, is_allowed) in [
            ("a", true),
            ("a/b/c", true),
            ("//", true),
            ("///", false),
            ("a/b/c/", false),
            ("12345678", true),
            ("123456789", false),
        ] {
            assert_eq!(limits.allow_topic(topic), is_allowed, "{topic}");
        }
        let none = Limits { max_topic_levels: 0, ..Limits::default() };
        assert!(!none.allow_topic("a"));
    }
}
