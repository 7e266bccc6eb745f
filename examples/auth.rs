//! Authentication at the handshake: a cookie that the server signed at login admits a client.
//!
//! ```text
//! cargo run -p engineio-examples --example auth
//! ```
//!
//! Open <http://127.0.0.1:5000/>: the page is refused with 401 and shows why. After a login it is admitted and greeted
//! by name. A cookie that was changed is refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{get, post};

use cookie::{Cookie, CookieJar, Key, SameSite};
use engineio_axum::{ConnectRequest, DisconnectReason, Message, Rejection, Server, Socket};
use serde_json::{Value, json};

const NAME: &str = "user";

/// The user of a client, attached to its socket.
#[derive(Debug)]
struct User(String);

/// The name in a cookie that carries our signature.
fn user(headers: &HeaderMap, key: &Key) -> Option<User> {
    let mut jar = CookieJar::new();
    for header in headers.get_all(COOKIE) {
        let cookies = Cookie::split_parse_encoded(header.to_str().ok()?.to_owned());
        cookies
            .flatten()
            .for_each(|cookie| jar.add_original(cookie));
    }
    let cookie = jar.signed(key).get(NAME)?;
    Some(User(cookie.value().to_owned()))
}

/// Anybody may be anybody here; a real login checks a password.
async fn login(State(key): State<Arc<Key>>, Form(form): Form<Value>) -> impl IntoResponse {
    let name = form["name"].as_str().unwrap_or("nobody").to_owned();
    let cookie = Cookie::build((NAME, name))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax);
    let mut jar = CookieJar::new();
    jar.signed_mut(&key).add(cookie);
    let signed: Vec<_> = jar
        .delta()
        .map(|cookie| (SET_COOKIE, cookie.encoded().to_string()))
        .collect();
    (axum::response::AppendHeaders(signed), Redirect::to("/"))
}

fn server(key: Arc<Key>) -> Server {
    Server::builder()
        .on_connect(move |socket: Socket, request: ConnectRequest| {
            let key = Arc::clone(&key);
            async move {
                let user = user(request.headers(), &key).ok_or_else(|| {
                    // The body reaches the client with the 401, over WebSocket too.
                    Rejection::unauthorized().json(json!({ "reason": "log in first" }))
                })?;
                socket.send(format!("hello, {}", user.0)).await?;
                socket.set(user);
                Ok(())
            }
        })
        .on_message(|socket: Socket, message: Message| async move {
            if let (Some(user), Some(text)) = (socket.get::<User>(), message.as_text()) {
                let _ = socket.send(format!("{} said: {text}", user.0)).await;
            }
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| {
            if let Some(user) = socket.get::<User>() {
                println!("{} left: {reason}", user.0);
            }
        })
        .build()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    // A new key at each start logs everybody out; a real one is kept in a file.
    let key = Arc::new(Key::generate());
    let app = Router::new()
        .route("/", get(async || Html(include_str!("pages/auth.html"))))
        .route("/login", post(login))
        .with_state(Arc::clone(&key))
        .layer(engineio_axum::EngineIoLayer::new(server(key)));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app).await
}
