//! What goes on with a message, and what does not.

use super::*;

const SENT: [Property<'_>; 7] = [
    Property::UserProperty("b", "2"),
    Property::ContentType("text/plain"),
    Property::UserProperty("a", "1"),
    Property::PayloadFormatIndicator(true),
    Property::CorrelationData(b"\0\xff"),
    Property::UserProperty("b", "2"),
    Property::UserProperty("", ""),
];

#[test]
fn properties_go_on_unaltered_and_in_their_order() {
    let mut world = World::new(Limits::default());
    let response = Property::ResponseTopic(Name::new("answers/1").unwrap());
    let forwarded = properties(&[&SENT[..], &[response]].concat());
    let with_alias = properties(&[&[topic_alias(1)], &SENT[..], &[response]].concat());
    let [mut new, mut old, mut publisher] =
        [world.connect("new", &[]), world.connect_3("old"), world.connect("publisher", &[])];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let filter = format!("t/{qos}");
        world.subscribe(&mut new, &filter, qos);
        world.subscribe(&mut old, &filter, qos);
        let publish = Publish { properties: with_alias.as_properties(), ..publish(&filter, b"x", qos) };
        world.send(&mut publisher, &[Packet::Publish(publish)]);
        let [got] = &world.got(&mut new)[..] else { panic!("one message") };
        assert_eq!((got.topic.as_deref(), &got.properties), (Some(filter.as_str()), &forwarded));
        let [got] = &world.got(&mut old)[..] else { panic!("one message") };
        assert_eq!((&*got.payload, got.properties.is_empty()), (&b"x"[..], true));
        world.send(&mut publisher, &[Packet::Pubrel(ack(PacketId::MIN))]);
    }
}

#[test]
fn large_and_retained_messages_have_their_properties_too() {
    let mut world = World::new(Limits::default());
    let forwarded = properties(&SENT);
    let mut publisher = world.connect("publisher", &[]);
    let payload = vec![b'x'; 20_000];
    let sent = Publish {
        retain: true,
        properties: forwarded.as_properties(),
        ..publish("t", &payload, QoS::AtLeastOnce)
    };
    let mut early = world.connect("early", &[]);
    world.subscribe(&mut early, "t", QoS::AtLeastOnce);
    world.send(&mut publisher, &[Packet::Publish(sent)]);
    let mut late = world.connect("late", &[]);
    world.subscribe(&mut late, "t", QoS::AtLeastOnce);
    for (client, retain) in [(&mut early, false), (&mut late, true)] {
        let [got] = &world.got(client)[..] else { panic!("one message") };
        assert_eq!((got.payload.len(), got.retain, &got.properties), (20_000, retain, &forwarded));
    }
    // Over the next connection, too.
    world.leave(early);
    let mut early = world.connect("early", &[]);
    let [got] = &world.got(&mut early)[..] else { panic!("one message") };
    assert_eq!((got.payload.len(), got.dup, &got.properties), (20_000, true, &forwarded));
}

#[test]
fn a_will_has_its_properties_and_expires_from_when_it_goes_out() {
    let mut world = World::new(Limits::default());
    let mut watcher = world.connect("watcher", &[]);
    world.subscribe(&mut watcher, "wills", QoS::AtMostOnce);
    let sent = properties(&[&[Property::MessageExpiryInterval(5)], &SENT[..]].concat());
    let will = Will {
        topic: Name::new("wills").unwrap(),
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: sent.as_properties(),
    };
    let client = world.connect_with("client", &[], Some(will));
    world.pass(Duration::from_secs(100));
    world.leave(client);
    let [got] = &world.got(&mut watcher)[..] else { panic!("one message") };
    assert_eq!((&*got.payload, &got.properties), (&b"gone"[..], &sent));
    // Retained, it grows old.
    world.pass(Duration::from_secs(4));
    world.subscribe(&mut watcher, "wills", QoS::AtMostOnce);
    let [got] = &world.got(&mut watcher)[..] else { panic!("one message") };
    let left = properties(&[&[Property::MessageExpiryInterval(1)], &SENT[..]].concat());
    assert_eq!((got.retain, &got.properties), (true, &left));
    world.pass(Duration::from_secs(1));
    world.subscribe(&mut watcher, "wills", QoS::AtMostOnce);
    assert_eq!(world.got(&mut watcher), []);
    assert_eq!((world.hub.stats().stored, world.hub.stats().retained_bytes), (0, 0));
}

#[test]
fn memory_for_properties_is_accounted_and_given_back() {
    let mut world = World::new(Limits::default());
    let mut client = world.connect("client", &[]);
    world.subscribe(&mut client, "t", QoS::AtLeastOnce);
    world.leave(client);
    let mut publisher = world.connect("publisher", &[]);
    // What is remembered of who gets the topic.
    world.send(&mut publisher, &[Packet::Publish(publish("t", b"x", QoS::AtMostOnce))]);
    let used = world.hub.stats().memory_used;
    let long = "x".repeat(10_000);
    let sent = properties(&[Property::UserProperty("name", &long)]);
    let sent = Publish { properties: sent.as_properties(), ..publish("t", b"x", QoS::AtLeastOnce) };
    world.send(&mut publisher, &[Packet::Publish(sent)]);
    assert!(world.hub.stats().memory_used > used + long.len());
    assert!(world.hub.stats().queued_bytes > long.len());
    let mut client = world.connect("client", &[]);
    let [got] = &world.got(&mut client)[..] else { panic!("one message") };
    world.send(&mut client, &[Packet::Puback(ack(got.id.unwrap()))]);
    world.got(&mut client);
    world.leave(client);
    world.got(&mut publisher);
    assert_eq!(world.hub.stats().memory_used, used);
}

#[test]
fn a_message_too_large_for_one_client_goes_to_the_others() {
    let mut world = World::new(Limits::default());
    let size = Property::MaximumPacketSize(100.try_into().unwrap());
    let [mut small, mut large] = [world.connect("small", &[size]), world.connect("large", &[])];
    for client in [&mut small, &mut large] {
        world.subscribe(client, "t", QoS::AtLeastOnce);
    }
    let mut publisher = world.connect("publisher", &[]);
    for (payload, qos) in [(&[0; 100], QoS::AtMostOnce), (&[0; 100], QoS::AtLeastOnce)] {
        world.send(&mut publisher, &[Packet::Publish(publish("t", payload, qos))]);
    }
    world.send(&mut publisher, &[Packet::Publish(publish("t", b"fits", QoS::AtLeastOnce))]);
    assert_eq!(world.got(&mut large).len(), 3);
    assert_eq!(world.payloads(&mut small), [b"fits"]);
    let stats = world.hub.stats();
    assert_eq!((stats.dropped_too_large, stats.dropped(), stats.in_flight), (2, 2, 3));
    // And what is retained.
    let sent = Publish { retain: true, ..publish("t/1", &[0; 100], QoS::AtMostOnce) };
    let fits = Publish { retain: true, ..publish("t/2", b"fits", QoS::AtMostOnce) };
    world.send(&mut publisher, &[Packet::Publish(sent), Packet::Publish(fits)]);
    world.subscribe(&mut small, "t/+", QoS::AtLeastOnce);
    assert_eq!(world.payloads(&mut small), [b"fits"]);
}
