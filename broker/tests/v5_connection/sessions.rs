//! Session expiry.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use sol::codec::{Connect, Packet, Property, QoS, Reason, Version, Will};
use sol::topic::Name;
use sol::{Broker, Config, Limits};

use super::common::{self, Client, eventually, publish};
use super::{broker, connect, disconnect, expect_disconnect, opened, properties};

const LONG: Property<'_> = Property::SessionExpiryInterval(1000);
const NEVER: Property<'_> = Property::SessionExpiryInterval(u32::MAX);
const AT_ONCE: Property<'_> = Property::SessionExpiryInterval(0);

#[test]
fn a_session_lasts_as_long_as_it_is_to() {
    let broker = broker(Limits::default());
    for (expiry, is_kept) in [(None, false), (Some(AT_ONCE), false), (Some(LONG), true), (Some(NEVER), true)]
    {
        let (client, is_present) = opened(broker.local_addr(), connect("c"), expiry.as_slice());
        assert!(!is_present, "{expiry:?}");
        drop(client);
        eventually("the client is gone", || broker.stats().clients_connected == 0);
        eventually("the session is as it should be", || broker.stats().sessions == usize::from(is_kept));
        let (_, is_present) = opened(broker.local_addr(), connect("c"), &[]);
        assert_eq!(is_present, is_kept, "{expiry:?}");
        // It went on with what its new connection says, and that is nothing.
        eventually("the session is over", || broker.stats().sessions == 0);
    }
    assert_eq!(broker.stats().clients_expired, 0);
}

#[test]
fn a_session_expires() {
    let broker = broker(Limits::default());
    drop(opened(broker.local_addr(), connect("c"), &[Property::SessionExpiryInterval(1)]));
    // It is counted a little later than it ends.
    eventually("the session is over", || broker.stats().clients_expired == 1);
    assert_eq!(broker.stats().sessions, 0);
    assert!(!opened(broker.local_addr(), connect("c"), &[]).1);
}

#[test]
fn clean_start_begins_anew_and_says_nothing_of_the_end() {
    let broker = broker(Limits::default());
    let clean = Connect { clean_session: true, ..connect("c") };
    assert!(!opened(broker.local_addr(), clean, &[LONG]).1);
    assert!(opened(broker.local_addr(), connect("c"), &[LONG]).1);
    assert!(!opened(broker.local_addr(), clean, &[LONG]).1);
}

#[test]
fn disconnect_changes_the_expiry() {
    let broker = broker(Limits::default());
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[LONG]);
    disconnect(&mut client, Reason::Success, &[AT_ONCE]);
    client.expect_closed();
    eventually("the session is over", || broker.stats().sessions == 0);
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[Property::SessionExpiryInterval(1)]);
    disconnect(&mut client, Reason::Success, &[LONG]);
    client.expect_closed();
    // One that expires after a second, and was left later, is gone first.
    drop(opened(broker.local_addr(), connect("other"), &[Property::SessionExpiryInterval(1)]));
    eventually("the other is over", || broker.stats().clients_expired == 1);
    assert!(opened(broker.local_addr(), connect("c"), &[]).1);
}

#[test]
fn what_was_to_end_at_once_cannot_be_kept_by_disconnect() {
    let broker = broker(Limits::default());
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
    disconnect(&mut client, Reason::Success, &[LONG]);
    expect_disconnect(&mut client, Reason::ProtocolError);
    eventually("the session is over", || broker.stats().sessions == 0);
    let (mut client, _) = opened(broker.local_addr(), connect("c"), &[]);
    disconnect(&mut client, Reason::Success, &[AT_ONCE]);
    client.expect_closed();
}

