//! What goes out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use smol::stream::Stream;

/// An answer to a request.
pub(super) type Answer = Response<Content>;

/// What an answer says: all at once, or as it happens.
pub(super) enum Content {
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Bytes>>>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(std::mem::take(bytes))),
            Self::Stream(stream) => stream.as_mut().poll_next(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A request that is not answered as it was meant: what is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) what: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), header: None }
    }

    /// The request cannot be understood.
    pub(super) fn bad(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what)
    }

    /// With another header.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The path is asked in another way.
    pub(super) fn method(allowed: &[Method]) -> Self {
        let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
        let names = names.join(", ");
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {names}"));
        match HeaderValue::try_from(names) {
            Ok(names) => refusal.with(ALLOW, names),
            Err(_) => refusal,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(Refusal { status, what, header }: Refusal) -> Self {
        #[derive(Serialize)]
        struct Words {
            error: String,
        }
        let mut answer = json(&Words { error: what });
        *answer.status_mut() = status;
        answer.headers_mut().extend(header);
        answer
    }
}

/// All of an answer.
pub(super) fn whole(kind: &'static str, content: impl Into<Bytes>) -> Answer {
    with_kind(kind, Content::Whole(content.into()))
}

/// As JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    // Nothing here has keys that are no text, which is all that could go wrong.
    whole("application/json", serde_json::to_vec(value).unwrap_or_default())
}

/// Server-sent events.
pub(super) fn events(stream: impl Stream<Item = Bytes> + 'static) -> Answer {
    with_kind("text/event-stream", Content::Stream(Box::pin(stream)))
}

fn with_kind(kind: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}
