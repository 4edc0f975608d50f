//! Rego as it is admitted, bounded and evaluated (`policy.md` §5): a body of policies with the answers of
//! Open Policy Agent's documentation, and the ways in which the engine can be made to abort, hang or allow.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use opgate::policy::engine::{
    Because, Class, Failure, Input, Language, Limits, Policy, Source, Verdict, compile,
};
use serde_json::{Value, json};

const FULL: Limits<'_> = Limits { steps: Limits::STEPS, stop: None };

fn source(text: &str) -> Source<'_> {
    Source { language: Language::RegoV1, class: Class::Carried, entry_point: "allow", text }
}

fn policy(body: &str) -> Arc<Policy> {
    let text = format!("package a\n{body}");
    compile(&source(&text)).unwrap_or_else(|refused| panic!("{text}\n{refused}"))
}

fn outcome(body: &str, input: Value) -> Result<Verdict, Failure> {
    policy(body).evaluate(&Input::new(input), &FULL).outcome
}

fn refused(body: &str) -> Because {
    refused_as(body, Class::Carried)
}

fn refused_as(body: &str, class: Class) -> Because {
    let text = format!("package a\n{body}");
    match compile(&Source { class, ..source(&text) }) {
        Ok(_) => panic!("admitted: {text}"),
        Err(refused) => refused.because,
    }
}

#[test]
fn pol_002_only_true_is_a_yes() {
    for (body, verdict) in [
        ("allow := true", Verdict::True),
        ("allow := false", Verdict::False),
        ("default allow := false\nallow if input.x", Verdict::False),
        ("allow if input.x", Verdict::Undefined),
        ("allow := \"yes\"", Verdict::NonBoolean),
        ("allow := {\"allow\": true}", Verdict::NonBoolean),
        ("allow := [true]", Verdict::NonBoolean),
    ] {
        assert_eq!(outcome(body, json!({})), Ok(verdict), "{body}");
    }
}

#[test]
fn pol_006_builtins_off_the_list_are_refused_before_anything_runs() {
    for call in [
        "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})",
        "net.lookup_ip_addr(\"a\")",
        "opa.runtime()",
        "rego.parse_module(\"a\", \"b\")",
        "rego.metadata.rule()",
        "io.jwt.decode(\"a\")",
        "trace(\"a\")",
        "print(\"a\")",
        "rand.intn(\"a\", 5)",
        "uuid.rfc4122(\"a\")",
        "providers.aws.sign_req({}, {}, 1)",
        "graph.reachable({}, [])",
        "graphql.is_valid(\"a\", \"b\")",
        "json.patch({}, [])",
        "walk(input)",
        "crypto.x509.parse_certificates(\"a\")",
        "crypto.hmac.sha256(\"a\", \"b\")",
        "yaml.unmarshal(\"a\")",
        "internal.print([])",
        "net.cidr_expand(\"10.0.0.0/8\")",
        "time[\"now_ns\"]()",
        "nonesuch(1)",
    ] {
        for class in [Class::Carried, Class::Local] {
            let because = refused_as(&format!("allow if {call}"), class);
            assert!(matches!(because, Because::Builtin | Because::Syntax), "{call}: {because:?}");
        }
    }
    for call in [
        "numbers.range(1, 60000000)",
        "replace(input.a, \"a\", \"aa\")",
        "strings.replace_n({\"a\": \"b\"}, input.a)",
        "sprintf(\"%d\", [1])",
        "concat(\",\", input.a)",
        "units.parse(\"1K\")",
        "bits.lsh(1, 1000000000)",
        "json.unmarshal(input.a)",
        "regex.replace(input.a, \"a\", \"b\")",
        "regex.split(\"a\", input.a)",
        "regex.find_n(\"a\", input.a, 1)",
    ] {
        assert_eq!(refused(&format!("allow if {call}")), Because::Builtin, "{call}");
        compile(&Source { class: Class::Local, ..source(&format!("package a\nallow if {call}")) })
            .unwrap();
    }
}

