//! The checks of a decision, in their order, and which of them a refusal stopped.
//!
//! A decision stops at the first failure, so its reason alone says how far it came. The trace is read
//! from that afterwards, and costs a decision nothing. A reason that can arise in several places stands
//! at the first of them: what is shown as passed has passed.

use crate::model::reason::{Denial, Reason};

/// A check, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The request can be read in one way, and is an operation of a resource (steps 1 to 5).
    Request,
    /// One token in one place (step 9).
    Credentials,
    /// The token can be read in one way (step 10a).
    Format,
    /// Issuer, algorithm, type and key are trusted (steps 10c to 10e).
    Trust,
    /// The signature verifies (step 10f).
    Signature,
    /// The claims are of an access token, and well formed (step 10g).
    Claims,
    /// The token is valid now (step 10h).
    Dates,
    /// What the token is bound to can be checked (steps 11, 12).
    Conditions,
    /// The agent's identity holds now (step 14).
    AgentIdentity,
    /// Every hop of its delegation holds (step 16).
    Delegation,
    /// The token is for this resource (step 10h).
    Audience,
    /// Nothing that it names is revoked (step 11).
    Revocation,
    /// The evidence of the person's confirmation holds, where it counts (step 17).
    Evidence,
    /// Every proof of possession that is due was given, for the first time (steps 12, 13).
    Proof,
    /// Person, agent and workload belong together (step 15).
    Workload,
    /// The presenter is the agent that the token was delegated to (delegation.md D17).
    Presenter,
    /// The body is as large as it may be, and can be read where it must be (steps 18, 19).
    Body,
    /// The operator does not deny the operation (step 21).
    Overlay,
    /// Every required scope is there (step 22).
    Scope,
    /// The person was authenticated as the operation demands (step 23).
    Authentication,
    /// Every policy that bounds the token allows it (steps 25, 26).
    Policies,
    /// A grant of the token covers the operation (steps 24, 26).
    Grants,
    /// The person has confirmed the operation as it demands (step 17).
    Confirmation,
    /// It fits into what is left of every cap, and the tasks that it names are its caller's (step 27).
    Quantities,
    /// What follows the decision: record and forward (steps 28, 29).
    Afterwards,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stopped the decision.
    Failed,
    /// The decision had stopped before it.
    NotReached,
    /// It passed.
    Passed,
}

