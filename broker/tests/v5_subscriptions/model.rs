//! The hub against a naive model: clients of 3.1.1 and 5.0 subscribe with all options, share, and publish. Everybody
//! reads and acknowledges at once, so that each member of a shared subscription gets exactly its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sol::auth::Entrance;
use sol::hub::{Batch, Hub, Peer};
use sol::session::Outbox;
use sol::topic::Name;

use super::outbox::{drain, packets_in};
use super::*;

const VERSIONS: [Version; 4] = [Version::V311, Version::V5, Version::V5, Version::V5];
const TOPICS: [&str; 3] = ["a", "a/b", "b"];
const FILTERS: [&str; 9] =
    ["a", "a/b", "a/#", "+/b", "#", "$share/g/a", "$share/h/a", "$share/g/#", "$share/g/a/+"];

#[derive(Clone, Debug)]
enum Action {
    Subscribe(usize, Option<u32>, Vec<(&'static str, SubscribeOptions)>),
    Unsubscribe(usize, Vec<&'static str>),
    Publish { who: usize, topic: &'static str, qos: QoS, retain: bool, is_empty: bool },
}

fn action() -> impl Strategy<Value = Action> {
    let who = || 0..VERSIONS.len();
    let qos = || select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..]);
    let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    let options = (qos(), weighted(0.3), weighted(0.3), select(handling.to_vec())).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    let wanted = (select(&FILTERS[..]), options).prop_map(|(filter, options)| {
        // [MQTT-3.8.3-4]
        let no_local = options.no_local && !filter.starts_with("$share/");
        (filter, SubscribeOptions { no_local, ..options })
    });
    prop_oneof![
        4 => (who(), option::of(1..5_u32), vec(wanted, 1..4))
            .prop_map(|(who, identifier, filters)| Action::Subscribe(who, identifier, filters)),
        1 => (who(), vec(select(&FILTERS[..]), 1..4)).prop_map(|(who, filters)| Action::Unsubscribe(who, filters)),
        5 => (who(), select(&TOPICS[..]), qos(), weighted(0.4), weighted(0.2)).prop_map(
            |(who, topic, qos, retain, is_empty)| Action::Publish { who, topic, qos, retain, is_empty }
        ),
    ]
}

proptest! {
    #[test]
    fn everybody_gets_what_it_subscribed_to(actions in vec(action(), 1..60)) {
        let (mut world, mut model) = (World::new(), Model::default());
        for (number, action) in actions.into_iter().enumerate() {
            let (mut expected, answer) = model.act(&action, number);
            let mut got = world.act(&action, number);
            prop_assert_eq!(world.answers.pop(), answer, "{:?}", action);
            prop_assert!(world.answers.is_empty(), "{:?}", world.answers);
            got.sort();
            expected.sort();
            prop_assert_eq!(got, expected, "{:?}", action);
        }
    }
}

/// Who got what: payload, QoS, RETAIN, identifiers.
type Delivery = (usize, String, QoS, bool, Vec<u32>);

/// The codes of SUBACK and UNSUBACK, the reason of PUBACK and PUBREC.
#[derive(Debug, PartialEq)]
enum Answer {
    Subscribed(Vec<SubscribeCode>),
    Unsubscribed(Vec<Reason>),
    Published(Reason),
}

#[derive(Default)]
struct Model {
    subscriptions: BTreeMap<(usize, &'static str), (SubscribeOptions, Option<u32>)>,
    /// In the order in which they joined, but that the last one takes the place of one that leaves; and whose turn it is.
    groups: BTreeMap<&'static str, (Vec<usize>, usize)>,
    retained: BTreeMap<&'static str, (String, QoS)>,
}

/// What a filter matches, and whether it is a shared subscription's.
fn matched(filter: &str) -> (Filter<'_>, bool) {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    (Filter::new(shared.map_or(filter, |(_, filter)| filter)).unwrap(), shared.is_some())
}

impl Model {
    fn act(&mut self, action: &Action, number: usize) -> (Vec<Delivery>, Option<Answer>) {
        match action {
            Action::Subscribe(who, identifier, filters) => {
                let mut deliveries = Vec::new();
                for (filter, options) in filters {
                    deliveries.extend(self.subscribe(*who, *identifier, filter, *options));
                }
                let codes = filters.iter().map(|(_, options)| SubscribeCode::Granted(options.qos));
                (deliveries, Some(Answer::Subscribed(codes.collect())))
            }
            Action::Unsubscribe(who, filters) => {
                let codes = filters.iter().map(|filter| self.unsubscribe(*who, filter)).collect();
                let is_told = VERSIONS[*who] == Version::V5;
                (Vec::new(), Some(Answer::Unsubscribed(if is_told { codes } else { Vec::new() })))
            }
            Action::Publish { who, topic, qos, retain, is_empty } => {
                let payload = if *is_empty { String::new() } else { number.to_string() };
                if *retain && *is_empty {
                    self.retained.remove(topic);
                } else if *retain {
                    self.retained.insert(topic, (payload.clone(), *qos));
                }
                let deliveries = self.publish(*who, topic, &payload, *qos, *retain);
                let is_told = VERSIONS[*who] == Version::V5 && deliveries.is_empty();
                let reason = if is_told { Reason::NoMatchingSubscribers } else { Reason::Success };
                (deliveries, (*qos > QoS::AtMostOnce).then_some(Answer::Published(reason)))
            }
        }
    }

    fn subscribe(
        &mut self,
        who: usize,
        identifier: Option<u32>,
        filter: &'static str,
        options: SubscribeOptions,
    ) -> Vec<Delivery> {
        // 3.1.1 has the QoS alone.
        let (options, identifier) = match VERSIONS[who] {
            Version::V5 => (options, identifier),
            _ => (at(options.qos), None),
        };
        let is_new = self.subscriptions.insert((who, filter), (options, identifier)).is_none();
        let (matched, is_shared) = matched(filter);
        if is_shared {
            if is_new {
                self.groups.entry(filter).or_default().0.push(who);
            }
            return Vec::new();
        }
        match options.retain_handling {
            RetainHandling::DoNotSend => return Vec::new(),
            RetainHandling::SendIfNew if !is_new => return Vec::new(),
            _ => {}
        }
        let retained = self.retained.iter().filter(|(topic, _)| matched.matches(Name::new(topic).unwrap()));
        let deliver = |(_, (payload, qos)): (_, &(String, QoS))| {
            (who, payload.clone(), *qos.min(&options.qos), true, Vec::from_iter(identifier))
        };
        retained.map(deliver).collect()
    }

    fn unsubscribe(&mut self, who: usize, filter: &'static str) -> Reason {
        if self.subscriptions.remove(&(who, filter)).is_none() {
            return Reason::NoSubscriptionExisted;
        }
        if let Some((members, _)) = self.groups.get_mut(filter) {
            let at = members.iter().position(|member| *member == who).unwrap();
            members.swap_remove(at);
            if members.is_empty() {
                self.groups.remove(filter);
            }
        }
        Reason::Success
    }

    fn publish(&mut self, from: usize, topic: &str, payload: &str, qos: QoS, retain: bool) -> Vec<Delivery> {
        let name = Name::new(topic).unwrap();
        let mut deliveries = Vec::new();
        for (who, _) in VERSIONS.iter().enumerate() {
            let matching: Vec<_> = self
                .subscriptions
                .iter()
                .filter(|((subscriber, filter), (options, _))| {
                    let (filter, is_shared) = matched(filter);
                    let is_kept_back = options.no_local && from == who;
                    *subscriber == who && !is_shared && filter.matches(name) && !is_kept_back
                })
                .map(|(_, subscription)| subscription)
                .collect();
            let Some(highest) = matching.iter().map(|(options, _)| options.qos).max() else { continue };
            let retain = retain && matching.iter().any(|(options, _)| options.retain_as_published);
            let identifiers: BTreeSet<_> =
                matching.iter().filter_map(|(_, identifier)| *identifier).collect();
            deliveries.push((who, payload.to_owned(), qos.min(highest), retain, Vec::from_iter(identifiers)));
        }
        for (filter, (members, turn)) in &mut self.groups {
            if matched(filter).0.matches(name) {
                let who = members[*turn % members.len()];
                *turn += 1;
                let (options, identifier) = self.subscriptions[&(who, *filter)];
                let retain = retain && options.retain_as_published;
                deliveries.push((
                    who,
                    payload.to_owned(),
                    qos.min(options.qos),
                    retain,
                    Vec::from_iter(identifier),
                ));
            }
        }
        deliveries
    }
}

struct World {
    hub: Hub,
    batch: Batch,
    now: Instant,
    peers: Vec<(Peer, Outbox)>,
    answers: Vec<Answer>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let (hub, batch) = (Hub::new(Limits::default()), Batch::new(now));
        let mut world = Self { hub, batch, now, peers: Vec::new(), answers: Vec::new() };
        for (who, version) in VERSIONS.into_iter().enumerate() {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let peer = world.hub.accept(address, Entrance::open(), now).unwrap();
            world.peers.push((peer, Outbox::default()));
            world.send(who, &Packet::Connect(Connect { version, ..common::connect(&who.to_string()) }));
        }
        world.read();
        world
    }

    fn act(&mut self, action: &Action, number: usize) -> Vec<Delivery> {
        match action {
            Action::Subscribe(who, identifier, filters) => {
                let identifier = identifier.and_then(NonZeroU32::new).map(Property::SubscriptionIdentifier);
                let with = properties(identifier.as_slice());
                let filters =
                    filters.iter().map(|(filter, options)| (Filter::new(filter).unwrap(), *options));
                let mut subscribe = Subscribe::new(PacketId::MIN, filters.collect());
                if VERSIONS[*who] == Version::V5 {
                    subscribe.properties = with.as_properties();
                }
                self.send(*who, &Packet::Subscribe(subscribe));
            }
            Action::Unsubscribe(who, filters) => {
                let filters = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
                self.send(*who, &Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, filters)));
            }
            Action::Publish { who, topic, qos, retain, is_empty } => {
                let payload = if *is_empty { String::new() } else { number.to_string() };
                let publish = common::publish(topic, payload.as_bytes(), *qos);
                self.send(*who, &Packet::Publish(Publish { retain: *retain, ..publish }));
                if *qos == QoS::ExactlyOnce {
                    self.send(*who, &Packet::Pubrel(Ack::new(PacketId::MIN)));
                }
            }
        }
        self.read()
    }

