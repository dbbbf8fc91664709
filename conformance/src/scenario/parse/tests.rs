use super::*;
use crate::Version;
use crate::frame::Kind;
use crate::scenario::{ActorKind, CAPABILITIES, Expect, Piece};

const HEAD: &str = "proves 3.1.1 [MQTT-1.5.3-1]\nclient c\nraw a\n";

fn good(steps: &str) -> Scenario {
    parse("test", "test.scenario", &format!("{HEAD}{steps}\n")).expect("a good scenario")
}

/// What the parser says of a line below the header (line 4).
fn says(line: &str) -> String {
    let error =
        parse("test", "test.scenario", &format!("{HEAD}{line}\na < close\n")).expect_err("must be refused");
    let text = error.to_string();
    text.lines().next().expect("a first line").to_owned()
}

#[test]
fn reads_the_example_of_the_reference_page() {
    let page = include_str!("../../../../scenarios/README.md");
    let example: String = page.split("```").nth(1).expect("an example").replace("...\n", "");
    let scenario = parse("test", "test.scenario", &example).expect("a good scenario");
    assert!(scenario.about.starts_with("The sender repeats"));
    assert_eq!(scenario.proves[0].version, Version::V3_1_1);
    assert_eq!(scenario.proves[0].ids[1].id, "MQTT-3.3.1-3");
    assert_eq!(scenario.actors[0].kind, ActorKind::Client);
    assert_eq!(scenario.steps.len(), 11);
}

#[test]
fn reads_every_form_of_a_step() {
    let scenario = good(
        "a > CONNECT clean=0 # a comment\n\
         a > hex 36 07\n\
         a > drop\n\
         a < CONNACK reason=0|5 session_present!=1 within 0s..1.5s\n\
         a <? PUBACK id=$m\n\
         a|c < PUBLISH topic=\"a#b\" payload='{u}/' + bytes(3) + x\"00 ff\"\n\
         any order {\n  a < PUBACK id=$n\n  c < SUBACK\n}\n\
         @5.0 should a < close\n\
         may a|c < silence\n\
         a < silence for 800ms\n\
         a > PUBACK id=$m\n\
         repeat 2 {\n  @5.0 broker > restart  # twice\n}",
    );
    let steps = &scenario.steps;
    assert_eq!(
        steps.iter().map(|step| step.line).collect::<Vec<_>>(),
        [4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18]
    );
    assert_eq!(steps[0].text, "a > CONNECT clean=0");
    assert!(
        matches!(&steps[1].action, Action::Send { actor: 1, what: Send::Hex(bytes) } if bytes == &[0x36, 7])
    );
    let Action::Expect(Expect { actors, what: Expected::Packet(packet), .. }) = &steps[5].action else {
        panic!("{:?}", steps[5])
    };
    assert_eq!((actors.as_slice(), packet.kind), ([1, 0].as_slice(), Kind::Publish));
    let pieces = vec![Piece::Exact(b"{u}/".into()), Piece::Pattern(3), Piece::Hex(vec![0, 255])];
    assert_eq!(packet.fields[1].values, [Expression::Bytes(pieces)]);
    assert!(matches!(&steps[6].action, Action::AnyOrder(inner) if inner.len() == 2));
    assert_eq!((steps[7].only, steps[7].duty), (Some(Version::V5_0), Duty::Should));
    assert_eq!(steps[8].duty, Duty::May);
    let Action::Repeat(_, inner) = &steps[11].action else { panic!("{:?}", steps[11]) };
    assert!(matches!(inner[0].action, Action::Restart) && inner[0].only == Some(Version::V5_0));
    assert_eq!(inner[0].text, "@5.0 broker > restart");
    assert!(scenario.restarts() && !good("a < close").restarts());
}

