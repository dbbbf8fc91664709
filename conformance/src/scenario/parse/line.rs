//! One line of a scenario.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::char;
use nom::combinator::{cut, map, opt, value, verify};
use nom::multi::{many1, separated_list1};
use nom::sequence::{delimited, preceded, separated_pair};

use super::field::{fields, times};
use super::token::{Read, Wrong, blank, duration, end, expect, fail, hex, keyword, name, word};
use crate::Version;
use crate::frame::{Kind, table};
use crate::scenario::{
    Action, Actor, ActorKind, CAPABILITIES, Duty, Expect, Expected, Expression, FieldText, PacketText, Send,
    Step, Times,
};

/// What a line says.
pub(super) enum Line<'a> {
    Empty,
    Comment(&'a str),
    /// Each id with the rest of the line where it stands.
    Proves(Version, Vec<(&'a str, &'a str)>),
    Actor(ActorKind, &'a str),
    Needs(Option<Version>, Vec<&'a str>),
    Promises(Vec<&'a str>),
    Duty(Duty),
    OpenBlock(Block),
    CloseBlock,
    Step(Step),
}

/// Lines between `{` and `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    AnyOrder,
    AtOnce,
    Repeat(Times),
}

/// What the lines above said.
pub(super) struct Context<'c> {
    pub(super) actors: &'c [Actor],
    /// The blocks that are open, from the outside in.
    pub(super) blocks: &'c [Block],
    /// Who sends in `at once`.
    pub(super) sender: Option<usize>,
}

impl Context<'_> {
    fn is_in(&self, block: Block) -> bool {
        self.blocks.contains(&block)
    }
}

/// Words that begin a line and so cannot be an actor's name.
const RESERVED: &[&str] =
    &["proves", "client", "raw", "needs", "promises", "should", "may", "any", "at", "repeat", BROKER];

/// Who is restarted.
const BROKER: &str = "broker";

/// The longest name of an actor: with the token it makes a client identifier that every broker must accept.
const MAX_NAME_BYTES: usize = 15;

pub(super) fn line<'a>(text: &'a str, context: &Context<'_>) -> Result<Line<'a>, Wrong<'a>> {
    let read = |text| -> Read<'a, Line<'a>> {
        let (rest, ()) = blank(text)?;
        if rest.is_empty() {
            return Ok((rest, Line::Empty));
        }
        if let Some(comment) = rest.strip_prefix('#') {
            return Ok(("", Line::Comment(comment)));
        }
        let (rest, line) = if context.blocks.is_empty() {
            statement(rest, context)?
        } else {
            let close = map(word(char('}')), |_| Line::CloseBlock);
            alt((close, |input| block_step(input, context))).parse(rest)?
        };
        end(rest).map(|(rest, ())| (rest, line))
    };
    match read(text) {
        Ok((_, line)) => Ok(line),
        Err(nom::Err::Error(wrong) | nom::Err::Failure(wrong)) => Err(wrong),
        Err(nom::Err::Incomplete(_)) => Err(Wrong { at: "", expected: "more of this line".to_owned() }),
    }
}

fn statement<'a>(input: &'a str, context: &Context<'_>) -> Read<'a, Line<'a>> {
    if let Ok((_, only)) = preceded(char('@'), version).parse(input)
        && let Ok((rest, _)) = (char('@'), version, keyword("needs")).parse(input)
    {
        return needs(rest, Some(only));
    }
    let first: &str = name(input).map_or("", |(_, first)| first);
    match first {
        "proves" => preceded(keyword("proves"), cut(proves)).parse(input),
        "client" => {
            preceded(keyword("client"), cut(|input| actor(ActorKind::Client, input, context))).parse(input)
        }
        "raw" => preceded(keyword("raw"), cut(|input| actor(ActorKind::Raw, input, context))).parse(input),
        "needs" => preceded(keyword("needs"), cut(|input| needs(input, None))).parse(input),
        "promises" => {
            let words = many1(word(expect("a word", name)));
            map(preceded(keyword("promises"), cut(words)), Line::Promises).parse(input)
        }
        "should" | "may" => {
            let (rest, duty) = duty(input)?;
            if end(rest).is_ok() {
                Ok((rest, Line::Duty(duty)))
            } else {
                map(|input| step(input, context), Line::Step).parse(input)
            }
        }
        "any" | "at" | "repeat" => block(input),
        _ => map(|input| step(input, context), Line::Step).parse(input),
    }
}

