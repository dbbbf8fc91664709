//! Chapter 3.3.2.3.4 of 5.0: topic aliases, both ways.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, all, down, fault_5_0, good, ignores, is, refuses, takes, up, wrong,
};
use crate::injector::hand::Hand;

/// The client's Topic Alias Maximum.
fn client_maximum(hand: &Hand<'_>) -> u64 {
    hand.link(|link| link.connect.as_ref().and_then(|connect| connect.number("topic_alias_maximum")))
        .unwrap_or(0)
}

/// The broker's, as CONNACK said.
fn broker_maximum(hand: &Hand<'_>) -> u64 {
    hand.link(|link| link.connack.as_ref().and_then(|connack| connack.number("topic_alias_maximum")))
        .unwrap_or(0)
}

/// Whether the packet has nothing but an alias to say where it goes.
fn is_bare(packet: &Packet) -> bool {
    packet.kind == Kind::Publish && packet.get("topic_alias") > 0 && packet.text("topic").is_empty()
}

/// Deliveries to clients that take aliases, the number of each on its connection beside it.
fn delivered(change: fn(&mut Hand<'_>, Packet, u64) -> Packet) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        if client_maximum(hand) == 0 {
            return vec![packet];
        }
        let count = hand.count(format!("deliveries {}", hand.me));
        vec![change(hand, packet, count)]
    })
}

