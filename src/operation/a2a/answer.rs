//! What an agent says of tasks in its answers (`mcp-a2a.md` §8).

use std::collections::BTreeMap;

use crate::model::exact::Json;

/// Where the id of a task that has begun stands, in either version.
const BEGUN: [&str; 4] = ["/artifactUpdate/taskId", "/statusUpdate/taskId", "/task/id", "/taskId"];
/// Where the id of the context stands that it is in, or that a message of the agent is in.
const CONTEXTS: [&str; 5] = [
    "/artifactUpdate/contextId",
    "/contextId",
    "/message/contextId",
    "/statusUpdate/contextId",
    "/task/contextId",
];

/// What an answer says: in JSON-RPC its result.
fn said(answer: &Json, in_rest: bool) -> Option<&Json> {
    if in_rest { Some(answer) } else { answer.at("/result") }
}

const fn text(json: &Json) -> Option<&str> {
    match json {
        Json::String(text) => Some(text),
        _ => None,
    }
}

/// The tasks that an answer to a message, or an event of it, says have begun.
pub fn begun(answer: &Json, in_rest: bool) -> impl Iterator<Item = &str> {
    let said = said(answer, in_rest);
    let kind = said.and_then(|said| said.at("/kind")).and_then(text);
    let at = move |pointer: &str| said.and_then(|said| said.at(pointer)).and_then(text);
    // In 0.3 the result is the task itself, or a message of the agent, which only names one.
    let older = (kind == Some("task")).then(|| at("/id")).flatten();
    let is_message = kind == Some("message");
    older
        .into_iter()
        .chain(BEGUN.iter().filter(move |_| !is_message).filter_map(move |one| at(one)))
}

/// The contexts that an answer to a message, or an event of it, is in.
pub fn contexts(answer: &Json, in_rest: bool) -> impl Iterator<Item = &str> {
    let said = said(answer, in_rest);
    CONTEXTS.iter().filter_map(move |one| said?.at(one).and_then(text))
}

/// The answer to a list of tasks with those that `keeps` says, in their order; `None` where it cannot be
/// read, so that nobody can say whose tasks are in it.
pub fn listed(text: &[u8], in_rest: bool, keeps: impl Fn(&str) -> bool) -> Option<String> {
    let mut answer = Json::parse(text).ok()?;
    let Json::Object(members) = &mut answer else { return None };
    match members.get_mut("result") {
        _ if in_rest => keep(members, keeps)?,
        Some(Json::Object(result)) => keep(result, keeps)?,
        Some(_) => return None,
        // An error.
        None => {}
    }
    Some(answer.to_string())
}

fn keep(said: &mut BTreeMap<Box<str>, Json>, keeps: impl Fn(&str) -> bool) -> Option<()> {
    match said.get_mut("tasks") {
        None => {}
        Some(Json::Array(tasks)) => {
            tasks.retain(|task| task.at("/id").and_then(text).is_some_and(&keeps));
        }
        Some(_) => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcp_020_a_task_that_begins_is_named_in_either_version_and_binding() {
        for (text, in_rest, tasks) in [
            (r#"{"id":7,"result":{"task":{"id":"t","contextId":"c"}}}"#, false, &["t"][..]),
            (r#"{"result":{"statusUpdate":{"taskId":"t"}}}"#, false, &["t"]),
            (r#"{"result":{"artifactUpdate":{"taskId":"t"}}}"#, false, &["t"]),
            (r#"{"result":{"kind":"task","id":"t","status":{}}}"#, false, &["t"]),
            (r#"{"result":{"kind":"status-update","taskId":"t"}}"#, false, &["t"]),
            (r#"{"task":{"id":"t"}}"#, true, &["t"]),
            (r#"{"statusUpdate":{"taskId":"t"}}"#, true, &["t"]),
            (r#"{"result":{"kind":"message","taskId":"t","messageId":"m"}}"#, false, &[]),
            (r#"{"result":{"message":{"taskId":"t"}}}"#, false, &[]),
            (r#"{"task":{"id":"t"}}"#, false, &[]),
            (r#"{"result":{"task":{"id":7}}}"#, false, &[]),
            (r#"{"error":{"code":1}}"#, false, &[]),
        ] {
            let json = Json::parse(text.as_bytes()).unwrap();
            assert_eq!(begun(&json, in_rest).collect::<Vec<_>>(), tasks, "{text}");
        }
    }

    #[test]
    fn mcp_020_the_context_of_an_answer_is_named_in_either_version_and_binding() {
        for (text, in_rest) in [
            (r#"{"result":{"task":{"id":"t","contextId":"c"}}}"#, false),
            (r#"{"result":{"message":{"contextId":"c"}}}"#, false),
            (r#"{"result":{"kind":"message","contextId":"c"}}"#, false),
            (r#"{"statusUpdate":{"taskId":"t","contextId":"c"}}"#, true),
        ] {
            let json = Json::parse(text.as_bytes()).unwrap();
            assert_eq!(contexts(&json, in_rest).collect::<Vec<_>>(), ["c"], "{text}");
        }
    }

    #[test]
    fn mcp_020_a_list_holds_the_callers_own_tasks_or_is_not_passed_on() {
        let kept = |text: &str, in_rest: bool| listed(text.as_bytes(), in_rest, |id| id == "a");
        let rest = r#"{"nextPageToken":"x","tasks":[{"id":"b"},{"id":"a","n":1.0},{"x":1}]}"#;
        let own = r#"{"nextPageToken":"x","tasks":[{"id":"a","n":1.0}]}"#;
        assert_eq!(kept(rest, true).unwrap(), own);
        let rpc = format!(r#"{{"id":7,"result":{rest}}}"#);
        assert_eq!(kept(&rpc, false).unwrap(), format!(r#"{{"id":7,"result":{own}}}"#));
        let error = r#"{"error":{"code":-32603},"id":7}"#;
        assert_eq!(kept(error, false).unwrap(), error);
        for text in ["", "[]", r#"{"result":{"tasks":{}}}"#, r#"{"result":[]}"#, r#"{"a":1,"a":1}"#]
        {
            assert_eq!(kept(text, false), None, "{text}");
        }
    }
}
