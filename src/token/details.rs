//! `authorization_details` (RFC 9396): what a token grants, entry by entry (`tokens.md` §5).

use http::Method;
use serde_json::{Map, Value};

use super::constraints::{self, Constraints};
use super::fault::Fault;
use super::jws::Jws;
use super::member;
use super::names;
use super::policies::Policy;
use crate::model::operation::Operation;
use crate::model::pattern::Pattern;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};

/// The most entries that one token may carry.
pub const MAX_ENTRIES: usize = 32;
/// The most operations that one entry may list.
pub const MAX_OPERATIONS: usize = 256;

/// One entry that grants something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in `authorization_details`, from 0.
    pub index: usize,
    /// What it is limited to beside its rule.
    pub bounds: Bounds,
    /// What it grants.
    pub rule: Rule,
    /// `context`: what the client says of it, which its policy alone may read (`policy.md` §4.2).
    pub context: Option<Map<String, Value>>,
}

/// The common fields of RFC 9396 §2.2, which are upper bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    actions: Option<Vec<Box<str>>>,
    locations: Option<Vec<Box<str>>>,
    /// `datatypes`, `identifier` or `privileges`, which no resource can evaluate.
    unevaluable: bool,
}

/// What an entry grants within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `agent_operation`: any of these operations.
    Operations(Box<[Allowed]>),
    /// `authorization_policy` or its alias `rego_policy`: what a policy in a language says.
    Policy(Policy),
}

impl Rule {
    /// The operations, where it lists them.
    pub const fn listed(&self) -> Option<&[Allowed]> {
        match self {
            Self::Operations(operations) => Some(operations),
            Self::Policy(_) => None,
        }
    }

    /// The policy, where that is what it grants by.
    pub const fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Operations(_) => None,
            Self::Policy(policy) => Some(policy),
        }
    }
}

/// One operation of an `agent_operation` entry. Every member that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    action: Option<Box<str>>,
    request: Option<(Method, Pattern)>,
    /// Apart where there are any, as in [`super::grant::Grant`].
    constraints: Option<Box<Constraints>>,
}

/// Reads the entries that grant something. Types that are not known grant nothing and fail nothing.
pub fn read(payload: &Map<String, Value>) -> Result<Vec<Entry>, Denial> {
    entries(payload).map_err(|fault| fault.denial)
}

/// What [`read`] finds wrong, as `authorization_details[1].operations[0].path`.
pub fn fault(payload: &Map<String, Value>) -> Option<Fault> {
    let fault = entries(payload).err()?;
    Some(Fault { place: member::AUTHORIZATION_DETAILS.to_owned() + &fault.place, ..fault })
}

/// Where in a verified `token` the mistake is that it is refused for, if it is one of [`read`]'s. Of another
/// refusal nothing is read again: it may be that of a token which anybody has written.
pub fn place_of(denial: Denial, token: Presented<'_>) -> Option<String> {
    let is_ours = denial.reason == Reason::ClaimMalformed
        && denial.about.is_some_and(|about| {
            about == member::AUTHORIZATION_DETAILS || names::OF_POLICY.contains(&about)
        });
    let token = is_ours.then(|| Jws::read(token).ok())?;
    let fault = fault(&token?.payload().ok()?)?;
    (fault.denial == denial).then_some(fault.place)
}

fn entries(payload: &Map<String, Value>) -> Result<Vec<Entry>, Fault> {
    let Some(details) = payload.get(member::AUTHORIZATION_DETAILS) else { return Ok(Vec::new()) };
    let Value::Array(details) = details else { return Err(MALFORMED.into()) };
    if details.len() > MAX_ENTRIES {
        return Err(Fault::from(MALFORMED).in_element(MAX_ENTRIES));
    }
    let mut entries = Vec::new();
    for (index, detail) in details.iter().enumerate() {
        let entry = Entry::read(index, detail).map_err(|fault| fault.in_element(index))?;
        entries.extend(entry);
    }
    Ok(entries)
}

