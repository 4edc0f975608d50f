//! One policy in one language: admitted, compiled, evaluated (`policy.md` §5 and §7).
//!
//! The engines are foreign code, and the texts are written by whoever could convince an issuer. So a text
//! is *admitted* first, by our own reading of it (§5.1); what runs is counted in steps, and can be told to
//! stop. Whatever is not the JSON boolean `true` is a refusal, an engine's failure among it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

#[cfg(feature = "cedar")]
use super::cedar;
use super::rego::{self, Document};
use crate::model::json;
use crate::token::hash::sha256;

/// The language that a policy may be written in, as its issuer is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Cedar (§7).
    Cedar,
    /// Rego as Open Policy Agent 1.0 reads it; a text that is none, read as the language was before
    /// (§5, rule 2: only where the issuer sets `rego_v0`).
    RegoV0,
    /// Rego as Open Policy Agent 1.0 reads it.
    RegoV1,
}

/// Who wrote a policy, which decides what it may use (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It came with a token, or is named by one: written by an agent, approved by an issuer.
    Carried,
    /// The operator's own file.
    Local,
}

/// A policy as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it is written in.
    pub language: Language,
    /// Who wrote it.
    pub class: Class,
    /// The rule that decides: its name, or its full path `data.<package>.<rule>`. Cedar has none.
    pub entry_point: &'a str,
    /// The text.
    pub text: &'a str,
}

impl Source<'_> {
    /// What a policy is remembered under: SHA-256 over language, class, entry point and text.
    pub fn key(&self) -> [u8; 32] {
        let kind: &[u8] = match (self.language, self.class) {
            (Language::Cedar, Class::Carried) => b"cedar carried",
            (Language::Cedar, Class::Local) => b"cedar local",
            (Language::RegoV0, Class::Carried) => b"rego.v0 carried",
            (Language::RegoV0, Class::Local) => b"rego.v0 local",
            (Language::RegoV1, Class::Carried) => b"rego.v1 carried",
            (Language::RegoV1, Class::Local) => b"rego.v1 local",
        };
        // Each part but the last is closed by a byte that UTF-8 does not have: no two sources are one key.
        sha256(
            &[kind, b"\xff", self.entry_point.as_bytes(), b"\xff", self.text.as_bytes()].concat(),
        )
    }
}

/// What the operator's own policies find under `data`. Policies of tokens find nothing there (§5, rule 4).
#[derive(Clone, Debug)]
pub struct Data {
    members: Map<String, Value>,
    sha256: [u8; 32],
}

impl Data {
    /// Reads a JSON object; `None` where `text` is none, or has a number that would not be kept as it is.
    pub fn read(text: &[u8]) -> Option<Self> {
        let members = json::parse_object(text, MAX_DATA_DEPTH).ok()?;
        let is_exact = members.values().all(json::is_exact);
        is_exact.then(|| Self { members, sha256: sha256(text) })
    }

    pub(super) const fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

/// How deep data may nest.
const MAX_DATA_DEPTH: usize = 32;

/// A policy as it was written, kept until it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it is written in.
    pub language: Language,
    /// Who wrote it.
    pub class: Class,
    /// The rule that decides.
    pub entry_point: Box<str>,
    /// The text.
    pub text: Arc<str>,
}

impl Written {
    /// As an engine takes it.
    pub fn source(&self) -> Source<'_> {
        let Self { language, class, entry_point, text } = self;
        Source { language: *language, class: *class, entry_point, text }
    }
}

/// Why a policy was not admitted. For the audit record and for authors: what was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// The rule of the profile that it breaks.
    pub because: Because,
    /// What breaks it: the name of a builtin, a rule, an import; or what the parser says.
    pub what: Box<str>,
    /// The rule of the policy in which it stands.
    pub rule: Option<Box<str>>,
    /// The line, counted from 1.
    pub line: Option<u32>,
}

