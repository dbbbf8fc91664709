//! `a > …`

use super::stage::Run;
use super::{Fault, contains};
use crate::actor::{self, Connection, Manner, Owner};
use crate::frame::{Kind, Packet, Value, encode::encode};
use crate::scenario::{Action, ActorKind, PacketText, Send, Step, variables};

/// A CONNECT that has one of these is not given the target's credentials.
const CREDENTIALS: [&str; 4] = ["username", "password", "username_flag", "password_flag"];

impl Run<'_> {
    pub(super) fn send(&mut self, actor: usize, what: &Send) -> Result<(), Fault> {
        match what {
            Send::Drop => {
                if let Some(connection) = self.cast(actor)?.leave() {
                    connection.drop_network(self.target.deadline / 4);
                }
                Ok(())
            }
            Send::Packet(text) if self.cast(actor)?.kind == ActorKind::Client => {
                let packet = self.packet(actor, text)?;
                self.send_client(actor, &packet)
            }
            Send::Packet(_) | Send::Hex(_) => {
                let (bytes, manner) = self.frame(actor, what)?;
                self.connection(actor)?.write(&bytes, manner);
                Ok(())
            }
        }
    }

    /// `at once { … }`: one write for all of them.
    pub(super) fn at_once(&mut self, steps: &[Step]) -> Result<(), Fault> {
        let mut frames = Vec::new();
        if let Some(actor) = self.frames(steps, &mut frames)? {
            self.connection(actor)?.write(&frames, Manner::default());
        }
        Ok(())
    }

    /// Adds the frames of these steps, and says whose they are.
    fn frames(&mut self, steps: &[Step], frames: &mut Vec<u8>) -> Result<Option<usize>, Fault> {
        let mut sender = None;
        let version = self.version;
        for step in steps.iter().filter(|step| step.is_in(version)) {
            match &step.action {
                Action::Send { actor, what } => {
                    frames.append(&mut self.frame(*actor, what)?.0);
                    sender = Some(*actor);
                }
                Action::Repeat(times, inner) => {
                    let before = self.bindings.clone();
                    let times = times.resolve(&self.bindings);
                    let times =
                        times.map_err(|unbound| Fault::new("a number of times", unbound.to_string()))?;
                    for round in 1..=times {
                        self.bindings.insert(variables::ROUND.to_owned(), round.into());
                        sender = self.frames(inner, frames)?.or(sender);
                    }
                    self.bindings = before;
                }
                Action::Expect(_) | Action::AnyOrder(_) | Action::AtOnce(_) | Action::Restart => {}
            }
        }
        Ok(sender)
    }

    /// What a raw actor is about to write, noted as sent, and how.
    fn frame(&mut self, actor: usize, what: &Send) -> Result<(Vec<u8>, Manner), Fault> {
        let (packet, bytes) = match what {
            Send::Packet(text) => {
                let packet = self.packet(actor, text)?;
                let bytes = encode(&packet, self.version);
                (Some(packet), bytes)
            }
            Send::Hex(bytes) => (None, bytes.clone()),
            Send::Drop => (None, Vec::new()),
        };
        self.connection(actor)?.note_sent(packet.as_ref(), &bytes);
        let bent = |packet: &Packet| {
            packet.kind == Kind::Disconnect
                || ["cut", "length", "length_bytes", "text"]
                    .iter()
                    .any(|name| packet.all(name).next().is_some())
        };
        if packet.as_ref().is_none_or(bent) {
            self.cast(actor)?.can_ping = false;
        }
        let number = |name| packet.as_ref().and_then(|packet| packet.number(name)).unwrap_or(0);
        let manner = Manner {
            chunk: number("chunk") as usize,
            fragment: number("fragment") as usize,
            text: number("text") != 0,
        };
        Ok((bytes, manner))
    }

    fn send_client(&mut self, actor: usize, packet: &Packet) -> Result<(), Fault> {
        let deadline = self.target.deadline;
        let refused =
            |error: actor::ClientError| Fault::new(format!("{} to be sent", packet.kind), error.to_string());
        if packet.kind == Kind::Connect {
            let owner = self.new_owner(actor)?;
            let connection =
                actor::connect_client(&self.target.endpoint, owner, packet, deadline).map_err(refused)?;
            self.cast(actor)?.connection = Some(connection);
            return Ok(());
        }
        let cast = self.cast(actor)?;
        match cast.connection.as_ref().and_then(Connection::played) {
            Some(played) => played.send(packet, deadline).map_err(refused)?,
            None => return Err(Fault::new(format!("{} to be sent", packet.kind), "it is not connected")),
        }
        if packet.kind == Kind::Disconnect {
            cast.can_ping = false;
        }
        Ok(())
    }

    /// A raw actor's connection, opened if there is none.
    fn connection(&mut self, actor: usize) -> Result<&Connection, Fault> {
        if self.cast(actor)?.connection.is_none() {
            let owner = self.new_owner(actor)?;
            let opened = Connection::open(&self.target.endpoint, owner, None, self.target.deadline);
            let opened =
                opened.map_err(|error| Fault::new("a connection", format!("there is none: {error}")))?;
            self.cast(actor)?.connection = Some(opened);
        }
        let cast = self.cast(actor)?;
        cast.connection.as_ref().ok_or_else(|| Fault::new("a connection", "there is none"))
    }

    fn new_owner(&mut self, actor: usize) -> Result<Owner, Fault> {
        let (version, trace, events) = (self.version, self.trace.clone(), self.sender.clone());
        let cast = self.cast(actor)?;
        drop(cast.leave());
        cast.connections += 1;
        Ok(Owner { actor, name: cast.name.clone(), connection: cast.connections, version, trace, events })
    }

    /// The packet as sent: values worked out, this version's fields only, defaults that differ by actor filled in.
    fn packet(&mut self, actor: usize, text: &PacketText) -> Result<Packet, Fault> {
        let mut packet = Packet::new(text.kind);
        for field in text.fields.iter().filter(|field| field.field.is_in(self.version)) {
            for value in &field.values {
                let value = value.resolve(field.field.of, &self.token, &self.bindings);
                let value = value.map_err(|unbound| Fault::new("a value", unbound.to_string()))?;
                packet.fields.push((field.field.name, value));
            }
        }
        let has = |name| packet.all(name).next().is_some();
        match text.kind {
            Kind::Connect if !has("client_id") => {
                let id = self.token.clone() + &self.cast(actor)?.name;
                packet.fields.push(("client_id", Value::from(id.as_str())));
            }
            Kind::Publish if packet.number("qos").unwrap_or(0) == 0 => {}
            Kind::Publish | Kind::Subscribe | Kind::Unsubscribe if !has("id") => {
                let cast = self.cast(actor)?;
                if cast.kind == ActorKind::Raw {
                    cast.last_id = cast.last_id.checked_add(1).unwrap_or(1);
                    packet.fields.insert(0, ("id", Value::Number(cast.last_id.into())));
                }
            }
            _ => {}
        }
        if text.kind == Kind::Connect
            && !CREDENTIALS.iter().any(|name| packet.all(name).next().is_some())
            && let Some(credentials) = &self.target.credentials
        {
            credentials.sign(&mut packet);
        }
        self.left.remember(&packet);
        if packet.kind == Kind::Subscribe && self.has_others_topics(&packet) {
            self.cast(actor)?.hears_others = true;
        }
        Ok(packet)
    }

    /// Whether a topic in the packet may match or name what belongs to others.
    fn has_others_topics(&self, packet: &Packet) -> bool {
        packet.all("topic").any(|topic| match topic {
            Value::Bytes(topic) => !contains(topic, self.token.as_bytes()),
            Value::Number(_) => false,
        })
    }
}
