use std::{borrow::Borrow, fmt};

use super::{MAX_BYTES, Name, levels};

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
        let mut levels = levels(filter).peekable();
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
        levels(self.0)
    }

    /// The number of levels, at least 1.
    pub fn depth(self) -> usize {
        self.levels().count()
    }

    /// Can it match more than the one name that is spelled like it?
    pub fn has_wildcard(self) -> bool {
        self.0.bytes().any(|byte| matches!(byte, b'+' | b'#'))
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

impl Filter<'_> {
    /// Is there a name that both match?
    pub fn overlaps(self, other: Filter<'_>) -> bool {
        if !may_meet(self, other) {
            return false;
        }
        // Only the name without a character would match both, and there is none [MQTT-4.7.3-1].
        if let ("/#", "+") | ("+", "/#") = (self.as_str(), other.as_str()) {
            return false;
        }
        let (mut ones, mut others) = (self.levels(), other.levels());
        loop {
            match (ones.next(), others.next()) {
                // Also where the other has ended: `sport/#` matches `sport`.
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }

    /// Does it match each name that the other matches? It may say no although it does, where that takes more than a look
    /// at one level after the other: `+/#` and `#` match the same names.
    pub fn covers(self, other: Filter<'_>) -> bool {
        if !may_meet(self, other) {
            return false;
        }
        let (mut mine, mut others) = (self.levels(), other.levels());
        loop {
            match (mine.next(), others.next()) {
                (Some("#"), _) | (None, None) => return true,
                (_, Some("#")) => return false,
                (Some("+"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }
}

/// A wildcard at the begin does not match reserved names [MQTT-4.7.2-1], and a filter that spells them matches no others.
fn may_meet(one: Filter<'_>, other: Filter<'_>) -> bool {
    !(one.begins_with_wildcard() && other.is_reserved() || other.begins_with_wildcard() && one.is_reserved())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &str, name: &str) -> bool {
        Filter::new(filter).unwrap().matches(Name::new(name).unwrap())
    }

    #[test]
    fn wildcards_stand_alone_in_their_level() {
        for filter in [
            "#",
            "+",
            "sport/tennis/#",
            "+/tennis/#",
            "sport/+/player1",
            "/+",
            "+/+",
            "/#",
            "+/#",
            "$SYS/#",
            "//",
        ] {
            assert!(Filter::new(filter).is_ok(), "{filter}");
        }
        assert_eq!(Filter::new("sport/tennis#"), Err(FilterError::MultiLevelNotWhole));
        assert_eq!(Filter::new("sport/#a"), Err(FilterError::MultiLevelNotWhole));
        assert_eq!(Filter::new("##"), Err(FilterError::MultiLevelNotWhole));
        assert_eq!(Filter::new("+#"), Err(FilterError::MultiLevelNotWhole));
        assert_eq!(Filter::new("sport/tennis/#/ranking"), Err(FilterError::MultiLevelNotLast));
        assert_eq!(Filter::new("#/"), Err(FilterError::MultiLevelNotLast));
        assert_eq!(Filter::new("sport+"), Err(FilterError::SingleLevelNotWhole));
        assert_eq!(Filter::new("a/+b/c"), Err(FilterError::SingleLevelNotWhole));
        assert_eq!(Filter::new("++"), Err(FilterError::SingleLevelNotWhole));
    }

    #[test]
    fn text_has_the_limits_of_names() {
        assert_eq!(Filter::new(""), Err(FilterError::Empty));
        assert_eq!(Filter::new("a\0/#"), Err(FilterError::NullCharacter));
        assert_eq!(Filter::new(&"a".repeat(65_536)), Err(FilterError::TooLong(65_536)));
        assert_eq!(Filter::new(&"/".repeat(65_535)).unwrap().depth(), 65_536);
    }

    #[test]
    fn refusals_cite_the_rule() {
        assert_eq!(
            FilterError::MultiLevelNotLast.to_string(),
            "the topic filter goes on after '#' [MQTT-4.7.1-2]"
        );
    }

    #[test]
    fn multi_level_wildcard_matches_the_parent_and_all_below() {
        for name in
            ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"]
        {
            assert!(matches("sport/tennis/player1/#", name), "{name}");
        }
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/#", "sport/"));
        assert!(!matches("sport/#", "sports"));
        assert!(!matches("sport/tennis/#", "sport"));
        assert!(matches("#", "sport/tennis"));
        assert!(matches("#", "/"));
        assert!(matches("+/#", "sport"));
    }

    #[test]
    fn single_level_wildcard_matches_exactly_one_level() {
        assert!(matches("sport/tennis/+", "sport/tennis/player1"));
        assert!(matches("sport/tennis/+", "sport/tennis/player2"));
        assert!(!matches("sport/tennis/+", "sport/tennis/player1/ranking"));
        assert!(!matches("sport/+", "sport"));
        assert!(matches("sport/+", "sport/"));
        assert!(matches("sport/+/player1", "sport//player1"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("/+", "/finance"));
        assert!(!matches("+", "/finance"));
    }

    #[test]
    fn wildcards_do_not_reach_reserved_names() {
        assert!(!matches("#", "$SYS/monitor/Clients"));
        assert!(!matches("+/monitor/Clients", "$SYS/monitor/Clients"));
        assert!(!matches("+", "$"));
        assert!(matches("$SYS/#", "$SYS/monitor/Clients"));
        assert!(matches("$SYS/#", "$SYS"));
        assert!(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
        // Only the first character of the whole name counts.
        assert!(matches("#", "a/$SYS"));
        assert!(matches("+/+", "/$SYS"));
    }

    #[test]
    fn every_character_counts() {
        assert!(!matches("ACCOUNTS", "Accounts"));
        assert!(!matches("a", "a/"));
        assert!(!matches("a", "/a"));
        assert!(matches("Accounts payable", "Accounts payable"));
        // The same letter to a reader, composed and decomposed.
        assert!(!matches("\u{e9}", "e\u{301}"));
        assert!(!matches("\u{feff}a", "a"));
    }

    #[test]
    fn wildcards_are_told_from_text() {
        let filter = |text| Filter::new(text).unwrap();
        assert!(filter("a/+/b").has_wildcard() && filter("#").has_wildcard());
        assert!(!filter("a/$/b").has_wildcard());
        assert!(filter("$SYS/#").is_reserved() && !filter("a/$").is_reserved());
    }

    #[test]
    fn owned_and_borrowed_filters_are_the_same_key() {
        let owned = FilterBuf::from(Filter::new("a/+").unwrap());
        assert_eq!(owned.as_filter(), Filter::new("a/+").unwrap());
        assert!(std::collections::HashSet::from([owned]).contains("a/+"));
    }

    /// The rules once more, with positions instead of levels.
    fn is_filter(text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let begins = |at: usize| at == 0 || chars[at - 1] == '/';
        let last = |at: usize| at + 1 == chars.len();
        !text.is_empty()
            && chars.iter().enumerate().all(|(at, c)| match c {
                '\0' => false,
                '#' => begins(at) && last(at),
                '+' => begins(at) && (last(at) || chars[at + 1] == '/'),
                _ => true,
            })
    }

    /// Names of few levels out of the few that the strategies know, and a level that they do not.
    fn names() -> Vec<String> {
        let levels = ["", "a", "b", "$", "$a", "other"];
        let mut names: Vec<String> = levels.iter().map(|level| (*level).to_owned()).collect();
        for _ in 0..3 {
            let longer = names.iter().flat_map(|name| levels.map(|level| format!("{name}/{level}")));
            names = longer.chain(names.clone()).collect();
            names.sort_unstable();
            names.dedup();
        }
        names.retain(|name| !name.is_empty());
        names
    }

    #[test]
    fn what_meets_and_what_covers() {
        for (one, other, overlaps, covers) in [
            ("a/b", "a/b", true, true),
            ("a/+", "a/b", true, true),
            ("a/b", "a/+", true, false),
            ("+/b", "a/+", true, false),
            ("a/#", "a", true, true),
            ("a/#", "+/b/c", true, false),
            ("#", "a/#", true, true),
            ("#", "$SYS/#", false, false),
            ("$SYS/#", "$SYS/+", true, true),
            ("$SYS/#", "+/#", false, false),
            ("a", "a/", false, false),
            ("a/+/c", "a/b/d", false, false),
            ("/#", "+", false, false),
            ("/#", "+/+", true, false),
        ] {
            let (one, other) = (Filter::new(one).unwrap(), Filter::new(other).unwrap());
            assert_eq!((one.overlaps(other), one.covers(other)), (overlaps, covers), "{one} {other}");
            assert_eq!(other.overlaps(one), overlaps, "{other} {one}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn overlaps_and_covers_agree_with_names(
            one in "([a+]|\\$|b)?(/([a+]|b)?){0,2}(/#)?|#",
            other in "([a+]|\\$|b)?(/([a+]|b)?){0,2}(/#)?|#",
        ) {
            prop_assume!(!one.is_empty() && !other.is_empty());
            let (one, other) = (Filter::new(&one).unwrap(), Filter::new(&other).unwrap());
            let names = names();
            let names: Vec<_> = names.iter().map(|name| Name::new(name).unwrap()).collect();
            let meet = names.iter().any(|name| one.matches(*name) && other.matches(*name));
            prop_assert_eq!(one.overlaps(other), meet);
            if one.covers(other) {
                prop_assert!(names.iter().all(|name| one.matches(*name) || !other.matches(*name)));
            } else if other.as_str() != "#" {
                // Only what ends all levels alike is not seen through.
                let is_wide = one.as_str().ends_with("+/#") || one.as_str() == "+/#";
                let all = names.iter().all(|name| one.matches(*name) || !other.matches(*name));
                prop_assert!(is_wide || !all, "{} covers {}", one, other);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_check(text in "[a/+#é\0]{0,6}|[/+]{0,6}#?") {
            prop_assert_eq!(Filter::new(&text).is_ok(), is_filter(&text));
        }

        #[test]
        fn takes_any_text(text: String) {
            prop_assert_eq!(Filter::new(&text).is_ok(), is_filter(&text));
        }
    }
}
