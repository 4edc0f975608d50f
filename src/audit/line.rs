//! JSON members, written straight into a buffer, in which no value can end a line, steer a terminal
//! or outgrow its bound.

use std::io;
use std::net::IpAddr;

use serde::Serialize as _;
use serde_json::ser::Formatter;

use crate::model::written::Written;

/// The longest line, without its line end (C2SP tlog-tiles: an entry has a 16-bit length).
pub const MAX_LINE: usize = 65_535;

/// The most that a word may take in a line, escapes included.
pub const MAX_WORD: usize = 1_024;

/// The members of one JSON object, without its braces.
#[derive(Debug)]
pub struct Members<'a> {
    into: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Members<'a> {
    /// Appends members to `into`.
    pub const fn new(into: &'a mut Vec<u8>) -> Self {
        Self { into, first: true }
    }

    /// A name, with the comma before it. Names are literals of this crate that need no escape.
    fn name(&mut self, name: &'static str) {
        if !self.first {
            self.into.push(b',');
        }
        self.first = false;
        self.into.push(b'"');
        self.into.extend_from_slice(name.as_bytes());
        self.into.extend_from_slice(b"\":");
    }

    /// Text of at most [`MAX_WORD`] bytes.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.text_within(MAX_WORD, name, value);
    }

    /// Text of at most `cap` bytes, escapes included. What is longer is cut at a character, and the
    /// cut text ends in `…`, so that it is never mistaken for the whole.
    pub fn text_within(&mut self, cap: usize, name: &'static str, value: &str) {
        self.name(name);
        let kept = within(cap, value);
        string(self.into, kept);
        if kept.len() < value.len() && self.into.pop().is_some() {
            self.into.extend_from_slice("…\"".as_bytes());
        }
    }

    /// Text, when there is one.
    pub fn optional(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A word of this crate, which needs no escape.
    pub fn word(&mut self, name: &'static str, value: &'static str) {
        self.name(name);
        self.into.push(b'"');
        self.into.extend_from_slice(value.as_bytes());
        self.into.push(b'"');
    }

    /// A whole number.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        number(self.into, value);
    }

    /// `true` or `false`.
    pub fn switch(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.into.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Bytes in lower-case hexadecimal.
    pub fn hex(&mut self, name: &'static str, value: &[u8]) {
        self.name(name);
        self.into.push(b'"');
        for byte in value {
            self.into.push(digit(byte >> 4));
            self.into.push(digit(byte & 15));
        }
        self.into.push(b'"');
    }

    /// Members that were written before.
    pub fn written(&mut self, members: &Written) {
        if !members.as_bytes().is_empty() {
            if !self.first {
                self.into.push(b',');
            }
            self.first = false;
            self.into.extend_from_slice(members.as_bytes());
        }
    }

    /// An address.
    pub fn address(&mut self, name: &'static str, value: IpAddr) {
        self.name(name);
        self.into.push(b'"');
        match value.to_canonical() {
            IpAddr::V4(v4) => {
                for (n, octet) in v4.octets().into_iter().enumerate() {
                    if n > 0 {
                        self.into.push(b'.');
                    }
                    number(self.into, octet.into());
                }
            }
            // Writing to memory cannot fail.
            IpAddr::V6(v6) => io::Write::write_fmt(self.into, format_args!("{v6}")).unwrap_or(()),
        }
        self.into.push(b'"');
    }

    /// An array of objects, one for each item.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Members<'_>, T),
    ) {
        self.name(name);
        self.into.push(b'[');
        for (n, item) in items.into_iter().enumerate() {
            self.into.extend_from_slice(if n > 0 { b",{" } else { b"{" });
            fill(&mut Members::new(self.into), item);
            self.into.push(b'}');
        }
        self.into.push(b']');
    }

    /// An object, whose members `fill` writes.
    pub fn object(&mut self, name: &'static str, fill: impl FnOnce(&mut Members<'_>)) {
        self.name(name);
        self.into.push(b'{');
        fill(&mut Members::new(self.into));
        self.into.push(b'}');
    }
}

/// A number in decimal.
pub fn number(into: &mut Vec<u8>, value: u64) {
    into.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A JSON string, quotes included, in which no character is invisible or steers a display.
pub fn string(into: &mut Vec<u8>, value: &str) {
    // Nearly every value is plain, which one look without a branch tells.
    if value.bytes().fold(0, |special, byte| special | u8::from(is_special(byte))) == 0 {
        into.push(b'"');
        into.extend_from_slice(value.as_bytes());
        into.push(b'"');
        return;
    }
    let mut writer = serde_json::Serializer::with_formatter(into, Visible);
    // Writing a string to memory cannot fail.
    value.serialize(&mut writer).unwrap_or(());
}

const fn is_special(byte: u8) -> bool {
    !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\'
}

/// Whether `c` could hide or reorder text, end a line for some reader, or command a terminal.
pub const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Compact JSON in which deceptive characters that RFC 8259 lets stand are escaped too.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if is_deceptive(c) {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            } else {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The longest beginning of `value` that takes at most `cap` bytes, escapes included.
fn within(cap: usize, value: &str) -> &str {
    /// The longest escape of one byte: `\u001b`.
    const WORST: usize = 6;
    if value.len() <= cap / WORST {
        return value;
    }
    let mut taken = 0;
    for (at, c) in value.char_indices() {
        taken += match c {
            '"' | '\\' => 2,
            c if is_deceptive(c) => WORST,
            c => c.len_utf8(),
        };
        if taken > cap {
            return value.get(..at).unwrap_or_default();
        }
    }
    value
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(cap: usize, value: &str) -> String {
        let mut into = Vec::new();
        Members::new(&mut into).text_within(cap, "x", value);
        String::from_utf8(into).unwrap()
    }

    #[test]
    fn nothing_that_ends_a_line_or_steers_a_terminal_is_written_raw() {
        for (value, expected) in [
            ("a\"b\\c", r#""x":"a\"b\\c""#),
            ("\n\r\u{1b}[2J", r#""x":"\n\r\u001b[2J""#),
            ("\u{7f}\u{9b}31m", r#""x":"\u007f\u009b31m""#),
            ("\u{2028}\u{2029}", r#""x":"\u2028\u2029""#),
            ("\u{202e}gpj.exe\u{2066}", r#""x":"\u202egpj.exe\u2066""#),
            ("Grüße 東京", r#""x":"Grüße 東京""#),
        ] {
            assert_eq!(written(MAX_WORD, value), expected);
        }
    }

    #[test]
    fn addresses_and_bytes_have_one_spelling() {
        let mut into = Vec::new();
        let mut members = Members::new(&mut into);
        members.address("a", "10.1.2.123".parse().unwrap());
        members.address("b", "::ffff:10.1.2.3".parse().unwrap());
        members.address("c", "2001:db8::1".parse().unwrap());
        members.hex("d", &[0, 0xa9, 0xff]);
        let expected = r#""a":"10.1.2.123","b":"10.1.2.3","c":"2001:db8::1","d":"00a9ff""#;
        assert_eq!(String::from_utf8(into).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn text_keeps_its_bound_and_reads_back(value in any::<String>(), cap in 0_usize..200) {
            let text = written(cap, &value);
            let inner = text.strip_prefix("\"x\":").unwrap();
            prop_assert!(inner.len() <= cap + "\"…\"".len());
            prop_assert!(!text.chars().any(is_deceptive));
            let read: String = serde_json::from_str(inner).unwrap();
            prop_assert!(read == value || value.starts_with(read.strip_suffix('…').unwrap()));
        }
    }
}
