//! Which resource a request is for, by authority and path.

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

impl Routes {
    /// Makes `authority` known, also when no resource is mounted there.
    pub fn add_host(&mut self, authority: &str) {
        self.hosts.entry(normalized(authority).into()).or_default();
    }

    /// Mounts the resource with index `resource` at `path` (no trailing slash; empty for the root).
    pub fn mount(&mut self, authority: &str, path: &str, resource: usize) {
        let mounts = self.hosts.entry(normalized(authority).into()).or_default();
        mounts.push(Mount { path: path.into(), resource });
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
    }

    /// Whether requests may name `authority`.
    pub fn knows(&self, authority: &str) -> bool {
        self.hosts.contains_key(normalized(authority).as_str())
    }

    /// The resource with the longest mount at or above the decoded path `path`, and that mount.
    pub fn find(&self, authority: &str, path: &str) -> Option<(usize, &str)> {
        let mounts = self.hosts.get(normalized(authority).as_str())?;
        mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.path.as_ref())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then_some((mount.resource, mount.path.as_ref()))
        })
    }
}

/// Lower case, the default ports of both schemes left out.
fn normalized(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    match lower.strip_suffix(":443").or_else(|| lower.strip_suffix(":80")) {
        Some(host) => host.to_owned(),
        None => lower,
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
            assert_eq!(routes.find(authority, path), expected, "{authority}{path}");
        }
        assert!(routes.knows("tools.test:80"));
        assert!(!routes.knows("evil.test"));
    }
}
