//! Challenges and guidance: what a refused agent is told it would need
//! (`reverse-guided-errors.md` §2 to §4).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config;
use crate::model::authentication::Demand;
use crate::model::operation::Operation;
use crate::token::jcs;

/// The largest encoded blob, in bytes (`reverse-guided-errors.md` §2).
const MAX_BLOB: usize = 2 * 1_024;
/// The largest challenge, in bytes.
const MAX_FIELD: usize = 4 * 1_024;
/// The longest list of values that survives the second step of trimming.
const MAX_ENUM: usize = 20;

/// A `WWW-Authenticate` challenge under construction: a scheme and its parameters.
#[derive(Debug)]
pub struct Challenge {
    text: String,
    first: bool,
}

impl Challenge {
    /// A challenge without parameters.
    pub fn of(scheme: &str) -> Self {
        let mut text = String::with_capacity(1_024);
        text.push_str(scheme);
        Self { text, first: true }
    }

    /// Adds a parameter as a quoted string; what may not stand there is replaced by a space
    /// (RFC 6750 §3).
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.begin(name);
        if value.chars().all(is_allowed) {
            self.text.push_str(value);
        } else {
            self.text.extend(value.chars().map(|c| if is_allowed(c) { c } else { ' ' }));
        }
        self.text.push('"');
        self
    }

    /// Adds a parameter as the base64url without padding of JSON text.
    fn with_encoded(mut self, name: &str, json: &str) -> Self {
        self.begin(name);
        URL_SAFE_NO_PAD.encode_string(json, &mut self.text);
        self.text.push('"');
        self
    }

    fn begin(&mut self, name: &str) {
        self.text.push_str(if self.first { " " } else { ", " });
        self.first = false;
        self.text.push_str(name);
        self.text.push_str("=\"");
    }

    /// The field value.
    pub fn into_value(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.text).ok()
    }

    /// Whether these parameters, encoded, keep within the budget.
    fn fits(&self, parameters: &[(&str, &str)]) -> bool {
        let mut length = self.text.len();
        for (name, json) in parameters {
            let encoded = base64::encoded_len(json.len(), false).unwrap_or(usize::MAX);
            if encoded > MAX_BLOB {
                return false;
            }
            length += name.len() + encoded + ", =\"\"".len();
        }
        length <= MAX_FIELD
    }
}

fn is_allowed(c: char) -> bool {
    matches!(c, '\x20'..='\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e')
}

/// What would cover a refused operation.
#[derive(Debug)]
pub struct Guidance<'a> {
    /// What the operator wrote for the resource.
    pub configured: &'a config::Guidance,
    /// The authorization server to ask.
    pub auth_server: &'a str,
    /// Whether a new confirmation of the person is what is lacking.
    pub confirmation_required: bool,
    /// Whether a token is good for one such call: what it was then asked for is asked for anew each time.
    pub single_use: bool,
    /// The scopes the operation requires.
    pub required_scope: Vec<&'a str>,
    /// How the person must have been authenticated.
    pub authentication: &'a Demand,
    /// The operation.
    pub operation: Operation<'a>,
    /// The path below the resource as sent.
    pub raw_path: &'a str,
    /// What the token falls short in.
    pub lacking: Lacking,
}

/// What a token falls short in, so that no more is asked for than that.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Lacking {
    /// It grants the operation with other arguments: these constraints are what this call needs.
    Arguments(Map<String, Value>),
    /// It does not grant the operation.
    #[default]
    Operation,
    /// Its policy says no.
    Policy,
}

const PROFILE: &str = "policy_profile";
/// What older clients look for (`legacy_rego_profile`).
const LEGACY: &str = "rego_profile";
const REMEDIATION: &str = "authorization_remediation";

/// What an authorization would have to have (`reverse-guided-errors.md` §3). Members in the order of
/// their names.
#[derive(Debug, Serialize)]
pub struct Profile<'a> {
    auth_server: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    confirmation_required: bool,
    /// The operator's own words, never derived from a policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    constraints: Option<Cow<'a, Value>>,
    /// What older clients know `confirmation_required` by.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    evidence_required: bool,
    #[serde(rename = "profile_uri", skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    required_claims: &'a [Box<str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    required_scope: &'a [&'a str],
}

/// What a challenge tells, for the body to tell again.
#[derive(Debug)]
pub struct Told<'a> {
    /// `policy_profile`
    pub profile: Profile<'a>,
    /// `rego_profile`
    pub legacy: Option<Profile<'a>>,
}

/// A detail that asks for a new confirmation of the person.
#[derive(Debug, Serialize)]
struct Confirmation {
    r#type: &'static str,
}

/// A detail of type `agent_operation`, members in the order of their names.
#[derive(Debug, Serialize)]
struct Detail<'a> {
    locations: [&'a str; 1],
    operations: [Asked<'a>; 1],
    r#type: &'static str,
}

#[derive(Debug, Serialize)]
struct Asked<'a> {
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_params: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a Value>,
}

