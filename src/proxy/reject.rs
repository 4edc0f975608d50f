//! Reasons become HTTP here, and nowhere else. A new reason breaks the build in this file, on purpose.

#![deny(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use serde::Serialize;

use super::challenge::{Challenge, Guidance, Profile, Told};
use super::headers::{AUDIT_ID, DECISION_ID};
use super::jsonrpc::{self, Answer, Reply};
use crate::config::Resource;
use crate::model::authentication::Demand;
use crate::model::reason::{Denial, Reason};
use crate::operation::contract::Misfit;
use crate::token::extract::Scheme;

const BEARER: &str = "Bearer";
const DPOP: &str = "DPoP";
const WPT: &str = "WPT";

/// What a caller is told about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The status.
    pub status: StatusCode,
    /// The `error` code of the body, and of the challenge where there is one.
    pub error: &'static str,
    /// One fixed sentence, at most 120 characters, which never echoes input.
    pub description: &'static str,
    /// Which challenge goes with it.
    pub challenge: Challenged,
}

/// Which challenge a refusal carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// The schemes of the resource with `resource_metadata` and no `error` (RFC 6750 §3.1).
    Bare,
    /// `DPoP` with `error` (RFC 9449 §7.1).
    Dpop,
    /// The scheme that was used, with `error`.
    Error,
    /// The scheme that was used, with `error` and what would cover the operation.
    Guided,
    /// None.
    No,
    /// `WPT` with `error`.
    Workload,
}

const fn shape(
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    challenge: Challenged,
) -> Shape {
    Shape { status, error, description, challenge }
}

