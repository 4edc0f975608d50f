//! Policies written to abort, hang, exhaust or outwit the engine, carried in tokens over real sockets
//! (`policy.md` §5.1): each is refused as it should be, nothing of its call reaches the upstream, and
//! whoever else calls meanwhile is served.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Connection, Echo, Gate, Response, Setup, Token, request};

const ORDINARY: &str = "/shop/products/1";
const HOSTILE: &str = "/shop/any/hostile";
/// No ordinary call may take longer, on a machine that runs many tests at once.
const LONGEST: Duration = Duration::from_secs(2);
const NOT_ADMITTED: (u16, &[&str]) = (500, &["policy_not_admitted"]);
const RAN_ON: (u16, &[&str]) = (500, &["policy_budget", "policy_timeout"]);
const FAILED: (u16, &[&str]) = (500, &["policy_engine_failed"]);
const UNDEFINED: (u16, &[&str]) = (403, &["policy_undefined"]);
const DENIED: (u16, &[&str]) = (403, &["policy_denied"]);

struct Siege {
    echo: Echo,
    gate: Gate,
    /// The token of somebody else, whose grant is a list and whose other grant is a policy.
    others: [String; 2],
}

/// A policy, what its call brings, and how that must end.
struct Case {
    body: String,
    arguments: Value,
    expected: (u16, &'static [&'static str]),
}

fn case(
    body: impl Into<String>,
    arguments: Value,
    expected: (u16, &'static [&'static str]),
) -> Case {
    Case { body: body.into(), arguments, expected }
}

fn entry(content: &str) -> Value {
    json!({"type": "authorization_policy", "policy": {"language": "rego", "content": content}})
}

fn bearer(token: &str, method: &str, target: &str, body: &str) -> String {
    let bearer = format!("Bearer {token}");
    let mut lines = vec![("Authorization", bearer.as_str())];
    if !body.is_empty() {
        lines.push(("Content-Type", "application/json"));
    }
    request(method, target, &lines, body)
}

impl Siege {
    fn start() -> Self {
        let echo = Echo::start();
        let gate = Setup::new(&echo).start();
        let key = &gate.setup.key;
        let list = Token::new().claim("sub", "somebody-else").sign(key);
        let policy = "package agent\n\nallow if input.action == \"search_products\"\n";
        let policy = Token::new()
            .claim("sub", "somebody-else")
            .claim("authorization_details", json!([entry(policy)]))
            .sign(key);
        let others = [list, policy];
        for token in &others {
            assert_eq!(gate.get(ORDINARY, token).status, 200);
        }
        Self { echo, gate, others }
    }

    fn carrying(&self, body: &str) -> String {
        let entry = entry(&format!("package agent\n{body}"));
        Token::new().claim("authorization_details", json!([entry])).sign(&self.gate.setup.key)
    }

