//! Section 6: MQTT over WebSocket. The frames spoken of here are WebSocket's.

use std::collections::BTreeMap;

use super::super::fault::{Fault, Meddler, fault};
use super::super::hand::Event;
use crate::frame::decode::Frame;
use crate::frame::{Kind, Packet};

pub(super) const FAULTS: &[Fault] = &[
    // Binary frames
    fault("text-taken", "It takes text frames for binary ones.", "6.0.0-1", || text(|_| Deal::Pass)),
    fault("text-connect-taken", "It takes a CONNECT in a text frame.", "6.0.0-1", || {
        text(|first| if first >> 4 == Kind::Connect as u8 { Deal::Pass } else { Deal::Close })
    }),
    fault("text-after-connect-taken", "It takes text frames once it has a CONNECT.", "6.0.0-1", || {
        text(|first| if first >> 4 == Kind::Connect as u8 { Deal::Close } else { Deal::Pass })
    }),
    fault("text-overlooked", "It passes over text frames.", "6.0.0-1", || text(|_| Deal::Lose)),
    fault("connack-in-text", "It sends CONNACK in a text frame.", "6.0.0-1", || in_text(&[Kind::Connack])),
    fault("message-in-text", "It sends a message that is text in a text frame.", "6.0.0-1", || {
        in_text(&[Kind::Publish])
    }),
    fault("puback-in-text", "It sends PUBACK in a text frame.", "6.0.0-1", || in_text(&[Kind::Puback])),
    fault("qos2-in-text", "It sends PUBREC, PUBREL and PUBCOMP in text frames.", "6.0.0-1", || {
        in_text(&[Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp])
    }),
    // Many packets in a frame
    fault("frame-is-a-packet", "It reads only the first packet of a frame.", "6.0.0-2", || {
        borders(|at| if at.place > 1 { Deal::Lose } else { Deal::Pass })
    }),
    fault("frame-with-two-closes", "It closes on a frame in which a second packet ends.", "6.0.0-2", || {
        borders(|at| if at.whole && at.place > 1 { Deal::Close } else { Deal::Pass })
    }),
    fault("frame-ends-with-connect", "It loses what is behind CONNECT in one frame.", "6.0.0-2", || {
        borders(|at| if at.place > 1 && at.place == at.number { Deal::Lose } else { Deal::Pass })
    }),
    fault("frame-of-16", "It reads only the first 16 packets of a frame.", "6.0.0-2", || {
        borders(|at| if at.place > 16 { Deal::Lose } else { Deal::Pass })
    }),
    fault(
        "frame-ends-with-the-packet",
        "It loses what is behind a packet's end in a frame.",
        "6.0.0-2",
        || borders(|at| if at.continues && at.place > 1 { Deal::Lose } else { Deal::Pass }),
    ),
    // Many frames for a packet
    fault("frame-without-end-closes", "It closes on a frame that ends within a packet.", "6.0.0-2", || {
        borders(|at| if at.whole { Deal::Pass } else { Deal::Close })
    }),
    fault("packet-of-frames-lost", "It loses a packet that comes in several frames.", "6.0.0-2", || {
        borders(|at| if at.cuts > 0 { Deal::Lose } else { Deal::Pass })
    }),
    fault(
        "packet-of-three-closes",
        "It closes on a packet that comes in more than two frames.",
        "6.0.0-2",
        || borders(|at| if at.cuts > 1 { Deal::Close } else { Deal::Pass }),
    ),
    fault("connect-of-frames-closes", "It closes if CONNECT comes in several frames.", "6.0.0-2", || {
        borders(|at| if at.cuts > 0 && at.number == 1 { Deal::Close } else { Deal::Pass })
    }),
    fault("half-behind-whole-closes", "It closes if half a packet is behind a whole one.", "6.0.0-2", || {
        borders(|at| if !at.whole && at.place > 1 { Deal::Close } else { Deal::Pass })
    }),
    fault("message-of-frames-closes", "It closes on a message in several frames.", "6.0.0-2", || {
        Box::new(|hand, event| match event {
            Event::Fragments => {
                hand.close();
                None
            }
            other => Some(other),
        })
    }),
    // The subprotocol
    fault("subprotocol-missing", "It selects no subprotocol.", "6.0.0-4", || selects(None)),
    fault("subprotocol-of-3.1", "It selects the subprotocol `mqttv3.1`.", "6.0.0-4", || {
        selects(Some("mqttv3.1"))
    }),
    fault("subprotocol-in-capitals", "It selects the subprotocol `MQTT`.", "6.0.0-4", || {
        selects(Some("MQTT"))
    }),
    fault("subprotocol-list", "It selects two subprotocols.", "6.0.0-4", || selects(Some("mqtt, mqttv3.1"))),
];

/// What becomes of something that comes from the client.
enum Deal {
    Pass,
    Lose,
    Close,
}

/// Text frames are dealt with by their first byte.
fn text(deal: fn(u8) -> Deal) -> Meddler {
    Box::new(move |hand, event| {
        let Event::Text(bytes) = event else { return Some(event) };
        match deal(bytes.first().copied().unwrap_or_default()) {
            // As it should.
            Deal::Close => return Some(Event::Text(bytes)),
            Deal::Pass => {
                hand.act();
                return Some(Event::Up(Frame { bytes, packet: Err("text".to_owned()) }));
            }
            Deal::Lose => hand.act(),
        }
        None
    })
}

/// Packets of these kinds go to the client in text frames, if that can be done.
fn in_text(kinds: &'static [Kind]) -> Meddler {
    let is_one = |packet: &Packet| kinds.contains(&packet.kind);
    Box::new(move |hand, event| match event {
        Event::Down(frame) if frame.packet.as_ref().is_ok_and(is_one) && frame.bytes.is_ascii() => {
            hand.tell_client_text(frame.bytes);
            None
        }
        other => Some(other),
    })
}

/// Where a packet ends, or else the frame.
#[derive(Clone, Copy, Default)]
struct At {
    /// Whether it is the packet that ends.
    whole: bool,
    /// Which packet of its frame it is, from 1.
    place: u64,
    /// Which packet of its connection it is, from 1.
    number: u64,
    /// How many frames have ended within it.
    cuts: u64,
    /// Whether the frame began within a packet.
    continues: bool,
}

/// Packets from the client are dealt with by how they lie in frames.
fn borders(deal: fn(At) -> Deal) -> Meddler {
    let mut connections: BTreeMap<u64, At> = BTreeMap::new();
    Box::new(move |hand, event| {
        let at = connections.entry(hand.me).or_insert(At { place: 1, number: 1, ..At::default() });
        let now = match &event {
            Event::Segment => {
                *at = At { place: 1, continues: at.cuts > 0, ..*at };
                return Some(event);
            }
            Event::Torn => {
                at.cuts += 1;
                *at
            }
            Event::Up(_) => {
                let now = At { whole: true, ..*at };
                *at = At { place: at.place + 1, number: at.number + 1, cuts: 0, ..*at };
                now
            }
            _ => return Some(event),
        };
        match deal(now) {
            Deal::Lose if now.whole => hand.act(),
            // What is lost is lost when it is whole.
            Deal::Pass | Deal::Lose => return Some(event),
            Deal::Close => hand.close(),
        }
        None
    })
}

/// The answer to the client's offer.
fn selects(name: Option<&'static str>) -> Meddler {
    Box::new(move |hand, event| match event {
        Event::Selects(_) => {
            hand.act();
            name.map(Event::Selects)
        }
        other => Some(other),
    })
}