#[test]
fn the_operators_own_policies_stay_within_bounds_too() {
    let long = json!({ "a": "a".repeat(60_000), "n": 60_000_000 });
    for call in [
        "count(numbers.range(1, input.n))",
        "replace(input.a, \"a\", \"aaaa\")",
        "replace(replace(input.a, \"\", \"aaaaaaa\"), \"a\", \"aaaaaaaaa\")",
        "strings.replace_n({\"a\": \"aaaaaa\"}, input.a)",
        "units.parse(\"1e999999999K\")",
        "bits.lsh(1, 1000000000)",
        "json.unmarshal(input.a)",
        "to_number(input.a)",
        "numbers.range_step(1, input.n, 1)",
        "array.concat([input.a], [input.a])",
    ] {
        let text = format!("package a\nallow if {call}");
        let policy = compile(&Source { class: Class::Local, ..source(&text) }).unwrap();
        let before = Instant::now();
        let evaluation = policy.evaluate(&Input::new(long.clone()), &FULL);
        assert_eq!(evaluation.outcome, Err(Failure::Engine), "{call}");
        assert!(before.elapsed() < Duration::from_millis(500), "{call}");
    }
    assert_eq!(
        refused_as("allow if sprintf(\"%1000000000d\", [1])", Class::Local),
        Because::Pattern
    );
}

#[test]
fn recursion_is_refused_and_not_run() {
    for body in [
        "f(x) := f(x)\nallow if f(1)",
        "allow if b\nb if allow",
        "allow if data.a.allow",
        "allow if data[\"a\"].allow",
        "f(x) := g(x)\ng(x) := f(x)\nallow if f(1)",
        "s contains x if some x in s\nallow if s[1]",
        "allow if data.a.f(1)\nf(x) := data.a.f(x)",
        "allow if [x | x := allow][0]",
        "allow if every x in [allow] { x }",
        "default allow := false\nallow if not allow",
    ] {
        assert_eq!(refused(body), Because::Recursion, "{body}");
    }
    for body in [
        "allow if data[input.x]",
        "allow if data.b.c",
        "allow if data[\"b\"]",
        "allow if some x in data",
        "allow if x := data",
    ] {
        assert_eq!(refused(body), Because::Data, "{body}");
    }
}

#[test]
fn pol_031_with_and_foreign_imports_are_refused() {
    assert_eq!(refused("allow if input.x with input as {\"x\": true}"), Because::With);
    assert_eq!(refused("import data.b\nallow if b.c"), Because::Import);
    assert_eq!(refused("import data.a.b as c\nallow if c"), Because::Import);
    assert_eq!(
        outcome("import input.user as who\nallow if who.id == \"u\"", json!({"user": {"id": "u"}})),
        Ok(Verdict::True)
    );
    assert_eq!(refused("import input.user as time\nallow if time.id"), Because::Shadow);
}

#[test]
fn a_local_name_cannot_hide_a_rule() {
    for body in [
        "allow if { b := 1; b }\nb := 2",
        "allow if { some b in [1]; b }\nb := 2",
        "f(b) := b\nb := 1\nallow if f(1)",
        "allow if { [b, c] := [1, 2]; b }\nb := 2",
        "allow if { every b in [1] { b } }\nb := 2",
        "allow if { some b; b = 1 }\nb := 2",
    ] {
        assert_eq!(refused(body), Because::Shadow, "{body}");
    }
}

