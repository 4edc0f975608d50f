//! A SPIFFE trust domain: an authority that certifies agents' keys by their ids.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SignatureAlgorithm, date_time_ymd,
};
use serde_json::{Value, json};

use super::Key;
use super::issuer::b64_standard;

/// An authority of a trust domain.
pub(crate) struct Domain(CertifiedIssuer<'static, KeyPair>);

impl Domain {
    /// A new one, which lives for `seconds` from the beginning of the year 1970.
    pub(crate) fn until(seconds: i64) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = params.not_before + seconds_of(seconds);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A new one, whose end nobody here will see.
    pub(crate) fn new() -> Self {
        Self::until(4_000_000_000)
    }

    /// Its certificate in PEM: the bundle of the domain.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The same as SPIFFE writes it.
    pub(crate) fn bundle(&self) -> Value {
        let der = b64_standard(self.0.der());
        json!({"spiffe_sequence": 1, "keys": [{"kty": "EC", "use": "x509-svid", "x5c": [der]}]})
    }

    /// The key as a directory holds it, with the certificate of the agent `id`.
    pub(crate) fn certify(&self, key: &Key, id: &str) -> Value {
        self.certify_with(key, id, |_| {})
    }

    /// The same with another certificate.
    pub(crate) fn certify_with(
        &self,
        key: &Key,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Value {
        let mut jwk = key.jwk();
        jwk["x5c"] = json!([b64_standard(&self.certificate(key, id, change))]);
        jwk
    }

    /// The certificate of an agent.
    pub(crate) fn certificate(
        &self,
        key: &Key,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "agent");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        change(&mut params);
        let public = Public(key.public());
        params.signed_by(&public, &self.0).unwrap().der().to_vec()
    }
}

/// When a certificate begins or ends that does so `seconds` after the beginning of the year 1970.
pub(crate) fn seconds_of(seconds: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// Lets a certificate be valid for this time only.
pub(crate) fn lasting(params: &mut CertificateParams, from: i64, until: i64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + seconds_of(from);
    params.not_after = epoch + seconds_of(until);
}

/// The public half of a key for ES256.
struct Public(Vec<u8>);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
