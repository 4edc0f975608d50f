//! The operation: the one thing that an agent asks of a resource.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::argument::Declared;
use super::body::Body;
use super::exact::Json;
use super::template::Parameter;

/// What is asked, as grants and policies see it. Borrowed from the call that asks.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The name of the action: the operator's, or the method in lower case where none is configured.
    pub action: &'a str,
    /// The HTTP method, upper case as sent.
    pub method: &'a Method,
    /// The canonical path below the resource, beginning with `/`.
    pub path: &'a str,
    /// The identifier of the resource (RFC 9728), without a trailing slash.
    pub resource: &'a str,
    /// The parameters that the path has names for.
    pub parameters: &'a [Parameter],
    /// What a document says of the parameters in its path and query.
    pub declared: &'a [Declared],
    /// The query as sent, without its `?`.
    pub query: Option<&'a str>,
    /// The JSON body, where it was read to be judged.
    pub body: Option<&'a Body>,
    /// Whether a valid token is enough for it, so that no grant needs to cover it.
    pub is_open: bool,
    /// The message that its body is, where the operation stands in there.
    pub message: Option<Spoken<'a>>,
}

/// An operation that stands in a message and not in method and path.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// The other name of its action, which nothing but it can have.
    pub alias: &'a str,
    /// Its arguments.
    pub args: &'a Json,
    /// What policies are told of the message.
    pub told: Told<'a>,
}

/// What policies are told of a message, in the words of its protocol.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// `input.a2a`
    A2a(Exchange<'a>),
    /// `input.mcp`
    Mcp(Message<'a>),
}

/// What is asked of an agent (A2A), as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The version of the protocol.
    pub version: &'a str,
    /// The method, as that version calls it.
    pub method: &'a str,
    /// The task that it is about.
    pub task_id: Option<&'a str>,
    /// The context that a message belongs to.
    pub context_id: Option<&'a str>,
    /// Whose message is sent, and what each part of it is.
    pub message: Option<(&'a str, &'a [&'a str])>,
}

/// A message of the Model Context Protocol, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The revision of the protocol, a date.
    pub version: &'a str,
    /// Its method.
    pub method: &'a str,
    /// What it names: a tool, a prompt, or the URI of a resource.
    pub name: Option<&'a str>,
    /// Whether it repeats a call that the server wanted more of.
    pub is_retry: bool,
}

impl<'a> Operation<'a> {
    /// An operation without arguments.
    pub const fn bare(
        action: &'a str,
        method: &'a Method,
        path: &'a str,
        resource: &'a str,
    ) -> Self {
        let (query, body, message) = (None, None, None);
        let is_open = false;
        Self {
            action,
            method,
            path,
            resource,
            parameters: &[],
            declared: &[],
            query,
            body,
            is_open,
            message,
        }
    }

    /// `request.path_params`: names and values, decoded.
    pub fn path_params(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let path = self.path;
        self.parameters.iter().filter_map(move |one| Some((&*one.name, one.value(path)?)))
    }

    /// `request.query`: names and values in the order in which they stand, decoded as
    /// `application/x-www-form-urlencoded`, which is how servers read a query. `None` stands for a pair
    /// that is not UTF-8 when it is decoded, which no rule can be held against.
    pub fn query(&self) -> impl Iterator<Item = Option<(Cow<'a, str>, Cow<'a, str>)>> {
        self.pairs().map(|(name, value)| Some((form_decoded(name)?, form_decoded(value)?)))
    }

    /// Names and values of the query as they were sent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// `args`: the JSON body, or what a message in it says.
    pub fn args(&self) -> Option<&'a Json> {
        match self.message {
            Some(spoken) => Some(spoken.args),
            None => self.body.map(|body| &body.json),
        }
    }

    /// Its other name, as policies are told (`action_aliases`): the method of the request, which says
    /// nothing where the operation stands in a message.
    pub fn alias(&self) -> &'a str {
        self.message.map_or(self.method.as_str(), |spoken| spoken.alias)
    }

    /// Whether a grant of `name` is one of this operation.
    pub fn is_called(&self, name: &str) -> bool {
        name == self.action || self.message.is_some_and(|spoken| spoken.alias == name)
    }
}

/// Text of `application/x-www-form-urlencoded`; `None` where it is not UTF-8 when it is decoded.
pub(super) fn form_decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Some(Cow::Owned(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_servers_read_it() {
        let read = |query: &str| -> Vec<Option<(String, String)>> {
            let operation = Operation::bare("a", &Method::GET, "/", "https://tools.test");
            let operation = Operation { query: Some(query), ..operation };
            let owned = operation.query().map(|pair| pair.map(|(n, v)| (n.into(), v.into())));
            owned.collect()
        };
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("a=1&a=2&b"), [pair("a", "1"), pair("a", "2"), pair("b", "")]);
        assert_eq!(read("%61=x%20y+z&&=q"), [pair("a", "x y z"), pair("", "q")]);
        assert_eq!(read("a=b=c&%2B=%2b"), [pair("a", "b=c"), pair("+", "+")]);
        assert_eq!(read("a=%ff&b=1"), [None, pair("b", "1")]);
        assert_eq!(read(""), []);
    }
}
