//! `opgate demo`: everything on this machine. A tool API, an issuer, the gate before the API, and an
//! agent that is refused, allowed, guided and recorded. Each step says what it expects; where one does
//! not hold, the exit code is 1.

mod agent;
mod mcp;
mod shop;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use self::agent::{Agent, Answer};
use self::shop::Shop;
use super::opening;
use super::output::{self, Paint, Style};
use super::serve::{self, Server};
use super::token::{self, Allowance, Minting};
use super::{Outcome, audit};
use crate::config;
use crate::journal::reader::{self, Read, Record};
use crate::journal::writer::Journal;
use crate::runtime::clock;
use crate::token::trust::Algorithm;

use super::keys::SigningKey;

const ISSUER: &str = "http://127.0.0.1/demo-issuer";
const RESOURCE: &str = "https://tools.example.com/shop";

/// `opgate demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Exit when the story is told, instead of leaving everything running
    #[arg(long)]
    pub once: bool,
}

/// Tells the story. Everything it writes lies in one temporary folder, which it names.
pub fn run(args: &DemoArgs) -> anyhow::Result<Outcome> {
    let folder = std::env::temp_dir().join(format!("opgate-demo-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let runtime = serve::runtime(None)?;
    let told = runtime.block_on(tell(args, &folder));
    if args.once {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("`{}` cannot be removed", folder.display()))?;
    }
    told
}

async fn tell(args: &DemoArgs, folder: &Path) -> anyhow::Result<Outcome> {
    let shop = Shop::open().await?;
    let key = SigningKey::generate(Algorithm::Es256)?;
    let file = write_files(folder, &key, &shop)?;
    let config = config::load(&file, &serve::environment)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let opened = opening::open(&config)?;
    let journal = opened.journal.clone();
    let mut server = Server::start(&file, config, opened).await?;
    let address = server.addresses.first().context("the gate has no address")?.clone();
    let mut story =
        Story { paint: Paint::new(output::is_colored()), broken: Vec::new(), number: 0 };
    say(&format!(
        "A tool API, a shop, listens on {}. Nobody should call it but the gate.",
        shop.address
    ))?;
    say(&format!("The gate listens on {address} and serves it as {RESOURCE}."))?;
    let agent = Agent { address: address.clone() };
    let token = act(&mut story, &agent, &shop, &key).await?;
    mcp::act(&mut story, &agent, &shop, &key).await?;
    review(&mut story, folder, &journal).await?;
    let outcome = story.end()?;
    if !args.once {
        output::print(&invitation(&address, server.admin.as_deref(), &token, &file, folder))?;
        tokio::signal::ctrl_c().await?;
    }
    server.stop().await;
    journal.close();
    Ok(outcome)
}

/// Writes what a platform engineer would: the issuer's keys, the tool's secret, the configuration.
fn write_files(folder: &Path, key: &SigningKey, shop: &Shop) -> anyhow::Result<PathBuf> {
    fs::write(folder.join("jwks.json"), key.jwk_set("demo", Vec::new())?)?;
    let secret = folder.join("shop-key");
    fs::write(&secret, shop::KEY)?;
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let file = folder.join("opgate.toml");
    let text = include_str!("demo/opgate.toml.in");
    let text = text
        .replace("@upstream@", &format!("http://{}", shop.address))
        .replace("@issuer@", ISSUER)
        .replace("@resource@", RESOURCE)
        .replace("@mcp@", mcp::RESOURCE);
    fs::write(&file, text)?;
    Ok(file)
}

/// What the agent does, and what it expects. Gives back the token that is good for reading.
async fn act(
    story: &mut Story,
    agent: &Agent,
    shop: &Shop,
    key: &SigningKey,
) -> anyhow::Result<String> {
    story.step("The agent calls without a token")?;
    let answer = agent.call("GET", "/shop/products/42", None, &[]).await?;
    story.show(&answer)?;
    story.expect(
        "it is refused, and nothing reaches the shop",
        answer.status == 401 && shop.calls() == 0,
    )?;
    let metadata = answer.parameter("resource_metadata").unwrap_or_default();
    story.expect(
        "the refusal says where to learn whom to ask",
        metadata.contains("/.well-known/oauth-protected-resource"),
    )?;
    let document =
        agent.call("GET", "/.well-known/oauth-protected-resource/shop", None, &[]).await?.json();
    story.expect(
        "the metadata names the issuer",
        document.pointer("/authorization_servers/0").is_some_and(|first| first == ISSUER),
    )?;

    story.step("alice consents: the agent may read products. It gets a token that says so")?;
    let reading = mint(key, &["GET /products/**"])?;
    let answer = agent.call("GET", "/shop/products/42", Some(&reading), &[]).await?;
    story.show(&answer)?;
    let seen = shop.last();
    story.expect("the call is forwarded", answer.status == 200 && shop.calls() == 1)?;
    story.expect(
        "the shop sees its own key, and never the agent's token",
        seen.key == shop::KEY && !seen.token_seen,
    )?;

    story.step("The agent tries to place an order")?;
    let answer = agent.call("POST", "/shop/orders", Some(&reading), b"{\"product\":42}").await?;
    story.show(&answer)?;
    story.expect(
        "it is refused: nobody consented to that",
        answer.status == 403 && shop.calls() == 1,
    )?;
    let remedy = answer
        .parameter("authorization_remediation")
        .and_then(|blob| decode(&blob))
        .unwrap_or_default();
    let wanted =
        remedy.pointer("/authorization_details/0/operations/0").cloned().unwrap_or_default();
    say(&format!("the refusal says what would cover it: {wanted}"))?;
    story.expect(
        "the guidance names this operation",
        wanted.get("action").is_some_and(|action| action == "create_order"),
    )?;

    story.step("alice consents to that too, and the agent calls again")?;
    let ordering = mint(key, &["GET /products/**", "create_order"])?;
    let answer = agent.call("POST", "/shop/orders", Some(&ordering), b"{\"product\":42}").await?;
    story.show(&answer)?;
    story.expect("the order is placed", answer.status == 201 && shop.calls() == 2)?;

    story.step("Someone writes a larger permission into the token")?;
    let forged = forge(&reading).context("the token cannot be forged")?;
    let answer = agent.call("DELETE", "/shop/orders/1", Some(&forged), &[]).await?;
    story.show(&answer)?;
    story.expect("the signature gives it away", answer.status == 401 && shop.calls() == 2)?;

    story.step("Someone hides a path in a path")?;
    let answer = agent.call("GET", "/shop/products/%2e%2e/orders", Some(&reading), &[]).await?;
    story.show(&answer)?;
    story.expect(
        "what two readers could read differently is refused",
        answer.status == 400 && shop.calls() == 2,
    )?;
    Ok(reading)
}

fn mint(key: &SigningKey, operations: &[&str]) -> anyhow::Result<String> {
    let operations: Vec<_> = operations
        .iter()
        .map(|text| Ok(Allowance::parse(text).map_err(anyhow::Error::msg)?.json()))
        .collect::<anyhow::Result<_>>()?;
    let entry =
        json!({"type": "agent_operation", "operations": operations, "locations": [RESOURCE]});
    mint_for(key, RESOURCE, "shopping-agent", &json!([entry]))
}

/// A token of `agent` for `resource`, with these `details`.
fn mint_for(
    key: &SigningKey,
    resource: &str,
    agent: &str,
    details: &Value,
) -> anyhow::Result<String> {
    token::mint(&Minting {
        key,
        key_id: "demo",
        issuer: ISSUER,
        audience: &[resource.to_owned()],
        subject: "alice",
        client_id: Some("demo-client"),
        agent: Some(agent),
        scope: None,
        operations: &[],
        locations: &[],
        details: details.as_array().map_or(&[], Vec::as_slice),
        claims: &serde_json::Map::new(),
        issued: clock::now(),
        ttl: Duration::from_hours(8),
        jwt_id: None,
    })
}

/// The token with every path allowed, and the signature of before.
fn forge(token: &str) -> Option<String> {
    let (header, rest) = token.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let payload = payload.replace("/products/**", "/**").replace("GET", "DELETE");
    Some(format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload)))
}