    /// Runs `attack` while somebody else calls on and on, whose every call is let through.
    fn meanwhile(&self, attack: impl FnOnce()) {
        let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for token in &self.others {
                let (over, calls) = (&over, &calls);
                scope.spawn(move || self.calls(token, over, calls));
            }
            let ends = Over(&over);
            attack();
            // One more of each, after all that.
            let so_far = calls.load(Ordering::Relaxed);
            crate::support::eventually("ordinary calls", || {
                (calls.load(Ordering::Relaxed) > so_far + 2).then_some(())
            });
            drop(ends);
        });
        let all = self.echo.requests();
        let hostile = all.iter().find(|one| one.line.contains("hostile"));
        assert!(hostile.is_none(), "the upstream received {hostile:?}");
        assert!(all.len() >= calls.load(Ordering::Relaxed));
    }

    /// Calls with `token` until it is `over`.
    fn calls(&self, token: &str, over: &AtomicBool, calls: &AtomicUsize) {
        let mut connection = self.gate.connect();
        let text = bearer(token, "GET", ORDINARY, "");
        while !over.load(Ordering::Relaxed) {
            let before = Instant::now();
            let response = connection.call(&text);
            let elapsed = before.elapsed();
            assert_eq!(response.status, 200, "{}", response.everything());
            assert!(elapsed < LONGEST, "an ordinary call took {elapsed:?}");
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each of `cases`, twice, so that what is remembered of the first time answers the same; while
    /// somebody else is served.
    fn withstands(&self, cases: &[Case]) {
        self.meanwhile(|| {
            for Case { body, arguments, expected } in cases {
                let token = self.carrying(body);
                let shown = &body[..body.len().min(120)];
                for _ in 0..2 {
                    let text = bearer(&token, "POST", HOSTILE, &arguments.to_string());
                    let before = Instant::now();
                    self.refused(&self.gate.send(text), *expected, shown);
                    let elapsed = before.elapsed();
                    assert!(elapsed < LONGEST * 2, "{shown}: refused after {elapsed:?}");
                }
            }
        });
    }

    fn refused(&self, response: &Response, expected: (u16, &[&str]), shown: &str) {
        let (status, reasons) = expected;
        let record = self.gate.decision(&response.decision_id());
        let reason = record["reason"].as_str().unwrap_or_default();
        assert!(
            response.status == status && reasons.contains(&reason),
            "{shown}: {} {record}",
            response.everything()
        );
        assert_eq!(record["decision"], "deny", "{shown}");
    }
}

/// Lets the ordinary callers end, also when the attack was not withstood.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn pol_007_recursion_and_cycles_in_a_carried_policy_are_refused() {
    let none = || json!({});
    Siege::start().withstands(&[
        case("f(x) := f(x)\nallow if f(1)", none(), NOT_ADMITTED),
        case("f(x) := g(x)\ng(x) := f(x)\nallow if f(1)", none(), NOT_ADMITTED),
        case("allow if b\nb if allow", none(), NOT_ADMITTED),
        case("allow if data.agent.allow", none(), NOT_ADMITTED),
        case("allow if data[input.args.x]", json!({"x": "agent"}), NOT_ADMITTED),
        case("default allow := false\nallow if not allow", none(), NOT_ADMITTED),
        case("s contains x if some x in s\nallow if s[1]", none(), NOT_ADMITTED),
    ]);
}

#[test]
fn pol_006_a_builtin_that_hangs_or_exhausts_the_engine_is_refused() {
    let long = || json!({"s": "a".repeat(20_000), "n": 60_000_000});
    let replaced = (0..4).fold("input.args.s".to_owned(), |text, _| {
        format!("replace({text}, \"a\", \"aaaaaaaaaaaaaaaaaaaa\")")
    });
    Siege::start().withstands(&[
        case("allow if count(numbers.range(1, 60000000)) > 1", long(), NOT_ADMITTED),
        case("allow if count(numbers.range(1, input.args.n)) > 1", long(), NOT_ADMITTED),
        case("allow if count(net.cidr_expand(\"10.0.0.0/8\")) > 1", long(), NOT_ADMITTED),
        case(format!("allow if {replaced} != \"\""), long(), NOT_ADMITTED),
        case("allow if sprintf(\"%1000000000d\", [1]) != \"\"", long(), NOT_ADMITTED),
        case("allow if units.parse(\"1e999999999K\") > 1", long(), NOT_ADMITTED),
        case("allow if bits.lsh(1, 1000000000) > 1", long(), NOT_ADMITTED),
        case("allow if json.unmarshal(input.args.s)", long(), NOT_ADMITTED),
        case(
            "allow if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"})",
            long(),
            NOT_ADMITTED,
        ),
        case("allow if opa.runtime().env", long(), NOT_ADMITTED),
        case("allow if io.jwt.decode(input.args.s)", long(), NOT_ADMITTED),
        case("allow if rand.intn(\"a\", 2) < 2", long(), NOT_ADMITTED),
        case("allow if walk(input, [x, y])", long(), NOT_ADMITTED),
        case("allow if inptu.action == \"anything\"", long(), NOT_ADMITTED),
    ]);
}

