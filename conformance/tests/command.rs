//! The program `conformance`, as its users meet it: arguments, exit codes, words and files.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod fake;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use conformance::frame::{Kind, Packet};
use conformance::instance::free_port;
use conformance::report::{Report, json};
use conformance::verdict::Grade;
use fake::{FakeBroker, Reply};
use tempfile::TempDir;

/// What a run of the program left.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

fn conformance(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BROKER_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal");
    Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn url(address: impl std::fmt::Display) -> String {
    format!("mqtt://{address}")
}

/// Where nobody listens, and nobody who takes any port will.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], free_port().expect("a port")).into()
}

/// The broker of this repository.
fn sol() -> (sol::Broker, String) {
    let broker = sol::Broker::start(sol::Config::on(([127, 0, 0, 1], 0).into())).expect("starts");
    let url = url(broker.local_addr());
    (broker, url)
}

/// A broker that does not acknowledge QoS 1, and may be made wrong in other ways.
fn forgetful() -> FakeBroker {
    FakeBroker::start(|packet| {
        (packet.kind == Kind::Publish && packet.number("qos") == Some(1)).then(Vec::new)
    })
}

/// Two scenarios that the forgetful broker is up to, and one that it is not.
const GOOD: [&str; 2] = ["pingreq-is-answered", "connect-is-accepted"];
const BAD: &str = "qos1-is-acknowledged";
const BAD_NAME: &str = "3.1.1/4.3-qos/qos1-is-acknowledged";

/// What a broker keeps back is not waited for long.
fn run(url: &str, arguments: &[&str]) -> Ran {
    conformance(&[&["run", url, "--deadline", "500ms", "--version", "3.1.1"], arguments].concat())
}

/// One that keeps nothing back has its time, however busy the machine is.
fn run_sol(url: &str, arguments: &[&str]) -> Ran {
    conformance(&[&["run", url, "--version", "3.1.1"], arguments].concat())
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().expect("UTF-8").to_owned()
}

/// All forms of report on the forgetful broker.
fn reports(directory: &TempDir) -> Report {
    let broker = forgetful();
    let forms =
        ["html", "junit", "json", "tap", "markdown"].map(|form| format!("{form}={}", path(directory, form)));
    let mut arguments =
        vec![GOOD[0], GOOD[1], BAD, "large-payload-arrives-whole", "--without", "large-packets"];
    for form in &forms {
        arguments.extend(["--report", form]);
    }
    run(&format!("mqtt://kit:secret@{}", broker.endpoint()), &arguments).expect(1);
    for form in ["html", "junit", "json", "tap", "markdown"] {
        assert!(!read(directory, form).contains("kit:secret"), "{form} shows the password of the URL");
    }
    json::read(&read(directory, "json")).expect("a report")
}

fn read(directory: &TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join(name)).expect(name)
}

#[test]
fn the_bundled_broker_conforms() {
    let (broker, url) = sol();
    let ran = conformance(&["run", &url, "--quiet", "--timeout-scale", "2"]).expect(0);
    broker.stop();
    assert!(ran.stdout.contains("Conforms as far as was tested"), "{}", ran.stdout);
    assert!(ran.stdout.contains("grants QoS 2"), "what was found is said: {}", ran.stdout);
}

