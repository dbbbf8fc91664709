//! One PUBLISH, encoded once and changed where messages differ: topic, packet identifier, and whose message it is.

use std::io;
use std::ops::Range;

use sol::codec::{Delivery, Packet, PacketId, Publish, QoS, Version};
use sol::topic::Name;

use crate::frames::Frame;

/// What a payload begins with: the number of its publisher, and that of the message among the publisher's.
pub(super) const STAMP_BYTES: usize = 8;
const DIGITS: usize = 6;
const BEFORE_DIGITS: &str = "bench/t";

#[derive(Debug)]
pub(super) struct Template {
    packet: Vec<u8>,
    version: Version,
    qos: QoS,
    digits: Range<usize>,
    packet_id: Range<usize>,
    stamp: Range<usize>,
    /// The payload behind its stamp, which is the same in all.
    filling: Vec<u8>,
}

/// The name of a topic: all are of one length.
pub(super) fn topic(number: usize) -> String {
    format!("{BEFORE_DIGITS}{number:0DIGITS$}/d")
}

impl Template {
    pub(super) fn new(version: Version, qos: QoS, payload_bytes: usize) -> io::Result<Self> {
        let filling: Vec<_> = (b'a'..=b'z').cycle().take(payload_bytes.saturating_sub(STAMP_BYTES)).collect();
        let payload = [[0; STAMP_BYTES].as_slice(), &filling].concat();
        let topic = topic(0);
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce(PacketId::MIN),
            QoS::ExactlyOnce => Delivery::ExactlyOnce(PacketId::MIN),
        };
        let name = Name::new(&topic).map_err(io::Error::other)?;
        let mut packet = Vec::new();
        let publish = Packet::Publish(Publish::new(name, delivery, &payload));
        publish.encode(version, &mut packet).map_err(io::Error::other)?;
        let stamp = packet.len() - payload.len();
        let properties = usize::from(version == Version::V5);
        let id_bytes = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let id = stamp - properties - id_bytes;
        let digits = id - topic.len() + BEFORE_DIGITS.len();
        Ok(Self {
            packet,
            version,
            qos,
            digits: digits..digits + DIGITS,
            packet_id: id..id + id_bytes,
            stamp: stamp..stamp + STAMP_BYTES,
            filling,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.packet.len()
    }

    /// Appends a message. The identifier is for QoS 1 and 2.
    #[expect(clippy::indexing_slicing, reason = "the ranges are those of this packet")]
    pub(super) fn put(&self, out: &mut Vec<u8>, topic: usize, id: u16, publisher: u32, message: u32) {
        let start = out.len();
        out.extend_from_slice(&self.packet);
        let packet = &mut out[start..];
        if topic != 0 {
            let mut rest = topic;
            for digit in packet[self.digits.clone()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        if !self.packet_id.is_empty() {
            packet[self.packet_id.clone()].copy_from_slice(&id.to_be_bytes());
        }
        let stamp = u64::from(publisher) << 32 | u64::from(message);
        packet[self.stamp.clone()].copy_from_slice(&stamp.to_be_bytes());
    }

    /// Whose message this is, and which of them: of a PUBLISH that is otherwise as it was sent.
    pub(super) fn stamp(&self, frame: Frame<'_>) -> io::Result<(u32, u32)> {
        let payload = frame.payload(self.version)?;
        match payload.split_first_chunk() {
            Some((stamp, filling)) if frame.is_publish_at(self.qos) && filling == self.filling => {
                let stamp = u64::from_be_bytes(*stamp);
                Ok(((stamp >> 32) as u32, stamp as u32))
            }
            _ => Err(frame.unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sol::codec::{Decoded, MAX_PACKET_BYTES, decode};

    use super::*;
    use crate::frames::walk;

    #[test]
    fn a_message_says_which_it_is() {
        for version in [Version::V311, Version::V5] {
            for (qos, payload) in [(QoS::AtMostOnce, 8), (QoS::AtLeastOnce, 64), (QoS::ExactlyOnce, 1000)] {
                let template = Template::new(version, qos, payload).unwrap();
                let mut out = vec![9];
                template.put(&mut out, 123, 77, 5, 6);
                let bytes = &out[1..];
                assert_eq!(bytes.len(), template.bytes());
                let decoded = decode(bytes, Some(version), MAX_PACKET_BYTES).unwrap();
                let Decoded::Packet { packet: Packet::Publish(publish), .. } = decoded else { panic!() };
                assert_eq!(publish.topic.unwrap().as_str(), topic(123));
                assert_eq!(publish.payload.len(), payload);
                let id = publish.delivery.packet_id().map(PacketId::get);
                assert_eq!(id, (qos != QoS::AtMostOnce).then_some(77));
                let stamp = |frame: Frame<'_>| {
                    assert_eq!(template.stamp(frame)?, (5, 6));
                    Ok(())
                };
                walk(bytes, stamp).unwrap();
                if payload > STAMP_BYTES {
                    *out.last_mut().unwrap() ^= 1;
                    assert!(walk(&out[1..], |frame| template.stamp(frame).map(drop)).is_err());
                }
            }
        }
    }
}
