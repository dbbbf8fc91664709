//! What an ACL file lets clients do, and that it is what mosquitto lets them do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::peers::has;
use common::{Client, Port, Running, connect, eventually, publish, running, subscribe, v5};
use sol::codec::{
    Ack, AckType, Connack, Connect, Delivery, Packet, PacketId, Properties, Publish, QoS, Reason, Subscribe,
    SubscribeCode, Will,
};
use sol::config::Listener;
use sol::topic::{Filter, Name};
use sol::{Broker, Config, Limits, StartError};
use tempfile::TempDir;

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use Reason::NotAuthorized;

/// An ACL file and a broker that goes by it.
struct Guarded {
    broker: Broker,
    path: PathBuf,
    _directory: TempDir,
}

impl Guarded {
    fn new(text: &str) -> Self {
        Self::with(text, |listener| listener)
    }

    fn with(text: &str, change: impl FnOnce(Listener) -> Listener) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acl");
        fs::write(&path, text).unwrap();
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = change(Listener { acl_file: Some(path.clone()), ..address.into() });
        // Threads meet, and each remembers its own answers.
        let config =
            Config { listeners: vec![listener], spread: true, stats_interval: None, ..Config::default() };
        Self { broker: Broker::start(config).unwrap(), path, _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        self.broker.local_addr()
    }

    fn rewrite(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
        self.broker.reload().unwrap();
    }

    fn client(&self, user: &str, id: &str) -> Client {
        Client::connect_as(self.address(), user_of(user, id), false)
    }

    /// Subscribed to one filter, at QoS 2.
    fn subscribed(&self, user: &str, filter: &str) -> Client {
        let mut client = self.client(user, user);
        client.subscribe(filter, ExactlyOnce);
        client
    }
}

/// A CONNECT of that user; of nobody if that is empty.
fn user_of<'a>(user: &'a str, id: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user).filter(|user| !user.is_empty()), ..connect(id) }
}

fn published(topic: &str, delivery: Delivery) -> Packet<'_> {
    Packet::Publish(Publish::new(Name::new(topic).unwrap(), delivery, topic.as_bytes()))
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// The topic of the next packet, which is a PUBLISH that has it as its payload, too.
fn topic(client: &mut Client) -> String {
    let Packet::Publish(publish) = client.receive() else { panic!("no PUBLISH") };
    let (topic, delivery) = (publish.topic.unwrap().as_str().to_owned(), publish.delivery);
    match delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce(packet_id) => client.send(&[Packet::Puback(Ack::new(packet_id))]),
        Delivery::ExactlyOnce(packet_id) => {
            client.send(&[Packet::Pubrec(Ack::new(packet_id))]);
            client.expect(Packet::Pubrel(Ack::new(packet_id)));
            client.send(&[Packet::Pubcomp(Ack::new(packet_id))]);
        }
    }
    topic
}

fn retain(topic: &str) -> Packet<'_> {
    let Packet::Publish(publish) = published(topic, Delivery::AtMostOnce) else { panic!() };
    Packet::Publish(Publish { retain: true, ..publish })
}

const ROOT: &str = "user root\ntopic #\n";

// Publishing

#[test]
fn what_may_not_be_published_is_acknowledged_before_5_0_and_reaches_nobody() {
    let guarded = Guarded::new(&format!("{ROOT}user anna\ntopic write open/#\ntopic deny open/not\n"));
    let mut root = guarded.subscribed("root", "#");
    let mut anna = guarded.client("anna", "anna");
    for number in 1..=3 {
        let (first, second) = (id(2 * number - 1), id(2 * number));
        for topic in ["closed", "open/not", "open/a"] {
            anna.send(&[
                published(topic, Delivery::AtMostOnce),
                published(topic, Delivery::AtLeastOnce(first)),
                published(topic, Delivery::ExactlyOnce(second)),
                Packet::Pubrel(Ack::new(second)),
            ]);
            anna.expect(Packet::Puback(Ack::new(first)));
            anna.expect(Packet::Pubrec(Ack::new(second)));
            anna.expect(Packet::Pubcomp(Ack::new(second)));
        }
        for _ in 0..3 {
            assert_eq!(topic(&mut root), "open/a");
        }
    }
    let stats = guarded.broker.stats();
    assert_eq!((stats.refused_acl, stats.dropped()), (18, 18));
    // Neither is it retained.
    anna.send(&[retain("closed"), retain("open/a"), Packet::Pingreq]);
    anna.expect(Packet::Pingresp);
    assert_eq!(guarded.broker.stats().retained, 1);
}

