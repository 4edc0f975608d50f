//! A request in the making: good to begin with, then changed in any of many ways.

use serde_json::{Value, json};

use super::book::Asked;
use super::hops::{self, HOPS, Hops, Proof};
use super::setting::{ISSUERS, PAIRS, RESOURCES, STRANGER};
use super::workload;
use crate::support::issuer::{b64, hs256, jws};

/// Seconds; the time of every call.
pub(super) const NOW: i64 = 1_790_000_000;

/// A request whose token is not signed yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) issuer: usize,
    /// Whose pairs it is signed with, and which of them.
    pub(super) signer: (usize, usize),
    pub(super) secret: Option<Vec<u8>>,
    pub(super) header: Value,
    pub(super) payload: Value,
    pub(super) texts: Vec<Text>,
    pub(super) wires: Vec<Wire>,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) query: Option<&'static str>,
    /// The lines of `Authorization`, `{}` standing for the token.
    pub(super) lines: Vec<String>,
    /// How what is inside the token is signed.
    pub(super) hops: Hops,
    /// What is shown beside the token.
    pub(super) proof: Option<Proof>,
    /// What the workload that presents it shows.
    pub(super) workload: Option<workload::Shown>,
}

/// A change to the JSON of header or payload before it is signed.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// A member more at the beginning of the payload.
    Member(String),
    /// A member more at the beginning of the header.
    HeaderMember(String),
    /// The payload between two texts.
    Around(&'static str, &'static str),
    /// One spelling for another, in the payload.
    Respelled(&'static str, &'static str),
}

/// A change to the token after it is signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire {
    /// Another character at a place of one part.
    Flip(usize, usize),
    /// Padding behind one part.
    Pad(usize),
    /// One part less, or one more.
    Parts(usize),
    /// An empty part.
    Empty(usize),
    /// Unused bits of the last character set.
    Loose,
    /// Two tokens' parts mixed: this payload under that of the unchanged token.
    Blank,
}

/// What makes a good draft: which issuer, resource, operation and key.
pub(super) type Choice = (usize, usize, usize);

/// The issuer's tokens for each of its resources.
pub(super) fn good((place, target, key): Choice) -> Draft {
    const PLACES: [(usize, usize); 7] =
        [(0, 0), (1, 0), (0, 1), (2, 1), (3, 0), (HOPS, 2), (HOPS, 3)];
    const SHOP: [(&str, &str); 9] = [
        ("GET", "/products/42"),
        ("HEAD", "/products/a/b"),
        ("POST", "/orders"),
        ("GET", "/orders/7"),
        ("DELETE", "/orders/7"),
        ("GET", "/any/thing"),
        ("POST", "/any/secret/thing"),
        ("GET", "/products/a%40b"),
        ("GET", "/products/"),
    ];
    const SCOPED: [(&str, &str); 4] =
        [("GET", "/x"), ("POST", "/x/y"), ("GET", ""), ("GET", "/caf%C3%A9")];
    const PROVEN: [(&str, &str); 3] = [("GET", "/x"), ("GET", "/"), ("GET", "/caf%C3%A9")];
    let (issuer, resource) = PLACES[place % PLACES.len()];
    let targets: &[(&str, &str)] = match resource {
        0 => &SHOP,
        3 => &PROVEN,
        _ => &SCOPED,
    };
    let (method, path) = targets[target % targets.len()];
    let (id, mount) = (RESOURCES[resource].id, RESOURCES[resource].mount);
    let signer = key % PAIRS[issuer].len();
    let pair = &PAIRS[issuer][signer];
    let mut payload = json!({
        "iss": ISSUERS[issuer].id, "sub": "user-1", "aud": id, "client_id": "app-1",
        "iat": NOW - 10, "exp": NOW + 300, "jti": "token-1",
        "scope": "tools tools.write orders.read orders.write",
    });
    if resource == 0 {
        payload["authorization_details"] = json!([{
            "type": "agent_operation",
            "locations": [id],
            "operations": [
                {"method": "GET", "path": "/products/**"},
                {"method": "HEAD", "path": "/products/*/b"},
                {"action": "create_order"},
                {"action": "read_order", "method": "GET", "path": "/orders/*"},
                {"action": "delete"},
                {"action": "anything"},
            ],
        }]);
    }
    let mut draft = Draft {
        issuer,
        signer: (issuer, signer),
        secret: None,
        header: json!({"typ": "at+jwt", "alg": pair.alg(), "kid": pair.kid}),
        payload,
        texts: Vec::new(),
        wires: Vec::new(),
        method,
        path: format!("{mount}{path}"),
        query: None,
        lines: vec!["Bearer {}".to_owned()],
        hops: Hops::default(),
        proof: None,
        workload: None,
    };
    if issuer == HOPS {
        hops::delegate(&mut draft, key, resource == 3);
    }
    draft
}

