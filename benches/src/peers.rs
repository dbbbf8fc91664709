//! Brokers, each in a process of its own that ends with its handle.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{cpu, load};

/// From a process's start to its first CONNACK.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// Where system packages put servers, which need not be in a user's `PATH`.
const SERVER_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/// As far as the load needs it, tuned: as wide a window as the load client's, no message dropped, none stored.
const MOSQUITTO_SETTINGS: &str = "\
    allow_anonymous true\n\
    persistence false\n\
    max_inflight_messages 100\n\
    max_queued_messages 0\n\
    set_tcp_nodelay true\n\
    sys_interval 0\n\
    log_type error\n";

/// A broker that can be started.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    program: PathBuf,
    label: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Sol,
    Mosquitto,
}

impl Broker {
    /// Sol first, for which `serve` is the command of this package; then what is installed on this machine.
    pub fn all_found(serve: &Path) -> Vec<Self> {
        let sol = Self { kind: Kind::Sol, program: serve.to_owned(), label: "sol".to_owned() };
        let mosquitto = find("mosquitto").map(|program| {
            let label = mosquitto_version(&program).unwrap_or_else(|| "mosquitto".to_owned());
            Self { kind: Kind::Mosquitto, program, label }
        });
        [Some(sol), mosquitto].into_iter().flatten().collect()
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sol => "sol",
            Kind::Mosquitto => "mosquitto",
        }
    }

    /// What it is called, with the version of what is not ours.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Starts it on a free port, and waits until it accepts a client.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends, or accepts nobody for ten seconds.
    pub fn start(&self) -> io::Result<Peer> {
        let mut peer = match self.kind {
            Kind::Sol => start_sol(&self.program)?,
            Kind::Mosquitto => start_mosquitto(&self.program)?,
        };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer = load::connect(peer.address);
            // Looked at after the answer, which may have come from somebody else on the port.
            if let Some(status) = peer.process.0.try_wait()? {
                return Err(io::Error::other(format!("{} ended at its start: {status}", self.label)));
            }
            match answer {
                Ok(_) => return Ok(peer),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(RETRY),
            }
        }
    }
}

/// A broker that runs, until this is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    address: SocketAddr,
}

impl Peer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CPU time it has used so far, where the system tells.
    pub fn cpu_time(&self) -> Option<Duration> {
        cpu::time_of(self.process.0.id())
    }
}

fn start_sol(serve: &Path) -> io::Result<Peer> {
    let mut process = Process::start(Command::new(serve).stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    let stdout = process.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|_| io::Error::other("serve gave no address"))?;
    Ok(Peer { process, address })
}

fn start_mosquitto(program: &Path) -> io::Result<Peer> {
    // Free when looked at. If another takes it before mosquitto does, mosquitto ends.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let mut command = Command::new(program);
    let mut process = Process::start(command.args(["-c", "/dev/stdin"]).stdin(Stdio::piped()))?;
    // The configuration ends where the pipe is dropped.
    if let Some(mut configuration) = process.0.stdin.take() {
        write!(configuration, "listener {} {}\n{MOSQUITTO_SETTINGS}", address.port(), address.ip())?;
    }
    Ok(Peer { process, address })
}

/// Name and version, which is how its help begins.
fn mosquitto_version(program: &Path) -> Option<String> {
    let help = Command::new(program).arg("-h").stdin(Stdio::null()).output().ok()?;
    let first = String::from_utf8_lossy(&help.stdout).lines().next()?.replace(" version", "");
    Some(first).filter(|line| line.starts_with("mosquitto"))
}

/// A process that does not outlive its handle.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of a bench is worth a graceful end. If it has ended already, so much the better.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SERVER_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}
