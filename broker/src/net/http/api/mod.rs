//! `/api/v1`: what programs ask, and do. A figure has its unit in its name; a time is in the form of RFC 3339, in UTC.

mod clients;
mod payload;
mod publish;
mod reload;
mod retained;
mod status;
mod subscriptions;

pub(super) use clients::{client, clients, dismiss, end_trace, trace};
use hyper::StatusCode;
pub(super) use payload::Payload;
pub(super) use publish::publish;
pub(super) use reload::reload;
pub(super) use retained::{retained, unretain};
pub(super) use status::{Store, status};
pub(super) use subscriptions::subscriptions;

use super::answer::Refusal;
use super::query::Query;
use crate::hub::{MAX_PAGE, Unpublishable};
use crate::topic::{Filter, Name};

/// How many of something a page has where nobody asks for more.
const USUAL_PAGE: usize = 100;

/// How many of something a page is to have.
fn limit(query: &Query) -> Result<usize, Refusal> {
    let kind = "a number from 1 to 1000";
    let limit = query.value("limit", kind)?.unwrap_or(USUAL_PAGE);
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Refusal::bad(format!("`limit` cannot be {limit}: give {kind}")))
}

pub(super) fn filter(text: &str) -> Result<Filter<'_>, Refusal> {
    Filter::new(text).map_err(|error| Refusal::bad(format!("`filter` cannot be `{text}`: {error}")))
}

fn topic<'t>(name: &str, text: &'t str) -> Result<Name<'t>, Refusal> {
    Name::new(text).map_err(|error| Refusal::bad(format!("`{name}` cannot be `{text}`: {error}")))
}

fn unpublishable(error: Unpublishable) -> Refusal {
    let status = match error {
        Unpublishable::TheBrokers => StatusCode::FORBIDDEN,
        Unpublishable::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Unpublishable::Topic | Unpublishable::NoRetain | Unpublishable::QoS => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, error.to_string())
}
