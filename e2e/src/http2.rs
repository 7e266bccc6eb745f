//! A connection of HTTP/2 without TLS, whose streams may become WebSockets (RFC 8441).

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, ORIGIN, SEC_WEBSOCKET_EXTENSIONS};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::frame::{self, Frame};
use crate::within;

/// One connection to a host.
#[derive(Debug)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Http2 {
    /// Connects by prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, address.to_string()).await
    }

    /// Speaks HTTP/2 over a stream of bytes.
    pub async fn over<IO>(stream: IO, authority: String) -> Self
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, connection) = within("HTTP/2", h2::client::handshake(stream))
            .await
            .unwrap();
        tokio::spawn(async move {
            // The requests get the error of a connection.
            let _ = connection.await;
        });
        Self {
            requests,
            authority,
        }
    }

    /// Whether the host has offered WebSockets. Known after the first response.
    #[must_use]
    pub fn offers_websockets(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    fn request(&self, method: Method, target: &str) -> Request<()> {
        let uri = format!("http://{}{target}", self.authority);
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }

    /// A GET, and the status and text of its response.
    pub async fn get(&mut self, target: &str) -> (StatusCode, String) {
        let request = self.request(Method::GET, target);
        self.send(request, None).await
    }

    /// A GET of a page of this origin, and its status.
    pub async fn get_from(&mut self, target: &str, origin: &str) -> StatusCode {
        let mut request = self.request(Method::GET, target);
        request
            .headers_mut()
            .insert(ORIGIN, origin.parse().unwrap());
        self.send(request, None).await.0
    }

    /// A POST, and the status and text of its response.
    pub async fn post(&mut self, target: &str, body: &str) -> (StatusCode, String) {
        let request = self.request(Method::POST, target);
        self.send(request, Some(body.to_owned().into())).await
    }

    /// Many GETs at once, each of which is reset once another request has been answered. Returns the status of those that
    /// had an answer by then.
    pub async fn get_and_reset(&mut self, target: &str, streams: usize) -> Vec<StatusCode> {
        let mut responses = Vec::new();
        for _ in 0..streams {
            let request = self.request(Method::GET, target);
            let mut requests = self.requests.clone().ready().await.unwrap();
            responses.push(requests.send_request(request, true).unwrap().0);
        }
        self.get("/").await;
        let answered = responses.into_iter().filter_map(FutureExt::now_or_never);
        answered.map(|head| head.unwrap().status()).collect()
    }

    /// A POST that may announce so many bytes, and is reset without an error after others.
    pub async fn post_and_reset(&mut self, target: &str, announced: Option<usize>, body: &str) {
        let mut request = self.request(Method::POST, target);
        let announced = announced.map(Into::into);
        request
            .headers_mut()
            .extend(announced.map(|length| (CONTENT_LENGTH, length)));
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, mut stream) = requests.send_request(request, false).unwrap();
        stream.send_data(body.to_owned().into(), false).unwrap();
        // Data that has not left would be dropped.
        self.get("/").await;
        stream.send_reset(h2::Reason::NO_ERROR);
        let _ = within("the end of a POST", response).await;
    }

    async fn send(&mut self, request: Request<()>, body: Option<Bytes>) -> (StatusCode, String) {
        let (response, mut stream) = self.requests.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            stream.send_data(body, true).unwrap();
        }
        let (head, mut stream) = within("a response", response).await.unwrap().into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = within("a body", stream.data()).await {
            body.extend_from_slice(&chunk.unwrap());
        }
        (head.status, String::from_utf8(body).unwrap())
    }

    /// Asks for a WebSocket.
    ///
    /// # Errors
    ///
    /// Returns the status with which it was refused.
    pub async fn websocket(&mut self, target: &str) -> Result<Http2WebSocket, StatusCode> {
        let (socket, agreed) = self.websocket_with(target, "").await?;
        assert_eq!(agreed, "", "nothing was offered");
        Ok(socket)
    }

    /// Asks for a WebSocket and offers extensions to it. Gives what the host has agreed to as well.
    ///
    /// # Errors
    ///
    /// Returns the status with which it was refused.
    pub async fn websocket_with(
        &mut self,
        target: &str,
        extensions: &str,
    ) -> Result<(Http2WebSocket, String), StatusCode> {
        let mut request = self.request(Method::CONNECT, target);
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        request
            .headers_mut()
            .insert("sec-websocket-version", "13".parse().unwrap());
        if !extensions.is_empty() {
            request
                .headers_mut()
                .insert(SEC_WEBSOCKET_EXTENSIONS, extensions.parse().unwrap());
        }
        let (response, send) = self.requests.send_request(request, false).unwrap();
        let (head, receive) = within("a response", response).await.unwrap().into_parts();
        match head.status {
            StatusCode::OK => {
                let agreed = head.headers.get(SEC_WEBSOCKET_EXTENSIONS);
                let agreed = agreed.map_or("", |value| value.to_str().unwrap());
                let socket = Http2WebSocket {
                    send,
                    receive,
                    buffer: BytesMut::new(),
                };
                Ok((socket, agreed.to_owned()))
            }
            status => Err(status),
        }
    }
}

/// A stream that is a WebSocket.
#[derive(Debug)]
pub struct Http2WebSocket {
    send: SendStream<Bytes>,
    receive: RecvStream,
    buffer: BytesMut,
}

impl Http2WebSocket {
    /// Sends a frame.
    pub fn send(&mut self, frame: Vec<u8>) {
        self.send.send_data(frame.into(), false).unwrap();
    }

    /// Sends a text frame.
    pub fn say(&mut self, text: &str) {
        self.send(frame::text(text));
    }

    /// The next frame; `None` if the stream ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer) {
                return Some(frame);
            }
            let chunk = within("a frame", self.receive.data()).await?.ok()?;
            let _ = self.receive.flow_control().release_capacity(chunk.len());
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The next frame, which must be a text.
    pub async fn hear(&mut self) -> String {
        match self.frame().await {
            Some(Frame::Text(text)) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Resets the stream, as a browser does whose page is gone.
    pub fn reset(mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }
}
