//! What `[[issuer]]` says about tokens that are taken back: status lists, the feed of revocations, and
//! introspection.

use super::issuer::{Harm, secured};
use super::raw::Section;
use super::reading::Reading;
use super::value::{self, Url, Wrong};
use super::{ClientAuthentication, FeedConfig, IntrospectionConfig, LivenessConfig};
use crate::token::trust::Liveness;

/// What decisions demand, and where the facts for it come from.
pub(super) fn liveness(
    section: &Section<'_>,
    id: Option<&str>,
    into: &mut Reading<'_>,
) -> (Liveness, LivenessConfig) {
    let uri = into.one(section, "revocation_feed", address);
    let (interval, max_age) =
        (section.duration("revocation_interval"), section.duration("revocation_max_age"));
    if uri.is_some() && max_age <= interval {
        into.problems.hint(
            &section.place_of("revocation_max_age"),
            "is not longer than `revocation_interval`: every token would be refused between two polls",
            "set it to several intervals",
        );
    }
    let introspection = if section.has("introspection") {
        introspection(&section.table("introspection"), into)
    } else {
        None
    };
    let trust = Liveness {
        status_required: section.text_or_default("status").0 == "required",
        list_origins: list_origins(section, id, into),
        introspects: introspection.is_some(),
        feed_max_age: uri.is_some().then_some(max_age),
    };
    let config = LivenessConfig {
        status_max_age: section.duration("status_max_age"),
        feed: uri.map(|uri| FeedConfig { uri, interval }),
        introspection,
    };
    (trust, config)
}

/// `https` for every host that is named, and `http` for those that only this machine can answer.
fn list_origins(section: &Section<'_>, id: Option<&str>, into: &mut Reading<'_>) -> Vec<Box<str>> {
    let hosts = into.many(section, "status_list_hosts", value::authority);
    into.refuse_none(
        section,
        "status_list_hosts",
        "allows no host, so that every token with a status list is refused",
        "leave it out to allow the issuer's own",
    );
    if section.has("status_list_hosts") {
        let origins = hosts.iter().flat_map(|(host, _)| {
            let plain = format!("http://{host}");
            let is_ours = Url::parse(&plain).is_ok_and(|url| url.is_loopback());
            [Some(format!("https://{host}")), is_ours.then_some(plain)]
        });
        return origins.flatten().map(Into::into).collect();
    }
    let own = id.and_then(|id| Url::parse(id).ok()).map(|url| {
        let scheme = if url.secure { "https" } else { "http" };
        format!("{scheme}://{}", url.authority()).into()
    });
    own.into_iter().collect()
}

/// RFC 7662 §2.1: the endpoint must know who asks.
fn introspection(section: &Section<'_>, into: &mut Reading<'_>) -> Option<IntrospectionConfig> {
    let endpoint = into.one(section, "endpoint", address);
    let client_id = section.text("client_id").map(|(text, _)| Box::<str>::from(text));
    let certificate = into.file(section, "client_certificate");
    let certificate_key = into.private_file(section, "client_key");
    let key = into.private_file(section, "key");
    if section.has("key_id") && !section.has("key") {
        let message = "does nothing without `key`";
        let hint = "leave it out: only a key that signs has a name";
        into.problems.hint(&section.place_of("key_id"), message, hint);
    }
    let ways = ["secret", "key", "client_certificate"];
    let named: Vec<_> = ways.into_iter().filter(|way| section.has(way)).collect();
    if named.len() != 1 {
        let message = "exactly one of `secret`, `key` and `client_certificate` says who asks";
        into.problems.add(section.place(), message);
        return None;
    }
    if section.has("client_certificate") != section.has("client_key") {
        let message = "`client_certificate` and `client_key` stand together";
        into.problems.add(section.place(), message);
        return None;
    }
    let authentication = if section.has("secret") {
        ClientAuthentication::Secret(into.secret(&section.table("secret"))?)
    } else if let Some(path) = key {
        let key_id = section.text("key_id").map(|(text, _)| text.into());
        ClientAuthentication::PrivateKey { path, key_id }
    } else {
        ClientAuthentication::Certificate(certificate?, certificate_key?)
    };
    Some(IntrospectionConfig {
        endpoint: endpoint?,
        client_id: client_id?,
        authentication,
        cache: section.duration("cache"),
    })
}

fn address(text: &str) -> Result<http::Uri, Wrong> {
    secured(text, Harm::Answers)?;
    text.parse().map_err(|_unhelpful: http::uri::InvalidUri| {
        Wrong::new(format!("`{}` is not a URL", value::shown(text)))
    })
}
