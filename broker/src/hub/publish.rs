//! PUBLISH, wills and retained messages: from one sender into the sessions of all that want it.

use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use super::peer::Connected;
use super::{Batch, Ending, Hub, SubscriptionIndex};
use crate::codec::{AckType, Delivery, Publish, encode_ack, encoded_publish_len};
use crate::session::{Content, Message, Outcome, Will};
use crate::topic::{Name, Retained};

/// Retained messages and the memory they take.
#[derive(Default)]
pub(super) struct RetainedStore {
    pub(super) messages: Retained<Arc<Message>>,
    bytes: usize,
}

impl Hub {
    pub(super) fn handle_publish(
        &self,
        connected: &Connected,
        publish: &Publish<'_>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let is_new = match publish.delivery {
            Delivery::ExactlyOnce(packet_id) => {
                let mut session = connected.client.session.lock();
                session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
                session.inbound.receive(packet_id)
            }
            _ => true,
        };
        // Clients may not write to the broker's own topics. The standard lets a server acknowledge
        // what it does not deliver [MQTT-3.3.5-2].
        if is_new && !is_the_brokers(publish.topic) {
            let content = Content::new(publish.topic, publish.payload, publish.delivery.qos());
            self.publish(&content, publish.retain, index, batch);
        }
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(packet_id) => encode_ack(&mut batch.replies, AckType::Puback, packet_id),
            Delivery::ExactlyOnce(packet_id) => encode_ack(&mut batch.replies, AckType::Pubrec, packet_id),
        }
        Ok(())
    }

    /// Publishes the will of a connection that ended without DISCONNECT [MQTT-3.1.2-8].
    pub(super) fn publish_will(&self, will: &Will, batch: &mut Batch) {
        let content = Content::shared(&will.message);
        if !is_the_brokers(content.topic()) {
            self.publish(&content, will.retain, &self.index.read(), batch);
        }
    }

    /// Stores the message if it is to be retained, and puts it into every session with a matching subscription
    /// [MQTT-4.5.0-1].
    ///
    /// The retained messages stay locked until all have theirs: of two publishers of a topic, the one whose message is
    /// retained is the one that every subscriber hears last.
    fn publish(&self, content: &Content<'_>, retain: bool, index: &SubscriptionIndex, batch: &mut Batch) {
        let _retained = retain.then(|| self.retain(content));
        let Batch { routes, wakers, bytes, .. } = batch;
        for route in routes.find(index, content.topic()) {
            // The lower of published and granted QoS [MQTT-3.8.4-6].
            let qos = content.qos().min(route.qos);
            let mut session = route.client.session.lock();
            // To an established subscription RETAIN is 0 [MQTT-3.3.1-9].
            match session.deliver(content, qos, false, &self.outbound_limits) {
                Outcome::Sent => {
                    *bytes +=
                        encoded_publish_len(qos, content.topic().as_str().len(), content.payload().len());
                    wakers.extend(session.link.as_mut().and_then(|link| link.wake_for_output()));
                }
                Outcome::Queued => {}
                Outcome::Dropped => self.drops.count_delivery(session.link.is_some(), qos),
            }
        }
    }

    fn retain(&self, content: &Content<'_>) -> RwLockWriteGuard<'_, RetainedStore> {
        let mut store = self.retained.write();
        // Gone in any case: replaced, deleted by an empty payload [MQTT-3.3.1-10] [MQTT-3.3.1-11], or no longer the last.
        if let Some(old) = store.messages.remove(content.topic()) {
            store.bytes = store.bytes.saturating_sub(old.bytes());
        }
        if content.payload().is_empty() {
            return store;
        }
        let bytes = store.bytes.saturating_add(content.bytes());
        if bytes > self.limits.max_retained_bytes || store.messages.len() >= self.limits.max_retained_messages
        {
            self.drops.count_retained();
            return store;
        }
        store.bytes = bytes;
        store.messages.set(content.topic(), content.to_message());
        store
    }
}

/// The trees that the broker alone publishes to.
fn is_the_brokers(topic: Name<'_>) -> bool {
    topic.is_reserved() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$SOL"))
}
