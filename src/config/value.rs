//! The forms that values take: durations, sizes, endpoints, origins, URLs, headers.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use toml::de::{DeInteger, DeValue};

use super::problem::nearest;
use super::reference::{Kind, list};
use super::{Endpoint, Origin, Place as TargetPlace, Target};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn with(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// User input as messages show it: on one line, and not without end.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let clean = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    if text.chars().count() <= LONGEST {
        return clean.collect();
    }
    clean.take(LONGEST).chain(std::iter::once('…')).collect()
}

/// Checks a string against the kind of its key.
pub(super) fn check_text(kind: Kind, text: &str) -> Result<(), Wrong> {
    match kind {
        Kind::Choice(words) | Kind::Choices(words) => {
            if words.contains(&text) {
                return Ok(());
            }
            let message = format!("`{}` is not {}", shown(text), Kind::Choice(words).expected());
            Err(match nearest(text, words.iter().copied().filter(|word| !word.is_empty())) {
                Some(near) => Wrong::with(message, format!("did you mean `{near}`?")),
                None => Wrong::new(message),
            })
        }
        Kind::Duration(min, max) => {
            let wrong = || Wrong::new(format!("`{}` is not {}", shown(text), kind.expected()));
            let millis = duration(text).ok_or_else(wrong)?.as_millis();
            if (u128::from(min)..=u128::from(max)).contains(&millis) {
                return Ok(());
            }
            Err(Wrong::new(format!(
                "`{text}` is out of range: from {} to {}",
                duration_text(min),
                duration_text(max)
            )))
        }
        Kind::Size(min, max) => {
            let wrong = || Wrong::new(format!("`{}` is not {}", shown(text), kind.expected()));
            check_number(kind, Some(size(text).ok_or_else(wrong)?), min, max)
        }
        _ if text.is_empty() => Err(Wrong::new("expected a string that is not empty")),
        _ if text.chars().any(char::is_control) => {
            Err(Wrong::new("expected a string without control characters"))
        }
        _ => Ok(()),
    }
}

/// Checks a number against the range of its key.
pub(super) fn check_number(
    kind: Kind,
    number: Option<u64>,
    min: u64,
    max: u64,
) -> Result<(), Wrong> {
    let exact = max == min + 2 && matches!(kind, Kind::Count(..));
    match number {
        Some(number) if (min..=max).contains(&number) && !(exact && number == min + 1) => Ok(()),
        _ if matches!(kind, Kind::Size(..)) => {
            Err(Wrong::new(format!("out of range: from {} to {}", size_text(min), size_text(max))))
        }
        _ => Err(Wrong::new(format!("expected {}", kind.expected()))),
    }
}

/// A TOML integer that is not negative.
pub(super) fn whole(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok()
}

/// `250ms`, `30s`, `5m`, `24h`, `7d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `4096`, `4096B`, `64KiB`, `1MiB`, `2GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

fn duration_text(millis: u64) -> String {
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= length && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

fn size_text(bytes: u64) -> String {
    for (unit, length) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= length && bytes.is_multiple_of(length) {
            return format!("{}{unit}", bytes / length);
        }
    }
    bytes.to_string()
}

/// A path of the file system, relative to `base`.
pub(super) fn path(text: &str, base: &Path) -> PathBuf {
    base.join(text)
}

/// `127.0.0.1:8443`, `[::1]:8443`, `unix:/run/opgate.sock`.
pub(super) fn endpoint(text: &str, base: &Path) -> Result<Endpoint, Wrong> {
    if let Some(socket) = text.strip_prefix("unix:").filter(|socket| !socket.is_empty()) {
        return Ok(Endpoint::Unix(path(socket, base)));
    }
    text.parse::<SocketAddr>().map(Endpoint::Tcp).map_err(|_unhelpful| {
        Wrong::with(
            format!("`{}` is not an endpoint", shown(text)),
            "write an address and a port, as in `127.0.0.1:8443`, or `unix:/run/opgate.sock`",
        )
    })
}

/// A URL in its parts; what follows the path is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) secure: bool,
    /// Lower case, without the port.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Empty, or beginning with `/`.
    pub(super) path: &'a str,
}

impl<'a> Url<'a> {
    /// Reads an `http` or `https` URL without user information, query and fragment.
    pub(super) fn parse(text: &'a str) -> Result<Self, Wrong> {
        let wrong = |why: &str| Wrong::new(format!("`{}` {why}", shown(text)));
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ if text.contains('@') => {
                return Err(Wrong::new("is not a URL that begins with `http://` or `https://`"));
            }
            _ => return Err(wrong("is not a URL that begins with `http://` or `https://`")),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at).unwrap_or((rest, ""));
        // What stands there may be a password, and is not shown.
        if authority.contains('@') {
            return Err(Wrong::new("has user information: a credential is never part of a URL"));
        }
        if rest.contains('?') || rest.contains('#') {
            return Err(wrong("has a query or a fragment"));
        }
        let (host, port) = host_and_port(authority).ok_or_else(|| wrong("has no valid host"))?;
        if !path.chars().all(is_path_character) {
            return Err(wrong("has a character that a path cannot hold"));
        }
        Ok(Self { secure, host, port, path })
    }

    /// `host` or `host:port`, the port left out where it is the scheme's own.
    pub(super) fn authority(&self) -> Box<str> {
        match self.port.filter(|port| *port != self.own_port()) {
            Some(port) => format!("{}:{port}", self.host).into(),
            None => self.host.as_str().into(),
        }
    }

    /// Whether only this machine can answer.
    pub(super) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare.ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    const fn own_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

