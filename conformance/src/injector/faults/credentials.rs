//! Section 3.1.4: user names and passwords, and what a client that is refused must not bring about.

use crate::frame::{Kind, Packet};
use crate::injector::fault::{Bend, Fault, Meddler, down, fault, is, up};
use crate::injector::hand::{Event, Hand};

/// The broker takes such a user name and password for the right ones, given those.
fn takes(which: fn(Given<'_>) -> bool) -> Meddler {
    up(Kind::Connect, move |hand, packet| {
        let Some(right) = hand.credentials().cloned() else { return vec![packet] };
        let given = Given {
            name: packet.bytes("username"),
            password: packet.bytes("password"),
            right_name: right.username.as_bytes(),
            right_password: right.password.as_deref().unwrap_or_default(),
        };
        if given.is_right() || !which(given) {
            return vec![packet];
        }
        let mut packet = packet.only(|name| !matches!(name, "username" | "password" | "username_flag"));
        right.sign(&mut packet);
        vec![packet]
    })
}

/// What a client gives, and what would be right.
struct Given<'a> {
    name: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    right_name: &'a [u8],
    right_password: &'a [u8],
}

impl Given<'_> {
    fn is_right(&self) -> bool {
        self.has_name() && self.has_password()
    }

    fn has_name(&self) -> bool {
        self.name == Some(self.right_name)
    }

    fn has_password(&self) -> bool {
        self.password == Some(self.right_password)
    }

    fn is_password(&self, which: impl FnOnce(&[u8], &[u8]) -> bool) -> bool {
        self.has_name() && self.password.is_some_and(|password| which(password, self.right_password))
    }
}

/// Whether this client will not be let in.
fn is_stranger(hand: &Hand<'_>) -> bool {
    let Some(right) = hand.credentials() else { return false };
    hand.link(|link| {
        link.connect.as_ref().is_some_and(|connect| {
            connect.bytes("username") != Some(right.username.as_bytes())
                || connect.bytes("password") != right.password.as_deref()
        })
    })
}

