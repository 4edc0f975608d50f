//! From the text of the file to a [`Config`], or to everything that is wrong with it.

use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::problem::{Place, Problems};
use super::raw::{self, Section};
use super::reading::{Names, Reading, Showable};
use super::{
    Config, Gate, audit, gate, issuer, policies, resource, revocations, signers, upstream, workload,
};
use crate::model::hex::hex;

/// Reads a configuration from its text; opens nothing. Relative paths are relative to the folder of
/// `file`, which otherwise only stands in messages.
pub fn parse(text: &str, file: &Path) -> Result<Config, Problems> {
    let mut reading = Reading::new(text, file, folder(file));
    let config = read(text, &mut reading);
    reading.finish(config, file)
}

/// The folder a file is in.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or_else(|| Path::new(""))
}

/// Checks the shape of the file and, where its syntax is whole, what it means.
pub(super) fn read(text: &str, into: &mut Reading<'_>) -> Option<Config> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = Place { key: String::new(), span: error.span().unwrap_or(0..0) };
        into.problems.add(&place, error.message().replace('\n', ", "));
    }
    let top = Place { key: String::new(), span: 0..0 };
    raw::check("", tree.get_ref(), &top, &mut into.problems);
    if !errors.is_empty() {
        // Lines that could not be read would be missed here, and complained of a second time.
        return None;
    }
    raw::check_required("", tree.get_ref(), &top, &mut into.problems);
    meaning(text, &Section::file(tree.get_ref()), into)
}

/// Reads every table before the first `?`, so that every problem is found.
fn meaning(text: &str, file: &Section<'_>, into: &mut Reading<'_>) -> Option<Config> {
    let issuer_tables = file.tables("issuer");
    let upstream_tables = file.tables("upstream");
    let issuer_names = Names::of(&issuer_tables, "issuer");
    let upstream_names = Names::of(&upstream_tables, "name");

    let gate = gate::gate(file, into);
    let limits = gate::limits(&file.table("limits"));
    let listen = gate.as_ref().map_or(&[][..], |gate| &gate.listen);
    let admin = gate::admin(file, listen, into);
    let issuers = issuer::issuers(&issuer_tables, into);
    let workload_tables = file.tables("workload_issuer");
    let workload_issuers = workload::issuers(&workload_tables, into);
    let directory_tables = file.tables("agent_directory");
    let agent_directories = signers::agent_directories(&directory_tables, into);
    signers::check(&issuer_tables, &directory_tables, into);
    let prompt_tables = file.tables("prompt_issuer");
    let prompt_issuers = signers::prompt_issuers(&prompt_tables, into);
    into.showable = Showable {
        // Where the gate's own table is wrong, that is the problem.
        certificate: gate.as_ref().is_none_or(Gate::can_learn_certificates),
        workload: !workload_tables.is_empty(),
        prompt: !prompt_tables.is_empty(),
    };
    let upstreams = upstream::upstreams(&upstream_tables, into);
    let resources =
        resource::resources(&file.tables("resource"), &issuer_names, &upstream_names, into);
    if let (Some(resources), Some(issuers)) = (&resources, &issuers) {
        resource::check_introspection(&file.tables("resource"), resources, issuers, into);
    }
    let audit = audit::audit(file, into)?;
    let revocations = revocations::file(file, &audit, into);
    let policies = policies::policies(file, &audit, into);
    Some(Config {
        digest: digest(text, &into.documents),
        gate: gate?,
        limits,
        admin,
        issuers: policies::keep_claims(issuers?, resources.as_deref().unwrap_or_default()),
        workload_issuers: workload_issuers?,
        agent_directories: agent_directories?,
        prompt_issuers: prompt_issuers?,
        upstreams: upstreams?.into_iter().map(Arc::new).collect(),
        resources: resources?,
        audit,
        policies,
        revocations,
        warnings: Vec::new(),
    })
}

/// The SHA-256 of the file, and of the documents and policies that it names behind it, in lower-case
/// hexadecimal.
fn digest(text: &str, documents: &[u8]) -> Box<str> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    digest.update(text.as_bytes());
    digest.update(documents);
    hex(digest.finish().as_ref()).into()
}

#[cfg(test)]
mod tests;
