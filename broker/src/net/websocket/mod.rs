//! MQTT over WebSocket (section 6 of the standard; the frames spoken of here are WebSocket's).
//!
//! tungstenite reads and writes HTTP and the frames' headers. Messages are not put together: MQTT is a stream of bytes
//! whatever its frames are [MQTT-6.0.0-2], so their payloads go on as they come. No frame is too large, and none takes
//! memory.

mod decoder;
mod encoder;
mod failure;
mod framed;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod handshake;
#[cfg(test)]
mod tests;

pub(super) use failure::is_failure;
pub(super) use framed::Framed;
