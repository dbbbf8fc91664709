//! CONNECT, take-over, and the end of a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use log::{debug, info};
use parking_lot::Mutex;

use super::peer::{Connected, Shown};
use super::{Batch, Client, Ending, Hub, Next, Peer, Sessions, Stage};
use crate::codec::{Connack, Connect, Decoded, Error, Packet, Reason, Version, decode};
use crate::session::{Expiry, Link, Session, Terms, Will, release};

impl Hub {
    /// Handles the first packet, which must be CONNECT [MQTT-3.1.0-1]. Gives its length.
    pub(super) fn handle_first(
        &self,
        peer: &mut Peer,
        bytes: &[u8],
        now: Instant,
        batch: &mut Batch,
    ) -> Result<usize, Next> {
        let (packet, length) = match decode(bytes, None, self.limits.max_packet_bytes) {
            Ok(Decoded::Packet { packet, length }) => (packet, length),
            Ok(Decoded::Incomplete { needed }) => return Err(Next::Read(needed)),
            Err(error) => {
                let ending = match error.refusal() {
                    Some(code) => refuse(code, error.to_string(), batch),
                    None => Ending::Malformed(error),
                };
                return Err(Next::End(ending));
            }
        };
        let Packet::Connect(connect) = packet else {
            return Err(Next::End(Ending::NotConnected(packet.packet_type())));
        };
        if connect.version == Version::V5 {
            let error = Error::ProtocolLevel(5);
            return Err(Next::End(refuse(error.reason(), error.to_string(), batch)));
        }
        self.admit(peer, &connect, now, batch)?;
        batch.tally.messages_received += 1;
        self.handle_connect(peer, &connect, now, batch).map_err(Next::End)?;
        Ok(length)
    }

    fn handle_connect(
        &self,
        peer: &mut Peer,
        connect: &Connect<'_>,
        now: Instant,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let connection = self.next_number();
        let will = connect.will.as_ref().map(Will::from);
        if let Some(will) = &will {
            batch.tally.keep(&will.message);
        }
        let mut link = Link::new(connection, Terms::of(connect.version), will);
        let client = loop {
            match self.try_link(connect, link, now, batch) {
                Linked::Yes(client) => break client,
                Linked::Refused(link, code, reason) => {
                    release_will(link.will, batch);
                    return Err(refuse(code, reason.to_owned(), batch));
                }
                // The identifier was in use. Its connection is over now, and its will, if that is not delayed, goes
                // out before the new connection's first message.
                Linked::TookOver(mine, will) => {
                    link = mine;
                    self.publish_will(will, batch);
                }
            }
        };
        let linked = self.linked.fetch_add(1, Ordering::AcqRel) + 1;
        self.linked_max.fetch_max(linked, Ordering::Relaxed);
        batch.tally.connects += 1;
        batch.tally.messages_sent += 1;
        let keep_alive = connect.keep_alive;
        let connected =
            peer.connected.insert(Connected { client, connection, version: connect.version, keep_alive });
        debug!(
            "{} connected as {}: MQTT {}, clean session {}, keep alive {keep_alive} s",
            peer.origin,
            Shown(connected.client.id()),
            connect.version,
            u8::from(connect.clean_session)
        );
        Ok(())
    }

    /// Gives the session of the identifier the link, if no connection has it.
    ///
    /// It does not matter which version the session had before: a client of 5.0 goes on with a session of 3.1.1, and the
    /// reverse, and from then on the session ends as the new connection says.
    fn try_link(&self, connect: &Connect<'_>, mut link: Link, now: Instant, batch: &mut Batch) -> Linked {
        let mut sessions = self.sessions.lock();
        // Looked at under the lock: a stop finds every link that was made before it.
        if self.stopping.load(Ordering::Acquire) {
            return Linked::Refused(link, Reason::ServerUnavailable, "the broker stops");
        }
        let existing = sessions.get(connect.client_id).filter(|_| !connect.client_id.is_empty()).cloned();
        if let Some(client) = &existing {
            let mut session = client.session.lock();
            if let Some(mut old) = session.unlink(&mut batch.tally) {
                let will = session.leave(old.will.take(), now);
                batch.touched(old.wake());
                let is_over = session.is_over(now);
                if !is_over {
                    self.schedule(client, None, &session, batch);
                }
                drop(session);
                if is_over {
                    self.forget(&mut sessions, client);
                    drop(sessions);
                    self.end_session(client, batch);
                }
                return Linked::TookOver(link, will);
            }
            if !connect.clean_session && !session.is_over(now) {
                // Not sent: the client is back in time [5.0 MQTT-3.1.3-9].
                release_will(self.end_absence(client, &mut session, batch), batch);
                session.expiry = self.expiry(connect);
                accept(&mut link, connect.version, true);
                session.outbound.resume(&mut link.outbox);
                session.link = Some(link);
                session.settle(&mut batch.tally);
                drop(session);
                return Linked::Yes(Arc::clone(client));
            }
        }
        if existing.is_none() && sessions.len() >= self.limits.max_sessions {
            return Linked::Refused(
                link,
                Reason::ServerUnavailable,
                "there are as many sessions as the limit allows",
            );
        }
        // Who returns to a session may: what waits for it goes away.
        if self.memory.stage() >= Stage::Refuse {
            batch.tally.refused_connections += 1;
            return Linked::Refused(link, Reason::ServerUnavailable, "memory is short: see `max_memory`");
        }
        let id = match connect.client_id {
            "" => self.unused_identifier(|id| sessions.contains_key(id)),
            id => id.into(),
        };
        accept(&mut link, connect.version, false);
        let mut session = Session::default();
        session.expiry = self.expiry(connect);
        session.link = Some(link);
        session.settle(&mut batch.tally);
        let client =
            Arc::new(Client { id: Arc::clone(&id), key: self.next_number(), session: Mutex::new(session) });
        sessions.insert(id, Arc::clone(&client));
        self.session_count.store(sessions.len(), Ordering::Relaxed);
        drop(sessions);
        if let Some(replaced) = existing {
            let will = self.end_absence(&replaced, &mut replaced.session.lock(), batch);
            self.end_session(&replaced, batch);
            self.publish_will(will, batch);
        }
        Linked::Yes(client)
    }

