//! PUBLISH and wills: from one sender to all that want it.

use std::borrow::Cow;

use parking_lot::RwLockReadGuard;

use super::access::Writer;
use super::memory::DeliveryLimits;
use super::peer::Connected;
use super::reached::Limit;
use super::sending::Sending;
use super::share::Reach;
use super::subscriptions::SubscriptionIndex;
use super::{Batch, Client, ClientKey, Ending, Hub};
use crate::codec::{AckType, Delivery, PacketId, Properties, Property, Publish, QoS, Reason, Version};
use crate::session::{Content, Manner, Received, ReceivedAliases, Tally, Will, release};
use crate::store::Record;
use crate::topic::Name;

/// What the client of a topic that is not allowed is told, and the log.
const TOPIC_REFUSED: &str = "the topic name is longer or deeper than is allowed";

/// What a run of messages goes by, asked for once.
pub(super) struct Run<'h> {
    /// Shared with others who publish.
    pub(super) index: RwLockReadGuard<'h, SubscriptionIndex>,
    /// As they were when it began: no longer ago than one read of a connection takes to handle.
    limits: DeliveryLimits,
}

impl Hub {
    /// Until it is dropped, nobody subscribes.
    pub(super) fn run(&self) -> Run<'_> {
        Run { index: self.index.read(), limits: self.delivery_limits() }
    }

    pub(super) fn handle_publish<'a>(
        &self,
        connected: &Connected,
        (aliases, writer): (&'a mut ReceivedAliases, Option<&mut Writer>),
        (publish, packet): (&Publish<'a>, &'a [u8]),
        run: &Run<'_>,
        batch: &mut Batch,
    ) -> Result<(), Ending> {
        batch.tally.receive_publish(publish.delivery.qos(), publish.payload.len());
        let (topic, refusal) = match publish.topic {
            Some(topic) if connected.terms.version != Version::V5 => {
                match connected.limits.allow_topic(topic.as_str()) {
                    true => (topic, None),
                    // There is no other way to refuse it [MQTT-3.3.5-2].
                    false => return Err(violation(Reason::TopicNameInvalid, TOPIC_REFUSED)),
                }
            }
            _ => {
                let topic = self.topic(aliases, publish, connected, &mut batch.tally)?;
                (topic, refusal(connected, topic, publish)?)
            }
        };
        let is_denied = refusal.is_none()
            && writer.is_some_and(|writer| !self.may_write(connected, writer, topic, batch));
        let refusal = match is_denied && connected.terms.version == Version::V5 {
            true => Some(Reason::NotAuthorized),
            false => refusal,
        };
        let is_new = match publish.delivery {
            Delivery::ExactlyOnce(packet_id) => {
                self.receive_exactly_once(connected, packet_id, refusal.is_none(), batch)?
            }
            _ => true,
        };
        let reason = match refusal {
            Some(refusal) if is_new => refusal,
            // Clients may not write to the broker's own topics, nor where they have no right to. The standard lets a
            // server acknowledge what it does not deliver [MQTT-3.3.5-2].
            _ if !is_new || is_denied || !may_publish(connected, topic) => Reason::Success,
            _ => {
                let content = Content::received(topic, publish, (packet, connected.terms.version), batch.now);
                let retain = publish.retain && connected.limits.retain_available;
                match self.publish(content, retain, Some(connected.client.key), run, batch) {
                    false if connected.terms.version == Version::V5 => Reason::NoMatchingSubscribers,
                    _ => Reason::Success,
                }
            }
        };
        let (ack, packet_id) = match publish.delivery {
            Delivery::AtMostOnce => return Ok(()),
            Delivery::AtLeastOnce(packet_id) => (AckType::Puback, packet_id),
            Delivery::ExactlyOnce(packet_id) => (AckType::Pubrec, packet_id),
        };
        if !reason.is_error() {
            batch.acknowledge(ack, packet_id, reason);
            return Ok(());
        }
        let words = match reason {
            Reason::TopicNameInvalid => {
                self.refused(&connected.client, Limit::Topic, batch);
                TOPIC_REFUSED
            }
            Reason::NotAuthorized if is_denied => "there is no right to publish to this topic",
            Reason::NotAuthorized => "only the broker publishes to $SYS and $SOL",
            _ => "the payload is not UTF-8, which its format indicator says it is",
        };
        batch.refuse(ack, packet_id, reason, words, &connected.terms);
        Ok(())
    }

    /// A QoS 2 PUBLISH came. Says whether its message is new.
    fn receive_exactly_once(
        &self,
        connected: &Connected,
        packet_id: PacketId,
        is_accepted: bool,
        batch: &mut Batch,
    ) -> Result<bool, Ending> {
        let mut session = connected.client.session.lock();
        session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
        let maximum = match connected.terms.version {
            Version::V5 => connected.limits.max_received_messages,
            Version::V31 | Version::V311 => u16::MAX,
        };
        let before = session.inbound.bytes();
        let received = session.inbound.receive(packet_id, maximum);
        if received == Received::New && !is_accepted {
            // After a PUBREC with an error the identifier is free [5.0 MQTT-4.3.3-9].
            session.inbound.release(packet_id);
        } else if let Some(log) = session.log() {
            if received == Received::New {
                log.record(|session| Record::Received { session, packet_id });
            }
            batch.await_group();
        }
        if session.inbound.bytes() != before {
            session.settle(&mut batch.tally);
        }
        match received {
            Received::New => Ok(true),
            Received::Again => Ok(false),
            Received::TooMany => {
                let what = "more QoS 2 messages before PUBREL than Receive Maximum allows [MQTT-3.3.4-7]";
                Err(violation(Reason::ReceiveMaximumExceeded, what))
            }
        }
    }

    /// The topic of a PUBLISH of 5.0, by its topic alias if need be.
    fn topic<'a>(
        &self,
        aliases: &'a mut ReceivedAliases,
        publish: &Publish<'a>,
        connected: &Connected,
        tally: &mut Tally,
    ) -> Result<Name<'a>, Ending> {
        let mut alias = None;
        for property in publish.properties.iter() {
            match property {
                Property::TopicAlias(number) => alias = Some(number),
                Property::SubscriptionIdentifier(_) => {
                    let what = "a subscription identifier in PUBLISH, which only servers send [MQTT-3.3.4-6]";
                    return Err(violation(Reason::ProtocolError, what));
                }
                _ => {}
            }
        }
        let unknown =
            || violation(Reason::ProtocolError, "PUBLISH without a topic name or a known topic alias");
        let Some(alias) = alias else { return publish.topic.ok_or_else(unknown) };
        if alias.get() > connected.limits.max_topic_alias {
            let what = "a topic alias above Topic Alias Maximum [MQTT-3.3.2-9]";
            return Err(violation(Reason::TopicAliasInvalid, what));
        }
        if let Some(topic) = publish.topic {
            let before = aliases.bytes();
            let set = aliases.set(alias, topic);
            tally.charge(before, aliases.bytes());
            set.map_err(|error| violation(Reason::QuotaExceeded, error.to_string()))?;
            return Ok(topic);
        }
        aliases.topic(alias).ok_or_else(unknown)
    }

    /// Publishes the will of a connection that ended without DISCONNECT [MQTT-3.1.2-8].
    pub(super) fn publish_will(&self, will: Option<Will>, from: &Client, batch: &mut Batch) {
        let Some(will) = will else { return };
        // It may have lost the right since it left the will.
        let is_allowed = self.may_leave(from.id(), from.rights().as_deref(), &will, batch.now);
        let Will { message, retain, .. } = will;
        // Of a client that is no bridge there is none to the broker's topics.
        if is_allowed && (!is_the_brokers(message.topic()) || is_bridge_state(message.topic())) {
            let content = Content::published(&message, batch.now);
            self.publish(content, retain, Some(from.key), &self.run(), batch);
        }
        release(message, &mut batch.tally);
    }

    /// Stores the message if it is to be retained, and puts it into every session with a matching subscription
    /// [MQTT-4.5.0-1], and of each matching shared one into one. `from` is the client that sent it. False if there is
    /// none.
    ///
    /// The retained messages stay locked until all have theirs: of two publishers of a topic, the one whose message is
    /// retained is the one that every subscriber hears last.
    pub(super) fn publish(
        &self,
        mut content: Content<'_>,
        retain: bool,
        from: Option<ClientKey>,
        run: &Run<'_>,
        batch: &mut Batch,
    ) -> bool {
        if let Some(receipt) = batch.receipt.take() {
            content.set_receipt(receipt);
        }
        let _retained = retain.then(|| self.retain(&content, from, batch.now, &mut batch.tally));
        let Batch { routes, wakers, noted, bytes, message_bytes, tally, now, measured, .. } = batch;
        *message_bytes += content.topic().as_str().len() + content.payload().len();
        let found = routes.find(&run.index, content.topic(), tally);
        let Run { index, limits } = run;
        let mut sending = Sending::new(&content, limits, (wakers, noted), bytes, tally, *now);
        let mut is_for_somebody = !found.plain.is_empty() || !found.shared.is_empty();
        for route in &found.plain {
            // The lower of published and granted QoS [MQTT-3.8.4-6].
            sending.deliver(&route.client, &Manner::at(content.qos().min(route.qos)));
        }
        for route in &found.special {
            if let Some(manner) = route.manner(content.qos(), retain, from) {
                is_for_somebody = true;
                sending.deliver(&route.client, &manner);
            }
        }
        if measured.is_some()
            && let Some(last) = found.plain.last()
            && let Some(link) = &mut last.client.session.lock().link
        {
            link.outbox.measure(measured.take());
        }
        for group in found.shared.iter().filter_map(|key| index.group(*key)) {
            if let Err(missed) = group.deliver(&mut sending, retain, Reach::All) {
                missed.count(&mut sending);
            }
        }
        if content.is_shared() {
            *bytes += content.payload().len();
        }
        // What was retained before is gone, too, even if this is not stored.
        let must_be_stored = content.must_be_stored() || retain;
        let is_recorded = content.is_recorded();
        batch.receipt = content.settle(tally);
        if must_be_stored {
            batch.await_group();
        } else if is_recorded {
            batch.await_receipt();
        }
        is_for_somebody
    }
}

