//! What is wrong with a filter, and how to mend it.

use std::fmt;

use super::Field;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing can be before `until` and not before `since`.
    Empty {
        /// The time from which on.
        since: Box<str>,
        /// The time before which.
        until: Box<str>,
    },
    /// There is nothing of this name.
    Name(Box<str>),
    /// What stands as a keyed hash is given as it is, and the key is not at hand.
    NoTagKey(Field),
    /// A name without a value.
    NoValue(Field),
    /// A part is given of what stands as a keyed hash.
    Part(Field),
    /// No time.
    Time {
        /// The name.
        name: &'static str,
        /// What was given.
        value: Box<str>,
    },
    /// What can be asked once only.
    Twice(&'static str),
    /// A value that no record has.
    Value {
        /// The field.
        field: Field,
        /// What was given.
        value: Box<str>,
        /// What there is.
        known: Vec<&'static str>,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { since, until } => {
                write!(f, "nothing is from `{since}` on and before `{until}`; exchange the two")
            }
            Self::Name(name) => {
                let names = Field::ALL.into_iter().map(Field::name).chain(["since", "until"]);
                write!(f, "nothing can be asked by `{name}`; there is {}", list(names))
            }
            Self::NoTagKey(field) => write!(
                f,
                "every `{}` stands in the log as a keyed hash, and there is no `tag.key` beside it: give its file (`--tag-key`), or the hash itself (`h1:…`)",
                field.name()
            ),
            Self::NoValue(field) => write!(f, "`{}` has no value; `*` is any", field.name()),
            Self::Part(field) => write!(
                f,
                "every `{}` stands in the log as a keyed hash: give a whole value, a hash (`h1:…`), or `*` for any",
                field.name()
            ),
            Self::Time { name, value } => write!(
                f,
                "`{name}` is no time: `{value}`; give `2h`, `30m`, `7d`, `2026-11-24` or `2026-11-24T08:00:00Z`"
            ),
            Self::Twice(name) => write!(f, "`{name}` is given twice"),
            Self::Value { field, value, known } => {
                write!(f, "no record has the {} `{value}`; there is ", field.name())?;
                f.write_str(&list(known.iter().copied()))
            }
        }
    }
}

impl std::error::Error for Mistake {}

fn list(words: impl Iterator<Item = &'static str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
