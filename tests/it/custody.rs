//! Attacks on what the gate keeps and says: its audit directory, and the terminals of those who read.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::gate::records_in;
use crate::support::issuer::jws;
use crate::support::{Echo, Setup, Token, request};

/// Code 3, the world failed, with these words; and nothing was served.
fn refuses_to_start(setup: Setup, words: &[&str]) {
    let mut gate = setup.spawn();
    assert_eq!(gate.ended().code(), Some(3), "{}", gate.stderr());
    let log = gate.stderr();
    for word in words {
        assert!(log.contains(word), "{word} in {log}");
    }
    assert!(!gate.path("ready.json").exists());
}

#[test]
fn the_audit_directory_may_be_a_link_and_nothing_in_it_may() {
    let echo = Echo::start();
    let setup = Setup::new(&echo);
    let place = setup.dir.path().join("place");
    fs::create_dir(&place).unwrap();
    symlink(&place, setup.dir.path().join("audit")).unwrap();
    let gate = setup.start();
    assert_eq!(gate.get("/shop/products/1", &gate.token()).status, 200);
    assert!(records_in(&place).iter().any(|record| record["type"] == "decision"));
    drop(gate);

    for name in ["seg", "lock", "tag.key", "revocations", "seg/000000000000.jsonl"] {
        let setup = Setup::new(&echo);
        let (audit, outside) = (setup.dir.path().join("audit"), setup.dir.path().join("outside"));
        fs::create_dir_all(audit.join(if name.contains('/') { "seg" } else { "" })).unwrap();
        if name == "seg" {
            fs::create_dir(&outside).unwrap();
        } else {
            fs::write(&outside, "").unwrap();
        }
        symlink(&outside, audit.join(name)).unwrap();
        refuses_to_start(setup, &[&format!("audit/{name}"), "is a symbolic link"]);
    }
}

