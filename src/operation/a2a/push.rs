//! Where an agent may be told to send notifications: a URL there makes it send requests (R-MCP-024).

use std::collections::BTreeMap;

use crate::model::exact::Json;
use crate::model::reason::{Denial, Reason};

/// The members that hold a configuration of notifications, in each version and binding.
const HOLDERS: [&str; 4] =
    ["config", "pushNotification", "pushNotificationConfig", "taskPushNotificationConfig"];

/// Whether a notification may be sent to `url`: `https`, and an authority that is one of `hosts` octet by
/// octet. Nothing else can stand there then: no address, no name of a user, no other port.
pub fn is_allowed(url: &str, hosts: &[Box<str>]) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.strip_suffix(":443").unwrap_or(authority);
    is_plain && hosts.iter().any(|host| authority.eq_ignore_ascii_case(host))
}

/// Adds every URL of notifications that `members` say, themselves or in a configuration that they hold.
pub(super) fn urls(
    members: &BTreeMap<Box<str>, Json>,
    into: &mut Vec<Box<str>>,
) -> Result<(), Denial> {
    match members.get("url") {
        None | Some(Json::Null) => {}
        Some(Json::String(url)) => into.push(url.clone()),
        Some(_) => return Err(Denial::about(Reason::ArgumentsInvalid, "url")),
    }
    held(members, into)
}

/// Adds every URL of notifications in a configuration that `members` hold.
pub(super) fn held(
    members: &BTreeMap<Box<str>, Json>,
    into: &mut Vec<Box<str>>,
) -> Result<(), Denial> {
    for holder in HOLDERS {
        match members.get(holder) {
            None | Some(Json::Null) => {}
            Some(Json::Object(inner)) => {
                super::said::spelled(inner)?;
                let before = into.len();
                urls(inner, into)?;
                if into.len() == before {
                    return Err(Denial::about(Reason::ArgumentsInvalid, "url"));
                }
            }
            Some(_) => return Err(Denial::about(Reason::ArgumentsInvalid, holder)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcp_024_a_notification_goes_to_a_host_of_the_list_over_https_and_nowhere_else() {
        let hosts = ["hooks.test".into(), "hooks.test:8443".into()];
        for url in [
            "https://hooks.test",
            "https://hooks.test/a?b=c",
            "https://hooks.test:443/a",
            "https://HOOKS.test/a",
            "https://hooks.test:8443/a",
        ] {
            assert!(is_allowed(url, &hosts), "{url}");
            assert!(!is_allowed(url, &[]), "{url}");
        }
        for url in [
            "http://hooks.test/",
            "HTTPS://hooks.test/",
            "https://evil.test/",
            "https://hooks.test.evil.test/",
            "https://hooks.test@evil.test/",
            "https://evil.test@hooks.test/",
            "https://hooks.test:80/",
            "https://hooks.test./",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://2130706433/",
            "https://hooks.test\\@evil.test/",
            "https://hooks.test\t/",
            "https:///hooks.test/",
            " https://hooks.test/",
            "//hooks.test/",
            "",
        ] {
            assert!(!is_allowed(url, &hosts), "{url}");
        }
    }
}
