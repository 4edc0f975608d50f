//! One valid chain, and every way to break it.

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::json;

use super::*;

const AGENT: &str = "spiffe://td.test/shop/buyer";

/// Somebody who signs certificates.
struct Signer {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
    pem: String,
}

impl Signer {
    fn root(name: &str) -> Self {
        Self::root_of(authority(name), KeyPair::generate().unwrap())
    }

    fn root_of(params: CertificateParams, key: KeyPair) -> Self {
        let made = params.self_signed(&key).unwrap();
        Self { der: made.der().to_vec(), pem: made.pem(), params, key }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &self.issuer()).unwrap().der().to_vec()
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = self.sign(&params, &key);
        Self { params, key, der, pem: String::new() }
    }

    fn bundle(&self) -> Bundle {
        Bundle::read(self.pem.as_bytes(), "td.test").unwrap()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn agent(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "agent");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names =
        uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params
}

fn x5c(chain: &[&[u8]]) -> Value {
    chain.iter().map(|der| STANDARD.encode(der)).collect()
}

fn at(year: i32) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(date_time_ymd(year, 1, 1).unix_timestamp()).unwrap_or(0))
}

#[test]
fn r_del_012_a_chain_to_an_authority_of_the_domain_names_the_agent() {
    let (root, key) = (Signer::root("root"), KeyPair::generate().unwrap());
    let middle = root.below(authority("middle"));
    let mut own = agent(&[AGENT]);
    own.not_before = date_time_ymd(2026, 1, 1);
    own.not_after = date_time_ymd(2028, 1, 1);
    own.subject_alt_names.push(SanType::DnsName("buyer.td.test".try_into().unwrap()));
    own.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let direct = root.sign(&own, &key);
    let below = middle.sign(&own, &key);
    for chain in [x5c(&[&direct]), x5c(&[&direct, &root.der]), x5c(&[&below, &middle.der])] {
        let svid = root.bundle().verify(&chain, key.public_key_raw()).unwrap();
        assert_eq!(&*svid.id, AGENT);
        let valid: Vec<bool> =
            [2025, 2026, 2027, 2028, 2029].map(|year| svid.is_valid(at(year))).to_vec();
        assert_eq!(valid, [false, true, true, true, false], "both ends are included");
        assert!(!svid.is_valid(at(2028).after(Duration::from_secs(1))));
    }
}

#[test]
fn r_del_012_every_kind_of_key_is_held_against_the_certificate() {
    let root = Signer::root("root");
    for kind in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let key = KeyPair::generate_for(kind).unwrap();
        let chain = x5c(&[&root.sign(&agent(&[AGENT]), &key)]);
        let public = key.public_key_raw();
        assert!(root.bundle().verify(&chain, public).is_ok(), "{kind:?}");
        for at in [0, public.len() / 2, public.len() - 1] {
            let mut other = public.to_vec();
            other[at] ^= 1;
            let refused = root.bundle().verify(&chain, &other);
            assert_eq!(refused, Err("the certificate is of another key"), "{kind:?}");
        }
    }
}

#[test]
fn r_del_012_what_is_not_an_agents_certificate_is_refused_and_says_why() {
    let root = Signer::root("root");
    let key = KeyPair::generate().unwrap();
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = agent(&[AGENT]);
        change(&mut params);
        x5c(&[&root.sign(&params, &key)])
    };
    let named = |uris: &[&str]| x5c(&[&root.sign(&agent(uris), &key)]);
    let other_domain = "the certificate is of another trust domain";
    let no_id = "the URI in the certificate is not the SPIFFE id of an agent";
    let usage = "the certificate is not for signatures, or for those of an authority";
    let broken = "the chain of the certificate does not verify";
    let is_authority = "the certificate is that of an authority, and not of an agent";
    for (chain, why) in [
        (named(&["spiffe://other.test/shop/buyer"]), other_domain),
        (named(&["spiffe://td.test.evil/buyer"]), other_domain),
        (named(&[AGENT, "spiffe://td.test/other"]), "the certificate has more than one URI"),
        (named(&[AGENT, "https://td.test/"]), "the certificate has more than one URI"),
        (named(&[]), "the certificate names no agent"),
        (named(&["spiffe://td.test"]), no_id),
        (named(&["spiffe://td.test/"]), no_id),
        (named(&["spiffe://td.test/a/../b"]), no_id),
        (named(&["spiffe://td.test/a//b"]), no_id),
        (named(&["spiffe://td.test/a%2fb"]), no_id),
        (named(&["spiffe://TD.test/a"]), no_id),
        (named(&["spiffe://td.test:1/a"]), no_id),
        (named(&["wit://td.test/a"]), no_id),
        (with(&|own| own.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), is_authority),
        (with(&|own| own.key_usages = vec![KeyUsagePurpose::KeyAgreement]), usage),
        (with(&|own| own.key_usages.push(KeyUsagePurpose::KeyCertSign)), usage),
        (with(&|own| own.key_usages.push(KeyUsagePurpose::CrlSign)), usage),
        (with(&|own| own.key_usages = vec![]), "the certificate does not say what its key is for"),
        (with(&|own| own.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]), broken),
        (
            with(&|own| {
                own.not_before = date_time_ymd(2027, 1, 1);
                own.not_after = date_time_ymd(2026, 1, 1);
            }),
            "the certificates are never valid at the same time",
        ),
    ] {
        assert_eq!(root.bundle().verify(&chain, key.public_key_raw()), Err(why), "{chain}");
    }
}

