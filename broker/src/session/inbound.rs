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

/// Packet identifiers of the QoS 2 messages received and not yet released: 65,535 at most, the range of the type. Most
/// clients never send one.
#[derive(Debug, Default)]
pub struct Inbound(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
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
        let Known { received, earlier } = &mut **self.0.get_or_insert_default();
        if received.contains(packet_id) {
            return Received::Again;
        }
        if received.len() >= usize::from(maximum) {
            return Received::TooMany;
        }
        received.insert(packet_id);
        if earlier.remove(packet_id) { Received::Again } else { Received::New }
    }

    /// With what came over the connections of the broker's earlier life.
    pub(super) fn restored(received: &[PacketId]) -> Self {
        let earlier = || Known { earlier: received.iter().copied().collect(), ..Known::default() };
        Self((!received.is_empty()).then(|| Box::new(earlier())))
    }

    /// Memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |known| size_of::<Known>() + known.received.bytes() + known.earlier.bytes())
    }

    /// A PUBREL came: the identifier is free for a new message [MQTT-4.3.3-2]. False if it was not in use.
    #[inline]
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        self.0
            .as_mut()
            .is_some_and(|known| known.received.remove(packet_id) || known.earlier.remove(packet_id))
    }

    /// The client knows of none of them any more. Gives them.
    pub fn forget(&mut self) -> Vec<PacketId> {
        let Known { received, earlier } = self.0.take().map(|known| *known).unwrap_or_default();
        received.iter().chain(earlier.iter()).collect()
    }

    /// The connection is over.
    pub(super) fn suspend(&mut self) {
        if let Some(known) = &mut self.0 {
            for packet_id in std::mem::take(&mut known.received).iter() {
                known.earlier.insert(packet_id);
            }
        }
        self.rest();
    }

    /// Whether [`Inbound::rest`] gave memory back.
    pub(super) fn has_spare(&self) -> bool {
        self.0.as_ref().is_some_and(|known| known.received.len() + known.earlier.len() == 0)
    }

    /// Gives back memory that nothing is in.
    pub(super) fn rest(&mut self) {
        if self.has_spare() {
            self.0 = None;
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
    fn at_rest_it_takes_no_memory() {
        let seven = PacketId::new(7).unwrap();
        let mut inbound = Inbound::default();
        inbound.receive(seven, 9);
        inbound.rest();
        assert_eq!(inbound.receive(seven, 9), Received::Again);
        assert!(inbound.release(seven) && inbound.has_spare());
        inbound.rest();
        assert_eq!((inbound.0.is_none(), inbound.bytes()), (true, 0));
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
