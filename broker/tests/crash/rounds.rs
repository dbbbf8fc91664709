//! A life of a broker in rounds, each of which ends with a kill.

use std::time::Duration;

use smol::{LocalExecutor, Task, Timer};
use sol::codec::{QoS, Version};

use crate::broker::{Broker, Kind};
use crate::fickle::Fickle;
use crate::figures::Fate;
use crate::publisher::{self, Publisher};
use crate::random::Random;
use crate::retained;
use crate::subscriber::{Subscriber, Traits};
use crate::testator::Testator;
use crate::world::World;

use QoS::{AtLeastOnce, ExactlyOnce};
use Version::{V5, V311};

/// All that was acknowledged must have come after so many rounds.
const ROUNDS_TO_CHECK: u32 = 20;
/// How long nothing may come before what is missing is lost: it ends the waiting for what never comes, and hurries
/// nobody who keeps things.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_WITH_THE_FORGETFUL: Duration = Duration::from_millis(500);
/// A round in which little is acknowledged ends nevertheless.
const LONGEST_ROUND: Duration = Duration::from_secs(5);

/// Where all is at one QoS, no acknowledgement waits for one of the other.
const PUBLISHERS: [publisher::Kind; 4] = [
    (V311, &[AtLeastOnce]),
    (V5, &[ExactlyOnce]),
    (V311, &[AtLeastOnce, ExactlyOnce]),
    (V5, &[AtLeastOnce, ExactlyOnce]),
];

const SUBSCRIBER: Traits = Traits {
    client_id: "subscriber",
    version: V311,
    filter: "m/#",
    qos: ExactlyOnce,
    receive_maximum: None,
    comes_once_in: 1,
};

const SUBSCRIBERS: [Traits; 6] = [
    Traits { client_id: "subscriber 1", qos: AtLeastOnce, ..SUBSCRIBER },
    Traits { client_id: "subscriber 2", filter: "m/+/+", ..SUBSCRIBER },
    Traits { client_id: "subscriber 3", version: V5, qos: AtLeastOnce, ..SUBSCRIBER },
    Traits { client_id: "subscriber 4", version: V5, receive_maximum: Some(5), ..SUBSCRIBER },
    Traits { client_id: "rare 5", comes_once_in: 5, ..SUBSCRIBER },
    Traits { client_id: "rare 6", version: V5, qos: AtLeastOnce, comes_once_in: 5, ..SUBSCRIBER },
];

const SHARE: Traits = Traits { version: V5, filter: "$share/pair/m/#", ..SUBSCRIBER };

const SHARERS: [Traits; 2] =
    [Traits { client_id: "sharer 1", ..SHARE }, Traits { client_id: "sharer 2", comes_once_in: 2, ..SHARE }];

struct Life {
    kind: Kind,
    world: World,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    fickle: [Fickle; 2],
    testators: [Testator; 2],
    random: Random,
    patience: Duration,
}

/// Plays so many rounds.
pub(crate) fn play(kind: Kind, rounds: u32, seed: u64) -> Fate {
    println!("{}: SOL_CRASH={rounds},{seed}", kind.name());
    let mut life = Life::new(kind, seed);
    smol::block_on(async {
        life.begin().await;
        for round in 1..=rounds {
            life.world.ledger.borrow_mut().tally.rounds = round;
            life.round().await;
            if round.is_multiple_of(ROUNDS_TO_CHECK) || round == rounds {
                life.check().await;
            }
        }
    });
    let Life { world, .. } = life;
    let ledger = world.ledger.into_inner();
    Fate { kind, seed, tally: ledger.tally, problems: ledger.problems }
}

impl Life {
    fn new(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let world = World::new(Broker::new(kind));
        let publishers = PUBLISHERS.iter().enumerate();
        let publishers = publishers
            .map(|(index, kind)| Publisher::new(&world, index as u8, *kind, Random::new(random.bits())))
            .collect();
        let mut subscribers = Vec::new();
        for traits in SUBSCRIBERS {
            let receiver = world.ledger.borrow_mut().receiver(traits.client_id, traits.qos, false);
            subscribers.push(Subscriber::new(&world, traits, receiver, Random::new(random.bits())));
        }
        let receiver = world.ledger.borrow_mut().receiver("either sharer", SHARE.qos, true);
        for traits in SHARERS {
            subscribers.push(Subscriber::new(&world, traits, receiver, Random::new(random.bits())));
        }
        let fickle = [("fickle of 3.1.1", V311), ("fickle of 5.0", V5)];
        let fickle =
            fickle.map(|(client_id, version)| Fickle::new(client_id, version, Random::new(random.bits())));
        let testators = [(PUBLISHERS.len() as u8, V311), (PUBLISHERS.len() as u8 + 1, V5)];
        let testators = testators
            .map(|(index, version)| Testator::new(&world, index, version, Random::new(random.bits())));
        let patience = if kind.promises_durability() { PATIENCE } else { PATIENCE_WITH_THE_FORGETFUL };
        Self { kind, world, publishers, subscribers, fickle, testators, random, patience }
    }

    /// All are subscribed before anything is published.
    async fn begin(&mut self) {
        self.world.start();
        for subscriber in &mut self.subscribers {
            subscriber.subscribe(&self.world).await;
        }
        self.world.kill();
    }

    async fn round(&mut self) {
        if self.random.once_in(5) {
            let after = Duration::from_micros(self.random.below(20_000) as u64);
            self.world.start_and_kill(after).await;
        }
        self.world.start();
        retained::check(&self.world).await.expect("the broker lives");
        let (longest, most) = self.kind.longest_round();
        let kill_after = if self.random.once_in(2) {
            self.world.kill_after_acknowledgements(1 + self.random.below(most));
            LONGEST_ROUND
        } else {
            Duration::from_micros(self.random.below(longest.as_micros() as usize) as u64)
        };
        let world = &self.world;
        let executor = LocalExecutor::new();
        let mut clients = Vec::new();
        for publisher in &mut self.publishers {
            clients.push(executor.spawn(publisher.publish_until_killed(world)));
        }
        for subscriber in &mut self.subscribers {
            clients.push(executor.spawn(subscriber.take_until_killed(world)));
        }
        for fickle in &mut self.fickle {
            clients.push(executor.spawn(fickle.change_until_killed(world)));
        }
        for testator in &mut self.testators {
            clients.push(executor.spawn(testator.die_until_killed(world)));
        }
        let axe = executor.spawn(async {
            Timer::after(kill_after).await;
            if world.is_up() {
                world.kill();
            }
        });
        executor.run(all(clients)).await;
        drop(axe);
    }

    /// All that was acknowledged has come, and it does not come again after one more kill.
    async fn check(&mut self) {
        self.world.start();
        for publisher in &mut self.publishers {
            publisher.finish(&self.world).await;
        }
        {
            let (world, patience) = (&self.world, self.patience);
            let executor = LocalExecutor::new();
            let subscribers = self.subscribers.iter_mut();
            let clients = subscribers.map(|subscriber| executor.spawn(subscriber.take_all(world, patience)));
            executor.run(all(clients.collect())).await;
        }
        self.world.kill();
        self.world.start();
        for subscriber in &mut self.subscribers {
            subscriber.visit(&self.world).await;
        }
        retained::check(&self.world).await.expect("the broker lives");
        self.world.ledger.borrow_mut().check();
        self.world.kill();
    }
}

/// Waits for each.
async fn all(clients: Vec<Task<()>>) {
    for client in clients {
        client.await;
    }
}
