//! The names of the drafts' members, each in one place and in both spellings (`tokens.md` §4).
//!
//! The drafts print camelCase, the tokens in use are in `snake_case`. Either is taken; two members that
//! mean the same and differ could each be believed by another reader, so there is no such token here.

use serde_json::{Map, Value};

use crate::model::date;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;

/// The name of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// As it is written by us, and named in records.
    pub snake: &'static str,
    /// As the drafts print it.
    pub camel: &'static str,
}

macro_rules! names {
    ($($name:ident = $snake:literal | $camel:literal;)*) => {
        $(
            #[doc = concat!("`", $snake, "`")]
            pub const $name: Name = Name { snake: $snake, camel: $camel };
        )*

        /// Every name there is.
        pub const ALL: &[Name] = &[$($name,)*];
    };
}

names! {
    AGENT_IDENTITY = "agent_identity" | "agentIdentity";
    AGENT_OPERATION_AUTHORIZATION = "agent_operation_authorization" | "agentOperationAuthorization";
    AGENT_OPERATION_PROPOSAL = "agent_operation_proposal" | "agentOperationProposal";
    AGENT_USER_BINDING_PROPOSAL = "agent_user_binding_proposal" | "agentUserBindingProposal";
    AUDIT_TRAIL = "audit_trail" | "auditTrail";
    BINDING_INSTANCE_ID = "binding_instance_id" | "bindingInstanceId";
    CLIENT = "client" | "client";
    CLIENT_INSTANCE = "client_instance" | "clientInstance";
    CONSENT_INTERFACE_VERSION = "consent_interface_version" | "consentInterfaceVersion";
    CONTENT = "content" | "content";
    CONTEXT = "context" | "context";
    DIGEST = "digest" | "digest";
    ENDPOINT = "endpoint" | "endpoint";
    ENTRY_POINT = "entry_point" | "entryPoint";
    EXPIRES = "expires" | "expires";
    EXPIRES_AT = "expires_at" | "expiresAt";
    HASH = "hash" | "hash";
    ID = "id" | "id";
    ISSUANCE_DATE = "issuance_date" | "issuanceDate";
    ISSUED_FOR = "issued_for" | "issuedFor";
    ISSUED_TO = "issued_to" | "issuedTo";
    ISSUER = "issuer" | "issuer";
    LANGUAGE = "language" | "language";
    ORIGINAL_PROMPT_TEXT = "original_prompt_text" | "originalPromptText";
    PLATFORM = "platform" | "platform";
    POLICY = "policy" | "policy";
    POLICY_BINDING = "policy_binding" | "policyBinding";
    POLICY_ID = "policy_id" | "policyId";
    POLICY_REF = "policy_ref" | "policyRef";
    PROFILE = "profile" | "profile";
    REFERENCES = "references" | "references";
    RELATED_PROPOSAL_ID = "related_proposal_id" | "relatedProposalId";
    RENDERED_OPERATION_TEXT = "rendered_operation_text" | "renderedOperationText";
    RENDERED_TEXT = "rendered_text" | "renderedText";
    SEMANTIC_EXPANSION_LEVEL = "semantic_expansion_level" | "semanticExpansionLevel";
    SOURCE_PROMPT_CREDENTIAL = "source_prompt_credential" | "sourcePromptCredential";
    TYPE = "type" | "type";
    URI = "uri" | "uri";
    USER_ACKNOWLEDGE_TIMESTAMP = "user_acknowledge_timestamp" | "userAcknowledgeTimestamp";
    USER_IDENTITY = "user_identity" | "userIdentity";
    VALID_FROM = "valid_from" | "validFrom";
    VERSION = "version" | "version";
    WORKLOAD_IDENTITY = "workload_identity" | "workloadIdentity";
}

/// The members by which refusals of a policy that a token carries are called.
pub const OF_POLICY: [&str; 7] = [
    CONTENT.snake,
    ENTRY_POINT.snake,
    HASH.snake,
    LANGUAGE.snake,
    POLICY.snake,
    TYPE.snake,
    URI.snake,
];

