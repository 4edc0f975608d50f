// What each fuzz target does with its bytes. The tests call the same functions with generated input.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use opgate::cli::keys::SigningKey;
use opgate::facts::revocation::Revocations;
use opgate::journal::recovery::recover;
use opgate::model::presented::Presented;
use opgate::model::time::Timestamp;
use opgate::operation::head::{Head, Transport};
use opgate::operation::path::CanonicalPath;
use opgate::proxy::framing::{Bounds, Framing};
use opgate::runtime::signal::Signal;
use opgate::token::extract::extract;
use opgate::token::feed::Feed;
use opgate::token::introspection::{self, Answer};
use opgate::token::keys::KeySet;
use opgate::token::status::StatusList;
use opgate::token::trust::{Algorithm, Issuer};
use opgate::token::verify::Unverified;

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
        extract(&parts.headers, parts.uri.query()).ok();
    }
}

/// A token or a key set is read or refused.
pub(crate) fn token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(Unverified::read(Presented::new(text), [0; 32]));
    }
    drop(KeySet::from_jwks(bytes));
}

static SIGNER: LazyLock<(SigningKey, Arc<KeySet>)> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::EdDsa).expect("a key");
    let set = key.jwk_set("k", Vec::new()).expect("a key set");
    (key, Arc::new(KeySet::from_jwks(set.as_bytes()).expect("a key set").0))
});

/// What an issuer says of its tokens is read or refused, also when it is well signed: a status list, a
/// feed of revocations, an answer to introspection. A revocation file is whole, torn or damaged.
pub(crate) fn issuer_document(bytes: &[u8]) {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let (key, keys) = &*SIGNER;
    let (issuer, now) = (Issuer::named("https://as.test"), Timestamp::from_seconds(1_790_000_000));
    let signed = |kind: &str| {
        let header = format!(r#"{{"alg":"EdDSA","kid":"k","typ":"{kind}"}}"#);
        let input = format!("{}.{}", encode(header.as_bytes()), encode(bytes));
        let signature = encode(&key.sign(input.as_bytes()).expect("a signature"));
        format!("{input}.{signature}")
    };
    let (uri, list) = ("https://as.test/1", signed("statuslist+jwt"));
    if let Ok(list) = StatusList::read(&list, uri, &issuer, keys, now) {
        assert_eq!(list.status(u64::MAX), None);
    }
    for text in [bytes, signed("revocations+jwt").as_bytes()] {
        drop(Feed::read(text, &issuer, Some(keys), now));
    }
    for text in [bytes, signed("token-introspection+jwt").as_bytes()] {
        if let Ok(Answer::Active(members)) = Answer::read(text, &issuer, "gate", Some(keys)) {
            drop(introspection::payload(&members, &issuer, "sha256:", now));
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
