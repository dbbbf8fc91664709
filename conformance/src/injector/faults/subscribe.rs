//! Chapters 3.8 and 3.9: SUBSCRIBE and SUBACK.

use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{
    Bend, Fault, Meddler, all, down, down_set, fault, good, ignores, loses, takes, up,
};
use crate::injector::hand::{Event, Filters, Hand, filters};

/// Such a SUBSCRIBE is taken.
fn takes_subscribe(which: fn(&Packet) -> bool) -> Meddler {
    takes(move |_, frame| good(frame, Kind::Subscribe, which))
}

/// The bytes with the requested QoS: of 5.0 only those that are wrong.
fn any_option(packet: &Packet, which: fn(u64) -> bool) -> bool {
    let mut options = packet.all("qos").chain(packet.all("options"));
    options.any(|value| matches!(value, Value::Number(number) if which(*number)))
}

/// A SUBSCRIBE or SUBACK with these entries.
fn subscribe(id: u64, filters: &[(Vec<u8>, u64)]) -> Packet {
    filters.iter().fold(Packet::new(Kind::Subscribe).with("id", id), |packet, (filter, qos)| {
        packet.with("topic", filter.clone()).with("qos", *qos)
    })
}

fn suback(id: u64, codes: impl IntoIterator<Item = u64>) -> Packet {
    codes
        .into_iter()
        .fold(Packet::new(Kind::Suback).with("id", id), |packet, code| packet.with("reason", code))
}

fn codes(packet: &Packet) -> Vec<u64> {
    packet
        .all("reason")
        .filter_map(|value| if let Value::Number(code) = value { Some(*code) } else { None })
        .collect()
}

/// The codes of SUBACK are changed.
fn changes_codes(change: fn(Vec<u64>) -> Vec<u64>) -> Meddler {
    down(Kind::Suback, move |_, packet| vec![suback(packet.get("id"), change(codes(&packet)))])
}

/// Only some of the filters are honoured; SUBACK answers for all.
fn honours(which: fn(Filters) -> Filters) -> Meddler {
    all(vec![
        up(Kind::Subscribe, move |hand, packet| {
            let (id, wanted) = (packet.get("id"), filters(&packet));
            let kept = which(wanted.clone());
            if kept == wanted {
                return vec![packet];
            }
            hand.note(
                format!("{} {id}", hand.me),
                wanted.iter().map(|(_, qos)| *qos as u8).collect::<Vec<u8>>(),
            );
            vec![subscribe(id, &kept)]
        }),
        down(Kind::Suback, |hand, packet| {
            let id = packet.get("id");
            match hand.forget(format!("{} {id}", hand.me)) {
                Some(all) => vec![suback(id, all.into_iter().map(u64::from))],
                None => vec![packet],
            }
        }),
    ])
}

/// How often the client has subscribed to this filter on this connection, this time included.
fn times(hand: &mut Hand<'_>, filter: &[u8]) -> u64 {
    let name = [format!("times {} ", hand.me).as_bytes(), filter].concat();
    hand.count(name)
}

