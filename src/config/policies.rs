//! Policies in the file: what is made of those that tokens carry and name, where they are asked for, and
//! the operator's own (`policy.md` §1, §6).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::issuer::{Harm, secured};
use super::raw::Section;
use super::reading::Reading;
use super::value::{self, Url, Wrong};
use super::{Audit, IssuerConfig, Resource, secret};
use crate::policy::engine::{self, Language};
use crate::policy::input::Exposed;
use crate::token::hash::sha256;
use crate::token::trust::{self, Profile, Shape};

/// Where the policies that an issuer's tokens name are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySource {
    /// `endpoint`: its registry, without a trailing slash.
    pub endpoint: Option<Box<str>>,
    /// `secret`: shown to whoever is asked.
    pub secret: Option<secret::Reference>,
    /// The origins of `endpoint` and of `origins`, in lower case: what the operator has written down, and
    /// may therefore lie in the operator's own network.
    pub written_origins: Vec<Box<str>>,
}

/// `[policies]`: the operator's own, and what is kept of others.
#[derive(Clone, Debug)]
pub struct Policies {
    /// `directory`: policies that tokens may name.
    pub directory: Option<PathBuf>,
    /// `pins`: the file of pinned names.
    pub pins: PathBuf,
}

/// `[[resource.local_policy]]`
#[derive(Clone, Debug)]
pub struct LocalPolicy {
    /// `file`
    pub file: PathBuf,
    /// What it is written in: its ending says.
    pub language: Language,
    /// `entry_point`: the rule that decides.
    pub entry_point: Box<str>,
    /// `data`: a JSON file that it finds under `data`.
    pub data: Option<PathBuf>,
}

impl LocalPolicy {
    /// The files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.file).chain(&self.data)
    }
}

/// `[policies]`
pub(super) fn policies(file: &Section<'_>, audit: &Audit, into: &mut Reading<'_>) -> Policies {
    let section = file.table("policies");
    let path = |key| section.text(key).map(|(text, _)| value::path(text, into.base()));
    let pins = path("pins").unwrap_or_else(|| audit.directory.join("policy-pins"));
    let directory = path("directory");
    // One that cannot be read is told when it is used.
    let listed = directory.as_deref().filter(|_| into.opens).map(files).and_then(Result::ok);
    for file in listed.into_iter().flatten() {
        digested(&file, into);
    }
    Policies { directory, pins }
}

/// The files of a directory of policies, in the order of their names.
pub fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if matches!(ending, Some("cedar" | "json" | "rego")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Beyond every policy and its data. A wrong path may be endless.
const LARGEST: u64 = 4 * 1_024 * 1_024;

/// Adds a file to the digest of the configuration: what is in force is another when it changes. One that
/// cannot be read is told when it is used.
fn digested(path: &Path, into: &mut Reading<'_>) {
    if !into.opens {
        return;
    }
    let mut octets = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut octets));
    if read.is_ok() {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        for part in [name, &octets] {
            into.documents.extend_from_slice(&sha256(part));
        }
    }
}

const NO_CEDAR: &str = "Cedar is not built into this gate";
const BUILD_CEDAR: &str = "build it with `--features cedar`";

/// `[issuer.policies]`: what is demanded of them, and where they are asked for.
pub(super) fn of_issuer(
    issuer: &Section<'_>,
    id: Option<&str>,
    profile: Profile,
    into: &mut Reading<'_>,
) -> (trust::Policies, PolicySource) {
    let section = issuer.table("policies");
    let is_reference = profile == Profile::OpenAgentAuth;
    let endpoint = into.one(&section, "endpoint", |text| {
        secured(text, Harm::Answers)?;
        Ok(Box::<str>::from(text.strip_suffix('/').unwrap_or(text)))
    });
    let further: Vec<Box<str>> =
        into.many(&section, "origins", origin).into_iter().map(|(origin, _)| origin).collect();
    let own = id.and_then(origin_of);
    let written = endpoint.as_deref().and_then(origin_of).into_iter().chain(further.clone());
    let source = PolicySource {
        written_origins: written.collect(),
        secret: section.has("secret").then(|| into.secret(&section.table("secret"))).flatten(),
        endpoint: endpoint.clone(),
    };
    let languages = section.texts("languages");
    for (text, place) in &languages {
        if *text == "cedar" && !engine::HAS_CEDAR {
            into.problems.hint(place, NO_CEDAR, BUILD_CEDAR);
        }
    }
    let trust = trust::Policies {
        rego_v0: if section.has("rego_v0") { section.switch("rego_v0") } else { is_reference },
        cedar: languages.iter().any(|(text, _)| *text == "cedar"),
        pins: match section.text("unbound") {
            Some((text, _)) => text == "pin",
            None => is_reference,
        },
        shape: match section.text("input").map(|(text, _)| text) {
            Some("draft-flat") => Shape::DraftFlat,
            Some("open-agent-auth") => Shape::OpenAgentAuth,
            None if is_reference => Shape::OpenAgentAuth,
            Some(_) | None => Shape::Standard,
        },
        has_registry: endpoint.is_some(),
        origins: own.into_iter().chain(further).collect(),
        refresh: section.duration("refresh"),
    };
    (trust, source)
}

