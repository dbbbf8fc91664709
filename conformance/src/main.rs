//! `conformance`: holds an MQTT broker to the standard.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main()
}
