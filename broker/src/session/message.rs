//! An application message, borrowed while it passes through and shared once somebody must keep it.

use std::cell::OnceCell;
use std::sync::Arc;

use super::tally::{Freed, Tally};
use crate::codec::QoS;
use crate::topic::{Name, NameBuf};

/// An application message that outlives the packet it came in: in flight, queued or retained.
#[derive(Debug)]
pub struct Message {
    topic: NameBuf,
    payload: Box<[u8]>,
    qos: QoS,
}

impl Message {
    /// A copy of what a packet carried; `qos` is the one it was published at.
    pub fn new(topic: Name<'_>, payload: &[u8], qos: QoS) -> Self {
        Self { topic: NameBuf::from(topic), payload: payload.into(), qos }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> Name<'_> {
        self.topic.as_name()
    }

    /// The application's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Memory it takes, in bytes: what the limits on queues and retained messages count.
    pub fn bytes(&self) -> usize {
        message_bytes(self.topic(), &self.payload)
    }
}

/// Gives back a message that was kept.
pub fn release(message: Arc<Message>, tally: &mut Tally) {
    let mut freed = Freed::default();
    freed.release(message);
    freed.settle(tally);
}

fn message_bytes(topic: Name<'_>, payload: &[u8]) -> usize {
    size_of::<Message>() + topic.as_str().len() + payload.len()
}

/// A message on its way to any number of sessions.
///
/// A QoS 0 delivery copies straight from the publisher's packet. The first
/// session that must remember the message makes it a shared [`Message`]; the
/// others take a reference.
pub struct Content<'a> {
    topic: Name<'a>,
    payload: &'a [u8],
    qos: QoS,
    shared: OnceCell<Arc<Message>>,
    /// It was shared before it came here, and is counted already.
    is_known: bool,
}

impl<'a> Content<'a> {
    /// What a PUBLISH packet or a will carries.
    pub fn new(topic: Name<'a>, payload: &'a [u8], qos: QoS) -> Self {
        Self { topic, payload, qos, shared: OnceCell::new(), is_known: false }
    }

    /// A message that is shared already.
    pub fn shared(message: &'a Arc<Message>) -> Self {
        Self {
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos,
            shared: OnceCell::from(Arc::clone(message)),
            is_known: true,
        }
    }

    /// The topic it was published to.
    pub fn topic(&self) -> Name<'a> {
        self.topic
    }

    /// The application's bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The QoS it was published at; a delivery may be at a lower one [MQTT-3.8.4-6].
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// What [`Message::bytes`] says of it, once it is kept.
    pub fn bytes(&self) -> usize {
        message_bytes(self.topic, self.payload)
    }

    /// The message for keeping, copied out of the packet at the first call.
    pub fn to_message(&self) -> Arc<Message> {
        Arc::clone(self.shared.get_or_init(|| Arc::new(Message::new(self.topic, self.payload, self.qos))))
    }

    /// Whether somebody keeps it, or did.
    pub fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Counts the message if it was made here and somebody keeps it.
    pub fn settle(self, tally: &mut Tally) {
        if !self.is_known
            && let Some(message) = self.shared.into_inner()
        {
            tally.keep(&message);
            release(message, tally);
        }
    }
}
