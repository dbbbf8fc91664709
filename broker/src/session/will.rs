//! The message a client leaves behind for the case that its connection breaks.

use super::message::Message;
use crate::codec::{self, Property};
use crate::store::{Journal, StoredWill, WillRecord};

/// A will, stored with the connection until it is published or deleted [MQTT-3.1.2-8] [MQTT-3.1.2-10].
#[derive(Clone, Debug)]
pub struct Will {
    /// What to publish, and at which QoS.
    pub message: Message,
    /// Whether to store it as its topic's retained message [MQTT-3.1.2-17].
    pub retain: bool,
    /// How long to wait for the client's return before: the will delay interval, which 3.1 and 3.1.1 do not have.
    pub delay_seconds: u32,
}

impl Will {
    /// As it is written down.
    pub fn record(&self, journal: &Journal) -> WillRecord<'_> {
        let Self { message, retain, delay_seconds } = self;
        WillRecord { message: message.record(journal), retain: *retain, delay_seconds: *delay_seconds }
    }

    /// One that was written down; none if it is no message.
    pub fn restored(stored: StoredWill, journal: &Journal) -> Option<Self> {
        let StoredWill { message, retain, delay_seconds } = stored;
        Some(Self { message: Message::restored(message, journal)?, retain, delay_seconds })
    }

    /// Memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.message.bytes()
    }
}

impl From<&codec::Will<'_>> for Will {
    fn from(will: &codec::Will<'_>) -> Self {
        let message = Message::will(will.topic, will.payload, will.qos, will.properties);
        let delay = will.properties.iter().find_map(|property| match property {
            Property::WillDelayInterval(seconds) => Some(seconds),
            _ => None,
        });
        Self { message, retain: will.retain, delay_seconds: delay.unwrap_or(0) }
    }
}
