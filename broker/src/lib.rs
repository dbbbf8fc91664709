//! Broker.

pub mod topic;
