//! `/api/v1/subscriptions`.

use serde::Serialize;

use super::clients::Subscription;
use crate::hub::{SubscriptionPage, SubscriptionQuery};
use crate::net::http::answer::{Answer, Refusal, json};
use crate::net::http::query::Query;
use crate::net::http::state::State;

/// Between a client identifier and a filter; neither has it.
const SEPARATOR: char = '\n';

#[derive(Serialize)]
struct Page {
    subscriptions: Vec<OfClient>,
    /// What to ask for behind the last one; none if that was all.
    next: Option<String>,
}

#[derive(Serialize)]
struct OfClient {
    client: String,
    #[serde(flatten)]
    subscription: Subscription,
}

/// A page of subscriptions.
pub(in crate::net::http) fn subscriptions(state: &State, query: Option<&str>) -> Result<Answer, Refusal> {
    let query = Query::parse(query, &["filter", "client", "limit", "after"])?;
    let filter = match query.text("filter") {
        Some(text) => Some(super::filter(text)?.into()),
        None => None,
    };
    let after = match query.text("after").map(|after| after.split_once(SEPARATOR)) {
        Some(None) => return Err(Refusal::bad("`after` is not what `next` of a page before said")),
        after => after.flatten().map(|(client, filter)| (client.to_owned(), filter.to_owned())),
    };
    let client = query.text("client").map(str::to_owned);
    let query = SubscriptionQuery { limit: super::limit(&query)?, after, filter, client };
    let SubscriptionPage { subscriptions, next } = state.hub.subscriptions(&query);
    let subscriptions = subscriptions
        .into_iter()
        .map(|(client, view)| OfClient { client: client.to_string(), subscription: view.into() });
    Ok(json(&Page {
        subscriptions: subscriptions.collect(),
        next: next.map(|(client, filter)| format!("{client}{SEPARATOR}{filter}")),
    }))
}
