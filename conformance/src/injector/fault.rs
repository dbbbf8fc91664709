//! A fault: what a broker that has it does wrong, which statements that breaks, and how it is feigned. Most are one of
//! the few forms below.

use std::collections::BTreeSet;

use super::hand::{Event, Hand};
use super::twins::twins;
use crate::Version;
use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet, Value};

/// One way in which a broker can break the standard.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Short, unique.
    pub name: &'static str,
    /// What the broker does wrong, in a sentence.
    pub wrong: &'static str,
    /// The statements of 3.1.1 that it breaks: `3.1.2-8 4.1.0-1`.
    breaks: &'static str,
    /// Those of 5.0, unless they are the twins of the others.
    breaks_5_0: Option<&'static str>,
    pub(super) make: fn() -> Meddler,
}

/// For tables of faults: one of every version. It breaks these statements of 3.1.1, and in 5.0 their twins.
pub(super) const fn fault(
    name: &'static str,
    wrong: &'static str,
    breaks: &'static str,
    make: fn() -> Meddler,
) -> Fault {
    Fault { name, wrong, breaks, breaks_5_0: None, make }
}

/// One of 5.0 alone.
pub(super) const fn fault_5_0(
    name: &'static str,
    wrong: &'static str,
    breaks: &'static str,
    make: fn() -> Meddler,
) -> Fault {
    Fault { name, wrong, breaks: "", breaks_5_0: Some(breaks), make }
}

impl Fault {
    /// In 5.0 it breaks these statements; if it breaks none, it is no fault there.
    pub(super) const fn in_5_0(self, breaks: &'static str) -> Fault {
        Fault { breaks_5_0: Some(breaks), ..self }
    }

    /// In 5.0 a broker may do so.
    pub(super) const fn not_in_5_0(self) -> Fault {
        self.in_5_0("")
    }

    /// The ids of the statements it breaks in this version, each once: `MQTT-3.1.2-8`.
    pub fn statements(&self, version: Version) -> BTreeSet<String> {
        let ids = self.breaks.split_whitespace();
        let ids: Vec<&str> = match (version, self.breaks_5_0) {
            (Version::V3_1_1, _) => ids.collect(),
            (Version::V5_0, Some(of_5_0)) => of_5_0.split_whitespace().collect(),
            (Version::V5_0, None) => ids.flat_map(twins).collect(),
        };
        ids.into_iter().map(|id| format!("MQTT-{id}")).collect()
    }
}