    fn send(&mut self, who: usize, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(VERSIONS[who], &mut bytes).unwrap();
        let (peer, unsent) = &mut self.peers[who];
        let handled = self.hub.handle(peer, &bytes, self.now, &mut self.batch);
        assert_eq!(handled.consumed, bytes.len(), "{handled:?} for {packet:?}");
        self.hub.collect(peer, unsent, &mut self.batch).unwrap();
    }

    /// Everybody reads and acknowledges until there is nothing more.
    fn read(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        loop {
            let mut is_quiet = true;
            for (who, version) in VERSIONS.into_iter().enumerate() {
                let (peer, unsent) = &mut self.peers[who];
                self.hub.collect(peer, unsent, &mut self.batch).unwrap();
                let bytes = drain(unsent);
                is_quiet &= bytes.is_empty();
                for packet in packets_in(&bytes, version) {
                    self.take(who, packet, &mut deliveries);
                }
            }
            if is_quiet {
                self.batch.wake();
                return deliveries;
            }
        }
    }

    fn take(&mut self, who: usize, packet: Packet<'_>, deliveries: &mut Vec<Delivery>) {
        match packet {
            Packet::Publish(publish) => {
                let Got { payload, qos, retain, identifiers, packet_id, .. } = got(&publish);
                deliveries.push((who, payload, qos, retain, identifiers));
                let ack = packet_id.map(Ack::new);
                match (qos, ack) {
                    (QoS::AtLeastOnce, Some(ack)) => self.send(who, &Packet::Puback(ack)),
                    (QoS::ExactlyOnce, Some(ack)) => self.send(who, &Packet::Pubrec(ack)),
                    _ => {}
                }
            }
            Packet::Pubrel(ack) => self.send(who, &Packet::Pubcomp(Ack::new(ack.packet_id))),
            Packet::Suback(suback) => self.answers.push(Answer::Subscribed(suback.codes.to_vec())),
            Packet::Unsuback(unsuback) => self.answers.push(Answer::Unsubscribed(unsuback.codes.to_vec())),
            Packet::Puback(ack) | Packet::Pubrec(ack) => self.answers.push(Answer::Published(ack.reason)),
            Packet::Pubcomp(_) | Packet::Connack(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
