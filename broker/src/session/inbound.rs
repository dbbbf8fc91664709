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
//!
//! What the client sent over this connection counts against the Receive Maximum
//! of the broker; what it has to release from before does not, for its quota
//! began anew (§4.9 of 5.0). QoS 1 is answered at once, and never counts.

use super::identifiers::IdentifierSet;
use crate::codec::PacketId;

/// Packet identifiers of the QoS 2 messages received and not yet released: 65,535 at most, the range of the type.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Over this connection.
    received: IdentifierSet,
    /// Over an earlier one.
    earlier: IdentifierSet,
}

/// What a QoS 2 PUBLISH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A new message, to be forwarded.
    New,
    /// One that was forwarded before.
    Again,
    /// More than the client may send before PUBREL.
    TooMany,
}

impl Inbound {
    /// A QoS 2 PUBLISH came, from a client that may have `maximum` of them unreleased: new ones are to be forwarded, others
    /// not [MQTT-4.3.3-2].
    #[inline]
    pub fn receive(&mut self, packet_id: PacketId, maximum: u16) -> Received {
        if self.received.contains(packet_id) {
            return Received::Again;
        }
        if self.received.len() >= usize::from(maximum) {
            return Received::TooMany;
        }
        self.received.insert(packet_id);
        if self.earlier.remove(packet_id) { Received::Again } else { Received::New }
    }

    /// With what came over the connections of the broker's earlier life.
    pub(super) fn restored(received: &[PacketId]) -> Self {
        Self { earlier: received.iter().copied().collect(), ..Self::default() }
    }

    /// Memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.received.bytes() + self.earlier.bytes()
    }

    /// A PUBREL came: the identifier is free for a new message [MQTT-4.3.3-2]. False if it was not in use.
    #[inline]
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        self.received.remove(packet_id) || self.earlier.remove(packet_id)
    }

    /// The client knows of none of them any more. Gives them.
    pub fn forget(&mut self) -> Vec<PacketId> {
        let Self { received, earlier } = std::mem::take(self);
        received.iter().chain(earlier.iter()).collect()
    }

    /// The connection is over.
    pub(super) fn suspend(&mut self) {
        for packet_id in std::mem::take(&mut self.received).iter() {
            self.earlier.insert(packet_id);
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
        assert_eq!(inbound.receive(seven, 9), Received::New);
        assert_eq!(inbound.receive(seven, 9), Received::Again);
        assert!(inbound.release(seven) && !inbound.release(seven));
        assert_eq!(inbound.receive(seven, 9), Received::New);
    }

    #[test]
    fn what_came_over_an_earlier_connection_does_not_count_until_it_comes_again() {
        let [one, two, three] = [1, 2, 3].map(|id| PacketId::new(id).unwrap());
        let mut inbound = Inbound::default();
        let mut received = |id| inbound.receive(id, 2);
        assert_eq!([one, two, three, one].map(&mut received), {
            use Received::*;
            [New, New, TooMany, Again]
        });
        inbound.suspend();
        assert_eq!(inbound.receive(three, 2), Received::New);
        assert_eq!(inbound.receive(one, 2), Received::Again);
        assert_eq!(inbound.receive(two, 2), Received::TooMany);
        assert!(inbound.release(two) && inbound.release(one));
        assert_eq!(inbound.receive(two, 2), Received::New);
    }
}
