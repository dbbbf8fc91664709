//! What a client sends: the receiver's half of QoS 2.
//!
//! ```text
//!             PUBLISH (new)               PUBREL
//!   unknown ────────────────▶ received ────────────▶ unknown
//!             forward, PUBREC  │    ▲     PUBCOMP
//!                              └────┘
//!                       PUBLISH again: PUBREC, not forwarded
//! ```
//!
//! The message goes on to its subscribers at once; only the identifier is
//! kept (method B of figure 4.3 in the standard).

use std::collections::HashSet;

use crate::codec::PacketId;

/// Packet identifiers of the QoS 2 messages received and not yet released: 65,535 at most, the range of the type.
#[derive(Debug, Default)]
pub struct Inbound {
    received: HashSet<PacketId, ahash::RandomState>,
}

impl Inbound {
    /// A QoS 2 PUBLISH came. True if it is a new message, to be forwarded [MQTT-4.3.3-2].
    pub fn receive(&mut self, packet_id: PacketId) -> bool {
        self.received.insert(packet_id)
    }

    /// Memory it takes, in bytes, more or less.
    pub(super) fn bytes(&self) -> usize {
        self.received.capacity() * 4
    }

    /// A PUBREL came: the identifier is free for a new message [MQTT-4.3.3-2].
    pub fn release(&mut self, packet_id: PacketId) {
        self.received.remove(&packet_id);
        if self.received.is_empty() && self.received.capacity() > 1024 {
            self.received.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_before_pubrel_is_known_and_after_it_is_new() {
        let seven = PacketId::new(7).unwrap();
        let mut inbound = Inbound::default();
        assert!(inbound.receive(seven));
        assert!(!inbound.receive(seven));
        inbound.release(seven);
        assert!(inbound.receive(seven));
    }
}
