//! `kick`, `reload` and `trace`: what changes something.

use serde_json::Value;

use super::Switch;
use super::answers::{Dismissed, Reloaded};
use super::api::{Api, Failure, encoded};
use super::out::Out;
use super::words::escaped;

/// Disconnects a client, and may end its session.
pub(super) fn kick(api: &Api, out: &Out, id: &str, ends_session: bool) -> Result<(), Failure> {
    out.say(dismiss(api, id, ends_session)?, |answer| Ok(dismissed(api, id, answer)? + "\n"))
}

/// Disconnects a client that `top` shows, and says in words what became of it.
pub(super) fn kick_shown(api: &Api, id: &str) -> Result<String, Failure> {
    dismissed(api, id, dismiss(api, id, false)?)
}

fn dismiss(api: &Api, id: &str, ends_session: bool) -> Result<Value, Failure> {
    let query = if ends_session { "?session=true" } else { "" };
    api.delete(&format!("/api/v1/clients/{}{query}", encoded(id)))
}

fn dismissed(api: &Api, id: &str, answer: Value) -> Result<String, Failure> {
    let Dismissed { disconnected, session_ended } = api.understand(answer)?;
    let connection = if disconnected { "is disconnected" } else { "was not connected" };
    let session = if session_ended { "its session ends" } else { "its session stays" };
    Ok(format!("{} {connection}, {session}", escaped(id)))
}

/// Lets the broker read its configuration again.
pub(super) fn reload(api: &Api, out: &Out) -> Result<(), Failure> {
    out.say(api.post("/api/v1/reload", &Value::Null)?, |answer| {
        let Reloaded { changed, needs_restart } = api.understand(answer)?;
        let list = |keys: &[String]| keys.iter().map(|key| escaped(key)).collect::<Vec<_>>().join(", ");
        let mut words = if changed.is_empty() {
            "read again: the configuration is as it was\n".to_owned()
        } else {
            format!("changed: {}\n", list(&changed))
        };
        if !needs_restart.is_empty() {
            words += &format!("changed in the file, but only a restart does it: {}\n", list(&needs_restart));
        }
        Ok(words)
    })
}

/// Has each packet of a client logged, or no longer.
pub(super) fn trace(api: &Api, out: &Out, id: &str, state: Switch) -> Result<(), Failure> {
    let path = format!("/api/v1/clients/{}/trace", encoded(id));
    let answer = match state {
        Switch::On => api.put(&path)?,
        Switch::Off => api.delete(&path)?,
    };
    out.say(answer, |answer| {
        let id = escaped(id);
        let is_unknown = answer.get("known").and_then(Value::as_bool) == Some(false);
        Ok(match state {
            Switch::On if is_unknown => {
                format!(
                    "there is no client {id} yet: when it comes, each of its packets is a line in the log\n"
                )
            }
            Switch::On => format!("each packet of {id} is a line in the broker's log\n"),
            Switch::Off => format!("packets of {id} are no longer logged\n"),
        })
    })
}
