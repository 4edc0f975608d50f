//! What a server says of a tool, by which people and agents judge what it does.

use std::collections::HashSet;

use super::listing::{TOOLS, name_of};
use crate::model::argument::Place;
use crate::model::exact::{Json, folded};
use crate::operation::contract::Misfit;
use crate::operation::schema::{Compiler, Dialect, SchemaId, Schemas};

/// A definition of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name of the tool.
    pub name: Box<str>,
    /// What counts of it, as JSON with sorted members and numbers as they were sent.
    pub text: Box<str>,
}

/// The longest name of a tool that is pinned, in octets.
const MAX_TOOL: usize = 256;

/// What counts: all that is shown to whoever decides. `_meta` and icons do not.
const MEMBERS: [&str; 6] =
    ["annotations", "description", "inputSchema", "name", "outputSchema", "title"];

impl Definition {
    /// The definitions in a list of tools.
    pub fn all(tools: &[Json]) -> Vec<Self> {
        tools.iter().filter_map(Self::read).collect()
    }

    /// The same, where every item is a tool with a name of its own and nothing in it could be taken for what
    /// counts of another.
    pub fn only(tools: &[Json]) -> Option<Vec<Self>> {
        let mut names = HashSet::new();
        let all: Vec<Self> = tools.iter().map(Self::plain).collect::<Option<_>>()?;
        all.iter().all(|one| names.insert(&*one.name)).then_some(()).map(|()| all.clone())
    }

    fn plain(tool: &Json) -> Option<Self> {
        let is_other =
            |name: &str| MEMBERS.iter().any(|own| *own != name && folded(own) == folded(name));
        let spelled = !tool.as_object()?.keys().any(|name| is_other(name));
        Self::read(tool).filter(|one| spelled && one.name.len() <= MAX_TOOL)
    }

    fn read(tool: &Json) -> Option<Self> {
        let counts = |name: &str| MEMBERS.contains(&name);
        let members = tool.as_object()?.iter().filter(|(name, _)| counts(name));
        let text = Json::Object(members.map(|(name, one)| (name.clone(), one.clone())).collect());
        Some(Self { name: name_of(tool, TOOLS)?.into(), text: text.to_string().into() })
    }
}

/// The most patterns of one schema: each may take a megabyte when it is compiled.
const MAX_PATTERNS: usize = 16;

