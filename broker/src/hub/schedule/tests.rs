use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::auth::Entrance;
use crate::codec::{
    self, Connect, Delivery, Packet, Properties, PropertiesBuf, Property, Publish, QoS, Version,
};
use crate::hub::{Ending, Limits, Peer};
use crate::session::Outbox;
use crate::topic::Name;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct World {
    hub: Hub,
    batch: Batch,
    now: Instant,
    woken: Arc<Woken>,
}

impl World {
    fn new(expiration: Option<Duration>) -> Self {
        let limits = Limits { persistent_client_expiration: expiration, ..Limits::default() };
        let (hub, batch, now) = (Hub::new(limits), Batch::new(Instant::now()), Instant::now());
        Self { hub, batch, now, woken: Arc::default() }
    }

    fn accept(&self) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        self.hub.accept(address, Entrance::open(), self.now).unwrap()
    }

    /// A client of 3.1.1, named by a letter.
    fn connect(&mut self, is_clean: bool, id: u8) -> Peer {
        let mut connect = *b"\x10\x0d\0\x04MQTT\x04\0\0\0\0\x01?";
        connect[9] = if is_clean { 2 } else { 0 };
        connect[14] = id;
        let mut peer = self.accept();
        self.hub.handle(&mut peer, &connect, self.now, &mut self.batch);
        assert!(peer.is_connected());
        peer
    }

    fn leave(&mut self, peer: Peer) {
        self.hub.close(peer, &Ending::Closed, self.now, &mut self.batch);
        self.batch.wake();
    }

    /// The connection has written what there was, and sleeps.
    fn sleep(&mut self, peer: &Peer) {
        for _ in 0..2 {
            let (mut unsent, waker) = (Outbox::default(), Waker::from(Arc::clone(&self.woken)));
            self.hub.sleep(peer, &mut unsent, 0, &waker, &mut self.batch).unwrap();
            unsent.clear();
        }
    }

    /// Gives in how many seconds something is due.
    fn attend(&mut self) -> Option<u64> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let due = self.hub.attend(self.now, &waker, &mut self.batch);
        due.map(|at| at.saturating_duration_since(self.now).as_secs())
    }

    fn sessions_and_expired(&self) -> (usize, u64) {
        (self.hub.stats().sessions, self.hub.stats().clients_expired)
    }

    fn is_woken(&self) -> bool {
        self.woken.0.swap(false, Ordering::Relaxed)
    }
}

#[test]
fn a_session_ends_when_its_client_stays_away_and_gives_back_its_memory() {
    let mut world = World::new(Some(5 * SECOND));
    let used = world.hub.stats().memory_used;
    let peer = world.connect(false, b'a');
    world.leave(peer);
    assert_eq!(world.attend(), Some(5));
    world.now += 4 * SECOND;
    assert_eq!((world.attend(), world.sessions_and_expired()), (Some(1), (1, 0)));
    world.now += SECOND;
    assert_eq!((world.attend(), world.sessions_and_expired()), (None, (0, 1)));
    assert_eq!(world.hub.stats().memory_used, used);
}

#[test]
fn who_returns_in_time_finds_the_session_and_who_is_late_does_not() {
    let mut world = World::new(Some(5 * SECOND));
    for (away, sessions) in [(4, 1), (5, 1)] {
        let peer = world.connect(false, b'a');
        world.leave(peer);
        world.now += away * SECOND;
        let key = |world: &World| world.hub.sessions.lock().get("a").unwrap().key;
        let before = key(&world);
        // The time has come, but nobody has attended to it.
        let peer = world.connect(false, b'a');
        assert_eq!(key(&world) == before, away == 4);
        assert_eq!((world.attend(), world.sessions_and_expired().0), (None, sessions));
        world.leave(peer);
    }
}

#[test]
fn without_a_limit_or_with_a_clean_session_nothing_is_due() {
    let mut world = World::new(None);
    for (is_clean, id) in [(true, b'a'), (false, b'b')] {
        let peer = world.connect(is_clean, id);
        world.leave(peer);
    }
    assert_eq!((world.attend(), world.sessions_and_expired()), (None, (1, 0)));
    let mut world = World::new(Some(SECOND));
    let peer = world.connect(true, b'a');
    world.leave(peer);
    assert_eq!((world.attend(), world.sessions_and_expired()), (None, (0, 0)));
}

#[test]
fn who_sleeps_is_woken_for_what_is_due_earlier_and_for_nothing_else() {
    let mut world = World::new(Some(9 * SECOND));
    assert_eq!(world.attend(), None);
    let peer = world.connect(false, b'a');
    assert!(!world.is_woken());
    world.leave(peer);
    assert!(world.is_woken());
    assert_eq!(world.attend(), Some(9));
    let peer = world.connect(false, b'b');
    world.now += SECOND;
    world.leave(peer);
    assert!(!world.is_woken(), "it is due later");
    assert_eq!(world.attend(), Some(8));
}

#[test]
fn a_connection_that_begins_anew_leaves_nothing_of_the_old_session() {
    let mut world = World::new(Some(9 * SECOND));
    let peer = world.connect(false, b'a');
    world.leave(peer);
    let peer = world.connect(true, b'a');
    assert_eq!(world.attend(), None);
    world.leave(peer);
    assert_eq!((world.attend(), world.sessions_and_expired()), (None, (0, 0)));
}

