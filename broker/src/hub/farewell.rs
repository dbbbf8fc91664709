//! The server's last word to a client of 5.0: why its connection ends.

use super::peer::Connected;
use super::{Batch, Ending, Hub, Peer};
use crate::codec::{Disconnect, Packet, PropertiesBuf, Property, Reason, Version};
use crate::session::{Outbox, Terms};

/// Where clients of 5.0 are sent when the broker stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// Other servers: a Server Reference, in the form that §4.11 suggests.
    pub reference: String,
    /// For good, or only for this time.
    pub is_permanent: bool,
}

impl Redirect {
    /// The reason code that goes with it.
    pub(super) fn reason(&self) -> Reason {
        if self.is_permanent { Reason::ServerMoved } else { Reason::UseAnotherServer }
    }
}

impl Hub {
    /// Appends DISCONNECT to what is unsent, for a connection that is about to end for that reason. Says whether it did:
    /// the client should get to read it. There is none before CONNACK [5.0 MQTT-3.14.0-1], behind the client's own
    /// DISCONNECT, or before 5.0.
    pub fn farewell(&self, peer: &Peer, ending: &Ending, unsent: &mut Outbox, batch: &mut Batch) -> bool {
        let is_listening =
            |connected: &&Connected| connected.terms.version == Version::V5 && connected.is_greeted.get();
        let Some(connected) = peer.connected().filter(is_listening) else { return false };
        let Some(mut reason) = ending.reason() else { return false };
        let mut properties = Vec::new();
        let redirect = if *ending == Ending::Stopping { self.redirect.lock().clone() } else { None };
        if let Some(redirect) = &redirect {
            reason = redirect.reason();
            properties.push(Property::ServerReference(&redirect.reference));
        }
        let why = ending.to_string();
        if connected.terms.problem_information {
            properties.push(Property::ReasonString(&why));
        }
        let mut packet = Vec::new();
        let is_said = encode_fitting(&connected.terms, &properties, &mut packet, |properties| {
            Packet::Disconnect(Disconnect { reason, properties: properties.as_properties() })
        });
        if is_said && connected.client.is_traced() {
            batch.trace(&connected.client, false, &Packet::Disconnect(Disconnect::new(reason)));
        }
        unsent.append(&packet);
        batch.tally.messages_sent += i64::from(is_said);
        is_said
    }
}

/// Appends the packet with as many of the properties, from the first on, as the client's Maximum Packet Size has room for
/// [5.0 MQTT-3.1.2-24] [5.0 MQTT-3.2.2-19] [5.0 MQTT-3.14.2-3]. False if there is none for the packet alone, either.
pub(super) fn encode_fitting(
    terms: &Terms,
    properties: &[Property<'_>],
    out: &mut Vec<u8>,
    packet: impl for<'a> Fn(&'a PropertiesBuf) -> Packet<'a>,
) -> bool {
    let start = out.len();
    (0..=properties.len()).rev().any(|count| {
        let mut kept = PropertiesBuf::new();
        // One that cannot be encoded is left out, too.
        let is_encoded = properties.iter().take(count).try_for_each(|property| kept.push(*property)).is_ok()
            && packet(&kept).encode(terms.version, out).is_ok();
        let fits = is_encoded && terms.takes(out.len() - start);
        if !fits {
            out.truncate(start);
        }
        fits
    })
}
