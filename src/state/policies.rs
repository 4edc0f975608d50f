//! The operator's own policies, read from their files when a configuration is put into force: those that
//! tokens may name, and those that bound a resource.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config;
use crate::decide::consult;
use crate::decide::world::LocalPolicy;
use crate::policy::engine::{self, Class, Data, NotAdmitted, Source};
use crate::policy::record::{MAX_SOURCE, NotAPolicy, Record};
use crate::policy::registry::{Registry, Taken};
use crate::token::trust::Issuer;

/// The most files of a directory of policies.
const MAX_FILES: usize = 10_000;
/// The largest file of one: the largest text, escaped, and what stands beside it.
const MAX_FILE: usize = 2 * MAX_SOURCE;

/// The largest file of data.
const MAX_DATA: usize = 1_024 * 1_024;

/// Why the operator's policies cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file or directory cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Io {
        /// It.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is no policy, or not one that can be used.
    #[error("`{}` is not a policy: {why}", path.display())]
    NotAPolicy {
        /// It.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file is no data of a policy.
    #[error("`{}` is not the data of a policy: {why}", path.display())]
    NotData {
        /// It.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Several, each on its line.
    #[error("{}", told(all))]
    Several {
        /// They.
        all: Vec<Self>,
    },
    /// A policy uses what it must not, or is none.
    #[error("`{}`: {why}", path.display())]
    NotAdmitted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: NotAdmitted,
    },
}

fn told(all: &[PolicyError]) -> String {
    let lines = all.iter().map(|one| match one.source() {
        Some(source) => format!("{one}: {source}"),
        None => one.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn not_a_policy(path: &Path, why: impl Into<String>) -> PolicyError {
    PolicyError::NotAPolicy { path: path.to_owned(), why: why.into() }
}

/// Compiles a policy of a resource.
pub(super) fn local(policy: &config::LocalPolicy) -> Result<LocalPolicy, PolicyError> {
    let path = &policy.file;
    let text = read(path)?;
    let text = std::str::from_utf8(&text)
        .map_err(|_error| not_a_policy(path, NotAPolicy::Encoding.to_string()))?;
    let source = Source {
        language: policy.language,
        class: Class::Local,
        entry_point: &policy.entry_point,
        text,
    };
    let data = policy.data.as_deref().map(data).transpose()?;
    let compiled = engine::compile_with(&source, data.as_ref())
        .map_err(|why| PolicyError::NotAdmitted { path: path.clone(), why })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(LocalPolicy { name: name.into(), policy: compiled })
}

/// Reads what a policy of a resource finds under `data`.
pub fn data(path: &Path) -> Result<Data, PolicyError> {
    let why = "it is not a JSON object of at most 1 MiB, with numbers that are kept exactly";
    let text = read_within(path, MAX_DATA)?;
    Data::read(&text).ok_or(PolicyError::NotData { path: path.to_owned(), why })
}

/// Reads the policies that tokens may name. They are compiled when a token names them: as the issuer of
/// that token may have them written. What cannot be used joins `faults`.
pub(super) fn registry(directory: &Path, faults: &mut Vec<PolicyError>) -> Registry {
    let mut registry = Registry::default();
    let files = match listed(directory) {
        Ok(files) => files,
        Err(fault) => {
            faults.push(fault);
            return registry;
        }
    };
    for path in files {
        match registered(&path) {
            Ok((id, record)) => {
                let issuer = record.issuer.clone();
                if let Err(Taken) = registry.add(&id, issuer.as_deref(), record) {
                    let why = format!("another file has the policy `{id}` already");
                    faults.push(not_a_policy(&path, why));
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    registry
}

fn listed(directory: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let files = config::policies::files(directory)
        .map_err(|source| PolicyError::Io { path: directory.to_owned(), source })?;
    if files.len() > MAX_FILES {
        return Err(not_a_policy(directory, "there are more than 10000 policies in it"));
    }
    Ok(files)
}

/// All that is wrong, as one.
pub(super) fn none_of(mut faults: Vec<PolicyError>) -> Result<(), PolicyError> {
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        _ => Err(PolicyError::Several { all: faults }),
    }
}

/// A file of the directory: a text by the name of the file, or a record.
fn registered(path: &Path) -> Result<(Box<str>, Record), PolicyError> {
    let name = path.file_stem().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| not_a_policy(path, "its name is not UTF-8"))?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let record = Record::read(&read(path)?, ending == "json", None);
    let record = record.map_err(|why| not_a_policy(path, why.to_string()))?;
    let language = record.language.clone().or_else(|| (ending != "json").then(|| ending.into()));
    let id = record.id.clone().unwrap_or_else(|| name.into());
    Ok((id, Record { language, ..record }))
}

/// The files of the directory with policies that are refused whatever token names them, each with the reason.
pub fn never_admitted(config: &config::Config) -> Vec<String> {
    let directory = config.policies.directory.as_deref();
    let files = directory.and_then(|directory| config::policies::files(directory).ok());
    let mut found = Vec::new();
    for path in files.into_iter().flatten() {
        let refused = registered(&path).ok().and_then(|(_, record)| never(&record, config));
        if let Some(why) = refused {
            found.push(format!("`{}` is refused whatever token names it: {why}", path.display()));
        }
    }
    found
}

/// Why no issuer's tokens can use a policy.
fn never(record: &Record, config: &config::Config) -> Option<String> {
    let issuers = config.issuers.iter().map(|issuer| &issuer.trust);
    let own = record.issuer.as_deref();
    let mut why = own.map(|own| format!("no `[[issuer]]` is called `{own}`"));
    for issuer in issuers.filter(|issuer| own.is_none_or(|own| own == &*issuer.id)) {
        why = Some(refusal(record, issuer)?);
    }
    why
}

/// Why a policy is not asked where a token of `issuer` names it.
fn refusal(record: &Record, issuer: &Issuer) -> Option<String> {
    let name = record.language_name();
    let Some(language) = consult::language(name, issuer) else {
        return Some(format!("`{name}` is not among `issuer.policies.languages`"));
    };
    let (entry_point, text) = (record.entry_point(), &*record.text);
    let source = Source { language, class: Class::Carried, entry_point, text };
    engine::compile(&source).err().map(|why| why.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    read_within(path, MAX_FILE)
}

/// At most so many bytes: a wrong path may be endless.
fn read_within(path: &Path, most: usize) -> Result<Vec<u8>, PolicyError> {
    let failed = |source| PolicyError::Io { path: path.to_owned(), source };
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(not_a_policy(path, "it is too large"));
    }
    Ok(bytes)
}
