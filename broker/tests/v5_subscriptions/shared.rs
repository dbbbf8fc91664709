//! Shared subscriptions (§4.8.2).

use std::process::{Command, Stdio};

use common::peers::has_mosquitto;
use common::{eventually, running};

use super::*;

/// Members of a shared subscription to `t`, whose sessions end with their connections.
fn members<const N: usize>(broker: &Broker, qos: [QoS; N]) -> [Client; N] {
    qos.map(|qos| {
        let mut member = open(broker.local_addr(), "");
        subscribe(&mut member, 0, &[("$share/g/t", at(qos))]);
        member
    })
}

fn publish_all(publisher: &mut Client, payloads: &[&str], qos: QoS) {
    payloads.iter().for_each(|payload| publish(publisher, "t", payload, qos, false));
}

fn acknowledge(client: &mut Client, got: &[Got]) {
    for got in got {
        let ack = Ack::new(got.packet_id.unwrap());
        client.send(&[match got.qos {
            QoS::ExactlyOnce => Packet::Pubrec(ack),
            _ => Packet::Puback(ack),
        }]);
    }
}

#[test]
fn members_take_turns() {
    let broker = broker(Limits::default());
    let [mut a, mut b, mut c] = members(&broker, [QoS::AtMostOnce; 3]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["1", "2", "3", "4", "5", "6", "7"], QoS::AtMostOnce);
    assert_eq!(payloads(&mut a), ["1", "4", "7"]);
    assert_eq!(payloads(&mut b), ["2", "5"]);
    assert_eq!(payloads(&mut c), ["3", "6"]);
    assert_eq!(broker.stats().shared_subscriptions, 3);
    // To subscribe once more is not to be a member twice.
    subscribe(&mut b, 0, &[("$share/g/t", at(QoS::AtMostOnce))]);
    publish_all(&mut publisher, &["8", "9", "10"], QoS::AtMostOnce);
    assert_eq!([&mut a, &mut b, &mut c].map(|member| payloads(member).len()), [1, 1, 1]);
    unsubscribe(&mut b, &["$share/g/t"]);
    drop(c);
    eventually("a member is gone", || broker.stats().shared_subscriptions == 1);
    publish_all(&mut publisher, &["11", "12"], QoS::AtMostOnce);
    assert_eq!(payloads(&mut a), ["11", "12"]);
    assert_eq!(all(&mut b), []);
}

#[test]
fn clients_of_all_versions_share() {
    let broker = broker(Limits::default());
    let mut members = [Version::V31, Version::V311, Version::V5].map(|version| {
        let mut member = Client::open(broker.local_addr());
        let name = version.to_string();
        member.send(&[Packet::Connect(Connect { version, ..common::connect(&name) })]);
        assert!(matches!(member.receive(), Packet::Connack(_)));
        assert_eq!(subscribe(&mut member, 0, &[("$share/g/t/#", at(QoS::AtLeastOnce))]), [GRANTED[1]]);
        member
    });
    let mut publisher = open(broker.local_addr(), "publisher");
    for payload in ["1", "2", "3"] {
        publish(&mut publisher, "t/x", payload, QoS::AtLeastOnce, false);
    }
    assert_eq!(members.each_mut().map(payloads), [["1"], ["2"], ["3"]]);
}

#[test]
fn each_member_has_its_qos_and_its_identifier() {
    let broker = broker(Limits::default());
    let [mut a, mut b] = members(&broker, [QoS::AtMostOnce, QoS::ExactlyOnce]);
    subscribe(&mut b, 3, &[("$share/g/t", at(QoS::ExactlyOnce))]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["1", "2", "3", "4"], QoS::AtLeastOnce);
    let of = |got: Vec<Got>| {
        got.into_iter().map(|got| (got.payload, got.qos, got.identifiers)).collect::<Vec<_>>()
    };
    let (low, high) = (QoS::AtMostOnce, QoS::AtLeastOnce);
    assert_eq!(of(all(&mut a)), [("1".into(), low, vec![]), ("3".into(), low, vec![])]);
    assert_eq!(of(all(&mut b)), [("2".into(), high, vec![3]), ("4".into(), high, vec![3])]);
}