/// A rule of the profile (§5, §5.1, §7) that a policy can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It calls a function that policies of its class may not call, or that there is not.
    Builtin,
    /// The engine cannot compile it.
    Compile,
    /// It refers to data. There is none: a policy sees its input.
    Data,
    /// It nests too deeply.
    Depth,
    /// It has no rule of the name that is asked, or only one that gives no single value.
    EntryPoint,
    /// It could build a value from itself too many times over.
    Growth,
    /// It imports something else than the keywords of the language and parts of `input`.
    Import,
    /// This build does not have the language.
    Language,
    /// A pattern, a format or a layout is not written out, or is too long.
    Pattern,
    /// A rule leads back to itself.
    Recursion,
    /// A local name is a rule's too.
    Shadow,
    /// It is too long, or has too many rules.
    Size,
    /// It does not parse.
    Syntax,
    /// It replaces what other rules see.
    With,
}

impl Because {
    /// What to do about it, where that is not said already.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Builtin => {
                "the functions that there are stand in `policies/README.md`; matching is better left to the operation"
            }
            Self::Data => {
                "put what is constant into a rule of the policy; policies of this gate have `data`, tested with `--class local --data FILE`"
            }
            Self::Depth => "split it into rules of their own",
            Self::EntryPoint => {
                "write `default allow := false` and `allow if { … }`, or name another rule"
            }
            Self::Growth => "build the value once, and compare its parts",
            Self::Import => "`import rego.v1` and `import input.…` are all there is",
            Self::Pattern => "write the pattern where it is used, as a literal of at most 1 KiB",
            Self::Recursion => "a list is walked with `some x in …` or `every x in …`",
            Self::Shadow => "give it a name of its own",
            Self::With => "test with cases beside the policy: `opgate policy test --help`",
            Self::Compile | Self::Language | Self::Size | Self::Syntax => "",
        }
    }
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, "rule `{rule}`: ")?;
        }
        let what = &self.what;
        match self.because {
            Because::Builtin => write!(f, "`{what}` is not a function that this policy may call"),
            Because::Compile
            | Because::Depth
            | Because::Growth
            | Because::Size
            | Because::Syntax => f.write_str(what),
            Because::Data => {
                write!(f, "`{what}` is outside of this policy: it sees `input` and its own rules")
            }
            Because::EntryPoint => write!(f, "there is no rule `{what}` that gives one value"),
            Because::Import => write!(f, "`{what}` cannot be imported"),
            Because::Language => write!(f, "{what} is not a language of this build"),
            Because::Pattern => {
                write!(f, "the pattern, format or layout of `{what}` is written out, and short")
            }
            Because::Recursion => write!(f, "{what} leads back to itself"),
            Because::Shadow => write!(
                f,
                "`{what}` is the name of a rule, an import or a function, and cannot be another"
            ),
            Because::With => {
                write!(f, "`{what}` is not used: it would replace what other rules see")
            }
        }
    }
}

impl std::error::Error for NotAdmitted {}

/// What a policy is asked about: the `input` object of one request (§4), made once and shared by all the
/// policies of the request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Input(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    value: Value,
    /// The same for the Rego engine, made when the first policy asks.
    document: OnceLock<Document>,
}

impl Input {
    /// The object as policies see it. Integers stay exact; `environment.now_ns` is what the time is.
    pub fn new(value: Value) -> Self {
        Self(Arc::new(Shared { value, document: OnceLock::new() }))
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// Whether so much is told that a function of an engine, which nothing can stop before its end, may take
    /// long: nothing for a thread that serves.
    pub fn is_large(&self) -> bool {
        !holds_within(&self.0.value, &mut { QUICK_SIZE })
    }

    /// `environment.now_ns`: what `time.now_ns()` returns, so that a decision can be replayed.
    pub(super) fn now_ns(&self) -> Option<u64> {
        self.0.value.pointer("/environment/now_ns")?.as_u64()
    }

    pub(super) fn document(&self) -> &Document {
        self.0.document.get_or_init(|| Document::of(&self.0.value))
    }
}

/// The most octets of text and members of an input that is asked about on a thread that serves.
const QUICK_SIZE: usize = 64 * 1_024;

/// Whether `value` takes no more than what is `left`, which is told what it takes.
fn holds_within(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => 0,
    };
    let Some(rest) = left.checked_sub(own.saturating_add(1)) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| holds_within(item, left)),
        Value::Object(members) => members.values().all(|member| holds_within(member, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// What bounds one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The steps that it may take. Counted, not timed: the same policy on the same input ends in the same way.
    pub steps: u64,
    /// Set from outside to end it: the back-stop for time.
    pub stop: Option<&'a Arc<AtomicBool>>,
}

impl Limits<'_> {
    /// The steps that a policy may take on a thread that serves: about a quarter of a millisecond.
    pub const QUICK: u64 = 2_000;
    /// The steps that a policy may take (§5). A step costs the engine about a tenth of a microsecond: this
    /// many end within 50 ms (R-POL-007).
    pub const STEPS: u64 = 200_000;
}

