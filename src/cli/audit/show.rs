//! `opgate audit show`: one call's whole story, from what a person agreed to, to what happened.

use serde_json::{Value, json};

use super::{LogArgs, asked, duration, must_exist};
use crate::cli::Outcome;
use crate::cli::output::{self, Paint, Rows, Style};
use crate::journal::find;
use crate::journal::reader::{Call, Record};
use crate::model::time::Timestamp;

/// `opgate audit show`
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The id of a decision (its beginning is enough), or a seq
    pub id: String,
    #[command(flatten)]
    log: LogArgs,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// Finds the call, and tells of it.
pub(super) fn run(args: &ShowArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let Some(call) = find::call(directory, &args.id)? else {
        output::complain(&format!("no record has the id or seq `{}`", output::escaped(&args.id)));
        return Ok(Outcome::Refused);
    };
    let text =
        if args.json { as_json(&call)? } else { story(&call, Paint::new(output::is_colored())) };
    output::print(&text)?;
    Ok(Outcome::Done)
}

fn as_json(call: &Call) -> anyhow::Result<String> {
    let decision: Value = serde_json::from_str(&call.decision.line)?;
    let outcome: Option<Value> = match &call.outcome {
        Some(outcome) => Some(serde_json::from_str(&outcome.line)?),
        None => None,
    };
    Ok(format!("{}\n", json!({ "decision": decision, "outcome": outcome })))
}

/// The story of one call, for a person who was not there.
fn story(call: &Call, paint: Paint) -> String {
    let record = &call.decision;
    let mut rows = Rows::new(paint);
    if record.kind() != "decision" {
        rows.add("record", output::escaped(&record.line));
        return rows.text();
    }
    let mut add = |label: &str, value: String| {
        if !value.is_empty() {
            rows.add(label, value);
        }
    };
    let text = |path: &[&str]| output::escaped(record.text(path));
    let or = |value: String, other: &str| if value.is_empty() { other.to_owned() } else { value };
    let join = |parts: [String; 2]| parts.join(" ").trim().to_owned();
    add("when", text(&["ts"]));
    let (method, what) = asked(record);
    add("asked for", join([method, what]));
    add("operation", text(&["op", "action"]));
    add("session", text(&["op", "session"]));
    add("resource", text(&["resource"]));
    add("agent", or(text(&["agent", "id"]), "not known: no verified token"));
    add("person", text(&["user", "tag"]));
    add("client", text(&["client_id"]));
    for (label, value) in agreement(record) {
        add(label, value);
    }
    add("token", join([text(&["jti"]), issued_by(&text(&["iss"]))]));
    add(
        "not verified",
        join([
            text(&["unverified", "iss"]),
            cut(&text(&["unverified", "token_sha256"]), "sha256 "),
        ]),
    );
    add("from", text(&["client", "address"]));
    add("decision", decided(record, paint));
    add("did not fit", did_not_fit(record));
    let entry = record.number(&["grant", "entry"]);
    add(
        "because of",
        entry.map_or(text(&["grant", "how"]), |entry| format!("authorization_details[{entry}]")),
    );
    add("policies", policies(record));
    add("sent to", if is_forwarded(record) { text(&["upstream"]) } else { String::new() });
    add("what happened", ending(record, call.outcome.as_ref()));
    add("decision id", text(&["id"]));
    add(
        "recorded as",
        format!(
            "{}/{} in {}",
            text(&["log"]),
            record.seq().unwrap_or_default(),
            record.file.display()
        ),
    );
    rows.text()
}

fn decided(record: &Record, paint: Paint) -> String {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let verdict = if record.text(&["decision"]) == "allow" {
        paint.paint(Style::Good, "allowed")
    } else if record.text(&["mode"]) == "observe" {
        paint.paint(Style::Warn, "would be refused; forwarded, since the resource is observed")
    } else {
        paint.paint(Style::Bad, "refused")
    };
    format!("{verdict}: {} {}", text(&["reason"]), text(&["about"])).trim().to_owned()
}

/// What the person agreed to, and through whom it came to the agent.
fn agreement(record: &Record) -> Vec<(&'static str, String)> {
    let text = |path: &[&str]| output::escaped(record.text(path));
    let evidence = |member| text(&["evidence", member]);
    let confirmed = record.number(&["evidence", "confirmed_at"]);
    let confirmed = confirmed.map(|at| Timestamp::from_seconds(at).to_string());
    let how = [evidence("user_action"), confirmed.unwrap_or_default()].join(" ");
    let shown = match (evidence("displayed_summary"), cut(&evidence("displayed_sha256"), "sha256 "))
    {
        (summary, digest) if summary.is_empty() => digest,
        (summary, _) => format!("“{summary}”"),
    };
    let hops = record.members.get("delegation").and_then(|delegation| delegation.get("hops"));
    let hops = hops.and_then(Value::as_array).into_iter().flatten().map(|hop| {
        let of =
            |member| output::escaped(hop.get(member).and_then(Value::as_str).unwrap_or_default());
        let summary = of("summary");
        let what = if summary.is_empty() { summary } else { format!(": “{summary}”") };
        format!("{} to {}{what}", of("from"), of("to"))
    });
    let mut told = vec![
        ("agreed", how.trim().to_owned()),
        ("was shown", shown),
        ("evidence", evidence("id")),
        ("of the root", text(&["delegation", "root_evidence"])),
    ];
    told.extend(hops.map(|hop| ("delegated", hop)));
    told
}

