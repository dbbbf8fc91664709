//! `/`: the page for an operator. It is one file, put together here from those beside this one, and talks to the API as
//! any other program does; so it is for everybody, and asks for the token itself.

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use sha2::{Digest, Sha256};

use super::answer::{Answer, whole};

const HEAD: &str = include_str!("head.html");
const STYLE: &str = include_str!("style.css");
const BODY: &str = include_str!("body.html");
const SCRIPT: [&str; 10] = [
    include_str!("elements.js"),
    include_str!("words.js"),
    include_str!("wire.js"),
    include_str!("figures.js"),
    include_str!("chart.js"),
    include_str!("overview.js"),
    include_str!("clients.js"),
    include_str!("topics.js"),
    include_str!("console.js"),
    include_str!("main.js"),
];

/// What is sent.
struct Page {
    text: Bytes,
    /// Only this style and this script, and only this broker is talked to: what a client sent stays text even if the
    /// page took it for more.
    policy: Option<HeaderValue>,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let (style, body) = (lean(STYLE), lean(BODY));
    let script: String = SCRIPT.into_iter().map(lean).collect();
    let hash = |text: &str| Base64::encode_string(&Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(&style),
    );
    let text = format!("{HEAD}<style>{style}</style>\n{body}<script type=\"module\">{script}</script>\n");
    Page { text: text.into(), policy: HeaderValue::try_from(policy).ok() }
});

/// Without indentation and comments, which are for whoever reads it here.
fn lean(text: &str) -> String {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The page.
pub(super) fn answer() -> Answer {
    let mut answer = whole("text/html; charset=utf-8", PAGE.text.clone());
    let headers = answer.headers_mut();
    headers.extend(PAGE.policy.clone().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_makes_nothing_of_text() {
        let text = str::from_utf8(&PAGE.text).unwrap();
        assert!(text.len() <= 60 << 10, "{} bytes", text.len());
        // What the policy forbids, and what would make elements of text.
        for word in
            ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style=", " onclick="]
        {
            assert!(!text.contains(word), "{word}");
        }
        // Either would end there.
        assert!(!SCRIPT.concat().contains("</script") && !STYLE.contains("</style"));
        assert!(PAGE.policy.is_some());
    }
}
