//! The limits on deliveries, which may change while publishers read them: each for itself, without a lock. A publisher that
//! sees some of the old and some of the new ones keeps within either.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use super::Stage;
use super::memory::DeliveryLimits;
use crate::session::OutboundLimits;

#[derive(Default)]
pub(super) struct Delivery {
    in_flight_messages: AtomicU16,
    in_flight_bytes: AtomicUsize,
    queued_messages: AtomicUsize,
    queued_bytes: AtomicUsize,
    stored_messages: AtomicUsize,
    stored_bytes: AtomicUsize,
    outbox_bytes: AtomicUsize,
}

impl Delivery {
    pub(super) fn new(limits: OutboundLimits) -> Self {
        let delivery = Self::default();
        delivery.set(limits);
        delivery
    }

    pub(super) fn set(&self, limits: OutboundLimits) {
        self.in_flight_messages.store(limits.in_flight_messages, Ordering::Relaxed);
        self.in_flight_bytes.store(limits.in_flight_bytes, Ordering::Relaxed);
        self.queued_messages.store(limits.queued_messages, Ordering::Relaxed);
        self.queued_bytes.store(limits.queued_bytes, Ordering::Relaxed);
        self.stored_messages.store(limits.stored_messages, Ordering::Relaxed);
        self.stored_bytes.store(limits.stored_bytes, Ordering::Relaxed);
        self.outbox_bytes.store(limits.outbox_bytes, Ordering::Relaxed);
    }

    /// While memory is ample.
    pub(super) fn limits(&self) -> DeliveryLimits {
        let limits = OutboundLimits {
            in_flight_messages: self.in_flight_messages.load(Ordering::Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Ordering::Relaxed),
            queued_messages: self.queued_messages.load(Ordering::Relaxed),
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed),
            stored_messages: self.stored_messages.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            outbox_bytes: self.outbox_bytes(),
        };
        DeliveryLimits { stage: Stage::Ample, here: limits, away: limits }
    }

    #[inline]
    pub(super) fn outbox_bytes(&self) -> usize {
        self.outbox_bytes.load(Ordering::Relaxed)
    }
}
