//! `opgate keys`: the key pairs that sign tokens (RFC 7517, RFC 7518 §6, RFC 8037, RFC 7638).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{Outcome, Usage, output};
use crate::model::json::parse_object;
use crate::token::keys::{KeySet, MAX_KEYS};
use crate::token::trust::Algorithm;

/// The permissions of a private key: its owner's alone.
const PRIVATE: u32 = 0o600;
/// The permissions of a public key set.
const PUBLIC: u32 = 0o644;

/// `opgate keys generate`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  A key for an issuer, and the key set that the gate is given as `jwks_file`:
    opgate keys generate --algorithm ES256 --private issuer.pem --public jwks.json

  The next key, beside the one in use:
    opgate keys generate --algorithm EdDSA --private next.pem --public jwks.json --append")]
pub struct GenerateArgs {
    /// Signature algorithm: ES256, ES384, `EdDSA`, PS256 or RS256
    #[arg(long, value_parser = algorithm, default_value = "ES256")]
    pub algorithm: Algorithm,
    /// Where the private key goes: PKCS#8 in PEM, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub private: PathBuf,
    /// Where the public key goes, as a JWK Set; standard output where it is left out
    #[arg(long, value_name = "FILE")]
    pub public: Option<PathBuf>,
    /// The key's name in the set and in tokens [default: its RFC 7638 thumbprint]
    #[arg(long, value_name = "KID", value_parser = key_id)]
    pub kid: Option<String>,
    /// Add the public key to the set that is already in the file
    #[arg(long, requires = "public", conflicts_with = "force")]
    pub append: bool,
    /// Overwrite files that exist
    #[arg(long)]
    pub force: bool,
}

/// Makes a key pair and writes both halves; nothing is written if either cannot be.
pub fn generate(args: &GenerateArgs) -> Result<Outcome> {
    if !args.force && exists(&args.private) {
        return Err(taken(&args.private, "a private key is not overwritten without `--force`"));
    }
    let others = match &args.public {
        Some(path) if args.append && exists(path) => key_set(path)?,
        Some(path) if !args.force && exists(path) => {
            return Err(taken(path, "`--append` adds the key to it, `--force` overwrites it"));
        }
        _ => Vec::new(),
    };
    let key = SigningKey::generate(args.algorithm)?;
    let name = args.kid.clone().unwrap_or_else(|| key.thumbprint());
    let set = key.jwk_set(&name, others)?;
    write(&args.private, key.pem()?.as_bytes(), PRIVATE, args.force)?;
    let Some(public) = &args.public else {
        output::print(&set)?;
        return Ok(Outcome::Done);
    };
    write(public, set.as_bytes(), PUBLIC, args.force || args.append)?;
    output::print(&format!(
        "private key  {}\npublic keys  {}\nkid          {}\nalgorithm    {}\n",
        args.private.display(),
        public.display(),
        output::escaped(&name),
        args.algorithm.name(),
    ))?;
    Ok(Outcome::Done)
}

/// Reads the name of an algorithm from the command line.
pub fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::named(text).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::name).join(", ");
        format!("not one of {names}")
    })
}

/// Reads the name of a key from the command line; a longer one is refused in tokens.
pub fn key_id(text: &str) -> Result<String, String> {
    if (1..=256).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("a key's name has 1 to 256 bytes".to_owned())
    }
}

/// A private key that signs with one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm.name())
    }
}

