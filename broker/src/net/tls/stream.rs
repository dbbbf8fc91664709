//! MQTT over TLS.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_tls::server::TlsStream;
use async_tls::{Accept, TlsAcceptor};
use futures_io::{AsyncRead, AsyncWrite};
use parking_lot::Mutex;

use super::identity;
use crate::net::reactor::Until;
use crate::net::socket::{Plain, Socket};

/// Bytes read from the socket at a time, and at most in a turn: a client that sends nothing but empty records must not
/// keep the thread.
const READ_BYTES: usize = 64 * 1024;
/// What the state of a TLS connection and its buffers take.
const TLS_BYTES: usize = 40 * 1024;
/// The most that one TLS record carries.
const RECORD_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A TLS connection. The handshake is part of the first read, so that the deadline for CONNECT holds for both.
pub(in crate::net) struct Secure {
    wire: Arc<Mutex<Wire>>,
    state: State,
    /// Bytes that are encrypted, and not all of them written.
    taken: usize,
    /// To be told when what came before is read.
    failure: Option<io::Error>,
    /// Who the client is, by its certificate.
    user: Option<Box<str>>,
}

enum State {
    Handshake(Accept<Handle>),
    Open(TlsStream<Handle>),
    /// Nothing is understood any more; what still comes is given as it is, to be thrown away.
    Failed,
}

impl Secure {
    pub(in crate::net) fn new(acceptor: &TlsAcceptor, plain: Plain) -> Self {
        let wire = Arc::new(Mutex::new(Wire { plain, allowance: 0, ahead: io::Cursor::default() }));
        let state = State::Handshake(acceptor.accept(Handle(Arc::clone(&wire))));
        Self { wire, state, taken: 0, failure: None, user: None }
    }

    fn fail(&mut self, error: io::Error) -> Poll<io::Result<usize>> {
        self.state = State::Failed;
        Poll::Ready(Err(error))
    }

    fn close(&mut self) -> io::Result<()> {
        let State::Open(stream) = &mut self.state else { return self.wire.lock().plain.close_writing() };
        // What cannot be written now is not waited for.
        match Pin::new(stream).poll_close(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(closed) => closed,
            Poll::Pending => self.wire.lock().plain.close_writing(),
        }
    }
}

impl Socket for Secure {
    fn extra_bytes(&self) -> usize {
        TLS_BYTES
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.wire.lock().allowance = READ_BYTES;
        if let State::Handshake(accept) = &mut self.state {
            let (done, user) = identity::named(|| Pin::new(accept).poll(cx));
            if user.is_some() {
                self.user = user;
            }
            match ready!(done) {
                Ok(stream) => self.state = State::Open(stream),
                Err(error) => return self.fail(error),
            }
        }
        if let Some(error) = self.failure.take() {
            return self.fail(error);
        }
        let State::Open(stream) = &mut self.state else { return self.wire.lock().plain.recv(cx, buffer) };
        match fill(stream, cx, buffer) {
            (0, Poll::Pending) => Poll::Pending,
            (0, Poll::Ready(Err(error))) => self.fail(error),
            (n, end) => {
                if let Poll::Ready(Err(error)) = end {
                    self.failure = Some(error);
                }
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let State::Open(stream) = &mut self.state else {
            // Nobody is answered before the handshake, nor after it failed.
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        // Writing reads too, as far as TLS itself has to.
        self.wire.lock().allowance = READ_BYTES;
        let mut stream = Pin::new(stream);
        if self.taken == 0 {
            self.taken = match slices {
                [one] => ready!(stream.as_mut().poll_write(cx, one))?,
                _ => ready!(stream.as_mut().poll_write(cx, &record(slices)))?,
            };
        }
        // Bytes count as written when the socket has them: who does not read must be seen not to.
        ready!(stream.poll_flush(cx))?;
        Poll::Ready(Ok(mem::take(&mut self.taken)))
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, until: Until) -> Poll<()> {
        self.wire.lock().plain.until(cx, until)
    }

    fn take_user(&mut self) -> Option<Box<str>> {
        self.user.take()
    }

    fn shut_down(&mut self) -> io::Result<()> {
        self.close()
    }

    fn say_goodbye(&mut self) {
        _ = self.close();
    }

    fn leave(&mut self) {
        self.wire.lock().plain.leave();
    }

    fn join(&mut self) -> io::Result<()> {
        self.wire.lock().plain.join()
    }
}

/// Decrypts until the buffer is full or there is no more, since a record at a time would make small batches. Gives how
/// much there was, and what stands behind it.
fn fill(
    stream: &mut TlsStream<Handle>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> (usize, Poll<io::Result<()>>) {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match Pin::new(&mut *stream).poll_read(cx, free) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(n)) => filled += n,
            Poll::Ready(Err(error)) => return (filled, Poll::Ready(Err(error))),
            Poll::Pending => return (filled, Poll::Pending),
        }
    }
    (filled, Poll::Ready(Ok(())))
}

/// As many of the bytes as go into one record.
fn record(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut record = Vec::with_capacity(bytes.min(RECORD_BYTES));
    for slice in slices {
        let room = RECORD_BYTES - record.len();
        record.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    record
}

/// What async-tls reads from and writes to. It keeps its own to itself, so it is given a handle; nobody ever waits for
/// the lock, but a connection may go from thread to thread.
struct Wire {
    plain: Plain,
    /// Bytes that may still be read in this turn.
    allowance: usize,
    /// What was read and not asked for yet: TLS asks for 4 KiB, which would be four calls for a record.
    ahead: io::Cursor<Vec<u8>>,
}

impl Wire {
    fn recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = self.ahead.read(buffer)?;
        if n > 0 {
            return Poll::Ready(Ok(n));
        }
        // An idle client keeps no buffer.
        self.ahead = io::Cursor::default();
        if self.allowance == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let n = ready!(self.plain.recv(cx, scratch))?;
            self.allowance = self.allowance.saturating_sub(n);
            let mut received = scratch.get(..n).unwrap_or_default();
            let n = received.read(buffer)?;
            self.ahead = io::Cursor::new(received.to_vec());
            Poll::Ready(Ok(n))
        })
    }
}

