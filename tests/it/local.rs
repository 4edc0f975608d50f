//! The operator's own policies and their data, and what is counted and said of every policy that is asked
//! (`policy.md` §5, §6.3, §10).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opgate::model::hex::hex;
use opgate::token::hash::sha256;
use serde_json::{Value, json};

use crate::support::challenge::Challenge;
use crate::support::{Echo, Gate, Setup, Token, eventually};

const TARGET: &str = "/shop/any/1";
/// Lets agents through that stand in the operator's list, up to their number of the day.
const LISTED: &str = "package office\n\ndefault allow := false\n\nallow if {\n  some agent in data.agents\n  agent == input.agent.id\n  data.limits.open == true\n}\n";

fn setup(echo: &Echo, data: &str) -> Setup {
    let mut setup = Setup::new(echo);
    setup.write("office.rego", LISTED);
    setup.write("office.json", data);
    setup.operations +=
        "\n[[resource.local_policy]]\nfile = \"office.rego\"\ndata = \"office.json\"\n";
    setup
}

fn of_agent(gate: &Gate) -> String {
    let token = Token::new();
    token.claim("act", json!({"sub": "agent-7"})).sign(&gate.setup.key)
}

/// A token with a policy of its own.
fn governed(gate: &Gate, content: &str) -> String {
    let policy = json!({"language": "rego", "content": content});
    let details = json!([{"type": "authorization_policy", "policy": policy}]);
    let token = Token::new().claim("authorization_details", details);
    token.claim("act", json!({"sub": "agent-7"})).sign(&gate.setup.key)
}

fn data(agents: &[&str], open: bool) -> String {
    json!({"agents": agents, "limits": {"open": open}}).to_string()
}

#[test]
fn a_local_policy_sees_its_data_and_what_changes_in_it() {
    let echo = Echo::start();
    let listed = data(&["agent-7"], true);
    let gate = setup(&echo, &data(&["somebody"], true)).start();
    let token = of_agent(&gate);
    let refused = gate.get(TARGET, &token);
    let record = gate.decision(&refused.decision_id());
    assert_eq!((refused.status, &record["reason"]), (403, &"policy_denied".into()), "{record}");
    echo.assert_untouched("an agent that is not listed");
    // What stands in the data is nobody's business.
    assert!(!refused.everything().contains("somebody"));
    gate.setup.write("office.json", &listed);
    eventually("the new data", || (gate.get(TARGET, &token).status == 200).then_some(()));
    let allowed = gate.get(TARGET, &token);
    let policy = gate.decision(&allowed.decision_id())["policies"][0].clone();
    assert_eq!(policy["data_sha256"], hex(&sha256(listed.as_bytes())));
    assert_eq!(policy["sha256"], hex(&sha256(LISTED.as_bytes())));
    assert!(policy["us"].is_u64() && policy["steps"].is_u64(), "{policy}");
    // A file that is broken changes nothing.
    gate.setup.write("office.json", "{\"agents\": [], \"agents\": []}");
    eventually("the complaint", || {
        gate.stderr().contains("is not the data of a policy").then_some(())
    });
    assert_eq!(gate.get(TARGET, &token).status, 200);
    gate.setup.write("office.json", &data(&["agent-7"], false));
    eventually("the last data", || (gate.get(TARGET, &token).status == 403).then_some(()));
}

#[test]
fn pol_015_031_policies_of_tokens_do_not_see_the_data_of_the_operator() {
    let echo = Echo::start();
    let gate = setup(&echo, &data(&["agent-7"], true)).start();
    for content in [
        "package agent\nallow if data.limits.open",
        "package office\nallow if data.limits.open",
        "package agent\nimport data.limits\nallow if limits.open",
        "package agent\nallow if data[\"limits\"].open",
        "package agent\nallow if { some x; data[x].open }",
        "package agent\nallow if count(data) > 0",
    ] {
        let response = gate.get(TARGET, &governed(&gate, content));
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (response.status, &record["reason"]),
            (500, &"policy_not_admitted".into()),
            "{content}"
        );
    }
    echo.assert_untouched("policies that look for data");
    // One of the operator's package has no part in it, and is asked beside it.
    let own = "package office\nagents := [\"nobody\"]\nallow if \"nobody\" in agents";
    assert_eq!(gate.get(TARGET, &governed(&gate, own)).status, 200);
}

#[test]
fn data_that_cannot_be_meant_is_a_mistake() {
    let echo = Echo::start();
    assert_eq!(setup(&echo, &data(&[], true)).check().0, Some(0));
    let deep = format!("{{\"agents\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for (data, said) in [
        ("[]", "is not the data"),
        ("{\"a\":1,\"a\":2}", "is not the data"),
        ("{\"limits\":{\"most\":12345678901234567890123}}", "is not the data"),
        (deep.as_str(), "is not the data"),
        ("{}", "`data.agents` is outside of this policy"),
        ("{\"agents\":[],\"limits\":{},\"office\":{}}", "`office` is the name of"),
        (&" ".repeat(2 * 1_024 * 1_024), "is too large"),
    ] {
        let (code, told) = setup(&echo, data).check();
        assert!(code != Some(0) && told.contains(said), "{said}: {told}");
    }
    let mut cedar = setup(&echo, "{}");
    cedar.write("office.cedar", "permit (principal, action, resource);");
    cedar.operations = cedar.operations.replace("office.rego", "office.cedar");
    let (code, told) = cedar.check();
    let expected = if cfg!(feature = "cedar") {
        "a policy in Cedar has no data"
    } else {
        "Cedar is not built into this gate"
    };
    assert!(code == Some(2) && told.contains(expected), "{told}");
}

