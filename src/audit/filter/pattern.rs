//! What a value must be: a text, or one that begins or ends with `*`.

use super::written;

/// A text with what may stand before and behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Box<str>,
    /// Anything may stand before the text.
    is_open_before: bool,
    /// Anything may stand behind it.
    is_open_behind: bool,
}

impl Pattern {
    /// `*` at either end stands for anything, and `\` before a value takes all of it as it stands.
    pub(super) fn parse(value: &str) -> Self {
        if let Some(text) = value.strip_prefix('\\') {
            return Self::exactly(text);
        }
        let (before, rest) = match value.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let (behind, text) = match rest.strip_suffix('*') {
            Some(text) => (true, text),
            None => (false, rest),
        };
        Self { text: text.into(), is_open_before: before, is_open_behind: behind }
    }

    pub(super) fn exactly(text: &str) -> Self {
        Self { text: text.into(), is_open_before: false, is_open_behind: false }
    }

    /// The same text as a beginning.
    pub(super) fn prefixed(self) -> Self {
        Self { is_open_behind: true, ..self }
    }

    /// The same text in any place.
    pub(super) fn anywhere(self) -> Self {
        // As it stands in the line, where it is looked for.
        let text = String::from_utf8(written(&self.text)).unwrap_or_default().into();
        Self { text, is_open_before: true, is_open_behind: true }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) const fn is_whole(&self) -> bool {
        !self.is_open_before && !self.is_open_behind
    }

    /// Whether every value fits that is there.
    pub(super) fn is_any(&self) -> bool {
        self.text.is_empty() && !self.is_whole()
    }

    /// Whether `value` fits. One that is not there never does.
    pub(super) fn fits(&self, value: &str) -> bool {
        let text = &*self.text;
        !value.is_empty()
            && match (self.is_open_before, self.is_open_behind) {
                (false, false) => value == text,
                (false, true) => value.starts_with(text),
                (true, false) => value.ends_with(text),
                (true, true) => value.contains(text),
            }
    }

    /// Whether `digest` begins with a text that is one.
    pub(super) fn begins(&self, digest: &str) -> bool {
        let is_hex = self.text.bytes().all(|byte| byte.is_ascii_hexdigit());
        !self.text.is_empty() && !self.is_open_before && is_hex && digest.starts_with(&*self.text)
    }

    /// Whether the text of [`Pattern::anywhere`] stands in `line`.
    pub(super) fn stands_in(&self, line: &str) -> bool {
        memchr::memmem::find(line.as_bytes(), self.text.as_bytes()).is_some()
    }

    /// What stands in the line of every record with such a value: lines have one spelling of a text.
    pub(super) fn needle(&self) -> Box<[u8]> {
        if self.is_any() {
            return Box::default();
        }
        let mut needle = Vec::new();
        if !self.is_open_before {
            needle.push(b'"');
        }
        needle.extend(written(&self.text));
        if !self.is_open_behind {
            needle.push(b'"');
        }
        needle.into()
    }
}
