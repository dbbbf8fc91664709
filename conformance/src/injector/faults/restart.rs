//! What is not as it was when the broker was killed and started again.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Instead, Meddler, ack, all, down, fault, fault_5_0, swaps, up};
use crate::injector::hand::Hand;

/// After a restart, packets of this kind from the broker are replaced.
fn then_down(
    kind: Kind,
    mut replace: impl FnMut(&mut Hand<'_>, Packet) -> Instead + Send + 'static,
) -> Meddler {
    down(
        kind,
        move |hand, packet| if hand.is_after_a_restart() { replace(hand, packet) } else { vec![packet] },
    )
}

/// After a restart, packets of this kind from clients are replaced.
fn then_up(
    kind: Kind,
    mut replace: impl FnMut(&mut Hand<'_>, Packet) -> Instead + Send + 'static,
) -> Meddler {
    up(kind, move |hand, packet| if hand.is_after_a_restart() { replace(hand, packet) } else { vec![packet] })
}

/// After a restart, what comes again is replaced.
fn then_repeated(replace: fn(Packet) -> Instead) -> Meddler {
    then_down(
        Kind::Publish,
        move |_, packet| {
            if packet.get("dup") == 1 { replace(packet) } else { vec![packet] }
        },
    )
}

/// After a restart, what was not sent before is replaced, in the order in which it comes, from 1.
fn then_new(replace: fn(u64, Packet) -> Instead) -> Meddler {
    then_down(Kind::Publish, move |hand, packet| {
        if packet.get("dup") == 1 || packet.get("qos") == 0 {
            return vec![packet];
        }
        let name = [b"new ".to_vec(), hand.link(|link| link.client_id())].concat();
        replace(hand.count(name), packet)
    })
}

/// After a restart, with its first client, the broker publishes what it took down before.
fn then_publishes(takes_down: Meddler) -> Meddler {
    all(vec![
        takes_down,
        then_up(Kind::Connect, |hand, packet| {
            if hand.count("connections") == 1 {
                let count = hand.count(TAKEN) - 1;
                for number in 1..=count {
                    let field = |name: &str| hand.noted(format!("{name} {number}")).unwrap_or_default();
                    let (topic, payload) = (field("topic"), field("payload"));
                    let retain = u64::from(!field("retain").is_empty());
                    hand.publish(
                        &Packet::new(Kind::Publish)
                            .with("qos", 1u64)
                            .with("retain", retain)
                            .with("topic", topic)
                            .with("id", 1u64)
                            .with("payload", payload),
                    );
                }
            }
            vec![packet]
        }),
    ])
}

const TAKEN: &str = "taken down";

/// Takes down a message for [`then_publishes`].
fn take_down(hand: &mut Hand<'_>, topic: Vec<u8>, payload: Vec<u8>, retain: bool) {
    let number = hand.count(TAKEN);
    hand.note(format!("topic {number}"), topic);
    hand.note(format!("payload {number}"), payload);
    hand.note(format!("retain {number}"), if retain { "1" } else { "" });
}

/// The name of a message with this identifier of this client.
fn id_of(hand: &Hand<'_>, way: &str, packet: &Packet) -> Vec<u8> {
    let id = packet.get("id").to_string().into_bytes();
    [way.as_bytes(), &hand.link(|link| link.client_id()), &id].join(&0)
}

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "restart-loses-sessions",
        "No session survives a restart.",
        "4.1.0-1 3.1.2-4 3.2.2-2 4.4.0-1",
        || then_up(Kind::Connect, |_, packet| vec![packet.set("clean", 1u64)]),
    ),
    fault(
        "restart-loses-what-is-in-sessions",
        "Of a session nothing survives a restart but that there was one.",
        "4.1.0-1 3.1.2-4 3.1.2-5 4.4.0-1",
        || {
            all(vec![
                then_up(Kind::Connect, |hand, packet| {
                    let stays = packet.get("clean") == 0;
                    hand.note(format!("stays {}", hand.me), if stays { "1" } else { "" });
                    vec![packet.set("clean", 1u64)]
                }),
                then_down(Kind::Connack, |hand, packet| {
                    let stays = hand.noted(format!("stays {}", hand.me)).is_some_and(|it| !it.is_empty());
                    vec![packet.set("session_present", u64::from(stays))]
                }),
            ])
        },
    ),
    fault(
        "restart-brings-sessions-back",
        "After a restart every session is said to be there.",
        "3.2.2-3 3.2.2-1",
        || then_down(Kind::Connack, |_, packet| vec![packet.set("session_present", 1u64)]),
    )
    .in_5_0("3.2.2-2 3.2.2-3 4.1.0-2"),
    fault("restart-loses-what-waits", "What waited for a client is lost.", "3.1.2-5", || {
        then_new(|_, _| vec![])
    }),
    fault(
        "restart-loses-the-second",
        "Of what waited for a client the second is lost.",
        "3.1.2-5 4.6.0-6",
        || then_new(|number, packet| if number == 2 { vec![] } else { vec![packet] }),
    )
    .in_5_0("3.1.2-23 4.6.0-5 4.3.2-5"),
    fault(
        "restart-repeats-what-was-not-sent",
        "What waited for a client comes twice.",
        "3.1.2-5 4.3.2-1 4.3.3-2",
        || then_new(|_, packet| vec![packet.clone(), packet]),
    ),
    fault("restart-takes-all-for-sent", "What waited for a client comes with DUP 1.", "3.3.1-3", || {
        then_new(|_, packet| vec![packet.set("dup", 1u64)])
    }),
    fault(
        "restart-mixes-up-the-order",
        "What waited for a client comes in another order.",
        "4.6.0-6",
        || swaps(Kind::Publish, |hand, packet| hand.is_after_a_restart() && packet.get("qos") > 0),
    ),
    fault("restart-forgets-what-was-sent", "What was sent before comes with DUP 0.", "3.3.1-1", || {
        then_repeated(|packet| vec![packet.set("dup", 0u64)])
    }),
    fault(
        "restart-gives-other-identifiers",
        "What was sent before comes with another identifier.",
        "4.4.0-1 2.3.1-4 4.3.2-1",
        || {
            then_repeated(|packet| {
                let id = packet.get("id");
                vec![packet.set("id", id + 500)]
            })
        },
    ),
    fault(
        "restart-settles-what-was-sent",
        "What was sent before does not come again.",
        "4.4.0-1 4.3.2-1 4.3.3-1",
        || then_repeated(|_| vec![]),
    ),
    fault("restart-settles-pubrel", "PUBREL does not come again.", "4.4.0-1 4.3.3-1", || {
        then_down(
            Kind::Pubrel,
            |hand, packet| {
                if hand.link(|link| link.is_fresh()) { vec![] } else { vec![packet] }
            },
        )
    }),
    fault("restart-forgets-pubrec", "PUBLISH comes again where PUBREL was sent.", "4.3.3-1", || {
        all(vec![
            down(Kind::Publish, |hand, packet| {
                if packet.get("qos") == 2 {
                    let text = [packet.text("topic"), packet.text("payload")].join(&0);
                    hand.note(id_of(hand, "delivered", &packet), text);
                }
                vec![packet]
            }),
            then_down(Kind::Pubrel, |hand, packet| {
                let delivered = hand.noted(id_of(hand, "delivered", &packet));
                let Some(text) = delivered.filter(|_| hand.link(|link| link.is_fresh())) else {
                    return vec![packet];
                };
                let mut parts = text.splitn(2, |byte| *byte == 0).map(<[u8]>::to_vec);
                let again =
                    Packet::new(Kind::Publish).with("dup", 1u64).with("qos", 2u64).with("retain", 0u64);
                let again =
                    again.with("topic", parts.next().unwrap_or_default()).with("id", packet.get("id"));
                vec![again.with("payload", parts.next().unwrap_or_default())]
            }),
        ])
    }),
    fault(
        "restart-forgets-identifiers",
        "A message with QoS 2 that is sent again counts as new.",
        "4.3.3-2",
        || {
            then_up(Kind::Publish, |hand, packet| {
                if packet.get("qos") == 2 && packet.get("dup") == 1 {
                    hand.publish(&packet.clone().set("qos", 1u64).set("dup", 0u64));
                }
                vec![packet]
            })
        },
    ),
    fault(
        "restart-takes-identifiers-for-used",
        "A new message under an identifier that is free again counts as a repeat.",
        "4.3.3-2 4.3.2-2",
        || {
            all(vec![
                then_up(Kind::Publish, |hand, packet| {
                    let is_used = hand.noted(id_of(hand, "published", &packet)).is_some();
                    let kind = match packet.get("qos") {
                        1 => Kind::Puback,
                        2 if packet.get("dup") == 0 => Kind::Pubrec,
                        _ => return vec![packet],
                    };
                    if !is_used {
                        return vec![packet];
                    }
                    hand.tell_client(&ack(kind, packet.get("id")));
                    vec![]
                }),
                up(Kind::Publish, |hand, packet| {
                    if packet.get("qos") > 0 && !hand.is_after_a_restart() {
                        hand.note(id_of(hand, "published", &packet), "");
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault(
        "restart-loses-retained-messages",
        "No retained message survives a restart.",
        "3.3.1-5 3.3.1-6",
        || {
            then_down(
                Kind::Publish,
                |_, packet| if packet.get("retain") == 1 { vec![] } else { vec![packet] },
            )
        },
    ),
    fault(
        "restart-brings-wiped-messages-back",
        "Retained messages that were wiped are there again.",
        "3.3.1-10 3.3.1-11",
        || {
            then_publishes(up(Kind::Publish, |hand, packet| {
                if packet.get("retain") == 1 && packet.text("payload").is_empty() {
                    take_down(hand, packet.text("topic"), b"back".to_vec(), true);
                }
                vec![packet]
            }))
        },
    ),
    fault("restart-loses-wills", "A restart swallows the wills of who was there.", "3.1.2-8", || {
        all(vec![
            up(Kind::Connect, |hand, packet| {
                hand.note([b"will ".to_vec(), packet.text("will_topic")].concat(), "");
                vec![packet]
            }),
            then_down(Kind::Publish, |hand, packet| {
                let is_will = hand.noted([b"will ".to_vec(), packet.text("topic")].concat()).is_some();
                if is_will && packet.get("dup") == 0 { vec![] } else { vec![packet] }
            }),
        ])
    }),
    fault(
        "restart-publishes-every-will",
        "A restart publishes wills that are none any more.",
        "3.1.2-10",
        || {
            then_publishes(up(Kind::Connect, |hand, packet| {
                if packet.get("will_qos") == 1 {
                    take_down(hand, packet.text("will_topic"), packet.text("will_payload"), false);
                }
                vec![packet]
            }))
        },
    )
    .in_5_0("3.1.2-10 3.1.3-9"),
    fault_5_0("restart-stops-the-clock", "A message's time begins anew.", "3.3.2-6", || {
        then_down(Kind::Publish, |_, packet| match packet.number("message_expiry") {
            Some(_) => vec![packet.set("message_expiry", 100u64)],
            None => vec![packet],
        })
    }),
    fault_5_0(
        "restart-forgets-options",
        "Of a subscription only filter and QoS survive.",
        "3.3.1-13 3.3.4-3 3.1.2-23",
        || {
            then_down(Kind::Publish, |hand, packet| {
                let is_new = hand.link(|link| link.filters.is_empty());
                if is_new {
                    vec![packet.set("retain", 0u64).without("subscription_id")]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault_5_0(
        "restart-loses-properties",
        "Of a message only topic and payload survive.",
        "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20",
        || {
            then_down(Kind::Publish, |_, packet| {
                let plain = ["dup", "qos", "retain", "topic", "id", "payload"];
                vec![packet.only(|name| plain.contains(&name))]
            })
        },
    ),
];
