//! Scenarios: what a file of `scenarios/` says, once read. The language is on one page in `scenarios/README.md`.

mod load;
mod parse;
mod scram;
mod value;

use std::time::Duration;

pub use load::{LoadError, embedded, load, read};
pub use parse::{ParseError, parse};
pub use scram::Scram;
pub use value::{Bindings, Expression, Piece, Unresolved, variables};

use crate::Version;
use crate::frame::{Kind, Value, table};

/// One file: one behaviour.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Directory and file name without the extension: `4.3-qos/qos1-is-acknowledged`.
    pub name: String,
    /// The file, as shown to the user.
    pub file: String,
    /// What stands in it.
    pub text: String,
    /// The comment on top.
    pub about: String,
    /// What it shows, by version.
    pub proves: Vec<Proof>,
    /// Who takes part.
    pub actors: Vec<Actor>,
    /// What the target must be capable of.
    pub needs: Vec<Need>,
    /// Which promises beyond the standard it checks.
    pub promises: Vec<String>,
    /// What a failure means.
    pub duty: Duty,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Scenario {
    /// The directory: `4.3-qos`. Empty for a file that stands alone.
    pub fn directory(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// The versions it runs in.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        self.proves.iter().map(|proof| proof.version)
    }

    /// The words of `needs` in this version, and those that its packets imply.
    pub fn all_needs(&self, version: Version) -> impl Iterator<Item = &str> {
        let implied = match highest_qos(&self.steps) {
            0 => None,
            1 => Some("qos1"),
            _ => Some("qos2"),
        };
        let granted = match highest_grant(&self.steps) {
            0 => None,
            1 => Some("grants-qos1"),
            _ => Some("grants-qos2"),
        };
        // Whoever needs that a QoS is not there sends it all the same.
        let without = self.needs.iter().any(|need| need.word.starts_with("no-qos"));
        let implied = implied.filter(|_| !without);
        let needs = self.needs.iter().filter(move |need| need.only.is_none_or(|only| only == version));
        needs.map(|need| need.word.as_str()).chain(implied).chain(granted)
    }

    /// Whether it has the broker killed and started again.
    pub fn restarts(&self) -> bool {
        let restarts = |step: &Step| matches!(step.action, Action::Restart);
        self.steps.iter().flat_map(Step::with_inner).any(restarts)
    }

    /// The ids it cites for `version`.
    pub fn cited(&self, version: Version) -> impl Iterator<Item = &str> {
        let proofs = self.proves.iter().filter(move |proof| proof.version == version);
        proofs.flat_map(|proof| &proof.ids).map(|cited| cited.id.as_str())
    }
}

/// The highest QoS up to 2 in these steps. A QoS 3 is refused by every broker.
fn highest_qos(steps: &[Step]) -> u64 {
    let number = |value: &Expression| match value {
        Expression::Number(qos @ 0..=2) => Some(*qos),
        _ => None,
    };
    let of = |step: &Step| match &step.action {
        Action::Send { what: Send::Packet(packet), .. } => {
            let qos = packet.fields.iter().filter(|field| matches!(field.field.name, "qos" | "will_qos"));
            qos.flat_map(|field| &field.values).filter_map(number).max()
        }
        _ => None,
    };
    steps.iter().flat_map(Step::with_inner).filter_map(of).max().unwrap_or(0)
}

/// The highest QoS that these steps insist to be granted. A broker may grant less than it is asked for.
fn highest_grant(steps: &[Step]) -> u64 {
    let insisted = |field: &FieldText| match (field.field.name, field.values.as_slice()) {
        ("reason", [Expression::Number(qos @ 0..=2)]) if !field.negated => Some(*qos),
        _ => None,
    };
    let of = |step: &Step| match &step.action {
        Action::Expect(Expect { what: Expected::Packet(packet), .. }) if packet.kind == Kind::Suback => {
            packet.fields.iter().filter_map(insisted).max()
        }
        _ => None,
    };
    steps.iter().flat_map(Step::with_inner).filter_map(of).max().unwrap_or(0)
}

/// A word behind `needs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// From [`CAPABILITIES`].
    pub word: String,
    /// The only version in which it is needed.
    pub only: Option<Version>,
}

/// Something a scenario may need that not every broker has.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// The word behind `needs`.
    pub name: &'static str,
    /// Whether a target is taken to have it unless told otherwise.
    pub usual: bool,
    /// Why a target has it not.
    pub absent: &'static str,
}

