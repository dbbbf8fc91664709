//! A client that changes its mind: it begins its session anew, subscribes and unsubscribes. Whatever was answered still
//! holds after a kill, and what ended does not come back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::or;
use sol::codec::{
    Ack, Connect, Delivery, Disconnect, Packet, PacketId, PropertiesBuf, Property, Publish, QoS, Subscribe,
    Unsubscribe, Version,
};
use sol::topic::{Filter, Name};

use crate::connection::{Connection, Gone};
use crate::random::Random;
use crate::world::World;

/// Longer than an answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Fickle {
    client_id: &'static str,
    /// Of what it is subscribed to or not.
    topic: String,
    version: Version,
    random: Random,
    /// Whether it has a session, and a subscription in it; none while that hangs on an answer that did not come.
    has_session: Option<bool>,
    is_subscribed: Option<bool>,
    /// The number in the last message it sent to itself.
    number: u32,
    /// What it knows that happened, the last at the end.
    history: VecDeque<String>,
}

/// What came on one connection.
#[derive(Default)]
struct Seen {
    answers: usize,
    numbers: Vec<u32>,
}

impl Fickle {
    pub(crate) fn new(client_id: &'static str, version: Version, random: Random) -> Self {
        let topic = format!("x/{client_id}");
        let (has_session, is_subscribed) = (Some(false), Some(false));
        let history = VecDeque::new();
        Self { client_id, topic, version, random, has_session, is_subscribed, number: 0, history }
    }

    /// Changes its mind until the broker is killed.
    pub(crate) async fn change_until_killed(&mut self, world: &World) {
        while world.is_up() {
            let ended = if self.converse(world).await.is_ok() { "left" } else { "was cut off" };
            self.note(world, ended.into());
            Timer::after(Duration::from_micros(self.random.below(20_000) as u64)).await;
        }
    }

    async fn converse(&mut self, world: &World) -> Result<(), Gone> {
        let is_clean = self.random.once_in(4);
        let mut connection = self.connect(world, is_clean).await?;
        if is_clean && self.version != Version::V5 {
            // The session ends with the connection.
            return self.leave(&mut connection).await;
        }
        self.check_subscription(world, &mut connection).await?;
        self.change_subscription(world, &mut connection).await?;
        self.leave(&mut connection).await
    }

    async fn connect(&mut self, world: &World, is_clean: bool) -> Result<Connection, Gone> {
        let mut properties = PropertiesBuf::new();
        if self.version == Version::V5 {
            properties.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        }
        let connect = Connect {
            version: self.version,
            clean_session: is_clean,
            properties: properties.as_properties(),
            ..crate::common::connect(self.client_id)
        };
        let had_session = self.has_session.take();
        let mut was_subscribed = self.is_subscribed;
        if is_clean {
            self.is_subscribed = None;
        }
        let opened = Connection::open(world.address, connect).await;
        if opened.is_err() && (had_session == Some(true) && !is_clean) {
            // Nothing was to change.
            self.has_session = had_session;
        }
        let (connection, session_present) = opened?;
        let should = if is_clean { Some(false) } else { had_session };
        let with = if is_clean { "clean session" } else { "no clean session" };
        self.note(world, format!("connected with {with}: session present is {session_present}"));
        if should.is_some_and(|should| should != session_present) {
            self.problem(world, "the session");
            was_subscribed = None;
        }
        self.has_session = Some(!is_clean || self.version == Version::V5);
        self.is_subscribed = if session_present { was_subscribed } else { Some(false) };
        Ok(connection)
    }

    /// Sends itself a message, which must come or must not.
    async fn check_subscription(&mut self, world: &World, connection: &mut Connection) -> Result<(), Gone> {
        let Some(is_subscribed) = self.is_subscribed else { return Ok(()) };
        self.number += 1;
        let payload = self.number.to_be_bytes();
        let delivery = Delivery::AtLeastOnce(PacketId::MIN);
        let publish = Publish::new(Name::new(&self.topic).unwrap(), delivery, &payload);
        connection.out.put(&Packet::Publish(publish));
        connection.out.put(&Packet::Pingreq);
        let number = self.number;
        let mut seen = Seen::default();
        let comes = |seen: &Seen| seen.answers >= 2 && (!is_subscribed || seen.numbers.contains(&number));
        let is_over = read_until(connection, &mut seen, comes).await?;
        self.note(
            world,
            format!("is subscribed: {is_subscribed}; sent {number}, and {:?} came", seen.numbers),
        );
        if !is_over || !is_subscribed && seen.numbers.contains(&number) {
            self.problem(world, "the subscription");
        }
        Ok(())
    }

    async fn change_subscription(&mut self, world: &World, connection: &mut Connection) -> Result<(), Gone> {
        let is_subscribed = self.random.once_in(2);
        let filter = Filter::new(&self.topic).unwrap();
        let packet = if is_subscribed {
            Packet::Subscribe(Subscribe::new(PacketId::MIN, vec![(filter, QoS::AtLeastOnce)]))
        } else {
            Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, vec![filter]))
        };
        connection.out.put(&packet);
        self.note(world, format!("sends {:?}", packet.packet_type()));
        if self.is_subscribed != Some(is_subscribed) {
            self.is_subscribed = None;
        }
        if read_until(connection, &mut Seen::default(), |seen| seen.answers > 0).await? {
            self.note(world, "has the answer".into());
            self.is_subscribed = Some(is_subscribed);
        }
        Ok(())
    }

    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        if self.random.once_in(2) {
            connection.out.put(&Packet::Disconnect(Disconnect::default()));
        }
        connection.flush().await
    }
}

impl Fickle {
    fn note(&mut self, world: &World, what: String) {
        let round = world.round();
        self.history.push_back(format!("    round {round}: {what}"));
        if self.history.len() > 20 {
            self.history.pop_front();
        }
    }

    fn problem(&self, world: &World, what: &str) {
        let history: Vec<_> = self.history.iter().map(String::as_str).collect();
        let problem =
            format!("{what} of {} is not what it was told:\n{}", self.client_id, history.join("\n"));
        world.ledger.borrow_mut().wrong_state(problem);
    }
}

/// Whether what is waited for came in time.
async fn read_until(
    connection: &mut Connection,
    seen: &mut Seen,
    is_over: impl Fn(&Seen) -> bool,
) -> Result<bool, Gone> {
    let deadline = Instant::now() + PATIENCE;
    while !is_over(seen) {
        connection.flush().await?;
        let in_time = or(async { connection.fill().await.map(|()| true) }, async {
            Timer::at(deadline).await;
            Ok(false)
        });
        if !in_time.await? {
            return Ok(false);
        }
        connection.take(|packet, out| match packet {
            Packet::Publish(publish) => {
                let Delivery::AtLeastOnce(packet_id) = publish.delivery else { panic!("{publish:?}") };
                seen.numbers.push(u32::from_be_bytes(publish.payload.try_into().unwrap()));
                out.put(&Packet::Puback(Ack::new(packet_id)));
            }
            Packet::Puback(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                seen.answers += 1
            }
            other => panic!("{other:?}"),
        });
    }
    Ok(true)
}
