//! What the broker tells an operator by HTTP, and does for one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod api;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod guard;
mod health;
mod https;
mod metrics;
mod page;
mod streams;

use sol::config::Http;
use sol::{Broker, Config, Limits};

/// A broker that speaks HTTP to whoever is on this machine.
fn broker(limits: Limits) -> Broker {
    broker_with(limits, Http::on("127.0.0.1:0".parse().unwrap()))
}

fn broker_with(limits: Limits, http: Http) -> Broker {
    let address = "127.0.0.1:0".parse().unwrap();
    Broker::start(Config { limits, http, stats_interval: None, ..Config::on(address) }).unwrap()
}
