//! The real `sol`, as a child process on a free port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long the broker may take to say where it listens, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running broker; killed if the test ends before [`Broker::stop`].
pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
    log: Receiver<String>,
    past: Vec<String>,
}

impl Broker {
    /// Starts a broker and waits until it listens.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sol"))
            .args(["-p", "0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot start the broker");
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line, log) = channel();
        // Ends with the broker, which closes the pipe.
        thread::spawn(move || {
            stderr
                .split(b'\n')
                .map_while(Result::ok)
                .try_for_each(|text| line.send(String::from_utf8_lossy(&text).into_owned()))
        });
        let mut past = Vec::new();
        let address = loop {
            let text = log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("does not listen: {past:#?}"));
            let address =
                text.split_once("listens on ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            past.push(text);
            if let Some(address) = address {
                break address;
            }
        };
        Self { child, address, log, past }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&mut self) -> &[String] {
        self.past.extend(self.log.try_iter());
        &self.past
    }

    /// Asks it to stop, and gives its whole log. It must have lived until now, end well, and never have panicked.
    pub(crate) fn stop(mut self) -> Vec<String> {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the broker ended by itself with {status}: {:#?}", self.last_lines());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the broker did not stop: {:#?}", self.last_lines());
            thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "the broker ended with {status}: {:#?}", self.last_lines());
        let log: Vec<_> = std::mem::take(&mut self.past).into_iter().chain(self.log.iter()).collect();
        let panics: Vec<_> = log.iter().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "the broker panicked: {panics:#?}");
        log
    }

    fn last_lines(&mut self) -> Vec<String> {
        let log = self.log();
        log[log.len().saturating_sub(20)..].to_vec()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