    /// How long the session outlives its connection.
    fn expiry(&self, connect: &Connect<'_>) -> Expiry {
        if connect.clean_session {
            Expiry::AT_ONCE
        } else {
            Expiry::within(self.limits.persistent_client_expiration)
        }
    }

    /// An identifier for a client that sent none [MQTT-3.1.3-6]. Not to be guessed, so that nobody else takes it over.
    fn unused_identifier(&self, is_used: impl Fn(&str) -> bool) -> Arc<str> {
        loop {
            let secret = ahash::RandomState::new().hash_one(self.next_number());
            let id = format!("sol-{secret:016x}");
            if !is_used(&id) {
                return id.into();
            }
        }
    }

    /// A connection ended at `now`: its will is published, deleted or kept for later, and its session may end with it.
    pub fn close(&self, peer: Peer, ending: &Ending, now: Instant, batch: &mut Batch) {
        self.end_connection(peer, ending, now, batch);
        self.absorb(batch);
    }

    fn end_connection(&self, peer: Peer, ending: &Ending, now: Instant, batch: &mut Batch) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if ending.is_violation() {
            info!("{peer} disconnected: {ending}");
        } else {
            debug!("{peer} disconnected: {ending}");
        }
        let Some(Connected { client, connection, .. }) = peer.connected else { return };
        self.linked.fetch_sub(1, Ordering::AcqRel);
        let mut session = client.session.lock();
        if session.link_of(connection).is_none() {
            // Taken over. The new connection has seen to the rest.
            return;
        }
        let mut will = session.unlink(&mut batch.tally).and_then(|link| link.will);
        if *ending == Ending::Disconnect {
            release_will(will.take(), batch);
        }
        let will = session.leave(will, now);
        let is_over = session.is_over(now);
        if !is_over {
            self.schedule(&client, None, &session, batch);
        }
        drop(session);
        if is_over {
            self.forget(&mut self.sessions.lock(), &client);
            self.end_session(&client, batch);
        }
        self.publish_will(will, batch);
    }

    /// Nobody finds the session any more, if it still was the one of its client identifier. Says whether it was.
    pub(super) fn forget(&self, sessions: &mut Sessions, client: &Arc<Client>) -> bool {
        let is_current = sessions.get(client.id()).is_some_and(|current| Arc::ptr_eq(current, client));
        if is_current {
            sessions.remove(client.id());
            self.session_count.store(sessions.len(), Ordering::Relaxed);
        }
        is_current
    }

    /// Asks every connection to end once its outbox is written. The wills go out first, those that wait for their time
    /// too, for the sessions end with the broker: while there is somebody to hear them.
    pub fn stop(&self, batch: &mut Batch) {
        let clients: Vec<_> = {
            let sessions = self.sessions.lock();
            self.stopping.store(true, Ordering::Release);
            sessions.values().cloned().collect()
        };
        for client in &clients {
            let mut session = client.session.lock();
            let will = match &mut session.link {
                Some(link) => link.will.take(),
                None => self.end_absence(client, &mut session, batch),
            };
            drop(session);
            self.publish_will(will, batch);
        }
        for client in &clients {
            if let Some(link) = &mut client.session.lock().link {
                link.ending = true;
                batch.touched(link.wake());
            }
        }
    }
}

/// What came of an attempt to give a session a new link.
enum Linked {
    Yes(Arc<Client>),
    /// The link is given back.
    Refused(Link, Reason, &'static str),
    /// Another connection had the session. It is ended, and this is its will. To be tried again, with the link.
    TookOver(Link, Option<Will>),
}

/// CONNACK is the first packet the client gets [MQTT-3.2.0-1].
fn accept(link: &mut Link, version: Version, session_present: bool) {
    // It can always be encoded: it has no properties.
    _ = Connack::new(session_present, Reason::Success).encode(version, link.outbox.packets());
}

/// A will that is not to be published.
fn release_will(will: Option<Will>, batch: &mut Batch) {
    if let Some(will) = will {
        release(will.message, &mut batch.tally);
    }
}

/// CONNACK with a code, and the end.
pub(super) fn refuse(code: Reason, reason: String, batch: &mut Batch) -> Ending {
    _ = Connack::new(false, code).encode(Version::V311, &mut batch.replies);
    batch.tally.messages_sent += 1;
    Ending::Refused { code, reason }
}
