//! The command `sol`: what it prints, when it stops, how it fails.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::net::TcpListener;

use common::process::{Place, Sol, output, said};
use common::{Client, connect, publish};
use rustix::process::Signal;
use sol::codec::{Connect, Packet, Properties, QoS, Will};
use sol::topic::Name;

#[test]
fn it_says_where_it_listens_and_serves() {
    let sol = Sol::start();
    assert!(sol.address.ip().is_loopback());
    let back_end = if cfg!(target_os = "linux") { " over epoll, " } else { " over " };
    assert!(sol.greeting.contains(back_end), "{}", sol.greeting);
    let mut client = Client::subscribed(sol.address, "client", "t", QoS::AtMostOnce);
    client.send(&[Packet::Publish(publish("t", b"served", QoS::AtMostOnce))]);
    assert_eq!(client.message(), b"served");
}

#[test]
fn sigint_and_sigterm_stop_it_in_order() {
    let place = Place::new("ip_port 0\nshutdown_grace 30s\n");
    for (signal, name) in [(Signal::INT, "Int"), (Signal::TERM, "Term")] {
        let sol = place.start();
        let mut reader = Client::subscribed(sol.address, "reader", "#", QoS::AtMostOnce);
        let will = Will {
            topic: Name::new("will").unwrap(),
            payload: b"will",
            qos: QoS::AtMostOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
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
fn what_packages_install_is_printed_and_written() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, stderr) = said(output(&["completions", shell]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(script.contains("import-mosquitto") && script.contains("test-config"), "{script}");
    }
    let place = Place::new("");
    let pages = place.path("man/pages");
    assert_eq!(said(output(&["man", pages.to_str().unwrap()])), (Some(0), String::new(), String::new()));
    assert!(place.read("man/pages/sol.1").contains("test\\-config"));
    assert!(place.read("man/pages/sol.conf.5").contains("persistence"));
    let (code, _, stderr) = said(output(&["man", "/dev/null/none"]));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("sol: cannot write to /dev/null/none: "), "{stderr}");
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = output(&["-c", "/dev/null", "-p", &address.port().to_string()]);
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
        (&["-v", "-q"], "--verbose"),
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

#[test]
fn the_command_line_wins_over_the_file() {
    let place = Place::new("ip_address 127.0.0.1\nip_port 1\nlog_level ERROR\n");
    for port in ["-p", "--port"] {
        let mut sol =
            Sol::start_with(&["--config", &place.config(), "--address", "::1", port, "0", "--verbose"]);
        assert!(sol.address.is_ipv6() && sol.address.port() != 1);
        let client = Client::connect(sol.address, "me");
        sol.line("connected as \"me\"");
        drop(client);
    }
}

#[test]
fn quiet_is_quiet() {
    let place = Place::new("ip_port 0\npid_file $D/pid\nlog_level DEBUG\n");
    let sol = Sol::spawn(common::process::sol(&["-q", "-c", &place.config()]));
    common::eventually("started", || place.read("pid").ends_with('\n'));
    sol.signal(Signal::TERM);
    assert_eq!(sol.end(), (Some(0), String::new()));
}

#[test]
fn a_test_of_the_configuration_says_ok_and_starts_nothing() {
    // Taken, so a start would fail.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::new(&format!(
        "ip_port {}\npid_file $D/pid\nlog_path $D/log\n",
        taken.local_addr().unwrap().port()
    ));
    for test in ["-t", "--test-config"] {
        let said = said(output(&[test, "-c", &place.config()]));
        assert_eq!(said, (Some(0), "ok\n".to_owned(), String::new()));
    }
    assert!(!place.path("pid").exists() && !place.path("log").exists());
}

#[test]
fn every_error_of_the_configuration_is_told() {
    let place = Place::new("ip_prot 1\nthreads many\n");
    let told = |arguments: &[&str]| {
        let (code, stdout, stderr) = said(output(&[arguments, &["-c", &place.config()]].concat()));
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        stderr.replace(place.directory().to_str().unwrap(), "$D")
    };
    for arguments in [&["-t"][..], &[], &["-d"]] {
        let expected = "\
            $D/sol.conf:1: unknown key `ip_prot`: the nearest known one is `ip_port`\n\
            $D/sol.conf:2: `threads` cannot be `many`: give a number from 1 to 1024\n";
        assert_eq!(told(arguments), expected);
    }
    place.configure(
        "listener 1 # for\ncertfile $D/none\nkeyfile $D\nuser nobody-of-that-name\npassword_file \"$D/none too\"\n",
    );
    let expected = "\
        $D/sol.conf:2: `certfile`: cannot read $D/none: No such file or directory (os error 2)\n\
        $D/sol.conf:3: `keyfile`: cannot read $D: Is a directory (os error 21)\n\
        $D/sol.conf:4: `user`: this system has no user `nobody-of-that-name`: create it, or name another\n\
        $D/sol.conf:5: `password_file`: $D/none too: cannot read the password file: No such file or directory (os error 2)\n";
    for arguments in [&["-t"][..], &[], &["-d"]] {
        assert_eq!(told(arguments), expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let place = Place::new("");
    std::fs::write(place.path("sol.conf"), b"ip_port 1\nip_address \xff\n").unwrap();
    let missing = place.path("none").to_str().unwrap().to_owned();
    for (path, expected) in [
        (&missing, ": cannot read the configuration file: No such file or directory (os error 2)\n"),
        (&place.config(), ":2: this is not UTF-8: save the file as UTF-8\n"),
    ] {
        let (code, _, stderr) = said(output(&["-c", path]));
        assert_eq!((code, stderr), (Some(78), format!("{path}{expected}")));
    }
}

/// In a mount namespace of its own, so that the machine's own file is neither read nor written.
#[test]
#[cfg(target_os = "linux")]
fn the_file_of_the_machine_is_read_without_c() {
    let in_own_etc = |script: &str| {
        let script = format!("mount -t tmpfs tmpfs /etc && {script}");
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        said(unshare.output().unwrap_or_else(|_| output(&["--no-unshare"])))
    };
    if !common::peers::may("mount", in_own_etc("true").0 == Some(0)) {
        return;
    }
    let sol = env!("CARGO_BIN_EXE_sol");
    let none = in_own_etc(&format!("{sol} -t"));
    assert_eq!(none, (Some(0), "ok\n".to_owned(), String::new()));
    let wrong = in_own_etc(&format!("mkdir /etc/sol && echo ip_port x > /etc/sol/sol.conf && {sol} -t"));
    let expected = "/etc/sol/sol.conf:1: `ip_port` cannot be `x`: give a port from 0 to 65535\n";
    assert_eq!(wrong, (Some(78), String::new(), expected.to_owned()));
}
