//! What a message is called on the other side.

use crate::codec::QoS;
use crate::config::{BridgeTopic, Direction};
use crate::topic::{Filter, FilterBuf, Name};

/// The topics of a bridge, in their order: of those that match the first holds.
pub(super) struct Routes(Vec<Route>);

/// One of them.
pub(super) struct Route {
    pub(super) direction: Direction,
    pub(super) qos: QoS,
    pub(super) local: FilterBuf,
    pub(super) remote: FilterBuf,
    local_prefix: String,
    remote_prefix: String,
}

impl Routes {
    /// Those whose filters are valid, which the configuration has seen to.
    pub(super) fn new(topics: &[BridgeTopic]) -> Self {
        let routes = topics.iter().filter_map(|topic| {
            let (local, remote) = (topic.local(), topic.remote());
            Some(Route {
                direction: topic.direction,
                qos: topic.qos,
                local: Filter::new(&local).ok()?.into(),
                remote: Filter::new(&remote).ok()?.into(),
                local_prefix: topic.local_prefix.clone(),
                remote_prefix: topic.remote_prefix.clone(),
            })
        });
        Self(routes.collect())
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// What a topic of this broker is called there; none if it does not go there.
    pub(super) fn outward<'b>(&self, topic: Name<'_>, name: &'b mut String) -> Option<Name<'b>> {
        let route = self.iter().find(|it| it.direction.goes_out() && it.local.as_filter().matches(topic))?;
        renamed(topic, &route.local_prefix, &route.remote_prefix, name)
    }

    /// What a topic of the other broker is called here; none if it does not come here.
    pub(super) fn inward<'b>(&self, topic: Name<'_>, name: &'b mut String) -> Option<Name<'b>> {
        let route = self.iter().find(|it| it.direction.comes_in() && it.remote.as_filter().matches(topic))?;
        renamed(topic, &route.remote_prefix, &route.local_prefix, name)
    }
}

/// With one prefix in place of another; none if nothing is left, or too much.
fn renamed<'b>(topic: Name<'_>, old: &str, new: &str, name: &'b mut String) -> Option<Name<'b>> {
    name.clear();
    name.push_str(new);
    name.push_str(topic.as_str().strip_prefix(old)?);
    Name::new(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_exchanged_and_the_first_that_matches_holds() {
        let topic = |pattern: &str, direction, local: &str, remote: &str| BridgeTopic {
            local_prefix: local.to_owned(),
            remote_prefix: remote.to_owned(),
            ..BridgeTopic::new(pattern, direction, QoS::AtMostOnce)
        };
        let routes = Routes::new(&[
            topic("", Direction::Both, "one", "eins"),
            topic("a/#", Direction::Out, "here/", "there/"),
            topic("b/+", Direction::In, "", "there/"),
            topic("b/#", Direction::In, "deep/", "there/"),
            topic("#", Direction::Out, "", "rest/"),
        ]);
        for (local, remote) in
            [("one", "eins"), ("here/a/x", "there/a/x"), ("here/a", "there/a"), ("x", "rest/x")]
        {
            let name = &mut String::new();
            let outward = routes.outward(Name::new(local).unwrap(), name).unwrap();
            assert_eq!(outward.as_str(), remote);
        }
        for (remote, local) in [
            ("eins", Some("one")),
            ("there/b/x", Some("b/x")),
            ("there/b/x/y", Some("deep/b/x/y")),
            ("there/a/x", None),
        ] {
            let name = &mut String::new();
            let inward = routes.inward(Name::new(remote).unwrap(), name);
            assert_eq!(inward.map(Name::as_str), local);
        }
        assert_eq!(routes.outward(Name::new("$SYS/x").unwrap(), &mut String::new()), None);
    }
}