#[test]
fn many_are_attended_to_in_several_steps() {
    let mut world = World::new(Some(SECOND));
    let peer = world.connect(false, b'a');
    let client = world.hub.sessions.lock().get("a").cloned().unwrap();
    world.leave(peer);
    for key in 0..AT_A_TIME as u64 {
        let other = Client::new("other".into(), u64::MAX - key, Default::default());
        world.hub.schedule.lock().set(&Arc::new(other), None, client.session.lock().absence.due());
    }
    world.now += SECOND;
    assert_eq!(world.attend(), Some(0));
    assert_eq!(world.attend(), None);
}

/// A CONNECT of a session that does not end, with a will of 60,000 bytes that waits for ever.
fn connect_with_will(number: usize) -> Vec<u8> {
    let (mut for_ever, mut late) = (PropertiesBuf::new(), PropertiesBuf::new());
    for_ever.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
    late.push(Property::WillDelayInterval(u32::MAX)).unwrap();
    let connect = Packet::Connect(Connect {
        version: Version::V5,
        clean_session: true,
        keep_alive: 0,
        client_id: &number.to_string(),
        will: Some(codec::Will {
            topic: Name::new("will").unwrap(),
            payload: &[0; 60_000],
            qos: QoS::AtMostOnce,
            retain: false,
            properties: late.as_properties(),
        }),
        user_name: None,
        password: None,
        properties: for_ever.as_properties(),
    });
    let mut bytes = Vec::new();
    connect.encode(Version::V5, &mut bytes).unwrap();
    bytes
}

#[test]
fn wills_that_wait_do_not_lock_others_out_when_memory_is_short() {
    let mut world = World::new(None);
    world.hub = Hub::new(Limits { max_memory_bytes: 24 << 20, ..Limits::default() });
    for number in 0..400 {
        let mut peer = world.accept();
        world.hub.handle(&mut peer, &connect_with_will(number), world.now, &mut world.batch);
        assert!(peer.is_connected(), "{number}");
        world.leave(peer);
        // As once a second: the first look makes room, the second sees it.
        (0..2).for_each(|_| world.hub.watch_memory(&mut world.batch));
    }
    let stats = world.hub.stats();
    assert!(stats.dropped_memory_full > 0 && stats.memory_used < stats.memory_budget, "{stats:?}");
}

#[test]
fn long_names_of_sessions_and_of_retained_messages_are_accounted_for() {
    const LONG: usize = 60_000;
    let mut world = World::new(None);
    let used = world.hub.stats().memory_used;
    let id = "x".repeat(LONG);
    let connect = |clean_session| {
        let connect = Connect {
            version: Version::V311,
            clean_session,
            keep_alive: 0,
            client_id: &id,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        };
        Packet::Connect(connect)
    };
    let retained = |payload| {
        let publish = Publish::new(Name::new(&id).unwrap(), Delivery::AtMostOnce, payload);
        Packet::Publish(Publish { retain: true, ..publish })
    };
    // The message has the topic once, the store once more, and so have the routes, which stay.
    for (packets, names) in [([connect(false), retained(b"x")], 4), ([connect(true), retained(b"")], 1)] {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(Version::V311, &mut bytes).unwrap());
        let mut peer = world.accept();
        world.hub.handle(&mut peer, &bytes, world.now, &mut world.batch);
        world.leave(peer);
        let more = world.hub.stats().memory_used - used;
        assert!((names * LONG..(names + 1) * LONG).contains(&more), "{more} for {names} names");
    }
}

/// Connections that want nothing but to hold memory, with what each sends behind its CONNECT.
fn hold_memory(behind: &[u8]) {
    let mut world = World::new(None);
    world.hub = Hub::new(Limits { max_memory_bytes: 24 << 20, ..Limits::default() });
    let modest = world.connect(false, b'a');
    let mut peers = Vec::new();
    for number in 0..200 {
        let mut peer = world.accept();
        let bytes = [&connect_with_will(number), behind].concat();
        world.hub.handle(&mut peer, &bytes, world.now, &mut world.batch);
        if peer.is_connected() {
            world.sleep(&peer);
            peers.push(peer);
        } else {
            world.leave(peer);
        }
        world.hub.watch_memory(&mut world.batch);
        let (kept, cut): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| !is_cut(peer));
        peers = kept;
        cut.into_iter().for_each(|peer| world.leave(peer));
        (0..2).for_each(|_| world.hub.watch_memory(&mut world.batch));
    }
    let stats = world.hub.stats();
    assert!(stats.cut_connections > 0 && stats.memory_used < stats.memory_budget, "{stats:?}");
    assert!(!is_cut(&modest), "it holds nothing");
}

fn is_cut(peer: &Peer) -> bool {
    peer.connected().unwrap().client.session.lock().link.as_ref().unwrap().cut
}

#[test]
fn who_holds_memory_by_a_will_is_cut_before_others_are() {
    hold_memory(b"");
}

#[test]
fn who_holds_memory_by_topic_aliases_is_cut_before_others_are() {
    let mut behind = Vec::new();
    for (alias, topic) in (1..=10).zip('a'..) {
        let (topic, mut properties) = (topic.to_string().repeat(60_000), PropertiesBuf::new());
        properties.push(Property::TopicAlias(NonZeroU16::new(alias).unwrap())).unwrap();
        let properties = properties.as_properties();
        let topic = Name::new(&topic).unwrap();
        let publish = Publish { properties, ..Publish::new(topic, Delivery::AtMostOnce, b"") };
        Packet::Publish(publish).encode(Version::V5, &mut behind).unwrap();
    }
    hold_memory(&behind);
}
