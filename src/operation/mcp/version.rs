//! By which revision of MCP a message is meant (`mcp-a2a.md` §1).

use crate::model::exact::Json;
use crate::model::reason::{Denial, Reason};
use crate::operation::jsonrpc::Message;

/// A revision of MCP. The order is that of their dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The first with streamable HTTP. It has batches, which are refused all the same.
    V2025_03_26,
    /// Without batches; the version stands in a header.
    V2025_06_18,
    /// With tasks (experimental).
    V2025_11_25,
    /// Without sessions: every request stands for itself.
    V2026_07_28,
}

/// The member of `_meta` that repeats the version (2026-07-28).
pub const META: &str = "io.modelcontextprotocol/protocolVersion";

impl Version {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// Its name: a date.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }
}

/// The revision by which `message` is meant, one of `spoken` or a refusal (R-MCP-018).
///
/// `header` is `MCP-Protocol-Version`, `session` what was negotiated in the session that is named. Where
/// neither says anything the text of the standard assumes the oldest revision, which must be spoken for that.
pub fn resolve(
    message: &Message<'_>,
    header: Option<&str>,
    session: Option<Version>,
    spoken: &[Version],
) -> Result<Version, Denial> {
    let unsupported = |about| Denial::about(Reason::VersionUnsupported, about);
    let version = if message.method == Some("initialize") {
        let proposed = message.param("protocolVersion");
        let Some(Json::String(proposed)) = proposed else {
            return Err(unsupported("protocolVersion"));
        };
        Version::parse(proposed)
    } else if let Some(header) = header {
        Version::parse(header)
    } else {
        Some(session.unwrap_or(Version::V2025_03_26))
    };
    match version.filter(|version| spoken.contains(version)) {
        Some(version) => Ok(version),
        None => Err(unsupported("mcp-protocol-version")),
    }
}
