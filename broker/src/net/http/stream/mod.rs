//! What is told as it happens: server-sent events.

mod figures;
mod messages;

pub(super) use figures::figures;
pub(super) use messages::messages;

use bytes::Bytes;
use serde::Serialize;

/// One event. Without a name it is a `message`, as browsers call it.
fn event(name: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut out = Vec::new();
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    // JSON on one line.
    _ = serde_json::to_writer(&mut out, data);
    out.extend_from_slice(b"\n\n");
    out.into()
}
