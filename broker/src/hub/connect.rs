//! CONNECT, take-over, and the end of a connection.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use log::{Level, debug, log};

use super::access::Writer;
use super::auth::{Authenticated, Said};
use super::connack::{Grant, Refusal, granted_expiry};
use super::peer::{Connected, Shown, Standing};
use super::publish::is_the_brokers;
use super::reached::{Limit, Times, Who};
use super::{Batch, CONNECTIONS, Client, Ending, Hub, Next, Peer, Redirect, Sessions, Stage};
use crate::auth::acl::Rights;
use crate::codec::{
    Connect, Decoded, Disconnect, Error, Packet, PacketType, Property, Reason, Version, connect_version,
    decode, is_of_bridge,
};
use crate::session::{Expiry, Link, Session, Terms, Visit, Will, release};
use crate::topic::Name;

impl Hub {
    /// Handles the first packet, which must be CONNECT [MQTT-3.1.0-1]. Gives its length.
    pub(super) fn handle_first(
        &self,
        peer: &mut Peer,
        bytes: &[u8],
        now: Instant,
        batch: &mut Batch,
    ) -> Result<usize, Next> {
        let (packet, length) = match decode(bytes, None, peer.limits().max_packet_bytes) {
            Ok(Decoded::Packet { packet, length }) => (packet, length),
            Ok(Decoded::Incomplete { needed }) => return Err(Next::Read(needed)),
            Err(error) => return Err(Next::End(self.refuse_malformed(bytes, error, batch))),
        };
        let Packet::Connect(connect) = packet else {
            return Err(Next::End(Ending::NotConnected(packet.packet_type())));
        };
        let terms = Terms::of_connect(&connect);
        let behind = bytes.get(length..).unwrap_or_default();
        let authenticated = match Said::of(connect.properties).method {
            None => {
                self.admit(peer, &connect, &terms, now, batch)?;
                Authenticated::default()
            }
            Some(_) => self.authenticate(peer, (&connect, &terms), behind, now, batch)?,
        };
        batch.tally.messages_received += 1;
        self.handle_connect(
            peer,
            (&connect, is_of_bridge(bytes)),
            terms,
            authenticated.last_word.as_deref(),
            now,
            batch,
        )
        .map_err(Next::End)?;
        if let Some(connected) = peer.connected() {
            self.trace_newcomer(&connected.client, Packet::Connect(connect), batch);
        }
        Ok(length + authenticated.handled)
    }

    /// A CONNECT of 5.0 that cannot be decoded is answered: with CONNACK and the code, but without a reason string, for
    /// nobody knows how large a packet the client takes. Before, only some have an answer; one of a version to come gets
    /// the one of 3.1.1, which demands it [MQTT-3.1.2-2], while 5.0 leaves it open.
    fn refuse_malformed(&self, bytes: &[u8], error: Error, batch: &mut Batch) -> Ending {
        let (version, code) = if connect_version(bytes) == Some(Version::V5) {
            let code = error.reason();
            let is_known = code.may_stand_in(PacketType::Connack);
            (Version::V5, Some(if is_known { code } else { Reason::MalformedPacket }))
        } else {
            (Version::V311, error.refusal())
        };
        match code {
            Some(code) => self.refuse(&Terms::of(version), (code, error.to_string()), None, batch),
            None => Ending::Malformed(error),
        }
    }

