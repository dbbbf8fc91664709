//! mosquitto's programs with `-V 5`. That they share a subscription is shown in `v5_subscriptions/codes.rs`.

use sol::{Broker, Limits};

use super::common::peers::{exit_status, has, has_mosquitto, mosquitto, stdout};
use super::common::{PATIENCE, Running, broker, eventually};
use super::strict;

const MESSAGES: usize = 500;
/// Longer than any test, in seconds.
const LONG: &str = "3600";

fn start(program: &str, broker: &Broker, arguments: &[&str]) -> Running {
    mosquitto(program, broker.local_addr(), &[&["-V", "5"], arguments].concat())
}

fn subscriber(broker: &Broker, arguments: &[&str]) -> Running {
    let before = broker.stats().subscriptions;
    let subscriber = start("mosquitto_sub", broker, arguments);
    eventually("subscribed", || broker.stats().subscriptions > before);
    subscriber
}

fn publish(broker: &Broker, arguments: &[&str]) {
    stdout(start("mosquitto_pub", broker, arguments));
}

/// Publishes each line as a message at QoS 2.
fn publish_lines(broker: &Broker, arguments: &[&str], lines: &str) {
    let publisher = start("mosquitto_pub", broker, &[&["-q", "2", "-l"], arguments].concat());
    let output = publisher.input(lines.as_bytes());
    assert!(output.status.success(), "{output:?}");
}

fn lines() -> String {
    (0..MESSAGES).map(|n| format!("{n}\n")).collect()
}

#[test]
fn properties_go_on_unaltered_and_in_order() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    const FORMAT: &str = "%t %q %r %p; %C; %R; %D; %E; %F; %P; %S";
    let identified = ["-D", "subscribe", "subscription-identifier", "9"];
    let subscriber =
        subscriber(&broker, &[&identified[..], &["-t", "t", "-q", "2", "-C", "3", "-F", FORMAT]].concat());
    let properties = [
        ["content-type", "text/plain"],
        ["response-topic", "answers/here"],
        ["correlation-data", "co rr"],
        ["message-expiry-interval", LONG],
        ["payload-format-indicator", "1"],
    ]
    .map(|pair| [&["-D", "publish"], &pair[..]].concat())
    .concat();
    let users = [["b", "2"], ["a", "1"], ["b", "1"], ["b", "2"]]
        .map(|pair| [&["-D", "publish", "user-property"], &pair[..]].concat())
        .concat();
    for qos in ["0", "1", "2"] {
        publish(&broker, &[&["-t", "t", "-m", "grüß dich", "-q", qos], &properties[..], &users[..]].concat());
    }
    let printed = stdout(subscriber);
    let mut printed = printed.lines();
    for qos in 0..3 {
        let fields: Vec<_> = printed.next().unwrap().split("; ").collect();
        let [topic, kind, answers, data, expiry, format, user, identifier] = fields[..] else {
            panic!("{fields:?}")
        };
        assert_eq!(topic, format!("t {qos} 0 grüß dich"));
        assert_eq!((kind, answers, data, format), ("text/plain", "answers/here", "co rr", "1"));
        let left: u64 = expiry.parse().unwrap();
        assert!(left <= 3600 && left + PATIENCE.as_secs() >= 3600, "{left} s");
        assert_eq!((user, identifier), ("b:2 a:1 b:1 b:2", "9"));
    }
}

#[test]
fn an_alias_stands_for_its_topic() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let count = MESSAGES.to_string();
    let subscriber = subscriber(&broker, &["-t", "#", "-q", "2", "-C", &count, "-F", "%t %p"]);
    // Only the first has the topic.
    publish_lines(&broker, &["-t", "t", "-D", "publish", "topic-alias", "10"], &lines());
    assert!(stdout(subscriber).lines().eq((0..MESSAGES).map(|n| format!("t {n}"))));
}

#[test]
fn a_request_is_answered() {
    let has_rr = || has("mosquitto_rr", exit_status("mosquitto_rr", &["--help"]).is_some());
    if !has_mosquitto() || !has_rr() {
        return;
    }
    let broker = broker(Limits::default());
    let service = subscriber(&broker, &["-t", "service", "-q", "1", "-C", "1", "-F", "%R %D %p"]);
    let asking = start(
        "mosquitto_rr",
        &broker,
        &[
            "-t",
            "service",
            "-e",
            "answers",
            "-q",
            "1",
            "-m",
            "2 + 2",
            "-D",
            "publish",
            "correlation-data",
            "7",
        ],
    );
    assert_eq!(stdout(service), "answers 7 2 + 2\n");
    publish(&broker, &["-t", "answers", "-q", "1", "-m", "4", "-D", "publish", "correlation-data", "7"]);
    assert_eq!(stdout(asking), "4\n");
}

