//! Sessions and wills against a model of them, whatever the clients do and however the time passes.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Waker;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sol::Limits;
use sol::auth::Entrance;
use sol::codec::{Connect, Decoded, Disconnect, Packet, Property, QoS, Reason, Version, Will, decode};
use sol::hub::{Batch, Ending, Hub, Next, Peer};
use sol::session::Outbox;
use sol::topic::Name;

use super::common::{self, subscribe};
use super::{connect, properties};

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const NEVER: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Action {
    /// With the will's delay, if it has one.
    Connect {
        who: usize,
        is_clean: bool,
        expiry: u32,
        will: Option<u32>,
    },
    Break(usize),
    Disconnect {
        who: usize,
        sends_will: bool,
        expiry: Option<u32>,
    },
    /// In seconds.
    Pass(u64),
}

fn expiry() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 1, 2, 4, NEVER])
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let who = 0..CLIENTS.len();
    let delay = prop::option::of(prop::sample::select(vec![0, 1, 2, 3, NEVER]));
    let action = prop_oneof![
        3 => (who.clone(), any::<bool>(), expiry(), delay)
            .prop_map(|(who, is_clean, expiry, will)| Action::Connect { who, is_clean, expiry, will }),
        2 => who.clone().prop_map(Action::Break),
        1 => (who, any::<bool>(), prop::option::of(expiry()))
            .prop_map(|(who, sends_will, expiry)| Action::Disconnect { who, sends_will, expiry }),
        2 => (0..4_u64).prop_map(Action::Pass),
    ];
    prop::collection::vec(action, 1..40)
}

/// A session as it should be. Times are in seconds from the start.
enum Session {
    Here { expiry: u32, will: Option<(u32, u32)> },
    Away { ends: Option<u64>, will: Option<(u64, u32)> },
}

#[derive(Default)]
struct Model {
    now: u64,
    sessions: BTreeMap<usize, Session>,
    wills: Vec<u32>,
    expired: u64,
}

impl Model {
    fn connect(&mut self, who: usize, is_clean: bool, expiry: u32, will: Option<(u32, u32)>) -> bool {
        if matches!(self.sessions.get(&who), Some(Session::Here { .. })) {
            self.leave(who, true);
        }
        let before = self.sessions.insert(who, Session::Here { expiry, will });
        match before {
            Some(Session::Away { will, .. }) if is_clean => self.wills.extend(will.map(|(_, number)| number)),
            _ => {}
        }
        !is_clean && before.is_some()
    }

    fn leave(&mut self, who: usize, sends_will: bool) {
        let Some(Session::Here { expiry, will }) = self.sessions.remove(&who) else { return };
        let will = will.filter(|_| sends_will);
        if expiry == 0 {
            return self.wills.extend(will.map(|(_, number)| number));
        }
        let ends = (expiry != NEVER).then_some(self.now + u64::from(expiry));
        let will = match will {
            Some((0, number)) => {
                self.wills.push(number);
                None
            }
            will => will.map(|(delay, number)| (self.now + u64::from(delay), number)),
        };
        self.sessions.insert(who, Session::Away { ends, will });
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        let (now, wills, expired) = (self.now, &mut self.wills, &mut self.expired);
        self.sessions.retain(|_, session| {
            let Session::Away { ends, will } = session else { return true };
            let is_over = ends.is_some_and(|at| at <= now);
            wills.extend(will.take_if(|(at, _)| is_over || *at <= now).map(|(_, number)| number));
            *expired += u64::from(is_over);
            !is_over
        });
    }
}

struct World {
    hub: Hub,
    batch: Batch,
    now: Instant,
    peers: BTreeMap<usize, Peer>,
    watcher: Peer,
    model: Model,
    /// Wills so far: each has its number as payload.
    numbers: u32,
}

