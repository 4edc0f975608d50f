//! The operation: the one thing that an agent asks of a resource.

use http::Method;

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
}
