//! Chapters 3.4 to 3.7 and 4.4 of 5.0: what acknowledgements say, from both sides.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, ack, all, down, down_set, fault_5_0, ignores, is, refuses, up,
};
use crate::injector::hand::Hand;

/// Bytes of an acknowledgement with nothing but an identifier.
const SHORT: usize = 4;

/// The broker does not understand an acknowledgement that says more than its identifier.
fn short_only(kind: Kind) -> Meddler {
    ignores(move |_, frame: &Frame| is(frame, kind) && frame.bytes.len() > SHORT)
}

/// A refusal from a client: it is replaced.
fn refusal(kind: Kind, change: fn(Packet) -> Vec<Packet>) -> Meddler {
    up(kind, move |_, packet| if packet.get("reason") >= 0x80 { change(packet) } else { vec![packet] })
}

/// What an acknowledgement says beyond its code, in 300 bytes.
fn says(kind: Kind, name: &'static str) -> Meddler {
    let text = if name == "user_property" { format!("why={}", "x".repeat(300)) } else { "x".repeat(300) };
    down(kind, move |_, packet| vec![packet.with(name, text.as_str())])
}

/// Whether the client wants no problem information.
fn wants_none(hand: &Hand<'_>) -> bool {
    let wants = hand
        .link(|link| link.connect.as_ref().and_then(|connect| connect.number("request_problem_information")));
    wants == Some(0)
}

/// Who wants no problem information gets some in these packets.
fn informs(kind: Kind, name: &'static str) -> Meddler {
    down(
        kind,
        move |hand, packet| {
            if wants_none(hand) { vec![packet.with(name, "a=b")] } else { vec![packet] }
        },
    )
}

/// The name of an identifier of this client.
fn id_of(hand: &Hand<'_>, packet: &Packet) -> Vec<u8> {
    [b"id".to_vec(), hand.link(|link| link.client_id()), packet.get("id").to_string().into_bytes()].join(&0)
}

/// Takes note of the QoS 2 messages of this client.
fn knowing(rest: Meddler) -> Meddler {
    all(vec![
        up(Kind::Publish, |hand, packet| {
            if packet.get("qos") == 2 {
                hand.note(id_of(hand, &packet), "");
            }
            vec![packet]
        }),
        rest,
    ])
}

