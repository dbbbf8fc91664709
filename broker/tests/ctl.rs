//! `sol ctl` against `sol`, both as the processes they are.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use common::process::{Place, Sol, listens_on, said, sol};
use common::{Client, PATIENCE, Port, connect, eventually, publish, running};
use serde_json::{Value, json};
use sol::codec::{Connect, Packet, QoS};

const OPEN: &str = "allow_anonymous true\nlistener 0 127.0.0.1\nhttp_listener 127.0.0.1:0\n";
const NOT_REACHED: i32 = 69;
const NOT_LET_IN: i32 = 77;

/// A broker and where it tells of itself.
struct Watched {
    sol: Sol,
    url: String,
    _place: Place,
}

impl Watched {
    fn start() -> Self {
        Self::with(Place::new(OPEN))
    }

    fn with(place: Place) -> Self {
        let mut sol = Sol::spawn(sol(&["-c", &place.config()]));
        sol.greeting = sol.line(" listens on ");
        sol.address = listens_on(&sol.greeting);
        let line = sol.line(" tells of itself on ");
        let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        Self { url: url.trim_end_matches(',').to_owned(), sol, _place: place }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        command(&[arguments, &["--url", &self.url]].concat())
    }

    /// Exit code, standard output and standard error.
    fn ctl(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(running(self.command(arguments)).output())
    }

    /// What it prints if all is well.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.ctl(arguments);
        assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
        stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What it says on standard error if it is not done, and its exit code.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let (code, stdout, stderr) = self.ctl(arguments);
        assert_eq!(stdout, "", "{stderr}");
        (code.unwrap(), stderr)
    }
}

fn command(arguments: &[&str]) -> Command {
    // A proxy for the web is none for this machine.
    let mut command = sol(&[&["ctl"], arguments].concat());
    command.env("http_proxy", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1");
    command
}

/// Words of a line, between single spaces.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn status_tells_how_the_broker_is_doing() {
    let broker = Watched::start();
    let _client = Client::subscribed(broker.sol.address, "client", "a", QoS::AtMostOnce);
    let status = broker.says(&["status"]);
    let lines: Vec<_> = status.lines().map(words).collect();
    let begin = format!("Sol {} at {}: up ", env!("CARGO_PKG_VERSION"), broker.url);
    assert!(lines[0].starts_with(&begin), "{status}");
    for line in [
        "LISTENER PROTOCOL TLS CONNECTIONS",
        &format!("{} mqtt no 1", broker.sol.address),
        "clients 1 connected, 1 at most so far, 0 away",
        "subscriptions 1, and 0 shared",
        "lost nothing",
        "store none: nothing survives a restart",
    ] {
        assert!(lines.iter().any(|known| known == line), "no {line:?} in:\n{status}");
    }
    assert!(!status.contains('\u{1b}'), "no terminal, no escapes");
    let status = broker.json(&["status"]);
    assert_eq!(status["stats"]["clients_connected"], 1);
}

#[test]
fn clients_are_listed_looked_at_and_disconnected() {
    let broker = Watched::start();
    let address = broker.sol.address;
    let odd = "a/b \u{1b}[31m?";
    let mut client = Client::connect_as(address, Connect { user_name: Some("alice"), ..connect(odd) }, false);
    client.subscribe("x/+", QoS::AtLeastOnce);
    let _other = Client::connect(address, "other");
    let from = client.stream.local_addr().unwrap();

    let list = broker.says(&["clients"]);
    let lines: Vec<_> = list.lines().map(words).collect();
    assert_eq!(
        lines[0],
        "CLIENT USER ADDRESS MQTT FOR SUBSCR IN FLIGHT QUEUED DROPPED RECEIVED SENT BYTES SENT"
    );
    assert!(lines[1].starts_with(&format!("a/b \\u{{1b}}[31m? alice {from} 3.1.1 ")), "{list}");
    assert!(lines[2].starts_with("other "), "{list}");
    assert_eq!(lines.len(), 3);
    assert_eq!(broker.json(&["clients", "--match", "31m?"])["total"], 1);
    assert_eq!(broker.json(&["clients", "--state", "away"])["clients"], json!([]));
    assert_eq!(broker.json(&["clients", "--sort", "in_flight", "--limit", "1"])["total"], 2);
    assert!(broker.says(&["clients", "--limit", "1"]).ends_with("\n1 of 2: --limit shows more\n"));

    let told = broker.says(&["client", odd]);
    let lines: Vec<_> = told.lines().map(words).collect();
    for line in ["client a/b \\u{1b}[31m?", "user alice", "will none", "subscriptions 1", "x/+ 1"] {
        assert!(lines.iter().any(|known| known == line), "no {line:?} in:\n{told}");
    }
    assert_eq!(broker.json(&["client", odd])["id"], odd);

    let done = broker.says(&["kick", odd]);
    assert_eq!(done, "a/b \\u{1b}[31m? is disconnected, its session ends\n");
    client.expect_closed();
    eventually("it is gone", || broker.ctl(&["client", odd]).0 == Some(1));
    let (code, why) = broker.fails(&["kick", "nobody"]);
    assert_eq!((code, &*why), (1, "sol ctl: there is no client \"nobody\": /api/v1/clients lists them\n"));
}

