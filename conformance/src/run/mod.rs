//! Plays a scenario against a target.

mod aftermath;
mod compare;
mod silence;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Version;
use crate::actor::{self, Came, Connection, Event, Owner};
use crate::frame::{Kind, Packet, Value, encode::encode};
use crate::scenario::{
    Action, Actor, ActorKind, Bindings, Duty, Expect, Expected, PacketText, Scenario, Send, Step,
};
use crate::statements::Statements;
use crate::target::Target;
use crate::trace::{Entry, Trace};
use crate::verdict::{Failure, Outcome, Verdict};
use aftermath::Left;

/// The name under which a scenario runs in a version: `3.1.1/4.3-qos/qos1-is-acknowledged`.
pub fn name(scenario: &Scenario, version: Version) -> String {
    format!("{version}/{}", scenario.name)
}

/// Why this target does not run this scenario, if so.
pub fn skipped(scenario: &Scenario, target: &Target) -> Option<String> {
    if let Some(word) = scenario.needs.iter().find(|word| !target.capabilities.contains(*word)) {
        return Some(format!("needs {word}"));
    }
    match scenario.promises.as_slice() {
        [word, ..] if !target.promises => Some(format!("promises {word}, which is beyond the standard")),
        _ => None,
    }
}

/// Plays the scenario in this version, and clears away what it leaves in the broker.
pub fn run(scenario: &Scenario, version: Version, target: &Target) -> Verdict {
    let start = Instant::now();
    let outcome = match skipped(scenario, target) {
        Some(reason) => Outcome::Skipped(reason),
        None => {
            let mut run = Run::new(scenario, version, target);
            let played = run.play();
            // How everybody leaves is no part of what led to a failure.
            let trace = run.trace.entries();
            let left = run.end();
            let shown = played.and_then(|()| left.check(scenario, target));
            left.sweep(target);
            match shown {
                Ok(()) => Outcome::Passed,
                Err(stop) => failed(scenario, version, stop, trace),
            }
        }
    };
    Verdict { name: name(scenario, version), outcome, elapsed: start.elapsed() }
}

fn failed(scenario: &Scenario, version: Version, stop: Stop, trace: Vec<Entry>) -> Outcome {
    let known = Statements::of(version);
    let cited = scenario.proves.iter().filter(|proof| proof.version == version).flat_map(|proof| &proof.ids);
    let words = |id: &str| known.get(id).map(|statement| statement.paraphrase.clone()).unwrap_or_default();
    let failure = Failure {
        file: scenario.file.clone(),
        line: stop.line,
        version,
        step: stop.step,
        expected: stop.expected,
        actual: stop.actual,
        statements: cited.map(|cited| (cited.id.clone(), words(&cited.id))).collect(),
        trace,
        here: stop.here,
    };
    Outcome::Failed(stop.duty.max(scenario.duty), Box::new(failure))
}

/// Where and why a run stops.
#[derive(Debug)]
struct Stop {
    line: usize,
    step: String,
    duty: Duty,
    expected: String,
    actual: String,
    here: Option<usize>,
}

/// Why a step fails; [`Run::play`] knows where.
#[derive(Debug)]
struct Fault {
    expected: String,
    actual: String,
    here: Option<usize>,
}

impl Fault {
    fn new(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Fault { expected: expected.into(), actual: actual.into(), here: None }
    }

    fn at(self, event: &Event) -> Self {
        Fault { here: Some(event.place), ..self }
    }
}

/// One run of one scenario.
struct Run<'a> {
    scenario: &'a Scenario,
    version: Version,
    target: &'a Target,
    /// 8 letters and digits that no other run has.
    token: String,
    trace: Arc<Trace>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    cast: Vec<Cast>,
    bindings: Bindings,
    /// When the last `>` step was done.
    last_send: Instant,
    left: Left,
}

