//! `/api/v1/events`: the counters, each second.
//!
//! Latencies are not among them: a message goes from one thread's read to another one's write, and what lies between is
//! measured nowhere, since that would cost each message a look at the clock and a place to keep it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use smol::Timer;
use smol::stream::Stream;

use super::event;
use crate::hub::Stats;
use crate::net::http::answer::{Answer, Refusal, events};
use crate::net::http::query::Query;
use crate::net::http::state::{State, rfc3339};

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Figures {
    time: String,
    stats: Stats,
}

struct Ticking {
    state: Rc<State>,
    timer: Timer,
}

/// Tells the counters at once, and then each second. A client that does not read misses some.
pub(in crate::net::http) fn figures(state: &Rc<State>, query: Option<&str>) -> Result<Answer, Refusal> {
    Query::parse(query, &[])?;
    let timer = Timer::interval_at(Instant::now(), INTERVAL);
    Ok(events(Ticking { state: Rc::clone(state), timer }))
}

impl Stream for Ticking {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        ready!(Pin::new(&mut self.timer).poll_next(cx));
        if self.state.hub.is_stopping() {
            return Poll::Ready(None);
        }
        let figures = Figures { time: rfc3339(SystemTime::now()), stats: self.state.stats() };
        Poll::Ready(Some(event(None, &figures)))
    }
}
