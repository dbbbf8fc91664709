//! The work that is counted. It is the same in every run: no socket, no thread, no clock. Hashes alone have other seeds, so
//! that now and then two keys meet that did not meet before.

use std::fs;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

use benches::stage::{Fan, Messages, Shape, Stage, connect, encoded, publish, subscribe};
use sol::auth::acl::Table;
use sol::auth::{Access, Entrance};
use sol::codec::{
    Ack, Decoded, Delivery, MAX_PACKET_BYTES, Packet, PacketId, PacketType, PropertiesBuf, Property, Publish,
    QoS, Version, decode,
};
use sol::topic::{Filter, Index, Name, Retained};

use crate::measured;

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const TOPIC: &str = "site4/line2/device17/temperature";

/// Does everything, and prints names and how many elements each has.
pub(crate) fn run() {
    codec();
    fans();
    sessions();
    topics();
}

/// Counts one turn of what was done twice before: then tables have grown, and buffers have their length.
fn count(name: &str, elements: u32, mut work: impl FnMut()) {
    work();
    work();
    measured(&mut work);
    println!("{name}\t{elements}");
}

fn codec() {
    const PACKETS: u32 = 100;
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("application/json")).unwrap();
    properties.push(Property::CorrelationData(b"17")).unwrap();
    properties.push(Property::UserProperty("unit", "K")).unwrap();
    let packets = [
        ("PUBLISH QoS 0", Version::V311, publish(TOPIC, QoS::AtMostOnce, PacketId::MIN)),
        ("PUBLISH QoS 1", Version::V311, publish(TOPIC, QoS::AtLeastOnce, PacketId::MIN)),
        (
            "PUBLISH QoS 1 of 5.0 with properties",
            Version::V5,
            Packet::Publish(Publish {
                properties: properties.as_properties(),
                ..Publish::new(Name::new(TOPIC).unwrap(), Delivery::AtLeastOnce(PacketId::MIN), &[b'x'; 64])
            }),
        ),
        ("PUBACK", Version::V311, Packet::Puback(Ack::new(PacketId::MAX))),
        ("CONNECT", Version::V311, connect()),
        ("SUBSCRIBE", Version::V311, subscribe()),
    ];
    for (name, version, packet) in &packets {
        let bytes = encoded(packet, *version).repeat(PACKETS as usize);
        count(&format!("codec/decode/{name}"), PACKETS, || {
            assert_eq!(decode_all(black_box(&bytes), *version), PACKETS);
        });
        let mut out = Vec::new();
        count(&format!("codec/encode/{name}"), PACKETS, || {
            out.clear();
            for _ in 0..PACKETS {
                black_box(packet).encode(*version, &mut out).unwrap();
            }
        });
        assert_eq!(out, bytes);
    }
}

fn decode_all(mut bytes: &[u8], version: Version) -> u32 {
    let mut count = 0;
    loop {
        match decode(bytes, Some(version), MAX_PACKET_BYTES) {
            Ok(Decoded::Packet { ref packet, length }) => {
                black_box(packet);
                count += 1;
                bytes = bytes.get(length..).unwrap();
            }
            Ok(Decoded::Incomplete { .. }) => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Messages through the hub, acknowledgements and all.
fn fans() {
    for version in [Version::V311, Version::V5] {
        for subscribers in [1, 100] {
            for qos in LEVELS {
                let messages = if subscribers == 1 { 500 } else { 20 };
                let shape = Shape { version, qos, subscribers, messages, ..Shape::default() };
                let mut fan = Fan::new(Stage::new(), &shape);
                let name = format!("hub/{version}/1→{subscribers}/QoS {qos}");
                count(&name, u32::from(messages) * u32::from(subscribers), || fan.run());
            }
        }
    }
    let shape = Shape { topics: 500, ..Shape::default() };
    let mut fan = Fan::new(Stage::new(), &shape);
    count("hub/topics/known", 500, || fan.run());
    count("hub/topics/new", 500, || {
        fan.forget();
        fan.run();
    });

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "topic deny benches/secret/#\ntopic read other/#\ntopic benches/hub/+\n").unwrap();
    let acl = Some(Arc::new(Table::load(file.path()).unwrap()));
    let entrance = Entrance::new("benches", Access { acl, ..Access::open() });
    // In turn, so that each is asked for.
    let mut fan = Fan::new(Stage::new(), &Shape { topics: 2, entrance, ..Shape::default() });
    count("hub/topics/asked for in an ACL", 500, || fan.run());
}

/// Clients that come, go, and find again what was kept for them.
fn sessions() {
    const MESSAGES: u16 = 500;
    let everything = Entrance::open();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut stage = Stage::new();
        let mut publisher = stage.connect(Version::V311, "", &everything);
        assert_eq!(publisher.count(&mut stage, PacketType::Connack), 1);
        let mut subscriber = stage.connect(Version::V311, "here and there", &everything);
        assert_eq!(subscriber.count(&mut stage, PacketType::Connack), 1);
        subscriber.subscribe(&mut stage, TOPIC, qos);
        let mut away = Some(subscriber);
        let messages = Messages::new(Version::V311, qos, MESSAGES, &[TOPIC.to_owned()]);
        count(&format!("session/kept and sent/QoS {qos}"), MESSAGES.into(), || {
            if let Some(subscriber) = away.take() {
                stage.close(subscriber);
            }
            messages.send(&mut publisher, &mut stage);
            let mut subscriber = stage.connect(Version::V311, "here and there", &everything);
            assert_eq!(subscriber.receive(&mut stage, qos), MESSAGES);
            away = Some(subscriber);
        });
    }
}

/// Filters and names among ten thousand.
fn topics() {
    const SIZE: u32 = 10_000;
    const LOOKUPS: u32 = 500;
    let device = |leaf: &str, device: u32| {
        let (region, site, line) = (device % 10, device / 10 % 10, device / 100 % 100);
        format!("region{region}/site{site}/line{line}/device{device}/{leaf}")
    };
    // The step shares no factor with the size, so none comes twice.
    let names: Vec<_> = (0..LOOKUPS).map(|i| device("temperature", i * 6_173 % SIZE)).collect();
    let names: Vec<_> = names.iter().map(|name| Name::new(name).unwrap()).collect();
    for leaf in ["temperature", "+", "#"] {
        let mut index = Index::new();
        for number in 0..SIZE {
            index.insert(Filter::new(&device(leaf, number)).unwrap(), number, ());
        }
        let kind = if leaf == "temperature" { "exact" } else { leaf };
        count(&format!("index/visit/{kind}"), LOOKUPS, || {
            let mut found = 0;
            names.iter().for_each(|name| index.visit(*name, |_, ()| found += 1));
            assert_eq!(found, LOOKUPS);
        });
        let filters: Vec<_> = (SIZE..SIZE + LOOKUPS).map(|number| device(leaf, number)).collect();
        let filters: Vec<_> = filters.iter().map(|filter| Filter::new(filter).unwrap()).collect();
        count(&format!("index/insert and remove/{kind}"), LOOKUPS, || {
            for (number, filter) in (SIZE..).zip(&filters) {
                assert!(index.insert(*filter, number, ()).is_none());
                assert!(index.remove(*filter, number).is_some());
            }
        });
    }
    let mut retained = Retained::new();
    for number in 0..SIZE {
        retained.set(Name::new(&device("temperature", number)).unwrap(), number);
    }
    let all_of_a_site = Filter::new("region4/site2/+/+/temperature").unwrap();
    count("retained/visit/+", SIZE / 100, || {
        let mut found = 0;
        retained.visit(all_of_a_site, |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(found, SIZE / 100);
    });
}
