//! The seams that hosts without hyper need: a body that cannot be sent to another thread, and a WebSocket over any
//! stream.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use engineio_tower::{
    DisconnectReason, Driver, EngineIoLayer, EngineIoService, HostRequest, HostResponse, Message,
    ResponseBody, Scheme, Server, Socket,
};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};

/// A body that holds an `Rc`, as actix's payload does.
struct LocalBody(Rc<std::cell::Cell<Option<Bytes>>>);

impl Body for LocalBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn echo() -> Server {
    Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build()
}

#[tokio::test(flavor = "current_thread")]
async fn a_body_that_is_not_send_goes_through_the_same_service() {
    let server = echo();
    let service = EngineIoService::new(server.clone());
    let (sid, _) = crate::support::open(&server).await;
    let body = LocalBody(Rc::new(std::cell::Cell::new(Some("4local".into()))));
    let request = Request::post(format!("/engine.io/?EIO=4&transport=polling&sid={sid}"))
        .body(body)
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(
        crate::support::text(&crate::support::poll(&server, &sid).await),
        "4local"
    );
}

#[test]
fn the_future_is_send_when_the_body_is() {
    const fn assert_send<T: Send>(_: &T) {}
    let mut service = EngineIoService::new(echo());
    let request = crate::support::get_request("EIO=9");
    let future = tower::Service::call(&mut service, request);
    assert_send(&future);
}

#[tokio::test]
async fn the_body_of_another_path_reaches_the_host_unchanged() {
    let host = tower::service_fn(|request: Request<LocalBody>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, std::io::Error>(Response::new(Full::new(
            [path.as_bytes(), b" ", &body].concat().into(),
        )))
    });
    let service = EngineIoLayer::new(echo()).layer(host);
    for (path, ours) in [
        ("/", false),
        ("/engine.iox", false),
        ("/other/engine.io/", false),
        ("/engine.io", true),
        ("/engine.io/", true),
        ("/engine.io/deeper", true),
    ] {
        let body = LocalBody(Rc::new(std::cell::Cell::new(Some("body".into()))));
        let request = Request::post(path).body(body).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.collect().await.unwrap().to_bytes();
        if ours {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        } else {
            assert_eq!(body, format!("{path} body"), "{path}");
        }
    }
}

/// A host app without room, as one behind `ConcurrencyLimit` whose permits are all in use.
#[derive(Clone)]
struct Saturated;

