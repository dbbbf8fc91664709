//! Sol: a multi-threaded, durable MQTT broker with bounded memory, as a library and as the command `sol`.
//!
//! [`Broker::start`] runs a broker inside this process, which is how tests
//! and benches have one on a free port; `sol` is the same broker alone.
//!
//! The modules are floors, each using only those below it:
//!
//! | floor | modules | what it knows |
//! |---|---|---|
//! | 4 | [`config`], `net`, `bridge` | sockets, timers, threads |
//! | 3 | [`hub`], [`auth`] | who is connected, who gets what; who may connect |
//! | 2 | [`session`] | one client's state |
//! | 1½ | [`store`] | what survives the process |
//! | 1 | [`codec`], [`topic`] | bytes ↔ packets; names, filters, retained messages |
//!
//! Below `net` there is no socket, no thread and no async, and no clock but the store's.

pub mod auth;
mod bridge;
pub mod codec;
pub mod config;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hub;
mod net;
pub mod session;
pub mod store;
pub mod topic;

pub use config::{Config, Limits, Redirect};
pub use hub::Stats;
pub use net::{
    Broker, Changes, Inherited, ReloadError, ReloadRequest, Reloaded, StartError, StoreError, TlsError,
    check_bridge_tls, check_http, check_tls,
};
