//! Why a policy did not say yes: its lines that were evaluated, and what of the call they looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Bench;
use crate::cli::output::escaped;
use crate::cli::policy::trace;
use crate::model::consulted::Consulted;
use crate::policy::engine::{Limits, Policy};
use crate::proxy::judge::Judgement;

/// What a policy did that refused, or would have.
#[derive(Debug)]
pub(super) struct Account {
    carrier: &'static str,
    name: Option<Box<str>>,
    place: Option<usize>,
    dialect: &'static str,
    result: &'static str,
    /// The message of the engine, where it failed.
    fault: Option<Box<str>>,
    lines: String,
    values: BTreeMap<String, Option<Value>>,
}

/// Of every policy that did not say yes to a call that is refused, asked again and watched.
pub(super) fn accounts(judged: &Judgement<'_>, bench: &Bench) -> Vec<Account> {
    let refusing = judged.consulted.iter().filter(|one| !one.allowed());
    refusing.filter_map(|one| account(one, judged, bench)).collect()
}

fn account(asked: &Consulted, judged: &Judgement<'_>, bench: &Bench) -> Option<Account> {
    let told = judged.told.iter().find(|told| told.sha256 == asked.input)?;
    let policy = policy(asked, judged, bench)?;
    let limits = Limits { steps: Limits::STEPS, stop: None };
    let (evaluation, lines) = policy.traced(&told.input, &limits);
    Some(Account {
        carrier: asked.carrier,
        name: asked.id.clone(),
        place: asked.place,
        dialect: asked.dialect,
        result: asked.result,
        fault: evaluation.fault,
        lines: trace::lines(&policy, &lines),
        values: trace::values(&policy, &lines, told.input.value()),
    })
}

/// One of the operator's own, or one that was compiled for this call.
fn policy(asked: &Consulted, judged: &Judgement<'_>, bench: &Bench) -> Option<Arc<Policy>> {
    let local = judged.call.as_ref().map(|call| &call.resource().local_policies);
    let mut local = local.into_iter().flatten().map(|local| &local.policy);
    let is_meant =
        |policy: &Policy| (policy.digest(), policy.data()) == (&asked.sha256, asked.data.as_ref());
    let own = local.find(|policy| is_meant(policy));
    own.cloned().or_else(|| bench.facts.policy(&asked.sha256))
}

impl Account {
    pub(super) fn text(&self) -> String {
        let Self { carrier, dialect, result, lines, .. } = self;
        let name =
            self.name.as_deref().map_or_else(String::new, |name| format!(" `{}`", escaped(name)));
        let place = self.place.map_or_else(String::new, |place| format!(" {place}"));
        let mut text = format!("policy of {carrier}{place}{name} ({dialect}) said {result}\n");
        if let Some(fault) = &self.fault {
            text.extend(["      ", &escaped(fault), "\n"]);
        }
        text.push_str(lines);
        for (path, value) in &self.values {
            let value = value.as_ref().map_or_else(|| "absent".to_owned(), Value::to_string);
            text.extend(["      where ", path, " is ", &escaped(&value), "\n"]);
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "carrier": self.carrier, "id": self.name, "place": self.place, "dialect": self.dialect,
            "result": self.result, "fault": self.fault, "trace": self.lines, "input": self.values,
        })
    }
}
