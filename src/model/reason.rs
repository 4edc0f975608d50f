//! Every way in which opgate refuses a call, as one closed list.
//!
//! A reason is an internal word: it goes into the audit log and into metrics under its [`code`],
//! and `proxy::reject` alone decides what the caller is told (`verification.md`, column `reason`).
//!
//! [`code`]: Reason::code

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $code:literal,)*) => {
        /// Why a call was refused, or why a permitted call could not be completed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word for this reason in audit records, metrics and logs.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The audit log cannot be written: no durable record, no call (503).
    AuditUnavailable => "audit_unavailable",
    /// More records are waiting for the disk than the bound allows (503).
    AuditOverloaded => "audit_overloaded",
    /// The authority names no host of this gate, or disagrees with the target or the TLS name (421).
    AuthorityUnknown => "authority_unknown",
    /// The header block is larger or longer than allowed (431).
    HeaderTooLarge => "header_too_large",
    /// The caller took too long to send the header (408).
    HeaderTimeout => "header_timeout",
    /// A header that decides must stand once, and stands several times (400).
    HeaderDuplicate => "header_duplicate",
    /// `Connection` nominates a header that decides (400).
    HeaderNominated => "header_nominated",
    /// The message cannot be read in exactly one way (400, connection closed).
    HttpMalformed => "http_malformed",
    /// The method is not one this gate knows (400).
    MethodUnknown => "method_unknown",
    /// A header asks for another method or path than the request line (400 where `strict_override`).
    MethodOverride => "method_override",
    /// The path exists for other methods (405).
    MethodNotAllowed => "method_not_allowed",
    /// A page of a browser calls, and its origin may not (403).
    OriginDenied => "origin_denied",
    /// No resource or no operation has this path (404).
    NoRoute => "no_route",
    /// The path could be read differently by another reader (400).
    PathAmbiguous => "path_ambiguous",
    /// A protocol upgrade that the resource does not allow (501).
    UpgradeRefused => "upgrade_refused",

    /// Credentials stand in more than one place (400).
    CredentialsSeveral => "credentials_several",
    /// An authentication scheme that is not ours (401).
    SchemeUnsupported => "scheme_unsupported",
    /// No credentials at all (401).
    TokenAbsent => "token_absent",
    /// `access_token` in the query (400).
    TokenInQuery => "token_in_query",

    /// `agent_identity` has ended, has not begun, or is of a foreign issuer (401).
    AgentIdentityInvalid => "agent_identity_invalid",
    /// `alg` is not allowed for this issuer, or does not fit the key (401).
    AlgorithmRefused => "algorithm_refused",
    /// `aud` does not hold the resource's identifier (401).
    AudienceMismatch => "audience_mismatch",
    /// Person, agent and workload do not belong together (401).
    BindingMismatch => "binding_mismatch",
    /// The service that knows which workload an agent is bound to gave no answer (503).
    BindingUnavailable => "binding_unavailable",
    /// A claim has the wrong type or an impossible value (401).
    ClaimMalformed => "claim_malformed",
    /// A claim that must be there is not (401).
    ClaimMissing => "claim_missing",
    /// `cnf` asks for a proof of possession that cannot be checked (401).
    ConfirmationUnsupported => "confirmation_unsupported",
    /// The token is bound to another key or certificate than the one that is proven (401).
    ConfirmationMismatch => "confirmation_mismatch",
    /// What the token says of the person's confirmation fails the check that the record names (401).
    EvidenceInvalid => "evidence_invalid",
    /// `crit` names extensions; none is implemented (401).
    CriticalHeader => "critical_header",
    /// Something that the token's delegation chain rests on was revoked (401).
    DelegationRevoked => "delegation_revoked",
    /// The delegation chain fails the check that the record names (401).
    DelegationInvalid => "delegation_invalid",
    /// The token carries a delegation chain that cannot be verified (401).
    DelegationUnverified => "delegation_unverified",
    /// The DPoP proof must carry a nonce of this gate, and carries none or an old one (401).
    DpopNonceRequired => "dpop_nonce_required",
    /// The DPoP proof is missing or wrong (401).
    DpopProofInvalid => "dpop_proof_invalid",
    /// The DPoP proof was used before (401).
    DpopProofReplayed => "dpop_proof_replayed",
    /// The token is of another kind than an access token (401).
    ForeignToken => "foreign_token",
    /// `iat` lies in the future (401).
    IssuedInFuture => "issued_in_future",
    /// `iss` is not an issuer of this resource (401).
    IssuerUnknown => "issuer_unknown",
    /// The issuer cannot be asked whether the token is active (503).
    IntrospectionUnavailable => "introspection_unavailable",
    /// The issuer's keys were never obtained (503).
    KeysUnavailable => "keys_unavailable",
    /// No key of the issuer fits the token (401).
    KeyUnknown => "key_unknown",
    /// `exp` minus `iat` is longer than the issuer is allowed (401).
    LifetimeTooLong => "lifetime_too_long",
    /// The issuer's feed of revocations is older than allowed (503).
    RevocationsStale => "revocations_stale",
    /// The presenter of a delegated token is another than the agent it was delegated to (401).
    PresenterMismatch => "presenter_mismatch",
    /// The presenter of a delegated token has not proven who it is (401).
    PresenterUnproven => "presenter_unproven",
    /// The resource takes tokens only that are bound to a key, and this one is not (401).
    ProofRequired => "proof_required",
    /// A bound token under `Bearer`, or one under `DPoP` that is not bound (401).
    SchemeMismatch => "scheme_mismatch",
    /// The signature does not verify (401).
    SignatureInvalid => "signature_invalid",
    /// The status list says that the token is not valid, or does not hold it (401).
    StatusInvalid => "status_invalid",
    /// The status list that the token refers to cannot be had, or not fresh enough (503).
    StatusUnavailable => "status_unavailable",
    /// The token refers to a status that cannot be checked (401).
    StatusUnchecked => "status_unchecked",
    /// `exp` has passed (401).
    TokenExpired => "token_expired",
    /// The issuer says that the token is not active (401).
    TokenInactive => "token_inactive",
    /// Not a compact JWS of strict base64url and strict JSON within the bounds (401).
    TokenMalformed => "token_malformed",
    /// `nbf` lies in the future (401).
    TokenNotYetValid => "token_not_yet_valid",
    /// The token, or something that it names, was revoked (401).
    TokenRevoked => "token_revoked",
    /// `typ` is not allowed for this issuer (401).
    TypeRefused => "type_refused",
    /// A workload identity token is required and there is none (401).
    WorkloadIdentityAbsent => "workload_identity_absent",
    /// The workload identity token is not valid (400).
    WorkloadIdentityInvalid => "workload_identity_invalid",
    /// The workload proof is missing or wrong (401).
    WorkloadProofInvalid => "workload_proof_invalid",
    /// The workload proof was used before (401).
    WorkloadProofReplayed => "workload_proof_replayed",

    /// What a cap counts cannot be read from the body: not there, no number, or less than nothing (403).
    AmountUnreadable => "amount_unreadable",
    /// The person was authenticated too long ago, or not well enough (401).
    AuthenticationInsufficient => "authentication_insufficient",
    /// The arguments do not fit the document that describes the operation, or one of them has two values (400).
    ArgumentsInvalid => "arguments_invalid",
    /// The grant covers the operation, and not with these arguments (403).
    ArgumentsOutside => "arguments_outside",
    /// More bodies are being judged than there is room for (503).
    BodiesOverloaded => "bodies_overloaded",
    /// The body must be read, and is not strict JSON, or broke off (400).
    BodyMalformed => "body_malformed",
    /// The body must be read, and is announced as something else than plain JSON (415).
    BodyTypeRefused => "body_type_refused",
    /// The body did not arrive in time (408).
    BodyTimeout => "body_timeout",
    /// The body is larger than the resource allows (413).
    BodyTooLarge => "body_too_large",
    /// The tool is not described as it was when it was approved, or could be taken for another (403).
    DefinitionChanged => "definition_changed",
    /// A header that repeats what the message says does not agree with it (400).
    HeaderMismatch => "header_mismatch",
    /// The body is not one message of the protocol (400).
    MessageInvalid => "message_invalid",
    /// The message asks for something that is not known here, so that nobody can have agreed to it (403; 404
    /// from MCP 2026-07-28 on).
    OperationUnknown => "operation_unknown",
    /// The message answers what nobody asked the caller (403).
    ResponseUnsolicited => "response_unsolicited",
    /// The session that is named is not known, or is another's (404).
    SessionUnknown => "session_unknown",
    /// The task that is named is not known, or is another's (404).
    TaskUnknown => "task_unknown",
    /// The revision of the protocol is not one that is spoken here (400).
    VersionUnsupported => "version_unsupported",

    /// The amount does not fit into what is left of a budget (403).
    BudgetExceeded => "budget_exceeded",
    /// As many calls of the caller go on as may at one time (429).
    ConcurrencyExceeded => "concurrency_exceeded",
    /// The token was used as often, or for as much, as the operator lets one be (403).
    GrantUsedUp => "grant_used_up",
    /// What was used of a cap cannot be told: the ledger is full, or records of it may be lost (503).
    QuantityUnknown => "quantity_unknown",
    /// The caller has made as many calls as it may in a window (429).
    RateExceeded => "rate_exceeded",
    /// Whether a proof was used before cannot be told: the memory is full, or an unclean end lost it (503).
    FirstUseUnknown => "first_use_unknown",
    /// No grant of the token applies to this operation (403).
    NoApplicableGrant => "no_applicable_grant",
    /// The operation needs a confirmation of the person that is not there, too old or too weak (403).
    ConfirmationRequired => "confirmation_required",
    /// The token carries no operation policy and the resource wants one (403).
    NoOperationPolicy => "no_operation_policy",
    /// The operator denies this operation whatever a token says (403, no guidance).
    OverlayDenied => "overlay_denied",
    /// More policies bear on the operation than one request may cost (403).
    PoliciesTooMany => "policies_too_many",
    /// A policy used up the steps that it may take (500).
    PolicyBudget => "policy_budget",
    /// A policy says no (403).
    PolicyDenied => "policy_denied",
    /// The text of a policy is not the one that was consented to (403).
    PolicyDigestMismatch => "policy_digest_mismatch",
    /// The engine failed on a policy (500).
    PolicyEngineFailed => "policy_engine_failed",
    /// A policy that applies is written in a language that cannot be evaluated (500).
    PolicyLanguageUnknown => "policy_language_unknown",
    /// A policy says something else than yes or no, which is no (403).
    PolicyNonBoolean => "policy_non_boolean",
    /// A policy uses what policies must not use, or is none (500).
    PolicyNotAdmitted => "policy_not_admitted",
    /// A policy was stopped because it took too long (500).
    PolicyTimeout => "policy_timeout",
    /// The server that has a policy gives no answer (503).
    PolicyUnavailable => "policy_unavailable",
    /// Nothing ties the text of a policy to the token that names it (403).
    PolicyUnbound => "policy_unbound",
    /// A policy has no value for this input, which is no (403).
    PolicyUndefined => "policy_undefined",
    /// A policy that the token names is nowhere that may be asked (403).
    PolicyUnresolvable => "policy_unresolvable",
    /// The token lacks a scope that the operation requires (403).
    ScopeMissing => "scope_missing",

    /// The permitted call broke off before the upstream's answer was complete (502).
    UpstreamFailed => "upstream_failed",
    /// Every connection to the upstream is in use and the wait ended (503).
    UpstreamOverloaded => "upstream_overloaded",
    /// The upstream did not answer in time (504).
    UpstreamTimeout => "upstream_timeout",
    /// No address of the upstream could be connected to (502).
    UpstreamUnreachable => "upstream_unreachable",
}

