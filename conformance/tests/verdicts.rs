//! Verdicts against a broker that misbehaves on purpose: each fault is found, and its report says what it is.

// Helpers of tests are tests, which clippy.toml does not see outside `#[test]` functions.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

mod fake;

use std::time::{Duration, Instant};

use conformance::frame::{Kind, Packet, encode::encode};
use conformance::scenario::{Duty, parse};
use conformance::target::{Credentials, Target};
use conformance::trace::Direction;
use conformance::verdict::{Failure, Outcome, Verdict};
use conformance::{Version, run};
use fake::{FakeBroker, Reply};

const HEAD: &str = "proves 3.1.1 [MQTT-3.3.1-3]\nraw a\nraw b\na > CONNECT\na < CONNACK reason=0\n";

/// How long what comes may take, however busy the machine is; and what does not come.
const PATIENCE: Duration = Duration::from_secs(10);
const IN_VAIN: Duration = Duration::from_secs(1);

/// Plays steps that follow HEAD against a broker which answers as `manners` says.
fn play(steps: &str, manners: impl Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync + 'static) -> Verdict {
    play_within(PATIENCE, steps, manners)
}

fn play_within(
    deadline: Duration,
    steps: &str,
    manners: impl Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync + 'static,
) -> Verdict {
    let broker = FakeBroker::start(manners);
    let mut target = Target::new(broker.endpoint());
    target.deadline = deadline;
    let scenario =
        parse("test", "scenarios/test.scenario", &format!("{HEAD}{steps}\n")).expect("a good scenario");
    run::run(&scenario, Version::V3_1_1, &target)
}

fn failure(verdict: Verdict) -> Failure {
    match verdict.outcome {
        Outcome::Failed(Duty::Must, failure) => *failure,
        other => panic!("must fail: {other:?}"),
    }
}

/// Expected, actual and line of a failure.
fn told(verdict: Verdict) -> (usize, String, String) {
    let Failure { line, expected, actual, .. } = failure(verdict);
    (line, expected, actual)
}

fn say(line: usize, expected: &str, actual: &str) -> (usize, String, String) {
    (line, expected.to_owned(), actual.to_owned())
}

/// No other manners than usual.
fn usual(_: &Packet) -> Option<Vec<Reply>> {
    None
}

/// A delivery to whoever sends PUBACK 1, which has no other meaning for the fake broker.
fn delivery(dup: u64) -> Packet {
    Packet::new(Kind::Publish)
        .with("dup", dup)
        .with("qos", 1u64)
        .with("retain", 0u64)
        .with("topic", "t")
        .with("id", 7u64)
        .with("payload", "p")
}

fn on(kind: Kind, replies: Vec<Reply>) -> impl Fn(&Packet) -> Option<Vec<Reply>> {
    move |packet| (packet.kind == kind).then(|| replies.clone())
}

#[test]
fn good_manners_pass() {
    let steps = "a > SUBSCRIBE topic=\"a\" qos=1\na < SUBACK reason=1\na < silence";
    assert!(matches!(play(steps, usual).outcome, Outcome::Passed));
}

#[test]
fn a_wrong_field_is_found() {
    let manners = on(Kind::Puback, vec![Reply::Send(delivery(1))]);
    let verdict = play("a > PUBACK id=1\na < PUBLISH dup=0 qos=1", manners);
    assert_eq!(told(verdict), say(7, "dup=0", "dup=1 came"));
}

#[test]
fn a_missing_packet_is_found() {
    let steps = "a > PUBLISH topic=\"a\" qos=1 id=7\na < PUBACK id=7";
    let verdict = play_within(IN_VAIN, steps, on(Kind::Publish, vec![]));
    assert_eq!(told(verdict), say(7, "PUBACK id=7", "nothing came within 1.00 s"));
}

#[test]
fn an_extra_packet_is_found() {
    let twice = vec![Reply::Send(delivery(0)), Reply::Send(delivery(0))];
    let verdict = play("a > PUBACK id=1\na < PUBLISH\na < silence", on(Kind::Puback, twice));
    let came = "PUBLISH dup=0 qos=1 retain=0 topic=\"t\" id=7 payload=\"p\" came";
    assert_eq!(told(verdict), say(8, "nothing to come", came));
}

