//! `/healthz` and `/readyz`, for whoever starts the broker anew or sends clients to it.

use hyper::StatusCode;
use serde::Serialize;

use super::answer::{Answer, Refusal, json};
use super::state::State;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// The process answers.
pub(super) fn alive() -> Answer {
    json(&Health { status: "alive" })
}

/// Clients are served.
///
/// # Errors
///
/// Why they are not.
pub(super) fn ready(state: &State) -> Result<Answer, Refusal> {
    match state.unready() {
        None => Ok(json(&Health { status: "ready" })),
        Some(why) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}