impl SigningKey {
    /// Makes a key. RSA keys have 2048 bits, which is what every verifier takes.
    pub fn generate(algorithm: Algorithm) -> Result<Self> {
        let pair = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => {
                EcdsaKeyPair::generate(curve(algorithm)).map(Pair::Ecdsa)
            }
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Algorithm::Ps256 | Algorithm::Rs256 => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa)
            }
        };
        let pair = pair.map_err(|_opaque| anyhow!("the key could not be generated"))?;
        Ok(Self { algorithm, pair })
    }

    /// Reads the first private key of a PEM text: PKCS#8, or the older forms of EC and RSA keys.
    /// Without an algorithm, the one that the key is for.
    pub fn from_pem(pem: &[u8], algorithm: Option<Algorithm>) -> Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_opaque| Usage::error("not a private key in PEM"))?;
        let der = der.secret_der();
        let candidates = algorithm.map_or(Algorithm::ALL.to_vec(), |algorithm| vec![algorithm]);
        candidates
            .into_iter()
            .find_map(|algorithm| Some(Self { algorithm, pair: pair(algorithm, der)? }))
            .ok_or_else(|| match algorithm {
                Some(algorithm) => Usage::error(format!("not a key for {}", algorithm.name())),
                None => Usage::error("not an EC P-256, EC P-384, Ed25519 or RSA key"),
            })
    }

    /// Reads a private key from a file.
    pub fn read(path: &Path, algorithm: Option<Algorithm>) -> Result<Self> {
        let pem = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::from_pem(&pem, algorithm).with_context(|| format!("`{}`", path.display()))
    }

    /// The private key as PKCS#8 in PEM (RFC 7468 §10).
    pub fn pem(&self) -> Result<String> {
        let der = match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Rsa(pair) => pair.as_der().map(|der| der.as_ref().to_vec()),
        };
        let der = der.map_err(|_opaque| anyhow!("the key could not be written as PKCS#8"))?;
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for (at, letter) in STANDARD.encode(der).chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(letter);
        }
        pem.push_str("\n-----END PRIVATE KEY-----\n");
        Ok(pem)
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs `message`, in the form of JOSE (RFC 7518 §3).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_opaque| anyhow!("the key could not sign");
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signed).map_err(failed)?;
                Ok(signed)
            }
        }
    }

    /// The public key as a JWK named `key_id`.
    pub fn jwk(&self, key_id: &str) -> Value {
        let mut jwk = self.required_members();
        for (name, value) in [("kid", key_id), ("alg", self.algorithm.name()), ("use", "sig")] {
            if let Some(members) = jwk.as_object_mut() {
                members.insert(name.to_owned(), value.into());
            }
        }
        jwk
    }

    /// The JWK Set of `others` and this key, as text. A set that would not be read is an error.
    pub fn jwk_set(&self, key_id: &str, mut others: Vec<Value>) -> Result<String> {
        if others.iter().any(|other| other.get("kid").is_some_and(|kid| kid == key_id)) {
            let message = format!("the set already has a key named `{}`", output::escaped(key_id));
            return Err(Usage::error(message));
        }
        if others.len() >= MAX_KEYS {
            return Err(Usage::error(format!("the set already has {MAX_KEYS} keys")));
        }
        others.push(self.jwk(key_id));
        Ok(serde_json::to_string_pretty(&json!({ "keys": others }))? + "\n")
    }

    /// The SHA-256 thumbprint (RFC 7638): the digest of the required members in order of name,
    /// without white space. None of their values needs an escape.
    pub fn thumbprint(&self) -> String {
        let members = self.required_members();
        let sorted: std::collections::BTreeMap<_, _> =
            members.as_object().into_iter().flatten().collect();
        let text = sorted
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect::<Vec<_>>()
            .join(",");
        encode(digest(&SHA256, format!("{{{text}}}").as_bytes()).as_ref())
    }

    fn required_members(&self) -> Value {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                // An uncompressed point: the byte 4, then both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == Algorithm::Es384 { "P-384" } else { "P-256" };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = encode(public.modulus().big_endian_without_leading_zero());
                let e = encode(public.exponent().big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": n, "e": e })
            }
        }
    }
}

fn pair(algorithm: Algorithm, der: &[u8]) -> Option<Pair> {
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 => {
            EcdsaKeyPair::from_private_key_der(curve(algorithm), der).map(Pair::Ecdsa).ok()
        }
        Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519).ok(),
        Algorithm::Ps256 | Algorithm::Rs256 => RsaKeyPair::from_pkcs8(der)
            .or_else(|_not_pkcs8| RsaKeyPair::from_der(der))
            .map(Pair::Rsa)
            .ok(),
    }
}