#[test]
fn a_session_is_kept_or_ended_with_its_connection() {
    let broker = Watched::start();
    let kept = || Connect { clean_session: false, ..connect("kept") };
    let mut client = Client::connect_as(broker.sol.address, kept(), false);
    assert_eq!(broker.says(&["kick", "kept"]), "kept is disconnected, its session stays\n");
    client.expect_closed();
    eventually("it is away", || broker.json(&["client", "kept"])["connected"] == false);
    assert_eq!(broker.says(&["kick", "kept", "--session"]), "kept was not connected, its session ends\n");
    Client::connect_as(broker.sol.address, kept(), false);
}

#[test]
fn more_than_a_page_is_listed() {
    let broker = Watched::start();
    let mut client = Client::connect(broker.sol.address, "many");
    for n in 0..1100 {
        client.subscribe(&format!("t/{n:04}"), QoS::AtMostOnce);
    }
    let list = |arguments: &[&str]| {
        let page = broker.json(&[&["subscriptions"], arguments].concat());
        let filters = page["subscriptions"].as_array().unwrap().iter().map(|entry| entry["filter"].clone());
        (filters.collect::<Vec<_>>(), page["next"].clone())
    };
    let (all, next) = list(&["--limit", "5000"]);
    assert_eq!((all.len(), next), (1100, Value::Null));
    assert_eq!((&all[0], &all[1099]), (&json!("t/0000"), &json!("t/1099")));
    let (some, next) = list(&["--limit", "1001", "--filter", "t/+", "--client", "many"]);
    assert_eq!(some.len(), 1001);
    assert!(next.is_string());
    let words = broker.says(&["subscriptions"]);
    assert!(words.ends_with("\nthere are more: --limit shows them\n"), "{words}");
    assert_eq!(words.lines().count(), 102);
}

#[test]
fn messages_are_published_and_listed() {
    let broker = Watched::start();
    let mut subscriber = Client::subscribed(broker.sol.address, "subscriber", "a/#", QoS::AtLeastOnce);
    assert_eq!(broker.says(&["publish", "nowhere", "x"]), "published: nobody has subscribed to it\n");
    assert_eq!(
        broker.says(&["publish", "a/text", "-5", "--qos", "1", "--retain"]),
        "published to 1 session\n"
    );
    assert_eq!(subscriber.message(), b"-5");
    let mut command = broker.command(&["publish", "a/bytes", "--file", "-", "--retain", "--json"]);
    command.stdin(Stdio::piped());
    let (code, stdout, _) = said(running(command).input(b"\xff\x00\n"));
    assert_eq!((code, &*stdout), (Some(0), "{\"receivers\":1}\n"));
    assert_eq!(subscriber.message(), b"\xff\x00\n");
    broker.says(&["publish", "b", "line\nline", "--retain"]);

    let list = broker.says(&["retained"]);
    let lines: Vec<_> = list.lines().map(words).collect();
    let expected =
        ["TOPIC QOS SIZE PAYLOAD", "a/bytes 0 3 B base64:/wAK", "a/text 1 2 B -5", "b 0 9 B line\\nline"];
    assert_eq!(lines, expected);
    assert_eq!(broker.json(&["retained", "a/+"])["retained"].as_array().unwrap().len(), 2);
    broker.says(&["publish", "b", "--empty", "--retain"]);
    assert_eq!(broker.json(&["retained", "b"])["retained"], json!([]));

    for (arguments, why) in [
        (&["publish", "a/+", "x"][..], "`topic` cannot be `a/+`"),
        (&["publish", "$SYS/x", "x"], "$SYS"),
        (&["retained", "a#"], "`filter` cannot be `a#`"),
        (&["subscribe", "$share/g/a"], "shared subscription"),
    ] {
        let (code, said) = broker.fails(arguments);
        assert!(code == 1 && said.contains(why), "{said}");
    }
    let large = vec![b'x'; (1 << 20) + 1];
    let mut command = broker.command(&["publish", "a", "-f", "-"]);
    command.stdin(Stdio::piped());
    let (code, _, stderr) = said(running(command).input(&large));
    assert!(code == Some(2) && stderr.contains("more than 1 MiB"), "{stderr}");
}

