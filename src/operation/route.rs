//! Which resource a request is for, by authority and path.

use std::borrow::Cow;
use std::collections::HashMap;

/// Where resources are mounted.
#[derive(Debug, Default)]
pub struct Routes {
    hosts: HashMap<Box<str>, Vec<Mount>>,
}

#[derive(Debug)]
struct Mount {
    path: Box<str>,
    resource: usize,
}

/// The mounts of one authority.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    mounts: &'a [Mount],
}

impl Routes {
    /// Makes `authority` known, also when no resource is mounted there.
    pub fn add_host(&mut self, authority: &str) {
        self.hosts.entry(normalized(authority).into_owned().into()).or_default();
    }

    /// Mounts the resource with index `resource` at `path` (no trailing slash; empty for the root).
    pub fn mount(&mut self, authority: &str, path: &str, resource: usize) {
        let mounts = self.hosts.entry(normalized(authority).into_owned().into()).or_default();
        mounts.push(Mount { path: path.into(), resource });
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
    }

    /// What is mounted at `authority`; `None` when requests may not name it.
    pub fn host(&self, authority: &str) -> Option<Host<'_>> {
        self.hosts.get(&*normalized(authority)).map(|mounts| Host { mounts })
    }
}

impl<'a> Host<'a> {
    /// The resource with the longest mount at or above the decoded path `path`, and that mount.
    pub fn find(self, path: &str) -> Option<(usize, &'a str)> {
        self.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.path.as_ref())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then_some((mount.resource, mount.path.as_ref()))
        })
    }
}

/// Lower case, the default ports of both schemes left out.
fn normalized(authority: &str) -> Cow<'_, str> {
    let host = authority.strip_suffix(":443").or_else(|| authority.strip_suffix(":80"));
    let host = host.unwrap_or(authority);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_at_a_segment_boundary_wins() {
        let mut routes = Routes::default();
        routes.mount("tools.test", "", 0);
        routes.mount("tools.test", "/shop", 1);
        routes.mount("tools.test", "/shop/admin", 2);
        routes.mount("other.test:8443", "/x", 3);
        for (authority, path, expected) in [
            ("tools.test", "/", Some((0, ""))),
            ("tools.test", "/shop", Some((1, "/shop"))),
            ("TOOLS.test:443", "/shop/a", Some((1, "/shop"))),
            ("tools.test", "/shopping", Some((0, ""))),
            ("tools.test", "/shop/admin/x", Some((2, "/shop/admin"))),
            ("other.test:8443", "/x/y", Some((3, "/x"))),
            ("other.test:8443", "/", None),
            ("other.test", "/x", None),
        ] {
            assert_eq!(
                routes.host(authority).and_then(|host| host.find(path)),
                expected,
                "{authority}{path}"
            );
        }
        assert!(routes.host("tools.test:80").is_some());
        assert!(routes.host("evil.test").is_none());
    }
}
