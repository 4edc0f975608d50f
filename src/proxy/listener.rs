//! Listeners: where connections come in, how many at a time, and how they end.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::timeout;

use super::connection::{self, Handler, Peer, Settings};
use super::places::{Places, Visit};
use super::tls::Tls;
use crate::config::Endpoint;
use crate::runtime::tasks::Drain;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4_096;
/// How long accepting rests when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(50);

/// A bound endpoint, not yet accepting.
#[derive(Debug)]
pub struct Bound(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}")]
pub struct BindError {
    endpoint: Endpoint,
    #[source]
    source: io::Error,
}

impl Bound {
    /// Binds `endpoint`. A socket file that nobody listens on any more is replaced.
    pub fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        let bound = match endpoint {
            Endpoint::Tcp(address) => bind_tcp(*address),
            Endpoint::Unix(path) => bind_unix(path),
        };
        bound.map_err(|source| BindError { endpoint: endpoint.clone(), source })
    }
}

/// The address as it is configured, with the port that was really taken.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp(_, address) => address.fmt(f),
            Kind::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv6 here, whatever the machine's default is.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok(Bound(Kind::Tcp(listener, address)))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(Bound(Kind::Unix(listener, path.to_owned())))
}

/// What all listeners share: the settings and the places for connections.
#[derive(Clone, Debug)]
pub struct Entrance {
    settings: Arc<Settings>,
    tls: Option<Arc<Tls>>,
    places: Places,
}

impl Entrance {
    /// An entrance with as many places as `settings` say.
    pub fn new(settings: Arc<Settings>, tls: Option<Arc<Tls>>) -> Self {
        let places = Places::new(&settings.limits);
        Self { settings, tls, places }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.places.taken()
    }

    /// Accepts on `bound` until the drain begins. A place is taken before a connection is accepted:
    /// what there is no place for waits in the kernel.
    pub async fn accept<H: Handler>(self, bound: Bound, handler: H, mut drain: Drain) {
        loop {
            let next = async {
                let place = self.places.take().await?;
                Some((place, next(&bound.0).await))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                () = drain.begun() => break,
            };
            match accepted {
                Some((place, Ok((stream, address)))) => {
                    let Some(visit) = self.places.enter(place, address) else { continue };
                    let entrance = self.clone();
                    tokio::spawn(entrance.serve(
                        stream,
                        address,
                        handler.clone(),
                        drain.clone(),
                        visit,
                    ));
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
                None => break,
            }
        }
        if let Kind::Unix(_, path) = &bound.0
            && let Err(error) = fs::remove_file(path)
        {
            tracing::debug!(%error, path = %path.display(), "the socket file stays");
        }
    }

    /// Waits until no connection is open, at most for `deadline`. How many were still open then.
    pub async fn drained(&self, deadline: Duration) -> usize {
        self.places.emptied(deadline).await
    }

    async fn serve<H: Handler>(
        self,
        stream: Stream,
        address: Option<SocketAddr>,
        handler: H,
        drain: Drain,
        visit: Visit,
    ) {
        let peer = Peer { address, ..Peer::default() };
        match stream {
            Stream::Tcp(stream) => self.serve_on(stream, peer, handler, drain, visit).await,
            Stream::Unix(stream) => self.serve_on(stream, peer, handler, drain, visit).await,
        }
    }

    async fn serve_on<IO, H>(self, io: IO, peer: Peer, handler: H, drain: Drain, visit: Visit)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        H: Handler,
    {
        let Some(tls) = &self.tls else {
            return connection::serve(io, peer, self.settings, handler, drain, visit).await;
        };
        // In boxes, so that a connection without TLS does not carry the size of one that has it.
        let handshake = Box::pin(tls.accept(io, peer));
        match timeout(self.settings.limits.handshake_timeout, handshake).await {
            Ok(Ok((stream, peer))) => {
                let serving = connection::serve(stream, peer, self.settings, handler, drain, visit);
                Box::pin(serving).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "the TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("the TLS handshake took too long"),
        }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn next(kind: &Kind) -> io::Result<(Stream, Option<SocketAddr>)> {
    match kind {
        Kind::Tcp(listener, _) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Stream::Tcp(stream), Some(address)))
        }
        Kind::Unix(listener, _) => {
            let (stream, _unnamed) = listener.accept().await?;
            Ok((Stream::Unix(stream), None))
        }
    }
}