struct Handle(Arc<Mutex<Wire>>);

impl AsyncRead for Handle {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.lock().recv(cx, buffer)
    }
}

impl AsyncWrite for Handle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.0.lock().plain.send(cx, &[IoSlice::new(bytes)]))? {
            // Tried again for ever otherwise.
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => Poll::Ready(Ok(n)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.lock().plain.close_writing())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use rustls::{
        Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerConfig, StreamOwned,
    };

    use super::*;
    use crate::net::balance::{Balance, Board};
    use crate::net::poller::Poller;
    use crate::net::reactor::{Reactor, Registered};

    /// A server, and a client that has done nothing yet.
    fn pair() -> (Secure, StreamOwned<ClientConnection, TcpStream>) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = Certificate(cert.der().to_vec());
        let server = ServerConfig::builder()
            .with_safe_defaults()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivateKey(signing_key.serialize_der()))
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(&certificate).unwrap();
        let client =
            ClientConfig::builder().with_safe_defaults().with_root_certificates(roots).with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        near.set_nonblocking(true).unwrap();
        let plain = Plain::new(Registered::new(near.into()).unwrap());
        let client = ClientConnection::new(client.into(), "localhost".try_into().unwrap()).unwrap();
        (Secure::new(&server.into(), plain), StreamOwned::new(client, far))
    }

    /// What is not in the socket yet is not reported as written.
    #[test]
    fn all_that_is_reported_as_written_arrives() {
        let reactor = Reactor::start(Arc::new(Poller::new().unwrap()), Balance::new(0, Board::new(1, false)));
        let (mut server, mut client) = pair();
        let client = thread::spawn(move || {
            io::Write::write_all(&mut client, b"go").unwrap();
            client
        });
        let mut cx = Context::from_waker(Waker::noop());
        let mut buffer = [0; 8];
        while server.poll_recv(&mut cx, &mut buffer).map(Result::unwrap) != Poll::Ready(2) {
            reactor.wait(Some(Duration::from_millis(1))).unwrap();
            reactor.dispatch();
        }
        let mut client = client.join().unwrap();

        let (large, small) = (vec![7; 100_000], [7; 100]);
        let mut reported = 0;
        let slices =
            [[IoSlice::new(&large), IoSlice::new(&small)], [IoSlice::new(&small), IoSlice::new(&large)]];
        for slices in slices.iter().cycle() {
            match server.poll_send(&mut cx, slices) {
                Poll::Ready(written) => reported += written.unwrap(),
                Poll::Pending => break,
            }
        }
        drop(server);
        let mut received = Vec::new();
        // No close_notify: the end of the socket came first.
        client.read_to_end(&mut received).unwrap_err();
        assert!(received.len() >= reported, "{} of {reported}", received.len());
        assert!(received.iter().all(|byte| *byte == 7));
    }
}
