//! What was written against what came.

use crate::Version;
use crate::frame::{self, Kind, Packet, Value, table::Type};
use crate::scenario::{Bindings, Expression, FieldText, PacketText};

/// How a packet differs from what was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differs {
    pub(super) expected: String,
    /// In words that follow "but".
    pub(super) actual: String,
}

/// Compares the fields that are written. Returns the `$names` it binds.
pub(super) fn packet(
    text: &PacketText,
    came: &Packet,
    version: Version,
    token: &str,
    bindings: &Bindings,
) -> Result<Bindings, Differs> {
    if came.kind != text.kind {
        return Err(Differs {
            expected: describe(text, version, token, bindings),
            actual: format!("{came} came"),
        });
    }
    let mut known = bindings.clone();
    let (mut wanted, mut got) = (Vec::new(), Vec::new());
    // In which order they stand is the broker's affair.
    let mut identifiers: Vec<&Value> = came.all("subscription_id").collect();
    for (occurrence, field) in numbered(text, version) {
        let name = field.field.name;
        let admits = |actual: Option<&Value>, known: &Bindings| {
            field.values.iter().any(|value| value.admits(actual, field.field.of, token, known))
        };
        let actual = if name == "subscription_id" {
            let fitting = identifiers.iter().position(|id| admits(Some(id), &known) != field.negated);
            let place = fitting.unwrap_or(0);
            (place < identifiers.len()).then(|| identifiers.remove(place))
        } else {
            came.all(name).nth(occurrence)
        };
        if let (Some(actual), [Expression::Variable(variable)], false) =
            (actual, field.values.as_slice(), field.negated)
        {
            known.entry(variable.clone()).or_insert_with(|| actual.clone());
        }
        if admits(actual, &known) == field.negated {
            wanted.push(shown(field, token, &known));
            got.push(actual.map_or_else(
                || format!("no {name}"),
                |actual| format!("{name}={}", frame::shown(name, actual)),
            ));
        }
    }
    let written = |name: &str| numbered(text, version).filter(|(_, field)| field.field.name == name).count();
    // A code too many is as wrong as one too few.
    let (codes, written_codes) = (came.all("reason").count(), written("reason"));
    if matches!(came.kind, Kind::Suback | Kind::Unsuback) && written_codes > 0 && codes > written_codes {
        wanted.push(format!("{written_codes} codes"));
        got.push(format!("{codes}"));
    }
    // So is an identifier too many.
    if let (Some(id), 1..) = (identifiers.first(), written("subscription_id")) {
        wanted.push("no more subscription_id".to_owned());
        got.push(format!("subscription_id={id}"));
    }
    // Who acknowledges takes it, unless another code is asked for.
    let refusal = came.all("reason").find(|code| matches!(code, Value::Number(0x80..)));
    if let (Some(code), 0, true) = (refusal, written_codes, is_acknowledgement(came.kind)) {
        wanted.push("reason below 0x80".to_owned());
        got.push(format!("reason={}", frame::shown("reason", code)));
    }
    if !wanted.is_empty() {
        return Err(Differs { expected: wanted.join(", "), actual: format!("{} came", got.join(", ")) });
    }
    known.retain(|name, _| !bindings.contains_key(name));
    Ok(known)
}

fn is_acknowledgement(kind: Kind) -> bool {
    matches!(kind, Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp | Kind::Unsuback)
}

/// This version's fields, each with the occurrence it speaks of. `name=` speaks of the next one of that name,
/// `name!=` of the same one as the `name=` before it.
fn numbered(text: &PacketText, version: Version) -> impl Iterator<Item = (usize, &FieldText)> {
    text.fields.iter().enumerate().filter(move |(_, field)| field.field.is_in(version)).map(
        |(place, field)| {
            let same = |other: &&FieldText| other.field.name == field.field.name && !other.negated;
            let before = text.fields.iter().take(place).filter(same).count();
            (if field.negated { before.saturating_sub(1) } else { before }, field)
        },
    )
}

/// The packet as expected, its values worked out.
pub(super) fn describe(text: &PacketText, version: Version, token: &str, bindings: &Bindings) -> String {
    let fields = text.fields.iter().filter(|field| field.field.is_in(version));
    let shown = fields.map(|field| format!(" {}", shown(field, token, bindings)));
    format!("{}{}", text.kind, shown.collect::<String>())
}

