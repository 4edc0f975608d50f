//! Parameters as a document describes them (OpenAPI 3.1 §4.8.12): what is text in a path or a query is a
//! number, a truth value or a list where it says so.

use std::borrow::Cow;

use super::exact::{Json, Number};
use super::operation::{Operation, form_decoded};

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: Box<str>,
    /// Where it stands.
    pub place: Place,
    /// How its value is written.
    pub form: Form,
    /// Whether it must be there.
    pub required: bool,
}

/// Where the arguments of a call stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the body.
    Body,
    /// In the path.
    Path,
    /// In the query.
    Query,
}

impl Place {
    /// What it is called, by OpenAPI where that has a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Several values.
    List(Separator, Scalars),
    /// In a way that is not read here: an object, or JSON within the query.
    Opaque(Covers),
    /// One value.
    Scalar(Scalars),
}

/// What stands between the values of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// `,`: `form` that does not explode.
    Comma,
    /// `|`: `pipeDelimited`
    Pipe,
    /// Each has the name again: `form`, as it is where nothing else is said.
    Repeated,
    /// A space: `spaceDelimited`
    Space,
}

/// Which names of a query belong to a parameter that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// Any that nothing else has: the members of an object stand there by themselves.
    Anything,
    /// Its own, with brackets behind it: `deepObject`.
    Brackets,
    /// Its own.
    Itself,
}

/// The types that a text may be of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scalars {
    /// `boolean`
    pub boolean: bool,
    /// `integer`
    pub integer: bool,
    /// `number`
    pub number: bool,
    /// `string`
    pub string: bool,
}

/// What a call has for a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing, or nothing that is read here.
    Absent,
    /// A value of its type.
    Typed(Json),
    /// Something that does not read as its type: the text, or the texts where there are several.
    Untyped(Json),
}

/// What stands for text that is not UTF-8.
const UNREADABLE: &str = "\u{fffd}";

impl Declared {
    /// Its value in a call.
    pub fn read(&self, operation: &Operation<'_>) -> Argument {
        let (texts, is_plain) = match self.place {
            Place::Body => return Argument::Absent,
            Place::Path => {
                let named = operation.path_params().filter(|(name, _)| *name == &*self.name);
                (named.map(|(_, value)| Cow::Borrowed(value)).collect(), true)
            }
            Place::Query => self.texts(operation),
        };
        let typed = match (self.form, texts.as_slice()) {
            (_, []) => return Argument::Absent,
            (Form::Opaque(_), _) if self.place == Place::Query => return Argument::Absent,
            (Form::Scalar(scalars), [text]) => scalars.read(text),
            // Servers take the first of several, or the last.
            (Form::Scalar(_) | Form::Opaque(_), _) => None,
            (Form::List(_, scalars), _) => {
                let items: Option<Vec<Json>> =
                    texts.iter().map(|text| scalars.read(text)).collect();
                items.map(Json::Array)
            }
        };
        typed.filter(|_| is_plain).map_or_else(|| untyped(&texts), Argument::Typed)
    }

    /// The texts of its values in the query, each decoded, and whether every server takes them for these.
    fn texts<'a>(&self, operation: &Operation<'a>) -> (Vec<Cow<'a, str>>, bool) {
        let decoded = |text: &'a str| form_decoded(text).unwrap_or(Cow::Borrowed(UNREADABLE));
        let named = operation.pairs().filter(|(name, _)| decoded(name) == *self.name);
        let values: Vec<&'a str> = named.map(|(_, value)| value).collect();
        let separator = match self.form {
            Form::List(separator, _) => separator,
            Form::Opaque(_) | Form::Scalar(_) => Separator::Repeated,
        };
        match (separator, values.as_slice()) {
            (Separator::Repeated, _) => (values.into_iter().map(decoded).collect(), true),
            // A comma that is encoded belongs to an item for some servers, and ends it for others.
            (Separator::Comma, [value]) if value.to_ascii_lowercase().contains("%2c") => {
                (vec![decoded(value)], false)
            }
            (Separator::Comma, [value]) => (value.split(',').map(decoded).collect(), true),
            (Separator::Pipe, [value]) => (split(&decoded(value), '|'), true),
            (Separator::Space, [value]) => (split(&decoded(value), ' '), true),
            (_, several) => (several.iter().copied().map(decoded).collect(), false),
        }
    }
}

fn split<'a>(text: &str, separator: char) -> Vec<Cow<'a, str>> {
    text.split(separator).map(|item| Cow::Owned(item.to_owned())).collect()
}

