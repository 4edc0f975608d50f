//! The floor: what a plain hyper proxy costs that checks nothing and records nothing.
//!
//! `floor PORT UPSTREAM_PORT`: HTTP/1.1 and prior-knowledge HTTP/2 in, HTTP/1.1 out through
//! hyper-util's pooled client, bodies handed on as they come, one thread.

use std::io;
use std::net::Ipv4Addr;

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, TE, UPGRADE};
use hyper::http::uri::{Authority, Scheme};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

type Forwarder = Client<HttpConnector, Incoming>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let [port, upstream] = opgate_bench_tools::ports()?;
    let authority: Authority = format!("127.0.0.1:{upstream}").parse().map_err(io::Error::other)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Forwarder =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1024).build(connector);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        tokio::spawn(async move {
            let service =
                service_fn(move |request| pass(client.clone(), authority.clone(), request));
            // A connection that ends in an error concerns its caller alone; the figures count answers.
            drop(
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

/// Sends the request on, with nothing changed but what belongs to the connection.
async fn pass(
    client: Forwarder,
    authority: Authority,
    mut request: Request<Incoming>,
) -> io::Result<Response<Either<Incoming, Empty<Bytes>>>> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts).map_err(io::Error::other)?;
    *request.version_mut() = hyper::Version::HTTP_11;
    for name in [CONNECTION, HOST, TE, UPGRADE] {
        request.headers_mut().remove(name);
    }
    match client.request(request).await {
        Ok(mut response) => {
            response.headers_mut().remove(CONNECTION);
            *response.version_mut() = hyper::Version::default();
            Ok(response.map(Either::Left))
        }
        Err(_) => {
            let mut response = Response::new(Either::Right(Empty::new()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(response)
        }
    }
}
