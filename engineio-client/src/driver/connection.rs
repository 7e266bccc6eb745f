//! One session and its network: does what the session asks for, and reports to it what happens.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use engineio_core::client::{Input, Output, RequestId, Session};
use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, LinkId, Transport};
use futures_core::future::BoxFuture;

use super::alarm::Alarm;
use super::requests::{Pending, Requests, ready};
use super::socket::{CloseHandshake, Frames, Socket};
use super::verdict::{Verdict, upgrade_failure};
use crate::clock::now;
use crate::delivery::Event;
use crate::net::route::Route;
use crate::net::websocket::WebSocket;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::Phase;
use crate::wakers::{BATCH, Interest};
use crate::{Error, ErrorKind, TARGET, meter};

type Opening = (LinkId, BoxFuture<'static, Result<WebSocket, Error>>);

pub(super) struct Connection<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    route: Route,
    polls: Requests,
    posts: Requests,
    opening: Option<Opening>,
    /// Abandoned futures that must still be dropped: they may be those of the application's connector, whose code must
    /// not run under the lock.
    given_up: (Vec<Pending>, Option<Opening>),
    socket: Option<Socket>,
    /// WebSockets in their closing handshake.
    closing: Vec<CloseHandshake>,
    alarm: Alarm,
    /// The transport that opens the session.
    opened_by: Transport,
    was_open: bool,
    /// The session was upgrading when it was last looked at.
    was_upgrading: bool,
    /// The error of the upgrade, if an error caused its failure.
    upgrade_error: Option<Error>,
    verdict: Verdict,
    finished: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, settings: &'a Settings) -> Self {
        Self {
            shared,
            settings,
            route: settings.route.for_session(),
            polls: Requests::default(),
            posts: Requests::default(),
            opening: None,
            given_up: (Vec::new(), None),
            socket: None,
            closing: Vec::new(),
            alarm: Alarm::new(),
            opened_by: shared.lock().session.transport(),
            was_open: false,
            was_upgrading: false,
            upgrade_error: None,
            verdict: Verdict::default(),
            finished: false,
        }
    }

    /// Returns the error to report for the session that has ended, or `None` if one of the sides closed it gracefully.
    pub(super) fn error(&self, session: &Session) -> Option<Error> {
        let secrets = self.route.secrets(Some(session));
        let place = self.route.place(&secrets);
        self.verdict.error(session, self.was_open, &place, &secrets)
    }

    /// Makes as much progress as it can; ready when the session is over and the WebSocket has been closed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut rounds, mut frames) = (Budget::for_rounds(), Budget::for_frames());
        if self.shared.lock().clock.look() {
            self.polls.close_kept();
            self.posts.close_kept();
            // After a sleep nothing is sent before it is known whether the server is still there.
            let _ =
                self.poll_requests(cx) | self.poll_socket(cx, &mut frames) | self.poll_timer(cx);
        }
        let mut more = true;
        self.follow(cx);
        while more && !rounds.is_spent() && !frames.is_spent() {
            rounds.charge_round();
            more = self.poll_requests(cx)
                | self.poll_opening(cx)
                | self.poll_socket(cx, &mut frames)
                | self.poll_timer(cx);
            more |= self.follow(cx);
        }
        if more || frames.is_spent() {
            cx.waker().wake_by_ref();
        }
        self.closing
            .retain_mut(|websocket| websocket.poll(cx).is_pending());
        if self.finished && self.closing.is_empty() {
            // Here and not with the rest, which is dropped under the lock.
            (self.polls, self.posts) = Default::default();
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn input(&self, input: Input) {
        let mut state = self.shared.lock();
        let now = state.clock.now();
        state.session.handle_input(now, input);
    }

    /// Carries out the outputs of the session, and wakes the tasks that wait. Returns whether there is something new to
    /// poll.
    fn follow(&mut self, cx: &Context<'_>) -> bool {
        let shared = self.shared;
        let mut state = shared.lock();
        state.set_driver(cx.waker());
        let mut has_acted = false;
        let (mut has_events, mut has_room, mut has_ended) = (false, false, false);
        while let Some(output) = state.session.poll_output() {
            match output {
                Output::Events => has_events = true,
                Output::Room => has_room = true,
                Output::Finished => has_ended = true,
                output => {
                    has_acted = true;
                    self.act(output, &mut state.session);
                }
            }
        }
        let mut opened = None;
        if !self.was_open && state.session.opened().is_some() {
            self.was_open = true;
            self.verdict.first_answer = Bytes::new();
            state.open_since = Some(now());
            state.set_phase(Phase::Open);
            state.delivery.record(Event::Opened);
            opened = state.session.opened().cloned();
        }
        let is_upgrading = state.session.is_upgrading();
        let has_settled = std::mem::replace(&mut self.was_upgrading, is_upgrading) && !is_upgrading;
        let has_moved = state.session.transport() != self.opened_by && !state.upgraded;
        state.upgraded |= has_moved;
        let mut upgrade_error = None;
        if has_moved {
            state.delivery.record(Event::Upgrade(Ok(())));
        } else if has_settled && state.session.is_open() {
            let error = self.upgrade_failure(&state.session);
            state.upgrade_error = Some(error.clone());
            state.delivery.record(Event::Upgrade(Err(error.clone())));
            upgrade_error = Some(error);
        }
        let socket = self.socket.as_ref();
        if let Some(socket) = socket.filter(|_| state.session.closed().is_none()) {
            has_room |=
                !state.is_written && socket.is_written && state.wakers.wait_for(Interest::Outbox);
            state.is_written = socket.is_written;
        }
        let is_news = opened.is_some() || has_settled;
        // The readers, without another lock; there is one as a rule.
        let mut readers = [const { None }; BATCH];
        let mut has_more = has_events && !is_news;
        if has_more {
            let end = state.wakers.next_key();
            has_more = state.wakers.take(Interest::Events, end, &mut readers);
        }
        self.finished |= has_ended;
        // Before anybody is woken, because they may ask for it.
        let before = has_ended
            .then(|| self.error(&state.session))
            .and_then(|error| state.note_end(error));
        drop(state);
        // Without the lock, which the application's code may need in turn.
        drop(before);
        readers.into_iter().flatten().for_each(Waker::wake);
        self.given_up.0.clear();
        self.given_up.1 = None;
        if let Some(opened) = opened {
            meter::connected(self.opened_by);
            tracing::debug!(target: TARGET, sid = opened.short_sid(), transport = %self.opened_by, "session opened");
        }
        if has_moved {
            meter::upgraded();
            tracing::debug!(target: TARGET, "upgraded to websocket");
        }
        if let Some(error) = upgrade_error {
            tracing::warn!(target: TARGET, %error, "the upgrade to websocket failed; going on by polling");
        }
        if is_news {
            shared.wake(Interest::Phase);
        } else {
            if has_more {
                shared.wake(Interest::Events);
            }
            if has_room {
                shared.wake(Interest::Outbox);
            }
        }
        has_acted
    }

    /// Returns the error for an upgrade that has just failed.
    fn upgrade_failure(&mut self, session: &Session) -> Error {
        let error = self.upgrade_error.take();
        error.unwrap_or_else(|| {
            let place = self.route.place(&self.route.secrets(Some(session)));
            let limit = self.settings.session.upgrade_timeout;
            upgrade_failure(session.probe_failure(), &place, limit)
        })
    }

    fn act(&mut self, output: Output, session: &mut Session) {
        match output {
            Output::Poll(id) => self.start_poll(id, session),
            Output::Post(id) => {
                if let Some(body) = session.take_payload(id) {
                    let limit = session.opened().and_then(|opened| opened.max_payload());
                    let sizes = limit.map(|limit| (body.body.len(), limit));
                    self.verdict.oversized = sizes.filter(|(len, limit)| len > limit);
                    let sid = session.opened().map(|opened| opened.sid());
                    let limit = Some(self.settings.request_timeout);
                    let send = |kept| self.route.request(kept, sid, Some(body));
                    self.posts.start(id, limit, send);
                }
            }
            Output::Cancel(id) => {
                self.given_up.0.extend(self.polls.cancel(id));
                self.given_up.0.extend(self.posts.cancel(id));
            }
            Output::OpenLink(id, Transport::WebSocket) => {
                self.opening = Some((id, self.open_websocket(session)));
            }
            Output::SendFrames(id) => {
                if let Some(socket) = self.socket.as_mut().filter(|socket| socket.id == id) {
                    socket.has_frames = true;
                }
            }
            Output::CloseLink(id, reason) => {
                let opening = self.opening.take_if(|(opening, _)| *opening == id);
                self.given_up.1 = opening.or_else(|| self.given_up.1.take());
                if let Some(socket) = self.socket.take_if(|socket| socket.id == id) {
                    self.closing.push(socket.close(reason));
                }
            }
            _ => {}
        }
    }

    /// Starts a GET, whose time the heartbeat limits.
    fn start_poll(&mut self, id: RequestId, session: &Session) {
        let sid = session.opened().map(|opened| opened.sid());
        let send = |kept| self.route.request(kept, sid, None);
        self.polls.start(id, None, send);
    }

    /// Opens a WebSocket, of a session that is open or with the handshake of a new one.
    fn open_websocket(&self, session: &Session) -> BoxFuture<'static, Result<WebSocket, Error>> {
        let sid = session.opened().map(|opened| opened.sid());
        self.route.open_websocket(sid)
    }

    /// Follows a redirect of the handshake, or returns the error.
    fn follow_redirect(&mut self, error: Error) -> Result<(), Error> {
        match self.was_open {
            true => Err(error),
            false => self.route.follow(error),
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if let Some((id, answer)) = self.polls.poll(cx) {
            progress = true;
            match answer {
                Ok(body) => {
                    if !self.was_open {
                        self.verdict.first_answer = body.body.clone();
                    }
                    self.input(Input::PollAnswered(id, body));
                }
                Err(error) => match self.follow_redirect(error) {
                    Ok(()) => {
                        let shared = self.shared;
                        self.start_poll(id, &shared.lock().session);
                    }
                    Err(error) => {
                        let reason = self.verdict.failed(error);
                        self.input(Input::PollFailed(id, reason));
                    }
                },
            }
        }
        if let Some((id, answer)) = self.posts.poll(cx) {
            progress = true;
            self.posted(id, answer.map(|_| ()));
        }
        progress
    }

    fn posted(&mut self, id: RequestId, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => {
                self.verdict.oversized = None;
                self.input(Input::PostAnswered(id));
            }
            Err(error) => {
                let is_open = self.shared.lock().session.is_open();
                let reason = self.verdict.post_failed(error, is_open);
                self.input(Input::PostFailed(id, reason));
            }
        }
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((id, websocket)) = ready(&mut self.opening, cx) else {
            return false;
        };
        match websocket {
            Ok(websocket) => {
                self.socket = Some(Socket::new(id, websocket));
                self.input(Input::LinkOpened(id));
            }
            Err(error) => match self.follow_redirect(error) {
                Ok(()) => {
                    let again = self.open_websocket(&self.shared.lock().session);
                    self.opening = Some((id, again));
                }
                Err(error) => self.websocket_closed(id, error.reason(), Some(error)),
            },
        }
        true
    }

    /// Reads and writes frames. Returns whether the socket is to be polled again, or gone.
    fn poll_socket(&mut self, cx: &mut Context<'_>, budget: &mut Budget) -> bool {
        let shared = self.shared;
        let Some(socket) = &mut self.socket else {
            return false;
        };
        let id = socket.id;
        // What comes while it is closing is dropped, and a server that waits for it to be read would not read.
        let look = |session: &Session| {
            let is_closing = !session.is_open();
            let reads = (session.wants_input() || is_closing) && session.closed().is_none();
            (reads, is_closing)
        };
        let (mut reads, mut is_closing) = look(&shared.lock().session);
        // Of the first of the frames that came together.
        let mut arrived = None;
        let mut ended = None;
        while reads && !budget.is_spent() {
            match socket.poll_frame(cx) {
                Poll::Ready(Ok(None)) => budget.charge_empty_read(),
                Poll::Ready(Ok(Some(frame))) => {
                    budget.charge_frame(socket.cost_of(&frame));
                    let mut state = shared.lock();
                    let now = *arrived.get_or_insert_with(|| state.clock.now());
                    state.session.handle_input(now, Input::LinkFrame(id, frame));
                    (reads, is_closing) = look(&state.session);
                }
                Poll::Ready(Err(end)) => {
                    let route = &self.route;
                    ended = Some(end.describe(|| route.secrets(Some(&shared.lock().session))));
                    break;
                }
                Poll::Pending => break,
            }
        }
        if ended.is_none() {
            let next = |id, frames: &mut Frames| {
                let mut state = shared.lock();
                // The frames before one that is taken while it is closing are written; the last is the close packet.
                state.is_written |= is_closing;
                frames.fill(|| state.session.take_frame(id));
                state.is_written &= frames.is_empty() || state.session.closed().is_some();
            };
            match socket.poll_send(cx, is_closing, next) {
                Ok(again) => return again,
                Err(end) => ended = Some(end),
            }
        }
        let Some((reason, error)) = ended else {
            return false;
        };
        let answer = self.socket.take().and_then(|socket| socket.answer(reason));
        self.closing.extend(answer);
        self.websocket_closed(id, reason, error);
        true
    }

    fn websocket_closed(&mut self, id: LinkId, reason: DisconnectReason, error: Option<Error>) {
        self.input(Input::LinkClosed(id, reason));
        if reason == DisconnectReason::HandlerPanic {
            // Code that has panicked is not called again, by polling either.
            self.shared.lock().session.abort(reason);
        }
        // An upgrade that failed is not why the session ends later.
        if self.shared.lock().session.closed().is_none() {
            self.upgrade_error = error;
        } else if let Some(error) = error {
            self.verdict.failed(error);
        }
    }

    /// Returns whether a timer was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let of_session = self.shared.lock().timeout();
        let deadlines = [of_session, self.polls.deadline(), self.posts.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        if self.alarm.poll(deadline, cx).is_pending() {
            return false;
        }
        let now = now();
        self.polls.expire(now);
        if let Some(id) = self.posts.expire(now) {
            let (target, limit) = (&self.route.target, self.settings.request_timeout);
            let message = format!(
                "POST {target} had no answer after {limit:?}; raise `request_timeout` if the server is slow"
            );
            self.posted(id, Err(Error::new(ErrorKind::Timeout, message)));
        }
        if of_session.is_some_and(|at| at <= now) {
            self.shared.lock().on_timeout();
        }
        true
    }
}