/// What a policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The JSON boolean `false`.
    False,
    /// Some other value. A refusal, recorded as `policy_non_boolean`.
    NonBoolean,
    /// The JSON boolean `true`: the only yes.
    True,
    /// Nothing: the rule has no value for this input.
    Undefined,
}

/// Why a policy came to no verdict. Each is a refusal with 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The steps were used up: `policy_budget`.
    Budget,
    /// A builtin failed, values conflicted, or the engine broke.
    Engine,
    /// It was stopped from outside: `policy_timeout`.
    Timeout,
}

/// How an evaluation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The verdict, or why there is none.
    pub outcome: Result<Verdict, Failure>,
    /// The steps it took, to the granularity of the engine's counting.
    pub steps: u64,
    /// What the engine said when it failed: for authors, never for callers.
    pub fault: Option<Box<str>>,
}

/// A policy that was admitted and compiled. Shared by all who carry the same text; evaluation changes
/// nothing in it.
#[derive(Debug)]
pub struct Policy {
    digest: [u8; 32],
    text: Box<str>,
    data: Option<[u8; 32]>,
    program: Program,
}

/// By the engine of its language.
#[derive(Debug)]
enum Program {
    #[cfg(feature = "cedar")]
    Cedar(Box<cedar::Program>),
    Rego(Box<rego::Program>),
}

/// Whether policies in Cedar can be asked: only in a build with the feature `cedar`.
pub const HAS_CEDAR: bool = cfg!(feature = "cedar");

/// Admits and compiles `source`. May take milliseconds: not for a thread that serves.
pub fn compile(source: &Source<'_>) -> Result<Arc<Policy>, NotAdmitted> {
    compile_with(source, None)
}

/// The same for a policy of the operator's own, which may refer to `data`.
pub fn compile_with(source: &Source<'_>, data: Option<&Data>) -> Result<Arc<Policy>, NotAdmitted> {
    let program = match source.language {
        Language::RegoV0 | Language::RegoV1 => {
            Program::Rego(Box::new(rego::compile(source, data)?))
        }
        #[cfg(feature = "cedar")]
        Language::Cedar => Program::Cedar(Box::new(cedar::compile(source)?)),
        #[cfg(not(feature = "cedar"))]
        Language::Cedar => return Err(no_cedar()),
    };
    let digest = sha256(source.text.as_bytes());
    let text = source.text.into();
    Ok(Arc::new(Policy { digest, text, data: data.map(|data| data.sha256), program }))
}

/// Without the feature `cedar`.
#[cfg(not(feature = "cedar"))]
fn no_cedar() -> NotAdmitted {
    NotAdmitted { because: Because::Language, what: "cedar".into(), rule: None, line: None }
}

/// A policy as its author should see it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it was read as.
    pub dialect: &'static str,
    /// What is worth a second look, in the order of the lines.
    pub findings: Vec<Finding>,
    /// The functions that it calls.
    pub builtins: Vec<Box<str>>,
}

/// Something in a policy that is worth a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, counted from 1.
    pub line: u32,
    /// What should be done.
    pub advice: Advice,
    /// The rule or the expression.
    pub what: Box<str>,
}

/// What an author should look at (§5.2, §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It permits without a look at which action is asked for: Cedar's [`Self::Unbounded`].
    AnyAction,
    /// Cedar's [`Self::NoLowerBound`].
    BelowZero,
    /// What no rule decides is allowed.
    DefaultAllow,
    /// There is no default, so that the answer can be undefined. It refuses all the same.
    NoDefault,
    /// A bound from above without one from below.
    NoLowerBound,
    /// Nothing permits, so that everything is refused.
    NoPermit,
    /// It allows without a look at which operation is asked for.
    Unbounded,
    /// No rule that decides comes to use it.
    Unreachable,
}