const fn usual(name: &'static str) -> Capability {
    Capability { name, usual: true, absent: "the broker refuses it, or it is said to lack it" }
}

const SMALL_WINDOW: &str = "the broker announces a smaller Receive Maximum";

const SMALL_PACKETS: &str = "the broker announces a smaller Maximum Packet Size";

const GRANTS_LESS: &str = "the broker grants a lower QoS than it is asked for, as it may";

const fn unusual(name: &'static str) -> Capability {
    Capability { name, usual: false, absent: "neither found nor said to be there" }
}

/// For what a broker of 5.0 says of itself in CONNACK.
const fn announced(name: &'static str, absent: &'static str) -> Capability {
    Capability { name, usual: false, absent }
}

/// What `needs` may name. `large-packets` is packets of more than 256 KiB, up to 4 MiB; a broker is `open` that lets in
/// whoever comes, and `closed` that lets in nobody without credentials. `qos1`, `qos2`, `grants-qos1` and `grants-qos2`
/// need no line: what a scenario sends, and what it expects in SUBACK, says it.
pub const CAPABILITIES: &[Capability] = &[
    usual("qos1"),
    usual("qos2"),
    Capability { absent: GRANTS_LESS, ..usual("grants-qos1") },
    Capability { absent: GRANTS_LESS, ..usual("grants-qos2") },
    usual("wildcards"),
    usual("retain"),
    usual("large-packets"),
    Capability { absent: "the broker was not seen to take one", ..unusual("empty-client-id") },
    Capability { absent: "the kit was given credentials", ..usual("open") },
    Capability { absent: "the kit was given no user name and password", ..unusual("passwords") },
    Capability {
        absent: "the broker was not seen to refuse clients without credentials",
        ..unusual("closed")
    },
    unusual("acl"),
    unusual("sys"),
    Capability { absent: "the URL is neither ws:// nor wss://", ..unusual(WEBSOCKET) },
    Capability { absent: SMALL_WINDOW, ..usual("window-100") },
    Capability { absent: SMALL_WINDOW, ..usual("window-65535") },
    Capability { absent: "the broker announces a shorter Server Keep Alive", ..usual("silence-5s") },
    Capability { absent: SMALL_PACKETS, ..usual("packets-4k") },
    Capability { absent: SMALL_PACKETS, ..usual("packets-20k") },
    Capability { absent: SMALL_PACKETS, ..usual("packets-70k") },
    Capability { absent: "the broker says that it has none", ..usual("shared") },
    Capability { absent: "the broker says that it has none", ..usual("subscription-ids") },
    Capability { absent: "the broker is said to keep nothing beyond its process", ..usual("durable") },
    Capability {
        absent: "the broker is not said to keep nothing beyond its process",
        ..unusual("no-durable")
    },
    announced("topic-alias", "the broker takes no topic alias"),
    announced("receive-maximum", "the broker announces no Receive Maximum of at most 1000"),
    announced("maximum-packet-size", "the broker announces no Maximum Packet Size of at most 4 MiB"),
    announced("server-keep-alive", "the broker announces no Server Keep Alive of at most 10 s"),
    announced("response-information", "the broker gives no Response Information"),
    announced("scram", "the broker was not seen to answer SCRAM-SHA-256"),
    announced(
        "payload-check",
        "the broker was not seen to refuse a payload that is not what it is said to be",
    ),
    announced("no-qos1", "the broker has QoS 1"),
    announced("no-qos2", "the broker has QoS 2"),
    announced("no-retain", "the broker has retained messages"),
    announced("no-wildcards", "the broker has wildcards"),
    announced("no-shared", "the broker has shared subscriptions"),
    announced("no-subscription-ids", "the broker has subscription identifiers"),
    announced("no-topic-alias", "the broker takes topic aliases"),
];

/// The word of a target that is spoken to over WebSocket.
pub const WEBSOCKET: &str = "websocket";

/// The statements a scenario proves in one version.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The version to run in.
    pub version: Version,
    /// Ids as in `statements-*.tsv`.
    pub ids: Vec<Cited>,
}

/// A statement id and where it stands.
#[derive(Clone, Debug)]
pub struct Cited {
    /// The id: `MQTT-3.3.1-3`.
    pub id: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Someone who takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Its name in the file.
    pub name: String,
    /// Who plays it.
    pub kind: ActorKind,
}

