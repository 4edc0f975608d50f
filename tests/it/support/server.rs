//! An upstream that speaks what hyper speaks: HTTP/2, and either version in TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// What it answers to every request.
pub(crate) const ANSWER: &[u8] = b"from the server";

/// The upstream. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    calls: Mutex<Vec<Call>>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) version: Version,
    pub(crate) target: String,
    pub(crate) authority: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    /// The leaf that the gate showed.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Server {
    /// Serves HTTP/2 where `http2` says so, else HTTP/1.1, in TLS where there is a configuration of it.
    /// Answers after `delay`.
    pub(crate) fn start(http2: bool, tls: Option<Arc<ServerConfig>>, delay: Duration) -> Self {
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let (bound, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let (seen, tls) = (Arc::clone(&shared), tls.clone());
                    tokio::spawn(greet(stream, http2, seen, delay, tls));
                }
            });
        });
        Self { address: address.recv().unwrap(), seen }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Every request that arrived whole.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.seen.calls.lock().unwrap().clone()
    }
}

async fn greet(
    stream: TcpStream,
    http2: bool,
    seen: Arc<Seen>,
    delay: Duration,
    tls: Option<Arc<ServerConfig>>,
) {
    let Some(config) = tls else { return converse(stream, http2, seen, delay, None).await };
    let accepted = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
    let Ok(stream) = accepted else { return };
    let shown = stream.get_ref().1.peer_certificates();
    let leaf = shown.and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    converse(stream, http2, seen, delay, leaf).await;
}

async fn converse<IO>(
    io: IO,
    http2: bool,
    seen: Arc<Seen>,
    delay: Duration,
    certificate: Option<Vec<u8>>,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (seen, certificate) = (Arc::clone(&seen), certificate.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?;
            seen.calls.lock().unwrap().push(Call {
                version: parts.version,
                target: parts.uri.path_and_query().unwrap().to_string(),
                authority: parts.uri.authority().map(ToString::to_string),
                headers: parts.headers,
                trailers: body.trailers().cloned().unwrap_or_default(),
                body: body.to_bytes(),
                certificate,
            });
            tokio::time::sleep(delay).await;
            Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(ANSWER))))
        }
    });
    let io = TokioIo::new(io);
    // How a connection ends shows in what arrived on it.
    if http2 {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await);
    } else {
        drop(http1::Builder::new().serve_connection(io, service).await);
    }
}