/// The parser takes twice as long with each bracket, and what nests deeply exhausts the stack.
#[test]
fn what_would_hang_or_abort_the_engine_is_refused_at_once() {
    let chain = |what: &str, n: usize| what.repeat(n);
    for body in [
        format!("allow if x := {}1{}", chain("[", 30), chain("]", 30)),
        format!("allow if x := {}1{}", chain("{", 30), chain("}", 30)),
        format!("allow if x := {}1{}", chain("{1:", 30), chain("}", 30)),
        format!("allow if x := [{}1]", chain("[[[[[[1]]]]]],", 900)),
        format!("allow if {{ 1{} > 5 }}", chain("+\n1", 8_000)),
        format!("allow if {{ 1{} > 5 }}", chain("+\n1", 1_500)),
        format!("allow if {{ 1 {} }}", chain("==\n1 ", 1_500)),
        format!("allow if {{ input{} }}", chain("[\n0]", 1_500)),
        format!("allow if {{ input{} }}", chain(".a", 400)),
        format!("allow if {{ {{1}} {} }}", chain("|\n{1}", 1_400)),
        format!("allow if {{ {}1{} > 0 }}", chain("abs(", 40), chain(")", 40)),
        format!(
            "allow if {{ {} x1 }}",
            (0..100).fold(String::new(), |text, n| text + &format!("some x{n} in input.a\n"))
        ),
        (0..100).fold("allow if r0\nr100 := true\n".to_owned(), |text, n| {
            text + &format!("r{n} if r{}\n", n + 1)
        }),
        format!("allow if {}", "x ".repeat(40_000)),
        "a\n".repeat(3_000),
    ] {
        let before = Instant::now();
        let because = refused(&body);
        assert!(
            matches!(because, Because::Depth | Because::Size | Because::Syntax),
            "{because:?} {}",
            &body[..body.len().min(60)]
        );
        assert!(
            before.elapsed() < Duration::from_secs(2),
            "{:?} {}",
            before.elapsed(),
            &body[..body.len().min(60)]
        );
    }
    // The deepest that is admitted fits on the smallest stack that a policy is evaluated on.
    let mut body = "allow if r0\nr6 := 1\n".to_owned();
    for n in 0..6 {
        body += &format!("r{n} := {}r{}{}\n", chain("abs(", 5), n + 1, chain(")", 5));
    }
    assert_eq!(outcome(&body, json!({})), Ok(Verdict::True));
}

#[test]
fn values_cannot_be_doubled_over_and_over() {
    let mut doubled = "x0 := [1, 2]\n".to_owned();
    for n in 0..40 {
        doubled += &format!("x{} := [x{n}, x{n}]\n", n + 1);
    }
    assert_eq!(refused(&format!("{doubled}allow if x40 == x39")), Because::Growth);
    let mut squared = "x0 := input.n\n".to_owned();
    for n in 0..40 {
        squared += &format!("x{} := x{n} * x{n}\n", n + 1);
    }
    assert_eq!(refused(&format!("{squared}allow if x40 > 1")), Because::Growth);
    let nested = format!("f(x) := [x, x]\nallow if {}1{} == 1", "f(".repeat(20), ")".repeat(20));
    assert_eq!(refused(&nested), Because::Growth);
    // What a builtin makes larger is bounded where it runs.
    let mut encoded = "x0 := hex.encode(input.s)\n".to_owned();
    for n in 0..10 {
        encoded += &format!("x{} := hex.encode(x{n})\n", n + 1);
    }
    let long = json!({ "s": "a".repeat(10_000) });
    assert_eq!(outcome(&format!("{encoded}allow if x10 != \"\""), long), Err(Failure::Engine));
}

/// What a loop collects is paid for in steps, or it would be more than there is memory.
#[test]
fn memory_is_bounded_by_the_steps() {
    let long = json!({ "s": "a b ".repeat(16_000), "a": (0..300).collect::<Vec<_>>() });
    for call in [
        "split(input.s, \"\")",
        "upper(input.s)",
        "indexof_n(input.s, \"a\")",
        "urlquery.decode(input.s)",
    ] {
        let body = format!("allow if count([{call} | some i in input.a; some j in input.a]) > 1");
        assert_eq!(outcome(&body, long.clone()), Err(Failure::Budget), "{call}");
    }
    for body in [
        "s := {x | some x in input.a}\nallow if count([(s | {i}) | some i in input.a]) > 1",
        "s := {x | some x in input.a}\nallow if count([(s - t) | some i in input.a; t := {i}]) > 1",
        "s := {x | some x in input.a}\nf(t) := s | t\nallow if count([f({i}) | some i in input.a]) > 1",
        "s := {x | some x in input.a}\nr contains t if { some i in input.a; t := s & {i} }\nallow if count(r) > 1",
        "s := {x | some x in input.a}\nr[i] := s - t if { some i in input.a; t := {i} }\nallow if count(r) > 1",
    ] {
        assert_eq!(refused(body), Because::Growth, "{body}");
    }
    outcome("allow if [(x - 1) | some x in input.a] == [0]", json!({ "a": [1] })).unwrap();
}

