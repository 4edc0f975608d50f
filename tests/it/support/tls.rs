//! Certificates of a test's own authority, and clients that trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType,
};
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::client::dial;
use super::svid::lasting;
use super::{Connection, Gate};

/// A certificate and its key.
pub(crate) type Pair = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certification authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes a new certificate for `names` and its key into `dir`.
    pub(crate) fn issue(&self, names: &[&str], dir: &Path, stem: &str) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        // The key first: whoever watches the certificate must find both.
        std::fs::write(dir.join(format!("{stem}.key")), key.serialize_pem()).unwrap();
        std::fs::write(dir.join(format!("{stem}.crt")), certificate.pem()).unwrap();
    }

    /// A certificate of a caller that this authority has signed.
    pub(crate) fn leaf(&self, uri: &str) -> Leaf {
        Leaf::made(uri, |params, key| params.signed_by(key, &self.0).unwrap())
    }

    /// The same, which ends so many seconds after the beginning of the year 1970.
    pub(crate) fn leaf_until(&self, uri: &str, seconds: i64) -> Leaf {
        Leaf::made(uri, |mut params, key| {
            lasting(&mut params, 0, seconds);
            params.signed_by(key, &self.0).unwrap()
        })
    }

    /// A TLS connection under `name` that shows `leaf`, or nothing when the handshake fails.
    pub(crate) fn connect_as(
        &self,
        address: SocketAddr,
        name: &str,
        leaf: Option<&Leaf>,
    ) -> Option<Connection> {
        let mut config = ClientConfig::clone(&self.client(&["http/1.1"]));
        if let Some(leaf) = leaf {
            config.client_auth_cert_resolver = leaf.resolver();
        }
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(session, dial(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        Some(Connection::over(stream))
    }

    /// A new certificate for `name`, and its key.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A server called `localhost` that offers `protocols`, and demands a certificate of `clients`.
    pub(crate) fn server(&self, protocols: &[&str], clients: Option<&Self>) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authority.roots().into(), provider())
                    .build()
                    .unwrap(),
            ),
        };
        let (certificate, key) = self.pair("localhost");
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A client that trusts this authority and offers `protocols`.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_as(None, protocols)
    }

    /// The same, which shows a certificate.
    pub(crate) fn client_as(&self, own: Option<Pair>, protocols: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A TLS connection to the gate under `name`; with the leaf that it showed.
    pub(crate) fn connect(&self, gate: &Gate, name: &str) -> (Connection, Vec<u8>) {
        self.try_connect(gate.address(), name).expect("the handshake succeeds")
    }

    /// As [`Self::connect`], or nothing when the handshake fails.
    pub(crate) fn try_connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Option<(Connection, Vec<u8>)> {
        self.try_connect_as(None, address, name)
    }

    /// As [`Self::try_connect`], with a certificate of the caller's own.
    pub(crate) fn try_connect_as(
        &self,
        own: Option<Pair>,
        address: SocketAddr,
        name: &str,
    ) -> Option<(Connection, Vec<u8>)> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(self.client_as(own, &["http/1.1"]), name).unwrap();
        let mut stream = StreamOwned::new(session, dial(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        let leaf = stream.conn.peer_certificates()?.first()?.to_vec();
        Some((Connection::over(stream), leaf))
    }
}

/// A certificate that a caller shows, with its key.
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
    key: KeyPair,
}

impl Leaf {
    /// One that only its holder has signed.
    pub(crate) fn self_signed(uri: &str) -> Self {
        Self::made(uri, |params, key| params.self_signed(key).unwrap())
    }

    fn made(uri: &str, sign: impl FnOnce(CertificateParams, &KeyPair) -> Certificate) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let key = KeyPair::generate().unwrap();
        let certificate = sign(params, &key);
        Self { der: certificate.der().to_vec(), pem: certificate.pem(), key }
    }

    fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let chain = vec![CertificateDer::from(self.der.clone())];
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
    }
}
