//! Brokers, each in a process of its own that ends with its handle.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls_client::{ClientConfig, RootCertStore};
use sol::codec::Version;
use tempfile::TempDir;

use crate::load::{Clients, Terms};
use crate::usage;

/// From a process's start to its first CONNACK.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// Where system packages put servers, which need not be in a user's `PATH`.
const SERVER_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/// Which broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// This one.
    Sol,
    /// Eclipse mosquitto.
    Mosquitto,
    /// rumqttd, of the crate of that name.
    Rumqttd,
    /// NATS, which keeps QoS 1 and 2 in JetStream: on disk, always.
    Nats,
}

/// How a broker is to run, and so how its clients connect.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// How they connect; with [`Terms::tls`] the certificate is there too.
    pub terms: Terms,
    /// What the broker shows of itself, where it speaks TLS.
    pub identity: Option<Arc<Identity>>,
    /// Whether it is to store what outlives it.
    pub persistence: bool,
    /// Lines of Sol's configuration.
    pub sol: String,
}

/// A certificate for loopback, and its key, in files.
#[derive(Debug)]
pub struct Identity {
    directory: TempDir,
}

/// A broker that can be started.
#[derive(Debug)]
pub struct Broker {
    kind: Kind,
    program: PathBuf,
    label: String,
}

impl Kind {
    /// All, ours first.
    pub const ALL: [Self; 4] = [Self::Sol, Self::Mosquitto, Self::Rumqttd, Self::Nats];

    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sol => "sol",
            Self::Mosquitto => "mosquitto",
            Self::Rumqttd => "rumqttd",
            Self::Nats => "nats-server",
        }
    }

    /// Why it cannot run like that, if it cannot.
    fn refusal(self, setting: &Setting) -> Option<&'static str> {
        match self {
            Self::Nats if setting.terms.version == Version::V5 => Some("it speaks no MQTT 5"),
            Self::Rumqttd if setting.identity.is_some() => Some("its TLS is not set up here"),
            Self::Rumqttd if setting.persistence => Some("it stores nothing"),
            Self::Sol | Self::Mosquitto | Self::Rumqttd | Self::Nats => None,
        }
    }
}

impl Broker {
    /// Ours, for which `serve` is the command of this package.
    pub fn sol(serve: &Path) -> Self {
        Self { kind: Kind::Sol, program: serve.to_owned(), label: "sol".to_owned() }
    }

    /// One that is to be found on this machine and can run like that; else why not.
    ///
    /// # Errors
    ///
    /// What to say of the broker that is missing.
    pub fn find(kind: Kind, serve: &Path, setting: &Setting) -> Result<Self, String> {
        let name = kind.name();
        if let Some(refusal) = kind.refusal(setting) {
            return Err(format!("{name} is left out: {refusal}"));
        }
        if kind == Kind::Sol {
            return Ok(Self::sol(serve));
        }
        let program = find(name).ok_or_else(|| {
            let variable = variable(name);
            format!(
                "{name} is left out: it is neither in PATH nor where it usually is, and {variable} names none"
            )
        })?;
        let label =
            version(kind, &program).map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
        Ok(Self { kind, program, label })
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        self.kind
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
    pub fn start(&self, setting: &Setting) -> io::Result<Peer> {
        let directory = tempfile::Builder::new().prefix("sol-bench-").tempdir()?;
        // rumqttd goes by the ending, the others do not look at it.
        let file = directory.path().join("conf.toml");
        // Free when looked at. If another takes it before the broker does, that ends.
        let port = match self.kind {
            Kind::Sol => 0,
            _ => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        fs::write(&file, self.configuration(setting, port, directory.path()))?;
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Sol => command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()),
            _ => {
                command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
            }
        };
        let mut process = Process(command.spawn()?);
        let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Some(stdout) = process.0.stdout.take() {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line)?;
            address = line.trim().parse().map_err(|_| io::Error::other("serve gave no address"))?;
        }
        let mut peer = Peer { process, address, _directory: directory };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer = Clients::new(address, setting.terms.clone()).and_then(|mut probe| probe.connect(1));
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

