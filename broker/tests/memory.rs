//! `max_memory`: what a process takes under floods, how it says so, and that it serves the others meanwhile.
//!
//! Against the command `sol`, since it is the process that is limited.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::process::{Place, Sol};
use common::{Client, connect, encode, eventually, publish};
use rustix::process::Signal;
use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, Properties, Publish, QoS, Reason, Will,
};
use sol::topic::Name;

/// 64MB, as the configuration has it.
const MAX_MEMORY_BYTES: usize = 64 << 20;
const DROPPED: &str = "$SYS/broker/publish/messages/dropped/memory";

struct Process {
    sol: Sol,
    address: SocketAddr,
    _place: Place,
}

impl Process {
    fn start() -> Self {
        let place = Place::new("ip_port 0\nthreads 2\nmax_memory 64MB\nstats_publish_interval 1s\n");
        let sol = place.start();
        Self { address: sol.address, sol, _place: place }
    }

    /// A line of `/proc/PID/status`, in bytes.
    fn status(&self, key: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.sol.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Memory was kept, and the log tells that it was short.
    fn end(mut self, name: &str) {
        self.sol.line("memory is short, stage");
        self.end_within(name);
    }

    /// Memory was kept.
    fn end_within(self, name: &str) {
        let (now, most) = (self.status("VmRSS"), self.status("VmHWM"));
        self.sol.signal(Signal::TERM);
        let (code, log) = self.sol.end();
        println!("{name}: resident {now}, at most {most}\n{log}");
        assert_eq!(code, Some(0));
        assert!(most < MAX_MEMORY_BYTES, "{name}: {most} bytes were resident");
    }
}

/// Hears a statistics topic, from before the flood.
struct Watch(Client);

impl Watch {
    fn new(address: SocketAddr, topic: &str) -> Self {
        Self(Client::subscribed(address, "", topic, QoS::AtMostOnce))
    }

    /// The value, once it is not 0.
    fn not_zero(&mut self) -> u64 {
        loop {
            let value = String::from_utf8(self.0.message()).unwrap().parse().unwrap();
            if value > 0 {
                return value;
            }
        }
    }
}

/// Waits until a new client is let in.
fn connect_again(address: SocketAddr) {
    eventually("a new client is let in", || {
        let mut client = Client::open(address);
        client.try_send_bytes(&encode(&[Packet::Connect(connect("new"))])).is_ok()
            && matches!(client.receive_or_end(), Some(Packet::Connack(connack)) if connack.reason == Reason::Success)
    });
}

/// Others are served at each QoS: the client gets its own messages, in order.
struct Bystander {
    clients: Vec<(QoS, Client)>,
    sent: u32,
}

impl Bystander {
    fn new(address: SocketAddr) -> Self {
        let clients = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].map(|qos| {
            let id = format!("bystander-{}", qos as u8);
            (qos, Client::subscribed(address, &id, &id, qos))
        });
        Self { clients: clients.into(), sent: 0 }
    }