#[test]
fn a_session_goes_on_in_another_version() {
    let broker = broker(Limits::default());
    let old = Connect { clean_session: false, ..common::connect("c") };
    let mut client = Client::connect_as(broker.local_addr(), old, false);
    client.subscribe("t", QoS::AtLeastOnce);
    drop(client);
    eventually("the client is gone", || broker.stats().clients_connected == 0);
    assert!(opened(broker.local_addr(), connect("c"), &[LONG]).1);
    // 3.1 has no Session Present, so its subscription shows it.
    for version in [Version::V311, Version::V31] {
        eventually("the client is gone", || broker.stats().clients_connected == 0);
        let is_present = version == Version::V311;
        let mut client = Client::connect_as(broker.local_addr(), Connect { version, ..old }, is_present);
        client.send(&[Packet::Publish(publish("t", b"still here", QoS::AtMostOnce))]);
        assert_eq!(client.message(), b"still here");
        drop(client);
    }
    eventually("the client is gone", || broker.stats().clients_connected == 0);
    assert_eq!(broker.stats().subscriptions, 1);
    // What 3.1.1 would keep for ever ends with a connection of 5.0 that says nothing.
    assert!(opened(broker.local_addr(), connect("c"), &[]).1);
    eventually("the session is over", || broker.stats().sessions == 0);
    // The other way round: from 5.0 alone to 3.1.1, which keeps it.
    drop(opened(broker.local_addr(), connect("c"), &[LONG]));
    eventually("the client is gone", || broker.stats().clients_connected == 0);
    drop(Client::connect_as(broker.local_addr(), old, true));
    eventually("the client is gone", || broker.stats().clients_connected == 0);
    drop(Client::connect_as(broker.local_addr(), old, true));
}

#[test]
fn sessions_of_3_1_1_expire_where_that_is_configured() {
    let limits = Limits { persistent_client_expiration: Some(Duration::from_secs(1)), ..Limits::default() };
    let broker = broker(limits);
    let old = Connect { clean_session: false, ..common::connect("c") };
    drop(Client::connect_as(broker.local_addr(), old, false));
    eventually("the session is over", || broker.stats().clients_expired == 1);
    drop(Client::connect_as(broker.local_addr(), old, false));
}

#[test]
fn clients_that_take_each_other_over_leave_nothing_behind() {
    const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let config = Config {
        threads: NonZeroUsize::new(3).unwrap(),
        spread: true,
        stats_interval: None,
        ..Config::on("127.0.0.1:0".parse().unwrap())
    };
    let broker = Broker::start(config).unwrap();
    let address = broker.local_addr();
    thread::scope(|scope| {
        for number in 0..4_usize {
            scope.spawn(move || {
                for round in 0..100 {
                    // Each meets each other in every combination of these, sooner or later.
                    let turn = round * (number + 3) + number;
                    let expiry = [0, 1, 1000, u32::MAX][turn % 4];
                    let delay = properties(&[Property::WillDelayInterval([0, 1, 1000][turn % 3])]);
                    let will = Will {
                        topic: Name::new("will").unwrap(),
                        payload: b"gone",
                        qos: QoS::AtLeastOnce,
                        retain: false,
                        properties: delay.as_properties(),
                    };
                    let connect = Connect {
                        clean_session: turn.is_multiple_of(5),
                        will: Some(will),
                        ..connect(IDS[(turn / 2) % IDS.len()])
                    };
                    let with = properties(&[Property::SessionExpiryInterval(expiry)]);
                    let mut client = Client::open(address);
                    client.send(&[Packet::Connect(Connect { properties: with.as_properties(), ..connect })]);
                    // Another may have taken it over before there was a CONNACK, and then there is nothing else.
                    match client.receive_or_end() {
                        None => continue,
                        Some(Packet::Connack(connack)) => assert_eq!(connack.reason, Reason::Success),
                        Some(other) => panic!("{other:?} for CONNACK"),
                    }
                    if turn.is_multiple_of(7) {
                        _ = client.try_send_bytes(b"\x82\x0a\0\x01\0\0\x04will\x01");
                        _ = client.receive_or_end();
                    }
                }
            });
        }
    });
    for id in IDS {
        opened(address, Connect { clean_session: true, ..connect(id) }, &[]).0.ping();
    }
    eventually("nothing is left", || {
        let stats = broker.stats();
        (stats.sessions, stats.clients_connected, stats.subscriptions, stats.stored) == (0, 0, 0, 0)
    });
}
