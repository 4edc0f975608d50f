//! Which texts are admitted (`policy.md` §5, §5.1): bounded before anything of them is parsed.

use cedar_policy::{Policy, PolicyId, Template};
use serde_json::Value;

use crate::policy::engine::{Because, Class, NotAdmitted, Source};

/// The longest text that comes with a token or is named by one, and the longest of the operator's own.
const MAX_CARRIED: usize = 64 * 1_024;
const MAX_LOCAL: usize = 256 * 1_024;
/// The most statements.
const MAX_STATEMENTS: usize = 200;
/// How deep brackets may nest.
const MAX_DEPTH: usize = 32;
/// The most nodes of the trees of all statements together.
const MAX_NODES: u64 = 20_000;
/// The most operators, selectors and keywords in one statement: its tree is no deeper than that.
const MAX_OPERATORS: usize = 512;
/// Comparisons of a character or a member that are counted as one step.
const PER_STEP: u64 = 64;

/// One `permit` or `forbid`.
#[derive(Debug)]
pub(super) struct Statement {
    /// The line it begins at, counted from 1.
    pub(super) line: u32,
    pub(super) policy: Policy,
    /// It in the JSON form of the language, for everything that looks at it.
    pub(super) tree: Value,
}

impl Statement {
    pub(super) fn unusable(&self, error: &impl std::fmt::Display) -> NotAdmitted {
        refused(Because::Compile, error.to_string(), Some(self.line))
    }
}

fn refused(because: Because, what: impl Into<Box<str>>, line: Option<u32>) -> NotAdmitted {
    NotAdmitted { because, what: what.into(), rule: None, line }
}

/// Reads the statements of a text.
pub(super) fn statements(source: &Source<'_>) -> Result<Vec<Statement>, NotAdmitted> {
    let longest = match source.class {
        Class::Carried => MAX_CARRIED,
        Class::Local => MAX_LOCAL,
    };
    if source.text.len() > longest {
        return Err(refused(Because::Size, format!("longer than {longest} bytes"), None));
    }
    let pieces = split(source.text)?;
    if pieces.is_empty() {
        return Err(refused(Because::Syntax, "there is no `permit` and no `forbid`", None));
    }
    if pieces.len() > MAX_STATEMENTS {
        let what = format!("more than {MAX_STATEMENTS} statements");
        return Err(refused(Because::Size, what, None));
    }
    let mut statements = Vec::new();
    for (number, (line, text)) in pieces.into_iter().enumerate() {
        let id = PolicyId::new(format!("{} in line {line}", number + 1));
        let policy = Policy::parse(Some(id), text).map_err(|error| {
            let what = if Template::parse(None, text).is_ok() {
                "a template: nobody fills its slots".to_owned()
            } else {
                error.to_string()
            };
            refused(Because::Syntax, what, Some(line))
        })?;
        let tree = policy
            .to_json()
            .map_err(|error| refused(Because::Compile, error.to_string(), Some(line)))?;
        statements.push(Statement { line, policy, tree });
    }
    Ok(statements)
}

/// The texts of the statements, each with the line it begins at. Fails on what nests too deeply or says
/// too much at once for the stack of whoever reads or drops it.
fn split(text: &str) -> Result<Vec<(u32, &str)>, NotAdmitted> {
    let mut pieces = Vec::new();
    let (mut line, mut begun, mut start) = (1_u32, None, 0);
    let (mut depth, mut operators) = (0_usize, 0_usize);
    let mut rest = Tokens { text, at: 0 };
    while let Some((at, token)) = rest.advance() {
        if token != Token::Blank && begun.is_none() {
            (begun, start) = (Some(line), at);
        }
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Operator => operators += 1,
            Token::Other | Token::Blank => {}
            Token::End => {
                let piece = text.get(start..rest.at).unwrap_or_default();
                pieces.push((begun.take().unwrap_or(line), piece));
                (depth, operators) = (0, 0);
            }
        }
        if depth > MAX_DEPTH {
            let what = format!("brackets nest deeper than {MAX_DEPTH}");
            return Err(refused(Because::Depth, what, Some(line)));
        }
        if operators > MAX_OPERATORS {
            let what = format!("more than {MAX_OPERATORS} operators in one statement");
            return Err(refused(Because::Depth, what, Some(line)));
        }
        let passed = text.get(at..rest.at).unwrap_or_default();
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
    }
    match begun {
        None => Ok(pieces),
        Some(line) => Err(refused(Because::Syntax, "a statement ends with `;`", Some(line))),
    }
}