/// How many patterns a schema has.
fn patterns(schema: &serde_json::Value) -> usize {
    match schema {
        serde_json::Value::Object(members) => {
            let own = members.contains_key("pattern").into();
            let named = members.get("patternProperties").and_then(|named| named.as_object());
            let below: usize = members.values().map(patterns).sum();
            below.saturating_add(own).saturating_add(named.map_or(0, serde_json::Map::len))
        }
        serde_json::Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}

/// What a tool takes: `inputSchema`, compiled.
#[derive(Debug)]
pub struct InputSchema(Read);

#[derive(Debug)]
enum Read {
    /// It takes anything.
    Absent,
    Compiled(Schemas, SchemaId),
    /// Nothing can be held against it.
    Unreadable,
}

impl InputSchema {
    /// One that is not known, or too long to be kept.
    pub const UNREADABLE: Self = Self(Read::Unreadable);

    /// That of a definition. Where it has words that no value can be held against, or leads out of itself, it
    /// is none: a schema that is read in part lets through what the rest would not.
    pub fn read(definition: &Definition) -> Self {
        let Ok(definition) = serde_json::from_str::<serde_json::Value>(&definition.text) else {
            return Self::UNREADABLE;
        };
        let Some(schema) = definition.get("inputSchema") else { return Self(Read::Absent) };
        if patterns(schema) > MAX_PATTERNS {
            return Self::UNREADABLE;
        }
        let mut compiler = Compiler::new(schema, Dialect::OpenApi31);
        let root = compiler.schema(schema, String::new());
        match compiler.finish() {
            (schemas, faults) if faults.is_empty() => Self(Read::Compiled(schemas, root)),
            _ => Self::UNREADABLE,
        }
    }

    /// Whether `arguments` fit. The first that does not is told by a pointer into the message.
    pub fn check(&self, arguments: &Json) -> Result<(), Misfit> {
        const ARGUMENTS: &str = "/params/arguments";
        let misfit = |below: &str, keyword| {
            Err(Misfit { place: Place::Body, pointer: [ARGUMENTS, below].concat(), keyword })
        };
        match &self.0 {
            Read::Absent => Ok(()),
            Read::Unreadable => misfit("", "inputSchema"),
            Read::Compiled(schemas, root) => match schemas.check(*root, arguments) {
                Ok(()) => Ok(()),
                Err(violation) => misfit(&violation.pointer, violation.keyword),
            },
        }
    }
}

/// What is left of a name apart from case, from `-`, `_`, `.` and spaces, and from letters and digits that look
/// alike: names with the same could be taken for one another. None of a name with characters outside of ASCII,
/// which may look like any.
pub fn skeleton(name: &str) -> Option<Box<str>> {
    let seen = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    let alike = seen.map(|c| match c.to_ascii_lowercase() {
        '0' => 'o',
        '1' | 'i' => 'l',
        '5' => 's',
        other => other,
    });
    name.is_ascii().then(|| alike.collect::<String>().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_one_another_are_alike() {
        for (one, other, alike) in [
            ("create_order", "Create_Order", true),
            ("create_order", "create-order", true),
            ("create_order", "createorder", true),
            ("bill", "b1ll", true),
            ("fo0", "foo", true),
            ("create_order", "create_orders", false),
            ("create_order", "delete_order", false),
        ] {
            assert_eq!(skeleton(one) == skeleton(other), alike, "{one} {other}");
        }
        assert_eq!(skeleton("cr\u{435}ate_order"), None);
        assert_eq!(skeleton("pay\u{200b}"), None);
    }

    #[test]
    fn a_list_of_tools_is_one_only_where_nobody_could_read_another() {
        let only = |text: &str| match Json::parse(text.as_bytes()).unwrap() {
            Json::Array(tools) => Definition::only(&tools).map(|all| all.len()),
            _ => None,
        };
        assert_eq!(only(r#"[{"name":"a","uri":null,"X":1},{"name":"b"}]"#), Some(2));
        for text in [
            r#"[{"name":"a"},{"name":"a"}]"#,
            r#"[{"Name":"a"}]"#,
            r#"[{"name":"a","Description":"x"}]"#,
            r#"[{"name":7}]"#,
            r#"["a"]"#,
        ] {
            assert_eq!(only(text), None, "{text}");
        }
        assert_eq!(only(&format!(r#"[{{"name":"{}"}}]"#, "a".repeat(300))), None);
    }

    #[test]
    fn arguments_fit_the_schema_of_the_tool_or_nothing_fits() {
        let check = |schema: &str, arguments: &str| {
            let text = format!(r#"{{"inputSchema":{schema},"name":"t"}}"#);
            let definition = Definition { name: "t".into(), text: text.into() };
            let told =
                InputSchema::read(&definition).check(&Json::parse(arguments.as_bytes()).unwrap());
            told.map_err(|misfit| (misfit.pointer, misfit.keyword))
        };
        let object = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}},"required":["a"],"$defs":{"a":{"type":"integer","maximum":5}}}"##;
        assert_eq!(check(object, r#"{"a":5}"#), Ok(()));
        let misfit = |pointer: &str, keyword| Err((pointer.to_owned(), keyword));
        assert_eq!(check(object, r#"{"a":6}"#), misfit("/params/arguments/a", "maximum"));
        assert_eq!(check(object, "{}"), misfit("/params/arguments", "required"));
        for unreadable in [
            r#"{"unevaluatedProperties":false}"#,
            r#"{"$ref":"https://evil.test/schema"}"#,
            r#"{"$ref":"file:///etc/passwd#/a"}"#,
            r##"{"$ref":"#"}"##,
            r#"{"type":"strange"}"#,
        ] {
            assert_eq!(
                check(unreadable, "{}"),
                misfit("/params/arguments", "inputSchema"),
                "{unreadable}"
            );
        }
    }

    #[test]
    fn what_is_shown_of_a_tool_counts_and_nothing_else() {
        let read = |text: &str| Definition::read(&Json::parse(text.as_bytes()).unwrap());
        let definition = read(
            r#"{"name":"t","_meta":{"a":1},"inputSchema":{"b":1.0,"a":2},"description":"d","icons":[]}"#,
        );
        let text = r#"{"description":"d","inputSchema":{"a":2,"b":1.0},"name":"t"}"#;
        assert_eq!(&*definition.unwrap().text, text);
        assert_eq!(read(r#"{"description":"d"}"#), None);
        assert_eq!(read("[]"), None);
    }
}
