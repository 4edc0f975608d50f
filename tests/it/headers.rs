//! Headers (verification.md steps 4, 9 and 29): which are refused, which are removed, which are made.

use crate::support::client::Response;
use crate::support::{Echo, Gate, Setup, request};

fn call(gate: &Gate, lines: &[(&str, &str)]) -> Response {
    let authorization = format!("Bearer {}", gate.token());
    let mut all = vec![("Authorization", authorization.as_str())];
    all.extend(lines);
    gate.send(request("GET", "/shop/any/1", &all, ""))
}

#[test]
fn ver_004_override_and_identity_headers_never_arrive() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"strip = ["x-internal"]"#.to_owned();
    let gate = setup.start();
    let removed = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Opgate-Decision-Id",
        "X-Opgate-User",
        "X-Opgate-Agent",
        "X-Opgate-Anything",
        "X-User-Id",
        "X-Forwarded-User",
        "X-Internal",
        "Cookie",
        "Proxy-Authorization",
        "Keep-Alive",
        "Proxy-Connection",
        // To some servers the same as the header that was judged.
        "Content_Type",
        "Content_Encoding",
        "Content_Length",
    ];
    for name in removed {
        let response = call(&gate, &[(name, "spoofed")]);
        assert_eq!(response.status, 200, "{name}: {}", response.everything());
        let last = echo.requests().pop().unwrap();
        let values = last.all(&name.to_ascii_lowercase());
        assert!(!values.contains(&"spoofed"), "{name}: {last:?}");
    }
    let text = String::from_utf8(echo.bytes()).unwrap();
    assert!(!text.contains("spoofed"), "{text}");
}

#[test]
fn ver_004_override_headers_are_refused_where_the_resource_is_strict() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "strict_override = true".to_owned();
    let gate = setup.start();
    for name in ["X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL"] {
        let response = call(&gate, &[(name, "DELETE")]);
        assert_eq!(response.status, 400, "{name}");
        assert_eq!(gate.decision(&response.decision_id())["reason"], "method_override");
    }
    echo.assert_untouched("strict override");
}

#[test]
fn ver_004_a_query_that_makes_another_method_of_a_post_is_refused() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let bearer = format!("Bearer {}", gate.token());
    let send = |method: &str, query: &str| {
        let lines = [("Authorization", bearer.as_str())];
        gate.send(request(method, &format!("/shop/orders?{query}"), &lines, ""))
    };
    for query in [
        "_method=DELETE",
        "a=1&_METHOD=delete",
        "a=1;_method=delete",
        "%5Fmethod=DELETE",
        "_method[]=DELETE",
        "+_method=DELETE",
        "_method",
        "$httpMethod=DELETE",
        "X-HTTP-Method-Override=DELETE",
    ] {
        let response = send("POST", query);
        assert_eq!(response.status, 400, "{query}: {}", response.everything());
        let record = gate.decision(&response.decision_id());
        assert_eq!(
            (&record["reason"], &record["about"]),
            (&"method_override".into(), &"query".into())
        );
    }
    echo.assert_untouched("another method");
    for query in ["method=DELETE", "my_method=1", "a=_method"] {
        assert_ne!(send("POST", query).status, 400, "{query}");
    }
}

#[test]
fn ver_004_what_is_told_about_the_way_is_made_by_the_gate() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = call(
        &gate,
        &[
            ("Forwarded", "for=6.6.6.6;host=evil.test"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-Host", "evil.test"),
            ("X-Forwarded-Proto", "evil"),
            ("X-Forwarded-Port", "666"),
            ("X-Forwarded-Prefix", "/evil"),
            ("X-Forwarded-Server", "evil"),
            ("X-Real-IP", "6.6.6.6"),
        ],
    );
    assert_eq!(response.status, 200);
    let arrived = echo.only();
    assert_eq!(arrived.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(arrived.all("x-forwarded-host"), ["tools.test"]);
    assert_eq!(arrived.all("forwarded").len(), 1);
    assert!(arrived.all("forwarded")[0].contains("127.0.0.1"));
    let text = format!("{arrived:?}");
    assert!(!text.contains("6.6.6.6") && !text.contains("evil"), "{text}");
}

#[test]
fn ver_004_a_trusted_hop_is_believed_and_added_to() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.gate = r#"trusted_hops = ["127.0.0.0/8"]"#.to_owned();
    let gate = setup.start();
    assert_eq!(call(&gate, &[("X-Forwarded-For", "192.0.2.7")]).status, 200);
    assert!(echo.only().all("x-forwarded-for")[0].starts_with("192.0.2.7"));
    let record = gate.decisions().pop().unwrap();
    assert_eq!(record["client"]["address"], "192.0.2.7");
}