#[test]
fn r_del_012_a_chain_that_does_not_reach_the_domain_is_refused_and_says_why() {
    let (root, other) = (Signer::root("root"), Signer::root("root"));
    let key = KeyPair::generate().unwrap();
    let middle = root.below(authority("middle"));
    let own = agent(&[AGENT]);
    let self_signed = own.self_signed(&key).unwrap().der().to_vec();
    let leaf = middle.sign(&own, &key);
    // An agent must not make agents: its key signs, and it is no authority.
    let mut no_authority = agent(&["spiffe://td.test/other"]);
    no_authority.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let agent_above = root.below(no_authority);
    let made_by_agent = agent_above.sign(&own, &key);
    let mut narrow = authority("narrow");
    narrow.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let narrow = root.below(narrow);
    let too_deep = narrow.below(authority("deep"));
    let deep_leaf = too_deep.sign(&own, &key);
    let mut late = authority("late");
    late.not_before = date_time_ymd(2030, 1, 1);
    let late = root.below(late);
    let mut early = agent(&[AGENT]);
    early.not_after = date_time_ymd(2029, 1, 1);
    let early = late.sign(&early, &key);
    let mut changed = root.sign(&own, &key);
    *changed.last_mut().unwrap() ^= 1;
    let unsigned = "no authority of the trust domain has signed it";
    let broken = "the chain of the certificate does not verify";
    let never = "the certificates are never valid at the same time";
    for (chain, why) in [
        (x5c(&[&self_signed]), unsigned),
        (x5c(&[&self_signed, &root.der]), unsigned),
        (x5c(&[&leaf]), unsigned),
        (x5c(&[&other.sign(&own, &key)]), broken),
        (x5c(&[&other.sign(&own, &key), &other.der]), broken),
        (x5c(&[&made_by_agent, &agent_above.der]), broken),
        (x5c(&[&deep_leaf, &too_deep.der, &narrow.der]), broken),
        (x5c(&[&early, &late.der]), never),
        (x5c(&[&changed]), broken),
    ] {
        assert_eq!(root.bundle().verify(&chain, key.public_key_raw()), Err(why), "{chain}");
    }
}

#[test]
fn r_del_012_size_and_depth_are_bounded_before_anything_is_decoded() {
    let (root, key) = (Signer::root("root"), KeyPair::generate().unwrap());
    let bundle = root.bundle();
    let leaf = STANDARD.encode(root.sign(&agent(&[AGENT]), &key));
    let longest = MAX_CERTIFICATE.div_ceil(3) * 4;
    for (chain, why) in [
        (json!(vec!["!"; 50]), "`x5c` has too many certificates"),
        (json!(vec![leaf.as_str(); 50]), "`x5c` has too many certificates"),
        (json!([]), "`x5c` has no certificate"),
        (json!(leaf), "`x5c` is not an array"),
        (json!({"0": leaf}), "`x5c` is not an array"),
        (json!([7]), "a certificate is not a string"),
        (json!(["A".repeat(longest + 4)]), "a certificate is too long"),
        (json!([leaf.replace('=', "") + "-"]), "a certificate is not base64"),
        (json!(["AAAA"]), "a certificate cannot be read"),
        (json!([leaf, "AAAA"]), "a certificate cannot be read"),
        (
            json!([STANDARD.encode([&STANDARD.decode(&leaf).unwrap()[..], b"x"].concat())]),
            "a certificate cannot be read",
        ),
    ] {
        assert_eq!(bundle.verify(&chain, key.public_key_raw()), Err(why));
    }
}

