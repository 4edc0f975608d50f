//! Calls to scripted servers on real sockets.

use std::sync::mpsc;

use http::Method;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::proxy::body::{Ending, ResponseBody};

/// A server that answers each read of a connection with the next of `answers`, then closes it.
async fn server(answers: &'static [&'static str]) -> Arc<Upstream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream(listener.local_addr().unwrap().port());
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
    upstream
}

/// The server on this port.
fn upstream(port: u16) -> Arc<Upstream> {
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

/// One answer on each connection, which ends when the next request has come, without an answer.
async fn dying(method: Method) -> (Arc<Upstream>, Result<StatusCode, SendError>) {
    let upstream = server(&[OK, ""]).await;
    let body = upstream.send(get(), "/").await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut second = get();
    *second.method_mut() = method;
    let answered = upstream.send(second, "/").await.map(|response| response.status());
    (upstream, answered)
}

#[tokio::test]
async fn a_safe_call_that_met_the_end_of_a_kept_connection_is_sent_once_more() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let (upstream, answered) = dying(method).await;
        assert_eq!(answered.unwrap(), StatusCode::OK);
        assert_eq!((upstream.stats().connects, upstream.stats().retries), (2, 1));
    }
}

#[tokio::test]
async fn a_call_that_may_have_had_an_effect_is_not_sent_twice() {
    for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
        let (upstream, answered) = dying(method.clone()).await;
        let error = answered.unwrap_err();
        assert!(error.was_sent(), "{method}");
        assert_eq!((upstream.stats().connects, upstream.stats().retries), (1, 0), "{method}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_its_first_answer_is_no_reason_to_send_again() {
    let upstream = server(&[""]).await;
    let error = upstream.send(get(), "/").await.unwrap_err();
    assert!(error.was_sent());
    assert_eq!((upstream.stats().connects, upstream.stats().retries), (1, 0));
}

#[tokio::test]
async fn what_was_sent_once_is_never_told_as_unsent() {
    // The server takes one connection and no other.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = upstream(address.port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let _head = stream.read(&mut [0; 4096]).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        let _head = stream.read(&mut [0; 4096]).await.unwrap();
    });
    let body = upstream.send(get(), "/").await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = upstream.send(get(), "/").await.unwrap_err();
    // What is charged for a call is given back only where it never arrived.
    assert!(error.was_sent() && !matches!(error, SendError::Unreachable(_)), "{error:?}");
    assert_eq!((upstream.stats().connects, upstream.stats().retries), (2, 1));
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
    let body = ResponseBody::forward(body, None, Duration::from_secs(1), None, None, hook);
    assert!(body.collect().await.is_err());
    assert_eq!(endings.iter().collect::<Vec<_>>(), [Ending::UpstreamFailed]);
}
