//! Clients that are connected: many at a time, on the calling thread.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls_client::ClientConfig;
use sol::codec::{Delivery, Packet, PacketId, PacketType, Publish, QoS, Subscribe, Unsubscribe, Version};
use sol::topic::{Filter, Name};

use super::link::Link;
use super::poller::Poller;
use crate::frames::Frame;

/// Handshakes in progress: fewer than any broker's backlog.
const AT_ONCE: usize = 64;
/// Nothing has come for so long while something was due: it is lost.
pub(super) const STALL: Duration = Duration::from_secs(5);
/// More than any packet of a load.
const READ_BYTES: usize = 256 << 10;
/// Bytes of retained messages written at a time.
const WRITE_BYTES: usize = 64 << 10;
/// Topic filters of a SUBSCRIBE, with each less than 64 bytes.
const FILTERS: usize = 200;
/// SUBSCRIBE packets that a client may have unanswered.
const SUBSCRIBES: usize = 20;

/// How clients connect.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What they speak.
    pub version: Version,
    /// Whether their sessions outlive their connections, so that a broker that stores anything stores theirs.
    pub kept: bool,
    /// Over TLS, if there is one.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Terms {
    /// 3.1.1, clean sessions, no TLS.
    fn default() -> Self {
        Self { version: Version::V311, kept: false, tls: None }
    }
}

/// Clients of one broker, numbered in the order in which they connected.
pub struct Clients {
    broker: SocketAddr,
    terms: Terms,
    /// What tells their identifiers from those of others.
    number: u32,
    pub(super) poller: Poller,
    pub(super) links: Vec<Link>,
    pub(super) buffer: Box<[u8]>,
    /// How many of the first are to get nothing.
    pub(super) idle: usize,
}

impl Clients {
    /// Nobody yet.
    ///
    /// # Errors
    ///
    /// The system has no poller left.
    pub fn new(broker: SocketAddr, terms: Terms) -> io::Result<Self> {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let buffer = vec![0; READ_BYTES].into();
        Ok(Self { broker, terms, number, poller: Poller::new()?, links: Vec::new(), buffer, idle: 0 })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(super) fn version(&self) -> Version {
        self.terms.version
    }

    /// Connects so many more, and gives the time from the first attempt to the last CONNACK.
    ///
    /// # Errors
    ///
    /// The broker is not there, closes a connection, refuses, or does not answer for five seconds.
    pub fn connect(&mut self, count: usize) -> io::Result<Duration> {
        let until = self.links.len() + count;
        let mut accepted = self.links.len();
        let start = Instant::now();
        while accepted < until {
            while self.links.len() < until.min(accepted + AT_ONCE) {
                let key = self.links.len();
                let mut link = Link::open(self.broker, self.terms.tls.as_ref())?;
                self.poller.add(link.tcp(), key)?;
                put_connect(link.out(), &format!("bench-{}-{key}", self.number), &self.terms);
                link.flush()?;
                self.links.push(link);
            }
            self.turn(STALL, |_, frame| {
                // Flags, and a reason that is none.
                if !frame.is(PacketType::Connack) || frame.body().get(1) != Some(&0) {
                    return Err(frame.unexpected());
                }
                accepted += 1;
                Ok(())
            })?;
        }
        Ok(start.elapsed())
    }

    /// Subscribes a client to all of these, which must be granted.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub fn subscribe<S: AsRef<str>>(&mut self, client: usize, filters: &[S], qos: QoS) -> io::Result<()> {
        self.request(client, filters, PacketType::Suback, |id, filters| {
            let filters = filters.into_iter().map(|filter| (filter, qos)).collect();
            Packet::Subscribe(Subscribe::new(id, filters))
        })
    }

