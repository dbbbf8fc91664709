//! One client's state: what it has received, what it is owed, where it is connected.
//!
//! No socket, no lock, no clock: the hub locks a session and calls it.

mod identifiers;
mod inbound;
mod message;
mod outbound;
mod outbox;
mod will;

use std::collections::HashMap;
use std::task::Waker;

pub use inbound::Inbound;
pub use message::{Content, Message};
pub use outbound::{Outbound, OutboundLimits, Outcome};
pub use outbox::Outbox;
pub use will::Will;

use crate::codec::QoS;
use crate::topic::FilterBuf;

/// Tells one network connection from every other, over the broker's whole life.
pub type ConnectionId = u64;

/// A session in the standard's sense (section 4.1), connected or waiting for its client's return.
#[derive(Default)]
pub struct Session {
    /// The receiver's half of QoS 2.
    pub inbound: Inbound,
    /// In flight and queued messages.
    pub outbound: Outbound,
    /// Topic filters and the QoS granted for them.
    pub subscriptions: HashMap<FilterBuf, QoS, ahash::RandomState>,
    /// The connection that serves the session now.
    pub link: Option<Link>,
}

/// A session's end of its network connection.
pub struct Link {
    /// Which connection it is. Packets of any other have no business here.
    pub connection: ConnectionId,
    /// Packets for the client.
    pub outbox: Outbox,
    /// Published if the connection ends otherwise than by DISCONNECT.
    pub will: Option<Will>,
    /// The broker asks the connection to end once the outbox is written.
    pub ending: bool,
    /// The connection's task.
    waker: Option<Waker>,
    /// The task sleeps and wants to hear of new packets. While it waits for
    /// the client to read, it does not.
    listening: bool,
}

impl Link {
    /// A link with nothing to send yet.
    pub fn new(connection: ConnectionId, will: Option<Will>) -> Self {
        Self { connection, outbox: Outbox::default(), will, ending: false, waker: None, listening: false }
    }

    /// The task goes to sleep until [`Link::wake_for_output`] or [`Link::wake`].
    pub fn sleep(&mut self, waker: &Waker, listening: bool) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
        self.listening = listening;
    }

    /// The waker to call because packets were put into the outbox, unless the task is awake or called already.
    pub fn wake_for_output(&mut self) -> Option<Waker> {
        if self.listening {
            self.listening = false;
            self.waker.clone()
        } else {
            None
        }
    }

    /// The waker to call because the connection must end.
    pub fn wake(&mut self) -> Option<Waker> {
        self.listening = false;
        self.waker.take()
    }
}

impl Session {
    /// The link, if it still is the given connection's: another one may have taken the session over.
    pub fn link_of(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.connection == connection)
    }

    /// Hands a message to the client, now or later.
    pub fn deliver(
        &mut self,
        content: &Content<'_>,
        qos: QoS,
        retain: bool,
        limits: &OutboundLimits,
    ) -> Outcome {
        let outbox = self.link.as_mut().map(|link| &mut link.outbox);
        self.outbound.deliver(content, qos, retain, outbox, limits)
    }

    /// Ends the connection's hold on the session; what must survive it stays.
    pub fn unlink(&mut self) -> Option<Link> {
        self.outbound.suspend();
        self.link.take()
    }
}
