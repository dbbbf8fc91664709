//! Chapters 3.3.4 and 4.9 of 5.0: Receive Maximum, both ways.

use std::collections::HashMap;

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet, Value};
use crate::injector::fault::{Bend, Fault, Meddler, all, down, fault_5_0, good, refuses, takes, up};
use crate::injector::hand::{Event, Hand};

/// A window of the fault's own, which replaces the broker's: the broker hears of no Receive Maximum.
#[derive(Clone, Copy)]
struct Window {
    /// Which acknowledgements make room.
    frees: fn(&Packet) -> bool,
    /// Which packets have to wait while there is none.
    waits: fn(&Packet) -> bool,
    /// Whether what has to wait is lost instead.
    loses: bool,
    /// Whether the last that waits comes first.
    last_first: bool,
    /// Whether messages of QoS 1 and QoS 2 have a window each.
    apart: bool,
    /// Which fields a message keeps that waits.
    keeps: fn(&str) -> bool,
}

/// One that is right.
const RIGHT: Window = Window {
    frees: |packet| match packet.kind {
        Kind::Puback | Kind::Pubcomp => true,
        Kind::Pubrec => packet.get("reason") >= 0x80,
        _ => false,
    },
    waits: is_counted,
    loses: false,
    last_first: false,
    apart: false,
    keeps: |_| true,
};

fn is_counted(packet: &Packet) -> bool {
    packet.kind == Kind::Publish && packet.get("qos") > 0
}

/// A client's window.
#[derive(Default)]
struct Open {
    size: usize,
    /// The open identifiers, and their QoS.
    open: Vec<(u64, u64)>,
}

impl Open {
    fn is_full(&self, packet: &Packet, apart: bool) -> bool {
        let same = |qos: u64| !apart || qos == packet.get("qos");
        self.open.iter().filter(|(_, qos)| same(*qos)).count() >= self.size
    }
}

fn window(rule: Window) -> Meddler {
    let mut clients: HashMap<u64, Open> = HashMap::new();
    Box::new(move |hand, event| match event {
        Event::Up(Frame { packet: Ok(packet), bytes }) => {
            if packet.kind == Kind::Connect
                && let Some(size) = packet.number("receive_maximum")
            {
                clients.insert(hand.me, Open { size: size as usize, open: Vec::new() });
                hand.on(true, &packet.without("receive_maximum"));
                return None;
            }
            let is_freeing = (rule.frees)(&packet);
            let id = packet.get("id");
            hand.pass(Event::Up(Frame { packet: Ok(packet), bytes }));
            if let Some(client) = clients.get_mut(&hand.me).filter(|_| is_freeing) {
                client.open.retain(|(open, _)| *open != id);
                release(hand, client, rule);
            }
            None
        }
        Event::Down(Frame { packet: Ok(packet), bytes }) => {
            let Some(client) = clients.get_mut(&hand.me).filter(|_| (rule.waits)(&packet)) else {
                return Some(Event::Down(Frame { packet: Ok(packet), bytes }));
            };
            // Behind what waits already.
            let is_behind = is_counted(&packet) && hand.link(|link| !link.held.is_empty());
            if client.is_full(&packet, rule.apart) || is_behind {
                hand.act();
                if !rule.loses {
                    hand.change(|link| link.held.push_back(packet.only(rule.keeps)));
                }
                return None;
            }
            if is_counted(&packet) {
                client.open.push((packet.get("id"), packet.get("qos")));
            }
            Some(Event::Down(Frame { packet: Ok(packet), bytes }))
        }
        other => Some(other),
    })
}

/// Sends what waits, as long as there is room.
fn release(hand: &mut Hand<'_>, client: &mut Open, rule: Window) {
    loop {
        let mut next = None;
        hand.change(|link| next = if rule.last_first { link.held.pop_back() } else { link.held.pop_front() });
        let Some(packet) = next else { return };
        if is_counted(&packet) {
            if client.is_full(&packet, rule.apart) {
                hand.change(|link| {
                    if rule.last_first { link.held.push_back(packet) } else { link.held.push_front(packet) }
                });
                return;
            }
            client.open.push((packet.get("id"), packet.get("qos")));
        }
        hand.on(false, &packet);
    }
}

