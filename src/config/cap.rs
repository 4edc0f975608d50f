//! `[[resource.cap]]`: how often, how many at one time, and how much in all (`policy.md` §8).
//!
//! A cap that never counts anything would let everything through and look as if it did not: whatever makes
//! one so is a mistake here.

use std::sync::Arc;

use super::problem::{Place, nearest};
use super::raw::Section;
use super::reading::{Reading, Seen};
use super::value::{self, Wrong};
use super::{OperationRule, a2a};
use crate::operation::catalog::BodyUse;
use crate::policy::quantities::amount::Amount;
use crate::policy::quantities::{Cap, Lasts, Measure, Party};

/// The most caps of one resource: each takes room in the record of every call it counts.
const MOST: usize = 8;

/// Reads the caps of a resource, and holds them against its operations.
pub(super) fn caps(
    resource: &Section<'_>,
    operations: &[OperationRule],
    into: &mut Reading<'_>,
) -> Vec<Arc<Cap>> {
    let sections = resource.tables("cap");
    if let Some(one) = sections.get(MOST) {
        into.problems.add(one.place(), format!("a resource has at most {MOST} caps"));
    }
    let is_partial = (resource.has("openapi") && !into.opens) || a2a::is_spoken(resource);
    let mut names = Seen::default();
    let mut read = Vec::new();
    for section in &sections {
        if let Some((name, place)) = section.text("name") {
            into.unique(&mut names, name.to_owned(), &place, "a cap with this name");
        }
        let actions = actions(section, operations, is_partial, into);
        let measured = measured(section, into);
        let name = into.one(section, "name", value::name);
        let per = parties(section, into);
        let lasts = lasts(section, &per, into);
        let (Some((measure, most)), Some(lasts), Some(name)) = (measured, lasts, name) else {
            continue;
        };
        if matches!(measure, Measure::Sum(_)) {
            streamed(section, &actions, operations, into);
        }
        read.push(Arc::new(Cap { name, per, actions, measure, most, lasts }));
    }
    read
}

/// What is counted, and the most of it: one of `calls`, `concurrent` and `sum`.
fn measured(section: &Section<'_>, into: &mut Reading<'_>) -> Option<(Measure, Amount)> {
    let set: Vec<_> =
        ["calls", "concurrent", "sum"].into_iter().filter(|key| section.has(key)).collect();
    let [key] = *set else {
        let message = match set.len() {
            0 => "limits nothing".to_owned(),
            n => format!("limits {n} things"),
        };
        into.problems.hint(section.place(), message, "set one of `calls`, `concurrent` and `sum`");
        return None;
    };
    let argument = into.one(section, "argument", pointer);
    if key != "sum" {
        if section.has("argument") {
            let place = section.place_of("argument");
            into.problems.add(&place, format!("does nothing beside `{key}`: calls are counted"));
        }
        return Some((Measure::Calls, Amount::whole(section.number(key))));
    }
    if !section.has("argument") {
        let hint = "set `argument` to where the number stands in the body, as in `/amount`";
        into.problems.hint(&section.place_of("sum"), "a sum of nothing", hint);
    }
    Some((Measure::Sum(argument?), into.one(section, "sum", amount)?))
}

fn amount(text: &str) -> Result<Amount, Wrong> {
    match Amount::parse(text) {
        Some(amount) if amount > Amount::ZERO => Ok(amount),
        _ => Err(Wrong::with(
            format!("`{}` is not an amount", value::shown(text)),
            "write a number above 0 with at most 18 digits before and after the point, as in `500` or `49.95`",
        )),
    }
}

/// RFC 6901, into the body.
fn pointer(text: &str) -> Result<Box<str>, Wrong> {
    let wrong = |why: &str| {
        let message = format!("`{}` {why}", value::shown(text));
        Err(Wrong::with(message, "write a JSON pointer, as in `/amount` or `/order/total`"))
    };
    if !text.starts_with('/') {
        return wrong("does not begin with `/`");
    }
    if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return wrong("has a `~` that is neither `~0` nor `~1`");
    }
    Ok(text.into())
}