#[test]
fn reads_escapes() {
    let scenario = good(r#"a < PUBLISH payload="\"\\\n\0\xff\u{feff}é""#);
    let Action::Expect(Expect { what: Expected::Packet(packet), .. }) = &scenario.steps[0].action else {
        panic!("a packet")
    };
    let bytes = [b"\"\\\n\0\xff".as_slice(), "\u{feff}é".as_bytes()].concat();
    assert_eq!(packet.fields[0].values, [Expression::Bytes(vec![Piece::Own(bytes)])]);
}

#[test]
fn says_what_was_expected_and_where() {
    let words: Vec<_> = CAPABILITIES.iter().map(|capability| capability.name).collect();
    for (line, message) in [
        ("x > CONNECT", "4:1: expected an actor declared above by `client NAME` or `raw NAME`, found `x`"),
        ("a CONNECT", "4:3: expected `>`, `<` or `<?`, found `CONNECT`"),
        ("a > CONECT", "4:5: expected a packet, `hex` or `drop`, found `CONECT`"),
        ("a < CLOSE", "4:5: expected a packet, `close` or `silence`, found `CLOSE`"),
        (
            "a > PUBREC idd=7",
            "4:12: expected a field of PUBREC (id, reason, reason_string, user_property, flags, length, length_bytes, tail, cut, chunk, fragment, text, property, property_length, property_length_bytes), found `idd=7`",
        ),
        ("a < PUBLISH qos:1", "4:16: expected `=` or `!=`, found `:1`"),
        ("a < PUBLISH qos=4", "4:17: expected a number from 0 to 3 for `qos`, found `4`"),
        ("a < PUBLISH topic=4", "4:19: expected a string for `topic`, found `4`"),
        ("a < PUBLISH topic=\"a", "4:21: expected a closing `\"`, found the end of the line"),
        (
            "a < PUBLISH topic=\"a\\q\"",
            "4:22: expected one of the escapes \\\" \\' \\\\ \\n \\0 \\xff \\u{feff}, found `q\"`",
        ),
        ("a < PUBLISH payload=x\"0\"", "4:23: expected two hexadecimal digits or `\"`, found `0\"`"),
        ("a > PUBACK id=$x", "4:15: expected a $name that a `<` step above has bound, found `$x`"),
        (
            "a > PUBACK id=1|2",
            "4:5: expected one value for `id`: only `<` steps have `!=`, `|`, `..` and `none`, found `PUBACK`",
        ),
        ("a < close within 2s..1s", "4:11: expected a time that begins before it ends, found `within`"),
        ("a < close within 2..3s", "4:18: expected a time (1.5s, 800ms), found `2..3s`"),
        ("a < close now", "4:11: expected the end of the line, found `now`"),
        ("a|c > CONNECT", "4:1: expected one actor to send, found `a|c`"),
        ("c > hex 00", "4:5: expected a packet or `drop`: only a `raw` actor sends bytes, found `hex`"),
        (
            "c > PUBLISH dup=1",
            "4:13: expected a field of PUBLISH (qos, retain, topic, payload, payload_format, message_expiry, topic_alias, response_topic, correlation_data, user_property, content_type), found `dup=1`",
        ),
        ("c < PUBREL", "4:5: expected another packet: a `client` handles this one by itself, found `PUBREL`"),
        ("proves 3.1 [MQTT-1.5.3-1]", "4:8: expected a version (3.1.1, 5.0), found `3.1`"),
        ("proves 3.1.1 MQTT-1.5.3-1", "4:14: expected a statement id ([MQTT-1.2.3-4]), found `MQTT-1.5.3-1`"),
        ("raw a", "4:5: expected a name that is not taken, found `a`"),
        ("raw a_b", "4:5: expected a name of at most 15 letters and digits, found `a_b`"),
        ("needs wings", &format!("4:7: expected one of {}, found `wings`", words.join(", "))),
        ("any order", "4:10: expected `{`, found the end of the line"),
        ("should a > CONNECT", "4:1: expected a `<` step after `should` or `may`, found `should`"),
        ("broker < restart", "4:8: expected `>`, found `<`"),
        ("broker > reload", "4:10: expected `restart`, found `reload`"),
        ("broker > restart now", "4:18: expected the end of the line, found `now`"),
        ("may broker > restart", "4:1: expected a `<` step after `should` or `may`, found `may`"),
        ("raw broker", "4:5: expected a name that is not taken, found `broker`"),
        (
            "at once {\nbroker > restart",
            "5:1: expected `}` or a step `actor > …` of one `raw` actor, found `broker`",
        ),
        ("any order {\nc > CONNECT", "5:1: expected `}` or a step `actor < PACKET …`, found `c`"),
    ] {
        assert_eq!(says(line), format!("test.scenario:{message}"), "{line}");
    }
}

#[test]
fn says_what_is_missing_at_the_end() {
    let error = |text: &str| parse("test", "t", text).expect_err("must be refused").to_string();
    assert!(
        error("raw a\na < close")
            .starts_with("t:2:10: expected a line `proves VERSION [id]` somewhere above")
    );
    assert!(error("").starts_with("t:1:1: expected a line `proves"));
    assert!(
        error(&format!("{HEAD}a > CONNECT"))
            .starts_with("t:4:12: expected a `<` step: this scenario cannot fail")
    );
    assert!(error(&format!("{HEAD}any order {{\na < PUBACK")).starts_with("t:5:11: expected `}`"));
}

#[test]
fn points_at_the_place() {
    let error = parse("test", "t", "proves 3.1.1 [MQTT-1.5.3-1]\nraw ä").expect_err("must be refused");
    assert_eq!(
        error.to_string(),
        "t:2:5: expected a name of at most 15 letters and digits, found `ä`\n  | raw ä\n  |     ^"
    );
}

proptest::proptest! {
    #[test]
    fn never_panics(text: String) {
        let _ = parse("test", "t", &text);
    }

    /// Lines that are nearly right reach further than random text.
    #[test]
    fn never_panics_on_mangled_lines(line in "(a|c|\\||@5.0 |should |any order)? ?(>|<|<\\?) ?[A-Z]{0,8} ?[a-z_]{0,6}!?=?.{0,12}(within )?.{0,4}") {
        let _ = parse("test", "t", &format!("{HEAD}{line}"));
    }
}

#[test]
fn the_credentials_have_names_where_they_are_needed() {
    let step = "raw a\na > CONNECT username=$username password=\"x\" + $password\na < close\n";
    let text = |head: &str| format!("proves 3.1.1 [MQTT-1.5.3-1]\n{head}{step}");
    assert!(parse("test", "test", &text("needs passwords\n")).is_ok());
    let error = parse("test", "test", &text("")).expect_err("must be refused").to_string();
    assert!(error.starts_with("test:3:22: expected `needs passwords` above, for this $name"), "{error}");
}

#[test]
fn what_goes_out_at_once_is_of_one_raw_actor() {
    let scenario = good("at once {\n  a > CONNECT   # first\n  a > hex c0 00\n}\na < CONNACK");
    let Action::AtOnce(steps) = &scenario.steps[0].action else { panic!("{:?}", scenario.steps[0]) };
    assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [5, 6]);
    for wrong in ["c > CONNECT", "a > drop", "a < CONNACK", "b > CONNECT"] {
        let text = format!("{HEAD}raw b\nat once {{\na > CONNECT\n{wrong}\n}}\na < CONNACK\n");
        let error = parse("test", "test", &text).expect_err("must be refused").to_string();
        assert!(
            error.starts_with("test:7:1: expected `}` or a step `actor > …` of one `raw` actor"),
            "{error}"
        );
    }
}

