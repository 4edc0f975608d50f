//! X.509-SVIDs: certificates that say which agent a key is of (SPIFFE X.509-SVID; RFC 7517 §4.7;
//! `delegation.md` §6). The authorities of its trust domain answer for the name, not whoever keeps the
//! directory that the key was found in.
//!
//! Everything but the time is settled when a directory is read: what is left for each call is whether it
//! lies between two moments.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use serde_json::Value;
use webpki::aws_lc_rs as algorithm;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;

use crate::model::json;
use crate::model::time::Timestamp;

/// The most authorities of a trust domain: one in use, one to come, and some for a wide organization.
pub const MAX_AUTHORITIES: usize = 64;
/// The most certificates of a chain, the agent's own among them.
const MAX_CHAIN: usize = 6;
/// The longest certificate, in bytes of its DER form.
const MAX_CERTIFICATE: usize = 8 * 1_024;
/// The longest SPIFFE id, in bytes (SPIFFE-ID §2.3).
const MAX_ID: usize = 2_048;
/// How a certificate may be signed: as a token may, and with the longer hashes that authorities use.
const SIGNED_WITH: [&dyn SignatureVerificationAlgorithm; 11] = [
    algorithm::ECDSA_P256_SHA256,
    algorithm::ECDSA_P256_SHA384,
    algorithm::ECDSA_P384_SHA256,
    algorithm::ECDSA_P384_SHA384,
    algorithm::ED25519,
    algorithm::RSA_PKCS1_2048_8192_SHA256,
    algorithm::RSA_PKCS1_2048_8192_SHA384,
    algorithm::RSA_PKCS1_2048_8192_SHA512,
    algorithm::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithm::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A name that a certificate gives to a key, and the time for which the whole chain does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    /// The SPIFFE id of the agent.
    pub id: Box<str>,
    lifetime: Lifetime,
}

/// The authorities of one trust domain.
#[derive(Debug)]
pub struct Bundle {
    domain: Box<str>,
    authorities: Vec<Authority>,
}

#[derive(Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    lifetime: Lifetime,
}

/// When a certificate is valid, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lifetime {
    from: Timestamp,
    until: Timestamp,
}

/// What could not be read as a trust bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Neither certificates in PEM nor strict JSON.
    #[error("neither certificates (PEM) nor a SPIFFE bundle (JSON without duplicate members)")]
    Form,
    /// One of its certificates is not that of an authority.
    #[error("certificate {0} is not that of an authority: {1}")]
    NoAuthority(usize, &'static str),
    /// No certificate of an authority.
    #[error("no certificate of an authority for X.509-SVIDs")]
    None,
    /// More than so many.
    #[error("more than {MAX_AUTHORITIES} authorities")]
    TooMany,
}

impl Svid {
    /// Whether every certificate of its chain is valid at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        // A certificate is valid until the end of the second that it names (RFC 5280 §4.1.2.5).
        self.lifetime.from <= now && now.seconds() <= self.lifetime.until.seconds()
    }
}

impl Bundle {
    /// Reads the bundle of a trust domain: certificates in PEM, or the JSON form of SPIFFE.
    pub fn read(text: &[u8], domain: &str) -> Result<Self, BundleError> {
        let is_json = text.trim_ascii_start().starts_with(b"{");
        let certificates = if is_json { of_spiffe(text)? } else { of_pem(text)? };
        if certificates.is_empty() {
            return Err(BundleError::None);
        }
        if certificates.len() > MAX_AUTHORITIES {
            return Err(BundleError::TooMany);
        }
        let read = |(n, der): (usize, Vec<u8>)| {
            Authority::read(der).map_err(|why| BundleError::NoAuthority(n, why))
        };
        let authorities: Result<_, _> = certificates.into_iter().enumerate().map(read).collect();
        Ok(Self { domain: domain.into(), authorities: authorities? })
    }

