//! The places where an app can mount the server.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody, SizedStream};
use actix_web::dev::{
    Extensions, Payload, Service, ServiceRequest, ServiceResponse, Transform, fn_service,
};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{Error, HttpResponse};
use engineio_tower::{Driver, EngineIoService, Server};
use futures_util::future::{Either, FutureExt, LocalBoxFuture, MapOk, TryFutureExt};
use futures_util::stream::{self, StreamExt};

use crate::convert;
use crate::io::bridge;

/// Adds the server to an app or a scope, at its path and below it, with or without a trailing slash.
///
/// # Examples
///
/// ```
/// use actix_web::{App, web};
/// use engineio_actix::Server;
///
/// let server = Server::builder().path("/realtime").build();
/// let app = App::new()
///     .configure(engineio_actix::configure(&server))
///     .service(web::scope("/api").configure(engineio_actix::configure(&server)));
/// # let _ = app;
/// ```
pub fn configure(server: &Server) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let server = server.clone();
    move |config| {
        // A scope's prefix is compared as text; a resource for all that is below would be a regular expression, and run
        // for every request of the app.
        let scope = web::scope(server.path());
        let serve = move |request: ServiceRequest| {
            let path = format!("{}{}", server.path(), request.match_info().unprocessed());
            respond(server.clone(), request, path)
        };
        config.service(scope.default_service(fn_service(serve)));
    }
}

/// A middleware that serves the server's path and forwards every other request untouched.
///
/// # Examples
///
/// ```
/// use actix_web::App;
/// use engineio_actix::{EngineIo, Server};
///
/// let server = Server::builder().build();
/// let app = App::new().wrap(EngineIo::new(&server));
/// # let _ = app;
/// ```
#[derive(Clone, Debug)]
pub struct EngineIo(Server);

impl EngineIo {
    /// Returns a middleware for this server.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        Self(server.clone())
    }
}

impl<S, B> Transform<S, ServiceRequest> for EngineIo
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = EngineIoMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let server = self.0.clone();
        ready(Ok(EngineIoMiddleware { server, inner }))
    }
}

/// An app with an [`EngineIo`] around it. Never named by users.
#[derive(Debug)]
pub struct EngineIoMiddleware<S> {
    server: Server,
    inner: S,
}

type Answer<B> = Result<ServiceResponse<B>, Error>;
type ToLeft<B> = fn(ServiceResponse<B>) -> ServiceResponse<EitherBody<B>>;

impl<S, B> Service<ServiceRequest> for EngineIoMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    // Requests of the app cost no box.
    type Future =
        Either<MapOk<S::Future, ToLeft<B>>, LocalBoxFuture<'static, Answer<EitherBody<B>>>>;

    actix_web::dev::forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // The rest of the path after the prefix of a scope.
        let path = request.match_info().unprocessed();
        if !self.server.claims(path) {
            let answer = self.inner.call(request);
            return Either::Left(answer.map_ok(ServiceResponse::map_into_left_body));
        }
        let path = path.to_owned();
        let answer = respond(self.server.clone(), request, path);
        Either::Right(
            answer
                .map(|answer| Ok(answer?.map_into_right_body()))
                .boxed_local(),
        )
    }
}

/// Serves a request for the server's path, which is `path` after the prefix of a scope, with an answer or by the upgrade
/// to a WebSocket, whose driver it spawns.
async fn respond(server: Server, request: ServiceRequest, path: String) -> Answer<BoxBody> {
    let (request, payload) = request.into_parts();
    let payload = Rc::new(RefCell::new(payload));
    let lent = Rc::clone(&payload);
    let chunks = stream::poll_fn(move |cx| lent.borrow_mut().poll_next_unpin(cx));
    let response = if let Some(converted) = convert::request(&request, &path, chunks) {
        let mut service = EngineIoService::new(server);
        let Ok(mut answer) = tower_service::Service::call(&mut service, converted).await;
        let body = if let Some(driver) = Driver::take(&mut answer) {
            // The bytes after the head of this GET are the WebSocket, not a body.
            let (io, body) = bridge(Payload::take(&mut payload.borrow_mut()));
            actix_web::rt::spawn(driver.run(io));
            body
        } else {
            let bytes = std::mem::take(answer.body_mut()).into_bytes();
            beside(payload, bytes.unwrap_or_default())
        };
        convert::response(&request, answer, body)
    } else {
        HttpResponse::BadRequest().body(beside(payload, Bytes::new()))
    };
    Ok(ServiceResponse::new(request, response))
}

/// Makes a response body that holds the rest of the request's body. If it were dropped, actix-web would read the rest,
/// of a chunked body for example, for as long as it comes.
fn beside(rest: Rc<RefCell<Payload>>, bytes: Bytes) -> BoxBody {
    if matches!(*rest.borrow(), Payload::None) {
        // A GET, mostly.
        return BoxBody::new(bytes);
    }
    let len = bytes.len() as u64;
    let held = stream::iter([Ok::<_, Error>(bytes)]).map(move |bytes| (bytes, &rest).0);
    BoxBody::new(SizedStream::new(len, held))
}

/// Disables Nagle's algorithm for connections without TLS, as a hook for
/// [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
///
/// With it, the second of two small packets waits for the peer's delayed acknowledgement, some 40 ms.
///
/// # Examples
///
/// ```
/// use actix_web::{App, HttpServer};
///
/// let server = HttpServer::new(|| App::new()).on_connect(engineio_actix::on_connect);
/// # let _ = server;
/// ```
pub fn on_connect(connection: &dyn Any, _: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        // A connection that is broken already shows that at the first read.
        let _ = stream.set_nodelay(true);
    }
}