impl Reason {
    /// What a refusal for this reason is flagged with, where somebody should look at it at once: another
    /// text stands behind the name of a policy than the one that was consented to (`policy.md` §6.3).
    pub const fn alert(self) -> Option<&'static str> {
        if matches!(self, Self::DefinitionChanged | Self::PolicyDigestMismatch) {
            Some(self.code())
        } else {
            None
        }
    }

    /// Whether the refused caller had shown no valid token: such refusals are aggregated under a flood.
    pub const fn is_unauthenticated(self) -> bool {
        matches!(self.stage(), Stage::Hygiene | Stage::Credential | Stage::Token)
    }

    /// Whether a cap refused the call. It costs its caller nothing to be refused again and again.
    pub const fn is_of_a_cap(self) -> bool {
        matches!(
            self,
            Self::BudgetExceeded
                | Self::ConcurrencyExceeded
                | Self::GrantUsedUp
                | Self::QuantityUnknown
                | Self::RateExceeded
        )
    }

    /// The stage of `verification.md` that the reason belongs to.
    #[expect(clippy::too_many_lines, reason = "one table, read row by row")]
    pub const fn stage(self) -> Stage {
        match self {
            Self::AuthorityUnknown
            | Self::HeaderDuplicate
            | Self::HeaderNominated
            | Self::HeaderTimeout
            | Self::HeaderTooLarge
            | Self::HttpMalformed
            | Self::MethodNotAllowed
            | Self::MethodOverride
            | Self::MethodUnknown
            | Self::NoRoute
            | Self::OriginDenied
            | Self::PathAmbiguous
            | Self::UpgradeRefused => Stage::Hygiene,
            Self::CredentialsSeveral
            | Self::SchemeUnsupported
            | Self::TokenAbsent
            | Self::TokenInQuery => Stage::Credential,
            Self::AgentIdentityInvalid
            | Self::AlgorithmRefused
            | Self::AudienceMismatch
            | Self::BindingMismatch
            | Self::BindingUnavailable
            | Self::ClaimMalformed
            | Self::ClaimMissing
            | Self::ConfirmationMismatch
            | Self::ConfirmationUnsupported
            | Self::CriticalHeader
            | Self::DelegationRevoked
            | Self::DelegationInvalid
            | Self::EvidenceInvalid
            | Self::DelegationUnverified
            | Self::DpopNonceRequired
            | Self::DpopProofInvalid
            | Self::DpopProofReplayed
            | Self::ForeignToken
            | Self::IssuedInFuture
            | Self::IntrospectionUnavailable
            | Self::IssuerUnknown
            | Self::KeyUnknown
            | Self::KeysUnavailable
            | Self::LifetimeTooLong
            | Self::RevocationsStale
            | Self::PresenterMismatch
            | Self::PresenterUnproven
            | Self::ProofRequired
            | Self::SchemeMismatch
            | Self::SignatureInvalid
            | Self::StatusInvalid
            | Self::StatusUnavailable
            | Self::StatusUnchecked
            | Self::TokenExpired
            | Self::TokenInactive
            | Self::TokenMalformed
            | Self::TokenNotYetValid
            | Self::TokenRevoked
            | Self::TypeRefused
            | Self::WorkloadIdentityAbsent
            | Self::WorkloadIdentityInvalid
            | Self::WorkloadProofInvalid
            | Self::WorkloadProofReplayed => Stage::Token,
            Self::AuditOverloaded
            | Self::AuditUnavailable
            | Self::AuthenticationInsufficient
            | Self::ArgumentsInvalid
            | Self::ArgumentsOutside
            | Self::BodiesOverloaded
            | Self::BodyMalformed
            | Self::BodyTimeout
            | Self::BodyTooLarge
            | Self::BodyTypeRefused
            | Self::AmountUnreadable
            | Self::BudgetExceeded
            | Self::ConcurrencyExceeded
            | Self::ConfirmationRequired
            | Self::FirstUseUnknown
            | Self::GrantUsedUp
            | Self::DefinitionChanged
            | Self::HeaderMismatch
            | Self::MessageInvalid
            | Self::OperationUnknown
            | Self::QuantityUnknown
            | Self::RateExceeded
            | Self::ResponseUnsolicited
            | Self::SessionUnknown
            | Self::TaskUnknown
            | Self::VersionUnsupported
            | Self::NoApplicableGrant
            | Self::NoOperationPolicy
            | Self::OverlayDenied
            | Self::PoliciesTooMany
            | Self::PolicyBudget
            | Self::PolicyDenied
            | Self::PolicyDigestMismatch
            | Self::PolicyEngineFailed
            | Self::PolicyLanguageUnknown
            | Self::PolicyNonBoolean
            | Self::PolicyNotAdmitted
            | Self::PolicyTimeout
            | Self::PolicyUnavailable
            | Self::PolicyUnbound
            | Self::PolicyUndefined
            | Self::PolicyUnresolvable
            | Self::ScopeMissing => Stage::Operation,
            Self::UpstreamFailed
            | Self::UpstreamOverloaded
            | Self::UpstreamTimeout
            | Self::UpstreamUnreachable => Stage::Forwarding,
        }
    }
}

/// A refusal: the reason, and where one exists the claim, header or key that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// About what: a fixed word, never input.
    pub about: Option<&'static str>,
}

impl Denial {
    /// A refusal about `about`.
    pub const fn about(reason: Reason, about: &'static str) -> Self {
        Self { reason, about: Some(about) }
    }

    /// The same refusal, told as one of another kind: what is wrong with a proof is found by the same
    /// checks as what is wrong with a token, and is called otherwise.
    #[must_use]
    pub const fn told_as(self, reason: Reason) -> Self {
        Self { reason, about: self.about }
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { reason, about: None }
    }
}

/// The stages of `verification.md`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A: request hygiene, before any token work.
    Hygiene,
    /// B: credential extraction.
    Credential,
    /// C: token verification.
    Token,
    /// D: the operation.
    Operation,
    /// Step 29: forwarding.
    Forwarding,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_words() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        for code in &codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
