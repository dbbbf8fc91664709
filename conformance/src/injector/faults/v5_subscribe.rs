//! Chapters 3.8 to 3.11 of 5.0: options of subscriptions, properties and codes of SUBACK and UNSUBACK.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, is, refuses, takes, up, wrong};
use crate::injector::hand::Hand;
use crate::injector::topic;

/// One filter of a SUBSCRIBE with what belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) filter: Vec<u8>,
    pub(super) options: Vec<(&'static str, Value)>,
}

impl Entry {
    pub(super) fn get(&self, name: &str) -> u64 {
        let found = self.options.iter().find(|(option, _)| *option == name);
        found.map_or(0, |(_, value)| if let Value::Number(number) = value { *number } else { 0 })
    }

    pub(super) fn set(&mut self, name: &'static str, number: u64) {
        self.options.retain(|(option, _)| *option != name);
        self.options.push((name, Value::Number(number)));
    }
}

/// The filters of a SUBSCRIBE.
pub(super) fn entries(packet: &Packet) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, value, entries.last_mut()) {
            ("topic", Value::Bytes(filter), _) => {
                entries.push(Entry { filter: filter.clone(), options: Vec::new() });
            }
            ("qos" | "no_local" | "retain_as_published" | "retain_handling", value, Some(entry)) => {
                entry.options.push((name, value.clone()));
            }
            _ => {}
        }
    }
    entries
}

/// The SUBSCRIBE with other filters, which are as many.
pub(super) fn with_entries(packet: &Packet, entries: Vec<Entry>) -> Packet {
    let rest = packet.clone().only(|name| {
        !matches!(name, "topic" | "qos" | "no_local" | "retain_as_published" | "retain_handling")
    });
    entries.into_iter().fold(rest, |mut packet, entry| {
        packet.fields.push(("topic", Value::Bytes(entry.filter)));
        packet.fields.extend(entry.options);
        packet
    })
}

