//! A limit: hyper alone, with two kept connections: one for polls, one for POSTs.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::load::clients::{Client, Open, Transport};
use crate::load::http as raw;

/// A polling session.
pub(crate) struct BareHyper {
    polls: Connection,
    /// Opened with the first message.
    posts: Option<Connection>,
    place: (SocketAddr, u64),
    session: String,
    received: Option<Bytes>,
}

/// A kept connection, driven by a task of its own.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    pub(crate) async fn over<IO>(io: IO, host: &str) -> Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(io)).await?;
        tokio::spawn(async move {
            // The request that waits gets the error.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            host: HeaderValue::from_str(host)?,
        })
    }

    async fn open(addr: SocketAddr, number: u64) -> Result<Self> {
        let stream = raw::connect(addr, number).await?;
        Self::over(stream, &addr.to_string()).await
    }

    /// Sends a GET, or a POST of this body, and returns the body of the answer.
    pub(crate) async fn request(&mut self, path: &str, body: Option<Bytes>) -> Result<Bytes> {
        let mut request = match body {
            None => Request::get(path).body(Full::default())?,
            Some(body) => {
                let kind = HeaderValue::from_static("text/plain;charset=UTF-8");
                Request::post(path)
                    .header(CONTENT_TYPE, kind)
                    .body(Full::new(body))?
            }
        };
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if !response.status().is_success() {
            bail!("status {}", response.status());
        }
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

impl BareHyper {
    /// Opens a session over a connection. `place` is where another one is to be opened for POSTs.
    pub(crate) async fn over(
        mut polls: Connection,
        posts: Option<Connection>,
        place: (SocketAddr, u64),
    ) -> Result<Self> {
        let path = format!("{}polling", raw::PATH);
        let sid = raw::sid_of(&polls.request(&path, None).await?)?;
        Ok(Self {
            polls,
            posts,
            place,
            session: format!("{path}&sid={sid}"),
            received: None,
        })
    }
}

impl Open for BareHyper {
    async fn open(addr: SocketAddr, number: u64, _: Transport) -> Result<Self> {
        let polls = Connection::open(addr, number).await?;
        Self::over(polls, None, (addr, number)).await
    }
}

impl Client for BareHyper {
    type Message = Bytes;

    fn message(text: &str) -> Bytes {
        format!("4{text}").into()
    }

    fn is(message: &Bytes, text: &str) -> bool {
        message.split_first() == Some((&b'4', text.as_bytes()))
    }

    /// Polls while the message is on its way.
    async fn send(&mut self, message: Bytes) -> Result<()> {
        let posts = match &mut self.posts {
            Some(posts) => posts,
            none => none.insert(Connection::open(self.place.0, self.place.1).await?),
        };
        let (polled, posted) = tokio::join!(
            self.polls.request(&self.session, None),
            posts.request(&self.session, Some(message)),
        );
        posted?;
        self.received = Some(polled?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Bytes> {
        loop {
            let body = match self.received.take() {
                Some(body) => body,
                None => self.polls.request(&self.session, None).await?,
            };
            if body != "2" {
                return Ok(body);
            }
            let pong = Bytes::from_static(b"3");
            self.polls.request(&self.session, Some(pong)).await?;
        }
    }

    async fn close(mut self) -> Result<()> {
        let close = Bytes::from_static(b"1");
        self.polls.request(&self.session, Some(close)).await?;
        Ok(())
    }
}
