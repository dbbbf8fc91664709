//! What each key of the configuration file does, seen from outside.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::peers::has;
use common::process::{Place, Sol, listens_on, output, said};
use common::{Client, connect, eventually, publish};
use rustix::process::{Pid, Signal, kill_process};
use sol::codec::{Connect, Packet, Property, QoS, Reason, Version};

/// The original's sample, at a free port and with a log of its own.
const ORIGINAL: &str = "\
# Sol configuration file, uncomment and edit desired configuration

# Network configuration

# Uncomment ip_address and ip_port to set socket family to TCP, if unix_socket
# is set, UNIX family socket will be used

ip_address 127.0.0.1
ip_port 0

# unix_socket /tmp/sol.sock

# Logging configuration

# Could be either DEBUG, INFO/INFORMATION, WARNING, ERROR
log_level DEBUG

log_path $D/sol.log

# Max memory to be used, after which the system starts to reclaim memory by
# freeing older items stored
max_memory 2GB

# Max memory that will be allocated for each request
max_request_size 2MB

# TCP backlog, size of the complete connection queue
tcp_backlog 128

# Interval of time between one stats publish on $SOL topics and the subsequent
stats_publish_interval 10s
";

/// Lines of two threads may come in another order in the other log.
fn sorted(log: &str) -> Vec<&str> {
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_original_s_sample_starts_the_broker() {
    let place = Place::new(ORIGINAL);
    let mut sol = place.start();
    let mut client = Client::subscribed(sol.address, "me", "t", QoS::AtMostOnce);
    // More than the default lets through, and less than the file does.
    let payload = vec![7; 1 << 20];
    client.send(&[Packet::Publish(publish("t", &payload, QoS::AtMostOnce))]);
    assert_eq!(client.message(), payload);
    sol.line("connected as \"me\"");
    drop(client);
    sol.signal(Signal::TERM);
    let (code, stderr) = sol.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(sorted(&place.read("sol.log")), sorted(&stderr));
}

#[test]
#[cfg(target_os = "linux")]
fn ip_address_is_where_it_listens() {
    let sol = Place::new("ip_address 127.0.0.2\nip_port 0\n").start();
    assert_eq!(sol.address.ip().to_string(), "127.0.0.2");
    Client::connect(sol.address, "me").ping();
}

#[test]
fn ip_port_is_where_it_listens() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new(&format!("ip_port {}\n", address.port()));
    let (code, _, stderr) = said(output(&["-c", &place.config()]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address}: ")), "{stderr}");
}

#[test]
fn listener_opens_one_more() {
    let place = Place::new("ip_port 0\nlistener 0\nlistener 0 ::1\nallow_anonymous true\n");
    let mut sol = place.start();
    let others = [sol.line(" listens on "), sol.line(" listens on ")];
    for address in [sol.address, listens_on(&others[0]), listens_on(&others[1])] {
        Client::connect(address, "me").ping();
    }
}

#[test]
fn unix_socket_stands_alone_or_beside_tcp() {
    let place = Place::new("unix_socket $D/sock\nunix_socket_mode 0600\nip_port 0\n");
    let mut sol = place.start();
    Client::connect(sol.address, "me").ping();
    let line = sol.line(" listens on ");
    assert!(line.contains(&format!(" listens on {} ", place.path("sock").display())), "{line}");
    assert_eq!(fs::metadata(place.path("sock")).unwrap().permissions().mode() & 0o777, 0o600);
    UnixStream::connect(place.path("sock")).unwrap();

    let alone = Place::new("unix_socket $D/sock\npid_file $D/pid\n");
    let mut sol = Sol::spawn(common::process::sol(&["-c", &alone.config()]));
    sol.line(" listens on ");
    UnixStream::connect(alone.path("sock")).unwrap();
    sol.signal(Signal::TERM);
    let (code, log) = sol.end();
    assert_eq!((code, log.matches(" listens on ").count()), (Some(0), 1), "{log}");
    assert!(!alone.path("sock").exists());
}

#[test]
fn log_level_is_the_least_that_is_logged() {
    for (level, tells_of_start, tells_of_client) in [
        ("DEBUG", true, true),
        ("information", true, false),
        ("Warning", false, false),
        ("ERROR", false, false),
    ] {
        let place = Place::new(&format!("ip_port 0\nlog_level {level}\npid_file $D/pid\nlog_path $D/log\n"));
        let mut sol = Sol::spawn(common::process::sol(&["-c", &place.config()]));
        eventually("started", || place.read("pid").ends_with('\n'));
        if tells_of_start {
            let address = listens_on(&sol.line(" listens on "));
            Client::connect(address, "me").ping();
        }
        sol.signal(Signal::TERM);
        let (code, log) = sol.end();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(log.contains("INFO"), tells_of_start, "{level}: {log}");
        assert_eq!(log.contains("DEBUG 127.0.0.1:"), tells_of_client, "{level}: {log}");
        assert_eq!(sorted(&place.read("log")), sorted(&log), "{level}");
    }
}

#[test]
fn log_dest_is_where_the_log_goes_and_log_type_what_is_in_it() {
    for (dest, file, stdout, stderr) in [
        ("log_dest file $D/log", true, false, false),
        ("log_dest stdout\nlog_dest file $D/log", true, true, false),
        ("log_dest stdout\nlog_dest stderr", false, true, true),
        ("log_dest stderr", false, false, true),
        ("log_dest stderr\nlog_dest none", false, false, false),
    ] {
        let place = Place::new(&format!("ip_port 0\npid_file $D/pid\nlog_type information\n{dest}\n"));
        let mut command = common::process::sol(&["-c", &place.config()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn().unwrap();
        eventually("started", || place.read("pid").ends_with('\n'));
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        let (code, out, err) = said(process.wait_with_output().unwrap());
        assert_eq!(code, Some(0), "{dest}: {err}");
        for (log, is_told) in [(place.read("log"), file), (out, stdout), (err, stderr)] {
            assert_eq!(log.contains("stopped"), is_told, "{dest}: {log}");
            assert_eq!(log.is_empty(), !is_told, "{dest}: {log}");
        }
    }
}

#[test]
fn a_start_that_fails_is_told_on_standard_error_wherever_the_log_goes() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new(&format!("ip_port {port}\nlog_dest file $D/log\n"));
    let (code, _, stderr) = said(output(&["-c", &place.config()]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot listen on") && place.read("log").contains("cannot listen on"),
        "{stderr}"
    );
}

#[test]
fn client_identifiers_are_made_up_with_the_prefix_or_refused() {
    let connack = |sol: &Sol, version| {
        let mut client = Client::open(sol.address);
        client.send(&[Packet::Connect(Connect { version, ..connect("") })]);
        let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
        let assigned = connack.properties.iter().find_map(|property| match property {
            Property::AssignedClientIdentifier(id) => Some(id.to_owned()),
            _ => None,
        });
        (connack.reason, assigned)
    };
    for (keys, prefix) in [("", "sol-"), ("auto_id_prefix auto-\n", "auto-")] {
        let sol = Place::new(&format!("ip_port 0\n{keys}")).start();
        let (reason, assigned) = connack(&sol, Version::V5);
        assert_eq!(reason, Reason::Success);
        assert!(assigned.as_ref().is_some_and(|id| id.starts_with(prefix)), "{assigned:?}");
        assert_eq!(connack(&sol, Version::V311).0, Reason::Success);
    }
    let sol = Place::new("ip_port 0\nallow_zero_length_clientid false\n").start();
    for version in [Version::V311, Version::V5] {
        assert_eq!(connack(&sol, version), (Reason::ClientIdentifierNotValid, None));
    }
}

#[test]
fn log_path_that_cannot_be_written_is_named() {
    let place = Place::new("ip_port 0\nlog_path $D/none/log\n");
    let (code, _, stderr) = said(output(&["-c", &place.config()]));
    let path = place.path("none/log");
    let expected =
        format!("sol: cannot write the log {}: No such file or directory (os error 2)\n", path.display());
    assert_eq!((code, stderr), (Some(1), expected));
}

#[test]
fn max_request_size_ends_the_client_and_is_named_in_the_log() {
    let mut sol = Place::new("ip_port 0\nmax_request_size 1KB\n").start();
    let mut fits = Client::subscribed(sol.address, "small", "t", QoS::AtMostOnce);
    // The fixed header, a topic of one byte, and the payload: 1 KB in all.
    fits.send(&[Packet::Publish(publish("t", &[7; 1018], QoS::AtMostOnce))]);
    assert_eq!(fits.message(), [7; 1018]);
    let mut exceeds = Client::connect(sol.address, "large");
    exceeds.send(&[Packet::Publish(publish("t", &[7; 1019], QoS::AtMostOnce))]);
    exceeds.expect_closed();
    let line = sol.line("\"large\"");
    assert!(line.contains("packet of 1025 bytes, the limit is 1024"), "{line}");
    fits.ping();
}

#[test]
fn threads_are_as_many_as_told() {
    let path = std::path::Path::new("/proc/self/task");
    if !has("/proc", path.exists()) {
        return;
    }
    for count in [1, 3] {
        let sol = Place::new(&format!("ip_port 0\nthreads {count}\n")).start();
        let workers = || {
            let tasks = fs::read_dir(format!("/proc/{}/task", sol.id())).unwrap();
            let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
            names
                .filter(|name| name.trim().strip_prefix("sol-").is_some_and(|n| n.parse::<u8>().is_ok()))
                .count()
        };
        // A thread names itself.
        eventually("as many threads", || workers() == count);
    }
}

/// What `ss` says of the sockets of a port, if there is `ss`.
fn sockets(arguments: &[&str], port: u16) -> Option<String> {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(arguments).args(["-H", "-n", "-t", &filter]).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn tcp_backlog_is_what_the_system_holds() {
    for backlog in [7, 128] {
        let sol = Place::new(&format!("ip_port 0\ntcp_backlog {backlog}\n")).start();
        let listening = sockets(&["-l"], sol.address.port());
        if !has("ss", listening.is_some()) {
            return;
        }
        let listening = listening.unwrap();
        // State, Recv-Q, Send-Q: which is the backlog of a socket that listens.
        assert_eq!(listening.split_whitespace().nth(2), Some(backlog.to_string().as_str()), "{listening}");
    }
}

#[test]
fn keepalive_has_the_system_ask_whether_the_client_is_there() {
    for (keepalive, timer) in [("100s", Some("timer:(keepalive,1min")), ("0", None)] {
        let sol = Place::new(&format!("ip_port 0\nkeepalive {keepalive}\n")).start();
        let client = Client::connect(sol.address, "me");
        let connected = || sockets(&["-o", "state", "established"], sol.address.port());
        if !has("ss", connected().is_some()) {
            return;
        }
        // A timer of another kind may come first: of what was just sent.
        eventually("the right timer", || match timer {
            Some(timer) => connected().unwrap().contains(timer),
            None => !connected().unwrap().contains("timer:"),
        });
        drop(client);
    }
}

#[test]
fn access_is_checked_with_its_file() {
    let place = Place::new("allow_anonymous false\npassword_file $D/passwd\n");
    let (code, _, stderr) = said(output(&["-t", "-c", &place.config()]));
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("sol.conf:2: `password_file`: "), "{stderr}");

    fs::write(place.path("passwd"), "someone:$6$salt$hash\nplain\n").unwrap();
    let (code, _, stderr) = said(output(&["-t", "-c", &place.config()]));
    assert_eq!(code, Some(78), "{stderr}");
    for line in [1, 2] {
        assert!(stderr.contains(&format!("{}:{line}: ", place.path("passwd").display())), "{stderr}");
    }

    fs::write(place.path("passwd"), "someone:secret\n").unwrap();
    assert!(output(&["passwd", place.path("passwd").to_str().unwrap()]).status.success());
    let tested = said(output(&["-t", "-c", &place.config()]));
    assert_eq!(tested, (Some(0), "ok\n".to_owned(), String::new()));
}

#[test]
fn access_is_for_users_of_the_file_which_is_read_again_on_a_hangup() {
    let place = Place::new("ip_port 0\nallow_anonymous false\npassword_file $D/passwd\n");
    let file = place.path("passwd");
    let file = file.to_str().unwrap();
    let add = |flags: &str, user: &str| {
        let (code, _, stderr) = said(output(&["passwd", flags, file, user, "secret"]));
        assert_eq!(code, Some(0), "{stderr}");
    };
    let code = |address, user_name, password| {
        let mut client = Client::open(address);
        client.send(&[Packet::Connect(Connect { user_name, password, ..connect("me") })]);
        match client.receive() {
            Packet::Connack(connack) => connack.reason,
            other => panic!("{other:?}"),
        }
    };
    add("-bc", "one");
    let mut sol = place.start();
    assert_eq!(code(sol.address, Some("one"), Some(b"secret".as_slice())), Reason::Success);
    assert_ne!(code(sol.address, None, None), Reason::Success);
    assert_ne!(code(sol.address, Some("two"), Some(b"secret")), Reason::Success);
    add("-b", "two");
    sol.signal(Signal::HUP);
    sol.line("read the configuration again");
    assert_eq!(code(sol.address, Some("two"), Some(b"secret")), Reason::Success);
}

#[test]
fn all_that_is_wrong_in_an_acl_file_is_told_with_its_lines() {
    let place = Place::new(
        "ip_port 0\nper_listener_settings true\nacl_file $D/acl\nlistener 0\nallow_anonymous true\nacl_file $D/none\n",
    );
    fs::write(place.path("acl"), "topic reed a\n\npattern a/#/b\n").unwrap();
    let (code, _, stderr) = said(output(&["-t", "-c", &place.config()]));
    let directory = place.directory().display();
    assert_eq!(code, Some(78), "{stderr}");
    for problem in [
        format!("{directory}/acl:1: unknown access \"reed\""),
        format!("{directory}/acl:3: \"a/#/b\" is no topic filter"),
        format!("{directory}/sol.conf:6: `acl_file`: {directory}/none: cannot read the ACL file"),
    ] {
        assert!(stderr.contains(&problem), "{problem}\n{stderr}");
    }
}

#[test]
fn what_clients_may_do_is_read_again_on_a_hangup() {
    let place = Place::new("ip_port 0\nacl_file $D/acl\n");
    fs::write(place.path("acl"), "topic write a\ntopic read #\n").unwrap();
    let mut sol = place.start();
    let mut client = Client::subscribed(sol.address, "client", "#", QoS::AtMostOnce);
    client.publish("b", b"");
    fs::write(place.path("acl"), "topic write b\ntopic read #\n").unwrap();
    sol.signal(Signal::HUP);
    sol.line("read the configuration again");
    client.publish("a", b"");
    client.send(&[Packet::Publish(publish("b", b"now", QoS::AtMostOnce))]);
    assert_eq!(client.message(), b"now");
}

/// Writes a certificate that signs itself, and its key.
fn write_certificate(place: &Place) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(place.path("cert"), made.cert.pem()).unwrap();
    fs::write(place.path("key"), made.signing_key.serialize_pem()).unwrap();
}

#[test]
fn tls_is_checked_with_its_files() {
    let place = Place::new("certfile $D/cert\nkeyfile $D/key\ncafile $D/ca\ntls_protocols tlsv1_3\n");
    let test = || said(output(&["-t", "-c", &place.config()]));
    let (code, _, stderr) = test();
    assert_eq!(code, Some(78), "{stderr}");
    for (line, key) in [(1, "certfile"), (2, "keyfile"), (3, "cafile")] {
        assert!(stderr.contains(&format!("sol.conf:{line}: `{key}`: cannot read ")), "{stderr}");
    }
    write_certificate(&place);
    fs::copy(place.path("cert"), place.path("ca")).unwrap();
    assert_eq!(test(), (Some(0), "ok\n".to_owned(), String::new()));

    let certificate = fs::read(place.path("cert")).unwrap();
    write_certificate(&place);
    fs::write(place.path("cert"), certificate).unwrap();
    let (code, _, stderr) = test();
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("sol.conf:2: `keyfile`: the private key in "), "{stderr}");
}

#[test]
fn certificates_are_read_again_on_a_hangup() {
    let place = Place::new("ip_port 0\ncertfile $D/cert\nkeyfile $D/key\n");
    write_certificate(&place);
    let mut sol = place.start();
    write_certificate(&place);
    sol.signal(Signal::HUP);
    sol.line("read the configuration again");
    fs::write(place.path("cert"), "none").unwrap();
    sol.signal(Signal::HUP);
    let line = sol.line("sol.conf:2: `certfile`: ");
    assert!(line.contains(place.path("cert").to_str().unwrap()), "{line}");
}

#[test]
fn server_reference_is_told_on_a_stop_and_read_again() {
    let place = Place::new("ip_port 0\nserver_reference first.example\n");
    for (again, reason, server) in [
        (None, Reason::UseAnotherServer, Some("first.example")),
        (
            Some("server_reference second.example\nserver_moved true\n"),
            Reason::ServerMoved,
            Some("second.example"),
        ),
        (Some(""), Reason::ServerShuttingDown, None),
    ] {
        let mut sol = place.start();
        let mut client = Client::open(sol.address);
        client.send(&[Packet::Connect(Connect { version: Version::V5, ..connect("c") })]);
        assert!(matches!(client.receive(), Packet::Connack(_)));
        if let Some(again) = again {
            place.configure(&format!("ip_port 0\n{again}"));
            sol.signal(Signal::HUP);
            sol.line("read the configuration again");
        }
        sol.signal(Signal::TERM);
        match client.receive() {
            Packet::Disconnect(disconnect) => {
                assert_eq!(disconnect.reason, reason);
                let told = disconnect.properties.iter().find_map(|property| match property {
                    Property::ServerReference(server) => Some(server),
                    _ => None,
                });
                assert_eq!(told, server);
            }
            other => panic!("{other:?} for DISCONNECT"),
        }
        client.expect_closed();
        drop(client);
        let (code, log) = sol.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("takes a restart"), "{log}");
        place.configure("ip_port 0\nserver_reference first.example\n");
    }
}
