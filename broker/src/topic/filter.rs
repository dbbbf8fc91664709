use std::{borrow::Borrow, fmt};

use super::{MAX_BYTES, Name};

/// A valid topic filter: what a client subscribes to.
///
/// It has 1 to [`MAX_BYTES`] bytes of UTF-8, no U+0000, `+` only as a whole level and `#` only as the whole last
/// level. Orders and hashes as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter<'a>(&'a str);

impl<'a> Filter<'a> {
    /// Checks a topic filter.
    pub fn new(filter: &'a str) -> Result<Self, FilterError> {
        if filter.is_empty() {
            return Err(FilterError::Empty);
        }
        if filter.len() > MAX_BYTES {
            return Err(FilterError::TooLong(filter.len()));
        }
        if filter.contains('\0') {
            return Err(FilterError::NullCharacter);
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            match level {
                "#" if levels.peek().is_some() => return Err(FilterError::MultiLevelNotLast),
                "#" | "+" => {}
                _ if level.contains('#') => return Err(FilterError::MultiLevelNotWhole),
                _ if level.contains('+') => return Err(FilterError::SingleLevelNotWhole),
                _ => {}
            }
        }
        Ok(Self(filter))
    }

    /// The whole filter.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels, between the slashes; any of them can be empty, `+`, or, the last one, `#`.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// The number of levels, at least 1.
    pub fn depth(self) -> usize {
        self.levels().count()
    }

    /// Can it match more than the one name that is spelled like it?
    pub fn has_wildcard(self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Does its first level consist of a wildcard? Then it does not match reserved names [MQTT-4.7.2-1].
    pub(super) fn begins_with_wildcard(self) -> bool {
        self.0.starts_with(['+', '#'])
    }

    /// Does it begin with `$`?
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }

    /// Does it match this name? Section 4.7 word by word, level by level.
    pub fn matches(self, name: Name<'_>) -> bool {
        if name.is_reserved() && self.begins_with_wildcard() {
            return false;
        }
        let mut name_levels = name.levels();
        for level in self.levels() {
            match (level, name_levels.next()) {
                // Also where the name has ended: `sport/#` matches `sport`.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(name_level)) if literal == name_level => {}
                _ => return false,
            }
        }
        name_levels.next().is_none()
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An owned [`Filter`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterBuf(Box<str>);

impl FilterBuf {
    /// The filter, without checking it again.
    pub fn as_filter(&self) -> Filter<'_> {
        Filter(&self.0)
    }
}

impl From<Filter<'_>> for FilterBuf {
    fn from(filter: Filter<'_>) -> Self {
        Self(filter.0.into())
    }
}

impl Borrow<str> for FilterBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It has no characters.
    #[error("the topic filter is empty [MQTT-4.7.3-1]")]
    Empty,
    /// It has more than [`MAX_BYTES`] bytes: this many.
    #[error("the topic filter has {0} bytes, more than 65535 [MQTT-4.7.3-3]")]
    TooLong(usize),
    /// It contains U+0000.
    #[error("the topic filter contains U+0000 [MQTT-4.7.3-2]")]
    NullCharacter,
    /// Levels follow `#`.
    #[error("the topic filter goes on after '#' [MQTT-4.7.1-2]")]
    MultiLevelNotLast,
    /// `#` shares its level with other characters.
    #[error("'#' is not a whole level of the topic filter [MQTT-4.7.1-2]")]
    MultiLevelNotWhole,
    /// `+` shares its level with other characters.
    #[error("'+' is not a whole level of the topic filter [MQTT-4.7.1-3]")]
    SingleLevelNotWhole,
}
