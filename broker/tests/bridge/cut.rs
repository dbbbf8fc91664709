//! A connection that is cut and restored, and brokers that are killed, with messages under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;

use sol::Limits;
use sol::codec::{Ack, Connect, Delivery, Packet, PacketId, QoS};
use sol::config::Direction::{Both, Out};

use crate::brokers::{bridge, bridging, connected, remotes, topic};
use crate::common::process::Place;
use crate::common::{Client, broker, connect, eventually, publish};
use crate::proxy::Proxy;

/// Messages each way.
const MESSAGES: usize = 3000;
const CUTS: usize = 5;
const LAST: &[u8] = b"last";

/// A subscriber whose session stays. It is subscribed.
pub(crate) fn subscribed(at: SocketAddr, id: &str, filter: &str, qos: QoS) -> Client {
    let mut client = Client::connect_as(at, Connect { clean_session: false, ..connect(id) }, false);
    client.subscribe(filter, qos);
    client
}

/// Publishes numbers at the QoS, acknowledged one by one, with `between` called before each.
pub(crate) fn publish_numbers(
    client: &mut Client,
    topic: &str,
    qos: QoS,
    count: usize,
    between: impl Fn(usize),
) {
    for number in 0..=count {
        between(number);
        let payload = if number == count { LAST.to_vec() } else { number.to_string().into_bytes() };
        crate::messages::publish_to_end(client, publish(topic, &payload, qos));
    }
}

/// How often each number came, up to the last message, all acknowledged.
pub(crate) fn numbers(client: &mut Client) -> BTreeMap<usize, usize> {
    let mut numbers = BTreeMap::new();
    loop {
        let (payload, delivery) = match client.receive() {
            Packet::Publish(publish) => (publish.payload.to_vec(), publish.delivery),
            Packet::Pubrel(ack) => {
                let id = ack.packet_id;
                client.send(&[Packet::Pubcomp(Ack::new(id))]);
                continue;
            }
            other => panic!("{other:?}"),
        };
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => client.send(&[Packet::Puback(Ack::new(id))]),
            Delivery::ExactlyOnce(id) => client.send(&[Packet::Pubrec(Ack::new(id))]),
        }
        if payload == LAST {
            return numbers;
        }
        let number = str::from_utf8(&payload).unwrap().parse().unwrap();
        *numbers.entry(number).or_default() += 1;
    }
}

/// All came, and at QoS 2 each once.
pub(crate) fn check(numbers: &BTreeMap<usize, usize>, qos: QoS, count: usize, what: &str) {
    let lost: Vec<_> = (0..count).filter(|number| !numbers.contains_key(number)).collect();
    assert!(lost.is_empty(), "{what} QoS {qos}: {} lost: {lost:?}", lost.len());
    if qos == QoS::ExactlyOnce {
        let twice: Vec<_> = numbers.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{what}: came again: {twice:?}");
    }
}

#[test]
fn nothing_is_lost_and_at_qos_2_nothing_comes_twice_over_a_connection_that_is_cut() {
    for remote in remotes() {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let there = remote.address();
            let proxy = Proxy::to(there);
            let name = format!("cut-{qos}");
            let broker = bridging(vec![bridge(&name, proxy.address(), vec![topic("cut/#", Both, qos)])]);
            connected(there, &name);
            let here = broker.local_addr();
            // Each only hears what went over the bridge.
            let mut far = subscribed(there, &format!("far-{qos}"), "cut/out", qos);
            let mut near = subscribed(here, "near", "cut/in", qos);
            thread::scope(|scope| {
                let cut = |number: usize| {
                    if number % (MESSAGES / CUTS) == MESSAGES / CUTS / 2 {
                        proxy.cut();
                    } else if number % (MESSAGES / CUTS) == MESSAGES / CUTS - 1 {
                        proxy.mend();
                    }
                };
                scope.spawn(move || {
                    let mut client = Client::connect(here, "out");
                    publish_numbers(&mut client, "cut/out", qos, MESSAGES, cut);
                });
                scope.spawn(move || {
                    let mut client = Client::connect(there, &format!("in-{qos}"));
                    publish_numbers(&mut client, "cut/in", qos, MESSAGES, |_| {});
                });
                scope.spawn(|| check(&numbers(&mut far), qos, MESSAGES, "out"));
                check(&numbers(&mut near), qos, MESSAGES, "in");
            });
        }
    }
}

