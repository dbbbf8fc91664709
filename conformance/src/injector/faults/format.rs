//! Chapters 1.5, 2 and 4.8: strings, fixed headers, packets that are none, streams.

use crate::Version;
use crate::frame::decode::{Frame, connect_version};
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, all, body, down, down_set, fault, flags, good, ignores, is, takes, wrong,
};
use crate::injector::hand::{Event, Hand};

/// The broker takes what the decoder finds fault with, in these words.
fn takes_wrong(kind: Kind, what: &'static str) -> Meddler {
    takes(move |_, frame| is(frame, kind) && wrong(frame, what))
}

/// The broker takes packets of this kind with wrong flags.
fn takes_flags(kind: Kind) -> Meddler {
    takes(move |_, frame| is(frame, kind) && flags(frame) != kind.flags())
}

/// The broker takes packets of this kind, which only brokers send.
fn takes_kind(kind: Kind) -> Meddler {
    ignores(move |_, frame| good(frame, kind, |_| true))
}

/// The broker sends packets of this kind with wrong flags.
fn sends_flags(kind: Kind) -> Meddler {
    down_set(kind, "flags", if kind.flags() == 0 { 2u64 } else { 0 })
}

/// The broker sends packets of this kind with another identifier.
fn other_id(kind: Kind) -> Meddler {
    down(kind, |_, packet| {
        let id = packet.get("id");
        vec![packet.set("id", id % 65_535 + 1)]
    })
}

/// The broker sends identifiers of this kind with their bytes in the wrong order.
fn turned_id(kind: Kind) -> Meddler {
    down(kind, |_, packet| {
        let id = packet.get("id");
        vec![packet.set("id", (id & 0xff) << 8 | id >> 8)]
    })
}

/// Whether one of the flags is wrong, and it is this one.
fn has_only_flag(frame: &Frame, bit: u8) -> bool {
    let kind = frame.bytes.first().and_then(|first| Kind::from_first_byte(*first));
    kind.is_some_and(|kind| kind != Kind::Publish && flags(frame) ^ kind.flags() == bit)
}

fn has_bytes(frame: &Frame, bytes: &[u8]) -> bool {
    frame.bytes.windows(bytes.len()).any(|part| part == bytes)
}

/// The broker adds a byte to packets of this kind.
fn too_long(kind: Kind) -> Meddler {
    down_set(kind, "tail", vec![0])
}

/// How long a CONNECT is before the client identifier: in 5.0 without properties.
fn fixed(frame: &Frame) -> usize {
    if connect_version(&frame.bytes) == Some(Version::V5_0) { 11 } else { 10 }
}

/// The connection ended, and it was the broker that ended it.
fn is_thrown_out(hand: &Hand<'_>, event: &Event) -> bool {
    matches!(event, Event::BrokerEnd) && hand.link(|link| !link.goodbye && !link.is_over())
}

