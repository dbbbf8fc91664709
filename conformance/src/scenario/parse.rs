//! Text → [`Scenario`], line by line.

mod field;
mod line;
mod token;

use std::collections::HashSet;
use std::fmt;

use super::{
    Action, Actor, Cited, Duty, Expected, Expression, FieldText, Need, Proof, Scenario, Send, Step, Times,
    variables,
};
use line::{Block, Context, Line};
use token::Wrong;

/// Where a file stops being a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The file, as shown to the user.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What should stand there.
    pub expected: String,
    /// The line.
    pub text: String,
}

impl ParseError {
    pub(super) fn new(file: &str, text: &str, line: usize, column: usize, expected: String) -> Self {
        let text = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
        ParseError { file: file.to_owned(), line, column, expected, text }
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { file, line, column, expected, text } = self;
        let found: String = text.chars().skip(column - 1).collect();
        let found = match found.split_whitespace().next() {
            Some(word) => format!("`{word}`"),
            None => "the end of the line".to_owned(),
        };
        writeln!(f, "{file}:{line}:{column}: expected {expected}, found {found}")?;
        writeln!(f, "  | {text}")?;
        write!(f, "  | {:>column$}", "^")
    }
}

/// Reads the text of one file. `name` and `file` are kept for reports.
///
/// # Errors
/// The first place where it is no scenario, and what should stand there.
pub fn parse(name: &str, file: &str, text: &str) -> Result<Scenario, ParseError> {
    let mut reader = Reader::new(name, file, text);
    for (index, line) in text.lines().enumerate() {
        reader.number = index + 1;
        reader.read(line).map_err(|wrong| {
            let before = line.len() - wrong.at.len();
            let column = line.get(..before).unwrap_or(line).chars().count() + 1;
            ParseError::new(file, text, reader.number, column, wrong.expected)
        })?;
    }
    reader.finish().map_err(|expected| {
        let last = text.lines().count().max(1);
        let column = text.lines().last().map_or(0, |line| line.chars().count()) + 1;
        ParseError::new(file, text, last, column, expected)
    })
}

/// A block whose `}` is still to come.
struct Open {
    block: Block,
    /// The line it began on.
    line: usize,
    text: String,
    steps: Vec<Step>,
    /// What was bound before it.
    bound: HashSet<String>,
}

/// The scenario as far as it is read.
struct Reader {
    scenario: Scenario,
    /// The line being read, from 1.
    number: usize,
    /// The blocks that are open, from the outside in.
    blocks: Vec<Open>,
    /// The `$names` that earlier `<` steps bind.
    bound: HashSet<String>,
    /// Whether the comment on top goes on.
    on_top: bool,
}

impl Reader {
    fn new(name: &str, file: &str, text: &str) -> Self {
        Reader {
            scenario: Scenario {
                name: name.to_owned(),
                file: file.to_owned(),
                text: text.to_owned(),
                about: String::new(),
                proves: Vec::new(),
                actors: Vec::new(),
                needs: Vec::new(),
                promises: Vec::new(),
                duty: Duty::Must,
                steps: Vec::new(),
            },
            number: 0,
            blocks: Vec::new(),
            bound: HashSet::new(),
            on_top: true,
        }
    }