#[test]
fn what_is_repeated_may_count() {
    let scenario = good(
        "repeat 3 {\n  at once {\n    repeat 2 {\n      a > PUBACK id=$n\n    }\n  }\n  a < PUBLISH id=$m payload=\"p\" + $n\n}\n\
         a > SUBSCRIBE id=9 (topic=\"t\" + $n qos=1) * 2 topic=\"last\"\na < SUBACK (reason=$n) * 2",
    );
    let Action::Repeat(Times::Fixed(3), outer) = &scenario.steps[0].action else {
        panic!("{:?}", scenario.steps[0])
    };
    let Action::AtOnce(once) = &outer[0].action else { panic!("{:?}", outer[0]) };
    assert!(matches!(&once[0].action, Action::Repeat(Times::Fixed(2), inner) if inner.len() == 1));
    let Action::Send { what: Send::Packet(subscribe), .. } = &scenario.steps[1].action else {
        panic!("a packet")
    };
    let names: Vec<_> = subscribe.fields.iter().map(|field| field.field.name).collect();
    assert_eq!(names, ["id", "topic", "qos", "topic", "qos", "topic"]);
    let second = Expression::Bytes(vec![Piece::Own(b"t".into()), Piece::Hex(b"2".into())]);
    assert_eq!(subscribe.fields[3].values, [second]);

    assert!(
        says("a > PUBACK id=$n").contains("`repeat N {` around this $name"),
        "{}",
        says("a > PUBACK id=$n")
    );
    assert!(says("repeat 70001 {").contains("how many times"), "{}", says("repeat 70001 {"));
    let outside = parse("t", "t", &format!("{HEAD}repeat 2 {{\na < PUBLISH id=$m\n}}\na > PUBACK id=$m\n"));
    assert!(outside.expect_err("must be refused").to_string().contains("t:7:15"));
}