/// Lower-case host, in brackets where it is an IPv6 address, and port.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    let valid = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        }
    };
    valid.then(|| (host.to_ascii_lowercase(), port))
}

/// `host` or `host:port`, in lower case.
pub(super) fn authority(text: &str) -> Result<Box<str>, Wrong> {
    let wrong = || {
        Wrong::with(
            format!("`{}` is not an authority", shown(text)),
            "write `host` or `host:port`, without a scheme or a path",
        )
    };
    let (host, port) = host_and_port(text).ok_or_else(wrong)?;
    Ok(port.map_or_else(|| host.clone().into(), |port| format!("{host}:{port}").into()))
}

/// Scheme and authority, and nothing more.
pub(super) fn origin(text: &str) -> Result<Origin, Wrong> {
    let url = Url::parse(text)?;
    if !url.path.is_empty() {
        return Err(Wrong::with(
            format!("`{}` has a path", shown(text)),
            "an origin is scheme and authority only, as in `https://tools.example.com`",
        ));
    }
    Ok(Origin { secure: url.secure, authority: url.authority() })
}

/// One address of an upstream.
pub(super) fn target(text: &str, base: &Path) -> Result<Target, Wrong> {
    if let Some(socket) = text.strip_prefix("unix:").filter(|socket| !socket.is_empty()) {
        let place = TargetPlace::Unix(path(socket, base));
        return Ok(Target { secure: false, place, prefix: "".into() });
    }
    let url = Url::parse(text).map_err(|wrong| Wrong {
        hint: Some("write `http://host:port`, `https://host` or `unix:/path`".into()),
        ..wrong
    })?;
    let prefix = url.path.trim_end_matches('/');
    path_below(prefix)?;
    let place = TargetPlace::Host(url.host.as_str().into(), url.port.unwrap_or(url.own_port()));
    Ok(Target { secure: url.secure, place, prefix: prefix.into() })
}

/// A path to put requests below: segments that no server reads in two ways, no trailing slash.
pub(super) fn path_below(text: &str) -> Result<(), Wrong> {
    if text.is_empty() {
        return Ok(());
    }
    let wrong = |why: &str| Err(Wrong::new(format!("path `{}` {why}", shown(text))));
    let Some(rest) = text.strip_prefix('/') else { return wrong("does not begin with `/`") };
    if text.chars().any(|c| !is_path_character(c) || c == '%' || c == ';') {
        return wrong("has a character that not every server reads alike");
    }
    if rest.ends_with('/') || rest.is_empty() {
        return wrong("ends with `/`");
    }
    if rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return wrong("has an empty, `.` or `..` segment");
    }
    Ok(())
}

fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%/".contains(c)
}

/// A header that may be set or removed: none that frames the message or belongs to the connection.
pub(super) fn header(text: &str) -> Result<http::HeaderName, Wrong> {
    const NOT_OURS: [&str; 11] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ];
    let name = text
        .parse::<http::HeaderName>()
        .map_err(|_unhelpful| Wrong::new(format!("`{}` is not a header name", shown(text))))?;
    if NOT_OURS.contains(&name.as_str()) {
        return Err(Wrong::new(format!(
            "`{name}` belongs to the connection or frames the message: the gate sets it itself"
        )));
    }
    Ok(name)
}

/// A method as it stands on the wire.
pub(super) fn method(text: &str) -> Result<http::Method, Wrong> {
    let wrong = || Wrong::new(format!("`{}` is not a method", shown(text)));
    let method = http::Method::from_bytes(text.as_bytes()).map_err(|_unhelpful| wrong())?;
    if matches!(method, http::Method::CONNECT | http::Method::TRACE) {
        return Err(Wrong::new(format!("`{method}` is never forwarded")));
    }
    if text.chars().any(|c| c.is_ascii_lowercase()) {
        let upper = text.to_ascii_uppercase();
        return Err(Wrong::with(
            format!("`{}` is not upper case, and methods are compared exactly", shown(text)),
            format!("did you mean `{upper}`?"),
        ));
    }
    Ok(method)
}

/// A scope (RFC 6749 §3.3): printable ASCII without space, `"` and `\`.
pub(super) fn scope(text: &str) -> Result<Box<str>, Wrong> {
    if text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        return Ok(text.into());
    }
    Err(Wrong::with(
        format!("`{}` is not a scope", shown(text)),
        "one scope for each string, without spaces and quotes",
    ))
}

/// A name for tables to refer to and records to carry.
pub(super) fn name(text: &str) -> Result<Box<str>, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._/:".contains(c);
    if text.len() <= 128 && text.chars().all(fits) {
        return Ok(text.into());
    }
    Err(Wrong::new(format!(
        "`{}` is not a name: at most 128 letters, digits and {}",
        shown(text),
        list(&["-", ".", "_", "/", ":"])
    )))
}

/// The operator's table as JSON.
pub(super) fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(switch) => Value::Bool(*switch),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(name, item)| (name.get_ref().clone().into_owned(), json(item.get_ref())))
                .collect::<Map<_, _>>(),
        ),
    }
}
