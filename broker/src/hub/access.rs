//! What clients may publish and be sent, where an ACL file says so.
//!
//! A client's [`Rights`] are worked out at CONNECT and kept with it; without an ACL file there are none, and nothing is
//! asked. They are asked
//!
//! - for a PUBLISH, by the publisher's connection, which remembers its last answer ([`Writer`]);
//! - for a will, when it is left and when it goes out;
//! - for a SUBSCRIBE, which is refused where it could bring nothing, and for each retained message that it brings;
//! - for a delivery, when the routes of a topic are looked up (`routes.rs`), and so not for each message: whenever rights
//!   change, what was remembered of the index is out of date; of a shared subscription, when a member's turn comes;
//! - for what was queued, or is to be sent again, when the client is back or its rights have changed.
//!
//! Who returns to a session may be another user than who left it.

use std::sync::Arc;
use std::time::Instant;

use once_cell::race::OnceBox;
use parking_lot::RwLock;

use super::pace::Pace;
use super::peer::Connected;
use super::reached::{Limit, Who};
use super::{Batch, Client, Ending, Hub, Peer};
use crate::auth::Entrance;
use crate::auth::acl::Rights;
use crate::session::{Session, Visit, Will};
use crate::topic::Name;

/// Longest topic name whose answer is remembered, in bytes.
const MAX_REMEMBERED_BYTES: usize = 256;

/// The rights of a client, if it has not all of them; most clients have, and never make the place for it. Its lock is taken
/// beside any other, and briefly.
#[derive(Default)]
pub(super) struct Restriction(OnceBox<RwLock<Option<Arc<Rights>>>>);

impl Client {
    /// What the client may do; none is anything.
    pub(super) fn rights(&self) -> Option<Arc<Rights>> {
        self.restriction.0.get()?.read().clone()
    }

    pub(super) fn set_rights(&self, rights: Option<Arc<Rights>>) {
        if rights.is_some() || self.restriction.0.get().is_some() {
            *self.restriction.0.get_or_init(Box::default).write() = rights;
        }
    }

    /// Whether messages of that topic may go to the client.
    #[inline]
    pub(super) fn may_read(&self, topic: Name<'_>) -> bool {
        let restriction = self.restriction.0.get();
        restriction.is_none_or(|rights| rights.read().as_ref().is_none_or(|rights| rights.may_read(topic)))
    }
}

/// What one connection may publish.
pub(super) struct Writer {
    rights: Arc<Rights>,
    /// The topic asked for last; empty if it was too long.
    topic: String,
    is_allowed: bool,
}

impl Writer {
    /// Of a client with these rights.
    pub(super) fn new(rights: Arc<Rights>) -> Box<Self> {
        Box::new(Self { rights, topic: String::new(), is_allowed: false })
    }

    fn may_write(&mut self, topic: Name<'_>) -> bool {
        // A topic name has a character or more.
        if self.topic == topic.as_str() {
            return self.is_allowed;
        }
        self.is_allowed = self.rights.may_write(topic);
        self.topic.clear();
        if topic.as_str().len() <= MAX_REMEMBERED_BYTES {
            self.topic.push_str(topic.as_str());
        }
        self.is_allowed
    }
}

impl Hub {
    /// Whether the client may publish to that topic; if not, that is counted and noted.
    pub(super) fn may_write(
        &self,
        connected: &Connected,
        writer: &mut Writer,
        topic: Name<'_>,
        batch: &mut Batch,
    ) -> bool {
        let client = &connected.client;
        let is_allowed = writer.may_write(topic);
        if !is_allowed {
            self.refused_topic(client, Limit::Acl, topic.as_str(), batch);
        }
        is_allowed
    }

    /// Whether a client may leave that will. If not, it is counted, and the log told: the client is let in without it, as
    /// mosquitto does.
    pub(super) fn may_leave(
        &self,
        client_id: &str,
        rights: Option<&Rights>,
        will: &Will,
        now: Instant,
    ) -> bool {
        let topic = will.message.topic();
        let is_allowed = rights.is_none_or(|rights| rights.may_write(topic));
        if !is_allowed {
            self.reached.count(Limit::Acl);
            self.reached.tell(Limit::Acl, &Who::Client(client_id), Some(topic.as_str()), 1, now);
        }
        is_allowed
    }

