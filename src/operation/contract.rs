//! What a document takes of the arguments of an operation, and whether a call keeps to it
//! (`validate = true`).
//!
//! What is refused is told by a pointer into what the caller sent, and never by the schema (R-ERR-005).

use std::sync::Arc;

use super::schema::{SchemaId, Schemas, Violation, escaped};
use crate::model::argument::{Argument, Covers, Declared, Form, Place};
use crate::model::operation::Operation;

/// The contract of one operation.
#[derive(Debug)]
pub struct Contract {
    /// The schemas of the document.
    pub schemas: Arc<Schemas>,
    /// What is held against them.
    pub terms: Terms,
}

/// What the arguments of an operation are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For each declared parameter its schema, where it has one.
    pub parameters: Vec<Option<SchemaId>>,
    /// The body.
    pub body: BodyTerms,
}

/// What is taken of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyTerms {
    /// JSON, whatever else the document would take: what is not JSON could not be held against it.
    Json {
        /// Whether there must be one.
        required: bool,
        /// The schemas by media type; the first that fits is meant.
        kinds: Vec<(Box<str>, Option<SchemaId>)>,
    },
    /// There is none.
    Nothing,
    /// One of these media types, none of which is JSON, unread.
    Other(Vec<Box<str>>),
}

/// How the body of a call came.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// `Content-Type`
    pub content_type: Option<&'a str>,
    /// Whether there is a body that was not read.
    pub is_unread: bool,
}

/// What a call does not keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The body is of a type that the operation does not take.
    ContentType,
    /// An argument does not fit.
    Argument(Misfit),
}

/// An argument that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where it stands.
    pub place: Place,
    /// The JSON pointer to it: into the body, or into the object of all parameters of its place. Where
    /// something is missing, to what it is missing from.
    pub pointer: String,
    /// The word of JSON Schema that it breaks.
    pub keyword: &'static str,
}

/// The longest pointer that is told. The caller chooses the names in it.
const MAX_POINTER: usize = 1_024;

impl Misfit {
    const fn new(place: Place, pointer: String, keyword: &'static str) -> Self {
        Self { place, pointer, keyword }
    }

    /// The pointer, or to what holds that value where it is too long to be told.
    pub fn told(&self) -> &str {
        let mut pointer = &*self.pointer;
        while pointer.len() > MAX_POINTER {
            pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        pointer
    }
}

/// Two contracts are the same only where they are one.
impl PartialEq for Contract {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Contract {}

impl Contract {
    /// Whether the body must be read.
    pub const fn reads_body(&self) -> bool {
        matches!(self.terms.body, BodyTerms::Json { .. })
    }

    /// Holds a call against it. The first argument that does not fit is told: of the path, of the query,
    /// of the body.
    pub fn check(&self, operation: &Operation<'_>, sent: Sent<'_>) -> Result<(), Breach> {
        for (declared, schema) in operation.declared.iter().zip(&self.terms.parameters) {
            self.parameter(declared, *schema, operation).map_err(Breach::Argument)?;
        }
        undeclared(operation).map_err(Breach::Argument)?;
        self.body(operation, sent)
    }

    fn parameter(
        &self,
        declared: &Declared,
        schema: Option<SchemaId>,
        operation: &Operation<'_>,
    ) -> Result<(), Misfit> {
        let misfit = |below: &str, keyword| {
            let pointer = format!("/{}{below}", escaped(&declared.name));
            Err(Misfit::new(declared.place, pointer, keyword))
        };
        if matches!(declared.form, Form::Opaque(_)) {
            return Ok(());
        }
        let value = match declared.read(operation) {
            Argument::Absent if declared.required => {
                return Err(Misfit::new(declared.place, String::new(), "required"));
            }
            Argument::Absent => return Ok(()),
            Argument::Untyped(_) => return misfit("", "type"),
            Argument::Typed(value) => value,
        };
        match schema.map_or(Ok(()), |schema| self.schemas.check(schema, &value)) {
            Ok(()) => Ok(()),
            Err(Violation { pointer, keyword }) => misfit(&pointer, keyword),
        }
    }

    fn body(&self, operation: &Operation<'_>, sent: Sent<'_>) -> Result<(), Breach> {
        let misfit =
            |pointer, keyword| Breach::Argument(Misfit::new(Place::Body, pointer, keyword));
        let is_there = operation.body.is_some() || sent.is_unread;
        match &self.terms.body {
            BodyTerms::Nothing if is_there => Err(misfit(String::new(), "additionalProperties")),
            BodyTerms::Other(kinds) if is_there => {
                let is_known = kinds.iter().any(|kind| is_of(kind, sent.content_type));
                if is_known { Ok(()) } else { Err(Breach::ContentType) }
            }
            BodyTerms::Nothing | BodyTerms::Other(_) => Ok(()),
            BodyTerms::Json { required, kinds } => match operation.args() {
                None if sent.is_unread => Err(Breach::ContentType),
                None if *required => Err(misfit(String::new(), "required")),
                None => Ok(()),
                Some(json) => {
                    let kind = kinds.iter().find(|(kind, _)| is_of(kind, sent.content_type));
                    let (_, schema) = kind.ok_or(Breach::ContentType)?;
                    schema
                        .map_or(Ok(()), |schema| self.schemas.check(schema, json))
                        .map_err(|Violation { pointer, keyword }| misfit(pointer, keyword))
                }
            },
        }
    }
}

/// A query says nothing that nobody described: the server might understand it.
fn undeclared(operation: &Operation<'_>) -> Result<(), Misfit> {
    let queries = operation.declared.iter().filter(|one| one.place == Place::Query);
    let is_free = |one: &Declared| matches!(one.form, Form::Opaque(Covers::Anything));
    if queries.clone().any(is_free) {
        return Ok(());
    }
    let is_of = |one: &Declared, name: &str| {
        *name == *one.name
            || (matches!(one.form, Form::Opaque(Covers::Brackets))
                && name.strip_prefix(&*one.name).is_some_and(|rest| rest.starts_with('[')))
    };
    for pair in operation.query() {
        let pointer = match pair {
            Some((name, _)) if queries.clone().any(|one| is_of(one, &name)) => continue,
            Some((name, _)) => format!("/{}", escaped(&name)),
            None => String::new(),
        };
        return Err(Misfit::new(Place::Query, pointer, "additionalProperties"));
    }
    Ok(())
}

/// Whether a `Content-Type` is of a media type of a document, which may be a range (RFC 9110 §12.5.1).
fn is_of(kind: &str, content_type: Option<&str>) -> bool {
    let essence = essence(content_type.unwrap_or_default());
    match kind.strip_suffix("/*") {
        Some("*") => true,
        Some(main) => essence.split_once('/').is_some_and(|(own, _)| own == main),
        None => essence == kind,
    }
}

/// A media type without its parameters, in lower case.
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
