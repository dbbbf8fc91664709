//! One client of the crowd.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU16, NonZeroU32};

use smol::Async;
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::Semaphore;
use sol::codec::{
    Ack, Connect, Decoded, Delivery, Disconnect, Packet, PacketId, Properties, PropertiesBuf, Property,
    Publish, QoS, Reason, RetainHandling, Subscribe, SubscribeCode, SubscribeOptions, Version, decode,
};
use sol::topic::{Filter, Name};

use crate::plan::{Client as Planned, Plan, Subscription};

/// Clients that connect at a time: no more than a listener holds.
const CONNECTING: usize = 100;
/// Longer than the test, in seconds.
const SESSION_EXPIRY: u32 = 3600;

/// Where the clients wait for each other.
pub(crate) struct Gates {
    connecting: Semaphore,
    arrived: Sender<()>,
    publish: Receiver<()>,
    come_back: Receiver<()>,
    end: Receiver<()>,
}

/// The other side of the gates, each of which opens when it is dropped.
pub(crate) struct Control {
    /// Something for each client at each gate.
    pub(crate) arrived: Receiver<()>,
    pub(crate) publish: Sender<()>,
    pub(crate) come_back: Sender<()>,
    pub(crate) end: Sender<()>,
}

impl Gates {
    pub(crate) fn new() -> (Self, Control) {
        let (arrived_sender, arrived) = unbounded();
        let [(publish_sender, publish), (come_back_sender, come_back), (end_sender, end)] =
            std::array::from_fn(|_| bounded(1));
        let connecting = Semaphore::new(CONNECTING);
        (
            Self { connecting, arrived: arrived_sender, publish, come_back, end },
            Control { arrived, publish: publish_sender, come_back: come_back_sender, end: end_sender },
        )
    }

    async fn arrive(&self) {
        self.arrived.send(()).await.unwrap();
    }
}

/// A message as a client got it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Receipt {
    /// Its place in the plan.
    pub(crate) message: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// In order.
    pub(crate) identifiers: Vec<NonZeroU32>,
}

/// Connects, subscribes, publishes, and gives all that came, in the order in which it did.
pub(crate) async fn take_part(
    plan: &Plan,
    number: usize,
    address: SocketAddr,
    gates: &Gates,
) -> Vec<Receipt> {
    let mut client = Client::connect(plan, number, address, gates, false).await;
    client.subscribe().await;
    if client.me.is_away {
        client.leave().await;
        gates.arrive().await;
        opened(&gates.publish).await;
        gates.arrive().await;
        opened(&gates.come_back).await;
        client = Client::connect(plan, number, address, gates, true).await;
    } else {
        gates.arrive().await;
        client.read_until(&gates.publish).await;
        client.publish().await;
        gates.arrive().await;
        client.read_until(&gates.come_back).await;
    }
    gates.arrive().await;
    client.read_until(&gates.end).await;
    client.ping().await;
    client.receipts
}

/// Waits for a gate.
async fn opened(gate: &Receiver<()>) {
    _ = gate.recv().await;
}

struct Client<'p> {
    plan: &'p Plan,
    me: &'p Planned,
    stream: Async<TcpStream>,
    received: Vec<u8>,
    /// By the aliases that the broker assigned.
    topics: HashMap<NonZeroU16, String>,
    receipts: Vec<Receipt>,
    /// CONNACK came, and said whether there was a session.
    session_present: Option<bool>,
    /// Packets sent that something answers.
    unanswered: usize,
    /// QoS 1 and 2 messages from the broker that it has no last acknowledgement for.
    in_flight: u16,
}

