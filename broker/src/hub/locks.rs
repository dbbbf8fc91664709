//! That whoever publishes waits for nobody but those who deliver to the same client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use super::{Batch, Hub, Limits, Peer, Sleep};
use crate::auth::Entrance;
use crate::codec::{
    Ack, Connect, Decoded, Delivery, MAX_PACKET_BYTES, Packet, PacketId, Properties, Publish, QoS, Subscribe,
    Version, decode,
};
use crate::session::Outbox;
use crate::topic::{Filter, Name};

/// For what takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    peer: Peer,
    version: Version,
}

impl Client {
    fn connect(hub: &Hub, version: Version, batch: &mut Batch) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = hub.accept(address, Entrance::open(), Instant::now()).unwrap();
        let mut client = Self { peer, version };
        let connect = Connect {
            version,
            clean_session: true,
            keep_alive: 0,
            client_id: "",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        assert_eq!(client.send(hub, &Packet::Connect(connect), batch), 1);
        client
    }

    /// Sends a packet, takes what comes and answers it. Gives how many packets came.
    fn send(&mut self, hub: &Hub, packet: &Packet<'_>, batch: &mut Batch) -> usize {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        assert_eq!(hub.handle(&mut self.peer, &bytes, Instant::now(), batch).consumed, bytes.len());
        self.take(hub, batch)
    }

    fn take(&mut self, hub: &Hub, batch: &mut Batch) -> usize {
        let mut unsent = Outbox::default();
        hub.collect(&self.peer, &mut unsent, batch).unwrap();
        batch.wake();
        let mut came = 0;
        while !unsent.is_empty()
            || hub.sleep(&self.peer, &mut unsent, 0, Waker::noop(), batch).unwrap() == Sleep::Output
        {
            let mut bytes = Vec::new();
            let mut room = [std::io::IoSlice::new(&[]); 8];
            unsent.slices(&mut room).iter().for_each(|slice| bytes.extend_from_slice(slice));
            unsent.advance(bytes.len());
            let mut rest = bytes.as_slice();
            while let Ok(Decoded::Packet { packet, length }) =
                decode(rest, Some(self.version), MAX_PACKET_BYTES)
            {
                came += 1;
                rest = &rest[length..];
                if let Some(answer) = answer(&packet) {
                    came += self.send(hub, &answer, batch);
                }
            }
        }
        came
    }
}

fn answer(packet: &Packet<'_>) -> Option<Packet<'static>> {
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(id) => Some(Packet::Puback(Ack::new(id))),
            Delivery::ExactlyOnce(id) => Some(Packet::Pubrec(Ack::new(id))),
        },
        Packet::Pubrec(ack) => Some(Packet::Pubrel(Ack::new(ack.packet_id))),
        Packet::Pubrel(ack) => Some(Packet::Pubcomp(Ack::new(ack.packet_id))),
        _ => None,
    }
}

#[test]
fn a_publish_goes_through_while_others_hold_all_that_is_shared() {
    let hub = Hub::new(Limits::default());
    let mut batch = Batch::new(Instant::now());
    let versions = [Version::V311, Version::V5];
    let mut publishers = versions.map(|version| Client::connect(&hub, version, &mut batch));
    let mut subscribers = versions.map(|version| {
        let mut subscriber = Client::connect(&hub, version, &mut batch);
        let filters = vec![(Filter::new("t/+").unwrap(), QoS::ExactlyOnce)];
        let subscribe = Packet::Subscribe(Subscribe::new(PacketId::MIN, filters));
        assert_eq!(subscriber.send(&hub, &subscribe, &mut batch), 1);
        subscriber
    });

    // The index as another publisher holds it, what is retained as a subscriber does, and the rest as whoever needs it.
    let shared = (hub.index.read(), hub.retained.read());
    let (sessions, schedule, addresses) = (hub.sessions.lock(), hub.schedule.lock(), hub.addresses.lock());
    let (topics, redirect, delays) = (hub.topics.lock(), hub.redirect.lock(), hub.delays.lock());
    let (done, is_done) = mpsc::channel();
    let came = thread::scope(|scope| {
        scope.spawn(|| {
            let mut came = Vec::new();
            for delivery in [
                Delivery::AtMostOnce,
                Delivery::AtLeastOnce(PacketId::MIN),
                Delivery::ExactlyOnce(PacketId::MIN),
            ] {
                let publish = Packet::Publish(Publish::new(Name::new("t/1").unwrap(), delivery, b"x"));
                for publisher in &mut publishers {
                    let acknowledged = publisher.send(&hub, &publish, &mut batch);
                    came.push((acknowledged, subscribers.each_mut().map(|it| it.take(&hub, &mut batch))));
                }
            }
            _ = done.send(came);
        });
        let came = is_done.recv_timeout(PATIENCE);
        // In any case, so that the thread ends.
        drop((shared, sessions, schedule, addresses, topics, redirect, delays));
        came
    });
    // Acknowledgements to the publisher, and packets to each subscriber, of two messages at each QoS.
    let expected = [(0, [1, 1]), (1, [1, 1]), (2, [2, 2])].map(|each| [each; 2]).concat();
    assert_eq!(came, Ok(expected));
}
