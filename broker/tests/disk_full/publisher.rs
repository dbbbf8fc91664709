//! Publishers with a window, who go on for as long as they are not told to stop.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sol::codec::{Ack, Connect, Delivery, Packet, PacketId, Publish, QoS, Version};
use sol::topic::Name;

use crate::common::{Client, connect};

/// Whose message, and its number.
pub(crate) type Key = (u8, u32);

const PUBLISHERS: [(Version, QoS); 3] =
    [(Version::V311, QoS::AtLeastOnce), (Version::V5, QoS::AtLeastOnce), (Version::V311, QoS::ExactlyOnce)];

const WINDOW: usize = 20;

pub(crate) struct Publishers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(BTreeSet<Key>, bool)>>,
}

impl Publishers {
    /// Their messages have so many bytes.
    pub(crate) fn start(address: SocketAddr, payload_bytes: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = PUBLISHERS.iter().enumerate().map(|(number, (version, qos))| {
            let publisher = Publisher::connect(address, number as u8, *version, *qos, payload_bytes);
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || publisher.run(&is_over))
        });
        Self { is_over: Arc::clone(&is_over), threads: threads.collect() }
    }

    /// What is published is acknowledged to its end. Gives what was.
    pub(crate) fn finish(self) -> BTreeSet<Key> {
        self.is_over.store(true, Ordering::Relaxed);
        self.join(true)
    }

    /// The broker was killed. Gives what was acknowledged before.
    pub(crate) fn broken_off(self) -> BTreeSet<Key> {
        self.join(false)
    }

    fn join(self, are_finished: bool) -> BTreeSet<Key> {
        let mut all = BTreeSet::new();
        for thread in self.threads {
            let (acknowledged, is_finished) = thread.join().unwrap();
            assert_eq!(is_finished, are_finished);
            all.extend(acknowledged);
        }
        all
    }
}

struct Publisher {
    number: u8,
    client: Client,
    qos: QoS,
    payload_bytes: usize,
    next: u32,
    /// Sent, and not acknowledged to the end.
    open: VecDeque<(PacketId, u32)>,
    acknowledged: BTreeSet<Key>,
}

impl Publisher {
    fn connect(address: SocketAddr, number: u8, version: Version, qos: QoS, payload_bytes: usize) -> Self {
        let mut client = Client::open(address);
        // As long as it takes: the acknowledgement may wait until there is room.
        client.stream.set_read_timeout(None).unwrap();
        let id = format!("publisher {number}");
        client.send(&[Packet::Connect(Connect { version, ..connect(&id) })]);
        let Packet::Connack(connack) = client.receive() else { panic!("no CONNACK") };
        assert!(!connack.reason.is_error());
        Self {
            number,
            client,
            qos,
            payload_bytes,
            next: 0,
            open: VecDeque::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    /// Gives what was acknowledged, and whether that is all that was published.
    fn run(mut self, is_over: &AtomicBool) -> (BTreeSet<Key>, bool) {
        loop {
            while self.open.len() < WINDOW && !is_over.load(Ordering::Relaxed) {
                if self.publish().is_err() {
                    return (self.acknowledged, false);
                }
            }
            if self.open.is_empty() {
                return (self.acknowledged, true);
            }
            if !self.receive() {
                return (self.acknowledged, false);
            }
        }
    }

    fn publish(&mut self) -> std::io::Result<()> {
        self.next += 1;
        let number = self.next;
        let is_free = |id: &PacketId| self.open.iter().all(|(open, _)| open != id);
        let packet_id = (1..).filter_map(PacketId::new).find(is_free).unwrap();
        let delivery = match self.qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
            _ => Delivery::AtLeastOnce(packet_id),
        };
        let topic = format!("q/{}", self.number);
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(self.payload_bytes, b'x');
        self.open.push_back((packet_id, number));
        let mut bytes = Vec::new();
        let publish = Publish::new(Name::new(&topic).unwrap(), delivery, &payload);
        Packet::Publish(publish).encode(self.client.version, &mut bytes).unwrap();
        self.client.try_send_bytes(&bytes)
    }

    /// Whether the connection goes on.
    fn receive(&mut self) -> bool {
        let (ack, is_last, is_first) = match self.client.receive_or_end() {
            None => return false,
            Some(Packet::Puback(ack)) => (ack, true, true),
            Some(Packet::Pubrec(ack)) => (ack, ack.reason.is_error(), true),
            Some(Packet::Pubcomp(ack)) => (ack, true, false),
            other => panic!("{other:?}"),
        };
        let (packet_id, is_refused) = (ack.packet_id, is_first && ack.reason.is_error());
        let at = self.open.iter().position(|(open, _)| *open == packet_id).unwrap();
        let (_, number) = self.open[at];
        if is_last {
            self.open.remove(at);
        }
        if is_refused {
            // Or the broker has nothing else to do than to refuse the next ones.
            thread::sleep(Duration::from_millis(10));
            return true;
        }
        self.acknowledged.insert((self.number, number));
        let mut bytes = Vec::new();
        if !is_last {
            Packet::Pubrel(Ack::new(packet_id)).encode(self.client.version, &mut bytes).unwrap();
        }
        self.client.try_send_bytes(&bytes).is_ok()
    }
}
