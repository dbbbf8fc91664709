//! What there is to count, in plain integers: gathered by whoever works on a session, and added to the broker's
//! counters once in a batch.

use super::message::Message;
use crate::codec::QoS;

macro_rules! figures {
    ($($(#[$doc:meta])+ $name:ident,)*) => {
        /// What happened since it was last emptied: events, or by how much a quantity grew or shrank.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])+ pub $name: i64,)*
        }

        impl Tally {
            /// How many figures there are.
            pub const FIGURES: usize = [$(stringify!($name)),*].len();

            /// All of them, in the same order each time.
            pub fn figures(&mut self) -> [&mut i64; Self::FIGURES] {
                [$(&mut self.$name),*]
            }
        }
    };
}

figures! {
    /// Bytes that are accounted for as memory. It stands first: it is read alone, and often.
    memory,
    /// Bytes read from network connections.
    bytes_received,
    /// Bytes written to network connections.
    bytes_sent,
    /// Packets of any type received.
    messages_received,
    /// Packets of any type put on their way to a client.
    messages_sent,
    /// PUBLISH packets received.
    publish_received,
    /// PUBLISH packets put on their way to a client.
    publish_sent,
    /// Bytes of payload in the PUBLISH packets received.
    publish_bytes_received,
    /// Bytes of payload in the PUBLISH packets sent.
    publish_bytes_sent,
    /// PUBLISH packets received at QoS 1; what is left of all is QoS 0.
    publish_received_1,
    /// Those at QoS 2.
    publish_received_2,
    /// Bytes of payload in those at QoS 1.
    publish_bytes_received_1,
    /// Bytes of payload in those at QoS 2.
    publish_bytes_received_2,
    /// PUBLISH packets put on their way to a client at QoS 1; what is left of all is QoS 0.
    publish_sent_1,
    /// Those at QoS 2.
    publish_sent_2,
    /// Bytes of payload in those at QoS 1.
    publish_bytes_sent_1,
    /// Bytes of payload in those at QoS 2.
    publish_bytes_sent_2,
    /// Network connections opened.
    sockets,
    /// CONNECT packets accepted.
    connects,
    /// Sessions that ended because their client stayed away for too long.
    expired,
    /// Messages in flight: sent at QoS 1 or 2 and not finally acknowledged.
    in_flight,
    /// Messages queued in sessions; one that waits in two counts twice.
    queued_messages,
    /// Bytes of them.
    queued_bytes,
    /// Messages that are kept for somebody: each once, however many sessions share it.
    kept_messages,
    /// Bytes of them.
    kept_bytes,
    /// Deliveries at QoS 1 and 2 dropped because the client's queue was full.
    dropped_queue_full,
    /// Deliveries at QoS 0 dropped because the client does not read fast enough.
    dropped_outbox_full,
    /// Deliveries dropped because the packet would be larger than the client takes.
    dropped_too_large,
    /// Deliveries dropped, and retained messages removed, because the message had expired.
    expired_messages,
    /// Messages not retained because the store of retained messages was full.
    dropped_retained_full,
    /// Deliveries dropped because memory was short.
    dropped_memory_full,
    /// Messages not retained because memory was short.
    dropped_retained_memory_full,
    /// Connections and sessions refused because memory was short.
    refused_connections,
    /// Subscriptions refused because memory was short.
    refused_subscriptions,
    /// Connections ended because memory was short.
    cut_connections,
}

/// What a kept message takes beside its own bytes: the allocator's rounding.
const MESSAGE_BYTES: i64 = 16;

impl Tally {
    /// A PUBLISH with so many bytes of payload came.
    #[inline]
    pub fn receive_publish(&mut self, qos: QoS, payload_len: usize) {
        let bytes = signed(payload_len);
        self.publish_received += 1;
        self.publish_bytes_received += bytes;
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.publish_received_1 += 1;
                self.publish_bytes_received_1 += bytes;
            }
            QoS::ExactlyOnce => {
                self.publish_received_2 += 1;
                self.publish_bytes_received_2 += bytes;
            }
        }
    }

    /// A PUBLISH with so many bytes of payload is on its way to a client.
    #[inline]
    pub fn send_publish(&mut self, qos: QoS, payload_len: usize) {
        let bytes = signed(payload_len);
        self.messages_sent += 1;
        self.publish_sent += 1;
        self.publish_bytes_sent += bytes;
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                self.publish_sent_1 += 1;
                self.publish_bytes_sent_1 += bytes;
            }
            QoS::ExactlyOnce => {
                self.publish_sent_2 += 1;
                self.publish_bytes_sent_2 += bytes;
            }
        }
    }

    /// A message of so many [bytes](Message::bytes) is kept from now on.
    pub fn keep(&mut self, bytes: usize) {
        self.kept_messages += 1;
        self.kept_bytes += signed(bytes);
        self.memory += signed(bytes) + MESSAGE_BYTES;
    }

    /// A quantity that was accounted for changed. Gives what it is now.
    pub fn charge(&mut self, before: usize, now: usize) -> usize {
        self.memory += signed(now) - signed(before);
        now
    }
}

/// Messages whose last holder let go of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    messages: i64,
    bytes: i64,
}

impl Freed {
    /// Whoever keeps a message gives it back here: the last one tells.
    #[inline]
    pub(super) fn release(&mut self, message: Message) {
        let (bytes, is_gone) = message.let_go();
        if is_gone {
            self.messages += 1;
            self.bytes += signed(bytes);
        }
    }

    /// Whether all was told.
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Moves what was freed to the tally.
    pub(super) fn settle(&mut self, tally: &mut Tally) {
        if self.messages == 0 {
            return;
        }
        let Self { messages, bytes } = std::mem::take(self);
        tally.kept_messages -= messages;
        tally.kept_bytes -= bytes;
        tally.memory -= bytes + messages * MESSAGE_BYTES;
    }
}

/// No quantity of bytes or messages in memory exceeds half the address space.
pub(super) fn signed(n: usize) -> i64 {
    i64::try_from(n.cast_signed()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::QoS;
    use crate::topic::Name;

    #[test]
    fn a_message_is_freed_by_its_last_holder() {
        let message = Message::new(Name::new("t").unwrap(), b"payload", QoS::AtLeastOnce);
        let (mut tally, mut freed) = (Tally::default(), Freed::default());
        tally.keep(message.bytes());
        freed.release(message.clone());
        freed.settle(&mut tally);
        assert_eq!((tally.kept_messages, tally.kept_bytes), (1, message.bytes() as i64));
        freed.release(message);
        freed.settle(&mut tally);
        assert_eq!(tally, Tally::default());
    }
}
