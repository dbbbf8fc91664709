//! Ten pairs exchange messages at QoS 1, and their latency is taken: with nothing else going on, and while clients
//! that never read are sent a heavy stream. The two take turns, and medians are compared, for the machine has other
//! things to do as well.

use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smol::{LocalExecutor, Timer};
use sol::codec::{Delivery, Packet, PacketId, QoS, encode_publish};

use crate::broker::Broker;
use crate::client::{Client, PATIENCE, Window, connect, subscribe, within};
use crate::figures::{Latencies, MemoryWatch, mebibytes, median, millis};
use crate::run::Run;

const PAIRS: u32 = 10;
/// Each pair sends 200 messages a second.
const PACE: Duration = Duration::from_millis(5);
/// Messages of a pair that are not measured: while the stream of the phase before dies away.
const LEAD_IN: u32 = 100;
const STUCK_READERS: usize = 5;
const STREAM_TOPIC: &str = "stuck/stream";
const STREAM_PAYLOAD_BYTES: usize = 10_000;
const STREAM_PACE: Duration = Duration::from_millis(1);
/// Sent at once to begin with: more than the system and the broker's outbox take for a client that does not read.
/// From then on the broker drops at QoS 0 and queues at QoS 1.
const STREAM_BURST: u32 = 3000;
/// The broker may keep this much for clients that do not read: the messages themselves are shared.
const KEPT_BYTES: u64 = 512 << 20;

/// What goes on beside the pairs.
#[derive(Clone, Copy)]
enum Load {
    Nothing,
    /// The stream, but no reader: what another busy client costs in itself.
    StreamAlone,
    StuckReaders(QoS),
}

const LOADS: [Load; 4] = [
    Load::Nothing,
    Load::StreamAlone,
    Load::StuckReaders(QoS::AtMostOnce),
    Load::StuckReaders(QoS::AtLeastOnce),
];

pub(crate) fn run(run: &Run) {
    // Short phases, many rounds: what else the machine does meets all phases alike.
    let rounds = run.sized(1, 21);
    let messages = LEAD_IN + run.sized(50, 300);
    let mut broker = Broker::start();
    let watch = MemoryWatch::start(broker.process(), Duration::from_millis(200));
    let executor = LocalExecutor::new();
    let mut phases: [Vec<Latencies>; LOADS.len()] = Default::default();
    smol::block_on(executor.run(async {
        let mut pairs = Pair::connect_all(broker.address()).await;
        for round in 1..=rounds {
            let mut figures = format!("round {round}, p50/p99 in ms");
            for (load, phase) in LOADS.into_iter().zip(&mut phases) {
                let stream = Stream::start(broker.address(), load).await;
                let latencies;
                (pairs, latencies) = measure(&executor, pairs, messages).await;
                let [p50, p99] = [50, 99].map(|percent| millis(latencies.percentile(percent)));
                write!(figures, ", {load} {p50:.2}/{p99:.2}").unwrap();
                phase.push(latencies);
                if let Some(stream) = stream {
                    stream.stop(run);
                }
            }
            run.say(figures);
        }
    }));
    if run.is_full() {
        wait_until_cut(run, &mut broker);
    }
    let memory = watch.stop();
    run.say(memory.to_string());
    if let Some(peak) = memory.peak() {
        run.say(format!("largest: {:.1} MiB", mebibytes(peak as f64)));
        assert!(peak < KEPT_BYTES, "the broker kept {peak} bytes for clients that do not read");
    }
    broker.stop();
    compare(run, phases);
}

/// Each phase's 50th and 99th percentile, the median over the rounds.
fn compare(run: &Run, phases: [Vec<Latencies>; LOADS.len()]) {
    let medians = phases.map(|phase| {
        [50, 99].map(|percent| millis(median(phase.iter().map(|round| round.percentile(percent))).unwrap()))
    });
    let [_, quiet] = medians[0];
    for (load, [p50, p99]) in LOADS.into_iter().zip(medians) {
        let ratio = p99 / quiet;
        run.say(format!(
            "medians, {load:<21} p50 {p50:.3} ms, p99 {p99:.3} ms: {ratio:.2} times what it was"
        ));
        if run.is_full() && matches!(load, Load::StuckReaders(_)) {
            assert!(ratio <= 2.0, "with {load} the others' p99 latency is {ratio:.2} times what it was");
        }
    }
}