#[test]
fn what_is_no_file_of_the_log_neither_hangs_the_gate_nor_is_written_to() {
    let echo = Echo::start();
    let setup = Setup::new(&echo);
    let segments = setup.dir.path().join("audit/seg");
    fs::create_dir_all(&segments).unwrap();
    let pipe = segments.join("000000000000.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refuses_to_start(setup, &["000000000000.jsonl", "is no plain file"]);

    let setup = Setup::new(&echo);
    setup.write("audit", "not a directory");
    refuses_to_start(setup, &["audit"]);
}

#[test]
fn a_directory_that_others_can_write_is_told_at_the_start() {
    let echo = Echo::start();
    let setup = Setup::new(&echo);
    let audit = setup.dir.path().join("audit");
    fs::create_dir(&audit).unwrap();
    fs::set_permissions(&audit, fs::Permissions::from_mode(0o777)).unwrap();
    let gate = setup.start();
    assert!(
        gate.stderr().contains("others can write the directory of the log"),
        "{}",
        gate.stderr()
    );
    drop(gate);
    // Only root can give a directory away, and so only there can it be tried.
    let setup = Setup::new(&echo);
    let audit = setup.dir.path().join("audit");
    fs::create_dir(&audit).unwrap();
    if chown(&audit, Some(12_345), None).is_ok() {
        let gate = setup.start();
        assert!(gate.stderr().contains("somebody else owns the directory"), "{}", gate.stderr());
    }
    let gate = Setup::new(&echo).start();
    let mode = |name: &str| fs::metadata(gate.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("audit"), 0o700);
    for name in ["audit/lock", "audit/tag.key", "audit/revocations", "audit/seg/000000000000.jsonl"]
    {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert!(!gate.stderr().contains("directory of the log"), "{}", gate.stderr());
}

#[test]
fn two_gates_never_write_one_log_by_whatever_name_they_call_it() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for alias in ["the same", "a link"] {
        let mut other = Setup::new(&echo);
        if alias == "the same" {
            let audit = format!("directory = {:?}", gate.path("audit"));
            other.before = format!("sed -i 's|^directory = .*|{audit}|' opgate.toml");
        } else {
            symlink(gate.path("audit"), other.dir.path().join("audit")).unwrap();
        }
        refuses_to_start(other, &["in use by another process"]);
    }
    assert_eq!(gate.get("/shop/products/1", &gate.token()).status, 200, "the first goes on");
    let seqs: Vec<_> =
        gate.records().iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..u64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
}

/// Erases the screen, names the window, rings, and writes from right to left: in C0, C1 and Unicode.
const HOSTILE: &str =
    "a\u{1b}[2J\u{1b}]0;pwned\u{7}\r\u{9b}31m\u{202e}\u{2066}\u{200b}\u{7f}\nnext";

/// Whether a terminal would do anything but print it.
fn acts(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    text.chars().any(|c| (c.is_control() && c != '\n') || turns(c)) || text.contains("\nnext")
}

fn printed(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opgate"));
    let output = command.args(arguments).current_dir(directory).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    text.concat()
}

/// Every claim and header member that anything reads, with `text` in it.
fn filled_with(text: &str) -> Token {
    let mut token = Token::new();
    for name in [
        "sub",
        "client_id",
        "jti",
        "scope",
        "acr",
        "delegation_chain_ref",
        "policy_ref",
        "unheard_of",
    ] {
        token.payload[name] = json!(text);
    }
    token
        .claim("act", json!({"sub": text, "act": {"sub": text}}))
        .claim("cnf", json!({"jkt": text, text: text}))
        .claim("status", json!({"status_list": {"idx": text, "uri": text}}))
        .claim("delegation_chain", json!([{"delegator_id": text, "delegatee_id": text, "as_id": text}]))
        .claim("evidence", json!({"id": text, "user_confirmation": {"displayed_content": text,
            "user_action": text, "timestamp": 1}}))
        .claim("authorization_details", json!([{"type": text}, {"type": "agent_operation",
            "operations": [{"action": text}, {"method": text, "path": text}], "locations": [text]}]))
        .claim("agent_operation_authorization", json!({"policy_id": text}))
        .header("kid", text)
}

#[test]
fn nothing_that_a_stranger_wrote_acts_on_the_terminal_of_who_reads_it() {
    assert!(acts(HOSTILE));
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "delegation = {}\nmax_lifetime = \"15m\"".to_owned();
    let gate = setup.start();
    let directory = gate.setup.dir.path();
    let hostile = filled_with(HOSTILE).sign(&gate.setup.key);
    let as_algorithm = filled_with(HOSTILE).header("alg", HOSTILE).header("typ", HOSTILE);
    let as_algorithm = as_algorithm.sign(&gate.setup.key);
    let as_name = jws(
        &json!({"alg": "ES256", "typ": "at+jwt", HOSTILE: 1}).to_string(),
        &json!({HOSTILE: HOSTILE, "iss": HOSTILE, "aud": [HOSTILE]}).to_string(),
        &gate.setup.key,
    );
    for token in [&hostile, &as_algorithm, &as_name] {
        for more in [&[][..], &["--jwks", "jwks.json"], &["-c", "opgate.toml"]] {
            let told = printed(directory, &[&["token", "inspect", token.as_str()], more].concat());
            assert!(!told.is_empty() && !acts(&told), "{more:?}: {told:?}");
        }
        let asked = ["explain", "-c", "opgate.toml", "--token", token, "--request"];
        let told = printed(directory, &[&asked[..], &["GET /shop/products/1"]].concat());
        assert!(!told.is_empty() && !acts(&told), "{told:?}");
    }
    let asked = ["explain", "-c", "opgate.toml", "--token", HOSTILE, "--request"];
    let told = printed(directory, &[&asked[..], &["GET /shop/%1b[2J"]].concat());
    assert!(!told.is_empty() && !acts(&told), "{told:?}");

    // What is let through is recorded, and so is what is not.
    let good = Token::new().claim("jti", HOSTILE).claim("client_id", HOSTILE);
    let good = good.claim("act", json!({"sub": HOSTILE})).sign(&gate.setup.key);
    let allowed = gate.get("/shop/products/%E2%80%AE31m%E2%81%A6", &good);
    assert_eq!(allowed.status, 200, "{}", allowed.everything());
    let mut ids = vec![gate.decisions().pop().unwrap()["id"].as_str().unwrap().to_owned()];
    for (target, token) in [
        ("/shop/products/1", hostile.as_str()),
        ("/shop/products/1", &as_name),
        ("/shop/products/%C2%9B31m", "x"),
    ] {
        ids.push(gate.get(target, token).decision_id());
    }
    let lines = [("Authorization", "Bearer \u{9b}31m"), ("X-\u{7f}", "x")];
    gate.send(request("GET", "/shop/products/1", &lines, ""));
    let told = printed(directory, &["audit", "tail", "--audit", "audit", "-n", "100"]);
    assert!(told.contains("ALLOW") && told.contains("DENY") && !acts(&told), "{told:?}");
    for id in &ids {
        let told = printed(directory, &["audit", "show", id, "--audit", "audit"]);
        assert!(told.contains(id.as_str()) && !acts(&told), "{told:?}");
    }
    let told = printed(directory, &["audit", "show", HOSTILE, "--audit", "audit"]);
    assert!(!told.is_empty() && !acts(&told), "{told:?}");
    assert!(!acts(&gate.stderr()), "{:?}", gate.stderr());
}
