//! No Local, Retain As Published, Retain Handling, and subscription identifiers.

use std::process::{Command, Stdio};

use common::peers::has_mosquitto;
use common::{eventually, running};

use super::*;

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let broker = broker(Limits::default());
    let mut one = open(broker.local_addr(), "one");
    let mut two = open(broker.local_addr(), "two");
    let no_local = SubscribeOptions { no_local: true, ..at(QoS::AtLeastOnce) };
    for client in [&mut one, &mut two] {
        assert_eq!(subscribe(client, 0, &[("a/#", no_local)]), [GRANTED[1]]);
    }
    publish(&mut one, "a/b", "from one", QoS::AtMostOnce, false);
    say(&mut two, "a/b", "from two", QoS::AtMostOnce, false);
    assert_eq!(payloads(&mut two), ["from one"]);
    assert_eq!(payloads(&mut one), ["from two"]);

    drop(two);
    eventually("the other is gone", || broker.stats().subscriptions == 1);
    say(&mut one, "a/b", "to nobody", QoS::AtLeastOnce, false);
    match one.receive() {
        Packet::Puback(ack) => assert_eq!(ack.reason, Reason::NoMatchingSubscribers),
        other => panic!("{other:?} for PUBACK"),
    }
}

#[test]
fn what_no_local_keeps_back_another_subscription_may_bring() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr(), "client");
    let mut other = open(broker.local_addr(), "other");
    let no_local = SubscribeOptions { no_local: true, ..at(QoS::ExactlyOnce) };
    subscribe(&mut client, 1, &[("a/#", no_local)]);
    subscribe(&mut client, 2, &[("a/b", at(QoS::AtMostOnce))]);
    say(&mut client, "a/b", "own", QoS::AtLeastOnce, false);
    let own = all(&mut client);
    publish(&mut other, "a/b", "other", QoS::AtLeastOnce, false);
    say(&mut client, "a/c", "unwanted", QoS::AtLeastOnce, false);
    let got = [own, all(&mut client)].concat();
    assert_eq!(got.len(), 2, "{got:?}");
    // Of its own message the subscription with No Local knows nothing: neither its QoS nor its identifier counts.
    assert_eq!((got[0].payload.as_str(), got[0].qos), ("own", QoS::AtMostOnce));
    assert_eq!(got[0].identifiers, [2]);
    assert_eq!((got[1].payload.as_str(), got[1].qos), ("other", QoS::AtLeastOnce));
    assert_eq!(got[1].identifiers, [1, 2]);
}

#[test]
fn no_local_keeps_a_clients_own_will_from_its_session() {
    let broker = broker(Limits::default());
    let with = properties(&[Property::SessionExpiryInterval(u32::MAX)]);
    let mut client = Client::open(broker.local_addr());
    let will = sol::codec::Will {
        topic: sol::topic::Name::new("t").unwrap(),
        payload: b"will",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Default::default(),
    };
    let connect = Connect {
        version: Version::V5,
        will: Some(will),
        properties: with.as_properties(),
        ..common::connect("client")
    };
    client.send(&[Packet::Connect(connect)]);
    client.receive();
    subscribe(&mut client, 0, &[("t", SubscribeOptions { no_local: true, ..at(QoS::AtLeastOnce) })]);
    let mut witness = open(broker.local_addr(), "witness");
    subscribe(&mut witness, 0, &[("t", at(QoS::AtMostOnce))]);
    drop(client);
    assert_eq!(witness.message(), b"will");
    let mut client = stay(broker.local_addr(), "client");
    assert_eq!(all(&mut client), []);
}

#[test]
fn retain_is_kept_where_a_subscription_asks_for_it() {
    let broker = broker(Limits::default());
    let mut publisher = open(broker.local_addr(), "publisher");
    let as_published = SubscribeOptions { retain_as_published: true, ..at(QoS::AtMostOnce) };
    let mut clients = [
        vec![("t", at(QoS::AtMostOnce))],
        vec![("t", as_published)],
        vec![("t", at(QoS::AtMostOnce)), ("#", as_published)],
    ]
    .map(|filters| {
        let mut client = open(broker.local_addr(), "");
        subscribe(&mut client, 0, &filters);
        client
    });
    publish(&mut publisher, "t", "live", QoS::AtMostOnce, false);
    publish(&mut publisher, "t", "retained", QoS::AtMostOnce, true);
    let retain =
        clients.each_mut().map(|client| all(client).iter().map(|got| got.retain).collect::<Vec<_>>());
    assert_eq!(retain, [[false, false], [false, true], [false, true]]);
}

#[test]
fn a_live_message_with_retain_does_not_wait_for_an_absent_client_at_qos_0() {
    let broker = broker(Limits::default());
    let mut client = stay(broker.local_addr(), "client");
    let as_published = SubscribeOptions { retain_as_published: true, ..at(QoS::ExactlyOnce) };
    subscribe(&mut client, 0, &[("t", as_published)]);
    drop(client);
    eventually("the client is away", || broker.stats().clients_connected == 0);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish(&mut publisher, "t", "0", QoS::AtMostOnce, true);
    publish(&mut publisher, "t", "1", QoS::AtLeastOnce, true);
    let got = all(&mut stay(broker.local_addr(), "client"));
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].retain && got[0].payload == "1", "{got:?}");
}

