//! Chapters 3.1.2.5 and 3.1.3.2 of 5.0: wills that wait, and the properties of wills.

use std::time::Instant;

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, up};
use crate::injector::hand::{Event, Hand, Link};

const DELAY: &str = "will_delay";

/// CONNECT with a will is changed.
fn will(change: impl Fn(&mut Hand<'_>, Packet) -> Packet + Send + 'static) -> Meddler {
    up(Kind::Connect, move |hand, packet| {
        if packet.bytes("will_topic").is_some() { vec![change(hand, packet)] } else { vec![packet] }
    })
}

/// The delay is another.
fn delay(change: fn(u64) -> u64) -> Meddler {
    will(move |_, packet| match packet.number(DELAY) {
        Some(time) => packet.set(DELAY, change(time)),
        None => packet,
    })
}

/// The will has no property of this name.
fn loses(name: &'static str) -> Meddler {
    will(move |_, packet| packet.without(name))
}

/// The properties that a message has of its will.
const OF_THE_MESSAGE: [&str; 6] = [
    "will_payload_format",
    "will_message_expiry",
    "will_content_type",
    "will_response_topic",
    "will_correlation_data",
    "will_user_property",
];

/// The will's user properties in another way.
fn users(change: fn(Vec<Value>) -> Vec<Value>) -> Meddler {
    const NAME: &str = "will_user_property";
    will(move |_, packet| {
        let all: Vec<Value> = packet.all(NAME).cloned().collect();
        change(all).into_iter().fold(packet.without(NAME), |packet, value| packet.with(NAME, value))
    })
}

/// The will of a connection as a message.
fn message(link: &Link) -> Option<Packet> {
    let connect = link.connect.as_ref()?;
    let topic = connect.bytes("will_topic")?.to_vec();
    Some(Packet::new(Kind::Publish).with("topic", topic).with("payload", connect.text("will_payload")))
}

fn waits(link: &Link) -> bool {
    link.connect.as_ref().is_some_and(|connect| connect.get(DELAY) > 0)
}

/// When the client with a will that waits comes again, `then` is done with that will.
fn on_return(then: fn(&mut Hand<'_>, &Packet, Packet)) -> Meddler {
    all(vec![
        Box::new(|hand, event| {
            if matches!(event, Event::ClientEnd)
                && hand.link(|link| link.accepted.is_some() && !link.goodbye && waits(link))
                && let Some(message) = hand.link(message)
            {
                let id = hand.link(|link| link.client_id());
                hand.note(
                    [b"waits".to_vec(), id].join(&0),
                    [message.text("topic"), message.text("payload")].join(&0),
                );
            }
            Some(event)
        }),
        up(Kind::Connect, move |hand, packet| {
            if let Some(text) = hand.forget([b"waits".to_vec(), packet.text("client_id")].join(&0)) {
                let mut parts = text.split(|byte| *byte == 0).map(<[u8]>::to_vec);
                let message = Packet::new(Kind::Publish)
                    .with("topic", parts.next().unwrap_or_default())
                    .with("payload", parts.next().unwrap_or_default());
                then(hand, &packet, message);
            }
            vec![packet]
        }),
    ])
}

/// How long the connection has been open when it ends, in ms: `then` is done.
fn at_the_end(then: fn(&mut Hand<'_>, u64)) -> Meddler {
    let begin = Instant::now();
    Box::new(move |hand, event| {
        let name = format!("open {}", hand.me);
        let now = begin.elapsed().as_millis() as u64;
        match &event {
            Event::Up(frame) if frame.packet.as_ref().is_ok_and(|packet| packet.kind == Kind::Connect) => {
                hand.note(name, now.to_string());
            }
            Event::ClientEnd if hand.link(|link| link.accepted.is_some() && !link.goodbye) => {
                let since = hand.noted(name).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
                then(hand, now.saturating_sub(since.unwrap_or(now)));
            }
            _ => {}
        }
        Some(event)
    })
}

/// What the CONNECT of this connection says, in ms.
fn said(hand: &Hand<'_>, name: &str) -> u64 {
    hand.link(|link| link.connect.as_ref().map_or(0, |connect| connect.get(name))) * 1000
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("will-delay-ignored", "It publishes every will at once.", "3.1.2-8 3.1.3-9", || delay(|_| 0)),
    fault_5_0("will-delay-in-minutes", "It counts the delay in minutes.", "3.1.2-8", || {
        delay(|time| time.saturating_mul(60).min(0xffff_ffff))
    }),
    fault_5_0("will-delay-of-31-bits", "A long delay is over at once.", "3.1.2-8 3.1.3-9", || {
        delay(|time| if time > 0x7fff_ffff { 0 } else { time })
    }),
    fault_5_0("will-delay-is-one-for-all", "Every delay is a second.", "3.1.2-8", || delay(|_| 1)),
    fault_5_0(
        "will-delay-outlives-the-session",
        "It waits for the whole delay, although the session ends before.",
        "3.1.2-8",
        || {
            will(|_, packet| {
                if packet.get(DELAY) > packet.get("session_expiry") {
                    let delay = packet.get(DELAY);
                    packet.set("session_expiry", delay)
                } else {
                    packet
                }
            })
        },
    ),
    fault_5_0(
        "will-delay-outlives-a-session-of-no-time",
        "It waits for the delay, although the session ends with the connection.",
        "3.1.2-8",
        || {
            will(|_, packet| {
                if packet.get(DELAY) > 0 && packet.get("session_expiry") == 0 {
                    packet.set("session_expiry", 600u64)
                } else {
                    packet
                }
            })
        },
    ),
    fault_5_0(
        "will-delay-counts-from-connect",
        "The delay begins with the connection and not with its end.",
        "3.1.2-8",
        || {
            at_the_end(|hand, open| {
                let delay = said(hand, DELAY);
                if delay > 0
                    && open > delay
                    && let Some(message) = hand.link(message)
                {
                    hand.publish(&message);
                }
            })
        },
    ),
    fault_5_0(
        "will-not-cancelled-by-a-return",
        "It publishes the will although the client has come back in time.",
        "3.1.3-9",
        || {
            on_return(|hand, connect, message| {
                if connect.get("clean") == 0 {
                    hand.publish(&message);
                }
            })
        },
    ),
    fault_5_0(
        "will-cancelled-by-clean-start",
        "It publishes no will of a session that Clean Start ends.",
        "3.1.2-8 3.1.2-4",
        || {
            all(vec![
                on_return(|hand, connect, message| {
                    if connect.get("clean") == 1 {
                        hand.note("cancelled", [message.text("topic"), message.text("payload")].join(&0));
                    }
                }),
                down(Kind::Publish, |hand, packet| {
                    let own = [packet.text("topic"), packet.text("payload")].join(&0);
                    if hand.noted("cancelled") == Some(own) { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault_5_0(
        "will-that-waits-sent-at-take-over",
        "It publishes a will that would wait when the session is taken over.",
        "3.1.3-9",
        || {
            up(Kind::Connect, |hand, packet| {
                let id = packet.text("client_id");
                for other in hand.others() {
                    let old = hand.links.get(&other).filter(|link| link.client_id() == id && waits(link));
                    if let Some(message) = old.and_then(message)
                        && packet.get("clean") == 0
                    {
                        hand.publish(&message);
                    }
                }
                vec![packet]
            })
        },
    ),
    fault_5_0(
        "will-of-the-first-connection",
        "The will of a session stays the first.",
        "3.1.2-7 3.1.3-9",
        || {
            will(|hand, packet| {
                let key = [b"first will".to_vec(), packet.text("client_id")].join(&0);
                match hand.noted(&key) {
                    Some(payload) => packet.set("will_payload", payload),
                    None => {
                        hand.note(key, packet.text("will_payload"));
                        packet
                    }
                }
            })
        },
    ),
    fault_5_0("will-that-waits-not-retained", "A will that comes late is not kept.", "3.1.2-15", || {
        will(|_, packet| if packet.get(DELAY) > 0 { packet.set("will_retain", 0u64) } else { packet })
    }),
    fault_5_0("will-that-waits-with-qos0", "A will that comes late has QoS 0.", "3.1.2-8", || {
        will(|_, packet| if packet.get(DELAY) > 0 { packet.set("will_qos", 0u64) } else { packet })
    }),
    // Properties
    fault_5_0("will-properties-lost", "A will comes without properties.", "3.1.2-7 3.1.2-9 3.1.3-10", || {
        will(|_, packet| packet.only(|name| !OF_THE_MESSAGE.contains(&name)))
    }),
    fault_5_0("will-payload-format-lost", "A will's Payload Format is lost.", "3.1.2-7", || {
        loses("will_payload_format")
    }),
    fault_5_0("will-expiry-lost", "A will does not expire.", "3.1.2-7 3.3.2-5 3.3.2-6", || {
        loses("will_message_expiry")
    }),
    fault_5_0("will-content-type-lost", "A will's Content Type is lost.", "3.1.2-7", || {
        loses("will_content_type")
    }),
    fault_5_0("will-response-topic-lost", "A will's Response Topic is lost.", "3.1.2-7", || {
        loses("will_response_topic")
    }),
    fault_5_0("will-correlation-data-lost", "A will's Correlation Data are lost.", "3.1.2-7", || {
        loses("will_correlation_data")
    }),
    fault_5_0("will-user-properties-lost", "A will's User Properties are lost.", "3.1.3-10", || {
        loses("will_user_property")
    }),
    fault_5_0("will-user-properties-reversed", "They come in the opposite order.", "3.1.3-10", || {
        users(|all| all.into_iter().rev().collect())
    }),
    fault_5_0("will-user-properties-sorted", "They come sorted.", "3.1.3-10", || {
        users(|mut all| {
            all.sort_by_key(Value::to_string);
            all
        })
    }),
    fault_5_0("will-user-properties-once", "The same one twice comes once.", "3.1.3-10", || {
        users(|all| {
            let mut once: Vec<Value> = Vec::new();
            for value in all {
                if !once.contains(&value) {
                    once.push(value);
                }
            }
            once
        })
    }),
    fault_5_0("will-user-properties-only-first", "Only the first comes.", "3.1.3-10", || {
        users(|all| all.into_iter().take(1).collect())
    }),
    fault_5_0(
        "will-with-user-properties-of-connect",
        "A will has those of the CONNECT, too.",
        "3.1.3-10",
        || {
            will(|_, packet| {
                let of_connect: Vec<Value> = packet.all("user_property").cloned().collect();
                of_connect.into_iter().fold(packet, |packet, value| packet.with("will_user_property", value))
            })
        },
    ),
    fault_5_0(
        "will-properties-of-the-will-before",
        "A will without properties has those of the will before.",
        "3.1.2-7 3.1.2-10",
        || {
            will(|hand, packet| {
                let key = [b"content".to_vec(), packet.text("client_id")].join(&0);
                match (packet.bytes("will_content_type"), hand.noted(&key)) {
                    (Some(content), _) => {
                        hand.note(key, content);
                        packet
                    }
                    (None, Some(before)) => packet.with("will_content_type", before),
                    (None, None) => packet,
                }
            })
        },
    ),
    fault_5_0(
        "will-properties-not-retained",
        "A retained will comes later without its properties.",
        "3.1.3-10 3.1.2-15",
        || {
            down(Kind::Publish, |_, packet| {
                if packet.get("retain") == 1 {
                    vec![packet.without("content_type").without("user_property").without("correlation_data")]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault_5_0(
        "will-expiry-counts-from-connect",
        "A will expires while its client is connected.",
        "3.1.2-8 3.3.2-5",
        || {
            at_the_end(|hand, open| {
                let expiry = said(hand, "will_message_expiry");
                if expiry > 0 && open > expiry {
                    hand.tell_broker(&Packet::new(Kind::Disconnect));
                }
            })
        },
    ),
];
