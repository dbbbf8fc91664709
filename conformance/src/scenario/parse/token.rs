//! Words, numbers, strings: the smallest parts of a line, and the error that says what was expected.

use std::time::Duration;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, none_of, one_of};
use nom::combinator::{cut, map, map_opt, opt, recognize, value, verify};
use nom::error::ErrorKind;
use nom::multi::{many0, separated_list1};
use nom::sequence::{delimited, pair, preceded, separated_pair, terminated};
use nom::{IResult, Parser};

use crate::scenario::{Expression, Piece, Scram};

/// What was expected, and the rest of the line where it should have been.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong<'a> {
    pub(super) at: &'a str,
    pub(super) expected: String,
}

impl<'a> nom::error::ParseError<&'a str> for Wrong<'a> {
    fn from_error_kind(at: &'a str, _: ErrorKind) -> Self {
        Wrong { at, expected: String::new() }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }

    /// Of two ways to fail, the one that came further knows better; at the same place both are possible.
    fn or(self, other: Self) -> Self {
        use std::cmp::Ordering;
        match self.at.len().cmp(&other.at.len()) {
            Ordering::Less => self,
            Ordering::Greater => other,
            Ordering::Equal if self.expected.is_empty() || self.expected == other.expected => other,
            Ordering::Equal if other.expected.is_empty() => self,
            Ordering::Equal => {
                Wrong { at: self.at, expected: format!("{} or {}", self.expected, other.expected) }
            }
        }
    }
}

pub(super) type Read<'a, T> = IResult<&'a str, T, Wrong<'a>>;

/// Nothing else can be meant: parsing ends here.
pub(super) fn fail<'a, T>(at: &'a str, expected: impl Into<String>) -> Read<'a, T> {
    Err(nom::Err::Failure(Wrong { at, expected: expected.into() }))
}

/// Names what `parser` wants, where it does not get as far as its own names.
pub(super) fn expect<'a, T>(
    expected: &'static str,
    mut parser: impl Parser<&'a str, Output = T, Error = Wrong<'a>>,
) -> impl Parser<&'a str, Output = T, Error = Wrong<'a>> {
    move |input: &'a str| {
        parser.parse(input).map_err(|error| {
            error.map(|wrong| {
                if wrong.expected.is_empty() || wrong.at.len() == input.len() {
                    Wrong { at: input, expected: expected.to_owned() }
                } else {
                    wrong
                }
            })
        })
    }
}

/// Blanks, or none.
pub(super) fn blank(input: &str) -> Read<'_, ()> {
    value((), take_while(|c| c == ' ' || c == '\t')).parse(input)
}

/// A parser with the blanks behind it.
pub(super) fn word<'a, T>(
    parser: impl Parser<&'a str, Output = T, Error = Wrong<'a>>,
) -> impl Parser<&'a str, Output = T, Error = Wrong<'a>> {
    terminated(parser, blank)
}

/// This very word and no longer one.
pub(super) fn keyword<'a>(text: &'static str) -> impl Parser<&'a str, Output = &'a str, Error = Wrong<'a>> {
    word(verify(name, move |found: &str| found == text))
}

/// Letters, digits, `_` and `-`.
pub(super) fn name(input: &str) -> Read<'_, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-').parse(input)
}

/// The end of a line, before which a comment may stand.
pub(super) fn end(input: &str) -> Read<'_, ()> {
    match input.chars().next() {
        None | Some('#') => Ok(("", ())),
        Some(_) => Err(nom::Err::Error(Wrong { at: input, expected: "the end of the line".to_owned() })),
    }
}

/// Decimal digits.
pub(super) fn digits(input: &str) -> Read<'_, &str> {
    take_while1(|c: char| c.is_ascii_digit()).parse(input)
}

/// `1.5s`, `800ms`
pub(super) fn duration(input: &str) -> Read<'_, Duration> {
    let number =
        map_opt(recognize(pair(digits, opt(pair(char('.'), digits)))), |text: &str| text.parse::<f64>().ok());
    let unit = alt((value(0.001, tag("ms")), value(1.0, tag("s"))));
    let seconds =
        map_opt(pair(number, unit), |(number, unit)| Duration::try_from_secs_f64(number * unit).ok());
    expect("a time (1.5s, 800ms)", seconds).parse(input)
}

/// What may stand behind `field=`.
pub(super) fn expression(input: &str) -> Read<'_, Expression> {
    let sum = map((variable, more), |(name, more)| Expression::Sum(name.to_owned(), more));
    let range =
        map(separated_pair(number, tag(".."), number), |(least, most)| Expression::Range(least, most));
    let absent = value(Expression::Absent, verify(name, |found: &str| found == "none"));
    let joined = separated_list1(delimited(blank, char('+'), blank), piece);
    let joined = map(joined, |pieces| match pieces.as_slice() {
        [Piece::Variable(name)] => Expression::Variable(name.clone()),
        _ => Expression::Bytes(pieces),
    });
    expect(
        "a value (7, 0x80, \"text\", 'text', x\"00 ff\", bytes(9), $name)",
        alt((sum, joined, range, map(number, Expression::Number), absent)),
    )
    .parse(input)
}

