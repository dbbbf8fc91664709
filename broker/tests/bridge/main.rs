//! Bridges: to another Sol and to Debian's mosquitto, and mosquitto's own to Sol.
//!
//! What needs mosquitto is skipped where it is not installed, see `common/peers.rs`. `SOL_FLOODS=full` cuts the connection of
//! `nothing_is_lost_while_the_connection_is_cut` for a minute, with 1,000 messages a second both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../tls/pki.rs"]
mod pki;

mod brokers;
mod cut;
mod flood;
mod messages;
mod proxy;
mod scripted;
mod settings;
mod tls;
