//! Messages that came by shared subscriptions and go to another member instead: those in memory. What is in the store
//! alone goes by way of the hub.

use std::collections::VecDeque;
use std::mem;

use super::Outbound;
use super::queue::Kept;
use crate::codec::QoS;
use crate::session::{Manner, Message, ShareKey};

/// A message that goes to another member of a shared subscription.
#[derive(Debug)]
pub struct Handed {
    /// Whoever has it keeps it, and gives it back with [`release`](crate::session::release).
    pub message: Message,
    /// How it was for the first member.
    pub manner: Manner,
    /// Where it came from.
    pub share: ShareKey,
}

impl Outbound {
    /// Takes what waits in the queue, oldest first.
    pub fn take_shared_queued(&mut self) -> Vec<Handed> {
        self.queue.take_if(|queued| share(&queued.manner).is_some()).into_iter().filter_map(handed).collect()
    }

    /// The session is over: takes what its client has not acknowledged at QoS 1, and what waits. What was sent at QoS 2
    /// stays, for nobody else may get it [5.0 MQTT-4.8.2-5].
    pub fn take_shared(&mut self) -> Vec<Handed> {
        let is_taken = |kept: &Kept| kept.manner.qos == QoS::AtLeastOnce && share(&kept.manner).is_some();
        let (taken, left): (VecDeque<_>, VecDeque<_>) = mem::take(&mut self.published)
            .into_iter()
            .partition(|sent| sent.kept.as_ref().is_some_and(is_taken));
        self.published = left;
        self.to_repeat = self.to_repeat.min(self.published.len());
        let taken: Vec<_> = taken.into_iter().filter_map(|sent| sent.kept).collect();
        taken.iter().for_each(|kept| self.count_off(kept));
        let mut taken: Vec<_> = taken.into_iter().filter_map(handed).collect();
        taken.append(&mut self.take_shared_queued());
        taken
    }

    /// Puts messages back that were taken from the queue: before those that have come since. Only shared subscriptions
    /// let them overtake others, for their topics are not ordered [5.0 MQTT-4.6.0-6].
    pub fn put_back(&mut self, messages: Vec<Handed>) {
        for Handed { message, manner, .. } in messages.into_iter().rev() {
            self.queue.push_front(Kept { message, manner, position: 0 });
        }
    }
}

fn handed(Kept { message, manner, .. }: Kept) -> Option<Handed> {
    let share = share(&manner)?;
    Some(Handed { message, manner, share })
}

fn share(manner: &Manner) -> Option<ShareKey> {
    manner.note.as_ref()?.share.as_ref().map(|share| share.key)
}
