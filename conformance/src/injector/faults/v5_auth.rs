//! Chapters 3.15 and 4.12 of 5.0: AUTH, and who is let in by it.

use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};
use crate::injector::fault::{
    Bend, Fault, Meddler, all, down, fault_5_0, flags, good, ignores, is, loses, refuses, takes, up, wrong,
};
use crate::injector::hand::{Event, Hand, Link};

const SCRAM: &str = "SCRAM-SHA-256";

/// The method in the client's CONNECT.
fn method(link: &Link) -> Option<Vec<u8>> {
    link.connect.as_ref()?.bytes("authentication_method").map(<[u8]>::to_vec)
}

fn has_scram(link: &Link) -> bool {
    method(link).is_some_and(|method| method == SCRAM.as_bytes())
}

/// Whether the client is to show who it is, and has not yet.
fn is_asked(hand: &Hand<'_>) -> bool {
    hand.link(|link| has_scram(link) && link.accepted.is_none())
}

fn is_let_in(hand: &Hand<'_>) -> bool {
    hand.link(|link| link.accepted.is_some())
}

/// A method that nobody has.
fn is_unknown(packet: &Packet) -> bool {
    packet.bytes("authentication_method").is_some_and(|method| method != SCRAM.as_bytes())
}

/// AUTH from the broker is changed.
fn question(change: fn(Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Auth, move |_, packet| change(packet))
}

/// CONNACK 0 for a client that has a method is changed.
fn success(change: fn(Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Connack, move |hand, packet| {
        if packet.get("reason") == 0 && hand.link(has_scram) { change(packet) } else { vec![packet] }
    })
}

/// CONNACK for a client that names no method is changed.
fn unasked(change: fn(Packet) -> Vec<Packet>) -> Meddler {
    down(Kind::Connack, move |hand, packet| {
        let has_none = hand.link(|link| method(link).is_none());
        if packet.get("reason") == 0 && has_none { change(packet) } else { vec![packet] }
    })
}

