//! Publishers in a hurry, and subscribers whose sessions stay.

use std::net::SocketAddr;
use std::thread;

use sol::codec::{Ack, Connect, Delivery, Disconnect, Packet, PacketId, Publish, QoS, encode_publish};

use crate::common::{Client, connect};

/// Not acknowledged at a time.
const WINDOW: usize = 1000;

/// Publishes so many messages at QoS 1, each beginning with its number, and waits until all are acknowledged.
pub(crate) fn publish(
    address: SocketAddr,
    client_id: &str,
    messages: usize,
    payload_bytes: usize,
    topic: impl Fn(usize) -> String,
    retain: bool,
) {
    let mut client = Client::connect(address, client_id);
    let mut payload = vec![b'x'; payload_bytes];
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < messages {
        let mut bytes = Vec::new();
        while sent < messages && sent - acknowledged < WINDOW && bytes.len() < 64 << 10 {
            payload[..4].copy_from_slice(&(sent as u32).to_be_bytes());
            let topic = topic(sent);
            let packet_id = PacketId::new((sent % WINDOW) as u16 + 1).unwrap();
            let delivery = Delivery::AtLeastOnce(packet_id);
            encode_publish(&mut bytes, false, delivery, retain, topic.as_bytes(), None, &payload);
            sent += 1;
        }
        client.send_bytes(&bytes);
        // Some at a time, so that neither side waits for the other.
        let until = if sent == messages { messages } else { acknowledged + 1 };
        while acknowledged < until {
            let Packet::Puback(ack) = client.receive() else { panic!("no PUBACK") };
            assert_eq!(usize::from(ack.packet_id.get()), acknowledged % WINDOW + 1);
            acknowledged += 1;
        }
    }
    leave(client);
}

/// Does something so many times, many at a time, since each waits for the disk.
pub(crate) fn at_once(times: usize, what: impl Fn(usize) + Sync) {
    const THREADS: usize = 50;
    thread::scope(|scope| {
        for first in 0..THREADS {
            let what = &what;
            scope.spawn(move || (first..times).step_by(THREADS).for_each(what));
        }
    });
}

/// A client of 3.1.1 with a session that stays and one subscription at QoS 1.
pub(crate) struct Durable {
    client_id: String,
    filter: String,
}

impl Durable {
    pub(crate) fn new(client_id: &str, filter: &str) -> Self {
        Self { client_id: client_id.into(), filter: filter.into() }
    }

    pub(crate) fn connect(&self, address: SocketAddr, session_present: bool) -> Client {
        let connect = Connect { clean_session: false, ..connect(&self.client_id) };
        Client::connect_as(address, connect, session_present)
    }

    pub(crate) fn connect_and_subscribe(&self, address: SocketAddr) -> Client {
        let mut client = self.connect(address, false);
        client.subscribe(&self.filter, QoS::AtLeastOnce);
        client
    }

    /// And leaves.
    pub(crate) fn subscribe(&self, address: SocketAddr) {
        leave(self.connect_and_subscribe(address));
    }

    /// Comes back for messages of these numbers, in this order.
    pub(crate) fn take(&self, address: SocketAddr, numbers: impl IntoIterator<Item = usize>) {
        let mut client = self.connect(address, true);
        numbers.into_iter().for_each(|number| take_next(&mut client, number));
        leave(client);
    }
}

/// Takes a message, which must have this number.
pub(crate) fn take_next(client: &mut Client, number: usize) {
    let Packet::Publish(Publish { payload, delivery, .. }) = client.receive() else { panic!("no PUBLISH") };
    let (came, _) = payload.split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*came) as usize, number);
    let Delivery::AtLeastOnce(packet_id) = delivery else { panic!("{delivery:?}") };
    client.send(&[Packet::Puback(Ack::new(packet_id))]);
}

pub(crate) fn leave(mut client: Client) {
    client.send(&[Packet::Disconnect(Disconnect::default())]);
    client.expect_closed();
}
