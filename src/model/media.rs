//! Media types as RFC 9110 §8.3 writes them, and no other way: where the gate and a server read a type
//! differently, they read the body differently.

/// Whether it is JSON in UTF-8: `application/json`, or a type with the suffix `+json` (RFC 6839 §3.1).
/// RFC 8259 §8.1 allows no other `charset`, and in another one another reader would read another text.
/// What is not written as the grammar demands is of no type; so is a parameter in the extended form of
/// RFC 8187, which some readers take for the plain one, and one that is there twice.
pub fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';');
    let kind = parts.next().unwrap_or_default().trim_end_matches(BLANK).to_ascii_lowercase();
    let Some(named) = kind.strip_prefix("application/") else { return false };
    let is_json = named == "json" || named.strip_suffix("+json").is_some_and(|own| !own.is_empty());
    if !is_json || !is_token(named) {
        return false;
    }
    let mut seen = Vec::new();
    parts.map(|parameter| parameter.trim_matches(BLANK)).all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
        let name = name.to_ascii_lowercase();
        let is_good = is_token(&name) && !name.contains('*') && !seen.contains(&name);
        let value = value.strip_prefix('"').map_or(Some(value), |open| open.strip_suffix('"'));
        let is_good = is_good
            && value.is_some_and(|value| {
                is_token(value) && (name != "charset" || value.eq_ignore_ascii_case("utf-8"))
            });
        seen.push(name);
        is_good
    })
}

/// Whether it is a stream of events (`text/event-stream`), whatever its parameters are.
pub fn is_event_stream(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim_matches(BLANK).eq_ignore_ascii_case("text/event-stream")
}

/// Whether it is gRPC, in whichever encoding (`application/grpc+json` too).
pub fn is_grpc(content_type: &[u8]) -> bool {
    let kind = content_type.trim_ascii_start();
    kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// Optional white space (RFC 9110 §5.6.3).
const BLANK: [char; 2] = [' ', '\t'];

/// RFC 9110 §5.6.2. Quoted values that are none are refused: no parameter of JSON needs them.
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_type() {
        for (kind, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json ; charset=utf-8 ; profile=a", true),
            ("application/merge-patch+json", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset*=us-ascii'en'utf-7", false),
            ("application/json; charset*0=utf-7", false),
            ("application/json; charset=utf-8; charset=utf-7", false),
            ("application/json; charset =utf-7", false),
            ("application/json; charset= utf-7", false),
            ("application/json; charset", false),
            ("application/json; a=\"b;charset=utf-7\"", false),
            ("application/json; a=b; charset=latin1", false),
            ("application/json;", true),
            ("application/x-www-form-urlencoded,x+json", false),
            ("application/x-www-form-urlencoded +json", false),
            ("application/x-www-form-urlencoded, application/json", false),
            ("application/+json", false),
            ("application/jsonx", false),
            (" application/json", false),
            ("text/json", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json(kind), expected, "{kind}");
        }
    }
}
