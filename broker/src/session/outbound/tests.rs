use super::*;
use crate::codec::{Decoded, Packet, decode};
use crate::topic::Name;

pub(in crate::session) const LIMITS: OutboundLimits = OutboundLimits {
    in_flight_messages: 2,
    in_flight_bytes: 1000,
    queued_messages: 3,
    queued_bytes: 10_000,
    stored_messages: usize::MAX,
    stored_bytes: usize::MAX,
    outbox_bytes: 10_000,
};

/// The packets in the outbox, in words.
fn sent(outbox: &mut Outbox) -> Vec<String> {
    let bytes = std::mem::take(outbox.packets());
    let mut rest = bytes.as_slice();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let Ok(Decoded::Packet { packet, length }) = decode(rest, None, 1 << 20) else { panic!("{rest:?}") };
        words.push(match packet {
            Packet::Publish(p) => {
                let id = p.delivery.packet_id().map_or(0, PacketId::get);
                let dup = if p.dup { " dup" } else { "" };
                format!("PUBLISH {id} {}{dup}", String::from_utf8_lossy(p.payload))
            }
            Packet::Pubrel(ack) => format!("PUBREL {}", ack.packet_id),
            other => format!("{other:?}"),
        });
        rest = &rest[length..];
    }
    words
}

fn deliver(outbound: &mut Outbound, payload: &str, qos: QoS, outbox: Option<&mut Outbox>) -> Outcome {
    let content = Content::new(Name::new("t").unwrap(), payload.as_bytes(), qos);
    outbound.deliver(&content, &Manner::at(qos), outbox, &LIMITS, Instant::now())
}

fn id(n: u16) -> PacketId {
    PacketId::new(n).unwrap()
}

#[test]
fn the_window_holds_back_and_an_acknowledgement_lets_the_next_go() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    for payload in ["a", "b", "c"] {
        deliver(&mut outbound, payload, QoS::AtLeastOnce, Some(&mut outbox));
    }
    assert_eq!(sent(&mut outbox), ["PUBLISH 1 a", "PUBLISH 2 b"]);
    assert!(outbound.handle_puback(id(2)));
    assert!(!outbound.handle_puback(id(2)), "acknowledged once is enough");
    outbound.poll_queue(&mut outbox, &LIMITS, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBLISH 3 c"]);
}

#[test]
fn qos_2_is_not_published_again_after_pubrec() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    deliver(&mut outbound, "a", QoS::ExactlyOnce, Some(&mut outbox));
    deliver(&mut outbound, "b", QoS::ExactlyOnce, Some(&mut outbox));
    assert!(outbound.handle_pubrec(id(1)) && outbound.handle_pubrec(id(1)));
    assert_eq!(sent(&mut outbox), ["PUBLISH 1 a", "PUBLISH 2 b"]);
    outbound.resume(&mut outbox, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBREL 1", "PUBLISH 2 b dup"]);
    assert!(!outbound.handle_pubcomp(id(2)), "no PUBREL was sent for it yet");
    assert!(outbound.handle_pubcomp(id(1)));
    assert_eq!(outbound.in_flight(), 1);
}

#[test]
fn an_acknowledgement_of_the_other_qos_frees_nothing() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    deliver(&mut outbound, "a", QoS::AtLeastOnce, Some(&mut outbox));
    deliver(&mut outbound, "b", QoS::ExactlyOnce, Some(&mut outbox));
    assert!(!outbound.handle_puback(id(2)));
    assert!(!outbound.handle_pubrec(id(1)));
    assert!(!outbound.handle_pubcomp(id(1)));
    assert_eq!(outbound.in_flight(), 2);
}

