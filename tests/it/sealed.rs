//! The log as a stranger sees it (`audit.md` C3): what was signed of it, and whether that is still so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Echo, Gate, Setup, eventually, opgate};

const TARGET: &str = "/shop/any/1";

/// What a command about the log in `directory` says, and how it ends.
fn audit(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    opgate(directory, &[&["audit"], arguments].concat())
}

fn verified(directory: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let (code, text) = audit(directory, &[&["verify", "--json"], more].concat());
    (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
}

fn stopped(gate: &mut Gate) -> PathBuf {
    gate.signal("TERM");
    gate.ended();
    gate.setup.dir.path().to_owned()
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn evi_014_a_log_is_verified_from_a_copy_and_one_key() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let calls = |gate: &Gate| {
        for _ in 0..20 {
            assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
        }
    };
    calls(&gate);
    let directory = gate.setup.dir.path().to_owned();
    eventually("a checkpoint while it runs", || {
        let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("opgate_audit_sealed_records "));
        (line.unwrap().parse::<f64>().unwrap() >= 41.0).then_some(())
    });
    let (code, key) = audit(&directory, &["key"]);
    assert_eq!(code, Some(0), "{key}");
    let key = key.trim();
    // While it is written, it is intact, and its end not signed yet or just so.
    let (code, told) = verified(&directory, &["--key", key]);
    assert!(matches!(code, Some(0 | 2)) && told["intact"] == true, "{told}");
    gate.restart_after_kill();
    calls(&gate);
    stopped(&mut gate);
    let copy = tempfile::tempdir().unwrap();
    copied(&directory.join("audit"), copy.path());
    let (code, told) = verified(copy.path(), &["--key", key]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((&told["starts"], &told["signed"]), (&json!(2), &told["records"]));
    assert_eq!((&told["key"], &told["fault"]), (&json!("given"), &Value::Null));
    // Whoever has another key learns nothing of it.
    let (_, other) = audit(&directory, &["key"]);
    let other = other.trim().replace("opgate/", "opgate/1");
    assert_ne!(audit(copy.path(), &["verify", "--key", &other]).0, Some(0));
    let seg = copy.path().join("audit/seg/000000000000.jsonl");
    let text = fs::read_to_string(&seg).unwrap();
    fs::write(&seg, text.replacen("granted", "grabbed", 1)).unwrap();
    let (code, told) = verified(copy.path(), &["--key", key]);
    assert_eq!((code, &told["fault"]["check"]), (Some(1), &json!("V2")), "{told}");
    assert_eq!((&told["fault"]["line"], &told["fault"]["seq"]), (&json!(2), &json!(1)), "{told}");
    let (code, text) = audit(copy.path(), &["verify"]);
    assert!(
        code == Some(1) && text.contains("not intact: V2") && text.contains("line 2"),
        "{text}"
    );
    assert!(text.contains("not proven: that the key is the gate's"), "{text}");
}

#[test]
fn evi_014_a_log_that_was_rolled_back_is_not_written_to() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    let directory = stopped(&mut gate);
    let (seg, before) = (directory.join("audit/seg"), directory.join("before"));
    copied(&seg, &before);
    gate.restart_after_kill();
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    stopped(&mut gate);
    // The disk of yesterday.
    fs::remove_dir_all(&seg).unwrap();
    copied(&before, &seg);
    let mut child = gate.spawn_again();
    assert!(!child.wait().unwrap().success());
    let told = gate.stderr();
    for part in ["was rolled back", "tree/checkpoint", "opgate audit recover"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(audit(&directory, &["verify"]).0, Some(1));
    let (code, told) = audit(&directory, &["recover"]);
    assert_eq!(code, Some(0), "{told}");
    gate.restart_after_kill();
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    stopped(&mut gate);
    let (code, told) = verified(&directory, &[]);
    // A log that says that another was damaged is not all there is.
    assert_eq!(
        (code, &told["intact"], &told["gaps"]["records"]),
        (Some(2), &json!(true), &json!(1)),
        "{told}"
    );
    let mut entries = fs::read_dir(directory.join("audit")).unwrap().flatten();
    let aside = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("damaged-"));
    let aside = aside.unwrap().path();
    assert!(aside.join("seg").is_dir() && aside.join("tree/checkpoint").is_file());
    assert_eq!(audit(&directory, &["verify", "--audit", aside.to_str().unwrap()]).0, Some(1));
}

