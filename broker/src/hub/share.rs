//! Shared subscriptions (§4.8.2 of 5.0): of each message, one member gets one copy.
//!
//! # Who gets a message
//!
//! The members take turns. A turn passes over members in this order of choice:
//!
//! 1. connected, with room in its window and its outbox: it gets the message now;
//! 2. connected, with room in its queue: it gets it once it has acknowledged or read what came before;
//! 3. not connected, with room in its queue. At QoS 0 nothing is kept for an absent client.
//!
//! Where nobody has room, the message is dropped and counted once. Each member's granted QoS holds for what it gets
//! [5.0 MQTT-4.8.2-3]; retained messages are not sent on subscribing.
//!
//! # When a member goes away
//!
//! - Its connection ends and its session stays: what waits in its queue and was never sent goes to connected members at
//!   once, oldest first, as far as they have room; the rest waits for its return. What is in flight stays its own: at
//!   QoS 2 that is asked for [5.0 MQTT-4.8.2-4], at QoS 1 it keeps the others from doing the work twice.
//! - Its session ends: what waits and what was not acknowledged at QoS 1 goes to the other members, connected or not.
//!   What was sent at QoS 2 goes to nobody [5.0 MQTT-4.8.2-5].
//! - It unsubscribes: what it was given before stays its own [5.0 MQTT-3.10.4-3], until one of the above happens.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indexmap::IndexMap;

use super::sending::{Sending, Unsent};
use super::subscriptions::{Options, SubscriptionIndex};
use super::{Batch, Client, ClientKey, Hub};
use crate::codec::QoS;
use crate::session::{Content, Handed, Manner, Note, OutboundLimits, Share, ShareKey, release};

/// Messages that a session leaves, of which so many are handed on before others may use the index.
const AT_A_TIME: usize = 1000;

/// Looks at members for messages that fit none of them, before a session keeps what else it has: others wait for the index.
const MOST_IN_VAIN: usize = 100_000;

/// The members of a shared subscription.
#[derive(Default)]
pub(super) struct Group {
    /// In the order in which they joined; the last one takes the place of one that leaves.
    members: IndexMap<ClientKey, Member, ahash::RandomState>,
    /// Whose turn it is, counted on and on.
    turn: AtomicUsize,
}

/// A client's part in a shared subscription.
pub(super) struct Member {
    client: Arc<Client>,
    qos: QoS,
    retain_as_published: bool,
    /// Goes with each delivery, and tells where it came from.
    note: Arc<Note>,
}

/// Which members may get a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    Connected,
}

/// One round through the members: see the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Now,
    Soon,
    Later,
}

impl Member {
    /// What it asks for. Members never say No Local [5.0 MQTT-3.8.3-4].
    pub(super) fn options(&self) -> Options {
        Options {
            qos: self.qos,
            no_local: false,
            retain_as_published: self.retain_as_published,
            identifier: self.note.subscription_ids.first().copied(),
        }
    }

    pub(super) fn new(client: &Arc<Client>, options: Options, share: Share) -> Self {
        let subscription_ids: Box<[NonZeroU32]> = options.identifier.into_iter().collect();
        Self {
            client: Arc::clone(client),
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            note: Arc::new(Note { subscription_ids, share: Some(share) }),
        }
    }

    /// Whether the client wants the same with both.
    pub(super) fn has_options_of(&self, other: &Self) -> bool {
        self.qos == other.qos
            && self.retain_as_published == other.retain_as_published
            && self.note.subscription_ids == other.note.subscription_ids
    }

    /// How it gets a message that was published at that QoS.
    fn manner(&self, qos: QoS, retain: bool) -> Manner {
        Manner {
            retain: retain && self.retain_as_published,
            note: Some(Arc::clone(&self.note)),
            ..Manner::at(qos.min(self.qos))
        }
    }
}

impl Group {
    /// False if the client was a member before: it stays in its place, with other options.
    pub(super) fn join(&mut self, member: Member) -> bool {
        self.members.insert(member.client.key, member).is_none()
    }

    /// The part of the client, if it is a member.
    pub(super) fn member(&self, client: ClientKey) -> Option<&Member> {
        self.members.get(&client)
    }