impl tower::Service<Request<crate::support::Body>> for Saturated {
    type Response = Response<crate::support::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<crate::support::Body>) -> Self::Future {
        panic!("the host app was called although it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_saturated_host_app_does_not_hold_up_the_server() {
    let server = echo();
    let service = EngineIoLayer::new(server.clone()).layer(Saturated);
    let (sid, _) = crate::support::open(&server).await;
    let post = service
        .clone()
        .oneshot(crate::support::post_request(&sid, "4hello"));
    let posted = tokio::time::timeout(std::time::Duration::from_secs(1), post).await;
    assert_eq!(posted.expect("an answer").unwrap().status(), StatusCode::OK);
    let poll = crate::support::get_request(&format!("EIO=4&transport=polling&sid={sid}"));
    let poll = tokio::time::timeout(
        std::time::Duration::from_secs(1),
        service.clone().oneshot(poll),
    );
    let body = poll
        .await
        .expect("an answer")
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(body.to_bytes(), "4hello");
    // A request of the host app waits until that is ready.
    let request = Request::get("/page")
        .body(crate::support::Body::default())
        .unwrap();
    let page = tokio::time::timeout(std::time::Duration::from_secs(1), service.oneshot(request));
    assert!(page.await.is_err());
}

#[tokio::test]
async fn a_driver_runs_over_a_stream_that_is_not_send() {
    let server = echo();
    let service = EngineIoService::new(server);
    let request = crate::support::websocket_request("EIO=4&transport=websocket");
    let mut response = service.oneshot(request).await.unwrap();
    let driver = Driver::take(&mut response).unwrap();
    assert!(Driver::take(&mut response).is_none(), "it is taken once");

    /// A stream that holds an `Rc`.
    struct Local(tokio::io::DuplexStream, #[expect(dead_code)] Rc<()>);
    impl tokio::io::AsyncRead for Local {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }
    impl tokio::io::AsyncWrite for Local {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    let (ours, theirs) = tokio::io::duplex(4096);
    let run = driver.run(Local(theirs, Rc::new(())));
    let talk = async {
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        let mut client =
            tokio_tungstenite::WebSocketStream::from_raw_socket(ours, role, None).await;
        assert!(
            crate::support::receive_text(&mut client)
                .await
                .starts_with("0{")
        );
        crate::support::send(&mut client, "4over a local stream").await;
        assert_eq!(
            crate::support::receive_text(&mut client).await,
            "4over a local stream"
        );
        client.close(None).await.unwrap();
    };
    tokio::join!(run, talk);
}

/// The answer to a request of a host with types of its own.
async fn respond(server: &Server, method: &str, query: &str, body: &[u8]) -> HostResponse {
    let uri = format!("/engine.io/?{query}");
    let headers = [("content-length", body.len().to_string())];
    let peer = Some(([10, 0, 0, 1], 5_000).into());
    let request = HostRequest::new(method, uri, headers, peer);
    request.respond(server, body).await
}

#[tokio::test]
async fn a_host_with_types_of_its_own_passes_the_parts_of_a_request() {
    let server = echo();
    let opened = respond(&server, "GET", crate::support::HANDSHAKE, b"").await;
    assert_eq!(opened.status, 200);
    assert!(opened.driver.is_none());
    let kind = ("content-type".into(), "text/plain; charset=UTF-8".into());
    assert!(opened.headers.contains(&kind), "{:?}", opened.headers);
    let socket = server.sockets().remove(0);
    assert_eq!(socket.peer_addr(), Some(([10, 0, 0, 1], 5_000).into()));
    let query = format!("{}&sid={}", crate::support::HANDSHAKE, socket.sid());
    // Longer than what is read at a time.
    let message = [b"4".as_slice(), &[b'x'; 100_000]].concat();
    let posted = respond(&server, "POST", &query, &message).await;
    assert_eq!((posted.status, &*posted.body), (200, b"ok".as_slice()));
    let polled = respond(&server, "GET", &query, b"").await;
    assert_eq!(polled.body, message);
    let refused = respond(&server, "DELETE", &query, b"").await;
    assert_eq!(refused.status, 405);
}

#[tokio::test]
async fn a_request_that_is_none_is_answered_with_400() {
    let server = echo();
    let uri = "/engine.io/?EIO=4&transport=polling";
    for (method, uri, name) in [("G T", uri, "a"), ("GET", "/ /", "a"), ("GET", uri, "a b")] {
        let request = HostRequest::new(method, uri, [(name, "value")], None);
        let response = request.respond(&server, tokio::io::empty()).await;
        assert_eq!(response.status, 400, "{method} {uri} {name}");
        assert!(response.body.starts_with(b"{\"code\":3"), "{response:?}");
    }
}

#[tokio::test]
async fn the_server_limits_the_body_that_a_host_passes_unlimited() {
    /// A reader that never ends.
    struct Endless;
    impl tokio::io::AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            buf.put_slice(&vec![b'4'; buf.remaining()]);
            Poll::Ready(Ok(()))
        }
    }
    let server = echo();
    let (sid, _) = crate::support::open(&server).await;
    let uri = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
    let request = HostRequest::new("POST", uri, [("a", "b")], None);
    let response = request.respond(&server, Endless).await;
    assert_eq!(response.status, 413);
}

#[tokio::test]
async fn the_host_is_told_of_a_websocket_and_gives_its_bytes() {
    let server = echo();
    let request = crate::support::websocket_request(crate::support::WEBSOCKET);
    let (uri, headers) = (request.uri(), request.headers());
    let request = HostRequest::new(request.method(), uri, headers, None).extension(Scheme::Https);
    let response = request.respond(&server, tokio::io::empty()).await;
    assert_eq!(response.status, 101);
    let (ours, theirs) = tokio::io::duplex(4096);
    let upgrade = async { Ok::<_, std::io::Error>(theirs) };
    response.driver.unwrap().spawn(upgrade);
    let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
    let mut client = tokio_tungstenite::WebSocketStream::from_raw_socket(ours, role, None).await;
    assert!(
        crate::support::receive_text(&mut client)
            .await
            .starts_with("0{")
    );
    crate::support::send(&mut client, "4hello").await;
    assert_eq!(crate::support::receive_text(&mut client).await, "4hello");
}

#[tokio::test(start_paused = true)]
async fn a_websocket_whose_bytes_do_not_come_ends() {
    for (never, limit) in [(false, 0), (true, 30)] {
        let (server, mut leaving) = crate::support::watched(Server::builder());
        let service = EngineIoService::new(server.clone());
        let request = crate::support::websocket_request(crate::support::WEBSOCKET);
        let mut response = service.oneshot(request).await.unwrap();
        let begun = tokio::time::Instant::now();
        Driver::take(&mut response).unwrap().spawn(async move {
            if never {
                std::future::pending::<()>().await;
            }
            Err::<tokio::io::DuplexStream, _>("the client is gone")
        });
        let reason = leaving.recv().await;
        assert_eq!(reason, Some(DisconnectReason::TransportClose));
        assert_eq!(begun.elapsed().as_secs(), limit);
    }
}

/// A body that cannot be read to its end.
struct BrokenBody;

impl Body for BrokenBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::ErrorKind::InvalidData.into())))
    }
}

/// A host that has answered a request lets go of it. hyper neither drops one whose chunks are malformed nor notices that
/// its client leaves.
#[tokio::test(start_paused = true)]
async fn a_post_whose_body_breaks_is_answered_and_ends_the_session() {
    let server = echo();
    let (sid, _) = crate::support::open(&server).await;
    let request = Request::post(format!("/engine.io/?EIO=4&transport=polling&sid={sid}"))
        .body(BrokenBody)
        .unwrap();
    let post = EngineIoService::new(server.clone()).oneshot(request);
    let response = tokio::time::timeout(std::time::Duration::from_secs(600), post).await;
    let response = response.expect("an answer").unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(server.is_empty());
}

/// As tower-http's layers for CORS and timeouts do, around the filters of warp too, whose body has no default.
#[test]
fn a_layer_may_answer_in_place_of_any_host() {
    let body = ResponseBody::<LocalBody>::default();
    assert!(body.is_end_stream());
    assert!(body.into_inner().is_err());
}