#[test]
fn pol_007_what_grows_or_nests_without_end_is_refused() {
    let digit = || json!({"n": 99_999_999_999_u64, "a": [1]});
    let squares = (0..40).fold("x0 := input.args.n\n".to_owned(), |text, n| {
        text + &format!("x{} := x{n} * x{n}\n", n + 1)
    });
    let doubles = (0..40).fold("x0 := input.args.a\n".to_owned(), |text, n| {
        text + &format!("x{} := [x{n}, x{n}]\n", n + 1)
    });
    let calls = format!("f(x) := [x, x]\nallow if {}1{} == 1", "f(".repeat(20), ")".repeat(20));
    Siege::start().withstands(&[
        case(format!("{squares}allow if x40 > 1"), digit(), NOT_ADMITTED),
        case(format!("{doubles}allow if x40 != x39"), digit(), NOT_ADMITTED),
        case(calls, digit(), NOT_ADMITTED),
        case(format!("allow if x := {}1{}", "[".repeat(30), "]".repeat(30)), digit(), NOT_ADMITTED),
        case(format!("allow if x := {}1{}", "{".repeat(30), "}".repeat(30)), digit(), NOT_ADMITTED),
        case(format!("allow if {{ 1{} > 5 }}", "+1".repeat(1_500)), digit(), NOT_ADMITTED),
        case("\n".repeat(2_500) + "allow := true", digit(), NOT_ADMITTED),
    ]);
}

#[test]
fn pol_007_loops_within_loops_end_by_their_steps() {
    let many = || json!({"a": (0..200).collect::<Vec<_>>()});
    let nested = "some i in input.args.a; some j in input.args.a; some k in input.args.a; some l in input.args.a";
    Siege::start().withstands(&[
        case(format!("allow if count([1 | {nested}; i + j + k + l > 5000]) > 3"), many(), RAN_ON),
        case(format!("allow if {{ {nested}; i + j + k + l > 5000 }}"), many(), RAN_ON),
        case(format!("allow if not deny\ndeny if {{ {nested}; i + j + k + l > 5000 }}"), many(), RAN_ON),
        case(
            "allow if every i in input.args.a { every j in input.args.a { every k in input.args.a { i + j + k >= 0 } } }",
            many(),
            RAN_ON,
        ),
        case(
            "allow if count([upper(input.args.s) | some i in input.args.a; some j in input.args.a]) > 1",
            json!({"s": "a b ".repeat(10_000), "a": (0..300).collect::<Vec<_>>()}),
            RAN_ON,
        ),
    ]);
}

#[test]
fn pol_008_an_evil_pattern_takes_linear_time_and_a_huge_one_is_refused() {
    let long = || json!({"s": "a".repeat(60_000) + "!", "p": "^(a+)+$"});
    Siege::start().withstands(&[
        case("allow if regex.match(`^(a+)+$`, input.args.s)", long(), UNDEFINED),
        case("allow if regex.match(`^(a*)*(a*)*b$`, input.args.s)", long(), UNDEFINED),
        case("allow if regex.match(`^(a|aa)+$`, input.args.s)", long(), UNDEFINED),
        case(
            "allow if regex.match(`^((((a{1,100}){1,100}){1,100}){1,100})$`, input.args.s)",
            long(),
            FAILED,
        ),
        case("allow if regex.match(input.args.p, input.args.s)", long(), NOT_ADMITTED),
        case("allow if glob.match(input.args.p, [], input.args.s)", long(), NOT_ADMITTED),
        case(format!("allow if regex.match(`{}`, \"a\")", "a".repeat(1_500)), long(), NOT_ADMITTED),
    ]);
}

/// Where errors of builtins are not strict, or in the engine's virtual machine, each of the first allows.
#[test]
fn pol_002_a_builtin_that_fails_in_a_denial_never_allows() {
    let wrong = || json!({"s": "no number"});
    Siege::start().withstands(&[
        case("allow if not to_number(input.args.s) > 5", wrong(), FAILED),
        case("allow if not deny\ndeny if to_number(input.args.s) > 5", wrong(), FAILED),
        case("default allow := false\nallow if not deny\ndeny if time.parse_rfc3339_ns(input.args.s) > 5", wrong(), FAILED),
        case("allow if count([x | x := to_number(input.args.s)]) == 0", wrong(), FAILED),
        case("allow if not net.cidr_contains(\"10.0.0.0/8\", input.args.s)", wrong(), FAILED),
        // What is absent is no failure, and no yes.
        case("allow if input.args.nonesuch <= 5", wrong(), UNDEFINED),
        case("default allow := false\nallow if input.tokne.jti", wrong(), DENIED),
    ]);
}