impl<'p> Client<'p> {
    async fn connect(
        plan: &'p Plan,
        number: usize,
        address: SocketAddr,
        gates: &Gates,
        is_back: bool,
    ) -> Self {
        let _permit = gates.connecting.acquire().await;
        let stream = Async::<TcpStream>::connect(address).await.expect("cannot connect");
        stream.get_ref().set_nodelay(true).unwrap();
        let me = &plan.clients[number];
        let mut client = Self {
            plan,
            me,
            stream,
            received: Vec::new(),
            topics: HashMap::new(),
            receipts: Vec::new(),
            session_present: None,
            unanswered: 1,
            in_flight: 0,
        };
        let mut properties = PropertiesBuf::new();
        if me.version == Version::V5 {
            let expiry = if me.is_away { SESSION_EXPIRY } else { 0 };
            properties.push(Property::SessionExpiryInterval(expiry)).unwrap();
            properties.push(Property::TopicAliasMaximum(me.topic_alias_maximum)).unwrap();
            if let Some(maximum) = me.receive_maximum {
                properties.push(Property::ReceiveMaximum(maximum)).unwrap();
            }
        }
        let client_id = format!("crowd-{number}");
        let connect = Connect {
            version: me.version,
            clean_session: !me.is_away,
            properties: properties.as_properties(),
            ..crate::common::connect(&client_id)
        };
        client.send(&[Packet::Connect(connect)]).await;
        client.read_all_answers().await;
        // 3.1 has no word for it.
        assert_eq!(client.session_present, Some(is_back && me.version != Version::V31));
        client
    }

    /// One SUBSCRIBE for each: an identifier is for all filters of its packet.
    async fn subscribe(&mut self) {
        for Subscription { filter, qos, no_local, retain_as_published, identifier } in
            self.me.all_subscriptions()
        {
            let mut properties = PropertiesBuf::new();
            if let Some(identifier) = identifier {
                properties.push(Property::SubscriptionIdentifier(*identifier)).unwrap();
            }
            let options = SubscribeOptions {
                qos: *qos,
                no_local: *no_local,
                retain_as_published: *retain_as_published,
                retain_handling: RetainHandling::Send,
            };
            let filters = vec![(Filter::new(filter).unwrap(), options)];
            let mut subscribe = Subscribe::new(PacketId::MIN, filters);
            subscribe.properties = properties.as_properties();
            self.unanswered += 1;
            self.send(&[Packet::Subscribe(subscribe)]).await;
            self.read_all_answers().await;
        }
    }

    async fn leave(&mut self) {
        self.send(&[Packet::Disconnect(Disconnect::new(Reason::Success))]).await;
        assert_eq!(self.stream.read(&mut [0]).await.unwrap(), 0);
    }

