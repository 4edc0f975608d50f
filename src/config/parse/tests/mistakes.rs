//! Every mistake in a configuration, and what is said of it.

/// What is written instead of what in `small.toml`, and the first line of the first problem, less the file.
pub(super) const BAD: &[(&str, &str, &str)] = &[
    (
        r#"origin = "https://tools.example.com""#,
        r#"orgin = "https://tools.example.com""#,
        "1:1: gate.origin: missing: this key is required",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        r#"listen = "localhost:8443""#,
        "2:10: gate.listen: `localhost:8443` is not an endpoint",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        r#"listen = ["127.0.0.1:8443", "127.0.0.1:8443"]"#,
        "2:29: gate.listen[1]: an earlier listener has this endpoint",
    ),
    (r#"listen = "127.0.0.1:8443""#, "listen = []", "2:10: gate.listen: expected at least one"),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\ndrain = 30",
        "3:9: gate.drain: expected a duration such as `250ms`, `30s`, `5m`, `24h` or `7d`, found integer",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nforwarded = \"legcy\"",
        "3:13: gate.forwarded: `legcy` is not one of `both`, `none`, `standard`, `legacy`",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nhosts = [\"https://other\"]",
        "3:10: gate.hosts[0]: `https://other` is not an authority",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\ntrusted_hops = [\"10.0.0.0/40\"]",
        "3:17: gate.trusted_hops[0]: `10.0.0.0/40` is not a network",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\ntls = { certificate = \"a\", key = \"b\", client_certificate = \"verify\" }",
        "3:60: gate.tls.client_certificate: `verify` needs `client_ca`: the roots to verify against",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\ntls = { certificate = \"a\", key = \"b\", client_ca = \"c\" }",
        "3:51: gate.tls.client_ca: does nothing while `client_certificate` is `none`",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        r#"origin = "https://tools.example.com/""#,
        "3:10: gate.origin: `https://tools.example.com/` has a path",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        r#"origin = "ftp://tools.example.com""#,
        "3:10: gate.origin: `ftp://tools.example.com` is not a URL that begins with `http://` or `https://`",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[admin]\nlisten = \"127.0.0.1:8443\"",
        "5:10: admin.listen: is an endpoint of the gate too",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[limits]\nconnections = 0",
        "5:15: limits.connections: expected a whole number from 1 to 1000000",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[limits]\nheader_bytes = \"64KB\"",
        "5:16: limits.header_bytes: `64KB` is not a number of bytes such as 4096, `64KiB` or `1MiB`",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[audit]\ninterval = \"1s\"",
        "5:12: audit.interval: `1s` is out of range: from 1ms to 100ms",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[audit]\ntag_key = { file = \"a\", env = \"B\" }",
        "5:11: audit.tag_key: exactly one of `file` and `env` says where the secret is",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\n[audit]\ntag_key = {}",
        "5:11: audit.tag_key: exactly one of `file` and `env` says where the secret is",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        r#"issuer = "http://as.example.com""#,
        "5:10: issuer[0].issuer: `http://as.example.com` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = [\"https://as.example.com\"]",
        "6:22: issuer[0].status_list_hosts[0]: `https://as.example.com` is not an authority",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = []",
        "6:21: issuer[0].status_list_hosts: allows no host, so that every token with a status list is refused",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", secret = { env = \"S\" }, key_id = \"k\" }",
        "6:108: issuer[0].introspection.key_id: does nothing without `key`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { agent_id_schemes = [] }",
        "7:35: issuer[0].delegation.agent_id_schemes: allows no scheme, so that no chain is ever valid",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { agent_id_schemes = [\"wit\", \"Spiffe://\"] }",
        "7:43: issuer[0].delegation.agent_id_schemes[1]: `Spiffe://` is not a URI scheme",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\n[[workload_issuer]]\nissuer = \"wimse://idp.example.com\"\njwks_file = \"b\"",
        "20:10: workload_issuer[1].issuer: this trust domain is already on line 17",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\ntrust_domain = \"td\"\njwks_file = \"a\"\n[[workload_issuer]]\nissuer = \"https://other.example.com\"\ntrust_domain = \"td\"\njwks_file = \"b\"",
        "22:16: workload_issuer[1].trust_domain: this trust domain is already on line 18",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nrevocation_feed = \"http://as.example.com/r\"",
        "6:19: issuer[0].revocation_feed: `http://as.example.com/r` is not `https`: whoever is on the way could change the answers",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nrevocation_feed = \"https://as.example.com/r\"\nrevocation_max_age = \"2s\"",
        "7:22: issuer[0].revocation_max_age: is not longer than `revocation_interval`: every token would be refused between two polls",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\" }",
        "6:17: issuer[0].introspection: exactly one of `secret`, `key` and `client_certificate` says who asks",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", client_certificate = \"c\" }",
        "6:17: issuer[0].introspection: `client_certificate` and `client_key` stand together",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", secret = { env = \"S\" }, cache = \"2m\" }",
        "6:107: issuer[0].introspection.cache: `2m` is out of range: from 0s to 1m",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nopaque_tokens = \"https://as.example.com\"",
        "12:17: resource[0].opaque_tokens: `https://as.example.com` has no `[issuer.introspection]` to be asked at",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nopaque_tokens = \"https://as.example.org\"",
        "12:17: resource[0].opaque_tokens: no `[[issuer]]` is `https://as.example.org`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nleeway = \"3m\"",
        "6:10: issuer[0].leeway: `3m` is out of range: from 0s to 2m",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nalgorithms = [\"HS256\"]",
        "6:15: issuer[0].algorithms[0]: `HS256` is symmetric: who can verify with it can also forge",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nalgorithms = [\"none\"]",
        "6:15: issuer[0].algorithms[0]: `none` is no signature, and is never accepted",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nalgorithms = [\"ES265\"]",
        "6:15: issuer[0].algorithms[0]: `ES265` is not a supported algorithm",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nalgorithms = []",
        "6:14: issuer[0].algorithms: allows no algorithm, so that nothing is ever valid",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\njwks_file = \"a\"\njwks_uri = \"https://as.example.com/jwks\"",
        "7:12: issuer[0].jwks_uri: keys come from `jwks_file` or from `jwks_uri`, not from both",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\njwks_uri = \"http://as.example.com/jwks\"",
        "6:12: issuer[0].jwks_uri: `http://as.example.com/jwks` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\n[[issuer]]\nissuer = \"https://as.example.com\"",
        "7:10: issuer[1].issuer: this issuer is already on line 5",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nprofile = \"open-agent-auth\"",
        "6:11: issuer[0].profile: nothing says which workloads may present this issuer's tokens",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nprofile = \"open-agent-auth\"\nbinding_service = \"https://as.example.com\"\nagents = [\"wimse://a\"]",
        "8:10: issuer[0].agents: does nothing beside `binding_service`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nagents = [\"wimse://a\"]",
        "6:10: issuer[0].agents: does nothing without `profile = \"open-agent-auth\"`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nprofile = \"open-agent-auth\"\nbinding_service = \"http://as.example.com\"",
        "7:19: issuer[0].binding_service: `http://as.example.com` is not `https`: whoever is on the way could change the answers",
    ),
    (
        r#"name = "shop""#,
        r#"name = "the shop""#,
        "7:8: upstream[0].name: `the shop` is not a name: at most 128 letters, digits and `-`, `.`, `_`, `/`, `:`",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\n[[upstream]]\nname = \"shop\"\nurl = \"unix:/run/x.sock\"",
        "10:8: upstream[1].name: an upstream of this name is already on line 7",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        r#"url = "127.0.0.1:9000""#,
        "8:7: upstream[0].url: `127.0.0.1:9000` is not a URL that begins with `http://` or `https://`",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        r#"url = "http://user:pass@127.0.0.1:9000""#,
        "8:7: upstream[0].url: has user information: a credential is never part of a URL",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\nclient_key = \"k\"",
        "9:14: upstream[0].client_key: needs `client_certificate` beside it",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\ncredential = { header = \"content-length\", secret = { env = \"A\" } }",
        "9:25: upstream[0].credential.header: `content-length` belongs to the connection or frames the message: the gate sets it itself",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\ncredential = { scheme = \"Bearer \", secret = { env = \"A\" } }",
        "9:25: upstream[0].credential.scheme: is not a scheme",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\ncredential = \"hunter2\"",
        "9:14: upstream[0].credential: expected a table, found string",
    ),
    (
        r#"url = "http://127.0.0.1:9000""#,
        "url = \"http://127.0.0.1:9000\"\nhealth = { path = \"healthz\" }",
        "9:19: upstream[0].health.path: `healthz` is not a path that begins with `/`",
    ),
    (
        r#"upstream = "shop""#,
        r#"upstream = "shpo""#,
        "11:12: resource[0].upstream: no `[[upstream]]` is `shpo`",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nissuers = [\"https://as.example.org\"]",
        "12:12: resource[0].issuers[0]: no `[[issuer]]` is `https://as.example.org`",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nauthorization_servers = [\"https://other.example\"]",
        "12:25: resource[0].authorization_servers: differs from the accepted issuers: `https://as.example.com` is accepted and not named; `https://other.example` is named and not accepted",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\ninsufficient_authorization_status = 402",
        "12:37: resource[0].insufficient_authorization_status: expected 401 or 403",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nmount = \"/a/../b\"",
        "12:9: resource[0].mount: path `/a/../b` has an empty, `.` or `..` segment",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nmount = \"/a%2Fb\"",
        "12:9: resource[0].mount: path `/a%2Fb` has a character that not every server reads alike",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nstrip = [\"transfer-encoding\"]",
        "12:10: resource[0].strip[0]: `transfer-encoding` belongs to the connection or frames the message: the gate sets it itself",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nscopes = [\"read write\"]",
        "12:11: resource[0].scopes[0]: `read write` is not a scope",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        r#"id = "https://tools.example.com/shop/""#,
        "10:6: resource[0].id: `https://tools.example.com/shop/` ends with `/`, and audiences are compared exactly",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        r#"id = "https://tools.example.com/shop?x=1""#,
        "10:6: resource[0].id: `https://tools.example.com/shop?x=1` has a query or a fragment",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        r#"id = "https://tools.example.com/*""#,
        "10:6: resource[0].id: `https://tools.example.com/*` has a `*`: an audience is one resource",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        r#"id = "https://tools.example.com/a@b""#,
        "10:6: resource[0].id: path `/a@b` has a character other than letters, digits, `-`, `.`, `_`, `~` and `/`",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        r#"id = "urn:shop""#,
        "10:6: resource[0].id: `urn:shop` is not a URL that begins with `http://` or `https://`",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource]]\nid = \"https://tools.example.com/shop\"\nmount = \"/other\"\nupstream = \"shop\"\n[[resource.operation]]\nmethod = \"GET\"\npath = \"/\"",
        "17:6: resource[1].id: a resource with this identifier is already on line 10",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource]]\nid = \"https://tools.example.com/other\"\nmount = \"/shop\"\nupstream = \"shop\"\n[[resource.operation]]\nmethod = \"GET\"\npath = \"/\"",
        "18:9: resource[1].mount: a resource at `tools.example.com/shop` is already on line 10",
    ),
    (
        r#"path = "/products/**""#,
        r#"path = "products""#,
        "15:8: resource[0].operation[0].path: a path glob begins with `/`",
    ),
    (
        r#"path = "/products/**""#,
        r#"path = "/products/{a}{b}""#,
        "15:8: resource[0].operation[0].path: a segment can hold one parameter: where two meet cannot be told",
    ),
    (
        r#"method = "GET""#,
        r#"method = "get""#,
        "14:10: resource[0].operation[0].method: `get` is not upper case, and methods are compared exactly",
    ),
    (
        r#"method = "GET""#,
        r#"method = ["GET", "GET"]"#,
        "14:18: resource[0].operation[0].method[1]: `GET` is listed twice",
    ),
    (
        r#"method = "GET""#,
        r#"method = "CONNECT""#,
        "14:10: resource[0].operation[0].method: `CONNECT` is never forwarded",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource.operation]]\naction = \"find\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "19:8: resource[0].operation[1].path: `GET /products/**` is `find` here and `search` on line 12",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource.operation]]\naction = \"one\"\nmethod = \"GET\"\npath = \"/products/1\"",
        "19:8: resource[0].operation[1].path: is never reached: `/products/**` on line 12 covers it",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource.deny]]\npath = \"/**\"",
        "15:8: resource[0].operation[0].path: can never be allowed: the denial of `/**` on line 16 covers it",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"\n",
        "",
        "9:1: resource[0]: has no operations, so that every call would be refused",
    ),
    (
        "[[upstream]]\nname = \"shop\"\nurl = \"http://127.0.0.1:9000\"\n",
        "",
        "1:1: upstream: at least one `[[upstream]]` is required",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = ",
        "3:10: string values must be quoted, expected literal string",
    ),
    (
        r#"origin = "https://tools.example.com""#,
        "origin = \"https://tools.example.com\"\nlisten = \"127.0.0.1:1\"",
        "4:1: duplicate key",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"x-client-cert\", peers = [] }",
        "3:65: gate.client_certificate_header.peers: believes nobody, so that no certificate is ever passed on",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"content-length\", peers = [\"10.0.0.0/8\"] }",
        "3:40: gate.client_certificate_header.header: `content-length` belongs to the connection or frames the message: the gate sets it itself",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"x-client-cert\", peers = [\"proxy.internal\"] }",
        "3:66: gate.client_certificate_header.peers[0]: `proxy.internal` is not a network",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"x-client-cert\" }",
        "3:29: gate.client_certificate_header.peers: missing: this key is required",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"x client cert\", peers = [\"10.0.0.0/8\"] }",
        "3:40: gate.client_certificate_header.header: `x client cert` is not a header name",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { header = \"x-client-cert\", peers = [\"10.0.0.0/8\"], verify = true }",
        "3:81: gate.client_certificate_header.verify: unknown key `verify`",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = { peers = [\"10.0.0.0/8\"], verified = \"yes\" }",
        "3:66: gate.client_certificate_header.verified: expected true or false, found string",
    ),
    (
        r#"listen = "127.0.0.1:8443""#,
        "listen = \"127.0.0.1:8443\"\nclient_certificate_header = \"x-client-cert\"",
        "3:29: gate.client_certificate_header: expected a table, found string",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = [\"as.example.com/statuses\"]",
        "6:22: issuer[0].status_list_hosts[0]: `as.example.com/statuses` is not an authority",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = [\"gate@as.example.com\"]",
        "6:22: issuer[0].status_list_hosts[0]: `gate@as.example.com` is not an authority",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = \"as.example.com\"",
        "6:21: issuer[0].status_list_hosts: expected an array of strings (authority), found string",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus_list_hosts = [\"*.example.com\"]",
        "6:22: issuer[0].status_list_hosts[0]: `*.example.com` is not an authority",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nstatus = \"require\"",
        "6:10: issuer[0].status: `require` is not one of `if_present`, `required`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { client_id = \"g\", secret = { env = \"S\" } }",
        "6:17: issuer[0].introspection.endpoint: missing: this key is required",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"http://as.example.com/i\", client_id = \"g\", secret = { env = \"S\" } }",
        "6:30: issuer[0].introspection.endpoint: `http://as.example.com/i` is not `https`: whoever is on the way could change the answers",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", secret = { env = \"S\" } }",
        "6:17: issuer[0].introspection.client_id: missing: this key is required",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", secret = { env = \"S\" }, key = \"k\" }",
        "6:17: issuer[0].introspection: exactly one of `secret`, `key` and `client_certificate` says who asks",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", client_key = \"k\", key = \"a\" }",
        "6:17: issuer[0].introspection: `client_certificate` and `client_key` stand together",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nintrospection = { endpoint = \"https://as.example.com/i\", client_id = \"g\", secret = \"hunter2\" }",
        "6:84: issuer[0].introspection.secret: expected a table, found string",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\ndelegation = {}",
        "6:14: issuer[0].delegation: accepts delegated tokens that live longer than 15 minutes and cannot be revoked by it",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { max_depth = 0 }",
        "7:28: issuer[0].delegation.max_depth: expected a whole number from 1 to 8",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { aoa_chain = \"structural\" }",
        "7:28: issuer[0].delegation.aoa_chain: `structural` is for issuers whose `profile` is `open-agent-auth`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { delegator_signature = \"required\" }",
        "7:38: issuer[0].delegation.delegator_signature: `required` is not one of `ignore`, `verify`, `require`",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { max_age = \"0s\" }",
        "7:26: issuer[0].delegation.max_age: `0s` is out of range: from 1s to 365d",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"16m\"\ndelegation = {}",
        "7:14: issuer[0].delegation: accepts delegated tokens that live longer than 15 minutes and cannot be revoked by it",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { depth = 3 }",
        "7:16: issuer[0].delegation.depth: unknown key `depth`",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nproofs = [\"mtls\"]",
        "12:11: resource[0].proofs[0]: no caller can ever show a certificate here",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nproofs = [\"wimse\"]",
        "12:11: resource[0].proofs[0]: `wimse` is not one of `dpop`, `mtls`, `wpt`",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nproofs = [\"dpop\", \"mTLS\"]",
        "12:19: resource[0].proofs[1]: `mTLS` is not one of `dpop`, `mtls`, `wpt`",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\ndpop_algorithms = [\"RS512\"]",
        "12:20: resource[0].dpop_algorithms[0]: `RS512` is not a supported algorithm",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\ndpop_algorithms = []",
        "12:19: resource[0].dpop_algorithms: allows no algorithm, so that nothing is ever valid",
    ),
    (
        r#"upstream = "shop""#,
        "upstream = \"shop\"\nproofs = \"dpop\"",
        "12:10: resource[0].proofs: expected an array of `dpop`, `mtls`, `wpt`, found string",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"idp.example.com\"\njwks_file = \"a\"",
        "17:10: workload_issuer[0].issuer: `idp.example.com` is not the URI of an issuer",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://IDP.example.com\"\njwks_file = \"a\"",
        "17:10: workload_issuer[0].issuer: `https://IDP.example.com` is not the URI of an issuer",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"",
        "16:1: workload_issuer[0]: needs `jwks_file` or `jwks_uri`: a trust domain has no metadata to find its keys by",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\njwks_file = \"a\"",
        "16:1: workload_issuer[0].issuer: missing: this key is required",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\ntrust_domain = \"wimse://td\"\njwks_file = \"a\"",
        "18:16: workload_issuer[0].trust_domain: `wimse://td` is not a trust domain",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_uri = \"http://idp.example.com/jwks\"",
        "18:12: workload_issuer[0].jwks_uri: `http://idp.example.com/jwks` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\njwks_uri = \"https://idp.example.com/jwks\"",
        "19:12: workload_issuer[0].jwks_uri: keys come from `jwks_file` or from `jwks_uri`, not from both",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\nalgorithms = [\"HS256\"]",
        "19:15: workload_issuer[0].algorithms[0]: `HS256` is symmetric: who can verify with it can also forge",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\nalgorithms = []",
        "19:14: workload_issuer[0].algorithms: allows no algorithm, so that nothing is ever valid",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\nleeway = \"3m\"",
        "19:10: workload_issuer[0].leeway: `3m` is out of range: from 0s to 2m",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\ntrust = \"td\"",
        "19:1: workload_issuer[0].trust: unknown key `trust`",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"a\"\n[[workload_issuer]]\nissuer = \"https://idp.example.com\"\njwks_file = \"b\"",
        "20:10: workload_issuer[1].issuer: this issuer is already on line 17",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"wit://agents.example.com/shop\"\njwks_file = \"a\"",
        "17:10: agent_directory[0].agents: `wit://agents.example.com/shop` is not scheme and authority of agents' ids",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"urn:agents\"\njwks_file = \"a\"",
        "17:10: agent_directory[0].agents: `urn:agents` is not scheme and authority of agents' ids",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"wit://a\"",
        "16:1: agent_directory[0]: needs `jwks_file` or `jwks_uri`: a directory has no metadata to find its keys by",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"wit://a\"\njwks_uri = \"http://a.example.com\"",
        "18:12: agent_directory[0].jwks_uri: `http://a.example.com` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"wit://a\"\njwks_file = \"a\"\nrefresh = \"11m\"",
        "19:11: agent_directory[0].refresh: `11m` is out of range: from 1s to 10m",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"wit://a\"\njwks_file = \"a\"\nbundle_file = \"b\"",
        "19:15: agent_directory[0].bundle_file: authorities name the agents of a SPIFFE trust domain, and `agents` is none",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"spiffe://td:8443\"\njwks_file = \"a\"\nbundle_uri = \"https://td.example.com\"",
        "19:14: agent_directory[0].bundle_uri: authorities name the agents of a SPIFFE trust domain, and `agents` is none",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"spiffe://td\"\njwks_file = \"a\"\nbundle_uri = \"http://td.example.com\"",
        "19:14: agent_directory[0].bundle_uri: `http://td.example.com` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[agent_directory]]\nagents = \"spiffe://td\"\njwks_file = \"a\"\nbundle_file = \"b\"\nbundle_uri = \"https://td.example.com\"",
        "20:14: agent_directory[0].bundle_uri: authorities come from `bundle_file` or from `bundle_uri`, not from both",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"wimse://td\"\njwks_file = \"a\"\nagents = { \"wimse://other/a\" = \"wit://a/1\" }",
        "19:10: workload_issuer[0].agents: `wimse://other/a` is not a workload of `td`",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[workload_issuer]]\nissuer = \"wimse://td\"\njwks_file = \"a\"\nagents = { \"wimse://td/a\" = 7 }",
        "19:10: workload_issuer[0].agents: `wimse://td/a` is not given the id of an agent, which is a URI",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { delegator_signature = \"require\" }",
        "7:38: issuer[0].delegation.delegator_signature: no agent's signature can be verified here, so that every chain is refused",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\nmax_lifetime = \"15m\"\ndelegation = { root_anchor = \"introspect\" }",
        "7:30: issuer[0].delegation.root_anchor: there is nobody to ask",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[prompt_issuer]]\nissuer = \"http://client.example.com\"\njwks_file = \"a\"",
        "17:10: prompt_issuer[0].issuer: `http://client.example.com` is not `https`: whoever is on the way could put in keys",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[prompt_issuer]]\nissuer = \"https://client.example.com\"",
        "16:1: prompt_issuer[0]: needs `jwks_file` or `jwks_uri`: a client has no metadata to find its keys by",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\naccept_prompt_credential = true",
        "16:28: resource[0].operation[0].accept_prompt_credential: no prompt can be verified here",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\nevidence = \"ignore\"\naccept_prompt_credential = false",
        "17:28: resource[0].operation[0].accept_prompt_credential: does nothing where evidence is ignored",
    ),
    (
        r#"issuer = "https://as.example.com""#,
        "issuer = \"https://as.example.com\"\npolicies = { origins = [\"https://p.example.com/v1\"] }",
        "6:25: issuer[0].policies.origins[0]: `https://p.example.com/v1` is more than scheme and authority",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource.local_policy]]\nfile = \"policy.txt\"",
        "17:8: resource[0].local_policy[0].file: does not say by its ending which language it is in",
    ),
    (
        r#"id = "https://tools.example.com/shop""#,
        "id = \"https://tools.example.com/shop\"\npolicy_headers = [\"Cookie\"]",
        "11:19: resource[0].policy_headers[0]: `cookie` carries a credential, which no policy is shown",
    ),
    (
        "upstream = \"shop\"\n[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "upstream = \"shop\"\nprotocol = \"mcp\"\n[[resource.operation]]\nmethod = \"GET\"\npath = \"/\"",
        "13:1: resource[0].operation: means nothing where `protocol` is `mcp`",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[[resource.tool]]\nname = \"t\"",
        "16:1: resource[0].tool: means nothing where `protocol` is `http`",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\nmcp.versions = []",
        "13:16: resource[0].mcp.versions: no revision is spoken",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\nmcp.versions = [\"2025-06-19\"]",
        "13:17: resource[0].mcp.versions[0]: `2025-06-19` is not one of `2025-06-18`, `2025-11-25`, `2026-07-28`",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\nmcp.origins = [\"https://App.test:443\"]",
        "13:16: resource[0].mcp.origins[0]: `https://App.test:443` is not as browsers write it",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\n[[resource.tool]]\nname = \"a*b\"",
        "14:8: resource[0].tool[0].name: `a*b` is not the name of a tool",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\n[[resource.tool]]\nname = \"pay*\"\n[[resource.tool]]\nname = \"pay_all\"\ndeny = true",
        "16:8: resource[0].tool[1].name: is never reached: a rule before it covers it",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"mcp\"\n[[resource.tool]]\nname = \"pay\"\n[[resource.tool]]\nname = \"pay\"",
        "16:8: resource[0].tool[1].name: a rule for this tool is already on line 14",
    ),
    (
        "upstream = \"shop\"\n[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "upstream = \"shop\"\nprotocol = \"a2a\"\n[[resource.tool]]\nname = \"t\"",
        "13:1: resource[0].tool: means nothing where `protocol` is `a2a`",
    ),
    (
        "upstream = \"shop\"\n[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "upstream = \"shop\"\nprotocol = \"a2a\"\n[[resource.operation]]\nmethod = \"GET\"\npath = \"/\"",
        "13:1: resource[0].operation: means nothing where `protocol` is `a2a`",
    ),
    (
        r#"path = "/products/**""#,
        "path = \"/products/**\"\n[resource.a2a]\nversions = [\"1.0\"]",
        "16:1: resource[0].a2a: means nothing where `protocol` is `http`",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"a2a\"\na2a.versions = []",
        "13:16: resource[0].a2a.versions: no version is spoken",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"a2a\"\na2a.versions = [\"1.1\"]",
        "13:17: resource[0].a2a.versions[0]: `1.1` is not one of `0.3`, `1.0`",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"a2a\"\na2a.push_urls = [\"169.254.169.254\"]",
        "13:18: resource[0].a2a.push_urls[0]: `169.254.169.254` is not the name of a host",
    ),
    (
        "[[resource.operation]]\naction = \"search\"\nmethod = \"GET\"\npath = \"/products/**\"",
        "protocol = \"a2a\"\na2a.push_urls = [\"https://hooks.example.com\"]",
        "13:18: resource[0].a2a.push_urls[0]: `https://hooks.example.com` is not the name of a host",
    ),
];