#[test]
fn messages_are_printed_as_they_come() {
    let broker = Watched::start();
    broker.says(&["publish", "a/kept", "first", "--retain"]);
    let mut watching =
        broker.command(&["subscribe", "a/#", "b/+", "-n", "3"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "a/kept first");
    let mut publisher = Client::connect(broker.sol.address, "publisher");
    publisher.publish("b/c", b"\x1b[2J\nsecond");
    publisher.publish("elsewhere", b"x");
    publisher.publish("a", b"\xff");
    assert_eq!(lines.next().unwrap().unwrap(), "b/c \\u{1b}[2J\\nsecond");
    assert_eq!(lines.next().unwrap().unwrap(), "a base64:/w==");
    assert!(watching.wait().unwrap().success());

    let message: Value =
        serde_json::from_str(&broker.says(&["subscribe", "a/#", "-n", "1", "--json"])).unwrap();
    assert_eq!((&message["topic"], &message["retain"]), (&json!("a/kept"), &json!(true)));
}

#[test]
fn a_stream_ends_with_the_broker() {
    let broker = Watched::start();
    broker.says(&["publish", "a", "first", "--retain"]);
    let mut command = broker.command(&["subscribe", "a"]);
    let mut watching = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut line).unwrap();
    broker.sol.signal(rustix::process::Signal::TERM);
    let mut stderr = String::new();
    watching.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(!watching.wait().unwrap().success());
    assert!(stderr.starts_with("sol ctl: ") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn whoever_is_not_let_in_is_told_how() {
    let place = Place::new(&format!("{OPEN}http_token_file $D/token\nhttp_password_file $D/passwords\n"));
    fs::write(place.path("token"), "0123456789abcdef\n").unwrap();
    let [token, wrong, password] =
        ["token", "wrong", "password"].map(|name| place.path(name).to_str().unwrap().to_owned());
    fs::write(&wrong, "fedcba9876543210\n").unwrap();
    fs::write(&password, "secret\n").unwrap();
    let passwords = place.path("passwords");
    let mut passwd = sol(&["passwd", "-c", passwords.to_str().unwrap(), "alice"]);
    passwd.stdin(Stdio::piped());
    assert!(running(passwd).input(b"secret\n").status.success());

    let broker = Watched::with(place);
    for arguments in [&["status"][..], &["status", "--token-file", &wrong]] {
        let (code, why) = broker.fails(arguments);
        assert_eq!(code, NOT_LET_IN);
        assert!(why.contains("`http_token_file`") && why.contains("--token-file"), "{why}");
    }
    let (code, why) = broker.fails(&["status", "--user", "bob", "--password-file", &password]);
    assert_eq!(code, NOT_LET_IN, "{why}");
    broker.says(&["status", "--token-file", &token]);
    broker.says(&["status", "--user", "alice", "--password-file", &password]);
    broker.says(&["publish", "a", "b", "--token-file", &token]);
    let (code, why) = broker.fails(&["status", "--token-file", "/nowhere"]);
    assert!(code == 2 && why.contains("/nowhere: "), "{why}");
}

#[test]
fn https_needs_an_authority_that_is_trusted() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let place = Place::new(&format!("{OPEN}http_certfile $D/cert.pem\nhttp_keyfile $D/key.pem\n"));
    fs::write(place.path("cert.pem"), cert.pem()).unwrap();
    fs::write(place.path("key.pem"), signing_key.serialize_pem()).unwrap();
    let cafile = place.path("cert.pem").to_str().unwrap().to_owned();
    let broker = Watched::with(place);
    assert!(broker.url.starts_with("https://"), "{}", broker.url);
    broker.says(&["status", "--cafile", &cafile]);
    let (code, why) = broker.fails(&["status"]);
    assert!(code == NOT_REACHED && why.contains("--cafile"), "{why}");
    let plain = broker.url.replace("https", "http");
    let (code, _, why) = said(running(command(&["status", "--url", &plain])).output());
    assert_eq!(code, Some(NOT_REACHED), "{why}");
}

#[test]
fn what_cannot_be_asked_is_told_in_one_line() {
    let port = Port::new();
    let closed = format!("http://{}", port.address());
    let broker = Watched::start();
    let mqtt = format!("http://{}", broker.sol.address);
    for (url, expected, why) in [
        (&*closed, NOT_REACHED, "`http_listener`"),
        (&mqtt, NOT_REACHED, "`http_listener`"),
        ("127.0.0.1:9883", 2, "http://"),
        ("http://u:p@127.0.0.1", 2, "--user"),
    ] {
        let (code, stdout, stderr) = said(running(command(&["status", "--url", url])).output());
        assert_eq!((code, &*stdout), (Some(expected), ""), "{url}: {stderr}");
        assert!(stderr.starts_with("sol ctl: ") && stderr.lines().count() == 1, "{url}: {stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
    }
    let (code, why) = broker.fails(&["top"]);
    assert!(code == 2 && why.contains("needs a terminal"), "{why}");
    assert_eq!(broker.fails(&["publish", "a"]).0, 2);
    assert_eq!(broker.fails(&["publish", "a", "b", "--empty"]).0, 2);
}

/// A broker that gives one answer. Gives the request.
fn answered(arguments: &[&str], status: &str, body: &Value) -> (String, (Option<i32>, String, String)) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let asking = running(command(&[arguments, &["--url", &url]].concat()));
    let (mut stream, _) = socket.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "the request ends");
        request.extend_from_slice(&buffer[..n]);
    }
    let body = body.to_string();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .unwrap();
    (String::from_utf8_lossy(&request).into_owned(), said(asking.output()))
}

