//! Who gets a message of a given topic: one entry a client, overlapping subscriptions merged.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Client, SubscriptionIndex};
use crate::codec::QoS;
use crate::session::Tally;
use crate::topic::Name;

/// Memory for what is remembered, in bytes; one topic may exceed it alone.
const MAX_BYTES: usize = 4 << 20;
/// What a remembered topic costs beside its name and routes, in bytes.
const ENTRY_BYTES: usize = 64;

/// A client that gets the message, and the highest QoS of its matching subscriptions [MQTT-3.3.5-1].
pub(super) struct Route {
    pub(super) client: Arc<Client>,
    pub(super) qos: QoS,
}

/// Routes found before, good until the index changes. Each thread has one of its own.
#[derive(Default)]
pub(super) struct Routes {
    generation: u64,
    /// Where in `found` a topic's routes stand.
    topics: HashMap<Box<str>, usize, ahash::RandomState>,
    found: Vec<Box<[Route]>>,
    bytes: usize,
}

impl Routes {
    /// The routes for a topic, from memory or from the index.
    pub(super) fn find(&mut self, index: &SubscriptionIndex, topic: Name<'_>, tally: &mut Tally) -> &[Route] {
        if self.generation != index.generation() {
            self.forget(tally);
            self.generation = index.generation();
        }
        let known = self.topics.get(topic.as_str()).copied();
        let at = known.unwrap_or_else(|| self.remember(topic, search(index, topic), tally));
        self.found.get(at).map(AsRef::as_ref).unwrap_or_default()
    }

    fn remember(&mut self, topic: Name<'_>, routes: Box<[Route]>, tally: &mut Tally) -> usize {
        let bytes = ENTRY_BYTES + topic.as_str().len() + size_of_val(routes.as_ref());
        if self.bytes + bytes > MAX_BYTES {
            self.forget(tally);
        }
        self.bytes = tally.charge(self.bytes, self.bytes + bytes);
        let at = self.found.len();
        self.topics.insert(topic.as_str().into(), at);
        self.found.push(routes);
        at
    }

    fn forget(&mut self, tally: &mut Tally) {
        self.topics.clear();
        self.found.clear();
        self.bytes = tally.charge(self.bytes, 0);
    }
}

fn search(index: &SubscriptionIndex, topic: Name<'_>) -> Box<[Route]> {
    let mut found = Vec::new();
    index.visit(topic, |key, subscription| found.push((key, subscription)));
    // One delivery a client, at the highest QoS.
    found.sort_unstable_by_key(|(key, subscription)| (*key, std::cmp::Reverse(subscription.qos)));
    found.dedup_by_key(|(key, _)| *key);
    found
        .iter()
        .map(|(_, subscription)| Route { client: Arc::clone(&subscription.client), qos: subscription.qos })
        .collect()
}
