//! Acknowledgements of PUBLISH and of one another, with the reason codes that 5.0 has for them.

use super::Batch;
use super::farewell::encode_fitting;
use crate::codec::{
    Ack, AckType, Packet, PacketId, Property, Reason, Version, encode_ack, encode_ack_reason,
};
use crate::session::Terms;

impl Batch {
    /// Acknowledges. Before 5.0 there is only success.
    pub(super) fn acknowledge(&mut self, ack: AckType, packet_id: PacketId, reason: Reason) {
        match reason {
            Reason::Success => encode_ack(&mut self.replies, ack, packet_id),
            _ => encode_ack_reason(&mut self.replies, ack, packet_id, reason),
        }
        self.tally.messages_sent += 1;
    }

    /// Answers an acknowledgement of an identifier that is in use or not.
    pub(super) fn answer(&mut self, ack: AckType, packet_id: PacketId, is_in_use: bool, version: Version) {
        let reason = match version {
            Version::V5 if !is_in_use => Reason::PacketIdentifierNotFound,
            _ => Reason::Success,
        };
        self.acknowledge(ack, packet_id, reason);
    }

    /// Acknowledges with an error, which the `words` explain if the client wants to know [5.0 MQTT-3.1.2-29] and takes a
    /// packet so large [5.0 MQTT-3.4.2-2] [5.0 MQTT-3.5.2-2].
    pub(super) fn refuse(
        &mut self,
        ack: AckType,
        packet_id: PacketId,
        reason: Reason,
        words: &str,
        terms: &Terms,
    ) {
        let words = terms.problem_information.then_some(Property::ReasonString(words));
        let is_said = encode_fitting(terms, words.as_slice(), &mut self.replies, |properties| {
            let fields = Ack { packet_id, reason, properties: properties.as_properties() };
            match ack {
                AckType::Puback => Packet::Puback(fields),
                AckType::Pubrec => Packet::Pubrec(fields),
                AckType::Pubrel => Packet::Pubrel(fields),
                AckType::Pubcomp => Packet::Pubcomp(fields),
            }
        });
        self.tally.messages_sent += i64::from(is_said);
    }
}
