//! TLS on the caller's side: certificates reloaded when their files change, client certificates as
//! configured (RFC 8705), HTTP/2 or HTTP/1.1 by ALPN.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Peer;
use crate::config::{self, ClientCertificate};
use crate::token::certificate;

/// The caller's side of TLS, as the files say at this moment.
pub struct Tls {
    config: config::Tls,
    current: ArcSwap<ServerConfig>,
    /// Digest of the files in use. Guards against two reloads at once.
    loaded: Mutex<Vec<u8>>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should, in PEM.
    #[error("`{}` holds no {what} in PEM", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not fit, or cannot be used.
    #[error("the certificate and its key cannot be used")]
    Rustls(#[from] rustls::Error),
    /// The roots for client certificates cannot be used.
    #[error("the roots for client certificates cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.config.certificate.display())
    }
}

impl Tls {
    /// Reads the files.
    pub fn load(config: config::Tls) -> Result<Self, TlsError> {
        let loaded = fingerprint(&config)?;
        let current = ArcSwap::from(server_config(&config)?);
        Ok(Self { config, current, loaded: Mutex::new(loaded) })
    }

    /// Reads the files anew if they have changed; whether they had. What is broken changes nothing.
    /// Sessions cannot be resumed across a change, so that no old client certificate lives on.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fingerprint(&self.config)?;
        if *loaded == found {
            return Ok(false);
        }
        self.current.store(server_config(&self.config)?);
        *loaded = found;
        Ok(true)
    }

    /// The handshake, and what it says of the caller.
    pub async fn accept<IO>(&self, io: IO, mut peer: Peer) -> io::Result<(TlsStream<IO>, Peer)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.current.load_full()).accept(io).await?;
        let (_, session) = stream.get_ref();
        peer.secure = true;
        peer.http2 = session.alpn_protocol() == Some(b"h2");
        peer.server_name = session.server_name().map(Into::into);
        peer.certificate = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| Arc::new(certificate::read(leaf, client_ca(&self.config).is_some())));
        Ok((stream, peer))
    }
}

fn fingerprint(config: &config::Tls) -> Result<Vec<u8>, TlsError> {
    let mut fingerprint = Vec::new();
    for path in
        [Some(&*config.certificate), Some(&*config.key), client_ca(config)].into_iter().flatten()
    {
        fingerprint.extend_from_slice(digest(&SHA256, &read(path)?).as_ref());
    }
    Ok(fingerprint)
}

fn client_ca(config: &config::Tls) -> Option<&Path> {
    match &config.client {
        ClientCertificate::None | ClientCertificate::Request => None,
        ClientCertificate::Verify(ca) | ClientCertificate::Require(ca) => Some(ca),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { path: path.into(), source })
}

fn server_config(config: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &config.client {
        ClientCertificate::None => builder.with_no_client_auth(),
        ClientCertificate::Request => {
            builder.with_client_cert_verifier(Arc::new(AnyClient(provider)))
        }
        ClientCertificate::Verify(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
        ClientCertificate::Require(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mut server = builder.with_single_cert(chain(&config.certificate)?, key(&config.key)?)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Pem { path: path.into(), what: "certificate" };
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(missing)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_error| TlsError::Pem { path: path.into(), what: "private key" })
}

fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

/// Takes any client certificate whose key the handshake proves (RFC 8705 §2.2): who its holder is, is
/// for the token to say.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
