//! Chapter 3.3.2.3 of 5.0: what goes with a message, on its way to subscribers.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, up};
use crate::injector::hand::Hand;

/// Some fields of a packet.
type Fields = Vec<(&'static str, Value)>;

/// What goes on with a message unaltered.
const FORWARDED: [&str; 5] =
    ["payload_format", "content_type", "response_topic", "correlation_data", "user_property"];
/// The statements that demand it.
const ALL: &str = "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20";

/// Deliveries that fulfil the condition lose what goes with them.
fn bare(which: impl Fn(&mut Hand<'_>, &Packet) -> bool + Send + 'static) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        if which(hand, &packet) { vec![packet.only(|name| !FORWARDED.contains(&name))] } else { vec![packet] }
    })
}

/// Deliveries lose this property.
fn loses(name: &'static str) -> Meddler {
    down(Kind::Publish, move |_, packet| vec![packet.without(name)])
}

/// Deliveries have the bytes of this property changed.
fn changes(name: &'static str, change: fn(&[u8]) -> Vec<u8>) -> Meddler {
    down(Kind::Publish, move |_, packet| vec![packet.map(name, change)])
}

/// Deliveries have their list of user properties changed.
fn users(change: fn(Vec<Value>) -> Vec<Value>) -> Meddler {
    down(Kind::Publish, move |_, packet| {
        let users = change(packet.all("user_property").cloned().collect());
        let rest = packet.without("user_property");
        vec![users.into_iter().fold(rest, |packet, value| packet.with("user_property", value))]
    })
}

/// The properties of this message that go on.
fn forwarded(packet: &Packet) -> Fields {
    packet.fields.iter().filter(|(name, _)| FORWARDED.contains(name)).cloned().collect()
}

/// What the message lacks, it has from these.
fn completed(packet: Packet, others: Fields) -> Packet {
    let lacks = |name: &str| packet.all(name).next().is_none();
    let more: Vec<_> = others.into_iter().filter(|(name, _)| lacks(name)).collect();
    more.into_iter().fold(packet, |packet, (name, value)| packet.with(name, value))
}

/// What the kept messages of this topic, or the last of this connection, had.
fn mixed(up_to_now: impl Fn(&Hand<'_>, &Packet) -> Option<Vec<u8>> + Send + 'static, is_up: bool) -> Meddler {
    let mut kept: Vec<(Vec<u8>, Fields)> = Vec::new();
    let mut mix = move |hand: &mut Hand<'_>, packet: Packet| {
        let Some(key) = up_to_now(hand, &packet) else { return vec![packet] };
        let own = forwarded(&packet);
        let before = kept.iter().position(|(known, _)| *known == key).map(|place| kept.remove(place).1);
        kept.push((key, own));
        vec![completed(packet, before.unwrap_or_default())]
    };
    if is_up {
        up(Kind::Publish, move |hand, packet| mix(hand, packet))
    } else {
        down(Kind::Publish, move |hand, packet| mix(hand, packet))
    }
}

fn text(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Number(_) => &[],
    }
}

