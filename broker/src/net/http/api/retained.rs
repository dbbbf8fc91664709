//! `/api/v1/retained`.

use std::time::Instant;

use base64ct::{Base64, Encoding};
use hyper::StatusCode;
use serde::Serialize;

use super::payload::Payload;
use crate::codec::{Properties, Property};
use crate::hub::{RetainedPage, RetainedView};
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::query::Query;
use crate::net::http::state::State;

#[derive(Serialize)]
struct Page {
    retained: Vec<Retained>,
    /// What to ask for behind the last one; none if that was all.
    next: Option<String>,
}

#[derive(Serialize)]
struct Retained {
    topic: String,
    #[serde(flatten)]
    payload: Payload,
    qos: u8,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Words>,
}

/// Properties of 5.0.
#[derive(Default, Serialize)]
struct Words {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_is_utf8: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_data_base64: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_properties: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Removed {
    topic: String,
}

impl Words {
    fn of(properties: Properties<'_>) -> Option<Self> {
        if properties.is_empty() {
            return None;
        }
        let mut words = Self::default();
        for property in properties.iter() {
            match property {
                Property::PayloadFormatIndicator(is_utf8) => words.payload_is_utf8 = Some(is_utf8),
                Property::ContentType(text) => words.content_type = Some(text.to_owned()),
                Property::ResponseTopic(topic) => words.response_topic = Some(topic.to_string()),
                Property::CorrelationData(data) => {
                    words.correlation_data_base64 = Some(Base64::encode_string(data));
                }
                Property::UserProperty(name, value) => {
                    words.user_properties.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        Some(words)
    }
}

impl From<RetainedView> for Retained {
    fn from(RetainedView { topic, payload, bytes, qos, properties }: RetainedView) -> Self {
        let properties = Words::of(properties.as_properties());
        Self { topic, payload: Payload::new(payload, bytes), qos: qos.into(), bytes, properties }
    }
}

/// A page of what is retained. `$SYS` and its like are in it only if the filter names them.
pub(in crate::net::http) fn retained(state: &State, query: Option<&str>) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["filter", "limit", "after"])?;
    let filter = super::filter(query.text("filter").unwrap_or("#"))?;
    let after = query.text("after").map(|text| super::topic("after", text)).transpose()?;
    let page = state.hub.retained(filter, after, super::limit(&query)?, Instant::now());
    let RetainedPage { messages, next } = page;
    Ok(json(&Page { retained: messages.into_iter().map(Retained::from).collect(), next }))
}

/// Removes what is retained for a topic.
pub(in crate::net::http) fn unretain(state: &State, query: Option<&str>) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["topic"])?;
    let text = query.text("topic").ok_or_else(|| Refusal::bad("give `topic`: whose message is to go"))?;
    let topic = super::topic("topic", text)?;
    let removed = state.with_batch(|hub, batch| hub.unretain_by_hand(topic, Instant::now(), batch));
    match removed {
        Ok(true) => Ok(json(&Removed { topic: text.to_owned() })),
        Ok(false) => {
            let what = format!("nothing is retained for {text:?}: /api/v1/retained lists what is");
            Err(Refusal::new(StatusCode::NOT_FOUND, what))
        }
        Err(error) => Err(super::unpublishable(error)),
    }
}
