//! Wills, and their delays.

use sol::codec::{Connect, Packet, Property, QoS, Will};
use sol::topic::Name;

use super::common;
use super::*;

/// A client that leaves a will.
fn mourned(address: SocketAddr, client_id: &str, session: &[Property<'_>], will: &[Property<'_>]) -> Client {
    let with = properties(will);
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: client_id.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: with.as_properties(),
    };
    opened(address, Connect { will: Some(will), ..connect(client_id) }, session).0
}

/// A client that hears of wills whenever it is there.
fn mourner(address: SocketAddr) -> Client {
    let mut client = new(address, "mourner");
    subscribe(&mut client, 0, "will", QoS::AtLeastOnce);
    client
}

/// Whom it heard of, up to now.
fn heard(broker: &Durable) -> Vec<String> {
    let mut mourner = back(broker.address(), "mourner");
    publish(&mut guest(broker.address()), "will", "end", QoS::AtLeastOnce);
    let mut heard = Vec::new();
    loop {
        match take(&mut mourner).payload {
            payload if payload == "end" => {
                mourner.ping();
                settle(broker.address());
                return heard;
            }
            payload => heard.push(payload),
        }
    }
}

#[test]
fn the_wills_of_those_who_were_there_go_out_once() {
    let delay = Property::WillDelayInterval(1000);
    for end in ENDS {
        let mut broker = Durable::start();
        drop(mourner(broker.address()));
        let clean = mourned(broker.address(), "clean", &[], &[]);
        let stays = mourned(broker.address(), "stays", &[LONG], &[]);
        let waits = mourned(broker.address(), "waits", &[LONG], &[delay]);
        let mut left = mourned(broker.address(), "left", &[LONG], &[]);
        left.send(&[Packet::Disconnect(sol::codec::Disconnect::default())]);
        left.expect_closed();
        settle(broker.address());
        broker.end(end);
        drop((clean, stays, waits));
        broker.start_again();
        let mut found = heard(&broker);
        found.sort();
        assert_eq!(found, ["clean", "stays"], "{end:?}");
        broker.restart(end);
        assert_eq!(heard(&broker), [""; 0], "{end:?}");
        // Who is back in time is not mourned.
        back(broker.address(), "waits");
        broker.restart(end);
        assert_eq!(heard(&broker), [""; 0], "{end:?}");
    }
}

#[test]
fn a_will_that_waits_goes_out_when_its_delay_is_over() {
    let delay = Property::WillDelayInterval(1);
    for end in ENDS {
        let mut broker = Durable::start();
        drop(mourner(broker.address()));
        drop(mourned(broker.address(), "away", &[LONG], &[delay]));
        let there = mourned(broker.address(), "there", &[LONG], &[delay]);
        broker.end(end);
        drop(there);
        broker.start_again();
        let mut mourner = back(broker.address(), "mourner");
        let mut found = [take(&mut mourner).payload, take(&mut mourner).payload];
        found.sort();
        assert_eq!(found, ["away", "there"], "{end:?}");
        mourner.ping();
        settle(broker.address());
        drop(mourner);
        broker.restart(end);
        assert_eq!(heard(&broker), [""; 0], "{end:?}");
    }
}

#[test]
fn a_will_goes_out_with_the_end_of_its_session() {
    let mut broker = Durable::start();
    drop(mourner(broker.address()));
    let short = Property::SessionExpiryInterval(1);
    drop(mourned(broker.address(), "expires", &[short], &[Property::WillDelayInterval(1000)]));
    broker.restart(End::Killed);
    let mut mourner = back(broker.address(), "mourner");
    assert_eq!(take(&mut mourner).payload, "expires");
}

#[test]
fn a_will_of_3_1_1_goes_out_after_a_crash() {
    let mut broker = Durable::start();
    drop(mourner(broker.address()));
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: b"old",
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: sol::codec::Properties::EMPTY,
    };
    let old = Connect { will: Some(will), ..common::connect("old") };
    let client = Client::connect_as(broker.address(), old, false);
    // Nobody waits for that before a clean session's CONNACK.
    settle(broker.address());
    broker.end(End::Killed);
    drop(client);
    broker.start_again();
    assert_eq!(heard(&broker), ["old"]);
    let mut late = guest(broker.address());
    subscribe(&mut late, 0, "will", QoS::AtMostOnce);
    assert!(receive(&mut late).retain);
}
