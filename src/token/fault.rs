//! Where in a claim a mistake is: for whoever wrote the token, and for the log. It stands beside the refusal,
//! because what a caller is told has no room for it.

use crate::model::reason::Denial;

/// A mistake, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it is refused as.
    pub denial: Denial,
    /// The way to it, as `[1].operations[0].path`.
    pub place: String,
}

impl Fault {
    /// The same, seen from the array that it is in an element of.
    #[must_use]
    pub fn in_element(self, index: usize) -> Self {
        Self { place: format!("[{index}]{}", self.place), ..self }
    }

    /// The same, seen from the object that it is in a member of.
    #[must_use]
    pub fn in_member(self, name: &str) -> Self {
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let member = if is_word { format!(".{name}") } else { format!("[{name:?}]") };
        Self { place: member + &self.place, ..self }
    }
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self { denial, place: String::new() }
    }
}