/// Leaves the readers stuck for as long as the broker lets them. At QoS 1 that is for ever: what it may send before
/// the first acknowledgement fits into the system's buffers.
fn wait_until_cut(run: &Run, broker: &mut Broker) {
    smol::block_on(async {
        let stream = Stream::start(broker.address(), Load::StuckReaders(QoS::AtMostOnce)).await;
        let begin = Instant::now();
        let cut = async {
            while broker.log().iter().filter(|line| line.contains("read nothing for too long")).count()
                < STUCK_READERS
            {
                Timer::after(Duration::from_millis(100)).await;
            }
        };
        within(Duration::from_secs(90), "the end of the stuck readers", cut).await;
        run.say(format!("the broker closed the stuck readers {:.0} s later", begin.elapsed().as_secs_f64()));
        stream.into_iter().for_each(|stream| stream.stop(run));
    });
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Load::Nothing => "quiet",
            Load::StreamAlone => "stream to nobody",
            Load::StuckReaders(QoS::AtMostOnce) => "stuck readers, QoS 0",
            Load::StuckReaders(QoS::AtLeastOnce) => "stuck readers, QoS 1",
            Load::StuckReaders(QoS::ExactlyOnce) => "stuck readers, QoS 2",
        })
    }
}

/// A publisher and its subscriber.
struct Pair {
    number: u32,
    topic: String,
    publisher: Client,
    subscriber: Client,
}

/// What a pair's publisher puts into a message: its number in the phase, and when it was sent.
type Stamp = (u32, Duration);

impl Pair {
    async fn connect_all(address: SocketAddr) -> Vec<Self> {
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            let topic = format!("stuck/pair/{number}");
            let publisher = Client::connect(address, &format!("publisher-{number}")).await;
            let mut subscriber = Client::connect(address, &format!("subscriber-{number}")).await;
            subscriber.subscribe(&[(&topic, QoS::AtLeastOnce)]).await;
            pairs.push(Self { number, topic, publisher, subscriber });
        }
        pairs
    }

    /// Sends at the pace, and takes up all acknowledgements. Late messages are sent at once.
    async fn publish(topic: &str, client: &mut Client, begin: Instant, first: Instant, messages: u32) {
        let mut window = Window::new(1000);
        let mut sent = 0;
        while sent < messages || window.open() > 0 {
            let turn = async {
                match sent < messages {
                    true => _ = Timer::at(first + PACE * sent).await,
                    false => std::future::pending().await,
                }
            };
            if client.is_quiet_until(turn).await {
                let payload = to_bytes((sent, begin.elapsed()));
                let is_sent = window.publish(topic, QoS::AtLeastOnce, &payload, &mut client.out);
                assert!(is_sent, "nothing is acknowledged");
                sent += 1;
            } else {
                client.receive(|packet, out| window.handle(&packet, out));
            }
            client.flush().await;
        }
    }

    /// Receives every message once and in order.
    async fn receive(client: &mut Client, begin: Instant, messages: u32) -> Latencies {
        let mut latencies = Latencies::default();
        let mut next = 0;
        while next < messages {
            client.readable().await;
            client.receive(|packet, _| {
                let Packet::Publish(publish) = packet else { panic!("unexpected {packet:?}") };
                let (number, at) = from_bytes(publish.payload);
                assert_eq!(number, next, "number of the message");
                next += 1;
                if number >= LEAD_IN {
                    latencies.push(begin.elapsed().saturating_sub(at));
                }
            });
            client.flush().await;
        }
        latencies
    }
}

fn to_bytes((number, at): Stamp) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..12].copy_from_slice(&(at.as_nanos() as u64).to_be_bytes());
    bytes
}

fn from_bytes(bytes: &[u8]) -> Stamp {
    let at = u64::from_be_bytes(bytes[4..12].try_into().unwrap());
    (u32::from_be_bytes(bytes[..4].try_into().unwrap()), Duration::from_nanos(at))
}

