//! Passwords: files that other programs made, what is refused and how, logins that wait, a file that changes.
//!
//! A program that is not installed is skipped with a word on standard error, and is a failure where
//! `SOL_REQUIRE_PEERS=1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, connect, encode, eventually, publish, running, subscribe};
use log::{Log, Metadata, Record};
use sol::auth::{DelayLimits, Hash, MAX_ROUNDS, Make};
use sol::codec::{Connack, Connect, Packet, Properties, QoS, Reason, Will};
use sol::config::Listener;
use sol::topic::Name;
use sol::{Broker, Config, Limits, ReloadError, StartError};
use tempfile::TempDir;

use QoS::AtMostOnce;
use Reason::{BadUserNameOrPassword, NotAuthorized, ServerUnavailable};

/// `secret`, by crypt(3).
const SECRET: &str =
    "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";

/// A password file in a directory of its own.
struct File {
    _directory: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        fs::write(&path, text).unwrap();
        Self { _directory: directory, path }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

fn start(file: &Path, allow_anonymous: bool, limits: Limits) -> Result<Broker, StartError> {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { allow_anonymous, password_file: Some(file.to_owned()), ..address.into() };
    Broker::start(Config { listeners: vec![listener], limits, ..Config::default() })
}

/// Limits without delays, so that a test may fail as often as it likes.
fn undelayed() -> Limits {
    let limits = Limits::default();
    Limits { login_delay: DelayLimits { first: Duration::ZERO, ..limits.login_delay }, ..limits }
}

/// A broker for those in the file alone.
fn broker(file: &File) -> Broker {
    start(&file.path, false, undelayed()).unwrap()
}

fn user<'a>(name: &'a str, password: &'a str) -> Connect<'a> {
    Connect { user_name: Some(name), password: Some(password.as_bytes()), ..connect("client") }
}

fn login(broker: &Broker, connect: Connect<'_>) -> Client {
    Client::connect_as(broker.local_addr(), connect, false)
}

fn refused(code: Reason) -> Packet<'static> {
    Packet::Connack(Connack::new(false, code))
}

fn expect_refused(broker: &Broker, connect: Connect<'_>, code: Reason) {
    let mut client = Client::open(broker.local_addr());
    client.send(&[Packet::Connect(connect)]);
    client.expect(refused(code));
    client.expect_closed();
}

// Files that other programs made

/// Says that a program is missing, where it may be.
fn skip(program: &str) {
    let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
    assert!(!is_required, "{program} is not installed");
    // Not by `eprintln!`, which is shown of failed tests only.
    std::io::stderr().write_all(format!("SKIPPED: {program} is not installed\n").as_bytes()).unwrap();
}