    /// What the chain in `x5c` says of the key whose own bytes are `public`. Size and depth are bounded
    /// before anything is decoded, and the form of the agent's certificate is checked before any signature.
    pub fn verify(&self, x5c: &Value, public: &[u8]) -> Result<Svid, &'static str> {
        let chain = chain(x5c)?;
        let (own, others) = chain.split_first().ok_or("`x5c` has no certificate")?;
        let (id, mut lifetime) = leaf(own, &self.domain, public)?;
        for other in others {
            lifetime = lifetime.within(Lifetime::of(&parsed(other)?));
        }
        let certificate =
            EndEntityCert::try_from(own).map_err(|_form| "the certificate cannot be read")?;
        let never = "the certificates are never valid at the same time";
        let shared = |one: &&Authority| !lifetime.within(one.lifetime).is_never();
        let fitting: Vec<&Authority> = self.authorities.iter().filter(shared).collect();
        let anchors: Result<Vec<_>, _> = fitting.iter().map(|one| one.anchor()).collect();
        let anchors = anchors.map_err(|_form| "an authority cannot be read")?;
        if anchors.is_empty() {
            return Err(never);
        }
        // A moment at which all are valid, so that nothing but signatures and constraints decides. The
        // library bounds how many it tries (RFC 5280 §6).
        let time = UnixTime::since_unix_epoch(Duration::from_secs(lifetime.from.seconds()));
        let usage = KeyUsage::client_auth();
        let path = certificate
            .verify_for_usage(&SIGNED_WITH, &anchors, others, time, usage, None, None)
            .map_err(|error| match error {
                webpki::Error::UnknownIssuer => "no authority of the trust domain has signed it",
                _ => "the chain of the certificate does not verify",
            })?;
        // An authority that was given a new certificate answers for as long as the newest does.
        let signed = fitting.iter().zip(&anchors).filter(|(_, anchor)| *anchor == path.anchor());
        let lifetimes = signed.map(|(authority, _)| lifetime.within(authority.lifetime));
        let widest = lifetimes.max_by_key(|lifetime| lifetime.until);
        Ok(Svid { id, lifetime: widest.ok_or(never)? })
    }
}

impl Authority {
    fn read(der: Vec<u8>) -> Result<Self, &'static str> {
        if der.len() > MAX_CERTIFICATE {
            return Err("it is too long");
        }
        let certificate = CertificateDer::from(der);
        anchor_from_trusted_cert(&certificate).map_err(|_form| "it cannot be read")?;
        let read = parsed(&certificate)?;
        // Whoever only has a name of its own must not vouch for others.
        if !read.is_ca() {
            return Err("it is not allowed to sign others");
        }
        let usage = read.key_usage().map_err(|_twice| "its key usage is told twice")?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err("it is not allowed to sign others");
        }
        let lifetime = Lifetime::of(&read);
        Ok(Self { certificate, lifetime })
    }

    fn anchor(&self) -> Result<TrustAnchor<'_>, webpki::Error> {
        anchor_from_trusted_cert(&self.certificate)
    }
}

impl Lifetime {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let moment = |seconds: i64| Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        let from = moment(validity.not_before.timestamp());
        let until = moment(validity.not_after.timestamp());
        Self { from, until }
    }

    fn is_never(self) -> bool {
        self.until < self.from
    }

    fn within(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }
}

fn of_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, BundleError> {
    let read = |block: Result<Pem, _>| match block {
        Ok(pem) if pem.label == "CERTIFICATE" => Ok(pem.contents),
        Ok(_) | Err(_) => Err(BundleError::Form),
    };
    Pem::iter_from_buffer(text).take(MAX_AUTHORITIES + 1).map(read).collect()
}

/// SPIFFE Trust Domain and Bundle §4: a JWK Set in which the authorities for X.509-SVIDs are those keys
/// whose `use` says so, each with exactly one certificate. Others are for other kinds of identity.
fn of_spiffe(text: &[u8]) -> Result<Vec<Vec<u8>>, BundleError> {
    let document = json::parse_object(text, 16).map_err(|_error| BundleError::Form)?;
    let keys = document.get("keys").and_then(Value::as_array).ok_or(BundleError::Form)?;
    let own =
        keys.iter().filter(|key| key.get("use").is_some_and(|purpose| purpose == "x509-svid"));
    let read = |(n, key): (usize, &Value)| match key.get("x5c").and_then(Value::as_array) {
        Some(list) => match list.as_slice() {
            [one] => decoded(one).map_err(|why| BundleError::NoAuthority(n, why)),
            _ => Err(BundleError::NoAuthority(n, "`x5c` is not one certificate")),
        },
        None => Err(BundleError::NoAuthority(n, "`x5c` is not one certificate")),
    };
    own.take(MAX_AUTHORITIES + 1).enumerate().map(read).collect()
}

