//! A connection to the other broker, and one to the hub, with what comes from either going to the other.
//!
//! ```text
//!   hub's session ──▶ unsent ──▶ from_hub ──▶ out ──▶ the other broker
//!                 ◀──────────── to_hub ◀── received ◀──
//! ```
//!
//! Each packet goes on alone, with the packet identifier that it has: a PUBLISH of the hub's keeps its own on the other
//! broker, whose PUBACK is the client's that the hub waits for, and so in the other direction. So the bridge itself
//! keeps nothing that could be lost: windows, order, repeats and the handshake of QoS 2 are between the hub's session
//! and the other broker's. Where one side alone has begun anew, the other's memory is put right, see [`Relay::start`].

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use log::{error, info, warn};
use smol::Timer;
use smol::future::FutureExt as _;

use super::local::Local;
use super::remote::Remote;
use super::{Bridge, Memory};
use crate::codec::{
    Ack, AckType, Decoded, Delivery, Packet, PacketId, Properties, PropertiesBuf, Property, Publish, QoS,
    Reason, SubscribeCode, Version, decode, encode_ack, encode_pingreq,
};
use crate::config::BridgeStart;
use crate::hub::{Next, Sleep};

/// With so much on its way to either side, nothing more is taken from the other.
const ROOM: usize = 64 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Rounds before other bridges get theirs.
const ROUNDS: usize = 8;

/// Why a connection is over.
pub(super) enum End {
    /// The broker stops.
    Stopping,
    /// Nothing has gone over it for as long as a lazy one is kept.
    Idle,
    /// Anything else.
    Lost(String),
}

/// Both connections.
pub(super) struct Relay<'b> {
    bridge: &'b Arc<Bridge>,
    memory: &'b mut Memory,
    local: Local,
    remote: Remote,
    /// What the hub said that is not looked at yet: part of a packet, or what the other broker has no room for.
    from_hub: Vec<u8>,
    /// For the other broker, of which `written` are gone.
    out: Vec<u8>,
    written: usize,
    /// For the hub.
    to_hub: Vec<u8>,
    /// Answers to SUBSCRIBE and UNSUBSCRIBE that are still to come.
    answers_expected: usize,
    /// How many bytes of a packet that is too large are still to come.
    to_skip: usize,
    buffer: Box<[u8]>,
    name: String,
    last_sent: Instant,
    last_received: Instant,
    last_message: Instant,
    last_ping: Option<Instant>,
    timer: Timer,
    timer_at: Option<Instant>,
}

impl<'b> Relay<'b> {
    /// Has what the other broker sends go to the hub from now on, and the reverse.
    pub(super) fn start(
        bridge: &'b Arc<Bridge>,
        memory: &'b mut Memory,
        mut local: Local,
        remote: Remote,
    ) -> Self {
        if !remote.session_present {
            // What it sends under an identifier is new, whatever came under the same before.
            local.forget_received();
            memory.released = None;
            memory.is_settled = false;
        }
        let now = Instant::now();
        let (out, answers_expected) = remote.opening(bridge, memory.is_settled);
        memory.is_settled |= answers_expected == 0;
        Self {
            bridge,
            memory,
            local,
            remote,
            from_hub: Vec::new(),
            out,
            written: 0,
            to_hub: Vec::new(),
            answers_expected,
            to_skip: 0,
            buffer: vec![0; READ_BYTES].into(),
            name: String::new(),
            last_sent: now,
            last_received: now,
            last_message: now,
            last_ping: None,
            timer: Timer::never(),
            timer_at: None,
        }
    }

