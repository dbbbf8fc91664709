//! Proves or refutes the numbered statements of the MQTT standard against any broker.
//!
//! A [`scenario`] is a text file: who connects, who sends which packet, what must come back. [`run`] plays it against a
//! [`target`] and returns a [`verdict`], which says of a failure what was expected, what came and what led there.
//!
//! The kit shares no code with any broker. Its [`frame`] module can write what no broker's types could express, and
//! [`actor`]s are either exactly those frames or a client from elsewhere (rumqttc).

pub mod actor;
pub mod baseline;
pub mod frame;
pub mod injector;
pub mod instance;
pub mod probe;
pub mod report;
pub mod run;
pub mod runner;
pub mod scenario;
pub mod select;
pub mod statements;
pub mod target;
pub mod trace;
pub mod transport;
pub mod verdict;

use std::fmt;

/// A version of the standard. They are ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1.1.
    V3_1_1,
    /// MQTT 5.0.
    V5_0,
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 2] = [Version::V3_1_1, Version::V5_0];

    /// As written in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Version::V3_1_1 => "3.1.1",
            Version::V5_0 => "5.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
