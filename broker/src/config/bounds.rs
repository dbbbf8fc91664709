//! The table of limits on the reference page: what is bounded, what happens at the bound, and where that is counted.

use std::fmt::Write as _;

use super::key;

/// A limit: a key and its default, or what has no key, and how much it is.
struct Bound {
    what: Result<&'static str, (&'static str, &'static str)>,
    of: &'static str,
    then: &'static str,
    /// Topics below `$SYS/broker/`.
    counted: &'static [&'static str],
}

const fn bound(
    key: &'static str,
    of: &'static str,
    then: &'static str,
    counted: &'static [&'static str],
) -> Bound {
    Bound { what: Ok(key), of, then, counted }
}

const fn fixed(
    what: (&'static str, &'static str),
    of: &'static str,
    then: &'static str,
    counted: &'static [&'static str],
) -> Bound {
    Bound { what: Err(what), of, then, counted }
}

const DROPPED: &[&str] = &["publish/messages/dropped/queue"];
const RETAINED: &[&str] = &["retained messages/dropped/store"];
const TOPIC: &[&str] = &["publish/messages/dropped/topic", "subscriptions/dropped/topic"];
const MEMORY: &[&str] = &[
    "publish/messages/dropped/memory",
    "retained messages/dropped/memory",
    "subscriptions/dropped/memory",
    "connections/dropped/refused",
    "connections/dropped/cut",
];

const BOUNDS: &[Bound] = &[
    bound("max_memory", "broker", "in stages: new work is refused, then who holds most loses it", MEMORY),
    bound("max_connections", "broker", "closed at once", &["connections/dropped/total"]),
    fixed(
        ("`max_connections` under a `listener` line", "0"),
        "listener",
        "closed at once",
        &["connections/dropped/listener"],
    ),
    bound("max_connections_per_address", "address", "closed at once", &["connections/dropped/address"]),
    bound(
        "max_connections_per_address_per_second",
        "address",
        "closed at once",
        &["connections/dropped/rate"],
    ),
    fixed(
        ("time from connecting to CONNECT", "10s"),
        "connection",
        "closed, up to 2s later where many are",
        &["connections/dropped/silent"],
    ),
    fixed(
        ("time for the header of the PROXY protocol", "10s"),
        "connection",
        "closed, as is who is not in `proxy_trusted`",
        &["connections/dropped/proxy"],
    ),
    fixed(
        ("connections of which that header is awaited", "1024"),
        "broker",
        "closed at once",
        &["connections/dropped/proxy"],
    ),
    fixed(
        ("logins that wait to be verified", "4096"),
        "broker",
        "CONNACK code 3, in 5.0 0x88",
        &["connections/dropped/logins"],
    ),
    bound("max_sessions", "broker", "CONNACK code 3, in 5.0 0x97", &["connections/dropped/sessions"]),
    bound("max_request_size", "packet", "closed, in 5.0 with 0x95", &["connections/dropped/packet"]),
    bound(
        "max_publish_messages_per_second",
        "client",
        "not read from until it may go on; nothing is lost",
        &["publish/held"],
    ),
    bound(
        "max_publish_bytes_per_second",
        "client",
        "not read from until it may go on; nothing is lost",
        &["publish/held"],
    ),
    bound("max_topic_bytes", "topic", "refused or closed, see there", TOPIC),
    bound("max_topic_levels", "topic", "refused or closed, see there", TOPIC),
    bound("max_filters", "SUBSCRIBE", "SUBACK 0x80, in 5.0 0x97", &["subscriptions/dropped/filters"]),
    bound("max_subscriptions", "client", "SUBACK 0x80, in 5.0 0x97", &["subscriptions/dropped/client"]),
    bound("max_total_subscriptions", "broker", "SUBACK 0x80, in 5.0 0x97", &["subscriptions/dropped/total"]),
    bound("max_inflight_messages", "client", "queued", &[]),
    bound("max_queued_messages", "client", "the newest is dropped", DROPPED),
    bound("max_queued_bytes", "client", "the newest is dropped", DROPPED),
    bound(
        "max_outbox_bytes",
        "client",
        "QoS 0: the newest is dropped; others are queued",
        &["publish/messages/dropped/outbox"],
    ),
    fixed(
        ("time in which a client reads nothing of what waits", "60s"),
        "client",
        "closed",
        &["connections/dropped/unread"],
    ),
    bound("max_retained_messages", "broker", "the newest is not retained", RETAINED),
    bound("max_retained_bytes", "broker", "the newest is not retained", RETAINED),
    bound(
        "acl_file",
        "client",
        "refused or dropped, see above",
        &["publish/messages/dropped/acl", "subscriptions/dropped/acl"],
    ),
];

/// As the page has it.
pub(super) fn table() -> String {
    let mut table = include_str!("bounds.md").to_owned();
    table.push_str(
        "| limit | default | of | beyond it | counted below `$SYS/broker/` |\n|---|---|---|---|---|\n",
    );
    for Bound { what, of, then, counted } in BOUNDS {
        let (what, default) = match what {
            Ok(name) => (format!("`{name}`"), key(name).unwrap().default),
            Err((what, default)) => ((*what).to_owned(), *default),
        };
        let counted: Vec<_> = counted.iter().map(|topic| format!("`{topic}`")).collect();
        let counted = if counted.is_empty() { "–".to_owned() } else { counted.join(", ") };
        let default = match default {
            "0" => "any",
            "" => "–",
            default => default,
        };
        writeln!(table, "| {what} | {default} | {of} | {then} | {counted} |").unwrap();
    }
    table
}

#[test]
fn each_is_counted_on_a_topic_that_there_is_and_each_such_topic_is_told_of() {
    let told: Vec<_> =
        BOUNDS.iter().flat_map(|bound| bound.counted).map(|topic| (*topic).to_owned()).collect();
    let there_are = crate::hub::statistics();
    for topic in &told {
        assert!(there_are.contains(topic), "{topic}");
    }
    // The client's own limit, and the sum.
    let others = ["publish/messages/dropped/size", "publish/messages/dropped"];
    for topic in there_are.iter().filter(|topic| topic.contains("/dropped") && !topic.starts_with("load/")) {
        assert!(told.contains(topic) || others.contains(&topic.as_str()), "{topic}");
    }
}
