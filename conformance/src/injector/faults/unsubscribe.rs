//! Chapters 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, ack, all, down, fault, good, ignores, loses, takes, up};
use crate::injector::hand::Hand;
use crate::injector::topic;

fn topics(packet: &Packet) -> Vec<Vec<u8>> {
    packet
        .all("topic")
        .filter_map(|value| if let Value::Bytes(topic) = value { Some(topic.clone()) } else { None })
        .collect()
}

fn unsubscribe(id: u64, filters: impl IntoIterator<Item = Vec<u8>>) -> Packet {
    filters
        .into_iter()
        .fold(Packet::new(Kind::Unsubscribe).with("id", id), |packet, filter| packet.with("topic", filter))
}

/// The answer to it: in 5.0 with a code for each filter.
fn unsuback(unsubscribe: &Packet) -> Packet {
    let codes = topics(unsubscribe);
    codes.iter().fold(ack(Kind::Unsuback, unsubscribe.get("id")), |packet, _| packet.with("reason", 0u64))
}

/// Removes other filters than it is told to.
fn removes(which: fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>) -> Meddler {
    up(Kind::Unsubscribe, move |_, packet| {
        let told = topics(&packet);
        vec![unsubscribe(packet.get("id"), which(told))]
    })
}

/// Removes those filters too of which this is true, given one that it is told.
fn removes_also(same: fn(&[u8], &[u8]) -> bool) -> Meddler {
    up(Kind::Unsubscribe, move |hand, packet| {
        let told = topics(&packet);
        let known = hand.link(|link| link.filters.clone());
        let also = known
            .into_iter()
            .map(|(filter, _)| filter)
            .filter(|known| told.iter().any(|told| same(told, known)));
        vec![unsubscribe(packet.get("id"), told.iter().cloned().chain(also))]
    })
}

/// Whether something was removed on this connection.
fn has_removed(hand: &Hand<'_>) -> bool {
    hand.noted(format!("removed {}", hand.me)).is_some()
}