#[test]
fn groups_and_ordinary_subscriptions_get_a_copy_each() {
    let broker = broker(Limits::default());
    let mut client = open(broker.local_addr(), "client");
    let mut other = open(broker.local_addr(), "other");
    for (identifier, filter) in [(1, "$share/g/t"), (2, "$share/h/t"), (3, "$share/g/+"), (4, "t"), (5, "#")]
    {
        subscribe(&mut client, identifier, &[(filter, at(QoS::AtLeastOnce))]);
    }
    subscribe(&mut other, 6, &[("$share/h/t", at(QoS::AtMostOnce))]);
    say(&mut other, "t", "m", QoS::AtLeastOnce, false);
    say(&mut other, "t", "m", QoS::AtLeastOnce, false);
    let mut copies: Vec<_> =
        [&mut other, &mut client].into_iter().flat_map(all).map(|got| got.identifiers).collect();
    copies.sort();
    assert_eq!(copies, [vec![1], vec![1], vec![2], vec![3], vec![3], vec![4, 5], vec![4, 5], vec![6]]);
}

#[test]
fn retained_messages_are_not_sent_on_subscribing_and_are_live_ones_to_those_who_ask() {
    let broker = broker(Limits::default());
    let mut publisher = open(broker.local_addr(), "publisher");
    publish(&mut publisher, "t", "old", QoS::AtLeastOnce, true);
    let mut client = open(broker.local_addr(), "client");
    let as_published = SubscribeOptions { retain_as_published: true, ..at(QoS::AtLeastOnce) };
    subscribe(&mut client, 0, &[("$share/g/t", as_published), ("$share/h/t", at(QoS::AtMostOnce))]);
    assert_eq!(all(&mut client), []);
    publish(&mut publisher, "t", "new", QoS::AtLeastOnce, true);
    let mut got: Vec<_> = all(&mut client).into_iter().map(|got| (got.payload, got.retain)).collect();
    got.sort();
    assert_eq!(got, [("new".to_owned(), false), ("new".to_owned(), true)]);
}

#[test]
fn who_has_no_room_now_is_passed_over() {
    let broker = broker(Limits::default());
    let one_at_a_time = [Property::ReceiveMaximum(1.try_into().unwrap())];
    let mut slow = open_with(broker.local_addr(), "slow", true, &one_at_a_time);
    subscribe(&mut slow, 0, &[("$share/g/t", at(QoS::AtLeastOnce))]);
    let [mut b, mut c] = members(&broker, [QoS::AtLeastOnce; 2]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["1", "2", "3", "4", "5", "6", "7"], QoS::AtLeastOnce);
    let first = all(&mut slow);
    assert_eq!(first.len(), 1, "{first:?}");
    // Those passed over for the slow one are not all the next one's.
    assert_eq!(
        (payloads(&mut b), payloads(&mut c)),
        (vec!["2".into(), "4".into(), "6".into()], vec!["3".into(), "5".into(), "7".into()])
    );
    acknowledge(&mut slow, &first);
    slow.ping();
    publish_all(&mut publisher, &["8", "9", "10"], QoS::AtLeastOnce);
    assert_eq!([&mut slow, &mut b, &mut c].map(|member| payloads(member).len()), [1, 1, 1]);
}

#[test]
fn absent_members_queue_what_nobody_else_can_take() {
    let broker = broker(Limits::default());
    let mut publisher = open(broker.local_addr(), "publisher");
    for name in ["a", "b"] {
        let mut member = stay(broker.local_addr(), name);
        subscribe(&mut member, 0, &[("$share/g/t", at(QoS::AtLeastOnce))]);
        member.leave();
    }
    publish_all(&mut publisher, &["1", "2", "3"], QoS::AtLeastOnce);
    publish_all(&mut publisher, &["lost"], QoS::AtMostOnce);
    let (mut a, mut b) = (stay(broker.local_addr(), "a"), stay(broker.local_addr(), "b"));
    let mut got = [payloads(&mut a), payloads(&mut b)];
    got.sort();
    assert_eq!(got, [vec!["1", "3"], vec!["2"]]);
    // A member that is here is chosen before one that is not.
    b.leave();
    publish_all(&mut publisher, &["4", "5"], QoS::AtLeastOnce);
    assert_eq!(payloads(&mut a), ["4", "5"]);
    assert_eq!(broker.stats().dropped(), 0);
}