/// The filters of every SUBSCRIBE are changed.
pub(super) fn changes(change: impl Fn(&mut Hand<'_>, Vec<Entry>) -> Vec<Entry> + Send + 'static) -> Meddler {
    up(Kind::Subscribe, move |hand, packet| {
        let before = entries(&packet);
        let changed = change(hand, before.clone());
        if changed == before { vec![packet] } else { vec![with_entries(&packet, changed)] }
    })
}

/// Each filter of every SUBSCRIBE is changed.
pub(super) fn each(change: fn(&mut Hand<'_>, &mut Entry)) -> Meddler {
    changes(move |hand, mut entries| {
        entries.iter_mut().for_each(|entry| change(hand, entry));
        entries
    })
}

/// What is known of a client's filter.
pub(super) fn key(hand: &Hand<'_>, what: &str, filter: &[u8]) -> Vec<u8> {
    [what.as_bytes(), &hand.link(|link| link.client_id()), filter].join(&0)
}

/// An option of a filter stays as it was the first time.
fn stays(name: &'static str) -> Meddler {
    changes(move |hand, mut entries| {
        for entry in &mut entries {
            let key = key(hand, name, &entry.filter);
            match hand.noted(&key).as_deref() {
                Some([first]) => entry.set(name, u64::from(*first)),
                _ => hand.note(key, [entry.get(name) as u8]),
            }
        }
        entries
    })
}

/// What the client publishes itself is noted; its own filters with No Local are, too. `then` deals with deliveries of its
/// own messages that it gets, and with the others.
fn knows_no_local(then: fn(&mut Hand<'_>, Packet, bool) -> Vec<Packet>) -> Meddler {
    all(vec![
        changes(|hand, entries| {
            for entry in &entries {
                if entry.get("no_local") == 1 {
                    hand.note(format!("no local {}", hand.me), &entry.filter);
                }
            }
            entries
        }),
        up(Kind::Publish, |hand, packet| {
            hand.note(key(hand, "own", &packet.text("payload")), "");
            vec![packet]
        }),
        down(Kind::Publish, move |hand, packet| {
            let filter = hand.noted(format!("no local {}", hand.me));
            let is_own = hand.noted(key(hand, "own", &packet.text("payload"))).is_some();
            if filter.is_some_and(|filter| topic::matches(&filter, &packet.text("topic"))) {
                then(hand, packet, is_own)
            } else {
                vec![packet]
            }
        }),
    ])
}

/// The client hears its own messages again when this holds.
fn echoes(which: fn(&Hand<'_>, &Packet) -> bool) -> Meddler {
    up(Kind::Publish, move |hand, packet| {
        if which(hand, &packet) {
            let echo = packet.clone().without("id").set("qos", 0u64).set("retain", 0u64).set("dup", 0u64);
            hand.on(true, &packet);
            hand.tell_client(&echo);
            return vec![];
        }
        vec![packet]
    })
}

fn codes(packet: &Packet) -> Vec<u64> {
    let code = |value: &Value| if let Value::Number(code) = value { *code } else { 0 };
    packet.all("reason").map(code).collect()
}

/// The codes of UNSUBACK are changed.
fn unsuback(change: impl Fn(&mut Hand<'_>, Vec<u64>) -> Vec<u64> + Send + 'static) -> Meddler {
    down(Kind::Unsuback, move |hand, packet| {
        let changed = change(hand, codes(&packet));
        vec![changed.into_iter().fold(packet.without("reason"), |packet, code| packet.with("reason", code))]
    })
}

/// The filters of the last UNSUBSCRIBE of each connection.
fn notes_filters() -> Meddler {
    up(Kind::Unsubscribe, |hand, packet| {
        let filters: Vec<Vec<u8>> = packet
            .all("topic")
            .map(|value| if let Value::Bytes(filter) = value { filter.clone() } else { Vec::new() })
            .collect();
        hand.note(format!("asked {}", hand.me), filters.join(&0));
        vec![packet]
    })
}

/// An answer says more than the client's Maximum Packet Size allows.
fn says(kind: Kind, name: &'static str, small: bool) -> Meddler {
    down(kind, move |hand, packet| {
        let most = hand.link(|link| link.connect.as_ref().and_then(|it| it.number("maximum_packet_size")));
        let silent = hand.link(|link| {
            link.connect.as_ref().and_then(|it| it.number("request_problem_information")) == Some(0)
        });
        let is_meant = if small { most.is_some_and(|most| most < 1000) } else { silent };
        if is_meant { vec![packet.with(name, "more=than you wanted to hear")] } else { vec![packet] }
    })
}

/// A frame of this kind with this wrong with it is taken.
fn takes_wrong(kind: Kind, what: &'static [&'static str]) -> Meddler {
    takes(move |_, frame| is(frame, kind) && what.iter().any(|what| wrong(frame, what)))
}

/// A SUBSCRIBE with such options is taken.
fn takes_options(which: fn(&Entry) -> bool) -> Meddler {
    takes(move |_, frame| {
        let subscribe = frame.packet.as_ref().ok().filter(|packet| packet.kind == Kind::Subscribe);
        subscribe.is_some_and(|packet| entries(packet).iter().any(which))
    })
}

pub(super) const FAULTS: &[Fault] = &[
    // No Local
    fault_5_0("no-local-ignored", "It sends clients their own messages.", "3.8.3-3", || {
        each(|_, entry| entry.set("no_local", 0))
    }),
    fault_5_0("no-local-always", "It sends nobody his own messages.", "3.8.3-3 3.8.4-5 3.8.4-3", || {
        each(|_, entry| {
            if !entry.filter.starts_with(b"$share") {
                entry.set("no_local", 1);
            }
        })
    }),
    fault_5_0(
        "no-local-of-the-first-filter",
        "All filters have that of the first.",
        "3.8.3-3 3.8.4-5",
        || {
            changes(|_, mut entries| {
                let first = entries.first().map_or(0, |entry| entry.get("no_local"));
                entries.iter_mut().for_each(|entry| entry.set("no_local", first));
                entries
            })
        },
    ),
    fault_5_0("no-local-of-the-last-filter", "All filters have that of the last.", "3.8.3-3 3.8.4-5", || {
        changes(|_, mut entries| {
            let last = entries.last().map_or(0, |entry| entry.get("no_local"));
            entries.iter_mut().for_each(|entry| entry.set("no_local", last));
            entries
        })
    }),
    fault_5_0("no-local-is-for-everybody", "Such a subscription brings nothing at all.", "3.8.3-3", || {
        knows_no_local(|_, _, _| vec![])
    }),
    fault_5_0("no-local-beats-the-others", "Another subscription brings no own messages.", "3.8.3-3", || {
        knows_no_local(|_, packet, is_own| if is_own { vec![] } else { vec![packet] })
    }),
    fault_5_0("no-local-not-with-qos1", "Own messages with QoS 1 come back.", "3.8.3-3", || {
        echoes(|hand, packet| packet.get("qos") == 1 && hand.link(|link| link.wants(&packet.text("topic"))))
    }),
    fault_5_0("no-local-not-with-qos2", "Own messages with QoS 2 come back.", "3.8.3-3", || {
        echoes(|hand, packet| packet.get("qos") == 2 && hand.link(|link| link.wants(&packet.text("topic"))))
    }),
    fault_5_0("no-local-lost-on-return", "A stored session forgets it.", "3.8.3-3 3.1.2-23", || {
        echoes(|hand, _| hand.link(|link| link.accepted == Some(true)))
    }),
    fault_5_0("no-local-stays", "The same filter again changes nothing in it.", "3.8.4-3 3.8.3-3", || {
        stays("no_local")
    }),
    fault_5_0("retain-as-published-stays", "The same filter again changes nothing in it.", "3.8.4-3", || {
        stays("retain_as_published")
    }),
    fault_5_0(
        "shared-with-no-local-taken",
        "It takes No Local on a shared subscription.",
        "3.8.3-4 4.13.1-1",
        || takes_options(|entry| entry.filter.starts_with(b"$share/") && entry.get("no_local") == 1),
    ),
    fault_5_0(
        "shared-with-no-local-made-ordinary",
        "It leaves out No Local on a shared subscription.",
        "3.8.3-4",
        || {
            each(|_, entry| {
                if entry.filter.starts_with(b"$share/") {
                    entry.set("no_local", 0);
                }
            })
        },
    ),
    fault_5_0("retain-handling-3-taken", "It takes Retain Handling 3.", "3.8.3-5 4.13.1-1", || {
        takes(|_, frame| {
            let subscribe = frame.packet.as_ref().ok().filter(|packet| packet.kind == Kind::Subscribe);
            subscribe.is_some_and(|packet| {
                packet.all("options").any(|value| matches!(value, Value::Number(it) if it >> 4 & 3 == 3))
            })
        })
    }),
    // Properties
    fault_5_0("subscription-id-0-taken", "It takes the identifier 0.", "3.3.4-3 4.13.1-1", || {
        takes_wrong(Kind::Subscribe, &["subscription_id 0"])
    }),
    fault_5_0("subscription-id-twice-taken", "It takes two identifiers.", "3.3.4-3 4.13.1-1", || {
        takes_wrong(Kind::Subscribe, &["subscription_id twice"])
    }),
    fault_5_0("subscription-id-too-long-taken", "It takes one of five bytes.", "3.3.4-3 4.13.1-1", || {
        takes(|_, frame| {
            is(frame, Kind::Subscribe)
                && frame.packet.is_err()
                && frame.bytes.windows(5).any(|bytes| bytes == [0x0b, 0x80, 0x80, 0x80, 0x80])
        })
    }),
    fault_5_0(
        "subscribe-property-of-another-packet-taken",
        "It takes a SUBSCRIBE with a property of another packet.",
        "3.8.4-1 4.13.1-1",
        || takes_wrong(Kind::Subscribe, &["must not have", "which there is not"]),
    ),
    fault_5_0(
        "subscribe-properties-that-are-cut-taken",
        "It takes a SUBSCRIBE whose properties end too early.",
        "3.8.4-1 4.13.1-1",
        || takes_wrong(Kind::Subscribe, &["it ends within"]),
    ),
    fault_5_0(
        "unsubscribe-property-of-another-packet-taken",
        "It takes an UNSUBSCRIBE with a property of another packet.",
        "3.10.4-4 4.13.1-1",
        || takes_wrong(Kind::Unsubscribe, &["must not have", "which there is not"]),
    ),
    fault_5_0(
        "unsubscribe-properties-that-are-cut-taken",
        "It takes an UNSUBSCRIBE whose properties end too early.",
        "3.10.4-4 4.13.1-1",
        || takes_wrong(Kind::Unsubscribe, &["it ends within"]),
    ),
    fault_5_0("subscribe-with-user-property-refused", "It closes on one.", "3.8.4-1", || {
        refuses(|_, packet| packet.kind == Kind::Subscribe && packet.bytes("user_property").is_some())
    }),
    fault_5_0("unsubscribe-with-user-property-refused", "It closes on one.", "3.10.4-4", || {
        refuses(|_, packet| packet.kind == Kind::Unsubscribe && packet.bytes("user_property").is_some())
    }),
    fault_5_0(
        "user-property-of-subscribe-in-messages",
        "Messages have the User Properties of the SUBSCRIBE.",
        "3.8.4-1",
        || {
            all(vec![
                up(Kind::Subscribe, |hand, packet| {
                    if let Some(pair) = packet.bytes("user_property") {
                        hand.note(format!("pair {}", hand.me), pair);
                    }
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| match hand.noted(format!("pair {}", hand.me)) {
                    Some(pair) => vec![packet.with("user_property", pair)],
                    None => vec![packet],
                }),
            ])
        },
    ),
    fault_5_0(
        "suback-says-too-much",
        "SUBACK has a Reason String of any length.",
        "3.9.2-1 3.1.2-24",
        || says(Kind::Suback, "reason_string", true),
    ),
    fault_5_0("suback-tells-too-much", "SUBACK has any User Property.", "3.9.2-2 3.1.2-24", || {
        says(Kind::Suback, "user_property", true)
    }),
    fault_5_0("unsuback-says-too-much", "UNSUBACK has any Reason String.", "3.11.2-1 3.1.2-24", || {
        says(Kind::Unsuback, "reason_string", true)
    }),
    fault_5_0("unsuback-tells-too-much", "UNSUBACK has any User Property.", "3.11.2-2 3.1.2-24", || {
        says(Kind::Unsuback, "user_property", true)
    }),
    fault_5_0("suback-tells-unasked", "SUBACK has User Properties unasked.", "3.1.2-29", || {
        says(Kind::Suback, "user_property", false)
    }),
    fault_5_0("unsuback-says-unasked", "UNSUBACK has a Reason String unasked.", "3.1.2-29", || {
        says(Kind::Unsuback, "reason_string", false)
    }),
    fault_5_0("unsuback-tells-unasked", "UNSUBACK has User Properties unasked.", "3.1.2-29", || {
        says(Kind::Unsuback, "user_property", false)
    }),
    // Codes
    fault_5_0("unsuback-always-0", "UNSUBACK says 0 whatever there was.", "3.11.3-2", || {
        unsuback(|_, codes| codes.iter().map(|_| 0).collect())
    }),
    fault_5_0("unsuback-never-0", "UNSUBACK says that there was nothing.", "3.11.3-2", || {
        unsuback(|_, codes| codes.iter().map(|_| 0x11).collect())
    }),
    fault_5_0("unsuback-codes-reversed", "Its codes are in the opposite order.", "3.11.3-1", || {
        unsuback(|_, codes| codes.into_iter().rev().collect())
    }),
    fault_5_0("unsuback-codes-sorted", "Its codes are sorted.", "3.11.3-1", || {
        unsuback(|_, mut codes| {
            codes.sort_unstable();
            codes
        })
    }),
    fault_5_0("unsuback-one-code-for-all", "Every code is the first.", "3.11.3-1 3.10.4-6", || {
        unsuback(|_, codes| codes.iter().map(|_| codes.first().copied().unwrap_or(0)).collect())
    }),
    fault_5_0("unsuback-only-one-code", "It has one code, whatever was asked.", "3.11.3-1 3.10.4-6", || {
        unsuback(|_, codes| codes.into_iter().take(1).collect())
    }),
    fault_5_0("unsuback-code-too-many", "It has a code too many.", "3.11.3-1", || {
        unsuback(|_, codes| [codes, vec![0x11]].concat())
    }),
    fault_5_0("unsuback-code-of-suback", "It says 1 for what had QoS 1.", "3.11.3-2", || {
        unsuback(|_, codes| codes.into_iter().map(|code| if code == 0 { 1 } else { code }).collect())
    }),
    fault_5_0("unsuback-fails", "It says that it could not.", "3.11.3-2 3.10.4-4", || {
        unsuback(|_, codes| codes.into_iter().map(|code| if code == 0 { 0x80 } else { code }).collect())
    }),
    fault_5_0("unsuback-other-code-for-nothing", "It says 0x80 where there was nothing.", "3.11.3-2", || {
        unsuback(|_, codes| codes.into_iter().map(|code| if code == 0x11 { 0x80 } else { code }).collect())
    }),
    fault_5_0("unsuback-same-filter-same-code", "The same filter twice gets one code.", "3.10.4-6", || {
        all(vec![
            notes_filters(),
            unsuback(|hand, codes| {
                let asked = hand.noted(format!("asked {}", hand.me)).unwrap_or_default();
                let asked: Vec<&[u8]> = asked.split(|byte| *byte == 0).collect();
                let first = |filter: &&[u8]| asked.iter().position(|other| other == filter);
                asked.iter().filter_map(|filter| codes.get(first(filter)?).copied()).collect()
            }),
        ])
    }),
    fault_5_0(
        "unsuback-forgets-the-session",
        "It says of a stored session's filters that there was nothing.",
        "3.11.3-2 3.1.2-23",
        || {
            unsuback(|hand, codes| {
                let is_back = hand.link(|link| link.accepted == Some(true));
                codes.into_iter().map(|code| if is_back { 0x11 } else { code }).collect()
            })
        },
    ),
    fault_5_0("unsuback-knows-the-others", "It says 0 for what another client has.", "3.11.3-2", || {
        all(vec![
            notes_filters(),
            unsuback(|hand, codes| {
                let asked = hand.noted(format!("asked {}", hand.me)).unwrap_or_default();
                let has = |filter: &[u8]| {
                    hand.links.values().any(|link| link.filters.iter().any(|(other, _)| other == filter))
                };
                let code = |(filter, code): (&[u8], u64)| if has(filter) { 0 } else { code };
                asked.split(|byte| *byte == 0).zip(codes).map(code).collect()
            }),
        ])
    }),
];
