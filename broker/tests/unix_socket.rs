//! A UNIX socket: its file, and what goes through it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::peers::has_mosquitto;
use common::{Client, PATIENCE, Running, connect, eventually, running};
use sol::codec::QoS;
use sol::config::{Endpoint, Listener};
use sol::{Broker, Config, StartError};
use tempfile::TempDir;

fn start(path: &Path, mode: Option<u32>) -> Result<Broker, StartError> {
    let endpoint = Endpoint::Unix { path: path.to_owned(), mode };
    Broker::start(Config {
        listeners: vec![Listener { endpoint, ..Listener::default() }],
        ..Config::default()
    })
}

/// A directory, and a path in it.
fn path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sol.sock");
    (directory, path)
}

fn client(path: &Path, client_id: &str) -> Client<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client::over(stream);
    client.say_connect(connect(client_id), false);
    client
}

/// A socket that a killed process left.
fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

/// What starting says of the path.
fn refusal(path: &Path) -> (ErrorKind, String) {
    match start(path, None).map(drop) {
        Err(StartError::Listen { endpoint, source }) => {
            (source.kind(), StartError::Listen { endpoint, source }.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_serves_and_is_removed_at_the_stop() {
    let (_directory, path) = path();
    let broker = start(&path, None).unwrap();
    let mut subscriber = client(&path, "subscriber");
    subscriber.subscribe("t", QoS::ExactlyOnce);
    client(&path, "publisher").publish("t", b"through the file system");
    assert_eq!(subscriber.message(), b"through the file system");
    // More than a socket's buffers hold.
    let large = vec![7; 500_000];
    client(&path, "publisher").publish("t", &large);
    assert_eq!(subscriber.message(), large);
    broker.stop();
    subscriber.expect_closed();
    assert!(!path.exists());
}

#[test]
fn tcp_stands_beside_it() {
    let (_directory, path) = path();
    let endpoint = Endpoint::Unix { path: path.clone(), mode: None };
    let mut config = Config::on("127.0.0.1:0".parse().unwrap());
    config.listeners.push(Listener { endpoint: endpoint.clone(), ..Listener::default() });
    let broker = Broker::start(config).unwrap();
    assert_eq!(broker.endpoints(), [Endpoint::Tcp(broker.local_addr()), endpoint]);
    assert_eq!(broker.local_addrs(), [broker.local_addr()]);
    let mut subscriber = Client::subscribed(broker.local_addr(), "tcp", "t", QoS::AtMostOnce);
    client(&path, "unix").publish("t", b"across");
    assert_eq!(subscriber.message(), b"across");
}

#[test]
fn its_permissions_change_with_the_configuration_or_not_at_all() {
    let (_directory, path) = path();
    let broker = start(&path, Some(0o600)).unwrap();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let listeners = |others: &[Listener]| {
        let endpoint = Endpoint::Unix { path: path.clone(), mode: Some(0o660) };
        [&[Listener { endpoint, ..Listener::default() }], others].concat()
    };
    let there = path.with_file_name("nothing").join("sol.sock");
    let bad = Listener { endpoint: Endpoint::Unix { path: there, mode: None }, ..Listener::default() };
    let mut early = client(&path, "early");
    broker.change(Config { listeners: listeners(&[bad]), ..Config::default() }).unwrap_err();
    assert_eq!(mode(), 0o600);
    broker.change(Config { listeners: listeners(&[]), ..Config::default() }).unwrap();
    assert_eq!(mode(), 0o660);
    client(&path, "late").ping();
    early.ping();
    broker.change(Config::on("127.0.0.1:0".parse().unwrap())).unwrap();
    assert!(!path.exists());
    early.expect_closed();
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_directory, path) = path();
    leave_stale(&path);
    let _broker = start(&path, None).unwrap();
    client(&path, "client").ping();
}

#[test]
fn a_served_socket_is_refused_and_goes_on_serving() {
    let (_directory, path) = path();
    let _broker = start(&path, None).unwrap();
    let (kind, message) = refusal(&path);
    assert_eq!(kind, ErrorKind::AddrInUse);
    let expected = format!("cannot listen on {}: another process serves this socket", path.display());
    assert!(message.starts_with(&expected), "{message}");
    client(&path, "client").ping();
}

/// Elsewhere the system does not tell this from nobody there.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_whose_process_is_too_busy_to_accept_is_served() {
    use socket2::{Domain, SockAddr, Socket, Type};

    let (_directory, path) = path();
    let address = SockAddr::unix(&path).unwrap();
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    busy.bind(&address).unwrap();
    busy.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
    }
    assert_eq!(refusal(&path).0, ErrorKind::AddrInUse);
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let (directory, path) = path();
    fs::write(&path, "precious").unwrap();
    let (kind, message) = refusal(&path);
    assert_eq!(kind, ErrorKind::AlreadyExists);
    assert!(message.contains("no socket"), "{message}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    // Nor a link, wherever it points.
    let link = directory.path().join("link");
    let socket = directory.path().join("stale.sock");
    leave_stale(&socket);
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    assert_eq!(refusal(&link).0, ErrorKind::AlreadyExists);
    assert!(link.is_symlink());
}

#[test]
fn a_socket_in_no_directory_is_refused() {
    let (directory, _) = path();
    let (kind, message) = refusal(&directory.path().join("missing").join("sol.sock"));
    assert_eq!(kind, ErrorKind::NotFound, "{message}");
    let (kind, message) = refusal(&directory.path().join("x".repeat(200)));
    assert_eq!(kind, ErrorKind::InvalidInput, "{message}");
}

#[test]
fn the_mode_is_set() {
    for mode in [0o600, 0o666] {
        let (_directory, path) = path();
        let _broker = start(&path, Some(mode)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_file_of_somebody_else_stays_at_the_stop() {
    let (_directory, path) = path();
    let first = start(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    let _second = start(&path, None).unwrap();
    first.stop();
    client(&path, "client").ping();
}

#[test]
fn a_start_that_fails_leaves_no_file() {
    let (_directory, path) = path();
    let taken = Broker::start(Config::on("127.0.0.1:0".parse().unwrap())).unwrap();
    let unix =
        Listener { endpoint: Endpoint::Unix { path: path.clone(), mode: None }, ..Listener::default() };
    let listeners = vec![unix, taken.local_addr().into()];
    assert!(Broker::start(Config { listeners, ..Config::default() }).is_err());
    assert!(!path.exists());
}

#[test]
fn mosquitto_speaks_through_it() {
    const MESSAGES: usize = 1000;
    if !has_mosquitto() {
        return;
    }
    let (_directory, path) = path();
    let broker = start(&path, None).unwrap();
    let mosquitto = |program: &str, arguments: &[&str]| -> Running {
        let mut command = Command::new(program);
        command.arg("--unix").arg(&path).args(arguments).stdin(Stdio::piped());
        running(command)
    };
    for qos in ["0", "1", "2"] {
        let count = MESSAGES.to_string();
        let subscriber = mosquitto("mosquitto_sub", &["-t", "t", "-q", qos, "-C", &count]);
        eventually("subscribed", || broker.stats().subscriptions == 1);
        let lines: String = (0..MESSAGES).map(|n| format!("{n}\n")).collect();
        let published = mosquitto("mosquitto_pub", &["-t", "t", "-q", qos, "-l"]).input(lines.as_bytes());
        assert!(published.status.success(), "{published:?}");
        let received = subscriber.output();
        assert!(received.status.success(), "{received:?}");
        assert_eq!(String::from_utf8(received.stdout).unwrap(), lines, "QoS {qos}");
        eventually("gone", || broker.stats().subscriptions == 0);
    }
}
