//! Chapter 3.3.2.3.3 of 5.0: how long a message lives.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, up};
use crate::injector::hand::Hand;

/// A message, whoever gets it.
fn key(packet: &Packet) -> Vec<u8> {
    [b"expiry".to_vec(), packet.text("topic"), packet.text("payload")].join(&0)
}

/// Deliveries have this instead of the expiry they have.
fn forwards(change: fn(u64) -> u64) -> Meddler {
    down(Kind::Publish, move |_, packet| match packet.number("message_expiry") {
        Some(seconds) => vec![packet.set("message_expiry", change(seconds))],
        None => vec![packet],
    })
}

/// The broker hears nothing of the expiry of these messages.
fn forgets(which: fn(&Packet) -> bool) -> Meddler {
    up(
        Kind::Publish,
        move |_, packet| if which(&packet) { vec![packet.without("message_expiry")] } else { vec![packet] },
    )
}

/// What the publisher said.
fn published(hand: &Hand<'_>, packet: &Packet) -> Option<u64> {
    String::from_utf8(hand.noted(key(packet))?).ok()?.parse().ok()
}

/// Looks at every PUBLISH from a client before the deliveries are dealt with.
fn knowing(deliveries: Meddler) -> Meddler {
    all(vec![
        up(Kind::Publish, |hand, packet| {
            if let Some(seconds) = packet.number("message_expiry") {
                hand.note(key(&packet), seconds.to_string());
            }
            vec![packet]
        }),
        deliveries,
    ])
}

/// Deliveries that fulfil the condition say what the publisher said.
fn not_counted_down(which: fn(&Packet) -> bool) -> Meddler {
    knowing(down(Kind::Publish, move |hand, packet| match published(hand, &packet) {
        Some(seconds) if which(&packet) => vec![packet.set("message_expiry", seconds)],
        _ => vec![packet],
    }))
}

/// The name of an open handshake, whose message lives a short time.
fn short(hand: &Hand<'_>, up: bool, id: u64) -> String {
    format!("short {up} {} {id}", String::from_utf8_lossy(&hand.link(|link| link.client_id())))
}

