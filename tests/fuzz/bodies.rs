// What each fuzz target does with its bytes. The tests call the same functions with generated input.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use opgate::audit::note::{self, Checkpoint, Verifier};
use opgate::audit::proof::Proof;
use opgate::cli::keys::SigningKey;
use opgate::decide::binding::Binding;
use opgate::facts::revocation::Revocations;
use opgate::journal::recovery::recover;
use opgate::journal::sealer;
use opgate::model::date;
use opgate::model::exact::Json;
use opgate::model::json;
use opgate::model::presented::Presented;
use opgate::model::time::Timestamp;
use opgate::operation::head::{Head, Transport};
use opgate::operation::jsonrpc::Message;
use opgate::operation::mcp::asked::Asked;
use opgate::operation::mcp::version::Version;
use opgate::operation::path::CanonicalPath;
use opgate::policy::engine::{self, Class, Input, Language, Limits, Source as Policy, Verdict};
use opgate::policy::record::Record;
use opgate::proxy::framing::{Bounds, Framing};
use opgate::runtime::signal::Signal;
use opgate::token::certificate;
use opgate::token::detached::{Check, Detached};
use opgate::token::dpop;
use opgate::token::extract::extract;
use opgate::token::feed::Feed;
use opgate::token::introspection::{self, Answer, Introspected};
use opgate::token::keys::KeySet;
use opgate::token::signers::{Role, Signers, Trusted};
use opgate::token::status::StatusList;
use opgate::token::svid::Bundle;
use opgate::token::target::Target;
use opgate::token::trust::{Algorithm, Issuer};
use opgate::token::verify::{Halt, Unverified, introspected};
use opgate::token::workload::{self, Identity, TrustDomain, UnverifiedIdentity};
use opgate::token::{jcs, status};
use serde_json::{Map, Value};

/// A path is canonical or refused; what is canonical has no hidden segment. And a stream of bytes is
/// read to its end or refused, however it arrives.
pub(crate) fn request_target(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(path) = CanonicalPath::parse(text)
    {
        assert!(!path.decoded().split('/').any(|segment| segment == ".." || segment == "."));
        assert_eq!(path.raw().matches('/').count(), path.decoded().matches('/').count());
    }
    let bounds = Bounds { header_bytes: 4_096, header_count: 32 };
    let whole = Framing::new(bounds).scan(bytes);
    assert!(whole.release <= bytes.len());
}

/// A message asks for what any other reader of JSON finds in it, or is refused.
pub(crate) fn mcp_message(bytes: &[u8]) {
    let Ok(json) = Json::parse(bytes) else { return };
    let Ok(message) = Message::read(&json) else { return };
    let value: Value = serde_json::from_slice(bytes).unwrap();
    for version in Version::ALL {
        let Ok(asked) = Asked::read(&message, version) else { continue };
        assert_eq!(value["method"].as_str().unwrap_or_default(), asked.method);
        let (name, args) = match asked.method {
            "tools/call" => ("/params/name", "/params/arguments"),
            "prompts/get" => ("/params/name", "/params"),
            "resources/read" => ("/params/uri", "/params"),
            _ => continue,
        };
        assert_eq!(value.pointer(name).and_then(Value::as_str), asked.name.as_deref());
        let args = value.pointer(args).cloned().unwrap_or_else(|| serde_json::json!({}));
        let members = asked.args(&json).as_object().unwrap();
        let read: BTreeSet<&str> = members.keys().map(|name| &**name).collect();
        assert_eq!(read, args.as_object().unwrap().keys().map(String::as_str).collect());
        let is_bare = asked.action != asked.alias;
        assert!(!is_bare || asked.method != "tools/call" || !asked.action.contains(['/', ':']));
        assert!(asked.alias.starts_with("mcp:"));
    }
}

/// A head is read in one way or refused.
pub(crate) fn header_set(bytes: &[u8]) {
    let mut request = http::Request::builder().method("GET").uri("/a");
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        request = request.header(name, &value[1..]);
    }
    if let Ok(request) = request.body(()) {
        let (parts, ()) = request.into_parts();
        drop(Head::read(&parts, Transport::default()));
        let token_header = http::HeaderName::from_static("x-agent-operation-token");
        extract(&parts.headers, parts.uri.query(), &token_header, None).ok();
    }
}

