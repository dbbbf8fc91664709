//! Chapter 4.4: what comes again when a client returns to its session.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, ack, all, down, fault, swaps, up};
use crate::injector::hand::Hand;

/// What comes again is changed.
fn repeated(mut change: impl FnMut(&mut Hand<'_>, Packet) -> Vec<Packet> + Send + 'static) -> Meddler {
    down(
        Kind::Publish,
        move |hand, packet| if packet.get("dup") == 1 { change(hand, packet) } else { vec![packet] },
    )
}

/// A PUBREL that comes again is changed.
fn pubrel_again(change: fn(&mut Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    down(
        Kind::Pubrel,
        move |hand, packet| {
            if hand.link(|link| link.is_fresh()) { change(hand, packet) } else { vec![packet] }
        },
    )
}

/// The name of a delivery with QoS 2.
fn delivery(hand: &Hand<'_>, id: u64) -> Vec<u8> {
    [hand.link(|link| link.client_id()), id.to_string().into_bytes()].join(&0)
}

/// Remembers deliveries with QoS 2.
fn remembers() -> Meddler {
    down(Kind::Publish, |hand, packet| {
        if packet.get("qos") == 2 {
            hand.note(
                delivery(hand, packet.get("id")),
                [packet.text("topic"), packet.text("payload")].join(&0),
            );
        }
        vec![packet]
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault("qos1-not-sent-again", "It does not send an open QoS 1 message again.", "4.4.0-1 4.3.2-1", || {
        repeated(|_, packet| if packet.get("qos") == 1 { vec![] } else { vec![packet] })
    }),
    fault("qos2-not-sent-again", "It does not send an open QoS 2 message again.", "4.4.0-1 4.3.3-1", || {
        repeated(|_, packet| if packet.get("qos") == 2 { vec![] } else { vec![packet] })
    }),
    fault("pubrel-not-sent-again", "It does not send an open PUBREL again.", "4.4.0-1 4.3.3-1", || {
        pubrel_again(|_, _| vec![])
    }),
    fault("only-first-sent-again", "It sends only the first open message again.", "4.4.0-1", || {
        repeated(|hand, packet| {
            let name = format!("{}", hand.me);
            if hand.count(name) > 1 { vec![] } else { vec![packet] }
        })
    }),
    fault("qos1-again-without-dup", "An open QoS 1 message comes again with DUP 0.", "3.3.1-1", || {
        repeated(
            |_, packet| if packet.get("qos") == 1 { vec![packet.set("dup", 0u64)] } else { vec![packet] },
        )
    }),
    fault("qos2-again-without-dup", "An open QoS 2 message comes again with DUP 0.", "3.3.1-1", || {
        repeated(
            |_, packet| if packet.get("qos") == 2 { vec![packet.set("dup", 0u64)] } else { vec![packet] },
        )
    }),
    fault(
        "again-with-new-id",
        "An open message comes again with another identifier.",
        "4.4.0-1 2.3.1-4 4.3.2-1",
        || {
            repeated(|_, packet| {
                let id = packet.get("id");
                vec![packet.set("id", id + 500)]
            })
        },
    ),
    fault("again-with-other-payload", "An open message comes again without its payload.", "4.4.0-1", || {
        repeated(|_, packet| vec![packet.set("payload", "")])
    }),
    fault("again-with-qos0", "An open message comes again with QoS 0.", "4.4.0-1", || {
        repeated(|_, packet| vec![packet.set("qos", 0u64).set("dup", 0u64).without("id")])
    }),
    fault("again-out-of-order", "Open messages come again in the wrong order.", "4.6.0-1 4.6.0-6", || {
        swaps(Kind::Publish, |_, packet| packet.get("dup") == 1)
    }),
    fault("again-behind-the-new", "Open messages come again behind newer ones.", "4.6.0-1 4.6.0-6", || {
        down(Kind::Publish, |hand, packet| {
            if packet.get("dup") == 1 {
                hand.change(|link| link.held.push_back(packet));
                return vec![];
            }
            let mut held = Vec::new();
            hand.change(|link| held = link.held.drain(..).collect());
            std::iter::once(packet).chain(held).collect()
        })
    }),
    fault("again-twice", "An open message comes again twice.", "4.4.0-1", || {
        repeated(|_, packet| vec![packet.clone(), packet])
    }),
    fault(
        "puback-ignored",
        "It takes no notice of PUBACK, and sends the message again.",
        "4.3.2-1 4.4.0-1",
        || up(Kind::Puback, |_, _| vec![]),
    ),
    fault(
        "pubcomp-ignored",
        "It takes no notice of PUBCOMP, and sends PUBREL again.",
        "4.3.3-1 4.4.0-1",
        || up(Kind::Pubcomp, |_, _| vec![]),
    ),
    fault(
        "pubrec-forgotten",
        "It forgets PUBREC with the connection, and sends PUBLISH again.",
        "4.3.3-1 4.4.0-1",
        || {
            all(vec![
                up(Kind::Pubrec, |hand, packet| {
                    hand.tell_client(&ack(Kind::Pubrel, packet.get("id")));
                    vec![]
                }),
                up(Kind::Pubcomp, |hand, packet| {
                    hand.on(true, &ack(Kind::Pubrec, packet.get("id")));
                    vec![packet]
                }),
            ])
        },
    ),
    fault(
        "pubrel-again-with-publish",
        "Where PUBREL is open it sends PUBLISH again as well.",
        "4.3.3-1",
        || {
            all(vec![
                remembers(),
                pubrel_again(|hand, packet| match hand.noted(delivery(hand, packet.get("id"))) {
                    Some(message) => {
                        let mut parts = message.splitn(2, |byte| *byte == 0);
                        let topic = parts.next().unwrap_or_default().to_vec();
                        let payload = parts.next().unwrap_or_default().to_vec();
                        let again = Packet::new(Kind::Publish)
                            .with("dup", 1u64)
                            .with("qos", 2u64)
                            .with("topic", topic)
                            .with("id", packet.get("id"))
                            .with("payload", payload);
                        vec![again, packet]
                    }
                    None => vec![packet],
                }),
            ])
        },
    ),
    fault(
        "pubrel-again-with-new-id",
        "An open PUBREL comes again with another identifier.",
        "4.4.0-1 2.3.1-6",
        || {
            pubrel_again(|_, packet| {
                let id = packet.get("id");
                vec![packet.set("id", id + 500)]
            })
        },
    ),
    fault(
        "open-messages-to-a-clean-session",
        "A clean session gets what was open in the old one.",
        "3.1.2-6 4.4.0-1",
        || {
            up(Kind::Connect, |hand, packet| {
                let name = [b"kept ".to_vec(), packet.text("client_id")].concat();
                let known = hand.noted(&name).is_some();
                hand.note(name, "");
                if known && packet.get("clean") == 1 { vec![packet.set("clean", 0u64)] } else { vec![packet] }
            })
        },
    ),
    fault(
        "again-on-the-first-return-only",
        "It sends an open message again once, and not at the next return.",
        "4.4.0-1",
        || {
            repeated(|hand, packet| {
                let name = delivery(hand, packet.get("id"));
                if hand.count(name) > 1 { vec![] } else { vec![packet] }
            })
        },
    ),
    fault("again-with-dup-once", "At the second return an open message comes with DUP 0.", "3.3.1-1", || {
        repeated(|hand, packet| {
            let name = delivery(hand, packet.get("id"));
            if hand.count(name) > 1 { vec![packet.set("dup", 0u64)] } else { vec![packet] }
        })
    }),
    fault("not-again-after-disconnect", "DISCONNECT settles open messages.", "4.4.0-1", || {
        all(vec![
            up(Kind::Disconnect, |hand, packet| {
                let id = hand.link(|link| link.client_id());
                hand.note([b"polite ".to_vec(), id].concat(), "");
                vec![packet]
            }),
            repeated(|hand, packet| {
                let id = hand.link(|link| link.client_id());
                if hand.noted([b"polite ".to_vec(), id].concat()).is_some() { vec![] } else { vec![packet] }
            }),
        ])
    }),
    fault(
        "not-again-at-take-over",
        "Who takes a connection over does not get its open messages.",
        "4.4.0-1 3.1.4-2",
        || {
            repeated(|hand, packet| {
                let id = hand.link(|link| link.client_id());
                let me = hand.me;
                let taken_over = hand
                    .links
                    .iter()
                    .any(|(number, link)| *number < me && !link.goodbye && link.client_id() == id);
                if taken_over { vec![] } else { vec![packet] }
            })
        },
    ),
];
