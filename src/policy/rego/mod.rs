//! Rego, through an engine that is bounded from outside (`policy.md` §5, §5.1).
//!
//! The interpreter of the engine, never its virtual machine: in the latter a builtin that fails inside of
//! a rule that denies lets the rule fall, and so allows. Errors of builtins are strict for the same reason.

mod admission;
mod builtins;
mod lint;
mod reading;
mod value;
mod work;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Error;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::engine::{
    Because, Checked, Class, Data, Evaluation, Failure, Input, Limits, Lines, NotAdmitted, Source,
    Verdict,
};

/// What the engine calls the text in its messages.
const NAME: &str = "policy";

/// The input of a request as the engine sees it.
#[derive(Clone, Debug)]
pub(super) struct Document(Value);

impl Document {
    pub(super) fn of(input: &serde_json::Value) -> Self {
        Self(value::of(input))
    }
}

/// A compiled policy: an engine that holds one module and nothing else, cloned for each evaluation. Two
/// policies of one package never meet (§5, rule 4).
#[derive(Debug)]
pub(super) struct Program {
    engine: Engine,
    path: String,
    is_v0: bool,
    asks_time: bool,
}

/// The functions that a policy of `class` may call.
pub(super) fn builtins(class: Class) -> impl Iterator<Item = &'static str> {
    builtins::admitted(class)
}

/// Admits and compiles `source`. A panic of the parser or the compiler refuses the text.
pub(super) fn compile(source: &Source<'_>, data: Option<&Data>) -> Result<Program, NotAdmitted> {
    let attempt = catch_unwind(AssertUnwindSafe(|| compiled(source, data)));
    attempt.unwrap_or_else(|_| Err(unusable("the engine broke on it", None)))
}

/// What an author should look at again, and the functions that are called.
pub(super) fn lint(source: &Source<'_>, data: Option<&Data>) -> Result<Checked, NotAdmitted> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        compiled(source, data)?;
        let admitted = admission::admit(source, data)?;
        let entry_point = admitted.path.rsplit('.').next().unwrap_or_default();
        let findings = lint::lint(&admitted, entry_point);
        let builtins = admitted.builtins().into_iter().map(Into::into).collect();
        let dialect = if admitted.is_v0 { "rego.v0" } else { "rego.v1" };
        Ok(Checked { dialect, findings, builtins })
    }));
    attempt.unwrap_or_else(|_| Err(unusable("the engine broke on it", None)))
}

fn unusable(what: impl Into<Box<str>>, line: Option<u32>) -> NotAdmitted {
    NotAdmitted { because: Because::Compile, what: what.into(), rule: None, line }
}

fn compiled(source: &Source<'_>, data: Option<&Data>) -> Result<Program, NotAdmitted> {
    let admitted = admission::admit(source, data)?;
    let mut engine = Engine::new();
    engine.set_rego_v0(admitted.is_v0);
    let refused = |error: Error| unusable(admission::message(&error), admission::line(&error));
    for (name, value) in data.into_iter().flat_map(Data::members) {
        let member = BTreeMap::from([(Value::from(name.as_str()), value::of(value))]);
        engine.add_data(Value::from(member)).map_err(refused)?;
    }
    engine.add_policy(NAME.to_owned(), source.text.to_owned()).map_err(refused)?;
    let called = admitted.builtins();
    for name in &called {
        if let Some((arity, substitute)) = builtins::substitute(name, &admitted.module.package.span)
        {
            engine.add_extension((*name).to_owned(), arity, substitute).map_err(refused)?;
        }
    }
    engine.compile_with_entrypoint(&admitted.path.as_str().into()).map_err(refused)?;
    Ok(Program {
        asks_time: called.contains("time.now_ns"),
        engine,
        path: admitted.path,
        is_v0: admitted.is_v0,
    })
}

impl Program {
    pub(super) const fn dialect(&self) -> &'static str {
        if self.is_v0 { "rego.v0" } else { "rego.v1" }
    }

    /// Asks the entry point about `input`. A panic is a failure of this evaluation and of no other.
    pub(super) fn evaluate(&self, input: &Input, limits: &Limits<'_>) -> Evaluation {
        self.asked(input, limits, &mut self.engine.clone())
    }

    /// The same, with the lines that were evaluated and those that were not.
    pub(super) fn traced(&self, input: &Input, limits: &Limits<'_>) -> (Evaluation, Lines) {
        let mut engine = self.engine.clone();
        engine.set_enable_coverage(true);
        let evaluation = self.asked(input, limits, &mut engine);
        let file =
            engine.get_coverage_report().ok().and_then(|report| report.files.into_iter().next());
        let lines = file.map(|file| Lines { evaluated: file.covered, left: file.not_covered });
        (evaluation, lines.unwrap_or_default())
    }

    fn asked(&self, input: &Input, limits: &Limits<'_>, engine: &mut Engine) -> Evaluation {
        let Some(budget) = work::budget(limits.steps) else {
            return Evaluation { outcome: Err(Failure::Engine), steps: 0, fault: None };
        };
        let (result, spent) = work::measured(limits.stop, || {
            catch_unwind(AssertUnwindSafe(|| self.ask(input, budget, engine)))
        });
        let outcome = match &result {
            _ if spent.stopped => Err(Failure::Timeout),
            _ if spent.steps > limits.steps => Err(Failure::Budget),
            Ok(Ok(Value::Bool(true))) => Ok(Verdict::True),
            Ok(Ok(Value::Bool(false))) => Ok(Verdict::False),
            Ok(Ok(Value::Undefined)) => Ok(Verdict::Undefined),
            Ok(Ok(_)) => Ok(Verdict::NonBoolean),
            Ok(Err(_)) | Err(_) => Err(Failure::Engine),
        };
        let fault = match result {
            Ok(Err(error)) => Some(admission::message(&error).into()),
            Ok(Ok(_)) => None,
            Err(_) => Some("the engine broke on it".into()),
        };
        Evaluation { outcome, steps: spent.steps, fault }
    }

    fn ask(
        &self,
        input: &Input,
        budget: ExecutionTimerConfig,
        engine: &mut Engine,
    ) -> anyhow::Result<Value> {
        engine.set_execution_timer_config(budget);
        if self.asks_time {
            let now = input.now_ns();
            let tell = move |_| now.map(Value::from).ok_or_else(|| Error::msg("no time"));
            engine.add_extension("time.now_ns".to_owned(), 0, Box::new(tell))?;
        }
        engine.set_input(input.document().0.clone());
        engine.eval_rule(self.path.clone())
    }
}
