//! Chapter 3.1.2: wills. And DISCONNECT, which ends them.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, all, fault, flags, is, up};
use crate::injector::hand::{Event, Hand, Link};

/// CONNECT with a will is changed.
fn will(change: fn(Packet) -> Packet) -> Meddler {
    up(
        Kind::Connect,
        move |_, packet| {
            if packet.bytes("will_topic").is_some() { vec![change(packet)] } else { vec![packet] }
        },
    )
}

/// The client said goodbye, as far as the broker knows.
fn say_goodbye(hand: &mut Hand<'_>) {
    hand.tell_broker(&Packet::new(Kind::Disconnect));
}

fn has_will(link: &Link) -> bool {
    link.connect.as_ref().is_some_and(|connect| connect.bytes("will_topic").is_some())
}

/// The will of this connection as a message.
fn message(hand: &Hand<'_>) -> Option<Packet> {
    let connect = hand.link(|link| link.connect.clone())?;
    let topic = connect.bytes("will_topic")?.to_vec();
    Some(Packet::new(Kind::Publish).with("topic", topic).with("payload", connect.text("will_payload")))
}

/// The network went away from a client that was taken in.
fn is_broken(hand: &Hand<'_>, event: &Event) -> bool {
    matches!(event, Event::ClientEnd)
        && hand.link(|link| link.accepted.is_some() && !link.goodbye && !link.is_over())
}

fn without_will(packet: Packet) -> Packet {
    packet.only(|name| !name.starts_with("will_"))
}