#[test]
fn evi_014_a_checkpoint_that_was_kept_shows_that_the_end_was_cut_off() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let directory = stopped(&mut gate);
    let (log, before) = (directory.join("audit"), directory.join("before"));
    copied(&log, &before);
    gate.restart_after_kill();
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    stopped(&mut gate);
    let kept = directory.join("kept");
    fs::copy(log.join("tree/checkpoint"), &kept).unwrap();
    let with =
        |more: &[&str]| audit(&directory, &[&["verify", "--checkpoint", "kept"], more].concat());
    let (code, told) = with(&[]);
    assert!(code == Some(0) && !told.contains("cut off"), "{told}");
    // All of yesterday, with the checkpoint of yesterday: by itself nothing is wrong with it.
    let (code, told) = audit(&directory, &["verify", "--audit", "before"]);
    assert!(code == Some(0) && told.contains("cut off"), "{told}");
    let (code, told) = with(&["--audit", "before"]);
    assert!(code == Some(1) && told.contains("not intact: V2: `kept`"), "{told}");
    fs::write(&kept, "not a checkpoint").unwrap();
    let (code, told) = with(&[]);
    assert!(
        code == Some(1) && told.contains("V1: `kept`: it is not a signed checkpoint"),
        "{told}"
    );
    fs::remove_file(&kept).unwrap();
    let (code, told) = with(&[]);
    assert!(code == Some(3) && told.contains("`kept` cannot be read"), "{told}");
}

#[test]
fn a_log_of_the_form_before_is_sealed_from_its_beginning() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    for _ in 0..5 {
        assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    }
    let directory = stopped(&mut gate);
    fs::remove_dir_all(directory.join("audit/tree")).unwrap();
    let (code, told) = audit(&directory, &["verify"]);
    assert!(code == Some(3) && told.contains("has no signed checkpoint"), "{told}");
    gate.restart_after_kill();
    stopped(&mut gate);
    let (code, told) = verified(&directory, &[]);
    assert_eq!((code, &told["starts"]), (Some(0), &json!(2)), "{told}");
}

#[test]
fn the_signing_key_may_lie_elsewhere() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.audit += "\nsigning_key = \"keys/log.key\"\n";
    fs::create_dir(setup.dir.path().join("keys")).unwrap();
    let mut gate = setup.start();
    let directory = stopped(&mut gate);
    assert!(directory.join("keys/log.key").is_file());
    assert!(!directory.join("audit/tree/key").exists());
    assert_eq!(verified(&directory, &[]).0, Some(0));
    // Without the key that it was signed with, the log is not gone on with.
    fs::write(directory.join("keys/log.key"), "00".repeat(32)).unwrap();
    let mut child = gate.spawn_again();
    assert!(!child.wait().unwrap().success());
    assert!(gate.stderr().contains("is not to be believed"), "{}", gate.stderr());
}

#[test]
fn evi_014_one_record_is_proven_without_the_log() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let ids: Vec<String> = (0..30).map(|_| gate.get(TARGET, &gate.token()).decision_id()).collect();
    let directory = stopped(&mut gate);
    let (_, key) = audit(&directory, &["key"]);
    let key = key.trim();
    for (n, id) in [(0, &ids[0]), (1, &ids[13]), (2, &ids[29])] {
        let bundle = format!("bundle{n}");
        let (code, told) = audit(&directory, &["prove", id, "-o", &bundle]);
        assert_eq!(code, Some(0), "{told}");
        let (code, told) = audit(&directory, &["verify-proof", &bundle, "--key", key]);
        assert!(code == Some(0) && told.contains("proven: it is the record"), "{told}");
        let (code, told) = audit(&directory, &["verify-proof", &bundle]);
        assert!(
            code == Some(0) && told.contains("not proven: that the key is the gate's"),
            "{told}"
        );
        let record = directory.join(&bundle).join("record.json");
        let text = fs::read_to_string(&record).unwrap();
        assert!(text.contains(id.as_str()));
        fs::write(&record, text.replace("allow", "deny!")).unwrap();
        let (code, told) = audit(&directory, &["verify-proof", &bundle, "--key", key]);
        assert!(code == Some(1) && told.contains("not the one that it proves"), "{told}");
    }
    assert_eq!(audit(&directory, &["prove", "nobody", "-o", "x"]).0, Some(1));
    assert_eq!(audit(&directory, &["prove", &ids[0], "-o", "bundle0"]).0, Some(2), "it is there");
    // Of a log that was changed nothing is handed out.
    let seg = directory.join("audit/seg/000000000000.jsonl");
    let text = fs::read_to_string(&seg).unwrap();
    fs::write(&seg, text.replacen("granted", "grabbed", 1)).unwrap();
    let (code, told) = audit(&directory, &["prove", &ids[0], "-o", "y"]);
    assert!(code == Some(3) && told.contains("opgate audit verify"), "{told}");
    assert!(!directory.join("y").exists());
}
