use serde_json::json;

use super::*;
use crate::policy::engine::{self, Class, Language, compile as admit};

fn source(text: &str) -> Source<'_> {
    Source { language: Language::Cedar, class: Class::Carried, entry_point: "allow", text }
}

fn input() -> Input {
    Input::new(json!({
        "input_version": 1,
        "action": "create_order",
        "agent": { "id": "buyer", "proof": "dpop" },
        "user": { "id": "alice", "tier": "gold" },
        "resource": { "type": "http", "id": "https://shop.test", "location": "https://shop.test/orders" },
        "args": {
            "amount": 50, "price": 12.5, "payee": "books", "tags": ["a", "b"], "note": null,
            "huge": 18_446_744_073_709_551_615_u64,
        },
        "environment": { "now_ns": 1_790_000_000_000_000_000_u64 },
        "request": { "client_ip": "192.0.2.7" },
    }))
}

/// The same without the number that no value of the language holds.
fn plain() -> Input {
    let mut value = input().value().clone();
    value["args"].as_object_mut().unwrap().remove("huge");
    Input::new(value)
}

fn asked(text: &str, input: &Input) -> Evaluation {
    let limits = Limits { steps: Limits::STEPS, stop: None };
    admit(&source(text))
        .unwrap_or_else(|refused| panic!("{text}: {refused}"))
        .evaluate(input, &limits)
}