/// What a program prints; none if there is none, or none that can do it.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok();
    let Some(output) = output.filter(|output| output.status.success()) else {
        skip(program);
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The right password logs in, and nothing else does.
fn logs_in(file: &File, name: &str, password: &str) {
    let broker = broker(file);
    login(&broker, user(name, password)).ping();
    for wrong in [format!("{password} "), password.to_uppercase(), String::new(), password[1..].to_owned()] {
        expect_refused(&broker, user(name, &wrong), BadUserNameOrPassword);
    }
    for wrong in [name.to_uppercase(), format!("{name}2"), String::new()] {
        expect_refused(&broker, user(&wrong, password), BadUserNameOrPassword);
    }
}

/// With the case of one letter of the hash changed, nobody logs in.
fn is_of_one_case(file: &File, name: &str, password: &str) {
    let text = file.text();
    let at = text.rfind('$').unwrap() + 1;
    let at = at + text[at..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let mut changed = text.into_bytes();
    changed[at] ^= 0x20;
    fs::write(&file.path, changed).unwrap();
    expect_refused(&broker(file), user(name, password), BadUserNameOrPassword);
}

#[test]
fn hashes_of_openssl_log_in() {
    for arguments in [&["-6"][..], &["-5"], &["-6", "-salt", "rounds=1000$pepper"]] {
        let Some(hash) = printed("openssl", &[&["passwd"], arguments, &["pa ss:wörd"]].concat()) else {
            return;
        };
        let file = File::new(&format!("# by openssl\nanna:{hash}"));
        logs_in(&file, "anna", "pa ss:wörd");
        is_of_one_case(&file, "anna", "pa ss:wörd");
    }
}

#[test]
fn hashes_of_python_crypt_log_in() {
    for (method, rounds) in [("SHA512", ""), ("SHA256", ""), ("SHA512", ", rounds=1234")] {
        let program = format!(
            "import crypt; print(crypt.crypt('passwörd', crypt.mksalt(crypt.METHOD_{method}{rounds})))"
        );
        let Some(hash) = printed("python3", &["-W", "ignore", "-c", &program]) else { return };
        let file = File::new(&format!("anna:{hash}"));
        logs_in(&file, "anna", "passwörd");
        is_of_one_case(&file, "anna", "passwörd");
    }
}

#[test]
fn files_of_mosquitto_passwd_log_in() {
    for arguments in [&[][..], &["-H", "sha512"], &["-H", "sha512-pbkdf2", "-I", "1000"]] {
        let file = File::new("");
        let path = file.path.to_str().unwrap();
        for (name, password) in [("anna", "passwörd"), ("bert", "other")] {
            let arguments = [arguments, &["-b", path, name, password]].concat();
            if printed("mosquitto_passwd", &arguments).is_none() {
                return;
            }
        }
        logs_in(&file, "anna", "passwörd");
        logs_in(&file, "bert", "other");
        expect_refused(&broker(&file), user("anna", "other"), BadUserNameOrPassword);
        is_of_one_case(&file, "bert", "other");
    }
}

#[test]
fn mosquitto_pub_logs_in() {
    if Command::new("mosquitto_pub").output().is_err() {
        return skip("mosquitto_pub");
    }
    let broker = broker(&File::new(&format!("anna:{SECRET}")));
    let port = broker.local_addr().port().to_string();
    let publish = |arguments: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", "t", "-r", "-m", "message"]).args(arguments);
        running(command).output()
    };
    for (arguments, code) in [(&["-u", "anna", "-P", "wrong"][..], 4), (&["-u", "anna"], 4), (&[], 5)] {
        let output = publish(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    assert_eq!(broker.stats().retained, 0);
    let output = publish(&["-u", "anna", "-P", "secret", "-q", "1"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(broker.stats().retained, 1);
}

// Refusals

#[test]
fn each_refusal_has_its_code() {
    let file = File::new(&format!("anna:{SECRET}"));
    let broker = broker(&file);
    let without_password = |name| Connect { user_name: Some(name), ..connect("client") };
    expect_refused(&broker, user("anna", "wrong"), BadUserNameOrPassword);
    expect_refused(&broker, user("nobody", "secret"), BadUserNameOrPassword);
    expect_refused(&broker, without_password("anna"), BadUserNameOrPassword);
    expect_refused(&broker, without_password("nobody"), BadUserNameOrPassword);
    expect_refused(&broker, connect("client"), NotAuthorized);
    // A password without a user name is no CONNECT [MQTT-3.1.2-22].
    let mut malformed = Client::open(broker.local_addr());
    malformed.send_bytes(b"\x10\x16\0\x04MQTT\x04\x42\0\x3c\0\x02me\0\x06secret");
    malformed.expect_closed();
    login(&broker, user("anna", "secret")).ping();
}

#[test]
fn where_anonymous_clients_are_let_in_passwords_still_count() {
    let file = File::new(&format!("anna:{SECRET}"));
    let broker = start(&file.path, true, undelayed()).unwrap();
    login(&broker, connect("client")).ping();
    login(&broker, user("anna", "secret")).ping();
    expect_refused(&broker, user("anna", "wrong"), BadUserNameOrPassword);
}

#[test]
fn without_a_file_no_password_is_looked_at() {
    let broker = common::broker(Limits::default());
    login(&broker, user("anyone", "anything")).ping();
    login(&broker, Connect { user_name: Some("anyone"), ..connect("client") }).ping();
}

#[test]
fn nothing_is_done_for_who_is_refused() {
    let broker = broker(&File::new(&format!("anna:{SECRET}")));
    let mut anna = Client::connect_as(
        broker.local_addr(),
        Connect { client_id: "anna", ..user("anna", "secret") },
        false,
    );
    anna.subscribe("#", AtMostOnce);
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: b"will",
        qos: AtMostOnce,
        retain: true,
        properties: Properties::EMPTY,
    };
    let anonymous = Connect { user_name: None, password: None, ..connect("anna") };
    for (refused_as, code) in [
        (user("anna", "wrong"), BadUserNameOrPassword),
        (user("nobody", "secret"), BadUserNameOrPassword),
        (anonymous, NotAuthorized),
    ] {
        // With anna's client identifier, whose session it must not take over.
        let connect = Connect { client_id: "anna", will: Some(will), ..refused_as };
        let mut client = Client::open(broker.local_addr());
        client.send(&[
            Packet::Connect(connect),
            Packet::Publish(publish("t", b"smuggled", AtMostOnce)),
            subscribe("#", AtMostOnce),
            Packet::Pingreq,
        ]);
        client.expect(refused(code));
        client.expect_closed();
        eventually("it is gone", || broker.stats().connections == 1);
    }
    let stats = broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.retained), (1, 1, 0));
    anna.ping();
    // Behind the right password all of it is done, in order.
    let mut bert = Client::open(broker.local_addr());
    let connect = Packet::Connect(Connect { client_id: "bert", ..user("anna", "secret") });
    let message = Packet::Publish(publish("t", b"sent at once", AtMostOnce));
    bert.send(&[connect, subscribe("t", AtMostOnce), message, Packet::Pingreq]);
    bert.expect(refused(Reason::Success));
    assert!(matches!(bert.receive(), Packet::Suback(_)));
    assert_eq!(bert.message(), b"sent at once");
    bert.expect(Packet::Pingresp);
    assert_eq!(anna.message(), b"sent at once");
}

#[test]
fn much_behind_a_connect_waits_unread() {
    let broker = broker(&File::new(&format!("anna:{SECRET}")));
    let mut anna = Client::open(broker.local_addr());
    let bytes = encode(&[Packet::Publish(publish("t", &[b'x'; 100_000], AtMostOnce))]);
    let message = [encode(&[Packet::Connect(user("anna", "secret"))]), bytes.repeat(20), vec![0xc0, 0]];
    anna.send_bytes(&message.concat());
    anna.expect(refused(Reason::Success));
    anna.expect(Packet::Pingresp);
}

// The log

/// Lines of the log of this process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

#[test]
fn the_log_names_who_was_refused_and_no_password() {
    keep_log();
    let broker = broker(&File::new(&format!("logged:{SECRET}")));
    let forger = Connect { client_id: "a\nINFO forged", ..user("logged\x1b[2J", "hunter2") };
    expect_refused(&broker, user("logged", "hunter2"), BadUserNameOrPassword);
    expect_refused(&broker, forger, BadUserNameOrPassword);
    let line = |of: &str| LINES.lock().unwrap().iter().find(|line| line.contains(of)).cloned();
    let wrong = "refused with CONNACK code 4: wrong password, client \"client\", user \"logged\"";
    eventually("the refusal is in the log", || line(wrong).is_some());
    assert!(line(wrong).unwrap().starts_with("INFO 127.0.0.1:"));
    let forged = r#"there is no such user, client "a\nINFO forged", user "logged\u{1b}[2J""#;
    eventually("so is the other", || line(forged).is_some());
    assert_eq!(line("hunter2"), None);
}

// Many logins

/// A hash that takes long to verify, also for who does not know the password.
fn slow_file(rounds: u32) -> File {
    File::new(&format!("slow:$6$rounds={rounds}$salt${}\n", "x".repeat(86)))
}

/// Whether the broker has answered.
fn is_answered(client: &Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let answered = match client.stream.peek(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        other => {
            other.unwrap();
            true
        }
    };
    client.stream.set_nonblocking(false).unwrap();
    answered
}

#[test]
fn a_flood_of_logins_stalls_nobody() {
    let file = slow_file(200_000);
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { password_file: Some(file.path.clone()), ..address.into() };
    let broker = Broker::start(Config {
        listeners: vec![listener],
        // The flood and its victim share the one thread.
        threads: NonZeroUsize::MIN,
        limits: Limits { max_login_threads: NonZeroUsize::MIN, ..undelayed() },
        ..Config::default()
    })
    .unwrap();
    let mut victim = Client::subscribed(broker.local_addr(), "victim", "t", AtMostOnce);
    let flood: Vec<_> = (0..50)
        .map(|n| {
            let mut client = Client::open(broker.local_addr());
            let name = if n % 2 == 0 { "slow" } else { "nobody" };
            client.send(&[Packet::Connect(user(name, "wrong"))]);
            client
        })
        .collect();
    eventually("the flood is in", || broker.stats().connections == 51);
    for n in 0..100_u8 {
        victim.send(&[Packet::Publish(publish("t", &[n], AtMostOnce)), Packet::Pingreq]);
        assert_eq!(victim.message(), [n]);
        victim.expect(Packet::Pingresp);
    }
    assert!(!is_answered(flood.last().unwrap()), "the flood was over before it could stall anybody");
}

#[test]
fn more_logins_than_may_wait_are_turned_away() {
    let limits = Limits { max_login_threads: NonZeroUsize::MIN, max_waiting_logins: 1, ..undelayed() };
    let broker = start(&slow_file(MAX_ROUNDS).path, false, limits).unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| Client::open(broker.local_addr())).collect();
    clients.iter_mut().for_each(|client| client.send(&[Packet::Connect(user("slow", "wrong"))]));
    let deadline = Instant::now() + PATIENCE;
    let turned_away = loop {
        if let Some(answered) = clients.iter().position(is_answered) {
            break answered;
        }
        assert!(Instant::now() < deadline, "nobody is turned away");
        std::thread::sleep(Duration::from_millis(1));
    };
    clients[turned_away].expect(refused(ServerUnavailable));
    clients[turned_away].expect_closed();
    // Who does not wait for a verdict leaves the place to others.
    clients.clear();
    eventually("all are gone", || broker.stats().connections == 0);
}

#[test]
fn who_waits_for_a_login_waits_no_longer_than_for_a_connect() {
    let limits = Limits {
        max_login_threads: NonZeroUsize::MIN,
        connect_timeout: Duration::from_millis(100),
        ..undelayed()
    };
    let broker = start(&slow_file(MAX_ROUNDS).path, false, limits).unwrap();
    let mut client = Client::open(broker.local_addr());
    client.send(&[Packet::Connect(user("slow", "wrong"))]);
    client.expect_closed();
}

#[test]
fn who_leaves_before_its_password_is_verified_leaves_the_place_to_others() {
    const GUESSES: usize = 500;
    let limits = Limits {
        max_login_threads: NonZeroUsize::MIN,
        max_waiting_logins: GUESSES,
        connect_timeout: 10 * PATIENCE,
        ..undelayed()
    };
    let broker = start(&slow_file(MAX_ROUNDS).path, false, limits).unwrap();
    let guesses: Vec<_> = (0..GUESSES)
        .map(|_| {
            let mut client = Client::open(broker.local_addr());
            client.send(&[Packet::Connect(user("slow", "guessed")), Packet::Pingreq]);
            client
        })
        .collect();
    eventually("all are in", || broker.stats().sockets == GUESSES as u64);
    drop(guesses);
    // To verify them all takes longer than this waits.
    eventually("all are gone", || broker.stats().connections == 0);
}

// Delays

#[test]
fn a_second_refusal_is_held_back_and_holds_up_nobody() {
    let first = Duration::from_millis(300);
    let limits = Limits::default();
    let login_delay = DelayLimits { first, longest: first, ..limits.login_delay };
    let file = File::new(&format!("anna:{SECRET}"));
    let listener = Listener {
        allow_anonymous: false,
        password_file: Some(file.path.clone()),
        ..SocketAddr::from(([127, 0, 0, 1], 0)).into()
    };
    let broker = Broker::start(Config {
        listeners: vec![listener],
        threads: NonZeroUsize::MIN,
        limits: Limits { login_delay, ..limits },
        ..Config::default()
    })
    .unwrap();
    let mut anna = login(&broker, user("anna", "secret"));
    expect_refused(&broker, user("anna", "wrong"), BadUserNameOrPassword);
    for (connect, code) in
        [(user("anna", "wrong"), BadUserNameOrPassword), (connect("client"), NotAuthorized)]
    {
        let before = Instant::now();
        let mut client = Client::open(broker.local_addr());
        client.send(&[Packet::Connect(connect), Packet::Pingreq]);
        while !is_answered(&client) {
            anna.ping();
            assert!(before.elapsed() < PATIENCE, "no answer");
        }
        assert!(before.elapsed() >= first, "after {:?}", before.elapsed());
        client.expect(refused(code));
        client.expect_closed();
    }
    // The right password is not held back, nor is the address shut out.
    login(&broker, Connect { client_id: "other", ..user("anna", "secret") }).ping();
}

#[test]
fn a_refusal_is_told_before_the_time_for_a_connect_is_over() {
    let hour = Duration::from_secs(3600);
    let limits = Limits { connect_timeout: Duration::from_secs(3), ..Limits::default() };
    let login_delay = DelayLimits { first: hour, longest: hour, ..limits.login_delay };
    let file = File::new("");
    let broker = start(&file.path, false, Limits { login_delay, ..limits }).unwrap();
    for _ in 0..3 {
        expect_refused(&broker, connect("client"), NotAuthorized);
    }
}

// The file changes

fn reload_errors(broker: &Broker) -> Vec<sol::auth::Error> {
    let ReloadError(errors) = broker.reload().unwrap_err();
    let passwords =
        |error| if let StartError::Passwords(errors) = error { errors } else { panic!("{error}") };
    errors.into_iter().flat_map(passwords).collect()
}

#[test]
fn a_reload_counts_for_the_next_login() {
    let file = File::new(&format!("anna:{SECRET}\n"));
    let broker = broker(&file);
    let mut anna = login(&broker, user("anna", "secret"));
    let changed = Hash::make(b"changed", Make::Crypt, [0; 12]).unwrap();
    fs::write(&file.path, format!("bert:{changed}\n")).unwrap();
    expect_refused(&broker, user("bert", "changed"), BadUserNameOrPassword);
    broker.reload().unwrap();
    anna.ping();
    expect_refused(&broker, user("anna", "secret"), BadUserNameOrPassword);
    login(&broker, Connect { client_id: "bert", ..user("bert", "changed") }).ping();
    // One with errors changes nothing.
    fs::write(&file.path, format!("anna:{SECRET}\nbert:plain\nno colon\n")).unwrap();
    let errors = reload_errors(&broker);
    let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [Some(2), Some(3)]);
    let path = file.path.display();
    assert!(errors[0].to_string().starts_with(&format!("{path}:2: ")), "{}", errors[0]);
    expect_refused(&broker, user("anna", "secret"), BadUserNameOrPassword);
    login(&broker, Connect { client_id: "bert2", ..user("bert", "changed") }).ping();
    fs::remove_file(&file.path).unwrap();
    assert_eq!(reload_errors(&broker).len(), 1);
    login(&broker, Connect { client_id: "bert3", ..user("bert", "changed") }).ping();
}

#[test]
fn a_broker_does_not_start_with_a_bad_file() {
    let file = File::new("anna:plain\n:x\n");
    let error = |file: &File| start(&file.path, false, undelayed()).err().unwrap().to_string();
    let path = file.path.display();
    let said = error(&file);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.starts_with(&format!("{path}:1: ")) && said.contains(&format!("\n{path}:2: ")), "{said}");
    fs::remove_file(&file.path).unwrap();
    assert!(error(&file).contains("cannot read the password file"), "{}", error(&file));
    let nobody = Listener { allow_anonymous: false, ..Listener::default() };
    let started = Broker::start(Config { listeners: vec![nobody], ..Config::default() });
    assert!(matches!(started, Err(StartError::NobodyAllowed(_))));
}
