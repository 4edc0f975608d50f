//! The Model Context Protocol over streamable HTTP: what a message asks for, read in exactly one way
//! (`mcp-a2a.md` §1 to §4).
//!
//! Path and method of the HTTP request say nothing there (`POST /mcp`): the operation stands in the body.
//! [`version`] tells by which revision its message is meant, [`asked`] what is asked for, and [`agreement`]
//! whether the headers that repeat it say the same.

pub mod agreement;
pub mod asked;
pub mod definition;
pub mod listing;
pub mod version;

use crate::model::confirmation;
use crate::operation::catalog::Entry;
use version::Version;

/// An MCP server behind the gate, as the operator configured it.
#[derive(Debug, Default)]
pub struct Server {
    /// The revisions that are spoken.
    pub versions: Vec<Version>,
    /// Whether a list holds only what the token could call.
    pub filters_lists: bool,
    /// Whether a session that is not known here is bound to whoever uses it first; it is refused otherwise.
    pub rebinds: bool,
    /// The values of `Origin` that may call; a call without one comes from no browser.
    pub origins: Vec<Box<str>>,
    /// What becomes of a tool whose definition is not the approved one.
    pub definitions: Definitions,
    /// Whether arguments must fit what the server says that a tool takes.
    pub validates: bool,
    /// What is demanded for tools, in file order.
    pub tools: Vec<Tool>,
}

/// What becomes of a tool whose definition is not the approved one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Definitions {
    /// Nobody looks.
    Ignored,
    /// A call of it is refused.
    Refused,
    /// It is recorded, and calls of it carry an alert.
    #[default]
    Reported,
}

/// What the operator says of some tools.
#[derive(Debug)]
pub struct Tool {
    /// Which they are.
    pub name: Name,
    /// Whether they are denied, whatever a token says.
    pub denied: bool,
    /// What is demanded for each of them.
    pub entry: Entry,
}

/// The name of a tool, or of all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// This one.
    Exact(Box<str>),
    /// `create_*`: those that begin so.
    Prefix(Box<str>),
}

impl Name {
    /// Reads a name; a `*` may stand at its end.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        let is_name = !text.is_empty() && !name.contains('*') && !name.contains(char::is_control);
        is_name.then(|| if is_open { Self::Prefix(name.into()) } else { Self::Exact(name.into()) })
    }

    /// Whether `name` is meant. Names are compared octet by octet.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Prefix(start) => name.starts_with(&**start),
        }
    }
}

impl Server {
    /// What the operator says of the tool called `name`: the first that matches counts.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name.matches(name))
    }

    /// Whether some tool demands that the person's confirmation is looked at.
    pub fn looks_at_evidence(&self) -> bool {
        let looks = |tool: &Tool| tool.entry.confirmation.evidence != confirmation::Wanted::Ignored;
        self.tools.iter().any(looks)
    }

    /// Whether requests other than POST are served: sessions and their streams are of older revisions.
    pub fn has_sessions(&self) -> bool {
        self.versions.iter().any(|version| *version < Version::V2026_07_28)
    }
}
