//! What goes over a bridge, and what it is like on the other side.

use sol::codec::{Delivery, Packet, PropertiesBuf, Property, Publish, QoS, Version};
use sol::config::Direction::{Both, In, Out};
use sol::topic::Name;

use crate::brokers::{
    Mosquitto, Remote, bridge, bridging, client_v5, connected, has_mosquitto_broker, prefixed, remotes, topic,
};
use crate::common::{Client, PATIENCE, eventually, publish};

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// Publishes, and waits for the handshake to be over.
pub(crate) fn publish_to_end(client: &mut Client, publish: Publish<'_>) {
    let delivery = publish.delivery;
    client.send(&[Packet::Publish(publish)]);
    match delivery {
        Delivery::AtMostOnce => client.ping(),
        Delivery::AtLeastOnce(_) => assert!(matches!(client.receive(), Packet::Puback(_))),
        Delivery::ExactlyOnce(id) => {
            assert!(matches!(client.receive(), Packet::Pubrec(_)));
            client.send(&[Packet::Pubrel(sol::codec::Ack::new(id))]);
            assert!(matches!(client.receive(), Packet::Pubcomp(_)));
        }
    }
}

/// The next message: its topic, payload, QoS and RETAIN. It is acknowledged to the end.
fn received(client: &mut Client) -> (String, Vec<u8>, QoS, bool) {
    let Packet::Publish(publish) = client.receive() else { panic!("no PUBLISH") };
    let delivery = publish.delivery;
    let message = (
        publish.topic.unwrap().as_str().to_owned(),
        publish.payload.to_vec(),
        delivery.qos(),
        publish.retain,
    );
    match delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce(id) => client.send(&[Packet::Puback(sol::codec::Ack::new(id))]),
        Delivery::ExactlyOnce(id) => {
            client.send(&[Packet::Pubrec(sol::codec::Ack::new(id))]);
            assert!(matches!(client.receive(), Packet::Pubrel(_)));
            client.send(&[Packet::Pubcomp(sol::codec::Ack::new(id))]);
        }
    }
    message
}

#[test]
fn messages_go_both_ways_under_their_names_and_none_comes_back() {
    for version in VERSIONS {
        for remote in remotes() {
            let there = remote.address();
            let topics = vec![
                prefixed(topic("out/#", Out, QoS::ExactlyOnce), "here/", "there/"),
                prefixed(topic("in/#", In, QoS::ExactlyOnce), "", "site/"),
                topic("both/#", Both, QoS::ExactlyOnce),
                topic("low/+", Both, QoS::AtMostOnce),
            ];
            let mut settings = bridge("b", there, topics);
            settings.version = version;
            let broker = bridging(vec![settings]);
            connected(there, "b");
            let here = broker.local_addr();
            let mut near = Client::subscribed(here, "near", "#", QoS::ExactlyOnce);
            let mut far = Client::subscribed(there, "far", "#", QoS::ExactlyOnce);
            // Retained: that the bridge is there.
            assert_eq!(received(&mut near).1, b"1");
            assert_eq!(received(&mut far).1, b"1");
            let (mut from_near, mut from_far) =
                (Client::connect(here, "from-near"), Client::connect(there, "from-far"));
            for qos in ALL {
                let payload = qos.to_string().into_bytes();
                for (sent, local) in [("here/out/a", "there/out/a"), ("both/x", "both/x"), ("low/x", "low/x")]
                {
                    publish_to_end(&mut from_near, publish(sent, &payload, qos));
                    let most = if sent == "low/x" { QoS::AtMostOnce } else { qos };
                    assert_eq!(received(&mut near), (sent.to_owned(), payload.clone(), qos, false));
                    assert_eq!(
                        received(&mut far),
                        (local.to_owned(), payload.clone(), most, false),
                        "{version}"
                    );
                }
                for (sent, local) in [("site/in/a/b", "in/a/b"), ("both/x", "both/x"), ("low/x", "low/x")] {
                    publish_to_end(&mut from_far, publish(sent, &payload, qos));
                    let most = if sent == "low/x" { QoS::AtMostOnce } else { qos };
                    assert_eq!(received(&mut far), (sent.to_owned(), payload.clone(), qos, false));
                    assert_eq!(
                        received(&mut near),
                        (local.to_owned(), payload.clone(), most, false),
                        "{version}"
                    );
                }
            }
            // What goes over the bridge behind what might have come back.
            publish_to_end(&mut from_near, publish("here/out/end", b"end", QoS::AtMostOnce));
            publish_to_end(&mut from_far, publish("site/in/end", b"end", QoS::AtMostOnce));
            assert_eq!((received(&mut near).1, received(&mut near).1), (b"end".to_vec(), b"end".to_vec()));
            assert_eq!((received(&mut far).1, received(&mut far).1), (b"end".to_vec(), b"end".to_vec()));
        }
    }
}