    /// False if the client was no member.
    pub(super) fn leave(&mut self, client: ClientKey) -> bool {
        self.members.swap_remove(&client).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Gives the message to one member within reach, if any can take it.
    pub(super) fn deliver(
        &self,
        sending: &mut Sending<'_, '_>,
        retain: bool,
        reach: Reach,
    ) -> Result<(), Missed> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let (mut is_somebody_here, mut is_somebody_away) = (false, false);
        let mut unsent = Unsent::NotAllowed;
        let mut granted = QoS::AtMostOnce;
        for choice in [Choice::Now, Choice::Soon, Choice::Later] {
            let is_possible = match choice {
                Choice::Now => true,
                Choice::Soon => is_somebody_here,
                Choice::Later => is_somebody_away && reach == Reach::All,
            };
            let members = self.in_turn(first).enumerate().take_while(|_| is_possible);
            for (step, member) in members {
                sending.count_look();
                if !member.client.may_read(sending.content.topic()) {
                    continue;
                }
                granted = granted.max(member.qos);
                let mut session = member.client.session.lock();
                let is_here = session.link.is_some();
                is_somebody_here |= is_here;
                is_somebody_away |= !is_here;
                if is_here == (choice == Choice::Later) {
                    continue;
                }
                let limits = match choice {
                    Choice::Now => {
                        OutboundLimits { queued_messages: 0, stored_messages: 0, ..sending.limits.here }
                    }
                    Choice::Soon => sending.limits.here,
                    Choice::Later => sending.limits.away,
                };
                let manner = member.manner(sending.content.qos(), retain);
                match sending.try_deliver(&mut session, &manner, &limits) {
                    Ok(()) if step == 0 => return Ok(()),
                    Ok(()) => {
                        // The next turn is the following member's: it does not get those of all who were passed over.
                        self.turn.store(first.wrapping_add(step).wrapping_add(1), Ordering::Relaxed);
                        return Ok(());
                    }
                    // Unless it would have fit for somebody.
                    Err(Unsent::TooLarge) if unsent == Unsent::NoRoom => {}
                    Err(why) => unsent = why,
                }
            }
        }
        Err(Missed { unsent, is_somebody_here, granted })
    }

    /// All members, beginning with the one whose turn it is.
    fn in_turn(&self, turn: usize) -> impl Iterator<Item = &Member> {
        let first = turn.checked_rem(self.members.len()).unwrap_or(0);
        let (before, after) = self.members.as_slice().split_at(first);
        after.values().chain(before.values())
    }
}

/// No member of a group got a message.
#[derive(Clone, Copy)]
pub(super) struct Missed {
    unsent: Unsent,
    is_somebody_here: bool,
    /// The highest QoS of a member.
    granted: QoS,
}

impl Missed {
    pub(super) fn count(self, sending: &mut Sending<'_, '_>) {
        let qos = self.granted.min(sending.content.qos());
        if sending.give_up(self.unsent, self.is_somebody_here, qos).is_some() {
            sending.noted.note_group();
        }
    }
}

#[cfg(test)]
impl Group {
    /// The keys of the clients, in order.
    pub(super) fn members(&self) -> Vec<ClientKey> {
        let mut members: Vec<_> = self.members.keys().copied().collect();
        members.sort_unstable();
        members
    }
}

