//! Topic names and topic filters, valid from the moment they exist.

use std::fmt;

/// A topic name: 1 to 65535 bytes, no wildcard, no U+0000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name<'a>(&'a str);

/// A topic filter: 1 to 65535 bytes, wildcards only as whole levels, no U+0000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Filter<'a>(&'a str);

/// Why something is no topic name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// No characters.
    #[error("empty topic name [MQTT-4.7.3-1]")]
    Empty,
    /// More than 65535 bytes.
    #[error("topic name longer than 65535 bytes [MQTT-4.7.3-3]")]
    TooLong,
    /// U+0000.
    #[error("U+0000 in a topic name [MQTT-4.7.3-2]")]
    Null,
    /// `+` or `#`.
    #[error("wildcard in a topic name [MQTT-4.7.1-1]")]
    Wildcard,
    /// Not UTF-8.
    #[error("topic name is not UTF-8 [MQTT-1.5.3-1]")]
    Utf8,
}

/// Why something is no topic filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// No characters.
    #[error("empty topic filter [MQTT-4.7.3-1]")]
    Empty,
    /// More than 65535 bytes.
    #[error("topic filter longer than 65535 bytes [MQTT-4.7.3-3]")]
    TooLong,
    /// U+0000.
    #[error("U+0000 in a topic filter [MQTT-4.7.3-2]")]
    Null,
    /// `#` is not the whole last level.
    #[error("'#' is not the whole last level of a filter [MQTT-4.7.1-2]")]
    MultiLevel,
    /// `+` is not a whole level.
    #[error("'+' is not a whole level of a filter [MQTT-4.7.1-3]")]
    SingleLevel,
}

impl<'a> Name<'a> {
    /// Checks `name`.
    pub fn new(name: &'a str) -> Result<Self, NameError> {
        match name {
            "" => Err(NameError::Empty),
            _ if name.len() > usize::from(u16::MAX) => Err(NameError::TooLong),
            _ if name.contains('\0') => Err(NameError::Null),
            _ if name.contains(['+', '#']) => Err(NameError::Wildcard),
            _ => Ok(Self(name)),
        }
    }

    /// Checks `name`, UTF-8 included.
    pub fn from_bytes(name: &'a [u8]) -> Result<Self, NameError> {
        Self::new(std::str::from_utf8(name).map_err(|_| NameError::Utf8)?)
    }

    /// The name as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the name begins with `$`.
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl<'a> Filter<'a> {
    /// Checks `filter`.
    pub fn new(filter: &'a str) -> Result<Self, FilterError> {
        match filter {
            "" => return Err(FilterError::Empty),
            _ if filter.len() > usize::from(u16::MAX) => return Err(FilterError::TooLong),
            _ if filter.contains('\0') => return Err(FilterError::Null),
            _ => {}
        }
        let mut levels = filter.split('/');
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.clone().next().is_some()) {
                return Err(FilterError::MultiLevel);
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::SingleLevel);
            }
        }
        Ok(Self(filter))
    }

    /// The filter as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
