//! `opgate audit prove` and `verify-proof`: one record that stands by itself, for whoever has a verifier key
//! and no copy of the log.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::{LogArgs, must_exist, verify};
use crate::audit::merkle;
use crate::audit::note::Checkpoint;
use crate::audit::proof::Proof;
use crate::cli::output::{self, escaped};
use crate::cli::{Outcome, Usage};
use crate::journal::find;
use crate::journal::sealer::CHECKPOINT;
use crate::journal::tree::{self, Levels};
use crate::journal::verify::own_key;

/// The files of a bundle.
const RECORD: &str = "record.json";
const PROOF: &str = "record.proof";
const KEY: &str = "verifier";

/// `opgate audit prove`
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    /// The id of a decision (its beginning is enough), or a seq
    pub id: String,
    #[command(flatten)]
    log: LogArgs,
    /// The directory that is made for the record, its proof and the verifier key
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `opgate audit verify-proof`
#[derive(Debug, clap::Args)]
pub struct VerifyProofArgs {
    /// The directory that `opgate audit prove` has made
    pub bundle: PathBuf,
    /// The verifier key, or a file with it; without it the one in the bundle is believed
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// Writes the record, and what proves that it is in the log.
pub fn prove(args: &ProveArgs) -> anyhow::Result<Outcome> {
    let directory = &args.log.audit;
    must_exist(directory)?;
    let Some(call) = find::call(directory, &args.id)? else {
        output::complain(&format!("no record has the id or seq `{}`", escaped(&args.id)));
        return Ok(Outcome::Refused);
    };
    let record = &call.decision;
    let seq = record.seq().with_context(|| format!("`{}` has no seq", escaped(&record.line)))?;
    let verifier = own_key(directory)?;
    let path = directory.join(tree::DIRECTORY).join(CHECKPOINT);
    let note = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let checkpoint =
        Checkpoint::open(&note, &verifier).with_context(|| format!("`{}`", path.display()))?;
    if seq >= checkpoint.size {
        output::complain(&format!(
            "the record {seq} is not signed yet: {} are; try again",
            checkpoint.size
        ));
        return Ok(Outcome::Incomplete);
    }
    let levels = Levels::peek(directory)?;
    let path = merkle::inclusion(&levels, seq, checkpoint.size)
        .context("the hashes of the log cannot be read: a start of the gate makes them again")?;
    let proof = Proof { index: seq, path, checkpoint: note.into() };
    // What would not be believed is not handed out.
    proof.check(record.line.as_bytes(), &verifier).with_context(|| {
        format!("the record {seq}: `opgate audit verify` says what is wrong with the log")
    })?;
    fs::create_dir(&args.output)
        .map_err(|error| Usage::error(format!("`{}`: {error}", args.output.display())))?;
    let write = |name: &str, text: String| {
        let path = args.output.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    };
    write(RECORD, record.line.to_string())?;
    write(PROOF, proof.to_string())?;
    write(KEY, format!("{verifier}\n"))?;
    output::print(&format!(
        "{}: the record {seq}, its proof and the verifier key\n\
         opgate audit verify-proof {} --key KEY says whether it is in the log\n",
        args.output.display(),
        args.output.display()
    ))?;
    Ok(Outcome::Done)
}

/// Whether a record is in the log of this key.
pub fn verify_proof(args: &VerifyProofArgs) -> anyhow::Result<Outcome> {
    let read = |name: &str| read(&args.bundle.join(name));
    let verifier = match &args.key {
        Some(text) => verify::given(text)?,
        None => verify::given(&args.bundle.join(KEY).display().to_string())?,
    };
    let (record, text) = (read(RECORD)?, read(PROOF)?);
    let proven = Proof::parse(&text).and_then(|proof| {
        let checkpoint = proof.check(record.as_bytes(), &verifier)?;
        Ok((proof.index, checkpoint))
    });
    let key = if args.key.is_some() { "given" } else { "in the bundle" };
    output::print(&match (&proven, args.json) {
        (Ok((index, checkpoint)), true) => format!(
            "{}\n",
            json!({ "proven": true, "log": checkpoint.origin, "seq": index, "of": checkpoint.size, "key": key })
        ),
        (Err(error), true) => {
            format!("{}\n", json!({ "proven": false, "why": error.to_string(), "key": key }))
        }
        (Ok((index, checkpoint)), false) => {
            let origin = escaped(&checkpoint.origin);
            let mut text = format!(
                "proven: it is the record {index} of {} in the log `{origin}`\n",
                checkpoint.size
            );
            if args.key.is_none() {
                text +=
                    "not proven: that the key is the gate's. It lies in the bundle; give `--key`\n";
            }
            text
        }
        (Err(error), false) => format!("not proven: {error}\n"),
    })?;
    Ok(if proven.is_ok() { Outcome::Done } else { Outcome::Refused })
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
