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

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rumqttc::{Client, LastWill, MqttOptions, QoS, SubscribeFilter};

use super::wire::{Connection, Owner};
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
    client: Handle,
    /// The kinds of the frames that passed on their way to the broker.
    passed: Receiver<Kind>,
    loopback: TcpStream,
}

/// `rumqttc::Client` has no `Debug`.
struct Handle(Client);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
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
    let options = options(connect, listener.local_addr()?.port())?;
    let (client, mut events) = Client::new(options, QUEUED_PACKETS);

    let remarks = owner.clone();
    thread::spawn(move || {
        // A new connection is a new client: the first error ends this one.
        for event in events.iter() {
            match event {
                Ok(_) => {}
                Err(rumqttc::ConnectionError::MqttState(rumqttc::StateError::ConnectionAborted)) => break,
                Err(error) => {
                    remarks.trace.note(&remarks.name, format!("rumqttc: {error}"));
                    break;
                }
            }
        }
    });

    let loopback = accept(&listener, deadline)?;
    loopback.set_nodelay(true)?;
    let mut connection = Connection::open(endpoint, owner.clone(), Some(loopback.try_clone()?), deadline)?;
    let (passed_sender, passed) = channel();
    let (reading, writer) = (loopback.try_clone()?, connection.transport());
    thread::spawn(move || upstream(reading, &owner, &*writer, &passed_sender));
    let played = Played { client: Handle(client), passed, loopback };
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
        let Handle(client) = &self.client;
        let sent = match packet.kind {
            Kind::Publish => {
                let qos = qos(packet.number("qos"))?;
                let retain = packet.number("retain") == Some(1);
                let payload = packet.bytes("payload").unwrap_or_default();
                client.try_publish(text(packet, "topic")?, qos, retain, payload)
            }
            Kind::Subscribe => client.try_subscribe_many(filters(packet)?),
            Kind::Unsubscribe => client.try_unsubscribe(text(packet, "topic")?),
            Kind::Disconnect => client.try_disconnect(),
            kind => return Err(ClientError::Refused(format!("a client is not told to send {kind}"))),
        };
        sent.map_err(|error| ClientError::Refused(error.to_string()))?;
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
fn upstream(mut stream: TcpStream, owner: &Owner, broker: &dyn Transport, passed: &Sender<Kind>) {
    let mut frames = Frames::of(Side::Client, owner.version);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        frames.push(buffer.get(..length).unwrap_or_default());
        for frame in frames.by_ref() {
            owner.trace.frame(&owner.name, Direction::Sent, frame.packet.as_ref(), &frame.bytes);
            if broker.write_all(&frame.bytes).is_err() {
                return;
            }
            if let Ok(packet) = frame.packet {
                let _ = passed.send(packet.kind);
            }
        }
    }
}

fn options(connect: &Packet, port: u16) -> Result<MqttOptions, ClientError> {
    let refused = |what: &str| ClientError::Refused(what.to_owned());
    let client_id = text(connect, "client_id")?;
    let clean = connect.number("clean") != Some(0);
    if client_id.is_empty() && !clean {
        return Err(refused("an empty client identifier with clean=0"));
    }
    let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
    options
        .set_clean_session(clean)
        .set_keep_alive(Duration::from_secs(connect.number("keep_alive").unwrap_or(60)))
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if connect.bytes("will_topic").is_some() || connect.bytes("will_payload").is_some() {
        let payload = connect.bytes("will_payload").unwrap_or_default();
        let retain = connect.number("will_retain") == Some(1);
        options.set_last_will(LastWill::new(
            text(connect, "will_topic")?,
            payload,
            qos(connect.number("will_qos"))?,
            retain,
        ));
    }
    if connect.bytes("username").is_some() || connect.bytes("password").is_some() {
        options.set_credentials(text(connect, "username")?, text(connect, "password")?);
    }
    Ok(options)
}

fn text(packet: &Packet, name: &str) -> Result<String, ClientError> {
    String::from_utf8(packet.bytes(name).unwrap_or_default().to_vec())
        .map_err(|_| ClientError::Refused(format!("`{name}` is not UTF-8")))
}

fn qos(number: Option<u64>) -> Result<QoS, ClientError> {
    match number.unwrap_or(0) {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(ClientError::Refused(format!("QoS {other}"))),
    }
}

fn filters(packet: &Packet) -> Result<Vec<SubscribeFilter>, ClientError> {
    let mut filters: Vec<SubscribeFilter> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, value, filters.last_mut()) {
            ("topic", crate::frame::Value::Bytes(topic), _) => {
                let path = String::from_utf8(topic.clone());
                let path = path.map_err(|_| ClientError::Refused("`topic` is not UTF-8".to_owned()))?;
                filters.push(SubscribeFilter::new(path, QoS::AtMostOnce));
            }
            ("qos", crate::frame::Value::Number(number), Some(filter)) => filter.qos = qos(Some(*number))?,
            _ => {}
        }
    }
    Ok(filters)
}