    fn is_served(&mut self) {
        self.sent += 1;
        let payload = self.sent.to_be_bytes();
        for (qos, client) in &mut self.clients {
            let topic = format!("bystander-{}", *qos as u8);
            client.send(&[Packet::Publish(publish(&topic, &payload, *qos))]);
            let (mut arrived, mut done) = (false, *qos == QoS::AtMostOnce);
            while !(arrived && done) {
                let answer = match client.receive() {
                    Packet::Publish(publish) => {
                        assert_eq!(publish.payload, payload);
                        arrived = true;
                        match publish.delivery {
                            Delivery::AtMostOnce => continue,
                            Delivery::AtLeastOnce(packet_id) => Packet::Puback(Ack::new(packet_id)),
                            Delivery::ExactlyOnce(packet_id) => Packet::Pubrec(Ack::new(packet_id)),
                        }
                    }
                    Packet::Pubrec(ack) => Packet::Pubrel(Ack::new(ack.packet_id)),
                    Packet::Pubrel(ack) => Packet::Pubcomp(Ack::new(ack.packet_id)),
                    Packet::Puback(_) | Packet::Pubcomp(_) => {
                        done = true;
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                client.send(&[answer]);
            }
        }
    }
}

/// Publishes so many messages of a size, and reads what comes for it.
fn flood(
    address: SocketAddr,
    id: &str,
    qos: QoS,
    topics: &[String],
    payload_bytes: usize,
    total_bytes: usize,
) {
    let client = Client::connect(address, id);
    let mut reader = client.stream.try_clone().unwrap();
    let drain = thread::spawn(move || _ = std::io::copy(&mut reader, &mut std::io::sink()));
    let mut client = client.stream;
    let payload = vec![b'x'; payload_bytes];
    let mut ids = (1..=u16::MAX).filter_map(PacketId::new).cycle();
    let mut sent = 0;
    'all: loop {
        let mut bytes = Vec::new();
        while bytes.len() < 256 << 10 {
            for topic in topics {
                let packet_id = ids.next().unwrap();
                let delivery = match qos {
                    QoS::AtMostOnce => Delivery::AtMostOnce,
                    QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
                    QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
                };
                let publish = Publish { delivery, ..publish(topic, &payload, qos) };
                bytes.extend(encode(&[Packet::Publish(publish)]));
                if qos == QoS::ExactlyOnce {
                    bytes.extend(encode(&[Packet::Pubrel(Ack::new(packet_id))]));
                }
            }
        }
        client.write_all(&bytes).expect("the broker takes the flood");
        sent += bytes.len();
        if sent >= total_bytes {
            break 'all;
        }
    }
    // All of it is handled when the broker closes its side.
    client.write_all(&encode(&[Packet::Disconnect(Disconnect::default())])).unwrap();
    drain.join().unwrap();
}

/// Subscribed, and never reads again.
fn stuck(address: SocketAddr, id: &str, topic: &str, qos: QoS) -> TcpStream {
    let mut client = Client::subscribed(address, id, topic, qos);
    client.ping();
    client.stream
}

fn while_flooded(address: SocketAddr, floods: Vec<Box<dyn FnOnce() + Send>>) {
    let mut bystander = Bystander::new(address);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bystander.is_served();
            }
        });
        let floods: Vec<_> = floods.into_iter().map(|flood| scope.spawn(flood)).collect();
        let ends: Vec<_> = floods.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
}

fn flood_stuck_readers(qos: QoS, payload_bytes: usize, readers: usize) {
    let process = Process::start();
    let address = process.address;
    let mut dropped = Watch::new(address, DROPPED);
    let topics: Vec<_> = (0..readers).map(|n| format!("stuck/{n}")).collect();
    let held: Vec<_> = topics
        .iter()
        .enumerate()
        .map(|(n, topic)| stuck(address, &format!("stuck-{n}"), topic, qos))
        .collect();
    // The system takes some MiB for each reader.
    let bytes = (50 + 2 * readers) << 20;
    let floods = topics.chunks(readers.div_ceil(2)).enumerate().map(|(n, topics)| {
        let topics = topics.to_vec();
        let flood = move || flood(address, &format!("flood-{n}"), qos, &topics, payload_bytes, bytes);
        Box::new(flood) as Box<dyn FnOnce() + Send>
    });
    while_flooded(address, floods.collect());
    dropped.not_zero();
    connect_again(address);
    process.end(&format!("{readers} stuck readers, {qos:?}, {payload_bytes} bytes"));
    drop(held);
}

/// Persistent sessions whose clients have left.
fn flood_absent_clients(payload_bytes: usize) {
    let process = Process::start();
    let address = process.address;
    let mut dropped = Watch::new(address, DROPPED);
    let topics: Vec<_> = (0..20).map(|n| format!("absent/{n}")).collect();
    for topic in &topics {
        let persistent = Connect { clean_session: false, ..connect(topic) };
        let mut client = Client::connect_as(address, persistent, false);
        client.subscribe(topic, QoS::AtLeastOnce);
        client.send(&[Packet::Disconnect(Disconnect::default())]);
        client.expect_closed();
    }
    let floods = topics.chunks(10).enumerate().map(|(n, topics)| {
        let topics = topics.to_vec();
        let id = format!("flood-{n}");
        let flood = move || flood(address, &id, QoS::AtLeastOnce, &topics, payload_bytes, 50 << 20);
        Box::new(flood) as Box<dyn FnOnce() + Send>
    });
    while_flooded(address, floods.collect());
    dropped.not_zero();
    connect_again(address);
    // What was kept is the beginning, and it is delivered.
    let persistent = Connect { clean_session: false, ..connect(&topics[0]) };
    let mut client = Client::connect_as(address, persistent, true);
    assert_eq!(client.message(), vec![b'x'; payload_bytes]);
    process.end(&format!("absent clients, {payload_bytes} bytes"));
}