#[test]
fn a_failure_is_exit_code_1_and_told_in_full() {
    let broker = forgetful();
    let ran = run(&url(broker.endpoint()), &[GOOD[0], BAD]).expect(1);
    for part in [
        "pass         3.1.1/3.12-ping/pingreq-is-answered",
        "fail         3.1.1/4.3-qos/qos1-is-acknowledged",
        "scenarios/4.3-qos/qos1-is-acknowledged.scenario:11 (3.1.1) FAILED",
        "expected PUBACK id=1, but nothing came within 0.50 s",
        "[MQTT-4.3.2-2]",
        "pub      >  PUBLISH topic=",
        "32 11 00",
        "Does not conform: 1 scenario fails (1 passed, 1 failed)",
    ] {
        assert!(ran.stdout.contains(part), "{part} is missing:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no colours where no terminal is");
}

#[test]
fn warnings_fail_only_when_strict() {
    let broker = FakeBroker::start(|packet| (packet.kind == Kind::Disconnect).then(Vec::new));
    let scenario = "server-should-close-after-disconnect";
    let ran = run(&url(broker.endpoint()), &[scenario]).expect(0);
    assert!(ran.stdout.contains("warning"), "{}", ran.stdout);
    let ran = run(&url(broker.endpoint()), &[scenario, "--strict"]).expect(1);
    assert!(ran.stdout.contains("WARNING (the standard says SHOULD)"), "{}", ran.stdout);
}

#[test]
fn what_comes_to_no_end_is_inconclusive() {
    let (broker, url) = sol();
    let ran = run_sol(&url, &[GOOD[0], "--scenario-limit", "0.000001"]).expect(3);
    assert!(ran.stdout.contains("inconclusive 3.1.1/3.12-ping"), "{}", ran.stdout);
    let ran = run_sol(&url, &["keep-alive-0-never-ends", "--run-limit", "50ms"]).expect(3);
    assert!(ran.stdout.contains("the run's time limit of 50ms was over"), "{}", ran.stdout);
    broker.stop();
}

#[test]
fn a_run_in_which_all_is_skipped_proves_nothing() {
    let (broker, url) = sol();
    let ran = run_sol(&url, &["retained-message-is-replaced", "--without", "retain"]).expect(3);
    broker.stop();
    assert!(
        ran.stdout.contains("(needs retain: the broker refuses it, or it is said to lack it)")
            && ran.stdout.contains("Nothing was run"),
        "{}",
        ran.stdout
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let nowhere = "mqtt://127.0.0.1:1";
    for (arguments, part) in [
        (&["run"][..], "<URL>"),
        (&["run", "here"], "not of the form mqtt://"),
        (&["run", nowhere, "qos2"], "no scenario is called qos2; `*qos2*` would pick"),
        (&["run", nowhere, "--assume", "wings"], "not one of"),
        (&["run", nowhere, "--report", "pdf=x"], "html=PATH, junit=PATH"),
        (&["run", nowhere, "--version", "4"], "3.1.1 or 5.0"),
        (&["run", nowhere, "--deadline", "soon"], "500ms, 2s or 10m"),
        (&["run", "mqtts://127.0.0.1:1", "--ca", "/nowhere"], "/nowhere"),
        (&["run", nowhere, "--password", "alone"], "without"),
        (&["run", nowhere, "--scenarios", "/nowhere"], "cannot read /nowhere"),
        (&["run", nowhere, "--baseline", "/nowhere"], "cannot read /nowhere"),
        (&["run", nowhere, "4", "--skip", "4"], "nothing is selected"),
        (&["play", "/nowhere", nowhere], "cannot read /nowhere"),
        (&["explain", "MQTT-9.9.9-9"], "is no statement"),
        (&["explain", "nonsense"], "is not of the form MQTT-3.1.2-24"),
        (&["show", "9.9"], "`conformance list` names them all"),
        (&["self-test", nowhere, "--version", "4"], "3.1.1 or 5.0"),
        (&["compare", "/nowhere"], "/nowhere: "),
    ] {
        let ran = conformance(arguments).expect(2);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
}

/// One line each, and exit code 3.
fn cannot_run(url: &str, part: &str) {
    let ran = run(url, &[]).expect(3);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(part), "{part} is missing: {}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn nobody_there_is_said() {
    cannot_run(&url(nobody()), "refused");
}

#[test]
fn a_broker_that_is_still_starting_is_waited_for() {
    let address = nobody();
    let waiting = std::thread::spawn(move || run(&url(address), &[GOOD[0], "--wait", "60s"]));
    let broker = sol::Broker::start(sol::Config::on(address)).expect("starts");
    waiting.join().expect("ran").expect(0);
    broker.stop();
}

#[test]
fn a_web_server_is_recognised() {
    let answer = |mut stream: TcpStream| {
        let mut request = [0; 64];
        let got = stream.read(&mut request).unwrap_or(0);
        if request[..got].starts_with(b"GET ") {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("written");
        }
        stream
    };
    cannot_run(&url(serving(answer)), "is a web server, not an MQTT broker");
}

#[test]
fn who_wants_a_password_is_said() {
    let refuse = Packet::new(Kind::Connack).with("session_present", 0u64).with("reason", 5u64);
    let broker = FakeBroker::start(move |packet| {
        (packet.kind == Kind::Connect).then(|| vec![Reply::Send(refuse.clone()), Reply::Close])
    });
    cannot_run(&url(broker.endpoint()), "reason=5");
}

#[test]
fn credentials_come_by_option_or_in_the_url() {
    let refuse = Packet::new(Kind::Connack).with("session_present", 0u64).with("reason", 4u64);
    let broker = FakeBroker::start(move |packet| {
        let is_known = packet.bytes("username") == Some(b"kit") && packet.bytes("password") == Some(b"p@ss");
        (packet.kind == Kind::Connect && !is_known).then(|| vec![Reply::Send(refuse.clone()), Reply::Close])
    });
    let open = url(broker.endpoint());
    let ran = run(&open, &[GOOD[0], "--username", "kit", "--password", "p@ss"]).expect(0);
    assert!(ran.stdout.contains("no clients without credentials"), "{}", ran.stdout);
    let ran = run(&format!("mqtt://kit:p%40ss@{}", broker.endpoint()), &[GOOD[0]]).expect(0);
    assert!(ran.stdout.starts_with("mqtt://kit@127.0.0.1:"), "{}", ran.stdout);
    let ran = run(&open, &[GOOD[0], "--username", "kit", "--password", "wrong"]).expect(3);
    assert!(
        ran.stderr.contains("refuses the user \"kit\"") && !ran.stderr.contains("wrong"),
        "{}",
        ran.stderr
    );
}

#[test]
fn who_never_answers_is_said() {
    cannot_run(&url(serving(|stream| stream)), "it sends nothing in time");
}

/// Accepts for ever; what `serve` returns stays open.
fn serving(serve: impl Fn(TcpStream) -> TcpStream + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            open.push(std::thread::spawn(move || serve(stream)));
        }
    });
    address
}

