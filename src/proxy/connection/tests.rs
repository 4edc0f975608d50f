use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::*;
use crate::proxy::places::Places;
use crate::runtime::tasks::{Shutdown, shutdown};

/// Answers with the number of the request, or with the code of what was wrong with it.
#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    type Body = Full<Bytes>;

    async fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        n: u64,
    ) -> Result<Response<Full<Bytes>>, Abort> {
        let (status, text) = match connection.violation(n, request.headers()) {
            Some(Reason::HeaderTooLarge) => (431, "header_too_large".to_owned()),
            Some(Reason::HeaderTimeout) => (408, "header_timeout".to_owned()),
            Some(reason) => (400, reason.code().to_owned()),
            None if request.headers().contains_key("upgrade") && request.uri().path() == "/up" => {
                tokio::spawn(echo_upgraded(request));
                return Ok(Response::builder()
                    .status(101)
                    .header("upgrade", "x")
                    .header("connection", "upgrade")
                    .body(Full::default())
                    .unwrap());
            }
            None => {
                let path = request.uri().path().to_owned();
                let Ok(body) = request.into_body().collect().await else { return Err(Abort) };
                let body = body.to_bytes();
                (200, format!("<{n} {path} {}>", body.len()))
            }
        };
        let body = Full::new(Bytes::from(text));
        Ok(Response::builder().status(status).body(body).unwrap())
    }
}

async fn echo_upgraded(request: Request<Incoming>) {
    let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
    let mut text = [0; 5];
    io.read_exact(&mut text).await.unwrap();
    io.write_all(&text).await.unwrap();
    io.shutdown().await.unwrap();
}

fn limits() -> Limits {
    Limits {
        body_timeout: Duration::from_secs(5),
        judged_bodies: 1_000_000,
        connections: 10,
        connections_per_source: 10,
        streams: 10,
        header_bytes: 2048,
        header_count: 20,
        header_timeout: Duration::from_millis(200),
        handshake_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_millis(500),
        body_idle: Duration::from_secs(1),
        token_cache: 10,
        proofs: 1_000,
        charges: 10,
        evidence: 1,
        evidence_memory: Duration::from_mins(1),
        refusals_per_source: 10,
    }
}

async fn start() -> (DuplexStream, Shutdown) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let (begin, drain) = shutdown();
    let settings = Arc::new(Settings { limits: limits() });
    let places = Places::new(&settings.limits);
    let visit = places.enter(places.take().await.unwrap(), None).unwrap();
    tokio::spawn(serve(server, Peer::default(), settings, Echo, drain, visit));
    (client, begin)
}

/// Writes, then reads to the end that the server makes.
async fn exchange(pieces: &[&[u8]]) -> String {
    let (mut client, _begin) = start().await;
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    rest(&mut client).await
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    timeout(Duration::from_secs(5), client.read_to_end(&mut text)).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn each_malformed_head_is_answered_by_the_handler_and_ends_the_connection() {
    let cases = crate::proxy::framing::tests::MALFORMED;
    let answers = cases.iter().map(|head| async move { (head, exchange(&[head]).await) });
    for answer in answers {
        let (head, text) = answer.await;
        assert!(text.starts_with("HTTP/1.1 400"), "{}: {text}", head.escape_ascii());
        assert!(text.ends_with("http_malformed"), "{}: {text}", head.escape_ascii());
        assert!(text.contains("connection: close"), "{}: {text}", head.escape_ascii());
    }
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered() {
    let good = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let text = exchange(&[&[&good[..], b"GET / HTTP/1.1\n\n"].concat()]).await;
    assert!(text.contains("<1 /a 3>") && text.ends_with("http_malformed"), "{text}");
    let text = exchange(&[good, good, b"GET /c HT", b"TP/1.1\r\nHost: a\n\r\n"]).await;
    assert!(text.contains("<2 /a 3>") && text.ends_with("http_malformed"), "{text}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), vec![b'x'; 40_000]].concat();
    let text = exchange(&[&head]).await;
    assert!(text.starts_with("HTTP/1.1 431") && text.ends_with("header_too_large"), "{text}");
}

#[tokio::test]
async fn a_slow_head_is_answered_with_408_and_silence_with_nothing() {
    for started in [&b"G"[..], b"P", b"GET / HTTP/1.1\r\nHo"] {
        let text = exchange(&[started]).await;
        assert!(text.starts_with("HTTP/1.1 408") && text.ends_with("header_timeout"), "{text}");
    }
    assert_eq!(exchange(&[]).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    let began = clock::instant();
    let text = exchange(&[b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
    assert!(text.ends_with("<1 /a 0>"), "{text}");
    assert!(began.elapsed() >= Duration::from_millis(450));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_ends_the_call() {
    let head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = exchange(&[head, b"3;x\r\nabc\r\n0\r\n\r\n"]).await;
    assert!(!text.contains("200 OK"), "{text}");
}

#[tokio::test]
async fn both_answers_to_an_upgrade_are_followed() {
    let up = b"GET /up HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0\n\r\n!";
    let text = exchange(&[up]).await;
    assert!(text.starts_with("HTTP/1.1 101") && text.ends_with("\0\n\r\n!"), "{text}");
    let no = b"GET /no HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let text = exchange(&[&[&no[..], no, b"\0"].concat()]).await;
    assert!(text.contains("<2 /no 0>") && text.ends_with("http_malformed"), "{text}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let (client, _begin) = start().await;
    let executor = TokioExecutor::new();
    let io = TokioIo::new(client);
    let (mut sender, conn) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(conn);
    let request = Request::get("http://a/x").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "<1 /x 0>");
}

#[tokio::test]
async fn a_drain_ends_idle_connections() {
    let (mut client, stop) = start().await;
    client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = clock::instant();
    stop.begin();
    assert!(rest(&mut client).await.ends_with("<1 /a 0>"));
    assert!(before.elapsed() < Duration::from_millis(400));
}