/// The deepest that is admitted, in each way of being deep, fits on the stack of a thread that serves.
#[test]
fn the_deepest_policies_end_well() {
    let loops = (0..55).fold(String::new(), |text, n| text + &format!("some x{n} in input.a\n"));
    let nested = (0..3).fold("1".to_owned(), |text, n| format!("[{text} | some y{n} in input.a]"));
    let functions = (0..28)
        .fold("f28(x) := x\n".to_owned(), |text, n| text + &format!("f{n}(x) := f{}(x)\n", n + 1));
    for body in [
        format!("allow if {{ {loops} true }}"),
        format!("allow if {nested} == [[[1]]]"),
        format!("{functions}allow if f0(1) == 1"),
        format!("allow if {}1{} == 1", "abs(".repeat(18), ")".repeat(18)),
        format!("allow if 1{} == 41", " + 1".repeat(40)),
    ] {
        assert_eq!(outcome(&body, json!({ "a": [1] })), Ok(Verdict::True), "{body}");
    }
}

#[test]
fn pol_007_an_explosion_ends_by_its_steps_and_the_same_each_time() {
    let explosion = policy(
        "allow if count([1 | some i in input.a; some j in input.a; some k in input.a; some l in input.a; i + j + k + l > 1000]) > 3",
    );
    let input = Input::new(json!({ "a": (0..100).collect::<Vec<_>>() }));
    let first = explosion.evaluate(&input, &FULL);
    assert_eq!(first.outcome, Err(Failure::Budget));
    assert_eq!(explosion.evaluate(&input, &FULL), first);
    assert!(first.steps <= Limits::STEPS + 256, "{}", first.steps);
}