/// A token, a key set or a trust bundle is read or refused; and so is the certificate of an agent, which
/// nobody can make who has not the authority's key.
pub(crate) fn token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Unverified::read(Presented::new(text), [0; 32]));
    }
    drop(KeySet::from_jwks(bytes));
    drop(Bundle::read(bytes, "td.test"));
    let authority = include_bytes!("../vectors/authority.pem");
    let authority = Bundle::read(authority, "td.test").expect("an authority");
    let chain = serde_json::json!([BASE64_STANDARD.encode(bytes)]);
    assert!(authority.verify(&chain, &[4; 65]).is_err());
}

/// What an issuer says of its tokens is read or refused, also when it is well signed: a status list, a
/// feed of revocations, an answer to introspection. A revocation file is whole, torn or damaged.
pub(crate) fn issuer_document(bytes: &[u8]) {
    let Signer { issuer, keys, .. } = &*SIGNER;
    let signed = |kind: &str| SIGNER.sign(kind, bytes);
    let (uri, list) = ("https://as.test/1", signed("statuslist+jwt"));
    if let Ok(list) = StatusList::read(&list, uri, issuer, keys, NOW) {
        assert_eq!(list.status(u64::MAX), None);
    }
    for text in [bytes, signed("revocations+jwt").as_bytes()] {
        drop(Feed::read(text, issuer, Some(keys), NOW));
    }
    for text in [bytes, signed("token-introspection+jwt").as_bytes()] {
        if let Ok(Answer::Active(members)) = Answer::read(text, issuer, "gate", Some(keys)) {
            drop(introspection::payload(&members, issuer, "sha256:", NOW));
        }
    }
    let file = std::env::temp_dir().join(format!("opgate-fuzz-{}-revocations", std::process::id()));
    std::fs::write(&file, bytes).expect("a file of revocations");
    if Revocations::open(&file, Signal::default()).is_ok() {
        Revocations::open(&file, Signal::default()).expect("what was recovered is whole");
    }
}

/// A configuration is right, or every problem is said.
pub(crate) fn configuration(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(problems) = opgate::config::parse(text, Path::new("opgate.toml"))
    {
        assert!(!problems.to_string().is_empty());
    }
}

/// A log is whole, torn or damaged. What was torn is cut off once, and then the log is whole.
pub(crate) fn journal_tail(bytes: &[u8]) {
    let directory = std::env::temp_dir().join(format!("opgate-fuzz-{}", std::process::id()));
    let segments = directory.join("seg");
    std::fs::create_dir_all(&segments).expect("a folder for the log");
    std::fs::write(segments.join("000000000000.jsonl"), bytes).expect("a segment");
    if recover(&directory).is_ok() {
        let again = recover(&directory).expect("what was recovered is whole");
        assert_eq!((again.lines_cut, again.bytes_cut), (0, 0));
    }
}

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
const LIST: &str = "https://as.test/statuslists/1";

/// An issuer that allows what can be allowed, and its one key.
struct Signer {
    issuer: Arc<Issuer>,
    keys: Arc<KeySet>,
    key: SigningKey,
}

/// What is signed is read further than what is not, so the fuzzer has a key.
static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let text = r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"
[[issuer]]
issuer = "https://as.test"
jwks_file = "jwks.json"
allow_typ = ["JWT", ""]
iso8601_dates = true
scope_array = true
max_lifetime = "15m"
delegation = { }
[[upstream]]
name = "shop"
url = "http://127.0.0.1:1"
[[resource]]
id = "https://tools.test/shop"
upstream = "shop"
[[resource.operation]]
method = "GET"
path = "/**"
"#;
    let config = opgate::config::parse(text, Path::new("opgate.toml")).expect("a configuration");
    let issuer = config.issuers.first().expect("an issuer");
    let key = SigningKey::generate(Algorithm::EdDsa).expect("a key");
    let set = key.jwk_set("k", Vec::new()).expect("a key set");
    let (keys, _) = KeySet::from_jwks(set.as_bytes()).expect("a key set");
    Signer { issuer: Arc::clone(&issuer.trust), keys: Arc::new(keys), key }
});

