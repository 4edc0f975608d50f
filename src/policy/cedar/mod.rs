//! Cedar, the second language (`policy.md` §7).
//!
//! A policy that fails is skipped by the engine, and with it a `forbid`: so here every failure of any policy
//! is a failure of all. The engine cannot be told to stop, but its work is bounded by the sizes of the policy
//! and of what it is told. That bound is computed before, in steps like those of Rego, and a request over it
//! is refused without being evaluated.

mod admission;
mod lint;
mod request;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cedar_policy::{Authorizer, Decision, PolicyId, PolicySet};

use self::admission::{Cost, Statement};
use super::engine::{
    Because, Checked, Evaluation, Failure, Input, Limits, Lines, NotAdmitted, Source, Verdict,
};

/// What it was read as.
pub(super) const DIALECT: &str = "cedar";

/// A compiled policy: one or several statements that decide together.
#[derive(Debug)]
pub(super) struct Program {
    /// The statements, and the lines that they begin at.
    lines: Vec<(PolicyId, u32)>,
    policies: PolicySet,
    cost: Cost,
}

/// Admits and compiles `source`. A panic of the parser refuses the text.
pub(super) fn compile(source: &Source<'_>) -> Result<Program, NotAdmitted> {
    guarded(|| compiled(&admission::statements(source)?))
}

/// What an author should look at again. Cedar has no functions that a policy may not call.
pub(super) fn check(source: &Source<'_>) -> Result<Checked, NotAdmitted> {
    let findings = guarded(|| {
        let statements = admission::statements(source)?;
        compiled(&statements)?;
        Ok(lint::lint(&statements))
    })?;
    Ok(Checked { dialect: DIALECT, findings, builtins: Vec::new() })
}

/// The stack on which a text is read. Whatever is admitted nests no deeper than its bounds, but a level
/// takes tens of kilobytes where the engine was built without optimization.
const STACK: usize = 32 * 1_024 * 1_024;
/// What must be left of the stack for a policy to be asked on it. With less there is another. Below its
/// own bound the engine answers with an error, which refuses.
const LEFT: usize = 1_024 * 1_024;

/// Reads on a stack of its own, and makes a refusal of a panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, NotAdmitted>) -> Result<T, NotAdmitted> {
    stacker::maybe_grow(STACK, STACK, || catch_unwind(AssertUnwindSafe(work))).unwrap_or_else(
        |_panic| {
            let what = "the engine broke on it".into();
            Err(NotAdmitted { because: Because::Compile, what, rule: None, line: None })
        },
    )
}

fn compiled(statements: &[Statement]) -> Result<Program, NotAdmitted> {
    let cost = admission::cost(statements)?;
    let (mut policies, mut lines) = (PolicySet::new(), Vec::new());
    for statement in statements {
        policies.add(statement.policy.clone()).map_err(|error| statement.unusable(&error))?;
        lines.push((statement.policy.id().clone(), statement.line));
    }
    Ok(Program { lines, policies, cost })
}

impl Program {
    /// Asks all statements about `input`.
    pub(super) fn evaluate(&self, input: &Input, limits: &Limits<'_>) -> Evaluation {
        self.asked(input, limits).0
    }

    /// The same, with the lines of the statements that decided.
    pub(super) fn traced(&self, input: &Input, limits: &Limits<'_>) -> (Evaluation, Lines) {
        let (evaluation, decided) = self.asked(input, limits);
        let mut lines = Lines::default();
        for (statement, line) in &self.lines {
            let has_decided = decided.contains(statement);
            let to = if has_decided { &mut lines.evaluated } else { &mut lines.left };
            to.insert(*line);
        }
        (evaluation, lines)
    }

    fn asked(&self, input: &Input, limits: &Limits<'_>) -> (Evaluation, Vec<PolicyId>) {
        let steps = self.cost.of(input.value());
        let ended = |outcome, fault: Option<&str>| Evaluation {
            outcome,
            steps,
            fault: fault.map(Into::into),
        };
        if steps > limits.steps {
            return (ended(Err(Failure::Budget), None), Vec::new());
        }
        let ask = || catch_unwind(AssertUnwindSafe(|| self.ask(input)));
        match stacker::maybe_grow(LEFT, STACK, ask) {
            Ok(Ok((verdict, decided))) => (ended(Ok(verdict), None), decided),
            Ok(Err(fault)) => (ended(Err(Failure::Engine), Some(&fault)), Vec::new()),
            Err(_panic) => {
                (ended(Err(Failure::Engine), Some("the engine broke on it")), Vec::new())
            }
        }
    }

    fn ask(&self, input: &Input) -> Result<(Verdict, Vec<PolicyId>), String> {
        let Some((request, entities)) = request::of(input.value())? else {
            return Ok((Verdict::Undefined, Vec::new()));
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string());
        }
        let decided = response.diagnostics().reason().cloned().collect();
        Ok(match response.decision() {
            Decision::Allow => (Verdict::True, decided),
            Decision::Deny => (Verdict::False, decided),
        })
    }
}

#[cfg(test)]
mod tests;
