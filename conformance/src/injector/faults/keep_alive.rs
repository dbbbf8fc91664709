//! Chapter 3.1.2.10: the keep alive.

use std::time::Instant;

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault, is, up};
use crate::injector::hand::{Event, Hand};

/// Every CONNECT says another keep alive.
fn keep_alive(change: fn(u64) -> u64) -> Meddler {
    up(Kind::Connect, move |_, packet| {
        let limit = packet.get("keep_alive");
        vec![packet.set("keep_alive", change(limit))]
    })
}

/// The keep alive of this connection in ms, 0 for none.
fn limit(hand: &Hand<'_>) -> u64 {
    hand.link(|link| link.connect.as_ref().map_or(0, |connect| connect.get("keep_alive"))) * 1000
}

/// Closes after one and a half times the keep alive without one of these packets, whatever else comes.
fn fed_only_by(kinds: &'static [Kind]) -> Meddler {
    let begin = Instant::now();
    Box::new(move |hand, event| {
        let name = format!("fed {}", hand.me);
        let now = begin.elapsed().as_millis() as u64;
        match &event {
            Event::Up(frame) if is(frame, Kind::Connect) || kinds.iter().any(|kind| is(frame, *kind)) => {
                hand.note(name, now.to_string());
            }
            Event::Tick if limit(hand) > 0 => {
                let fed =
                    hand.noted(&name).and_then(|text| String::from_utf8(text).ok()?.parse::<u64>().ok());
                if fed.is_some_and(|fed| now > fed + limit(hand) * 3 / 2) {
                    hand.forget(name);
                    hand.close();
                }
            }
            _ => {}
        }
        Some(event)
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault("keep-alive-never", "It keeps silent connections for ever.", "3.1.2-24", || keep_alive(|_| 0)),
    fault(
        "keep-alive-late",
        "It ends silent connections after six times the keep alive.",
        "3.1.2-24",
        || keep_alive(|limit| limit * 4),
    ),
    fault(
        "keep-alive-early",
        "It ends silent connections before the keep alive is over.",
        "3.1.2-24",
        || {
            Box::new(|hand, event| {
                let silent = hand.link(|link| link.heard.elapsed().as_millis() as u64);
                let limit = limit(hand);
                if matches!(event, Event::Tick)
                    && limit > 0
                    && silent > limit * 3 / 4
                    && hand.link(|link| !link.is_over())
                {
                    hand.close();
                }
                Some(event)
            })
        },
    ),
    fault("keep-alive-0-is-short", "It takes keep alive 0 for a very short one.", "3.1.2-24", || {
        keep_alive(|limit| limit.max(1))
    }),
    fault("keep-alive-fed-by-pings-only", "Only PINGREQ counts for the keep alive.", "3.1.2-24", || {
        fed_only_by(&[Kind::Pingreq])
    }),
    fault("keep-alive-not-fed-by-pings", "PINGREQ does not count for the keep alive.", "3.1.2-24", || {
        fed_only_by(&[
            Kind::Publish,
            Kind::Puback,
            Kind::Pubrec,
            Kind::Pubrel,
            Kind::Pubcomp,
            Kind::Subscribe,
            Kind::Unsubscribe,
        ])
    }),
    fault("keep-alive-not-fed-by-publish", "PUBLISH does not count for the keep alive.", "3.1.2-24", || {
        fed_only_by(&[
            Kind::Pingreq,
            Kind::Subscribe,
            Kind::Unsubscribe,
            Kind::Puback,
            Kind::Pubrec,
            Kind::Pubcomp,
        ])
    }),
    fault(
        "keep-alive-not-fed-by-subscribe",
        "SUBSCRIBE does not count for the keep alive.",
        "3.1.2-24",
        || fed_only_by(&[Kind::Pingreq, Kind::Publish, Kind::Puback, Kind::Pubrec, Kind::Pubcomp]),
    ),
    fault(
        "keep-alive-fed-by-deliveries",
        "What the broker sends counts for the keep alive too.",
        "3.1.2-24",
        || {
            all(vec![
                down(Kind::Pingresp, |hand, packet| {
                    let name = format!("own {}", hand.me);
                    if hand.forget(name).is_some() { vec![] } else { vec![packet] }
                }),
                down(Kind::Publish, |hand, packet| {
                    hand.note(format!("own {}", hand.me), "");
                    hand.tell_broker(&Packet::new(Kind::Pingreq));
                    vec![packet]
                }),
            ])
        },
    ),
    fault(
        "keep-alive-leaves-open",
        "It stops serving a silent connection, and does not close it.",
        "3.1.2-24",
        || {
            Box::new(|hand, event| {
                let silent = hand.link(|link| link.heard.elapsed().as_millis() as u64);
                if matches!(event, Event::BrokerEnd)
                    && limit(hand) > 0
                    && silent > limit(hand)
                    && hand.link(|link| !link.is_over())
                {
                    hand.act();
                    return None;
                }
                Some(event)
            })
        },
    ),
    fault(
        "keep-alive-once",
        "It limits only the time until the first packet behind CONNECT.",
        "3.1.2-24",
        || {
            all(vec![
                keep_alive(|_| 0),
                Box::new(|hand, event| {
                    let silent = hand.link(|link| link.heard.elapsed().as_millis() as u64);
                    let limit = limit(hand);
                    if matches!(event, Event::Tick)
                        && limit > 0
                        && silent > limit * 3 / 2
                        && hand.link(|link| link.sent == 1 && !link.is_over())
                    {
                        hand.close_client();
                        hand.close_broker();
                    }
                    Some(event)
                }),
            ])
        },
    ),
    fault("keep-alive-one-byte", "Of the keep alive it reads the lower byte.", "3.1.2-24", || {
        keep_alive(|limit| limit & 0xff)
    }),
    fault(
        "keep-alive-turned",
        "It reads the bytes of the keep alive in the wrong order.",
        "3.1.2-24",
        || keep_alive(|limit| (limit & 0xff) << 8 | limit >> 8),
    ),
];
