//! OpenAPI 3.0 and 3.1 documents: every `operationId` is an action, at a method and a path template.
//!
//! A document says which calls there are, so what is wrong with it is a mistake in the configuration, and
//! is told with the JSON pointer to the place. It is read from one file, and never makes the gate open
//! another: a `$ref` leads to another place in the same document, or is refused.

mod describe;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};

use super::contract::{Contract, Terms};
use super::schema::{Compiler, Dialect, escaped};
use super::templates::{self, Part, Relation};
use crate::model::argument::Declared;
use crate::model::pattern::Pattern;
use crate::model::template::{self, Parameter};

/// The deepest nesting of a document.
pub const MAX_DEPTH: usize = 128;
/// The most operations of one document.
pub const MAX_OPERATIONS: usize = 20_000;
/// How many mistakes of one document are told.
const MAX_FAULTS: usize = 20;
/// The longest chain of references from one place.
const MAX_CHAIN: usize = 32;

/// The methods that a path item can have (OpenAPI 3.1 §4.8.9). `trace` echoes credentials and is never served.
const METHODS: [(&str, Method); 7] = [
    ("delete", Method::DELETE),
    ("get", Method::GET),
    ("head", Method::HEAD),
    ("options", Method::OPTIONS),
    ("patch", Method::PATCH),
    ("post", Method::POST),
    ("put", Method::PUT),
];

/// An operation of a document.
#[derive(Clone, Debug)]
pub struct Described {
    /// `operationId`
    pub action: Box<str>,
    /// Its method.
    pub method: Method,
    /// Its path, as a glob.
    pub pattern: Pattern,
    /// The parameters in its path.
    pub parameters: Vec<Parameter>,
    /// What is said of the parameters in its path and query.
    pub declared: Vec<Declared>,
    /// What its arguments must keep to, where they are validated.
    pub contract: Option<Arc<Contract>>,
    /// The JSON pointer to it.
    pub pointer: String,
}

/// Something that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The JSON pointer to the place.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
    /// Whether it is that paths cannot be told apart.
    pub is_conflict: bool,
}

/// What a document comes to.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// Its operations, in the order of their paths.
    pub operations: Vec<Described>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What is not validated: the JSON pointer, and why not.
    pub notes: Vec<(String, String)>,
}

/// Reads a document; with `validate`, also the schemas of its arguments.
pub fn read(root: &Value, validate: bool) -> Read {
    let mut reader = Reader {
        root,
        read: Read::default(),
        names: HashMap::new(),
        compiler: None,
        terms: Vec::new(),
    };
    if let Some(dialect) = reader.version() {
        reader.references(root, &mut String::new());
        if reader.read.faults.is_empty() {
            reader.compiler = validate.then(|| Compiler::new(root, dialect));
            reader.paths();
            reader.contracts();
        }
    }
    reader.read
}

/// The pairs of operations of one method to which some path belongs alike, the later one first.
pub fn conflicts(operations: &[Described]) -> Vec<(usize, usize)> {
    // Templates of one method and length, each with its number: others have no path in common.
    type Alike = Vec<(usize, Vec<Part>)>;
    let mut alike: BTreeMap<(&str, usize), Alike> = BTreeMap::new();
    for (n, one) in operations.iter().enumerate() {
        let parts = templates::parts(&one.pattern, &one.parameters);
        alike.entry((one.method.as_str(), parts.len())).or_default().push((n, parts));
    }
    let mut pairs = Vec::new();
    for group in alike.values() {
        for (at, (later, parts)) in group.iter().enumerate() {
            let crossing = group.iter().take(at).filter(|(_, other)| {
                matches!(templates::relation(parts, other), Relation::Crossing | Relation::Same)
            });
            pairs.extend(crossing.map(|(earlier, _)| (*later, *earlier)));
        }
    }
    pairs
}

/// An operation by its name and place.
struct Named {
    action: Box<str>,
    method: Method,
    pattern: Pattern,
    parameters: Vec<Parameter>,
}

struct Reader<'d> {
    root: &'d Value,
    read: Read,
    names: HashMap<&'d str, String>,
    /// Where the schemas of arguments go, where they are validated.
    compiler: Option<Compiler<'d>>,
    /// What the arguments of each operation are held against.
    terms: Vec<Terms>,
}

impl<'d> Reader<'d> {
    fn fault(&mut self, pointer: &str, message: impl Into<String>) {
        if self.read.faults.len() < MAX_FAULTS {
            let (pointer, message) = (pointer.to_owned(), message.into());
            self.read.faults.push(Fault { pointer, message, is_conflict: false });
        }
    }

    fn version(&mut self) -> Option<Dialect> {
        let version = self.root.get("openapi").and_then(Value::as_str).unwrap_or_default();
        if version.starts_with("3.0.") {
            return Some(Dialect::OpenApi30);
        }
        if version.starts_with("3.1.") {
            return Some(Dialect::OpenApi31);
        }
        let message = "is not `3.0.x` or `3.1.x`, which are the versions that are read";
        self.fault("/openapi", message);
        None
    }

    /// Compiles the schemas, when all are known that are needed.
    fn contracts(&mut self) {
        let Some(compiler) = self.compiler.take() else { return };
        let (schemas, faults) = compiler.finish();
        for (place, message) in faults {
            self.fault(&place, message);
        }
        let schemas = Arc::new(schemas);
        for (operation, terms) in self.read.operations.iter_mut().zip(self.terms.drain(..)) {
            let schemas = Arc::clone(&schemas);
            operation.contract = Some(Arc::new(Contract { schemas, terms }));
        }
    }