#[test]
fn a_client_of_5_0_is_told_that_it_may_not_publish() {
    let guarded = Guarded::new(&format!("{ROOT}user anna\ntopic write open\n"));
    let mut root = guarded.subscribed("root", "#");
    let connect = Connect { user_name: Some("anna"), clean_session: true, ..v5::connect("anna") };
    let (mut anna, _) = v5::opened(guarded.address(), connect, &[]);
    for _ in 0..2 {
        anna.send(&[
            published("closed", Delivery::AtMostOnce),
            published("closed", Delivery::AtLeastOnce(id(1))),
            published("closed", Delivery::ExactlyOnce(id(2))),
            published("open", Delivery::ExactlyOnce(id(2))),
            Packet::Pubrel(Ack::new(id(2))),
        ]);
        match anna.receive() {
            Packet::Puback(ack) => assert_eq!((ack.packet_id, ack.reason), (id(1), NotAuthorized)),
            other => panic!("{other:?}"),
        }
        match anna.receive() {
            Packet::Pubrec(ack) => assert_eq!((ack.packet_id, ack.reason), (id(2), NotAuthorized)),
            other => panic!("{other:?}"),
        }
        // The identifier is free.
        anna.expect(Packet::Pubrec(Ack::new(id(2))));
        anna.expect(Packet::Pubcomp(Ack::new(id(2))));
        assert_eq!(topic(&mut root), "open");
    }
    assert_eq!(guarded.broker.stats().refused_acl, 6);
}

