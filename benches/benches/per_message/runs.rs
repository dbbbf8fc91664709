//! A broker under a program that counts, twice.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use benches::load::{Load, Naps, Plan, Terms};

/// Of the long run.
const TIME: Duration = Duration::from_secs(5);

/// How a counter is started, given the file to write to.
pub(crate) type Counter = fn(&Path) -> Command;

/// The text that a counter left of each run, and how many messages were moved.
pub(crate) struct Counted {
    pub(crate) messages: u64,
    pub(crate) text: String,
}

/// A run that ends with its first messages, and a long one.
pub(crate) fn both(counter: Counter, plan: Plan) -> io::Result<[Counted; 2]> {
    Ok([run(counter, plan, Duration::ZERO)?, run(counter, plan, TIME)?])
}

fn run(counter: Counter, plan: Plan, time: Duration) -> io::Result<Counted> {
    let directory = tempfile::tempdir()?;
    let [configuration, counted] = ["sol.conf", "counted"].map(|name| directory.path().join(name));
    fs::write(&configuration, "ip_address 127.0.0.1\nip_port 0\n")?;
    let mut command = counter(&counted);
    command.arg(env!("CARGO_BIN_EXE_serve")).arg(&configuration);
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let program = command.get_program().to_string_lossy().into_owned();
    let mut process = started.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let mut line = String::new();
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    // Without an address the process has ended, and says why below.
    let moved = line.trim().parse().ok().map(|address| {
        let mut load = Load::open(address, &Terms::default(), plan)?;
        load.run(time, Naps::Auto)
    });
    // It stops where its input ends, and the counter with it.
    drop(process.stdin.take());
    let output = process.wait_with_output()?;
    let complaint = || io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
    let messages = moved.ok_or_else(complaint)??.messages;
    if !output.status.success() {
        return Err(complaint());
    }
    Ok(Counted { messages, text: fs::read_to_string(counted)? })
}
