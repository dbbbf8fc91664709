//! A load client that costs little, so that the broker is what is measured.
//!
//! One publisher and any number of subscribers, all on the calling thread. PUBLISH packets are encoded once and sent
//! many at a time; what comes in is read in large pieces, counted by fixed headers and acknowledged piece by piece.
//!
//! The publisher keeps two limits: [`WINDOW`] messages not fully acknowledged by the broker, and [`AHEAD`] deliveries
//! that have not arrived. So no broker has a reason to drop a message, and a message lost is an error.

mod progress;
mod publisher;
mod reader;
mod subscriber;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smol::future::{self, FutureExt};
use smol::{LocalExecutor, block_on, channel};
use sol::codec::{Connect, Packet, PacketId, Properties, QoS, Subscribe, Version};
use sol::topic::{Filter, Name};

use progress::Progress;
use publisher::Publisher;
use subscriber::Subscriber;

/// QoS 1 and 2 messages that the publisher has in flight at most. It goes on when half of them are acknowledged.
pub const WINDOW: u64 = 100;
/// Deliveries owed to the subscribers at most. The publisher goes on when half of them have arrived.
pub const AHEAD: u64 = 20_000;
/// Bytes of each message.
pub const PAYLOAD_BYTES: usize = 64;

/// For each step of connecting and subscribing.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing has arrived for so long: something is lost.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A publisher and its subscribers, connected and subscribed.
#[derive(Debug)]
pub struct Load {
    publisher: Publisher,
    subscribers: Vec<Subscriber>,
}

impl Load {
    /// Connects everybody to the broker and subscribes to a topic that no other load has.
    ///
    /// # Errors
    ///
    /// The broker is not there, does not answer in time, or refuses.
    pub fn open(broker: SocketAddr, subscribers: usize, qos: QoS) -> io::Result<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let topic = format!("benches/{}", NUMBERS.fetch_add(1, Ordering::Relaxed));
        let subscribers =
            (0..subscribers).map(|_| Subscriber::new(subscribe(connect(broker)?, &topic, qos)?, qos));
        let subscribers = subscribers.collect::<io::Result<_>>()?;
        let topic = Name::new(&topic).map_err(io::Error::other)?;
        Ok(Self { publisher: Publisher::new(connect(broker)?, topic, qos)?, subscribers })
    }

    /// Publishes so many messages, and returns when every subscriber has them all and everything is acknowledged; gives
    /// the time that took.
    ///
    /// # Errors
    ///
    /// A connection closed; a packet that ought not to come, such as a message twice; or nothing came for ten seconds.
    /// The load is of no use afterwards.
    pub fn run(&mut self, messages: u64) -> io::Result<Duration> {
        let Self { publisher, subscribers } = self;
        let progress = Progress::new(messages, subscribers.len() as u64, publisher.window());
        let progress = &progress;
        let executor = LocalExecutor::new();
        let (done, results) = channel::unbounded();
        let tasks = subscribers.len();
        for subscriber in subscribers {
            let done = done.clone();
            executor.spawn(async move { _ = done.send(subscriber.run(progress).await).await }).detach();
        }
        let received = async {
            for _ in 0..tasks {
                results.recv().await.map_err(io::Error::other)??;
            }
            Ok(())
        };
        let start = Instant::now();
        let all = future::try_zip(publisher.run(progress), received);
        block_on(executor.run(all.or(progress.stalled(STALL_TIMEOUT))))?;
        Ok(start.elapsed())
    }
}

/// Connects with a clean session and without keep alive.
///
/// # Errors
///
/// The broker is not there, does not answer in time, or refuses.
pub fn connect(broker: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&broker, STEP_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    exchange(&mut stream, &connect_packet(), [0x20, 2, 0, 0])?;
    Ok(stream)
}

/// A CONNECT of a clean session, without a keep alive and under an identifier of the broker's choice.
pub fn connect_packet() -> Packet<'static> {
    Packet::Connect(Connect {
        version: Version::V311,
        clean_session: true,
        keep_alive: 0,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    })
}

fn subscribe(mut stream: TcpStream, topic: &str, qos: QoS) -> io::Result<TcpStream> {
    let filter = Filter::new(topic).map_err(io::Error::other)?;
    let subscribe = Packet::Subscribe(Subscribe::new(PacketId::MIN, vec![(filter, qos)]));
    exchange(&mut stream, &subscribe, [0x90, 3, 0, 1, qos.into()])?;
    Ok(stream)
}

fn exchange<const N: usize>(
    stream: &mut TcpStream,
    request: &Packet<'_>,
    expected: [u8; N],
) -> io::Result<()> {
    let mut bytes = Vec::new();
    request.encode(Version::V311, &mut bytes).map_err(io::Error::other)?;
    stream.write_all(&bytes)?;
    let mut answer = [0; N];
    stream.read_exact(&mut answer)?;
    if answer != expected {
        return Err(io::Error::other(format!("{} was answered with {answer:02x?}", request.packet_type())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sol::{Broker, Config};

    use super::*;

    fn broker() -> Broker {
        Broker::start(Config::on("127.0.0.1:0".parse().unwrap())).unwrap()
    }

    #[test]
    fn every_message_arrives_run_after_run() {
        let broker = broker();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for subscribers in [1, 3] {
                let mut load = Load::open(broker.local_addr(), subscribers, qos).unwrap();
                for messages in [1, WINDOW, 3 * WINDOW + 1, 0, AHEAD + 7] {
                    load.run(messages).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_broker_that_goes_away_is_an_error() {
        let broker = broker();
        for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
            let mut load = Load::open(broker.local_addr(), 1, qos).unwrap();
            load.publisher.shut_down().unwrap();
            assert!(load.run(1).is_err());
        }
    }
}
