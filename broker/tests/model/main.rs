//! The hub against a naive model of the standard, in virtual time.
//!
//! Random clients, of 3.1.1 and of 5.0 in turn, connect, subscribe, publish, break down and come back. No
//! sockets: [`world`] plays the connections' part and polls one only when it has
//! input or its waker was called, so that a lost wake-up is a lost message.
//! [`model`] says what each client must get. It is exact where the broker has a
//! choice (one delivery for overlapping filters, one order for each topic and
//! QoS, when a message is in flight), so that DUP and limits can be told too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod action;
mod model;
#[path = "../common/outbox.rs"]
mod outbox;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use sol::Limits;

use action::action;
use world::World;

proptest! {
    #[test]
    fn every_client_gets_what_it_is_owed(actions in vec(action(), 1..120)) {
        World::new(Limits::default(), true).play(actions);
    }

    #[test]
    fn at_its_limits_the_broker_drops_the_newest_and_keeps_the_order(actions in vec(action(), 1..120)) {
        // Without expiry: when a full queue is looked through for it is not the standard's.
        World::new(narrow(), false).play(actions);
    }
}

/// Limits that a few actions reach.
fn narrow() -> Limits {
    Limits {
        max_sessions: 2,
        max_subscriptions: 3,
        max_filter_levels: 2,
        max_in_flight_messages: 2,
        max_queued_messages: 3,
        max_retained_messages: 2,
        ..Limits::default()
    }
}
