//! One connection, and its limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::Async;
use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use log::debug;
use smol::Timer;
use smol::future::FutureExt;
use smol::io::AsyncReadExt;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::answer::{Answer, Content};
use super::route;
use super::state::State;
use crate::net::tls::Acceptor;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 64;
/// Bytes of a request before its body.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// How long a client may take for these, for its handshake, and for a body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes nothing of an answer for so long is not waited for.
const MAX_STANDSTILL: Duration = Duration::from_secs(60);
/// How long one that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Places for connections.
#[derive(Clone, Default)]
pub(super) struct Places(Rc<Cell<usize>>);

/// One of them, given back when it is dropped.
pub(super) struct Taken(Rc<Cell<usize>>);

impl Places {
    pub(super) fn take(&self) -> Option<Taken> {
        let taken = self.0.get();
        (taken < MAX_CONNECTIONS).then(|| {
            self.0.set(taken + 1);
            Taken(Rc::clone(&self.0))
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// There is no place for it: says so. Closing over what it sent would reset the connection before it reads that.
pub(super) async fn turn_away(mut stream: Async<TcpStream>) {
    let answer =
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
                   {\"error\":\"as many connections are open as there may be: close some\"}";
    if !stream.get_ref().write(answer).is_ok_and(|n| n == answer.len())
        || stream.get_ref().shutdown(Shutdown::Write).is_err()
    {
        return;
    }
    let read = async {
        let mut buffer = [0; 1024];
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    };
    read.or(async { _ = Timer::after(FAREWELL).await }).await;
}

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: Async<TcpStream>,
    address: SocketAddr,
    tls: Option<Acceptor>,
    state: Rc<State>,
) {
    let Some(tls) = tls else { return speak(stream, address, state).await };
    let late = async {
        Timer::after(PATIENCE).await;
        Err(std::io::ErrorKind::TimedOut.into())
    };
    match tls.accept(stream).or(late).await {
        Ok(stream) => speak(stream, address, state).await,
        Err(error) => debug!("HTTP from {address}: TLS failed: {error}"),
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, address: SocketAddr, state: Rc<State>) {
    let pulse = Pulse::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (state, pulse) = (Rc::clone(&state), pulse.clone());
        async move {
            let answer: Answer = route::answer(request, address, &state).await;
            pulse.beat();
            Ok::<_, Infallible>(answer.map(|content| Watched { content, pulse }))
        }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(PATIENCE)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(4 * MAX_HEAD_BYTES)
        .serve_connection(FuturesIo::new(stream), service);
    let served = async {
        if let Err(error) = connection.await {
            debug!("HTTP from {address}: {error}");
        }
    };
    served.or(pulse.stops()).await;
}

/// When a client last took a part of an answer that is not all written.
#[derive(Clone, Default)]
struct Pulse(Rc<Cell<Option<Instant>>>);

impl Pulse {
    fn beat(&self) {
        self.0.set(Some(Instant::now()));
    }

    /// Waits until it has taken nothing for too long.
    async fn stops(&self) {
        loop {
            Timer::after(LOOK_INTERVAL).await;
            if self.0.get().is_some_and(|last| last.elapsed() > MAX_STANDSTILL) {
                return;
            }
        }
    }
}

/// An answer that tells when the client takes something of it.
struct Watched {
    content: Content,
    pulse: Pulse,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { content, pulse } = self.get_mut();
        // Asked for more only when what came before is written.
        pulse.beat();
        Pin::new(content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
