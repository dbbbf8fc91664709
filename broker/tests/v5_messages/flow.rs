//! Receive Maximum, both ways, and acknowledgements that say no.

use super::*;

fn qos_2(number: u16) -> Packet<'static> {
    Packet::Publish(Publish {
        delivery: Delivery::ExactlyOnce(id(number)),
        ..publish("t", b"x", QoS::ExactlyOnce)
    })
}

#[test]
fn a_client_that_exceeds_receive_maximum_is_disconnected() {
    let mut world = World::new(Limits { max_received_messages: 2, ..Limits::default() });
    let mut publisher = world.connect("publisher", &[]);
    // Repeats, QoS 1 and what is released do not count.
    world.send(&mut publisher, &[qos_2(1), qos_2(2), qos_2(2)]);
    for _ in 0..3 {
        world.send(&mut publisher, &[Packet::Publish(publish("t", b"x", QoS::AtLeastOnce))]);
    }
    world.send(&mut publisher, &[Packet::Pubrel(ack(id(1))), qos_2(3)]);
    assert_eq!(world.send_last(publisher, &[qos_2(4)]), Reason::ReceiveMaximumExceeded);
    // The quota begins anew with the connection.
    let mut publisher = world.connect("publisher", &[]);
    world.send(&mut publisher, &[qos_2(4), qos_2(5)]);
    assert_eq!(world.send_last(publisher, &[qos_2(6)]), Reason::ReceiveMaximumExceeded);
    // A client of 3.1.1 does not know of it.
    let mut old = world.connect_3("old");
    world.send(&mut old, &(1..9).map(qos_2).collect::<Vec<_>>());
}

fn ids(got: &[Got]) -> Vec<(u16, bool)> {
    got.iter().map(|got| (got.id.unwrap().get(), got.dup)).collect()
}

#[test]
fn a_client_gets_no_more_than_it_takes_over_the_next_connection_too() {
    let mut world = World::new(Limits::default());
    let mut client = world.connect("client", &[]);
    world.subscribe(&mut client, "t", QoS::ExactlyOnce);
    let mut publisher = world.connect_3("publisher");
    let send = |world: &mut World, publisher: &mut Client| {
        world.send(publisher, &[Packet::Publish(publish("t", b"x", QoS::AtLeastOnce))]);
    };
    (0..4).for_each(|_| send(&mut world, &mut publisher));
    assert_eq!(ids(&world.got(&mut client)), [(1, false), (2, false), (3, false), (4, false)]);
    world.leave(client);
    send(&mut world, &mut publisher);
    let two = Property::ReceiveMaximum(NonZeroU16::new(2).unwrap());
    let mut client = world.connect("client", &[two]);
    assert_eq!(ids(&world.got(&mut client)), [(1, true), (2, true)]);
    send(&mut world, &mut publisher);
    // What is not PUBLISH does not wait [5.0 MQTT-3.3.4-10].
    world.send(&mut client, &[Packet::Pingreq]);
    assert_eq!(world.read(&mut client, |packet| Some(matches!(packet, Packet::Pingresp))), [true]);
    let mut acknowledge = |world: &mut World, number, reason| {
        let ack = Ack { reason, ..ack(id(number)) };
        world.send(&mut client, &[Packet::Puback(ack)]);
        ids(&world.got(&mut client))
    };
    assert_eq!(acknowledge(&mut world, 2, Reason::Success), [(3, true)]);
    assert_eq!(acknowledge(&mut world, 1, Reason::QuotaExceeded), [(4, true)]);
    assert_eq!(acknowledge(&mut world, 3, Reason::Success), [(5, false)]);
    assert_eq!(acknowledge(&mut world, 9, Reason::Success), []);
    assert_eq!(acknowledge(&mut world, 5, Reason::NoMatchingSubscribers), [(6, false)]);
    assert_eq!(world.hub.stats().in_flight, 2);
}

#[test]
fn qos_2_counts_until_pubcomp_and_a_refusal_ends_it() {
    let mut world = World::new(Limits::default());
    let one = Property::ReceiveMaximum(NonZeroU16::MIN);
    let mut client = world.connect("client", &[one]);
    world.subscribe(&mut client, "t", QoS::ExactlyOnce);
    let mut publisher = world.connect_3("publisher");
    world.send(&mut publisher, &[qos_2(1), qos_2(2), qos_2(3)]);
    assert_eq!(ids(&world.got(&mut client)), [(1, false)]);
    world.send(&mut client, &[Packet::Pubrec(ack(id(1)))]);
    assert_eq!(world.reasons(&mut client), [(Reason::Success, None)]);
    world.send(&mut client, &[Packet::Pubcomp(ack(id(1)))]);
    assert_eq!(ids(&world.got(&mut client)), [(2, false)]);
    let refusal = Ack { reason: Reason::NotAuthorized, ..ack(id(2)) };
    world.send(&mut client, &[Packet::Pubrec(refusal)]);
    let seen = world.read(&mut client, |packet| Some(matches!(packet, Packet::Publish(_))));
    assert_eq!(seen, [true], "no PUBREL, and the next message");
    world.leave(client);
    let mut client = world.connect("client", &[one]);
    assert_eq!(ids(&world.got(&mut client)), [(3, true)], "what was refused does not come again");
}

#[test]
fn an_identifier_that_is_not_in_use_is_told_to_be() {
    let mut world = World::new(Limits::default());
    let packets = [Packet::Pubrec(ack(id(9))), Packet::Pubrel(ack(id(9)))];
    let mut new = world.connect("new", &[]);
    world.send(&mut new, &packets);
    assert_eq!(world.reasons(&mut new), vec![(Reason::PacketIdentifierNotFound, None); 2]);
    world.send(&mut new, &[Packet::Puback(ack(id(9))), Packet::Pubcomp(ack(id(9)))]);
    assert_eq!(world.reasons(&mut new), []);
    let mut old = world.connect_3("old");
    world.send(&mut old, &packets);
    assert_eq!(world.reasons(&mut old), vec![(Reason::Success, None); 2]);
}
