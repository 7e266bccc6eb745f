//! The places where an app can mount the server.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::body::{BoxBody, EitherBody, MessageBody, SizedStream};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, fn_service};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{Error, HttpResponse};
use engineio_tower::{Delivery, Driver, Server};
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
            let uri = convert::uri(&server, request.uri(), &path);
            respond(server.clone(), uri, request)
        };
        config.service(scope.default_service(fn_service(serve)));
    }
}

/// Returns a middleware for `wrap_fn`, which serves the server's path and forwards every other request untouched.
///
/// # Examples
///
/// ```
/// use actix_web::{App, web};
/// use engineio_actix::{Server, middleware};
///
/// let server = Server::builder().build();
/// let app = App::new()
///     .service(web::scope("/api").wrap_fn(middleware(&server)))
///     .wrap_fn(middleware(&server));
/// # let _ = app;
/// ```
pub fn middleware<S, B>(
    server: &Server,
) -> impl Fn(ServiceRequest, &S) -> Respond<S::Future, B> + Clone + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let server = server.clone();
    move |request, app| {
        // The rest of the path after the prefix of a scope.
        let path = request.match_info().unprocessed();
        let uri = convert::uri(&server, request.uri(), path);
        if uri.is_none() {
            let answer = app.call(request);
            return Either::Left(answer.map_ok(ServiceResponse::map_into_left_body));
        }
        let answer = respond(server.clone(), uri, request);
        let answer = answer.map_ok(|response| response.map_into_right_body());
        Either::Right(answer.boxed_local())
    }
}

type Answer<B> = Result<ServiceResponse<B>, Error>;
type ToLeft<B> = fn(ServiceResponse<B>) -> ServiceResponse<EitherBody<B>>;

/// The future of [`middleware`]: that of the app, without a box, or that of the server.
pub type Respond<F, B> =
    Either<MapOk<F, ToLeft<B>>, LocalBoxFuture<'static, Answer<EitherBody<B>>>>;

/// Serves a request with an answer or by the upgrade to a WebSocket, whose driver it spawns. Without a URI, the request is
/// not for the server.
async fn respond(server: Server, uri: Option<String>, request: ServiceRequest) -> Answer<BoxBody> {
    let (request, payload) = request.into_parts();
    let payload = Rc::new(RefCell::new(payload));
    let lent = Rc::clone(&payload);
    let chunks = stream::poll_fn(move |cx| lent.borrow_mut().poll_next_unpin(cx));
    let converted = uri.and_then(|uri| convert::request(&request, uri, chunks));
    let response = if let Some(converted) = converted {
        let mut answer = server.respond(converted).await;
        let body = if let Some(driver) = Driver::take(&mut answer) {
            // The bytes after the head of this GET are the WebSocket, not a body.
            let (io, body) = bridge(Payload::take(&mut payload.borrow_mut()));
            actix_web::rt::spawn(driver.run(io));
            body
        } else {
            sized(payload, &mut answer)
        };
        convert::response(&request, answer, body)
    } else {
        HttpResponse::NotFound().body(sized(payload, &mut http::Response::default()))
    };
    Ok(ServiceResponse::new(request, response))
}

/// Makes a response body that holds the rest of the request's body. If that were dropped, actix-web would read the rest, of
/// a chunked body for example, for as long as it comes.
///
/// Over HTTP/2, actix-web keeps the future of a request whose stream was reset, and drops its response.
fn sized(rest: Rc<RefCell<Payload>>, answer: &mut http::Response<Bytes>) -> BoxBody {
    let mut delivery = Delivery::take(answer);
    let mut bytes = std::mem::take(answer.body_mut());
    let len = bytes.len() as u64;
    let parts = std::iter::from_fn(move || delivery.next_part(&mut bytes));
    let held = stream::iter(parts).map(move |part| (Ok::<_, Error>(part), &rest).0);
    BoxBody::new(SizedStream::new(len, held))
}
