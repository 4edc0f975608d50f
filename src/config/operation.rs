//! `[[resource.operation]]`, `[[resource.deny]]` and `[[resource.confirm]]`: which calls have a name, which
//! are never allowed, and which the person must have confirmed just now.

use std::path::PathBuf;

use http::Method;

use super::problem::Place;
use super::raw::Section;
use super::reading::Reading;
use super::value::{self, Wrong};
use super::{ConfirmRule, DenyRule, OperationRule, a2a, openapi};
use crate::model::authentication::Demand;
use crate::model::confirmation::{self, Wanted};
use crate::model::pattern::Pattern;
use crate::model::template::{self, Parameter};
use crate::operation::catalog::BodyUse;
use crate::operation::contract::Contract;
use crate::operation::openapi::Described;

/// Reads both, and holds them against each other.
pub(super) fn rules(
    resource: &Section<'_>,
    authentication: &Demand,
    confirmation: &confirmation::Demand,
    into: &mut Reading<'_>,
) -> Rules {
    let deny: Vec<DenyRule> = resource
        .tables("deny")
        .iter()
        .filter_map(|section| {
            let methods = methods(section, into);
            let line = into.problems.line(section.place().span.start);
            Some(DenyRule { methods, path: path(section, into)?, line })
        })
        .collect();
    let confirm = resource.tables("confirm");
    let confirm = confirm.iter().filter_map(|section| {
        let methods = methods(section, into);
        let max_age = section.duration("evidence_max_age");
        Some(ConfirmRule { methods, path: path(section, into)?, max_age })
    });
    let confirm = confirm.collect();
    let mut operations: Vec<OperationRule> = Vec::new();
    for section in resource.tables("operation") {
        if let Some(rule) = operation(&section, authentication, confirmation, into) {
            let place = section.place_of("path");
            conflicts(&rule, &operations, &place, into);
            denied(&rule, &deny, &place, into);
            operations.push(rule);
        }
    }
    if resource.switch("validate") && !resource.has("openapi") {
        let message = "there is no document to hold arguments against";
        into.problems.hint(&resource.place_of("validate"), message, "name one in `openapi`");
    }
    let demands = openapi::Demands { authentication, confirmation };
    let document = openapi::document(resource, demands, &mut operations, into);
    let is_elsewhere = resource.has("openapi") || a2a::is_spoken(resource);
    if document.is_none() && !resource.has("operation") && !is_elsewhere {
        let message = "has no operations, so that every call would be refused";
        let hint = "write `[[resource.operation]]`, or name a document in `openapi`";
        into.problems.hint(resource.place(), message, hint);
    }
    // Of a document that was not read, nothing is known.
    let is_whole = !resource.has("openapi") || operations.iter().any(|one| one.described.is_some());
    if is_whole {
        for section in resource.tables("deny").iter().chain(&resource.tables("confirm")) {
            idle(section, &operations, into);
        }
    }
    Rules { operations, deny, confirm, document }
}

/// What is denied or to be confirmed and is no operation: a slip of the pen here lets calls through.
fn idle(section: &Section<'_>, operations: &[OperationRule], into: &mut Reading<'_>) {
    let Some((text, place)) = section.text("path") else { return };
    let Ok(path) = Pattern::parse(text) else { return };
    let named: Vec<_> = section.texts("method").into_iter().map(|(method, _)| method).collect();
    let is_meant = |one: &&OperationRule| {
        let shares = |method: &Method| named.is_empty() || named.contains(&method.as_str());
        one.methods.iter().any(shares) && one.path.may_meet(&path)
    };
    if !operations.iter().any(|one| is_meant(&one)) {
        let message = format!("`{}` is no operation of this resource", value::shown(text));
        into.problems.warn(&place, message, "write method and path as an operation has them");
    }
}

/// What a resource allows and denies at all.
pub(super) struct Rules {
    pub(super) operations: Vec<OperationRule>,
    pub(super) deny: Vec<DenyRule>,
    pub(super) confirm: Vec<ConfirmRule>,
    /// The document that some of the operations come from.
    pub(super) document: Option<PathBuf>,
}