impl Signer {
    fn sign(&self, kind: &str, payload: &[u8]) -> String {
        // A proof carries the key that made it (RFC 9449 §4.2).
        let jwk = self.key.jwk("k");
        let header = format!(r#"{{"alg":"EdDSA","kid":"k","typ":"{kind}","jwk":{jwk}}}"#);
        let [header, payload] =
            [header.as_bytes(), payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let input = format!("{header}.{payload}");
        let signature = self.key.sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Everybody is trusted, with the one key: whatever is signed is read to its end.
struct Everybody;

impl Signers for Everybody {
    fn find(&self, _: Role, _: &str) -> Result<Option<Trusted<'_>>, Halt> {
        Ok(Some(Trusted { algorithms: &Algorithm::ALL, keys: &SIGNER.keys, newer: None }))
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

/// A token with these members, beside those that every token has, becomes a grant or is refused: its
/// claims, entries, policies, chain, status and evidence.
pub(crate) fn signed_token(bytes: &[u8]) {
    let Some(members) = object(bytes) else { return };
    let base = r#"{"iss":"https://as.test","sub":"u","aud":"https://tools.test/shop","jti":"j",
        "iat":1790000000,"exp":1790000300,"act":{"sub":"wit://a.test/b"}}"#;
    let mut payload = object(base.as_bytes()).expect("an object");
    payload.extend(members);
    let payload = serde_json::to_vec(&payload).expect("JSON");
    for kind in ["at+jwt", "JWT"] {
        let token = SIGNER.sign(kind, &payload);
        let Ok(read) = Unverified::read(Presented::new(&token), [0; 32]) else { continue };
        let Signer { issuer, keys, .. } = &*SIGNER;
        if let Ok(grant) = read.verify(issuer, keys, &Everybody, NOW) {
            assert!(grant.ends() > NOW);
        }
    }
}

/// What an issuer says of an opaque token becomes a grant or is refused; and what it says of evidence that
/// a token only names is evidence of that name, or none.
pub(crate) fn introspected_token(bytes: &[u8]) {
    let Some(members) = object(bytes) else { return };
    let Signer { issuer, keys, .. } = &*SIGNER;
    let answer = Introspected { answer: Answer::Active(members.clone()), asked: NOW, until: NOW };
    if let Ok(grant) = introspected(&answer, issuer, [0; 32], &Everybody, NOW) {
        assert!(grant.ends() > NOW);
    }
    let token = r#"{"iss":"https://as.test","sub":"u","aud":"https://tools.test/shop","jti":"j",
        "iat":1790000000,"exp":1790000300,"evidence_ref":"e"}"#;
    let token = SIGNER.sign("at+jwt", token.as_bytes());
    let token = Unverified::read(Presented::new(&token), [0; 32]).expect("a token");
    let grant = token.verify(issuer, keys, &Everybody, NOW).expect("a good one");
    if let Ok(told) = token.told(&grant, &members, &Everybody, NOW)
        && let Some(evidence) = told.shown()
    {
        assert_eq!(evidence.id.as_deref(), Some("e"));
    }
}

/// A credential for what a person typed is good or wrong, with the fuzzer's key or without.
pub(crate) fn prompt_credential(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for credential in [&*text, &SIGNER.sign("JWT", bytes), &SIGNER.sign("vc+jwt", bytes)] {
        let evidence =
            serde_json::json!({ "evidence": { "source_prompt_credential": credential } });
        signed_token(evidence.to_string().as_bytes());
    }
}

/// What is shown of a caller beside the token, and what is fetched about a token: each is read or refused.
pub(crate) fn companion(bytes: &[u8]) {
    drop(certificate::read(bytes, true));
    drop(Binding::read(bytes, "urn:uuid:1"));
    drop(Record::read(bytes, false, None));
    drop(Record::read(bytes, true, Some("p")));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(moment) = date::rfc3339(text) {
        assert_eq!(date::rfc3339(&moment.to_string()), Some(moment));
    }
    let field = format!(":{}:", BASE64_STANDARD.encode(bytes));
    for field in [text, &field] {
        if let Some(der) = certificate::forwarded(field) {
            drop(certificate::read(&der, true));
        }
    }
}

/// What is packed into a status list is inflated within its bound, or the list is unusable; and each
/// place has a status of its bits.
pub(crate) fn packed_list(bytes: &[u8]) {
    let Some((bits, packed)) = bytes.split_first() else { return };
    let bits = 1_u8 << (bits % 4);
    let packed = BASE64_URL_SAFE_NO_PAD.encode(packed);
    let payload = format!(
        r#"{{"sub":"{LIST}","iat":1790000000,"status_list":{{"bits":{bits},"lst":"{packed}"}}}}"#
    );
    let token = SIGNER.sign("statuslist+jwt", payload.as_bytes());
    let Signer { issuer, keys, .. } = &*SIGNER;
    if let Ok(list) = StatusList::read(&token, LIST, issuer, keys, NOW) {
        assert_eq!(list.status(status::MAX_LIST * 8), None);
        for status in (0..64).map_while(|index| list.status(index)) {
            assert!(u16::from(status) < 1 << bits, "{status} in {bits} bits");
        }
    }
}

/// What is canonical stays what it is, and means what it was made of (RFC 8785).
pub(crate) fn canonical_json(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes, 32) else { return };
    let Ok(canonical) = jcs::canonical(&value) else { return };
    let again = json::parse(&canonical, 32).expect("canonical JSON is JSON");
    assert_eq!(jcs::canonical(&again).as_ref(), Ok(&canonical));
}

/// A detached signature is read in one way or refused, and none that was not made verifies.
pub(crate) fn detached_signature(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(signature) = Detached::read(text) {
        let named = SIGNER.keys.named(signature.key_id());
        let check = signature.check(b"{}", named, &Algorithm::ALL);
        assert!(!matches!(check, Check::Good(..)));
    }
}

const TARGET: Target<'_> = Target {
    origin: "https://tools.test",
    authority: "tools.test",
    path: "/shop/a",
    resource: "https://tools.test/shop",
    below: "/a",
};

/// A proof of possession is verified or refused, and so is the identity of a workload read.
pub(crate) fn possession_proof(bytes: &[u8]) {
    let expected = dpop::Expected {
        method: "GET",
        target: TARGET,
        token: &[0; 32],
        algorithms: &Algorithm::ALL,
        now: NOW,
    };
    let signed = SIGNER.sign("dpop+jwt", bytes);
    for proof in [std::str::from_utf8(bytes).unwrap_or_default(), &signed] {
        if let Ok(proof) = dpop::verify(proof, &expected) {
            assert!(proof.first_use.until >= NOW);
        }
    }
    let signed = SIGNER.sign("wit+jwt", bytes);
    for token in [std::str::from_utf8(bytes).unwrap_or_default(), &signed] {
        drop(UnverifiedIdentity::read(token));
    }
}

/// A workload that has proven who it is, whose proofs are signed with the fuzzer's key.
static WORKLOAD: LazyLock<Identity> = LazyLock::new(|| {
    let jwk = SIGNER.key.jwk("k");
    let payload = format!(
        r#"{{"sub":"wimse://as.test/a","exp":{},"cnf":{{"jwk":{jwk}}}}}"#,
        NOW.seconds() + 60
    );
    let text = SIGNER.sign("wit+jwt", payload.as_bytes());
    let domain = TrustDomain {
        issuer: Arc::clone(&SIGNER.issuer),
        domain: "as.test".into(),
        agents: HashMap::new(),
        keys: 0,
    };
    let token = UnverifiedIdentity::read(&text).expect("an identity token");
    token.verify(&domain, &SIGNER.keys, NOW).expect("a good one")
});

/// A workload's proof is verified or refused; a good one lies ahead, and ends soon.
pub(crate) fn workload_proof(bytes: &[u8]) {
    let signed = SIGNER.sign("wpt+jwt", bytes);
    for (is_open_agent_auth, transaction) in [(false, None), (true, Some([1; 32]))] {
        let expected = workload::Expected {
            target: TARGET,
            token: &[0; 32],
            token_header: Some("x-agent-operation-token"),
            transaction,
            is_open_agent_auth,
            now: NOW,
        };
        for proof in [std::str::from_utf8(bytes).unwrap_or_default(), &signed] {
            if let Ok(first_use) = workload::verify_proof(proof, &WORKLOAD, &expected) {
                assert!(first_use.until > NOW && first_use.until <= NOW.after(workload::LIFETIME));
            }
        }
    }
}

/// A verifier key, a checkpoint, a history of them and a proof are refused, or say the same when they are read
/// again; none is believed that the key did not sign.
pub(crate) fn signed_note(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(verifier) = Verifier::parse(&text) {
        assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier));
    }
    let Some(signer) = note::Signer::new("gate.test/1", &[7; 32]) else { return };
    let verifier = signer.verifier();
    for note in sealer::notes(&text) {
        assert!(text.contains(note));
        assert!(Checkpoint::open(note, &verifier).is_err());
    }
    assert!(Checkpoint::open(&text, &verifier).is_err());
    // What is signed is a checkpoint, or it says nothing.
    if let Ok(checkpoint) = Checkpoint::open(&signer.sign(&text), &verifier) {
        assert!(format!("{text}\n").starts_with(&checkpoint.to_string()));
    }
    if let Ok(proof) = Proof::parse(&text) {
        assert!(proof.check(b"a record", &verifier).is_err());
        assert!(Proof::parse(&proof.to_string()).is_ok_and(|again| again == proof));
    }
}

