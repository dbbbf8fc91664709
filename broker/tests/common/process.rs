//! The command `sol`, run as the process it is.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{PATIENCE, running};

/// `sol` in the foreground, killed if the test fails.
pub(crate) struct Sol {
    process: Child,
    lines: Receiver<String>,
    /// What was printed so far.
    log: String,
    /// The line that tells of its first listener.
    pub(crate) greeting: String,
    /// The first address it listens on.
    pub(crate) address: SocketAddr,
}

impl Sol {
    /// On a free port, without a file of this machine.
    pub(crate) fn start() -> Self {
        Self::start_with(&["-c", "/dev/null", "-p", "0"])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut sol = Self::spawn(self::sol(arguments));
        sol.greeting = sol.line(" listens on ");
        sol.address = listens_on(&sol.greeting);
        sol
    }

    /// Does not wait for anything.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            lines,
            log: String::new(),
            greeting: String::new(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// The next line with this text.
    pub(crate) fn line(&mut self, with: &str) -> String {
        self.first_of(&[with])
    }

    /// The next line with one of these texts.
    pub(crate) fn first_of(&mut self, texts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {texts:?} in:\n{}", self.log));
            self.log += &format!("{line}\n");
            if texts.iter().any(|text| line.contains(text)) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the end. Gives the exit code and all that was printed.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.log += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("does not end:\n{}", self.log),
            }
        }
        (self.process.wait().unwrap().code(), std::mem::take(&mut self.log))
    }
}

impl Drop for Sol {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// The address in the line that tells of a listener; of all of this machine, 127.0.0.1.
pub(crate) fn listens_on(line: &str) -> SocketAddr {
    let (_, behind) = line.split_once(" listens on ").unwrap_or_else(|| panic!("{line:?}"));
    behind.split_whitespace().next().unwrap().replace('*', "127.0.0.1").parse().unwrap()
}

pub(crate) fn sol(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sol"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    running(sol(arguments)).output()
}

/// Its exit code, and what it said on standard output and standard error.
pub(crate) fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A directory with a configuration file.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// `$D` in the text is the directory.
    pub(crate) fn new(config: &str) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.configure(config);
        place
    }

    pub(crate) fn configure(&self, config: &str) {
        let config = config.replace("$D", self.directory.path().to_str().unwrap());
        fs::write(self.path("sol.conf"), config).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config(&self) -> String {
        self.path("sol.conf").to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `sol` with the file.
    pub(crate) fn start(&self) -> Sol {
        Sol::start_with(&["-c", &self.config()])
    }
}