    /// As far as the load needs it, tuned: as wide a window as any load's, no message dropped, and no log.
    fn configuration(&self, setting: &Setting, port: u16, directory: &Path) -> String {
        let directory = directory.display();
        let [certificate, key] =
            setting.identity.as_ref().map(|identity| identity.files()).unwrap_or_default();
        let [certificate, key] = [certificate.display(), key.display()];
        let tls = setting.identity.is_some();
        let only = |condition: bool, text: String| if condition { text } else { String::new() };
        match self.kind {
            Kind::Sol => {
                let tls = only(tls, format!("certfile {certificate}\nkeyfile {key}\n"));
                let stored = format!("persistence true\npersistence_location {directory}/store\n");
                let stored = only(setting.persistence, stored);
                format!("ip_address 127.0.0.1\nip_port {port}\n{tls}{stored}{}", setting.sol)
            }
            Kind::Mosquitto => {
                let tls = only(tls, format!("certfile {certificate}\nkeyfile {key}\n"));
                let stored = format!("persistence true\npersistence_location {directory}/\n");
                let stored = only(setting.persistence, stored);
                format!(
                    "listener {port} 127.0.0.1\n{tls}{stored}user root\nallow_anonymous true\n\
                     max_inflight_messages 100\nmax_queued_messages 0\nset_tcp_nodelay true\nsys_interval 0\n\
                     log_dest none\n"
                )
            }
            Kind::Rumqttd => {
                let listener = if setting.terms.version == Version::V5 { "v5.1" } else { "v4.1" };
                format!(
                    "id = 0\n[router]\nid = 0\nmax_connections = 20010\nmax_outgoing_packet_count = 200\n\
                     max_segment_size = 104857600\nmax_segment_count = 10\n[{listener}]\nname = \"bench\"\n\
                     listen = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 1\n[{listener}.connections]\n\
                     connection_timeout_ms = 60000\nmax_payload_size = 1000000\nmax_inflight_count = 100\n\
                     dynamic_filters = true\n"
                )
            }
            Kind::Nats => {
                let tls = only(tls, format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}"));
                // A port of its own protocol, which nobody uses, has to be there too.
                format!(
                    "server_name: bench\nlisten: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{directory}\" }}\n\
                     mqtt {{ listen: \"127.0.0.1:{port}\", max_ack_pending: 100, {tls} }}\n"
                )
            }
        }
    }
}

/// A broker that runs, until this is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    address: SocketAddr,
    /// Its configuration, and what it stores.
    _directory: TempDir,
}

impl Peer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to count its CPU time.
    pub fn meter(&self) -> Meter {
        let process = self.process.0.id();
        Meter { process, before: usage::cpu_time(process) }
    }

    /// Bytes of its memory that are resident, where the system tells.
    pub fn memory(&self) -> Option<u64> {
        usage::memory(self.process.0.id())
    }
}

/// What CPU time a broker had used when this began.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    process: u32,
    before: Option<Duration>,
}

impl Meter {
    /// What each of so many things took of it since, in microseconds; none where the system does not tell.
    pub fn each(&self, count: u64) -> Option<f64> {
        let used = usage::cpu_time(self.process)?.saturating_sub(self.before?);
        Some(used.as_secs_f64() * 1e6 / count as f64)
    }
}

impl Identity {
    /// A new one, and what a client must know to trust it.
    ///
    /// # Errors
    ///
    /// It cannot be made or written.
    pub fn new() -> io::Result<(Self, Arc<ClientConfig>)> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let names = vec![Ipv4Addr::LOCALHOST.to_string()];
        let certificate =
            CertificateParams::new(names).and_then(|it| it.self_signed(&key)).map_err(io::Error::other)?;
        let identity = Self { directory: tempfile::Builder::new().prefix("sol-bench-").tempdir()? };
        let [certificate_file, key_file] = identity.files();
        fs::write(certificate_file, certificate.pem())?;
        fs::write(key_file, key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls_client::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        Ok((identity, Arc::new(client)))
    }

    /// The certificate and its key, as PEM.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        ["certificate.pem", "key.pem"].map(|name| self.directory.path().join(name))
    }
}

/// Takes as many file descriptors as this process may have, and those that it starts after it.
///
/// # Errors
///
/// The system says no.
pub fn allow_many_sockets() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// A process that does not outlive its handle.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of a bench is worth a graceful end. If it has ended already, so much the better.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// What its help or version says first that begins with a digit, after its name.
fn version(kind: Kind, program: &Path) -> Option<String> {
    let argument = if kind == Kind::Mosquitto { "-h" } else { "--version" };
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = output.lines().next()?.split_whitespace().map(|word| word.trim_start_matches('v'));
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned)
}

/// `NATS_SERVER` for nats-server: where to find it, if it is nowhere else.
fn variable(program: &str) -> String {
    program.to_uppercase().replace('-', "_")
}

fn find(program: &str) -> Option<PathBuf> {
    if let Some(named) = env::var_os(variable(program)) {
        return Some(named.into());
    }
    let home = |below: &str| Some(PathBuf::from(env::var_os("HOME")?).join(below));
    // ci/peers.sh installs to the last one.
    let installed = env::var_os("PEERS").map(PathBuf::from).or_else(|| home(".cache/mqtt-peers"));
    let own = [home(".cargo/bin"), installed.map(|peers| peers.join("bin"))];
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SERVER_DIRECTORIES.map(PathBuf::from));
    let mut files = directories.chain(own.into_iter().flatten()).map(|directory| directory.join(program));
    files.find(|path| path.is_file())
}