/// The one table from reasons to responses (`reverse-guided-errors.md` §1).
#[expect(clippy::too_many_lines, reason = "one table, read row by row")]
pub const fn of(reason: Reason) -> Shape {
    use Challenged::{Bare, Dpop, Error, Guided, No, Workload};
    const INVALID_TOKEN: Shape = shape(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "The access token is not valid for this resource",
        Error,
    );
    const MALFORMED: Shape = shape(
        StatusCode::BAD_REQUEST,
        "bad_request",
        "The request can be read in more than one way",
        No,
    );
    const BAD_CREDENTIALS: Shape = shape(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "Credentials belong in one Authorization header and nowhere else",
        Error,
    );
    const NOT_AUTHORIZED: Shape = shape(
        StatusCode::FORBIDDEN,
        "insufficient_authorization",
        "The operation is outside the approved authorization",
        Guided,
    );
    const UNAVAILABLE: Shape =
        shape(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "Try again later", No);
    const NO_UPSTREAM: Shape = shape(
        StatusCode::BAD_GATEWAY,
        "bad_gateway",
        "The tool server did not give a complete answer",
        No,
    );
    match reason {
        Reason::AuthorityUnknown => shape(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "This host is not served here",
            No,
        ),
        Reason::HeaderTooLarge => shape(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            "The header is too large",
            No,
        ),
        Reason::HeaderTimeout | Reason::BodyTimeout => shape(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request did not arrive in time",
            No,
        ),
        Reason::HeaderDuplicate
        | Reason::HeaderNominated
        | Reason::HttpMalformed
        | Reason::MethodOverride
        | Reason::MethodUnknown
        | Reason::PathAmbiguous => MALFORMED,
        Reason::MethodNotAllowed => shape(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The method is not allowed here",
            No,
        ),
        Reason::OriginDenied => shape(
            StatusCode::FORBIDDEN,
            "origin_denied",
            "Pages of this origin may not call here",
            No,
        ),
        Reason::NoRoute => shape(StatusCode::NOT_FOUND, "not_found", "Nothing is served here", No),
        Reason::UpgradeRefused => shape(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "The protocol cannot be changed here",
            No,
        ),
        Reason::SchemeUnsupported | Reason::TokenAbsent => {
            shape(StatusCode::UNAUTHORIZED, "unauthorized", "An access token is required", Bare)
        }
        Reason::CredentialsSeveral | Reason::TokenInQuery => BAD_CREDENTIALS,
        Reason::TokenExpired => {
            shape(StatusCode::UNAUTHORIZED, "invalid_token", "The access token has expired", Error)
        }
        Reason::DelegationInvalid | Reason::DelegationRevoked | Reason::DelegationUnverified => {
            shape(
                StatusCode::UNAUTHORIZED,
                "invalid_delegation_chain",
                "The delegation chain of the access token cannot be verified",
                Error,
            )
        }
        Reason::DpopProofInvalid | Reason::DpopProofReplayed => shape(
            StatusCode::UNAUTHORIZED,
            "invalid_dpop_proof",
            "The DPoP proof is not valid for this request",
            Dpop,
        ),
        Reason::DpopNonceRequired => shape(
            StatusCode::UNAUTHORIZED,
            "use_dpop_nonce",
            "The DPoP proof must carry the nonce of this response",
            Dpop,
        ),
        Reason::WorkloadIdentityInvalid => {
            Shape { description: "The workload identity token is not valid", ..BAD_CREDENTIALS }
        }
        Reason::WorkloadIdentityAbsent => shape(
            StatusCode::UNAUTHORIZED,
            "invalid_workload_proof",
            "A workload identity token and its proof are required",
            Workload,
        ),
        Reason::WorkloadProofInvalid | Reason::WorkloadProofReplayed => shape(
            StatusCode::UNAUTHORIZED,
            "invalid_workload_proof",
            "The workload proof is not valid for this request",
            Workload,
        ),
        Reason::AgentIdentityInvalid
        | Reason::AlgorithmRefused
        | Reason::AudienceMismatch
        | Reason::BindingMismatch
        | Reason::ClaimMalformed
        | Reason::ClaimMissing
        | Reason::ConfirmationMismatch
        | Reason::ConfirmationUnsupported
        | Reason::CriticalHeader
        | Reason::EvidenceInvalid
        | Reason::ForeignToken
        | Reason::IssuedInFuture
        | Reason::IssuerUnknown
        | Reason::KeyUnknown
        | Reason::LifetimeTooLong
        | Reason::PresenterMismatch
        | Reason::PresenterUnproven
        | Reason::ProofRequired
        | Reason::SchemeMismatch
        | Reason::SignatureInvalid
        | Reason::StatusInvalid
        | Reason::StatusUnchecked
        | Reason::TokenInactive
        | Reason::TokenMalformed
        | Reason::TokenNotYetValid
        | Reason::TokenRevoked
        | Reason::TypeRefused => INVALID_TOKEN,
        Reason::AuditOverloaded
        | Reason::AuditUnavailable
        | Reason::BindingUnavailable
        | Reason::BodiesOverloaded
        | Reason::IntrospectionUnavailable
        | Reason::FirstUseUnknown
        | Reason::QuantityUnknown
        | Reason::KeysUnavailable
        | Reason::PolicyUnavailable
        | Reason::RevocationsStale
        | Reason::StatusUnavailable
        | Reason::UpstreamOverloaded => UNAVAILABLE,
        Reason::AuthenticationInsufficient => shape(
            StatusCode::UNAUTHORIZED,
            "insufficient_user_authentication",
            "The operation needs a more recent or a stronger authentication of the user",
            Error,
        ),
        Reason::BodyTooLarge => shape(
            StatusCode::PAYLOAD_TOO_LARGE,
            "content_too_large",
            "The request body is too large",
            No,
        ),
        Reason::ArgumentsInvalid => {
            Shape { description: "The arguments do not fit what the operation takes", ..MALFORMED }
        }
        Reason::HeaderMismatch => {
            Shape { description: "The headers and the message do not say the same", ..MALFORMED }
        }
        Reason::MessageInvalid => {
            Shape { description: "The request body is not one JSON-RPC message", ..MALFORMED }
        }
        Reason::VersionUnsupported => {
            Shape { description: "The protocol version is not spoken here", ..MALFORMED }
        }
        Reason::SessionUnknown => shape(
            StatusCode::NOT_FOUND,
            "session_unknown",
            "The session is not known: begin a new one",
            No,
        ),
        Reason::TaskUnknown => {
            shape(StatusCode::NOT_FOUND, "task_not_found", "The task is not known", No)
        }
        Reason::BodyMalformed => shape(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "The request body is not JSON that can be read in one way only",
            No,
        ),
        Reason::BodyTypeRefused => shape(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The request body must be JSON, in no content encoding",
            No,
        ),
        Reason::ArgumentsOutside => Shape {
            description: "The token authorizes the operation, but not with these arguments",
            ..NOT_AUTHORIZED
        },
        Reason::ConfirmationRequired
        | Reason::NoApplicableGrant
        | Reason::NoOperationPolicy
        | Reason::PoliciesTooMany
        | Reason::PolicyDenied
        | Reason::PolicyDigestMismatch
        | Reason::PolicyNonBoolean
        | Reason::PolicyUnbound
        | Reason::PolicyUndefined
        | Reason::PolicyUnresolvable => NOT_AUTHORIZED,
        Reason::AmountUnreadable => Shape {
            challenge: Error,
            description: "The operation does not say how much it is about",
            ..NOT_AUTHORIZED
        },
        // No token cures it, and time does: guidance would send the agent round in circles.
        Reason::BudgetExceeded => Shape {
            challenge: Error,
            description: "The operation exceeds what is left of a budget",
            ..NOT_AUTHORIZED
        },
        Reason::ConcurrencyExceeded | Reason::RateExceeded => shape(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "More calls than are allowed: try again later",
            No,
        ),
        Reason::GrantUsedUp => {
            Shape { description: "The access token has been used up", ..NOT_AUTHORIZED }
        }
        Reason::OverlayDenied => Shape { challenge: Error, ..NOT_AUTHORIZED },
        // No token cures these.
        Reason::DefinitionChanged => Shape {
            challenge: No,
            description: "The tool is not described as it was when it was approved",
            ..NOT_AUTHORIZED
        },
        Reason::OperationUnknown => {
            Shape { challenge: No, description: "The method is not known here", ..NOT_AUTHORIZED }
        }
        Reason::ResponseUnsolicited => Shape {
            challenge: No,
            description: "Nothing was asked under this id",
            ..NOT_AUTHORIZED
        },
        Reason::PolicyBudget
        | Reason::PolicyEngineFailed
        | Reason::PolicyLanguageUnknown
        | Reason::PolicyNotAdmitted
        | Reason::PolicyTimeout => shape(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "The policy could not be evaluated",
            No,
        ),
        Reason::ScopeMissing => shape(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            "The access token lacks a scope",
            Error,
        ),
        Reason::UpstreamFailed | Reason::UpstreamUnreachable => NO_UPSTREAM,
        Reason::UpstreamTimeout => shape(
            StatusCode::GATEWAY_TIMEOUT,
            "gateway_timeout",
            "The tool server did not answer in time",
            No,
        ),
    }
}

