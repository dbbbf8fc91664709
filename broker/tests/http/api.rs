//! `/api/v1`: what is there, and what an operator does.

use serde_json::{Value, json};
use sol::Limits;
use sol::codec::{Connect, Disconnect, Packet, Property, QoS, Reason, Version, Will};
use sol::topic::Name;

use crate::broker;
use crate::client::{delete, get, get_json, post};
use crate::common::{Client, connect, eventually, publish, v5};

fn ids(page: &Value) -> Vec<&str> {
    page["clients"].as_array().unwrap().iter().map(|client| client["id"].as_str().unwrap()).collect()
}

#[test]
fn the_status_has_every_figure() {
    let broker = broker(Limits::default());
    let _client = Client::connect(broker.local_addr(), "client");
    let status = get_json(&broker, "/api/v1/status");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["threads"].as_u64().unwrap() >= 1);
    assert_eq!(status["stats"]["clients_connected"], 1);
    assert_eq!(status["stats"]["memory_stage"], "ample");
    assert_eq!(status["store"], Value::Null);
    assert_eq!(status["memory"]["budget_bytes"], status["stats"]["memory_budget"]);
    let listener = json!({
        "address": broker.local_addr().to_string(), "protocol": "mqtt", "tls": false, "connections": 1
    });
    assert_eq!(status["listeners"], json!([listener]));
    let started = status["started"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.len() == "2000-01-01T00:00:00.000Z".len(), "{started}");
}

#[test]
fn clients_come_in_pages() {
    let broker = broker(Limits::default());
    let _clients: Vec<_> =
        (0..25).map(|n| Client::connect(broker.local_addr(), &format!("client-{n:02}"))).collect();
    let mut path = "/api/v1/clients?limit=10".to_owned();
    let mut all = Vec::new();
    loop {
        let page = get_json(&broker, &path);
        assert_eq!(page["total"], 25);
        all.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/clients?limit=10&after={next}");
    }
    assert_eq!(all, (0..25).map(|n| format!("client-{n:02}")).collect::<Vec<_>>());
    let page = get_json(&broker, "/api/v1/clients?match=t-1");
    assert_eq!((ids(&page).len(), &page["next"]), (10, &Value::Null));
    assert_eq!(get_json(&broker, "/api/v1/clients?match=127.0.0.1")["total"], 25);
    assert_eq!(get_json(&broker, "/api/v1/clients?match=nobody")["total"], 0);
    for wrong in ["limit=0", "limit=1001", "limit=x", "sort=name", "state=gone", "page=2", "after=%ff"] {
        let answer = get(&broker, &format!("/api/v1/clients?{wrong}"));
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.error().len() > 20, "{}", answer.text());
    }
}

#[test]
fn clients_are_sorted_by_what_hurts() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    for (id, messages) in [("little", 1), ("much", 9), ("some", 4)] {
        let away = Connect { clean_session: false, ..connect(id) };
        let mut client = Client::connect_as(address, away, false);
        client.subscribe(&format!("to/{id}"), QoS::AtLeastOnce);
        client.send(&[Packet::Disconnect(Disconnect::default())]);
        client.expect_closed();
        let mut publisher = Client::connect(address, "publisher");
        for _ in 0..messages {
            let topic = format!("to/{id}");
            publisher.send(&[Packet::Publish(publish(&topic, b"x", QoS::AtLeastOnce))]);
            publisher.receive();
        }
        publisher.send(&[Packet::Disconnect(Disconnect::default())]);
        publisher.expect_closed();
    }
    let page = get_json(&broker, "/api/v1/clients?sort=queued&limit=2");
    assert_eq!(ids(&page), ["much", "some"]);
    assert_eq!((&page["total"], &page["next"]), (&json!(3), &Value::Null));
    assert_eq!(page["clients"][0]["queued"], 9);
    assert_eq!(page["clients"][0]["connected"], false);
    let _here = Client::connect(address, "here");
    assert_eq!(ids(&get_json(&broker, "/api/v1/clients?state=connected")), ["here"]);
    assert_eq!(ids(&get_json(&broker, "/api/v1/clients?state=away")), ["little", "much", "some"]);
    assert_eq!(ids(&get_json(&broker, "/api/v1/clients?sort=since&limit=1")), ["here"]);
    for sort in ["dropped", "in_flight", "bytes_sent", "bytes_received", "messages_sent", "messages_received"]
    {
        assert_eq!(ids(&get_json(&broker, &format!("/api/v1/clients?sort={sort}"))).len(), 4, "{sort}");
    }
}

