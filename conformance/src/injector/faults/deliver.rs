//! Chapters 3.3, 4.5 and 4.6: messages on their way to subscribers, and their order.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, down, fault, refuses, swaps, up};
use crate::injector::hand::Hand;

/// A message, whoever gets it.
fn key(packet: &Packet) -> Vec<u8> {
    [packet.text("topic"), vec![0], packet.text("payload")].concat()
}

/// First deliveries of such messages get lost.
fn loses(which: fn(&mut Hand<'_>, &Packet) -> bool) -> Meddler {
    down(
        Kind::Publish,
        move |hand, packet| {
            if packet.get("dup") == 0 && which(hand, &packet) { vec![] } else { vec![packet] }
        },
    )
}

/// Payloads are delivered otherwise than they came.
fn payload(change: fn(&[u8]) -> Vec<u8>) -> Meddler {
    down(Kind::Publish, move |_, packet| vec![packet.map("payload", change)])
}

/// Payloads end after so many bytes.
fn cut(payload: &[u8], at: usize) -> Vec<u8> {
    payload.get(..at).unwrap_or(payload).to_vec()
}

/// First deliveries with this QoS come twice, the second time as a message of its own.
fn twice(qos: u64) -> Meddler {
    down(Kind::Publish, move |_, packet| {
        if packet.get("qos") != qos || packet.get("dup") == 1 {
            return vec![packet];
        }
        let again = if qos == 0 { packet.clone() } else { packet.clone().set("id", packet.get("id") + 500) };
        vec![packet, again]
    })
}

/// Deliveries have another QoS.
fn with_qos(change: fn(&Hand<'_>, &Packet) -> u64) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        let (old, new) = (packet.get("qos"), change(hand, &packet));
        if old == new {
            return vec![packet];
        }
        let id = if old == 0 { 60_000 } else { packet.get("id") };
        let payload = packet.text("payload");
        let packet = packet.set("qos", new).only(|name| name != "id" && name != "payload");
        let packet = if new > 0 { packet.with("id", id) } else { packet };
        vec![packet.with("payload", payload)]
    })
}

/// The highest QoS among the filters that match, or the lowest.
fn granted(hand: &Hand<'_>, packet: &Packet, lowest: bool) -> Option<u64> {
    let topic = packet.text("topic");
    hand.link(|link| {
        let matching =
            link.filters.iter().filter(|(filter, _)| crate::injector::topic::matches(filter, &topic));
        let qos = matching.map(|(_, qos)| *qos);
        if lowest { qos.min() } else { qos.max() }
    })
}

/// What the publisher gave the message.
fn note_published(hand: &mut Hand<'_>, packet: &Packet) {
    hand.note(key(packet), [packet.get("qos") as u8, packet.get("dup") as u8, hand.me as u8]);
}

fn published(hand: &Hand<'_>, packet: &Packet) -> Option<[u8; 3]> {
    hand.noted(key(packet))?.try_into().ok()
}

/// Looks at every PUBLISH from a client before the deliveries are dealt with.
fn knowing(deliveries: Meddler) -> Meddler {
    crate::injector::fault::all(vec![
        up(Kind::Publish, |hand, packet| {
            note_published(hand, &packet);
            vec![packet]
        }),
        deliveries,
    ])
}

