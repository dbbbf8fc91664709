//! Chapter 4.8 of 5.0: shared subscriptions.

use super::v5_subscribe::{Entry, each, entries, key};
use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, good, refuses, takes, up};
use crate::injector::hand::{Event, Hand, Link};
use crate::injector::topic;

/// Name and filter of a shared subscription.
fn parts(filter: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = filter.strip_prefix(b"$share/")?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    Some((rest.get(..slash)?, rest.get(slash + 1..)?))
}

fn shared(name: &[u8], inner: &[u8]) -> Vec<u8> {
    [b"$share".as_slice(), name, inner].join(&b'/')
}

/// Filters are written otherwise, in SUBSCRIBE and in UNSUBSCRIBE.
fn rewrites(change: fn(&[u8]) -> Vec<u8>) -> Meddler {
    all(vec![
        up(Kind::Subscribe, move |_, packet| vec![packet.map("topic", change)]),
        up(Kind::Unsubscribe, move |_, packet| vec![packet.map("topic", change)]),
    ])
}

/// Names of shares are changed.
fn names(change: fn(&[u8]) -> Vec<u8>) -> Meddler {
    // A function pointer cannot capture, so each side does it itself.
    let bend = move |packet: Packet| {
        packet.map("topic", move |filter| match parts(filter) {
            Some((name, inner)) => shared(&change(name), inner),
            None => filter.to_vec(),
        })
    };
    all(vec![
        up(Kind::Subscribe, move |_, packet| vec![bend(packet)]),
        up(Kind::Unsubscribe, move |_, packet| vec![bend(packet)]),
    ])
}

/// Whether this client shares a subscription that matches.
fn shares(link: &Link, name: &[u8]) -> bool {
    link.filters.iter().any(|(filter, _)| parts(filter).is_some_and(|(_, inner)| topic::matches(inner, name)))
}

/// Deliveries to members are dealt with by `then`.
fn deliveries(then: fn(&mut Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Publish, move |hand, packet| {
        if hand.link(|link| shares(link, &packet.text("topic"))) { then(hand, packet) } else { vec![packet] }
    })
}

/// Another member gets this message, too.
fn hand_on(hand: &mut Hand<'_>, topic: &[u8], payload: Vec<u8>) {
    let message = Packet::new(Kind::Publish).with("topic", topic.to_vec()).with("payload", payload);
    for other in hand.others() {
        if hand.links.get(&other).is_some_and(|link| shares(link, topic)) {
            hand.as_if(other, |hand| hand.tell_client(&message));
            return;
        }
    }
}

/// Remembers the deliveries to each member by their identifiers.
fn notes_deliveries() -> Meddler {
    deliveries(|hand, packet| {
        if packet.get("qos") > 0 {
            let name = format!("open {} {}", hand.me, packet.get("id"));
            hand.note(&name, [packet.text("topic"), packet.text("payload")].join(&0));
            hand.note(format!("last open {}", hand.me), name);
        }
        vec![packet]
    })
}

/// The topic and payload that were remembered.
fn remembered(text: Option<Vec<u8>>) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = text?;
    let mut parts = text.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    Some((parts.next()?, parts.next()?))
}

/// A message that a member refused is handed on.
fn hands_on_refused(kind: Kind) -> Meddler {
    all(vec![
        notes_deliveries(),
        up(kind, |hand, packet| {
            let open = remembered(hand.noted(format!("open {} {}", hand.me, packet.get("id"))));
            if packet.get("reason") >= 0x80
                && let Some((topic, payload)) = open
            {
                hand_on(hand, &topic, payload);
            }
            vec![packet]
        }),
    ])
}

/// A SUBSCRIBE with such a filter is taken.
fn takes_filter(which: fn(&[u8]) -> bool) -> Meddler {
    takes(move |_, frame| {
        let subscribe = frame.packet.as_ref().ok().filter(|packet| packet.kind == Kind::Subscribe);
        subscribe.is_some_and(|packet| entries(packet).iter().any(|entry| which(&entry.filter)))
    })
}

