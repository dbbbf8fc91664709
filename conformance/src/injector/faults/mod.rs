//! The table of faults, by what they concern.

mod connect;
mod credentials;
mod deliver;
mod format;
mod keep_alive;
mod qos;
mod redeliver;
mod retain;
mod session;
mod subscribe;
mod topics;
mod unsubscribe;
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
    topics::FAULTS,
    websocket::FAULTS,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Version;
    use crate::statements::Statements;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_breaks_statements_that_there_are() {
        let statements = Statements::of(Version::V3_1_1);
        let mut names = HashSet::new();
        for fault in FAULTS.iter().copied().flatten() {
            assert!(names.insert(fault.name), "{} twice", fault.name);
            assert!(fault.wrong.ends_with('.'), "{}: a sentence", fault.name);
            assert!(fault.statements().next().is_some(), "{} breaks nothing", fault.name);
            for id in fault.statements() {
                assert!(statements.get(&id).is_some(), "{}: {id}", fault.name);
            }
        }
    }
}
