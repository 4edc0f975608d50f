//! JSON as the engine sees it.

use std::collections::BTreeMap;

use regorus::Value;
use serde_json::Value as Json;

/// `json` as a value of the engine. Integers stay what they are: nothing passes through a double that was
/// not one (R-POL-024).
pub(super) fn of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => {
            if let Some(integer) = number.as_u64() {
                Value::from(integer)
            } else if let Some(integer) = number.as_i64() {
                Value::from(integer)
            } else {
                // serde_json holds only finite numbers.
                number.as_f64().map_or(Value::Undefined, Value::from)
            }
        }
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(of).collect::<Vec<_>>()),
        Json::Object(members) => {
            let members =
                members.iter().map(|(name, value)| (Value::from(name.as_str()), of(value)));
            Value::from(members.collect::<BTreeMap<_, _>>())
        }
    }
}
