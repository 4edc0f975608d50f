//! The coverage table of the manual: each rule, and the tests that show it. It is made from the names
//! of the tests, so that it cannot say more than there is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "src/manual/coverage.md";
/// The areas of the rules.
const AREAS: [&str; 7] = ["tok", "ver", "pol", "err", "del", "evi", "mcp"];

#[test]
fn the_coverage_table_says_which_tests_show_which_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join(TABLE)).unwrap();
    let mut shown = tests_by_rule(root);
    let lines: Vec<String> = table.lines().map(|line| with_tests(line, &mut shown)).collect();
    assert!(shown.is_empty(), "tests name rules that {TABLE} does not have: {shown:?}");
    let made = lines.join("\n") + "\n";
    if std::env::var_os("OPGATE_UPDATE_COVERAGE").is_some() {
        fs::write(root.join(TABLE), &made).unwrap();
    } else {
        assert!(
            made == table,
            "{TABLE} is not up to date: run OPGATE_UPDATE_COVERAGE=1 cargo nextest run coverage"
        );
    }
}

/// A row of the table with its last cell made anew; any other line as it is.
fn with_tests(line: &str, shown: &mut BTreeMap<String, Vec<String>>) -> String {
    let Some(rule) = line.strip_prefix("| R-").and_then(|rest| rest.get(..7)) else {
        return line.to_owned();
    };
    let tests = shown.remove(&rule.to_ascii_lowercase().replace('-', "_"));
    let cells: Vec<&str> = line.split(" | ").take(3).collect();
    let tests = tests.map_or_else(|| "none yet".to_owned(), |tests| tests.join(", "));
    format!("{} | {tests} |", cells.join(" | "))
}

/// For each rule the modules of the tests whose names begin with it: `tok_001_…`, or `tok_001_002_…`
/// for several rules at once.
fn tests_by_rule(root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources(root) {
        let text = fs::read_to_string(&file).unwrap();
        let module = module_of(file.strip_prefix(root).unwrap());
        for name in text.lines().filter_map(test_name) {
            for rule in rules_of(name) {
                let modules = shown.entry(rule).or_default();
                if !modules.contains(&module) {
                    modules.push(module.clone());
                }
            }
        }
    }
    shown
}

fn test_name(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    let name = rest.split('(').next()?;
    Some(name.strip_prefix("r_").unwrap_or(name))
}

/// `ver_011_012_a_proof…` names two rules, `ver_011_to_013_…` three.
fn rules_of(name: &str) -> Vec<String> {
    let mut words = name.split('_').peekable();
    let mut rules = Vec::new();
    while let Some(area) = words.next().filter(|word| AREAS.contains(word)) {
        while let Some(number) = words.next_if(|word| is_number(word)) {
            rules.push(format!("{area}_{number}"));
        }
        if words.peek() == Some(&"and") {
            words.next();
        }
    }
    rules
}

fn is_number(word: &str) -> bool {
    word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `tests/it/paths.rs` is `paths`; `src/token/dpop.rs` is `token::dpop`.
fn module_of(path: &Path) -> String {
    let text = path.with_extension("").display().to_string();
    let text =
        text.strip_prefix("tests/it/").or_else(|| text.strip_prefix("src/")).unwrap_or(&text);
    let text = text.strip_suffix("/tests").or_else(|| text.strip_suffix("/mod")).unwrap_or(text);
    format!("`{}`", text.replace('/', "::"))
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_test_may_name_several_rules() {
    assert_eq!(rules_of("tok_001_a_flipped_byte"), ["tok_001"]);
    assert_eq!(rules_of("ver_011_012_a_proof"), ["ver_011", "ver_012"]);
    assert_eq!(rules_of("del_003_and_evi_004_both"), ["del_003", "evi_004"]);
    assert!(rules_of("a_test_of_tok_001").is_empty());
}