pub(super) const FAULTS: &[Fault] = &[
    // Codes
    fault_5_0(
        "puback-says-no-subscribers",
        "PUBACK says that there are no subscribers although there are some.",
        "3.4.2-1",
        || down_set(Kind::Puback, "reason", 0x10u64),
    ),
    fault_5_0(
        "pubrec-says-no-subscribers",
        "PUBREC says that there are no subscribers although there are some.",
        "3.5.2-1",
        || down_set(Kind::Pubrec, "reason", 0x10u64),
    ),
    fault_5_0(
        "share-is-no-subscriber",
        "It says that there are no subscribers where there is only a share.",
        "3.4.2-1 3.5.2-1",
        || {
            let says = |hand: &mut Hand<'_>, packet: Packet| {
                let has_share = hand
                    .links
                    .values()
                    .any(|link| link.filters.iter().any(|(filter, _)| filter.starts_with(b"$share/")));
                if has_share { vec![packet.set("reason", 0x10u64)] } else { vec![packet] }
            };
            all(vec![down(Kind::Puback, says), down(Kind::Pubrec, says)])
        },
    ),
    fault_5_0("puback-refuses-and-delivers", "PUBACK refuses what is delivered.", "4.3.2-4 3.4.2-1", || {
        down_set(Kind::Puback, "reason", 0x80u64)
    }),
    fault_5_0("pubrec-refuses-and-delivers", "PUBREC refuses what is delivered.", "4.3.3-8 3.5.2-1", || {
        down_set(Kind::Pubrec, "reason", 0x97u64)
    }),
    fault_5_0("puback-with-a-code-of-others", "PUBACK has a code of PUBREL's.", "3.4.2-1", || {
        down_set(Kind::Puback, "reason", 0x92u64)
    }),
    fault_5_0("pubrec-with-a-code-of-others", "PUBREC has a code of SUBACK's.", "3.5.2-1", || {
        down_set(Kind::Pubrec, "reason", 1u64)
    }),
    fault_5_0("pubrel-with-a-code-of-others", "PUBREL has a code of PUBACK's.", "3.6.2-1", || {
        down_set(Kind::Pubrel, "reason", 0x10u64)
    }),
    fault_5_0("pubcomp-with-a-code-of-others", "PUBCOMP has a code of PUBACK's.", "3.7.2-1", || {
        down_set(Kind::Pubcomp, "reason", 0x80u64)
    }),
    fault_5_0(
        "pubrel-says-not-found",
        "PUBREL says that its own identifier is not found.",
        "3.6.2-1 4.3.3-4",
        || down_set(Kind::Pubrel, "reason", 0x92u64),
    ),
    fault_5_0(
        "pubcomp-says-not-found",
        "PUBCOMP says that a good identifier is not found.",
        "3.7.2-1 4.3.3-11",
        || down_set(Kind::Pubcomp, "reason", 0x92u64),
    ),
    fault_5_0(
        "no-subscribers-never-said",
        "It does not say that there are no subscribers.",
        "3.4.2-1 3.5.2-1",
        || all(vec![down_set(Kind::Puback, "reason", 0u64), down_set(Kind::Pubrec, "reason", 0u64)]),
    ),
    fault_5_0(
        "not-found-never-said",
        "It does not say that an identifier is not found.",
        "3.6.2-1 3.7.2-1",
        || all(vec![down_set(Kind::Pubrel, "reason", 0u64), down_set(Kind::Pubcomp, "reason", 0u64)]),
    ),
    fault_5_0(
        "unknown-pubrel-not-answered",
        "It does not answer PUBREL for an identifier that it does not know.",
        "4.3.3-11 3.7.2-1",
        || {
            knowing(up(Kind::Pubrel, |hand, packet| {
                if hand.noted(id_of(hand, &packet)).is_some() { vec![packet] } else { vec![] }
            }))
        },
    ),
    fault_5_0(
        "unknown-pubrel-ends-it",
        "It closes on PUBREL for an identifier that it does not know.",
        "4.3.3-11 3.7.2-1",
        || {
            knowing(refuses(|hand, packet| {
                packet.kind == Kind::Pubrel && hand.noted(id_of(hand, packet)).is_none()
            }))
        },
    ),
    fault_5_0(
        "unknown-pubrel-answered-for-another",
        "It answers PUBREL for an unknown identifier with that identifier plus one.",
        "2.2.1-5 4.3.3-11",
        || {
            knowing(down(Kind::Pubcomp, |hand, packet| {
                let id = packet.get("id");
                if hand.noted(id_of(hand, &packet)).is_some() {
                    vec![packet]
                } else {
                    vec![packet.set("id", id % 65535 + 1)]
                }
            }))
        },
    ),
    // Forms
    fault_5_0("long-puback-not-understood", "It ignores PUBACK with a code.", "4.3.2-3", || {
        short_only(Kind::Puback)
    }),
    fault_5_0("long-pubrec-not-understood", "It ignores PUBREC with a code.", "4.3.3-4", || {
        short_only(Kind::Pubrec)
    }),
    fault_5_0("long-pubrel-not-understood", "It ignores PUBREL with a code.", "4.3.3-11", || {
        short_only(Kind::Pubrel)
    }),
    fault_5_0("long-pubcomp-not-understood", "It ignores PUBCOMP with a code.", "4.3.3-5", || {
        short_only(Kind::Pubcomp)
    }),
    fault_5_0("puback-with-properties-ends-it", "It closes on PUBACK with properties.", "4.3.2-3", || {
        refuses(|_, packet| packet.kind == Kind::Puback && packet.bytes("user_property").is_some())
    }),
    // Refusals of the client
    fault_5_0("refusing-puback-does-not-count", "A message refused by PUBACK stays open.", "4.4.0-2", || {
        refusal(Kind::Puback, |_| vec![])
    }),
    fault_5_0("refusing-pubrec-does-not-count", "A message refused by PUBREC stays open.", "4.4.0-2", || {
        refusal(Kind::Pubrec, |_| vec![])
    }),
    fault_5_0(
        "refusing-pubrec-is-answered",
        "It answers a refusing PUBREC by PUBREL.",
        "4.3.3-4 4.4.0-2 4.9.0-2",
        || refusal(Kind::Pubrec, |packet| vec![packet.without("reason_string").set("reason", 0u64)]),
    ),
    fault_5_0("refusal-ends-it", "It closes when a message is refused.", "4.4.0-2", || {
        refuses(|_, packet| {
            matches!(packet.kind, Kind::Puback | Kind::Pubrec) && packet.get("reason") >= 0x80
        })
    }),
    fault_5_0(
        "quota-refusal-does-not-count",
        "A message refused by Quota exceeded is sent again.",
        "4.4.0-2",
        || {
            let is_quota = |packet: Packet| if packet.get("reason") == 0x97 { vec![] } else { vec![packet] };
            all(vec![refusal(Kind::Puback, is_quota), refusal(Kind::Pubrec, is_quota)])
        },
    ),
    fault_5_0(
        "refusal-is-of-everything",
        "With one message it gives up all open ones.",
        "4.4.0-2 4.4.0-1",
        || {
            all(vec![
                up(Kind::Pubrec, |hand, packet| {
                    if packet.get("reason") >= 0x80 {
                        hand.note("refused", "");
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    let is_lost = packet.get("dup") == 1 && hand.noted("refused").is_some();
                    if is_lost { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault_5_0(
        "refusing-pubcomp-does-not-count",
        "PUBCOMP with Packet Identifier not found does not end the handshake.",
        "4.3.3-5 3.7.2-1 4.9.0-2",
        || up(Kind::Pubcomp, |_, packet| if packet.get("reason") == 0x92 { vec![] } else { vec![packet] }),
    ),
    fault_5_0(
        "refused-identifier-stays-taken",
        "After its own refusal it takes the next message with that identifier for a repeat.",
        "4.3.3-9",
        || {
            all(vec![
                down(Kind::Pubrec, |hand, packet| {
                    if packet.get("reason") >= 0x80 {
                        hand.note(id_of(hand, &packet), "");
                    }
                    vec![packet]
                }),
                up(Kind::Publish, |hand, packet| {
                    if packet.get("qos") == 2 && hand.noted(id_of(hand, &packet)).is_some() {
                        hand.tell_client(&ack(Kind::Pubrec, packet.get("id")));
                        return vec![];
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault_5_0(
        "identifier-free-after-pubrec",
        "The identifier of a delivery is free when PUBREC has come.",
        "2.2.1-4 4.3.2-1 4.3.3-5",
        || {
            let mut free: Vec<(u64, u64)> = Vec::new();
            let mut swapped: Vec<(u64, u64, u64)> = Vec::new();
            Box::new(move |hand, event| {
                use crate::injector::hand::Event;
                match event {
                    Event::Up(Frame { packet: Ok(packet), bytes }) => {
                        if packet.kind == Kind::Pubrec && packet.get("reason") < 0x80 {
                            free.push((hand.me, packet.get("id")));
                        }
                        let own = (hand.me, packet.get("id"));
                        let place = swapped.iter().rposition(|(me, shown, _)| (*me, *shown) == own);
                        match place.filter(|_| packet.kind == Kind::Puback).map(|place| swapped.remove(place))
                        {
                            Some((_, _, real)) => {
                                hand.on(true, &packet.set("id", real));
                                None
                            }
                            None => Some(Event::Up(Frame { packet: Ok(packet), bytes })),
                        }
                    }
                    Event::Down(Frame { packet: Ok(packet), bytes }) => {
                        let me = hand.me;
                        let is_new = packet.kind == Kind::Publish && packet.get("qos") == 1;
                        match free.iter().position(|(owner, _)| *owner == me).filter(|_| is_new) {
                            Some(place) => {
                                let (_, id) = free.remove(place);
                                swapped.push((me, id, packet.get("id")));
                                hand.act();
                                hand.on(false, &packet.set("id", id));
                                None
                            }
                            None => Some(Event::Down(Frame { packet: Ok(packet), bytes })),
                        }
                    }
                    other => Some(other),
                }
            })
        },
    ),
    // What they say beside
    fault_5_0(
        "puback-says-too-much",
        "PUBACK has a long reason string, whatever the client takes.",
        "3.4.2-2",
        || says(Kind::Puback, "reason_string"),
    ),
    fault_5_0(
        "puback-tells-too-much",
        "PUBACK has a long user property, whatever the client takes.",
        "3.4.2-3",
        || says(Kind::Puback, "user_property"),
    ),
    fault_5_0(
        "pubrec-says-too-much",
        "PUBREC has a long reason string, whatever the client takes.",
        "3.5.2-2",
        || says(Kind::Pubrec, "reason_string"),
    ),
    fault_5_0(
        "pubrec-tells-too-much",
        "PUBREC has a long user property, whatever the client takes.",
        "3.5.2-3",
        || says(Kind::Pubrec, "user_property"),
    ),
    fault_5_0(
        "pubrel-says-too-much",
        "PUBREL has a long reason string, whatever the client takes.",
        "3.6.2-2",
        || says(Kind::Pubrel, "reason_string"),
    ),
    fault_5_0(
        "pubrel-tells-too-much",
        "PUBREL has a long user property, whatever the client takes.",
        "3.6.2-3",
        || says(Kind::Pubrel, "user_property"),
    ),
    fault_5_0(
        "pubcomp-says-too-much",
        "PUBCOMP has a long reason string, whatever the client takes.",
        "3.7.2-2",
        || says(Kind::Pubcomp, "reason_string"),
    ),
    fault_5_0(
        "pubcomp-tells-too-much",
        "PUBCOMP has a long user property, whatever the client takes.",
        "3.7.2-3",
        || says(Kind::Pubcomp, "user_property"),
    ),
    fault_5_0(
        "puback-informs-unasked",
        "PUBACK has a reason string that the client did not want.",
        "3.1.2-29",
        || informs(Kind::Puback, "reason_string"),
    ),
    fault_5_0(
        "pubrec-informs-unasked",
        "PUBREC has a reason string that the client did not want.",
        "3.1.2-29",
        || informs(Kind::Pubrec, "reason_string"),
    ),
    fault_5_0(
        "pubrel-informs-unasked",
        "PUBREL has a user property that the client did not want.",
        "3.1.2-29",
        || informs(Kind::Pubrel, "user_property"),
    ),
    fault_5_0(
        "pubcomp-informs-unasked",
        "PUBCOMP has a user property that the client did not want.",
        "3.1.2-29",
        || informs(Kind::Pubcomp, "user_property"),
    ),
    fault_5_0(
        "suback-informs-unasked",
        "SUBACK has a user property that the client did not want.",
        "3.1.2-29",
        || informs(Kind::Suback, "user_property"),
    ),
];