/// Scheme and authority of a URL, in lower case, as addresses of policies are compared with.
fn origin_of(text: &str) -> Option<Box<str>> {
    let url = Url::parse(text).ok()?;
    let scheme = if url.secure { "https" } else { "http" };
    Some(format!("{scheme}://{}", url.authority()).into())
}

/// An origin and nothing more: a path would look like a bound, and is none.
fn origin(text: &str) -> Result<Box<str>, Wrong> {
    secured(text, Harm::Answers)?;
    let origin = origin_of(text).ok_or_else(|| Wrong::new("expected scheme and authority"))?;
    if text.eq_ignore_ascii_case(&origin) {
        return Ok(origin);
    }
    let message = format!("`{}` is more than scheme and authority", value::shown(text));
    Err(Wrong::with(message, format!("write `{}`", value::shown(&origin))))
}

/// What policies may be told of a call to a resource.
pub(super) fn exposed(section: &Section<'_>, into: &mut Reading<'_>) -> Exposed {
    let texts = |key| section.texts(key).into_iter().map(|(text, _)| text.into()).collect();
    let (user_claims, token_claims) = (texts("user_claims"), texts("token_claims"));
    let headers = into.many(section, "policy_headers", header).into_iter();
    Exposed {
        name: section.text("name").map(|(text, _)| text.into()),
        user_claims,
        token_claims,
        headers: headers.map(|(name, _)| name).collect(),
    }
}

/// `policy.md` §4.2: credentials and proofs are for nobody but the gate.
fn header(text: &str) -> Result<http::HeaderName, Wrong> {
    const SECRET: [&str; 9] = [
        "authorization",
        "cookie",
        "dpop",
        "proxy-authorization",
        "workload-identity-token",
        "workload-proof-token",
        "x-agent-operation-token",
        "x-workload-identity",
        "x-workload-proof",
    ];
    let name = value::header(text)?;
    if SECRET.contains(&name.as_str()) {
        let message = format!("`{name}` carries a credential, which no policy is shown");
        return Err(Wrong::with(message, "leave it out"));
    }
    Ok(name)
}

/// The operator's own policies of a resource.
pub(super) fn local(section: &Section<'_>, into: &mut Reading<'_>) -> Vec<LocalPolicy> {
    let mut found = Vec::new();
    for table in section.tables("local_policy") {
        let Some(file) = into.file(&table, "file") else { continue };
        let entry_point = table.text_or_default("entry_point").0.into();
        let ending = file.extension().and_then(|ending| ending.to_str());
        let language = match ending {
            Some("rego") => Language::RegoV1,
            Some("cedar") => {
                if !engine::HAS_CEDAR {
                    into.problems.hint(&table.place_of("file"), NO_CEDAR, BUILD_CEDAR);
                }
                Language::Cedar
            }
            _ => {
                let place = table.place_of("file");
                let message = "does not say by its ending which language it is in";
                into.problems.hint(&place, message, "call it `….rego` or `….cedar`");
                continue;
            }
        };
        let data = into.file(&table, "data");
        if data.is_some() && language == Language::Cedar {
            let message = "a policy in Cedar has no data beside what it is asked about";
            into.problems.hint(
                &table.place_of("data"),
                message,
                "write it in Rego, or leave this out",
            );
        }
        for read in std::iter::once(&file).chain(&data) {
            digested(read, into);
        }
        found.push(LocalPolicy { file, language, entry_point, data });
    }
    found
}

/// Tells every issuer which claims of its tokens some resource shows to policies: no others are remembered.
pub(super) fn keep_claims(
    mut issuers: Vec<IssuerConfig>,
    resources: &[Resource],
) -> Vec<IssuerConfig> {
    for (index, issuer) in issuers.iter_mut().enumerate() {
        let trusting = resources.iter().filter(|resource| resource.issuers.contains(&index));
        let shown: BTreeSet<Box<str>> = trusting
            .flat_map(|one| one.exposed.user_claims.iter().chain(&one.exposed.token_claims))
            .cloned()
            .collect();
        if !shown.is_empty() {
            Arc::make_mut(&mut issuer.trust).kept_claims = shown.into_iter().collect();
        }
    }
    issuers
}