#[test]
fn a_will_goes_out_only_where_its_client_may_publish_then() {
    let text = |rule: &str| format!("{ROOT}user anna\n{rule}topic write wills/anna\n");
    let guarded = Guarded::new(&text(""));
    let mut root = guarded.subscribed("root", "wills/#");
    let leave = |topic: &str| {
        let will = Will {
            topic: Name::new(topic).unwrap(),
            payload: b"",
            qos: AtMostOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
        Client::connect_as(guarded.address(), Connect { will: Some(will), ..user_of("anna", "anna") }, false)
    };
    let gone = || eventually("gone", || guarded.broker.stats().clients_connected == 1);
    drop(leave("wills/other"));
    gone();
    drop(leave("wills/anna"));
    assert_eq!(root.message(), b"");
    gone();
    let connected = leave("wills/anna");
    guarded.rewrite(&text("topic deny wills/anna\n"));
    drop(connected);
    eventually("it is refused", || guarded.broker.stats().refused_acl == 2);
    root.ping();
}

#[test]
fn the_log_names_the_client_and_the_topic_once_a_minute() {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Lines;
    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }

        fn flush(&self) {}
    }
    log::set_logger(&Lines).unwrap();
    log::set_max_level(log::LevelFilter::Warn);

    let guarded = Guarded::new("user logged\ntopic read open\n");
    let mut client = guarded.client("logged", "logged\n");
    for _ in 0..3 {
        for topic in ["closed\u{1b}", "another"] {
            client.publish(topic, b"");
        }
        suback(&mut client, &["closed/#"]);
    }
    let lines = || -> Vec<String> {
        let lines = LINES.lock().unwrap();
        lines.iter().filter(|line| line.contains(r#"client "logged\n""#)).cloned().collect()
    };
    let expected = [
        r#"WARN client "logged\n" was refused a message or will that `acl_file` does not let it publish: "closed\u{1b}""#,
        r#"WARN client "logged\n" was refused a subscription to what `acl_file` does not let it read: "closed/#""#,
    ];
    eventually("it is told", || lines().len() == 2);
    assert_eq!(lines(), expected);
    let warning = "`acl_file` has lines for users, who without `password_file` are whoever says so";
    assert!(LINES.lock().unwrap().iter().any(|line| line.ends_with(warning)));
}

// Subscribing and getting

fn suback(client: &mut Client, filters: &[&str]) -> Vec<SubscribeCode> {
    let filters = filters.iter().map(|filter| (Filter::new(filter).unwrap(), AtLeastOnce)).collect();
    client.send(&[Packet::Subscribe(Subscribe::new(PacketId::MIN, filters))]);
    match client.receive() {
        Packet::Suback(suback) => suback.codes.to_vec(),
        other => panic!("{other:?} for SUBACK"),
    }
}

#[test]
fn a_subscription_that_could_bring_nothing_is_refused() {
    let text = "user anna\ntopic read open/#\ntopic deny open/not/#\ntopic write in\npattern read own/%c\n";
    let guarded = Guarded::new(text);
    let filters = [
        "open/a",
        "closed",
        "#",
        "in",
        "own/+",
        "own/other",
        "open/not/+",
        "$SYS/#",
        "$share/g/in",
        "$share/g/+/x",
    ];
    let granted = SubscribeCode::Granted(AtLeastOnce);
    let expected = |code| {
        let refused = SubscribeCode::Refused(code);
        [granted, refused, granted, refused, granted, refused, refused, refused, refused, granted]
    };
    let mut old = guarded.client("anna", "old");
    // 0x80, in words of 5.0.
    assert_eq!(suback(&mut old, &filters), expected(Reason::Unspecified));
    let connect = Connect { user_name: Some("anna"), clean_session: true, ..v5::connect("new") };
    let (mut new, _) = v5::opened(guarded.address(), connect, &[]);
    assert_eq!(suback(&mut new, &filters), expected(NotAuthorized));
    let stats = guarded.broker.stats();
    assert_eq!(
        (stats.refused_subscriptions_acl, stats.subscriptions, stats.shared_subscriptions),
        (12, 6, 2)
    );
}

#[test]
fn only_what_may_be_read_is_delivered_live_and_retained() {
    let guarded = Guarded::new(&format!(
        "topic read news\n{ROOT}user anna\ntopic read a/#\ntopic deny a/no\ntopic read $SYS/x\npattern read own/%u/%c\n"
    ));
    let topics = ["a/yes", "a/no", "b", "news", "own/anna/anna", "own/anna/root", "a"];
    let mut root = guarded.client("root", "root");
    for topic in topics {
        root.send(&[retain(topic)]);
    }
    root.ping();
    for (user, expected) in
        [("anna", &["a", "a/yes", "own/anna/anna"][..]), ("", &["news"]), ("root", &topics), ("bert", &[])]
    {
        let expected: BTreeSet<_> = expected.iter().map(|topic| (*topic).to_owned()).collect();
        let mut client = guarded.client(user, if user.is_empty() { "nobody" } else { user });
        client.subscribe("#", AtLeastOnce);
        let mut got = || (0..expected.len()).map(|_| topic(&mut client)).collect::<BTreeSet<_>>();
        assert_eq!(got(), expected, "retained, {user}");
        for qos in [AtMostOnce, AtLeastOnce] {
            let mut publisher = guarded.client("root", "publisher");
            for topic in topics {
                publisher.send(&[Packet::Publish(publish(topic, topic.as_bytes(), qos))]);
            }
            // Nothing of it is left for who comes next.
            publisher.send(&[Packet::Pingreq]);
            while publisher.receive() != Packet::Pingresp {}
            assert_eq!(got(), expected, "live, {user}");
        }
        client.ping();
    }
}

#[test]
fn a_shared_subscription_passes_over_members_that_may_not_read() {
    let guarded =
        Guarded::new(&format!("{ROOT}user anna\ntopic read a\nuser bert\ntopic read a\ntopic read b\n"));
    let mut anna = guarded.subscribed("anna", "$share/g/+");
    let mut bert = guarded.subscribed("bert", "$share/g/+");
    let mut root = guarded.client("root", "root");
    for _ in 0..10 {
        for topic in ["b", "c"] {
            root.send(&[Packet::Publish(publish(topic, topic.as_bytes(), AtMostOnce))]);
        }
    }
    root.ping();
    (0..10).for_each(|_| assert_eq!(topic(&mut bert), "b"));
    bert.ping();
    anna.ping();
    // Nobody lost what nobody may read.
    assert_eq!(guarded.broker.stats().dropped(), 0);
    (0..4).for_each(|_| root.send(&[Packet::Publish(publish("a", b"a", AtMostOnce))]));
    root.ping();
    (0..2).for_each(|_| assert_eq!((topic(&mut anna), topic(&mut bert)), ("a".into(), "a".into())));
}

// Rights that change

#[test]
fn a_file_that_is_read_again_holds_for_who_is_connected() {
    let text = |may: &str| format!("{ROOT}user anna\ntopic {may} t\ntopic read u\n");
    let guarded = Guarded::new(&text("readwrite"));
    let mut anna = guarded.subscribed("anna", "+");
    let mut root = guarded.subscribed("root", "+");
    anna.send(&[published("t", Delivery::AtMostOnce)]);
    assert_eq!((topic(&mut anna), topic(&mut root)), ("t".into(), "t".into()));
    for (may, reads, writes) in
        [("read", true, false), ("write", false, true), ("deny", false, false), ("readwrite", true, true)]
    {
        guarded.rewrite(&text(may));
        anna.send(&[published("t", Delivery::AtMostOnce)]);
        anna.send(&[Packet::Publish(publish("end", b"", AtMostOnce)), Packet::Pingreq]);
        if reads && writes {
            assert_eq!(topic(&mut anna), "t");
        }
        anna.expect(Packet::Pingresp);
        if writes {
            assert_eq!(topic(&mut root), "t");
        }
        let mut other = guarded.client("root", "other");
        other.send(&[published("t", Delivery::AtMostOnce), published("u", Delivery::AtMostOnce)]);
        assert_eq!((topic(&mut root), topic(&mut root)), ("t".into(), "u".into()), "{may}");
        if reads {
            assert_eq!(topic(&mut anna), "t", "{may}");
        }
        assert_eq!(topic(&mut anna), "u", "{may}");
    }
    // A file with an error changes nothing.
    fs::write(&guarded.path, "topic reed t\nuser\n").unwrap();
    let error = guarded.broker.reload().unwrap_err().to_string();
    assert!(error.contains("acl:1: unknown access \"reed\"") && error.contains("acl:2: `user`"), "{error}");
    anna.send(&[published("t", Delivery::AtMostOnce)]);
    assert_eq!((topic(&mut anna), topic(&mut root)), ("t".into(), "t".into()));
}

/// For who is connected, and for who is away.
#[test]
fn rights_come_and_go_with_the_acl_file_of_the_listener() {
    let guarded = Guarded::new(ROOT);
    let change = |acl_file| {
        let listener = Listener::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
        let listeners = vec![Listener { acl_file, ..listener }];
        guarded.broker.change(Config { listeners, stats_interval: None, ..Config::default() }).unwrap();
    };
    let back = |present| {
        let connect = Connect { clean_session: false, ..user_of("anna", "away") };
        Client::connect_as(guarded.address(), connect, present)
    };
    change(None);
    let mut anna = back(false);
    anna.subscribe("t", AtLeastOnce);
    anna.leave();
    let mut bert = guarded.subscribed("bert", "t");
    let mut root = guarded.client("root", "root");
    for (file, is_free) in [(Some(guarded.path.clone()), false), (None, true), (None, true)] {
        change(file);
        let queued = guarded.broker.stats().queued;
        bert.send(&[published("t", Delivery::AtMostOnce), Packet::Pingreq]);
        if is_free {
            assert_eq!(topic(&mut bert), "t");
        }
        bert.expect(Packet::Pingresp);
        root.send(&[published("t", Delivery::AtLeastOnce(id(1)))]);
        assert!(matches!(root.receive(), Packet::Puback(_)));
        if is_free {
            assert_eq!(topic(&mut bert), "t");
        }
        bert.ping();
        assert_eq!(guarded.broker.stats().queued - queued, usize::from(is_free));
    }
    let mut anna = back(true);
    assert_eq!((topic(&mut anna), topic(&mut anna)), ("t".into(), "t".into()));
    anna.ping();
}

#[test]
fn what_waits_for_a_client_is_held_against_who_it_is_when_it_is_back() {
    let guarded = Guarded::new(&format!("{ROOT}user anna\ntopic read +\nuser bert\ntopic read b\n"));
    let back = |user, present| {
        let connect = Connect { clean_session: false, ..user_of(user, "client") };
        Client::connect_as(guarded.address(), connect, present)
    };
    let mut anna = back("anna", false);
    anna.subscribe("+", ExactlyOnce);
    let mut root = guarded.client("root", "root");
    let mut say = |topic: &str, delivery| root.send(&[published(topic, delivery)]);
    // In flight.
    say("a", Delivery::AtLeastOnce(id(1)));
    say("c", Delivery::ExactlyOnce(id(2)));
    say("b", Delivery::AtLeastOnce(id(3)));
    let mut sent = Vec::new();
    for _ in 0..3 {
        let Packet::Publish(publish) = anna.receive() else { panic!() };
        sent.push(publish.delivery);
    }
    anna.leave();
    // Queued.
    say("a", Delivery::AtLeastOnce(id(4)));
    say("b", Delivery::ExactlyOnce(id(5)));
    eventually("queued", || guarded.broker.stats().queued == 2);
    let mut bert = back("bert", true);
    let [_, Delivery::ExactlyOnce(second), third] = sent[..] else { panic!("{sent:?}") };
    let mut got = Vec::new();
    for _ in 0..3 {
        match bert.receive() {
            Packet::Publish(publish) => {
                got.push((publish.topic.map(|topic| topic.as_str().to_owned()), publish.dup))
            }
            // The identifier may be known from before.
            Packet::Pubrel(ack) => {
                assert_eq!(ack.packet_id, second);
                got.push((None, false));
            }
            other => panic!("{other:?}"),
        }
    }
    let b = |dup| (Some("b".to_owned()), dup);
    assert_eq!(got, [(None, false), b(true), b(false)]);
    let Delivery::AtLeastOnce(third) = third else { panic!("{third:?}") };
    bert.send(&[Packet::Puback(Ack::new(third)), Packet::Pubcomp(Ack::new(second))]);
    bert.ping();
    let stats = guarded.broker.stats();
    assert_eq!((stats.refused_acl, stats.in_flight, stats.queued), (3, 1, 0));
    // Anna again: she gets what comes from now on.
    drop(bert);
    let mut anna = back("anna", true);
    assert_eq!(topic(&mut anna), "b");
    say("a", Delivery::AtMostOnce);
    assert_eq!(topic(&mut anna), "a");
}

#[test]
fn what_waits_behind_the_window_is_dropped_when_the_right_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("acl");
    fs::write(&path, format!("{ROOT}user anna\ntopic read +\n")).unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { acl_file: Some(path.clone()), ..address.into() };
    let limits = Limits { max_in_flight_messages: 1, ..Limits::default() };
    let broker = Broker::start(Config { listeners: vec![listener], limits, ..Config::default() }).unwrap();
    let mut anna = Client::connect_as(broker.local_addr(), user_of("anna", "anna"), false);
    anna.subscribe("+", AtLeastOnce);
    let mut root = Client::connect_as(broker.local_addr(), user_of("root", "root"), false);
    for (number, topic) in (1..).zip(["a", "a", "b", "a"]) {
        root.send(&[published(topic, Delivery::AtLeastOnce(id(number)))]);
    }
    eventually("queued", || broker.stats().queued == 3);
    fs::write(&path, format!("{ROOT}user anna\ntopic read b\n")).unwrap();
    broker.reload().unwrap();
    // It was on its way.
    assert_eq!(topic(&mut anna), "a");
    assert_eq!(topic(&mut anna), "b");
    anna.ping();
    assert_eq!((broker.stats().refused_acl, broker.stats().queued), (2, 0));
}

