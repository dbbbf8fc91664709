//! Chapters 3.3.1.3, 3.3.2.3.8 and 3.3.4 of 5.0: what a delivery has of its subscription.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, up};
use crate::injector::hand::{Hand, filters};

const ID: &str = "subscription_id";

/// Deliveries that fulfil the condition lose the identifier.
fn loses(which: fn(&mut Hand<'_>, &Packet) -> bool) -> Meddler {
    down(
        Kind::Publish,
        move |hand, packet| if which(hand, &packet) { vec![packet.without(ID)] } else { vec![packet] },
    )
}

/// Deliveries have other identifiers.
fn ids(change: fn(Vec<u64>) -> Vec<u64>) -> Meddler {
    down(Kind::Publish, move |_, packet| {
        let number = |value: &Value| if let Value::Number(number) = value { *number } else { 0 };
        let ids = change(packet.all(ID).map(number).collect());
        vec![ids.into_iter().fold(packet.without(ID), |packet, id| packet.with(ID, id))]
    })
}

/// A SUBSCRIBE has this option with every filter.
fn option(name: &'static str, change: fn(u64) -> u64) -> Meddler {
    up(Kind::Subscribe, move |_, packet| {
        let mut fields = Vec::new();
        for (field, value) in packet.fields {
            match (field, &value) {
                ("qos", _) => fields.extend([(field, value), (name, Value::Number(change(0)))]),
                (field, Value::Number(number)) if field == name => {
                    // In place of the one that stands before it.
                    let changed = Value::Number(change(*number));
                    if let Some(place) = fields.iter().rposition(|(field, _)| *field == name)
                        && let Some((_, old)) = fields.get_mut(place)
                    {
                        *old = changed;
                    }
                }
                _ => fields.push((field, value)),
            }
        }
        vec![Packet { kind: Kind::Subscribe, fields }]
    })
}

/// The name of a client's filter.
fn name(hand: &Hand<'_>, filter: &[u8]) -> Vec<u8> {
    [b"filter".to_vec(), hand.link(|link| link.client_id()), filter.to_vec()].join(&0)
}

/// A SUBSCRIBE that repeats a filter has another identifier than it says.
fn repeated(change: fn(Packet, Option<u64>) -> Packet) -> Meddler {
    up(Kind::Subscribe, move |hand, packet| {
        let filter = packet.text("topic");
        let name = name(hand, &filter);
        let before = hand.noted(&name).map(|text| String::from_utf8_lossy(&text).parse().ok());
        hand.note(name, packet.number(ID).map(|id| id.to_string()).unwrap_or_default());
        match before {
            Some(before) => vec![change(packet, before)],
            None => vec![packet],
        }
    })
}

pub(super) const FAULTS: &[Fault] = &[
    // Identifiers
    fault_5_0("subscription-id-lost", "Deliveries have no identifier.", "3.3.4-3 3.3.4-5", || {
        loses(|_, _| true)
    }),
    fault_5_0(
        "subscription-id-lost-with-qos0",
        "Deliveries with QoS 0 have no identifier.",
        "3.3.4-3",
        || loses(|_, packet| packet.get("qos") == 0),
    ),
    fault_5_0(
        "subscription-id-lost-with-qos1",
        "Deliveries with QoS 1 have no identifier.",
        "3.3.4-3",
        || loses(|_, packet| packet.get("qos") == 1),
    ),
    fault_5_0(
        "subscription-id-lost-with-retained",
        "Retained messages have no identifier.",
        "3.3.4-3",
        || loses(|_, packet| packet.get("retain") == 1),
    ),
    fault_5_0(
        "subscription-id-lost-with-repeats",
        "What is sent again has no identifier.",
        "3.3.4-3",
        || loses(|_, packet| packet.get("dup") == 1),
    ),
    fault_5_0(
        "subscription-id-lost-in-queues",
        "What has waited for its session has no identifier.",
        "3.3.4-3 3.1.2-23",
        || loses(|hand, packet| packet.get("dup") == 0 && hand.link(|link| link.is_fresh())),
    ),
    fault_5_0(
        "subscription-id-lost-with-the-connection",
        "The identifier ends with the connection.",
        "3.3.4-3 3.1.2-23",
        || loses(|hand, _| hand.link(|link| link.accepted == Some(true))),
    ),
    fault_5_0(
        "subscription-id-of-the-first-filter",
        "Only the first filter of a client has its identifier.",
        "3.3.4-3",
        || {
            loses(|hand, packet| {
                let topic = packet.text("topic");
                hand.link(|link| {
                    link.filters
                        .first()
                        .is_some_and(|(first, _)| !crate::injector::topic::matches(first, &topic))
                })
            })
        },
    ),
    fault_5_0("subscription-id-of-7-bits", "It cuts identifiers to a byte.", "3.3.4-3", || {
        ids(|ids| ids.into_iter().map(|id| (id & 0x7f).max(1)).collect())
    }),
    fault_5_0("subscription-id-of-16-bits", "It cuts identifiers to two bytes.", "3.3.4-3", || {
        ids(|ids| ids.into_iter().map(|id| (id & 0xffff).max(1)).collect())
    }),
    fault_5_0("subscription-id-of-21-bits", "It cuts identifiers to three bytes.", "3.3.4-3", || {
        ids(|ids| ids.into_iter().map(|id| (id & 0x1f_ffff).max(1)).collect())
    }),
    fault_5_0("subscription-id-added", "It adds an identifier of its own.", "3.3.4-3 3.3.4-5", || {
        ids(|mut ids| {
            ids.push(9999);
            ids
        })
    }),
    fault_5_0("subscription-id-made-up", "Where there is no identifier it says 1.", "3.3.4-3", || {
        ids(|ids| if ids.is_empty() { vec![1] } else { ids })
    }),
    fault_5_0(
        "subscription-id-only-one",
        "One copy has one identifier, whatever matches.",
        "3.3.4-4",
        || ids(|ids| ids.into_iter().take(1).collect()),
    ),
    fault_5_0("subscription-id-twice", "It says an identifier twice.", "3.3.4-3", || {
        ids(|ids| [ids.clone(), ids].concat())
    }),
    fault_5_0("subscription-id-of-both", "Each copy has the identifiers of all.", "3.3.4-5", || {
        let mut last: Option<(Vec<u8>, u64)> = None;
        down(Kind::Publish, move |_, packet| {
            let (key, id) = ([packet.text("topic"), packet.text("payload")].join(&0), packet.get(ID));
            let before = last.replace((key.clone(), id));
            match before {
                Some((other, other_id)) if other == key && id > 0 && other_id != id => {
                    vec![packet.with(ID, other_id.max(1))]
                }
                _ => vec![packet],
            }
        })
    }),
    fault_5_0(
        "subscription-id-of-somebody-else",
        "Everybody has the identifier that was last given.",
        "3.3.4-3",
        || {
            all(vec![
                up(Kind::Subscribe, |hand, packet| {
                    for (filter, _) in filters(&packet) {
                        hand.note([b"last".to_vec(), filter].concat(), packet.get(ID).to_string());
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let last = hand.noted([b"last".to_vec(), packet.text("topic")].concat());
                    let last = last.and_then(|text| String::from_utf8(text).ok()?.parse::<u64>().ok());
                    match last {
                        Some(0) => vec![packet.without(ID)],
                        Some(id) => vec![packet.without(ID).with(ID, id)],
                        None => vec![packet],
                    }
                }),
            ])
        },
    ),
    fault_5_0(
        "subscription-id-of-the-first-subscribe",
        "The identifier of a filter stays as it was first given.",
        "3.3.4-3 3.8.4-3",
        || {
            repeated(|packet, before| match before {
                Some(id) => packet.without(ID).set(ID, id),
                None => packet.without(ID),
            })
        },
    ),
    fault_5_0(
        "subscription-id-not-taken-away",
        "A SUBSCRIBE without an identifier leaves the old one.",
        "3.3.4-3 3.8.4-3",
        || {
            repeated(|packet, before| match (packet.number(ID), before) {
                (None, Some(id)) => packet.set(ID, id),
                _ => packet,
            })
        },
    ),
    // Retain As Published
    fault_5_0("retain-as-published-ignored", "RETAIN of live messages is always 0.", "3.3.1-13", || {
        option("retain_as_published", |_| 0)
    }),
    fault_5_0(
        "retain-as-published-always",
        "RETAIN of live messages is always as published.",
        "3.3.1-12",
        || option("retain_as_published", |_| 1),
    ),
    fault_5_0(
        "retain-as-published-reversed",
        "It takes Retain As Published 0 for 1, and 1 for 0.",
        "3.3.1-12 3.3.1-13",
        || option("retain_as_published", |option| 1 - option.min(1)),
    ),
    fault_5_0(
        "retain-as-published-lost-on-return",
        "What comes on a later connection has RETAIN 0.",
        "3.3.1-13 3.1.2-23",
        || {
            down(Kind::Publish, |hand, packet| {
                let is_back = hand.link(|link| link.is_fresh());
                if is_back { vec![packet.set("retain", 0u64)] } else { vec![packet] }
            })
        },
    ),
    fault_5_0("retain-lost-when-repeated", "What is sent again has RETAIN 0.", "3.3.1-13 4.4.0-1", || {
        down(Kind::Publish, |_, packet| {
            if packet.get("dup") == 1 { vec![packet.set("retain", 0u64)] } else { vec![packet] }
        })
    }),
    fault_5_0("retain-of-empty-messages-lost", "A message of no bytes has RETAIN 0.", "3.3.1-13", || {
        down(Kind::Publish, |_, packet| {
            if packet.text("payload").is_empty() { vec![packet.set("retain", 0u64)] } else { vec![packet] }
        })
    }),
    // Retain Handling
    fault_5_0(
        "retain-handling-always-0",
        "It sends retained messages with every SUBSCRIBE.",
        "3.3.1-10 3.3.1-11",
        || option("retain_handling", |_| 0),
    ),
    fault_5_0(
        "retain-handling-always-1",
        "It sends retained messages for new subscriptions alone.",
        "3.3.1-9 3.3.1-11",
        || option("retain_handling", |_| 1),
    ),
    fault_5_0("retain-handling-always-2", "It never sends retained messages.", "3.3.1-9 3.3.1-10", || {
        option("retain_handling", |_| 2)
    }),
    fault_5_0("retain-handling-1-is-2", "With Retain Handling 1 it never sends them.", "3.3.1-10", || {
        option("retain_handling", |handling| if handling == 1 { 2 } else { handling })
    }),
    fault_5_0("retain-handling-1-is-0", "With Retain Handling 1 it always sends them.", "3.3.1-10", || {
        option("retain_handling", |handling| if handling == 1 { 0 } else { handling })
    }),
    fault_5_0(
        "retain-handling-2-is-1",
        "With Retain Handling 2 it sends them for new subscriptions.",
        "3.3.1-11",
        || option("retain_handling", |handling| if handling == 2 { 1 } else { handling }),
    ),
    fault_5_0("retain-handling-2-is-0", "With Retain Handling 2 it always sends them.", "3.3.1-11", || {
        option("retain_handling", |handling| if handling == 2 { 0 } else { handling })
    }),
    fault_5_0(
        "retain-handling-of-the-first-filter",
        "All filters of a packet have that of the first.",
        "3.3.1-9 3.3.1-10 3.3.1-11",
        || {
            up(Kind::Subscribe, |_, packet| {
                let mut fields: Vec<(&'static str, Value)> = Vec::new();
                let mut entries = 0;
                let mut first = 0;
                for (field, value) in &packet.fields {
                    match (*field, value) {
                        ("topic", _) => entries += 1,
                        ("retain_handling", Value::Number(handling)) if entries == 1 => first = *handling,
                        _ => {}
                    }
                }
                for (field, value) in packet.fields {
                    if field != "retain_handling" {
                        fields.push((field, value));
                    }
                    if field == "qos" && first > 0 {
                        fields.push(("retain_handling", Value::Number(first)));
                    }
                }
                vec![Packet { kind: Kind::Subscribe, fields }]
            })
        },
    ),
    fault_5_0(
        "retain-handling-1-outlives-unsubscribe",
        "After UNSUBSCRIBE the subscription is not a new one.",
        "3.3.1-10",
        || {
            all(vec![
                up(Kind::Unsubscribe, |hand, packet| {
                    hand.note(name(hand, &packet.text("topic")), "");
                    vec![packet]
                }),
                up(Kind::Subscribe, |hand, packet| {
                    let was_there = hand.noted(name(hand, &packet.text("topic"))).is_some();
                    if was_there && packet.get("retain_handling") == 1 {
                        vec![packet.set("retain_handling", 2u64)]
                    } else {
                        vec![packet]
                    }
                }),
            ])
        },
    ),
    fault_5_0(
        "retain-handling-1-is-of-the-connection",
        "On a new connection every subscription is a new one.",
        "3.3.1-10",
        || {
            up(Kind::Subscribe, |hand, packet| {
                let is_first = hand.count(format!("{} {:?}", hand.me, packet.text("topic"))) == 1;
                if is_first && packet.get("retain_handling") == 1 {
                    vec![packet.set("retain_handling", 0u64)]
                } else {
                    vec![packet]
                }
            })
        },
    ),
];