#[test]
fn another_packet_is_found() {
    let other = vec![Reply::Send(Packet::new(Kind::Pubrec).with("id", 7u64))];
    let verdict = play("a > PUBLISH topic=\"a\" qos=1 id=7\na < PUBACK id=7", on(Kind::Publish, other));
    assert_eq!(told(verdict), say(7, "PUBACK id=7", "PUBREC id=7 came"));
}

#[test]
fn a_malformed_packet_is_found() {
    let malformed = vec![Reply::Bytes(vec![0x41, 2, 0, 7])];
    let verdict = play("a > PUBLISH topic=\"a\" qos=1 id=7\na < PUBACK id=7", on(Kind::Publish, malformed));
    let actual = "a malformed packet came: PUBACK with flags 0001 where 0000 is demanded";
    assert_eq!(told(verdict), say(7, "PUBACK id=7", actual));
}

#[test]
fn a_connection_left_open_is_found() {
    let verdict = play_within(IN_VAIN, "a > hex 00 00\na < close", usual);
    assert_eq!(told(verdict), say(7, "the broker to close the connection", "nothing came within 1.00 s"));
}

#[test]
fn a_packet_before_closing_is_found() {
    let manners = on(Kind::Pubcomp, vec![Reply::Send(Packet::new(Kind::Pingresp)), Reply::Close]);
    let verdict = play("a > PUBCOMP id=1\na < close", manners);
    assert_eq!(told(verdict), say(7, "the broker to close the connection", "PINGRESP came"));
}

#[test]
fn a_connection_closed_too_early_is_found() {
    let verdict = play("a > PUBCOMP id=1\na < close within 60s..90s", on(Kind::Pubcomp, vec![Reply::Close]));
    let (line, expected, actual) = told(verdict);
    assert_eq!((line, expected.as_str()), (7, "the broker to close the connection after 60.00 s to 90.00 s"));
    assert!(actual.starts_with("the connection was closed (end of stream) after 0."), "{actual}");
}

#[test]
fn a_connection_closed_instead_of_silence_is_found() {
    let verdict = play("a > PUBCOMP id=1\na < silence", on(Kind::Pubcomp, vec![Reply::Close]));
    let (line, expected, actual) = told(verdict);
    assert_eq!((line, expected.as_str()), (7, "nothing to come"));
    // By an end of stream, or by a reset if the ping was faster.
    assert!(actual.starts_with("the connection was closed ("), "{actual}");
}

#[test]
fn a_broker_that_serves_nobody_afterwards_is_found() {
    // Closes on PUBCOMP as it should, but from then on takes messages and delivers none.
    let manners = |packet: &Packet| match packet.kind {
        Kind::Pubcomp => Some(vec![Reply::Close]),
        Kind::Publish => Some(vec![Reply::Close]),
        _ => None,
    };
    let verdict = play("a > PUBCOMP id=1\na < close", manners);
    assert_eq!(
        told(verdict),
        say(7, "the broker to serve another client afterwards", "it closes the connection")
    );
}

#[test]
fn nobody_connected_is_found() {
    assert_eq!(told(play("b < PINGRESP", usual)), say(6, "something to come", "b is not connected"));
}

#[test]
fn any_order_is_any_order_but_complete() {
    let acks = vec![
        Reply::Send(Packet::new(Kind::Puback).with("id", 2u64)),
        Reply::Send(Packet::new(Kind::Puback).with("id", 1u64)),
    ];
    let block = |ids: [u8; 2]| {
        let [first, second] = ids;
        format!("a > PUBCOMP id=1\nany order {{\na < PUBACK id={first}\na < PUBACK id={second}\n}}")
    };
    assert!(matches!(play(&block([1, 2]), on(Kind::Pubcomp, acks.clone())).outcome, Outcome::Passed));
    let verdict = play(&block([2, 3]), on(Kind::Pubcomp, acks));
    assert_eq!(told(verdict), say(7, "PUBACK id=3", "PUBACK id=1 came"));
}

#[test]
fn what_goes_out_at_once_is_noted_packet_by_packet() {
    let block = "at once {\na > PINGREQ\na > PUBLISH topic=\"a\" qos=1\n}\n";
    let steps = format!("{block}a < PINGRESP\na < PUBACK id=1\na < silence");
    assert!(matches!(play(&steps, usual).outcome, Outcome::Passed));
    let verdict = play(&format!("{block}a < PUBACK"), usual);
    assert_eq!(verdict.trace.iter().filter(|entry| entry.direction == Direction::Sent).count(), 3);
}

