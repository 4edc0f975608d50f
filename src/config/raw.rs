//! The file as written: the spanned tree, held against the table of keys, and read with its defaults.
//!
//! [`check`] reports what is wrong with the shape; [`Section`] then reads what is right, and gives
//! the default for what is absent or was reported, so that the meaning is checked in the same run.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Collector, Place, nearest};
use super::reference::{self, Fallback, Key, Kind};
use super::value;

/// Unknown-key messages list the valid names up to this many.
const SHORT: usize = 8;

/// Checks the shape of a table, and of all that is in it.
pub(super) fn check(
    section: &'static str,
    table: &DeTable<'_>,
    place: &Place,
    into: &mut Collector<'_>,
) {
    for (name, value) in table {
        let here = inside(place, &value::shown(name.get_ref()), name.span());
        match reference::find(section, name.get_ref()) {
            Some(key) => check_value(key, value, &here, into),
            None => unknown(section, name.get_ref(), &here, into),
        }
    }
}

/// Reports the required keys that a table, or one in it, lacks.
pub(super) fn check_required(
    section: &'static str,
    table: &DeTable<'_>,
    place: &Place,
    into: &mut Collector<'_>,
) {
    for key in reference::section(section) {
        match table.get(key.name) {
            None if key.fallback == Fallback::Required => missing(key, place, into),
            None => {}
            Some(value) => check_required_inside(key, value, place, into),
        }
    }
}

fn check_required_inside(
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    place: &Place,
    into: &mut Collector<'_>,
) {
    match (key.kind, value.get_ref()) {
        (Kind::Table(inner), DeValue::Table(table)) => {
            check_required(inner, table, &inside(place, key.name, value.span()), into);
        }
        (Kind::Tables(_), DeValue::Array(array))
            if array.is_empty() && key.fallback == Fallback::Required =>
        {
            missing(key, &Place { key: place.key.clone(), span: value.span() }, into);
        }
        (Kind::Tables(inner), DeValue::Array(array)) => {
            for (n, item) in array.iter().enumerate() {
                if let DeValue::Table(table) = item.get_ref() {
                    let name = format!("{}[{n}]", key.name);
                    check_required(inner, table, &inside(place, &name, item.span()), into);
                }
            }
        }
        _ => {}
    }
}

fn missing(key: &Key, place: &Place, into: &mut Collector<'_>) {
    let here = inside(place, key.name, place.span.clone());
    match key.kind {
        Kind::Tables(name) => into.add(&here, format!("at least one `[[{name}]]` is required")),
        Kind::Table(_) => into.add(&here, "missing: this table is required"),
        kind => {
            into.hint(&here, "missing: this key is required", format!("write {}", kind.expected()));
        }
    }
}

fn unknown(section: &'static str, name: &str, place: &Place, into: &mut Collector<'_>) {
    let known: Vec<&str> = reference::section(section).map(|key| key.name).collect();
    let elsewhere =
        || reference::KEYS.iter().find(|key| key.name == name && !key.section.is_empty());
    let message = format!("unknown key `{}`", value::shown(name));
    if let Some(near) = nearest(name, known.iter().copied()) {
        into.hint(place, message, format!("did you mean `{near}`?"));
    } else if let Some(key) = elsewhere() {
        into.hint(place, message, format!("`{name}` is a key of `{}`", key.section));
    } else if known.len() <= SHORT {
        into.hint(place, message, format!("the keys here are {}", reference::list(&known)));
    } else {
        into.add(place, message);
    }
}

fn check_value(key: &Key, value: &Spanned<DeValue<'_>>, name: &Place, into: &mut Collector<'_>) {
    let here = Place { key: name.key.clone(), span: value.span() };
    let wrong_type = |into: &mut Collector<'_>| {
        let found = value.get_ref().type_str();
        into.add(&here, format!("expected {}, found {found}", key.kind.expected()));
    };
    match (key.kind, value.get_ref()) {
        (Kind::Table(inner), DeValue::Table(table)) => check(inner, table, &here, into),
        (Kind::Tables(inner), DeValue::Array(array)) => {
            for (n, item) in array.iter().enumerate() {
                let place = Place { key: format!("{}[{n}]", here.key), span: item.span() };
                match item.get_ref() {
                    DeValue::Table(table) => check(inner, table, &place, into),
                    other => {
                        into.add(&place, format!("expected a table, found {}", other.type_str()));
                    }
                }
            }
        }
        (Kind::OneOrMore(_) | Kind::Texts(_) | Kind::Choices(_), DeValue::Array(array)) => {
            if array.is_empty() && matches!(key.kind, Kind::OneOrMore(_)) {
                into.add(&here, "expected at least one");
            }
            for (n, item) in array.iter().enumerate() {
                let place = Place { key: format!("{}[{n}]", here.key), span: item.span() };
                match item.get_ref() {
                    DeValue::String(text) => {
                        report(value::check_text(key.kind, text), &place, into);
                    }
                    other => {
                        into.add(&place, format!("expected a string, found {}", other.type_str()));
                    }
                }
            }
        }
        (Kind::Json, DeValue::Table(_)) | (Kind::Switch, DeValue::Boolean(_)) => {}
        (Kind::Count(min, max) | Kind::Size(min, max), DeValue::Integer(number)) => {
            report(value::check_number(key.kind, value::whole(number), min, max), &here, into);
        }
        (
            Kind::Choice(_)
            | Kind::Duration(..)
            | Kind::OneOrMore(_)
            | Kind::Size(..)
            | Kind::Text(_),
            DeValue::String(text),
        ) => report(value::check_text(key.kind, text), &here, into),
        _ => wrong_type(into),
    }
}

