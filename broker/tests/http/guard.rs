//! Who is let in, and what a page from elsewhere cannot make a browser do.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sol::config::{Http, Overrides, Settings};
use sol::{Broker, Config, Limits, StartError};

use crate::client::{Events, answer, ask, get, get_json, open};
use crate::common::eventually;
use crate::{broker, broker_with};

const TOKEN: &str = "0123456789abcdef";
/// The password is `secret`.
const USERS: &str = "alice:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

fn files(directory: &Path) -> Http {
    let write = |name: &str, text: &str| -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    Http {
        token_file: Some(write("token", &format!("{TOKEN}\n"))),
        password_file: Some(write("passwd", USERS)),
        ..Http::on("127.0.0.1:0".parse().unwrap())
    }
}

#[test]
fn only_who_is_known_is_let_in() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_with(Limits::default(), files(directory.path()));
    let status = |header: &str| {
        let headers: Vec<&str> = [header].into_iter().filter(|header| !header.is_empty()).collect();
        let answer = ask(broker.http_addrs()[0], "GET", "/api/v1/status", &headers, b"");
        if answer.status != 200 {
            assert!(answer.header("www-authenticate").is_some());
            assert!(!answer.text().contains("version"), "{}", answer.text());
        }
        answer.status
    };
    for (header, expected) in [
        ("", 401),
        ("authorization: Bearer 0123456789abcdef", 200),
        ("authorization: bearer 0123456789abcdef", 200),
        ("authorization: Bearer 0123456789abcdeF", 401),
        ("authorization: Bearer", 401),
        // alice:secret, twice: the second time it is known.
        ("authorization: Basic YWxpY2U6c2VjcmV0", 200),
        ("authorization: Basic YWxpY2U6c2VjcmV0", 200),
        // alice:Secret, bob:secret
        ("authorization: Basic YWxpY2U6U2VjcmV0", 401),
        ("authorization: Basic Ym9iOnNlY3JldA==", 401),
        ("authorization: Basic =", 401),
        ("authorization: Digest x", 401),
    ] {
        assert_eq!(status(header), expected, "{header}");
    }
    // Supervisors have no token. Whether a path exists is nobody's business either.
    assert_eq!(get(&broker, "/healthz").status, 200);
    assert_eq!(get(&broker, "/readyz").status, 200);
    // The page asks who somebody is itself.
    assert_eq!(get(&broker, "/").status, 200);
    for path in ["/metrics", "/nothing", "/api/v1/messages?filter=a"] {
        assert_eq!(get(&broker, path).status, 401, "{path}");
    }
}

#[test]
fn a_token_and_passwords_are_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let http = files(directory.path());
    let (token, passwords) = (http.token_file.clone().unwrap(), http.password_file.clone().unwrap());
    let broker = broker_with(Limits::default(), http);
    let status = |header| ask(broker.http_addrs()[0], "GET", "/api/v1/status", &[header], b"").status;
    let (bearer, basic) = ("authorization: Bearer 0123456789abcdef", "authorization: Basic YWxpY2U6c2VjcmV0");
    assert_eq!((status(bearer), status(basic)), (200, 200));
    fs::write(&token, "short").unwrap();
    let error = broker.reload().unwrap_err().to_string();
    assert!(error.contains("16 characters"), "{error}");
    assert_eq!(status(bearer), 200, "what was read before stays in use");
    fs::write(&token, "fedcba9876543210").unwrap();
    fs::write(&passwords, "").unwrap();
    broker.reload().unwrap();
    assert_eq!((status(bearer), status(basic)), (401, 401));
    assert_eq!(status("authorization: Bearer fedcba9876543210"), 200);
}

