//! Payloads in JSON: as text if they are UTF-8, otherwise in base64.

use base64ct::{Base64, Encoding};
use serde::Serialize;

/// A payload, or the begin of one.
#[derive(Serialize)]
pub(in crate::net::http) struct Payload {
    #[serde(rename = "payload", skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(rename = "payload_base64", skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Not all of it is here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Payload {
    /// The bytes that are here, of so many in all.
    pub(in crate::net::http) fn new(mut bytes: Vec<u8>, len: usize) -> Self {
        let truncated = bytes.len() < len;
        if truncated
            && let Err(error) = str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            // Cut within a character.
            bytes.truncate(error.valid_up_to());
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text), base64: None, truncated },
            Err(error) => {
                let base64 = Base64::encode_string(error.as_bytes());
                Self { text: None, base64: Some(base64), truncated }
            }
        }
    }
}
