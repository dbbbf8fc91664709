//! A subscriber with a session that stays. It comes and goes, and keeps its side of QoS 2 over all its connections, as if
//! it wrote it down.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::{or, yield_now};
use sol::codec::{
    Ack, Delivery, Disconnect, Packet, PacketId, Publish, QoS, RetainHandling, Subscribe, SubscribeCode,
    SubscribeOptions, Version,
};
use sol::topic::Filter;

use crate::connection::{Connection, Gone, Out};
use crate::ledger::Number;
use crate::random::Random;
use crate::world::World;

/// What tells one from the other.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) client_id: &'static str,
    pub(crate) version: Version,
    pub(crate) filter: &'static str,
    pub(crate) qos: QoS,
    pub(crate) receive_maximum: Option<u16>,
    /// Takes part in one of so many rounds.
    pub(crate) comes_once_in: usize,
}

pub(crate) struct Subscriber {
    traits: Traits,
    /// What it belongs to in the ledger.
    receiver: usize,
    /// In the history.
    name: usize,
    random: Random,
    /// It was told of a session.
    has_session: bool,
    is_subscribed: bool,
    /// QoS 2 messages between PUBLISH and PUBREL, by packet identifier.
    received: HashMap<PacketId, Number>,
}

/// When to leave.
enum Until {
    /// After so many messages.
    Taken(usize),
    /// When nothing is missing.
    HasAll { patience: Duration },
    /// When all came that the broker had at once.
    Pinged,
}

impl Subscriber {
    pub(crate) fn new(world: &World, traits: Traits, receiver: usize, random: Random) -> Self {
        let name = world.ledger.borrow_mut().name(traits.client_id);
        Self {
            traits,
            receiver,
            name,
            random,
            has_session: false,
            is_subscribed: false,
            received: HashMap::new(),
        }
    }

    /// Before there is anything to get.
    pub(crate) async fn subscribe(&mut self, world: &World) {
        self.converse(world, Until::Pinged).await.expect("the broker lives");
    }

    /// Comes and goes until the broker is killed, or stays away.
    pub(crate) async fn take_until_killed(&mut self, world: &World) {
        if !self.random.once_in(self.traits.comes_once_in) {
            return;
        }
        while world.is_up() {
            let appetite = 1 + self.random.below(500);
            _ = self.converse(world, Until::Taken(appetite)).await;
            Timer::after(Duration::from_micros(self.random.below(10_000) as u64)).await;
        }
    }

    /// Takes what is missing. Gives up when nothing has come for so long.
    pub(crate) async fn take_all(&mut self, world: &World, patience: Duration) {
        self.converse(world, Until::HasAll { patience }).await.expect("the broker lives");
    }

    /// Connects once more, to see whether anything comes that should not.
    pub(crate) async fn visit(&mut self, world: &World) {
        self.converse(world, Until::Pinged).await.expect("the broker lives");
    }

    async fn converse(&mut self, world: &World, until: Until) -> Result<(), Gone> {
        let Traits { version, client_id, receive_maximum, .. } = self.traits;
        let (mut connection, session_present) =
            Connection::resume(world.address, version, client_id, receive_maximum).await?;
        self.resume(session_present, world);
        if !self.is_subscribed {
            connection.out.put(&self.wish());
        }
        // What has come in one piece with CONNACK.
        let mut seen = Seen::default();
        connection.take(|packet, out| self.handle(packet, out, &mut seen, world));
        if matches!(until, Until::Pinged) {
            connection.out.put(&Packet::Pingreq);
        }
        let is_slow = self.random.once_in(4);
        let leaves_politely = !matches!(until, Until::Taken(_)) || self.random.once_in(2);
        let mut heard = Instant::now();
        loop {
            let is_over = match until {
                Until::Taken(count) => seen.messages >= count,
                Until::HasAll { patience } => {
                    let has_all = world.ledger.borrow().has_all(self.receiver) && self.received.is_empty();
                    has_all || heard.elapsed() > patience
                }
                Until::Pinged => seen.pingresp && self.is_subscribed,
            };
            if is_over && !leaves_politely {
                // Whatever is still in `out` was not said.
                return Ok(());
            }
            connection.flush().await?;
            if is_over {
                connection.out.put(&Packet::Disconnect(Disconnect::default()));
                return connection.flush().await;
            }
            let comes = or(async { connection.fill().await.map(|()| true) }, async {
                // Whoever shares its subscription may have what is missing.
                Timer::after(Duration::from_millis(10)).await;
                Ok(false)
            });
            if comes.await? {
                heard = Instant::now();
                connection.take(|packet, out| self.handle(packet, out, &mut seen, world));
            }
            if is_slow {
                Timer::after(Duration::from_millis(2)).await;
            }
            yield_now().await;
        }
    }

