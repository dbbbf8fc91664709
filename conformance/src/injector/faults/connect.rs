//! Chapters 3.1 and 3.2: CONNECT taken and refused, CONNACK.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, DOWN, Fault, Meddler, answer, body, down, fault, good, ignores, is, refuses, takes, up, wrong,
};
use crate::injector::hand::{Event, Hand};

/// The connect flags, if the frame is a CONNECT that has them.
fn connect_flags(frame: &Frame) -> Option<u8> {
    let body = is(frame, Kind::Connect).then(|| body(&frame.bytes))?;
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    body.get(length + 3).copied()
}

/// The broker takes a CONNECT with such flags.
fn takes_connect_flags(which: fn(u8) -> bool) -> Meddler {
    takes(move |_, frame| connect_flags(frame).is_some_and(which))
}

/// The broker takes a CONNECT with such fields.
fn takes_connect(which: fn(&Packet) -> bool) -> Meddler {
    takes(move |_, frame| good(frame, Kind::Connect, which))
}

/// The broker takes a packet of this kind before CONNECT.
fn takes_first(kind: Kind) -> Meddler {
    takes(move |hand, frame| is(frame, kind) && hand.link(|link| link.connect.is_none() && link.sent == 1))
}

/// CONNACK with a code other than 0 is changed.
fn refusal(change: fn(&Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    down(
        Kind::Connack,
        move |hand, packet| {
            if packet.get("reason") > 0 { change(hand, packet) } else { vec![packet] }
        },
    )
}

/// CONNACK with code 0 is changed.
fn acceptance(change: fn(&Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    down(
        Kind::Connack,
        move |hand, packet| {
            if packet.get("reason") == 0 { change(hand, packet) } else { vec![packet] }
        },
    )
}

const HAS_USER_NAME: u8 = 0x80;
const HAS_PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const HAS_WILL: u8 = 0x04;

/// The broker takes a CONNECT with such a protocol name.
fn takes_protocol(which: fn(&[u8]) -> bool) -> Meddler {
    takes(move |_, frame| opening(frame).is_some_and(|(name, _)| which(name)))
}

/// The broker takes a CONNECT with such a protocol level.
fn takes_level(which: fn(u8) -> bool) -> Meddler {
    takes(move |_, frame| opening(frame).is_some_and(|(name, level)| name == b"MQTT" && which(level)))
}

/// Protocol name and level, if the frame is a CONNECT: what follows depends on them.
fn opening(frame: &Frame) -> Option<(&[u8], u8)> {
    let body = is(frame, Kind::Connect).then(|| body(&frame.bytes))?;
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    Some((body.get(2..2 + length)?, *body.get(2 + length)?))
}

fn needs_an_id(packet: &Packet) -> bool {
    packet.text("client_id").is_empty() && packet.get("clean") == 0
}

/// Whether no broker takes it: in 3.1.1 without an identifier, in 5.0 with a method that there is not.
fn is_hopeless(packet: &Packet) -> bool {
    match packet.bytes("authentication_method") {
        Some(method) => !method.starts_with(b"SCRAM"),
        None => needs_an_id(packet),
    }
}

/// The broker refuses client identifiers like this, with code 2 or 0x85.
fn refuses_id(which: fn(&[u8]) -> bool) -> Meddler {
    Box::new(move |hand, event| match &event {
        Event::Up(frame) if good(frame, Kind::Connect, |packet| which(&packet.text("client_id"))) => {
            hand.tell_client(&Packet::new(Kind::Connack).with("reason", hand.code(2, 0x85)));
            hand.close();
            None
        }
        _ => Some(event),
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault("publish-before-connect-taken", "It takes a PUBLISH before CONNECT.", "3.1.0-1", || {
        ignores(|hand, frame| is(frame, Kind::Publish) && hand.link(|link| link.connect.is_none()))
    }),
    fault("subscribe-before-connect-taken", "It answers a SUBSCRIBE before CONNECT.", "3.1.0-1", || {
        takes_first(Kind::Subscribe)
    }),
    fault("pingreq-before-connect-taken", "It answers a PINGREQ before CONNECT.", "3.1.0-1", || {
        takes_first(Kind::Pingreq)
    }),
    fault("disconnect-before-connect-ignored", "It ignores a DISCONNECT before CONNECT.", "3.1.0-1", || {
        takes_first(Kind::Disconnect)
    }),
    fault("second-connect-ignored", "It ignores a second CONNECT.", "3.1.0-2", || {
        ignores(|hand, frame| is(frame, Kind::Connect) && hand.link(|link| link.sent > 1))
    }),
    fault("second-connect-answered", "It answers a second CONNECT.", "3.1.0-2", || {
        takes(|hand, frame| is(frame, Kind::Connect) && hand.link(|link| link.sent > 1))
    }),
    fault("protocol-name-taken", "It takes any protocol name.", "3.1.2-1", || {
        takes_protocol(|name| name != b"MQTT")
    }),
    fault("level-taken", "It takes any protocol level.", "3.1.2-2", || {
        takes_level(|level| !matches!(level, 4 | 5))
    }),
    fault("level-refused-by-other-code", "It refuses an unknown level by code 5.", "3.1.2-2", || {
        refusal(|hand, packet| {
            let is_level = packet.get("reason") == hand.code(1, 0x84);
            vec![if is_level { packet.set("reason", hand.code(5, 0x87)) } else { packet }]
        })
    }),
    fault("level-refused-by-closing", "It closes on an unknown level without CONNACK.", "3.1.2-2", || {
        refusal(|_, packet| if packet.get("reason") == 1 { vec![] } else { vec![packet] })
    })
    .not_in_5_0(),
    fault("reserved-flag-taken", "It does not look at the reserved connect flag.", "3.1.2-3 3.1.4-1", || {
        takes_connect_flags(|flags| flags & 1 != 0)
    }),
    fault(
        "will-qos-without-will-taken",
        "It takes a will QoS without a will.",
        "3.1.2-13 3.1.2-11 3.1.4-1",
        || takes_connect_flags(|flags| flags & HAS_WILL == 0 && flags & WILL_QOS != 0),
    ),
    fault(
        "will-retain-without-will-taken",
        "It takes Will Retain without a will.",
        "3.1.2-15 3.1.2-11 3.1.4-1",
        || takes_connect_flags(|flags| flags & HAS_WILL == 0 && flags & WILL_RETAIN != 0),
    ),
    fault("will-qos-3-taken", "It takes will QoS 3.", "3.1.2-14 3.1.4-1", || {
        takes_connect_flags(|flags| flags & WILL_QOS == WILL_QOS)
    }),
    fault(
        "will-fields-without-flag-taken",
        "It skips a will that no flag announces.",
        "3.1.2-11 3.1.4-1",
        || {
            takes(|_, frame| {
                wrong(frame, "too many")
                    && connect_flags(frame).is_some_and(|flags| flags & (HAS_WILL | HAS_USER_NAME) == 0)
            })
        },
    ),
    fault(
        "will-flag-without-fields-taken",
        "It takes a Will Flag without a will.",
        "3.1.2-9 3.1.4-1",
        || takes(|_, frame| is(frame, Kind::Connect) && wrong(frame, "it ends within the will")),
    ),
    fault(
        "user-name-without-flag-taken",
        "It skips a user name that no flag announces.",
        "3.1.2-18 3.1.4-1",
        || {
            takes(|_, frame| {
                wrong(frame, "too many")
                    && connect_flags(frame).is_some_and(|flags| flags & HAS_USER_NAME == 0)
            })
        },
    ),
    fault(
        "user-name-flag-without-field-taken",
        "It takes a User Name Flag without a user name.",
        "3.1.2-19 3.1.4-1",
        || takes(|_, frame| is(frame, Kind::Connect) && wrong(frame, "it ends within the user name")),
    ),
    fault(
        "password-without-flag-taken",
        "It skips a password that no flag announces.",
        "3.1.2-20 3.1.4-1",
        || {
            takes(|_, frame| {
                wrong(frame, "too many")
                    && connect_flags(frame)
                        .is_some_and(|flags| flags & (HAS_USER_NAME | HAS_PASSWORD) == HAS_USER_NAME)
            })
        },
    ),
    fault(
        "password-flag-without-field-taken",
        "It takes a Password Flag without a password.",
        "3.1.2-21 3.1.4-1",
        || takes(|_, frame| is(frame, Kind::Connect) && wrong(frame, "it ends within the password")),
    ),
    fault(
        "password-without-user-name-taken",
        "It takes a password without a user name.",
        "3.1.2-22 3.1.4-1",
        || takes_connect_flags(|flags| flags & (HAS_USER_NAME | HAS_PASSWORD) == HAS_PASSWORD),
    )
    .not_in_5_0(),
    fault("user-name-refused", "It refuses CONNECT with a user name.", "3.1.2-19 3.1.2-21 3.1.4-4", || {
        refuses(|_, packet| packet.kind == Kind::Connect && packet.bytes("username").is_some())
    }),
    fault(
        "malformed-connect-gets-connack",
        "It answers a malformed CONNECT by CONNACK before it closes.",
        "3.1.4-1",
        || {
            Box::new(|hand, event| {
                match &event {
                    Event::Up(frame) if is(frame, Kind::Connect) => hand.note(format!("{}", hand.me), ""),
                    Event::Down(_) => {
                        hand.forget(format!("{}", hand.me));
                    }
                    Event::BrokerEnd if hand.forget(format!("{}", hand.me)).is_some() => {
                        hand.tell_client(&Packet::new(Kind::Connack).with("reason", 2u64));
                    }
                    _ => {}
                }
                Some(event)
            })
        },
    )
    .not_in_5_0(),
    // Client identifiers
    fault(
        "client-id-over-20-refused",
        "It refuses client identifiers of more than 20 bytes.",
        "3.1.3-5",
        || refuses_id(|id| id.len() > 20),
    ),
    fault(
        "client-id-upper-case-refused",
        "It refuses client identifiers with capital letters.",
        "3.1.3-5",
        || refuses_id(|id| id.iter().any(u8::is_ascii_uppercase)),
    ),
    fault(
        "client-id-over-23-refused",
        "It refuses client identifiers of more than 23 bytes, as it may.",
        "3.1.3-5",
        || refuses_id(|id| id.len() > 23),
    ),
    fault("client-id-empty-refused", "It refuses empty client identifiers, as it may.", "3.1.3-6", || {
        refuses_id(<[u8]>::is_empty)
    }),
    fault("client-id-empty-shared", "All clients with an empty identifier are one.", "3.1.3-6", || {
        up(Kind::Connect, |_, packet| {
            if packet.text("client_id").is_empty() {
                vec![packet.set("client_id", "empty")]
            } else {
                vec![packet]
            }
        })
    }),
    fault(
        "client-id-empty-with-session-taken",
        "It takes an empty client identifier with CleanSession 0.",
        "3.1.3-8",
        || takes_connect(needs_an_id),
    )
    .not_in_5_0(),
    fault(
        "client-id-empty-other-code",
        "It refuses an empty client identifier by code 5.",
        "3.1.3-8 3.1.3-9",
        || {
            refusal(|_, packet| {
                vec![if packet.get("reason") == 2 { packet.set("reason", 5u64) } else { packet }]
            })
        },
    )
    .not_in_5_0(),
    fault(
        "client-id-empty-no-connack",
        "It closes on an empty client identifier without CONNACK.",
        "3.1.3-8 3.1.3-9",
        || refusal(|_, packet| if packet.get("reason") == 2 { vec![] } else { vec![packet] }),
    )
    .not_in_5_0(),
    fault("client-id-case-folded", "Client identifiers that differ by case are one.", "3.1.3-2", || {
        up(Kind::Connect, |_, packet| vec![packet.map("client_id", <[u8]>::to_ascii_lowercase)])
    }),
    fault("client-id-cut", "Of a client identifier it keeps 8 bytes.", "3.1.3-2 3.1.3-5", || {
        up(Kind::Connect, |_, packet| vec![packet.map("client_id", |id| id.get(..8).unwrap_or(id).to_vec())])
    }),
    // Taking over
    fault("take-over-keeps-the-older", "Two connections share a client identifier.", "3.1.4-2", || {
        Box::new(|hand, event| {
            if matches!(event, Event::BrokerEnd) && is_taken_over(hand) {
                hand.act();
                return None;
            }
            Some(event)
        })
    }),
    fault("take-over-refused", "It refuses a client identifier that is in use.", "3.1.4-2", || {
        Box::new(|hand, event| match &event {
            Event::Up(frame) if good(frame, Kind::Connect, |_| true) && is_taken_over(hand) => {
                hand.tell_client(&Packet::new(Kind::Connack).with("reason", hand.code(2, 0x85)));
                hand.close();
                None
            }
            _ => Some(event),
        })
    }),
    fault(
        "take-over-ends-both",
        "When a client identifier is taken over, both connections end.",
        "3.1.4-2",
        || {
            Box::new(|hand, event| {
                let ends = matches!(&event, Event::Down(frame) if good(frame, Kind::Connack, |_| true))
                    && is_taken_over(hand);
                if ends {
                    hand.pass(event);
                    hand.close();
                    return None;
                }
                Some(event)
            })
        },
    ),
    // CONNACK
    fault("connack-missing", "It does not answer CONNECT.", "3.1.4-4", || acceptance(|_, _| vec![])),
    fault("connack-code-5", "It refuses everybody.", "3.1.4-4", || {
        acceptance(|hand, packet| vec![packet.set("reason", hand.code(5, 0x87))])
    }),
    fault("connack-twice", "It sends CONNACK twice.", "3.1.4-4 3.2.0-1", || {
        acceptance(|_, packet| vec![packet.clone(), packet])
    }),
    fault("connack-behind-pingresp", "It sends something before CONNACK.", "3.2.0-1", || {
        acceptance(|_, packet| vec![Packet::new(Kind::Pingresp), packet])
    }),
    fault("connack-behind-the-next", "It sends CONNACK behind the next packet.", "3.2.0-1", || {
        Box::new(|hand, event| match event {
            Event::Down(frame) => {
                let mut held = None;
                let is_first = good(&frame, Kind::Connack, |packet| packet.get("reason") == 0);
                if is_first {
                    hand.change(|link| link.held.extend(frame.packet.clone().ok()));
                    return None;
                }
                hand.change(|link| held = link.held.pop_front());
                hand.pass(Event::Down(frame));
                if let Some(connack) = held {
                    hand.tell_client(&connack);
                }
                None
            }
            Event::Tick => {
                let mut held = None;
                hand.change(|link| held = link.held.pop_front());
                if let Some(connack) = held {
                    hand.on(DOWN, &connack);
                }
                None
            }
            other => Some(other),
        })
    }),
    fault("connack-reserved-bits", "Its CONNACK has reserved bits set.", "3.1.4-4 3.2.0-1", || {
        acceptance(|_, packet| vec![packet.set("session_present", 2u64)])
    }),
    fault("refusal-with-session-present", "Its refusals say Session Present 1.", "3.2.2-4", || {
        refusal(|_, packet| vec![packet.set("session_present", 1u64)])
    }),
    fault("refusal-leaves-open", "It does not close after a refusal.", "3.2.2-5 3.1.2-2 3.1.3-8", || {
        Box::new(|hand, event| {
            if matches!(event, Event::BrokerEnd)
                && hand.link(|link| link.came == 1 && link.accepted.is_none())
            {
                hand.act();
                return None;
            }
            Some(event)
        })
    }),
    fault(
        "packets-behind-refusal-taken",
        "It publishes what comes behind a refused CONNECT.",
        "3.1.4-5",
        || {
            Box::new(|hand, event| {
                if let Event::Up(Frame { packet: Ok(packet), .. }) = &event
                    && packet.kind == Kind::Publish
                    && hand.link(|link| {
                        link.accepted.is_none() && link.connect.as_ref().is_some_and(is_hopeless)
                    })
                {
                    hand.publish(packet);
                }
                Some(event)
            })
        },
    ),
    fault(
        "packets-before-connack-lost",
        "It loses what comes before it has sent CONNACK.",
        "3.1.4-4 3.8.4-1",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame)
                    if hand.link(|link| link.sent > 1 && link.connect.is_some())
                        && answer(&frame.bytes).is_some() =>
                {
                    if hand.link(|link| link.accepted.is_none()) {
                        hand.act();
                        return None;
                    }
                    Some(event)
                }
                _ => Some(event),
            })
        },
    ),
    fault(
        "acknowledgement-before-connect-taken",
        "It ignores acknowledgements before CONNECT.",
        "3.1.0-1",
        || {
            ignores(|hand, frame| {
                let kinds = [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp];
                hand.link(|link| link.connect.is_none()) && kinds.iter().any(|kind| is(frame, *kind))
            })
        },
    ),
    fault(
        "unsubscribe-before-connect-answered",
        "It answers an UNSUBSCRIBE before CONNECT.",
        "3.1.0-1",
        || takes_first(Kind::Unsubscribe),
    ),
    fault("protocol-name-without-case", "It takes the protocol name in small letters.", "3.1.2-1", || {
        takes_protocol(|name| name != b"MQTT" && name.eq_ignore_ascii_case(b"MQTT"))
    }),
    fault("protocol-name-by-beginning", "It takes a protocol name that begins with MQTT.", "3.1.2-1", || {
        takes_protocol(|name| name.len() > 4 && name.starts_with(b"MQTT"))
    }),
    fault("protocol-name-empty-taken", "It takes an empty protocol name.", "3.1.2-1", || {
        takes_protocol(<[u8]>::is_empty)
    }),
    fault("level-0-taken", "It takes protocol level 0.", "3.1.2-2", || takes_level(|level| level == 0)),
    fault("level-below-4-taken", "It takes every protocol level up to 4.", "3.1.2-2", || {
        takes_level(|level| level < 4)
    }),
    fault("level-255-taken", "It takes protocol level 255.", "3.1.2-2", || takes_level(|level| level == 255)),
    fault("client-id-cut-at-23", "Of a client identifier it keeps 23 bytes.", "3.1.3-2", || {
        up(Kind::Connect, |_, packet| vec![packet.map("client_id", |id| id.get(..23).unwrap_or(id).to_vec())])
    }),
];

/// Whether another connection that is open has the same client identifier.
fn is_taken_over(hand: &Hand<'_>) -> bool {
    let id = hand.link(|link| link.client_id());
    hand.others()
        .iter()
        .filter_map(|other| hand.links.get(other))
        .any(|other| other.connect.is_some() && other.client_id() == id)
}
