use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::{option, string};

use super::*;
use crate::topic::{Filter, Name};

fn parse(text: &[u8]) -> Result<Arc<Table>, Vec<String>> {
    let path: Arc<Path> = Path::new("acl").into();
    Table::parse(&path, text).map(Arc::new).map_err(|errors| errors.iter().map(Error::to_string).collect())
}

/// Whether the client may write and read it: `w`, `r`, both or nothing.
fn may(table: &Arc<Table>, user: Option<&str>, client_id: &str, topic: &str) -> String {
    let rights = Rights::new(table, user, client_id);
    let topic = Name::new(topic).unwrap();
    [('w', rights.may_write(topic)), ('r', rights.may_read(topic))]
        .into_iter()
        .filter_map(|(letter, is_allowed)| is_allowed.then_some(letter))
        .collect()
}

fn may_subscribe(table: &Arc<Table>, user: Option<&str>, filter: &str) -> bool {
    Rights::new(table, user, "c").may_subscribe(Filter::new(filter).unwrap())
}

#[test]
fn what_no_line_names_is_denied() {
    let table = parse(b"# nothing\n\n").unwrap();
    assert_eq!(may(&table, None, "c", "t"), "");
    assert_eq!(may(&table, Some("anna"), "c", "t"), "");
    assert!(!may_subscribe(&table, None, "#"));
}

#[test]
fn lines_before_the_first_user_are_for_clients_without_a_name() {
    let text = b"topic read news/#\n topic write  in/+\t\nuser anna\ntopic own\nuser with blanks \n\
        topic readwrite to pic/a\nuser anna\ntopic read more\r\n";
    let table = parse(text).unwrap();
    for (user, topic, expected) in [
        (None, "news/a", "r"),
        (None, "in/a", "w"),
        (None, "in/a/b", ""),
        (None, "own", ""),
        (Some("anna"), "news/a", ""),
        (Some("anna"), "own", "wr"),
        (Some("anna"), "more", "r"),
        (Some("with blanks"), "to pic/a", "wr"),
        (Some("Anna"), "own", ""),
        (Some(""), "news/a", ""),
    ] {
        assert_eq!(may(&table, user, "c", topic), expected, "{user:?} {topic}");
    }
}

#[test]
fn the_clients_own_lines_come_before_patterns_and_denials_before_grants() {
    let text = b"user anna\ntopic a/#\ntopic deny a/secret\npattern deny a/open\npattern read a/secret\n\
        pattern write b/#\npattern deny b/secret\n";
    let table = parse(text).unwrap();
    for (topic, expected) in
        [("a/x", "wr"), ("a/secret", ""), ("a/open", "wr"), ("b/x", "w"), ("b/secret", ""), ("c", "")]
    {
        assert_eq!(may(&table, Some("anna"), "c", topic), expected, "{topic}");
    }
    assert_eq!(may(&table, Some("bert"), "c", "a/open"), "");
    assert_eq!(may(&table, Some("bert"), "c", "a/secret"), "r");
}

#[test]
fn patterns_have_the_clients_names() {
    let table = parse(b"pattern d/%c/state\npattern read u/%u-%c/%u\npattern write 100%/%x%%c\n").unwrap();
    for (user, client_id, topic, expected) in [
        (None, "c1", "d/c1/state", "wr"),
        (None, "c1", "d/c2/state", ""),
        (None, "c1", "u/-c1/", ""),
        (Some("anna"), "c1", "u/anna-c1/anna", "r"),
        (Some("%c"), "c1", "u/%c-c1/%c", "r"),
        (Some("anna"), "c1", "100%/%x%c1", "w"),
        (None, "a/b", "d/a/b/state", "wr"),
    ] {
        assert_eq!(may(&table, user, client_id, topic), expected, "{user:?} {client_id} {topic}");
    }
    assert!(may_subscribe(&table, None, "d/+/state") && !may_subscribe(&table, None, "d/x/state"));
}

