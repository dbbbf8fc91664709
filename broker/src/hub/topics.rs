//! The broker's own topics: `$SOL/broker/…` as the original Sol named them, and `$SYS/broker/…` as mosquitto does, with
//! what else there is to tell below the same names. All are retained; a value is published again when it has changed.
//!
//! Times are in seconds, memory is in bytes. In `$SYS` the uptime has its unit behind it, for that is mosquitto's way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::load::{Lap, Load, SPANS};
use super::{Batch, Hub, Stats, StoreStats};
use crate::codec::QoS;
use crate::session::Content;
use crate::topic::Name;

/// What mosquitto's `version` topic says of this broker.
const VERSION: &str = concat!("sol version ", env!("CARGO_PKG_VERSION"));

/// What was published last, and what the averages are made of.
#[derive(Default)]
pub(super) struct Topics {
    published: HashMap<String, String, ahash::RandomState>,
    started: Option<Instant>,
    lap: Lap,
    loads: [Load; LOADS.len()],
}

type Value = fn(&Stats) -> u64;

/// The counters whose growth is averaged.
const LOADS: [(&str, Value); 9] = [
    ("messages/received", |stats| stats.messages_received),
    ("messages/sent", |stats| stats.messages_sent),
    ("publish/dropped", Stats::dropped),
    ("publish/received", |stats| stats.publish_received),
    ("publish/sent", |stats| stats.publish_sent),
    ("bytes/received", |stats| stats.bytes_received),
    ("bytes/sent", |stats| stats.bytes_sent),
    ("sockets", |stats| stats.sockets),
    ("connections", |stats| stats.connects),
];

impl Hub {
    /// Publishes the statistics at the time `now`; the first call is the start of the broker. `resident_bytes` is the
    /// memory of the whole process, where that is known and this process is the broker's alone.
    pub fn publish_statistics(&self, now: Instant, resident_bytes: Option<u64>, batch: &mut Batch) {
        batch.at(now);
        let stats = self.stats();
        let mut topics = self.topics.lock();
        let changed = topics.update(&stats, now, resident_bytes);
        drop(topics);
        let turn = self.turn();
        let run = self.run();
        for (topic, value) in &changed {
            if let Ok(name) = Name::new(topic) {
                let content = Content::new(name, value.as_bytes(), QoS::AtMostOnce);
                self.publish(content, true, None, &run, batch);
            }
        }
        drop((run, turn));
        self.absorb(batch);
    }
}

impl Topics {
    /// What is to be published.
    fn update(&mut self, stats: &Stats, now: Instant, resident_bytes: Option<u64>) -> Vec<(String, String)> {
        let started = *self.started.get_or_insert(now);
        let uptime = now.saturating_duration_since(started);
        let elapsed = self.lap.next(started, now);
        let mut all = sol(stats, uptime);
        all.extend(sys(stats, uptime, resident_bytes));
        all.extend(stats.store.iter().flat_map(store));
        for ((name, value), load) in LOADS.iter().zip(&mut self.loads) {
            for ((span, _), average) in SPANS.iter().zip(load.update(value(stats), elapsed)) {
                all.push((format!("$SYS/broker/load/{name}/{span}"), format!("{average:.2}")));
            }
        }
        all.retain(|(topic, value)| self.published.get(topic) != Some(value));
        self.published.extend(all.iter().cloned());
        all
    }
}

/// The original's eleven topics.
fn sol(stats: &Stats, uptime: Duration) -> Vec<(String, String)> {
    let of = |name: &str, value: u64| (format!("$SOL/broker/{name}"), value.to_string());
    vec![
        of("clients", stats.sessions as u64),
        of("clients/connected", stats.clients_connected as u64),
        of("clients/disconnected", stats.clients_disconnected as u64),
        of("messages", stats.messages_received + stats.messages_sent),
        of("messages/sent", stats.messages_sent),
        of("messages/received", stats.messages_received),
        of("bytes/sent", stats.bytes_sent),
        of("bytes/received", stats.bytes_received),
        // The original's two clocks: the second is of the process, which here is the same.
        of("uptime", uptime.as_secs()),
        of("uptime/sol", uptime.as_secs()),
        of("memory/used", stats.memory_used as u64),
    ]
}

