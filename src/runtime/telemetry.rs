//! The operational log: what the process does, to stderr. Never a lane for audit records.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable that chooses levels, as in `opgate=debug,hyper=warn`.
pub const FILTER_VARIABLE: &str = "OPGATE_LOG";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON everywhere else.
    #[default]
    Automatic,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Begins to log. Fails where the process already logs.
pub fn init(format: Format) -> Result<(), TryInitError> {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var(FILTER_VARIABLE)
        .from_env_lossy();
    let terminal = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let json = match format {
        Format::Automatic => !terminal,
        Format::Json => true,
        Format::Text => false,
    };
    if json {
        lines.json().flatten_event(true).finish().try_init()
    } else {
        lines.with_ansi(terminal).finish().try_init()
    }
}
