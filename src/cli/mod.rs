//! The command line (`design.md` §3.2): what can be asked, and which exit code answers.

pub mod audit;
pub mod check;
pub mod demo;
pub mod explain;
pub mod keys;
pub mod opening;
pub mod output;
pub mod policy;
pub mod revoke;
pub mod serve;
pub mod token;
pub mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::reference;

/// The enforcing reverse proxy in front of agent tool APIs.
#[derive(Debug, Parser)]
#[command(
    name = "opgate",
    version,
    max_term_width = 100,
    after_help = "Start here:
  opgate demo                    everything on this machine, explained as it happens
  opgate check -c opgate.toml    what is wrong with a configuration, all of it at once
  opgate serve -c opgate.toml    the gate
  opgate explain -c opgate.toml  why a call is allowed or refused

Exit codes: 0 done, 1 refused or not verified, 2 usage or configuration, 3 the world failed"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the audit log, offline
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Load and build everything without listening; say every problem at once
    Check(check::CheckArgs),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Every key of the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Everything on this machine: a tool API, an issuer, the gate and an agent
    Demo(demo::DemoArgs),
    /// Explain the decision on a request, check by check, and what to change
    Explain(explain::ExplainArgs),
    /// Make key pairs for signing tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Test and check policies, before a token carries them
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Revoke at a running gate, at once: a token, a person, a client, an agent, …
    Revoke(revoke::RevokeArgs),
    /// Serve: judge every request, record it, and forward what is permitted
    #[command(
        after_help = "SIGTERM and SIGINT drain and stop; SIGHUP reloads, and so does a change of the file.
The log level is taken from OPGATE_LOG: error, warn, info (default), debug."
    )]
    Serve {
        /// The configuration
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Write where the gate listens to this file, as JSON, once it does
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Make and read access tokens, for development and set-up
    #[command(subcommand)]
    Token(TokenCommand),
    /// What MCP servers say of their tools, and what of it is approved
    Tools(tools::ToolsArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// The reference, as Markdown
    Reference,
    /// A JSON Schema of the file, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key pair: a private key in PEM and a JWK Set
    Generate(keys::GenerateArgs),
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Whether policies are admitted, and what their authors should look at again
    Check(policy::check::CheckArgs),
    /// What ties the text of a policy to a token that names it
    Digest(policy::digest::DigestArgs),
    /// Run the cases that stand beside policies, and say which lines they reach
    Test(policy::test::TestArgs),
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
enum TokenCommand {
    /// A token as a person would want to read it
    Inspect(token::inspect::InspectArgs),
    /// Make and sign access tokens
    Mint(token::MintArgs),
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// The answer is no.
    Refused,
    /// What was given cannot be used, and why has been said.
    Unusable,
    /// What was found is right, and not all there is.
    Incomplete,
    /// Nothing can be said of it.
    Unknown,
}

/// A failure that is the caller's to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// Says what is wrong with what was given.
    pub fn error(text: impl Into<String>) -> anyhow::Error {
        Self(text.into()).into()
    }
}

/// Runs the command that the arguments of the process name.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(3) };
        }
    };
    match dispatch(cli.command) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Ok(Outcome::Unusable | Outcome::Incomplete) => ExitCode::from(2),
        Ok(Outcome::Unknown) => ExitCode::from(3),
        Err(error) => {
            output::complain(&format!("opgate: {error:#}"));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 3 })
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Audit(command) => audit::run(&command),
        Command::Check(args) => check::run(&args),
        Command::Completions { shell } => completions(shell),
        Command::Config(ConfigCommand::Reference) => print(&reference::markdown()),
        Command::Config(ConfigCommand::Schema) => {
            print(&format!("{:#}\n", reference::json_schema()))
        }
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Keys(KeysCommand::Generate(args)) => keys::generate(&args),
        Command::Policy(PolicyCommand::Check(args)) => policy::check::run(&args),
        Command::Policy(PolicyCommand::Digest(args)) => policy::digest::run(&args),
        Command::Policy(PolicyCommand::Test(args)) => policy::test::run(&args),
        Command::Revoke(args) => revoke::run(&args),
        Command::Tools(args) => tools::run(&args),
        Command::Serve { config, ready_file } => serve::run(&config, ready_file.as_deref()),
        Command::Token(TokenCommand::Inspect(args)) => token::inspect::inspect(&args),
        Command::Token(TokenCommand::Mint(args)) => token::mint_all(&args),
    }
}

fn print(text: &str) -> anyhow::Result<Outcome> {
    output::print(text)?;
    Ok(Outcome::Done)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "opgate", &mut script);
    print(&String::from_utf8(script)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
