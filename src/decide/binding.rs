//! Whether person, agent and workload belong together (`verification.md` step 15; the fourth layer of
//! the interop profile `open-agent-auth`).
//!
//! The token says whose agent it is for, and the proof beside it says which workload presents it. That
//! the one belongs to the other, only the server that bound them can say.

use std::time::Duration;

use super::facts::{Facts, Stop};
use crate::model::date;
use crate::model::json;
use crate::model::need::Need;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::claims;
use crate::token::grant::Grant;
use crate::token::names;
use crate::token::presenter::Presenter;
use crate::token::trust::Profile;

/// How long a binding is believed before it is asked for again.
const FRESH: Duration = Duration::from_mins(1);
/// How long the answer that there is none is believed.
const FRESH_UNKNOWN: Duration = Duration::from_secs(5);
/// The longest name in an answer, in bytes.
const MAX_NAME: usize = 2_048;
/// How deep an answer may nest.
const MAX_DEPTH: usize = 16;

/// What the binding service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `agent_identity.id`, which was asked for.
    pub identity: Box<str>,
    /// When.
    pub at: Timestamp,
    /// The binding, or none of this id.
    pub binding: Option<Binding>,
}

/// One binding of an agent's workload to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    user: Box<str>,
    workload: Box<str>,
    expires: Timestamp,
}

impl Binding {
    /// Reads the body of an answer, which must be about `identity`.
    pub fn read(body: &[u8], identity: &str) -> Option<Self> {
        let members = json::parse_object(body, MAX_DEPTH).ok()?;
        let text = |name: names::Name| name.text(&members, MAX_NAME).ok().flatten();
        let expires = names::EXPIRES_AT.of(&members).ok()??;
        let expires = match expires.as_str() {
            Some(text) => date::rfc3339(text)?,
            None => claims::numeric_date(expires.as_number()?)?,
        };
        if text(names::BINDING_INSTANCE_ID)? != identity {
            return None;
        }
        let user = text(names::USER_IDENTITY)?.into();
        Some(Self { user, workload: text(names::WORKLOAD_IDENTITY)?.into(), expires })
    }
}

impl Answer {
    /// Whether the answer is of use at `now` for the identity that is asked about.
    pub fn is_fresh(&self, now: Timestamp, identity: &str) -> bool {
        let longest = if self.binding.is_some() { FRESH } else { FRESH_UNKNOWN };
        *self.identity == *identity && now < self.at.after(longest)
    }
}

/// Checks that the workload that presents the token is the one that the person's agent is bound to; or,
/// where the issuer has no binding service, one that the operator lists.
pub fn check(grant: &Grant, presenter: &Presenter, facts: &Facts<'_>) -> Result<(), Stop> {
    let issuer = grant.issuer();
    if issuer.profile != Profile::OpenAgentAuth {
        return Ok(());
    }
    let workload = presenter.workload.as_deref().ok_or(mismatch("workload"))?;
    if !issuer.has_binding_service {
        let is_listed = issuer.agents.iter().any(|agent| **agent == *workload);
        return if is_listed { Ok(()) } else { Err(mismatch("agents").into()) };
    }
    let identity = grant.members().identity.as_ref().ok_or(names::AGENT_IDENTITY.missing())?;
    let person = identity.issued_to.as_ref().ok_or(names::ISSUED_TO.missing())?;
    let answer = answered(grant, &identity.id, facts)?;
    let binding = answer.binding.as_ref().ok_or(mismatch("bindingInstanceId"))?;
    for (holds, about) in [
        (binding.user == person.user, "userIdentity"),
        (*binding.workload == *workload, "workloadIdentity"),
        (facts.now < binding.expires, "expiresAt"),
    ] {
        if !holds {
            return Err(mismatch(about).into());
        }
    }
    Ok(())
}

const fn mismatch(about: &'static str) -> Denial {
    Denial::about(Reason::BindingMismatch, about)
}

