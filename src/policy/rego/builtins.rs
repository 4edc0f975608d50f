//! Which builtin functions a policy may call, and the bounds that the engine does not set itself
//! (`policy.md` §5, §5.1).
//!
//! What is on neither list is refused when the policy is read. What is on a list but makes more than it is
//! given runs behind a guard, which looks at the size of what goes in; a value can then not be doubled
//! over and over.

use std::net::IpAddr;

use anyhow::Error;
use ipnet::IpNet;
use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{Extension, Value};

use super::work;
use crate::model::hex::hex;
use crate::policy::engine::Class;
use crate::token::hash::sha256;

/// Total functions whose result is bounded by what they are given.
const ANY: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "contains",
    "count",
    "crypto.sha256",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_intersects",
    "net.cidr_is_valid",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.is_valid",
    "regex.match",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "uuid.parse",
];

/// What the operator's own policies may use besides, behind guards.
const LOCAL: &[&str] = &[
    "bits.lsh",
    "concat",
    "json.unmarshal",
    "numbers.range",
    "numbers.range_step",
    "regex.find_n",
    "regex.replace",
    "regex.split",
    "replace",
    "sprintf",
    "strings.replace_n",
    "units.parse",
    "units.parse_bytes",
];

/// The most that goes into a guarded builtin: bytes of text, and 16 for each other value. Also the most
/// that comes out of one that repeats what it is given.
const MAX_SIZE: usize = 64 * 1_024;
/// The longest range of numbers (§5).
const MAX_RANGE: i64 = 10_000;
/// The most numbers that are multiplied in one call.
const MAX_FACTORS: usize = 1_000;
/// The longest text that is read as a number.
const MAX_NUMBER: usize = 64;

/// What is read for one step, in bytes or members.
const READ_PER_STEP: usize = 64;
/// What is made for one step, as [`size`] counts.
const MADE_PER_STEP: usize = 16;

/// Whether a policy of `class` may call `name`.
pub(super) fn is_admitted(name: &str, class: Class) -> bool {
    ANY.contains(&name) || class == Class::Local && LOCAL.contains(&name)
}

/// Every builtin there is for policies of `class`.
pub(super) fn admitted(class: Class) -> impl Iterator<Item = &'static str> {
    let more = if class == Class::Local { LOCAL } else { &[] };
    ANY.iter().chain(more).copied()
}

/// Which argument of `name` is a pattern, which must be written out: what a pattern costs can then be seen
/// by who approves it, and compiling it happens once.
pub(super) fn pattern(name: &str) -> Option<usize> {
    match name {
        "glob.match" | "regex.find_n" | "regex.is_valid" | "regex.match" | "regex.split"
        | "sprintf" | "time.parse_ns" => Some(0),
        "regex.replace" => Some(1),
        _ => None,
    }
}

/// What is asked of the arguments of a builtin before it runs.
type Guard = fn(&[Value]) -> Result<(), &'static str>;

/// What is asked of the arguments of `name` besides their size, where it is guarded.
fn guard(name: &str) -> Option<Guard> {
    Some(match name {
        "array.concat"
        | "base64.encode"
        | "base64url.encode"
        | "base64url.encode_no_pad"
        | "concat"
        | "format_int"
        | "hex.encode"
        | "indexof_n"
        | "json.marshal"
        | "json.unmarshal"
        | "object.union"
        | "object.union_n"
        | "regex.find_n"
        | "regex.split"
        | "split"
        | "sprintf"
        | "trim"
        | "trim_left"
        | "trim_right"
        | "union"
        | "urlquery.encode"
        | "urlquery.encode_object" => |_| Ok(()),
        "bits.lsh" => shift,
        "numbers.range" | "numbers.range_step" => range,
        "product" => factors,
        "regex.replace" | "replace" => replaced,
        "strings.replace_n" => all_replaced,
        "to_number" | "units.parse" | "units.parse_bytes" => number,
        _ => return None,
    })
}