/// Who is counted apart, in an order that does not depend on the file's.
fn parties(section: &Section<'_>, into: &mut Reading<'_>) -> Vec<Party> {
    let mut parties = Vec::new();
    for (word, place) in section.texts("per") {
        let party = match word {
            "agent" => Party::Agent,
            "client" => Party::Client,
            "grant" => Party::Grant,
            "policy" => Party::Policy,
            "user" => Party::User,
            _ => Party::Resource,
        };
        if parties.contains(&party) {
            into.problems.add(&place, format!("`{word}` is listed twice"));
        }
        parties.push(party);
    }
    if section.is_empty_array("per") {
        let hint = "write `[\"resource\"]` to count all callers together";
        into.problems.hint(&section.place_of("per"), "nobody is counted", hint);
    }
    if parties.len() > 1 && parties.contains(&Party::Resource) {
        let hint = "leave it out: accounts are those of one resource anyway";
        into.problems.hint(&section.place_of("per"), "`resource` beside others does nothing", hint);
    }
    parties.sort_unstable();
    parties.dedup();
    parties
}

fn lasts(section: &Section<'_>, per: &[Party], into: &mut Reading<'_>) -> Option<Lasts> {
    let place = section.place_of("window");
    match (section.has("concurrent"), section.has("window")) {
        (true, false) => Some(Lasts::Call),
        (true, true) => {
            into.problems
                .add(&place, "does nothing beside `concurrent`: a call counts until it ends");
            None
        }
        (false, true) => Some(Lasts::Window(section.duration("window"))),
        (false, false) if per.contains(&Party::Grant) => Some(Lasts::Grant),
        (false, false) => {
            let hint = "only what is counted per `grant` ends by itself, with the token";
            into.problems.hint(&place, "missing: how long a call counts", hint);
            None
        }
    }
}

/// A name that no operation has would count nothing. Where the operations are known only in part, since
/// their document was not opened, that is not said.
fn actions(
    section: &Section<'_>,
    operations: &[OperationRule],
    is_partial: bool,
    into: &mut Reading<'_>,
) -> Vec<Box<str>> {
    let known: Vec<String> = operations.iter().flat_map(names).collect();
    let named = into.many(section, "actions", value::name);
    for (action, place) in &named {
        if !is_partial && !known.iter().any(|own| **own == **action) {
            unknown(action, place, &known, into);
        }
    }
    named.into_iter().map(|(action, _)| action).collect()
}

fn unknown(action: &str, place: &Place, known: &[String], into: &mut Reading<'_>) {
    let message = format!("no operation of this resource is called `{}`", value::shown(action));
    match nearest(action, known.iter().map(String::as_str)) {
        Some(near) => into.problems.hint(place, message, format!("did you mean `{near}`?")),
        None => into.problems.add(place, message),
    }
}

/// The actions that a rule gives its methods.
fn names(rule: &OperationRule) -> Vec<String> {
    match &rule.action {
        Some(action) => vec![action.to_string()],
        None => rule.methods.iter().map(|method| method.as_str().to_ascii_lowercase()).collect(),
    }
}