pub(super) const FAULTS: &[Fault] = &[
    fault("qos0-lost", "It loses messages with QoS 0.", "4.5.0-1 4.3.1-1", || {
        loses(|_, packet| packet.get("qos") == 0)
    }),
    fault(
        "qos1-lost",
        "It acknowledges messages with QoS 1 and loses them.",
        "4.5.0-1 4.3.2-1 4.3.2-2",
        || loses(|_, packet| packet.get("qos") == 1),
    ),
    fault(
        "qos2-lost",
        "It acknowledges messages with QoS 2 and loses them.",
        "4.5.0-1 4.3.3-1 4.3.3-2",
        || loses(|_, packet| packet.get("qos") == 2),
    ),
    fault("every-second-lost", "It loses every second message.", "4.5.0-1 4.6.0-6", || {
        loses(|hand, _| {
            let name = format!("{}", hand.me);
            hand.count(name) % 2 == 0
        })
    }),
    fault("third-lost", "It loses what comes when two messages are open.", "4.5.0-1 4.6.0-6", || {
        loses(|hand, packet| {
            let name = format!("{}", hand.me);
            packet.get("qos") > 0 && hand.count(name) > 2
        })
    }),
    fault("only-first-subscriber", "Of several subscribers it serves the first.", "4.5.0-1", || {
        loses(|hand, packet| {
            let me = hand.me.to_string();
            match hand.noted(key(packet)) {
                Some(first) => first != me.as_bytes(),
                None => {
                    hand.note(key(packet), me);
                    false
                }
            }
        })
    }),
    fault("no-echo", "It sends a publisher none of its own messages.", "4.5.0-1 3.3.4-1", || {
        knowing(loses(|hand, packet| {
            published(hand, packet).is_some_and(|[_, _, from]| from == hand.me as u8)
        }))
    }),
    fault("empty-payload-lost", "It loses messages without a payload.", "4.5.0-1 3.3.1-10 3.1.2-9", || {
        loses(|_, packet| packet.text("payload").is_empty())
    }),
    fault("qos0-twice", "It delivers messages with QoS 0 twice.", "4.3.1-1 4.5.0-1", || twice(0)),
    fault("qos1-twice", "It delivers messages with QoS 1 twice, as two messages.", "4.3.2-1", || twice(1)),
    fault("qos2-twice", "It delivers messages with QoS 2 twice, as two messages.", "4.3.3-1 4.3.3-2", || {
        twice(2)
    }),
    fault("to-everybody", "It delivers every message to every subscriber.", "3.3.2-3", || {
        up(Kind::Publish, |hand, packet| {
            let topic = packet.text("topic");
            let stray = Packet::new(Kind::Publish)
                .with("topic", topic.clone())
                .with("payload", packet.text("payload"));
            hand.spread(|link| !link.filters.is_empty() && !link.wants(&topic), &stray);
            vec![packet]
        })
    }),
    fault(
        "to-other-subscriptions",
        "It delivers under the topic of another subscription.",
        "3.3.2-3",
        || {
            down(Kind::Publish, |_, packet| {
                vec![packet.map("topic", |topic| [topic, b"x".as_slice()].concat())]
            })
        },
    ),
    // Payload
    fault("payload-lost", "It delivers without the payload.", "4.5.0-1", || payload(|_| Vec::new())),
    fault("payload-cut-at-127", "It cuts payloads at 127 bytes.", "4.5.0-1 7.1.1-1", || {
        payload(|payload| cut(payload, 115))
    }),
    fault(
        "payload-cut-at-16383",
        "It cuts packets at a remaining length of 16,383.",
        "4.5.0-1 7.1.1-1",
        || payload(|payload| cut(payload, 16_371)),
    ),
    fault("payload-cut-at-65535", "It cuts payloads at 65,535 bytes.", "4.5.0-1 7.1.1-1", || {
        payload(|payload| cut(payload, 65_535))
    }),
    fault(
        "payload-cut-at-2097151",
        "It cuts packets at a remaining length of 2,097,151.",
        "4.5.0-1 7.1.1-1",
        || payload(|payload| cut(payload, 2_097_139)),
    ),
    fault(
        "payload-spoilt-at-the-end",
        "It spoils the last byte of long payloads.",
        "4.5.0-1 7.1.1-1",
        || {
            payload(|payload| match payload.split_last() {
                Some((last, rest)) if payload.len() > 1000 => [rest, &[last ^ 1]].concat(),
                _ => payload.to_vec(),
            })
        },
    ),
    fault("payload-cut-at-a-zero", "It cuts payloads at the first zero byte.", "4.5.0-1", || {
        payload(|payload| payload.iter().take_while(|byte| **byte != 0).copied().collect())
    }),
    fault("payload-made-utf8", "It replaces bytes of a payload that are not UTF-8.", "4.5.0-1", || {
        payload(|payload| String::from_utf8_lossy(payload).into_owned().into_bytes())
    }),
    fault("payload-trimmed", "It trims blanks off payloads.", "4.5.0-1", || {
        payload(|payload| payload.trim_ascii().to_vec())
    }),
    fault("payload-not-utf8-refused", "It closes on a payload that is not UTF-8.", "4.5.0-1 7.1.1-1", || {
        refuses(|_, packet| {
            packet.kind == Kind::Publish && std::str::from_utf8(&packet.text("payload")).is_err()
        })
    }),
    fault(
        "payload-over-1000000-refused",
        "It closes on payloads of more than a million bytes.",
        "4.5.0-1 7.1.1-1",
        || refuses(|_, packet| packet.text("payload").len() > 1_000_000),
    ),
    // QoS and flags
    fault("delivery-with-qos0", "It delivers everything with QoS 0.", "3.8.4-6 3.3.5-1", || {
        with_qos(|_, _| 0)
    }),
    fault("delivery-with-qos1-at-most", "It delivers with QoS 1 at most.", "3.8.4-6 3.3.5-1 4.3.3-1", || {
        with_qos(|_, packet| packet.get("qos").min(1))
    }),
    fault(
        "delivery-with-published-qos",
        "It delivers with the QoS of the publisher, whatever was granted.",
        "3.8.4-6",
        || {
            knowing(with_qos(|hand, packet| {
                published(hand, packet).map_or(packet.get("qos"), |[qos, ..]| qos.into())
            }))
        },
    ),
    fault(
        "delivery-with-granted-qos",
        "It delivers with the QoS that was granted, whatever was published.",
        "3.8.4-6",
        || with_qos(|hand, packet| granted(hand, packet, false).unwrap_or(packet.get("qos"))),
    ),
    fault("overlapping-lowest-qos", "Where subscriptions overlap the lowest QoS holds.", "3.3.5-1", || {
        with_qos(|hand, packet| granted(hand, packet, true).unwrap_or(2).min(packet.get("qos")))
    }),
    fault("dup-passed-on", "It delivers with the DUP of the publisher.", "3.3.1-3", || {
        knowing(down(Kind::Publish, |hand, packet| match published(hand, &packet) {
            Some([_, 1, _]) if packet.get("qos") > 0 => vec![packet.set("dup", 1u64)],
            _ => vec![packet],
        }))
    }),
    fault("dup-at-first", "Its first deliveries have DUP 1.", "3.3.1-3 4.3.2-1 4.3.3-1", || {
        down(
            Kind::Publish,
            |_, packet| if packet.get("qos") > 0 { vec![packet.set("dup", 1u64)] } else { vec![packet] },
        )
    }),
    fault("dup-with-qos0", "Its deliveries with QoS 0 have DUP 1.", "3.3.1-2 4.3.1-1", || {
        down(
            Kind::Publish,
            |_, packet| if packet.get("qos") == 0 { vec![packet.set("dup", 1u64)] } else { vec![packet] },
        )
    }),
    fault("delivery-with-qos3", "It delivers QoS 2 with both bits set.", "3.3.1-4 4.3.3-1", || {
        down(
            Kind::Publish,
            |_, packet| if packet.get("qos") == 2 { vec![packet.set("qos", 3u64)] } else { vec![packet] },
        )
    }),
    fault(
        "delivery-under-the-filter",
        "It delivers under the filter, wildcards and all.",
        "3.3.2-2 3.3.2-3 4.7.1-1",
        || {
            down(Kind::Publish, |hand, packet| {
                let topic = packet.text("topic");
                let filter = hand.link(|link| {
                    link.filters
                        .iter()
                        .find(|(filter, _)| crate::injector::topic::matches(filter, &topic))
                        .cloned()
                });
                match filter {
                    Some((filter, _)) => vec![packet.set("topic", filter)],
                    None => vec![packet],
                }
            })
        },
    ),
    fault(
        "delivery-without-topic",
        "It delivers with an empty topic name, as with an alias of 5.0.",
        "3.3.2-3 4.7.3-1",
        || down(Kind::Publish, |_, packet| vec![packet.set("topic", "")]),
    ),
    // Order
    fault("qos0-out-of-order", "Messages with QoS 0 overtake each other.", "4.6.0-6 4.6.0-5", || {
        swaps(Kind::Publish, |_, packet| packet.get("qos") == 0)
    }),
    fault("qos1-out-of-order", "Messages with QoS 1 overtake each other.", "4.6.0-6 4.6.0-5", || {
        swaps(Kind::Publish, |hand, packet| {
            packet.get("qos") == 1 && packet.get("dup") == 0 && !hand.link(|link| link.is_fresh())
        })
    }),
    fault("qos2-out-of-order", "Messages with QoS 2 overtake each other.", "4.6.0-6 4.6.0-5", || {
        swaps(Kind::Publish, |hand, packet| {
            packet.get("qos") == 2 && packet.get("dup") == 0 && !hand.link(|link| link.is_fresh())
        })
    }),
    fault("pubacks-out-of-order", "It sends PUBACKs in the wrong order.", "4.6.0-2 4.6.0-6", || {
        swaps(Kind::Puback, |_, _| true)
    }),
    fault("pubrecs-out-of-order", "It sends PUBRECs in the wrong order.", "4.6.0-3 4.6.0-6", || {
        swaps(Kind::Pubrec, |_, _| true)
    }),
    fault("pubrels-out-of-order", "It sends PUBRELs in the wrong order.", "4.6.0-4 4.6.0-6", || {
        swaps(Kind::Pubrel, |hand, _| !hand.link(|link| link.is_fresh()))
    }),
    // PUBLISH taken
    fault("dup-with-qos0-taken", "It takes a PUBLISH with QoS 0 and DUP 1.", "3.3.1-2", || {
        crate::injector::fault::takes(|_, frame| crate::injector::fault::wrong(frame, "DUP 1 with QoS 0"))
    }),
    fault("publish-qos3-taken", "It takes a PUBLISH with both QoS bits set.", "3.3.1-4", || {
        crate::injector::fault::takes(|_, frame| crate::injector::fault::wrong(frame, "QoS 3"))
    }),
    fault("publish-qos3-ignored", "It ignores a PUBLISH with both QoS bits set.", "3.3.1-4", || {
        crate::injector::fault::ignores(|_, frame| crate::injector::fault::wrong(frame, "QoS 3"))
    }),
    fault(
        "only-last-subscriber",
        "A client that subscribes ends the others' subscriptions to the same filter.",
        "4.5.0-1",
        || {
            loses(|hand, packet| {
                let topic = packet.text("topic");
                let me = hand.me;
                hand.links.iter().any(|(number, link)| {
                    *number > me && link.accepted.is_some() && link.wants(&topic) && !link.goodbye
                })
            })
        },
    ),
    fault(
        "more-than-20-open-lost",
        "It loses what comes when 20 messages of a client have been delivered.",
        "4.5.0-1 4.6.0-6",
        || {
            loses(|hand, packet| {
                let name = format!("{}", hand.me);
                packet.get("qos") > 0 && hand.count(name) > 20
            })
        },
    ),
    fault(
        "late-messages-out-of-order",
        "After 10 messages it begins to mix up the order.",
        "4.6.0-6",
        || {
            swaps(Kind::Publish, |hand, packet| {
                let id = packet.get("id");
                (11..=12).contains(&id) && !hand.link(|link| link.is_fresh())
            })
        },
    ),
    fault(
        "publishes-over-10-not-acknowledged",
        "It acknowledges no more than 10 messages of a connection.",
        "4.3.2-2 4.3.3-2",
        || {
            crate::injector::fault::all(vec![
                down(Kind::Puback, |hand, packet| {
                    let name = format!("acks {}", hand.me);
                    if hand.count(name) > 10 { vec![] } else { vec![packet] }
                }),
                down(Kind::Pubrec, |hand, packet| {
                    let name = format!("acks {}", hand.me);
                    if hand.count(name) > 10 { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
];
