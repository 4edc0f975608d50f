//! What a document says of the arguments of an operation: how its parameters are written, and the schemas
//! of all of them.

use serde_json::{Map, Value};

use super::{MAX_FAULTS, Reader, push};
use crate::model::argument::{Covers, Declared, Form, Place, Scalars, Separator};
use crate::operation::contract::{BodyTerms, Terms, essence};
use crate::operation::schema::SchemaId;

/// How deep the types of a schema are looked for in what it is made of.
const MAX_TYPES: u8 = 8;

impl<'d> Reader<'d> {
    /// The parameters of an operation, its own before those of its path, and what they are held against.
    pub(super) fn parameters(
        &mut self,
        lists: [(Option<&'d Value>, String); 2],
    ) -> (Vec<Declared>, Vec<Option<SchemaId>>) {
        let (mut declared, mut schemas) = (Vec::<Declared>::new(), Vec::new());
        for (list, at) in lists {
            let Some(list) = list.and_then(Value::as_array) else { continue };
            for (n, parameter) in list.iter().enumerate() {
                let (parameter, at) = self.located(parameter, format!("{at}/{n}"));
                let Some(one) = self.parameter(parameter) else { continue };
                if declared.iter().any(|own| own.place == one.place && own.name == one.name) {
                    continue;
                }
                schemas.push(self.parameter_schema(&one, parameter, &at));
                declared.push(one);
            }
        }
        (declared, schemas)
    }

    fn parameter(&self, parameter: &'d Value) -> Option<Declared> {
        let text = |name: &str| parameter.get(name).and_then(Value::as_str);
        let place = match text("in")? {
            "path" => Place::Path,
            "query" => Place::Query,
            _ => return None,
        };
        let schema = parameter.get("schema");
        let mut types = Types::default();
        if let Some(schema) = schema {
            self.types(schema, MAX_TYPES, &mut types);
        }
        types.or_text();
        let style = text("style").unwrap_or(if place == Place::Query { "form" } else { "simple" });
        let explodes = parameter.get("explode").and_then(Value::as_bool);
        let explodes = explodes.unwrap_or(style == "form");
        let form = match (place, style) {
            // JSON in a query, where it is no more than text for whoever does not read the document.
            _ if parameter.get("content").is_some() => Form::Opaque(Covers::Itself),
            (_, "deepObject") => Form::Opaque(Covers::Brackets),
            _ if types.object && style == "form" && explodes => Form::Opaque(Covers::Anything),
            _ if types.object => Form::Opaque(Covers::Itself),
            (Place::Query, "form") if types.array && explodes => {
                Form::List(Separator::Repeated, types.items)
            }
            (Place::Query, "form") if types.array => Form::List(Separator::Comma, types.items),
            (Place::Query, "spaceDelimited") if types.array => Form::List(
                if explodes { Separator::Repeated } else { Separator::Space },
                types.items,
            ),
            (Place::Query, "pipeDelimited") if types.array => Form::List(
                if explodes { Separator::Repeated } else { Separator::Pipe },
                types.items,
            ),
            (Place::Query, "form") | (Place::Path, "simple") if !types.array => {
                Form::Scalar(types.own)
            }
            _ => Form::Opaque(Covers::Itself),
        };
        let required = parameter.get("required").and_then(Value::as_bool).unwrap_or_default();
        Some(Declared {
            name: text("name")?.into(),
            place,
            form,
            required: required || place == Place::Path,
        })
    }

    /// Its schema, where it is validated; a warning where it cannot be.
    fn parameter_schema(
        &mut self,
        declared: &Declared,
        parameter: &'d Value,
        at: &str,
    ) -> Option<SchemaId> {
        let schema = parameter.get("schema");
        match declared.form {
            Form::Opaque(_) => {
                let message = "is written in a way that is not read, and is not validated";
                self.note(at, message);
                None
            }
            Form::List(..) | Form::Scalar(_) => {
                let place = format!("{at}/schema");
                self.compiler.as_mut().zip(schema).map(|(into, schema)| into.schema(schema, place))
            }
        }
    }

    /// What an operation takes as its body.
    fn body(&mut self, operation: &'d Map<String, Value>, at: &str) -> BodyTerms {
        let Some(body) = operation.get("requestBody") else { return BodyTerms::Nothing };
        let (body, at) = self.located(body, format!("{at}/requestBody"));
        let Some(Value::Object(content)) = body.get("content") else { return BodyTerms::Nothing };
        let mut kinds: Vec<(Box<str>, Option<SchemaId>)> = Vec::new();
        let mut others: Vec<Box<str>> = Vec::new();
        for (kind, media) in content {
            let mut place = format!("{at}/content");
            push(&mut place, kind);
            let kind = essence(kind);
            if kind == "*/*" || kind == "application/*" || is_json(&kind) {
                let place = format!("{place}/schema");
                let schema = self.compiler.as_mut().zip(media.get("schema"));
                kinds.push((kind.into(), schema.map(|(into, schema)| into.schema(schema, place))));
            } else {
                others.push(kind.into());
            }
        }
        if kinds.is_empty() {
            self.note(&at, "takes no JSON, so that its body is not validated");
            return BodyTerms::Other(others);
        }
        if !others.is_empty() {
            let others =
                others.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
            self.note(
                &at,
                format!("would take {others} too, which is refused: JSON alone is validated"),
            );
        }
        // A range stands behind the types that it covers.
        kinds.sort_by_key(|(kind, _)| kind.ends_with("/*"));
        let required = body.get("required").and_then(Value::as_bool).unwrap_or_default();
        BodyTerms::Json { required, kinds }
    }

    /// All that an operation takes.
    pub(super) fn terms_of(
        &mut self,
        operation: &'d Map<String, Value>,
        parameters: Vec<Option<SchemaId>>,
        at: &str,
    ) -> Option<Terms> {
        self.compiler.as_ref()?;
        Some(Terms { parameters, body: self.body(operation, at) })
    }

    /// What stands at a place, or where its reference leads, and where that is.
    fn located(&self, value: &'d Value, at: String) -> (&'d Value, String) {
        let mut found = (value, at);
        while let Some(target) = found.0.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or_default();
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
            // That every reference leads somewhere, and none in a circle, was seen before.
            match self.root.pointer(&pointer) {
                Some(value) => found = (value, pointer.into_owned()),
                None => break,
            }
        }
        found
    }

    /// The types that a schema, or what it is made of, speaks of.
    fn types(&self, schema: &'d Value, depth: u8, into: &mut Types) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let schema = self.resolved(schema);
        let named = match schema.get("type") {
            Some(Value::Array(names)) => names.iter().collect(),
            Some(name) => vec![name],
            None => Vec::new(),
        };
        for name in named.into_iter().filter_map(Value::as_str) {
            into.add(name);
        }
        if let Some(items) = schema.get("items") {
            let mut inner = Types::default();
            self.types(items, depth, &mut inner);
            into.items = inner.own;
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            for one in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
                self.types(one, depth, into);
            }
        }
    }

    fn note(&mut self, at: &str, message: impl Into<String>) {
        let note = (at.to_owned(), message.into());
        let notes = &mut self.read.notes;
        if self.compiler.is_some() && notes.len() < MAX_FAULTS && !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// Which types a parameter may have.
#[derive(Default)]
struct Types {
    own: Scalars,
    items: Scalars,
    array: bool,
    object: bool,
}

impl Types {
    fn add(&mut self, name: &str) {
        match name {
            "array" => self.array = true,
            "boolean" => self.own.boolean = true,
            "integer" => self.own.integer = true,
            "number" => self.own.number = true,
            "object" => self.object = true,
            "string" => self.own.string = true,
            _ => {}
        }
    }

    /// What has no type is text, as it came.
    fn or_text(&mut self) {
        let is_several = self.array || self.object;
        self.own.string |= self.own == Scalars::default() && !is_several;
        self.items.string |= self.items == Scalars::default();
    }
}

/// RFC 6839 §3.1.
fn is_json(kind: &str) -> bool {
    kind.strip_prefix("application/").is_some_and(|name| name == "json" || name.ends_with("+json"))
}
