//! The log in its forms, and how a broker that is told to stop lets its clients go.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod mosquitto;
mod stop;
mod trace;

use common::process::{Place, Sol};
use common::{Client, eventually};
use rustix::process::Signal;
use serde_json::Value;
use sol::codec::{Disconnect, Packet, Reason};

/// A client that comes and goes.
fn visit(sol: &Sol, client_id: &str) {
    let mut client = Client::connect(sol.address, client_id);
    client.ping();
    client.send(&[Packet::Disconnect(Disconnect::new(Reason::Success))]);
    client.expect_closed();
}

#[test]
fn each_line_is_an_object_with_the_facts_that_are_known() {
    let place = Place::new("ip_port 0\nlog_format json\nconnection_messages true\n");
    let mut sol = place.start();
    visit(&sol, "o\"n\n");
    let mut find = |event: &str| -> Value {
        let line = sol.line(&format!("\"event\":\"{event}\""));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let accepted = find("accepted");
    let address = accepted["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:") && accepted["port"].is_u64(), "{accepted}");
    let connected = find("connected");
    for (key, value) in [
        ("level", "INFO".into()),
        ("client", "o\"n\n".into()),
        ("address", address.as_str().into()),
        ("protocol", "3.1.1".into()),
        ("clean", true.into()),
        ("keep_alive", 0.into()),
        ("user", Value::Null),
    ] {
        assert_eq!(connected[key], value, "{connected}");
    }
    let time = connected["time"].as_str().unwrap();
    assert!(time.len() == "2026-01-31T12:00:00.000Z".len() && time.ends_with('Z'), "{connected}");
    let gone = find("disconnected");
    assert_eq!((&gone["client"], &gone["reason"]), (&"o\"n\n".into(), &"disconnect".into()));
    sol.signal(Signal::TERM);
    let (code, log) = sol.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())));
}

#[test]
fn times_are_as_asked_for_or_left_out() {
    let place = Place::new("ip_port 0\nlog_timestamp_format at %Y,\n");
    assert!(place.start().greeting.starts_with("at 20"), "{}", place.start().greeting);
    place.configure("ip_port 0\nlog_timestamp false\n");
    assert!(place.start().greeting.starts_with("INFO  sol "));
    place.configure("ip_port 0\nlog_timestamp false\nlog_format json\n");
    assert!(place.start().greeting.starts_with("{\"level\":\"INFO\",\"message\":\"sol "));
}

#[test]
fn a_hangup_changes_how_lines_are_and_whether_connections_are_told_of() {
    let place = Place::new("ip_port 0\n");
    let mut sol = place.start();
    visit(&sol, "before");
    place.configure("ip_port 0\nlog_format mosquitto\nlog_timestamp false\n");
    sol.signal(Signal::HUP);
    let line = sol.line("read the configuration again");
    assert_eq!(line, "read the configuration again, and its files");
    visit(&sol, "behind");
    assert_eq!(sol.line("behind disconnected"), "Client behind disconnected.");
    sol.signal(Signal::TERM);
    let log = sol.end().1;
    assert!(!log.contains("before"), "{log}");
}

#[test]
fn connections_are_told_of_on_disk_too() {
    let place = Place::new("ip_port 0\nlog_path $D/log\nlog_format mosquitto\n");
    let sol = place.start();
    visit(&sol, "me");
    eventually("told of", || place.read("log").contains(": Client me disconnected.\n"));
    assert!(place.read("log").contains(" as me (p2, c1, k0).\n"));
}