/// Takes the rule out of what is `written` that is for the same method and path as an operation of a
/// document: the file says what the operation demands, and the document how its parameters are called, and
/// that narrower paths of the document come before it. An error where they name it differently.
pub(super) fn take_written(
    described: &Described,
    written: &mut Vec<OperationRule>,
) -> Result<Option<OperationRule>, String> {
    let is_same = |rule: &OperationRule| {
        rule.path == described.pattern && rule.methods.contains(&described.method)
    };
    let Some(rule) = written.iter_mut().find(|rule| is_same(rule)) else { return Ok(None) };
    let named = name(rule, &described.method);
    if named != *described.action {
        let line = rule.line;
        return Err(format!("is `{}` there and `{named}` on line {line}", described.action));
    }
    let contract = described.contract.as_deref();
    if rule.body == BodyUse::Stream && contract.is_some_and(Contract::reads_body) {
        return Err(format!("is validated, and streams on line {}", rule.line));
    }
    rule.methods.retain(|method| *method != described.method);
    let taken = OperationRule {
        methods: vec![described.method.clone()],
        parameters: described.parameters.clone(),
        body: body_of(contract, rule.body),
        declared: described.declared.clone(),
        contract: described.contract.clone(),
        ..rule.clone()
    };
    written.retain(|rule| !rule.methods.is_empty());
    Ok(Some(taken))
}

/// A body that is validated is read, whatever else looks at it.
pub(super) fn body_of(contract: Option<&Contract>, written: BodyUse) -> BodyUse {
    if contract.is_some_and(Contract::reads_body) { BodyUse::Json } else { written }
}

/// A rule of the file comes before the document, so what a wider one covers there does nothing.
pub(super) fn check_reached(
    described: &Described,
    written: &[OperationRule],
) -> Result<(), String> {
    let mut on_method = written.iter().filter(|rule| rule.methods.contains(&described.method));
    match on_method.find(|rule| rule.path.covers(&described.pattern)) {
        Some(rule) => {
            let path = value::shown(rule.path.text());
            Err(format!("is never reached: `{path}` on line {} covers it", rule.line))
        }
        None => Ok(()),
    }
}

/// `acr_values` and `max_age`; what is not set is that of `wider`.
pub(super) fn authentication(
    section: &Section<'_>,
    wider: Option<&Demand>,
    into: &mut Reading<'_>,
) -> Demand {
    let own = into.many(section, "acr_values", value::scope);
    let inherited = wider.filter(|_| !section.has("acr_values"));
    Demand {
        acr_values: match inherited {
            Some(wider) => wider.acr_values.clone(),
            None => own.into_iter().map(|(value, _)| value).collect(),
        },
        max_age: match section.text("max_age") {
            Some(_) => Some(section.duration("max_age")),
            None => wider.and_then(|wider| wider.max_age),
        },
    }
}

/// `evidence` and what belongs to it; what is not set is that of `wider`.
pub(super) fn confirmation(
    section: &Section<'_>,
    wider: Option<&confirmation::Demand>,
    into: &mut Reading<'_>,
) -> confirmation::Demand {
    let own = into.many(section, "user_actions", value::name);
    let inherited = wider.filter(|_| !section.has("user_actions"));
    let evidence = match section.text("evidence").map(|(text, _)| text) {
        Some("ignore") => Wanted::Ignored,
        Some("required") => Wanted::Required,
        Some(_) => Wanted::IfPresent,
        None => wider.map_or(Wanted::IfPresent, |wider| wider.evidence),
    };
    if evidence == Wanted::Ignored {
        for key in
            ["accept_prompt_credential", "evidence_max_age", "evidence_reuse", "user_actions"]
        {
            if section.has(key) {
                into.problems.add(&section.place_of(key), "does nothing where evidence is ignored");
            }
        }
    }
    if section.switch("accept_prompt_credential") && !into.showable.prompt {
        into.problems.hint(
            &section.place_of("accept_prompt_credential"),
            "no prompt can be verified here",
            "name the clients that vouch for them in `[[prompt_issuer]]`",
        );
    }
    confirmation::Demand {
        accept_prompt: match wider.filter(|_| !section.has("accept_prompt_credential")) {
            Some(wider) => wider.accept_prompt,
            None => section.switch("accept_prompt_credential"),
        },
        evidence,
        refuse_reuse: match section.text("evidence_reuse") {
            Some((text, _)) => text == "refuse",
            None => wider.is_some_and(|wider| wider.refuse_reuse),
        },
        max_age: match section.text("evidence_max_age") {
            Some(_) => Some(section.duration("evidence_max_age")),
            None => wider.and_then(|wider| wider.max_age),
        },
        user_actions: match inherited {
            Some(wider) => wider.user_actions.clone(),
            None => own.into_iter().map(|(action, _)| action).collect(),
        },
    }
}