#[test]
fn an_evaluation_is_stopped_from_outside() {
    let explosion = policy(
        "allow if count([1 | some i in input.a; some j in input.a; some k in input.a; some l in input.a; i > l]) > 3",
    );
    let input = Input::new(json!({ "a": (0..1_000).collect::<Vec<_>>() }));
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        stopper.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let before = Instant::now();
    let evaluation = explosion.evaluate(&input, &Limits { steps: u64::MAX, stop: Some(&stop) });
    waiting.join().unwrap();
    assert_eq!(evaluation.outcome, Err(Failure::Timeout));
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// With builtin errors that are not strict, or in the engine's virtual machine, each of these allows.
#[test]
fn a_builtin_that_fails_never_becomes_a_yes() {
    for body in [
        "allow if not to_number(input.s) > 5",
        "default allow := false\nallow if not deny\ndeny if to_number(input.s) > 5",
        "allow if not deny\ndeny if time.parse_rfc3339_ns(input.s) > 5",
        "allow if count([x | x := to_number(input.s)]) == 0",
        "allow if not deny\ndeny if f(input.s)\nf(x) if to_number(x) > 5",
        "allow if not net.cidr_contains(\"10.0.0.0/8\", input.s)",
    ] {
        assert_eq!(outcome(body, json!({ "s": "no" })), Err(Failure::Engine), "{body}");
    }
}

#[test]
fn pol_008_a_pattern_is_linear_and_written_out() {
    let evil = "allow if regex.match(`^(a+)+$`, input.s)";
    let input = json!({ "s": "a".repeat(64 * 1_024) + "!" });
    let before = Instant::now();
    assert_eq!(outcome(evil, input), Ok(Verdict::Undefined));
    assert!(before.elapsed() < Duration::from_secs(2));
    for body in [
        "allow if regex.match(input.p, \"a\")",
        "p := \"a\"\nallow if regex.match(p, \"a\")",
        "allow if glob.match(input.p, [], \"a\")",
        "allow if time.parse_ns(input.l, \"a\") > 0",
    ] {
        assert_eq!(refused(body), Because::Pattern, "{body}");
    }
    assert_eq!(
        refused(&format!(
            "allow if regex.match(`{}`, \"a\")",
            "a".repeat(900) + "`\n+ `" + &"b".repeat(200)
        )),
        Because::Pattern
    );
}

#[test]
fn pol_015_policies_of_one_package_never_meet() {
    let (yes, no) = (policy("allow := true"), policy("allow := false"));
    let input = Input::new(json!({}));
    for _ in 0..2 {
        assert_eq!(yes.evaluate(&input, &FULL).outcome, Ok(Verdict::True));
        assert_eq!(no.evaluate(&input, &FULL).outcome, Ok(Verdict::False));
    }
}

#[test]
fn pol_024_integers_are_compared_exactly() {
    let body = "allow if input.n <= 9007199254740992";
    assert_eq!(outcome(body, json!({ "n": 9_007_199_254_740_992_u64 })), Ok(Verdict::True));
    assert_eq!(outcome(body, json!({ "n": 9_007_199_254_740_993_u64 })), Ok(Verdict::Undefined));
    assert_eq!(
        outcome("allow if input.n == 18446744073709551615", json!({ "n": u64::MAX })),
        Ok(Verdict::True)
    );
    assert_eq!(
        outcome("allow if input.n == -9223372036854775808", json!({ "n": i64::MIN })),
        Ok(Verdict::True)
    );
}

#[test]
fn the_time_of_a_policy_is_the_time_of_its_input() {
    let body = "allow if time.now_ns() == 1790000000000000000";
    let at = |ns: u64| json!({ "environment": { "now_ns": ns } });
    assert_eq!(outcome(body, at(1_790_000_000_000_000_000)), Ok(Verdict::True));
    assert_eq!(outcome(body, at(1)), Ok(Verdict::Undefined));
    assert_eq!(outcome(body, json!({})), Err(Failure::Engine));
}

#[test]
fn pol_001_the_entry_point_is_named_or_allow() {
    let text = "package a.b\nallow := false\nmay if input.x\nf(x) := true";
    let compiled = |entry_point| compile(&Source { entry_point, ..source(text) });
    for (entry_point, verdict) in
        [("allow", Verdict::False), ("may", Verdict::True), ("data.a.b.may", Verdict::True)]
    {
        let policy = compiled(entry_point).unwrap();
        assert_eq!(
            policy.evaluate(&Input::new(json!({ "x": 1 })), &FULL).outcome,
            Ok(verdict),
            "{entry_point}"
        );
    }
    let set = compile(&source("package a\nallow contains \"a\""));
    assert_eq!(set.unwrap_err().because, Because::EntryPoint);
    for entry_point in ["none", "data.a.may", "data.b.may", "data.a.b.c.may", "f", "data.a.b", ""] {
        assert_eq!(
            compiled(entry_point).unwrap_err().because,
            Because::EntryPoint,
            "{entry_point}"
        );
    }
}

#[test]
fn pol_005_the_older_reading_only_where_it_is_allowed() {
    let old = "package a\nallow { input.x == 1 }";
    assert_eq!(compile(&source(old)).unwrap_err().because, Because::Syntax);
    let policy = compile(&Source { language: Language::RegoV0, ..source(old) }).unwrap();
    assert_eq!(policy.dialect(), "rego.v0");
    assert_eq!(policy.evaluate(&Input::new(json!({ "x": 1 })), &FULL).outcome, Ok(Verdict::True));
    let new = compile(&Source {
        language: Language::RegoV0,
        ..source("package a\nallow if input.x == 1")
    })
    .unwrap();
    assert_eq!(new.dialect(), "rego.v1");
}

#[test]
fn a_refusal_names_rule_line_and_function() {
    let refused =
        compile(&source("package a\n\nallow if helper\n\nhelper if {\n  numbers.range(1, 2)\n}"))
            .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "line 6: rule `helper`: `numbers.range` is not a function that this policy may call"
    );
    let refused = compile(&source("package a\nallow if {")).unwrap_err();
    assert!(refused.line.is_some(), "{refused}");
}

