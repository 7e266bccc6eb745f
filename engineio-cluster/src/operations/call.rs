//! Asking another node.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use engineio_tower::{Message, Sid};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::time::timeout;

use super::error::{ClusterSendError, Unreachable};
use super::wire::{BROADCAST, LIMIT, MAX_MESSAGE, NODE_STATE, PREFIX, SESSION, SESSIONS, encode};
use crate::link::Links;
use crate::link::stream::{Collected, poll_send};
use crate::{Member, MemberState};

/// Asks another node.
pub(crate) struct Caller<'a> {
    pub(crate) links: &'a Links,
    pub(crate) node: &'a Arc<Member>,
}

/// The body of a call, with its content type.
type Content = Option<(HeaderValue, Bytes)>;

impl Caller<'_> {
    pub(crate) async fn send(&self, sid: &Sid, message: Message) -> Result<(), ClusterSendError> {
        let content = match self.content(message.clone()) {
            Ok(content) => content,
            Err(unreachable) => {
                return Err(ClusterSendError::Unreachable {
                    message,
                    unreachable,
                });
            }
        };
        let path = format!("{SESSION}{sid}");
        let answer = self.call(Method::POST, &path, content).await;
        match answer.map(|(status, _)| status) {
            Ok(StatusCode::OK) => Ok(()),
            Ok(StatusCode::INSUFFICIENT_STORAGE) => Err(ClusterSendError::Full(message)),
            Ok(StatusCode::UNPROCESSABLE_ENTITY) => Err(ClusterSendError::Separator(message)),
            Ok(StatusCode::NOT_FOUND) => Err(ClusterSendError::Closed(message)),
            Ok(status) => Err(ClusterSendError::Unreachable {
                message,
                unreachable: self.failed(status),
            }),
            Err(unreachable) => Err(ClusterSendError::Unreachable {
                message,
                unreachable,
            }),
        }
    }

    pub(crate) async fn disconnect(&self, sid: &Sid) -> Result<bool, Unreachable> {
        let path = format!("{SESSION}{sid}");
        let (status, _) = self.call(Method::DELETE, &path, None).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(self.failed(status)),
        }
    }

    pub(crate) async fn broadcast(&self, message: Message) -> Result<(), Unreachable> {
        let content = self.content(message)?;
        let (status, _) = self.call(Method::POST, BROADCAST, content).await?;
        match status {
            StatusCode::OK => Ok(()),
            status => Err(self.failed(status)),
        }
    }

    /// Returns the ids of all sessions of the node.
    pub(crate) async fn sids(&self) -> Result<Vec<Sid>, Unreachable> {
        let mut sids: Vec<Sid> = Vec::new();
        loop {
            let path = match sids.last() {
                Some(last) => format!("{SESSIONS}?{last}"),
                None => SESSIONS.to_owned(),
            };
            let (status, body) = self.call(Method::GET, &path, None).await?;
            if status != StatusCode::OK {
                return Err(self.failed(status));
            }
            let page = std::str::from_utf8(&body).unwrap_or_default();
            let before = sids.len();
            sids.extend(page.lines().filter_map(|sid| sid.parse::<Sid>().ok()));
            if sids.len() == before {
                return Ok(sids);
            }
        }
    }

    /// Returns the state of the node and the number of its sessions.
    pub(crate) async fn state(&self) -> Result<(MemberState, u64), Unreachable> {
        let (status, body) = self.call(Method::GET, NODE_STATE, None).await?;
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let parsed = text.split_once(' ').and_then(|(state, sessions)| {
            let state = match state {
                "up" => MemberState::Up,
                "draining" => MemberState::Draining,
                _ => return None,
            };
            Some((state, sessions.parse().ok()?))
        });
        parsed.ok_or_else(|| self.failed(status))
    }

    fn content(&self, message: Message) -> Result<Content, Unreachable> {
        match message.len() {
            len if len > MAX_MESSAGE => Err(Unreachable::too_large(self.node.id, len)),
            _ => Ok(Some(encode(message))),
        }
    }

    fn failed(&self, status: StatusCode) -> Unreachable {
        self.unreachable(&status, false)
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display, may_have_arrived: bool) -> Unreachable {
        Unreachable {
            node: self.node.id,
            may_have_arrived,
            reason: reason.to_string(),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<(StatusCode, Bytes), Unreachable> {
        let mut sent = false;
        let call = self.exchange(method, path, content, &mut sent);
        match timeout(LIMIT, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(self.unreachable(&reason, sent)),
            Err(_) => Err(self.unreachable(&"the time limit is over", sent)),
        }
    }

    /// Sets `sent` as soon as the node may have received something.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        content: Content,
        sent: &mut bool,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://cluster{PREFIX}{path}"));
        if let Some((content_type, _)) = &content {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let body = content.map(|(_, body)| body).unwrap_or_default();
        let lane = self.links.connect(self.node).await;
        let lane = lane.map_err(|failure| failure.to_string())?;
        let broken = |error: h2::Error| error.to_string();
        let (response, mut stream, _ticket) =
            lane.send(request, body.is_empty()).map_err(broken)?;
        *sent = true;
        let mut body = body;
        // If the node takes no more, its answer tells why.
        poll_fn(|cx| poll_send(&mut stream, &mut body, true, cx)).await;
        let (head, mut stream) = response.await.map_err(broken)?.into_parts();
        let mut collected = Collected::default();
        poll_fn(|cx| collected.poll(&mut stream, cx))
            .await
            .map_err(broken)?;
        Ok((head.status, collected.finish()))
    }
}
