//! The broker under long, heavy and hostile use. It runs as a process of its own, so that memory and processor time
//! are its alone.
//!
//! `cargo test` runs each test small and looks only at what must hold on any machine: nothing lost, nothing twice,
//! order kept, everybody served, memory bounded. The full size, which also judges times and prints figures:
//!
//! ```text
//! SOL_ENDURANCE=full cargo test --release -p sol --test endurance -- --nocapture
//! ```
//!
//! Name a test behind `--` to run it alone. `SOL_ENDURANCE_SEED` repeats a flood. Loopback only.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod broker;
mod client;
mod figures;
mod flood;
mod random;
mod run;
mod script;
mod soak;
mod stuck_readers;

/// Many clients that all publish and subscribe, for a minute: no loss at QoS 1 and 2, and memory stays level.
#[test]
fn soak() {
    soak::run(&run::begin("soak"));
}

/// Clients that never read, under a heavy stream, slow nobody else down.
#[test]
fn stuck_readers() {
    stuck_readers::run(&run::begin("stuck_readers"));
}

/// Millions of random and mutated packets: no panic, no hang, memory stays level, others are served.
#[test]
fn flood() {
    flood::run(&run::begin("flood"));
}
