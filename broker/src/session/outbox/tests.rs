use proptest::prelude::*;

use super::*;
use crate::codec::{MAX_REMAINING_LENGTH, PropertiesBuf, QoS};
use crate::session::Note;
use crate::topic::Name;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

proptest! {
    #[test]
    fn what_goes_on_as_it_came_is_what_would_be_put_together(
        (from, to) in (prop::sample::select(&VERSIONS[..]), prop::sample::select(&VERSIONS[..])),
        topic in "[a-z/é]{1,80}",
        payload_len in prop_oneof![0..300_usize, SHARED_BYTES - 100..SHARED_BYTES + 100],
        (retain, is_long, has_property) in any::<(bool, bool, bool)>(),
        (replayed, retain_as_published, has_note) in any::<(bool, bool, bool)>(),
        (max_packet_bytes, topic_alias_maximum) in (prop_oneof![Just(u32::MAX), 0..300_u32], 0..2_u16),
        qos in prop::sample::select(&[QoS::AtMostOnce, QoS::AtLeastOnce][..]),
    ) {
        let (now, id) = (Instant::now(), crate::codec::PacketId::MIN);
        let topic = Name::new(&topic).unwrap();
        let mut properties = PropertiesBuf::new();
        if has_property && from == Version::V5 {
            properties.push(Property::MessageExpiryInterval(7)).unwrap();
        }
        let payload = vec![b'x'; payload_len];
        let delivery = if qos == QoS::AtMostOnce { Delivery::AtMostOnce } else { Delivery::AtLeastOnce(id) };
        let sent = Publish {
            retain,
            properties: properties.as_properties(),
            ..Publish::new(topic, delivery, &payload)
        };
        let mut packet = Vec::new();
        Packet::Publish(sent).encode(from, &mut packet).unwrap();
        if is_long && from != Version::V5 {
            // A byte more than the remaining length needs.
            let last = packet.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap() + 1;
            packet[last] |= 0x80;
            packet.insert(last + 1, 0);
        }
        let decoded = decode(&packet, Some(from), MAX_REMAINING_LENGTH);
        let Ok(Decoded::Packet { packet: Packet::Publish(came), length }) = decoded else {
            panic!("{decoded:?}");
        };
        prop_assert_eq!((came, length), (sent, packet.len()));

        let terms = Terms { max_packet_bytes, topic_alias_maximum, ..Terms::of(to) };
        let (mut one, mut other) = (Outbox::new(&terms), Outbox::new(&terms));
        let note = has_note.then(|| Arc::new(Note { subscription_ids: [7.try_into().unwrap()].into(), share: None }));
        let manner = Manner { retain: retain && retain_as_published, replayed, note, ..Manner::at(QoS::AtMostOnce) };
        let as_came = Content::received(topic, &came, (&packet, from), now);
        let apart = Content::new(topic, &payload, qos).with(sent.properties, now);
        for delivery in [Delivery::AtMostOnce, Delivery::AtMostOnce, Delivery::AtLeastOnce(id), Delivery::AtMostOnce] {
            let bytes = one.publish(false, delivery, &manner, &as_came, now);
            prop_assert_eq!(bytes, other.publish(false, delivery, &manner, &apart, now));
        }
        prop_assert_eq!((written(&one), one.bytes()), (written(&other), other.bytes()));
    }
}

fn written(outbox: &Outbox) -> Vec<u8> {
    let mut room = [IoSlice::new(&[]); 8];
    outbox.slices(&mut room).iter().flat_map(|slice| slice.iter().copied()).collect()
}

#[test]
fn small_and_shared_packets_keep_their_order_however_they_are_written() {
    let large = vec![7; SHARED_BYTES];
    let topic = Name::new("t").unwrap();
    let mut outbox = Outbox::default();
    outbox.append(&[0xd0, 0]);
    for payload in [&large[..], b"x"] {
        let content = Content::new(topic, payload, QoS::AtMostOnce);
        let manner = Manner::at(QoS::AtMostOnce);
        outbox.publish(false, Delivery::AtMostOnce, &manner, &content, Instant::now()).unwrap();
    }

    let mut expected = vec![0xd0, 0];
    encode_publish(&mut expected, false, Delivery::AtMostOnce, false, b"t", None, &large);
    encode_publish(&mut expected, false, Delivery::AtMostOnce, false, b"t", None, b"x");
    assert_eq!(outbox.bytes(), expected.len());
    assert_eq!(written(&outbox), expected);

    let mut unsent = Outbox::default();
    outbox.move_into(&mut unsent, 0);
    assert!(outbox.is_empty());
    for step in [1, 3, 1000, 5000] {
        unsent.advance(step);
        expected.drain(..step);
        outbox.append(&[0xc0, 0]);
        expected.extend([0xc0, 0]);
        outbox.move_into(&mut unsent, 0);
        assert_eq!(written(&unsent), expected);
        assert_eq!(unsent.bytes(), expected.len());
    }
    unsent.advance(expected.len());
    assert!(unsent.is_empty());
}

