//! The three versions at once on one port: thousands of clients with all kinds of subscriptions, and each gets what the
//! model says.
//!
//! `SOL_CROWD=9000 cargo test --release -p sol --test v5_crowd` runs so many clients; 3000 are the default. Each takes two
//! of the files that the process may have open.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod plan;
#[allow(dead_code)]
#[path = "../endurance/random.rs"]
mod random;

use std::num::NonZeroUsize;

use client::{Gates, take_part};
use common::{PATIENCE, eventually};
use plan::Plan;
use smol::LocalExecutor;
use smol::future::or;
use sol::{Broker, Config, Stats};

/// Files that are neither end of a client's connection.
const OTHER_FILES: u64 = 200;

#[test]
fn each_client_of_each_version_gets_what_the_model_says() {
    let plan = Plan::new(clients());
    // More threads than cores, so that they interrupt each other.
    let config = Config {
        threads: NonZeroUsize::new(3).unwrap(),
        spread: true,
        stats_interval: None,
        ..Config::on("127.0.0.1:0".parse().unwrap())
    };
    let broker = Broker::start(config).unwrap();
    let (gates, control) = Gates::new();
    let executor = LocalExecutor::new();
    let received = smol::block_on(executor.run(async {
        let tasks: Vec<_> = (0..plan.clients.len())
            .map(|number| executor.spawn(take_part(&plan, number, broker.local_addr(), &gates)))
            .collect();
        let all_arrive = async |what: &str| {
            for _ in &tasks {
                within_patience(what, control.arrived.recv()).await.unwrap();
            }
        };
        all_arrive("all are subscribed").await;
        let away = plan.clients.iter().filter(|client| client.is_away).count();
        is_so("some are away", || broker.stats().clients_disconnected == away).await;
        drop(control.publish);
        all_arrive("all is published").await;
        drop(control.come_back);
        all_arrive("all are back").await;
        // What is not yet in an outbox waits for acknowledgements.
        let waiting = |Stats { queued, in_flight, .. }| queued + in_flight;
        is_so("all is acknowledged", || waiting(broker.stats()) == 0).await;
        drop(control.end);
        let mut received = Vec::new();
        for task in tasks {
            received.push(within_patience("all have all", task).await);
        }
        received
    }));
    assert_eq!(broker.stats().dropped(), 0);
    model::check(&plan, &received);
    eventually("all are gone", || broker.stats().connections == 0);
}

/// As many as asked for, or as this process may have files for.
fn clients() -> usize {
    let wanted =
        std::env::var("SOL_CROWD").map_or(3000, |count| count.parse().expect("SOL_CROWD is a number"));
    let files = files();
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap();
    if possible < wanted {
        common::peers::may(&format!("have {wanted} clients: with {files} files it is {possible}"), false);
    }
    wanted.min(possible)
}

/// How many files this process may have open, once it may have as many as possible.
#[cfg(unix)]
fn files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn files() -> u64 {
    u64::MAX
}

async fn within_patience<T>(what: &str, event: impl Future<Output = T>) -> T {
    or(event, async {
        smol::Timer::after(PATIENCE).await;
        panic!("never: {what}")
    })
    .await
}

/// Waits until it is so, and lets the clients work meanwhile.
async fn is_so(what: &str, mut is_so: impl FnMut() -> bool) {
    within_patience(what, async {
        while !is_so() {
            smol::Timer::after(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
}