/// Builtins that make nothing of size, and look at next to nothing: they run as they are. All others are
/// charged for what they read and make, or a loop could collect more than there is memory.
fn is_free(name: &str) -> bool {
    let word = name.split('.').next().unwrap_or_default();
    let is_small = matches!(
        name,
        "abs"
            | "bits.and"
            | "bits.negate"
            | "bits.or"
            | "bits.rsh"
            | "bits.xor"
            | "ceil"
            | "count"
            | "endswith"
            | "floor"
            | "max"
            | "min"
            | "object.get"
            | "round"
            | "startswith"
            | "sum"
            | "type_name"
    );
    is_small || name.starts_with("is_") || matches!(word, "semver" | "time" | "uuid")
}

/// A function in the place of a builtin.
pub(super) type Substitute = Box<dyn Extension>;

/// What is put in the place of the builtin `name`, if anything is: the number of its arguments, and it.
/// `span` is where the engine says that it failed.
pub(super) fn substitute(name: &str, span: &Span) -> Option<(u8, Substitute)> {
    if let Some(own) = own(name) {
        return Some(own);
    }
    let guard = guard(name);
    let (builtin, arity) = *BUILTINS.get(name).filter(|_| guard.is_some() || !is_free(name))?;
    let nothing = Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
    let span = span.clone();
    let guarded = move |arguments: Vec<Value>| {
        if let Some(guard) = guard {
            let is_small = size(&arguments, MAX_SIZE) <= MAX_SIZE;
            let allowed = if is_small { guard(&arguments) } else { Err("too large") };
            allowed.map_err(|problem| span.error(problem))?;
        }
        work::charge(arguments.iter().map(read).fold(0, usize::saturating_add) / READ_PER_STEP);
        let places: Vec<_> = arguments.iter().map(|_| nothing.clone()).collect();
        let result = builtin(&span, &places, &arguments, true)?;
        work::charge(size(std::slice::from_ref(&result), usize::MAX) / MADE_PER_STEP);
        Ok(result)
    };
    Some((arity, Box::new(guarded)))
}

/// A function of ours. None where an argument is not what it must be.
type Function = fn(&[Value]) -> Option<Value>;

/// What a builtin reads of an argument, as far as it shows at once.
fn read(argument: &Value) -> usize {
    match argument {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Undefined => 0,
    }
}

/// Functions that the engine lacks.
fn own(name: &str) -> Option<(u8, Substitute)> {
    let (arity, function): (u8, Function) = match name {
        "crypto.sha256" => {
            (1, |arguments| Some(hex(&sha256(text(arguments, 0)?.as_bytes())).into()))
        }
        "net.cidr_contains" => (2, |arguments| {
            let (network, inner) = (network(arguments, 0)?, network(arguments, 1)?);
            Some(network.contains(&inner).into())
        }),
        "net.cidr_intersects" => (2, |arguments| {
            let (one, other) = (network(arguments, 0)?, network(arguments, 1)?);
            Some((one.contains(&other.network()) || other.contains(&one.network())).into())
        }),
        "net.cidr_is_valid" => {
            (1, |arguments| Some(text(arguments, 0)?.parse::<IpNet>().is_ok().into()))
        }
        _ => return None,
    };
    let checked = move |arguments: Vec<Value>| {
        function(&arguments).ok_or_else(|| Error::msg("an argument is not what it must be"))
    };
    Some((arity, Box::new(checked)))
}

