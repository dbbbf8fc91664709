//! What survives the end of the process: sessions, their messages, what is retained.
//!
//! Whoever changes something that must survive says so in a [`Record`], under the lock that guards what was changed; so
//! the records of one session stand in the order of its changes. What is recorded within one [`Turn`] is one group with
//! whatever else is recorded meanwhile: all of it survives, or nothing. An acknowledgement names the group it depends on
//! and leaves when that is [persisted](Journal::persisted).
//!
//! ```text
//!   sessions, hub ── Record ──▶ Journal ── group ──▶ Writer ──▶ Log ──▶ Files
//!         ▲                        ▲                   │ apply
//!         └──── queued messages ───┴── persisted ──────┴─▶ Image: what of the log is still needed, and where
//! ```

mod cleaning;
mod coding;
mod fetching;
pub mod files;
mod group;
mod image;
mod inspection;
mod journal;
mod log;
mod opening;
mod receipt;
mod record;
mod status;
mod stored;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

pub use coding::RecordError;
pub use group::Draft;
pub use inspection::{describe, repair};
pub use journal::{Clock, Journal, Turn};
pub use log::{
    CorruptPayload, Cut, Defect, Log, LogOptions, MAX_PAYLOAD_BYTES, OpenError, Place, ReadError, Survey,
    Visit, WriteError,
};
pub use opening::{Report, open, open_at};
pub use receipt::Receipt;
pub use record::{
    BodyNumber, MannerRecord, MessageRecord, Position, Record, SessionNumber, SessionRecord,
    SubscriptionRecord, WillRecord,
};
pub use status::{Failing, SYNC_BOUNDS_US, Status};
pub use stored::{Fetch, Fetched, Recovered, RecoveredSession, StoredDelivery, StoredMessage, StoredWill};
pub use writer::{Options, Sink, SyncPolicy, Writer};
