//! Who subscribed to what, and how.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::share::{Group, Member};
use super::{Client, ClientKey};
use crate::codec::QoS;
use crate::session::{Share, ShareKey};
use crate::store::SubscriptionRecord;
use crate::topic::{Filter, FilterBuf, Index, Name, SharedFilter};

/// The subscriptions of all sessions: ordinary ones by client, shared ones by group.
#[derive(Default)]
pub(super) struct SubscriptionIndex {
    /// The keys of clients and of groups are numbers of one sequence.
    filters: Index<u64, Subscriber>,
    /// By the whole filter of the shared subscription.
    keys: HashMap<FilterBuf, ShareKey, ahash::RandomState>,
    groups: HashMap<ShareKey, Group, ahash::RandomState>,
    shared: usize,
}

/// Who is behind a filter.
pub(super) enum Subscriber {
    Client(Subscription),
    /// Members of a shared subscription, one of which gets the message.
    Group,
}

/// An ordinary subscription.
pub(super) struct Subscription {
    pub(super) client: Arc<Client>,
    pub(super) options: Options,
}

/// What a client wants with a subscription. One of 3.1 or 3.1.1 can say a QoS and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The highest for deliveries.
    pub(super) qos: QoS,
    /// Not for messages of its own.
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// What deliveries carry.
    pub(super) identifier: Option<NonZeroU32>,
}

impl Options {
    /// A QoS, and nothing else.
    pub(super) fn is_plain(self) -> bool {
        !self.no_local && !self.retain_as_published && self.identifier.is_none()
    }
}

impl From<Options> for SubscriptionRecord {
    fn from(Options { qos, no_local, retain_as_published, identifier }: Options) -> Self {
        Self { qos, no_local, retain_as_published, identifier }
    }
}

impl From<SubscriptionRecord> for Options {
    fn from(record: SubscriptionRecord) -> Self {
        let SubscriptionRecord { qos, no_local, retain_as_published, identifier } = record;
        Self { qos, no_local, retain_as_published, identifier }
    }
}

impl SubscriptionIndex {
    /// The same filter again replaces the subscription [MQTT-3.8.4-3]. Says whether it is another than before.
    pub(super) fn insert(&mut self, filter: Filter<'_>, client: &Arc<Client>, options: Options) -> bool {
        let subscription = Subscription { client: Arc::clone(client), options };
        match self.filters.insert(filter, client.key, Subscriber::Client(subscription)) {
            Some(Subscriber::Client(before)) => before.options != options,
            _ => true,
        }
    }

    /// The client becomes a member of the shared subscription, or one with other options; says whether it is another than
    /// before. `number` gives the key of a group that is new.
    pub(super) fn insert_shared(
        &mut self,
        shared: SharedFilter<'_>,
        client: &Arc<Client>,
        options: Options,
        number: impl FnOnce() -> u64,
    ) -> bool {
        let key = match self.keys.get(shared.whole().as_str()) {
            Some(key) => *key,
            None => {
                let key = number();
                self.keys.insert(shared.whole().into(), key);
                self.filters.insert(shared.filter(), key, Subscriber::Group);
                key
            }
        };
        let share = Share { key, filter: shared.whole().into() };
        let member = Member::new(client, options, share);
        let group = self.groups.entry(key).or_default();
        let has_changed = group.member(client.key).is_none_or(|before| !before.has_options_of(&member));
        self.shared += usize::from(group.join(member));
        has_changed
    }

    /// Ends the client's subscription to the very same filter, shared or not.
    pub(super) fn remove(&mut self, filter: Filter<'_>, client: ClientKey) {
        match SharedFilter::parse(filter) {
            Ok(Some(shared)) => self.remove_shared(shared, client),
            _ => drop(self.filters.remove(filter, client)),
        }
    }

    fn remove_shared(&mut self, shared: SharedFilter<'_>, client: ClientKey) {
        let Some(key) = self.keys.get(shared.whole().as_str()).copied() else { return };
        let Some(group) = self.groups.get_mut(&key) else { return };
        self.shared -= usize::from(group.leave(client));
        if group.is_empty() {
            self.groups.remove(&key);
            self.keys.remove(shared.whole().as_str());
            self.filters.remove(shared.filter(), key);
        }
    }

