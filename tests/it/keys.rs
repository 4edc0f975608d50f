//! Keys of issuers: fetched seldom, kept when the issuer is away, dropped when it drops them.

use std::thread;
use std::time::Duration;

use crate::support::jwks::{JwksServer, set};
use crate::support::{Echo, Gate, Key, Setup, Token, eventually};

fn start(refresh: &str) -> (Echo, JwksServer, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let server = JwksServer::start(&[&setup.key]);
    setup.keys = server.line();
    setup.issuer = format!("refresh = \"{refresh}\"");
    (echo, server, setup.start())
}

fn status(gate: &Gate, token: &str) -> u16 {
    gate.get("/shop/products/1", token).status
}

#[test]
fn ver_008_a_thousand_unknown_kids_cause_one_fetch() {
    let (echo, server, gate) = start("1h");
    assert_eq!(status(&gate, &gate.token()), 200);
    let (fetched, arrived) = (server.fetches(), echo.bytes().len());
    let stranger = Key::new("ES256", "k1");
    thread::scope(|scope| {
        for worker in 0..20 {
            let (gate, stranger) = (&gate, &stranger);
            scope.spawn(move || {
                for n in 0..50 {
                    let token = Token::new().header("kid", format!("{worker}-{n}")).sign(stranger);
                    assert_eq!(status(gate, &token), 401);
                }
            });
        }
    });
    assert_eq!(server.fetches(), fetched + 1);
    assert_eq!(echo.bytes().len(), arrived);
}

#[test]
fn ver_008_a_new_key_works_with_its_first_token() {
    let (_echo, server, gate) = start("1h");
    assert_eq!(status(&gate, &gate.token()), 200);
    let new = Key::new("EdDSA", "k2");
    server.serve(set(&[&gate.setup.key, &new]));
    assert_eq!(status(&gate, &Token::new().sign(&new)), 200);
}

#[test]
fn ver_009_known_keys_serve_while_the_issuer_is_away() {
    let (_echo, server, gate) = start("1s");
    let token = gate.token();
    assert_eq!(status(&gate, &token), 200);
    server.fail(true);
    let fetched = server.fetches();
    eventually("a failed refresh", || (server.fetches() > fetched).then_some(()));
    assert_eq!(status(&gate, &token), 200, "remembered");
    let other = Token::new().claim("jti", "another").sign(&gate.setup.key);
    assert_eq!(status(&gate, &other), 200, "verified anew");
}

#[test]
fn ver_009_keys_that_were_never_had_are_503_until_they_are() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let server = JwksServer::start(&[&setup.key]);
    server.fail(true);
    setup.keys = server.line();
    setup.issuer = "refresh = \"1s\"".to_owned();
    let gate = setup.start();
    assert_eq!(status(&gate, &gate.token()), 503);
    assert_eq!(gate.admin("GET", "/readyz").status, 503);
    echo.assert_untouched("no keys");
    server.fail(false);
    eventually("keys", || (status(&gate, &gate.token()) == 200).then_some(()));
    assert_eq!(gate.admin("GET", "/readyz").status, 200);
}

#[test]
fn ver_010_026_a_removed_key_stops_working_also_for_remembered_tokens() {
    let (echo, server, gate) = start("1s");
    let token = gate.token();
    assert_eq!(status(&gate, &token), 200);
    let new = Key::new("ES256", "k2");
    server.serve(set(&[&new]));
    thread::sleep(Duration::from_millis(2_500));
    let arrived = echo.bytes().len();
    assert_eq!(status(&gate, &token), 401);
    assert_eq!(echo.bytes().len(), arrived);
    assert_eq!(status(&gate, &Token::new().sign(&new)), 200);
}

#[test]
fn ver_026_a_remembered_token_expires_on_time() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "leeway = \"0s\"".to_owned();
    let gate = setup.start();
    let token = Token::new().claim("exp", crate::support::issuer::now() + 2).sign(&gate.setup.key);
    assert_eq!(status(&gate, &token), 200);
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!(status(&gate, &token), 401);
    assert_eq!(echo.requests().len(), 1);
}

#[test]
fn keys_for_other_uses_never_verify() {
    let echo = Echo::start();
    let setup = Setup::new(&echo);
    let mut document = set(&[&setup.key]);
    document["keys"][0]["use"] = "enc".into();
    setup.write("jwks.json", &document.to_string());
    let gate = setup.start();
    assert_eq!(status(&gate, &gate.token()), 401);
    echo.assert_untouched("use = enc");
}

#[test]
fn keys_are_discovered_from_the_issuers_metadata() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    let server = JwksServer::start(&[&setup.key]);
    let (issuer, mut both) = (server.url(), set(&[&setup.key]));
    both["issuer"] = issuer.as_str().into();
    both["jwks_uri"] = format!("{issuer}/keys").into();
    server.serve(both);
    setup.more = format!(
        "[[issuer]]\nissuer = \"{issuer}\"\n[[resource]]\nid = \"https://tools.test/found\"\n\
         upstream = \"shop\"\nissuers = [\"{issuer}\"]\nauthorization = \"scope\"\n\
         [[resource.operation]]\nmethod = \"GET\"\npath = \"/**\"\n"
    );
    let gate = setup.start();
    let token = Token::new()
        .without("authorization_details")
        .claim("iss", issuer)
        .claim("aud", "https://tools.test/found");
    assert_eq!(gate.get("/found/1", &token.sign(&gate.setup.key)).status, 200);
    assert!(server.paths().contains(&"/.well-known/oauth-authorization-server".to_owned()));
}