/// It has its own table of aliases, of which `name` says whose an alias is. `first` keeps the first topic of each.
fn table(name: fn(&Hand<'_>, u64) -> Vec<u8>, first: bool) -> Meddler {
    up(Kind::Publish, move |hand, packet| {
        let alias = packet.get("topic_alias");
        if alias == 0 {
            return vec![packet];
        }
        let name = name(hand, alias);
        match (is_bare(&packet), hand.noted(&name)) {
            (true, Some(topic)) => vec![packet.set("topic", topic)],
            (false, known) if known.is_none() || !first => {
                hand.note(name, packet.text("topic"));
                vec![packet]
            }
            _ => vec![packet],
        }
    })
}

/// What an alias is known by: the connection.
fn here(hand: &Hand<'_>, alias: u64) -> Vec<u8> {
    format!("alias {} {alias}", hand.me).into_bytes()
}

/// Takes note of the aliases of this connection.
fn noting() -> Meddler {
    up(Kind::Publish, |hand, packet| {
        let alias = packet.get("topic_alias");
        if alias > 0 && !is_bare(&packet) {
            hand.note(here(hand, alias), "");
        }
        vec![packet]
    })
}

pub(super) const FAULTS: &[Fault] = &[
    // To the broker
    fault_5_0("alias-dropped", "It loses messages that have an alias and no topic.", "3.3.2-12", || {
        ignores(|_, frame| frame.packet.as_ref().is_ok_and(is_bare))
    }),
    fault_5_0(
        "alias-dropped-and-acknowledged",
        "It acknowledges messages that have an alias and no topic, and loses them.",
        "3.3.2-12",
        || takes(|_, frame| frame.packet.as_ref().is_ok_and(is_bare)),
    ),
    fault_5_0("alias-refused", "It closes when it gets an alias.", "3.3.2-12", || {
        refuses(|_, packet| packet.kind == Kind::Publish && packet.get("topic_alias") > 0)
    }),
    fault_5_0("highest-alias-refused", "It refuses the highest alias that it takes.", "3.3.2-12", || {
        refuses(|hand, packet| {
            let alias = packet.get("topic_alias");
            packet.kind == Kind::Publish && alias > 1 && alias == broker_maximum(hand)
        })
    }),
    fault_5_0(
        "alias-above-the-maximum-taken",
        "It takes an alias above its maximum.",
        "3.3.2-9 3.2.2-17 3.2.2-18 3.3.2-12 4.13.1-1",
        || {
            takes(|hand, frame| {
                let alias = frame.packet.as_ref().map_or(0, |packet| packet.get("topic_alias"));
                is(frame, Kind::Publish) && alias > broker_maximum(hand)
            })
        },
    ),
    fault_5_0("alias-0-taken", "It takes alias 0.", "3.3.2-8", || {
        takes(|_, frame| wrong(frame, "topic_alias 0"))
    }),
    fault_5_0(
        "unknown-alias-taken",
        "It takes an alias that stands for nothing.",
        "3.3.2-7 4.13.1-1",
        || {
            all(vec![
                noting(),
                takes(|hand, frame| {
                    let known = |packet: &Packet| hand.noted(here(hand, packet.get("topic_alias"))).is_some();
                    frame.packet.as_ref().is_ok_and(|packet| is_bare(packet) && !known(packet))
                }),
            ])
        },
    ),
    fault_5_0("no-topic-and-no-alias-taken", "It takes a message to nowhere.", "4.13.1-1", || {
        takes(|_, frame| wrong(frame, "an empty topic name"))
    }),
    fault_5_0(
        "alias-keeps-its-first-topic",
        "An alias cannot be given to another topic.",
        "3.3.2-12",
        || table(here, true),
    ),
    fault_5_0("aliases-are-of-everybody", "All connections share the aliases.", "3.3.2-7 3.3.2-12", || {
        table(|_, alias| format!("alias {alias}").into_bytes(), false)
    }),
    fault_5_0("aliases-are-the-sessions", "Aliases outlive their connection.", "3.3.2-7", || {
        table(
            |hand, alias| [b"alias".to_vec(), hand.link(|link| link.client_id()), vec![alias as u8]].join(&0),
            false,
        )
    }),
    fault_5_0("aliases-are-one", "It knows one alias, which is the last given.", "3.3.2-12 3.3.2-3", || {
        table(|hand, _| format!("alias {}", hand.me).into_bytes(), false)
    }),
    fault_5_0(
        "alias-forgotten-by-a-name",
        "A message without an alias ends the aliases.",
        "3.3.2-12",
        || {
            let mut ended = Vec::new();
            refuses(move |hand, packet| {
                if packet.kind == Kind::Publish && packet.get("topic_alias") == 0 {
                    ended.push(hand.me);
                }
                is_bare(packet) && ended.contains(&hand.me)
            })
        },
    ),
    fault_5_0(
        "repeat-by-alias-not-answered",
        "It does not answer a repeated message that has an alias and no topic.",
        "3.3.2-12 4.3.3-10",
        || ignores(|_, frame| good(frame, Kind::Publish, |packet| is_bare(packet) && packet.get("dup") == 1)),
    ),
    fault_5_0(
        "alias-given-with-qos2-lost",
        "An alias that is given with a QoS 2 message does not count.",
        "3.3.2-12",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    let alias = packet.get("topic_alias");
                    if packet.get("qos") == 2 && alias > 0 && !is_bare(&packet) {
                        hand.note(here(hand, alias), "");
                    }
                    vec![packet]
                }),
                refuses(|hand, packet| {
                    is_bare(packet) && hand.noted(here(hand, packet.get("topic_alias"))).is_some()
                }),
            ])
        },
    ),
    fault_5_0(
        "alias-given-for-nobody-lost",
        "An alias that is given with a message for nobody does not count.",
        "3.3.2-12",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    let (alias, topic) = (packet.get("topic_alias"), packet.text("topic"));
                    let is_wanted = hand.links.values().any(|link| link.wants(&topic));
                    if alias > 0 && !is_bare(&packet) && !is_wanted {
                        hand.note(here(hand, alias), "");
                    }
                    vec![packet]
                }),
                refuses(|hand, packet| {
                    is_bare(packet) && hand.noted(here(hand, packet.get("topic_alias"))).is_some()
                }),
            ])
        },
    ),
    fault_5_0(
        "retained-by-alias-lost",
        "It does not keep a message that came with an alias.",
        "3.3.1-5 3.3.2-12",
        || {
            up(
                Kind::Publish,
                |_, packet| {
                    if is_bare(&packet) { vec![packet.set("retain", 0u64)] } else { vec![packet] }
                },
            )
        },
    ),
    // From the broker
    fault_5_0(
        "alias-of-the-publisher-forwarded",
        "It forwards an alias to clients that take none.",
        "3.1.2-27 3.3.2-11",
        || {
            down(Kind::Publish, |hand, packet| {
                if client_maximum(hand) == 0 { vec![packet.set("topic_alias", 1u64)] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "alias-for-who-takes-none",
        "It uses an alias in place of the topic, whether the client takes one or not.",
        "3.1.2-27 3.3.2-11",
        || {
            down(Kind::Publish, |hand, packet| {
                let name = format!("given {} {}", hand.me, String::from_utf8_lossy(&packet.text("topic")));
                let packet = packet.set("topic_alias", 1u64);
                if hand.count(name) > 1 { vec![packet.set("topic", "")] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "alias-beyond-the-maximum",
        "It uses an alias above the client's maximum.",
        "3.1.2-26 3.3.2-11",
        || delivered(|hand, packet, _| packet.set("topic_alias", client_maximum(hand) + 1)),
    ),
    fault_5_0("alias-0-sent", "It uses alias 0.", "3.3.2-8", || {
        delivered(|_, packet, _| packet.set("topic_alias", 0u64))
    }),
    fault_5_0("alias-before-its-topic", "It uses an alias that it never gave a topic.", "3.3.2-7", || {
        delivered(|hand, packet, _| {
            let maximum = client_maximum(hand);
            packet.set("topic", "").set("topic_alias", maximum)
        })
    }),
    fault_5_0(
        "alias-of-the-broker-outlives-the-connection",
        "On a new connection it uses the aliases of the old one.",
        "3.3.2-7",
        || {
            down(Kind::Publish, |hand, packet| {
                let is_back = hand.link(|link| link.accepted == Some(true));
                if is_back && client_maximum(hand) > 0 {
                    vec![packet.set("topic", "").set("topic_alias", 1u64)]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault_5_0(
        "alias-of-the-first-connection",
        "What the first connection said of aliases holds for the next ones.",
        "3.1.2-27 3.3.2-7",
        || {
            down(Kind::Publish, |hand, packet| {
                let is_back = hand.link(|link| link.accepted == Some(true));
                if is_back && client_maximum(hand) == 0 {
                    vec![packet.set("topic_alias", 1u64)]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault_5_0(
        "alias-for-another-topic",
        "It uses one alias for every topic and gives it no new one.",
        "3.3.2-3 3.3.2-7",
        || {
            delivered(|_, packet, count| {
                let packet = packet.set("topic_alias", 1u64);
                if count > 1 { packet.set("topic", "") } else { packet }
            })
        },
    ),
];
