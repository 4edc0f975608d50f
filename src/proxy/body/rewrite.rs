//! Bodies that are read, and perhaps changed, on their way to the caller.

use std::fmt;

use bytes::Bytes;

/// Whoever reads a response as it passes.
pub trait Rewrite: Send {
    /// What goes on of `data`, now.
    fn data(&mut self, data: Bytes) -> Bytes;

    /// What goes on at the end.
    fn end(&mut self) -> Bytes;

    /// Whether something else went on than the upstream answered, since that could not be read. Asked after
    /// the end.
    fn is_failure(&self) -> bool;
}

impl fmt::Debug for dyn Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

/// The events of a stream (`text/event-stream`), as they come.
#[derive(Debug, Default)]
pub struct Events {
    held: Vec<u8>,
    /// Where the event begins that has not come whole.
    event: usize,
    /// Where the line begins that is being looked at.
    line: usize,
    /// How much has been looked at.
    seen: usize,
}

impl Events {
    /// Adds what has come. What was taken before is let go of here, once, and not with every event.
    pub fn push(&mut self, data: &[u8]) {
        self.held.drain(..self.event);
        self.line -= self.event;
        self.seen -= self.event;
        self.event = 0;
        self.held.extend_from_slice(data);
    }

    /// The next event that has come whole, with the empty line that ends it.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.held.get(self.seen).copied() {
            let is_end = match byte {
                b'\n' => true,
                // Whether a line feed belongs to it, the next octet tells.
                b'\r' => match self.held.get(self.seen + 1) {
                    Some(b'\n') => false,
                    Some(_) => true,
                    None => return None,
                },
                _ => false,
            };
            self.seen += 1;
            if !is_end {
                continue;
            }
            let line = self.held.get(self.line..self.seen).unwrap_or_default();
            let is_empty = line.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            self.line = self.seen;
            if is_empty {
                let event = self.held.get(self.event..self.seen).unwrap_or_default().to_vec();
                self.event = self.seen;
                return Some(event);
            }
        }
        None
    }

    /// How many octets are held of an event that has not come whole.
    pub const fn pending(&self) -> usize {
        self.held.len().saturating_sub(self.event)
    }

    /// What is held of it, which is given up.
    pub fn give_up(&mut self) -> Vec<u8> {
        let rest = self.held.split_off(self.event);
        *self = Self::default();
        rest
    }
}

/// The lines of an event, without their ends. A mark of the byte order may stand before the first of a stream.
fn lines(event: &str) -> impl Iterator<Item = &str> {
    let event = event.strip_prefix('\u{feff}').unwrap_or(event);
    let ends = event.split_inclusive(['\n', '\r']).map(|line| line.trim_end_matches(['\n', '\r']));
    ends.filter(|line| !line.is_empty())
}

/// What a line says under the name `data`.
fn data_of(line: &str) -> Option<&str> {
    let value = line.strip_prefix("data")?;
    match value.strip_prefix(':') {
        Some(value) => Some(value.strip_prefix(' ').unwrap_or(value)),
        None => value.is_empty().then_some(""),
    }
}

/// What an event says: its lines of data, joined.
pub fn data(event: &[u8]) -> Option<String> {
    let event = std::str::from_utf8(event).ok()?;
    let said: Vec<&str> = lines(event).filter_map(data_of).collect();
    (!said.is_empty()).then(|| said.join("\n"))
}

/// An event that says `said` and nothing beside its name, its id and when to come again.
pub fn anew(event: &[u8], said: &str) -> String {
    let event = String::from_utf8_lossy(event);
    let mut text = String::with_capacity(said.len() + 64);
    let is_field =
        |line: &&str| ["event:", "id:", "retry:"].iter().any(|name| line.starts_with(name));
    for line in lines(&event).filter(is_field) {
        text.extend([line, "\n"]);
    }
    for line in said.split('\n') {
        text.extend(["data: ", line, "\n"]);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for chunk in chunks {
            events.push(chunk);
            while let Some(event) = events.pop() {
                found.push(String::from_utf8(event).unwrap());
            }
        }
        found
    }

    #[test]
    fn an_event_ends_with_an_empty_line_however_lines_end() {
        assert_eq!(events(&[b"data: a\n\ndata: b\n\nda"]), ["data: a\n\n", "data: b\n\n"]);
        assert_eq!(
            events(&[b"data: a\r\n\r\nid: 1\r\n\r\n"]),
            ["data: a\r\n\r\n", "id: 1\r\n\r\n"]
        );
        assert_eq!(events(&[b"data: a\r\rdata: b\r\rx"]), ["data: a\r\r", "data: b\r\r"]);
        assert_eq!(events(&[b"data: a\r\n", b"\r", b"\n", b"x"]), ["data: a\r\n\r\n"]);
        assert_eq!(events(&[b"\n\n"]), ["\n", "\n"]);
    }

    #[test]
    fn the_data_of_an_event_is_its_lines_of_data() {
        assert_eq!(
            data(b"event: message\r\nid: 7\r\ndata: {\r\ndata:  }\r\n\r\n").unwrap(),
            "{\n }"
        );
        assert_eq!(data(b": comment\n\n"), None);
        assert_eq!(data("\u{feff}data: x\n\n".as_bytes()).unwrap(), "x");
        assert_eq!(data(b"data\ndatum: x\ndata:y\n\n").unwrap(), "\ny");
        let event = b"event: message\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\n";
        assert_eq!(anew(event, "{\n}"), "event: message\nid: 7\ndata: {\ndata: }\n\n");
        assert_eq!(anew(b": c\x85data: y\ndata: x\n\n", "x"), "data: x\n\n");
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_they_come(
            text in "(data: a|id: 1|\n|\r\n|\n\n|\r){0,20}", cuts in prop::collection::vec(0_usize..40, 0..5),
        ) {
            let whole = events(&[text.as_bytes()]);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert!(text.starts_with(&whole.concat()));
            prop_assert_eq!(events(&parts), whole);
        }
    }
}
