//! Nothing that was acknowledged is lost, however often the broker is killed: a real process, clients that keep their own
//! side of each session as the standard asks for, kill -9 at random moments, a start on the same directory and port, and
//! so on. Then all that was acknowledged must be where it belongs.
//!
//! ```text
//! SOL_CRASH=5000 cargo test --release -p sol --test crash -- --nocapture          # rounds
//! SOL_CRASH=5000,1234 cargo test --release -p sol --test crash -- --nocapture     # and a seed to repeat
//! SOL_CRASH_PEER=mosquitto cargo test -p sol --test crash -- --nocapture          # the same done to mosquitto
//! ```
//!
//! A seed repeats what the clients decide and when the broker is killed; what the system does meanwhile, it cannot.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod broker;
#[path = "../common/mod.rs"]
mod common;
mod connection;
mod fickle;
mod figures;
mod ledger;
mod publisher;
#[allow(dead_code)]
#[path = "../endurance/random.rs"]
mod random;
mod retained;
mod rounds;
mod subscriber;
mod testator;
mod world;

use broker::Kind;
use figures::{Fate, Table};

const ALWAYS: Kind = Kind::Sol { sync: Some("always") };
/// So many take about a minute in a debug build.
const ROUNDS: u32 = 200;
/// A round of which mosquitto saves anything takes a second.
const ROUNDS_OF_A_PEER: u32 = 40;
/// Enough to see that it does not matter to a kill whether the disk has it.
const ROUNDS_WITHOUT_SYNC: u32 = 20;
/// Enough for a broker that forgets everything at each kill.
const ROUNDS_TO_LOSE: u32 = 16;

#[test]
fn nothing_acknowledged_is_lost() {
    let (rounds, seed) = asked_for();
    let mut table = Table::default();
    let fate = rounds::play(ALWAYS, rounds, seed);
    table.add(&fate);
    println!("{table}");
    fate.must_be_spotless();
}

/// The system has what was written, and lives on.
#[test]
fn what_is_written_survives_a_kill() {
    let (_, seed) = asked_for();
    let mut table = Table::default();
    let fates = ["interval 5s", "os"]
        .map(|sync| rounds::play(Kind::Sol { sync: Some(sync) }, ROUNDS_WITHOUT_SYNC, seed));
    fates.iter().for_each(|fate| table.add(fate));
    println!("{table}");
    fates.iter().for_each(Fate::must_be_spotless);
}

/// Or the tests above would prove nothing.
#[test]
fn what_a_broker_without_persistence_loses_is_seen() {
    let (_, seed) = asked_for();
    let fate = rounds::play(Kind::Sol { sync: None }, ROUNDS_TO_LOSE, seed);
    let mut table = Table::default();
    table.add(&fate);
    println!("{table}");
    assert!(fate.tally.lost > 0 && fate.tally.sessions_lost > 0 && fate.tally.retained_lost > 0, "{table}");
}

/// Reports, and judges nobody.
#[test]
fn the_same_is_done_to_mosquitto() {
    if std::env::var("SOL_CRASH_PEER").is_ok_and(|peer| peer == "mosquitto") {
        let is_installed = common::peers::exit_status("mosquitto", &["-h"]).is_some();
        if common::peers::has("mosquitto", is_installed) {
            let (rounds, seed) = asked_for();
            let mut table = Table::default();
            let autosave = [None, Some(1)];
            let peers = autosave.map(|autosave_seconds| Kind::Mosquitto { autosave_seconds });
            for kind in peers.into_iter().chain([ALWAYS]) {
                table.add(&rounds::play(kind, rounds.min(ROUNDS_OF_A_PEER), seed));
            }
            println!("{table}");
        }
    }
}

/// Rounds and seed.
fn asked_for() -> (u32, u64) {
    let asked = std::env::var("SOL_CRASH").unwrap_or_default();
    let (rounds, seed) = asked.split_once(',').unwrap_or((&asked, ""));
    let number = |text: &str| text.parse().expect("SOL_CRASH is ROUNDS or ROUNDS,SEED");
    let rounds = if rounds.is_empty() { ROUNDS } else { u32::try_from(number(rounds)).unwrap() };
    let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    (rounds, if seed.is_empty() { since_1970.as_micros() as u64 } else { number(seed) })
}
