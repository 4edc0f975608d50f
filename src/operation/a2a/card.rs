//! The card of an agent, with the gate in place of the agent (R-MCP-025).

use std::collections::BTreeMap;

use crate::model::exact::Json;

/// Where a card is told to everybody, and whether that is its place in version 0.3 alone.
pub const PATHS: [(&str, bool); 2] =
    [("/.well-known/agent-card.json", false), ("/.well-known/agent.json", true)];

/// The members that list further addresses of the agent, in version 1.0 and in 0.3, and the members that
/// say what is spoken there.
const INTERFACES: [(&str, &str); 2] =
    [("additionalInterfaces", "transport"), ("supportedInterfaces", "protocolBinding")];

type Members = BTreeMap<Box<str>, Json>;

/// The card, or the answer that a card is in, with `url` in place of every address of the agent. Interfaces
/// in gRPC are left out, because they are not served, and so are signatures, because they are of another
/// text. `None` where it cannot be read, so that nobody can say what is in it.
pub fn with_url(text: &[u8], url: &str) -> Option<String> {
    let mut answer = Json::parse(text).ok()?;
    let Json::Object(members) = &mut answer else { return None };
    match members.get_mut("result") {
        Some(Json::Object(result)) => rewrite(result, url)?,
        Some(_) => return None,
        None => rewrite(members, url)?,
    }
    Some(answer.to_string())
}

fn rewrite(card: &mut Members, url: &str) -> Option<()> {
    card.remove("signatures");
    let own = || Json::String(url.into());
    if let Some(address) = card.get_mut("url") {
        *address = own();
    }
    for (name, binding) in INTERFACES {
        let interfaces = match card.get_mut(name) {
            None => continue,
            Some(Json::Array(interfaces)) => interfaces,
            Some(_) => return None,
        };
        interfaces.retain(|one| one.as_object().is_some_and(|one| !is_grpc(one.get(binding))));
        for interface in interfaces {
            if let Json::Object(members) = interface {
                members.insert("url".into(), own());
            }
        }
    }
    Some(())
}

fn is_grpc(binding: Option<&Json>) -> bool {
    matches!(binding, Some(Json::String(binding)) if binding.eq_ignore_ascii_case("grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcp_025_a_card_names_the_gate_in_each_place_and_is_no_longer_signed() {
        let own = |text: &str| with_url(text.as_bytes(), "https://tools.test/shop");
        let current = r#"{"name":"a","signatures":[{"protected":"x"}],"skills":[{"url":"https://in.test"}],
            "supportedInterfaces":[{"protocolBinding":"JSONRPC","protocolVersion":"1.0","url":"http://10.0.0.1/"},
            {"protocolBinding":"GRPC","url":"http://10.0.0.1:50051"}]}"#;
        let expected = r#"{"name":"a","skills":[{"url":"https://in.test"}],"supportedInterfaces":[{"protocolBinding":"JSONRPC","protocolVersion":"1.0","url":"https://tools.test/shop"}]}"#;
        assert_eq!(own(current).unwrap(), expected);
        let older = r#"{"additionalInterfaces":[{"transport":"HTTP+JSON","url":"http://10.0.0.1/v1"}],"url":"http://10.0.0.1/"}"#;
        let expected = r#"{"additionalInterfaces":[{"transport":"HTTP+JSON","url":"https://tools.test/shop"}],"url":"https://tools.test/shop"}"#;
        assert_eq!(own(older).unwrap(), expected);
        let answer = format!(r#"{{"id":7,"result":{older}}}"#);
        assert_eq!(own(&answer).unwrap(), format!(r#"{{"id":7,"result":{expected}}}"#));
        for text in
            ["", "[]", r#"{"url":1,"url":2}"#, r#"{"supportedInterfaces":{}}"#, r#"{"result":7}"#]
        {
            assert_eq!(own(text), None, "{text}");
        }
    }
}
