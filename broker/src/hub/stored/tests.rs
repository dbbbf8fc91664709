use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use super::*;
use crate::auth::Entrance;
use crate::codec::{
    Ack, Connect, Decoded, Delivery, Packet, PacketId, PropertiesBuf, Property, Publish, Subscribe, Version,
    decode,
};
use crate::hub::{Ending, Limits, Peer, Sleep};
use crate::session::Outbox;
use crate::store::files::simulated::{Disk, Failure};
use crate::store::{Options, SessionNumber, Sink, Writer, open};
use crate::topic::Name;

#[derive(Default)]
struct Answers(Vec<(Arc<dyn Any + Send + Sync>, Fetched)>);

impl Sink for Answers {
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, _: SessionNumber, fetched: Fetched) {
        self.0.push((asker, fetched));
    }
}

/// A hub over a store whose writer has its turn when it is told.
struct World {
    hub: Hub,
    disk: Disk,
    writer: Writer,
    batch: Batch,
}

impl World {
    fn new() -> Self {
        let disk = Disk::new(0);
        let options = Options { max_backlog_bytes: 1000, retry: Duration::ZERO, ..Options::default() };
        let (journal, writer, ..) = open(Arc::new(disk.clone()), options).unwrap();
        let hub = Hub::new(Limits::default()).with_journal(journal);
        Self { hub, disk, writer, batch: Batch::new(Instant::now()) }
    }

    fn turn(&mut self) -> Vec<(Arc<dyn Any + Send + Sync>, Fetched)> {
        let mut answers = Answers::default();
        self.writer.turn(Duration::ZERO, &mut answers);
        answers.0
    }

    /// The writer's turns until nobody asks for anything any more.
    fn settle(&mut self) {
        loop {
            let answers = self.turn();
            if answers.is_empty() {
                return;
            }
            self.give(&answers);
        }
    }

    fn give(&mut self, answers: &[(Arc<dyn Any + Send + Sync>, Fetched)]) {
        for (asker, Fetched { deliveries, next }) in answers {
            let fetched = Fetched { deliveries: deliveries.clone(), next: *next };
            self.hub.fetched(&**asker, fetched, &mut self.batch);
            self.batch.wake();
        }
    }

    fn connect(&mut self, client_id: &str, expiry_seconds: u32) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut peer = self.hub.accept(address, Entrance::open(), self.batch.now()).unwrap();
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SessionExpiryInterval(expiry_seconds)).unwrap();
        self.send(
            &mut peer,
            &[Packet::Connect(Connect {
                version: Version::V5,
                clean_session: false,
                keep_alive: 0,
                client_id,
                will: None,
                user_name: None,
                password: None,
                properties: properties.as_properties(),
            })],
        );
        assert!(peer.is_connected());
        peer
    }

    fn subscribe(&mut self, peer: &mut Peer, filter: &str) {
        let filters = vec![(Filter::new(filter).unwrap(), QoS::ExactlyOnce)];
        self.send(peer, &[Packet::Subscribe(Subscribe::new(PacketId::MIN, filters))]);
    }

    fn send(&mut self, peer: &mut Peer, packets: &[Packet<'_>]) {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(Version::V5, &mut bytes).unwrap());
        let now = self.batch.now();
        assert_eq!(self.hub.handle(peer, &bytes, now, &mut self.batch).consumed, bytes.len());
        // Its answers are of no interest, but for those that come by way of the session.
        self.batch.replies.clear();
        self.batch.wake();
    }

    fn publish(&mut self, peer: &mut Peer, topic: &str, packet_id: u16) {
        let delivery = Delivery::ExactlyOnce(PacketId::new(packet_id).unwrap());
        let publish = Publish::new(Name::new(topic).unwrap(), delivery, b"payload");
        self.send(peer, &[Packet::Publish(publish)]);
    }

    fn leave(&mut self, peer: Peer) {
        let now = self.batch.now();
        self.hub.close(peer, &Ending::Closed, now, &mut self.batch);
        self.batch.wake();
    }

    /// What the client gets, in words. Also how many bytes wait.
    fn collect(&mut self, peer: &Peer) -> (Vec<String>, usize) {
        let mut unsent = Outbox::default();
        let waiting = self.hub.collect(peer, &mut unsent, &mut self.batch).unwrap();
        let mut room = [std::io::IoSlice::new(&[]); 64];
        let bytes: Vec<u8> = unsent.slices(&mut room).iter().flat_map(|slice| slice.to_vec()).collect();
        let (mut rest, mut words) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let Ok(Decoded::Packet { packet, length }) = decode(rest, Some(Version::V5), 1 << 20) else {
                panic!("{rest:?}")
            };
            words.push(match packet {
                Packet::Publish(publish) => {
                    format!("PUBLISH {}", publish.delivery.packet_id().map_or(0, PacketId::get))
                }
                Packet::Pubrel(ack) => format!("PUBREL {}", ack.packet_id),
                other => other.packet_type().to_string(),
            });
            rest = &rest[length..];
        }
        (words, waiting)
    }

    fn sleep(&mut self, peer: &Peer, waker: &Waker) -> Sleep {
        self.hub.sleep(peer, &mut Outbox::default(), 0, waker, &mut self.batch).unwrap()
    }
}

