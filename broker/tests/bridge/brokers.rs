//! The brokers at both ends.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sol::codec::{Packet, QoS, Version};
use sol::config::{Bridge, BridgeTopic, Direction, Notifications, RemoteAddress};
use sol::{Broker, Config, Limits};
use tempfile::TempDir;

use crate::common::peers::{exit_status, has};
use crate::common::{Client, PATIENCE, broker, connect};

/// A bridge that connects again at once, and tells on a topic that any broker takes.
pub(crate) fn bridge(name: &str, to: SocketAddr, topics: Vec<BridgeTopic>) -> Bridge {
    let address = RemoteAddress { host: to.ip().to_string(), port: Some(to.port()) };
    let notifications = Notifications { topic: Some(format!("state/{name}")), is_local: false };
    Bridge {
        restart: (Duration::from_millis(10), Duration::from_millis(100)),
        notifications: Some(notifications),
        ..Bridge::new(name, address, topics)
    }
}

pub(crate) fn topic(pattern: &str, direction: Direction, qos: QoS) -> BridgeTopic {
    BridgeTopic::new(pattern, direction, qos)
}

/// With what stands before it here and there.
pub(crate) fn prefixed(topic: BridgeTopic, local: &str, remote: &str) -> BridgeTopic {
    BridgeTopic { local_prefix: local.to_owned(), remote_prefix: remote.to_owned(), ..topic }
}

pub(crate) fn config(bridges: Vec<Bridge>) -> Config {
    Config { bridges, ..Config::on("127.0.0.1:0".parse().unwrap()) }
}

/// A broker with bridges.
pub(crate) fn bridging(bridges: Vec<Bridge>) -> Broker {
    Broker::start(config(bridges)).unwrap()
}

/// Waits until a broker was told that the bridge is there: whatever it subscribed to is subscribed to.
pub(crate) fn connected(at: SocketAddr, name: &str) {
    awaits_state(at, &format!("state/{name}"), b"1");
}

/// Waits until that is the state.
pub(crate) fn awaits_state(at: SocketAddr, topic: &str, state: &[u8]) {
    let mut observer =
        Client::subscribed(at, &format!("observer-{}", fastrand::u64(..)), topic, QoS::AtMostOnce);
    while observer.message() != state {}
}

/// The other end of a bridge.
pub(crate) enum Remote {
    Sol(Box<Broker>),
    Mosquitto(Mosquitto),
}

impl Remote {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Sol(broker) => broker.local_addr(),
            Self::Mosquitto(mosquitto) => mosquitto.address,
        }
    }
}

/// One of each kind.
pub(crate) fn remotes() -> Vec<Remote> {
    let mut remotes = vec![Remote::Sol(broker(Limits::default()).into())];
    if has_mosquitto_broker() {
        remotes.push(Remote::Mosquitto(Mosquitto::start("allow_anonymous true")));
    }
    remotes
}

pub(crate) fn has_mosquitto_broker() -> bool {
    // It says how it is used, and fails.
    has("mosquitto", exit_status("mosquitto", &["-h"]).is_some())
}

/// Debian's broker.
pub(crate) struct Mosquitto {
    process: Child,
    pub(crate) address: SocketAddr,
    /// For a second listener.
    pub(crate) second: SocketAddr,
    _directory: TempDir,
}

impl Mosquitto {
    /// On a free port, with more lines of configuration; `$D` is a directory of its own, `$P` a port for a second
    /// listener.
    pub(crate) fn start(more: &str) -> Self {
        Self::with_files(more, &[])
    }

    /// The same, with files beside its configuration.
    pub(crate) fn with_files(more: &str, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        loop {
            // It cannot take a free port by itself; another program may take this one first.
            let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [address, second] = sockets.map(|socket| socket.local_addr().unwrap());
            if let Some(process) = Self::serve(&directory, [address, second], more) {
                return Self { process, address, second, _directory: directory };
            }
        }
    }

    fn serve(directory: &TempDir, [address, second]: [SocketAddr; 2], more: &str) -> Option<Child> {
        let file = directory.path().join("mosquitto.conf");
        let last = if more.contains("$P") { second } else { address };
        let more =
            more.replace("$D", directory.path().to_str().unwrap()).replace("$P", &second.port().to_string());
        let config = format!(
            "listener {} 127.0.0.1\nmax_queued_messages 0\nmax_inflight_messages 100\nuser root\n{more}\n",
            address.port()
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut process = command.stderr(log).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            if TcpStream::connect(last).is_ok() {
                return Some(process);
            }
            assert!(Instant::now() < deadline, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(log.contains("in use"), "mosquitto does not start: {log}");
        None
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A client of 5.0.
pub(crate) fn client_v5(at: SocketAddr, id: &str) -> Client {
    let mut client = Client::open(at);
    client.send(&[Packet::Connect(sol::codec::Connect { version: Version::V5, ..connect(id) })]);
    assert!(matches!(client.receive(), Packet::Connack(_)));
    client
}
