//! Bytes on their way to one client: filled by any thread under the session's
//! lock, taken and written by the connection's own task.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::aliases::{Alias, SentAliases};
use super::manner::Manner;
use super::message::{Content, Message};
use super::tally::{Freed, Tally};
use super::terms::Terms;
use crate::codec::{
    Decoded, Delivery, MAX_PACKET_BYTES, Packet, Properties, Property, Publish, PublishProperties, Version,
    decode, encode_publish, encode_publish_header, encoded_publish_len,
};
use crate::store::Receipt;

/// A payload, and properties, of at least this many bytes are not copied into each outbox but shared between them.
pub(super) const SHARED_BYTES: usize = 8 * 1024;
/// Small packets are copied together up to this many bytes: one buffer that grew on would be copied again and again, and
/// its spare room could be as large as what it holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// What a chunk takes beside its bytes.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// Encoded packets in sending order: small ones copied together, large payloads by reference. An empty one has no buffer.
#[derive(Default)]
pub struct Outbox {
    /// Where small packets are appended, behind all chunks.
    tail: Vec<u8>,
    /// Made when it is needed: most outboxes only ever have a tail.
    more: Option<Box<More>>,
    /// For a client of 5.0.
    format: Option<Box<Format>>,
}

/// What stands before the tail, and what is to be remembered of it.
#[derive(Default)]
struct More {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written already.
    written: usize,
    /// Unwritten bytes in `chunks`.
    chunk_bytes: usize,
    /// How many of them are shared.
    shared_bytes: usize,
    freed: Freed,
    /// Barriers in `chunks`, and the group of the last one without a receipt.
    barriers: usize,
    last_barrier: u64,
    /// When a message in it came to the broker, of one that is measured.
    measured: Option<Instant>,
}

impl More {
    fn push(&mut self, chunk: Chunk) {
        self.chunk_bytes += chunk.bytes().len();
        self.chunks.push_back(chunk);
    }

    fn let_go(&mut self, chunk: Chunk) {
        let bytes = chunk.bytes().len();
        if let Chunk::Properties(message) | Chunk::Payload(message) = chunk {
            self.shared_bytes = self.shared_bytes.saturating_sub(bytes);
            self.freed.release(message);
        }
    }

    /// Takes what waits there, where no barrier does, behind what waits here.
    fn take(&mut self, from: &mut Self) {
        self.measured = self.measured.or(from.measured.take());
        self.chunk_bytes += mem::take(&mut from.chunk_bytes);
        self.shared_bytes += mem::take(&mut from.shared_bytes);
        if self.chunks.is_empty() {
            mem::swap(&mut self.chunks, &mut from.chunks);
            self.written = mem::take(&mut from.written);
        } else {
            // Only a connection's own, partly written outbox has `written` set.
            self.chunks.append(&mut from.chunks);
        }
    }

    /// Whether nothing would be lost with it.
    fn is_idle(&self) -> bool {
        self.chunks.is_empty() && self.last_barrier == 0 && self.measured.is_none() && self.freed.is_empty()
    }
}

/// How packets of 5.0 are to be for one client.
struct Format {
    max_packet_bytes: usize,
    receive_maximum: u16,
    aliases: Option<SentAliases>,
}

enum Chunk {
    Packets(Vec<u8>),
    /// Behind the rest of their header.
    Properties(Message),
    /// Behind its header.
    Payload(Message),
    Barrier(Barrier),
}

/// What stands behind it leaves once the group is persisted, or the receipt settled.
#[derive(Debug)]
pub struct Barrier {
    /// See [`Journal`](crate::store::Journal).
    pub group: u64,
    /// What is as good, if anything is.
    pub receipt: Option<Arc<Receipt>>,
}

impl Barrier {
    fn is_open(&self, persisted: u64) -> bool {
        self.group <= persisted || self.receipt.as_ref().is_some_and(|receipt| receipt.is_settled())
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Packets(bytes) => bytes,
            Chunk::Properties(message) => message.forwarded().as_bytes(),
            Chunk::Payload(message) => message.payload(),
            Chunk::Barrier(_) => &[],
        }
    }
}