/// `+ 1`, `- 1` behind a `$name`.
fn more(input: &str) -> Read<'_, i64> {
    let digits = map_opt(digits, |digits: &str| digits.parse::<i64>().ok());
    map(
        (delimited(blank, one_of("+-"), blank), digits),
        |(sign, more)| if sign == '-' { -more } else { more },
    )
    .parse(input)
}

fn number(input: &str) -> Read<'_, u64> {
    let hexadecimal = preceded(tag("0x"), take_while1(|c: char| c.is_ascii_hexdigit()));
    alt((
        map_opt(hexadecimal, |digits| u64::from_str_radix(digits, 16).ok()),
        map_opt(digits, |digits: &str| digits.parse().ok()),
    ))
    .parse(input)
}

fn piece(input: &str) -> Read<'_, Piece> {
    alt((
        map(quoted('"'), Piece::Own),
        map(quoted('\''), Piece::Exact),
        map(
            delimited(tag("x\""), cut(hex), cut(expect("two hexadecimal digits or `\"`", char('"')))),
            Piece::Hex,
        ),
        pattern,
        scram,
        map(variable, |name: &str| Piece::Variable(name.to_owned())),
    ))
    .parse(input)
}

/// `scram.first`, `scram.final($answer)`
fn scram(input: &str) -> Read<'_, Piece> {
    let known = |found: &str| Scram::NAMES.into_iter().find(|(name, _)| *name == found);
    let message = cut(expect("first, final($name), wrong($name) or signature($name)", map_opt(name, known)));
    let (rest, (_, message)) = preceded(tag("scram."), message).parse(input)?;
    if message == Scram::First {
        return Ok((rest, Piece::Scram(message, None)));
    }
    let answer = delimited(char('('), variable, char(')'));
    let answer = map(answer, |name: &str| Piece::Scram(message, Some(name.to_owned())));
    cut(expect("($name), the broker's answer to `scram.first`", answer)).parse(rest)
}

/// The longest `bytes(N)`.
const MAX_PATTERN_BYTES: u64 = 16 * 1024 * 1024;

fn pattern(input: &str) -> Read<'_, Piece> {
    let fixed = map_opt(number, |length| {
        (length <= MAX_PATTERN_BYTES).then_some(length).and_then(|length| usize::try_from(length).ok())
    });
    let bound = map((variable, opt(more)), |(name, more): (&str, _)| {
        Piece::PatternOf(name.to_owned(), more.unwrap_or(0))
    });
    let length = alt((map(fixed, Piece::Pattern), bound));
    let length = cut(expect("a number of at most 16777216, or a $name", length));
    delimited(tag("bytes("), length, cut(expect("`)`", char(')')))).parse(input)
}

/// `$name`
pub(super) fn variable(input: &str) -> Read<'_, &str> {
    preceded(char('$'), cut(expect("a name", name))).parse(input)
}

/// Pairs of hexadecimal digits, with or without blanks between them.
pub(super) fn hex(input: &str) -> Read<'_, Vec<u8>> {
    preceded(blank, many0(word(hex_byte))).parse(input)
}

fn hex_byte(input: &str) -> Read<'_, u8> {
    map_opt(take_while_m_n(2, 2, |c: char| c.is_ascii_hexdigit()), |digits| {
        u8::from_str_radix(digits, 16).ok()
    })
    .parse(input)
}

/// Text between two of these quotes.
fn quoted<'a>(quote: char) -> impl Parser<&'a str, Output = Vec<u8>, Error = Wrong<'a>> {
    let plain = verify(none_of("\\"), move |c| *c != quote);
    let part = alt((
        map(plain, |c: char| c.to_string().into_bytes()),
        preceded(char('\\'), cut(expect("one of the escapes \\\" \\' \\\\ \\n \\0 \\xff \\u{feff}", escape))),
    ));
    let closing = if quote == '"' { "a closing `\"`" } else { "a closing `'`" };
    map(delimited(char(quote), many0(part), cut(expect(closing, char(quote)))), |parts| parts.concat())
}

fn escape(input: &str) -> Read<'_, Vec<u8>> {
    let code_point = take_while_m_n(1, 6, |c: char| c.is_ascii_hexdigit());
    let code_point =
        map_opt(code_point, |digits| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32));
    alt((
        map(one_of("\"'\\"), |c: char| c.to_string().into_bytes()),
        value(vec![b'\n'], char('n')),
        value(vec![0], char('0')),
        map(preceded(char('x'), hex_byte), |byte| vec![byte]),
        map(delimited(tag("u{"), code_point, char('}')), |c| c.to_string().into_bytes()),
    ))
    .parse(input)
}