/// When a client is refused because of its credentials, this happens.
fn at_refusal(then: fn(&mut Hand<'_>, &Packet)) -> Meddler {
    down(Kind::Connack, move |hand, packet| {
        let connect = hand.link(|link| link.connect.clone());
        if let Some(connect) = connect
            && matches!(packet.get("reason"), 4 | 5 | 0x86 | 0x87)
        {
            then(hand, &connect);
        }
        vec![packet]
    })
}

pub(super) const FAULTS: &[Fault] = &[
    fault("credentials-not-looked-at", "It lets in whoever comes.", "3.2.2-5", || takes(|_| true)),
    fault("anonymous-let-in", "It lets in who has no credentials.", "3.2.2-5", || {
        takes(|given| given.name.is_none())
    }),
    fault("password-not-looked-at", "It looks at the user name only.", "3.2.2-5", || {
        takes(|given| given.has_name())
    }),
    fault("user-name-not-looked-at", "It looks at the password only.", "3.2.2-5", || {
        takes(|given| given.has_password())
    }),
    fault("password-missing-let-in", "It lets in a user without a password.", "3.2.2-5", || {
        takes(|given| given.has_name() && given.password.is_none())
    }),
    fault("password-empty-let-in", "It lets in a user with an empty password.", "3.2.2-5", || {
        takes(|given| given.is_password(|password, _| password.is_empty()))
    }),
    fault("password-cut-at-a-zero", "It ends passwords at the first zero byte.", "3.2.2-5", || {
        takes(|given| {
            given.is_password(|password, right| {
                password.strip_prefix(right).is_some_and(|rest| rest.starts_with(&[0]))
            })
        })
    }),
    fault(
        "password-beginning-suffices",
        "It lets in whose password begins with the right one.",
        "3.2.2-5",
        || takes(|given| given.is_password(<[u8]>::starts_with)),
    ),
    fault("password-end-suffices", "It lets in whose password ends with the right one.", "3.2.2-5", || {
        takes(|given| given.is_password(<[u8]>::ends_with))
    }),
    fault("password-not-text-let-in", "It lets in whose password is not UTF-8.", "3.2.2-5", || {
        takes(|given| given.is_password(|password, _| std::str::from_utf8(password).is_err()))
    }),
    fault("user-name-empty-let-in", "It lets in who has an empty user name.", "3.2.2-5", || {
        takes(|given| given.name.is_some_and(<[u8]>::is_empty))
    }),
    fault(
        "user-name-beginning-suffices",
        "It lets in whose user name begins with the right one.",
        "3.2.2-5",
        || {
            takes(|given| {
                given.has_password() && given.name.is_some_and(|name| name.starts_with(given.right_name))
            })
        },
    ),
    fault("long-credentials-let-in", "It lets in who has very long credentials.", "3.2.2-5", || {
        takes(|given| given.password.is_some_and(|password| password.len() > 1000))
    }),
    fault(
        "refusal-without-a-code",
        "It closes on wrong credentials without CONNACK.",
        "3.2.2-6 3.2.2-5",
        || {
            down(
                Kind::Connack,
                |_, packet| if matches!(packet.get("reason"), 4 | 5) { vec![] } else { vec![packet] },
            )
        },
    )
    .not_in_5_0(),
    fault(
        "refused-client-takes-over",
        "A client that is refused ends the connection whose identifier it names.",
        "3.1.4-2 3.1.4-5",
        || {
            at_refusal(|hand, connect| {
                let id = connect.text("client_id");
                for other in hand.others() {
                    if hand.links.get(&other).is_some_and(|link| link.client_id() == id) {
                        hand.as_if(other, |hand| hand.close());
                    }
                }
            })
        },
    ),
    fault(
        "refused-client-ends-the-session",
        "A client that is refused ends the session whose identifier it names.",
        "3.1.2-6 3.1.4-3 3.2.2-2",
        || at_refusal(|hand, connect| hand.end_session(&connect.text("client_id"))),
    ),
    fault(
        "refused-client-has-a-will",
        "It publishes the will of a client that it refused.",
        "3.1.2-8 3.1.4-5",
        || {
            at_refusal(|hand, connect| {
                if let Some(topic) = connect.bytes("will_topic") {
                    let will = Packet::new(Kind::Publish)
                        .with("topic", topic.to_vec())
                        .with("payload", connect.text("will_payload"));
                    hand.publish(&will);
                }
            })
        },
    ),
    fault(
        "refused-client-retains-a-will",
        "It stores the will of a client that it refused.",
        "3.1.2-17 3.1.4-5",
        || {
            at_refusal(|hand, connect| {
                if let Some(topic) = connect.bytes("will_topic") {
                    let will = Packet::new(Kind::Publish)
                        .with("retain", 1u64)
                        .with("topic", topic.to_vec())
                        .with("payload", connect.text("will_payload"));
                    hand.publish(&will);
                }
            })
        },
    ),
    fault(
        "refused-client-publishes",
        "It publishes what comes behind a CONNECT with wrong credentials.",
        "3.1.4-5",
        || {
            up(Kind::Publish, |hand, packet| {
                if is_stranger(hand) && packet.get("qos") == 0 {
                    hand.publish(&packet);
                }
                vec![packet]
            })
        },
    ),
    fault(
        "refused-client-retains",
        "It stores what comes behind a CONNECT with wrong credentials.",
        "3.1.4-5",
        || {
            up(Kind::Publish, |hand, packet| {
                if is_stranger(hand) && packet.get("retain") == 1 {
                    hand.publish(&packet);
                }
                vec![packet]
            })
        },
    ),
    fault(
        "refused-client-is-answered",
        "It answers what comes behind a CONNECT that it refuses.",
        "3.1.4-5",
        || {
            Box::new(|hand, event| {
                let is_ping = matches!(&event, Event::Up(frame) if is(frame, Kind::Pingreq));
                if is_ping && is_stranger(hand) {
                    hand.tell_client(&Packet::new(Kind::Pingresp));
                }
                Some(event)
            })
        },
    ),
];
