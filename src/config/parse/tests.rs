use super::*;

/// A configuration that is right and short.
const SMALL: &str = r#"[gate]
listen = "127.0.0.1:8443"
origin = "https://tools.example.com"
[[issuer]]
issuer = "https://as.example.com"
[[upstream]]
name = "shop"
url = "http://127.0.0.1:9000"
[[resource]]
id = "https://tools.example.com/shop"
upstream = "shop"
[[resource.operation]]
action = "search"
method = "GET"
path = "/products/**"
"#;

fn read_text(text: &str) -> Result<Config, Problems> {
    parse(text, Path::new("opgate.toml"))
}

#[test]
fn a_small_configuration_has_every_default() {
    let config = read_text(SMALL).unwrap();
    assert_eq!(config.resources[0].mount.as_ref(), "/shop");
    assert_eq!(config.resources[0].authority.as_ref(), "tools.example.com");
    assert_eq!(config.resources[0].issuers, [0]);
    assert_eq!(config.resources[0].operations[0].line, 12);
    assert_eq!(config.limits.connections, 20_000);
    assert_eq!(config.limits.header_bytes, 32 * 1_024);
    assert_eq!(config.gate.drain, std::time::Duration::from_secs(30));
    assert_eq!(config.audit.durability, super::super::Durability::Sync);
    assert_eq!(config.audit.directory, Path::new("audit"));
    assert_eq!(config.issuers[0].trust.algorithms.len(), 5);
    assert!(config.resources[0].guidance.enabled);
    assert!(config.admin.is_none());
    assert_eq!(config.digest.len(), 64);
    assert_eq!(config.warnings, []);
}
