//! Client certificates (RFC 8705, RFC 9440): asked for, verified, bound to, and passed on by proxies.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::issuer::now;
use crate::support::proof::hash;
use crate::support::tls::{Authority, Leaf};
use crate::support::{Connection, Echo, Gate, Response, Setup, Token, eventually, request};

const TARGET: &str = "/shop/products/42";

fn bound_to(gate: &Gate, leaf: &Leaf) -> String {
    Token::new().claim("cnf", json!({"x5t#S256": hash(&leaf.der)})).sign(&gate.setup.key)
}

fn call(mut connection: Connection, token: &str) -> Response {
    connection.call(request("GET", TARGET, &[("Authorization", &format!("Bearer {token}"))], ""))
}

fn start(client: &str) -> (Echo, Gate, Authority) {
    let echo = Echo::start();
    let authority = Authority::new();
    let mut setup = Setup::new(&echo);
    authority.issue(&["tools.test"], setup.dir.path(), "tls");
    setup.write("agents.pem", &authority.pem());
    setup.gate = format!(r#"tls = {{ certificate = "tls.crt", key = "tls.key", {client} }}"#);
    (echo, setup.start(), authority)
}

fn refused(response: &Response, case: &str) {
    assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"), "{case}");
}

#[test]
fn ver_014_a_token_is_bound_to_the_certificate_of_the_connection() {
    let (echo, gate, authority) = start(r#"client_certificate = "request""#);
    let (own, other) =
        (Leaf::self_signed("spiffe://td.test/a"), Leaf::self_signed("spiffe://td.test/a"));
    let token = bound_to(&gate, &own);
    refused(&call(authority.connect(&gate, "tools.test").0, &token), "no certificate");
    let with =
        |leaf: &Leaf| authority.connect_as(gate.address(), "tools.test", Some(leaf)).unwrap();
    refused(&call(with(&other), &token), "another certificate");
    let mut forged = authority.connect(&gate, "tools.test").0;
    let lines = [("Authorization", format!("Bearer {token}")), ("Client-Cert", own.field())];
    let lines: Vec<(&str, &str)> =
        lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
    refused(&forged.call(request("GET", TARGET, &lines, "")), "a forged header");
    echo.assert_untouched("not proven");
    let response = call(with(&own), &token);
    assert_eq!(response.status, 200, "{}", response.everything());
    assert_eq!(call(with(&other), &gate.token()).status, 200, "an unbound token needs none");
    let proofs: Vec<_> =
        gate.decisions().iter().map(|d| d["proof"]["mtls"]["key"].clone()).collect();
    assert!(proofs.iter().filter(|key| key.is_string()).count() >= 2, "{proofs:?}");
}

#[test]
fn ver_014_modes_of_the_client_certificate() {
    let stranger = Leaf::self_signed("spiffe://td.test/a");
    for (mode, without, by_stranger) in [
        (r#"client_certificate = "request""#, true, true),
        (r#"client_certificate = "verify", client_ca = "agents.pem""#, true, false),
        (r#"client_certificate = "require", client_ca = "agents.pem""#, false, false),
    ] {
        let (_echo, gate, authority) = start(mode);
        let own = authority.leaf("spiffe://td.test/a");
        let passes = |leaf: Option<&Leaf>| {
            let connection = authority.connect_as(gate.address(), "tools.test", leaf);
            let token = gate.token();
            let line = format!("Bearer {token}");
            let request = request("GET", TARGET, &[("Authorization", &line)], "");
            connection.is_some_and(|mut connection| {
                connection.send(request).try_response().is_some_and(|r| r.status == 200)
            })
        };
        assert_eq!(passes(None), without, "{mode}: none");
        assert_eq!(passes(Some(&stranger)), by_stranger, "{mode}: a stranger's");
        assert!(passes(Some(&own)), "{mode}: one of the authority");
        let bound = bound_to(&gate, &own);
        let connection = authority.connect_as(gate.address(), "tools.test", Some(&own)).unwrap();
        assert_eq!(call(connection, &bound).status, 200, "{mode}: bound to it");
    }
}

#[test]
fn ver_014_a_passed_on_certificate_counts_from_listed_peers_alone() {
    let echo = Echo::start();
    let (own, other) =
        (Leaf::self_signed("spiffe://td.test/a"), Leaf::self_signed("spiffe://td.test/b"));
    let start = |peers: &str| {
        let mut setup = Setup::new(&echo);
        setup.gate = format!("client_certificate_header = {{ peers = [{peers:?}] }}");
        setup.start()
    };
    let call = |gate: &Gate, fields: &[String]| {
        let token = bound_to(gate, &own);
        let mut lines = vec![("Authorization", format!("Bearer {token}"))];
        lines.extend(fields.iter().map(|field| ("Client-Cert", field.clone())));
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, v.as_str())).collect();
        gate.send(request("GET", TARGET, &lines, ""))
    };
    let (listed, stranger) = (start("127.0.0.0/8"), start("192.0.2.0/24"));
    refused(&call(&stranger, &[own.field()]), "from a peer that is not listed");
    for (case, fields) in [
        ("none", vec![]),
        ("another", vec![other.field()]),
        ("two", vec![own.field(), own.field()]),
        ("garbage", vec![":AAAA:".to_owned()]),
    ] {
        refused(&call(&listed, &fields), case);
    }
    echo.assert_untouched("not proven");
    assert_eq!(call(&listed, &[own.field()]).status, 200);
    let pem = percent_encoding::utf8_percent_encode(&own.pem, percent_encoding::NON_ALPHANUMERIC);
    assert_eq!(call(&listed, &[pem.to_string()]).status, 200, "as nginx writes it");
    assert!(echo.requests().iter().all(|received| !received.has("client-cert")));
}

#[test]
fn ver_014_del_010_a_certificate_that_ended_counts_no_longer_on_the_connection_it_began() {
    let (echo, gate, authority) =
        start(r#"client_certificate = "verify", client_ca = "agents.pem""#);
    let leaf = authority.leaf_until("spiffe://td.test/a", now() + 4);
    let token = bound_to(&gate, &leaf);
    let line = format!("Bearer {token}");
    let get = request("GET", TARGET, &[("Authorization", &line)], "");
    let mut connection = authority.connect_as(gate.address(), "tools.test", Some(&leaf)).unwrap();
    assert_eq!(connection.call(&get).status, 200);
    let response = eventually("the certificate to end", || {
        let response = connection.call(&get);
        (response.status != 200).then_some(response)
    });
    refused(&response, "on the same connection");
    let before = echo.requests().len();
    refused(&connection.call(&get), "again");
    assert_eq!(echo.requests().len(), before);
    assert!(
        authority
            .connect_as(gate.address(), "tools.test", Some(&leaf))
            .is_none_or(|mut fresh| fresh.send(&get).try_response().is_none()),
        "and begins no other"
    );
}

#[test]
fn err_013_a_resource_can_demand_certificates_and_says_that_it_takes_them() {
    let echo = Echo::start();
    let own = Leaf::self_signed("spiffe://td.test/a");
    let mut setup = Setup::new(&echo);
    setup.gate =
        r#"client_certificate_header = { header = "X-Cert", peers = ["127.0.0.1"] }"#.to_owned();
    setup.resource = r#"proofs = ["mtls"]"#.to_owned();
    let gate = setup.start();
    let call = |token: &str| {
        let (line, field) = (format!("Bearer {token}"), own.field());
        gate.send(request("GET", TARGET, &[("Authorization", &line), ("X-Cert", &field)], ""))
    };
    refused(&call(&gate.token()), "an unbound token");
    echo.assert_untouched("unbound");
    assert_eq!(call(&bound_to(&gate, &own)).status, 200);
    assert!(!echo.only().has("x-cert"));
    let metadata =
        gate.send(request("GET", "/.well-known/oauth-protected-resource/shop", &[], "")).json();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(metadata["dpop_bound_access_tokens_required"], false);
}

impl Leaf {
    /// The value of `Client-Cert` (RFC 9440 §2.2).
    fn field(&self) -> String {
        format!(":{}:", BASE64_STANDARD.encode(&self.der))
    }
}