fn accept(hub: &Hub, now: Instant) -> Peer {
    hub.accept(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), Entrance::open(), now).unwrap()
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let (hub, mut batch) = (Hub::new(Limits::default()), Batch::new(now));
        let mut watcher = accept(&hub, now);
        let bytes = common::encode(&[
            Packet::Connect(common::connect("watcher")),
            subscribe("will", QoS::AtMostOnce),
        ]);
        hub.handle(&mut watcher, &bytes, now, &mut batch);
        let (peers, model) = (BTreeMap::new(), Model::default());
        let mut world = Self { hub, batch, now, peers, watcher, model, numbers: 0 };
        assert_eq!(world.heard(), [0; 0]);
        world
    }

    /// The numbers of the wills that came.
    fn heard(&mut self) -> Vec<u32> {
        let mut unsent = Outbox::default();
        self.hub.collect(&self.watcher, &mut unsent, &mut self.batch).unwrap();
        let mut room = [IoSlice::new(&[]); 64];
        let bytes: Vec<u8> = unsent.slices(&mut room).iter().flat_map(|slice| slice.to_vec()).collect();
        let (mut rest, mut heard) = (&bytes[..], Vec::new());
        while let Ok(Decoded::Packet { packet, length }) = decode(rest, Some(Version::V311), usize::MAX) {
            if let Packet::Publish(publish) = packet {
                heard.push(u32::from_be_bytes(publish.payload.try_into().unwrap()));
            }
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        unsent.clear();
        heard
    }

    fn close(&mut self, peer: Peer, ending: &Ending) {
        self.hub.close(peer, ending, self.now, &mut self.batch);
        self.batch.wake();
    }

    fn connect(&mut self, who: usize, is_clean: bool, expiry: u32, will: Option<u32>) {
        self.numbers += 1;
        let number = self.numbers.to_be_bytes();
        let delay = properties(&[Property::WillDelayInterval(will.unwrap_or(0))]);
        let with = properties(&[Property::SessionExpiryInterval(expiry)]);
        let packet = Connect {
            clean_session: is_clean,
            properties: with.as_properties(),
            will: will.map(|_| Will {
                topic: Name::new("will").unwrap(),
                payload: &number,
                qos: QoS::AtMostOnce,
                retain: false,
                properties: delay.as_properties(),
            }),
            ..connect(CLIENTS[who])
        };
        let mut bytes = Vec::new();
        Packet::Connect(packet).encode(Version::V5, &mut bytes).unwrap();
        let mut peer = accept(&self.hub, self.now);
        self.hub.handle(&mut peer, &bytes, self.now, &mut self.batch);
        let mut unsent = Outbox::default();
        self.hub.collect(&peer, &mut unsent, &mut self.batch).unwrap();
        let mut room = [IoSlice::new(&[]); 8];
        let is_present = unsent.slices(&mut room)[0][2] == 1;
        unsent.clear();
        let numbered = will.map(|delay| (delay, self.numbers));
        assert_eq!(is_present, self.model.connect(who, is_clean, expiry, numbered));
        if let Some(old) = self.peers.insert(who, peer) {
            self.close(old, &Ending::TakenOver);
        }
    }

    fn disconnect(&mut self, who: usize, sends_will: bool, expiry: Option<u32>) {
        let Some(mut peer) = self.peers.remove(&who) else { return };
        let reason = if sends_will { Reason::DisconnectWithWill } else { Reason::Success };
        let expiries: Vec<_> = expiry.map(Property::SessionExpiryInterval).into_iter().collect();
        let with = properties(&expiries);
        let mut bytes = Vec::new();
        let packet = Packet::Disconnect(Disconnect { reason, properties: with.as_properties() });
        packet.encode(Version::V5, &mut bytes).unwrap();
        let Next::End(ending) = self.hub.handle(&mut peer, &bytes, self.now, &mut self.batch).next else {
            panic!("goes on behind DISCONNECT");
        };
        let mut is_valid = true;
        if let (Some(Session::Here { expiry, .. }), Some(asked)) = (self.model.sessions.get_mut(&who), expiry)
        {
            is_valid = *expiry != 0 || asked == 0;
            if is_valid {
                *expiry = asked;
            }
        }
        assert_eq!(matches!(ending, Ending::Violation { .. }), !is_valid, "{ending}");
        self.model.leave(who, sends_will || !is_valid);
        self.close(peer, &ending);
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.hub.attend(self.now, Waker::noop(), &mut self.batch) {
            if due > until {
                break;
            }
            self.now = due;
        }
        self.now = until;
        self.hub.attend(self.now, Waker::noop(), &mut self.batch);
        self.model.pass(seconds);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { who, is_clean, expiry, will } => self.connect(who, is_clean, expiry, will),
            Action::Break(who) => {
                if let Some(peer) = self.peers.remove(&who) {
                    self.model.leave(who, true);
                    self.close(peer, &Ending::Closed);
                }
            }
            Action::Disconnect { who, sends_will, expiry } => self.disconnect(who, sends_will, expiry),
            Action::Pass(seconds) => self.pass(seconds),
        }
        let (mut heard, mut expected) = (self.heard(), std::mem::take(&mut self.model.wills));
        heard.sort_unstable();
        expected.sort_unstable();
        assert_eq!(heard, expected, "wills");
        let stats = self.hub.stats();
        let waiting = self.model.sessions.values().filter(|session| match session {
            Session::Here { will, .. } => will.is_some(),
            Session::Away { will, .. } => will.is_some(),
        });
        assert_eq!(stats.stored, waiting.count(), "wills that are kept");
        assert_eq!(stats.sessions, self.model.sessions.len() + 1);
        assert_eq!(stats.clients_expired, self.model.expired);
    }
}

proptest! {
    #[test]
    fn sessions_and_wills_are_as_the_model_says(actions in actions()) {
        let mut world = World::new();
        // What is remembered of the will's topic takes some memory, too.
        world.act(Action::Connect { who: 0, is_clean: true, expiry: 0, will: Some(0) });
        world.act(Action::Break(0));
        let used = world.hub.stats().memory_used;
        actions.into_iter().for_each(|action| world.act(action));
        // All come back to nothing, and nothing is left.
        for who in 0..CLIENTS.len() {
            world.connect(who, true, 0, None);
            world.act(Action::Break(who));
        }
        prop_assert_eq!(world.hub.stats().memory_used, used);
    }
}