fn operation(
    section: &Section<'_>,
    authentication: &Demand,
    confirmation: &confirmation::Demand,
    into: &mut Reading<'_>,
) -> Option<OperationRule> {
    let action = into.one(section, "action", value::name);
    let methods = methods(section, into);
    let scopes = into.many(section, "scopes", value::scope);
    let path = template(section, into);
    let authentication = self::authentication(section, Some(authentication), into);
    let confirmation = self::confirmation(section, Some(confirmation), into);
    let (path, parameters) = path?;
    Some(OperationRule {
        action,
        methods,
        path,
        parameters,
        declared: Vec::new(),
        contract: None,
        body: body_use(section),
        described: None,
        scopes: scopes.into_iter().map(|(scope, _)| scope).collect(),
        authentication,
        confirmation,
        line: into.problems.line(section.place().span.start),
    })
}

fn methods(section: &Section<'_>, into: &mut Reading<'_>) -> Vec<Method> {
    let mut methods = Vec::new();
    for (method, place) in into.many(section, "method", value::method) {
        if methods.contains(&method) {
            into.problems.add(&place, format!("`{method}` is listed twice"));
        } else {
            methods.push(method);
        }
    }
    methods
}

fn path(section: &Section<'_>, into: &mut Reading<'_>) -> Option<Pattern> {
    into.one(section, "path", |text| {
        Pattern::parse(text).map_err(|error| Wrong::new(error.to_string()))
    })
}

/// A path glob in which `{name}` stands for one segment and gives it a name.
fn template(section: &Section<'_>, into: &mut Reading<'_>) -> Option<(Pattern, Vec<Parameter>)> {
    into.one(section, "path", |text| {
        template::parse(text).map_err(|error| Wrong::new(error.to_string()))
    })
}

fn body_use(section: &Section<'_>) -> BodyUse {
    match section.text_or_default("body").0 {
        "json" => BodyUse::Json,
        "stream" => BodyUse::Stream,
        _ => BodyUse::WhenNeeded,
    }
}

/// The first rule that matches names the action, so a rule behind a wider one does nothing, and two
/// names for the same calls are a mistake in one of them.
fn conflicts(
    rule: &OperationRule,
    earlier: &[OperationRule],
    place: &Place,
    into: &mut Reading<'_>,
) {
    let contradiction = earlier.iter().filter(|other| other.path == rule.path).find_map(|other| {
        let shared = rule.methods.iter().find(|method| other.methods.contains(method))?;
        (name(rule, shared) != name(other, shared)).then_some((other, shared))
    });
    if let Some((other, method)) = contradiction {
        let message = format!(
            "`{method} {}` is `{}` here and `{}` on line {}",
            value::shown(rule.path.text()),
            name(rule, method),
            name(other, method),
            other.line
        );
        return into.problems.hint(place, message, "keep one of the two");
    }
    let coverers: Option<Vec<&OperationRule>> = rule
        .methods
        .iter()
        .map(|method| {
            earlier
                .iter()
                .find(|other| other.methods.contains(method) && other.path.covers(&rule.path))
        })
        .collect();
    if let Some(other) = coverers.as_ref().and_then(|all| all.iter().max_by_key(|one| one.line)) {
        let message = format!(
            "is never reached: `{}` on line {} covers it",
            value::shown(other.path.text()),
            other.line
        );
        into.problems.hint(place, message, "put the narrower operation before the wider one");
    }
}

/// An operation that is denied on every path and method can never be allowed, whatever was meant.
fn denied(rule: &OperationRule, deny: &[DenyRule], place: &Place, into: &mut Reading<'_>) {
    let coverers: Option<Vec<&DenyRule>> = rule
        .methods
        .iter()
        .map(|method| {
            deny.iter().find(|other| {
                (other.methods.is_empty() || other.methods.contains(method))
                    && other.path.covers(&rule.path)
            })
        })
        .collect();
    if let Some(other) = coverers.as_ref().and_then(|all| all.iter().max_by_key(|one| one.line)) {
        let message = format!(
            "can never be allowed: the denial of `{}` on line {} covers it",
            value::shown(other.path.text()),
            other.line
        );
        into.problems.hint(place, message, "remove the operation, or narrow the denial");
    }
}

/// The action that a rule gives a method.
fn name(rule: &OperationRule, method: &Method) -> String {
    rule.action.as_deref().map_or_else(|| method.as_str().to_ascii_lowercase(), ToOwned::to_owned)
}
