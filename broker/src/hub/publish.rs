//! PUBLISH, wills and retained messages: from one sender into the sessions of all that want it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockWriteGuard;

use super::peer::Connected;
use super::{Batch, Ending, Hub, Stage, SubscriptionIndex};
use crate::codec::{AckType, Delivery, Error, Publish, QoS, encode_ack, encoded_publish_len};
use crate::session::{Content, Manner, Message, Outcome, Tally, Will, release};
use crate::topic::{Name, Retained};

/// What queueing or dropping a message counts for when a batch is cut: others wait for the index meanwhile.
const QUEUED_BYTES: usize = 64;

/// Retained messages and the memory they take.
#[derive(Default)]
pub(super) struct RetainedStore {
    pub(super) messages: Retained<Arc<Message>>,
    /// Messages and bytes of the clients: the broker's own are not counted, and always find room.
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Hub {
    pub(super) fn handle_publish(
        &self,
        connected: &Connected,
        publish: &Publish<'_>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        batch.tally.publish_received += 1;
        batch.tally.publish_bytes_received += i64::try_from(publish.payload.len()).unwrap_or(0);
        let topic = publish.topic.ok_or(Error::NoTopic)?;
        let is_new = match publish.delivery {
            Delivery::ExactlyOnce(packet_id) => {
                let mut session = connected.client.session.lock();
                session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
                let is_new = session.inbound.receive(packet_id);
                session.settle(&mut batch.tally);
                is_new
            }
            _ => true,
        };
        // Clients may not write to the broker's own topics. The standard lets a server acknowledge
        // what it does not deliver [MQTT-3.3.5-2].
        if is_new && !is_the_brokers(topic) {
            let content = Content::new(topic, publish.payload, publish.delivery.qos());
            self.publish(content, publish.retain, index, batch);
        }
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(packet_id) => {
                encode_ack(&mut batch.replies, AckType::Puback, packet_id);
                batch.tally.messages_sent += 1;
            }
            Delivery::ExactlyOnce(packet_id) => {
                encode_ack(&mut batch.replies, AckType::Pubrec, packet_id);
                batch.tally.messages_sent += 1;
            }
        }
        Ok(())
    }

    /// Publishes the will of a connection that ended without DISCONNECT [MQTT-3.1.2-8].
    pub(super) fn publish_will(&self, will: Option<Will>, batch: &mut Batch) {
        let Some(Will { message, retain, .. }) = will else { return };
        if !is_the_brokers(message.topic()) {
            self.publish(Content::shared(&message), retain, &self.index.read(), batch);
        }
        release(message, &mut batch.tally);
    }

    /// Stores the message if it is to be retained, and puts it into every session with a matching subscription
    /// [MQTT-4.5.0-1].
    ///
    /// The retained messages stay locked until all have theirs: of two publishers of a topic, the one whose message is
    /// retained is the one that every subscriber hears last.
    pub(super) fn publish(
        &self,
        content: Content<'_>,
        retain: bool,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) {
        let _retained = retain.then(|| self.retain(&content, &mut batch.tally));
        let stage = self.memory.stage();
        let limits = self.delivery_limits();
        let Batch { routes, wakers, bytes, tally, .. } = batch;
        for route in routes.find(index, content.topic(), tally) {
            // The lower of published and granted QoS [MQTT-3.8.4-6].
            let qos = content.qos().min(route.qos);
            let mut session = route.client.session.lock();
            // To an established subscription RETAIN is 0 [MQTT-3.3.1-9].
            let limits = if session.link.is_some() { &limits.here } else { &limits.away };
            match session.deliver(&content, &Manner::at(qos), limits) {
                Outcome::Sent => {
                    let len = encoded_publish_len(
                        qos,
                        content.topic().as_str().len(),
                        None,
                        content.payload().len(),
                    );
                    *bytes += len;
                    count_sent(content.payload(), tally);
                    if qos == QoS::AtMostOnce && !content.is_shared() {
                        session.settle_sent(len, tally);
                    } else {
                        session.settle(tally);
                    }
                    wakers.extend(session.link.as_mut().and_then(|link| link.wake_for_output()));
                }
                Outcome::Queued => {
                    *bytes += QUEUED_BYTES;
                    session.settle(tally);
                }
                Outcome::Dropped => {
                    *bytes += QUEUED_BYTES;
                    count_dropped(session.link.is_some(), qos, stage, tally);
                }
            }
        }
        if content.is_shared() {
            *bytes += content.payload().len();
        }
        content.settle(tally);
    }

    fn retain(&self, content: &Content<'_>, tally: &mut Tally) -> RwLockWriteGuard<'_, RetainedStore> {
        let is_clients = !is_the_brokers(content.topic());
        let mut store = self.retained.write();
        // Gone in any case: replaced, deleted by an empty payload [MQTT-3.3.1-10] [MQTT-3.3.1-11], or no longer the last.
        if let Some(old) = store.messages.remove(content.topic()) {
            if is_clients {
                store.bytes = store.bytes.saturating_sub(old.bytes());
                store.count = store.count.saturating_sub(1);
                self.retained_count.store(store.count, Ordering::Relaxed);
            }
            release(old, tally);
        }
        if content.payload().is_empty() {
            return store;
        }
        if is_clients {
            let bytes = store.bytes.saturating_add(content.bytes());
            if bytes > self.limits.max_retained_bytes || store.count >= self.limits.max_retained_messages {
                tally.dropped_retained_full += 1;
                return store;
            }
            if self.memory.stage() > Stage::Ample {
                tally.dropped_retained_memory_full += 1;
                return store;
            }
            store.bytes = bytes;
            store.count += 1;
            self.retained_count.store(store.count, Ordering::Relaxed);
        }
        store.messages.set(content.topic(), content.to_message());
        store
    }
}

/// A PUBLISH is on its way to a client.
pub(super) fn count_sent(payload: &[u8], tally: &mut Tally) {
    tally.messages_sent += 1;
    tally.publish_sent += 1;
    tally.publish_bytes_sent += i64::try_from(payload.len()).unwrap_or(0);
}

/// A session did not take a delivery. At QoS 0 an absent client is not owed it, so that is no loss.
pub(super) fn count_dropped(connected: bool, qos: QoS, stage: Stage, tally: &mut Tally) {
    match (qos, connected) {
        (QoS::AtMostOnce, false) => {}
        _ if stage > Stage::Ample => tally.dropped_memory_full += 1,
        (QoS::AtMostOnce, true) => tally.dropped_outbox_full += 1,
        _ => tally.dropped_queue_full += 1,
    }
}

/// The trees that the broker alone publishes to.
fn is_the_brokers(topic: Name<'_>) -> bool {
    topic.is_reserved() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$SOL"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use super::*;
    use crate::auth::Access;
    use crate::codec::{Connect, Packet, PacketId, Properties, Subscribe, Version};
    use crate::hub::{Limits, Next, Peer};
    use crate::topic::Filter;

    fn connected(hub: &Hub, client_id: &str, batch: &mut Batch) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut peer = hub.accept(address, Arc::new(Access::open()), Instant::now()).unwrap();
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
        let mut batch = Batch::new();
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