/// Who plays an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    /// rumqttc.
    Client,
    /// The kit, frame by frame.
    Raw,
}

/// How much the standard asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// A failure is a failure.
    Must,
    /// A failure is a warning.
    Should,
    /// A failure is a note.
    May,
}

/// One line that does something.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line in the file, from 1.
    pub line: usize,
    /// The line without its comment.
    pub text: String,
    /// The only version that has this step.
    pub only: Option<Version>,
    /// What a failure of this step means.
    pub duty: Duty,
    /// What it does.
    pub action: Action,
}

impl Step {
    /// Whether runs of `version` have this step.
    pub fn is_in(&self, version: Version) -> bool {
        self.only.is_none_or(|only| only == version)
    }

    /// This step and those in its block.
    pub fn with_inner(&self) -> Vec<&Step> {
        let inner: &[Step] = match &self.action {
            Action::AnyOrder(steps) | Action::AtOnce(steps) | Action::Repeat(_, steps) => steps,
            Action::Send { .. } | Action::Expect(_) | Action::Restart => &[],
        };
        std::iter::once(self).chain(inner.iter().flat_map(Step::with_inner)).collect()
    }

    fn sender(&self) -> Option<usize> {
        match self.action {
            Action::Send { actor, .. } => Some(actor),
            _ => None,
        }
    }

    fn expects(&self) -> bool {
        matches!(self.action, Action::Expect(_))
    }
}

/// What a step does. Actors are numbers: places in [`Scenario::actors`].
#[derive(Clone, Debug)]
pub enum Action {
    /// `actor > …`
    Send {
        /// Who sends.
        actor: usize,
        /// What.
        what: Send,
    },
    /// `actor < …`
    Expect(Expect),
    /// `broker > restart`: the process is killed and started again.
    Restart,
    /// `any order { … }`: steps whose action is [`Action::Expect`].
    AnyOrder(Vec<Step>),
    /// `at once { … }`: steps whose action is [`Action::Send`], all of one actor, repeated or not.
    AtOnce(Vec<Step>),
    /// `repeat N { … }`: so many times, with [`variables::ROUND`] bound to 1, 2, 3 …
    Repeat(Times, Vec<Step>),
}

/// How often something is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// `repeat 3`
    Fixed(u64),
    /// `repeat $name`, of which there is a limit: [`Times::MOST`].
    Bound(String),
}

impl Times {
    /// There are no more packet identifiers.
    pub const MOST: u64 = 70_000;

    /// How many times it is in a run.
    ///
    /// # Errors
    /// The `$name` is not bound to a number up to [`Times::MOST`].
    pub fn resolve(&self, bindings: &Bindings) -> Result<u64, Unresolved> {
        match self {
            Times::Fixed(times) => Ok(*times),
            Times::Bound(name) => match bindings.get(name) {
                Some(Value::Number(times)) if *times <= Times::MOST => Ok(*times),
                _ => Err(Unresolved(name.clone())),
            },
        }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Send {
    /// A packet.
    Packet(PacketText),
    /// Bytes as they stand.
    Hex(Vec<u8>),
    /// The network goes away.
    Drop,
}

/// What is awaited.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Of whom: one of them.
    pub actors: Vec<usize>,
    /// What.
    pub what: Expected,
    /// `<?`: it may come before what the next `<` says.
    pub optional: bool,
    /// Not earlier and not later than this after the last send.
    pub within: Option<(Duration, Duration)>,
}

/// What is awaited of an actor's connection.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This packet, as the next.
    Packet(PacketText),
    /// The broker closes. In 5.0 it may say why before, by a code of 0x80 or more, if given one of these.
    Close(Option<FieldText>),
    /// Nothing; if a time is given, for that long.
    Silence(Option<Duration>),
}

/// A packet as written.
#[derive(Clone, Debug)]
pub struct PacketText {
    /// Which packet.
    pub kind: Kind,
    /// The fields written, in order.
    pub fields: Vec<FieldText>,
}

/// A field as written: `name=value`, `name!=value`, `name=value|value`.
#[derive(Clone, Debug)]
pub struct FieldText {
    /// Which field.
    pub field: table::Field,
    /// `!=`
    pub negated: bool,
    /// One value; in a `<` step, several alternatives.
    pub values: Vec<Expression>,
}
