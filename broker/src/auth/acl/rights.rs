//! What one client may do.

use std::sync::Arc;

use super::line::Permission;
use super::table::{Rule, Rules, Table, verdict};
use crate::topic::{Filter, Name};

/// Which topics a client may write and read, by an ACL file as it was when this was worked out.
#[derive(Debug)]
pub struct Rights {
    table: Arc<Table>,
    user: Option<Box<str>>,
    /// With the client's names in them.
    patterns: Box<[Rule]>,
}

impl Rights {
    /// Those of a client of that user name and identifier.
    pub fn new(table: &Arc<Table>, user: Option<&str>, client_id: &str) -> Self {
        let patterns = patterns(table, user, client_id);
        Self { table: Arc::clone(table), user: user.map(Into::into), patterns }
    }

    /// Whether the others were worked out from the same, for the same user. It is for the caller to know that they are of
    /// the same client identifier.
    pub fn are(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.table, &others.table) && self.user == others.user
    }

    /// Whether a message may be published to that topic.
    pub fn may_write(&self, topic: Name<'_>) -> bool {
        self.decide(topic, Permission::writes)
    }

    /// Whether a message of that topic may go to the client.
    pub fn may_read(&self, topic: Name<'_>) -> bool {
        self.decide(topic, Permission::reads)
    }

    /// Whether there may be a topic that the filter matches and the client may read. There is none for sure if no rule
    /// that grants meets the filter, or if one rule denies all of it.
    pub fn may_subscribe(&self, filter: Filter<'_>) -> bool {
        let some = |rules: &[Rule]| {
            rules.iter().any(|rule| rule.permission.reads() && rule.filter.as_filter().overlaps(filter))
        };
        let is_denied = |rules: &[Rule]| {
            let mut denials = rules.iter().take_while(|rule| rule.permission == Permission::Deny);
            denials.any(|rule| rule.filter.as_filter().covers(filter))
        };
        let own = self.own().all();
        !is_denied(own) && (some(own) || (some(&self.patterns) && !is_denied(&self.patterns)))
    }

    /// Memory that it takes for this client alone, in bytes.
    pub fn bytes(&self) -> usize {
        let patterns =
            self.patterns.iter().map(|rule| size_of::<Rule>() + rule.filter.as_filter().as_str().len());
        size_of::<Self>() + self.user.as_ref().map_or(0, |user| user.len()) + patterns.sum::<usize>()
    }

    fn own(&self) -> &Rules {
        self.table.of(self.user.as_deref())
    }

    fn decide(&self, topic: Name<'_>, grants: impl Fn(Permission) -> bool) -> bool {
        let own = self.own().verdict(topic, &grants);
        own.or_else(|| verdict(&self.patterns, topic, &grants)).unwrap_or(false)
    }
}

/// The patterns as they are for one client. None for a name with a wildcard, which would open more than its own
/// topics, and as in mosquitto none at all then; and none that become reserved topics by a name alone.
fn patterns(table: &Table, user: Option<&str>, client_id: &str) -> Box<[Rule]> {
    if [user, Some(client_id)].into_iter().flatten().any(|name| name.contains(['+', '#'])) {
        return Box::default();
    }
    let of_client = |rule: &Rule| {
        let text = replaced(rule.filter.as_filter(), user, client_id)?;
        let filter = Filter::new(&text).ok()?;
        (filter.is_reserved() == rule.filter.as_filter().is_reserved())
            .then(|| Rule { permission: rule.permission, filter: filter.into() })
    };
    table.patterns().iter().filter_map(of_client).collect()
}

/// `%u` and `%c` stand for the names, anywhere and any number of times; none if there is no such name. What stands in a
/// name is not replaced again.
fn replaced(pattern: Filter<'_>, user: Option<&str>, client_id: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = pattern.as_str();
    while let Some((before, behind)) = rest.split_once('%') {
        text.push_str(before);
        rest = match (behind.strip_prefix('u'), behind.strip_prefix('c')) {
            (Some(behind), _) => {
                text.push_str(user?);
                behind
            }
            (_, Some(behind)) => {
                text.push_str(client_id);
                behind
            }
            _ => {
                text.push('%');
                behind
            }
        };
    }
    text.push_str(rest);
    Some(text)
}