/// A refusal, and what is known of the call it refuses.
#[derive(Debug)]
pub struct Rejection<'a> {
    /// Why.
    pub denial: Denial,
    /// The decision's id, which finds its record.
    pub decision_id: &'a str,
    /// The name of the record, when it is kept.
    pub audit_id: Option<&'a str>,
    /// The resource, when one was found.
    pub resource: Option<&'a Resource>,
    /// Where the metadata of the resource is.
    pub metadata: Option<&'a str>,
    /// What would cover the operation, when one was identified.
    pub guidance: Option<Guidance<'a>>,
    /// The methods that the path exists for.
    pub allow: &'a [&'a Method],
    /// How the token was presented, when one was.
    pub scheme: Option<Scheme>,
    /// How long until the call would fit into a cap, where time alone does that.
    pub retry_after: Option<Duration>,
    /// The argument that does not fit, where that is why.
    pub misfit: Option<&'a Misfit>,
    /// The message that is refused, where it was one.
    pub message: Option<Reply>,
    /// The headers of the request, for content negotiation.
    pub headers: Option<&'a HeaderMap>,
}

/// The body of a refusal, as RFC 6750 or as RFC 9457 names its members, in the order of their names.
#[derive(Debug, Serialize)]
struct Body<'a> {
    decision_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
    /// Where the argument that does not fit stands: `body`, `path`, `query`.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#in: Option<&'static str>,
    /// The JSON pointer to it (RFC 6901), into what the caller sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_profile: Option<Profile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rego_profile: Option<Profile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
}

