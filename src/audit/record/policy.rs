//! What a record says of a policy that was asked (`policy.md` §10).

use crate::audit::line::Members;
use crate::model::consulted::Consulted;

/// The most that the name of a policy may take in a line, escapes included.
const MAX_ID: usize = 512;

/// One policy, and what it said. `inline` stands for the name of one that stood in the token.
pub(super) fn write(one: &Consulted, to: &mut Members<'_>) {
    to.word("carrier", one.carrier);
    to.text_within(MAX_ID, "id", one.id.as_deref().unwrap_or("inline"));
    if let Some(place) = one.place {
        to.number("place", super::count(place));
    }
    to.hex("sha256", &one.sha256);
    if let Some(data) = &one.data {
        to.hex("data_sha256", data);
    }
    to.word("dialect", one.dialect);
    to.word("profile", one.profile);
    to.hex("input_sha256", &one.input);
    to.word("result", one.result);
    to.number("steps", one.steps);
    to.number("us", super::micros(one.elapsed));
}
