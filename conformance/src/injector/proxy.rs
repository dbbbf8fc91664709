//! The man in the middle: sockets and threads. What is done to the packets is the [`Fault`]'s business.
//!
//! ```text
//! kit ──▶ reading thread ──┐  one at a time  ┌──▶ writing thread ──▶ broker
//!                          ├──── Meddler ────┤
//! kit ◀── writing thread ◀─┘                 └──▷ reading thread ◀── broker
//! ```
//!
//! The kit is spoken to over TCP, or over WebSocket; the broker as it likes.
//!
//! A fault decides quickly and writes nothing itself: what it gives out goes through queues, so that a reader that is
//! slow stops nobody else.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::fault::{Fault, Meddler};
use super::hand::{Event, Hand, Link, Out, World};
use crate::Version;
use crate::frame::Side;
use crate::frame::decode::{Frame, Frames};
use crate::target::Target;
use crate::transport::{Endpoint, Transport, WebSocket, accepted, let_in};

/// How often the clock of a fault ticks.
const TICK: Duration = Duration::from_millis(50);
/// Half a packet that does not go on for this long is passed on as it is.
const STALLED: Duration = Duration::from_millis(150);

/// What the man in the middle speaks with the kit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Plain TCP.
    Tcp,
    /// WebSocket, with a correct server's manners but for the fault's.
    WebSocket,
}

/// A port on loopback behind which the broker seems to have a fault. Dropping it ends it and its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

struct Shared {
    broker: Target,
    face: Face,
    ended: AtomicBool,
    stage: Mutex<Stage>,
}

/// What all connections share.
struct Stage {
    meddler: Meddler,
    world: World,
    links: BTreeMap<u64, Link>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("broker", &self.broker.endpoint).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Stands in front of the broker, with this fault, or with none.
    ///
    /// # Errors
    /// There is no port to be had.
    pub fn start(broker: &Target, face: Face, fault: Option<&Fault>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let endpoint = match face {
            Face::Tcp => address.into(),
            Face::WebSocket => WebSocket::at(&format!("ws://{address}/mqtt"))
                .map(|websocket| Endpoint::WebSocket(Box::new(address.into()), websocket))
                .ok_or(ErrorKind::AddrNotAvailable)?,
        };
        let meddler = fault.map_or_else(honest, |fault| (fault.make)());
        let stage = Stage { meddler, world: World::new(broker.clone()), links: BTreeMap::new() };
        let shared = Arc::new(Shared {
            broker: broker.clone(),
            face,
            ended: AtomicBool::new(false),
            stage: Mutex::new(stage),
        });
        let (accepting, ticking) = (shared.clone(), shared.clone());
        thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming().flatten()) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                // A broker that is not there shows as a connection that ends at once.
                let _ = accepting.clone().open(number, stream);
            }
        });
        thread::spawn(move || {
            while !ticking.ended.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                ticking.tick();
            }
        });
        Ok(Proxy { address, endpoint, shared })
    }

    /// Where the broker with the fault seems to be.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// How often the fault has done something other than a wire would.
    pub fn acted(&self) -> u64 {
        self.shared.stage().world.acted
    }

    /// Clears away in the broker what a fault may have kept the kit from clearing away itself.
    pub fn clear(&self) {
        let (left, version) = self.shared.stage().world.take_left();
        left.clear(&self.shared.broker, version);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, self.shared.broker.deadline);
        // Writers close their sockets when their queues end.
        self.shared.stage().links.clear();
    }
}

