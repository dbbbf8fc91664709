//! SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::connack::Refusal;
use super::peer::Connected;
use super::reached::Limit;
use super::retained::{RetainedMessage, RetainedStore};
use super::sending::count_dropped;
use super::subscriptions::{Options, SubscriptionIndex};
use super::{Batch, Client, Ending, Hub, Limits, Stage};
use crate::auth::acl::Rights;
use crate::codec::{
    EncodeError, Packet, Properties, PropertiesBuf, Property, Reason, RetainHandling, Suback, Subscribe,
    SubscribeCode, Unsuback, Unsubscribe, Version,
};
use crate::session::{Content, Expiry, Manner, Message, Note, Outcome, Session, Terms};
use crate::store::Record;
use crate::topic::{Filter, FilterBuf, SharedFilter};

/// What looking at one retained message counts for when a batch is cut: it takes as long as sending so many bytes.
const LOOK_BYTES: usize = 100;

/// What became of one filter of a SUBSCRIBE.
struct Subscribed {
    is_shared: bool,
    /// There was no subscription to the very same filter.
    is_new: bool,
}

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
        let identifier = subscription_identifier(subscribe.properties);
        let rights = client.rights();
        // Before the locks: there may be many rules.
        let denied: Vec<_> = rights.as_ref().map_or_else(Vec::new, |rights| {
            let filters = subscribe.filters().take(connected.limits.max_filters);
            filters.map(|(filter, _)| !rights.may_subscribe(matched(filter))).collect()
        });
        let mut index = self.index.write();
        let retained = self.retained.read();
        let mut session = client.session.lock();
        session.link_of(connected.connection).ok_or(Ending::TakenOver)?;

        let subscribed = subscribe.filters().enumerate().map(|(number, (filter, asked))| {
            if number >= connected.limits.max_filters {
                self.refused(client, Limit::Filters, batch);
                return Err((Reason::QuotaExceeded, "there are too many topic filters in one SUBSCRIBE"));
            }
            let options = Options {
                qos: asked.qos,
                // It has what it published from another broker, which must not get it back; and it hands RETAIN on.
                no_local: asked.no_local || (connected.is_bridge && !is_shared(filter)),
                retain_as_published: asked.retain_as_published || connected.is_bridge,
                identifier,
            };
            let is_denied = denied.get(number).copied().unwrap_or(false);
            self.subscribe(&mut index, &mut session, connected, (filter, is_denied), options, batch)
        });
        let subscribed: Vec<_> = subscribed.collect();
        let codes =
            subscribed.iter().zip(subscribe.filters()).map(|(subscribed, (_, asked))| match subscribed {
                Ok(_) => SubscribeCode::Granted(asked.qos),
                Err((reason, _)) => SubscribeCode::Refused(*reason),
            });
        let codes: Vec<_> = codes.collect();
        let refusal = subscribed.iter().find_map(|subscribed| subscribed.as_ref().err().copied());
        let words = reason_string(&connected.terms, refusal)?;
        let plain = Suback::new(subscribe.packet_id, &codes);
        // Without the words if the client does not take so much [5.0 MQTT-3.9.2-1].
        let in_words = Suback { properties: words.as_properties(), ..plain.clone() };
        answer(&connected.terms, &[Packet::Suback(in_words), Packet::Suback(plain)], batch)?;
        say(&mut session, connected, batch);
        let mut expired = Vec::new();
        let note = identifier
            .map(|identifier| Arc::new(Note { subscription_ids: Box::new([identifier]), share: None }));
        for ((filter, asked), subscribed) in subscribe.filters().zip(&subscribed) {
            // Of what is retained a shared subscription gets nothing (§4.8.2 of 5.0).
            let Ok(Subscribed { is_shared: false, is_new }) = subscribed else { continue };
            let is_wanted = match asked.retain_handling {
                // [5.0 MQTT-3.3.1-9]
                RetainHandling::Send => true,
                // [5.0 MQTT-3.3.1-10]
                RetainHandling::SendIfNew => *is_new,
                // [5.0 MQTT-3.3.1-11]
                RetainHandling::DoNotSend => false,
            };
            if is_wanted {
                let note = note.clone();
                let manner = Manner { retain: true, replayed: true, note, ..Manner::at(asked.qos) };
                self.replay(
                    (&retained, connected, rights.as_deref()),
                    &mut session,
                    filter,
                    &manner,
                    &mut expired,
                    batch,
                );
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
        connected: &Connected,
        (filter, is_denied): (Filter<'_>, bool),
        options: Options,
        batch: &mut Batch,
    ) -> Result<Subscribed, Refusal> {
        let Connected { client, limits, .. } = connected;
        let shared = SharedFilter::parse(filter).map_err(|_| {
            (Reason::TopicFilterInvalid, "behind $share/ come a share name and a topic filter")
        })?;
        let is_new = !session.subscriptions.contains(filter.as_str());
        if !limits.allow_topic(shared.map_or(filter, SharedFilter::filter).as_str()) {
            self.refused(client, Limit::FilterTopic, batch);
            return Err((Reason::QuotaExceeded, "the topic filter is longer or deeper than is allowed"));
        }
        check(limits, shared, filter, options)?;
        if is_denied {
            self.refused_topic(client, Limit::AclFilter, filter.as_str(), batch);
            return Err((Reason::NotAuthorized, "there is no right to read what the topic filter matches"));
        }
        if is_new && session.subscriptions.len() >= self.limits.read().max_subscriptions {
            self.refused(client, Limit::Subscriptions, batch);
            return Err((Reason::QuotaExceeded, "the client has as many subscriptions as it may"));
        }
        if is_new && session.log().is_some() && self.cannot_store() {
            let what = "it cannot be stored, for the disk of the broker is full or fails";
            return Err((Reason::ImplementationSpecific, what));
        }
        if is_new && index.len() + index.shared_len() >= self.limits.read().max_total_subscriptions {
            self.refused(client, Limit::TotalSubscriptions, batch);
            return Err((Reason::QuotaExceeded, "there are as many subscriptions in total as there may be"));
        }
        if is_new && self.memory.stage() >= Stage::Refuse {
            batch.tally.refused_subscriptions += 1;
            return Err((Reason::QuotaExceeded, "memory is short"));
        }
        let has_changed = self.add_subscription(index, session, client, (filter, shared), options);
        if let Some(log) = session.log().filter(|_| has_changed) {
            let filter = filter.as_str();
            log.record(|session| Record::Subscribe { session, filter, subscription: options.into() });
            session.promise();
        }
        Ok(Subscribed { is_shared: shared.is_some(), is_new })
    }

    /// The client has the subscription from now on. Says whether it had none to the very same filter, or another.
    pub(super) fn add_subscription(
        &self,
        index: &mut SubscriptionIndex,
        session: &mut Session,
        client: &Arc<Client>,
        (filter, shared): (Filter<'_>, Option<SharedFilter<'_>>),
        options: Options,
    ) -> bool {
        session.subscriptions.insert(FilterBuf::from(filter), subscription_bytes(filter));
        match shared {
            None => index.insert(filter, client, options),
            Some(shared) => index.insert_shared(shared, client, options, || self.next_number()),
        }
    }

    /// Sends the retained messages of all matching topics, with RETAIN set [MQTT-3.3.1-6] [MQTT-3.3.1-8]. The first for
    /// which there is no room is the last looked at: the client cannot make others wait for what it does not get. No Local
    /// leaves nothing out, but a bridge does not get back what came from its own side: that may have a newer one by now.
    fn replay(
        &self,
        (retained, connected, rights): (&RetainedStore, &Connected, Option<&Rights>),
        session: &mut Session,
        filter: Filter<'_>,
        wanted: &Manner,
        expired: &mut Vec<Message>,
        batch: &mut Batch,
    ) {
        let stage = self.memory.stage();
        let limits = self.delivery_limits().here;
        let looked_at = retained.messages.visit(filter, |RetainedMessage { message, from, .. }| {
            if connected.is_bridge && *from == connected.client.key {
                return ControlFlow::Continue(());
            }
            if message.is_expired(batch.now) {
                expired.push(message.clone());
                return ControlFlow::Continue(());
            }
            if rights.is_some_and(|rights| !rights.may_read(message.topic())) {
                return ControlFlow::Continue(());
            }
            let content = Content::shared(message);
            let manner = Manner { qos: content.qos().min(wanted.qos), ..wanted.clone() };
            match session.deliver(&content, &manner, &limits, batch.now) {
                Outcome::Sent(bytes) => {
                    batch.count(bytes);
                    batch.tally.send_publish(manner.qos, content.payload().len());
                }
                Outcome::Queued => {}
                Outcome::TooLarge => batch.tally.dropped_too_large += 1,
                Outcome::Dropped => {
                    if let Some(limit) = count_dropped(true, manner.qos, stage, &mut batch.tally) {
                        batch.noted.note(&connected.client, limit);
                    }
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
        let mut codes = Vec::new();
        for filter in unsubscribe.filters() {
            let was_subscribed = session.subscriptions.remove(filter.as_str(), subscription_bytes(filter));
            if was_subscribed {
                index.remove(filter, connected.client.key);
                if let Some(log) = session.log() {
                    log.record(|session| Record::Unsubscribe { session, filter: filter.as_str() });
                    session.promise();
                }
            }
            codes.push(if was_subscribed { Reason::Success } else { Reason::NoSubscriptionExisted });
        }
        let unsuback = Unsuback::new(unsubscribe.packet_id, &codes);
        let answered = answer(&connected.terms, &[Packet::Unsuback(unsuback)], batch);
        say(&mut session, connected, batch);
        session.settle(&mut batch.tally);
        Ok(answered?)
    }

    /// A session is over: takes its subscriptions out of the index, hands on what came by shared ones, and lets go of
    /// what it kept.
    pub(super) fn end_session(&self, client: &Arc<Client>, batch: &mut Batch) {
        let mut session = client.session.lock();
        let may_have_shared = session.may_have_shared();
        let subscriptions = std::mem::take(&mut session.subscriptions);
        drop(session);
        if !subscriptions.is_empty() {
            let mut index = self.index.write();
            for filter in subscriptions.iter() {
                index.remove(filter.as_filter(), client.key);
            }
        }
        // Nobody finds it any more.
        let mut session = client.session.lock();
        // What is in the store alone takes a while to come.
        let leaves_stored = may_have_shared && session.outbound.is_in_store();
        let left = session.outbound.take_shared();
        session.end(&mut batch.tally);
        if leaves_stored {
            // So that nobody returns to it after a crash.
            session.expiry = Expiry::AT_ONCE;
            self.record_session(client, &session);
            self.fetch_to_hand_on(client);
        } else {
            self.record_end(client, &mut session);
        }
        drop(session);
        self.hand_on(left, batch);
    }
}

/// What the configuration allows. The standard lets a server say so in SUBACK, and go on.
fn check(
    limits: &Limits,
    shared: Option<SharedFilter<'_>>,
    filter: Filter<'_>,
    options: Options,
) -> Result<(), Refusal> {
    let filter = shared.map_or(filter, SharedFilter::filter);
    if shared.is_some() && !limits.shared_available {
        return Err((Reason::SharedSubscriptionsNotSupported, "there are no shared subscriptions here"));
    }
    if filter.has_wildcard() && !limits.wildcard_available {
        return Err((Reason::WildcardSubscriptionsNotSupported, "topic filters have no wildcards here"));
    }
    if options.identifier.is_some() && !limits.subscription_ids_available {
        return Err((Reason::SubscriptionIdentifiersNotSupported, "subscriptions have no identifiers here"));
    }
    Ok(())
}

/// What topic names are matched with.
fn matched(filter: Filter<'_>) -> Filter<'_> {
    SharedFilter::parse(filter).ok().flatten().map_or(filter, SharedFilter::filter)
}

/// The identifier that a SUBSCRIBE gives its subscriptions; at most one (§3.8.2.1.2 of 5.0).
fn subscription_identifier(properties: Properties<'_>) -> Option<NonZeroU32> {
    properties.iter().find_map(|property| match property {
        Property::SubscriptionIdentifier(identifier) => Some(identifier),
        _ => None,
    })
}

/// The reason string of an answer, if there is a reason and the client wants to read it [5.0 MQTT-3.1.2-29].
fn reason_string(terms: &Terms, refusal: Option<Refusal>) -> Result<PropertiesBuf, EncodeError> {
    let mut properties = PropertiesBuf::new();
    if let Some((_, words)) = refusal
        && terms.version == Version::V5
        && terms.problem_information
    {
        properties.push(Property::ReasonString(words))?;
    }
    Ok(properties)
}

/// Puts the first packet that is not too large for the client to the replies: none, if all are [5.0 MQTT-3.1.2-24].
fn answer(terms: &Terms, packets: &[Packet<'_>], batch: &mut Batch) -> Result<(), EncodeError> {
    let start = batch.replies.len();
    for packet in packets {
        packet.encode(terms.version, &mut batch.replies)?;
        if terms.takes(batch.replies.len() - start) {
            batch.tally.messages_sent += 1;
            return Ok(());
        }
        batch.replies.truncate(start);
    }
    Ok(())
}

/// Puts the replies into the outbox, to leave when what they promise is safe.
fn say(session: &mut Session, connected: &Connected, batch: &mut Batch) {
    let promised = session.promised.max(batch.awaited);
    if let Some(link) = session.link_of(connected.connection) {
        link.outbox.hold(promised);
        link.outbox.append(&batch.replies);
        batch.replies.clear();
    }
}

/// What a subscription takes in memory, more or less: one with wildcards has a table for each level, and a shared one may
/// be the only one of its group.
fn subscription_bytes(filter: Filter<'_>) -> usize {
    let tables = if filter.has_wildcard() { filter.levels().count() * 192 } else { 192 };
    let group = if matches!(SharedFilter::parse(filter), Ok(Some(_))) { 256 } else { 0 };
    tables + group + 128 + 2 * filter.as_str().len()
}

/// Whether it is one of a shared subscription, which cannot have No Local [5.0 MQTT-3.8.3-4].
fn is_shared(filter: Filter<'_>) -> bool {
    matches!(SharedFilter::parse(filter), Ok(Some(_)))
}
