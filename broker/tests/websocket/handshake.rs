//! Who gets in. Every status has its request in `src/net/websocket/tests.rs`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use sol::config::WebSocket;
use sol::{Broker, Config, Limits};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::{Error, HandshakeError};

use crate::client::{all, broker, listener, tcp, terms};
use crate::common::eventually;

/// The status of the answer: 101 is a connection.
fn status(broker: &Broker, path: &str, subprotocol: Option<&str>, origin: Option<&str>) -> u16 {
    let address = broker.local_addr();
    let mut request = ClientRequestBuilder::new(format!("ws://{address}{path}").parse().unwrap());
    if let Some(subprotocol) = subprotocol {
        request = request.with_sub_protocol(subprotocol);
    }
    if let Some(origin) = origin {
        request = request.with_header("Origin", origin);
    }
    match tungstenite::client(request, tcp(address)) {
        Ok((_, response)) => {
            assert_eq!(response.headers()["sec-websocket-protocol"], subprotocol.unwrap());
            response.status().as_u16()
        }
        Err(HandshakeError::Failure(Error::Http(response))) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_path_the_origin_and_the_subprotocol_must_be_right() {
    let origins = vec!["https://a.example".to_owned(), "https://b.example".to_owned()];
    let listeners = vec![listener(WebSocket { origins, ..terms() })];
    let broker = Broker::start(Config { listeners, ..Config::default() }).unwrap();
    for (path, subprotocol, origin, expected) in [
        ("/mqtt", Some("mqtt"), None, 101),
        ("/mqtt", Some("mqtt"), Some("https://b.example"), 101),
        ("/mqtt?a=b", Some("mqttv3.1"), Some("https://a.example"), 101),
        ("/", Some("mqtt"), None, 404),
        ("/mqtt", Some("chat"), None, 400),
        ("/mqtt", None, None, 400),
        ("/mqtt", Some("mqtt"), Some("https://c.example"), 403),
    ] {
        assert_eq!(status(&broker, path, subprotocol, origin), expected, "{path} {subprotocol:?} {origin:?}");
    }
    eventually("gone", || broker.stats().connections == 0);
}

#[test]
fn without_terms_any_path_and_origin_will_do() {
    let listeners = vec![listener(WebSocket::default())];
    let broker = Broker::start(Config { listeners, ..Config::default() }).unwrap();
    for path in ["/", "/mqtt", "/any/where?x"] {
        assert_eq!(status(&broker, path, Some("mqtt"), Some("null")), 101);
    }
}

#[test]
fn who_asks_for_something_else_gets_an_answer_and_the_end() {
    let broker = broker(Limits::default());
    let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(10_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426),
        ("POST /mqtt HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405),
        ("\x16\x03\x01\x02", 400),
        ("HELO h\r\n", 400),
        (&endless, 431),
        (&many, 400),
    ] {
        let mut stream = tcp(broker.local_addr());
        stream.write_all(request.as_bytes()).unwrap();
        let response = all(&mut stream);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{response}");
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{response}");
    }
    eventually("gone", || broker.stats().connections == 0);
}

/// The time for CONNECT is the time for the handshake too.
#[test]
fn who_takes_too_long_is_cut_off() {
    // Long enough for a handshake on a machine that is busy.
    let limits = Limits { connect_timeout: Duration::from_secs(5), ..Limits::default() };
    let broker = broker(limits);
    let mut silent = tcp(broker.local_addr());
    let mut slow = tcp(broker.local_addr());
    let mut open = crate::client::open(broker.local_addr());
    slow.write_all(b"GET /mqtt HTTP/1.1\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    // A byte now and then does not help.
    while !has_ended(&mut slow) {
        _ = slow.write_all(b"x");
    }
    assert_eq!(all(&mut silent), "");
    open.expect_closed();
    assert_eq!(open.stream.closed, Some(1000));
    eventually("gone", || broker.stats().connections == 0);
}

fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 8]) {
        Ok(0) => true,
        Ok(_) => panic!("an answer to half a request"),
        Err(error) => {
            !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
        }
    }
}