#[test]
fn ver_004_no_way_is_told_where_none_is_configured() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.gate = r#"forwarded = "none""#.to_owned();
    let gate = setup.start();
    assert_eq!(call(&gate, &[("X-Forwarded-For", "6.6.6.6")]).status, 200);
    let arrived = echo.only();
    assert!(!arrived.has("x-forwarded-for") && !arrived.has("forwarded"));
}

#[test]
fn connection_nominated_headers_end_at_the_gate() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = call(&gate, &[("Connection", "x-hop, close"), ("X-Hop", "1"), ("X-End", "2")]);
    assert_eq!(response.status, 200);
    let arrived = echo.only();
    assert!(!arrived.has("x-hop"));
    assert_eq!(arrived.all("x-end"), ["2"]);
}

#[test]
fn connection_may_not_nominate_what_decides() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for name in ["authorization", "Host", "content-length", "Content-Type", "x-forwarded-for"] {
        let response = call(&gate, &[("Connection", name)]);
        assert_eq!(response.status, 400, "{name}");
        assert_eq!(gate.decision(&response.decision_id())["reason"], "header_nominated", "{name}");
    }
    echo.assert_untouched("nominated");
}

#[test]
fn ver_006_several_credentials_are_refused() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let bearer = format!("Bearer {}", gate.token());
    let joined = format!("{bearer}, {bearer}");
    for (case, lines) in [
        ("two lines", vec![("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())]),
        ("two schemes", vec![("Authorization", bearer.as_str()), ("authorization", "Basic eDp5")]),
        ("joined by a comma", vec![("Authorization", joined.as_str())]),
    ] {
        let response = gate.send(request("GET", "/shop/any/1", &lines, ""));
        assert_eq!(response.status, 400, "{case}");
        assert_eq!(response.error(), "invalid_request", "{case}");
    }
    echo.assert_untouched("several credentials");
}

#[test]
fn duplicates_of_what_decides_are_refused() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for name in ["Host", "Content-Type"] {
        let response = call(&gate, &[(name, "tools.test"), (name, "tools.test")]);
        assert_eq!(response.status, 400, "{name}");
    }
    echo.assert_untouched("duplicates");
}

#[test]
fn ver_007_a_token_in_the_query_is_refused_and_never_written() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = gate.token();
    for target in [
        format!("/shop/any/1?access_token={token}"),
        format!("/shop/any/1?a=1&access_token={token}"),
        format!("/shop/any/1?access%5Ftoken={token}"),
        format!("/shop/any/1?a=1&%61ccess_token={token}&b=2"),
    ] {
        let bearer = format!("Bearer {token}");
        for lines in [vec![], vec![("Authorization", bearer.as_str())]] {
            let response = gate.send(request("GET", &target, &lines, ""));
            assert_eq!(response.status, 400, "{target}");
            assert_eq!(response.error(), "invalid_request", "{target}");
        }
    }
    echo.assert_untouched("token in the query");
    let secret = token.rsplit('.').next().unwrap();
    assert!(!gate.stderr().contains(secret), "the token stands in the log");
    assert!(!gate.listing().contains(secret), "the token stands in the journal");
}

#[test]
fn ver_024_the_agents_token_never_arrives() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let proofs = [
        "DPoP",
        "DPoP-Nonce",
        "Workload-Identity-Token",
        "Workload-Proof-Token",
        "X-Workload-Identity",
        "X-Workload-Proof",
        "X-Agent-Operation-Token",
    ];
    for name in proofs {
        let response = call(&gate, &[(name, "proof")]);
        assert!(matches!(response.status, 200 | 400 | 401), "{name}: {}", response.status);
    }
    assert_eq!(call(&gate, &[]).status, 200);
    for arrived in echo.requests() {
        assert!(!arrived.has("authorization"), "{arrived:?}");
        for name in proofs {
            assert!(!arrived.has(&name.to_ascii_lowercase()), "{arrived:?}");
        }
    }
}

