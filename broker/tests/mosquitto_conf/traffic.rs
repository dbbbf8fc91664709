//! What clients of 3.1.1 see of a broker, in words.

use std::net::SocketAddr;

use sol::codec::{Ack, Connect, Packet, PacketId, Publish, QoS, Reason};

use crate::common::{Client, connect, publish};

/// Who gets in, and what then happens to messages.
pub(crate) fn transcript(address: SocketAddr) -> Vec<String> {
    let logins = [
        ("nobody", None),
        ("anna", Some(("anna", "secret"))),
        ("a wrong password", Some(("anna", "wrong"))),
        ("an unknown user", Some(("otto", "secret"))),
    ];
    let mut said = Vec::new();
    let mut way_in = None;
    for (who, login) in logins {
        let gets_in = log_in(address, "login", login).is_some();
        said.push(format!("{who} gets in: {gets_in}"));
        if gets_in && way_in.is_none() {
            way_in = Some(login);
        }
    }
    let Some(login) = way_in else { return said };
    said.push(format!("without an identifier: {}", log_in(address, "", login).is_some()));
    let mut subscriber = log_in(address, "subscriber", login).unwrap();
    let mut publisher = log_in(address, "publisher", login).unwrap();
    subscriber.subscribe("room/+/light", QoS::AtLeastOnce);
    for (topic, qos, retain) in [
        ("room/1/light", QoS::AtMostOnce, false),
        ("room/2/light", QoS::AtLeastOnce, true),
        ("room/3/other", QoS::AtLeastOnce, false),
        ("room/4/light", QoS::ExactlyOnce, false),
        ("room/5/light", QoS::AtMostOnce, true),
    ] {
        let message = Publish { retain, ..publish(topic, topic.as_bytes(), qos) };
        publisher.send(&[Packet::Publish(message)]);
        match qos {
            QoS::AtMostOnce => publisher.ping(),
            QoS::AtLeastOnce => publisher.expect(Packet::Puback(Ack::new(PacketId::MIN))),
            QoS::ExactlyOnce => {
                publisher.expect(Packet::Pubrec(Ack::new(PacketId::MIN)));
                publisher.send(&[Packet::Pubrel(Ack::new(PacketId::MIN))]);
                publisher.expect(Packet::Pubcomp(Ack::new(PacketId::MIN)));
            }
        }
    }
    said.extend((0..4).map(|_| received(&mut subscriber)));
    let mut late = log_in(address, "late", login).unwrap();
    late.subscribe("room/#", QoS::AtLeastOnce);
    let mut retained: Vec<_> = (0..2).map(|_| received(&mut late)).collect();
    // Their order is the broker's.
    retained.sort();
    said.extend(retained);
    let large = vec![b'x'; 5000];
    publisher.send(&[Packet::Publish(publish("large", &large, QoS::AtMostOnce)), Packet::Pingreq]);
    said.push(format!("5 KB are taken: {}", publisher.receive_or_end().is_some()));
    said
}

/// Connected, if it is let in.
fn log_in(address: SocketAddr, client_id: &str, login: Option<(&str, &str)>) -> Option<Client> {
    let mut client = Client::open(address);
    let (user_name, password) = login.map(|(name, password)| (name, password.as_bytes())).unzip();
    client.send(&[Packet::Connect(Connect { user_name, password, ..connect(client_id) })]);
    match client.receive_or_end() {
        Some(Packet::Connack(connack)) => (connack.reason == Reason::Success).then_some(client),
        Some(other) => panic!("{other:?} for CONNACK"),
        None => None,
    }
}

/// The next message, acknowledged.
fn received(client: &mut Client) -> String {
    let Packet::Publish(publish) = client.receive() else { panic!("no PUBLISH") };
    let (topic, qos, retain) =
        (publish.topic.unwrap().as_str().to_owned(), publish.delivery.qos(), publish.retain);
    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
    if let sol::codec::Delivery::AtLeastOnce(packet_id) = publish.delivery {
        client.send(&[Packet::Puback(Ack::new(packet_id))]);
    }
    format!("{topic} at {qos:?}, retained {retain}: {payload}")
}
