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
    /// A person is given by name, and the key of keyed hashes is not at hand.
    NoTagKey,
    /// A name without a value.
    NoValue(Field),
    /// A person is given by a part of the name.
    PartOfPerson,
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
            Self::NoTagKey => f.write_str(
                "people stand in the log as keyed hashes, and there is no `tag.key` beside it: give its file (`--tag-key`), or the hash itself (`h1:…`)",
            ),
            Self::NoValue(field) => write!(f, "`{}` has no value; `*` is any", field.name()),
            Self::PartOfPerson => f.write_str(
                "people stand in the log as keyed hashes: `user` is a whole `sub`, a hash (`h1:…`), or `*` for anybody",
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
