//! From the text of the file to every problem of its syntax and shape.

use std::path::Path;

use toml::de::DeTable;

use super::problem::{Collector, Place, Problems};
use super::raw;

/// Checks syntax, keys, types, ranges and required keys; opens nothing.
pub fn check_shape(text: &str, file: &Path) -> Result<(), Problems> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut collector = Collector::new(text, file);
    for error in &errors {
        let place = Place { key: String::new(), span: error.span().unwrap_or(0..0) };
        collector.add(&place, error.message().replace('\n', ", "));
    }
    let top = Place { key: String::new(), span: 0..0 };
    raw::check("", tree.get_ref(), &top, &mut collector);
    if errors.is_empty() {
        raw::check_required("", tree.get_ref(), &top, &mut collector);
    }
    collector.finish().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_shape_is_reported_at_once() {
        let text = "[gate]\nlisten = 7\norigin = \"https://a\"\ndrian = \"30s\"\ndrain = \"30\"\n";
        let shown = check_shape(text, Path::new("opgate.toml")).unwrap_err().to_string();
        for expected in [
            "opgate.toml:2:10: gate.listen: expected a string (endpoint) or an array of them, found integer",
            "opgate.toml:4:1: gate.drian: unknown key `drian`",
            "  = did you mean `drain`?",
            "opgate.toml:5:9: gate.drain: `30` is not a duration such as",
            "at least one `[[issuer]]` is required",
            "at least one `[[upstream]]` is required",
            "at least one `[[resource]]` is required",
        ] {
            assert!(shown.contains(expected), "{expected}\nin\n{shown}");
        }
    }
}