    /// [MQTT-3.2.2-5]
    fn resume(&mut self, session_present: bool, world: &World) {
        if !session_present {
            if self.has_session {
                world.ledger.borrow_mut().tally.sessions_lost += 1;
                world.note_of(self.name, None, "found its session gone", 0);
            }
            self.is_subscribed = false;
            self.received.clear();
        }
        self.has_session = true;
    }

    fn wish(&self) -> Packet<'static> {
        let options = SubscribeOptions {
            qos: self.traits.qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::DoNotSend,
        };
        let filter = Filter::new(self.traits.filter).unwrap();
        Packet::Subscribe(Subscribe::new(PacketId::MIN, vec![(filter, options)]))
    }

    fn handle(&mut self, packet: &Packet<'_>, out: &mut Out, seen: &mut Seen, world: &World) {
        match packet {
            Packet::Suback(suback) => {
                assert_eq!(*suback.codes, [SubscribeCode::Granted(self.traits.qos)]);
                self.is_subscribed = true;
            }
            Packet::Publish(publish) => {
                seen.messages += 1;
                self.handle_publish(publish, out, world);
            }
            Packet::Pubrel(Ack { packet_id, .. }) => {
                // Without the message: the broker had not heard that it was through with it.
                if let Some(number) = self.received.remove(packet_id) {
                    world.note_of(self.name, Some(number), "has PUBREL", packet_id.get());
                }
                out.put(&Packet::Pubcomp(Ack::new(*packet_id)));
            }
            Packet::Pingresp => seen.pingresp = true,
            other => panic!("{other:?} for a subscriber"),
        }
    }

    fn handle_publish(&mut self, publish: &Publish<'_>, out: &mut Out, world: &World) {
        let (number, _) = publish.payload.split_first_chunk().expect("a number in the payload");
        let number = Number::from_be_bytes(*number);
        let message = world.ledger.borrow().message(number);
        assert_eq!(publish.topic.unwrap().as_str(), message.topic(), "of message {number}");
        assert_eq!(publish.payload, message.payload(number), "of message {number}");
        assert_eq!(publish.delivery.qos(), message.qos.min(self.traits.qos), "of message {number}");
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(packet_id) => {
                world.ledger.borrow_mut().delivered(self.receiver, self.name, number, packet_id.get());
                out.put(&Packet::Puback(Ack::new(packet_id)));
            }
            Delivery::ExactlyOnce(packet_id) => {
                match self.received.get(&packet_id) {
                    // [MQTT-4.3.3-10]: no new message, whatever is in it.
                    Some(first) => {
                        let what = if *first == number { "knows it already" } else { "takes it for another" };
                        world.note_of(self.name, Some(number), what, packet_id.get());
                    }
                    None => {
                        self.received.insert(packet_id, number);
                        world.ledger.borrow_mut().delivered(
                            self.receiver,
                            self.name,
                            number,
                            packet_id.get(),
                        );
                    }
                }
                out.put(&Packet::Pubrec(Ack::new(packet_id)));
            }
        }
    }
}

/// On one connection.
#[derive(Default)]
struct Seen {
    messages: usize,
    pingresp: bool,
}
