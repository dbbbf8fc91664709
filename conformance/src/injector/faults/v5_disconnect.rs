//! Chapters 3.14 and 4.13 of 5.0: DISCONNECT from both sides, and the end behind it.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, flags, good, is, loses, up, wrong};
use crate::injector::hand::{Event, Hand, Link};

/// DISCONNECT from the broker is changed.
fn last_word(change: fn(Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Disconnect, move |_, packet| change(packet))
}

/// DISCONNECT from the client is read as if it were this.
fn goodbye(change: fn(&Hand<'_>, Packet) -> Packet) -> Meddler {
    up(Kind::Disconnect, move |hand, packet| vec![change(hand, packet)])
}

/// A DISCONNECT such as this is none: the client seems to have gone away without a word.
fn is_no_goodbye(which: fn(&Frame, &Packet) -> bool) -> Meddler {
    Box::new(move |hand, event| match &event {
        Event::Up(frame) if good(frame, Kind::Disconnect, |packet| which(frame, packet)) => {
            hand.close_broker();
            None
        }
        _ => Some(event),
    })
}

/// A DISCONNECT that is wrong like this is taken for a good one.
fn takes_goodbye(which: fn(&Frame) -> bool) -> Meddler {
    Box::new(move |hand, event| match &event {
        Event::Up(frame) if is(frame, Kind::Disconnect) && frame.packet.is_err() && which(frame) => {
            hand.tell_broker(&Packet::new(Kind::Disconnect));
            None
        }
        _ => Some(event),
    })
}

fn is_plain(packet: &Packet) -> bool {
    packet.get("reason") == 0
}

/// The Session Expiry Interval of this connection's CONNECT.
fn expiry(link: &Link) -> u64 {
    link.connect.as_ref().map_or(0, |connect| connect.get("session_expiry"))
}

/// What the broker sends when it has said its last word.
fn followed_by(what: fn() -> Packet) -> Meddler {
    down(Kind::Disconnect, move |_, packet| vec![packet, what()])
}

/// Whether the client's connection ends before it was let in.
fn is_refused(hand: &Hand<'_>, event: &Event) -> bool {
    matches!(event, Event::BrokerEnd) && hand.link(|link| link.accepted.is_none() && !link.is_over())
}

pub(super) const FAULTS: &[Fault] = &[
    // From the client: the will
    fault_5_0(
        "goodbye-with-a-code-is-none",
        "Only a DISCONNECT of two bytes is a goodbye.",
        "3.14.4-3 3.1.2-10",
        || is_no_goodbye(|frame, packet| is_plain(packet) && frame.bytes.len() > 2),
    ),
    fault_5_0(
        "goodbye-with-properties-is-none",
        "A DISCONNECT with properties is no goodbye.",
        "3.14.4-3 3.1.2-10",
        || is_no_goodbye(|frame, packet| is_plain(packet) && frame.bytes.len() > 4),
    ),
    fault_5_0(
        "long-goodbye-is-none",
        "A DISCONNECT of more than 65,535 bytes is no goodbye.",
        "3.14.4-3 3.1.2-10",
        || is_no_goodbye(|frame, packet| is_plain(packet) && frame.bytes.len() > 65_535),
    ),
    fault_5_0(
        "goodbye-with-expiry-0-is-none",
        "A DISCONNECT with Session Expiry Interval 0 is no goodbye.",
        "3.14.4-3",
        || is_no_goodbye(|_, packet| is_plain(packet) && packet.number("session_expiry") == Some(0)),
    ),
    fault_5_0("goodbye-with-will-forgets-the-will", "With code 0x04 it forgets the will.", "3.1.2-8", || {
        goodbye(|_, packet| if packet.get("reason") == 4 { packet.set("reason", 0u64) } else { packet })
    }),
    fault_5_0(
        "goodbye-with-will-publishes-twice",
        "With code 0x04 it publishes the will twice.",
        "3.1.2-8 3.1.2-10 3.14.4-3",
        || {
            up(Kind::Disconnect, |hand, packet| {
                let connect = hand.link(|link| link.connect.clone());
                if packet.get("reason") == 4
                    && let Some(connect) = connect
                    && let Some(topic) = connect.bytes("will_topic")
                {
                    let will = Packet::new(Kind::Publish).with("topic", topic.to_vec());
                    hand.publish(&will.with("payload", connect.text("will_payload")));
                }
                vec![packet]
            })
        },
    ),
    fault_5_0(
        "goodbye-with-will-waits",
        "With code 0x04 it publishes the will when the client has closed.",
        "3.1.2-8",
        || up(Kind::Disconnect, |_, packet| if packet.get("reason") == 4 { vec![] } else { vec![packet] }),
    ),
    fault_5_0(
        "any-goodbye-forgets-the-will",
        "With any code it forgets the will.",
        "3.1.2-8 3.14.4-3",
        || goodbye(|_, packet| packet.set("reason", 0u64)),
    ),
    fault_5_0(
        "error-of-the-client-forgets-the-will",
        "With codes of errors it forgets the will.",
        "3.1.2-8",
        || {
            goodbye(
                |_, packet| {
                    if packet.get("reason") >= 0x80 { packet.set("reason", 0u64) } else { packet }
                },
            )
        },
    ),
    fault_5_0(
        "one-error-of-the-client-forgets-the-will",
        "With code 0x99 it forgets the will.",
        "3.1.2-8",
        || {
            goodbye(
                |_, packet| if packet.get("reason") == 0x99 { packet.set("reason", 0u64) } else { packet },
            )
        },
    ),
    fault_5_0("goodbye-of-any-code-taken", "It takes codes that there are not for 0.", "3.14.2-1", || {
        takes_goodbye(|frame| wrong(frame, "reason code"))
    }),
    fault_5_0(
        "goodbye-with-other-property-taken",
        "It skips properties that DISCONNECT must not have.",
        "4.13.1-1",
        || {
            takes_goodbye(|frame| {
                wrong(frame, "which it must not have") || wrong(frame, "which there is not")
            })
        },
    ),
    fault_5_0(
        "goodbye-with-a-property-twice-taken",
        "It takes a property of DISCONNECT twice.",
        "4.13.1-1",
        || takes_goodbye(|frame| wrong(frame, "twice")),
    ),
    fault_5_0(
        "goodbye-that-ends-early-taken",
        "It takes a DISCONNECT that ends within its properties.",
        "4.13.1-1",
        || takes_goodbye(|frame| wrong(frame, "it ends within")),
    ),
    fault_5_0(
        "goodbye-that-is-no-text-taken",
        "It does not look at the reason string of DISCONNECT.",
        "4.13.1-1 1.5.4-1 1.5.4-2",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame)
                    if is(frame, Kind::Disconnect)
                        && (wrong(frame, "is not UTF-8") || wrong(frame, "contains U+0000"))
                        && flags(frame) == 0 =>
                {
                    hand.tell_broker(&Packet::new(Kind::Disconnect));
                    hand.change(|link| link.goodbye = true);
                    None
                }
                _ => Some(event),
            })
        },
    ),
    // From the client: the session
    fault_5_0(
        "expiry-in-goodbye-ignored",
        "It takes no notice of a Session Expiry Interval in DISCONNECT.",
        "4.1.0-2 3.1.2-23",
        || goodbye(|_, packet| packet.without("session_expiry")),
    ),
    fault_5_0(
        "expiry-0-in-goodbye-ignored",
        "It takes no notice of Session Expiry Interval 0 in DISCONNECT.",
        "4.1.0-2",
        || {
            goodbye(|_, packet| {
                if packet.number("session_expiry") == Some(0) {
                    packet.without("session_expiry")
                } else {
                    packet
                }
            })
        },
    ),
    fault_5_0(
        "expiry-in-goodbye-only-shorter",
        "A Session Expiry Interval in DISCONNECT may be shorter, not longer.",
        "3.1.2-23",
        || {
            goodbye(|hand, packet| {
                let longer = packet.get("session_expiry") > hand.link(expiry);
                if longer { packet.without("session_expiry") } else { packet }
            })
        },
    ),
    fault_5_0(
        "expiry-in-goodbye-only-longer",
        "A Session Expiry Interval in DISCONNECT may be longer, not shorter.",
        "4.1.0-2",
        || {
            goodbye(|hand, packet| {
                let shorter = packet.get("session_expiry") < hand.link(expiry);
                if shorter { packet.without("session_expiry") } else { packet }
            })
        },
    ),
    fault_5_0(
        "any-expiry-in-goodbye-ends-the-session",
        "With any Session Expiry Interval in DISCONNECT the session ends.",
        "3.1.2-23",
        || {
            goodbye(|_, packet| {
                if packet.get("session_expiry") > 0 { packet.set("session_expiry", 0u64) } else { packet }
            })
        },
    ),
    fault_5_0(
        "goodbye-with-properties-ends-the-session",
        "A DISCONNECT with properties ends the session.",
        "3.1.2-23",
        || {
            goodbye(|_, packet| {
                let has_some = packet.bytes("reason_string").is_some();
                if has_some { packet.set("session_expiry", 0u64) } else { packet }
            })
        },
    ),
    fault_5_0(
        "error-of-the-client-ends-the-session",
        "A DISCONNECT with another code than 0 ends the session.",
        "3.1.2-23",
        || {
            goodbye(
                |_, packet| {
                    if packet.get("reason") > 0 { packet.set("session_expiry", 0u64) } else { packet }
                },
            )
        },
    ),
    fault_5_0(
        "late-expiry-taken-for-a-goodbye",
        "It says nothing of a Session Expiry Interval that comes too late.",
        "4.13.1-1",
        || {
            goodbye(|hand, packet| {
                let is_late = packet.get("session_expiry") > 0 && hand.link(expiry) == 0;
                if is_late { packet.without("session_expiry") } else { packet }
            })
        },
    ),
    fault_5_0(
        "late-expiry-keeps-the-session",
        "A Session Expiry Interval that comes too late keeps the session.",
        "4.1.0-2",
        || {
            all(vec![
                up(Kind::Disconnect, |hand, packet| {
                    if packet.get("session_expiry") > 0 && hand.link(expiry) == 0 {
                        let id = hand.link(|link| link.client_id());
                        hand.note([b"kept ".to_vec(), id].concat(), "");
                    }
                    vec![packet]
                }),
                down(Kind::Connack, |hand, packet| {
                    let id = hand.link(|link| link.client_id());
                    let is_kept = hand.noted([b"kept ".to_vec(), id].concat()).is_some();
                    let resumes =
                        is_kept && packet.get("reason") == 0 && !hand.link(|link| link.starts_clean());
                    if resumes { vec![packet.set("session_present", 1u64)] } else { vec![packet] }
                }),
            ])
        },
    ),
    // From the broker
    fault_5_0("no-last-word", "It closes without a word.", "4.13.1-1 4.13.2-1 3.1.4-3", || {
        loses(Kind::Disconnect)
    }),
    fault_5_0(
        "last-word-with-session-expiry",
        "Its DISCONNECT has a Session Expiry Interval.",
        "3.14.2-2",
        || last_word(|packet| vec![packet.set("session_expiry", 0u64)]),
    ),
    fault_5_0(
        "last-word-with-code-of-clients",
        "Its DISCONNECT has a code that only clients send.",
        "3.14.2-1",
        || last_word(|packet| vec![packet.set("reason", 4u64)]),
    ),
    fault_5_0("last-word-with-no-code", "Its DISCONNECT has a code that there is not.", "3.14.2-1", || {
        last_word(|packet| vec![packet.set("reason", 0x8cu64)])
    }),
    fault_5_0(
        "last-word-without-blame",
        "It says DISCONNECT 0 when it throws out.",
        "4.13.1-1 4.13.2-1",
        || last_word(|packet| vec![Packet { fields: Vec::new(), ..packet }]),
    ),
    fault_5_0(
        "last-word-blames-itself",
        "It says that it shuts down when it throws out.",
        "4.13.1-1 3.1.4-3 3.14.2-1",
        || last_word(|packet| vec![packet.set("reason", 0x8bu64)]),
    ),
    fault_5_0("last-word-with-flags", "Its DISCONNECT has flags.", "3.14.1-1 3.14.2-1", || {
        last_word(|packet| vec![packet.set("flags", 2u64)])
    }),
    fault_5_0("last-word-twice", "It says DISCONNECT twice.", "3.14.4-1", || {
        last_word(|packet| vec![packet.clone(), packet])
    }),
    fault_5_0("last-word-and-pingresp", "It sends PINGRESP behind DISCONNECT.", "3.14.4-1", || {
        followed_by(|| Packet::new(Kind::Pingresp))
    }),
    fault_5_0("last-word-and-message", "It sends a message behind DISCONNECT.", "3.14.4-1", || {
        down(Kind::Disconnect, |hand, packet| {
            let filter = hand.link(|link| link.filters.first().cloned());
            let message = filter.map(|(topic, _)| Packet::new(Kind::Publish).with("topic", topic));
            std::iter::once(packet).chain(message).collect()
        })
    }),
    fault_5_0("last-word-leaves-open", "It does not close behind DISCONNECT.", "3.14.4-2 4.13.2-1", || {
        all(vec![
            down(Kind::Disconnect, |hand, packet| {
                hand.note(format!("said {}", hand.me), "");
                vec![packet]
            }),
            Box::new(|hand, event| {
                if matches!(event, Event::BrokerEnd) && hand.noted(format!("said {}", hand.me)).is_some() {
                    hand.act();
                    return None;
                }
                Some(event)
            }),
        ])
    }),
    fault_5_0(
        "last-word-with-long-reason",
        "The reason in its DISCONNECT has 1,000 characters.",
        "3.14.2-3 3.1.2-24",
        || last_word(|packet| vec![packet.set("reason_string", vec![b'x'; 1000])]),
    ),
    fault_5_0(
        "last-word-with-long-user-property",
        "Its DISCONNECT has a user property of 1,000 characters.",
        "3.14.2-4 3.1.2-24",
        || last_word(|packet| vec![packet.with("user_property", vec![b'x'; 1000])]),
    ),
    fault_5_0(
        "last-word-tells-everything",
        "Its DISCONNECT has the client's own words in it, however long.",
        "3.14.2-4 3.1.2-24",
        || {
            all(vec![
                Box::new(|hand, event| {
                    if let Event::Up(Frame { packet: Ok(packet), .. }) = &event
                        && let Some(Value::Bytes(said)) = packet.all("user_property").last()
                    {
                        hand.note(format!("said {}", hand.me), said);
                    }
                    Some(event)
                }),
                down(Kind::Disconnect, |hand, packet| match hand.noted(format!("said {}", hand.me)) {
                    Some(said) => vec![packet.with("user_property", said)],
                    None => vec![packet],
                }),
            ])
        },
    ),
    fault_5_0(
        "last-word-before-connack",
        "It says DISCONNECT to who is not let in.",
        "3.14.0-1 4.13.2-1",
        || {
            Box::new(|hand, event| {
                if is_refused(hand, &event) {
                    hand.tell_client(&Packet::new(Kind::Disconnect).with("reason", 0x82u64));
                }
                Some(event)
            })
        },
    ),
    fault_5_0(
        "last-word-instead-of-refusal",
        "It says DISCONNECT instead of CONNACK to who is not let in.",
        "3.14.0-1",
        || {
            down(Kind::Connack, |_, packet| {
                let code = packet.get("reason");
                if code < 0x80 {
                    return vec![packet];
                }
                vec![Packet::new(Kind::Disconnect).with("reason", 0x80u64)]
            })
        },
    ),
    fault_5_0("refusal-below-0x80", "It refuses by CONNACK 0.", "4.13.2-1 3.1.4-1", || {
        down(Kind::Connack, |_, packet| vec![packet.set("reason", 0u64)])
    }),
    fault_5_0("all-errors-are-malformed", "It says 0x81 to every error.", "4.13.1-1 3.1.4-3", || {
        down(Kind::Disconnect, |_, packet| {
            vec![if packet.get("reason") == 0x8e { packet.set("reason", 0x81u64) } else { packet }]
        })
    }),
    fault_5_0("malformed-is-a-protocol-error", "It says 0x82 to what is malformed.", "4.13.1-1", || {
        down(Kind::Disconnect, |_, packet| {
            vec![if packet.get("reason") == 0x81 { packet.set("reason", 0x82u64) } else { packet }]
        })
    }),
    fault_5_0(
        "refusal-leaves-open-for-more",
        "It answers what comes behind a refusal.",
        "4.13.2-1 3.2.2-7",
        || {
            Box::new(|hand, event| {
                if matches!(&event, Event::Up(frame) if is(frame, Kind::Pingreq)) {
                    let is_refusable = hand.link(|link| {
                        link.accepted.is_none()
                            && link
                                .connect
                                .as_ref()
                                .is_some_and(|connect| connect.bytes("authentication_method").is_some())
                    });
                    if is_refusable {
                        hand.tell_client(&Packet::new(Kind::Pingresp));
                    }
                }
                Some(event)
            })
        },
    ),
];