#[test]
fn a_name_constraint_on_uris_that_cannot_be_judged_refuses() {
    let (root, key) = (Signer::root("root"), KeyPair::generate().unwrap());
    let mut params = authority("constrained");
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("td.test".into())],
        excluded_subtrees: Vec::new(),
    });
    let middle = root.below(params);
    let mut own = agent(&[AGENT]);
    own.subject_alt_names.push(SanType::DnsName("shop.evil.test".try_into().unwrap()));
    let chain = x5c(&[&middle.sign(&own, &key), &middle.der]);
    let refused = root.bundle().verify(&chain, key.public_key_raw());
    assert_eq!(refused, Err("the chain of the certificate does not verify"));
}

#[test]
fn a_renewed_authority_answers_for_as_long_as_its_newest_certificate() {
    let (own, pair) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut old = authority("root");
    old.not_after = date_time_ymd(2027, 1, 1);
    let mut renewed = authority("root");
    renewed.not_before = date_time_ymd(2026, 1, 1);
    renewed.not_after = date_time_ymd(2029, 1, 1);
    let twin = KeyPair::from_pem(&pair.serialize_pem()).unwrap();
    let (old, renewed) = (Signer::root_of(old, pair), Signer::root_of(renewed, twin));
    let chain = x5c(&[&old.sign(&agent(&[AGENT]), &own)]);
    let validity = |pem: &str| {
        let bundle = Bundle::read(pem.as_bytes(), "td.test").unwrap();
        let svid = bundle.verify(&chain, own.public_key_raw()).unwrap();
        [2025, 2026, 2028, 2030].map(|year| svid.is_valid(at(year)))
    };
    assert_eq!(validity(&old.pem), [true, true, false, false]);
    let both = format!("{}{}", old.pem, renewed.pem);
    assert_eq!(validity(&both), [false, true, true, false]);
}

#[test]
fn a_bundle_is_pem_or_that_of_spiffe_and_holds_authorities_alone() {
    let root = Signer::root("root");
    let der = STANDARD.encode(&root.der);
    let spiffe = |keys: Value| json!({"keys": keys, "spiffe_sequence": 1}).to_string();
    let of = |purpose: &str, x5c: Value| json!({"kty": "EC", "use": purpose, "x5c": x5c});
    for good in [
        root.pem.clone(),
        format!("# comment\n{}{}", root.pem, Signer::root("other").pem),
        spiffe(json!([of("x509-svid", json!([der])), of("jwt-svid", json!(null))])),
    ] {
        Bundle::read(good.as_bytes(), "td.test").unwrap();
    }
    let key = KeyPair::generate().unwrap();
    let own = agent(&[AGENT]).self_signed(&key).unwrap();
    let mut unfit = authority("unfit");
    unfit.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let unfit = Signer::root_of(unfit, KeyPair::generate().unwrap());
    let not_one = BundleError::NoAuthority(0, "`x5c` is not one certificate");
    let no_authority = |n| BundleError::NoAuthority(n, "it is not allowed to sign others");
    for (bad, error) in [
        (String::new(), BundleError::None),
        ("{}".to_owned(), BundleError::Form),
        ("{\"keys\":[],\"keys\":[]}".to_owned(), BundleError::Form),
        (spiffe(json!([])), BundleError::None),
        (spiffe(json!([of("jwt-svid", json!([der]))])), BundleError::None),
        (spiffe(json!([{"kty": "EC", "x5c": [der]}])), BundleError::None),
        (spiffe(json!([of("x509-svid", json!([der, der]))])), not_one),
        (spiffe(json!([of("x509-svid", json!(null))])), not_one),
        (format!("{}{}", root.pem, own.pem()), no_authority(1)),
        (unfit.pem, no_authority(0)),
        (format!("{}{}", root.pem, key.serialize_pem()), BundleError::Form),
        (root.pem.repeat(MAX_AUTHORITIES + 1), BundleError::TooMany),
    ] {
        assert_eq!(Bundle::read(bad.as_bytes(), "td.test").err(), Some(error), "{bad}");
    }
}

proptest! {
    #[test]
    fn r_ver_031_no_octets_make_the_reader_panic(
        text in "\\PC{0,80}",
        at in 0_usize..1_000,
        octet in any::<u8>(),
    ) {
        drop(Bundle::read(text.as_bytes(), "td.test"));
        let (root, key) = (Signer::root("root"), KeyPair::generate().unwrap());
        let mut der = root.sign(&agent(&[AGENT]), &key);
        let at = at % der.len();
        let is_changed = der[at] != octet;
        der[at] = octet;
        let found = root.bundle().verify(&x5c(&[&der]), key.public_key_raw());
        prop_assert_eq!(found.is_err(), is_changed, "octet {}", at);
    }
}