/// What is never read cannot be counted, and every call would be refused.
fn streamed(
    section: &Section<'_>,
    actions: &[Box<str>],
    operations: &[OperationRule],
    into: &mut Reading<'_>,
) {
    let counted = |rule: &&OperationRule| {
        let own = names(rule);
        actions.is_empty() || own.iter().any(|own| actions.iter().any(|one| **one == **own))
    };
    let streamed = |rule: &&OperationRule| rule.body == BodyUse::Stream;
    if let Some(rule) = operations.iter().filter(counted).find(streamed) {
        let message =
            format!("the operation on line {} is never read: `body = \"stream\"`", rule.line);
        let hint = "name in `actions` the operations whose body has it";
        into.problems.hint(&section.place_of("argument"), message, hint);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Config};

    /// A configuration that is right and short, with an operation that is paid for and one that is never read.
    const SMALL: &str = include_str!("parse/small.toml");
    const OPERATIONS: &str = r#"
[[resource.operation]]
action = "pay"
method = "POST"
path = "/orders"
[[resource.operation]]
method = "PUT"
path = "/files/*"
body = "stream"
[[resource.cap]]
"#;

    fn read(cap: &str) -> Result<Config, String> {
        config::parse(&format!("{SMALL}{OPERATIONS}{cap}"), Path::new("opgate.toml"))
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_cap_is_what_it_says() {
        let cap = |text: &str| Cap::clone(&read(text).unwrap().resources[0].caps[0]);
        let budget = cap(r#"name = "daily"
per = ["user", "agent"]
actions = ["pay"]
sum = "1000.50"
argument = "/order/total"
window = "24h""#);
        let day = Duration::from_hours(24);
        assert_eq!(budget.per, [Party::Agent, Party::User]);
        assert_eq!(budget.measure, Measure::Sum("/order/total".into()));
        assert_eq!(budget.most, Amount::parse("1000.5").unwrap());
        assert_eq!(budget.lasts, Lasts::Window(day));
        let once = cap("name = \"once\"\nper = [\"grant\"]\ncalls = 1");
        assert_eq!((once.lasts, once.most), (Lasts::Grant, Amount::ONE));
        let few = cap("name = \"few\"\nper = [\"resource\"]\nconcurrent = 3");
        assert_eq!((few.lasts, few.most), (Lasts::Call, Amount::whole(3)));
    }

    #[test]
    fn every_mistake_in_a_cap_is_told_where_it_is() {
        for (text, expected) in [
            ("", "resource[0].cap[0].name: missing"),
            ("", "resource[0].cap[0].per: missing"),
            ("", "resource[0].cap[0]: limits nothing"),
            ("calls = 1\nconcurrent = 1", "resource[0].cap[0]: limits 2 things"),
            ("per = []\ncalls = 1", "cap[0].per: nobody is counted"),
            ("per = [\"user\", \"user\"]", "`user` is listed twice"),
            ("per = [\"resource\", \"user\"]", "`resource` beside others does nothing"),
            ("per = [\"users\"]", "did you mean `user`?"),
            ("per = [\"user\"]\ncalls = 1", "cap[0].window: missing: how long a call counts"),
            ("concurrent = 1\nwindow = \"1m\"", "cap[0].window: does nothing beside `concurrent`"),
            ("calls = 1\nargument = \"/a\"", "cap[0].argument: does nothing beside `calls`"),
            ("sum = \"5\"", "cap[0].sum: a sum of nothing"),
            ("sum = \"-5\"\nargument = \"/a\"", "`-5` is not an amount"),
            ("sum = \"0\"\nargument = \"/a\"", "`0` is not an amount"),
            ("sum = 5\nargument = \"/a\"", "expected a string"),
            ("sum = \"5\"\nargument = \"a\"", "`a` does not begin with `/`"),
            ("sum = \"5\"\nargument = \"/a~2\"", "has a `~` that is neither"),
            ("actions = [\"payy\"]\ncalls = 1", "no operation of this resource is called `payy`"),
            ("actions = [\"payy\"]\ncalls = 1", "did you mean `pay`?"),
            ("calls = 0", "cap[0].calls"),
            ("window = \"32d\"\ncalls = 1", "cap[0].window: `32d` is out of range"),
            (
                "name = \"c\"\nper = [\"grant\"]\nsum = \"5\"\nargument = \"/a\"",
                "the operation on line 21 is never read",
            ),
            (
                "name = \"c\"\nper = [\"grant\"]\ncalls = 1\n[[resource.cap]]\nname = \"c\"",
                "a cap with this name is already on line",
            ),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(expected), "{text}\n{told}");
        }
        let many = "name = \"c\"\nper = [\"grant\"]\ncalls = 1\n[[resource.cap]]\n".repeat(8);
        assert!(read(&many).unwrap_err().contains("at most 8 caps"));
    }
}
