//! A client that leaves a will, and mostly dies: with the broker, or before. The will is a message like those of the
//! publishers: once CONNACK came, everybody must get it.

use std::time::Duration;

use smol::Timer;
use sol::codec::{Connect, Disconnect, Packet, Properties, PropertiesBuf, Property, QoS, Version, Will};
use sol::topic::Name;

use crate::connection::{Connection, Gone};
use crate::ledger::Message;
use crate::random::Random;
use crate::world::World;

pub(crate) struct Testator {
    /// Among the publishers.
    index: u8,
    /// In the history.
    name: usize,
    client_id: String,
    version: Version,
    random: Random,
}

impl Testator {
    pub(crate) fn new(world: &World, index: u8, version: Version, random: Random) -> Self {
        let client_id = format!("testator {index}");
        let name = world.ledger.borrow_mut().name(&client_id);
        Self { index, name, client_id, version, random }
    }

    /// Connects and dies until the broker is killed.
    pub(crate) async fn die_until_killed(&mut self, world: &World) {
        while world.is_up() {
            _ = self.converse(world).await;
            Timer::after(Duration::from_micros(self.random.below(10_000) as u64)).await;
        }
    }

    async fn converse(&mut self, world: &World) -> Result<(), Gone> {
        let qos = *self.random.pick(&[QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let message = Message { publisher: self.index, topic: 0, qos, repeats: 20, is_acknowledged: false };
        let number = world.ledger.borrow_mut().publish(message);
        let (topic, payload) = (message.topic(), message.payload(number));
        let mut properties = PropertiesBuf::new();
        if self.version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        }
        let connect = Connect {
            version: self.version,
            clean_session: false,
            will: Some(Will {
                topic: Name::new(&topic).unwrap(),
                payload: &payload,
                qos,
                retain: false,
                properties: Properties::EMPTY,
            }),
            properties: properties.as_properties(),
            ..crate::common::connect(&self.client_id)
        };
        world.note_of(self.name, Some(number), "connects with it as its will", 0);
        let (mut connection, _) = Connection::open(world.address, connect).await?;
        if self.random.once_in(4) {
            // [MQTT-3.14.4-3]: if the broker hears of it in time.
            connection.out.put(&Packet::Disconnect(Disconnect::default()));
            return connection.flush().await;
        }
        world.ledger.borrow_mut().acknowledged(number);
        world.note_of(self.name, Some(number), "has CONNACK", 0);
        if self.random.once_in(2) {
            return Ok(());
        }
        // Nothing comes but the end.
        connection.fill().await
    }
}
