//! The hub without sockets: a read's worth of messages from one publisher to its subscribers, and all acknowledgements
//! back; on one thread, and on two at once that have nothing in common but the hub.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::hint::black_box;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Barrier;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use benches::frames::{Frame, walk};
use criterion::{BenchmarkId, Criterion, Throughput};
use sol::auth::Access;
use sol::codec::{
    AckType, Connect, Delivery, Packet, PacketId, PacketType, Properties, Publish, QoS, Subscribe, Version,
    encode_ack,
};
use sol::hub::{Batch, Hub, Limits, Peer, Sleep};
use sol::session::Outbox;
use sol::topic::{Filter, Name};

/// Messages published at a time.
const MESSAGES: u16 = 500;
fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("hub");
    for subscribers in [1, 100] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut stage = None;
            group.throughput(Throughput::Elements(u64::from(MESSAGES) * subscribers));
            let id = BenchmarkId::new(format!("1→{subscribers}"), format!("QoS {qos}"));
            group.bench_function(id, |bencher| {
                let (hub, crew) = stage.get_or_insert_with(|| {
                    let hub = Hub::new(Limits::default());
                    let crew = Crew::new(&hub, "benches/hub", subscribers, qos);
                    (hub, crew)
                });
                bencher.iter(|| crew.run(hub));
            });
        }
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut stage = None;
        group.throughput(Throughput::Elements(u64::from(MESSAGES) * 2));
        group.bench_function(
            BenchmarkId::new("1→1 on each of 2 threads", format!("QoS {qos}")),
            |bencher| {
                let (hub, crews) = stage.get_or_insert_with(|| {
                    let hub = Hub::new(Limits::default());
                    let crews =
                        ["benches/hub/a", "benches/hub/b"].map(|topic| Crew::new(&hub, topic, 1, qos));
                    (hub, crews)
                });
                bencher.iter_custom(|iterations| at_once(hub, crews, iterations));
            },
        );
    }
    group.finish();
    criterion.final_summary();
}

/// Each crew so often, all at the same time: how long until the last one has done.
fn at_once(hub: &Hub, crews: &mut [Crew], iterations: u64) -> Duration {
    let start = Barrier::new(crews.len());
    let run = |crew: &mut Crew| {
        start.wait();
        let start = Instant::now();
        (0..iterations).for_each(|_| crew.run(hub));
        start.elapsed()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = crews.iter_mut().map(|crew| scope.spawn(|| run(crew))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap_or_default()
    })
}

/// A publisher and its subscribers, who share a thread.
struct Crew {
    batch: Batch,
    qos: QoS,
    publisher: Client,
    subscribers: Vec<Client>,
    /// All messages of a run, and what releases them at QoS 2.
    publishes: Vec<u8>,
    pubrels: Vec<u8>,
}

impl Crew {
    fn new(hub: &Hub, topic: &str, subscribers: u64, qos: QoS) -> Self {
        let mut batch = Batch::new(Instant::now());
        let mut subscribers: Vec<_> = (0..subscribers).map(|_| Client::connect(hub, &mut batch)).collect();
        let filters = vec![(Filter::new(topic).unwrap(), qos)];
        let subscribe = encoded(&Packet::Subscribe(Subscribe::new(PacketId::MIN, filters)));
        for client in &mut subscribers {
            client.send(hub, &subscribe, &mut batch);
            assert_eq!(client.count(hub, &mut batch, |frame| frame.is(PacketType::Suback)), 1);
        }
        let publisher = Client::connect(hub, &mut batch);
        let (mut publishes, mut pubrels) = (Vec::new(), Vec::new());
        for id in (1..=MESSAGES).filter_map(PacketId::new) {
            publishes.extend(encoded(&publish(topic, qos, id)));
            encode_ack(&mut pubrels, AckType::Pubrel, id);
        }
        Self { batch, qos, publisher, subscribers, publishes, pubrels }
    }

    /// Publishes all messages and carries on until everything is acknowledged.
    fn run(&mut self, hub: &Hub) {
        let Self { batch, qos, publisher, subscribers, publishes, pubrels } = self;
        publisher.send(hub, publishes, batch);
        let answer = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(PacketType::Puback),
            QoS::ExactlyOnce => Some(PacketType::Pubrec),
        };
        if let Some(answer) = answer {
            assert_eq!(publisher.count(hub, batch, |frame| frame.is(answer)), MESSAGES);
        }
        if *qos == QoS::ExactlyOnce {
            publisher.send(hub, pubrels, batch);
            assert_eq!(publisher.count(hub, batch, |frame| frame.is(PacketType::Pubcomp)), MESSAGES);
        }
        for subscriber in subscribers {
            assert_eq!(subscriber.receive(hub, *qos, batch), MESSAGES);
        }
    }
}

