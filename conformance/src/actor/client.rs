//! A `client` actor: rumqttc, behind a pipe of the kit's own.
//!
//! rumqttc talks to a loopback port; the pipe passes every frame on and writes it down. So a client's trace shows the same
//! bytes as a raw actor's, what comes is judged by the kit's decoder and not by rumqttc, and the network can be cut.
//!
//! ```text
//! rumqttc ── loopback ── upstream thread ──▶ broker
//!    ▲                                          │
//!    └──────────── reading thread ◀─────────────┘   (wire.rs)
//! ```

mod v3;
mod v5;

use std::fmt::Display;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::allowed::Allowed;
use super::wire::{Connection, Owner, lock};
use crate::Version;
use crate::frame::{Kind, Packet, Side, decode::Frames};
use crate::trace::Direction;
use crate::transport::{Endpoint, Transport};

/// Why a client does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker or the loopback cannot be reached.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    /// rumqttc takes no part in this.
    #[error("rumqttc refuses: {0}")]
    Refused(String),
    /// Nothing was written in time.
    #[error("rumqttc sent no {0} in time")]
    NotSent(Kind),
}

/// rumqttc, playing an actor.
#[derive(Debug)]
pub struct Played {
    client: Box<dyn Speaker>,
    /// The kinds of the frames that passed on their way to the broker.
    passed: Receiver<Kind>,
    loopback: TcpStream,
}

/// rumqttc's client of one version.
trait Speaker: std::fmt::Debug + Send {
    /// Has it send this packet.
    fn send(&self, packet: &Packet) -> Result<(), ClientError>;
}

/// How many packets rumqttc queues and accepts, and their greatest size in bytes.
const QUEUED_PACKETS: usize = 256;
const MAX_PACKET_BYTES: usize = 16 * 1024 * 1024;

/// Connects as `connect`, a CONNECT with the fields a client can have, says. Returns once CONNECT is on its way.
///
/// # Errors
/// The broker cannot be reached, or rumqttc would not send this.
pub fn connect(
    endpoint: &Endpoint,
    owner: Owner,
    connect: &Packet,
    deadline: Duration,
) -> Result<Connection, ClientError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let client = match owner.version {
        Version::V3_1_1 => v3::start(connect, port, &owner)?,
        Version::V5_0 => v5::start(connect, port, &owner)?,
    };
    let loopback = accept(&listener, deadline)?;
    loopback.set_nodelay(true)?;
    let mut connection = Connection::open(endpoint, owner.clone(), Some(loopback.try_clone()?), deadline)?;
    let (passed_sender, passed) = channel();
    let (reading, writer, allowed) = (loopback.try_clone()?, connection.transport(), connection.allowed());
    thread::spawn(move || upstream(reading, &owner, &allowed, &*writer, &passed_sender));
    let played = Played { client, passed, loopback };
    played.await_passed(Kind::Connect, deadline)?;
    connection.played = Some(played);
    Ok(connection)
}

impl Played {
    /// Has rumqttc send this packet, and returns once it is on its way.
    ///
    /// # Errors
    /// rumqttc would not send it.
    pub fn send(&self, packet: &Packet, deadline: Duration) -> Result<(), ClientError> {
        // What it did by itself so far does not count.
        while self.passed.try_recv().is_ok() {}
        self.client.send(packet)?;
        self.await_passed(packet.kind, deadline)
    }

    fn await_passed(&self, kind: Kind, deadline: Duration) -> Result<(), ClientError> {
        let until = Instant::now() + deadline;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.passed.recv_timeout(left) {
                Ok(passed) if passed == kind => return Ok(()),
                Ok(_) => {}
                Err(_) => return Err(ClientError::NotSent(kind)),
            }
        }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.loopback.shutdown(Shutdown::Both);
    }
}

/// rumqttc's own connection: it comes at once or not at all.
fn accept(listener: &TcpListener, deadline: Duration) -> std::io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let until = Instant::now() + deadline;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Passes on what rumqttc sends, frame by frame.
fn upstream(
    mut stream: TcpStream,
    owner: &Owner,
    allowed: &Mutex<Allowed>,
    broker: &dyn Transport,
    passed: &Sender<Kind>,
) {
    let mut frames = Frames::of(Side::Client, owner.version);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        frames.push(buffer.get(..length).unwrap_or_default());
        for frame in frames.by_ref() {
            owner.trace.frame(&owner.name, Direction::Sent, frame.packet.as_ref(), &frame.bytes);
            if let Ok(packet) = &frame.packet {
                lock(allowed).sent(packet);
            }
            if broker.write_all(&frame.bytes).is_err() {
                return;
            }
            if let Ok(packet) = frame.packet {
                let _ = passed.send(packet.kind);
            }
        }
    }
}

/// A field that rumqttc wants as text.
fn text(packet: &Packet, name: &str) -> Result<String, ClientError> {
    as_text(name, packet.bytes(name).unwrap_or_default())
}

fn as_text(name: &str, bytes: &[u8]) -> Result<String, ClientError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| refused(format!("`{name}` is not UTF-8")))
}

/// Drives rumqttc until its first error, and notes that unless it `is_end`: a new connection is a new client.
fn follow<T, E: Display>(
    events: impl Iterator<Item = Result<T, E>>,
    is_end: impl Fn(&E) -> bool,
    owner: &Owner,
) {
    if let Some(error) = events.filter_map(Result::err).next().filter(|error| !is_end(error)) {
        owner.trace.note(&owner.name, format!("rumqttc: {error}"));
    }
}

fn refused(what: impl Into<String>) -> ClientError {
    ClientError::Refused(what.into())
}