/// Why a client of 5.0 may not publish this, if so. The others are not told.
fn refusal(connected: &Connected, topic: Name<'_>, publish: &Publish<'_>) -> Result<Option<Reason>, Ending> {
    let limits = &connected.limits;
    let qos = publish.delivery.qos();
    if qos > limits.max_qos {
        let what = format!("PUBLISH at QoS {qos}, above Maximum QoS [MQTT-3.2.2-11]");
        return Err(violation(Reason::QosNotSupported, what));
    }
    if publish.retain && !limits.retain_available {
        return Err(violation(
            Reason::RetainNotSupported,
            "PUBLISH with RETAIN, which is not available [MQTT-3.2.2-14]",
        ));
    }
    if !may_publish(connected, topic) {
        return Ok(Some(Reason::NotAuthorized));
    }
    if !limits.allow_topic(topic.as_str()) {
        return match qos {
            QoS::AtMostOnce => Err(violation(Reason::TopicNameInvalid, TOPIC_REFUSED)),
            _ => Ok(Some(Reason::TopicNameInvalid)),
        };
    }
    if limits.check_payload_format && !is_as_said(publish.payload, publish.properties) {
        return match qos {
            QoS::AtMostOnce => {
                let what = "PUBLISH whose payload is not UTF-8, which its format indicator says it is";
                Err(violation(Reason::PayloadFormatInvalid, what))
            }
            _ => Ok(Some(Reason::PayloadFormatInvalid)),
        };
    }
    Ok(None)
}

/// The client did what 5.0 forbids, and has a reason code for.
fn violation(reason: Reason, what: impl Into<Cow<'static, str>>) -> Ending {
    Ending::Violation { reason, what: what.into() }
}

/// Whether a payload is UTF-8 if its Payload Format Indicator says so.
pub(super) fn is_as_said(payload: &[u8], properties: Properties<'_>) -> bool {
    properties.iter().all(|property| property != Property::PayloadFormatIndicator(true))
        || str::from_utf8(payload).is_ok()
}

/// Whether a client may publish to the topic: not to the broker's own. A bridge says there whether it is connected.
fn may_publish(connected: &Connected, topic: Name<'_>) -> bool {
    !is_the_brokers(topic) || (connected.is_bridge && is_bridge_state(topic))
}

/// Where bridges say whether they are connected.
fn is_bridge_state(topic: Name<'_>) -> bool {
    topic.as_str().starts_with("$SYS/broker/connection/")
}

/// The trees that the broker alone publishes to.
pub(super) fn is_the_brokers(topic: Name<'_>) -> bool {
    topic.is_reserved() && topic.levels().next().is_some_and(|first| matches!(first, "$SYS" | "$SOL"))
}