#[test]
fn who_needs_no_answer_waits_for_a_store_that_is_behind_too() {
    let mut world = World::new();
    let mut peer = world.connect("a", 100);
    world.turn();
    world.collect(&peer);
    world.disk.fail(Failure::Full, 0, u64::MAX);
    let mut publish = Publish::new(Name::new("t").unwrap(), Delivery::AtMostOnce, &[0; 100]);
    publish.retain = true;
    let mut written = 0;
    while world.collect(&peer).1 != usize::MAX {
        world.turn();
        world.send(&mut peer, &[Packet::Publish(publish)]);
        written += 1;
        assert!(written < 100);
    }
    assert_eq!(world.sleep(&peer, Waker::noop()), Sleep::Asleep);
    world.disk.heal();
    world.turn();
    assert_eq!(world.sleep(&peer, Waker::noop()), Sleep::Output, "so that it reads on");
}

#[test]
fn while_nothing_can_be_stored_nothing_of_qos_2_leaves_that_is_not() {
    let mut world = World::new();
    let (mut subscriber, mut publisher) = (world.connect("subscriber", 100), world.connect("publisher", 0));
    world.subscribe(&mut subscriber, "t");
    world.publish(&mut publisher, "t", 1);
    world.turn();
    assert_eq!(world.collect(&subscriber).0, ["CONNACK", "SUBACK", "PUBLISH 1"]);
    world.disk.fail(Failure::Full, 0, u64::MAX);
    let one = NonZeroU16::MIN;
    world.send(&mut subscriber, &[Packet::Pubrec(Ack::new(one))]);
    world.publish(&mut publisher, "t", 2);
    world.turn();
    assert_eq!(world.collect(&subscriber).0, [""; 0]);
    world.leave(subscriber);
    let subscriber = world.connect("subscriber", 100);
    world.settle();
    let (mut got, _) = world.collect(&subscriber);
    world.settle();
    got.extend(world.collect(&subscriber).0);
    assert_eq!(got, ["CONNACK"], "its session is stored, and what it has in flight is not");
    world.disk.heal();
    world.settle();
    got.extend(world.collect(&subscriber).0);
    world.settle();
    got.extend(world.collect(&subscriber).0);
    assert_eq!(got, ["CONNACK", "PUBREL 1", "PUBLISH 2"]);
}

#[test]
fn what_was_stored_before_goes_out_while_nothing_can_be() {
    let mut world = World::new();
    let (mut subscriber, mut publisher) = (world.connect("subscriber", 100), world.connect("publisher", 0));
    world.subscribe(&mut subscriber, "t");
    world.publish(&mut publisher, "t", 1);
    world.turn();
    world.collect(&subscriber);
    world.disk.fail(Failure::Full, 0, u64::MAX);
    world.leave(subscriber);
    world.turn();
    assert!(world.hub.cannot_store());
    let mut subscriber = world.connect("subscriber", 100);
    world.subscribe(&mut subscriber, "t");
    let (mut got, _) = world.collect(&subscriber);
    world.settle();
    got.extend(world.collect(&subscriber).0);
    assert_eq!(got, ["CONNACK", "SUBACK", "PUBLISH 1"]);
}

#[test]
fn a_session_that_was_never_stored_is_not_promised_later() {
    let mut world = World::new();
    world.disk.fail(Failure::Full, 0, u64::MAX);
    // The writer does not know yet.
    let mut peer = world.connect("a", 100);
    world.subscribe(&mut peer, "t");
    world.turn();
    assert!(world.hub.cannot_store());
    assert_eq!(world.collect(&peer).0, [""; 0]);
    world.leave(peer);
    let mut peer = world.connect("a", 100);
    world.subscribe(&mut peer, "t");
    world.turn();
    assert_eq!(world.collect(&peer).0, [""; 0]);
    world.disk.heal();
    world.turn();
    assert_eq!(world.collect(&peer).0, ["CONNACK", "SUBACK"]);
}

#[test]
fn who_leaves_twice_gives_away_once() {
    let mut world = World::new();
    let (mut one, mut publisher) = (world.connect("one", 100), world.connect("publisher", 0));
    world.subscribe(&mut one, "$share/g/t");
    world.leave(one);
    for id in 1..=3 {
        world.publish(&mut publisher, "t", id);
    }
    world.settle();
    let mut other = world.connect("other", 100);
    world.subscribe(&mut other, "$share/g/t");
    for _ in 0..2 {
        let one = world.connect("one", 100);
        world.leave(one);
    }
    world.settle();
    let (got, _) = world.collect(&other);
    assert_eq!(got, ["CONNACK", "SUBACK", "PUBLISH 1", "PUBLISH 2", "PUBLISH 3"]);
    assert_eq!(world.hub.stats().queued, 0);
}