const fn curve(algorithm: Algorithm) -> &'static EcdsaSigningAlgorithm {
    match algorithm {
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The members of a JWK Set on disk, private or unknown ones included: nothing of it is lost.
fn key_set(path: &Path) -> Result<Vec<Value>> {
    let wrong = |why: String| Usage::error(format!("`{}`: {why}", path.display()));
    let text = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    KeySet::from_jwks(&text).map_err(|error| wrong(error.to_string()))?;
    let mut set = parse_object(&text, 16).map_err(|error| wrong(error.to_string()))?;
    match set.remove("keys") {
        Some(Value::Array(keys)) => Ok(keys),
        _ => Err(wrong("no array `keys`".to_owned())),
    }
}

/// Whether something is there, a dangling link included.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn taken(path: &Path, hint: &str) -> anyhow::Error {
    Usage::error(format!("`{}` exists: {hint}", path.display()))
}

/// Writes a whole file or none: who reads `path` meanwhile sees the old text or the new one.
fn write(path: &Path, text: &[u8], mode: u32, replace: bool) -> Result<()> {
    let target = if replace { beside(path) } else { path.to_owned() };
    let written = create(&target, mode).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()?;
        if replace { fs::rename(&target, path) } else { Ok(()) }
    });
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(taken(&target, "it is not overwritten"))
        }
        other => other.with_context(|| format!("cannot write `{}`", path.display())),
    }
}

fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::token::keys::Selected;

    fn args(folder: &Path) -> GenerateArgs {
        GenerateArgs {
            algorithm: Algorithm::Es256,
            private: folder.join("key.pem"),
            public: Some(folder.join("jwks.json")),
            kid: None,
            append: false,
            force: false,
        }
    }

    #[test]
    fn every_algorithm_survives_pem_and_jwk() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::from_pem(key.pem().unwrap().as_bytes(), Some(algorithm));
            assert_eq!(again.unwrap().thumbprint(), key.thumbprint());
            let set = key.jwk_set("k", Vec::new()).unwrap();
            let (keys, left_out) = KeySet::from_jwks(set.as_bytes()).unwrap();
            assert_eq!(left_out, []);
            assert!(matches!(keys.select(Some("k"), algorithm), Selected::Key(_)));
        }
    }

    #[test]
    fn a_key_without_an_algorithm_is_for_what_it_fits() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
            let pem = SigningKey::generate(algorithm).unwrap().pem().unwrap();
            let key = SigningKey::from_pem(pem.as_bytes(), None).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert!(SigningKey::from_pem(pem.as_bytes(), Some(Algorithm::Rs256)).is_err());
        }
        assert!(SigningKey::from_pem(b"not a key", None).unwrap_err().is::<Usage>());
    }

    #[test]
    fn the_private_key_is_its_owners_alone_and_is_not_overwritten_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args(folder.path());
        generate(&args).unwrap();
        let mode = fs::metadata(&args.private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        let first = fs::read(&args.private).unwrap();
        assert!(generate(&args).unwrap_err().is::<Usage>());
        assert_eq!(fs::read(&args.private).unwrap(), first);
        args.force = true;
        generate(&args).unwrap();
        assert_ne!(fs::read(&args.private).unwrap(), first);
        assert_eq!(fs::metadata(&args.private).unwrap().permissions().mode() & 0o777, PRIVATE);
    }

    #[test]
    fn a_key_is_appended_to_a_set_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut args = args(folder.path());
        args.kid = Some("first".into());
        generate(&args).unwrap();
        args.append = true;
        args.private = folder.path().join("second.pem");
        assert!(generate(&args).is_err(), "one name for two keys");
        assert!(!args.private.exists(), "nothing is written when the set cannot be");
        args.kid = Some("second".into());
        generate(&args).unwrap();
        let set = fs::read(folder.path().join("jwks.json")).unwrap();
        assert_eq!(KeySet::from_jwks(&set).unwrap().0.len(), 2);
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037 appendix A.1 and A.3.
        let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
        let seed = URL_SAFE_NO_PAD.decode(seed).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let key = SigningKey { algorithm: Algorithm::EdDsa, pair: Pair::Ed25519(pair) };
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
