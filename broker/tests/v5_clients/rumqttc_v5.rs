//! rumqttc's client of 5.0.

use std::collections::{HashMap, VecDeque};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, DisconnectReasonCode, Filter, LastWill, LastWillProperties, PubAckReason, PubRecReason, Publish,
    PublishProperties, RetainForwardRule, SubscribeProperties, SubscribeReasonCode, UnsubAckReason,
};
use rumqttc::v5::{ConnectionError, Event, Incoming, MqttOptions, StateError};
use sol::{Broker, Limits};

use super::common::{PATIENCE, broker, eventually};
use super::strict;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// Longer than any test, in seconds.
const LONG: u32 = 3600;

struct Client {
    client: rumqttc::v5::Client,
    connection: rumqttc::v5::Connection,
    connack: ConnAck,
    /// Messages that came while it waited for something else.
    messages: VecDeque<Publish>,
}

impl Client {
    fn open(broker: &Broker, id: &str) -> Self {
        Self::open_with(broker, id, |_| {})
    }

    fn open_with(broker: &Broker, id: &str, with: impl FnOnce(&mut MqttOptions)) -> Self {
        let address = broker.local_addr();
        let mut options = MqttOptions::new(id, address.ip().to_string(), address.port());
        with(&mut options);
        let (client, mut connection) = rumqttc::v5::Client::new(options, 1000);
        let connack = match incoming(&mut connection) {
            Ok(Incoming::ConnAck(connack)) => connack,
            other => panic!("{other:?} for CONNACK"),
        };
        Self { client, connection, connack, messages: VecDeque::new() }
    }

    fn subscribed(broker: &Broker, filter: &str, qos: QoS) -> Self {
        let mut client = Self::open(broker, "");
        client.subscribe(Filter::new(filter, qos), None);
        client
    }

    /// The next packet that is no message and not about one.
    fn answer(&mut self) -> Incoming {
        loop {
            match incoming(&mut self.connection).unwrap() {
                Incoming::Publish(publish) => self.messages.push_back(publish),
                Incoming::PubRel(_) => {}
                other => return other,
            }
        }
    }

    fn try_subscribe(&mut self, filter: Filter, identifier: Option<usize>) -> SubscribeReasonCode {
        let properties = SubscribeProperties { id: identifier, user_properties: vec![] };
        self.client.subscribe_many_with_properties([filter], properties).unwrap();
        match self.answer() {
            Incoming::SubAck(suback) => suback.return_codes[0],
            other => panic!("{other:?} for SUBACK"),
        }
    }

    fn subscribe(&mut self, filter: Filter, identifier: Option<usize>) {
        let qos = filter.qos;
        assert_eq!(self.try_subscribe(filter, identifier), SubscribeReasonCode::Success(qos));
    }

    fn unsubscribe(&mut self, filter: &str) -> UnsubAckReason {
        self.client.unsubscribe(filter).unwrap();
        match self.answer() {
            Incoming::UnsubAck(unsuback) => unsuback.reasons[0],
            other => panic!("{other:?} for UNSUBACK"),
        }
    }

    fn publish(&mut self, topic: &str, payload: &str, qos: QoS) {
        self.publish_with(topic, payload, qos, false, PublishProperties::default());
    }

    /// Publishes, and waits until it is acknowledged, or handled at QoS 0.
    fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        properties: PublishProperties,
    ) {
        let payload = payload.to_owned();
        self.client.publish_with_properties(topic, qos, retain, payload, properties).unwrap();
        match qos {
            QoS::AtMostOnce => _ = self.unsubscribe("nothing"),
            QoS::AtLeastOnce => assert!(matches!(self.answer(), Incoming::PubAck(_))),
            QoS::ExactlyOnce => {
                assert!(matches!(self.answer(), Incoming::PubRec(_)));
                assert!(matches!(self.answer(), Incoming::PubComp(_)));
            }
        }
    }

    fn message(&mut self) -> Publish {
        loop {
            if let Some(publish) = self.messages.pop_front() {
                return publish;
            }
            match incoming(&mut self.connection).unwrap() {
                Incoming::Publish(publish) => return publish,
                Incoming::PubRel(_) => {}
                other => panic!("{other:?} for PUBLISH"),
            }
        }
    }

    fn expect(&mut self, payloads: &[&str]) {
        for payload in payloads {
            assert_eq!(self.message().payload, payload);
        }
        // The answer comes behind all that the broker had.
        self.unsubscribe("nothing");
        assert_eq!(self.messages, []);
    }

    /// Ends the connection as the standard wants it, and waits until it has.
    fn close(mut self) {
        self.client.disconnect().unwrap();
        while self.connection.recv_timeout(PATIENCE).unwrap().is_ok() {}
    }

    /// What the broker says before it ends the connection.
    fn end(mut self) -> (DisconnectReasonCode, Option<String>) {
        loop {
            match incoming(&mut self.connection) {
                Err(ConnectionError::MqttState(StateError::ServerDisconnect {
                    reason_code,
                    reason_string,
                })) => return (reason_code, reason_string),
                // The packet is shown before the error.
                Ok(Incoming::Disconnect(_)) => {}
                other => panic!("{other:?} for DISCONNECT"),
            }
        }
    }
}

