//! What the tools of the benchmarks share.

use std::io;

/// The ports given on the command line, exactly `N` of them.
///
/// # Errors
/// When there are more or fewer, or when one is not a port.
pub fn ports<const N: usize>() -> io::Result<[u16; N]> {
    let ports: Vec<u16> = std::env::args()
        .skip(1)
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    ports.try_into().map_err(|_| io::Error::other(format!("expected {N} ports")))
}
