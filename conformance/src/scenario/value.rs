//! Values as written, and what becomes of them when a scenario runs.

use std::collections::HashMap;
use std::fmt;

use super::scram::{Client, Scram};
use crate::frame::{Value, pattern, table::Type};

/// What stands behind `field=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `7`, `0x80`
    Number(u64),
    /// Strings, bytes and patterns, joined.
    Bytes(Vec<Piece>),
    /// `$name`
    Variable(String),
    /// `$name + 1`, `$name - 1`: a bound number and what is added to it.
    Sum(String, i64),
    /// `8..10`: in `<` steps, a number from here to there.
    Range(u64, u64),
    /// `none`: in `<` steps, that the field is not there.
    Absent,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// `"…"`: made unique in fields that hold a topic or a client identifier.
    Own(Vec<u8>),
    /// `'…'`: as it stands, with the token for `{u}`.
    Exact(Vec<u8>),
    /// `x"…"`
    Hex(Vec<u8>),
    /// `bytes(N)`
    Pattern(usize),
    /// `bytes($name)`, `bytes($name - 20)`
    PatternOf(String, i64),
    /// `$name` among others; a number is written in decimal.
    Variable(String),
    /// `scram.first`, `scram.final($name)`: a message of SCRAM-SHA-256, given the broker's first one.
    Scram(Scram, Option<String>),
}

/// What `$names` stand for so far.
pub type Bindings = HashMap<String, Value>;

/// The `$names` that no step binds.
pub mod variables {
    /// The target's right user name.
    pub const USERNAME: &str = "username";
    /// Its right password.
    pub const PASSWORD: &str = "password";
    /// Which round of `repeat` it is, from 1.
    pub const ROUND: &str = "n";
}

/// A `$name` that nothing has bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved(pub String);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${} is not bound to what is needed here", self.0)
    }
}

/// What stands for the unique token in `'…'`.
const TOKEN_MARK: &[u8] = b"{u}";

impl Expression {
    /// The `$names` in it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let (alone, pieces) = match self {
            Expression::Number(_) | Expression::Range(..) | Expression::Absent => (None, [].as_slice()),
            Expression::Variable(name) | Expression::Sum(name, _) => (Some(name), [].as_slice()),
            Expression::Bytes(pieces) => (None, pieces.as_slice()),
        };
        alone.into_iter().chain(pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(name) | Piece::PatternOf(name, _) => Some(name),
            Piece::Scram(_, answer) => answer.as_ref(),
            _ => None,
        }))
    }

    /// Whether the target's credentials are in it.
    pub(super) fn has_scram(&self) -> bool {
        matches!(self, Expression::Bytes(pieces) if pieces.iter().any(|piece| matches!(piece, Piece::Scram(..))))
    }

    /// The same with a number for this `$name`.
    #[must_use]
    pub(super) fn with_number(self, name: &str, number: u64) -> Self {
        match self {
            Expression::Variable(found) if found == name => Expression::Number(number),
            Expression::Sum(found, more) if found == name => Expression::Number(sum(number, more)),
            Expression::Bytes(pieces) => {
                let fill = |piece| match piece {
                    Piece::Variable(found) if found == name => Piece::Hex(number.to_string().into_bytes()),
                    Piece::PatternOf(found, more) if found == name => {
                        Piece::Pattern(sum(number, more).min(MAX_PATTERN_BYTES) as usize)
                    }
                    other => other,
                };
                Expression::Bytes(pieces.into_iter().map(fill).collect())
            }
            other => other,
        }
    }

    /// Whether the field may hold this, in the run with this token.
    pub fn admits(&self, actual: Option<&Value>, of: Type, token: &str, bindings: &Bindings) -> bool {
        match (self, actual) {
            (Expression::Absent, actual) => actual.is_none(),
            (Expression::Range(least, most), Some(Value::Number(number))) => (least..=most).contains(&number),
            (_, actual) => self.resolve(of, token, bindings).ok().as_ref() == actual && actual.is_some(),
        }
    }

    /// The value in a field of this type, in the run with this token.
    ///
    /// # Errors
    /// A variable that is not bound, or not to a number where one is needed; what is no single value.
    pub fn resolve(&self, of: Type, token: &str, bindings: &Bindings) -> Result<Value, Unresolved> {
        match self {
            Expression::Number(number) => Ok(Value::Number(*number)),
            Expression::Variable(name) => bindings.get(name).cloned().ok_or_else(|| Unresolved(name.clone())),
            Expression::Sum(name, more) => Ok(Value::Number(sum(bound_number(name, bindings)?, *more))),
            Expression::Range(..) | Expression::Absent => Err(Unresolved(self.to_string())),
            Expression::Bytes(pieces) => {
                let mut bytes = Vec::new();
                for piece in pieces {
                    match piece {
                        Piece::Own(text) => {
                            if bytes.is_empty() && !text.is_empty() {
                                bytes.extend(prefix(of, token).bytes());
                            }
                            bytes.extend(text);
                        }
                        Piece::Exact(text) => bytes.extend(with_token(text, token)),
                        Piece::Hex(hex) => bytes.extend(hex),
                        Piece::Pattern(length) => bytes.extend(pattern(*length)),
                        Piece::PatternOf(name, more) => {
                            let length = sum(bound_number(name, bindings)?, *more).min(MAX_PATTERN_BYTES);
                            bytes.extend(pattern(length as usize));
                        }
                        Piece::Variable(name) => match bindings.get(name) {
                            Some(Value::Bytes(bound)) => bytes.extend(bound),
                            Some(Value::Number(number)) => bytes.extend(number.to_string().bytes()),
                            None => return Err(Unresolved(name.clone())),
                        },
                        Piece::Scram(scram, answer) => {
                            let message = said(*scram, answer.as_deref(), token, bindings);
                            bytes.extend(
                                message.ok_or_else(|| Unresolved(answer.clone().unwrap_or_default()))?,
                            );
                        }
                    }
                }
                Ok(Value::Bytes(bytes))
            }
        }
    }
}