fn text(arguments: &[Value], n: usize) -> Option<&str> {
    match arguments.get(n)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A network, or an address as the network that is it alone.
fn network(arguments: &[Value], n: usize) -> Option<IpNet> {
    let text = text(arguments, n)?;
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn integer(arguments: &[Value], n: usize) -> Option<i64> {
    arguments.get(n)?.as_i64().ok()
}

/// How large `values` are, as far as it matters: it stops counting beyond `most`. Depth needs no bound:
/// values come from JSON of bounded depth and from expressions of bounded depth.
fn size(values: &[Value], most: usize) -> usize {
    let mut total = 0_usize;
    let mut left: Vec<&Value> = values.iter().collect();
    while let Some(value) = left.pop() {
        total = total.saturating_add(match value {
            Value::String(text) => text.len().saturating_add(16),
            Value::Number(number) if number.as_i64().is_none() && number.as_f64().is_none() => {
                MAX_SIZE
            }
            _ => 16,
        });
        if total > most {
            return total;
        }
        match value {
            Value::Array(items) => left.extend(items.iter()),
            Value::Set(items) => left.extend(items.iter()),
            Value::Object(members) => {
                for (name, value) in members.iter() {
                    left.push(name);
                    left.push(value);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Undefined => {}
        }
    }
    total
}

/// `replace(text, old, new)` and `regex.replace(text, pattern, new)`: `new` may come once for each byte.
fn replaced(arguments: &[Value]) -> Result<(), &'static str> {
    let length = |n| text(arguments, n).map_or(0, str::len);
    let largest = length(0).saturating_add(1).saturating_mul(length(2).max(1));
    if largest <= MAX_SIZE { Ok(()) } else { Err("the result could be too large") }
}

/// `strings.replace_n({old: new, …}, text)`
fn all_replaced(arguments: &[Value]) -> Result<(), &'static str> {
    let longest = match arguments.first() {
        Some(Value::Object(patterns)) => {
            patterns.iter().map(|(_, new)| size(std::slice::from_ref(new), MAX_SIZE)).max()
        }
        _ => None,
    };
    let largest = text(arguments, 1)
        .map_or(0, str::len)
        .saturating_add(1)
        .saturating_mul(longest.unwrap_or(1));
    if largest <= MAX_SIZE { Ok(()) } else { Err("the result could be too large") }
}

fn factors(arguments: &[Value]) -> Result<(), &'static str> {
    let factors = match arguments.first() {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Set(items)) => items.len(),
        _ => 0,
    };
    if factors <= MAX_FACTORS { Ok(()) } else { Err("too many factors") }
}

/// A text that is read as a number: short, and with an exponent that makes no giant.
fn number(arguments: &[Value]) -> Result<(), &'static str> {
    let Some(text) = text(arguments, 0) else { return Ok(()) };
    let exponent = text.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
    let digits = exponent.bytes().filter(u8::is_ascii_digit).count();
    if text.len() <= MAX_NUMBER && digits <= 2 { Ok(()) } else { Err("not a number of this world") }
}

fn shift(arguments: &[Value]) -> Result<(), &'static str> {
    match integer(arguments, 1) {
        Some(0..=1_024) => Ok(()),
        _ => Err("a shift of more than 1024 bits"),
    }
}

fn range(arguments: &[Value]) -> Result<(), &'static str> {
    let (Some(first), Some(last)) = (integer(arguments, 0), integer(arguments, 1)) else {
        return Err("the ends of a range are integers");
    };
    match last.checked_sub(first).and_then(i64::checked_abs) {
        Some(0..=MAX_RANGE) => Ok(()),
        _ => Err("a range of more than 10000 numbers"),
    }
}

/// Whether `format` of `sprintf` asks for no width that it writes itself, or for one of at most two digits:
/// a width is how two bytes become a gigabyte.
pub(super) fn is_plain_format(format: &str) -> bool {
    format.split('%').skip(1).all(|verb| {
        let digits: usize = verb
            .bytes()
            .take_while(|byte| !byte.is_ascii_alphabetic())
            .filter(|byte| byte.is_ascii_digit() || *byte == b'*')
            .map(|byte| if byte == b'*' { 3 } else { 1 })
            .sum();
        digits <= 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_on_the_lists_exists() {
        for name in admitted(Class::Local) {
            assert!(own(name).is_some() || BUILTINS.contains_key(name), "{name}");
            assert!(own(name).is_none() || !BUILTINS.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_the_engine_has_beyond_the_lists_is_known_and_refused() {
        let known = [
            "__builtin_sets.intersection",
            "__builtin_sets.union",
            "json.marshal_with_options",
            "rand.intn",
            "regex.find_all_string_submatch_n",
            "regex.globs_match",
            "regex.template_match",
            "trace",
            "uuid.rfc4122",
            "walk",
        ];
        for name in BUILTINS.keys().filter(|name| !is_admitted(name, Class::Local)) {
            assert!(known.contains(name), "`{name}` is new: admit or refuse it");
        }
    }

    #[test]
    fn a_width_in_a_format_is_short() {
        for (format, plain) in [
            ("%d of %s", true),
            ("%05.2f", false),
            ("%5d", true),
            ("%1000000000d", false),
            ("%*d", false),
            ("100%", true),
        ] {
            assert_eq!(is_plain_format(format), plain, "{format}");
        }
    }
}
