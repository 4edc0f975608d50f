//! What a server says of a tool, by which people and agents judge what it does.

use super::listing::name_of;
use crate::model::argument::Place;
use crate::model::exact::Json;
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

/// What counts: all that is shown to whoever decides. `_meta` and icons do not.
const MEMBERS: [&str; 6] =
    ["annotations", "description", "inputSchema", "name", "outputSchema", "title"];

impl Definition {
    /// The definitions in a list of tools.
    pub fn all(tools: &[Json]) -> Vec<Self> {
        tools.iter().filter_map(Self::read).collect()
    }

    fn read(tool: &Json) -> Option<Self> {
        let counts = |name: &str| MEMBERS.contains(&name);
        let members = tool.as_object()?.iter().filter(|(name, _)| counts(name));
        let text = Json::Object(members.map(|(name, one)| (name.clone(), one.clone())).collect());
        Some(Self { name: name_of(tool)?.into(), text: text.to_string().into() })
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

/// Whether two different names could be taken for one another: apart from case, from `-`, `_`, `.` and
/// spaces, and from letters and digits that look alike. A character outside of ASCII looks like any.
pub fn resembles(one: &str, other: &str) -> bool {
    one != other && blurred(one, other)
}

fn skeleton(name: &str) -> impl Iterator<Item = char> {
    let seen = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    seen.map(|c| match c.to_ascii_lowercase() {
        '0' => 'o',
        '1' | 'i' => 'l',
        '5' => 's',
        other => other,
    })
}

/// Of one length, and alike wherever both are ASCII.
fn blurred(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (skeleton(one), skeleton(other));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || !a.is_ascii() || !b.is_ascii() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_one_another_are_alike() {
        for (one, other, alike) in [
            ("create_order", "create_order", false),
            ("create_order", "Create_Order", true),
            ("create_order", "create-order", true),
            ("create_order", "createorder", true),
            ("create_order", "cr\u{435}ate_order", true),
            ("bill", "b1ll", true),
            ("fo0", "foo", true),
            ("create_order", "create_orders", false),
            ("create_order", "delete_order", false),
            ("\u{e4}", "b", true),
            ("\u{e4}b", "b", false),
        ] {
            assert_eq!(resembles(one, other), alike, "{one} {other}");
            assert_eq!(resembles(other, one), alike, "{other} {one}");
        }
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