#[test]
fn json_holds_everything() {
    let directory = directory();
    let report = reports(&directory);
    assert_eq!(report.scenarios.len(), 4);
    assert_eq!(
        (report.count(Grade::Pass), report.count(Grade::Fail), report.count(Grade::Skipped)),
        (2, 1, 1)
    );
    assert_eq!(report.statements.len(), 141);
    assert!(report.scenarios.iter().all(|case| case.trace.is_empty() == (case.verdict == Grade::Skipped)));

    let bad = report.scenarios.iter().find(|case| case.name == BAD_NAME).expect("it ran");
    let failure = bad.failure.as_ref().expect("it failed");
    assert_eq!((failure.line, failure.expected.as_str()), (11, "PUBACK id=1"));
    let verdict = |id: &str| report.statements.iter().find(|row| row.id == id).expect(id).verdict;
    assert_eq!(verdict("MQTT-4.3.2-2"), Some(Grade::Fail));
    assert_eq!(verdict("MQTT-3.12.4-1"), Some(Grade::Pass));
    assert_eq!(verdict("MQTT-3.1.0-1"), None);
    assert!(report.statements.iter().all(|row| row.verdict.is_some() != row.reason.is_some()));

    // For programs: plain names on top.
    let value: serde_json::Value = serde_json::from_str(&read(&directory, "json")).expect("JSON");
    assert_eq!(value["counts"]["fail"], 1);
    assert_eq!(value["broker"]["found"]["maximum_qos"], 2);
    assert_eq!(value["scenarios"].as_array().map(Vec::len), Some(4));
}

#[test]
fn junit_is_read_by_a_parser() {
    let directory = directory();
    reports(&directory);
    let text = read(&directory, "junit");
    let document = roxmltree::Document::parse(&text).expect("XML");
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "testsuites");
    assert_eq!(
        ["tests", "failures", "skipped", "errors"].map(|name| root.attribute(name)),
        ["4", "1", "1", "0"].map(Some)
    );
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(cases.len(), 4);
    let bad = cases.iter().find(|case| case.attribute("name") == Some(BAD_NAME)).expect("it ran");
    let failure = bad.children().find(|node| node.has_tag_name("failure")).expect("it failed");
    assert_eq!(failure.attribute("message"), Some("expected PUBACK id=1, but nothing came within 0.50 s"));
    assert!(failure.text().is_some_and(|text| text.contains(">  PUBLISH")), "{text}");
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("skipped")).count(), 1);
}

