//! What a client does that WebSocket, or MQTT over it, does not allow.

use std::io;

use thiserror::Error;
use tungstenite::protocol::frame::coding::CloseCode;

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub(super) struct Failure {
    /// What the close frame says; none before there are frames.
    pub(super) code: Option<CloseCode>,
    pub(super) what: &'static str,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(io::ErrorKind::InvalidData, failure)
    }
}

/// Whether an error comes from here, and not from what is below.
pub(in crate::net) fn is_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Failure>())
}
