//! The part of [`crate::fuzzing`] that nobody else sees.

pub use super::http::fuzzing::http;
pub use super::proxy::fuzzing::proxy;
pub use super::websocket::fuzzing::websocket;
