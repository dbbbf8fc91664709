//! `/api/v1/status`.

use serde::Serialize;

use crate::hub::{Stats, StoreStats};
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::state::{State, rfc3339};
use crate::net::resident_bytes;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    started: String,
    uptime_seconds: f64,
    threads: usize,
    listeners: Vec<Listener>,
    stats: &'a Stats,
    store: Option<Store<'a>>,
    memory: Memory,
}

#[derive(Serialize)]
struct Listener {
    address: String,
    protocol: &'static str,
    tls: bool,
    connections: usize,
}

#[derive(Serialize)]
struct Store<'a> {
    #[serde(flatten)]
    stats: &'a StoreStats,
    /// Why it is failing.
    error: Option<String>,
}

#[derive(Serialize)]
struct Memory {
    resident_bytes: Option<u64>,
    used_bytes: usize,
    budget_bytes: usize,
    stage: String,
}

/// The broker as a whole.
pub(in crate::net::http) fn status(state: &State) -> Result<Answer, Refusal> {
    let stats = state.stats();
    let facts = &state.facts;
    let listeners = facts
        .places
        .read()
        .iter()
        .map(|desk| {
            let (manner, entrance) = (desk.manner(), desk.entrance());
            Listener {
                address: entrance.name.to_string(),
                protocol: if manner.websocket.is_some() { "websockets" } else { "mqtt" },
                tls: manner.tls.is_some(),
                connections: entrance.connections(),
            }
        })
        .collect();
    let failing = facts.store.as_ref().and_then(|store| store.failing());
    Ok(json(&Status {
        version: env!("CARGO_PKG_VERSION"),
        started: rfc3339(facts.started.1),
        uptime_seconds: state.uptime(),
        threads: facts.threads,
        listeners,
        stats: &stats,
        store: stats.store.as_ref().map(|stats| Store { stats, error: failing.map(|failing| failing.error) }),
        memory: Memory {
            resident_bytes: resident_bytes(),
            used_bytes: stats.memory_used,
            budget_bytes: stats.memory_budget,
            stage: stats.memory_stage.to_string(),
        },
    }))
}
