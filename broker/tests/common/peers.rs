//! Programs that others wrote. A test that needs one that is not installed is skipped with a word on standard error, and
//! is a failure where `SOL_REQUIRE_PEERS=1`.

use std::io::Write;
use std::process::{Command, ExitStatus, Stdio};

/// Whether to go on with a test that needs a program.
pub(crate) fn has(name: &str, is_installed: bool) -> bool {
    if !is_installed {
        let is_required = std::env::var("SOL_REQUIRE_PEERS").is_ok_and(|required| required == "1");
        assert!(!is_required, "{name} is not installed");
        // Not by `eprintln!`, which is shown of failed tests only.
        let reason = format!("SKIPPED: {name} is not installed\n");
        std::io::stderr().write_all(reason.as_bytes()).unwrap();
    }
    is_installed
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
