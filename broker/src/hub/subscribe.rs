//! SUBSCRIBE and UNSUBSCRIBE.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::peer::Connected;
use super::publish::{RetainedStore, count_dropped, count_sent};
use super::{Batch, Client, Ending, Hub, Stage, Subscription, SubscriptionIndex};
use crate::codec::{Packet, QoS, Reason, Suback, Subscribe, SubscribeCode, Unsuback, Unsubscribe};
use crate::session::{Content, Manner, Message, Outcome, Session};
use crate::topic::{Filter, FilterBuf};

/// What looking at one retained message counts for when a batch is cut: it takes as long as sending so many bytes.
const LOOK_BYTES: usize = 100;

impl Hub {
    /// Each filter in its order as if it stood alone, then one SUBACK with a code for each [MQTT-3.8.4-4]
    /// [MQTT-3.8.4-5]. The SUBACK goes first, the retained messages behind it.
    pub(super) fn handle_subscribe(
        &self,
        connected: &Connected,
        subscribe: &Subscribe<'_>,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let client = &connected.client;
        let mut index = self.index.write();
        let retained = self.retained.read();
        let mut session = client.session.lock();
        session.link_of(connected.connection).ok_or(Ending::TakenOver)?;

        let codes = subscribe.filters().enumerate().map(|(number, (filter, options))| {
            if number < self.limits.max_filters {
                self.subscribe(&mut index, &mut session, client, filter, options.qos, batch)
            } else {
                SubscribeCode::Refused(Reason::QuotaExceeded)
            }
        });
        let codes: Vec<_> = codes.collect();
        let suback = Packet::Suback(Suback::new(subscribe.packet_id, &codes));
        suback.encode(connected.version, &mut batch.replies)?;
        batch.tally.messages_sent += 1;
        if let Some(link) = session.link_of(connected.connection) {
            link.outbox.append(&batch.replies);
            batch.replies.clear();
        }
        let mut expired = Vec::new();
        for ((filter, options), code) in subscribe.filters().zip(&codes) {
            if matches!(code, SubscribeCode::Granted(_)) {
                self.replay(&retained, &mut session, filter, options.qos, &mut expired, batch);
            }
        }
        session.settle(&mut batch.tally);
        drop((session, retained));
        self.forget_retained(expired, &mut batch.tally);
        Ok(())
    }

    fn subscribe(
        &self,
        index: &mut SubscriptionIndex,
        session: &mut Session,
        client: &Arc<Client>,
        filter: Filter<'_>,
        qos: QoS,
        batch: &mut Batch,
    ) -> SubscribeCode {
        let is_known = session.subscriptions.contains_key(filter.as_str());
        if (!is_known && session.subscriptions.len() >= self.limits.max_subscriptions)
            || filter.levels().nth(self.limits.max_filter_levels).is_some()
        {
            return SubscribeCode::Refused(Reason::QuotaExceeded);
        }
        if !is_known && self.memory.stage() >= Stage::Refuse {
            batch.tally.refused_subscriptions += 1;
            return SubscribeCode::Refused(Reason::QuotaExceeded);
        }
        // The same filter again replaces the subscription [MQTT-3.8.4-3].
        index.insert(filter, client.key, Subscription { client: Arc::clone(client), qos });
        if session.subscriptions.insert(FilterBuf::from(filter), qos).is_none() {
            session.subscriptions_bytes += subscription_bytes(filter);
        }
        SubscribeCode::Granted(qos)
    }

    /// Sends the retained messages of all matching topics, with RETAIN set [MQTT-3.3.1-6] [MQTT-3.3.1-8]. The first for
    /// which there is no room is the last looked at: the client cannot make others wait for what it does not get.
    fn replay(
        &self,
        retained: &RetainedStore,
        session: &mut Session,
        filter: Filter<'_>,
        granted: QoS,
        expired: &mut Vec<Arc<Message>>,
        batch: &mut Batch,
    ) {
        let stage = self.memory.stage();
        let limits = self.delivery_limits().here;
        let looked_at = retained.messages.visit(filter, |message| {
            if message.is_expired(batch.now) {
                expired.push(Arc::clone(message));
                return ControlFlow::Continue(());
            }
            let content = Content::shared(message);
            let qos = content.qos().min(granted);
            match session.deliver(&content, &Manner { qos, retain: true, note: None }, &limits, batch.now) {
                Outcome::Sent(bytes) => {
                    batch.count(bytes);
                    count_sent(content.payload(), &mut batch.tally);
                }
                Outcome::Queued => {}
                Outcome::TooLarge => batch.tally.dropped_too_large += 1,
                Outcome::Dropped => {
                    count_dropped(true, qos, stage, &mut batch.tally);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        batch.count(looked_at.saturating_mul(LOOK_BYTES));
    }

    /// Answered even if no filter was subscribed [MQTT-3.10.4-5].
    pub(super) fn handle_unsubscribe(
        &self,
        connected: &Connected,
        unsubscribe: &Unsubscribe<'_>,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        let mut index = self.index.write();
        let mut session = connected.client.session.lock();
        session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
        for filter in unsubscribe.filters() {
            if session.subscriptions.remove(filter.as_str()).is_some() {
                index.remove(filter, connected.client.key);
                session.subscriptions_bytes =
                    session.subscriptions_bytes.saturating_sub(subscription_bytes(filter));
            }
        }
        session.settle(&mut batch.tally);
        batch.tally.messages_sent += 1;
        let unsuback = Packet::Unsuback(Unsuback::new(unsubscribe.packet_id, &[]));
        unsuback.encode(connected.version, &mut batch.replies)?;
        Ok(())
    }

    /// A session is over: takes its subscriptions out of the index, and lets go of what it kept.
    pub(super) fn end_session(&self, client: &Client, batch: &mut Batch) {
        let subscriptions = std::mem::take(&mut client.session.lock().subscriptions);
        if !subscriptions.is_empty() {
            let mut index = self.index.write();
            for filter in subscriptions.keys() {
                index.remove(filter.as_filter(), client.key);
            }
        }
        // Nobody finds it any more.
        client.session.lock().end(&mut batch.tally);
    }
}

/// What a subscription takes in memory, more or less: one with wildcards has a table for each level.
fn subscription_bytes(filter: Filter<'_>) -> usize {
    let tables = if filter.has_wildcard() { filter.levels().count() * 192 } else { 192 };
    tables + 128 + 2 * filter.as_str().len()
}
