//! `resource.mcp` and `[[resource.tool]]`: an MCP server behind the gate (`mcp-a2a.md`).

use std::sync::Arc;

use super::operation;
use super::raw::Section;
use super::reading::{Reading, Seen};
use super::value::{self, Wrong};
use crate::model::authentication::Demand;
use crate::model::confirmation;
use crate::operation::catalog::Entry;
use crate::operation::mcp::version::Version;
use crate::operation::mcp::{Definitions, Name, Server, Tool};

/// The server that the resource is, where it is one.
pub(super) fn server(
    resource: &Section<'_>,
    authentication: &Demand,
    confirmation: &confirmation::Demand,
    into: &mut Reading<'_>,
) -> Option<Arc<Server>> {
    if resource.text_or_default("protocol").0 != "mcp" {
        return None;
    }
    let section = resource.table("mcp");
    let origins = into.many(&section, "origins", origin);
    let mut names = Seen::default();
    let tables = resource.tables("tool");
    let tools = tables.iter().filter_map(|section| {
        let (text, place) = section.text("name")?;
        into.unique(&mut names, text.to_owned(), &place, "a rule for this tool");
        tool(section, authentication, confirmation, into)
    });
    let tools: Vec<Tool> = tools.collect();
    for (n, tool) in tools.iter().enumerate() {
        reached(tool, tools.get(..n).unwrap_or_default(), &tables, n, into);
    }
    Some(Arc::new(Server {
        versions: versions(&section, into),
        filters_lists: section.switch("filter_lists"),
        definitions: match section.text_or_default("definitions").0 {
            "ignore" => Definitions::Ignored,
            "refuse" => Definitions::Refused,
            _ => Definitions::Reported,
        },
        validates: section.switch("validate"),
        rebinds: section.text_or_default("session_unknown").0 == "allow_rebind",
        origins: origins.into_iter().map(|(origin, _)| origin).collect(),
        tools,
    }))
}

/// As browsers write it: an origin is compared octet by octet.
fn origin(text: &str) -> Result<Box<str>, Wrong> {
    let written: Box<str> = value::origin(text)?.to_string().into();
    if *written == *text {
        return Ok(written);
    }
    let message = format!("`{}` is not as browsers write it", value::shown(text));
    Err(Wrong::with(message, format!("write `{written}`")))
}

fn versions(section: &Section<'_>, into: &mut Reading<'_>) -> Vec<Version> {
    let named = section.texts("versions");
    if section.is_empty_array("versions") {
        let hint = "leave it out to speak all of them";
        into.problems.hint(&section.place_of("versions"), "no revision is spoken", hint);
    }
    let legacy = section.switch("allow_legacy").then_some(Version::V2025_03_26);
    let is_named =
        |version: &Version| named.iter().any(|(name, _)| Version::parse(name) == Some(*version));
    let is_default =
        |version: &Version| !section.has("versions") && *version != Version::V2025_03_26;
    let spoken = Version::ALL.into_iter().filter(|one| is_named(one) || is_default(one));
    legacy.into_iter().chain(spoken).collect()
}

fn tool(
    section: &Section<'_>,
    authentication: &Demand,
    confirmation: &confirmation::Demand,
    into: &mut Reading<'_>,
) -> Option<Tool> {
    let name = into.one(section, "name", |text| {
        Name::parse(text).ok_or_else(|| {
            let message = format!("`{}` is not the name of a tool", value::shown(text));
            Wrong::with(message, "write it as the server has it; a `*` may stand at its end")
        })
    });
    let scopes = into.many(section, "scopes", value::scope);
    let authentication = operation::authentication(section, Some(authentication), into);
    let confirmation = operation::confirmation(section, Some(confirmation), into);
    let entry = Entry {
        scopes: scopes.into_iter().map(|(scope, _)| scope).collect(),
        authentication,
        confirmation,
        ..Entry::default()
    };
    Some(Tool { name: name?, denied: section.switch("deny"), entry })
}

/// The first rule that matches counts, so one behind a wider one does nothing.
fn reached(
    tool: &Tool,
    earlier: &[Tool],
    tables: &[Section<'_>],
    n: usize,
    into: &mut Reading<'_>,
) {
    let is_covered = |wider: &&Tool| match (&wider.name, &tool.name) {
        (Name::Prefix(start), Name::Exact(name) | Name::Prefix(name)) => name.starts_with(&**start),
        (Name::Exact(_), _) => false,
    };
    if earlier.iter().any(|wider| is_covered(&wider))
        && let Some(section) = tables.get(n)
    {
        let hint = "put the narrower rule before the wider one";
        into.problems.hint(
            &section.place_of("name"),
            "is never reached: a rule before it covers it",
            hint,
        );
    }
}