#[test]
fn policies_with_data_are_tested_and_checked_as_they_will_run() {
    let dir = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("office.rego", LISTED);
    write("lists.json", &data(&["agent-7"], true));
    write(
        "office.test.toml",
        "[[case]]\nname = \"listed\"\ninput = { agent.id = \"agent-7\" }\nexpect = \"true\"\n",
    );
    let run = |what: &str, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_opgate"));
        command.current_dir(dir.path()).args(["policy", what, "office.rego"]).args(more);
        command.output().unwrap().status.code()
    };
    for what in ["test", "check"] {
        assert_eq!(run(what, &["--class", "local", "--data", "lists.json"]), Some(0), "{what}");
        assert_ne!(run(what, &["--class", "local"]), Some(0), "{what}: without its data");
        assert_eq!(run(what, &["--data", "lists.json"]), Some(2), "{what}: of a token");
    }
}

#[test]
fn every_answer_of_a_policy_is_counted_by_words_that_no_token_chooses() {
    let echo = Echo::start();
    let gate = setup(&echo, &data(&["agent-7"], true)).start();
    for n in 0..5 {
        let content = format!("package agent{n}\nallow if input.action == \"anything\"");
        assert_eq!(gate.get(TARGET, &governed(&gate, &content)).status, 200);
    }
    let no = governed(&gate, "package agent\ndefault allow := false");
    assert_eq!(gate.get(TARGET, &no).status, 403);
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    for line in [
        "opgate_policies_asked_total{carrier=\"authorization_details\",dialect=\"rego.v1\",result=\"true\"} 5",
        "opgate_policies_asked_total{carrier=\"authorization_details\",dialect=\"rego.v1\",result=\"false\"} 1",
        "opgate_policies_asked_total{carrier=\"local_policy\",dialect=\"rego.v1\",result=\"true\"} 6",
        "opgate_policy_seconds_count 12",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert_eq!(metrics.matches("opgate_policies_asked_total").count(), 3, "{metrics}");
}

#[test]
fn pol_017_a_policy_that_was_swapped_raises_an_alert() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    std::fs::create_dir(setup.dir.path().join("policies")).unwrap();
    setup.write("policies/p1.rego", "package agent\n\nallow if input.action == \"anything\"\n");
    setup.more += "\n[policies]\ndirectory = \"policies\"\n";
    let gate = setup.start();
    let meant = digest(&SHA256, b"package agent\n\nallow if input.action == \"something\"\n");
    let hash = format!("sha256-{}", BASE64_STANDARD.encode(meant));
    let token = Token::new().claim("policy_ref", json!({"id": "p1", "hash": hash}));
    let token = token.without("authorization_details").sign(&gate.setup.key);
    let response = gate.get(TARGET, &token);
    let record: Value = gate.decision(&response.decision_id());
    assert_eq!((response.status, &record["reason"]), (403, &"policy_digest_mismatch".into()));
    assert_eq!(record["alert"], "policy_digest_mismatch");
    echo.assert_untouched("a policy that is not the one that was meant");
    let line = eventually("the line", || {
        let all = gate.stderr();
        let found = all.lines().find(|line| line.contains("a record should be looked at"));
        found.map(ToOwned::to_owned)
    });
    for said in ["ERROR", "policy_digest_mismatch", response.decision_id().as_str()] {
        assert!(line.contains(said), "{said}: {line}");
    }
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    assert!(
        metrics.contains("opgate_alerts_total{alert=\"policy_digest_mismatch\"} 1"),
        "{metrics}"
    );
    // A call that is refused for another reason raises none.
    let plain = gate.get("/shop/orders/1", &gate.token());
    assert!(gate.decision(&plain.decision_id()).get("alert").is_none());
}

/// What the operator's own policy refuses, no token changes: it is not advised to ask for one.
#[test]
fn err_008_a_refusal_of_the_operators_own_policy_carries_no_guidance() {
    let echo = Echo::start();
    let gate = setup(&echo, &data(&["nobody"], false)).start();
    let token = gate.token();
    let response = gate.get(TARGET, &token);
    assert_eq!(response.status, 403, "{}", response.everything());
    assert_eq!(gate.decision(&response.decision_id())["about"], "local_policy");
    let challenge = Challenge::of(&response);
    assert_eq!(challenge.get("error"), Some("insufficient_authorization"));
    for parameter in ["policy_profile", "authorization_remediation"] {
        assert_eq!(challenge.get(parameter), None);
    }
    echo.assert_untouched("refused by the operator");
}
