//! The text of a policy that a token names, and what ties it to the token (`policy.md` §6).
//!
//! The signature of a token covers the name of a policy and not its text. Whoever can change the text
//! behind a name could give tokens that a person consented to another power, so a text counts only when a
//! digest that the token carries, or the name itself, is that of the text.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::hex::hex;
use crate::model::json;
use crate::model::reason::Reason;
use crate::token::hash::{self, sha256};
use crate::token::jcs;
use crate::token::policies::Digest;

/// The longest text that may stand behind a name, in bytes (`policy.md` §5).
pub const MAX_SOURCE: usize = 64 * 1_024;
/// How deep an answer may nest.
const MAX_DEPTH: usize = 16;
/// The longest value beside the text, in bytes.
const MAX_MEMBER: usize = 2_048;

/// `policy.md` §5: the rule that decides where nothing else is said.
const DEFAULT_ENTRY_POINT: &str = "allow";

/// A policy as a registry, a file or an answer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The text.
    pub text: Arc<str>,
    /// SHA-256 of the text.
    pub sha256: [u8; 32],
    /// `language`, where the registry says: `rego` where it does not.
    pub language: Option<Box<str>>,
    /// `media_type`, `language_version`, `entrypoint` and `input_schema_digest`: what a
    /// `policy_binding` is over beside the text.
    pub members: Members,
    /// `policy_id`: what it calls itself.
    pub id: Option<Box<str>>,
    /// `issuer`: whose name it is, where it says.
    pub issuer: Option<Box<str>>,
}

/// The values of a registry record that a `policy_binding` covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// `media_type`
    pub media_type: Option<Box<str>>,
    /// `language_version`
    pub language_version: Option<Box<str>>,
    /// `entrypoint`
    pub entrypoint: Option<Box<str>>,
    /// `input_schema_digest`
    pub input_schema_digest: Option<Box<str>>,
}

/// Why an answer or a file is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPolicy {
    /// It is no text.
    #[error("it is not UTF-8")]
    Encoding,
    /// Its text has no length that a policy may have.
    #[error("its text is empty or larger than 64 KiB")]
    Length,
    /// One of its members is not as it must be.
    #[error("its `{0}` is not a text of 1 to 2048 bytes")]
    Member(&'static str),
    /// It is another policy, or two.
    #[error("its `policy_id` and `id` differ, or are not the name that was asked for")]
    Name,
    /// It has no text, or two of which each could be believed by another reader.
    #[error("it must have one text, as `source`, `content` or `rego_policy`")]
    Source,
    /// It is not the JSON that it should be.
    #[error("it is not strict JSON: {0}")]
    Syntax(String),
}

impl Record {
    /// A text of which nothing else is known.
    pub fn of(text: &str) -> Self {
        Self {
            text: text.into(),
            sha256: sha256(text.as_bytes()),
            language: None,
            members: Members::default(),
            id: None,
            issuer: None,
        }
    }

    /// The language: a registry says it by name or by media type; one that says nothing has Rego.
    pub fn language_name(&self) -> &str {
        match (self.language.as_deref(), self.members.media_type.as_deref()) {
            (Some(language), _) => language,
            (None, Some("application/cedar")) => "cedar",
            (None, Some("application/rego") | None) => "rego",
            (None, Some(other)) => other,
        }
    }

    /// The rule that decides.
    pub fn entry_point(&self) -> &str {
        self.members.entrypoint.as_deref().unwrap_or(DEFAULT_ENTRY_POINT)
    }

    /// Reads the body of an answer: a registry record in JSON, or the bare text. Where it names itself,
    /// it must be the one called `id`.
    pub fn read(body: &[u8], is_json: bool, id: Option<&str>) -> Result<Self, NotAPolicy> {
        if !is_json {
            let text = std::str::from_utf8(body).map_err(|_error| NotAPolicy::Encoding)?;
            return if fits(text) { Ok(Self::of(text)) } else { Err(NotAPolicy::Length) };
        }
        let members = json::parse_object(body, MAX_DEPTH);
        let members = members.map_err(|error| NotAPolicy::Syntax(error.to_string()))?;
        let text = |name: &'static str| text(&members, name);
        let names = [text("policy_id")?, text("id")?];
        let own = names.into_iter().flatten().next();
        let differs = |name: &&str| Some(*name) != own || id.is_some_and(|asked| asked != *name);
        if names.iter().flatten().any(differs) {
            return Err(NotAPolicy::Name);
        }
        // Two texts in one answer could each be believed by another reader.
        let mut sources =
            ["source", "content", "rego_policy"].iter().filter_map(|name| members.get(*name));
        let (source, further) = (sources.next(), sources.next());
        let source = source.and_then(Value::as_str);
        let (Some(source), None) = (source, further) else { return Err(NotAPolicy::Source) };
        if !fits(source) {
            return Err(NotAPolicy::Length);
        }
        Ok(Self {
            language: text("language")?.map(Into::into),
            id: own.map(Into::into),
            issuer: text("issuer")?.map(Into::into),
            members: Members {
                media_type: text("media_type")?.map(Into::into),
                language_version: text("language_version")?.map(Into::into),
                entrypoint: text("entrypoint")?.map(Into::into),
                input_schema_digest: text("input_schema_digest")?.map(Into::into),
            },
            ..Self::of(source)
        })
    }