#[test]
fn what_is_repeated_fails_in_its_round() {
    let steps = "repeat 3 {\na > PUBLISH topic=\"a\" qos=1 id=$n\na < PUBACK id=$n\n}\na < silence";
    assert!(matches!(play(steps, usual).outcome, Outcome::Passed));
    let manners = |packet: &Packet| {
        let wrong = packet.kind == Kind::Publish && packet.number("id") == Some(2);
        wrong.then(|| vec![Reply::Send(Packet::new(Kind::Puback).with("id", 9u64))])
    };
    let Failure { step, expected, actual, .. } = failure(play(steps, manners));
    let failed = (step.as_str(), expected.as_str(), actual.as_str());
    assert_eq!(failed, ("a < PUBACK id=$n   # round 2", "id=2", "id=9 came"));
}

#[test]
fn one_of_several_is_enough() {
    let steps = "b > CONNECT\nb < CONNACK\nb > PUBACK id=1\na|b < PUBLISH id=7\na|b < silence";
    assert!(matches!(play(steps, on(Kind::Puback, vec![Reply::Send(delivery(0))])).outcome, Outcome::Passed));
}

#[test]
fn what_may_come_may_also_stay_away() {
    let steps = "a > PUBACK id=1\na <? PUBLISH id=7\na > PINGREQ\na < PINGRESP\na < silence";
    assert!(matches!(play(steps, on(Kind::Puback, vec![Reply::Send(delivery(0))])).outcome, Outcome::Passed));
    assert!(matches!(play(steps, on(Kind::Puback, vec![])).outcome, Outcome::Passed));
}

#[test]
fn other_peoples_messages_count_only_where_nobody_asked_for_them() {
    let manners = || on(Kind::Puback, vec![Reply::Send(delivery(0))]);
    let wide = "a > SUBSCRIBE topic='#' qos=0\na < SUBACK\na > PUBACK id=1\na < silence";
    assert!(matches!(play(wide, manners()).outcome, Outcome::Passed));
    let named = "a > SUBSCRIBE topic='#' qos=0\na < SUBACK\na > PUBACK id=1\na < PUBLISH topic='t'";
    assert!(matches!(play(named, manners()).outcome, Outcome::Passed));
    let own = "a > SUBSCRIBE topic=\"#\" qos=0\na < SUBACK\na > PUBACK id=1\na < silence";
    assert!(play(own, manners()).is_failure());
}

#[test]
fn should_and_may_are_no_failures() {
    for (word, duty) in [("should", Duty::Should), ("may", Duty::May)] {
        let verdict = play_within(IN_VAIN, &format!("{word} a < PINGRESP"), usual);
        assert!(!verdict.is_failure());
        assert!(matches!(verdict.outcome, Outcome::Failed(found, _) if found == duty), "{word}");
    }
}

#[test]
fn what_the_target_lacks_is_skipped_with_the_reason() {
    let reason = |head: &str, version| {
        let text = format!("proves 3.1.1 [MQTT-3.3.1-3]\n{head}\nraw a\na < close\n");
        let scenario = parse("test", "test", &text).expect("a good scenario");
        let nowhere = Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        match run::run(&scenario, version, &nowhere).outcome {
            Outcome::Skipped(reason) => reason,
            other => panic!("must be skipped: {other:?}"),
        }
    };
    assert_eq!(
        reason("needs wildcards acl", Version::V3_1_1),
        "needs acl: neither found nor said to be there"
    );
    let passwords = reason("needs passwords", Version::V3_1_1);
    assert_eq!(passwords, "needs passwords: the kit was given no user name and password");
    assert_eq!(reason("promises speed", Version::V3_1_1), "promises speed, which is beyond the standard");
    let target = Target {
        versions: vec![Version::V3_1_1],
        ..Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
    };
    let scenario = parse("test", "test", "proves 5.0 [MQTT-3.3.1-3]\nraw a\na < close\n").expect("good");
    let skipped = run::skipped(&scenario, Version::V5_0, &target);
    assert_eq!(skipped.as_deref(), Some("the broker does not take clients of 5.0"));
}

#[test]
fn nobody_reached_is_inconclusive() {
    let port = conformance::instance::free_port().expect("a port");
    let target = Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    for kind in ["raw", "client"] {
        let text = format!("proves 3.1.1 [MQTT-3.3.1-3]\n{kind} a\na > CONNECT\na < CONNACK\n");
        let scenario = parse("test", "test", &text).expect("a good scenario");
        match run::run(&scenario, Version::V3_1_1, &target).outcome {
            Outcome::Inconclusive(reason) => assert!(reason.ends_with("(test:3)"), "{reason}"),
            other => panic!("must be inconclusive: {other:?}"),
        }
    }
}