#[test]
fn retain_handling_says_when_retained_messages_come() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr(), "client");
    for topic in ["a", "b"] {
        publish(&mut client, topic, topic, QoS::AtLeastOnce, true);
    }
    let with = |retain_handling| SubscribeOptions { retain_handling, ..at(QoS::AtLeastOnce) };
    let (send, if_new, never) = (RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend);

    subscribe(&mut client, 7, &[("a", with(never)), ("b", with(if_new))]);
    let got = all(&mut client);
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].retain && got[0].payload == "b" && got[0].qos == QoS::AtLeastOnce, "{got:?}");
    assert_eq!(got[0].identifiers, [7]);

    subscribe(&mut client, 0, &[("a", with(if_new)), ("b", with(if_new))]);
    assert_eq!(all(&mut client), []);
    // Twice in one packet is once and again.
    subscribe(&mut client, 0, &[("+", with(if_new)), ("+", with(if_new))]);
    assert_eq!(payloads(&mut client), ["a", "b"]);
    subscribe(&mut client, 0, &[("a", with(send)), ("b", with(never))]);
    assert_eq!(payloads(&mut client), ["a"]);
    unsubscribe(&mut client, &["b"]);
    subscribe(&mut client, 0, &[("b", with(if_new))]);
    assert_eq!(payloads(&mut client), ["b"]);
}

#[test]
fn one_copy_has_the_identifiers_of_all_that_match_and_the_highest_qos() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr(), "client");
    let mut publisher = open(broker.local_addr(), "publisher");
    subscribe(&mut client, 268_435_455, &[("a/#", at(QoS::AtMostOnce)), ("+/b", at(QoS::ExactlyOnce))]);
    subscribe(&mut client, 2, &[("a/b", at(QoS::AtLeastOnce))]);
    subscribe(&mut client, 0, &[("#", at(QoS::AtMostOnce))]);
    subscribe(&mut client, 9, &[("c", at(QoS::AtMostOnce))]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publish(&mut publisher, "a/b", "m", qos, false);
        let got = all(&mut client);
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!((got[0].qos, got[0].identifiers.as_slice()), (qos, &[2, 268_435_455][..]));
    }
}

#[test]
fn the_same_filter_again_replaces_options_and_identifier() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr(), "client");
    let as_published = SubscribeOptions { retain_as_published: true, ..at(QoS::AtLeastOnce) };
    let no_local = SubscribeOptions { no_local: true, ..at(QoS::AtLeastOnce) };
    let mut got = |identifier, options| {
        subscribe(&mut client, identifier, &[("t", options)]);
        all(&mut client);
        say(&mut client, "t", "m", QoS::AtLeastOnce, true);
        all(&mut client).into_iter().map(|got| (got.qos, got.retain, got.identifiers)).collect::<Vec<_>>()
    };
    assert_eq!(got(1, as_published), [(QoS::AtLeastOnce, true, vec![1])]);
    assert_eq!(got(2, at(QoS::AtMostOnce)), [(QoS::AtMostOnce, false, vec![2])]);
    assert_eq!(got(3, no_local), []);
    assert_eq!(got(0, at(QoS::AtLeastOnce)), [(QoS::AtLeastOnce, false, vec![])]);
}

#[test]
fn identifiers_stay_with_messages_that_wait() {
    let broker = broker(Limits::default());
    let mut client = stay(broker.local_addr(), "client");
    subscribe(&mut client, 5, &[("t", at(QoS::AtLeastOnce))]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish(&mut publisher, "t", "in flight", QoS::AtLeastOnce, false);
    assert_eq!(all(&mut client)[0].identifiers, [5]);
    client.leave();
    publish(&mut publisher, "t", "queued", QoS::AtLeastOnce, false);
    let got = all(&mut stay(broker.local_addr(), "client"));
    let got: Vec<_> = got.iter().map(|got| (got.payload.as_str(), got.dup, got.identifiers[0])).collect();
    assert_eq!(got, [("in flight", true, 5), ("queued", false, 5)]);
}

#[test]
fn mosquitto_sees_retain_and_identifiers() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let port = broker.local_addr().port().to_string();
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-t", "t/#", "-C", "2", "-F", "%r %S %p"]);
    command.args(["--retain-as-published", "-D", "subscribe", "subscription-identifier", "42"]);
    let subscriber = running({
        command.stdin(Stdio::null());
        command
    });
    eventually("it is subscribed", || broker.stats().subscriptions == 1);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish(&mut publisher, "t/a", "one", QoS::AtMostOnce, true);
    publish(&mut publisher, "t/b", "two", QoS::AtMostOnce, false);
    let output = subscriber.output();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 42 one\n0 42 two\n");
}