/// The policies that were asked, and what each said.
fn policies(record: &Record) -> String {
    let policies = record.members.get("policies").and_then(Value::as_array);
    let policies = policies.into_iter().flatten().map(|one| {
        let of =
            |member| output::escaped(one.get(member).and_then(Value::as_str).unwrap_or_default());
        format!("{} said {}", of("id"), of("result"))
    });
    policies.collect::<Vec<_>>().join(", ")
}

/// The cap that refused the call; empty where none did.
fn did_not_fit(record: &Record) -> String {
    let of = |member| output::escaped(record.text(&["exceeded", member]));
    match (of("cap"), of("left")) {
        (cap, _) if cap.is_empty() => cap,
        (cap, left) if left.is_empty() => format!("{} into `{cap}`", of("amount")),
        (cap, left) => format!("{} into `{cap}`, which had {left} left", of("amount")),
    }
}

pub(super) fn is_forwarded(record: &Record) -> bool {
    record.text(&["decision"]) == "allow" || record.text(&["mode"]) == "observe"
}

fn issued_by(issuer: &str) -> String {
    if issuer.is_empty() { String::new() } else { format!("issued by {issuer}") }
}

fn cut(digest: &str, label: &str) -> String {
    digest.get(..16).map_or(String::new(), |digest| format!("{label}{digest}…"))
}

fn ending(decision: &Record, outcome: Option<&Record>) -> String {
    let Some(outcome) = outcome else {
        return if is_forwarded(decision) {
            "the log has no outcome: the call is still open, or the process ended with it"
                .to_owned()
        } else {
            "nothing was sent to the tool".to_owned()
        };
    };
    let status = outcome.number(&["http", "status"]);
    let parts = [
        output::escaped(outcome.text(&["result"])).replace('_', " "),
        status.map_or(String::new(), |status| format!(", the tool answered {status}")),
        outcome.number(&["us"]).map_or(String::new(), |us| format!(" after {}", duration(us))),
        match outcome.text(&["error"]) {
            "" => String::new(),
            error => format!(": {}", output::escaped(error)),
        },
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    #[test]
    fn a_story_says_which_cap_refused_and_what_it_had_left() {
        let refused = record(
            r#"{"seq":7,"log":"gw","ts":"t","type":"decision","id":"i","decision":"deny","reason":"budget_exceeded","exceeded":{"cap":"daily","amount":"10","left":"3"},"http":{"method":"GET","path":"/a"}}"#,
        );
        let told = story(&Call { decision: refused, outcome: None }, Paint::new(false));
        assert!(told.contains("10 into `daily`, which had 3 left"), "{told}");
    }

    #[test]
    fn a_story_says_plainly_what_is_missing() {
        let decision = record(
            r#"{"seq":7,"log":"gw","ts":"t","type":"decision","id":"i","decision":"allow","reason":"granted","grant":{"entry":0,"how":"agent_operation"},"http":{"method":"GET","path":"/a"},"upstream":"shop"}"#,
        );
        let outcome = record(
            r#"{"seq":8,"type":"outcome","of":7,"result":"success","http":{"status":200},"us":1500}"#,
        );
        let open = story(&Call { decision: decision.clone(), outcome: None }, Paint::new(false));
        assert!(open.contains("the log has no outcome"), "{open}");
        let whole = story(&Call { decision, outcome: Some(outcome) }, Paint::new(false));
        assert!(whole.contains("success, the tool answered 200 after 1500 µs"), "{whole}");
        assert!(whole.contains("authorization_details[0]"), "{whole}");
    }

    #[test]
    fn a_story_says_what_was_agreed_to_and_how_it_came_to_the_agent() {
        let decision = record(
            r#"{"seq":7,"log":"gw","ts":"t","type":"decision","id":"i","decision":"allow","reason":"granted","evidence":{"id":"urn:e","confirmed_at":1790000000,"user_action":"button_click","verified":"signature","displayed_summary":"Refund \u001b 20 EUR","displayed_sha256":"00112233445566778899"},"delegation":{"depth":1,"root_evidence":"urn:r","hops":[{"from":"planner","to":"shop-01","summary":"refund"}]},"policies":[{"id":"limit","result":"true"},{"id":"inline","result":"false"}],"http":{"method":"POST","path":"/refunds"},"upstream":"shop"}"#,
        );
        let told = story(&Call { decision, outcome: None }, Paint::new(false));
        for expected in [
            "agreed         button_click 2026-09-21T14:13:20.000000Z\n",
            "was shown      “Refund \\u{1b} 20 EUR”\n",
            "evidence       urn:e\n",
            "of the root    urn:r\n",
            "delegated      planner to shop-01: “refund”\n",
            "policies       limit said true, inline said false\n",
        ] {
            assert!(told.contains(expected), "{told}");
        }
    }
}
