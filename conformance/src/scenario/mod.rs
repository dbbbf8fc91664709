//! Scenarios: what a file of `scenarios/` says, once read. The language is on one page in `scenarios/README.md`.

mod load;
mod parse;
mod value;

use std::time::Duration;

pub use load::{LoadError, load};
pub use parse::{ParseError, parse};
pub use value::{Bindings, Expression, Piece, Unresolved, variables};

use crate::Version;
use crate::frame::{Kind, table};

/// One file: one behaviour.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Directory and file name without the extension: `4.3-qos/qos1-is-acknowledged`.
    pub name: String,
    /// The file, as shown to the user.
    pub file: String,
    /// The comment on top.
    pub about: String,
    /// What it shows, by version.
    pub proves: Vec<Proof>,
    /// Who takes part.
    pub actors: Vec<Actor>,
    /// What the target must be capable of, from [`CAPABILITIES`].
    pub needs: Vec<String>,
    /// Which promises beyond the standard it checks.
    pub promises: Vec<String>,
    /// What a failure means.
    pub duty: Duty,
    /// What happens.
    pub steps: Vec<Step>,
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
    Capability { name, usual: true, absent: "it is among BROKER_LACKS" }
}

const fn unusual(name: &'static str) -> Capability {
    Capability { name, usual: false, absent: "it is not among BROKER_HAS" }
}

/// What `needs` may name. `large-packets` is packets of more than 256 KiB, up to 4 MiB; a broker is `open` that lets in
/// whoever comes, and `closed` that lets in nobody without credentials.
pub const CAPABILITIES: &[Capability] = &[
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
    unusual("websocket"),
];

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
            Action::Send { .. } | Action::Expect(_) => &[],
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
    /// `any order { … }`: steps whose action is [`Action::Expect`].
    AnyOrder(Vec<Step>),
    /// `at once { … }`: steps whose action is [`Action::Send`], all of one actor, repeated or not.
    AtOnce(Vec<Step>),
    /// `repeat N { … }`: so many times, with [`variables::ROUND`] bound to 1, 2, 3 …
    Repeat(u64, Vec<Step>),
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
    /// The broker closes.
    Close,
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
