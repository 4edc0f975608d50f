//! `[revocations]`: where the operator's own revocations are kept.

use std::path::PathBuf;

use super::raw::Section;
use super::reading::Reading;
use super::{Audit, value};

/// The file, which is in the audit directory where none is named.
pub(super) fn file(file: &Section<'_>, audit: &Audit, into: &Reading<'_>) -> PathBuf {
    match file.table("revocations").text("file") {
        Some((text, _)) => value::path(text, into.base()),
        None => audit.directory.join("revocations"),
    }
}
