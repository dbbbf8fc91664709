//! rumqttc's client of 3.1.1.

use std::thread;
use std::time::Duration;

use rumqttc::{Client, ConnectionError, LastWill, MqttOptions, QoS, StateError, SubscribeFilter};

use super::{ClientError, MAX_PACKET_BYTES, Owner, QUEUED_PACKETS, Speaker, as_text, follow, refused, text};
use crate::frame::{Kind, Packet, Value};

struct Handle(Client);

/// `rumqttc::Client` has no `Debug`.
impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// Has it connect to this port of loopback.
pub(super) fn start(connect: &Packet, port: u16, owner: &Owner) -> Result<Box<dyn Speaker>, ClientError> {
    let (client, mut events) = Client::new(options(connect, port)?, QUEUED_PACKETS);
    let owner = owner.clone();
    thread::spawn(move || {
        let is_end = |error: &_| matches!(error, ConnectionError::MqttState(StateError::ConnectionAborted));
        follow(events.iter(), is_end, &owner);
    });
    Ok(Box::new(Handle(client)))
}

impl Speaker for Handle {
    fn send(&self, packet: &Packet) -> Result<(), ClientError> {
        let Handle(client) = self;
        let sent = match packet.kind {
            Kind::Publish => {
                let qos = qos(packet.number("qos"))?;
                let retain = packet.number("retain") == Some(1);
                let payload = packet.bytes("payload").unwrap_or_default();
                client.try_publish(text(packet, "topic")?, qos, retain, payload)
            }
            Kind::Subscribe => client.try_subscribe_many(filters(packet)?),
            Kind::Unsubscribe => client.try_unsubscribe(text(packet, "topic")?),
            Kind::Disconnect => client.try_disconnect(),
            kind => return Err(refused(format!("a client is not told to send {kind}"))),
        };
        sent.map_err(|error| refused(error.to_string()))
    }
}

fn options(connect: &Packet, port: u16) -> Result<MqttOptions, ClientError> {
    let client_id = text(connect, "client_id")?;
    let clean = connect.number("clean") != Some(0);
    if client_id.is_empty() && !clean {
        return Err(refused("an empty client identifier with clean=0"));
    }
    let mut options = MqttOptions::new(client_id, "127.0.0.1", port);
    options
        .set_clean_session(clean)
        .set_keep_alive(Duration::from_secs(connect.number("keep_alive").unwrap_or(60)))
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if connect.bytes("will_topic").is_some() || connect.bytes("will_payload").is_some() {
        let payload = connect.bytes("will_payload").unwrap_or_default();
        let retain = connect.number("will_retain") == Some(1);
        options.set_last_will(LastWill::new(
            text(connect, "will_topic")?,
            payload,
            qos(connect.number("will_qos"))?,
            retain,
        ));
    }
    if connect.bytes("username").is_some() || connect.bytes("password").is_some() {
        options.set_credentials(text(connect, "username")?, text(connect, "password")?);
    }
    Ok(options)
}

fn qos(number: Option<u64>) -> Result<QoS, ClientError> {
    match number.unwrap_or(0) {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(refused(format!("QoS {other}"))),
    }
}

fn filters(packet: &Packet) -> Result<Vec<SubscribeFilter>, ClientError> {
    let mut filters: Vec<SubscribeFilter> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, value, filters.last_mut()) {
            ("topic", Value::Bytes(topic), _) => {
                filters.push(SubscribeFilter::new(as_text("topic", topic)?, QoS::AtMostOnce));
            }
            ("qos", Value::Number(number), Some(filter)) => filter.qos = qos(Some(*number))?,
            _ => {}
        }
    }
    Ok(filters)
}
