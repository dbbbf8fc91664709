//! Who gets a message of a given topic: one entry a client, overlapping subscriptions merged; and the shared
//! subscriptions, each of which is a delivery of its own.
//!
//! Who may not read the topic has no entry: that is asked once a topic, and not for each message.

use std::sync::Arc;

use fastrand::Rng;
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::subscriptions::{Options, Subscriber, Subscription, SubscriptionIndex};
use super::{Client, ClientKey};
use crate::codec::QoS;
use crate::session::{Manner, Note, ShareKey, Tally};
use crate::topic::Name;

/// Memory for what is remembered, in bytes; one topic may exceed it alone.
const MAX_BYTES: usize = 4 << 20;
/// What a remembered topic costs beside its name and routes, in bytes.
const ENTRY_BYTES: usize = 112;
/// When that is full, one topic in so many that are not known takes the place of others: those that come often get one
/// soon, and of more topics than there are places a share stays known whatever their order.
const ONE_IN: usize = 16;
/// Routes of at least so many bytes always do: finding them costs more than making room for them.
const LARGE_BYTES: usize = 1024;

/// Where the messages of a topic go.
#[derive(Default)]
pub(super) struct Found {
    /// To clients that ask for a QoS and nothing else.
    pub(super) plain: Vec<Route>,
    /// To clients that ask for more.
    pub(super) special: Vec<SpecialRoute>,
    /// To one member each.
    pub(super) shared: Vec<ShareKey>,
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
    known: IndexMap<Box<str>, Found, ahash::RandomState>,
    bytes: usize,
    /// Where the topic was that came last: another one may have its place by now.
    last: usize,
    /// Those of a topic that is not remembered, until the next one; and where they are put together.
    passing: Found,
    luck: Rng,
}

impl Routes {
    /// The routes for a topic, from memory or from the index.
    #[inline]
    pub(super) fn find(&mut self, index: &SubscriptionIndex, topic: Name<'_>, tally: &mut Tally) -> &Found {
        // A run of messages often has one topic.
        let is_last = self.generation == index.generation()
            && self.known.get_index(self.last).is_some_and(|(last, _)| **last == *topic.as_str());
        let at = if is_last { Some(self.last) } else { self.find_another(index, topic, tally) };
        at.and_then(|at| self.known.get_index(at)).map_or(&self.passing, |(_, found)| found)
    }

    /// The place of a topic; none if only [`Routes::passing`] has its routes.
    #[inline(never)]
    fn find_another(
        &mut self,
        index: &SubscriptionIndex,
        topic: Name<'_>,
        tally: &mut Tally,
    ) -> Option<usize> {
        if self.generation != index.generation() {
            self.forget(tally);
            self.generation = index.generation();
        }
        let known = self.known.get_index_of(topic.as_str()).or_else(|| {
            self.passing.search(index, topic);
            self.remember(topic, tally)
        });
        self.last = known.unwrap_or(self.last);
        known
    }

    /// Gives the place of what was just found, if it gets one.
    fn remember(&mut self, topic: Name<'_>, tally: &mut Tally) -> Option<usize> {
        let found = self.passing.bytes();
        let bytes = ENTRY_BYTES + topic.as_str().len() + found;
        if self.bytes + bytes > MAX_BYTES {
            if found < LARGE_BYTES && self.luck.usize(..ONE_IN) > 0 {
                return None;
            }
            self.make_room(bytes, tally);
        }
        self.bytes = tally.charge(self.bytes, self.bytes + bytes);
        let (at, _) = self.known.insert_full(topic.as_str().into(), self.passing.take());
        Some(at)
    }

    /// Forgets some topics, whichever, so that so many bytes are free.
    fn make_room(&mut self, bytes: usize, tally: &mut Tally) {
        let before = self.bytes;
        while self.bytes + bytes > MAX_BYTES && !self.known.is_empty() {
            let any = self.luck.usize(..self.known.len());
            if let Some((topic, found)) = self.known.swap_remove_index(any) {
                self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + topic.len() + found.bytes());
            }
        }
        tally.charge(before, self.bytes);
    }

    fn forget(&mut self, tally: &mut Tally) {
        self.known.clear();
        self.passing.clear();
        self.bytes = tally.charge(self.bytes, 0);
    }
}