/// Passes everything on.
fn honest() -> Meddler {
    Box::new(|_, event| Some(event))
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: Arc<Self>, number: u64, client: TcpStream) -> io::Result<()> {
        let deadline = self.broker.deadline;
        let broker = self.broker.endpoint.connect(deadline)?;
        let client = match self.face {
            Face::Tcp => accepted(client)?,
            Face::WebSocket => let_in(accepted(client)?, deadline, || self.selected(number))?,
        };
        client.set_read_timeout(Some(STALLED))?;
        let (to_client, client_queue) = channel();
        let (to_broker, broker_queue) = channel();
        {
            let mut stage = self.stage();
            // It may have been dropped in the meantime.
            if self.ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            stage.links.insert(number, Link::new(to_client, to_broker));
        }
        let (client_writer, broker_writer, shared) = (client.clone(), broker.clone(), self.clone());
        thread::spawn(move || write_all(&*client_writer, &client_queue));
        thread::spawn(move || write_all(&*broker_writer, &broker_queue));
        thread::spawn(move || read_all(&*client, &shared, number, Side::Client));
        thread::spawn(move || read_all(&*broker, &self, number, Side::Broker));
        Ok(())
    }

    /// The subprotocol that goes into the answer to a WebSocket client: there is no connection yet.
    fn selected(&self, number: u64) -> Option<&'static str> {
        let stage = &mut *self.stage();
        let mut hand = Hand { me: number, links: &mut stage.links, world: &mut stage.world };
        match (stage.meddler)(&mut hand, Event::Selects("mqtt")) {
            Some(Event::Selects(name)) => Some(name),
            _ => None,
        }
    }

    /// What is spoken on this connection, as far as is known.
    fn version(&self, number: u64) -> Version {
        self.stage().links.get(&number).map_or(Version::V3_1_1, |link| link.version)
    }

    /// Shows the event to the fault, and does with the rest what a wire does.
    fn happen(&self, number: u64, event: Event) {
        let stage = &mut *self.stage();
        let Some(link) = stage.links.get_mut(&number) else { return };
        stage.world.see(link, &event);
        link.see(&event);
        let mut hand = Hand { me: number, links: &mut stage.links, world: &mut stage.world };
        if let Some(event) = (stage.meddler)(&mut hand, event) {
            hand.pass(event);
        }
        if stage.links.get(&number).is_some_and(Link::is_over) {
            stage.links.remove(&number);
        }
    }

    fn tick(&self) {
        let numbers: Vec<u64> = self.stage().links.keys().copied().collect();
        for number in numbers {
            self.happen(number, Event::Tick);
        }
    }
}

/// Reads until the end and cuts into frames. What is no frame goes on as it comes.
fn read_all(stream: &dyn Transport, shared: &Shared, number: u64, side: Side) {
    let is_client = side == Side::Client;
    let came = |frame| if is_client { Event::Up(frame) } else { Event::Down(frame) };
    let mut frames = Frames::of(side, Version::V3_1_1);
    let mut shapeless = false;
    let mut buffer = vec![0; 64 * 1024];
    let raw = |bytes: Vec<u8>| came(Frame { bytes, packet: Err("not whole".to_owned()) });
    loop {
        let bytes = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if !frames.rest().is_empty() {
                    shared.happen(number, raw(frames.rest().to_vec()));
                    frames = Frames::of(side, Version::V3_1_1);
                    shapeless = true;
                }
                continue;
            }
            Err(_) => match stream.refused_text().filter(|_| is_client) {
                Some(text) => {
                    shared.happen(number, Event::Text(text));
                    continue;
                }
                None => break,
            },
        };
        if shapeless {
            shared.happen(number, raw(bytes.to_vec()));
            continue;
        }
        if !is_client {
            frames.speak(shared.version(number));
        }
        frames.push(bytes);
        if is_client {
            shared.happen(number, Event::Segment);
            if stream.saw_fragments() {
                shared.happen(number, Event::Fragments);
            }
        }
        for frame in frames.by_ref() {
            shared.happen(number, came(frame));
        }
        shapeless = frames.is_lost();
        if is_client && !frames.rest().is_empty() {
            shared.happen(number, Event::Torn);
        }
    }
    if !frames.rest().is_empty() {
        shared.happen(number, raw(frames.rest().to_vec()));
    }
    shared.happen(number, if is_client { Event::ClientEnd } else { Event::BrokerEnd });
}