/// Members get another QoS than they are told.
fn qos(change: fn(&mut Hand<'_>, &Entry) -> u64) -> Meddler {
    all(vec![
        up(Kind::Subscribe, move |hand, packet| {
            let before = entries(&packet);
            let granted: Vec<u8> = before.iter().map(|entry| entry.get("qos") as u8).collect();
            let mut after = before.clone();
            for entry in &mut after {
                if parts(&entry.filter).is_some() {
                    let qos = change(hand, entry);
                    entry.set("qos", qos);
                }
            }
            if after == before {
                return vec![packet];
            }
            hand.note(format!("granted {} {}", hand.me, packet.get("id")), granted);
            vec![super::v5_subscribe::with_entries(&packet, after)]
        }),
        down(Kind::Suback, |hand, packet| {
            let granted = hand.forget(format!("granted {} {}", hand.me, packet.get("id")));
            match granted {
                Some(granted) => vec![
                    granted
                        .into_iter()
                        .fold(packet.without("reason"), |packet, qos| packet.with("reason", u64::from(qos))),
                ],
                None => vec![packet],
            }
        }),
    ])
}

/// Once something has happened to a member, the next delivery to another is lost.
fn loses_next(when: fn(&Hand<'_>, &Event) -> bool) -> Meddler {
    let mut drops =
        deliveries(|hand, packet| if hand.forget("gone").is_some() { vec![] } else { vec![packet] });
    Box::new(move |hand, event| {
        if when(hand, &event) {
            hand.note("gone", "");
        }
        drops(hand, event)
    })
}

fn is_member(hand: &Hand<'_>) -> bool {
    hand.link(|link| link.filters.iter().any(|(filter, _)| parts(filter).is_some()))
}

pub(super) const FAULTS: &[Fault] = &[
    fault_5_0("share-to-every-member", "Every member gets every message.", "4.8.2-1 4.8.2-2", || {
        rewrites(|filter| parts(filter).map_or(filter, |(_, inner)| inner).to_vec())
    }),
    fault_5_0(
        "share-is-an-ordinary-filter",
        "It takes $share for a level like others.",
        "4.8.2-1 4.8.2-2",
        || {
            rewrites(|filter| match filter.strip_prefix(b"$share") {
                Some(rest) => [b"$shore".as_slice(), rest].concat(),
                None => filter.to_vec(),
            })
        },
    ),
    fault_5_0("share-has-no-name", "All shares of a filter are one.", "4.8.2-2 4.8.2-1", || {
        names(|_| b"one".to_vec())
    }),
    fault_5_0("share-name-without-case", "Shares that differ by case are one.", "4.7.3-4 4.8.2-2", || {
        names(|name| name.to_ascii_lowercase())
    }),
    fault_5_0("share-name-trimmed", "Shares that differ by blanks are one.", "4.7.3-4 4.8.2-2", || {
        names(|name| name.trim_ascii().to_vec())
    }),
    fault_5_0("share-name-cut", "Shares that begin alike are one.", "4.7.3-4 4.8.2-2", || {
        names(|name| name.get(..8).unwrap_or(name).to_vec())
    }),
    fault_5_0("share-loses-messages", "Every third message comes to nobody.", "4.8.2-1", || {
        deliveries(|hand, packet| if hand.count("third") % 3 == 0 { vec![] } else { vec![packet] })
    }),
    fault_5_0("share-doubles-messages", "A member gets its messages twice.", "4.8.2-1 4.8.2-3", || {
        deliveries(
            |_, packet| {
                if packet.get("qos") == 0 { vec![packet.clone(), packet] } else { vec![packet] }
            },
        )
    }),
    fault_5_0("share-doubles-open-messages", "Another member gets them, too.", "4.8.2-1", || {
        deliveries(|hand, packet| {
            if packet.get("qos") > 0 && packet.get("dup") == 0 {
                hand_on(hand, &packet.text("topic"), packet.text("payload"));
            }
            vec![packet]
        })
    }),
    fault_5_0("share-qos-of-the-first", "All members have the QoS of the first.", "4.8.2-3", || {
        qos(|hand, entry| {
            let key = [b"first".as_slice(), &entry.filter].join(&0);
            match hand.noted(&key).as_deref() {
                Some([first]) => u64::from(*first),
                _ => {
                    hand.note(key, [entry.get("qos") as u8]);
                    entry.get("qos")
                }
            }
        })
    }),
    fault_5_0("share-qos-of-the-message", "Members get the QoS of the message.", "4.8.2-3 3.8.4-8", || {
        qos(|_, _| 2)
    }),
    fault_5_0("share-qos-0", "Members get everything with QoS 0.", "4.8.2-3 3.8.4-8", || qos(|_, _| 0)),
    fault_5_0("share-qos-1", "Members get QoS 1 at most.", "4.8.2-3 3.8.4-8", || {
        qos(|_, entry| entry.get("qos").min(1))
    }),
    fault_5_0("share-qos-granted", "Members get the QoS that they are granted.", "3.8.4-8 4.8.2-3", || {
        deliveries(|hand, packet| {
            let granted = hand.link(|link| {
                let found = link.filters.iter().find(|(filter, _)| parts(filter).is_some());
                found.map_or(0, |(_, qos)| *qos)
            });
            let is_raised = granted > packet.get("qos");
            if is_raised { vec![packet.set("qos", granted).set("id", 60_000u64)] } else { vec![packet] }
        })
    }),
    fault_5_0("share-qos-stays", "The same filter again leaves the QoS.", "4.8.2-3", || {
        qos(|hand, entry| {
            let key = key(hand, "stays", &entry.filter);
            match hand.noted(&key).as_deref() {
                Some([first]) => u64::from(*first),
                _ => {
                    hand.note(key, [entry.get("qos") as u8]);
                    entry.get("qos")
                }
            }
        })
    }),
    fault_5_0(
        "share-joined-twice-left-once",
        "Who subscribed twice has to unsubscribe twice.",
        "3.10.4-1 4.8.2-3",
        || {
            all(vec![
                up(Kind::Subscribe, |hand, packet| {
                    let key = key(hand, "joined", &packet.text("topic"));
                    hand.count(key);
                    vec![packet]
                }),
                up(Kind::Unsubscribe, |hand, packet| {
                    let key = key(hand, "joined", &packet.text("topic"));
                    let is_twice = hand.noted(&key).as_deref() == Some(b"2");
                    if is_twice && parts(&packet.text("topic")).is_some() {
                        hand.note(key, "1");
                        let answer = Packet::new(Kind::Unsuback).with("id", packet.get("id"));
                        hand.tell_client(&answer.with("reason", 0u64));
                        return vec![];
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault_5_0(
        "share-left-by-its-filter",
        "UNSUBSCRIBE with the filter alone ends a shared subscription.",
        "3.10.4-1 3.11.3-2",
        || {
            up(Kind::Unsubscribe, |hand, packet| {
                let own = hand.link(|link| link.filters.clone());
                let changed = packet.clone().map("topic", |topic| {
                    let found =
                        own.iter().find(|(filter, _)| parts(filter).is_some_and(|(_, inner)| inner == topic));
                    found.map_or_else(|| topic.to_vec(), |(filter, _)| filter.clone())
                });
                vec![changed]
            })
        },
    ),
    fault_5_0(
        "unshared-left-by-a-share",
        "UNSUBSCRIBE with a share ends the ordinary subscription.",
        "3.10.4-1 3.11.3-2",
        || {
            up(Kind::Unsubscribe, |_, packet| {
                vec![packet.map("topic", |topic| parts(topic).map_or(topic, |(_, inner)| inner).to_vec())]
            })
        },
    ),
    fault_5_0("share-brings-retained", "A shared subscription brings retained messages.", "3.3.1-9", || {
        all(vec![
            up(Kind::Publish, |hand, packet| {
                if packet.get("retain") == 1 {
                    let text = [packet.text("topic"), packet.text("payload")].join(&0);
                    hand.note("retained", text);
                }
                vec![packet]
            }),
            down(Kind::Suback, |hand, packet| match remembered(hand.noted("retained")) {
                Some((topic, payload)) if hand.link(|link| shares(link, &topic)) => {
                    let message = Packet::new(Kind::Publish).with("retain", 1u64).with("topic", topic);
                    vec![packet, message.with("payload", payload)]
                }
                _ => vec![packet],
            }),
        ])
    }),
    fault_5_0(
        "share-without-own-messages",
        "Members do not get their own messages.",
        "4.8.2-2 3.3.4-2",
        || {
            all(vec![
                up(Kind::Publish, |hand, packet| {
                    hand.note(key(hand, "own", &packet.text("payload")), "");
                    vec![packet]
                }),
                deliveries(|hand, packet| {
                    let is_own = hand.noted(key(hand, "own", &packet.text("payload"))).is_some();
                    if is_own { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
    fault_5_0(
        "share-counts-who-has-left",
        "What would have been the turn of who unsubscribed is lost.",
        "4.8.2-1 3.10.4-2",
        || {
            loses_next(|_, event| match event {
                Event::Up(frame) => {
                    good(frame, Kind::Unsubscribe, |packet| parts(&packet.text("topic")).is_some())
                }
                _ => false,
            })
        },
    ),
    fault_5_0(
        "share-counts-who-is-gone",
        "What would have been the turn of who has gone is lost.",
        "4.8.2-1 4.1.0-2",
        || loses_next(|hand, event| matches!(event, Event::ClientEnd) && is_member(hand)),
    ),
    fault_5_0(
        "share-loses-what-waits-with-a-session",
        "What a member that is away should get is lost.",
        "4.8.2-1 3.1.2-23",
        || {
            down(Kind::Publish, |hand, packet| {
                let waited = hand.link(|link| link.is_fresh()) && packet.get("dup") == 0;
                if waited { vec![] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "share-qos2-handed-on",
        "A QoS 2 message goes to another member when the connection breaks.",
        "4.8.2-4 4.8.2-5",
        || {
            all(vec![
                notes_deliveries(),
                Box::new(|hand, event| {
                    if matches!(event, Event::ClientEnd)
                        && is_member(hand)
                        && let Some(name) = hand.noted(format!("last open {}", hand.me))
                        && let Some((topic, payload)) = remembered(hand.noted(name))
                    {
                        hand_on(hand, &topic, payload);
                    }
                    Some(event)
                }),
            ])
        },
    ),
    fault_5_0(
        "share-qos2-handed-on-at-the-end",
        "A QoS 2 message goes to another member when the session ends later.",
        "4.8.2-5",
        || {
            all(vec![
                notes_deliveries(),
                Box::new(|hand, event| {
                    if matches!(event, Event::ClientEnd)
                        && is_member(hand)
                        && hand.link(Link::is_kept)
                        && let Some(name) = hand.noted(format!("last open {}", hand.me))
                        && let Some(text) = hand.noted(name)
                    {
                        hand.note(key(hand, "left open", b""), text);
                    }
                    Some(event)
                }),
                down(Kind::Connack, |hand, packet| {
                    let open = remembered(hand.forget(key(hand, "left open", b"")));
                    if packet.get("session_present") == 0
                        && let Some((topic, payload)) = open
                    {
                        hand_on(hand, &topic, payload);
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault_5_0(
        "share-qos2-given-up",
        "A QoS 2 message of a share is given up when its member breaks off.",
        "4.8.2-4",
        || {
            Box::new(|hand, event| match &event {
                Event::Down(frame)
                    if hand.link(|link| link.is_fresh())
                        && frame
                            .packet
                            .as_ref()
                            .is_ok_and(|packet| packet.kind == Kind::Pubrel || packet.get("dup") == 1) =>
                {
                    hand.act();
                    None
                }
                _ => Some(event),
            })
        },
    ),
    fault_5_0("share-hands-on-refused-qos1", "A refused message goes to another.", "4.8.2-6", || {
        hands_on_refused(Kind::Puback)
    }),
    fault_5_0("share-hands-on-refused-qos2", "A refused QoS 2 message, too.", "4.8.2-6", || {
        hands_on_refused(Kind::Pubrec)
    }),
    fault_5_0("share-repeats-refused", "A refused message comes again.", "4.8.2-6", || {
        up(Kind::Puback, |_, packet| if packet.get("reason") >= 0x80 { vec![] } else { vec![packet] })
    }),
    // What is a shared filter
    fault_5_0("share-without-name-taken", "It takes a share without a name.", "4.8.2-1 4.13.1-1", || {
        takes_filter(|filter| filter.starts_with(b"$share//"))
    }),
    fault_5_0("share-without-filter-taken", "It takes a share without a filter.", "4.8.2-2 4.13.1-1", || {
        takes_filter(|filter| {
            filter.starts_with(b"$share/") && parts(filter).is_none_or(|(_, inner)| inner.is_empty())
        })
    }),
    fault_5_0("share-name-with-plus-taken", "It takes + in a share name.", "4.8.2-2 4.13.1-1", || {
        takes_filter(|filter| parts(filter).is_some_and(|(name, _)| name.contains(&b'+')))
    }),
    fault_5_0("share-name-with-hash-taken", "It takes # in a share name.", "4.8.2-2 4.13.1-1", || {
        takes_filter(|filter| parts(filter).is_some_and(|(name, _)| name.contains(&b'#')))
    }),
    fault_5_0("share-of-a-bad-filter-taken", "It does not look behind the name.", "4.8.2-2 4.7.1-1", || {
        takes_filter(|filter| {
            parts(filter).is_some_and(|(_, inner)| {
                let levels = inner.split(|byte| *byte == b'/').count();
                inner.split(|byte| *byte == b'/').enumerate().any(|(place, level)| {
                    let wild = level.iter().any(|byte| matches!(byte, b'+' | b'#'));
                    wild && level.len() > 1 || level == b"#" && place + 1 < levels
                })
            })
        })
    }),
    fault_5_0("share-name-of-one-letter-refused", "It refuses short names.", "4.8.2-1", || {
        refuses(|_, packet| {
            packet.all("topic").any(|value| {
                matches!(value, Value::Bytes(filter) if parts(filter).is_some_and(|(name, _)| name.len() == 1))
            })
        })
    }),
    fault_5_0("share-name-not-ascii-refused", "It refuses names that are not ASCII.", "4.8.2-2", || {
        refuses(|_, packet| {
            packet.all("topic").any(|value| {
                matches!(value, Value::Bytes(filter) if parts(filter).is_some_and(|(name, _)| !name.is_ascii()))
            })
        })
    }),
    fault_5_0("share-wildcards-do-not-match", "Wildcards behind a share are text.", "4.8.2-2", || {
        rewrites(|filter| match parts(filter) {
            Some((name, inner)) => {
                let plain: Vec<u8> =
                    inner.iter().map(|byte| if matches!(byte, b'+' | b'#') { b'x' } else { *byte }).collect();
                shared(name, &plain)
            }
            None => filter.to_vec(),
        })
    }),
    fault_5_0("share-wildcards-match-dollar", "Wildcards behind a share match $.", "4.7.2-1 4.8.2-2", || {
        up(Kind::Publish, |hand, packet| {
            if let [b'$', rest @ ..] = packet.text("topic").as_slice() {
                hand.spread(
                    |link| {
                        link.filters.iter().any(|(filter, _)| {
                            parts(filter).is_some_and(|(_, inner)| {
                                inner.starts_with(b"+") && topic::matches(inner, rest)
                            })
                        })
                    },
                    &packet,
                );
            }
            vec![packet]
        })
    }),
    fault_5_0("share-leading-slash-lost", "It drops a leading slash behind the name.", "4.8.2-2", || {
        rewrites(|filter| match parts(filter) {
            Some((name, [b'/', rest @ ..])) => shared(name, rest),
            _ => filter.to_vec(),
        })
    }),
    fault_5_0("share-without-dollar", "It takes share/ and /$share/ for $share/.", "4.8.2-1 4.7.3-4", || {
        rewrites(|filter| {
            let rest = filter.strip_prefix(b"share/").or_else(|| filter.strip_prefix(b"/$share/"));
            rest.map_or_else(|| filter.to_vec(), |rest| [b"$share/".as_slice(), rest].concat())
        })
    }),
    fault_5_0(
        "share-options-of-the-first",
        "Members have the options of the first.",
        "3.3.1-12 3.3.1-13",
        || {
            each(|hand, entry| {
                let name = "retain_as_published";
                let key = [b"options".as_slice(), &entry.filter].join(&0);
                match hand.noted(&key).as_deref() {
                    Some([first]) => entry.set(name, u64::from(*first)),
                    _ => hand.note(key, [entry.get(name) as u8]),
                }
            })
        },
    ),
];
