//! Messages that came by shared subscriptions and go to another member instead.

use std::mem;
use std::sync::Arc;

use super::{Outbound, Queued};
use crate::codec::QoS;
use crate::session::{Manner, Message, ShareKey};

/// A message that goes to another member of a shared subscription.
#[derive(Debug)]
pub struct Handed {
    /// Whoever has it keeps it, and gives it back with [`release`](crate::session::release).
    pub message: Arc<Message>,
    /// How it was for the first member.
    pub manner: Manner,
    /// Where it came from.
    pub share: ShareKey,
}

impl Outbound {
    /// Takes what waits in the queue, oldest first.
    pub fn take_shared_queued(&mut self) -> Vec<Handed> {
        if self.queue.iter().all(|queued| share(&queued.manner).is_none()) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for Queued { message, manner } in mem::take(&mut self.queue) {
            match share(&manner) {
                Some(share) => {
                    self.queued_bytes = self.queued_bytes.saturating_sub(message.bytes());
                    self.queued_at_most_once -= usize::from(manner.qos == QoS::AtMostOnce);
                    taken.push(Handed { message, manner, share });
                }
                None => self.queue.push_back(Queued { message, manner }),
            }
        }
        taken
    }

    /// The session is over: takes what its client has not acknowledged at QoS 1, and what waits. What was sent at QoS 2
    /// stays, for nobody else may get it [5.0 MQTT-4.8.2-5].
    pub fn take_shared(&mut self) -> Vec<Handed> {
        let mut taken = Vec::new();
        for sent in mem::take(&mut self.published) {
            match share(&sent.manner) {
                Some(share) if sent.manner.qos == QoS::AtLeastOnce => {
                    self.published_bytes = self.published_bytes.saturating_sub(sent.message.bytes());
                    taken.push(Handed { message: sent.message, manner: sent.manner, share });
                }
                _ => self.published.push_back(sent),
            }
        }
        self.to_repeat = self.to_repeat.min(self.published.len());
        taken.append(&mut self.take_shared_queued());
        taken
    }

    /// Puts messages back that were taken from the queue: before those that have come since. Only shared subscriptions
    /// let them overtake others, for their topics are not ordered [5.0 MQTT-4.6.0-6].
    pub fn put_back(&mut self, messages: Vec<Handed>) {
        for Handed { message, manner, .. } in messages.into_iter().rev() {
            self.next_expiry = self.next_expiry.into_iter().chain(message.expires_at()).min();
            self.queued_bytes = self.queued_bytes.saturating_add(message.bytes());
            self.queued_at_most_once += usize::from(manner.qos == QoS::AtMostOnce);
            self.queue.push_front(Queued { message, manner });
        }
    }
}

fn share(manner: &Manner) -> Option<ShareKey> {
    manner.note.as_ref().and_then(|note| note.share)
}
