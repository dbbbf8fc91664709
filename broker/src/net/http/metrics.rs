//! `/metrics`: the counters for Prometheus, in the text format that it asks for.

use std::fmt;
use std::time::UNIX_EPOCH;

use hyper::header::{ACCEPT, HeaderMap};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::answer::{Answer, whole};
use super::state::State;
use crate::hub::{Latencies, Stats, StoreStats};
use crate::net::resident_bytes;
use crate::store::{SYNC_BOUNDS_US, Status};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures at one time.
#[derive(Debug)]
struct Reading {
    stats: Stats,
    latencies: Latencies,
    resident_bytes: Option<u64>,
    started: f64,
    threads: usize,
    listeners: Vec<(String, usize)>,
    /// How long the store waited for stable storage: in all, and how often up to each bound.
    syncs: Option<(f64, Vec<(f64, u64)>)>,
}

/// The figures, in the format that is asked for.
pub(super) fn answer(state: &State, headers: &HeaderMap) -> Answer {
    let facts = &state.facts;
    let started = facts.started.1.duration_since(UNIX_EPOCH);
    let reading = Reading {
        stats: state.stats(),
        latencies: state.hub.latencies(),
        resident_bytes: resident_bytes(),
        started: started.map_or(0.0, |time| time.as_secs_f64()),
        threads: facts.threads,
        listeners: facts
            .places
            .read()
            .iter()
            .map(|desk| (desk.name(), desk.entrance().connections()))
            .collect(),
        syncs: facts.store.as_deref().map(syncs),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open_metrics = accepted.into_iter().any(|value| value.contains("application/openmetrics-text"));
    // A string takes everything.
    let mut out = String::new();
    if is_open_metrics {
        _ = text::encode(&mut out, &registry);
        whole(OPEN_METRICS, out)
    } else {
        _ = prometheus_text::encode(&mut out, &registry);
        whole(PROMETHEUS, out)
    }
}

fn syncs(status: &Status) -> (f64, Vec<(f64, u64)>) {
    let bounds = SYNC_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    (status.sync_time().as_secs_f64(), bounds.zip(status.sync_places()).collect())
}

type Label<'a> = (&'static str, &'a str);

/// Writes families of figures.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn family<'l, M: EncodeMetric>(
        &mut self,
        (name, unit): (&str, Option<Unit>),
        help: &str,
        figures: impl IntoIterator<Item = (Vec<Label<'l>>, M)>,
    ) -> fmt::Result {
        let mut figures = figures.into_iter().peekable();
        let Some((_, first)) = figures.peek() else { return Ok(()) };
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), first.metric_type())?;
        for (labels, figure) in figures {
            if labels.is_empty() {
                figure.encode(metric)?;
                // There is one alone without labels.
                return Ok(());
            }
            figure.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family((name, None), help, [(vec![], ConstCounter::new(value))])
    }

    fn byte_counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family((name, Some(Unit::Bytes)), help, [(vec![], ConstCounter::new(value))])
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        self.family((name, None), help, [(vec![], ConstGauge::new(value as u64))])
    }

    fn byte_gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family((name, Some(Unit::Bytes)), help, [(vec![], ConstGauge::new(value))])
    }

    /// A counter for each value of one label.
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: [(&'static str, u64); N],
    ) -> fmt::Result {
        let figures = values.map(|(text, value)| (vec![(label, text)], ConstCounter::new(value)));
        self.family((name, None), help, figures)
    }

    /// A counter for each QoS and direction.
    fn by_qos(
        &mut self,
        of: (&str, Option<Unit>),
        help: &str,
        received: [u64; 3],
        sent: [u64; 3],
    ) -> fmt::Result {
        let of_direction = |direction, values: [u64; 3]| {
            let values = ["0", "1", "2"].into_iter().zip(values);
            values.map(move |(qos, value)| {
                (vec![("direction", direction), ("qos", qos)], ConstCounter::new(value))
            })
        };
        self.family(of, help, of_direction("received", received).chain(of_direction("sent", sent)))
    }
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        families.family(("sol_build_info", None), "The version of the broker", [(version, Info)])?;
        families.family(
            ("process_start_time", Some(Unit::Seconds)),
            "When the broker started, since 1970-01-01",
            [(vec![], ConstGauge::new(self.started))],
        )?;
        if let Some(bytes) = self.resident_bytes {
            families.byte_gauge("process_resident_memory", "Resident memory of the process", bytes)?;
        }
        families.gauge("sol_threads", "Threads that serve the connections", self.threads)?;
        let listeners = self.listeners.iter().map(|(name, connections)| {
            (vec![("listener", name.as_str())], ConstGauge::new(*connections as u64))
        });
        let help = "Open network connections of each listener";
        families.family(("sol_listener_connections", None), help, listeners)?;
        encode_stats(&mut families, &self.stats)?;
        let mut metric = families.0.encode_descriptor(
            "sol_delivery_latency",
            "From the read that brought a message until a receiver's socket had all, of a sample",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let doublings = self.latencies.doublings().map(|(us, times)| (us as f64 / 1e6, times));
        // None is longer than the last.
        let doublings: Vec<_> = doublings.chain([(f64::INFINITY, 0)]).collect();
        let sum = self.latencies.sum().as_secs_f64();
        metric.encode_histogram::<NoLabelSet>(sum, self.latencies.count(), &doublings, None)?;
        if let (Some(store), Some((seconds, syncs))) = (&self.stats.store, &self.syncs) {
            encode_store(&mut families, store)?;
            let mut metric = families.0.encode_descriptor(
                "sol_store_sync_duration",
                "How long the store waited for stable storage",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?;
            let count = syncs.iter().map(|(_, times)| times).sum();
            metric.encode_histogram::<NoLabelSet>(*seconds, count, syncs, None)?;
        }
        Ok(())
    }
}

/// A figure that says what its labels say.
struct Info;

impl EncodeMetric for Info {
    fn encode(&self, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&1_u64)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// All of them are named here, so that none is forgotten.
fn encode_stats(families: &mut Families<'_>, stats: &Stats) -> fmt::Result {
    let Stats {
        connections,
        connections_moved,
        sockets,
        connects,
        sessions: _,
        clients_connected,
        clients_maximum,
        clients_disconnected,
        clients_expired,
        subscriptions,
        shared_subscriptions,
        retained,
        retained_bytes,
        messages_received,
        messages_sent,
        publish_received: _,
        publish_sent: _,
        publish_bytes_received: _,
        publish_bytes_sent: _,
        publish_received_by_qos,
        publish_sent_by_qos,
        publish_bytes_received_by_qos,
        publish_bytes_sent_by_qos,
        bytes_received,
        bytes_sent,
        in_flight,
        queued,
        queued_bytes,
        stored,
        stored_bytes,
        dropped_queue_full,
        dropped_outbox_full,
        dropped_too_large,
        messages_expired,
        dropped_memory_full,
        dropped_retained_full,
        dropped_retained_memory_full,
        refused_connections,
        refused_subscriptions,
        cut_connections,
        refused_connections_full,
        refused_listener_full,
        refused_address_full,
        refused_address_rate,
        refused_proxy,
        publish_held,
        refused_sessions_full,
        refused_logins_full,
        ended_packet_too_large,
        ended_silent,
        ended_unread,
        refused_topics,
        refused_acl,
        refused_subscriptions_full,
        refused_total_subscriptions_full,
        refused_filters_full,
        refused_filter_topics,
        refused_subscriptions_acl,
        memory_used,
        memory_maximum,
        memory_budget,
        memory_stage,
        store: _,
    } = *stats;
    families.gauge("sol_connections", "Open network connections", connections)?;
    families.counter("sol_connections_opened", "Network connections opened", sockets)?;
    families.counter(
        "sol_connections_moved",
        "Connections that went to another thread",
        connections_moved,
    )?;
    families.counter("sol_connects", "CONNECT packets accepted", connects)?;
    families.counters(
        "sol_connections_refused",
        "Connections and CONNECT packets refused",
        "reason",
        [
            ("total", refused_connections_full),
            ("listener", refused_listener_full),
            ("address", refused_address_full),
            ("address_rate", refused_address_rate),
            ("proxy", refused_proxy),
            ("sessions", refused_sessions_full),
            ("logins", refused_logins_full),
            ("memory", refused_connections),
        ],
    )?;
    families.counters(
        "sol_connections_ended",
        "Connections ended because of a limit",
        "reason",
        [
            ("packet_size", ended_packet_too_large),
            ("silent", ended_silent),
            ("unread", ended_unread),
            ("memory", cut_connections),
        ],
    )?;
    let sessions = [("connected", clients_connected), ("away", clients_disconnected)];
    let sessions = sessions.map(|(state, count)| (vec![("state", state)], ConstGauge::new(count as u64)));
    families.family(("sol_sessions", None), "Sessions, by whether their client is connected", sessions)?;
    families.gauge(
        "sol_clients_connected_maximum",
        "The most clients connected at a time",
        clients_maximum,
    )?;
    families.counter(
        "sol_sessions_expired",
        "Sessions whose client stayed away for too long",
        clients_expired,
    )?;
    let kinds = [("ordinary", subscriptions), ("shared", shared_subscriptions)];
    let kinds = kinds.map(|(kind, count)| (vec![("kind", kind)], ConstGauge::new(count as u64)));
    families.family(("sol_subscriptions", None), "Subscriptions of all sessions", kinds)?;
    families.counters(
        "sol_subscriptions_refused",
        "Subscriptions refused",
        "reason",
        [
            ("client", refused_subscriptions_full),
            ("total", refused_total_subscriptions_full),
            ("filters", refused_filters_full),
            ("topic", refused_filter_topics),
            ("acl", refused_subscriptions_acl),
            ("memory", refused_subscriptions),
        ],
    )?;
    let directions = [("received", messages_received), ("sent", messages_sent)];
    families.counters("sol_packets", "Packets of any type", "direction", directions)?;
    let directions = [("received", bytes_received), ("sent", bytes_sent)];
    let directions = directions.map(|(name, bytes)| (vec![("direction", name)], ConstCounter::new(bytes)));
    families.family(
        ("sol_network", Some(Unit::Bytes)),
        "Bytes read from network connections and written to them",
        directions,
    )?;
    families.by_qos(
        ("sol_messages", None),
        "PUBLISH packets",
        publish_received_by_qos,
        publish_sent_by_qos,
    )?;
    families.by_qos(
        ("sol_payload", Some(Unit::Bytes)),
        "Bytes of payload in PUBLISH packets",
        publish_bytes_received_by_qos,
        publish_bytes_sent_by_qos,
    )?;
    families.counters(
        "sol_messages_dropped",
        "Messages that a client did not get, and publishers' that were refused",
        "reason",
        [
            ("queue", dropped_queue_full),
            ("outbox", dropped_outbox_full),
            ("size", dropped_too_large),
            ("memory", dropped_memory_full),
            ("topic", refused_topics),
            ("acl", refused_acl),
        ],
    )?;
    families.counter(
        "sol_publishers_held",
        "Times a client had to wait because it published too fast",
        publish_held,
    )?;
    families.counter(
        "sol_messages_expired",
        "Deliveries and retained messages that expired",
        messages_expired,
    )?;
    families.counters(
        "sol_messages_unretained",
        "Messages delivered but not retained",
        "reason",
        [("store", dropped_retained_full), ("memory", dropped_retained_memory_full)],
    )?;
    families.gauge("sol_messages_in_flight", "Deliveries that are not finally acknowledged", in_flight)?;
    families.gauge("sol_messages_queued", "Deliveries that wait", queued)?;
    families.byte_gauge("sol_messages_queued", "Bytes of the deliveries that wait", queued_bytes as u64)?;
    families.gauge("sol_messages_kept", "Messages that are retained, queued, in flight or a will", stored)?;
    families.byte_gauge("sol_messages_kept", "Memory they take", stored_bytes as u64)?;
    families.gauge("sol_retained_messages", "Retained messages of clients", retained)?;
    families.byte_gauge("sol_retained_messages", "Memory they take", retained_bytes as u64)?;
    families.byte_gauge("sol_memory_used", "Memory accounted for", memory_used as u64)?;
    families.byte_gauge("sol_memory_used_maximum", "The most it was", memory_maximum as u64)?;
    families.byte_gauge("sol_memory_budget", "What it may come to", memory_budget as u64)?;
    families.gauge(
        "sol_memory_stage",
        "How short memory is: 0 not, 1 nobody gets more than a share, 2 new work is refused, 3 clients are cut off",
        memory_stage as usize,
    )
}

fn encode_store(families: &mut Families<'_>, store: &StoreStats) -> fmt::Result {
    let StoreStats {
        is_failing,
        bytes,
        needed_bytes,
        segments,
        written_bytes,
        copied_bytes,
        // The histogram has them.
        syncs: _,
        mean_sync: _,
        longest_sync,
        write_errors,
        read_errors,
    } = *store;
    families.gauge("sol_store_failing", "1 while the store cannot be written", usize::from(is_failing))?;
    families.byte_gauge("sol_store", "Bytes of its files", bytes)?;
    families.byte_gauge(
        "sol_store_needed",
        "Bytes in them that are still needed, more or less",
        needed_bytes,
    )?;
    families.family(("sol_store_segments", None), "Its files", [(vec![], ConstGauge::new(segments))])?;
    families.byte_counter("sol_store_written", "Bytes written", written_bytes)?;
    families.byte_counter(
        "sol_store_copied",
        "Bytes of these that were copied to remove a file",
        copied_bytes,
    )?;
    families.family(
        ("sol_store_sync_duration_maximum", Some(Unit::Seconds)),
        "The longest it waited for stable storage",
        [(vec![], ConstGauge::new(longest_sync.as_secs_f64()))],
    )?;
    let errors = [("write", write_errors), ("read", read_errors)];
    families.counters("sol_store_errors", "Attempts that failed", "action", errors)
}
