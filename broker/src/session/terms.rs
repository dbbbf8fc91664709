//! What a client takes.

use crate::codec::{Connect, Property, Version};

/// What a client said in its CONNECT about what it takes. One of 3.1 or 3.1.1 has no way to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The format of its packets.
    pub version: Version,
    /// QoS 1 and 2 messages in flight to it at a time: Receive Maximum [MQTT-3.3.4-9 of 5.0].
    pub receive_maximum: u16,
    /// Bytes of the largest packet that it takes, fixed header included: Maximum Packet Size [MQTT-3.1.2-24 of 5.0].
    pub max_packet_bytes: u32,
    /// The highest topic alias that it takes; 0 is none [MQTT-3.1.2-26 of 5.0].
    pub topic_alias_maximum: u16,
    /// Whether acknowledgements may carry a reason string: Request Problem Information [MQTT-3.1.2-29 of 5.0].
    pub problem_information: bool,
}

impl Terms {
    /// What a CONNECT says.
    pub fn of_connect(connect: &Connect<'_>) -> Self {
        let mut terms = Self::of(connect.version);
        for property in connect.properties.iter() {
            match property {
                Property::ReceiveMaximum(most) => terms.receive_maximum = most.get(),
                Property::MaximumPacketSize(bytes) => terms.max_packet_bytes = bytes.get(),
                Property::TopicAliasMaximum(most) => terms.topic_alias_maximum = most,
                Property::RequestProblemInformation(is_wanted) => terms.problem_information = is_wanted,
                _ => {}
            }
        }
        terms
    }

    /// Whether a packet of so many bytes is not too large.
    pub fn takes(&self, bytes: usize) -> bool {
        u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.max_packet_bytes)
    }

    /// Those of a client that said nothing.
    pub fn of(version: Version) -> Self {
        Self {
            version,
            receive_maximum: u16::MAX,
            max_packet_bytes: u32::MAX,
            topic_alias_maximum: 0,
            problem_information: true,
        }
    }
}