#[test]
fn retained_messages_come_as_asked_for() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    publish(&broker, &["-t", "t", "-q", "1", "-r", "-m", "old"]);
    // Retain Handling 2; Retain As Published.
    let unretained = subscriber(&broker, &["-t", "t", "-q", "1", "-R", "-C", "1", "-F", "%r %p"]);
    let retained = ["--retained-only", "--retain-as-published"];
    let retained = subscriber(&broker, &[&["-t", "t", "-q", "1", "-F", "%r %p"], &retained[..]].concat());
    publish(&broker, &["-t", "t", "-q", "1", "-r", "-m", "new"]);
    assert_eq!(stdout(unretained), "0 new\n");
    publish(&broker, &["-t", "t", "-q", "1", "-m", "live"]);
    assert_eq!(stdout(retained), "1 old\n1 new\n");
}

#[test]
fn wills_wait_for_the_end_of_the_delay_or_the_session() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let heir = subscriber(&broker, &["-t", "will", "-q", "1", "-C", "3", "-F", "%C %P %p"]);
    let willing = |payload: &str, delay: &str, expiry: &str, arguments: &[&str]| {
        let will = ["--will-topic", "will", "--will-payload", payload, "--will-qos", "1", "-x", expiry];
        let properties = ["content-type c", "user-property a b", &format!("will-delay-interval {delay}")]
            .map(|property| format!("-D will {property}"));
        let properties: Vec<_> = properties.iter().flat_map(|property| property.split(' ')).collect();
        let common = ["-i", "willing", "-c", "-t", "x", "-q", "1"];
        start("mosquitto_sub", &broker, &[&common[..], &will, &properties, arguments].concat())
    };
    let leave = |payload, delay, expiry| {
        let connects = broker.stats().connects;
        let willing = willing(payload, delay, expiry, &[]);
        eventually("connected", || broker.stats().connects > connects);
        willing.kill();
        eventually("gone", || broker.stats().connections == 1);
    };
    leave("with the session", LONG, "0");
    leave("after the delay", "1", LONG);
    eventually("the will is sent", || broker.stats().publish_sent >= 2);
    leave("never", LONG, LONG);
    // It is back in time, and ends properly.
    stdout(willing("nor this", LONG, LONG, &["-E"]));
    publish(&broker, &["-t", "will", "-q", "1", "-m", "nothing before"]);
    assert_eq!(stdout(heir), "c a:b with the session\nc a:b after the delay\n  nothing before\n");
}

#[test]
fn sessions_expire() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let client = |arguments: &[&str]| {
        let common = ["-i", "client", "-c", "-t", "t", "-q", "2"];
        stdout(start("mosquitto_sub", &broker, &[&common, arguments].concat()))
    };
    client(&["-x", LONG, "-E"]);
    publish_lines(&broker, &["-t", "t"], &lines());
    assert_eq!(client(&["-x", LONG, "-C", &MESSAGES.to_string()]), lines());
    eventually("the session stays", || broker.stats().clients_disconnected == 1);
    // Changed on leaving.
    client(&["-x", LONG, "-D", "disconnect", "session-expiry-interval", "0", "-E"]);
    eventually("the session ends with the connection", || broker.stats().sessions == 0);
    client(&["-x", "1", "-E"]);
    eventually("the session expires", || broker.stats().clients_expired == 1);
    client(&["-x", LONG, "-E"]);
}

