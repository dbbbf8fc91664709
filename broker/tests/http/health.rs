//! `/healthz` and `/readyz`.

use sol::Limits;
use sol::codec::{Packet, QoS};

use crate::client::{ask, get, get_json, open};
use crate::common::{Client, PATIENCE, eventually, publish};
use crate::{broker, client};

#[test]
fn a_broker_that_serves_says_so() {
    let broker = broker(Limits::default());
    assert_eq!(get_json(&broker, "/healthz")["status"], "alive");
    assert_eq!(get_json(&broker, "/readyz")["status"], "ready");
    let head = ask(broker.http_addrs()[0], "HEAD", "/healthz", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn one_that_stops_is_alive_and_not_ready() {
    let broker = broker(Limits { stop_timeout: PATIENCE, ..Limits::default() });
    let (address, http) = (broker.local_addr(), broker.http_addrs()[0]);
    // Reads nothing, so that the broker waits for it.
    let reader = Client::subscribed(address, "reader", "t", QoS::AtMostOnce);
    let mut publisher = Client::connect(address, "publisher");
    let payload = vec![0; 400_000];
    for _ in 0..30 {
        publisher.send(&[Packet::Publish(publish("t", &payload, QoS::AtMostOnce))]);
    }
    publisher.ping();
    let stopping = std::thread::spawn(move || broker.stop());
    let mut seen = String::new();
    eventually("it is stopping", || {
        let answer = ask(http, "GET", "/readyz", &[], b"");
        seen = answer.text().to_owned();
        answer.status == 503
    });
    assert_eq!(seen, r#"{"error":"the broker is stopping"}"#);
    assert_eq!(ask(http, "GET", "/healthz", &[], b"").status, 200);
    drop(reader);
    stopping.join().unwrap();
}

#[test]
fn connections_are_kept_for_further_requests() {
    use std::io::Write;

    let broker = broker(Limits::default());
    let mut stream = open(broker.http_addrs()[0]);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let both = client::answer(stream);
    assert!(both.text().contains("alive") && both.text().contains("ready"), "{}", both.text());
}

#[test]
fn what_is_not_there_or_not_asked_so_is_told() {
    let broker = broker(Limits::default());
    for path in ["/metric", "/api/v1", "/api/v1/clients/", "/api/v1/clients/a/b", "/api/v2/status"] {
        let answer = get(&broker, path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.error().is_empty());
    }
    for (method, path, allowed) in [
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/api/v1/clients/x", "GET, HEAD, DELETE"),
        ("GET", "/api/v1/publish", "POST"),
        ("HEAD", "/api/v1/messages?filter=a", "GET"),
        ("OPTIONS", "/api/v1/publish", "POST"),
    ] {
        let answer = ask(broker.http_addrs()[0], method, path, &["x-sol: 1"], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}
