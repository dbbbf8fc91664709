//! Message expiry.

use super::*;

fn expiring<'a>(topic: &'a str, payload: &'a [u8], properties: &'a PropertiesBuf) -> Publish<'a> {
    Publish { properties: properties.as_properties(), ..publish(topic, payload, QoS::AtLeastOnce) }
}

fn after(seconds: u32) -> PropertiesBuf {
    properties(&[Property::MessageExpiryInterval(seconds)])
}

#[test]
fn what_expires_in_a_queue_is_not_sent_and_the_rest_grows_old() {
    let mut world = World::new(Limits::default());
    let [mut new, mut old] = [world.connect("new", &[]), world.connect_3("old")];
    for client in [&mut new, &mut old] {
        world.subscribe(client, "t", QoS::AtLeastOnce);
    }
    world.leave(new);
    world.leave(old);
    let mut publisher = world.connect("publisher", &[]);
    for seconds in [3, 10, 4] {
        let sent = after(seconds);
        world.send(&mut publisher, &[Packet::Publish(expiring("t", &[seconds as u8], &sent))]);
    }
    world.send(&mut publisher, &[Packet::Publish(publish("t", b"never", QoS::AtLeastOnce))]);
    assert_eq!(world.hub.stats().queued, 8);
    world.pass(Duration::from_millis(4000));
    let [mut new, mut old] = [world.connect("new", &[]), world.connect_3("old")];
    let got: Vec<_> = world.got(&mut new).into_iter().map(|got| (got.payload, got.properties)).collect();
    assert_eq!(got, [(vec![10], after(6)), (b"never".to_vec(), properties(&[]))]);
    assert_eq!(world.payloads(&mut old), [&[10][..], b"never"]);
    let stats = world.hub.stats();
    assert_eq!((stats.messages_expired, stats.dropped(), stats.queued, stats.stored), (4, 0, 0, 2));
}

#[test]
fn a_delivery_that_has_begun_is_finished() {
    let mut world = World::new(Limits::default());
    let mut client = world.connect("client", &[]);
    world.subscribe(&mut client, "t", QoS::AtLeastOnce);
    let mut publisher = world.connect("publisher", &[]);
    let sent = after(3);
    world.send(&mut publisher, &[Packet::Publish(expiring("t", b"x", &sent))]);
    assert_eq!(world.got(&mut client)[0].properties, after(3));
    world.leave(client);
    world.pass(Duration::from_secs(5));
    let mut client = world.connect("client", &[]);
    let [got] = &world.got(&mut client)[..] else { panic!("one message") };
    assert_eq!((got.dup, &got.properties), (true, &after(0)));
}

#[test]
fn an_interval_of_0_reaches_those_who_are_there() {
    let mut world = World::new(Limits::default());
    let [mut here, mut away] = [world.connect("here", &[]), world.connect("away", &[])];
    for client in [&mut here, &mut away] {
        world.subscribe(client, "t", QoS::AtLeastOnce);
    }
    world.leave(away);
    let mut publisher = world.connect("publisher", &[]);
    let sent = after(0);
    world.send(&mut publisher, &[Packet::Publish(expiring("t", b"x", &sent))]);
    assert_eq!(world.got(&mut here)[0].properties, after(0));
    let mut away = world.connect("away", &[]);
    assert_eq!(world.got(&mut away), []);
}

#[test]
fn a_retained_message_that_expired_is_removed_when_it_is_found() {
    let mut world = World::new(Limits::default());
    let mut publisher = world.connect("publisher", &[]);
    let (short, long) = (after(5), after(50));
    for (topic, properties) in [("t/1", &short), ("t/2", &long), ("t/3", &short)] {
        let retained = Publish { retain: true, ..expiring(topic, topic.as_bytes(), properties) };
        world.send(&mut publisher, &[Packet::Publish(retained)]);
    }
    // One expires, and is replaced by one that does not.
    let retained = Publish { retain: true, ..publish("t/3", b"anew", QoS::AtLeastOnce) };
    world.send(&mut publisher, &[Packet::Publish(retained)]);
    world.pass(Duration::from_secs(6));
    let mut client = world.connect_3("client");
    world.subscribe(&mut client, "t/+", QoS::AtMostOnce);
    assert_eq!(world.payloads(&mut client), [&b"t/2"[..], b"anew"]);
    assert_eq!((world.hub.stats().retained, world.hub.stats().messages_expired), (2, 1));
    let mut client = world.connect("client", &[]);
    world.subscribe(&mut client, "t/2", QoS::AtMostOnce);
    assert_eq!(world.got(&mut client)[0].properties, after(44));
    world.pass(Duration::from_secs(44));
    world.subscribe(&mut client, "t/2", QoS::AtMostOnce);
    assert_eq!(world.got(&mut client), []);
    let wipe = Publish { retain: true, ..publish("t/3", b"", QoS::AtMostOnce) };
    world.send(&mut publisher, &[Packet::Publish(wipe)]);
    let stats = world.hub.stats();
    assert_eq!((stats.retained, stats.retained_bytes, stats.stored), (0, 0, 0));
}

#[test]
fn a_retained_message_that_nobody_asks_for_is_removed_in_the_end() {
    let mut world = World::new(Limits::default());
    let mut publisher = world.connect("publisher", &[]);
    for (topic, sent) in [("t/1", after(5)), ("t/2", after(200)), ("t/3", properties(&[]))] {
        let retained = Publish { retain: true, ..expiring(topic, b"x", &sent) };
        world.send(&mut publisher, &[Packet::Publish(retained)]);
    }
    for (seconds, retained) in [(5, 3), (60, 2), (100, 2), (100, 1), (1000, 1)] {
        world.pass(Duration::from_secs(seconds));
        world.hub.watch_memory(world.batch.at(world.now));
        assert_eq!(world.hub.stats().retained, retained, "{seconds}");
    }
    assert_eq!(world.hub.stats().stored, 1);
}

#[test]
fn expired_messages_make_room_in_a_full_store() {
    let mut world = World::new(Limits { max_retained_messages: 2, ..Limits::default() });
    let mut publisher = world.connect("publisher", &[]);
    let short = after(5);
    let mut retain = |world: &mut World, topic, properties| {
        let retained = Publish { retain: true, ..expiring(topic, b"x", properties) };
        world.send(&mut publisher, &[Packet::Publish(retained)]);
        let stats = world.hub.stats();
        (stats.retained, stats.dropped_retained_full, stats.messages_expired)
    };
    let never = properties(&[]);
    assert_eq!(retain(&mut world, "a", &short), (1, 0, 0));
    assert_eq!(retain(&mut world, "b", &never), (2, 0, 0));
    assert_eq!(retain(&mut world, "c", &never), (2, 1, 0));
    world.pass(Duration::from_secs(5));
    assert_eq!(retain(&mut world, "c", &never), (2, 1, 1));
    assert_eq!(retain(&mut world, "d", &never), (2, 2, 1));
}