pub(super) const FAULTS: &[Fault] = &[
    fault("will-missing", "It publishes no will when the network goes away.", "3.1.2-8", || {
        Box::new(|hand, event| {
            if is_broken(hand, &event) {
                say_goodbye(hand);
            }
            Some(event)
        })
    }),
    fault(
        "will-missing-after-a-violation",
        "It publishes no will when it closes because of a violation.",
        "3.1.2-8 3.14.1-1",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame) if frame.packet.is_err() && hand.link(has_will) => {
                    say_goodbye(hand);
                    hand.close();
                    None
                }
                _ => Some(event),
            })
        },
    ),
    fault(
        "will-missing-at-take-over",
        "It publishes no will when the identifier is taken over.",
        "3.1.2-8 3.1.4-2",
        || {
            up(Kind::Connect, |hand, packet| {
                for other in hand.others() {
                    if hand.links.get(&other).is_some_and(|link| link.client_id() == packet.text("client_id"))
                    {
                        hand.as_if(other, |hand| {
                            say_goodbye(hand);
                            hand.close();
                        });
                        // Its DISCONNECT must be there before this CONNECT.
                        std::thread::sleep(std::time::Duration::from_millis(20));
                    }
                }
                vec![packet]
            })
        },
    ),
    fault(
        "will-missing-after-silence",
        "It publishes no will when the keep alive ends a connection.",
        "3.1.2-8 3.1.2-24",
        || {
            all(vec![
                up(Kind::Connect, |_, packet| vec![packet.set("keep_alive", 0u64)]),
                Box::new(|hand, event| {
                    let limit = hand
                        .link(|link| link.connect.as_ref().map_or(0, |connect| connect.get("keep_alive")));
                    let silent = hand.link(|link| link.heard.elapsed().as_millis() as u64);
                    if matches!(event, Event::Tick) && limit > 0 && silent > limit * 1500 {
                        say_goodbye(hand);
                        hand.close();
                    }
                    Some(event)
                }),
            ])
        },
    ),
    fault("will-at-once", "It publishes the will as soon as the client connects.", "3.1.2-8", || {
        Box::new(|hand, event| {
            let connacked = matches!(&event, Event::Down(frame) if is(frame, Kind::Connack));
            if connacked && let Some(message) = message(hand) {
                hand.publish(&message);
            }
            Some(event)
        })
    }),
    fault("will-twice", "It publishes the will twice.", "3.1.2-10", || {
        Box::new(|hand, event| {
            if is_broken(hand, &event)
                && let Some(message) = message(hand)
            {
                hand.publish(&message);
            }
            Some(event)
        })
    }),
    fault("will-after-disconnect", "It publishes the will after DISCONNECT.", "3.1.2-10 3.14.4-3", || {
        up(Kind::Disconnect, |hand, packet| if hand.link(has_will) { vec![] } else { vec![packet] })
    }),
    fault("will-again", "It keeps the will for the client's next connection.", "3.1.2-10 3.1.2-12", || {
        up(Kind::Connect, |hand, packet| {
            let name = packet.text("client_id");
            if let Some(topic) = packet.bytes("will_topic") {
                hand.note(name, topic);
                return vec![packet];
            }
            match hand.noted(name) {
                Some(topic) => vec![packet.with("will_topic", topic).with("will_payload", "again")],
                None => vec![packet],
            }
        })
    }),
    fault(
        "will-again-without-disconnect",
        "It publishes the will once more when the client returns.",
        "3.1.2-10",
        || {
            up(Kind::Connect, |hand, packet| {
                let name = packet.text("client_id");
                if let Some(topic) = hand.forget(&name) {
                    hand.publish(&Packet::new(Kind::Publish).with("topic", topic).with("payload", "again"));
                }
                if let Some(topic) = packet.bytes("will_topic") {
                    hand.note(name, topic);
                }
                vec![packet]
            })
        },
    ),
    fault(
        "will-without-flag",
        "It publishes a message when a client without a will goes away.",
        "3.1.2-12",
        || {
            Box::new(|hand, event| {
                if is_broken(hand, &event) && !hand.link(has_will) {
                    for other in hand.others() {
                        let filter = hand.links.get(&other).and_then(|link| link.filters.first().cloned());
                        if let Some((topic, _)) = filter {
                            hand.as_if(other, |hand| {
                                hand.tell_client(&Packet::new(Kind::Publish).with("topic", topic))
                            });
                        }
                    }
                }
                Some(event)
            })
        },
    ),
    fault("will-with-qos0", "It publishes every will with QoS 0.", "3.1.2-9", || {
        will(|packet| packet.set("will_qos", 0u64))
    }),
    fault("will-with-qos1-at-most", "It publishes a will with QoS 1 at most.", "3.1.2-9", || {
        will(|packet| if packet.get("will_qos") == 2 { packet.set("will_qos", 1u64) } else { packet })
    }),
    fault("will-without-payload", "It publishes the will without its payload.", "3.1.2-9 3.1.2-8", || {
        will(|packet| packet.set("will_payload", ""))
    }),
    fault(
        "will-cut",
        "It cuts a will's payload at its first zero byte, or else its last byte.",
        "3.1.2-9",
        || {
            will(|packet| {
                packet.map("will_payload", |payload| match payload.iter().position(|byte| *byte == 0) {
                    Some(place) => payload.iter().take(place).copied().collect(),
                    None => payload.split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default(),
                })
            })
        },
    ),
    fault("will-to-other-topic", "It publishes the will under another topic.", "3.1.2-9", || {
        will(|packet| packet.map("will_topic", |topic| [topic, b"/will".as_slice()].concat()))
    }),
    fault("will-empty-missing", "It does not publish a will without a payload.", "3.1.2-8 3.1.2-9", || {
        will(|packet| if packet.text("will_payload").is_empty() { without_will(packet) } else { packet })
    }),
    fault("will-stored", "It stores a will without Will Retain.", "3.1.2-16", || {
        will(|packet| packet.set("will_retain", 1u64))
    }),
    fault("will-not-stored", "It does not store a will with Will Retain.", "3.1.2-17 3.1.2-9", || {
        will(|packet| packet.set("will_retain", 0u64))
    }),
    fault(
        "will-retained-missing",
        "It does not publish a will with Will Retain.",
        "3.1.2-17 3.1.2-8",
        || will(|packet| if packet.get("will_retain") == 1 { without_will(packet) } else { packet }),
    ),
    fault(
        "will-of-clean-sessions-only",
        "It forgets the will of a session that is to be kept.",
        "3.1.2-8",
        || will(|packet| if packet.get("clean") == 0 { without_will(packet) } else { packet }),
    ),
    // DISCONNECT
    fault(
        "disconnect-flags-taken",
        "It does not look at the flags of DISCONNECT.",
        "3.14.1-1 2.2.2-2",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame) if is(frame, Kind::Disconnect) && flags(frame) != 0 => {
                    say_goodbye(hand);
                    None
                }
                _ => Some(event),
            })
        },
    ),
    fault(
        "disconnect-body-taken",
        "It takes a DISCONNECT with a body that it must not have.",
        "4.8.0-1",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame)
                    if is(frame, Kind::Disconnect) && flags(frame) == 0 && frame.packet.is_err() =>
                {
                    say_goodbye(hand);
                    None
                }
                _ => Some(event),
            })
        },
    ),
    fault("disconnect-with-flags-ignored", "It ignores a DISCONNECT with flags.", "3.14.1-1 2.2.2-2", || {
        crate::injector::fault::ignores(|_, frame| is(frame, Kind::Disconnect) && flags(frame) != 0)
    }),
    fault("disconnect-leaves-open", "After DISCONNECT it waits for the client to close.", "3.14.4-3", || {
        Box::new(|hand, event| {
            if matches!(event, Event::BrokerEnd) && hand.link(|link| link.goodbye && !link.is_over()) {
                hand.act();
                return None;
            }
            Some(event)
        })
    }),
    fault(
        "packets-behind-disconnect-taken",
        "It publishes what comes behind DISCONNECT.",
        "3.14.4-3",
        || {
            up(Kind::Publish, |hand, packet| {
                if hand.link(|link| link.goodbye) {
                    hand.publish(&packet);
                }
                vec![packet]
            })
        },
    ),
    fault("will-cut-at-255", "It cuts a will's payload at 255 bytes.", "3.1.2-9", || {
        will(|packet| packet.map("will_payload", |payload| payload.get(..255).unwrap_or(payload).to_vec()))
    }),
    fault("will-cut-at-65534", "It cuts a will's payload at 65,534 bytes.", "3.1.2-9", || {
        will(|packet| packet.map("will_payload", |payload| payload.get(..65_534).unwrap_or(payload).to_vec()))
    }),
    fault(
        "will-late",
        "It publishes the will two seconds after the connection has ended.",
        "3.1.2-8",
        || {
            // The broker learns of the end late.
            Box::new(|hand, event| {
                if is_broken(hand, &event) && hand.link(has_will) {
                    hand.act();
                    hand.close_client();
                    hand.change(|link| link.heard = std::time::Instant::now());
                    let name = format!("late {}", hand.me);
                    hand.note(name, "");
                    return None;
                }
                let is_over = hand.link(|link| link.heard.elapsed().as_millis() as u64) > 2_500;
                if matches!(event, Event::Tick)
                    && is_over
                    && hand.forget(format!("late {}", hand.me)).is_some()
                {
                    hand.close_broker();
                }
                Some(event)
            })
        },
    ),
];
