//! By which version of A2A a request is meant (R-MCP-026).

use http::HeaderMap;
use http::header::HeaderValue;

use crate::model::reason::{Denial, Reason};

/// `A2A-Version`, a header or a parameter of the query.
pub const VERSION: &str = "a2a-version";

/// A version of A2A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What a request is taken for that names none.
    V0_3,
    /// With methods named as in its protocol buffers.
    V1_0,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V0_3, Self::V1_0];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }

    /// The version of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.name() == name)
    }
}

const MISMATCH: Denial = Denial::about(Reason::HeaderMismatch, VERSION);

/// The version by which a request is meant, one of `spoken` or a refusal. `pairs` are those of its query.
pub fn resolve<'q>(
    headers: &HeaderMap,
    pairs: impl Iterator<Item = (&'q str, &'q str)>,
    spoken: &[Version],
) -> Result<Version, Denial> {
    let mut named = headers.get_all(VERSION).iter();
    let header = named.next().map(HeaderValue::to_str).transpose().map_err(|_error| MISMATCH)?;
    let mut query = None;
    for (name, value) in pairs.filter(|(name, _)| name.eq_ignore_ascii_case(VERSION)) {
        if name != "A2A-Version" || query.replace(value).is_some() {
            return Err(MISMATCH);
        }
    }
    if named.next().is_some() || header.zip(query).is_some_and(|(one, other)| one != other) {
        return Err(MISMATCH);
    }
    let version = match header.or(query).unwrap_or_default() {
        "" => Some(Version::V0_3),
        name => Version::parse(name),
    };
    let unsupported = Denial::about(Reason::VersionUnsupported, VERSION);
    version.filter(|version| spoken.contains(version)).ok_or(unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(
        headers: &[&'static str],
        query: &[(&str, &str)],
        spoken: &[Version],
    ) -> Result<Version, Reason> {
        let lines = headers
            .iter()
            .map(|value| (http::HeaderName::from_static(VERSION), HeaderValue::from_static(value)));
        let mut all = HeaderMap::new();
        for (name, value) in lines {
            all.append(name, value);
        }
        resolve(&all, query.iter().copied(), spoken).map_err(|denial| denial.reason)
    }

    #[test]
    fn mcp_026_the_version_stands_in_the_header_or_in_the_query_and_is_0_3_where_it_is_empty() {
        for (headers, query, version) in [
            (&["1.0"][..], &[][..], Ok(Version::V1_0)),
            (&["0.3"], &[], Ok(Version::V0_3)),
            (&[], &[], Ok(Version::V0_3)),
            (&[""], &[], Ok(Version::V0_3)),
            (&[], &[("A2A-Version", "1.0")], Ok(Version::V1_0)),
            (&["1.0"], &[("A2A-Version", "1.0")], Ok(Version::V1_0)),
            (&["1.0"], &[("A2A-Version", "0.3")], Err(Reason::HeaderMismatch)),
            (&["1.0"], &[("A2A-Version", "")], Err(Reason::HeaderMismatch)),
            (&["1.0", "1.0"], &[], Err(Reason::HeaderMismatch)),
            (&[], &[("A2A-Version", "1.0"), ("A2A-Version", "1.0")], Err(Reason::HeaderMismatch)),
            (&[], &[("a2a-version", "1.0")], Err(Reason::HeaderMismatch)),
            (&["1"], &[], Err(Reason::VersionUnsupported)),
            (&["0.2"], &[], Err(Reason::VersionUnsupported)),
            (&["1.0.0"], &[], Err(Reason::VersionUnsupported)),
        ] {
            assert_eq!(resolved(headers, query, &Version::ALL), version, "{headers:?} {query:?}");
        }
        let current = [Version::V1_0];
        assert_eq!(resolved(&[], &[], &current), Err(Reason::VersionUnsupported));
    }
}