impl Rejection<'_> {
    /// The response to the caller. `HEAD` is served by the HTTP layer, which leaves the body out.
    pub fn response(&self) -> Response<Bytes> {
        let shape = self.shape();
        let (challenge, told) = self.challenge(shape);
        let (kind, body) = self.body(shape, told);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = shape.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for challenge in challenge.into_iter().chain(self.other_challenges(shape)) {
            if let Some(value) = challenge.into_value() {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
        self.add_headers(shape.status, headers);
        response
    }

    fn shape(&self) -> Shape {
        let shape = of(self.denial.reason);
        match (shape.challenge, self.resource) {
            (Challenged::Guided, Some(resource)) => {
                Shape { status: resource.insufficient_authorization_status, ..shape }
            }
            _ if self.denial.reason == Reason::OperationUnknown
                && self.headers.is_some_and(jsonrpc::is_stateless) =>
            {
                Shape { status: StatusCode::NOT_FOUND, ..shape }
            }
            _ => shape,
        }
    }

    /// The challenge that says what was wrong, and what the body tells again.
    fn challenge(&self, shape: Shape) -> (Option<Challenge>, Option<Told<'_>>) {
        let Some(scheme) = self.challenged_scheme(shape) else { return (None, None) };
        let mut challenge = Challenge::of(scheme);
        if !matches!(shape.challenge, Challenged::Bare) {
            challenge =
                challenge.with("error", shape.error).with("error_description", shape.description);
        }
        if scheme == DPOP {
            challenge = challenge.with("algs", &self.dpop_algorithms());
        }
        let is_overlay = matches!(
            self.denial.reason,
            Reason::AmountUnreadable | Reason::BudgetExceeded | Reason::OverlayDenied
        );
        let is_scope = self.denial.reason == Reason::ScopeMissing;
        if let Some(scope) =
            self.scope().filter(|_| is_scope || matches!(shape.challenge, Challenged::Bare))
        {
            challenge = challenge.with("scope", &scope);
        }
        if self.denial.reason == Reason::AuthenticationInsufficient
            && let Some(guidance) = &self.guidance
        {
            challenge = demanding(challenge, guidance.authentication);
        }
        // No token can cure a denial of the operator's, so pointing anywhere would send the agent round in circles.
        if let Some(metadata) = self.metadata.filter(|_| !is_overlay) {
            challenge = challenge.with("resource_metadata", metadata);
        }
        match &self.guidance {
            Some(guidance) if matches!(shape.challenge, Challenged::Guided) => {
                let (challenge, told) = guidance.add_to(challenge);
                (Some(challenge), told)
            }
            _ => (Some(challenge), None),
        }
    }

    /// The scheme of the challenge that says what was wrong.
    fn challenged_scheme(&self, shape: Shape) -> Option<&'static str> {
        let is_dpop_only = self.resource.is_some_and(|resource| resource.proofs.dpop);
        match (shape.challenge, self.scheme) {
            (Challenged::No, _) => None,
            (Challenged::Workload, _) => Some(WPT),
            (Challenged::Dpop, _)
            | (Challenged::Error | Challenged::Guided, Some(Scheme::Dpop)) => Some(DPOP),
            (Challenged::Bare | Challenged::Error | Challenged::Guided, _) if is_dpop_only => {
                Some(DPOP)
            }
            (Challenged::Bare | Challenged::Error | Challenged::Guided, _) => Some(BEARER),
        }
    }

    /// The other schemes by which a token could be presented: each has a line of its own
    /// (RFC 9110 §11.6.1, RFC 9449 §7.1). Another scheme helps who is not authenticated, and nobody else.
    fn other_challenges(&self, shape: Shape) -> impl Iterator<Item = Challenge> {
        let first = self.challenged_scheme(shape);
        let is_unauthenticated = shape.status == StatusCode::UNAUTHORIZED && first.is_some();
        let resource = self.resource.filter(|_| is_unauthenticated);
        let offered = resource.map(|resource| {
            [(BEARER, !resource.proofs.dpop), (DPOP, true), (WPT, resource.proofs.workload)]
        });
        offered
            .into_iter()
            .flatten()
            .filter(move |(scheme, is_offered)| *is_offered && Some(*scheme) != first)
            .map(|(scheme, _)| match scheme {
                DPOP => Challenge::of(scheme).with("algs", &self.dpop_algorithms()),
                _ => Challenge::of(scheme),
            })
    }

    fn dpop_algorithms(&self) -> String {
        let algorithms = self.resource.map_or(&[][..], |resource| &resource.dpop_algorithms);
        algorithms.iter().map(|own| own.name()).collect::<Vec<_>>().join(" ")
    }

    /// The complete set that the operation requires (RFC 6750 §3.1), or that the resource does.
    fn scope(&self) -> Option<String> {
        let scopes = match (&self.guidance, self.resource) {
            (Some(guidance), _) => guidance.required_scope.join(" "),
            (None, Some(resource)) => resource.scopes.join(" "),
            (None, None) => return None,
        };
        (!scopes.is_empty()).then_some(scopes)
    }

    fn body(&self, shape: Shape, told: Option<Told<'_>>) -> (&'static str, Vec<u8>) {
        let (profile, legacy) = told.map_or((None, None), |told| (Some(told.profile), told.legacy));
        if let Some(reply) = &self.message {
            let answer = Answer {
                reason: self.denial.reason,
                shape,
                decision_id: self.decision_id,
                profile,
                guidance: self.guidance.as_ref().filter(|guidance| guidance.configured.enabled),
                versions: self.resource.map(Resource::versions).unwrap_or_default(),
                pointer: self.misfit.map(Misfit::told),
            };
            return ("application/json", answer.to(reply));
        }
        let is_problem = self.headers.is_some_and(wants_problem);
        let body = Body {
            decision_id: self.decision_id,
            detail: is_problem.then_some(shape.description),
            error: shape.error,
            error_description: (!is_problem).then_some(shape.description),
            r#in: self.misfit.map(|misfit| misfit.place.word()),
            pointer: self.misfit.map(Misfit::told),
            policy_profile: profile,
            rego_profile: legacy,
            status: is_problem.then_some(shape.status.as_u16()),
            title: shape.status.canonical_reason().filter(|_| is_problem),
            r#type: is_problem.then_some("about:blank"),
        };
        let kind = if is_problem { "application/problem+json" } else { "application/json" };
        let mut text = Vec::with_capacity(512);
        // Nothing in it can fail to become JSON, and memory can be written to.
        serde_json::to_writer(&mut text, &body).unwrap_or_default();
        (kind, text)
    }

    /// RFC 9110 §10.2.3, in whole seconds, rounded up: a caller that comes earlier comes in vain.
    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        let known = self.retry_after.map(|after| after.as_micros().div_ceil(1_000_000));
        let is_temporary =
            matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let seconds = known.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX).max(1));
        seconds.or(is_temporary.then_some(1))
    }

    fn add_headers(&self, status: StatusCode, headers: &mut HeaderMap) {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(seconds) = self.retry_after(status) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.denial.reason == Reason::MethodNotAllowed {
            let methods: Vec<_> = self.allow.iter().map(|method| method.as_str()).collect();
            if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
                headers.insert(header::ALLOW, value);
            }
        }
        // After these the connection's framing or the rest of the body cannot be relied on.
        if matches!(
            self.denial.reason,
            Reason::BodyTimeout
                | Reason::BodyTooLarge
                | Reason::HeaderTimeout
                | Reason::HeaderTooLarge
                | Reason::HttpMalformed
                | Reason::MethodUnknown
        ) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in [(DECISION_ID, Some(self.decision_id)), (AUDIT_ID, self.audit_id)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

/// RFC 9470 §3: what the person would have to do anew.
fn demanding(mut challenge: Challenge, demand: &Demand) -> Challenge {
    if !demand.acr_values.is_empty() {
        challenge = challenge.with("acr_values", &demand.acr_values.join(" "));
    }
    match demand.max_age {
        Some(age) => challenge.with("max_age", &age.as_secs().to_string()),
        None => challenge,
    }
}

/// RFC 9457 is spoken to whoever asks for it by name.
fn wants_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("application/problem+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_description_is_short_fixed_text_that_may_stand_in_a_challenge() {
        for reason in Reason::ALL {
            let description = of(*reason).description;
            assert!(
                description.len() <= 120
                    && description.chars().all(|c| matches!(c, ' '..='~') && c != '"' && c != '\\')
            );
        }
    }

    #[test]
    fn r_err_007_outages_and_engine_failures_carry_no_challenge() {
        for reason in Reason::ALL {
            let shape = of(*reason);
            if shape.status.is_server_error() {
                assert_eq!(shape.challenge, Challenged::No, "{reason:?}");
            }
        }
    }

    #[test]
    fn all_causes_of_an_invalid_token_read_alike_but_expiry() {
        let mut texts: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| of(*reason))
            .filter(|shape| shape.error == "invalid_token")
            .map(|shape| shape.description)
            .collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 2);
    }
}
