//! `[audit]`: where and how firmly decisions are recorded.

use super::raw::Section;
use super::reading::Reading;
use super::{Audit, Durability, value};
use crate::audit::record::Discretion;

pub(super) fn audit(file: &Section<'_>, into: &mut Reading<'_>) -> Option<Audit> {
    let section = file.table("audit");
    let (directory, _) = section.text_or_default("directory");
    let (name, place) = section.text_or_default("name");
    let name = into.take(&place, value::name(name));
    let tag_key =
        if section.has("tag_key") { into.secret(&section.table("tag_key")) } else { None };
    Some(Audit {
        directory: value::path(directory, into.base()),
        name: name?,
        durability: match section.text_or_default("durability").0 {
            "batch" | "batched" => Durability::Batched,
            _ => Durability::Sync,
        },
        interval: section.duration("interval"),
        max_wait: section.duration("max_wait"),
        segment_bytes: section.number("segment_bytes"),
        segment_age: section.duration("segment_age"),
        queue_records: section.small("queue_records"),
        queue_bytes: section.small("queue_bytes"),
        tag_key,
        signing_key: section.text("signing_key").map(|(text, _)| value::path(text, into.base())),
        discretion: Discretion {
            ids: section.switch("hash_ids"),
            texts: section.switch("hash_only"),
        },
    })
}