fn version(input: &str) -> Read<'_, Version> {
    let known = alt((value(Version::V3_1_1, tag("3.1.1")), value(Version::V5_0, tag("5.0"))));
    expect("a version (3.1.1, 5.0)", word(known)).parse(input)
}

fn proves(input: &str) -> Read<'_, Line<'_>> {
    let id = |input| {
        let letters =
            nom::bytes::complete::take_while1(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        let (rest, id) = delimited(char('['), letters, char(']')).parse(input)?;
        Ok((rest, (input, id)))
    };
    map((version, many1(word(expect("a statement id ([MQTT-1.2.3-4])", id)))), |(version, ids)| {
        Line::Proves(version, ids)
    })
    .parse(input)
}

fn actor<'a>(kind: ActorKind, input: &'a str, context: &Context<'_>) -> Read<'a, Line<'a>> {
    let fits = |name: &&str| {
        name.len() <= MAX_NAME_BYTES
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let free =
        |name: &&str| !RESERVED.contains(name) && context.actors.iter().all(|actor| actor.name != *name);
    let fitting =
        expect("a name of at most 15 letters and digits", verify(name, move |name: &str| fits(&name)));
    let (rest, name) = word(fitting).parse(input)?;
    if free(&name) { Ok((rest, Line::Actor(kind, name))) } else { fail(input, "a name that is not taken") }
}

fn needs(input: &str, only: Option<Version>) -> Read<'_, Line<'_>> {
    let known = |input| -> Read<'_, &str> {
        let names: Vec<_> = CAPABILITIES.iter().map(|capability| capability.name).collect();
        let all = || format!("one of {}", names.join(", "));
        match name(input) {
            Ok((rest, found)) if names.contains(&found) => Ok((rest, found)),
            Ok(_) => fail(input, all()),
            Err::<_, nom::Err<Wrong<'_>>>(_) => Err(nom::Err::Error(Wrong { at: input, expected: all() })),
        }
    };
    map(many1(word(known)), |words| Line::Needs(only, words)).parse(input)
}

fn duty(input: &str) -> Read<'_, Duty> {
    alt((value(Duty::Should, keyword("should")), value(Duty::May, keyword("may")))).parse(input)
}

/// The line that opens a block.
fn block(input: &str) -> Read<'_, Line<'_>> {
    let open = || expect("`{`", word(char('{')));
    let kind = alt((
        value(Block::AnyOrder, (keyword("any"), cut((expect("`order`", keyword("order")), open())))),
        value(Block::AtOnce, (keyword("at"), cut((expect("`once`", keyword("once")), open())))),
        map(preceded(keyword("repeat"), cut((times, open()))), |(times, _)| Block::Repeat(times)),
    ));
    map(kind, Line::OpenBlock).parse(input)
}

