//! Bytes on their way to one client: filled by any thread under the session's
//! lock, taken and written by the connection's own task.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;

use super::message::{Content, Message};
use crate::codec::{Delivery, encode_publish, encode_publish_header};

/// Payloads of at least this many bytes are not copied into each outbox but shared between them.
const SHARED_PAYLOAD_BYTES: usize = 8 * 1024;

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
            encode_publish(&mut self.tail, dup, delivery, retain, content.topic(), content.payload());
        } else {
            let payload_len = content.payload().len();
            encode_publish_header(&mut self.tail, dup, delivery, retain, content.topic(), payload_len);
            self.seal_tail();
            self.chunk_bytes += payload_len;
            self.chunks.push_back(Chunk::Payload(content.to_message()));
        }
    }

    /// Moves everything that waits here behind what waits in `unsent`.
    pub fn move_into(&mut self, unsent: &mut Outbox) {
        self.seal_tail();
        unsent.seal_tail();
        unsent.chunk_bytes += mem::take(&mut self.chunk_bytes);
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
            self.chunks.pop_front();
        }
        // An idle client keeps no buffer.
        self.chunks = VecDeque::new();
        self.written = 0;
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunk_bytes += self.tail.len();
            self.chunks.push_back(Chunk::Packets(mem::take(&mut self.tail)));
        }
    }
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
        encode_publish(&mut expected, false, Delivery::AtMostOnce, false, topic, &large);
        encode_publish(&mut expected, false, Delivery::AtMostOnce, false, topic, b"x");
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
}