#[test]
fn tap_keeps_to_its_grammar() {
    let directory = directory();
    reports(&directory);
    let text = read(&directory, "tap");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    assert_eq!(lines.next(), Some("1..4"));
    let (mut tests, mut failed, mut skipped, mut in_yaml) = (0, 0, 0, false);
    for line in lines {
        match line {
            "  ---" if !in_yaml => in_yaml = true,
            "  ..." if in_yaml => in_yaml = false,
            field if in_yaml => {
                let (name, value) = field.trim_start().split_once(": ").expect("a field");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{field}");
                serde_json::from_str::<String>(value).expect("a quoted string");
            }
            test => {
                let (is_ok, rest) = match test.strip_prefix("not ") {
                    Some(rest) => (false, rest),
                    None => (true, test),
                };
                tests += 1;
                failed += u32::from(!is_ok);
                skipped += u32::from(rest.contains(" # SKIP needs large-packets: "));
                assert!(rest.starts_with(&format!("ok {tests} - 3.1.1/")), "{line}");
            }
        }
    }
    assert_eq!((tests, failed, skipped, in_yaml), (4, 1, 1, false));
}

#[test]
fn markdown_has_table_and_failure() {
    let directory = directory();
    reports(&directory);
    let text = read(&directory, "markdown");
    assert!(text.starts_with("# MQTT conformance of `mqtt://kit@127.0.0.1:"), "{text}");
    assert!(text.contains("| section | pass | fail | skipped |\n|---|---:|---:|---:|\n"), "{text}");
    assert!(text.contains("| 4.3-qos |  | 1 |  |"), "{text}");
    assert_eq!(text.matches("<details>").count(), 1);
    assert_eq!(text.matches("</details>").count(), 1);
    assert_eq!(text.matches("```").count(), 2);
}

#[test]
fn a_report_may_go_to_standard_output() {
    let broker = forgetful();
    let ran = run(&url(broker.endpoint()), &[GOOD[0], "--report", "json=-"]).expect(0);
    assert_eq!(json::read(&ran.stdout).expect("JSON alone").scenarios.len(), 1);
    assert!(ran.stderr.contains("Conforms as far as was tested"), "{}", ran.stderr);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let broker = forgetful();
    let ran = run(&url(broker.endpoint()), &[GOOD[0], "--report", "tap=/dev/null/x"]).expect(3);
    assert!(ran.stderr.contains("cannot write /dev/null/x"), "{}", ran.stderr);
}

#[test]
fn a_baseline_holds_in_both_directions() {
    let directory = directory();
    let baseline = path(&directory, "known.txt");
    let bad = forgetful();
    run(&url(bad.endpoint()), &[GOOD[0], BAD, "--write-baseline", &baseline]).expect(1);
    let text = read(&directory, "known.txt");
    assert!(text.contains(&format!("{BAD_NAME}  # MQTT-4.3.2-2")), "{text}");

    // What is known to fail is no failure, but still shown.
    let json = path(&directory, "json");
    let report = format!("json={json}");
    let ran =
        run(&url(bad.endpoint()), &[GOOD[0], BAD, "--baseline", &baseline, "--report", &report]).expect(0);
    assert!(
        ran.stdout.contains("No unexpected failure (1 passed, 1 failed; 1 expected by the baseline)"),
        "{}",
        ran.stdout
    );
    let known = json::read(&read(&directory, "json")).expect("a report");
    assert!(known.scenarios.iter().any(|case| case.baseline.is_some() && case.verdict == Grade::Fail));

    // Another failure is one.
    fs::write(
        directory.path().join("other.txt"),
        format!("{} # no reason\n", "3.12-ping/pingreq-is-answered"),
    )
    .expect("written");
    let other = path(&directory, "other.txt");
    run(&url(bad.endpoint()), &[BAD, "--baseline", &other]).expect(1);

    // What no longer fails must leave the baseline.
    let (good, good_url) = sol();
    let ran = run_sol(&good_url, &[GOOD[0], BAD, "--baseline", &baseline]).expect(1);
    assert!(ran.stdout.contains(&format!("{BAD_NAME} passes, though the baseline says")), "{}", ran.stdout);
    // Unless it fails only now and then.
    fs::write(&baseline, format!("?{BAD_NAME} # in most runs\n")).expect("written");
    run_sol(&good_url, &[GOOD[0], BAD, "--baseline", &baseline]).expect(0);
    run(&url(bad.endpoint()), &[GOOD[0], BAD, "--baseline", &baseline]).expect(0);
    good.stop();
}

