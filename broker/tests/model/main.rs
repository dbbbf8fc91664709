//! The hub against a naive model of the standard, in virtual time.
//!
//! Random clients, of 3.1.1 and of 5.0 in turn, connect, subscribe, publish, break down and come back. No
//! sockets: [`world`] plays the connections' part and polls one only when it has
//! input or its waker was called, so that a lost wake-up is a lost message.
//! [`model`] says what each client must get. It is exact where the broker has a
//! choice (one delivery for overlapping filters, one order for each topic and
//! QoS, when a message is in flight), so that DUP and limits can be told too.
//! With a [`store`] on a disk in memory, the power may fail at any time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod action;
mod model;
#[path = "../common/outbox.rs"]
mod outbox;
mod store;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use sol::Limits;

use action::{action, action_or_power_cut};
use store::Store;
use world::World;

proptest! {
    #[test]
    fn every_client_gets_what_it_is_owed(actions in vec(action(), 1..120)) {
        World::new(Limits::default(), true, None).play(actions);
    }

    #[test]
    fn at_its_limits_the_broker_drops_the_newest_and_keeps_the_order(actions in vec(action(), 1..120)) {
        // Without expiry: when a full queue is looked through for it is not the standard's.
        World::new(narrow(), false, None).play(actions);
    }

    #[test]
    fn what_is_in_the_store_alone_comes_as_if_it_were_not(actions in vec(action(), 1..120)) {
        World::new(Limits::default(), true, Some(Store::new())).play(actions);
    }

    #[test]
    fn no_power_cut_loses_or_repeats_anything(actions in vec(action_or_power_cut(), 1..120)) {
        World::new(Limits::default(), true, Some(Store::new())).play(actions);
    }

    #[test]
    fn at_its_limits_the_store_drops_the_newest_too(actions in vec(action_or_power_cut(), 1..120)) {
        World::new(narrow(), false, Some(Store::new())).play(actions);
    }
}

/// Limits that a few actions reach.
fn narrow() -> Limits {
    Limits {
        max_sessions: 2,
        max_subscriptions: 3,
        max_topic_levels: 3,
        max_in_flight_messages: 2,
        max_queued_messages: 3,
        max_stored_messages: 3,
        max_retained_messages: 2,
        ..Limits::default()
    }
}