#[test]
fn reads_what_5_0_needs() {
    let scenario = good(
        "needs retain\n@5.0 needs window-100\na < CONNACK receive_maximum=$max reason_string=none\n\
         repeat $max {\n  a > PUBLISH topic=\"t\" payload=bytes($max) topic_alias=$max + 1\n}\n\
         a < PUBLISH message_expiry=8..10|none\na < close reason=0x81|0x82 within 0s..1s",
    );
    let needs: Vec<_> = [Version::V3_1_1, Version::V5_0]
        .map(|version| scenario.all_needs(version).map(str::to_owned).collect::<Vec<_>>())
        .into();
    assert_eq!(needs, [vec!["retain"], vec!["retain", "window-100"]]);
    let Action::Repeat(Times::Bound(name), inner) = &scenario.steps[1].action else { panic!("a block") };
    assert_eq!((name.as_str(), inner.len()), ("max", 1));
    let Action::Send { what: Send::Packet(sent), .. } = &inner[0].action else { panic!("a packet") };
    assert_eq!(sent.fields[1].values, [Expression::Bytes(vec![Piece::PatternOf("max".to_owned(), 0)])]);
    assert_eq!(sent.fields[2].values, [Expression::Sum("max".to_owned(), 1)]);
    let Action::Expect(Expect { what: Expected::Packet(came), .. }) = &scenario.steps[2].action else {
        panic!("a packet")
    };
    assert_eq!(came.fields[0].values, [Expression::Range(8, 10), Expression::Absent]);
    let Action::Expect(Expect { what: Expected::Close(Some(reason)), within: Some(_), .. }) =
        &scenario.steps[3].action
    else {
        panic!("a close")
    };
    assert_eq!(reason.values, [Expression::Number(0x81), Expression::Number(0x82)]);

    for (line, expected) in [
        ("a > PUBLISH qos=0..1", "only `<` steps have"),
        ("a < PUBLISH qos=2..1", "a number from 0 to 3"),
        ("a < close id=1", "the end of the line"),
        ("repeat $times {", "a $name that a `<` step above has bound"),
        ("@5.0 needs wings", "expected one of"),
    ] {
        assert!(says(line).contains(expected), "{line}: {}", says(line));
    }
}
