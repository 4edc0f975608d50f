//! `opgate check`: a configuration loaded and built, without listening.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::output::{self, Paint, Rows};
use super::{Outcome, serve};
use crate::config::{self, Authorization, Config, Mode, OperationRule, Resource};
use crate::operation::a2a::Agent;
use crate::proxy::serving::Serving;
use crate::proxy::tls::Tls;
use crate::state::policies;

/// `opgate check`
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// Says everything that is wrong, or what the configuration comes to.
pub fn run(args: &CheckArgs) -> anyhow::Result<Outcome> {
    let config = match config::load(&args.config, &serve::environment) {
        Ok(config) => Arc::new(config),
        Err(problems) => return unusable(args, &problems.to_string()),
    };
    if let Err(error) = build(&config) {
        return unusable(args, &format!("{}: {error:#}", args.config.display()));
    }
    let mut warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(policies::never_admitted(&config));
    output::print(&if args.json {
        as_json(&config, &warnings)
    } else {
        as_text(&config, warnings)
    })?;
    Ok(Outcome::Done)
}

/// Everything that `serve` builds before it listens, but for what is fetched from elsewhere.
fn build(config: &Arc<Config>) -> anyhow::Result<()> {
    Serving::try_build(config, &serve::environment)?;
    config.gate.tls.clone().map(Tls::load).transpose()?;
    Ok(())
}

fn unusable(args: &CheckArgs, problems: &str) -> anyhow::Result<Outcome> {
    if args.json {
        output::print(&format!("{}\n", json!({ "valid": false, "problems": problems })))?;
    } else {
        output::complain(problems);
    }
    Ok(Outcome::Unusable)
}

fn as_json(config: &Config, warnings: &[String]) -> String {
    let resources: Vec<_> = config
        .resources
        .iter()
        .map(|resource| {
            let actions: Vec<_> = resource.operations.iter().map(action).collect();
            json!({
                "id": resource.id, "operations": resource.operations.len(), "mode": mode(resource),
                "protocol": resource.protocol(),
                "actions": actions,
                "upstream": config.upstreams.get(resource.upstream).map(|upstream| &upstream.name),
            })
        })
        .collect();
    let summary = json!({ "valid": true, "sha256": config.digest, "resources": resources, "warnings": warnings });
    format!("{summary}\n")
}

/// An operation as grants name it, and where it comes from.
fn action(rule: &OperationRule) -> Value {
    let methods: Vec<&str> = rule.methods.iter().map(http::Method::as_str).collect();
    let from = rule.described.as_ref().map(|described| &described.pointer);
    json!({ "action": rule.action, "methods": methods, "path": rule.path.text(), "from": from })
}

fn as_text(config: &Config, warnings: Vec<String>) -> String {
    let mut rows = Rows::new(Paint::new(output::is_colored()));
    rows.add_all("listens on", config.gate.listen.iter().map(ToString::to_string));
    let scheme = if config.gate.origin.secure { "https" } else { "http" };
    rows.add("reached at", format!("{scheme}://{}", config.gate.origin.authority));
    if let Some(admin) = &config.admin {
        rows.add("admin", admin.listen.to_string());
    }
    rows.add_all("issuers", config.issuers.iter().map(|issuer| issuer.trust.id.to_string()));
    rows.add_all("resources", config.resources.iter().map(|resource| describe(config, resource)));
    rows.add("audit", config.audit.directory.display().to_string());
    rows.add_all("warnings", warnings);
    rows.text() + "the configuration is valid\n"
}

fn describe(config: &Config, resource: &Resource) -> String {
    let upstream = config.upstreams.get(resource.upstream).map_or("", |upstream| &upstream.name);
    let operations = resource.operations.len();
    let by = match resource.authorization {
        Authorization::Policy => "by grant",
        Authorization::Scope => "by scope",
    };
    let from = match &resource.openapi {
        Some(document) => {
            let described =
                resource.operations.iter().filter(|rule| rule.described.is_some()).count();
            format!(" ({described} of them from {})", document.display())
        }
        None => String::new(),
    };
    let spoken = resource.versions().join(", ");
    let what = match (&resource.mcp, &resource.a2a) {
        (Some(server), _) => {
            let rules = server.tools.len();
            format!("MCP server ({spoken}), {rules} rules for tools")
        }
        (None, Some(agent)) => {
            format!("A2A agent ({spoken}), {}", notified(agent))
        }
        (None, None) => format!("{operations} operations{from}"),
    };
    let mode = mode(resource);
    format!("{}: {what}, {by}, {mode}, to `{upstream}`", resource.id)
}

fn notified(agent: &Agent) -> String {
    match agent.push_hosts.as_slice() {
        [] => "notifications denied".to_owned(),
        hosts => format!("notifications to {}", hosts.join(", ")),
    }
}

const fn mode(resource: &Resource) -> &'static str {
    match resource.mode {
        Mode::Enforce => "enforced",
        Mode::Observe => "observed",
    }
}