impl Advice {
    /// The stable word for it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AnyAction | Self::Unbounded => "unbounded",
            Self::BelowZero | Self::NoLowerBound => "no_lower_bound",
            Self::DefaultAllow => "default_allow",
            Self::NoDefault => "no_default",
            Self::NoPermit => "no_permit",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether it may let through what nobody meant to.
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::AnyAction
                | Self::BelowZero
                | Self::DefaultAllow
                | Self::NoLowerBound
                | Self::Unbounded
        )
    }

    /// What to do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::AnyAction => "name it in the scope: `action == Action::\"…\"`",
            Self::BelowZero => "write a comparison with 0 beside it",
            Self::DefaultAllow => "write `default allow := false`, and say what is allowed",
            Self::NoDefault => {
                "write `default allow := false`, so that a no is told from a mistake"
            }
            Self::NoLowerBound => "write `is_number(x); x >= 0` beside it",
            Self::NoPermit => "write a `permit` for what is allowed",
            Self::Unbounded => "compare `input.action`",
            Self::Unreachable => "use it in the rule that decides, or take it out",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match self.advice {
            Advice::AnyAction => write!(f, "this `{what}` is for any action"),
            Advice::BelowZero => write!(f, "`{what}` may be any negative number"),
            Advice::DefaultAllow => write!(f, "`{what}` is true wherever no rule says otherwise"),
            Advice::NoDefault => write!(f, "`{what}` has no default"),
            Advice::NoLowerBound => {
                write!(f, "`{what}` holds for null, for false and for every negative number too")
            }
            Advice::NoPermit => f.write_str("nothing is permitted, so that everything is refused"),
            Advice::Unbounded => write!(f, "this rule for `{what}` allows any operation"),
            Advice::Unreachable => write!(f, "`{what}` has no part in the decision"),
        }
    }
}

/// Which lines of a policy an evaluation came to.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Those with an expression that was evaluated.
    pub evaluated: BTreeSet<u32>,
    /// Those with one that was not.
    pub left: BTreeSet<u32>,
}

/// Compiles `source` as [`compile`] does, and says what its author should look at again.
pub fn check(source: &Source<'_>) -> Result<Checked, NotAdmitted> {
    check_with(source, None)
}

/// The same for a policy of the operator's own, which may refer to `data`.
pub fn check_with(source: &Source<'_>, data: Option<&Data>) -> Result<Checked, NotAdmitted> {
    match source.language {
        Language::RegoV0 | Language::RegoV1 => rego::lint(source, data),
        #[cfg(feature = "cedar")]
        Language::Cedar => cedar::check(source),
        #[cfg(not(feature = "cedar"))]
        Language::Cedar => Err(no_cedar()),
    }
}

/// The functions that a Rego policy of `class` may call.
pub fn builtins(class: Class) -> impl Iterator<Item = &'static str> {
    rego::builtins(class)
}

impl Policy {
    /// SHA-256 of the text: what an audit record names it by.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The text.
    pub const fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the file that is its `data`, where it has one.
    pub const fn data(&self) -> Option<&[u8; 32]> {
        self.data.as_ref()
    }

    /// What it was read as: `rego.v1`, `rego.v0` or `cedar`.
    pub const fn dialect(&self) -> &'static str {
        match &self.program {
            #[cfg(feature = "cedar")]
            Program::Cedar(_) => cedar::DIALECT,
            Program::Rego(program) => program.dialect(),
        }
    }

    /// Asks the policy about `input`. Ends when the steps are used up: on a thread that serves, grant few.
    pub fn evaluate(&self, input: &Input, limits: &Limits<'_>) -> Evaluation {
        match &self.program {
            #[cfg(feature = "cedar")]
            Program::Cedar(program) => program.evaluate(input, limits),
            Program::Rego(program) => program.evaluate(input, limits),
        }
    }

    /// The same, with the lines that it came to: for authors.
    pub fn traced(&self, input: &Input, limits: &Limits<'_>) -> (Evaluation, Lines) {
        match &self.program {
            #[cfg(feature = "cedar")]
            Program::Cedar(program) => program.traced(input, limits),
            Program::Rego(program) => program.traced(input, limits),
        }
    }
}