/// Whoever connects while the file is read again gets what it says in the end.
#[test]
fn reloads_while_clients_come_and_go_are_not_missed() {
    let text = |may: &str| format!("topic {may} t\ntopic read end\n{ROOT}");
    let guarded = Guarded::new(&text("deny"));
    let address = guarded.address();
    let is_over = AtomicBool::new(false);
    let mut clients = std::thread::scope(|scope| {
        let come_and_go = |number: usize| {
            let (first, second) = (format!("{number}"), format!("{number} again"));
            let mut ids = [first.as_str(), &second].into_iter().cycle();
            let mut last = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let mut client = Client::connect(address, ids.next().unwrap());
                client.send(&[subscribe("#", AtMostOnce), published("t", Delivery::AtMostOnce)]);
                last.push(client);
                last.drain(..last.len().saturating_sub(2));
            }
            last
        };
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || come_and_go(number))).collect();
        for number in 0..100 {
            guarded.rewrite(&text(if number % 2 == 0 { "readwrite" } else { "deny" }));
        }
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for client in &mut clients {
        client.send(&[Packet::Pingreq]);
        while client.receive() != Packet::Pingresp {}
    }
    let mut root = guarded.subscribed("root", "t");
    for client in &mut clients {
        client.publish("t", b"");
    }
    let mut publisher = guarded.client("root", "publisher");
    for topic in ["t", "end"] {
        publisher.send(&[published(topic, Delivery::AtMostOnce)]);
    }
    assert_eq!(root.message(), b"t");
    root.ping();
    for client in &mut clients {
        assert_eq!(client.message(), b"end");
    }
}