/// An actor on stage.
struct Cast {
    name: String,
    kind: ActorKind,
    connection: Option<Connection>,
    /// How many connections it has had.
    connections: u64,
    /// What came and is not yet looked at.
    queue: VecDeque<Event>,
    /// What may come before what the next `<` says.
    optional: Vec<PacketText>,
    /// Whether a round trip is possible: CONNACK 0 came, the connection is open, and no half packet was sent.
    can_ping: bool,
    /// Whether it subscribed to a filter that may match other people's topics.
    hears_others: bool,
    /// The packet identifier last chosen for it.
    last_id: u16,
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
            can_ping: false,
            hears_others: false,
            last_id: 0,
        }
    }

    fn leave(&mut self) -> Option<Connection> {
        self.can_ping = false;
        self.queue.clear();
        self.optional.clear();
        self.connection.take()
    }
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, version: Version, target: &'a Target) -> Self {
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
            bindings: Bindings::new(),
            last_send: Instant::now(),
            left: Left::default(),
        }
    }

    fn play(&mut self) -> Result<(), Stop> {
        let scenario = self.scenario;
        for step in &scenario.steps {
            if step.only.is_none_or(|only| only == self.version) {
                self.step(step).map_err(|fault| Stop {
                    line: step.line,
                    step: step.text.clone(),
                    duty: step.duty,
                    expected: fault.expected,
                    actual: fault.actual,
                    here: fault.here,
                })?;
            }
        }
        Ok(())
    }

    /// Everybody leaves the stage politely.
    fn end(mut self) -> Left {
        let goodbye = Packet::new(Kind::Disconnect);
        for cast in &mut self.cast {
            let polite = cast.can_ping;
            if let Some(connection) = cast.leave()
                && polite
            {
                connection.send(Some(&goodbye), &encode(&goodbye), 0);
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
        }
    }

    fn cast(&mut self, actor: usize) -> Result<&mut Cast, Fault> {
        self.cast.get_mut(actor).ok_or_else(|| Fault::new("an actor", format!("there is no actor {actor}")))
    }

    // Sending

    fn send(&mut self, actor: usize, what: &Send) -> Result<(), Fault> {
        match what {
            Send::Drop => {
                if let Some(connection) = self.cast(actor)?.leave() {
                    connection.drop_network(self.target.deadline / 4);
                }
                Ok(())
            }
            Send::Hex(bytes) => {
                let connection = self.connection(actor)?;
                connection.send(None, bytes, 0);
                self.cast(actor)?.can_ping = false;
                Ok(())
            }
            Send::Packet(text) => {
                let packet = self.packet(actor, text)?;
                self.left.remember(&packet);
                if packet.kind == Kind::Subscribe && self.has_others_topics(&packet) {
                    self.cast(actor)?.hears_others = true;
                }
                match self.cast(actor)?.kind {
                    ActorKind::Raw => self.send_raw(actor, &packet),
                    ActorKind::Client => self.send_client(actor, &packet),
                }
            }
        }
    }

    fn send_raw(&mut self, actor: usize, packet: &Packet) -> Result<(), Fault> {
        let chunk = packet.number("chunk").unwrap_or(0) as usize;
        let whole = ["cut", "length", "length_bytes"].iter().all(|name| packet.all(name).next().is_none());
        self.connection(actor)?.send(Some(packet), &encode(packet), chunk);
        if !whole || packet.kind == Kind::Disconnect {
            self.cast(actor)?.can_ping = false;
        }
        Ok(())
    }

    fn send_client(&mut self, actor: usize, packet: &Packet) -> Result<(), Fault> {
        let deadline = self.target.deadline;
        let refused =
            |error: actor::ClientError| Fault::new(format!("{} to be sent", packet.kind), error.to_string());
        if packet.kind == Kind::Connect {
            let owner = self.new_owner(actor)?;
            let connection =
                actor::connect_client(self.target.address, owner, packet, deadline).map_err(refused)?;
            self.cast(actor)?.connection = Some(connection);
            return Ok(());
        }
        let cast = self.cast(actor)?;
        match cast.connection.as_ref().and_then(Connection::played) {
            Some(played) => played.send(packet, deadline).map_err(refused)?,
            None => return Err(Fault::new(format!("{} to be sent", packet.kind), "it is not connected")),
        }
        if packet.kind == Kind::Disconnect {
            cast.can_ping = false;
        }
        Ok(())
    }

    /// A raw actor's connection, opened if there is none.
    fn connection(&mut self, actor: usize) -> Result<&Connection, Fault> {
        if self.cast(actor)?.connection.is_none() {
            let owner = self.new_owner(actor)?;
            let opened = Connection::open(self.target.address, owner, None, self.target.deadline);
            let opened =
                opened.map_err(|error| Fault::new("a connection", format!("there is none: {error}")))?;
            self.cast(actor)?.connection = Some(opened);
        }
        let cast = self.cast(actor)?;
        cast.connection.as_ref().ok_or_else(|| Fault::new("a connection", "there is none"))
    }

    fn new_owner(&mut self, actor: usize) -> Result<Owner, Fault> {
        let (trace, events) = (self.trace.clone(), self.sender.clone());
        let cast = self.cast(actor)?;
        drop(cast.leave());
        cast.connections += 1;
        Ok(Owner { actor, name: cast.name.clone(), connection: cast.connections, trace, events })
    }

    /// The packet as sent: values worked out, this version's fields only, defaults that differ by actor filled in.
    fn packet(&mut self, actor: usize, text: &PacketText) -> Result<Packet, Fault> {
        let mut packet = Packet::new(text.kind);
        for field in text.fields.iter().filter(|field| field.field.is_in(self.version)) {
            for value in &field.values {
                let value = value.resolve(field.field.of, &self.token, &self.bindings);
                let value = value.map_err(|unbound| Fault::new("a value", unbound.to_string()))?;
                packet.fields.push((field.field.name, value));
            }
        }
        let has = |name| packet.all(name).next().is_some();
        match text.kind {
            Kind::Connect if !has("client_id") => {
                let id = self.token.clone() + &self.cast(actor)?.name;
                packet.fields.push(("client_id", Value::from(id.as_str())));
            }
            Kind::Publish if packet.number("qos").unwrap_or(0) == 0 => {}
            Kind::Publish | Kind::Subscribe | Kind::Unsubscribe if !has("id") => {
                let cast = self.cast(actor)?;
                if cast.kind == ActorKind::Raw {
                    cast.last_id = cast.last_id.checked_add(1).unwrap_or(1);
                    packet.fields.insert(0, ("id", Value::Number(cast.last_id.into())));
                }
            }
            _ => {}
        }
        Ok(packet)
    }

    // Waiting

    /// Takes in one event. False when none comes by `until`.
    fn pump(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(event) = self.events.recv_timeout(left) else { return false };
        if let Some(cast) = self.cast.get_mut(event.actor) {
            // What an earlier connection had to say is of no interest any more.
            if cast.connection.as_ref().is_some_and(|connection| connection.number() == event.connection) {
                match &event.what {
                    Came::Packet(packet) if packet.kind == Kind::Connack => {
                        cast.can_ping = packet.number("reason") == Some(0);
                    }
                    Came::Closed(_) => cast.can_ping = false,
                    Came::Packet(_) | Came::Malformed(_) => {}
                }
                cast.queue.push_back(event);
            }
        }
        true
    }

    /// The next event of one of these actors that counts for a step with this pattern.
    fn next(&mut self, actors: &[usize], pattern: Option<&PacketText>, until: Instant) -> Option<Event> {
        loop {
            for actor in actors {
                if let Some(event) = self.queued(*actor, pattern) {
                    return Some(event);
                }
            }
            if !self.pump(until) {
                return None;
            }
        }
    }

    /// Takes from the actor's queue: skips what a client handles by itself and other people's messages, and what may come.
    fn queued(&mut self, actor: usize, pattern: Option<&PacketText>) -> Option<Event> {
        let others_count =
            pattern.is_some_and(|pattern| compare::wants_others(pattern, &self.token, &self.bindings));
        loop {
            let cast = self.cast.get_mut(actor)?;
            let event = cast.queue.pop_front()?;
            let Came::Packet(packet) = &event.what else { return Some(event) };
            let by_itself = matches!(packet.kind, Kind::Pubrec | Kind::Pubrel | Kind::Pingresp);
            if by_itself && cast.kind == ActorKind::Client {
                continue;
            }
            if packet.kind == Kind::Publish && cast.hears_others && !others_count {
                let topic = packet.bytes("topic").unwrap_or_default();
                if !contains(topic, self.token.as_bytes()) {
                    self.trace.remark(event.place, "not of this scenario");
                    continue;
                }
            }
            let allowed = cast.optional.iter().position(|text| {
                compare::packet(text, packet, self.version, &self.token, &self.bindings).is_ok()
            });
            match allowed {
                Some(place) => {
                    let cast = self.cast.get_mut(actor)?;
                    let text = cast.optional.remove(place);
                    if let Ok(found) =
                        compare::packet(&text, packet, self.version, &self.token, &self.bindings)
                    {
                        self.bindings.extend(found);
                    }
                }
                None => return Some(event),
            }
        }
    }

    fn expect(&mut self, expect: &Expect) -> Result<(), Fault> {
        for actor in &expect.actors {
            let cast = self.cast(*actor)?;
            if cast.connection.is_none() {
                return Err(Fault::new("something to come", format!("{} is not connected", cast.name)));
            }
        }
        match &expect.what {
            Expected::Packet(text) if expect.optional => {
                for actor in &expect.actors {
                    self.cast(*actor)?.optional.push(text.clone());
                }
                return Ok(());
            }
            Expected::Packet(text) => {
                let expected = compare::describe(text, self.version, &self.token, &self.bindings);
                let event = self.awaited(&expect.actors, Some(text), expect.within, &expected)?;
                let found = match &event.what {
                    Came::Packet(packet) => {
                        compare::packet(text, packet, self.version, &self.token, &self.bindings)
                            .map_err(|differs| Fault::new(differs.expected, differs.actual).at(&event))?
                    }
                    other => return Err(Fault::new(expected, came(other)).at(&event)),
                };
                self.bindings.extend(found);
            }
            Expected::Close => {
                let expected = "the broker to close the connection";
                let event = self.awaited(&expect.actors, None, expect.within, expected)?;
                match &event.what {
                    Came::Closed(_) => {
                        for actor in &expect.actors {
                            drop(self.cast(*actor)?.leave());
                        }
                    }
                    other => return Err(Fault::new(expected, came(other)).at(&event)),
                }
            }
            Expected::Silence(None) => self.silence(&expect.actors)?,
            Expected::Silence(Some(time)) => self.quiet(&expect.actors, *time)?,
        }
        for actor in &expect.actors {
            self.cast(*actor)?.optional.clear();
        }
        Ok(())
    }

    /// The next event, not earlier and not later than `within` says.
    fn awaited(
        &mut self,
        actors: &[usize],
        text: Option<&PacketText>,
        within: Option<(Duration, Duration)>,
        expected: &str,
    ) -> Result<Event, Fault> {
        let until =
            within.map_or_else(|| Instant::now() + self.target.deadline, |(_, most)| self.last_send + most);
        let waited = |run: &Self| run.last_send.elapsed();
        let Some(event) = self.next(actors, text, until) else {
            let waited = if within.is_some() { waited(self) } else { self.target.deadline };
            return Err(Fault::new(expected, format!("nothing came within {}", seconds(waited))));
        };
        if let Some((least, most)) = within {
            let after = event.at.saturating_duration_since(self.last_send);
            if after < least || after > most {
                let range = format!("{expected} after {} to {}", seconds(least), seconds(most));
                let actual = format!("{} after {}", came(&event.what), seconds(after));
                return Err(Fault::new(range, actual).at(&event));
            }
        }
        Ok(event)
    }

    fn any_order(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let mut open: Vec<(&Expect, &PacketText)> = Vec::new();
        for step in steps.iter().filter(|step| step.only.is_none_or(|only| only == self.version)) {
            if let Action::Expect(expect) = &step.action
                && let Expected::Packet(text) = &expect.what
            {
                open.push((expect, text));
            }
        }
        while !open.is_empty() {
            let one_of = |run: &Self| {
                let all = open
                    .iter()
                    .map(|(_, text)| compare::describe(text, run.version, &run.token, &run.bindings));
                all.collect::<Vec<_>>().join(" or ")
            };
            let expected = one_of(self);
            let mut actors: Vec<usize> = open.iter().flat_map(|(expect, _)| expect.actors.clone()).collect();
            actors.sort_unstable();
            actors.dedup();
            let event = self.awaited(&actors, None, None, &expected)?;
            let Came::Packet(packet) = &event.what else {
                return Err(Fault::new(expected, came(&event.what)).at(&event));
            };
            let fits = open.iter().enumerate().find_map(|(place, (expect, text))| {
                let found = compare::packet(text, packet, self.version, &self.token, &self.bindings).ok()?;
                expect.actors.contains(&event.actor).then_some((place, found))
            });
            let Some((place, found)) = fits else {
                return Err(Fault::new(expected, came(&event.what)).at(&event));
            };
            open.remove(place);
            self.bindings.extend(found);
            self.cast(event.actor)?.optional.clear();
        }
        Ok(())
    }

    /// Whether a topic in the packet may match or name what belongs to others.
    fn has_others_topics(&self, packet: &Packet) -> bool {
        packet.all("topic").any(|topic| match topic {
            Value::Bytes(topic) => !contains(topic, self.token.as_bytes()),
            Value::Number(_) => false,
        })
    }
}

/// An event in words that follow "but".
fn came(what: &Came) -> String {
    match what {
        Came::Packet(packet) => format!("{packet} came"),
        Came::Malformed(reason) => format!("a malformed packet came: {reason}"),
        Came::Closed(how) => format!("the connection was closed ({how})"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// 8 letters and digits: five of this process and time, three that count.
fn token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let process = *PROCESS.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 8
    });
    base36(process, 5) + &base36(COUNT.fetch_add(1, Ordering::Relaxed), 3)
}

fn base36(mut number: u64, digits: usize) -> String {
    let mut text = String::new();
    for _ in 0..digits {
        text.extend(char::from_digit((number % 36) as u32, 36));
        number /= 36;
    }
    text
}
