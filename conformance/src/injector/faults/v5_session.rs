//! Chapters 3.1.2.11.2 and 4.1 of 5.0: how long a session stays.

use std::time::Instant;

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, all, fault_5_0, up};
use crate::injector::hand::{Event, Hand};

const NAME: &str = "session_expiry";
const NEVER: u64 = 0xffff_ffff;

/// The interval of every CONNECT is another: `None` if it says none.
fn expiry(change: fn(Option<u64>) -> Option<u64>) -> Meddler {
    named(move |_, packet| match change(packet.number(NAME)) {
        Some(time) => packet.set(NAME, time),
        None => packet.without(NAME),
    })
}

/// Every CONNECT of a client with an identifier is changed.
fn named(change: impl Fn(&mut Hand<'_>, Packet) -> Packet + Send + 'static) -> Meddler {
    up(Kind::Connect, move |hand, packet| {
        if packet.text("client_id").is_empty() { vec![packet] } else { vec![change(hand, packet)] }
    })
}

fn key(what: &str, client_id: &[u8]) -> Vec<u8> {
    [what.as_bytes(), client_id].join(&0)
}

fn number(text: Option<Vec<u8>>) -> Option<u64> {
    text.and_then(|text| String::from_utf8(text).ok()?.parse().ok())
}

/// What this connection's CONNECT says, in milliseconds.
fn interval(hand: &Hand<'_>) -> u64 {
    hand.link(|link| link.connect.as_ref().map_or(0, |connect| connect.get(NAME))) * 1000
}

/// The interval is what was said the first time: by this client, or by anybody.
fn of_the_first(of: fn(&Packet) -> Vec<u8>) -> Meddler {
    named(move |hand, packet| {
        let key = key("first", &of(&packet));
        match number(hand.noted(&key)) {
            Some(first) => packet.set(NAME, first),
            None => {
                hand.note(key, packet.get(NAME).to_string());
                packet
            }
        }
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("session-expires-never", "It keeps sessions for ever.", "4.1.0-2", || {
        expiry(|time| time.map(|time| if time == 0 { 0 } else { NEVER }))
    }),
    fault_5_0("session-expiry-0-is-never", "A session of no time stays for ever.", "4.1.0-2 3.1.2-6", || {
        expiry(|time| if time == Some(0) { Some(NEVER) } else { time })
    }),
    fault_5_0("session-expiry-none-is-never", "Who says none has a session that stays.", "4.1.0-2", || {
        expiry(|time| time.or(Some(NEVER)))
    }),
    fault_5_0(
        "session-expiry-of-clean-start-0",
        "Clean Start 0 keeps the session, whatever its interval.",
        "4.1.0-2 3.1.2-6 3.1.2-23",
        || {
            named(|_, packet| {
                let stays = packet.get("clean") == 0 && packet.get(NAME) == 0;
                if stays { packet.set(NAME, NEVER) } else { packet }
            })
        },
    ),
    fault_5_0(
        "session-expiry-not-with-clean-start",
        "Clean Start 1 ends the session with its connection.",
        "3.1.2-23 3.1.2-5 4.1.0-1",
        || named(|_, packet| if packet.get("clean") == 1 { packet.set(NAME, 0u64) } else { packet }),
    ),
    fault_5_0("session-expiry-ignored", "It keeps no session.", "3.1.2-23 4.1.0-1", || expiry(|_| None)),
    fault_5_0("session-expiry-in-milliseconds", "It counts in milliseconds.", "3.1.2-23 4.1.0-1", || {
        expiry(|time| time.map(|time| if time < 10 { 0 } else { time }))
    }),
    fault_5_0("session-expiry-in-minutes", "It counts in minutes.", "4.1.0-2", || {
        expiry(|time| time.map(|time| time.saturating_mul(60).min(NEVER)))
    }),
    fault_5_0("session-expiry-of-31-bits", "A long interval is over at once.", "3.1.2-23 4.1.0-1", || {
        expiry(|time| time.map(|time| if time > 0x7fff_ffff { 0 } else { time }))
    }),
    fault_5_0("session-expiry-never-is-0", "0xFFFFFFFF is over at once.", "3.1.2-23 4.1.0-1", || {
        expiry(|time| time.map(|time| if time == NEVER { 0 } else { time }))
    }),
    fault_5_0("session-expiry-overflows", "136 years are over after a second.", "3.1.2-23 4.1.0-1", || {
        expiry(|time| time.map(|time| if time > NEVER - 2 { 1 } else { time }))
    }),
    fault_5_0(
        "session-expiry-of-the-first-connection",
        "A later CONNECT changes nothing in how long the session stays.",
        "3.1.2-23 4.1.0-2",
        || of_the_first(|packet| packet.text("client_id")),
    ),
    fault_5_0(
        "session-expiry-of-the-first-client",
        "All sessions have the interval of the first.",
        "4.1.0-2 3.1.2-23 3.1.3-2",
        || of_the_first(|_| Vec::new()),
    ),
    fault_5_0(
        "session-expiry-not-lowered",
        "A session that was to stay stays, whatever a later CONNECT says.",
        "3.1.2-23 4.1.0-2",
        || {
            named(|hand, packet| {
                let key = key("longest", &packet.text("client_id"));
                let longest = number(hand.noted(&key)).unwrap_or(0).max(packet.get(NAME));
                hand.note(key, longest.to_string());
                packet.set(NAME, longest)
            })
        },
    ),
    fault_5_0(
        "session-expiry-counts-from-connect",
        "The interval begins with the connection and not with its end.",
        "4.1.0-1 3.1.2-23",
        || {
            let begin = Instant::now();
            all(vec![
                up(Kind::Connect, move |hand, packet| {
                    hand.note(
                        key("begun", &packet.text("client_id")),
                        begin.elapsed().as_millis().to_string(),
                    );
                    vec![packet]
                }),
                Box::new(move |hand, event| {
                    let id = hand.link(|link| link.client_id());
                    let begun = number(hand.noted(key("begun", &id))).unwrap_or(0);
                    let open = (begin.elapsed().as_millis() as u64).saturating_sub(begun);
                    if matches!(event, Event::ClientEnd)
                        && interval(hand) > 0
                        && open > interval(hand)
                        && hand.link(|link| link.accepted.is_some())
                    {
                        hand.pass(event);
                        hand.end_session(&id);
                        return None;
                    }
                    Some(event)
                }),
            ])
        },
    ),
    fault_5_0(
        "session-expires-although-taken-up",
        "The interval of the connection before goes on when the session is taken up.",
        "4.1.0-1 3.1.2-23",
        || {
            let begin = Instant::now();
            Box::new(move |hand, event| {
                let id = hand.link(|link| link.client_id());
                let key = key("until", &id);
                let now = begin.elapsed().as_millis() as u64;
                if matches!(event, Event::ClientEnd) && interval(hand) > 0 {
                    hand.note(key, (now + interval(hand)).to_string());
                } else if matches!(event, Event::Tick)
                    && hand.link(|link| link.accepted == Some(true))
                    && number(hand.noted(&key)).is_some_and(|until| now > until)
                {
                    hand.forget(&key);
                    hand.end_session(&id);
                }
                Some(event)
            })
        },
    ),
];