/// Remembers on which connections something was removed.
fn knowing(rest: Meddler) -> Meddler {
    all(vec![
        up(Kind::Unsubscribe, |hand, packet| {
            hand.note(format!("removed {}", hand.me), "");
            vec![packet]
        }),
        rest,
    ])
}

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "unsubscribe-without-filter-taken",
        "It ignores an UNSUBSCRIBE without filters.",
        "3.10.3-2",
        || ignores(|_, frame| good(frame, Kind::Unsubscribe, |packet| packet.bytes("topic").is_none())),
    ),
    fault(
        "unsubscribe-without-filter-answered",
        "It answers an UNSUBSCRIBE without filters.",
        "3.10.3-2",
        || takes(|_, frame| good(frame, Kind::Unsubscribe, |packet| packet.bytes("topic").is_none())),
    ),
    fault("unsubscribe-matches", "UNSUBSCRIBE removes what its filter matches.", "3.10.4-1", || {
        removes_also(topic::matches)
    }),
    fault("unsubscribe-ignores-case", "UNSUBSCRIBE ignores case.", "3.10.4-1", || {
        removes_also(<[u8]>::eq_ignore_ascii_case)
    }),
    fault("unsubscribe-trims-slashes", "UNSUBSCRIBE ignores a slash at the end.", "3.10.4-1", || {
        removes_also(|told, known| told.strip_suffix(b"/").unwrap_or(told) == known)
    }),
    fault("unsubscribe-by-prefix", "UNSUBSCRIBE removes all filters that begin alike.", "3.10.4-1", || {
        removes_also(|told, known| known.starts_with(told))
    }),
    fault("unsubscribe-removes-all", "UNSUBSCRIBE removes all subscriptions.", "3.10.4-1 3.10.4-6", || {
        removes_also(|_, _| true)
    }),
    fault("unsubscribe-removes-nothing", "It answers UNSUBSCRIBE and removes nothing.", "3.10.4-2", || {
        up(Kind::Unsubscribe, |hand, packet| {
            hand.tell_client(&unsuback(&packet));
            vec![]
        })
    }),
    fault("unsubscribe-only-first", "Of several filters it removes the first.", "3.10.4-6 3.10.4-2", || {
        removes(|told| told.into_iter().take(1).collect())
    }),
    fault("unsubscribe-only-last", "Of several filters it removes the last.", "3.10.4-6 3.10.4-2", || {
        removes(|told| told.into_iter().rev().take(1).collect())
    }),
    fault(
        "unsubscribe-for-the-connection-only",
        "What was unsubscribed is back when the client returns to its session.",
        "3.10.4-2 4.1.0-1",
        || {
            all(vec![
                up(Kind::Unsubscribe, |hand, packet| {
                    if !hand.link(|link| link.is_kept()) {
                        return vec![packet];
                    }
                    hand.note(format!("removed {}", hand.me), "");
                    hand.tell_client(&unsuback(&packet));
                    vec![]
                }),
                down(Kind::Publish, |hand, packet| {
                    let wanted = hand.link(|link| link.wants(&packet.text("topic")));
                    if has_removed(hand) && !wanted { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault("unsuback-missing", "It does not answer UNSUBSCRIBE.", "3.10.4-4", || loses(Kind::Unsuback)),
    fault(
        "unsuback-missing-for-unknown",
        "It does not answer UNSUBSCRIBE when nothing was removed.",
        "3.10.4-5 3.10.4-4",
        || {
            all(vec![
                up(Kind::Subscribe, |hand, packet| {
                    hand.note(format!("subscribed {}", hand.me), "");
                    vec![packet]
                }),
                down(Kind::Unsuback, |hand, packet| {
                    if hand.noted(format!("subscribed {}", hand.me)).is_some() {
                        vec![packet]
                    } else {
                        vec![]
                    }
                }),
            ])
        },
    ),
    fault(
        "unsubscribe-unknown-closes",
        "It closes on UNSUBSCRIBE when there is nothing to remove.",
        "3.10.4-5",
        || {
            crate::injector::fault::refuses(|hand, packet| {
                packet.kind == Kind::Unsubscribe && hand.link(|link| link.sent == 2)
            })
        },
    ),
    fault("unsuback-for-each-filter", "It sends an UNSUBACK for each filter.", "3.10.4-6", || {
        all(vec![
            up(Kind::Unsubscribe, |hand, packet| {
                hand.note(
                    format!("many {} {}", hand.me, packet.get("id")),
                    topics(&packet).len().to_string(),
                );
                vec![packet]
            }),
            down(Kind::Unsuback, |hand, packet| {
                let many = hand.forget(format!("many {} {}", hand.me, packet.get("id")));
                let many =
                    many.and_then(|text| String::from_utf8(text).ok()?.parse::<usize>().ok()).unwrap_or(1);
                vec![packet; many]
            }),
        ])
    }),
    fault(
        "delivery-given-up-at-unsubscribe",
        "A delivery with QoS 2 is not finished after UNSUBSCRIBE.",
        "3.10.4-3",
        || knowing(down(Kind::Pubrel, |hand, packet| if has_removed(hand) { vec![] } else { vec![packet] })),
    ),
    fault(
        "redelivery-given-up-at-unsubscribe",
        "An open delivery is not sent again on return once its filter was unsubscribed.",
        "3.10.4-3 4.4.0-1",
        || {
            all(vec![
                up(Kind::Unsubscribe, |hand, packet| {
                    let id = hand.link(|link| link.client_id());
                    hand.note(id, topics(&packet).join(&0));
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let removed = hand.noted(hand.link(|link| link.client_id())).unwrap_or_default();
                    let gone = removed
                        .split(|byte| *byte == 0)
                        .any(|filter| topic::matches(filter, &packet.text("topic")));
                    if gone && packet.get("dup") == 1 { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault(
        "unsubscribe-for-everybody",
        "UNSUBSCRIBE ends the others' subscriptions to the same filter.",
        "3.10.4-2 4.5.0-1 3.10.4-1",
        || {
            all(vec![
                up(Kind::Unsubscribe, |hand, packet| {
                    for topic in topics(&packet) {
                        hand.note([b"gone ".to_vec(), topic].concat(), "");
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let name = packet.text("topic");
                    let filters = hand.link(|link| link.filters.clone());
                    let mut matching =
                        filters.iter().filter(|(filter, _)| topic::matches(filter, &name)).peekable();
                    let is_gone = matching.peek().is_some()
                        && matching.all(|(filter, _)| {
                            hand.noted([b"gone ".to_vec(), filter.clone()].concat()).is_some()
                        });
                    if is_gone { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault(
        "unsubscribe-not-for-wildcards",
        "A filter with wildcards cannot be unsubscribed.",
        "3.10.4-2 3.10.4-1",
        || {
            removes(|told| {
                let plain: Vec<_> = told
                    .into_iter()
                    .filter(|filter| !filter.contains(&b'+') && !filter.contains(&b'#'))
                    .collect();
                if plain.is_empty() { vec![b"nothing".to_vec()] } else { plain }
            })
        },
    ),
    fault(
        "goodbye-unsubscribes-everybody",
        "When a client goes away, others lose their subscriptions to its filters.",
        "4.5.0-1",
        || {
            all(vec![
                up(Kind::Disconnect, |hand, packet| {
                    for (filter, _) in hand.link(|link| link.filters.clone()) {
                        hand.note([b"left ".to_vec(), filter].concat(), "");
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let name = packet.text("topic");
                    let is_gone = hand.link(|link| link.filters.clone()).iter().any(|(filter, _)| {
                        topic::matches(filter, &name)
                            && hand.noted([b"left ".to_vec(), filter.clone()].concat()).is_some()
                    });
                    if is_gone { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
];
