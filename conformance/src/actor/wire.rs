//! One connection of an actor: writes frames, and has a thread that reads, decodes and dates what comes.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::allowed::Allowed;
use crate::Version;
use crate::frame::{Packet, Side, decode::Frame, decode::Frames, encode::encode};
use crate::trace::{Direction, Trace};
use crate::transport::{Endpoint, Transport};

/// Something came on a connection.
#[derive(Clone, Debug)]
pub struct Event {
    /// The actor's place in its scenario.
    pub actor: usize,
    /// Which of the actor's connections, from 1.
    pub connection: u64,
    /// When it was read.
    pub at: Instant,
    /// Its place in the trace.
    pub place: usize,
    /// What.
    pub what: Came,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A packet.
    Packet(Packet),
    /// A frame that is no packet, and why.
    Malformed(String),
    /// The end of the connection, and how it ended.
    Closed(String),
}

/// Whose connection it is and where its events go.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The actor's place in its scenario.
    pub actor: usize,
    /// Its name.
    pub name: String,
    /// Which of its connections, from 1.
    pub connection: u64,
    /// What is spoken.
    pub version: Version,
    /// Where everything is written down.
    pub trace: Arc<Trace>,
    /// Where events go.
    pub events: Sender<Event>,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// In pieces of so many bytes, if that is not 0. Each is a write, and over WebSocket a frame.
    pub chunk: usize,
    /// Each of these in fragments of so many bytes, if that is not 0: only over WebSocket, where they are frames of one
    /// message.
    pub fragment: usize,
    /// As text: only over WebSocket, where it is wrong.
    pub text: bool,
}

/// An open connection to the broker. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    owner: Owner,
    transport: Arc<dyn Transport>,
    allowed: Arc<Mutex<Allowed>>,
    /// Nothing is ever sent here: it ends when the reading thread does.
    reader_ended: Receiver<()>,
    /// rumqttc's side, if rumqttc plays the actor.
    pub(super) played: Option<super::client::Played>,
}

impl Connection {
    /// Connects; what comes goes to `owner.events`, and as it is to `copy`.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn open(
        endpoint: &Endpoint,
        owner: Owner,
        copy: Option<TcpStream>,
        deadline: Duration,
    ) -> io::Result<Self> {
        let transport = endpoint.connect(deadline).inspect_err(|error| {
            // The broker was there, and did something wrong.
            if error.kind() == io::ErrorKind::InvalidData {
                owner.trace.frame(&owner.name, Direction::Came, Err(&error.to_string()), &[]);
            }
        })?;
        let allowed = Arc::<Mutex<Allowed>>::default();
        let (reading, held) = (transport.clone(), allowed.clone());
        let (running, reader_ended) = channel::<()>();
        let reader = owner.clone();
        thread::spawn(move || {
            read_all(&*reading, &reader, &held, copy);
            drop(running);
        });
        Ok(Connection { owner, transport, allowed, reader_ended, played: None })
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone()
    }

    /// What its CONNECT allows the broker.
    pub(super) fn allowed(&self) -> Arc<Mutex<Allowed>> {
        self.allowed.clone()
    }

    /// Which of the actor's connections this is, from 1.
    pub fn number(&self) -> u64 {
        self.owner.connection
    }

    /// rumqttc's handle, if rumqttc plays the actor.
    pub fn played(&self) -> Option<&super::client::Played> {
        self.played.as_ref()
    }

    /// Sends a packet.
    pub fn send(&self, packet: &Packet) {
        let bytes = encode(packet, self.owner.version);
        self.note_sent(Some(packet), &bytes);
        self.write(&bytes, Manner::default());
    }

    /// Writes down that this is sent: a packet, or bytes that are none.
    pub fn note_sent(&self, what: Option<&Packet>, bytes: &[u8]) {
        let Owner { name, trace, .. } = &self.owner;
        if let Some(packet) = what {
            lock(&self.allowed).sent(packet);
        }
        match what {
            Some(packet) => trace.frame(name, Direction::Sent, Ok(packet), bytes),
            None => trace.bytes(name, Direction::Sent, bytes),
        };
    }

    /// Writes bytes in this manner. A broker that has already closed is not an error here: it shows in what comes.
    pub fn write(&self, bytes: &[u8], manner: Manner) {
        let pieces = if manner.chunk == 0 { bytes.len().max(1) } else { manner.chunk };
        for piece in bytes.chunks(pieces) {
            let sent = match manner {
                Manner { text: true, .. } => self.transport.write_text(piece),
                Manner { fragment: 0, .. } => self.transport.write_all(piece),
                Manner { fragment, .. } => self.transport.write_fragments(piece, fragment),
            };
            if let Err(error) = sent {
                self.owner.trace.note(&self.owner.name, format!("not sent: {error}"));
                return;
            }
        }
    }

    /// The network goes away: no more bytes from here. Waits up to `patience` for the broker to have noticed.
    pub fn drop_network(self, patience: Duration) {
        self.owner.trace.note(&self.owner.name, "the network goes away");
        let _ = self.transport.finish();
        let _ = self.reader_ended.recv_timeout(patience);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.transport.close();
    }
}

pub(super) fn lock(allowed: &Mutex<Allowed>) -> MutexGuard<'_, Allowed> {
    allowed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads until the end, telling and copying everything.
fn read_all(transport: &dyn Transport, owner: &Owner, allowed: &Mutex<Allowed>, mut copy: Option<TcpStream>) {
    let mut frames = Frames::of(Side::Broker, owner.version);
    let mut buffer = vec![0; 64 * 1024];
    let tell = |place, what| {
        let Owner { actor, connection, .. } = *owner;
        // Nobody listens any more once the scenario is over.
        let _ = owner.events.send(Event { actor, connection, at: Instant::now(), place, what });
    };
    let how = loop {
        let bytes = match transport.read(&mut buffer) {
            Ok(0) => break "end of stream".to_owned(),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let how = error.to_string();
                if error.kind() == io::ErrorKind::InvalidData {
                    tell(owner.trace.note(&owner.name, how.clone()), Came::Malformed(how.clone()));
                }
                break how;
            }
        };
        frames.push(bytes);
        for frame in frames.by_ref() {
            let Frame { bytes, packet } = frame;
            let admitted = packet.clone().and_then(|packet| lock(allowed).admit(packet, bytes.len()));
            let shown = admitted.as_ref().and(packet.as_ref());
            let place = owner.trace.frame(&owner.name, Direction::Came, shown, &bytes);
            tell(
                place,
                match admitted {
                    Ok(packet) => Came::Packet(packet),
                    Err(reason) => Came::Malformed(reason),
                },
            );
        }
        if let Some(client) = &mut copy {
            let _ = client.write_all(bytes);
        }
    };
    let how = match frames.rest() {
        [] => how,
        rest => format!("{how}, within a packet of which {} bytes came", rest.len()),
    };
    tell(owner.trace.note(&owner.name, format!("closed: {how}")), Came::Closed(how));
    if let Some(client) = copy {
        let _ = client.shutdown(Shutdown::Both);
    }
}
