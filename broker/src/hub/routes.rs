//! Who gets a message of a given topic: one entry a client, overlapping subscriptions merged; and the shared
//! subscriptions, each of which is a delivery of its own.
//!
//! Who may not read the topic has no entry: that is asked once a topic, and not for each message.

use std::collections::HashMap;
use std::sync::Arc;

use super::subscriptions::{Options, Subscriber, Subscription, SubscriptionIndex};
use super::{Client, ClientKey};
use crate::codec::QoS;
use crate::session::{Manner, Note, ShareKey, Tally};
use crate::topic::Name;

/// Memory for what is remembered, in bytes; one topic may exceed it alone.
const MAX_BYTES: usize = 4 << 20;
/// What a remembered topic costs beside its name and routes, in bytes.
const ENTRY_BYTES: usize = 96;

/// Where the messages of a topic go.
#[derive(Default)]
pub(super) struct Found {
    /// To clients that ask for a QoS and nothing else.
    pub(super) plain: Box<[Route]>,
    /// To clients that ask for more.
    pub(super) special: Box<[SpecialRoute]>,
    /// To one member each.
    pub(super) shared: Box<[ShareKey]>,
}

/// A client that gets the message, and the highest QoS of its matching subscriptions [MQTT-3.3.5-1]
/// [5.0 MQTT-3.3.4-2].
pub(super) struct Route {
    pub(super) client: Arc<Client>,
    pub(super) qos: QoS,
}

/// A client with subscription options or identifiers.
pub(super) struct SpecialRoute {
    pub(super) client: Arc<Client>,
    others: Wanted,
    /// What it wants of its own messages: less, where there is No Local.
    own: Option<Wanted>,
}

/// What several subscriptions of one client ask for together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    qos: QoS,
    /// Kept if any of them asks: none of those that do may get RETAIN 0 [5.0 MQTT-3.3.1-13], and whoever sees it knows no
    /// less than without.
    retain_as_published: bool,
    /// The identifiers of all, each once [5.0 MQTT-3.3.4-4].
    note: Option<Arc<Note>>,
}

impl SpecialRoute {
    /// How the client gets a message that was published by client `from` at that QoS; none if it does not want it
    /// [5.0 MQTT-3.8.3-3].
    pub(super) fn manner(&self, qos: QoS, retain: bool, from: Option<ClientKey>) -> Option<Manner> {
        let wanted = if from == Some(self.client.key) { self.own.as_ref()? } else { &self.others };
        Some(Manner {
            retain: retain && wanted.retain_as_published,
            note: wanted.note.clone(),
            ..Manner::at(qos.min(wanted.qos))
        })
    }
}

/// Routes found before, good until the index changes. Each thread has one of its own.
#[derive(Default)]
pub(super) struct Routes {
    generation: u64,
    /// Where in `found` a topic's routes stand.
    topics: HashMap<Box<str>, usize, ahash::RandomState>,
    found: Vec<Found>,
    nothing: Found,
    bytes: usize,
}

impl Routes {
    /// The routes for a topic, from memory or from the index.
    pub(super) fn find(&mut self, index: &SubscriptionIndex, topic: Name<'_>, tally: &mut Tally) -> &Found {
        if self.generation != index.generation() {
            self.forget(tally);
            self.generation = index.generation();
        }
        let known = self.topics.get(topic.as_str()).copied();
        let at = known.unwrap_or_else(|| self.remember(topic, search(index, topic), tally));
        self.found.get(at).unwrap_or(&self.nothing)
    }

    fn remember(&mut self, topic: Name<'_>, found: Found, tally: &mut Tally) -> usize {
        let bytes = ENTRY_BYTES + topic.as_str().len() + found.bytes();
        if self.bytes + bytes > MAX_BYTES {
            self.forget(tally);
        }
        self.bytes = tally.charge(self.bytes, self.bytes + bytes);
        let at = self.found.len();
        self.topics.insert(topic.as_str().into(), at);
        self.found.push(found);
        at
    }

    fn forget(&mut self, tally: &mut Tally) {
        self.topics.clear();
        self.found.clear();
        self.bytes = tally.charge(self.bytes, 0);
    }
}

impl Found {
    fn bytes(&self) -> usize {
        let notes = self.special.iter().map(|route| {
            let own = route.own.as_ref().filter(|own| **own != route.others);
            route.others.bytes() + own.map_or(0, Wanted::bytes)
        });
        size_of_val(self.plain.as_ref())
            + size_of_val(self.special.as_ref())
            + size_of_val(self.shared.as_ref())
            + notes.sum::<usize>()
    }
}

impl Wanted {
    /// None if there is nobody to ask.
    fn of(subscriptions: impl Iterator<Item = Options> + Clone) -> Option<Self> {
        let qos = subscriptions.clone().map(|options| options.qos).max()?;
        let retain_as_published = subscriptions.clone().any(|options| options.retain_as_published);
        let mut identifiers: Vec<_> = subscriptions.filter_map(|options| options.identifier).collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        let note = (!identifiers.is_empty())
            .then(|| Arc::new(Note { subscription_ids: identifiers.into_boxed_slice(), share: None }));
        Some(Self { qos, retain_as_published, note })
    }

    fn bytes(&self) -> usize {
        self.note.as_ref().map_or(0, |note| note.bytes())
    }
}

