//! Retained messages.

use std::time::Instant;

use sol::codec::{Property, QoS};

use super::common::eventually;
use super::*;

/// What is retained, in the order of the topics.
fn all(address: std::net::SocketAddr) -> Vec<Got> {
    let mut client = guest(address);
    subscribe(&mut client, 0, "#", QoS::AtMostOnce);
    // Behind all others.
    publish(&mut guest_named(address, "other"), "~", "end", QoS::AtMostOnce);
    let mut all = Vec::new();
    loop {
        match receive(&mut client) {
            got if got.topic == "~" => return all,
            got => all.push(got),
        }
    }
}

fn guest_named(address: std::net::SocketAddr, name: &str) -> Client {
    opened(address, Connect { clean_session: true, ..connect(name) }, &[]).0
}

#[test]
fn the_last_of_each_topic_is_there() {
    for end in ENDS {
        let mut broker = Durable::start();
        let mut client = guest(broker.address());
        let user = Property::UserProperty("k", "v");
        retain(&mut client, "a", "old", &[]);
        retain(&mut client, "a", "new", &[user]);
        retain(&mut client, "b", "deleted", &[]);
        retain(&mut client, "b", "", &[]);
        retain(&mut client, "c/d", "as it was", &[]);
        drop(client);
        for _ in 0..2 {
            broker.restart(end);
            let found: Vec<_> =
                all(broker.address()).into_iter().map(|got| (got.topic, got.payload)).collect();
            let text = |topic: &str, payload: &str| (topic.to_owned(), payload.to_owned());
            assert_eq!(found, [text("a", "new"), text("c/d", "as it was")], "{end:?}");
        }
        // What goes in a later life goes for good.
        let mut client = guest(broker.address());
        retain(&mut client, "a", "", &[]);
        drop(client);
        broker.restart(end);
        assert_eq!(all(broker.address()).len(), 1, "{end:?}");
    }
}

#[test]
fn they_expire_by_the_clock_on_the_wall() {
    for end in ENDS {
        let mut broker = Durable::start();
        let mut client = guest(broker.address());
        retain(&mut client, "long", "1", &[Property::MessageExpiryInterval(1000)]);
        retain(&mut client, "short", "2", &[Property::MessageExpiryInterval(1)]);
        let published_at = Instant::now();
        drop(client);
        broker.end(end);
        eventually("a second has gone by", || published_at.elapsed().as_millis() > 1000);
        broker.start_again();
        let found = all(broker.address());
        assert_eq!(found.len(), 1, "{found:?}");
        let left = found[0].seconds_left.unwrap();
        assert!((900..1000).contains(&left), "{left}");
    }
}

#[test]
fn those_that_the_limits_have_no_room_for_any_more_are_left_out() {
    let mut broker = Durable::start();
    let mut client = guest(broker.address());
    retain(&mut client, "small", "1", &[]);
    let large = "x".repeat(400_000);
    for n in 0..20 {
        retain(&mut client, &format!("large/{n:02}"), &large, &[]);
    }
    drop(client);
    broker.end(End::Stopped);
    let less = broker.place.read("sol.conf") + "max_memory 8MB\n";
    broker.place.configure(&less);
    broker.start_again();
    let found = all(broker.address()).len();
    assert!((1..20).contains(&found), "{found}");
    // They are out of the store, too.
    let log = broker.end(End::Stopped);
    assert!(log.contains(" retained messages have expired or find no room"), "{log}");
    broker.place.configure(&less.replace("max_memory 8MB", "max_memory 1GB"));
    broker.start_again();
    assert_eq!(all(broker.address()).len(), found);
}
