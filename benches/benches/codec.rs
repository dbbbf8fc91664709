//! Bytes ↔ packets.

#![expect(clippy::unwrap_used, reason = "a bench that goes wrong stops")]

use std::hint::black_box;
use std::time::Duration;

use benches::stage::{connect, subscribe};
use criterion::{BenchmarkId, Criterion, Throughput};
use sol::codec::{
    Ack, Decoded, Delivery, MAX_PACKET_BYTES, Packet, PacketId, Properties, Publish, QoS, Version, decode,
};
use sol::topic::Name;

const TOPIC: &str = "site4/line2/device17/temperature";
/// What a connection reads at a time.
const READ_BYTES: usize = 64 * 1024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    each_packet(&mut criterion);
    a_read_of_publishes(&mut criterion);
    criterion.final_summary();
}

fn each_packet(criterion: &mut Criterion) {
    let small = [b'x'; 64];
    let large = vec![b'x'; 16 * 1024];
    let mut packets = Vec::new();
    for (size, payload) in [("64 B", small.as_slice()), ("16 KiB", &large)] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            packets.push((format!("PUBLISH QoS {qos} {size}"), publish(qos, payload)));
        }
    }
    packets.push(("CONNECT".to_owned(), connect()));
    packets.push(("SUBSCRIBE 3 filters".to_owned(), subscribe()));
    packets.push(("PUBACK".to_owned(), Packet::Puback(Ack::new(PacketId::MAX))));

    let mut group = criterion.benchmark_group("codec");
    for (name, packet) in &packets {
        let mut bytes = Vec::new();
        packet.encode(Version::V311, &mut bytes).unwrap();
        assert_eq!(decode_first(&bytes), (packet.clone(), bytes.len()));

        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("decode", name), |bencher| {
            bencher.iter(|| black_box(decode_first(black_box(&bytes))));
        });
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function(BenchmarkId::new("encode", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(packet).encode(Version::V311, &mut out).unwrap();
                black_box(&out);
            });
        });
        assert!(out.is_empty() || out == bytes);
    }
}

/// As many 64-byte messages as one read brings, the last one cut off.
fn a_read_of_publishes(criterion: &mut Criterion) {
    let mut bytes = Vec::new();
    let packet = publish(QoS::AtMostOnce, &[b'x'; 64]);
    while bytes.len() < READ_BYTES {
        packet.encode(Version::V311, &mut bytes).unwrap();
    }
    bytes.truncate(READ_BYTES);
    let packets = decode_all(&bytes);
    assert_eq!(packets, READ_BYTES / (2 + 2 + TOPIC.len() + 64));

    let mut group = criterion.benchmark_group("codec");
    let (bytes_read, elements) = (bytes.len() as u64, packets as u64);
    group.throughput(Throughput::ElementsAndBytes { elements, bytes: bytes_read });
    group.bench_function("decode/64 KiB of PUBLISH QoS 0 64 B", |bencher| {
        bencher.iter(|| assert_eq!(decode_all(black_box(&bytes)), packets));
    });
}

fn decode_first(bytes: &[u8]) -> (Packet<'_>, usize) {
    match decode(bytes, Some(Version::V311), MAX_PACKET_BYTES) {
        Ok(Decoded::Packet { packet, length }) => (packet, length),
        other => panic!("{other:?}"),
    }
}

/// Gives how many whole packets there are.
fn decode_all(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    loop {
        match decode(bytes, Some(Version::V311), MAX_PACKET_BYTES) {
            Ok(Decoded::Packet { packet, length }) => {
                black_box(packet);
                count += 1;
                bytes = bytes.get(length..).unwrap();
            }
            Ok(Decoded::Incomplete { .. }) => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

fn publish(qos: QoS, payload: &[u8]) -> Packet<'_> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce(PacketId::MAX),
        QoS::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MAX),
    };
    Packet::Publish(Publish {
        dup: false,
        delivery,
        retain: false,
        topic: Some(Name::new(TOPIC).unwrap()),
        properties: Properties::EMPTY,
        payload,
    })
}
