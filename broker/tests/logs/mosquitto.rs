//! The log of clients that come and go, beside mosquitto's.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sol::codec::{Connect, Disconnect, Packet, Reason, Version};

use crate::common::peers::{exit_status, has};
use crate::common::process::{Place, Sol};
use crate::common::{self, Client};

/// Of `anna`, whose password is `secret`, by mosquitto_passwd.
const PASSWORDS: &str = "anna:$7$101$4ILTQieGxfStzziO$xRKKpPhzh8aZXM8C6ecxRgA0tIjUjrLKwREBc2NBGvi+1ZNL/kkO\
                         FLDD1NjpJJ5w4ZW2BXwQP24WDealUXzZiw==\n";

const CONFIG: &str = "allow_anonymous false\npassword_file $D/passwd\nlog_dest stderr\n";

fn connect(client_id: &str) -> Connect<'_> {
    Connect {
        user_name: Some("anna"),
        password: Some(b"secret"),
        keep_alive: 60,
        ..common::connect(client_id)
    }
}

/// Clients come and go, one behind the other. Gives what the log says of them.
fn told(mut broker: Sol, address: SocketAddr) -> Vec<String> {
    let mut one = Client::connect_as(address, connect("one"), false);
    one.send(&[Packet::Disconnect(Disconnect::new(Reason::Success))]);
    broker.line("Client one disconnected");

    let mut two = Client::open(address);
    let terms = Connect { version: Version::V5, clean_session: false, keep_alive: 10, ..connect("two") };
    two.send(&[Packet::Connect(terms)]);
    assert!(matches!(two.receive(), Packet::Connack(_)));
    let again = Client::connect_as(address, connect("two"), false);
    broker.line(" as two (p2");
    drop(again);
    broker.line("Client two closed");

    let mut stranger = Client::open(address);
    stranger.send(&[Packet::Connect(Connect { password: Some(b"wrong"), ..connect("three") })]);
    broker.line("not authorised");

    let _last = Client::connect_as(address, connect("last"), false);
    broker.line(" as last (p2");
    broker.signal(Signal::TERM);
    let (_, log) = broker.end();
    let of_clients = |line: &&str| ["New ", "Client "].iter().any(|start| line.starts_with(start));
    let lines = log.lines().map(|line| {
        let (time, line) = line.split_once(": ").unwrap();
        assert!(time.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{line}");
        line
    });
    lines.filter(of_clients).map(without_ports).collect()
}

/// Without the numbers that are others each time.
fn without_ports(line: &str) -> String {
    let mut words = line.split(' ').map(|word| match word.split_once(':') {
        Some((address, _)) => format!("{address}:#"),
        None if word.trim_end_matches('.').parse::<u16>().is_ok() => "#.".to_owned(),
        None => word.to_owned(),
    });
    let first = words.next().unwrap_or_default();
    words.fold(first, |line, word| format!("{line} {word}"))
}

fn place() -> Place {
    let place = Place::new("");
    std::fs::write(place.path("passwd"), PASSWORDS).unwrap();
    place
}

#[test]
fn clients_are_told_of_as_mosquitto_does() {
    let sol = {
        let place = place();
        place.configure(&format!("listener 0 127.0.0.1\nlog_format mosquitto\n{CONFIG}"));
        let sol = place.start();
        let address = sol.address;
        told(sol, address)
    };
    let expected = [
        "New connection from 127.0.0.1:# on port #.",
        "New client connected from 127.0.0.1:# as one (p2, c1, k60, u'anna').",
        "Client one disconnected.",
        "New connection from 127.0.0.1:# on port #.",
        "New client connected from 127.0.0.1:# as two (p5, c0, k10, u'anna').",
        "New connection from 127.0.0.1:# on port #.",
        "Client two already connected, closing old connection.",
        "New client connected from 127.0.0.1:# as two (p2, c1, k60, u'anna').",
        "Client two closed its connection.",
        "New connection from 127.0.0.1:# on port #.",
        "Client <unknown> disconnected, not authorised.",
        "New connection from 127.0.0.1:# on port #.",
        "New client connected from 127.0.0.1:# as last (p2, c1, k60, u'anna').",
    ];
    assert_eq!(sol, expected);
    if !has("mosquitto", exit_status("mosquitto", &["-h"]).is_some()) {
        return;
    }
    // Its port may be taken meanwhile by somebody else.
    for _ in 0..20 {
        let place = place();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        place.configure(&format!("user root\nlistener {} 127.0.0.1\n{CONFIG}", address.port()));
        let mut command = Command::new("mosquitto");
        command.args(["-c", &place.config()]).stdin(Stdio::null());
        let mut mosquitto = Sol::spawn(command);
        if mosquitto.first_of(&[" running", "Error"]).contains(" running") {
            assert_eq!(told(mosquitto, address), expected);
            return;
        }
    }
    panic!("mosquitto does not start");
}
