//! Messages as the store has them.

use std::sync::Arc;

use super::{Content, Extra, Lifetime, Message};
use crate::codec::{PropertiesBuf, QoS};
use crate::store::{BodyNumber, Draft, Journal, MessageRecord, Receipt, Record, StoredMessage};
use crate::topic::Name;

impl Message {
    /// As it is written down.
    pub fn record(&self, journal: &Journal) -> MessageRecord<'_> {
        MessageRecord {
            topic: self.topic().as_str(),
            payload: self.payload(),
            qos: self.qos(),
            properties: self.forwarded().as_bytes(),
            expiry: expiry(self.extra(), journal),
        }
    }

    /// One that was written down; none if it is no message.
    pub fn restored(stored: StoredMessage, journal: &Journal) -> Option<Self> {
        let StoredMessage { topic, payload, qos, properties, expiry } = stored;
        let topic = Name::new(&topic).ok()?.as_str().as_bytes();
        let lifetime = expiry.map(|expiry| Lifetime::restored(expiry, journal));
        let extra = if lifetime.is_none() && properties.is_empty() {
            None
        } else {
            Some(Arc::new(Extra { forwarded: PropertiesBuf::of_forwarded(&properties)?, lifetime }))
        };
        Some(Self::with(topic, &payload, qos, extra))
    }
}

impl Content<'_> {
    /// As it is written down.
    pub fn record(&self, journal: &Journal) -> MessageRecord<'_> {
        MessageRecord {
            topic: self.topic().as_str(),
            payload: self.payload,
            qos: self.qos,
            properties: self.forwarded().as_bytes(),
            expiry: expiry(self.extra(), journal),
        }
    }

    /// Writes down what needs it, given its name, and before the first such record of a turn the message itself. Gives the
    /// name, and the draft of the record. All calls must be in one turn.
    pub fn record_use<'r>(
        &self,
        journal: &Journal,
        record: impl FnOnce(BodyNumber) -> Record<'r>,
    ) -> (BodyNumber, Draft) {
        match self.body.get() {
            0 => {
                let recorded = journal.record_message(self.record(journal), record);
                self.body.set(recorded.0);
                recorded
            }
            body => (body, journal.record(&record(body))),
        }
    }

    /// A client is to acknowledge it: gives where that counts, if its publisher waits for that.
    pub fn owe(&self) -> Option<Arc<Receipt>> {
        if self.qos != QoS::AtLeastOnce {
            self.pin();
            return None;
        }
        let receipt = self.receipt.get_or_init(Receipt::new);
        receipt.owe();
        Some(Arc::clone(receipt))
    }

    /// Somebody needs it who will not acknowledge it soon.
    pub fn pin(&self) {
        self.must_be_stored.set(true);
    }

    /// Whether it is not enough that its [receipt](Content::owe) is settled.
    pub fn must_be_stored(&self) -> bool {
        self.must_be_stored.get()
    }

    /// Whether somebody's copy of it survives the broker.
    pub fn is_recorded(&self) -> bool {
        self.body.get() != 0
    }
}

fn expiry(extra: Option<&Arc<Extra>>, journal: &Journal) -> Option<(u32, u64)> {
    let Lifetime { seconds, since } = extra?.lifetime?;
    Some((seconds, since.map_or(0, |since| journal.unix_ms(since))))
}

impl Lifetime {
    /// From the Message Expiry Interval, and when the message was published, in ms since 1970 (0 in a will).
    fn restored((seconds, published_ms): (u32, u64), journal: &Journal) -> Self {
        if published_ms == 0 {
            return Self { seconds, since: None };
        }
        if let Some(since) = journal.instant(published_ms) {
            return Self { seconds, since: Some(since) };
        }
        // The clock does not reach back so far: what is left of it begins with what the clock has.
        let began = journal.began();
        let waited = journal.unix_ms(began).saturating_sub(published_ms) / 1000;
        let seconds = seconds.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX));
        Self { seconds, since: Some(began) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::codec::{Property, QoS};

    #[test]
    fn a_message_comes_back_as_it_was() {
        let (journal, now) = (Journal::new(0, 1 << 20), Instant::now());
        let topic = Name::new("a/b").unwrap();
        let plain = Message::new(topic, b"payload", QoS::ExactlyOnce);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::MessageExpiryInterval(100)).unwrap();
        properties.push(Property::UserProperty("k", "v")).unwrap();
        let properties = properties.as_properties();
        let published = now - Duration::from_secs(40);
        let content = Content::new(topic, b"", QoS::AtLeastOnce).with(properties, published);
        let will = Message::will(topic, b"gone", QoS::AtMostOnce, properties);
        for message in [plain, content.to_message(), will] {
            let record = message.record(&journal);
            let restored = Message::restored(record.into(), &journal).unwrap();
            assert_eq!(restored.record(&journal), record);
            assert_eq!(restored.bytes(), message.bytes());
        }
        assert_eq!(content.seconds_left(now), Some(60));
    }

    #[test]
    fn what_is_no_message_is_none() {
        let journal = Journal::new(0, 1 << 20);
        let stored = |topic: &str, properties: &[u8]| StoredMessage {
            topic: topic.to_owned(),
            payload: Box::default(),
            qos: QoS::AtMostOnce,
            properties: properties.into(),
            expiry: None,
        };
        assert!(Message::restored(stored("a", &[]), &journal).is_some());
        assert!(Message::restored(stored("a/+", &[]), &journal).is_none());
        assert!(Message::restored(stored("a", &[0xff]), &journal).is_none());
    }

    #[test]
    fn a_body_is_written_once() {
        let journal = Journal::new(7, 1 << 20);
        let content = Content::new(Name::new("a").unwrap(), b"x", QoS::AtLeastOnce);
        let retain = || content.record_use(&journal, |body| Record::Retain { body }).0;
        assert_eq!((retain(), retain()), (8, 8));
        assert_eq!(journal.next_number(), 9);
    }
}