/// RFC 7517 §4.7: base64, not base64url; the key's own certificate first.
fn chain(x5c: &Value) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let list = x5c.as_array().ok_or("`x5c` is not an array")?;
    if list.len() > MAX_CHAIN {
        return Err("`x5c` has too many certificates");
    }
    list.iter().map(|one| decoded(one).map(CertificateDer::from)).collect()
}

fn decoded(value: &Value) -> Result<Vec<u8>, &'static str> {
    let text = value.as_str().ok_or("a certificate is not a string")?;
    if text.len() > MAX_CERTIFICATE.div_ceil(3) * 4 {
        return Err("a certificate is too long");
    }
    STANDARD.decode(text).map_err(|_error| "a certificate is not base64")
}

fn parsed<'c>(der: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, &'static str> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err("a certificate cannot be read"),
    }
}

/// What the agent's own certificate must be (X.509-SVID §2 to §4 and §5.2), and whose it is.
fn leaf(
    der: &CertificateDer<'_>,
    domain: &str,
    public: &[u8],
) -> Result<(Box<str>, Lifetime), &'static str> {
    let certificate = parsed(der)?;
    if certificate.is_ca() {
        return Err("the certificate is that of an authority, and not of an agent");
    }
    let usage = certificate.key_usage().map_err(|_twice| "the key usage is told twice")?;
    let usage = usage.ok_or("the certificate does not say what its key is for")?;
    if !usage.critical {
        return Err("the key usage is not critical");
    }
    if !usage.value.digital_signature() || usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err("the certificate is not for signatures, or for those of an authority");
    }
    let id = spiffe_id(&certificate)?;
    match spiffe_domain(id) {
        None => return Err("the URI in the certificate is not the SPIFFE id of an agent"),
        Some(named) if named != domain => {
            return Err("the certificate is of another trust domain");
        }
        Some(_) => {}
    }
    if !has_key(&certificate, public) {
        return Err("the certificate is of another key");
    }
    Ok((id.into(), Lifetime::of(&certificate)))
}

/// The one URI of the certificate: with two, whoever looks only at the first sees somebody else.
fn spiffe_id<'c>(certificate: &'c X509Certificate<'_>) -> Result<&'c str, &'static str> {
    let names =
        certificate.subject_alternative_name().map_err(|_twice| "the names are told twice")?;
    let names = names.ok_or("the certificate names no agent")?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("the certificate names no agent"),
        (Some(_), Some(_)) => Err("the certificate has more than one URI"),
    }
}

/// The trust domain of an id of the form `spiffe://domain/path` (SPIFFE-ID §2), whose path is not empty.
fn spiffe_domain(id: &str) -> Option<&str> {
    let (domain, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_segment =
        |text: &str| !text.is_empty() && text != "." && text != ".." && text.bytes().all(is_name);
    let is_id = id.len() <= MAX_ID && is_trust_domain(domain) && path.split('/').all(is_segment);
    is_id.then_some(domain)
}

/// Whether `text` is the name of a trust domain (SPIFFE-ID §2.1): lower case, and without a port.
pub fn is_trust_domain(text: &str) -> bool {
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_name)
}

/// RFC 7517 §4.7: the key in the certificate is the key that it stands beside. `public` is the point, the
/// Ed25519 key, or modulus and exponent.
fn has_key(certificate: &X509Certificate<'_>, public: &[u8]) -> bool {
    let info = certificate.public_key();
    let kind = &info.algorithm.algorithm;
    let bits: &[u8] = &info.subject_public_key.data;
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        let size = match curve {
            Some(curve) if curve == OID_EC_P256 => 65,
            Some(curve) if curve == OID_NIST_EC_P384 => 97,
            _ => return false,
        };
        return public.len() == size && bits == public;
    }
    if *kind == OID_SIG_ED25519 {
        return public.len() == 32 && bits == public;
    }
    if *kind != OID_PKCS1_RSAENCRYPTION {
        return false;
    }
    let Ok(PublicKey::RSA(key)) = info.parsed() else { return false };
    [unsigned(key.modulus), unsigned(key.exponent)].concat() == public
}

/// An integer of ASN.1 without the octet that says that it is positive.
fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

#[cfg(test)]
mod tests;