/// What a piece of text means to its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// White space or a comment.
    Blank,
    Close,
    /// `;`
    End,
    Open,
    /// A sign or a word, each of which may take another level of the tree.
    Operator,
    /// A string, a number, a comma, a colon.
    Other,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn advance(&mut self) -> Option<(usize, Token)> {
        let at = self.at;
        let rest = self.text.get(at..)?;
        let first = rest.chars().next()?;
        let while_it = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
        let (length, token) = match first {
            c if c.is_whitespace() => (while_it(char::is_whitespace), Token::Blank),
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), Token::Blank),
            '"' => (string(rest), Token::Other),
            '(' | '[' | '{' => (1, Token::Open),
            ')' | ']' | '}' => (1, Token::Close),
            ';' => (1, Token::End),
            ',' | ':' => (1, Token::Other),
            c if c.is_ascii_digit() => (while_it(is_of_word), Token::Other),
            c if is_of_word(c) => (while_it(is_of_word), Token::Operator),
            c => (c.len_utf8(), Token::Operator),
        };
        self.at = at.saturating_add(length);
        Some((at, token))
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a string with its quotes; one without an end goes to the end of the text.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at.saturating_add(1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// What a policy may cost to evaluate, by what it is told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Nodes of all its trees.
    nodes: u64,
    /// Characters of all patterns of `like`.
    patterns: u64,
}

/// The cost of all statements together.
pub(super) fn cost(statements: &[Statement]) -> Result<Cost, NotAdmitted> {
    let mut cost = Cost::default();
    for statement in statements {
        count(&statement.tree, &mut cost);
    }
    if cost.nodes > MAX_NODES {
        return Err(refused(Because::Size, format!("more than {MAX_NODES} nodes"), None));
    }
    Ok(cost)
}

fn count(tree: &Value, cost: &mut Cost) {
    cost.nodes += 1;
    match tree {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "pattern" {
                    let parts = member.as_array().map_or(0, Vec::len);
                    cost.patterns += u64::try_from(parts).unwrap_or(u64::MAX);
                }
                count(member, cost);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| count(item, cost)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Cost {
    /// The most steps that an evaluation with `input` takes: each node may compare all that there is, and
    /// each character of a pattern with each of the longest text.
    pub(super) fn of(self, input: &Value) -> u64 {
        let (members, longest) = extent(input);
        let compared = self.nodes.saturating_mul(members);
        let matched = self.patterns.saturating_mul(longest);
        let work = compared.saturating_add(matched) / PER_STEP;
        // What it is told is turned into values of the engine first.
        work.saturating_add(self.nodes).saturating_add(members)
    }
}

/// How many values there are, each with its text in pieces of 64 bytes, and how long the longest text is.
fn extent(value: &Value) -> (u64, u64) {
    let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (1, 0),
        Value::String(text) => (1 + length(text) / 64, length(text)),
        Value::Array(items) => items.iter().map(extent).fold((1, 0), both),
        Value::Object(members) => {
            members.iter().map(|(_, member)| extent(member)).fold((1, 0), both)
        }
    }
}

fn both((members, longest): (u64, u64), (more, other): (u64, u64)) -> (u64, u64) {
    (members.saturating_add(more), longest.max(other))
}
