//! Chapters 3.1 and 3.2 of 5.0: the properties of CONNECT and CONNACK.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, all, body, down, fault_5_0, good, is, refuses, takes, up, wrong,
};
use crate::injector::hand::{Event, Hand};

/// Whether this is a CONNECT with a will.
fn has_will(frame: &Frame) -> bool {
    let flags = body(&frame.bytes).get(7).copied().unwrap_or(0);
    is(frame, Kind::Connect) && flags & 4 != 0
}

/// A CONNECT with this wrong with it is taken: `of_will` in its will, or elsewhere.
fn takes_connect(of_will: bool, what: &'static [&'static str]) -> Meddler {
    takes(move |_, frame| {
        is(frame, Kind::Connect) && has_will(frame) == of_will && what.iter().any(|what| wrong(frame, what))
    })
}

/// CONNACK is changed: if it is one of success, or of refusal.
fn connack(success: bool, change: impl Fn(&Hand<'_>, Packet) -> Packet + Send + 'static) -> Meddler {
    down(Kind::Connack, move |hand, packet| {
        if (packet.get("reason") == 0) == success { vec![change(hand, packet)] } else { vec![packet] }
    })
}

/// What CONNECT said.
fn said(hand: &Hand<'_>, name: &str) -> Option<u64> {
    hand.link(|link| link.connect.as_ref().and_then(|connect| connect.number(name)))
}

/// What CONNACK said.
fn answered(hand: &Hand<'_>, name: &str) -> Option<u64> {
    hand.link(|link| link.connack.as_ref().and_then(|connack| connack.number(name)))
}

/// CONNECT with a will is changed.
fn will(change: fn(Packet) -> Packet) -> Meddler {
    up(
        Kind::Connect,
        move |_, packet| {
            if packet.bytes("will_topic").is_some() { vec![change(packet)] } else { vec![packet] }
        },
    )
}

fn asks_beyond(hand: &Hand<'_>, packet: &Packet) -> bool {
    let most = answered(hand, "maximum_qos").unwrap_or(2);
    packet.all("qos").any(|qos| (most + 1..=2).any(|beyond| *qos == beyond.into()))
}

/// The connections on which the client has sent nothing for a while get a PINGREQ of the fault's own.
fn pings_for(which: fn(&Hand<'_>) -> bool) -> Meddler {
    Box::new(move |hand, event| match &event {
        Event::Tick
            if which(hand)
                && hand.link(|link| link.accepted.is_some() && link.heard.elapsed().as_millis() > 500) =>
        {
            hand.tell_broker(&Packet::new(Kind::Pingreq));
            Some(event)
        }
        Event::Down(frame) if is(frame, Kind::Pingresp) && which(hand) => None,
        _ => Some(event),
    })
}

/// Filters that are changed where the broker has said that it lacks something.
fn where_lacking(name: &'static str, change: fn(Packet) -> Packet) -> Meddler {
    up(
        Kind::Subscribe,
        move |hand, packet| {
            if answered(hand, name) == Some(0) { vec![change(packet)] } else { vec![packet] }
        },
    )
}

fn unshared(filter: &[u8]) -> Vec<u8> {
    match filter.strip_prefix(b"$share/").and_then(|rest| {
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        rest.get(slash + 1..)
    }) {
        Some(inner) => inner.to_vec(),
        None => filter.to_vec(),
    }
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0(
        "connect-property-twice-taken",
        "It takes a CONNECT with a property twice.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &[" twice"]),
    ),
    fault_5_0(
        "session-expiry-twice-taken",
        "It takes two Session Expiry Intervals.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &["session_expiry twice"]),
    ),
    fault_5_0(
        "will-property-twice-taken",
        "It takes a will with a property twice.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(true, &[" twice"]),
    ),
    fault_5_0("receive-maximum-0-taken", "It takes Receive Maximum 0.", "3.1.4-1 4.13.1-1", || {
        takes_connect(false, &["receive_maximum 0"])
    }),
    fault_5_0("maximum-packet-size-0-taken", "It takes Maximum Packet Size 0.", "3.1.4-1 4.13.1-1", || {
        takes_connect(false, &["maximum_packet_size 0"])
    }),
    fault_5_0("request-for-information-2-taken", "It takes 2 where 0 and 1 are.", "3.1.4-1 4.13.1-1", || {
        takes_connect(false, &["neither 0 nor 1"])
    }),
    fault_5_0(
        "authentication-data-without-method-taken",
        "It takes Authentication Data without a method.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &["without authentication_method"]),
    ),
    fault_5_0(
        "will-response-topic-with-a-wildcard-taken",
        "It takes a will's Response Topic with a wildcard.",
        "3.3.2-14 3.1.4-1",
        || takes_connect(true, &["a wildcard in"]),
    ),
    fault_5_0(
        "will-property-not-utf8-taken",
        "It does not look at texts of wills.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(true, &["content_type is not UTF-8", "content_type contains", "user_property"]),
    ),
    fault_5_0(
        "connect-user-property-not-text-taken",
        "It does not look at the texts of User Properties.",
        "1.5.7-1 1.5.4-1 1.5.4-2 3.1.4-1",
        || takes_connect(false, &["user_property is not", "user_property contains"]),
    ),
    fault_5_0(
        "connect-property-of-another-packet-taken",
        "It takes a CONNECT with a property of another packet.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &["must not have"]),
    ),
    fault_5_0(
        "connect-property-that-is-none-taken",
        "It leaves out properties that it does not know.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &["which there is not"]),
    ),
    fault_5_0(
        "will-property-of-another-packet-taken",
        "It takes a will with a property that wills have not.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(true, &["must not have", "which there is not"]),
    ),
    fault_5_0(
        "connect-properties-that-are-cut-taken",
        "It takes properties that end too early.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(false, &["it ends within"]),
    ),
    fault_5_0(
        "will-properties-that-are-cut-taken",
        "It takes a will's properties that end too early.",
        "3.1.4-1 4.13.1-1",
        || takes_connect(true, &["it ends within"]),
    ),
    fault_5_0(
        "connect-refused-for-a-user-property",
        "It closes on a CONNECT with User Properties.",
        "3.1.4-5",
        || refuses(|_, packet| packet.kind == Kind::Connect && packet.bytes("user_property").is_some()),
    ),
    fault_5_0(
        "connect-refused-for-a-property-it-lacks",
        "It closes on a CONNECT that asks for Response Information.",
        "3.1.4-5",
        || {
            refuses(|_, packet| {
                packet.kind == Kind::Connect && packet.get("request_response_information") == 1
            })
        },
    ),
    fault_5_0(
        "password-without-user-name-refused",
        "It closes on a password without a user name, as in 3.1.1.",
        "3.1.2-16 3.1.2-19",
        || {
            refuses(|_, packet| {
                packet.kind == Kind::Connect
                    && packet.bytes("password").is_some()
                    && packet.bytes("username").is_none()
            })
        },
    ),
    // CONNACK
    fault_5_0(
        "assigned-id-not-said",
        "It does not say which identifier it assigns.",
        "3.1.3-7 3.2.2-16",
        || connack(true, |_, packet| packet.without("assigned_client_id")),
    ),
    fault_5_0(
        "assigned-id-is-not-used",
        "The session has another identifier than it says.",
        "3.1.3-7",
        || connack(true, |_, packet| packet.map("assigned_client_id", |id| [id, b"x".as_slice()].concat())),
    ),
    fault_5_0(
        "assigned-id-for-everybody",
        "It assigns an identifier to who has one.",
        "3.1.3-7 3.1.4-5",
        || {
            connack(true, |hand, packet| {
                let id = hand.link(|link| link.client_id());
                if id.is_empty() { packet } else { packet.with("assigned_client_id", id) }
            })
        },
    ),
    fault_5_0(
        "response-information-unasked",
        "It gives Response Information to who does not ask.",
        "3.1.2-28",
        || {
            connack(true, |hand, packet| match said(hand, "request_response_information") {
                Some(1) => packet,
                _ => packet.set("response_information", "r/"),
            })
        },
    ),
    fault_5_0(
        "response-information-although-0",
        "It gives Response Information to who says 0.",
        "3.1.2-28",
        || {
            connack(true, |hand, packet| match said(hand, "request_response_information") {
                Some(0) => packet.set("response_information", "r/"),
                _ => packet,
            })
        },
    ),
    fault_5_0("response-information-is-empty", "Its Response Information is of no use.", "3.1.2-28", || {
        connack(true, |_, packet| {
            if packet.bytes("response_information").is_some() {
                packet.set("response_information", "")
            } else {
                packet
            }
        })
    }),
    fault_5_0(
        "authentication-method-unasked",
        "Its CONNACK has an authentication method although CONNECT has none.",
        "4.12.0-6",
        || {
            connack(true, |hand, packet| {
                let asked = hand.link(|link| {
                    link.connect.as_ref().is_some_and(|it| it.bytes("authentication_method").is_some())
                });
                if asked { packet } else { packet.set("authentication_method", "SCRAM-SHA-256") }
            })
        },
    ),
    fault_5_0("connack-again-later", "It sends another CONNACK behind the first answer.", "3.2.0-2", || {
        down(Kind::Suback, |hand, packet| {
            let connack = hand.link(|link| link.connack.clone());
            [Some(packet), connack].into_iter().flatten().collect()
        })
    }),
    fault_5_0("connack-again-with-the-queue", "It sends CONNACK twice to who returns.", "3.2.0-2", || {
        down(Kind::Connack, |_, packet| {
            if packet.get("session_present") == 1 { vec![packet.clone(), packet] } else { vec![packet] }
        })
    }),
    fault_5_0("connack-with-another-flag", "It sets bit 1 of the acknowledge flags.", "3.2.2-1", || {
        Box::new(|hand, event| match event {
            Event::Down(frame) if good(&frame, Kind::Connack, |packet| packet.get("reason") == 0) => {
                let mut bytes = frame.bytes;
                if let Some(flags) = bytes.get_mut(2) {
                    *flags |= 2;
                }
                hand.tell_client_bytes(bytes);
                None
            }
            other => Some(other),
        })
    }),
    fault_5_0("connack-code-of-suback", "It lets in with code 1.", "3.2.2-8 3.1.4-5", || {
        connack(true, |_, packet| packet.set("reason", 1u64))
    }),
    fault_5_0("refusal-of-3-1-1", "It refuses with a code of 3.1.1.", "3.2.2-8", || {
        connack(false, |_, packet| packet.set("reason", 5u64))
    }),
    fault_5_0(
        "refusal-says-too-much",
        "Its CONNACK has a Reason String, whatever the client takes.",
        "3.2.2-19 3.1.2-24",
        || connack(false, |_, packet| packet.set("reason_string", "you are not welcome here")),
    ),
    fault_5_0(
        "refusal-tells-too-much",
        "Its CONNACK has a User Property, whatever the client takes.",
        "3.2.2-20 3.1.2-24",
        || connack(false, |_, packet| packet.with("user_property", "you=are not welcome")),
    ),
    fault_5_0("success-says-too-much", "CONNACK greets whoever comes.", "3.2.2-19 3.1.2-24", || {
        connack(true, |_, packet| packet.set("reason_string", "welcome ".repeat(8).as_str()))
    }),
    fault_5_0("success-tells-too-much", "CONNACK tells whoever comes.", "3.2.2-20 3.1.2-24", || {
        connack(true, |_, packet| {
            packet.with("user_property", ["news=", &"welcome ".repeat(8)].concat().as_str())
        })
    }),
    fault_5_0(
        "server-keep-alive-not-kept",
        "It keeps connections for longer than it says.",
        "3.1.2-22",
        || pings_for(|hand| answered(hand, "server_keep_alive").is_some()),
    ),
    fault_5_0("server-keep-alive-not-said", "It does not say its keep alive.", "3.1.2-21 3.2.2-21", || {
        connack(true, |_, packet| packet.without("server_keep_alive"))
    }),
    fault_5_0(
        "keep-alive-of-its-own",
        "It has a keep alive of its own and does not say so.",
        "3.2.2-22 3.1.2-22",
        || pings_for(|hand| said(hand, "keep_alive").is_some_and(|limit| limit <= 2)),
    ),
    fault_5_0("maximum-qos-not-said", "It lacks a QoS and does not say so.", "3.2.2-9", || {
        connack(true, |_, packet| packet.without("maximum_qos"))
    }),
    fault_5_0(
        "qos-beyond-the-maximum-refused",
        "It refuses subscriptions with a QoS beyond its maximum.",
        "3.2.2-10",
        || {
            all(vec![
                up(Kind::Subscribe, |hand, packet| {
                    if asks_beyond(hand, &packet) {
                        hand.note(format!("beyond {}", hand.me), "");
                    }
                    vec![packet]
                }),
                down(Kind::Suback, |hand, packet| {
                    if hand.forget(format!("beyond {}", hand.me)).is_some() {
                        vec![packet.set("reason", 0x80u64)]
                    } else {
                        vec![packet]
                    }
                }),
            ])
        },
    ),
    fault_5_0(
        "qos-beyond-the-maximum-ends-it",
        "It closes on a subscription with a QoS beyond its maximum.",
        "3.2.2-10",
        || refuses(|hand, packet| packet.kind == Kind::Subscribe && asks_beyond(hand, packet)),
    ),
    fault_5_0(
        "publish-beyond-the-maximum-qos-taken",
        "It takes a PUBLISH beyond its Maximum QoS.",
        "3.2.2-11 4.13.1-1",
        || takes(|hand, frame| good(frame, Kind::Publish, |packet| asks_beyond(hand, packet))),
    ),
    fault_5_0("will-beyond-the-maximum-qos-taken", "It takes a will with any QoS.", "3.2.2-12", || {
        will(|packet| packet.set("will_qos", 0u64))
    }),
    fault_5_0("retained-will-taken", "It takes a retained will without retaining any.", "3.2.2-13", || {
        will(|packet| packet.set("will_retain", 0u64))
    }),
    fault_5_0(
        "will-where-no-retain-refused",
        "It refuses every will where it retains nothing.",
        "3.2.2-13 3.2.2-12",
        || {
            refuses(|_, packet| {
                packet.kind == Kind::Connect
                    && packet.bytes("will_topic").is_some()
                    && packet.get("will_retain") == 0
            })
        },
    ),
    fault_5_0(
        "retained-message-taken-without-retain",
        "It takes a retained message although it retains none.",
        "3.2.2-14 4.13.1-1",
        || {
            takes(|hand, frame| {
                answered(hand, "retain_available") == Some(0)
                    && good(frame, Kind::Publish, |packet| packet.get("retain") == 1)
            })
        },
    ),
    fault_5_0(
        "wildcard-taken-where-there-are-none",
        "Wildcards work although it says that they do not.",
        "4.13.1-1 3.9.3-2",
        || {
            where_lacking("wildcard_available", |packet| {
                packet.map("topic", |filter| match filter {
                    [start @ .., b'+' | b'#'] => [start, b"b".as_slice()].concat(),
                    other => other.to_vec(),
                })
            })
        },
    ),
    fault_5_0(
        "shared-filter-taken-where-there-are-none",
        "It takes a shared subscription for an ordinary one where there are none.",
        "4.13.1-1 3.9.3-2",
        || where_lacking("shared_available", |packet| packet.map("topic", unshared)),
    ),
    fault_5_0(
        "subscription-id-left-out-where-there-are-none",
        "It leaves out a subscription identifier where there are none.",
        "4.13.1-1 3.9.3-2",
        || where_lacking("subscription_id_available", |packet| packet.without("subscription_id")),
    ),
];