    /// Every reference must lead to a place in this document, in a finite number of steps.
    fn references(&mut self, value: &'d Value, at: &mut String) {
        let length = at.len();
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref")
                    && let Err(message) = self.follow(target)
                {
                    self.fault(&format!("{at}/$ref"), message);
                }
                for (name, inner) in members {
                    // What is shown to people may look like anything.
                    if matches!(
                        name.as_str(),
                        "example" | "examples" | "default" | "enum" | "const"
                    ) {
                        continue;
                    }
                    push(at, name);
                    self.references(inner, at);
                    at.truncate(length);
                }
            }
            Value::Array(items) => {
                for (n, inner) in items.iter().enumerate() {
                    push(at, &n.to_string());
                    self.references(inner, at);
                    at.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn follow(&self, target: &str) -> Result<&'d Value, String> {
        let mut target = target;
        for _ in 0..MAX_CHAIN {
            let Some(pointer) = target.strip_prefix('#') else {
                return Err(
                    "leads out of the document: only references within it are followed".into()
                );
            };
            let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
            let found = self.root.pointer(&pointer).filter(|_| !pointer.is_empty());
            let Some(found) = found else { return Err("leads to nothing in this document".into()) };
            match found.get("$ref") {
                Some(Value::String(next)) => target = next,
                _ => return Ok(found),
            }
        }
        Err("leads in a circle".into())
    }

    /// What stands at a place, or where its reference leads.
    fn resolved(&self, value: &'d Value) -> &'d Value {
        match value.get("$ref") {
            Some(Value::String(target)) => self.follow(target).unwrap_or(value),
            _ => value,
        }
    }

    fn paths(&mut self) {
        let Some(Value::Object(paths)) = self.root.get("paths") else {
            return self.fault("/paths", "is not an object of paths");
        };
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            let mut at = "/paths".to_owned();
            push(&mut at, path);
            let Value::Object(item) = self.resolved(item) else {
                self.fault(&at, "is not a path item");
                continue;
            };
            self.item(path, item, &at);
        }
        if self.read.operations.is_empty() && self.read.faults.is_empty() {
            self.fault("/paths", "has no operations");
        }
    }

    fn item(&mut self, path: &str, item: &'d Map<String, Value>, path_at: &str) {
        let shared = item.get("parameters");
        for (name, method) in METHODS {
            let Some(operation) = item.get(name) else { continue };
            let at = format!("{path_at}/{name}");
            let Value::Object(operation) = operation else {
                self.fault(&at, "is not an operation");
                continue;
            };
            if self.read.operations.len() >= MAX_OPERATIONS {
                return self.fault(&at, format!("there are more than {MAX_OPERATIONS} operations"));
            }
            let Some(action) = self.action(operation, &at) else { continue };
            match template::parse(path) {
                Ok((pattern, parameters)) if !path.contains('*') => {
                    let lists = [
                        (operation.get("parameters"), format!("{at}/parameters")),
                        (shared, format!("{path_at}/parameters")),
                    ];
                    let method = method.clone();
                    self.operation(
                        operation,
                        lists,
                        Named { action, method, pattern, parameters },
                        at,
                    );
                }
                Ok(_) => self.fault(&at, "its path has a `*`, which is no path of a template"),
                Err(error) => {
                    let is_conflict = error == template::TemplateError::Crowded;
                    self.fault(&at, format!("its path is not a template: {error}"));
                    if let Some(fault) = self.read.faults.last_mut() {
                        fault.is_conflict = is_conflict;
                    }
                }
            }
        }
    }

    fn operation(
        &mut self,
        operation: &'d Map<String, Value>,
        lists: [(Option<&'d Value>, String); 2],
        named: Named,
        at: String,
    ) {
        let Named { action, method, pattern, mut parameters } = named;
        for parameter in &mut parameters {
            let all = lists.iter().filter_map(|(list, _)| *list);
            let mut known = all.filter_map(|list| self.is_whole(list, &parameter.name));
            parameter.whole = known.next().unwrap_or_default();
        }
        let (declared, schemas) = self.parameters(lists);
        let terms = self.terms_of(operation, schemas, &at);
        self.terms.extend(terms);
        self.read.operations.push(Described {
            action,
            method,
            pattern,
            parameters,
            declared,
            contract: None,
            pointer: at,
        });
    }

    /// `operationId` is what grants and policies call the operation, so each has one of its own.
    fn action(&mut self, operation: &'d Map<String, Value>, at: &str) -> Option<Box<str>> {
        let Some(Value::String(action)) = operation.get("operationId") else {
            self.fault(at, "has no `operationId`, so that no grant could name it");
            return None;
        };
        let place = format!("{at}/operationId");
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._/:".contains(c);
        if action.is_empty() || action.len() > 128 || !action.chars().all(fits) {
            let message = "is not a name: at most 128 letters, digits and `-`, `.`, `_`, `/`, `:`";
            self.fault(&place, message);
            return None;
        }
        if let Some(other) = self.names.insert(action, place.clone()) {
            self.fault(&place, format!("is also at {other}"));
            return None;
        }
        Some(action.as_str().into())
    }

    /// Whether the path parameter of this name in a list is a whole number, if it is there.
    fn is_whole(&self, list: &'d Value, name: &str) -> Option<bool> {
        let parameters = list.as_array()?.iter().map(|one| self.resolved(one));
        let mut named = parameters.filter(|one| {
            one.get("in").and_then(Value::as_str) == Some("path")
                && one.get("name").and_then(Value::as_str) == Some(name)
        });
        let schema = self.resolved(named.next()?.get("schema")?);
        Some(schema.get("type").and_then(Value::as_str) == Some("integer"))
    }
}

/// RFC 6901 §3.
fn push(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&escaped(token));
}

#[cfg(test)]
mod tests;
