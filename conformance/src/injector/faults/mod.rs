//! The table of faults, by what they concern.

mod connect;
mod credentials;
mod deliver;
mod format;
mod keep_alive;
mod qos;
mod redeliver;
mod restart;
mod retain;
mod session;
mod subscribe;
mod topics;
mod unsubscribe;
mod v5_acks;
mod v5_alias;
mod v5_auth;
mod v5_connect;
mod v5_disconnect;
mod v5_expiry;
mod v5_flow;
mod v5_format;
mod v5_malformed;
mod v5_properties;
mod v5_session;
mod v5_share;
mod v5_size;
mod v5_subscribe;
mod v5_subscriptions;
mod v5_will;
mod websocket;
mod will;

use super::fault::Fault;

/// All faults, chapter by chapter.
pub const FAULTS: &[&[Fault]] = &[
    format::FAULTS,
    connect::FAULTS,
    credentials::FAULTS,
    session::FAULTS,
    will::FAULTS,
    keep_alive::FAULTS,
    deliver::FAULTS,
    retain::FAULTS,
    subscribe::FAULTS,
    unsubscribe::FAULTS,
    qos::FAULTS,
    redeliver::FAULTS,
    restart::FAULTS,
    topics::FAULTS,
    websocket::FAULTS,
    v5_auth::FAULTS,
    v5_disconnect::FAULTS,
    v5_format::FAULTS,
    v5_connect::FAULTS,
    v5_session::FAULTS,
    v5_will::FAULTS,
    v5_subscribe::FAULTS,
    v5_share::FAULTS,
    v5_properties::FAULTS,
    v5_expiry::FAULTS,
    v5_alias::FAULTS,
    v5_subscriptions::FAULTS,
    v5_acks::FAULTS,
    v5_flow::FAULTS,
    v5_size::FAULTS,
    v5_malformed::FAULTS,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Version;
    use crate::statements::Statements;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_breaks_statements_that_there_are() {
        let mut names = HashSet::new();
        for fault in FAULTS.iter().copied().flatten() {
            assert!(names.insert(fault.name), "{} twice", fault.name);
            assert!(fault.wrong.ends_with('.'), "{}: a sentence", fault.name);
            let ids = |version| fault.statements(version);
            assert!(
                Version::ALL.into_iter().any(|version| !ids(version).is_empty()),
                "{} breaks nothing",
                fault.name
            );
            for version in Version::ALL {
                for id in ids(version) {
                    assert!(Statements::of(version).get(&id).is_some(), "{}: {version} {id}", fault.name);
                }
            }
        }
    }
}
