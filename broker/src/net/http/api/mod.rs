//! `/api/v1`: what programs ask, and do. A figure has its unit in its name; a time is in the form of RFC 3339, in UTC.

mod clients;
mod payload;
mod status;

pub(super) use clients::{client, clients, dismiss};
pub(super) use status::status;

use super::answer::Refusal;
use super::query::Query;
use crate::hub::MAX_PAGE;

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
