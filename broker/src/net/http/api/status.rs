//! `/api/v1/status`.

use serde::Serialize;

use crate::hub::{Stats, StoreStats};
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::state::{State, rfc3339};
use crate::net::resident_bytes;
use crate::store::SYNC_BOUNDS_US;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    started: String,
    uptime_seconds: f64,
    threads: usize,
    listeners: Vec<Listener>,
    stats: &'a Stats,
    store: Option<Store>,
    memory: Memory,
}

#[derive(Serialize)]
struct Listener {
    address: String,
    protocol: &'static str,
    tls: bool,
    connections: usize,
}

/// The store as JSON has it.
#[derive(Serialize)]
pub(in crate::net::http) struct Store {
    #[serde(flatten)]
    stats: StoreStats,
    /// How long it waited for stable storage in all.
    sync_seconds: f64,
    /// What these waits are sorted by: the upper bound of each place but the last, which has none.
    sync_bounds_seconds: Vec<f64>,
    /// How many there were in each place.
    sync_counts: Vec<u64>,
    /// Why it is failing.
    error: Option<String>,
}

impl Store {
    /// None if nothing survives the broker.
    pub(in crate::net::http) fn of(state: &State, stats: &Stats) -> Option<Self> {
        let (status, stats) = state.facts.store.as_deref().zip(stats.store)?;
        Some(Self {
            stats,
            sync_seconds: status.sync_time().as_secs_f64(),
            sync_bounds_seconds: SYNC_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect(),
            sync_counts: status.sync_places().to_vec(),
            error: status.failing().map(|failing| failing.error),
        })
    }
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
                address: desk.name(),
                protocol: if manner.websocket.is_some() { "websockets" } else { "mqtt" },
                tls: manner.tls.is_some(),
                connections: entrance.connections(),
            }
        })
        .collect();
    Ok(json(&Status {
        version: env!("CARGO_PKG_VERSION"),
        started: rfc3339(facts.started.1),
        uptime_seconds: state.uptime(),
        threads: facts.threads,
        listeners,
        stats: &stats,
        store: Store::of(state, &stats),
        memory: Memory {
            resident_bytes: resident_bytes(),
            used_bytes: stats.memory_used,
            budget_bytes: stats.memory_budget,
            stage: stats.memory_stage.to_string(),
        },
    }))
}
