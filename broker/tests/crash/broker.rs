//! A broker that is killed and started again on the same directory and port.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{PATIENCE, Port};

/// Which broker, and how it is to keep things.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// With `persistence_sync` so, or without persistence.
    Sol { sync: Option<&'static str> },
    /// Debian's, with `persistence true`; without a time it saves every half an hour.
    Mosquitto { autosave_seconds: Option<u32> },
}

impl Kind {
    pub(crate) fn name(self) -> String {
        match self {
            Kind::Sol { sync: Some(sync) } => format!("sol, persistence_sync {sync}"),
            Kind::Sol { sync: None } => "sol, persistence false".into(),
            Kind::Mosquitto { autosave_seconds: None } => "mosquitto, persistence true".into(),
            Kind::Mosquitto { autosave_seconds: Some(seconds) } => {
                format!("mosquitto, autosave_interval {seconds}")
            }
        }
    }

    /// How long a round may last, and how many acknowledgements at most: longer where a broker only saves now and then.
    pub(crate) fn longest_round(self) -> (Duration, usize) {
        match self {
            Kind::Mosquitto { autosave_seconds: Some(seconds) } => {
                (Duration::from_secs(2 * u64::from(seconds)), 10_000)
            }
            _ => (Duration::from_millis(60), 400),
        }
    }

    /// Whether anything lost is its fault.
    pub(crate) fn promises_durability(self) -> bool {
        matches!(self, Kind::Sol { sync: Some(_) })
    }

    fn config(self, port: u16, directory: &str) -> String {
        match self {
            Kind::Sol { sync: Some(sync) } => format!(
                "ip_port {port}\npersistence true\npersistence_location {directory}/store\npersistence_sync {sync}\n"
            ),
            Kind::Sol { sync: None } => format!("ip_port {port}\npersistence false\n"),
            Kind::Mosquitto { autosave_seconds } => {
                let autosave = autosave_seconds.map(|seconds| format!("autosave_interval {seconds}\n"));
                // Its queue has 1000 messages otherwise, and what did not fit would look as if a crash had lost it.
                format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 1000000\n\
                     persistence true\npersistence_location {directory}/\n{}",
                    autosave.unwrap_or_default()
                )
            }
        }
    }

    fn command(self, config: &str) -> Command {
        let program = match self {
            Kind::Sol { .. } => env!("CARGO_BIN_EXE_sol"),
            Kind::Mosquitto { .. } => "mosquitto",
        };
        let mut command = Command::new(program);
        command.args(["-c", config]);
        command
    }
}

/// It is killed for the last time when this is dropped.
pub(crate) struct Broker {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    process: Option<Child>,
    directory: TempDir,
    _port: Port,
}

impl Broker {
    /// Not started yet.
    pub(crate) fn new(kind: Kind) -> Self {
        let port = Port::new();
        let address = port.address();
        let directory = tempfile::tempdir().unwrap();
        let config = kind.config(address.port(), directory.path().to_str().unwrap());
        fs::write(directory.path().join("broker.conf"), config).unwrap();
        Self { kind, address, process: None, directory, _port: port }
    }

    /// Starts the process, and waits for nothing.
    pub(crate) fn spawn(&mut self) {
        let config = self.directory.path().join("broker.conf");
        let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut command = self.kind.command(config.to_str().unwrap());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    /// Starts the process, and waits until it takes connections.
    pub(crate) fn start(&mut self) {
        self.spawn();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.as_mut().and_then(|process| process.try_wait().unwrap()) {
                panic!("{} ended with {status}:\n{}", self.kind.name(), self.log());
            }
            assert!(Instant::now() < deadline, "{} does not listen:\n{}", self.kind.name(), self.log());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// kill -9. If the broker ended by itself before, that is a failure of its own.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(status) = process.try_wait().unwrap() {
            panic!("{} ended by itself with {status}:\n{}", self.kind.name(), self.log());
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// The last lines it printed, in all its lives.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.directory.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            _ = process.kill();
            _ = process.wait();
        }
    }
}
