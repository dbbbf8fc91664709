//! What survived an earlier life of the broker, put back into the tables before anybody connects.
//!
//! A session whose client was there to the end lost its connection when the broker did, and nobody knows when that was:
//! its expiry and the delay of its will begin when the broker is back, for until then no client could return.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

use super::connect::release_will;
use super::subscriptions::SubscriptionIndex;
use super::{Batch, Client, Hub};
use crate::session::{Expiry, Message, Session, SessionLog, Will};
use crate::store::{Journal, Record, Recovered, RecoveredSession, SubscriptionRecord};
use crate::topic::{Filter, SharedFilter};

/// What [`Hub::restore`] put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions, those included that were over by then.
    pub sessions: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Retained messages that had expired, or for which the limits have no room any more.
    pub retained_dropped: usize,
    /// What the standard does not allow: it is taken out of the store.
    pub invalid: usize,
}

impl Hub {
    /// Puts back what survived, ends the sessions that are over at `now`, and publishes the wills whose time has come. To
    /// be called once, with a journal, before anybody connects.
    pub fn restore(&self, recovered: Recovered, now: Instant, batch: &mut Batch) -> Restored {
        let mut restored = Restored::default();
        let Some(journal) = &self.journal else { return restored };
        batch.at(now);
        {
            let _turn = self.turn();
            let mut store = self.retained.write();
            for (body, stored) in recovered.retained {
                match Message::restored(stored, journal) {
                    Some(message) => self.restore_retained(&mut store, body, message, now, &mut batch.tally),
                    None => {
                        restored.invalid += 1;
                        self.forget_body(body);
                    }
                }
            }
            restored.retained = store.count;
        }
        let dropped = batch.tally.expired_messages + batch.tally.dropped_retained_full;
        restored.retained_dropped = usize::try_from(dropped).unwrap_or(0);
        let mut sessions = recovered.sessions;
        sessions.sort_unstable_by_key(|session| Reverse(session.number));
        for session in sessions {
            let _turn = self.turn();
            self.restore_session(session, journal, now, &mut restored, batch);
        }
        self.session_count.store(self.sessions.lock().len(), Ordering::Relaxed);
        self.absorb(batch);
        // Only now is everybody there who is to get a will.
        while self.attend(now, Waker::noop(), batch).is_some_and(|due| due <= now) {}
        restored
    }

    fn restore_session(
        &self,
        mut recovered: RecoveredSession,
        journal: &Arc<Journal>,
        now: Instant,
        restored: &mut Restored,
        batch: &mut Batch,
    ) {
        let expiry = Expiry::from_seconds(recovered.expiry_seconds);
        let subscriptions = std::mem::take(&mut recovered.subscriptions);
        // One that ends now may leave something to others.
        let has_log = expiry != Expiry::AT_ONCE || !subscriptions.is_empty();
        let log = has_log.then(|| SessionLog::new(Arc::clone(journal), recovered.number));
        let will = recovered.will.take().and_then(|stored| {
            let will = Will::restored(stored, journal);
            restored.invalid += usize::from(will.is_none());
            will
        });
        if let Some(will) = &will {
            batch.tally.keep(will.message.bytes());
        }
        let since = recovered.absent_since.and_then(|at| journal.instant(at)).unwrap_or(now).min(now);
        let mut session = Session::restored(&recovered, log);
        session.begin_restored_absence(will, since);
        let id = recovered.client_id.as_str().into();
        let client = Arc::new(Client::new(id, recovered.number, session));
        let mut sessions = self.sessions.lock();
        let mut index = self.index.write();
        let mut session = client.session.lock();
        if sessions.get(&client.id).is_some() {
            // The next one of its client identifier began, and what it leaves was not handed on to the end.
            release_will(session.end_absence(), batch);
            return self.fetch_to_hand_on(&client);
        }
        sessions.insert(Arc::clone(&client));
        restored.sessions += 1;
        for (filter, subscription) in subscriptions {
            if self.resubscribe(&mut index, &mut session, &client, &filter, subscription).is_some() {
                restored.subscriptions += 1;
            } else {
                restored.invalid += 1;
                journal.record(&Record::Unsubscribe { session: client.key, filter: &filter });
            }
        }
        if recovered.absent_since.is_none() {
            self.record_session(&client, &session);
        }
        session.settle(&mut batch.tally);
        self.schedule(&client, None, &session, batch);
    }

