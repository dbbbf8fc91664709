//! rumqttc's client of 5.0.

use std::thread;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, LastWill, LastWillProperties, PublishProperties, RetainForwardRule,
    SubscribeProperties, UnsubscribeProperties,
};
use rumqttc::v5::{Client, ConnectionError, MqttOptions, StateError};

use super::{ClientError, MAX_PACKET_BYTES, Owner, QUEUED_PACKETS, Speaker, as_text, follow, refused, text};
use crate::frame::{Kind, Packet, Value};

struct Handle(Client);

/// `rumqttc::v5::Client` has no `Debug` that says anything.
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
                let payload = packet.bytes("payload").unwrap_or_default().to_vec();
                client.try_publish_with_properties(
                    text(packet, "topic")?,
                    qos,
                    retain,
                    payload,
                    publish_properties(packet)?,
                )
            }
            Kind::Subscribe => {
                let id = packet.number("subscription_id").map(|id| id as usize);
                let user_properties = pairs(packet, "user_property")?;
                let properties = SubscribeProperties { id, user_properties };
                client.try_subscribe_many_with_properties(filters(packet)?, properties)
            }
            Kind::Unsubscribe => {
                let properties = UnsubscribeProperties { user_properties: pairs(packet, "user_property")? };
                client.try_unsubscribe_with_properties(text(packet, "topic")?, properties)
            }
            Kind::Disconnect => client.try_disconnect(),
            kind => return Err(refused(format!("a client is not told to send {kind}"))),
        };
        sent.map_err(|error| refused(error.to_string()))
    }
}

/// The shortest keep alive that rumqttc takes, in seconds.
const LEAST_KEEP_ALIVE: u64 = 5;

fn options(connect: &Packet, port: u16) -> Result<MqttOptions, ClientError> {
    let keep_alive = connect.number("keep_alive").unwrap_or(60);
    if keep_alive < LEAST_KEEP_ALIVE {
        return Err(refused(format!("a keep alive of {keep_alive} s: use a `raw` actor")));
    }
    let mut options = MqttOptions::new(text(connect, "client_id")?, "127.0.0.1", port);
    options
        .set_clean_start(connect.number("clean") != Some(0))
        .set_keep_alive(Duration::from_secs(keep_alive))
        .set_connect_properties(connect_properties(connect)?);
    if connect.bytes("will_topic").is_some() || connect.bytes("will_payload").is_some() {
        let payload = connect.bytes("will_payload").unwrap_or_default().to_vec();
        let retain = connect.number("will_retain") == Some(1);
        let (topic, qos) = (text(connect, "will_topic")?, qos(connect.number("will_qos"))?);
        options.set_last_will(LastWill::new(topic, payload, qos, retain, Some(will_properties(connect)?)));
    }
    if connect.bytes("username").is_some() || connect.bytes("password").is_some() {
        options.set_credentials(text(connect, "username")?, text(connect, "password")?);
    }
    Ok(options)
}

/// Without a Maximum Packet Size of its own it would take no more than 10 KiB, and not say so.
fn connect_properties(connect: &Packet) -> Result<ConnectProperties, ClientError> {
    Ok(ConnectProperties {
        session_expiry_interval: number(connect, "session_expiry")?,
        receive_maximum: number(connect, "receive_maximum")?,
        max_packet_size: Some(number(connect, "maximum_packet_size")?.unwrap_or(MAX_PACKET_BYTES as u32)),
        topic_alias_max: number(connect, "topic_alias_maximum")?,
        request_response_info: number(connect, "request_response_information")?,
        request_problem_info: number(connect, "request_problem_information")?,
        user_properties: pairs(connect, "user_property")?,
        authentication_method: optional_text(connect, "authentication_method")?,
        authentication_data: bytes(connect, "authentication_data"),
    })
}

fn will_properties(connect: &Packet) -> Result<LastWillProperties, ClientError> {
    Ok(LastWillProperties {
        delay_interval: number(connect, "will_delay")?,
        payload_format_indicator: number(connect, "will_payload_format")?,
        message_expiry_interval: number(connect, "will_message_expiry")?,
        content_type: optional_text(connect, "will_content_type")?,
        response_topic: optional_text(connect, "will_response_topic")?,
        correlation_data: bytes(connect, "will_correlation_data"),
        user_properties: pairs(connect, "will_user_property")?,
    })
}

fn publish_properties(publish: &Packet) -> Result<PublishProperties, ClientError> {
    Ok(PublishProperties {
        payload_format_indicator: number(publish, "payload_format")?,
        message_expiry_interval: number(publish, "message_expiry")?,
        topic_alias: number(publish, "topic_alias")?,
        response_topic: optional_text(publish, "response_topic")?,
        correlation_data: bytes(publish, "correlation_data"),
        user_properties: pairs(publish, "user_property")?,
        subscription_identifiers: Vec::new(),
        content_type: optional_text(publish, "content_type")?,
    })
}

fn number<T: TryFrom<u64>>(packet: &Packet, name: &str) -> Result<Option<T>, ClientError> {
    let number = packet.number(name);
    number.map(|number| T::try_from(number).map_err(|_| refused(format!("{name}={number}")))).transpose()
}

fn optional_text(packet: &Packet, name: &str) -> Result<Option<String>, ClientError> {
    packet.bytes(name).map(|bytes| as_text(name, bytes)).transpose()
}

fn bytes<T: From<Vec<u8>>>(packet: &Packet, name: &str) -> Option<T> {
    packet.bytes(name).map(|bytes| bytes.to_vec().into())
}

/// Each `name=value` in two.
fn pairs(packet: &Packet, name: &str) -> Result<Vec<(String, String)>, ClientError> {
    let pair = |value: &Value| {
        let Value::Bytes(bytes) = value else { return Err(refused(format!("`{name}` is not text"))) };
        let text = as_text(name, bytes)?;
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        Ok((name.to_owned(), value.to_owned()))
    };
    packet.all(name).map(pair).collect()
}

fn qos(number: Option<u64>) -> Result<QoS, ClientError> {
    match number.unwrap_or(0) {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(refused(format!("QoS {other}"))),
    }
}

fn filters(packet: &Packet) -> Result<Vec<Filter>, ClientError> {
    let mut filters: Vec<Filter> = Vec::new();
    for (name, value) in &packet.fields {
        match (*name, value, filters.last_mut()) {
            ("topic", Value::Bytes(topic), _) => {
                filters.push(Filter::new(as_text("topic", topic)?, QoS::AtMostOnce));
            }
            ("qos", Value::Number(number), Some(filter)) => filter.qos = qos(Some(*number))?,
            ("no_local", Value::Number(bit), Some(filter)) => filter.nolocal = *bit == 1,
            ("retain_as_published", Value::Number(bit), Some(filter)) => filter.preserve_retain = *bit == 1,
            ("retain_handling", Value::Number(number), Some(filter)) => {
                filter.retain_forward_rule = match number {
                    0 => RetainForwardRule::OnEverySubscribe,
                    1 => RetainForwardRule::OnNewSubscribe,
                    2 => RetainForwardRule::Never,
                    other => return Err(refused(format!("retain_handling={other}"))),
                };
            }
            _ => {}
        }
    }
    Ok(filters)
}