const MALFORMED: Denial = Denial::about(Reason::ClaimMalformed, member::AUTHORIZATION_DETAILS);

impl Entry {
    /// One entry; `None` where its type is not known.
    fn read(index: usize, detail: &Value) -> Result<Option<Self>, Fault> {
        let Value::Object(detail) = detail else { return Err(MALFORMED.into()) };
        let Some(Value::String(kind)) = detail.get("type") else {
            return Err(Fault::from(MALFORMED).in_member("type"));
        };
        let policy = |language| Policy::read(detail, language).map(Rule::Policy).map_err(in_policy);
        let rule = match kind.as_str() {
            member::AGENT_OPERATION => Rule::Operations(
                operations(detail).map_err(|fault| fault.in_member(member::OPERATIONS))?,
            ),
            member::AUTHORIZATION_POLICY => policy(names::LANGUAGE)?,
            member::REGO_POLICY => policy(names::TYPE)?,
            _ => return Ok(None),
        };
        let context = match detail.get("context") {
            None => None,
            Some(Value::Object(members)) => Some(members.clone()),
            Some(_) => return Err(Fault::from(MALFORMED).in_member("context")),
        };
        Ok(Some(Self { index, bounds: Bounds::read(detail)?, rule, context }))
    }
}

/// Refusals of a policy name its member.
fn in_policy(denial: Denial) -> Fault {
    let policy = names::POLICY.snake;
    match denial.about {
        Some(member) if member != policy => Fault::from(denial).in_member(member),
        Some(_) | None => Fault::from(denial),
    }
    .in_member(policy)
}

fn operations(detail: &Map<String, Value>) -> Result<Box<[Allowed]>, Fault> {
    let Some(Value::Array(operations)) = detail.get(member::OPERATIONS) else {
        return Err(MALFORMED.into());
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Fault::from(MALFORMED).in_element(MAX_OPERATIONS));
    }
    let numbered = operations.iter().enumerate();
    numbered
        .map(|(index, one)| Allowed::read(one).map_err(|fault| fault.in_element(index)))
        .collect()
}

impl Allowed {
    /// A member that is not known could be a limit, so it is refused and not ignored.
    fn read(value: &Value) -> Result<Self, Fault> {
        let Value::Object(members) = value else { return Err(MALFORMED.into()) };
        let (mut action, mut method, mut path) = (None, None, None);
        let mut arguments = Constraints::default();
        for (name, value) in members {
            if arguments.read(name, value).map_err(|fault| fault.in_member(name))? {
                continue;
            }
            let malformed = || Fault::from(MALFORMED).in_member(name);
            let Value::String(text) = value else { return Err(malformed()) };
            match name.as_str() {
                "action" => action = Some(text.as_str().into()),
                "method" => {
                    let known = Method::from_bytes(text.as_bytes());
                    method = Some(known.map_err(|_error| malformed())?);
                }
                "path" => path = Some(Pattern::parse(text).map_err(|_error| malformed())?),
                _ => return Err(malformed()),
            }
        }
        let request = match (method, path) {
            (Some(method), Some(path)) => Some((method, path)),
            (None, None) if action.is_some() => None,
            _ => return Err(MALFORMED.into()),
        };
        let constraints = (arguments != constraints::NONE).then(|| Box::new(arguments));
        Ok(Self { action, request, constraints })
    }

    /// Whether `operation` is this one, whatever its arguments are.
    pub fn names(&self, operation: &Operation<'_>) -> bool {
        // Method and path are those of every message alike, and so none of them.
        self.action.as_deref().map_or(operation.message.is_none(), |name| operation.is_called(name))
            && self.request.as_ref().is_none_or(|(method, path)| {
                method == operation.method && path.matches(operation.path)
            })
    }

    /// What constrains its arguments.
    pub fn constraints(&self) -> &Constraints {
        self.constraints.as_deref().unwrap_or(&constraints::NONE)
    }

