//! Chapter 3.3.1.3: retained messages.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault, up};
use crate::injector::hand::{Event, Hand, filters};
use crate::injector::topic;

/// PUBLISH from clients is changed.
fn published(change: fn(&mut Hand<'_>, Packet) -> Packet) -> Meddler {
    up(Kind::Publish, move |hand, packet| vec![change(hand, packet)])
}

/// Retained messages on their way to a new subscriber are changed.
fn replayed(change: fn(&mut Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    down(
        Kind::Publish,
        move |hand, packet| if packet.get("retain") == 1 { change(hand, packet) } else { vec![packet] },
    )
}

fn is_empty(packet: &Packet) -> bool {
    packet.text("payload").is_empty()
}

fn is_retained(packet: &Packet) -> bool {
    packet.get("retain") == 1
}

fn plain(packet: Packet) -> Packet {
    packet.set("retain", 0u64)
}

/// Whether the topic has a retained message, as far as clients published one; keeps the count.
fn has_retained(hand: &mut Hand<'_>, packet: &Packet) -> bool {
    let name = packet.text("topic");
    let had = hand.noted(&name).is_some();
    if is_retained(packet) {
        if is_empty(packet) {
            hand.forget(&name);
        } else if !had {
            hand.note(&name, packet.text("payload"));
        }
    }
    had
}

/// After SUBSCRIBE, `then` gets the filters.
fn on_subscribe(then: fn(&mut Hand<'_>, Vec<Vec<u8>>)) -> Meddler {
    all(vec![
        up(Kind::Subscribe, |hand, packet| {
            let all: Vec<_> = filters(&packet).into_iter().map(|(filter, _)| filter).collect();
            hand.note(format!("wanted {}", hand.me), all.join(&0));
            vec![packet]
        }),
        Box::new(move |hand, event| {
            let is_answer =
                matches!(&event, Event::Down(frame) if crate::injector::fault::is(frame, Kind::Suback));
            hand.pass(event);
            if is_answer && let Some(all) = hand.forget(format!("wanted {}", hand.me)) {
                then(hand, all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect());
            }
            None
        }),
    ])
}

pub(super) const FAULTS: &[Fault] = &[
    fault("retained-not-stored", "It stores no retained messages.", "3.3.1-5 3.3.1-6 3.1.2-7", || {
        published(|_, packet| plain(packet))
    }),
    fault(
        "retained-qos0-not-stored",
        "It stores no retained messages with QoS 0, as it may, and keeps the older.",
        "3.3.1-7",
        || {
            published(|hand, packet| {
                if has_retained(hand, &packet) && packet.get("qos") == 0 { plain(packet) } else { packet }
            })
        },
    ),
    fault("retained-with-qos0", "Retained messages come with QoS 0.", "3.3.1-5 3.8.4-6", || {
        replayed(|_, packet| vec![packet.set("qos", 0u64).without("id")])
    }),
    fault("retained-missing", "New subscribers get no retained messages.", "3.3.1-6 3.3.1-8", || {
        replayed(|_, _| vec![])
    }),
    fault(
        "retained-missing-for-wildcards",
        "A filter with wildcards brings no retained messages.",
        "3.3.1-6",
        || {
            replayed(|hand, packet| {
                let name = packet.text("topic");
                if hand.link(|link| link.filters.iter().any(|(filter, _)| *filter == name)) {
                    vec![packet]
                } else {
                    vec![]
                }
            })
        },
    ),
    fault("retained-only-first", "A filter brings one retained message.", "3.3.1-6", || {
        replayed(|hand, packet| {
            let name = format!("{}", hand.me);
            if hand.count(name) > 1 { vec![] } else { vec![packet] }
        })
    }),
    fault("retained-twice", "Retained messages come twice.", "3.3.1-6", || {
        replayed(|_, packet| {
            vec![
                packet.clone(),
                if packet.get("qos") > 0 { packet.clone().set("id", packet.get("id") + 500) } else { packet },
            ]
        })
    }),
    fault(
        "retained-is-the-first",
        "It keeps the first retained message of a topic, not the last.",
        "3.3.1-5 3.3.1-6",
        || {
            published(
                |hand, packet| {
                    if has_retained(hand, &packet) && !is_empty(&packet) { plain(packet) } else { packet }
                },
            )
        },
    ),
    fault(
        "retained-ends-with-its-session",
        "Retained messages end with their publisher's session.",
        "3.1.2-7",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    if is_retained(&packet) {
                        let name = packet.text("topic");
                        hand.note(format!("of {}", hand.me), name);
                    }
                    vec![packet]
                }),
                Box::new(|hand, event| {
                    let ends = match &event {
                        Event::ClientEnd => true,
                        Event::Up(frame) => crate::injector::fault::is(frame, Kind::Disconnect),
                        _ => false,
                    };
                    if ends && let Some(topic) = hand.forget(format!("of {}", hand.me)) {
                        hand.tell_broker(
                            &Packet::new(Kind::Publish).with("retain", 1u64).with("topic", topic),
                        );
                    }
                    Some(event)
                }),
            ])
        },
    ),
    fault(
        "retained-used-up",
        "A retained message is gone once a subscriber got it.",
        "3.3.1-5 3.3.1-6 3.8.4-3",
        || {
            replayed(|hand, packet| {
                let topic = packet.text("topic");
                hand.publish(&Packet::new(Kind::Publish).with("retain", 1u64).with("topic", topic));
                vec![packet]
            })
        },
    ),
    fault("retain-lost-on-subscribing", "Retained messages come with RETAIN 0.", "3.3.1-8", || {
        replayed(|_, packet| vec![plain(packet)])
    }),
    fault("retain-passed-on", "It delivers with the RETAIN of the publisher.", "3.3.1-9", || {
        all(vec![
            up(Kind::Publish, |hand, packet| {
                if is_retained(&packet) {
                    hand.note([packet.text("topic"), packet.text("payload")].join(&0), "");
                }
                vec![packet]
            }),
            down(Kind::Publish, |hand, packet| {
                let name = [packet.text("topic"), packet.text("payload")].join(&0);
                if hand.noted(name).is_some() { vec![packet.set("retain", 1u64)] } else { vec![packet] }
            }),
        ])
    }),
    fault(
        "retained-not-delivered-live",
        "Who is subscribed already does not get a retained message.",
        "3.3.1-9 4.5.0-1",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    if is_retained(&packet) {
                        hand.note([packet.text("topic"), packet.text("payload")].join(&0), "");
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let name = [packet.text("topic"), packet.text("payload")].join(&0);
                    if !is_retained(&packet) && hand.noted(name).is_some() { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault(
        "empty-retained-not-delivered",
        "It does not deliver an empty retained message.",
        "3.3.1-10",
        || down(Kind::Publish, |_, packet| if is_empty(&packet) { vec![] } else { vec![packet] }),
    ),
    fault(
        "empty-retained-with-retain",
        "It delivers an empty retained message with RETAIN 1.",
        "3.3.1-9 3.3.1-10",
        || {
            down(Kind::Publish, |_, packet| {
                if is_empty(&packet) { vec![packet.set("retain", 1u64)] } else { vec![packet] }
            })
        },
    ),
    fault("empty-retained-wipes-nothing", "An empty retained message wipes nothing.", "3.3.1-10", || {
        published(|_, packet| if is_empty(&packet) { plain(packet) } else { packet })
    }),
    fault("empty-retained-stored", "It stores an empty retained message.", "3.3.1-11", || {
        all(vec![
            up(Kind::Publish, |hand, packet| {
                if is_retained(&packet) && is_empty(&packet) {
                    hand.note("empty", packet.text("topic"));
                }
                vec![packet]
            }),
            on_subscribe(|hand, filters| {
                if let Some(name) = hand.noted("empty")
                    && filters.iter().any(|filter| topic::matches(filter, &name))
                {
                    hand.tell_client(&Packet::new(Kind::Publish).with("retain", 1u64).with("topic", name));
                }
            }),
        ])
    }),
    fault(
        "normal-message-replaces-retained",
        "A message without RETAIN replaces the retained one.",
        "3.3.1-12",
        || {
            published(|hand, packet| {
                if has_retained(hand, &packet) && !is_empty(&packet) {
                    packet.set("retain", 1u64)
                } else {
                    packet
                }
            })
        },
    ),
    fault(
        "normal-message-wipes-retained",
        "An empty message without RETAIN wipes the retained one.",
        "3.3.1-12",
        || {
            published(|hand, packet| {
                if has_retained(hand, &packet) && is_empty(&packet) {
                    packet.set("retain", 1u64)
                } else {
                    packet
                }
            })
        },
    ),
    fault("every-message-retained", "It retains every message.", "3.3.1-12 3.3.1-9", || {
        published(|_, packet| packet.set("retain", 1u64))
    }),
    fault(
        "retained-in-wrong-order",
        "A retained message comes behind a newer live one.",
        "3.3.1-6 4.6.0-6",
        || {
            Box::new(|hand, event| match event {
                Event::Down(frame) if crate::injector::fault::good(&frame, Kind::Publish, is_retained) => {
                    hand.act();
                    hand.change(|link| link.held.extend(frame.packet.ok()));
                    None
                }
                Event::Down(frame) if crate::injector::fault::good(&frame, Kind::Publish, |_| true) => {
                    hand.pass(Event::Down(frame));
                    let mut held = None;
                    hand.change(|link| held = link.held.pop_front());
                    if let Some(packet) = held {
                        hand.tell_client(&packet);
                    }
                    None
                }
                other => Some(other),
            })
        },
    ),
    fault(
        "retained-only-for-the-first-filter",
        "Only the first filter of a SUBSCRIBE brings retained messages.",
        "3.3.1-6 3.8.4-4",
        || {
            replayed(|hand, packet| {
                let name = packet.text("topic");
                let first =
                    hand.link(|link| link.filters.first().map(|(filter, _)| topic::matches(filter, &name)));
                if first == Some(false) { vec![] } else { vec![packet] }
            })
        },
    ),
    fault(
        "retained-with-granted-qos",
        "Retained messages come with the QoS that was granted.",
        "3.3.1-5 3.8.4-6",
        || {
            replayed(|hand, packet| {
                let name = packet.text("topic");
                let granted = hand.link(|link| {
                    let matching = link.filters.iter().filter(|(filter, _)| topic::matches(filter, &name));
                    matching.map(|(_, qos)| *qos).max()
                });
                match granted {
                    Some(qos) if packet.get("qos") > 0 => vec![packet.set("qos", qos.max(1))],
                    _ => vec![packet],
                }
            })
        },
    ),
    fault("retained-with-dup", "Retained messages come with DUP 1.", "3.3.1-3 4.3.2-1", || {
        replayed(|_, packet| if packet.get("qos") > 0 { vec![packet.set("dup", 1u64)] } else { vec![packet] })
    }),
    fault(
        "retained-payload-lost",
        "Retained messages come without their payload.",
        "3.3.1-5 3.3.1-6",
        || replayed(|_, packet| vec![packet.set("payload", "")]),
    ),
];