#[test]
fn pol_027_a_policy_is_asked_for_principal_action_resource_and_context() {
    for (text, expected) in [
        ("permit(principal, action, resource);", Verdict::True),
        (r#"permit(principal == Agent::"buyer", action, resource);"#, Verdict::True),
        (r#"permit(principal == Agent::"other", action, resource);"#, Verdict::False),
        (r#"permit(principal in User::"alice", action, resource);"#, Verdict::True),
        (r#"permit(principal in User::"bob", action, resource);"#, Verdict::False),
        (r#"permit(principal, action == Action::"create_order", resource);"#, Verdict::True),
        // Aliases are not tried.
        (r#"permit(principal, action == Action::"POST", resource);"#, Verdict::False),
        (
            r#"permit(principal, action, resource == Resource::"http/https://shop.test");"#,
            Verdict::True,
        ),
        (
            r#"permit(principal, action, resource) when { principal.proof == "dpop" };"#,
            Verdict::True,
        ),
        (
            r#"permit(principal, action, resource) when { context.user.tier == "gold" };"#,
            Verdict::True,
        ),
        ("permit(principal, action, resource) when { context.args.amount <= 50 };", Verdict::True),
        ("permit(principal, action, resource) when { context.args.amount < 50 };", Verdict::False),
        (
            r#"permit(principal, action, resource) when { context.args.price.lessThan(decimal("12.51")) };"#,
            Verdict::True,
        ),
        // What is null is absent.
        ("permit(principal, action, resource) when { context.args has note };", Verdict::False),
        (
            r#"permit(principal, action, resource) when { context.args.tags.contains("b") };"#,
            Verdict::True,
        ),
        (
            r#"permit(principal, action, resource) when { ip(context.request.client_ip).isInRange(ip("192.0.2.0/24")) };"#,
            Verdict::True,
        ),
        (
            "permit(principal, action, resource); forbid(principal, action, resource) when { context.args.amount == 50 };",
            Verdict::False,
        ),
        ("forbid(principal, action, resource);", Verdict::False),
    ] {
        assert_eq!(asked(text, &plain()).outcome, Ok(expected), "{text}");
    }
}

#[test]
fn pol_027_an_error_in_any_statement_is_an_error_of_all() {
    for text in [
        // The engine itself would skip the failing statement and permit.
        "permit(principal, action, resource); forbid(principal, action, resource) when { context.args.missing == 1 };",
        "permit(principal, action, resource); permit(principal, action, resource) when { context.nothing };",
        r#"permit(principal, action, resource) when { context.args.amount < "50" };"#,
        "permit(principal, action, resource) when { context.args.amount + 9223372036854775807 > 0 };",
        r#"permit(principal, action, resource) when { ip("nonsense").isIpv4() };"#,
        // A long and a decimal are not compared.
        "permit(principal, action, resource) when { context.args.price < 13 };",
    ] {
        let asked = asked(text, &plain());
        assert_eq!(asked.outcome, Err(Failure::Engine), "{text}");
        assert!(asked.fault.is_some(), "{text}");
    }
    let permit = "permit(principal, action, resource);";
    // R-POL-024: a number that the language does not hold is not rounded.
    assert_eq!(asked(permit, &input()).outcome, Err(Failure::Engine));
    let mut fine = plain().value().clone();
    fine["args"]["price"] = json!(0.12345);
    assert_eq!(asked(permit, &Input::new(fine)).outcome, Err(Failure::Engine));
}

#[test]
fn who_is_nobody_is_permitted_nothing() {
    for member in ["agent", "action", "resource"] {
        let mut value = plain().value().clone();
        value.as_object_mut().unwrap().remove(member);
        let asked = asked("permit(principal, action, resource);", &Input::new(value));
        assert_eq!(asked.outcome, Ok(Verdict::Undefined), "{member}");
    }
}

#[test]
fn what_is_not_admitted_names_the_line() {
    let deep = format!(
        "permit(principal, action, resource) when {{ {}true{} }};",
        "(".repeat(40),
        ")".repeat(40)
    );
    let wide =
        format!("permit(principal, action, resource) when {{ true{} }};", " && true".repeat(400));
    let many = "permit(principal, action, resource);\n".repeat(201);
    let long = format!("// {}\npermit(principal, action, resource);", "x".repeat(70_000));
    for (text, because, line) in [
        ("", Because::Syntax, None),
        ("// nothing\n", Because::Syntax, None),
        ("permit(principal, action, resource)", Because::Syntax, Some(1)),
        ("\npermit(principal, action, resource) when { ", Because::Syntax, Some(2)),
        ("permit(principal, action, resource);\nnonsense;", Because::Syntax, Some(2)),
        ("permit(principal == ?principal, action, resource);", Because::Syntax, Some(1)),
        ("permit(principal, action, resource) when { nofunction(1) };", Because::Syntax, Some(1)),
        (&*deep, Because::Depth, Some(1)),
        (&*wide, Because::Depth, Some(1)),
        (&*many, Because::Size, None),
        (&*long, Because::Size, None),
    ] {
        let refused = admit(&source(text)).unwrap_err();
        assert_eq!((refused.because, refused.line), (because, line), "{text:.60}: {refused}");
    }
}

#[test]
fn a_semicolon_or_bracket_in_a_string_or_comment_ends_nothing() {
    let text = "// a ; in ( a comment\npermit(principal, action, resource)\nwhen { \"; } \\\" ;\" != \"\" };\n";
    assert_eq!(asked(text, &plain()).outcome, Ok(Verdict::True));
}

/// POL-007: whatever is admitted is read, asked and dropped on the stack of a thread, and its bound is
/// known before it is asked.
#[test]
fn pol_007_hostile_texts_neither_break_the_stack_nor_run_long() {
    let permit =
        |condition: &str| format!("permit(principal, action, resource) when {{ {condition} }};");
    let texts = [
        permit(&format!("true{}", " && true".repeat(165))),
        permit(&format!("{}true{}", "(".repeat(30), ")".repeat(30))),
        permit(&format!("context{}", ".a".repeat(250))),
        permit(&format!("1{} > 0", " + 1".repeat(250))),
        permit(&format!("context{}", "[\"a\"]".repeat(500))),
        permit(&format!("{}1{} == []", "[".repeat(31), "]".repeat(31))),
        permit(&format!("{}1{} == 1", "{a:".repeat(31), "}".repeat(31))),
        permit(&format!(
            "{}true{}",
            "[(if (".repeat(10),
            " && true && true && true) then true else false)].contains(true)".repeat(10)
        )),
        permit(&format!("{}true{}", "if true then ".repeat(100), " else false".repeat(100))),
        permit(&format!("{}true", "!".repeat(400))),
        permit(&format!("{}1 < 2", "-".repeat(400))),
        permit(&format!("[{}] == []", vec!["1"; 8_000].join(","))),
        permit(&format!(r#"context.args.payee like "{}b""#, "*a".repeat(4_000))),
    ];
    for text in texts {
        let run = move || {
            let policy = match admit(&source(&text)) {
                Ok(policy) => policy,
                // The language itself has no more than four of a sign.
                Err(refused) => {
                    assert!(text.contains("!!") || text.contains("--"), "{text:.80}: {refused}");
                    return;
                }
            };
            let mut value = plain().value().clone();
            value["args"]["payee"] = "a".repeat(500_000).into();
            let limits = Limits { steps: Limits::STEPS, stop: None };
            let asked = policy.evaluate(&Input::new(value), &limits);
            assert!(asked.steps <= limits.steps || asked.outcome == Err(Failure::Budget));
        };
        let thread = std::thread::Builder::new().stack_size(2 * 1_024 * 1_024).spawn(run).unwrap();
        assert!(thread.join().is_ok());
    }
}

#[test]
fn an_author_is_told_what_to_look_at_again() {
    for (text, expected) in [
        ("permit(principal, action, resource);", vec![engine::Advice::AnyAction]),
        (r#"permit(principal, action, resource) when { action == Action::"a" };"#, vec![]),
        (
            r#"permit(principal, action == Action::"a", resource) when { context.args.amount <= 50 };"#,
            vec![engine::Advice::BelowZero],
        ),
        (
            r#"permit(principal, action == Action::"a", resource) when { context.args.amount >= 0 && context.args.amount <= 50 };"#,
            vec![],
        ),
        ("forbid(principal, action, resource);", vec![engine::Advice::NoPermit]),
    ] {
        let found = engine::check(&source(text)).unwrap().findings;
        let found: Vec<_> = found.into_iter().map(|finding| finding.advice).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_trace_says_which_statements_decided() {
    let text = "permit(principal, action, resource);\n\nforbid(principal, action, resource)\nwhen { context.args.amount > 100 };";
    let policy = admit(&source(text)).unwrap();
    let limits = Limits { steps: Limits::STEPS, stop: None };
    let (evaluation, lines) = policy.traced(&plain(), &limits);
    assert_eq!(evaluation.outcome, Ok(Verdict::True));
    assert_eq!((lines.evaluated, lines.left), ([1].into(), [3].into()));
}
