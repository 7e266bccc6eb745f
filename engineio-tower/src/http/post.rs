//! A POST that brings packets.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engineio_core::codec::detach;
use engineio_core::server::{ExchangeId, Input};
use engineio_core::{Payload, Refusal, jsonp};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::http::request_body::{FRAMES, is_length_limit};
use crate::http::response::Answer;
use crate::session::{Posted, Session, WaiterId, give_way, now};

pin_project! {
    /// Reads the body, never beyond the limit, and answers when its packets have found room.
    ///
    /// Dropping it while the body is read tells the session that the client gave up.
    pub(crate) struct PostFuture<B> {
        #[pin]
        body: B,
        // The length that the request has announced.
        announced: Option<u64>,
        collected: Collected,
        read: bool,
        more: bool,
        form: Form,
        ticket: Ticket,
    }
}

/// The encoding of a POST's packets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Text, whatever its content type is.
    Text,
    /// `application/octet-stream`, which revision 3 uses for binary payloads.
    Binary,
    /// The field `d` of an HTML form.
    Jsonp,
}

/// The POST as the session knows it; leaves when dropped without an answer.
struct Ticket {
    session: Arc<Session>,
    id: ExchangeId,
    answered: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            let aborted = Input::PostAborted(self.id);
            self.session
                .leave(WaiterId::Exchange(self.id), Some(aborted));
        }
    }
}

/// A body that is being read, in memory of the session's own: a chunk may be a slice of a large read buffer, or belong to
/// a host whose `Drop` must not run under the session's lock.
#[derive(Default)]
struct Collected(BytesMut);

impl Collected {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, chunk: impl Buf) {
        self.0.put(chunk);
    }

    fn finish(&mut self) -> Bytes {
        let buffer = self.0.capacity();
        detach(std::mem::take(&mut self.0).freeze(), buffer)
    }
}

impl<B: Body> PostFuture<B> {
    pub(crate) fn open(session: Arc<Session>, form: Form, body: B) -> Self {
        let id = session.open_post();
        Self {
            announced: body.size_hint().exact(),
            body,
            collected: Collected::default(),
            read: false,
            more: false,
            form,
            ticket: Ticket {
                session,
                id,
                answered: false,
            },
        }
    }
}

impl<B> Future for PostFuture<B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut this = self.project();
        let session = &this.ticket.session;
        let id = this.ticket.id;
        if std::mem::take(this.more) {
            session.update_and_pump(cx, |session| {
                session.handle_input(now(), Input::PostContinued(id));
            });
        }
        // First of all: a session that is over, or refuses the POST, must not make us read on.
        let mut answer = session.poll_posted(id, cx);
        if answer.is_pending() && !*this.read {
            let limit = session.server.config.max_payload;
            let outcome = ready!(poll_body(this.body.as_mut(), this.collected, limit, cx));
            *this.read = true;
            // To hyper, a stream of HTTP/2 that is reset without an error has ended. `DiscardUnread` has more on that.
            let outcome = outcome.and_then(|body| match *this.announced {
                Some(announced) if announced != body.len() as u64 => Err(Failure::Broken),
                _ => Ok(body),
            });
            let broken = matches!(outcome, Err(Failure::Broken));
            let input = match outcome {
                Ok(body) => match this.form {
                    Form::Text => Input::PostReceived(id, Payload::text(body)),
                    Form::Binary => Input::PostReceived(id, Payload::binary(body)),
                    Form::Jsonp => match jsonp::unwrap(&body) {
                        Some(body) => Input::PostReceived(id, Payload::text(body)),
                        None => Input::PostWithoutPayload(id),
                    },
                },
                Err(Failure::TooLarge) => Input::PostTooLarge(id),
                Err(Failure::Broken) => Input::PostAborted(id),
            };
            session.update_and_pump(cx, |session| {
                session.handle_input(now(), input);
            });
            if broken {
                // To the session the client is gone, and it answers nobody. But a body breaks off without the
                // connection too, in chunks that are malformed for example, and the host waits for an answer then.
                return Poll::Ready(Answer::Refusal(Refusal::BadRequest));
            }
            answer = session.poll_posted(id, cx);
        }
        let answer = match ready!(answer) {
            Posted::Answered(Ok(())) => Answer::Posted,
            Posted::Answered(Err(refusal)) => Answer::Refusal(refusal),
            Posted::InPart => {
                *this.more = true;
                give_way(cx);
                return Poll::Pending;
            }
        };
        this.ticket.answered = true;
        Poll::Ready(answer)
    }
}

enum Failure {
    TooLarge,
    Broken,
}

fn poll_body<B>(
    mut body: Pin<&mut B>,
    collected: &mut Collected,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, Failure>>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    // A body whose announced length is too large is not read at all.
    if body.size_hint().lower() > (limit - collected.len()) as u64 {
        return Poll::Ready(Err(Failure::TooLarge));
    }
    for _ in 0..FRAMES {
        match ready!(body.as_mut().poll_frame(cx)) {
            None => return Poll::Ready(Ok(collected.finish())),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    if chunk.remaining() > limit - collected.len() {
                        return Poll::Ready(Err(Failure::TooLarge));
                    }
                    collected.push(chunk);
                }
            }
            Some(Err(error)) => {
                let error = error.into();
                tracing::debug!(target: "engineio::post", %error, "a POST body broke off");
                return Poll::Ready(Err(if is_length_limit(&*error) {
                    Failure::TooLarge
                } else {
                    Failure::Broken
                }));
            }
        }
    }
    // A body of a custom host may always be ready.
    give_way(cx);
    Poll::Pending
}
