//! Who must get what, worked out from the plan alone: no index, no sessions, no sharing of code with the broker.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sol::codec::QoS;

use crate::client::Receipt;
use crate::plan::{Client, Message, Plan, Subscription};

/// Compares what the clients received with what they must.
pub(crate) fn check(plan: &Plan, received: &[Vec<Receipt>]) {
    let world = World::new(plan);
    // Which messages the members of a group got, all together.
    let mut by_group: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, (client, receipts)) in plan.clients.iter().zip(received).enumerate() {
        check_order(plan, number, receipts);
        let mut left = receipts.clone();
        left.sort_unstable();
        for own in world.own(number, client) {
            let Ok(at) = left.binary_search(&own) else {
                let got: Vec<_> = receipts.iter().filter(|got| got.message == own.message).collect();
                panic!("client {number} got {got:?}, not {own:?}")
            };
            left.remove(at);
        }
        let Some(shared) = &client.shared else {
            assert_eq!(left, [], "client {number} got too much");
            continue;
        };
        let group = by_group.entry(&shared.filter).or_default();
        for receipt in left {
            let message = &plan.messages[receipt.message];
            let expected = Receipt {
                message: receipt.message,
                qos: message.qos.min(shared.qos),
                retain: message.retain && shared.retain_as_published,
                identifiers: shared.identifier.into_iter().collect(),
            };
            assert_eq!(receipt, expected, "of its group client {number}");
            group.push(receipt.message);
        }
    }
    // [5.0 MQTT-4.8.2-3]: each message once.
    for (filter, mut got) in by_group {
        got.sort_unstable();
        let behind_name = filter.splitn(3, '/').nth(2).unwrap();
        let expected: Vec<_> = world.messages(behind_name).collect();
        assert_eq!(got, expected, "{filter}");
    }
}

/// Of one publisher, one topic and one QoS no message overtakes another [MQTT-4.6.0-6].
fn check_order(plan: &Plan, client: usize, receipts: &[Receipt]) {
    let mut last: HashMap<(usize, usize, QoS), usize> = HashMap::new();
    for receipt in receipts {
        let Message { publisher, topic, .. } = plan.messages[receipt.message];
        let before = last.insert((publisher, topic, receipt.qos), receipt.message);
        assert!(before <= Some(receipt.message), "client {client} got {before:?} before {receipt:?}");
    }
}

struct World<'p> {
    plan: &'p Plan,
    /// In ascending order, by topic.
    messages_to: Vec<Vec<usize>>,
    /// The topics that a filter matches.
    matched: HashMap<&'p str, Vec<usize>>,
}

impl<'p> World<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut messages_to = vec![Vec::new(); plan.topics.len()];
        for (number, message) in plan.messages.iter().enumerate() {
            messages_to[message.topic].push(number);
        }
        let filters = plan.clients.iter().flat_map(Client::all_subscriptions).map(|subscription| {
            let filter = subscription.filter.as_str();
            if filter.starts_with("$share/") { filter.splitn(3, '/').nth(2).unwrap() } else { filter }
        });
        let filters: BTreeSet<_> = filters.collect();
        let topics: Vec<Vec<_>> = plan.topics.iter().map(|topic| topic.split('/').collect()).collect();
        let matched = filters.into_iter().map(|filter| {
            let levels: Vec<_> = filter.split('/').collect();
            let topics = topics.iter().enumerate().filter(|(_, topic)| matches(&levels, topic));
            (filter, topics.map(|(number, _)| number).collect())
        });
        let matched = matched.collect();
        Self { plan, messages_to, matched }
    }

    /// The messages that a filter matches, in ascending order.
    fn messages(&self, filter: &str) -> impl Iterator<Item = usize> {
        let topics = self.matched[filter].iter();
        let messages: BTreeSet<_> = topics.flat_map(|topic| &self.messages_to[*topic]).copied().collect();
        messages.into_iter()
    }

    /// What a client gets by the subscriptions that are its alone: one copy at the highest QoS, which says all.
    fn own(&self, number: usize, client: &Client) -> Vec<Receipt> {
        let mut by_message: BTreeMap<usize, Vec<&Subscription>> = BTreeMap::new();
        for subscription in &client.subscriptions {
            for message in self.messages(&subscription.filter) {
                if !(subscription.no_local && self.plan.messages[message].publisher == number) {
                    by_message.entry(message).or_default().push(subscription);
                }
            }
        }
        let receipts = by_message.into_iter().map(|(message, subscriptions)| {
            let Message { qos, retain, .. } = self.plan.messages[message];
            let granted = subscriptions.iter().map(|subscription| subscription.qos).max().unwrap();
            let mut identifiers: Vec<_> =
                subscriptions.iter().filter_map(|subscription| subscription.identifier).collect();
            identifiers.sort_unstable();
            identifiers.dedup();
            let retain = retain && subscriptions.iter().any(|subscription| subscription.retain_as_published);
            Receipt { message, qos: qos.min(granted), retain, identifiers }
        });
        // At QoS 0 nothing is kept for who is away.
        receipts.filter(|receipt| !client.is_away || receipt.qos > QoS::AtMostOnce).collect()
    }
}

/// §4.7, for topics that do not begin with `$`.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        (["+", filter @ ..], [_, topic @ ..]) => matches(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && matches(filter, topic),
        (filter, topic) => filter.is_empty() && topic.is_empty(),
    }
}
