//! What the tests stand on: the gate as a process, an upstream that records every byte, an issuer of
//! good and bad tokens, and clients that send what they are told.

pub(crate) mod chain;
pub(crate) mod challenge;
pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod frames;
pub(crate) mod gate;
pub(crate) mod issuer;
pub(crate) mod jwks;
pub(crate) mod proof;
pub(crate) mod served;
pub(crate) mod server;
pub(crate) mod svid;
pub(crate) mod tls;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::client::{Connection, Response, request};
pub(crate) use self::echo::{Echo, Exchange};
pub(crate) use self::gate::{Gate, Setup};
pub(crate) use self::issuer::{Key, Token};

/// What a command of opgate, run in `directory`, says on both its outputs, and how it ends.
pub(crate) fn opgate(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opgate"));
    let output = command.args(arguments).current_dir(directory).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// The longest that anything in a test is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `ready` gives something, and fails with `what` when it does not.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
