//! `opgate policy digest`: what ties the text of a policy to a token that names it (`policy.md` §6.2).

use std::fmt::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::cli::{Outcome, Usage, output};
use crate::model::hex::hex;
use crate::policy::record::Record;

/// `opgate policy digest`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of `limit.rego`, its `hash` for a `uri` or a `policy_ref`; of a registry record, `limit.json`,
also the `digest` of a `policy_binding`."
)]
pub struct DigestArgs {
    /// A policy, or a registry record in JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the digests that a token may name.
pub fn run(args: &DigestArgs) -> anyhow::Result<Outcome> {
    let path = &args.file;
    let problem = |what: &str| Usage::error(format!("`{}` {what}", path.display()));
    let is_record = path.extension().is_some_and(|ending| ending == "json");
    let text = super::read(path)?;
    let record = Record::read(text.as_bytes(), is_record, None)
        .map_err(|why| problem(&format!("is neither a policy nor the record of one: {why}")))?;
    let mut told = format!("hash            sha256-{}\n", BASE64_STANDARD.encode(record.sha256));
    if is_record {
        let binding = record.binding().ok_or_else(|| {
            problem("lacks one of `media_type`, `language_version`, `entrypoint`, `input_schema_digest`")
        })?;
        writeln!(told, "policy_binding  sha256:{}", hex(&binding))?;
    }
    output::print(&told)?;
    Ok(Outcome::Done)
}
