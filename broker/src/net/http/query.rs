//! What stands behind a path: `name=value&name=value`, percent-encoded.
//!
//! A `+` is a plus, as RFC 3986 has it, and not a space as in forms of HTML: topic filters have many, and few spaces.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use super::answer::Refusal;

/// The pairs, in their order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes them.
    ///
    /// # Errors
    ///
    /// A name that is not `known`, or text that is not UTF-8.
    pub(super) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, Refusal> {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if known.contains(&&*name) {
                return Ok((name.into_owned(), value.into_owned()));
            }
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Refusal::bad(format!("`{name}` is not asked for here: this path knows {known}")))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The first value of that name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of that name.
    pub(super) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value that is to be of some kind.
    ///
    /// # Errors
    ///
    /// It is not, and what would be.
    pub(super) fn value<T: FromStr>(&self, name: &str, kind: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Refusal::bad(format!("`{name}` cannot be `{text}`: give {kind}"))),
        }
    }
}

/// One part of a URL.
///
/// # Errors
///
/// It is not UTF-8.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, Refusal> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Refusal::bad("the URL is not UTF-8: percent-encode the bytes of UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_plus() {
        let query = Query::parse(Some("filter=a/+/%23&x&filter=%C3%A4%20&"), &["filter", "x"]).unwrap();
        assert_eq!(query.all("filter").collect::<Vec<_>>(), ["a/+/#", "ä "]);
        assert_eq!((query.text("x"), query.text("y")), (Some(""), None));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for text in ["unknown=1", "limit=%FF"] {
            assert!(Query::parse(Some(text), &["limit"]).is_err(), "{text}");
        }
        let query = Query::parse(Some("limit=-1"), &["limit"]).unwrap();
        let refusal = query.value::<usize>("limit", "a number").unwrap_err();
        assert_eq!(refusal.what, "`limit` cannot be `-1`: give a number");
    }
}
