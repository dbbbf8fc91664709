//! What is left in the broker when a scenario is over: shown to be alive, and cleared away.

use std::collections::BTreeSet;

use super::{Blame, Stop};
use crate::Version;
use crate::actor::Plain;
use crate::frame::{Kind, Packet};
use crate::scenario::{Action, Duty, Expect, Expected, Scenario, Step};
use crate::target::Target;

/// What a scenario may have left behind.
#[derive(Debug)]
pub(super) struct Left {
    version: Version,
    pub(super) token: String,
    /// Client identifiers of sessions that outlive their connection.
    sessions: BTreeSet<Vec<u8>>,
    /// Topics with a retained message.
    retained: BTreeSet<Vec<u8>>,
}

impl Left {
    /// Nothing yet, by clients of this version.
    pub(super) fn new(version: Version) -> Self {
        Left { version, token: String::new(), sessions: BTreeSet::new(), retained: BTreeSet::new() }
    }

    /// Notes what sending this packet may leave.
    pub(super) fn remember(&mut self, packet: &Packet) {
        let text = |name| packet.bytes(name).unwrap_or_default().to_vec();
        match packet.kind {
            Kind::Connect => {
                let stays = match self.version {
                    Version::V3_1_1 => packet.number("clean") == Some(0),
                    Version::V5_0 => packet.number("session_expiry").is_some_and(|time| time > 0),
                };
                if stays && !text("client_id").is_empty() {
                    self.sessions.insert(text("client_id"));
                }
                if packet.number("will_retain") == Some(1) {
                    self.retained.insert(text("will_topic"));
                }
            }
            Kind::Publish if packet.number("retain") == Some(1) => {
                self.retained.insert(text("topic"));
            }
            _ => {}
        }
        self.retained.retain(|topic| is_good_topic(topic));
    }

    /// If the scenario had a connection closed: the broker still takes a message and delivers it.
    pub(super) fn check(&self, scenario: &Scenario, target: &Target) -> Result<(), Stop> {
        let closes =
            |action: &Action| matches!(action, Action::Expect(Expect { what: Expected::Close(_), .. }));
        let mut all = scenario.steps.iter().flat_map(Step::with_inner);
        let Some(step) = all.find(|step| closes(&step.action)) else { return Ok(()) };
        self.serves(target).map_err(|actual| Stop {
            line: step.line,
            step: step.text.clone(),
            duty: Duty::Must,
            expected: "the broker to serve another client afterwards".to_owned(),
            actual,
            here: None,
            blame: Blame::Broker,
        })
    }

    fn serves(&self, target: &Target) -> Result<(), String> {
        let Left { token, version, .. } = self;
        let mut plain = Plain::connect(target, *version, format!("{token}control").as_bytes())?;
        let topic = format!("{token}/control");
        plain.send(&Packet::new(Kind::Subscribe).with("id", 1u64).with("topic", topic.as_str()))?;
        plain.await_kind(Kind::Suback)?;
        plain.send(&Packet::new(Kind::Publish).with("topic", topic.as_str()).with("payload", "alive"))?;
        let message = plain.await_kind(Kind::Publish)?;
        if message.bytes("payload") != Some(b"alive") {
            return Err(format!("it delivers {message}"));
        }
        plain.send(&Packet::new(Kind::Disconnect))
    }

    /// Ends the sessions and wipes the retained messages. What cannot be cleared is left.
    pub(super) fn sweep(&self, target: &Target) {
        let goodbye = Packet::new(Kind::Disconnect);
        for client_id in &self.sessions {
            if let Ok(mut plain) = Plain::connect(target, self.version, client_id) {
                let _ = plain.send(&goodbye);
            }
        }
        for topic in &self.retained {
            let id = format!("{}sweep", self.token);
            let Ok(mut plain) = Plain::connect(target, self.version, id.as_bytes()) else {
                continue;
            };
            let wipe = Packet::new(Kind::Publish)
                .with("qos", 1u64)
                .with("retain", 1u64)
                .with("id", 1u64)
                .with("topic", topic.clone());
            if plain.send(&wipe).is_ok() && plain.await_kind(Kind::Puback).is_ok() {
                let _ = plain.send(&goodbye);
            }
        }
    }
}

/// Whether the broker can have taken a message for this topic.
fn is_good_topic(topic: &[u8]) -> bool {
    let text = std::str::from_utf8(topic).unwrap_or_default();
    !text.is_empty() && !text.contains(['\0', '+', '#'])
}