#[cfg(unix)]
#[test]
fn what_survived_the_broker_is_held_against_the_rights_of_today() {
    use common::process::Place;
    use rustix::process::Signal;

    let place = Place::new(
        "ip_port 0\nstats_publish_interval 0\npersistence true\npersistence_location $D/store\nacl_file $D/acl\n",
    );
    let text = |rule: &str| format!("{ROOT}user anna\n{rule}topic read +\n");
    fs::write(place.path("acl"), text("")).unwrap();
    let sol = place.start();
    let back = |address, present| {
        let connect = Connect { clean_session: false, ..user_of("anna", "anna") };
        Client::connect_as(address, connect, present)
    };
    let mut anna = back(sol.address, false);
    anna.subscribe("+", AtLeastOnce);
    let mut root = Client::connect_as(sol.address, user_of("root", "root"), false);
    root.send(&[published("a", Delivery::AtLeastOnce(id(1))), published("b", Delivery::AtLeastOnce(id(2)))]);
    (0..2).for_each(|_| assert!(matches!(root.receive(), Packet::Puback(_))));
    // Both are in flight.
    (0..2).for_each(|_| assert!(matches!(anna.receive(), Packet::Publish(_))));
    drop(anna);
    for number in 3..=1002 {
        let topic = if number % 100 == 2 { "b" } else { "a" };
        root.send(&[published(topic, Delivery::AtLeastOnce(id(number)))]);
    }
    (3..=1002).for_each(|_| assert!(matches!(root.receive(), Packet::Puback(_))));
    sol.signal(Signal::TERM);
    sol.end();
    fs::write(place.path("acl"), text("topic deny a\n")).unwrap();
    let sol = place.start();
    let mut anna = back(sol.address, true);
    for _ in 0..11 {
        assert_eq!(topic(&mut anna), "b");
    }
    let mut root = Client::connect_as(sol.address, user_of("root", "root"), false);
    root.send(&[published("end", Delivery::AtLeastOnce(id(1)))]);
    assert_eq!(topic(&mut anna), "end");
    anna.ping();
    sol.signal(Signal::TERM);
    sol.end();
    // None is in the store any more.
    let sol = place.start();
    let mut anna = back(sol.address, true);
    anna.ping();
}