#[test]
fn the_upstream_gets_its_own_host_and_no_hop_by_hop_headers() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    assert_eq!(call(&gate, &[("TE", "gzip"), ("X-Mine", "kept")]).status, 200);
    let arrived = echo.only();
    assert_eq!(arrived.all("host"), [echo.authority()]);
    assert_eq!(arrived.all("x-mine"), ["kept"]);
    for name in ["te", "upgrade", "keep-alive", "transfer-encoding", "proxy-connection"] {
        assert!(!arrived.has(name), "{name}: {arrived:?}");
    }
}

#[test]
fn upgrades_are_refused_where_they_are_not_allowed() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let response = call(&gate, &[("Connection", "upgrade"), ("Upgrade", "websocket")]);
    assert_eq!(response.status, 501);
    assert_eq!(gate.decision(&response.decision_id())["reason"], "upgrade_refused");
    echo.assert_untouched("upgrade");
}

#[test]
fn expect_is_answered_by_the_decision() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let head = |authorization: &str| {
        format!(
            "POST /shop/any/1 HTTP/1.1\r\nHost: tools.test\r\n{authorization}Content-Length: 3\r\n\
             Expect: 100-continue\r\n\r\n"
        )
    };
    let refused = gate.send(head(""));
    assert_eq!(refused.status, 401, "refused before a body is asked for");
    echo.assert_untouched("refused");
    let mut connection = gate.connect();
    let go_on = connection.call(head(&format!("Authorization: Bearer {}\r\n", gate.token())));
    assert_eq!(go_on.status, 100);
    assert_eq!(connection.call("abc").status, 200);
    assert_eq!(echo.only().body, b"abc");
}

#[test]
fn ver_024_trailers_cannot_carry_what_headers_may_not() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let mut connection = gate.connect();
    let head = format!(
        "POST /shop/any/1 HTTP/1.1\r\nHost: tools.test\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\nTrailer: authorization, x-opgate-user, x_user_id, x-sum\r\n\r\n",
        gate.token()
    );
    let body = "3\r\nabc\r\n0\r\nAuthorization: Bearer stolen\r\nX-Opgate-User: root\r\n\
                X_User_Id: root\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(connection.call(head + body).status, 200);
    let arrived = String::from_utf8(echo.bytes()).unwrap().to_ascii_lowercase();
    assert!(arrived.contains("x-sum: 7"), "{arrived}");
    assert!(!arrived.contains("stolen") && !arrived.contains("root"), "{arrived}");
}

/// `resource.strip`, the header of the token and that of the tool's credential are kept out of trailers
/// too, in every spelling that a server may read alike.
#[test]
fn ver_024_trailers_cannot_carry_what_this_resource_keeps_from_its_headers() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.write("shop.secret", "the-tools-own");
    setup.upstream =
        "credential = { header = \"x-api-key\", secret = { file = \"shop.secret\" } }".to_owned();
    setup.resource = "strip = [\"x-tenant\"]\ntoken_header = \"x-operation\"".to_owned();
    let gate = setup.start();
    let mut connection = gate.connect();
    let head = format!(
        "POST /shop/any/1 HTTP/1.1\r\nHost: tools.test\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\
         Trailer: x-tenant, x_tenant, x-api_key, x-api-key, x-operation, x-sum\r\n\r\n",
        gate.token()
    );
    let body = "3\r\nabc\r\n0\r\nX-Tenant: stolen\r\nX_Tenant: stolen\r\nx-api_key: stolen\r\n\
                X-Api-Key: stolen\r\nX-Operation: stolen\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(connection.call(head + body).status, 200);
    let arrived = String::from_utf8(echo.bytes()).unwrap().to_ascii_lowercase();
    assert!(arrived.contains("x-sum: 7") && arrived.contains("the-tools-own"), "{arrived}");
    assert!(!arrived.contains("stolen"), "{arrived}");
}