#[test]
fn a_mistake_in_a_baseline_is_said_where_it_is() {
    let directory = directory();
    fs::write(directory.path().join("known.txt"), "# head\n4.3-qos/no-such # reason\n").expect("written");
    let file = path(&directory, "known.txt");
    let ran = conformance(&["run", "mqtt://127.0.0.1:1", "--baseline", &file]).expect(2);
    assert!(ran.stderr.contains(&format!("{file}:2: 4.3-qos/no-such is no scenario")), "{}", ran.stderr);
}

#[test]
fn a_failure_can_be_played_again() {
    let directory = directory();
    let repro = path(&directory, "repro");
    let bad = forgetful();
    run(&url(bad.endpoint()), &[GOOD[0], BAD, "--repro", &repro]).expect(1);
    let files: Vec<PathBuf> =
        fs::read_dir(&repro).expect("written").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files, [Path::new(&repro).join("3.1.1-4.3-qos-qos1-is-acknowledged.scenario")]);
    let file = files[0].to_str().expect("UTF-8");
    assert!(fs::read_to_string(file).expect("there").contains("# expected PUBACK id=1, but nothing came"));

    let play = |url: &str| conformance(&["play", file, url, "--deadline", "500ms", "--version", "3.1.1"]);
    let ran = play(&url(bad.endpoint())).expect(1);
    assert!(ran.stdout.contains(&format!("{file}:11 (3.1.1) FAILED")), "{}", ran.stdout);
    let (good, good_url) = sol();
    let ran = play(&good_url).expect(0);
    good.stop();
    assert!(ran.stdout.contains("passed") && ran.stdout.contains("<  PUBACK id=65535"), "{}", ran.stdout);
}

#[test]
fn other_scenarios_may_be_used() {
    let directory = directory();
    fs::create_dir(directory.path().join("9-own")).expect("made");
    let text = "# Own.\nproves 3.1.1 [MQTT-3.12.4-1]\nraw a\na > CONNECT\na < CONNACK reason=0\n";
    fs::write(directory.path().join("9-own/greets.scenario"), text).expect("written");
    let own = directory.path().to_str().expect("UTF-8");
    assert_eq!(
        conformance(&["list", "--scenarios", own]).expect(0).stdout,
        "3.1.1/9-own/greets  MQTT-3.12.4-1\n"
    );
    let broker = forgetful();
    run(&url(broker.endpoint()), &["--scenarios", own]).expect(0);
}

#[test]
fn lists_scenarios_and_statements() {
    let all = conformance(&["list"]).expect(0).stdout;
    assert!(all.lines().count() > 150, "{all}");
    assert!(all.lines().all(|line| line.starts_with("3.1.1/") || line.starts_with("5.0/")), "{all}");
    let some = conformance(&["list", "4.3", "--version", "3.1.1"]).expect(0).stdout;
    assert!(
        some.contains("3.1.1/4.3-qos/qos2-several-at-once  ") && some.lines().count() < all.lines().count()
    );

    let statements = conformance(&["list", "--statements", "--version", "3.1.1"]).expect(0).stdout;
    assert_eq!(statements.lines().filter(|line| line.starts_with("  MQTT-")).count(), 141);
    assert!(statements.contains("MQTT-2.3.1-2   client  none: binds the client"), "{statements}");
    assert!(!statements.contains("there is no scenario yet"), "{statements}");
    let statements = conformance(&["list", "--statements", "--version", "5.0"]).expect(0).stdout;
    assert_eq!(statements.lines().filter(|line| line.starts_with("  MQTT-")).count(), 251);
}

