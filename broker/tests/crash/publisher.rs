//! A publisher that keeps its side of the session: what is not acknowledged is sent again, under the same packet
//! identifier, on the next connection.

use std::collections::VecDeque;
use std::time::Duration;

use smol::Timer;
use smol::future::yield_now;
use sol::codec::{Ack, Delivery, Disconnect, Packet, PacketId, Publish, QoS, Version};
use sol::topic::Name;

use crate::connection::{Connection, Gone, Out};
use crate::ledger::{Message, Number};
use crate::random::Random;
use crate::world::World;

/// Messages that a publisher has not had the last acknowledgement of; mosquitto takes 20.
pub(crate) const WINDOW: usize = 16;
/// Up to 60 kB.
const LARGE: usize = 15_000;
const TOPICS: usize = 4;
const RETAINED_TOPICS: usize = 3;

/// What tells one from the other.
pub(crate) type Kind = (Version, &'static [QoS]);

pub(crate) struct Publisher {
    index: u8,
    /// In the history.
    name: usize,
    client_id: String,
    version: Version,
    /// What it publishes at.
    qos: &'static [QoS],
    random: Random,
    /// It was told of a session.
    has_session: bool,
    /// In the order in which they were published.
    flight: VecDeque<InFlight>,
}

struct InFlight {
    packet_id: PacketId,
    qos: QoS,
    cargo: Cargo,
    /// PUBREC came: PUBREL is what is sent again.
    is_released: bool,
}

#[derive(Clone)]
enum Cargo {
    Message(Number),
    Retained { topic: String, number: usize },
}

impl Publisher {
    pub(crate) fn new(world: &World, index: u8, (version, qos): Kind, random: Random) -> Self {
        let client_id = format!("publisher {index}");
        let name = world.ledger.borrow_mut().name(&client_id);
        Self { index, name, client_id, version, qos, random, has_session: false, flight: VecDeque::new() }
    }

    /// Publishes, leaves and comes back until the broker is killed.
    pub(crate) async fn publish_until_killed(&mut self, world: &World) {
        while world.is_up() {
            let budget = self.random.below(400);
            // The broker was killed, or the client left; it goes on either way.
            _ = self.converse(world, budget).await;
            Timer::after(Duration::from_micros(self.random.below(3000) as u64)).await;
        }
    }

    /// Has all acknowledged that is not.
    pub(crate) async fn finish(&mut self, world: &World) {
        self.converse(world, 0).await.expect("the broker lives");
        assert!(self.flight.is_empty());
    }

    /// One connection, for so many new messages.
    async fn converse(&mut self, world: &World, mut budget: usize) -> Result<(), Gone> {
        let (mut connection, session_present) =
            Connection::resume(world.address, self.version, &self.client_id, None).await?;
        let stays_to_the_end = budget == 0 || self.random.once_in(2);
        self.resume(session_present, &mut connection.out, world);
        loop {
            while budget > 0 && self.flight.len() < WINDOW {
                self.publish(&mut connection.out, world);
                budget -= 1;
            }
            connection.flush().await?;
            if budget == 0 && self.flight.is_empty() {
                connection.out.put(&Packet::Disconnect(Disconnect::default()));
                return connection.flush().await;
            }
            if budget == 0 && !stays_to_the_end {
                return Ok(());
            }
            connection.fill().await?;
            connection.take(|packet, out| self.handle(packet, out, world));
            yield_now().await;
        }
    }

    /// [MQTT-4.4.0-1] [MQTT-4.6.0-1]
    fn resume(&mut self, session_present: bool, out: &mut Out, world: &World) {
        if !session_present {
            if self.has_session {
                world.ledger.borrow_mut().tally.sessions_lost += 1;
                world.note_of(self.name, None, "found its session gone", 0);
            }
            // The state on this side ends with that on the other. What was not acknowledged was not promised.
            self.flight.clear();
        }
        self.has_session = true;
        for in_flight in &self.flight {
            if in_flight.is_released {
                in_flight.note(world, self.name, "sent PUBREL again");
                out.put(&Packet::Pubrel(Ack::new(in_flight.packet_id)));
            } else {
                in_flight.note(world, self.name, "published it again");
                in_flight.send(out, world, true);
            }
        }
    }

    fn publish(&mut self, out: &mut Out, world: &World) {
        let cargo = if self.random.once_in(10) {
            let topic = format!("r/{}/{}", self.index, self.random.below(RETAINED_TOPICS));
            let number = world.retained.borrow_mut().publish(&topic, world.round());
            Cargo::Retained { topic, number }
        } else {
            // Some are large, so that the store needs more than one file.
            let repeats = if self.random.once_in(10) { LARGE } else { 20 };
            Cargo::Message(world.ledger.borrow_mut().publish(Message {
                publisher: self.index,
                topic: self.random.below(TOPICS) as u8,
                qos: *self.random.pick(self.qos),
                repeats: 1 + self.random.below(repeats) as u16,
                is_acknowledged: false,
            }))
        };
        let qos = match &cargo {
            Cargo::Message(number) => world.ledger.borrow().message(*number).qos,
            // One for all of a topic, so that their order is certain.
            Cargo::Retained { .. } if self.index.is_multiple_of(2) => QoS::AtLeastOnce,
            Cargo::Retained { .. } => QoS::ExactlyOnce,
        };
        // The lowest that is free: the same ones come again soon, and what the broker should have forgotten shows.
        let is_free = |id: &PacketId| self.flight.iter().all(|in_flight| in_flight.packet_id != *id);
        let packet_id = (1..).filter_map(PacketId::new).find(is_free).unwrap();
        let in_flight = InFlight { packet_id, qos, cargo, is_released: false };
        in_flight.note(world, self.name, "published it");
        in_flight.send(out, world, false);
        self.flight.push_back(in_flight);
    }

    fn handle(&mut self, packet: &Packet<'_>, out: &mut Out, world: &World) {
        let (Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack)) = packet else {
            panic!("{packet:?} for a publisher");
        };
        let at = self.flight.iter().position(|in_flight| in_flight.packet_id == ack.packet_id);
        let Some(at) = at else { panic!("{packet:?} answers nothing of {}", self.client_id) };
        let in_flight = &mut self.flight[at];
        // PUBCOMP may say that PUBREL came for nothing: it did before the kill.
        if ack.reason.is_error() && !matches!(packet, Packet::Pubcomp(_)) {
            in_flight.note(world, self.name, "was refused it");
            world.ledger.borrow_mut().tally.refused += 1;
            self.flight.remove(at);
            return;
        }
        match (packet, in_flight.qos, in_flight.is_released) {
            (Packet::Puback(_), QoS::AtLeastOnce, _) => {
                let in_flight = self.flight.remove(at).unwrap();
                in_flight.acknowledged(world, self.name, "has PUBACK");
            }
            (Packet::Pubrec(_), QoS::ExactlyOnce, _) => {
                in_flight.is_released = true;
                out.put(&Packet::Pubrel(Ack::new(ack.packet_id)));
                in_flight.acknowledged(world, self.name, "has PUBREC");
            }
            (Packet::Pubcomp(_), QoS::ExactlyOnce, true) => {
                in_flight.note(world, self.name, "has PUBCOMP");
                self.flight.remove(at);
            }
            _ => panic!("{packet:?} is no answer of {}", self.client_id),
        }
    }
}