/// The next packet from the broker.
fn incoming(connection: &mut rumqttc::v5::Connection) -> Result<Incoming, ConnectionError> {
    loop {
        if let Event::Incoming(packet) = connection.recv_timeout(PATIENCE).unwrap()? {
            return Ok(packet);
        }
    }
}

fn staying(options: &mut MqttOptions) {
    options.set_clean_start(false).set_session_expiry_interval(Some(LONG));
}

fn content() -> PublishProperties {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(LONG),
        response_topic: Some("answers/here".to_owned()),
        correlation_data: Some((0..=255).collect::<Vec<u8>>().into()),
        user_properties: vec![pair("b", "2"), pair("a", "1"), pair("b", "1"), pair("b", "2"), pair("ü", "ß")],
        content_type: Some("text/plain".to_owned()),
        ..PublishProperties::default()
    }
}

/// The message has these properties, but for what time took.
fn check(publish: &Publish, expected: PublishProperties) {
    let mut got = publish.properties.clone().unwrap();
    let left = got.message_expiry_interval.unwrap();
    assert!(left <= LONG && u64::from(left) + PATIENCE.as_secs() >= u64::from(LONG), "{left} s");
    got.message_expiry_interval = expected.message_expiry_interval;
    assert_eq!(got, expected);
}

#[test]
fn properties_go_on_unaltered_and_in_order() {
    let broker = broker(Limits::default());
    let mut subscriber = Client::subscribed(&broker, "t", QoS::ExactlyOnce);
    let mut publisher = Client::open(&broker, "publisher");
    for qos in QOS {
        publisher.publish_with("t", "grüß dich", qos, true, content());
    }
    let mut retained = Client::subscribed(&broker, "+", QoS::AtLeastOnce);
    for qos in QOS {
        let publish = subscriber.message();
        assert_eq!((publish.qos, &publish.payload[..]), (qos, "grüß dich".as_bytes()));
        check(&publish, content());
    }
    check(&retained.message(), content());
    publisher.publish("t", "plain", QoS::AtLeastOnce);
    assert_eq!(subscriber.message().properties.unwrap_or_default(), PublishProperties::default());
}

#[test]
fn an_alias_stands_for_its_topic() {
    const ONE: &str = "one/topic/of/some/length";
    const TWO: &str = "two/topic/of/some/length";
    let broker = broker(Limits::default());
    let mut subscriber = Client::open_with(&broker, "", |options| {
        options.set_topic_alias_max(Some(1));
    });
    subscriber.subscribe(Filter::new("#", QoS::ExactlyOnce), None);
    let mut publisher = Client::open(&broker, "");
    let most = publisher.connack.properties.as_ref().unwrap().topic_alias_max;
    for qos in QOS {
        for (topic, alias) in [(ONE, most), (TWO, Some(1)), ("", most), ("", Some(1)), (ONE, None)] {
            let properties = PublishProperties { topic_alias: alias, ..PublishProperties::default() };
            publisher.publish_with(topic, "m", qos, false, properties);
        }
    }
    // rumqttc shows a packet as it came: without a topic where the broker assigned an alias before.
    let mut aliases = HashMap::<u16, _>::new();
    for expected in [ONE, TWO, ONE, TWO, ONE].repeat(3) {
        let Publish { topic, properties, .. } = subscriber.message();
        let topic = match properties.and_then(|properties| properties.topic_alias) {
            Some(alias) if topic.is_empty() => &aliases[&alias],
            Some(alias) => aliases.entry(alias).insert_entry(topic).into_mut(),
            None => &topic,
        };
        assert_eq!(topic, expected);
    }
    assert_eq!(aliases.len(), 1);
}

#[test]
fn of_a_shared_subscription_one_member_gets_each_message() {
    let broker = broker(Limits::default());
    let mut members = QOS.map(|qos| Client::subscribed(&broker, "$share/group/t/#", qos));
    let mut publisher = Client::open(&broker, "");
    for n in 0..60 {
        publisher.publish("t/x", &n.to_string(), QoS::ExactlyOnce);
    }
    let mut all = Vec::new();
    for (member, qos) in members.iter_mut().zip(QOS) {
        member.unsubscribe("nothing");
        let got: Vec<_> = member.messages.drain(..).collect();
        assert!(!got.is_empty() && got.iter().all(|publish| publish.qos == qos), "{got:?}");
        let numbers: Vec<u32> =
            got.iter().map(|publish| str::from_utf8(&publish.payload).unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        all.extend(numbers);
    }
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..60), "{all:?}");
}

