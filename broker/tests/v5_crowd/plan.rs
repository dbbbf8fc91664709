//! Who subscribes to what and publishes what: the same in each run of so many clients.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

use sol::codec::{QoS, Version};

use crate::random::Random;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// Each publisher publishes so many messages, to two topics in turn.
const EACH: usize = 10;

pub(crate) struct Plan {
    pub(crate) clients: Vec<Client>,
    pub(crate) topics: Vec<String>,
    /// In the order of their publishers, and of each publisher's sending.
    pub(crate) messages: Vec<Message>,
}

pub(crate) struct Client {
    pub(crate) version: Version,
    /// It has a session, and is away while the others publish.
    pub(crate) is_away: bool,
    /// To different topic filters.
    pub(crate) subscriptions: Vec<Subscription>,
    /// It is a member of one group at most.
    pub(crate) shared: Option<Subscription>,
    /// Those of 5.0 alone say it.
    pub(crate) receive_maximum: Option<NonZeroU16>,
    pub(crate) topic_alias_maximum: u16,
    /// What it publishes of the messages.
    pub(crate) publishes: Range<usize>,
}

impl Client {
    pub(crate) fn all_subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter().chain(&self.shared)
    }
}

pub(crate) struct Subscription {
    /// With share name if it is shared.
    pub(crate) filter: String,
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<NonZeroU32>,
}

pub(crate) struct Message {
    pub(crate) publisher: usize,
    /// The topic's place in the plan.
    pub(crate) topic: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Plan {
    pub(crate) fn new(clients: usize) -> Self {
        let mut random = Random::new(5);
        // The more clients, the more places: what each of them gets stays the same.
        let places = clients.div_ceil(100);
        let topics = (0..places * 16).map(|n| format!("crowd/{}/{}/{}", n / 16, n / 4 % 4, n % 4));
        let groups: Vec<_> = (0..clients.div_ceil(30))
            .map(|n| format!("$share/group-{}/{}", n / 2, filter(&mut random, places)))
            .collect();
        let mut plan = Self { clients: Vec::new(), topics: topics.collect(), messages: Vec::new() };
        for number in 0..clients {
            let version = *random.pick(&VERSIONS);
            let is_away = random.once_in(15);
            let filters: BTreeSet<_> = (0..=random.below(3)).map(|_| filter(&mut random, places)).collect();
            let subscriptions =
                filters.into_iter().map(|filter| subscription(&mut random, version, filter, false)).collect();
            let is_member = !is_away && random.once_in(3);
            let group = is_member.then(|| random.pick(&groups).clone());
            let shared = group.map(|filter| subscription(&mut random, version, filter, true));
            let publishes = plan.messages.len()..;
            if !is_away && random.once_in(EACH) {
                plan.publish(&mut random, number);
            }
            plan.clients.push(Client {
                version,
                is_away,
                subscriptions,
                shared,
                receive_maximum: NonZeroU16::new(random.below(4) as u16).filter(|_| version == Version::V5),
                topic_alias_maximum: random.below(4) as u16,
                publishes: publishes.start..plan.messages.len(),
            });
        }
        plan
    }

    fn publish(&mut self, random: &mut Random, publisher: usize) {
        let topics = [random.below(self.topics.len()), random.below(self.topics.len())];
        self.messages.extend((0..EACH).map(|n| Message {
            publisher,
            topic: topics[n % 2],
            qos: *random.pick(&QOS),
            retain: random.once_in(8),
        }));
    }
}

fn subscription(random: &mut Random, version: Version, filter: String, is_shared: bool) -> Subscription {
    let is_5 = version == Version::V5;
    Subscription {
        filter,
        qos: *random.pick(&QOS),
        // Together with sharing it is a protocol error [5.0 MQTT-3.8.3-4].
        no_local: is_5 && !is_shared && random.once_in(4),
        retain_as_published: is_5 && random.once_in(2),
        identifier: NonZeroU32::new(random.below(10) as u32).filter(|_| is_5),
    }
}

fn filter(random: &mut Random, places: usize) -> String {
    let [a, b, c] = [places, 4, 4].map(|end| random.below(end));
    match random.below(20) {
        0 => format!("crowd/{a}/#"),
        1 => format!("crowd/+/{b}/{c}"),
        2..4 => format!("+/{a}/+/{c}"),
        4..6 => format!("crowd/{a}/{b}/#"),
        6..9 => format!("crowd/{a}/{b}/{c}/#"),
        _ => format!("crowd/{a}/{b}/{c}"),
    }
}