#[test]
fn what_an_ended_session_leaves_takes_no_memory() {
    let mut world = World::new();
    let mut publisher = world.connect("publisher", 0);
    world.settle();
    let memory = |world: &mut World| {
        world.hub.absorb(&mut world.batch);
        world.hub.memory_used()
    };
    let before = memory(&mut world);
    let mut one = world.connect("one", 1);
    world.subscribe(&mut one, "$share/g/t");
    world.leave(one);
    world.publish(&mut publisher, "t", 1);
    world.settle();
    let later = world.batch.now() + Duration::from_secs(2);
    world.hub.attend(later, Waker::noop(), &mut world.batch);
    world.settle();
    world.send(&mut publisher, &[Packet::Pubrel(Ack::new(NonZeroU16::MIN))]);
    world.collect(&publisher);
    assert_eq!((world.hub.stats().sessions, world.hub.stats().queued), (1, 0));
    let after = memory(&mut world);
    assert!(after < before + 500, "{before} to {after}");
}

impl World {
    /// At QoS 1, in one batch whose replies are not collected yet.
    fn publish_once(&mut self, peer: &mut Peer, topics: &[&str], retain: bool) {
        let mut bytes = Vec::new();
        for topic in topics {
            let delivery = Delivery::AtLeastOnce(PacketId::MIN);
            let mut publish = Publish::new(Name::new(topic).unwrap(), delivery, b"payload");
            publish.retain = retain;
            Packet::Publish(publish).encode(Version::V5, &mut bytes).unwrap();
        }
        let now = self.batch.now();
        self.hub.handle(peer, &bytes, now, &mut self.batch);
        self.batch.wake();
    }

    fn acknowledge(&mut self, peer: &mut Peer, packet_id: u16) {
        self.send(peer, &[Packet::Puback(Ack::new(PacketId::new(packet_id).unwrap()))]);
    }

    /// Subscribers whose sessions are stored, and a publisher.
    fn crowd<const N: usize>(&mut self, filters: [&str; N]) -> ([Peer; N], Peer) {
        let subscribers = filters.map(|filter| {
            let mut peer = self.connect(filter, 100);
            self.subscribe(&mut peer, filter);
            peer
        });
        let publisher = self.connect("publisher", 0);
        self.turn();
        subscribers.iter().chain([&publisher]).for_each(|peer| _ = self.collect(peer));
        (subscribers, publisher)
    }
}

#[test]
fn what_all_have_acknowledged_is_not_written_and_its_publisher_does_not_wait() {
    let mut world = World::new();
    let ([mut one, mut other], mut publisher) = world.crowd(["t/#", "t/+"]);
    let before = world.disk.operations();
    world.publish_once(&mut publisher, &["t/1"], false);
    assert_eq!(world.collect(&publisher).0, [""; 0]);
    assert_eq!(world.collect(&one).0, ["PUBLISH 1"]);
    world.acknowledge(&mut one, 1);
    assert_eq!(world.sleep(&publisher, Waker::noop()), Sleep::Asleep, "the other one may need it yet");
    world.acknowledge(&mut other, 1);
    assert_eq!(world.collect(&publisher).0, ["PUBACK"]);
    world.turn();
    assert_eq!(world.disk.operations(), before);
}

#[test]
fn what_one_client_does_not_acknowledge_is_written_for_it() {
    let mut world = World::new();
    let ([mut one, other], mut publisher) = world.crowd(["t/#", "t/+"]);
    world.publish_once(&mut publisher, &["t/1"], false);
    world.collect(&publisher);
    world.acknowledge(&mut one, 1);
    world.disk.fail(Failure::Full, 0, u64::MAX);
    world.turn();
    assert_eq!(world.collect(&publisher).0, [""; 0]);
    world.disk.heal();
    world.turn();
    assert_eq!(world.collect(&publisher).0, ["PUBACK"]);
    drop((one, other));
    let options = Options { retry: Duration::ZERO, ..Options::default() };
    let (.., recovered, _) = open(Arc::new(world.disk.after_power_cut(0)), options).unwrap();
    let mut queued: Vec<_> = recovered
        .sessions
        .iter()
        .map(|session| (session.client_id.as_str(), session.in_flight.len()))
        .collect();
    queued.sort_unstable();
    assert_eq!(queued, [("t/#", 0), ("t/+", 1)]);
}

#[test]
fn what_must_be_stored_for_another_reason_is_waited_for() {
    let mut world = World::new();
    let ([mut one, other], mut publisher) = world.crowd(["t/1", "t/2"]);
    world.publish_once(&mut publisher, &["t/1"], true);
    assert_eq!(world.collect(&publisher).0, [""; 0]);
    world.acknowledge(&mut one, 1);
    assert_eq!(world.collect(&publisher).0, [""; 0], "it is retained");
    world.turn();
    assert_eq!(world.collect(&publisher).0, ["PUBACK"]);
    world.leave(other);
    world.publish_once(&mut publisher, &["t/1", "t/2"], false);
    assert_eq!(world.collect(&publisher).0, [""; 0]);
    world.acknowledge(&mut one, 2);
    assert_eq!(world.collect(&publisher).0, [""; 0], "one of them waits for who is away");
    world.turn();
    assert_eq!(world.collect(&publisher).0, ["PUBACK", "PUBACK"]);
}
