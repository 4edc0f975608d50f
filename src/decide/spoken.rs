//! The operation that stands in a message: read from the body of a call once whoever sends it is known
//! (`verification.md` steps 19 and 20).

use http::{HeaderMap, HeaderName, Method};

use super::world::Resource;
use crate::model::authentication;
use crate::model::body::Body;
use crate::model::exact::EMPTY;
use crate::model::operation::{self, Operation, Spoken, Told};
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::jsonrpc::{Id, Kind, Message};
use crate::operation::mcp::Server;
use crate::operation::mcp::agreement::{self, VERSION};
use crate::operation::mcp::asked::{self, Asked};
use crate::operation::mcp::version::{self, Version};
use crate::policy::algebra;
use crate::token::grant::Grant;

/// A message that was read.
#[derive(Debug)]
pub struct Heard {
    /// What it asks for.
    pub asked: Asked,
    /// Headers that say something of which the message says nothing: they are not forwarded.
    pub stray: Vec<HeaderName>,
}

/// Why a message was not taken, and under which `id` its sender waits for an answer.
#[derive(Debug)]
pub struct Unheard {
    /// Why.
    pub denial: Denial,
    /// The `id`, where it could be read and an answer is waited for.
    pub id: Option<Id>,
}

/// Reads the message that `body` is. `session` is the revision that was negotiated in the session it names.
pub fn hear(
    server: &Server,
    headers: &HeaderMap,
    body: Option<&Body>,
    session: Option<Version>,
) -> Result<Heard, Unheard> {
    let refused = |denial| Unheard { denial, id: None };
    let body = body.ok_or(refused(Denial::about(Reason::BodyMalformed, "empty")))?;
    let message = Message::read(&body.json).map_err(refused)?;
    let id = match &message.kind {
        Kind::Request(id) => Some(id),
        Kind::Notification | Kind::Response(_) => None,
    };
    let heard = meant(server, headers, &message, session);
    heard.map_err(|denial| Unheard { denial, id: id.cloned() })
}

fn meant(
    server: &Server,
    headers: &HeaderMap,
    message: &Message<'_>,
    session: Option<Version>,
) -> Result<Heard, Denial> {
    let header = agreement::single(headers, VERSION)?;
    let version = version::resolve(message, header, session, &server.versions)?;
    let asked = Asked::read(message, version)?;
    let stray = agreement::check(headers, message, &asked)?;
    Ok(Heard { asked, stray })
}

/// Whether some call by `method` of what is called `name` could be allowed, as far as its arguments and what
/// policies say are left aside: what cannot be told is kept.
pub fn could_use(
    resource: &Resource,
    grant: &Grant,
    method: &'static str,
    name: &str,
    now: Timestamp,
) -> bool {
    let (action, alias) = asked::names_of(method, name);
    let tool = resource.mcp.as_ref().and_then(|server| server.tool(name));
    let tool = tool.filter(|_| method == asked::CALL);
    let anybody = authentication::Demand::default();
    let demand = algebra::Demand {
        denied: tool.is_some_and(|tool| tool.denied),
        resource_scopes: &resource.scopes,
        operation_scopes: tool.map_or(&[], |tool| &tool.entry.scopes),
        // The person can be asked to sign in again.
        authentication: &anybody,
        now,
        scopes_suffice: resource.scopes_suffice,
        local_policies: resource.local_policies.len(),
    };
    let message = operation::Message { version: "", method, name: Some(name), is_retry: false };
    let bare = Operation::bare(&action, &Method::POST, "/", &resource.id);
    let spoken = Spoken { alias: &alias, args: &EMPTY, told: Told::Mcp(message) };
    algebra::concerns(&demand, grant, &Operation { message: Some(spoken), ..bare })
}