#[test]
fn what_is_retained_goes_over_when_the_bridge_comes_and_later() {
    for remote in remotes() {
        let there = remote.address();
        let retained = |topic, payload| Publish { retain: true, ..publish(topic, payload, QoS::AtLeastOnce) };
        let mut far = Client::connect(there, "far");
        publish_to_end(&mut far, retained("in/old", b"there before"));
        let broker = bridging(vec![bridge(
            "b",
            there,
            vec![topic("in/#", In, QoS::AtLeastOnce), topic("out/#", Out, QoS::AtLeastOnce)],
        )]);
        connected(there, "b");
        let here = broker.local_addr();
        let mut near = Client::connect(here, "near");
        publish_to_end(&mut near, retained("out/new", b"here"));
        publish_to_end(&mut far, retained("in/new", b"there"));
        for (at, topic, payload) in
            [(here, "in/old", &b"there before"[..]), (here, "in/new", b"there"), (there, "out/new", b"here")]
        {
            let mut late = Client::subscribed(at, &format!("late {topic}"), topic, QoS::AtLeastOnce);
            assert_eq!(late.message(), payload);
        }
        // Whoever comes later gets it as a retained one.
        let mut late = Client::subscribed(there, "late", "out/new", QoS::AtLeastOnce);
        assert!(received(&mut late).3);
        publish_to_end(&mut near, retained("out/new", b""));
        assert_eq!(received(&mut late).1, b"");
    }
}

#[test]
fn with_5_0_properties_go_over() {
    for remote in remotes() {
        let there = remote.address();
        let mut settings = bridge("b", there, vec![topic("t", Out, QoS::AtLeastOnce)]);
        settings.version = Version::V5;
        let broker = bridging(vec![settings]);
        connected(there, "b");
        let mut far = client_v5(there, "far");
        far.send(&[crate::common::subscribe("t", QoS::AtLeastOnce)]);
        assert!(matches!(far.receive(), Packet::Suback(_)));
        let mut near = client_v5(broker.local_addr(), "near");
        let mut properties = PropertiesBuf::new();
        let sent = [
            Property::ContentType("text/plain"),
            Property::ResponseTopic(Name::new("answers").unwrap()),
            Property::CorrelationData(b"7"),
            Property::UserProperty("a", "b"),
            Property::UserProperty("a", "c"),
            Property::MessageExpiryInterval(1000),
        ];
        sent.iter().for_each(|property| properties.push(*property).unwrap());
        let publish =
            Publish { properties: properties.as_properties(), ..publish("t", b"x", QoS::AtLeastOnce) };
        near.send(&[Packet::Publish(publish)]);
        let Packet::Publish(received) = far.receive() else { panic!() };
        for property in &sent {
            let is_there = received.properties.iter().any(|it| match (it, property) {
                (Property::MessageExpiryInterval(left), Property::MessageExpiryInterval(_)) => left <= 1000,
                (it, property) => it == *property,
            });
            assert!(is_there, "{property:?}: {:?}", received.properties);
        }
    }
}

/// The bridge is mosquitto's, and tells that it is one.
#[test]
fn mosquitto_s_bridge_to_sol_hands_on_and_gets_nothing_back() {
    if !has_mosquitto_broker() {
        return;
    }
    let broker = crate::common::broker(sol::Limits::default());
    let here = broker.local_addr();
    let mosquitto = Mosquitto::start(&format!(
        "allow_anonymous true\nconnection m\naddress 127.0.0.1:{}\nremote_clientid m\n\
         topic both/# both 2\ntopic out/# out 1 \"\" from/\ntopic in/# in 1 \"\" to/\n",
        here.port()
    ));
    // A bridge says it here, and nobody else may.
    crate::brokers::awaits_state(here, "$SYS/broker/connection/m/state", b"1");
    // It says so before it subscribes to `both/#` and `to/in/#`.
    eventually("it is subscribed", || broker.stats().subscriptions == 2);
    let mut near = Client::subscribed(here, "near", "#", QoS::ExactlyOnce);
    let mut far = Client::subscribed(mosquitto.address, "far", "#", QoS::ExactlyOnce);
    let (mut from_near, mut from_far) =
        (Client::connect(here, "from-near"), Client::connect(mosquitto.address, "from-far"));
    for qos in ALL {
        let payload = qos.to_string().into_bytes();
        publish_to_end(&mut from_near, publish("both/x", &payload, qos));
        assert_eq!(received(&mut near), ("both/x".to_owned(), payload.clone(), qos, false));
        assert_eq!(received(&mut far), ("both/x".to_owned(), payload.clone(), qos, false));
        publish_to_end(&mut from_far, publish("both/y", &payload, qos));
        assert_eq!(received(&mut far), ("both/y".to_owned(), payload.clone(), qos, false));
        assert_eq!(received(&mut near), ("both/y".to_owned(), payload.clone(), qos, false));
    }
    publish_to_end(&mut from_far, publish("out/end", b"end", QoS::AtLeastOnce));
    assert_eq!(received(&mut near).0, "from/out/end");
    publish_to_end(&mut from_near, publish("to/in/end", b"end", QoS::AtLeastOnce));
    assert_eq!((received(&mut near).0, received(&mut far).0), ("to/in/end".into(), "out/end".into()));
    assert_eq!(received(&mut far).0, "in/end");
    // Nobody else says that a bridge is there.
    let state = "$SYS/broker/connection/liar/state";
    publish_to_end(&mut from_near, Publish { retain: true, ..publish(state, b"1", QoS::AtLeastOnce) });
    let mut listener = Client::subscribed(here, "listener", state, QoS::AtMostOnce);
    listener.ping();
    drop(mosquitto);
    crate::brokers::awaits_state(here, "$SYS/broker/connection/m/state", b"0");
}

