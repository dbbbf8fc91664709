//! What was published, acknowledged and delivered; and what of it should not have been, or is missing.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use sol::codec::QoS;

/// More problems than so many are only counted.
const TOLD: usize = 10;

/// The number of a message: it stands in its payload.
pub(crate) type Number = u32;

/// What a [`Number`] stands for.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) publisher: u8,
    pub(crate) topic: u8,
    pub(crate) qos: QoS,
    /// So often the number stands in the payload.
    pub(crate) repeats: u16,
    pub(crate) is_acknowledged: bool,
}

impl Message {
    pub(crate) fn topic(&self) -> String {
        format!("m/{}/{}", self.publisher, self.topic)
    }

    /// The number, over and over.
    pub(crate) fn payload(&self, number: Number) -> Vec<u8> {
        number.to_be_bytes().repeat(usize::from(self.repeats))
    }
}

/// Who should get every message: a subscriber, or those that share a subscription.
pub(crate) struct Receiver {
    name: String,
    qos: QoS,
    is_shared: bool,
    /// How often each message came.
    counts: Vec<u8>,
    /// The last message that came for the first time, by publisher, topic and QoS.
    last: HashMap<(u8, u8, QoS), Number>,
    /// Acknowledged to the publisher, and not here yet.
    missing: usize,
}

/// What the figures say.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) rounds: u32,
    pub(crate) kills: u32,
    pub(crate) acknowledged: [u32; 3],
    /// Deliveries of acknowledged messages: one for each receiver.
    pub(crate) owed: u32,
    /// Those of them that never came.
    pub(crate) lost: u32,
    /// Deliveries of QoS 2 that were not the first.
    pub(crate) doubled: u32,
    pub(crate) out_of_order: u32,
    pub(crate) sessions_lost: u32,
    /// Topics that had not what was retained last.
    pub(crate) retained_lost: u32,
    /// Sessions and subscriptions that are there or not, other than the broker had answered.
    pub(crate) wrong_states: u32,
    /// Messages that the broker said it would not keep.
    pub(crate) refused: u32,
}

#[derive(Clone, Copy)]
struct Event {
    at: Duration,
    round: u32,
    /// None: it concerns all.
    message: Option<Number>,
    who: usize,
    what: &'static str,
    packet_id: u16,
}

