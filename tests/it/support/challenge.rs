//! A reader of `WWW-Authenticate` (RFC 9110 §11.6.1) that is as strict as the gate must be.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Response;

/// One challenge.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// The challenge that says what was wrong: the first.
    pub(crate) fn of(response: &Response) -> Self {
        let first = Self::all(response).into_iter().next();
        first.unwrap_or_else(|| panic!("no challenge in {response:?}"))
    }

    /// Every challenge of a response, one a line and one for each scheme.
    pub(crate) fn all(response: &Response) -> Vec<Self> {
        let lines = response.all("www-authenticate");
        let all: Vec<Self> = lines.into_iter().map(Self::parse).collect();
        let schemes: BTreeSet<&str> = all.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes.len(), all.len(), "a scheme stands twice: {all:?}");
        all
    }

    /// Reads `Scheme name="value", …`. Everything is quoted, nothing stands twice.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.is_ascii() && text.len() <= 4_096, "{} bytes", text.len());
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parameters = BTreeMap::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"").expect("name=\"value\"");
            let (value, after) = after.split_once('"').expect("a closing quote");
            let fine = |b: u8| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(value.bytes().all(fine), "RFC 6750 §3: {value:?}");
            let token = |b: u8| b.is_ascii_lowercase() || b == b'_';
            assert!(!name.is_empty() && name.bytes().all(token), "{name:?} in {text}");
            let double = parameters.insert(name.to_owned(), value.to_owned());
            assert!(double.is_none(), "{name} stands twice in {text}");
            rest = if after.is_empty() { "" } else { after.strip_prefix(", ").expect("a comma") };
        }
        Self { scheme: scheme.to_owned(), parameters }
    }

    /// A parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// A parameter that is base64url of JSON, without padding.
    pub(crate) fn decoded(&self, name: &str) -> Value {
        let text = self.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(text.len() <= 2_048, "{name}: {} bytes", text.len());
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }
}
