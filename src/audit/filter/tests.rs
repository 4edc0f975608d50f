use proptest::prelude::*;

use super::*;
use crate::audit::line::Members;

const NOW: Timestamp = Timestamp::from_seconds(1_795_443_200);

fn filter(pairs: &[(&str, &str)]) -> Result<Filter, Mistake> {
    let tagger = Tagger::new(b"Jefe");
    Filter::parse(pairs.iter().copied(), Reading { now: NOW, tagger: Some(&tagger) })
}

fn wants(pairs: &[(&str, &str)], line: &str) -> bool {
    let filter = filter(pairs).unwrap();
    let wanted = filter.wants(&Outline::read(line.as_bytes()).unwrap(), line);
    let needles = filter.needles();
    assert!(!wanted || filter.can_want_outcomes() || !line.contains(r#""type":"outcome""#));
    let has = |needle: &[u8]| memchr::memmem::find(line.as_bytes(), needle).is_some();
    assert!(!wanted || needles.is_empty() || needles.iter().any(|one| has(one)), "{pairs:?}");
    wanted
}

const PAID: &str = r#"{"v":1,"seq":7,"ts":"2026-11-23T14:13:20.000989Z","log":"gw","ep":1,"type":"decision","id":"019ab0c4-1","trace_id":"305f","decision":"deny","mode":"observe","reason":"policy_denied","resource":"https://tools.example.com/shop","token_sha256":"ff01","jti":"t-1","agent":{"id":"shop-01"},"user":{"tag":"h1:W9zBRr9gdU5qBCQmCJV1xw"},"client_id":"app","evidence":{"id":"urn:e"},"policies":[{"id":"limit"},{"id":"inline","sha256":"ab12cd"}],"op":{"action":"create_order","name":"orders.create","session":"h1:W9zBRr9gdU5qBCQmCJV1xw"},"http":{"path":"/a \"b\""}}"#;

/// RFC 4231 §4.3: the person whose hash stands in [`PAID`].
const SUB: &str = "what do ya want for nothing?";

#[test]
fn each_name_finds_what_it_says_and_its_denial_the_rest() {
    for (name, value, expected) in [
        ("action", "create_order", true),
        ("action", "create", false),
        ("action", "orders.*", true),
        ("session", SUB, true),
        ("session", "h1:X*", false),
        ("agent", "shop-*", true),
        ("agent", "*-01", true),
        ("agent", "*op-0*", true),
        ("agent", "*", true),
        ("agent", "shop-", false),
        ("agent", r"\shop-01", true),
        ("agent", r"\shop-*", false),
        ("client", "app", true),
        ("decision", "would-deny", true),
        ("decision", "deny", false),
        ("decision", "*deny", true),
        ("evidence", "urn:*", true),
        ("id", "019ab0c4", true),
        ("id", "9ab0c4", false),
        ("policy", "limit", true),
        ("policy", "ab12", true),
        ("policy", "b12", false),
        ("policy", "li", false),
        ("reason", "policy_denied", true),
        ("reason", "policy_*", true),
        ("reason", "granted", false),
        ("resource", "*/shop", true),
        ("text", "/a \"b\"", true),
        ("text", "/b", false),
        ("token", "t-1", true),
        ("token", "ff*", true),
        ("trace", "305", true),
        ("type", "decision", true),
        ("type", "*come", false),
        ("user", SUB, true),
        ("user", "alice", false),
        ("user", "h1:W9zBRr9gdU5qBCQmCJV1xw", true),
        ("user", "h1:W9*", true),
    ] {
        assert_eq!(wants(&[(name, value)], PAID), expected, "{name}={value}");
        assert_eq!(wants(&[(name, &format!("!{value}"))], PAID), !expected, "{name}=!{value}");
    }
}

#[test]
fn values_of_one_name_are_alternatives_and_names_must_all_hold() {
    for (pairs, expected) in [
        (&[("agent", "a"), ("agent", "shop-01")][..], true),
        (&[("agent", "a"), ("client", "app")], false),
        (&[("agent", "shop-*"), ("agent", "!shop-01")], false),
        (&[("agent", "!a"), ("agent", "!b")], true),
        (&[("agent", "!a"), ("agent", "!shop-01")], false),
        (&[], true),
    ] {
        assert_eq!(wants(pairs, PAID), expected, "{pairs:?}");
    }
}

#[test]
fn what_is_about_calls_is_asked_of_calls_alone() {
    let start = r#"{"seq":0,"ts":"2026-11-23T14:13:20.000989Z","type":"start"}"#;
    let failed = r#"{"seq":9,"ts":"2026-11-23T14:13:20.000989Z","type":"outcome","of":7,"id":"i","error":"upstream_timeout"}"#;
    let counted = r#"{"seq":8,"ts":"2026-11-23T14:13:20.000989Z","type":"aggregate","decision":"deny","reason":"token_absent","count":9}"#;
    let revoked = r#"{"seq":8,"ts":"2026-11-23T14:13:20.000989Z","type":"revocation","revoked":{"kind":"agent","name":"bot"}}"#;
    for (pair, line, expected) in [
        (("agent", "!bot"), start, false),
        (("agent", "!bot"), failed, false),
        (("agent", "!bot"), counted, true),
        (("agent", "bot"), revoked, true),
        (("agent", "!bot"), revoked, false),
        (("client", "!bot"), revoked, false),
        (("reason", "upstream_timeout"), failed, true),
        (("reason", "!granted"), start, false),
        (("type", "!outcome"), start, true),
    ] {
        assert_eq!(wants(&[pair], line), expected, "{pair:?} {line}");
    }
}

#[test]
fn hashed_ids_are_found_by_the_ids_themselves() {
    let hashed =
        r#"{"seq":7,"ts":"t","type":"decision","agent":{"id":"h1:W9zBRr9gdU5qBCQmCJV1xw"}}"#;
    assert!(wants(&[("agent", SUB)], hashed));
    assert!(!wants(&[("agent", "other")], hashed));
}

#[test]
fn times_are_moments_days_and_ages() {
    for (text, expected) in [
        ("2026-11-23T14:13:20Z", Some("2026-11-23T14:13:20.000000Z")),
        ("2026-11-23T15:13:20+01:00", Some("2026-11-23T14:13:20.000000Z")),
        ("2026-11-23", Some("2026-11-23T00:00:00.000000Z")),
        ("90s", Some("2026-11-23T14:11:50.000000Z")),
        ("2h", Some("2026-11-23T12:13:20.000000Z")),
        ("7d", Some("2026-11-16T14:13:20.000000Z")),
        ("2w", Some("2026-11-09T14:13:20.000000Z")),
        ("9999999w", Some("1970-01-01T00:00:00.000000Z")),
        ("2026-11-31", None),
        ("2026-11", None),
        ("99999999999999999999h", None),
        ("18446744073709551615w", None),
        ("-2h", None),
        ("h", None),
        ("2ü", None),
        ("", None),
        ("yesterday", None),
    ] {
        let at = moment(text, NOW).map(|at| at.to_string());
        assert_eq!(at.as_deref(), expected, "{text}");
    }
    assert!(wants(&[("since", "1s"), ("until", "2026-11-23T14:13:21Z")], PAID));
    assert!(!wants(&[("until", "2026-11-23T14:13:20.000989Z")], PAID));
    assert!(wants(&[("since", "2026-11-23T14:13:20.000989Z")], PAID));
}

#[test]
fn a_mistake_says_how_to_mend_it() {
    for (pairs, told) in [
        (&[("colour", "x")][..], "nothing can be asked by `colour`; there is action, agent"),
        (
            &[("decision", "denied")],
            "no record has the decision `denied`; there is allow, deny, would-deny",
        ),
        (&[("type", "call")], "no record has the type `call`; there is aggregate, config,"),
        (
            &[("reason", "nope*")],
            "no record has the reason `nope*`; there is granted, audit_unavailable,",
        ),
        (&[("since", "now")], "`since` is no time: `now`; give `2h`"),
        (&[("since", "1h"), ("since", "2h")], "`since` is given twice"),
        (
            &[("since", "1h"), ("until", "2h")],
            "nothing is from `2026-11-23T13:13:20.000000Z` on and before",
        ),
        (&[("user", "ali*")], "every `user` stands in the log as a keyed hash: give a whole value"),
        (&[("agent", "")], "`agent` has no value"),
        (&[("agent", "!")], "`agent` has no value"),
    ] {
        let mistake = filter(pairs).unwrap_err().to_string();
        assert!(mistake.starts_with(told) || mistake.contains(told), "{mistake}");
    }
    let unkeyed = Reading { now: NOW, tagger: None };
    let mistake = Filter::parse([("user", "alice")], unkeyed).unwrap_err();
    assert!(mistake.to_string().contains("--tag-key"), "{mistake}");
    assert!(Filter::parse([("user", "h1:abc"), ("agent", "bot")], unkeyed).is_ok());
}

#[test]
fn the_needle_is_the_rarest_that_every_wanted_line_has() {
    for (pairs, expected) in [
        (&[("agent", "shop-01"), ("decision", "allow")][..], &[r#""shop-01""#][..]),
        (&[("agent", "*a\"b")], &[r#"a\"b""#]),
        (&[("decision", "allow")], &[r#""decision":"allow""#]),
        (&[("agent", "a"), ("agent", "bc*")], &[r#""a""#, r#""bc"#]),
        (&[("agent", "!a")], &[]),
        (&[("agent", "*")], &[]),
        (&[("policy", "ab12")], &[r#""ab12"#]),
        (&[("id", "019a")], &[r#""019a"#]),
        (&[("since", "2h")], &[]),
    ] {
        // No tag key: the hashes of agents are no alternatives.
        let reading = Reading { now: NOW, tagger: None };
        let needles = Filter::parse(pairs.iter().copied(), reading).unwrap().needles();
        let found: Vec<_> = needles.iter().map(|one| str::from_utf8(one).unwrap()).collect();
        assert_eq!(found, expected, "{pairs:?}");
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[ab\"\\\\\u{1b}\u{202e}ü/-]{0,4}", "granted|token_absent|allow|deny"]
}

fn asked() -> impl Strategy<Value = (&'static str, String)> {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    (proptest::sample::select(names), any::<(bool, bool, bool)>(), value()).prop_map(
        |(name, (denied, before, behind), value)| {
            let mark = |is: bool, mark| if is { mark } else { "" };
            let (denied, before) = (mark(denied, "!"), mark(before, "*"));
            (name, format!("{denied}{before}{value}{}", mark(behind, "*")))
        },
    )
}

proptest! {
    #[test]
    fn no_line_that_is_wanted_lacks_the_needles(
        values in proptest::collection::vec(value(), 8),
        pairs in proptest::collection::vec(asked(), 0..4),
        refused in any::<(bool, bool)>(),
    ) {
        let mut line = br#"{"seq":1,"ts":"2026-11-23T14:13:20.000989Z","#.to_vec();
        let to = &mut Members::new(&mut line);
        to.word("type", "decision");
        to.word("decision", if refused.0 { "deny" } else { "allow" });
        if refused.1 {
            to.word("mode", "observe");
        }
        let names = ["id", "trace_id", "reason", "resource", "jti", "client_id"];
        for (name, value) in names.into_iter().zip(&values) {
            to.text(name, value);
        }
        to.object("agent", |to| to.text("id", &values[6]));
        to.objects("policies", [&values[7]], |to, id| to.text("id", id));
        line.push(b'}');
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, &**value)).collect();
        if filter(&pairs).is_ok() {
            wants(&pairs, str::from_utf8(&line).unwrap());
        }
    }

    #[test]
    fn a_glob_is_what_the_book_says(value in "[ab]{1,5}", text in "[ab]{0,3}", open in any::<(bool, bool)>()) {
        let (before, behind) = (if open.0 { "*" } else { "" }, if open.1 { "*" } else { "" });
        let by_the_book = (0..=value.len()).any(|from| {
            (from..=value.len()).any(|to| {
                value.get(from..to) == Some(&text) && (open.0 || from == 0) && (open.1 || to == value.len())
            })
        });
        prop_assert_eq!(Pattern::parse(&format!("{before}{text}{behind}")).fits(&value), by_the_book);
    }

    #[test]
    fn whatever_is_asked_is_a_filter_or_a_mistake(
        name in prop_oneof!["[a-z]{0,9}", "since|until|user|session|reason|text"], value in any::<String>(),
    ) {
        if let Err(mistake) = filter(&[(&name, &value)]) {
            prop_assert!(!mistake.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_is_taken_for_a_time_by_a_panic(text in any::<String>()) {
        moment(&text, NOW);
    }
}
