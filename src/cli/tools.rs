//! `opgate tools`: what MCP servers have said of their tools, and what of it is approved.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Value, json};

use super::output::{self, Paint, Style, escaped};
use super::{Outcome, Usage, serve};
use crate::config;
use crate::facts::tools::{self, Known, Seen, Tools};
use crate::model::hex::hex;

/// How much of a digest is enough to tell definitions apart.
const SHORT: usize = 12;

/// `opgate tools`
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  opgate tools -c opgate.toml                    every tool, and whether it is what it was
  opgate tools show refund -c opgate.toml        what it said it does, and what it says now
  opgate tools approve refund 4c0f8a1be2d3 -c opgate.toml
                                                 take that definition for what it is; felt at once

A tool is approved with the definition that its server was first heard to give. What becomes of calls to a
tool that says something else later, `mcp.definitions` of the resource says. Exit code of the list: 1 where
some tool is not approved."
)]
pub struct ToolsArgs {
    #[command(subcommand)]
    command: Option<ToolsCommand>,
    #[command(flatten)]
    gate: GateArgs,
}

#[derive(Debug, clap::Subcommand)]
enum ToolsCommand {
    /// What a tool was approved with, and what its server says of it now
    Show {
        #[command(flatten)]
        tool: ToolArgs,
        #[command(flatten)]
        gate: GateArgs,
    },
    /// Approve what its server says of a tool now
    Approve {
        #[command(flatten)]
        tool: ToolArgs,
        /// The definition that was looked at, as the list and `show` name it: it may be another by now
        digest: String,
        #[command(flatten)]
        gate: GateArgs,
    },
}

#[derive(Debug, clap::Args)]
struct ToolArgs {
    /// The name of the tool
    name: String,
    /// The resource, where several have a tool of this name
    #[arg(long, value_name = "URL")]
    resource: Option<String>,
}