#[test]
fn a_name_opens_no_more_than_its_own_topics() {
    let table = parse(b"user +\ntopic own\npattern %u/%c\npattern %c/x\npattern $SYS/%c\n").unwrap();
    for (user, client_id, topic, expected) in [
        (Some("+"), "c", "anna/c", ""),
        (Some("+"), "c", "own", "wr"),
        (Some("anna"), "#", "anna/c", ""),
        (Some("anna"), "#", "a/x", ""),
        (None, "$SYS", "$SYS/x", ""),
        (None, "uptime", "$SYS/uptime", "wr"),
    ] {
        assert_eq!(may(&table, user, client_id, topic), expected, "{user:?} {client_id} {topic}");
    }
}

#[test]
fn reserved_topics_need_lines_that_spell_them() {
    let table = parse(b"topic read #\ntopic read $SYS/broker/+\n").unwrap();
    for (topic, expected) in
        [("a", "r"), ("$SYS/broker/uptime", "r"), ("$SYS/broker/load/x", ""), ("$other", "")]
    {
        assert_eq!(may(&table, None, "c", topic), expected, "{topic}");
    }
}

#[test]
fn a_subscription_is_refused_that_could_bring_nothing() {
    let text =
        b"topic read a/#\ntopic deny a/secret/#\ntopic write w/#\npattern read p/%c/#\npattern deny p/+/no\n";
    let table = parse(text).unwrap();
    for (filter, expected) in [
        ("#", true),
        ("a/#", true),
        ("+/x", true),
        ("a/secret/+", false),
        ("a/secret/#", false),
        ("a/+", true),
        ("w/#", false),
        ("b", false),
        ("p/+/x", true),
        ("p/c/no", false),
        ("p/d/#", false),
        ("$SYS/#", false),
    ] {
        assert_eq!(may_subscribe(&table, None, filter), expected, "{filter}");
    }
}

#[test]
fn all_errors_are_told_with_their_lines() {
    let text = b"topic\nuser\ntopic read\n# fine\ntopics a\ntopic reed a\npattern write a/#/b\n\xff\ntopic a # b\npattern";
    let errors = parse(text).unwrap_err();
    let expected = [
        "acl:1: `topic` without a topic filter: write `topic read FILTER`",
        "acl:2: `user` without a name",
        "acl:3: `topic` without a topic filter",
        "acl:5: unknown word \"topics\": a line begins with `user`, `topic` or `pattern`",
        "acl:6: unknown access \"reed\": write read, write, readwrite or deny",
        "acl:7: \"a/#/b\" is no topic filter: the topic filter goes on after '#'",
        "acl:8: line that is not UTF-8",
        "acl:9: unknown access \"a\"",
        "acl:10: `pattern` without a topic filter",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    let errors = parse("x\n".repeat(1000).as_bytes()).unwrap_err();
    assert_eq!(
        (errors.len(), errors[100].as_str()),
        (101, "acl:100: and more errors: only the first 100 are told")
    );
    let error = &Table::load(Path::new("/nowhere/acl")).unwrap_err()[0];
    assert!(error.to_string().starts_with("/nowhere/acl: cannot read the ACL file: No such file"), "{error}");
}

#[test]
fn there_are_not_more_rules_than_the_limits_allow() {
    let patterns = |count| "pattern a\n".repeat(count);
    assert!(parse(patterns(MAX_PATTERNS).as_bytes()).is_ok());
    let errors = parse(patterns(MAX_PATTERNS + 1).as_bytes()).unwrap_err();
    assert!(errors[0].starts_with("acl:1001: more than 1000 patterns"), "{errors:?}");
    let errors = parse("topic a\n".repeat(MAX_RULES + 1).as_bytes()).unwrap_err();
    assert!(errors[0].starts_with("acl:1000001: more than 1000000 rules"), "{errors:?}");
}

#[test]
fn rights_are_the_same_by_the_same_table_and_user() {
    let (table, again) = (parse(b"user anna\ntopic t").unwrap(), parse(b"user anna\ntopic t").unwrap());
    let rights = Rights::new(&table, Some("anna"), "c");
    assert!(rights.are(&Rights::new(&table, Some("anna"), "c")));
    assert!(!rights.are(&Rights::new(&table, None, "c")));
    assert!(!rights.are(&Rights::new(&again, Some("anna"), "c")));
}

/// A line of a file, before it is text.
#[derive(Clone, Debug)]
enum Said {
    User(&'static str),
    Rule { is_pattern: bool, word: &'static str, filter: &'static str },
}

const USERS: [&str; 3] = ["anna", "bert", "a b"];
const WORDS: [&str; 5] = ["", "read", "write", "readwrite", "deny"];
const FILTERS: [&str; 10] = ["#", "a/#", "a/+", "+/b", "a/b", "%c/#", "a/%u", "%u%c/+", "$SYS/#", "+/%c"];
const TOPICS: [&str; 8] = ["a", "a/b", "a/anna", "b/b", "c1/x", "annac1/b", "$SYS/x", "b/c1"];

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        1 => select(&USERS[..]).prop_map(Said::User),
        5 => (any::<bool>(), select(&WORDS[..]), select(&FILTERS[..]))
            .prop_map(|(is_pattern, word, filter)| Said::Rule { is_pattern, word, filter }),
    ]
}

