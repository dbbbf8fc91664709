//! Chapters 3.3.4, 4.3.1 to 4.3.3: the handshakes, as receiver and as sender.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, ack, all, down, fault, is, loses, up};
use crate::injector::hand::{Event, Hand};

/// PUBLISH with this QoS from a client is changed.
fn published(
    qos: u64,
    mut change: impl FnMut(&mut Hand<'_>, Packet) -> Vec<Packet> + Send + 'static,
) -> Meddler {
    up(
        Kind::Publish,
        move |hand, packet| if packet.get("qos") == qos { change(hand, packet) } else { vec![packet] },
    )
}

/// The name of an identifier of this client.
fn id_of(hand: &Hand<'_>, packet: &Packet) -> Vec<u8> {
    [hand.link(|link| link.client_id()), packet.get("id").to_string().into_bytes()].join(&0)
}

/// Deliveries with QoS 2 are followed by something.
fn after_delivery(then: fn(&Packet) -> Packet) -> Meddler {
    down(Kind::Publish, move |_, packet| {
        if packet.get("qos") == 2 && packet.get("dup") == 0 {
            vec![packet.clone(), then(&packet)]
        } else {
            vec![packet]
        }
    })
}

/// The message once more, as one that the broker has not seen.
fn deliver_again(hand: &mut Hand<'_>, packet: &Packet) {
    hand.publish(
        &Packet::new(Kind::Publish)
            .with("topic", packet.text("topic"))
            .with("payload", packet.text("payload")),
    );
}

/// A PUBLISH with QoS 2 whose identifier was used before, as `before` says, is acknowledged and lost.
fn loses_used(before: Meddler) -> Meddler {
    all(vec![
        published(2, |hand, packet| {
            if hand.noted(id_of(hand, &packet)).is_some() {
                hand.tell_client(&ack(Kind::Pubrec, packet.get("id")));
                return vec![];
            }
            vec![packet]
        }),
        before,
    ])
}

pub(super) const FAULTS: &[Fault] = &[
    // Receiver
    fault("puback-missing", "It does not acknowledge QoS 1.", "4.3.2-2 3.3.4-1", || loses(Kind::Puback)),
    fault("puback-twice", "It acknowledges QoS 1 twice.", "4.3.2-2 3.3.4-1", || {
        down(Kind::Puback, |_, packet| vec![packet.clone(), packet])
    }),
    fault(
        "puback-only-first",
        "It acknowledges the first PUBLISH of a connection only.",
        "4.3.2-2 3.3.4-1",
        || {
            down(Kind::Puback, |hand, packet| {
                let name = format!("{}", hand.me);
                if hand.count(name) > 1 { vec![] } else { vec![packet] }
            })
        },
    ),
    fault(
        "puback-missing-without-subscribers",
        "It acknowledges only what somebody subscribed to.",
        "4.3.2-2 3.3.4-1",
        || {
            all(vec![
                published(1, |hand, packet| {
                    let name = packet.text("topic");
                    if !hand.links.values().any(|link| link.wants(&name)) {
                        hand.note(id_of(hand, &packet), "");
                    }
                    vec![packet]
                }),
                down(Kind::Puback, |hand, packet| {
                    if hand.forget(id_of(hand, &packet)).is_some() { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault("qos1-answered-by-pubrec", "It answers QoS 1 by PUBREC.", "3.3.4-1 4.3.2-2", || {
        down(Kind::Puback, |_, packet| vec![ack(Kind::Pubrec, packet.get("id"))])
    }),
    fault("qos2-answered-by-puback", "It answers QoS 2 by PUBACK.", "3.3.4-1 4.3.3-2", || {
        down(Kind::Pubrec, |_, packet| vec![ack(Kind::Puback, packet.get("id"))])
    }),
    fault("qos0-acknowledged", "It answers QoS 0 by PUBACK.", "3.3.4-1 4.3.1-1", || {
        published(0, |hand, packet| {
            hand.tell_client(&ack(Kind::Puback, 1));
            vec![packet]
        })
    }),
    fault(
        "qos1-repeat-dropped",
        "It takes a repeated identifier with QoS 1 for a repeated message.",
        "4.3.2-2",
        || {
            published(1, |hand, packet| {
                if hand.noted(id_of(hand, &packet)).is_some() {
                    hand.tell_client(&ack(Kind::Puback, packet.get("id")));
                    return vec![];
                }
                hand.note(id_of(hand, &packet), "");
                vec![packet]
            })
        },
    ),
    fault("qos1-dup-dropped", "It drops PUBLISH with QoS 1 and DUP 1.", "4.3.2-2", || {
        published(1, |hand, packet| {
            if packet.get("dup") == 1 {
                hand.tell_client(&ack(Kind::Puback, packet.get("id")));
                return vec![];
            }
            vec![packet]
        })
    }),
    fault(
        "qos1-dup-not-acknowledged",
        "It does not acknowledge PUBLISH with QoS 1 and DUP 1.",
        "4.3.2-2",
        || published(1, |_, packet| if packet.get("dup") == 1 { vec![] } else { vec![packet] }),
    ),
    fault("pubrec-missing", "It does not answer QoS 2.", "4.3.3-2 3.3.4-1", || loses(Kind::Pubrec)),
    fault("pubrec-twice", "It answers QoS 2 by two PUBRECs.", "4.3.3-2 3.3.4-1", || {
        down(Kind::Pubrec, |_, packet| vec![packet.clone(), packet])
    }),
    fault(
        "pubrec-missing-for-a-repeat",
        "It does not answer a repeated PUBLISH with QoS 2.",
        "4.3.3-2",
        || published(2, |_, packet| if packet.get("dup") == 1 { vec![] } else { vec![packet] }),
    ),
    fault("pubcomp-missing", "It does not answer PUBREL.", "4.3.3-2", || loses(Kind::Pubcomp)),
    fault("pubcomp-twice", "It answers PUBREL by two PUBCOMPs.", "4.3.3-2", || {
        down(Kind::Pubcomp, |_, packet| vec![packet.clone(), packet])
    }),
    fault("pubcomp-at-once", "It sends PUBCOMP right behind PUBREC.", "4.3.3-2", || {
        down(Kind::Pubrec, |_, packet| vec![packet.clone(), ack(Kind::Pubcomp, packet.get("id"))])
    }),
    fault("pubcomp-missing-for-unknown", "It answers PUBREL only for a message it knows.", "4.3.3-2", || {
        up(Kind::Pubrel, |hand, packet| {
            let name = id_of(hand, &packet);
            if hand.count(name) > 1 { vec![] } else { vec![packet] }
        })
    }),
    fault("pubrel-unknown-closes", "It closes on PUBREL for a message it does not know.", "4.3.3-2", || {
        crate::injector::fault::refuses(|hand, packet| {
            packet.kind == Kind::Pubrel && hand.link(|link| link.sent == 2)
        })
    }),
    fault(
        "qos2-repeat-delivered-again",
        "It delivers a repeated PUBLISH with QoS 2 again.",
        "4.3.3-2",
        || {
            published(2, |hand, packet| {
                if packet.get("dup") == 1 {
                    deliver_again(hand, &packet);
                }
                vec![packet]
            })
        },
    ),
    fault(
        "qos2-repeat-delivered-again-on-return",
        "It forgets with the connection which QoS 2 messages it has delivered.",
        "4.3.3-2 4.1.0-1 3.1.2-4",
        || {
            published(2, |hand, packet| {
                if packet.get("dup") == 1 && hand.link(|link| link.accepted == Some(true)) {
                    deliver_again(hand, &packet);
                }
                vec![packet]
            })
        },
    ),
    fault("qos2-delivered-again-at-pubrel", "It delivers at PUBLISH and again at PUBREL.", "4.3.3-2", || {
        all(vec![
            published(2, |hand, packet| {
                hand.note(id_of(hand, &packet), [packet.text("topic"), packet.text("payload")].join(&0));
                vec![packet]
            }),
            up(Kind::Pubrel, |hand, packet| {
                if let Some(message) = hand.forget(id_of(hand, &packet)) {
                    let mut parts = message.splitn(2, |byte| *byte == 0);
                    let topic = parts.next().unwrap_or_default().to_vec();
                    let payload = parts.next().unwrap_or_default().to_vec();
                    hand.publish(&Packet::new(Kind::Publish).with("topic", topic).with("payload", payload));
                }
                vec![packet]
            }),
        ])
    }),
    fault(
        "qos2-delivered-again-at-second-pubrel",
        "It delivers again when PUBREL comes again.",
        "4.3.3-2",
        || {
            all(vec![
                published(2, |hand, packet| {
                    hand.note(id_of(hand, &packet), [packet.text("topic"), packet.text("payload")].join(&0));
                    vec![packet]
                }),
                up(Kind::Pubrel, |hand, packet| {
                    let name = [id_of(hand, &packet), b"pubrel".to_vec()].concat();
                    if hand.count(name) > 1
                        && let Some(message) = hand.noted(id_of(hand, &packet))
                    {
                        let mut parts = message.splitn(2, |byte| *byte == 0);
                        let topic = parts.next().unwrap_or_default().to_vec();
                        let payload = parts.next().unwrap_or_default().to_vec();
                        hand.publish(
                            &Packet::new(Kind::Publish).with("topic", topic).with("payload", payload),
                        );
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault(
        "qos2-identifier-never-free",
        "An identifier with QoS 2 is not free after PUBCOMP.",
        "4.3.3-2",
        || {
            loses_used(up(Kind::Pubrel, |hand, packet| {
                hand.note(id_of(hand, &packet), "");
                vec![packet]
            }))
        },
    ),
    fault(
        "qos2-identifiers-outlive-their-session",
        "Identifiers with QoS 2 outlive the session that was thrown away.",
        "3.1.2-6 4.3.3-2",
        || {
            loses_used(all(vec![
                up(Kind::Connect, |hand, packet| {
                    if packet.get("clean") == 1
                        && let Some(id) = hand.noted([b"open ".to_vec(), packet.text("client_id")].concat())
                    {
                        hand.note([packet.text("client_id"), id].join(&0), "");
                    }
                    vec![packet]
                }),
                published(2, |hand, packet| {
                    let client_id = hand.link(|link| link.client_id());
                    hand.note([b"open ".to_vec(), client_id].concat(), packet.get("id").to_string());
                    vec![packet]
                }),
            ]))
        },
    ),
    fault(
        "qos2-one-at-a-time",
        "It takes one QoS 2 message at a time and loses the others.",
        "4.3.3-2",
        || {
            all(vec![
                published(2, |hand, packet| {
                    let name = format!("open {}", hand.me);
                    match hand.noted(&name) {
                        Some(id) if id != packet.get("id").to_string().as_bytes() => {
                            hand.tell_client(&ack(Kind::Pubrec, packet.get("id")));
                            vec![]
                        }
                        _ => {
                            hand.note(name, packet.get("id").to_string());
                            vec![packet]
                        }
                    }
                }),
                up(Kind::Pubrel, |hand, packet| {
                    hand.forget(format!("open {}", hand.me));
                    vec![packet]
                }),
            ])
        },
    ),
    // Sender
    fault("pubrel-missing", "It does not answer PUBREC.", "4.3.3-1", || loses(Kind::Pubrel)),
    fault("pubrel-early", "It sends PUBREL without waiting for PUBREC.", "4.3.3-1", || {
        after_delivery(|packet| ack(Kind::Pubrel, packet.get("id")))
    }),
    fault("pubrec-answered-by-pubcomp", "It answers PUBREC by PUBCOMP.", "4.3.3-1", || {
        down(Kind::Pubrel, |_, packet| vec![ack(Kind::Pubcomp, packet.get("id"))])
    }),
    fault("publish-again-after-pubrec", "It sends PUBLISH again after PUBREC.", "4.3.3-1", || {
        all(vec![
            down(Kind::Publish, |hand, packet| {
                if packet.get("qos") == 2 {
                    hand.change(|link| link.held.push_back(packet.clone()));
                }
                vec![packet]
            }),
            down(Kind::Pubrel, |hand, packet| {
                let mut message = None;
                hand.change(|link| message = link.held.pop_front());
                let again = message.map(|message| message.set("dup", 1u64));
                std::iter::once(packet).chain(again).collect()
            }),
        ])
    }),
    fault("pubcomp-answered", "It answers PUBCOMP.", "4.3.3-1", || {
        up(Kind::Pubcomp, |hand, packet| {
            hand.tell_client(&ack(Kind::Pubrel, packet.get("id")));
            vec![packet]
        })
    }),
    fault("puback-answered", "It answers PUBACK.", "4.3.2-1", || {
        up(Kind::Puback, |hand, packet| {
            hand.tell_client(&ack(Kind::Pubrel, packet.get("id")));
            vec![packet]
        })
    }),
    fault(
        "directions-share-identifiers",
        "An identifier is taken from the client while the broker uses it.",
        "2.3.1-4",
        || {
            all(vec![
                down(Kind::Publish, |hand, packet| {
                    if packet.get("qos") > 0 {
                        hand.note(format!("in use {} {}", hand.me, packet.get("id")), "");
                    }
                    vec![packet]
                }),
                published(2, |hand, packet| {
                    if hand.noted(format!("in use {} {}", hand.me, packet.get("id"))).is_some() {
                        vec![]
                    } else {
                        vec![packet]
                    }
                }),
            ])
        },
    ),
    fault(
        "next-waits-for-puback",
        "It delivers the next message only when the first is acknowledged, and then loses it.",
        "4.3.2-1 4.5.0-1",
        || {
            all(vec![
                down(Kind::Publish, |hand, packet| {
                    if packet.get("qos") == 0 {
                        return vec![packet];
                    }
                    let name = format!("open {}", hand.me);
                    if hand.noted(&name).is_some() {
                        return vec![];
                    }
                    hand.note(name, "");
                    vec![packet]
                }),
                up(Kind::Puback, |hand, packet| {
                    hand.forget(format!("open {}", hand.me));
                    vec![packet]
                }),
                up(Kind::Pubcomp, |hand, packet| {
                    hand.forget(format!("open {}", hand.me));
                    vec![packet]
                }),
            ])
        },
    ),
    fault(
        "identifier-reused-while-open",
        "A delivery has the identifier of one that is open.",
        "2.3.1-4 4.3.2-1 4.3.3-1",
        || {
            down(Kind::Publish, |hand, packet| {
                if packet.get("qos") == 0 || packet.get("dup") == 1 {
                    return vec![packet];
                }
                let name = format!("first {}", hand.me);
                match hand.noted(&name).and_then(|text| String::from_utf8(text).ok()?.parse::<u64>().ok()) {
                    Some(first) => vec![packet.set("id", first)],
                    None => {
                        hand.note(name, packet.get("id").to_string());
                        vec![packet]
                    }
                }
            })
        },
    ),
    fault(
        "qos2-lost-when-broken-before-pubrel",
        "It forgets a QoS 2 message whose connection breaks before PUBREL.",
        "4.3.3-2 4.1.0-1",
        || {
            // It is kept back until PUBREL comes.
            all(vec![
                published(2, |hand, packet| {
                    hand.change(|link| link.held.push_back(packet.clone()));
                    hand.tell_client(&ack(Kind::Pubrec, packet.get("id")));
                    vec![]
                }),
                up(Kind::Pubrel, |hand, packet| {
                    let mut message = None;
                    hand.change(|link| {
                        let place = link.held.iter().position(|held| held.get("id") == packet.get("id"));
                        message = place.and_then(|place| link.held.remove(place));
                    });
                    message.into_iter().chain([packet]).collect()
                }),
                loses(Kind::Pubrec),
            ])
        },
    ),
    fault(
        "pubrel-on-return-not-answered",
        "It does not answer PUBREL when the client returns.",
        "4.3.3-2 4.1.0-1",
        || {
            up(Kind::Pubrel, |hand, packet| {
                if hand.link(|link| link.accepted == Some(true) && link.sent == 2) {
                    vec![]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault(
        "qos1-and-qos2-share-identifiers",
        "Open deliveries with QoS 1 and QoS 2 have the same identifiers.",
        "2.3.1-4 4.3.3-1",
        || {
            all(vec![down(Kind::Publish, |hand, packet| {
                let name = format!("one {}", hand.me);
                match (
                    packet.get("qos"),
                    hand.noted(&name).and_then(|text| String::from_utf8(text).ok()?.parse::<u64>().ok()),
                ) {
                    (1, _) => {
                        hand.note(name, packet.get("id").to_string());
                        vec![packet]
                    }
                    (2, Some(id)) if packet.get("dup") == 0 => vec![packet.set("id", id)],
                    _ => vec![packet],
                }
            })])
        },
    ),
    fault(
        "unknown-identifier-ends-everybody",
        "An acknowledgement of what nobody sent ends all connections.",
        "4.8.0-1",
        || {
            Box::new(|hand, event| {
                let kinds = [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp];
                let is_early = hand.link(|link| link.came == 1 && link.accepted.is_some());
                if is_early && matches!(&event, Event::Up(frame) if kinds.iter().any(|kind| is(frame, *kind)))
                {
                    for other in hand.others() {
                        hand.as_if(other, |hand| hand.close());
                    }
                }
                Some(event)
            })
        },
    ),
];