/// A line within a block.
fn block_step<'a>(input: &'a str, context: &Context<'_>) -> Read<'a, Line<'a>> {
    let first: &str = name(input).map_or("", |(_, first)| first);
    let opens = match first {
        "any" | "at" => !context.is_in(Block::AnyOrder) && !context.is_in(Block::AtOnce),
        "repeat" => !context.is_in(Block::AnyOrder),
        _ => false,
    };
    if opens {
        return block(input);
    }
    let (rest, step) = step(input, context)?;
    let (fits, expected) = if context.is_in(Block::AnyOrder) {
        let packet = |expect: &Expect| matches!(expect.what, Expected::Packet(_)) && !expect.optional;
        let fits = matches!(&step.action, Action::Expect(expect) if packet(expect));
        (fits && step.duty == Duty::Must, "`}` or a step `actor < PACKET …`")
    } else if context.is_in(Block::AtOnce) {
        let sender = match &step.action {
            Action::Send { actor, what: Send::Packet(_) | Send::Hex(_) } => Some(*actor),
            _ => None,
        };
        let fits = sender.is_some_and(|sender| {
            kind_of(&[sender], context) == ActorKind::Raw
                && context.sender.is_none_or(|first| first == sender)
        });
        (fits, "`}` or a step `actor > …` of one `raw` actor")
    } else {
        (true, "")
    };
    if fits { Ok((rest, Line::Step(step))) } else { fail(input, expected) }
}

/// `@5.0 should actor < PACKET field=value within 1s..2s`
fn step<'a>(input: &'a str, context: &Context<'_>) -> Read<'a, Step> {
    let (rest, only) = opt(preceded(char('@'), cut(version))).parse(input)?;
    let (rest, duty) = opt(duty).parse(rest)?;
    if let Ok((rest, _)) = keyword(BROKER).parse(rest) {
        let (rest, _) = expect("`>`", word(tag(">"))).parse(rest)?;
        let (after, _) = expect("`restart`", keyword("restart")).parse(rest)?;
        if duty.is_some() {
            return fail(input, "a `<` step after `should` or `may`");
        }
        let text = input.get(..input.len() - after.len()).unwrap_or(input).trim_end().to_owned();
        return Ok((after, Step { line: 0, text, only, duty: Duty::Must, action: Action::Restart }));
    }
    let (rest, actors) = separated_list1(char('|'), |input| actor_name(input, context)).parse(rest)?;
    let (rest, ()) = blank(rest)?;
    let (rest, arrow) = expect("`>`, `<` or `<?`", word(alt((tag(">"), tag("<?"), tag("<"))))).parse(rest)?;

    let (after, action) = match (arrow, actors.as_slice(), duty) {
        (">", [actor], None) => send(rest, *actor, context)?,
        (">", _, None) => return fail(input, "one actor to send"),
        (">", _, Some(_)) => return fail(input, "a `<` step after `should` or `may`"),
        (arrow, _, _) => awaited(rest, &actors, arrow == "<?", context)?,
    };
    let text = input.get(..input.len() - after.len()).unwrap_or(input).trim_end().to_owned();
    Ok((after, Step { line: 0, text, only, duty: duty.unwrap_or(Duty::Must), action }))
}

/// The actor's place in the scenario.
fn actor_name<'a>(input: &'a str, context: &Context<'_>) -> Read<'a, usize> {
    let expected = "an actor, `any order {`, `at once {`, `repeat N {`, or one of proves, client, raw, needs, promises, should, may";
    let (rest, found) = expect(expected, name).parse(input)?;
    match context.actors.iter().position(|actor| actor.name == found) {
        Some(place) => Ok((rest, place)),
        None => fail(input, "an actor declared above by `client NAME` or `raw NAME`"),
    }
}

fn kind_of(actors: &[usize], context: &Context<'_>) -> ActorKind {
    let is_client =
        |actor: &usize| context.actors.get(*actor).is_some_and(|actor| actor.kind == ActorKind::Client);
    if actors.iter().any(is_client) { ActorKind::Client } else { ActorKind::Raw }
}