pub(crate) struct Ledger {
    messages: Vec<Message>,
    receivers: Vec<Receiver>,
    /// Names of those that things happen to.
    names: Vec<String>,
    /// Since the last check but one.
    events: Vec<Event>,
    checked: usize,
    began: Instant,
    pub(crate) tally: Tally,
    /// In words, each with what happened to the message.
    pub(crate) problems: Vec<String>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            messages: Vec::new(),
            receivers: Vec::new(),
            names: vec!["broker".into()],
            events: Vec::new(),
            checked: 0,
            began: Instant::now(),
            tally: Tally::default(),
            problems: Vec::new(),
        }
    }

    /// A new name in the history.
    pub(crate) fn name(&mut self, name: &str) -> usize {
        self.names.push(name.into());
        self.names.len() - 1
    }

    /// Somebody who should get everything from now on.
    pub(crate) fn receiver(&mut self, name: &str, qos: QoS, is_shared: bool) -> usize {
        self.receivers.push(Receiver {
            name: name.into(),
            qos,
            is_shared,
            counts: Vec::new(),
            last: HashMap::new(),
            missing: 0,
        });
        self.receivers.len() - 1
    }

    pub(crate) fn message(&self, number: Number) -> Message {
        self.messages[number as usize]
    }

    /// A new message.
    pub(crate) fn publish(&mut self, message: Message) -> Number {
        self.messages.push(message);
        (self.messages.len() - 1) as Number
    }

    /// Notes what happened, for the history.
    pub(crate) fn note(&mut self, who: usize, message: Option<Number>, what: &'static str, packet_id: u16) {
        let at = self.began.elapsed();
        self.events.push(Event { at, round: self.tally.rounds, message, who, what, packet_id });
    }

    /// The broker took a message over: from here on it may not be lost.
    pub(crate) fn acknowledged(&mut self, number: Number) {
        let message = &mut self.messages[number as usize];
        if !std::mem::replace(&mut message.is_acknowledged, true) {
            self.tally.acknowledged[message.qos as usize] += 1;
            self.tally.owed += self.receivers.len() as u32;
            for receiver in &mut self.receivers {
                receiver.missing += usize::from(receiver.count(number) == 0);
            }
        }
    }

    /// A message reached the application of a receiver.
    pub(crate) fn delivered(&mut self, receiver: usize, who: usize, number: Number, packet_id: u16) {
        let message = self.messages[number as usize];
        let to = &mut self.receivers[receiver];
        if to.counts.len() <= number as usize {
            to.counts.resize(self.messages.len(), 0);
        }
        let count = &mut to.counts[number as usize];
        *count = count.saturating_add(1);
        let is_first = *count == 1;
        let mut problem = None;
        if is_first {
            to.missing -= usize::from(message.is_acknowledged);
            let last = to.last.entry((message.publisher, message.topic, message.qos)).or_insert(number);
            if *last > number && !to.is_shared {
                self.tally.out_of_order += 1;
                problem = Some(format!("{} got message {number} after message {last}", to.name));
            }
            *last = number.max(*last);
        } else if to.qos.min(message.qos) == QoS::ExactlyOnce {
            self.tally.doubled += 1;
            problem = Some(format!("{} got message {number} at QoS 2 again", to.name));
        }
        self.note(who, Some(number), if is_first { "got it" } else { "got it again" }, packet_id);
        if let Some(problem) = problem {
            self.problem(problem, Some(number));
        }
    }

    /// Whether a receiver has all that was acknowledged.
    pub(crate) fn has_all(&self, receiver: usize) -> bool {
        self.receivers[receiver].missing == 0
    }

    /// A session or subscription is there, or not, other than the broker had answered.
    pub(crate) fn wrong_state(&mut self, problem: String) {
        self.tally.wrong_states += 1;
        self.problem(problem, None);
    }

    /// All had their time to come. What is missing is lost, and not missed any longer.
    pub(crate) fn check(&mut self) {
        for number in self.checked..self.messages.len() {
            let Message { qos, is_acknowledged, .. } = self.messages[number];
            let number = number as Number;
            let without = self.receivers.iter().filter(|receiver| receiver.count(number) == 0);
            let names: Vec<_> = without.map(|receiver| receiver.name.as_str()).collect();
            if is_acknowledged && !names.is_empty() {
                self.tally.lost += names.len() as u32;
                let names = names.join(", ");
                let problem =
                    format!("message {number} of QoS {qos} was acknowledged, and never came to {names}");
                self.problem(problem, Some(number));
            }
        }
        self.receivers.iter_mut().for_each(|receiver| receiver.missing = 0);
        // What went wrong since then may have begun before.
        let kept = self.messages.get(self.checked).map_or(0, |_| self.checked as Number);
        self.events.retain(|event| event.message.is_none_or(|number| number >= kept));
        self.checked = self.messages.len();
    }

    /// Something that must not be. Only the first few are told in full.
    pub(crate) fn problem(&mut self, problem: String, message: Option<Number>) {
        let round = self.tally.rounds;
        if self.problems.len() < TOLD {
            let history = message.map(|number| self.history(number)).unwrap_or_default();
            self.problems.push(format!("round {round}: {problem}\n{history}"));
        }
    }

    /// What happened to a message, and to the broker meanwhile.
    fn history(&self, number: Number) -> String {
        let message = self.message(number);
        let mut history = format!("  {} at QoS {}, message {number}:\n", message.topic(), message.qos);
        let is_concerned = |event: &&Event| event.message == Some(number);
        let begin = self.events.iter().position(|event| is_concerned(&event)).unwrap_or(self.events.len());
        let events = self.events[begin..].iter();
        for event in events.filter(|event| event.message.is_none_or(|concerned| concerned == number)) {
            let Event { at, round, who, what, packet_id, .. } = event;
            let id = if *packet_id == 0 { String::new() } else { format!(", packet identifier {packet_id}") };
            let millis = at.as_secs_f64() * 1e3;
            writeln!(history, "    round {round}, {millis:.1} ms: {} {what}{id}", self.names[*who]).unwrap();
        }
        history
    }
}

impl Receiver {
    fn count(&self, number: Number) -> u8 {
        self.counts.get(number as usize).copied().unwrap_or_default()
    }
}
