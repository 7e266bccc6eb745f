//! Answering another node.

use bytes::Bytes;
use engineio_tower::{Message, SendError, Sid};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::here::{disconnect_here, sids_here};
use super::turns::Turn;
use super::wire::{
    BROADCAST, MAX_MESSAGE, NODE_STATE, PREFIX, REMOTE_LIMIT, SESSION, SESSIONS, decode,
};
use crate::listener::{Node, RequestBody};

/// Answers an operation, with a body. `turn` is its place, if it sends something.
pub(crate) async fn answer(
    node: &Node,
    request: Request<RequestBody>,
    mut turn: Option<Box<Turn>>,
) -> (StatusCode, Bytes) {
    let (head, body) = request.into_parts();
    let server = &node.server;
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let session = path.strip_prefix(SESSION);
    let session = session.and_then(|sid| sid.parse::<Sid>().ok());
    let content_type = head.headers.get(CONTENT_TYPE);
    let status = match (&head.method, path, session) {
        (&Method::POST, _, Some(sid)) => match message(content_type, body).await {
            Err(status) => status,
            Ok(message) => {
                // Those before it wait for the room that it needs as well.
                let sent = timeout(REMOTE_LIMIT, async {
                    come(&mut turn).await;
                    server.send(&sid, message).await
                });
                match sent.await {
                    Ok(Ok(())) => StatusCode::OK,
                    Ok(Err(SendError::Full(_))) | Err(_) => StatusCode::INSUFFICIENT_STORAGE,
                    Ok(Err(SendError::Separator(_))) => StatusCode::UNPROCESSABLE_ENTITY,
                    Ok(Err(_)) => StatusCode::NOT_FOUND,
                }
            }
        },
        (&Method::DELETE, _, Some(sid)) => {
            match disconnect_here(server, &sid, REMOTE_LIMIT).await {
                true => StatusCode::OK,
                false => StatusCode::NOT_FOUND,
            }
        }
        (&Method::POST, BROADCAST, _) => match message(content_type, body).await {
            Err(status) => status,
            Ok(message) => {
                come(&mut turn).await;
                server.broadcast(message);
                StatusCode::OK
            }
        },
        (&Method::GET, SESSIONS, _) => {
            let after = head.uri.query().and_then(|after| after.parse().ok());
            let mut page = String::new();
            for sid in sids_here(server, after) {
                page.push_str(sid.as_str());
                page.push('\n');
            }
            return (StatusCode::OK, page.into());
        }
        (&Method::GET, NODE_STATE, _) => {
            let state = match node.is_draining() {
                true => "draining",
                false => "up",
            };
            return (StatusCode::OK, format!("{state} {}", server.len()).into());
        }
        // Another version asks for what this one does not know.
        _ => StatusCode::NOT_IMPLEMENTED,
    };
    (status, Bytes::new())
}

async fn come(turn: &mut Option<Box<Turn>>) {
    if let Some(turn) = turn {
        turn.come().await;
    }
}

async fn message(
    content_type: Option<&HeaderValue>,
    body: RequestBody,
) -> Result<Message, StatusCode> {
    // The packet of a text is longer by its type.
    let body = Limited::new(body, MAX_MESSAGE + 1).collect().await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    decode(content_type, body).ok_or(StatusCode::BAD_REQUEST)
}