fn search(index: &SubscriptionIndex, topic: Name<'_>) -> Found {
    let (mut clients, mut shared) = (Vec::new(), Vec::new());
    index.visit(topic, |key, subscriber| match subscriber {
        Subscriber::Client(subscription) => clients.push((key, subscription)),
        Subscriber::Group => shared.push(key),
    });
    // One delivery a client.
    clients.sort_unstable_by_key(|(key, _)| *key);
    let (mut plain, mut special) = (Vec::new(), Vec::new());
    for subscriptions in clients.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((_, Subscription { client, .. })) = subscriptions.first() else { continue };
        if !client.may_read(topic) {
            continue;
        }
        let options = subscriptions.iter().map(|(_, subscription)| subscription.options);
        let client = Arc::clone(client);
        let Some(others) = Wanted::of(options.clone()) else { continue };
        if options.clone().all(Options::is_plain) {
            plain.push(Route { client, qos: others.qos });
            continue;
        }
        let own = if options.clone().any(|options| options.no_local) {
            Wanted::of(options.filter(|options| !options.no_local))
        } else {
            Some(others.clone())
        };
        special.push(SpecialRoute { client, others, own });
    }
    Found { plain: plain.into(), special: special.into(), shared: shared.into() }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::num::NonZeroU32;

    use proptest::bool::weighted;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::hub::subscriptions::tests::client;
    use crate::topic::Filter;

    const FILTERS: [&str; 6] = ["a/b", "a/+", "a/#", "+/b", "#", "c"];
    const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

    fn options() -> impl Strategy<Value = Options> {
        let identifier = option::weighted(0.4, (1..4_u32).prop_map(|n| NonZeroU32::new(n).unwrap()));
        (select(&QOS[..]), weighted(0.3), weighted(0.3), identifier).prop_map(
            |(qos, no_local, retain_as_published, identifier)| Options {
                qos,
                no_local,
                retain_as_published,
                identifier,
            },
        )
    }

    /// What a client gets of a message: QoS, RETAIN, identifiers.
    type Got = (QoS, bool, BTreeSet<NonZeroU32>);

    proptest! {
        #[test]
        fn each_client_gets_what_its_subscriptions_ask_for_together(
            subscriptions in vec((0..3_usize, select(&FILTERS[..]), options()), 0..12),
            removed in vec((0..3_usize, select(&FILTERS[..])), 0..4),
            topic in select(&["a/b", "c"][..]),
            (qos, retain, from) in (select(&QOS[..]), any::<bool>(), option::of(0..3_usize)),
        ) {
            let clients = [1, 2, 3].map(client);
            let mut index = SubscriptionIndex::default();
            let mut model = BTreeMap::new();
            for (who, filter, options) in subscriptions {
                index.insert(Filter::new(filter).unwrap(), &clients[who], options);
                model.insert((who, filter), options);
            }
            for (who, filter) in removed {
                index.remove(Filter::new(filter).unwrap(), clients[who].key);
                model.remove(&(who, filter));
            }
            let name = Name::new(topic).unwrap();

            let mut expected = BTreeMap::<u64, Got>::new();
            for ((who, filter), options) in model {
                if Filter::new(filter).unwrap().matches(name) && !(options.no_local && from == Some(who)) {
                    let nothing = (QoS::AtMostOnce, false, BTreeSet::new());
                    let got = expected.entry(clients[who].key).or_insert(nothing);
                    got.0 = got.0.max(options.qos.min(qos));
                    got.1 |= options.retain_as_published && retain;
                    got.2.extend(options.identifier);
                }
            }

            let (mut routes, mut tally) = (Routes::default(), Tally::default());
            let found = routes.find(&index, name, &mut tally);
            let mut got = BTreeMap::<u64, Got>::new();
            for route in &found.plain {
                let is_first = got.insert(route.client.key, (qos.min(route.qos), false, BTreeSet::new())).is_none();
                prop_assert!(is_first);
            }
            let from = from.map(|who| clients[who].key);
            for route in &found.special {
                let Some(Manner { qos, retain, note, .. }) = route.manner(qos, retain, from) else { continue };
                let identifiers = note.map_or_else(Vec::new, |note| note.subscription_ids.to_vec());
                let distinct: BTreeSet<_> = identifiers.iter().copied().collect();
                prop_assert_eq!(distinct.len(), identifiers.len(), "each once");
                prop_assert!(got.insert(route.client.key, (qos, retain, distinct)).is_none());
            }
            prop_assert_eq!(got, expected);

            let bytes = tally.memory;
            prop_assert!(bytes > 0);
            routes.forget(&mut tally);
            prop_assert_eq!(tally.memory, 0);
        }
    }

    #[test]
    fn what_is_remembered_ends_with_a_change() {
        let (one, mut index) = (client(1), SubscriptionIndex::default());
        let (mut routes, mut tally) = (Routes::default(), Tally::default());
        let topic = Name::new("a").unwrap();
        let options = Options {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: NonZeroU32::new(7),
        };
        let mut special = |index: &SubscriptionIndex| routes.find(index, topic, &mut tally).special.len();
        assert_eq!(special(&index), 0);
        index.insert(Filter::new("a").unwrap(), &one, options);
        assert_eq!(special(&index), 1);
        index.insert(Filter::new("a").unwrap(), &one, Options { identifier: None, ..options });
        assert_eq!(special(&index), 0);
    }
}