    /// Calls `visitor` with every client and group with a filter that matches `name`, and its key; once for each filter.
    pub(super) fn visit<'s>(&'s self, name: Name<'_>, visitor: impl FnMut(u64, &'s Subscriber)) {
        self.filters.visit(name, visitor);
    }

    /// The number of a shared subscription by its whole filter, if it has members.
    pub(super) fn share_key(&self, filter: &str) -> Option<ShareKey> {
        self.keys.get(filter).copied()
    }

    /// The members of a shared subscription; none if there are no more.
    pub(super) fn group(&self, key: ShareKey) -> Option<&Group> {
        self.groups.get(&key)
    }

    /// What the client's subscription to the very same filter says, shared or not.
    pub(super) fn options(&self, filter: Filter<'_>, client: ClientKey) -> Option<Options> {
        match SharedFilter::parse(filter) {
            Ok(Some(shared)) => {
                let group = self.groups.get(self.keys.get(shared.whole().as_str())?)?;
                group.member(client).map(Member::options)
            }
            _ => match self.filters.get(filter, client)? {
                Subscriber::Client(subscription) => Some(subscription.options),
                Subscriber::Group => None,
            },
        }
    }

    /// Changes whenever [`SubscriptionIndex::visit`] may give another answer.
    pub(super) fn generation(&self) -> u64 {
        self.filters.generation()
    }

    /// What clients may read has changed.
    pub(super) fn rights_changed(&mut self) {
        self.filters.outdate();
    }

    /// The number of ordinary subscriptions.
    pub(super) fn len(&self) -> usize {
        self.filters.len() - self.groups.len()
    }

    /// The number of shared subscriptions, each member's counted.
    pub(super) fn shared_len(&self) -> usize {
        self.shared
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::session::Session;

    /// A client that nobody else knows of.
    pub(in crate::hub) fn client(key: ClientKey) -> Arc<Client> {
        Arc::new(Client::new(key.to_string().into(), key, Session::default()))
    }

    const FILTERS: [&str; 6] = ["$share/g/a", "$share/h/a", "$share/g/+", "$share/h/#", "a", "+"];
    const PLAIN: Options =
        Options { qos: QoS::AtLeastOnce, no_local: false, retain_as_published: false, identifier: None };

    proptest! {
        #[test]
        fn members_share_what_has_the_same_name_and_filter(
            changes in vec((any::<bool>(), 0..3_usize, select(&FILTERS[..])), 0..40),
        ) {
            let clients = [1, 2, 3].map(client);
            let mut numbers = 10..;
            let mut index = SubscriptionIndex::default();
            let mut model = BTreeSet::<(&str, ClientKey)>::new();
            for (subscribes, who, text) in changes {
                let (filter, client) = (Filter::new(text).unwrap(), &clients[who]);
                let generation = index.generation();
                let is_known = |model: &BTreeSet<(&str, ClientKey)>| model.iter().any(|(known, _)| *known == text);
                let was_known = is_known(&model);
                if !subscribes {
                    index.remove(filter, client.key);
                    model.remove(&(text, client.key));
                } else if let Some(shared) = SharedFilter::parse(filter).unwrap() {
                    index.insert_shared(shared, client, PLAIN, || numbers.next().unwrap());
                    model.insert((text, client.key));
                } else {
                    index.insert(filter, client, PLAIN);
                    model.insert((text, client.key));
                }
                // Routes know groups, not their members.
                if text.starts_with('$') {
                    prop_assert_eq!(index.generation() == generation, is_known(&model) == was_known);
                }

                let shared = model.iter().filter(|(text, _)| text.starts_with('$')).count();
                prop_assert_eq!((index.shared_len(), index.len()), (shared, model.len() - shared));
                let mut found = Vec::new();
                index.visit(Name::new("a").unwrap(), |key, subscriber| match subscriber {
                    Subscriber::Client(_) => found.push(vec![key]),
                    Subscriber::Group => found.push(index.group(key).unwrap().members()),
                });
                found.sort();
                let groups = FILTERS[..4].iter().map(|group| {
                    let members = model.iter().filter(|(text, _)| text == group);
                    members.map(|(_, key)| *key).collect::<Vec<_>>()
                });
                let mut expected: Vec<_> = groups.filter(|members| !members.is_empty()).collect();
                expected.extend(model.iter().filter(|(text, _)| !text.starts_with('$')).map(|(_, key)| vec![*key]));
                expected.sort();
                prop_assert_eq!(found, expected);
            }
            for (text, key) in model {
                index.remove(Filter::new(text).unwrap(), key);
            }
            prop_assert!(index.filters.is_empty() && index.keys.is_empty() && index.groups.is_empty());
        }
    }
}