pub(super) fn shown(field: &FieldText, token: &str, bindings: &Bindings) -> String {
    let value = |value: &Expression| match value.resolve(field.field.of, token, bindings) {
        Ok(value) => frame::shown(field.field.name, &value),
        Err(_) => value.to_string(),
    };
    let values: Vec<_> = field.values.iter().map(value).collect();
    format!("{}{}{}", field.field.name, if field.negated { "!=" } else { "=" }, values.join("|"))
}

/// Whether the pattern is a PUBLISH whose topic is not of this scenario.
pub(super) fn wants_others(text: &PacketText, token: &str, bindings: &Bindings) -> bool {
    let topic = text.fields.iter().find(|field| field.field.name == "topic");
    let value = topic.and_then(|field| field.values.first()?.resolve(Type::Topic, token, bindings).ok());
    match value {
        Some(Value::Bytes(topic)) => text.kind == Kind::Publish && !super::contains(&topic, token.as_bytes()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Action, Expected, parse};

    /// Compares what came with `a < …`.
    fn compared(expectation: &str, came: &Packet, bindings: &Bindings) -> Result<Bindings, Differs> {
        let text = format!("proves 3.1.1 [MQTT-1.5.3-1]\nraw a\na < PUBACK id=$bound\na < {expectation}\n");
        let scenario = parse("test", "test", &text).expect("a good scenario");
        let Some(Action::Expect(expect)) = scenario.steps.last().map(|step| &step.action) else {
            panic!("a step")
        };
        let Expected::Packet(text) = &expect.what else { panic!("a packet") };
        packet(text, came, Version::V3_1_1, "TOKEN", bindings)
    }

    fn differs(expectation: &str, came: &Packet) -> (String, String) {
        let bound = Bindings::from([("bound".to_owned(), Value::Number(7))]);
        let Differs { expected, actual } = compared(expectation, came, &bound).expect_err("must differ");
        (expected, actual)
    }

    fn publish() -> Packet {
        Packet::new(Kind::Publish)
            .with("dup", 1u64)
            .with("qos", 1u64)
            .with("topic", "TOKEN/a")
            .with("id", 9u64)
            .with("payload", "p")
    }

    #[test]
    fn only_what_is_written_counts() {
        for fits in [
            "PUBLISH",
            "PUBLISH topic=\"a\"",
            "PUBLISH qos=1|2 id!=0",
            "PUBLISH id=9 id!=8 id!=7",
            "PUBLISH topic='{u}/a' payload=x\"70\"",
        ] {
            assert_eq!(compared(fits, &publish(), &Bindings::new()), Ok(Bindings::new()), "{fits}");
        }
    }

    #[test]
    fn says_which_fields_differ() {
        let say = |expected: &str, actual: &str| (expected.to_owned(), actual.to_owned());
        assert_eq!(differs("PUBLISH dup=0 qos=1", &publish()), say("dup=0", "dup=1 came"));
        assert_eq!(differs("PUBLISH dup=0 qos=0|2", &publish()), say("dup=0, qos=0|2", "dup=1, qos=1 came"));
        assert_eq!(differs("PUBLISH id!=9", &publish()), say("id!=9", "id=9 came"));
        assert_eq!(differs("PUBLISH id=$bound", &publish()), say("id=7", "id=9 came"));
        assert_eq!(
            differs("PUBREC id=9", &Packet::new(Kind::Puback).with("id", 9u64)),
            say("PUBREC id=9", "PUBACK id=9 came")
        );
        let suback = Packet::new(Kind::Suback).with("id", 1u64).with("reason", 0u64).with("reason", 0x80u64);
        assert_eq!(differs("SUBACK reason=0 reason=1", &suback), say("reason=1", "reason=0x80 came"));
        assert_eq!(differs("SUBACK reason=0", &suback), say("1 codes", "2 came"));
        assert_eq!(
            differs("SUBACK reason=0 reason=0x80 reason=0", &suback),
            say("reason=0", "no reason came")
        );
    }

    #[test]
    fn a_name_is_bound_once() {
        let bound = compared("PUBLISH id=$new", &publish(), &Bindings::new());
        assert_eq!(bound, Ok(Bindings::from([("new".to_owned(), Value::Number(9))])));
    }

    #[test]
    fn fields_of_5_0_do_not_count_in_3_1_1() {
        assert!(
            compared(
                "CONNACK reason=0 receive_maximum=9",
                &Packet::new(Kind::Connack).with("reason", 0u64),
                &Bindings::new()
            )
            .is_ok()
        );
    }
}