fn decode(blob: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(blob).ok()?).ok()
}

/// Reads the log as a reviewer would, and checks it against what happened.
async fn review(story: &mut Story, folder: &Path, journal: &Journal) -> anyhow::Result<()> {
    story.step("The review: what the log says of it all")?;
    let directory = folder.join("audit");
    let records = settled(&directory).await?;
    for record in &records {
        output::print(&format!("   {}\n", audit::summary(record, story.paint)))?;
    }
    let count = |kind: &str, verdict: &str| {
        records
            .iter()
            .filter(|record| record.kind() == kind && record.text(&["decision"]) == verdict)
            .count()
    };
    let (allowed, refused) = (2 + mcp::ALLOWED, 4 + mcp::REFUSED);
    story
        .expect(&format!("{allowed} calls were allowed"), count("decision", "allow") == allowed)?;
    story.expect(&format!("{refused} were refused"), count("decision", "deny") == refused)?;
    story.expect("each call that was allowed has its outcome", count("outcome", "") == allowed)?;
    let is_dense =
        records.iter().enumerate().all(|(n, record)| record.seq() == u64::try_from(n).ok());
    story.expect("no record is missing", is_dense && journal.stats().lost == 0)?;
    let texts: Vec<_> = records.iter().map(|record| &*record.line).collect();
    let leaks = texts
        .iter()
        .any(|line| line.contains("alice") || line.contains(shop::KEY) || line.contains("eyJ"));
    story.expect("no person, secret or token is in it", !leaks)
}

