//! Will delay.

use std::net::SocketAddr;

use sol::Limits;
use sol::codec::{Connect, Property, QoS, Reason, Will};
use sol::topic::Name;

use super::common::{Client, eventually};
use super::{broker, connect, disconnect, expect_disconnect, opened, properties};

/// In seconds: longer than any test waits.
const LONG: u32 = 1000;

/// Connected with a will.
fn with_will(address: SocketAddr, payload: &[u8], delay: u32, expiry: u32, is_clean: bool) -> Client {
    let delay = properties(&[Property::WillDelayInterval(delay)]);
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        properties: delay.as_properties(),
    };
    let connect = Connect { clean_session: is_clean, will: Some(will), ..connect("c") };
    opened(address, connect, &[Property::SessionExpiryInterval(expiry)]).0
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session_whichever_is_first() {
    let broker = broker(Limits::default());
    for (delay, expiry) in [(1, LONG), (LONG, 1), (LONG, 0), (0, LONG)] {
        let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "will", QoS::AtMostOnce);
        drop(with_will(broker.local_addr(), b"gone", delay, expiry, true));
        assert_eq!(watcher.message(), b"gone", "{delay} {expiry}");
        watcher.ping();
        assert_eq!(broker.stats().stored_bytes, 0);
    }
}

#[test]
fn a_will_is_not_sent_if_the_client_returns_before() {
    let broker = broker(Limits::default());
    let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "other", QoS::AtMostOnce);
    watcher.subscribe("will", QoS::AtMostOnce);
    drop(with_will(broker.local_addr(), b"first", LONG, LONG, true));
    eventually("the client is gone", || broker.stats().clients_connected == 1);
    let second = with_will(broker.local_addr(), b"second", LONG, LONG, false);
    // Nor if the old connection was still there.
    let mut third = with_will(broker.local_addr(), b"third", LONG, LONG, false);
    drop(second);
    disconnect(&mut third, Reason::Success, &[]);
    third.expect_closed();
    eventually("none waits", || broker.stats().stored == 0);
    Client::connect(broker.local_addr(), "publisher").publish("other", b"the first");
    assert_eq!(watcher.message(), b"the first");
}

#[test]
fn a_will_is_sent_at_once_if_the_client_begins_anew() {
    let broker = broker(Limits::default());
    let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "will", QoS::AtMostOnce);
    drop(with_will(broker.local_addr(), b"away", LONG, LONG, true));
    eventually("the client is gone", || broker.stats().clients_connected == 1);
    let mut taken_over = with_will(broker.local_addr(), b"taken over", LONG, LONG, true);
    assert_eq!(watcher.message(), b"away");
    let mut last = with_will(broker.local_addr(), b"", LONG, LONG, true);
    assert_eq!(watcher.message(), b"taken over");
    expect_disconnect(&mut taken_over, Reason::SessionTakenOver);
    last.ping();
}

#[test]
fn a_take_over_ends_a_session_that_was_to_end_with_its_connection() {
    let broker = broker(Limits::default());
    let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "will", QoS::AtMostOnce);
    let _old = with_will(broker.local_addr(), b"ended", LONG, 0, true);
    let (_new, is_present) = opened(broker.local_addr(), connect("c"), &[]);
    assert!(!is_present);
    assert_eq!(watcher.message(), b"ended");
}

#[test]
fn disconnect_says_what_becomes_of_the_will() {
    let broker = broker(Limits::default());
    let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "will", QoS::AtMostOnce);
    for (reason, is_sent) in [
        (Reason::Success, false),
        (Reason::DisconnectWithWill, true),
        (Reason::Unspecified, true),
        (Reason::Success, false),
    ] {
        let mut client = with_will(broker.local_addr(), b"sent", 0, 0, true);
        disconnect(&mut client, reason, &[]);
        client.expect_closed();
        if is_sent {
            assert_eq!(watcher.message(), b"sent", "{reason}");
        }
        eventually("the client is gone", || broker.stats().stored == 0);
        // Nothing else came.
        watcher.ping();
    }
    // The will of one that is not to be delayed by the interval of its session.
    let mut client = with_will(broker.local_addr(), b"delayed", LONG, LONG, true);
    let at_once = [Property::SessionExpiryInterval(0)];
    disconnect(&mut client, Reason::DisconnectWithWill, &at_once);
    assert_eq!(watcher.message(), b"delayed");
}

#[test]
fn wills_that_wait_are_sent_when_the_broker_stops() {
    let broker = broker(Limits::default());
    let mut watcher = Client::subscribed(broker.local_addr(), "watcher", "will", QoS::AtMostOnce);
    drop(with_will(broker.local_addr(), b"waiting", LONG, LONG, true));
    eventually("the client is gone", || broker.stats().clients_connected == 1);
    let stop = std::thread::spawn(move || broker.stop());
    assert_eq!(watcher.message(), b"waiting");
    watcher.expect_closed();
    drop(watcher);
    stop.join().unwrap();
}
