//! Outbound connections: TCP or a Unix socket, in TLS where asked for. The one place that builds a
//! TLS client, for upstreams and for fetching keys.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Place;

/// Why a TLS client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of certificates or keys cannot be read.
    #[error("`{}` cannot be read as PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// There is no root certificate to trust.
    #[error("there is no usable root certificate")]
    NoRoots,
    /// The certificates or the key do not work together.
    #[error("the certificates cannot be used")]
    Rustls(#[from] rustls::Error),
    /// The name of the server is neither a DNS name nor an address.
    #[error("the host cannot stand in a certificate")]
    Name(#[from] InvalidDnsNameError),
}

/// Why a connection was not made. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The operating system or the TLS handshake said no.
    #[error("the connection was refused or broken")]
    Io(#[from] io::Error),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// Its address is not one of the public network.
    #[error("the address is not public")]
    OutOfReach,
    /// The other side does not speak the protocol that is configured.
    #[error("the server does not speak HTTP/2")]
    Protocol,
    /// The HTTP handshake failed.
    #[error("the handshake failed")]
    Handshake(#[from] hyper::Error),
    /// It took longer than `connect_timeout`.
    #[error("the connection was not made in time")]
    Timeout,
}

/// A TLS client for one server name.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.name).finish()
    }
}

impl Tls {
    /// A client of `config` that expects the certificate of `host` (a DNS name or an address,
    /// brackets allowed).
    pub fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, TlsError> {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        Ok(Self { connector: TlsConnector::from(config), name: ServerName::try_from(bare)? })
    }
}

/// Trust and identity of a TLS client: the roots of `ca` or else those of the machine, the
/// certificate and key of `identity`, and HTTP/2 or HTTP/1.1 as the only protocol offered.
pub fn client_config(
    ca: Option<&Path>,
    identity: Option<&(PathBuf, PathBuf)>,
    http2: bool,
) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?);
    let mut config = match identity {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| TlsError::File { path: key.clone(), source })?;
            builder.with_client_auth_cert(certificates(certificate)?, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate)?;
            }
        }
        // Machines carry odd certificates; one that cannot be parsed is no reason to trust none.
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(store) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// Which addresses a connection may be made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any: the operator has written down where to go.
    Anywhere,
    /// Those of the public network only: where to go was somebody else's word, and must not lead to what
    /// this machine alone can reach.
    Public,
}

impl Reach {
    /// Whether `address` may be connected to.
    pub fn holds(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Anywhere, _) => true,
            (Self::Public, IpAddr::V4(address)) => is_public_v4(address),
            (Self::Public, IpAddr::V6(address)) => is_public_v6(address),
        }
    }
}

/// The IANA registry of special-purpose addresses (RFC 6890), less what is global in it.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by carriers, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

/// Global unicast (RFC 4291 §2.4), less documentation and what wraps another address: a wrapped address
/// leads to where the other one does.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global = (0x2000..0x4000).contains(&a);
    let is_wrapping = a == 0x2002 || (a == 0x2001 && b == 0);
    let is_documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    is_global && !is_wrapping && !is_documentation
}

/// Connects to `place`. Names are resolved at every call, so that a moved service is found again;
/// every address of a name is tried in the resolver's order.
pub async fn dial(place: &Place, tls: Option<&Tls>, http2: bool) -> Result<Stream, DialError> {
    dial_within(Reach::Anywhere, place, tls, http2).await
}

/// Connects to `place` where its address is within `reach`. The address that was looked at is the one that
/// is connected to: a name that resolves to another one the next time leads nowhere.
pub async fn dial_within(
    reach: Reach,
    place: &Place,
    tls: Option<&Tls>,
    http2: bool,
) -> Result<Stream, DialError> {
    match (place, tls) {
        (Place::Unix(path), _) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        (Place::Host(host, port), None) => Ok(Stream::Tcp(dial_tcp(host, *port, reach).await?)),
        (Place::Host(host, port), Some(tls)) => {
            let tcp = dial_tcp(host, *port, reach).await?;
            let stream = tls.connector.connect(tls.name.clone(), tcp).await?;
            if http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(DialError::Protocol);
            }
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

async fn dial_tcp(host: &str, port: u16, reach: Reach) -> Result<TcpStream, DialError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    connect_within(reach, tokio::net::lookup_host((bare, port)).await?).await
}

/// Connects to the first of what a resolver answered that is within reach. It is asked no second time: what
/// was looked at is what is connected to.
async fn connect_within(
    reach: Reach,
    addresses: impl Iterator<Item = SocketAddr>,
) -> Result<TcpStream, DialError> {
    let mut last = DialError::NoAddress;
    for address in addresses {
        if !reach.holds(address.ip()) {
            last = DialError::OutOfReach;
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// An outbound byte stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Self::Tcp(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
            Self::Tls(inner) => {
                let $inner = Pin::new(inner.as_mut());
                $call
            }
            Self::Unix(inner) => {
                let $inner = Pin::new(inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(inner) => inner.is_write_vectored(),
            Self::Tls(inner) => inner.is_write_vectored(),
            Self::Unix(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that is in the hands of an attacker answers with an address of the public network when it
    /// is asked first, and with one of this machine afterwards, or with both at once.
    #[tokio::test]
    async fn r_pol_020_a_name_that_is_bound_anew_leads_nowhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), own.port()));
        let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, own.port()));
        let private = [own, mapped, unspecified];
        for answer in [&private[..], &private[1..], &private[2..], &[]] {
            let mut asked = 0;
            let answers = answer.iter().copied().inspect(|_| asked += 1);
            let error = connect_within(Reach::Public, answers).await.unwrap_err();
            let expected = if answer.is_empty() { "no address" } else { "is not public" };
            assert!(error.to_string().contains(expected), "{answer:?}: {error}");
            assert_eq!(asked, answer.len(), "each address is looked at once");
        }
        let second = async { listener.accept().await.unwrap() };
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(50), second).await;
        assert!(nobody.is_err(), "nobody connected");
        connect_within(Reach::Anywhere, std::iter::once(own)).await.unwrap();
    }

    #[test]
    fn r_pol_020_addresses_that_are_not_public_are_out_of_reach() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert!(!Reach::Public.holds(parsed), "{address}");
            assert!(Reach::Anywhere.holds(parsed), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(Reach::Public.holds(address.parse().unwrap()), "{address}");
        }
    }
}