#[test]
fn subscriptions_have_options_and_identifiers() {
    let broker = broker(Limits::default());
    let [mut client, mut other] = ["client", "other"].map(|id| Client::open(&broker, id));
    let t = || Filter::new("t", QoS::AtLeastOnce);
    client.subscribe(Filter { nolocal: true, ..Filter::new("#", QoS::AtMostOnce) }, Some(268_435_455));
    client.subscribe(Filter { nolocal: true, ..t() }, Some(2));
    client.publish("t", "own", QoS::AtLeastOnce);
    other.publish_with("t", "other", QoS::AtLeastOnce, true, PublishProperties::default());
    let publish = client.message();
    assert_eq!((&publish.payload[..], publish.qos, publish.retain), (&b"other"[..], QoS::AtLeastOnce, false));
    let mut identifiers = publish.properties.unwrap().subscription_identifiers;
    identifiers.sort_unstable();
    assert_eq!(identifiers, [2, 268_435_455]);
    client.unsubscribe("#");
    for retain_forward_rule in [RetainForwardRule::Never, RetainForwardRule::OnNewSubscribe] {
        client.subscribe(Filter { preserve_retain: true, retain_forward_rule, ..t() }, None);
        client.expect(&[]);
    }
    client.subscribe(Filter { retain_forward_rule: RetainForwardRule::OnEverySubscribe, ..t() }, None);
    client.expect(&["other"]);
    client.subscribe(Filter { preserve_retain: true, ..t() }, None);
    client.expect(&["other"]);
    other.publish_with("t", "as published", QoS::AtLeastOnce, true, PublishProperties::default());
    assert!(client.message().retain);
}

#[test]
fn wills_wait_for_the_end_of_the_delay_or_the_session() {
    let broker = broker(Limits::default());
    let mut heir = Client::subscribed(&broker, "will", QoS::AtLeastOnce);
    let willing = |payload: &str, delay, expiry| {
        Client::open_with(&broker, "willing", |options| {
            let PublishProperties { content_type, user_properties, response_topic, correlation_data, .. } =
                content();
            let properties = LastWillProperties {
                delay_interval: Some(delay),
                payload_format_indicator: Some(1),
                message_expiry_interval: Some(LONG),
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            };
            let will = LastWill::new("will", payload, QoS::AtLeastOnce, false, Some(properties));
            options.set_last_will(will).set_clean_start(false).set_session_expiry_interval(Some(expiry));
        })
    };
    drop(willing("with the session", LONG, 0));
    let will = heir.message();
    assert_eq!(will.payload, "with the session");
    check(&will, content());
    drop(willing("after the delay", 1, LONG));
    assert_eq!(heir.message().payload, "after the delay");
    drop(willing("never", LONG, LONG));
    eventually("it is away", || broker.stats().connections == 1);
    let back = willing("nor this", LONG, LONG);
    assert!(back.connack.session_present);
    back.close();
    eventually("it is away", || broker.stats().connections == 1);
    heir.expect(&[]);
}

#[test]
fn a_session_waits_and_messages_in_it_expire() {
    let broker = broker(Limits::default());
    let mut client = Client::open_with(&broker, "client", staying);
    client.subscribe(Filter::new("t", QoS::ExactlyOnce), None);
    client.close();
    eventually("it is away", || broker.stats().connections == 0);
    let mut publisher = Client::open(&broker, "");
    for (payload, seconds) in [("long", LONG), ("short", 1), ("long", LONG)] {
        let properties =
            PublishProperties { message_expiry_interval: Some(seconds), ..PublishProperties::default() };
        publisher.publish_with("t", payload, QoS::ExactlyOnce, false, properties);
    }
    // Where another waits as long, what expires is over.
    let kept = PublishProperties { message_expiry_interval: Some(1), ..PublishProperties::default() };
    publisher.publish_with("kept", "short", QoS::AtLeastOnce, true, kept);
    eventually("a retained message expires", || {
        let mut reader = Client::subscribed(&broker, "kept", QoS::AtLeastOnce);
        reader.unsubscribe("kept");
        reader.messages.is_empty()
    });
    let mut client = Client::open_with(&broker, "client", staying);
    assert!(client.connack.session_present);
    client.expect(&["long", "long"]);
    client.close();
}

