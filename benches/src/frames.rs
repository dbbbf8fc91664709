//! Packets told apart by their fixed headers alone: all that a client has to know to count and acknowledge.

use std::io;

use sol::codec::{PacketId, PacketType, QoS, Version};

/// A packet of which only the fixed header was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    first: u8,
    body: &'a [u8],
}

/// Calls `each` with every whole packet at the beginning of `bytes`, and gives how many bytes these were.
///
/// # Errors
///
/// A remaining length of more than four bytes, or what `each` says.
pub fn walk<'a>(bytes: &'a [u8], mut each: impl FnMut(Frame<'a>) -> io::Result<()>) -> io::Result<usize> {
    let mut rest = bytes;
    while let Some((frame, behind)) = split_first(rest)? {
        each(frame)?;
        rest = behind;
    }
    Ok(bytes.len() - rest.len())
}

impl Frame<'_> {
    /// Is it of this type?
    pub fn is(&self, packet: PacketType) -> bool {
        self.first >> 4 == packet as u8
    }

    /// Is it a PUBLISH of this QoS?
    pub fn is_publish_at(&self, qos: QoS) -> bool {
        self.is(PacketType::Publish) && (self.first >> 1) & 0b11 == u8::from(qos)
    }

    /// The packet identifier; of a PUBLISH, at QoS 1 and 2 only.
    pub fn packet_id(&self) -> io::Result<PacketId> {
        let id = if self.is(PacketType::Publish) {
            let (topic_len, body) = self.body.split_first_chunk().ok_or_else(|| self.unexpected())?;
            body.get(u16::from_be_bytes(*topic_len).into()..).unwrap_or_default()
        } else {
            self.body
        };
        let id = id.first_chunk().map(|id| u16::from_be_bytes(*id));
        id.and_then(PacketId::new).ok_or_else(|| self.unexpected())
    }

    /// What the packet carries behind its fixed header.
    pub fn body(&self) -> &[u8] {
        self.body
    }

    /// The payload of a PUBLISH of this version.
    ///
    /// # Errors
    ///
    /// The packet ends before it.
    pub fn payload(&self, version: Version) -> io::Result<&[u8]> {
        self.find_payload(version).ok_or_else(|| self.unexpected())
    }

    fn find_payload(&self, version: Version) -> Option<&[u8]> {
        let (topic_len, rest) = self.body.split_first_chunk()?;
        let id_bytes = if self.is_publish_at(QoS::AtMostOnce) { 0 } else { 2 };
        let rest = rest.get(usize::from(u16::from_be_bytes(*topic_len)) + id_bytes..)?;
        if version != Version::V5 {
            return Some(rest);
        }
        let (length, rest) = split_length(rest).ok()??;
        rest.get(length..)
    }

    /// What to say of a packet that ought not to have come.
    pub fn unexpected(&self) -> io::Error {
        let (first, length) = (self.first, self.body.len());
        io::Error::other(format!("unexpected packet: first byte {first:#04x}, remaining length {length}"))
    }
}

fn split_first(bytes: &[u8]) -> io::Result<Option<(Frame<'_>, &[u8])>> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, rest)) = split_length(rest)? else { return Ok(None) };
    Ok(rest.split_at_checked(length).map(|(body, behind)| (Frame { first, body }, behind)))
}

/// A variable byte integer, and what stands behind it.
fn split_length(mut rest: &[u8]) -> io::Result<Option<(usize, &[u8])>> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let Some((&byte, behind)) = rest.split_first() else { return Ok(None) };
        rest = behind;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((length, rest)));
        }
    }
    Err(io::Error::other("a length of more than four bytes"))
}

#[cfg(test)]
mod tests {
    use sol::codec::{AckType, Delivery, Packet, Publish, encode_ack, encode_publish};
    use sol::topic::Name;

    use super::*;

    #[test]
    fn whole_packets_are_found_and_the_rest_is_left() {
        let id = |id| PacketId::new(id).unwrap();
        let mut bytes = Vec::new();
        let topic = Name::new("a/b").unwrap();
        encode_publish(
            &mut bytes,
            false,
            Delivery::ExactlyOnce(id(300)),
            true,
            topic.as_str().as_bytes(),
            None,
            &[7; 200],
        );
        encode_ack(&mut bytes, AckType::Pubrel, id(2));
        let whole = bytes.len();
        encode_ack(&mut bytes, AckType::Puback, id(3));
        for cut in whole..bytes.len() {
            let mut found = Vec::new();
            let walked = walk(&bytes[..cut], |frame| {
                found.push((
                    frame.is_publish_at(QoS::ExactlyOnce),
                    frame.is(PacketType::Pubrel),
                    frame.packet_id()?,
                ));
                Ok(())
            });
            assert_eq!(walked.unwrap(), whole);
            assert_eq!(found, [(true, false, id(300)), (false, true, id(2))]);
        }
    }

    #[test]
    fn the_payload_stands_behind_the_rest() {
        let topic = Name::new("a/b").unwrap();
        for version in [Version::V311, Version::V5] {
            for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce(PacketId::MAX)] {
                let mut bytes = Vec::new();
                let packet = Packet::Publish(Publish::new(topic, delivery, b"hello"));
                packet.encode(version, &mut bytes).unwrap();
                let mut payload = Vec::new();
                walk(&bytes, |frame| {
                    payload.extend_from_slice(frame.payload(version)?);
                    Ok(())
                })
                .unwrap();
                assert_eq!(payload, b"hello");
            }
        }
        assert!(walk(&[0x30, 1, 0], |frame| frame.payload(Version::V311).map(drop)).is_err());
    }

    #[test]
    fn what_cannot_be_a_packet_is_an_error() {
        assert!(walk(&[0x30, 0xff, 0xff, 0xff, 0xff], |_| Ok(())).is_err());
        assert!(walk(&[0x40, 0], |frame| frame.packet_id().map(drop)).is_err());
    }
}
