//! Who is the person and who is the agent (`tokens.md` §9), for records, upstreams and policies alike.

use serde_json::{Map, Value};

use super::claims::{Claims, MAX_AGENT};
use super::grant::Grant;
use super::member;
use super::presenter::Presenter;
use crate::model::reason::{Denial, Reason};

/// How many actors may stand in one another (`tokens.md` §7).
const MAX_ACTORS: usize = 16;

/// The parties to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties<'a> {
    /// The agent: `act.sub`, else the workload that presents the token, else the client, else what its
    /// identity was issued for, else `azp`.
    pub agent: Option<&'a str>,
    /// The client that the token was issued to.
    pub client: Option<&'a str>,
    /// The person. Never invented: an agent on its own account has none.
    pub user: Option<User<'a>>,
    /// Whether another presenter of the same token would be another agent.
    pub rest_on_presenter: bool,
}

/// A person, and who names them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// The name.
    pub id: &'a str,
    /// The identity provider, where it is not the issuer of the token.
    pub issuer: Option<&'a str>,
}

impl<'a> Parties<'a> {
    /// The parties to a call with `grant`, presented by whom `presenter` describes.
    pub fn of(grant: &'a Grant, presenter: Option<&'a Presenter>) -> Self {
        let claims = grant.claims();
        let identity = grant.members().identity.as_ref();
        let workload = presenter.and_then(|presenter| presenter.workload.as_deref());
        let actor = claims.actor.as_deref();
        let client = claims.client_id.as_deref();
        let agent = actor
            .or(workload)
            .or(client)
            .or(identity.and_then(|identity| identity.agent.as_deref()))
            .or(claims.authorized_party.as_deref());
        let is_operation = grant.members().authorization.is_some();
        let person = identity.and_then(|one| one.issued_to.as_ref()).filter(|_| is_operation);
        let user = match person {
            Some(person) => Some(User { id: &person.user, issuer: person.issuer.as_deref() }),
            None => subject(claims, agent).map(|id| User { id, issuer: None }),
        };
        Self { agent, client, user, rest_on_presenter: actor.is_none() && workload.is_some() }
    }
}

/// `sub`, unless it names the client or the agent.
fn subject<'a>(claims: &'a Claims, agent: Option<&str>) -> Option<&'a str> {
    let subject = &*claims.subject;
    let is_party = claims.client_id.as_deref() == Some(subject) || agent == Some(subject);
    (!is_party).then_some(subject)
}

/// Prior actors (RFC 8693 §4.1) are informational, and must still be well formed and few.
pub fn check_actors(payload: &Map<String, Value>) -> Result<(), Denial> {
    let malformed = Denial::about(Reason::ClaimMalformed, member::ACT);
    let mut next = payload.get(member::ACT);
    for _ in 0..MAX_ACTORS {
        match next {
            None => return Ok(()),
            Some(Value::Object(actor)) if actor.get(member::SUB).is_some_and(is_agent) => {
                next = actor.get(member::ACT);
            }
            Some(_) => return Err(malformed),
        }
    }
    if next.is_none() { Ok(()) } else { Err(malformed) }
}

fn is_agent(subject: &Value) -> bool {
    subject.as_str().is_some_and(|id| (1..=MAX_AGENT).contains(&id.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actors_stand_in_one_another_sixteen_deep_at_most() {
        let nested = |depth: usize| {
            let innermost = json!({"sub": "a"});
            let act = (1..depth).fold(innermost, |inner, _| json!({"sub": "a", "act": inner}));
            json!({ "act": act })
        };
        assert!(check_actors(nested(16).as_object().unwrap()).is_ok());
        assert!(check_actors(nested(17).as_object().unwrap()).is_err());
        for bad in [
            json!({"act": {"sub": ""}}),
            json!({"act": {"sub": "a", "act": {"sub": "a".repeat(2_049)}}}),
            json!({"act": {}}),
            json!({"act": {"sub": "a", "act": "b"}}),
            json!({"act": []}),
        ] {
            assert!(check_actors(bad.as_object().unwrap()).is_err(), "{bad}");
        }
    }
}