#[test]
fn a_scenario_has_a_time_limit() {
    let broker = FakeBroker::start(usual);
    let scenario = parse("test", "test", &format!("{HEAD}a < silence\n")).expect("a good scenario");
    let target = Target::new(broker.endpoint());
    let verdict = run::run_within(&scenario, Version::V3_1_1, &target, Duration::ZERO);
    assert!(matches!(verdict.outcome, Outcome::Inconclusive(_)), "{verdict}");
}

#[test]
fn the_targets_credentials_are_used_where_a_scenario_names_none() {
    let broker = FakeBroker::start(usual);
    let known = Credentials { username: "u".to_owned(), password: Some(b"p\xff".to_vec()) };
    let target = Target::new(broker.endpoint()).with_credentials(known);
    let text = "proves 3.1.1 [MQTT-3.3.1-3]\nneeds passwords\nraw a\n\
                a > CONNECT client_id=\"1\"\na < CONNACK\n\
                a > CONNECT client_id=\"2\" username=\"x\" + $username password=$password + \"x\"\na < CONNACK\n\
                a > CONNECT client_id=\"3\" username=$username\na < CONNACK\n\
                a > CONNECT client_id=\"4\" username_flag=0\na < CONNACK\n\
                a > PUBCOMP id=1\na < close\n";
    let scenario = parse("test", "test", text).expect("a good scenario");
    // The broker does not close, so that nobody asks whether it serves others.
    assert!(run::run(&scenario, Version::V3_1_1, &target).is_failure());

    let heard = broker.heard();
    let signed: Vec<_> = heard
        .iter()
        .filter(|packet| packet.kind == Kind::Connect)
        .map(|packet| ["username", "password"].map(|name| packet.bytes(name).unwrap_or(b"none")))
        .collect();
    let expected: [[&[u8]; 2]; 4] =
        [[b"u", b"p\xff"], [b"xu", b"p\xffx"], [b"u", b"none"], [b"none", b"none"]];
    assert_eq!(signed, expected);
}

#[test]
fn a_client_is_judged_by_what_the_kit_reads() {
    let broker = FakeBroker::start(|packet| match packet.kind {
        Kind::Publish => Some(vec![
            Reply::Send(Packet::new(Kind::Puback).with("id", packet.number("id").unwrap_or(0))),
            Reply::Bytes(vec![0xd1, 0]),
        ]),
        _ => None,
    });
    let text = "proves 3.1.1 [MQTT-3.3.1-3]\nclient c\nc > CONNECT\nc < CONNACK reason=0\n\
                c > PUBLISH topic=\"a\" qos=1\nc < PUBACK\nc < PUBLISH\n";
    let scenario = parse("test", "test", text).expect("a good scenario");
    let verdict = run::run(&scenario, Version::V3_1_1, &Target::new(broker.endpoint()));
    let (line, _, actual) = told(verdict);
    assert_eq!(line, 7);
    assert!(actual.starts_with("a malformed packet came: PINGRESP with flags 0001"), "{actual}");
}

#[test]
fn nothing_is_left_behind() {
    let broker = FakeBroker::start(usual);
    let text = "proves 3.1.1 [MQTT-3.3.1-3]\nraw a\n\
                a > CONNECT clean=0 will_topic=\"w\" will_payload=\"gone\" will_retain=1\na < CONNACK\n\
                a > PUBLISH topic=\"r\" qos=1 id=1 retain=1 payload=\"kept\"\na < PUBACK id=9\n";
    let scenario = parse("test", "test", text).expect("a good scenario");
    let verdict = run::run(&scenario, Version::V3_1_1, &Target::new(broker.endpoint()));
    assert!(verdict.is_failure(), "cleared away after a failure too");

    // It may be slower than who does not wait for an answer.
    let deadline = Instant::now() + PATIENCE;
    while !broker.heard().iter().any(|packet| packet.kind == Kind::Disconnect) {
        assert!(Instant::now() < deadline, "said goodbye, so that the will is not published");
        std::thread::sleep(Duration::from_millis(1));
    }
    let heard = broker.heard();
    let wiped = |topic: &str| {
        let empty =
            |packet: &&Packet| packet.number("retain") == Some(1) && packet.bytes("payload") == Some(b"");
        let ends =
            |packet: &&Packet| packet.bytes("topic").is_some_and(|found| found.ends_with(topic.as_bytes()));
        heard.iter().filter(empty).any(|packet| ends(&packet))
    };
    assert!(wiped("/r") && wiped("/w"), "{heard:?}");
    let ids = |clean| {
        let connects = heard.iter().filter(move |packet| packet.number("clean") == Some(clean));
        connects.filter_map(|packet| packet.bytes("client_id")).collect::<Vec<_>>()
    };
    assert_eq!(ids(0).len(), 1);
    assert!(ids(1).contains(&ids(0)[0]), "{heard:?}");
}

