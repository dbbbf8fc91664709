//! Clients that go on as before: each publishes to itself at QoS 1, and gets every message, in order and once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use sol::codec::{Ack, Delivery, Packet, PacketId, QoS};

use crate::common::{Client, publish};

/// Threads that the clients are divided among.
const THREADS: usize = 4;

pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    messages: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many, all connected and subscribed.
    pub(crate) fn new(address: SocketAddr, clients: usize) -> Self {
        let (stop, messages) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..THREADS).map(|thread| {
            let clients = (thread..clients).step_by(THREADS).map(|number| Member::new(address, number));
            let mut clients: Vec<_> = clients.collect();
            let (stop, messages) = (Arc::clone(&stop), Arc::clone(&messages));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for client in &mut clients {
                        client.go_on();
                        messages.fetch_add(1, Ordering::Relaxed);
                    }
                }
                clients.iter_mut().for_each(Member::go_on);
            })
        });
        Self { threads: threads.collect(), stop, messages }
    }

    /// Messages that went around so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// A last message of each.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client lost something"));
    }
}

struct Member {
    topic: String,
    client: Client,
    sent: u64,
}

impl Member {
    fn new(address: SocketAddr, number: usize) -> Self {
        let topic = format!("own/{number}");
        let client = Client::subscribed(address, &format!("member-{number}"), &topic, QoS::AtLeastOnce);
        Self { topic, client, sent: 0 }
    }

    fn go_on(&mut self) {
        self.sent += 1;
        let payload = self.sent.to_be_bytes();
        self.client.send(&[Packet::Publish(publish(&self.topic, &payload, QoS::AtLeastOnce))]);
        let (mut is_acknowledged, mut came) = (false, None);
        while !is_acknowledged || came.is_none() {
            match self.client.receive() {
                Packet::Puback(ack) if !is_acknowledged => {
                    assert_eq!(ack.packet_id, PacketId::MIN);
                    is_acknowledged = true;
                }
                Packet::Publish(publish) if came.is_none() => {
                    assert_eq!(publish.payload, payload, "{}", self.topic);
                    let Delivery::AtLeastOnce(id) = publish.delivery else { panic!("{publish:?}") };
                    came = Some(id);
                }
                other => panic!("{}: {other:?}", self.topic),
            }
        }
        self.client.send(&came.map(|id| Packet::Puback(Ack::new(id))).into_iter().collect::<Vec<_>>());
    }
}