#[test]
fn newer_messages_wait_behind_retained_ones_that_found_no_room() {
    let limits = OutboundLimits { outbox_bytes: 1, ..LIMITS };
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    let mut deliver = |payload: &str, replayed, outbox: &mut Outbox| {
        let content = Content::new(Name::new("t").unwrap(), payload.as_bytes(), QoS::AtMostOnce);
        let manner = Manner { replayed, ..Manner::at(QoS::AtMostOnce) };
        outbound.deliver(&content, &manner, Some(outbox), &limits, Instant::now())
    };
    assert!(matches!(deliver("fills the outbox", false, &mut outbox), Outcome::Sent(_)));
    assert_eq!(deliver("live", false, &mut outbox), Outcome::Dropped);
    assert_eq!(deliver("retained", true, &mut outbox), Outcome::Queued);
    sent(&mut outbox);
    assert_eq!(deliver("newer", false, &mut outbox), Outcome::Queued);
    outbound.poll_queue(&mut outbox, &limits, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBLISH 0 retained"]);
    outbound.poll_queue(&mut outbox, &limits, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBLISH 0 newer"]);
    assert!(!outbound.queue.has_at_most_once());
}

#[test]
fn what_waits_at_qos_0_ends_with_the_connection() {
    let limits = OutboundLimits { outbox_bytes: 0, ..LIMITS };
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    for (payload, qos) in [("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce), ("c", QoS::AtMostOnce)] {
        let content = Content::new(Name::new("t").unwrap(), payload.as_bytes(), qos);
        let manner = Manner { replayed: true, ..Manner::at(qos) };
        let outcome = outbound.deliver(&content, &manner, Some(&mut outbox), &limits, Instant::now());
        assert_eq!(outcome, Outcome::Queued);
    }
    outbound.suspend();
    outbound.poll_queue(&mut outbox, &LIMITS, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBLISH 1 b"]);
    assert_eq!((outbound.queued(), outbound.queued_bytes()), (0, 0));
}

#[test]
fn the_queue_is_limited_in_bytes() {
    let content = Content::new(Name::new("t").unwrap(), &[0; 100], QoS::AtLeastOnce);
    let bytes = content.to_message().bytes();
    let limits = OutboundLimits { queued_bytes: 2 * bytes, ..LIMITS };
    let mut outbound = Outbound::default();
    let mut deliver =
        || outbound.deliver(&content, &Manner::at(QoS::AtLeastOnce), None, &limits, Instant::now());
    assert_eq!([deliver(), deliver(), deliver()], [Outcome::Queued, Outcome::Queued, Outcome::Dropped]);
}

#[test]
fn trimming_drops_the_newest_and_keeps_the_order() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    for payload in ["a", "b", "c", "d"] {
        deliver(&mut outbound, payload, QoS::AtLeastOnce, Some(&mut outbox));
    }
    assert_eq!((outbound.in_flight(), outbound.queued()), (2, 2));
    let bytes = outbound.held_bytes();
    assert_eq!(outbound.trim(bytes - 1), 1);
    assert_eq!(outbound.trim(0), 3);
    assert_eq!((outbound.held_bytes(), outbound.queued_bytes(), outbound.published_bytes), (0, 0, 0));
    deliver(&mut outbound, "e", QoS::AtLeastOnce, Some(&mut outbox));
    assert_eq!(sent(&mut outbox), ["PUBLISH 1 a", "PUBLISH 2 b", "PUBLISH 3 e"]);
}

#[test]
fn the_window_is_limited_in_bytes_and_takes_one_in_any_case() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    let large = "x".repeat(LIMITS.in_flight_bytes);
    for payload in [&large, "b"] {
        deliver(&mut outbound, payload, QoS::AtLeastOnce, Some(&mut outbox));
    }
    assert_eq!((outbound.in_flight(), outbound.queued()), (1, 1));
    assert!(outbound.handle_puback(id(1)));
    outbound.poll_queue(&mut outbox, &LIMITS, Instant::now());
    assert_eq!((outbound.in_flight(), outbound.queued()), (1, 0));
}

#[test]
fn an_identifier_in_use_is_not_given_again() {
    let (mut outbound, mut outbox) = (Outbound::default(), Outbox::default());
    deliver(&mut outbound, "stuck", QoS::AtLeastOnce, Some(&mut outbox));
    for n in 2..=u16::MAX {
        deliver(&mut outbound, "x", QoS::AtLeastOnce, Some(&mut outbox));
        assert!(outbound.handle_puback(id(n)));
        outbox.packets().clear();
    }
    deliver(&mut outbound, "next", QoS::AtLeastOnce, Some(&mut outbox));
    assert_eq!(sent(&mut outbox), ["PUBLISH 2 next"]);
}

#[test]
fn the_queue_of_an_absent_client_keeps_order_and_has_an_end() {
    let mut outbound = Outbound::default();
    let outcomes =
        ["a", "b", "c", "d"].map(|payload| deliver(&mut outbound, payload, QoS::AtLeastOnce, None));
    assert_eq!(outcomes, [Outcome::Queued, Outcome::Queued, Outcome::Queued, Outcome::Dropped]);
    let mut outbox = Outbox::default();
    outbound.resume(&mut outbox, Instant::now());
    outbound.poll_queue(&mut outbox, &LIMITS, Instant::now());
    assert_eq!(sent(&mut outbox), ["PUBLISH 1 a", "PUBLISH 2 b"]);
}
