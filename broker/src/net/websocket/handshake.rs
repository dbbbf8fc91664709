//! The HTTP request that a WebSocket connection begins with.

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tungstenite::http::{HeaderName, HeaderValue};

use super::failure::Failure;
use crate::config;

/// The longest request, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// Subprotocols that a client may offer, the one that is selected first in front. The second is what clients of MQTT 3.1
/// offered before there was a standard, and still do.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// A request that is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: &'static str,
    header: &'static str,
    what: &'static str,
}

impl Refusal {
    const fn new(status: &'static str, what: &'static str) -> Self {
        Self { status, header: "", what }
    }

    /// The longest request is longer.
    pub(super) const TOO_LONG: Self =
        Self::new("431 Request Header Fields Too Large", "a request of more than 8 KiB");

    /// Its response.
    pub(super) fn response(self) -> Vec<u8> {
        let Self { status, header, what } = self;
        let length = what.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n\
             {what}\n"
        )
        .into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { code: None, what: refusal.what }
    }
}

/// Looks at what came of a request. Gives how many bytes it has and the response that opens the connection; none if it is
/// not whole.
pub(super) fn answer(bytes: &[u8], terms: &config::WebSocket) -> Result<Option<(usize, Vec<u8>)>, Refusal> {
    let Some((length, request)) = Request::try_parse(bytes).map_err(|error| refusal(&error))? else {
        return Ok(None);
    };
    let mut response = create_response(&request).map_err(|error| refusal(&error))?;
    if terms.path.as_ref().is_some_and(|path| path != request.uri().path()) {
        return Err(Refusal::new("404 Not Found", "another path: see `websockets_path`"));
    }
    if !is_from_allowed_origin(&request, terms) {
        return Err(Refusal::new("403 Forbidden", "another origin: see `websockets_origin`"));
    }
    // [MQTT-6.0.0-3]
    let Some(subprotocol) = SUBPROTOCOLS.into_iter().find(|name| offers(&request, name)) else {
        return Err(Refusal::new(
            "400 Bad Request",
            "no offer of the subprotocol `mqtt` in Sec-WebSocket-Protocol [MQTT-6.0.0-3]",
        ));
    };
    // [MQTT-6.0.0-4]
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    let mut written = Vec::new();
    write_response(&mut written, &response).map_err(|error| refusal(&error))?;
    Ok(Some((length, written)))
}

/// Browsers say where a page comes from. Programs need not, and could say anything.
fn is_from_allowed_origin(request: &Request, terms: &config::WebSocket) -> bool {
    terms.origins.is_empty()
        || values(request, ORIGIN)
            .all(|found| terms.origins.iter().any(|origin| found.eq_ignore_ascii_case(origin)))
}

fn offers(request: &Request, name: &str) -> bool {
    values(request, SEC_WEBSOCKET_PROTOCOL).any(|names| names.split(',').any(|one| one.trim() == name))
}

/// The values of a header; what is no text is like none of those looked for.
fn values(request: &Request, header: HeaderName) -> impl Iterator<Item = &str> {
    request.headers().get_all(header).into_iter().map(|value| value.to_str().unwrap_or_default())
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => Refusal {
            status: "405 Method Not Allowed",
            header: "Allow: GET\r\n",
            what: "an HTTP request with another method than GET",
        },
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => UPGRADE,
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => VERSION,
        Error::Protocol(ProtocolError::MissingSecWebSocketKey) => {
            Refusal::new("400 Bad Request", "a WebSocket handshake without Sec-WebSocket-Key")
        }
        _ => Refusal::new(
            "400 Bad Request",
            "what is no HTTP/1.1 request: this port speaks MQTT over WebSocket",
        ),
    }
}

const UPGRADE: Refusal = Refusal {
    status: "426 Upgrade Required",
    header: "Upgrade: websocket\r\n",
    what: "an HTTP request that is no WebSocket handshake",
};

const VERSION: Refusal = Refusal {
    status: "426 Upgrade Required",
    header: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    what: "another version of WebSocket than 13",
};
