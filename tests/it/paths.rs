//! The path (verification.md step 3): refused where it is ambiguous, otherwise sent as it was judged.

use crate::support::{Echo, Setup, Token, request};

#[test]
fn ver_001_what_is_not_routed_is_404_and_never_forwarded() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    for path in ["/", "/other", "/shop", "/shop/none", "/shopx/any/1", "/shop/product/1"] {
        let response = gate.get(path, &gate.token());
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.error(), "not_found", "{path}");
        assert_eq!(gate.decision(&response.decision_id())["reason"], "no_route", "{path}");
    }
    echo.assert_untouched("no route");
}

#[test]
fn ver_001_another_method_is_405_and_names_the_methods() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let authorization = format!("Bearer {}", gate.token());
    let text = request("DELETE", "/shop/products/1", &[("Authorization", &authorization)], "");
    let response = gate.send(text);
    assert_eq!(response.status, 405);
    let allow: Vec<&str> = response.header("allow").unwrap().split(", ").collect();
    assert!(allow.contains(&"GET") && allow.contains(&"HEAD") && !allow.contains(&"DELETE"));
    echo.assert_untouched("405");
}

#[test]
fn ver_002_ambiguous_paths_are_refused() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let token = gate.token();
    for path in [
        "/shop/any/a%2Fb",
        "/shop/any/a%2fb",
        "/shop/any/a%5Cb",
        "/shop/any/a%5cb",
        "/shop/any/a\\b",
        "/shop/any/../orders/1",
        "/shop/any/./1",
        "/shop/any/..",
        "/shop/any/.",
        "/shop/any/%2e%2e/x",
        "/shop/any/%2E%2e/x",
        "/shop/any/.%2e/x",
        "/shop/any/%2e/x",
        "/shop/any/%00",
        "/shop/any/a%00b",
        "/shop/any/%252F",
        "/shop/any/%252e%252e/x",
        "/shop/any/%25%32%66",
        "/shop//any/1",
        "//shop/any/1",
        "/shop/any//1",
        "/shop/any/%",
        "/shop/any/%2",
        "/shop/any/%zz",
        "/shop/any/%u002f",
        "/shop/any/%ff",
        "/shop/any/%c0%af",
        "/shop/any/%ed%a0%80",
        "/shop/any/a;b=1",
        "/shop/any/a%3Bb",
        "/shop/any/%0d%0a",
        "/shop/any/%7f",
        "/shop/any/%09",
        "/shop/any/..;/x",
        "/../shop/any/1",
    ] {
        let response = gate.get(path, &token);
        assert_eq!(response.status, 400, "{path}");
        let decision = gate.decision(&response.decision_id());
        // A character that no target can hold is found where the head is read.
        assert!(
            ["path_ambiguous", "http_malformed"].contains(&decision["reason"].as_str().unwrap()),
            "{path}"
        );
        echo.assert_untouched(path);
    }
}

#[test]
fn ver_002_what_was_judged_is_what_is_sent() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.url = format!("\"{}/api/v2\"", echo.url());
    let gate = setup.start();
    let token = gate.token();
    for (sent, arrived) in [
        ("/shop/any/1", "/api/v2/any/1"),
        ("/shop/any/1/", "/api/v2/any/1/"),
        ("/shop/any/a%20b", "/api/v2/any/a%20b"),
        ("/shop/any/%C3%A9", "/api/v2/any/%C3%A9"),
        ("/shop/any/a+b", "/api/v2/any/a+b"),
        ("/shop/any/a:b@c!$&'()*,=", "/api/v2/any/a:b@c!$&'()*,="),
        ("/shop/any/-._~", "/api/v2/any/-._~"),
        ("/shop/any/...", "/api/v2/any/..."),
        ("/shop/any/1?", "/api/v2/any/1?"),
        ("/shop/any/1?a=1&a=2", "/api/v2/any/1?a=1&a=2"),
        ("/shop/any/1?q=%2F%2e%2E/../;x=%00&?", "/api/v2/any/1?q=%2F%2e%2E/../;x=%00&?"),
        ("/shop/any/1?u=http://x.test/%7e", "/api/v2/any/1?u=http://x.test/%7e"),
    ] {
        let response = gate.get(sent, &token);
        assert_eq!(response.status, 200, "{sent}: {}", response.everything());
        let line = echo.requests().pop().unwrap().line;
        assert_eq!(line, format!("GET {arrived} HTTP/1.1"), "{sent}");
    }
}

#[test]
fn ver_002_path_parameters_pass_where_the_resource_allows_them() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "path_parameters = true".to_owned();
    let gate = setup.start();
    assert_eq!(gate.get("/shop/any/a;b=1", &gate.token()).status, 200);
    assert!(echo.only().line.contains("/any/a;b=1 "));
}

#[test]
fn ver_002_a_glob_star_stays_in_its_segment_and_is_never_empty() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = r#"authorization = "scope""#.to_owned();
    let gate = setup.start();
    let token = Token::new().without("authorization_details").sign(&gate.setup.key);
    for (path, status) in [
        ("/shop/orders/1", 200),
        ("/shop/orders/1/lines", 404),
        ("/shop/orders/", 405),
        ("/shop/ORDERS/1", 404),
        ("/shop/products/a/b/c", 200),
    ] {
        let found = gate.get(path, &token).status;
        assert!(found == status || (status == 405 && found == 404), "{path}: {found}");
    }
}