    /// None if it is no topic filter.
    fn resubscribe(
        &self,
        index: &mut SubscriptionIndex,
        session: &mut Session,
        client: &Arc<Client>,
        filter: &str,
        subscription: SubscriptionRecord,
    ) -> Option<()> {
        let filter = Filter::new(filter).ok()?;
        let shared = SharedFilter::parse(filter).ok()?;
        self.add_subscription(index, session, client, (filter, shared), subscription.into());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::QoS;
    use crate::hub::Limits;
    use crate::store::{StoredMessage, StoredWill};

    fn message(topic: &str, expiry: Option<(u32, u64)>) -> StoredMessage {
        let payload = b"payload".as_slice().into();
        StoredMessage {
            topic: topic.to_owned(),
            payload,
            qos: QoS::AtLeastOnce,
            properties: [].into(),
            expiry,
        }
    }

    fn session(number: u64, expiry_seconds: u32, absent_since: Option<u64>) -> RecoveredSession {
        let client_id = number.to_string();
        RecoveredSession { number, client_id, expiry_seconds, absent_since, ..RecoveredSession::default() }
    }

    fn will(topic: &str, delay_seconds: u32) -> Option<StoredWill> {
        Some(StoredWill { message: message(topic, None), retain: true, delay_seconds })
    }

    /// A hub with what was recovered, and its journal.
    fn restored(recovered: impl FnOnce(&Journal, Instant) -> Recovered) -> (Hub, Batch, Instant, Restored) {
        let journal = Arc::new(Journal::new(1000, 1 << 20));
        // In whole milliseconds, as the store has it: what is told to it in these comes back as it was.
        let now = journal.instant(journal.unix_ms(Instant::now())).unwrap();
        let recovered = recovered(&journal, now);
        let hub = Hub::new(Limits::default()).with_journal(Arc::clone(&journal));
        let mut batch = Batch::new(now);
        let restored = hub.restore(recovered, now, &mut batch);
        (hub, batch, now, restored)
    }

    fn retained(hub: &Hub) -> Vec<String> {
        let store = hub.retained.read();
        store.messages.iter().map(|retained| retained.message.topic().as_str().to_owned()).collect()
    }

    #[test]
    fn who_was_there_left_now_and_who_was_away_left_then() {
        let (hub, mut batch, now, _) = restored(|journal, now| {
            let then = |seconds| journal.unix_ms(now - Duration::from_secs(seconds));
            Recovered {
                sessions: vec![
                    RecoveredSession { will: will("clean", 9), ..session(1, 0, None) },
                    RecoveredSession { will: will("there", 0), ..session(2, 10, None) },
                    RecoveredSession { will: will("delayed", 5), ..session(3, 10, None) },
                    RecoveredSession { will: will("away", 8), ..session(4, 10, Some(then(4))) },
                    RecoveredSession { will: will("over", 99), ..session(5, 10, Some(then(11))) },
                    session(6, u32::MAX, Some(then(1_000_000))),
                    // The clock was set back.
                    session(7, 10, Some(journal.unix_ms(now + Duration::from_secs(1_000_000)))),
                ],
                ..Recovered::default()
            }
        });
        assert_eq!(retained(&hub), ["clean", "over", "there"]);
        assert_eq!((hub.stats().sessions, hub.stats().clients_expired), (5, 1));
        let mut after = |seconds| {
            let due = now + Duration::from_secs(seconds);
            hub.attend(due, Waker::noop(), &mut batch);
            (retained(&hub).len(), hub.stats().sessions)
        };
        assert_eq!([after(2), after(4), after(5), after(6)], [(3, 5), (4, 5), (5, 5), (5, 4)]);
        assert_eq!([after(9), after(10), after(1_000_000)], [(5, 4), (5, 1), (5, 1)]);
        assert_eq!(hub.stats().retained, 5);
    }

    #[test]
    fn what_the_standard_does_not_allow_is_left_out() {
        let record = SubscriptionRecord {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: None,
        };
        let filters = ["a/#", "a/#/b", "$share/g/a", "$share/g"].map(|filter| (filter.to_owned(), record));
        let (hub, _, _, restored) = restored(|_, _| Recovered {
            sessions: vec![
                // It was not handed on to the end.
                RecoveredSession { client_id: "2".to_owned(), ..session(1, 10, None) },
                RecoveredSession { subscriptions: filters.into(), ..session(2, 10, None) },
                RecoveredSession { will: will("+", 0), ..session(3, 10, None) },
            ],
            retained: vec![(4, message("a", None)), (5, message("#", None)), (6, message("b", Some((1, 1))))],
            numbers: 6,
        });
        let expected =
            Restored { sessions: 2, subscriptions: 2, retained: 1, retained_dropped: 1, invalid: 4 };
        assert_eq!(restored, expected);
        let stats = hub.stats();
        assert_eq!((stats.subscriptions, stats.shared_subscriptions), (1, 1));
        assert_eq!((stats.retained, stats.messages_expired, stats.stored), (1, 1, 1));
    }
}