#[derive(Debug, clap::Args)]
struct GateArgs {
    /// The configuration of the gate, which says where its log is
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Lists, shows or approves.
pub fn run(args: &ToolsArgs) -> anyhow::Result<Outcome> {
    match &args.command {
        None => list(&args.gate),
        Some(ToolsCommand::Show { tool, gate }) => show(tool, gate),
        Some(ToolsCommand::Approve { tool, digest, gate }) => approve(tool, digest, gate),
    }
}

/// The tools of the gate; `None` where its configuration is wrong, which is told.
fn open(args: &GateArgs) -> anyhow::Result<Option<Tools>> {
    let Some(file) = &args.config else {
        return Err(Usage::error("name the configuration of the gate: -c opgate.toml"));
    };
    let config = match config::load(file, &serve::environment) {
        Ok(config) => config,
        Err(problems) => {
            output::complain(&problems.to_string());
            return Ok(None);
        }
    };
    let path = config.audit.directory.join(tools::FILE);
    let tools = Tools::read(&path).with_context(|| path.display().to_string())?;
    Ok(Some(tools))
}

fn list(args: &GateArgs) -> anyhow::Result<Outcome> {
    let Some(tools) = open(args)? else { return Ok(Outcome::Unusable) };
    let all = tools.all();
    let paint = Paint::new(output::is_colored());
    let row = |((resource, name), known): (&(Box<str>, Box<str>), &Known)| {
        let (style, word) = state(known);
        let word = paint.paint(style, &format!("{word:<11}"));
        let now = known.seen.as_ref().map_or_else(String::new, |seen| short(&seen.sha256));
        format!("{word}  {now}  {}  {}\n", escaped(name), escaped(resource))
    };
    output::print(&if args.json {
        let values = all.iter().map(|((resource, name), known)| value(resource, name, known));
        format!("{}\n", values.collect::<Value>())
    } else if all.is_empty() {
        "no tool was seen yet: they are when somebody lists them through the gate\n".to_owned()
    } else {
        all.iter().map(row).collect::<Vec<_>>().concat()
    })?;
    let is_fine = all.values().all(Known::is_approved);
    Ok(if is_fine { Outcome::Done } else { Outcome::Refused })
}

fn state(known: &Known) -> (Style, &'static str) {
    match known {
        _ if known.is_approved() => (Style::Good, "approved"),
        Known { approved: Some(_), .. } => (Style::Bad, "changed"),
        Known { resembles: Some(_), .. } => (Style::Bad, "resembling"),
        Known { .. } => (Style::Warn, "new"),
    }
}

fn short(sha256: &[u8; 32]) -> String {
    hex(sha256).chars().take(SHORT).collect()
}

fn value(resource: &str, name: &str, known: &Known) -> Value {
    let one = |seen: &Option<Seen>| {
        seen.as_ref().map(|seen| json!({"sha256": hex(&seen.sha256), "definition": seen.text}))
    };
    json!({
        "resource": resource,
        "tool": name,
        "state": state(known).1,
        "resembles": known.resembles,
        "approved": one(&known.approved),
        "seen": one(&known.seen),
    })
}

/// The one tool that is meant.
fn find(tools: &Tools, args: &ToolArgs) -> anyhow::Result<(Box<str>, Known)> {
    let is_meant = |resource: &str, name: &str| {
        *name == *args.name && args.resource.as_deref().is_none_or(|own| own == resource)
    };
    let mut found = tools.all().into_iter().filter(|((one, name), _)| is_meant(one, name));
    match (found.next(), found.next()) {
        (Some(((resource, _), known)), None) => Ok((resource, known)),
        (Some(_), Some(_)) => {
            Err(Usage::error("several resources have a tool of this name: say which in --resource"))
        }
        (None, _) => Err(Usage::error(format!(
            "no tool `{}` was seen; `opgate tools` lists them",
            escaped(&args.name)
        ))),
    }
}

fn show(tool: &ToolArgs, args: &GateArgs) -> anyhow::Result<Outcome> {
    let Some(tools) = open(args)? else { return Ok(Outcome::Unusable) };
    let (resource, known) = find(&tools, tool)?;
    if args.json {
        output::print(&format!("{}\n", value(&resource, &tool.name, &known)))?;
        return Ok(Outcome::Done);
    }
    let (style, word) = state(&known);
    let paint = Paint::new(output::is_colored());
    let now = known.seen.as_ref().map_or_else(String::new, |seen| short(&seen.sha256));
    let (word, name) = (paint.paint(style, word), escaped(&tool.name));
    let mut text = format!("{word}  {now}  {name}  {}\n", escaped(&resource));
    if known.resembles.is_some() && !tool.name.is_ascii() {
        text.push_str("its name has characters that look like others\n");
    } else if let Some(other) = &known.resembles {
        text.extend(["its name could be taken for that of `", &escaped(other), "`\n"]);
    }
    let (approved, seen) = (known.approved.as_ref(), known.seen.as_ref());
    if known.is_approved() {
        text += &definition("", seen);
    } else {
        text += &definition("- ", approved);
        text += &definition("+ ", seen);
    }
    output::print(&text)?;
    Ok(Outcome::Done)
}

/// A definition, member by member, each line behind `mark`.
fn definition(mark: &str, seen: Option<&Seen>) -> String {
    let Some(seen) = seen else { return String::new() };
    let parsed = seen.text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let shown = match parsed {
        Some(parsed) => serde_json::to_string_pretty(&parsed).unwrap_or_default(),
        None => format!("too long to be kept; its SHA-256 is {}", hex(&seen.sha256)),
    };
    let marked = shown.lines().map(|line| [mark, &escaped(line), "\n"].concat());
    marked.collect::<Vec<_>>().concat()
}

fn approve(tool: &ToolArgs, digest: &str, args: &GateArgs) -> anyhow::Result<Outcome> {
    let Some(tools) = open(args)? else { return Ok(Outcome::Unusable) };
    let (resource, known) = find(&tools, tool)?;
    if known.is_approved() {
        output::print(&format!("`{}` is approved already\n", escaped(&tool.name)))?;
        return Ok(Outcome::Done);
    }
    let now = known.seen.map_or_else(String::new, |seen| hex(&seen.sha256));
    if digest.len() < SHORT || !now.starts_with(&digest.to_ascii_lowercase()) {
        let message = format!(
            "`{}` is {now} now, and not what was looked at: see `opgate tools show`",
            escaped(&tool.name)
        );
        output::complain(&message);
        return Ok(Outcome::Refused);
    }
    tools.approve(&resource, &tool.name).context("it could not be written down")?;
    output::print(&format!("approved `{}` as it is now ({})\n", escaped(&tool.name), digest))?;
    Ok(Outcome::Done)
}