impl Outbox {
    /// Nothing yet, for a client on these terms.
    pub fn new(terms: &Terms) -> Self {
        let format = (terms.version == Version::V5).then(|| {
            Box::new(Format {
                max_packet_bytes: usize::try_from(terms.max_packet_bytes)
                    .unwrap_or(MAX_PACKET_BYTES)
                    .min(MAX_PACKET_BYTES),
                receive_maximum: terms.receive_maximum,
                aliases: SentAliases::up_to(terms.topic_alias_maximum),
            })
        });
        Self { format, ..Self::default() }
    }

    /// How many QoS 1 and 2 messages the client takes at a time.
    pub(super) fn receive_maximum(&self) -> u16 {
        self.format.as_ref().map_or(u16::MAX, |format| format.receive_maximum)
    }

    /// Bytes that wait to be written.
    pub fn bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.chunk_bytes) + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Whether nothing would be lost with it.
    pub fn is_blank(&self) -> bool {
        self.tail.is_empty() && self.more.is_none() && self.format.is_none()
    }

    /// Memory it takes beside the messages it shares.
    pub(super) fn own_bytes(&self) -> usize {
        let aliases = self.format.as_ref().and_then(|format| format.aliases.as_ref());
        let more = self.more.as_ref().map_or(0, |more| {
            more.chunk_bytes.saturating_sub(more.shared_bytes) + more.chunks.len() * CHUNK_OVERHEAD_BYTES
        });
        self.tail.len() + more + aliases.map_or(0, SentAliases::bytes)
    }

    /// Memory it takes beside the messages it shares; those that nobody needs any more are taken off the tally.
    pub fn settle(&mut self, tally: &mut Tally) -> usize {
        if let Some(more) = &mut self.more {
            more.freed.settle(tally);
            if more.is_idle() {
                self.more = None;
            }
        }
        self.own_bytes()
    }

    /// A message in it is measured, which came at that time.
    pub fn measure(&mut self, since: Option<Instant>) {
        if since.is_some() && !self.is_empty() {
            let more = self.more();
            more.measured = more.measured.or(since);
        }
    }

    /// All is written: when the message came that is measured, if there was one.
    pub fn take_measured(&mut self) -> Option<Instant> {
        self.more.as_mut()?.measured.take()
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Appends encoded packets.
    pub fn append(&mut self, packets: &[u8]) {
        self.tail.extend_from_slice(packets);
    }

    /// Where the encoders append a packet.
    pub fn packets(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a PUBLISH packet, and gives its bytes; none if the client does not take one so large
    /// [5.0 MQTT-3.1.2-24].
    // Inlined, as what calls it is: from call to call, a delivery at QoS 0 took half as many instructions again.
    #[inline(always)]
    pub fn publish(
        &mut self,
        dup: bool,
        delivery: Delivery,
        manner: &Manner,
        content: &Content<'_>,
        now: Instant,
    ) -> Option<usize> {
        // Nearly all at QoS 0: a copy in one piece.
        if let Some(packet) = self.as_it_came(delivery, manner, content) {
            self.make_room(packet.len());
            self.append(packet);
            return Some(packet.len());
        }
        self.put_together(dup, delivery, manner, content, now)
    }

    /// The packet that the message came in, if this client is to get the very same.
    #[inline(always)]
    fn as_it_came<'c>(&self, delivery: Delivery, manner: &Manner, content: &Content<'c>) -> Option<&'c [u8]> {
        if delivery != Delivery::AtMostOnce || manner.retain || manner.note.is_some() {
            return None;
        }
        let packet = content.packet(self.format.is_some())?;
        let takes = |format: &Format| format.aliases.is_none() && packet.len() <= format.max_packet_bytes;
        self.format.as_deref().is_none_or(takes).then_some(packet)
    }

    fn put_together(
        &mut self,
        dup: bool,
        delivery: Delivery,
        manner: &Manner,
        content: &Content<'_>,
        now: Instant,
    ) -> Option<usize> {
        if self.format.is_some() {
            return self.publish_v5(dup, delivery, manner, content, now);
        }
        let topic = content.topic_bytes();
        let bytes = encoded_publish_len(delivery.qos(), topic.len(), None, content.payload().len());
        (bytes <= MAX_PACKET_BYTES).then(|| {
            self.put(dup, delivery, manner.retain, topic, None, content);
            bytes
        })
    }

    fn publish_v5(
        &mut self,
        dup: bool,
        delivery: Delivery,
        manner: &Manner,
        content: &Content<'_>,
        now: Instant,
    ) -> Option<usize> {
        let format = self.format.as_mut()?;
        let qos = delivery.qos();
        let length = |topic: &[u8], properties: &PublishProperties<'_>| {
            encoded_publish_len(qos, topic.len(), Some(properties), content.payload().len())
        };
        let max_packet_bytes = format.max_packet_bytes;
        let (mut topic, mut properties) = (
            content.topic_bytes(),
            PublishProperties {
                topic_alias: None,
                message_expiry_seconds: content.seconds_left(now),
                subscription_ids: manner.note.as_ref().map_or(&[], |note| &note.subscription_ids),
                forwarded: content.forwarded(),
            },
        );
        if let Some(aliases) = &mut format.aliases {
            let name = content.topic();
            match aliases.find(name) {
                Alias::Known(alias) => (topic, properties.topic_alias) = (&[], Some(alias)),
                // A packet that tells an alias is never shed, so it had better be small.
                Alias::Free(alias) if !has_shared_part(content.payload(), content.forwarded()) => {
                    properties.topic_alias = Some(alias);
                    if length(topic, &properties) <= max_packet_bytes {
                        aliases.set(name);
                    } else {
                        properties.topic_alias = None;
                    }
                }
                _ => {}
            }
        }
        let bytes = length(topic, &properties);
        (bytes <= max_packet_bytes).then(|| {
            self.put(dup, delivery, manner.retain, topic, Some(&properties), content);
            bytes
        })
    }

    #[inline]
    fn put(
        &mut self,
        dup: bool,
        delivery: Delivery,
        retain: bool,
        topic: &[u8],
        properties: Option<&PublishProperties<'_>>,
        content: &Content<'_>,
    ) {
        let payload = content.payload();
        let forwarded = properties.map_or(Properties::EMPTY, |properties| properties.forwarded);
        if !has_shared_part(payload, forwarded) {
            self.make_room(payload.len() + forwarded.as_bytes().len());
            encode_publish(&mut self.tail, dup, delivery, retain, topic, properties, payload);
        } else {
            encode_publish_header(&mut self.tail, dup, delivery, retain, topic, properties, payload.len());
            if forwarded.as_bytes().len() < SHARED_BYTES {
                self.append(forwarded.as_bytes());
            } else {
                self.share(Chunk::Properties(content.to_message()));
            }
            self.share(Chunk::Payload(content.to_message()));
        }
    }

    /// Makes room for a small packet of so many bytes, more or less.
    #[inline]
    fn make_room(&mut self, bytes: usize) {
        if self.tail.len() + bytes >= CHUNK_BYTES {
            self.seal_tail();
            self.tail.reserve_exact(CHUNK_BYTES);
        }
    }

    /// Puts a part of a packet behind the part before.
    fn share(&mut self, chunk: Chunk) {
        self.seal_tail();
        let more = self.more();
        more.shared_bytes += chunk.bytes().len();
        more.push(chunk);
    }

    /// What comes from now on says that something is safe: it leaves once that group is persisted.
    pub fn hold(&mut self, group: u64) {
        self.hold_for(group, None);
    }

    /// The same, but once the receipt is settled it leaves, too.
    pub fn hold_for(&mut self, group: u64, receipt: Option<Arc<Receipt>>) {
        if group > self.more.as_ref().map_or(0, |more| more.last_barrier) {
            self.seal_tail();
            let more = self.more();
            if receipt.is_none() {
                more.last_barrier = group;
            }
            more.chunks.push_back(Chunk::Barrier(Barrier { group, receipt }));
            more.barriers += 1;
        }
    }

    /// Whether something here waits for a group.
    pub fn is_held(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.barriers > 0)
    }

    /// What holds what stands first here.
    pub fn held_by(&self) -> Option<&Barrier> {
        match self.more.as_ref()?.chunks.front() {
            Some(Chunk::Barrier(barrier)) => Some(barrier),
            _ => None,
        }
    }

    /// Appends packets that wait for no group: before those that do.
    pub fn append_unheld(&mut self, packets: &[u8]) {
        let is_barrier = |chunk: &Chunk| matches!(chunk, Chunk::Barrier(_));
        if let Some(more) = self.more.as_mut().filter(|more| more.barriers > 0)
            && let Some(at) = more.chunks.iter().position(is_barrier)
        {
            more.chunk_bytes += packets.len();
            more.chunks.insert(at, Chunk::Packets(packets.into()));
        } else {
            self.append(packets);
        }
    }

    /// Moves what waits here behind what waits in `unsent`: as far as it may leave, all groups up to `persisted` being
    /// safe.
    pub fn move_into(&mut self, unsent: &mut Outbox, persisted: u64) {
        if self.is_held() {
            self.seal_tail();
            unsent.seal_tail();
            return self.move_unheld(unsent, persisted);
        }
        if let Some(more) = &mut self.more {
            unsent.seal_tail();
            match &mut unsent.more {
                None if more.last_barrier == 0 => unsent.more = self.more.take(),
                to => to.get_or_insert_default().take(more),
            }
        }
        if !unsent.tail.is_empty() {
            unsent.seal_tail();
        }
        mem::swap(&mut unsent.tail, &mut self.tail);
    }

    fn move_unheld(&mut self, unsent: &mut Outbox, persisted: u64) {
        let Some(more) = &mut self.more else { return };
        let to = unsent.more();
        while let Some(chunk) = more.chunks.pop_front() {
            let bytes = chunk.bytes().len();
            match chunk {
                Chunk::Barrier(ref barrier) if !barrier.is_open(persisted) => {
                    more.chunks.push_front(chunk);
                    return;
                }
                Chunk::Barrier(_) => {
                    more.barriers -= 1;
                    continue;
                }
                Chunk::Properties(_) | Chunk::Payload(_) => {
                    more.shared_bytes = more.shared_bytes.saturating_sub(bytes);
                    to.shared_bytes += bytes;
                }
                Chunk::Packets(_) => {}
            }
            more.chunk_bytes = more.chunk_bytes.saturating_sub(bytes);
            to.push(chunk);
        }
    }

    /// The next bytes to write, as pieces for one vectored write, as many as there is room for.
    pub fn slices<'s, 'b>(&'s self, room: &'b mut [IoSlice<'s>]) -> &'b [IoSlice<'s>] {
        let chunks = self.chunks();
        let tail = Some(self.tail.as_slice()).filter(|tail| !tail.is_empty());
        let written = self.more.as_ref().map_or(0, |more| more.written);
        let mut used = 0;
        for (slot, bytes) in room.iter_mut().zip(chunks.chain(tail)) {
            let skip = if used == 0 { written } else { 0 };
            *slot = IoSlice::new(bytes.get(skip..).unwrap_or_default());
            used += 1;
        }
        room.get(..used).unwrap_or_default()
    }

    /// Shows each packet that waits. For an outbox with whole packets, of which nothing is written yet.
    pub fn inspect(&self, version: Version, mut each: impl FnMut(&Packet<'_>)) {
        let mut whole = Vec::new();
        for bytes in self.chunks().chain([self.tail.as_slice()]) {
            // Behind a header is, in chunks of their own, what was shared.
            let joined: Cow<[u8]> =
                if whole.is_empty() { bytes.into() } else { [&whole, bytes].concat().into() };
            let mut rest: &[u8] = &joined;
            while let Ok(Decoded::Packet { packet, length }) = decode(rest, Some(version), usize::MAX) {
                each(&packet);
                rest = rest.get(length..).unwrap_or_default();
            }
            whole = rest.to_vec();
        }
    }

    /// Moves so many bytes, or up to one piece more, to the end of `into`, as far as there are.
    pub fn take(&mut self, into: &mut Vec<u8>, bytes: usize) {
        let mut taken = 0;
        while taken < bytes && !self.is_empty() {
            let mut slices = [IoSlice::new(&[])];
            let pieces = self.slices(&mut slices).iter().map(|piece| {
                into.extend_from_slice(piece);
                piece.len()
            });
            let n = pieces.sum();
            self.advance(n);
            taken += n;
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.more.iter().flat_map(|more| more.chunks.iter().map(Chunk::bytes))
    }

    /// Forgets the next `n` bytes: they are written.
    pub fn advance(&mut self, n: usize) {
        if self.more.is_none() && n >= self.tail.len() {
            self.tail = Vec::new();
            return;
        }
        self.seal_tail();
        let more = self.more();
        more.chunk_bytes = more.chunk_bytes.saturating_sub(n);
        more.written += n;
        while let Some(first) = more.chunks.front() {
            let length = first.bytes().len();
            if more.written < length {
                return;
            }
            more.written -= length;
            if let Some(first) = more.chunks.pop_front() {
                more.let_go(first);
            }
        }
        // An idle client keeps no buffer.
        more.chunks = VecDeque::new();
        more.written = 0;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.tail, self.format) = (Vec::new(), None);
        if let Some(more) = &mut self.more {
            while let Some(chunk) = more.chunks.pop_front() {
                more.let_go(chunk);
            }
            **more = More { freed: more.freed, ..More::default() };
        }
    }

    /// Drops QoS 0 messages, the oldest first, until no more than `keep` bytes wait or none is left. Gives how many.
    /// Those stay that tell the client a topic alias, for others may use it.
    /// Not for an outbox that is being written.
    pub(super) fn shed(&mut self, keep: usize) -> usize {
        self.seal_tail();
        let version = if self.format.is_some() { Version::V5 } else { Version::V311 };
        let Some(more) = &mut self.more else { return 0 };
        let mut excess = more.chunk_bytes.saturating_sub(keep);
        let mut dropped = 0;
        let mut chunks = mem::take(&mut more.chunks);
        while let Some(chunk) = chunks.pop_front() {
            let Chunk::Packets(packets) = chunk else {
                more.chunks.push_back(chunk);
                continue;
            };
            let mut kept = Vec::new();
            let mut rest = packets.as_slice();
            while excess > 0 && !rest.is_empty() {
                let (is_shed, length) = match decode(rest, Some(version), usize::MAX) {
                    Ok(Decoded::Packet { packet, length }) => (may_be_shed(&packet), length),
                    // The rest is in the next chunks.
                    _ => (rest.first().is_some_and(|byte| byte & 0b1111_0110 == 0b0011_0000), rest.len()),
                };
                let (packet, after) = rest.split_at(length);
                if is_shed {
                    dropped += 1;
                    excess = excess.saturating_sub(length);
                    more.chunk_bytes -= length;
                    while after.is_empty()
                        && let Some(Chunk::Properties(_) | Chunk::Payload(_)) = chunks.front()
                        && let Some(part) = chunks.pop_front()
                    {
                        let length = part.bytes().len();
                        excess = excess.saturating_sub(length);
                        more.chunk_bytes -= length;
                        more.let_go(part);
                    }
                } else {
                    kept.extend_from_slice(packet);
                }
                rest = after;
            }
            kept.extend_from_slice(rest);
            if !kept.is_empty() {
                more.chunks.push_back(Chunk::Packets(kept));
            }
        }
        dropped
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let packets = mem::take(&mut self.tail);
            self.more().push(Chunk::Packets(packets));
        }
    }
}

pub(super) fn has_shared_part(payload: &[u8], forwarded: Properties<'_>) -> bool {
    payload.len() >= SHARED_BYTES || forwarded.as_bytes().len() >= SHARED_BYTES
}

fn may_be_shed(packet: &Packet<'_>) -> bool {
    let Packet::Publish(Publish { delivery, topic, properties, .. }) = packet else { return false };
    let tells_alias = || properties.iter().any(|property| matches!(property, Property::TopicAlias(_)));
    *delivery == Delivery::AtMostOnce && !(topic.is_some() && tells_alias())
}