impl Found {
    fn bytes(&self) -> usize {
        let notes = self.special.iter().map(|route| {
            let own = route.own.as_ref().filter(|own| **own != route.others);
            route.others.bytes() + own.map_or(0, Wanted::bytes)
        });
        size_of_val(self.plain.as_slice())
            + size_of_val(self.special.as_slice())
            + size_of_val(self.shared.as_slice())
            + notes.sum::<usize>()
    }

    fn clear(&mut self) {
        self.plain.clear();
        self.special.clear();
        self.shared.clear();
    }

    /// Moves all out, into no more memory than it needs.
    fn take(&mut self) -> Self {
        let found = Self {
            plain: self.plain.drain(..).collect(),
            special: self.special.drain(..).collect(),
            shared: self.shared.drain(..).collect(),
        };
        // Room for whatever else is found next, unless it was exceptional.
        if found.bytes() >= LARGE_BYTES {
            *self = Self::default();
        }
        found
    }

    /// Becomes the routes for a topic.
    fn search(&mut self, index: &SubscriptionIndex, topic: Name<'_>) {
        self.clear();
        let mut clients = SmallVec::<[_; 8]>::new();
        index.visit(topic, |key, subscriber| match subscriber {
            Subscriber::Client(subscription) => clients.push((key, subscription)),
            Subscriber::Group => self.shared.push(key),
        });
        // One delivery a client.
        clients.sort_unstable_by_key(|(key, _)| *key);
        for subscriptions in clients.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((_, Subscription { client, .. })) = subscriptions.first() else { continue };
            if !client.may_read(topic) {
                continue;
            }
            let options = subscriptions.iter().map(|(_, subscription)| subscription.options);
            if options.clone().all(Options::is_plain) {
                let Some(qos) = options.map(|options| options.qos).max() else { continue };
                self.plain.push(Route { client: Arc::clone(client), qos });
                continue;
            }
            let Some(others) = Wanted::of(options.clone()) else { continue };
            let own = if options.clone().any(|options| options.no_local) {
                Wanted::of(options.filter(|options| !options.no_local))
            } else {
                Some(others.clone())
            };
            self.special.push(SpecialRoute { client: Arc::clone(client), others, own });
        }
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

    #[test]
    fn of_more_topics_than_fit_some_stay_known() {
        let clients: Vec<_> = (1..=100).map(client).collect();
        let mut index = SubscriptionIndex::default();
        let options =
            Options { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, identifier: None };
        index.insert(Filter::new("+").unwrap(), &clients[0], options);
        for client in &clients {
            index.insert(Filter::new("+/all").unwrap(), client, options);
        }
        let (mut routes, mut tally) = (Routes::default(), Tally::default());
        let most = MAX_BYTES / ENTRY_BYTES;
        let find = |routes: &mut Routes, tally: &mut Tally, topic: &str, receivers: usize| {
            let topic = Name::new(topic).unwrap();
            let is_known = routes.known.contains_key(topic.as_str());
            assert_eq!(routes.find(&index, topic, tally).plain.len(), receivers);
            assert!(routes.bytes <= MAX_BYTES);
            assert_eq!(tally.memory, routes.bytes as i64);
            is_known
        };
        let mut known = 0;
        for turn in 0..6 {
            for topic in 0..2 * most {
                let is_known = find(&mut routes, &mut tally, &topic.to_string(), 1);
                known += usize::from(turn > 0 && is_known);
            }
        }
        // In turn is the worst order there is: whoever forgets the oldest, or all, knows none.
        assert!(known > most, "{known} of {most}");
        // What took long to find makes room for itself at once.
        assert!(!find(&mut routes, &mut tally, "to/all", 100));
        assert!(find(&mut routes, &mut tally, "to/all", 100));
        routes.forget(&mut tally);
        assert_eq!(tally.memory, 0);
    }
}