#[test]
fn what_waits_for_a_lost_connection_goes_to_others_and_what_is_in_flight_does_not() {
    let broker = broker(Limits::default());
    let one_at_a_time =
        [Property::ReceiveMaximum(1.try_into().unwrap()), Property::SessionExpiryInterval(u32::MAX)];
    let mut a = open_with(broker.local_addr(), "a", false, &one_at_a_time);
    subscribe(&mut a, 0, &[("$share/g/t", at(QoS::AtLeastOnce)), ("t/own", at(QoS::AtLeastOnce))]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["1", "2", "3"], QoS::AtLeastOnce);
    publish(&mut publisher, "t/own", "own", QoS::AtLeastOnce, false);
    assert_eq!(payloads(&mut a), ["1"]);
    let [mut b] = members(&broker, [QoS::AtLeastOnce]);
    assert_eq!(all(&mut b), []);
    drop(a);
    eventually("messages are handed on", || broker.stats().queued == 1);
    assert_eq!(payloads(&mut b), ["2", "3"]);
    let mut a = stay(broker.local_addr(), "a");
    let got: Vec<_> = all(&mut a).into_iter().map(|got| (got.payload, got.dup)).collect();
    assert_eq!(got, [("1".to_owned(), true), ("own".to_owned(), false)]);
}

#[test]
fn what_a_session_leaves_goes_to_others_in_order() {
    let broker = broker(Limits { max_in_flight_messages: 2, ..Limits::default() });
    let [mut a] = members(&broker, [QoS::AtLeastOnce]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["1", "2", "3", "4"], QoS::AtLeastOnce);
    let got = all(&mut a);
    acknowledge(&mut a, &got[..1]);
    assert_eq!(next(&mut a).payload, "3");
    // To a member that is away, if there is no other.
    let mut b = stay(broker.local_addr(), "b");
    subscribe(&mut b, 4, &[("$share/g/t", at(QoS::AtLeastOnce))]);
    b.leave();
    drop(a);
    eventually("messages are handed on", || broker.stats().queued == 3);
    let mut b = stay(broker.local_addr(), "b");
    let mut got = vec![next(&mut b), next(&mut b)];
    acknowledge(&mut b, &got);
    got.push(next(&mut b));
    assert!(got.iter().all(|got| !got.dup && got.identifiers == [4]), "{got:?}");
    assert!(got.iter().map(|got| &got.payload).eq(["2", "3", "4"]), "{got:?}");
}

#[test]
fn what_was_sent_at_qos_2_goes_to_nobody_else() {
    let broker = broker(Limits { max_in_flight_messages: 1, ..Limits::default() });
    let mut a = stay(broker.local_addr(), "a");
    subscribe(&mut a, 0, &[("$share/g/t", at(QoS::ExactlyOnce))]);
    let mut publisher = open(broker.local_addr(), "publisher");
    publish_all(&mut publisher, &["sent", "queued"], QoS::ExactlyOnce);
    assert_eq!(payloads(&mut a), ["sent"]);
    let [mut b] = members(&broker, [QoS::ExactlyOnce]);
    drop(a);
    eventually("a message is handed on", || broker.stats().queued == 0);
    assert_eq!(payloads(&mut b), ["queued"]);
    // It is finished when its member returns [MQTT-4.8.2-4].
    let mut a = stay(broker.local_addr(), "a");
    let got = all(&mut a);
    assert!(got.len() == 1 && got[0].dup && got[0].payload == "sent", "{got:?}");
    drop(a);
    // Its session ends [MQTT-4.8.2-5].
    let mut a = open(broker.local_addr(), "a");
    assert_eq!((all(&mut a), all(&mut b)), (vec![], vec![]));
    assert_eq!((broker.stats().in_flight, broker.stats().stored), (1, 1));
}

