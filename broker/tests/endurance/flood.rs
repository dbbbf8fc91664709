//! Hostile connections, many at a time, each with a script of its own. Each must come to its end, and what the broker
//! says meanwhile must be well-formed. A well-behaved pair goes on exchanging messages through it all.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sol::codec::{Decoded, MAX_PACKET_BYTES, Packet, QoS, Version, decode};

use crate::broker::Broker;
use crate::client::{Client, PATIENCE, Window};
use crate::figures::{Latencies, MemoryWatch, mebibytes, processor_time};
use crate::random::Random;
use crate::run::Run;
use crate::script::{Kind, Script};

/// Hostile connections at a time.
const LANES: usize = 24;
/// Memory that may come and go: sessions and retained messages differ from moment to moment.
const LEVEL_BYTES: i64 = 32 << 20;

/// What was sent so far.
#[derive(Default)]
struct Totals {
    connections: AtomicU64,
    /// Packets sent whole on connections that nothing but the last of them, or their end, can have ended.
    seen: AtomicU64,
    /// Packets on the others.
    unsure: AtomicU64,
    /// PINGREQs among those seen, and PINGRESPs that came: the proof that the broker has come so far.
    pings: AtomicU64,
    pongs: AtomicU64,
    /// Packets seen or not, by kind.
    kinds: [AtomicU64; Kind::ALL.len()],
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// A connection went wrong: all lanes end.
    has_failed: AtomicBool,
}

pub(crate) fn run(run: &Run) {
    let packets = run.sized(40_000, 10_000_000);
    let seed = seed(run);
    run.say(format!("SOL_ENDURANCE_SEED={seed}"));
    let broker = Broker::start();
    let address = broker.address();
    let (totals, is_over) = (Totals::default(), AtomicBool::new(false));
    let period = run.sized(Duration::from_millis(20), Duration::from_millis(500));
    let watch = MemoryWatch::start(broker.process(), period);
    let begin = Instant::now();
    let (failed, others) = thread::scope(|scope| {
        let others = scope.spawn(|| smol::block_on(be_served(address, &is_over)));
        let lane = |lane| {
            scope.spawn({
                let totals = &totals;
                move || totals.flood(address, seed, lane, packets)
            })
        };
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        let failed = lanes.into_iter().filter_map(|lane| lane.join().err()).count();
        is_over.store(true, Ordering::Relaxed);
        (failed, others.join())
    });
    let time = begin.elapsed();
    let memory = watch.stop();

    totals.say(run, time);
    run.say(memory.to_string());
    if let Some(used) = processor_time(broker.process()) {
        run.say(format!("the broker used {:.1} s of processor time", used.as_secs_f64()));
    }
    let log = broker.stop();
    let refusals = log.iter().filter(|line| line.contains("disconnected: ")).count();
    run.say(format!(
        "the broker named {refusals} violations in its log, did not panic, and stopped when asked"
    ));

    let (round_trips, latencies) = others.expect("the well-behaved clients were not served");
    run.say(format!(
        "well-behaved clients meanwhile: {round_trips} round trips, each at QoS 1 and 2, {latencies}"
    ));
    assert_eq!(failed, 0, "lanes of the flood that failed");
    totals.assert_seen();
    assert!(round_trips > 0 && refusals > 0, "nothing happened");
    if let Some(growth) = memory.growth(time / 4, time / 4) {
        run.say(format!("growth, last quarter over second: {:+.2} MiB", mebibytes(growth as f64)));
        assert!(growth < LEVEL_BYTES, "memory grew by {growth} bytes");
    }
}

/// The given seed, or one that is the same for every small run and new for each full one.
fn seed(run: &Run) -> u64 {
    let given = std::env::var("SOL_ENDURANCE_SEED").ok();
    let given = given.map(|seed| seed.parse().expect("SOL_ENDURANCE_SEED is no number"));
    let new = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    given.unwrap_or_else(|| if run.is_full() { new() } else { 1 })
}

impl Totals {
    /// One connection after the other, until the broker has seen so many packets over all lanes.
    fn flood(&self, address: SocketAddr, seed: u64, lane: usize, packets: u64) {
        while self.seen.load(Ordering::Relaxed) < packets && !self.has_failed.load(Ordering::Relaxed) {
            let number = self.connections.fetch_add(1, Ordering::Relaxed);
            let script = Script::new(Random::new(seed ^ number).bits(), lane);
            if let Err(problem) = self.play(address, &script, number) {
                self.has_failed.store(true, Ordering::Relaxed);
                panic!("connection {number}, in lane {lane}, of seed {seed}: {problem}");
            }
        }
    }

    fn assert_seen(&self) {
        let [pings, pongs] = [&self.pings, &self.pongs].map(|counter| counter.load(Ordering::Relaxed));
        // An answer is lost where the broker closes while it still has something to write.
        assert!(pongs <= pings && pongs > pings / 10 * 9, "{pongs} answers to {pings} PINGREQs");
    }

