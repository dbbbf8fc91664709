//! Sessions and their subscriptions.

use sol::codec::{
    Connect, Disconnect, Packet, PacketId, Property, Publish, QoS, Reason, SubscribeOptions, Unsubscribe,
    Version,
};
use sol::topic::Filter;

use super::common::{self, Client, eventually};
use super::*;

#[test]
fn subscriptions_are_what_they_were() {
    for end in ENDS {
        let mut broker = Durable::start();
        let mut client = new(broker.address(), "client");
        let at = SubscribeOptions::from;
        subscribe(&mut client, 7, "id/+", at(QoS::ExactlyOnce));
        subscribe(&mut client, 0, "mine", SubscribeOptions { no_local: true, ..at(QoS::AtLeastOnce) });
        let as_published = SubscribeOptions { retain_as_published: true, ..at(QoS::AtMostOnce) };
        subscribe(&mut client, 0, "kept/#", as_published);
        subscribe(&mut client, 9, "$share/group/work", at(QoS::AtLeastOnce));
        subscribe(&mut client, 0, "changed", at(QoS::AtLeastOnce));
        subscribe(&mut client, 0, "changed", at(QoS::AtMostOnce));
        subscribe(&mut client, 0, "ended", at(QoS::AtLeastOnce));
        let filters = vec![Filter::new("ended").unwrap()];
        client.send(&[Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters))]);
        assert!(matches!(client.receive(), Packet::Unsuback(_)));

        broker.restart(end);
        let mut client = back(broker.address(), "client");
        let mut guest = guest(broker.address());
        publish(&mut client, "mine", "not for the client", QoS::AtLeastOnce);
        publish(&mut guest, "ended", "not for the client", QoS::AtLeastOnce);
        publish(&mut guest, "id/x", "1", QoS::ExactlyOnce);
        let got = take(&mut client);
        assert_eq!((got.payload.as_str(), got.qos, &got.identifiers[..]), ("1", QoS::ExactlyOnce, &[7][..]));
        retain(&mut guest, "kept/x", "2", &[]);
        let got = take(&mut client);
        assert_eq!((got.payload.as_str(), got.qos, got.retain), ("2", QoS::AtMostOnce, true));
        publish(&mut guest, "work", "3", QoS::ExactlyOnce);
        let got = take(&mut client);
        assert_eq!((got.payload.as_str(), got.qos, &got.identifiers[..]), ("3", QoS::AtLeastOnce, &[9][..]));
        publish(&mut guest, "changed", "4", QoS::AtLeastOnce);
        assert_eq!(take(&mut client).qos, QoS::AtMostOnce);

        // What changes in the second life is there in the third.
        subscribe(&mut client, 0, "later", at(QoS::AtLeastOnce));
        broker.restart(end);
        let mut client = back(broker.address(), "client");
        publish(&mut super::guest(broker.address()), "later", "5", QoS::AtLeastOnce);
        assert_eq!(take(&mut client).payload, "5");
    }
}

#[test]
fn sessions_of_3_1_1_survive_and_clean_ones_do_not() {
    for end in ENDS {
        let mut broker = Durable::start();
        let stays = Connect { clean_session: false, ..common::connect("stays") };
        let mut client = Client::connect_as(broker.address(), stays, false);
        client.subscribe("t", QoS::AtLeastOnce);
        let mut clean = Client::connect(broker.address(), "clean");
        clean.subscribe("t", QoS::AtLeastOnce);
        broker.restart(end);
        let mut client = Client::connect_as(broker.address(), stays, true);
        Client::connect_as(broker.address(), Connect { client_id: "clean", ..stays }, false);
        publish(&mut guest(broker.address()), "t", "served", QoS::AtLeastOnce);
        assert_eq!(client.message(), b"served");
        // A clean session in its place ends it for good.
        drop(client);
        drop(Client::connect(broker.address(), "stays"));
        broker.restart(end);
        Client::connect_as(broker.address(), stays, false);
    }
}

#[test]
fn a_session_expires_by_the_clock_on_the_wall() {
    for end in ENDS {
        let mut broker = Durable::start();
        let short = Property::SessionExpiryInterval(1);
        let (mut left, _) = opened(broker.address(), connect("left"), &[LONG]);
        let disconnect = |client: &mut Client, expiry| {
            let with = properties(&[expiry]);
            let properties = with.as_properties();
            client.send(&[Packet::Disconnect(Disconnect { reason: Reason::Success, properties })]);
            client.expect_closed();
        };
        disconnect(&mut left, short);
        let (mut ended, _) = opened(broker.address(), connect("ended"), &[LONG]);
        disconnect(&mut ended, Property::SessionExpiryInterval(0));
        new(broker.address(), "stays");
        settle(broker.address());
        broker.end(end);
        let ended_at = std::time::Instant::now();
        eventually("a second has gone by", || ended_at.elapsed().as_millis() > 1000);
        broker.start_again();
        assert!(!opened(broker.address(), connect("left"), &[]).1);
        assert!(!opened(broker.address(), connect("ended"), &[]).1);
        back(broker.address(), "stays");
    }
}

#[test]
fn a_session_goes_on_with_another_version() {
    let mut broker = Durable::start();
    let old = Connect { clean_session: false, ..common::connect("c") };
    Client::connect_as(broker.address(), old, false).subscribe("t", QoS::AtLeastOnce);
    broker.restart(End::Killed);
    drop(back(broker.address(), "c"));
    broker.restart(End::Killed);
    let mut client = Client::connect_as(broker.address(), old, true);
    assert_eq!(client.version, Version::V311);
    let publish = Publish { ..common::publish("t", b"1", QoS::AtMostOnce) };
    client.send(&[Packet::Publish(publish)]);
    assert_eq!(client.message(), b"1");
}
