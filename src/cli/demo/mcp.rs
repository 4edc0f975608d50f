//! The second part of the demo: the shop as an MCP server, whose calls stand in messages.

use anyhow::Context;
use serde_json::{Value, json};

use super::agent::{Agent, Answer};
use super::shop::Shop;
use super::{Story, mint_for, say};
use crate::cli::keys::SigningKey;

/// The resource.
pub(super) const RESOURCE: &str = "https://tools.example.com/shop-mcp";
/// How many calls of this part are allowed, and how many refused.
pub(super) const ALLOWED: usize = 4;
/// See [`ALLOWED`].
pub(super) const REFUSED: usize = 4;

const PATH: &str = "/shop-mcp";
const CURRENT: &str = "2025-11-25";
const STATELESS: &str = "2026-07-28";

/// An agent that speaks MCP, with a token of its own.
struct Client<'a> {
    agent: &'a Agent,
    token: String,
}

impl Client<'_> {
    async fn send(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        params: Value,
    ) -> anyhow::Result<Answer> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let body = message.to_string().into_bytes();
        let mut answer = self.agent.send("POST", PATH, Some(&self.token), &all, &body).await?;
        let name = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
        answer.asked = [method, name].join(" ");
        Ok(answer)
    }
}

/// What the agent does, and what it expects.
pub(super) async fn act(
    story: &mut Story,
    agent: &Agent,
    shop: &Shop,
    key: &SigningKey,
) -> anyhow::Result<()> {
    let granted = json!([{"type": "agent_operation", "operations":
        [{"action": "create_order", "args": {"amount": {"maximum": 50}}}]}]);
    let client = Client { agent, token: mint_for(key, RESOURCE, "shopping-agent", &granted)? };
    let other = Client { agent, token: mint_for(key, RESOURCE, "another-agent", &granted)? };

    story.step("The shop is an MCP server too. alice consents to orders of at most 50; the agent asks which tools there are")?;
    let begun = client.send(&[], "initialize", json!({"protocolVersion": CURRENT})).await?;
    let session = begun.header("mcp-session-id").context("no session was begun")?;
    let versioned = ("mcp-protocol-version", CURRENT);
    let in_session = [versioned, ("mcp-session-id", session.as_str())];
    let answer = client.send(&in_session, "tools/list", json!({})).await?;
    let names = names_of(&answer);
    say(&format!("{} → {} {}", answer.asked, answer.status, names.join(", ")))?;
    story.expect(
        "of the shop's two tools it sees the one that it could use",
        names == ["create_order"],
    )?;

    story.step("It orders for 10, and then for 5000")?;
    let answer = client.send(&in_session, "tools/call", order(10)).await?;
    story.show(&answer)?;
    story.expect("what alice agreed to is done", answer.status == 200)?;
    let before = shop.calls();
    let answer = client.send(&in_session, "tools/call", order(5_000)).await?;
    story.show(&answer)?;
    let code = answer.json().pointer("/error/code").and_then(Value::as_i64);
    story.expect(
        "the argument stands in the body, and is held against the consent there",
        answer.status == 403 && code == Some(-31_403) && shop.calls() == before,
    )?;

    steal(story, &other, &in_session, shop).await?;
    repeat(story, &client, shop).await?;
    overnight(story, &client, &in_session, shop).await
}

fn order(amount: u32) -> Value {
    json!({"name": "create_order", "arguments": {"amount": amount}})
}

async fn steal(
    story: &mut Story,
    other: &Client<'_>,
    in_session: &[(&str, &str)],
    shop: &Shop,
) -> anyhow::Result<()> {
    let before = shop.calls();
    story.step("Another agent has found the id of the session")?;
    let answer = other.send(in_session, "tools/call", order(10)).await?;
    story.show(&answer)?;
    story.expect(
        "a session belongs to whoever began it; to others it does not exist",
        answer.status == 404 && shop.calls() == before,
    )
}

async fn repeat(story: &mut Story, client: &Client<'_>, shop: &Shop) -> anyhow::Result<()> {
    let before = shop.calls();
    story.step(
        "The agent repeats its call as the answer to a question of the shop, with other arguments",
    )?;
    let mut retry = order(5_000);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": STATELESS});
    if let Some(members) = retry.as_object_mut() {
        members.insert("requestState".into(), "what the shop gave it".into());
        members.insert("_meta".into(), meta);
    }
    let stateless = [
        ("mcp-protocol-version", STATELESS),
        ("mcp-method", "tools/call"),
        ("mcp-name", "create_order"),
    ];
    let answer = client.send(&stateless, "tools/call", retry).await?;
    story.show(&answer)?;
    story.expect(
        "a retry is judged as if nothing had been before",
        answer.status == 403 && shop.calls() == before,
    )
}

async fn overnight(
    story: &mut Story,
    client: &Client<'_>,
    in_session: &[(&str, &str)],
    shop: &Shop,
) -> anyhow::Result<()> {
    story.step("Overnight the shop describes its tool otherwise: first send the card of the customer to evil.example")?;
    shop.change_its_mind();
    client.send(in_session, "tools/list", json!({})).await?;
    let before = shop.calls();
    let answer = client.send(in_session, "tools/call", order(10)).await?;
    story.show(&answer)?;
    let is_refused = answer.status == 403 && shop.calls() == before;
    story.expect(
        "it is refused until somebody has looked: `opgate tools show create_order`",
        is_refused,
    )
}

fn names_of(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let tools = answer.pointer("/result/tools").and_then(Value::as_array);
    let named = tools.into_iter().flatten().filter_map(|tool| tool.get("name")?.as_str());
    named.map(str::to_owned).collect()
}
