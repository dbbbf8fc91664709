//! The command `sol`, run as the process it is.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal};

use super::eventually;

/// `sol` on a free port, killed if the test fails.
pub(crate) struct Sol {
    process: Child,
    stderr: BufReader<ChildStderr>,
    /// The first line of its log.
    pub(crate) greeting: String,
    pub(crate) address: SocketAddr,
}

impl Sol {
    pub(crate) fn start() -> Self {
        let mut process = sol(&["-p", "0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut greeting = String::new();
        stderr.read_line(&mut greeting).unwrap();
        let (_, behind) = greeting.split_once(" listens on ").unwrap_or_else(|| panic!("{greeting:?}"));
        let address = behind.split_whitespace().next().unwrap().parse().unwrap();
        Self { process, stderr, greeting, address }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for the end. Gives the exit code and what was printed since the first line.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        eventually("the process ends", || self.process.try_wait().unwrap().is_some());
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap().code(), log)
    }
}

impl Drop for Sol {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

pub(crate) fn sol(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sol"));
    command.args(arguments).stdin(Stdio::null());
    command
}
