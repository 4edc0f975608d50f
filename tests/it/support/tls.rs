//! Certificates of a test's own authority, and clients that trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::dial;
use super::{Connection, Gate};

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

    /// A client that trusts this authority and offers `protocols`.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
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
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(self.client(&["http/1.1"]), name).unwrap();
        let mut stream = StreamOwned::new(session, dial(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        let leaf = stream.conn.peer_certificates()?.first()?.to_vec();
        Some((Connection::over(stream), leaf))
    }
}
