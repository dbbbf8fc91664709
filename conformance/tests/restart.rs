//! `broker > restart`, and the brokers that the kit starts for it.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

#[path = "bundled/process.rs"]
mod process;

use std::process::{Command, ExitCode, Output, Stdio};

use conformance::instance::free_port;
use conformance::report::json;
use conformance::verdict::Grade;
use libtest_mimic::{Arguments, Trial};

/// Scenarios that ask for nothing that outlives a process.
const SCENARIOS: [&str; 2] = ["restart-ends-clean-sessions", "restart-brings-back-no-discarded-session"];

fn main() -> ExitCode {
    if let Some(code) = process::serve_if_told() {
        return code;
    }
    let test = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let tests = vec![
        test("each_scenario_has_a_broker_of_its_own", each_scenario_has_a_broker_of_its_own),
        test(
            "one_broker_is_restarted_by_one_after_the_other",
            one_broker_is_restarted_by_one_after_the_other,
        ),
        test("without_a_command_they_are_skipped", without_a_command_they_are_skipped),
        test("a_command_that_is_none_is_said", a_command_that_is_none_is_said),
        test("a_broker_that_does_not_start_is_said", a_broker_that_does_not_start_is_said),
        test("a_broker_that_does_not_come_back_fails", a_broker_that_does_not_come_back_fails),
        test("nobody_else_is_taken_for_the_broker", nobody_else_is_taken_for_the_broker),
        test("a_single_file_is_played_too", a_single_file_is_played_too),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn conformance(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BROKER_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).output().expect("it starts")
}

/// Runs against the broker that this command starts. In the command `SOL` is the program of the bundled one.
fn run(command: &str, arguments: &[&str]) -> (i32, String) {
    let port = free_port().expect("a port");
    let url = format!("mqtt://127.0.0.1:{port}");
    let program = process::command(false).expect("a program")[0].clone();
    let command = command.replace("SOL", &format!("'{program}'")).replace("PORT", &port.to_string());
    let ran = conformance(&[&["run", &url, "--broker-command", &command], arguments].concat());
    let text = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (ran.status.code().expect("no signal"), text)
}

fn each_scenario_has_a_broker_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let report = directory.path().join("report.json").to_string_lossy().into_owned();
    let page = directory.path().join("report.html").to_string_lossy().into_owned();
    let (json, html) = (format!("json={report}"), format!("html={page}"));
    let arguments = [&SCENARIOS, ["--report", &json].as_slice(), &["--report", &html]].concat();
    let (code, text) = run("SOL serve {port}", &arguments);
    assert_eq!(code, 0, "{text}");
    let report = json::read(&std::fs::read_to_string(report).expect("a report")).expect("JSON");
    assert_eq!(report.count(Grade::Pass), 4, "{text}");
    for case in &report.scenarios {
        let told =
            |what: &str| case.trace.iter().any(|line| line.actor == "broker" && line.what.starts_with(what));
        assert!(told("killed") && told("accepts connections again after"), "{case:?}");
    }
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("accepts connections again after"));
}

fn one_broker_is_restarted_by_one_after_the_other() {
    let (code, text) = run("SOL serve PORT", &[&SCENARIOS, ["4.3-qos/qos1*", "3.12"].as_slice()].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("pass         5.0/4.1-state/restart-ends-clean-sessions"), "{text}");
}

fn without_a_command_they_are_skipped() {
    let broker = sol::Broker::start(sol::Config::on(([127, 0, 0, 1], 0).into())).expect("starts");
    let ran = conformance(&["run", &format!("mqtt://{}", broker.local_addr()), SCENARIOS[0]]);
    broker.stop();
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    assert_eq!(ran.status.code(), Some(3), "{text}");
    assert!(text.contains("(needs a broker that the kit can restart: see --broker-command)"), "{text}");
    let listed = String::from_utf8(conformance(&["list", SCENARIOS[0]]).stdout).expect("UTF-8");
    assert_eq!(listed.lines().filter(|line| line.ends_with("(restarts the broker)")).count(), 2, "{listed}");
}

fn a_command_that_is_none_is_said() {
    for (command, message) in
        [("", "\"\" is no command"), ("SOL 'open", "is no command: words as in a shell")]
    {
        let (code, text) = run(command, &SCENARIOS);
        assert!(code == 2 && text.contains(message), "{command}: {code} {text}");
    }
    let ran = conformance(&["run", "unix:///nowhere", "--broker-command", "broker {port}"]);
    let text = String::from_utf8(ran.stderr).expect("UTF-8");
    assert!(ran.status.code() == Some(2) && text.contains("/nowhere has no port for {port}"), "{text}");
}

fn a_broker_that_does_not_start_is_said() {
    for (command, wait, message) in [
        ("/no/such/broker", "30s", "cannot start /no/such/broker: "),
        (
            "sh -c 'echo first; echo the reason >&2; exit 7'",
            "30s",
            "sh ended by itself (exit status: 7):\n  first\n  the reason",
        ),
        ("sh -c 'echo asleep; exec sleep 60'", "500ms", "sh does not accept connections at 127.0.0.1:"),
    ] {
        let (code, text) = run(command, &["--wait", wait]);
        assert!(code == 3 && text.contains(message), "{command}: {code} {text}");
    }
}

fn a_broker_that_does_not_come_back_fails() {
    let script = "test -e {dir}/once && exit 7; touch {dir}/once; exec \"$0\" serve {port}";
    let (code, text) = run(&format!("sh -c '{script}' SOL"), &SCENARIOS[..1]);
    assert_eq!(code, 1, "{text}");
    let message = "expected the broker to start again, but sh ended by itself (exit status: 7)";
    assert!(text.contains("broker > restart\n") && text.contains(message), "{text}");
}

fn nobody_else_is_taken_for_the_broker() {
    let other = sol::Broker::start(sol::Config::on(([127, 0, 0, 1], 0).into())).expect("starts");
    let url = format!("mqtt://{}", other.local_addr());
    let ran = conformance(&["run", &url, "--broker-command", "sleep 60"]);
    other.stop();
    let text = String::from_utf8(ran.stderr).expect("UTF-8");
    assert!(ran.status.code() == Some(3) && text.contains("something listens at 127.0.0.1:"), "{text}");
}

fn a_single_file_is_played_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("own.scenario");
    let text = "proves 3.1.1 [MQTT-3.1.4-4]\nraw a\na > CONNECT\na < CONNACK reason=0\nbroker > restart\na > CONNECT\na < CONNACK reason=0\n";
    std::fs::write(&file, text).expect("written");
    let url = format!("mqtt://127.0.0.1:{}", free_port().expect("a port"));
    let program = process::command(false).expect("a program")[0].clone();
    let command = format!("'{program}' serve {{port}}");
    let ran = conformance(&["play", &file.to_string_lossy(), &url, "--broker-command", &command]);
    let text = String::from_utf8(ran.stdout).expect("UTF-8");
    assert_eq!(ran.status.code(), Some(0), "{text}");
    assert!(text.contains("broker   -  killed"), "{text}");
}