fn answered<'f>(grant: &Grant, identity: &str, facts: &Facts<'f>) -> Result<&'f Answer, Stop> {
    if let Some(answer) = facts.binding.filter(|answer| answer.is_fresh(facts.now, identity)) {
        return Ok(answer);
    }
    let named =
        |issuer: &std::sync::Arc<crate::token::trust::Issuer>| issuer.id == grant.issuer().id;
    let issuer = facts.world.issuers.iter().position(named).ok_or(Reason::IssuerUnknown)?;
    let need = Need::Binding { issuer, identity: identity.into() };
    if facts.exhausted.contains(&need) {
        return Err(Denial::about(Reason::BindingUnavailable, "binding_service").into());
    }
    Err(Stop::Need(need))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::keys::SigningKey;
    use crate::decide::facts::{Known, Policies};
    use crate::decide::world::World;
    use crate::model::presented::Presented;
    use crate::policy::library::Library;
    use crate::token::keys::KeySet;
    use crate::token::revocation::Set;
    use crate::token::signers::IssuerAlone;
    use crate::token::trust::{Algorithm, Issuer};
    use crate::token::verify::{Unverified, digest};

    const NOW: Timestamp = Timestamp::from_seconds(1_766_000_100);
    const WORKLOAD: &str = "wimse://agents.test/shopper";

    fn issuer(has_binding_service: bool) -> Issuer {
        Issuer {
            algorithms: vec![Algorithm::Rs256],
            allow_typ_jwt: true,
            profile: Profile::OpenAgentAuth,
            has_binding_service,
            agents: vec![WORKLOAD.into()],
            ..Issuer::named("https://as.test")
        }
    }

    /// A token as the public reference implementation makes it (`tokens.md` §4.1), verified.
    fn grant(issuer: Issuer) -> Grant {
        let key = SigningKey::generate(Algorithm::Rs256).unwrap();
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k"});
        let payload = json!({
            "iss": "https://as.test", "sub": "account-7", "aud": "https://tools.test/shop",
            "iat": 1_766_000_000, "exp": 1_766_003_600, "jti": "5f0c",
            "agent_identity": {"version": "1.0", "id": "urn:uuid:1", "issuer": "https://as.test",
                "issued_to": "https://idp.test|user-12345",
                "issued_for": {"platform": "p", "client": "c", "client_instance": "i"},
                "issuance_date": "2025-12-17T19:33:20.123Z", "valid_from": "2025-12-17T19:33:20.123456789Z",
                "expires": "2025-12-17T20:33:20Z"},
            "agent_operation_authorization": {"policy_id": "policy-1"},
            "evidence": {"source_prompt_credential": "a.b.c"},
            "context": {"rendered_text": "Buy"},
            "audit_trail": {"original_prompt_text": "buy", "rendered_operation_text": "Buy",
                "semantic_expansion_level": "medium", "user_acknowledge_timestamp": "2025-12-17T19:33:19Z",
                "consent_interface_version": "1"},
            "references": {"related_proposal_id": "urn:uuid:2"},
        });
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(payload));
        let token =
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()));
        let set = key.jwk_set("k", Vec::new()).unwrap();
        let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
        let presented = Presented::new(&token);
        let unverified = Unverified::read(presented, digest(presented)).unwrap();
        let issuer = Arc::new(issuer);
        let signers = IssuerAlone { issuer: &issuer, keys: &keys };
        unverified.verify(&issuer, &keys, &signers, NOW).unwrap()
    }

    fn answer(user: &str, workload: &str, expires: u64) -> Answer {
        let binding = Binding {
            user: user.into(),
            workload: workload.into(),
            expires: Timestamp::from_seconds(expires),
        };
        Answer { identity: "urn:uuid:1".into(), at: NOW, binding: Some(binding) }
    }

    fn checked(
        grant: &Grant,
        workload: Option<&str>,
        binding: Option<&Answer>,
        exhausted: &[Need],
    ) -> Result<(), Stop> {
        let world = World { issuers: vec![Arc::clone(grant.issuer())], ..World::default() };
        let library = Library::default();
        let facts = Facts {
            world: &world,
            known: &Known::default(),
            revoked: &Set::default(),
            now: NOW,
            introspected: None,
            remembered: None,
            binding,
            exhausted,
            policies: Policies::of(&library),
        };
        let presenter = Presenter { workload: workload.map(Into::into), ..Presenter::default() };
        check(grant, &presenter, &facts)
    }

    #[test]
    fn r_tok_027_the_golden_token_is_read_and_r_ver_019_its_binding_is_checked() {
        let grant = grant(issuer(true));
        let need = Need::Binding { issuer: 0, identity: "urn:uuid:1".into() };
        let good = answer("user-12345", WORKLOAD, 1_766_000_101);
        let asked = checked(&grant, Some(WORKLOAD), None, &[]);
        assert_eq!(asked, Err(Stop::Need(need.clone())));
        assert_eq!(checked(&grant, Some(WORKLOAD), Some(&good), &[]), Ok(()));
        let unavailable = Denial::about(Reason::BindingUnavailable, "binding_service");
        let down = checked(&grant, Some(WORKLOAD), None, std::slice::from_ref(&need));
        assert_eq!(down, Err(Stop::Refuse(unavailable)));
        let unknown = Answer { binding: None, ..good.clone() };
        for (case, workload, answer, about) in [
            ("no workload", None, &good, "workload"),
            ("another workload", Some("wimse://agents.test/other"), &good, "workloadIdentity"),
            (
                "another person",
                Some(WORKLOAD),
                &answer("user-1", WORKLOAD, 1_766_000_101),
                "userIdentity",
            ),
            ("ended", Some(WORKLOAD), &answer("user-12345", WORKLOAD, 1_766_000_100), "expiresAt"),
            ("unknown", Some(WORKLOAD), &unknown, "bindingInstanceId"),
        ] {
            let refused = Err(Stop::Refuse(mismatch(about)));
            assert_eq!(checked(&grant, workload, Some(answer), &[]), refused, "{case}");
        }
        for stale in [
            Answer { at: NOW.before(Duration::from_mins(1)), ..good.clone() },
            Answer { identity: "urn:uuid:2".into(), ..good },
            Answer { at: NOW.before(Duration::from_secs(5)), ..unknown },
        ] {
            let again = checked(&grant, Some(WORKLOAD), Some(&stale), &[]);
            assert_eq!(again, Err(Stop::Need(need.clone())), "{stale:?}");
        }
    }

    #[test]
    fn r_ver_019_without_a_service_the_workload_is_one_that_is_listed() {
        let grant = grant(issuer(false));
        assert_eq!(checked(&grant, Some(WORKLOAD), None, &[]), Ok(()));
        for (workload, about) in [(Some("wimse://agents.test"), "agents"), (None, "workload")] {
            assert_eq!(checked(&grant, workload, None, &[]), Err(Stop::Refuse(mismatch(about))));
        }
    }

    #[test]
    fn an_answer_is_about_what_was_asked_or_is_none() {
        let good = json!({"bindingInstanceId": "b", "userIdentity": "u", "workloadIdentity": "w",
            "agentIdentity": {}, "createdAt": "2025-12-17T19:33:20Z", "expiresAt": "2025-12-17T20:33:20.5Z"});
        assert!(Binding::read(good.to_string().as_bytes(), "b").is_some());
        let read = |member: &str, value: Value| {
            let mut answer = good.clone();
            answer[member] = value;
            Binding::read(answer.to_string().as_bytes(), "b")
        };
        let number = read("expiresAt", json!(1_766_003_600.25)).unwrap();
        assert_eq!(number.expires, Timestamp::from_seconds(1_766_003_600));
        for (member, value) in [
            ("bindingInstanceId", json!("c")),
            ("userIdentity", json!("")),
            ("userIdentity", json!(["u"])),
            ("user_identity", json!("other")),
            ("workloadIdentity", json!(null)),
            ("expiresAt", json!("tomorrow")),
            ("expiresAt", json!(-1)),
            ("expiresAt", json!(null)),
        ] {
            assert_eq!(read(member, value.clone()), None, "{member} {value}");
        }
        for text in ["", "[]", "null", r#"{"bindingInstanceId":"b"}"#] {
            assert_eq!(Binding::read(text.as_bytes(), "b"), None, "{text}");
        }
        let twice = good.to_string().replacen('{', r#"{"userIdentity":"u","#, 1);
        assert_eq!(Binding::read(twice.as_bytes(), "b"), None);
    }
}