#[test]
fn one_message_is_in_flight_at_receive_maximum_1() {
    let broker = broker(Limits::default());
    let mut publisher = Client::open(&broker, "");
    for qos in &QOS[1..] {
        let mut client = Client::open_with(&broker, "client", |options| {
            options.set_receive_maximum(Some(1)).set_manual_acks(true);
        });
        client.subscribe(Filter::new("t", *qos), None);
        for n in 0..10 {
            publisher.publish("t", &n.to_string(), *qos);
        }
        for n in 0..10 {
            let publish = client.message();
            assert_eq!(publish.payload, n.to_string());
            client.expect(&[]);
            client.client.ack(&publish).unwrap();
        }
        client.close();
    }
}

#[test]
fn the_brokers_receive_maximum_is_kept_to() {
    let broker = broker(Limits { max_received_messages: 2, ..Limits::default() });
    let mut subscriber = Client::subscribed(&broker, "t", QoS::ExactlyOnce);
    let mut publisher = Client::open(&broker, "");
    for qos in &QOS[1..] {
        for n in 0..50 {
            publisher.client.publish("t", *qos, false, n.to_string()).unwrap();
        }
        let mut done = 0;
        while done < 50 {
            done += usize::from(matches!(publisher.answer(), Incoming::PubAck(_) | Incoming::PubComp(_)));
        }
        for n in 0..50 {
            assert_eq!(subscriber.message().payload, n.to_string());
        }
    }
}

#[test]
fn what_is_too_large_is_not_sent() {
    let broker = broker(Limits::default());
    let mut small = Client::open_with(&broker, "small", |options| {
        options.set_max_packet_size(Some(100));
    });
    small.subscribe(Filter::new("t", QoS::ExactlyOnce), None);
    let mut publisher = Client::open(&broker, "");
    for qos in QOS {
        publisher.publish("t", &"x".repeat(100), qos);
        publisher.publish("t", "small", qos);
    }
    small.expect(&["small"; 3]);
    assert_eq!(broker.stats().dropped_too_large, 3);
}

#[test]
fn acknowledgements_say_more() {
    let broker = broker(Limits::default());
    let mut client = Client::open(&broker, "");
    assert!(client.connack.properties.as_ref().unwrap().assigned_client_identifier.is_some());
    client.client.publish("nobody", QoS::AtLeastOnce, false, "").unwrap();
    match client.answer() {
        Incoming::PubAck(puback) => assert_eq!(puback.reason, PubAckReason::NoMatchingSubscribers),
        other => panic!("{other:?} for PUBACK"),
    }
    client.client.publish("nobody", QoS::ExactlyOnce, false, "").unwrap();
    match client.answer() {
        Incoming::PubRec(pubrec) => assert_eq!(pubrec.reason, PubRecReason::NoMatchingSubscribers),
        other => panic!("{other:?} for PUBREC"),
    }
    assert!(matches!(client.answer(), Incoming::PubComp(_)));
    client.subscribe(Filter::new("t", QoS::ExactlyOnce), None);
    assert_eq!(client.unsubscribe("t"), UnsubAckReason::Success);
    assert_eq!(client.unsubscribe("t"), UnsubAckReason::NoSubscriptionExisted);
}

#[test]
fn the_first_connection_is_told_that_it_is_taken_over() {
    let broker = broker(Limits::default());
    let [first, second] = ["taken"; 2].map(|id| Client::open(&broker, id));
    let (reason, text) = first.end();
    assert!(reason == DisconnectReasonCode::SessionTakenOver && text.is_some(), "{reason:?}: {text:?}");
    second.close();
}

#[test]
fn the_broker_says_that_it_stops() {
    let broker = broker(Limits::default());
    let client = Client::open(&broker, "client");
    drop(broker);
    assert_eq!(client.end().0, DisconnectReasonCode::ServerShuttingDown);
}

#[test]
fn what_connack_says_is_not_available_is_refused() {
    let broker = broker(strict());
    let mut client = Client::open(&broker, "");
    let said = client.connack.properties.clone().unwrap();
    assert_eq!((said.max_qos, said.retain_available), (Some(1), Some(0)));
    for (filter, identifier, code) in [
        ("#", None, SubscribeReasonCode::WildcardSubscriptionsNotSupported),
        ("$share/g/t", None, SubscribeReasonCode::SharedSubscriptionsNotSupported),
        ("t", Some(1), SubscribeReasonCode::SubscriptionIdNotSupported),
    ] {
        assert_eq!(client.try_subscribe(Filter::new(filter, QoS::AtMostOnce), identifier), code);
    }
    client.client.publish("t", QoS::ExactlyOnce, false, "").unwrap();
    assert_eq!(client.end().0, DisconnectReasonCode::QoSNotSupported);
}