    /// What of its arguments is not such as is granted, in words; `None` where `operation` is another or fits.
    pub fn unmet(&self, operation: &Operation<'_>) -> Option<String> {
        self.names(operation).then(|| self.constraints().unmet(operation)).flatten()
    }

    /// Whether `operation` is this one, and its arguments are such as are granted.
    pub fn covers(&self, operation: &Operation<'_>) -> bool {
        self.names(operation) && self.constraints().hold(operation)
    }

    /// Whether the body of `operation` must be read to tell whether this covers it.
    pub fn judges_body(&self, operation: &Operation<'_>) -> bool {
        self.constraints().judge_body() && self.names(operation)
    }
}

impl Bounds {
    fn read(detail: &Map<String, Value>) -> Result<Self, Fault> {
        Ok(Self {
            actions: strings(detail, member::ACTIONS)?,
            locations: strings(detail, member::LOCATIONS)?,
            unevaluable: [member::DATATYPES, member::IDENTIFIER, member::PRIVILEGES]
                .iter()
                .any(|name| detail.contains_key(*name)),
        })
    }

    /// Whether `operation` lies within the bounds. What cannot be evaluated bounds everything out.
    pub fn hold(&self, operation: &Operation<'_>) -> bool {
        let is_name = |name: &str| name == operation.action || name == operation.alias();
        let action_holds = |actions: &Vec<Box<str>>| actions.iter().any(|action| is_name(action));
        let location_holds =
            |locations: &Vec<Box<str>>| locations.iter().any(|at| is_at(operation, at));
        !self.unevaluable
            && self.actions.as_ref().is_none_or(action_holds)
            && self.locations.as_ref().is_none_or(location_holds)
    }
}

fn strings(detail: &Map<String, Value>, name: &str) -> Result<Option<Vec<Box<str>>>, Fault> {
    let Some(list) = detail.get(name) else { return Ok(None) };
    let texts = list.as_array().and_then(|list| {
        list.iter().map(|value| value.as_str().map(Into::into)).collect::<Option<_>>()
    });
    texts.map(Some).ok_or_else(|| Fault::from(MALFORMED).in_member(name))
}

/// Whether the URL of the operation is `location` or lies below it, at a `/` (`policy.md`, entry bounds).
///
/// The URL is the resource identifier followed by the path below the resource. Scheme and authority
/// are compared without regard to case and default ports, the path octet by octet: a location that
/// ends in `/` names what lies below it, and not the path without the `/`.
fn is_at(operation: &Operation<'_>, location: &str) -> bool {
    let (Some(own), Some(bound)) = (split(operation.resource), split(location)) else {
        return false;
    };
    if bound.path.contains(['?', '#', '%']) || !own.has_same_origin(&bound) {
        return false;
    }
    let at_segment =
        |rest: &str| rest.is_empty() || rest.starts_with('/') || bound.path.ends_with('/');
    match own.path.strip_prefix(bound.path) {
        Some(rest) => at_segment(rest),
        None => bound
            .path
            .strip_prefix(own.path)
            .and_then(|below| operation.path.strip_prefix(below))
            .is_some_and(at_segment),
    }
}

struct Url<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
}

fn split(url: &str) -> Option<Url<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) =
        rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
    let path = if path == "/" { "" } else { path };
    Some(Url { scheme, authority, path })
}

