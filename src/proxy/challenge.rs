//! Challenges and guidance: what a refused agent is told it would need
//! (`reverse-guided-errors.md` §2 to §4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::{Map, Value, json};

use crate::config;
use crate::model::operation::Operation;

/// The largest encoded blob, in bytes (`reverse-guided-errors.md` §2).
const MAX_BLOB: usize = 2 * 1_024;
/// The largest challenge, in bytes.
const MAX_FIELD: usize = 4 * 1_024;
/// The longest list of values that survives the second step of trimming.
const MAX_ENUM: usize = 20;

/// A `WWW-Authenticate` challenge under construction: `Bearer` and its parameters.
#[derive(Debug)]
pub struct Challenge {
    text: String,
    first: bool,
}

impl Challenge {
    /// A challenge without parameters.
    pub fn bearer() -> Self {
        Self { text: String::from("Bearer"), first: true }
    }

    /// Adds a parameter as a quoted string; what may not stand there is replaced by a space
    /// (RFC 6750 §3).
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.text.push_str(if self.first { " " } else { ", " });
        self.first = false;
        self.text.push_str(name);
        self.text.push_str("=\"");
        self.text.extend(value.chars().map(|c| if is_allowed(c) { c } else { ' ' }));
        self.text.push('"');
        self
    }

    /// The field value.
    pub fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.text).ok()
    }

    fn fits(&self, name: &str, value: &str) -> bool {
        value.len() <= MAX_BLOB && self.text.len() + name.len() + value.len() + 5 <= MAX_FIELD
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
    /// The scopes the operation requires.
    pub required_scope: Vec<&'a str>,
    /// The operation.
    pub operation: Operation<'a>,
    /// The path below the resource as sent.
    pub raw_path: &'a str,
}

impl Guidance<'_> {
    /// Adds `policy_profile` and `authorization_remediation`, trimmed in the stated order until the
    /// challenge keeps within its budget. Gives the profile back, for the body.
    pub fn add_to(&self, challenge: Challenge) -> (Challenge, Option<Value>) {
        if !self.configured.enabled {
            return (challenge, None);
        }
        let remediation = encode(&self.remediation());
        for trim in [
            Trim::Nothing,
            Trim::Descriptions,
            Trim::LongLists,
            Trim::Remediation,
            Trim::Constraints,
        ] {
            let profile = self.profile(trim);
            let encoded = encode(&profile);
            if !challenge.fits("policy_profile", &encoded) {
                continue;
            }
            let with_profile = Challenge { text: challenge.text.clone(), first: challenge.first };
            let with_profile = with_profile.with("policy_profile", &encoded);
            if trim >= Trim::Remediation {
                return (with_profile, Some(profile));
            }
            if with_profile.fits("authorization_remediation", &remediation) {
                return (
                    with_profile.with("authorization_remediation", &remediation),
                    Some(profile),
                );
            }
        }
        (challenge, None)
    }

    /// `reverse-guided-errors.md` §3. Constraints are the operator's own words, never derived from a policy.
    fn profile(&self, trim: Trim) -> Value {
        let mut profile = Map::new();
        profile.insert("auth_server".into(), self.auth_server.into());
        if let Some(uri) = &self.configured.profile_uri {
            profile.insert("profile_uri".into(), Value::from(&**uri));
        }
        if !self.required_scope.is_empty() {
            profile.insert("required_scope".into(), self.required_scope.clone().into());
        }
        if !self.configured.required_claims.is_empty() {
            let claims: Vec<&str> =
                self.configured.required_claims.iter().map(|claim| &**claim).collect();
            profile.insert("required_claims".into(), claims.into());
        }
        if trim < Trim::Constraints
            && let Some(constraints) = &self.configured.constraints
        {
            profile.insert("constraints".into(), trimmed(constraints, trim));
        }
        Value::Object(profile)
    }

    /// `reverse-guided-errors.md` §4: details that the client can copy into its next request, for this
    /// call and no more.
    fn remediation(&self) -> Value {
        let mut operation = json!({ "action": self.operation.action });
        // A `*` in a path would be a wildcard in a grant.
        if let Some(members) = operation.as_object_mut()
            && !self.raw_path.contains('*')
            && self.raw_path.len() <= 512
        {
            let path = if self.raw_path.is_empty() { "/" } else { self.raw_path };
            members.insert("method".into(), self.operation.method.as_str().into());
            members.insert("path".into(), path.into());
        }
        let details = json!([{
            "type": "agent_operation",
            "locations": [self.operation.resource],
            "operations": [operation],
        }]);
        // Members are sorted and hold no numbers, so this text is already canonical (RFC 8785).
        let canonical = details.to_string();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
        json!({
            "authorization_details": details,
            "authorization_reference": URL_SAFE_NO_PAD.encode(digest),
        })
    }
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