    /// Sends a script, then waits until the broker has closed the connection.
    fn play(&self, address: SocketAddr, script: &Script, number: u64) -> Result<(), String> {
        let mut stream = TcpStream::connect(address).map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let sent = send(&mut stream, &script.bytes, Random::new(number));
        // The broker may have closed it already.
        _ = stream.shutdown(Shutdown::Write);
        let received = receive(&mut stream, script.version)?;
        let is_whole = match sent {
            Ok(()) => !script.is_contested,
            Err(error) if is_closed(&error) => false,
            Err(error) => return Err(format!("the broker does not take the script: {error}")),
        };
        let packets = script.kinds.len() as u64;
        if is_whole {
            self.seen.fetch_add(packets, Ordering::Relaxed);
            self.pings.fetch_add(script.pings(), Ordering::Relaxed);
            self.pongs.fetch_add(received.pongs, Ordering::Relaxed);
        } else {
            self.unsure.fetch_add(packets, Ordering::Relaxed);
        }
        for kind in &script.kinds {
            self.kinds[*kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.bytes_sent.fetch_add(script.bytes.len() as u64, Ordering::Relaxed);
        self.bytes_received.fetch_add(received.bytes, Ordering::Relaxed);
        Ok(())
    }

    fn say(&self, run: &Run, time: Duration) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = time.as_secs_f64();
        let seen = read(&self.seen);
        run.say(format!(
            "{seen} packets that the broker has seen, in {seconds:.1} s ({:.0} a second), on {} connections, {LANES} at a time",
            seen as f64 / seconds,
            read(&self.connections),
        ));
        run.say(format!(
            "besides, {} packets on connections that it may have closed before their last, most by a take-over",
            read(&self.unsure)
        ));
        let [pings, pongs] = [&self.pings, &self.pongs].map(read);
        run.say(format!("{pongs} of {pings} PINGREQs among the packets seen were answered before the end"));
        let mut kinds = String::new();
        for (kind, count) in Kind::ALL.iter().zip(&self.kinds) {
            write!(kinds, " {kind:?} {}", read(count)).unwrap();
        }
        run.say(format!("by kind:{kinds}"));
        let [sent, received] =
            [&self.bytes_sent, &self.bytes_received].map(|bytes| mebibytes(read(bytes) as f64));
        run.say(format!("{sent:.0} MiB sent, {received:.0} MiB received, all of it well-formed"));
    }
}

/// In one go, or in pieces that end anywhere.
fn send(stream: &mut TcpStream, bytes: &[u8], mut random: Random) -> io::Result<()> {
    let most = match random.below(20) {
        0 => 7,
        1..5 => 500,
        _ => return stream.write_all(bytes),
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, after) = rest.split_at((1 + random.below(most)).min(rest.len()));
        stream.write_all(part)?;
        rest = after;
    }
    Ok(())
}

/// What a hostile connection received.
#[derive(Default)]
struct Received {
    bytes: u64,
    pongs: u64,
}

/// Reads to the end, which must come. Everything must be packets; only the last may be cut off.
fn receive(stream: &mut TcpStream, version: Option<Version>) -> Result<Received, String> {
    let mut received = Received::default();
    let mut unread = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let deadline = Instant::now() + PATIENCE;
    loop {
        if Instant::now() > deadline {
            return Err(format!("the broker still sends after {PATIENCE:?}"));
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                unread.extend_from_slice(&buffer[..n]);
                received.bytes += n as u64;
            }
            Err(error) if is_closed(&error) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the broker does not close it: {error}")),
        }
        let mut at = 0;
        loop {
            match decode(&unread[at..], version, MAX_PACKET_BYTES) {
                Ok(Decoded::Packet { packet, length }) => {
                    at += length;
                    received.pongs += u64::from(packet == Packet::Pingresp);
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => return Err(format!("the broker sent nonsense: {error}")),
            }
        }
        unread.drain(..at);
    }
    Ok(received)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// A pair that exchanges messages at QoS 1 and 2, one after the other, until it is over. Each has its deadline.
async fn be_served(address: SocketAddr, is_over: &AtomicBool) -> (u64, Latencies) {
    const TOPIC: &str = "well/behaved";
    let mut publisher = Client::connect(address, "well-behaved-publisher").await;
    let mut subscriber = Client::connect(address, "well-behaved-subscriber").await;
    subscriber.subscribe(&[(TOPIC, QoS::ExactlyOnce)]).await;
    let mut window = Window::new(1);
    let mut latencies = Latencies::default();
    let mut round = 0u64;
    while !is_over.load(Ordering::Relaxed) {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let begin = Instant::now();
            let sent = round.to_be_bytes();
            assert!(window.publish(TOPIC, qos, &sent, &mut publisher.out));
            publisher.flush().await;
            subscriber
                .expect("the message", |packet, _| match packet {
                    Packet::Publish(publish) => {
                        assert_eq!((publish.delivery.qos(), publish.payload), (qos, sent.as_slice()));
                        Some(())
                    }
                    _ => None,
                })
                .await;
            latencies.push(begin.elapsed());
            while window.open() > 0 {
                publisher
                    .expect("the acknowledgement", |packet, out| {
                        window.handle(&packet, out);
                        Some(())
                    })
                    .await;
            }
        }
        round += 1;
    }
    (round, latencies)
}