/// `tests/vectors/rego`: every case ends as it says, and every builtin is in one.
#[test]
fn pol_004_005_the_corpus_is_answered_as_documented() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/rego");
    let (mut cases, mut wrong, mut texts) = (0, Vec::new(), String::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        for case in table["case"].as_array().unwrap() {
            let word = |name: &str| case.get(name).map(|text| text.as_str().unwrap());
            let text = format!("package a\n{}", word("policy").unwrap());
            let source = Source {
                language: if word("language") == Some("v0") {
                    Language::RegoV0
                } else {
                    Language::RegoV1
                },
                class: if word("class") == Some("local") { Class::Local } else { Class::Carried },
                ..source(&text)
            };
            let input = serde_json::from_str(word("input").unwrap_or("{}")).unwrap();
            let found = match compile(&source) {
                Ok(policy) => told(policy.evaluate(&Input::new(input), &FULL)),
                Err(refused) => format!("not admitted: {refused}"),
            };
            if !found.starts_with(word("expect").unwrap()) {
                wrong.push(format!("{}: {found}", word("name").unwrap()));
            }
            cases += 1;
            texts += &text;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 100, "{cases}");
    for name in opgate::policy::engine::builtins(Class::Local) {
        assert!(texts.contains(&format!("{name}(")), "no case calls {name}");
    }
}

fn told(evaluation: opgate::policy::engine::Evaluation) -> String {
    match evaluation.outcome {
        Ok(Verdict::True) => "true".to_owned(),
        Ok(Verdict::False) => "false".to_owned(),
        Ok(Verdict::Undefined) => "undefined".to_owned(),
        Ok(Verdict::NonBoolean) => "non_boolean".to_owned(),
        Err(Failure::Engine) => format!("error: {}", evaluation.fault.unwrap_or_default()),
        Err(Failure::Budget | Failure::Timeout) => "ran on".to_owned(),
    }
}

#[test]
fn what_was_stopped_before_it_began_ends_at_once() {
    let endless = policy(
        "allow if count([1 | some i in input.a; some j in input.a; some k in input.a; some l in input.a; i > l]) > 3",
    );
    let input = Input::new(json!({ "a": (0..1_000).collect::<Vec<_>>() }));
    let stop = Arc::new(AtomicBool::new(true));
    let evaluation = endless.evaluate(&input, &Limits { steps: u64::MAX, stop: Some(&stop) });
    assert_eq!(evaluation.outcome, Err(Failure::Timeout));
    assert!(evaluation.steps < 10_000, "{}", evaluation.steps);
}

/// A builtin runs to its end, whatever the steps and the clock say: so none makes more of a text than that
/// is worth.
#[test]
fn pol_007_no_builtin_makes_much_of_a_long_text() {
    let long = json!({ "s": "a".repeat(900_000) });
    for call in [
        "indexof_n(input.s, \"a\") != []",
        "split(input.s, \"\") != []",
        "trim(input.s, \"a\") == \"\"",
        "trim_left(input.s, \"a\") == \"\"",
        "trim_right(input.s, \"a\") == \"\"",
    ] {
        let body = format!("allow if {call}");
        assert_eq!(outcome(&body, long.clone()), Err(Failure::Engine), "{call}");
        assert_ne!(outcome(&body, json!({ "s": "aa" })), Err(Failure::Engine), "{call}");
    }
    assert!(Input::new(long).is_large() && !Input::new(json!({ "s": "a" })).is_large());
}