/// [MQTT-4.8.2-6]
#[test]
fn what_a_member_refuses_is_discarded() {
    let broker = broker(Limits::default());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let [mut a, mut b] = members(&broker, [qos; 2]);
        let mut publisher = open(broker.local_addr(), "publisher");
        publish_all(&mut publisher, &["1"], qos);
        let got = all(&mut a);
        let ack = Ack { reason: Reason::ImplementationSpecific, ..Ack::new(got[0].packet_id.unwrap()) };
        a.send(&[if qos == QoS::AtLeastOnce { Packet::Puback(ack) } else { Packet::Pubrec(ack) }]);
        assert_eq!(all(&mut a), []);
        drop(a);
        eventually("the member is gone", || broker.stats().shared_subscriptions == 1);
        assert_eq!(all(&mut b), []);
        assert_eq!(broker.stats().stored, 0);
        drop(b);
        eventually("all members are gone", || broker.stats().shared_subscriptions == 0);
    }
}

#[test]
fn what_is_too_large_for_one_goes_to_another() {
    let broker = broker(Limits::default());
    let small = [Property::MaximumPacketSize(NonZeroU32::new(100).unwrap())];
    let mut a = open_with(broker.local_addr(), "a", true, &small);
    subscribe(&mut a, 0, &[("$share/g/t", at(QoS::AtLeastOnce))]);
    let [mut b] = members(&broker, [QoS::AtLeastOnce]);
    let mut publisher = open(broker.local_addr(), "publisher");
    let large = "x".repeat(100);
    publish_all(&mut publisher, &[&large, &large, "small"], QoS::AtLeastOnce);
    assert_eq!(payloads(&mut a), ["small"]);
    assert_eq!(payloads(&mut b), [large.as_str(), &large]);
    drop(b);
    eventually("the member is gone", || broker.stats().shared_subscriptions == 1);
    publish_all(&mut publisher, &[&large], QoS::AtMostOnce);
    assert_eq!(all(&mut a), []);
}

#[test]
fn the_statistics_count_members() {
    let config = Config { ..Config::on("127.0.0.1:0".parse().unwrap()) };
    let broker =
        Broker::start(Config { stats_interval: Some(std::time::Duration::from_millis(10)), ..config })
            .unwrap();
    let _members = members(&broker, [QoS::AtMostOnce; 3]);
    let mut reader = open(broker.local_addr(), "reader");
    subscribe(&mut reader, 0, &[("$SYS/broker/shared_subscriptions/count", at(QoS::AtMostOnce))]);
    while reader.message() != b"3" {}
}

/// As many messages as there are turns without waiting for anybody.
#[test]
fn mosquitto_shares() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let port = broker.local_addr().port().to_string();
    let subscribers = ["5", "311"].map(|version| {
        let mut command = Command::new("mosquitto_sub");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            version,
            "-q",
            "1",
            "-t",
            "$share/g/t",
            "-C",
            "10",
        ]);
        command.stdin(Stdio::null());
        running(command)
    });
    eventually("both are subscribed", || broker.stats().shared_subscriptions == 2);
    let mut command = Command::new("mosquitto_pub");
    command
        .args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-t", "t", "-l"])
        .stdin(Stdio::piped());
    let lines: String = (0..20).map(|n| format!("{n}\n")).collect();
    assert!(running(command).input(lines.as_bytes()).status.success());
    let mut got: Vec<u32> = Vec::new();
    for subscriber in subscribers {
        let output = subscriber.output();
        assert!(output.status.success(), "{output:?}");
        let lines = str::from_utf8(&output.stdout).unwrap().lines();
        got.extend(lines.map(|n| n.parse::<u32>().unwrap()));
    }
    got.sort_unstable();
    assert!(got.iter().copied().eq(0..20), "{got:?}");
}