fn held_by(outbox: &Outbox) -> Option<u64> {
    outbox.held_by().map(|barrier| barrier.group)
}

#[test]
fn what_depends_on_a_group_leaves_when_that_is_persisted() {
    let (mut outbox, mut unsent) = (Outbox::default(), Outbox::default());
    outbox.append(b"a");
    outbox.hold(3);
    outbox.append(b"b");
    outbox.hold(3);
    outbox.append(b"c");
    outbox.hold(4);
    outbox.append(b"d");
    outbox.append_unheld(b"z");
    outbox.move_into(&mut unsent, 2);
    assert_eq!((written(&unsent), held_by(&outbox), outbox.bytes()), (b"az".to_vec(), Some(3), 3));
    outbox.move_into(&mut unsent, 3);
    assert_eq!((written(&unsent), held_by(&outbox)), (b"azbc".to_vec(), Some(4)));
    outbox.move_into(&mut unsent, 9);
    outbox.append_unheld(b"e");
    outbox.move_into(&mut unsent, 9);
    assert_eq!((written(&unsent), unsent.bytes(), held_by(&outbox)), (b"azbcde".to_vec(), 6, None));
    assert!(outbox.is_empty() && !outbox.is_held());
}

#[test]
fn a_receipt_is_as_good_as_the_group_and_in_order() {
    let (mut outbox, mut unsent) = (Outbox::default(), Outbox::default());
    let receipts = [Receipt::new(), Receipt::new()];
    for (receipt, packets) in receipts.iter().zip([b"a", b"b"]) {
        outbox.hold_for(3, Some(Arc::clone(receipt)));
        outbox.append(packets);
    }
    outbox.hold(3);
    outbox.append(b"c");
    for (settled, expected) in [(1, ""), (0, "ab")] {
        receipts[settled].settle();
        outbox.move_into(&mut unsent, 2);
        assert_eq!(written(&unsent), expected.as_bytes());
    }
    outbox.move_into(&mut unsent, 3);
    assert_eq!((written(&unsent), outbox.is_held()), (b"abc".to_vec(), false));
}

#[test]
fn an_empty_outbox_has_no_buffer_and_a_few_packets_are_one() {
    let (mut outbox, mut unsent) = (Outbox::default(), Outbox::default());
    outbox.append(b"ab");
    outbox.move_into(&mut unsent, 0);
    assert!(unsent.more.is_none() && outbox.tail.capacity() == 0);
    unsent.advance(1);
    assert_eq!((written(&unsent), unsent.bytes()), (b"b".to_vec(), 1));
    outbox.append(b"c");
    outbox.move_into(&mut unsent, 0);
    assert_eq!((written(&unsent), unsent.bytes()), (b"bc".to_vec(), 2));
    unsent.advance(2);
    assert_eq!(unsent.settle(&mut Tally::default()), 0);
    assert!(unsent.more.is_none() && unsent.tail.capacity() == 0);
}

#[test]
fn the_oldest_qos_0_messages_are_shed_and_nothing_else() {
    let topic = Name::new("t").unwrap();
    let large = vec![7; SHARED_BYTES];
    let id = Delivery::AtLeastOnce(crate::codec::PacketId::MIN);
    let mut outbox = Outbox::default();
    let mut publish = |delivery, payload: &[u8]| {
        let content = Content::new(topic, payload, QoS::AtLeastOnce);
        outbox.publish(false, delivery, &Manner::at(delivery.qos()), &content, Instant::now()).unwrap();
    };
    publish(Delivery::AtMostOnce, b"old");
    publish(id, b"one");
    publish(Delivery::AtMostOnce, &large);
    publish(id, &large);
    publish(Delivery::AtMostOnce, b"new");
    outbox.append(&[0xd0, 0]);

    let mut expected = Vec::new();
    encode_publish(&mut expected, false, id, false, b"t", None, b"one");
    encode_publish(&mut expected, false, id, false, b"t", None, &large);
    let mut tail = Vec::new();
    encode_publish(&mut tail, false, Delivery::AtMostOnce, false, b"t", None, b"new");
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
