//! Topic aliases, both ways.

use super::*;

/// A PUBLISH whose topic an alias says.
fn aliased(properties: &PropertiesBuf) -> Publish<'_> {
    Publish { topic: None, properties: properties.as_properties(), ..publish("t", b"x", QoS::AtMostOnce) }
}

#[test]
fn an_alias_stands_for_its_topic_until_the_connection_ends() {
    let mut world = World::new(Limits::default());
    let mut watcher = world.connect("watcher", &[]);
    world.subscribe(&mut watcher, "#", QoS::AtMostOnce);
    let used = world.hub.stats().memory_used;
    let mut publisher = world.connect("publisher", &[]);
    let [one, ten] = [1, 10].map(|alias| properties(&[topic_alias(alias)]));
    for (topic, properties) in [("a", &one), ("b", &ten), ("", &one), ("", &ten), ("c", &one), ("", &one)] {
        let sent = Publish { topic: Name::new(topic).ok(), ..aliased(properties) };
        world.send(&mut publisher, &[Packet::Publish(sent)]);
    }
    let topics: Vec<_> = world.got(&mut watcher).into_iter().filter_map(|got| got.topic).collect();
    assert_eq!(topics, ["a", "b", "a", "b", "c", "c"]);
    world.leave(publisher);
    let publisher = world.connect("publisher", &[]);
    assert_eq!(world.send_last(publisher, &[Packet::Publish(aliased(&one))]), Reason::ProtocolError);
    assert!(world.hub.stats().memory_used < used + 3000, "a session that waits, and who gets what");
}

#[test]
fn an_alias_out_of_range_or_unknown_ends_the_connection() {
    let mut world = World::new(Limits { max_topic_alias: 3, ..Limits::default() });
    for (alias, topic, reason) in [
        (4, "t", Reason::TopicAliasInvalid),
        (4, "", Reason::TopicAliasInvalid),
        (3, "", Reason::ProtocolError),
    ] {
        let publisher = world.connect("publisher", &[]);
        let properties = properties(&[topic_alias(alias)]);
        let sent = Publish { topic: Name::new(topic).ok(), ..aliased(&properties) };
        assert_eq!(world.send_last(publisher, &[Packet::Publish(sent)]), reason, "{alias} {topic}");
    }
    let mut publisher = world.connect("publisher", &[]);
    let zero = b"\x30\x07\0\x01t\x03\x23\0\0";
    let handled = world.hub.handle(&mut publisher.peer, zero, world.now, &mut world.batch);
    let Next::End(ending) = handled.next else { panic!("{handled:?}") };
    assert_eq!(ending.reason(), Some(Reason::TopicAliasInvalid));
}

#[test]
fn the_memory_of_aliases_is_accounted_limited_and_given_back() {
    let mut world = World::new(Limits { max_topic_alias: 100, ..Limits::default() });
    let mut publisher = world.connect("publisher", &[]);
    let longest = "x".repeat(65_535);
    let before = world.hub.stats().memory_used;
    let lists: Vec<_> = (1..=16).map(|alias| properties(&[topic_alias(alias)])).collect();
    let mut packets = lists.iter().map(|properties| {
        Packet::Publish(Publish { topic: Name::new(&longest).ok(), ..aliased(properties) })
    });
    for packet in packets.by_ref().take(15) {
        world.send(&mut publisher, &[packet]);
    }
    assert!(world.hub.stats().memory_used > before + 15 * longest.len());
    assert_eq!(world.send_last(publisher, &[packets.next().unwrap()]), Reason::QuotaExceeded);
    assert!(world.hub.stats().memory_used < before + 200_000, "who gets that topic");
}

#[test]
fn a_client_that_takes_aliases_gets_them_for_topics_that_come_again() {
    let mut world = World::new(Limits::default());
    let maximum = Property::TopicAliasMaximum(1);
    let [mut with, mut without, mut old] =
        [world.connect("with", &[maximum]), world.connect("without", &[]), world.connect_3("old")];
    for client in [&mut with, &mut without, &mut old] {
        world.subscribe(client, "#", QoS::AtMostOnce);
    }
    let mut publisher = world.connect_3("publisher");
    let topic = "a/topic/of/some/length";
    for _ in 0..4 {
        world.send(&mut publisher, &[Packet::Publish(publish(topic, b"x", QoS::AtMostOnce))]);
    }
    let got: Vec<_> = world.got(&mut with).into_iter().map(|got| (got.topic, got.properties)).collect();
    let (told, alias) = (Some(topic.to_owned()), properties(&[topic_alias(1)]));
    let expected =
        [(told.clone(), properties(&[])), (told, alias.clone()), (None, alias.clone()), (None, alias)];
    assert_eq!(got, expected);
    for client in [&mut without, &mut old] {
        let got = world.got(client);
        assert!(got.iter().all(|got| got.topic.as_deref() == Some(topic) && got.properties.is_empty()));
    }
    // They begin anew with the next connection.
    world.leave(with);
    let mut with = world.connect("with", &[maximum]);
    world.send(&mut publisher, &[Packet::Publish(publish(topic, b"x", QoS::AtMostOnce))]);
    assert_eq!(world.got(&mut with)[0].topic.as_deref(), Some(topic));
}

#[test]
fn a_client_s_publish_has_no_subscription_identifier() {
    let mut world = World::new(Limits::default());
    let publisher = world.connect("publisher", &[]);
    let number = properties(&[Property::SubscriptionIdentifier(7.try_into().unwrap())]);
    let sent = Publish { properties: number.as_properties(), ..publish("t", b"x", QoS::AtMostOnce) };
    assert_eq!(world.send_last(publisher, &[Packet::Publish(sent)]), Reason::ProtocolError);
}
