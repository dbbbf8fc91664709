//! What can happen, and how often.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sol::codec::{QoS, Version};

/// One of [`CLIENTS`], by its place.
pub(crate) type Who = usize;

pub(crate) const CLIENTS: [&str; 3] = ["ann", "ben", "cat"];

/// Overlapping, with empty levels, of all three realms: anybody's, reserved, the broker's own.
const TOPICS: [&str; 7] = ["a", "a/b", "b", "a/b/c", "/b", "$x/b", "$SYS/b"];
const FILTERS: [&str; 13] =
    ["a", "a/b", "b", "#", "+", "a/#", "a/+", "+/b", "+/+/#", "+/+/+/#", "$x/#", "$SYS/#", "$x/b"];

/// A message that a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) topic: &'static str,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) empty: bool,
    /// What a client of 5.0 says besides: the message expiry interval, in seconds, and other properties.
    pub(crate) expiry: Option<u32>,
    pub(crate) labels: bool,
}

/// What a client says in CONNECT about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) version: Version,
    /// Of a client of 5.0.
    pub(crate) receive_maximum: u16,
}

/// A step; of a client that is not connected, nothing but `Connect` has an effect.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Connect {
        who: Who,
        terms: Terms,
        clean: bool,
        keep_alive: u16,
        will: Option<Sent>,
        acknowledges: bool,
    },
    /// The network connection breaks.
    Break(Who),
    Disconnect(Who),
    Subscribe(Who, Vec<(&'static str, QoS)>),
    Unsubscribe(Who, Vec<&'static str>),
    /// All in one batch, behind the acknowledgements held back so far.
    Publish(Who, Vec<Sent>),
    /// The last message of QoS 1, or the oldest of QoS 2 before its PUBREL, once more with DUP.
    Repeat(Who, QoS),
    /// PUBREL for the oldest message of QoS 2.
    Release(Who),
    /// Acknowledgements of what was never sent.
    Stray(Who),
    Ping(Who),
    /// Goes on, or stops, reading what the broker sends.
    Read(Who, bool),
    /// Goes on, or stops, acknowledging what it reads.
    Acknowledge(Who, bool),
    /// Acknowledges once so many packets of those held back.
    AcknowledgeSome(Who, usize),
    /// Time passes.
    PassMillis(u64),
    /// The power fails, and comes back: what the disk had not synced may be there or not, as the number decides.
    PowerCut(u64),
    /// The same when the broker has handled the client's messages, and nobody has heard of it.
    PowerCutAfter(Who, Vec<Sent>, u64),
}

/// With power cuts among them.
pub(crate) fn action_or_power_cut() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => action(),
        1 => any::<u64>().prop_map(Action::PowerCut),
        1 => (0..CLIENTS.len(), vec(sent(), 1..4), any::<u64>())
            .prop_map(|(who, messages, seed)| Action::PowerCutAfter(who, messages, seed)),
    ]
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    use Action::*;
    let who = || 0..CLIENTS.len();
    prop_oneof![
        6 => (who(), terms(), weighted(0.3), select(&[0, 0, 1, 2][..]), option::of(sent()), weighted(0.6)).prop_map(
            |(who, terms, clean, keep_alive, will, acknowledges)| Connect {
                who, terms, clean, keep_alive, will, acknowledges,
            }
        ),
        3 => who().prop_map(Break),
        1 => who().prop_map(Disconnect),
        5 => (who(), vec((select(&FILTERS), qos()), 1..4)).prop_map(|(who, filters)| Subscribe(who, filters)),
        2 => (who(), vec(select(&FILTERS), 1..3)).prop_map(|(who, filters)| Unsubscribe(who, filters)),
        9 => (who(), vec(sent(), 1..4)).prop_map(|(who, messages)| Publish(who, messages)),
        2 => (who(), qos()).prop_map(|(who, qos)| Repeat(who, qos)),
        2 => who().prop_map(Release),
        1 => who().prop_map(Stray),
        1 => who().prop_map(Ping),
        2 => (who(), any::<bool>()).prop_map(|(who, on)| Read(who, on)),
        3 => (who(), any::<bool>()).prop_map(|(who, on)| Acknowledge(who, on)),
        3 => (who(), 1..4_usize).prop_map(|(who, count)| AcknowledgeSome(who, count)),
        2 => (0..2000_u64).prop_map(PassMillis),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let version = select(&[Version::V311, Version::V5][..]);
    let receive_maximum = select(&[1, 2, 3, u16::MAX][..]);
    (version, receive_maximum).prop_map(|(version, receive_maximum)| Terms { version, receive_maximum })
}

fn sent() -> impl Strategy<Value = Sent> {
    (topic(), qos(), weighted(0.3), weighted(0.2), option::of(0..4_u32), weighted(0.3)).prop_map(
        |(topic, qos, retain, empty, expiry, labels)| Sent { topic, qos, retain, empty, expiry, labels },
    )
}

/// Mostly the same one, so that order and limits matter.
fn topic() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a/b"), select(&TOPICS)]
}

fn qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..])
}
