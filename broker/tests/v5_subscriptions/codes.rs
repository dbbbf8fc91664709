//! The codes of SUBACK and UNSUBACK, and their reason strings.

use sol::codec::{Properties, Suback};

use super::*;

fn refused(reason: Reason) -> SubscribeCode {
    SubscribeCode::Refused(reason)
}

fn reason_string(properties: Properties<'_>) -> Option<String> {
    properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(text.to_owned()),
        _ => None,
    })
}

#[test]
fn each_filter_has_its_code() {
    let limits = Limits { max_subscriptions: 3, max_topic_levels: 4, ..Limits::default() };
    let broker = broker(limits);
    let mut client = open(broker.local_addr(), "client");
    let filters = ["a", "b/c/d/e/f", "$share/g/a/b/c/d", "a", "b", "c"];
    let codes = subscribe(&mut client, 0, &filters.map(|filter| (filter, at(QoS::AtLeastOnce))));
    let quota = refused(Reason::QuotaExceeded);
    assert_eq!(codes, [GRANTED[1], quota, GRANTED[1], GRANTED[1], GRANTED[1], quota]);
    let codes = unsubscribe(&mut client, &["b", "b", "$share/h/a/b/c/d", "$share/g/a/b/c/d", "a/b/c/d"]);
    let (success, none) = (Reason::Success, Reason::NoSubscriptionExisted);
    assert_eq!(codes, [success, none, none, success, none]);
    assert_eq!((broker.stats().subscriptions, broker.stats().shared_subscriptions), (1, 0));
}

#[test]
fn more_filters_in_one_packet_than_allowed_are_refused() {
    let broker = broker(Limits { max_filters: 2, ..Limits::default() });
    let mut client = open(broker.local_addr(), "client");
    let codes = subscribe(&mut client, 0, &["a", "b", "c"].map(|filter| (filter, at(QoS::AtMostOnce))));
    assert_eq!(codes, [GRANTED[0], GRANTED[0], refused(Reason::QuotaExceeded)]);
}

#[test]
fn what_is_not_available_is_refused_and_the_rest_is_not() {
    let limits = Limits { wildcard_available: false, shared_available: false, ..Limits::default() };
    let without = broker(limits);
    let filters = ["a", "a/+", "#", "$share/g/a", "$share/g/a/#"].map(|filter| (filter, at(QoS::AtMostOnce)));
    let (shared, wildcard) =
        (Reason::SharedSubscriptionsNotSupported, Reason::WildcardSubscriptionsNotSupported);
    let codes = subscribe(&mut open(without.local_addr(), "client"), 0, &filters);
    assert_eq!(codes, [GRANTED[0], refused(wildcard), refused(wildcard), refused(shared), refused(shared)]);
    // 3.1.1 has one code for all.
    let mut older = Client::connect(without.local_addr(), "older");
    let failure = refused(Reason::Unspecified);
    assert_eq!(subscribe(&mut older, 0, &filters), [GRANTED[0], failure, failure, failure, failure]);

    let without = broker(Limits { subscription_ids_available: false, ..Limits::default() });
    let mut client = open(without.local_addr(), "client");
    let codes = subscribe(&mut client, 1, &filters[..1]);
    assert_eq!(codes, [refused(Reason::SubscriptionIdentifiersNotSupported)]);
    assert_eq!(subscribe(&mut client, 0, &filters[..1]), [GRANTED[0]]);
}

#[test]
fn a_reason_string_says_more_to_those_who_want_it() {
    let broker = broker(Limits { max_subscriptions: 0, ..Limits::default() });
    let suback = |with: &[Property<'_>]| {
        let mut client = open_with(broker.local_addr(), "", true, with);
        client.send(&[common::subscribe("a", QoS::AtMostOnce)]);
        match client.receive() {
            Packet::Suback(Suback { properties, codes, .. }) => {
                assert_eq!(*codes, [refused(Reason::QuotaExceeded)]);
                reason_string(properties)
            }
            other => panic!("{other:?} for SUBACK"),
        }
    };
    let words = suback(&[]).unwrap();
    assert!(words.contains("as many subscriptions"), "{words}");
    assert_eq!(suback(&[Property::RequestProblemInformation(false)]), None);
    // Fixed header, packet identifier, property length, the property, one code.
    let size = 2 + 2 + 1 + (3 + words.len()) + 1;
    let maximum = |size: usize| Property::MaximumPacketSize(NonZeroU32::new(size as u32).unwrap());
    assert_eq!(suback(&[maximum(size)]), Some(words));
    assert_eq!(suback(&[maximum(size - 1)]), None);
}

#[test]
fn an_answer_larger_than_the_client_takes_is_not_sent() {
    let broker = broker(Limits::default());
    let small = [Property::MaximumPacketSize(NonZeroU32::new(40).unwrap())];
    let mut client = open_with(broker.local_addr(), "client", true, &small);
    let filters: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let wanted = filters.iter().map(|filter| (Filter::new(filter).unwrap(), QoS::AtMostOnce)).collect();
    let unwanted = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
    client.send(&[Packet::Subscribe(Subscribe::new(PacketId::MIN, wanted))]);
    client.ping();
    assert_eq!(broker.stats().subscriptions, 50);
    client.send(&[Packet::Unsubscribe(Unsubscribe::new(PacketId::MIN, unwanted))]);
    client.ping();
    assert_eq!(broker.stats().subscriptions, 0);
}

#[test]
fn filters_that_only_begin_like_shared_ones() {
    let broker = broker(Limits::default());
    for filter in ["$share/g", "$share//a", "$share/+/a"] {
        let mut client = open(broker.local_addr(), "client");
        // Malformed: what cannot be encoded is put together by hand.
        let mut bytes = vec![0x82, 6 + filter.len() as u8, 0, 1, 0, 0, filter.len() as u8];
        bytes.extend(filter.as_bytes());
        bytes.push(0);
        client.send_bytes(&bytes);
        match client.receive() {
            Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, Reason::MalformedPacket),
            other => panic!("{other:?} for DISCONNECT"),
        }
        client.expect_closed();

        let mut older = Client::connect(broker.local_addr(), "older");
        let codes = subscribe(&mut older, 0, &[(filter, at(QoS::AtMostOnce)), ("a", at(QoS::AtMostOnce))]);
        assert_eq!(codes, [refused(Reason::Unspecified), GRANTED[0]]);
    }
}