fn report(checked: Result<(), value::Wrong>, place: &Place, into: &mut Collector<'_>) {
    match checked {
        Ok(()) => {}
        Err(value::Wrong { message, hint: Some(hint) }) => into.hint(place, message, hint),
        Err(value::Wrong { message, hint: None }) => into.add(place, message),
    }
}

fn inside(place: &Place, name: &str, span: std::ops::Range<usize>) -> Place {
    let key = if place.key.is_empty() { name.to_owned() } else { format!("{}.{name}", place.key) };
    Place { key, span }
}

/// Reads the values of one table; what is absent or was reported has its default.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    name: &'static str,
    table: Option<&'a DeTable<'a>>,
    place: Place,
}

impl<'a> Section<'a> {
    pub(super) const fn file(table: &'a DeTable<'a>) -> Self {
        Self { name: "", table: Some(table), place: Place { key: String::new(), span: 0..0 } }
    }

    /// Where the table is.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where a key is, or would be.
    pub(super) fn place_of(&self, name: &str) -> Place {
        let span = self.value(name).map_or_else(|| self.place.span.clone(), Spanned::span);
        inside(&self.place, name, span)
    }

    /// Whether a key is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether a key is set to an array of nothing.
    pub(super) fn is_empty_array(&self, name: &str) -> bool {
        let array = self.value(name).and_then(|value| value.get_ref().as_array());
        array.is_some_and(|array| array.is_empty())
    }

    /// A table in it, which may be absent: then every key of it is.
    pub(super) fn table(&self, name: &'static str) -> Self {
        let section = match reference::find(self.name, name).map(|key| key.kind) {
            Some(Kind::Table(section)) => section,
            _ => name,
        };
        let table = self.value(name).and_then(|value| value.get_ref().as_table());
        Section { name: section, table, place: self.place_of(name) }
    }

    /// The tables of an array in it.
    pub(super) fn tables(&self, name: &'static str) -> Vec<Self> {
        let section = match reference::find(self.name, name).map(|key| key.kind) {
            Some(Kind::Tables(section)) => section,
            _ => name,
        };
        self.items(name)
            .filter_map(|(place, item)| {
                Some(Section { name: section, table: Some(item.get_ref().as_table()?), place })
            })
            .collect()
    }

    /// A string, when it is set and fit, and where.
    pub(super) fn text(&self, name: &str) -> Option<(&'a str, Place)> {
        let text = self.value(name)?.get_ref().as_str()?;
        self.fits(name, text).then(|| (text, self.place_of(name)))
    }

    /// A string or its default.
    pub(super) fn text_or_default(&self, name: &str) -> (&'a str, Place) {
        self.text(name).unwrap_or_else(|| (self.default(name), self.place_of(name)))
    }

    /// The strings of an array, or the one string that stands for it.
    pub(super) fn texts(&self, name: &str) -> Vec<(&'a str, Place)> {
        if let Some(one) = self.text(name) {
            return vec![one];
        }
        self.items(name)
            .filter_map(|(place, item)| Some((item.get_ref().as_str()?, place)))
            .filter(|(text, _)| self.fits(name, text))
            .collect()
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        let set = self.value(name).and_then(|value| value.get_ref().as_bool());
        set.unwrap_or_else(|| self.default(name) == "true")
    }

    pub(super) fn duration(&self, name: &str) -> std::time::Duration {
        let set = self.text(name).and_then(|(text, _)| value::duration(text));
        set.or_else(|| value::duration(self.default(name))).unwrap_or_default()
    }

    /// A count or a size.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.number_if_set(name).or_else(|| value::size(self.default(name))).unwrap_or_default()
    }

    /// A count or a size, when it is set.
    pub(super) fn number_if_set(&self, name: &str) -> Option<u64> {
        match self.value(name)?.get_ref() {
            DeValue::Integer(number) => value::whole(number),
            DeValue::String(text) => value::size(text),
            _ => None,
        }
    }

    /// A count or a size that fits in memory.
    pub(super) fn small(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    /// A table of the operator's own making.
    pub(super) fn json(&self, name: &str) -> Option<serde_json::Value> {
        Some(value::json(self.value(name)?.get_ref()))
    }

    fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(name)
    }

    fn items(&self, name: &str) -> impl Iterator<Item = (Place, &'a Spanned<DeValue<'a>>)> {
        let array = self.value(name).and_then(|value| value.get_ref().as_array());
        let key = self.place_of(name).key;
        array
            .into_iter()
            .flat_map(|array| array.iter())
            .enumerate()
            .map(move |(n, item)| (Place { key: format!("{key}[{n}]"), span: item.span() }, item))
    }

    fn fits(&self, name: &str, text: &str) -> bool {
        reference::find(self.name, name)
            .is_some_and(|key| value::check_text(key.kind, text).is_ok())
    }

    fn default(&self, name: &str) -> &'static str {
        match reference::find(self.name, name).map(|key| key.fallback) {
            Some(Fallback::Value(text)) => text,
            _ => "",
        }
    }
}