/// mosquitto's topics, but for the averages, and those that it has no name for.
fn sys(stats: &Stats, uptime: Duration, resident_bytes: Option<u64>) -> Vec<(String, String)> {
    let texts = [
        ("version", VERSION.to_owned()),
        ("uptime", format!("{} seconds", uptime.as_secs())),
        ("memory/state", stats.memory_stage.to_string()),
    ];
    let numbers = [
        ("clients/total", stats.sessions as u64),
        ("clients/connected", stats.clients_connected as u64),
        ("clients/active", stats.clients_connected as u64),
        ("clients/disconnected", stats.clients_disconnected as u64),
        ("clients/inactive", stats.clients_disconnected as u64),
        ("clients/maximum", stats.clients_maximum as u64),
        ("clients/expired", stats.clients_expired),
        ("messages/received", stats.messages_received),
        ("messages/sent", stats.messages_sent),
        ("messages/inflight", stats.in_flight as u64),
        ("messages/stored", stats.stored as u64),
        ("store/messages/count", stats.stored as u64),
        ("store/messages/bytes", stats.stored_bytes as u64),
        ("publish/messages/received", stats.publish_received),
        ("publish/messages/sent", stats.publish_sent),
        ("publish/messages/dropped", stats.dropped()),
        ("publish/bytes/received", stats.publish_bytes_received),
        ("publish/bytes/sent", stats.publish_bytes_sent),
        ("bytes/received", stats.bytes_received),
        ("bytes/sent", stats.bytes_sent),
        ("subscriptions/count", stats.subscriptions as u64),
        ("shared_subscriptions/count", stats.shared_subscriptions as u64),
        ("retained messages/count", stats.retained as u64),
        ("heap/current", stats.memory_used as u64),
        ("heap/maximum", stats.memory_maximum as u64),
        // From here on Sol's own.
        ("retained messages/bytes", stats.retained_bytes as u64),
        ("queue/messages/count", stats.queued as u64),
        ("queue/messages/bytes", stats.queued_bytes as u64),
        ("connections/sockets", stats.connections as u64),
        ("publish/messages/dropped/queue", stats.dropped_queue_full),
        ("publish/messages/dropped/outbox", stats.dropped_outbox_full),
        ("publish/messages/dropped/size", stats.dropped_too_large),
        ("publish/held", stats.publish_held),
        ("publish/messages/expired", stats.messages_expired),
        ("publish/messages/dropped/memory", stats.dropped_memory_full),
        ("retained messages/dropped/store", stats.dropped_retained_full),
        ("retained messages/dropped/memory", stats.dropped_retained_memory_full),
        ("connections/dropped/refused", stats.refused_connections),
        ("connections/dropped/cut", stats.cut_connections),
        ("connections/dropped/total", stats.refused_connections_full),
        ("connections/dropped/listener", stats.refused_listener_full),
        ("connections/dropped/address", stats.refused_address_full),
        ("connections/dropped/rate", stats.refused_address_rate),
        ("connections/dropped/proxy", stats.refused_proxy),
        ("connections/dropped/sessions", stats.refused_sessions_full),
        ("connections/dropped/logins", stats.refused_logins_full),
        ("connections/dropped/packet", stats.ended_packet_too_large),
        ("connections/dropped/silent", stats.ended_silent),
        ("connections/dropped/unread", stats.ended_unread),
        ("publish/messages/dropped/topic", stats.refused_topics),
        ("publish/messages/dropped/acl", stats.refused_acl),
        ("subscriptions/dropped/acl", stats.refused_subscriptions_acl),
        ("subscriptions/dropped/client", stats.refused_subscriptions_full),
        ("subscriptions/dropped/total", stats.refused_total_subscriptions_full),
        ("subscriptions/dropped/filters", stats.refused_filters_full),
        ("subscriptions/dropped/topic", stats.refused_filter_topics),
        ("subscriptions/dropped/memory", stats.refused_subscriptions),
        ("memory/used", stats.memory_used as u64),
        ("memory/maximum", stats.memory_maximum as u64),
        ("memory/budget", stats.memory_budget as u64),
    ];
    let numbers = numbers.into_iter().chain(resident_bytes.map(|bytes| ("memory/resident", bytes)));
    texts
        .into_iter()
        .chain(numbers.map(|(name, value)| (name, value.to_string())))
        .map(|(name, value)| (format!("$SYS/broker/{name}"), value))
        .collect()
}

