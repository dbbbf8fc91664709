//! What bridges need beyond what every client has.

use super::{Batch, Hub, Origin, Peer};
use crate::codec::QoS;
use crate::session::Content;
use crate::store::Record;
use crate::topic::{FilterBuf, Name};

impl Hub {
    /// Whether the client identifier is one of a bridge that this connection is not.
    pub(super) fn is_taken(&self, origin: &Origin, client_id: &str) -> bool {
        !matches!(origin, Origin::Bridge(_)) && self.bridges.iter().any(|taken| taken == client_id)
    }

    /// The topic filters that the client of a connection is subscribed to.
    pub fn filters(&self, peer: &Peer) -> Vec<FilterBuf> {
        let Some(connected) = peer.connected() else { return Vec::new() };
        connected.client.session.lock().subscriptions.iter().cloned().collect()
    }

    /// Messages that wait for the client with that identifier.
    pub fn waiting(&self, client_id: &str) -> usize {
        let client = self.sessions.lock().get(client_id).cloned();
        client.map_or(0, |client| {
            let session = client.session.lock();
            session.outbound.queued() + session.outbound.in_flight()
        })
    }

    /// The other end of a connection has begun a new session: the identifiers of QoS 2 messages that it has not released
    /// mean nothing any more, and are free for others.
    pub fn forget_received(&self, peer: &Peer, batch: &mut Batch) {
        let Some(connected) = peer.connected() else { return };
        let turn = self.turn();
        batch.in_turn(turn.as_ref());
        let mut session = connected.client.session.lock();
        for packet_id in session.inbound.forget() {
            if let Some(log) = session.log() {
                log.record(|session| Record::ReceivedEnd { session, packet_id });
            }
        }
        session.settle(&mut batch.tally);
        drop(session);
        batch.end_turn();
        drop(turn);
        self.absorb(batch);
    }

    /// Publishes a retained message of the broker's own.
    pub fn announce(&self, topic: Name<'_>, payload: &[u8], batch: &mut Batch) {
        let turn = self.turn();
        batch.in_turn(turn.as_ref());
        let content = Content::new(topic, payload, QoS::AtMostOnce);
        self.publish(content, true, None, &self.run(), batch);
        batch.end_turn();
        drop(turn);
        self.absorb(batch);
        batch.wake();
    }
}
