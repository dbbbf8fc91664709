use std::{borrow::Borrow, fmt, str};

use super::{MAX_BYTES, levels};

/// A valid topic name: what a message is published to.
///
/// It has 1 to [`MAX_BYTES`] bytes of UTF-8, no U+0000 and no wildcard. Orders and hashes as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Checks a topic name.
    pub fn new(name: &'a str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(NameError::TooLong(name.len()));
        }
        if has_forbidden_byte(name.as_bytes()) {
            return Err(first_forbidden(name));
        }
        Ok(Self(name))
    }

    /// Checks a topic name as it came from the network.
    pub fn from_bytes(name: &'a [u8]) -> Result<Self, NameError> {
        Self::new(str::from_utf8(name).map_err(|_| NameError::NotUtf8)?)
    }

    /// The whole name.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels, between the slashes; any of them can be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        levels(self.0)
    }

    /// Does it begin with `$`? Such topics are the server's own, and wildcards do not reach them
    /// [MQTT-4.7.2-1].
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An owned [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameBuf(Box<str>);

impl NameBuf {
    /// The name, without checking it again.
    pub fn as_name(&self) -> Name<'_> {
        Name(&self.0)
    }
}

impl From<Name<'_>> for NameBuf {
    fn from(name: Name<'_>) -> Self {
        Self(name.0.into())
    }
}

impl TryFrom<String> for NameBuf {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Name::new(&text)?;
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for NameBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("the topic name is empty [MQTT-4.7.3-1]")]
    Empty,
    /// It has more than [`MAX_BYTES`] bytes: this many.
    #[error("the topic name has {0} bytes, more than 65535 [MQTT-4.7.3-3]")]
    TooLong(usize),
    /// It is not UTF-8.
    #[error("the topic name is not UTF-8 [MQTT-3.3.2-1]")]
    NotUtf8,
    /// It contains U+0000.
    #[error("the topic name contains U+0000 [MQTT-4.7.3-2]")]
    NullCharacter,
    /// It contains this wildcard, `+` or `#`.
    #[error("the topic name contains the wildcard {0:?} [MQTT-3.3.2-2]")]
    Wildcard(char),
}

/// Every PUBLISH comes through here: without an early exit the loop becomes a few vector instructions.
fn has_forbidden_byte(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | matches!(byte, 0 | b'+' | b'#'))
}

fn first_forbidden(name: &str) -> NameError {
    match name.chars().find(|c| matches!(c, '+' | '#')) {
        Some(wildcard) if !name.contains('\0') => NameError::Wildcard(wildcard),
        _ => NameError::NullCharacter,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn anything_but_wildcards_and_null_is_allowed() {
        for name in [
            "/",
            "a",
            "a b/c",
            "/finance",
            "ACCOUNTS",
            "Accounts payable",
            "\u{feff}a",
            "$SYS/x",
            "é/日本/\u{1}",
        ] {
            assert_eq!(Name::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a\0"), Err(NameError::NullCharacter));
        assert_eq!(Name::new("a+b"), Err(NameError::Wildcard('+')));
        assert_eq!(Name::new("a/#"), Err(NameError::Wildcard('#')));
        // An overlong slash, a surrogate, half a character.
        for bytes in [&[0xC0, 0xAF][..], &[0xED, 0xA0, 0x80], &[b'a', 0xC3]] {
            assert_eq!(Name::from_bytes(bytes), Err(NameError::NotUtf8));
        }
    }

    #[test]
    fn length_is_counted_in_bytes() {
        assert!(Name::new(&"/".repeat(65_535)).is_ok());
        assert_eq!(Name::new(&"é".repeat(32_768)), Err(NameError::TooLong(65_536)));
    }

    #[test]
    fn refusals_cite_the_rule() {
        assert_eq!(
            NameError::Wildcard('+').to_string(),
            "the topic name contains the wildcard '+' [MQTT-3.3.2-2]"
        );
    }

    #[test]
    fn empty_levels_are_levels() {
        assert!(Name::new("/a//").unwrap().levels().eq(["", "a", "", ""]));
    }

    #[test]
    fn owned_and_borrowed_names_are_the_same_key() {
        let owned = NameBuf::from(Name::new("a/b").unwrap());
        assert_eq!(owned.as_name(), Name::new("a/b").unwrap());
        assert!(std::collections::HashSet::from([owned]).contains("a/b"));
    }

    fn is_name(text: &str) -> bool {
        (1..=65_535).contains(&text.len()) && text.chars().all(|c| c != '\0' && c != '+' && c != '#')
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_check(text in "[a/+#$\0é]{0,40}") {
            prop_assert_eq!(Name::new(&text).is_ok(), is_name(&text));
        }

        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let naive = str::from_utf8(&bytes).is_ok_and(is_name);
            prop_assert_eq!(Name::from_bytes(&bytes).is_ok(), naive);
        }
    }
}