/// These packets wait for room, too.
fn waiting(waits: fn(&Packet) -> bool) -> Meddler {
    window(Window { waits, ..RIGHT })
}

/// The client's Receive Maximum reaches the broker as another.
fn hears(change: impl Fn(&mut Hand<'_>, u64) -> Option<u64> + Send + 'static) -> Meddler {
    up(Kind::Connect, move |hand, packet| match packet.number("receive_maximum") {
        Some(maximum) => match change(hand, maximum) {
            Some(other) => vec![packet.set("receive_maximum", other)],
            None => vec![packet.without("receive_maximum")],
        },
        None => vec![packet],
    })
}

/// What this client said, on whatever connection.
fn remembered(hand: &mut Hand<'_>, packet: &Packet) -> Option<u64> {
    let name = [b"receive maximum".to_vec(), packet.text("client_id")].concat();
    let known = hand.noted(&name).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    let said = packet.number("receive_maximum").unwrap_or(65_535);
    if known.is_none() {
        hand.note(name, said.to_string());
    }
    known
}

/// The broker's own Receive Maximum.
fn announced(hand: &Hand<'_>) -> u64 {
    let said = hand.link(|link| link.connack.as_ref().and_then(|connack| connack.number("receive_maximum")));
    said.unwrap_or(65_535)
}

/// Counts the QoS 2 messages of this connection that are open at the broker.
fn counting(rest: Meddler) -> Meddler {
    all(vec![
        rest,
        up(Kind::Publish, |hand, packet| {
            if packet.get("qos") == 2 {
                hand.note(format!("open {} {}", hand.me, packet.get("id")), "");
                hand.count(format!("began {}", hand.me));
            }
            vec![packet]
        }),
        down(Kind::Pubcomp, |hand, packet| {
            hand.count(format!("ended {}", hand.me));
            vec![packet]
        }),
    ])
}

fn number(hand: &Hand<'_>, name: &str) -> u64 {
    let text = hand.noted(format!("{name} {}", hand.me)).and_then(|text| String::from_utf8(text).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A QoS 2 message that begins when so many are open.
fn begins_at(hand: &Hand<'_>, packet: &Packet, open: u64) -> bool {
    packet.kind == Kind::Publish
        && packet.get("qos") == 2
        && number(hand, "began").saturating_sub(number(hand, "ended")) == open
}

pub(super) const FAULTS: &[Fault] = &[
    // The client's
    fault_5_0(
        "receive-maximum-ignored",
        "It sends as many messages at once as there are.",
        "3.3.4-9 4.9.0-2",
        || hears(|_, _| None),
    ),
    fault_5_0(
        "receive-maximum-exceeded-by-one",
        "It sends one message more at once than the client takes.",
        "3.3.4-9 4.9.0-1",
        || hears(|_, maximum| Some(maximum + 1)),
    ),
    fault_5_0(
        "receive-maximum-ignored-on-return",
        "It does not look at the Receive Maximum of a client that comes back.",
        "3.3.4-9 4.9.0-1",
        || {
            up(Kind::Connect, |hand, packet| match remembered(hand, &packet) {
                Some(_) => vec![packet.without("receive_maximum")],
                None => vec![packet],
            })
        },
    ),
    fault_5_0(
        "receive-maximum-of-the-first-connection",
        "What a client said first holds for its later connections.",
        "3.3.4-9 4.9.0-1",
        || {
            up(Kind::Connect, |hand, packet| match remembered(hand, &packet) {
                Some(first) => vec![packet.set("receive_maximum", first)],
                None => vec![packet],
            })
        },
    ),
    fault_5_0("pubrec-makes-room", "PUBREC makes room in the window already.", "3.3.4-9 4.9.0-2", || {
        window(Window { frees: |packet| matches!(packet.kind, Kind::Puback | Kind::Pubrec), ..RIGHT })
    }),
    fault_5_0(
        "refusing-pubrec-makes-no-room",
        "A refusal by PUBREC makes no room in the window.",
        "4.9.0-2",
        || window(Window { frees: |packet| matches!(packet.kind, Kind::Puback | Kind::Pubcomp), ..RIGHT }),
    ),
    fault_5_0(
        "refusing-puback-makes-no-room",
        "A refusal by PUBACK makes no room in the window.",
        "4.9.0-2",
        || {
            window(Window {
                frees: |packet| {
                    (RIGHT.frees)(packet) && (packet.kind != Kind::Puback || packet.get("reason") == 0)
                },
                ..RIGHT
            })
        },
    ),
    fault_5_0("pubcomp-makes-no-room", "PUBCOMP makes no room in the window.", "4.9.0-2", || {
        window(Window { frees: |packet| packet.kind == Kind::Puback, ..RIGHT })
    }),
    fault_5_0("puback-makes-no-room", "PUBACK makes no room in the window.", "4.9.0-2", || {
        window(Window { frees: |packet| packet.kind == Kind::Pubcomp, ..RIGHT })
    }),
    fault_5_0("window-for-each-qos", "QoS 1 and QoS 2 have a window each.", "3.3.4-9 4.9.0-2", || {
        window(Window { apart: true, ..RIGHT })
    }),
    fault_5_0(
        "window-without-qos1",
        "Messages of QoS 1 do not count in the window.",
        "3.3.4-9 4.9.0-2",
        || waiting(|packet| packet.kind == Kind::Publish && packet.get("qos") == 2),
    ),
    fault_5_0(
        "window-without-qos2",
        "Messages of QoS 2 do not count in the window.",
        "3.3.4-9 4.9.0-2",
        || waiting(|packet| packet.kind == Kind::Publish && packet.get("qos") == 1),
    ),
    fault_5_0(
        "qos0-takes-room",
        "A message of QoS 0 takes room, which nothing gives back.",
        "4.9.0-2",
        || {
            let mut sent: HashMap<u64, u64> = HashMap::new();
            down(Kind::Publish, move |hand, packet| {
                let own = hand.link(|link| link.connect.as_ref().and_then(|it| it.number("receive_maximum")));
                let zeros = sent.entry(hand.me).or_default();
                if packet.get("qos") == 0 {
                    *zeros += 1;
                    vec![packet]
                } else if own.is_some_and(|own| *zeros >= own) {
                    vec![]
                } else {
                    vec![packet]
                }
            })
        },
    ),
    fault_5_0(
        "window-without-retained",
        "Retained messages do not count in the window.",
        "3.3.4-9 4.9.0-2",
        || waiting(|packet| is_counted(packet) && packet.get("retain") == 0),
    ),
    fault_5_0(
        "window-without-repeats",
        "What is sent again does not count in the window.",
        "3.3.4-9 4.9.0-2",
        || waiting(|packet| is_counted(packet) && packet.get("dup") == 0),
    ),
    fault_5_0(
        "lost-behind-a-full-window",
        "It loses what does not fit in the window.",
        "4.9.0-2 4.5.0-1",
        || window(Window { loses: true, ..RIGHT }),
    ),
    fault_5_0(
        "properties-lost-behind-a-full-window",
        "What waits for room loses its properties.",
        "3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-20",
        || {
            let keeps = |name: &str| {
                !matches!(
                    name,
                    "payload_format"
                        | "content_type"
                        | "response_topic"
                        | "correlation_data"
                        | "user_property"
                )
            };
            window(Window { keeps, ..RIGHT })
        },
    ),
    fault_5_0(
        "identifiers-lost-behind-a-full-window",
        "What waits for room loses its Subscription Identifier.",
        "3.3.4-3",
        || window(Window { keeps: |name| name != "subscription_id", ..RIGHT }),
    ),
    fault_5_0("retain-lost-behind-a-full-window", "What waits for room has RETAIN 0.", "3.3.1-13", || {
        window(Window { keeps: |name| name != "retain", ..RIGHT })
    }),
    fault_5_0(
        "last-first-behind-a-full-window",
        "Of what waits for room it sends the last first.",
        "4.6.0-5",
        || window(Window { last_first: true, ..RIGHT }),
    ),
    fault_5_0("pings-wait-for-room", "PINGRESP waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Pingresp)
    }),
    fault_5_0("subacks-wait-for-room", "SUBACK waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Suback)
    }),
    fault_5_0("unsubacks-wait-for-room", "UNSUBACK waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Unsuback)
    }),
    fault_5_0("pubacks-wait-for-room", "PUBACK waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Puback)
    }),
    fault_5_0("pubrecs-wait-for-room", "PUBREC waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Pubrec)
    }),
    fault_5_0("pubrels-wait-for-room", "PUBREL waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Pubrel)
    }),
    fault_5_0("pubcomps-wait-for-room", "PUBCOMP waits for room.", "3.3.4-10 4.9.0-3", || {
        waiting(|packet| is_counted(packet) || packet.kind == Kind::Pubcomp)
    }),
    fault_5_0(
        "full-window-stops-everybody",
        "While one client's window is full, the others get nothing.",
        "4.9.0-2 4.5.0-1",
        || {
            let mut full: Option<(u64, u64)> = None;
            Box::new(move |hand, event| {
                match &event {
                    Event::Down(Frame { packet: Ok(packet), .. }) if is_counted(packet) => {
                        let is_small = hand.link(|link| {
                            let connect = link.connect.as_ref();
                            connect.and_then(|connect| connect.number("receive_maximum")) == Some(1)
                        });
                        match full {
                            Some((client, _)) if client != hand.me => {
                                hand.act();
                                return None;
                            }
                            None if is_small => full = Some((hand.me, packet.get("id"))),
                            _ => {}
                        }
                    }
                    Event::Up(Frame { packet: Ok(packet), .. })
                        if full == Some((hand.me, packet.get("id"))) =>
                    {
                        full = None;
                    }
                    _ => {}
                }
                Some(event)
            })
        },
    ),
    // The broker's
    fault_5_0(
        "too-many-taken",
        "It takes more messages at once than it says.",
        "3.3.4-7 4.9.0-2 4.13.1-1",
        || {
            counting(takes(|hand, frame| {
                good(frame, Kind::Publish, |packet| begins_at(hand, packet, announced(hand)))
            }))
        },
    ),
    fault_5_0("one-less-taken", "It takes one message less at once than it says.", "4.9.0-2", || {
        counting(refuses(|hand, packet| begins_at(hand, packet, announced(hand).saturating_sub(1))))
    }),
    fault_5_0("taken-only-once", "Messages that are done still count in its window.", "4.9.0-2", || {
        counting(refuses(|hand, packet| {
            packet.kind == Kind::Publish && packet.get("qos") == 2 && number(hand, "began") >= announced(hand)
        }))
    }),
    fault_5_0(
        "refused-still-counts",
        "A message that it refused takes room in its window.",
        "4.9.0-2",
        || counting(refuses(|hand, packet| begins_at(hand, packet, announced(hand)))),
    ),
    fault_5_0("qos1-still-counts", "QoS 1 takes room in its window for ever.", "4.9.0-2", || {
        let mut counts: HashMap<u64, u64> = HashMap::new();
        refuses(move |hand, packet| {
            if packet.kind != Kind::Publish || packet.get("qos") != 1 {
                return false;
            }
            let count = counts.entry(hand.me).or_default();
            *count += 1;
            *count > announced(hand)
        })
    }),
    fault_5_0(
        "receive-maximum-for-both",
        "What a client takes at once is all that it may send.",
        "4.9.0-2",
        || {
            counting(refuses(|hand, packet| {
                let own = hand.link(|link| link.connect.as_ref().and_then(|it| it.number("receive_maximum")));
                own.is_some_and(|own| begins_at(hand, packet, own))
            }))
        },
    ),
    fault_5_0(
        "repeats-are-too-many",
        "What a client sends again counts twice in its window.",
        "4.9.0-1 4.3.3-10",
        || {
            counting(refuses(|hand, packet| {
                packet.kind == Kind::Publish && packet.get("dup") == 1 && announced(hand) < 65_535
            }))
        },
    ),
    fault_5_0(
        "too-many-ends-it-otherwise",
        "It says with a wrong code that there were too many messages.",
        "4.9.0-2 4.13.1-1",
        || {
            down(Kind::Disconnect, |_, packet| match packet.number("reason") {
                Some(0x93) => vec![packet.set("reason", Value::Number(0x97))],
                _ => vec![packet],
            })
        },
    ),
];
