//! Calls to scripted servers on real sockets.

use std::sync::mpsc;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::proxy::body::{Ending, ResponseBody};

/// A server that answers each read of a connection with the next of `answers`, then closes it.
async fn server(answers: &'static [&'static str]) -> Arc<Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for answer in answers {
                let read = stream.read(&mut [0; 4096]).await.unwrap_or(0);
                if read == 0 || stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    let target = config::Target {
        secure: false,
        place: config::Place::Host("127.0.0.1".into(), port),
        prefix: "".into(),
    };
    let second = Duration::from_secs(1);
    let config = config::Upstream {
        name: "test".into(),
        targets: vec![target],
        http2: false,
        ca: None,
        identity: None,
        host: None,
        credential: None,
        connections: 1,
        queue_timeout: Duration::from_millis(50),
        connect_timeout: second,
        response_timeout: second,
        idle_timeout: second * 60,
        max_age: second * 60,
        health: None,
        eject_after: 3,
        eject_for: second,
    };
    Upstream::build(Arc::new(config), None).unwrap()
}

fn get() -> Request<RequestBody> {
    Request::get("/a?b").body(RequestBody::Empty).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_serves_one_call_after_another() {
    let upstream = server(&[OK, OK]).await;
    for _ in 0..2 {
        let body = upstream.send(get(), "/").await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(upstream.stats().connects, 1);
}

#[tokio::test]
async fn a_call_that_finds_every_connection_in_use_is_refused_after_the_wait() {
    let upstream = server(&[OK, OK]).await;
    let held = upstream.send(get(), "/").await.unwrap();
    let refused = upstream.send(get(), "/").await.unwrap_err();
    assert_eq!(refused.reason(), Reason::UpstreamOverloaded);
    drop(held);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error_and_is_told_once() {
    let upstream = server(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"]).await;
    let body = upstream.send(get(), "/").await.unwrap().into_body();
    let (told, endings) = mpsc::channel();
    let hook =
        Box::new(move |finish: crate::proxy::body::Finish| told.send(finish.ending).unwrap());
    let body = ResponseBody::forward(body, Duration::from_secs(1), None, None, hook);
    assert!(body.collect().await.is_err());
    assert_eq!(endings.iter().collect::<Vec<_>>(), [Ending::UpstreamFailed]);
}
