//! The agent of the demo: a plain HTTP client that reads what it is told.

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Someone who calls tools through the gate.
pub(super) struct Agent {
    pub(super) address: String,
}

/// What the gate answered.
pub(super) struct Answer {
    pub(super) asked: String,
    pub(super) status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Agent {
    /// Calls `path` of the gate.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        self.send(method, path, token, &[], body).await
    }

    /// The same, with these headers.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let stream =
            TcpStream::connect(&self.address).await.context("the gate cannot be reached")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, "tools.example.com");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body =
            Limited::new(body, 64 * 1_024).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok(Answer {
            asked: format!("{method} {path}"),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What the answer comes to, in a few words.
    pub(super) fn brief(&self) -> String {
        let body = self.json();
        let error = body.get("error");
        // That of a message says so in its data.
        let of_message = body.pointer("/error/data/error");
        match error.and_then(Value::as_str).or(of_message.and_then(Value::as_str)) {
            Some(error) => error.to_owned(),
            None => body.to_string(),
        }
    }

    /// A header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    /// A parameter of the challenge.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let challenge = self.headers.get(header::WWW_AUTHENTICATE)?.to_str().ok()?;
        let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    }
}
