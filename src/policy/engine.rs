//! One policy in one language: admitted, compiled, evaluated (`policy.md` §5 and §7).
//!
//! The engines are foreign code, and the texts are written by whoever could convince an issuer. So a text
//! is *admitted* first, by our own reading of it (§5.1); what runs is counted in steps, and can be told to
//! stop. Whatever is not the JSON boolean `true` is a refusal, an engine's failure among it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

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
    /// This build, or this issuer, does not have the language.
    Language,
    /// It does not parse.
    Syntax,
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for NotAdmitted {}

/// What a policy is asked about: the `input` object of one request (§4), made once and shared by all the
/// policies of the request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Input(Arc<Value>);

impl Input {
    /// The object as policies see it. Integers stay exact; `environment.now_ns` is what the time is.
    pub fn new(value: Value) -> Self {
        Self(Arc::new(value))
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// What bounds one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// The steps that it may take. Counted, not timed: the same policy on the same input ends in the same way.
    pub steps: u64,
    /// Set from outside to end it: the back-stop for time.
    pub stop: Option<&'a AtomicBool>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The verdict, or why there is none.
    pub outcome: Result<Verdict, Failure>,
    /// The steps it took, to the granularity of the engine's counting.
    pub steps: u64,
}

/// A policy that was admitted and compiled. Shared by all who carry the same text; evaluation changes
/// nothing in it.
#[derive(Debug)]
pub struct Policy {
    digest: [u8; 32],
    dialect: &'static str,
    engine: Engine,
}

/// The engines that are built in.
#[derive(Clone, Copy, Debug)]
enum Engine {}

/// Admits and compiles `source`. May take milliseconds: not for a thread that serves.
pub fn compile(source: &Source<'_>) -> Result<Arc<Policy>, NotAdmitted> {
    Err(NotAdmitted {
        because: Because::Language,
        what: format!("{:?} is not built in", source.language).into(),
        rule: None,
        line: None,
    })
}

impl Policy {
    /// SHA-256 of the text: what an audit record names it by.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What it was read as: `rego.v1`, `rego.v0` or `cedar`.
    pub const fn dialect(&self) -> &'static str {
        self.dialect
    }

    /// Asks the policy about `input`.
    pub fn evaluate(&self, _input: &Input, _limits: &Limits<'_>) -> Evaluation {
        match self.engine {}
    }
}