    fn read<'a>(&mut self, text: &'a str) -> Result<(), Wrong<'a>> {
        let blocks: Vec<_> = self.blocks.iter().map(|open| open.block.clone()).collect();
        let once = self.blocks.iter().skip_while(|open| open.block != Block::AtOnce);
        let sender = once.flat_map(|open| &open.steps).flat_map(Step::with_inner).find_map(Step::sender);
        let context = Context { actors: &self.scenario.actors, blocks: &blocks, sender };
        let line = line::line(text, &context)?;
        self.on_top &= match line {
            Line::Empty => self.scenario.about.is_empty(),
            Line::Comment(_) => true,
            _ => false,
        };
        match line {
            Line::Empty => {}
            Line::Comment(comment) => {
                if self.on_top {
                    let about = &mut self.scenario.about;
                    about.push_str(if about.is_empty() { "" } else { " " });
                    about.push_str(comment.trim());
                }
            }
            Line::Proves(version, ids) => {
                let cited = |at: &'a str, id: &str| Cited {
                    id: id.to_owned(),
                    line: self.number,
                    column: text.get(..text.len() - at.len()).unwrap_or(text).chars().count() + 1,
                };
                let ids: Vec<Cited> = ids.into_iter().map(|(at, id)| cited(at, id)).collect();
                match self.scenario.proves.iter_mut().find(|proof| proof.version == version) {
                    Some(proof) => proof.ids.extend(ids),
                    None => self.scenario.proves.push(Proof { version, ids }),
                }
            }
            Line::Actor(kind, name) => self.scenario.actors.push(Actor { name: name.to_owned(), kind }),
            Line::Needs(only, words) => {
                let needs = words.into_iter().map(|word| Need { word: word.to_owned(), only });
                self.scenario.needs.extend(needs);
            }
            Line::Promises(words) => self.scenario.promises.extend(words.into_iter().map(str::to_owned)),
            Line::Duty(duty) => self.scenario.duty = duty,
            Line::OpenBlock(block) => {
                if let Block::Repeat(Times::Bound(name)) = &block
                    && !self.is_bound(name)
                {
                    return Err(unbound(text, name));
                }
                let bound = self.bound.clone();
                if matches!(block, Block::Repeat(_)) {
                    self.bound.insert(variables::ROUND.to_owned());
                }
                let (line, text) = (self.number, text.trim().to_owned());
                self.blocks.push(Open { block, line, text, steps: Vec::new(), bound });
            }
            Line::CloseBlock => {
                if let Some(Open { block, line, text, steps, bound }) = self.blocks.pop() {
                    let action = match block {
                        Block::AnyOrder => Action::AnyOrder(steps),
                        Block::AtOnce => Action::AtOnce(steps),
                        Block::Repeat(times) => {
                            self.bound = bound;
                            Action::Repeat(times, steps)
                        }
                    };
                    self.add(Step { line, text, only: None, duty: Duty::Must, action });
                }
            }
            Line::Step(step) => {
                let step = Step { line: self.number, ..step };
                self.check_variables(&step).map_err(|name| unbound(text, &name))?;
                self.add(step);
            }
        }
        Ok(())
    }

    fn add(&mut self, step: Step) {
        match self.blocks.last_mut() {
            Some(open) => open.steps.push(step),
            None => self.scenario.steps.push(step),
        }
    }

    /// A `$name` is bound by a `<` step before anything else uses it; otherwise says which is not.
    fn check_variables(&mut self, step: &Step) -> Result<(), String> {
        let (fields, binds): (&[FieldText], bool) = match &step.action {
            Action::Send { what: Send::Packet(packet), .. } => (&packet.fields, false),
            Action::Expect(expect) => match &expect.what {
                Expected::Packet(packet) => (&packet.fields, true),
                Expected::Close(_) | Expected::Silence(_) => return Ok(()),
            },
            _ => return Ok(()),
        };
        for field in fields {
            for value in &field.values {
                match value {
                    Expression::Variable(name) if binds && !field.negated && field.values.len() == 1 => {
                        self.bound.insert(name.clone());
                    }
                    _ => {
                        if let Some(name) = value.names().find(|name| !self.is_bound(name)) {
                            return Err(name.clone());
                        }
                        if value.has_scram() && !self.is_bound(variables::PASSWORD) {
                            return Err(variables::PASSWORD.to_owned());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The target's credentials are there where they are needed.
    fn is_bound(&self, name: &str) -> bool {
        let needs_credentials = self.scenario.needs.iter().any(|need| need.word == "passwords");
        self.bound.contains(name)
            || needs_credentials && [variables::USERNAME, variables::PASSWORD].contains(&name)
    }

    fn finish(self) -> Result<Scenario, String> {
        if !self.blocks.is_empty() {
            Err("`}`".to_owned())
        } else if self.scenario.proves.is_empty() {
            Err("a line `proves VERSION [id]` somewhere above".to_owned())
        } else if !self.scenario.steps.iter().flat_map(Step::with_inner).any(Step::expects) {
            Err("a `<` step: this scenario cannot fail".to_owned())
        } else {
            Ok(self.scenario)
        }
    }
}

/// Nothing above binds this `$name`.
fn unbound<'a>(text: &'a str, name: &str) -> Wrong<'a> {
    let expected = match name {
        variables::USERNAME | variables::PASSWORD => "`needs passwords` above, for this $name",
        variables::ROUND => "`repeat N {` around this $name",
        _ => "a $name that a `<` step above has bound",
    };
    let at = text.find(&format!("${name}")).and_then(|at| text.get(at..)).unwrap_or(text);
    Wrong { at, expected: expected.to_owned() }
}

#[cfg(test)]
mod tests;
