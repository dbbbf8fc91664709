//! Programs that others wrote. A test that needs one that is not installed is skipped with a word on standard error, and
//! is a failure where `SOL_REQUIRE_PEERS=1`.

use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};

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
