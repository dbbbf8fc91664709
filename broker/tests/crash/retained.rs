//! Messages that are retained, and whether the broker has the last of each topic.

use std::collections::HashMap;
use std::fmt;

use sol::codec::{Connect, Packet, PacketId, QoS, Subscribe};
use sol::topic::Filter;

use crate::connection::{Connection, Gone};
use crate::world::World;

/// What a topic was told to retain, one after the other.
#[derive(Default)]
struct Topic {
    told: Vec<Told>,
    /// So many of them are acknowledged.
    acknowledged: usize,
}

struct Told {
    /// None: nothing any more.
    value: Option<u32>,
    /// When it was published, and acknowledged.
    published_in_round: u32,
    acknowledged_in_round: Option<u32>,
}

/// By topic. Each has one publisher.
#[derive(Default)]
pub(crate) struct Retained(HashMap<String, Topic>);

impl Retained {
    /// The next thing to retain for a topic, where a multiple of eight is nothing: gives its number.
    pub(crate) fn publish(&mut self, topic: &str, round: u32) -> usize {
        let topic = self.0.entry(topic.to_owned()).or_default();
        let number = topic.told.len() as u32 + 1;
        let value = (!number.is_multiple_of(8)).then_some(number);
        topic.told.push(Told { value, published_in_round: round, acknowledged_in_round: None });
        topic.told.len()
    }

    /// What is sent for it.
    pub(crate) fn payload(&self, topic: &str, number: usize) -> Vec<u8> {
        payload(self.0[topic].told[number - 1].value)
    }

    pub(crate) fn acknowledged(&mut self, topic: &str, number: usize, round: u32) {
        let topic = self.0.get_mut(topic).unwrap();
        topic.told[number - 1].acknowledged_in_round = Some(round);
        topic.acknowledged = topic.acknowledged.max(number);
    }

    /// Topics that have not what they were told last, or later without an acknowledgement; in words. It is not said again
    /// of what they were told until then.
    fn check(&mut self, found: &HashMap<String, Vec<u8>>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, topic) in &mut self.0 {
            let value = found.get(name).map(Vec::as_slice);
            let last = &topic.told[topic.acknowledged.saturating_sub(1)..];
            let is_one = |told: &Told| told.value.map(|number| payload(Some(number))).as_deref() == value;
            let is_untold = topic.acknowledged == 0 && value.is_none();
            if !is_untold && !last.iter().any(is_one) {
                let value = value.map(String::from_utf8_lossy);
                let before = &topic.told[topic.acknowledged.saturating_sub(3)..];
                let before: Vec<_> = before.iter().map(Told::to_string).collect();
                wrong.push(format!("{name} retains {value:?}, and was told last:\n{}", before.join("\n")));
                topic.acknowledged = 0;
            }
        }
        wrong
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, published_in_round, acknowledged_in_round } = self;
        write!(f, "    {value:?}, published in round {published_in_round}, ")?;
        match acknowledged_in_round {
            Some(round) => write!(f, "acknowledged in round {round}"),
            None => write!(f, "not acknowledged"),
        }
    }
}

fn payload(value: Option<u32>) -> Vec<u8> {
    value.map(|number| number.to_string().into_bytes()).unwrap_or_default()
}

/// Looks at all retained messages, as a new client finds them. Nobody may publish meanwhile.
pub(crate) async fn check(world: &World) -> Result<(), Gone> {
    let connect: Connect<'_> = crate::common::connect("looks at what is retained");
    let (mut connection, _) = Connection::open(world.address, connect).await?;
    let filter = Filter::new("r/#").unwrap();
    let subscribe = Subscribe::new(PacketId::MIN, vec![(filter, QoS::AtMostOnce)]);
    connection.out.put(&Packet::Subscribe(subscribe));
    connection.out.put(&Packet::Pingreq);
    connection.flush().await?;
    let mut found = HashMap::new();
    let mut is_over = false;
    while !is_over {
        connection.fill().await?;
        connection.take(|packet, _| match packet {
            Packet::Publish(publish) => {
                found.insert(publish.topic.unwrap().as_str().to_owned(), publish.payload.to_vec());
            }
            packet => is_over |= *packet == Packet::Pingresp,
        });
    }
    let wrong = world.retained.borrow_mut().check(&found);
    let mut ledger = world.ledger.borrow_mut();
    ledger.tally.retained_lost += wrong.len() as u32;
    wrong.into_iter().for_each(|wrong| ledger.problem(wrong, None));
    Ok(())
}