/// `sol` with a store and a bridge, killed while messages go both ways.
#[test]
fn a_broker_that_is_killed_goes_on_where_it_was() {
    for remote in remotes() {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let there = remote.address();
            let place = Place::new(&format!(
                "ip_port 0\npersistence true\npersistence_location $D/store\npersistence_sync os\n\
                 connection killed\naddress {there}\nremote_clientid killed-{qos}\ntopic kill/# both {qos}\n\
                 restart_timeout 1\nnotification_topic state/killed-{qos}\n"
            ));
            let mut far = subscribed(there, &format!("far-{qos}"), "kill/out", qos);
            let mut broker = place.start();
            connected(there, &format!("killed-{qos}"));
            // Of a session that stays, too.
            let mut near = Client::connect_as(
                broker.address,
                Connect { clean_session: false, ..connect("near") },
                false,
            );
            near.subscribe("kill/in", qos);
            drop(near);
            let mut inward = Client::connect(there, &format!("in-{qos}"));
            for round in 0..3 {
                let mut outward = Client::connect(broker.address, "out");
                for n in 0..300 {
                    let payload = (round * 300 + n).to_string();
                    crate::messages::publish_to_end(
                        &mut outward,
                        publish("kill/out", payload.as_bytes(), qos),
                    );
                    crate::messages::publish_to_end(&mut inward, publish("kill/in", payload.as_bytes(), qos));
                }
                // Without a word.
                drop(broker);
                broker = place.start();
            }
            let mut outward = Client::connect(broker.address, "out");
            crate::messages::publish_to_end(&mut outward, publish("kill/out", LAST, qos));
            crate::messages::publish_to_end(&mut inward, publish("kill/in", LAST, qos));
            check(&numbers(&mut far), qos, 900, "out");
            let mut near =
                Client::connect_as(broker.address, Connect { clean_session: false, ..connect("near") }, true);
            check(&numbers(&mut near), qos, 900, "in");
        }
    }
}

/// What is published before the other broker is there at all, or while this one was away, is kept.
#[test]
fn what_is_published_before_the_first_connection_waits_for_it() {
    let remote = broker(Limits::default());
    let proxy = Proxy::to(remote.local_addr());
    proxy.cut();
    let broker = bridging(vec![bridge("b", proxy.address(), vec![topic("t", Out, QoS::AtLeastOnce)])]);
    eventually("there is a session", || broker.stats().subscriptions == 1);
    let mut far = subscribed(remote.local_addr(), "far", "t", QoS::AtLeastOnce);
    let mut near = Client::connect(broker.local_addr(), "near");
    publish_numbers(&mut near, "t", QoS::AtLeastOnce, 100, |_| {});
    proxy.mend();
    check(&numbers(&mut far), QoS::AtLeastOnce, 100, "out");
}

/// Its session there knows packet identifiers of messages that an earlier life of this broker never released, and that
/// must not swallow new ones.
#[test]
fn a_broker_that_begins_anew_loses_nothing_to_what_the_other_remembers() {
    for remote in remotes() {
        let there = remote.address();
        let mut stale = Client::connect_as(there, Connect { clean_session: false, ..connect("same") }, false);
        for id in 1..=20 {
            let delivery = Delivery::ExactlyOnce(PacketId::new(id).unwrap());
            let old = publish("t/old", b"x", QoS::ExactlyOnce);
            stale.send(&[Packet::Publish(sol::codec::Publish { delivery, ..old })]);
            assert!(matches!(stale.receive(), Packet::Pubrec(_)));
        }
        drop(stale);
        let mut far = subscribed(there, "far", "t/out", QoS::ExactlyOnce);
        let mut settings = bridge("b", there, vec![topic("t/#", Both, QoS::ExactlyOnce)]);
        settings.remote_client_id = Some("same".to_owned());
        let here = bridging(vec![settings]);
        connected(there, "b");
        let mut outward = Client::connect(here.local_addr(), "out");
        publish_numbers(&mut outward, "t/out", QoS::ExactlyOnce, 50, |_| {});
        check(&numbers(&mut far), QoS::ExactlyOnce, 50, "out");
    }
}
