//! The body of a request, within limits.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use smol::Timer;
use smol::future::FutureExt;

use super::answer::Refusal;
use super::connection::PATIENCE;

/// The most bytes of a body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Reads all of it.
///
/// # Errors
///
/// It is too long, does not come in time, or breaks off.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX_BODY_BYTES} bytes"));
    // Some say so before.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let read = async {
        match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(Refusal::bad("the body breaks off")),
        }
    };
    let late = async {
        Timer::after(PATIENCE).await;
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body does not come"))
    };
    read.or(late).await
}
