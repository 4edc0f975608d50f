//! A record as far as a review asks about it: read from its line without a copy, and all else skipped.

use std::borrow::Cow;

use serde::Deserialize;

/// What a review asks about a record. A text or number that is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Outline<'a> {
    /// The place in the log.
    pub seq: u64,
    /// When it was written.
    #[serde(borrow)]
    pub ts: Cow<'a, str>,
    /// The process epoch.
    #[serde(default)]
    pub ep: u64,
    /// `type`
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// The id of the decision, of the call that ended, or of the revocation.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    /// The trace that a call belongs to.
    #[serde(borrow, default)]
    pub trace_id: Cow<'a, str>,
    /// `allow` or `deny`
    #[serde(borrow, default)]
    pub decision: Cow<'a, str>,
    /// `observe`, where the call is forwarded whatever is decided.
    #[serde(borrow, default)]
    pub mode: Cow<'a, str>,
    /// Why it was decided so.
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
    /// The identifier of the resource.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
    /// The token's id.
    #[serde(borrow, default)]
    pub jti: Cow<'a, str>,
    /// SHA-256 of the token, in hexadecimal.
    #[serde(borrow, default)]
    pub token_sha256: Cow<'a, str>,
    /// The client.
    #[serde(borrow, default)]
    pub client_id: Cow<'a, str>,
    /// The agent.
    #[serde(borrow, default)]
    pub agent: Named<'a>,
    /// The person.
    #[serde(borrow, default)]
    pub user: Named<'a>,
    /// The person's confirmation.
    #[serde(borrow, default)]
    pub evidence: Named<'a>,
    /// Through whom it was delegated.
    #[serde(borrow, default)]
    pub delegation: Delegation<'a>,
    /// The policies that were asked.
    #[serde(borrow, default)]
    pub policies: Vec<Policy<'a>>,
    /// The operation.
    #[serde(borrow, default)]
    pub op: Operation<'a>,
    /// What a revocation is of.
    #[serde(borrow, default)]
    pub revoked: Revoked<'a>,
    /// How a call ended.
    #[serde(borrow, default)]
    pub result: Cow<'a, str>,
    /// Why a call failed.
    #[serde(borrow, default)]
    pub error: Cow<'a, str>,
    /// The decision that an outcome is of.
    #[serde(default)]
    pub of: Option<u64>,
    /// How many refusals were only counted.
    #[serde(default)]
    pub count: Option<u64>,
    /// Microseconds: of an outcome, from the decision to the end of the call.
    #[serde(default)]
    pub us: Option<u64>,
}

/// Somebody or something with an id, or known by a keyed hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Named<'a> {
    /// The id.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    /// The keyed hash.
    #[serde(borrow, default)]
    pub tag: Cow<'a, str>,
}

/// A delegation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Delegation<'a> {
    /// The id of the evidence of the consent that was delegated.
    #[serde(borrow, default)]
    pub root_evidence: Cow<'a, str>,
}

/// A policy that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Policy<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    /// SHA-256 of its text, in hexadecimal.
    #[serde(borrow, default)]
    pub sha256: Cow<'a, str>,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Operation<'a> {
    /// The action.
    #[serde(borrow, default)]
    pub action: Cow<'a, str>,
    /// The tool, the prompt or the resource that a message names.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// The session, as a keyed hash.
    #[serde(borrow, default)]
    pub session: Cow<'a, str>,
}

/// What a revocation is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Revoked<'a> {
    /// The kind of thing.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// The keyed hash of its name.
    #[serde(borrow, default)]
    pub tag: Cow<'a, str>,
}

impl<'a> Outline<'a> {
    /// The outline of the record in `line`; none where that is no record.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        // An array would be read as a struct, too.
        let is_object = line.first() == Some(&b'{');
        is_object.then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// What was decided, in a word: `allow`, `deny` or `would-deny`; empty where nothing was.
    pub fn verdict(&self) -> &'static str {
        match (&*self.decision, &*self.mode) {
            ("allow", _) => "allow",
            ("deny", "observe") => "would-deny",
            ("deny", _) => "deny",
            _ => "",
        }
    }

    /// Whether the call went on, and so has or will have an outcome.
    pub fn is_forwarded(&self) -> bool {
        self.kind == "decision" && matches!(self.verdict(), "allow" | "would-deny")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_a_copy_and_what_is_no_record_is_none() {
        let line = br#"{"v":1,"seq":7,"ts":"t","log":"gw","ep":1,"type":"decision","id":"i","decision":"deny","mode":"observe","agent":{"id":"a\u001b","instance":"b"},"user":{"tag":"h1:x"},"policies":[{"carrier":"c","id":"p","sha256":"ab","steps":3}],"us":41,"new":{"member":[1]}}"#;
        let outline = Outline::read(line).unwrap();
        assert!(matches!(outline.id, Cow::Borrowed("i")));
        assert_eq!((&*outline.agent.id, &*outline.user.tag), ("a\u{1b}", "h1:x"));
        assert_eq!((outline.verdict(), outline.is_forwarded()), ("would-deny", true));
        assert_eq!(&*outline.policies[0].id, "p");
        for bad in [&b""[..], b"nonsense", br#"[1,"t","decision"]"#, br#"{"seq":1}"#, b"{\"seq\""] {
            assert_eq!(Outline::read(bad), None);
        }
    }
}
