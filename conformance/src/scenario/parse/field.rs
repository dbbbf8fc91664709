//! The fields of a packet.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::char;
use nom::combinator::{cut, map, map_opt, value};
use nom::multi::{many1, separated_list1};
use nom::sequence::{preceded, terminated};

use super::token::{Read, Wrong, digits, end, expect, expression, fail, keyword, name, variable, word};
use crate::frame::{Kind, table};
use crate::scenario::{Expression, FieldText, Times, variables};

/// The fields behind a packet's name, up to the end of the line, a comment or `within`.
pub(super) fn fields<'a>(
    mut input: &'a str,
    kind: Kind,
    may: impl Fn(&table::Field) -> bool,
    shape: bool,
) -> Read<'a, Vec<FieldText>> {
    let shape = if shape { table::SHAPE } else { &[] };
    let mut fields = Vec::new();
    while end(input).is_err() && keyword("within").parse(input).is_err() {
        let known = table::fields(kind).iter().chain(shape).filter(|field| may(field));
        let one = |input| field(input, kind, known.clone());
        if let Ok((rest, _)) = word(char('(')).parse(input) {
            let (rest, group) = terminated(many1(one), expect("`)`", word(char(')')))).parse(rest)?;
            let (rest, times) = preceded(expect("`*`", word(char('*'))), rounds).parse(rest)?;
            for round in 1..=times {
                fields.extend(group.iter().cloned().map(|field: FieldText| {
                    let values = field.values.into_iter();
                    let values = values.map(|value| value.with_number(variables::ROUND, round)).collect();
                    FieldText { values, ..field }
                }));
            }
            input = rest;
        } else {
            let (rest, found) = one(input)?;
            fields.push(found);
            input = rest;
        }
    }
    Ok((input, fields))
}

/// `name=value`
fn field<'a, 'f>(
    input: &'a str,
    kind: Kind,
    known: impl Iterator<Item = &'f table::Field> + Clone,
) -> Read<'a, FieldText> {
    let found: &str = name(input).map_or("", |(_, found)| found);
    if found.is_empty() && input.starts_with(')') {
        return Err(nom::Err::Error(Wrong { at: input, expected: "`)`".to_owned() }));
    }
    let Some(field) = known.clone().find(|field| field.name == found) else {
        let names: Vec<_> = known.map(|field| field.name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return fail(input, format!("a field of {kind} ({names})"));
    };
    let (rest, _) = name(input)?;
    let operator = alt((value(true, tag("!=")), value(false, tag("="))));
    let (rest, negated) = cut(expect("`=` or `!=`", operator)).parse(rest)?;
    let (rest, values) = word(separated_list1(char('|'), |input| typed(input, field))).parse(rest)?;
    Ok((rest, FieldText { field: *field, negated, values }))
}

/// A value that fits the field.
fn typed<'a>(input: &'a str, field: &table::Field) -> Read<'a, Expression> {
    let (rest, value) = cut(expression).parse(input)?;
    match (&value, field.of) {
        (Expression::Variable(_) | Expression::Absent, _) => {}
        (Expression::Sum(..), table::Type::Number(_)) => {}
        (Expression::Range(least, most), table::Type::Number(limit)) if least <= most && *most <= limit => {}
        (Expression::Number(number), table::Type::Number(most)) if *number <= most => {}
        (Expression::Bytes(_), table::Type::Bytes | table::Type::Topic | table::Type::ClientId) => {}
        (_, table::Type::Number(most)) => {
            return fail(input, format!("a number from 0 to {most} for `{}`", field.name));
        }
        (_, _) => return fail(input, format!("a string for `{}`", field.name)),
    }
    Ok((rest, value))
}

/// How many times lines are repeated.
pub(super) fn times(input: &str) -> Read<'_, Times> {
    let bound = map(word(variable), |name: &str| Times::Bound(name.to_owned()));
    alt((bound, map(rounds, Times::Fixed))).parse(input)
}

/// How many times fields are repeated.
fn rounds(input: &str) -> Read<'_, u64> {
    let times = map_opt(digits, |times: &str| times.parse().ok().filter(|times| *times <= Times::MOST));
    expect("how many times, up to 70000", word(times)).parse(input)
}
