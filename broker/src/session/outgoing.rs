//! [`Outbound`], for sessions most of which are never sent anything at QoS 1 or 2, or are at rest.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::Instant;

use super::identifiers::Identifiers;
use super::log::SessionLog;
use super::manner::Manner;
use super::message::Content;
use super::outbound::{Outbound, OutboundLimits, Outcome, Wanted};
use super::outbox::Outbox;
use super::tally::Tally;
use crate::codec::QoS;

/// What a session without one has.
static NOTHING: LazyLock<Outbound> = LazyLock::new(Outbound::default);

/// Messages for one client, which take memory from the first one on until the client rests.
///
/// Whatever changes them makes their place, but for what happens to every session, below.
#[derive(Debug, Default)]
pub struct Outgoing {
    made: Option<Box<Outbound>>,
    /// As they were when the place was let go of: a client is not to get the same ones again and again.
    identifiers: Identifiers,
}

impl Outgoing {
    /// See [`Outbound::log`].
    pub fn log(&self) -> Option<&SessionLog> {
        self.made.as_ref()?.log()
    }

    /// See [`Outbound::deliver`].
    #[inline(always)]
    pub fn deliver(
        &mut self,
        content: &Content<'_>,
        manner: &Manner,
        outbox: Option<&mut Outbox>,
        limits: &OutboundLimits,
        now: Instant,
    ) -> Outcome {
        let Self { made, identifiers } = self;
        let outbound = match made {
            Some(outbound) => outbound,
            None => {
                let has_room = outbox.as_ref().is_some_and(|outbox| outbox.bytes() < limits.outbox_bytes);
                if manner.qos == QoS::AtMostOnce && (has_room || !manner.replayed) {
                    let outbox = outbox.filter(|_| has_room);
                    return Outbound::pass(content, manner, outbox, now).unwrap_or(Outcome::Dropped);
                }
                made.insert(Box::new(Outbound::with(*identifiers)))
            }
        };
        outbound.deliver(content, manner, outbox, limits, now)
    }

    /// See [`Outbound::poll_queue`].
    #[inline]
    pub fn poll_queue(&mut self, outbox: &mut Outbox, limits: &OutboundLimits, now: Instant) {
        if let Some(outbound) = &mut self.made {
            outbound.poll_queue(outbox, limits, now);
        }
    }

    /// See [`Outbound::wanted`].
    #[inline]
    pub fn wanted(&mut self) -> Option<Wanted> {
        self.made.as_mut()?.wanted()
    }

    /// See [`Outbound::suspend`].
    pub fn suspend(&mut self) {
        if let Some(outbound) = &mut self.made {
            outbound.suspend();
        }
    }

    /// See [`Outbound::resume`].
    pub fn resume(&mut self, outbox: &mut Outbox, now: Instant) {
        if let Some(outbound) = &mut self.made {
            outbound.resume(outbox, now);
        }
    }

    #[inline]
    pub(super) fn settle(&mut self, tally: &mut Tally) {
        if let Some(outbound) = &mut self.made {
            outbound.settle(tally);
        }
    }

    /// One more is in flight, and nothing else has changed: the part of [`Outgoing::settle`] that this needs.
    #[inline]
    pub(super) fn settle_in_flight(&mut self, tally: &mut Tally) {
        if let Some(outbound) = &mut self.made {
            outbound.settle_in_flight(tally);
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(outbound) = &mut self.made {
            outbound.clear();
        }
    }

    /// Whether [`Outgoing::rest`] gave memory back.
    pub(super) fn has_spare(&self) -> bool {
        self.made.as_ref().is_some_and(|outbound| outbound.has_spare())
    }

    /// Gives back memory that nothing is in.
    pub(super) fn rest(&mut self) {
        if let Some(outbound) = &mut self.made {
            self.identifiers = outbound.identifiers();
            if outbound.is_blank() {
                self.made = None;
            } else {
                outbound.let_go_of_room();
            }
        }
    }
}

impl From<Outbound> for Outgoing {
    fn from(outbound: Outbound) -> Self {
        Self { made: Some(outbound.into()), ..Self::default() }
    }
}

impl Deref for Outgoing {
    type Target = Outbound;

    fn deref(&self) -> &Outbound {
        self.made.as_deref().unwrap_or_else(|| &NOTHING)
    }
}

impl DerefMut for Outgoing {
    fn deref_mut(&mut self) -> &mut Outbound {
        self.made.get_or_insert_with(|| Box::new(Outbound::with(self.identifiers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::PacketId;
    use crate::session::outbound;
    use crate::topic::Name;

    const LIMITS: OutboundLimits = OutboundLimits { outbox_bytes: 10, ..outbound::tests::LIMITS };

    fn deliver(outgoing: &mut Outgoing, outbox: &mut Outbox, qos: QoS, replayed: bool) -> Outcome {
        let content = Content::new(Name::new("topic").unwrap(), b"payload", qos);
        let manner = Manner { replayed, ..Manner::at(qos) };
        outgoing.deliver(&content, &manner, Some(outbox), &LIMITS, Instant::now())
    }

    #[test]
    fn what_passes_through_makes_no_place() {
        let (mut outgoing, mut outbox) = (Outgoing::default(), Outbox::default());
        assert!(matches!(deliver(&mut outgoing, &mut outbox, QoS::AtMostOnce, false), Outcome::Sent(_)));
        assert_eq!(deliver(&mut outgoing, &mut outbox, QoS::AtMostOnce, false), Outcome::Dropped);
        outgoing.poll_queue(&mut outbox, &LIMITS, Instant::now());
        outgoing.settle(&mut Tally::default());
        assert_eq!((outgoing.in_flight(), outgoing.queued(), outgoing.made.is_none()), (0, 0, true));
        assert_eq!(deliver(&mut outgoing, &mut outbox, QoS::AtMostOnce, true), Outcome::Queued);
        assert_eq!(outgoing.queued(), 1);
    }

    #[test]
    fn after_a_rest_identifiers_go_on() {
        let mut outgoing = Outgoing::default();
        for id in 1..=3 {
            let mut outbox = Outbox::default();
            assert!(matches!(deliver(&mut outgoing, &mut outbox, QoS::AtLeastOnce, false), Outcome::Sent(_)));
            outgoing.rest();
            assert!(!outgoing.has_spare() && outgoing.in_flight() == 1);
            assert!(outgoing.handle_puback(PacketId::new(id).unwrap()));
            outgoing.settle(&mut Tally::default());
            assert!(outgoing.has_spare());
            outgoing.rest();
            assert!(outgoing.made.is_none() && !outgoing.has_spare());
        }
    }
}