fn send<'a>(input: &'a str, actor: usize, context: &Context<'_>) -> Read<'a, Action> {
    let kind = kind_of(&[actor], context);
    let action = |what| Action::Send { actor, what };
    if let Ok((rest, _)) = keyword("drop").parse(input) {
        return Ok((rest, action(Send::Drop)));
    }
    if let Ok((rest, _)) = keyword("hex").parse(input) {
        if kind == ActorKind::Client {
            return fail(input, "a packet or `drop`: only a `raw` actor sends bytes");
        }
        let (rest, bytes) = hex(rest)?;
        return if bytes.is_empty() {
            fail(rest, "bytes in hexadecimal")
        } else {
            Ok((rest, action(Send::Hex(bytes))))
        };
    }
    let (rest, packet_kind) = packet_name("a packet, `hex` or `drop`", input)?;
    if kind == ActorKind::Client && !table::client_sends(packet_kind) {
        return fail(
            input,
            "CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT or `drop`: the rest a `client` sends by itself, or use `raw`",
        );
    }
    let (rest, fields) =
        fields(rest, packet_kind, |field| kind == ActorKind::Raw || field.client, kind == ActorKind::Raw)?;
    let only_raw_sends = |kind| matches!(kind, Kind::Subscribe | Kind::Unsubscribe);
    if kind == ActorKind::Client
        && only_raw_sends(packet_kind)
        && !fields.iter().any(|field| field.field.name == "topic")
    {
        return fail(rest, "a field topic=…");
    }
    let is_open = |value: &Expression| matches!(value, Expression::Range(..) | Expression::Absent);
    let is_open =
        |field: &&FieldText| field.negated || field.values.len() > 1 || field.values.iter().any(is_open);
    if let Some(bad) = fields.iter().find(is_open) {
        let only = "only `<` steps have `!=`, `|`, `..` and `none`";
        return fail(input, format!("one value for `{}`: {only}", bad.field.name));
    }
    Ok((rest, action(Send::Packet(PacketText { kind: packet_kind, fields }))))
}

fn awaited<'a>(input: &'a str, actors: &[usize], optional: bool, context: &Context<'_>) -> Read<'a, Action> {
    let (rest, what) = if let Ok((rest, _)) = keyword("close").parse(input) {
        let is_reason = |field: &table::Field| field.name == "reason";
        let says_why = name(rest).is_ok_and(|(_, first)| first == "reason");
        let (rest, fields) =
            if says_why { fields(rest, Kind::Disconnect, is_reason, false)? } else { (rest, Vec::new()) };
        (rest, Expected::Close(fields.into_iter().next()))
    } else if let Ok((rest, _)) = keyword("silence").parse(input) {
        let (rest, time) = opt(preceded(keyword("for"), cut(word(duration)))).parse(rest)?;
        (rest, Expected::Silence(time))
    } else {
        let (rest, kind) = packet_name("a packet, `close` or `silence`", input)?;
        let at_client = kind_of(actors, context) == ActorKind::Client;
        if at_client && matches!(kind, Kind::Pubrec | Kind::Pubrel | Kind::Pingresp) {
            return fail(input, "another packet: a `client` handles this one by itself");
        }
        let (rest, fields) = fields(rest, kind, |_| true, false)?;
        (rest, Expected::Packet(PacketText { kind, fields }))
    };
    if optional && !matches!(what, Expected::Packet(_)) {
        return fail(input, "a packet after `<?`");
    }
    if actors.len() > 1 && matches!(what, Expected::Close(_)) {
        return fail(input, "a packet or `silence` of several actors");
    }
    let range = separated_pair(duration, expect("`..`", tag("..")), word(duration));
    let (after, within) = opt(preceded(keyword("within"), cut(range))).parse(rest)?;
    match within {
        Some((least, most)) if least > most => fail(rest, "a time that begins before it ends"),
        Some(_) if optional || matches!(what, Expected::Silence(_)) => {
            fail(rest, "`within` only behind a packet or `close` that must come")
        }
        _ => Ok((after, Action::Expect(Expect { actors: actors.to_vec(), what, optional, within }))),
    }
}

fn packet_name<'a>(expected: &'static str, input: &'a str) -> Read<'a, Kind> {
    match word(name).parse(input) {
        Ok((rest, found)) => match Kind::from_name(found) {
            Some(kind) => Ok((rest, kind)),
            None => fail(input, expected),
        },
        Err::<_, nom::Err<Wrong<'_>>>(_) => fail(input, expected),
    }
}
