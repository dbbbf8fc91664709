//! Messages: what is retained, and what an operator publishes.

use std::ops::ControlFlow;
use std::time::Instant;

use super::{MAX_PAGE, shown};
use crate::codec::{Properties, PropertiesBuf, QoS};
use crate::hub::publish::is_the_brokers;
use crate::hub::retained::RetainedMessage;
use crate::hub::{Batch, Hub};
use crate::session::Content;
use crate::topic::{Filter, Name};

/// Names that are looked at before those who publish with RETAIN get their turn.
const LOOKS_AT_A_TIME: usize = 1000;
/// Names that one page looks at.
const MAX_LOOKS: usize = 100_000;
/// Bytes of payload after which a page ends.
const PAGE_BYTES: usize = 1 << 20;

/// A page of retained messages.
#[derive(Clone, Debug, Default)]
pub struct RetainedPage {
    /// Those of the page, by topic.
    pub messages: Vec<RetainedView>,
    /// The topic behind which the next page begins.
    pub next: Option<String>,
}

/// A retained message.
#[derive(Clone, Debug)]
pub struct RetainedView {
    /// Its topic.
    pub topic: String,
    /// Its payload, or the begin of it.
    pub payload: Vec<u8>,
    /// Bytes of all of it.
    pub bytes: usize,
    /// The QoS it was published at.
    pub qos: QoS,
    /// Those that go on with it.
    pub properties: PropertiesBuf,
}

/// What became of a message that an operator published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Sessions, and shared subscriptions, that want it.
    pub receivers: usize,
}

/// Why a message is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublishable {
    /// The topic is the broker's.
    #[error("only the broker publishes to $SYS and $SOL: take another topic")]
    TheBrokers,
    /// The topic is longer or deeper than it may be.
    #[error("the topic is longer or deeper than is allowed: see `max_topic_bytes` and `max_topic_levels`")]
    Topic,
    /// The message would be larger than a packet may be.
    #[error("the message is larger than a packet may be: see `max_request_size`")]
    TooLarge,
    /// There are no retained messages.
    #[error("nothing is retained here: publish it without, or see `retain_available`")]
    NoRetain,
    /// It is too high.
    #[error("no message is published at that QoS here: see `max_qos`")]
    QoS,
}

impl Hub {
    /// A page of what is retained, behind a topic. It may have fewer messages than the limit, and still not be the last.
    pub fn retained(
        &self,
        filter: Filter<'_>,
        after: Option<Name<'_>>,
        limit: usize,
        now: Instant,
    ) -> RetainedPage {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut page = RetainedPage::default();
        let mut next = after.map(|name| name.as_str().to_owned());
        let (mut looks, mut bytes) = (0, 0);
        while looks < MAX_LOOKS {
            let store = self.retained.read();
            let after = next.as_deref().and_then(|text| Name::new(text).ok());
            let reached = store.messages.visit_behind(filter, after, LOOKS_AT_A_TIME, |retained| {
                let RetainedMessage { message, .. } = retained;
                if message.is_expired(now) {
                    return ControlFlow::Continue(());
                }
                let payload = shown(message.payload());
                bytes += payload.len();
                page.messages.push(RetainedView {
                    topic: message.topic().to_string(),
                    payload,
                    bytes: message.payload().len(),
                    qos: message.qos(),
                    properties: message.properties(),
                });
                if page.messages.len() >= limit || bytes >= PAGE_BYTES {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            drop(store);
            looks += LOOKS_AT_A_TIME;
            next = reached;
            if next.is_none() || page.messages.len() >= limit || bytes >= PAGE_BYTES {
                break;
            }
        }
        page.next = next;
        page
    }

    /// Publishes a message of the operator's.
    ///
    /// # Errors
    ///
    /// What clients may not publish, an operator may not either.
    pub fn publish_by_hand(
        &self,
        topic: Name<'_>,
        payload: &[u8],
        (qos, retain): (QoS, bool),
        now: Instant,
        batch: &mut Batch,
    ) -> Result<Published, Unpublishable> {
        if is_the_brokers(topic) {
            return Err(Unpublishable::TheBrokers);
        }
        let limits = self.limits();
        if !limits.allow_topic(topic.as_str()) {
            return Err(Unpublishable::Topic);
        }
        if topic.as_str().len().saturating_add(payload.len()) > limits.max_packet_bytes {
            return Err(Unpublishable::TooLarge);
        }
        if retain && !limits.retain_available {
            return Err(Unpublishable::NoRetain);
        }
        if qos > limits.max_qos {
            return Err(Unpublishable::QoS);
        }
        let turn = self.turn();
        batch.at(now).in_turn(turn.as_ref());
        let run = self.run();
        let content = Content::new(topic, payload, qos).with(Properties::EMPTY, now);
        self.publish(content, retain, None, &run, batch);
        let found = batch.routes.find(&run.index, topic, &mut batch.tally);
        let receivers = found.plain.len() + found.special.len() + found.shared.len();
        batch.end_turn();
        drop((run, turn));
        self.absorb(batch);
        Ok(Published { receivers })
    }

    /// Removes what is retained for a topic, as a client does: by an empty message, which subscribers get. False if there
    /// is nothing.
    ///
    /// # Errors
    ///
    /// It is the broker's.
    pub fn unretain_by_hand(
        &self,
        topic: Name<'_>,
        now: Instant,
        batch: &mut Batch,
    ) -> Result<bool, Unpublishable> {
        if is_the_brokers(topic) {
            return Err(Unpublishable::TheBrokers);
        }
        if self.retained.read().messages.get(topic).is_none() {
            return Ok(false);
        }
        self.publish_by_hand(topic, b"", (QoS::AtMostOnce, true), now, batch).map(|_| true)
    }
}