    /// Publishes all at once, and waits until the broker has handled it.
    async fn publish(&mut self) {
        // Every second publisher of 5.0 says each topic once.
        let has_aliases = self.me.version == Version::V5 && self.me.publishes.start.is_multiple_of(20);
        let mut packet_ids = (1..).map(|id| PacketId::new(id).unwrap());
        for (step, number) in self.me.publishes.clone().enumerate() {
            let message = &self.plan.messages[number];
            let payload = (number as u32).to_be_bytes();
            let mut properties = PropertiesBuf::new();
            if self.me.version == Version::V5 {
                properties.push(Property::CorrelationData(&payload)).unwrap();
            }
            if has_aliases {
                let alias = NonZeroU16::new(step as u16 % 2 + 1).unwrap();
                properties.push(Property::TopicAlias(alias)).unwrap();
            }
            let topic = Name::new(&self.plan.topics[message.topic]).unwrap();
            let delivery = match message.qos {
                QoS::AtMostOnce => Delivery::AtMostOnce,
                QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_ids.next().unwrap()),
                QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_ids.next().unwrap()),
            };
            let publish = Publish {
                retain: message.retain,
                topic: Some(topic).filter(|_| !has_aliases || step < 2),
                properties: properties.as_properties(),
                ..Publish::new(topic, delivery, &payload)
            };
            self.unanswered += usize::from(message.qos > QoS::AtMostOnce);
            self.send(&[Packet::Publish(publish)]).await;
        }
        self.ping().await;
    }

    /// What the broker had for this client before has come, as far as the client lets it.
    async fn ping(&mut self) {
        self.unanswered += 1;
        self.send(&[Packet::Pingreq]).await;
        self.read_all_answers().await;
    }

    async fn send(&mut self, packets: &[Packet<'_>]) {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.encode(self.me.version, &mut bytes).unwrap();
            self.in_flight -= u16::from(matches!(packet, Packet::Puback(_) | Packet::Pubcomp(_)));
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn read_until(&mut self, gate: &Receiver<()>) {
        let gate = async || {
            opened(gate).await;
            None
        };
        let mut buffer = [0; 4096];
        while let Some(read) = or(async { Some(self.stream.read(&mut buffer).await) }, gate()).await {
            self.handle_bytes(&buffer, read).await;
        }
    }

    async fn read_all_answers(&mut self) {
        let mut buffer = [0; 4096];
        while self.unanswered > 0 {
            let read = self.stream.read(&mut buffer).await;
            self.handle_bytes(&buffer, read).await;
        }
    }

    /// Handles the packets in what was read, and answers.
    async fn handle_bytes(&mut self, buffer: &[u8], read: io::Result<usize>) {
        let read = read.expect("the connection broke");
        assert!(read > 0, "the broker closed the connection");
        let mut bytes = std::mem::take(&mut self.received);
        bytes.extend_from_slice(&buffer[..read]);
        let mut handled = 0;
        let mut replies = Vec::new();
        while let Decoded::Packet { packet, length } =
            decode(&bytes[handled..], Some(self.me.version), usize::MAX).unwrap()
        {
            replies.extend(self.handle(&packet));
            handled += length;
        }
        bytes.drain(..handled);
        self.received = bytes;
        if !replies.is_empty() {
            self.send(&replies).await;
        }
    }

    fn handle(&mut self, packet: &Packet<'_>) -> Option<Packet<'static>> {
        match packet {
            Packet::Connack(connack) => {
                assert_eq!(connack.reason, Reason::Success);
                self.session_present = Some(connack.session_present);
                self.unanswered -= 1;
            }
            Packet::Suback(suback) => {
                assert!(matches!(*suback.codes, [SubscribeCode::Granted(_)]), "{suback:?}");
                self.unanswered -= 1;
            }
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                assert!(!ack.reason.is_error(), "{ack:?}");
                self.unanswered -= 1;
            }
            Packet::Pingresp => self.unanswered -= 1,
            Packet::Pubrec(Ack { packet_id, .. }) => return Some(Packet::Pubrel(Ack::new(*packet_id))),
            Packet::Pubrel(Ack { packet_id, .. }) => return Some(Packet::Pubcomp(Ack::new(*packet_id))),
            Packet::Publish(publish) => return self.take(publish),
            other => panic!("{other:?}"),
        }
        None
    }

    /// Notes a message, and acknowledges it.
    fn take(&mut self, publish: &Publish<'_>) -> Option<Packet<'static>> {
        let number = u32::from_be_bytes(publish.payload.try_into().unwrap()) as usize;
        let message = &self.plan.messages[number];
        let said = Said::by(publish.properties);
        let topic = match (publish.topic, said.alias) {
            (Some(topic), alias) => {
                let topic = topic.as_str().to_owned();
                self.topics.extend(alias.map(|alias| (alias, topic.clone())));
                topic
            }
            (None, Some(alias)) => self.topics[&alias].clone(),
            (None, None) => panic!("{publish:?}"),
        };
        assert_eq!(topic, self.plan.topics[message.topic]);
        assert!(said.alias.is_none_or(|alias| alias.get() <= self.me.topic_alias_maximum), "{publish:?}");
        // Between two of 5.0 all is passed on; to others, nothing of it.
        let is_5 = self.plan.clients[message.publisher].version == Version::V5;
        assert_eq!(said.has_correlation, is_5 && self.me.version == Version::V5, "{publish:?}");
        assert!(!publish.dup, "{publish:?}");
        self.receipts.push(Receipt {
            message: number,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            identifiers: said.identifiers,
        });
        self.in_flight += u16::from(publish.delivery.packet_id().is_some());
        assert!(self.me.receive_maximum.is_none_or(|maximum| self.in_flight <= maximum.get()));
        match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce(packet_id) => Some(Packet::Puback(Ack::new(packet_id))),
            Delivery::ExactlyOnce(packet_id) => Some(Packet::Pubrec(Ack::new(packet_id))),
        }
    }
}

/// What the properties of a message say.
#[derive(Default)]
struct Said {
    alias: Option<NonZeroU16>,
    has_correlation: bool,
    identifiers: Vec<NonZeroU32>,
}

impl Said {
    fn by(properties: Properties<'_>) -> Self {
        let mut said = Self::default();
        for property in properties.iter() {
            match property {
                Property::TopicAlias(alias) => said.alias = Some(alias),
                Property::CorrelationData(_) => said.has_correlation = true,
                Property::SubscriptionIdentifier(identifier) => said.identifiers.push(identifier),
                other => panic!("{other:?}"),
            }
        }
        said.identifiers.sort_unstable();
        said
    }
}