/// Remembers a message that expires soon, and lets it pass.
fn note_short(hand: &mut Hand<'_>, up: bool, packet: Packet) -> Vec<Packet> {
    if packet.number("message_expiry").is_some_and(|time| time < 2) {
        hand.note(short(hand, up, packet.get("id")), "");
    }
    vec![packet]
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("expiry-lost", "It does not forward the expiry.", "3.3.2-6", || {
        down(Kind::Publish, |_, packet| vec![packet.without("message_expiry")])
    }),
    fault_5_0("expiry-made-up", "It gives an expiry to messages that have none.", "3.3.2-6", || {
        down(Kind::Publish, |_, packet| match packet.number("message_expiry") {
            Some(_) => vec![packet],
            None => vec![packet.with("message_expiry", 3600u64)],
        })
    }),
    fault_5_0("expiry-not-counted-down", "It forwards the expiry as it came.", "3.3.2-6", || {
        not_counted_down(|_| true)
    }),
    fault_5_0(
        "expiry-of-retained-not-counted-down",
        "It forwards the expiry of retained messages as it came.",
        "3.3.2-6",
        || not_counted_down(|packet| packet.get("retain") == 1),
    ),
    fault_5_0(
        "expiry-in-queues-not-counted-down",
        "It forwards the expiry of messages that waited as it came.",
        "3.3.2-6",
        || not_counted_down(|packet| packet.get("retain") == 0),
    ),
    fault_5_0("expiry-in-minutes", "It forwards the expiry in minutes.", "3.3.2-6", || {
        forwards(|seconds| seconds / 60)
    }),
    fault_5_0("expiry-in-milliseconds", "It forwards the expiry in milliseconds.", "3.3.2-6", || {
        forwards(|seconds| (seconds * 1000).min(u32::MAX.into()))
    }),
    fault_5_0("expiry-of-16-bits", "It cuts the expiry to two bytes.", "3.3.2-6", || {
        forwards(|seconds| seconds & 0xffff)
    }),
    fault_5_0("expiry-of-31-bits", "It takes the expiry for a signed number.", "3.3.2-6", || {
        forwards(|seconds| seconds.min(0x7fff_ffff))
    }),
    fault_5_0("expiry-ends-at-0", "It forwards 0 for every expiry.", "3.3.2-6", || forwards(|_| 0)),
    fault_5_0("nothing-expires", "It never deletes an expired message.", "3.3.2-5", || forgets(|_| true)),
    fault_5_0("retained-do-not-expire", "Retained messages do not expire.", "3.3.2-5", || {
        forgets(|packet| packet.get("retain") == 1)
    }),
    fault_5_0("queued-do-not-expire", "Messages that wait do not expire.", "3.3.2-5", || {
        forgets(|packet| packet.get("retain") == 0)
    }),
    fault_5_0("qos2-does-not-expire", "Messages with QoS 2 do not expire.", "3.3.2-5", || {
        forgets(|packet| packet.get("qos") == 2)
    }),
    fault_5_0("expiry-0-is-never", "It takes an expiry of 0 for none.", "3.3.2-5", || {
        forgets(|packet| packet.get("message_expiry") == 0)
    }),
    fault_5_0("expires-too-early", "It deletes everything with an expiry after a second.", "3.3.2-5", || {
        up(Kind::Publish, |_, packet| match packet.number("message_expiry") {
            Some(2..) => vec![packet.set("message_expiry", 1u64)],
            _ => vec![packet],
        })
    }),
    fault_5_0("expires-without-expiry", "It deletes what has no expiry after a second.", "3.3.2-5", || {
        up(Kind::Publish, |_, packet| match packet.number("message_expiry") {
            None => vec![packet.with("message_expiry", 1u64)],
            Some(_) => vec![packet],
        })
    }),
    fault_5_0(
        "expired-ends-the-queue",
        "With an expired message it deletes what waits behind it.",
        "3.3.2-5",
        || {
            let mut is_short = false;
            up(Kind::Publish, move |_, packet| {
                is_short |= packet.number("message_expiry") == Some(1);
                if is_short { vec![packet.set("message_expiry", 1u64)] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "retained-with-the-expiry-of-the-one-before",
        "A retained message takes over the expiry of the one in whose place it comes.",
        "3.3.1-5 3.3.2-6",
        || {
            up(Kind::Publish, |hand, packet| {
                let name = [b"kept".to_vec(), packet.text("topic")].concat();
                match packet.number("message_expiry") {
                    _ if packet.get("retain") == 0 => vec![packet],
                    Some(seconds) => {
                        hand.note(name, seconds.to_string());
                        vec![packet]
                    }
                    None => {
                        let before =
                            hand.noted(name).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
                        vec![
                            before.map_or(packet.clone(), |before: u64| packet.set("message_expiry", before)),
                        ]
                    }
                }
            })
        },
    ),
    fault_5_0(
        "retained-without-the-expiry-of-its-own",
        "A retained message that replaces another one does not expire.",
        "3.3.1-5 3.3.2-5",
        || {
            up(Kind::Publish, |hand, packet| {
                let name = [b"kept".to_vec(), packet.text("topic")].concat();
                let is_second = packet.get("retain") == 1 && hand.count(name) > 1;
                if is_second { vec![packet.without("message_expiry")] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "expiry-ends-an-open-delivery",
        "A message that expired is not sent again.",
        "4.4.0-1 4.3.3-7",
        || {
            knowing(down(Kind::Publish, |hand, packet| {
                let is_expired =
                    packet.get("dup") == 1 && published(hand, &packet).is_some_and(|time| time < 2);
                if is_expired { vec![] } else { vec![packet] }
            }))
        },
    ),
    fault_5_0(
        "pubrel-missing-after-expiry",
        "It gives up a handshake whose message has expired.",
        "4.3.3-7 4.3.3-4",
        || {
            all(vec![
                down(Kind::Publish, |hand, packet| note_short(hand, false, packet)),
                down(Kind::Pubrel, |hand, packet| {
                    let name = short(hand, false, packet.get("id"));
                    if hand.noted(name).is_some() { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault_5_0(
        "pubcomp-missing-after-expiry",
        "It does not answer PUBREL for a message that has expired.",
        "4.3.3-13 4.3.3-11",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| note_short(hand, true, packet)),
                down(Kind::Pubcomp, |hand, packet| {
                    let name = short(hand, true, packet.get("id"));
                    if hand.forget(name).is_some() { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault_5_0(
        "expired-handshake-not-found",
        "It answers PUBREL for a message that has expired by Packet Identifier not found.",
        "4.3.3-13 4.3.3-11",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| note_short(hand, true, packet)),
                down(Kind::Pubcomp, |hand, packet| {
                    let name = short(hand, true, packet.get("id"));
                    match hand.forget(name) {
                        Some(_) => vec![packet.set("reason", 0x92u64)],
                        None => vec![packet],
                    }
                }),
            ])
        },
    ),
];