impl Check {
    /// The checks that a decision makes, in order.
    pub const ALL: [Self; 24] = [
        Self::Request,
        Self::Credentials,
        Self::Format,
        Self::Trust,
        Self::Signature,
        Self::Claims,
        Self::Dates,
        Self::Conditions,
        Self::AgentIdentity,
        Self::Delegation,
        Self::Audience,
        Self::Revocation,
        Self::Evidence,
        Self::Proof,
        Self::Workload,
        Self::Presenter,
        Self::Body,
        Self::Overlay,
        Self::Scope,
        Self::Authentication,
        Self::Policies,
        Self::Grants,
        Self::Confirmation,
        Self::Quantities,
    ];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Credentials => "credentials",
            Self::Format => "format",
            Self::Trust => "issuer and key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Dates => "dates",
            Self::Conditions => "conditions",
            Self::Delegation => "delegation",
            Self::AgentIdentity => "agent identity",
            Self::Audience => "audience",
            Self::Revocation => "revocation",
            Self::Workload => "workload",
            Self::Proof => "proof",
            Self::Presenter => "presenter",
            Self::Confirmation => "confirmation",
            Self::Evidence => "evidence",
            Self::Body => "body",
            Self::Overlay => "operator's denials",
            Self::Scope => "scopes",
            Self::Authentication => "authentication",
            Self::Policies => "policies",
            Self::Grants => "grants",
            Self::Quantities => "quantities",
            Self::Afterwards => "record and forward",
        }
    }

    /// The check that a denial is the failure of.
    #[expect(clippy::too_many_lines, reason = "one table, read row by row")]
    pub fn of(denial: Denial) -> Self {
        let is_about_issuer = denial.about == Some("iss");
        // A chain that is too long is refused before any signature is looked at.
        let is_about_depth = denial.about == Some("D1");
        let is_about_grant = denial.about == Some("authorization_details");
        match denial.reason {
            Reason::AuthorityUnknown
            | Reason::HeaderDuplicate
            | Reason::HeaderNominated
            | Reason::HeaderTimeout
            | Reason::HeaderTooLarge
            | Reason::HttpMalformed
            | Reason::MethodNotAllowed
            | Reason::MethodOverride
            | Reason::MethodUnknown
            | Reason::NoRoute
            | Reason::OriginDenied
            | Reason::PathAmbiguous
            | Reason::UpgradeRefused => Self::Request,
            Reason::CredentialsSeveral
            | Reason::SchemeUnsupported
            | Reason::TokenAbsent
            | Reason::TokenInQuery => Self::Credentials,
            Reason::CriticalHeader | Reason::TokenMalformed => Self::Format,
            Reason::ClaimMalformed | Reason::ClaimMissing if is_about_issuer => Self::Trust,
            Reason::DelegationInvalid if is_about_depth => Self::Trust,
            Reason::AlgorithmRefused
            | Reason::IntrospectionUnavailable
            | Reason::IssuerUnknown
            | Reason::KeyUnknown
            | Reason::KeysUnavailable
            | Reason::TokenInactive
            | Reason::TypeRefused => Self::Trust,
            Reason::SignatureInvalid => Self::Signature,
            Reason::ClaimMalformed | Reason::ClaimMissing | Reason::ForeignToken => Self::Claims,
            Reason::IssuedInFuture
            | Reason::LifetimeTooLong
            | Reason::TokenExpired
            | Reason::TokenNotYetValid => Self::Dates,
            Reason::ConfirmationUnsupported | Reason::StatusUnchecked => Self::Conditions,
            Reason::DelegationInvalid | Reason::DelegationUnverified => Self::Delegation,
            Reason::AgentIdentityInvalid => Self::AgentIdentity,
            Reason::AudienceMismatch => Self::Audience,
            Reason::DelegationRevoked
            | Reason::RevocationsStale
            | Reason::StatusInvalid
            | Reason::StatusUnavailable
            | Reason::TokenRevoked => Self::Revocation,
            Reason::ConfirmationMismatch
            | Reason::DpopNonceRequired
            | Reason::DpopProofInvalid
            | Reason::DpopProofReplayed
            | Reason::FirstUseUnknown
            | Reason::ProofRequired
            | Reason::SchemeMismatch
            | Reason::WorkloadIdentityAbsent
            | Reason::WorkloadIdentityInvalid
            | Reason::WorkloadProofInvalid
            | Reason::WorkloadProofReplayed => Self::Proof,
            Reason::PresenterMismatch | Reason::PresenterUnproven => Self::Presenter,
            Reason::ConfirmationRequired => Self::Confirmation,
            Reason::AmountUnreadable
            | Reason::BudgetExceeded
            | Reason::ConcurrencyExceeded
            | Reason::GrantUsedUp
            | Reason::QuantityUnknown
            | Reason::RateExceeded
            | Reason::TaskUnknown => Self::Quantities,
            Reason::EvidenceInvalid => Self::Evidence,
            Reason::BindingMismatch | Reason::BindingUnavailable => Self::Workload,
            Reason::BodiesOverloaded
            | Reason::ArgumentsInvalid
            | Reason::BodyMalformed
            | Reason::BodyTimeout
            | Reason::BodyTooLarge
            | Reason::BodyTypeRefused
            | Reason::HeaderMismatch
            | Reason::MessageInvalid
            | Reason::OperationUnknown
            | Reason::ResponseUnsolicited
            | Reason::SessionUnknown
            | Reason::VersionUnsupported => Self::Body,
            Reason::DefinitionChanged | Reason::OverlayDenied => Self::Overlay,
            Reason::ScopeMissing => Self::Scope,
            Reason::AuthenticationInsufficient => Self::Authentication,
            // What fails in a grant, once every boundary has held, says so.
            Reason::ArgumentsOutside | Reason::NoApplicableGrant | Reason::NoOperationPolicy => {
                Self::Grants
            }
            Reason::PolicyBudget
            | Reason::PolicyDenied
            | Reason::PolicyDigestMismatch
            | Reason::PolicyEngineFailed
            | Reason::PolicyLanguageUnknown
            | Reason::PolicyNonBoolean
            | Reason::PolicyNotAdmitted
            | Reason::PolicyTimeout
            | Reason::PolicyUnavailable
            | Reason::PolicyUnbound
            | Reason::PolicyUndefined
            | Reason::PolicyUnresolvable
                if is_about_grant =>
            {
                Self::Grants
            }
            Reason::PoliciesTooMany
            | Reason::PolicyBudget
            | Reason::PolicyDenied
            | Reason::PolicyDigestMismatch
            | Reason::PolicyEngineFailed
            | Reason::PolicyLanguageUnknown
            | Reason::PolicyNonBoolean
            | Reason::PolicyNotAdmitted
            | Reason::PolicyTimeout
            | Reason::PolicyUnavailable
            | Reason::PolicyUnbound
            | Reason::PolicyUndefined
            | Reason::PolicyUnresolvable => Self::Policies,
            Reason::AuditOverloaded
            | Reason::AuditUnavailable
            | Reason::UpstreamFailed
            | Reason::UpstreamOverloaded
            | Reason::UpstreamTimeout
            | Reason::UpstreamUnreachable => Self::Afterwards,
        }
    }
}

/// How every check of a decision went, in order.
pub fn trace(denial: Option<Denial>) -> impl Iterator<Item = (Check, Verdict)> {
    let stopped = denial.map(Check::of);
    Check::ALL.into_iter().map(move |check| {
        let verdict = match stopped {
            Some(stop) if check == stop => Verdict::Failed,
            Some(stop) if check > stop => Verdict::NotReached,
            Some(_) | None => Verdict::Passed,
        };
        (check, verdict)
    })
}
