//! The page. What it does in a browser is told in `tests/page`.

use sol::Limits;

use crate::broker;
use crate::client::{ask, get};

#[test]
fn it_comes_under_a_strict_policy() {
    let broker = broker(Limits::default());
    let answer = get(&broker, "/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let (text, address) = (answer.text(), broker.http_addrs()[0]);
    assert!(text.starts_with("<!doctype html>"));
    // One file: it asks for no other.
    for word in ["src=\"", "@import", "url("] {
        assert!(!text.contains(word), "{word}");
    }
    assert_eq!(ask(address, "HEAD", "/", &[], b"").status, 200);
    assert_eq!(ask(address, "POST", "/", &["x-sol: 1"], b"").status, 405);
    // A name that was made to point here.
    assert_eq!(ask(address, "GET", "/", &["host: example.org"], b"").status, 403);
}
