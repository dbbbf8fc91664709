//! Bytes on their way to one client: filled by any thread under the session's
//! lock, taken and written by the connection's own task.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;

use super::message::{Content, Message};
use super::tally::{Freed, Tally};
use crate::codec::{Decoded, Delivery, Packet, Version, decode, encode_publish, encode_publish_header};

/// Payloads of at least this many bytes are not copied into each outbox but shared between them.
pub(super) const SHARED_PAYLOAD_BYTES: usize = 8 * 1024;
/// Small packets are copied together up to this many bytes: one buffer that grew on would be copied again and again, and
/// its spare room could be as large as what it holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// What a chunk takes beside its bytes.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// Encoded packets in sending order: small ones copied together, large payloads by reference.
#[derive(Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    written: usize,
    /// Where small packets are appended, behind all chunks.
    tail: Vec<u8>,
    /// Unwritten bytes in `chunks`.
    chunk_bytes: usize,
    /// How many of them are shared payloads.
    shared_bytes: usize,
    freed: Freed,
}

enum Chunk {
    Packets(Vec<u8>),
    Payload(Arc<Message>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Packets(bytes) => bytes,
            Chunk::Payload(message) => message.payload(),
        }
    }
}

impl Outbox {
    /// Bytes that wait to be written.
    pub fn bytes(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Memory it takes beside the messages it shares.
    pub(super) fn own_bytes(&self) -> usize {
        self.bytes().saturating_sub(self.shared_bytes) + self.chunks.len() * CHUNK_OVERHEAD_BYTES
    }

    /// Memory it takes beside the messages it shares; those that nobody needs any more are taken off the tally.
    pub fn settle(&mut self, tally: &mut Tally) -> usize {
        self.freed.settle(tally);
        self.own_bytes()
    }

    /// Appends encoded packets.
    pub fn append(&mut self, packets: &[u8]) {
        self.tail.extend_from_slice(packets);
    }

    /// Where the encoders append a packet.
    pub fn packets(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a PUBLISH packet.
    pub fn publish(&mut self, dup: bool, delivery: Delivery, retain: bool, content: &Content<'_>) {
        if content.payload().len() < SHARED_PAYLOAD_BYTES {
            if self.tail.len() + content.payload().len() >= CHUNK_BYTES {
                self.seal_tail();
                self.tail.reserve_exact(CHUNK_BYTES);
            }
            encode_publish(
                &mut self.tail,
                dup,
                delivery,
                retain,
                Some(content.topic()),
                None,
                content.payload(),
            );
        } else {
            let payload_len = content.payload().len();
            encode_publish_header(
                &mut self.tail,
                dup,
                delivery,
                retain,
                Some(content.topic()),
                None,
                payload_len,
            );
            self.seal_tail();
            self.chunk_bytes += payload_len;
            self.shared_bytes += payload_len;
            self.chunks.push_back(Chunk::Payload(content.to_message()));
        }
    }

    /// Moves everything that waits here behind what waits in `unsent`.
    pub fn move_into(&mut self, unsent: &mut Outbox) {
        self.seal_tail();
        unsent.seal_tail();
        unsent.chunk_bytes += mem::take(&mut self.chunk_bytes);
        unsent.shared_bytes += mem::take(&mut self.shared_bytes);
        if unsent.chunks.is_empty() {
            mem::swap(&mut unsent.chunks, &mut self.chunks);
            unsent.written = mem::take(&mut self.written);
        } else {
            // Only a connection's own, partly written outbox has `written` set.
            unsent.chunks.append(&mut self.chunks);
        }
    }

    /// The next bytes to write, as pieces for one vectored write, as many as there is room for.
    pub fn slices<'s, 'b>(&'s self, room: &'b mut [IoSlice<'s>]) -> &'b [IoSlice<'s>] {
        let chunks = self.chunks.iter().map(Chunk::bytes);
        let tail = Some(self.tail.as_slice()).filter(|tail| !tail.is_empty());
        let mut used = 0;
        for (slot, bytes) in room.iter_mut().zip(chunks.chain(tail)) {
            let skip = if used == 0 { self.written } else { 0 };
            *slot = IoSlice::new(bytes.get(skip..).unwrap_or_default());
            used += 1;
        }
        room.get(..used).unwrap_or_default()
    }

    /// Forgets the next `n` bytes: they are written.
    pub fn advance(&mut self, n: usize) {
        self.seal_tail();
        self.chunk_bytes = self.chunk_bytes.saturating_sub(n);
        self.written += n;
        while let Some(first) = self.chunks.front() {
            let length = first.bytes().len();
            if self.written < length {
                return;
            }
            self.written -= length;
            if let Some(first) = self.chunks.pop_front() {
                self.let_go(first);
            }
        }
        // An idle client keeps no buffer.
        self.chunks = VecDeque::new();
        self.written = 0;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        while let Some(chunk) = self.chunks.pop_front() {
            self.let_go(chunk);
        }
        let freed = self.freed;
        *self = Self { freed, ..Self::default() };
    }

    /// Drops QoS 0 messages, the oldest first, until no more than `keep` bytes wait or none is left. Gives how many.
    /// Not for an outbox that is being written.
    pub(super) fn shed(&mut self, keep: usize) -> usize {
        self.seal_tail();
        let mut excess = self.chunk_bytes.saturating_sub(keep);
        let mut dropped = 0;
        let mut chunks = mem::take(&mut self.chunks);
        while let Some(chunk) = chunks.pop_front() {
            let Chunk::Packets(packets) = chunk else {
                self.chunks.push_back(chunk);
                continue;
            };
            let mut kept = Vec::new();
            let mut rest = packets.as_slice();
            while excess > 0 && !rest.is_empty() {
                let (is_at_most_once, length) = match decode(rest, Some(Version::V311), usize::MAX) {
                    Ok(Decoded::Packet { packet, length }) => (is_at_most_once(&packet), length),
                    // Its payload is the next chunk.
                    _ => (rest.first().is_some_and(|byte| byte & 0b1111_0110 == 0b0011_0000), rest.len()),
                };
                let (packet, after) = rest.split_at(length);
                if is_at_most_once {
                    dropped += 1;
                    excess = excess.saturating_sub(length);
                    self.chunk_bytes -= length;
                    if after.is_empty()
                        && let Some(Chunk::Payload(_)) = chunks.front()
                        && let Some(payload) = chunks.pop_front()
                    {
                        let length = payload.bytes().len();
                        excess = excess.saturating_sub(length);
                        self.chunk_bytes -= length;
                        self.let_go(payload);
                    }
                } else {
                    kept.extend_from_slice(packet);
                }
                rest = after;
            }
            kept.extend_from_slice(rest);
            if !kept.is_empty() {
                self.chunks.push_back(Chunk::Packets(kept));
            }
        }
        dropped
    }

    fn let_go(&mut self, chunk: Chunk) {
        if let Chunk::Payload(message) = chunk {
            self.shared_bytes = self.shared_bytes.saturating_sub(message.payload().len());
            self.freed.release(message);
        }
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunk_bytes += self.tail.len();
            self.chunks.push_back(Chunk::Packets(mem::take(&mut self.tail)));
        }
    }
}

fn is_at_most_once(packet: &Packet<'_>) -> bool {
    matches!(packet, Packet::Publish(publish) if publish.delivery == Delivery::AtMostOnce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::QoS;
    use crate::topic::Name;

    fn written(outbox: &Outbox) -> Vec<u8> {
        let mut room = [IoSlice::new(&[]); 8];
        outbox.slices(&mut room).iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    #[test]
    fn small_and_shared_packets_keep_their_order_however_they_are_written() {
        let large = vec![7; SHARED_PAYLOAD_BYTES];
        let topic = Name::new("t").unwrap();
        let mut outbox = Outbox::default();
        outbox.append(&[0xd0, 0]);
        outbox.publish(false, Delivery::AtMostOnce, false, &Content::new(topic, &large, QoS::AtMostOnce));
        outbox.publish(false, Delivery::AtMostOnce, false, &Content::new(topic, b"x", QoS::AtMostOnce));

        let mut expected = vec![0xd0, 0];
        encode_publish(&mut expected, false, Delivery::AtMostOnce, false, Some(topic), None, &large);
        encode_publish(&mut expected, false, Delivery::AtMostOnce, false, Some(topic), None, b"x");
        assert_eq!(outbox.bytes(), expected.len());
        assert_eq!(written(&outbox), expected);

        let mut unsent = Outbox::default();
        outbox.move_into(&mut unsent);
        assert!(outbox.is_empty());
        for step in [1, 3, 1000, 5000] {
            unsent.advance(step);
            expected.drain(..step);
            outbox.append(&[0xc0, 0]);
            expected.extend([0xc0, 0]);
            outbox.move_into(&mut unsent);
            assert_eq!(written(&unsent), expected);
            assert_eq!(unsent.bytes(), expected.len());
        }
        unsent.advance(expected.len());
        assert!(unsent.is_empty());
    }

    #[test]
    fn the_oldest_qos_0_messages_are_shed_and_nothing_else() {
        let topic = Name::new("t").unwrap();
        let large = vec![7; SHARED_PAYLOAD_BYTES];
        let id = Delivery::AtLeastOnce(crate::codec::PacketId::MIN);
        let mut outbox = Outbox::default();
        let mut publish = |delivery, payload: &[u8]| {
            outbox.publish(false, delivery, false, &Content::new(topic, payload, QoS::AtLeastOnce));
        };
        publish(Delivery::AtMostOnce, b"old");
        publish(id, b"one");
        publish(Delivery::AtMostOnce, &large);
        publish(id, &large);
        publish(Delivery::AtMostOnce, b"new");
        outbox.append(&[0xd0, 0]);

        let mut expected = Vec::new();
        encode_publish(&mut expected, false, id, false, Some(topic), None, b"one");
        encode_publish(&mut expected, false, id, false, Some(topic), None, &large);
        let mut tail = Vec::new();
        encode_publish(&mut tail, false, Delivery::AtMostOnce, false, Some(topic), None, b"new");
        tail.extend([0xd0, 0]);
        assert_eq!(outbox.shed(expected.len() + tail.len()), 2);
        assert_eq!(written(&outbox), [&expected[..], &tail].concat());
        assert_eq!(outbox.shed(0), 1);
        expected.extend([0xd0, 0]);
        assert_eq!((written(&outbox), outbox.bytes()), (expected.clone(), expected.len()));
        assert!(outbox.own_bytes() < 1000, "the large payload is shared");
        let mut tally = Tally::default();
        outbox.settle(&mut tally);
        assert_eq!(tally.kept_messages, -1);
        outbox.clear();
        assert_eq!((outbox.settle(&mut tally), tally.kept_messages), (0, -2));
    }
}
