//! Lists that hold only what the token could call (`mcp-a2a.md` §6). Leaving things out is a convenience: a
//! call of what is hidden is refused all the same.

use crate::model::exact::Json;

use crate::operation::jsonrpc::Id;

/// The member of a result that is a list of tools.
pub const TOOLS: &str = "tools";

/// What is kept of the answer to a list.
#[derive(Debug)]
pub struct Listing {
    /// The request that it answers.
    pub id: Id,
    /// The member of the result that is the list.
    pub member: &'static str,
    /// The longest that a client may keep it, in milliseconds.
    pub ttl: u64,
}

impl Listing {
    /// The list in `answer`, where that is one to the request.
    pub fn items<'a>(&self, answer: &'a Json) -> Option<&'a [Json]> {
        let members = answer.as_object()?;
        let is_ours = members.get("id").and_then(Id::read).as_ref() == Some(&self.id);
        match members.get("result")?.as_object()?.get(self.member)? {
            Json::Array(items) if is_ours => Some(items),
            _ => None,
        }
    }

    /// The answer with only those members of the list that `keeps` says, by the names they are used under;
    /// their order and everything else stays. `None` where it is not an answer to the request: it then stays
    /// as it is.
    pub fn rewrite(&self, mut answer: Json, keeps: &dyn Fn(&str) -> bool) -> Option<String> {
        self.items(&answer)?;
        let Json::Object(members) = &mut answer else { return None };
        let Some(Json::Object(result)) = members.get_mut("result") else { return None };
        let Some(Json::Array(items)) = result.get_mut(self.member) else { return None };
        items.retain(|item| name_of(item, self.member).is_none_or(keeps));
        // Whoever keeps the answer for others would show them what they may not see.
        if result.contains_key("cacheScope") {
            result.insert("cacheScope".into(), Json::String("private".into()));
        }
        let longest = || Json::parse(self.ttl.to_string().as_bytes()).ok();
        if let Some(ttl) = result.get_mut("ttlMs")
            && self.is_longer(ttl)
            && let Some(longest) = longest()
        {
            *ttl = longest;
        }
        Some(answer.to_string())
    }

    fn is_longer(&self, ttl: &Json) -> bool {
        match ttl {
            Json::Number(number) => number.text().parse().map_or(true, |ttl: u64| ttl > self.ttl),
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => true,
        }
    }
}

/// A tool or prompt is used by its name, a resource by its URI.
pub fn name_of<'i>(item: &'i Json, member: &str) -> Option<&'i str> {
    let by = match member {
        "resources" => "uri",
        "resourceTemplates" => "uriTemplate",
        _ => "name",
    };
    match item.as_object()?.get(by)? {
        Json::String(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str, kept: &[&str]) -> Option<String> {
        let id = Id::read(&Json::parse(b"7").unwrap()).unwrap();
        let listing = Listing { id, member: "tools", ttl: 60_000 };
        listing.rewrite(Json::parse(text.as_bytes()).ok()?, &|name| kept.contains(&name))
    }

    #[test]
    fn mcp_015_the_list_holds_what_is_kept_in_its_order_and_everything_else_stays() {
        let text = r#"{"jsonrpc":"2.0","id":7,"result":{"_meta":{"a":1.50},"nextCursor":"c","tools":[{"name":"b","x":[1e2]},{"name":"evil"},{"name":"a"}]}}"#;
        let rest = r#"{"id":7,"jsonrpc":"2.0","result":{"_meta":{"a":1.50},"nextCursor":"c","tools":[{"name":"b","x":[1e2]},{"name":"a"}]}}"#;
        assert_eq!(rewritten(text, &["a", "b"]).unwrap(), rest);
        assert!(rewritten(text, &[]).unwrap().contains(r#""nextCursor":"c","tools":[]"#));
    }

    #[test]
    fn mcp_015_a_filtered_list_is_nobody_elses_and_no_older_than_the_token() {
        let with = |more: &str| format!(r#"{{"id":7,"result":{{"tools":[]{more}}}}}"#);
        for (sent, kept) in [
            (
                r#","cacheScope":"public","ttlMs":90000"#,
                r#""cacheScope":"private","tools":[],"ttlMs":60000"#,
            ),
            (
                r#","cacheScope":"private","ttlMs":5"#,
                r#""cacheScope":"private","tools":[],"ttlMs":5"#,
            ),
            (r#","ttlMs":1e9"#, r#""tools":[],"ttlMs":60000"#),
            ("", r#""result":{"tools":[]}"#),
        ] {
            let text = rewritten(&with(sent), &[]).unwrap();
            assert!(text.contains(kept), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_to_the_request_stays_as_it_is() {
        for text in [
            r#"{"id":8,"result":{"tools":[]}}"#,
            r#"{"id":"7","result":{"tools":[]}}"#,
            r#"{"id":7,"error":{"code":1}}"#,
            r#"{"id":7,"result":{"prompts":[]}}"#,
            r#"{"id":7,"method":"ping"}"#,
            r#"{"id":7,"id":7,"result":{"tools":[]}}"#,
            "[]",
            "",
        ] {
            assert_eq!(rewritten(text, &[]), None, "{text}");
        }
    }
}
