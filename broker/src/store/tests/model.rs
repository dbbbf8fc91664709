//! What the store should know, kept simply.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::PacketId;
use crate::store::{
    BodyNumber, Position, Record, Recovered, RecoveredSession, SessionNumber, StoredDelivery, StoredMessage,
    StoredWill, SubscriptionRecord,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<SessionNumber, ModelSession>,
    pub(super) retained: BTreeMap<BodyNumber, StoredMessage>,
    bodies: BTreeMap<BodyNumber, StoredMessage>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelSession {
    client_id: String,
    expiry_seconds: u32,
    absent_since: Option<u64>,
    will: Option<(StoredMessage, bool, u32)>,
    pub(super) subscriptions: BTreeMap<String, SubscriptionRecord>,
    pub(super) entries: BTreeMap<Position, StoredDelivery>,
    pub(super) released: Vec<PacketId>,
    pub(super) received: BTreeSet<PacketId>,
    pub(super) next_position: Position,
}

impl Model {
    pub(super) fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Session(record) => {
                let session = self.sessions.entry(record.session).or_default();
                session.client_id = record.client_id.to_owned();
                session.expiry_seconds = record.expiry_seconds;
                session.absent_since = record.absent_since;
                session.will = record.will.map(|will| (will.message.into(), will.retain, will.delay_seconds));
            }
            Record::SessionEnd { session } => _ = self.sessions.remove(&session),
            Record::Subscribe { session, filter, subscription } => {
                self.session(session).subscriptions.insert(filter.to_owned(), subscription);
            }
            Record::Unsubscribe { session, filter } => {
                self.session(session).subscriptions.remove(filter);
            }
            Record::Body { body, message } => _ = self.bodies.insert(body, message.into()),
            Record::Enqueue { session, position, body, manner, packet_id } => {
                let message = self.bodies[&body].clone();
                let session = self.session(session);
                session.next_position = position + 1;
                let delivery = StoredDelivery {
                    position,
                    packet_id,
                    qos: manner.qos,
                    retain: manner.retain,
                    replayed: manner.replayed,
                    subscription_ids: manner.subscription_ids.into(),
                    share: manner.share.map(str::to_owned),
                    message,
                };
                session.entries.insert(position, delivery);
            }
            Record::InFlight { session, position, packet_id } => {
                self.session(session).entries.get_mut(&position).unwrap().packet_id = Some(packet_id);
            }
            Record::Dequeue { session, position } => _ = self.session(session).entries.remove(&position),
            Record::Released { session, position, packet_id } => {
                let session = self.session(session);
                session.entries.remove(&position);
                session.released.push(packet_id);
            }
            Record::Completed { session, packet_id } => {
                self.session(session).released.retain(|released| *released != packet_id);
            }
            Record::Received { session, packet_id } => {
                self.session(session).received.insert(packet_id);
            }
            Record::ReceivedEnd { session, packet_id } => {
                self.session(session).received.remove(&packet_id);
            }
            Record::Retain { body } => _ = self.retained.insert(body, self.bodies[&body].clone()),
            Record::Unretain { body } => _ = self.retained.remove(&body),
            Record::Reset { .. } => unreachable!("the store's own"),
        }
    }

    fn session(&mut self, number: SessionNumber) -> &mut ModelSession {
        self.sessions.get_mut(&number).unwrap()
    }

    /// A group is over: nothing names its bodies any more.
    pub(super) fn end_group(&mut self) {
        self.bodies.clear();
    }

    pub(super) fn highest_number(&self) -> u64 {
        self.sessions.keys().chain(self.retained.keys()).copied().max().unwrap_or(0)
    }

    /// As the store gives it.
    pub(super) fn recovered(&self) -> Recovered {
        Recovered {
            sessions: self.sessions.iter().map(|(number, session)| session.recovered(*number)).collect(),
            retained: self.retained.clone().into_iter().collect(),
            numbers: 0,
        }
    }
}

impl ModelSession {
    fn recovered(&self, number: SessionNumber) -> RecoveredSession {
        let queued = || self.entries.values().filter(|entry| entry.packet_id.is_none());
        let in_flight =
            self.entries.values().filter_map(|entry| Some((entry.position, entry.packet_id?, entry.qos)));
        RecoveredSession {
            number,
            client_id: self.client_id.clone(),
            expiry_seconds: self.expiry_seconds,
            absent_since: self.absent_since,
            will: self.will.clone().map(|(message, retain, delay_seconds)| StoredWill {
                message,
                retain,
                delay_seconds,
            }),
            subscriptions: self.subscriptions.clone().into_iter().collect(),
            in_flight: in_flight.collect(),
            released: self.released.clone(),
            received: self.received.iter().copied().collect(),
            queued_messages: queued().count(),
            queued_bytes: queued().map(|entry| entry.message.topic.len() + entry.message.payload.len()).sum(),
            next_position: self.next_position,
        }
    }
}

/// Sorted, and without the highest number, which the store may know to be higher.
pub(super) fn sorted(mut recovered: Recovered) -> Recovered {
    recovered.sessions.sort_by_key(|session| session.number);
    recovered.retained.sort_by_key(|(body, _)| *body);
    recovered.numbers = 0;
    recovered
}
