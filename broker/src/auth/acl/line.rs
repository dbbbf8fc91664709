//! A line of an ACL file.

use thiserror::Error;

use crate::topic::{Filter, FilterError};

/// What a rule says of the topics that it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Permission {
    Deny,
    Read,
    Write,
    ReadWrite,
}

impl Permission {
    const WORDS: [(&'static str, Self); 4] =
        [("read", Self::Read), ("write", Self::Write), ("readwrite", Self::ReadWrite), ("deny", Self::Deny)];

    fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, permission)| *permission)
    }

    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// What a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line<'a> {
    /// Nothing, or a comment.
    Nothing,
    /// Whom the `topic` lines from here on are for.
    User(&'a str),
    /// For that user.
    Topic(Permission, Filter<'a>),
    /// For everybody. `%u` and `%c` are not replaced yet.
    Pattern(Permission, Filter<'a>),
}

/// What makes a line none of an ACL file.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LineError {
    #[error("line that is not UTF-8, as every topic and user name is")]
    Utf8,
    #[error(
        "unknown word {0:?}: a line begins with `user`, `topic` or `pattern`, or with `#` if it is a comment"
    )]
    Word(String),
    #[error("`user` without a name: say whom the `topic` lines under it are for")]
    NoUser,
    #[error("`{0}` without a topic filter: write `{0} read FILTER`, or write, readwrite or deny")]
    NoFilter(&'static str),
    #[error("unknown access {0:?}: write read, write, readwrite or deny before the topic filter")]
    Access(String),
    #[error("{filter:?} is no topic filter: {error}; a comment stands in a line of its own")]
    Filter { filter: String, error: FilterError },
}

impl<'a> Line<'a> {
    /// Parses a line, with or without its end.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let line = std::str::from_utf8(line).map_err(|_| LineError::Utf8)?.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self::Nothing);
        }
        let (word, rest) = split(line);
        match word {
            "user" if rest.is_empty() => Err(LineError::NoUser),
            "user" => Ok(Self::User(rest)),
            "topic" => rule("topic", rest).map(|(permission, filter)| Self::Topic(permission, filter)),
            "pattern" => rule("pattern", rest).map(|(permission, filter)| Self::Pattern(permission, filter)),
            _ => Err(LineError::Word(word.to_owned())),
        }
    }
}

/// The access, which may be left out where the topic filter has no space, and the filter.
fn rule<'a>(word: &'static str, rest: &'a str) -> Result<(Permission, Filter<'a>), LineError> {
    let (first, behind) = split(rest);
    let (permission, filter) = match (Permission::of(first), behind) {
        // mosquitto would take it for a topic of that name; more likely something was forgotten.
        (Some(_), "") => return Err(LineError::NoFilter(word)),
        (Some(permission), filter) => (permission, filter),
        (None, "") if first.is_empty() => return Err(LineError::NoFilter(word)),
        (None, "") => (Permission::ReadWrite, first),
        (None, _) => return Err(LineError::Access(first.to_owned())),
    };
    match Filter::new(filter) {
        Ok(filter) => Ok((permission, filter)),
        Err(error) => Err(LineError::Filter { filter: filter.to_owned(), error }),
    }
}

/// The first word, and what stands behind it.
fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}
