//! How a message goes to one client.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::codec::QoS;
use crate::topic::FilterBuf;

/// Tells one shared subscription from every other, over the broker's whole life.
pub type ShareKey = u64;

/// How a message goes to one client: what its subscriptions ask for.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The lower of published and granted QoS [MQTT-3.8.4-6].
    pub qos: QoS,
    /// RETAIN as the client gets it.
    pub retain: bool,
    /// It is sent because the client subscribed. At QoS 0 it waits where there is no room, and is not dropped.
    pub replayed: bool,
    /// What few deliveries have; it stays with the message in the queue and in flight.
    pub note: Option<Arc<Note>>,
}

/// What goes with a delivery beyond its message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Identifiers of the subscriptions that match, each once (§3.3.2.3.8 of 5.0).
    pub subscription_ids: Box<[NonZeroU32]>,
    /// The shared subscription that it came by.
    pub share: Option<Share>,
}

/// A shared subscription.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// Its number, in this life of the broker.
    pub key: ShareKey,
    /// Its name in all lives: the whole filter.
    pub filter: FilterBuf,
}

/// What a note takes beside its identifiers, in bytes.
const NOTE_BYTES: usize = 64;

impl Note {
    /// Memory it takes, more or less. The one of a shared subscription goes with its member.
    pub fn bytes(&self) -> usize {
        if self.share.is_some() { 0 } else { NOTE_BYTES + size_of_val(self.subscription_ids.as_ref()) }
    }
}

impl Manner {
    /// Without a note, and not as a retained message: to an established subscription RETAIN is 0 [MQTT-3.3.1-9].
    pub fn at(qos: QoS) -> Self {
        Self { qos, retain: false, replayed: false, note: None }
    }

    /// Memory that its note takes, counted for each delivery that has it: there is one for each topic.
    pub(super) fn note_bytes(&self) -> usize {
        self.note.as_ref().map_or(0, |note| note.bytes())
    }
}
