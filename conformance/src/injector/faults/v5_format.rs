//! Chapters 1.5 and 2 of 5.0: variable byte integers, strings in properties, lengths of properties.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, answer, down, down_set, fault_5_0, ignores, is, refuses, wrong,
};
use crate::injector::hand::Event;

/// The broker sends packets of this kind without a length of properties.
fn without_length(kind: Kind) -> Meddler {
    down(kind, |_, packet| {
        if is_bare(&packet) { vec![packet.with("property_length_bytes", Vec::new())] } else { vec![packet] }
    })
}

/// The broker sends packets of this kind with a length of properties that has a byte too many.
fn long_length(kind: Kind) -> Meddler {
    down(kind, |_, packet| {
        if is_bare(&packet) {
            vec![packet.with("property_length_bytes", vec![0x80, 0])]
        } else {
            vec![packet]
        }
    })
}

/// Whether it has no properties.
fn is_bare(packet: &Packet) -> bool {
    let plain = ["dup", "qos", "retain", "topic", "id", "payload", "reason", "session_present"];
    packet.fields.iter().all(|(name, _)| plain.contains(name))
}

/// The broker takes what the decoder finds fault with, and answers as it would a good one.
fn takes(which: impl Fn(&Frame) -> bool + Send + 'static) -> Meddler {
    Box::new(move |hand, event| match &event {
        Event::Up(frame) if frame.packet.is_err() && which(frame) => {
            hand.act();
            if let Some(answer) = answer(&frame.bytes) {
                hand.tell_client(&answer);
            }
            None
        }
        _ => Some(event),
    })
}

const OVERLONG: &str = "takes more bytes than it needs";

