//! Programs that others wrote. A test that needs one that is not installed is skipped with a word on standard error, and
//! is a failure where `SOL_REQUIRE_PEERS=1`.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};

use super::{Running, running};

/// Whether to go on with a test that needs a program.
pub(crate) fn has(name: &str, is_installed: bool) -> bool {
    if !is_installed {
        let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
        assert!(!is_required, "{name} is not installed");
        skipped(&format!("{name} is not installed"));
    }
    is_installed
}

/// Whether to go on with a test that needs a right, which a CI need not have.
pub(crate) fn may(what: &str, is_allowed: bool) -> bool {
    if !is_allowed {
        skipped(&format!("this process may not {what}"));
    }
    is_allowed
}

/// Whether to go on with a test that needs a right, which the gate has.
pub(crate) fn can(what: &str, is_possible: bool) -> bool {
    let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
    assert!(is_possible || !is_required, "this process cannot {what}");
    may(what, is_possible)
}

fn skipped(reason: &str) {
    // Not by `eprintln!`, which is shown of failed tests only.
    std::io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes()).unwrap();
}

/// How a program ended; none if there is no such program.
pub(crate) fn exit_status(program: &str, arguments: &[&str]) -> Option<ExitStatus> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()
}

pub(crate) fn has_mosquitto() -> bool {
    ["mosquitto_pub", "mosquitto_sub"]
        .iter()
        .all(|program| has(program, exit_status(program, &["--help"]).is_some()))
}

/// One of mosquitto's programs at work.
pub(crate) fn mosquitto(program: &str, broker: SocketAddr, arguments: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &broker.port().to_string()]).args(arguments).stdin(Stdio::piped());
    running(command)
}

/// What a program printed that ended well.
pub(crate) fn stdout(program: Running) -> String {
    let output = program.output();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// paho-mqtt, for the first Python 3.
pub(crate) fn has_paho() -> bool {
    const VERSION_2: &str = "from paho.mqtt.enums import CallbackAPIVersion";
    has("paho-mqtt 2 for python3", is_success("python3", &["-c", VERSION_2]))
}

/// MQTT.js, where `node` finds it.
pub(crate) fn has_mqtt_js() -> bool {
    has("MQTT.js for node", is_success("node", &["-e", "require('mqtt')"]))
}

fn is_success(program: &str, arguments: &[&str]) -> bool {
    exit_status(program, arguments).is_some_and(|status| status.success())
}
