//! Those who talk to the broker: [`Connection`] plays a scenario's actor, [`Plain`] is the kit's own errand boy.

mod allowed;
mod client;
mod plain;
mod wire;

pub use client::{ClientError, connect as connect_client};
pub use plain::Plain;
pub use wire::{Came, Connection, Event, Manner, Owner};