/// Retained on both sides: the newer of the two stays, whoever has it.
#[test]
fn a_newer_retained_message_is_not_replaced_by_an_older_one_from_the_other_side() {
    for remote in remotes() {
        let there = remote.address();
        let proxy = crate::proxy::Proxy::to(there);
        let settings = bridge("b", proxy.address(), vec![topic("s/#", Both, QoS::AtLeastOnce)]);
        let broker = bridging(vec![settings]);
        connected(there, "b");
        let here = broker.local_addr();
        let retained = |topic, payload| Publish { retain: true, ..publish(topic, payload, QoS::AtLeastOnce) };
        let value = |at, topic: &str| {
            let id = format!("value-{}", fastrand::u64(..));
            let mut client = Client::subscribed(at, &id, topic, QoS::AtLeastOnce);
            client.message()
        };
        let settled = |topic: &str, payload: &[u8]| {
            eventually("both sides have it", || {
                value(here, topic) == payload && value(there, topic) == payload
            });
        };
        let (mut near, mut far) = (Client::connect(here, "near"), Client::connect(there, "far"));
        publish_to_end(&mut near, retained("s/near", b"1"));
        publish_to_end(&mut far, retained("s/far", b"1"));
        let both = |payload: &[u8]| {
            for topic in ["s/near", "s/far"] {
                let deadline = std::time::Instant::now() + PATIENCE;
                while std::time::Instant::now() < deadline && value(here, topic) != payload {}
                settled(topic, payload);
            }
        };
        // Both values are there before they are asked for.
        for (at, topic) in [(there, "s/near"), (here, "s/far")] {
            let mut client = Client::subscribed(at, &format!("first {topic}"), topic, QoS::AtLeastOnce);
            assert_eq!(client.message(), b"1");
        }
        both(b"1");
        for (cut, payload) in [(0, b"2"), (1, b"3")] {
            proxy.cut();
            // Each is changed where it did not come from.
            publish_to_end(&mut far, retained("s/near", payload));
            publish_to_end(&mut near, retained("s/far", payload));
            proxy.mend();
            both(payload);
            // Behind all that the sides told each other on return.
            let mut far_seen = Client::subscribed(there, &format!("seen {cut}"), "s/mark", QoS::AtLeastOnce);
            let mut near_seen = Client::subscribed(here, &format!("seen {cut}"), "s/mark", QoS::AtLeastOnce);
            publish_to_end(&mut near, publish("s/mark", payload, QoS::AtLeastOnce));
            publish_to_end(&mut far, publish("s/mark", payload, QoS::AtLeastOnce));
            far_seen.message();
            far_seen.message();
            near_seen.message();
            near_seen.message();
            both(payload);
        }
        drop((broker, remote));
    }
}

#[test]
fn a_stranger_cannot_take_the_session_of_a_bridge() {
    let remote = crate::common::broker(sol::Limits::default());
    let broker = bridging(vec![bridge("b", remote.local_addr(), vec![topic("t", Out, QoS::AtLeastOnce)])]);
    connected(remote.local_addr(), "b");
    let mut stranger = Client::open(broker.local_addr());
    stranger.send(&[Packet::Connect(crate::common::connect("bridge.b"))]);
    let Packet::Connack(connack) = stranger.receive() else { panic!() };
    assert_eq!(connack.reason.return_code(), 2);
    stranger.expect_closed();
    _ = Remote::Sol(remote.into());
}
