//! `opgate policy`: policies tested and checked before a token carries them.

pub mod check;
pub mod digest;
pub mod test;
pub mod trace;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::Usage;
use crate::policy::engine::{self, Class, Data, Language, Source};
use crate::state::policies;

/// Which policies are meant, and how they will be used.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Policies, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Who will have written them: `carried` by a token, or `local` to this gate
    #[arg(long, value_enum, default_value_t = Writer::Carried)]
    class: Writer,
    /// What policies of this gate find under `data`: a JSON file, with `--class local`
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The rule that decides
    #[arg(long, value_name = "RULE", default_value = "allow")]
    entry_point: String,
    /// Read what is no Rego of version 1 as the language was before
    #[arg(long)]
    rego_v0: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Who writes a policy.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Writer {
    Carried,
    Local,
}

impl PolicyArgs {
    fn language(&self, path: &Path) -> Language {
        if path.extension().is_some_and(|ending| ending == "cedar") {
            Language::Cedar
        } else if self.rego_v0 {
            Language::RegoV0
        } else {
            Language::RegoV1
        }
    }

    const fn class(&self) -> Class {
        match self.class {
            Writer::Carried => Class::Carried,
            Writer::Local => Class::Local,
        }
    }

    fn data(&self) -> anyhow::Result<Option<Data>> {
        match (&self.data, self.class) {
            (None, _) => Ok(None),
            (Some(path), Writer::Local) => Ok(Some(policies::data(path)?)),
            (Some(_), Writer::Carried) => {
                Err(Usage::error("policies that tokens carry see no data: say `--class local`"))
            }
        }
    }

    fn source<'a>(&'a self, path: &Path, text: &'a str) -> Source<'a> {
        Source {
            language: self.language(path),
            class: self.class(),
            entry_point: &self.entry_point,
            text,
        }
    }

    /// Every policy below the paths, in order, and every other file whose name ends in one of `further`. In
    /// a build without Cedar, what is written in it is left out, unless it is named itself.
    fn files(&self, further: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let cedar = engine::HAS_CEDAR.then_some(".cedar");
        let endings: Vec<_> =
            cedar.into_iter().chain([".rego"]).chain(further.iter().copied()).collect();
        for path in &self.paths {
            collect(path, &endings, &mut found)?;
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

fn collect(path: &Path, endings: &[&str], found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    if !path.metadata().with_context(unreadable)?.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        let name = entry.file_name();
        let is_wanted =
            name.to_str().is_some_and(|name| endings.iter().any(|end| name.ends_with(end)));
        // A link could lead in a circle.
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() || kind.is_file() && is_wanted {
            collect(&path, endings, found)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