#[test]
fn absent_clients_of_large_messages() {
    flood_absent_clients(10_000);
}

#[test]
fn absent_clients_of_small_messages() {
    flood_absent_clients(100);
}

#[test]
fn retained_messages() {
    let process = Process::start();
    let address = process.address;
    let mut dropped = Watch::new(address, "$SYS/broker/retained messages/dropped/store");
    let mut bystander = Bystander::new(address);
    let mut client = Client::connect(address, "retainer");
    let payload = [b'x'; 1000];
    for n in 0..80_000 {
        let topic = format!("retained/{n}");
        let retained = Publish { retain: true, ..publish(&topic, &payload, QoS::AtMostOnce) };
        client.send(&[Packet::Publish(retained)]);
        if n % 5000 == 0 {
            bystander.is_served();
        }
    }
    client.ping();
    dropped.not_zero();
    bystander.is_served();
    connect_again(address);
    process.end_within("retained messages");
}

/// Each leaves a will, which is kept with the connection.
#[test]
fn idle_connections() {
    let process = Process::start();
    let address = process.address;
    let mut refused = Watch::new(address, "$SYS/broker/connections/dropped/refused");
    let mut bystander = Bystander::new(address);
    let payload = [b'x'; 60_000];
    let topic = Name::new("will").unwrap();
    let mut idle = Vec::new();
    for n in 0..900 {
        let will = Some(Will {
            topic,
            payload: &payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        });
        let mut client = Client::open(address);
        if client
            .try_send_bytes(&encode(&[Packet::Connect(Connect { will, ..connect(&n.to_string()) })]))
            .is_ok()
            && let Some(Packet::Connack(connack)) = client.receive_or_end()
            && connack.reason == Reason::Success
        {
            idle.push(client);
        }
    }
    assert!(idle.len() > 100 && idle.len() < 900, "{} were let in", idle.len());
    refused.not_zero();
    bystander.is_served();
    process.end("idle connections");
}

/// Whether the broker has closed the connection, of which nothing is read.
fn is_over(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// All but the last bytes of large packets.
#[test]
fn packets_that_are_never_whole() {
    let process = Process::start();
    let address = process.address;
    let mut bystander = Bystander::new(address);
    let payload = vec![b'x'; 500_000];
    let packet = encode(&[Packet::Publish(publish("t", &payload, QoS::AtMostOnce))]);
    let mut clients: Vec<_> = (0..200).map(|n| Client::connect(address, &n.to_string())).collect();
    for part in packet[..packet.len() - 1].chunks(50_000) {
        // One that was disconnected cannot be written to.
        clients.retain_mut(|client| client.try_send_bytes(part).is_ok());
        bystander.is_served();
    }
    eventually("some are disconnected", || {
        clients.retain(|client| !is_over(&client.stream));
        clients.len() < 200
    });
    bystander.is_served();
    connect_again(address);
    process.end("packets that are never whole");
}

#[test]
fn stuck_readers_of_large_messages_at_qos_0() {
    flood_stuck_readers(QoS::AtMostOnce, 10_000, 30);
}

#[test]
fn stuck_readers_of_small_messages_at_qos_0() {
    flood_stuck_readers(QoS::AtMostOnce, 100, 30);
}

#[test]
fn stuck_readers_of_large_messages_at_qos_1() {
    flood_stuck_readers(QoS::AtLeastOnce, 10_000, 40);
}

#[test]
fn stuck_readers_of_small_messages_at_qos_1() {
    flood_stuck_readers(QoS::AtLeastOnce, 100, 10);
}

#[test]
fn stuck_readers_of_large_messages_at_qos_2() {
    flood_stuck_readers(QoS::ExactlyOnce, 10_000, 10);
}

#[test]
fn stuck_readers_of_small_messages_at_qos_2() {
    flood_stuck_readers(QoS::ExactlyOnce, 100, 10);
}