pub(super) const FAULTS: &[Fault] = &[
    // Variable byte integers taken
    fault_5_0(
        "overlong-integers-taken",
        "It takes integers with bytes too many.",
        "1.5.5-1 4.13.1-1",
        || takes(|frame| wrong(frame, OVERLONG)),
    ),
    fault_5_0(
        "overlong-remaining-length-taken",
        "It takes a remaining length with bytes too many.",
        "1.5.5-1",
        || takes(|frame| wrong(frame, "remaining length takes more")),
    ),
    fault_5_0(
        "overlong-property-length-taken",
        "It takes a length of properties with bytes too many.",
        "1.5.5-1",
        || takes(|frame| wrong(frame, "length of the properties takes more")),
    ),
    fault_5_0(
        "overlong-will-property-length-taken",
        "It takes a length of a will's properties with bytes too many.",
        "1.5.5-1",
        || {
            takes(|frame| {
                let is_of_will = frame.bytes.windows(3).skip(12).any(|three| three == [0x80, 0, 0]);
                is(frame, Kind::Connect) && wrong(frame, OVERLONG) && is_of_will
            })
        },
    ),
    fault_5_0(
        "overlong-subscription-id-taken",
        "It takes a subscription identifier with bytes too many.",
        "1.5.5-1",
        || takes(|frame| wrong(frame, "subscription_id takes more")),
    ),
    fault_5_0(
        "overlong-property-number-taken",
        "It takes a property's number of two bytes.",
        "1.5.5-1",
        || takes(|frame| wrong(frame, "number of a property takes more")),
    ),
    fault_5_0("overlong-length-of-acknowledgements-taken", "In PUBREL it takes it.", "1.5.5-1", || {
        takes(|frame| is(frame, Kind::Pubrel) && wrong(frame, OVERLONG))
    }),
    fault_5_0("overlong-length-ends-politely", "In DISCONNECT it takes it.", "1.5.5-1", || {
        ignores(|_, frame| is(frame, Kind::Disconnect) && wrong(frame, OVERLONG))
    }),
    // And sent
    fault_5_0(
        "connack-with-overlong-length",
        "It writes length 0 of CONNACK's in two bytes.",
        "1.5.5-1 2.2.2-1",
        || {
            down(Kind::Connack, |_, packet| {
                let bare = packet.only(|name| matches!(name, "reason" | "session_present"));
                vec![bare.with("property_length_bytes", vec![0x80, 0])]
            })
        },
    ),
    fault_5_0(
        "suback-with-overlong-length",
        "It writes length 0 of SUBACK's in two bytes.",
        "1.5.5-1 2.2.2-1",
        || long_length(Kind::Suback),
    ),
    fault_5_0(
        "publish-with-overlong-length",
        "It writes length 0 of PUBLISH's in two bytes.",
        "1.5.5-1 2.2.2-1",
        || long_length(Kind::Publish),
    ),
    fault_5_0(
        "unsuback-with-overlong-length",
        "It writes length 0 of UNSUBACK's in two bytes.",
        "2.2.2-1",
        || long_length(Kind::Unsuback),
    ),
    fault_5_0(
        "subscription-id-overlong",
        "It writes subscription identifiers in four bytes.",
        "1.5.5-1",
        || {
            down(Kind::Publish, |_, packet| {
                let Some(id) = packet.number("subscription_id").filter(|id| *id < 1 << 21) else {
                    return vec![packet];
                };
                let low = |shift: u32| (id >> shift & 0x7f) as u8 | 0x80;
                let bytes = vec![0x0b, low(0), low(7), low(14), 0];
                vec![packet.without("subscription_id").with("property", bytes)]
            })
        },
    ),
    fault_5_0(
        "subscription-id-of-two-bytes",
        "It keeps 14 bits of a subscription identifier.",
        "1.5.5-1 3.3.4-3",
        || {
            down(Kind::Publish, |_, packet| match packet.number("subscription_id") {
                Some(id) if id >= 1 << 14 => vec![packet.set("subscription_id", (id & 0x3fff).max(1))],
                _ => vec![packet],
            })
        },
    ),
    fault_5_0(
        "subscription-id-of-three-bytes",
        "It keeps 21 bits of a subscription identifier.",
        "1.5.5-1 3.3.4-3",
        || {
            down(Kind::Publish, |_, packet| match packet.number("subscription_id") {
                Some(id) if id >= 1 << 21 => vec![packet.set("subscription_id", (id & 0x1f_ffff).max(1))],
                _ => vec![packet],
            })
        },
    ),
    // No length of properties
    fault_5_0("connack-without-property-length", "Its CONNACK ends with the code.", "2.2.2-1", || {
        down(Kind::Connack, |_, packet| {
            let bare = packet.only(|name| matches!(name, "reason" | "session_present"));
            vec![bare.with("property_length_bytes", Vec::new())]
        })
    }),
    fault_5_0(
        "suback-without-property-length",
        "Its SUBACK has codes behind the identifier.",
        "2.2.2-1",
        || without_length(Kind::Suback),
    ),
    fault_5_0(
        "unsuback-without-property-length",
        "Its UNSUBACK has codes behind the identifier.",
        "2.2.2-1",
        || without_length(Kind::Unsuback),
    ),
    fault_5_0("publish-without-property-length", "Its PUBLISH is one of 3.1.1.", "2.2.2-1", || {
        without_length(Kind::Publish)
    }),
    fault_5_0(
        "publish-with-properties-too-long",
        "It counts the payload among the properties.",
        "2.2.2-1",
        || {
            down(Kind::Publish, |_, packet| {
                let length = packet.text("payload").len() as u64;
                vec![packet.with("property_length", length)]
            })
        },
    ),
    // Strings
    fault_5_0(
        "user-property-of-requests-not-looked-at",
        "It takes any bytes in requests.",
        "1.5.7-1 1.5.4-1 1.5.4-2",
        || {
            takes(|frame| {
                wrong(frame, "user_property") && !is(frame, Kind::Publish) && !is(frame, Kind::Connect)
            })
        },
    ),
    fault_5_0(
        "user-property-of-subscribe-not-looked-at",
        "It takes any bytes in SUBSCRIBE.",
        "1.5.7-1",
        || takes(|frame| is(frame, Kind::Subscribe) && wrong(frame, "user_property")),
    ),
    fault_5_0(
        "user-property-of-unsubscribe-not-looked-at",
        "It takes any bytes in UNSUBSCRIBE.",
        "1.5.7-1",
        || takes(|frame| is(frame, Kind::Unsubscribe) && wrong(frame, "user_property")),
    ),
    fault_5_0(
        "user-property-of-acknowledgements-not-looked-at",
        "It takes any bytes in PUBACK.",
        "1.5.7-1",
        || takes(|frame| is(frame, Kind::Puback) && wrong(frame, "user_property")),
    ),
    fault_5_0(
        "reason-strings-not-looked-at",
        "It takes any bytes for a reason string.",
        "1.5.4-1 4.13.1-1",
        || takes(|frame| wrong(frame, "reason_string is not UTF-8")),
    ),
    fault_5_0("reason-strings-with-u0000-taken", "It takes U+0000 in a reason string.", "1.5.4-2", || {
        takes(|frame| wrong(frame, "reason_string contains U+0000"))
    }),
    fault_5_0(
        "authentication-method-need-not-be-text",
        "It takes any bytes for a method.",
        "1.5.4-1 1.5.4-2",
        || {
            takes(|frame| {
                wrong(frame, "authentication_method is not") || wrong(frame, "authentication_method contains")
            })
        },
    ),
    fault_5_0(
        "byte-order-mark-of-properties-stripped",
        "It strips U+FEFF off properties.",
        "1.5.4-3",
        || {
            down(Kind::Publish, |_, packet| {
                let strip = |text: &[u8]| text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).to_vec();
                vec![
                    packet
                        .map("content_type", strip)
                        .map("user_property", strip)
                        .map("response_topic", strip),
                ]
            })
        },
    ),
    fault_5_0(
        "byte-order-mark-of-content-type-stripped",
        "It strips U+FEFF off content types.",
        "1.5.4-3",
        || {
            down(Kind::Publish, |_, packet| {
                let strip = |text: &[u8]| text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).to_vec();
                vec![packet.map("content_type", strip)]
            })
        },
    ),
    fault_5_0(
        "byte-order-mark-of-properties-refused",
        "It closes on U+FEFF in a property.",
        "1.5.4-3",
        || refuses(|_, packet| packet.text("content_type").starts_with("\u{feff}".as_bytes())),
    ),
    // Acknowledgements
    fault_5_0(
        "long-acknowledgements-refused",
        "It closes on acknowledgements with properties.",
        "2.2.1-5 4.3.2-3",
        || {
            refuses(|_, packet| {
                matches!(packet.kind, Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp)
                    && packet.bytes("reason_string").is_some()
            })
        },
    ),
    fault_5_0("acknowledgements-with-code-ignored", "It ignores PUBACK with a code.", "4.3.2-3", || {
        ignores(|_, frame| is(frame, Kind::Puback) && frame.bytes.len() > 4)
    }),
    fault_5_0("pubrel-with-code-ignored", "It ignores PUBREL with a code.", "4.3.3-11 2.2.1-5", || {
        ignores(|_, frame| is(frame, Kind::Pubrel) && frame.bytes.len() > 4)
    }),
    fault_5_0("pubrec-with-code-ignored", "It ignores PUBREC with a code.", "4.3.3-4 2.2.1-5", || {
        ignores(|_, frame| is(frame, Kind::Pubrec) && frame.bytes.len() > 4)
    }),
    fault_5_0(
        "pubcomp-finds-nothing",
        "Its PUBCOMP says that it does not know the message.",
        "2.2.1-5 4.3.3-11",
        || down_set(Kind::Pubcomp, "reason", 0x92u64),
    ),
];
