//! `openapi`: the operations that come from a document, beside those that are written in the file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::problem::Place;
use super::raw::Section;
use super::reading::Reading;
use super::{Described, OperationRule, operation, value};
use crate::model::authentication::Demand;
use crate::model::{confirmation, json};
use crate::operation::catalog::BodyUse;
use crate::operation::openapi::{self, MAX_DEPTH, Read};

/// The largest document that is read: those of the largest public APIs have ten megabytes.
const LARGEST: u64 = 16 * 1_024 * 1_024;

/// What the operations of a document demand beside a grant: what those of the resource do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demands<'a> {
    pub(super) authentication: &'a Demand,
    pub(super) confirmation: &'a confirmation::Demand,
}

/// Reads the document of a resource, and adds its operations behind those that are `written`.
pub(super) fn document(
    section: &Section<'_>,
    demands: Demands<'_>,
    written: &mut Vec<OperationRule>,
    into: &mut Reading<'_>,
) -> Option<PathBuf> {
    let (text, place) = section.text("openapi")?;
    let path = value::path(text, into.base());
    if into.opens {
        match contents(&path) {
            Ok((root, octets)) => {
                into.documents.extend_from_slice(&octets);
                let lenient = section.text_or_default("openapi_conflicts").0 == "deny";
                let shown = value::shown(text);
                let source = Source { shown: &shown, place: &place, lenient };
                let read = openapi::read(&root, section.switch("validate"));
                add(read, demands, &source, written, into);
            }
            Err(message) => {
                into.problems.add(&place, format!("`{}`: {message}", value::shown(text)));
            }
        }
    }
    Some(path)
}

/// Where operations come from, for messages.
struct Source<'a> {
    shown: &'a str,
    place: &'a Place,
    /// Whether paths that cannot be told apart are refused call by call, and not with the document.
    lenient: bool,
}

fn add(
    read: Read,
    demands: Demands<'_>,
    source: &Source<'_>,
    written: &mut Vec<OperationRule>,
    into: &mut Reading<'_>,
) {
    complain(read.faults, source, into);
    for (pointer, message) in read.notes {
        let message = format!("`{}`: {}: {message}", source.shown, value::shown(&pointer));
        into.problems.warn(source.place, message, "what is not validated is left to policies");
    }
    let operations = read.operations;
    let (mut taken, mut unwritten) = (Vec::new(), Vec::new());
    for one in &operations {
        let rule = operation::take_written(one, written);
        if matches!(rule, Ok(None)) {
            unwritten.push(one);
        }
        taken.push(rule.unwrap_or_else(|message| {
            disagree(one, &message, source, into);
            None
        }));
    }
    // What is written for an operation of the document has been taken out, and covers nothing else.
    for one in unwritten {
        if let Err(message) = operation::check_reached(one, written) {
            disagree(one, &message, source, into);
        }
    }
    let rivals = rivals(&operations, source, into);
    let line = into.problems.line(source.place.span.start);
    let described = operations.into_iter().zip(rivals).zip(taken).map(|((one, rivals), taken)| {
        let described = Some(Described { pointer: one.pointer.into(), rivals });
        match taken {
            Some(rule) => OperationRule { described, ..rule },
            None => OperationRule {
                action: Some(one.action),
                methods: vec![one.method],
                path: one.pattern,
                parameters: one.parameters,
                body: operation::body_of(one.contract.as_deref(), BodyUse::WhenNeeded),
                declared: one.declared,
                contract: one.contract,
                scopes: Vec::new(),
                authentication: demands.authentication.clone(),
                confirmation: demands.confirmation.clone(),
                described,
                line,
            },
        }
    });
    written.extend(described);
}

/// What is wrong with the document, but for what is only left out of it.
fn complain(faults: Vec<openapi::Fault>, source: &Source<'_>, into: &mut Reading<'_>) {
    for fault in faults {
        let pointer = value::shown(&fault.pointer);
        let message = format!("`{}`: {pointer}: {}", source.shown, fault.message);
        if fault.is_conflict && source.lenient {
            into.problems.warn(
                source.place,
                message,
                "it is left out, and calls to it are refused",
            );
        } else {
            into.problems.add(source.place, message);
        }
    }
}

/// For each operation, those before it that have the same claim to some path.
fn rivals(
    operations: &[openapi::Described],
    source: &Source<'_>,
    into: &mut Reading<'_>,
) -> Vec<Vec<usize>> {
    let mut rivals = vec![Vec::new(); operations.len()];
    for (later, earlier) in openapi::conflicts(operations) {
        let (Some(all), Some(one), Some(other)) =
            (rivals.get_mut(later), operations.get(later), operations.get(earlier))
        else {
            continue;
        };
        all.push(earlier);
        let (one, other) = (value::shown(&one.pointer), value::shown(&other.pointer));
        let message = format!("`{}`: {one} and {other} can be one path", source.shown);
        if source.lenient {
            into.problems.warn(source.place, message, "calls to such a path are refused");
        } else {
            let hint = "change the document, or set `openapi_conflicts` to refuse such calls";
            into.problems.hint(source.place, message, hint);
        }
    }
    rivals
}

/// The file and the document contradict each other.
fn disagree(one: &openapi::Described, message: &str, source: &Source<'_>, into: &mut Reading<'_>) {
    let message = format!("`{}`: {}: {message}", source.shown, value::shown(&one.pointer));
    into.problems.hint(source.place, message, "let the file and the document agree");
}

/// The document as JSON, and its octets.
fn contents(path: &Path) -> Result<(Value, Vec<u8>), String> {
    let mut octets = Vec::new();
    // What it is comes first: to open a pipe is to wait for whoever writes to it.
    let found = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("is not a file".to_owned());
    }
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut octets))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(octets.len()).is_ok_and(|length| length > LARGEST) {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    let is_yaml = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
    let root = if is_yaml {
        yaml_serde::from_slice(&octets)
            .map_err(|error| error.to_string())
            .and_then(|yaml| from_yaml(yaml, MAX_DEPTH))
    } else {
        json::parse(&octets, MAX_DEPTH).map_err(|error| error.to_string())
    };
    Ok((root.map_err(|error| format!("cannot be read: {error}"))?, octets))
}

/// YAML as the JSON that it stands for (OpenAPI 3.1 §4.3): names are text, and nothing is tagged.
fn from_yaml(yaml: yaml_serde::Value, depth: usize) -> Result<Value, String> {
    use yaml_serde::Value as Yaml;
    let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
    match yaml {
        Yaml::Null => Ok(Value::Null),
        Yaml::Bool(value) => Ok(value.into()),
        Yaml::String(text) => Ok(text.into()),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Ok(number.into()),
            (None, Some(number), _) => Ok(number.into()),
            (None, None, Some(number)) if number.is_finite() => Ok(number.into()),
            _ => Err("a number that JSON does not have".to_owned()),
        },
        Yaml::Sequence(items) => {
            items.into_iter().map(|item| from_yaml(item, depth)).collect::<Result<_, _>>()
        }
        Yaml::Mapping(members) => {
            let mut object = serde_json::Map::new();
            for (name, value) in members {
                let name = match name {
                    Yaml::String(name) => name,
                    // The statuses of responses are often written without quotes.
                    Yaml::Number(number) => number.to_string(),
                    _ => return Err("a name that is no text".to_owned()),
                };
                if object.insert(name, from_yaml(value, depth)?).is_some() {
                    return Err("duplicate member name".to_owned());
                }
            }
            Ok(Value::Object(object))
        }
        Yaml::Tagged(_) => Err("a tag, which JSON does not have".to_owned()),
    }
}