/// The records, once the outcomes have followed the decisions.
async fn settled(directory: &Path) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..50 {
        records = reader::forward(directory)?
            .filter_map(|read| match read {
                Ok(Read::Record(record)) => Some(record),
                Ok(Read::Bad { .. }) | Err(_) => None,
            })
            .collect();
        if records.iter().filter(|record: &&Record| record.kind() == "outcome").count()
            >= 2 + mcp::ALLOWED
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(records)
}

/// What a person can paste to go on by hand.
fn invitation(
    address: &str,
    admin: Option<&str>,
    token: &str,
    file: &Path,
    folder: &Path,
) -> String {
    let audit = folder.join("audit");
    format!(
        "\nEverything is still running; Ctrl-C ends it. Go on by hand:\n\n\
         TOKEN={token}\n\
         curl -i -H 'Host: tools.example.com' -H \"Authorization: Bearer $TOKEN\" http://{address}/shop/products/42\n\
         curl -i -H 'Host: tools.example.com' -H \"Authorization: Bearer $TOKEN\" -X DELETE http://{address}/shop/orders/1\n\
         curl http://{}/metrics\n\
         opgate token inspect $TOKEN\n\
         opgate audit tail --audit {} -f\n\
         less {}\n",
        admin.unwrap_or_default(),
        audit.display(),
        file.display(),
    )
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(output::print(&format!("   {text}\n"))?)
}

/// The story as it is told, and what did not hold.
struct Story {
    paint: Paint,
    broken: Vec<String>,
    number: usize,
}

impl Story {
    fn step(&mut self, text: &str) -> anyhow::Result<()> {
        self.number += 1;
        Ok(output::print(&format!("\n{}. {text}\n", self.number))?)
    }

    fn show(&self, answer: &Answer) -> anyhow::Result<()> {
        say(&self.paint.paint(
            Style::Faint,
            &format!("{} → {} {}", answer.asked, answer.status, answer.brief()),
        ))
    }

    fn expect(&mut self, what: &str, holds: bool) -> anyhow::Result<()> {
        if holds {
            return say(&format!("{} {what}", self.paint.paint(Style::Good, "✓")));
        }
        self.broken.push(what.to_owned());
        say(&format!("{} {what}", self.paint.paint(Style::Bad, "✗ this does not hold:")))
    }

    fn end(&self) -> anyhow::Result<Outcome> {
        if self.broken.is_empty() {
            output::print("\nEvery expectation held.\n")?;
            return Ok(Outcome::Done);
        }
        output::print(&format!("\n{} expectations did not hold.\n", self.broken.len()))?;
        Ok(Outcome::Refused)
    }
}