impl Draft {
    /// Signs, and makes the request.
    pub(super) fn finish(&self) -> Asked {
        let mut claims = self.payload.clone();
        hops::sign(&mut claims, &self.hops);
        let (mut header, mut payload) = (self.header.to_string(), claims.to_string());
        for text in &self.texts {
            match text {
                Text::Member(member) => payload = with_member(&payload, member),
                Text::HeaderMember(member) => header = with_member(&header, member),
                Text::Around(before, after) => payload = format!("{before}{payload}{after}"),
                Text::Respelled(one, other) => payload = payload.replacen(one, other, 1),
            }
        }
        let (owner, key) = self.signer;
        let pair = &PAIRS[owner][key % PAIRS[owner].len()];
        let mut token = match &self.secret {
            Some(secret) => hs256(&header, &payload, secret),
            None => jws(&header, &payload, pair),
        };
        for wire in &self.wires {
            token = rewired(&token, *wire);
        }
        let shown = self.workload.as_ref().map(|shown| shown.finish(&token));
        let (identities, workload_proofs) = shown.unwrap_or_default();
        Asked {
            identities,
            workload_proofs,
            method: self.method.to_owned(),
            path: self.path.clone(),
            query: self.query.map(str::to_owned),
            proofs: self.proof.as_ref().map(|proof| proof.finish(&token)).unwrap_or_default(),
            authorization: self.lines.iter().map(|line| line.replace("{}", &token)).collect(),
        }
    }

    /// Signs with a pair of the stranger's that has the same name and algorithm.
    pub(super) fn sign_as_stranger(&mut self) {
        let alg = PAIRS[self.signer.0][self.signer.1].alg();
        let twin = PAIRS[STRANGER].iter().position(|pair| pair.alg() == alg);
        self.signer = (STRANGER, twin.unwrap_or_default());
    }
}

fn with_member(object: &str, member: &str) -> String {
    object.replacen('{', &format!("{{{member},"), 1)
}

pub(super) fn rewired(token: &str, wire: Wire) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let count = parts.len();
    match wire {
        Wire::Flip(part, at) => {
            let part = &mut parts[part % count];
            if !part.is_empty() {
                let at = at % part.len();
                let other = if &part[at..=at] == "A" { "B" } else { "A" };
                part.replace_range(at..=at, other);
            }
        }
        Wire::Pad(part) => parts[part % count].push('='),
        Wire::Parts(2) => drop(parts.pop()),
        Wire::Parts(more) => parts.resize(count + more % 3, "e30".to_owned()),
        Wire::Empty(part) => parts[part % count].clear(),
        Wire::Loose => {
            let part = &mut parts[count - 1];
            if let Some(at) = part.pop().and_then(|last| ALPHABET.find(last)) {
                part.push_str(&ALPHABET[at ^ 1..=at ^ 1]);
            }
        }
        Wire::Blank => parts[1.min(count - 1)] = b64(b"{}"),
    }
    parts.join(".")
}