fn cut(bytes: &[u8], at: usize) -> Vec<u8> {
    bytes.get(..at).unwrap_or(bytes).to_vec()
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("properties-lost", "It forwards no properties.", ALL, || bare(|_, _| true)),
    fault_5_0("properties-lost-with-qos0", "It forwards no properties with QoS 0.", ALL, || {
        bare(|_, packet| packet.get("qos") == 0)
    }),
    fault_5_0("properties-lost-with-qos1", "It forwards no properties with QoS 1.", ALL, || {
        bare(|_, packet| packet.get("qos") == 1)
    }),
    fault_5_0("properties-lost-with-qos2", "It forwards no properties with QoS 2.", ALL, || {
        bare(|_, packet| packet.get("qos") == 2)
    }),
    fault_5_0(
        "properties-lost-when-kept",
        "It keeps a retained message without its properties.",
        "3.3.1-5 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20",
        || bare(|_, packet| packet.get("retain") == 1),
    ),
    fault_5_0(
        "properties-lost-when-repeated",
        "A message that is sent again has no properties.",
        "4.4.0-1 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20",
        || bare(|_, packet| packet.get("dup") == 1),
    ),
    fault_5_0(
        "properties-lost-in-a-queue",
        "A message that waited for a session has no properties.",
        "3.1.2-23 3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20",
        || bare(|hand, packet| packet.get("dup") == 0 && hand.link(|link| link.is_fresh())),
    ),
    fault_5_0(
        "properties-for-the-first-subscriber",
        "Of several subscribers only the first gets the properties.",
        ALL,
        || {
            bare(|hand, packet| {
                let (key, me) =
                    ([packet.text("topic"), packet.text("payload")].join(&0), hand.me.to_string());
                match hand.noted(&key) {
                    Some(first) => first != me.as_bytes(),
                    None => {
                        hand.note(key, me);
                        false
                    }
                }
            })
        },
    ),
    fault_5_0(
        "properties-of-the-message-before",
        "A delivery has what the one before had, where it has nothing itself.",
        ALL,
        || mixed(|hand, _| Some(hand.me.to_string().into_bytes()), false),
    ),
    fault_5_0(
        "properties-of-the-retained-message-before",
        "A retained message has what the one in whose place it comes had, where it has nothing itself.",
        "3.3.1-5 3.3.2-4 3.3.2-15 3.3.2-17 3.3.2-20",
        || mixed(|_, packet| (packet.get("retain") == 1).then(|| packet.text("topic")), true),
    ),
    fault_5_0(
        "properties-keep-an-empty-message",
        "An empty retained message that has properties does not wipe.",
        "3.3.1-6 3.3.1-7",
        || {
            up(Kind::Publish, |_, packet| {
                let is_wiping = packet.get("retain") == 1 && packet.text("payload").is_empty();
                let has_some = !forwarded(&packet).is_empty();
                if is_wiping && has_some { vec![packet.set("retain", 0u64)] } else { vec![packet] }
            })
        },
    ),
    // Payload format indicator
    fault_5_0("payload-format-lost", "It drops the Payload Format Indicator.", "3.3.2-4", || {
        loses("payload_format")
    }),
    fault_5_0("payload-format-made-0", "It says 0 for every Payload Format Indicator.", "3.3.2-4", || {
        down(Kind::Publish, |_, packet| match packet.number("payload_format") {
            Some(1) => vec![packet.set("payload_format", 0u64)],
            _ => vec![packet],
        })
    }),
    fault_5_0("payload-format-guessed", "It says of every message that it is UTF-8.", "3.3.2-4", || {
        down(Kind::Publish, |_, packet| vec![packet.set("payload_format", 1u64)])
    }),
    // Content type
    fault_5_0("content-type-lost", "It drops the Content Type.", "3.3.2-20", || loses("content_type")),
    fault_5_0("content-type-lost-if-empty", "It drops an empty Content Type.", "3.3.2-20", || {
        down(Kind::Publish, |_, packet| match packet.bytes("content_type") {
            Some([]) => vec![packet.without("content_type")],
            _ => vec![packet],
        })
    }),
    fault_5_0("content-type-in-lower-case", "It puts the Content Type in lower case.", "3.3.2-20", || {
        changes("content_type", <[u8]>::to_ascii_lowercase)
    }),
    fault_5_0("content-type-trimmed", "It trims the Content Type.", "3.3.2-20", || {
        changes("content_type", |text| text.trim_ascii().to_vec())
    }),
    fault_5_0("content-type-cut", "It cuts the Content Type at 255 bytes.", "3.3.2-20", || {
        changes("content_type", |text| cut(text, 255))
    }),
    fault_5_0("content-type-made-up", "It makes up a Content Type where there is none.", "3.3.2-20", || {
        down(Kind::Publish, |_, packet| {
            let more = vec![("content_type", Value::from("application/octet-stream"))];
            vec![completed(packet, more)]
        })
    }),
    // Response topic
    fault_5_0("response-topic-lost", "It drops the Response Topic.", "3.3.2-15", || loses("response_topic")),
    fault_5_0("response-topic-without-slash", "It drops a `/` in front of it.", "3.3.2-15", || {
        changes("response_topic", |topic| topic.strip_prefix(b"/").unwrap_or(topic).to_vec())
    }),
    fault_5_0("response-topic-is-the-topic", "It says the topic for the Response Topic.", "3.3.2-15", || {
        down(Kind::Publish, |_, packet| match packet.bytes("response_topic") {
            Some(_) => {
                let topic = packet.text("topic");
                vec![packet.set("response_topic", topic)]
            }
            None => vec![packet],
        })
    }),
    fault_5_0("response-topic-cut", "It cuts the Response Topic at 255 bytes.", "3.3.2-15", || {
        changes("response_topic", |topic| cut(topic, 255))
    }),
    // Correlation data
    fault_5_0("correlation-data-lost", "It drops Correlation Data.", "3.3.2-16", || {
        loses("correlation_data")
    }),
    fault_5_0(
        "correlation-data-end-at-a-zero",
        "It cuts Correlation Data at a zero byte.",
        "3.3.2-16",
        || changes("correlation_data", |data| data.iter().take_while(|byte| **byte != 0).copied().collect()),
    ),
    fault_5_0("correlation-data-made-utf8", "It makes text of Correlation Data.", "3.3.2-16", || {
        changes("correlation_data", |data| String::from_utf8_lossy(data).into_owned().into_bytes())
    }),
    fault_5_0("correlation-data-trimmed", "It trims Correlation Data.", "3.3.2-16", || {
        changes("correlation_data", |data| data.trim_ascii().to_vec())
    }),
    fault_5_0("correlation-data-cut-at-124", "It cuts properties at 127 bytes.", "3.3.2-16", || {
        changes("correlation_data", |data| cut(data, 124))
    }),
    fault_5_0("payload-cut-by-long-properties", "It takes two bytes of length for one.", "3.3.2-16", || {
        down(Kind::Publish, |_, packet| {
            let is_long = packet.get("qos") > 0 && packet.text("correlation_data").len() > 124;
            if is_long {
                vec![packet.map("payload", |payload| cut(payload, payload.len() - 1))]
            } else {
                vec![packet]
            }
        })
    }),
    fault_5_0("correlation-data-cut-at-16380", "It cuts properties at 16,383 bytes.", "3.3.2-16", || {
        changes("correlation_data", |data| cut(data, 16_380))
    }),
    fault_5_0("correlation-data-cut-at-32767", "It cuts properties at 32,767 bytes.", "3.3.2-16", || {
        changes("correlation_data", |data| cut(data, 32_767))
    }),
    // User properties
    fault_5_0(
        "user-properties-of-connect",
        "Deliveries have the User Properties of the subscriber's CONNECT, too.",
        "3.3.2-17",
        || {
            down(Kind::Publish, |hand, packet| {
                let own = hand.link(|link| link.connect.as_ref().map(|it| it.text("user_property")));
                match own.filter(|own| !own.is_empty()) {
                    Some(own) => vec![packet.with("user_property", own)],
                    None => vec![packet],
                }
            })
        },
    ),
    fault_5_0("user-properties-lost", "It drops User Properties.", "3.3.2-17", || loses("user_property")),
    fault_5_0("user-properties-only-first", "It forwards the first User Property.", "3.3.2-17", || {
        users(|users| users.into_iter().take(1).collect())
    }),
    fault_5_0("user-properties-only-last", "It forwards the last User Property.", "3.3.2-17", || {
        users(|mut users| users.split_off(users.len().saturating_sub(1)))
    }),
    fault_5_0("user-properties-up-to-64", "It forwards 64 User Properties at most.", "3.3.2-17", || {
        users(|users| users.into_iter().take(64).collect())
    }),
    fault_5_0("user-properties-reversed", "It turns their order round.", "3.3.2-18", || {
        users(|users| users.into_iter().rev().collect())
    }),
    fault_5_0("user-properties-sorted", "It sorts User Properties.", "3.3.2-18", || {
        users(|mut users| {
            users.sort_by(|one, two| text(one).cmp(text(two)));
            users
        })
    }),
    fault_5_0("user-properties-twice-dropped", "It drops a pair that stood before.", "3.3.2-17", || {
        users(|users| {
            let mut seen = Vec::new();
            for value in users {
                if !seen.contains(&value) {
                    seen.push(value);
                }
            }
            seen
        })
    }),
    fault_5_0("user-properties-one-for-each-name", "It keeps one value for a name.", "3.3.2-17", || {
        users(|users| {
            let name = |value: &Value| text(value).split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
            let mut kept: Vec<Value> = Vec::new();
            for value in users {
                match kept.iter_mut().find(|known| name(known) == name(&value)) {
                    Some(known) => *known = value,
                    None => kept.push(value),
                }
            }
            kept
        })
    }),
    fault_5_0("user-properties-without-value-dropped", "It drops those without a value.", "3.3.2-17", || {
        users(|users| users.into_iter().filter(|value| text(value).last() != Some(&b'=')).collect())
    }),
    fault_5_0("user-properties-without-name-dropped", "It drops those without a name.", "3.3.2-17", || {
        users(|users| users.into_iter().filter(|value| text(value).first() != Some(&b'=')).collect())
    }),
    fault_5_0("user-properties-in-lower-case", "It puts them in lower case.", "3.3.2-17", || {
        changes("user_property", <[u8]>::to_ascii_lowercase)
    }),
    fault_5_0("user-properties-trimmed", "It trims User Properties.", "3.3.2-17", || {
        changes("user_property", |pair| pair.trim_ascii().to_vec())
    }),
    fault_5_0("user-properties-cut", "It cuts User Properties at 65,535 bytes.", "3.3.2-17", || {
        changes("user_property", |pair| cut(pair, 65_535))
    }),
    fault_5_0("user-property-added", "It adds a User Property of its own.", "3.3.2-17", || {
        down(Kind::Publish, |_, packet| vec![packet.with("user_property", "broker=mine")])
    }),
    fault_5_0(
        "user-properties-are-problem-information",
        "Who wants no problem information gets no User Properties.",
        "3.3.2-17 3.1.2-29",
        || {
            down(Kind::Publish, |hand, packet| {
                let wants = hand.link(|link| {
                    link.connect.as_ref().and_then(|connect| connect.number("request_problem_information"))
                });
                if wants == Some(0) { vec![packet.without("user_property")] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "user-properties-only-those-behind",
        "Of properties that do not stand together it takes those behind the others.",
        "3.3.2-17 3.3.2-18",
        || {
            all(vec![up(Kind::Publish, |_, packet| {
                let last = packet
                    .fields
                    .iter()
                    .rposition(|(name, _)| FORWARDED.contains(name) && *name != "user_property");
                let mut place = 0;
                vec![packet.only(|name| {
                    place += 1;
                    name != "user_property" || last.is_none_or(|last| place > last)
                })]
            })])
        },
    ),
];
