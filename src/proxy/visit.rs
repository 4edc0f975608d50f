//! A call among the sessions of an MCP server: whose session it names, and what it may do there
//! (`mcp-a2a.md` §5).

use http::HeaderMap;

use crate::decide::call::Call;
use crate::facts::sessions::{Owner, Place, Sessions, Standing};
use crate::facts::tools::Tools;
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::operation::jsonrpc::{Id, Kind};
use crate::operation::mcp::agreement::{self, SESSION};
use crate::operation::mcp::asked::Asked;
use crate::operation::mcp::version::Version;
use crate::operation::mcp::{Definitions, Server};

/// Where and whose a call is.
#[derive(Debug)]
pub struct Visit {
    /// The session that it names.
    pub place: Place,
    /// Whose it is.
    pub owner: Owner,
    /// Whether nothing was known of the session, so that it becomes the caller's.
    pub is_rebound: bool,
    /// Whether the tool that is called is not as it was when it was approved, where that is only reported.
    pub is_changed: bool,
}

impl Visit {
    /// Where a call with `headers` goes. A header that stands twice is refused.
    pub fn of(call: &Call<'_>, headers: &HeaderMap, owner: Owner) -> Result<Self, Denial> {
        let session = agreement::single(headers, SESSION)?;
        let place =
            Place { resource: call.resource().id.clone(), session: session.map(Into::into) };
        Ok(Self { place, owner, is_rebound: false, is_changed: false })
    }

    /// What is known of the session, where one is named.
    pub fn standing(&self, sessions: &Sessions, now: Timestamp) -> Option<Standing> {
        self.place.session.as_ref()?;
        Some(sessions.look(&self.place, self.owner, now))
    }

    /// Refuses what is another's session, and an answer to what nobody asked. Both read alike to whoever
    /// guesses: a session that is not known, and one that is another's.
    pub fn checked(
        mut self,
        server: &Server,
        call: &Call<'_>,
        standing: Option<Standing>,
        sessions: &Sessions,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        let asked = call.asked();
        if asked.is_some_and(|asked| asked.version >= Version::V2026_07_28) {
            // There are none. A server that looks at what is named all the same would find another's.
            return match self.place.session {
                None => Ok(self),
                Some(_) => Err(Denial::about(Reason::HeaderMismatch, SESSION)),
            };
        }
        match standing {
            Some(Standing::Foreign) => return Err(Denial::about(Reason::SessionUnknown, SESSION)),
            Some(Standing::Unknown) if !server.rebinds => {
                return Err(Denial::about(Reason::SessionUnknown, SESSION));
            }
            Some(Standing::Unknown) => self.is_rebound = true,
            Some(Standing::Own(_)) | None => {}
        }
        let answers = asked.and_then(answered);
        if let Some(id) = answers
            && !sessions.was_asked(&self.place, self.owner, id, now)
        {
            return Err(Denial::about(Reason::ResponseUnsolicited, "id"));
        }
        Ok(self)
    }

    /// Holds the tool that is called against what its server has said of it: it may have become another since
    /// somebody agreed to it.
    pub fn held_against(
        mut self,
        tools: &Tools,
        server: &Server,
        call: &Call<'_>,
    ) -> Result<Self, Denial> {
        let tool = call.asked().and_then(Asked::tool);
        let Some(tool) = tool.filter(|_| server.definitions != Definitions::Ignored) else {
            return Ok(self);
        };
        self.is_changed = tools.is_approved(&self.place.resource, tool) == Some(false);
        if self.is_changed && server.definitions == Definitions::Refused {
            return Err(Denial::about(Reason::DefinitionChanged, "definition"));
        }
        Ok(self)
    }
}

/// What a response answers.
const fn answered(asked: &Asked) -> Option<&Id> {
    match &asked.kind {
        Kind::Response(id) => Some(id),
        Kind::Notification | Kind::Request(_) => None,
    }
}
