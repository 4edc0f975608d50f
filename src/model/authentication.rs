//! How well and how lately the person must have been authenticated (RFC 9470).

use std::time::Duration;

/// What an operation demands. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// `acr_values`: any of these satisfies; none is demanded where there is none.
    pub acr_values: Vec<Box<str>>,
    /// `max_age`: how long ago the person may have been authenticated.
    pub max_age: Option<Duration>,
}