/// A detail of type `authorization_policy`, whose policy is for the agent to write.
#[derive(Debug, Serialize)]
struct PolicyDetail<'a> {
    actions: [&'a str; 1],
    locations: [&'a str; 1],
    r#type: &'static str,
}

impl Guidance<'_> {
    /// Adds `policy_profile` and `authorization_remediation`, trimmed in the stated order until the
    /// challenge keeps within its budget. Gives the profile back, for the body.
    pub fn add_to(&self, challenge: Challenge) -> (Challenge, Option<Told<'_>>) {
        if !self.configured.enabled {
            return (challenge, None);
        }
        let remediation = self.remediation();
        for trim in [
            Trim::Nothing,
            Trim::Descriptions,
            Trim::LongLists,
            Trim::Remediation,
            Trim::Constraints,
        ] {
            let profile = self.profile(trim);
            let legacy = self.configured.legacy_rego_profile.then(|| Profile {
                evidence_required: self.confirmation_required,
                ..self.profile(trim)
            });
            let (own, older) = (json(&profile), legacy.as_ref().map(json));
            let mut kept = vec![(PROFILE, &*own)];
            kept.extend(older.as_deref().map(|older| (LEGACY, older)));
            if trim < Trim::Remediation {
                kept.push((REMEDIATION, &*remediation));
            }
            if challenge.fits(&kept) {
                let add = |to: Challenge, (name, text): &(&str, &str)| to.with_encoded(name, text);
                return (kept.iter().fold(challenge, add), Some(Told { profile, legacy }));
            }
        }
        (challenge, None)
    }

    fn profile(&self, trim: Trim) -> Profile<'_> {
        let constraints = self.configured.constraints.as_ref().filter(|_| trim < Trim::Constraints);
        Profile {
            auth_server: self.auth_server,
            confirmation_required: self.confirmation_required,
            constraints: constraints.map(|constraints| match trim {
                Trim::Nothing => Cow::Borrowed(constraints),
                _ => Cow::Owned(trimmed(constraints, trim)),
            }),
            evidence_required: false,
            uri: self.configured.profile_uri.as_deref(),
            required_claims: &self.configured.required_claims,
            required_scope: &self.required_scope,
        }
    }

    /// `reverse-guided-errors.md` §4: details that the client can copy into its next request, for this
    /// call and no more, as JSON text.
    pub(super) fn remediation(&self) -> String {
        // A `*` in a path would be a wildcard in a grant.
        // Method and path of a message say nothing of what it asks for.
        let is_exact = !self.raw_path.contains('*')
            && self.raw_path.len() <= 512
            && self.operation.message.is_none();
        let path = if self.raw_path.is_empty() { "/" } else { self.raw_path };
        let (action, locations) = (self.operation.action, [self.operation.resource]);
        let needed = |name| match &self.lacking {
            Lacking::Arguments(constraints) => constraints.get(name),
            Lacking::Operation | Lacking::Policy => None,
        };
        let detail = match &self.lacking {
            Lacking::Policy => {
                json(&PolicyDetail { actions: [action], locations, r#type: "authorization_policy" })
            }
            Lacking::Arguments(_) | Lacking::Operation => {
                let operation = Asked {
                    action,
                    args: needed("args"),
                    method: is_exact.then_some(self.operation.method.as_str()),
                    path: is_exact.then_some(path),
                    path_params: needed("path_params"),
                    query: needed("query"),
                };
                json(&Detail { locations, operations: [operation], r#type: "agent_operation" })
            }
        };
        let confirmation = Confirmation { r#type: "authorization_evidence" };
        let confirmation = self.confirmation_required.then(|| format!(",{}", json(&confirmation)));
        let details = format!("[{detail}{}]", confirmation.unwrap_or_default());
        // Values of arguments may hold numbers without a canonical form: then there is no name for it.
        let parsed: Option<Value> = serde_json::from_str(&details).ok();
        let canonical = parsed.and_then(|details| jcs::canonical(&details).ok());
        let Some(canonical) = canonical.filter(|_| !self.single_use) else {
            return format!("{{\"authorization_details\":{details}}}");
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &canonical);
        let mut text = String::with_capacity(details.len() + 128);
        text.push_str("{\"authorization_details\":");
        text.push_str(&details);
        text.push_str(",\"authorization_reference\":\"");
        URL_SAFE_NO_PAD.encode_string(digest, &mut text);
        text.push_str("\"}");
        text
    }
}

/// JSON text. These types cannot fail to become it.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How much is left out, in the order of `reverse-guided-errors.md` §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trim {
    Nothing,
    Descriptions,
    LongLists,
    Remediation,
    Constraints,
}

fn trimmed(constraints: &Value, trim: Trim) -> Value {
    let mut constraints = constraints.clone();
    for constraint in constraints.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let Value::Object(members) = constraint else { continue };
        if trim >= Trim::Descriptions {
            members.remove("description");
        }
        let is_long =
            members.get("enum").and_then(Value::as_array).is_some_and(|list| list.len() > MAX_ENUM);
        if trim >= Trim::LongLists && is_long {
            members.remove("enum");
        }
    }
    constraints
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;

    static ANYHOW: Demand = Demand { acr_values: Vec::new(), max_age: None };

    fn guidance(configured: &config::Guidance) -> Guidance<'_> {
        Guidance {
            configured,
            auth_server: "https://as.example.com",
            required_scope: vec!["purchase.create"],
            authentication: &ANYHOW,
            confirmation_required: false,
            single_use: false,
            operation: Operation::bare(
                "create_order",
                &Method::POST,
                "/orders",
                "https://tools.test/shop",
            ),
            raw_path: "/orders",
            lacking: Lacking::Operation,
        }
    }

    #[test]
    fn r_err_002_010_the_profile_is_base64url_of_json_with_the_auth_server() {
        let configured = config::Guidance { enabled: true, ..Default::default() };
        let guidance = Guidance { confirmation_required: true, ..guidance(&configured) };
        assert_eq!(
            URL_SAFE_NO_PAD.encode(json(&guidance.profile(Trim::Nothing))),
            "eyJhdXRoX3NlcnZlciI6Imh0dHBzOi8vYXMuZXhhbXBsZS5jb20iLCJjb25maXJtYXRpb25fcmVxdWlyZWQiOnRydWUsInJlcXVpcmVkX3Njb3BlIjpbInB1cmNoYXNlLmNyZWF0ZSJdfQ"
        );
    }

    #[test]
    fn r_err_009_parameters_are_ascii_and_the_challenge_is_trimmed_in_the_stated_order() {
        let challenge = Challenge::of("Bearer").with("a", "x\"y\\z\u{e4}\n");
        assert_eq!(challenge.into_value().unwrap(), "Bearer a=\"x y z  \"");
        let lists = |length: usize, description: usize| {
            let list: Vec<_> = (0..length).map(|n| n.to_string()).collect();
            let constraint =
                json!({"type": "string", "enum": list, "description": "d".repeat(description)});
            config::Guidance {
                enabled: true,
                constraints: Some(json!({ "c": constraint })),
                ..Default::default()
            }
        };
        for (configured, kept, lost) in [
            (lists(5, 10), &["description", "enum"][..], &[][..]),
            (lists(5, 2_000), &["enum"], &["description"]),
            (lists(1_000, 10), &["type"], &["description", "enum"]),
        ] {
            let guidance = guidance(&configured);
            let (challenge, profile) = guidance.add_to(Challenge::of("Bearer"));
            let constraint = &profile.unwrap().profile.constraints.unwrap()["c"];
            assert!(kept.iter().all(|name| constraint.get(name).is_some()), "{kept:?}");
            assert!(lost.iter().all(|name| constraint.get(name).is_none()), "{lost:?}");
            assert!(challenge.into_value().unwrap().len() <= MAX_FIELD);
        }
        let many: Map<_, _> =
            (0..200).map(|n| (n.to_string(), json!({"type": "string"}))).collect();
        let huge = config::Guidance {
            enabled: true,
            constraints: Some(many.into()),
            ..Default::default()
        };
        let guidance = guidance(&huge);
        let (_, profile) = guidance.add_to(Challenge::of("Bearer"));
        assert!(profile.unwrap().profile.constraints.is_none());
    }

    #[test]
    fn the_remediation_names_this_call_and_no_more() {
        let configured = config::Guidance { enabled: true, ..Default::default() };
        let read = |guidance: Guidance<'_>| -> Value {
            serde_json::from_str(&guidance.remediation()).unwrap()
        };
        let remediation = read(guidance(&configured));
        assert_eq!(
            remediation["authorization_details"],
            json!([{"type": "agent_operation", "locations": ["https://tools.test/shop"],
                "operations": [{"action": "create_order", "method": "POST", "path": "/orders"}]}])
        );
        let starred = Guidance { raw_path: "/a*", ..guidance(&configured) };
        assert_eq!(
            read(starred)["authorization_details"][0]["operations"],
            json!([{"action": "create_order"}])
        );
        let unconfirmed = Guidance { confirmation_required: true, ..guidance(&configured) };
        let details = read(unconfirmed)["authorization_details"].clone();
        assert_eq!(details[0], remediation["authorization_details"][0]);
        assert_eq!(details[1], json!({"type": "authorization_evidence"}));
        assert_eq!(details.as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_operator_can_say_nothing() {
        let silent = config::Guidance::default();
        let silent = guidance(&silent);
        let (challenge, profile) = silent.add_to(Challenge::of("Bearer"));
        assert!(challenge.text == "Bearer" && profile.is_none());
    }
}