    /// The rights of a client are these from now on: one that nobody else is connected as. To be called under the lock of
    /// the sessions, and before its own is locked.
    pub(super) fn restrict(&self, client: &Client, rights: Option<Arc<Rights>>) {
        let before = client.rights();
        if !are_same(before.as_deref(), rights.as_deref()) {
            client.set_rights(rights);
            self.index.write().rights_changed();
        }
    }

    /// What these entrances ask has changed: their clients, those too that are away, get the rights that they have now.
    pub fn renew_rights(&self, entrances: &[Arc<Entrance>], batch: &mut Batch) {
        let mut renewed = Vec::new();
        for client in self.all_clients() {
            // Who connects meanwhile has the new ones, or waits for this lock.
            let _sessions = self.sessions.lock();
            let Some(visit) = client.session.lock().visit.clone() else { continue };
            let Some(entrance) = entrances.iter().find(|entrance| came_by(&visit, entrance)) else {
                continue;
            };
            let rights = entrance.access().rights(visit.user(), client.id());
            if !are_same(client.rights().as_deref(), rights.as_ref()) {
                client.set_rights(rights.map(Arc::new));
                renewed.push(Arc::clone(&client));
            }
        }
        if renewed.is_empty() {
            return;
        }
        // No publisher goes on with what it remembers.
        self.index.write().rights_changed();
        for client in renewed {
            let turn = self.turn();
            batch.in_turn(turn.as_ref());
            let mut session = client.session.lock();
            self.forget_unreadable(&client, &mut session, batch);
            session.settle(&mut batch.tally);
            drop(session);
            batch.end_turn();
            drop(turn);
            self.absorb(batch);
        }
    }

    /// The entrance of a connection has changed, or is gone: it goes on by what holds there now.
    pub(super) fn renew(&self, peer: &mut Peer, now: Instant, batch: &mut Batch) -> Result<(), Ending> {
        if peer.entrance.is_closed() {
            return Err(Ending::ListenerRemoved);
        }
        let access = peer.entrance.access();
        if access.publish_rate != peer.access.publish_rate {
            peer.set_pace(Pace::new(access.publish_rate, now));
        }
        peer.access = access;
        let Some(connected) = peer.connected() else { return Ok(()) };
        let (client, connection) = (Arc::clone(&connected.client), connected.connection);
        // Nobody takes the session over meanwhile.
        let sessions = self.sessions.lock();
        let visit = {
            let mut session = client.session.lock();
            session.link_of(connection).ok_or(Ending::TakenOver)?;
            session.visit.clone()
        };
        let user = visit.as_ref().and_then(|visit| visit.user());
        let rights = peer.access.rights(user, client.id()).map(Arc::new);
        peer.set_writer(rights.clone().map(Writer::new));
        self.restrict(&client, rights);
        drop(sessions);
        let mut session = client.session.lock();
        self.forget_unreadable(&client, &mut session, batch);
        session.settle(&mut batch.tally);
        Ok(())
    }

    /// The entrance is gone: who came by it is told so, and its connection ends.
    pub fn close_entrance(&self, entrance: &Arc<Entrance>, batch: &mut Batch) {
        entrance.close();
        for client in self.all_clients() {
            let mut session = client.session.lock();
            let is_its = session.visit.as_ref().is_some_and(|visit| came_by(visit, entrance));
            if let Some(link) = session.link.as_mut().filter(|_| is_its) {
                link.dismissed = true;
                batch.touched(link.wake());
            }
        }
    }

    /// Drops what waits for a client that is here, and that it may not read.
    pub(super) fn forget_unreadable(&self, client: &Client, session: &mut Session, batch: &mut Batch) {
        let Some(rights) = client.rights() else { return };
        session.set_rights_bytes(rights.bytes());
        let Session { outbound, link: Some(link), .. } = session else { return };
        let dropped = outbound.forget_unreadable(&mut link.outbox, |topic| rights.may_read(topic));
        batch.touched(link.wake_for_output());
        self.reached.count_times(Limit::Acl, dropped);
    }
}

fn came_by(visit: &Visit, entrance: &Entrance) -> bool {
    visit.listener.is_some() && visit.listener == entrance.name
}

fn are_same(one: Option<&Rights>, other: Option<&Rights>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.are(other),
        _ => false,
    }
}
