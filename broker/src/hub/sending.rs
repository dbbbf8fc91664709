//! One message into the sessions of those that want it.

use std::task::Waker;
use std::time::Instant;

use super::memory::DeliveryLimits;
use super::reached::{Limit, Noted};
use super::{Client, Stage};
use crate::codec::QoS;
use crate::session::{Content, Link, Manner, OutboundLimits, Outcome, Session, Tally};

/// What queueing or dropping a message counts for when a batch is cut: others wait for the index meanwhile.
const QUEUED_BYTES: usize = 64;
/// And looking whether a member of a shared subscription can take it.
const LOOK_BYTES: usize = 16;

/// What the deliveries of one message have in common.
pub(super) struct Sending<'s, 'c> {
    pub(super) content: &'s Content<'c>,
    pub(super) limits: &'s DeliveryLimits,
    /// See [`Content::has_shared_part`].
    has_shared_part: bool,
    now: Instant,
    wakers: &'s mut Vec<Waker>,
    pub(super) noted: &'s mut Noted,
    bytes: &'s mut usize,
    tally: &'s mut Tally,
}

/// Why a client did not get a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    NoRoom,
    TooLarge,
    /// No member of a shared subscription may read it.
    NotAllowed,
}

impl Sending<'_, '_> {
    /// Gives the message to a client, connected or not, or counts that it could not.
    #[inline]
    pub(super) fn deliver(&mut self, client: &Client, manner: &Manner) {
        let mut session = client.session.lock();
        let limits = if session.link.is_some() { &self.limits.here } else { &self.limits.away };
        if let Err(unsent) = self.try_deliver(&mut session, manner, limits)
            && let Some(limit) = self.give_up(unsent, session.link.is_some(), manner.qos)
        {
            self.noted.note(client, limit);
        }
    }

    /// Gives the message to a client, within the limits. On an error nothing has happened.
    #[inline(always)]
    pub(super) fn try_deliver(
        &mut self,
        session: &mut Session,
        manner: &Manner,
        limits: &OutboundLimits,
    ) -> Result<(), Unsent> {
        let content = self.content;
        match session.deliver(content, manner, limits, self.now) {
            Outcome::Sent(len) => {
                *self.bytes += len;
                self.tally.send_publish(manner.qos, content.payload().len());
                if !self.has_shared_part {
                    session.settle_sent(len, manner, self.tally);
                } else {
                    session.settle(self.tally);
                }
                if let Some(waker) = session.link.as_mut().and_then(Link::wake_for_output) {
                    self.wakers.push(waker);
                }
                Ok(())
            }
            Outcome::Queued => {
                *self.bytes += QUEUED_BYTES;
                session.settle(self.tally);
                Ok(())
            }
            Outcome::TooLarge => {
                *self.bytes += QUEUED_BYTES;
                Err(Unsent::TooLarge)
            }
            Outcome::Dropped => {
                *self.bytes += QUEUED_BYTES;
                Err(Unsent::NoRoom)
            }
        }
    }

    /// Looking at a client takes time too.
    pub(super) fn count_look(&mut self) {
        *self.bytes += LOOK_BYTES;
    }

    /// Counts a delivery that did not come about. Gives the limit that was reached, if that is worth telling.
    pub(super) fn give_up(&mut self, unsent: Unsent, connected: bool, qos: QoS) -> Option<Limit> {
        match unsent {
            Unsent::NoRoom => count_dropped(connected, qos, self.limits.stage, self.tally),
            Unsent::TooLarge => {
                self.tally.dropped_too_large += 1;
                None
            }
            // As for whoever has not subscribed.
            Unsent::NotAllowed => None,
        }
    }
}

impl<'s, 'c> Sending<'s, 'c> {
    /// For the deliveries of one message.
    #[inline]
    pub(super) fn new(
        content: &'s Content<'c>,
        limits: &'s DeliveryLimits,
        (wakers, noted): (&'s mut Vec<Waker>, &'s mut Noted),
        bytes: &'s mut usize,
        tally: &'s mut Tally,
        now: Instant,
    ) -> Self {
        let has_shared_part = content.has_shared_part();
        Self { content, limits, has_shared_part, now, wakers, noted, bytes, tally }
    }
}

/// A session did not take a delivery. At QoS 0 an absent client is not owed it, so that is no loss. Gives the limit that
/// was reached; that memory is short, the log is told elsewhere.
pub(super) fn count_dropped(connected: bool, qos: QoS, stage: Stage, tally: &mut Tally) -> Option<Limit> {
    let (figure, limit) = match (qos, connected) {
        (QoS::AtMostOnce, false) => return None,
        _ if stage > Stage::Ample => (&mut tally.dropped_memory_full, None),
        (QoS::AtMostOnce, true) => (&mut tally.dropped_outbox_full, Some(Limit::Outbox)),
        _ => (&mut tally.dropped_queue_full, Some(Limit::Queue)),
    };
    *figure += 1;
    limit
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use super::*;
    use crate::auth::Entrance;
    use crate::codec::{Connect, Delivery, Packet, PacketId, Properties, Publish, Subscribe, Version};
    use crate::hub::{Batch, Ending, Hub, Limits, Next, Peer};
    use crate::topic::{Filter, Name};

    fn connected(hub: &Hub, client_id: &str, batch: &mut Batch) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut peer = hub.accept(address, Entrance::open(), Instant::now()).unwrap();
        let connect = Connect {
            version: Version::V311,
            clean_session: false,
            keep_alive: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        handle(hub, &mut peer, &[Packet::Connect(connect)], batch);
        peer
    }

    fn handle(hub: &Hub, peer: &mut Peer, packets: &[Packet<'_>], batch: &mut Batch) -> (Next, bool) {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(Version::V311, &mut bytes).unwrap());
        let handled = hub.handle(peer, &bytes, Instant::now(), batch);
        (handled.next, handled.consumed == bytes.len())
    }

    #[test]
    fn messages_that_nobody_can_take_cut_a_batch_too() {
        let hub = Hub::new(Limits { max_queued_messages: 0, ..Limits::default() });
        let mut batch = Batch::new(Instant::now());
        let mut absent = connected(&hub, "absent", &mut batch);
        let subscribe = Subscribe::new(PacketId::MIN, vec![(Filter::new("t").unwrap(), QoS::AtLeastOnce)]);
        handle(&hub, &mut absent, &[Packet::Subscribe(subscribe)], &mut batch);
        hub.close(absent, &Ending::Closed, Instant::now(), &mut batch);
        batch.wake();
        let mut publisher = connected(&hub, "publisher", &mut batch);
        batch.wake();
        let delivery = Delivery::AtLeastOnce(PacketId::MIN);
        let publish = Publish::new(Name::new("t").unwrap(), delivery, b"");
        let flood = vec![Packet::Publish(publish); super::super::batch::FULL_BYTES / QUEUED_BYTES + 1];
        let (next, is_all) = handle(&hub, &mut publisher, &flood, &mut batch);
        assert!(matches!(next, Next::Yield) && !is_all, "{next:?}");
    }
}