/// One phase: each pair exchanges so many messages.
async fn measure(executor: &LocalExecutor<'_>, pairs: Vec<Pair>, messages: u32) -> (Vec<Pair>, Latencies) {
    let begin = Instant::now();
    let tasks = pairs.into_iter().map(|mut pair| {
        executor.spawn(async move {
            // The pairs' turns are spread over the pace.
            let first = begin + PACE * pair.number / PAIRS;
            let send = Pair::publish(&pair.topic, &mut pair.publisher, begin, first, messages);
            let receive = Pair::receive(&mut pair.subscriber, begin, messages);
            let both = smol::future::zip(send, receive);
            let ((), latencies) = within(PACE * messages + PATIENCE, "all messages of a pair", both).await;
            (pair, latencies)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut pairs, mut all) = (Vec::new(), Latencies::default());
    for task in tasks {
        let (pair, latencies) = task.await;
        pairs.push(pair);
        all.append(latencies);
    }
    (pairs, all)
}

/// Clients that never read, and the heavy stream to them, from a thread of its own.
struct Stream {
    stuck: Vec<TcpStream>,
    publisher: JoinHandle<Duration>,
    sent: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Stream {
    /// Begins if the load has it, and returns when the readers are stuck.
    async fn start(address: SocketAddr, load: Load) -> Option<Self> {
        let (readers, qos) = match load {
            Load::Nothing => return None,
            Load::StreamAlone => (0, QoS::AtMostOnce),
            Load::StuckReaders(qos) => (STUCK_READERS, qos),
        };
        let stuck = (0..readers).map(|number| stuck_reader(address, number, qos)).collect();
        let (sent, is_over) = <(Arc<AtomicU32>, Arc<AtomicBool>)>::default();
        let publisher = thread::spawn({
            let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
            move || publish_stream(address, qos, &sent, &is_over)
        });
        let begun = async {
            while sent.load(Ordering::Relaxed) < STREAM_BURST && !publisher.is_finished() {
                Timer::after(STREAM_PACE).await;
            }
        };
        within(PATIENCE, "the beginning of the stream", begun).await;
        Some(Self { stuck, publisher, sent, is_over })
    }

    /// Ends. The publisher must have been served at its pace, or else the figures mean nothing.
    fn stop(self, run: &Run) {
        self.is_over.store(true, Ordering::Relaxed);
        let time = self.publisher.join().expect("the stream to the stuck readers failed");
        let due = time.as_secs_f64() / STREAM_PACE.as_secs_f64();
        let sent = f64::from(self.sent.load(Ordering::Relaxed) - STREAM_BURST);
        let is_at_pace = sent > due * 0.9;
        assert!(is_at_pace || !run.is_full(), "the stream was too slow: {sent} messages instead of {due:.0}");
        drop(self.stuck);
    }
}

/// Reads CONNACK and SUBACK, and nothing ever after.
fn stuck_reader(address: SocketAddr, number: usize, qos: QoS) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let subscribe = subscribe(&[(STREAM_TOPIC, qos)]);
    stream.write_all(&[connect(&format!("stuck-{number}")), subscribe].concat()).unwrap();
    let mut answers = [0; 4 + 5];
    stream.read_exact(&mut answers).unwrap();
    assert_eq!(answers, [0x20, 2, 0, 0, 0x90, 3, 0, 1, qos.into()]);
    stream
}

/// Publishes until it is over and all is acknowledged. Gives how long it published at the pace.
fn publish_stream(address: SocketAddr, qos: QoS, sent: &AtomicU32, is_over: &AtomicBool) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&connect("stream")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();

    let payload = vec![b'x'; STREAM_PAYLOAD_BYTES];
    let mut pace_begin = Instant::now();
    let mut acknowledged_bytes = 0;
    let mut count = 0u32;
    while !is_over.load(Ordering::Relaxed) {
        let delivery = match PacketId::new((count % 60_000) as u16 + 1) {
            Some(packet_id) if qos == QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
            _ => Delivery::AtMostOnce,
        };
        let mut packet = Vec::new();
        encode_publish(&mut packet, false, delivery, false, STREAM_TOPIC.as_bytes(), None, &payload);
        stream.write_all(&packet).expect("the broker does not take the stream");
        count += 1;
        sent.store(count, Ordering::Relaxed);
        // A few PUBACKs late, so that this seldom waits.
        while qos == QoS::AtLeastOnce && count as usize > acknowledged_bytes / 4 + 100 {
            acknowledged_bytes += read_some(&mut stream);
        }
        match count.checked_sub(STREAM_BURST) {
            None | Some(0) => pace_begin = Instant::now(),
            Some(paced) => {
                thread::sleep((pace_begin + STREAM_PACE * paced).saturating_duration_since(Instant::now()));
            }
        }
    }
    let time = pace_begin.elapsed();
    while qos == QoS::AtLeastOnce && acknowledged_bytes < 4 * count as usize {
        acknowledged_bytes += read_some(&mut stream);
    }
    time
}

/// Reads what is there, and gives how much it was. Nothing but PUBACKs is sent to this client.
fn read_some(stream: &mut TcpStream) -> usize {
    match stream.read(&mut [0; 4096]) {
        Ok(0) => panic!("the broker closed the connection of the stream"),
        Ok(n) => n,
        // The process was stopped for a while.
        Err(error) if error.kind() == ErrorKind::Interrupted => 0,
        Err(error) => panic!("the stream is not acknowledged: {error}"),
    }
}