fn text(lines: &[Said]) -> String {
    let line = |said: &Said| match said {
        Said::User(user) => format!("user {user}\n"),
        Said::Rule { is_pattern: true, word, filter } => format!("pattern {word} {filter}\n"),
        Said::Rule { is_pattern: false, word, filter } => format!("topic {word} {filter}\n"),
    };
    lines.iter().map(line).collect()
}

/// What the lines mean, said once more and without tables: the first that speaks of the topic, of those in the order
/// own denials, own grants, denials by pattern, grants by pattern.
fn meant(lines: &[Said], user: Option<&str>, client_id: &str, topic: Name<'_>, wanted: &str) -> bool {
    let mut of = None;
    let mut speaking = Vec::new();
    for line in lines {
        match line {
            Said::User(user) => of = Some(*user),
            Said::Rule { is_pattern, word, filter } => {
                if !is_pattern && of != user || *is_pattern && filter.contains("%u") && user.is_none() {
                    continue;
                }
                let filter = match is_pattern {
                    true => filter.replace("%u", user.unwrap_or("")).replace("%c", client_id),
                    false => (*filter).to_owned(),
                };
                let speaks = ["", "readwrite", "deny", wanted].contains(word);
                if speaks && Filter::new(&filter).unwrap().matches(topic) {
                    speaking.push((*is_pattern, *word != "deny"));
                }
            }
        }
    }
    speaking.sort_unstable();
    speaking.first().is_some_and(|(_, is_granted)| *is_granted)
}

proptest! {
    #[test]
    fn rights_are_what_the_lines_mean(
        lines in vec(said(), 0..60),
        user in option::of(select(&USERS[..])),
        client_id in select(&["c1", "x"][..]),
    ) {
        let table = parse(text(&lines).as_bytes()).unwrap();
        let rights = Rights::new(&table, user, client_id);
        let topics = TOPICS.map(|topic| Name::new(topic).unwrap());
        for topic in topics {
            prop_assert_eq!(rights.may_read(topic), meant(&lines, user, client_id, topic, "read"), "read {}", topic);
            prop_assert_eq!(rights.may_write(topic), meant(&lines, user, client_id, topic, "write"), "write {}", topic);
        }
        for filter in FILTERS {
            let filter = Filter::new(filter).unwrap();
            let readable = topics.iter().any(|topic| filter.matches(*topic) && rights.may_read(*topic));
            prop_assert!(rights.may_subscribe(filter) || !readable, "{}", filter);
        }
    }

    #[test]
    fn any_bytes_are_rules_or_errors_with_their_line(bytes in vec(any::<u8>(), 0..200)) {
        if let Err(errors) = parse(&bytes) {
            prop_assert!(errors.iter().all(|error| error.starts_with("acl:")));
        }
    }

    #[test]
    fn any_text_behind_the_words_is_a_rule_or_an_error(
        lines in vec(string::string_regex("(user|topic|pattern)?[ \t]*(read|deny|write)?[ \t]*[a-c%u+#/é ]{0,8}\r?").unwrap(), 0..8),
        user in "[a-z+#/%$]{0,4}",
    ) {
        if let Ok(table) = parse(lines.join("\n").as_bytes()) {
            let rights = Rights::new(&table, Some(&user), "c%u");
            let topic = Name::new("a/b").unwrap();
            // Nothing is granted without a line that says so.
            let all = lines.join("\n");
            prop_assert!(!rights.may_read(topic) || all.contains("topic") || all.contains("pattern"));
            prop_assert!(!rights.may_write(topic) || rights.may_read(topic) || all.contains("write"));
        }
    }
}