/// A policy in Cedar is refused, or it compiles and ends on any input, at once and always alike; in a build
/// without that language it is refused.
pub(crate) fn cedar_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let source =
        Policy { language: Language::Cedar, class: Class::Carried, entry_point: "allow", text };
    let checked = engine::check(&source);
    let compiled = engine::compile(&source);
    assert_eq!(checked.is_ok(), compiled.is_ok());
    let Ok(policy) = compiled else { return };
    let input = Input::new(serde_json::json!({
        "action": "pay", "agent": { "id": "a" }, "user": { "id": "u" }, "resource": { "type": "http", "id": "r" },
        "args": { "amount": 5, "items": [1, 2, 3], "text": "abc" }, "environment": { "now_ns": 1 },
    }));
    let limits = Limits { steps: 10_000, stop: None };
    let evaluation = policy.evaluate(&input, &limits);
    assert!(evaluation.steps <= limits.steps || evaluation.outcome.is_err());
    assert_eq!(policy.evaluate(&input, &limits).outcome, evaluation.outcome);
    assert!(text.contains("permit") || evaluation.outcome != Ok(Verdict::True));
}

/// A policy is refused, or it compiles and ends within its steps on any input: never a panic, never a hang.
pub(crate) fn policy_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for (language, class) in [(Language::RegoV1, Class::Carried), (Language::RegoV0, Class::Local)]
    {
        let source = Policy { language, class, entry_point: "allow", text };
        drop(engine::check(&source));
        let Ok(policy) = engine::compile(&source) else { continue };
        let input = Input::new(serde_json::json!({
            "action": "pay", "args": { "amount": 5, "items": [1, 2, 3] }, "environment": { "now_ns": 1 }, "x": [{ "y": "z" }],
        }));
        let limits = Limits { steps: 10_000, stop: None };
        let evaluation = policy.evaluate(&input, &limits);
        assert!(evaluation.steps <= limits.steps + 256);
        assert_eq!(policy.evaluate(&input, &limits).outcome, evaluation.outcome);
        assert!(text.contains("allow") || evaluation.outcome != Ok(Verdict::True));
    }
}
