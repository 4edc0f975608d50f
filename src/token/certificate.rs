//! Client certificates: what is read of one, and how a proxy in front passes one on
//! (RFC 8705 §3; RFC 9440).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::hash;
use super::presenter::Certificate;
use crate::model::time::Timestamp;

/// The longest field value that is read, in bytes.
const MAX_FIELD: usize = 16 * 1_024;

/// Reads a certificate from its DER form. The names in it, and when it ends, count only where an authority
/// that the operator trusts was verified to have signed it.
pub fn read(der: &[u8], is_verified: bool) -> Certificate {
    let parsed = x509_parser::parse_x509_certificate(der).ok().filter(|_| is_verified);
    let parsed = parsed.as_ref().map(|(_, certificate)| certificate);
    let uris = parsed.and_then(uris).unwrap_or_default();
    let end = parsed.map_or(0, |certificate| certificate.validity().not_after.timestamp());
    // One that was verified and cannot be read here has ended.
    let until = is_verified.then(|| Timestamp::from_seconds(u64::try_from(end).unwrap_or(0)));
    Certificate { thumbprint: hash::sha256(der), uris, until }
}

fn uris(certificate: &X509Certificate<'_>) -> Option<Vec<Box<str>>> {
    let names = certificate.subject_alternative_name().ok()??;
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Box::from(*uri)),
        _ => None,
    });
    Some(uris.collect())
}

/// The DER form of a certificate that a proxy in front passes on: `Client-Cert` of RFC 9440 (the byte
/// sequence of a structured field), or PEM in percent-encoding, as nginx writes it. `None` for anything
/// that is not exactly one certificate.
pub fn forwarded(value: &str) -> Option<Vec<u8>> {
    if value.len() > MAX_FIELD {
        return None;
    }
    let der = if let Some(rest) = value.strip_prefix(':') {
        STANDARD.decode(rest.strip_suffix(':')?).ok()?
    } else {
        let pem: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
        let (rest, pem) = parse_x509_pem(&pem).ok()?;
        if pem.label != "CERTIFICATE" || !rest.trim_ascii().is_empty() {
            return None;
        }
        pem.contents
    };
    let (rest, _) = x509_parser::parse_x509_certificate(&der).ok()?;
    if rest.is_empty() { Some(der) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// RFC 8705 appendix A: a certificate, and the thumbprint that a token bound to it carries.
    const RFC_8705: &str = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    const THUMBPRINT: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn certificate(uri: &str) -> (Vec<u8>, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        (made.der().to_vec(), made.pem())
    }

    #[test]
    fn r_ver_014_the_certificate_of_rfc_8705_has_the_thumbprint_it_prints() {
        let der = STANDARD.decode(RFC_8705).unwrap();
        let thumbprint = read(&der, true).thumbprint;
        assert!(hash::is(Some(&serde_json::json!(THUMBPRINT)), &thumbprint));
        assert_eq!(forwarded(&format!(":{RFC_8705}:")), Some(der));
    }

    #[test]
    fn names_count_only_where_an_authority_was_verified() {
        let (der, _) = certificate("spiffe://td.test/buyer");
        assert_eq!(read(&der, true).uris, ["spiffe://td.test/buyer".into()]);
        assert_eq!(read(&der, false).uris, []);
        let unreadable = read(b"no certificate", true);
        assert_eq!(unreadable.uris, []);
        assert_eq!(unreadable.until, Some(Timestamp::from_seconds(0)));
        assert_eq!(read(&der, false).until, None);
    }

    #[test]
    fn a_forwarded_certificate_is_exactly_one_or_none() {
        let (der, pem) = certificate("spiffe://td.test/a");
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        assert_eq!(forwarded(&encode(&pem)), Some(der.clone()));
        let field = format!(":{}:", STANDARD.encode(&der));
        assert_eq!(forwarded(&field), Some(der.clone()));
        let twice = format!(":{}:", STANDARD.encode([&der[..], &der[..]].concat()));
        let key = KeyPair::generate().unwrap().serialize_pem();
        for bad in [
            String::new(),
            "::".to_owned(),
            field.trim_end_matches(':').to_owned(),
            format!("{field}, {field}"),
            twice,
            encode(&format!("{pem}{pem}")),
            encode(&key),
            STANDARD.encode(&der),
        ] {
            assert_eq!(forwarded(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn r_ver_031_no_text_makes_the_reader_panic(text in "\\PC{0,80}", der in prop::collection::vec(any::<u8>(), 0..80)) {
            forwarded(&text);
            forwarded(&format!(":{}:", STANDARD.encode(&der)));
            read(&der, true);
        }
    }
}