    fn handle_connect(
        &self,
        peer: &mut Peer,
        (connect, is_bridge): (&Connect<'_>, bool),
        terms: Terms,
        last_word: Option<&str>,
        now: Instant,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let refuse = |(code, reason): Refusal, batch: &mut Batch| {
            Err(self.refuse(&terms, (code, reason.to_owned()), Some(reason), batch))
        };
        let user = peer.user(connect);
        let grant = match self.grant(connect, &terms, last_word, (peer, user)) {
            Ok(grant) => grant,
            Err(refusal) => return refuse(refusal, batch),
        };
        if self.is_taken(peer.origin(), &grant.client_id) {
            let what = "the client identifier is a bridge's here: take another";
            return refuse((Reason::ClientIdentifierNotValid, what), batch);
        }
        let rights = peer.access.rights(user, &grant.client_id).map(Arc::new);
        let connection = self.next_number();
        // A bridge alone says in the broker's own topics that it is there.
        let will = connect.will.as_ref().filter(|will| is_bridge || !is_the_brokers(will.topic));
        let mut will = will.map(Will::from);
        will.take_if(|will| !self.may_leave(&grant.client_id, rights.as_deref(), will, now));
        if let Some(will) = &mut will {
            // Before 5.0 there is no way to say that it cannot be retained.
            will.retain &= peer.limits().retain_available;
            batch.tally.keep(will.message.bytes());
        }
        let mut link = Link::new(connection, terms, will);
        let user = user.map(|user| Box::new(user.into()));
        // Nobody has it yet.
        if let Some(visit) = triomphe::Arc::get_mut(&mut peer.visit) {
            let Grant { version, keep_alive, is_clean, .. } = grant;
            *visit = Visit {
                version,
                keep_alive,
                is_clean,
                user,
                since: now.into(),
                listener: visit.listener.take(),
                origin: visit.origin.clone(),
                traffic: mem::take(&mut visit.traffic),
            };
        }
        let client = loop {
            match self.try_link(&grant, (peer, rights.as_ref()), link, now, batch) {
                Linked::Yes(client) => break client,
                Linked::Refused(link, refusal) => {
                    release_will(link.will.map(|will| *will), batch);
                    return refuse(refusal, batch);
                }
                // The identifier was in use. Its connection is over now, and its will, if that is not delayed, goes
                // out before the new connection's first message.
                Linked::TookOver(mine, will, client) => {
                    link = mine;
                    debug!(
                        target: CONNECTIONS,
                        event = "takeover", client = &*grant.client_id, address:% = peer.origin();
                        "{} takes over {}", peer.origin(), Shown(&grant.client_id)
                    );
                    self.publish_will(will, &client, batch);
                }
            }
        };
        let linked = self.linked.fetch_add(1, Ordering::AcqRel) + 1;
        self.linked_max.fetch_max(linked, Ordering::Relaxed);
        batch.tally.connects += 1;
        batch.tally.messages_sent += 1;
        let Grant { is_clean, expiry, .. } = grant;
        let (is_greeted, has_spare) = (Cell::new(false), Cell::new(false));
        peer.set_writer(rights.map(Writer::new));
        let limits = Arc::clone(peer.limits());
        let connected = Connected { client, connection, terms, limits, is_greeted, is_bridge, has_spare };
        peer.is_let_in();
        let Visit { version, keep_alive, .. } = *peer.visit;
        debug!(
            target: CONNECTIONS,
            event = "connected", client = connected.client.id(), address:% = peer.origin(),
            user = peer.visit.user().unwrap_or_default(), protocol:% = version, clean = is_clean, keep_alive;
            "{} connected as {}: MQTT {version}, clean {}, session expiry {} s, keep alive {keep_alive} s",
            peer.origin(),
            Shown(connected.client.id()),
            u8::from(is_clean),
            expiry.seconds()
        );
        peer.standing = Standing::Client(connected);
        // It may have changed meanwhile.
        if peer.entrance.asks(&peer.access) { Ok(()) } else { self.renew(peer, now, batch) }
    }

    /// Gives the session of the identifier the link, if no connection has it.
    ///
    /// It does not matter which version the session had before: a client of 5.0 goes on with a session of 3.1.1, and the
    /// reverse, and from then on the session ends as the new connection says.
    fn try_link(
        &self,
        grant: &Grant<'_>,
        (peer, rights): (&Peer, Option<&Arc<Rights>>),
        mut link: Link,
        now: Instant,
        batch: &mut Batch,
    ) -> Linked {
        let visit = &peer.visit;
        let mut sessions = self.sessions.lock();
        // Looked at under the lock: a stop finds every link that was made before it.
        if self.stopping.load(Ordering::Acquire) {
            drop(sessions);
            let code = self.redirect.lock().as_ref().map_or(Reason::ServerUnavailable, Redirect::reason);
            return Linked::Refused(link, (code, "the broker stops"));
        }
        let existing = sessions.get(&grant.client_id).cloned();
        // Whoever has changed the entrance since they were worked out may have looked for its clients already.
        let access = peer.entrance.access();
        let rights = match Arc::ptr_eq(&access, &peer.access) {
            true => rights.cloned(),
            false => access.rights(visit.user(), &grant.client_id).map(Arc::new),
        };
        if let Some(client) = existing.as_ref().filter(|_| !grant.is_clean)
            && (rights.is_some() || client.rights().is_some())
        {
            let session = client.session.lock();
            let is_resumed = session.link.is_none() && !session.is_over(now);
            drop(session);
            if is_resumed {
                self.restrict(client, rights.clone());
            }
        }
        if let Some(client) = &existing {
            let mut session = client.session.lock();
            if let Some(mut old) = session.unlink(&mut batch.tally) {
                let will = session.leave(old.will.take().map(|will| *will), now);
                batch.touched(old.wake());
                let is_over = session.is_over(now);
                if !is_over {
                    self.record_session(client, &session);
                    self.schedule(client, None, &session, batch);
                }
                drop(session);
                if is_over {
                    self.forget(&mut sessions, client);
                    drop(sessions);
                    self.end_session(client, batch);
                }
                return Linked::TookOver(link, will, Arc::clone(client));
            }
            if !grant.is_clean && !session.is_over(now) {
                // Not sent: the client is back in time [5.0 MQTT-3.1.3-9].
                release_will(self.end_absence(client, &mut session, batch), batch);
                // That the client is back, and its will, too; unless that cannot be stored, and the rest is as it was.
                if session.expiry != grant.expiry || !self.cannot_store() {
                    session.promise();
                }
                session.expiry = grant.expiry;
                grant.accept(true, session.promised, &mut link.outbox);
                match &rights {
                    None => session.outbound.resume(&mut link.outbox, now),
                    Some(rights) => {
                        let may_read = |topic: Name<'_>| rights.may_read(topic);
                        let dropped = session.outbound.resume_readable(&mut link.outbox, may_read, now);
                        self.reached.count_times(Limit::Acl, dropped);
                    }
                }
                session.set_rights_bytes(rights.as_ref().map_or(0, |rights| rights.bytes()));
                session.link = Some(link);
                session.visited(client.id(), visit.clone());
                self.record_session(client, &session);
                session.settle(&mut batch.tally);
                drop(session);
                return Linked::Yes(Arc::clone(client));
            }
        }
        if existing.is_none() && sessions.len() >= self.limits.read().max_sessions {
            return Linked::Refused(
                link,
                (Reason::QuotaExceeded, "there are as many sessions as the limit allows"),
            );
        }
        // That its session is over is a promise, too.
        let ended = existing.as_ref().and_then(|replaced| {
            let replaced = replaced.session.lock();
            replaced.log().map(|log| log.journal().group())
        });
        if (grant.expiry != Expiry::AT_ONCE || ended.is_some()) && self.cannot_store() {
            let what = "sessions cannot be stored, for the disk of the broker is full or fails";
            return Linked::Refused(link, (Reason::ServerUnavailable, what));
        }
        // Who returns to a session may: what waits for it goes away.
        if self.memory.stage() >= Stage::Refuse {
            batch.tally.refused_connections += 1;
            return Linked::Refused(link, (Reason::ServerBusy, "memory is short: see `max_memory`"));
        }
        let id = grant.client_id.as_ref();
        let mut session = Session::of_client(id, grant.expiry, link);
        session.set_rights_bytes(rights.as_ref().map_or(0, |rights| rights.bytes()));
        let client = Arc::new(Client::new(id.into(), self.next_number(), session));
        client.set_rights(rights);
        let mut session = client.session.lock();
        session.visited(client.id(), visit.clone());
        self.record_begin(&client, &mut session);
        let promised = session.promised.max(ended.unwrap_or(0));
        if let Some(link) = &mut session.link {
            grant.accept(false, promised, &mut link.outbox);
        }
        session.settle(&mut batch.tally);
        drop(session);
        sessions.insert(Arc::clone(&client));
        self.session_count.store(sessions.len(), Ordering::Relaxed);
        drop(sessions);
        if let Some(replaced) = existing {
            let will = self.end_absence(&replaced, &mut replaced.session.lock(), batch);
            self.end_session(&replaced, batch);
            self.publish_will(will, &replaced, batch);
        }
        Linked::Yes(client)
    }

    /// An identifier for a client that sent none [MQTT-3.1.3-6]. Not to be guessed, so that nobody else takes it over.
    pub(super) fn unused_identifier(&self, prefix: &str) -> String {
        loop {
            let secret = ahash::RandomState::new().hash_one(self.next_number());
            let id = format!("{prefix}{secret:016x}");
            if self.sessions.lock().get(&id).is_none() {
                return id;
            }
        }
    }

    /// What DISCONNECT of a client means.
    pub(super) fn handle_disconnect(&self, connected: &Connected, disconnect: &Disconnect<'_>) -> Ending {
        let mut expiries = disconnect.properties.iter().filter_map(|property| match property {
            Property::SessionExpiryInterval(seconds) => Some(Expiry::from_seconds(seconds)),
            _ => None,
        });
        if let Some(asked) = expiries.next() {
            let mut session = connected.client.session.lock();
            if session.link_of(connected.connection).is_none() {
                return Ending::TakenOver;
            }
            // §3.14.2.2.2: what was to end with the connection cannot be kept any more.
            if session.expiry == Expiry::AT_ONCE && asked != Expiry::AT_ONCE {
                let what =
                    "DISCONNECT with a session expiry interval, which was 0 in CONNECT (section 3.14.2.2.2)";
                return Ending::Violation { reason: Reason::ProtocolError, what: what.into() };
            }
            session.expiry = granted_expiry(&connected.limits, asked);
            self.record_session(&connected.client, &session);
        }
        match disconnect.reason {
            Reason::Success => Ending::Disconnect,
            reason => Ending::DisconnectWith(reason),
        }
    }

    /// A connection ended at `now`: its will is published, deleted or kept for later, and its session may end with it.
    pub fn close(&self, peer: Peer, ending: &Ending, now: Instant, batch: &mut Batch) {
        let turn = self.turn();
        batch.at(now).in_turn(turn.as_ref());
        self.end_connection(&peer, ending, now, batch);
        batch.end_turn();
        drop(turn);
        self.absorb(batch);
        // Last, so that who sees one connection less sees all that came of its end.
        self.leave(peer.origin());
        peer.entrance.leave();
        if peer.is_connected() {
            self.linked.fetch_sub(1, Ordering::AcqRel);
        }
        self.connections.fetch_sub(1, Ordering::Release);
    }

    fn end_connection(&self, peer: &Peer, ending: &Ending, now: Instant, batch: &mut Batch) {
        let (level, times) = match self.to_be_told(peer, ending, now) {
            Some(times) => (Level::Info, times),
            None => (Level::Debug, 1),
        };
        let client = peer.connected().map_or("", |connected| connected.client.id());
        log!(
            target: CONNECTIONS, level,
            event = "disconnected", client, address:% = peer.origin(), reason = ending.kind(), why:% = ending;
            "{peer} disconnected: {ending}{}", Times(times)
        );
        batch.tally.charge(peer.aliases_bytes(), 0);
        let Some(Connected { client, connection, .. }) = peer.connected() else { return };
        let mut session = client.session.lock();
        if session.link_of(*connection).is_none() {
            // Taken over. The new connection has seen to the rest.
            return;
        }
        let mut will = session.unlink(&mut batch.tally).and_then(|link| link.will).map(|will| *will);
        // [MQTT-3.14.4-3]
        if *ending == Ending::Disconnect {
            release_will(will.take(), batch);
        }
        let will = session.leave(will, now);
        let is_over = session.is_over(now);
        if !is_over {
            self.record_session(client, &session);
            self.schedule(client, None, &session, batch);
        }
        drop(session);
        if is_over {
            self.forget(&mut self.sessions.lock(), client);
            self.end_session(client, batch);
        } else {
            self.pass_on(client, batch);
        }
        self.publish_will(will, client, batch);
    }

    /// Whether the log is to be told why a connection ended, and for how many times since it was told last: of a limit
    /// once a client, or an address, and minute. Limits are counted.
    fn to_be_told(&self, peer: &Peer, ending: &Ending, now: Instant) -> Option<u64> {
        let Some(limit) = ending.limit() else { return ending.is_violation().then_some(1) };
        self.reached.count(limit);
        let who = peer.connected().map(|connected| Who::Client(connected.client.id()));
        self.reached.happened(limit, &who.unwrap_or(Who::Origin(peer.origin())), 1, now)
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

    /// Asks every connection to end once its outbox is written and nothing is in flight to it. The wills go out first,
    /// while there is somebody to hear them; those that wait for their time too, if the sessions end with the broker. Where
    /// sessions survive it, a will with a delay is stored with its session and waits on, so that nobody hears it of a
    /// client that is back in time; the standard lets a server that shuts down put off wills until its restart (§3.1.2.5).
    pub fn stop(&self, batch: &mut Batch) {
        let clients: Vec<_> = {
            let sessions = self.sessions.lock();
            self.stopping.store(true, Ordering::Release);
            sessions.values().cloned().collect()
        };
        for client in &clients {
            let turn = self.turn();
            batch.in_turn(turn.as_ref());
            let mut session = client.session.lock();
            let survives = session.log().is_some() && session.expiry != Expiry::AT_ONCE;
            let will = match &mut session.link {
                Some(link) => {
                    link.will.take_if(|will| !survives || will.delay_seconds == 0).map(|will| *will)
                }
                None if survives => None,
                None => self.end_absence(client, &mut session, batch),
            };
            if will.is_some() {
                self.record_session(client, &session);
            }
            drop(session);
            self.publish_will(will, client, batch);
            batch.end_turn();
        }
        for client in &clients {
            if let Some(link) = &mut client.session.lock().link {
                link.ending = true;
                batch.touched(link.wake());
            }
        }
    }

    /// A stop waits no longer for what clients have not acknowledged.
    pub fn hurry(&self, batch: &mut Batch) {
        self.hurries.store(true, Ordering::Release);
        for client in &self.all_clients() {
            if let Some(link) = &mut client.session.lock().link {
                batch.touched(link.wake());
            }
        }
    }
}

/// What came of an attempt to give a session a new link.
enum Linked {
    Yes(Arc<Client>),
    /// The link is given back.
    Refused(Link, Refusal),
    /// Another connection had the session. It is ended, and this is its will, of that client. To be tried again, with
    /// the link.
    TookOver(Link, Option<Will>, Arc<Client>),
}

/// A will that is not to be published.
pub(super) fn release_will(will: Option<Will>, batch: &mut Batch) {
    if let Some(will) = will {
        release(will.message, &mut batch.tally);
    }
}
