//! `/api/v1/publish`.

use std::time::Instant;

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use crate::codec::QoS;
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    topic: String,
    payload: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
}

#[derive(Serialize)]
struct Published {
    /// Sessions that want it; a shared subscription is one.
    receivers: usize,
}

/// Publishes a message.
pub(in crate::net::http) fn publish(state: &State, body: &[u8]) -> Result<Answer, Refusal> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        let form = r#"{"topic":"a/b","payload":"text","qos":0,"retain":false}"#;
        Refusal::bad(format!("the body is not what is published: {error}; give JSON such as {form}"))
    })?;
    let payload = match (asked.payload, asked.payload_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => Base64::decode_vec(&text)
            .map_err(|_| Refusal::bad("`payload_base64` is no base64 with its padding"))?,
        (None, None) => Vec::new(),
        (Some(_), Some(_)) => return Err(Refusal::bad("give `payload` or `payload_base64`, not both")),
    };
    let qos = QoS::try_from(asked.qos)
        .map_err(|_| Refusal::bad(format!("`qos` cannot be {}: give 0, 1 or 2", asked.qos)))?;
    let topic = super::topic("topic", &asked.topic)?;
    let published = state.with_batch(|hub, batch| {
        hub.publish_by_hand(topic, &payload, (qos, asked.retain), Instant::now(), batch)
    });
    let published = published.map_err(super::unpublishable)?;
    Ok(json(&Published { receivers: published.receivers }))
}