    /// What `policy_binding.digest` is of: SHA-256 over the canonical JSON of exactly five values. A
    /// record that lacks one of them has none, and satisfies no binding.
    pub fn binding(&self) -> Option<[u8; 32]> {
        let members = json!({
            "media_type": self.members.media_type.as_deref()?,
            "language_version": self.members.language_version.as_deref()?,
            "entrypoint": self.members.entrypoint.as_deref()?,
            "input_schema_digest": self.members.input_schema_digest.as_deref()?,
            "source": &*self.text,
        });
        Some(sha256(&jcs::map(members.as_object()?).ok()?))
    }
}

fn fits(text: &str) -> bool {
    (1..=MAX_SOURCE).contains(&text.len())
}

fn text<'m>(
    members: &'m Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'m str>, NotAPolicy> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=MAX_MEMBER).contains(&text.len()) => Ok(Some(text)),
        Some(_) => Err(NotAPolicy::Member(name)),
    }
}

/// What ties a text to the token that names it (§6.2). All that is there must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tie<'a> {
    /// `hash`, over the octets of the text.
    pub digest: Option<&'a Digest>,
    /// `policy_binding.digest`, over the canonical registry record.
    pub binding: Option<&'a [u8; 32]>,
    /// The name, which may be the digest itself.
    pub id: Option<&'a str>,
}

impl Tie<'_> {
    /// Whether anything ties a text at all, whatever the text is.
    pub fn is_tight(&self) -> bool {
        self.digest.is_some() || self.binding.is_some() || self.addressed().is_some()
    }

    /// Whether the text of `record` is the one that was meant; `None` where nothing says.
    pub fn holds(&self, record: &Record) -> Option<bool> {
        let named = self.addressed();
        let digests = [self.digest, named.as_ref()];
        let mut holds = None;
        for digest in digests.into_iter().flatten() {
            holds = Some(holds.unwrap_or(true) && digest.is_of(record.text.as_bytes()));
        }
        if let Some(expected) = self.binding {
            let is_same = record.binding().is_some_and(|own| hash::equal(&own, expected));
            holds = Some(holds.unwrap_or(true) && is_same);
        }
        holds
    }

    /// An id that is the digest of the text: `sha256:…` in hexadecimal, or as `hash` writes it.
    fn addressed(&self) -> Option<Digest> {
        self.id.and_then(Digest::parse_address)
    }
}

/// The name under which the first text is pinned (§6.3).
pub fn pin_name(id: Option<&str>, uri: Option<&str>) -> Option<String> {
    match (id, uri) {
        (Some(id), _) => Some(format!("id {id}")),
        (None, Some(uri)) => Some(format!("uri {uri}")),
        (None, None) => None,
    }
}

/// A digest as records and messages write it.
pub fn shown(sha256: &[u8; 32]) -> String {
    format!("sha256:{}", hex(sha256))
}