// Names

#[test]
fn a_user_name_takes_the_place_of_the_client_identifier() {
    let text = format!("{ROOT}pattern own/%c\n");
    let guarded = Guarded::with(&text, |listener| Listener { user_as_client_id: true, ..listener });
    let mut anna = guarded.client("anna", "whatever");
    anna.subscribe("own/+", AtMostOnce);
    anna.send(&[published("own/anna", Delivery::AtMostOnce)]);
    assert_eq!(topic(&mut anna), "own/anna");
    // Another client identifier takes the session over all the same.
    guarded.client("anna", "other").ping();
    anna.expect_closed();
    let mut nobody = Client::open(guarded.address());
    nobody.send(&[Packet::Connect(connect("nobody"))]);
    nobody.expect(Packet::Connack(Connack::new(false, NotAuthorized)));
    nobody.expect_closed();
    // Who has none of its own is told.
    let connect = Connect { user_name: Some("bert"), clean_session: true, ..v5::connect("") };
    let mut bert = Client::open(guarded.address());
    bert.send(&[Packet::Connect(connect)]);
    let Packet::Connack(connack) = bert.receive() else { panic!() };
    let assigned = sol::codec::Property::AssignedClientIdentifier("bert");
    assert!(connack.properties.iter().any(|property| property == assigned), "{connack:?}");
}

#[test]
fn client_identifiers_begin_as_they_must() {
    let prefixes = ["secure-", "s/"].map(str::to_owned);
    let guarded =
        Guarded::with(ROOT, |listener| Listener { client_id_prefixes: prefixes.into(), ..listener });
    for id in ["secure-1", "secure-", "s/x"] {
        guarded.client("root", id).ping();
    }
    for id in ["secure", "Secure-1", "x-secure-", ""] {
        let mut client = Client::open(guarded.address());
        client.send(&[Packet::Connect(connect(id))]);
        client.expect(Packet::Connack(Connack::new(false, NotAuthorized)));
        client.expect_closed();
    }
}

