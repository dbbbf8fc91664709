//! The command `sol`: what it prints, when it stops, how it fails.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::TcpListener;
use std::process::Output;

use common::process::{Sol, sol};
use common::{Client, connect, publish, running};
use rustix::process::Signal;
use sol::codec::{Connect, Packet, QoS, Will};
use sol::topic::Name;

/// Runs to its end.
fn output(arguments: &[&str]) -> Output {
    running(sol(arguments)).output()
}

#[test]
fn it_says_where_it_listens_and_serves() {
    let sol = Sol::start();
    assert!(sol.address.ip().is_loopback());
    let back_end = if cfg!(target_os = "linux") { " over epoll: " } else { " over " };
    assert!(sol.greeting.contains(back_end), "{}", sol.greeting);
    let mut client = Client::subscribed(sol.address, "client", "t", QoS::AtMostOnce);
    client.send(&[Packet::Publish(publish("t", b"served", QoS::AtMostOnce))]);
    assert_eq!(client.message(), b"served");
}

#[test]
fn sigint_and_sigterm_stop_it_in_order() {
    for (signal, name) in [(Signal::INT, "Int"), (Signal::TERM, "Term")] {
        let sol = Sol::start();
        let mut reader = Client::subscribed(sol.address, "reader", "#", QoS::AtMostOnce);
        let will =
            Will { topic: Name::new("will").unwrap(), payload: b"will", qos: QoS::AtMostOnce, retain: true };
        let mourned = Connect { will: Some(will), ..connect("mourned") };
        let mut mourned = Client::connect_as(sol.address, mourned, false);
        for n in 0..100_u8 {
            mourned.publish("t", &[n; 50_000]);
        }
        sol.signal(signal);
        for n in 0..100_u8 {
            assert_eq!(reader.message(), [n; 50_000]);
        }
        assert_eq!(reader.message(), b"will");
        reader.expect_closed();
        mourned.expect_closed();
        let (code, log) = sol.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(&format!("stops on {name}\n")) && log.ends_with("stopped\n"), "{log}");
    }
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = output(&["-p", &address.port().to_string()]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address}: ")), "{stderr}");
}

#[test]
fn arguments_that_make_no_sense_are_named() {
    for (arguments, named) in [
        (&["-a", "localhost!"][..], "--address <ADDR>"),
        (&["-p", "65536"], "--port <PORT>"),
        (&["--prot", "1"], "--prot"),
    ] {
        let output = output(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(named), "{stderr}");
    }
}

#[test]
fn it_tells_its_version_and_its_options() {
    for (argument, told) in [("-V", concat!("sol ", env!("CARGO_PKG_VERSION"))), ("-h", "--port <PORT>")] {
        let output = output(&[argument]);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(told), "{argument}");
    }
}