/// The versions have sections and statements of the same numbers.
#[test]
fn the_versions_stand_apart() {
    let (directory, broker) = (directory(), forgetful());
    let page = format!("html={}", path(&directory, "html"));
    let arguments = ["run", &url(broker.endpoint()), GOOD[0], "--report", &page];
    let ran = conformance(&arguments).expect(0);
    assert!(ran.stdout.contains("3.1.1 3.12-ping") && ran.stdout.contains("5.0 3.12-ping"), "{}", ran.stdout);
    let page = read(&directory, "html");
    for part in ["id=\"s-3.1.1-3.12-ping\"", "id=\"s-5.0-3.12-ping\"", "href=\"#5.0-MQTT-3.12.4-1\""] {
        assert!(page.contains(part), "{part}");
    }
    for id in ["3.1.1-MQTT-3.12.4-1", "5.0-MQTT-3.12.4-1"] {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn explains_and_shows() {
    let text = conformance(&["explain", "mqtt-3.1.2-24"]).expect(0).stdout;
    for part in [
        "MQTT-3.1.2-24 of MQTT 3.1.1",
        "binds:      the server",
        "3.1-connect/keep-alive-ends-a-silent-connection",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let none = conformance(&["explain", "MQTT-2.3.1-2", "--version", "3.1.1"]).expect(0).stdout;
    assert!(none.contains("no scenario: binds the client"), "{none}");
    let shown = conformance(&["show", BAD]).expect(0).stdout;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/4.3-qos/qos1-is-acknowledged.scenario");
    assert_eq!(shown, fs::read_to_string(file).expect("there"));
}

/// Whether this peer is there; else the test is skipped, visibly, or fails where it is demanded.
fn has(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
        assert!(!is_required, "{name} is not installed");
        // Not by `eprintln!`, which is shown of failed tests only.
        let reason = format!("SKIPPED: {name} is not installed\n");
        std::io::stderr().write_all(reason.as_bytes()).expect("written");
    }
    found
}

/// The page as Chromium has it after loading, and its picture.
fn opened_in_chromium(directory: &TempDir, page: &str) -> String {
    let profile = path(directory, "profile");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--no-first-run", "--dump-dom"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("file://{}", path(directory, page)))
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_page_opens_in_chromium() {
    if !has("chromium") {
        return;
    }
    let directory = directory();
    reports(&directory);
    fs::rename(directory.path().join("html"), directory.path().join("page.html")).expect("renamed");
    let dom = opened_in_chromium(&directory, "page.html");
    assert_eq!(dom.matches("<div class=\"statement ").count(), 141);
    assert_eq!(dom.matches("<details class=\"scenario ").count(), 4);
    assert!(dom.contains("<div class=\"statement fail\" id=\"3.1.1-MQTT-4.3.2-2\">"));
    assert!(dom.contains("<div class=\"statement pass\" id=\"3.1.1-MQTT-3.12.4-1\">"));
    assert!(dom.contains(&format!("<details class=\"scenario fail\" id=\"{BAD_NAME}\" open=\"\">")));
    assert_eq!(dom.matches("<svg class=\"chart\"").count(), 3);
    // The script ran: it shows the filters that stand hidden in the file.
    assert!(read(&directory, "page.html").contains("<form class=\"filter\" data-of=\"statement\" hidden>"));
    assert!(dom.contains("<form class=\"filter\" data-of=\"statement\">"));
}

#[test]
fn a_page_needs_nothing_else() {
    let directory = directory();
    reports(&directory);
    let page = read(&directory, "html");
    for outside in ["src=", "<link", "@import", "url(", "http://", "https://"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn brokers_stand_side_by_side() {
    let directory = directory();
    let (good, good_url) = sol();
    let bad = forgetful();
    let report = |name: &str| format!("json={}", path(&directory, name));
    for name in ["a.json", "c.json"] {
        run_sol(&good_url, &[GOOD[0], BAD, "--report", &report(name)]).expect(0);
    }
    run(&url(bad.endpoint()), &[GOOD[0], BAD, "--report", &report("b.json")]).expect(1);
    good.stop();
    let files = ["a.json", "b.json", "c.json"].map(|name| path(&directory, name));
    let page = path(&directory, "page.html");
    let ran = conformance(&["compare", &files[0], &files[1], &files[2], "--html", &page]).expect(0);
    assert!(
        ran.stdout.contains(&format!("A pass          B fail          C pass          {BAD_NAME}")),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("1 scenarios have the same verdict wherever they ran"), "{}", ran.stdout);

    let read_page = || {
        if has("chromium") {
            opened_in_chromium(&directory, "page.html")
        } else {
            read(&directory, "page.html")
        }
    };
    let dom = read_page();
    assert_eq!(dom.matches("<section class=\"broker\">").count(), 3);
    assert_eq!(dom.matches("<div class=\"statement ").count(), 141);
    assert_eq!(dom.matches("<details class=\"of\"").count(), 6);
}