/// What a client with the target's credentials says in SCRAM-SHA-256; its nonce is the token.
fn said(scram: Scram, answer: Option<&str>, token: &str, bindings: &Bindings) -> Option<Vec<u8>> {
    let bytes = |name: &str| match bindings.get(name) {
        Some(Value::Bytes(bytes)) => Some(bytes.as_slice()),
        _ => None,
    };
    let (username, password) = (bytes(variables::USERNAME)?, bytes(variables::PASSWORD)?);
    let answer = answer.map_or(Some(b"".as_slice()), bytes)?;
    scram.message(Client { username, password, nonce: token }, answer)
}

/// The longest `bytes($name)`.
const MAX_PATTERN_BYTES: u64 = 64 << 20;

fn bound_number(name: &str, bindings: &Bindings) -> Result<u64, Unresolved> {
    match bindings.get(name) {
        Some(Value::Number(number)) => Ok(*number),
        _ => Err(Unresolved(name.to_owned())),
    }
}

fn sum(number: u64, more: i64) -> u64 {
    number.saturating_add_signed(more)
}

impl fmt::Display for Expression {
    /// What cannot be resolved as it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Range(least, most) => write!(f, "{least}..{most}"),
            Expression::Absent => f.write_str("none"),
            other => {
                let names: Vec<_> = other.names().map(|name| format!("${name}")).collect();
                f.write_str(&names.join(" + "))
            }
        }
    }
}

/// What makes a value of this type unique. A whole level in front of a topic leaves matching as it was.
fn prefix(of: Type, token: &str) -> String {
    match of {
        Type::Topic => format!("{token}/"),
        Type::ClientId => token.to_owned(),
        Type::Bytes | Type::Number(_) => String::new(),
    }
}

fn with_token(text: &[u8], token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(TOKEN_MARK) {
            out.extend(token.bytes());
            rest = behind;
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(piece: Piece, of: Type) -> String {
        let value = Expression::Bytes(vec![piece]).resolve(of, "TOKEN", &Bindings::new());
        match value {
            Ok(Value::Bytes(bytes)) => String::from_utf8(bytes).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_are_joined_with_what_they_stand_for() {
        let joined = Expression::Bytes(vec![Piece::Variable("p".to_owned()), Piece::Own(b"x".into())]);
        let resolve =
            |value: Value| joined.resolve(Type::Topic, "TOKEN", &Bindings::from([("p".to_owned(), value)]));
        assert_eq!(resolve(Value::from("TOKEN/a")), Ok(Value::from("TOKEN/ax")));
        assert_eq!(resolve(Value::Number(7)), Ok(Value::from("7x")));
        assert_eq!(joined.names().collect::<Vec<_>>(), ["p"]);
    }

    #[test]
    fn topics_and_client_identifiers_are_made_unique() {
        assert_eq!(resolve(Piece::Own(b"a/b".into()), Type::Topic), "TOKEN/a/b");
        assert_eq!(resolve(Piece::Own(b"#".into()), Type::Topic), "TOKEN/#");
        assert_eq!(resolve(Piece::Own(b"/a".into()), Type::Topic), "TOKEN//a");
        assert_eq!(resolve(Piece::Own(b"c".into()), Type::ClientId), "TOKENc");
        assert_eq!(resolve(Piece::Own(b"".into()), Type::ClientId), "");
        assert_eq!(resolve(Piece::Own(b"p{u}".into()), Type::Bytes), "p{u}");
        assert_eq!(resolve(Piece::Exact(b"#".into()), Type::Topic), "#");
        assert_eq!(resolve(Piece::Exact(b"${u}/a{u}".into()), Type::Topic), "$TOKEN/aTOKEN");
    }
}
