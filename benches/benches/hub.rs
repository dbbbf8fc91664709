//! The hub without sockets: a read's worth of messages from one publisher to its subscribers, and all acknowledgements
//! back.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::hint::black_box;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Waker;
use std::time::{Duration, Instant};

use benches::frames::{Frame, walk};
use benches::load::connect_packet;
use criterion::{BenchmarkId, Criterion, Throughput};
use sol::auth::Entrance;
use sol::codec::{
    AckType, Delivery, Packet, PacketId, PacketType, Publish, QoS, Subscribe, Version, encode_ack,
};
use sol::hub::{Batch, Hub, Limits, Peer, Sleep};
use sol::session::Outbox;
use sol::topic::{Filter, Name};

/// Messages published at a time.
const MESSAGES: u16 = 500;
const TOPIC: &str = "benches/hub";

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
                let stage = stage.get_or_insert_with(|| Stage::new(subscribers, qos));
                bencher.iter(|| stage.run());
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// A hub and its clients.
struct Stage {
    hub: Hub,
    batch: Batch,
    qos: QoS,
    publisher: Client,
    subscribers: Vec<Client>,
    /// All messages of a run, and what releases them at QoS 2.
    publishes: Vec<u8>,
    pubrels: Vec<u8>,
}

impl Stage {
    fn new(subscribers: u64, qos: QoS) -> Self {
        let hub = Hub::new(Limits::default());
        let mut batch = Batch::new(Instant::now());
        let mut subscribers: Vec<_> = (0..subscribers).map(|_| Client::connect(&hub, &mut batch)).collect();
        let filters = vec![(Filter::new(TOPIC).unwrap(), qos)];
        let subscribe = encoded(&Packet::Subscribe(Subscribe::new(PacketId::MIN, filters)));
        for client in &mut subscribers {
            client.send(&hub, &subscribe, &mut batch);
            assert_eq!(client.count(&hub, &mut batch, |frame| frame.is(PacketType::Suback)), 1);
        }
        let publisher = Client::connect(&hub, &mut batch);
        let (mut publishes, mut pubrels) = (Vec::new(), Vec::new());
        for id in (1..=MESSAGES).filter_map(PacketId::new) {
            publishes.extend(encoded(&publish(qos, id)));
            encode_ack(&mut pubrels, AckType::Pubrel, id);
        }
        Self { hub, batch, qos, publisher, subscribers, publishes, pubrels }
    }

    /// Publishes all messages and carries on until everything is acknowledged.
    fn run(&mut self) {
        let Self { hub, batch, qos, publisher, subscribers, publishes, pubrels } = self;
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
        let peer = hub.accept(address, Entrance::open(), Instant::now()).unwrap();
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

fn publish(qos: QoS, id: PacketId) -> Packet<'static> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(id),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(id),
    };
    let topic = Name::new(TOPIC).unwrap();
    Packet::Publish(Publish::new(topic, delivery, &[b'x'; 64]))
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V311, &mut bytes).unwrap();
    bytes
}
