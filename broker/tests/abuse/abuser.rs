//! Who abuses the broker, until it is enough. All of them come from other addresses than the pair.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use sol::codec::{Connect, Packet, QoS};

use crate::common::{Client, PATIENCE, connect, encode, publish};
use crate::priority;

/// The connections that those who guess passwords have open; they do not wait for an answer.
const GUESSES_OPEN: usize = 4_000;
/// Source addresses: each has only so many ports.
const ADDRESSES: u8 = 100;

/// What is done to the broker.
pub(crate) trait Abuse: Sync {
    /// Begins, until [`Abuse::end`].
    fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>);
    fn end(&self);
    fn is_at_height(&self) -> bool;
    /// So much, in words.
    fn done(&self) -> String;
}

/// Ends it.
pub(crate) struct Until<'a>(pub(crate) &'a dyn Abuse);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A thread that a profiler tells from the others.
fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// A connection from one of many addresses, that leaves no trace in this system when it is closed. None if the broker's
/// backlog is full, or the system has no port.
fn connect_from_elsewhere(broker: SocketAddr) -> Option<TcpStream> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let host = 2 + NEXT.fetch_add(1, Ordering::Relaxed) % ADDRESSES;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0).into()).ok()?;
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.connect_timeout(&broker.into(), Duration::from_millis(500)).ok()?;
    Some(socket.into())
}

/// When it began, and whether it goes on.
#[derive(Default)]
struct State {
    is_over: AtomicBool,
    done: AtomicU64,
    missed: AtomicU64,
}

impl State {
    fn begin(&self) -> Instant {
        self.is_over.store(false, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.missed.store(0, Ordering::Relaxed);
        Instant::now()
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Connections that say CONNECT with a wrong password, so many a second.
pub(crate) struct Logins {
    broker: SocketAddr,
    per_second: u32,
    state: State,
    time_us: AtomicU64,
}

impl Logins {
    pub(crate) fn new(broker: SocketAddr, per_second: u32) -> Self {
        Self { broker, per_second, state: State::default(), time_us: AtomicU64::new(1) }
    }

    fn guess(&self, start: Instant) {
        const THREADS: u32 = 2;
        priority::last();
        let guess = encode(&[Packet::Connect(Connect {
            user_name: Some("user"),
            password: Some(b"guessed"),
            ..connect("")
        })]);
        let (mut open, mut due) = (VecDeque::new(), start);
        while self.state.goes_on() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // What was missed is not made up for by more than this at a time.
            let latest = Instant::now().checked_sub(Duration::from_millis(5)).unwrap_or(due);
            due = due.max(latest) + Duration::from_secs(1) * THREADS / self.per_second;
            match connect_from_elsewhere(self.broker) {
                Some(stream) if (&stream).write_all(&guess).is_ok() => open.push_back(stream),
                _ => _ = self.state.missed.fetch_add(1, Ordering::Relaxed),
            }
            self.state.done.fetch_add(1, Ordering::Relaxed);
            self.time_us.store(start.elapsed().as_micros() as u64, Ordering::Relaxed);
            if open.len() > GUESSES_OPEN / THREADS as usize {
                open.pop_front();
            }
        }
    }
}

impl Abuse for Logins {
    fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let start = self.state.begin();
        for _ in 0..2 {
            named("guesses").spawn_scoped(scope, move || self.guess(start)).unwrap();
        }
    }

    fn end(&self) {
        self.state.end();
    }

    fn is_at_height(&self) -> bool {
        self.state.done() >= u64::from(self.per_second / 10)
    }

    fn done(&self) -> String {
        let rate = self.state.done() as f64 * 1e6 / self.time_us.load(Ordering::Relaxed) as f64;
        format!("{rate:.0} a second, {} of them not let connect", self.state.missed.load(Ordering::Relaxed))
    }
}

/// Connections that say nothing, so many at a time: the broker closes them, and they come again.
pub(crate) struct Silent {
    broker: SocketAddr,
    number: usize,
    state: State,
    again: AtomicU64,
}

impl Silent {
    const AT_ONCE: usize = 20;

    pub(crate) fn new(broker: SocketAddr, number: usize) -> Self {
        Self { broker, number, state: State::default(), again: AtomicU64::new(0) }
    }

    fn keep_open(&self) {
        priority::last();
        // Whoever came first is closed first.
        let mut open = VecDeque::new();
        while self.state.goes_on() {
            for _ in 0..Self::AT_ONCE {
                if open.len() == self.number {
                    if !open.front_mut().is_some_and(is_closed) {
                        break;
                    }
                    // At once, or this system would acknowledge the end later, in the broker's time.
                    open.pop_front();
                    self.again.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(stream) = connect_from_elsewhere(self.broker) {
                    stream.set_nonblocking(true).unwrap();
                    open.push_back(stream);
                }
            }
            self.state.done.store(open.len() as u64, Ordering::Relaxed);
            // So that they do not hold up the pair: Linux lets even who is last in the queue go on to the end of a tick, once it
            // runs.
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn is_closed(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

impl Abuse for Silent {
    fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        self.state.begin();
        named("silent").spawn_scoped(scope, || self.keep_open()).unwrap();
    }

    fn end(&self) {
        self.state.end();
    }

    fn is_at_height(&self) -> bool {
        self.state.done() as usize == self.number
    }

    fn done(&self) -> String {
        format!("{} open, {} closed and made anew", self.state.done(), self.again.load(Ordering::Relaxed))
    }
}

/// A client that publishes as fast as its socket takes it.
pub(crate) struct Flood {
    broker: SocketAddr,
    state: State,
}

impl Flood {
    const AT_ONCE: u64 = 500;

    pub(crate) fn new(broker: SocketAddr) -> Self {
        Self { broker, state: State::default() }
    }

    fn publish(&self) {
        priority::last();
        let mut client = Client::connect(self.broker, "flood");
        client.stream.set_nonblocking(true).unwrap();
        let some =
            vec![Packet::Publish(publish("flood", &[b'x'; 100], QoS::AtMostOnce)); Self::AT_ONCE as usize];
        let bytes = encode(&some);
        let mut unsent = &bytes[..];
        let deadline = Instant::now() + 10 * PATIENCE;
        while self.state.goes_on() {
            assert!(Instant::now() < deadline, "never told to end");
            match client.stream.write(unsent) {
                Ok(n) => unsent = &unsent[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1))
                }
                Err(error) => panic!("{error}"),
            }
            if unsent.is_empty() {
                unsent = &bytes;
                self.state.done.fetch_add(Self::AT_ONCE, Ordering::Relaxed);
            }
        }
    }
}

impl Abuse for Flood {
    fn begin<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        self.state.begin();
        named("flood").spawn_scoped(scope, || self.publish()).unwrap();
    }

    fn end(&self) {
        self.state.end();
    }

    fn is_at_height(&self) -> bool {
        self.state.done() > 0
    }

    fn done(&self) -> String {
        self.state.done().to_string()
    }
}