    /// Takes these subscriptions of a client away.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub fn unsubscribe<S: AsRef<str>>(&mut self, client: usize, filters: &[S]) -> io::Result<()> {
        self.request(client, filters, PacketType::Unsuback, |id, filters| {
            Packet::Unsubscribe(Unsubscribe::new(id, filters))
        })
    }

    /// Has a client publish so many retained messages of 64 bytes, and waits until the broker has taken them; gives the time
    /// that took.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub fn retain(
        &mut self,
        client: usize,
        count: usize,
        name: impl Fn(usize) -> String,
    ) -> io::Result<Duration> {
        let version = self.terms.version;
        let start = Instant::now();
        for number in 0..count {
            let name = name(number);
            let name = Name::new(&name).map_err(io::Error::other)?;
            let publish = Publish { retain: true, ..Publish::new(name, Delivery::AtMostOnce, &[b'x'; 64]) };
            let link = self.link(client)?;
            Packet::Publish(publish).encode(version, link.out()).map_err(io::Error::other)?;
            if link.out().len() < WRITE_BYTES && number + 1 < count {
                continue;
            }
            link.flush()?;
            while self.link(client)?.is_blocked() {
                self.turn(STALL, |_, frame| Err(frame.unexpected()))?;
            }
        }
        let link = self.link(client)?;
        Packet::Pingreq.encode(version, link.out()).map_err(io::Error::other)?;
        link.flush()?;
        self.await_all(client, 1, |frame| frame.is(PacketType::Pingresp))?;
        Ok(start.elapsed())
    }

    /// Subscribes a client at QoS 0 to a name, and waits for its one retained message.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub fn subscribe_retained(&mut self, client: usize, name: &str) -> io::Result<()> {
        let filter = Filter::new(name).map_err(io::Error::other)?;
        let subscribe = Subscribe::new(PacketId::MIN, vec![(filter, QoS::AtMostOnce)]);
        let version = self.terms.version;
        let link = self.link(client)?;
        Packet::Subscribe(subscribe).encode(version, link.out()).map_err(io::Error::other)?;
        link.flush()?;
        self.await_all(client, 2, |frame| frame.is(PacketType::Suback) || frame.is(PacketType::Publish))
    }

    /// Waits until so many packets have come to a client that are as expected.
    fn await_all(
        &mut self,
        client: usize,
        mut count: usize,
        expected: impl Fn(&Frame<'_>) -> bool,
    ) -> io::Result<()> {
        while count > 0 {
            self.turn(STALL, |key, frame| {
                if key != client || !expected(&frame) || count == 0 {
                    return Err(frame.unexpected());
                }
                count -= 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn link(&mut self, client: usize) -> io::Result<&mut Link> {
        self.links.get_mut(client).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn request<S: AsRef<str>>(
        &mut self,
        client: usize,
        filters: &[S],
        answer: PacketType,
        packet: impl Fn(PacketId, Vec<Filter<'_>>) -> Packet<'_>,
    ) -> io::Result<()> {
        let version = self.terms.version;
        let mut requests = filters.chunks(FILTERS);
        let mut left = requests.len();
        let mut asked = left;
        while left > 0 {
            while asked > 0 && left - asked < SUBSCRIBES {
                asked -= 1;
                let filters = requests.next().unwrap_or_default().iter();
                let filters = filters.map(|filter| Filter::new(filter.as_ref()).map_err(io::Error::other));
                // From 1 to SUBSCRIBES + 1 in turn, so that none is in use twice.
                let id = PacketId::new((asked % (SUBSCRIBES + 1)) as u16 + 1).unwrap_or(PacketId::MIN);
                let packet = packet(id, filters.collect::<io::Result<_>>()?);
                let link = self.link(client)?;
                packet.encode(version, link.out()).map_err(io::Error::other)?;
                link.flush()?;
            }
            self.turn(STALL, |_, frame| {
                // Behind the identifier; properties, if any, are ASCII.
                let refused = frame.body().iter().skip(2).any(|code| *code >= 0x80);
                if !frame.is(answer) || refused {
                    return Err(frame.unexpected());
                }
                left -= 1;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits once, and takes what comes: who got it, and what. Nothing within `longest` is an error.
    fn turn(
        &mut self,
        longest: Duration,
        mut each: impl FnMut(usize, Frame<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let ready = self.poller.wait(longest)?;
        if ready == 0 {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("no answer for {longest:?}")));
        }
        for key in (0..ready).filter_map(|ready| self.poller.key(ready)) {
            let Some(link) = self.links.get_mut(key) else { continue };
            link.read(&mut self.buffer, |frame, _| each(key, frame))?;
            link.flush()?;
        }
        Ok(())
    }
}

/// A CONNECT with a keep alive longer than any bench: rumqttd takes none without one.
fn put_connect(out: &mut Vec<u8>, client_id: &str, terms: &Terms) {
    const CLEAN: u8 = 0b10;
    const KEEP_ALIVE_SECONDS: u16 = 3600;
    let v5 = terms.version == Version::V5;
    let level = if v5 { 5 } else { 4 };
    let flags = if terms.kept && !v5 { 0 } else { CLEAN };
    let [high, low] = KEEP_ALIVE_SECONDS.to_be_bytes();
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, high, low];

    match (v5, terms.kept) {
        (false, _) => {}
        (true, false) => body.push(0),
        // Session Expiry Interval: an hour.
        (true, true) => body.extend([5, 0x11, 0, 0, 0x0e, 0x10]),
    }
    body.extend([0, client_id.len() as u8]);
    body.extend(client_id.as_bytes());
    out.extend([0x10, body.len() as u8]);
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use sol::codec::{Decoded, MAX_PACKET_BYTES, decode};

    use super::*;

    #[test]
    fn a_connect_says_what_the_terms_do() {
        for version in [Version::V311, Version::V5] {
            for kept in [false, true] {
                let mut bytes = Vec::new();
                put_connect(&mut bytes, "bench-7", &Terms { version, kept, tls: None });
                let decoded = decode(&bytes, None, MAX_PACKET_BYTES).unwrap();
                let Decoded::Packet { packet: Packet::Connect(connect), length } = decoded else {
                    panic!("{decoded:?}")
                };
                assert_eq!((length, connect.version, connect.client_id), (bytes.len(), version, "bench-7"));
                assert_eq!(connect.clean_session, !kept || version == Version::V5);
                assert_eq!(connect.properties.as_bytes().len() > 1, kept && version == Version::V5);
            }
        }
    }
}