#[test]
fn a_file_that_cannot_be_used_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("acl");
    fs::write(&path, "topic reed a\n\nuser\n").unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Listener { acl_file: Some(path), ..address.into() };
    let Err(error) = Broker::start(Config { listeners: vec![listener], ..Config::default() }) else {
        panic!("it started");
    };
    assert!(matches!(&error, StartError::Acls(errors) if errors.len() == 2), "{error}");
    assert!(error.to_string().contains("acl:3: `user` without a name"), "{error}");
}

// Beside mosquitto

/// Every way of saying yes and no, for more users than have lines.
const RULES: &str = "# for the test
topic read end
topic news/#
topic deny news/local
topic read $SYS/broker/version

user root
topic #
topic $SYS/#

user anna
topic read end
topic readwrite house/#
topic deny house/cellar/#
topic write house/cellar/door
topic read own/bert/x

user bert
topic read end
topic house/cellar/+
user anna
topic write more

user odd name
topic read end
topic write a topic with blanks

pattern deny own/%u/secret
pattern own/%u/#
pattern read devices/%c/+
pattern write devices/%c/state
pattern deny house/cellar/none
pattern read end
";

const USERS: [(&str, &str); 8] = [
    ("", "d1"),
    ("anna", "d1"),
    ("bert", "d2"),
    ("odd name", "d 3"),
    ("carl", "house/cellar"),
    ("wild+", "d1"),
    ("carl", "wild#"),
    ("Anna", "d1"),
];

const TOPICS: [&str; 22] = [
    "end2",
    "news/world",
    "news/local",
    "news",
    "house",
    "house/x",
    "house/cellar",
    "house/cellar/door",
    "house/cellar/none",
    "own/anna",
    "own/anna/x",
    "own/anna/secret",
    "own/bert/x",
    "own/bert/secret",
    "own/carl/x",
    "devices/d1/state",
    "devices/d2/state",
    "devices/d 3/state",
    "devices/house/cellar/state",
    "devices/d1/other",
    "more",
    "a topic with blanks",
];

/// Debian's mosquitto with a configuration, on a free port.
fn mosquitto(directory: &Path) -> Option<(Running, SocketAddr)> {
    let is_there = |program: &&str| common::peers::exit_status(program, &["-h"]).is_some();
    let program = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find(is_there);
    if !has("mosquitto", program.is_some()) {
        return None;
    }
    let port = Port::new();
    let address = port.address();
    let config = directory.join("mosquitto.conf");
    let acl = directory.join("acl");
    // Nobody reads what it would print.
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nacl_file {}\nuser root\nlog_dest none\nset_tcp_nodelay true\n",
        address.port(),
        acl.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program?);
    command.arg("-c").arg(&config);
    let broker = running(command);
    eventually("mosquitto listens", || TcpStream::connect(address).is_ok());
    Some((broker, address))
}

/// What goes through a broker, in words: who publishes what to root, and who gets what of root, live and retained.
fn findings(address: SocketAddr) -> BTreeSet<String> {
    let mut findings = BTreeSet::new();
    let mut root = Client::connect_as(address, user_of("root", "root"), false);
    root.subscribe("#", AtMostOnce);
    for topic in TOPICS {
        root.send(&[retain(topic)]);
        assert_eq!(self::topic(&mut root), topic);
    }
    for (user, id) in USERS {
        for topic in TOPICS {
            for qos in [AtLeastOnce, AtMostOnce] {
                let mut client = Client::connect_as(address, user_of(user, id), false);
                client.send(&[Packet::Publish(publish(topic, topic.as_bytes(), qos)), Packet::Pingreq]);
                if qos == AtLeastOnce {
                    client.expect(Packet::Puback(Ack::new(PacketId::MIN)));
                }
                client.expect(Packet::Pingresp);
            }
            root.send(&[published("end", Delivery::AtMostOnce)]);
            loop {
                match self::topic(&mut root).as_str() {
                    "end" => break,
                    came => _ = findings.insert(format!("{user}/{id} writes {came}")),
                }
            }
        }
        for filter in ["#", "+/+/#", "house/#", "own/+/x", "devices/d1/state", "more", "$SYS/broker/version"]
        {
            let mut client = Client::connect_as(address, user_of(user, id), false);
            // Refused by one, granted by the other: both bring nothing.
            client.send(&[subscribe(filter, AtMostOnce)]);
            assert!(matches!(client.receive(), Packet::Suback(_)));
            client.send(&[subscribe("end", AtMostOnce)]);
            let mut until = |end: &str, kind: &str| {
                loop {
                    match client.receive() {
                        Packet::Publish(publish) => {
                            let topic = publish.topic.unwrap().as_str().to_owned();
                            if topic == end {
                                break;
                            }
                            findings.insert(format!("{user}/{id} by {filter} gets {kind} {topic}"));
                        }
                        Packet::Suback(_) if kind == "retained" => break,
                        other => panic!("{other:?}"),
                    }
                }
            };
            until("", "retained");
            // They may read nothing at all, and so nothing to tell the end by.
            if user.contains('+') || id.contains('#') {
                continue;
            }
            for topic in TOPICS.iter().chain(&["end"]) {
                root.send(&[Packet::Publish(publish(topic, topic.as_bytes(), AtMostOnce))]);
            }
            until("end", "live");
            loop {
                if self::topic(&mut root) == "end" {
                    break;
                }
            }
        }
    }
    findings
}

