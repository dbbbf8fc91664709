//! CONNACK: what a client gets, and what it must know of this server.

use std::borrow::Cow;

use super::farewell::encode_fitting;
use super::publish::is_as_said;
use super::{Batch, Ending, Hub, Limits, Peer, auth};
use crate::codec::{Connack, Connect, Packet, PropertiesBuf, Property, QoS, Reason, Version};
use crate::session::{Expiry, Outbox, Terms};

/// What a CONNECT gets once it is accepted.
pub(super) struct Grant<'c> {
    pub(super) version: Version,
    /// The client's, or one made up for it.
    pub(super) client_id: Cow<'c, str>,
    pub(super) is_clean: bool,
    pub(super) expiry: Expiry,
    /// Seconds; 0 is off.
    pub(super) keep_alive: u16,
    /// Those of its CONNACK.
    properties: PropertiesBuf,
}

/// Why there is no [`Grant`].
pub(super) type Refusal = (Reason, &'static str);

impl Hub {
    /// What the client gets who is that user, where that is known. If it authenticated, it is to hear the `last_word` of
    /// that, too.
    ///
    /// # Errors
    ///
    /// Something in the CONNECT is not available here, or the client takes no CONNACK that says what it must know.
    pub(super) fn grant<'c>(
        &self,
        connect: &Connect<'c>,
        terms: &Terms,
        last_word: Option<&str>,
        (peer, user): (&Peer, Option<&str>),
    ) -> Result<Grant<'c>, Refusal> {
        let (access, limits) = (&peer.access, peer.limits());
        if connect.will.as_ref().is_some_and(|will| !limits.allow_topic(will.topic.as_str())) {
            return Err((Reason::TopicNameInvalid, "the will's topic is longer or deeper than is allowed"));
        }
        let mut grant = Grant {
            version: connect.version,
            client_id: Cow::Borrowed(connect.client_id),
            is_clean: connect.clean_session,
            expiry: Expiry::AT_ONCE,
            keep_alive: connect.keep_alive,
            properties: PropertiesBuf::new(),
        };
        if access.user_as_client_id {
            let user = user.filter(|user| !user.is_empty());
            let user = user.ok_or((
                Reason::NotAuthorized,
                "the user name is the client identifier here, and there is none",
            ))?;
            grant.client_id = Cow::Owned(user.to_owned());
        } else if connect.client_id.is_empty() {
            if !access.identifiers.may_be_empty {
                return Err((Reason::ClientIdentifierNotValid, "a client identifier is needed here"));
            }
            grant.client_id = Cow::Owned(self.unused_identifier(&access.identifiers.prefix));
        }
        let prefixes = &access.client_id_prefixes;
        if !prefixes.is_empty() && !prefixes.iter().any(|prefix| grant.client_id.starts_with(prefix.as_str()))
        {
            return Err((
                Reason::NotAuthorized,
                "the client identifier begins with none of `clientid_prefixes`",
            ));
        }
        if connect.version == Version::V5 {
            self.grant_v5(connect, (terms, limits), last_word, &mut grant)?;
        } else if !connect.clean_session {
            grant.expiry = Expiry::within(limits.persistent_client_expiration);
        }
        Ok(grant)
    }

    /// Says in CONNACK what differs from the standard's defaults, or from what the client asked for.
    fn grant_v5(
        &self,
        connect: &Connect<'_>,
        (terms, limits): (&Terms, &Limits),
        last_word: Option<&str>,
        grant: &mut Grant<'_>,
    ) -> Result<(), Refusal> {
        if let Some(will) = &connect.will {
            // [5.0 MQTT-3.2.2-12]
            if will.qos > limits.max_qos {
                return Err((Reason::QosNotSupported, "the will's QoS is above the highest that is allowed"));
            }
            // [5.0 MQTT-3.2.2-13]
            if will.retain && !limits.retain_available {
                return Err((Reason::RetainNotSupported, "the will is to be retained, and nothing is here"));
            }
            if limits.check_payload_format && !is_as_said(will.payload, will.properties) {
                return Err((
                    Reason::PayloadFormatInvalid,
                    "the will's payload is not UTF-8, as it should be",
                ));
            }
        }
        let (mut asked, mut wants_response_information) = (Expiry::AT_ONCE, false);
        for property in connect.properties.iter() {
            match property {
                Property::SessionExpiryInterval(seconds) => asked = Expiry::from_seconds(seconds),
                Property::RequestResponseInformation(is_wanted) => wants_response_information = is_wanted,
                _ => {}
            }
        }
        grant.expiry = granted_expiry(limits, asked);
        let longest = limits.max_keep_alive.map_or(0, Into::into);
        let keep_alive = match connect.keep_alive {
            asked if longest == 0 || (1..=longest).contains(&asked) => asked,
            _ => longest,
        };
        let mut properties = Vec::new();
        let mut say = |property, is_said: bool| properties.extend(is_said.then_some(property));
        say(Property::SessionExpiryInterval(grant.expiry.seconds()), grant.expiry != asked);
        if let Some(most) = limits.receive_maximum() {
            say(Property::ReceiveMaximum(most), true);
        }
        say(Property::MaximumQos(limits.max_qos), limits.max_qos < QoS::ExactlyOnce);
        say(Property::RetainAvailable(false), !limits.retain_available);
        if let Some(most) = limits.maximum_packet_size() {
            say(Property::MaximumPacketSize(most), true);
        }
        // [5.0 MQTT-3.2.2-16]
        say(Property::AssignedClientIdentifier(&grant.client_id), connect.client_id.is_empty());
        say(Property::TopicAliasMaximum(limits.max_topic_alias), limits.max_topic_alias > 0);
        say(Property::WildcardSubscriptionAvailable(false), !limits.wildcard_available);
        say(Property::SubscriptionIdentifiersAvailable(false), !limits.subscription_ids_available);
        say(Property::SharedSubscriptionAvailable(false), !limits.shared_available);
        say(Property::ServerKeepAlive(keep_alive), keep_alive != connect.keep_alive);
        properties.extend(last_word.into_iter().flat_map(|word| auth::properties(Some(word))));
        let needed = properties.len();
        // [5.0 MQTT-3.1.2-28]
        let information = self.response_information.read();
        let information = information.as_deref().filter(|_| wants_response_information);
        properties.extend(information.map(Property::ResponseInformation));
        let kept = [properties.len(), needed].into_iter().find_map(|count| {
            let mut kept = PropertiesBuf::new();
            properties.iter().take(count).try_for_each(|property| kept.push(*property)).ok()?;
            let mut packet = Vec::new();
            connack(true, Reason::Success, &kept).encode(Version::V5, &mut packet).ok()?;
            // [5.0 MQTT-3.1.2-24]
            terms.takes(packet.len()).then_some(kept)
        });
        let too_small = (Reason::PacketTooLarge, "it takes no packets as large as the CONNACK that it needs");
        grant.properties = kept.ok_or(too_small)?;
        grant.keep_alive = keep_alive;
        Ok(())
    }

    /// Refuses a CONNECT: CONNACK with the code [5.0 MQTT-3.2.2-7], with the reason as far as the client may know it, and
    /// the end.
    pub(super) fn refuse(
        &self,
        terms: &Terms,
        (code, reason): (Reason, String),
        told: Option<&str>,
        batch: &mut Batch,
    ) -> Ending {
        let is_sent_on = matches!(code, Reason::UseAnotherServer | Reason::ServerMoved);
        let redirect = if is_sent_on { self.redirect.lock().clone() } else { None };
        let mut properties = Vec::new();
        if terms.version == Version::V5 {
            properties.extend(redirect.as_ref().map(|to| Property::ServerReference(&to.reference)));
            properties.extend(told.filter(|_| terms.problem_information).map(Property::ReasonString));
        }
        let is_said = encode_fitting(terms, &properties, &mut batch.replies, |properties| {
            connack(false, code, properties)
        });
        batch.tally.messages_sent += i64::from(is_said);
        Ending::Refused { version: terms.version, code, reason }
    }
}

/// Of the session expiry interval that a client asks for, what it gets.
pub(super) fn granted_expiry(limits: &Limits, asked: Expiry) -> Expiry {
    asked.min(Expiry::within(limits.max_session_expiry))
}

impl Grant<'_> {
    /// CONNACK is the first packet the client gets [MQTT-3.2.0-1]. It says whether the session was there
    /// [MQTT-3.2.2-2] [MQTT-3.2.2-3]. What it promises is safe with the group `promised`.
    pub(super) fn accept(&self, session_present: bool, promised: u64, outbox: &mut Outbox) {
        outbox.hold(promised);
        // It was encoded once before.
        let connack = connack(session_present, Reason::Success, &self.properties);
        _ = connack.encode(self.version, outbox.packets());
    }
}

fn connack(session_present: bool, reason: Reason, properties: &PropertiesBuf) -> Packet<'_> {
    Packet::Connack(Connack { session_present, reason, properties: properties.as_properties() })
}