impl Name {
    /// The refusal of a member that is not what it must be.
    pub const fn malformed(self) -> Denial {
        Denial::about(Reason::ClaimMalformed, self.snake)
    }

    /// The refusal of a token that lacks it.
    pub const fn missing(self) -> Denial {
        Denial::about(Reason::ClaimMissing, self.snake)
    }

    /// The member of `object` that goes by this name; refused where its spellings differ in value.
    pub fn of(self, object: &Map<String, Value>) -> Result<Option<&Value>, Denial> {
        match (object.get(self.snake), object.get(self.camel)) {
            (Some(one), Some(other)) if one != other => Err(self.malformed()),
            (found, other) => Ok(found.or(other)),
        }
    }

    /// Every member of `object` that goes by this name, whether they agree or not.
    pub fn all(self, object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
        let camel = object.get(self.camel).filter(|_| self.camel != self.snake);
        object.get(self.snake).into_iter().chain(camel)
    }

    /// Whether `object` has a member of this name.
    pub fn is_in(self, object: &Map<String, Value>) -> bool {
        object.contains_key(self.snake) || object.contains_key(self.camel)
    }

    /// An object.
    pub fn object(
        self,
        object: &Map<String, Value>,
    ) -> Result<Option<&Map<String, Value>>, Denial> {
        match self.of(object)? {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(self.malformed()),
        }
    }

    /// Text of 1 to `longest` bytes.
    pub fn text(self, object: &Map<String, Value>, longest: usize) -> Result<Option<&str>, Denial> {
        match self.of(object)? {
            None => Ok(None),
            Some(Value::String(text)) if (1..=longest).contains(&text.len()) => Ok(Some(text)),
            Some(_) => Err(self.malformed()),
        }
    }

    /// The same, to be kept.
    pub fn owned(
        self,
        object: &Map<String, Value>,
        longest: usize,
    ) -> Result<Option<Box<str>>, Denial> {
        Ok(self.text(object, longest)?.map(Into::into))
    }

    /// A moment as RFC 3339 writes it.
    pub fn moment(self, object: &Map<String, Value>) -> Result<Option<Timestamp>, Denial> {
        match self.of(object)? {
            None => Ok(None),
            Some(Value::String(text)) => date::rfc3339(text).map(Some).ok_or(self.malformed()),
            Some(_) => Err(self.malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn r_tok_021_either_spelling_is_read_and_r_tok_022_two_must_agree() {
        for (object, expected) in [
            (json!({"issued_to": "a"}), Ok(Some("a"))),
            (json!({"issuedTo": "a"}), Ok(Some("a"))),
            (json!({"issued_to": "a", "issuedTo": "a"}), Ok(Some("a"))),
            (json!({"issued_to": "a", "issuedTo": "b"}), Err(ISSUED_TO.malformed())),
            (json!({"issued_to": null, "issuedTo": "b"}), Err(ISSUED_TO.malformed())),
            (json!({"issued_to": 7}), Err(ISSUED_TO.malformed())),
            (json!({"issued_to": ""}), Err(ISSUED_TO.malformed())),
            (json!({"issued-to": "a", "IssuedTo": "a", "ISSUED_TO": "a"}), Ok(None)),
        ] {
            assert_eq!(ISSUED_TO.text(object.as_object().unwrap(), 9), expected, "{object}");
        }
    }

    #[test]
    fn the_two_spellings_of_a_name_are_the_same_words() {
        for name in ALL {
            let mut camel = String::new();
            for (n, word) in name.snake.split('_').enumerate() {
                let (first, rest) = word.split_at(1);
                let first = if n == 0 { first.to_owned() } else { first.to_uppercase() };
                camel.extend([first.as_str(), rest]);
            }
            assert_eq!(camel, name.camel);
        }
    }
}
