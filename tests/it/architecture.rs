//! The layers of `lib.rs`, as a test. This table is the diagram: to add an
//! edge is to change the architecture, and shows up in review as that.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

/// Module, and what it may import from the crate. Lowest layer first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("manual", &[]),
    ("model", &[]),
    ("operation", &["model"]),
    ("token", &["model"]),
    ("audit", &["model"]),
    ("policy", &["model", "token"]),
    ("decide", &["model", "operation", "token", "policy"]),
    ("config", &["model", "operation", "token", "policy", "audit"]),
    ("runtime", &["model", "config"]),
    ("facts", &["model", "operation", "token", "policy", "decide", "config", "runtime"]),
    ("journal", &["model", "audit", "config", "runtime"]),
    ("state", &["model", "operation", "token", "policy", "decide", "config"]),
    ("proxy", BELOW_SERVERS),
    ("admin", BELOW_SERVERS),
    ("cli", EVERYTHING),
];

/// What a server may import: everything below, never another server.
const BELOW_SERVERS: &[&str] = &[
    "model",
    "operation",
    "token",
    "audit",
    "policy",
    "decide",
    "config",
    "runtime",
    "facts",
    "journal",
    "state",
];

/// What the command line may import.
const EVERYTHING: &[&str] = &[
    "model",
    "operation",
    "token",
    "audit",
    "policy",
    "decide",
    "config",
    "runtime",
    "facts",
    "journal",
    "state",
    "proxy",
    "admin",
];

/// Modules that only compute. They may not touch the world.
const PURE: &[&str] = &["model", "operation", "token", "policy", "audit", "decide"];

/// Path prefixes that reach the world.
const WORLD: &[&str] = &[
    "hyper",
    "hyper_util",
    "rand",
    "rustls",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "tokio",
];

#[test]
fn modules_import_only_what_their_layer_allows() {
    let mut wrong = Vec::new();
    for (module, path) in sources() {
        let allowed = MAY_IMPORT
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("`{module}` is not in the table"))
            .1;
        for used in paths_in(&path) {
            let outside = used
                .strip_prefix("crate::")
                .map(|rest| rest.split("::").next().unwrap_or(rest))
                .filter(|first| *first != module && !allowed.contains(first));
            let climbs = used.starts_with("super::super");
            let impure = PURE.contains(&module.as_str())
                && WORLD.iter().any(|world| used.starts_with(world));
            if outside.is_some() || climbs || impure {
                wrong.push(format!("{}: {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the layering:\n{}", wrong.join("\n"));
}

/// `tokens.md`: names of claims may change with the drafts, so each stands in one table and nowhere else.
#[test]
fn names_of_claims_are_written_in_their_table_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table = fs::read_to_string(root.join("token/member.rs")).unwrap();
    let texts = table.lines().filter_map(|line| line.split_once(" = ")?.1.strip_suffix(';'));
    let texts: Vec<&str> = texts.filter(|text| text.starts_with('"')).collect();
    assert!(texts.len() > 60, "{texts:?}");
    // Members of keys have a table of their own; and a label in front of people is no claim.
    let is_exempt = |file: &str, text: &str| {
        file.ends_with("token/keys.rs")
            || file.ends_with("token/member.rs")
            || (file.ends_with("cli/token/inspect.rs")
                && matches!(text, "\"identifier\"" | "\"status\""))
    };
    let mut wrong = Vec::new();
    for (_, path) in sources() {
        let file = path.display().to_string();
        if !file.contains("/src/token/") && !file.contains("/src/cli/token/") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default().lines();
        // `json!` takes names of members only as they are.
        let code =
            code.filter(|line| !line.trim_start().starts_with("//") && !line.contains("json!("));
        for line in code {
            let found =
                texts.iter().filter(|text| line.contains(**text) && !is_exempt(&file, text));
            wrong.extend(found.map(|text| format!("{file}: {text}")));
        }
    }
    assert!(wrong.is_empty(), "written beside the table of `token::member`:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycles() {
    for (n, (module, imports)) in MAY_IMPORT.iter().enumerate() {
        let below: BTreeSet<_> = MAY_IMPORT[..n].iter().map(|(name, _)| *name).collect();
        for import in *imports {
            assert!(below.contains(import), "`{module}` imports `{import}`, which is not below it");
        }
    }
}

fn sources() -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walkdir::WalkDir::new(&src)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        // A test module in a file of its own is exempt as one inside of a file is.
        .filter(|path| path.file_name().is_some_and(|name| name != "tests.rs"))
        .filter_map(move |path| {
            let first = path.strip_prefix(&src).ok()?.components().next()?;
            let module = first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
            (module != "lib" && module != "main").then_some((module, path))
        })
}

/// Every path a file names, `use` trees flattened. Test modules are exempt.
fn paths_in(path: &Path) -> BTreeSet<String> {
    let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
    let mut paths = Paths::default();
    paths.visit_file(&file);
    paths.0
}

#[derive(Default)]
struct Paths(BTreeSet<String>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, "", &mut self.0);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if names.len() > 1 {
            self.0.insert(names.join("::"));
        }
        visit::visit_path(self, path);
    }
}

fn flatten(tree: &syn::UseTree, prefix: &str, into: &mut BTreeSet<String>) {
    let join = |name: &syn::Ident| {
        if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") }
    };
    match tree {
        syn::UseTree::Path(path) => flatten(&path.tree, &join(&path.ident), into),
        syn::UseTree::Name(name) => drop(into.insert(join(&name.ident))),
        syn::UseTree::Rename(name) => drop(into.insert(join(&name.ident))),
        syn::UseTree::Glob(_) => drop(into.insert(prefix.to_owned())),
        syn::UseTree::Group(group) => group.items.iter().for_each(|t| flatten(t, prefix, into)),
    }
}