/// A SUBSCRIBE for a filter that the client has subscribed to before is dealt with by `then`.
fn again(then: fn(&mut Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    up(Kind::Subscribe, move |hand, packet| {
        let repeated = filters(&packet).iter().filter(|(filter, _)| times(hand, filter) > 1).count() > 0;
        if repeated { then(hand, packet) } else { vec![packet] }
    })
}

fn granted(packet: &Packet) -> Vec<u64> {
    filters(packet).into_iter().map(|(_, qos)| qos).collect()
}

pub(super) const FAULTS: &[Fault] = &[
    fault("subscribe-without-filter-taken", "It takes a SUBSCRIBE without filters.", "3.8.3-3", || {
        ignores(|_, frame| good(frame, Kind::Subscribe, |packet| packet.bytes("topic").is_none()))
    }),
    fault(
        "subscribe-without-filter-answered",
        "It answers a SUBSCRIBE without filters by SUBACK.",
        "3.8.3-3",
        || takes_subscribe(|packet| packet.bytes("topic").is_none()),
    ),
    fault("subscribe-qos3-taken", "It takes a request for QoS 3.", "3.8.3-4", || {
        takes_subscribe(|packet| any_option(packet, |option| option == 3))
    }),
    fault(
        "subscribe-qos3-refused-by-code",
        "It answers a request for QoS 3 by code 0x80, and does not close.",
        "3.8.3-4",
        || {
            Box::new(|hand, event| match &event {
                Event::Up(frame)
                    if good(frame, Kind::Subscribe, |packet| any_option(packet, |option| option == 3)) =>
                {
                    hand.tell_client(&suback(1, [0x80]));
                    None
                }
                _ => Some(event),
            })
        },
    ),
    fault(
        "subscribe-reserved-bits-taken",
        "It does not look at the reserved bits beside the QoS.",
        "3.8.3-4",
        || takes_subscribe(|packet| any_option(packet, |option| option > 3)),
    ),
    fault("suback-missing", "It does not answer SUBSCRIBE.", "3.8.4-1", || loses(Kind::Suback)),
    fault("suback-only-first", "It answers the first SUBSCRIBE of a connection only.", "3.8.4-1", || {
        down(Kind::Suback, |hand, packet| {
            let name = format!("{}", hand.me);
            if hand.count(name) > 1 { vec![] } else { vec![packet] }
        })
    }),
    fault("suback-twice", "It answers SUBSCRIBE twice.", "3.8.4-1 3.8.4-4", || {
        down(Kind::Suback, |_, packet| vec![packet.clone(), packet])
    }),
    fault("suback-for-each-filter", "It sends a SUBACK for each filter.", "3.8.4-4 3.8.4-5", || {
        down(Kind::Suback, |_, packet| {
            codes(&packet).into_iter().map(|code| suback(packet.get("id"), [code])).collect()
        })
    }),
    fault("suback-code-missing", "Its SUBACK lacks the last code.", "3.8.4-5", || {
        changes_codes(|mut codes| {
            if codes.len() > 1 {
                codes.pop();
            }
            codes
        })
    }),
    fault("suback-code-too-many", "Its SUBACK has a code too many.", "3.8.4-5", || {
        changes_codes(|mut codes| {
            codes.push(0);
            codes
        })
    }),
    fault(
        "suback-one-code-for-all",
        "Its SUBACK says the first code for every filter.",
        "3.8.4-5 3.9.3-1",
        || changes_codes(|codes| codes.iter().map(|_| codes.first().copied().unwrap_or(0)).collect()),
    ),
    fault("suback-codes-reversed", "Its codes stand in the opposite order.", "3.9.3-1", || {
        changes_codes(|mut codes| {
            codes.reverse();
            codes
        })
    }),
    fault("suback-codes-sorted", "Its codes are sorted.", "3.9.3-1", || {
        changes_codes(|mut codes| {
            codes.sort_unstable();
            codes
        })
    }),
    fault("suback-code-3", "It sends SUBACK code 3.", "3.9.3-2", || {
        changes_codes(|codes| codes.iter().map(|code| code + 1).collect())
    }),
    fault("suback-code-too-high", "It grants more than was asked for.", "3.8.4-5", || {
        changes_codes(|codes| codes.iter().map(|code| (code + 1).min(2)).collect())
    }),
    fault("suback-code-0", "Its SUBACK always says 0, whatever it grants.", "3.8.4-5 3.8.4-6", || {
        changes_codes(|codes| codes.iter().map(|_| 0).collect())
    }),
    fault("suback-failure", "It refuses every subscription.", "3.8.4-5", || {
        changes_codes(|codes| codes.iter().map(|_| 0x80).collect())
    }),
    fault("suback-reserved-code", "It answers by code 0x87, as in 5.0.", "3.9.3-2", || {
        down_set(Kind::Suback, "reason", 0x87u64)
    })
    .not_in_5_0(),
    fault("subscribe-has-no-effect", "It answers SUBSCRIBE and forgets it.", "3.8.4-1 4.5.0-1", || {
        up(Kind::Subscribe, |hand, packet| {
            hand.tell_client(&suback(packet.get("id"), granted(&packet)));
            vec![]
        })
    }),
    fault("subscribe-only-first-filter", "Of several filters it honours the first.", "3.8.4-4", || {
        honours(|filters| filters.into_iter().take(1).collect())
    }),
    fault("subscribe-only-last-filter", "Of several filters it honours the last.", "3.8.4-4", || {
        honours(|filters| filters.into_iter().rev().take(1).collect())
    }),
    fault(
        "subscribe-one-qos-for-all",
        "The last QoS of a SUBSCRIBE holds for all its filters.",
        "3.8.4-4 3.8.4-5 3.8.4-6",
        || {
            honours(|filters| {
                let qos = filters.last().map_or(0, |(_, qos)| *qos);
                filters.into_iter().map(|(filter, _)| (filter, qos)).collect()
            })
        },
    ),
    fault("subscribe-at-most-8-filters", "Of more than 8 filters it honours 8.", "3.8.4-4", || {
        honours(|filters| filters.into_iter().take(8).collect())
    }),
    fault(
        "subscribe-replaces-the-others",
        "A new subscription ends the older ones.",
        "4.5.0-1 4.1.0-1",
        || {
            up(Kind::Subscribe, |hand, packet| {
                let name = format!("last {}", hand.me);
                let new: Vec<_> = filters(&packet).into_iter().map(|(filter, _)| filter).collect();
                let old = hand.noted(&name);
                hand.note(name, new.join(&0));
                match old {
                    Some(old) => {
                        let gone = old
                            .split(|byte| *byte == 0)
                            .filter(|filter| !new.iter().any(|new| new == filter));
                        let start = Packet::new(Kind::Unsubscribe).with("id", 64_999u64);
                        let packets =
                            gone.fold(start, |packet, filter| packet.with("topic", filter.to_vec()));
                        if packets.bytes("topic").is_some() { vec![packets, packet] } else { vec![packet] }
                    }
                    None => vec![packet],
                }
            })
        },
    ),
    // The same filter again
    fault(
        "same-filter-keeps-the-old-qos",
        "The same filter again leaves the subscription as it was.",
        "3.8.4-3",
        || {
            again(|hand, packet| {
                hand.tell_client(&suback(packet.get("id"), granted(&packet)));
                vec![]
            })
        },
    ),
    fault(
        "same-filter-brings-no-retained",
        "The same filter again brings no retained messages.",
        "3.8.4-3",
        || {
            down(Kind::Publish, |hand, packet| {
                let name = [packet.text("topic"), hand.me.to_string().into_bytes()].join(&0);
                if packet.get("retain") == 1 && hand.count(name) > 1 { vec![] } else { vec![packet] }
            })
        },
    ),
    fault(
        "same-filter-is-a-second-subscription",
        "The same filter again is a second subscription.",
        "3.8.4-3",
        || {
            all(vec![
                again(|hand, packet| {
                    hand.note(format!("doubled {}", hand.me), "");
                    vec![packet]
                }),
                down(Kind::Publish, |hand, packet| {
                    if packet.get("retain") == 0
                        && packet.get("dup") == 0
                        && hand.noted(format!("doubled {}", hand.me)).is_some()
                    {
                        let second = if packet.get("qos") > 0 {
                            packet.clone().set("id", packet.get("id") + 500)
                        } else {
                            packet.clone()
                        };
                        return vec![packet, second];
                    }
                    vec![packet]
                }),
            ])
        },
    ),
    fault("same-filter-is-refused", "The same filter again is refused.", "3.8.4-3 3.8.4-5", || {
        again(|hand, packet| {
            hand.tell_client(&suback(packet.get("id"), granted(&packet).iter().map(|_| 0x80)));
            vec![]
        })
    }),
    fault(
        "same-filter-ends-the-subscription",
        "The same filter again ends the subscription.",
        "3.8.4-3",
        || {
            again(|_, packet| {
                let start = Packet::new(Kind::Unsubscribe).with("id", 64_999u64);
                let end = filters(&packet)
                    .into_iter()
                    .fold(start, |packet, (filter, _)| packet.with("topic", filter));
                vec![packet, end]
            })
        },
    ),
];