pub(super) const FAULTS: &[Fault] = &[
    // 1.5.3 strings
    fault(
        "topic-not-utf8-taken",
        "It takes a PUBLISH whose topic name is not UTF-8.",
        "1.5.3-1 3.3.2-1",
        || takes_wrong(Kind::Publish, "is not UTF-8"),
    ),
    fault("surrogate-taken", "It takes surrogates for characters.", "1.5.3-1", || {
        takes(|_, frame| {
            wrong(frame, "is not UTF-8")
                && frame.bytes.windows(2).any(|two| matches!(two, [0xed, 0xa0..=0xbf]))
        })
    }),
    fault(
        "overlong-taken",
        "It takes characters that are encoded in more bytes than needed.",
        "1.5.3-1",
        || {
            takes(|_, frame| {
                wrong(frame, "is not UTF-8")
                    && frame.bytes.windows(2).any(|two| matches!(two, [0xc0..=0xc1, 0x80..=0xbf]))
            })
        },
    ),
    fault(
        "filter-not-utf8-taken",
        "It takes a SUBSCRIBE whose filter is not UTF-8.",
        "1.5.3-1 3.8.3-1",
        || takes_wrong(Kind::Subscribe, "is not UTF-8"),
    ),
    fault(
        "unsubscribe-not-utf8-taken",
        "It takes an UNSUBSCRIBE whose filter is not UTF-8.",
        "1.5.3-1 3.10.3-1",
        || takes_wrong(Kind::Unsubscribe, "is not UTF-8"),
    ),
    fault(
        "client-id-not-utf8-taken",
        "It takes a client identifier that is not UTF-8.",
        "1.5.3-1 3.1.3-4",
        || takes_wrong(Kind::Connect, "client identifier is not UTF-8"),
    ),
    fault(
        "will-topic-not-utf8-taken",
        "It takes a will topic that is not UTF-8.",
        "1.5.3-1 3.1.3-10",
        || takes_wrong(Kind::Connect, "will topic is not UTF-8"),
    ),
    fault("user-name-not-utf8-taken", "It takes a user name that is not UTF-8.", "1.5.3-1 3.1.3-11", || {
        takes_wrong(Kind::Connect, "user name is not UTF-8")
    }),
    fault("topic-u0000-taken", "It takes U+0000 in a topic name.", "1.5.3-2 4.7.3-2", || {
        takes_wrong(Kind::Publish, "U+0000")
    }),
    fault("filter-u0000-taken", "It takes U+0000 in a filter.", "1.5.3-2 4.7.3-2", || {
        takes_wrong(Kind::Subscribe, "U+0000")
    }),
    fault("unsubscribe-u0000-taken", "It takes U+0000 in a filter to be removed.", "1.5.3-2 4.7.3-2", || {
        takes_wrong(Kind::Unsubscribe, "U+0000")
    }),
    fault("client-id-u0000-taken", "It takes U+0000 in a client identifier.", "1.5.3-2", || {
        takes_wrong(Kind::Connect, "client identifier contains U+0000")
    }),
    fault("will-topic-u0000-taken", "It takes U+0000 in a will topic.", "1.5.3-2 4.7.3-2", || {
        takes_wrong(Kind::Connect, "will topic contains U+0000")
    }),
    fault("user-name-u0000-taken", "It takes U+0000 in a user name.", "1.5.3-2", || {
        takes_wrong(Kind::Connect, "user name contains U+0000")
    }),
    // 2.2.2 flags taken
    fault("connect-flags-taken", "It does not look at the flags of CONNECT.", "2.2.2-2 2.2.2-1", || {
        takes_flags(Kind::Connect)
    }),
    fault("puback-flags-taken", "It does not look at the flags of PUBACK.", "2.2.2-2 4.8.0-1", || {
        takes_flags(Kind::Puback)
    }),
    fault("pubrec-flags-taken", "It does not look at the flags of PUBREC.", "2.2.2-2 4.8.0-1", || {
        takes_flags(Kind::Pubrec)
    }),
    fault("pubrel-flags-taken", "It does not look at the flags of PUBREL.", "2.2.2-2 3.6.1-1", || {
        takes_flags(Kind::Pubrel)
    }),
    fault("pubcomp-flags-taken", "It does not look at the flags of PUBCOMP.", "2.2.2-2 4.8.0-1", || {
        takes_flags(Kind::Pubcomp)
    }),
    fault("subscribe-flags-taken", "It does not look at the flags of SUBSCRIBE.", "2.2.2-2 3.8.1-1", || {
        takes_flags(Kind::Subscribe)
    }),
    fault(
        "unsubscribe-flags-taken",
        "It does not look at the flags of UNSUBSCRIBE.",
        "2.2.2-2 3.10.1-1",
        || takes_flags(Kind::Unsubscribe),
    ),
    fault("pingreq-flags-taken", "It does not look at the flags of PINGREQ.", "2.2.2-2 4.8.0-1", || {
        takes_flags(Kind::Pingreq)
    }),
    // 2.2.2 flags sent
    fault("connack-with-flags", "Its CONNACK has flags.", "2.2.2-1", || sends_flags(Kind::Connack)),
    fault("puback-with-flags", "Its PUBACK has flags.", "2.2.2-1 4.3.2-2", || sends_flags(Kind::Puback)),
    fault("pubrec-with-flags", "Its PUBREC has flags.", "2.2.2-1 4.3.3-2", || sends_flags(Kind::Pubrec)),
    fault("pubrel-without-flags", "Its PUBREL has flags 0000.", "2.2.2-1 3.6.1-1 4.3.3-1", || {
        sends_flags(Kind::Pubrel)
    }),
    fault("pubcomp-with-flags", "Its PUBCOMP has flags.", "2.2.2-1 4.3.3-2", || sends_flags(Kind::Pubcomp)),
    fault("suback-with-flags", "Its SUBACK has flags.", "2.2.2-1 3.8.4-1", || sends_flags(Kind::Suback)),
    fault("unsuback-with-flags", "Its UNSUBACK has flags.", "2.2.2-1 3.10.4-4", || {
        sends_flags(Kind::Unsuback)
    }),
    fault("pingresp-with-flags", "Its PINGRESP has flags.", "2.2.2-1 3.12.4-1", || {
        sends_flags(Kind::Pingresp)
    }),
    // Lengths
    fault("puback-too-long", "Its PUBACK has a third byte.", "4.3.2-2", || too_long(Kind::Puback))
        .not_in_5_0(),
    fault(
        "unsuback-with-codes",
        "Its UNSUBACK has a code too many: in 3.1.1 it has none.",
        "3.10.4-4",
        || too_long(Kind::Unsuback),
    ),
    fault(
        "connack-with-properties",
        "Its CONNACK has a byte too many, in 3.1.1 a length of properties.",
        "3.1.4-4",
        || too_long(Kind::Connack),
    ),
    fault("puback-extra-byte-taken", "It takes a PUBACK with a byte too many.", "4.8.0-1", || {
        takes_wrong(Kind::Puback, "too many")
    }),
    fault("pubrel-extra-byte-taken", "It takes a PUBREL with a byte too many.", "4.8.0-1", || {
        takes_wrong(Kind::Pubrel, "too many")
    }),
    fault("puback-half-id-taken", "It takes a PUBACK with half an identifier.", "4.8.0-1", || {
        takes_wrong(Kind::Puback, "it ends within")
    }),
    fault("pingreq-body-taken", "It takes a PINGREQ with a body.", "4.8.0-1", || {
        takes(|_, frame| {
            is(frame, Kind::Pingreq) && !body(&frame.bytes).is_empty() && frame.packet.is_ok()
                || is(frame, Kind::Pingreq) && wrong(frame, "too many")
        })
    }),
    fault("endless-length-taken", "It takes a remaining length of five bytes.", "4.8.0-1", || {
        takes(|_, frame| wrong(frame, "after four bytes"))
    }),
    fault("type-0-ignored", "It ignores packets of type 0.", "4.8.0-1", || {
        ignores(|_, frame| frame.bytes.first().is_some_and(|first| first >> 4 == 0))
    }),
    fault("type-15-ignored", "It ignores packets of type 15.", "4.8.0-1", || {
        ignores(|_, frame| frame.bytes.first().is_some_and(|first| first >> 4 == 15))
    }),
    fault("connack-from-client-ignored", "It ignores a CONNACK from a client.", "4.8.0-1", || {
        takes_kind(Kind::Connack)
    }),
    fault("suback-from-client-ignored", "It ignores a SUBACK from a client.", "4.8.0-1", || {
        takes_kind(Kind::Suback)
    }),
    fault("unsuback-from-client-ignored", "It ignores an UNSUBACK from a client.", "4.8.0-1", || {
        takes_kind(Kind::Unsuback)
    }),
    fault("pingresp-from-client-ignored", "It ignores a PINGRESP from a client.", "4.8.0-1", || {
        takes_kind(Kind::Pingresp)
    }),
    fault(
        "short-publish-taken",
        "It takes a PUBLISH that ends within its topic name.",
        "3.3.2-1 4.8.0-1",
        || takes_wrong(Kind::Publish, "it ends within the topic name"),
    ),
    fault(
        "publish-half-id-taken",
        "It takes a PUBLISH that ends within its identifier.",
        "2.3.1-1 4.8.0-1",
        || takes_wrong(Kind::Publish, "it ends within the packet identifier"),
    ),
    fault("short-subscribe-taken", "It takes a SUBSCRIBE that ends within a filter.", "4.8.0-1", || {
        takes_wrong(Kind::Subscribe, "it ends within the topic filter")
    }),
    fault("subscribe-without-qos-taken", "It takes a SUBSCRIBE that ends before the QoS.", "4.8.0-1", || {
        takes(|_, frame| {
            is(frame, Kind::Subscribe)
                && (wrong(frame, "it ends within the requested QoS")
                    || wrong(frame, "it ends within the options"))
        })
    }),
    fault("short-unsubscribe-taken", "It takes an UNSUBSCRIBE that ends within a filter.", "4.8.0-1", || {
        takes_wrong(Kind::Unsubscribe, "it ends within")
    }),
    fault(
        "short-connect-taken",
        "It takes a CONNECT that ends within the client identifier.",
        "3.1.3-3 3.1.4-1",
        || {
            takes(|_, frame| {
                is(frame, Kind::Connect)
                    && wrong(frame, "it ends within the client identifier")
                    && body(&frame.bytes).len() > fixed(frame)
            })
        },
    ),
    fault(
        "connect-without-client-id-taken",
        "It takes a CONNECT without a client identifier.",
        "3.1.3-3 3.1.4-1",
        || {
            takes(|_, frame| {
                is(frame, Kind::Connect)
                    && wrong(frame, "it ends within the client identifier")
                    && body(&frame.bytes).len() <= fixed(frame)
            })
        },
    ),
    // 2.3.1 identifiers
    fault("publish-id-0-taken", "It takes a PUBLISH with identifier 0.", "2.3.1-1", || {
        takes_wrong(Kind::Publish, "identifier is 0")
    }),
    fault("subscribe-id-0-taken", "It takes a SUBSCRIBE with identifier 0.", "2.3.1-1", || {
        takes_wrong(Kind::Subscribe, "identifier is 0")
    }),
    fault("unsubscribe-id-0-taken", "It takes an UNSUBSCRIBE with identifier 0.", "2.3.1-1", || {
        takes_wrong(Kind::Unsubscribe, "identifier is 0")
    }),
    fault("delivery-id-0", "Its deliveries have identifier 0.", "2.3.1-1 2.3.1-4", || {
        down(
            Kind::Publish,
            |_, packet| if packet.get("qos") > 0 { vec![packet.set("id", 0u64)] } else { vec![packet] },
        )
    }),
    fault("delivery-ids-all-1", "All its deliveries have identifier 1.", "2.3.1-4 4.3.2-1 4.3.3-1", || {
        down(
            Kind::Publish,
            |_, packet| if packet.get("qos") > 0 { vec![packet.set("id", 1u64)] } else { vec![packet] },
        )
    }),
    fault("qos0-with-id", "Its deliveries with QoS 0 have an identifier.", "2.3.1-5 4.3.1-1", || {
        down(Kind::Publish, |_, packet| {
            if packet.get("qos") > 0 {
                vec![packet]
            } else {
                vec![packet.map("payload", |payload| [&[0, 1], payload].concat())]
            }
        })
    }),
    fault("puback-other-id", "Its PUBACK has another identifier.", "2.3.1-6 4.3.2-2", || {
        other_id(Kind::Puback)
    }),
    fault("pubrec-other-id", "Its PUBREC has another identifier.", "2.3.1-6 4.3.3-2", || {
        other_id(Kind::Pubrec)
    }),
    fault("pubrel-other-id", "Its PUBREL has another identifier.", "2.3.1-6 4.3.3-1", || {
        other_id(Kind::Pubrel)
    }),
    fault("pubcomp-other-id", "Its PUBCOMP has another identifier.", "4.3.3-2", || other_id(Kind::Pubcomp)),
    fault("suback-other-id", "Its SUBACK has another identifier.", "2.3.1-7 3.8.4-2", || {
        other_id(Kind::Suback)
    }),
    fault("unsuback-other-id", "Its UNSUBACK has another identifier.", "2.3.1-7 3.10.4-4", || {
        other_id(Kind::Unsuback)
    }),
    fault("puback-turned-id", "Its PUBACK has the bytes of the identifier turned.", "2.3.1-6", || {
        turned_id(Kind::Puback)
    }),
    fault("pubrec-turned-id", "Its PUBREC has the bytes of the identifier turned.", "2.3.1-6", || {
        turned_id(Kind::Pubrec)
    }),
    fault("suback-turned-id", "Its SUBACK has the bytes of the identifier turned.", "2.3.1-7", || {
        turned_id(Kind::Suback)
    }),
    fault("unsuback-turned-id", "Its UNSUBACK has the bytes of the identifier turned.", "2.3.1-7", || {
        turned_id(Kind::Unsuback)
    }),
    fault("id-65535-refused", "It closes on identifier 65535.", "2.3.1-6 2.3.1-7", || {
        crate::injector::fault::refuses(|_, packet| packet.get("id") == 65_535)
    }),
    // 4.8 errors
    fault(
        "violation-leaves-open",
        "It stops listening to whoever breaks the rules, and does not close.",
        "4.8.0-1 3.1.4-1 2.2.2-2 1.5.3-1",
        || {
            Box::new(|hand, event| {
                if is_thrown_out(hand, &event) {
                    hand.act();
                    return None;
                }
                Some(event)
            })
        },
    ),
    fault("malformed-ignored", "It ignores what it cannot read.", "4.8.0-1 2.2.2-2 1.5.3-1", || {
        ignores(|hand, frame| frame.packet.is_err() && hand.link(|link| link.sent > 1))
    }),
    fault("violation-ends-all", "One client's violation ends all connections.", "4.8.0-1", || {
        Box::new(|hand, event| {
            if is_thrown_out(hand, &event) {
                for other in hand.others() {
                    hand.as_if(other, |hand| hand.close());
                }
            }
            Some(event)
        })
    }),
    fault("violation-ends-the-broker", "After a violation it takes in nobody.", "4.8.0-1 3.1.4-1", || {
        Box::new(|hand, event| {
            if is_thrown_out(hand, &event) {
                hand.note("dead", "");
            }
            if hand.noted("dead").is_some() && matches!(event, Event::Up(_)) {
                hand.close();
                return None;
            }
            Some(event)
        })
    }),
    fault("disconnect-from-the-broker", "It says DISCONNECT before it closes, as in 5.0.", "4.8.0-1", || {
        Box::new(|hand, event| {
            if is_thrown_out(hand, &event) {
                hand.tell_client(&Packet::new(Kind::Disconnect));
            }
            Some(event)
        })
    })
    .not_in_5_0(),
    // 7.1.1 a stream of bytes
    fault("pieces-close", "It closes when a packet comes in pieces.", "7.1.1-1", || {
        Box::new(|hand, event| {
            if matches!(event, Event::Torn) {
                hand.close();
            }
            Some(event)
        })
    }),
    fault(
        "only-first-of-a-segment",
        "Of several packets that come at once it reads only the first.",
        "7.1.1-1",
        || {
            Box::new(|hand, event| {
                let name = format!("{}", hand.me);
                match &event {
                    Event::Segment => {
                        hand.forget(name);
                    }
                    Event::Up(_) if hand.count(name) > 1 => {
                        hand.act();
                        return None;
                    }
                    _ => {}
                }
                Some(event)
            })
        },
    ),
    // 3.12
    fault("pingresp-missing", "It does not answer PINGREQ.", "3.12.4-1", || {
        down(Kind::Pingresp, |_, _| vec![])
    }),
    fault("pingresp-once", "It answers only the first PINGREQ of a connection.", "3.12.4-1", || {
        down(Kind::Pingresp, |hand, packet| {
            let name = format!("{}", hand.me);
            if hand.count(name) > 1 { vec![] } else { vec![packet] }
        })
    }),
    fault("pingresp-twice", "It answers PINGREQ twice.", "3.12.4-1", || {
        down(Kind::Pingresp, |_, packet| vec![packet.clone(), packet])
    }),
    fault("pings-answered-together", "It answers several PINGREQ by one PINGRESP.", "3.12.4-1", || {
        all(vec![
            Box::new(|hand, event| {
                if matches!(&event, Event::Up(frame) if good(frame, Kind::Pingreq, |_| true)) {
                    let name = format!("ping {}", hand.me);
                    if hand.noted(&name).is_some() {
                        hand.act();
                        return None;
                    }
                    hand.note(name, "");
                }
                Some(event)
            }),
            down(Kind::Pingresp, |hand, packet| {
                hand.forget(format!("ping {}", hand.me));
                vec![packet]
            }),
        ])
    }),
    // One flag, one byte, one kind of string at a time
    fault("flag-1-taken", "It looks at the flags except the lowest bit.", "2.2.2-2", || {
        takes(|_, frame| has_only_flag(frame, 1))
    }),
    fault("flag-4-taken", "It looks at the flags except the third bit.", "2.2.2-2", || {
        takes(|_, frame| has_only_flag(frame, 4))
    }),
    fault("flag-8-taken", "It looks at the flags except the highest bit.", "2.2.2-2", || {
        takes(|_, frame| has_only_flag(frame, 8))
    }),
    fault("pubrel-flags-half-read", "Of the flags of PUBREL it looks at one bit.", "3.6.1-1", || {
        takes(|_, frame| is(frame, Kind::Pubrel) && flags(frame) & 2 != 0 && flags(frame) != 2)
    }),
    fault("subscribe-flags-half-read", "Of the flags of SUBSCRIBE it looks at one bit.", "3.8.1-1", || {
        takes(|_, frame| is(frame, Kind::Subscribe) && flags(frame) & 2 != 0 && flags(frame) != 2)
    }),
    fault(
        "unsubscribe-flags-half-read",
        "Of the flags of UNSUBSCRIBE it looks at one bit.",
        "3.10.1-1",
        || takes(|_, frame| is(frame, Kind::Unsubscribe) && flags(frame) & 2 != 0 && flags(frame) != 2),
    ),
    fault("pubrec-extra-byte-taken", "It takes a PUBREC with a byte too many.", "4.8.0-1", || {
        takes_wrong(Kind::Pubrec, "too many")
    }),
    fault("pubcomp-extra-byte-taken", "It takes a PUBCOMP with a byte too many.", "4.8.0-1", || {
        takes_wrong(Kind::Pubcomp, "too many")
    }),
    fault(
        "connect-extra-byte-taken",
        "It takes a CONNECT with bytes behind its last field.",
        "3.1.4-1",
        || takes(|_, frame| is(frame, Kind::Connect) && wrong(frame, ": 1 bytes too many")),
    ),
    fault("pubrec-half-id-taken", "It takes a PUBREC with half an identifier.", "4.8.0-1", || {
        takes_wrong(Kind::Pubrec, "it ends within")
    }),
    fault("pubrel-half-id-taken", "It takes a PUBREL with half an identifier.", "4.8.0-1", || {
        takes_wrong(Kind::Pubrel, "it ends within")
    }),
    fault("pubcomp-half-id-taken", "It takes a PUBCOMP with half an identifier.", "4.8.0-1", || {
        takes_wrong(Kind::Pubcomp, "it ends within")
    }),
    fault("surrogate-in-a-filter-taken", "It takes surrogates in filters.", "1.5.3-1 3.8.3-1", || {
        takes(|_, frame| is(frame, Kind::Subscribe) && has_bytes(frame, &[0xed, 0xa0]))
    }),
    fault(
        "surrogate-in-a-client-id-taken",
        "It takes surrogates in client identifiers.",
        "1.5.3-1 3.1.3-4",
        || {
            takes(|_, frame| {
                is(frame, Kind::Connect)
                    && wrong(frame, "client identifier is")
                    && has_bytes(frame, &[0xed, 0xa0])
            })
        },
    ),
    fault(
        "surrogate-in-a-will-topic-taken",
        "It takes surrogates in will topics.",
        "1.5.3-1 3.1.3-10",
        || {
            takes(|_, frame| {
                is(frame, Kind::Connect) && wrong(frame, "will topic is") && has_bytes(frame, &[0xed, 0xa0])
            })
        },
    ),
    fault("beyond-unicode-taken", "It takes characters beyond U+10FFFF.", "1.5.3-1", || {
        takes(|_, frame| wrong(frame, "is not UTF-8") && has_bytes(frame, &[0xf4, 0x90]))
    }),
    fault("lone-continuation-taken", "It takes a character whose first byte is missing.", "1.5.3-1", || {
        takes(|_, frame| wrong(frame, "is not UTF-8") && has_bytes(frame, &[b'a', 0x80]))
    }),
    fault("cut-character-taken", "It takes a character whose last byte is missing.", "1.5.3-1", || {
        takes(|_, frame| wrong(frame, "is not UTF-8") && has_bytes(frame, &[0xe2, 0x82]))
    }),
    fault(
        "subscribe-over-127-refused",
        "It closes on a SUBSCRIBE whose remaining length has two bytes.",
        "3.8.4-1 3.8.4-4 7.1.1-1",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame) if is(frame, Kind::Subscribe) && frame.bytes.len() > 129 => {
                    hand.close();
                    None
                }
                _ => Some(event),
            })
        },
    ),
];