/// What a client of 5.0 is told of what it publishes.
fn refusals(address: SocketAddr) -> Vec<(AckType, bool)> {
    let connect = Connect { user_name: Some("anna"), clean_session: true, ..v5::connect("v5") };
    let (mut client, _) = v5::opened(address, connect, &[]);
    let mut told = Vec::new();
    for topic in ["house/x", "news/world", "house/cellar/x", "house/cellar/door"] {
        for delivery in [Delivery::AtLeastOnce(id(1)), Delivery::ExactlyOnce(id(2))] {
            client.send(&[published(topic, delivery)]);
            let (ack, is_error) = match client.receive() {
                Packet::Puback(ack) => (AckType::Puback, ack.reason == NotAuthorized),
                Packet::Pubrec(ack) => (AckType::Pubrec, ack.reason == NotAuthorized),
                other => panic!("{other:?}"),
            };
            told.push((ack, is_error));
            if ack == AckType::Pubrec && !is_error {
                client.send(&[Packet::Pubrel(Ack::new(id(2)))]);
                assert!(matches!(client.receive(), Packet::Pubcomp(_)));
            }
        }
    }
    told
}

/// Whose wills come.
fn wills(address: SocketAddr) -> BTreeSet<String> {
    let mut root = Client::connect_as(address, user_of("root", "root"), false);
    root.send(&[subscribe("#", AtMostOnce)]);
    while !matches!(root.receive(), Packet::Suback(_)) {}
    let mut came = BTreeSet::new();
    for topic in ["house/will", "news/will", "house/cellar/will", "more"] {
        let will = Will {
            topic: Name::new(topic).unwrap(),
            payload: b"will",
            qos: AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        let connect = Connect { will: Some(will), ..user_of("anna", "testator") };
        // Its will is out before the other end is closed, too.
        Client::connect_as(address, connect, false).leave();
        root.send(&[published("end", Delivery::AtMostOnce)]);
        loop {
            match root.receive() {
                Packet::Publish(publish) if publish.topic.unwrap().as_str() == "end" => break,
                Packet::Publish(publish) if publish.payload == b"will" => {
                    came.insert(publish.topic.unwrap().as_str().to_owned());
                }
                // What is retained comes first.
                _ => {}
            }
        }
    }
    came
}

#[test]
fn what_goes_through_is_what_goes_through_mosquitto() {
    let guarded = Guarded::new(RULES);
    let Some((_mosquitto, address)) = mosquitto(guarded.path.parent().unwrap()) else { return };
    // $SYS is published by both, at other times.
    let clients = |findings: BTreeSet<String>| -> BTreeSet<String> {
        findings.into_iter().filter(|finding| !finding.contains(" $SYS")).collect()
    };
    let (ours, theirs) = (clients(findings(guarded.address())), clients(findings(address)));
    assert_eq!(refusals(guarded.address()), refusals(address));
    assert_eq!(wills(guarded.address()), wills(address));
    let (more, less): (Vec<_>, Vec<_>) =
        (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
    assert!(more.is_empty() && less.is_empty(), "only here {more:#?}\nonly there {less:#?}");
    assert!(ours.len() > 50, "{ours:#?}");
}
