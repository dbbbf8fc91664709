//! What an operator asks, and does by hand.
//!
//! Nothing is put into words under a lock, and no two are held but where a client is disconnected: what is asked for is
//! copied, a page at a time, one client after the other.

mod clients;
mod messages;
mod subscriptions;

pub use clients::{ClientDetails, ClientPage, ClientQuery, ClientView, Dismissed, Sort, WillView};
pub use messages::{Published, RetainedPage, RetainedView, Unpublishable};
pub use subscriptions::{SubscriptionPage, SubscriptionQuery, SubscriptionView};

/// The most that one page has.
pub const MAX_PAGE: usize = 1000;
/// Of a payload, so much is shown at most.
const MAX_SHOWN_BYTES: usize = 64 << 10;

/// A payload, or the begin of a long one.
pub fn shown(payload: &[u8]) -> Vec<u8> {
    payload.get(..MAX_SHOWN_BYTES).unwrap_or(payload).to_vec()
}