#[test]
fn one_client_is_told_of_in_full() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let will = Will {
        topic: Name::new("last/words").unwrap(),
        payload: &[0xFF, 0],
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: Default::default(),
    };
    let connect = Connect {
        version: Version::V5,
        keep_alive: 30,
        user_name: Some("alice"),
        will: Some(will),
        ..v5::connect("a/b ü")
    };
    let (mut client, _) = v5::opened(address, connect, &[Property::SessionExpiryInterval(60)]);
    client.subscribe("x/+", QoS::ExactlyOnce);
    client.subscribe("$share/g/y", QoS::AtLeastOnce);
    let told = get_json(&broker, "/api/v1/clients/a%2Fb%20%C3%BC");
    for (key, expected) in [
        ("id", json!("a/b ü")),
        ("connected", json!(true)),
        ("address", json!(client.stream.local_addr().unwrap().to_string())),
        ("listener", json!(address.to_string())),
        ("user", json!("alice")),
        ("protocol", json!("5.0")),
        ("keep_alive_seconds", json!(30)),
        ("clean_session", json!(false)),
        ("session_expiry_seconds", json!(60)),
        ("subscriptions", json!(2)),
        ("in_flight", json!(0)),
        ("queued", json!(0)),
        ("traced", json!(false)),
    ] {
        assert_eq!(told[key], expected, "{key}");
    }
    let subscription = |filter: &str, qos: u8| {
        json!({
            "filter": filter, "qos": qos, "no_local": false, "retain_as_published": false, "identifier": null
        })
    };
    let list = json!([subscription("$share/g/y", 1), subscription("x/+", 2)]);
    assert_eq!(told["subscription_list"], list);
    let will = json!({
        "topic": "last/words", "payload_base64": "/wA=", "bytes": 2, "qos": 1, "retain": true, "delay_seconds": 0
    });
    assert_eq!(told["will"], will);
    assert_eq!(get(&broker, "/api/v1/clients/nobody").status, 404);
}

#[test]
fn a_client_is_disconnected_and_told_why() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let will = Will {
        topic: Name::new("will").unwrap(),
        payload: b"gone",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Default::default(),
    };
    let mut heir = Client::subscribed(address, "heir", "will", QoS::AtMostOnce);
    let mut old = Client::connect_as(address, Connect { will: Some(will), ..connect("old") }, false);
    let (mut new, _) = v5::opened(address, v5::connect("new"), &[Property::SessionExpiryInterval(600)]);
    let answer = delete(&broker, "/api/v1/clients/old");
    assert_eq!(answer.json(), json!({"disconnected": true, "session_ended": true}), "it was a clean session");
    old.expect_closed();
    assert_eq!(heir.message(), b"gone");
    let answer = delete(&broker, "/api/v1/clients/new");
    assert_eq!(answer.json(), json!({"disconnected": true, "session_ended": false}));
    let Packet::Disconnect(disconnect) = new.receive() else { panic!("no DISCONNECT") };
    assert_eq!(disconnect.reason, Reason::AdministrativeAction);
    new.expect_closed();
    eventually("it is away", || get_json(&broker, "/api/v1/clients/new")["connected"] == false);

    // The session of one that is away, and of one that is here.
    let answer = delete(&broker, "/api/v1/clients/new?session=true");
    assert_eq!(answer.json(), json!({"disconnected": false, "session_ended": true}));
    assert_eq!(get(&broker, "/api/v1/clients/new").status, 404);
    let (_new, is_present) = v5::opened(address, v5::connect("new"), &[Property::SessionExpiryInterval(600)]);
    assert!(!is_present);
    assert_eq!(delete(&broker, "/api/v1/clients/new?session=true").status, 200);
    eventually("it is gone", || get(&broker, "/api/v1/clients/new").status == 404);
    assert_eq!(delete(&broker, "/api/v1/clients/new").status, 404);
    assert_eq!(delete(&broker, "/api/v1/clients/heir?session=maybe").status, 400);
    eventually("nobody is left but the heir", || broker.stats().sessions == 1);
}

