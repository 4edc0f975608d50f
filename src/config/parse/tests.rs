mod mistakes;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::mistakes::BAD;
use super::*;
use crate::config::{ClientAuthentication, Durability, reference};

/// A configuration that is right and short.
const SMALL: &str = include_str!("small.toml");

/// Every key that there is.
const EVERYTHING: &str = include_str!("everything.toml");

fn read_text(text: &str) -> Result<Config, Problems> {
    parse(text, Path::new("opgate.toml"))
}

#[test]
fn a_small_configuration_has_every_default() {
    let config = read_text(SMALL).unwrap();
    assert_eq!(config.resources[0].mount.as_ref(), "/shop");
    assert_eq!(config.resources[0].authority.as_ref(), "tools.example.com");
    assert_eq!(config.resources[0].issuers, [0]);
    assert_eq!(config.resources[0].operations[0].line, 12);
    assert_eq!(config.limits.connections, 20_000);
    assert_eq!(config.limits.header_bytes, 32 * 1_024);
    assert_eq!(config.gate.drain, std::time::Duration::from_secs(30));
    assert_eq!(config.audit.durability, Durability::Sync);
    assert_eq!(config.audit.directory, Path::new("audit"));
    assert_eq!(config.issuers[0].trust.algorithms.len(), 5);
    assert!(config.resources[0].guidance.enabled);
    assert!(config.admin.is_none());
    assert_eq!(config.digest.len(), 64);
    assert_eq!(config.warnings, []);
}

#[test]
fn r_del_016_each_way_to_hear_of_a_revocation_is_enough_for_chains() {
    let with = |lines: &str| {
        let issuer = "issuer = \"https://as.example.com\"";
        read_text(&SMALL.replacen(issuer, &format!("{issuer}\ndelegation = {{}}\n{lines}"), 1))
    };
    for enough in [
        "max_lifetime = \"15m\"",
        "status = \"required\"",
        "revocation_feed = \"https://as.example.com/revocations\"",
        "[issuer.introspection]\nendpoint = \"https://as.example.com/i\"\nclient_id = \"g\"\nsecret = { env = \"S\" }",
    ] {
        with(enough).unwrap_or_else(|problems| panic!("{enough}: {problems}"));
    }
    for not in ["", "max_lifetime = \"901s\"", "status = \"if_present\""] {
        assert!(with(not).unwrap_err().to_string().contains("cannot be revoked by it"), "{not}");
    }
}

#[test]
fn a_directory_that_nobody_looks_into_is_warned_of() {
    let text = format!("{SMALL}[[agent_directory]]\nagents = \"wit://a\"\njwks_file = \"a\"\n");
    let config = read_text(&text).unwrap();
    assert!(config.warnings[0].message.starts_with("does nothing: no issuer's"));
    let issuer = "issuer = \"https://as.example.com\"";
    let used = format!("{issuer}\nmax_lifetime = \"15m\"\ndelegation = {{}}");
    assert_eq!(read_text(&text.replacen(issuer, &used, 1)).unwrap().warnings, []);
}

#[test]
fn every_mistake_is_named_where_it_is() {
    for (from, to, expected) in BAD {
        assert!(SMALL.contains(from), "{from}");
        let problems = read_text(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
        let first = problems.lines().next().unwrap();
        assert_eq!(first, format!("opgate.toml:{expected}"), "{to}");
    }
}

#[test]
fn every_problem_is_reported_at_once_and_in_order() {
    let text = r#"[gate]
listen = "127.0.0.1"
origin = "https://tools.example.com/x"
drian = "30s"
[limits]
connections = 0
[[issuer]]
issuer = "http://as.example.com"
leeway = "5m"
[[upstream]]
name = "shop"
url = "ftp://127.0.0.1"
[[resource]]
id = "https://tools.example.com/shop/"
upstream = "shpo"
[[resource.operation]]
method = "get"
path = "products"
[audit]
durability = "fsync"
"#;
    let problems = read_text(text).unwrap_err();
    let lines: Vec<usize> = problems.all().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 4, 6, 8, 9, 12, 14, 15, 17, 18, 20], "{problems}");
}

#[test]
fn a_problem_is_shown_with_its_line_and_what_to_do() {
    let shown = read_text(&SMALL.replace("upstream = \"shop\"", "upstream = \"shpo\""));
    assert_eq!(
        shown.unwrap_err().to_string(),
        "opgate.toml:11:12: resource[0].upstream: no `[[upstream]]` is `shpo`\n\
         11 | upstream = \"shpo\"\n   |            ^^^^^^\n  = did you mean `shop`?"
    );
}