#[test]
fn messages_expire() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let session = ["-i", "client", "-c", "-t", "t", "-q", "1", "-F", "%p"];
    stdout(start("mosquitto_sub", &broker, &[&session[..], &["-E"]].concat()));
    eventually("it is away", || broker.stats().clients_disconnected == 1);
    for (payload, seconds) in [("short", "1"), ("long", LONG), ("short", "1"), ("long", LONG)] {
        let expiring = ["-D", "publish", "message-expiry-interval", seconds];
        publish(&broker, &[&["-t", "t", "-q", "1", "-m", payload], &expiring[..]].concat());
    }
    // What expires as soon, and was published last, is over.
    publish(
        &broker,
        &["-t", "kept", "-q", "1", "-r", "-m", "short", "-D", "publish", "message-expiry-interval", "1"],
    );
    eventually("a retained message expires", || {
        stdout(start("mosquitto_sub", &broker, &["-t", "kept", "-q", "1", "-E", "-F", "%p"]));
        broker.stats().retained == 0
    });
    let back = start("mosquitto_sub", &broker, &[&session[..], &["-C", "2"]].concat());
    assert_eq!(stdout(back), "long\nlong\n");
}

#[test]
fn one_message_is_in_flight_at_receive_maximum_1() {
    if !has_mosquitto() {
        return;
    }
    for qos in ["1", "2"] {
        let broker = broker(Limits::default());
        let count = MESSAGES.to_string();
        // It ends the connection at one too many.
        let one = ["-D", "connect", "receive-maximum", "1"];
        let subscriber = subscriber(&broker, &[&["-t", "t", "-q", qos, "-C", &count], &one[..]].concat());
        publish_lines(&broker, &["-t", "t"], &lines());
        assert_eq!(stdout(subscriber), lines(), "QoS {qos}");
    }
}

#[test]
fn the_brokers_receive_maximum_is_kept_to() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits { max_received_messages: 1, ..Limits::default() });
    let subscriber = subscriber(&broker, &["-t", "t", "-q", "2", "-C", &MESSAGES.to_string()]);
    publish_lines(&broker, &["-t", "t"], &lines());
    assert_eq!(stdout(subscriber), lines());
}

#[test]
fn what_is_too_large_is_not_sent() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let small = ["-D", "connect", "maximum-packet-size", "100"];
    let subscriber = subscriber(&broker, &[&["-t", "t", "-q", "1", "-C", "2"], &small[..]].concat());
    let large = "x".repeat(100);
    for payload in ["small", &large, "small"] {
        publish(&broker, &["-t", "t", "-q", "1", "-m", payload]);
    }
    assert_eq!(stdout(subscriber), "small\nsmall\n");
}

#[test]
fn reason_codes_and_the_assigned_identifier_are_read() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let said = stdout(start("mosquitto_pub", &broker, &["-d", "-t", "nobody", "-q", "1", "-m", ""]));
    assert!(said.contains("received PUBACK (Mid: 1, RC:16)"), "{said}");
    // It knows no name but the one in CONNACK.
    assert!(said.contains("Client (null) sending CONNECT") && said.contains("Client sol-"), "{said}");
}

#[test]
fn a_method_of_authentication_that_is_not_offered_is_refused() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let method = ["-D", "connect", "authentication-method", "GS2-KRB5"];
    let output = start("mosquitto_pub", &broker, &[&["-t", "t", "-m", "x"], &method[..]].concat()).output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("Bad authentication method"), "{said}");
}

#[test]
fn the_first_connection_is_told_that_it_is_taken_over() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(Limits::default());
    let first = subscriber(&broker, &["-i", "taken", "-t", "t", "-d"]);
    let second = start("mosquitto_sub", &broker, &["-i", "taken", "-t", "t", "-E"]);
    let said = first.output();
    let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    assert!(said.contains("Received DISCONNECT (142)"), "{said}");
    stdout(second);
}

#[test]
fn what_connack_says_is_not_available_is_refused() {
    if !has_mosquitto() {
        return;
    }
    let broker = broker(strict());
    let identified = ["-t", "t", "-D", "subscribe", "subscription-identifier", "1"];
    for (arguments, code) in [(&["-t", "#"][..], 162), (&["-t", "$share/g/t"], 158), (&identified, 161)] {
        let output = start("mosquitto_sub", &broker, &[&["-d", "-E"], arguments].concat()).output();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains(&format!("Subscribed (mid: 1): {code}")), "{said}");
    }
    // It reads in CONNACK what it may do, and does nothing else.
    let publisher = start("mosquitto_pub", &broker, &["-t", "t", "-m", "x", "-q", "2"]).output();
    let said = String::from_utf8(publisher.stderr).unwrap();
    assert!(said.contains("QoS not supported"), "{said}");
    publish(&broker, &["-t", "t", "-m", "x", "-q", "1", "-r"]);
    assert_eq!((broker.stats().publish_received, broker.stats().retained), (1, 0));
}