    /// Relays until either side ends it. Says farewell where that is the broker's own wish.
    pub(super) async fn run(mut self) -> End {
        let end = std::future::poll_fn(|cx| {
            catch_unwind(AssertUnwindSafe(|| self.poll(cx))).unwrap_or_else(|_| {
                error!("bridge {}: panicked, which is a bug in the broker", self.bridge.settings.name);
                Poll::Ready(End::Lost("it panicked".to_owned()))
            })
        })
        .await;
        let Self { bridge, local, mut remote, mut out, written, .. } = self;
        local.close();
        if !matches!(end, End::Lost(_)) {
            out.extend(Remote::closing(bridge, remote.retain_available));
            let rest = out.get(written..).unwrap_or_default();
            let saying = async { super::remote::write_all(&mut remote.wire, rest).await };
            let timeout = async {
                Timer::after(Duration::from_secs(2)).await;
                Err("it does not read".to_owned())
            };
            _ = saying.or(timeout).await;
        }
        remote.wire.close();
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.poll_rounds(cx) {
            Err(end) => Poll::Ready(end),
            Ok(true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(false) => self.poll_time(cx),
        }
    }

    /// True if it is not done, but others are to have their turn.
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for _ in 0..ROUNDS {
            self.hand_to_hub()?;
            let mut has_come = self.take_received()?;
            if !has_come && self.to_hub.len() < ROOM && self.local.may_read() {
                has_come = self.read(cx)?;
                self.take_received()?;
            }
            self.hand_to_hub()?;
            self.translate_from_hub()?;
            let is_written = self.write(cx)?;
            let sleep = self.local.sleep(cx.waker()).map_err(ended)?;
            // Each of what is left waits for a waker: the socket's, or the hub's.
            let is_handed_over = self.to_hub.is_empty() || !self.local.may_read();
            let is_taken = !is_written || !self.local.has_unsent();
            if !has_come && sleep == Sleep::Asleep && is_handed_over && is_taken {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_room(&self) -> bool {
        self.out.len() - self.written < ROOM
    }

    // To the other broker

    /// Takes what the hub has, as far as there is room, and puts it as the other broker is to have it.
    fn translate_from_hub(&mut self) -> Result<(), End> {
        while self.has_room() && self.local.has_unsent() {
            self.local.take_unsent(&mut self.from_hub, ROOM);
            let from_hub = std::mem::take(&mut self.from_hub);
            let mut rest = from_hub.as_slice();
            loop {
                match decode(rest, Some(Version::V5), usize::MAX) {
                    Ok(Decoded::Packet { packet, length }) => {
                        self.outward(&packet)?;
                        rest = rest.get(length..).unwrap_or_default();
                    }
                    Ok(Decoded::Incomplete { .. }) => break,
                    Err(error) => return Err(End::Lost(format!("the hub's packet is malformed: {error}"))),
                }
            }
            self.from_hub = rest.to_vec();
        }
        Ok(())
    }

    fn outward(&mut self, packet: &Packet<'_>) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish_outward(publish),
            Packet::Puback(ack) => self.acknowledge_outward(AckType::Puback, ack),
            Packet::Pubrec(ack) => self.acknowledge_outward(AckType::Pubrec, ack),
            Packet::Pubcomp(ack) => self.acknowledge_outward(AckType::Pubcomp, ack),
            // The other broker, which has no QoS 2, never had it.
            Packet::Pubrel(ack) if self.remote.max_qos < QoS::ExactlyOnce => {
                encode_ack(&mut self.to_hub, AckType::Pubcomp, ack.packet_id);
            }
            Packet::Pubrel(ack) => self.acknowledge_outward(AckType::Pubrel, ack),
            Packet::Suback(suback) => {
                for code in suback.codes.iter() {
                    if let SubscribeCode::Refused(reason) = code {
                        warn!(
                            "bridge {}: a subscription here was refused: {reason}",
                            self.bridge.settings.name
                        );
                    }
                }
            }
            Packet::Connack(connack) if !connack.session_present && self.remote.session_present => {
                self.memory.released = Some(HashSet::new());
            }
            Packet::Disconnect(disconnect) => {
                return Err(End::Lost(format!("its session here ended: {}", disconnect.reason)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Before 5.0 an acknowledgement has no reason.
    fn acknowledge_outward(&mut self, ack: AckType, received: &Ack<'_>) {
        _ = plain(ack, received).encode(self.bridge.settings.version, &mut self.out);
    }

    fn publish_outward(&mut self, publish: &Publish<'_>) {
        let Some(topic) = publish.topic.and_then(|topic| self.bridge.routes.outward(topic, &mut self.name))
        else {
            // A subscription of an earlier configuration had it queued.
            return self.done_outward(publish.delivery);
        };
        let delivery = match (publish.delivery, self.remote.max_qos) {
            (Delivery::AtMostOnce, _) | (_, QoS::AtMostOnce) => Delivery::AtMostOnce,
            (Delivery::ExactlyOnce(id), QoS::AtLeastOnce) => Delivery::AtLeastOnce(id),
            (delivery, _) => delivery,
        };
        if let (Delivery::ExactlyOnce(id), Some(released)) = (delivery, &mut self.memory.released)
            && released.insert(id)
            && !publish.dup
        {
            // The other broker may know the identifier from a session here that is lost: it would take this for a repeat.
            encode_ack(&mut self.out, AckType::Pubrel, id);
        }
        let settings = &self.bridge.settings;
        let properties = forwarded(publish.properties);
        let onward = Publish {
            dup: publish.dup && delivery != Delivery::AtMostOnce,
            delivery,
            retain: publish.retain && settings.keeps_retain && self.remote.retain_available,
            topic: Some(topic),
            properties: properties.as_properties(),
            payload: publish.payload,
        };
        let before = self.out.len();
        let encoded = Packet::Publish(onward).encode(settings.version, &mut self.out);
        self.last_message = Instant::now();
        let bytes = self.out.len() - before;
        if encoded.is_err() || bytes > self.remote.max_packet_bytes {
            warn!(
                "bridge {}: a message to {:?} is not sent: its packet of {bytes} bytes is larger than the other broker takes",
                settings.name,
                topic.as_str()
            );
            self.out.truncate(before);
            self.done_outward(publish.delivery);
        } else if delivery == Delivery::AtMostOnce {
            self.done_outward(publish.delivery);
        }
    }

    /// The hub's message goes no further: it is told what it waits for.
    fn done_outward(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => encode_ack(&mut self.to_hub, AckType::Puback, id),
            Delivery::ExactlyOnce(id) => refuse_exactly_once(&mut self.to_hub, id),
        }
    }

    /// Writes until all is written, or the other broker must read first. Says whether it is all.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while self.written < self.out.len() {
            match self.remote.wire.poll_write(cx, self.out.get(self.written..).unwrap_or_default()) {
                Poll::Ready(Ok(0)) => return Err(closed()),
                Poll::Ready(Ok(n)) => {
                    self.written += n;
                    self.last_sent = Instant::now();
                    self.local.count_sent(n);
                }
                Poll::Ready(Err(error)) => return Err(End::Lost(error.to_string())),
                Poll::Pending => {
                    self.out.drain(..std::mem::take(&mut self.written));
                    return Ok(false);
                }
            }
        }
        self.out.clear();
        self.written = 0;
        match self.remote.wire.poll_flush(cx) {
            Poll::Ready(Err(error)) => Err(End::Lost(error.to_string())),
            _ => Ok(true),
        }
    }

    // From the other broker

    /// Whether something was there.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match self.remote.wire.poll_read(cx, &mut self.buffer) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(0)) => Err(closed()),
            Poll::Ready(Ok(n)) => {
                self.last_received = Instant::now();
                self.local.count_received(n);
                let fresh = self.buffer.get(..n).unwrap_or_default();
                let fresh = fresh.get(self.to_skip.min(n)..).unwrap_or_default();
                self.to_skip -= self.to_skip.min(n);
                self.remote.received.extend_from_slice(fresh);
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(End::Lost(error.to_string())),
        }
    }

    /// Puts whole packets that came as the hub is to have them. Says whether there were any.
    fn take_received(&mut self) -> Result<bool, End> {
        let received = std::mem::take(&mut self.remote.received);
        let mut rest = received.as_slice();
        let largest = self.bridge.max_received_bytes();
        while self.to_hub.len() < ROOM {
            match decode(rest, Some(self.bridge.settings.version), largest) {
                Ok(Decoded::Packet { packet, length }) => {
                    self.inward(&packet)?;
                    rest = rest.get(length..).unwrap_or_default();
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(crate::codec::Error::PacketTooLarge { length, .. }) => {
                    // Ending the connection would have it come again, and again.
                    if !self.pass_over(rest, length) {
                        break;
                    }
                    self.to_skip = length.saturating_sub(rest.len());
                    rest = rest.get(length..).unwrap_or_default();
                }
                Err(error) => return Err(End::Lost(format!("its packet is malformed: {error}"))),
            }
        }
        let took = rest.len() < received.len();
        self.remote.received = if took { rest.to_vec() } else { received };
        Ok(took)
    }

    /// Acknowledges a PUBLISH that is too large, of which the begin is there. False if that is not enough.
    fn pass_over(&mut self, bytes: &[u8], length: usize) -> bool {
        let Some(head) = head(bytes) else { return false };
        warn!(
            "bridge {}: a message of the other broker is passed over: its packet of {length} bytes is larger than {}",
            self.bridge.settings.name,
            self.bridge.max_received_bytes()
        );
        if let Some(delivery) = head {
            self.done_inward(delivery);
        }
        true
    }

    fn inward(&mut self, packet: &Packet<'_>) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.publish_inward(publish),
            Packet::Puback(ack) => {
                self.acknowledge_inward(AckType::Puback, ack);
                if self.remote.max_qos < QoS::ExactlyOnce {
                    // It may be for a message that the hub sent at QoS 2; if not, this means nothing to it.
                    encode_ack(&mut self.to_hub, AckType::Pubrec, ack.packet_id);
                }
            }
            Packet::Pubrec(ack) => self.acknowledge_inward(AckType::Pubrec, ack),
            Packet::Pubrel(ack) => self.acknowledge_inward(AckType::Pubrel, ack),
            Packet::Pubcomp(ack) => self.acknowledge_inward(AckType::Pubcomp, ack),
            Packet::Suback(suback) => {
                for code in suback.codes.iter() {
                    if let SubscribeCode::Refused(reason) = code {
                        warn!(
                            "bridge {}: the other broker refuses a subscription: {reason}",
                            self.bridge.settings.name
                        );
                    }
                }
                self.answered();
            }
            Packet::Unsuback(_) => self.answered(),
            Packet::Pingresp => {}
            Packet::Disconnect(disconnect) => {
                return Err(End::Lost(format!("the other broker ended it: {}", disconnect.reason)));
            }
            other => return Err(End::Lost(format!("it sent {}, which is a client's", other.packet_type()))),
        }
        Ok(())
    }

    /// To SUBSCRIBE or UNSUBSCRIBE.
    fn answered(&mut self) {
        self.answers_expected = self.answers_expected.saturating_sub(1);
        self.memory.is_settled |= self.answers_expected == 0;
    }

    fn acknowledge_inward(&mut self, ack: AckType, received: &Ack<'_>) {
        if received.reason.is_error() && matches!(ack, AckType::Puback | AckType::Pubrec) {
            info!(
                "bridge {}: the other broker refuses a message: {}",
                self.bridge.settings.name, received.reason
            );
        }
        _ = plain(ack, received).encode(Version::V5, &mut self.to_hub);
    }

    fn publish_inward(&mut self, publish: &Publish<'_>) {
        let limits = self.bridge.hub.limits();
        let topic = publish.topic.and_then(|topic| self.bridge.routes.inward(topic, &mut self.name));
        let Some(topic) = topic.filter(|topic| limits.allow_topic(topic.as_str())) else {
            // What an earlier configuration asked for, or a topic that is not allowed here.
            return self.done_inward(publish.delivery);
        };
        let properties = forwarded(publish.properties);
        let onward = Publish {
            topic: Some(topic),
            retain: publish.retain && limits.retain_available,
            properties: properties.as_properties(),
            ..*publish
        };
        let before = self.to_hub.len();
        let encoded = Packet::Publish(onward).encode(Version::V5, &mut self.to_hub);
        self.last_message = Instant::now();
        if encoded.is_err() || self.to_hub.len() - before > limits.max_packet_bytes {
            self.to_hub.truncate(before);
            self.done_inward(publish.delivery);
        }
    }

    /// The other broker's message goes no further: it is told what it waits for. A PUBREL that follows is the hub's to
    /// answer.
    fn done_inward(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => encode_ack(&mut self.out, AckType::Puback, id),
            Delivery::ExactlyOnce(id) => encode_ack(&mut self.out, AckType::Pubrec, id),
        }
    }

    /// Has the hub handle what is for it.
    fn hand_to_hub(&mut self) -> Result<(), End> {
        while !self.to_hub.is_empty() && self.local.may_read() {
            let handled = self.local.handle(&self.to_hub).map_err(ended)?;
            self.to_hub.drain(..handled.consumed);
            match handled.next {
                Next::End(ending) => return Err(ended(ending)),
                // The receivers are to write first.
                Next::Yield => return Ok(()),
                _ if handled.consumed == 0 => {
                    return Err(End::Lost("the hub does not take its packets".to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    // Time

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        let mut next = None;
        let mut at = |time: Option<Instant>| next = next.into_iter().chain(time).min();
        if self.remote.keep_alive > 0 {
            let interval = Duration::from_secs(self.remote.keep_alive.into());
            let lost = self.last_received.checked_add(interval.saturating_mul(3) / 2);
            if lost.is_some_and(|lost| lost <= now) {
                let what = format!(
                    "nothing came for one and a half times the keep alive of {} s",
                    interval.as_secs()
                );
                return Poll::Ready(End::Lost(what));
            }
            // A broker that only takes must be heard of, too.
            let since = self.last_sent.min(self.last_received);
            let unanswered = self.last_ping.filter(|ping| *ping >= self.last_received);
            let ping = since.max(unanswered.unwrap_or(since)).checked_add(interval);
            if ping.is_some_and(|ping| ping <= now) {
                encode_pingreq(&mut self.out);
                self.last_ping = Some(now);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            at(lost);
            at(ping);
        }
        if let BridgeStart::Lazy { idle, .. } = self.bridge.settings.start {
            let over = self.last_message.checked_add(idle);
            if over.is_some_and(|over| over <= now) {
                return Poll::Ready(End::Idle);
            }
            at(over);
        }
        let Some(next) = next else { return Poll::Pending };
        // One that is set for an earlier time is kept: setting it for each packet costs more than waking once in vain.
        if self.timer_at.is_none_or(|at| at <= now || at > next) {
            self.timer.set_at(next);
            self.timer_at = Some(next);
        }
        if self.timer.poll(cx).is_ready() {
            self.timer_at = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn closed() -> End {
    End::Lost("the other broker closed the connection".to_owned())
}

fn ended(ending: crate::hub::Ending) -> End {
    match ending {
        crate::hub::Ending::Stopping => End::Stopping,
        ending => End::Lost(format!("its session here ended: {ending}")),
    }
}

/// An acknowledgement as it goes on: its properties go no further than to whom they are for.
fn plain<'a>(ack: AckType, received: &Ack<'a>) -> Packet<'a> {
    let received = Ack { properties: Properties::EMPTY, ..*received };
    match ack {
        AckType::Puback => Packet::Puback(received),
        AckType::Pubrec => Packet::Pubrec(received),
        AckType::Pubrel => Packet::Pubrel(received),
        AckType::Pubcomp => Packet::Pubcomp(received),
    }
}

/// PUBREC with an error: the hub is to forget its message.
fn refuse_exactly_once(out: &mut Vec<u8>, id: PacketId) {
    crate::codec::encode_ack_reason(out, AckType::Pubrec, id, Reason::Unspecified);
}

/// Properties of a message that go with it.
fn forwarded(properties: Properties<'_>) -> PropertiesBuf {
    let mut onward = PropertiesBuf::new();
    if !properties.is_empty() {
        let expiry = properties.iter().find(|it| matches!(it, Property::MessageExpiryInterval(_)));
        properties.forwarded(&mut onward);
        if let Some(expiry) = expiry {
            _ = onward.push(expiry);
        }
    }
    onward
}

/// What the first bytes of a packet say of a PUBLISH: its delivery, or none if it is another packet. None at all if there
/// are too few.
fn head(bytes: &[u8]) -> Option<Option<Delivery>> {
    let (first, rest) = bytes.split_first()?;
    if first >> 4 != 3 {
        return Some(None);
    }
    let length_len = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = rest.get(length_len..)?;
    let topic_len = usize::from(u16::from_be_bytes(*body.first_chunk()?));
    let qos = QoS::try_from(first >> 1 & 3).ok();
    if qos == Some(QoS::AtMostOnce) || qos.is_none() {
        return Some(qos.map(|_| Delivery::AtMostOnce));
    }
    let id = body.get(2 + topic_len..)?.first_chunk()?;
    let id = PacketId::new(u16::from_be_bytes(*id));
    Some(id.map(|id| {
        if qos == Some(QoS::AtLeastOnce) { Delivery::AtLeastOnce(id) } else { Delivery::ExactlyOnce(id) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Name;

    #[test]
    fn the_begin_of_a_publish_says_how_to_acknowledge_it() {
        let topic = Name::new("some/topic").unwrap();
        let id = PacketId::new(7).unwrap();
        for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce(id), Delivery::ExactlyOnce(id)] {
            let mut bytes = Vec::new();
            Packet::Publish(Publish::new(topic, delivery, &[0; 300]))
                .encode(Version::V311, &mut bytes)
                .unwrap();
            assert_eq!(head(&bytes), Some(Some(delivery)));
            assert_eq!(head(&bytes[..4]), None);
        }
        assert_eq!(head(&[0x90, 3, 0]), Some(None));
        assert_eq!(head(&[]), None);
    }
}