impl Url<'_> {
    fn has_same_origin(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host().eq_ignore_ascii_case(other.host())
    }

    fn host(&self) -> &str {
        let default = if self.scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        self.authority.strip_suffix(default).unwrap_or(self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: &str) -> Result<Vec<Entry>, Denial> {
        let Value::Object(payload) =
            serde_json::from_str(&format!(r#"{{"authorization_details":{json}}}"#)).unwrap()
        else {
            panic!("not an object")
        };
        read(&payload)
    }

    fn at<'a>(method: &'a Method, path: &'a str) -> Operation<'a> {
        Operation::bare("read", method, path, "https://tools.test/shop")
    }

    #[test]
    fn the_place_of_a_mistake_is_found() {
        let fine = r#"{"type":"agent_operation","operations":[{"action":"a"}]}"#;
        let operations = |json: &str| {
            format!(
                r#"[{{"type":"x"}},{{"type":"agent_operation","operations":[{{"action":"a"}},{json}]}}]"#
            )
        };
        let policy = |json: &str| format!(r#"[{{"type":"authorization_policy","policy":{json}}}]"#);
        for (json, place) in [
            ("7".to_owned(), ""),
            ("[7]".to_owned(), "[0]"),
            (r#"[{"type":"x"},{}]"#.to_owned(), "[1].type"),
            (r#"[{"type":"agent_operation"}]"#.to_owned(), "[0].operations"),
            (r#"[{"type":"agent_operation","operations":7}]"#.to_owned(), "[0].operations"),
            (operations("7"), "[1].operations[1]"),
            (operations(r#"{"path":"/"}"#), "[1].operations[1]"),
            (operations(r#"{"method":"GET","path":"x"}"#), "[1].operations[1].path"),
            (operations(r#"{"method":"G T","path":"/x"}"#), "[1].operations[1].method"),
            (operations(r#"{"action":"a","limit":"5"}"#), "[1].operations[1].limit"),
            (operations(r#"{"action":"a","a\nb":"5"}"#), "[1].operations[1][\"a\\nb\"]"),
            (operations(r#"{"action":"a","args":{}}"#), "[1].operations[1].args"),
            (operations(r#"{"action":"a","args":{"x":7}}"#), "[1].operations[1].args.x"),
            (operations(r#"{"action":"a","args":{"":{}}}"#), "[1].operations[1].args."),
            (
                operations(r#"{"action":"a","args":{"x":{"max":5}}}"#),
                "[1].operations[1].args.x.max",
            ),
            (
                operations(r#"{"action":"a","query":{"q":{"pattern":"("}}}"#),
                "[1].operations[1].query.q.pattern",
            ),
            (
                operations(r#"{"action":"a","args":{"/x/y":{"minimum":"5"}}}"#),
                "[1].operations[1].args[\"/x/y\"].minimum",
            ),
            (
                r#"[{"type":"agent_operation","operations":[],"locations":[7]}]"#.to_owned(),
                "[0].locations",
            ),
            (policy("7"), "[0].policy"),
            (policy(r#"{"language":"rego"}"#), "[0].policy"),
            (policy(r#"{"language":"rego","content":7}"#), "[0].policy.content"),
            (
                policy(r#"{"language":"rego","content":"x","entry_point":"a b"}"#),
                "[0].policy.entry_point",
            ),
            (policy(r#"{"language":"rego","content":"x"},"context":7"#), "[0].context"),
            (format!("[{}]", vec![fine; MAX_ENTRIES + 1].join(",")), "[32]"),
        ] {
            let payload = serde_json::from_str(&format!(r#"{{"authorization_details":{json}}}"#));
            let payload = payload.unwrap();
            let told = fault(&payload).unwrap();
            assert_eq!(told.place, format!("authorization_details{place}"), "{json}");
            assert_eq!(read(&payload), Err(told.denial), "{json}");
        }
        let payload = serde_json::from_str(&format!(r#"{{"authorization_details":[{fine}]}}"#));
        assert_eq!(fault(&payload.unwrap()), None);
    }

    #[test]
    fn an_operation_is_covered_by_method_and_path_or_by_action_or_by_both() {
        for (operation, covered) in [
            (r#"{"method":"GET","path":"/products/**"}"#, true),
            (r#"{"method":"POST","path":"/products/**"}"#, false),
            (r#"{"method":"GET","path":"/orders/**"}"#, false),
            (r#"{"action":"read"}"#, true),
            (r#"{"action":"write"}"#, false),
            (r#"{"action":"write","method":"GET","path":"/products/**"}"#, false),
        ] {
            let entries =
                entries(&format!(r#"[{{"type":"agent_operation","operations":[{operation}]}}]"#))
                    .unwrap();
            let Rule::Operations(allowed) = &entries[0].rule else { panic!("not a list") };
            assert_eq!(allowed[0].covers(&at(&Method::GET, "/products/7")), covered, "{operation}");
        }
    }

    #[test]
    fn locations_bound_at_segments_of_the_url() {
        for (locations, holds) in [
            (r#"["https://tools.test/shop"]"#, true),
            (r#"["https://tools.test/shop/"]"#, true),
            (r#"["https://tools.test"]"#, true),
            (r#"["https://tools.test/"]"#, true),
            (r#"["HTTPS://TOOLS.test:443/shop"]"#, true),
            (r#"["https://tools.test/shop/products"]"#, true),
            (r#"["https://tools.test/shop/products/7"]"#, true),
            (r#"["https://tools.test/shop/products/"]"#, true),
            (r#"["https://tools.test/shop/products/7/"]"#, false),
            (r#"["https://tools.test/shop/prod"]"#, false),
            (r#"["https://tools.test/sho"]"#, false),
            (r#"["https://tools.test/Shop"]"#, false),
            (r#"["http://tools.test/shop"]"#, false),
            (r#"["https://tools.test:8443/shop"]"#, false),
            (r#"["https://tools.test/shop?x"]"#, false),
            (r#"["https://tools.test.evil/shop"]"#, false),
            (r#"["other", "https://tools.test/shop"]"#, true),
            ("[]", false),
        ] {
            let json = format!(
                r#"[{{"type":"agent_operation","operations":[],"locations":{locations}}}]"#
            );
            let bounds = &entries(&json).unwrap()[0].bounds;
            assert_eq!(bounds.hold(&at(&Method::GET, "/products/7")), holds, "{locations}");
        }
    }

    #[test]
    fn r_pol_013_a_bound_that_cannot_be_evaluated_bounds_everything_out() {
        for name in ["datatypes", "identifier", "privileges"] {
            let json = format!(r#"[{{"type":"agent_operation","operations":[],"{name}":"x"}}]"#);
            assert!(!entries(&json).unwrap()[0].bounds.hold(&at(&Method::GET, "/")), "{name}");
        }
    }

    #[test]
    fn a_malformed_entry_of_a_known_type_fails_the_token_and_an_unknown_type_grants_nothing() {
        for json in [
            "{}",
            r#"["x"]"#,
            "[{}]",
            r#"[{"type":7}]"#,
            r#"[{"type":"agent_operation"}]"#,
            r#"[{"type":"agent_operation","operations":[{}]}]"#,
            r#"[{"type":"agent_operation","operations":[{"path":"/a"}]}]"#,
            r#"[{"type":"agent_operation","operations":[{"method":"GET"}]}]"#,
            r#"[{"type":"agent_operation","operations":[{"method":"GET","path":"a"}]}]"#,
            r#"[{"type":"agent_operation","operations":[{"action":"x","max_amount":"5"}]}]"#,
            r#"[{"type":"agent_operation","operations":[],"actions":"x"}]"#,
            r#"[{"type":"authorization_policy"}]"#,
            r#"[{"type":"authorization_policy","policy":{"content":"x"}}]"#,
            r#"[{"type":"authorization_policy","policy":{"language":"rego"}}]"#,
            r#"[{"type":"rego_policy","policy":{"type":"rego","language":"cedar","content":"x"}}]"#,
        ] {
            let reason = entries(json).unwrap_err().reason;
            assert_eq!(reason, Reason::ClaimMalformed, "{json}");
        }
        assert_eq!(entries(r#"[{"type":"unheard_of","operations":7}]"#), Ok(Vec::new()));
        let many = vec![r#"{"type":"x"}"#; MAX_ENTRIES + 1].join(",");
        assert_eq!(entries(&format!("[{many}]")), Err(MALFORMED));
    }
}