fn untyped(texts: &[Cow<'_, str>]) -> Argument {
    let text = |text: &Cow<'_, str>| Json::String(text.as_ref().into());
    Argument::Untyped(match texts {
        [one] => text(one),
        several => Json::Array(several.iter().map(text).collect()),
    })
}

impl Scalars {
    /// The value that a text is, of the first type that it reads as. Numbers are those of JSON, so that
    /// `007`, `+7` and `0x7` are none: what one server makes of them another does not.
    fn read(self, text: &str) -> Option<Json> {
        let number = Number::parse(text);
        let is_integer = number.is_some() && text.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        match (text, number) {
            ("\u{fffd}", _) => None,
            (_, Some(number)) if self.number || (self.integer && is_integer) => {
                Some(Json::Number(number))
            }
            ("true", _) if self.boolean => Some(Json::Bool(true)),
            ("false", _) if self.boolean => Some(Json::Bool(false)),
            (text, _) => self.string.then(|| Json::String(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const TEXT: Scalars = Scalars { boolean: false, integer: false, number: false, string: true };
    const WHOLE: Scalars = Scalars { integer: true, string: false, ..TEXT };
    const NUMBER: Scalars = Scalars { number: true, string: false, ..TEXT };
    const SWITCH: Scalars = Scalars { boolean: true, string: false, ..TEXT };

    fn read(form: Form, query: &str) -> String {
        let declared = Declared { name: "x".into(), place: Place::Query, form, required: false };
        let bare = Operation::bare("a", &Method::GET, "/", "https://tools.test");
        match declared.read(&Operation { query: Some(query), ..bare }) {
            Argument::Absent => "absent".to_owned(),
            Argument::Typed(json) => format!("typed {}", shown(&json)),
            Argument::Untyped(json) => format!("text {}", shown(&json)),
        }
    }

    fn shown(json: &Json) -> String {
        match json {
            Json::Array(items) => {
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
            }
            Json::Bool(value) => value.to_string(),
            Json::Number(number) => number.text().to_owned(),
            Json::String(text) => format!("'{text}'"),
            Json::Null | Json::Object(_) => panic!("no parameter is one"),
        }
    }

    #[test]
    fn a_text_is_of_its_type_only_where_every_server_reads_it_so() {
        let scalar = Form::Scalar;
        for (form, query, expected) in [
            (scalar(WHOLE), "x=7", "typed 7"),
            (scalar(WHOLE), "x=-7", "typed -7"),
            (scalar(WHOLE), "x=9007199254740993", "typed 9007199254740993"),
            (scalar(WHOLE), "x=%37", "typed 7"),
            (scalar(WHOLE), "x=7.0", "text '7.0'"),
            (scalar(WHOLE), "x=7e0", "text '7e0'"),
            (scalar(WHOLE), "x=007", "text '007'"),
            (scalar(WHOLE), "x=+7", "text ' 7'"),
            (scalar(WHOLE), "x=0x7", "text '0x7'"),
            (scalar(WHOLE), "x=", "text ''"),
            (scalar(WHOLE), "x", "text ''"),
            (scalar(WHOLE), "X=7", "absent"),
            (scalar(WHOLE), "x=1&x=5000", "text ['1' '5000']"),
            (scalar(WHOLE), "x=1&%78=5000", "text ['1' '5000']"),
            (scalar(NUMBER), "x=7.50", "typed 7.50"),
            (scalar(NUMBER), "x=1e400", "text '1e400'"),
            (scalar(SWITCH), "x=true", "typed true"),
            (scalar(SWITCH), "x=True", "text 'True'"),
            (scalar(SWITCH), "x=1", "text '1'"),
            (scalar(TEXT), "x=7", "typed '7'"),
            (scalar(TEXT), "x=a+b", "typed 'a b'"),
            (scalar(Scalars { string: true, ..WHOLE }), "x=7", "typed 7"),
            (scalar(Scalars { string: true, ..WHOLE }), "x=seven", "typed 'seven'"),
            (scalar(TEXT), "x=%ff", "text '\u{fffd}'"),
        ] {
            assert_eq!(read(form, query), expected, "{form:?} {query}");
        }
    }

    #[test]
    fn lists_are_read_in_the_style_of_the_document() {
        let list = |separator| Form::List(separator, WHOLE);
        for (form, query, expected) in [
            (list(Separator::Repeated), "x=1&y=2&x=3", "typed [1 3]"),
            (list(Separator::Repeated), "x=1", "typed [1]"),
            (list(Separator::Repeated), "x=1,3", "text '1,3'"),
            (list(Separator::Comma), "x=1,3", "typed [1 3]"),
            (list(Separator::Comma), "x=1,b", "text ['1' 'b']"),
            (list(Separator::Comma), "x=1%2C3", "text '1,3'"),
            (list(Separator::Comma), "x=1&x=3", "text ['1' '3']"),
            (list(Separator::Comma), "x=1,2&x=3", "text ['1,2' '3']"),
            (list(Separator::Pipe), "x=1%7C3", "typed [1 3]"),
            (list(Separator::Space), "x=1+3", "typed [1 3]"),
            (Form::List(Separator::Comma, TEXT), "x=a,b", "typed ['a' 'b']"),
            (Form::Opaque(Covers::Itself), "x=1", "absent"),
        ] {
            assert_eq!(read(form, query), expected, "{form:?} {query}");
        }
    }
}