/// Plays steps of 5.0 against a broker which answers as `manners` says.
fn play_5_0(steps: &str, manners: impl Fn(&Packet) -> Option<Vec<Reply>> + Send + Sync + 'static) -> Verdict {
    let broker = FakeBroker::start(manners);
    let mut target = Target::new(broker.endpoint());
    target.deadline = PATIENCE;
    let text = format!("proves 5.0 [MQTT-3.3.1-3]\nraw a\n{steps}\n");
    run::run(
        &parse("test", "scenarios/test.scenario", &text).expect("a good scenario"),
        Version::V5_0,
        &target,
    )
}

const CONNECTED: &str = "a > CONNECT\na < CONNACK reason=0\n";

#[test]
fn in_5_0_the_broker_may_say_why_it_closes() {
    let goodbye = |reason: u64| Reply::Send(Packet::new(Kind::Disconnect).with("reason", reason));
    let closing = |replies: Vec<Reply>| on(Kind::Pubcomp, [replies, vec![Reply::Close]].concat());
    let said =
        |step: &str, replies| play_5_0(&format!("{CONNECTED}a > PUBCOMP id=1\n{step}"), closing(replies));
    let passes =
        |step: &str, replies| assert!(matches!(said(step, replies).outcome, Outcome::Passed), "{step}");
    passes("a < close", vec![]);
    passes("a < close", vec![goodbye(0x82)]);
    passes("a < close reason=0x81|0x82", vec![goodbye(0x82)]);
    passes("a < close reason=0x82", vec![]);
    passes("a < close reason=none", vec![]);
    passes("a < DISCONNECT reason=0x82\na < close", vec![goodbye(0x82)]);
    let fails = |step: &str, replies| told(said(step, replies)).2;
    assert_eq!(fails("a < close reason=0x81", vec![goodbye(0x82)]), "DISCONNECT reason=0x82 came");
    assert_eq!(fails("a < close reason=none", vec![goodbye(0x82)]), "DISCONNECT reason=0x82 came");
    assert_eq!(fails("a < close", vec![goodbye(0)]), "DISCONNECT reason=0 came");
    assert_eq!(fails("a < close", vec![goodbye(0x82), goodbye(0x82)]), "DISCONNECT reason=0x82 came");
    let connack = Reply::Send(Packet::new(Kind::Connack).with("reason", 0x87u64));
    assert!(fails("a < close", vec![connack.clone()]).starts_with("CONNACK"));

    let refusing = move |packet: &Packet| {
        (packet.bytes("username") == Some(b"no")).then(|| vec![connack.clone(), Reply::Close])
    };
    let refused = play_5_0("a > CONNECT username=\"no\"\na < close reason=0x87", refusing);
    assert!(matches!(refused.outcome, Outcome::Passed), "{refused}");
}

#[test]
fn in_5_0_fields_are_there_or_not() {
    let message = || {
        let head = Packet::new(Kind::Publish).with("topic", "t").with("message_expiry", 9u64);
        let head = head.with("user_property", "a=1").with("user_property", "b=2");
        head.with("subscription_id", 3u64).with("subscription_id", 200u64).with("payload", "abc")
    };
    let said = |step: &str| {
        let manners = on(Kind::Pubcomp, vec![Reply::Send(message())]);
        play_5_0(&format!("{CONNECTED}a > PUBCOMP id=1\na < PUBLISH {step}"), manners)
    };
    for step in [
        "message_expiry=8..10",
        "message_expiry=1|9..9",
        "content_type=none",
        "content_type=none|\"x\"",
        "content_type!=\"x\"",
        "user_property=\"a=1\" user_property=\"b=2\" user_property=none",
        "subscription_id=200 subscription_id=3",
        "subscription_id=$one subscription_id!=$one",
    ] {
        let verdict = said(step);
        assert!(matches!(verdict.outcome, Outcome::Passed), "{step}: {verdict}");
    }
    for (step, expected, actual) in [
        ("message_expiry=1..8", "message_expiry=1..8", "message_expiry=9 came"),
        ("message_expiry=none", "message_expiry=none", "message_expiry=9 came"),
        ("content_type=\"x\"", "content_type=\"x\"", "no content_type came"),
        ("content_type!=none", "content_type!=none", "no content_type came"),
        ("user_property=\"b=2\"", "user_property=\"b=2\"", "user_property=\"a=1\" came"),
        ("subscription_id=200", "no more subscription_id", "subscription_id=3 came"),
    ] {
        let (_, wanted, got) = told(said(step));
        assert_eq!((wanted.as_str(), got.as_str()), (expected, actual), "{step}");
    }
}