/// base64url without padding of the JSON text.
fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn guidance(configured: &config::Guidance) -> Guidance<'_> {
        Guidance {
            configured,
            auth_server: "https://as.example.com",
            required_scope: vec!["purchase.create"],
            operation: Operation {
                action: "create_order",
                method: &Method::POST,
                path: "/orders",
                resource: "https://tools.test/shop",
            },
            raw_path: "/orders",
        }
    }

    #[test]
    fn r_err_002_the_profile_is_base64url_of_json_with_the_auth_server() {
        let profile = json!({
            "auth_server": "https://as.example.com", "confirmation_required": true, "required_scope": ["purchase.create"],
        });
        assert_eq!(
            encode(&profile),
            "eyJhdXRoX3NlcnZlciI6Imh0dHBzOi8vYXMuZXhhbXBsZS5jb20iLCJjb25maXJtYXRpb25fcmVxdWlyZWQiOnRydWUsInJlcXVpcmVkX3Njb3BlIjpbInB1cmNoYXNlLmNyZWF0ZSJdfQ"
        );
    }

    #[test]
    fn r_err_009_parameters_are_ascii_and_the_challenge_is_trimmed_in_the_stated_order() {
        let challenge = Challenge::bearer().with("a", "x\"y\\z\u{e4}\n");
        assert_eq!(challenge.value().unwrap(), "Bearer a=\"x y z  \"");
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
            let (challenge, profile) = guidance(&configured).add_to(Challenge::bearer());
            let constraint = &profile.unwrap()["constraints"]["c"];
            assert!(kept.iter().all(|name| constraint.get(name).is_some()), "{kept:?}");
            assert!(lost.iter().all(|name| constraint.get(name).is_none()), "{lost:?}");
            assert!(challenge.value().unwrap().len() <= MAX_FIELD);
        }
        let many: Map<_, _> =
            (0..200).map(|n| (n.to_string(), json!({"type": "string"}))).collect();
        let huge = config::Guidance {
            enabled: true,
            constraints: Some(many.into()),
            ..Default::default()
        };
        let (_, profile) = guidance(&huge).add_to(Challenge::bearer());
        assert_eq!(profile.unwrap().get("constraints"), None);
    }

    #[test]
    fn the_remediation_names_this_call_and_no_more() {
        let configured = config::Guidance { enabled: true, ..Default::default() };
        let remediation = guidance(&configured).remediation();
        assert_eq!(
            remediation["authorization_details"],
            json!([{"type": "agent_operation", "locations": ["https://tools.test/shop"],
                "operations": [{"action": "create_order", "method": "POST", "path": "/orders"}]}])
        );
        let starred = Guidance { raw_path: "/a*", ..guidance(&configured) };
        assert_eq!(
            starred.remediation()["authorization_details"][0]["operations"],
            json!([{"action": "create_order"}])
        );
    }

    #[test]
    fn an_operator_can_say_nothing() {
        let silent = config::Guidance::default();
        let (challenge, profile) = guidance(&silent).add_to(Challenge::bearer());
        assert_eq!((challenge.text.as_str(), profile), ("Bearer", None));
    }
}