impl Hub {
    /// A client's connection ended, and its session stays: gives what waits for it in vain to members that are here.
    pub(super) fn pass_on(&self, client: &Arc<Client>, batch: &mut Batch) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        // Until this is let go of, the session neither unsubscribes nor ends.
        let index = self.index.read();
        let mut session = client.session.lock();
        if session.subscriptions.is_empty() {
            return;
        }
        if session.log().is_some() {
            if session.outbound.queued() > 0 && session.may_have_shared() {
                self.fetch_to_pass_on(client, &mut session);
            }
            return;
        }
        let waiting = session.outbound.take_shared_queued();
        drop(session);
        if waiting.is_empty() {
            return;
        }
        let kept = self.offer(waiting, Reach::Connected, &index, batch);
        let mut session = client.session.lock();
        session.outbound.put_back(kept);
        // It may have come back in the meantime.
        batch.wakers.extend(session.link.as_mut().and_then(|link| link.wake_for_output()));
        session.settle(&mut batch.tally);
    }

    /// A session ended: gives what it leaves to the other members. Where there are none, or the broker stops, it is over
    /// with the session.
    pub(super) fn hand_on(&self, left: Vec<Handed>, batch: &mut Batch) {
        let mut left = left.into_iter();
        while !left.as_slice().is_empty() {
            let some = left.by_ref().take(AT_A_TIME).collect();
            let over = match self.stopping.load(Ordering::Acquire) {
                true => some,
                false => self.offer(some, Reach::All, &self.index.read(), batch),
            };
            over.into_iter().for_each(|Handed { message, .. }| release(message, &mut batch.tally));
        }
    }

    /// Gives messages to members of the groups that they came by. Gives back what nobody takes; where nobody has room, all
    /// of that group that follows, too. Within the reach of all, that is counted; otherwise it may give back what it did not
    /// come to.
    pub(super) fn offer(
        &self,
        messages: Vec<Handed>,
        reach: Reach,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> Vec<Handed> {
        let limits = self.delivery_limits();
        let mut full = HashMap::<ShareKey, Missed, ahash::RandomState>::default();
        let (mut kept, mut in_vain) = (Vec::new(), 0);
        for handed in messages {
            if reach == Reach::Connected && in_vain > MOST_IN_VAIN {
                kept.push(handed);
                continue;
            }
            let Batch { wakers, noted, bytes, tally, now, .. } = &mut *batch;
            if handed.message.is_expired(*now) {
                tally.expired_messages += 1;
                release(handed.message, tally);
                continue;
            }
            let group = index.group(handed.share);
            let sent = group.map(|group| {
                let content = Content::shared(&handed.message);
                let mut sending = Sending::new(&content, &limits, (wakers, noted), bytes, tally, *now);
                let sent = match full.get(&handed.share) {
                    Some(missed) => Err(*missed),
                    None => group.deliver(&mut sending, handed.manner.retain, reach),
                };
                if let (Err(missed), Reach::All) = (sent, reach) {
                    missed.count(&mut sending);
                }
                sent
            });
            match sent {
                Some(Ok(())) => {
                    release(handed.message, tally);
                    continue;
                }
                Some(Err(missed)) if missed.unsent == Unsent::NoRoom => {
                    full.insert(handed.share, missed);
                }
                Some(Err(_)) | None => in_vain += group.map_or(0, |group| group.members.len()),
            }
            kept.push(handed);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use super::*;
    use crate::auth::Entrance;
    use crate::codec::{
        Connect, Delivery, Packet, PacketId, PropertiesBuf, Property, Publish, Subscribe, Version,
    };
    use crate::hub::{Ending, Limits, Peer};
    use crate::topic::{Filter, Name};

    #[test]
    fn messages_that_fit_nobody_do_not_make_others_wait_for_long() {
        const MEMBERS: usize = 50;
        const MESSAGES: usize = 4 * MOST_IN_VAIN / MEMBERS;
        let (hub, now) = (Hub::new(Limits::default()), Instant::now());
        let mut batch = Batch::new(now);
        let (mut small, mut for_ever) = (PropertiesBuf::new(), PropertiesBuf::new());
        small.push(Property::MaximumPacketSize(NonZeroU32::new(60).unwrap())).unwrap();
        for_ever.push(Property::SessionExpiryInterval(u32::MAX)).unwrap();
        let filters = vec![(Filter::new("$share/g/t").unwrap(), QoS::AtLeastOnce)];
        let subscribe = Packet::Subscribe(Subscribe::new(PacketId::MIN, filters));
        let handle = |peer: &mut Peer, packets: &[Packet<'_>], batch: &mut Batch| {
            let mut bytes = Vec::new();
            packets.iter().for_each(|packet| packet.encode(Version::V5, &mut bytes).unwrap());
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                rest = &rest[hub.handle(peer, rest, now, batch).consumed..];
                batch.replies.clear();
                batch.wake();
            }
        };
        let join = |id: &str, properties: &PropertiesBuf, batch: &mut Batch| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let mut peer = hub.accept(address, Entrance::open(), now).unwrap();
            let connect = Packet::Connect(Connect {
                version: Version::V5,
                clean_session: true,
                keep_alive: 0,
                client_id: id,
                will: None,
                user_name: None,
                password: None,
                properties: properties.as_properties(),
            });
            handle(&mut peer, &[connect, subscribe.clone()], batch);
            peer
        };

        let mut leaver = join("leaver", &for_ever, &mut batch);
        let large = Publish::new(Name::new("t").unwrap(), Delivery::AtLeastOnce(PacketId::MIN), &[0; 60]);
        handle(&mut leaver, &vec![Packet::Publish(large); MESSAGES], &mut batch);
        let _members: Vec<_> = (0..MEMBERS).map(|id| join(&id.to_string(), &small, &mut batch)).collect();
        batch.wake();
        hub.close(leaver, &Ending::Closed, now, &mut batch);
        let all = MESSAGES * MEMBERS * 64;
        assert!((1..all).contains(&batch.bytes), "{} of {all}", batch.bytes);
        let waiting = hub.stats().queued;
        assert!(waiting > MESSAGES - 200, "{waiting} of {MESSAGES}");
    }
}
