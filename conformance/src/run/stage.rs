//! One run: the actors on stage, and the steps one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::aftermath::Left;
use super::token::token;
use super::{Blame, Fault, Stop, seconds};
use crate::Version;
use crate::actor::{Connection, Event};
use crate::frame::{Kind, Packet};
use crate::scenario::{Action, Actor, ActorKind, Bindings, PacketText, Scenario, Step, variables};
use crate::target::{Credentials, Target};
use crate::trace::Trace;

/// One run of one scenario.
pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) version: Version,
    pub(super) target: &'a Target,
    /// 8 letters and digits that no other run has.
    pub(super) token: String,
    pub(super) trace: Arc<Trace>,
    pub(super) sender: Sender<Event>,
    pub(super) events: Receiver<Event>,
    pub(super) cast: Vec<Cast>,
    pub(super) bindings: Bindings,
    /// When the last `>` step was done.
    pub(super) last_send: Instant,
    pub(super) left: Left,
}

/// An actor on stage.
pub(super) struct Cast {
    pub(super) name: String,
    pub(super) kind: ActorKind,
    pub(super) connection: Option<Connection>,
    /// How many connections it has had.
    pub(super) connections: u64,
    /// What came and is not yet looked at.
    pub(super) queue: VecDeque<Event>,
    /// What may come before what the next `<` says.
    pub(super) optional: Vec<PacketText>,
    /// Whether CONNACK came on this connection, as far as is looked at.
    pub(super) greeted: bool,
    /// Whether a round trip is possible: CONNACK 0 came, the connection is open, and no half packet was sent.
    pub(super) can_ping: bool,
    /// Whether it subscribed to a filter that may match other people's topics.
    pub(super) hears_others: bool,
    /// The packet identifier last chosen for it.
    pub(super) last_id: u16,
}

impl Cast {
    fn new(actor: &Actor) -> Self {
        Cast {
            name: actor.name.clone(),
            kind: actor.kind,
            connection: None,
            connections: 0,
            queue: VecDeque::new(),
            optional: Vec::new(),
            greeted: false,
            can_ping: false,
            hears_others: false,
            last_id: 0,
        }
    }

    pub(super) fn leave(&mut self) -> Option<Connection> {
        self.can_ping = false;
        self.greeted = false;
        self.queue.clear();
        self.optional.clear();
        self.connection.take()
    }
}

/// What is known before the first step.
fn bound(target: &Target) -> Bindings {
    let mut bindings = Bindings::new();
    if let Some(Credentials { username, password }) = &target.credentials {
        bindings.insert(variables::USERNAME.to_owned(), username.as_str().into());
        bindings.insert(variables::PASSWORD.to_owned(), password.clone().unwrap_or_default().into());
    }
    bindings
}

/// How long a scenario may take, and since when.
struct Limit {
    time: Duration,
    start: Instant,
}

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, version: Version, target: &'a Target) -> Self {
        let (sender, events) = channel();
        Run {
            scenario,
            version,
            target,
            token: token(),
            trace: Arc::default(),
            sender,
            events,
            cast: scenario.actors.iter().map(Cast::new).collect(),
            bindings: bound(target),
            last_send: Instant::now(),
            left: Left::new(version),
        }
    }

    pub(super) fn play(&mut self, limit: Duration) -> Result<(), Stop> {
        let scenario = self.scenario;
        self.steps(&scenario.steps, &Limit { time: limit, start: Instant::now() })
    }

    fn steps(&mut self, steps: &[Step], limit: &Limit) -> Result<(), Stop> {
        let version = self.version;
        for step in steps.iter().filter(|step| step.is_in(version)) {
            let times = match &step.action {
                Action::Repeat(times, inner) => Some((times.resolve(&self.bindings), inner)),
                _ => None,
            };
            if let Some((Ok(times), inner)) = times {
                self.repeat(times, inner, limit)?;
                continue;
            }
            let (fault, blame) = if let Some((Err(unbound), _)) = times {
                (Fault::new("a number of times", unbound.to_string()), Blame::Unsent)
            } else if limit.start.elapsed() >= limit.time {
                let over = format!("its time limit of {} was over", seconds(limit.time));
                (Fault::new("to come this far in time", over), Blame::Clock)
            } else if let Err(fault) = self.step(step) {
                let sends = matches!(step.action, Action::Send { .. } | Action::AtOnce(_) | Action::Restart);
                (fault, if sends { Blame::Unsent } else { Blame::Broker })
            } else {
                continue;
            };
            let Fault { expected, actual, here } = fault;
            let duty = step.duty.max(self.scenario.duty);
            return Err(Stop {
                line: step.line,
                step: step.text.clone(),
                duty,
                expected,
                actual,
                here,
                blame,
            });
        }
        Ok(())
    }

    /// What a round binds, the next one binds anew.
    fn repeat(&mut self, times: u64, steps: &[Step], limit: &Limit) -> Result<(), Stop> {
        let before = self.bindings.clone();
        for round in 1..=times {
            self.bindings.insert(variables::ROUND.to_owned(), round.into());
            self.steps(steps, limit)
                .map_err(|stop| Stop { step: format!("{}   # round {round}", stop.step), ..stop })?;
            self.bindings.clone_from(&before);
        }
        Ok(())
    }

    /// Everybody leaves the stage politely.
    pub(super) fn end(mut self) -> Left {
        let goodbye = Packet::new(Kind::Disconnect);
        for cast in &mut self.cast {
            let polite = cast.can_ping;
            if let Some(connection) = cast.leave()
                && polite
            {
                connection.send(&goodbye);
            }
        }
        self.left.token = self.token;
        self.left
    }

    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match &step.action {
            Action::Send { actor, what } => {
                let sent = self.send(*actor, what);
                self.last_send = Instant::now();
                sent
            }
            Action::Expect(expect) => self.expect(expect),
            Action::AnyOrder(steps) => self.any_order(steps),
            Action::AtOnce(steps) => {
                let sent = self.at_once(steps);
                self.last_send = Instant::now();
                sent
            }
            Action::Restart => {
                let restarted = self.restart();
                self.last_send = Instant::now();
                restarted
            }
            // Its steps are steps of their own.
            Action::Repeat(..) => Ok(()),
        }
    }

    pub(super) fn cast(&mut self, actor: usize) -> Result<&mut Cast, Fault> {
        self.cast.get_mut(actor).ok_or_else(|| Fault::new("an actor", format!("there is no actor {actor}")))
    }
}
