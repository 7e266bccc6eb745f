//! A limit: hyper alone, with just enough behind it to answer the requests of a polling echo.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Settings;

/// The channel that a waiting session reads from.
enum Slot {
    Poll(oneshot::Sender<Bytes>),
    Message(Bytes),
}

#[derive(Default)]
struct State {
    opened: u64,
    slots: HashMap<String, Slot>,
}

type Shared = Arc<Mutex<State>>;

pub(super) async fn run(listener: TcpListener, _: Settings) -> Result<()> {
    let state = Shared::default();
    super::accept_http(listener, move |request| {
        respond(Arc::clone(&state), request)
    })
    .await
}

async fn respond(
    state: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default();
    let sid = query.rsplit_once("sid=").map(|(_, sid)| sid.to_owned());
    let body = match sid {
        None => open(&state),
        Some(sid) if request.method() == Method::POST => {
            let body = request.into_body().collect().await;
            put(
                &state,
                sid,
                body.map(|body| body.to_bytes()).unwrap_or_default(),
            );
            Bytes::from_static(b"ok")
        }
        Some(sid) => get(&state, sid).await,
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    Ok(response)
}

fn open(state: &Shared) -> Bytes {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.opened += 1;
    format!(
        r#"0{{"sid":"{:020}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#,
        state.opened
    )
    .into()
}

fn put(state: &Shared, sid: String, message: Bytes) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match state.slots.remove(&sid) {
        Some(Slot::Poll(waiting)) => {
            // A poll that was given up has nobody to tell.
            let _ = waiting.send(message);
        }
        _ => {
            state.slots.insert(sid, Slot::Message(message));
        }
    }
}

async fn get(state: &Shared, sid: String) -> Bytes {
    let waiting = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Message(message)) = state.slots.remove(&sid) {
            return message;
        }
        let (sender, waiting) = oneshot::channel();
        state.slots.insert(sid, Slot::Poll(sender));
        waiting
    };
    waiting.await.unwrap_or_default()
}