#[test]
fn nobody_is_let_in_from_elsewhere_without_being_asked() {
    let http = Http::on("0.0.0.0:0".parse().unwrap());
    let config = Config { http, ..Config::on("127.0.0.1:0".parse().unwrap()) };
    let error = Broker::start(config).err().unwrap();
    assert!(matches!(error, StartError::HttpUnguarded(_)), "{error}");

    let parse = |text: &str| Settings::parse(text, None, Overrides::default());
    for text in ["http_listener 0.0.0.0:9883", "http_listener 127.0.0.1:1\nhttp_listener [::]:1"] {
        let problems = parse(text).unwrap_err();
        assert!(problems[0].what.contains("lets everybody in"), "{problems:?}");
    }
    for text in [
        "http_listener 127.0.0.1:9883",
        "http_listener [::1]:9883\nhttp_listener 127.0.0.1:9883",
        "http_listener 0.0.0.0:9883\nhttp_token_file t",
        "http_listener 0.0.0.0:9883\nhttp_password_file p",
        "",
    ] {
        let settings = parse(text).unwrap();
        assert_eq!(settings.broker.http.addresses.len(), text.matches("http_listener").count());
        assert_eq!(parse(&settings.to_string()).unwrap(), settings);
    }
    for text in ["http_token_file t", "http_listener 127.0.0.1:1\nhttp_certfile c", "http_listener 9883"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_name_that_was_made_to_point_here_gets_nothing() {
    let broker = broker(Limits::default());
    let status = |host: &str| {
        ask(broker.http_addrs()[0], "GET", "/api/v1/status", &[&format!("host: {host}")], b"").status
    };
    for (host, expected) in [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:9883", 200),
        ("evil.example", 403),
        ("192.0.2.1", 403),
    ] {
        assert_eq!(status(host), expected, "{host}");
    }
    // Who knows the token is not a page from elsewhere.
    let directory = tempfile::tempdir().unwrap();
    let guarded = broker_with(Limits::default(), files(directory.path()));
    let headers = ["host: metrics.example.org", "authorization: Bearer 0123456789abcdef"];
    assert_eq!(ask(guarded.http_addrs()[0], "GET", "/metrics", &headers, b"").status, 200);
}

#[test]
fn a_form_of_another_page_changes_nothing() {
    let broker = broker(Limits::default());
    let body = br#"{"topic":"t","payload":"x","retain":true}"#;
    let post =
        |headers: &[&str]| ask(broker.http_addrs()[0], "POST", "/api/v1/publish", headers, body).status;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        assert_eq!(post(&[&format!("content-type: {kind}")]), 403, "{kind}");
    }
    assert_eq!(post(&[]), 403);
    assert_eq!(post(&["content-type: application/json", "sec-fetch-site: cross-site"]), 403);
    assert_eq!(get_json(&broker, "/api/v1/retained")["retained"].as_array().unwrap().len(), 0);
    assert_eq!(post(&["content-type: application/json; charset=utf-8"]), 200);
    assert_eq!(post(&["x-sol: 1"]), 200);
    let delete = |headers: &[&str]| {
        ask(broker.http_addrs()[0], "DELETE", "/api/v1/retained?topic=t", headers, b"").status
    };
    assert_eq!((delete(&[]), delete(&["x-sol: 1"])), (403, 200));
    // Nor is a stream opened by one, which nobody would see but which takes a place.
    let headers = ["sec-fetch-site: cross-site", "sec-fetch-mode: cors"];
    let answer = ask(broker.http_addrs()[0], "GET", "/api/v1/messages?filter=a", &headers, b"");
    assert_eq!(answer.status, 403);
}

#[test]
fn requests_have_limits() {
    let broker = broker(Limits::default());
    let address = broker.http_addrs()[0];
    let json = ["content-type: application/json"];
    let answer = ask(address, "POST", "/api/v1/publish", &json, &vec![b' '; (1 << 20) + 1]);
    assert_eq!((answer.status, answer.error().as_str()), (413, "a body has at most 1048576 bytes"));
    // One that does not say how long it is.
    let headers = [json[0], "transfer-encoding: chunked"];
    let mut stream = open(address);
    write!(
        stream,
        "POST /api/v1/publish HTTP/1.1\r\nhost: localhost\r\n{}\r\n{}\r\n\r\n",
        headers[0], headers[1]
    )
    .unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..17 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(answer_of(stream).status, 413);
    let long = format!("x-long: {}", "x".repeat(17 << 10));
    assert_eq!(ask(address, "GET", "/healthz", &[&long], b"").status, 431);
    let garbage = ask(address, "GET", "/health\x01z", &[], b"");
    assert_eq!(garbage.status, 400);
}

fn answer_of(stream: std::net::TcpStream) -> crate::client::Answer {
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    answer(stream)
}

#[test]
fn a_client_that_does_not_finish_its_request_is_not_waited_for() {
    let broker = broker(Limits::default());
    for begin in ["", "GET /healthz HTT"] {
        let mut stream = open(broker.http_addrs()[0]);
        stream.write_all(begin.as_bytes()).unwrap();
        // Within the patience of the test.
        _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

#[test]
fn no_more_connections_than_there_are_places() {
    let broker = broker(Limits::default());
    let mut streams: Vec<_> = (0..64).map(|_| Events::open(&broker, "/api/v1/events")).collect();
    let answer = get(&broker, "/healthz");
    assert_eq!(answer.status, 503);
    assert!(answer.error().contains("as many connections"), "{}", answer.text());
    streams.pop();
    eventually("a place is free", || get(&broker, "/healthz").status == 200);
}
