//! A well-behaved client: MQTT 3.1.1, clean session, no keep alive.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use smol::Timer;
use smol::future::FutureExt;
use sol::codec::{
    Ack, AckType, Connack, Connect, Decoded, Delivery, MAX_PACKET_BYTES, Packet, PacketId, Properties, QoS,
    Reason, Subscribe, SubscribeCode, Version, decode, encode_ack, encode_publish,
};
use sol::topic::Filter;

/// How long anything may take before a test says that it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connected client.
pub(crate) struct Client {
    stream: smol::Async<TcpStream>,
    received: Vec<u8>,
    /// Packets to send with the next [`Client::flush`].
    pub(crate) out: Vec<u8>,
}

impl Client {
    /// Connects, and waits for CONNACK.
    pub(crate) async fn connect(address: SocketAddr, client_id: &str) -> Self {
        let stream = smol::Async::<TcpStream>::connect(address).await.expect("cannot connect");
        stream.get_ref().set_nodelay(true).unwrap();
        let mut client = Self { stream, received: Vec::new(), out: connect(client_id) };
        let accepted = Connack::new(false, Reason::Success);
        client.expect("CONNACK", |packet, _| (packet == Packet::Connack(accepted)).then_some(())).await;
        client
    }

    /// Subscribes, and waits for SUBACK.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, QoS)]) {
        self.out.extend(subscribe(filters));
        let granted: Vec<_> = filters.iter().map(|(_, qos)| SubscribeCode::Granted(*qos)).collect();
        self.expect("SUBACK", |packet, _| match packet {
            Packet::Suback(suback) => {
                assert_eq!(*suback.codes, granted);
                Some(())
            }
            _ => None,
        })
        .await;
    }

    /// Waits until there is something to [`Client::receive`].
    pub(crate) async fn readable(&self) {
        self.stream.readable().await.unwrap();
    }

    /// Waits until then, or until there is something to [`Client::receive`]. True if it is then.
    pub(crate) async fn is_quiet_until<T>(&self, then: impl Future<Output = T>) -> bool {
        let then = async {
            then.await;
            true
        };
        let readable = async {
            self.readable().await;
            false
        };
        then.or(readable).await
    }

    /// Takes all packets that are there. What is owed for them is put into `out`.
    pub(crate) fn receive(&mut self, mut handle: impl FnMut(Packet<'_>, &mut Vec<u8>)) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.get_ref().read(&mut buffer) {
                Ok(0) => panic!("the broker closed the connection"),
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot read: {error}"),
            }
        }
        let mut at = 0;
        while let Decoded::Packet { packet, length } =
            decode(&self.received[at..], Some(Version::V311), MAX_PACKET_BYTES)
                .expect("the broker sent nonsense")
        {
            at += length;
            answer(&packet, &mut self.out);
            handle(packet, &mut self.out);
        }
        self.received.drain(..at);
    }

    /// Sends `out`.
    pub(crate) async fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.get_ref().write(&self.out[sent..]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await.unwrap(),
                Err(error) => panic!("cannot write: {error}"),
            }
        }
        self.out.clear();
    }

    /// Sends `out`, and receives until `found` finds what is expected.
    pub(crate) async fn expect<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(Packet<'_>, &mut Vec<u8>) -> Option<T>,
    ) -> T {
        let expected = async {
            let mut result = None;
            loop {
                self.flush().await;
                if let Some(result) = result {
                    return result;
                }
                self.readable().await;
                self.receive(|packet, out| {
                    if result.is_none() {
                        result = found(packet, out);
                    }
                });
            }
        };
        within(PATIENCE, what, expected).await
    }
}

/// A CONNECT packet.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    encoded(Packet::Connect(Connect {
        version: Version::V311,
        clean_session: true,
        keep_alive: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    }))
}

/// A SUBSCRIBE packet.
pub(crate) fn subscribe(filters: &[(&str, QoS)]) -> Vec<u8> {
    let filters = filters.iter().map(|(filter, qos)| (Filter::new(filter).unwrap(), *qos)).collect();
    encoded(Packet::Subscribe(Subscribe::new(PacketId::MIN, filters)))
}

fn encoded(packet: Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(Version::V311, &mut bytes).unwrap();
    bytes
}

/// The receiver's half of QoS 1 and 2. The sender's is [`Window`].
fn answer(packet: &Packet<'_>, out: &mut Vec<u8>) {
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(packet_id) => encode_ack(out, AckType::Puback, packet_id),
            Delivery::ExactlyOnce(packet_id) => encode_ack(out, AckType::Pubrec, packet_id),
        },
        Packet::Pubrel(Ack { packet_id, .. }) => encode_ack(out, AckType::Pubcomp, *packet_id),
        _ => {}
    }
}

/// The messages that a client has published and that are not finally acknowledged: the sender's half of QoS 1 and 2.
pub(crate) struct Window {
    slots: Vec<Slot>,
    open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    Published(QoS),
    Released,
}

impl Window {
    /// A window for so many messages.
    pub(crate) fn new(size: u16) -> Self {
        Self { slots: vec![Slot::Free; size.into()], open: 0 }
    }

    /// Messages not yet acknowledged.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Publishes if there is room in the window. True if there was.
    pub(crate) fn publish(&mut self, topic: &str, qos: QoS, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(at) = self.slots.iter().position(|slot| *slot == Slot::Free) else { return false };
        let packet_id = PacketId::new(at as u16 + 1).unwrap();
        let delivery = match qos {
            QoS::AtMostOnce => panic!("QoS 0 needs no window"),
            QoS::AtLeastOnce => Delivery::AtLeastOnce(packet_id),
            QoS::ExactlyOnce => Delivery::ExactlyOnce(packet_id),
        };
        encode_publish(out, false, delivery, false, topic.as_bytes(), None, payload);
        self.slots[at] = Slot::Published(qos);
        self.open += 1;
        true
    }

    /// Takes an acknowledgement. An acknowledgement of nothing is the broker's fault.
    pub(crate) fn handle(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        let (expected, next, packet_id) = match packet {
            Packet::Puback(ack) => (Slot::Published(QoS::AtLeastOnce), Slot::Free, ack.packet_id),
            Packet::Pubrec(ack) => (Slot::Published(QoS::ExactlyOnce), Slot::Released, ack.packet_id),
            Packet::Pubcomp(ack) => (Slot::Released, Slot::Free, ack.packet_id),
            _ => return,
        };
        let slot = self.slots.get_mut(usize::from(packet_id.get()) - 1);
        let slot =
            slot.filter(|slot| **slot == expected).unwrap_or_else(|| panic!("nothing waits for {packet:?}"));
        *slot = next;
        match next {
            Slot::Free => self.open -= 1,
            _ => encode_ack(out, AckType::Pubrel, packet_id),
        }
    }
}

/// Fails the test if it takes too long.
pub(crate) async fn within<T>(patience: Duration, what: &str, result: impl Future<Output = T>) -> T {
    let too_long = async {
        Timer::after(patience).await;
        panic!("{what} did not come within {patience:?}");
    };
    result.or(too_long).await
}