/// One connection, with what its task would hold.
struct Client {
    peer: Peer,
    unsent: Outbox,
    acknowledgements: Vec<u8>,
}

impl Client {
    fn connect(hub: &Hub, batch: &mut Batch) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = hub.accept(address, Arc::new(Access::open()), Instant::now()).unwrap();
        let mut client = Self { peer, unsent: Outbox::default(), acknowledgements: Vec::new() };
        client.send(hub, &encoded(&connect_packet()), batch);
        assert_eq!(client.count(hub, batch, |frame| frame.is(PacketType::Connack)), 1);
        client
    }

    /// Hands the hub what a read would have brought.
    fn send(&mut self, hub: &Hub, mut bytes: &[u8], batch: &mut Batch) {
        while !bytes.is_empty() {
            let handled = hub.handle(&mut self.peer, bytes, Instant::now(), batch);
            assert!(handled.consumed > 0, "{:?}", handled.next);
            bytes = bytes.get(handled.consumed..).unwrap();
            batch.wake();
            hub.collect(&self.peer, &mut self.unsent, batch).unwrap();
        }
    }

    /// Takes what waits for the client, until nothing does.
    fn take(&mut self, hub: &Hub, batch: &mut Batch, mut each: impl FnMut(Frame<'_>, &mut Vec<u8>)) {
        loop {
            while !self.unsent.is_empty() {
                let mut room = [IoSlice::new(&[]); 32];
                let mut taken = 0;
                for slice in self.unsent.slices(&mut room) {
                    let walked = walk(slice, |frame| {
                        each(frame, &mut self.acknowledgements);
                        Ok(())
                    });
                    assert_eq!(walked.unwrap(), slice.len(), "a small packet stands in one piece");
                    taken += slice.len();
                }
                self.unsent.advance(taken);
            }
            if hub.sleep(&self.peer, &mut self.unsent, Waker::noop(), batch).unwrap() == Sleep::Asleep {
                return;
            }
        }
    }

    /// Takes what waits for the client: how many packets, all of which must be as expected.
    fn count(&mut self, hub: &Hub, batch: &mut Batch, expected: impl Fn(&Frame<'_>) -> bool) -> u16 {
        let mut count = 0;
        self.take(hub, batch, |frame, _| {
            assert!(expected(&frame), "{}", frame.unexpected());
            count += 1;
        });
        count
    }

    /// Takes messages and acknowledges them until no more come: how many.
    fn receive(&mut self, hub: &Hub, qos: QoS, batch: &mut Batch) -> u16 {
        let mut received = 0;
        loop {
            self.take(hub, batch, |frame, acknowledgements| {
                if frame.is(PacketType::Pubrel) {
                    encode_ack(acknowledgements, AckType::Pubcomp, frame.packet_id().unwrap());
                    return;
                }
                assert!(frame.is_publish_at(qos), "{}", frame.unexpected());
                received += 1;
                match qos {
                    QoS::AtMostOnce => _ = black_box(frame),
                    QoS::AtLeastOnce => {
                        encode_ack(acknowledgements, AckType::Puback, frame.packet_id().unwrap())
                    }
                    QoS::ExactlyOnce => {
                        encode_ack(acknowledgements, AckType::Pubrec, frame.packet_id().unwrap())
                    }
                }
            });
            if self.acknowledgements.is_empty() {
                return received;
            }
            let mut acknowledgements = std::mem::take(&mut self.acknowledgements);
            self.send(hub, &acknowledgements, batch);
            acknowledgements.clear();
            self.acknowledgements = acknowledgements;
        }
    }
}

/// A CONNECT of a clean session, without a keep alive and under an identifier of the broker's choice.
fn connect_packet() -> Packet<'static> {
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

fn publish(topic: &str, qos: QoS, id: PacketId) -> Packet<'_> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    let topic = Name::new(topic).unwrap();
    Packet::Publish(Publish::new(topic, delivery, &[b'x'; 64]))
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V311, &mut bytes).unwrap();
    bytes
}
