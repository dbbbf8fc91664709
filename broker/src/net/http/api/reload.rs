//! `/api/v1/reload`.

use hyper::StatusCode;
use serde::Serialize;

use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::state::State;

#[derive(Serialize)]
struct Changes {
    changed: Vec<String>,
    needs_restart: Vec<String>,
}

#[derive(Serialize)]
struct Problems {
    problems: Vec<String>,
}

/// Has the configuration read again.
pub(in crate::net::http) async fn reload(state: &State) -> Result<Answer, Refusal> {
    let what =
        "there is no configuration file to read: the program that this broker is part of has its own way";
    match state.facts.asking.ask().await {
        None => Err(Refusal::new(StatusCode::CONFLICT, what)),
        Some(Ok(changes)) => {
            Ok(json(&Changes { changed: changes.changed, needs_restart: changes.needs_restart }))
        }
        Some(Err(problems)) => {
            let mut answer = json(&Problems { problems });
            *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(answer)
        }
    }
}
