//! `/api/v1/events`: the counters and how long messages took, each second.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use smol::Timer;
use smol::stream::Stream;

use super::event;
use crate::hub::{Latencies, Stats};
use crate::net::http::answer::{Answer, Refusal, events};
use crate::net::http::api::Store;
use crate::net::http::query::Query;
use crate::net::http::state::{State, rfc3339};
use crate::net::resident_bytes;

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Figures {
    time: String,
    stats: Stats,
    store: Option<Store>,
    resident_bytes: Option<u64>,
    /// Of the time since the event before; none if nothing was measured.
    latency_us: Option<Latency>,
}

#[derive(Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    samples: u64,
}

impl Latency {
    fn of(latencies: &Latencies) -> Option<Self> {
        let [p50, p99] = [50, 99].map(|percent| latencies.percentile_us(percent));
        Some(Self { p50: p50?, p99: p99?, samples: latencies.count() })
    }
}

struct Ticking {
    state: Rc<State>,
    /// Those that were told.
    told: Latencies,
    timer: Timer,
}

/// Tells the counters at once, and then each second. A client that does not read misses some.
pub(in crate::net::http) fn figures(state: &Rc<State>, query: Option<&str>) -> Result<Answer, Refusal> {
    Query::parse(query, &[])?;
    let timer = Timer::interval_at(Instant::now(), INTERVAL);
    Ok(events(Ticking { state: Rc::clone(state), told: state.hub.latencies(), timer }))
}

impl Stream for Ticking {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(Pin::new(&mut self.timer).poll_next(cx));
        if self.state.hub.is_stopping() {
            return Poll::Ready(None);
        }
        let latencies = self.state.hub.latencies();
        let latency_us = Latency::of(&latencies.since(&self.told));
        self.told = latencies;
        let stats = self.state.stats();
        let store = Store::of(&self.state, &stats);
        let time = rfc3339(SystemTime::now());
        let resident_bytes = resident_bytes();
        let figures = Figures { time, stats, store, resident_bytes, latency_us };
        Poll::Ready(Some(event(None, &figures)))
    }
}
