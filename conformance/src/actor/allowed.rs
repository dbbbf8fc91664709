//! What a client of 5.0 allows the broker by its CONNECT. That binds every packet of the connection, whatever a scenario
//! is about, so it is held against all of them.

use std::collections::HashMap;

use crate::frame::{Kind, Packet, Value};

/// What one connection allows, and what it has seen.
#[derive(Debug)]
pub(super) struct Allowed {
    is_connected: bool,
    /// Maximum Packet Size in bytes.
    packet_bytes: u64,
    /// Topic Alias Maximum.
    most_aliases: u64,
    /// Receive Maximum.
    window: u64,
    /// How many more PUBLISH with QoS above 0 may come: the send quota of section 4.9.
    quota: u64,
    /// What the broker's aliases stand for.
    aliases: HashMap<u64, Vec<u8>>,
}

impl Default for Allowed {
    /// What there is without a word, and all there is in 3.1.1.
    fn default() -> Self {
        let window = u16::MAX.into();
        Allowed {
            is_connected: false,
            packet_bytes: u64::MAX,
            most_aliases: 0,
            window,
            quota: window,
            aliases: HashMap::new(),
        }
    }
}

impl Allowed {
    /// Takes note of what the client is about to send.
    pub(super) fn sent(&mut self, packet: &Packet) {
        match packet.kind {
            Kind::Connect if !self.is_connected => {
                let said = |name, default| packet.number(name).unwrap_or(default);
                self.is_connected = true;
                self.packet_bytes = said("maximum_packet_size", u64::MAX);
                self.most_aliases = said("topic_alias_maximum", 0);
                self.window = said("receive_maximum", self.window);
                self.quota = self.window;
            }
            Kind::Puback | Kind::Pubcomp => self.give_back(),
            Kind::Pubrec if packet.number("reason") >= Some(0x80) => self.give_back(),
            _ => {}
        }
    }

    /// [MQTT-4.9.0-1]: never above Receive Maximum.
    fn give_back(&mut self) {
        self.quota = self.window.min(self.quota + 1);
    }

    /// The packet that came in so many bytes, with a topic in place of an alias.
    ///
    /// # Errors
    /// It is not allowed.
    pub(super) fn admit(&mut self, packet: Packet, bytes: usize) -> Result<Packet, String> {
        // [MQTT-3.1.2-24]
        if bytes as u64 > self.packet_bytes {
            return Err(format!("{bytes} bytes: Maximum Packet Size is {}", self.packet_bytes));
        }
        if packet.kind != Kind::Publish {
            return Ok(packet);
        }
        if packet.number("qos") > Some(0) {
            // [MQTT-3.3.4-9] [MQTT-4.9.0-2]
            self.quota = self
                .quota
                .checked_sub(1)
                .ok_or_else(|| format!("one PUBLISH too many: Receive Maximum is {}", self.window))?;
        }
        match packet.number("topic_alias") {
            Some(alias) => self.named(packet, alias),
            None => Ok(packet),
        }
    }

    fn named(&mut self, mut packet: Packet, alias: u64) -> Result<Packet, String> {
        // [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
        if alias > self.most_aliases {
            return Err(format!("topic alias {alias}: Topic Alias Maximum is {}", self.most_aliases));
        }
        match packet.bytes("topic").filter(|topic| !topic.is_empty()) {
            Some(topic) => {
                self.aliases.insert(alias, topic.to_vec());
            }
            // [MQTT-3.3.2-7]
            None => {
                let topic = self.aliases.get(&alias);
                let topic = topic.ok_or_else(|| format!("topic alias {alias}, which has no topic yet"))?;
                if let Some((_, value)) = packet.fields.iter_mut().find(|(name, _)| *name == "topic") {
                    *value = Value::Bytes(topic.clone());
                }
            }
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(connect: Packet) -> Allowed {
        let mut allowed = Allowed::default();
        allowed.sent(&connect);
        allowed
    }

    fn connect() -> Packet {
        Packet::new(Kind::Connect)
    }

    fn publish(topic: &str, qos: u64) -> Packet {
        Packet::new(Kind::Publish).with("topic", topic).with("qos", qos)
    }

    #[test]
    fn packets_have_a_largest_size() {
        let mut allowed = after(connect().with("maximum_packet_size", 10u64));
        assert!(allowed.admit(Packet::new(Kind::Pingresp), 10).is_ok());
        let error = allowed.admit(Packet::new(Kind::Pingresp), 11).expect_err("too large");
        assert_eq!(error, "11 bytes: Maximum Packet Size is 10");
    }

    #[test]
    fn an_alias_stands_for_the_topic_it_was_given() {
        let mut allowed = after(connect().with("topic_alias_maximum", 1u64));
        let mut topic =
            |packet: Packet| allowed.admit(packet, 9).map(|packet| packet.bytes("topic").map(<[u8]>::to_vec));
        assert!(topic(publish("", 0).with("topic_alias", 1u64)).is_err());
        for name in ["a", "b"] {
            assert_eq!(topic(publish(name, 0).with("topic_alias", 1u64)), Ok(Some(name.into())));
            assert_eq!(topic(publish("", 0).with("topic_alias", 1u64)), Ok(Some(name.into())));
        }
        assert!(topic(publish("a", 0).with("topic_alias", 2u64)).is_err());
        assert!(after(connect()).admit(publish("a", 0).with("topic_alias", 1u64), 9).is_err());
    }

    #[test]
    fn the_quota_is_used_up_and_given_back() {
        let mut allowed = after(connect().with("receive_maximum", 2u64));
        let ack = |kind| Packet::new(kind).with("id", 1u64);
        assert!(allowed.admit(publish("a", 1), 9).is_ok());
        assert!(allowed.admit(publish("a", 2), 9).is_ok());
        assert!(allowed.admit(publish("a", 0), 9).is_ok());
        assert!(allowed.admit(publish("a", 1), 9).is_err());
        allowed.sent(&ack(Kind::Pubrec));
        assert!(allowed.admit(publish("a", 1), 9).is_err());
        for given in [ack(Kind::Puback), ack(Kind::Pubcomp), ack(Kind::Pubrec).with("reason", 0x80u64)] {
            allowed.sent(&given);
            assert!(allowed.admit(publish("a", 1), 9).is_ok());
            assert!(allowed.admit(publish("a", 1), 9).is_err());
        }
        for _ in 0..3 {
            allowed.sent(&ack(Kind::Puback));
        }
        let taken = (0..3).filter(|_| allowed.admit(publish("a", 1), 9).is_ok()).count();
        assert_eq!(taken, 2);
    }
}