#[test]
fn problems_of_syntax_do_not_hide_each_other_and_raise_no_false_ones() {
    let text =
        SMALL.replace("name = \"shop\"", "name = shop\nurll = 1").replace("\"GET\"", "\"GET");
    let problems = read_text(&text).unwrap_err();
    let lines: BTreeSet<usize> = problems.all().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, BTreeSet::from([7, 8, 15]), "{problems}");
}

#[test]
fn a_broken_table_can_still_be_referred_to() {
    let text = SMALL.replace("http://127.0.0.1:9000", "nowhere");
    assert_eq!(read_text(&text).unwrap_err().all().len(), 1);
    let text = SMALL.replace("name = \"shop\"\n", "");
    assert_eq!(read_text(&text).unwrap_err().all().len(), 1);
}

#[test]
fn what_may_be_a_secret_is_never_shown() {
    for (from, to) in [
        ("http://127.0.0.1", "http://gate:hunter2@127.0.0.1"),
        ("http://127.0.0.1", "gate:hunter2@127.0.0.1"),
        ("name = \"shop\"", "name = \"shop\"\ncredential = \"hunter2\""),
        ("name = \"shop\"", "name = \"shop\"\ncredential = { secret = \"hunter2\" }"),
        ("name = \"shop\"", "name = \"shop\"\ncredential = { secret = hunter2 }"),
        (
            "name = \"shop\"",
            "name = \"shop\"\n[upstream.credential]\nscheme = \"Bearer hunter2\"\n[[upstream]]\nname = \"x\"",
        ),
    ] {
        let shown = read_text(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let text = SMALL.replace("127.0.0.1:8443", "0.0.0.0:8443");
    let text = format!("{text}[admin]\nlisten = \"0.0.0.0:9901\"\n");
    let config = read_text(&text).unwrap();
    let keys: Vec<&str> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["gate.listen", "admin.listen"]);
}

#[test]
fn what_is_denied_and_is_no_operation_is_warned_of() {
    for (rule, expected) in [
        ("[[resource.deny]]\npath = \"/product/**\"", 1),
        ("[[resource.deny]]\nmethod = \"PATCH\"\npath = \"/products/**\"", 1),
        ("[[resource.confirm]]\npath = \"/products\"", 1),
        ("[[resource.deny]]\npath = \"/products/secret/**\"", 0),
        ("[[resource.deny]]\npath = \"/**/secret\"", 0),
        // Of a document that is not read here, nothing is known.
        ("openapi = \"api.yaml\"\n[[resource.deny]]\npath = \"/product/**\"", 0),
    ] {
        let (before, after) = SMALL.split_at(SMALL.find("[[resource.operation]]").unwrap());
        let text = match rule.strip_prefix("openapi = \"api.yaml\"\n") {
            Some(rule) => format!("{before}openapi = \"api.yaml\"\n{after}\n{rule}\n"),
            None => format!("{SMALL}\n{rule}\n"),
        };
        let warnings = read_text(&text).unwrap().warnings;
        let idle = warnings
            .iter()
            .filter(|one| one.key.contains("deny") || one.key.contains("confirm"))
            .count();
        assert_eq!(idle, expected, "{rule}: {warnings:?}");
    }
}

#[test]
fn every_key_can_be_set_and_is_in_the_reference_and_the_schema() {
    // A secret has one place, so its other key is set in a second text.
    let other =
        EVERYTHING.replace("tag_key = { file = \"tag.key\" }", "tag_key = { env = \"TAG\" }");
    let mut set = BTreeSet::new();
    for text in [EVERYTHING, &other] {
        if let Err(problems) = read_text(text) {
            panic!("{problems}");
        }
        keys_in("", &text.parse::<toml::Table>().unwrap(), &mut set);
    }
    let (markdown, schema) = (reference::markdown(), reference::json_schema().to_string());
    for key in reference::KEYS {
        let (section, name) = (key.section, key.name);
        assert!(
            set.contains(&(section.to_owned(), name.to_owned())),
            "{section}.{name} is not set"
        );
        assert!(markdown.contains(&format!("| `{name}` | ")), "{section}.{name}");
        assert!(markdown.contains(key.meaning), "{section}.{name}");
        assert!(schema.contains(&format!("\"{name}\":")), "{section}.{name}");
    }
}

/// Section and name of every key in a table; arrays of tables are entered.
fn keys_in(section: &str, table: &toml::Table, into: &mut BTreeSet<(String, String)>) {
    for (name, value) in table {
        into.insert((section.to_owned(), name.clone()));
        let inner = format!("{section}.{name}");
        let inner = inner.trim_start_matches('.');
        let tables = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for table in tables.iter().filter_map(toml::Value::as_table) {
            keys_in(inner, table, into);
        }
    }
}

#[test]
fn the_values_of_every_key_arrive() {
    let config = read_text(EVERYTHING).unwrap();
    let shop = &config.resources[0];
    assert_eq!((&*shop.mount, &*shop.authority), ("/agents/shop", "tools.example.com:8443"));
    assert_eq!(shop.issuers, [0]);
    assert_eq!(config.resources[1].issuers, [0, 1, 2, 3]);
    assert_eq!((shop.opaque_issuer, shop.introspected), (Some(0), true));
    let trust = &config.issuers[0].trust.liveness;
    assert!(trust.status_required);
    let origins = ["https://status.example.com", "https://127.0.0.1:9400", "http://127.0.0.1:9400"];
    assert_eq!(trust.list_origins, origins.map(Box::from));
    assert_eq!(trust.feed_max_age, Some(std::time::Duration::from_mins(1)));
    let own = &config.issuers[1].trust.liveness;
    assert_eq!(own.list_origins, ["http://localhost:9400"].map(Box::from));
    assert_eq!((own.status_required, own.feed_max_age), (false, None));
    let ways = config.issuers.iter().map(|issuer| {
        match issuer.liveness.introspection.as_ref().unwrap().authentication {
            ClientAuthentication::Certificate(..) => "certificate",
            ClientAuthentication::PrivateKey { .. } => "key",
            ClientAuthentication::Secret(_) => "secret",
        }
    });
    assert_eq!(ways.collect::<Vec<_>>(), ["secret", "key", "certificate", "secret"]);
    assert_eq!(config.resources[1].upstream, 1);
    assert_eq!(shop.insufficient_authorization_status, http::StatusCode::UNAUTHORIZED);
    assert_eq!(shop.guidance.constraints.as_ref().unwrap()["amount"]["maximum"], 100);
    assert!(config.issuers[0].trust.allow_typ_absent && config.issuers[0].trust.allow_typ_jwt);
    assert_eq!(config.gate.listen.len(), 3);
    assert_eq!(config.upstreams[0].targets[0].prefix.as_ref(), "/v2");
    assert_eq!(config.audit.queue_bytes, 1 << 20);
}

/// Takes lines away, doubles them, and changes characters.
fn mutated(text: &str, edits: &[(u8, usize, char)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (what, at, character) in edits {
        let at = at % lines.len().max(1);
        match (what % 3, lines.get(at).cloned()) {
            (0, Some(_)) => drop(lines.remove(at)),
            (1, Some(line)) => lines.insert(at, line),
            (_, Some(line)) => {
                let mut characters: Vec<char> = line.chars().collect();
                let position = usize::from(*what) % (characters.len() + 1);
                characters.splice(position..(position + 1).min(characters.len()), [*character]);
                lines[at] = characters.into_iter().collect();
            }
            (_, None) => {}
        }
    }
    lines.join("\n")
}

proptest! {
    #[test]
    fn a_damaged_configuration_never_ends_the_process(
        edits in prop::collection::vec((any::<u8>(), any::<usize>(), any::<char>()), 1..8),
        short in any::<bool>(),
    ) {
        let text = mutated(if short { SMALL } else { EVERYTHING }, &edits);
        if let Err(problems) = read_text(&text) {
            prop_assert!(!problems.all().is_empty());
            prop_assert!(problems.all().iter().all(|problem| problem.line > 0));
        }
    }

    #[test]
    fn no_text_ends_the_process(text in "\\PC{0,200}") {
        prop_assert!(read_text(&text).is_err());
    }
}

#[test]
fn endless_nesting_does_not_exhaust_the_stack() {
    for text in [
        format!("a={}", "[".repeat(100_000)),
        "[[".repeat(100_000),
        format!("[[resource]]\nguidance.constraints{} = 1\n", ".a".repeat(100_000)),
        format!("[[resource]]\nguidance.constraints = {}\n", "{a=".repeat(100_000)),
    ] {
        assert!(read_text(&text).is_err());
    }
}
