//! Subscriptions: of a client, or of all.

use std::num::NonZeroU32;
use std::sync::Arc;

use compact_str::CompactString;

use super::MAX_PAGE;
use super::clients::keep_first;
use crate::codec::QoS;
use crate::hub::{Client, Hub};
use crate::topic::{Filter, FilterBuf};

/// Subscriptions that one page looks at.
const MAX_LOOKS: usize = 100_000;

/// Which subscriptions are asked for.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionQuery {
    /// At most so many, and never more than [`MAX_PAGE`].
    pub limit: usize,
    /// Those behind this one: a client identifier, and one of its filters.
    pub after: Option<(String, String)>,
    /// Those whose filter this one covers.
    pub filter: Option<FilterBuf>,
    /// Those of that client.
    pub client: Option<String>,
}

/// A page of subscriptions.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionPage {
    /// Those of the page, by client and filter.
    pub subscriptions: Vec<(CompactString, SubscriptionView)>,
    /// Where the next page begins.
    pub next: Option<(String, String)>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// Its filter; with `$share/` if it is shared.
    pub filter: FilterBuf,
    /// The highest for deliveries.
    pub qos: QoS,
    /// Not for messages of its own.
    pub no_local: bool,
    /// RETAIN as it was published.
    pub retain_as_published: bool,
    /// What deliveries carry.
    pub identifier: Option<NonZeroU32>,
}

impl Hub {
    /// A page of subscriptions. It may have fewer than the limit, and still not be the last.
    pub fn subscriptions(&self, query: &SubscriptionQuery) -> SubscriptionPage {
        let limit = query.limit.clamp(1, MAX_PAGE);
        let mut page = SubscriptionPage::default();
        let after = query.after.as_ref();
        let mut clients = match &query.client {
            Some(id) => self.sessions.lock().get(id.as_str()).cloned().into_iter().collect(),
            None => self.all_clients(),
        };
        clients.retain(|client| after.is_none_or(|(id, _)| *client.id >= **id));
        clients.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let is_wanted = |filter: &FilterBuf| {
            query.filter.as_ref().is_none_or(|by| covers(by.as_filter(), filter.as_filter()))
        };
        let mut looks = 0_usize;
        for client in clients {
            let behind = after.filter(|(id, _)| **id == *client.id).map(|(_, filter)| filter.as_str());
            looks = looks.saturating_add(1 + client.session.lock().subscriptions.len());
            let left = limit - page.subscriptions.len();
            // One more, to know whether there is one.
            let found = self.subscriptions_of(&client, behind, left + 1, is_wanted);
            let is_cut = found.len() > left;
            page.subscriptions.extend(found.into_iter().take(left).map(|view| (client.id.clone(), view)));
            if is_cut {
                let last = page.subscriptions.last();
                page.next = Some(match last {
                    Some((id, view)) => (id.to_string(), view.filter.as_filter().as_str().to_owned()),
                    None => (client.id.to_string(), String::new()),
                });
                break;
            }
            if looks >= MAX_LOOKS && query.client.is_none() {
                // Behind all filters of this client: no filter has a higher character.
                page.next = Some((client.id.to_string(), char::MAX.to_string()));
                break;
            }
        }
        page
    }

    /// The first subscriptions of a client, by their filters.
    pub(super) fn subscriptions_of(
        &self,
        client: &Arc<Client>,
        after: Option<&str>,
        limit: usize,
        is_wanted: impl Fn(&FilterBuf) -> bool,
    ) -> Vec<SubscriptionView> {
        let mut filters: Vec<FilterBuf> = {
            let session = client.session.lock();
            let all = session.subscriptions.iter();
            let mut wanted: Vec<&FilterBuf> = all
                .filter(|filter| {
                    after.is_none_or(|after| filter.as_filter().as_str() > after) && is_wanted(filter)
                })
                .collect();
            keep_first(&mut wanted, limit, |one, other| {
                one.as_filter().as_str().cmp(other.as_filter().as_str())
            });
            wanted.into_iter().cloned().collect()
        };
        let index = self.index.read();
        filters
            .drain(..)
            .filter_map(|filter| {
                // Gone meanwhile, if there is none.
                let options = index.options(filter.as_filter(), client.key)?;
                Some(SubscriptionView {
                    qos: options.qos,
                    no_local: options.no_local,
                    retain_as_published: options.retain_as_published,
                    identifier: options.identifier,
                    filter,
                })
            })
            .collect()
    }
}

/// Whether each topic that the second one matches is matched by the first; as far as their levels tell one by one.
fn covers(wide: Filter<'_>, narrow: Filter<'_>) -> bool {
    let mut narrow = narrow.levels();
    for level in wide.levels() {
        match (level, narrow.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_matches_no_more() {
        for (wide, narrow, expected) in [
            ("#", "a/+/b", true),
            ("#", "#", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/b", "a/+", false),
            ("a/b", "a/b/c", false),
            ("$share/g/#", "$share/g/a", true),
        ] {
            let [one, other] = [wide, narrow].map(|text| Filter::new(text).unwrap());
            assert_eq!(covers(one, other), expected, "{wide} {narrow}");
        }
    }
}
