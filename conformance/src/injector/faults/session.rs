//! Chapters 3.1.2 and 4.1: CleanSession, Session Present, what is kept while a client is away.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, DOWN, Fault, Meddler, all, down, fault, good, swaps, up};
use crate::injector::hand::{Event, Filters, Hand, filters};

/// CONNECT with CleanSession 0 is changed.
fn persistent(change: fn(&mut Hand<'_>, Packet) -> Packet) -> Meddler {
    up(Kind::Connect, move |hand, packet| {
        let is_named = !packet.text("client_id").is_empty();
        if is_named && packet.get("clean") == 0 { vec![change(hand, packet)] } else { vec![packet] }
    })
}

/// CONNECT with CleanSession 1 is changed.
fn clean(change: fn(&mut Hand<'_>, Packet) -> Packet) -> Meddler {
    up(Kind::Connect, move |hand, packet| {
        let is_named = !packet.text("client_id").is_empty();
        if is_named && packet.get("clean") == 1 { vec![change(hand, packet)] } else { vec![packet] }
    })
}

/// CONNACK with code 0 says this of the session.
fn says(present: fn(&Hand<'_>, bool) -> bool) -> Meddler {
    down(Kind::Connack, move |hand, packet| {
        if packet.get("reason") > 0 {
            return vec![packet];
        }
        let was = packet.get("session_present") == 1;
        vec![packet.set("session_present", u64::from(present(hand, was)))]
    })
}

/// Messages that waited for their client get lost.
fn loses_waiting(which: fn(&mut Hand<'_>, &Packet) -> bool) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        let waited = hand.link(|link| link.is_fresh()) && packet.get("dup") == 0 && packet.get("qos") > 0;
        if waited && which(hand, &packet) { vec![] } else { vec![packet] }
    })
}

/// The session is lost when this happens.
fn loses_session(when: fn(&Hand<'_>, &Event) -> bool) -> Meddler {
    Box::new(move |hand, event| {
        if when(hand, &event) && hand.link(|link| link.is_kept() && !link.client_id().is_empty()) {
            let id = hand.link(|link| link.client_id());
            hand.pass(event);
            hand.end_session(&id);
            return None;
        }
        Some(event)
    })
}

fn is_thrown_out(hand: &Hand<'_>, event: &Event) -> bool {
    matches!(event, Event::BrokerEnd) && hand.link(|link| !link.goodbye && !link.is_over())
}

/// Remembers the filters of each client; when it returns to its session, `then` is done with them.
fn on_return(then: fn(&mut Hand<'_>, Filters)) -> Meddler {
    all(vec![
        up(Kind::Subscribe, |hand, packet| {
            let name = filters_of(hand);
            let old = hand.noted(&name).unwrap_or_default();
            let new: Vec<u8> = filters(&packet)
                .into_iter()
                .flat_map(|(filter, qos)| [filter, vec![0, b'0' + (qos & 3) as u8, 0]].concat())
                .collect();
            hand.note(name, [old, new].concat());
            vec![packet]
        }),
        Box::new(move |hand, event| {
            let returned = matches!(&event, Event::Down(frame) if good(frame, Kind::Connack, |packet| packet.get("session_present") == 1));
            hand.pass(event);
            if returned && let Some(text) = hand.noted(filters_of(hand)) {
                let mut parts = text.split(|byte| *byte == 0);
                let mut known = Vec::new();
                while let (Some(filter), Some([qos])) = (parts.next(), parts.next()) {
                    known.push((filter.to_vec(), u64::from(*qos - b'0')));
                }
                then(hand, known);
            }
            None
        }),
    ])
}

fn filters_of(hand: &Hand<'_>) -> Vec<u8> {
    [b"filters ".to_vec(), hand.link(|link| link.client_id())].concat()
}

/// The identifier of a request of the fault's own, whose answer the client does not get.
const OWN_ID: u64 = 64_999;

fn hides_own(kind: Kind) -> Meddler {
    Box::new(move |_, event| match &event {
        Event::Down(frame) if good(frame, kind, |packet| packet.get("id") == OWN_ID) => None,
        _ => Some(event),
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "session-forgotten",
        "It treats CleanSession 0 like 1.",
        "3.1.2-4 3.2.2-2 4.1.0-1 3.1.2-5 4.4.0-1",
        || persistent(|_, packet| packet.set("clean", 1u64)),
    ),
    fault(
        "session-forgotten-but-said-present",
        "It keeps no session, but says that it does.",
        "3.1.2-4 4.1.0-1 3.1.2-5",
        || {
            all(vec![
                persistent(|hand, packet| {
                    let name = [b"known ".to_vec(), packet.text("client_id")].concat();
                    if hand.noted(&name).is_some() {
                        hand.note(format!("present {}", hand.me), "");
                    }
                    hand.note(name, "");
                    packet.set("clean", 1u64)
                }),
                says(|hand, was| was || hand.noted(format!("present {}", hand.me)).is_some()),
            ])
        },
    ),
    fault("subscriptions-forgotten", "A stored session loses its subscriptions.", "3.1.2-4 4.1.0-1", || {
        all(vec![
            hides_own(Kind::Unsuback),
            on_return(|hand, known| {
                let mut packet = Packet::new(Kind::Unsubscribe).with("id", OWN_ID);
                for (filter, _) in known {
                    packet = packet.with("topic", filter);
                }
                hand.tell_broker(&packet);
            }),
        ])
    }),
    fault(
        "session-lost-with-the-network",
        "A session ends when the network goes away.",
        "4.1.0-1 3.1.2-4 3.2.2-2 4.4.0-1",
        || loses_session(|hand, event| matches!(event, Event::ClientEnd) && hand.link(|link| !link.goodbye)),
    ),
    fault("session-lost-at-disconnect", "A session ends with DISCONNECT.", "4.1.0-1 3.1.2-4 3.2.2-2", || {
        loses_session(|_, event| matches!(event, Event::Up(frame) if good(frame, Kind::Disconnect, |_| true)))
    }),
    fault("session-lost-at-a-violation", "A session ends with a violation.", "4.1.0-1 3.2.2-2", || {
        loses_session(is_thrown_out)
    }),
    fault(
        "session-lost-at-take-over",
        "Who takes an identifier over gets a new session.",
        "3.1.4-2 3.1.2-4 3.2.2-2",
        || {
            persistent(|hand, packet| {
                let id = packet.text("client_id");
                let in_use = hand
                    .others()
                    .iter()
                    .filter_map(|other| hand.links.get(other))
                    .any(|other| other.client_id() == id);
                if in_use {
                    hand.end_session(&id);
                }
                packet
            })
        },
    ),
    fault("session-present-never", "It never says Session Present 1.", "3.2.2-2", || says(|_, _| false)),
    fault("session-present-always", "It always says Session Present 1.", "3.2.2-1 3.2.2-3", || {
        says(|_, _| true)
    }),
    fault(
        "session-present-for-new",
        "It says Session Present 1 whenever CleanSession is 0.",
        "3.2.2-3",
        || says(|hand, was| was || !hand.link(|link| link.starts_clean())),
    ),
    fault(
        "session-present-for-clean",
        "It says Session Present 1 to a clean session if there was one before.",
        "3.2.2-1",
        || {
            all(vec![
                up(Kind::Connect, |hand, packet| {
                    let name = [b"known ".to_vec(), packet.text("client_id")].concat();
                    let known = hand.noted(&name).is_some();
                    if packet.get("clean") == 0 {
                        hand.note(name, "");
                    } else if known {
                        hand.note(format!("present {}", hand.me), "");
                    }
                    vec![packet]
                }),
                says(|hand, was| was || hand.noted(format!("present {}", hand.me)).is_some()),
            ])
        },
    ),
    fault("clean-session-resumes", "It treats CleanSession 1 like 0.", "3.1.2-6 3.1.4-3 3.2.2-1", || {
        clean(|_, packet| packet.set("clean", 0u64))
    }),
    fault(
        "clean-session-resumes-secretly",
        "It treats CleanSession 1 like 0, but says Session Present 0.",
        "3.1.2-6 3.1.4-3",
        || {
            all(vec![
                clean(|_, packet| packet.set("clean", 0u64)),
                says(|hand, was| was && !hand.link(|link| link.starts_clean())),
            ])
        },
    ),
    fault("clean-session-is-kept", "It keeps a session that began clean.", "3.1.2-6 3.2.2-3", || {
        clean(|hand, packet| {
            let id = packet.text("client_id");
            hand.end_session(&id);
            packet.set("clean", 0u64).set("session_expiry", 3600u64)
        })
    }),
    fault(
        "clean-session-keeps-the-old",
        "A clean session hides the stored one, which comes back later.",
        "3.1.2-6 3.1.4-3 3.2.2-3",
        || clean(|_, packet| packet.map("client_id", |id| [id, b"clean".as_slice()].concat())),
    ),
    // While a client is away
    fault("waiting-qos1-lost", "It keeps no messages with QoS 1 for who is away.", "3.1.2-5", || {
        loses_waiting(|_, packet| packet.get("qos") == 1)
    }),
    fault("waiting-qos2-lost", "It keeps no messages with QoS 2 for who is away.", "3.1.2-5", || {
        loses_waiting(|_, packet| packet.get("qos") == 2)
    }),
    fault("waiting-only-first", "It keeps one message for who is away.", "3.1.2-5 4.1.0-1", || {
        loses_waiting(|hand, _| {
            let name = format!("{}", hand.me);
            hand.count(name) > 1
        })
    }),
    fault("waiting-with-qos0", "Messages that waited come with QoS 0.", "3.1.2-5 3.8.4-6", || {
        down(Kind::Publish, |hand, packet| {
            let waited = hand.link(|link| link.is_fresh()) && packet.get("qos") > 0;
            if waited { vec![packet.set("qos", 0u64).without("id")] } else { vec![packet] }
        })
    }),
    fault("waiting-in-wrong-order", "Messages that waited come in the wrong order.", "4.6.0-6", || {
        swaps(Kind::Publish, |hand, packet| hand.link(|link| link.is_fresh()) && packet.get("qos") > 0)
    }),
    fault("waiting-before-connack", "Messages that waited come before CONNACK.", "3.2.0-1", || {
        Box::new(|hand, event| match event {
            Event::Down(frame) => {
                if good(&frame, Kind::Connack, |packet| packet.get("session_present") == 1) {
                    hand.change(|link| link.held.extend(frame.packet.clone().ok()));
                    return None;
                }
                let mut connack = None;
                hand.change(|link| connack = link.held.pop_front());
                hand.pass(Event::Down(frame));
                if let Some(connack) = connack {
                    hand.tell_client(&connack);
                }
                None
            }
            Event::Tick => {
                let mut connack = None;
                hand.change(|link| connack = link.held.pop_front());
                if let Some(connack) = connack {
                    hand.on(DOWN, &connack);
                }
                None
            }
            other => Some(other),
        })
    }),
    fault("waiting-with-dup", "Messages that waited come with DUP 1.", "3.3.1-3 4.3.2-1", || {
        down(Kind::Publish, |hand, packet| {
            let waited = hand.link(|link| link.is_fresh()) && packet.get("qos") > 0;
            if waited { vec![packet.set("dup", 1u64)] } else { vec![packet] }
        })
    }),
    fault(
        "waiting-twice",
        "A message that waited comes again when the client returns once more.",
        "4.3.2-1 3.1.2-5",
        || up(Kind::Puback, |_, _| vec![]),
    ),
    fault(
        "resumed-session-gets-retained",
        "Who returns to a session gets its retained messages again.",
        "3.3.1-6",
        || {
            all(vec![
                hides_own(Kind::Suback),
                on_return(|hand, known| {
                    let mut packet = Packet::new(Kind::Subscribe).with("id", OWN_ID);
                    for (filter, qos) in known {
                        packet = packet.with("topic", filter).with("qos", Value::Number(qos));
                    }
                    hand.tell_broker(&packet);
                }),
            ])
        },
    ),
    fault(
        "session-kept-once",
        "A session is kept until its client returns, and not again.",
        "3.1.2-4 4.1.0-1 3.2.2-2 4.4.0-1",
        || {
            persistent(|hand, packet| {
                let name = [b"returns ".to_vec(), packet.text("client_id")].concat();
                if hand.count(name) > 2 { packet.set("clean", 1u64) } else { packet }
            })
        },
    ),
    fault(
        "only-first-subscription-kept",
        "Of a session's subscriptions it keeps the first.",
        "3.1.2-4 4.1.0-1",
        || {
            all(vec![
                hides_own(Kind::Unsuback),
                on_return(|hand, known| {
                    let start = Packet::new(Kind::Unsubscribe).with("id", OWN_ID);
                    let packet = known
                        .into_iter()
                        .skip(1)
                        .fold(start, |packet, (filter, _)| packet.with("topic", filter));
                    if packet.bytes("topic").is_some() {
                        hand.tell_broker(&packet);
                    }
                }),
            ])
        },
    ),
    fault(
        "subscriptions-return-with-qos0",
        "A stored session's subscriptions come back with QoS 0.",
        "3.1.2-4 4.1.0-1",
        || {
            down(Kind::Publish, |hand, packet| {
                let returned =
                    hand.link(|link| link.accepted == Some(true) && !link.wants(&packet.text("topic")));
                if returned && packet.get("qos") > 0 {
                    vec![packet.set("qos", 0u64).without("id")]
                } else {
                    vec![packet]
                }
            })
        },
    ),
];