/// Whether a reason is a failure of an engine or of a policy as such, and not an answer (§3).
pub const fn is_error(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PolicyBudget
            | Reason::PolicyEngineFailed
            | Reason::PolicyLanguageUnknown
            | Reason::PolicyNotAdmitted
            | Reason::PolicyTimeout
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "package agent\n\ndefault allow := false\n\nallow if { input.transaction.amount <= 50.0 }";
    const SCHEMA: &str = "sha256:8a3fe3d7433982f5905ed8bb8bb2f79d64b3f30f7d55c94175e75eddb645e9f9";

    fn record(source: &str) -> Record {
        let body = json!({
            "policy_id": "p", "media_type": "application/rego", "language_version": "rego.v1",
            "entrypoint": "data.agent.allow", "input_schema_digest": SCHEMA, "source": source,
        });
        Record::read(body.to_string().as_bytes(), true, Some("p")).unwrap()
    }

    #[test]
    fn r_pol_018_the_binding_is_over_five_members_in_canonical_form() {
        // policy.md §6.6.
        let good = record(SOURCE);
        let binding = good.binding().unwrap();
        assert_eq!(
            hex(&binding),
            "c2fb6006f7fbd9532e47991c4e31b14e46859d00d695421c19e525f29f875cf0"
        );
        let raised = record(&SOURCE.replace("50.0", "5000.0"));
        assert_eq!(
            hex(&raised.binding().unwrap()),
            "5a6fedf12dafe04f55c2e3d3a8098ae2647706cd00b9d45e1189916145f1e48a"
        );
        let tie = Tie { binding: Some(&binding), ..Tie::default() };
        assert_eq!((tie.holds(&good), tie.holds(&raised)), (Some(true), Some(false)));
        for lacking in ["media_type", "language_version", "entrypoint", "input_schema_digest"] {
            let mut record = good.clone();
            let members = &mut record.members;
            match lacking {
                "media_type" => members.media_type = None,
                "language_version" => members.language_version = None,
                "entrypoint" => members.entrypoint = None,
                _ => members.input_schema_digest = None,
            }
            assert_eq!(tie.holds(&record), Some(false), "{lacking}");
        }
    }

    #[test]
    fn r_pol_017_a_hash_and_a_name_that_is_one_are_over_the_octets_of_the_text() {
        let printed = "sha256-JzkDa0wlgOyiHFWcIcBHqCWLyP/vkvs5kMJC1xgoDMM=";
        let hexadecimal = format!("sha256:{}", hex(&sha256(SOURCE.as_bytes())));
        let digest = Digest::parse(printed).unwrap();
        let (good, other) = (Record::of(SOURCE), Record::of(&format!("{SOURCE}\n")));
        for tie in [
            Tie { digest: Some(&digest), ..Tie::default() },
            Tie { id: Some(printed), ..Tie::default() },
            Tie { id: Some(&hexadecimal), ..Tie::default() },
        ] {
            assert!(tie.is_tight());
            assert_eq!((tie.holds(&good), tie.holds(&other)), (Some(true), Some(false)), "{tie:?}");
        }
        for id in ["p", "sha256:00", "sha1-AAAA", "SHA256:", &hexadecimal.to_uppercase()] {
            let tie = Tie { id: Some(id), ..Tie::default() };
            assert!(!tie.is_tight() && tie.holds(&good).is_none(), "{id}");
        }
        // All that is there must hold.
        let foreign = [0; 32];
        let tie = Tie { digest: Some(&digest), binding: Some(&foreign), id: None };
        assert_eq!(tie.holds(&good), Some(false));
    }

    #[test]
    fn an_answer_is_one_text_of_the_name_that_was_asked_for() {
        let read = |body: Value| Record::read(body.to_string().as_bytes(), true, Some("p"));
        assert_eq!(&*read(json!({"source": "x"})).unwrap().text, "x");
        let reference = json!({"policy_id": "p", "rego_policy": "x", "description": null});
        assert_eq!(&*read(reference).unwrap().text, "x");
        for (bad, why) in [
            (json!({}), NotAPolicy::Source),
            (json!({"source": ""}), NotAPolicy::Length),
            (json!({"source": 7}), NotAPolicy::Source),
            (json!({"source": "x".repeat(MAX_SOURCE + 1)}), NotAPolicy::Length),
            (json!({"policy_id": "q", "source": "x"}), NotAPolicy::Name),
            (json!({"id": "q", "source": "x"}), NotAPolicy::Name),
            (json!({"source": "x", "content": "x"}), NotAPolicy::Source),
            (json!({"source": "x", "language": 7}), NotAPolicy::Member("language")),
            (json!({"source": "x", "entrypoint": ""}), NotAPolicy::Member("entrypoint")),
        ] {
            assert_eq!(read(bad.clone()), Err(why), "{bad}");
        }
        assert_eq!(&*Record::read(b"package x", false, None).unwrap().text, "package x");
        let long = vec![b'x'; MAX_SOURCE + 1];
        for (bad, why) in [
            (&b""[..], NotAPolicy::Length),
            (b"\xff", NotAPolicy::Encoding),
            (&long, NotAPolicy::Length),
        ] {
            assert_eq!(Record::read(bad, false, None), Err(why));
        }
        for bad in [&br#"{"source":"a","source":"b"}"#[..], b"[]", b"{", b"\xff"] {
            assert!(matches!(Record::read(bad, true, None), Err(NotAPolicy::Syntax(_))));
        }
    }
}