impl InFlight {
    fn send(&self, out: &mut Out, world: &World, dup: bool) {
        let (topic, payload, retain) = match &self.cargo {
            Cargo::Message(number) => {
                let message = world.ledger.borrow().message(*number);
                (message.topic(), message.payload(*number), false)
            }
            Cargo::Retained { topic, number } => {
                (topic.clone(), world.retained.borrow().payload(topic, *number), true)
            }
        };
        let delivery = match self.qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce(self.packet_id),
            _ => Delivery::AtLeastOnce(self.packet_id),
        };
        let publish = Publish::new(Name::new(&topic).unwrap(), delivery, &payload);
        out.put(&Packet::Publish(Publish { dup, retain, ..publish }));
    }

    fn acknowledged(&self, world: &World, who: usize, what: &'static str) {
        match &self.cargo {
            Cargo::Message(number) => world.ledger.borrow_mut().acknowledged(*number),
            Cargo::Retained { topic, number } => {
                world.retained.borrow_mut().acknowledged(topic, *number, world.round())
            }
        }
        self.note(world, who, what);
        world.count_acknowledgement();
    }

    fn note(&self, world: &World, who: usize, what: &'static str) {
        if let Cargo::Message(number) = self.cargo {
            world.note_of(who, Some(number), what, self.packet_id.get());
        }
    }
}