/// Deals with what happens, one event at a time. What it returns is passed on as it is.
pub(super) type Meddler = Box<dyn FnMut(&mut Hand<'_>, Event) -> Option<Event> + Send>;

pub(super) const UP: bool = true;
pub(super) const DOWN: bool = false;

/// What a frame is replaced by: the packets that go on in its place.
pub(super) type Instead = Vec<Packet>;

/// Packets of this kind, this way, are replaced.
pub(super) fn bend(
    up: bool,
    kind: Kind,
    mut replace: impl FnMut(&mut Hand<'_>, Packet) -> Instead + Send + 'static,
) -> Meddler {
    Box::new(move |hand, event| {
        let frame = match event {
            Event::Up(frame) if up => frame,
            Event::Down(frame) if !up => frame,
            other => return Some(other),
        };
        let again = |frame| Some(if up { Event::Up(frame) } else { Event::Down(frame) });
        match &frame.packet {
            Ok(packet) if packet.kind == kind => {
                let instead = replace(hand, packet.clone());
                if instead.as_slice() == std::slice::from_ref(packet) {
                    return again(frame);
                }
                hand.act();
                for packet in instead {
                    hand.on(up, &packet);
                }
                None
            }
            _ => again(frame),
        }
    })
}

/// Packets of this kind from the client are replaced.
pub(super) fn up(
    kind: Kind,
    replace: impl FnMut(&mut Hand<'_>, Packet) -> Instead + Send + 'static,
) -> Meddler {
    bend(UP, kind, replace)
}

/// Packets of this kind from the broker are replaced.
pub(super) fn down(
    kind: Kind,
    replace: impl FnMut(&mut Hand<'_>, Packet) -> Instead + Send + 'static,
) -> Meddler {
    bend(DOWN, kind, replace)
}

/// Packets of this kind from the broker have this field changed.
pub(super) fn down_set(kind: Kind, name: &'static str, value: impl Into<Value>) -> Meddler {
    let value = value.into();
    down(kind, move |_, packet| vec![packet.set(name, value.clone())])
}

/// Packets of this kind from the broker get lost.
pub(super) fn loses(kind: Kind) -> Meddler {
    down(kind, |_, _| vec![])
}

/// Two packets of this kind in a row come in the wrong order.
pub(super) fn swaps(kind: Kind, which: fn(&Hand<'_>, &Packet) -> bool) -> Meddler {
    // One that waits in vain for a second comes late, with the next tick: late, not lost.
    let mut swap = down(kind, move |hand, packet| {
        if !which(hand, &packet) {
            return vec![packet];
        }
        let mut before = None;
        hand.change(|link| before = link.held.pop_front());
        match before {
            Some(before) => vec![packet, before],
            None => {
                hand.change(|link| link.held.push_back(packet));
                vec![]
            }
        }
    });
    Box::new(move |hand, event| {
        if matches!(event, Event::Tick) {
            let mut alone = None;
            hand.change(|link| alone = link.held.pop_front());
            if let Some(packet) = alone {
                hand.on(DOWN, &packet);
            }
        }
        swap(hand, event)
    })
}

/// One after the other, as long as there is something left to deal with.
pub(super) fn all(mut meddlers: Vec<Meddler>) -> Meddler {
    Box::new(move |hand, event| {
        meddlers.iter_mut().try_fold(event, |event, meddler| meddler(hand, event).ok_or(())).ok()
    })
}

/// The broker takes what it should close on: a frame from the client that fulfils the condition. It answers as it would
/// answer a good one.
pub(super) fn takes(which: impl FnMut(&Hand<'_>, &Frame) -> bool + Send + 'static) -> Meddler {
    let mut which = which;
    Box::new(move |hand, event| match event {
        Event::Up(frame) if which(hand, &frame) => {
            hand.act();
            if let Some(answer) = answer(&frame.bytes) {
                hand.tell_client(&answer);
            }
            None
        }
        other => Some(other),
    })
}

/// The broker takes what it should close on, and says nothing.
pub(super) fn ignores(which: impl FnMut(&Hand<'_>, &Frame) -> bool + Send + 'static) -> Meddler {
    let mut which = which;
    Box::new(move |hand, event| match event {
        Event::Up(frame) if which(hand, &frame) => {
            hand.act();
            None
        }
        other => Some(other),
    })
}

/// The broker refuses what it should take: it closes.
pub(super) fn refuses(which: impl FnMut(&Hand<'_>, &Packet) -> bool + Send + 'static) -> Meddler {
    let mut which = which;
    Box::new(move |hand, event| match event {
        Event::Up(Frame { packet: Ok(packet), .. }) if which(hand, &packet) => {
            hand.close();
            None
        }
        other => Some(other),
    })
}

/// How a broker that does not look closely answers a frame.
pub(super) fn answer(frame: &[u8]) -> Option<Packet> {
    let kind = Kind::from_first_byte(*frame.first()?)?;
    let body = body(frame);
    let id = |body: &[u8]| match body {
        [high, low, ..] => u64::from(u16::from_be_bytes([*high, *low])).max(1),
        _ => 1,
    };
    let ack = |kind| Some(Packet::new(kind).with("id", id(body)));
    match kind {
        Kind::Connect => Some(Packet::new(Kind::Connack).with("session_present", 0u64).with("reason", 0u64)),
        Kind::Publish => {
            let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
            let behind = body.get(2 + length..).unwrap_or_default();
            match frame.first()? >> 1 & 3 {
                0 => None,
                1 => Some(Packet::new(Kind::Puback).with("id", id(behind))),
                _ => Some(Packet::new(Kind::Pubrec).with("id", id(behind))),
            }
        }
        Kind::Pubrec => ack(Kind::Pubrel),
        Kind::Pubrel => ack(Kind::Pubcomp),
        Kind::Subscribe => Some(Packet::new(Kind::Suback).with("id", id(body)).with("reason", 0u64)),
        // [MQTT-3.11.3-1]: in 5.0 there is a code.
        Kind::Unsubscribe => ack(Kind::Unsuback).map(|packet| packet.with("reason", 0u64)),
        Kind::Pingreq => Some(Packet::new(Kind::Pingresp)),
        _ => None,
    }
}

/// What follows the remaining length.
pub(super) fn body(frame: &[u8]) -> &[u8] {
    let behind = frame.get(1..).unwrap_or_default();
    let length = behind.iter().take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    behind.get(length..).unwrap_or_default()
}

/// Whether it is a frame with this packet type.
pub(super) fn is(frame: &Frame, kind: Kind) -> bool {
    frame.bytes.first().is_some_and(|first| first >> 4 == kind as u8)
}

/// The low four bits of the first byte.
pub(super) fn flags(frame: &Frame) -> u8 {
    frame.bytes.first().map_or(0, |first| first & 0x0f)
}

/// Whether the decoder finds this wrong with it.
pub(super) fn wrong(frame: &Frame, what: &str) -> bool {
    frame.packet.as_ref().is_err_and(|reason| reason.contains(what))
}

/// Whether it is a good packet which fulfils the condition.
pub(super) fn good(frame: &Frame, kind: Kind, which: impl FnOnce(&Packet) -> bool) -> bool {
    frame.packet.as_ref().is_ok_and(|packet| packet.kind == kind && which(packet))
}

/// Changes to packets.
pub(super) trait Bend: Sized {
    /// The first field of this name has this value; if there is none, one is added.
    fn set(self, name: &'static str, value: impl Into<Value>) -> Self;
    /// Every text field of this name is changed.
    fn map(self, name: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Self;
    /// Only the fields that fulfil the condition.
    fn only(self, keep: impl FnMut(&str) -> bool) -> Self;
    /// None of this name.
    fn without(self, name: &str) -> Self {
        self.only(|field| field != name)
    }
    /// The field as a number, 0 if there is none.
    fn get(&self, name: &str) -> u64;
    /// The field as bytes, empty if there is none.
    fn text(&self, name: &str) -> Vec<u8>;
}

impl Bend for Packet {
    fn set(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        match self.fields.iter_mut().find(|(field, _)| *field == name) {
            Some((_, old)) => *old = value.into(),
            None => self.fields.push((name, value.into())),
        }
        self
    }

    fn map(mut self, name: &str, change: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        for (field, value) in &mut self.fields {
            if let Value::Bytes(bytes) = value
                && *field == name
            {
                *bytes = change(bytes);
            }
        }
        self
    }

    fn only(mut self, mut keep: impl FnMut(&str) -> bool) -> Self {
        self.fields.retain(|(name, _)| keep(name));
        self
    }

    fn get(&self, name: &str) -> u64 {
        self.number(name).unwrap_or(0)
    }

    fn text(&self, name: &str) -> Vec<u8> {
        self.bytes(name).unwrap_or_default().to_vec()
    }
}

/// A packet with nothing but an identifier.
pub(super) fn ack(kind: Kind, id: u64) -> Packet {
    Packet::new(kind).with("id", id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use crate::frame::encode::encode;

    fn subscribe() -> Packet {
        Packet::new(Kind::Subscribe)
            .with("id", 258u64)
            .with("topic", "a")
            .with("qos", 1u64)
            .with("topic", "b")
            .with("qos", 2u64)
    }

    #[test]
    fn packets_are_bent() {
        let bent = subscribe().set("id", 1u64).map("topic", |topic| [topic, b"/#".as_slice()].concat());
        assert_eq!(bent.get("id"), 1);
        let topics: Vec<_> = bent.all("topic").collect();
        assert_eq!(topics, [&Value::from("a/#"), &Value::from("b/#")]);
        assert_eq!(subscribe().without("qos").all("qos").count(), 0);
        assert_eq!(Packet::new(Kind::Pingreq).set("flags", 1u64).get("flags"), 1);
    }

    #[test]
    fn a_careless_broker_answers_what_it_can_hardly_read() {
        let answered = |bytes: &[u8]| answer(bytes).map(|packet| packet.to_string());
        assert_eq!(
            answered(&encode(&subscribe(), Version::V3_1_1)).as_deref(),
            Some("SUBACK id=258 reason=0")
        );
        assert_eq!(answered(&[0xc7, 0]).as_deref(), Some("PINGRESP"));
        assert_eq!(answered(&[0x36, 5, 0, 1, b'a', 0, 7]).as_deref(), Some("PUBREC id=7"));
        assert_eq!(answered(&[0x32, 5, 0, 1, 0xff, 0, 7]).as_deref(), Some("PUBACK id=7"));
        assert_eq!(answered(&[0x30, 1, 0]), None);
        assert_eq!(answered(&[0x40, 2, 0, 1]), None);
        assert_eq!(answered(&[]), None);
    }
}