#[test]
fn subscriptions_are_found_by_filter_and_client() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let mut one = Client::connect(address, "one");
    let mut two = Client::connect(address, "two");
    for filter in ["a/b", "a/+", "c"] {
        one.subscribe(filter, QoS::AtMostOnce);
    }
    for filter in ["a/#", "c"] {
        two.subscribe(filter, QoS::AtLeastOnce);
    }
    let found = |query: &str| {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = get_json(&broker, &format!("/api/v1/subscriptions?{query}{after}"));
            for found in page["subscriptions"].as_array().unwrap() {
                let text = |key: &str| found[key].as_str().unwrap().to_owned();
                all.push(format!("{} {} {}", text("client"), text("filter"), found["qos"]));
            }
            let Some(next) = page["next"].as_str() else { return all };
            let encode = |byte: u8| format!("%{byte:02x}");
            after = format!("&after={}", next.bytes().map(encode).collect::<String>());
        }
    };
    let all = ["one a/+ 0", "one a/b 0", "one c 0", "two a/# 1", "two c 1"];
    for limit in [1, 2, 3, 5, 1000] {
        assert_eq!(found(&format!("limit={limit}")), all, "{limit}");
    }
    assert_eq!(found("client=two"), all[3..]);
    assert_eq!(found("filter=a/+"), all[..2]);
    assert_eq!(found("filter=a/%23&limit=1"), [all[0], all[1], all[3]]);
    assert_eq!(found("client=nobody"), [""; 0]);
    assert_eq!(get(&broker, "/api/v1/subscriptions?filter=a%23").status, 400);
    assert_eq!(get(&broker, "/api/v1/subscriptions?after=x").status, 400);
}

#[test]
fn retained_messages_are_listed_published_and_removed() {
    let broker = broker(Limits::default());
    let address = broker.local_addr();
    let mut subscriber = Client::subscribed(address, "subscriber", "a/#", QoS::AtLeastOnce);
    for n in 0..5 {
        let message =
            json!({"topic": format!("a/{n}"), "payload": format!("ä{n}"), "qos": 1, "retain": true});
        assert_eq!(post(&broker, "/api/v1/publish", &message).json(), json!({"receivers": 1}));
        assert_eq!(subscriber.message(), format!("ä{n}").as_bytes());
    }
    let binary = json!({"topic": "b", "payload_base64": "/wD+", "retain": true});
    assert_eq!(post(&broker, "/api/v1/publish", &binary).json(), json!({"receivers": 0}));

    let page = get_json(&broker, "/api/v1/retained?filter=a/%23&limit=2");
    let entry = |n: u32| json!({"topic": format!("a/{n}"), "payload": format!("ä{n}"), "qos": 1, "bytes": 3});
    assert_eq!(page, json!({"retained": [entry(0), entry(1)], "next": "a/1"}));
    let page = get_json(&broker, "/api/v1/retained?filter=a/%2B&after=a/1");
    assert_eq!(page, json!({"retained": [entry(2), entry(3), entry(4)], "next": null}));
    let page = get_json(&broker, "/api/v1/retained?filter=b");
    assert_eq!(page["retained"], json!([{"topic": "b", "payload_base64": "/wD+", "qos": 0, "bytes": 3}]));

    assert_eq!(delete(&broker, "/api/v1/retained?topic=a/1").status, 200);
    assert_eq!(subscriber.message(), b"", "subscribers hear that it is gone");
    assert_eq!(delete(&broker, "/api/v1/retained?topic=a/1").status, 404);
    assert_eq!(delete(&broker, "/api/v1/retained").status, 400);
    assert_eq!(delete(&broker, "/api/v1/retained?topic=$SYS/broker/uptime").status, 403);
    assert_eq!(broker.stats().retained, 5);
}

#[test]
fn what_cannot_be_published_is_told() {
    let limits = Limits { max_packet_bytes: 1000, max_topic_levels: 3, ..Limits::default() };
    let broker = broker(limits);
    for (message, status) in [
        (json!({}), 400),
        (json!({"topic": ""}), 400),
        (json!({"topic": "a/+"}), 400),
        (json!({"topic": "a/b/c/d"}), 400),
        (json!({"topic": "a", "qos": 3}), 400),
        (json!({"topic": "a", "qos": -1}), 400),
        (json!({"topic": "a", "payload": "x", "payload_base64": "eA=="}), 400),
        (json!({"topic": "a", "payload_base64": "eA"}), 400),
        (json!({"topic": "a", "colour": "red"}), 400),
        (json!({"topic": "$SYS/a"}), 403),
        (json!({"topic": "a", "payload": "x".repeat(1000)}), 413),
        (json!([]), 400),
    ] {
        let answer = post(&broker, "/api/v1/publish", &message);
        assert_eq!(answer.status, status, "{message}: {}", answer.text());
        assert!(!answer.error().is_empty());
    }
}
