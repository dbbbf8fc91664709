//! Chapters 3.1.2.11.4 and 3.2.2.3.6 of 5.0: Maximum Packet Size, both ways.

use crate::Version;
use crate::frame::encode::encode;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, ack, all, down, fault_5_0, is, refuses, takes, up};
use crate::injector::hand::Hand;

const NAME: &str = "maximum_packet_size";

/// The client's Maximum Packet Size reaches the broker as another.
fn hears(change: fn(u64) -> u64) -> Meddler {
    up(Kind::Connect, move |_, packet| match packet.number(NAME) {
        // rumqttc's own is no matter.
        Some(bytes) if bytes < 1 << 20 => vec![packet.set(NAME, change(bytes))],
        _ => vec![packet],
    })
}

/// What this connection's client said.
fn allowed(hand: &Hand<'_>) -> Option<u64> {
    hand.link(|link| link.connect.as_ref().and_then(|connect| connect.number(NAME)))
}

fn length(packet: &Packet) -> u64 {
    encode(packet, Version::V5_0).len() as u64
}

/// The broker hears of no maximum. What is too large is dealt with like this.
fn too_large(mut deal: impl FnMut(&mut Hand<'_>, Packet, u64) -> Vec<Packet> + Send + 'static) -> Meddler {
    all(vec![
        hears(|_| 1 << 20),
        down(Kind::Publish, move |hand, packet| match allowed(hand) {
            Some(most) if length(&packet) > most => deal(hand, packet, most),
            _ => vec![packet],
        }),
    ])
}

/// Drops it as it should be: the broker is told that it came.
fn drop_it(hand: &mut Hand<'_>, packet: &Packet) -> Vec<Packet> {
    match packet.get("qos") {
        1 => hand.tell_broker(&ack(Kind::Puback, packet.get("id"))),
        2 => hand.tell_broker(&ack(Kind::Pubrec, packet.get("id")).with("reason", 0x80u64)),
        _ => {}
    }
    vec![]
}

/// Drops what is too large, but for these.
fn but_for(which: fn(&mut Hand<'_>, &Packet, u64) -> bool) -> Meddler {
    too_large(
        move |hand, packet, most| {
            if which(hand, &packet, most) { vec![packet] } else { drop_it(hand, &packet) }
        },
    )
}

/// What the broker takes, as CONNACK said.
fn announced(hand: &Hand<'_>) -> u64 {
    let said = hand.link(|link| link.connack.as_ref().and_then(|connack| connack.number(NAME)));
    said.unwrap_or(u64::MAX)
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("maximum-packet-size-ignored", "It sends packets of any size.", "3.1.2-24 3.1.2-25", || {
        hears(|_| 1 << 20)
    }),
    fault_5_0("maximum-packet-size-plus-1", "It sends packets of a byte too many.", "3.1.2-24", || {
        hears(|bytes| bytes + 1)
    }),
    fault_5_0("maximum-packet-size-of-the-rest", "It does not count the fixed header.", "3.1.2-24", || {
        hears(|bytes| bytes + 2)
    }),
    fault_5_0("maximum-packet-size-minus-1", "It drops what would just fit.", "3.1.2-24 3.1.2-25", || {
        hears(|bytes| bytes - 1)
    }),
    fault_5_0(
        "maximum-packet-size-rounded-up",
        "It rounds the maximum up to a multiple of 128.",
        "3.1.2-24",
        || hears(|bytes| if bytes < 128 { bytes } else { bytes | 0x7f }),
    ),
    fault_5_0("maximum-size-of-payloads", "It counts the payload alone.", "3.1.2-24", || {
        but_for(|_, packet, most| packet.text("payload").len() as u64 <= most)
    }),
    fault_5_0("maximum-size-without-properties", "It does not count properties.", "3.1.2-24", || {
        but_for(|_, packet, most| {
            let plain = packet.clone().only(|name| !matches!(name, "user_property" | "content_type"));
            length(&plain) <= most
        })
    }),
    fault_5_0(
        "maximum-size-before-the-identifier",
        "It adds the Subscription Identifier after it has looked at the size.",
        "3.1.2-24",
        || but_for(|_, packet, most| length(&packet.clone().without("subscription_id")) <= most),
    ),
    fault_5_0(
        "maximum-packet-size-not-for-retained",
        "It sends retained messages of any size.",
        "3.1.2-24",
        || but_for(|_, packet, _| packet.get("retain") == 1),
    ),
    fault_5_0(
        "maximum-packet-size-not-for-repeats",
        "It sends again what the client takes no more.",
        "3.1.2-24",
        || but_for(|_, packet, _| packet.get("dup") == 1),
    ),
    fault_5_0(
        "maximum-packet-size-not-for-queues",
        "It sends what has waited, whatever its size.",
        "3.1.2-24",
        || but_for(|hand, packet, _| packet.get("dup") == 0 && hand.link(|link| link.is_fresh())),
    ),
    fault_5_0(
        "maximum-packet-size-not-for-qos0",
        "It sends messages of any size with QoS 0.",
        "3.1.2-24",
        || but_for(|_, packet, _| packet.get("qos") == 0),
    ),
    fault_5_0(
        "maximum-packet-size-not-for-qos2",
        "It sends messages of any size with QoS 2.",
        "3.1.2-24",
        || but_for(|_, packet, _| packet.get("qos") == 2),
    ),
    fault_5_0(
        "too-large-takes-room",
        "A message too large stays open, and takes room in the window.",
        "3.1.2-25 3.3.4-9",
        || too_large(|_, _, _| vec![]),
    ),
    fault_5_0("too-large-ends-it", "It closes when a message is too large.", "3.1.2-25", || {
        too_large(|hand, _, _| {
            hand.close();
            vec![]
        })
    }),
    fault_5_0("too-large-is-cut", "It cuts a message that is too large.", "3.1.2-25", || {
        too_large(|_, packet, most| {
            let over = (length(&packet) - most) as usize;
            let payload = packet.text("payload");
            let kept = payload.get(..payload.len().saturating_sub(over)).unwrap_or_default().to_vec();
            vec![packet.set("payload", kept)]
        })
    }),
    fault_5_0(
        "too-large-loses-its-properties",
        "It takes user properties away from a message that is too large.",
        "3.1.2-25",
        || {
            too_large(|hand, packet, most| {
                let plain = packet.clone().without("user_property").without("subscription_id");
                if length(&plain) <= most { vec![plain] } else { drop_it(hand, &packet) }
            })
        },
    ),
    fault_5_0(
        "too-large-drops-the-next",
        "With a message that is too large it drops the next.",
        "3.1.2-25",
        || {
            all(vec![
                down(Kind::Publish, |hand, packet| {
                    let name = format!("dropped {}", hand.me);
                    let most = allowed(hand).unwrap_or(u64::MAX);
                    if length(&packet) > most {
                        hand.note(name, "");
                    } else if hand.forget(name).is_some() {
                        return vec![];
                    }
                    vec![packet]
                }),
                too_large(|hand, packet, _| drop_it(hand, &packet)),
            ])
        },
    ),
    fault_5_0(
        "too-large-is-for-nobody",
        "What is too large for one subscriber nobody gets.",
        "3.1.2-25 4.5.0-1",
        || {
            down(Kind::Publish, |hand, packet| {
                let topic = packet.text("topic");
                let size = length(&packet);
                let is_small = |most: Option<u64>| most.is_some_and(|most| most < size);
                let numbers: Vec<u64> = hand.links.keys().copied().collect();
                let others = numbers.into_iter().any(|other| {
                    hand.as_if(other, |hand| hand.link(|link| link.wants(&topic)) && is_small(allowed(hand)))
                });
                if others { vec![] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "too-large-is-told-to-the-publisher",
        "It refuses what is too large for a subscriber.",
        "3.1.2-25 4.3.2-4",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    if packet.text("payload").len() > 100 {
                        hand.note(format!("large {} {}", hand.me, packet.get("id")), "");
                    }
                    vec![packet]
                }),
                down(Kind::Puback, |hand, packet| {
                    let name = format!("large {} {}", hand.me, packet.get("id"));
                    if hand.forget(name).is_some() {
                        vec![packet.set("reason", 0x97u64)]
                    } else {
                        vec![packet]
                    }
                }),
            ])
        },
    ),
    fault_5_0(
        "too-large-comes-later",
        "What was too large for one connection comes on the next one.",
        "3.1.2-25",
        || {
            // The broker thinks that it is open, and sends it again.
            too_large(|hand, packet, _| match packet.get("qos") {
                0 => drop_it(hand, &packet),
                _ => vec![],
            })
        },
    ),
    fault_5_0(
        "maximum-packet-size-for-both",
        "What a client takes is all that it may send.",
        "3.1.2-24 4.3.2-4",
        || {
            refuses(|hand, packet| {
                packet.kind == Kind::Publish && allowed(hand).is_some_and(|most| length(packet) > most)
            })
        },
    ),
    // To the broker
    fault_5_0("larger-packet-taken", "It takes larger packets than it says.", "3.2.2-15 4.13.1-1", || {
        takes(|hand, frame| is(frame, Kind::Publish) && frame.bytes.len() as u64 > announced(hand))
    }),
    fault_5_0(
        "larger-packet-ends-it-otherwise",
        "It says with a wrong code that a packet was too large.",
        "4.13.1-1",
        || {
            down(Kind::Disconnect, |_, packet| match packet.number("reason") {
                Some(0x95) => vec![packet.set("reason", 0x81u64)],
                _ => vec![packet],
            })
        },
    ),
    fault_5_0("largest-packet-refused", "It takes only smaller packets than it says.", "4.3.2-4", || {
        refuses(|hand, packet| {
            packet.kind == Kind::Publish
                && packet.text("payload").len() as u64 > announced(hand).saturating_sub(100)
        })
    }),
];