#[test]
fn a_reload_tells_what_is_changed_or_wrong() {
    let done = json!({"changed": ["acl_file", "max_queue"], "needs_restart": ["threads"]});
    let (request, (code, stdout, _)) = answered(&["reload"], "200 OK", &done);
    assert!(
        request.starts_with("POST /api/v1/reload HTTP/1.1\r\n") && request.contains("x-sol: 1\r\n"),
        "{request}"
    );
    let expected = "changed: acl_file, max_queue\nchanged in the file, but only a restart does it: threads\n";
    assert_eq!((code, &*stdout), (Some(0), expected));
    let (_, (code, stdout, _)) =
        answered(&["reload"], "200 OK", &json!({"changed": [], "needs_restart": []}));
    assert_eq!((code, &*stdout), (Some(0), "read again: the configuration is as it was\n"));
    let wrong = json!({"problems": ["sol.conf:1: unknown key `x`", "sol.conf:2: \u{1b}"]});
    let (_, (code, stdout, stderr)) = answered(&["reload"], "422 Unprocessable Entity", &wrong);
    assert_eq!((code, &*stdout), (Some(78), ""));
    let expected = "\
sol ctl: nothing is changed:
sol ctl: sol.conf:1: unknown key `x`
sol ctl: sol.conf:2: \\u{1b}
";
    assert_eq!(stderr, expected);
}

#[test]
fn a_client_is_traced_and_no_longer() {
    let (request, (code, stdout, _)) = answered(&["trace", "a/b", "on"], "200 OK", &json!({"known": true}));
    assert!(request.starts_with("PUT /api/v1/clients/a%2Fb/trace HTTP/1.1\r\n"), "{request}");
    assert_eq!((code, &*stdout), (Some(0), "each packet of a/b is a line in the broker's log\n"));
    let (_, (_, stdout, _)) = answered(&["trace", "x", "on"], "200 OK", &json!({"known": false}));
    assert!(stdout.starts_with("there is no client x yet"), "{stdout}");
    let (request, (code, stdout, _)) = answered(&["trace", "x", "off"], "200 OK", &json!({}));
    assert!(request.starts_with("DELETE /api/v1/clients/x/trace HTTP/1.1\r\n"), "{request}");
    assert_eq!((code, &*stdout), (Some(0), "packets of x are no longer logged\n"));
    let (_, (code, _, stderr)) =
        answered(&["trace", "x", "on"], "409 Conflict", &json!({"error": "too many"}));
    assert_eq!((code, &*stderr), (Some(1), "sol ctl: too many\n"));
}

#[test]
fn what_is_not_a_broker_is_not_believed() {
    for (status, body) in
        [("200 OK", json!([])), ("200 OK", json!({"version": 5})), ("404 Not Found", json!("no"))]
    {
        let (_, (code, stdout, stderr)) = answered(&["status"], status, &body);
        assert_eq!((code, &*stdout), (Some(1), ""));
        assert!(stderr.contains("is not understood"), "{stderr}");
    }
    let (_, (code, _, stderr)) =
        answered(&["status"], "302 Found\r\nlocation: http://127.0.0.1:1/", &json!({}));
    assert!(code == Some(1) && stderr.contains("302"), "{stderr}");
}

#[test]
fn a_queue_and_its_client_come_first() {
    let broker = Watched::start();
    let address = broker.sol.address;
    for id in ["a", "z"] {
        let mut client = Client::connect_as(address, Connect { clean_session: false, ..connect(id) }, false);
        client.subscribe(&format!("to/{id}"), QoS::AtLeastOnce);
        client.send(&[Packet::Disconnect(Default::default())]);
        client.expect_closed();
    }
    let mut publisher = Client::connect(address, "publisher");
    publisher.send(&[Packet::Publish(publish("to/z", b"x", QoS::AtLeastOnce))]);
    publisher.receive();
    let list = broker.says(&["clients", "--sort", "queued"]);
    let first = words(list.lines().nth(1).unwrap());
    assert!(first.starts_with("z away "), "{list}");
}