#[test]
fn in_5_0_who_acknowledges_takes_it() {
    let ack = |reason: u64| Reply::Send(Packet::new(Kind::Puback).with("id", 1u64).with("reason", reason));
    let said = |reason: u64, step: &str| {
        let manners = on(Kind::Publish, vec![ack(reason)]);
        play_5_0(&format!("{CONNECTED}a > PUBLISH topic=\"t\" qos=1 id=1\na < PUBACK {step}"), manners)
    };
    assert!(matches!(said(0x10, "id=1").outcome, Outcome::Passed));
    assert!(matches!(said(0x87, "id=1 reason=0x80..0xff").outcome, Outcome::Passed));
    assert_eq!(told(said(0x87, "id=1")).1, "reason below 0x80");
}

#[test]
fn what_is_bound_counts_and_adds() {
    let manners = |packet: &Packet| match packet.kind {
        Kind::Connect => {
            let connack = Packet::new(Kind::Connack).with("receive_maximum", 3u64);
            Some(vec![Reply::Send(connack)])
        }
        Kind::Pubcomp if packet.number("id") == Some(4) => Some(vec![Reply::Close]),
        _ => None,
    };
    let verdict = play_5_0(
        "a > CONNECT\na < CONNACK receive_maximum=$max\nrepeat $max {\n  a > PUBCOMP id=$n\n}\na < silence\n\
         a > PUBLISH topic='t' payload=bytes($max)\na < PUBLISH payload=\"ABC\"\na > PUBCOMP id=$max + 1\na < close",
        manners,
    );
    assert!(matches!(verdict.outcome, Outcome::Passed), "{verdict}");
}

/// The whole report, with times, hexadecimal and the unique token left out.
#[test]
fn the_report_says_it_all() {
    let manners = on(Kind::Puback, vec![Reply::Send(delivery(1))]);
    let verdict = play("a > PUBACK id=1\na < PUBLISH dup=0 qos=1   # a comment", manners);
    let report = verdict.to_string();
    let token =
        report.split("client_id=\"").nth(1).and_then(|rest| rest.get(..8)).expect("a token").to_owned();
    let mut plain = String::new();
    for line in report.lines() {
        let (line, here) = line.split_once('◀').map_or((line, ""), |(line, _)| (line, "   ◀ here"));
        let is_trace =
            line.get(..2) == Some("  ") && line.trim_start().starts_with(|c: char| c.is_ascii_digit());
        let line = if is_trace {
            line.get(10..)
                .and_then(|line| line.trim_end().rsplit_once("  "))
                .map_or(line, |(what, _hex)| what.trim_end())
        } else {
            line
        };
        plain.push_str(&format!("{}{here}\n", line.replace(&token, "TOKEN")));
    }
    let expected = "\
scenarios/test.scenario:7 (3.1.1) FAILED
  a < PUBLISH dup=0 qos=1
  expected dup=0, but dup=1 came
  at stake: [MQTT-3.3.1-3] DUP of deliveries says only whether this delivery is a repeat, not what the publisher sent
  trace (ms since the start):
  a        >  CONNECT client_id=\"TOKENa\"
  a        <  CONNACK session_present=0 reason=0
  a        >  PUBACK id=1
  a        <  PUBLISH dup=1 qos=1 retain=0 topic=\"t\" id=7 payload=\"p\"   ◀ here
";
    assert_eq!(plain, expected, "{report}");
    assert!(report.contains("3a 06 00 01 74 00 07 70"), "{report}");
    assert_eq!(encode(&delivery(1), Version::V3_1_1), [0x3a, 6, 0, 1, b't', 0, 7, b'p']);
}
