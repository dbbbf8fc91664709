use super::{Filter, FilterError};

/// What the topic filter of a shared subscription begins with [5.0 MQTT-4.8.2-1].
const PREFIX: &str = "$share/";

/// The topic filter of a shared subscription: `$share/`, a share name, `/`, and the filter that topic names are matched
/// with (§4.8.2 of 5.0).
///
/// The share name has one character or more, and no `/`, `+` or `#`. Two clients share a subscription if theirs are the
/// same as a whole: the share name alone does not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFilter<'a> {
    whole: Filter<'a>,
    filter: Filter<'a>,
}

impl<'a> SharedFilter<'a> {
    /// The shared subscription that a filter stands for; none if it is an ordinary filter.
    ///
    /// # Errors
    ///
    /// It begins like the filter of a shared subscription, and is none.
    pub fn parse(whole: Filter<'a>) -> Result<Option<Self>, ShareError> {
        let Some(rest) = whole.as_str().strip_prefix(PREFIX) else { return Ok(None) };
        let (name, filter) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() {
            return Err(ShareError::NoName);
        }
        if name.contains(['+', '#']) {
            return Err(ShareError::Wildcard);
        }
        // Whatever is left of a valid filter behind a slash is a valid filter, unless nothing is.
        let filter = Filter::new(filter).map_err(ShareError::Filter)?;
        Ok(Some(Self { whole, filter }))
    }

    /// All of it, `$share/` included.
    pub fn whole(self) -> Filter<'a> {
        self.whole
    }

    /// What topic names are matched with.
    pub fn filter(self) -> Filter<'a> {
        self.filter
    }
}

/// Why a filter that begins with `$share/` is no shared subscription's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The share name has no characters.
    #[error("the share name is empty [5.0 MQTT-4.8.2-1]")]
    NoName,
    /// The share name contains `+` or `#`.
    #[error("the share name contains a wildcard [5.0 MQTT-4.8.2-2]")]
    Wildcard,
    /// No valid topic filter follows the share name.
    #[error("behind the share name, {0} [5.0 MQTT-4.8.2-2]")]
    Filter(FilterError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Option<&str>, ShareError> {
        let shared = SharedFilter::parse(Filter::new(text).unwrap())?;
        assert!(shared.is_none_or(|shared| shared.whole().as_str() == text));
        Ok(shared.map(|shared| shared.filter().as_str()))
    }

    #[test]
    fn the_filter_begins_behind_the_share_name() {
        assert_eq!(parse("$share/consumer1/sport/tennis/+"), Ok(Some("sport/tennis/+")));
        assert_eq!(parse("$share/consumer1//finance"), Ok(Some("/finance")));
        assert_eq!(parse("$share/a/#"), Ok(Some("#")));
        assert_eq!(parse("$share/a/$SYS/x"), Ok(Some("$SYS/x")));
        // Not nested: a topic of that name.
        assert_eq!(parse("$share/a/$share/b/c"), Ok(Some("$share/b/c")));
    }

    #[test]
    fn others_are_ordinary_filters() {
        for text in ["a", "$share", "$shared/a/b", "share/a/b", "/$share/a/b", "$Share/a/b", "#"] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(parse("$share/"), Err(ShareError::NoName));
        assert_eq!(parse("$share//a"), Err(ShareError::NoName));
        assert_eq!(parse("$share/+/a"), Err(ShareError::Wildcard));
        assert_eq!(parse("$share/#"), Err(ShareError::Wildcard));
        for text in ["$share/a", "$share/a/"] {
            assert_eq!(parse(text), Err(ShareError::Filter(FilterError::Empty)));
        }
        let error = parse("$share/a").unwrap_err().to_string();
        assert!(error.starts_with("behind the share name, the topic filter is empty"), "{error}");
    }

    proptest! {
        #[test]
        fn agrees_with_the_levels(text in "(\\$share/)?[a+$/]{0,8}#?") {
            prop_assume!(Filter::new(&text).is_ok());
            let levels: Vec<&str> = text.split('/').collect();
            let expected = match levels.as_slice() {
                ["$share", name, rest @ ..] => {
                    let is_name = !name.is_empty() && !name.contains(['+', '#']);
                    let rest = rest.join("/");
                    if is_name && !rest.is_empty() { Ok(Some(rest)) } else { Err(()) }
                }
                _ => Ok(None),
            };
            prop_assert_eq!(parse(&text).map(|filter| filter.map(str::to_owned)).map_err(drop), expected);
        }
    }
}
