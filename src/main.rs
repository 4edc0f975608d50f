//! `opgate`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    opgate::cli::run()
}
