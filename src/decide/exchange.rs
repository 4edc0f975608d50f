//! What is asked of an agent: read in either binding once whoever asks is known (`verification.md` steps 19
//! and 20).

use http::{HeaderMap, Method};

use super::call::Call;
use super::spoken::Unheard;
use crate::model::body::Body;
use crate::model::operation::Operation;
use crate::model::reason::{Denial, Reason};
use crate::operation::a2a::Agent;
use crate::operation::a2a::asked::Asked;
use crate::operation::a2a::method::{Method as A2aMethod, Subject};
use crate::operation::a2a::rest::Route;
use crate::operation::a2a::version::{self, Version};
use crate::operation::jsonrpc::{Kind, Message};

/// The name of the action of a request whose method stands in its body.
pub const MESSAGE: &str = "a2a:message";

/// The name of the action of a request for the agent's card, which is public.
pub const CARD: &str = "a2a:card";

/// Reads what is asked of an agent, in either binding.
pub fn hear(
    agent: &Agent,
    call: &Call<'_>,
    headers: &HeaderMap,
    body: Option<&Body>,
) -> Result<Asked, Unheard> {
    let refused = |denial| Unheard { denial, id: None };
    let entry = call.entry().map_err(refused)?;
    let bare = Operation::bare("", call.method(), "/", "");
    let query = Operation { query: call.query(), ..bare };
    let unreadable = Denial::about(Reason::ArgumentsInvalid, "query");
    let pairs: Option<Vec<_>> = query.query().collect();
    let pairs = pairs.ok_or(refused(unreadable))?;
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let version = version::resolve(headers, pairs.iter().copied(), &agent.versions);
    if *entry.action == *MESSAGE {
        return in_message(agent, version, body);
    }
    let routed = version.and_then(|version| routed(call, &entry.action, version, body, &pairs));
    let asked = routed.map_err(refused)?;
    agent.allows(&asked).map_err(refused)?;
    Ok(asked)
}

fn in_message(
    agent: &Agent,
    version: Result<Version, Denial>,
    body: Option<&Body>,
) -> Result<Asked, Unheard> {
    let refused = |denial| Unheard { denial, id: None };
    let body = body.ok_or(refused(Denial::about(Reason::BodyMalformed, "empty")))?;
    let message = Message::read(&body.json).map_err(refused)?;
    let asked = version.and_then(|version| Asked::spoken(&message, version));
    let allowed = asked.and_then(|asked| agent.allows(&asked).map(|()| asked));
    allowed.map_err(|denial| Unheard {
        denial,
        id: match message.kind {
            Kind::Request(id) => Some(id),
            Kind::Notification | Kind::Response(_) => None,
        },
    })
}

fn routed(
    call: &Call<'_>,
    action: &str,
    version: Version,
    body: Option<&Body>,
    pairs: &[(&str, &str)],
) -> Result<Asked, Denial> {
    let method = A2aMethod::named(action, Version::V1_0);
    let method = method.ok_or(Denial { reason: Reason::NoRoute, about: None })?;
    // What stands in the body of such a request, one server reads and another does not.
    if body.is_some() && *call.method() != Method::POST {
        return Err(Denial::about(Reason::BodyMalformed, "unexpected"));
    }
    if body.is_none() && method.subject == Subject::Message {
        return Err(Denial::about(Reason::BodyMalformed, "empty"));
    }
    let is_version = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(version::VERSION);
    let query: Vec<_> = pairs.iter().filter(|pair| !is_version(pair)).copied().collect();
    let route = Route::read(call.path())?;
    Asked::routed(method, version, &route, body.map(|body| &body.json), &query)
}