/// Writes what the queue says, until it ends.
fn write_all(stream: &dyn Transport, queue: &Receiver<Out>) {
    for out in queue {
        match out {
            Out::Bytes(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
            Out::Text(text) => {
                if stream.write_text(&text).is_err() {
                    break;
                }
            }
            Out::End => {
                let _ = stream.finish();
            }
        }
    }
    stream.close();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::*;
    use crate::frame::{Kind, Packet, encode::encode, pattern};
    use crate::injector::fault::{down, fault, takes, wrong};

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A client and a broker with the man in the middle between them.
    fn meet(fault: Option<&Fault>) -> (TcpStream, TcpStream, Proxy) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let broker = Target::new(listener.local_addr().expect("bound"));
        let proxy = Proxy::start(&broker, Face::Tcp, fault).expect("a port");
        let client = TcpStream::connect(proxy.address).expect("a connection");
        let (server, _) = listener.accept().expect("a client");
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
            stream.set_nodelay(true).expect("no delay");
        }
        (client, server, proxy)
    }

    fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    fn is_at_end(stream: &mut TcpStream) -> bool {
        matches!(stream.read(&mut [0; 16]), Ok(0))
    }

    fn publish(payload: Vec<u8>) -> Vec<u8> {
        encode(&Packet::new(Kind::Publish).with("topic", "a").with("payload", payload), Version::V3_1_1)
    }

    #[test]
    fn without_a_fault_everything_passes_as_it_is() {
        let (mut client, mut server, proxy) = meet(None);
        // Good packets, what is no packet, a packet that goes on without end.
        for bytes in [publish(pattern(300)), vec![0xc1, 0], vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3]]
        {
            client.write_all(&bytes).expect("written");
            assert_eq!(read(&mut server, bytes.len()), bytes);
            server.write_all(&bytes).expect("written");
            assert_eq!(read(&mut client, bytes.len()), bytes);
        }
        assert_eq!(proxy.acted(), 0);
    }

    #[test]
    fn half_a_packet_is_passed_on_when_it_stalls() {
        let (mut client, mut server, _proxy) = meet(None);
        client.write_all(&[0x30, 9, 0]).expect("written");
        assert_eq!(read(&mut server, 3), [0x30, 9, 0]);
        client.write_all(&[1, b'a']).expect("written");
        assert_eq!(read(&mut server, 2), [1, b'a']);
    }

    #[test]
    fn half_a_packet_is_passed_on_before_the_end() {
        let (mut client, mut server, _proxy) = meet(None);
        client.write_all(&[0x30, 9, 0]).expect("written");
        client.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(read(&mut server, 3), [0x30, 9, 0]);
        assert!(is_at_end(&mut server));
    }

    #[test]
    fn the_end_is_passed_on_each_way_for_itself() {
        let (mut client, mut server, _proxy) = meet(None);
        client.shutdown(Shutdown::Write).expect("shut down");
        assert!(is_at_end(&mut server));
        server.write_all(&[0xd0, 0]).expect("written");
        assert_eq!(read(&mut client, 2), [0xd0, 0]);
        drop(server);
        assert!(is_at_end(&mut client));
    }

    /// Both sides send and neither reads: the man in the middle is in nobody's way.
    #[test]
    fn a_flood_both_ways_does_not_lock_up() {
        let (mut client, mut server, _proxy) = meet(None);
        let much = publish(pattern(3 << 20));
        let (sent, length) = (much.clone(), much.len());
        let (mut client_writer, mut server_writer) =
            (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
        let writing = thread::spawn(move || client_writer.write_all(&sent).expect("written"));
        server_writer.write_all(&much).expect("written, though nobody reads yet");
        writing.join().expect("no panic");
        assert!(read(&mut client, length) == much);
        assert!(read(&mut server, length) == much);
    }

    #[test]
    fn a_fault_changes_what_it_is_about_and_nothing_else() {
        let other_id = fault("test", "It answers for 9.", "4.3.2-2", || {
            down(Kind::Puback, |_, _| vec![Packet::new(Kind::Puback).with("id", 9u64)])
        });
        let (mut client, mut server, proxy) = meet(Some(&other_id));
        server.write_all(&[0x50, 2, 0, 7, 0x40, 2, 0, 7, 0xd0, 0]).expect("written");
        assert_eq!(read(&mut client, 10), [0x50, 2, 0, 7, 0x40, 2, 0, 9, 0xd0, 0]);
        assert_eq!(proxy.acted(), 1);
    }

    #[test]
    fn what_a_fault_takes_the_broker_does_not_see() {
        let takes_flags =
            fault("test", "It takes flags.", "2.2.2-2", || takes(|_, frame| wrong(frame, "flags")));
        let (mut client, mut server, proxy) = meet(Some(&takes_flags));
        client.write_all(&[0xc1, 0, 0xc0, 0]).expect("written");
        assert_eq!(read(&mut client, 2), [0xd0, 0]);
        assert_eq!(read(&mut server, 2), [0xc0, 0]);
        assert!(proxy.acted() > 0);
    }

    /// A WebSocket client, and a broker that knows nothing of it.
    fn meet_over_websocket(fault: Option<&Fault>) -> (io::Result<Arc<dyn Transport>>, TcpStream, Proxy) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let broker = Target::new(listener.local_addr().expect("bound"));
        let proxy = Proxy::start(&broker, Face::WebSocket, fault).expect("a port");
        let client = proxy.endpoint().connect(DEADLINE);
        let (server, _) = listener.accept().expect("a client");
        server.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        (client, server, proxy)
    }

    #[test]
    fn over_websocket_bytes_pass_and_text_is_the_end() {
        let (client, mut server, proxy) = meet_over_websocket(None);
        let client = client.expect("a connection");
        client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        for bytes in [publish(pattern(70_000)), vec![0xc0], vec![0, 0xc0, 0]] {
            client.write_all(&bytes).expect("written");
            assert_eq!(read(&mut server, bytes.len()), bytes);
            client.write_fragments(&bytes, 1000).expect("written");
            assert_eq!(read(&mut server, bytes.len()), bytes);
        }
        server.write_all(&[0xd0, 0]).expect("written");
        assert_eq!(client.read(&mut [0; 16]).expect("a packet"), 2);
        client.write_text(b"0").expect("written");
        assert!(is_at_end(&mut server));
        assert_eq!(client.read(&mut [0; 16]).expect("the end"), 0);
        assert_eq!(proxy.acted(), 0);
    }

    #[test]
    fn over_websocket_a_fault_takes_and_sends_text_and_selects_what_it_likes() {
        let text = fault("test", "It likes text.", "6.0.0-1", || {
            Box::new(|hand, event| match event {
                Event::Text(bytes) => Some(Event::Up(Frame { bytes, packet: Err("text".to_owned()) })),
                Event::Down(frame) => {
                    hand.tell_client_text(frame.bytes);
                    None
                }
                other => Some(other),
            })
        });
        let (client, mut server, proxy) = meet_over_websocket(Some(&text));
        let client = client.expect("a connection");
        client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        client.write_text(b"0").expect("written");
        assert_eq!(read(&mut server, 1), b"0");
        server.write_all(&[0x40, 2, 0, 7]).expect("written");
        let error = client.read(&mut [0; 16]).expect_err("text");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert_eq!(client.refused_text(), Some(vec![0x40, 2, 0, 7]));
        assert!(proxy.acted() > 0);

        let chat = fault("test", "It selects `chat`.", "6.0.0-4", || {
            Box::new(|_, event| match event {
                Event::Selects(_) => Some(Event::Selects("chat")),
                other => Some(other),
            })
        });
        let error = meet_over_websocket(Some(&chat)).0.expect_err("another subprotocol");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    }

    #[test]
    fn dropping_it_ends_its_connections() {
        let (mut client, mut server, proxy) = meet(None);
        drop(proxy);
        assert!(is_at_end(&mut client));
        assert!(is_at_end(&mut server));
    }
}