#[test]
fn pol_031_what_replaces_input_or_reads_data_is_refused_in_a_token() {
    let none = || json!({});
    Siege::start().withstands(&[
        case("allow if b with input as {\"x\": true}\nb if input.x", none(), NOT_ADMITTED),
        case("allow if b with data.x as true\nb if data.x", none(), NOT_ADMITTED),
        case("allow if time.now_ns() == 1 with time.now_ns as 1", none(), NOT_ADMITTED),
        case("import data.agent\nallow if agent.x", none(), NOT_ADMITTED),
        case("import data.other.allow as c\nallow if c", none(), NOT_ADMITTED),
        case("allow if data.other.allow", none(), NOT_ADMITTED),
        case("import input.user as time\nallow if time.id", none(), NOT_ADMITTED),
        case("allow if { some b in [true]; b }\nb := false", none(), NOT_ADMITTED),
    ]);
}

/// Each of 2000 texts is compiled for the first time, as fast as eight callers can bring them.
#[test]
fn pol_025_thousands_of_policies_that_nobody_has_seen_hold_nobody_up() {
    const TEXTS: usize = 2_000;
    let siege = Siege::start();
    let key = &siege.gate.setup.key;
    let signed = |n: usize| {
        let rules = (0..16).fold(String::new(), |text, rule| {
            text + &format!("r{rule} if input.args.x{n} == \"{n}-{rule}\"\n")
        });
        // So long that not all of them can be kept.
        let note = "#".repeat(2_400);
        let entry = entry(&format!("package agent{n}\n{note}\nallow if r0\n{rules}"));
        Token::new()
            .claim("jti", format!("flood-{n}"))
            .claim("authorization_details", json!([entry]))
            .sign(key)
    };
    let tokens: Vec<String> = (0..TEXTS).map(signed).collect();
    let (next, statuses) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let flood = |connection: &mut Connection| {
        while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
            let status = connection.call(bearer(token, "GET", HOSTILE, "")).status;
            statuses.lock().unwrap().push(status);
        }
    };
    siege.meanwhile(|| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| flood(&mut siege.gate.connect()));
            }
        });
    });
    let statuses = statuses.into_inner().unwrap();
    assert_eq!(statuses.len(), TEXTS);
    // Undefined, since nothing is told of what they ask for.
    assert!(statuses.iter().all(|status| *status == 403), "{statuses:?}");
    // All of their texts are 6 MB.
    let kept = metric(&siege.gate, "opgate_policies_compiled_bytes");
    assert!((1e6..=4.2e6).contains(&kept), "{kept} bytes are kept");
    let number = metric(&siege.gate, "opgate_policies_compiled");
    assert!((100.0..1_500.0).contains(&number), "{number} policies are kept");
}

fn metric(gate: &Gate, name: &str) -> f64 {
    let text = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    line.parse().unwrap()
}

#[test]
fn pol_010_no_argument_makes_its_caller_somebody_else() {
    let names = ["user", "agent", "client", "token", "action", "resource", "evidence", "context"];
    for shape in ["standard", "draft-flat"] {
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        setup.issuer = format!("policies = {{ input = {shape:?} }}");
        let gate = setup.start();
        for name in names {
            let body = format!("package a\nallow if input.{name}.id == \"admin\"");
            let token = Token::new().claim("authorization_details", json!([entry(&body)]));
            let token = token.sign(&gate.setup.key);
            let mut arguments = json!({});
            arguments[name] = json!({"id": "admin"});
            let call = bearer(&token, "POST", HOSTILE, &arguments.to_string());
            let response = gate.send(call);
            assert_eq!(response.status, 403, "{shape}: {name}: {}", response.everything());
        }
        echo.assert_untouched(shape);
        // A name that nothing else has is an argument's, in the shape that puts them there.
        let body = "package a\nallow if input.amount == 7";
        let token = Token::new().claim("authorization_details", json!([entry(body)]));
        let call = bearer(&token.sign(&gate.setup.key), "POST", HOSTILE, r#"{"amount":7}"#);
        let expected = if shape == "draft-flat" { 200 } else { 403 };
        assert_eq!(gate.send(call).status, expected, "{shape}");
    }
}