/// AUTH from the client is read as if it were this.
fn reads(which: fn(&Hand<'_>) -> bool, change: fn(&mut Vec<u8>)) -> Meddler {
    Box::new(move |hand, event| match event {
        Event::Up(frame) if is(&frame, Kind::Auth) && which(hand) => {
            let mut bytes = frame.bytes.clone();
            change(&mut bytes);
            if bytes != frame.bytes {
                hand.act();
            }
            Some(Event::Up(Frame { bytes, ..frame }))
        }
        other => Some(other),
    })
}

fn auth(reason: u64) -> Packet {
    Packet::new(Kind::Auth).with("reason", reason).with("authentication_method", SCRAM)
}

/// A client whose proof is wrong is let in, or has shown again who it is.
fn believes() -> Meddler {
    Box::new(|hand, event| {
        let is_refusal = |frame: &Frame| {
            good(frame, Kind::Connack, |packet| packet.get("reason") >= 0x80)
                || good(frame, Kind::Disconnect, |packet| packet.get("reason") >= 0x80)
        };
        let name = format!("believed {}", hand.me);
        match &event {
            Event::Down(frame) if is_refusal(frame) && hand.link(has_scram) => {
                hand.note(name, "");
                let instead = if is_let_in(hand) {
                    auth(0)
                } else {
                    let connack = Packet::new(Kind::Connack).with("session_present", 0u64);
                    connack.with("reason", 0u64).with("authentication_method", SCRAM)
                };
                hand.tell_client(&instead);
                None
            }
            Event::BrokerEnd if hand.noted(name).is_some() => None,
            _ => Some(event),
        }
    })
}

/// From the AUTH that begins a re-authentication to the one that ends it, and behind it.
fn around_again(during: bool, then: fn(&mut Hand<'_>, Packet) -> Vec<Packet>) -> Meddler {
    all(vec![
        up(Kind::Auth, |hand, packet| {
            if packet.get("reason") == 0x19 {
                hand.note(format!("again {}", hand.me), "during");
            }
            vec![packet]
        }),
        down(Kind::Auth, |hand, packet| {
            if packet.get("reason") == 0 {
                hand.note(format!("again {}", hand.me), "behind");
            }
            vec![packet]
        }),
        down(Kind::Publish, move |hand, packet| {
            let now: &[u8] = if during { b"during" } else { b"behind" };
            if hand.noted(format!("again {}", hand.me)).as_deref() == Some(now) {
                then(hand, packet)
            } else {
                vec![packet]
            }
        }),
    ])
}

/// The will in the client's CONNECT goes out.
fn publish_will(hand: &mut Hand<'_>) {
    let Some(connect) = hand.link(|link| link.connect.clone()) else { return };
    if let Some(topic) = connect.bytes("will_topic") {
        let will = Packet::new(Kind::Publish).with("topic", topic.to_vec());
        hand.publish(&will.with("payload", connect.text("will_payload")));
    }
}

pub(super) const FAULTS: &[Fault] = &[
    // The exchange
    fault_5_0("auth-missing", "It does not answer the first message of an exchange.", "4.12.0-2", || {
        loses(Kind::Auth)
    }),
    fault_5_0("auth-twice", "It sends AUTH twice.", "4.12.0-2", || {
        question(|packet| vec![packet.clone(), packet])
    }),
    fault_5_0("auth-with-code-0", "Its AUTH has code 0 where the client has to go on.", "4.12.0-2", || {
        question(|packet| vec![packet.set("reason", 0u64)])
    }),
    fault_5_0("auth-with-code-of-clients", "Its AUTH has a code that only clients send.", "3.15.2-1", || {
        question(|packet| vec![packet.set("reason", 0x19u64)])
    }),
    fault_5_0("auth-with-flags", "Its AUTH has flags.", "3.15.1-1 4.12.0-2", || {
        question(|packet| vec![packet.set("flags", 1u64)])
    }),
    fault_5_0("auth-without-method", "Its AUTH has no method.", "4.12.0-5", || {
        question(|packet| vec![packet.without("authentication_method").without("authentication_data")])
    }),
    fault_5_0("auth-with-other-method", "Its AUTH has another method than CONNECT.", "4.12.0-5", || {
        question(|packet| vec![packet.set("authentication_method", "SCRAM-SHA-512")])
    }),
    fault_5_0("auth-without-data", "Its AUTH has no data.", "4.12.0-2 4.12.0-5", || {
        question(|packet| vec![packet.without("authentication_data")])
    }),
    fault_5_0(
        "auth-with-long-reason",
        "Its AUTH has a reason of 1,000 characters.",
        "3.15.2-2 3.1.2-24",
        || question(|packet| vec![packet.with("reason_string", vec![b'x'; 1000])]),
    ),
    fault_5_0(
        "auth-with-long-user-property",
        "Its AUTH has a user property of 1,000 characters.",
        "3.15.2-3 3.1.2-24",
        || question(|packet| vec![packet.with("user_property", vec![b'x'; 1000])]),
    ),
    fault_5_0("auth-asks-the-same", "It asks the same question each time.", "4.12.0-4 4.12.0-2", || {
        down(Kind::Auth, |hand, packet| {
            if packet.get("reason") == 0 {
                return vec![packet];
            }
            match hand.noted("question") {
                Some(question) => vec![packet.set("authentication_data", question)],
                None => {
                    hand.note("question", packet.text("authentication_data"));
                    vec![packet]
                }
            }
        })
    }),
    fault_5_0("auth-behind-connack", "It sends AUTH behind CONNACK.", "4.12.0-2 3.2.0-2", || {
        success(|packet| vec![packet, auth(0)])
    }),
    fault_5_0("auth-instead-of-connack", "It ends the first exchange by AUTH 0.", "4.12.0-2 3.1.4-5", || {
        success(|packet| {
            let auth = Packet { kind: Kind::Auth, ..packet.without("session_present") };
            vec![auth.only(|name| name == "reason" || name.starts_with("auth"))]
        })
    }),
    fault_5_0("success-without-method", "Its CONNACK lacks the client's method.", "4.12.0-5", || {
        success(|packet| vec![packet.without("authentication_method").without("authentication_data")])
    }),
    fault_5_0("success-with-other-method", "Its CONNACK has another method.", "4.12.0-5", || {
        success(|packet| vec![packet.set("authentication_method", "scram-sha-256")])
    }),
    fault_5_0("success-without-data", "It does not show that it knows of the password.", "4.12.0-5", || {
        success(|packet| vec![packet.without("authentication_data")])
    }),
    fault_5_0("success-with-other-data", "Its last word is that of another exchange.", "4.12.0-5", || {
        success(|packet| {
            vec![packet.set("authentication_data", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")]
        })
    }),
    fault_5_0("any-proof-believed", "It lets in who proves nothing.", "4.12.0-4 4.12.1-2 3.1.4-2", believes),
    fault_5_0(
        "rejected-left-open",
        "It does not close when it has rejected a client.",
        "4.12.0-4 4.12.0-1 4.12.1-2",
        || {
            Box::new(|hand, event| {
                let has_method = hand.link(|link| method(link).is_some() && !link.goodbye && !link.is_over());
                if matches!(event, Event::BrokerEnd) && has_method {
                    hand.act();
                    return None;
                }
                Some(event)
            })
        },
    ),
    fault_5_0("no-scram-ignored", "It waits on when a client's message is none.", "4.12.0-4", || {
        let is_nonsense = |packet: &Packet| {
            packet.bytes("authentication_data").is_some_and(|data| !data.starts_with(b"n,,"))
        };
        ignores(move |_, frame| good(frame, Kind::Connect, is_nonsense))
    }),
    fault_5_0("second-first-message-answered", "An exchange may begin anew at any time.", "4.12.0-4", || {
        up(Kind::Auth, |hand, packet| {
            if is_asked(hand) && packet.text("authentication_data").starts_with(b"n,,") {
                hand.tell_client(&auth(0x18).with("authentication_data", "r=x,s=AAAA,i=4096"));
                return vec![];
            }
            vec![packet]
        })
    }),
    fault_5_0("auth-without-data-ignored", "It waits on when AUTH has no data.", "4.12.0-4", || {
        ignores(|hand, frame| {
            is_asked(hand) && good(frame, Kind::Auth, |packet| packet.bytes("authentication_data").is_none())
        })
    }),
    fault_5_0(
        "auth-method-not-looked-at",
        "It does not look at the method in AUTH.",
        "4.12.0-5 4.13.1-1",
        || {
            up(Kind::Auth, |hand, packet| {
                let missing = packet.bytes("authentication_method").is_none();
                if !is_asked(hand) || missing {
                    vec![packet]
                } else {
                    vec![packet.set("authentication_method", SCRAM)]
                }
            })
        },
    ),
    fault_5_0(
        "auth-method-need-not-be-there",
        "It takes AUTH without a method.",
        "4.12.0-5 4.13.1-1",
        || {
            ignores(|hand, frame| {
                let lacks = |packet: &Packet| packet.bytes("authentication_method").is_none();
                is_asked(hand) && good(frame, Kind::Auth, lacks)
            })
        },
    ),
    fault_5_0(
        "auth-code-not-looked-at",
        "It does not look at the code of AUTH.",
        "3.15.2-1 4.13.1-1",
        || {
            reads(
                |_| true,
                |bytes| {
                    // All of them have a length of one byte or two.
                    let place = if bytes.get(1).is_some_and(|length| length & 0x80 != 0) { 3 } else { 2 };
                    if let Some(code) = bytes.get_mut(place) {
                        *code = 0x18;
                    }
                },
            )
        },
    ),
    fault_5_0(
        "auth-codes-ignored",
        "It ignores AUTH with a code that is not due.",
        "3.15.2-1 4.13.1-1",
        || {
            ignores(|hand, frame| {
                let due = if is_asked(hand) { 0x18 } else { 0x19 };
                is(frame, Kind::Auth)
                    && hand.link(has_scram)
                    && hand.noted(format!("again {}", hand.me)).is_none()
                    && !good(frame, Kind::Auth, |packet| packet.get("reason") == due)
            })
        },
    ),
    fault_5_0("auth-flags-taken", "It does not look at the flags of AUTH.", "3.15.1-1 2.1.3-1", || {
        reads(
            |hand| hand.link(has_scram),
            |bytes| {
                if let Some(first) = bytes.first_mut() {
                    *first = 0xf0;
                }
            },
        )
    }),
    fault_5_0("auth-with-flags-ignored", "It ignores AUTH with flags.", "3.15.1-1 2.1.3-1", || {
        ignores(|_, frame| is(frame, Kind::Auth) && flags(frame) != 0)
    }),
    fault_5_0(
        "auth-malformed-ignored",
        "It ignores an AUTH that it cannot read.",
        "4.13.1-1 3.15.2-1",
        || ignores(|_, frame| is(frame, Kind::Auth) && frame.packet.is_err() && flags(frame) == 0),
    ),
    fault_5_0(
        "auth-with-other-property-taken",
        "It skips properties that AUTH must not have.",
        "4.13.1-1",
        || takes(|_, frame| is(frame, Kind::Auth) && wrong(frame, "must not have")),
    ),
    fault_5_0(
        "auth-with-reason-refused",
        "It refuses AUTH with a reason string.",
        "3.15.2-1 4.12.0-2",
        || refuses(|_, packet| packet.kind == Kind::Auth && packet.bytes("reason_string").is_some()),
    ),
    // Before the client is let in
    fault_5_0(
        "early-packets-ignored",
        "It ignores other packets than AUTH in an exchange.",
        "3.1.4-6 4.13.1-1",
        || {
            ignores(|hand, frame| {
                let others = [Kind::Publish, Kind::Subscribe, Kind::Pingreq];
                is_asked(hand) && others.iter().any(|kind| is(frame, *kind))
            })
        },
    ),
    fault_5_0("early-ping-answered", "It answers PINGREQ in an exchange.", "3.1.4-6 4.13.1-1", || {
        takes(|hand, frame| is_asked(hand) && is(frame, Kind::Pingreq))
    }),
    fault_5_0("early-message-taken", "It publishes what comes in an exchange.", "3.1.4-6 4.13.1-1", || {
        up(Kind::Publish, |hand, packet| {
            if is_asked(hand) {
                hand.publish(&packet);
            }
            vec![packet]
        })
    }),
    fault_5_0(
        "second-connect-in-an-exchange-taken",
        "It answers CONNECT in an exchange.",
        "3.1.4-6 4.13.1-1",
        || {
            ignores(|hand, frame| {
                is_asked(hand) && is(frame, Kind::Connect) && hand.link(|link| link.sent > 1)
            })
        },
    ),
    fault_5_0(
        "half-an-exchange-takes-over",
        "It takes over before it knows who comes.",
        "3.1.4-2 4.12.0-1",
        || {
            up(Kind::Connect, |hand, packet| {
                let id = packet.text("client_id");
                if packet.bytes("authentication_method").is_some() {
                    for other in hand.others() {
                        if hand.links.get(&other).is_some_and(|link| link.client_id() == id) {
                            hand.as_if(other, |hand| hand.close());
                        }
                    }
                }
                vec![packet]
            })
        },
    ),
    fault_5_0(
        "half-an-exchange-has-a-will",
        "It publishes the will of who was not let in.",
        "3.1.4-2 3.1.4-6 4.12.0-1",
        || {
            Box::new(|hand, event| {
                let ends = matches!(event, Event::ClientEnd | Event::BrokerEnd);
                let outside = hand.link(|link| method(link).is_some() && link.accepted.is_none());
                if ends && outside && hand.noted(format!("willed {}", hand.me)).is_none() {
                    hand.note(format!("willed {}", hand.me), "");
                    publish_will(hand);
                }
                Some(event)
            })
        },
    ),
    fault_5_0("goodbye-in-an-exchange-ignored", "It ignores DISCONNECT in an exchange.", "3.14.4-3", || {
        ignores(|hand, frame| is_asked(hand) && is(frame, Kind::Disconnect))
    }),
    // Methods
    fault_5_0("unknown-method-ignored", "It ignores a method that it does not know.", "4.12.0-1", || {
        up(Kind::Connect, |_, packet| {
            if is_unknown(&packet) {
                return vec![packet.without("authentication_method").without("authentication_data")];
            }
            vec![packet]
        })
    }),
    fault_5_0("unknown-method-asked", "It goes on with a method that it does not know.", "4.12.0-1", || {
        Box::new(|hand, event| match &event {
            Event::Up(frame) if good(frame, Kind::Connect, is_unknown) => {
                hand.tell_client(&Packet::new(Kind::Auth).with("reason", 0x18u64));
                None
            }
            _ => Some(event),
        })
    }),
    fault_5_0("unknown-method-other-code", "It refuses an unknown method by 0x88.", "4.12.0-1", || {
        down(Kind::Connack, |hand, packet| {
            let is_unknown = hand.link(|link| link.connect.as_ref().is_some_and(is_unknown));
            if is_unknown { vec![packet.set("reason", 0x88u64)] } else { vec![packet] }
        })
    }),
    fault_5_0(
        "unknown-method-goodbye",
        "It refuses an unknown method by DISCONNECT.",
        "4.12.0-1 3.14.0-1",
        || {
            down(Kind::Connack, |hand, packet| {
                let is_unknown = hand.link(|link| link.connect.as_ref().is_some_and(is_unknown));
                let goodbye = Packet::new(Kind::Disconnect).with("reason", 0x87u64);
                if is_unknown { vec![goodbye] } else { vec![packet] }
            })
        },
    ),
    fault_5_0(
        "refused-method-has-a-session",
        "It keeps a session of who was refused.",
        "4.12.0-1 3.1.4-6",
        || {
            down(Kind::Connack, |hand, packet| {
                let id = hand.link(|link| link.client_id());
                if packet.get("reason") >= 0x80 {
                    hand.note([b"refused ".to_vec(), id].concat(), "");
                    return vec![packet];
                }
                let was_refused = hand.noted([b"refused ".to_vec(), id].concat()).is_some();
                let is_resumed = was_refused && !hand.link(|link| link.starts_clean());
                if is_resumed { vec![packet.set("session_present", 1u64)] } else { vec![packet] }
            })
        },
    ),
    fault_5_0("nobody-asked-but-answered", "It sends AUTH to who has no method.", "4.12.0-6", || {
        unasked(|packet| vec![auth(0x18), packet])
    }),
    fault_5_0(
        "nobody-asked-but-answered-later",
        "It sends AUTH behind CONNACK, unasked.",
        "4.12.0-6",
        || unasked(|packet| vec![packet, auth(0)]),
    ),
    fault_5_0("method-unasked", "Its CONNACK has a method although CONNECT had none.", "4.12.0-6", || {
        unasked(|packet| vec![packet.with("authentication_method", SCRAM)])
    }),
    fault_5_0("auth-unasked-ignored", "It ignores AUTH of who has no method.", "4.12.0-7 4.13.1-1", || {
        ignores(|hand, frame| is(frame, Kind::Auth) && hand.link(|link| method(link).is_none()))
    }),
    fault_5_0("auth-unasked-answered", "It answers AUTH of who has no method.", "4.12.0-7 4.13.1-1", || {
        Box::new(|hand, event| match &event {
            Event::Up(frame) if is(frame, Kind::Auth) && is_let_in(hand) && !hand.link(has_scram) => {
                hand.tell_client(&auth(0));
                None
            }
            _ => Some(event),
        })
    }),
    fault_5_0("auth-before-connect-ignored", "It ignores AUTH before CONNECT.", "3.1.0-1 4.13.1-1", || {
        ignores(|hand, frame| is(frame, Kind::Auth) && hand.link(|link| link.connect.is_none()))
    }),
    fault_5_0("auth-before-connect-answered", "It answers AUTH before CONNECT.", "3.1.0-1 4.13.1-1", || {
        Box::new(|hand, event| match &event {
            Event::Up(frame) if is(frame, Kind::Auth) && hand.link(|link| link.connect.is_none()) => {
                hand.tell_client(&auth(0x18));
                None
            }
            _ => Some(event),
        })
    }),
    fault_5_0("data-without-method-taken", "It takes data without a method.", "4.13.1-1 3.1.4-1", || {
        takes(|_, frame| is(frame, Kind::Connect) && wrong(frame, "data without authentication_method"))
    }),
    // Again
    fault_5_0("again-not-answered", "It does not answer re-authentication.", "4.12.0-2", || {
        ignores(|hand, frame| is(frame, Kind::Auth) && is_let_in(hand))
    }),
    fault_5_0("again-without-a-question", "It takes re-authentication without a proof.", "4.12.0-2", || {
        up(Kind::Auth, |hand, packet| {
            if packet.get("reason") == 0x19 && hand.link(has_scram) {
                hand.tell_client(&auth(0));
                return vec![];
            }
            vec![packet]
        })
    }),
    fault_5_0(
        "again-ends-with-connack",
        "It ends re-authentication by CONNACK.",
        "4.12.0-2 3.15.2-1",
        || {
            down(Kind::Auth, |_, packet| {
                if packet.get("reason") > 0 {
                    return vec![packet];
                }
                let connack = Packet { kind: Kind::Connack, ..packet };
                vec![connack.with("session_present", 0u64)]
            })
        },
    ),
    fault_5_0("again-ends-with-0x18", "It ends re-authentication by AUTH 0x18.", "3.15.2-1 4.12.0-2", || {
        question(|packet| vec![packet.set("reason", 0x18u64)])
    }),
    fault_5_0("again-is-not-ended", "It does not end re-authentication.", "4.12.0-2", || {
        question(|packet| if packet.get("reason") == 0 { vec![] } else { vec![packet] })
    }),
    fault_5_0("again-once", "A client may authenticate again once.", "4.12.0-2", || {
        up(Kind::Auth, |hand, packet| {
            let name = format!("times {}", hand.me);
            if packet.get("reason") == 0x19 && hand.count(name) > 1 {
                hand.close();
                return vec![];
            }
            vec![packet]
        })
    }),
    fault_5_0("again-closes", "It closes on re-authentication.", "4.12.0-2", || {
        refuses(|hand, packet| {
            packet.kind == Kind::Auth && packet.get("reason") == 0x19 && hand.link(has_scram)
        })
    }),
    fault_5_0(
        "again-holds-up-messages",
        "It loses messages during re-authentication.",
        "4.12.0-2 4.1.0-1",
        || {
            around_again(true, |hand, _| {
                hand.act();
                vec![]
            })
        },
    ),
    fault_5_0("again-ends-subscriptions", "Re-authentication ends subscriptions.", "4.1.0-1", || {
        around_again(false, |_, _| vec![])
    }),
    fault_5_0(
        "again-by-any-method",
        "It does not look at the method of re-authentication.",
        "4.12.1-1",
        || {
            ignores(|hand, frame| {
                let is_other = |packet: &Packet| packet.text("authentication_method") != SCRAM.as_bytes();
                is_let_in(hand) && hand.link(has_scram) && good(frame, Kind::Auth, is_other)
            })
        },
    ),
    fault_5_0(
        "again-failed-has-no-will",
        "It throws out who fails, and sends no will.",
        "4.12.1-2 3.1.2-8",
        || {
            up(Kind::Auth, |hand, packet| {
                let is_last = packet.get("reason") == 0x18 && is_let_in(hand);
                let has_will = hand.link(|link| {
                    link.connect.as_ref().is_some_and(|connect| connect.bytes("will_topic").is_some())
                });
                if is_last && has_will {
                    hand.tell_client(&Packet::new(Kind::Disconnect).with("reason", 0x87u64));
                    return vec![Packet::new(Kind::Disconnect)];
                }
                vec![packet]
            })
        },
    ),
    fault_5_0(
        "goodbye-during-again-is-none",
        "It takes no DISCONNECT during re-authentication.",
        "3.14.4-3 3.1.2-10",
        || {
            all(vec![
                up(Kind::Auth, |hand, packet| {
                    if packet.get("reason") == 0x19 {
                        hand.note(format!("begun {}", hand.me), "");
                    }
                    vec![packet]
                }),
                up(Kind::Disconnect, |hand, packet| {
                    if hand.noted(format!("begun {}", hand.me)).is_some() { vec![] } else { vec![packet] }
                }),
            ])
        },
    ),
];