/// Of what survives the broker. `store/messages/…`, as mosquitto has it, is of what is in memory.
fn store(stats: &StoreStats) -> [(String, String); 11] {
    let seconds = |time: Duration| format!("{:.6}", time.as_secs_f64());
    [
        ("failing", u8::from(stats.is_failing).to_string()),
        ("bytes", stats.bytes.to_string()),
        ("bytes/needed", stats.needed_bytes.to_string()),
        ("bytes/written", stats.written_bytes.to_string()),
        ("bytes/copied", stats.copied_bytes.to_string()),
        ("segments", stats.segments.to_string()),
        ("syncs", stats.syncs.to_string()),
        ("syncs/mean", seconds(stats.mean_sync)),
        ("syncs/maximum", seconds(stats.longest_sync)),
        ("errors/write", stats.write_errors.to_string()),
        ("errors/read", stats.read_errors.to_string()),
    ]
    .map(|(name, value)| (format!("$SYS/broker/store/{name}"), value))
}

/// What there is below `$SYS/broker/`.
#[cfg(test)]
pub(crate) fn names() -> Vec<String> {
    let all = Topics::default().update(&Stats::default(), Instant::now(), Some(0));
    all.iter().filter_map(|(topic, _)| topic.strip_prefix("$SYS/broker/")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_published_again() {
        let (mut topics, start) = (Topics::default(), Instant::now());
        let stats = Stats { messages_sent: 7, ..Stats::default() };
        let first = topics.update(&stats, start, Some(1));
        let has = |all: &[(String, String)], topic: &str, value: &str| {
            all.contains(&(topic.to_owned(), value.to_owned()))
        };
        for (topic, value) in [
            ("$SOL/broker/messages/sent", "7"),
            ("$SOL/broker/uptime", "0"),
            ("$SYS/broker/uptime", "0 seconds"),
            ("$SYS/broker/load/messages/sent/1min", "0.00"),
            ("$SYS/broker/memory/resident", "1"),
        ] {
            assert!(has(&first, topic, value), "{topic}: {first:?}");
        }
        assert!(topics.update(&stats, start, Some(1)).is_empty());
        let later = topics.update(&stats, start + Duration::from_secs(60), Some(1));
        assert!(has(&later, "$SOL/broker/uptime/sol", "60"), "{later:?}");
        // 7 in the first minute: of an average that began at 0 that is 63 %.
        assert!(has(&later, "$SYS/broker/load/messages/sent/1min", "4.42"), "{later:?}");
        assert!(!later.iter().any(|(topic, _)| topic == "$SOL/broker/messages/sent"), "{later:?}");
    }

    #[test]
    fn they_are_published_as_retained_messages() {
        let (hub, mut batch, start) =
            (Hub::new(super::super::Limits::default()), Batch::new(Instant::now()), Instant::now());
        hub.publish_statistics(start, None, &mut batch);
        let stored = hub.stats().stored;
        assert_eq!(hub.retained.read().messages.len(), stored);
        assert_eq!(hub.stats().retained, 0, "the clients'");
        hub.publish_statistics(start + Duration::from_secs(10), None, &mut batch);
        assert_eq!(hub.stats().stored, stored, "the old values are forgotten");
    }
}
